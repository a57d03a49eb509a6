/* text_psi.c - a step of psi: cross-entropy of a teacher's chains, and Bradley-Terry through the expected scores at
 * their places. */
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "train/loss.h"
#include "train/text.h"

typedef struct psi_row { /* a chain of the batch */
    chain_seq seq;
    text_places places;
} psi_row;

typedef struct psi_batch {
    const text *t;
    psi_row *rows;   /* (n) */
    chain_seq *seqs; /* (n) */
    size_t n, n_token, n_placed;
    uint64_t tokens; /* prompts counted */
    double ce, bt, hits, right, margin;
    arena arena;
} psi_batch;

/* ---- the batch ---- */

static pgr_status take_tokens(psi_batch *b, const ids *prompt, const text_chain *c, psi_row *row, pgr_error *err) {
    ids all = {0};
    ids_append(&all, prompt->v, prompt->n);
    pgr_status s = tok_encode(b->t->m->tok, c->text, c->n, 0, &all, err);
    if (b->t->end >= 0) ids_push(&all, b->t->end);
    int32_t *tokens = arena_array(&b->arena, all.n + 1, sizeof *tokens);
    if (s == PGR_OK && (!tokens || all.failed)) s = fail_mem(err);
    if (s == PGR_OK) {
        memcpy(tokens, all.v, all.n * sizeof *tokens);
        row->seq = (chain_seq){.tokens = tokens, .n = all.n, .from = prompt->n};
    }
    ids_free(&all);
    return s;
}

static pgr_status add_row(psi_batch *b, size_t pair, size_t order, pgr_error *err) {
    const text *t = b->t;
    const text_chain *c = &t->chains[pair][order];
    psi_row *row = &b->rows[b->n];
    text_example x;
    frame_prompt p = {.n_message = 0};
    ids prompt = {0};
    uint64_t draw = hash_value(hash_value(HASH_BEGIN, t->o->train.seed), pair); /* as the teacher saw it */
    PGR_TRY(text_example_make(t, &t->set, pair, TEXT_OWN, draw, &b->arena, &x, err));
    PGR_TRY(text_prompt(t, &x, order, &b->arena, &p, err));
    pgr_status s = text_prompt_tokens(t, &p, &prompt, err);
    frame_prompt_free(&p);
    if (s == PGR_OK) s = take_tokens(b, &prompt, c, row, err);
    ids_free(&prompt);
    if (s == PGR_OK)
        s = text_places_find(t, c->text, c->n, row->seq.tokens, row->seq.n, row->seq.from, order, &b->arena,
                             &row->places, err);
    if (s != PGR_OK) return s;
    row->seq.places = row->places.at;
    row->seq.n_place = row->places.n;
    b->seqs[b->n++] = row->seq;
    b->n_token += row->seq.n - row->seq.from;
    b->n_placed += row->places.n > 0;
    b->tokens += row->seq.n;
    return PGR_OK;
}

static pgr_status draw_batch(text *t, train_run *r, psi_batch *b, pgr_error *err) {
    b->rows = arena_array(&b->arena, 2 * r->o->batch, sizeof *b->rows);
    b->seqs = arena_array(&b->arena, 2 * r->o->batch, sizeof *b->seqs);
    if (!b->rows || !b->seqs) return fail_mem(err);
    for (size_t i = 0; i < r->o->batch; i++) {
        size_t pair = psi_set_draw(&t->set, r->state.position[0]++);
        for (size_t order = 0; order < 2; order++)
            if (t->chains[pair][order].accepted) PGR_TRY(add_row(b, pair, order, err));
    }
    return PGR_OK;
}

/* ---- the loss ---- */

double text_margin_loss(const text_places *p, const double *z, double tau, double scale, double *dz, double *margin) {
    double probs[CHAIN_NUMBERS], d, dp[CHAIN_NUMBERS];
    *margin = text_expected_margin(p, z);
    double loss = bradley_terry(*margin, tau, &d);
    for (size_t k = 0; k < p->n; k++) {
        slot_softmax(z + k * CHAIN_NUMBERS, CHAIN_NUMBERS, probs);
        for (size_t j = 0; j < CHAIN_NUMBERS; j++) dp[j] = scale * d * p->weight[k] * p->value[k][j];
        slot_backward(probs, dp, CHAIN_NUMBERS, dz + k * CHAIN_NUMBERS);
    }
    return loss;
}

static void add_margin(psi_batch *b, const text_places *p, const double *z, double *dz) {
    double margin, each = 1 / (double)b->n_placed;
    b->bt += each * text_margin_loss(p, z, b->t->o->tau, each * b->t->o->bt, dz, &margin);
    b->right += each * (margin > 0 ? 1 : margin < 0 ? 0 : 0.5);
    b->margin += each * margin;
}

static void psi_loss(void *ctx, size_t i, const chain_reading *r, chain_grads *g) {
    psi_batch *b = ctx;
    const psi_row *row = &b->rows[i];
    double each = 1 / (double)b->n_token;
    for (size_t k = 0; k < row->seq.n - row->seq.from; k++) {
        b->ce -= each * r->log_p[k];
        b->hits += each * r->hit[k];
        g->log_p[k] = -each;
    }
    if (row->places.n > 0) add_margin(b, &row->places, r->z, g->z);
}

pgr_status text_step_psi(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    text *t = ctx;
    psi_batch b = {.t = t};
    pgr_status s = draw_batch(t, r, &b, err);
    if (s == PGR_OK) s = run_chains(r, b.seqs, b.n, psi_loss, &b, true, err);
    m->loss = b.ce + t->o->bt * b.bt;
    m->tokens = b.tokens;
    m->epoch = (double)r->state.position[0] / (double)t->set.n_order;
    metrics_put(m, "ce", b.ce);
    metrics_put(m, "mean_token_accuracy", b.hits);
    metrics_put(m, "bt", b.bt);
    metrics_put(m, "accuracy", b.right);
    metrics_put(m, "margin", b.margin);
    metrics_put(m, "placed", b.n > 0 ? (double)b.n_placed / (double)b.n : 0);
    arena_free(&b.arena);
    return s;
}
