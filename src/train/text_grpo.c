/* text_grpo.c - two passes over the same sequences: log p under the reference, then the loss. */
#include "train/text_grpo.h"

#include <math.h>

#include "base/mem.h"
#include "train/reference.h"

typedef struct grpo_batch {
    text_drawn *list; /* (n) */
    chain_seq *seqs;  /* (n) */
    size_t n;
    double *weight; /* (n) of each of a chain's tokens */
    const grpo_terms *how;
    text_grpo_sums *sums;
} grpo_batch;

static pgr_status batch_begin(grpo_batch *b, grpo_mean mean, pgr_error *err) {
    size_t *n_token = mem_array(b->n + 1, sizeof *n_token);
    b->seqs = mem_array(b->n + 1, sizeof *b->seqs);
    b->weight = mem_array(b->n + 1, sizeof *b->weight);
    pgr_status s = n_token && b->seqs && b->weight ? PGR_OK : fail_mem(err);
    for (size_t i = 0; s == PGR_OK && i < b->n; i++) {
        b->seqs[i] = b->list[i].seq;
        n_token[i] = b->seqs[i].n - b->seqs[i].from;
    }
    if (s == PGR_OK) grpo_weights(mean, n_token, b->n, b->weight);
    mem_free(n_token);
    return s;
}

static void keep_reference(void *ctx, size_t i, const chain_reading *r, chain_grads *g) {
    const grpo_batch *b = ctx;
    (void)g;
    for (size_t k = 0; k < b->seqs[i].n - b->seqs[i].from; k++) b->list[i].ref[k] = r->log_p[k];
}

static void note_gap(text_grpo_sums *sums, double gap) {
    sums->n_known++;
    sums->gap += gap;
    if (!(gap <= sums->gap_max)) sums->gap_max = gap;
}

static void chain_loss(void *ctx, size_t i, const chain_reading *r, chain_grads *g) {
    const grpo_batch *b = ctx;
    const text_drawn *c = &b->list[i];
    text_grpo_sums *sums = b->sums;
    for (size_t k = 0; k < c->seq.n - c->seq.from; k++) {
        bool known = !isnan(c->old[k]);
        double old = known ? c->old[k] : r->log_p[k], ref = b->how->kl > 0 ? c->ref[k] : r->log_p[k];
        grpo_token x = grpo_token_loss(b->how, r->log_p[k], old, ref, c->advantage);
        sums->loss += b->weight[i] * x.loss;
        g->log_p[k] = b->weight[i] * x.slope;
        sums->kl += x.kl;
        sums->entropy += r->entropy[k];
        sums->low += x.clipped == -1;
        sums->high += x.clipped > 0;
        sums->n_token++;
        if (known) note_gap(sums, fabs(old - r->log_p[k]));
    }
}

static pgr_status read_reference(train_run *r, grpo_batch *b, float *reference, pgr_error *err) {
    reference_exchange(r, reference);
    pgr_status s = run_chains(r, b->seqs, b->n, keep_reference, b, false, err);
    reference_exchange(r, reference);
    return s;
}

pgr_status text_grpo_learn(train_run *r, text_drawn *list, size_t n, const grpo_terms *how, grpo_mean mean,
                           float *reference, text_grpo_sums *out, pgr_error *err) {
    grpo_batch b = {.list = list, .n = n, .how = how, .sums = out};
    *out = (text_grpo_sums){0};
    pgr_status s = batch_begin(&b, mean, err);
    if (s == PGR_OK && how->kl > 0) s = read_reference(r, &b, reference, err);
    if (s == PGR_OK) s = run_chains(r, b.seqs, n, chain_loss, &b, true, err);
    mem_free(b.seqs);
    mem_free(b.weight);
    return s;
}
