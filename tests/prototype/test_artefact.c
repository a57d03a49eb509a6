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

/* Every byte of the file flipped, and every length it can be cut to: an error,
 * and never one without the file's name. */
static void test_damage(void **state) {
    (void)state;
    made m = make_artefact(2, 5, 6, 1, 1);
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
    assert_true(accepted < 52 + 12 * 64);
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
                                       cmocka_unit_test(test_damage), cmocka_unit_test(test_memory),
                                       cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, setup, remove_folder);
}
