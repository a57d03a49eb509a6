/* Neighbours: with all prototypes opened the same list as sorting every exact cosine; distinct users, never oneself,
 * ties by id; few probes find most of clustered data. */
#include "../base/faults.h"
#include "../base/scratch.h"

#include <math.h>
#include <unistd.h>

#include "made_artefact.h"
#include "prototype/neighbours.h"

static char path[100];

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    snprintf(path, sizeof path, "%s/users.protos", scratch);
    return 0;
}

static artefact made_file(size_t k, size_t d, size_t n_user, size_t per_user, double spread) {
    made m = make_artefact(k, d, n_user, per_user, spread);
    artefact a = {0};
    pgr_error err;
    if (artefact_write(&m.a, m.order, path, &err) != PGR_OK
        || artefact_open(path, ARTEFACT_CHECK_ALL, &a, &err) != PGR_OK)
        fail_msg("%s", err.message);
    free_made(&m);
    return a;
}

/* The definition: every user's best cosine, sorted. */
static size_t brute(const artefact *a, const float *v, size_t self, size_t n, near_user *out) {
    near_user *all = calloc(a->n_user, sizeof *all);
    for (size_t u = 0; u < a->n_user; u++) all[u] = (near_user){(uint32_t)u, 0, -2};
    for (size_t r = 0; r < a->n_row; r++) {
        double s = vec_dot(v, a->vectors + r * a->dims, a->dims);
        near_user *u = &all[a->row_user[r]];
        if (s > u->similarity) *u = (near_user){a->row_user[r], r, s};
    }
    size_t n_out = 0;
    for (; n_out < n; n_out++) {
        size_t best = a->n_user;
        for (size_t u = 0; u < a->n_user; u++)
            if (u != self && all[u].similarity > -2 && (best == a->n_user || all[u].similarity > all[best].similarity))
                best = u;
        if (best == a->n_user) break;
        out[n_out] = all[best];
        all[best].similarity = -3;
    }
    free(all);
    return n_out;
}

static void test_exact(void **state) {
    (void)state;
    static const struct {
        size_t k, d, users, per_user;
        double spread;
    } cases[] = {{5, 64, 300, 1, 1}, {5, 64, 100, 3, 1}, {1, 17, 40, 2, 0}, {8, 128, 500, 1, 0}, {3, 3, 200, 2, 0.1}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        artefact a = made_file(cases[c].k, cases[c].d, cases[c].users, cases[c].per_user, cases[c].spread);
        for (size_t q = 0; q < 20; q++) {
            near_user got[12], want[12];
            size_t n, self = a.row_user[q];
            assert_int_equal(neighbours_find(&a, a.vectors + q * a.dims, self, 12, a.k, got, &n, NULL), PGR_OK);
            assert_int_equal(n, brute(&a, a.vectors + q * a.dims, self, 12, want));
            for (size_t i = 0; i < n; i++) {
                assert_int_equal(got[i].user, want[i].user);
                assert_true(got[i].similarity == want[i].similarity);
                assert_int_not_equal(got[i].user, self);
            }
        }
        artefact_close(&a);
    }
}

static void test_ties_and_few(void **state) {
    (void)state;
    made m = make_artefact(2, 4, 6, 2, 1);
    for (size_t i = 1; i < m.a.n_row; i++) memcpy(m.vectors + 4 * i, m.vectors, 16); /* everybody is the same */
    memset(m.start, 0, 3 * sizeof *m.start);
    m.start[1] = 4, m.start[2] = 12;
    artefact a;
    assert_int_equal(artefact_write(&m.a, NULL, path, NULL), PGR_OK);
    assert_int_equal(artefact_open(path, ARTEFACT_CHECK_ALL, &a, NULL), PGR_OK);
    near_user got[10];
    size_t n;
    assert_int_equal(neighbours_find(&a, m.vectors, 2, 10, 1, got, &n, NULL), PGR_OK);
    static const uint32_t want[] = {0, 1, 3, 4, 5}; /* one prototype has too few: the other is opened too */
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++) assert_int_equal(got[i].user, want[i]);
    assert_int_equal(neighbours_find(&a, m.vectors, a.n_user, 3, 2, got, &n, NULL), PGR_OK);
    assert_true(n == 3 && got[0].user == 0 && got[2].user == 2);
    assert_int_equal(neighbours_find(&a, m.vectors, 0, 0, 2, got, &n, NULL), PGR_OK);
    assert_int_equal(n, 0);
    artefact_close(&a);
    free_made(&m);
}

static void test_probes(void **state) {
    (void)state;
    artefact a = made_file(10, 64, 2000, 1, 1.5);
    size_t hit[11] = {0}, all = 0;
    for (size_t q = 0; q < 50; q++) {
        near_user got[10], want[10];
        size_t n, n_want = brute(&a, a.vectors + q * 17 * a.dims, a.row_user[q * 17], 10, want);
        all += n_want;
        for (size_t p = 1; p <= 10; p += 3) {
            assert_int_equal(neighbours_find(&a, a.vectors + q * 17 * a.dims, a.row_user[q * 17], 10, p, got, &n, NULL),
                             PGR_OK);
            for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < n_want; k++) hit[p] += got[i].user == want[k].user;
        }
    }
    assert_true(hit[1] <= hit[4] && hit[4] <= hit[7] && hit[10] == all);
    assert_true(hit[4] > all * 9 / 10); /* clustered: .98 measured */
    artefact_close(&a);
}

/* The users whose id begins with a prefix: as if there were no others. */
static void test_ranges(void **state) {
    (void)state;
    artefact a = made_file(5, 32, 300, 2, 1);
    static const char *const prefixes[] = {"", "u", "u000001", "u00001", "u000029", "v", "u0000123"};
    for (size_t k = 0; k < sizeof prefixes / sizeof *prefixes; k++) {
        near_range range;
        artefact_range(&a, prefixes[k], &range.from, &range.to);
        for (size_t u = 0; u < a.n_user; u++)
            assert_true((strncmp(artefact_id(&a, u), prefixes[k], strlen(prefixes[k])) == 0)
                        == (u >= range.from && u < range.to));
        for (size_t q = 0; q < 10; q++) {
            near_user got[7], all[300];
            const float *v = a.vectors + q * 31 * a.dims;
            size_t n, self = q % 2 ? range.from : a.n_user, n_all = brute(&a, v, self, 300, all), n_want = 0;
            assert_int_equal(neighbours_find_in(&a, range, v, self, 7, a.k, got, &n, NULL), PGR_OK);
            for (size_t i = 0; i < n_all && n_want < 7; i++) {
                if (all[i].user < range.from || all[i].user >= range.to) continue;
                assert_true(n_want < n);
                assert_int_equal(got[n_want].user, all[i].user);
                assert_true(got[n_want].similarity == all[i].similarity);
                n_want++;
            }
            assert_int_equal(n, n_want);
        }
    }
    artefact_close(&a);
}

static artefact shared;

static bool search(void) {
    near_user got[5];
    size_t n;
    return neighbours_find(&shared, shared.vectors, 0, 5, 2, got, &n, NULL) == PGR_OK;
}

static void test_memory(void **state) {
    (void)state;
    shared = made_file(3, 8, 50, 1, 1);
    assert_int_equal(fail_each_allocation(search), 5);
    artefact_close(&shared);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exact), cmocka_unit_test(test_ties_and_few),
                                       cmocka_unit_test(test_probes), cmocka_unit_test(test_ranges),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, setup, remove_folder);
}
