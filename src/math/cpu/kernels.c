/* kernels.c - picks the table of kernels by CPU. */
#include "math/cpu/kernels.h"

#include <stdlib.h>
#include <string.h>

cpu_features cpu_detect(void) {
    cpu_features f = {0};
#if defined(__x86_64__)
    __builtin_cpu_init();
    f.avx2 = __builtin_cpu_supports("avx2");
    f.fma = __builtin_cpu_supports("fma");
    f.f16c = f.avx2; /* every CPU with AVX2 has F16C */
    f.avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    f.avx512_bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
    f.avx512_vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
#endif
    return f;
}

const kernels *kernels_best(void) {
    const char *limit = getenv("PGENRM_CPU");
    bool ref_only = limit && strcmp(limit, "ref") == 0;
    bool avx2_only = limit && strcmp(limit, "avx2") == 0;

    const kernels *k = NULL;
    if (!ref_only && !avx2_only) k = kernels_avx512();
    if (!k && !ref_only) k = kernels_avx2();
    return k ? k : kernels_ref();
}
