/* pairs.h - a benchmark's data in memory: rows by user, what may be learnt from and what is asked. */
#ifndef PGR_BENCH_PAIRS_H
#define PGR_BENCH_PAIRS_H

#include "judge/facts.h"
#include "pgenrm_bench.h"
#include "user/record.h"

typedef struct bench_user {
    const char *id;
    const char *demographics; /* "" if none */
    const size_t *train;      /* (n_train) indices into rows, in the file's order */
    size_t n_train;
    const size_t *test;       /* (n_test) */
    size_t n_test;
} bench_user;

typedef struct bench_row {
    pair_record record;
    size_t user;         /* index into users */
    size_t question;     /* rows with the same conversation text have the same number,
                          * and rows whose conversation goes on from it */
    size_t item[2];      /* the responses' texts, numbered: chosen, rejected */
    bool train;          /* else it is asked */
    bool again;          /* asked, and a train row too: nothing of its question is history */
} bench_row;

typedef struct bench_data {
    arena arena;
    const char *name;   /* of the set: the file's name without its endings */
    bench_row *rows;    /* (n_row) */
    size_t n_row;
    bench_user *users;  /* (n_user) */
    size_t n_user, n_question, n_item;
    const char **items; /* (n_item) distinct texts of responses */
    size_t n_test;      /* rows of the split that is asked */
    size_t left_out[PGR_LEFT_N]; /* pairs of the files that were left out, by reason */
} bench_data;

/* Rows of `split` of the files are asked; their train rows (and those of history_from, which may be other files) are
 * history. Split "train": train rows are both, each asked a second time as a row of its own. users: files with
 * {"user_id", "demographics"}, or NULL. A row that has the split "" is asked. subset NULL: all rows. */
typedef struct bench_files {
    const char *const *paths;
    size_t n_path;
    const char *const *history_from;
    size_t n_history_from;
    const char *const *users;
    size_t n_users;
    const char *split, *subset;
    /* the column that names a row's user; NULL: "user_id", or the form's own. A row without one is a user of its own */
    const char *user_key;
    size_t limit; /* asked rows, spread evenly over users by the seed; 0: all */
    uint64_t seed;
} bench_files;

pgr_status bench_load(const bench_files *f, bench_data **out, pgr_error *err);
void bench_data_free(bench_data *d);

/* The same from records in memory, whose texts stay the caller's: those of split "train" are history, those of `split`
 * or "" are asked, others are left out. */
pgr_status bench_data_of(const char *name, const pair_record *records, size_t n, const char *split, bench_data **out,
                         pgr_error *err);

/* Whose history a user gets in the stranger's control: the next in a seeded order of his group, the users whom a chain
 * of shared questions connects (a consultation of polis); users without such company are one group. Only users who have
 * a history take part; the others, and one who is alone, are given themselves: they have no stranger. other:
 * (n_user). */
pgr_status bench_strangers(const bench_data *d, uint64_t seed, size_t *other, pgr_error *err);

/* What a method says of the rows that are asked, in the order of rows: p[i] is the probability (or 1, 0, 0.5 for a
 * verdict or a tie) that the chosen response is the better one; NaN: the method failed there. */
typedef struct bench_verdicts {
    double *p; /* (n_test) */
} bench_verdicts;

/* A statistical method (no language model). stranger: histories are another user's, the same permutation for all
 * methods of a seed. history: pairs of the user that may be used; 0: all. */
typedef struct bench_method_options {
    size_t history;
    bool stranger;
    uint64_t seed;
    pgr_watch watch;
    pgr_embedder *embedder; /* NULL: methods that need one are refused, unless there are vectors */
    const float *vectors;   /* (n_item, dims) of the items, as bench_embed gives them;
                             * NULL: a method that needs them embeds */
    size_t dims;
    pgr_scalar *scalar;  /* NULL: methods that need a reward model are refused, unless there are gaps */
    const float *gaps;   /* (n_row) what it says of the rows, as bench_scalars gives them;
                          * NULL: a method that needs them asks */
} bench_method_options;

/* Embeddings of all items, so that several methods share them. *vectors: (n_item, pgr_embedder_dims)
 * the caller's (mem_free). */
pgr_status bench_embed(const bench_data *d, const bench_method_options *o, float **vectors, pgr_error *err);

typedef pgr_status (*bench_method_fn)(const bench_data *d, const bench_method_options *o, double *p /* (n_test) */,
                                      pgr_error *err);
typedef struct bench_method {
    const char *name; /* as in docs/methods.md: "longest", "length-personal", "attributes", ... */
    bool personal;    /* uses histories: has a stranger's control */
    enum bench_needs { NEEDS_NOTHING, NEEDS_EMBEDDER, NEEDS_SCALAR } needs;
    bench_method_fn run;
} bench_method;
extern const bench_method BENCH_METHODS[]; /* the last has name NULL */
const bench_method *bench_method_find(const char *name); /* NULL: none */

#endif
