/* test_slots_chain.c - the chains that the program writes from what was read at slots: the whole distribution, draws
 * from it, what similar people say, and the text, which is read as it was written. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "judge/slots_chain.h"

#include <cmocka.h>

enum { N_RESPONSE = 3 };

/* A taste with a heavy word, its opposite and some more; three responses. */
typedef struct made_case {
    double taste[N_TASTE], quality[N_RESPONSE], levels[N_RESPONSE * N_FACT];
    const char *evidence[N_TASTE];
    slots_weights weights;
    slots_case c;
} made_case;

static const size_t ORDER[] = {2, 0, 1};

static void make_case(made_case *m) {
    *m = (made_case){.quality = {4, 6.5, 3}, .weights = {.a = 1, .b = 1}};
    double left = 1;
    for (int w = 0; w < N_TASTE; w++) {
        m->evidence[w] = "";
        m->taste[w] = w == 0 ? 0.4 : w == 1 ? 0.1 : 0.5 / (N_TASTE - 2) * (1 + (w % 3 - 1) * 0.9);
        left -= m->taste[w];
    }
    m->taste[2] += left;
    for (int i = 0; i < N_RESPONSE * N_FACT; i++) m->levels[i] = (i * 7 + i / 5) % 7 - 3;
    m->c = (slots_case){.n_response = N_RESPONSE,
                        .order = ORDER,
                        .taste = m->taste,
                        .quality = m->quality,
                        .levels = m->levels,
                        .weights = &m->weights,
                        .evidence = m->evidence,
                        .people = "",
                        .seed = 5};
}

static void the_whole_distribution_is_expected(void **state) {
    (void)state;
    made_case m;
    arena a = {0};
    chain k;
    const char *text;
    make_case(&m);
    assert_int_equal(slots_chain(&m.c, &a, &k, &text, NULL), PGR_OK);
    double weight = 0, mean = (4 + 6.5 + 3) / 3;
    for (size_t i = 0; i < k.n_whole; i++) weight += k.whole[i].weight;
    assert_true(fabs(weight - 100) < 1e-9);
    for (size_t p = 0; p < N_RESPONSE; p++) { /* 5.5 + k (a taste + b quality), k = 1.5 / (a + 1.5 b) */
        double taste = 0;
        for (int f = 0; f < N_FACT; f++)
            taste += (m.taste[2 * f] - m.taste[2 * f + 1]) * m.levels[ORDER[p] * N_FACT + (size_t)f];
        double want = 5.5 + 1.5 / 2.5 * (taste + (m.quality[p] - mean));
        if (fabs(k.expected[p] - want) > 1e-9) fail_msg("place %zu: %g, expected %g", p, k.expected[p], want);
    }
    arena_free(&a);
}

/* 4,000 chains: the mean of what is drawn is what is expected, within 4 standard errors found from the chains; every
 * chain's weights sum to 100 and its words are different ones. */
static void draws_have_the_expectation_as_their_limit(void **state) {
    (void)state;
    enum { N = 4000 };
    made_case m;
    make_case(&m);
    double sum[N_RESPONSE] = {0}, squares[N_RESPONSE] = {0}, want[N_RESPONSE] = {0};
    size_t lengths[SLOTS_MOST + 1] = {0};
    for (uint32_t i = 0; i < N; i++) {
        arena a = {0};
        chain k;
        const char *text;
        m.c.sample = i;
        assert_int_equal(slots_chain(&m.c, &a, &k, &text, NULL), PGR_OK);
        assert_true(k.parsed && fabs(k.weight_sum - 100) < 1e-9);
        lengths[k.n_criterion - 1]++;
        for (size_t x = 0; x < k.n_criterion; x++)
            for (size_t y = 0; y < x; y++) assert_string_not_equal(k.criteria[x].name, k.criteria[y].name);
        for (size_t p = 0; p < N_RESPONSE; p++) {
            sum[p] += k.recomputed[p];
            squares[p] += k.recomputed[p] * k.recomputed[p];
            want[p] = k.expected[p];
            assert_true(fabs(k.declared[p] - k.recomputed[p]) <= 0.05 + 1e-9);
        }
        arena_free(&a);
    }
    for (size_t n = SLOTS_LEAST; n <= SLOTS_MOST; n++) assert_true(lengths[n] > N / 4 && lengths[n] < N / 2);
    for (size_t p = 0; p < N_RESPONSE; p++) {
        double mean = sum[p] / N, error = sqrt((squares[p] / N - mean * mean) / N);
        assert_true(error > 0);
        if (fabs(mean - want[p]) > 4 * error) fail_msg("place %zu: %g, expected %g (%g)", p, mean, want[p], error);
    }
}

static void drawn_weights(void **state) {
    (void)state;
    static const double p[] = {0.5, 0.3, 0.1};
    double w[3];
    slots_draw_weights(p, 3, w);
    assert_true(fabs(w[0] - (1 + 2 * 0.5) / 3) < 1e-12);
    assert_true(fabs(w[1] - (0.5 + 0.3) / 3) < 1e-12);
    assert_true(fabs(w[2] - 0.2 / 3) < 1e-12);
    assert_true(fabs(w[0] + w[1] + w[2] - 1) < 1e-12);
}

/* What people read is what the parser reads, to its one decimal. */
static void the_text_is_a_chain(void **state) {
    (void)state;
    made_case m;
    make_case(&m);
    m.c.people = "6 of 8 similar people who know the text chose A";
    m.evidence[0] = "as in choice 3: \"A: 7 / 8\" over \"B 2, for A\"";
    for (uint32_t i = 0; i < 50; i++) {
        arena a = {0};
        chain k, read;
        const char *text;
        m.c.sample = i;
        assert_int_equal(slots_chain(&m.c, &a, &k, &text, NULL), PGR_OK);
        assert_int_equal(chain_parse(CHAIN_SLOTS, text, strlen(text), N_RESPONSE, &a, &read, NULL), PGR_OK);
        if (!read.parsed) fail_msg("%s\n%s", read.reason, text);
        assert_int_equal(read.n_criterion, k.n_criterion);
        for (size_t x = 0; x < k.n_criterion; x++) {
            assert_string_equal(read.criteria[x].name, k.criteria[x].name);
            assert_true(fabs(read.criteria[x].weight - k.criteria[x].weight) < 0.3); /* sums of rounded ones */
            for (size_t p = 0; p < N_RESPONSE; p++)
                assert_true(fabs(read.criteria[x].scores[p] - k.criteria[x].scores[p]) < 0.051);
        }
        for (size_t p = 0; p < N_RESPONSE; p++) {
            assert_true(fabs(read.declared[p] - k.declared[p]) < 1e-9);
            assert_true(fabs(read.recomputed[p] - k.recomputed[p]) < 0.1);
        }
        assert_string_equal(read.persona, k.persona);
        arena_free(&a);
    }
}

/* Of statements what similar people say is a criterion of its own, three quarters of what is no taste; a text that they
 * do not know is in the middle. */
static void what_similar_people_say_is_scored(void **state) {
    (void)state;
    static const double shares[] = {.9, .5, .001};
    made_case m;
    arena a = {0};
    chain k, read;
    const char *text;
    make_case(&m);
    m.weights.a = 0;
    m.c.views = true, m.c.people = "similar people: 90 % are for A", m.c.shares = shares;
    assert_int_equal(slots_chain(&m.c, &a, &k, &text, NULL), PGR_OK);
    assert_int_equal(k.n_whole, 2);
    assert_int_equal(k.n_criterion, 2);
    assert_string_equal(k.whole[0].name, "similar people");
    assert_string_equal(k.whole[0].reason, m.c.people);
    assert_string_equal(k.whole[1].name, "views");
    assert_string_equal(k.whole[1].reason, "");
    assert_true(fabs(k.whole[0].weight - 75) < 1e-9 && fabs(k.whole[1].weight - 25) < 1e-9);
    double want[] = {5.5 + 1.5 * log(9), 5.5, 1}, mean = (4 + 6.5 + 3) / 3;
    for (size_t p = 0; p < N_RESPONSE; p++) {
        assert_true(fabs(k.whole[0].scores[p] - want[p]) < 1e-9);
        assert_true(fabs(k.expected[p] - .75 * want[p] - .25 * (5.5 + m.quality[p] - mean)) < 1e-9);
    }
    assert_int_equal(chain_parse(CHAIN_SLOTS, text, strlen(text), N_RESPONSE, &a, &read, NULL), PGR_OK);
    assert_true(read.parsed && read.n_criterion == 2);
    assert_non_null(
        strstr(text, "- similar people | 75.0% | A 8.8, B 5.5, C 1.0\n    similar people: 90 % are for A\n"));
    arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_distribution_is_expected),
        cmocka_unit_test(draws_have_the_expectation_as_their_limit),
        cmocka_unit_test(drawn_weights),
        cmocka_unit_test(what_similar_people_say_is_scored),
        cmocka_unit_test(the_text_is_a_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
