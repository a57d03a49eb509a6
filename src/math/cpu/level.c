/* level.c - puts the levels together, once, and picks among them. */
#include "math/cpu/level.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "math/cpu/features.h"
#include "math/cpu/kernels_level.h"

/* Lowest first. */
static const char *const names[] = {"ref", "neon", "avx2", "avx512", "amx"};
enum { N_NAME = sizeof names / sizeof *names };

static cpu_level found[N_NAME];
static size_t n_found;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void add(cpu_level l) {
    found[n_found++] = l;
}

static cpu_level ref(void) {
    return (cpu_level){.name = "ref",
                       .kernels = kernels_ref(),
                       .int8 = gemm_int8_ref(),
                       .bf16 = gemm_bf16_ref(),
                       .q4 = gemm_q4_ref(),
                       .dot8_rows = dot8_rows_ref};
}

#if defined(__x86_64__)
static cpu_level avx2(void) {
    return (cpu_level){.name = "avx2",
                       .kernels = kernels_avx2(),
                       .int8 = gemm_int8_avx2(),
                       .bf16 = gemm_bf16_avx2(),
                       .f32 = gemm_f32_avx2(),
                       .q4 = gemm_q4_avx2(),
                       .dot8_rows = dot8_rows_avx2,
                       .fast_f32 = true,
                       .fast_bf16 = true,
                       .fast_int8 = true};
}

static cpu_level avx512(cpu_features f) {
    cpu_level l = avx2();
    l.name = "avx512";
    l.kernels = kernels_avx512(f.avx512_bf16, f.avx512_vnni);
    l.f32 = gemm_f32_avx512();
    if (f.avx512_vnni) l.dot8_rows = dot8_rows_vnni;
    if (f.avx512_vnni) l.int8 = gemm_int8_avx512(), l.q4 = NULL;
    if (f.avx512_bf16) l.bf16 = gemm_bf16_avx512();
    l.bf16_ahead = f.avx512_bf16 && f.amd; /* Intel multiplies fewer pairs a cycle than single values (bench/LOG.md) */
    return l;
}

/* Products in tiles, and attention in bf16; all else is AVX-512's. */
static cpu_level amx(cpu_features f) {
    static kernels with_tiles;
    cpu_level l = avx512(f);
    with_tiles = *l.kernels;
    with_tiles.attn_chunk_bf16 = kernel_attn_chunk_bf16_amx;
    l.kernels = &with_tiles;
    l.name = "amx";
    l.bf16 = l.tiles = gemm_bf16_amx();
    if (f.amx_int8 && f.avx512_vnni) l.int8 = gemm_int8_amx();
    l.bf16_ahead = true;
    return l;
}
#endif

#if defined(__aarch64__)
/* fp32 in vectors; products with packed weights and what works on bf16 and int8 are plain C. */
static cpu_level neon(void) {
    cpu_level l = ref();
    l.name = "neon";
    l.kernels = kernels_neon();
    l.fast_f32 = true;
    return l;
}
#endif

static void find(void) {
    add(ref());
#if defined(__aarch64__)
    add(neon());
#endif
#if defined(__x86_64__)
    cpu_features f = cpu_detect();
    if (f.avx2) add(avx2());
    if (f.avx2 && f.avx512) add(avx512(f));
    if (f.avx2 && f.amx_bf16) add(amx(f));
#endif
}

const cpu_level *cpu_level_at(size_t i) {
    pthread_once(&once, find);
    return i < n_found ? &found[i] : NULL;
}

static size_t rank(const char *name) {
    size_t i = 0;
    while (i < N_NAME && strcmp(names[i], name) != 0) i++;
    return i;
}

static void warn_once(const char *value) {
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&warned))
        log_warn("PGENRM_CPU is %s, expected ref, neon, avx2, avx512 or amx: not limited", value);
}

const cpu_level *cpu_best(void) {
    const char *limit = getenv("PGENRM_CPU");
    size_t most = limit && *limit ? rank(limit) : N_NAME;
    if (limit && *limit && most == N_NAME) warn_once(limit);
    const cpu_level *best = cpu_level_at(0);
    for (size_t i = 1; cpu_level_at(i) && rank(cpu_level_at(i)->name) <= most; i++) best = cpu_level_at(i);
    return best;
}

const kernels *kernels_best(void) {
    return cpu_best()->kernels;
}

void dot8_rows(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row, size_t n) {
    cpu_best()->dot8_rows(out, q, rows, n_row, n);
}
