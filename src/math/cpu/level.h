/* level.h - one object per CPU level: everything that a set of instructions brings, so that a level is chosen once and
 * as a whole.
 * "ref", plain C, is the definition of all others and runs anywhere. A level has for every operation the fastest kernel
 * that the CPU can run: one with AVX-512 but without VNNI has the byte products of AVX2. */
#ifndef PGR_MATH_CPU_LEVEL_H
#define PGR_MATH_CPU_LEVEL_H

#include "math/cpu/dot8.h"
#include "math/cpu/gemm_kernels.h"
#include "math/cpu/kernels.h"

typedef struct cpu_level {
    const char *name;                /* "ref", "neon", "avx2", "avx512", "amx" */
    const kernels *kernels;          /* rows, tiles, attention and its pages */
    const gemm_kernels *int8, *bf16; /* products of packed weights */
    const gemm_kernels *f32;         /* NULL: fp32 products go by tiles */
    const gemm_kernels *q4;          /* int8's for weights of Q4_1; NULL: int8 has them */
    const gemm_kernels *tiles;       /* bf16, if they are worth packing both sides for one use; else NULL */
    dot8_fn dot8_rows;
    /* more than plain C: products with weights, attention on K and V in the type */
    bool fast_f32, fast_bf16, fast_int8;
    bool bf16_ahead; /* its products in bf16 do more a second than those in fp32 */
} cpu_level;

/* Those that this machine can run, slowest first; NULL behind the last. The first is plain C. */
const cpu_level *cpu_level_at(size_t i);

/* The last of them, or what PGENRM_CPU=ref|neon|avx2|avx512|amx allows: that level, else the next lower one that the
 * machine has. Any other value is warned of once and counts as nothing. */
const cpu_level *cpu_best(void);

#endif
