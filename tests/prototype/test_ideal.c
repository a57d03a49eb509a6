/* test_ideal.c - people in camps who agree with what their camp does: votes that were not seen are foretold, by a model
 * that popularity alone could not be; what a newcomer, a vote less and a file's numbers do to it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "prototype/ideal.h"

#include <cmocka.h>

enum { PEOPLE = 120, STATEMENTS = 60, MOST = PEOPLE * STATEMENTS };

/* A world of the model's own kind: one dimension that divides people, popularity, and luck. */
typedef struct world {
    double stands[PEOPLE], popular[STATEMENTS], divides[STATEMENTS];
    ideal_vote votes[MOST], held[MOST];
    size_t n, n_held;
} world;

static double truth(const world *w, size_t u, size_t s) {
    return 1 / (1 + exp(-w->popular[s] - w->divides[s] * w->stands[u]));
}

static const world *make(void) {
    static world w;
    rng r = {3, 0, 0};
    w.n = w.n_held = 0;
    for (size_t u = 0; u < PEOPLE; u++) w.stands[u] = rng_normal(&r);
    for (size_t s = 0; s < STATEMENTS; s++) {
        w.popular[s] = rng_normal(&r);
        w.divides[s] = 2 * rng_normal(&r);
    }
    for (uint32_t u = 0; u < PEOPLE; u++)
        for (uint32_t s = 0; s < STATEMENTS; s++) {
            double seen = rng_next(&r);
            ideal_vote v = {u, s, rng_next(&r) < truth(&w, u, s)};
            if (seen < .3) w.votes[w.n++] = v;
            if (seen > .9) w.held[w.n_held++] = v;
        }
    return &w;
}

static ideal fit(const ideal_vote *votes, size_t n) {
    ideal m;
    pgr_error err;
    if (ideal_fit(votes, n, PEOPLE, STATEMENTS, NULL, &m, &err) != PGR_OK) fail_msg("%s", err.message);
    return m;
}

/* Mean log loss of the held votes. */
static double loss(const ideal_vote *held, size_t n, double (*p)(const void *, size_t, size_t), const void *ctx) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double q = p(ctx, held[i].who, held[i].what);
        assert_true(q > 0 && q < 1);
        sum -= log(held[i].agrees ? q : 1 - q);
    }
    return sum / (double)n;
}

static double of_model(const void *m, size_t u, size_t s) {
    const ideal *x = m;
    return ideal_expect(&x->who[u], &x->what[s]);
}

static double of_truth(const void *w, size_t u, size_t s) {
    return truth(w, u, s);
}

/* The best that can be said of a statement without the person: the mean over the people. */
static double of_popularity(const void *w, size_t u, size_t s) {
    double sum = 0;
    (void)u;
    for (size_t v = 0; v < PEOPLE; v++) sum += truth(w, v, s) / PEOPLE;
    return sum;
}

static void votes_not_seen_are_foretold(void **state) {
    (void)state;
    const world *w = make();
    ideal m = fit(w->votes, w->n), again = fit(w->votes, w->n);
    double model = loss(w->held, w->n_held, of_model, &m), best = loss(w->held, w->n_held, of_truth, w),
           popular = loss(w->held, w->n_held, of_popularity, w);
    /* 18 votes of a person and 36 on a statement close more than half of the way from popularity to the truth */
    assert_true(popular - best > .1);
    assert_true(model < best + .5 * (popular - best));
    assert_memory_equal(m.what, again.what, STATEMENTS * sizeof *m.what);
    ideal_free(&m);
    ideal_free(&again);
}

static void what_is_not_known_is_the_prior(void **state) {
    (void)state;
    ideal_vote votes[40];
    for (uint32_t i = 0; i < 40; i++) votes[i] = (ideal_vote){i, 0, i < 30};
    ideal m = fit(votes, 40);
    assert_true(ideal_expect(&m.who[50], &m.what[7]) == .5); /* nobody, nothing */
    double popular = ideal_expect(&m.who[50], &m.what[0]);
    assert_true(popular > .68 && popular < .78); /* .75, and a little nearer to a half */
    assert_true(m.who[50].mean[0] == 1 && m.who[50].mean[1] == 0);
    ideal_free(&m);
    m = fit(NULL, 0);
    assert_true(ideal_expect(&m.who[0], &m.what[0]) == .5);
    ideal_free(&m);
    ideal_free(&m); /* all zero is fine */
}

/* A member placed from nothing by his votes stands where the fit has him. */
static void a_newcomer_is_placed_as_a_member(void **state) {
    (void)state;
    const world *w = make();
    ideal m = fit(w->votes, w->n);
    for (size_t u = 0; u < 10; u++) {
        ideal_point known[STATEMENTS];
        bool agrees[STATEMENTS];
        size_t n = 0;
        for (size_t i = 0; i < w->n; i++)
            if (w->votes[i].who == u) known[n] = m.what[w->votes[i].what], agrees[n++] = w->votes[i].agrees;
        ideal_point p = ideal_place(known, agrees, n);
        for (size_t s = 0; s < STATEMENTS; s++)
            assert_true(fabs(ideal_expect(&p, &m.what[s]) - ideal_expect(&m.who[u], &m.what[s])) < .01);
    }
    ideal_free(&m);
}

/* Taking a vote out is about what fitting without it gives, and nearer to that than leaving it in. */
static void a_vote_is_taken_out(void **state) {
    (void)state;
    const world *w = make();
    ideal m = fit(w->votes, w->n);
    double left_in = 0, taken_out = 0;
    for (size_t i = 0; i < w->n; i += w->n / 12) {
        static ideal_vote others[MOST];
        size_t n = 0, s = w->votes[i].what;
        for (size_t k = 0; k < w->n; k++)
            if (k != i) others[n++] = w->votes[k];
        ideal without = fit(others, n);
        ideal_point out = ideal_without(&m.what[s], &m.who[w->votes[i].who], w->votes[i].agrees);
        for (size_t u = 0; u < PEOPLE; u++) {
            double want = ideal_expect(&without.who[u], &without.what[s]);
            left_in += fabs(ideal_expect(&m.who[u], &m.what[s]) - want);
            taken_out += fabs(ideal_expect(&m.who[u], &out) - want);
        }
        ideal_free(&without);
    }
    assert_true(taken_out < .6 * left_in);
    ideal_free(&m);
    ideal_vote one = {0, 0, true};
    m = fit(&one, 1);
    ideal_point out = ideal_without(&m.what[0], &m.who[0], true), prior = ideal_statement();
    for (size_t i = 0; i < IDEAL_SIZE; i++) assert_true(fabs(out.mean[i] - prior.mean[i]) < 1e-9);
    out = ideal_without(&prior, &m.who[0], true); /* a vote that was not among them */
    assert_memory_equal(&out, &prior, sizeof out);
    ideal_free(&m);
}

static void numbers_of_a_file(void **state) {
    (void)state;
    const world *w = make();
    ideal m = fit(w->votes, w->n);
    float packed[IDEAL_PACKED];
    ideal_point p;
    ideal_pack(&m.what[3], packed);
    assert_true(ideal_unpack(packed, &p));
    for (size_t i = 0; i < IDEAL_SIZE; i++) assert_true(fabs(p.mean[i] - m.what[3].mean[i]) < 1e-6);
    for (size_t i = 0; i < IDEAL_SQUARE; i++) assert_true(fabs(p.square[i] - m.what[3].square[i]) < 1e-5);
    packed[1] = NAN;
    assert_false(ideal_unpack(packed, &p));
    packed[1] = 0, packed[IDEAL_SIZE] = 0; /* the first variance */
    assert_false(ideal_unpack(packed, &p));
    packed[IDEAL_SIZE] = INFINITY;
    assert_false(ideal_unpack(packed, &p));
    ideal_free(&m);
}

static void a_fit_is_stopped_and_frees(void **state) {
    (void)state;
    const world *w = make();
    ideal m;
    pgr_cancel cancel = 1;
    pgr_watch watch = {.cancel = &cancel};
    long live = mem_live();
    assert_int_equal(ideal_fit(w->votes, w->n, PEOPLE, STATEMENTS, &watch, &m, NULL), PGR_E_CANCELLED);
    assert_null(m.who);
    for (long nth = 1; nth <= 4; nth++) {
        mem_fail_nth(nth);
        assert_int_equal(ideal_fit(w->votes, w->n, PEOPLE, STATEMENTS, NULL, &m, NULL), PGR_E_MEM);
        mem_fail_nth(0);
        assert_null(m.who);
    }
    assert_int_equal(mem_live(), live);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(votes_not_seen_are_foretold),
                                       cmocka_unit_test(what_is_not_known_is_the_prior),
                                       cmocka_unit_test(a_newcomer_is_placed_as_a_member),
                                       cmocka_unit_test(a_vote_is_taken_out),
                                       cmocka_unit_test(numbers_of_a_file),
                                       cmocka_unit_test(a_fit_is_stopped_and_frees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
