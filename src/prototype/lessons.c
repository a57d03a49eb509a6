/* lessons.c - the samples of refinement, read from the store; see lessons.h. */
#include "prototype/lessons.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "prototype/kmeans.h"

enum { MOST_PAIRS = 65536 };          /* that are learnt from */
enum { HISTORY = 3 };                 /* as many as a prompt shows, docs/method.md, "The job" */
enum { STREAM_HISTORY = 0x72656631 }; /* of the random numbers */
static const uint32_t NOWHERE = UINT32_MAX;

void lessons_free(lesson_list *l) {
    arena_free(&l->arena);
    mem_free(l->list);
    *l = (lesson_list){0};
}

static pgr_status room_for(lesson_list *l, size_t n, pgr_error *err) {
    if (l->n + n <= l->cap) return PGR_OK;
    size_t cap = 2 * (l->n + n) + 1024;
    refine_sample *list = mem_resize(l->list, cap * sizeof *list);
    if (!list) return fail_mem(err);
    l->list = list;
    l->cap = cap;
    return PGR_OK;
}

size_t lesson_row(const collection *c, size_t first, size_t end, size_t pair) {
    if (c->by == PGR_PROTO_ANALYSIS)
        for (size_t r = first; r < end; r++)
            if (c->row_pair[r] == pair) return r;
    return first;
}

typedef struct pupil { /* a user whose pairs are being taken */
    const lesson_source *from;
    lesson_list *l;
    person p;
    size_t number, first, end; /* his place and rows in the collection */
    float *pairs;              /* (n, 2, d) chosen, rejected */
    refine_triple *triples;    /* (n) */
    uint32_t *place;           /* (n) prototype of each pair, NOWHERE: nothing tells it */
} pupil;

/* The person's pairs as triples: queries, chosen and rejected texts in vectors. */
static pgr_status find_triples(pupil *u, pgr_error *err) {
    size_t d = u->from->d, n = u->p.n;
    arena *a = &u->l->arena;
    float *queries = arena_array(a, n * d, sizeof *queries);
    bool *found = arena_array(a, n, sizeof *found);
    u->pairs = arena_array(a, 2 * n * d, sizeof *u->pairs);
    u->triples = arena_array(a, n, sizeof *u->triples);
    u->place = arena_array(a, n, sizeof *u->place);
    if (!u->pairs || !queries || !found || !u->triples || !u->place) return fail_mem(err);
    PGR_TRY(collect_pair_vectors(u->from->c, &u->p, u->pairs, err));
    PGR_TRY(collect_one_vector(u->from->c, &u->p, "query", queries, found, err));
    for (size_t i = 0; i < n; i++)
        u->triples[i] = (refine_triple){queries + i * d, u->pairs + 2 * i * d, u->pairs + (2 * i + 1) * d};
    return PGR_OK;
}

static void swap_pairs(const pupil *u, size_t i, size_t k) {
    size_t width = 2 * u->from->d;
    float *a = u->pairs + i * width, *b = u->pairs + k * width;
    for (size_t j = 0; i != k && j < width; j++) {
        float t = a[j];
        a[j] = b[j];
        b[j] = t;
    }
}

/* rows: (n, d) scratch, sum: (d) scratch, nearest: (n) scratch */
static pgr_status place_with(pupil *u, float *rows, double *sum, uint32_t *nearest, pgr_error *err) {
    const lesson_source *from = u->from;
    size_t d = from->d, n = u->p.n, n_row = 0;
    for (size_t i = 0; i < n; i++) { /* all but pair i */
        swap_pairs(u, i, n - 1);
        bool told = uservec_sum(from->c->by, u->pairs, n - 1, d, sum, rows + n_row * d);
        swap_pairs(u, i, n - 1);
        u->place[i] = told ? 0 : NOWHERE;
        n_row += told;
    }
    if (n_row == 0) return PGR_OK;
    PGR_TRY(kmeans_assign(rows, n_row, d, from->centres, from->k, from->threads, nearest, NULL, err));
    for (size_t i = 0, row = 0; i < n; i++)
        if (u->place[i] != NOWHERE) u->place[i] = nearest[row++];
    return PGR_OK;
}

static pgr_status place_without_each(pupil *u, pgr_error *err) {
    size_t d = u->from->d, n = u->p.n;
    float *rows = mem_array(n * d + 1, sizeof *rows);
    double *sum = mem_array(d, sizeof *sum);
    uint32_t *nearest = mem_array(n + 1, sizeof *nearest);
    pgr_status s = rows && sum && nearest ? place_with(u, rows, sum, nearest, err) : fail_mem(err);
    mem_free(rows);
    mem_free(sum);
    mem_free(nearest);
    return s;
}

static pgr_status find_places(pupil *u, pgr_error *err) {
    const lesson_source *from = u->from;
    if (from->c->by != PGR_PROTO_ANALYSIS && u->p.n <= LESSON_SHORT) return place_without_each(u, err);
    for (size_t i = 0; i < u->p.n; i++) u->place[i] = from->assign[lesson_row(from->c, u->first, u->end, i)];
    return PGR_OK;
}

/* Pair i: up to HISTORY of his others, drawn by the pair's place.                           others: (n) scratch */
static pgr_status add_lesson(pupil *u, size_t i, size_t *others, pgr_error *err) {
    lesson_list *l = u->l;
    refine_triple *history = arena_array(&l->arena, HISTORY, sizeof *history);
    size_t n_other = 0, h = 0;
    if (!history) return fail_mem(err);
    for (size_t k = 0; k < u->p.n; k++)
        if (k != i) others[n_other++] = k;
    rng draw = {.seed = u->from->seed ^ (uint64_t)u->number << 32 ^ i, .stream = STREAM_HISTORY};
    for (; h < HISTORY && h < n_other; h++) {
        size_t k = h + rng_below(&draw, n_other - h), other = others[k];
        others[k] = others[h];
        history[h] = u->triples[other];
    }
    l->list[l->n++] =
        (refine_sample){.asked = u->triples[i], .history = history, .n_history = h, .cluster = u->place[i]};
    return PGR_OK;
}

static pgr_status add_user(pupil *u, pgr_error *err) {
    const collection *c = u->from->c;
    bool exists;
    PGR_TRY(person_load(c->store, c->ids[u->number], c->split, &u->l->arena, &u->p, &exists, err));
    if (!exists || u->p.n == 0) return PGR_OK;
    PGR_TRY(find_triples(u, err));
    PGR_TRY(find_places(u, err));
    PGR_TRY(room_for(u->l, u->p.n, err));
    size_t *others = arena_array(&u->l->arena, u->p.n, sizeof *others);
    if (!others) return fail_mem(err);
    for (size_t i = 0; i < u->p.n; i++) {
        u->l->n_left_out += u->place[i] == NOWHERE;
        if (u->place[i] != NOWHERE) PGR_TRY(add_lesson(u, i, others, err));
    }
    return PGR_OK;
}

pgr_status lessons_gather(const lesson_source *from, lesson_list *out, pgr_error *err) {
    const collection *c = from->c;
    size_t stride = (c->n_pair + MOST_PAIRS - 1) / MOST_PAIRS, row = 0;
    for (size_t i = 0; i < c->n_user; i++) {
        pupil u = {.from = from, .l = out, .number = i, .first = row};
        while (row < c->n_row && c->row_user[row] == i) ++row;
        u.end = row;
        if (i % stride == 0) PGR_TRY(add_user(&u, err));
        if (i % 64 == 0) PGR_TRY(collect_step(c, "reading pairs", i, c->n_user, "users", err));
    }
    return PGR_OK;
}
