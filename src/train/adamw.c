/* adamw.c - one pass over the parameters per update. */
#include "train/adamw.h"

#include <math.h>

const char *const SCHEDULE_NAMES[] = {"constant", "linear", "cosine", NULL};

/* What an update is made of, for every parameter the same. */
typedef struct factors {
    float b1, b2, new1, new2, keep, times, one, two, eps;
} factors;

static inline __attribute__((always_inline)) void update(float *restrict p, float *restrict m, float *restrict v,
                                                         const float *restrict g, size_t n, const factors f) {
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * f.times;
        m[i] = f.b1 * m[i] + f.new1 * d;
        v[i] = f.b2 * v[i] + f.new2 * d * d;
        p[i] = p[i] * f.keep - f.one * m[i] / (sqrtf(v[i]) / f.two + f.eps);
    }
}

void adamw_step(float *p, float *m, float *v, const float *g, size_t n, uint64_t t, double lr, double scale,
                const adamw_options *o) {
    enum { TOGETHER = 16 }; /* a number that the compiler knows: it makes vectors of them */
    const factors f = {.b1 = (float)o->beta1,
                       .b2 = (float)o->beta2,
                       .new1 = (float)(1 - o->beta1),
                       .new2 = (float)(1 - o->beta2),
                       .keep = (float)(1 - lr * o->decay),
                       .times = (float)scale,
                       .one = (float)(lr / (1 - pow(o->beta1, (double)t))),
                       .two = (float)sqrt(1 - pow(o->beta2, (double)t)),
                       .eps = (float)o->eps};
    size_t i = 0;
    for (; i + TOGETHER <= n; i += TOGETHER) update(p + i, m + i, v + i, g + i, TOGETHER, f);
    update(p + i, m + i, v + i, g + i, n - i, f);
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
