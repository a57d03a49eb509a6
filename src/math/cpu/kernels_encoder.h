/* kernels_encoder.h - the kernels that encoders add, over the vectors of kernels_simd.h, which includes this. */

static void layernorm_simd(float *out, const float *x, const float *restrict w, const float *restrict b, size_t n,
                           float eps) {
    vd low = vd_zero(), high = vd_zero();
    for (size_t i = 0; i < n; i += LANES) {
        vf v = n - i < LANES ? v_load_n(x + i, n - i) : v_load(x + i);
        low = vd_add(low, vd_low(v));
        high = vd_add(high, vd_high(v));
    }
    float mean = (float)(vd_sum(vd_add(low, high)) / (double)n);

    low = high = vd_zero();
    for (size_t i = 0; i < n; i += LANES) {
        vf v = n - i < LANES ? v_keep(v_load_n(x + i, n - i), n - i, v_set1(mean)) : v_load(x + i);
        vf d = v_sub(v, v_set1(mean));
        low = vd_fma(vd_low(d), vd_low(d), low);
        high = vd_fma(vd_high(d), vd_high(d), high);
    }

    float inv = (float)(1.0 / sqrt(vd_sum(vd_add(low, high)) / (double)n + (double)eps));
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf d = v_mul(v_sub(v_load(x + i), v_set1(mean)), v_set1(inv));
        v_store(out + i, v_fma(v_load(w + i), d, v_load(b + i)));
    }
    for (; i < n; i++) out[i] = fmaf(w[i], (x[i] - mean) * inv, b[i]);
}

/* max(x, 0) - |x| / 2 * exp(-t q(t)), t = |x|: exp(-t q(t)) is erfc(t / sqrt(2)). q: minimax of degree 9 for the
 * error of the result, 3.2e-10 (own fit); with the roundings below 1e-7 in all (measured 2e-8, test_kernels_encoder).
 * Beyond the fitted 6.5 the exponent goes on falling, so that the product goes to 0. */
INLINE vf v_gelu(vf x) {
    vf t = v_max(x, v_sub(v_zero(), x));
    vf q = v_set1(0x1.417b5ap-25f);
    q = v_fma(q, t, v_set1(-0x1.f545f8p-21f));
    q = v_fma(q, t, v_set1(0x1.59e55cp-17f));
    q = v_fma(q, t, v_set1(-0x1.0e9542p-14f));
    q = v_fma(q, t, v_set1(0x1.d168d2p-13f));
    q = v_fma(q, t, v_set1(-0x1.4a6151p-15f));
    q = v_fma(q, t, v_set1(-0x1.39964p-8f));
    q = v_fma(q, t, v_set1(0x1.29aefap-5f));
    q = v_fma(q, t, v_set1(0x1.45f2ccp-2f));
    q = v_fma(q, t, v_set1(0x1.988456p-1f));
    vf tail = v_exp(v_sub(v_zero(), v_mul(q, t)));
    vf negative = v_mul(v_mul(v_set1(0.5f), t), tail);
    return v_sub(v_max(v_zero(), x), negative); /* in this order NaN stays */
}

static void gelu_simd(float *x, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(x + i, v_gelu(v_load(x + i)));
    if (i < n) v_store_n(x + i, v_gelu(v_load_n(x + i, n - i)), n - i);
}

INLINE vf v_gelu_tanh(vf x) {
    vf u = v_mul(v_set1(0.79788456f), v_fma(v_mul(v_mul(v_set1(0.044715f), x), x), x, x));
    vf e = v_exp(v_mul(v_set1(-2.0f), u));
    return v_div(x, v_add(v_set1(1.0f), e));
}

static void gelu_tanh_simd(float *x, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(x + i, v_gelu_tanh(v_load(x + i)));
    if (i < n) v_store_n(x + i, v_gelu_tanh(v_load_n(x + i, n - i)), n - i);
}
