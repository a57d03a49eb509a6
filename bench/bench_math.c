/* bench_math.c - ceilings of the machine; one decode step of the default model's shapes; products of many shapes as
 * G(FL)OP/s and as a share of the ceiling of their instruction, same threads, same run, weights from main memory up
 * to M = 64; attention pages; tiles.
 *
 *     bench_math [THREADS]
 *     bench_math THREADS peaks                  nothing but the ceilings
 *     bench_math THREADS f32|bf16|int8 N K M    one shape, weights in the caches: G(FL)OP/s, nothing else */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "base/rng.h"
#include "math/cpu/features.h"
#include "math/cpu/gemm.h"
#include "math/cpu/level.h"

/* Wall clock; with one thread its processor time, which other processes disturb less. */
static bool alone;

static double now(void) {
    struct timespec t;
    clock_gettime(alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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

/* ---- ceilings: independent chains of one instruction in registers, and an empty job ---- */

enum { PEAK_FP32, PEAK_BF16, PEAK_INT8, N_PEAK };
static const char *const peak_names[] = {"fp32", "bf16", "int8"};

#if defined(__x86_64__)
typedef float wide __attribute__((vector_size(64)));
#define CHAINS(name, instruction)                                                                                      \
    __attribute__((target("avx512f"))) static void name(void *ctx, size_t task, size_t worker) {                       \
        (void)ctx, (void)task, (void)worker;                                                                           \
        wide s[12] = {{0}}, a = {0}, b = {0};                                                                          \
        for (int i = 0; i < 20000; i++) {                                                                              \
            __asm__ volatile(instruction " %13, %12, %0\n\t" instruction " %13, %12, %1\n\t" instruction               \
                                         " %13, %12, %2\n\t" instruction " %13, %12, %3\n\t" instruction               \
                                         " %13, %12, %4\n\t" instruction " %13, %12, %5\n\t" instruction               \
                                         " %13, %12, %6\n\t" instruction " %13, %12, %7\n\t" instruction               \
                                         " %13, %12, %8\n\t" instruction " %13, %12, %9\n\t" instruction               \
                                         " %13, %12, %10\n\t" instruction " %13, %12, %11"                             \
                             : "+v"(s[0]), "+v"(s[1]), "+v"(s[2]), "+v"(s[3]), "+v"(s[4]), "+v"(s[5]), "+v"(s[6]),     \
                               "+v"(s[7]), "+v"(s[8]), "+v"(s[9]), "+v"(s[10]), "+v"(s[11])                            \
                             : "v"(a), "v"(b));                                                                        \
        }                                                                                                              \
    }
CHAINS(chains_fp32, "vfmadd231ps")
CHAINS(chains_bf16, "vdpbf16ps")
CHAINS(chains_int8, "vpdpbusd")
#endif

/* G(FL)OP/s of all threads; 0 where the CPU has no such instruction */
static double peak(int kind, pool *threads) {
    double best = 0;
#if defined(__x86_64__)
    const pool_fn chains[] = {chains_fp32, chains_bf16, chains_int8};
    const bool has[] = {cpu_detect().avx512, cpu_detect().avx512_bf16, cpu_detect().avx512_vnni};
    size_t tasks = 4 * pool_size(threads);
    for (int r = 0; r < 20 && has[kind]; r++) {
        double t = now();
        pool_run(threads, tasks, chains[kind], NULL);
        double rate = (double)tasks * 20000 * 12 * (32 << kind) / (now() - t) / 1e9;
        if (rate > best) best = rate;
    }
#else
    (void)kind, (void)threads;
#endif
    return best;
}

static void nothing(void *ctx, size_t task, size_t worker) {
    (void)ctx, (void)task, (void)worker;
}

static void bench_pool(pool *threads) {
    const size_t n_task[] = {2, 8, 32};
    for (size_t i = 0; i < 3; i++) {
        double best = 1e30;
        for (int r = 0; r < 20; r++) {
            double t = now();
            for (int j = 0; j < 1000; j++) pool_run(threads, n_task[i], nothing, NULL);
            t = (now() - t) / 1000;
            if (t < best) best = t;
        }
        printf("empty job of %2zu tasks: %.2f us\n", n_task[i], best * 1e6);
    }
}

/* ---- products ---- */

/* Seconds for one product; the weights come from main memory where n copies do not fit the caches. */
static double time_run(gemm_weights *const *w, size_t n, float *out, const float *x, size_t M, pool *threads) {
    double best = 1e30, start = now();
    for (int r = 0; r < 5 || (r < 60 && now() - start < 0.3); r++) {
        double t = now();
        for (size_t i = 0; i < n; i++) gemm_run(w[i], out, x, M, threads, NULL);
        t = (now() - t) / (double)n;
        if (t < best) best = t;
    }
    return best;
}

static void bench_shape(gemm_form form, const char *name, quant_type type, size_t N, size_t K, size_t M_max,
                        pool *threads, double top) {
    enum { COPIES = 80 };
    gemm_weights *w[COPIES];
    size_t n = ((size_t)80 << 20) / (N * K) + 1, values = form == GEMM_BF16 ? 2 : 1;
    n = n / values < 1 ? 1 : n / values > COPIES ? COPIES : n / values;
    uint8_t *data = random_blocks(type, N * K);
    double t = now();
    for (size_t i = 0; i < n; i++)
        if (gemm_create(form, type, data, N, K, threads, &w[i], NULL) != PGR_OK) abort();
    printf("%-5s %5zu x %-5zu %5.2f GB/s to make", name, N, K,
           (double)(n * quant_row_bytes(type, N * K)) / (now() - t) / 1e9);
    const size_t Ms[] = {1, 8, 24, 64, 256, 512, 2048};
    float *x = random_floats(M_max * K), *out = random_floats(M_max * N);
    for (size_t i = 0; i < sizeof Ms / sizeof *Ms && Ms[i] <= M_max; i++) {
        double rate = 2.0 * (double)Ms[i] * (double)N * (double)K
                      / time_run(w, Ms[i] <= 64 ? n : 1, out, x, Ms[i], threads) / 1e9;
        printf("  M %zu %.0f", Ms[i], rate);
        if (top > 0) printf(" (%.0f %%)", 100 * rate / top);
        fflush(stdout);
    }
    printf("\n");
    for (size_t i = 0; i < n; i++) gemm_free(w[i]);
    free(x);
    free(out);
    free(data);
}

static void bench_shapes(const double top[N_PEAK], pool *threads) {
    const size_t shapes[][3] = {/* N, K, largest M */
                                {960, 576, 2048},   {576, 576, 2048},  {3072, 576, 2048}, {576, 1536, 2048},
                                {49152, 576, 64},   {4096, 1024, 512}, {6144, 1024, 512}, {1024, 3072, 512},
                                {16384, 2048, 256}, {2048, 8192, 256}, {4096, 4096, 256}, {4096, 14336, 256}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        size_t N = shapes[i][0], K = shapes[i][1], M = shapes[i][2];
        if (N < 3000 && K < 2000) bench_shape(GEMM_FILE, "file", QUANT_Q4_1, N, K, 256, threads, top[PEAK_FP32]);
        if (cpu_best()->fast_bf16) bench_shape(GEMM_BF16, "bf16", QUANT_Q8_0, N, K, M, threads, top[PEAK_BF16]);
        if (cpu_best()->fast_int8) bench_shape(GEMM_INT8, "int8", QUANT_Q8_0, N, K, M, threads, top[PEAK_INT8]);
    }
}

/* The best rate of M rows through one matrix, as a pass that has many rows comes by it. */
static double shape_rate(gemm_form form, size_t N, size_t K, size_t M, pool *threads) {
    uint8_t *data = random_blocks(QUANT_Q8_0, N * K);
    float *x = random_floats(M * K), *out = random_floats(M * N);
    gemm_weights *w = NULL;
    if (gemm_create(form, QUANT_Q8_0, data, N, K, threads, &w, NULL) != PGR_OK) abort();
    double rate = 2.0 * (double)M * (double)N * (double)K / time_run(&w, 1, out, x, M, threads) / 1e9;
    gemm_free(w);
    free(x);
    free(out);
    free(data);
    return rate;
}

/* ---- one decode step: every matrix of a 30-layer model with 576 channels, 1536 hidden, 192 key channels; q, k, v
 * and gate, up stacked ---- */

static void bench_decode(gemm_form form, const char *name, pool *threads) {
    enum { LAYERS = 30, N_MATRIX = 4 };
    const size_t shape[N_MATRIX][2] = {{960, 576}, {576, 576}, {3072, 576}, {576, 1536}};
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

    const size_t Ms[] = {1, 2, 4, 8, 16, 24, 32, 64};
    float *x = random_floats(64 * 1536), *out = random_floats((size_t)64 * 49152);
    for (size_t m = 0; m < sizeof Ms / sizeof *Ms; m++) {
        double best = 1e30, layers = 0;
        for (int r = 0; r < 8; r++) {
            double t = now(), t1;
            for (size_t i = 0; i + 1 < n; i++) gemm_run(w[i], out, x, Ms[m], threads, NULL);
            t1 = now();
            gemm_run(w[n - 1], out, x, Ms[m], threads, NULL);
            if (now() - t < best) best = now() - t, layers = t1 - t;
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

/* ---- tiles, one thread ---- */

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
            double t = now();
            for (size_t c = 0; c < 1536; c += chunk)
                k->dequant_tile(tile, types[i], data + quant_row_bytes(types[i], c), quant_row_bytes(types[i], 1536),
                                64, chunk);
            t = now() - t;
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
    alone = pool_size(threads) == 1;
    if (argc == 6) {
        gemm_form form = strcmp(argv[2], "bf16") == 0 ? GEMM_BF16 : strcmp(argv[2], "int8") == 0 ? GEMM_INT8 : GEMM_F32;
        printf("%.1f\n",
               shape_rate(form, (size_t)atoi(argv[3]), (size_t)atoi(argv[4]), (size_t)atoi(argv[5]), threads));
        pool_free(threads);
        return 0;
    }
    double top[N_PEAK];
    printf("%s, %zu threads\n", cpu_best()->name, pool_size(threads));
    for (int i = 0; i < N_PEAK; i++) printf("peak %s %.0f G(FL)OP/s\n", peak_names[i], top[i] = peak(i, threads));
    if (argc > 2) { /* "peaks": nothing else */
        pool_free(threads);
        return 0;
    }
    bench_pool(threads);

    const struct {
        gemm_form form;
        const char *name;
        bool can;
    } forms[] = {{GEMM_FILE, "file", true},
                 {GEMM_F32, "f32", true},
                 {GEMM_BF16, "bf16", cpu_best()->fast_bf16},
                 {GEMM_INT8, "int8", cpu_best()->fast_int8}};
    for (size_t i = 0; i < 4; i++)
        if (forms[i].can) bench_decode(forms[i].form, forms[i].name, threads);
    bench_shapes(top, threads);
    bench_tiles();
    pool_free(threads);
    return 0;
}
