/* test_aggregate.c - the equations of docs/scores.md by hand: means, errors, wins, ties, flips, audits, who is shown.
 */
#include <math.h>

#include "../base/faults.h"

#include "judge/aggregate.h"
#include "judge/calibration.h"

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
    double declared[8][3], recomputed[8][3], criterion[8][3], expected[8][3], wanted[8][3];
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
    m->criteria[i] =
        (chain_criterion){.name = "depth", .weight = 100.0, .reason = "why not", .scores = m->criterion[i]};
    m->chains[i] = (chain){.parsed = true,
                           .persona = persona,
                           .criteria = &m->criteria[i],
                           .n_criterion = 1,
                           .declared = m->declared[i],
                           .recomputed = m->recomputed[i],
                           .weight_sum = 100.0};
    m->list[i] = (aggregate_chain){.chain = &m->chains[i], .order = order, .twin = i % 2 ? i : 0};
}

/* What the last chain's totals, and the scores of its criterion, are expected to be. */
static void expects(made *m, const double *totals, const double *scores) {
    size_t i = m->n - 1;
    by_place(m->list[i].order, totals, m->n_response, m->expected[i]);
    by_place(m->list[i].order, scores, m->n_response, m->wanted[i]);
    m->chains[i].expected = m->expected[i];
    m->criteria[i].expected = m->wanted[i];
}

static void add_failed(made *m, const char *reason) {
    size_t i = m->n++;
    for (size_t r = 0; r < m->n_response; r++) m->declared[i][r] = m->recomputed[i][r] = NAN;
    m->chains[i] = (chain){
        .reason = reason, .persona = "", .declared = m->declared[i], .recomputed = m->recomputed[i], .weight_sum = NAN};
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
    NEAR(r->confidence_raw, normal_below(1 / sqrt(3.4 / 5)));
    assert_true(isnan(r->responses[0].win) && isnan(r->responses[1].win)); /* no calibration: nobody is told */
    assert_int_equal(r->agree, 2);
    assert_int_equal(r->responses[1].prefer, 1); /* and the fourth chain sees a tie */
    NEAR(r->lead.mean, 1.25);
    NEAR(gap_error(&r->lead), sqrt((2.75 * 2.75 + 2.25 * 2.25 + 0.75 * 0.75 + 1.25 * 1.25) / 3 / 4));
    NEAR(r->settled, 3.0 / 6);
    assert_true(r->open); /* 1.25, give or take twice 1.11 */
    assert_int_equal(r->responses[0].n, 4);
    assert_true(r->responses[0].scored && !r->responses[0].reason);
    assert_int_equal(r->best, 0);
    assert_false(r->tie);
    assert_true(isnan(r->confidence) && !r->calibrated);
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
    NEAR(m.out.confidence_raw, win[2] / sum);
    assert_false(m.out.open); /* one chain has no error that more of them would make smaller */
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

/* The standard error counts what is left between chains once each says what it expects. */
static void expectations(void **state) {
    (void)state;
    made m = {.n_response = 2};
    add(&m, GIVEN, (double[]){8, 3}, (double[]){8, 3}, "a");
    expects(&m, (double[]){6.5, 5.0}, (double[]){6.25, 4.5});
    add(&m, SWAPPED, (double[]){4, 7}, (double[]){4, 7}, "b");
    expects(&m, (double[]){6.0, 5.5}, (double[]){5.25, 5.5});
    run(&m, PGR_SCORE_AUTO);
    assert_int_equal(m.out.score_used, PGR_SCORE_EXPECTED);
    NEAR(m.out.responses[0].score, 6.25);
    NEAR(m.out.responses[0].expected, 6.25);
    NEAR(m.out.responses[0].declared, 6.0);
    NEAR(m.out.responses[0].recomputed, 6.0);
    NEAR(m.out.responses[0].se, 0.25); /* sd .5 / sqrt(2) over sqrt(2); of what was drawn it is 2 */
    NEAR(m.out.flip_rate, 0.0);
    NEAR(m.out.criteria[0].scores[0], 5.75); /* what is shown is what counts */
    run(&m, PGR_SCORE_RECOMPUTED);
    NEAR(m.out.responses[0].se, 2.0);
    NEAR(m.out.flip_rate, 1.0);
    NEAR(m.out.responses[0].expected, 6.25);
    NEAR(m.out.criteria[0].scores[0], 6.0);

    add(&m, GIVEN, (double[]){5, 5}, (double[]){5, 5}, "c"); /* one chain without */
    run(&m, PGR_SCORE_AUTO);
    assert_int_equal(m.out.score_used, PGR_SCORE_RECOMPUTED);
    NEAR(m.out.responses[0].expected, 6.25);
    run(&m, PGR_SCORE_EXPECTED);
    assert_int_equal(m.out.responses[0].n, 2);

    made none = {.n_response = 2};
    add(&none, GIVEN, (double[]){5, 5}, (double[]){5, 5}, "c");
    run(&none, PGR_SCORE_EXPECTED);
    assert_int_equal(none.out.best, -1);
    assert_string_equal(none.out.responses[0].reason,
                        "the chain's scores were not drawn from distributions that are known");
    assert_true(isnan(none.out.responses[0].expected));
    arena_free(&none.a);
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
    assert_true(fabs(m.out.confidence_raw - win / (2 * win + (1 - p10) * (1 - p10))) < 1e-9); /* 1e-10 apart is a tie */
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

    o.prior = (const double[]){0.3, -0.1}; /* scores of the request that contradict it */
    run_sides(&m, &o);
    assert_true(m.out.responses[0].score == m.out.responses[1].score && m.out.tie);
    arena_free(&m.a);
    o.prior = NULL;

    made three = {.n_response = 3}; /* the middle one differs and wins: no tie, and the others stay equal */
    add(&three, GIVEN, (double[]){2, 7, 5}, NULL, "a");
    add(&three, SWAPPED, (double[]){6.3, 8, 1.1}, NULL, "b");
    o.same = (const size_t[]){0, 1, 0};
    run_sides(&three, &o);
    s = three.out.responses;
    assert_true(!three.out.tie && three.out.best == 1);
    assert_true(s[0].score == s[2].score && s[0].se == s[2].se && s[0].prefer == s[2].prefer);
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
    NEAR(r->best ? 1 - r->confidence_raw : r->confidence_raw, normal_below(mean / sqrt(v / (n + 1))));
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
    assert_int_equal(pgr_calibration_fit(PGR_VERDICT_ANSWERS, PGR_CALIBRATION_TEMPERATURE, PGR_CALIBRATION_DIFFERENCE,
                                         x, y, 4, &c, NULL),
                     PGR_OK);
    made m = {.n_response = 2};
    add(&m, GIVEN, (double[]){7, 6}, NULL, "a");
    run(&m, PGR_SCORE_AUTO);
    double raw = m.out.confidence_raw;
    assert_false(m.out.calibrated);
    aggregate_options o = {.w_ind = 1, .calibration = c};
    run_sides(&m, &o);
    NEAR(m.out.confidence, 0.75);
    NEAR(m.out.responses[1].win, 0.25);
    NEAR(m.out.confidence_raw, raw);
    assert_true(m.out.calibrated);
    arena_free(&m.a);

    made three = {.n_response = 3}; /* of three, a and b a point apart, c the text of b: wins in proportion, sum 1 */
    add(&three, GIVEN, (double[]){7, 6, 6}, NULL, "a");
    o.same = (const size_t[]){0, 1, 1};
    run_sides(&three, &o);
    const double a = 0.75 * 0.75, b = 0.25 * 0.5;
    NEAR(three.out.confidence, a / (a + 2 * b));
    NEAR(three.out.responses[2].win, b / (a + 2 * b));
    pgr_calibration_free(c);
    arena_free(&three.a);
}

/* ---- the rubric ---- */

typedef struct line { /* of a chain, in the request's order */
    const char *name;
    double weight, scores[3];
} line;

/* A chain of criterion lines (a name of NULL ends them), shown in the order; its totals are their weighted sums. */
static void add_rubric(made *m, const size_t *order, const line *lines) {
    double total[3] = {0};
    size_t i = m->n, n = 0;
    chain_criterion *list = arena_array(&m->a, CHAIN_MAX_CRITERIA, sizeof *list);
    for (; lines[n].name; n++) {
        double *scores = arena_array(&m->a, 3, sizeof *scores);
        by_place(order, lines[n].scores, m->n_response, scores);
        list[n] = (chain_criterion){.name = lines[n].name, .weight = lines[n].weight, .reason = "", .scores = scores};
        for (size_t r = 0; r < m->n_response; r++) total[r] += lines[n].weight / 100 * lines[n].scores[r];
    }
    add(m, order, total, total, "gibberish");
    m->chains[i].criteria = list;
    m->chains[i].n_criterion = n;
}

static const pgr_criterion *criterion(const pgr_result *r, const char *name) {
    for (size_t i = 0; i < r->n_criterion; i++)
        if (strcmp(r->criteria[i].name, name) == 0) return &r->criteria[i];
    fail_msg("no criterion %s", name);
    return NULL;
}

/* The weights sum to 100, the weighted scores to the totals. */
static void assert_adds_up(const pgr_result *r) {
    double weight = 0;
    for (size_t k = 0; k < r->n_criterion; k++) weight += r->criteria[k].weight;
    if (!(fabs(weight - 100) < 1e-9)) fail_msg("the weights sum to %.15g", weight);
    for (size_t i = 0; i < r->n_response; i++) {
        double sum = 0;
        for (size_t k = 0; k < r->n_criterion; k++) sum += r->criteria[k].weight / 100 * r->criteria[k].scores[i];
        NEAR(sum, r->responses[i].recomputed);
    }
}

static void criteria_of_all_chains(void **state) {
    (void)state;
    made m = {.n_response = 2};
    add_rubric(&m, GIVEN, (line[]){{"length more", 70, {8, 2}}, {"questions less", 30, {6, 4}}, {0}});
    add_rubric(&m, SWAPPED, (line[]){{"Length More", 50, {6, 4}}, {"questions more", 50, {3, 9}}, {0}});
    add_rubric(
        &m, GIVEN,
        (line[]){{"length more", 60, {7, 7}}, {"questions more", 20, {5, 5}}, {"questions less", 20, {9, 1}}, {0}});
    add_failed(&m, "no Total line");
    aggregate_options o = {.w_ind = 1, .write_persona = true, .persona_least = 10};
    run_sides(&m, &o);
    const pgr_result *r = &m.out;
    assert_int_equal(r->rubric_chains, 3);
    assert_int_equal(r->n_criterion, 3);
    assert_adds_up(r);
    NEAR(r->responses[0].score, r->responses[0].recomputed);
    assert_string_equal(r->criteria[0].name, "length more"); /* heaviest first, spelled as first seen */
    NEAR(r->criteria[0].weight, 60);
    NEAR(r->criteria[0].scores[0], (70 * 8 + 50 * 6 + 60 * 7) / 180.0);
    NEAR(r->criteria[0].share, 1);
    assert_false(r->criteria[0].contested);
    const pgr_criterion *net = criterion(r, "questions more"), *both = criterion(r, RUBRIC_BOTH);
    NEAR(net->weight, (70 - 50) / 3.0);
    NEAR(net->share, 2.0 / 3);
    NEAR(net->scores[1], (50 * 9 + 20 * 5) / 70.0);
    assert_true(net->contested && both->contested && both == &r->criteria[2]); /* last, whatever it weighs */
    NEAR(both->weight, 2 * 50 / 3.0);
    NEAR(both->share, 1);
    NEAR(both->scores[0], ((50 * 3 + 20 * 5) / 70.0 + (30 * 6 + 20 * 9) / 50.0) / 2);
    NEAR(r->contradictory, 1.0 / 3);                            /* the third names both directions */
    assert_string_equal(r->persona, "Prefers longer answers."); /* questions weigh too little, gibberish is not read */
    arena_free(&m.a);
}

static void personas_are_what_most_chains_say(void **state) {
    (void)state;
    static const struct {
        line first[3], second[3];
        const char *want;
    } CASES[] = {
        {{{"length less", 60, {8, 2}}, {"warmth more", 40, {6, 4}}, {0}},
         {{"warmth more", 80, {8, 2}}, {"length less", 20, {6, 4}}, {0}},
         "Prefers warmer, shorter answers."},
        {{{"lists more", 60, {8, 2}}, {"code less", 40, {6, 4}}, {0}},
         {{"lists more", 60, {8, 2}}, {"code less", 40, {6, 4}}, {0}},
         "Prefers answers with more lists and less code."},
        {{{"formal less", 60, {8, 2}}, {"content more", 40, {6, 4}}, {0}},
         {{"formal less", 55, {8, 2}}, {"numbers more", 45, {6, 4}}, {0}},
         "Prefers less formal answers."}, /* numbers: one of two chains; content says nothing of its own */
        {{{"length more", 100, {8, 2}}, {0}}, {{"length less", 90, {8, 2}}, {"views more", 10, {6, 4}}, {0}}, ""},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        made m = {.n_response = 2};
        add_rubric(&m, GIVEN, CASES[i].first);
        add_rubric(&m, SWAPPED, CASES[i].second);
        aggregate_options o = {.w_ind = 1, .write_persona = true, .persona_least = 10};
        run_sides(&m, &o);
        assert_string_equal(m.out.persona, CASES[i].want);
        assert_adds_up(&m.out);
        arena_free(&m.a);
    }
}

/* Both sides, neighbours of unlike weight, three responses, two of one text: the arithmetic is the totals' still. */
static void rubrics_of_two_sides(void **state) {
    (void)state;
    const double weights[] = {0.7, 0.3};
    made m = {.n_response = 3};
    add_rubric(&m, GIVEN, (line[]){{"clear", 25, {8, 2, 3}}, {"brief", 75, {6, 4, 9}}, {0}});
    add_rubric(&m, SWAPPED, (line[]){{"clear", 100, {1, 2, 3}}, {0}});
    for (size_t k = 1; k <= 2; k++) {
        add_rubric(&m, GIVEN, (line[]){{"kind more", 40, {8, 2, 3}}, {"kind less", 60, {6, 4, 9}}, {0}});
        m.list[m.n - 1].neighbour = k;
        m.list[m.n - 1].twin = 0;
    }
    aggregate_options o = {
        .w_ind = 3, .w_pro = 1, .neighbour_weights = weights, .n_neighbour = 2, .same = (const size_t[]){0, 1, 1}};
    run_sides(&m, &o);
    assert_adds_up(&m.out);
    NEAR(criterion(&m.out, "clear")->weight, 0.75 * (25 + 100) / 2);
    NEAR(criterion(&m.out, "kind less")->weight, 0.25 * 20);
    assert_string_equal(m.out.persona, "gibberish"); /* the full form's persona is the model's */
    arena_free(&m.a);
}

/* Where no chain's criteria are whole one chain's are shown as they are, and it is said. */
static void criteria_without_scores_are_one_chains(void **state) {
    (void)state;
    made m = {.n_response = 2};
    add(&m, GIVEN, (double[]){8, 4}, NULL, "a");
    add(&m, SWAPPED, (double[]){7, 4}, NULL, "b");
    run(&m, PGR_SCORE_AUTO);
    assert_int_equal(m.out.rubric_chains, 0);
    assert_int_equal(m.out.n_criterion, 1);
    assert_true(isnan(m.out.criteria[0].share) && !m.out.criteria[0].contested);
    arena_free(&m.a);
}

/* ---- open verdicts ---- */

static void more_chains_would_tell(void **state) {
    (void)state;
    static const struct {
        double scores[4][2];
        bool same, open;
    } CASES[] = {
        {{{6, 5}, {5, 6}, {7, 5}, {5, 5}}, false, true},  /* half a point, give or take */
        {{{8, 5}, {7, 5}, {8, 6}, {7, 4}}, false, false}, /* clear */
        {{{5, 5}, {6, 6}, {5, 5}, {7, 7}}, false, false}, /* the chains agree on a tie: more of them will */
        {{{6, 5}, {5, 6}, {6, 5}, {5, 6}}, false, true},  /* a tie by chance */
        {{{6, 5}, {6, 5}, {6, 5}, {6, 5}}, false, false}, /* no spread at all */
        {{{6, 5}, {5, 6}, {7, 5}, {5, 5}}, true, false},  /* one text twice */
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        made m = {.n_response = 2};
        for (size_t k = 0; k < 4; k++) add(&m, k % 2 ? SWAPPED : GIVEN, CASES[i].scores[k], NULL, "p");
        const size_t same[2] = {0, CASES[i].same ? 0 : 1};
        aggregate_options o = {.w_ind = 1, .same = same};
        run_sides(&m, &o);
        if (m.out.open != CASES[i].open) fail_msg("case %zu: open is %d", i, m.out.open);
        arena_free(&m.a);
    }
    /* A prior that says that requests hardly differ: no number of chains makes this verdict sure. */
    static const char *const MAPS[] = {
        "{\"method\":\"temperature\",\"input\":\"shrunk\",\"n\":500,\"between\":0.01,\"within\":2,\"temperature\":1}",
        "{\"method\":\"temperature\",\"input\":\"shrunk\",\"n\":500,\"between\":9,\"within\":2,\"temperature\":1}"};
    for (size_t i = 0; i < 2; i++) {
        pgr_calibration *c = NULL;
        assert_int_equal(calibration_parse(MAPS[i], strlen(MAPS[i]), "c", &c, NULL), PGR_OK);
        made m = {.n_response = 2};
        for (size_t k = 0; k < 4; k++) add(&m, k % 2 ? SWAPPED : GIVEN, CASES[0].scores[k], NULL, "p");
        aggregate_options o = {.w_ind = 1, .calibration = c};
        run_sides(&m, &o);
        assert_int_equal(m.out.open, i);
        assert_true(m.out.calibrated && m.out.confidence < 0.8 && m.out.settled == m.out.confidence);
        pgr_calibration_free(c);
        arena_free(&m.a);
    }
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
        cmocka_unit_test(expectations),
        cmocka_unit_test(ties),
        cmocka_unit_test(the_same_text_has_one_score),
        cmocka_unit_test(flips_need_two_orders),
        cmocka_unit_test(no_chain_no_score),
        cmocka_unit_test(two_sides),
        cmocka_unit_test(a_side_without_chains_leaves_its_weight),
        cmocka_unit_test(calibrated_wins),
        cmocka_unit_test(criteria_of_all_chains),
        cmocka_unit_test(personas_are_what_most_chains_say),
        cmocka_unit_test(rubrics_of_two_sides),
        cmocka_unit_test(criteria_without_scores_are_one_chains),
        cmocka_unit_test(more_chains_would_tell),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
