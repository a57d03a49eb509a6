/* test_policy.c - chains as samples: their probabilities sum to 1 and are those with which they are drawn, the gradient
 * is the slope, and rewards and advantages are those worked out by hand. */
#include <math.h>

#include "../base/faults.h"

#include "base/rng.h"
#include "train/loss.h"
#include "train/policy.h"

enum { N = 6, M = 3 };

static double z[N], p[N];

static int draw(void **state) {
    (void)state;
    rng r = {11, 0, 0};
    for (int i = 0; i < N; i++) z[i] = rng_normal(&r);
    slot_softmax(z, N, p);
    return 0;
}

/* Draws of a chain are binomial: 5 standard deviations of its share. */
static void test_draws(void **state) {
    (void)state;
    enum { DRAWS = 40000 };
    int count[N][N] = {{0}};
    rng r = {12, 0, 0};
    for (int i = 0; i < DRAWS; i++) {
        double u[2] = {rng_next(&r), rng_next(&r)};
        int words[2];
        policy_draw(p, N, u, 2, words);
        assert_true(words[0] != words[1]);
        count[words[0]][words[1]]++;
    }
    double sum = 0;
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++) {
            if (a == b) continue;
            double q = exp(policy_log_prob(p, N, (int[]){a, b}, 2));
            sum += q;
            if (!(fabs(count[a][b] / (double)DRAWS - q) <= 5 * sqrt(q * (1 - q) / DRAWS)))
                fail_msg("%d, %d: drawn %d of %d, probability %.4f", a, b, count[a][b], DRAWS, q);
        }
    assert_true(fabs(sum - 1) < 1e-12);
    int words[N - 1];
    policy_draw(p, N, (double[]){0.9999999999, 0.9999999999, 0, 0, 0.5}, N - 1, words); /* the ends of the range */
    assert_int_equal(words[0], N - 1);
    assert_int_equal(words[1], N - 2);
    assert_int_equal(words[2], 0);
}

static void test_slope(void **state) {
    (void)state;
    const int words[M] = {4, 0, 3};
    const double h = 1e-4;
    double dz[N] = {0}, q[N];
    policy_gradient(p, N, words, M, 0.7, dz);
    for (int i = 0; i < N; i++) {
        double at[N], up, down;
        for (int k = 0; k < N; k++) at[k] = z[k];
        at[i] = z[i] + h;
        slot_softmax(at, N, q);
        up = policy_log_prob(q, N, words, M);
        at[i] = z[i] - h;
        slot_softmax(at, N, q);
        down = policy_log_prob(q, N, words, M);
        double slope = 0.7 * (up - down) / (2 * h); /* the error is h^2 times a third derivative of size 1 */
        if (!(fabs(slope - dz[i]) <= 1e-7)) fail_msg("logit %d: gradient %.10f, slope %.10f", i, dz[i], slope);
    }
}

static void test_rewards(void **state) {
    (void)state;
    const double level[] = {3, -2, 1}, truth[N] = {0.5, 0, 0, 0.3, 0.2, 0};
    assert_true(policy_margin((int[]){0, 3}, 2, level) == 2.5); /* more of fact 0, less of fact 1 */
    assert_true(policy_margin((int[]){1, 4}, 2, level) == -1);
    assert_true(policy_coverage(truth, N, (int[]){0, 3}, 2) == 1);
    assert_true(fabs(policy_coverage(truth, N, (int[]){4, 1}, 2) - 0.25) < 1e-15);

    double out[4], sd, slope;
    policy_advantages((double[]){1, 2, 3, 2}, 4, 0, out, &sd);
    assert_true(out[0] == -1 && out[1] == 0 && out[2] == 1 && fabs(sd - sqrt(2. / 3)) < 1e-15);
    policy_advantages((double[]){1, 2, 3, 2}, 4, 1, out, &sd);
    assert_true(fabs(out[2] - 1 / (sqrt(2. / 3) + 1e-4)) < 1e-12);
    policy_advantages((double[]){0.1, 0.1, 0.1, 0.1}, 4, 1, out, &sd); /* whose mean is not 0.1 to the bit */
    assert_true(sd == 0 && out[0] == 0 && out[3] == 0);

    assert_true(policy_k3(-1, -1, &slope) == 0 && slope == 0);
    double high = policy_k3(-1 + 1e-4, -2, &slope), low = policy_k3(-1 - 1e-4, -2, &slope);
    assert_true(policy_k3(-1, -2, &slope) > 0 && fabs((high - low) / 2e-4 - slope) < 1e-7);
}

/* Three chains, their mean is right: without the first it would be wrong, without the second a tie, without the third
 * right as well. */
static void test_shares(void **state) {
    (void)state;
    double out[3] = {0, 0, 0};
    policy_add_shares(OUTCOME_BINARY, (double[]){2, 0.5, -2}, 3, 0.5, out);
    assert_true(out[0] == 0.5 && out[1] == 0.25 && out[2] == 0);
    policy_add_shares(OUTCOME_SIGMOID, (double[]){1, 1, 1}, 3, 2, out);
    assert_true(out[0] == 0.5 && out[1] == 0.25 && out[2] == 0);
    policy_add_shares(OUTCOME_SIGMOID, (double[]){3, 0, 0}, 3, 1, out);
    assert_true(fabs(out[0] - (0.5 + 1 / (1 + exp(-1.0)) - 0.5)) < 1e-12);
    assert_true(fabs(out[1] - (0.25 + 1 / (1 + exp(-1.0)) - 1 / (1 + exp(-1.5)))) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_draws), cmocka_unit_test(test_slope),
                                       cmocka_unit_test(test_rewards), cmocka_unit_test(test_shares)};
    return cmocka_run_group_tests(tests, draw, NULL);
}
