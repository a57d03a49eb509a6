/* hub_cache.c - records of earlier pulls, and links into the cache of Hugging Face's programs; see hub_cache.h. That
 * cache is only read. It names a file's blob by its checksum and moves a blob there when it is whole, so that a file in
 * a snapshot is one that was fetched to its end. */
#include "hub/hub_cache.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "hub/hub_fetch.h"

#define RECORD ".pgenrm-pull.json"

enum { DEPTH_MAX = 8 };

static pgr_status fail_path(pgr_error *err, const char *path) {
    char text[128];
    return fail(err, PGR_E_IO, "%s: %s", path, strerror_r(errno, text, sizeof text));
}

static char *join(const char *folder, const char *name) {
    buf b = {0};
    buf_printf(&b, "%s/%s", folder, name);
    char *path = buf_take(&b);
    buf_free(&b);
    return path;
}

static int64_t mtime_of(const struct stat *st) {
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* *there: FOLDER/NAME is a regular file, or a link to one. */
static pgr_status stat_file(const char *folder, const char *name, struct stat *st, bool *there, pgr_error *err) {
    char *path = join(folder, name);
    if (!path) return fail_mem(err);
    *there = stat(path, st) == 0 && S_ISREG(st->st_mode);
    mem_free(path);
    return PGR_OK;
}

/* ---- record ---- */

static bool copy_text(const json_t *v, char *out, size_t size) {
    const char *s = json_string_value(v);
    if (!s || strlen(s) >= size) return false;
    strcpy(out, s);
    return true;
}

/* False: not a record. */
static bool parse_record(const json_t *root, pull_record *r, bool *out_of_memory) {
    const json_t *files = json_object_get(root, "files"), *v;
    const char *name;
    if (!copy_text(json_object_get(root, "model"), r->id, sizeof r->id)
        || !copy_text(json_object_get(root, "revision"), r->revision, sizeof r->revision)
        || !copy_text(json_object_get(root, "commit"), r->list.commit, sizeof r->list.commit) || !json_is_object(files))
        return false;
    r->complete = json_is_true(json_object_get(root, "complete"));
    size_t n = json_object_size(files);
    r->list.files = arena_array(&r->list.memory, n + 1, sizeof *r->list.files);
    r->mtimes = arena_array(&r->list.memory, n + 1, sizeof *r->mtimes);
    *out_of_memory = !r->list.files || !r->mtimes;
    if (*out_of_memory) return false;
    json_t *object = json_object_get(root, "files");
    json_object_foreach(object, name, v) {
        hub_file *f = &r->list.files[r->list.n];
        if (!hub_path_safe(name)) return false;
        f->size = json_integer_value(json_object_get(v, "bytes"));
        r->mtimes[r->list.n++] = json_integer_value(json_object_get(v, "mtime"));
        f->name = arena_strdup(&r->list.memory, name);
        *out_of_memory = !f->name;
        if (!f->name) return false;
    }
    return true;
}

pgr_status record_read(const char *folder, pull_record *out, pgr_error *err) {
    char *path = join(folder, RECORD);
    buf text = {0};
    json_t *root = NULL;
    bool out_of_memory = false;
    pull_record r = {0};
    if (!path) return fail_mem(err);
    pgr_status s = file_exists(path) ? file_read(path, &text, err) : PGR_OK;
    if (s == PGR_OK && text.n > 0) s = json_parse(text.data, text.n, path, 1, &root, err);
    if (s == PGR_E_FORMAT) s = PGR_OK; /* cut short: no record */
    if (root && !parse_record(root, &r, &out_of_memory)) record_free(&r);
    if (out_of_memory) s = fail_mem(err);
    json_decref(root);
    buf_free(&text);
    mem_free(path);
    if (s == PGR_OK)
        *out = r;
    else
        record_free(&r);
    return s;
}

void record_free(pull_record *r) {
    hub_list_free(&r->list);
    *r = (pull_record){0};
}

pgr_status record_holds(const pull_record *r, const char *folder, const char *name, int64_t *size, pgr_error *err) {
    struct stat st;
    bool there = false;
    *size = -1;
    for (size_t i = 0; i < r->list.n; i++) {
        if (strcmp(r->list.files[i].name, name) != 0) continue;
        PGR_TRY(stat_file(folder, name, &st, &there, err));
        if (there && st.st_size == r->list.files[i].size && mtime_of(&st) == r->mtimes[i]) *size = st.st_size;
        break;
    }
    return PGR_OK;
}

static void put_text(buf *b, const char *key, const char *value) {
    buf_printf(b, "\"%s\":", key);
    json_put_string(b, value, strlen(value));
    buf_putc(b, ',');
}

static pgr_status put_file(buf *b, const char *folder, const char *name, pgr_error *err) {
    struct stat st;
    bool there = false;
    PGR_TRY(stat_file(folder, name, &st, &there, err));
    if (!there) return PGR_OK;
    if (b->n && b->data[b->n - 1] == '}') buf_putc(b, ',');
    buf_puts(b, "\n");
    json_put_string(b, name, strlen(name));
    buf_printf(b, ":{\"bytes\":%lld,\"mtime\":%lld}", (long long)st.st_size, (long long)mtime_of(&st));
    return b->failed ? fail_mem(err) : PGR_OK;
}

/* Whole or not at all: beside it first, then in its place. */
static pgr_status replace_file(const char *path, const buf *text, pgr_error *err) {
    buf beside = {0};
    buf_printf(&beside, "%s.new", path);
    if (beside.failed) {
        buf_free(&beside);
        return fail_mem(err);
    }
    FILE *f = fopen(beside.data, "wb");
    bool written = f && fwrite(text->data, 1, text->n, f) == text->n;
    if (f && fclose(f) != 0) written = false;
    pgr_status s = written && rename(beside.data, path) == 0 ? PGR_OK : fail_path(err, path);
    buf_free(&beside);
    return s;
}

static bool listed(hub_file *const *files, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(files[i]->name, name) == 0) return true;
    return false;
}

/* Files of the same commit that an earlier pull with other wishes left. */
static pgr_status put_old(buf *b, const char *folder, const char *commit, hub_file *const *files, size_t n,
                          const pull_record *old, pgr_error *err) {
    if (strcmp(old->list.commit, commit) != 0) return PGR_OK;
    for (size_t i = 0; i < old->list.n; i++) {
        int64_t size;
        const char *name = old->list.files[i].name;
        if (listed(files, n, name)) continue;
        PGR_TRY(record_holds(old, folder, name, &size, err));
        if (size >= 0) PGR_TRY(put_file(b, folder, name, err));
    }
    return PGR_OK;
}

static pgr_status put_record(buf *b, const char *folder, const hub_model *m, const char *commit, bool complete,
                             hub_file *const *files, size_t n, const pull_record *old, pgr_error *err) {
    buf_putc(b, '{');
    put_text(b, "model", m->id);
    put_text(b, "revision", m->revision);
    put_text(b, "commit", commit);
    buf_printf(b, "\"complete\":%s,\"files\":{", complete ? "true" : "false");
    for (size_t i = 0; i < n; i++) PGR_TRY(put_file(b, folder, files[i]->name, err));
    PGR_TRY(put_old(b, folder, commit, files, n, old, err));
    buf_puts(b, "}}\n");
    return b->failed ? fail_mem(err) : PGR_OK;
}

pgr_status record_write(const char *folder, const hub_model *m, const char *commit, bool complete,
                        hub_file *const *files, size_t n, const pull_record *old, pgr_error *err) {
    buf b = {0};
    char *path = join(folder, RECORD);
    pgr_status s = path ? put_record(&b, folder, m, commit, complete, files, n, old, err) : fail_mem(err);
    if (s == PGR_OK) s = replace_file(path, &b, err);
    mem_free(path);
    buf_free(&b);
    return s;
}

/* ---- the cache of Hugging Face's programs ---- */

char *hub_cache_folder(void) {
    const char *cache = getenv("HF_HUB_CACHE"), *home = getenv("HF_HOME"), *xdg = getenv("XDG_CACHE_HOME");
    const char *user = getenv("HOME");
    if (cache && *cache) return mem_strdup(cache);
    if (home && *home) return join(home, "hub");
    if (xdg && *xdg) return join(xdg, "huggingface/hub");
    return join(user && *user ? user : ".", ".cache/huggingface/hub");
}

/* "CACHE/models--ORG--NAME/KIND/LEAF" */
static char *cache_path(const char *cache, const hub_model *m, const char *kind, const char *leaf) {
    const char *slash = strchr(m->id, '/');
    buf b = {0};
    buf_printf(&b, "%s/models--%.*s--%s/%s/%s", cache, (int)(slash - m->id), m->id, slash + 1, kind, leaf);
    char *path = buf_take(&b);
    buf_free(&b);
    return path;
}

static bool is_commit(const char *s) {
    return strlen(s) == 40 && strspn(s, "0123456789abcdef") == 40;
}

pgr_status hub_cache_commit(const char *cache, const hub_model *m, char commit[65], pgr_error *err) {
    char text[65] = "";
    char *path = cache_path(cache, m, "refs", m->revision);
    if (!path) return fail_mem(err);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) fclose(f);
    mem_free(path);
    text[n] = '\0';
    text[strcspn(text, " \r\n")] = '\0';
    strcpy(commit, is_commit(text) ? text : is_commit(m->revision) ? m->revision : "");
    return PGR_OK;
}

char *hub_cache_snapshot(const char *cache, const hub_model *m, const char *commit) {
    return cache_path(cache, m, "snapshots", commit);
}

typedef struct walk {
    hub_list *list;
    size_t cap;
    const char *top;
    pgr_error *err;
} walk;

static pgr_status add_file(walk *w, const char *name, int64_t size) {
    hub_list *l = w->list;
    if (l->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 32;
        hub_file *more = arena_array(&l->memory, cap, sizeof *more);
        if (!more) return fail_mem(w->err);
        for (size_t i = 0; i < l->n; i++) more[i] = l->files[i];
        l->files = more;
        w->cap = cap;
    }
    hub_file *f = &l->files[l->n];
    *f = (hub_file){.name = arena_strdup(&l->memory, name), .size = size};
    if (!f->name) return fail_mem(w->err);
    l->n++;
    return PGR_OK;
}

static pgr_status walk_folder(walk *w, const char *below, int depth);

/* below: "" or "FOLDER/" */
static pgr_status walk_entry(walk *w, const char *below, const char *entry, int depth) {
    buf name = {0};
    struct stat st;
    pgr_status s = PGR_OK;
    buf_printf(&name, "%s%s", below, entry);
    char *path = name.failed ? NULL : join(w->top, name.data);
    if (!path) {
        s = fail_mem(w->err);
    } else if (hub_path_safe(name.data) && stat(path, &st) == 0) {
        if (S_ISREG(st.st_mode)) s = add_file(w, name.data, st.st_size);
        if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
            buf_putc(&name, '/');
            s = name.failed ? fail_mem(w->err) : walk_folder(w, name.data, depth + 1);
        }
    }
    mem_free(path);
    buf_free(&name);
    return s;
}

static pgr_status walk_folder(walk *w, const char *below, int depth) {
    struct dirent **entries;
    char *path = join(w->top, below);
    if (!path) return fail_mem(w->err);
    int n = scandir(path, &entries, NULL, alphasort);
    mem_free(path);
    if (n < 0) return PGR_OK; /* not there */
    pgr_status s = PGR_OK;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (s == PGR_OK && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) s = walk_entry(w, below, name, depth);
        free(entries[i]);
    }
    free(entries);
    return s;
}

pgr_status hub_cache_list(const char *snapshot, const char *commit, hub_list *out, pgr_error *err) {
    hub_list list = {0};
    walk w = {.list = &list, .top = snapshot, .err = err};
    snprintf(list.commit, sizeof list.commit, "%s", commit);
    pgr_status s = walk_folder(&w, "", 0);
    if (s == PGR_OK)
        *out = list;
    else
        hub_list_free(&list);
    return s;
}

/* path becomes a link to target, in place of what was there. */
static pgr_status make_link(const char *target, const char *path, pgr_error *err) {
    buf beside = {0};
    pgr_status s = PGR_OK;
    buf_printf(&beside, "%s.part", path);
    if (beside.failed) {
        s = fail_mem(err);
    } else {
        unlink(beside.data);
        if (symlink(target, beside.data) != 0 || rename(beside.data, path) != 0) s = fail_path(err, path);
    }
    buf_free(&beside);
    return s;
}

pgr_status hub_cache_link(const char *snapshot, const char *folder, hub_file *f, bool *linked, pgr_error *err) {
    struct stat st;
    bool there = false;
    *linked = false;
    PGR_TRY(stat_file(snapshot, f->name, &st, &there, err));
    if (!there || (f->size >= 0 && st.st_size != f->size)) return PGR_OK;
    char *from = join(snapshot, f->name), *to = join(folder, f->name), *real = from ? realpath(from, NULL) : NULL;
    pgr_status s = !from || !to ? fail_mem(err) : !real ? fail_path(err, from) : hub_make_folders(to, err);
    if (s == PGR_OK) s = make_link(real, to, err);
    if (s == PGR_OK) {
        f->size = st.st_size;
        *linked = true;
    }
    free(real);
    mem_free(to);
    mem_free(from);
    return s;
}
