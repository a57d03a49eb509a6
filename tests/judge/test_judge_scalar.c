/* test_judge_scalar.c - a reward model beside the chains: its scores are shown, a weight moves every total by exactly
 * what is said, and nothing else moves. */
#include <math.h>

#include "tiny_engine.h"

#define SCALAR_MODEL PGR_SOURCE_DIR "/tests/golden/hf-tiny-scalar-qwen2"
#define ASKED                                                                                                          \
    "\"user\": {\"id\": \"u1\", \"history\": [{\"query\": \"How do I boil rice?\", \"chosen\": \"Ten minutes.\", "     \
    "\"rejected\": \"Rice is a grain.\"}]}, \"query\": \"Where is Oslo?\", "
#define PLAIN "{" ASKED "\"responses\": [\"In Norway.\", \"North.\", \"In Norway.\"]}"
#define GIVEN "{" ASKED "\"responses\": [\"In Norway.\", \"North.\"], \"scalar\": [-1, 2.5]}"

static pgr_scalar *SCALAR;

static int setup(void **state) {
    pgr_model_options o = pgr_model_options_default();
    o.n_thread = 1;
    if (pgr_scalar_open(SCALAR_MODEL, &o, &SCALAR, NULL) != PGR_OK) return -1;
    return tiny_begin(state);
}

static int teardown(void **state) {
    pgr_scalar_close(SCALAR);
    return tiny_end(state);
}

static pgr_judge_options options(double weight) {
    pgr_judge_options o = pgr_judge_options_default();
    o.ind = 4;
    o.frame = MINI;
    o.scalar = SCALAR;
    o.scalar_weight = weight;
    return o;
}

static pgr_result *judge(const char *text, const pgr_judge_options *o) {
    pgr_request *r = parse(text);
    pgr_result *result = NULL;
    pgr_error err = {0};
    if (pgr_judge(ENGINE, r, o, &result, &err) != PGR_OK) fail_msg("%s", err.message);
    pgr_request_free(r);
    return result;
}

static void assert_near(double a, double b) {
    if (!(fabs(a - b) <= 1e-9)) fail_msg("%.17g, expected %.17g", a, b);
}

/* Weight 0: shown, and the verdict is that without a reward model. */
static void it_is_shown_beside_the_verdict(void **state) {
    (void)state;
    static const char *const responses[] = {"In Norway.", "North.", "In Norway."};
    const pgr_message question = {"user", "Where is Oslo?"};
    pgr_judge_options with = options(0), without = with;
    without.scalar = NULL;
    pgr_result *a = judge(PLAIN, &with), *b = judge(PLAIN, &without);
    assert_string_equal(a->scalar_model, "hf-tiny-scalar-qwen2");
    assert_true(a->scalar_weight == 0 && b->scalar_model == NULL);
    for (size_t i = 0; i < 3; i++) {
        const pgr_scalar_input in = {&question, 1, responses[i]};
        float score;
        assert_int_equal(pgr_scalar_score(SCALAR, &in, 1, NULL, &score, NULL, NULL), PGR_OK);
        assert_true(a->responses[i].scalar == (double)score && a->responses[i].prior == 0);
        assert_true(isnan(b->responses[i].scalar) && b->responses[i].prior == 0);
        assert_true(a->responses[i].score == b->responses[i].score);
    }
    assert_true(a->best == b->best && a->n_response == 3);
    pgr_result_free(a);
    pgr_result_free(b);
}

/* Every total moves by weight x (its score - the mean of the scores); what chains wrote and how they spread stays. */
static void a_weight_moves_the_totals(void **state) {
    (void)state;
    pgr_judge_options with = options(0.75), without = options(0);
    pgr_result *a = judge(PLAIN, &with), *b = judge(PLAIN, &without);
    double mean = 0, sum = 0;
    for (size_t i = 0; i < 3; i++) mean += a->responses[i].scalar / 3;
    for (size_t i = 0; i < 3; i++) {
        const pgr_response_score *p = &a->responses[i], *q = &b->responses[i];
        assert_near(p->prior, 0.75 * (p->scalar - mean));
        assert_near(p->score, q->score + p->prior);
        assert_near(p->ind, q->ind + p->prior);
        assert_near(p->se, q->se);
        assert_true(p->declared == q->declared || (isnan(p->declared) && isnan(q->declared)));
        assert_true(p->recomputed == q->recomputed || (isnan(p->recomputed) && isnan(q->recomputed)));
        sum += p->prior;
    }
    assert_near(sum, 0);
    assert_true(a->scalar_weight == 0.75);
    /* the same text: the same score, to the bit */
    assert_true(a->responses[0].score == a->responses[2].score && a->responses[0].scalar == a->responses[2].scalar);
    pgr_result_free(a);
    pgr_result_free(b);
}

/* A weight that outweighs ten points decides alone, in whatever direction. */
static void the_requests_own_scores_go_first(void **state) {
    (void)state;
    pgr_judge_options o = options(100);
    pgr_result *r = judge(GIVEN, &o);
    assert_string_equal(r->scalar_model, ""); /* no model was asked */
    assert_true(r->responses[0].scalar == -1 && r->responses[1].scalar == 2.5);
    assert_near(r->responses[1].prior, 175);
    assert_int_equal(r->best, 1);
    pgr_result_free(r);
    o.scalar = NULL;
    r = judge(GIVEN, &o);
    assert_int_equal(r->best, 1);
    char *json = NULL;
    assert_int_equal(pgr_result_json(r, &json, NULL), PGR_OK);
    assert_non_null(strstr(json, "\"scalar\":-1,\"prior\":-175,"));
    assert_non_null(strstr(json, "\"scalar\":{\"model\":null,\"weight\":100}"));
    pgr_free(json);
    pgr_result_free(r);
}

/* One response beyond the reward model's 1024 positions: its score is not there, and no prior is made of the others. */
static void without_all_scores_there_is_no_prior(void **state) {
    (void)state;
    buf text = {0};
    buf_puts(&text, "{" ASKED "\"responses\": [\"In Norway.\", \"North");
    for (size_t i = 0; i < 1200; i++) buf_puts(&text, " 1");
    buf_puts(&text, "\"]}");
    pgr_judge_options o = options(1);
    pgr_result *r = judge(text.data, &o);
    assert_true(isfinite(r->responses[0].scalar) && isnan(r->responses[1].scalar));
    assert_true(r->responses[0].prior == 0 && r->responses[1].prior == 0 && r->scalar_weight == 0);
    pgr_result_free(r);
    buf_free(&text);
}

static void wrong_scores_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *scalar, *message;
    } cases[] = {
        {"[1]", "scalar: found 1 numbers, expected one per response: 2"},
        {"1", "scalar: found an integer, expected an array"},
        {"[1, \"x\"]", "scalar[1]: found a string, expected a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        pgr_request *r;
        pgr_error err;
        snprintf(text, sizeof text, "{\"query\": \"q\", \"responses\": [\"a\", \"b\"], \"scalar\": %s}",
                 cases[i].scalar);
        assert_int_equal(pgr_request_parse(text, strlen(text), "r", &r, &err), PGR_E_FORMAT);
        if (!strstr(err.message, cases[i].message)) fail_msg("%s", err.message);
    }
    pgr_judge_options o = options(-1);
    pgr_request *r = parse(GIVEN);
    pgr_result *result;
    pgr_error err;
    assert_int_equal(pgr_judge(ENGINE, r, &o, &result, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "scalar"));
    pgr_request_free(r);
}

static pgr_request *FAULTY;

static bool judge_faulty(void) {
    pgr_judge_options o = options(1);
    pgr_result *r = NULL;
    pgr_engine *e = NULL;
    o.ind = 1;
    bool worked = pgr_engine_create(MODEL, NULL, &e, NULL) == PGR_OK && pgr_judge(e, FAULTY, &o, &r, NULL) == PGR_OK;
    pgr_result_free(r);
    pgr_engine_free(e);
    return worked;
}

static void out_of_memory(void **state) {
    (void)state;
    FAULTY = parse(PLAIN);
    assert_true(judge_faulty());
    assert_true(fail_allocations(judge_faulty, 100) > 100);
    pgr_request_free(FAULTY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_shown_beside_the_verdict),   cmocka_unit_test(a_weight_moves_the_totals),
        cmocka_unit_test(the_requests_own_scores_go_first), cmocka_unit_test(without_all_scores_there_is_no_prior),
        cmocka_unit_test(wrong_scores_are_refused),         cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
