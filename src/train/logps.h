/* logps.h - log-probabilities of the marked tokens of conversations, and the way back from a loss that is a function of
 * them: what DPO and GRPO need. */
#ifndef PGR_TRAIN_LOGPS_H
#define PGR_TRAIN_LOGPS_H

#include "train/run.h"
#include "train/turns.h"

typedef struct logps_pass {
    const chat_row *const *rows; /* (n) the caller's */
    size_t n, n_token;           /* marked tokens of all rows */
    train_seq *seqs;
    train_row *at;               /* (n_token) */
    int32_t *token;              /* (n_token) */
    float *logits;               /* (n_token, n_vocab), by logps_backward their gradients */
    double *logp;                /* (n_token) */
    double *slope;               /* (n_token) */
} logps_pass; /* all zero at first; logps_free in any case */

/* One pass over n rows, which it must have room for. sums: (n) of each row's marked tokens; NULL: not wanted. The
 * single ones are in p->logp, row by row. */
pgr_status logps_forward(logps_pass *p, train_run *r, const chat_row *const *rows, size_t n, double *sums,
                         pgr_error *err);
/* Adds the gradients of a loss whose derivatives are slope: (n) with respect to the sums, or with tokens, by a slope of
 * each of them. */
pgr_status logps_backward(logps_pass *p, train_run *r, const double *slope, pgr_error *err);
pgr_status logps_backward_tokens(logps_pass *p, train_run *r, const double *slopes /* (n_token) */, pgr_error *err);
void logps_free(logps_pass *p);

#endif
