/* pairs.h - a benchmark's data in memory: rows by user, what may be learnt from and what is asked. */
#ifndef PGR_BENCH_PAIRS_H
#define PGR_BENCH_PAIRS_H

#include "facts/facts.h"
#include "pgenrm_bench.h"
#include "user/record.h"

typedef struct bench_user {
    const char *id;
    const char *demographics; /* "" if none */
    const size_t *train;      /* (n_train) indices into rows, in the file's order */
    size_t n_train;
    const size_t *test; /* (n_test) */
    size_t n_test;
} bench_user;

typedef struct bench_row {
    pair_record record;
    size_t user;     /* index into users */
    size_t question; /* rows with the same conversation text have the same number,
                          * and rows whose conversation goes on from it */
    size_t topic;    /* the same by the first turn of the user alone, in lower case, without punctuation */
    size_t item[2];  /* the responses' texts, numbered: chosen, rejected */
    bool train;      /* else it is asked */
    bool borrowed;   /* of history_from: never asked */
    bool again;      /* asked, and a train row too: nothing of its question is history */
} bench_row;

typedef struct bench_data {
    arena arena;
    const char *name; /* of the set: the file's name without its endings */
    bench_row *rows;  /* (n_row) */
    size_t n_row;
    bench_user *users; /* (n_user) */
    size_t n_user, n_question, n_topic, n_item;
    const char **items;          /* (n_item) distinct texts of responses */
    size_t n_test;               /* rows of the split that is asked */
    size_t n_all, n_all_user;    /* the same, and users who have such rows, before the limit */
    size_t *origin;              /* (n_row) of what is made from another set (derive.h): the row there; else NULL */
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

/* 1: the chosen response is the longer one, by characters; -1: the shorter; 0: neither. */
int bench_longer(const bench_row *row);

/* Are most asked rows about questions (topics) that train rows ask too, as statements of one consultation are? Then it
 * is not the question that keeps train and test apart but the pair, and so it is between folds. */
pgr_status bench_recur(const bench_data *d, bool by_topic, bool *recur, pgr_error *err);

/* Whose history a user gets in a stranger's control: the nth (from 0) after him in a seeded order of his group, the
 * users whom a chain of shared questions connects (a consultation of polis); users without such company are one group.
 * Where a group has fewer, they come round again. Only users who have a history take part; the others, and one who is
 * alone, are given themselves: they have no stranger. other: (n_user). */
pgr_status bench_strangers(const bench_data *d, uint64_t seed, size_t nth, size_t *other, pgr_error *err);

#endif
