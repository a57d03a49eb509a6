/* sampler.h - picks one token from a row of logits. One uniform number per token decides, so a sample is a function of
 * (logits, settings, number) and of nothing else. */
#ifndef PGR_INFER_SAMPLER_H
#define PGR_INFER_SAMPLER_H

#include "base/status.h"
#include "math/vector.h"

typedef struct sampler sampler; /* scratch for one vocabulary size; one thread at a time */

pgr_status sampler_create(size_t n_vocab, sampler **out, pgr_error *err);
void sampler_free(sampler *s);

/* A row of logits made ready for picking: what needs no knowledge of masks and numbers, so that many rows are made
 * ready in parallel. Buffers are the row's own, sizes those of the vocabulary. */
typedef struct sampler_row {
    const float *logits; /* the caller's, until the pick */
    size_t n_token;
    float max;
    double sum;         /* of exp(logit - max) */
    float temperature;
    float *p;           /* (n_vocab) exp((logit - max) / temperature); arbitrary at temperature 0 */
    /* ((n_vocab + 63) / 64) sums of p over 64 tokens, a word of a mask; arbitrary at temperature 0 */
    double *block;
} sampler_row;

pgr_status sampler_row_create(size_t n_vocab, sampler_row *out, pgr_error *err);
void sampler_row_free(sampler_row *row);

/* Errors are left to the pick: logits that are no distribution make a sum that is no positive number.
 * logits: (n_token). threads: rows of their own. */
void sampler_prepare(sampler_row *row, const kernels *k, const float *logits, size_t n_token, float temperature);

/* Tokens i >= n_token (rows of padding) and tokens whose mask bit is 0 have probability 0. mask: NULL, or (n_token +
 * 63) / 64 words. Order: mask, temperature, top-k, min-p (p >= min_p * the largest p), top-p (smallest set whose
 * probability reaches top_p, at least one token), each on what the one before it left, renormalised; then the token
 * where the running sum in id order passes u. temperature 0: the largest logit, lowest id first. Ties at a cut keep
 * the lower id. *logprob: log of its probability at temperature 1 over the n_token tokens, before any mask or cut.
 * PGR_E_LIMIT: no token is allowed (a logit of -inf counts as not allowed). PGR_E_FORMAT: the logits hold NaN or +inf,
 * or only -inf.                                             row: prepared at the settings' temperature; u in [0, 1) */
pgr_status sampler_pick(sampler *s, const kernels *k, const sampler_row *row, const uint64_t *mask,
                        const pgr_sampling *settings, double u, int32_t *token, float *logprob, pgr_error *err);

/* log p(token) at temperature 1; NaN where the logits are no distribution. */
float sampler_logprob(const sampler_row *row, int32_t token);

/* The n tokens of the largest logits, largest first, ties by the lower id, with the logprob of each: 0 or more of them,
 * as many as there are. Returns how many; 0 where the logits are no distribution.       tokens, logprobs: (n) */
size_t sampler_top(const sampler_row *row, size_t n, int32_t *tokens, float *logprobs);

pgr_status sampler_check(const pgr_sampling *settings, pgr_error *err); /* ranges; the error names the field */

#endif
