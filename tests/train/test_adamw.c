/* test_adamw.c - the optimiser against PyTorch, its parts against values worked out by hand. */
#include <math.h>

#include "../base/faults.h"

#include "train/adamw.h"

/* torch.optim.AdamW(lr=0.01, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.1) after clip_grad_norm_(1.0), in float32:
 * norms and values after each step (torch 2, CPU). Both are floats and differ by roundings: a few times 2^-24 of values
 * up to 2. */
static void test_against_torch(void **state) {
    (void)state;
    enum { N = 4, STEPS = 3 };
    static const float grads[STEPS][N] = {{0.3f, -0.2f, 1.5f, 0}, {-0.1f, 0.4f, 0.2f, 1e-4f}, {2, -3, 0.5f, 0.25f}};
    static const double norms[STEPS] = {1.542724847793579, 0.45825761556625366, 3.648629903793335};
    static const double values[STEPS][N] = {
        {0.4895000159740448, -1.2387499809265137, 1.9880000352859497, 0.0},
        {0.48644953966140747, -1.2425061464309692, 1.9779132604599, -0.007404877804219723},
        {0.4793459475040436, -1.2373683452606201, 1.9688236713409424, -0.013733302243053913}};
    float p[N] = {0.5f, -1.25f, 2, 0}, m[N] = {0}, v[N] = {0};
    adamw_options o = {0.9, 0.98, 1e-8, 0.1};
    for (uint64_t t = 1; t <= STEPS; t++) {
        const float *g = grads[t - 1];
        double norm = gradient_norm(g, N);
        assert_true(fabs(norm - norms[t - 1]) < 1e-6);
        adamw_step(p, m, v, g, N, t, 0.01, clip_scale(norm, 1), &o);
        for (int i = 0; i < N; i++)
            if (!(fabs((double)p[i] - values[t - 1][i]) <= 1e-6))
                fail_msg("step %d, value %d: %.9f, PyTorch %.9f", (int)t, i, (double)p[i], values[t - 1][i]);
    }
}

/* The first step's size is the learning rate, whatever the gradient's; decay comes off apart from it. */
static void test_by_hand(void **state) {
    (void)state;
    float p = 1, m = 0, v = 0, g = -1e-3f;
    adamw_step(&p, &m, &v, &g, 1, 1, 0.5, 1, &(adamw_options){0.9, 0.999, 0, 0.2});
    assert_true(fabs((double)p - (1 - 0.5 * 0.2 + 0.5)) < 1e-6);
    assert_true(clip_scale(0.5, 1) == 1);
    assert_true(fabs(clip_scale(4, 1) - 0.25) < 1e-6);
    assert_true(clip_scale(4, 0) == 1); /* never */
}

/* Parameters are taken several at a time: each has the bits that it has alone. */
static void test_together(void **state) {
    (void)state;
    enum { MANY = 53 };
    adamw_options o = {0.9, 0.98, 1e-8, 0.1};
    float p[2][MANY], m[2][MANY] = {{0}}, v[2][MANY] = {{0}}, g[MANY];
    for (size_t i = 0; i < MANY; i++) p[0][i] = p[1][i] = sinf((float)i), g[i] = i % 7 ? cosf((float)(3 * i)) : 0;
    for (uint64_t t = 1; t <= 5; t++) {
        adamw_step(p[0], m[0], v[0], g, MANY, t, 0.01, 0.7, &o);
        for (size_t i = 0; i < MANY; i++) adamw_step(&p[1][i], &m[1][i], &v[1][i], &g[i], 1, t, 0.01, 0.7, &o);
    }
    assert_memory_equal(p[0], p[1], sizeof p[0]);
    assert_memory_equal(m[0], m[1], sizeof m[0]);
    assert_memory_equal(v[0], v[1], sizeof v[0]);
}

/* transformers' get_constant_schedule_with_warmup, get_linear_ and get_cosine_schedule_with_warmup. */
static void test_schedules(void **state) {
    (void)state;
    for (schedule k = SCHEDULE_CONSTANT; k <= SCHEDULE_COSINE; k++) {
        assert_true(schedule_at(k, 0, 4, 20) == 0);
        assert_true(schedule_at(k, 1, 4, 20) == 0.25);
        assert_true(schedule_at(k, 4, 4, 20) == 1);
        assert_true(schedule_at(k, 0, 0, 20) == 1);
    }
    assert_true(schedule_at(SCHEDULE_CONSTANT, 19, 4, 20) == 1);
    assert_true(schedule_at(SCHEDULE_LINEAR, 12, 4, 20) == 0.5);
    assert_true(schedule_at(SCHEDULE_LINEAR, 20, 4, 20) == 0);
    assert_true(fabs(schedule_at(SCHEDULE_COSINE, 12, 4, 20) - 0.5) < 1e-15);
    assert_true(fabs(schedule_at(SCHEDULE_COSINE, 8, 4, 20) - 0.5 * (1 + sqrt(0.5))) < 1e-15);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_torch), cmocka_unit_test(test_by_hand),
                                       cmocka_unit_test(test_together), cmocka_unit_test(test_schedules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
