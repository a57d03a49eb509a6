/* attn_avx512_bf16.c - attention over a chunk of tokens with the pair products of AVX-512 BF16. Algorithm:
 * kernels_attn.h. */
#include "math/cpu/kernels_level.h"

#if defined(__x86_64__)
#include "math/cpu/attn_pairs_avx512.h"

#define ATTN_KERNEL void kernel_attn_chunk_bf16_avx512
#include "math/cpu/kernels_attn.h"
#endif
