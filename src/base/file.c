/* file.c - read-only mappings and whole files; messages begin with the path. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_LIMIT ((size_t)1 << 30) /* a text that we read whole; models are mapped */

/* "PATH: what errno says" */
static pgr_status fail_errno(pgr_error *err, const char *path, int number) {
    char text[128];
    return fail(err, PGR_E_IO, "%s: %s", path, strerror_r(number, text, sizeof text));
}

/* Opens a file that is no folder. *fd is the caller's. */
static pgr_status open_file(const char *path, int *fd, struct stat *st, pgr_error *err) {
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) return fail_errno(err, path, errno);
    int bad = fstat(*fd, st) != 0 ? errno : S_ISDIR(st->st_mode) ? EISDIR : 0;
    if (!bad) return PGR_OK;
    close(*fd);
    return fail_errno(err, path, bad);
}

pgr_status file_map_open(const char *path, file_map *out, pgr_error *err) {
    int fd;
    struct stat st;
    PGR_TRY(open_file(path, &fd, &st, err));
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return fail(err, PGR_E_IO, "%s: not a regular file, cannot be mapped", path);
    }
    file_map m = {.size = (size_t)st.st_size};
    if (m.size) {
        void *p = mmap(NULL, m.size, PROT_READ, MAP_PRIVATE, fd, 0);
        int number = errno;
        if (p == MAP_FAILED) {
            close(fd);
            return fail_errno(err, path, number);
        }
        m.data = p;
    }
    close(fd); /* the mapping stays */
    *out = m;
    return PGR_OK;
}

/* The pages of a mapping as the system calls want them. */
static void *map_address(const file_map *m, size_t offset) {
    return (void *)((uintptr_t)m->data + offset);
}

void file_map_close(file_map *m) {
    if (m->data) munmap(map_address(m, 0), m->size);
    *m = (file_map){0};
}

void file_map_drop(const file_map *m, size_t offset, size_t size) {
    if (!m->data || offset > m->size || size > m->size - offset) return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    /* Whole pages only: the ends may be shared with a neighbour that is still in use. */
    size_t begin = (offset + page - 1) / page * page, end = (offset + size) / page * page;
    if (begin < end) madvise(map_address(m, begin), end - begin, MADV_DONTNEED);
}

static pgr_status read_all(int fd, const char *name, buf *out, pgr_error *err) {
    char chunk[65536];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(err, name, errno);
        buf_add(out, chunk, (size_t)n); /* n = 0 too: an empty file gives "" */
        if (out->failed) return fail_mem(err);
        if (out->n > READ_LIMIT)
            return fail(err, PGR_E_LIMIT, "%s: more than %zu bytes, expected at most that", name, READ_LIMIT);
        if (n == 0) return PGR_OK;
    }
}

pgr_status file_read(const char *path, buf *out, pgr_error *err) {
    int fd = STDIN_FILENO;
    struct stat st;
    bool standard = strcmp(path, "-") == 0;
    if (!standard) PGR_TRY(open_file(path, &fd, &st, err));
    buf text = {0};
    pgr_status status = read_all(fd, standard ? "standard input" : path, &text, err);
    if (!standard) close(fd);
    if (status != PGR_OK) {
        buf_free(&text);
        return status;
    }
    buf_free(out);
    *out = text;
    return PGR_OK;
}

pgr_status file_read_text(const char *path, buf *out, pgr_error *err) {
    static const char mark[] = "\xEF\xBB\xBF";
    const size_t n = sizeof mark - 1;
    PGR_TRY(file_read(path, out, err));
    if (out->n < n || memcmp(out->data, mark, n) != 0) return PGR_OK;
    out->n -= n;
    memmove(out->data, out->data + n, out->n + 1);
    return PGR_OK;
}

bool file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

pgr_status file_check_writable(const char *path, pgr_error *err) {
    bool there = file_exists(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return fail(err, PGR_E_IO, "%s: %s, expected a file that can be written", path, strerror(errno));
    close(fd);
    if (!there) unlink(path);
    return PGR_OK;
}

bool file_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

void file_remove_folder(const char *path) {
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) unlinkat(dirfd(d), e->d_name, 0); /* "." and ".." are refused */
    closedir(d);
    rmdir(path);
}

char *file_cache_folder(void) {
    const char *home = getenv("PGENRM_HOME"), *cache = getenv("XDG_CACHE_HOME"), *user = getenv("HOME");
    buf b = {0};
    if (home && *home)
        buf_puts(&b, home);
    else if (cache && *cache)
        buf_printf(&b, "%s/pgenrm", cache);
    else
        buf_printf(&b, "%s/.cache/pgenrm", user && *user ? user : ".");
    return buf_take(&b);
}
