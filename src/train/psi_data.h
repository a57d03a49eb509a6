/* psi_data.h - preference pairs of one kind in memory, user by user, and the order in which training takes them. */
#ifndef PGR_TRAIN_PSI_DATA_H
#define PGR_TRAIN_PSI_DATA_H

#include "facts/facts.h"
#include "pgenrm_train.h"
#include "user/record.h"

typedef struct psi_user {
    const char *id;
    size_t first, n; /* his train pairs */
    size_t n_asked;  /* pairs behind them that are asked about and never shown; only of files to evaluate on */
    const char *const *criteria; /* (n_criteria) that he stated, where the files have a record of him */
    size_t n_criteria;
} psi_user;

typedef struct psi_set {
    preference_pair *pairs; /* (n_pair) user by user */
    double *levels;         /* (n_pair, N_FACT) of the chosen response against the rejected one */
    size_t *user;           /* (n_pair) */
    const char **attributes; /* (n_pair) what weighed in the choice, "key: value" lines; "" where nothing is said */
    bool *held;             /* (n_pair) evaluated on, not learnt from */
    size_t n_pair;
    psi_user *users;        /* (n_user) by id */
    size_t n_user;
    uint64_t seed;
    size_t *order;          /* (n_order) what training draws from: pairs, or users */
    size_t n_order;
    size_t *shuffled;       /* (n_order) for the pass over them that is on */
    uint64_t epoch;         /* that pass; UINT64_MAX: none yet */
    uint32_t stream;        /* of random numbers */
    arena arena;
} psi_set;

typedef struct psi_load {
    const pgr_psi_data *data; /* (n_data) files, of which those of `kind` count */
    size_t n_data;
    pgr_psi_kind kind;
    bool evaluate; /* other splits too, as asked; everything is held */
    double held;   /* share of the users (quality: of the queries) that is held */
    uint64_t seed;
} psi_load;

/* No file of the kind: an empty set. Rows that a model may not be trained on (rules_is_lesson: the splits val and test,
 * the subset "history") are left out, but for `evaluate`. */
pgr_status psi_set_load(const psi_load *l, psi_set *out, pgr_error *err);
void psi_set_free(psi_set *s); /* an empty one is fine */

/* What training may draw: pairs that are not held, or (by_user) users who are not and have at least `least` pairs. */
pgr_status psi_set_order(psi_set *s, bool by_user, size_t least, pgr_error *err);
/* Draw number `position` (from 0): every pass over the list has an order of its own. */
size_t psi_set_draw(psi_set *s, uint64_t position);

/* The last user turn of a pair's context. */
const char *psi_query(const preference_pair *p);

#endif
