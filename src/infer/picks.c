/* picks.c - rows of logits made ready for picking, all of a pass at once, in parallel. */
#include "infer/local.h"

/* Before the first token: memory is touched only as far as chains run together. */
pgr_status picks_reserve(local *l, size_t n, pgr_error *err) {
    if (n > MAX_WANT) n = MAX_WANT;
    while (l->n_pick < n) {
        PGR_TRY(sampler_row_create(l->m->config.n_vocab, &l->picks[l->n_pick], err));
        l->n_pick++;
    }
    return PGR_OK;
}

typedef struct prepare_job {
    local *l;
    const float *temperature;
} prepare_job;

static void prepare_task(void *ctx, size_t i, size_t worker) {
    (void)worker;
    const prepare_job *p = ctx;
    local *l = p->l;
    sampler_prepare(&l->picks[i], l->m->k, l->logits + i * l->m->config.n_vocab, l->shared.n_token, p->temperature[i]);
}

void picks_prepare(local *l, size_t n, const float *temperature) {
    prepare_job p = {l, temperature};
    pool_run(l->m->threads, n, prepare_task, &p);
}
