/* loss.c - softmax, cross-entropy, Bradley-Terry. */
#include "train/loss.h"

#include <math.h>
#include <string.h>

enum { WORDS_MAX = 64 };

void slot_softmax(const double *z, size_t n, double *p) {
    double top = z[0], sum = 0;
    for (size_t i = 1; i < n; i++) top = z[i] > top ? z[i] : top;
    for (size_t i = 0; i < n; i++) sum += p[i] = exp(z[i] - top);
    for (size_t i = 0; i < n; i++) p[i] /= sum;
}

double slot_cross_entropy(const double *p, const double *target, size_t n, double scale, double *dz) {
    double loss = 0;
    for (size_t i = 0; i < n; i++) {
        if (target[i] > 0) loss -= target[i] * log(p[i] > 1e-300 ? p[i] : 1e-300);
        dz[i] += scale * (p[i] - target[i]);
    }
    return scale * loss;
}

void slot_backward(const double *p, const double *dp, size_t n, double *dz) {
    double mean = 0;
    for (size_t i = 0; i < n; i++) mean += p[i] * dp[i];
    for (size_t i = 0; i < n; i++) dz[i] += p[i] * (dp[i] - mean);
}

double slot_expected(const double *p, const double *value, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += value[i] * p[i];
    return sum;
}

double bradley_terry(double margin, double tau, double *d) {
    double x = margin / tau, small = exp(-fabs(x)); /* log(1 + e^-x) without overflow */
    *d = -(x > 0 ? small : 1) / (1 + small) / tau;
    return log1p(small) + (x < 0 ? -x : 0);
}

double taste_margin(const double *p, const double *level, size_t n_fact) {
    double sum = 0;
    for (size_t f = 0; f < n_fact; f++) sum += (p[2 * f] - p[2 * f + 1]) * level[f];
    return sum;
}

double taste_pairs_loss(const double *p, const double *levels, size_t n, size_t n_fact, double tau, double scale,
                        double *dz, double *right, double *margin) {
    double dp[WORDS_MAX] = {0}, loss = 0, hits = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double *level = levels + i * n_fact;
        double m = taste_margin(p, level, n_fact), d;
        loss += bradley_terry(m, tau, &d) / (double)n;
        for (size_t f = 0; f < n_fact; f++) {
            dp[2 * f] += scale * d * level[f] / (double)n;
            dp[2 * f + 1] -= scale * d * level[f] / (double)n;
        }
        hits += m > 0 ? 1 : m < 0 ? 0 : 0.5;
        sum += m / (double)n;
    }
    slot_backward(p, dp, 2 * n_fact, dz);
    if (right) *right = hits;
    if (margin) *margin = sum;
    return scale * loss;
}

double token_loss(const float *z, size_t n, int32_t token, double scale, float *dz, int *best) {
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        if (z[i] > z[top]) top = i;
    double sum = 0, shift = z[top], own = z[token];
    for (size_t i = 0; i < n; i++) sum += exp(z[i] - shift);
    double log_sum = shift + log(sum);
    for (size_t i = 0; dz && i < n; i++) dz[i] = (float)(scale * exp(z[i] - log_sum));
    if (dz) dz[token] -= (float)scale;
    if (best) *best = top == (size_t)token;
    return log_sum - own;
}
