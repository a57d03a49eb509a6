/* test_ridge.c - the minimiser on functions whose minimum is known, the loss's gradient against differences,
 * fits worked out by hand. */
#include <math.h>

#include "../base/faults.h"
#include "base/rng.h"
#include "bench/lbfgs.h"
#include "bench/ridge.h"

/* (x_i - i)^2 * (1 + i) / 2, and the valley of Rosenbrock in the first two. */
static double valley(void *ctx, const double *x, double *g) {
    (void)ctx;
    double a = 1 - x[0], b = x[1] - x[0] * x[0], value = a * a + 100 * b * b;
    g[0] = -2 * a - 400 * x[0] * b;
    g[1] = 200 * b;
    for (size_t i = 2; i < 20; i++) {
        double d = x[i] - (double)i;
        value += d * d * (double)(1 + i) / 2;
        g[i] = d * (double)(1 + i);
    }
    return value;
}

static void test_lbfgs(void **state) {
    (void)state;
    double x[20] = {-1.2, 1};
    size_t n_iter;
    pgr_error err;
    lbfgs_options o = {.tolerance = 1e-9, .max_iter = 500};
    assert_int_equal(lbfgs_minimise(20, x, valley, NULL, &o, &n_iter, &err), PGR_OK);
    for (size_t i = 0; i < 20; i++) {
        double want = i < 2 ? 1 : (double)i; /* the gradient's bound times 1/curvature, 1/0.4 at least in the valley */
        if (!(fabs(x[i] - want) <= 1e-6)) fail_msg("x[%zu] = %.9g after %zu", i, x[i], n_iter);
    }
    assert_in_range(n_iter, 5, 200);
}

static void test_cancel(void **state) {
    (void)state;
    double x[20] = {-1.2, 1};
    pgr_cancel cancel = 1;
    pgr_error err;
    lbfgs_options o = {.tolerance = 1e-9, .max_iter = 500, .cancel = &cancel};
    assert_int_equal(lbfgs_minimise(20, x, valley, NULL, &o, NULL, &err), PGR_E_CANCELLED);
    assert_true(x[0] == -1.2);
}

/* ---- gradient --------------------------------------------------------------------------------------------------- */

enum { ROWS = 30, ATTRIBUTES = 3, EMBEDDINGS = 4, N_X = ATTRIBUTES + EMBEDDINGS, USERS = 4, ITEMS = 9 };

static float x[ROWS * N_X];
static size_t user[ROWS], item[ROWS][2], list[ROWS];
static const ridge_rows ROWS_OF = {x, user, (const size_t (*)[2])item, ATTRIBUTES, EMBEDDINGS, 2, USERS, ITEMS};

static void fill(void) {
    rng r = {.seed = 5};
    for (size_t i = 0; i < ROWS * N_X; i++) x[i] = (float)rng_normal(&r);
    for (size_t i = 0; i < ROWS; i++) {
        user[i] = rng_below(&r, USERS);
        item[i][0] = rng_below(&r, ITEMS);
        item[i][1] = (item[i][0] + 1 + rng_below(&r, ITEMS - 1)) % ITEMS;
        list[i] = i;
    }
}

/* Every part on and off. Differences of steps of 1e-5 are good to 1e-10 of a value of 50,
 * over 2e-5: 1e-8 would be luck. */
static void test_gradient(void **state) {
    (void)state;
    fill();
    rng r = {.seed = 6};
    for (int on = 1; on < 16; on++) {
        ridge_penalty p = {on & 1 ? 2 : INFINITY, on & 2 ? 5 : INFINITY, on & 4 ? 0.5 : INFINITY,
                           on & 8 ? 0.3 : INFINITY};
        ridge_problem problem = {&ROWS_OF, list, ROWS, p};
        size_t n = ridge_n(&problem);
        assert_int_equal(n, (on & 1 ? 3 : 0) + (on & 2 ? 4 : 0) + (on & 4 ? 8 : 0) + (on & 8 ? 9 : 0));
        double q[24], g[24], other[24];
        for (size_t i = 0; i < n; i++) q[i] = rng_normal(&r);
        ridge_value(&problem, q, g);
        for (size_t i = 0; i < n; i++) {
            double at = q[i];
            q[i] = at + 1e-5;
            double up = ridge_value(&problem, q, other);
            q[i] = at - 1e-5;
            double down = ridge_value(&problem, q, other);
            q[i] = at;
            if (!(fabs((up - down) / 2e-5 - g[i]) <= 1e-6 * (1 + fabs(g[i]))))
                fail_msg("parts %d, parameter %zu: %.9g, differences say %.9g", on, i, g[i], (up - down) / 2e-5);
        }
    }
}

/* ---- fits ------------------------------------------------------------------------------------------------------- */

static ridge_model fit(const ridge_rows *r, size_t n, ridge_penalty p) {
    ridge_model m;
    pgr_error err;
    assert_int_equal(ridge_model_create(r, &m, &err), PGR_OK);
    assert_int_equal(ridge_fit(r, list, n, &p, NULL, &m, &err), PGR_OK);
    return m;
}

/* n rows with x = 1: w solves penalty * w = n / (1 + exp(w)). */
static void test_one_weight(void **state) {
    (void)state;
    static const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    ridge_rows r = {ones, user, (const size_t(*)[2])item, 1, 0, 0, USERS, ITEMS};
    fill();
    ridge_model m = fit(&r, 8, (ridge_penalty){2, INFINITY, INFINITY, INFINITY});
    double w = m.w[0];
    if (!(fabs(2 * w - 8 / (1 + exp(w))) <= 2 * 1e-4 * (1 + w))) fail_msg("w = %.9g", w);
    for (size_t i = 0; i < ITEMS; i++) assert_true(m.item[i] == 0); /* left out */
    ridge_model_free(&m);
}

/* Two users with opposite taste: the common weight is none, theirs are opposite, and what a user's rows give alone
 * beside the common weights is what the common fit gave him. The far start ends where the near one does. */
static void test_personal(void **state) {
    (void)state;
    static float taste[20];
    fill();
    for (size_t i = 0; i < 20; i++) {
        user[i] = i % 2;
        taste[i] = i % 2 ? -1 : 1;
    }
    ridge_rows r = {taste, user, (const size_t(*)[2])item, 1, 0, 1, USERS, ITEMS};
    ridge_penalty p = {1, INFINITY, 0.5, INFINITY};
    ridge_model m = fit(&r, 20, p);
    assert_true(fabs(m.w[0]) <= 1e-4);
    if (!(fabs(0.5 * m.personal[0] - 10 / (1 + exp(m.personal[0]))) <= 1e-3)) fail_msg("v = %.9g", m.personal[0]);
    assert_true(fabs(m.personal[0] + m.personal[1]) <= 2e-4);
    assert_true(m.personal[2] == 0 && m.personal[3] == 0);
    assert_true(ridge_z(&r, &m, 0, m.personal) > 1 && fabs(ridge_z(&r, &m, 0, NULL)) <= 1e-4);

    size_t own[10];
    for (size_t i = 0; i < 10; i++) own[i] = 2 * i + 1;
    double v;
    pgr_error err;
    assert_int_equal(ridge_fit_user(&r, &m, own, 10, &p, &v, &err), PGR_OK);
    assert_true(fabs(v - m.personal[1]) <= 5e-4);
    assert_int_equal(ridge_fit_user(&r, &m, own, 0, &p, &v, &err), PGR_OK);
    assert_true(v == 0);

    double before = m.personal[0];
    m.w[0] = 5, m.personal[0] = -7;
    assert_int_equal(ridge_fit(&r, list, 20, &p, NULL, &m, &err), PGR_OK);
    assert_true(fabs(m.personal[0] - before) <= 1e-3);
    ridge_model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lbfgs),      cmocka_unit_test(test_cancel),   cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_one_weight), cmocka_unit_test(test_personal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
