/* passes.c - a step's passes, shared out among the ranks: pass k is computed by rank k modulo their number, its numbers
 * are told to all, and the gradients of all passes are added in the order of the passes. What comes out does not depend
 * on how many ranks there are, to the bit: every pass's gradient is computed by itself, and sums are made in one
 * order. */
#include <string.h>

#include "base/mem.h"
#include "base/watch.h"
#include "train/run.h"

/* ---- gradients ---- */

static pgr_status sum_room(train_run *r, pgr_error *err) {
    if (!r->sum) r->sum = mem_array(r->state.n, sizeof *r->sum);
    if (!r->inbox && r->ranks) r->inbox = mem_array(r->state.n + pgr_ranks_count(r->ranks), sizeof *r->inbox);
    return r->sum && (r->inbox || !r->ranks) ? PGR_OK : fail_mem(err);
}

/* Before a pass goes backward: one that is not the step's first finds zeros. */
static pgr_status begin_gradient(train_run *r, pgr_error *err) {
    float *grads = trainable_grads(r->t);
    if (r->n_pass == 0 && !r->ranks) return PGR_OK;
    PGR_TRY(sum_room(r, err));
    if (r->n_pass == 1 && !r->ranks) memcpy(r->sum, grads, r->state.n * sizeof *grads);
    if (r->n_pass > 0) memset(grads, 0, r->state.n * sizeof *grads);
    return PGR_OK;
}

/* Those of a round, of n passes. */
static void add_gradients(train_run *r, size_t n) {
    if (r->ranks)
        ranks_add(r->ranks, trainable_grads(r->t), r->state.n, n, r->n_pass == 0, r->sum, r->inbox);
    else if (r->n_pass > 0)
        ranks_add(NULL, trainable_grads(r->t), r->state.n, 1, false, r->sum, NULL);
    r->n_pass += n;
}

void run_gradients_begin(train_run *r) {
    r->n_pass = 0;
    memset(trainable_grads(r->t), 0, r->state.n * sizeof(float));
}

void run_gradients_end(train_run *r) {
    if (r->n_pass == 0 || (r->n_pass == 1 && !r->ranks)) return; /* they stand where they belong */
    ranks_collect(r->ranks, r->sum, r->state.n);
    memcpy(trainable_grads(r->t), r->sum, r->state.n * sizeof *r->sum);
}

/* ---- rounds ---- */

typedef struct round {     /* as many passes as there are ranks, fewer in the last round */
    size_t first, n, mine; /* mine: n: none */
    double *told;          /* of all its passes, in order */
    size_t *sizes;         /* (ranks) */
    size_t at;             /* where mine begin */
} round;

static pgr_status round_open(const train_run *r, const pass_fns *f, void *ctx, size_t n_pass, round *x,
                             pgr_error *err) {
    size_t ranks = pgr_ranks_count(r->ranks), at = pgr_ranks_at(r->ranks), total = 0;
    x->n = n_pass - x->first < ranks ? n_pass - x->first : ranks;
    x->mine = at < x->n ? at : x->n;
    x->sizes = mem_zero(ranks, sizeof *x->sizes);
    if (!x->sizes) return fail_mem(err);
    for (size_t i = 0; i < x->n; i++) {
        if (i == x->mine) x->at = total;
        total += x->sizes[i] = f->size(ctx, x->first + i);
    }
    x->told = mem_zero(total + 1, sizeof *x->told);
    return x->told ? PGR_OK : fail_mem(err);
}

static pgr_status forward(train_run *r, const pass_fns *f, void *ctx, size_t n_pass, round *x, pgr_error *err) {
    PGR_TRY(watch_check(&r->o->watch, err));
    PGR_TRY(round_open(r, f, ctx, n_pass, x, err));
    return x->mine < x->n ? f->forward(ctx, x->first + x->mine, x->told + x->at, err) : PGR_OK;
}

static pgr_status back(train_run *r, const pass_fns *f, void *ctx, const round *x, pgr_error *err) {
    PGR_TRY(begin_gradient(r, err));
    return x->mine < x->n ? f->back(ctx, x->first + x->mine, err) : PGR_OK;
}

static pgr_status run_round(train_run *r, const pass_fns *f, void *ctx, size_t n_pass, round *x, pgr_error *err) {
    PGR_TRY(ranks_agree(r->ranks, forward(r, f, ctx, n_pass, x, err), err));
    ranks_share(r->ranks, x->told, x->sizes);
    for (size_t i = 0, at = 0; i < x->n; at += x->sizes[i++]) f->take(ctx, x->first + i, x->told + at, i == x->mine);
    if (!f->back) return PGR_OK;
    PGR_TRY(ranks_agree(r->ranks, back(r, f, ctx, x, err), err));
    add_gradients(r, x->n);
    return PGR_OK;
}

pgr_status run_passes(train_run *r, size_t n_pass, const pass_fns *f, void *ctx, pgr_error *err) {
    pgr_status s = PGR_OK;
    for (size_t first = 0; s == PGR_OK && first < n_pass; first += pgr_ranks_count(r->ranks)) {
        round x = {.first = first};
        s = run_round(r, f, ctx, n_pass, &x, err);
        mem_free(x.told);
        mem_free(x.sizes);
    }
    return s;
}

/* ---- what goes into a pass ---- */

pgr_status run_cut(train_run *r, size_t n, size_t (*tokens)(const void *ctx, size_t item), const void *ctx,
                   pass_cut *out, pgr_error *err) {
    *out = (pass_cut){.first = mem_array(n + 1, sizeof *out->first)};
    PGR_TRY(ranks_agree(r->ranks, out->first ? PGR_OK : fail_mem(err), err));
    for (size_t i = 0, sum = 0; i < n; i++) {
        size_t own = tokens(ctx, i);
        if (i == 0 || sum + own > r->o->pass_tokens) {
            out->first[out->n_pass++] = i;
            sum = 0;
        }
        sum += own;
    }
    out->first[out->n_pass] = n;
    return PGR_OK;
}

void run_cut_free(pass_cut *c) {
    mem_free(c->first);
    *c = (pass_cut){0};
}
