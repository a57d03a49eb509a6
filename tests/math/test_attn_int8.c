/* test_attn_int8.c - attention over chunks with K and V in int8, at every level that this CPU has: how values become
 * bytes, sums of weights and values against double arithmetic on those bytes, and that a row's bits depend on nothing
 * but its own tokens. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "levels.h"
#include "math/cpu/attn_int8.h"

#define U 0x1p-24 /* unit roundoff of fp32 */

enum { PAGES = ATTN_CHUNK / KV_PAGE, MAX_R = 260 };

static int setup(void **state) {
    stream = (rng){.seed = 5, .stream = 4};
    return find_levels(state);
}

static void *allocate(size_t size) {
    void *p = aligned_alloc(64, (size + 64) / 64 * 64);
    if (!p) abort();
    memset(p, 0, size);
    return p;
}

/* ---- one chunk ---- */

typedef struct chunk {
    size_t R, dim, n_page;
    float *q, *k, *v; /* (R, dim), (n_page * KV_PAGE, dim) */
    int8_t *query;    /* (R) */
    void *page[PAGES];
    uint32_t n_valid[MAX_R];
} chunk;

typedef struct result {
    float *acc; /* (R, dim) */
    attn_state state[MAX_R];
} result;

static float *normals(size_t n, float size) {
    float *x = allocate(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = size * (float)rng_normal(&stream);
    return x;
}

static void put(chunk *c) {
    for (size_t t = 0; t < c->n_page * KV_PAGE; t++)
        kernels_ref()->attn_store_int8(c->page[t / KV_PAGE], c->k + t * c->dim, c->v + t * c->dim, t % KV_PAGE, c->dim);
    for (size_t r = 0; r < c->R; r++)
        kernels_ref()->attn_query_int8(c->query + r * ATTN_QUERY_INT8(c->dim), c->q + r * c->dim, c->dim,
                                       1.0f / sqrtf((float)c->dim));
}

/* Values of V have sizes of their own: the first token, as in trained models,
 * takes much weight and has little value. */
static chunk random_chunk(size_t R, size_t dim, size_t n_page) {
    chunk c = {.R = R, .dim = dim, .n_page = n_page};
    c.q = normals(R * dim, 1.5f);
    c.k = normals(n_page * KV_PAGE * dim, 1.5f);
    c.v = normals(n_page * KV_PAGE * dim, 1.0f);
    for (size_t t = 0; t < n_page * KV_PAGE; t++)
        for (size_t d = 0; d < dim; d++) c.v[t * dim + d] *= t == 0 ? 0.01f : 0.5f + (float)(t % 7);
    c.query = allocate(R * ATTN_QUERY_INT8(dim));
    for (size_t p = 0; p < n_page; p++) c.page[p] = allocate(attn_page_bytes(KV_INT8, dim));
    put(&c);
    for (size_t r = 0; r < R; r++) { /* full, none, any */
        size_t kind = rng_below(&stream, 4), n = n_page * KV_PAGE;
        c.n_valid[r] = (uint32_t)(kind == 0 ? n : kind == 1 ? rng_below(&stream, 2) : rng_below(&stream, n + 1));
    }
    return c;
}

static void chunk_free(chunk *c) {
    for (size_t p = 0; p < c->n_page; p++) free(c->page[p]);
    free(c->q), free(c->k), free(c->v), free(c->query);
}

/* Rows first .. first + R - 1; what acc, state and scratch hold before must not matter. */
static result run(const kernels *kn, const chunk *c, size_t first, size_t R) {
    result out = {.acc = allocate(R * c->dim * sizeof(float))};
    float *scratch = allocate(ATTN_SCRATCH * sizeof *scratch);
    for (size_t i = 0; i < R * c->dim; i++) out.acc[i] = NAN;
    for (size_t i = 0; i < ATTN_SCRATCH; i++) scratch[i] = NAN;
    for (size_t r = 0; r < R; r++) out.state[r] = (attn_state){NAN, NAN};
    const void **kv = malloc(c->n_page * sizeof *kv + 1); /* of exact size, for the address sanitizer */
    for (size_t p = 0; p < c->n_page; p++) kv[p] = c->page[p];
    kn->attn_chunk_int8(out.acc, out.state, c->query + first * ATTN_QUERY_INT8(c->dim), kv, R % 2 ? kv : NULL,
                        c->n_page, c->n_valid + first, R, c->dim, scratch);
    free(kv), free(scratch);
    return out;
}

static void same_row(const char *what, const kernels *kn, const chunk *c, const result *a, size_t ra, const result *b,
                     size_t rb) {
    if (memcmp(a->state + ra, b->state + rb, sizeof *a->state) != 0)
        fail_msg("%s, %s dim %zu, row %zu and %zu: state %a %a, expected %a %a", what, kn->name, c->dim, ra, rb,
                 (double)a->state[ra].max, (double)a->state[ra].sum, (double)b->state[rb].max,
                 (double)b->state[rb].sum);
    if (memcmp(a->acc + ra * c->dim, b->acc + rb * c->dim, c->dim * sizeof(float)) != 0)
        fail_msg("%s, %s dim %zu, row %zu and %zu: other values", what, kn->name, c->dim, ra, rb);
}

/* ---- against double ---- */

static double key_byte(const chunk *c, size_t t, size_t d) {
    return (double)int8_page_at(c->page[t / KV_PAGE], c->dim).k[(d / 4 * KV_PAGE + t % KV_PAGE) * 4 + d % 4] - 128;
}

static double value_byte(const chunk *c, size_t t, size_t d) {
    return int8_page_at(c->page[t / KV_PAGE], c->dim).v[(t % KV_PAGE / 4 * c->dim + d) * 4 + t % 4];
}

/* ln of a token's weight; its three roundings are within 3 U of the sizes that are added. */
static double log_weight(const chunk *c, size_t r, size_t t, double *size) {
    const int8_t *query = c->query + r * ATTN_QUERY_INT8(c->dim);
    int8_query_end end;
    memcpy(&end, query + c->dim, sizeof end);
    int8_page page = int8_page_at(c->page[t / KV_PAGE], c->dim);
    double s = 0;
    for (size_t d = 0; d < c->dim; d++) s += query[d] * key_byte(c, t, d);
    s *= (double)page.k_scale[t % KV_PAGE] * (double)end.factor;
    *size = fabs(s) + fabs((double)page.v_log[t % KV_PAGE]);
    return s + (double)page.v_log[t % KV_PAGE];
}

/* A weight w is off by 8e-5 of itself (the exponential), and by the roundings of what it is the exponential of: 8 U of
 * the largest score there is leave room. Its byte is then certain, unless it lies so close to the middle of two. */
static void check_row(const kernels *kn, const chunk *c, size_t r, const result *out) {
    double u[ATTN_CHUNK], w[ATTN_CHUNK], top = -INFINITY, size, most = 0, sum = 0;
    size_t n = c->n_valid[r];
    attn_state state = out->state[r];
    if (n == 0) {
        assert_true(state.max == -INFINITY && state.sum == 0.0f);
        for (size_t d = 0; d < c->dim; d++) assert_true(out->acc[r * c->dim + d] == 0.0f);
        return;
    }
    for (size_t t = 0; t < n; t++) {
        u[t] = log_weight(c, r, t, &size);
        top = fmax(top, u[t]);
        most = fmax(most, size);
    }
    if (!(fabs((double)state.max - (top - log(255))) <= 8 * U * (most + 6)))
        fail_msg("%s row %zu: max %g, expected %g", kn->name, r, (double)state.max, top - log(255));
    double tol = 8e-5 + 16 * U * (most + 6);
    for (size_t t = 0; t < n; t++) {
        w[t] = exp(u[t] - (double)state.max);
        sum += w[t] * (double)int8_page_at(c->page[t / KV_PAGE], c->dim).v_inverse[t % KV_PAGE];
    }
    if (!(fabs((double)state.sum - sum) <= (tol + (double)n * U) * sum))
        fail_msg("%s dim %zu row %zu: sum %g, expected %g", kn->name, c->dim, r, (double)state.sum, sum);
    for (size_t d = 0; d < c->dim; d++) {
        double value = 0, doubtful = 0;
        for (size_t t = 0; t < n; t++) {
            value += fmin(rint(w[t]), 255) * value_byte(c, t, d);
            if (fabs(w[t] - floor(w[t]) - 0.5) <= tol * w[t]) doubtful += fabs(value_byte(c, t, d));
        }
        if (!(fabs((double)out->acc[r * c->dim + d] - value) <= doubtful))
            fail_msg("%s dim %zu row %zu (%zu tokens): value %zu is %g, expected %g, in doubt %g", kn->name, c->dim, r,
                     n, d, (double)out->acc[r * c->dim + d], value, doubtful);
    }
}

static void test_values(void **unused) {
    (void)unused;
    const size_t dims[] = {64, 128, 16, 32, 48, 80, 96, 256}, Rs[] = {24, 3, 1, 12, 13, 29, 5, 11};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        chunk c = random_chunk(Rs[i], dims[i], i < 2 ? PAGES : 1 + rng_below(&stream, PAGES));
        FOR_LEVELS (l) {
            result out = run(levels[l], &c, 0, c.R);
            for (size_t r = 0; r < c.R; r++) check_row(levels[l], &c, r, &out);
            free(out.acc);
        }
        chunk_free(&c);
    }
}

/* Every n_valid there is, neighbours in ascending order and shuffled. */
static void test_every_length(void **unused) {
    (void)unused;
    chunk c = random_chunk(ATTN_CHUNK + 1, 16, PAGES);
    for (size_t step = 1; step <= 100; step += 99) {
        for (size_t r = 0; r < c.R; r++) c.n_valid[r] = (uint32_t)(r * step % c.R); /* 257 is prime */
        FOR_LEVELS (l) {
            result out = run(levels[l], &c, 0, c.R);
            for (size_t r = 0; r < c.R; r++) check_row(levels[l], &c, r, &out);
            free(out.acc);
        }
    }
    chunk_free(&c);
}

/* ---- a row by itself ---- */

static void test_places(void **unused) {
    (void)unused;
    chunk c = random_chunk(100, 48, 3);
    FOR_LEVELS (l) {
        result all = run(levels[l], &c, 0, c.R);
        for (size_t R = 1; R <= 30; R = R < 14 ? R + 1 : R + 8)
            for (size_t first = R == 1 ? 0 : rng_below(&stream, R); first + R <= c.R; first += R) {
                result some = run(levels[l], &c, first, R);
                for (size_t r = 0; r < R; r++) same_row("another place", levels[l], &c, &some, r, &all, first + r);
                free(some.acc);
            }
        free(all.acc);
    }
    chunk_free(&c);
}

/* What stands beyond n_valid has no influence, not even NaN; nor has a neighbour's. */
static void test_masks(void **unused) {
    (void)unused;
    chunk c = random_chunk(37, 64, 3);
    for (size_t r = 0; r < c.R; r++) c.n_valid[r] = (uint32_t)rng_below(&stream, 42);
    c.n_valid[5] = 0;
    result before[MOST_LEVELS];
    FOR_LEVELS (l) before[l] = run(levels[l], &c, 0, c.R);
    for (size_t i = 41 * c.dim; i < 3 * KV_PAGE * c.dim; i++)
        c.k[i] = i % 3 ? 3e38f : NAN, c.v[i] = i % 2 ? 3e38f : INFINITY;
    for (size_t d = 0; d < c.dim; d++) c.q[5 * c.dim + d] = NAN;
    c.n_valid[5] = 41;
    put(&c);
    FOR_LEVELS (l) {
        result out = run(levels[l], &c, 0, c.R);
        for (size_t r = 0; r < c.R; r++)
            if (r != 5) same_row("beyond n_valid", levels[l], &c, &out, r, &before[l], r);
        assert_true(isnan(out.state[5].sum));
        free(out.acc), free(before[l].acc);
    }
    chunk_free(&c);
}

/* A NaN in a key or a value that is seen makes the row's sum NaN: nothing is lost silently. */
static void test_nan_seen(void **unused) {
    (void)unused;
    for (size_t kind = 0; kind < 2; kind++) {
        chunk c = random_chunk(4, 32, 2);
        (kind ? c.v : c.k)[40 * c.dim + 7] = NAN;
        for (size_t r = 0; r < c.R; r++) c.n_valid[r] = r == 1 ? 40 : 41;
        put(&c);
        FOR_LEVELS (l) {
            result out = run(levels[l], &c, 0, c.R);
            for (size_t r = 0; r < c.R; r++) assert_int_equal(isnan(out.state[r].sum) != 0, r != 1);
            free(out.acc);
        }
        chunk_free(&c);
    }
}

static void test_no_page(void **unused) {
    (void)unused;
    chunk c = random_chunk(14, 16, 0);
    memset(c.n_valid, 0, sizeof c.n_valid);
    FOR_LEVELS (l) {
        result out = run(levels[l], &c, 0, c.R);
        for (size_t r = 0; r < c.R; r++) check_row(levels[l], &c, r, &out);
        free(out.acc);
    }
    chunk_free(&c);
}

/* ---- values of zero, and merging ---- */

/* Attention of all tokens, in doubles, of the values as stored. */
static void define(const chunk *c, size_t n_chunk, size_t r, double *out) {
    double top = -INFINITY, sum = 0, size;
    memset(out, 0, c->dim * sizeof *out);
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n_chunk; i++)
            for (size_t t = 0; t < c[i].n_valid[r]; t++) {
                int8_page page = int8_page_at(c[i].page[t / KV_PAGE], c->dim);
                double v_log = page.v_log[t % KV_PAGE], s = log_weight(c + i, r, t, &size) - v_log;
                if (pass == 0) {
                    top = fmax(top, s);
                    continue;
                }
                sum += exp(s - top);
                for (size_t d = 0; d < c->dim; d++) out[d] += exp(s - top + v_log) * value_byte(c + i, t, d);
            }
    for (size_t d = 0; d < c->dim; d++) out[d] /= sum;
}

enum { CHUNKS = 3, MERGE_DIM = 32, MERGE_R = 14 };

/* Chunks for the same queries, the second one's values times `size`; some rows see nothing of some chunks. */
static void random_chunks(chunk c[CHUNKS], float size) {
    for (size_t i = 0; i < CHUNKS; i++) {
        c[i] = random_chunk(MERGE_R, MERGE_DIM, 1);
        memcpy(c[i].q, c[0].q, MERGE_R * MERGE_DIM * sizeof(float));
        for (size_t j = 0; j < KV_PAGE * MERGE_DIM; j++) c[i].v[j] *= i == 1 ? size : 1.0f;
        put(&c[i]);
        for (size_t r = 0; r < MERGE_R; r++) c[i].n_valid[r] = (uint32_t)((r + i) % 3 == 0 ? 0 : KV_PAGE - r % 5);
    }
}

static result run_chunks(const kernels *kn, const chunk *c) {
    result out = run(kn, c, 0, MERGE_R);
    for (size_t i = 1; i < CHUNKS; i++) {
        result part = run(kn, c + i, 0, MERGE_R);
        kn->attn_merge(out.acc, out.state, part.acc, part.state, MERGE_R, MERGE_DIM);
        free(part.acc);
    }
    return out;
}

/* What a merged row may be off by: value d by off[d] in the numerator, and the denominator by `part` of itself. */
typedef struct merge_bound {
    double off[MERGE_DIM], sum, part;
} merge_bound;

/* A chunk's numerator is sum_t round(w) byte with w = exp(u - its maximum): each token is off by half a byte's count
 * and by the error of w (tol of check_row), times its byte; 255 is where both w and its count end. Its sum is off by
 * tol and n U of itself. A merge multiplies by exp of a difference of maxima (off by U of it, and 2.5 U) and rounds
 * twice; what becomes smaller than TINY may vanish. All in units of the largest of the chunks' maxima. */
static merge_bound bound_merge(const chunk *c, size_t r) {
    enum { TINY_EXP = -126 };
    double top[CHUNKS], most = 0, all = -INFINITY, size, tiny = 0;
    merge_bound b = {0};
    for (size_t i = 0; i < CHUNKS; i++) {
        top[i] = -INFINITY;
        for (size_t t = 0; t < c[i].n_valid[r]; t++) {
            top[i] = fmax(top[i], log_weight(c + i, r, t, &size) - log(255));
            most = fmax(most, size);
        }
        all = fmax(all, top[i]);
    }
    double tol = 8e-5 + 16 * U * (most + 6), merges = CHUNKS * (2 * (most + 6) * U + 4.5 * U);
    for (size_t i = 0; i < CHUNKS; i++)
        for (size_t t = 0; t < c[i].n_valid[r]; t++) {
            double w = exp(log_weight(c + i, r, t, &size) - top[i]), f = exp(top[i] - all);
            b.sum += f * w * (double)int8_page_at(c[i].page[0], MERGE_DIM).v_inverse[t];
            for (size_t d = 0; d < MERGE_DIM; d++)
                b.off[d] += f * (0.5 + (tol + merges) * w) * fabs(value_byte(c + i, t, d));
            tiny += ldexp(255 * 127, TINY_EXP);
        }
    for (size_t d = 0; d < MERGE_DIM; d++) b.off[d] += tiny;
    b.part = tol + CHUNKS * KV_PAGE * U + merges;
    return b;
}

/* Every value within the bound; returns the largest share of it that is used. */
static double check_merged(const kernels *kn, const chunk *c, const result *out, float size) {
    double used = 0;
    for (size_t r = 0; r < MERGE_R; r++) {
        double want[MERGE_DIM];
        merge_bound b = bound_merge(c, r);
        define(c, CHUNKS, r, want);
        for (size_t d = 0; d < MERGE_DIM; d++) {
            double value = (double)out->acc[r * MERGE_DIM + d] / (double)out->state[r].sum;
            double off = fabs(value - want[d]), most = (b.off[d] / b.sum + b.part * fabs(want[d])) / (1 - b.part);
            if (!(off <= most))
                fail_msg("%s, values of %g, row %zu value %zu: %g, expected %g, bound %g", kn->name, (double)size, r, d,
                         value, want[d], most);
            used = fmax(used, off / most);
        }
    }
    return used;
}

/* Chunks merged, whatever the sizes of V: all zero in one, 1e-30, 1e30. The bound is that of the worst case, all halves
 * of bytes with the same sign; over so many draws a good part of it is reached,
 * so it is not far from what there can be. */
static void test_merge(void **unused) {
    (void)unused;
    enum { DRAWS = 100 };
    const float sizes[] = {1.0f, 0.0f, 1e-30f, 1e30f};
    double used[MOST_LEVELS] = {0};
    for (size_t draw = 0; draw < DRAWS; draw++)
        for (size_t kind = 0; kind < 4; kind++) {
            chunk c[CHUNKS];
            random_chunks(c, sizes[kind]);
            FOR_LEVELS (l) {
                result out = run_chunks(levels[l], c);
                used[l] = fmax(used[l], check_merged(levels[l], c, &out, sizes[kind]));
                free(out.acc);
            }
            for (size_t i = 0; i < CHUNKS; i++) chunk_free(&c[i]);
        }
    for (size_t l = 0; l < n_level; l++) {
        print_message("%s: merged values used up to %.2f of their bound\n", levels[l]->name, used[l]);
        assert_true(used[l] > 0.1);
    }
}

/* ---- bytes ---- */

/* Half a step of 1/127 of the largest, and a rounding. */
static void check_bytes(const float *x, const double *bytes, double scale, size_t dim) {
    double most = 0;
    for (size_t d = 0; d < dim; d++) most = fmax(most, fabs((double)x[d]));
    for (size_t d = 0; d < dim; d++) assert_true(fabs((double)x[d] - bytes[d] * scale) <= most / 127 * 0.50001);
}

static void test_store(void **unused) {
    (void)unused;
    chunk c = random_chunk(3, 80, 2);
    for (size_t t = 0; t < 2 * KV_PAGE; t++) {
        int8_page page = int8_page_at(c.page[t / KV_PAGE], c.dim);
        double k[80], v[80], scale = 1 / (double)page.v_inverse[t % KV_PAGE];
        for (size_t d = 0; d < c.dim; d++) k[d] = key_byte(&c, t, d), v[d] = value_byte(&c, t, d);
        check_bytes(c.k + t * c.dim, k, page.k_scale[t % KV_PAGE], c.dim);
        check_bytes(c.v + t * c.dim, v, scale, c.dim);
        assert_true(fabs((double)page.v_log[t % KV_PAGE] - log(scale)) <= 1e-6);
    }
    chunk_free(&c);
}

/* Every level gives the same bytes, whatever the values, in whatever order tokens come. */
static void test_same_bytes(void **unused) {
    (void)unused;
    enum { DIM = 48, SIZE = 2 * DIM * KV_PAGE + 12 * KV_PAGE };
    const float sizes[] = {1.0f, 0.0f, 1e-30f, 1e-38f, 1e30f, 3e38f, NAN, INFINITY};
    float *k[KV_PAGE], *v[KV_PAGE];
    for (size_t t = 0; t < KV_PAGE; t++) {
        k[t] = normals(DIM, 0.3f), v[t] = normals(DIM, 0.3f);
        k[t][t % DIM] *= sizes[t % 8], v[t][t % DIM] *= sizes[t / 4 % 8];
        for (size_t d = 0; d < DIM && t % 3 == 0; d++) k[t][d] *= sizes[t % 6], v[t][d] *= sizes[t % 5];
    }
    assert_int_equal(attn_page_bytes(KV_INT8, DIM), SIZE);
    char *want = allocate(SIZE);
    for (size_t t = 0; t < KV_PAGE; t++) kernels_ref()->attn_store_int8(want, k[t], v[t], t, DIM);
    FOR_LEVELS (l) {
        char *page = allocate(SIZE), query[2][ATTN_QUERY_INT8(DIM)];
        memset(page, 77, SIZE);
        for (size_t t = 0; t < KV_PAGE; t++)
            levels[l]->attn_store_int8(page, k[t * 5 % KV_PAGE], v[t * 5 % KV_PAGE], t * 5 % KV_PAGE, DIM);
        assert_memory_equal(page, want, SIZE);
        for (size_t t = 0; t < KV_PAGE; t++) {
            kernels_ref()->attn_query_int8(query[0], k[t], DIM, 0.125f);
            levels[l]->attn_query_int8(query[1], k[t], DIM, 0.125f);
            assert_memory_equal(query[0], query[1], sizeof query[0]);
        }
        free(page);
    }
    for (size_t t = 0; t < KV_PAGE; t++) free(k[t]), free(v[t]);
    free(want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_every_length), cmocka_unit_test(test_places),
        cmocka_unit_test(test_masks),  cmocka_unit_test(test_nan_seen),     cmocka_unit_test(test_no_page),
        cmocka_unit_test(test_merge),  cmocka_unit_test(test_store),        cmocka_unit_test(test_same_bytes),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
