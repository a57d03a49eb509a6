/* bench_attn.c - speed of attention over chunks, one thread: rows that share a KV head over cached and uncached
 * chunks, fp32, bf16 and int8, as GFLOP/s (4 R T dim, nothing else counted) and share of the ceiling, ns per row and
 * chunk, GB/s of K and V.
 *
 * usage: bench_attn [ref|avx2|avx512] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "math/cpu/features.h"
#include "math/cpu/level.h"

enum { PAGES = ATTN_CHUNK / KV_PAGE, MAX_R = 96, MAX_DIM = 128 };

static const char *const type_names[] = {"fp32", "bf16", "int8"};

typedef struct job {
    const kernels *k;
    kv_type type;
    size_t R, dim, n_chunk;
    void *q;
    char *kv; /* pages */
    float *acc, *part, *scratch;
    uint32_t n_valid[MAX_R];
    attn_state state[MAX_R], part_state[MAX_R];
} job;

static void *allocate(size_t size) {
    void *p = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!p) abort();
    return p;
}

/* n values in -0.5 .. 0.5 */
static void random_values(float *x, size_t n) {
    static uint32_t state = 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / (1 << 24) - 0.5f;
    }
}

static void *random_queries(const kernels *k, kv_type type, size_t R, size_t dim) {
    float q[MAX_DIM], scale = 1.0f / sqrtf((float)dim);
    char *out = allocate(R * (dim + 8) * sizeof *q);
    for (size_t r = 0; r < R; r++) {
        random_values(q, dim);
        if (type == KV_INT8) k->attn_query_int8(out + r * ATTN_QUERY_INT8(dim), q, dim, scale);
        if (type == KV_BF16) k->to_bf16((uint16_t *)(void *)out + r * dim, q, dim);
        if (type == KV_F32) memcpy(out + r * dim * sizeof *q, q, dim * sizeof *q);
    }
    return out;
}

static char *random_pages(const kernels *k, kv_type type, size_t n_page, size_t dim) {
    float key[MAX_DIM], value[MAX_DIM];
    uint16_t key16[MAX_DIM], value16[MAX_DIM];
    char *out = allocate(n_page * attn_page_bytes(type, dim));
    for (size_t t = 0; t < n_page * KV_PAGE; t++) {
        void *page = out + t / KV_PAGE * attn_page_bytes(type, dim);
        random_values(key, dim);
        random_values(value, dim);
        k->to_bf16(key16, key, dim);
        k->to_bf16(value16, value, dim);
        if (type == KV_INT8) k->attn_store_int8(page, key, value, t % KV_PAGE, dim);
        if (type == KV_BF16) attn_store_bf16(page, key16, value16, t % KV_PAGE, dim);
        if (type == KV_F32) attn_store(page, key, value, t % KV_PAGE, dim);
    }
    return out;
}

static void run_chunk(job *j, size_t chunk, float *acc, attn_state *state) {
    float scale = 1.0f / sqrtf((float)j->dim);
    const void *kv[PAGES];
    for (size_t p = 0; p < PAGES; p++) kv[p] = j->kv + (chunk * PAGES + p) * attn_page_bytes(j->type, j->dim);
    if (j->type == KV_INT8)
        j->k->attn_chunk_int8(acc, state, j->q, kv, NULL, PAGES, j->n_valid, j->R, j->dim, j->scratch);
    else if (j->type == KV_BF16)
        j->k->attn_chunk_bf16(acc, state, j->q, (const uint16_t *const *)kv, PAGES, j->n_valid, j->R, j->dim, scale,
                              j->scratch);
    else
        j->k->attn_chunk(acc, state, j->q, (const float *const *)kv, PAGES, j->n_valid, j->R, j->dim, scale,
                         j->scratch);
}

static void run(job *j) {
    run_chunk(j, 0, j->acc, j->state);
    for (size_t c = 1; c < j->n_chunk; c++) {
        run_chunk(j, c, j->part, j->part_state);
        j->k->attn_merge(j->acc, j->state, j->part, j->part_state, j->R, j->dim);
    }
}

/* The thread's own time, in seconds: the machine may be shared. */
static double cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void bench(const kernels *k, kv_type type, size_t R, size_t dim, size_t n_chunk, double top) {
    size_t n = n_chunk * ATTN_CHUNK;
    static job j; /* not on the stack, whose place depends on the environment */
    j = (job){.k = k,
              .type = type,
              .R = R,
              .dim = dim,
              .n_chunk = n_chunk,
              .q = random_queries(k, type, R, dim),
              .kv = random_pages(k, type, n_chunk * PAGES, dim),
              .acc = allocate(R * dim * sizeof(float)),
              .part = allocate(R * dim * sizeof(float)),
              .scratch = allocate(ATTN_SCRATCH * sizeof(float))};
    for (size_t r = 0; r < R; r++) j.n_valid[r] = ATTN_CHUNK;
    double best = 1e30;
    for (int i = 0; i < 30; i++) {
        double t = cpu_now();
        size_t runs = 0;
        do run(&j);
        while (++runs < 3 || cpu_now() - t < 0.001);
        t = (cpu_now() - t) / (double)runs;
        if (t < best) best = t;
    }
    double rate = 4.0 * (double)R * (double)n * (double)dim / best / 1e9,
           bytes = (double)(n_chunk * PAGES) * (double)attn_page_bytes(type, dim);
    printf("%-6s %-4s dim %3zu R %3zu T %5zu: %6.1f GFLOP/s (%3.0f %%) %8.1f ns per row and chunk %6.1f GB/s\n",
           k->name, type_names[type], dim, R, n, rate, top > 0 ? 100 * rate / top : 0.0,
           best * 1e9 / (double)(R * n_chunk), bytes / best / 1e9);
    free(j.q), free(j.kv), free(j.acc), free(j.part), free(j.scratch);
}

/* ---- the ceiling: independent chains of fused multiply-adds, or of bf16 pair products, in registers; 0: unknown
 * ---- */

#if defined(__x86_64__)
typedef float wide __attribute__((vector_size(64)));
#define CHAINS(name, op)                                                                                               \
    __attribute__((target("avx512f"))) static void name(void) {                                                        \
        wide s[12] = {0}, a = {0}, b = {0};                                                                            \
        for (int i = 0; i < 100000; i++)                                                                               \
            __asm__ volatile(op " %13, %12, %0\n\t" op " %13, %12, %1\n\t" op " %13, %12, %2\n\t" op                   \
                                " %13, %12, %3\n\t" op " %13, %12, %4\n\t" op " %13, %12, %5\n\t" op                   \
                                " %13, %12, %6\n\t" op " %13, %12, %7\n\t" op " %13, %12, %8\n\t" op                   \
                                " %13, %12, %9\n\t" op " %13, %12, %10\n\t" op " %13, %12, %11"                        \
                             : "+v"(s[0]), "+v"(s[1]), "+v"(s[2]), "+v"(s[3]), "+v"(s[4]), "+v"(s[5]), "+v"(s[6]),     \
                               "+v"(s[7]), "+v"(s[8]), "+v"(s[9]), "+v"(s[10]), "+v"(s[11])                            \
                             : "v"(a), "v"(b));                                                                        \
    }
CHAINS(chains_fp32, "vfmadd231ps")
CHAINS(chains_bf16, "vdpbf16ps")
CHAINS(chains_int8, "vpdpbusd")
#endif

static double ceiling(kv_type type) {
#if defined(__x86_64__)
    void (*const chains[])(void) = {chains_fp32, chains_bf16, chains_int8};
    cpu_features f = cpu_detect();
    if (type == KV_F32 ? f.avx512 : type == KV_BF16 ? f.avx512_bf16 : f.avx512_vnni) {
        double best = 1e30;
        for (int i = 0; i < 20; i++) {
            double t = cpu_now();
            chains[type]();
            t = cpu_now() - t;
            if (t < best) best = t;
        }
        return 100000 * 12 * (32 << type) / best / 1e9;
    }
#endif
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) setenv("PGENRM_CPU", argv[1], 1);
    const kernels *k = kernels_best();
    const size_t Rs[] = {1, 3, 24, 72, 96}, dims[] = {64, 128}, chunks[] = {1, 6, 60};
    for (int type = KV_F32; type <= KV_INT8; type++) {
        double top = ceiling((kv_type)type);
        printf("%s ceiling of this thread: %.1f G(FL)OP/s\n", type_names[type], top);
        for (size_t d = 0; d < 2; d++)
            for (size_t i = 0; i < sizeof Rs / sizeof *Rs; i++)
                for (size_t c = 0; c < 3; c++) bench(k, (kv_type)type, Rs[i], dims[d], chunks[c], top);
    }
    return 0;
}
