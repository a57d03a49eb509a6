/* test_report.c - `pgenrm report` as a user meets it. */
#include "json_out.h"

static void a_benchmark(void **state) {
    (void)state;
    json_t *v =
        json_from(run_well("pgenrm bench --ind 0 -q --out \"$SCRATCH\"/run examples/choices.jsonl >/dev/null && "
                           "pgenrm report \"$SCRATCH\"/run --out \"$SCRATCH\"/site --json"));
    assert_int_equal(json_integer_value(json_object_get(v, "runs")), 1);
    assert_string_equal(json_string_value(json_object_get(v, "path")), path_of("site"));
    json_decref(v);
    char *page = slurp(path_of("site/index.html"));
    assert_non_null(strstr(page, "length-personal"));
    free(page);
    page = slurp(path_of("run/verdicts.jsonl")); /* whose the pairs are: what the page needs for accuracy by user */
    assert_non_null(strstr(page, "\"user\":\""));
    free(page);
    char *example = example_of("report");
    assert_non_null(strstr(example, "pgenrm report RUN --out SITE"));
    free(example);
}

static void what_is_wrong(void **state) {
    (void)state;
    assert_ends("pgenrm report", 2, "expected one DIR");
    assert_ends("pgenrm report a b --out c", 2, "expected one DIR");
    assert_ends("pgenrm report examples", 2, "expected --out SITE");
    assert_ends("pgenrm report examples --out \"$SCRATCH\"/none", 1, "found no run");
    assert_ends("pgenrm report /nowhere --out \"$SCRATCH\"/none", 1, "/nowhere");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_benchmark), cmocka_unit_test(what_is_wrong)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
