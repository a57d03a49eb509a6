/* ridge.c - the loss, its gradient, and the fit by L-BFGS. The parameters are scaled by the roots of their penalties,
 * which makes the penalty |q|^2 / 2 and the problem well conditioned whatever the penalties are. */
#include "bench/ridge.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench/dense.h"
#include "bench/lbfgs.h"

/* The penalty makes the loss strongly convex with constant 1 in q: a gradient of norm g is at most g away from the
 * minimum. */
static const double TOLERANCE = 1e-4;
enum { MAX_ITER = 2000 };

pgr_status ridge_model_create(const ridge_rows *r, ridge_model *m, pgr_error *err) {
    m->w = mem_zero(r->n_attribute + r->n_embedding + 1, sizeof *m->w);
    m->personal = mem_zero(r->n_user * r->n_personal + 1, sizeof *m->personal);
    m->item = mem_zero(r->n_item + 1, sizeof *m->item);
    if (m->w && m->personal && m->item) return PGR_OK;
    ridge_model_free(m);
    return fail_mem(err);
}

void ridge_model_free(ridge_model *m) {
    mem_free(m->w);
    mem_free(m->personal);
    mem_free(m->item);
    memset(m, 0, sizeof *m);
}

double ridge_loss(double z) {
    return z > 0 ? log1p(exp(-z)) : log1p(exp(z)) - z;
}

/* ---- the parts of q --------------------------------------------------------------------------------------------- */

typedef struct parts {
    double attribute, embedding, personal, item; /* what a parameter is times its q; 0: left out */
    size_t n_x;                                  /* of a row of x */
    size_t w_from, w_to;                         /* the features that count; the rest of w has no place in q */
    size_t personal_at, item_at, n;              /* places in q */
} parts;

static double scale_of(double penalty) {
    return penalty < INFINITY ? 1 / sqrt(penalty) : 0;
}

static parts parts_of(const ridge_problem *p) {
    const ridge_rows *r = p->r;
    parts t = {.attribute = scale_of(p->p.attribute),
               .embedding = scale_of(p->p.embedding),
               .personal = scale_of(p->p.personal),
               .item = scale_of(p->p.item)};
    t.n_x = r->n_attribute + r->n_embedding;
    t.w_from = t.attribute > 0 ? 0 : r->n_attribute;
    t.w_to = t.embedding > 0 ? t.n_x : r->n_attribute;
    if (t.w_from > t.w_to) t.w_from = t.w_to;
    t.personal_at = t.w_to - t.w_from;
    t.item_at = t.personal_at + (t.personal > 0 ? r->n_user * r->n_personal : 0);
    t.n = t.item_at + (t.item > 0 ? r->n_item : 0);
    return t;
}

size_t ridge_n(const ridge_problem *p) {
    return parts_of(p).n;
}

static double w_scale(const ridge_problem *p, const parts *t, size_t feature) {
    return feature < p->r->n_attribute ? t->attribute : t->embedding;
}

/* ---- value and gradient ----------------------------------------------------------------------------------------- */

/* The two pieces of x that share a scale. */
static size_t middle_of(const ridge_problem *p, const parts *t) {
    size_t m = p->r->n_attribute;
    return m < t->w_from ? t->w_from : m > t->w_to ? t->w_to : m;
}

static double row_z(const ridge_problem *p, const parts *t, const double *q, size_t row) {
    const ridge_rows *r = p->r;
    const float *x = r->x + row * t->n_x;
    size_t mid = middle_of(p, t);
    double z = t->attribute * dense_dot_x(x + t->w_from, q, mid - t->w_from)
               + t->embedding * dense_dot_x(x + mid, q + (mid - t->w_from), t->w_to - mid);
    if (t->personal > 0)
        z += t->personal * dense_dot_x(x, q + t->personal_at + r->user[row] * r->n_personal, r->n_personal);
    if (t->item > 0) z += t->item * (q[t->item_at + r->item[row][0]] - q[t->item_at + r->item[row][1]]);
    return z;
}

static void add_row(const ridge_problem *p, const parts *t, double dz, double *g, size_t row) {
    const ridge_rows *r = p->r;
    const float *x = r->x + row * t->n_x;
    size_t mid = middle_of(p, t);
    dense_add_x(g, dz * t->attribute, x + t->w_from, mid - t->w_from);
    dense_add_x(g + (mid - t->w_from), dz * t->embedding, x + mid, t->w_to - mid);
    if (t->personal > 0)
        dense_add_x(g + t->personal_at + r->user[row] * r->n_personal, dz * t->personal, x, r->n_personal);
    if (t->item > 0) {
        g[t->item_at + r->item[row][0]] += dz * t->item;
        g[t->item_at + r->item[row][1]] -= dz * t->item;
    }
}

double ridge_value(void *problem, const double *q, double *g) {
    const ridge_problem *p = problem;
    parts t = parts_of(p);
    double value = 0;
    for (size_t i = 0; i < t.n; i++) {
        value += q[i] * q[i] / 2;
        g[i] = q[i];
    }
    for (size_t i = 0; i < p->n; i++) {
        double z = row_z(p, &t, q, p->list[i]), e = exp(-fabs(z));
        value += log1p(e) + (z < 0 ? -z : 0);
        add_row(p, &t, (z < 0 ? -1 : -e) / (1 + e), g, p->list[i]); /* -1 / (1 + exp(z)) */
    }
    return value;
}

/* ---- fit -------------------------------------------------------------------------------------------------------- */

static void exchange(double *q, double *model, double scale, bool into_q) {
    if (into_q)
        *q = *model / scale;
    else
        *model = *q * scale;
}

/* Between q and the model; what is left out of q is zero in the model. */
static void convert(const ridge_problem *p, const parts *t, double *q, ridge_model *m, bool into_q) {
    const ridge_rows *r = p->r;
    for (size_t i = 0; i < t->n_x; i++) {
        if (i >= t->w_from && i < t->w_to)
            exchange(&q[i - t->w_from], &m->w[i], w_scale(p, t, i), into_q);
        else
            m->w[i] = 0;
    }
    for (size_t i = 0; i < r->n_user * r->n_personal; i++) {
        if (t->personal > 0)
            exchange(&q[t->personal_at + i], &m->personal[i], t->personal, into_q);
        else
            m->personal[i] = 0;
    }
    for (size_t i = 0; i < r->n_item; i++) {
        if (t->item > 0)
            exchange(&q[t->item_at + i], &m->item[i], t->item, into_q);
        else
            m->item[i] = 0;
    }
}

pgr_status ridge_fit(const ridge_rows *r, const size_t *list, size_t n, const ridge_penalty *penalty,
                     pgr_cancel *cancel, ridge_model *m, pgr_error *err) {
    ridge_problem p = {r, list, n, *penalty};
    parts t = parts_of(&p);
    double *q = mem_zero(t.n + 1, sizeof *q);
    if (!q) return fail_mem(err);
    convert(&p, &t, q, m, true);
    lbfgs_options o = {.tolerance = TOLERANCE, .max_iter = MAX_ITER, .cancel = cancel};
    pgr_status status = lbfgs_minimise(t.n, q, ridge_value, &p, &o, NULL, err);
    if (status == PGR_OK) convert(&p, &t, q, m, false);
    mem_free(q);
    return status;
}

double ridge_z(const ridge_rows *r, const ridge_model *m, size_t row, const double *personal) {
    size_t n_x = r->n_attribute + r->n_embedding;
    const float *x = r->x + row * n_x;
    double z = dense_dot_x(x, m->w, n_x) + m->item[r->item[row][0]] - m->item[r->item[row][1]];
    return personal ? z + dense_dot_x(x, personal, r->n_personal) : z;
}

/* ---- one user --------------------------------------------------------------------------------------------------- */

typedef struct user_problem {
    const ridge_rows *r;
    const ridge_model *m;
    const size_t *list;
    size_t n;
    double scale;
} user_problem;

static double user_value(void *problem, const double *q, double *g) {
    const user_problem *p = problem;
    size_t n_x = p->r->n_attribute + p->r->n_embedding, n = p->r->n_personal;
    double value = 0;
    for (size_t i = 0; i < n; i++) {
        value += q[i] * q[i] / 2;
        g[i] = q[i];
    }
    for (size_t i = 0; i < p->n; i++) {
        const float *x = p->r->x + p->list[i] * n_x;
        double z = ridge_z(p->r, p->m, p->list[i], NULL) + p->scale * dense_dot_x(x, q, n);
        value += ridge_loss(z);
        dense_add_x(g, -p->scale / (1 + exp(z)), x, n);
    }
    return value;
}

pgr_status ridge_fit_user(const ridge_rows *r, const ridge_model *m, const size_t *list, size_t n,
                          const ridge_penalty *penalty, double *v, pgr_error *err) {
    user_problem p = {r, m, list, n, scale_of(penalty->personal)};
    for (size_t i = 0; i < r->n_personal; i++) v[i] = 0;
    if (p.scale == 0 || n == 0) return PGR_OK;
    lbfgs_options o = {.tolerance = TOLERANCE, .max_iter = MAX_ITER};
    PGR_TRY(lbfgs_minimise(r->n_personal, v, user_value, &p, &o, NULL, err));
    for (size_t i = 0; i < r->n_personal; i++) v[i] *= p.scale;
    return PGR_OK;
}
