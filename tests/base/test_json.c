/* test_json.c - messages with line and expectation, hostile texts, writing and reading back, failing allocations. */
#include "faults.h"

#include <math.h>

#include "base/json.h"
#include "base/legible.h"
#include "base/text.h"

static void bad(const char *text, size_t len, size_t first_line, const char *want) {
    pgr_error err = {.message = ""};
    json_t *v = NULL;
    long live = mem_live();
    assert_int_equal(json_parse(text, len, "r.json", first_line, &v, &err), PGR_E_FORMAT);
    assert_null(v);
    assert_int_equal(mem_live(), live);
    assert_string_equal(err.message, want);
}

#define BAD(text, want) bad(text, sizeof(text) - 1, 1, want)

static void errors_name_line_and_expectation(void **state) {
    (void)state;
    BAD("", "r.json:1: found end of file, expected a value");
    BAD("{\"a\": 1,\n \"b\" 2}", "r.json:2: found '2', expected ':'");
    BAD("[\"a\"\n\"a text of more than twenty bytes\"]", "r.json:2: found a longer text, expected ',' or ']'");
    BAD("[1, 2", "r.json:1: found end of file, expected ']'");
    BAD("{\"a\": 1}\n\nx", "r.json:3: found 'x', expected end of file");
    BAD("{\"a\": 1, \"a\": 2}", "r.json:1: duplicate object key near '\"a\"', expected each key once in an object");
    BAD("[\"\\u0000\"]", "r.json:1: found a NUL character (\\u0000) in a string, expected text without it");
    BAD("[99999999999999999999]",
        "r.json:1: too big integer near '99999999999999999999', expected a number that fits 64 bits");
    bad("{\n\n!", 4, 40, "r.json:42: found '!', expected string or '}'");
}

/* A byte order mark at the beginning is read over, whoever reads. */
static void byte_order_mark(void **state) {
    (void)state;
    json_t *v = NULL;
    pgr_error err;
    assert_int_equal(json_parse("\xef\xbb\xbf[7]", 6, "r", 1, &v, &err), PGR_OK);
    assert_int_equal(json_integer_value(json_array_get(v, 0)), 7);
    json_decref(v);
    assert_int_equal(json_parse("\xef\xbb\xbf", 3, "r", 1, &v, &err), PGR_E_FORMAT);
}

/* NaN and infinities, as Python writes them, are values of their own kind outside strings, and text inside. */
static void numbers_that_are_none(void **state) {
    (void)state;
    static const char text[] = "{\"NaN\": NaN, \"a\": [-Infinity, Infinity,1e300], \"b\": \"\\\"NaN\"}";
    json_t *v = NULL;
    pgr_error err;
    if (json_parse_nan(text, sizeof text - 1, "r", 1, &v, &err) != PGR_OK) fail_msg("%s", err.message);
    const json_t *a = json_object_get(v, "a");
    assert_true(json_is_nan(json_object_get(v, "NaN")));
    assert_true(json_is_nan(json_array_get(a, 0)) && json_is_nan(json_array_get(a, 1)));
    assert_false(json_is_nan(json_array_get(a, 2)));
    assert_string_equal(json_string_value(json_object_get(v, "b")), "\"NaN");
    assert_string_equal(json_kind(json_object_get(v, "NaN")), "NaN");
    assert_false(json_is_nan(NULL));
    json_decref(v);
    assert_int_equal(json_parse_nan("{\n\"a\": Nan}", 12, "r", 1, &v, &err), PGR_E_FORMAT);
    assert_true(text_starts(err.message, "r:2: "));
    assert_int_equal(json_parse_nan("[NaN 1]", 7, "r", 1, &v, &err), PGR_E_FORMAT);
}

/* Their wording is jansson's; what counts is that each is refused, with its line and without a crash. */
static void refuses_hostile_texts(void **state) {
    (void)state;
    static const char *const texts[] = {
        "nul",           "[1e999]", "[01]", "['a']",          "{a: 1}",          "[\"\xff\"]", "[\"\xed\xa0\x80\"]",
        "[\"\\ud800\"]", "[NaN]",   "[1,]", "{\xef\xbb\xbf}", "{\"\\u0000\": 1}"};
    pgr_error err;
    json_t *v = NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(json_parse(texts[i], strlen(texts[i]), "r", 1, &v, &err), PGR_E_FORMAT);
        assert_true(text_starts(err.message, "r:1: "));
        assert_non_null(strstr(err.message, "expected "));
    }
    static char deep[100000];
    memset(deep, '[', sizeof deep);
    assert_int_equal(json_parse(deep, sizeof deep, "r", 1, &v, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "expected fewer levels"));
    assert_int_equal(json_parse("[\0]", 3, "r", 1, &v, &err), PGR_E_FORMAT);
    assert_null(v);
}

/* transformers writes model_max_length 1e30 as a whole number. */
static void whole_numbers_beyond_64_bits_as_reals(void **state) {
    (void)state;
    static const char text[] = "[1000000000000000019884624838656, 7]";
    json_t *v = NULL;
    pgr_error err;
    assert_int_equal(json_parse(text, sizeof text - 1, "r", 1, &v, &err), PGR_E_FORMAT);
    assert_int_equal(json_parse_reals(text, sizeof text - 1, "r", 1, &v, &err), PGR_OK);
    assert_true(json_real_value(json_array_get(v, 0)) == 1e30 && json_real_value(json_array_get(v, 1)) == 7);
    json_decref(v);
    v = NULL;
    assert_int_equal(json_parse_reals("[1e999]", 7, "r", 1, &v, &err), PGR_E_FORMAT);
    assert_int_equal(json_parse_reals("[1,\n2", 5, "r", 1, &v, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "r:2: "));
    assert_null(v);
}

static json_t *parse(const char *text) {
    json_t *v = NULL;
    pgr_error err;
    if (json_parse(text, strlen(text), "t", 1, &v, &err) != PGR_OK) fail_msg("%s", err.message);
    return v;
}

static void wants_kinds(void **state) {
    (void)state;
    pgr_error err;
    json_t *v = parse("{\"s\": \"text\", \"i\": 7, \"r\": 1.5, \"a\": [], \"n\": null, \"t\": true}");
    json_at at = {"r.json", "user.history[2].chosen"};
    const char *s = NULL;
    int64_t n = 0;
    assert_int_equal(json_want_string(json_object_get(v, "s"), at, &s, &err), PGR_OK);
    assert_string_equal(s, "text");
    assert_int_equal(json_want_string(json_object_get(v, "i"), at, &s, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "r.json: user.history[2].chosen: found an integer, expected a string");
    assert_int_equal(json_want_integer(json_object_get(v, "i"), at, 0, 7, &n, &err), PGR_OK);
    assert_int_equal(n, 7);
    assert_int_equal(json_want_integer(json_object_get(v, "i"), at, 8, 10, &n, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "r.json: user.history[2].chosen: found 7, expected 8 to 10");
    assert_int_equal(json_want_integer(json_object_get(v, "r"), at, 0, 10, &n, &err), PGR_E_FORMAT);
    assert_int_equal(json_want_array(json_object_get(v, "a"), at, &err), PGR_OK);
    assert_int_equal(json_want_array(json_object_get(v, "t"), at, &err), PGR_E_FORMAT);
    assert_int_equal(json_want_object(v, at, &err), PGR_OK);
    assert_int_equal(json_want_object(json_object_get(v, "missing"), (json_at){"r.json", ""}, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "r.json: found nothing, expected an object");
    assert_string_equal(json_kind(json_object_get(v, "n")), "null");
    json_decref(v);

    v = json_stringn("a\0b", 3); /* cannot be parsed, but can be made */
    assert_int_equal(json_want_string(v, at, &s, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "found a NUL character"));
    json_decref(v);
}

static void only_known_keys(void **state) {
    (void)state;
    static const char *const known[] = {"query", "responses", "user", NULL};
    json_at at = {"r.json", "user"};
    pgr_error err;
    json_t *v = parse("{\"query\": 1, \"user\": 2}");
    assert_int_equal(json_only_keys(v, known, at, &err), PGR_OK);
    json_decref(v);
    v = parse("{\"query\": 1, \"respones\": 2}");
    assert_int_equal(json_only_keys(v, known, at, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "r.json: user: unknown key \"respones\", expected perhaps \"responses\"");
    json_decref(v);
    v = parse("{\"temperature\": 1}");
    assert_int_equal(json_only_keys(v, known, at, &err), PGR_E_FORMAT);
    assert_string_equal(err.message,
                        "r.json: user: unknown key \"temperature\", expected one of: query, responses, user");
    json_decref(v);
    v = parse("[]");
    assert_int_equal(json_only_keys(v, known, at, &err), PGR_E_FORMAT);
    json_decref(v);
}

static void written_strings_read_back(void **state) {
    (void)state;
    buf b = {0};
    json_put_string(&b, "a\"\\\n\t\x01/\x7f\xE2\x82\xAC", 11);
    assert_string_equal(b.data, "\"a\\\"\\\\\\n\\t\\u0001/\\u007f\xE2\x82\xAC\"");
    buf_clear(&b);
    json_put_string(&b, "x\xff\xE2\x82", 4);
    assert_string_equal(b.data, "\"x\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    for (int c = 1; c < 256; c++) { /* every byte gives a text that parses; ASCII comes back as it was */
        char s[2] = {(char)c, 'z'};
        buf_clear(&b);
        json_put_string(&b, s, 2);
        json_t *v = parse(b.data);
        if (c < 0x80) assert_memory_equal(json_string_value(v), s, 2);
        json_decref(v);
    }
    buf_free(&b);
}

static void number(double v, const char *want) {
    buf b = {0};
    json_put_number(&b, v);
    assert_string_equal(b.data, want);
    json_decref(parse(b.data));
    buf_free(&b);
}

static void writes_numbers(void **state) {
    (void)state;
    number(0, "0");
    number(-0.0, "0");
    number(7, "7");
    number(-3, "-3");
    number(1234567890123, "1234567890123");
    number(0.1, "0.1");
    number(0.1 + 0.2, "0.3");
    number(5.65, "5.65");
    number(1.0 / 3, "0.333333");
    number(6.9999999999, "7");
    number(1e-7, "1e-07");
    number(1e300, "1e+300");
    number(NAN, "null");
    number(INFINITY, "null");
    for (int i = 1; i < 10000; i++) { /* up to six digits survive the way there and back */
        buf b = {0};
        json_put_number(&b, i / 1000.0);
        assert_true(strtod(b.data, NULL) == i / 1000.0);
        buf_free(&b);
    }
}

static bool parse_and_write(void) {
    static const char text[] =
        "{\"user\": {\"history\": [{\"chosen\": \"a\\u20ac\", \"n\": 12, \"x\": 1.5}, null]},"
        "\"a\": 1, \"b\": 2, \"c\": 3, \"d\": 4, \"e\": 5, \"f\": 6, \"g\": 7, \"h\": 8, \"i\": 9,"
        "\"list\": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]}";
    json_t *v = NULL;
    pgr_error err;
    pgr_status status = json_parse(text, sizeof text - 1, "t", 1, &v, &err);
    if (status != PGR_OK) assert_int_equal(status, PGR_E_MEM); /* never a false complaint about the text */
    buf b = {0};
    if (v) json_put_string(&b, "text", 4);
    bool ok = v && !b.failed;
    buf_free(&b);
    json_decref(v);
    return ok;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    assert_in_range(fail_each_allocation(parse_and_write), 30, 1000);
}

static char string_text[128];

static bool parse_string(void) {
    json_t *v = NULL;
    pgr_status status = json_parse(string_text, strlen(string_text), "t", 1, &v, NULL);
    if (status != PGR_OK) assert_int_equal(status, PGR_E_MEM);
    json_decref(v);
    return status == PGR_OK;
}

/* A buffer that cannot grow may lose any character of a string, its closing quote too. */
static void strings_survive_failed_allocations(void **state) {
    (void)state;
    for (size_t n = 0; n < 100; n++) {
        snprintf(
            string_text, sizeof string_text, "[\"%.*s\"]", (int)n,
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890");
        fail_each_allocation(parse_string);
    }
    /* Numbers and escapes at every place where the buffer may have to grow: jansson itself would end the program. */
    for (size_t n = 1; n < 40; n++) {
        static const char digits[] = "1000000000000000000000000000000000000000";
        snprintf(string_text, sizeof string_text, "[1.%.*s, {\"k\": 2}, 3]", (int)n, digits);
        fail_each_allocation(parse_string);
        snprintf(string_text, sizeof string_text, "{\"%.*s\\n\\u00e9\\\"\": [\"%.*s\\t\", true]}", (int)n, digits,
                 (int)n, digits);
        fail_each_allocation(parse_string);
    }
}

/* A dozen keys and items, so that tables grow on the way: whole, or nothing. */
static bool put_together(void) {
    static const char *const KEYS[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};
    enum { N = sizeof KEYS / sizeof *KEYS };
    json_t *o = json_object(), *list = json_array();
    for (int i = 0; i < N; i++) {
        json_add(&list, json_integer(i));
        json_give(&o, KEYS[i], json_integer(i));
    }
    json_give(&o, "list", json_incref(list));
    json_share(&o, "none", NULL);
    json_t *twin = json_twin(o);
    bool whole = json_array_size(list) == N && json_object_size(twin) == N + 1;
    assert_true(whole || !twin);
    assert_true(!list || json_array_size(list) == N);
    json_decref(twin);
    json_decref(o);
    json_decref(list);
    return whole;
}

static void no_part_is_lost_without_memory(void **state) {
    (void)state;
    json_setup();
    assert_in_range(fail_each_allocation(put_together), 30, 1000);
}

/* Names of files may be in no UTF-8: that is no lack of memory. */
static void text_from_outside(void **state) {
    (void)state;
    json_t *v = legible_json("caf\xe9\xe2\x82.jsonl"), *same = legible_json_n("caf\xe9\xe2\x82.jsonl?", 12);
    assert_string_equal(json_string_value(v), "caf\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD.jsonl");
    assert_true(json_equal(v, same));
    json_decref(v);
    json_decref(same);
    v = legible_json_n("a\0b", 3);
    assert_int_equal(json_string_length(v), 3);
    json_decref(v);
    v = legible_json("");
    assert_string_equal(json_string_value(v), "");
    json_decref(v);
    assert_true(json_is_null(legible_json(NULL)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_line_and_expectation),
        cmocka_unit_test(refuses_hostile_texts),
        cmocka_unit_test(byte_order_mark),
        cmocka_unit_test(numbers_that_are_none),
        cmocka_unit_test(whole_numbers_beyond_64_bits_as_reals),
        cmocka_unit_test(wants_kinds),
        cmocka_unit_test(only_known_keys),
        cmocka_unit_test(written_strings_read_back),
        cmocka_unit_test(writes_numbers),
        cmocka_unit_test(text_from_outside),
        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(strings_survive_failed_allocations),
        cmocka_unit_test(no_part_is_lost_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
