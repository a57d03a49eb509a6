/* simd_exp.h - exp of a vector, on the operations that kernels_simd.h lists; and how small functions are inlined. */
#ifndef PGR_MATH_CPU_SIMD_EXP_H
#define PGR_MATH_CPU_SIMD_EXP_H

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* ---- exp: 2^n * (1 + r + r^2 q(r)) with |r| <= ln 2 / 2 ----
 * q is the minimax polynomial of degree 4 (relative error of exp 3.1e-9, 0.05 ulp; own fit). With the roundings the
 * result is within 1.25 ulp (measured 1.003); test_kernels checks it. Overflow gives infinity, underflow goes through
 * the subnormals to 0. */
INLINE vf v_exp(vf x) {
    x = v_min(v_set1(89.0f), v_max(v_set1(-104.0f), x)); /* in this order NaN stays */
    vf n = v_round(v_mul(x, v_set1(0x1.715476p+0f)));    /* 1 / ln 2 */
    vf r = v_fma(n, v_set1(-0x1.62e4p-1f), x);           /* ln 2 in two parts: n times the first is exact */
    r = v_fma(n, v_set1(-0x1.7f7d1cp-20f), r);

    vf q = v_set1(0x1.6a23dp-10f);
    q = v_fma(q, r, v_set1(0x1.123a2p-7f));
    q = v_fma(q, r, v_set1(0x1.5558f2p-5f));
    q = v_fma(q, r, v_set1(0x1.555492p-3f));
    q = v_fma(q, r, v_set1(0x1.fffffcp-2f));
    vf p = v_add(v_set1(1.0f), v_fma(v_mul(q, r), r, r));
    return v_exp2_times(p, n);
}

#endif
