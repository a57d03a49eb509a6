/* step.c - norms and activations of rows, by their kernels. */
#include "math/cpu/step.h"

#include <string.h>

static void relu(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] < 0 ? 0 : x[i];
}

void step_row(const step_job *job, size_t m) {
    const row_step *s = job->step;
    size_t n = job->n;
    const float *from = s->from + (s->pick ? s->pick[m] : m) * s->ldf;
    float *out = job->out + m * job->ldo;
    if (s->kind == STEP_RMSNORM) {
        job->k->rmsnorm(out, from, s->w, n, s->eps);
        return;
    }
    if (from != out) memcpy(out, from, n * sizeof *out);
    if (s->add) job->k->add(out, s->add + m * n, n);
    switch (s->kind) {
    case STEP_LAYERNORM:
        job->k->layernorm(out, out, s->w, s->b, n, s->eps);
        break;
    case STEP_SWIGLU:
        job->k->swiglu(out, from + n, n);
        break;
    case STEP_GELU:
        job->k->gelu(out, n);
        break;
    case STEP_GELU_TANH:
        job->k->gelu_tanh(out, n);
        break;
    case STEP_RELU:
        relu(out, n);
        break;
    case STEP_COPY:
    case STEP_RMSNORM:
        break;
    }
}

static void step_task(void *ctx, size_t m, size_t worker) {
    (void)worker;
    step_row(ctx, m);
}

void step_run(const step_job *job, size_t M, pool *threads) {
    pool_run(threads, M, step_task, (void *)(uintptr_t)job);
}
