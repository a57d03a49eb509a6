/* Folders of runs: what is listed, which bytes are read, and that no path leads out of the folder or to a file that is
 * not a run's. */
#include "../base/faults.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/scratch.h"
#include "page/runs.h"

static char DIR_[200];

static void put(const char *path, const char *text) {
    char whole[400];
    snprintf(whole, sizeof whole, "%s/%s", scratch, path);
    for (char *p = whole + strlen(scratch) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(whole, 0777);
        *p = '/';
    }
    FILE *f = fopen(whole, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void link_to(const char *what, const char *path) {
    char whole[400];
    snprintf(whole, sizeof whole, "%s/%s", scratch, path);
    assert_int_equal(symlink(what, whole), 0);
}

static int begin(void **state) {
    if (make_folder(state) != 0) return -1;
    snprintf(DIR_, sizeof DIR_, "%s/runs", scratch);
    put("secret/rows.jsonl", "secret\n");
    put("rows.jsonl", "secret\n");
    put("runs/b/rows.jsonl", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    put("runs/b/verdicts.jsonl", "{}\n");
    put("runs/b/notes.txt", "secret\n");
    put("runs/a/deep/er/metrics.jsonl", "{\"step\":1}\n");
    put("runs/a/deep/er/checkpoint-1/metrics.jsonl", "secret\n");
    put("runs/.hidden/rows.jsonl", "secret\n");
    put("runs/\"><img onerror=x>/rows.jsonl", "{}\n");
    put("runs/nothing/else.txt", "x");
    link_to("../secret", "runs/linked");
    link_to("../../secret/rows.jsonl", "runs/nothing/rows.jsonl");
    return 0;
}

static void what_is_listed(void **state) {
    (void)state;
    json_t *list = NULL;
    pgr_error err = {0};
    if (runs_list(DIR_, &list, &err) != PGR_OK) fail_msg("%s", err.message);
    static const char *const want[][2] = {{"\"><img onerror=x>", "bench"}, {"a/deep/er", "train"}, {"b", "bench"}};
    assert_int_equal(json_array_size(list), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *r = json_array_get(list, i);
        assert_string_equal(json_string_value(json_object_get(r, "name")), want[i][0]);
        assert_string_equal(json_string_value(json_object_get(r, "kind")), want[i][1]);
        assert_true(json_number_value(json_object_get(r, "changed")) > 1e9);
    }
    const json_t *files = json_object_get(json_array_get(list, 2), "files");
    assert_int_equal(json_object_size(files), 2);
    assert_int_equal(json_integer_value(json_object_get(files, "rows.jsonl")), 24);
    json_decref(list);

    char one[300];
    snprintf(one, sizeof one, "%s/b", DIR_); /* the folder itself is a run */
    assert_int_equal(runs_list(one, &list, &err), PGR_OK);
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "name")), ".");
    json_decref(list);
    assert_int_equal(runs_list("/nowhere", &list, &err), PGR_E_IO);
}

static void expect_text(const char *path, uint64_t from, size_t most, const char *want) {
    buf out = {0};
    pgr_error err = {0};
    if (runs_read(DIR_, path, from, most, &out, &err) != PGR_OK) fail_msg("%s: %s", path, err.message);
    assert_string_equal(out.data ? out.data : "", want);
    assert_int_equal(out.n, strlen(want));
    buf_free(&out);
}

static void what_is_read(void **state) {
    (void)state;
    expect_text("b/rows.jsonl", 0, 1000, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    expect_text("b/rows.jsonl", 8, 1000, "{\"a\":2}\n{\"a\":3}\n");
    expect_text("b/rows.jsonl", 24, 1000, "");
    expect_text("b/rows.jsonl", UINT64_MAX / 2, 1000, "");
    expect_text("a/deep/er/metrics.jsonl", 0, 1000, "{\"step\":1}\n");
}

static void outside(void **state) {
    (void)state;
    static const char *const paths[] = {"../rows.jsonl",
                                        "../secret/rows.jsonl",
                                        "b/../../rows.jsonl",
                                        "b/../b/rows.jsonl",
                                        "./b/rows.jsonl",
                                        "b//rows.jsonl",
                                        "/b/rows.jsonl",
                                        "//etc/rows.jsonl",
                                        "/etc/passwd",
                                        "linked/rows.jsonl",
                                        "nothing/rows.jsonl",
                                        ".hidden/rows.jsonl",
                                        "b/notes.txt",
                                        "b/rows.jsonl/",
                                        "b/rows.jsonl/rows.jsonl",
                                        "b",
                                        "b/",
                                        "",
                                        "/",
                                        "..",
                                        "a/b/c/d/e/f/g/rows.jsonl",
                                        "b\\..\\rows.jsonl",
                                        "\xff/rows.jsonl"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        buf out = {0};
        pgr_error err = {0};
        if (runs_read(DIR_, paths[i], 0, 1000, &out, &err) != PGR_E_ARG) fail_msg("%s was read", paths[i]);
        assert_null(strstr(err.message, "secret"));
        assert_int_equal(out.n, 0);
        buf_free(&out);
    }
}

/* A part ends with a line where there is more; a line that is longer than a part goes in pieces. */
static void in_parts(void **state) {
    (void)state;
    expect_text("b/rows.jsonl", 0, 8, "{\"a\":1}\n");
    expect_text("b/rows.jsonl", 0, 15, "{\"a\":1}\n");
    expect_text("b/rows.jsonl", 16, 8, "{\"a\":3}\n");
    expect_text("b/rows.jsonl", 0, 5, "{\"a\":");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_listed), cmocka_unit_test(what_is_read),
                                       cmocka_unit_test(outside), cmocka_unit_test(in_parts)};
    return cmocka_run_group_tests(tests, begin, remove_folder);
}
