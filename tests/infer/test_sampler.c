/* test_sampler.c - what is drawn, counted over a grid of u, against probabilities computed here; cuts against a sort;
 * masks, padding, ties, extremes. */
#include "../base/faults.h"

#include <math.h>

#include "base/rng.h"
#include "infer/sampler.h"
#include "math/cpu/kernels.h"

enum { MAX_VOCAB = 1000 };

typedef struct reference { /* the distribution by its definition: sort, cut, renormalise */
    double p[MAX_VOCAB];
    bool near_cut; /* a sum is so near to the threshold that rounding decides */
} reference;

static const float *sort_by;
static int by_logit(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sort_by[x] != sort_by[y]) return sort_by[x] > sort_by[y] ? -1 : 1;
    return x - y;
}

static bool allows(const uint64_t *mask, size_t i) {
    return !mask || (mask[i / 64] >> (i % 64) & 1);
}

static void refer(const float *logits, size_t n, const uint64_t *mask, const pgr_sampling *o, reference *out) {
    static int32_t order[MAX_VOCAB];
    size_t m = 0, kept = 0;
    double sum = 0.0, running = 0.0;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < n; i++)
        if (allows(mask, i) && logits[i] > -INFINITY) order[m++] = (int32_t)i;
    sort_by = logits;
    qsort(order, m, sizeof *order, by_logit);
    if (o->top_k > 0 && (size_t)o->top_k < m) m = (size_t)o->top_k;
    for (size_t i = 0; i < m; i++) {
        double p = exp(((double)logits[order[i]] - (double)logits[order[0]]) / (double)o->temperature);
        out->near_cut |= fabs(p - (double)o->min_p) < 1e-6;
        if (p >= (double)o->min_p) out->p[order[i]] = p;
        sum += out->p[order[i]];
    }
    for (; kept < m && (kept == 0 || running < (double)o->top_p * sum); kept++) {
        running += out->p[order[kept]];
        out->near_cut |= o->top_p < 1.0f && fabs(running / sum - (double)o->top_p) < 1e-6;
    }
    for (size_t i = o->top_p < 1.0f ? kept : m; i < m; i++) out->p[order[i]] = 0.0;
    sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += out->p[i];
    for (size_t i = 0; i < n; i++) out->p[i] /= sum;
}

/* One row prepared and picked from. */
static pgr_status pick_from(sampler *s, const kernels *k, const float *logits, size_t n, const uint64_t *mask,
                            const pgr_sampling *o, double u, int32_t *token, float *logprob, pgr_error *err) {
    sampler_row row;
    assert_int_equal(sampler_row_create(n + 1, &row, NULL), PGR_OK);
    sampler_prepare(&row, k, logits, n, o->temperature);
    pgr_status status = sampler_pick(s, k, &row, mask, o, u, token, logprob, err);
    if (status == PGR_OK) assert_true(sampler_logprob(&row, *token) == *logprob);
    sampler_row_free(&row);
    return status;
}

static float logprob_of(const kernels *k, const float *logits, size_t n, int32_t token) {
    sampler_row row;
    assert_int_equal(sampler_row_create(n, &row, NULL), PGR_OK);
    sampler_prepare(&row, k, logits, n, 0.0f);
    float logprob = sampler_logprob(&row, token);
    sampler_row_free(&row);
    return logprob;
}

static int32_t pick(sampler *s, const float *logits, size_t n, const uint64_t *mask, const pgr_sampling *o, double u) {
    int32_t token = -1;
    float logprob;
    pgr_error err;
    if (pick_from(s, kernels_ref(), logits, n, mask, o, u, &token, &logprob, &err) != PGR_OK)
        fail_msg("%s", err.message);
    assert_in_range(token, 0, n - 1);
    return token;
}

/* u = (i + 1/2) / N: a token of probability p must come N p times, give or take one at either end of its interval; and
 * in the order of ids. */
static void check_distribution(sampler *s, const float *logits, size_t n, const uint64_t *mask, const pgr_sampling *o,
                               const reference *want, size_t n_grid) {
    static size_t count[MAX_VOCAB];
    int32_t before = 0;
    memset(count, 0, sizeof count);
    for (size_t i = 0; i < n_grid; i++) {
        int32_t token = pick(s, logits, n, mask, o, ((double)i + 0.5) / (double)n_grid);
        assert_true(token >= before);
        before = token;
        count[token]++;
    }
    /* 1 from the grid; 1e-4 of the grid for probabilities in float, summed over at most 1000 tokens of 6e-8 each */
    double tolerance = 1.0 + 1e-4 * (double)n_grid;
    for (size_t i = 0; i < n; i++) {
        double diff = fabs((double)count[i] - want->p[i] * (double)n_grid);
        if (!(diff <= tolerance) || (want->p[i] == 0.0 && count[i]))
            fail_msg("token %zu came %zu times of %zu, its probability is %g", i, count[i], n_grid, want->p[i]);
    }
}

static void draws_the_probabilities(void **state) {
    (void)state;
    /* p = 1/2, 1/4, 0, 1/8, 1/8 */
    const float logits[] = {3.0f + 0.0f, 3.0f - 0.69314718f, -INFINITY, 3.0f - 1.3862944f, 3.0f - 1.3862944f};
    const pgr_sampling plain = {1.0f, 0, 1.0f, 0.0f};
    sampler *s;
    assert_int_equal(sampler_create(5, &s, NULL), PGR_OK);
    const struct {
        double u;
        int32_t token;
    } cases[] = {{0.0, 0}, {0.499, 0}, {0.501, 1}, {0.749, 1}, {0.751, 3}, {0.874, 3}, {0.876, 4}, {1.0 - 0x1p-53, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(pick(s, logits, 5, NULL, &plain, cases[i].u), cases[i].token);
    reference want = {.p = {0.5, 0.25, 0.0, 0.125, 0.125}};
    check_distribution(s, logits, 5, NULL, &plain, &want, 8000);

    const pgr_sampling half = {0.5f, 0, 1.0f, 0.0f}; /* p squared, renormalised: 16 4 0 1 1 of 22 */
    reference squared = {.p = {16 / 22.0, 4 / 22.0, 0.0, 1 / 22.0, 1 / 22.0}};
    check_distribution(s, logits, 5, NULL, &half, &squared, 8000);

    const pgr_sampling nucleus = {1.0f, 0, 0.8f,
                                  0.0f}; /* .5 + .25 + .125 reach .8: of the tied two the lower id stays */
    reference three = {.p = {4 / 7.0, 2 / 7.0, 0.0, 1 / 7.0, 0.0}};
    check_distribution(s, logits, 5, NULL, &nucleus, &three, 7000);

    const pgr_sampling both = {1.0f, 3, 0.6f, 0.3f}; /* top-k: 4 2 1 of 7, min-p: 4 2 of 6, top-p .6: the first */
    for (int i = 0; i < 10; i++) assert_int_equal(pick(s, logits, 5, NULL, &both, i / 10.0), 0);
    const pgr_sampling none_left = {1.0f, 0, 0.0f, 1.0f};
    assert_int_equal(pick(s, logits, 5, NULL, &none_left, 0.99), 0);
    sampler_free(s);
}

/* Random logits, some of them equal, some -inf, with all settings, against the sort. */
static void cuts_equal_a_sort(void **state) {
    (void)state;
    static float logits[MAX_VOCAB];
    static uint64_t mask[(MAX_VOCAB + 63) / 64];
    static reference want;
    rng r = {.seed = 5};
    sampler *s;
    size_t n_checked = 0;
    assert_int_equal(sampler_create(MAX_VOCAB, &s, NULL), PGR_OK);
    for (int k = 0; k < 400; k++) {
        size_t n = k % 4 ? 1 + rng_below(&r, 60) : 1 + rng_below(&r, MAX_VOCAB);
        bool coarse = rng_below(&r, 2), masked = rng_below(&r, 2);
        for (size_t i = 0; i < n; i++) {
            double x = 2.5 * rng_normal(&r);
            logits[i] = coarse ? (float)round(x) : (float)x;
            if (rng_below(&r, 10) == 0) logits[i] = -INFINITY;
        }
        for (size_t i = 0; i < sizeof mask / sizeof *mask; i++) mask[i] = (uint64_t)(rng_next(&r) * 0x1p64);
        size_t sure = rng_below(&r, n);
        logits[sure] = 1.0f;
        mask[sure / 64] |= 1ull << (sure % 64);
        const pgr_sampling o = {.temperature = 0.2f + (float)rng_next(&r) * 2.0f,
                                .top_k = rng_below(&r, 2) ? (int)rng_below(&r, n + 2) : 0,
                                .top_p = rng_below(&r, 2) ? (float)rng_next(&r) : 1.0f,
                                .min_p = rng_below(&r, 2) ? (float)rng_next(&r) * 0.2f : 0.0f};
        refer(logits, n, masked ? mask : NULL, &o, &want);
        if (want.near_cut) continue;
        check_distribution(s, logits, n, masked ? mask : NULL, &o, &want, 1000);
        n_checked++;
    }
    assert_in_range(n_checked, 300, 400); /* the rest lay on a cut */
    sampler_free(s);
}

static void greedy_takes_the_largest(void **state) {
    (void)state;
    const float logits[] = {-INFINITY, 1.0f, 4.0f, 4.0f, 2.0f, 9.0f, 9.5f}; /* the last two are padding */
    const pgr_sampling greedy = {0.0f, 3, 0.1f, 0.9f};
    uint64_t mask = 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5;
    sampler *s;
    assert_int_equal(sampler_create(7, &s, NULL), PGR_OK);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pick(s, logits, 5, NULL, &greedy, i / 10.0), 2);
        assert_int_equal(pick(s, logits, 5, &mask, &greedy, i / 10.0), 3);
    }
    const pgr_sampling hot = {5.0f, 0, 1.0f, 0.0f}, cold = {1e-40f, 0, 1.0f, 0.0f};
    for (int i = 0; i < 100; i++) {
        int32_t t = pick(s, logits, 5, &mask, &hot, i / 100.0);
        assert_true(t == 1 || t == 3 || t == 4);
        assert_in_range(pick(s, logits, 5, NULL, &hot, i / 100.0), 1, 4);
        assert_int_equal(pick(s, logits, 5, NULL, &cold, i / 100.0), i < 50 ? 2 : 3); /* tied: half each */
    }
    sampler_free(s);
}

static void logprob_is_of_the_whole_row(void **state) {
    (void)state;
    static float logits[MAX_VOCAB + 10];
    rng r = {.seed = 9};
    double sum = 0.0;
    for (size_t i = 0; i < MAX_VOCAB + 10; i++) logits[i] = 40.0f + 3.0f * (float)rng_normal(&r);
    logits[17] = -INFINITY;
    for (size_t i = 0; i < MAX_VOCAB; i++) sum += exp((double)logits[i] - 40.0);
    sampler *s;
    assert_int_equal(sampler_create(MAX_VOCAB + 10, &s, NULL), PGR_OK);
    const pgr_sampling o = {0.7f, 5, 0.5f, 0.1f};
    uint64_t mask[(MAX_VOCAB + 63) / 64] = {0};
    mask[3] = 0xFF00FF00;
    for (int i = 0; i < 20; i++) {
        int32_t token;
        float logprob;
        assert_int_equal(pick_from(s, kernels_ref(), logits, MAX_VOCAB, mask, &o, i / 20.0, &token, &logprob, NULL),
                         PGR_OK);
        double want = (double)logits[token] - 40.0 - log(sum);
        /* 1e-5: each exp of the sum within a few units of float (6e-8), and the result rounded to float (5e-7 at 10) */
        assert_true(fabs((double)logprob - want) <= 1e-5);
        assert_true(logprob_of(kernels_ref(), logits, MAX_VOCAB, token) == logprob);
        assert_true(fabs((double)logprob_of(kernels_best(), logits, MAX_VOCAB, token) - want) <= 1e-5);
    }
    assert_true(logprob_of(kernels_best(), logits, MAX_VOCAB, 17) == -INFINITY);
    sampler_free(s);
}

static void the_likeliest_are_those_of_a_sort(void **state) {
    (void)state;
    static float logits[MAX_VOCAB];
    static int32_t order[MAX_VOCAB];
    rng r = {.seed = 10};
    for (int trial = 0; trial < 50; trial++) {
        for (size_t i = 0; i < MAX_VOCAB; i++) { /* many ties; some that are not allowed */
            logits[i] = roundf(4.0f * (float)rng_normal(&r)) / 2.0f;
            if (i % 97 == 5) logits[i] = -INFINITY;
            order[i] = (int32_t)i;
        }
        size_t n_token = trial % 2 ? MAX_VOCAB : 7;
        sort_by = logits;
        qsort(order, n_token, sizeof *order, by_logit);
        sampler_row row;
        assert_int_equal(sampler_row_create(MAX_VOCAB, &row, NULL), PGR_OK);
        sampler_prepare(&row, kernels_best(), logits, n_token, 0.7f);
        int32_t tokens[20];
        float logprobs[20];
        size_t n = sampler_top(&row, 20, tokens, logprobs);
        assert_int_equal(n, trial % 2 ? 20 : 6);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(tokens[i], order[i]);
            assert_true(logprobs[i] == sampler_logprob(&row, tokens[i]));
        }
        logits[3] = NAN;
        sampler_prepare(&row, kernels_best(), logits, n_token, 0.7f);
        assert_int_equal(sampler_top(&row, 20, tokens, logprobs), 0);
        sampler_row_free(&row);
    }
}

/* The fast kernels draw the same tokens, but for a u within rounding of a border. */
static void fast_kernels_draw_the_same(void **state) {
    (void)state;
    static float logits[MAX_VOCAB];
    rng r = {.seed = 3};
    sampler *s;
    int n_differ = 0;
    assert_int_equal(sampler_create(MAX_VOCAB, &s, NULL), PGR_OK);
    for (size_t i = 0; i < MAX_VOCAB; i++) logits[i] = i % 7 ? 4.0f * (float)rng_normal(&r) : -INFINITY;
    const pgr_sampling o = {1.0f, 0, 0.95f, 0.001f};
    for (int i = 0; i < 1000; i++) {
        int32_t token;
        float logprob;
        double u = rng_next(&r);
        assert_int_equal(pick_from(s, kernels_best(), logits, MAX_VOCAB, NULL, &o, u, &token, &logprob, NULL), PGR_OK);
        n_differ += token != pick(s, logits, MAX_VOCAB, NULL, &o, u);
    }
    assert_in_range(n_differ, 0, 2); /* 200 borders moved by about 1e-7 each: 0.02 expected */
    sampler_free(s);
}

static void refuses_what_is_no_distribution(void **state) {
    (void)state;
    const pgr_sampling plain = {1.0f, 0, 1.0f, 0.0f}, greedy = {0.0f, 0, 1.0f, 0.0f};
    const float fine[] = {1.0f, -INFINITY, 2.0f}, nan_in[] = {1.0f, NAN, 2.0f}, inf_in[] = {1.0f, 0.0f, INFINITY};
    const float none[] = {-INFINITY, -INFINITY, -INFINITY};
    uint64_t nothing = 0, beyond = 1u << 3, only_inf = 1u << 1;
    sampler *s;
    pgr_error err;
    int32_t t = 77;
    float lp = 5.0f;
    assert_int_equal(sampler_create(3, &s, NULL), PGR_OK);
    const kernels *k = kernels_ref();
    const pgr_sampling *both[] = {&plain, &greedy};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pick_from(s, k, nan_in, 3, NULL, both[i], 0.5, &t, &lp, &err), PGR_E_FORMAT);
        assert_string_equal(err.message, "logit 1 is nan, expected a number");
        assert_int_equal(pick_from(s, k, inf_in, 3, NULL, both[i], 0.5, &t, &lp, &err), PGR_E_FORMAT);
        assert_int_equal(pick_from(s, k, none, 3, NULL, both[i], 0.5, &t, &lp, &err), PGR_E_FORMAT);
        assert_int_equal(pick_from(s, k, fine, 0, NULL, both[i], 0.5, &t, &lp, &err), PGR_E_FORMAT);
        assert_int_equal(pick_from(s, k, fine, 3, &nothing, both[i], 0.5, &t, &lp, &err), PGR_E_LIMIT);
        assert_int_equal(pick_from(s, k, fine, 3, &beyond, both[i], 0.5, &t, &lp, &err), PGR_E_LIMIT);
        assert_int_equal(pick_from(s, k, fine, 3, &only_inf, both[i], 0.5, &t, &lp, &err), PGR_E_LIMIT);
        assert_int_equal(pick_from(s, k, nan_in, 1, NULL, both[i], 0.5, &t, &lp, &err),
                         PGR_OK); /* NaN in the padding */
        assert_true(t == 0 && lp == 0.0f);
        t = 77;
        lp = 5.0f;
    }
    sampler_free(s);
}

/* Allowed tokens that weigh nothing beside the largest logit are drawn by their own weights; NaN anywhere is found at
 * every level. */
static void improbable_tokens_are_weighed(void **state) {
    (void)state;
    static float logits[200];
    for (size_t i = 0; i < 200; i++) logits[i] = i == 70 ? 300.0f : i == 130 ? 0.0f : i == 199 ? -0.69314718f : -400.0f;
    uint64_t mask[4] = {0, 0, 1u << 2, 1u << 7};
    const pgr_sampling plain = {1.0f, 0, 1.0f, 0.0f};
    const kernels *levels[] = {kernels_ref(), kernels_best()};
    sampler *s;
    assert_int_equal(sampler_create(200, &s, NULL), PGR_OK);
    for (size_t l = 0; l < 2; l++) {
        int32_t t;
        float lp;
        for (int i = 0; i < 100; i++) {
            double u = ((double)i + 0.5) / 100.0;
            assert_int_equal(pick_from(s, levels[l], logits, 200, mask, &plain, u, &t, &lp, NULL), PGR_OK);
            if (i != 66) assert_int_equal(t, i < 66 ? 130 : 199); /* two thirds */
            assert_true(lp == (t == 130 ? -300.0f : (float)(-0.69314718f - 300.0)));
        }
        for (size_t at = 0; at < 200; at += 7) {
            float before = logits[at];
            logits[at] = at % 2 ? NAN : INFINITY;
            assert_int_equal(pick_from(s, levels[l], logits, 200, NULL, &plain, 0.5, &t, &lp, NULL), PGR_E_FORMAT);
            assert_int_equal(pick_from(s, levels[l], logits, 200, mask, &plain, 0.5, &t, &lp, NULL), PGR_E_FORMAT);
            logits[at] = before;
        }
    }
    sampler_free(s);
}

static void settings_out_of_range_are_named(void **state) {
    (void)state;
    static const struct {
        pgr_sampling o;
        const char *message;
    } bad[] = {
        {{-0.1f, 0, 1.0f, 0.0f}, "temperature is -0.1, expected 0 (greedy) or more"},
        {{INFINITY, 0, 1.0f, 0.0f}, "temperature is inf, expected 0 (greedy) or more"},
        {{1.0f, -1, 1.0f, 0.0f}, "top_k is -1, expected 0 (off) or more"},
        {{1.0f, 0, 1.5f, 0.0f}, "top_p is 1.5, expected 0 to 1 (off)"},
        {{1.0f, 0, NAN, 0.0f}, "top_p is nan, expected 0 to 1 (off)"},
        {{1.0f, 0, 1.0f, -0.5f}, "min_p is -0.5, expected 0 (off) to 1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pgr_error err;
        assert_int_equal(sampler_check(&bad[i].o, &err), PGR_E_ARG);
        assert_string_equal(err.message, bad[i].message);
    }
    const pgr_sampling fine[] = {{0.0f, 0, 1.0f, 0.0f}, {2.0f, 40, 0.0f, 1.0f}};
    for (size_t i = 0; i < 2; i++) assert_int_equal(sampler_check(&fine[i], NULL), PGR_OK);
}

static bool create_and_free(void) {
    sampler *s = NULL;
    sampler_row row = {0};
    bool ok = sampler_create(100, &s, NULL) == PGR_OK && sampler_row_create(100, &row, NULL) == PGR_OK;
    sampler_row_free(&row);
    sampler_free(s);
    return ok;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    assert_int_equal(fail_each_allocation(create_and_free), 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_the_probabilities),       cmocka_unit_test(cuts_equal_a_sort),
        cmocka_unit_test(greedy_takes_the_largest),      cmocka_unit_test(logprob_is_of_the_whole_row),
        cmocka_unit_test(fast_kernels_draw_the_same),    cmocka_unit_test(refuses_what_is_no_distribution),
        cmocka_unit_test(improbable_tokens_are_weighed), cmocka_unit_test(settings_out_of_range_are_named),
        cmocka_unit_test(survives_failed_allocations),   cmocka_unit_test(the_likeliest_are_those_of_a_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
