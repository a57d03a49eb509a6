/* test_calibration.c - calibration against scikit-learn's and SciPy's numbers, known answers, its file,
 * and its error measure. */
#include <math.h>
#include <unistd.h>

#include "../base/faults.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "judge/calibration.h"

#define GOLDEN PGR_SOURCE_DIR "/tests/golden/calibration.json"

#define ANSWERS PGR_VERDICT_ANSWERS
#define VIEWS   PGR_VERDICT_VIEWS

#define NEAR(a, b, tolerance)                                                                                          \
    do {                                                                                                               \
        double a_ = (a), b_ = (b);                                                                                     \
        if (!(fabs(a_ - b_) <= (tolerance))) fail_msg("%s is %.15g, expected %.15g", #a, a_, b_);                      \
    } while (0)

static pgr_calibration *fit(pgr_calibration_method method, pgr_calibration_input input, const double *x,
                            const double *y, size_t n) {
    pgr_calibration *c = NULL;
    pgr_error err = {0};
    if (pgr_calibration_fit(ANSWERS, method, input, x, y, n, &c, &err) != PGR_OK) fail_msg("%s", err.message);
    return c;
}

static double *numbers(const json_t *object, const char *key, size_t *n) {
    const json_t *v = json_object_get(object, key);
    *n = json_array_size(v);
    double *out = mem_array(*n, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < *n; i++) out[i] = json_number_value(json_array_get(v, i));
    return out;
}

static void check_case(const json_t *v) {
    size_t n, n_at;
    double *x = numbers(v, "x", &n), *y = numbers(v, "y", &n), *at = numbers(v, "at", &n_at);
    double *want = numbers(v, "isotonic", &n_at);
    bool difference = strcmp(json_string_value(json_object_get(v, "input")), "difference") == 0;
    pgr_calibration_input input = difference ? PGR_CALIBRATION_DIFFERENCE : PGR_CALIBRATION_PROBABILITY;
    pgr_calibration *c = fit(PGR_CALIBRATION_ISOTONIC, input, x, y, n);
    for (size_t i = 0; i < n_at; i++)
        NEAR(pgr_calibration_apply(c, ANSWERS, at[i]), want[i], 1e-12); /* sums of few doubles */
    pgr_calibration_free(c);

    double t = json_number_value(json_object_get(v, "temperature")), middle = difference ? 1.0 : 0.7;
    double z = difference ? middle : log(middle / (1 - middle));
    c = fit(PGR_CALIBRATION_TEMPERATURE, input, x, y, n);
    NEAR(pgr_calibration_apply(c, ANSWERS, middle), 1 / (1 + exp(-z / t)),
         1e-7); /* the optimiser stops near its optimum's flat top */
    NEAR(pgr_calibration_apply(c, ANSWERS, difference ? -middle : 1 - middle),
         1 - pgr_calibration_apply(c, ANSWERS, middle), 1e-12);
    assert_int_equal(pgr_calibration_takes(c, ANSWERS), input);
    pgr_calibration_free(c);
    mem_free(x);
    mem_free(y);
    mem_free(at);
    mem_free(want);
}

static void as_scikit_learn_and_scipy(void **state) {
    (void)state;
    buf text = {0};
    json_t *top = NULL;
    assert_int_equal(file_read(GOLDEN, &text, NULL), PGR_OK);
    assert_int_equal(json_parse(text.data, text.n, GOLDEN, 1, &top, NULL), PGR_OK);
    const json_t *cases = json_object_get(top, "cases");
    assert_int_equal(json_array_size(cases), 3);
    for (size_t i = 0; i < 3; i++) check_case(json_array_get(cases, i));
    json_decref(top);
    buf_free(&text);
}

static void by_hand(void **state) {
    (void)state;
    /* differences: at 1 three of four were better, at -1 the mirror: sigmoid(1 / T) = 3/4, T = 1 / log 3 */
    const double x[] = {1, 1, 1, 1}, y[] = {1, 1, 1, 0};
    pgr_calibration *c = fit(PGR_CALIBRATION_TEMPERATURE, PGR_CALIBRATION_DIFFERENCE, x, y, 4);
    NEAR(pgr_calibration_apply(c, ANSWERS, 1), 0.75, 1e-12);
    NEAR(pgr_calibration_apply(c, ANSWERS, 0), 0.5, 1e-15);
    assert_true(isnan(pgr_calibration_apply(c, ANSWERS, NAN)));
    NEAR(pgr_calibration_apply(c, ANSWERS, 1e9), 5.0 / 6, 1e-12); /* 4 outcomes show no more than 1 - 1 / 6 */
    pgr_calibration_free(c);

    const double p[] = {0.6, 0.7, 0.8, 0.9}, seen[] = {1, 0, 1, 1}; /* .6 and .7 are pooled */
    c = fit(PGR_CALIBRATION_ISOTONIC, PGR_CALIBRATION_PROBABILITY, p, seen, 4);
    NEAR(pgr_calibration_apply(c, ANSWERS, 0.65), 0.5, 1e-12);
    NEAR(pgr_calibration_apply(c, ANSWERS, 0.75), 0.75, 1e-12); /* between the blocks at .5 and 1 */
    NEAR(pgr_calibration_apply(c, ANSWERS, 0.25), 0.25, 1e-12);
    NEAR(pgr_calibration_apply(c, ANSWERS, 0.85), 5.0 / 6, 1e-12);
    pgr_calibration_free(c);

    const double against[] = {0.9, 0.8},
                 lost[] = {0, 0}; /* the judge is worth nothing: no temperature makes it right */
    c = fit(PGR_CALIBRATION_TEMPERATURE, PGR_CALIBRATION_PROBABILITY, against, lost, 2);
    NEAR(pgr_calibration_apply(c, ANSWERS, 0.9), 0.5, 1e-3);
    pgr_calibration_free(c);
}

static void expected_error_by_hand(void **state) {
    (void)state;
    const double p[] = {0.95, 0.95, 0.65, 1.0}, y[] = {1, 0, 0.5, 1};
    /* bin 9: .95 .95 1 against 1 0 1: |2.9 - 2| / 4; bin 6: |.65 - .5| / 4 */
    NEAR(pgr_calibration_error(p, y, 4, 10), (0.9 + 0.15) / 4, 1e-12);
    NEAR(pgr_calibration_error(p, y, 4, 1), (3.55 - 2.5) / 4, 1e-12);
    assert_true(isnan(pgr_calibration_error(p, y, 0, 10)));
}

/* ---- gaps: what varies between requests against what varies between chains ---- */

static pgr_calibration *fit_gaps(const pgr_gap *x, const double *y, size_t n) {
    pgr_calibration *c = NULL;
    pgr_error err = {0};
    if (pgr_calibration_fit_gaps(ANSWERS, PGR_CALIBRATION_TEMPERATURE, x, y, n, &c, &err) != PGR_OK)
        fail_msg("%s", err.message);
    assert_int_equal(pgr_calibration_takes(c, ANSWERS), PGR_CALIBRATION_SHRUNK);
    return c;
}

/* The equations of docs/scores.md with two requests: the map is that of the shrunk differences. */
static void gaps_are_shrunk_by_hand(void **state) {
    (void)state;
    const pgr_gap g[] = {{2, 1, 5}, {-1, 3, 3}, {0.5, 0, 1}};
    const double y[] = {1, 1, 0};
    double within = (5 * 1 + 3 * 3) / (4.0 + 2.0), v[3], x[3], between = (4 + 1 + 0.25) / 3;
    for (size_t i = 0; i < 3; i++) {
        v[i] = (4 * within + g[i].n * g[i].spread) / (4 + g[i].n - 1) / g[i].n;
        between -= v[i] / 3;
    }
    for (size_t i = 0; i < 3; i++) x[i] = g[i].mean * between / (between + v[i]);
    pgr_calibration *c = fit_gaps(g, y, 3),
                    *plain = fit(PGR_CALIBRATION_TEMPERATURE, PGR_CALIBRATION_DIFFERENCE, x, y, 3);
    for (size_t i = 0; i < 3; i++)
        NEAR(pgr_calibration_apply_gap(c, ANSWERS, &g[i]), pgr_calibration_apply(plain, ANSWERS, x[i]), 1e-12);
    pgr_calibration_free(c);
    pgr_calibration_free(plain);
}

/* n requests of 8 chains with noise of 1 point; their true differences have that standard deviation. The outcome is the
 * true difference's sign, of those that are 0 a coin's. */
static void draw_requests(uint64_t seed, double deviation, size_t n, pgr_gap *g, double *y) {
    rng r = {.seed = seed};
    for (size_t i = 0; i < n; i++) {
        double chains[8], truth = deviation * rng_normal(&r);
        g[i] = (pgr_gap){.n = 8};
        for (size_t k = 0; k < 8; k++) {
            chains[k] = truth + rng_normal(&r);
            g[i].mean += chains[k] / 8;
        }
        for (size_t k = 0; k < 8; k++) g[i].spread += pow(chains[k] - g[i].mean, 2) / 8;
        y[i] = truth > 0 || (truth == 0 && rng_next(&r) < 0.5);
    }
}

/* A judge that has no opinion: chance alone makes some of its chains agree, and the spread between them calls that .93
 * and more. What differs between requests, nothing, takes it back. */
static void an_indifferent_judge_is_not_believed(void **state) {
    (void)state;
    enum { N = 1000 };
    static pgr_gap g[N];
    static double y[N];
    draw_requests(3, 0, N, g, y);
    pgr_calibration *c = fit_gaps(g, y, N);
    size_t sure = 0;
    double surest = 0.5;
    for (size_t i = 0; i < N; i++) {
        double raw = gap_probability(&g[i]), p = pgr_calibration_apply_gap(c, ANSWERS, &g[i]);
        sure += raw > 0.93 || raw < 0.07;
        surest = fmax(surest, fmax(p, 1 - p));
    }
    print_message("%zu of %d raw beyond .93; surest calibrated %.3f\n", sure, N, surest);
    assert_true(sure > N / 20);
    assert_true(surest < 0.6);
    pgr_calibration_free(c);
}

/* A judge that sees something is as sure as it is right, on requests that the map was not fitted on. Of a calibrated
 * one 2,000 verdicts in 10 bins show an error of about .8 sqrt(p (1 - p) / 200) = .02: twice that is allowed. */
static void a_judge_is_as_sure_as_it_is_right(void **state) {
    (void)state;
    enum { N = 2000 };
    static pgr_gap g[N];
    static double y[N], p[N], raw[N];
    draw_requests(5, 0.5, N, g, y);
    pgr_calibration *c = fit_gaps(g, y, N);
    draw_requests(6, 0.5, N, g, y);
    for (size_t i = 0; i < N; i++) p[i] = pgr_calibration_apply_gap(c, ANSWERS, &g[i]), raw[i] = gap_probability(&g[i]);
    double error = pgr_calibration_error(p, y, N, 10);
    print_message("error %.4f, of the spread between chains alone %.4f\n", error, pgr_calibration_error(raw, y, N, 10));
    assert_true(error < 0.04);
    pgr_calibration_free(c);
}

static void a_file_gives_the_same_map(void **state) {
    (void)state;
    const double x[] = {0.1, 1.0 / 3, 0.5, 0.9}, y[] = {0, 1, 0.5, 1};
    char path[] = "/tmp/pgr_calibration_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int method = 0; method < 2; method++) {
        pgr_calibration *c = fit((pgr_calibration_method)method, PGR_CALIBRATION_PROBABILITY, x, y, 4), *again = NULL;
        pgr_error err = {0};
        assert_int_equal(pgr_calibration_write(c, path, &err), PGR_OK);
        if (pgr_calibration_open(path, &again, &err) != PGR_OK) fail_msg("%s", err.message);
        for (int i = 0; i <= 100; i++) {
            double a = pgr_calibration_apply(c, ANSWERS, i / 100.0),
                   b = pgr_calibration_apply(again, ANSWERS, i / 100.0);
            assert_memory_equal(&a, &b, sizeof a);
        }
        pgr_calibration_free(c);
        pgr_calibration_free(again);
    }
    const pgr_gap g[] = {{2, 1, 5}, {-1, 3, 3}};
    pgr_calibration *c = fit_gaps(g, y, 2), *again = NULL;
    assert_int_equal(pgr_calibration_write(c, path, NULL), PGR_OK);
    assert_int_equal(pgr_calibration_open(path, &again, NULL), PGR_OK);
    for (size_t i = 0; i < 2; i++)
        assert_true(pgr_calibration_apply_gap(c, ANSWERS, &g[i]) == pgr_calibration_apply_gap(again, ANSWERS, &g[i]));
    pgr_calibration_free(c);
    pgr_calibration_free(again);
    unlink(path);
}

/* ---- kinds: no map stands for another one ---- */

static pgr_calibration *read_back(const pgr_calibration *c, buf *text) {
    char path[] = "/tmp/pgr_calibration_XXXXXX";
    pgr_calibration *again = NULL;
    pgr_error err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    if (pgr_calibration_write(c, path, &err) != PGR_OK) fail_msg("%s", err.message);
    if (pgr_calibration_open(path, &again, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(file_read(path, text, NULL), PGR_OK);
    unlink(path);
    return again;
}

/* Of differences, n outcomes of which all but one agree: sigmoid(1 / T) = (n - 1) / n. */
static pgr_calibration *one_in(pgr_verdict_kind kind, size_t n) {
    double x[16], y[16];
    pgr_calibration *c = NULL;
    for (size_t i = 0; i < n; i++) x[i] = 1, y[i] = i > 0;
    assert_int_equal(
        pgr_calibration_fit(kind, PGR_CALIBRATION_TEMPERATURE, PGR_CALIBRATION_DIFFERENCE, x, y, n, &c, NULL), PGR_OK);
    return c;
}

static void a_map_is_of_one_kind(void **state) {
    (void)state;
    const pgr_gap g = {1, 1, 2};
    pgr_calibration *c = one_in(VIEWS, 4);
    NEAR(pgr_calibration_apply(c, VIEWS, 1), 3.0 / 4, 1e-12);
    assert_true(isnan(pgr_calibration_apply(c, ANSWERS, 1)) && isnan(pgr_calibration_apply_gap(c, ANSWERS, &g)));
    assert_int_equal(pgr_calibration_outcomes(c, VIEWS), 4);
    assert_int_equal(pgr_calibration_outcomes(c, ANSWERS), 0);
    assert_int_equal(pgr_calibration_outcomes(NULL, ANSWERS), 0);
    buf text = {0};
    pgr_calibration *again = read_back(c, &text);
    assert_memory_equal(text.data, "{\"views\":{\"method\"", 18);
    assert_int_equal(pgr_calibration_outcomes(again, VIEWS), 4);
    assert_int_equal(pgr_calibration_outcomes(again, ANSWERS), 0);
    pgr_calibration_free(again);

    pgr_calibration_join(c, one_in(ANSWERS, 8)); /* beside it */
    pgr_calibration_join(c, one_in(VIEWS, 5));   /* in its place */
    for (int round = 0; round < 2; round++) {
        NEAR(pgr_calibration_apply(c, VIEWS, 1), 4.0 / 5, 1e-12);
        NEAR(pgr_calibration_apply(c, ANSWERS, 1), 7.0 / 8, 1e-12);
        NEAR(pgr_calibration_apply_gap(c, ANSWERS, &g), 7.0 / 8, 1e-12);
        again = read_back(c, &text);
        pgr_calibration_free(c);
        c = again;
    }
    pgr_calibration_free(c);
    buf_free(&text);
    assert_string_equal(pgr_verdict_kind_name(ANSWERS), "answers");
    assert_string_equal(pgr_verdict_kind_name(VIEWS), "views");
}

/* A file from before there were kinds: all of them were fitted on answers. */
static void a_bare_map_is_of_answers(void **state) {
    (void)state;
    static const char bare[] = "{\"method\":\"temperature\",\"input\":\"difference\",\"n\":100,\"temperature\":1}";
    pgr_calibration *c = NULL;
    assert_int_equal(calibration_parse(bare, strlen(bare), "c.json", &c, NULL), PGR_OK);
    assert_int_equal(pgr_calibration_outcomes(c, ANSWERS), 100);
    assert_int_equal(pgr_calibration_outcomes(c, VIEWS), 0);
    assert_true(isnan(pgr_calibration_apply(c, VIEWS, 1)));
    pgr_calibration_free(c);
}

static void bad_input_is_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"[]", "an object"},
        {"{\"method\":\"platt\",\"input\":\"probability\",\"n\":1}", "c.json: method: found 'platt'"},
        {"{\"method\":\"temperature\",\"input\":\"probability\",\"n\":4}", "temperature: found nothing"},
        {"{\"method\":\"temperature\",\"input\":\"probability\",\"n\":0,\"temperature\":1}", "n"},
        {"{\"method\":\"temperature\",\"input\":\"probability\",\"n\":4,\"temprature\":1}", "temperature"},
        {"{\"method\":\"isotonic\",\"input\":\"difference\",\"n\":4,\"x\":[1,1],\"y\":[0,1]}", "x[1]: found 1"},
        {"{\"method\":\"isotonic\",\"input\":\"difference\",\"n\":4,\"x\":[1,2],\"y\":[0.5,0.4]}", "y[1]: found 0.4"},
        {"{\"method\":\"isotonic\",\"input\":\"difference\",\"n\":4,\"x\":[1,2],\"y\":[0.5]}", "y: found 1 numbers"},
        {"{\"method\":\"isotonic\",\"input\":\"difference\",\"n\":4,\"x\":[1],\"y\":[1.5]}", "beyond"},
        {"{\"method\":\"isotonic\",\"input\":\"difference\",\"n\":4,\"x\":[],\"y\":[]}", "x: found an array"},
        {"{\"method\":\"temperature\",\"input\":\"raw\",\"n\":4,\"temperature\":1}",
         "input: found 'raw', expected 'probability', 'difference' or 'shrunk'"},
        {"{\"method\":\"temperature\",\"input\":\"shrunk\",\"n\":4,\"within\":1,\"temperature\":1}",
         "between: found nothing"},
        {"{\"method\":\"temperature\",\"input\":\"shrunk\",\"n\":4,\"between\":1,\"within\":-1,\"temperature\":1}",
         "within: found a"},
        {"{\"views\":{\"method\":\"platt\"}}", "c.json: views.method: found 'platt'"},
        {"{\"views\":{\"method\":\"temperature\",\"input\":\"probability\",\"n\":0,\"temperature\":1}}", "views.n"},
        {"{\"views\":{\"method\":\"temperature\",\"input\":\"probability\",\"n\":4}}",
         "views.temperature: found nothing"},
        {"{\"views\":{\"method\":\"isotonic\",\"input\":\"difference\",\"n\":4,\"x\":[1,1],\"y\":[0,1]}}",
         "views.x[1]: found 1"},
        {"{\"views\":{\"method\":\"temperature\",\"input\":\"probability\",\"n\":4,\"temprature\":1}}", "views"},
        {"{\"answers\":null}", "answers"},
        {"{\"answers\":{\"method\":\"temperature\",\"input\":\"probability\",\"n\":4,\"temperature\":1},\"view\":{}}",
         "\"view\""},
        {"{\"views\":{\"method\":\"temperature\",\"input\":\"probability\",\"n\":4,\"temperature\":1},\"n\":4}",
         "\"n\""},
        {"{}", "method: found nothing"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pgr_calibration *c = NULL;
        pgr_error err = {0};
        assert_int_equal(calibration_parse(bad[i].text, strlen(bad[i].text), "c.json", &c, &err), PGR_E_FORMAT);
        assert_null(c);
        if (!strstr(err.message, bad[i].message)) fail_msg("%s: expected %s", err.message, bad[i].message);
    }
    pgr_calibration *c = NULL;
    pgr_error err = {0};
    const double x[] = {0.5, 1.5}, y[] = {1, 2};
    assert_int_equal(
        pgr_calibration_fit(ANSWERS, PGR_CALIBRATION_ISOTONIC, PGR_CALIBRATION_PROBABILITY, x, y, 2, &c, &err),
        PGR_E_ARG);
    assert_non_null(strstr(err.message, "x[1] is 1.5"));
    assert_int_equal(
        pgr_calibration_fit(ANSWERS, PGR_CALIBRATION_ISOTONIC, PGR_CALIBRATION_DIFFERENCE, x, y, 2, &c, &err),
        PGR_E_ARG);
    assert_non_null(strstr(err.message, "y[1] is 2"));
    assert_int_equal(
        pgr_calibration_fit(ANSWERS, PGR_CALIBRATION_ISOTONIC, PGR_CALIBRATION_DIFFERENCE, x, y, 0, &c, &err),
        PGR_E_ARG);
    assert_int_equal(pgr_calibration_fit(ANSWERS, PGR_CALIBRATION_ISOTONIC, PGR_CALIBRATION_SHRUNK, x, x, 2, &c, &err),
                     PGR_E_ARG);
    assert_int_equal(pgr_calibration_fit_gaps(ANSWERS, PGR_CALIBRATION_TEMPERATURE, (pgr_gap[]){{1, 0, 1}, {2, 0, 1}},
                                              x, 2, &c, &err),
                     PGR_E_ARG);
    assert_non_null(strstr(err.message, "one chain a verdict"));
    assert_int_equal(
        pgr_calibration_fit_gaps(ANSWERS, PGR_CALIBRATION_TEMPERATURE, (pgr_gap[]){{NAN, 0, 2}}, x, 1, &c, &err),
        PGR_E_ARG);
    assert_int_equal(pgr_calibration_fit_gaps(ANSWERS, PGR_CALIBRATION_TEMPERATURE, NULL, x, 0, &c, &err), PGR_E_ARG);
}

static bool fit_and_read(void) {
    static const char text[] =
        "{\"method\":\"isotonic\",\"input\":\"probability\",\"n\":4,\"x\":[0,1],\"y\":[0.1,0.9]}";
    const double x[] = {0.1, 0.4, 0.5, 0.9}, y[] = {0, 1, 0.5, 1};
    const pgr_gap g[] = {{2, 1, 5}, {-1, 3, 3}};
    static const char both[] =
        "{\"answers\":{\"method\":\"temperature\",\"input\":\"probability\",\"n\":4,\"temperature\":1},\"views\":"
        "{\"method\":\"isotonic\",\"input\":\"probability\",\"n\":4,\"x\":[0,1],\"y\":[0.1,0.9]}}";
    pgr_calibration *a = NULL, *b = NULL, *shrunk = NULL, *kinds = NULL;
    bool ok = pgr_calibration_fit_gaps(ANSWERS, PGR_CALIBRATION_ISOTONIC, g, y, 2, &shrunk, NULL) == PGR_OK;
    ok = ok
         && pgr_calibration_fit(ANSWERS, PGR_CALIBRATION_ISOTONIC, PGR_CALIBRATION_PROBABILITY, x, y, 4, &a, NULL)
                == PGR_OK
         && calibration_parse(text, strlen(text), "c.json", &b, NULL) == PGR_OK
         && calibration_parse(both, strlen(both), "c.json", &kinds, NULL) == PGR_OK;
    pgr_calibration_free(a);
    pgr_calibration_free(b);
    pgr_calibration_free(shrunk);
    pgr_calibration_free(kinds);
    return ok;
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    assert_true(fail_each_allocation(fit_and_read) > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_scikit_learn_and_scipy),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(expected_error_by_hand),
        cmocka_unit_test(a_file_gives_the_same_map),
        cmocka_unit_test(gaps_are_shrunk_by_hand),
        cmocka_unit_test(an_indifferent_judge_is_not_believed),
        cmocka_unit_test(a_judge_is_as_sure_as_it_is_right),
        cmocka_unit_test(a_map_is_of_one_kind),
        cmocka_unit_test(a_bare_map_is_of_answers),
        cmocka_unit_test(bad_input_is_named),
        cmocka_unit_test(every_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
