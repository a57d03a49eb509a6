/* test_options.c - every row of the judge's options: its default is a value of it or stands for "not given", text and
 * JSON go there and back, what is out of range is refused by name, and help and docs/options.md tell of it. */
#include "base/options.h"

#include "run_program.h"

#define EACH(row)                                                                                                      \
    const pgr_option *row = pgr_judge_option_rows();                                                                   \
    row->name;                                                                                                         \
    row++

static const json_at AT = {"test", "x"};

/* Values of a row, as text: both ends of its range, every choice. */
static size_t values(const pgr_option *row, char out[8][40]) {
    size_t n = 0;
    bool whole = row->type <= PGR_OPTION_SIZE;
    if (row->type == PGR_OPTION_TEXT) strcpy(out[n++], "a text");
    for (; row->type == PGR_OPTION_CHOICE && row->choices[n]; n++) strcpy(out[n], row->choices[n]);
    if (n > 0 || row->type == PGR_OPTION_FLAG) return n;
    for (int end = 0; end < 2; end++) {
        double v = end ? row->hi : row->lo;
        if (whole && v >= 0x1p63)
            strcpy(out[n++], "9223372036854775807");
        else
            snprintf(out[n++], 40, whole ? "%.0f" : "%.9g", v);
    }
    return n;
}

static void defaults_are_in_range(void **state) {
    (void)state;
    pgr_judge_options o = pgr_judge_options_default();
    pgr_error err = {0};
    if (options_check(pgr_judge_option_rows(), &o, &err) != PGR_OK) fail_msg("%s", err.message);
    for (EACH(row)) {
        char text[80];
        pgr_option_print(row, &o, text, sizeof text);
        assert_true((text[0] == '\0') == (row->unset != NULL)); /* what is not given has words in its place */
    }
}

static void text_goes_there_and_back(void **state) {
    (void)state;
    for (EACH(row)) {
        char v[8][40], text[80];
        for (size_t i = 0, n = values(row, v); i < n; i++) {
            pgr_judge_options o = pgr_judge_options_default();
            pgr_error err = {0};
            if (pgr_option_set(row, &o, v[i], &err) != PGR_OK) fail_msg("%s", err.message);
            pgr_option_print(row, &o, text, sizeof text);
            bool floats = row->type == PGR_OPTION_FLOAT || row->type == PGR_OPTION_DOUBLE;
            if (floats ? strtod(text, NULL) != strtod(v[i], NULL) : strcmp(text, v[i]) != 0)
                fail_msg("%s: %s became %s", row->name, v[i], text);
        }
        if (row->type != PGR_OPTION_FLAG) continue;
        pgr_judge_options o = pgr_judge_options_default();
        assert_int_equal(pgr_option_set(row, &o, NULL, NULL), PGR_OK);
        pgr_option_print(row, &o, text, sizeof text);
        assert_string_equal(text, row->standard != 0 ? "false" : "true");
    }
}

static void json_goes_there_and_back(void **state) {
    (void)state;
    json_setup();
    for (EACH(row)) {
        char v[8][40], before[80], after[80];
        size_t n = values(row, v);
        for (size_t i = 0; i < n + 2; i++) { /* at the end the default, and a flag's other value */
            pgr_judge_options o = pgr_judge_options_default(), back = pgr_judge_options_default();
            if (i < n) assert_int_equal(pgr_option_set(row, &o, v[i], NULL), PGR_OK);
            if (i > n && row->type == PGR_OPTION_FLAG) assert_int_equal(pgr_option_set(row, &o, NULL, NULL), PGR_OK);
            json_t *json = option_json(row, &o);
            pgr_error err = {0};
            assert_non_null(json);
            if (option_from_json(row, &back, json, AT, &err) != PGR_OK) fail_msg("%s", err.message);
            pgr_option_print(row, &o, before, sizeof before);
            pgr_option_print(row, &back, after, sizeof after);
            assert_string_equal(before, after);
            json_decref(json);
        }
    }
}

/* The message of text that is refused; the options are as before. */
static void assert_refuses(const pgr_option *row, const char *text) {
    pgr_judge_options o = pgr_judge_options_default();
    pgr_error err = {0};
    char expected[160], message[400], before[80], after[80];
    pgr_option_print(row, &o, before, sizeof before);
    option_expected(row, expected, sizeof expected);
    snprintf(message, sizeof message, "%s: found \"%s\", expected %s", row->name, text, expected);
    assert_int_equal(pgr_option_set(row, &o, text, &err), PGR_E_ARG);
    assert_string_equal(err.message, message);
    pgr_option_print(row, &o, after, sizeof after);
    assert_string_equal(before, after);
}

static void out_of_range_is_refused(void **state) {
    (void)state;
    for (EACH(row)) {
        if (row->type == PGR_OPTION_TEXT || row->type == PGR_OPTION_FLAG) continue;
        char text[40];
        static const char *const never[] = {"", " 1", "1x", "nan", "inf", "0x1p3", "99999999999999999999", "auto "};
        for (size_t i = 0; i < sizeof never / sizeof *never; i++) assert_refuses(row, never[i]);
        if (row->type == PGR_OPTION_CHOICE) continue;
        snprintf(text, sizeof text, "%.0f", row->hi + 1);
        assert_refuses(row, row->hi >= 0x1p63 ? "9223372036854775808" : text);
        snprintf(text, sizeof text, "%.0f", row->lo - 1);
        assert_refuses(row, text);
    }
}

/* A struct filled in by hand is held to the same ranges, NaN too. */
static void structs_are_checked(void **state) {
    (void)state;
    pgr_judge_options o = pgr_judge_options_default();
    pgr_error err = {0};
    o.adaptive = 0.3;
    assert_int_equal(options_check(pgr_judge_option_rows(), &o, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "adaptive is 0.2999"));
    assert_non_null(strstr(err.message, ", expected a number from 0.5 to 1"));
    o = pgr_judge_options_default();
    o.sampling.temperature = strtof("nan", NULL);
    assert_int_equal(options_check(pgr_judge_option_rows(), &o, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "temperature is nan, expected a number from 0 to 10"));
    o = pgr_judge_options_default();
    o.history_by = (pgr_history_by)7;
    assert_int_equal(options_check(pgr_judge_option_rows(), &o, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "history_by is ?, expected random, relevant or recent"));
    o = pgr_judge_options_default();
    o.ind = -2;
    assert_int_equal(options_check(pgr_judge_option_rows(), &o, &err), PGR_E_ARG);
    assert_string_equal(err.message, "ind is -2, expected a whole number from 0 to 1024");
}

static void json_of_another_kind_is_refused(void **state) {
    (void)state;
    for (EACH(row)) {
        pgr_judge_options o = pgr_judge_options_default();
        pgr_error err = {0};
        json_t *list = json_array();
        assert_int_equal(option_from_json(row, &o, list, AT, &err), PGR_E_FORMAT);
        assert_int_equal(strncmp(err.message, "test: x: found ", 15), 0);
        json_decref(list);
        if (row->type == PGR_OPTION_TEXT || row->type == PGR_OPTION_FLAG || row->hi >= 0x1p63) continue;
        json_t *far = row->type == PGR_OPTION_CHOICE                                    ? json_string("no such")
                      : row->type == PGR_OPTION_FLOAT || row->type == PGR_OPTION_DOUBLE ? json_real(1e9)
                                                                                        : json_integer(1 << 30);
        assert_int_equal(option_from_json(row, &o, far, AT, &err), PGR_E_FORMAT);
        json_decref(far);
    }
}

/* ---- what people read -------------------------------------------------------------------------------------------- */

static void help_and_docs_tell_of_each(void **state) {
    (void)state;
    ran help = run_program("pgenrm score --help");
    char *docs = slurp(PGR_SOURCE_DIR "/docs/options.md");
    for (EACH(row)) {
        char name[60], expected[160], line[700], text[400];
        bool on = row->type == PGR_OPTION_FLAG && row->standard != 0;
        snprintf(name, sizeof name, "--%s%s%s%s", on ? "no-" : "", row->name, row->value ? " " : "",
                 row->value ? row->value : "");
        if (!strstr(help.out, name)) fail_msg("score --help does not tell of %s", name);
        option_expected(row, expected, sizeof expected);
        pgr_option_help(row, text, sizeof text);
        const char *bar = strchr(name, '|'); /* ends a cell where it is not escaped */
        char cell[62];
        snprintf(cell, sizeof cell, "%.*s%s%s", bar ? (int)(bar - name) : (int)strlen(name), name, bar ? "\\" : "",
                 bar ? bar : "");
        snprintf(line, sizeof line, "| `%s` | %s | %s |\n", cell, row->type == PGR_OPTION_FLAG ? "" : expected, text);
        if (!strstr(docs, line)) fail_msg("docs/options.md has not the line\n%s", line);
    }
    free(docs);
    run_free(&help);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_in_range),      cmocka_unit_test(text_goes_there_and_back),
        cmocka_unit_test(json_goes_there_and_back),   cmocka_unit_test(out_of_range_is_refused),
        cmocka_unit_test(structs_are_checked),        cmocka_unit_test(json_of_another_kind_is_refused),
        cmocka_unit_test(help_and_docs_tell_of_each),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
