/* store.h - users, their pairs and what was computed of them, in one SQLite file (WAL; one writer, many readers) or a
 * database of PostgreSQL. What is derived (embeddings, analyses) belongs to a user's rows by foreign keys: forgetting
 * him removes all of it. */
#ifndef PGR_USER_STORE_H
#define PGR_USER_STORE_H

#include "user/record.h"

typedef struct pgr_store store; /* the public pgr_store */

/* Writes between begin and commit are one transaction: all of them or none, whatever happens. */
pgr_status store_begin(store *s, pgr_error *err);
/* The same for one user's rows, who is put before any of his pairs is: several programs at once where the database can.
 */
pgr_status store_begin_user(store *s, pgr_error *err);
pgr_status store_commit(store *s, pgr_error *err);
void store_rollback(store *s);

pgr_status store_put_user(store *s, const user_record *u, pgr_error *err);            /* adds or completes */
/* the same pair twice is one; makes its user */
pgr_status store_put_pair(store *s, const pair_record *p, bool *added, pgr_error *err);

typedef struct stored_user {
    user_record user;
    int64_t key;              /* the store's own number */
    const pair_record *pairs; /* (n_pair) in the order in which they came */
    const int64_t *pair_keys; /* (n_pair) */
    size_t n_pair;
} stored_user;

/* PGR_E_ARG where there is no such user. split: only these pairs; NULL: all. Memory of the arena. */
pgr_status store_load_user(store *s, const char *id, const char *split, arena *a, stored_user *out, pgr_error *err);
pgr_status store_has_user(store *s, const char *id, bool *there, pgr_error *err);
/* A request without a history gets what is known of its user (pgr_request_complete): texts stay the user's. */
struct pgr_request;
pgr_status store_complete_request(struct pgr_request *r, const stored_user *u, pgr_error *err);
/* After a PGR_E_IO of a writing call: it was undone because the disk, or what may be used of it, is full. */
bool store_is_full(const store *s);
/* Users whose names begin so, in the order of the names' bytes, `most` at most, to fn until it returns false. */
pgr_status store_list_named(store *s, const char *begin, size_t most, pgr_user_fn fn, void *ctx, pgr_error *err);
pgr_status store_count(store *s, size_t *n_user, size_t *n_pair, pgr_error *err);

/* Calls fn with every user in the order of keys; a status other than PGR_OK ends the walk and is returned. The memory
 * is fn's for the call only. */
typedef pgr_status (*store_user_fn)(void *ctx, const stored_user *u, pgr_error *err);
pgr_status store_each_user(store *s, const char *split, store_user_fn fn, void *ctx, pgr_error *err);

/* Derived vectors of a pair: what ("chosen", "rejected", "query", "analysis"),
 * of which embedder (its name and dimension). */
pgr_status store_put_vector(store *s, int64_t pair_key, const char *what, const char *embedder, const float *v,
                            size_t n, pgr_error *err);
/* *found = false: not there; out (n) is then not written. */
pgr_status store_get_vector(store *s, int64_t pair_key, const char *what, const char *embedder, float *out, size_t n,
                            bool *found, pgr_error *err);

/* The preference analysis (Part 1) that a model wrote for a pair. */
pgr_status store_put_analysis(store *s, int64_t pair_key, const char *model, const char *text, pgr_error *err);
pgr_status store_get_analysis(store *s, int64_t pair_key, const char *model, arena *a,
                              const char **out /* NULL: none */, pgr_error *err);

/* How long a call waits for another program that uses the store; 10,000 at first. */
void store_set_patience(store *s, int milliseconds);

/* From now on what is committed outlives a power cut, too; without it, a kill. */
pgr_status store_set_durable(store *s, pgr_error *err);

#endif
