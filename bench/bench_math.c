/* bench_math.c - speed of the products with weights: every form, some M and shapes, as GFLOP/s and as a share of the
 * fp32 fused multiply-add peak of the same threads in the same run; attention pages; one decode step of the default
 * model's shapes.   bench_math [THREADS] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/pool.h"
#include "base/rng.h"
#include "math/gemm.h"
#include "math/kernels.h"

static void *allocate(size_t size) {
    void *p = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!p) abort();
    return p;
}

static float *random_floats(size_t n) {
    float *x = allocate(n * sizeof *x);
    uint32_t state = 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / (1 << 24) - 0.5f;
    }
    return x;
}

/* Blocks with finite scales: f16 values below 1/16, the rest random. */
static uint8_t *random_blocks(quant_type t, size_t n) {
    size_t bytes = quant_row_bytes(t, n), block = quant_row_bytes(t, quant_block(t));
    uint8_t *data = allocate(bytes);
    uint32_t state = 777;
    for (size_t i = 0; i < bytes; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = (uint8_t)(state >> 24);
    }
    for (size_t i = 0; i < bytes; i += block) {
        uint8_t *scale = data + i + (t == QUANT_Q6_K ? 208 : 0);
        scale[1] = 0x20 | (scale[1] & 0x87);
        if (block % 4 == 0 && block > 4) scale[3] = 0xa0 | (scale[3] & 7); /* the types with a minimum */
    }
    return data;
}

/* ---- the peak: many independent chains of fused multiply-adds in registers ---- */

typedef struct peak_job {
    const kernels *k;
    float *out, *x, *tile;
} peak_job;

/* gemm_tile with everything in the first cache: 6 rows, K = 64 */
static void peak_task(void *ctx, size_t task, size_t worker) {
    (void)task;
    peak_job *job = ctx;
    float *out = job->out + worker * 6 * GEMM_TILE;
    for (int i = 0; i < 2000; i++) job->k->gemm_tile(out, GEMM_TILE, job->x, 64, job->tile, 6, 64, GEMM_TILE);
}

#if defined(__x86_64__)
typedef float wide __attribute__((vector_size(64)));
__attribute__((target("avx512f"))) static void chains_task(void *ctx, size_t task, size_t worker) {
    (void)ctx, (void)task, (void)worker;
    wide s[12], a, b;
    for (int i = 0; i < 16; i++) a[i] = 0.999f, b[i] = 0.001f;
    for (int j = 0; j < 12; j++) s[j] = a;
    for (int i = 0; i < 100000; i++) {
        __asm__ volatile("vfmadd213ps %13, %12, %0\n\tvfmadd213ps %13, %12, %1\n\tvfmadd213ps %13, %12, %2\n\t"
                         "vfmadd213ps %13, %12, %3\n\tvfmadd213ps %13, %12, %4\n\tvfmadd213ps %13, %12, %5\n\t"
                         "vfmadd213ps %13, %12, %6\n\tvfmadd213ps %13, %12, %7\n\tvfmadd213ps %13, %12, %8\n\t"
                         "vfmadd213ps %13, %12, %9\n\tvfmadd213ps %13, %12, %10\n\tvfmadd213ps %13, %12, %11"
                         : "+v"(s[0]), "+v"(s[1]), "+v"(s[2]), "+v"(s[3]), "+v"(s[4]), "+v"(s[5]), "+v"(s[6]),
                           "+v"(s[7]), "+v"(s[8]), "+v"(s[9]), "+v"(s[10]), "+v"(s[11])
                         : "v"(a), "v"(b));
    }
}
#endif

static double peak(pool *threads) {
    size_t n = pool_size(threads), tasks = 4 * n;
    double flop = 0, best = 1e30;
#if defined(__x86_64__)
    if (cpu_detect().avx512) {
        flop = (double)tasks * 100000 * 12 * 32;
        for (int r = 0; r < 10; r++) {
            double t = clock_now();
            pool_run(threads, tasks, chains_task, NULL);
            t = clock_now() - t;
            if (t < best) best = t;
        }
        return flop / best / 1e9;
    }
#endif
    peak_job job = {kernels_best(), random_floats(n * 6 * GEMM_TILE), random_floats(6 * 64), random_floats(64 * 64)};
    flop = (double)tasks * 2000 * 2 * 6 * 64 * 64;
    for (int r = 0; r < 10; r++) {
        double t = clock_now();
        pool_run(threads, tasks, peak_task, &job);
        t = clock_now() - t;
        if (t < best) best = t;
    }
    free(job.out);
    free(job.x);
    free(job.tile);
    return flop / best / 1e9;
}

/* ---- forms ---- */

typedef struct entry {
    const char *name;
    gemm_form form;
    quant_type type;
} entry;

static double time_run(const gemm_weights *w, float *out, const float *x, size_t M, pool *threads) {
    double best = 1e30;
    for (int r = 0; r < 7; r++) {
        double t = clock_now();
        size_t n = 0;
        do gemm_run(w, out, x, M, threads, NULL);
        while (++n < 3 || clock_now() - t < 0.01);
        t = (clock_now() - t) / (double)n;
        if (t < best) best = t;
    }
    return best;
}

static void bench_form(entry e, size_t N, size_t K, pool *threads, double top) {
    uint8_t *data = e.type == QUANT_F32 ? (uint8_t *)random_floats(N * K) : random_blocks(e.type, N * K);
    gemm_weights *w = NULL;
    pgr_error err;
    double t = clock_now();
    if (gemm_create(e.form, e.type, data, N, K, threads, &w, &err) != PGR_OK) {
        printf("%-10s %5zu x %-5zu %s\n", e.name, N, K, err.message);
        free(data);
        return;
    }
    printf("%-10s %5zu x %-5zu %6.2f ms to make", e.name, N, K, (clock_now() - t) * 1e3);
    const size_t Ms[] = {1, 8, 16, 64, 256};
    float *x = random_floats(256 * K), *out = random_floats(256 * N);
    for (size_t i = 0; i < sizeof Ms / sizeof *Ms; i++) {
        double rate = 2.0 * (double)Ms[i] * (double)N * (double)K / time_run(w, out, x, Ms[i], threads) / 1e9;
        printf("  M %3zu %6.1f (%3.0f %%)", Ms[i], rate, 100 * rate / top);
    }
    printf("\n");
    gemm_free(w);
    free(x);
    free(out);
    free(data);
}

/* ---- one decode step: every matrix of a 30-layer model with 576 channels, 1536 hidden, 192 key channels ---- */

static void bench_decode(gemm_form form, const char *name, pool *threads) {
    enum { LAYERS = 30, N_MATRIX = 7 };
    const size_t shape[N_MATRIX][2] = {{576, 576},  {192, 576},  {192, 576}, {576, 576},
                                       {1536, 576}, {1536, 576}, {576, 1536}};
    static gemm_weights *w[LAYERS * N_MATRIX + 1];
    static uint8_t *data[LAYERS * N_MATRIX + 1];
    size_t n = 0;
    for (size_t l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < N_MATRIX; i++, n++) {
            data[n] = random_blocks(QUANT_Q4_1, shape[i][0] * shape[i][1]);
            if (gemm_create(form, QUANT_Q4_1, data[n], shape[i][0], shape[i][1], threads, &w[n], NULL) != PGR_OK)
                abort();
        }
    data[n] = random_blocks(QUANT_Q8_0, (size_t)49152 * 576);
    if (gemm_create(form, QUANT_Q8_0, data[n], 49152, 576, threads, &w[n], NULL) != PGR_OK) abort();
    n++;

    const size_t Ms[] = {1, 2, 4, 8, 16, 32};
    float *x = random_floats(32 * 1536), *out = random_floats((size_t)32 * 49152);
    for (size_t m = 0; m < sizeof Ms / sizeof *Ms; m++) {
        double best = 1e30, layers = 0;
        for (int r = 0; r < 8; r++) {
            double t = clock_now(), t1;
            for (size_t i = 0; i + 1 < n; i++) gemm_run(w[i], out, x, Ms[m], threads, NULL);
            t1 = clock_now();
            gemm_run(w[n - 1], out, x, Ms[m], threads, NULL);
            if (clock_now() - t < best) best = clock_now() - t, layers = t1 - t;
        }
        printf("decode step %-5s M %2zu: %6.2f ms (layers %.2f, head %.2f)\n", name, Ms[m], best * 1e3, layers * 1e3,
               (best - layers) * 1e3);
    }
    for (size_t i = 0; i < n; i++) {
        gemm_free(w[i]);
        free(data[i]);
    }
    free(x);
    free(out);
}

/* ---- attention, one thread ---- */

static void bench_attention(void) {
    enum { DIM = 64, PAGES = 64, ROWS = 768 };
    const kernels *k = kernels_best();
    float *q = random_floats(ROWS * DIM), *acc = random_floats(ROWS * DIM);
    float *kT = random_floats(PAGES * DIM * KV_PAGE), *v = random_floats(PAGES * DIM * KV_PAGE);
    static attn_state state[ROWS];
    static uint32_t n_valid[ROWS];
    const size_t Rs[] = {3, 6, 24, 96, 768};
    for (size_t i = 0; i < ROWS; i++) n_valid[i] = KV_PAGE;
    for (size_t i = 0; i < sizeof Rs / sizeof *Rs; i++) {
        double best = 1e30;
        for (int r = 0; r < 20; r++) {
            double t = clock_now();
            for (size_t p = 0; p < PAGES; p++)
                k->attn_page(acc, state, q, kT + p * DIM * KV_PAGE, v + p * DIM * KV_PAGE, n_valid, Rs[i], DIM, 0.125f);
            t = clock_now() - t;
            if (t < best) best = t;
        }
        double flop = 4.0 * PAGES * KV_PAGE * DIM * (double)Rs[i];
        printf("attn_page R %3zu: %6.1f GFLOP/s, %.1f ns per row and page\n", Rs[i], flop / best / 1e9,
               best * 1e9 / (double)(PAGES * Rs[i]));
    }
    free(q);
    free(acc);
    free(kT);
    free(v);
}

static void bench_tiles(void) {
    const kernels *k = kernels_best();
    float *tile = random_floats((size_t)GEMM_CHUNK * GEMM_TILE);
    const quant_type types[] = {QUANT_F32,  QUANT_F16,  QUANT_BF16, QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0,
                                QUANT_Q5_1, QUANT_Q8_0, QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        uint8_t *data = random_blocks(types[i], (size_t)64 * 1536);
        size_t chunk = quant_block(types[i]) > 64 ? 256 : 64;
        double best = 1e30;
        for (int r = 0; r < 50; r++) {
            double t = clock_now();
            for (size_t c = 0; c < 1536; c += chunk)
                k->dequant_tile(tile, types[i], data + quant_row_bytes(types[i], c), quant_row_bytes(types[i], 1536),
                                64, chunk);
            t = clock_now() - t;
            if (t < best) best = t;
        }
        printf("dequant_tile %-5s %6.2f values/ns\n", quant_name((uint32_t)types[i]), 64 * 1536 / best / 1e9);
        free(data);
    }
    free(tile);
}

int main(int argc, char **argv) {
    pool *threads = NULL;
    if (pool_create(argc > 1 ? atoi(argv[1]) : 0, &threads, NULL) != PGR_OK) return 1;
    double top = peak(threads);
    printf("%s, %zu threads, fp32 peak %.1f GFLOP/s\n", kernels_best()->name, pool_size(threads), top);

    const entry entries[] = {{"file F32", GEMM_FILE, QUANT_F32},   {"file F16", GEMM_FILE, QUANT_F16},
                             {"file BF16", GEMM_FILE, QUANT_BF16}, {"file Q4_0", GEMM_FILE, QUANT_Q4_0},
                             {"file Q4_1", GEMM_FILE, QUANT_Q4_1}, {"file Q8_0", GEMM_FILE, QUANT_Q8_0},
                             {"file Q4_K", GEMM_FILE, QUANT_Q4_K}, {"file Q5_K", GEMM_FILE, QUANT_Q5_K},
                             {"file Q6_K", GEMM_FILE, QUANT_Q6_K}, {"f32", GEMM_F32, QUANT_Q4_1},
                             {"bf16", GEMM_BF16, QUANT_Q4_1},      {"int8", GEMM_INT8, QUANT_Q4_1}};
    const size_t sizes[] = {576, 1536};
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
            if (sizes[s] % quant_block(entries[i].type) == 0) bench_form(entries[i], sizes[s], sizes[s], threads, top);
    bench_decode(GEMM_FILE, "file", threads);
    if (argc > 2) {
        bench_decode(GEMM_F32, "f32", threads);
        bench_decode(GEMM_BF16, "bf16", threads);
        bench_decode(GEMM_INT8, "int8", threads);
    }
    bench_attention();
    bench_tiles();
    pool_free(threads);
    return 0;
}
