/* test_analysis.c - preference analyses on a tiny random model: one text per request,
 * made of its chain's persona and criteria. */
#include "judge/judge.h"
#include "tiny_engine.h"

static void persona_and_criteria(void **state) {
    (void)state;
    pgr_request *list[2] = {parse("{\"query\": \"Tea?\", \"responses\": [\"Yes.\", \"No.\"], \"ind\": 5, \"pro\": 3}"),
                            parse("{\"query\": \"Tea?\", \"responses\": [\"Yes.\", \"No.\"], \"seed\": 7}")};
    pgr_engine *e = NULL;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &e, NULL), PGR_OK);
    pgr_judge_options o = pgr_judge_options_default();
    o.frame = MINI;
    pgr_analyst analyst = {e, &o};
    char *texts[2];
    pgr_error err = {0};
    if (pgr_analyse(&analyst, (const pgr_request *const *)list, 2, texts, &err) != PGR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < 2; i++) {
        pgr_result *r = NULL;
        pgr_judge_options one = o;
        one.ind = 1;
        one.pro = 0;
        assert_int_equal(pgr_judge(e, list[i], &one, &r, NULL), PGR_OK);
        assert_int_equal(strncmp(texts[i], r->persona, strlen(r->persona)), 0);
        char line[200];
        snprintf(line, sizeof line, "- %s (%.0f %%)", r->criteria[r->n_criterion - 1].name,
                 r->criteria[r->n_criterion - 1].weight);
        assert_non_null(strstr(texts[i], line));
        pgr_result_free(r);
        pgr_free(texts[i]);
    }

    pgr_cancel cancel = 1;
    o.watch.cancel = &cancel;
    assert_int_equal(pgr_analyse(&analyst, (const pgr_request *const *)list, 2, texts, &err), PGR_E_CANCELLED);
    assert_true(!texts[0] && !texts[1]);
    o.watch.cancel = NULL;
    o.frame = "no-such-frame";
    assert_true(pgr_analyse(&analyst, (const pgr_request *const *)list, 2, texts, &err) < 0);
    assert_non_null(strstr(err.message, "no-such-frame"));
    for (size_t i = 0; i < 2; i++) pgr_request_free(list[i]);
    pgr_engine_free(e);
}

static bool analyse_one(void) {
    pgr_request *r = NULL;
    pgr_engine *e = NULL;
    char *text[1] = {NULL};
    static const char json[] = "{\"query\": \"Tea?\", \"responses\": [\"Yes.\", \"No.\"]}";
    pgr_judge_options o = pgr_judge_options_default();
    o.frame = MINI;
    bool ok = pgr_engine_create(MODEL, NULL, &e, NULL) == PGR_OK
              && pgr_request_parse(json, strlen(json), "t", &r, NULL) == PGR_OK;
    pgr_analyst analyst = {e, &o};
    ok = ok && pgr_analyse(&analyst, (const pgr_request *const *)&r, 1, text, NULL) == PGR_OK;
    pgr_free(text[0]);
    pgr_request_free(r);
    pgr_engine_free(e);
    return ok;
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    assert_true(fail_allocations(analyse_one, 20) > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(persona_and_criteria),
        cmocka_unit_test(every_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, tiny_begin, tiny_end);
}
