/* features.h - what the CPU offers beyond the instructions that everything is compiled for. */
#ifndef PGR_MATH_CPU_FEATURES_H
#define PGR_MATH_CPU_FEATURES_H

#include <stdbool.h>

typedef struct cpu_features {
    bool avx2;        /* with FMA and F16C, as every CPU with AVX2 has them */
    bool avx512;      /* F, BW, DQ, VL */
    bool avx512_bf16; /* and avx512 */
    bool avx512_vnni; /* and avx512 */
    bool amd;         /* the maker */
    bool amx_bf16;    /* and avx512_bf16; the system lets this process use the tiles */
    bool amx_int8;    /* the same */
} cpu_features;
cpu_features cpu_detect(void);

#endif
