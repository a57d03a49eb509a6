/* test_aggregate.c - the equations of docs/scores.md by hand: means, errors, wins, ties, flips, audits, who is shown.
 */
#include <math.h>

#include "../base/faults.h"

#include "judge/aggregate.h"

static const size_t GIVEN[3] = {0, 1, 2}, SWAPPED[3] = {1, 0, 2};

/* Sums of a few doubles: rounding alone. */
#define NEAR(a, b)                                                                                                     \
    do {                                                                                                               \
        double a_ = (a), b_ = (b);                                                                                     \
        if (!(fabs(a_ - b_) <= 1e-12)) fail_msg("%s is %.15g, expected %.15g", #a, a_, b_);                            \
    } while (0)

typedef struct made { /* chains by hand over n_response responses; scores are given in the request's order */
    aggregate_chain list[8];
    chain chains[8];
    double declared[8][3], recomputed[8][3], criterion[8][3];
    chain_criterion criteria[8];
    size_t n, n_response;
    arena a;
    pgr_result out;
} made;

static void by_place(const size_t *order, const double *scores, size_t n, double *out) {
    for (size_t p = 0; p < n; p++) out[p] = scores[order[p]];
}

static void add(made *m, const size_t *order, const double *declared, const double *recomputed, const char *persona) {
    size_t i = m->n++;
    by_place(order, declared, m->n_response, m->declared[i]);
    for (size_t r = 0; r < m->n_response; r++) m->recomputed[i][r] = NAN;
    if (recomputed) by_place(order, recomputed, m->n_response, m->recomputed[i]);
    by_place(order, declared, m->n_response, m->criterion[i]);
    m->criteria[i] = (chain_criterion){"depth", 100.0, "why not", m->criterion[i]};
    m->chains[i] = (chain){true, NULL, persona, &m->criteria[i], 1, m->declared[i], m->recomputed[i], 100.0};
    m->list[i] = (aggregate_chain){.chain = &m->chains[i], .order = order, .twin = i % 2 ? i : 0};
}

static void add_failed(made *m, const char *reason) {
    size_t i = m->n++;
    for (size_t r = 0; r < m->n_response; r++) m->declared[i][r] = m->recomputed[i][r] = NAN;
    m->chains[i] = (chain){false, reason, "", NULL, 0, m->declared[i], m->recomputed[i], NAN};
    m->list[i] = (aggregate_chain){.chain = &m->chains[i], .order = GIVEN, .cut = true};
}

static void run(made *m, pgr_score_kind kind) {
    pgr_error err = {0};
    aggregate_options o = {.kind = kind, .w_ind = 0.5, .w_pro = 0.5};
    if (aggregate(m->list, m->n, m->n_response, &o, &m->a, &m->out, &err) != PGR_OK) fail_msg("%s", err.message);
}

static void run_sides(made *m, const aggregate_options *o) {
    pgr_error err = {0};
    if (aggregate(m->list, m->n, m->n_response, o, &m->a, &m->out, &err) != PGR_OK) fail_msg("%s", err.message);
}

static void add_pro(made *m, size_t neighbour, const double *scores, const char *persona) {
    add(m, GIVEN, scores, NULL, persona);
    m->list[m->n - 1].neighbour = neighbour;
    m->list[m->n - 1].twin = 0;
}

static double normal_below(double z) {
    return 0.5 * erfc(-z / sqrt(2.0));
}

static void means_errors_wins(void **state) {
    (void)state;
    made m = {.n_response = 2};
    add(&m, GIVEN, (double[]){8, 4}, NULL, "one");
    add(&m, SWAPPED, (double[]){6, 7}, NULL, "two");
    add(&m, GIVEN, (double[]){7, 5}, NULL, "three");
    add(&m, SWAPPED, (double[]){5, 5}, NULL, "four");
    add_failed(&m, "no Total line");
    run(&m, PGR_SCORE_AUTO);
    pgr_result *r = &m.out;
    assert_int_equal(r->requested, 5);
    assert_int_equal(r->parsed, 4);
    assert_int_equal(r->failed, 1);
    assert_int_equal(r->cut, 1);
    NEAR(r->responses[0].score, 6.5);
    NEAR(r->responses[1].score, 5.25);
    NEAR(r->responses[0].se, sqrt((1.5 * 1.5 + 0.5 * 0.5 + 0.5 * 0.5 + 1.5 * 1.5) / 3 / 4));
    /* differences 4 -1 2 0 and the prior's 0: m = 1, v = (9 + 4 + 1 + 1 + 1 + 1) / 5 */
    NEAR(r->responses[0].win, normal_below(1 / sqrt(3.4 / 5)));
    NEAR(r->responses[1].win, 1 - r->responses[0].win);
    assert_int_equal(r->responses[0].n, 4);
    assert_true(r->responses[0].scored && !r->responses[0].reason);
    assert_int_equal(r->best, 0);
    assert_false(r->tie);
    NEAR(r->confidence, r->responses[0].win);
    NEAR(r->flip_rate, (1 + 0.5) / 2); /* 0 against 1; 0 against a tie */
    assert_true(isnan(r->arithmetic_wrong) && isnan(r->responses[0].recomputed));
    NEAR(r->responses[0].declared, 6.5);
    assert_string_equal(r->persona, "three"); /* (7, 5) is nearest to (6.5, 5.25) */
    NEAR(r->criteria[0].scores[0], 7);
    NEAR(r->criteria[0].scores[1], 5);
    arena_free(&m.a);
}

static void orders_of_three(void **state) {
    (void)state;
    static const size_t TURNED[3] = {2, 0, 1};
    static const double WANT[3] = {1, 2, 9};
    made m = {.n_response = 3};
    add(&m, TURNED, WANT, NULL, "p");
    run(&m, PGR_SCORE_AUTO);
    assert_int_equal(m.out.best, 2);
    for (size_t i = 0; i < 3; i++) {
        NEAR(m.out.responses[i].score, WANT[i]);
        NEAR(m.out.criteria[0].scores[i], WANT[i]);
        assert_true(isnan(m.out.responses[i].se)); /* one chain has no spread */
    }
    double p20 = normal_below(4 / sqrt(33.0 / 4)), p21 = normal_below(3.5 / sqrt(25.5 / 4)),
           p10 = normal_below(0.5 / sqrt(1.5 / 4));
    double win[3] = {(1 - p20) * (1 - p10), p10 * (1 - p21), p20 * p21}, sum = win[0] + win[1] + win[2];
    for (size_t i = 0; i < 3; i++) NEAR(m.out.responses[i].win, win[i] / sum);
    NEAR(m.out.confidence, win[2] / sum);
    assert_true(isnan(m.out.flip_rate));
    arena_free(&m.a);
}

static void which_score_counts(void **state) {
    (void)state;
    made m = {.n_response = 2};
    add(&m, GIVEN, (double[]){5.4, 8.0}, (double[]){5.65, 7.7}, "a"); /* the published example's sums */
    add(&m, SWAPPED, (double[]){6.0, 7.0}, (double[]){6.04, 6.96}, "b");
    run(&m, PGR_SCORE_AUTO);
    NEAR(m.out.responses[0].score, (5.65 + 6.04) / 2);
    NEAR(m.out.responses[0].declared, (5.4 + 6.0) / 2);
    NEAR(m.out.responses[0].recomputed, (5.65 + 6.04) / 2);
    NEAR(m.out.arithmetic_wrong, 0.5);
    NEAR(m.out.flip_rate, 0.0);
    run(&m, PGR_SCORE_DECLARED);
    NEAR(m.out.responses[1].score, 7.5);

    add(&m, GIVEN, (double[]){1, 2}, NULL, "c"); /* one chain without: AUTO goes back to what was declared */
    run(&m, PGR_SCORE_AUTO);
    NEAR(m.out.responses[0].score, (5.4 + 6.0 + 1) / 3);
    NEAR(m.out.responses[0].recomputed, (5.65 + 6.04) / 2);
    run(&m, PGR_SCORE_RECOMPUTED); /* and the other way it is left out, though it parsed */
    NEAR(m.out.responses[0].score, (5.65 + 6.04) / 2);
    assert_int_equal(m.out.responses[0].n, 2);
    assert_int_equal(m.out.parsed, 3);
    arena_free(&m.a);
}

static void ties(void **state) {
    (void)state;
    made m = {.n_response = 3};
    add(&m, GIVEN, (double[]){4, 6, 6}, NULL, "a");
    add(&m, SWAPPED, (double[]){4, 6 + 1e-10, 6}, NULL, "b");
    run(&m, PGR_SCORE_AUTO);
    assert_int_equal(m.out.best, 1); /* the lowest index */
    assert_true(m.out.tie);
    double p10 = normal_below(4.0 / 3 / sqrt(11.0 / 27)),
           win = p10 * 0.5; /* differences 2 2 and 0: m = 4/3, v = 11/9 */
    assert_true(fabs(m.out.confidence - win / (2 * win + (1 - p10) * (1 - p10))) < 1e-9); /* 1e-10 apart is a tie */
    NEAR(m.out.flip_rate, 0.0);
    assert_string_equal(m.out.persona, "a");
    arena_free(&m.a);
}

/* The same bytes: the same score to the bit, a tie, nothing between them that could flip; chains that tell them apart
 * are one opinion of both. */
static void the_same_text_has_one_score(void **state) {
    (void)state;
    made m = {.n_response = 2};
    add(&m, GIVEN, (double[]){8, 4.1}, (double[]){7.3, 4}, "a");
    add(&m, SWAPPED, (double[]){3, 9}, (double[]){3, 8.9}, "b");
    add(&m, GIVEN, (double[]){9, 1}, (double[]){9, 1.7}, "c");
    aggregate_options o = {.w_ind = 1, .same = (const size_t[]){0, 0}};
    run_sides(&m, &o);
    pgr_response_score *s = m.out.responses;
    assert_true(s[0].score == s[1].score && s[0].se == s[1].se && s[0].declared == s[1].declared
                && s[0].recomputed == s[1].recomputed);
    NEAR(s[0].score, (7.3 + 4 + 3 + 8.9 + 9 + 1.7) / 6);
    assert_true(m.out.tie && m.out.best == 0 && m.out.confidence == 0.5 && s[1].win == 0.5);
    NEAR(m.out.flip_rate, 0);
    arena_free(&m.a);

    made three = {.n_response = 3}; /* the middle one differs and wins: no tie, and the others stay equal */
    add(&three, GIVEN, (double[]){2, 7, 5}, NULL, "a");
    add(&three, SWAPPED, (double[]){6.3, 8, 1.1}, NULL, "b");
    o.same = (const size_t[]){0, 1, 0};
    run_sides(&three, &o);
    s = three.out.responses;
    assert_true(!three.out.tie && three.out.best == 1);
    assert_true(s[0].score == s[2].score && s[0].se == s[2].se && s[0].win == s[2].win);
    NEAR(s[0].score, (3.5 + 3.7) / 2);
    three.n = 0;
    add(&three, GIVEN, (double[]){9, 4, 7}, NULL, "a"); /* and a pair of them can win */
    run_sides(&three, &o);
    assert_true(three.out.tie && three.out.best == 0);
    o.same = NULL;
    run_sides(&three, &o);
    assert_false(three.out.tie);
    arena_free(&three.a);
}

static void flips_need_two_orders(void **state) {
    (void)state;
    made m = {.n_response = 2};
    add(&m, GIVEN, (double[]){8, 4}, NULL, "a");
    add(&m, GIVEN, (double[]){4, 8}, NULL, "b"); /* the same order: no swap, no flip */
    add(&m, GIVEN, (double[]){4, 8}, NULL, "c");
    add_failed(&m, "x");
    add(&m, GIVEN, (double[]){8, 4}, NULL, "d");
    run(&m, PGR_SCORE_AUTO);
    assert_true(isnan(m.out.flip_rate));
    arena_free(&m.a);
}

static void no_chain_no_score(void **state) {
    (void)state;
    made m = {.n_response = 2};
    add_failed(&m, "no <JSON_START> marker");
    add_failed(&m, "response_2: no score");
    add_failed(&m, "response_2: no score");
    add_failed(&m, NULL);
    run(&m, PGR_SCORE_AUTO);
    assert_int_equal(m.out.best, -1);
    assert_false(m.out.tie);
    assert_true(isnan(m.out.confidence));
    assert_int_equal(m.out.failed, 4);
    assert_string_equal(m.out.persona, "");
    for (size_t i = 0; i < 2; i++) {
        assert_false(m.out.responses[i].scored);
        assert_true(isnan(m.out.responses[i].score) && isnan(m.out.responses[i].win));
        assert_string_equal(m.out.responses[i].reason, "response_2: no score");
    }
    m.n = 0;
    run(&m, PGR_SCORE_AUTO);
    assert_string_equal(m.out.responses[0].reason, "no chain was asked for");
    m.n = 0;
    add(&m, GIVEN, (double[]){8, 4}, NULL, "a"); /* parsed, but without what was asked for */
    run(&m, PGR_SCORE_RECOMPUTED);
    assert_int_equal(m.out.best, -1);
    assert_int_equal(m.out.parsed, 1);
    assert_string_equal(m.out.responses[0].reason, "the chain's criterion scores are not complete");
    arena_free(&m.a);
}

/* Two own chains, three of two neighbours: all of it by hand. */
static void two_sides(void **state) {
    (void)state;
    const double weights[] = {0.8, 0.2};
    size_t counted[2] = {9, 9};
    made m = {.n_response = 2};
    add(&m, GIVEN, (double[]){8, 4}, NULL, "one");
    add(&m, SWAPPED, (double[]){6, 4}, NULL, "two");
    add_pro(&m, 1, (double[]){2, 8}, "three");
    add_pro(&m, 2, (double[]){5, 5}, "four");
    add_pro(&m, 2, (double[]){7, 5}, "five");
    aggregate_options o = {.w_ind = 3, .w_pro = 1, .neighbour_weights = weights, .n_neighbour = 2, .counted = counted};
    run_sides(&m, &o);
    pgr_result *r = &m.out;
    NEAR(r->w_ind, 0.75);
    NEAR(r->w_pro, 0.25);
    assert_int_equal(r->ind.requested, 2);
    assert_int_equal(r->pro.requested, 3);
    assert_int_equal(r->parsed, 5);
    assert_int_equal(counted[0], 1);
    assert_int_equal(counted[1], 2);
    NEAR(r->responses[0].ind, 7);
    NEAR(r->responses[0].pro, 0.8 * 2 + 0.1 * 5 + 0.1 * 7); /* 2.8 */
    NEAR(r->responses[0].score, 0.75 * 7 + 0.25 * 2.8);
    NEAR(r->responses[0].declared, r->responses[0].score);
    NEAR(r->responses[1].score, 0.75 * 4 + 0.25 * (0.8 * 8 + 0.2 * 5));
    /* own: variance 2, sum w^2 1/2; neighbours': sum w^2 .66, variance (.8 .64 + .1 4.84 + .1 17.64) / .34 */
    double pro = (0.8 * 0.64 + 0.1 * 4.84 + 0.1 * 17.64) / 0.34;
    NEAR(r->responses[0].se, sqrt(0.5625 * 2 * 0.5 + 0.0625 * pro * 0.66));
    /* differences 4 2 | -6 0 2 of weights .375 .375 | .2 .025 .025; sides' means 3 and -4.6 */
    double n = 1 / (2 * 0.375 * 0.375 + 0.04 + 2 * 0.025 * 0.025), D = 0.75 * 3 - 0.25 * 4.6, mean = n * D / (n + 1);
    double spread = 0.375 * 2 + 0.2 * 1.96 + 0.025 * 4.6 * 4.6 + 0.025 * 6.6 * 6.6;
    double v = (n * (spread + (D - mean) * (D - mean)) + mean * mean + 1) / (n + 1);
    NEAR(r->responses[0].win, normal_below(mean / sqrt(v / (n + 1))));
    assert_string_equal(r->persona, "one"); /* an own chain, though "five" is as near to the score */
    NEAR(r->flip_rate, 0);                  /* the own pair alone */

    o.w_ind = 0; /* own chains are heard by nobody */
    run_sides(&m, &o);
    NEAR(r->responses[0].score, 2.8);
    assert_int_equal(r->best, 1);
    arena_free(&m.a);
}

static void a_side_without_chains_leaves_its_weight(void **state) {
    (void)state;
    const double weights[] = {0.5, 0.5};
    made m = {.n_response = 2};
    add_failed(&m, "x");
    add_pro(&m, 1, (double[]){3, 8}, "n1");
    add_pro(&m, 1, (double[]){8, 5}, "n1 again"); /* by place: swapped below */
    add_failed(&m, "y");
    m.list[3].neighbour = 2;
    m.list[2].order = SWAPPED;
    m.list[2].twin = 2; /* the same neighbour, other order */
    size_t counted[2];
    aggregate_options o = {
        .w_ind = 0.5, .w_pro = 0.5, .neighbour_weights = weights, .n_neighbour = 2, .counted = counted};
    run_sides(&m, &o);
    NEAR(m.out.responses[0].score, 4); /* neighbour 2 has no chain: his half goes to the other */
    assert_true(isnan(m.out.responses[0].ind));
    NEAR(m.out.w_pro, 1);
    assert_int_equal(m.out.pro.failed, 1);
    assert_int_equal(m.out.ind.failed, 1);
    assert_string_equal(m.out.persona, "n1"); /* no own chain: of the neighbours' */
    assert_false(isnan(m.out.flip_rate));
    arena_free(&m.a);

    made one = {.n_response = 2}; /* a lone neighbour borrows the own chains' variance; two lone chains have none */
    add(&one, GIVEN, (double[]){8, 4}, NULL, "a");
    add_pro(&one, 1, (double[]){3, 8}, "b");
    run_sides(&one, &o);
    assert_true(isnan(one.out.responses[0].se));
    add(&one, SWAPPED, (double[]){6, 4}, NULL, "c");
    one.list[2].twin = 0;
    run_sides(&one, &o);
    NEAR(one.out.responses[0].se, sqrt(0.25 * 2 * 0.5 + 0.25 * 2));
    arena_free(&one.a);
}

static void calibrated_wins(void **state) {
    (void)state;
    const double x[] = {1, 1, 1, 1}, y[] = {1, 1, 1, 0}; /* a difference of 1 wins three times of four: T = 1 / log 3 */
    pgr_calibration *c = NULL;
    assert_int_equal(pgr_calibration_fit(PGR_CALIBRATION_TEMPERATURE, PGR_CALIBRATION_DIFFERENCE, x, y, 4, &c, NULL),
                     PGR_OK);
    made m = {.n_response = 2};
    add(&m, GIVEN, (double[]){7, 6}, NULL, "a");
    run(&m, PGR_SCORE_AUTO);
    double raw = m.out.confidence;
    assert_false(m.out.calibrated);
    aggregate_options o = {.w_ind = 1, .calibration = c};
    run_sides(&m, &o);
    NEAR(m.out.confidence, 0.75);
    NEAR(m.out.responses[1].win, 0.25);
    NEAR(m.out.confidence_raw, raw);
    assert_true(m.out.calibrated);
    pgr_calibration_free(c);
    arena_free(&m.a);
}

static bool work(void) {
    made m = {.n_response = 2};
    add(&m, GIVEN, (double[]){8, 4}, NULL, "a");
    add(&m, SWAPPED, (double[]){8, 4}, NULL, "b");
    aggregate_options o = {.w_ind = 1};
    bool ok = aggregate(m.list, m.n, m.n_response, &o, &m.a, &m.out, NULL) == PGR_OK;
    arena_free(&m.a);
    return ok;
}

static void out_of_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(work) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_errors_wins),
        cmocka_unit_test(orders_of_three),
        cmocka_unit_test(which_score_counts),
        cmocka_unit_test(ties),
        cmocka_unit_test(the_same_text_has_one_score),
        cmocka_unit_test(flips_need_two_orders),
        cmocka_unit_test(no_chain_no_score),
        cmocka_unit_test(two_sides),
        cmocka_unit_test(a_side_without_chains_leaves_its_weight),
        cmocka_unit_test(calibrated_wins),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
