/* given.c - log-probabilities of given tokens, as many rows of logits at once as there is room for. */
#include <math.h>

#include "base/watch.h"
#include "infer/local.h"

typedef struct given {
    local *l;
    const int32_t *tokens; /* (n) */
    size_t n;
    kv_seq seq;
    float *out;      /* (n) */
    infer_top *tops; /* (n, n_top) NULL: none */
    size_t n_top;
    pgr_error *err;
} given;

/* The likeliest tokens in the place of token t; row NULL: nothing stands before it. */
static void note_top(given *g, size_t t, const sampler_row *row) {
    int32_t tokens[INFER_TOP];
    float logprobs[INFER_TOP];
    size_t n = row && g->n_top > 0 ? sampler_top(row, g->n_top, tokens, logprobs) : 0;
    for (size_t i = 0; i < g->n_top; i++)
        g->tops[t * g->n_top + i] = i < n ? (infer_top){tokens[i], logprobs[i]} : (infer_top){-1, 0};
}

/* The rows first .. first + count - 1: each tells of the token behind it. */
static pgr_status read_rows(given *g, size_t first, size_t count) {
    static const float sums_alone[MAX_WANT]; /* temperature 0 */
    local *l = g->l;
    for (size_t i = 0; i < count; i++)
        l->rows[i] = (forward_row){.token = g->tokens[first + i], .pos = (uint32_t)(first + i), .want = true};
    PGR_TRY(pages_reserve(l, &g->seq, count, g->err));
    PGR_TRY(forward_run(l->forward, &l->kv, &(kv_seq *){&g->seq}, l->rows, count, l->logits, g->err));
    picks_prepare(l, count, sums_alone);
    for (size_t i = 0, t = first + 1; i < count && t < g->n; i++, t++) {
        g->out[t] = sampler_logprob(&l->picks[i], g->tokens[t]);
        if (isnan(g->out[t]))
            return fail(g->err, PGR_E_FORMAT, "the model's logits before token %zu are no numbers", t + 1);
        note_top(g, t, &l->picks[i]);
    }
    return PGR_OK;
}

static pgr_status read_all(given *g, const infer_options *o) {
    local *l = g->l;
    size_t at_once = l->o.n_batch < MAX_WANT ? l->o.n_batch : MAX_WANT;
    PGR_TRY(picks_reserve(l, g->n < at_once ? g->n : at_once, g->err));
    for (size_t first = 0; first < g->n; first += at_once) {
        size_t count = g->n - first < at_once ? g->n - first : at_once;
        PGR_TRY(read_rows(g, first, count));
        watch_report(&o->watch, "scoring", first + count, g->n, "tokens");
        PGR_TRY(watch_check(&o->watch, g->err));
    }
    return PGR_OK;
}

pgr_status local_logprobs(pgr_engine *e, const int32_t *tokens, size_t n, const infer_options *options, float *out,
                          pgr_error *err) {
    local *l = (local *)e;
    given g = {.l = l,
               .tokens = tokens,
               .n = n,
               .out = out,
               .tops = options->tops,
               .n_top = options->tops ? options->n_top : 0,
               .err = err};
    if (g.n_top > INFER_TOP) return fail(err, PGR_E_ARG, "n_top is %zu, expected at most %d", g.n_top, INFER_TOP);
    adapter_set *set = l->usual;
    if (options->adapters) PGR_TRY(adapters_take(l->sets, options->adapters, &set, err));
    adapters_use(l->sets, set);
    if (n > 0) {
        out[0] = NAN;
        note_top(&g, 0, NULL);
    }
    pgr_status s = read_all(&g, options);
    kv_release(&l->kv, &g.seq);
    if (options->adapters) adapters_drop(l->sets, set);
    return s;
}
