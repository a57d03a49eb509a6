/* rows_back.c - backward of what is done to single rows: steps, and what stands between a product and attention. */
#include <string.h>

#include "math/cpu/device.h"

typedef struct step_back {
    const cpu_ops *o;
    const row_grad *g;
    size_t values;
} step_back;

static void step_task(void *ctx, size_t m, size_t worker) {
    (void)worker;
    const step_back *job = ctx;
    const row_grad *g = job->g;
    const row_step *s = g->step;
    size_t row = s->pick ? s->pick[m] : m, n = job->values;
    const float *from = s->from + row * s->ldf, *dout = g->dout + m * n;
    float *dfrom = g->dfrom + row * g->ldd;
    if (s->kind == STEP_RMSNORM)
        job->o->k->rmsnorm_back(dfrom, dout, from, s->w, n, s->eps);
    else
        job->o->k->swiglu_back(dfrom, dfrom + n, dout, from, from + n, n);
}

void cpu_rows_back(ops *o, size_t values, const row_grad *g, size_t n) {
    step_back job = {cpu_of(o), g, values};
    pool_run(job.o->threads, n, step_task, &job);
}

/* ---- rotation and norms of heads ---- */

typedef struct input_back {
    const cpu_ops *o;
    const attn_input_grad *g;
    size_t desk_floats;
    void *desks; /* (workers) angles back, a head, its gradient */
} input_back;

/* A head's gradient before its norm. raw: as the product gave it, bias: of the head or NULL, desk: (2 hd) */
static void norm_back(const input_back *job, float *d, const float *raw, const float *bias, const float *w,
                      float *desk) {
    size_t hd = job->g->head_dim;
    float *x = desk, *dx = desk + hd;
    memcpy(x, raw, hd * sizeof *x);
    if (bias) job->o->k->add(x, bias, hd);
    memset(dx, 0, hd * sizeof *dx);
    job->o->k->rmsnorm_back(dx, d, x, w, hd, job->g->in->eps);
    memcpy(d, dx, hd * sizeof *d);
}

static void input_task(void *ctx, size_t row, size_t worker) {
    const input_back *job = ctx;
    const attn_input_grad *g = job->g;
    const attn_input *in = g->in;
    size_t hd = g->head_dim, n_head = g->n_head + g->n_head_kv, width = (n_head + g->n_head_kv) * hd;
    float *d = g->dqkv + row * width, *back = (float *)job->desks + worker * job->desk_floats;
    const float *cs = in->cs + row * in->rope_dim;
    for (size_t i = 0; i < in->rope_dim; i += 2) back[i] = cs[i], back[i + 1] = -cs[i + 1];
    for (size_t h = 0; h < n_head; h++, d += hd) {
        bool is_q = h < g->n_head;
        job->o->k->rope(d, back, in->rope_dim, in->rope_interleaved);
        if (!in->q_norm) continue;
        const float *bias = !in->q_bias ? NULL : is_q ? in->q_bias + h * hd : in->k_bias + (h - g->n_head) * hd;
        norm_back(job, d, in->qkv + row * width + h * hd, bias, is_q ? in->q_norm : in->k_norm, back + in->rope_dim);
    }
}

pgr_status cpu_attn_input_back(ops *o, const attn_input_grad *g, pgr_error *err) {
    input_back job = {.o = cpu_of(o), .g = g};
    job.desk_floats = (g->in->rope_dim + 2 * g->head_dim + 15) / 16 * 16;
    size_t bytes = pool_size(job.o->threads) * job.desk_floats * sizeof(float);
    pgr_status s = pool_run_in(job.o->threads, g->n, input_task, &job, bytes, &job.desks);
    return s == PGR_OK ? PGR_OK : fail_mem(err);
}
