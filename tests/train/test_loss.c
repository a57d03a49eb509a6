/* test_loss.c - every loss's gradient is the slope of its value (central differences in double: an error of h^2 times
 * the third derivative, below 1e-8 for h = 1e-4 on values of size 1, and 1e-16 / h of rounding), and the values are
 * those worked out by hand. */
#include <math.h>

#include "../base/faults.h"

#include "base/rng.h"
#include "train/fit.h"
#include "train/loss.h"

enum { N_FACT = 3, N = 2 * N_FACT, PAIRS = 4 };
static const double H = 1e-4, BOUND = 1e-7;

static double z[N], target[N], levels[PAIRS * N_FACT];

static int draw(void **state) {
    (void)state;
    rng r = {7, 0, 0};
    double sum = 0;
    for (int i = 0; i < N; i++) z[i] = rng_normal(&r), sum += target[i] = rng_next(&r);
    for (int i = 0; i < N; i++) target[i] /= sum;
    for (int i = 0; i < PAIRS * N_FACT; i++) levels[i] = (double)rng_below(&r, 7) - 3;
    return 0;
}

typedef double (*loss_fn)(const double *at, double *dz);

static double cross_entropy(const double *at, double *dz) {
    double p[N];
    slot_softmax(at, N, p);
    return slot_cross_entropy(p, target, N, 0.3, dz);
}

static double taste(const double *at, double *dz) {
    double p[N];
    slot_softmax(at, N, p);
    return taste_pairs_loss(p, levels, PAIRS, N_FACT, 0.5, 2, dz, NULL, NULL);
}

static double digits(const double *at, double *dz) {
    double p[N], value[N], dp[N], d;
    for (int i = 0; i < N; i++) value[i] = i + 1;
    slot_softmax(at, N, p);
    double loss = bradley_terry(slot_expected(p, value, N) - 3, 0.7, &d);
    for (int i = 0; i < N; i++) dp[i] = d * value[i];
    slot_backward(p, dp, N, dz);
    return loss;
}

static void check_slope(loss_fn loss, const char *name) {
    double dz[N] = {0}, none[N];
    loss(z, dz);
    for (int i = 0; i < N; i++) {
        double up[N], down[N];
        for (int k = 0; k < N; k++) up[k] = down[k] = z[k];
        up[i] += H;
        down[i] -= H;
        double slope = (loss(up, none) - loss(down, none)) / (2 * H);
        if (!(fabs(slope - dz[i]) <= BOUND))
            fail_msg("%s, logit %d: gradient %.10f, slope %.10f", name, i, dz[i], slope);
    }
}

static void test_slopes(void **state) {
    (void)state;
    check_slope(cross_entropy, "cross-entropy");
    check_slope(taste, "taste");
    check_slope(digits, "digits");
}

/* The gradient's values are floats: 6e-8 of up to 1; the slope of floats z + h needs a large h. */
static void test_token_slope(void **state) {
    (void)state;
    enum { WORDS = 50 };
    float v[WORDS], dz[WORDS];
    rng r = {8, 0, 0};
    for (int i = 0; i < WORDS; i++) v[i] = (float)rng_normal(&r) * 3;
    int best;
    token_loss(v, WORDS, 5, 0.25, dz, &best);
    for (int i = 0; i < WORDS; i++) {
        float was = v[i];
        v[i] = was + 0.01f;
        double up = token_loss(v, WORDS, 5, 1, NULL, NULL), high = v[i];
        v[i] = was - 0.01f;
        double slope = 0.25 * (up - token_loss(v, WORDS, 5, 1, NULL, NULL)) / (high - (double)v[i]);
        v[i] = was;
        if (!(fabs(slope - (double)dz[i]) <= 1e-5))
            fail_msg("token %d: gradient %.8f, slope %.8f", i, (double)dz[i], slope);
    }
    token_loss(v, WORDS, 5, 0.25, v, &best); /* in place */
    for (int i = 0; i < WORDS; i++) assert_true(v[i] == dz[i]);
}

static void test_values(void **state) {
    (void)state;
    double d, dz[N] = {0}, right, margin, p[4] = {0.5, 0.25, 0.125, 0.125};
    assert_true(fabs(bradley_terry(0, 1, &d) - log(2)) < 1e-15 && d == -0.5);
    assert_true(fabs(bradley_terry(2, 2, &d) - log(1 + exp(-1))) < 1e-15);
    assert_true(bradley_terry(-2000, 1, &d) == 2000 && d == -1);
    assert_true(bradley_terry(2000, 1, &d) == 0 && d == 0);
    const double pairs[] = {2, 0, -3, 1, 0, 0}; /* .25 * 2 + 0; -.75; a tie */
    assert_true(taste_margin(p, pairs, 2) == 0.5);
    taste_pairs_loss(p, pairs, 3, 2, 1, 1, dz, &right, &margin);
    assert_true(right == 1.5 && fabs(margin - (0.5 - 0.75) / 3) < 1e-15);
    float same[4] = {1, 1, 1, 1};
    int best;
    assert_true(fabs(token_loss(same, 4, 2, 1, NULL, &best) - log(4)) < 1e-12 && best == 0);
}

/* Choices drawn from known weights are fitted to them within 4 standard errors (1 / sqrt of the information, about
 * 4 / sqrt(n) for features of size 1); a feature that speaks against the choices gets 0, not less. */
static void test_fit(void **state) {
    (void)state;
    enum { ROWS = 20000 };
    fit_row *rows = calloc(ROWS, sizeof *rows);
    rng r = {9, 0, 0};
    for (int i = 0; i < ROWS; i++) {
        double x[2] = {rng_normal(&r), rng_normal(&r)}, m = 1.2 * x[0] + 0.4 * x[1];
        int turn = rng_next(&r) > 1 / (1 + exp(-m));
        rows[i] = (fit_row){{turn ? -x[0] : x[0], turn ? -x[1] : x[1]}, 1};
    }
    double w[2];
    fit_two(rows, ROWS, 0.01, w);
    assert_true(fabs(w[0] - 1.2) < 0.12 && fabs(w[1] - 0.4) < 0.12);
    for (int i = 0; i < ROWS; i++) rows[i].x[1] = -rows[i].x[1];
    fit_two(rows, ROWS, 0.01, w);
    assert_true(w[1] == 0 && fabs(w[0] - 1.2) < 0.2);
    fit_two(rows, 0, 0.01, w);
    assert_true(w[0] == 0 && w[1] == 0);
    free(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slopes), cmocka_unit_test(test_token_slope),
                                       cmocka_unit_test(test_values), cmocka_unit_test(test_fit)};
    return cmocka_run_group_tests(tests, draw, NULL);
}
