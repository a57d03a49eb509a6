/* test_attn.c - attention over chunks at every level that this CPU has, fp32 and bf16, against plain double arithmetic
 * on the same (rounded) values; the bounds are derived. A row's bits must depend on nothing but its own tokens. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "levels.h"
#include "math/cpu/kernels.h"

#define U    0x1p-24 /* unit roundoff of fp32 */
#define UB   0x1p-8  /* of bf16 */
#define TINY 0x1p-126

enum { PAGES = ATTN_CHUNK / KV_PAGE, MAX_R = 260 };

static int setup(void **state) {
    stream = (rng){.seed = 5, .stream = 3};
    return find_levels(state);
}

static void *allocate(size_t size) {
    void *p = malloc(size ? size : 1);
    if (!p) abort();
    return p;
}

/* ---- one chunk: rows of queries and tokens, in both layouts ---- */

typedef struct chunk {
    bool bf16;
    size_t R, dim, n_page;
    float *q, *k, *v; /* (R, dim), (n_page * KV_PAGE, dim): what the kernel sees, after rounding */
    uint16_t *q_bf16;
    float *page[PAGES];
    uint16_t *page_bf16[PAGES];
    uint32_t n_valid[MAX_R];
} chunk;

typedef struct result {
    float *acc; /* (R, dim) */
    attn_state state[MAX_R];
} result;

static float *normals(size_t n, float size, bool bf16) {
    float *x = allocate(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = size * (float)rng_normal(&stream);
        if (bf16) x[i] = bf16_to_f32(f32_to_bf16(x[i]));
    }
    return x;
}

/* The pages from k and v, the rounded q from q. */
static void put(chunk *c) {
    uint16_t *k = allocate(c->dim * sizeof *k), *v = allocate(c->dim * sizeof *v);
    for (size_t t = 0; t < c->n_page * KV_PAGE; t++) {
        attn_store(c->page[t / KV_PAGE], c->k + t * c->dim, c->v + t * c->dim, t % KV_PAGE, c->dim);
        kernels_ref()->to_bf16(k, c->k + t * c->dim, c->dim);
        kernels_ref()->to_bf16(v, c->v + t * c->dim, c->dim);
        if (c->dim % 2 == 0) attn_store_bf16(c->page_bf16[t / KV_PAGE], k, v, t % KV_PAGE, c->dim);
    }
    kernels_ref()->to_bf16(c->q_bf16, c->q, c->R * c->dim);
    free(k), free(v);
}

static chunk random_chunk(bool bf16, size_t R, size_t dim, size_t n_page) {
    chunk c = {.bf16 = bf16, .R = R, .dim = dim, .n_page = n_page};
    c.q = normals(R * dim, 1.5f, bf16);
    c.k = normals(n_page * KV_PAGE * dim, 1.5f, bf16);
    c.v = normals(n_page * KV_PAGE * dim, 1.0f, bf16);
    c.q_bf16 = allocate(R * dim * sizeof *c.q_bf16);
    for (size_t p = 0; p < n_page; p++) {
        c.page[p] = allocate(2 * dim * KV_PAGE * sizeof(float));
        c.page_bf16[p] = allocate(2 * dim * KV_PAGE * sizeof(uint16_t));
    }
    put(&c);
    for (size_t r = 0; r < R; r++) { /* full, none, any */
        size_t kind = rng_below(&stream, 4), n = n_page * KV_PAGE;
        c.n_valid[r] = (uint32_t)(kind == 0 ? n : kind == 1 ? rng_below(&stream, 2) : rng_below(&stream, n + 1));
    }
    return c;
}

static void chunk_free(chunk *c) {
    for (size_t p = 0; p < c->n_page; p++) free(c->page[p]), free(c->page_bf16[p]);
    free(c->q), free(c->k), free(c->v), free(c->q_bf16);
}

/* Rows first .. first + R - 1; what acc, state and scratch hold before must not matter. */
static result run(const kernels *kn, const chunk *c, size_t first, size_t R, float scale) {
    result out = {.acc = allocate(R * c->dim * sizeof(float))};
    float *scratch = allocate(ATTN_SCRATCH * sizeof *scratch);
    for (size_t i = 0; i < R * c->dim; i++) out.acc[i] = NAN;
    for (size_t i = 0; i < ATTN_SCRATCH; i++) scratch[i] = NAN;
    for (size_t r = 0; r < R; r++) out.state[r] = (attn_state){NAN, NAN};

    const float **kv = allocate(c->n_page * sizeof *kv); /* of exact size, for the address sanitizer */
    const uint16_t **kv_bf16 = allocate(c->n_page * sizeof *kv_bf16);
    for (size_t p = 0; p < c->n_page; p++) kv[p] = c->page[p], kv_bf16[p] = c->page_bf16[p];
    if (c->bf16)
        kn->attn_chunk_bf16(out.acc, out.state, c->q_bf16 + first * c->dim, kv_bf16, c->n_page, c->n_valid + first, R,
                            c->dim, scale, scratch);
    else
        kn->attn_chunk(out.acc, out.state, c->q + first * c->dim, kv, c->n_page, c->n_valid + first, R, c->dim, scale,
                       scratch);
    free(kv), free(kv_bf16), free(scratch);
    return out;
}

static void same_row(const char *what, const kernels *kn, const chunk *c, const result *a, size_t ra, const result *b,
                     size_t rb) {
    if (memcmp(a->state + ra, b->state + rb, sizeof *a->state) != 0)
        fail_msg("%s, %s %s dim %zu, row %zu and %zu: state %a %a, expected %a %a", what, kn->name,
                 c->bf16 ? "bf16" : "fp32", c->dim, ra, rb, (double)a->state[ra].max, (double)a->state[ra].sum,
                 (double)b->state[rb].max, (double)b->state[rb].sum);
    for (size_t d = 0; d < c->dim; d++)
        if (memcmp(a->acc + ra * c->dim + d, b->acc + rb * c->dim + d, sizeof(float)) != 0)
            fail_msg("%s, %s %s dim %zu, row %zu and %zu: value %zu is %a, expected %a", what, kn->name,
                     c->bf16 ? "bf16" : "fp32", c->dim, ra, rb, d, (double)a->acc[ra * c->dim + d],
                     (double)b->acc[rb * c->dim + d]);
}

/* ---- against double ---- */

/* Scores of row r in double; *ds bounds the error of any score: a sum of dim products in fp32 is within dim U of the
 * sum of sizes, in whatever order, and a bf16 pair's subnormals may be flushed. */
static void true_scores(const chunk *c, size_t r, float scale, double *s, double *ds) {
    *ds = 0;
    for (size_t t = 0; t < c->n_valid[r]; t++) {
        double dot = 0, size = 0;
        for (size_t d = 0; d < c->dim; d++) {
            double a = (double)c->q[r * c->dim + d] * c->k[t * c->dim + d];
            dot += a;
            size += fabs(a);
        }
        s[t] = dot * scale;
        *ds = fmax(*ds, ((double)c->dim * U * size + (double)c->dim * TINY) * scale);
    }
}

/* With the row's own maximum m given, each weight is off by e: the score's ds, the rounding of s - m, 2.5 U of exp, and
 * for bf16 one rounding and 8e-5 of its shorter exp; the sums over n tokens add n U. Factor 1.01 for the second-order
 * terms, TINY for what underflows. */
static void check_row(const kernels *kn, const chunk *c, size_t r, float scale, const result *out) {
    double s[ATTN_CHUNK], ds, top = -INFINITY, range = 0, sum = 0;
    size_t n = c->n_valid[r];
    attn_state state = out->state[r];
    true_scores(c, r, scale, s, &ds);
    for (size_t t = 0; t < n; t++) top = fmax(top, s[t]);
    if (n == 0) {
        assert_true(state.max == -INFINITY && state.sum == 0.0f);
        for (size_t d = 0; d < c->dim; d++) assert_true(out->acc[r * c->dim + d] == 0.0f);
        return;
    }
    if (!(fabs((double)state.max - top) <= 1.01 * (ds + U * fabs(top))))
        fail_msg("%s row %zu: max %g, expected %g", kn->name, r, (double)state.max, top);

    for (size_t t = 0; t < n; t++) {
        range = fmax(range, fmin(fabs(s[t] - state.max), 104));
        sum += exp(s[t] - state.max);
    }
    double tol = 1.01 * (ds + range * U + 2.5 * U + (c->bf16 ? UB + 8e-5 : 0) + (double)n * U);
    if (!(fabs((double)state.sum - sum) <= tol * sum + (double)n * TINY))
        fail_msg("%s %s dim %zu row %zu: sum %g, expected %g", kn->name, c->bf16 ? "bf16" : "fp32", c->dim, r,
                 (double)state.sum, sum);
    for (size_t d = 0; d < c->dim; d++) {
        double value = 0, size = 0;
        for (size_t t = 0; t < n; t++) {
            double pv = exp(s[t] - state.max) * c->v[t * c->dim + d];
            value += pv;
            size += fabs(pv);
        }
        double diff = fabs((double)out->acc[r * c->dim + d] - value);
        if (!(diff <= tol * size + (double)n * 8 * TINY))
            fail_msg("%s %s dim %zu row %zu (%zu tokens): value %zu off by %g, bound %g", kn->name,
                     c->bf16 ? "bf16" : "fp32", c->dim, r, n, d, diff, tol * size);
    }
}

static void test_values(void **unused) {
    (void)unused;
    const size_t dims[] = {64, 128, 2, 16, 20, 34, 48, 80, 96, 130, 33}, Rs[] = {1, 3, 12, 13, 29, 5, 7, 11, 2, 24, 10};
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
            if (bf16 && dims[i] % 2) continue;
            chunk c = random_chunk(bf16, Rs[i], dims[i], i < 2 ? PAGES : 1 + rng_below(&stream, PAGES));
            FOR_LEVELS (l) {
                float scale = 1.0f / sqrtf((float)c.dim);
                result out = run(levels[l], &c, 0, c.R, scale);
                for (size_t r = 0; r < c.R; r++) check_row(levels[l], &c, r, scale, &out);
                free(out.acc);
            }
            chunk_free(&c);
        }
}

/* Every n_valid there is, neighbours in ascending order and shuffled. */
static void test_every_length(void **unused) {
    (void)unused;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        chunk c = random_chunk(bf16, ATTN_CHUNK + 1, 20, PAGES);
        for (size_t step = 1; step <= 100; step += 99) {
            for (size_t r = 0; r < c.R; r++) c.n_valid[r] = (uint32_t)(r * step % c.R); /* 257 is prime */
            FOR_LEVELS (l) {
                result out = run(levels[l], &c, 0, c.R, 0.3f);
                for (size_t r = 0; r < c.R; r++) check_row(levels[l], &c, r, 0.3f, &out);
                free(out.acc);
            }
        }
        chunk_free(&c);
    }
}

/* ---- a row by itself ---- */

static void check_places(const kernels *kn, const chunk *c) {
    float scale = 1.0f / sqrtf((float)c->dim);
    result all = run(kn, c, 0, c->R, scale);
    for (size_t R = 1; R <= 30; R = R < 14 ? R + 1 : R + 8) {
        size_t first = R == 1 ? 0 : rng_below(&stream, R);
        for (; first + R <= c->R; first += R) {
            result some = run(kn, c, first, R, scale);
            for (size_t r = 0; r < R; r++) same_row("another place", kn, c, &some, r, &all, first + r);
            free(some.acc);
        }
    }
    free(all.acc);
}

static void test_places(void **unused) {
    (void)unused;
    const size_t dims[] = {64, 20};
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (size_t i = 0; i < 2; i++) {
            chunk c = random_chunk(bf16, 100, dims[i], 2 + i);
            FOR_LEVELS (l) check_places(levels[l], &c);
            chunk_free(&c);
        }
}

/* What stands beyond n_valid has no influence, even where its scores overflow; nor have a neighbour's NaNs. */
static void test_masks(void **unused) {
    (void)unused;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        chunk c = random_chunk(bf16, 37, 64, 3);
        for (size_t r = 0; r < c.R; r++) c.n_valid[r] = (uint32_t)rng_below(&stream, 42);
        result before[MOST_LEVELS];
        FOR_LEVELS (l) before[l] = run(levels[l], &c, 0, c.R, 0.125f);
        for (size_t i = 41 * c.dim; i < 3 * KV_PAGE * c.dim; i++)
            c.k[i] = i % 3 ? 3e38f : -3e38f, c.v[i] = i % 2 ? 3e38f : -3e38f;
        for (size_t d = 0; d < c.dim; d++) c.q[5 * c.dim + d] = NAN;
        c.n_valid[5] = 41;
        put(&c);
        FOR_LEVELS (l) {
            result out = run(levels[l], &c, 0, c.R, 0.125f);
            for (size_t r = 0; r < c.R; r++)
                if (r != 5) same_row("beyond n_valid", levels[l], &c, &out, r, &before[l], r);
            assert_true(isnan(out.state[5].sum) && isnan(out.acc[5 * c.dim]) && isnan(out.acc[6 * c.dim - 1]));
            free(out.acc), free(before[l].acc);
        }
        chunk_free(&c);
    }
}

/* No page at all. */
static void test_no_page(void **unused) {
    (void)unused;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        chunk c = random_chunk(bf16, 14, 20, 0);
        FOR_LEVELS (l) {
            memset(c.n_valid, 0, sizeof c.n_valid);
            result out = run(levels[l], &c, 0, c.R, 0.2f);
            for (size_t r = 0; r < c.R; r++) check_row(levels[l], &c, r, 0.2f, &out);
            free(out.acc);
        }
        chunk_free(&c);
    }
}

/* A sum that underflows to -0 must not depend on whether its tile goes on after it. */
static void test_negative_zero(void **unused) {
    (void)unused;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        chunk c = random_chunk(bf16, 12, 2, 2);
        for (size_t t = 0; t < 2 * KV_PAGE; t++) { /* token 0: weight 1, value 0; the others exp(-96), first -1e-30 */
            c.k[2 * t] = t == 0 ? 0.0f : -96.0f, c.k[2 * t + 1] = 0.0f;
            c.v[2 * t] = c.v[2 * t + 1] = t == 0 ? 0.0f : t < 5 ? -1e-30f : 1.0f;
        }
        for (size_t r = 0; r < c.R; r++) {
            c.q[2 * r] = 1.0f, c.q[2 * r + 1] = 0.0f;
            c.n_valid[r] = r == 3 ? 5 : 2 * KV_PAGE;
        }
        put(&c);
        FOR_LEVELS (l) {
            result tile = run(levels[l], &c, 0, 12, 1.0f), alone = run(levels[l], &c, 3, 1, 1.0f);
            same_row("-0", levels[l], &c, &tile, 3, &alone, 0);
            assert_true(tile.acc[6] == 0.0f);
            free(tile.acc), free(alone.acc);
        }
        chunk_free(&c);
    }
}

/* The sum is that of the rounded weights: with values of 1 both sums have the same terms. Their roundings and orders
 * differ, n U each. */
static void test_bf16_sum(void **unused) {
    (void)unused;
    chunk c = random_chunk(true, 40, 32, PAGES);
    for (size_t i = 0; i < PAGES * KV_PAGE * c.dim; i++) c.v[i] = 1.0f;
    put(&c);
    FOR_LEVELS (l) {
        result out = run(levels[l], &c, 0, c.R, 0.2f);
        for (size_t r = 0; r < c.R; r++)
            for (size_t d = 0; d < c.dim; d++) {
                double diff = fabs((double)out.acc[r * c.dim + d] - (double)out.state[r].sum);
                assert_true(diff <= 2 * c.n_valid[r] * U * (double)out.state[r].sum);
            }
        free(out.acc);
    }
    chunk_free(&c);
}

static void test_store(void **unused) {
    (void)unused;
    enum { DIM = 6 };
    float page[2 * DIM * KV_PAGE], k[DIM], v[DIM];
    uint16_t page_bf16[2 * DIM * KV_PAGE], kb[DIM], vb[DIM];
    for (size_t t = 0; t < KV_PAGE; t++) {
        for (size_t d = 0; d < DIM; d++) {
            kb[d] = (uint16_t)(t * DIM + d), vb[d] = (uint16_t)(1000 + t * DIM + d);
            k[d] = kb[d], v[d] = vb[d];
        }
        attn_store(page, k, v, t, DIM);
        attn_store_bf16(page_bf16, kb, vb, t, DIM);
    }
    size_t i = 0, j = 0;
    for (size_t d = 0; d < DIM; d++)
        for (size_t t = 0; t < KV_PAGE; t++) assert_true(page[i++] == (float)(t * DIM + d));
    for (size_t t = 0; t < KV_PAGE; t++)
        for (size_t d = 0; d < DIM; d++) assert_true(page[i++] == (float)(1000 + t * DIM + d));
    for (size_t d = 0; d < DIM; d += 2)
        for (size_t t = 0; t < KV_PAGE; t++)
            for (size_t pair = 0; pair < 2; pair++) assert_int_equal(page_bf16[j++], t * DIM + d + pair);
    for (size_t t = 0; t < KV_PAGE; t += 2)
        for (size_t d = 0; d < DIM; d++)
            for (size_t pair = 0; pair < 2; pair++) assert_int_equal(page_bf16[j++], 1000 + (t + pair) * DIM + d);
}

/* ---- many chunks ---- */

enum { CHUNKS = 9, ROWS = 14 };

/* Chunks for the same queries; the first, one in the middle and the last have nothing for some rows. */
static void random_chunks(chunk c[CHUNKS], bool bf16, size_t dim) {
    for (size_t i = 0; i < CHUNKS; i++) {
        c[i] = random_chunk(bf16, ROWS, dim, 1 + i % 2);
        memcpy(c[i].q, c[0].q, ROWS * dim * sizeof(float));
        for (size_t j = 0; j < KV_PAGE * dim; j++) c[i].k[j] += c[i].bf16 ? 0.0f : (float)i - 4.0f;
        put(&c[i]);
        for (size_t r = 0; r < ROWS; r++)
            if (r == 0 || (i == 0 && r % 2) || (i == 4 && r % 3) || (i == CHUNKS - 1 && r % 5)) c[i].n_valid[r] = 0;
    }
}

static result run_chunks(const kernels *kn, const chunk *c, size_t first, size_t R, float scale) {
    result out = {.acc = allocate(R * c->dim * sizeof(float))};
    memset(out.acc, 0, R * c->dim * sizeof(float));
    for (size_t r = 0; r < R; r++) out.state[r] = (attn_state){-INFINITY, 0.0f};
    for (size_t i = 0; i < CHUNKS; i++) {
        result part = run(kn, c + i, first, R, scale);
        kn->attn_merge(out.acc, out.state, part.acc, part.state, R, c->dim);
        free(part.acc);
    }
    return out;
}

/* As check_row, over all chunks, with the final maximum: each merge multiplies by exp of a difference of maxima (its
 * rounding U times itself, 2.5 U of exp) and rounds twice more. */
static void check_chunks(const kernels *kn, const chunk *c, size_t r, float scale, const result *out) {
    double s[CHUNKS][ATTN_CHUNK], worst = 0, range = 0, sum = 0;
    size_t n = 0, dim = c->dim;
    attn_state state = out->state[r];
    for (size_t i = 0; i < CHUNKS; i++) {
        double ds;
        true_scores(c + i, r, scale, s[i], &ds);
        worst = fmax(worst, ds);
        n += c[i].n_valid[r];
        for (size_t t = 0; t < c[i].n_valid[r]; t++) {
            sum += exp(s[i][t] - state.max);
            range = fmax(range, fabs(s[i][t] - state.max));
        }
    }
    if (n == 0) {
        assert_true(state.max == -INFINITY && state.sum == 0.0f && out->acc[r * dim] == 0.0f);
        return;
    }
    double merges = CHUNKS * (range * U + 4.5 * U);
    double tol = 1.01 * (worst + range * U + 2.5 * U + (c->bf16 ? UB + 8e-5 : 0) + (double)n * U + merges);
    if (!(fabs((double)state.sum - sum) <= tol * sum))
        fail_msg("%s: sum %g, expected %g", kn->name, (double)state.sum, sum);
    for (size_t d = 0; d < dim; d++) {
        double value = 0, size = 0;
        for (size_t i = 0; i < CHUNKS; i++)
            for (size_t t = 0; t < c[i].n_valid[r]; t++) {
                double pv = exp(s[i][t] - state.max) * c[i].v[t * dim + d];
                value += pv;
                size += fabs(pv);
            }
        double diff = fabs((double)out->acc[r * dim + d] - value);
        if (!(diff <= tol * size + (double)n * 8 * TINY))
            fail_msg("%s %s merged row %zu: value %zu off by %g, bound %g", kn->name, c->bf16 ? "bf16" : "fp32", r, d,
                     diff, tol * size);
    }
}

static void test_merge(void **unused) {
    (void)unused;
    const size_t dims[] = {64, 20, 128};
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
            chunk c[CHUNKS];
            random_chunks(c, bf16, dims[i]);
            float scale = 1.0f / sqrtf((float)dims[i]);
            FOR_LEVELS (l) {
                result out = run_chunks(levels[l], c, 0, ROWS, scale);
                for (size_t r = 0; r < ROWS; r++) {
                    check_chunks(levels[l], c, r, scale, &out);
                    result alone = run_chunks(levels[l], c, r, 1, scale);
                    same_row("merged alone", levels[l], c, &alone, 0, &out, r);
                    free(alone.acc);
                }
                free(out.acc);
            }
            for (size_t j = 0; j < CHUNKS; j++) chunk_free(&c[j]);
        }
}

/* Nothing with nothing is nothing; nothing on either side leaves the other's bits. */
static void test_merge_nothing(void **unused) {
    (void)unused;
    enum { DIM = 20 };
    FOR_LEVELS (l) {
        float zero[DIM] = {0}, acc[DIM], *some = normals(DIM, 1.0f, false);
        attn_state none = {-INFINITY, 0.0f}, full = {-3.5f, 7.25f}, state = none;
        memset(acc, 0, sizeof acc);
        levels[l]->attn_merge(acc, &state, zero, &none, 1, DIM);
        assert_memory_equal(&state, &none, sizeof state);
        assert_memory_equal(acc, zero, sizeof acc);
        levels[l]->attn_merge(acc, &state, some, &full, 1, DIM);
        assert_memory_equal(&state, &full, sizeof state);
        assert_memory_equal(acc, some, sizeof acc);
        levels[l]->attn_merge(acc, &state, zero, &none, 1, DIM);
        assert_memory_equal(&state, &full, sizeof state);
        assert_memory_equal(acc, some, sizeof acc);
        free(some);
    }
}

/* Scores of up to 1e38 of either sign: the largest token takes all, nothing becomes NaN. */
static void test_extreme(void **unused) {
    (void)unused;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        chunk c[2] = {random_chunk(bf16, 4, 2, 1), random_chunk(bf16, 4, 2, 2)};
        for (size_t i = 0; i < 2; i++) {
            for (size_t r = 0; r < 4; r++) {
                c[i].q[2 * r] = 0x1p62f, c[i].q[2 * r + 1] = 0.0f;
                c[i].n_valid[r] = 20;
            }
            for (size_t t = 0; t < 20; t++) c[i].k[2 * t] = t == 7 ? 0x1p62f * (float)(i + 1) : -0x1p63f;
            put(&c[i]);
        }
        FOR_LEVELS (l) {
            result a = run(levels[l], &c[0], 0, 4, 1.0f), b = run(levels[l], &c[1], 0, 4, 1.0f);
            for (size_t r = 0; r < 4; r++) {
                assert_true(a.state[r].max == 0x1p124f && a.state[r].sum == 1.0f);
                assert_true(b.state[r].max == 0x1p125f && b.state[r].sum == 1.0f);
                assert_true(a.acc[2 * r] == c[0].v[14] && b.acc[2 * r + 1] == c[1].v[15]);
            }
            levels[l]->attn_merge(a.acc, a.state, b.acc, b.state, 2, 2);                 /* the other one wins */
            levels[l]->attn_merge(b.acc + 4, b.state + 2, a.acc + 4, a.state + 2, 2, 2); /* the own one does */
            assert_true(a.state[0].max == 0x1p125f && a.state[0].sum == 1.0f && a.acc[0] == c[1].v[14]);
            assert_true(b.state[2].max == 0x1p125f && b.state[2].sum == 1.0f && b.acc[4] == c[1].v[14]);
            free(a.acc), free(b.acc);
        }
        chunk_free(&c[0]), chunk_free(&c[1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_every_length),  cmocka_unit_test(test_places),
        cmocka_unit_test(test_masks),         cmocka_unit_test(test_negative_zero), cmocka_unit_test(test_bf16_sum),
        cmocka_unit_test(test_store),         cmocka_unit_test(test_no_page),       cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_nothing), cmocka_unit_test(test_extreme),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
