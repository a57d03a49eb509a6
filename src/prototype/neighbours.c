/* neighbours.c - bucketed search. Codes give every row an interval that its cosine lies in; rows whose interval ends
 * below the n-th best beginning are out; the exact vectors rank the rest. */
#include "prototype/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "math/vector.h"
#include "prototype/vec.h"

enum { BLOCK = 4096 }; /* rows that are scanned before their intervals are looked at */

/* ---- prototypes ---- */

static int by_distance(const void *x, const void *y) {
    const near_prototype *a = x, *b = y;
    if (a->distance2 != b->distance2) return a->distance2 < b->distance2 ? -1 : 1;
    return a->prototype < b->prototype ? -1 : a->prototype > b->prototype;
}

pgr_status neighbours_prototypes(const artefact *a, const float *v, size_t n, near_prototype *out, pgr_error *err) {
    PGR_ASSERT(n <= a->k);
    near_prototype *all = mem_array(a->k, sizeof *all);
    if (!all) return fail_mem(err);
    for (size_t j = 0; j < a->k; j++)
        all[j] = (near_prototype){(uint32_t)j, vec_distance2(v, a->after + j * a->dims, a->dims)};
    qsort(all, a->k, sizeof *all, by_distance);
    memcpy(out, all, n * sizeof *out);
    mem_free(all);
    return PGR_OK;
}

/* ---- rows ---- */

typedef struct candidate {
    uint64_t row;
    uint32_t user;
    double low, high; /* its cosine lies between */
} candidate;

typedef struct search {
    const artefact *a;
    const float *v;
    int8_t *code; /* (dims) of v */
    double scale, error, length;
    near_range range; /* of users who are looked at */
    size_t self, n;
    candidate *rows; /* that may still be among the best */
    size_t n_rows, cap;
    near_user
        *best; /* (n) distinct users by the lower ends of their intervals, greatest first: the bar for the others */
    size_t n_best;
    pgr_error *err;
} search;

/* Greatest first, then by id: that is the order of user numbers. */
static int by_similarity(const void *x, const void *y) {
    const near_user *a = x, *b = y;
    if (a->similarity != b->similarity) return a->similarity > b->similarity ? -1 : 1;
    if (a->user != b->user) return a->user < b->user ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

/* Puts u into best (n_best of at most n distinct users, in order) if he is good enough; a user stays once,
 * with his best row. */
static size_t put_best(near_user *best, size_t n_best, size_t n, near_user u) {
    size_t at = 0;
    while (at < n_best && best[at].user != u.user) at++;
    if (at < n_best) {
        if (by_similarity(&u, &best[at]) >= 0) return n_best;
    } else if (n_best < n) {
        n_best++;
    } else {
        at = n - 1;
        if (by_similarity(&u, &best[at]) >= 0) return n_best;
    }
    for (; at > 0 && by_similarity(&u, &best[at - 1]) < 0; at--) best[at] = best[at - 1];
    best[at] = u;
    return n_best;
}

static double bar(const search *s) {
    return s->n_best < s->n ? -INFINITY : s->best[s->n - 1].similarity;
}

static pgr_status keep(search *s, candidate c) {
    if (s->n_rows == s->cap) { /* throw out first what the bar has passed */
        size_t left = 0;
        for (size_t i = 0; i < s->n_rows; i++)
            if (s->rows[i].high >= bar(s)) s->rows[left++] = s->rows[i];
        s->n_rows = left;
        if (left > s->cap / 2 || s->cap == 0) {
            size_t cap = s->cap ? 2 * s->cap : 1024;
            candidate *grown = mem_resize(s->rows, cap * sizeof *grown);
            if (!grown) return fail_mem(s->err);
            s->rows = grown;
            s->cap = cap;
        }
    }
    s->rows[s->n_rows++] = c;
    return PGR_OK;
}

/* v.r = (sv qv).(sr qr) + v.er + ev.(sr qr), so that |v.r - sv sr qv.qr| <= |v| |er| + |ev| (|r| + |er|); |r| = 1, its
 * rounding and that of the sums are far below the 1e-5 allowed for them. */
static pgr_status scan_rows(search *s, uint64_t from, uint64_t to) {
    const artefact *a = s->a;
    int32_t dots[BLOCK];
    for (uint64_t first = from; first < to; first += BLOCK) {
        size_t n = to - first < BLOCK ? (size_t)(to - first) : BLOCK;
        dot8_rows(dots, s->code, a->codes + first * a->dims, n, a->dims);
        for (size_t i = 0; i < n; i++) {
            uint64_t row = first + i;
            if (a->row_user[row] == s->self) continue;
            double about = s->scale * (double)a->scales[row] * dots[i];
            double off = s->length * (double)a->errors[row] + s->error * (1.0 + (double)a->errors[row]) + 1e-5;
            if (!(about + off >= bar(s))) continue;
            PGR_TRY(keep(s, (candidate){row, a->row_user[row], about - off, about + off}));
            s->n_best = put_best(s->best, s->n_best, s->n, (near_user){a->row_user[row], row, about - off});
        }
    }
    return PGR_OK;
}

static bool in_range(const search *s, uint64_t row) {
    return s->a->row_user[row] >= s->range.from && s->a->row_user[row] < s->range.to;
}

/* Rows of users in the range, as they stand together. */
static pgr_status scan(search *s, uint64_t from, uint64_t to) {
    if (s->range.from == 0 && s->range.to == s->a->n_user) return scan_rows(s, from, to);
    for (uint64_t first = from, end; first < to; first = end) {
        bool in = in_range(s, first);
        for (end = first + 1; end < to && in_range(s, end) == in; end++) {}
        if (in) PGR_TRY(scan_rows(s, first, end));
    }
    return PGR_OK;
}

static size_t rank(search *s, near_user *out) {
    size_t n_out = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        const candidate *c = &s->rows[i];
        if (!(c->high >= bar(s))) continue;
        double exact = vec_dot(s->v, s->a->vectors + c->row * s->a->dims, s->a->dims);
        if (isfinite(exact)) n_out = put_best(out, n_out, s->n, (near_user){c->user, c->row, exact});
    }
    return n_out;
}

static pgr_status find(search *s, size_t n_probe, near_user *out, size_t *n_out) {
    const artefact *a = s->a;
    near_prototype *order = mem_array(a->k, sizeof *order);
    s->code = mem_alloc(a->dims);
    s->best = mem_array(s->n, sizeof *s->best);
    pgr_status status =
        order && s->code && s->best ? neighbours_prototypes(a, s->v, a->k, order, s->err) : fail_mem(s->err);
    if (status == PGR_OK) {
        float error;
        s->scale = (double)artefact_code(s->code, s->v, a->dims, &error);
        s->error = (double)error;
        s->length = sqrt(vec_dot(s->v, s->v, a->dims));
    }
    for (size_t p = 0; p < a->k && status == PGR_OK; p++) {
        if (p >= n_probe && s->n_best == s->n) break;
        status = scan(s, a->start[order[p].prototype], a->start[order[p].prototype + 1]);
    }
    if (status == PGR_OK) *n_out = rank(s, out);
    mem_free(order);
    return status;
}

pgr_status neighbours_find_in(const artefact *a, near_range range, const float *v, size_t self, size_t n,
                              size_t n_probe, near_user *out, size_t *n_out, pgr_error *err) {
    search s = {.a = a, .v = v, .range = range, .self = self, .n = n, .err = err};
    *n_out = 0;
    if (n == 0) return PGR_OK;
    pgr_status status = find(&s, n_probe ? n_probe : 1, out, n_out);
    mem_free(s.code);
    mem_free(s.best);
    mem_free(s.rows);
    return status;
}

pgr_status neighbours_find(const artefact *a, const float *v, size_t self, size_t n, size_t n_probe, near_user *out,
                           size_t *n_out, pgr_error *err) {
    return neighbours_find_in(a, (near_range){0, a->n_user}, v, self, n, n_probe, out, n_out, err);
}
