/* test_attention.c - attention over shared pages against its definition in double, in fp32, bf16 and int8; and a row's
 * bits, which must not depend on the rows beside it, on what is shared, or on whether it stands in a long run. */
#include "../base/faults.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "math/cpu/attention.h"
#include "math/cpu/kernels_level.h"
#include "model/kv.h"

enum { H = 6, H_KV = 2, HD = 16, N_CTX = 2048, N_BATCH = 256, MAX_SEQ = 40, MAX_POS = 1200, LAYER = 1 };

/* A row of a pass. */
typedef struct query_row {
    uint32_t seq, pos;
} query_row;

typedef struct world {
    attn_shape shape;
    pool *threads;
    const kernels *k;
    kv_cache kv;
    kv_seq seqs[MAX_SEQ];
    float *keys[MAX_SEQ], *values[MAX_SEQ]; /* (MAX_POS, H_KV, HD) as rounded in the cache */
    size_t n_seq;
    attention *a;
    rng r;
} world;

static world *make(kv_type type, int threads) {
    world *w = calloc(1, sizeof *w);
    const config c = {.n_layer = 2, .n_head = H, .n_head_kv = H_KV, .head_dim = HD, .n_embd = H * HD, .n_ctx = N_CTX};
    w->shape = (attn_shape){H, H_KV, HD, N_BATCH, N_CTX, type};
    w->k = kernels_best();
    w->r = (rng){.seed = 7};
    assert_int_equal(pool_create(threads, &w->threads, NULL), PGR_OK);
    assert_int_equal(kv_init(&w->kv, &c, type, 1 << 20, NULL), PGR_OK);
    assert_int_equal(attention_create(&w->shape, w->threads, w->k, &w->a, NULL), PGR_OK);
    return w;
}

static void drop(world *w) {
    for (size_t i = 0; i < w->n_seq; i++) {
        kv_release(&w->kv, &w->seqs[i]);
        free(w->keys[i]);
        free(w->values[i]);
    }
    attention_free(w->a);
    kv_close(&w->kv);
    pool_free(w->threads);
    free(w);
}

/* A head's values as the cache keeps them. */
static void round_head(float *x, kv_type type) {
    int8_t bytes[HD];
    float scale = type == KV_INT8 ? kernel_to_int8_ref(bytes, x, HD) : 0.0f;
    for (size_t i = 0; i < HD; i++) {
        if (type == KV_BF16) x[i] = bf16_to_f32(f32_to_bf16(x[i]));
        if (type == KV_INT8) x[i] = (float)bytes[i] * scale;
    }
}

static void store(world *w, void *block, const float *k, const float *v, size_t t) {
    uint16_t k16[HD], v16[HD];
    for (size_t i = 0; i < HD; i++) k16[i] = f32_to_bf16(k[i]), v16[i] = f32_to_bf16(v[i]);
    if (w->kv.type == KV_F32) attn_store(block, k, v, t, HD);
    if (w->kv.type == KV_BF16) attn_store_bf16(block, k16, v16, t, HD);
    if (w->kv.type == KV_INT8) w->k->attn_store_int8(block, k, v, t, HD);
}

/* A sequence of n tokens, the first `shared` of them those of an earlier one. */
static void add_sequence(world *w, size_t from, size_t shared, size_t n) {
    size_t s = w->n_seq++;
    w->keys[s] = calloc((size_t)MAX_POS * H_KV * HD, sizeof(float));
    w->values[s] = calloc((size_t)MAX_POS * H_KV * HD, sizeof(float));
    if (shared) {
        assert_int_equal(kv_fork(&w->kv, &w->seqs[s], &w->seqs[from], shared, NULL), PGR_OK);
        memcpy(w->keys[s], w->keys[from], shared * H_KV * HD * sizeof(float));
        memcpy(w->values[s], w->values[from], shared * H_KV * HD * sizeof(float));
    }
    assert_int_equal(kv_reserve(&w->kv, &w->seqs[s], n - shared, NULL), PGR_OK);
    for (size_t t = shared; t < n; t++)
        for (size_t h = 0; h < H_KV; h++) {
            float *k = w->keys[s] + (t * H_KV + h) * HD, *v = w->values[s] + (t * H_KV + h) * HD;
            for (size_t i = 0; i < HD; i++) {
                k[i] = (float)rng_normal(&w->r);
                v[i] = (float)rng_normal(&w->r);
            }
            round_head(k, w->kv.type);
            round_head(v, w->kv.type);
            store(w, kv_block(&w->kv, w->seqs[s].page[t / KV_PAGE], LAYER, h), k, v, t % KV_PAGE);
        }
    w->seqs[s].n_token = n;
}

/* One row's query, the same wherever the row stands. */
static void query_of(const world *w, const query_row *row, float *q) {
    rng r = {.seed = 99, .stream = row->seq * 10000u + row->pos};
    for (size_t i = 0; i < (size_t)H * HD; i++) q[i] = (float)rng_normal(&r);
    for (size_t h = 0; h < H; h++) round_head(q + h * HD, w->kv.type);
}

/* softmax: (n, H) or NULL */
static void run(world *w, const query_row *rows, size_t n, float *out, attn_state *softmax) {
    static float q[N_BATCH * H * HD];
    static uint16_t q16[N_BATCH * H * HD];
    static uint8_t q8[N_BATCH * H * ATTN_QUERY_INT8(HD)];
    for (size_t i = 0; i < n; i++) query_of(w, &rows[i], q + i * H * HD);
    for (size_t i = 0; i < n * H * HD; i++) q16[i] = f32_to_bf16(q[i]);
    for (size_t i = 0; i < n * H && w->kv.type == KV_INT8; i++)
        w->k->attn_query_int8(q8 + i * ATTN_QUERY_INT8(HD), q + i * HD, HD, 1.0f / sqrtf(HD));
    const void *const by_type[] = {q, q16, q8};
    static uint32_t pos[N_BATCH];
    static const uint32_t *pages[N_BATCH];
    for (size_t i = 0; i < n; i++) pos[i] = rows[i].pos, pages[i] = w->seqs[rows[i].seq].page;
    kv_pages kv = kv_view(&w->kv);
    row_table table = {.n = n, .pos = pos, .pages = pages};
    attention_plan(w->a, &kv, &table);
    attention_run(w->a, LAYER, out, softmax, by_type[w->kv.type],
                  w->kv.type == KV_INT8 ? (size_t)H * ATTN_QUERY_INT8(HD) : (size_t)H * HD);
}

/* Softmax attention by its definition. total: (H) ln of the sum of exp(score) */
static void define(const world *w, const query_row *row, double *out, double *total) {
    float q[H * HD];
    static double p[MAX_POS];
    query_of(w, row, q);
    for (size_t h = 0; h < H; h++) {
        size_t kv = h / (H / H_KV);
        double max = -INFINITY, sum = 0.0;
        for (size_t t = 0; t <= row->pos; t++) {
            double s = 0.0;
            for (size_t i = 0; i < HD; i++)
                s += (double)q[h * HD + i] * (double)w->keys[row->seq][(t * H_KV + kv) * HD + i];
            p[t] = s / sqrt(HD);
            if (p[t] > max) max = p[t];
        }
        for (size_t t = 0; t <= row->pos; t++) sum += p[t] = exp(p[t] - max);
        total[h] = max + log(sum);
        for (size_t i = 0; i < HD; i++) {
            double v = 0.0;
            for (size_t t = 0; t <= row->pos; t++)
                v += p[t] / sum * (double)w->values[row->seq][(t * H_KV + kv) * HD + i];
            out[h * HD + i] = v;
        }
    }
}

/* The values, and what is kept of the softmax. fp32: scores of 16 terms and sums of up to 1,200 terms, each off by
 * about 6e-8 of values below 4: 2e-5 leaves a factor of ten. bf16: every p is rounded to 2^-9 of itself; what is left
 * of that in a mean of normal values is below 2^-8. int8: every weight is off by up to 1/510 of the chunk's largest
 * (test_math_attn_int8 checks that to the byte), errors of either sign in a mean of up to 256 values: 0.0094 is the
 * most that was seen, 0.02 the bound. The sum's logarithm: its relative error, a mean of those of the weights, which
 * bf16 rounds by up to 2^-9; the scores' own error is that of the products. int8's sum is of weights that are not
 * rounded; its kernel's exp and scales are off by 1e-4 at most. */
static void check_row(const world *w, const query_row *row, const float *out, const attn_state *softmax) {
    double want[H * HD], total[H], bound = w->kv.type == KV_F32 ? 2e-5 : w->kv.type == KV_BF16 ? 4e-3 : 2e-2;
    double total_bound = w->kv.type == KV_F32 ? 2e-5 : w->kv.type == KV_BF16 ? 0x1p-9 + 2e-5 : 1e-4;
    define(w, row, want, total);
    for (size_t h = 0; h < H; h++) {
        double got = (double)softmax[h].max + log((double)softmax[h].sum);
        if (!(fabs(got - total[h]) <= total_bound))
            fail_msg("sequence %u, position %u, head %zu: log of the sum %g, want %g", row->seq, row->pos, h, got,
                     total[h]);
    }
    for (size_t i = 0; i < (size_t)H * HD; i++)
        if (!(fabs((double)out[i] - want[i]) <= bound))
            fail_msg("sequence %u, position %u, value %zu: %g, want %g", row->seq, row->pos, i, (double)out[i],
                     want[i]);
}

static void check_batch(world *w, const query_row *rows, size_t n) {
    static float out[N_BATCH * H * HD], alone[H * HD];
    static attn_state softmax[N_BATCH * H], softmax_alone[H];
    run(w, rows, n, out, softmax);
    for (size_t i = 0; i < n; i++) {
        if (i % 5 == 0) check_row(w, &rows[i], out + i * H * HD, softmax + i * H);
        run(w, &rows[i], 1, alone, softmax_alone);
        if (memcmp(alone, out + i * H * HD, sizeof alone) != 0
            || memcmp(softmax_alone, softmax + i * H, sizeof softmax_alone) != 0)
            fail_msg("row %zu (sequence %u, position %u): other bits alone", i, rows[i].seq, rows[i].pos);
    }
}

static size_t add_rows(query_row *rows, size_t at, size_t seq, size_t pos, size_t n) {
    for (size_t i = 0; i < n; i++) rows[at + i] = (query_row){.seq = (uint32_t)seq, .pos = (uint32_t)(pos + i)};
    return at + n;
}

/* Chains of one prompt, of another that begins alike, of none; short and long runs; in every type. */
static void batches_of_all_kinds(void **state) {
    (void)state;
    for (int type = KV_F32; type <= KV_INT8; type++) {
        world *w = make((kv_type)type, 2);
        query_row rows[N_BATCH];
        size_t n = 0;
        add_sequence(w, 0, 0, 700);                                                  /* the prompt */
        for (size_t i = 0; i < 24; i++) add_sequence(w, 0, 700, 701 + 20 * i % 300); /* its chains */
        add_sequence(w, 0, 300, 620);                                                /* begins alike */
        for (size_t i = 0; i < 3; i++) add_sequence(w, 25, 620 - 31 * i, 640);
        add_sequence(w, 0, 0, 90);
        add_sequence(w, 0, 512, 1100); /* shares whole chunks */
        for (size_t s = 1; s < w->n_seq; s++) {
            size_t run_n = s % 7 == 0 ? 3 : 1;
            n = add_rows(rows, n, s, w->seqs[s].n_token - run_n, run_n);
        }
        n = add_rows(rows, n, 0, 700 - 120, 120); /* a long run, of a prompt that others share */
        check_batch(w, rows, n);
        drop(w);
    }
}

static void long_runs_cross_chunks(void **state) {
    (void)state;
    for (int type = KV_F32; type <= KV_INT8; type++) {
        world *w = make((kv_type)type, 3);
        query_row rows[N_BATCH];
        add_sequence(w, 0, 0, 1200);
        const size_t starts[] = {0, 100, 255, 256, 944};
        for (size_t i = 0; i < 5; i++)
            check_batch(w, rows, add_rows(rows, 0, 0, starts[i], i == 0 ? 40 : 256 - 13 * i));
        drop(w);
    }
}

/* More rows and chunks than partial results have room for: several waves. */
static void waves(void **state) {
    (void)state;
    world *w = make(KV_F32, 2);
    query_row rows[N_BATCH];
    size_t n = 0;
    add_sequence(w, 0, 0, 1199);
    for (size_t i = 1; i < MAX_SEQ; i++) add_sequence(w, 0, 1180, 1190 + i % 9);
    for (size_t s = 0; s < MAX_SEQ; s++) n = add_rows(rows, n, s, w->seqs[s].n_token - 6, 6);
    static float whole[N_BATCH * H * HD], split[N_BATCH * H * HD];
    static attn_state softmax[N_BATCH * H];
    run(w, rows, n, whole, softmax);
    size_t before = attention_set_room(w->a, 17);
    run(w, rows, n, split, NULL);
    attention_set_room(w->a, before);
    assert_memory_equal(whole, split, n * H * HD * sizeof(float));
    check_row(w, &rows[n - 1], whole + (n - 1) * H * HD, softmax + (n - 1) * H);
    drop(w);
}

static bool create_once(void) {
    const attn_shape shape = {2, 1, 8, 4, 600, KV_F32};
    attention *a = NULL;
    bool ok = attention_create(&shape, NULL, kernels_best(), &a, NULL) == PGR_OK;
    attention_free(a);
    return ok;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    assert_true(fail_each_allocation(create_once) >= 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_of_all_kinds),
        cmocka_unit_test(long_runs_cross_chunks),
        cmocka_unit_test(waves),
        cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
