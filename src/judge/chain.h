/* chain.h - parses evaluation chains (docs/method.md, "The chain"): what the model wrote becomes persona, weighted
 * criteria, scores. A chain that does not parse is data with a reason, never a score. */
#ifndef PGR_JUDGE_CHAIN_H
#define PGR_JUDGE_CHAIN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

typedef enum chain_form {
    CHAIN_FULL,    /* two parts, <JSON_START> object <JSON_END> */
    CHAIN_COMPACT, /* persona line, criterion lines, total line */
    CHAIN_SLOTS,   /* the same, written by the program from what it read at slots (slots.h) */
} chain_form;

enum { CHAIN_MAX_CRITERIA = 32 };

typedef struct chain_criterion {
    const char *name;
    double weight;        /* percent; the weights of a chain are normalised to sum to 100; NaN where none was given */
    const char *reason;   /* "" if none */
    double *scores;       /* (n_response) by place, NaN where none was given */
    double *expected;     /* (n_response) means of the distributions that they were drawn from; NaN: not known */
} chain_criterion;

typedef struct chain {
    bool parsed;
    const char *reason;   /* why not, else NULL */
    const char *persona;  /* "" if none */
    chain_criterion *criteria;
    size_t n_criterion;
    double *declared;     /* (n_response) by place: totals that the chain states; NaN where missing */
    double *recomputed;   /* (n_response) weighted sums of the criterion scores;
                           * all NaN unless every weight and score is there */
    double weight_sum;    /* of the weights as written, before normalisation; NaN if none */
    double *expected;     /* (n_response) weighted sums of what the criteria's scores are expected to be; without
                           * those the same of the totals. NaN unless every distribution is known */
    const struct chain_text *text; /* while it is read */
    chain_criterion *whole; /* (n_whole) what `expected` is the sum of, where that is not the chain's own criteria:
                             * a chain of slots draws a few criteria of many */
    size_t n_whole;
} chain;

typedef struct chain_place { /* of a chain's text, whose number was drawn from a known distribution */
    size_t at;   /* byte where the number begins */
    double mean;
} chain_place;

typedef struct chain_text {
    const char *s; /* (n) */
    size_t n;
    const chain_place *places; /* (n_place) by `at` */
    size_t n_place;
} chain_text;

/* parsed: the declared scores of all n_response places are there, finite and in 0..10 for CHAIN_FULL and 1..10 for
 * CHAIN_COMPACT. Memory is the arena's. Only running out of memory is an error. */
pgr_status chain_read(chain_form form, const chain_text *text, size_t n_response, arena *a, chain *out, pgr_error *err);
/* The same of a text alone. */
pgr_status chain_parse(chain_form form, const char *text, size_t n, size_t n_response, arena *a, chain *out,
                       pgr_error *err);

/* The criteria whose weighted scores of a kind are the totals of that kind; *n of them. */
const chain_criterion *chain_criteria(const chain *c, pgr_score_kind kind, size_t *n);
/* (n_response) by place, the scores of one kind; NULL: the chain has none of it. Of AUTO there are none. */
const double *chain_scores(const chain *c, pgr_score_kind kind);
/* The same of a criterion: as expected, or else as written. */
const double *criterion_scores(const chain_criterion *k, pgr_score_kind kind);

/* The compact form's totals from the criterion lines of a chain so far: "A 7.2, B 4.1" (one decimal, weights
 * normalised). PGR_E_FORMAT where no criterion line is complete. */
pgr_status chain_totals(const char *text, size_t n, size_t n_response, buf *out, pgr_error *err);

#endif
