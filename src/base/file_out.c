/* file_out.c - whole files or none: a part that is renamed at the end. */
#include "base/file_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static pgr_status fail_errno(pgr_error *err, const char *path, int number) {
    char text[128];
    return fail(err, PGR_E_IO, "%s: cannot be written: %s", path, strerror_r(number, text, sizeof text));
}

static void forget(file_out *f) {
    mem_free(f->path);
    mem_free(f->place);
    mem_free(f->part);
    *f = (file_out){0};
}

bool file_out_place(const char *path, char place[PATH_MAX]) {
    struct stat file, own;
    bool there = stat(path, &file) == 0, link = lstat(path, &own) == 0 && S_ISLNK(own.st_mode);
    bool plain = !there || S_ISREG(file.st_mode) || S_ISDIR(file.st_mode);
    if (link && strncmp(path, "/dev/", 5) == 0) plain = false; /* /dev/stdout */
    if (!plain || !link || !there || !realpath(path, place)) snprintf(place, PATH_MAX, "%s", path);
    return plain;
}

pgr_status file_out_open(const char *path, file_out *out, pgr_error *err) {
    static const char ending[] = ".part";
    char place[PATH_MAX];
    bool direct = !file_out_place(path, place);
    size_t n = strlen(place);
    file_out f = {.direct = direct, .path = mem_strdup(path), .place = mem_strdup(place)};
    f.part = mem_alloc(n + sizeof ending);
    if (!f.path || !f.place || !f.part) {
        forget(&f);
        return fail_mem(err);
    }
    memcpy(f.part, place, n);
    memcpy(f.part + n, direct ? "" : ending, direct ? 1 : sizeof ending);
    f.fd = open(f.part, direct ? O_WRONLY | O_CLOEXEC : O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f.fd < 0) {
        pgr_status status = fail_errno(err, path, errno);
        forget(&f);
        return status;
    }
    *out = f;
    return PGR_OK;
}

pgr_status file_out_write(file_out *f, const void *p, size_t n, pgr_error *err) {
    const char *at = p;
    while (n > 0) {
        ssize_t done = write(f->fd, at, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return fail_errno(err, f->path, errno);
        at += done;
        n -= (size_t)done;
        f->n += (uint64_t)done;
    }
    return PGR_OK;
}

pgr_status file_out_commit(file_out *f, pgr_error *err) {
    int number = fsync(f->fd) != 0 && errno != EINVAL ? errno : 0;
    if (close(f->fd) != 0 && !number) number = errno;
    if (!number && !f->direct && rename(f->part, f->place) != 0) number = errno;
    pgr_status status = number ? fail_errno(err, f->path, number) : PGR_OK;
    if (number && !f->direct) unlink(f->part);
    forget(f);
    return status;
}

void file_out_abort(file_out *f) {
    if (!f->part) return;
    close(f->fd);
    if (!f->direct) unlink(f->part);
    forget(f);
}

pgr_status file_write(const char *path, const void *p, size_t n, pgr_error *err) {
    file_out f;
    PGR_TRY(file_out_open(path, &f, err));
    pgr_status status = file_out_write(&f, p, n, err);
    if (status == PGR_OK) return file_out_commit(&f, err);
    file_out_abort(&f);
    return status;
}
