/* test_request.c - what a request file may say, what it becomes, and what every mistake in it is answered with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "user/request.h"

#include <cmocka.h> /* after our headers: it has a macro `fail` */

static pgr_request *parse(const char *json) {
    pgr_request *r = NULL;
    pgr_error err = {0};
    if (pgr_request_parse(json, strlen(json), "r.json", &r, &err) != PGR_OK) fail_msg("%s", err.message);
    return r;
}

/* The message is exactly `want`, the status is E_FORMAT, the out-parameter stays as it was, nothing stays allocated. */
static void assert_refused(const char *json, const char *want) {
    pgr_request *untouched = (pgr_request *)&untouched, *r = untouched;
    pgr_error err = {0};
    long live = mem_live();
    assert_int_equal(pgr_request_parse(json, strlen(json), "r.json", &r, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, want);
    assert_ptr_equal(r, untouched);
    assert_int_equal(mem_live(), live);
}

static void test_full_request(void **state) {
    (void)state;
    pgr_request *r = parse(
        "{\"id\":\"a1\",\"user\":{\"id\":\"u1\",\"history\":[{\"query\":\"q\",\"chosen\":\"c\",\"rejected\":\"\"},"
        "{\"context\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"x\"},"
        "{\"role\":\"model\",\"content\":\"y\"},{\"role\":\"user\",\"content\":\"z\"}],\"chosen\":\"1\",\"rejected\":"
        "\"2\"}],"
        "\"criteria\":[\"brief\",\"no jargon\"],"
        "\"demographics\":{\"age\":41,\"home\":\"Leeds\",\"pets\":true,\"car\":null,\"km\":1.5}},"
        "\"query\":\"How?\",\"responses\":[\"one\",\"two\",\"three\"],"
        "\"ind\":4,\"pro\":0,\"history\":2,\"seed\":9007199254740993}");
    assert_string_equal(r->origin, "r.json");
    assert_string_equal(r->id, "a1");
    assert_string_equal(r->user_id, "u1");
    assert_int_equal(r->n_history, 2);
    assert_int_equal(r->history[0].n_context, 1);
    assert_string_equal(r->history[0].context[0].role, "user");
    assert_string_equal(r->history[0].context[0].text, "q");
    assert_string_equal(r->history[0].chosen, "c");
    assert_string_equal(r->history[0].rejected, "");
    assert_int_equal(r->history[1].n_context, 4);
    assert_string_equal(r->history[1].context[0].role, "system");
    assert_string_equal(r->history[1].context[2].role, "assistant");
    assert_string_equal(r->history[1].context[3].text, "z");
    assert_int_equal(r->n_criteria, 2);
    assert_string_equal(r->criteria[1], "no jargon");
    assert_string_equal(r->demographics, "age: 41\nhome: Leeds\npets: yes\nkm: 1.5");
    assert_int_equal(r->n_message, 1);
    assert_string_equal(r->messages[0].text, "How?");
    assert_int_equal(r->n_response, 3);
    assert_string_equal(r->responses[2], "three");
    assert_int_equal(r->ind, 4);
    assert_int_equal(r->pro, 0);
    assert_int_equal(r->history_pairs, 2);
    assert_true(r->seed == INT64_C(9007199254740993));
    assert_int_equal(r->chosen, -1);
    pgr_request_free(r);
}

static void test_least_request(void **state) {
    (void)state;
    pgr_request *r =
        parse("\xEF\xBB\xBF{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"responses\":[\"a\",\"a\"],"
              "\"user\":{\"criteria\":\"  \",\"demographics\":\"from Kerala\",\"id\":null},\"seed\":null}");
    assert_string_equal(r->id, "");
    assert_string_equal(r->user_id, "");
    assert_int_equal(r->n_history, 0);
    assert_int_equal(r->n_criteria, 0);
    assert_string_equal(r->demographics, "from Kerala");
    assert_int_equal(r->ind, -1);
    assert_int_equal(r->pro, -1);
    assert_int_equal(r->history_pairs, -1);
    assert_true(r->seed == -1);
    pgr_request_free(r);
}

static void test_record(void **state) {
    (void)state;
    pgr_request *r =
        parse("{\"user_id\":\"u7\",\"conversation_id\":\"c9\",\"context\":[{\"role\":\"user\",\"content\":\"a\"},"
              "{\"role\":\"model\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}],"
              "\"chosen\":{\"role\":\"model\",\"content\":\"good\"},\"rejected\":{\"content\":\"bad\"},"
              "\"split\":\"test\",\"chosen_score\":80.5,\"turns\":2,\"flip\":false,\"subset\":[\"close\"],"
              "\"prediction_gemini/gemini-1.5-pro\":\"1\",\"reasoning_flip_x\":null}");
    assert_string_equal(r->id, "c9");
    assert_string_equal(r->user_id, "u7");
    assert_int_equal(r->n_message, 3);
    assert_string_equal(r->messages[1].role, "assistant");
    assert_int_equal(r->n_response, 2);
    assert_string_equal(r->responses[0], "good");
    assert_string_equal(r->responses[1], "bad");
    assert_int_equal(r->chosen, 0);
    assert_int_equal(r->n_history, 0);
    pgr_request_free(r);
}

/* Rows of other forms: the whole row is one request, whichever pairs it makes. */
static void test_records_of_other_forms(void **state) {
    (void)state;
    pgr_request *r =
        parse("{\"question_id\":\"q1\",\"judge\":\"j\",\"winner\":\"model_b\","
              "\"conversation_a\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"a\"}],"
              "\"conversation_b\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"b\"}]}");
    assert_string_equal(r->id, "q1");
    assert_string_equal(r->user_id, "j");
    assert_int_equal(r->n_message, 1);
    assert_string_equal(r->responses[0], "b");
    assert_string_equal(r->responses[1], "a");
    assert_int_equal(r->chosen, 0);
    pgr_request_free(r);
    r = parse("{\"id\":3,\"prompt\":\"x\",\"chosen\":[\"a\"],\"rejected\":[\"b\",\"c\",\"d\"],\"agreement\":NaN}");
    assert_string_equal(r->id, "3");
    assert_string_equal(r->user_id, "");
    assert_int_equal(r->n_response, 4);
    assert_string_equal(r->responses[3], "d");
    assert_int_equal(r->chosen, 0);
    pgr_request_free(r);
    r = parse("{\"prompt\":\"x\",\"answers\":[{\"answer\":\"third\",\"rank\":3},{\"answer\":\"first\",\"rank\":1},"
              "{\"answer\":\"second\",\"rank\":2}]}");
    assert_int_equal(r->n_response, 3);
    assert_string_equal(r->responses[r->chosen], "first");
    pgr_request_free(r);
    r = parse("{\"prompt\":\"x\",\"chosen\":\"same\",\"rejected\":\"same\"}"); /* may be asked: it is a tie */
    assert_int_equal(r->n_response, 2);
    assert_string_equal(r->responses[1], "same");
    pgr_request_free(r);
}

#define Q  "\"query\":\"q\","
#define RR "\"responses\":[\"a\",\"b\"]"

static void test_mistakes(void **state) {
    (void)state;
    static const struct {
        const char *json, *message;
    } mistakes[] = {
        {"[1]", "r.json: found an array, expected an object"},
        {"{" Q "\"respones\":[]}", "r.json: unknown key \"respones\", expected perhaps \"responses\""},
        {"{" Q "\"zebra\":1," RR "}",
         "r.json: unknown key \"zebra\", expected one of: id, user, query, messages, responses, "
         "ind, pro, history, seed, scalar"},
        {"{" RR "}", "r.json: found neither `query` nor `messages`, expected one of them"},
        {"{" Q "\"messages\":[]," RR "}", "r.json: found both `query` and `messages`, expected one of them"},
        {"{\"query\":\" \\n\"," RR "}", "r.json: query: found only blanks, expected text"},
        {"{\"user\":{\"id\":\" \"}," Q RR "}", "r.json: user.id: found only blanks, expected text"},
        {"{\"query\":7," RR "}", "r.json: query: found an integer, expected a string"},
        {"{\"query\":\"q\"}", "r.json: responses: found nothing, expected an array"},
        {"{" Q "\"responses\":[\"a\"]}", "r.json: responses: found 1, expected 2 to 26"},
        {"{" Q "\"responses\":[\"a\",\"\"]}", "r.json: responses[1]: found an empty string, expected text"},
        {"{" Q "\"responses\":[\"a\",null]}", "r.json: responses[1]: found null, expected a string"},
        {"{" Q RR ",\"ind\":1025}", "r.json: ind: found 1025, expected 0 to 1024"},
        {"{" Q RR ",\"ind\":\"8\"}", "r.json: ind: found a string, expected an integer"},
        {"{" Q RR ",\"seed\":-1}", "r.json: seed: found -1, expected 0 to 9223372036854775807"},
        {"{" Q RR ",\"history\":[]}", "r.json: history: found an array, expected an integer"},
        {"{" Q RR ",\"user\":\"u\"}", "r.json: user: found a string, expected an object"},
        {"{" Q RR ",\"user\":{\"hystory\":[]}}", "r.json: user: unknown key \"hystory\", expected perhaps \"history\""},
        {"{" Q RR ",\"user\":{\"history\":[{\"query\":\"q\",\"chosen\":\"c\"}]}}",
         "r.json: user.history[0].rejected: found nothing, expected a string"},
        {"{" Q RR ",\"user\":{\"history\":[{\"chosen\":\"c\",\"rejected\":\"r\"}]}}",
         "r.json: user.history[0]: found neither `query` nor `context`, expected one of them"},
        {"{" Q RR ",\"user\":{\"criteria\":[\"a\",3]}}",
         "r.json: user.criteria[1]: found an integer, expected a string"},
        {"{" Q RR ",\"user\":{\"criteria\":{}}}",
         "r.json: user.criteria: found an object, expected a string or an array of strings"},
        {"{" Q RR ",\"user\":{\"demographics\":{\"age\":[1]}}}",
         "r.json: user.demographics.age: found an array, expected a string, a number, true or false"},
        {"{\"messages\":[]," RR "}", "r.json: messages: found an empty array, expected at least one turn by the user"},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]," RR "}",
         "r.json: messages[0].role: found \"tool\", expected \"user\", \"assistant\" or \"system\""},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"model\",\"content\":\"y\"}]," RR "}",
         "r.json: messages[1].role: found assistant, expected the last turn to be the user's"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\" \"}]," RR "}",
         "r.json: messages[0].content: found no text, expected the user's question"},
        {"{\"messages\":[{\"role\":\"user\",\"text\":\"x\"}]," RR "}",
         "r.json: messages[0]: unknown key \"text\", expected one of: role, content"},
        {"{\n\"query\": \"q\",\n\"responses\": [\"a\" \"b\"]}", "r.json:3: found '\"b\"', expected ']'"},
        {"{" Q Q RR "}", "r.json:1: duplicate object key near '\"query\"', expected each key once in an object"},
        {"{\"user_id\":\"u\",\"context\":[{\"role\":\"user\",\"content\":\"x\"}],\"chosen\":{\"content\":\"a\"}}",
         "r.json: found an object with the keys \"user_id\", \"context\", \"chosen\", expected a PersonalRewardBench "
         "record "
         "(user_id, context, chosen, rejected)"},
        {"{\"user_id\":\"u\",\"chosen\":{\"content\":\"a\"},\"rejected\":{\"content\":\"b\"}}",
         "r.json: prompt: found nothing, expected what was asked (or dialogues that tell it in `chosen` and "
         "`rejected`)"},
        {"{\"user_idd\":\"u\",\"chosen\":{\"content\":\"a\"}}",
         "r.json: found an object with the keys \"user_idd\", \"chosen\", expected dialogues or transcripts that part "
         "ways, "
         "as in HH-RLHF (chosen, rejected)"},
        {"{\"context\":[{\"role\":\"user\",\"content\":\"x\"}],\"chosen\":{\"content\":\"\"},\"rejected\":{\"content\":"
         "\"b\"}}",
         "r.json: this row makes no pair: a response is empty"},
        {"{\"judge\":\"j\",\"winner\":\"tie\",\"conversation_a\":[],\"conversation_b\":[]}",
         "r.json: this row makes no pair: a tie, or equal scores"},
        {"{\"text\":\"q\",\"completion_a\":\"a\",\"completion_b\":\"b\",\"annotations\":[{\"evaluator\":1,\"overall_"
         "pref\":"
         "\"A-is-clearly-better\"},{\"evaluator\":2,\"overall_pref\":\"A-is-clearly-better\"}]}",
         "r.json: found choices of several users in one row, expected one user's (`user import`, `bench` take it)"},
        {"{\"utterance_id\":\"u\",\"chosen\":1}",
         "r.json: found PRISM's utterances (utterance_id), expected a request, or a row that makes a pair"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
        assert_refused(mistakes[i].json, mistakes[i].message);
}

static void test_bytes_that_are_no_text(void **state) {
    (void)state;
    pgr_request *r = NULL;
    pgr_error err = {0};
    const char *bad = "{" Q "\"responses\":[\"a\",\"\xC3(\"]}";
    assert_int_equal(pgr_request_parse(bad, strlen(bad), "r.json", &r, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "r.json:1: "));
    assert_non_null(strstr(err.message, "UTF-8"));
    assert_int_equal(pgr_request_parse("\x1F\x8B\x08", 3, "r.json.gz", &r, &err), PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "r.json.gz: found gzip data"));
    const char *nul = "{\"query\":\"a\\u0000b\"," RR "}";
    assert_int_equal(pgr_request_parse(nul, strlen(nul), "r.json", &r, &err), PGR_E_FORMAT);
    assert_int_equal(pgr_request_parse("", 0, "r.json", &r, &err), PGR_E_FORMAT);
    assert_int_equal(pgr_request_parse(NULL, 0, "r.json", &r, &err), PGR_E_ARG);
    assert_null(r);
}

/* An origin FILE:LINE says where the text begins; syntax errors count on from there. */
static void test_line_of_a_jsonl_file(void **state) {
    (void)state;
    pgr_request *r = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_request_parse("{\"query\":}", 10, "data.jsonl:41", &r, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "data.jsonl:41: "));
    assert_null(strstr(err.message, "41:1"));
    assert_int_equal(pgr_request_parse("{\"query\":\"q\"}", 13, "data.jsonl:41", &r, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "data.jsonl:41: responses: found nothing, expected an array");
}

static void test_limits(void **state) {
    (void)state;
    pgr_request *r = NULL;
    pgr_error err = {0};
    char *big = malloc(((size_t)64 << 20) + 1);
    assert_non_null(big);
    memset(big, ' ', ((size_t)64 << 20) + 1);
    assert_int_equal(pgr_request_parse(big, ((size_t)64 << 20) + 1, "r.json", &r, &err), PGR_E_LIMIT);
    free(big);

    buf b = {0};
    buf_puts(&b, "{" Q RR ",\"user\":{\"history\":[");
    static const char pair[] = "{\"query\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}";
    for (int i = 0; i < 100001; i++) {
        if (i) buf_putc(&b, ',');
        buf_puts(&b, pair);
    }
    buf_puts(&b, "]}}");
    assert_false(b.failed);
    assert_int_equal(pgr_request_parse(b.data, b.n, "r.json", &r, &err), PGR_E_LIMIT);
    assert_string_equal(err.message, "r.json: user.history: found 100001 pairs, expected at most 100000");
    buf_free(&b);

    buf_puts(&b, "{" Q "\"responses\":[");
    for (int i = 0; i < 27; i++) buf_puts(&b, i ? ",\"x\"" : "\"x\"");
    buf_puts(&b, "]}");
    assert_refused(b.data, "r.json: responses: found 27, expected 2 to 26");
    buf_free(&b);
}

static const char *const EXAMPLES[] = {PGR_SOURCE_DIR "/examples/request.json",
                                       PGR_SOURCE_DIR "/examples/multi_turn.json",
                                       PGR_SOURCE_DIR "/examples/new_user.json"};

static void test_examples(void **state) {
    (void)state;
    static const size_t history[] = {6, 2, 0}, responses[] = {2, 3, 2};
    for (size_t i = 0; i < 3; i++) {
        pgr_request *r = NULL;
        pgr_error err = {0};
        if (pgr_request_read(EXAMPLES[i], &r, &err) != PGR_OK) fail_msg("%s", err.message);
        assert_int_equal(r->n_history, history[i]);
        assert_int_equal(r->n_response, responses[i]);
        pgr_request_free(r);
    }
}

static void test_files(void **state) {
    (void)state;
    pgr_request *r = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_request_read("/nonexistent/r.json", &r, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "/nonexistent/r.json"));
    assert_int_equal(pgr_request_read(PGR_SOURCE_DIR, &r, &err), PGR_E_IO);
    assert_null(r);
    pgr_request_free(NULL);
}

/* Every allocation fails once: an error each time, nothing left behind, and in the end it works. */
static void test_out_of_memory(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{\"id\":\"x\",\"user\":{\"id\":\"u\",\"history\":[{\"query\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}],"
        "\"criteria\":[\"k\"],"
        "\"demographics\":{\"age\":4}},\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]," RR ",\"seed\":1}",
        "{\"context\":[{\"role\":\"user\",\"content\":\"x\"}],\"chosen\":{\"content\":\"a\"},\"rejected\":{\"content\":"
        "\"b\"},\"split\":\"Test\"}"};
    for (size_t i = 0; i < 2; i++) {
        pgr_request *r = NULL;
        long nth = 1, live = mem_live();
        for (;; nth++) {
            pgr_error err = {0};
            mem_fail_nth(nth);
            pgr_status status = pgr_request_parse(texts[i], strlen(texts[i]), "r.json", &r, &err);
            mem_fail_nth(0);
            if (status == PGR_OK) break;
            assert_int_equal(status, PGR_E_MEM);
            assert_int_equal(mem_live(), live);
            assert_true(nth < 10000);
        }
        assert_true(nth > 10);
        pgr_request_free(r);
        assert_int_equal(mem_live(), live);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_request),
        cmocka_unit_test(test_least_request),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_records_of_other_forms),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_line_of_a_jsonl_file),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
