/* derive.h - sets made from another one: its rows in other roles, for cross-validation, or with other texts in the
 * rejected responses' places. Texts stay the other set's, which must outlive what is made of it. */
#ifndef PGR_BENCH_DERIVE_H
#define PGR_BENCH_DERIVE_H

#include "bench/pairs.h"

/* Which fold each row belongs to: rows about one question (its first turn) are in one fold. Where most asked rows are
 * about questions that train rows ask too, as the statements of a consultation are, questions keep nothing apart, and
 * rows of one conversation are in one fold. */
typedef struct fold_plan {
    size_t n;             /* folds */
    unsigned char *fold;  /* (n_row) < n */
    bool by_conversation; /* else by question */
} fold_plan;

enum { FOLDS_MAX = 100 };

/* Groups are shuffled by the seed and dealt out. n: 2 to FOLDS_MAX. PGR_E_ARG: there are fewer groups than folds. */
pgr_status folds_plan(const bench_data *d, size_t n, uint64_t seed, fold_plan *out, pgr_error *err);
void folds_free(fold_plan *p);

/* Rows of the fold are asked, the others are learnt from; borrowed rows of the fold are neither. *out: with `origin`,
 * bench_data_free. */
pgr_status folds_data(const bench_data *d, const fold_plan *p, size_t fold, bench_data **out, pgr_error *err);

/* ---- texts that should never win ---- */

enum { HOLLOW_KINDS = 7 };
extern const char *const HOLLOW_NAMES[HOLLOW_KINDS];

/* The same train rows; each asked row HOLLOW_KINDS times, with a text in the rejected response's place that says
 * nothing: the i-th asked row of d has the rows i * HOLLOW_KINDS and on among those that are asked. */
pgr_status hollow_data(const bench_data *d, bench_data **out, pgr_error *err);

#endif
