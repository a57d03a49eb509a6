/* Kinds of taste: planted ones are found, the objective never falls, shares are those of a plain sum, a newcomer's
 * taste goes from what members have in common to his own; nothing depends on threads or on the order of pairs. */
#include "../base/faults.h"

#include <math.h>

#include "base/rng.h"
#include "prototype/mixture.h"

enum { USERS = 120, EACH = 12, DIMS = 6, K = 4, PAIRS = USERS * EACH };

typedef struct planted {
    double x[PAIRS * DIMS];
    size_t first[USERS + 1];
    uint32_t truth[USERS], start[USERS];
    double weights[K + 1][DIMS]; /* the last is nobody's */
} planted;

static planted world;
static const mixture_pairs PLANTED = {world.x, world.first, USERS, DIMS};

/* What a user of these weights says of a random pair, as often wrong as the logistic has it. */
static void choose(const double *w, rng *g, double *x) {
    double v = 0;
    for (size_t j = 0; j < DIMS; j++) {
        x[j] = rng_normal(g);
        v += w[j] * x[j];
    }
    if (rng_next(g) > 1 / (1 + exp(-v)))
        for (size_t j = 0; j < DIMS; j++) x[j] = -x[j];
}

/* Users of K tastes that differ in the sign of two features; a third of the starts is wrong. */
static int setup(void **state) {
    (void)state;
    rng g = {.seed = 11};
    for (size_t c = 0; c <= K; c++)
        for (size_t j = 0; j < DIMS; j++) world.weights[c][j] = c < K ? 0 : j == 4 ? 4 : j == 5 ? -4 : 0;
    for (size_t c = 0; c < K; c++) {
        world.weights[c][c / 2 * 2] = c % 2 ? 4 : -4;
        world.weights[c][c / 2 * 2 + 1] = 3;
    }
    for (size_t u = 0; u < USERS; u++) {
        world.truth[u] = (uint32_t)(u % K);
        world.start[u] = u % 3 ? world.truth[u] : (uint32_t)rng_below(&g, K);
        world.first[u + 1] = world.first[u] + EACH;
        for (size_t i = 0; i < EACH; i++) choose(world.weights[u % K], &g, world.x + (u * EACH + i) * DIMS);
    }
    return 0;
}

static mixture fitted(pool *threads, mixture_trace *t) {
    mixture m;
    pgr_error err;
    if (mixture_fit(&PLANTED, world.start, K, threads, NULL, &m, t, &err) != PGR_OK) fail_msg("%s", err.message);
    return m;
}

static void test_planted(void **state) {
    (void)state;
    mixture_trace t;
    mixture m = fitted(NULL, &t);
    assert_true(t.n > 1 && t.n < MIXTURE_ROUNDS);
    for (size_t i = 1; i < t.n; i++) /* but for the rounding of sums of PAIRS terms */
        assert_true(t.objective[i] >= t.objective[i - 1] - PAIRS * 1e-14 * fabs(t.objective[i]));
    size_t right = 0;
    for (size_t u = 0; u < USERS; u++) {
        double share[K];
        mixture_likelihood(&m, world.x + world.first[u] * DIMS, EACH, share);
        size_t best = 0;
        for (size_t c = 1; c < K; c++)
            if (share[c] > share[best]) best = c;
        right += best == world.truth[u];
    }
    assert_true(right > USERS * 9 / 10); /* chance is a quarter; 12 choices of a strong taste tell nearly all */
    for (size_t c = 0; c < K; c++) {     /* to the right side, and drawn to 0 by the prior */
        const double *w = m.weights + c * DIMS;
        for (size_t j = 0; j < DIMS; j++)
            if (world.weights[c][j] != 0) assert_true(w[j] * world.weights[c][j] > 0 && fabs(w[j]) > 1);
        assert_true(fabs(exp(m.log_share[c]) - 1.0 / K) < 0.1);
    }
    mixture_free(&m);
}

/* Shares and likelihood against the definition, in the open. */
static void test_definition(void **state) {
    (void)state;
    mixture_trace t;
    mixture m = fitted(NULL, &t);
    for (size_t u = 0; u < 5; u++)
        for (size_t n = 0; n <= EACH; n += 4) {
            double share[K], plain[K], sum = 0, total = 0;
            const double *x = world.x + world.first[u] * DIMS;
            for (size_t c = 0; c < K; c++) {
                plain[c] = exp(m.log_share[c]);
                for (size_t i = 0; i < n; i++) {
                    double v = 0;
                    for (size_t j = 0; j < DIMS; j++) v += m.weights[c * DIMS + j] * x[i * DIMS + j];
                    plain[c] /= 1 + exp(-v);
                }
                sum += plain[c];
            }
            double with = mixture_likelihood(&m, x, n, share), without = mixture_likelihood(&m, x, n, NULL);
            assert_true(fabs(with - log(sum)) < 1e-12 * (1 + fabs(with)) && fabs(with - without) < 1e-12);
            for (size_t c = 0; c < K; c++) {
                assert_true(fabs(share[c] - plain[c] / sum) < 1e-12);
                total += share[c];
            }
            assert_true(fabs(total - 1) < 1e-12);
        }
    mixture_free(&m);
}

static double cosine(const double *a, const double *b) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t j = 0; j < DIMS; j++) ab += a[j] * b[j], aa += a[j] * a[j], bb += b[j] * b[j];
    return ab / sqrt(aa * bb);
}

/* A newcomer of a known taste is known by few pairs; one of another taste is believed by many. */
static void test_newcomers(void **state) {
    (void)state;
    mixture_trace t;
    mixture m = fitted(NULL, &t);
    rng g = {.seed = 5};
    double x[40 * DIMS], taste[DIMS], back[DIMS], known, same, inside = 0, outside = 0, near = 0;
    for (size_t u = 0; u < 50; u++) {
        for (size_t i = 0; i < 3; i++) choose(world.weights[u % K], &g, x + i * DIMS);
        assert_int_equal(mixture_place(&m, x, 3, taste, &known, NULL), PGR_OK);
        assert_true(known > 0 && known < 1);
        inside += known / 50;
        near += cosine(taste, world.weights[u % K]) / 50;
        double last[DIMS], other[3 * DIMS]; /* the order of pairs changes no more than where the last step ends */
        memcpy(last, x + 2 * DIMS, sizeof last);
        memcpy(other, last, sizeof last);
        memcpy(other + DIMS, x, 2 * sizeof last);
        assert_int_equal(mixture_place(&m, other, 3, back, &same, NULL), PGR_OK);
        assert_true(fabs(known - same) < 1e-4);
        for (size_t j = 0; j < DIMS; j++) assert_true(fabs(taste[j] - back[j]) < 1e-4);
        for (size_t i = 0; i < 40; i++) choose(world.weights[K], &g, x + i * DIMS);
        assert_int_equal(mixture_place(&m, x, 40, taste, &known, NULL), PGR_OK);
        outside += known / 50;
        assert_true(cosine(taste, world.weights[K]) > 0.5);
    }
    assert_true(inside > 0.7 && near > 0.5 && outside < 0.2);
    assert_int_equal(mixture_place(&m, x, 0, taste, &known, NULL), PGR_OK);
    assert_true(fabs(known - (1 - MIXTURE_OUTSIDE)) < 1e-12); /* nothing known: the prior */
    for (size_t j = 0; j < DIMS; j++) {
        double mean = 0;
        for (size_t c = 0; c < K; c++) mean += known * exp(m.log_share[c]) * m.weights[c * DIMS + j];
        assert_true(fabs(taste[j] - mean) < 1e-9);
    }
    mixture_free(&m);
}

static void test_threads(void **state) {
    (void)state;
    mixture_trace t[2];
    pool *two;
    assert_int_equal(pool_create(2, &two, NULL), PGR_OK);
    mixture a = fitted(NULL, &t[0]), b = fitted(two, &t[1]);
    assert_int_equal(t[0].n, t[1].n);
    assert_memory_equal(t[0].objective, t[1].objective, t[0].n * sizeof(double));
    assert_memory_equal(a.weights, b.weights, K * DIMS * sizeof(double));
    assert_memory_equal(a.log_share, b.log_share, K * sizeof(double));
    mixture_free(&a);
    mixture_free(&b);
    pool_free(two);
}

/* One class, a user without a pair, pairs that say nothing, tastes without an exception: all finite. */
static void test_edges(void **state) {
    (void)state;
    double x[4 * DIMS] = {0}, taste[DIMS], known;
    const size_t first[] = {0, 0, 2, 4};
    const uint32_t start[] = {0, 0, 1};
    mixture_trace t;
    for (size_t k = 1; k < 4; k++)
        for (int sure = 0; sure < 2; sure++) {
            mixture m;
            for (size_t i = 0; i < 4; i++) x[i * DIMS] = sure ? 1e3 : 0;
            const mixture_pairs p = {x, first, 3, DIMS};
            assert_int_equal(mixture_fit(&p, k > 1 ? start : (const uint32_t[3]){0}, k, NULL, NULL, &m, &t, NULL),
                             PGR_OK);
            assert_true(m.spread > 0 && isfinite(m.spread) && isfinite(t.objective[t.n - 1]));
            assert_int_equal(mixture_place(&m, x, 4, taste, &known, NULL), PGR_OK);
            for (size_t j = 0; j < DIMS; j++) assert_true(isfinite(taste[j]));
            assert_true(known >= 0 && known <= 1 && (taste[0] > 0) == sure);
            mixture_free(&m);
        }
    mixture m;
    pgr_error err;
    x[1] = NAN;
    const mixture_pairs p = {x, first, 3, DIMS};
    assert_int_equal(mixture_fit(&p, start, 2, NULL, NULL, &m, &t, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "not finite"));
    assert_null(m.weights);
}

static void test_numbers(void **state) {
    (void)state;
    mixture_trace t;
    mixture m = fitted(NULL, &t), back;
    float values[1 + K + K * DIMS];
    size_t n = mixture_size(K, DIMS);
    pgr_error err;
    assert_int_equal(n, sizeof values / sizeof *values);
    mixture_pack(&m, values);
    assert_int_equal(mixture_unpack(values, n, K, DIMS, &back, &err), PGR_OK);
    assert_true(back.k == K && back.dims == DIMS && fabs(back.spread - m.spread) < 1e-6 * m.spread);
    for (size_t i = 0; i < K * DIMS; i++) assert_true(back.weights[i] == (double)(float)m.weights[i]);
    mixture_free(&back);
    assert_int_equal(mixture_unpack(values, n - 1, K, DIMS, &back, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "expected those of 4 classes of 6 features"));
    values[0] = -1;
    assert_int_equal(mixture_unpack(values, n, K, DIMS, &back, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "spread"));
    values[0] = 1, values[7] = INFINITY;
    assert_int_equal(mixture_unpack(values, n, K, DIMS, &back, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "value 7 is no number");
    mixture_free(&m);
}

static bool fit_and_place(void) {
    mixture m;
    mixture_trace t;
    double taste[DIMS], known;
    const mixture_pairs few = {world.x, world.first, 8, DIMS};
    if (mixture_fit(&few, world.start, K, NULL, NULL, &m, &t, NULL) != PGR_OK) return false;
    pgr_status s = mixture_place(&m, world.x, 3, taste, &known, NULL);
    mixture_free(&m);
    return s == PGR_OK;
}

static void test_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(fit_and_place) > 5);
}

static void test_cancel(void **state) {
    (void)state;
    pgr_cancel stop = 1;
    mixture m;
    mixture_trace t;
    const pgr_watch watch = {.cancel = &stop};
    assert_int_equal(mixture_fit(&PLANTED, world.start, K, NULL, &watch, &m, &t, NULL), PGR_E_CANCELLED);
    assert_null(m.weights);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_planted),   cmocka_unit_test(test_definition),
                                       cmocka_unit_test(test_newcomers), cmocka_unit_test(test_threads),
                                       cmocka_unit_test(test_edges),     cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_memory),    cmocka_unit_test(test_cancel)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
