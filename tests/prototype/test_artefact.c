/* The prototypes' file: what is written comes back; any damage is an error that names file and part;
 * no allocation failure leaks. */
#include "../base/faults.h"
#include "../base/scratch.h"

#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "made_artefact.h"

static char path[100];

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    snprintf(path, sizeof path, "%s/users.protos", scratch);
    return 0;
}

static void test_round_trip(void **state) {
    (void)state;
    made m = make_artefact(4, 33, 50, 2, 1);
    pgr_error err = {0};
    artefact a;
    assert_int_equal(artefact_write(&m.a, m.order, path, &err), PGR_OK);
    if (artefact_open(path, ARTEFACT_CHECK_ALL, &a, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_string_equal(a.by, "choices");
    assert_string_equal(a.embedder, "mini");
    assert_string_equal(a.split, "history");
    assert_true(a.seed == UINT64_MAX && a.inertia == 12.5 && a.dims == 33 && a.k == 4 && a.n_row == 100
                && a.n_user == 50);
    assert_true(a.n_singular == 3 && a.singular[1] == 1.0 / 3 && a.singular[2] == 1e-9 && a.n_loss == 2
                && a.losses[0] == 0.7);
    assert_true(artefact_get(&a, "rho", 0) == 0.5 && artefact_get(&a, "none", -1) == -1);
    assert_string_equal(a.words[0][1], "\"quoted\"");
    assert_null(a.words[1][0]);
    assert_memory_equal(a.after, m.protos, 4 * 33 * sizeof(float));
    assert_memory_equal(a.refine, m.protos, 33 * sizeof(float));
    for (size_t r = 0; r < a.n_row; r++) {
        assert_memory_equal(a.vectors + r * 33, m.vectors + m.order[r] * 33, 33 * sizeof(float));
        assert_int_equal(a.row_user[r], m.row_user[m.order[r]]);
        double ss = 0; /* the stated error is that of the code */
        for (size_t i = 0; i < 33; i++)
            ss += pow((double)a.vectors[r * 33 + i] - (double)a.scales[r] * a.codes[r * 33 + i], 2);
        assert_true(sqrt(ss) <= (double)a.errors[r] && sqrt(ss) > 0.999 * (double)a.errors[r]);
    }
    assert_int_equal(artefact_find(&a, "u0000007"), 7);
    assert_int_equal(artefact_find(&a, "u"), a.n_user);
    assert_int_equal(artefact_find(&a, "u9"), a.n_user);
    assert_string_equal(artefact_id(&a, 49), "u0000049");
    artefact_close(&a);
    free_made(&m);
}

static void test_same_bytes(void **state) {
    (void)state;
    made m = make_artefact(3, 16, 20, 1, 1);
    buf one = {0}, two = {0};
    assert_int_equal(artefact_write(&m.a, m.order, path, NULL), PGR_OK);
    assert_int_equal(file_read(path, &one, NULL), PGR_OK);
    assert_int_equal(artefact_write(&m.a, m.order, path, NULL), PGR_OK);
    assert_int_equal(file_read(path, &two, NULL), PGR_OK);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.data, two.data, one.n);
    buf_free(&one);
    buf_free(&two);
    free_made(&m);
}

/* Prototypes by facts of 2 classes and 5 values. */
static const float MIXTURE[1 + 2 + 2 * 5] = {2, -0.5f, -1, 1, 2, 3, 4, 5, -1, -2, -3, -4, -5};

static made make_by_facts(void) {
    made m = make_artefact(2, 5, 6, 1, 1);
    m.a.by = "facts", m.a.embedder = "";
    m.a.mixture = MIXTURE, m.a.n_mixture = sizeof MIXTURE / sizeof *MIXTURE;
    return m;
}

static void expect_refused(const made *m, const char *what) {
    pgr_error err = {0};
    artefact a;
    assert_int_equal(artefact_write(&m->a, m->order, path, &err), PGR_OK);
    assert_int_equal(artefact_open(path, ARTEFACT_CHECK_ALL, &a, &err), PGR_E_FORMAT);
    if (!strstr(err.message, what)) fail_msg("%s", err.message);
}

/* By facts the file has the mixture, and nothing else has one. */
static void test_mixture(void **state) {
    (void)state;
    made m = make_by_facts();
    float wrong[sizeof MIXTURE / sizeof *MIXTURE];
    pgr_error err = {0};
    artefact a;
    assert_int_equal(artefact_write(&m.a, m.order, path, &err), PGR_OK);
    if (artefact_open(path, ARTEFACT_CHECK_ALL, &a, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(a.n_mixture, m.a.n_mixture);
    assert_memory_equal(a.mixture, MIXTURE, sizeof MIXTURE);
    artefact_close(&a);
    m.a.n_mixture--;
    expect_refused(&m, "mixture: 12 numbers, expected those of 2 classes of 5 features");
    m.a.n_mixture = 0;
    expect_refused(&m, "meta: by facts with n_mixture 0, expected more than 0");
    m.a.by = "votes", m.a.n_mixture = 13;
    expect_refused(&m, "meta: by votes with n_mixture 13, expected 0");
    m.a.by = "facts", m.a.mixture = wrong;
    memcpy(wrong, MIXTURE, sizeof wrong);
    wrong[4] = NAN;
    expect_refused(&m, "mixture: value 4 is no number");
    wrong[4] = 1, wrong[0] = 0;
    expect_refused(&m, "mixture: the spread is 0");
    free_made(&m);
}

/* Files of version 1: those by other ways are read, those by facts say what is to be done. */
static void test_first_version(void **state) {
    (void)state;
    pgr_error err = {0};
    artefact a;
    if (artefact_open(PGR_SOURCE_DIR "/tests/fuzz/corpus/artefact/small", ARTEFACT_CHECK_ALL, &a, &err) != PGR_OK)
        fail_msg("%s", err.message);
    assert_true(a.n_mixture == 0 && !a.mixture && a.n_user > 0);
    artefact_close(&a);
    assert_int_equal(artefact_open(PGR_SOURCE_DIR "/tests/golden/facts-v1.protos", ARTEFACT_CHECK_ALL, &a, &err),
                     PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "build them again"));
    buf one = {0};
    assert_int_equal(file_read(PGR_SOURCE_DIR "/tests/fuzz/corpus/artefact/small", &one, NULL), PGR_OK);
    static const char versions[] = {0, 2, 3, 4}; /* 2 has a section more, 3 two more again */
    for (size_t i = 0; i < sizeof versions; i++) {
        one.data[8] = versions[i];
        pgr_status s = artefact_open_memory(one.data, one.n, "F", ARTEFACT_CHECK_ALL, &a, &err);
        assert_int_equal(s, versions[i] == 2 || versions[i] == 3 ? PGR_E_FORMAT : PGR_E_UNSUPPORTED);
    }
    buf_free(&one);
}

/* Every byte of the file flipped, and every length it can be cut to: an error,
 * and never one without the file's name. */
static void check_damage(made m) {
    buf whole = {0};
    assert_int_equal(artefact_write(&m.a, m.order, path, NULL), PGR_OK);
    assert_int_equal(file_read(path, &whole, NULL), PGR_OK);
    free_made(&m);
    size_t accepted = 0;
    for (size_t i = 0; i < whole.n; i++) {
        pgr_error err = {0};
        artefact a;
        whole.data[i] ^= 0x40;
        if (artefact_open_memory(whole.data, whole.n, "F", ARTEFACT_CHECK_ALL, &a, &err) == PGR_OK) {
            accepted++; /* padding between sections and in the header */
            artefact_close(&a);
        } else {
            assert_true(strncmp(err.message, "F: ", 3) == 0);
        }
        whole.data[i] ^= 0x40;
        if (i % 7 == 0)
            assert_int_not_equal(artefact_open_memory(whole.data, i, "F", ARTEFACT_CHECK_ALL, &a, &err), PGR_OK);
    }
    assert_true(accepted < 52 + 13 * 64);
    pgr_error err = {0};
    artefact a;
    char *losses = strstr(whole.data + 64, "n_loss");
    assert_non_null(losses);
    *losses = 'm';
    assert_int_not_equal(artefact_open_memory(whole.data, whole.n, "F", ARTEFACT_CHECK_ALL, &a, &err), PGR_OK);
    assert_non_null(strstr(err.message, "meta: checksum"));
    assert_int_not_equal(artefact_open_memory(whole.data, whole.n, "F", ARTEFACT_CHECK_NONE, &a, &err), PGR_OK);
    assert_non_null(strstr(err.message, "m_loss"));
    buf_free(&whole);
}

static void test_damage(void **state) {
    (void)state;
    check_damage(make_artefact(2, 5, 6, 1, 1));
    check_damage(make_by_facts());
}

static bool write_and_read(void) {
    made m = make_artefact(2, 5, 6, 1, 1);
    artefact a;
    bool worked = artefact_write(&m.a, m.order, path, NULL) == PGR_OK;
    free_made(&m);
    if (!worked || artefact_open(path, ARTEFACT_CHECK_ALL, &a, NULL) != PGR_OK) return false;
    artefact_close(&a);
    return true;
}

static void test_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(write_and_read) > 10);
}

static void test_files(void **state) {
    (void)state;
    made m = make_artefact(2, 5, 6, 1, 1);
    pgr_error err = {0};
    artefact a;
    assert_int_equal(artefact_write(&m.a, m.order, "/tmp/no-such-folder/x", &err), PGR_E_IO);
    assert_int_equal(artefact_open("/tmp/no-such-folder/x", ARTEFACT_CHECK_SMALL, &a, &err), PGR_E_IO);
    FILE *f = fopen(path, "wb");
    assert_true(f && fputs("{\"not\": \"prototypes\"}", f) >= 0 && fclose(f) == 0);
    assert_int_equal(artefact_open(path, ARTEFACT_CHECK_SMALL, &a, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "expected a file of prototypes"));
    free_made(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_same_bytes),
                                       cmocka_unit_test(test_damage),     cmocka_unit_test(test_memory),
                                       cmocka_unit_test(test_mixture),    cmocka_unit_test(test_first_version),
                                       cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, setup, remove_folder);
}
