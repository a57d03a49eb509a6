/* kernels_encoder_ref.c - the definition of the kernels that encoders add: LayerNorm and GELU in plain C. */
#include <math.h>

#include "math/cpu/kernels_level.h"

void kernel_layernorm_ref(float *out, const float *x, const float *restrict w, const float *restrict b, size_t n,
                          float eps) {
    double sum = 0.0, ss = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    float mean = (float)(sum / (double)n);
    for (size_t i = 0; i < n; i++) {
        float d = x[i] - mean;
        ss += (double)d * d;
    }

    float inv = (float)(1.0 / sqrt(ss / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++) out[i] = fmaf(w[i], (x[i] - mean) * inv, b[i]);
}

void kernel_gelu_ref(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = 0.5f * x[i] * erfcf(-x[i] * 0.70710678f);
}

void kernel_gelu_tanh_ref(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float u = 0.79788456f * fmaf(0.044715f * x[i] * x[i], x[i], x[i]);
        x[i] = x[i] / (1.0f + expf(-2.0f * u));
    }
}
