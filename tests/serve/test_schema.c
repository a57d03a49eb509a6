/* JSON schemas as grammars: what they let through and what not, and what is refused by its name. */
#include "../base/faults.h"

#include "infer/grammar.h"
#include "serve/schema.h"

static grammar *compile(const char *schema, bool choice) {
    json_t *v = NULL;
    pgr_error err = {0};
    buf text = {0};
    grammar *g = NULL;
    if (json_parse(schema, strlen(schema), "schema", 1, &v, &err) != PGR_OK) fail_msg("%s", err.message);
    pgr_status s = choice ? schema_choice(v, "at", &text, &err) : schema_grammar(v, "at", &text, &err);
    if (s == PGR_OK) s = grammar_compile(text.data, text.n, "grammar", &g, &err);
    if (s != PGR_OK) fail_msg("%s: %s", schema, err.message);
    buf_free(&text);
    json_decref(v);
    return g;
}

static bool accepts(grammar *g, const char *text) {
    int state;
    assert_int_equal(grammar_walk(g, grammar_start(g), text, strlen(text), &state, NULL), PGR_OK);
    return state != GRAMMAR_DEAD && grammar_accepts(g, state);
}

static void lets_through_what_is_valid(void **state) {
    (void)state;
    static const struct {
        const char *schema, *yes[6], *no[6];
    } rows[] = {
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"}},"
         "\"required\":[\"a\",\"b\"],\"additionalProperties\":false}",
         {"{\"a\": 1, \"b\": \"x\"}", "{\"a\": -20, \"b\": \"\\u00e9\\n\xC3\xA9\"}"},
         {"{\"a\": 1}", "{\"b\": \"x\", \"a\": 1}", "{\"a\": 01, \"b\": \"\"}", "{\"a\": 1, \"b\": \"\n\"}", "{}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2},\"c\":{\"const\":3}},"
         "\"required\":[\"b\"]}",
         {"{\"b\": 2}", "{\"a\": 1, \"b\": 2}", "{\"b\": 2, \"c\": 3}", "{\"a\": 1, \"b\": 2, \"c\": 3}"},
         {"{\"a\": 1}", "{, \"b\": 2}", "{\"b\": 2, }", "{\"a\": 1, \"c\": 3}"}},
        {"{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"boolean\"}}}",
         {"{}", "{\"a\": null}", "{\"b\": true}", "{\"a\": null, \"b\": false}"},
         {"{\"a\": true}", "{\"b\": true, \"a\": null}", "null"}},
        {"{\"enum\":[\"red\",\"a \\\"b\\\"\",null,1.5,{\"k\":[1,2]}]}",
         {"\"red\"", "\"a \\\"b\\\"\"", "null", "1.5", "{\"k\":[1,2]}"},
         {"red", "\"blue\"", "1"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10},\"minItems\":1,"
         "\"maxItems\":3}",
         {"[1]", "[10, 2]", "[1, 2, 3]"},
         {"[]", "[0]", "[11]", "[1, 2, 3, 4]", "[1,2]"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"}}",
         {"[]", "[true]", "[true, false]"},
         {"[1]", "[true,]"}},
        {"{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"type\":\"string\"}]}", {"[1, \"x\"]"}, {"[1]", "[]"}},
        {"{\"type\":[\"string\",\"null\"],\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"abc\"", "\"\xC3\xA9\\\"\"", "null"},
         {"\"a\"", "\"abcd\""}},
        {"{\"anyOf\":[{\"type\":\"number\"},{\"$ref\":\"#/$defs/x\"}],\"$defs\":{\"x\":{\"const\":\"x\"}}}",
         {"1", "-0.5e3", "\"x\""},
         {"\"y\"", "1.", ".5", "+1"}},
        {"{\"type\":\"string\",\"format\":\"date-time\"}", {"\"2026-11-30T23:59:59Z\""}, {"\"2026-13-01T00:00:00Z\""}},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":4}", {"1", "3"}, {"0", "4"}},
        {"{\"type\":\"integer\",\"minimum\":1}", {"1", "99"}, {"0", "-1"}},
        {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}",
         {"{}", "{\"k\": 1}", "{\"k\": 1, \"l\": 2}"},
         {"{\"k\": \"x\"}"}},
        {"{\"type\":\"object\",\"additionalProperties\":false}", {"{}"}, {"{\"a\": 1}"}},
        {"{\"allOf\":[{\"type\":\"object\",\"title\":\"T\",\"properties\":{\"a\":{\"description\":\"any\"}},"
         "\"required\":[\"a\"]}]}",
         {"{\"a\": [1, \"x\"]}", "{\"a\": {\"b\": null}}", "{\"a\": 1}"},
         {"{}"}},
        /* schemas that hold themselves: three levels deep in themselves, and no more */
        {"{\"type\":\"object\",\"properties\":{\"v\":{\"const\":1},\"next\":{\"$ref\":\"#\"}},\"required\":[\"v\"]}",
         {"{\"v\": 1}", "{\"v\": 1, \"next\": {\"v\": 1}}",
          "{\"v\": 1, \"next\": {\"v\": 1, \"next\": {\"v\": 1, \"next\": {\"v\": 1}}}}"},
         {"{\"v\": 1, \"next\": {}}", "{\"v\": 1, \"next\": 1}",
          "{\"v\": 1, \"next\": {\"v\": 1, \"next\": {\"v\": 1, \"next\": {\"v\": 1, \"next\": {\"v\": 1}}}}}"}},
        {"{\"$ref\":\"#/$defs/n\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"string\"},"
         "\"of\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/n\"}}},\"required\":[\"n\",\"of\"]}}}",
         {"{\"n\": \"a\", \"of\": []}",
          "{\"n\": \"a\", \"of\": [{\"n\": \"b\", \"of\": []}, {\"n\": \"\", \"of\": []}]}"},
         {"{\"n\": \"a\"}", "{\"n\": \"a\", \"of\": [1]}"}},
        {"{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"minItems\":2,"
         "\"maxItems\":2}]}",
         {"1", "[1, 2]", "[[1, 2], [3, [4, 5]]]"},
         {"[1]", "[]", "[1, 2, 3]"}},
        {"{\"type\":\"object\",\"properties\":{\"left\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}},"
         "\"required\":[\"left\"]}",
         {"{\"left\": null}", "{\"left\": {\"left\": null}}"},
         {"{}", "{\"left\": {}}"}},
        {"{\"type\":[\"string\",\"object\"],\"additionalProperties\":{\"$ref\":\"#\"}}",
         {"\"a\"", "{\"a\": {\"b\": \"c\"}}", "{\"a\": {\"b\": {\"c\": {}}}}"},
         {"{\"a\": 1}"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        grammar *g = compile(rows[i].schema, false);
        for (size_t k = 0; k < 6 && rows[i].yes[k]; k++)
            if (!accepts(g, rows[i].yes[k])) fail_msg("%s: refuses %s", rows[i].schema, rows[i].yes[k]);
        for (size_t k = 0; k < 6 && rows[i].no[k]; k++)
            if (accepts(g, rows[i].no[k])) fail_msg("%s: takes %s", rows[i].schema, rows[i].no[k]);
        grammar_unref(g);
    }
}

static void names_what_it_lacks(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"{\"type\":\"string\",\"pattern\":\"a+\"}", "pattern"},
        {"{\"type\":\"array\",\"uniqueItems\":true}", "uniqueItems"},
        {"{\"type\":\"number\",\"minimum\":0}", "minimum"},
        {"{\"type\":\"integer\",\"minimum\":0,\"maximum\":5000}", "minimum"},
        {"{\"type\":\"integer\",\"multipleOf\":3}", "multipleOf"},
        {"{\"not\":{}}", "not"},
        {"{\"type\":\"string\",\"format\":\"email\"}", "format"},
        {"{\"$ref\":\"#\"}", "$ref"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", "never ends"},
        {"{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"minItems\":1}]}", "never ends"},
        {"{\"$ref\":\"other.json\"}", "$ref"},
        {"{\"type\":\"thing\"}", "type"},
        {"{\"type\":[]}", "type"},
        {"{\"enum\":[]}", "enum"},
        {"{\"properties\":{},\"required\":[\"a\"]}", "required"},
        {"{\"properties\":[]}", "properties"},
        {"{\"properties\":{\"a\":{}},\"required\":[\"a\",\"a\"]}", "required"},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":9223372036854775807}", "exclusiveMinimum"},
        {"{\"type\":\"integer\",\"minimum\":-9223372036854775808,\"maximum\":9223372036854775807}", "minimum"},
        {"{\"minLength\":-1,\"type\":\"string\"}", "minLength"},
        {"{\"items\":3}", "schema"},
        {"[1]", "schema"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *v = NULL;
        pgr_error err = {0};
        buf text = {0};
        assert_int_equal(json_parse(rows[i][0], strlen(rows[i][0]), "schema", 1, &v, &err), PGR_OK);
        pgr_status s = schema_grammar(v, "at", &text, &err);
        if ((s != PGR_E_UNSUPPORTED && s != PGR_E_FORMAT) || !strstr(err.message, rows[i][1]))
            fail_msg("%s: %d %s", rows[i][0], s, err.message);
        buf_free(&text);
        json_decref(v);
    }
}

/* Of an object with so many properties that looking for each among the required ones would take minutes. */
static void refuses_too_many_properties(void **state) {
    (void)state;
    json_t *properties = json_object(), *required = json_array();
    for (int i = 0; i < 5000; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        json_object_set_new(properties, name, json_pack("{s:s}", "type", "null"));
        json_array_append_new(required, json_string(name));
    }
    json_t *v = json_pack("{s:o, s:o}", "properties", properties, "required", required);
    pgr_error err = {0};
    buf text = {0};
    assert_int_equal(schema_grammar(v, "at", &text, &err), PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "properties"));
    buf_free(&text);
    json_decref(v);
}

static void any_object_and_choices(void **state) {
    (void)state;
    buf text = {0};
    grammar *g = NULL;
    pgr_error err = {0};
    schema_any_object(&text);
    if (grammar_compile(text.data, text.n, "any", &g, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_true(accepts(g, "{}"));
    assert_true(accepts(g, "{\"a\": {\"b\": [1, {\"c\": null}]}, \"d\": \"e\"}"));
    assert_false(accepts(g, "[]"));
    assert_false(accepts(g, "{\"a\"}"));
    grammar_unref(g);
    buf_free(&text);
    g = compile("[\"yes\",\"no \\\"really\\\"\"]", true);
    assert_true(accepts(g, "yes"));
    assert_true(accepts(g, "no \"really\""));
    assert_false(accepts(g, "no"));
    grammar_unref(g);
}

/* Each of many properties holds the schema, and a last one never ends: refused soon, not tried in every order. */
static void one_that_would_be_tried_for_ever(void **state) {
    (void)state;
    buf text = {0}, out = {0};
    json_t *v = NULL;
    pgr_error err = {0};
    buf_puts(&text, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 60; i++) buf_printf(&text, "\"p%d\":{\"$ref\":\"#\"},", i);
    buf_puts(&text, "\"z\":{\"$ref\":\"#\"}},\"required\":[\"z\"]}");
    assert_int_equal(json_parse(text.data, text.n, "schema", 1, &v, &err), PGR_OK);
    assert_int_equal(schema_grammar(v, "at", &out, &err), PGR_E_UNSUPPORTED);
    json_decref(v);
    buf_free(&out);
    buf_free(&text);
}

static bool grammar_of_alternatives(void) {
    static const char text[] = "{\"anyOf\": [{\"enum\": [1, \"two\"]}, {\"type\": [\"string\", \"null\"]}]}";
    json_t *schema = NULL;
    buf out = {0};
    pgr_error err = {0};
    pgr_status s = json_parse(text, sizeof text - 1, "schema", 1, &schema, &err);
    if (s == PGR_OK) s = schema_grammar(schema, "schema", &out, &err);
    if (s != PGR_OK && s != PGR_E_MEM) fail_msg("%s", err.message);
    bool whole = s == PGR_OK && !out.failed;
    buf_free(&out);
    json_decref(schema);
    return whole;
}

/* Alternatives that there was no memory to write are not taken for ones that never end. */
static void without_memory(void **state) {
    (void)state;
    assert_true(fail_allocations(grammar_of_alternatives, 1) > 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lets_through_what_is_valid),       cmocka_unit_test(names_what_it_lacks),
        cmocka_unit_test(one_that_would_be_tried_for_ever), cmocka_unit_test(refuses_too_many_properties),
        cmocka_unit_test(any_object_and_choices),           cmocka_unit_test(without_memory)};
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
