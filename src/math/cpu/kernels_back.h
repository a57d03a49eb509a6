/* kernels_back.h - the backward of the kernels of rows, over the vectors of kernels_simd.h, which includes this. */

INLINE vf v_part(const float *p, size_t n) {
    return n < LANES ? v_load_n(p, n) : v_load(p);
}

INLINE void v_put_part(float *p, vf v, size_t n) {
    if (n < LANES)
        v_store_n(p, v, n);
    else
        v_store(p, v);
}

static void rmsnorm_back_simd(float *restrict dx, const float *restrict dy, const float *restrict x,
                              const float *restrict w, size_t n, float eps) {
    vd low = vd_zero(), high = vd_zero(), dot_low = vd_zero(), dot_high = vd_zero();
    for (size_t i = 0; i < n; i += LANES) {
        vf v = v_part(x + i, n - i), d = v_mul(v_part(w + i, n - i), v_part(dy + i, n - i));
        low = vd_fma(vd_low(v), vd_low(v), low);
        high = vd_fma(vd_high(v), vd_high(v), high);
        dot_low = vd_fma(vd_low(d), vd_low(v), dot_low);
        dot_high = vd_fma(vd_high(d), vd_high(v), dot_high);
    }

    double inv = 1.0 / sqrt(vd_sum(vd_add(low, high)) / (double)n + (double)eps);
    vf scale = v_set1((float)inv);
    vf back = v_set1((float)(-vd_sum(vd_add(dot_low, dot_high)) * inv * inv * inv / (double)n));
    for (size_t i = 0; i < n; i += LANES) {
        vf d = v_mul(v_part(w + i, n - i), v_part(dy + i, n - i));
        vf sum = v_fma(d, scale, v_mul(v_part(x + i, n - i), back));
        v_put_part(dx + i, v_add(v_part(dx + i, n - i), sum), n - i);
    }
}

static double dot_simd(const float *x, const float *y, size_t n) {
    vd low = vd_zero(), high = vd_zero();
    for (size_t i = 0; i < n; i += LANES) {
        vf a = v_part(x + i, n - i), b = v_part(y + i, n - i);
        low = vd_fma(vd_low(a), vd_low(b), low);
        high = vd_fma(vd_high(a), vd_high(b), high);
    }
    return vd_sum(vd_add(low, high));
}

static void swiglu_back_simd(float *restrict dgate, float *restrict dup, const float *restrict dy,
                             const float *restrict gate, const float *restrict up, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        vf g = v_part(gate + i, n - i), d = v_part(dy + i, n - i), one = v_set1(1.0f);
        vf s = v_div(one, v_add(one, v_exp(v_sub(v_zero(), g)))), silu = v_mul(g, s);
        vf slope = v_fma(silu, v_sub(one, s), s);
        v_put_part(dgate + i, v_mul(v_mul(d, v_part(up + i, n - i)), slope), n - i);
        v_put_part(dup + i, v_mul(d, silu), n - i);
    }
}

static void softmax_back_simd(float *restrict s, float *restrict ds, size_t n, float scale, float lse, float delta) {
    for (size_t t = 0; t < n; t += LANES) {
        vf p = v_exp(v_fma(v_set1(scale), v_part(s + t, n - t), v_set1(-lse)));
        vf d = v_mul(v_mul(v_set1(scale), p), v_sub(v_part(ds + t, n - t), v_set1(delta)));
        v_put_part(s + t, p, n - t);
        v_put_part(ds + t, d, n - t);
    }
}
