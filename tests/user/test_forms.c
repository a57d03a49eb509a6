/* test_forms.c - raw PRISM and LaMP-QA as records, and what is said of rows that are not as they should be. */
#include <math.h>

#include "../base/faults.h"
#include "dataset_make.h"
#include "user/dataset.h"

static record *records_in(const char *text, const char *form, arena *a, size_t *n) {
    return records_of(write_text("f", text), form, a, n);
}

static void assert_refused(const char *text, pgr_status want, const char *message) {
    dataset *d = NULL;
    pgr_error err = {0};
    arena a = {0};
    record r;
    bool more;
    assert_int_equal(dataset_open(write_text("f", text), NULL, &d, &err), PGR_OK);
    assert_int_equal(dataset_next(d, &a, &r, &more, &err), want);
    if (strcmp(err.message + strlen(scratch), message) != 0) fail_msg("%s\nwanted: %s", err.message, message);
    dataset_close(d);
    arena_free(&a);
}

#define USER(turn, text)                                                                                               \
    "{\"turn\":" turn ",\"role\":\"user\",\"content\":\"" text "\",\"score\":null,\"if_chosen\":null}"
#define MODEL(turn, text, score, chosen)                                                                               \
    "{\"turn\":" turn ",\"role\":\"model\",\"content\":\"" text "\",\"model_name\":\"m\",\"model_provider\":\"p\","    \
    "\"score\":" score ",\"if_chosen\":" chosen ",\"within_turn_id\":0}"
#define CONVERSATION(history)                                                                                          \
    "{\"conversation_id\":\"c1\",\"user_id\":\"u1\",\"conversation_type\":\"values "                                   \
    "guided\",\"opening_prompt\":\"q1\","                                                                              \
    "\"conversation_turns\":2,\"conversation_history\":[" history "],\"performance_attributes\":{\"x\":1},"            \
    "\"choice_attributes\":{\"values\":90,\"safety\":null,\"fluency\":5},\"open_feedback\":\"\",\"timing_duration_"    \
    "s\":3}\n"

static void test_conversation(void **state) {
    (void)state;
    arena a = {0};
    size_t n = 0;
    /* clang-format off */
    record *r = records_in(CONVERSATION(
        USER("0", "q1") ","
        MODEL("0", "a", "10", "false") "," MODEL("0", "b", "95", "true") ","
        MODEL("0", "EMPTY STRING", "1", "false") "," MODEL("0", "d", "3", "false") ","
        USER("1", "q2") ","
        MODEL("1", "e", "50", "true") "," MODEL("1", "f", "40", "false") "," MODEL("1", "e", "20", "false") ","
        USER("2", "q3") ","
        MODEL("2", "g", "7", "true")), NULL, &a, &n);
    /* clang-format on */
    assert_int_equal(n, 3); /* not the empty response, not one like the chosen one, none of the last turn */
    const pair_record *p = &r[0].pair;
    assert_string_equal(p->user_id, "u1");
    assert_string_equal(p->conversation_id, "c1");
    assert_string_equal(p->type, "values guided");
    assert_string_equal(p->choice_attributes, "values: 90\nfluency: 5");
    assert_string_equal(p->split, "");
    assert_int_equal(p->pair.n_context, 1);
    assert_string_equal(p->pair.context[0].text, "q1");
    assert_string_equal(p->pair.chosen, "b");
    assert_string_equal(p->pair.rejected, "a");
    assert_true(p->chosen_score == 95 && p->rejected_score == 10);
    assert_string_equal(r[1].pair.pair.rejected, "d");
    p = &r[2].pair;
    assert_int_equal(p->pair.n_context, 3);
    assert_string_equal(p->pair.context[1].text, "b");
    assert_string_equal(p->pair.context[1].role, "assistant");
    assert_string_equal(p->pair.context[2].text, "q2");
    assert_string_equal(p->pair.chosen, "e");
    assert_string_equal(p->pair.rejected, "f");
    arena_free(&a);
}

static void test_survey(void **state) {
    (void)state;
    arena a = {0};
    size_t n = 0;
    record *r = records_in(
        "[{\"user_id\":\"u1\",\"survey_only\":false,\"self_description\":\"I like tea.\",\"system_string\":\"Be "
        "short.\","
        "\"age\":\"25-34\",\"gender\":\"Female\",\"education\":\"Prefer not to "
        "say\",\"study_locale\":\"uk\",\"study_id\":7,"
        "\"religion\":{\"self_described\":\"x\",\"categorised\":\"y\",\"simplified\":\"No affiliation\"},"
        "\"location\":{\"birth_country\":\"Chile\",\"reside_country\":\"Spain\",\"reside_region\":\"z\"},"
        "\"lm_usecases\":{\"a\":1},\"order_stated_prefs\":[],\"included_in_US_REP\":true,\"timing_duration_s\":1,"
        "\"stated_prefs\":{\"values\":50,\"fluency\":81.5,\"factuality\":99,\"safety\":null,\"other_text\":\"EMPTY "
        "STRING\"}},"
        "{\"user_id\":\"u2\",\"survey_only\":true,\"system_string\":\"EMPTY STRING\",\"stated_prefs\":null}]",
        "prism", &a, &n);
    assert_int_equal(n, 2);
    assert_int_equal(r[0].kind, RECORD_USER);
    assert_string_equal(r[0].user.id, "u1");
    assert_int_equal(r[0].user.n_criteria, 3);
    assert_string_equal(r[0].user.criteria[0], "Be short.");
    assert_string_equal(r[0].user.criteria[1], "I like tea.");
    assert_string_equal(r[0].user.criteria[2],
                        "Wanted of a response (0 to 100): factuality 99, fluency 81.5, values 50");
    assert_string_equal(
        r[0].user.demographics,
        "age: 25-34\ngender: Female\nlocale: uk\nreligion: No affiliation\nborn in: Chile\nlives in: Spain");
    assert_int_equal(r[1].user.n_criteria, 0);
    assert_string_equal(r[1].user.demographics, "");
    arena_free(&a);
}

static void test_lampqa(void **state) {
    (void)state;
    arena a = {0};
    size_t n = 0;
    record *r = records_in(
        "[{\"id\":12,\"question\":\"How?\",\"profile\":[{\"id\":\"p1\",\"text\":\"one\"},{\"id\":\"p2\","
        "\"text\":\"two\"}],\"narrative\":\"why I ask\",\"rubric_aspects\":[{\"aspect\":\"cost\",\"reason\":"
        "\"r\",\"evidence\":\"e\"}],\"category\":\"arts\"},{\"id\":\"b\",\"question\":\"Why?\",\"profile\":[]}]",
        NULL, &a, &n);
    assert_int_equal(n, 2);
    const question_record *q = &r[0].question;
    assert_int_equal(r[0].kind, RECORD_QUESTION);
    assert_string_equal(q->id, "12");
    assert_string_equal(q->user_id, "12");
    assert_string_equal(q->question, "How?");
    assert_int_equal(q->n_profile, 2);
    assert_string_equal(q->profile[1], "two");
    assert_string_equal(q->narrative, "why I ask");
    assert_string_equal(q->aspects[0], "cost");
    assert_string_equal(q->category, "arts");
    assert_int_equal(r[1].question.n_profile + r[1].question.n_aspect, 0);
    arena_free(&a);
}

static void test_mistakes(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } mistakes[] = {
        {CONVERSATION(MODEL("0", "a", "1", "true")),
         "/f:1: conversation_history[0]: found a model's response, expected the user's prompt first"},
        {CONVERSATION(USER("0", "q") "," MODEL("0", "a", "1", "true") "," MODEL("0", "b", "1", "true")),
         "/f:1: conversation_history[2]: found a second chosen response, expected one in a turn"},
        {CONVERSATION(USER("0", "q") "," MODEL("1", "a", "1", "true")),
         "/f:1: conversation_history[1]: found a response of another turn, expected those of one turn together"},
        {CONVERSATION(USER("0", "q") "," MODEL("0", "a", "1", "false") "," USER("1", "q")),
         "/f:1: conversation_history[0]: found no chosen response, expected one before the dialogue goes on"},
        {CONVERSATION(USER("0", "q") "," MODEL("0", "a", "\"1\"", "true")),
         "/f:1: conversation_history[1].score: found a string, expected a number"},
        {CONVERSATION(USER("0", "q") "," MODEL("0", "a", "1", "1")),
         "/f:1: conversation_history[1].if_chosen: found an integer, expected true or false"},
        {"{\"conversation_history\":[],\"usr_id\":\"u\"}",
         "/f:1: unknown key \"usr_id\", expected perhaps \"user_id\""},
        {"{\"conversation_history\":[]}", "/f:1: user_id: found nothing, expected the user's name"},
        {"{\"survey_only\":true,\"user_id\":\"u\",\"stated_prefs\":3}",
         "/f:1: stated_prefs: found an integer, expected an object"},
        {"{\"question\":\"q\",\"profile\":[{\"id\":1,\"txt\":\"x\"}],\"id\":1}",
         "/f:1: profile[0]: unknown key \"txt\", expected perhaps \"text\""},
        {"{\"question\":\"q\",\"profile\":[]}", "/f:1: id: found nothing, expected the question's name"},
    };
    assert_refused("{\n  \"query\": \"q\"\n}\n", PGR_E_FORMAT,
                   "/f:1: found an object over several lines, expected a record per line, or an array of them");
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
        assert_refused(mistakes[i].text, PGR_E_FORMAT, mistakes[i].message);
}

/* A column `user` with a name counts after `user_id`; what is no name there is another thing of the row's. */
static void test_plain_user(void **state) {
    (void)state;
    static const char *const rows[][2] = {{"\"user\":\"ann\",", "ann"},
                                          {"\"user\":\"ann\",\"user_id\":\"u1\",", "u1"},
                                          {"\"user\":{\"age\":3},", "told"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[200];
        arena a = {0};
        dataset *d = NULL;
        record r;
        bool more;
        pgr_error err = {0};
        snprintf(text, sizeof text, "{%s\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}\n", rows[i][0]);
        assert_int_equal(dataset_open(write_text("f", text), &(dataset_options){.user = "told"}, &d, &err), PGR_OK);
        if (dataset_next(d, &a, &r, &more, &err) != PGR_OK) fail_msg("%s", err.message);
        assert_string_equal(r.pair.user_id, rows[i][1]);
        dataset_close(d);
        arena_free(&a);
    }
}

static void test_out_of_memory(void **state) {
    (void)state;
    write_text("mem", CONVERSATION(USER("0", "q1") "," MODEL("0", "a", "10", "false") "," MODEL(
                          "0", "b", "95", "true")) "{\"user_id\":\"u1\",\"survey_only\":false,\"self_description\":"
                                                   "\"tea\",\"age\":\"25\",\"stated_prefs\":{\"values\":5}}");
    assert_true(fail_each_allocation(read_mem) > 20);
    write_text("mem", "{\"id\":12,\"question\":\"How?\",\"profile\":[{\"id\":\"p1\",\"text\":\"one\"}]}");
    assert_true(fail_each_allocation(read_mem) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversation), cmocka_unit_test(test_survey),   cmocka_unit_test(test_lampqa),
        cmocka_unit_test(test_plain_user),   cmocka_unit_test(test_mistakes), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
