/* rows_back.c - backward of what is done to single rows: steps, and what stands between a product and attention. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
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

enum { INPUT_ROWS = 16 }; /* of a task */

typedef struct input_back {
    const cpu_ops *o;
    const attn_input_grad *g;
    size_t desk_floats;
    void *desks; /* (workers) angles back, a head, its gradient */
    float *sums; /* (tasks, 2, hd) of the norms' weights; NULL: not wanted */
} input_back;

/* dw += d x / rms(x) */
static void add_norm_weights(float *dw, const float *d, const float *x, size_t n, float eps) {
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)x[i] * (double)x[i];
    float inv = (float)(1 / sqrt(square / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++) dw[i] += d[i] * (x[i] * inv);
}

/* A head's gradient before its norm. raw: as the product gave it, bias: of the head or NULL, desk: (2 hd), dw: of the
 * norm's weights or NULL */
static void norm_back(const input_back *job, float *d, const float *raw, const float *bias, const float *w, float *desk,
                      float *dw) {
    size_t hd = job->g->head_dim;
    float *x = desk, *dx = desk + hd;
    memcpy(x, raw, hd * sizeof *x);
    if (bias) job->o->k->add(x, bias, hd);
    if (dw) add_norm_weights(dw, d, x, hd, job->g->in->eps);
    memset(dx, 0, hd * sizeof *dx);
    job->o->k->rmsnorm_back(dx, d, x, w, hd, job->g->in->eps);
    memcpy(d, dx, hd * sizeof *d);
}

/* sums: (2, hd) or NULL */
static void input_row(const input_back *job, size_t row, size_t worker, float *sums) {
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
        norm_back(job, d, in->qkv + row * width + h * hd, bias, is_q ? in->q_norm : in->k_norm, back + in->rope_dim,
                  !sums || is_q ? sums : sums + hd);
    }
}

static void input_task(void *ctx, size_t task, size_t worker) {
    const input_back *job = ctx;
    float *sums = job->sums ? job->sums + task * 2 * job->g->head_dim : NULL;
    size_t first = task * INPUT_ROWS, end = first + INPUT_ROWS;
    for (size_t row = first; row < end && row < job->g->n; row++) input_row(job, row, worker, sums);
}

static pgr_status run_input(input_back *job, size_t n_task, pgr_error *err) {
    const attn_input_grad *g = job->g;
    size_t bytes = pool_size(job->o->threads) * job->desk_floats * sizeof(float), hd = g->head_dim;
    if (pool_run_in(job->o->threads, n_task, input_task, job, bytes, &job->desks) != PGR_OK) return fail_mem(err);
    for (size_t t = 0; job->sums && t < n_task; t++) {
        job->o->k->add(g->dq_norm, job->sums + t * 2 * hd, hd);
        job->o->k->add(g->dk_norm, job->sums + t * 2 * hd + hd, hd);
    }
    return PGR_OK;
}

pgr_status cpu_attn_input_back(ops *o, const attn_input_grad *g, pgr_error *err) {
    input_back job = {.o = cpu_of(o), .g = g};
    size_t n_task = (g->n + INPUT_ROWS - 1) / INPUT_ROWS;
    job.desk_floats = (g->in->rope_dim + 2 * g->head_dim + 15) / 16 * 16;
    if (g->dq_norm && g->in->q_norm) {
        job.sums = mem_zero(n_task, 2 * g->head_dim * sizeof *job.sums);
        if (!job.sums) return fail_mem(err);
    }
    pgr_status s = run_input(&job, n_task, err);
    mem_free(job.sums);
    return s;
}
