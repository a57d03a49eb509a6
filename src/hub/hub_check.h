/* hub_check.h - checksums of files from a hub: sha256 of large files, git's blob sha1 of small ones. */
#ifndef PGR_HUB_HUB_CHECK_H
#define PGR_HUB_HUB_CHECK_H

#include <nettle/sha1.h>
#include <nettle/sha2.h>

#include "base/status.h"

typedef enum hash_kind {
    HASH_NONE,
    HASH_SHA256, /* of the content */
    HASH_GIT,    /* sha1 of "blob SIZE\0" and the content */
} hash_kind;

typedef struct file_hash {
    hash_kind kind;
    char hex[65]; /* lower case */
} file_hash;

/* 64 hex digits are a sha256, 40 a git blob sha1; quotes and a leading W/ are taken off. Anything else: HASH_NONE. */
file_hash hash_from_etag(const char *etag);
bool hash_equal(const file_hash *a, const file_hash *b);
const char *hash_name(hash_kind kind);

/* A file that is hashed piece by piece, so that transfers go on meanwhile. */
typedef struct check {
    int fd;
    uint64_t size, done;
    hash_kind kind;
    struct sha256_ctx sha256;
    struct sha1_ctx sha1;
} check;

pgr_status check_open(check *c, const char *path, hash_kind kind, pgr_error *err);
/* Hashes a few megabytes more. *finished: *out is the hash of the whole file. */
pgr_status check_step(check *c, const char *path, bool *finished, file_hash *out, pgr_error *err);
void check_close(check *c); /* all that check_open took; needed after errors too */

#endif
