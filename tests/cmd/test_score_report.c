/* test_score_report.c - the report that `pgenrm score` prints for people, and its arithmetic done again by hand. */
#include <math.h>

#include "json_out.h"

static void test_nobody(void **state) {
    (void)state;
    static const char says[] = "Who is asking\n  Nobody whose choices are known: this is what the judge finds good for "
                               "anybody.\n";
    ran r = run_program("pgenrm score -q --ind 1 --frame compact examples/new_user.json");
    if (!strstr(r.out, says)) fail_msg("%s%s", r.out, r.err);
    run_free(&r);
    r = run_program("pgenrm score -q --ind 1 --frame compact examples/request.json");
    if (strstr(r.out, "Nobody whose")) fail_msg("%s%s", r.out, r.err);
    run_free(&r);
}

/* Characters of the longest line. */
static size_t longest_line(const char *s) {
    size_t longest = 0, n = 0;
    for (; *s; s++) {
        n = *s == '\n' ? 0 : n + ((*s & 0xC0) != 0x80);
        if (n > longest) longest = n;
    }
    return longest;
}

static void test_report(void **state) {
    (void)state;
    ran r = run_score("COLUMNS=60 pgenrm score --ind 2 --frame compact examples/multi_turn.json");
    static const char *const parts[] = {
        "multi-turn", "Rubric",  "Criterion", "Weight", "Score, mean of",        "Scores",
        "Verdict",    "Details", "Tokens",    "Time",   "The judge is untrained"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(r.out, parts[i])) fail_msg("no %s in:\n%s", parts[i], r.out);
    assert_null(strchr(r.out, '\033')); /* no colours into a file */
    assert_true(longest_line(r.out) <= 60);
    run_free(&r);
}

/* From the JSON: six digits of every number are written. */
static void test_rubric_json(void **state) {
    (void)state;
    json_t *v = json_from(run_score("pgenrm score --json --ind 8 --frame compact examples/multi_turn.json"));
    const json_t *criteria = at(v, "criteria"), *responses = at(v, "responses");
    double weights = 0, totals[3] = {0};
    for (size_t k = 0; k < json_array_size(criteria); k++) {
        const json_t *c = json_array_get(criteria, k);
        weights += json_number_value(at(c, "weight"));
        assert_non_null(at(c, "share"));
        assert_non_null(at(c, "contested"));
        for (size_t i = 0; i < 3; i++)
            totals[i] +=
                json_number_value(at(c, "weight")) / 100 * json_number_value(json_array_get(at(c, "scores"), i));
    }
    assert_true(fabs(weights - 100) < 1e-3);
    for (size_t i = 0; i < 3; i++) assert_true(fabs(totals[i] - json_number_value(in(responses, i, "score"))) < 2e-4);
    json_decref(v);
}

/* The two numbers that end a line. */
static int last_two(const char *line, double out[2]) {
    const char *end = line + strcspn(line, "\n"), *p = end;
    for (int k = 2; k > 0; k--) {
        while (p > line && p[-1] == ' ') p--;
        while (p > line && p[-1] != ' ') p--;
        char *after = NULL;
        out[k - 1] = strtod(p, &after);
        if (after == p) return 0;
    }
    return 1;
}

/* From the report: weights with one decimal, scores with two. What rounding can do is the bound. */
static void test_rubric_report(void **state) {
    (void)state;
    static const char *const files[] = {"--ind 8 examples/request.json", "--ind 8 examples/new_user.json",
                                        "--ind 48 examples/request.json"}; /* more criteria than are shown one by one */
    for (size_t f = 0; f < 3; f++) {
        char command[200];
        snprintf(command, sizeof command, "COLUMNS=100 pgenrm score --frame compact %s", files[f]);
        ran r = run_score(command);
        double totals[2] = {0}, slack = 0.005, weights = 0, values[2];
        size_t rows = 0;
        const char *line = strstr(r.out, "Criterion");
        assert_non_null(line);
        assert_null(strstr(r.out, "confidence"));
        assert_non_null(strstr(r.out, "prefer"));
        for (line = strchr(line, '\n') + 1;
             !strstr(line, "Score, mean") || strstr(line, "Score, mean") > strchr(line, '\n');
             line = strchr(line, '\n') + 1) {
            const char *sign = strstr(line, " %");
            if (!sign || sign > strchr(line, '\n')) continue; /* a reason, a rule */
            const char *number = sign;
            while (number[-1] != ' ') number--;
            double w = strtod(number, NULL);
            assert_true(last_two(line, values));
            weights += w;
            rows++;
            for (size_t i = 0; i < 2; i++) totals[i] += w / 100 * values[i];
            slack += 0.05 / 100 * 10 + w / 100 * 0.005;
        }
        if (f == 2) assert_non_null(strstr(r.out, " more together"));
        assert_true(rows >= 2);
        assert_true(fabs(weights - 100) <= 0.05 * (double)rows + 1e-9);
        assert_true(last_two(line, values));
        for (size_t i = 0; i < 2; i++)
            if (!(fabs(totals[i] - values[i]) <= slack))
                fail_msg("by hand %.3f, printed %.2f\n%s", totals[i], values[i], r.out);
        run_free(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_rubric_json),
        cmocka_unit_test(test_rubric_report),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
