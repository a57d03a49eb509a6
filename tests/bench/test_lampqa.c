/* test_lampqa.c - generators ranked on made-up questions by a tiny random model: what is asked, counted and refused. */
#include <math.h>
#include <unistd.h>

#include "../base/scratch.h"
#include "../judge/tiny_engine.h"
#include "bench/lampqa.h"

#define DATA PGR_SOURCE_DIR "/examples/lampqa/"

static const char *const ANSWERS[] = {DATA "brief.json", DATA "lists.json", DATA "warm.json"};

static int setup(void **state) {
    return make_folder(state) != 0 ? -1 : tiny_begin(state);
}

static int teardown(void **state) {
    return tiny_end(state) != 0 ? -1 : remove_folder(state);
}

static pgr_lampqa_options options(void) {
    pgr_lampqa_options o = pgr_lampqa_options_default();
    o.questions = DATA "questions.jsonl";
    o.responses = ANSWERS;
    o.n_response = 3;
    o.judge.ind = 2;
    o.judge.frame = MINI;
    return o;
}

static pgr_lampqa_report *run(const pgr_lampqa_options *o) {
    pgr_lampqa_report *report = NULL;
    pgr_error err = {0};
    if (pgr_lampqa(ENGINE, o, &report, &err) != PGR_OK) fail_msg("%s", err.message);
    return report;
}

static void refused(const pgr_lampqa_options *o, pgr_status status, const char *what) {
    pgr_lampqa_report *report = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_lampqa(ENGINE, o, &report, &err), status);
    if (!strstr(err.message, what)) fail_msg("\"%s\" does not say \"%s\"", err.message, what);
    assert_null(report);
}

static bool has_note(const pgr_lampqa_report *r, const char *what) {
    for (size_t i = 0; i < r->n_note; i++)
        if (strstr(r->notes[i], what)) return true;
    return false;
}

/* ---- data ---- */

static void requests_are_drawn_by_the_seed(void **state) {
    (void)state;
    pgr_lampqa_options o = options();
    lampqa_data d, again, other;
    o.history = 2;
    assert_int_equal(lampqa_load(&o, &d, NULL), PGR_OK);
    assert_int_equal(lampqa_load(&o, &again, NULL), PGR_OK);
    o.seed = 1;
    o.history = 0;
    assert_int_equal(lampqa_load(&o, &other, NULL), PGR_OK);
    assert_int_equal(d.n_question, 5);
    assert_int_equal(d.categories.n, 2);
    size_t keys_equal = 0;
    for (size_t i = 0; i < 5; i++) {
        const lampqa_question *q = &d.questions[i];
        assert_true(q->key == again.questions[i].key);
        keys_equal += q->key == other.questions[i].key;
        assert_string_equal(q->profile, again.questions[i].profile);
        assert_string_equal(other.questions[i].profile, "");
        assert_true(strncmp(q->profile, "The user wrote before: ", 23) == 0);
        const char *second = strstr(q->profile, "\nThe user also wrote: ");
        assert_int_equal(second != NULL,
                         strcmp(q->id, "a3") && strcmp(q->id, "s2")); /* these two have one text, the others more */
        assert_true(!second || !strstr(second + 1, "\nThe user also wrote: "));
        size_t order[LAMPQA_MAX_GENERATORS], seen = 0;
        lampqa_order(q, 3, order);
        for (size_t k = 0; k < 3; k++) seen |= (size_t)1 << order[k];
        assert_int_equal(seen, 7); /* each generator once */
    }
    assert_int_equal(keys_equal, 0);
    assert_string_equal(d.questions[0].answers[0], "A slow one that you know already.");
    lampqa_free(&d);
    lampqa_free(&again);
    lampqa_free(&other);
}

/* The place of the first generator over many keys: each of three places a third of the time. */
static void orders_are_even(void **state) {
    (void)state;
    size_t counts[3] = {0}, order[3];
    for (uint64_t key = 0; key < 3000; key++) {
        lampqa_question q = {.key = key};
        lampqa_order(&q, 3, order);
        for (size_t i = 0; i < 3; i++) counts[i] += order[i] == 0;
    }
    for (size_t i = 0; i < 3; i++)
        assert_true(counts[i] > 870 && counts[i] < 1130); /* 1,000 give or take 5 standard deviations of 26 */
}

static void limit_is_of_a_category(void **state) {
    (void)state;
    pgr_lampqa_options o = options();
    bool varies = false;
    char first[8] = "";
    o.limit = 1;
    for (o.seed = 0; o.seed < 20; o.seed++) {
        lampqa_data d;
        assert_int_equal(lampqa_load(&o, &d, NULL), PGR_OK);
        assert_int_equal(d.n_question, 2);
        assert_int_equal(d.questions[0].category, 0);
        assert_int_equal(d.questions[1].category, 1);
        varies = varies || (o.seed && strcmp(first, d.questions[0].id) != 0);
        snprintf(first, sizeof first, "%.7s", d.questions[0].id);
        lampqa_free(&d);
    }
    assert_true(varies);
}

static bool load_all(void) {
    pgr_lampqa_options o = options();
    o.truth = DATA "truth.json";
    o.limit = 2;
    lampqa_data d;
    bool ok = lampqa_load(&o, &d, NULL) == PGR_OK;
    lampqa_free(&d);
    return ok;
}

static void memory_may_run_out(void **state) {
    (void)state;
    assert_true(fail_allocations(load_all, 7) > 100);
}

/* ---- ranking ---- */

/* The generators' scores as a truth, times a sign. */
static const char *truth_of(const pgr_lampqa_report *r, double sign) {
    char text[1000];
    size_t n = 0;
    for (size_t i = 0; i < r->n_row; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%s\":{", i ? "," : "{", r->rows[i].category);
        for (size_t g = 0; g < 3; g++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%s\":%.17g", g ? "," : "",
                                  r->rows[i].generators[g].name, sign * r->rows[i].generators[g].score);
        n += (size_t)snprintf(text + n, sizeof text - n, "}");
    }
    snprintf(text + n, sizeof text - n, "}");
    return write_text(sign > 0 ? "same.json" : "turned.json", text);
}

static void generators_are_ranked(void **state) {
    (void)state;
    pgr_lampqa_options o = options();
    pgr_lampqa_report *r = run(&o);
    assert_int_equal(r->n_row, 2);
    assert_string_equal(r->rows[0].category, "Arts & Entertainment");
    assert_int_equal(r->rows[0].questions, 3);
    assert_int_equal(r->rows[1].questions, 2);
    for (size_t i = 0; i < 2; i++) {
        const pgr_lampqa_row *row = &r->rows[i];
        double ranks = 0;
        assert_true(isnan(row->spearman) && !row->why_not[0]);
        for (size_t g = 0; g < 3; g++) {
            const pgr_lampqa_generator *x = &row->generators[g];
            assert_int_equal(x->scored + x->failures, row->questions);
            assert_int_equal(x->failures, 0);
            assert_true(x->score >= 1 && x->score <= 10 && x->se >= 0);
            assert_true(g == 0 || row->generators[g - 1].score >= x->score);
            ranks += x->rank;
        }
        assert_true(ranks == 6);
    }
    assert_true(isnan(r->spearman) && r->n_spearman == 0);
    for (double sign = 1; sign >= -1; sign -= 2) {
        o.truth = truth_of(r, sign);
        pgr_lampqa_report *with = run(&o);
        assert_int_equal(with->n_spearman, 2); /* the same seed gives the same scores */
        if (!(fabs(with->spearman - sign) <= 1e-12)) fail_msg("rho %g, expected %g", with->spearman, sign);
        pgr_lampqa_free(with);
    }
    pgr_lampqa_free(r);
}

static void ties_have_no_correlation(void **state) {
    (void)state;
    pgr_lampqa_options o = options();
    o.truth = write_text("flat.json", "{\"warm\": 1, \"lists\": 1, \"brief\": 1}");
    pgr_lampqa_report *r = run(&o);
    assert_true(isnan(r->spearman) && isnan(r->rows[0].spearman));
    assert_string_equal(r->rows[0].why_not, "all true scores are equal");
    char *line = NULL;
    assert_int_equal(pgr_lampqa_row_json(&r->rows[0], &line, NULL), PGR_OK);
    assert_non_null(strstr(line, "\"spearman\":null,\"spearman_reason\":\"all true scores are equal\""));
    json_t *v = NULL;
    assert_int_equal(json_parse(line, strlen(line), "row", 1, &v, NULL), PGR_OK);
    assert_int_equal(json_array_size(json_object_get(v, "generators")), 3);
    json_decref(v);
    pgr_free(line);
    pgr_lampqa_free(r);
}

/* Chains that end before their scores: counted, and no number is made of them. */
static void failures_are_counted(void **state) {
    (void)state;
    pgr_lampqa_options o = options();
    o.judge.max_tokens = 2;
    o.truth = DATA "truth.json";
    pgr_lampqa_report *r = run(&o);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(r->rows[i].failures, r->rows[i].questions);
        assert_string_equal(r->rows[i].why_not, "a generator has no score");
        for (size_t g = 0; g < 3; g++) {
            const pgr_lampqa_generator *x = &r->rows[i].generators[g];
            assert_int_equal(x->failures, r->rows[i].questions);
            assert_true(isnan(x->score) && isnan(x->se) && isnan(x->rank) && x->scored == 0);
        }
    }
    pgr_lampqa_free(r);
}

static void unanswered_questions_are_left_out(void **state) {
    (void)state;
    pgr_lampqa_options o = options();
    const char *answers[] = {DATA "brief.json",
                             write_text("part.json",
                                        "{\"a1\": [{\"output\": \"One.\"}], \"s1\": [{\"output\": \" \"}], \"s2\": "
                                        "[{\"output\": \"Two.\", \"log\": 1}], \"zz\": [{\"output\": \"Three.\"}]}")};
    o.responses = answers;
    o.n_response = 2;
    pgr_lampqa_report *r = run(&o);
    assert_int_equal(r->unanswered, 3);
    assert_int_equal(r->rows[0].questions, 1);
    assert_int_equal(r->rows[1].questions, 1);
    assert_true(isnan(r->rows[0].generators[0].se)); /* of one question */
    assert_true(has_note(r, "part has no answer to 3 of 5 questions"));
    assert_true(has_note(r, "3 of 5 questions are left out"));
    pgr_lampqa_free(r);
}

/* ---- refusals ---- */

static void bad_answers(void **state) {
    (void)state;
    static const struct {
        const char *text, *what;
    } bad[] = {
        {"[]", "bad.json: found an array, expected an object"},
        {"{\"a1\": \"One.\"}", "bad.json: a1: found a string, expected an array"},
        {"{\"a1\": []}", "bad.json: a1: found 0 outputs, expected one"},
        {"{\"a1\": [{\"text\": \"One.\"}]}", "bad.json: a1[0].output: found nothing, expected a string"},
        {"{\"a1\": ", "bad.json:1"},
        {"{}", "found no question that all 2 generators answered"},
    };
    pgr_lampqa_options o = options();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *answers[] = {DATA "brief.json", write_text("bad.json", bad[i].text)};
        o.responses = answers;
        o.n_response = 2;
        refused(&o, i + 1 < sizeof bad / sizeof *bad ? PGR_E_FORMAT : PGR_E_ARG, bad[i].what);
    }
    const char *twins[] = {DATA "brief.json", write_text("brief.json", "{}")};
    o.responses = twins;
    refused(&o, PGR_E_ARG, "another generator is also called brief");
    o.n_response = 1;
    refused(&o, PGR_E_ARG, "found 1 response file, expected 2 to 26");
    o = options();
    o.questions =
        write_text("twice.jsonl",
                   "{\"id\":1,\"question\":\"Q?\",\"profile\":[]}\n{\"id\":1,\"question\":\"Q?\",\"profile\":[]}\n");
    refused(&o, PGR_E_FORMAT, "twice.jsonl:2: id: found \"1\" again");
}

static void bad_truths(void **state) {
    (void)state;
    static const struct {
        const char *text, *what;
        pgr_status status;
    } bad[] = {
        {"{\"brief\": 1, \"lists\": 2, \"warn\": 3}", "unknown key \"warn\", expected perhaps \"warm\"", PGR_E_FORMAT},
        {"{\"brief\": 1, \"lists\": 2}", "warm: found nothing, expected the generator's true score", PGR_E_FORMAT},
        {"{\"brief\": 1, \"lists\": 2, \"warm\": \"3\"}", "warm: found a string", PGR_E_FORMAT},
        {"{\"Society & Culture\": {\"brief\": 1, \"lists\": 2, \"warm\": 3}}", "Arts & Entertainment: found nothing",
         PGR_E_ARG},
        {"{\"Arts & Entertainment\": {\"brief\": 1, \"lists\": 2, \"other\": 3}}", "unknown key \"other\"",
         PGR_E_FORMAT},
        {"7", "expected an object", PGR_E_FORMAT},
    };
    pgr_lampqa_options o = options();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.truth = write_text("truth.json", bad[i].text);
        refused(&o, bad[i].status, bad[i].what);
    }
}

static void it_can_be_cancelled(void **state) {
    (void)state;
    pgr_lampqa_options o = options();
    pgr_cancel cancel = 1;
    o.watch.cancel = &cancel;
    refused(&o, PGR_E_CANCELLED, "cancelled");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests_are_drawn_by_the_seed),
                                       cmocka_unit_test(orders_are_even),
                                       cmocka_unit_test(limit_is_of_a_category),
                                       cmocka_unit_test(memory_may_run_out),
                                       cmocka_unit_test(generators_are_ranked),
                                       cmocka_unit_test(ties_have_no_correlation),
                                       cmocka_unit_test(failures_are_counted),
                                       cmocka_unit_test(unanswered_questions_are_left_out),
                                       cmocka_unit_test(bad_answers),
                                       cmocka_unit_test(bad_truths),
                                       cmocka_unit_test(it_can_be_cancelled)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
