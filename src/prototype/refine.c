/* refine.c - attentive refinement: loss, gradient, AdamW. Everything in double; rows of the matrices are the tasks of
 * the pool, every sum runs in one fixed order.
 *
 * d values of an embedding, s sample of a batch (S), t triple of the batch's histories (T), r row of a matrix */
#include "prototype/refine.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"
#include "prototype/kmeans.h"

enum {
    LANES = 8,
    ROWS = 8 /* of a task */,
    STRIPE = 4096 /* parameters of a task */,
    SCORED = 64 /* samples at once */
};
static const double BETA1 = 0.9, BETA2 = 0.999, EPSILON = 1e-8; /* AdamW's usual ones */

/* Values of one batch between forward and backward. */
typedef struct refine_scratch {
    size_t S, T, cap_S, cap_T;
    double *block;           /* owns what follows */
    double *q, *dy, *z, *dz; /* (S, d) query, y+ - y-, z, gradient */
    double *v, *dv, *da;     /* (S, d) */
    double *x, *o, *dpre;    /* (T, 2d) inputs, (T, d) tanh, its argument's gradient */
    double *alpha;           /* (T) */
    double *delta, *loss;    /* (S) */
    size_t *first;           /* (S + 1) a sample's first triple */
    const refine_sample *const *batch;
} scratch;

refine_options refine_options_default(void) {
    return (refine_options){.rho = 0.5,
                            .lambda_q = 1,
                            .lambda_s = 1,
                            .beta = 1,
                            .lambda_cent = 1e-3,
                            .lambda_tr = 1e-3,
                            .ema = 0.98,
                            .rate = 1e-3,
                            .decay = 0.01,
                            .batch = 16,
                            .epochs = 1};
}

/* ---- small vectors --------------------------------------------------------------------------------------------- */

static double dot(const double *a, const double *b, size_t n) {
    double s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) s[l] += a[i + l] * b[i + l];
    for (size_t l = 0; i + l < n; l++) s[l] += a[i + l] * b[i + l];
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

/* y += a x */
static void axpy(double *restrict y, double a, const double *restrict x, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) y[i + l] += a * x[i + l];
    for (; i < n; i++) y[i] += a * x[i];
}

static double distance2(const double *a, const double *b, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += (a[i] - b[i]) * (a[i] - b[i]);
    return s;
}

static double normalise(double *v, size_t n) {
    double length = sqrt(dot(v, v, n));
    for (size_t i = 0; length > 0 && i < n; i++) v[i] /= length;
    return length;
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static bool theta_create(refine_theta *t, size_t d, size_t n_row) {
    t->n_shared = 2 * d * d + d + 2 * d * d;
    t->n = t->n_shared + n_row * d;
    t->W = mem_zero(t->n, sizeof *t->W);
    if (!t->W) return false;
    t->b = t->W + 2 * d * d;
    t->W_q = t->b + d;
    t->W_s = t->W_q + d * d;
    t->A = t->W_s + d * d;
    return true;
}

void refine_free(refine *r) {
    if (!r) return;
    void *all[] = {r->theta.W, r->m.W, r->v.W, r->grad.W, r->mean, r->trail, r->n_update};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    if (r->scratch) {
        mem_free(r->scratch->block);
        mem_free(r->scratch->first);
    }
    mem_free(r->scratch);
    mem_free(r);
}

static void start_matrices(refine *r) {
    size_t d = r->d;
    if (r->o.start == REFINE_DIFFERENCE) {
        for (size_t i = 0; i < d; i++) r->theta.W[i * 2 * d + d + i] = r->theta.W_s[i * d + i] = 1;
        return;
    }
    rng g = {.seed = r->o.seed, .stream = 1};
    double wide = 1 / sqrt(2.0 * (double)d), narrow = 1 / sqrt((double)d);
    for (size_t i = 0; i < r->theta.n_shared; i++) {
        double bound = r->theta.W + i < r->theta.W_q ? wide : narrow;
        r->theta.W[i] = bound * (2 * rng_next(&g) - 1);
    }
}

static pgr_status start_prototypes(refine *r, const float *centres, pgr_error *err) {
    for (size_t i = 0; i < r->k * r->d; i++) r->theta.A[i] = r->mean[i] = centres[i];
    for (size_t c = 0; c < r->k; c++)
        if (!(normalise(r->theta.A + c * r->d, r->d) > 0))
            return fail(err, PGR_E_ARG, "prototype %zu of %zu has length 0 and no direction to refine", c, r->k);
    memcpy(r->trail, r->theta.A, r->k * r->d * sizeof *r->trail);
    return PGR_OK;
}

pgr_status refine_create(size_t k, size_t d, const float *centres, const refine_options *o, refine **out,
                         pgr_error *err) {
    if (k == 0 || d == 0) return fail(err, PGR_E_ARG, "there are no prototypes to refine");
    if (o->batch == 0) return fail(err, PGR_E_ARG, "a batch of 0 samples");
    if (d > (size_t)1 << 16 || k > ((size_t)1 << 40) / d)
        return fail(err, PGR_E_LIMIT, "%zu prototypes of %zu values are too many to refine", k, d);
    refine *r = mem_zero(1, sizeof *r);
    if (!r) return fail_mem(err);
    *r = (refine){.d = d, .k = k, .o = *o};
    r->mean = mem_array(k * d, sizeof *r->mean);
    r->trail = mem_array(k * d, sizeof *r->trail);
    r->n_update = mem_zero(k, sizeof *r->n_update);
    r->scratch = mem_zero(1, sizeof *r->scratch);
    bool ok = theta_create(&r->theta, d, k) && theta_create(&r->m, d, k) && theta_create(&r->v, d, k)
              && theta_create(&r->grad, d, 1) && r->mean && r->trail && r->n_update && r->scratch;
    pgr_status status = ok ? start_prototypes(r, centres, err) : fail_mem(err);
    if (status != PGR_OK) {
        refine_free(r);
        return status;
    }
    start_matrices(r);
    *out = r;
    return PGR_OK;
}

/* Room for S samples with T triples. */
static pgr_status scratch_reserve(refine *r, size_t S, size_t T, pgr_error *err) {
    scratch *c = r->scratch;
    size_t d = r->d;
    if (S > c->cap_S || T > c->cap_T) {
        size_t cap_S = S > c->cap_S ? S : c->cap_S, cap_T = T > c->cap_T ? T : c->cap_T;
        double *block = mem_array(cap_S * (7 * d + 2) + cap_T * (4 * d + 1), sizeof *block);
        size_t *first = mem_array(cap_S + 1, sizeof *first);
        if (!block || !first) {
            mem_free(block);
            mem_free(first);
            return fail_mem(err);
        }
        mem_free(c->block);
        mem_free(c->first);
        *c = (scratch){.block = block, .first = first, .cap_S = cap_S, .cap_T = cap_T};
        double **by_sample[] = {&c->q, &c->dy, &c->z, &c->dz, &c->v, &c->dv, &c->da};
        for (size_t i = 0; i < 7; i++, block += cap_S * d) *by_sample[i] = block;
        c->x = block;
        c->o = c->x + cap_T * 2 * d;
        c->dpre = c->o + cap_T * d;
        c->alpha = c->dpre + cap_T * d;
        c->delta = c->alpha + cap_T;
        c->loss = c->delta + cap_S;
    }
    c->S = S;
    c->T = T;
    return PGR_OK;
}

/* ---- forward --------------------------------------------------------------------------------------------------- */

static pgr_status load_batch(refine *r, const refine_sample *const *batch, size_t S, pgr_error *err) {
    size_t T = 0, d = r->d;
    for (size_t s = 0; s < S; s++) {
        if (batch[s]->cluster >= r->k)
            return fail(err, PGR_E_ARG, "a sample belongs to prototype %zu of %zu", batch[s]->cluster, r->k);
        T += batch[s]->n_history;
    }
    PGR_TRY(scratch_reserve(r, S, T, err));
    scratch *c = r->scratch;
    c->batch = batch;
    T = 0;
    for (size_t s = 0; s < S; s++) {
        const refine_triple *a = &batch[s]->asked;
        c->first[s] = T;
        for (size_t i = 0; i < d; i++) {
            c->q[s * d + i] = a->query[i];
            c->dy[s * d + i] = (double)a->chosen[i] - a->rejected[i];
        }
        for (size_t h = 0; h < batch[s]->n_history; h++, T++) {
            const refine_triple *t = &batch[s]->history[h];
            for (size_t i = 0; i < d; i++) {
                c->x[T * 2 * d + i] = t->query[i];
                c->x[T * 2 * d + d + i] = (double)t->chosen[i] - t->rejected[i];
            }
        }
    }
    c->first[S] = T;
    return PGR_OK;
}

static size_t task_end(size_t task, size_t d) {
    return (task + 1) * ROWS < d ? (task + 1) * ROWS : d;
}

static size_t n_task(const refine *r) {
    return (r->d + ROWS - 1) / ROWS;
}

/* o = tanh(W x + b), z = a + lambda_q W_q q */
static void forward_rows(void *ctx, size_t task, size_t worker) {
    refine *r = ctx;
    (void)worker;
    const scratch *c = r->scratch;
    size_t d = r->d, end = task_end(task, d);
    for (size_t i = task * ROWS; i < end; i++) {
        for (size_t t = 0; t < c->T; t++)
            c->o[t * d + i] = tanh(dot(r->theta.W + i * 2 * d, c->x + t * 2 * d, 2 * d) + r->theta.b[i]);
        for (size_t s = 0; s < c->S; s++)
            c->z[s * d + i] =
                r->theta.A[c->batch[s]->cluster * d + i] + r->o.lambda_q * dot(r->theta.W_q + i * d, c->q + s * d, d);
    }
}

/* alpha and v of one sample */
static void attend(void *ctx, size_t s, size_t worker) {
    refine *r = ctx;
    (void)worker;
    const scratch *c = r->scratch;
    size_t d = r->d, from = c->first[s], to = c->first[s + 1];
    const double *a = r->theta.A + c->batch[s]->cluster * d;
    double max = -INFINITY, sum = 0, *v = c->v + s * d;
    memset(v, 0, d * sizeof *v);
    for (size_t t = from; t < to; t++) {
        const double *o = c->o + t * d;
        c->alpha[t] = (dot(o, c->q + s * d, d) + r->o.rho * dot(o, a, d)) / sqrt((double)d);
        max = fmax(max, c->alpha[t]);
    }
    for (size_t t = from; t < to; t++) sum += c->alpha[t] = exp(c->alpha[t] - max);
    for (size_t t = from; t < to; t++) {
        c->alpha[t] /= sum;
        axpy(v, c->alpha[t], c->o + t * d, d);
    }
}

/* z += lambda_s W_s v */
static void add_history(void *ctx, size_t task, size_t worker) {
    refine *r = ctx;
    (void)worker;
    const scratch *c = r->scratch;
    size_t d = r->d, end = task_end(task, d);
    for (size_t i = task * ROWS; i < end; i++)
        for (size_t s = 0; s < c->S; s++) c->z[s * d + i] += r->o.lambda_s * dot(r->theta.W_s + i * d, c->v + s * d, d);
}

static pgr_status forward(refine *r, const refine_sample *const *batch, size_t S, pgr_error *err) {
    PGR_TRY(load_batch(r, batch, S, err));
    scratch *c = r->scratch;
    pool_run(r->o.threads, n_task(r), forward_rows, r);
    pool_run(r->o.threads, S, attend, r);
    pool_run(r->o.threads, n_task(r), add_history, r);
    for (size_t s = 0; s < S; s++) c->delta[s] = dot(c->z + s * r->d, c->dy + s * r->d, r->d);
    return PGR_OK;
}

/* ---- backward -------------------------------------------------------------------------------------------------- */

/* One sample's dz, dv, da and the gradients before its tanhs. */
static void backward_sample(void *ctx, size_t s, size_t worker) {
    refine *r = ctx;
    (void)worker;
    const scratch *c = r->scratch;
    size_t d = r->d, from = c->first[s], to = c->first[s + 1];
    double beta = r->o.beta, delta = beta * c->delta[s], root = sqrt((double)d), mean = 0;
    const double *a = r->theta.A + c->batch[s]->cluster * d, *q = c->q + s * d;
    double *dz = c->dz + s * d, *dv = c->dv + s * d, *da = c->da + s * d;
    c->loss[s] = fmax(-delta, 0) + log1p(exp(-fabs(delta)));
    double g = -beta / (1 + exp(delta)) / (double)c->S; /* d loss / d (z.y+ - z.y-) */
    for (size_t i = 0; i < d; i++) dz[i] = da[i] = g * c->dy[s * d + i];
    memset(dv, 0, d * sizeof *dv);
    if (from == to) return;
    for (size_t i = 0; i < d; i++) axpy(dv, r->o.lambda_s * dz[i], r->theta.W_s + i * d, d);
    for (size_t t = from; t < to; t++) mean += c->alpha[t] * dot(dv, c->o + t * d, d);
    for (size_t t = from; t < to; t++) {
        const double *o = c->o + t * d;
        double score = c->alpha[t] * (dot(dv, o, d) - mean) / root, *dpre = c->dpre + t * d;
        axpy(da, score * r->o.rho, o, d);
        for (size_t i = 0; i < d; i++)
            dpre[i] = (c->alpha[t] * dv[i] + score * (q[i] + r->o.rho * a[i])) * (1 - o[i] * o[i]);
    }
}

static void backward_rows(void *ctx, size_t task, size_t worker) {
    refine *r = ctx;
    (void)worker;
    const scratch *c = r->scratch;
    size_t d = r->d, from = task * ROWS, end = task_end(task, d);
    memset(r->grad.W + from * 2 * d, 0, (end - from) * 2 * d * sizeof *r->grad.W);
    memset(r->grad.W_q + from * d, 0, (end - from) * d * sizeof *r->grad.W_q);
    memset(r->grad.W_s + from * d, 0, (end - from) * d * sizeof *r->grad.W_s);
    for (size_t i = from; i < end; i++) {
        double sum = 0;
        for (size_t t = 0; t < c->T; t++) {
            sum += c->dpre[t * d + i];
            axpy(r->grad.W + i * 2 * d, c->dpre[t * d + i], c->x + t * 2 * d, 2 * d);
        }
        r->grad.b[i] = sum;
        for (size_t s = 0; s < c->S; s++) {
            axpy(r->grad.W_q + i * d, r->o.lambda_q * c->dz[s * d + i], c->q + s * d, d);
            axpy(r->grad.W_s + i * d, r->o.lambda_s * c->dz[s * d + i], c->v + s * d, d);
        }
    }
}

pgr_status refine_gradient(refine *r, const refine_sample *const *batch, size_t n, double *loss, pgr_error *err) {
    if (n == 0) return fail(err, PGR_E_ARG, "a batch of 0 samples");
    size_t d = r->d, j = batch[0]->cluster;
    for (size_t s = 1; s < n; s++)
        if (batch[s]->cluster != j) return fail(err, PGR_E_ARG, "a batch with members of two prototypes");
    PGR_TRY(forward(r, batch, n, err));
    scratch *c = r->scratch;
    pool_run(r->o.threads, n, backward_sample, r);
    pool_run(r->o.threads, n_task(r), backward_rows, r);
    const double *a = r->theta.A + j * d, *mu = r->mean + j * d, *p = r->trail + j * d;
    *loss = r->o.lambda_cent * distance2(a, mu, d) + r->o.lambda_tr * distance2(a, p, d);
    for (size_t i = 0; i < d; i++)
        r->grad.A[i] = 2 * r->o.lambda_cent * (a[i] - mu[i]) + 2 * r->o.lambda_tr * (a[i] - p[i]);
    for (size_t s = 0; s < n; s++) {
        *loss += c->loss[s] / (double)n;
        axpy(r->grad.A, 1, c->da + s * d, d);
    }
    return PGR_OK;
}

/* ---- AdamW ----------------------------------------------------------------------------------------------------- */

typedef struct update {
    double *p, *m, *v;
    const double *g;
    size_t n;
    double rate, decay, correct1, correct2; /* 1 - beta^t */
} update;

static void update_stripe(void *ctx, size_t task, size_t worker) {
    const update *u = ctx;
    (void)worker;
    size_t end = (task + 1) * STRIPE < u->n ? (task + 1) * STRIPE : u->n;
    for (size_t i = task * STRIPE; i < end; i++) {
        u->m[i] = BETA1 * u->m[i] + (1 - BETA1) * u->g[i];
        u->v[i] = BETA2 * u->v[i] + (1 - BETA2) * u->g[i] * u->g[i];
        u->p[i] *= 1 - u->rate * u->decay;
        u->p[i] -= u->rate / u->correct1 * u->m[i] / (sqrt(u->v[i]) / u->correct2 + EPSILON);
    }
}

/* n values from `from` on of parameters and moments; gradient g; the t-th step of theirs. */
static void adamw(refine *r, size_t from, const double *g, size_t n, size_t t) {
    update u = {r->theta.W + from,
                r->m.W + from,
                r->v.W + from,
                g,
                n,
                r->o.rate,
                r->o.decay,
                1 - pow(BETA1, (double)t),
                sqrt(1 - pow(BETA2, (double)t))};
    pool_run(r->o.threads, (n + STRIPE - 1) / STRIPE, update_stripe, &u);
}

pgr_status refine_step(refine *r, const refine_sample *const *batch, size_t n, double *loss, pgr_error *err) {
    PGR_TRY(refine_gradient(r, batch, n, loss, err));
    double size = *loss;
    for (size_t i = 0; i < r->grad.n; i++) size += fabs(r->grad.W[i]);
    if (!isfinite(size))
        return fail(err, PGR_E_ARG,
                    "refinement has diverged: the loss of step %zu is %g, its gradient's sum %g; a lower rate may help",
                    r->n_step + 1, *loss, size);
    size_t d = r->d, j = batch[0]->cluster;
    double *a = r->theta.A + j * d, *p = r->trail + j * d;
    adamw(r, 0, r->grad.W, r->theta.n_shared, ++r->n_step);
    adamw(r, r->theta.n_shared + j * d, r->grad.A, d, ++r->n_update[j]);
    normalise(a, d);
    for (size_t i = 0; i < d; i++) p[i] = r->o.ema * p[i] + (1 - r->o.ema) * a[i];
    return PGR_OK;
}

/* ---- epochs ---------------------------------------------------------------------------------------------------- */

typedef struct plan {
    const refine_sample **order; /* (n) by prototype */
    size_t *first;               /* (k + 1) of a prototype */
    size_t *from;                /* (n_batch) where a batch begins; it ends with the batch size or its prototype */
    size_t n_batch;
} plan;

static void shuffle(void *v, size_t n, size_t size, rng *g) {
    char *p = v, t[sizeof(void *) > sizeof(size_t) ? sizeof(void *) : sizeof(size_t)];
    for (size_t i = n; i-- > 1;) {
        size_t k = rng_below(g, i + 1);
        memcpy(t, p + i * size, size);
        memcpy(p + i * size, p + k * size, size);
        memcpy(p + k * size, t, size);
    }
}

static size_t count_batches(const refine *r, const refine_sample *samples, size_t n, size_t *counts) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++) counts[samples[i].cluster]++;
    for (size_t j = 0; j < r->k; j++) total += (counts[j] + r->o.batch - 1) / r->o.batch;
    return total;
}

static void plan_free(plan *p) {
    mem_free(p->order);
    mem_free(p->first);
    mem_free(p->from);
}

static pgr_status plan_create(const refine *r, const refine_sample *samples, size_t n, plan *p, pgr_error *err) {
    p->order = mem_array(n, sizeof *p->order);
    p->from = mem_array(n, sizeof *p->from);
    p->first = mem_zero(r->k + 2, sizeof *p->first);
    if (!p->order || !p->from || !p->first) return fail_mem(err);
    p->n_batch = count_batches(r, samples, n, p->first + 2);
    for (size_t j = 2; j <= r->k + 1; j++) p->first[j] += p->first[j - 1];
    for (size_t i = 0; i < n; i++) p->order[p->first[samples[i].cluster + 1]++] = &samples[i];
    return PGR_OK;
}

static void plan_epoch(const refine *r, plan *p, rng *g) {
    size_t b = 0;
    for (size_t j = 0; j < r->k; j++) {
        shuffle(p->order + p->first[j], p->first[j + 1] - p->first[j], sizeof *p->order, g);
        for (size_t i = p->first[j]; i < p->first[j + 1]; i += r->o.batch) p->from[b++] = i;
    }
    shuffle(p->from, p->n_batch, sizeof *p->from, g);
}

static pgr_status check_samples(const refine *r, const refine_sample *samples, size_t n, pgr_error *err) {
    for (size_t i = 0; i < n; i++)
        if (samples[i].cluster >= r->k)
            return fail(err, PGR_E_ARG, "sample %zu belongs to prototype %zu of %zu", i, samples[i].cluster, r->k);
    return PGR_OK;
}

static pgr_status run_epoch(refine *r, const plan *p, size_t epoch, double *losses, pgr_error *err) {
    for (size_t b = 0; b < p->n_batch; b++) {
        const refine_sample **batch = p->order + p->from[b];
        size_t j = batch[0]->cluster, left = p->first[j + 1] - p->from[b], at = epoch * p->n_batch + b;
        double loss = 0;
        PGR_TRY(watch_check(&r->o.watch, err));
        watch_report(&r->o.watch, "refining prototypes", at, r->o.epochs * p->n_batch, "steps");
        PGR_TRY(refine_step(r, batch, left < r->o.batch ? left : r->o.batch, &loss, err));
        if (losses) losses[at] = loss;
    }
    return PGR_OK;
}

pgr_status refine_train(refine *r, const refine_sample *samples, size_t n, double *losses, pgr_error *err) {
    PGR_TRY(check_samples(r, samples, n, err));
    plan p = {0};
    rng g = {.seed = r->o.seed, .stream = 2};
    pgr_status status = plan_create(r, samples, n, &p, err);
    for (size_t epoch = 0; epoch < r->o.epochs && status == PGR_OK; epoch++) {
        plan_epoch(r, &p, &g);
        status = run_epoch(r, &p, epoch, losses, err);
    }
    plan_free(&p);
    return status;
}

pgr_status refine_steps(const refine *r, const refine_sample *samples, size_t n, size_t *steps, pgr_error *err) {
    PGR_TRY(check_samples(r, samples, n, err));
    size_t *counts = mem_zero(r->k, sizeof *counts);
    if (!counts) return fail_mem(err);
    *steps = r->o.epochs * count_batches(r, samples, n, counts);
    mem_free(counts);
    return PGR_OK;
}

/* ---- use ------------------------------------------------------------------------------------------------------- */

pgr_status refine_margins(refine *r, const refine_sample *samples, size_t n, double *out, pgr_error *err) {
    for (size_t from = 0; from < n; from += SCORED) {
        const refine_sample *part[SCORED];
        size_t count = n - from < SCORED ? n - from : SCORED;
        for (size_t i = 0; i < count; i++) part[i] = &samples[from + i];
        PGR_TRY(watch_check(&r->o.watch, err));
        PGR_TRY(forward(r, part, count, err));
        memcpy(out + from, r->scratch->delta, count * sizeof *out);
    }
    return PGR_OK;
}

void refine_prototypes(const refine *r, float *out) {
    for (size_t i = 0; i < r->k * r->d; i++) out[i] = (float)r->theta.A[i];
}

pgr_status refine_assign(const refine *r, const float *x, size_t n, uint32_t *assign, pgr_error *err) {
    float *centres = mem_array(r->k * r->d, sizeof *centres);
    if (!centres) return fail_mem(err);
    refine_prototypes(r, centres);
    pgr_status status = kmeans_assign(x, n, r->d, centres, r->k, r->o.threads, assign, NULL, err);
    mem_free(centres);
    return status;
}
