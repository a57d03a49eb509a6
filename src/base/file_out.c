/* file_out.c - whole files or none: a part that is renamed at the end. */
#include "base/file_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static pgr_status fail_errno(pgr_error *err, const char *path, int number) {
    char text[128];
    return fail(err, PGR_E_IO, "%s: cannot be written: %s", path, strerror_r(number, text, sizeof text));
}

static void forget(file_out *f) {
    mem_free(f->path);
    mem_free(f->part);
    *f = (file_out){0};
}

pgr_status file_out_open(const char *path, file_out *out, pgr_error *err) {
    static const char ending[] = ".part";
    size_t n = strlen(path);
    file_out f = {.path = mem_strdup(path), .part = mem_alloc(n + sizeof ending)};
    if (!f.path || !f.part) {
        forget(&f);
        return fail_mem(err);
    }
    memcpy(f.part, path, n);
    memcpy(f.part + n, ending, sizeof ending);
    f.fd = open(f.part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
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
    if (!number && rename(f->part, f->path) != 0) number = errno;
    pgr_status status = number ? fail_errno(err, f->path, number) : PGR_OK;
    if (number) unlink(f->part);
    forget(f);
    return status;
}

void file_out_abort(file_out *f) {
    if (!f->part) return;
    close(f->fd);
    unlink(f->part);
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
