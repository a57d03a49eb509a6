/* adamw.c - one pass over the parameters per update. */
#include "train/adamw.h"

#include <math.h>

const char *const SCHEDULE_NAMES[] = {"constant", "linear", "cosine", NULL};

void adamw_step(float *p, float *m, float *v, const float *g, size_t n, uint64_t t, double lr, double scale,
                const adamw_options *o) {
    float b1 = (float)o->beta1, b2 = (float)o->beta2, keep = (float)(1 - lr * o->decay), times = (float)scale;
    float one = (float)(lr / (1 - pow(o->beta1, (double)t))), two = (float)sqrt(1 - pow(o->beta2, (double)t));
    float new1 = (float)(1 - o->beta1), new2 = (float)(1 - o->beta2), eps = (float)o->eps;
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * times;
        m[i] = b1 * m[i] + new1 * d;
        v[i] = b2 * v[i] + new2 * d * d;
        p[i] = p[i] * keep - one * m[i] / (sqrtf(v[i]) / two + eps);
    }
}

double gradient_norm(const float *g, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)g[i] * g[i];
    return sqrt(sum);
}

double clip_scale(double norm, double clip) {
    double scale = clip / (norm + 1e-6);
    return clip > 0 && scale < 1 ? scale : 1;
}

double schedule_at(schedule kind, uint64_t step, uint64_t warmup, uint64_t total) {
    if (step < warmup) return (double)step / (double)warmup;
    if (kind == SCHEDULE_CONSTANT) return 1;
    if (step >= total) return 0;
    double gone = (double)(step - warmup) / (double)(total - warmup);
    return kind == SCHEDULE_LINEAR ? 1 - gone : 0.5 * (1 + cos(3.14159265358979323846 * gone));
}
