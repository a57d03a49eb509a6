/* lbfgs.c - L-BFGS with a line search by halving: enough for the ridge-penalised logistic losses of this room. */
#include "bench/lbfgs.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench/dense.h"

enum { PAIRS = 12, HALVINGS = 40 };

typedef struct state {
    size_t n, n_pair, newest;
    double *x, *g;                           /* (n) where we are */
    double *x_new, *g_new;                   /* (n) where the line search looks */
    double *step;                            /* (n) direction */
    double *s[PAIRS], *y[PAIRS], rho[PAIRS]; /* differences of x and of g, 1 / s.y */
} state;

/* step = -H g by the two-loop recursion. */
static void direction(state *t) {
    double a[PAIRS];
    memcpy(t->step, t->g, t->n * sizeof *t->step);
    for (size_t k = 0; k < t->n_pair; k++) { /* newest first */
        size_t i = (t->newest + PAIRS - k) % PAIRS;
        a[i] = t->rho[i] * dense_dot(t->s[i], t->step, t->n);
        dense_add(t->step, -a[i], t->y[i], t->n);
    }
    if (t->n_pair) {
        double *y = t->y[t->newest], scale = 1 / (t->rho[t->newest] * dense_dot(y, y, t->n));
        for (size_t j = 0; j < t->n; j++) t->step[j] *= scale;
    }
    for (size_t k = t->n_pair; k-- > 0;) {
        size_t i = (t->newest + PAIRS - k) % PAIRS;
        dense_add(t->step, a[i] - t->rho[i] * dense_dot(t->y[i], t->step, t->n), t->s[i], t->n);
    }
    for (size_t j = 0; j < t->n; j++) t->step[j] = -t->step[j];
}

static void remember(state *t) {
    size_t i = t->n_pair ? (t->newest + 1) % PAIRS : 0;
    for (size_t j = 0; j < t->n; j++) {
        t->s[i][j] = t->x_new[j] - t->x[j];
        t->y[i][j] = t->g_new[j] - t->g[j];
    }
    double sy = dense_dot(t->s[i], t->y[i], t->n);
    if (!(sy > 1e-14 * dense_dot(t->y[i], t->y[i], t->n))) return; /* no curvature: of no use */
    t->rho[i] = 1 / sy;
    t->newest = i;
    if (t->n_pair < PAIRS) t->n_pair++;
}

static void swap(double **a, double **b) {
    double *t = *a;
    *a = *b;
    *b = t;
}

/* Goes down along step until Armijo's condition holds; false: nothing lower was found, x is the minimum to rounding. */
static bool search(state *t, lbfgs_fn fn, void *ctx, double *value) {
    double slope = dense_dot(t->step, t->g, t->n), length = 1;
    double rounding = 1e-14 * fabs(*value); /* of a value: smaller gains do not show in it */
    if (!(slope < 0)) return false;
    if (t->n_pair == 0) length = fmin(1, 1 / sqrt(-slope));
    for (int k = 0; k < HALVINGS; k++, length /= 2) {
        for (size_t j = 0; j < t->n; j++) t->x_new[j] = t->x[j] + length * t->step[j];
        double v = fn(ctx, t->x_new, t->g_new);
        if (!(v <= *value + 1e-4 * length * slope + rounding)) continue;
        *value = v;
        remember(t);
        swap(&t->x, &t->x_new);
        swap(&t->g, &t->g_new);
        return true;
    }
    return false;
}

static pgr_status run(state *t, lbfgs_fn fn, void *ctx, const lbfgs_options *o, size_t *n_iter, pgr_error *err) {
    double value = fn(ctx, t->x, t->g);
    for (*n_iter = 0; *n_iter < o->max_iter; ++*n_iter) {
        if (o->cancel && *o->cancel) return fail(err, PGR_E_CANCELLED, "cancelled");
        double size = fmax(1, sqrt(dense_dot(t->x, t->x, t->n)));
        if (sqrt(dense_dot(t->g, t->g, t->n)) <= o->tolerance * size) break;
        direction(t);
        if (search(t, fn, ctx, &value)) continue;
        if (t->n_pair == 0) break;
        t->n_pair = 0; /* once more, straight downhill */
    }
    return PGR_OK;
}

pgr_status lbfgs_minimise(size_t n, double *x, lbfgs_fn fn, void *ctx, const lbfgs_options *o, size_t *n_iter,
                          pgr_error *err) {
    if (n == 0) return PGR_OK;
    double *memory = mem_zero(n, (5 + 2 * PAIRS) * sizeof *memory);
    if (!memory) return fail_mem(err);
    state t = {
        .n = n, .x = memory, .g = memory + n, .x_new = memory + 2 * n, .g_new = memory + 3 * n, .step = memory + 4 * n};
    for (size_t i = 0; i < PAIRS; i++) {
        t.s[i] = memory + (5 + 2 * i) * n;
        t.y[i] = memory + (6 + 2 * i) * n;
    }
    memcpy(t.x, x, n * sizeof *x);
    size_t iterations = 0;
    pgr_status status = run(&t, fn, ctx, o, &iterations, err);
    if (status == PGR_OK) {
        memcpy(x, t.x, n * sizeof *x);
        if (n_iter) *n_iter = iterations;
    }
    mem_free(memory);
    return status;
}
