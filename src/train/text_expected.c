/* text_expected.c - margins of chains that were written, by the expectations at their scores: what judging reads of
 * them, where the model's distribution stands for the number that it happened to write. */
#include <math.h>
#include <string.h>

#include "train/loss.h"
#include "train/text.h"

typedef struct expecting {
    text_written **of;   /* (n) whose scores were found */
    chain_seq *seqs;     /* (n) */
    text_places *places; /* (n) */
    size_t n;
} expecting;

double text_expected_margin(const text_places *p, const double *z) {
    double probs[CHAIN_NUMBERS], margin = 0;
    for (size_t k = 0; k < p->n; k++) {
        slot_softmax(z + k * CHAIN_NUMBERS, CHAIN_NUMBERS, probs);
        margin += p->weight[k] * slot_expected(probs, p->value[k], CHAIN_NUMBERS);
    }
    return margin;
}

/* Prompt and chain as one sequence; its places, if they are found, make it one of those that are read. */
static pgr_status take(const text *t, text_written *w, arena *a, expecting *e, pgr_error *err) {
    ids prompt = {0};
    text_places *places = &e->places[e->n];
    PGR_TRY(text_prompt_tokens(t, w->prompt, &prompt, err));
    size_t from = prompt.n, n = from + w->chain->tokens.n;
    int32_t *tokens = arena_array(a, n + 1, sizeof *tokens);
    if (tokens) memcpy(tokens, prompt.v, from * sizeof *tokens);
    if (tokens && n > from) memcpy(tokens + from, w->chain->tokens.v, (n - from) * sizeof *tokens);
    ids_free(&prompt);
    if (!tokens) return fail_mem(err);
    const buf *text = &w->chain->text;
    PGR_TRY(text_places_find(t, text->data, text->n, tokens, n, from, w->order, a, places, err));
    if (places->n == 0) return PGR_OK;
    e->of[e->n] = w;
    e->seqs[e->n++] = (chain_seq){tokens, n, from, places->at, places->n};
    return PGR_OK;
}

static void read_margin(void *ctx, size_t i, const chain_reading *r, chain_grads *g) {
    const expecting *e = ctx;
    (void)g;
    e->of[i]->margin = text_expected_margin(&e->places[i], r->z);
}

pgr_status text_expected(const text *t, train_run *r, text_written *list, size_t n, arena *a, pgr_error *err) {
    expecting e = {arena_array(a, n + 1, sizeof *e.of), arena_array(a, n + 1, sizeof *e.seqs),
                   arena_array(a, n + 1, sizeof *e.places), 0};
    if (!e.of || !e.seqs || !e.places) return fail_mem(err);
    for (size_t i = 0; i < n; i++) list[i].margin = NAN;
    for (size_t i = 0; i < n; i++)
        if (list[i].chain->text.n > 0) PGR_TRY(take(t, &list[i], a, &e, err));
    return e.n > 0 ? run_chains(r, e.seqs, e.n, read_margin, &e, false, err) : PGR_OK;
}
