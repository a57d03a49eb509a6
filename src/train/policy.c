/* policy.c - the arithmetic of policy.h. */
#include "train/policy.h"

#include <math.h>
#include <stdbool.h>

enum { POLICY_WORDS = 64 };

void policy_draw(const double *p, size_t n, const double *u, size_t m, int *words) {
    bool taken[POLICY_WORDS] = {false};
    for (size_t j = 0; j < m; j++) {
        double left = 0, sum = 0;
        int last = -1;
        for (size_t i = 0; i < n; i++) left += taken[i] ? 0 : p[i];
        for (size_t i = 0; i < n; i++) {
            if (taken[i]) continue;
            last = (int)i;
            sum += p[i];
            if (sum > u[j] * left) break;
        }
        words[j] = last; /* but for rounding the sum is above u times all of it */
        taken[last] = true;
    }
}

double policy_log_prob(const double *p, size_t n, const int *words, size_t m) {
    bool taken[POLICY_WORDS] = {false};
    double sum = 0;
    for (size_t j = 0; j < m; j++) {
        double left = 0;
        for (size_t i = 0; i < n; i++) left += taken[i] ? 0 : p[i];
        sum += log(p[words[j]] / left);
        taken[words[j]] = true;
    }
    return sum;
}

void policy_gradient(const double *p, size_t n, const int *words, size_t m, double scale, double *dz) {
    bool taken[POLICY_WORDS] = {false};
    for (size_t j = 0; j < m; j++) {
        double left = 0;
        for (size_t i = 0; i < n; i++) left += taken[i] ? 0 : p[i];
        for (size_t i = 0; i < n; i++)
            if (!taken[i]) dz[i] -= scale * p[i] / left;
        dz[words[j]] += scale;
        taken[words[j]] = true;
    }
}

double policy_margin(const int *words, size_t m, const double *level) {
    double sum = 0;
    for (size_t j = 0; j < m; j++) sum += words[j] % 2 ? -level[words[j] / 2] : level[words[j] / 2];
    return sum / (double)m;
}

double policy_coverage(const double *truth, size_t n, const int *words, size_t m) {
    bool taken[POLICY_WORDS] = {false};
    double most = 0, named = 0;
    for (size_t j = 0; j < m; j++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++)
            if (!taken[i] && (best == n || truth[i] > truth[best])) best = i;
        taken[best] = true;
        most += truth[best];
        named += truth[words[j]];
    }
    return named / most;
}

double policy_outcome(outcome_kind kind, double x) {
    double s = 1 / (1 + exp(-x));
    if (kind == OUTCOME_SIGMOID) return s;
    return kind == OUTCOME_BRIER ? 1 - (1 - s) * (1 - s) : x > 0 ? 1 : x < 0 ? 0 : 0.5;
}

void policy_add_shares(outcome_kind kind, const double *margins, size_t n, double scale, double *out) {
    double sum = 0;
    for (size_t k = 0; k < n; k++) sum += margins[k];
    double all = policy_outcome(kind, sum / (double)n);
    for (size_t k = 0; k < n; k++) out[k] += scale * (all - policy_outcome(kind, (sum - margins[k]) / (double)(n - 1)));
}

void policy_advantages(const double *rewards, size_t n, int scaled, double *out, double *sd) {
    double low = rewards[0], high = rewards[0], mean = 0, ss = 0;
    for (size_t i = 0; i < n; i++) {
        low = rewards[i] < low ? rewards[i] : low;
        high = rewards[i] > high ? rewards[i] : high;
        mean += rewards[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) ss += (rewards[i] - mean) * (rewards[i] - mean);
    *sd = low < high ? sqrt(ss / (double)(n - 1)) : 0;
    for (size_t i = 0; i < n; i++) out[i] = low < high ? (rewards[i] - mean) / (scaled ? *sd + 1e-4 : 1) : 0;
}

double policy_k3(double log_p, double log_ref, double *slope) {
    double d = log_ref - log_p;
    *slope = 1 - exp(d);
    return exp(d) - d - 1;
}
