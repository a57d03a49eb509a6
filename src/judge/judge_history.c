/* judge_history.c - which pairs of a history a prompt shows: drawn at random (the paper's), the last ones, or those
 * that say most about the request. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "judge/judging.h"
#include "prototype/vec.h"

/* ---- embedded texts -------------------------------------------------------------------------------------------- */

enum { EMBEDDINGS_KEPT = 20000 }; /* texts: the vectors of more are computed again where they come again */

struct embeddings {
    const pgr_embedder *embedder;
    size_t dims, n, cap; /* texts; places in the tables */
    char **texts;        /* (n) */
    float *vectors;      /* (cap / 2, dims) */
    size_t *table;       /* (cap) hash table: 0 free, else text - 1; at most half full */
};

void embeddings_free(embeddings *e) {
    if (!e) return;
    for (size_t i = 0; i < e->n; i++) mem_free(e->texts[i]);
    mem_free(e->texts);
    mem_free(e->vectors);
    mem_free(e->table);
    mem_free(e);
}

static size_t hash_of(const char *s) {
    uint64_t h = hash_text(HASH_BEGIN, s);
    return (size_t)(h ^ h >> 32);
}

/* The place of the text, or the free one where it would go. */
static size_t find_place(const embeddings *e, const char *text) {
    size_t at = hash_of(text) & (e->cap - 1);
    while (e->table[at] && strcmp(e->texts[e->table[at] - 1], text) != 0) at = (at + 1) & (e->cap - 1);
    return at;
}

/* Room for one more text. */
static pgr_status grow(embeddings *e, pgr_error *err) {
    if (e->n < e->cap / 2) return PGR_OK;
    size_t cap = e->cap ? 2 * e->cap : 64;
    char **texts = mem_resize(e->texts, cap / 2 * sizeof *texts);
    if (texts) e->texts = texts;
    float *vectors = mem_resize(e->vectors, cap / 2 * e->dims * sizeof *vectors);
    if (vectors) e->vectors = vectors;
    size_t *table = mem_zero(cap, sizeof *table);
    if (!texts || !vectors || !table) {
        mem_free(table);
        return fail_mem(err);
    }
    mem_free(e->table);
    e->table = table;
    e->cap = cap;
    for (size_t i = 0; i < e->n; i++) e->table[find_place(e, e->texts[i])] = i + 1;
    return PGR_OK;
}

static pgr_status add_text(embeddings *e, const char *text, pgr_error *err) {
    PGR_TRY(grow(e, err));
    size_t at = find_place(e, text);
    if (e->table[at]) return PGR_OK;
    e->texts[e->n] = mem_strdup(text);
    if (!e->texts[e->n]) return fail_mem(err);
    e->table[at] = ++e->n;
    return PGR_OK;
}

static const float *vector_of(const embeddings *e, const char *text) {
    return e->vectors + (e->table[find_place(e, text)] - 1) * e->dims;
}

static const char *question(const turn *turns, size_t n) {
    return n ? turns[n - 1].text : "";
}

static pgr_status add_texts(embeddings *e, const pgr_request *r, const preference_pair *pairs, size_t n,
                            pgr_error *err) {
    PGR_TRY(add_text(e, question(r->messages, r->n_message), err));
    for (size_t i = 0; i < r->n_response; i++) PGR_TRY(add_text(e, r->responses[i], err));
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(add_text(e, question(pairs[i].context, pairs[i].n_context), err));
        PGR_TRY(add_text(e, pairs[i].chosen, err));
        PGR_TRY(add_text(e, pairs[i].rejected, err));
    }
    return PGR_OK;
}

/* Vectors of the texts from `first` on, of length 1. */
static pgr_status embed_new(judging *j, embeddings *e, size_t first) {
    size_t n = e->n - first;
    if (n == 0) return PGR_OK;
    size_t *lens = mem_array(n, sizeof *lens);
    if (!lens) return fail_mem(&j->error);
    for (size_t i = 0; i < n; i++) lens[i] = strlen(e->texts[first + i]);
    pgr_embed_options o = pgr_embed_options_default();
    o.watch.cancel = j->o->watch.cancel;
    float *out = e->vectors + first * e->dims;
    pgr_status s = pgr_embed(j->o->embedder, (const char *const *)e->texts + first, lens, n, &o, out, NULL, &j->error);
    mem_free(lens);
    for (size_t i = 0; s == PGR_OK && i < n; i++) vec_normalise(out + i * e->dims, e->dims);
    return s;
}

static void forget_from(embeddings *e, size_t first) {
    while (e->n > first) mem_free(e->texts[--e->n]);
    if (e->table) memset(e->table, 0, e->cap * sizeof *e->table);
    for (size_t i = 0; i < e->n; i++) e->table[find_place(e, e->texts[i])] = i + 1;
}

/* Those of an embedder, of the desk's; too many texts, or another embedder, and all of them go. */
static pgr_status find_embeddings(judging *j, embeddings **out) {
    desk *d = j->desk;
    const embeddings *e = d->embeddings;
    if (e && (e->embedder != j->o->embedder || e->n >= EMBEDDINGS_KEPT)) {
        embeddings_free(d->embeddings);
        d->embeddings = NULL;
    }
    if (!d->embeddings) {
        d->embeddings = mem_zero(1, sizeof *d->embeddings);
        if (!d->embeddings) return fail_mem(&j->error);
        d->embeddings->embedder = j->o->embedder;
        d->embeddings->dims = pgr_embedder_dims(j->o->embedder);
    }
    *out = d->embeddings;
    return PGR_OK;
}

static pgr_status embed_texts(judging *j, const preference_pair *pairs, size_t n) {
    embeddings *e = NULL;
    PGR_TRY(find_embeddings(j, &e));
    size_t first = e->n;
    pgr_status s = add_texts(e, j->r, pairs, n, &j->error);
    if (s == PGR_OK) s = embed_new(j, e, first);
    if (s != PGR_OK) forget_from(e, first);
    return s;
}

/* ---- relevance ------------------------------------------------------------------------------------------------- */

/* The greatest cosine between one of the pair's texts and one of the candidates, plus half of that between the
 * queries. */
static double relevance(const embeddings *e, const pgr_request *r, const preference_pair *p) {
    const float *sides[2] = {vector_of(e, p->chosen), vector_of(e, p->rejected)};
    double greatest = -1;
    for (size_t i = 0; i < r->n_response; i++)
        for (size_t k = 0; k < 2; k++) {
            double cosine = vec_dot(sides[k], vector_of(e, r->responses[i]), e->dims);
            if (cosine > greatest) greatest = cosine;
        }
    const float *asked = vector_of(e, question(p->context, p->n_context));
    return greatest + 0.5 * vec_dot(asked, vector_of(e, question(r->messages, r->n_message)), e->dims);
}

static pgr_status measure(judging *j, const preference_pair *pairs, const float *vectors, size_t n, double *out) {
    const judge_source *source = j->source;
    if (source && source->relevance) return source->relevance(source->ctx, j->r, pairs, vectors, n, out, &j->error);
    if (!source && j->o->people) return people_relevance(j->o->people, j->r, pairs, vectors, n, out, &j->error);
    if (!j->o->embedder)
        return fail(&j->error, PGR_E_ARG, "relevant pairs were asked for without an embedder, expected one");
    PGR_TRY(embed_texts(j, pairs, n));
    for (size_t i = 0; i < n; i++) out[i] = relevance(j->desk->embeddings, j->r, &pairs[i]);
    return PGR_OK;
}

typedef struct ranked {
    size_t index;
    double relevance;
} ranked;

/* Most relevant first; of equals the later one. */
static int by_relevance(const void *a, const void *b) {
    const ranked *l = a, *r = b;
    if (l->relevance != r->relevance) return l->relevance < r->relevance ? 1 : -1;
    return l->index < r->index ? 1 : -1;
}

static pgr_status rank_relevant(judging *j, const preference_pair *pairs, const float *vectors, size_t n,
                                size_t *ranks) {
    double *values = mem_array(n + 1, sizeof *values);
    ranked *list = mem_array(n + 1, sizeof *list);
    pgr_status s = values && list ? measure(j, pairs, vectors, n, values) : fail_mem(&j->error);
    if (s == PGR_OK) {
        for (size_t i = 0; i < n; i++) list[i] = (ranked){i, isfinite(values[i]) ? values[i] : -INFINITY};
        qsort(list, n, sizeof *list, by_relevance);
        for (size_t i = 0; i < n; i++) ranks[i] = list[i].index;
    }
    mem_free(values);
    mem_free(list);
    return s;
}

/* ---- ranks and draws ------------------------------------------------------------------------------------------- */

/* The first `want` by Knuth's selection sampling, which keeps their order; the rest shuffled. */
static void rank_random(uint64_t seed, uint32_t stream, size_t n, size_t want, size_t *ranks) {
    rng random = {.seed = seed, .stream = stream};
    size_t taken = 0, rest = want;
    for (size_t i = 0; i < n; i++) {
        bool take = taken < want && rng_below(&random, n - i) < want - taken;
        ranks[take ? taken++ : rest++] = i;
    }
    for (size_t i = n; i > want + 1; i--) {
        size_t k = want + rng_below(&random, i - want), t = ranks[i - 1];
        ranks[i - 1] = ranks[k];
        ranks[k] = t;
    }
}

pgr_status history_rank(judging *j, const preference_pair *pairs, const float *vectors, size_t n, size_t want,
                        uint32_t stream, size_t *ranks) {
    switch (j->o->history_by) {
    case PGR_HISTORY_RELEVANT:
        if (want > 0 && want < n) return rank_relevant(j, pairs, vectors, n, ranks);
        break; /* all or none are shown */
    case PGR_HISTORY_RANDOM:
        if (judging_by_slots(j)) /* the same for all requests: a history's taste is read once */
            return slots_rank(pairs, n, j->o->seed >= 0 ? (uint64_t)j->o->seed : 0, 0, ranks, &j->error);
        rank_random(j->seed, stream, n, want < n ? want : n, ranks);
        return PGR_OK;
    case PGR_HISTORY_RECENT:
        break;
    }
    for (size_t i = 0; i < n; i++) ranks[i] = n - 1 - i;
    return PGR_OK;
}

static int by_index(const void *a, const void *b) {
    size_t l = *(const size_t *)a, r = *(const size_t *)b;
    return (l > r) - (l < r);
}

/* Draw d has the ranks d h to d h + h - 1; the last draw is filled up from the beginning. */
pgr_status history_draw(judging *j, const size_t *ranks, size_t n, size_t want, size_t d, const size_t **out) {
    size_t *list = arena_array(&j->tmp, want + 1, sizeof *list);
    if (!list) return fail_mem(&j->error);
    for (size_t i = 0; i < want; i++) list[i] = ranks[(d * want + i) % n];
    qsort(list, want, sizeof *list, by_index);
    *out = list;
    return PGR_OK;
}
