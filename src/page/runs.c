/* runs.c - see runs.h. Every step of a path is opened below the one before it, without following links. */
#include "page/runs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

const char *const RUN_FILES[] = {"plan.json", "rows.jsonl", "verdicts.jsonl", "metrics.jsonl", "samples.jsonl", NULL};

static bool is_run_file(const char *name) {
    for (size_t i = 0; RUN_FILES[i]; i++)
        if (strcmp(RUN_FILES[i], name) == 0) return true;
    return false;
}

/* Hidden ones, "." and ".." are none. */
static bool is_name(const char *s, size_t n) {
    return n > 0 && n <= 255 && s[0] != '.' && utf8_valid(s, n);
}

static int open_folder(const char *folder) {
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int open_below(int at, const char *name, int flags) {
    return openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags);
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

typedef struct lister {
    json_t *list;
    bool failed;
} lister;

/* The run's files that are there; kind "": it is none. */
static json_t *files_of(int at, const char **kind, double *changed) {
    json_t *files = json_object();
    *kind = "";
    *changed = 0;
    for (size_t i = 0; files && RUN_FILES[i]; i++) {
        struct stat st;
        if (fstatat(at, RUN_FILES[i], &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) continue;
        if (json_object_set_new(files, RUN_FILES[i], json_integer(st.st_size)) != 0) {
            json_decref(files);
            return NULL;
        }
        if ((double)st.st_mtime > *changed) *changed = (double)st.st_mtime;
    }
    if (json_object_get(files, "rows.jsonl") || json_object_get(files, "verdicts.jsonl")) *kind = "bench";
    if (json_object_get(files, "metrics.jsonl")) *kind = "train";
    return files;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_shown(const struct dirent *d) {
    return is_name(d->d_name, strlen(d->d_name)) && (d->d_type == DT_DIR || d->d_type == DT_UNKNOWN);
}

static void look(lister *l, int at, const char *name, int depth);

static void look_below(lister *l, int at, const char *name, int depth) {
    struct dirent **list = NULL;
    int n = scandirat(at, ".", &list, is_shown, by_name);
    for (int i = 0; i < n; i++) {
        buf path = {0};
        buf_printf(&path, "%s%s%s", name, *name ? "/" : "", list[i]->d_name);
        int below = path.failed || l->failed ? -1 : open_below(at, list[i]->d_name, O_DIRECTORY);
        if (below >= 0) look(l, below, path.data, depth + 1);
        if (below >= 0) close(below);
        l->failed = l->failed || path.failed;
        buf_free(&path);
        free(list[i]); /* scandirat's */
    }
    free(list);
}

/* A run's own folders (checkpoints, adapters) are not looked into. */
static void look(lister *l, int at, const char *name, int depth) {
    const char *kind;
    double changed;
    json_t *files = files_of(at, &kind, &changed);
    if (!files) l->failed = true;
    if (l->failed || json_array_size(l->list) >= RUNS_MOST) {
        json_decref(files);
        return;
    }
    if (*kind) {
        json_t *run = json_pack("{s:s,s:s,s:f,s:o}", "name", *name ? name : ".", "kind", kind, "changed", changed,
                                "files", files);
        if (json_array_append_new(l->list, run) != 0) l->failed = true;
        return;
    }
    json_decref(files);
    if (depth < RUNS_DEPTH) look_below(l, at, name, depth);
}

pgr_status runs_list(const char *folder, json_t **out, pgr_error *err) {
    char text[128];
    int at = open_folder(folder);
    if (at < 0) return fail(err, PGR_E_IO, "%s: %s", folder, strerror_r(errno, text, sizeof text));
    lister l = {.list = json_array()};
    if (l.list) look(&l, at, "", 0);
    close(at);
    if (!l.list || l.failed) {
        json_decref(l.list);
        return fail_mem(err);
    }
    *out = l.list;
    return PGR_OK;
}

/* ---- a file ------------------------------------------------------------------------------------------------------ */

/* -1: there is none, or it is not one of a run's. */
static int open_file(const char *folder, const char *path) {
    int at = open_folder(folder), depth = 0;
    while (at >= 0) {
        size_t n = strcspn(path, "/");
        char name[256];
        bool last = path[n] == '\0';
        bool fine = is_name(path, n) && depth++ <= RUNS_DEPTH && (!last || is_run_file(path));
        if (fine) snprintf(name, sizeof name, "%.*s", (int)n, path);
        int next = fine ? open_below(at, name, last ? 0 : O_DIRECTORY) : -1;
        close(at);
        if (last) return next;
        at = next;
        path += n + 1;
    }
    return -1;
}

static bool read_part(int fd, uint64_t from, size_t n, buf *out) {
    buf_reserve(out, n + 1);
    while (n > 0 && !out->failed) {
        ssize_t got = pread(fd, out->data + out->n, n, (off_t)from);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) break; /* it has become shorter */
        out->n += (size_t)got;
        n -= (size_t)got;
        from += (uint64_t)got;
    }
    if (!out->failed) out->data[out->n] = '\0';
    return true;
}

pgr_status runs_read(const char *folder, const char *path, uint64_t from, size_t most, buf *out, pgr_error *err) {
    struct stat st;
    int fd = open_file(folder, path);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        fd = -1;
    }
    if (fd < 0) return fail(err, PGR_E_ARG, "there is no such file of a run");
    uint64_t size = (uint64_t)st.st_size, left = from < size ? size - from : 0;
    size_t before = out->n;
    bool more = left > most, read = read_part(fd, from, more ? most : (size_t)left, out);
    close(fd);
    if (!read) return fail(err, PGR_E_IO, "the run's file cannot be read");
    if (out->failed) return fail_mem(err);
    size_t n = out->n;
    while (more && n > before && out->data[n - 1] != '\n') n--;
    if (n > before && n < out->n) { /* a line of more than `most` bytes goes in pieces */
        out->n = n;
        out->data[n] = '\0';
    }
    return PGR_OK;
}
