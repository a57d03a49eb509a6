/* hub_check.c - checksums of files, by nettle; see hub_check.h. */
#include "hub/hub_check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP = 64 }; /* blocks of one step: 4 MiB, some milliseconds */

file_hash hash_from_etag(const char *etag) {
    file_hash h = {0};
    if (strncmp(etag, "W/", 2) == 0) etag += 2;
    if (*etag == '"') etag++;
    size_t n = strspn(etag, "0123456789abcdefABCDEF");
    if ((n != 64 && n != 40) || (etag[n] && strcmp(etag + n, "\"") != 0)) return h;
    h.kind = n == 64 ? HASH_SHA256 : HASH_GIT;
    for (size_t i = 0; i < n; i++) h.hex[i] = (char)(etag[i] >= 'A' && etag[i] <= 'F' ? etag[i] + 32 : etag[i]);
    return h;
}

bool hash_equal(const file_hash *a, const file_hash *b) {
    return a->kind == b->kind && a->kind != HASH_NONE && strcmp(a->hex, b->hex) == 0;
}

const char *hash_name(hash_kind kind) {
    return kind == HASH_SHA256 ? "sha256" : kind == HASH_GIT ? "git blob sha1" : "no checksum";
}

static pgr_status fail_file(pgr_error *err, const char *path, int number) {
    char text[128];
    return fail(err, PGR_E_IO, "%s: %s", path, strerror_r(number, text, sizeof text));
}

pgr_status check_open(check *c, const char *path, hash_kind kind, pgr_error *err) {
    struct stat st;
    *c = (check){.fd = open(path, O_RDONLY | O_CLOEXEC), .kind = kind};
    if (c->fd < 0 || fstat(c->fd, &st) != 0) {
        int number = errno;
        check_close(c);
        return fail_file(err, path, number);
    }
    c->size = (uint64_t)st.st_size;
    sha256_init(&c->sha256);
    sha1_init(&c->sha1);
    if (kind == HASH_GIT) {
        char head[32];
        int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)c->size);
        sha1_update(&c->sha1, (size_t)n + 1, (const uint8_t *)head); /* with its NUL */
    }
    return PGR_OK;
}

static void put_digest(check *c, file_hash *out) {
    uint8_t digest[SHA256_DIGEST_SIZE];
    size_t n = c->kind == HASH_SHA256 ? SHA256_DIGEST_SIZE : SHA1_DIGEST_SIZE;
    if (c->kind == HASH_SHA256)
        sha256_digest(&c->sha256, n, digest);
    else
        sha1_digest(&c->sha1, n, digest);
    *out = (file_hash){.kind = c->kind};
    for (size_t i = 0; i < n; i++) snprintf(out->hex + 2 * i, 3, "%02x", digest[i]);
}

pgr_status check_step(check *c, const char *path, bool *finished, file_hash *out, pgr_error *err) {
    uint8_t block[65536];
    *finished = false;
    for (int i = 0; i < STEP; i++) {
        ssize_t n = read(c->fd, block, sizeof block);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_file(err, path, errno);
        c->done += (uint64_t)n;
        if (n == 0) {
            *finished = true;
            put_digest(c, out);
            return PGR_OK;
        }
        if (c->kind == HASH_SHA256)
            sha256_update(&c->sha256, (size_t)n, block);
        else
            sha1_update(&c->sha1, (size_t)n, block);
    }
    return PGR_OK;
}

void check_close(check *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}
