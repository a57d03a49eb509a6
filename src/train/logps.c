/* logps.c - one forward and backward over some rows, what neighbours begin with alike computed once; sums in the order
 * of rows and tokens. */
#include "train/logps.h"

#include "base/mem.h"
#include "train/loss.h"

static pgr_status alloc(logps_pass *p, const pgr_model *m, pgr_error *err) {
    for (size_t i = 0; i < p->n; i++) p->n_token += p->rows[i]->n_loss;
    p->seqs = mem_array(p->n, sizeof *p->seqs);
    p->at = mem_array(p->n_token, sizeof *p->at);
    p->token = mem_array(p->n_token, sizeof *p->token);
    p->logits = mem_array(p->n_token, m->config.n_vocab * sizeof *p->logits);
    p->logp = mem_array(p->n_token, sizeof *p->logp);
    p->slope = mem_array(p->n_token, sizeof *p->slope);
    return p->seqs && p->at && p->token && p->logits && p->logp && p->slope ? PGR_OK : fail_mem(err);
}

void logps_free(logps_pass *p) {
    mem_free(p->seqs);
    mem_free(p->at);
    mem_free(p->token);
    mem_free(p->logits);
    mem_free(p->logp);
    mem_free(p->slope);
    *p = (logps_pass){0};
}

typedef struct token_job {
    logps_pass *p;
    size_t n_vocab;
} token_job;

static void read_token(void *ctx, size_t i, size_t worker) {
    const token_job *j = ctx;
    (void)worker;
    j->p->logp[i] = -token_loss(j->p->logits + i * j->n_vocab, j->n_vocab, j->p->token[i], 0, NULL, NULL);
}

pgr_status logps_forward(logps_pass *p, train_run *r, const chat_row *const *rows, size_t n, double *sums,
                         pgr_error *err) {
    *p = (logps_pass){.rows = rows, .n = n};
    PGR_TRY(alloc(p, r->m, err));
    chat_rows_list(p->rows, p->n, p->seqs, p->at, p->token);
    backward_share(p->seqs, n, p->at, p->n_token);
    PGR_TRY(backward_forward(r->b, p->seqs, n, p->at, p->n_token, p->logits, err));
    pool_run(r->m->threads, p->n_token, read_token, &(token_job){p, r->m->config.n_vocab});
    for (size_t i = 0, at = 0; sums && i < n; i++) {
        sums[i] = 0;
        for (size_t end = at + rows[i]->n_loss; at < end; at++) sums[i] += p->logp[at];
    }
    return PGR_OK;
}

/* d(-log p) times minus the slope, in place of the logits. */
static void turn_token(void *ctx, size_t i, size_t worker) {
    const token_job *j = ctx;
    float *z = j->p->logits + i * j->n_vocab;
    (void)worker;
    token_loss(z, j->n_vocab, j->p->token[i], -j->p->slope[i], z, NULL);
}

pgr_status logps_backward_tokens(logps_pass *p, train_run *r, const double *slopes, pgr_error *err) {
    for (size_t i = 0; i < p->n_token; i++) p->slope[i] = slopes[i];
    pool_run(r->m->threads, p->n_token, turn_token, &(token_job){p, r->m->config.n_vocab});
    return backward_run(r->b, p->logits, err);
}

pgr_status logps_backward(logps_pass *p, train_run *r, const double *slope, pgr_error *err) {
    for (size_t i = 0, at = 0; i < p->n; i++)
        for (size_t end = at + p->rows[i]->n_loss; at < end; at++) p->slope[at] = slope[i];
    return logps_backward_tokens(p, r, p->slope, err);
}
