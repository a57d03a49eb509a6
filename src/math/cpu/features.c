/* features.c - asks the CPU. */
#include "math/cpu/features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The tiles are state that Linux saves only for processes that have asked for it. */
static bool has_amx_bf16(void) {
    enum { LEAF = 7, AMX_BF16 = 22, AMX_TILE = 24, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d = 0;
    if (!__get_cpuid_count(LEAF, 0, &a, &b, &c, &d)) return false;
    if (!(d >> AMX_BF16 & 1) || !(d >> AMX_TILE & 1)) return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

cpu_features cpu_detect(void) {
    cpu_features f = {0};
#if defined(__x86_64__)
    __builtin_cpu_init();
    f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    f.avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    f.avx512_bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
    f.avx512_vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
    f.amx_bf16 = f.avx512_bf16 && has_amx_bf16();
#endif
    return f;
}
