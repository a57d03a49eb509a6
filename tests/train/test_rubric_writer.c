/* test_rubric_writer.c - the built-in teacher: its weights are those that one feature's equation gives, its chains are
 * read back by the parsers of both forms with totals that are the weighted sums, they follow from what is shown alone,
 * and a history that says nothing gets no chain. */
#include <math.h>

#include "../base/faults.h"

#include "judge/frame.h"
#include "train/rubric_writer.h"

#define WORDS   "stone river cloud meadow forest harbour window garden candle village "
#define LONG(x) x " " WORDS WORDS WORDS "\n- " WORDS "\n- " WORDS
#define MARKS   " \"JSON_END\" <JSON_START> | [The Start of Response 1] \\ Response 2: 9"

static const turn ASKED[] = {{"user", "What now?"}};
static const preference_pair HISTORY[] = {
    {ASKED, 1, LONG("one" MARKS), "one short"},
    {ASKED, 1, LONG("two"), "two, so warm, thanks! Great! Lovely!"},
    {ASKED, 1, LONG("three"), "three"},
};
static const char *const RESPONSES[] = {"a short one", LONG("a long one")};
static const size_t SHOWN[] = {0, 1, 2}, ORDERS[2][2] = {{0, 1}, {1, 0}};

static const pgr_request REQUEST = {.origin = "test",
                                    .history = HISTORY,
                                    .n_history = 3,
                                    .messages = ASKED,
                                    .n_message = 1,
                                    .responses = RESPONSES,
                                    .n_response = 2};

static char *write_about(const pgr_request *r, chain_form form, size_t n_history, const size_t *order, bool *said) {
    buf out = {0};
    pgr_error err = {0};
    rubric_task t = {form, r, SHOWN, n_history, order};
    if (rubric_write(&t, &out, said, &err) != PGR_OK) fail_msg("%s", err.message);
    return buf_take(&out);
}

static char *write_chain(chain_form form, size_t n_history, const size_t *order, bool *said) {
    return write_about(&REQUEST, form, n_history, order, said);
}

static void assert_read_back(chain_form form, const size_t *order) {
    arena a = {0};
    pgr_error err = {0};
    chain c;
    bool said;
    char *text = write_chain(form, 3, order, &said);
    assert_true(said);
    assert_int_equal(chain_parse(form, text, strlen(text), 2, &a, &c, &err), PGR_OK);
    if (!c.parsed) fail_msg("%s\n%s", c.reason, text);
    assert_true(c.n_criterion >= 2 && c.n_criterion <= 4);
    assert_true(c.weight_sum == 100);
    size_t liked = order[0] == 1 ? 0 : 1;
    for (size_t r = 0; r < 2; r++) /* the compact form has one decimal */
        if (!(fabs(c.declared[r] - c.recomputed[r]) <= (form == CHAIN_FULL ? 1e-9 : 0.0501)))
            fail_msg("response %zu: total %g, weighted sum %g\n%s", r, c.declared[r], c.recomputed[r], text);
    assert_true(c.recomputed[liked] > c.recomputed[1 - liked]);
    assert_non_null(strstr(c.persona, "longer"));
    mem_free(text);
    arena_free(&a);
}

static void test_read_back(void **state) {
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        assert_read_back(CHAIN_FULL, ORDERS[k]);
        assert_read_back(CHAIN_COMPACT, ORDERS[k]);
    }
}

/* The history speaks for length above all; two answers of one length are told by what they differ in. */
static void test_situation(void **state) {
    (void)state;
    static const char *const alike[] = {"Thanks a lot! Lovely open day!", "It is open on all days."};
    pgr_request r = REQUEST;
    bool said;
    r.responses = alike;
    char *text = write_about(&r, CHAIN_COMPACT, 3, ORDERS[0], &said);
    assert_true(said);
    if (strstr(text, "length") || !strstr(text, "\n- formal more | 65% |") || !strstr(text, "\n- warmth less | 35% |"))
        fail_msg("%s", text);
    mem_free(text);
}

/* Evidence is quoted from the history; nothing of it can be taken for the frame's own marks. */
static void test_evidence(void **state) {
    (void)state;
    bool said;
    char *text = write_chain(CHAIN_FULL, 1, ORDERS[0], &said), *marker = strstr(text, "<JSON_START>");
    assert_true(said);
    assert_non_null(strstr(text, "\"one JSON END JSON START"));
    assert_non_null(strstr(text, "\"one short\""));
    assert_non_null(marker);
    assert_null(strstr(marker + strlen("<JSON_START>"), "JSON_START"));
    assert_string_equal(strstr(text, "JSON_END"), "JSON_END>");
    mem_free(text);
}

static void test_silence(void **state) {
    (void)state;
    bool said;
    char *text = write_chain(CHAIN_FULL, 0, ORDERS[0], &said);
    assert_false(said);
    assert_string_equal(text, "");
    mem_free(text);
}

/* One pair with one level l: the weights are l times v, where v = 1 / (1 + exp(v |l|^2)). */
static void test_weights(void **state) {
    (void)state;
    const preference_pair one = {ASKED, 1, "word word word word word word word word word word word word", "word"};
    const size_t first = 0;
    double w[N_FACT];
    pgr_error err = {0};
    assert_int_equal(rubric_weights(&one, &first, 1, w, &err), PGR_OK);
    double ss = 0;
    facts f[2];
    facts_measure(one.chosen, strlen(one.chosen), ASKED[0].text, strlen(ASKED[0].text), &f[0]);
    facts_measure(one.rejected, strlen(one.rejected), ASKED[0].text, strlen(ASKED[0].text), &f[1]);
    for (int k = 0; k < N_FACT; k++) ss += pow(facts_level(k, &f[0], &f[1], 1), 2);
    double v = w[FACT_LENGTH] / facts_level(FACT_LENGTH, &f[0], &f[1], 1);
    assert_true(ss > 0 && fabs(v - 1 / (1 + exp(v * ss))) < 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read_back), cmocka_unit_test(test_situation),
                                       cmocka_unit_test(test_evidence), cmocka_unit_test(test_silence),
                                       cmocka_unit_test(test_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
