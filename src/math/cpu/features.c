/* features.c - asks the CPU. */
#include "math/cpu/features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The tiles are state that Linux saves only for processes that have asked for it. */
static void find_amx(cpu_features *f) {
    enum { LEAF = 7, AMX_BF16 = 22, AMX_TILE = 24, AMX_INT8 = 25, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d = 0;
    if (!__get_cpuid_count(LEAF, 0, &a, &b, &c, &d) || !(d >> AMX_TILE & 1)) return;
    if (syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) != 0) return;
    f->amx_bf16 = d >> AMX_BF16 & 1;
    f->amx_int8 = d >> AMX_INT8 & 1;
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
    f.amd = __builtin_cpu_is("amd");
    f.avx512_vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
    if (f.avx512_bf16) find_amx(&f);
#endif
    return f;
}
