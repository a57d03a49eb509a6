/* grpo.c - the arithmetic of grpo.h. */
#include "train/grpo.h"

#include <math.h>

#include "train/policy.h"

static const double LOG_RATIO_MAX = 20; /* beyond it a ratio says that sampler and trainer are different models */

static double clamp(double v, double lo, double hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

grpo_token grpo_token_loss(const grpo_terms *o, double log_p, double log_old, double log_ref, double advantage) {
    grpo_token t = {.ratio = exp(clamp(log_p - log_old, -LOG_RATIO_MAX, LOG_RATIO_MAX))};
    double held = clamp(t.ratio, 1 - o->low, 1 + o->high), free_gain = t.ratio * advantage,
           held_gain = held * advantage, gain = free_gain;
    if (held_gain < free_gain) {
        gain = held_gain;
        t.clipped = t.ratio > held ? 1 : -1;
    }
    if (o->dual > 0 && advantage < 0 && gain < o->dual * advantage) {
        gain = o->dual * advantage;
        t.clipped = 2;
    }
    t.loss = -gain;
    t.slope = t.clipped ? 0 : -free_gain; /* the ratio's derivative is itself */
    if (o->kl > 0) {
        double slope;
        t.kl = policy_k3(log_p, log_ref, &slope);
        t.loss += o->kl * t.kl;
        t.slope += o->kl * slope;
    }
    return t;
}

void grpo_weights(grpo_mean how, const size_t *n_token, size_t n, double *out) {
    double all = 0, any = 0;
    for (size_t i = 0; i < n; i++) {
        all += (double)n_token[i];
        any += n_token[i] > 0;
    }
    for (size_t i = 0; i < n; i++) {
        double each = how == GRPO_TOKEN_MEAN ? all : any * (double)n_token[i];
        out[i] = n_token[i] > 0 ? 1 / each : 0;
    }
}
