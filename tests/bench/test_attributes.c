/* test_attributes.c - what people choose by attributes of texts, as a file and as a reward model: its differences are
 * what the method `attributes` says, and a file of another shape is refused by name. */
#include <math.h>

#include "../base/faults.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench/attributes.h"
#include "bench/fits.h"
#include "bench/scalar.h"
#include "pgenrm_bench.h"
#include "trees.h"

enum { USERS = 4, EACH = 40, TEST_EACH = 8 };

/* People who choose the longer text in four of five pairs. */
static void write_data(const char *path) {
    rng r = {3, 0, 0};
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < USERS * EACH; i++) {
        bool longer = rng_next(&r) < 0.8;
        fprintf(f,
                "{\"user_id\":\"u%d\",\"conversation_id\":\"c%d\",\"context\":[{\"role\":\"user\",\"content\":\"Tree "
                "%d?\"}],\"chosen\":{\"role\":\"assistant\",\"content\":\"%s %d\"},\"rejected\":{\"role\":"
                "\"assistant\",\"content\":\"%s %d.\"},\"split\":\"%s\"}\n",
                i % USERS, i, i, longer ? "An oak, with 12 leaves: it is old and tall." : "Elm", i,
                longer ? "Pine" : "Lime or beech, and many more that you can find!", i,
                i < USERS * (EACH - TEST_EACH) ? "train" : "test");
    }
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    write_data(path_of("trees.jsonl"));
    return 0;
}

static void bench_to(const char *path) {
    const char *data[] = {path_of("trees.jsonl")}, *methods[] = {"attributes"};
    pgr_bench_options o = pgr_bench_options_default();
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    o.data = data;
    o.n_data = 1;
    o.methods = methods;
    o.n_methods = 1;
    o.n_thread = 1;
    o.attributes_out = path;
    if (pgr_bench(NULL, &o, &report, &err) != PGR_OK) fail_msg("%s", err.message);
    pgr_bench_free(report);
}

/* sigmoid of the difference of the scores is the method's probability, to the float that a score is: scores of size
 * below 16 are off by 1e-6 each. */
static void scores_are_the_methods_log_odds(void **state) {
    (void)state;
    const char *path = path_of("trees.json");
    pgr_scalar *s = NULL;
    fits *f = NULL;
    bench_to(path);
    assert_int_equal(pgr_attributes_open(path, &s, NULL), PGR_OK);
    assert_string_equal(pgr_scalar_name(s), "attributes in 128 pairs of trees");
    bench_data *d = load();
    stat_source source = {.d = d};
    float *gaps = NULL;
    double p[USERS * TEST_EACH];
    fits_ask how = {.seed = 1};
    assert_int_equal(bench_scalars(d, s, NULL, &gaps, NULL), PGR_OK);
    assert_int_equal(fits_open(&source, NULL, NULL, &f, NULL), PGR_OK);
    assert_int_equal(fits_need(f, bench_method_find("attributes"), NULL), PGR_OK);
    assert_int_equal(fits_predict(f, bench_method_find("attributes"), &how, p, NULL), PGR_OK);
    size_t n = 0, sure = 0;
    for (size_t i = 0; i < d->n_row; i++) {
        if (d->rows[i].train) continue;
        double want = 1 / (1 + exp(-(double)gaps[i]));
        if (fabs(p[n] - want) > 2e-6) fail_msg("row %zu: %.9g, expected %.9g", i, want, p[n]);
        sure += fabs(p[n] - 0.5) > 0.1;
        n++;
    }
    assert_true(n == USERS * TEST_EACH && sure > n / 2); /* the fit says something */
    mem_free(gaps);
    fits_close(f);
    bench_data_free(d);
    pgr_scalar_close(s);
}

static void refuse(const char *text, const char *why) {
    pgr_scalar *s = NULL;
    pgr_error err = {0};
    write_text("bad.json", text);
    assert_int_equal(pgr_attributes_open(path_of("bad.json"), &s, &err), PGR_E_FORMAT);
    if (!strstr(err.message, why) || !strstr(err.message, "bad.json"))
        fail_msg("'%s', expected '%s'", err.message, why);
}

static void other_files_are_refused(void **state) {
    (void)state;
    pgr_scalar *s = NULL;
    pgr_error err = {0};
    refuse("[]", "object");
    refuse("{\"data\": \"a\", \"pairs\": 1}", "attributes");
    refuse("{\"data\": \"a\", \"pairs\": -1, \"attributes\": {}}", "pairs");
    refuse("{\"data\": \"a\", \"pairs\": 1, \"attributes\": {\"length\": 1}}", "attributes.lists is nothing");
    refuse("{\"data\": \"a\", \"pairs\": 1, \"attributes\": {\"lenght\": 1}}", "length");
    refuse("{\"data\": \"a\", \"pairs\": 1, \"attributes\": {\"length\": 1e7}}", "attributes.length is out of range");
    refuse("{\"model\": \"a\"}", "model");
    assert_int_equal(pgr_attributes_open(path_of("none.json"), &s, &err), PGR_E_IO);
}

static void one_set_is_asked_for(void **state) {
    (void)state;
    const char *data[] = {path_of("trees.jsonl"), path_of("trees.jsonl")}, *methods[] = {"attributes"};
    pgr_bench_options o = pgr_bench_options_default();
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    o.data = data;
    o.n_data = 2;
    o.methods = methods;
    o.n_methods = 1;
    o.attributes_out = path_of("two.json");
    assert_int_equal(pgr_bench(NULL, &o, &report, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "one data set"));
    assert_false(file_exists(path_of("two.json")));
}

static bool open_once(void) {
    pgr_scalar *s = NULL;
    pgr_status status = pgr_attributes_open(path_of("memory.json"), &s, NULL);
    pgr_scalar_close(s);
    return status == PGR_OK;
}

static void out_of_memory(void **state) {
    (void)state;
    const double w[N_FEATURE] = {[3] = 0.5};
    assert_int_equal(attributes_write(w, "trees", 7, path_of("memory.json"), NULL), PGR_OK);
    assert_true(fail_each_allocation(open_once) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_the_methods_log_odds),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(one_set_is_asked_for),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, remove_folder);
}
