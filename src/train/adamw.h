/* adamw.h - the optimiser: AdamW with decoupled decay (Loshchilov and Hutter, ICLR 2019), clipping by the global norm,
 * and schedules of the learning rate. Everything in fp32, in an order that no thread count changes. */
#ifndef PGR_TRAIN_ADAMW_H
#define PGR_TRAIN_ADAMW_H

#include <stddef.h>
#include <stdint.h>

typedef struct adamw_options {
    double beta1, beta2, eps, decay; /* decay is times the learning rate */
} adamw_options;

/* Update number t (from 1) of n parameters p with gradients g * scale and moments m, v (both zero before t = 1):
 *     p <- p (1 - lr decay),  m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
 *     p <- p - lr m' / (sqrt v' + eps)   with m' = m / (1 - b1^t), v' = v / (1 - b2^t) */
void adamw_step(float *p, float *m, float *v, const float *g, size_t n, uint64_t t, double lr, double scale,
                const adamw_options *o);

double gradient_norm(const float *g, size_t n);
/* What gradients of that norm are multiplied with so that it is at most `clip` (0: never). As in PyTorch a norm of
 * exactly `clip` is already scaled, by 1e-6. */
double clip_scale(double norm, double clip);

/* Shares of the learning rate at update number `step` (from 0) of `total`, as transformers has them: it rises from 0
 * over `warmup` updates, then stays, or falls to 0 in a line or as half a cosine. */
typedef enum schedule { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE } schedule;
extern const char *const SCHEDULE_NAMES[]; /* in that order, NULL at the end */
double schedule_at(schedule kind, uint64_t step, uint64_t warmup, uint64_t total);

#endif
