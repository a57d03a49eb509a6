/* test_kinds.c - what a verdict stands on, answers or views, is one thing for all chains of a request, and only a map
 * of its own kind makes it a probability. On a tiny random model: what it says is nonsense, who may say it is not. */
#include <math.h>

#include "judge/judge.h"
#include "tiny_engine.h"

#define PAIR "{\"query\": \"Parks?\", \"chosen\": \"Ban dogs from all parks.\", \"rejected\": \"Let dogs run free.\"}"
#define TREE "{\"query\": \"Name a tree\", \"chosen\": \"Oak.\", \"rejected\": \"Pine, birch or elm.\"}"
#define ASK(history)                                                                                                   \
    "{\"id\": \"r\", \"user\": {\"id\": \"u\", \"history\": [" history "]}, \"query\": \"Parks?\", \"responses\": "    \
    "[\"Dogs foul every park.\", \"A park needs dogs.\"]}"
#define TEN "one two three four five six seven eight nine ten "

static pgr_request *statements(void) {
    return parse(ASK(TREE ", " PAIR));
}

/* The same user and question; the texts are too long for statements. */
static pgr_request *answers(void) {
    static const char *const long_texts[] = {TEN TEN TEN TEN "dogs", TEN TEN TEN TEN "parks and more"};
    pgr_request *r = statements();
    r->responses = (const char **)(uintptr_t)long_texts;
    return r;
}

static pgr_judge_options options(int ind, int pro) {
    pgr_judge_options o = pgr_judge_options_default();
    o.ind = ind;
    o.pro = pro;
    o.keep_chains = true;
    o.frame = "compact";
    return o;
}

/* ---- similar users ---- */

static const turn PARKS = {"user", "Parks?"}, TREES = {"user", "Name a tree"};
static const preference_pair OTHERS[] = {{&TREES, 1, "Oak.", "Pine, birch or elm."}},
                             BEARS[] = {{&PARKS, 1, "Ban bears from all parks.", "Let dogs be."}},
                             SAME[] = {{&PARKS, 1, "A park needs dogs.", "No."}};
static const neighbour NOBODY[] = {{"anna", 0.9, OTHERS, NULL, 1}, {"bert", 0.5, OTHERS, NULL, 1}},
                       LIKE[] = {{"anna", 0.9, BEARS, NULL, 1}, {"bert", 0.5, OTHERS, NULL, 1}},
                       VERY[] = {{"anna", 0.9, SAME, NULL, 1}, {"bert", 0.5, OTHERS, NULL, 1}};

static pgr_status neighbours(void *ctx, const pgr_request *r, size_t n, arena *a, neighbourhood *out, pgr_error *err) {
    (void)r, (void)err;
    out->list = arena_array(a, 2, sizeof *out->list);
    if (!out->list) return PGR_E_MEM;
    out->n = n < 2 ? n : 2;
    memcpy(out->list, ctx, out->n * sizeof *out->list);
    out->prototype = 0;
    return PGR_OK;
}

/* list: who is similar (two); NULL: nobody is looked for. r is freed. */
static pgr_result *judge(pgr_request *r, pgr_judge_options o, const neighbour *list) {
    judge_source source = {neighbours, NULL, (void *)(uintptr_t)list};
    const pgr_request *asked = r;
    pgr_result *out = NULL;
    pgr_error err = {0};
    if (judge_many_from(ENGINE, &asked, 1, &o, list ? &source : NULL, &out, &err) != PGR_OK)
        fail_msg("%s", err.message);
    pgr_request_free(r);
    return out;
}

/* Similar people's word is a criterion where one of them knows a statement. */
static void people_speak_of_what_they_know(void **state) {
    (void)state;
    pgr_result *known = judge(statements(), options(2, 2), VERY), *unknown = judge(statements(), options(2, 2), LIKE),
               *texts = judge(answers(), options(2, 2), VERY);
    for (size_t i = 0; i < 4; i++) {
        assert_non_null(strstr(known->samples[i].text, "- similar people | 75.0% | "));
        assert_non_null(strstr(known->samples[i].text, "- views | 25.0% | "));
        assert_non_null(strstr(unknown->samples[i].text, "- views | 100.0% | "));
        assert_null(strstr(unknown->samples[i].text, "similar people"));
        assert_null(strstr(texts->samples[i].text, "- similar people"));
    }
    pgr_result_free(known);
    pgr_result_free(unknown);
    pgr_result_free(texts);
}

/* All chains speak of views, or none does. */
static void assert_kind(pgr_result *out, pgr_verdict_kind kind, size_t n_chain) {
    assert_int_equal(out->n_sample, n_chain);
    assert_int_equal(out->kind, kind);
    for (size_t i = 0; i < n_chain; i++) {
        bool views = strstr(out->samples[i].text, "- views | ") != NULL;
        if (views != (kind == PGR_VERDICT_VIEWS)) fail_msg("chain %zu: %s", i, out->samples[i].text);
    }
    pgr_result_free(out);
}

/* What this or similar users said of the statements, or the user of others of the question: each is enough. What
 * similar users said of others of the question stands in their own prompts alone, and decides where they are asked
 * alone. */
static void one_kind_for_all_chains(void **state) {
    (void)state;
    assert_kind(judge(statements(), options(2, 0), NULL), PGR_VERDICT_VIEWS, 2);
    assert_kind(judge(answers(), options(2, 0), NULL), PGR_VERDICT_ANSWERS, 2);
    assert_kind(judge(parse(ASK(TREE)), options(2, 0), NULL), PGR_VERDICT_ANSWERS, 2);
    assert_kind(judge(parse(ASK(TREE)), options(2, 2), VERY), PGR_VERDICT_VIEWS, 4);
    assert_kind(judge(parse(ASK(TREE)), options(2, 2), NOBODY), PGR_VERDICT_ANSWERS, 4);
    assert_kind(judge(parse(ASK(TREE)), options(2, 2), LIKE), PGR_VERDICT_ANSWERS, 4);
    assert_kind(judge(parse(ASK(TREE)), options(0, 2), LIKE), PGR_VERDICT_VIEWS, 2);
    assert_kind(judge(statements(), options(2, 2), NOBODY), PGR_VERDICT_VIEWS, 4);
    assert_kind(judge(answers(), options(2, 2), VERY), PGR_VERDICT_ANSWERS, 4);
}

/* ---- calibrations ---- */

/* A map of differences that makes much of them, or next to nothing. */
static pgr_calibration *map(pgr_verdict_kind kind, bool sure) {
    static const double x[] = {1, 1, 1, 1}, right[] = {1, 1, 1, 1}, coin[] = {1, 0, 1, 0};
    pgr_calibration *c = NULL;
    assert_int_equal(pgr_calibration_fit(kind, PGR_CALIBRATION_TEMPERATURE, PGR_CALIBRATION_DIFFERENCE, x,
                                         sure ? right : coin, 4, &c, NULL),
                     PGR_OK);
    return c;
}

static void assert_no_probability(const pgr_result *out) {
    assert_false(out->calibrated);
    assert_true(isnan(out->confidence) && !isnan(out->confidence_raw));
    for (size_t r = 0; r < 2; r++) assert_true(isnan(out->responses[r].win));
    double agree = (double)(out->agree + 1) / (double)(out->responses[0].n + 2);
    assert_true(out->settled == agree);
}

/* Of two responses the map's word for the lead, with what it says of its mirror makes 1. */
static void assert_mapped(const pgr_result *out, const pgr_calibration *c) {
    double p = pgr_calibration_apply_gap(c, out->kind, &out->lead);
    assert_true(out->calibrated);
    if (!(fabs(out->confidence - p) <= 1e-12)) fail_msg("%g, the map of its kind says %g", out->confidence, p);
    assert_true(out->settled == out->confidence);
}

static void no_borrowed_confidence(void **state) {
    (void)state;
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) {
        pgr_verdict_kind mine = (pgr_verdict_kind)k, other = (pgr_verdict_kind)!k;
        pgr_calibration *theirs = map(other, true), *both = map(other, true), *swapped = map(other, false);
        pgr_calibration_join(both, map(mine, false));
        pgr_calibration_join(swapped, map(mine, true));
        pgr_result *out[4];
        const pgr_calibration *const list[4] = {NULL, theirs, both, swapped};
        for (size_t i = 0; i < 4; i++) {
            pgr_judge_options o = options(2, 0);
            o.calibration = list[i];
            out[i] = judge(mine == PGR_VERDICT_VIEWS ? statements() : answers(), o, NULL);
            assert_int_equal(out[i]->kind, mine);
        }
        assert_no_probability(out[0]);
        assert_no_probability(out[1]);
        assert_true(out[0]->settled == out[1]->settled && out[0]->open == out[1]->open);
        assert_mapped(out[2], both);
        assert_mapped(out[3], swapped);
        assert_true(out[2]->confidence < 0.51 && out[3]->confidence > 0.6); /* 4 outcomes: at most 5 / 6 */
        for (size_t i = 0; i < 4; i++) pgr_result_free(out[i]);
        pgr_calibration_free(theirs);
        pgr_calibration_free(both);
        pgr_calibration_free(swapped);
    }
}

/* `adaptive` is held against the confidence where there is one, else against the chains' agreement. */
static void chains_stop_by_the_own_kind(void **state) {
    (void)state;
    pgr_calibration *of_answers = map(PGR_VERDICT_ANSWERS, true), *of_views = map(PGR_VERDICT_VIEWS, true);
    pgr_judge_options o = options(32, 0);
    o.score = PGR_SCORE_RECOMPUTED; /* drawn chains: there are as many as one asks for */
    o.adaptive = 0.8;
    pgr_result *none = judge(statements(), o, NULL);
    o.calibration = of_answers;
    pgr_result *borrowed = judge(statements(), o, NULL);
    o.calibration = of_views;
    pgr_result *own = judge(statements(), o, NULL);
    assert_no_probability(borrowed);
    assert_int_equal(borrowed->requested, none->requested);
    assert_int_equal(borrowed->saved, none->saved);
    assert_mapped(own, of_views);
    assert_true(own->saved == 0 || own->confidence >= 0.8);
    char *text = NULL;
    assert_int_equal(pgr_result_json(borrowed, &text, NULL), PGR_OK);
    assert_non_null(
        strstr(text, "\"kind\":\"views\",\"confidence\":null,\"confidence_raw\":null,\"calibrated\":false"));
    assert_non_null(strstr(text, "\"by\":\"agreement\""));
    pgr_free(text);
    pgr_result_free(none);
    pgr_result_free(borrowed);
    pgr_result_free(own);
    pgr_calibration_free(of_answers);
    pgr_calibration_free(of_views);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(people_speak_of_what_they_know),
        cmocka_unit_test(one_kind_for_all_chains),
        cmocka_unit_test(no_borrowed_confidence),
        cmocka_unit_test(chains_stop_by_the_own_kind),
    };
    return cmocka_run_group_tests(tests, tiny_begin, tiny_end);
}
