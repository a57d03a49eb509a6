/* test_rng.c - Philox against the known answers of Random123 1.x (kat_vectors, "philox4x32 10"); the uniform and normal
 * numbers against their moments; independence of the key parts. */
#include "faults.h"

#include <math.h>

#include "base/rng.h"

static void matches_the_published_vectors(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } v[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t out[4];
        philox4x32_10(v[i].counter, v[i].key, out);
        assert_memory_equal(out, v[i].want, sizeof out);
    }
}

/* The value is part of the promise "the same seed gives the same chains": from the first known answer above,
 * ((0x6627e8d5 >> 5) * 2^26 + (0xe169c58d >> 6)) / 2^53. */
static void uniform_is_pinned(void **state) {
    (void)state;
    double want = ((0x6627e8d5 >> 5) * 67108864.0 + (0xe169c58d >> 6)) / 9007199254740992.0;
    assert_true(rng_uniform(0, 0, 0, 0) == want);
    assert_true(rng_uniform(0, 0, 0, 0) == rng_uniform(0, 0, 0, 0));
}

static void every_part_of_the_key_counts(void **state) {
    (void)state;
    double base = rng_uniform(5, 6, 7, 8);
    assert_true(base != rng_uniform(6, 6, 7, 8));
    assert_true(base != rng_uniform(5 + (1ull << 32), 6, 7, 8));
    assert_true(base != rng_uniform(5, 7, 7, 8));
    assert_true(base != rng_uniform(5, 6, 8, 8));
    assert_true(base != rng_uniform(5, 6, 7, 9));
    rng r = {.seed = 5, .stream = 7, .next = 8};
    assert_true(rng_next(&r) != rng_uniform(5, 0, 7, 8)); /* streams and samples of one seed are apart */
}

static void moments_are_right(void **state) {
    (void)state;
    enum { N = 200000 };
    double sum = 0, sum2 = 0, normal = 0, normal2 = 0;
    rng r = {.seed = 11}, g = {.seed = 11, .stream = 1};
    for (int i = 0; i < N; i++) {
        double u = rng_next(&r), z = rng_normal(&g);
        assert_true(u >= 0 && u < 1 && isfinite(z));
        sum += u, sum2 += u * u, normal += z, normal2 += z * z;
    }
    /* 5 standard errors of each mean: sd of u 0.2887, of u^2 0.2981, of z 1, of z^2 sqrt(2). */
    double root = sqrt((double)N);
    assert_true(fabs(sum / N - 0.5) <= 5 * 0.2887 / root);
    assert_true(fabs(sum2 / N - 1.0 / 3) <= 5 * 0.2981 / root);
    assert_true(fabs(normal / N) <= 5 / root);
    assert_true(fabs(normal2 / N - 1) <= 5 * 1.4143 / root);
}

static void below_is_even(void **state) {
    (void)state;
    enum { N = 70000 };
    size_t count[7] = {0};
    rng r = {.seed = 3};
    for (int i = 0; i < N; i++) {
        size_t k = rng_below(&r, 7);
        assert_true(k < 7);
        count[k]++;
    }
    double chi2 = 0;
    for (int k = 0; k < 7; k++) chi2 += pow((double)count[k] - N / 7.0, 2) / (N / 7.0);
    assert_true(chi2 <= 27.9); /* 6 degrees of freedom: p = 0.0001 */
    assert_int_equal(rng_below(&r, 1), 0);
    for (int i = 0; i < 100; i++) assert_true(rng_below(&r, SIZE_MAX) < SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_published_vectors),
        cmocka_unit_test(uniform_is_pinned),
        cmocka_unit_test(every_part_of_the_key_counts),
        cmocka_unit_test(moments_are_right),
        cmocka_unit_test(below_is_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
