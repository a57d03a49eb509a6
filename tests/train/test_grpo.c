/* test_grpo.c - the loss at a token: worked out by hand where the ratio is held, not held, and held from the other
 * side; its slope is the derivative; weights of tokens sum to 1. */
#include <math.h>

#include "../base/faults.h"

#include "train/grpo.h"

static const grpo_terms TERMS = {.low = 0.2, .high = 0.28, .dual = 3, .kl = 0};

static grpo_token at_ratio(double ratio, double advantage) {
    return grpo_token_loss(&TERMS, log(ratio) - 2, -2, 0, advantage);
}

static void assert_loss(double ratio, double advantage, double loss, int clipped) {
    grpo_token t = at_ratio(ratio, advantage);
    if (!(fabs(t.loss - loss) <= 1e-12) || t.clipped != clipped || !(fabs(t.ratio - ratio) <= 1e-12))
        fail_msg("ratio %g, advantage %g: loss %.15g, clipped %d, expected %.15g, %d", ratio, advantage, t.loss,
                 t.clipped, loss, clipped);
}

static void test_by_hand(void **state) {
    (void)state;
    assert_loss(1, 2, -2, 0);
    assert_loss(1.25, 2, -2.5, 0);
    assert_loss(1.5, 2, -2.56, 1); /* a good token gains no more than 1.28 times */
    assert_loss(0.5, 2, -1, 0);    /* and is brought back from below */
    assert_loss(0.5, -2, 1.6, -1); /* a bad token is pushed down no further than to .8 */
    assert_loss(1.5, -2, 3, 0);    /* and is pushed down from above */
    assert_loss(4, -2, 6, 2);      /* but not by more than three times */
    assert_loss(1, 0, 0, 0);
    assert_true(at_ratio(1.5, 2).slope == 0 && at_ratio(4, -2).slope == 0 && at_ratio(0.5, -2).slope == 0);
}

/* Every branch: the error of the middle difference is h^2 times a third derivative of size 10. */
static void test_slope(void **state) {
    (void)state;
    const double h = 1e-4, ratios[] = {0.5, 0.9, 1, 1.2, 1.6, 2.5, 3.5}, advantages[] = {-1.5, 0.7};
    grpo_terms o = TERMS;
    for (o.kl = 0; o.kl < 0.2; o.kl += 0.1)
        for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++)
            for (size_t k = 0; k < 2; k++) {
                double log_p = log(ratios[i]) - 1, a = advantages[k];
                double up = grpo_token_loss(&o, log_p + h, -1, -0.6, a).loss;
                double down = grpo_token_loss(&o, log_p - h, -1, -0.6, a).loss;
                double slope = grpo_token_loss(&o, log_p, -1, -0.6, a).slope;
                if (!(fabs((up - down) / (2 * h) - slope) <= 1e-6))
                    fail_msg("ratio %g, advantage %g, kl %g: slope %.9f, difference %.9f", ratios[i], a, o.kl, slope,
                             (up - down) / (2 * h));
            }
}

static void test_weights(void **state) {
    (void)state;
    const size_t n_token[] = {2, 0, 6};
    double w[3];
    grpo_weights(GRPO_TOKEN_MEAN, n_token, 3, w);
    assert_true(w[0] == 1. / 8 && w[1] == 0 && w[2] == 1. / 8);
    grpo_weights(GRPO_SEQUENCE_MEAN, n_token, 3, w);
    assert_true(w[0] == 1. / 4 && w[1] == 0 && w[2] == 1. / 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_hand), cmocka_unit_test(test_slope),
                                       cmocka_unit_test(test_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
