/* weights_back.c - gradients of weights: of a product's matrix, of norms, biases and tables. Every sum over rows has
 * one order, whoever computes what: a task has columns or rows of the result to itself, or sums of its own that are
 * added up in order.
 *
 * dw = dy^T x is a product whose sum runs over the batch's rows. In bf16 x is turned and packed like weights, dy turned
 * block by block, and the product is the one of the forward; in fp32 it is outer_f32.c's. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "math/cpu/device.h"

enum {
    TURNED = 1024, /* rows of dw that are made from one turned block of dy in bf16 */
    PAD = 64,      /* values of a turned row are a multiple of it */
    STRIPE = 256,  /* columns of a task that adds rows up */
    CHUNK = 64,    /* rows of a task that sums for itself */
};

/* ---- dy^T x ---- */

typedef struct turn_job {
    float *out; /* (columns, ldo) */
    const float *x;
    size_t ldo, ldx, n, columns;
} turn_job;

enum { TURN = 16 }; /* columns of a task: a line of memory */

static void turn_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const turn_job *j = ctx;
    size_t first = task * TURN, columns = j->columns - first < TURN ? j->columns - first : TURN;
    for (size_t m = 0; m < j->n; m++)
        for (size_t i = 0; i < columns; i++) j->out[(first + i) * j->ldo + m] = j->x[m * j->ldx + first + i];
    for (size_t i = 0; i < columns; i++)
        memset(j->out + (first + i) * j->ldo + j->n, 0, (j->ldo - j->n) * sizeof *j->out);
}

static void turn(pool *threads, turn_job job) {
    pool_run(threads, (job.columns + TURN - 1) / TURN, turn_task, &job);
}

/* xt: (K, padded), dyt: (TURNED, padded) */
static pgr_status outer_packed(ops *o, const outer_call *c, size_t padded, float *xt, float *dyt, pgr_error *err) {
    pool *threads = cpu_of(o)->threads;
    gemm_part part = {QUANT_F32, xt, c->K};
    matrix *w = NULL;
    turn(threads, (turn_job){xt, c->x, padded, c->ldx ? c->ldx : c->K, c->n, c->K});
    PGR_TRY(matrix_create(o, c->form, &part, 1, padded, NULL, &w, err));
    pgr_status s = PGR_OK;
    for (size_t first = 0; s == PGR_OK && first < c->N; first += TURNED) {
        size_t rows = c->N - first < TURNED ? c->N - first : TURNED;
        turn(threads, (turn_job){dyt, c->dy + first, padded, c->N, c->n, rows});
        project_call call = {.w = w, .out = c->dw + first * c->K, .x = dyt, .n = rows, .add = true};
        s = op_project(o, &call, err);
    }
    matrix_free(w);
    return s;
}

static pgr_status outer_bf16(ops *o, const outer_call *c, pgr_error *err) {
    size_t padded = (c->n + PAD - 1) / PAD * PAD, rows = c->N < TURNED ? c->N : TURNED;
    float *xt = mem_array(c->K, padded * sizeof *xt), *dyt = mem_array(rows, padded * sizeof *dyt);
    pgr_status s = xt && dyt ? outer_packed(o, c, padded, xt, dyt, err) : fail_mem(err);
    mem_free(xt);
    mem_free(dyt);
    return s;
}

pgr_status cpu_outer(ops *o, const outer_call *call, pgr_error *err) {
    return call->form == GEMM_BF16 ? outer_bf16(o, call, err) : cpu_outer_f32(cpu_of(o), call, err);
}

/* ---- norms ---- */

typedef struct norm_job {
    const row_step *step;
    const float *dout;
    size_t n, d;
    float *sums; /* (chunks, d) */
} norm_job;

static void norm_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const norm_job *j = ctx;
    const row_step *s = j->step;
    float *sum = j->sums + task * j->d;
    size_t end = (task + 1) * CHUNK < j->n ? (task + 1) * CHUNK : j->n;
    for (size_t m = task * CHUNK; m < end; m++) {
        const float *x = s->from + (s->pick ? s->pick[m] : m) * s->ldf, *d = j->dout + m * j->d;
        double square = 0;
        for (size_t i = 0; i < j->d; i++) square += (double)x[i] * (double)x[i];
        float inv = (float)(1 / sqrt(square / (double)j->d + (double)s->eps));
        for (size_t i = 0; i < j->d; i++) sum[i] += d[i] * (x[i] * inv);
    }
}

pgr_status cpu_norm_weights(ops *o, float *dw, const row_step *step, const float *dout, size_t n, size_t d,
                            pgr_error *err) {
    size_t chunks = (n + CHUNK - 1) / CHUNK;
    norm_job job = {step, dout, n, d, mem_zero(chunks, d * sizeof(float))};
    if (!job.sums) return fail_mem(err);
    pool_run(cpu_of(o)->threads, chunks, norm_task, &job);
    for (size_t c = 0; c < chunks; c++) cpu_of(o)->k->add(dw, job.sums + c * d, d);
    mem_free(job.sums);
    return PGR_OK;
}

/* ---- biases and tables ---- */

typedef struct stripe_job {
    const row_spread *to;
    const float *x;
    size_t n, d;
} stripe_job;

static void spread_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const stripe_job *j = ctx;
    const row_spread *to = j->to;
    size_t first = task * STRIPE, n = j->d - first < STRIPE ? j->d - first : STRIPE;
    for (size_t m = 0; m < j->n; m++) {
        const float *x = j->x + m * j->d + first;
        size_t at = to->start ? to->start[m] : m, end = to->start ? to->start[m + 1] : m + 1;
        for (; at < end; at++) {
            float *row = to->table + (size_t)to->row[at] * j->d + first, f = to->factor ? to->factor[at] : 1.0f;
            for (size_t i = 0; i < n; i++) row[i] += f * x[i];
        }
    }
}

void cpu_spread(ops *o, const row_spread *to, const float *x, size_t n, size_t d) {
    stripe_job job = {to, x, n, d};
    pool_run(cpu_of(o)->threads, (d + STRIPE - 1) / STRIPE, spread_task, &job);
}

typedef struct sum_job {
    float *db;
    const float *dy;
    size_t ldy, n, d;
} sum_job;

static void sum_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const sum_job *j = ctx;
    size_t first = task * STRIPE, n = j->d - first < STRIPE ? j->d - first : STRIPE;
    for (size_t m = 0; m < j->n; m++)
        for (size_t i = 0; i < n; i++) j->db[first + i] += j->dy[m * j->ldy + first + i];
}

void cpu_sum_rows(ops *o, float *db, const float *dy, size_t ldy, size_t n, size_t d) {
    sum_job job = {db, dy, ldy, n, d};
    pool_run(cpu_of(o)->threads, (d + STRIPE - 1) / STRIPE, sum_task, &job);
}
