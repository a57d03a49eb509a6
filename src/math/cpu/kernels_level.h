/* kernels_level.h - kernels that several levels use as they are. Internal to the kernels_*.c. */
#ifndef PGR_MATH_CPU_KERNELS_LEVEL_H
#define PGR_MATH_CPU_KERNELS_LEVEL_H

#include "math/cpu/kernels.h"

void kernel_rope_ref(float *x, const float *cs, size_t dim, bool interleaved);
void kernel_to_bf16_ref(uint16_t *restrict out, const float *restrict x, size_t n);
/* out[i] = round(x[i] * 127 / max|x|); returns max|x| / 127. 0 for a row of zeros; zeros and NaN for a row with an
 * infinity or a NaN. The definition of what int8 products do with a block.                              x, out: (n) */
float kernel_to_int8_ref(int8_t *restrict out, const float *restrict x, size_t n);
void kernel_attn_chunk_ref(float *restrict acc, attn_state *restrict state, const float *restrict q,
                           const float *const *kv, size_t n_page, const uint32_t *restrict n_valid, size_t R,
                           size_t dim, float scale, float *restrict scratch);
void kernel_attn_chunk_bf16_ref(float *restrict acc, attn_state *restrict state, const uint16_t *restrict q,
                                const uint16_t *const *kv, size_t n_page, const uint32_t *restrict n_valid, size_t R,
                                size_t dim, float scale, float *restrict scratch);
void kernel_attn_chunk_int8_ref(float *restrict acc, attn_state *restrict state, const void *restrict q,
                                const void *const *kv, const void *const *ahead, size_t n_page,
                                const uint32_t *restrict n_valid, size_t R, size_t dim, float *restrict scratch);
void kernel_attn_query_int8_ref(void *restrict out, const float *restrict q, size_t dim, float scale);
void kernel_attn_store_int8_ref(void *restrict page, const float *restrict k, const float *restrict v, size_t t,
                                size_t dim);
void kernel_attn_merge_ref(float *restrict acc, attn_state *restrict state, const float *restrict acc2,
                           const attn_state *restrict state2, size_t R, size_t dim);

#if defined(__aarch64__)
const kernels *kernels_neon(void);
#endif

#if defined(__x86_64__)
const kernels *kernels_avx2(void);                       /* needs AVX2 and FMA */
const kernels *kernels_avx512(bool has_bf16, bool has_vnni); /* needs AVX-512; else with the AVX2 kernels of the type */

/* need AVX2 and FMA */
void kernel_attn_chunk_bf16_avx2(float *restrict acc, attn_state *restrict state, const uint16_t *restrict q,
                                 const uint16_t *const *kv, size_t n_page, const uint32_t *restrict n_valid, size_t R,
                                 size_t dim, float scale, float *restrict scratch);
void kernel_attn_chunk_int8_avx2(float *restrict acc, attn_state *restrict state, const void *restrict q,
                                 const void *const *kv, const void *const *ahead, size_t n_page,
                                 const uint32_t *restrict n_valid, size_t R, size_t dim, float *restrict scratch);
void kernel_attn_query_int8_avx2(void *restrict out, const float *restrict q, size_t dim, float scale);
void kernel_attn_store_int8_avx2(void *restrict page, const float *restrict k, const float *restrict v, size_t t,
                                 size_t dim);
/* needs AVX-512 with BF16 */
void kernel_attn_chunk_bf16_avx512(float *restrict acc, attn_state *restrict state, const uint16_t *restrict q,
                                   const uint16_t *const *kv, size_t n_page, const uint32_t *restrict n_valid, size_t R,
                                   size_t dim, float scale, float *restrict scratch);
/* needs AMX that the system has granted, and that */
void kernel_attn_chunk_bf16_amx(float *restrict acc, attn_state *restrict state, const uint16_t *restrict q,
                                const uint16_t *const *kv, size_t n_page, const uint32_t *restrict n_valid, size_t R,
                                size_t dim, float scale, float *restrict scratch);
/* need AVX-512 with VNNI */
void kernel_attn_chunk_int8_avx512(float *restrict acc, attn_state *restrict state, const void *restrict q,
                                   const void *const *kv, const void *const *ahead, size_t n_page,
                                   const uint32_t *restrict n_valid, size_t R, size_t dim, float *restrict scratch);
void kernel_attn_query_int8_avx512(void *restrict out, const float *restrict q, size_t dim, float scale);
void kernel_attn_store_int8_avx512(void *restrict page, const float *restrict k, const float *restrict v, size_t t,
                                   size_t dim);
#endif

void kernel_layernorm_ref(float *out, const float *x, const float *restrict w, const float *restrict b, size_t n,
                          float eps);
void kernel_gelu_ref(float *x, size_t n);
void kernel_gelu_tanh_ref(float *x, size_t n);

#endif
