/* test_kmeans.c - k-means against scikit-learn from the same starts, its repairs and refusals,
 * its seeds and threads; k-means++. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../base/faults.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "prototype/kmeans.h"

static float *floats(const json_t *array, size_t n) {
    float *v = mem_array(n, sizeof *v);
    assert_non_null(v);
    assert_int_equal(json_array_size(array), n);
    for (size_t i = 0; i < n; i++) v[i] = (float)json_number_value(json_array_get(array, i));
    return v;
}

static size_t size_in(const json_t *o, const char *key) {
    return (size_t)json_integer_value(json_object_get(o, key));
}

static void check_case(const json_t *c) {
    size_t n = size_in(c, "n"), d = size_in(c, "d"), k = size_in(c, "k");
    float *x = floats(json_object_get(c, "x"), n * d), *starts = floats(json_object_get(c, "starts"), k * d);
    kmeans_options o = kmeans_options_default(k);
    o.starts = starts;
    kmeans_result r;
    pgr_error err = {0};
    if (kmeans(x, n, d, &o, &r, &err) != PGR_OK) fail_msg("%s", err.message);
    double want = json_number_value(json_object_get(c, "inertia"));
    /* Both sum in double from float rows; ours rounds centres to float, which shifts them by 2^-25 of their size. */
    double size = 0;
    for (size_t i = 0; i < n * d; i++) size = fmax(size, fabs((double)x[i]));
    double tolerance = 1e-6 * want + (double)(n * d) * pow(size * 0x1p-24, 2);
    if (!(fabs(r.inertia - want) <= tolerance))
        fail_msg("%s: inertia %.12g, scikit-learn %.12g", json_string_value(json_object_get(c, "name")), r.inertia,
                 want);
    assert_true(r.converged);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(r.assign[i], json_integer_value(json_array_get(json_object_get(c, "labels"), i)));
    for (size_t j = 0; j < k; j++) assert_true(r.sizes[j] > 0);
    kmeans_free(&r);
    mem_free(x);
    mem_free(starts);
}

static void test_scikit_learn(void **state) {
    (void)state;
    buf text = {0};
    json_t *golden = NULL;
    assert_int_equal(file_read(PGR_SOURCE_DIR "/tests/golden/kmeans.json", &text, NULL), PGR_OK);
    assert_int_equal(json_parse(text.data, text.n, "kmeans.json", 1, &golden, NULL), PGR_OK);
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) >= 5);
    for (size_t i = 0; i < json_array_size(cases); i++) check_case(json_array_get(cases, i));
    json_decref(golden);
    buf_free(&text);
}

/* Rows around `blobs` far corners, in turn. */
static void fill_blobs(float *x, size_t n, size_t d, size_t blobs, double spread) {
    rng g = {.seed = 5};
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            x[i * d + j] = (float)((double)((i % blobs) == j % blobs) * 10 + spread * rng_normal(&g));
}

enum { N = 6000, D = 7, K = 7 };
static float rows[N * D];

/* k-means++ finds the blobs, whatever the seed; the same seed gives the same bits with any number of threads. */
static void test_plus_plus(void **state) {
    (void)state;
    fill_blobs(rows, N, D, K, .5);
    pool *two = NULL;
    assert_int_equal(pool_create(2, &two, NULL), PGR_OK);
    for (uint64_t seed = 0; seed < 3; seed++) {
        kmeans_options o = kmeans_options_default(K);
        o.seed = seed;
        o.restarts = 4;
        kmeans_result a, b;
        assert_int_equal(kmeans(rows, N, D, &o, &a, NULL), PGR_OK);
        for (size_t i = 0; i < N; i++) assert_int_equal(a.assign[i], a.assign[i % K]);
        for (size_t c = 0; c < K; c++) assert_true(a.sizes[c] == N / K || a.sizes[c] == N / K + 1);
        o.threads = two;
        assert_int_equal(kmeans(rows, N, D, &o, &b, NULL), PGR_OK);
        assert_memory_equal(a.centres, b.centres, sizeof(float) * K * D);
        assert_memory_equal(a.assign, b.assign, sizeof *a.assign * N);
        assert_true(a.inertia == b.inertia);
        kmeans_free(&a);
        kmeans_free(&b);
    }
    pool_free(two);
}

/* More restarts never make it worse, and the best run is the one that is returned. */
static void test_restarts(void **state) {
    (void)state;
    fill_blobs(rows, 600, D, K, 4);
    double last = INFINITY;
    for (size_t restarts = 1; restarts <= 8; restarts *= 2) {
        kmeans_options o = kmeans_options_default(12);
        o.restarts = restarts;
        kmeans_result r;
        assert_int_equal(kmeans(rows, 600, D, &o, &r, NULL), PGR_OK);
        assert_true(r.inertia <= last);
        last = r.inertia;
        uint32_t assign[600];
        double distance2[600], sum = 0;
        assert_int_equal(kmeans_assign(rows, 600, D, r.centres, r.k, NULL, assign, distance2, NULL), PGR_OK);
        for (size_t i = 0; i < 600; i++) sum += distance2[i];
        assert_true(sum == r.inertia);
        assert_memory_equal(assign, r.assign, sizeof assign);
        kmeans_free(&r);
    }
}

static void want_refusal(const float *x, size_t n, size_t d, size_t k, const float *starts, const char *words) {
    kmeans_options o = kmeans_options_default(k);
    o.starts = starts;
    kmeans_result r;
    pgr_error err = {0};
    assert_int_equal(kmeans(x, n, d, &o, &r, &err), PGR_E_ARG);
    if (!strstr(err.message, words)) fail_msg("\"%s\" does not say \"%s\"", err.message, words);
    assert_null(r.centres);
}

static void test_refusals(void **state) {
    (void)state;
    float x[] = {1, 2, 1, 2, 3, 4, 3, 4, 5, 6}, starts[8] = {0}, nan[] = {1, 2, NAN, 4};
    want_refusal(x, 5, 2, 6, NULL, "only 5 rows");
    want_refusal(x, 5, 2, 4, NULL, "only 3 distinct");
    want_refusal(x, 5, 2, 4, starts, "only 3 distinct");
    want_refusal(x, 5, 2, 0, NULL, "at least one cluster");
    want_refusal(nan, 2, 2, 1, NULL, "row 1, column 0");
    pgr_cancel stop = 1;
    kmeans_options o = kmeans_options_default(2);
    o.watch.cancel = &stop;
    kmeans_result r;
    assert_int_equal(kmeans(x, 5, 2, &o, &r, NULL), PGR_E_CANCELLED);
}

/* Equal starts leave clusters empty: each takes a far row, and three distinct rows end as three clusters. */
static void test_repair(void **state) {
    (void)state;
    float x[] = {1, 2, 1, 2, 3, 4, 3, 4, 5, 6}, starts[6] = {0};
    kmeans_options o = kmeans_options_default(3);
    o.starts = starts;
    kmeans_result r;
    assert_int_equal(kmeans(x, 5, 2, &o, &r, NULL), PGR_OK);
    assert_true(r.n_repaired >= 2 && r.inertia == 0);
    assert_true(r.assign[0] == r.assign[1] && r.assign[2] == r.assign[3] && r.assign[0] != r.assign[2]
                && r.assign[4] != r.assign[0] && r.assign[4] != r.assign[2]);
    kmeans_free(&r);
}

static bool cluster_some(void) {
    kmeans_options o = kmeans_options_default(3);
    o.restarts = 2;
    kmeans_result r;
    bool worked = kmeans(rows, 40, D, &o, &r, NULL) == PGR_OK;
    kmeans_free(&r);
    return worked;
}

static void test_memory(void **state) {
    (void)state;
    fill_blobs(rows, 40, D, 3, 1);
    assert_true(fail_each_allocation(cluster_some) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scikit_learn), cmocka_unit_test(test_plus_plus), cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_repair),    cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
