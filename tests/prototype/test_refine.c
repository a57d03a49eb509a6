/* test_refine.c - the refinement against PyTorch step by step, its gradients against finite differences, its refusals;
 * that it learns, and is the same for any number of threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../base/faults.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "prototype/refine.h"
#include "prototype/vec.h"

/* ---- PyTorch ---- */

static const float *floats(arena *a, const json_t *list) {
    size_t n = json_array_size(list);
    float *v = arena_array(a, n + 1, sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) v[i] = (float)json_number_value(json_array_get(list, i));
    return v;
}

static refine_triple triple_at(const float *v, size_t i, size_t d) {
    return (refine_triple){v + 3 * i * d, v + (3 * i + 1) * d, v + (3 * i + 2) * d};
}

static refine_sample read_sample(arena *a, const json_t *o, size_t d) {
    const json_t *history = json_object_get(o, "history");
    size_t n = json_array_size(history) / (3 * d);
    const float *v = floats(a, history);
    refine_triple *triples = arena_array(a, n + 1, sizeof *triples);
    for (size_t h = 0; h < n; h++) triples[h] = triple_at(v, h, d);
    return (refine_sample){triple_at(floats(a, json_object_get(o, "asked")), 0, d), triples, n,
                           (size_t)json_integer_value(json_object_get(o, "cluster"))};
}

static refine_options read_options(const json_t *s) {
    refine_options o = refine_options_default();
    struct {
        const char *name;
        double *to;
    } all[] = {{"rho", &o.rho},
               {"beta", &o.beta},
               {"lambda_q", &o.lambda_q},
               {"lambda_s", &o.lambda_s},
               {"lambda_cent", &o.lambda_cent},
               {"lambda_tr", &o.lambda_tr},
               {"ema", &o.ema},
               {"rate", &o.rate},
               {"decay", &o.decay}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_true(json_is_number(json_object_get(s, all[i].name)));
        *all[i].to = json_number_value(json_object_get(s, all[i].name));
    }
    return o;
}

static void run_golden(const json_t *golden, arena *a) {
    size_t d = (size_t)json_integer_value(json_object_get(golden, "d")),
           k = (size_t)json_integer_value(json_object_get(golden, "k"));
    const json_t *list = json_object_get(golden, "samples"), *losses = json_object_get(golden, "losses"), *batch;
    refine_sample samples[64];
    assert_in_range(json_array_size(list), 20, 64);
    for (size_t i = 0; i < json_array_size(list); i++) samples[i] = read_sample(a, json_array_get(list, i), d);
    refine_options o = read_options(json_object_get(golden, "settings"));
    refine *r = NULL;
    assert_int_equal(refine_create(k, d, floats(a, json_object_get(golden, "mean")), &o, &r, NULL), PGR_OK);
    assert_int_equal(json_array_size(json_object_get(golden, "start")), r->theta.n_shared);
    for (size_t i = 0; i < r->theta.n_shared; i++)
        r->theta.W[i] = json_number_value(json_array_get(json_object_get(golden, "start"), i));
    size_t step;
    assert_true(json_array_size(losses) >= 20);
    json_array_foreach(json_object_get(golden, "batches"), step, batch) {
        const refine_sample *members[64];
        size_t n = json_array_size(batch);
        double loss, want = json_number_value(json_array_get(losses, step));
        for (size_t i = 0; i < n; i++) members[i] = &samples[json_integer_value(json_array_get(batch, i))];
        assert_int_equal(refine_step(r, members, n, &loss, NULL), PGR_OK);
        /* the issue asks for 1e-5; both compute in double, so a hundred thousandth of that holds */
        if (!(fabs(loss - want) <= 1e-10)) fail_msg("step %zu: loss %.15g, PyTorch %.15g", step, loss, want);
    }
    for (size_t i = 0; i < r->theta.n; i++) {
        double want = json_number_value(json_array_get(json_object_get(golden, "end"), i));
        if (!(fabs(r->theta.W[i] - want) <= 1e-8))
            fail_msg("parameter %zu: %.15g, PyTorch %.15g", i, r->theta.W[i], want);
    }
    refine_free(r);
}

static void test_pytorch(void **state) {
    (void)state;
    buf text = {0};
    arena a = {0};
    json_t *golden = NULL;
    assert_int_equal(file_read(PGR_SOURCE_DIR "/tests/golden/refine.json", &text, NULL), PGR_OK);
    assert_int_equal(json_parse(text.data, text.n, "refine.json", 1, &golden, NULL), PGR_OK);
    run_golden(golden, &a);
    json_decref(golden);
    buf_free(&text);
    arena_free(&a);
}

/* ---- a problem of our own ---- */

enum { D = 11, K = 3, N = 90, H = 3 }; /* D no multiple of the lanes */
static float rows[N * (1 + H) * 3 * D], centres[K * D];
static refine_triple triples[N * H];
static refine_sample samples[N];

/* Users of cluster j choose what points along direction j: half of it is in the prototype, half only in the history. */
static void fill(void) {
    rng g = {.seed = 9};
    for (size_t i = 0; i < K * D; i++) centres[i] = (float)rng_normal(&g);
    for (size_t j = 0; j < K; j++) vec_normalise(centres + j * D, D);
    for (size_t s = 0; s < N; s++) {
        size_t j = s % K;
        float taste[D];
        for (size_t i = 0; i < D; i++) taste[i] = (float)rng_normal(&g) + 3 * centres[j * D + i];
        for (size_t t = 0; t <= H; t++) {
            float *v = rows + (s * (1 + H) + t) * 3 * D;
            for (size_t i = 0; i < 3 * D; i++) v[i] = (float)rng_normal(&g);
            for (size_t i = 0; i < 3; i++) vec_normalise(v + i * D, D);
            refine_triple one = triple_at(v, 0, D);
            if (vec_dot(taste, one.chosen, D) < vec_dot(taste, one.rejected, D))
                one = (refine_triple){one.query, one.rejected, one.chosen};
            if (t == H)
                samples[s] = (refine_sample){one, triples + s * H, s % 7 ? H : s % 2, j};
            else
                triples[s * H + t] = one;
        }
    }
}

static refine *create(const refine_options *o) {
    refine *r = NULL;
    fill();
    assert_int_equal(refine_create(K, D, centres, o, &r, NULL), PGR_OK);
    return r;
}

static void randomise(refine *r, uint64_t seed) {
    rng g = {.seed = seed};
    for (size_t i = 0; i < r->theta.n; i++) r->theta.W[i] = 0.5 * rng_normal(&g);
    for (size_t i = 0; i < K * D; i++) r->trail[i] = rng_normal(&g);
}

static double loss_at(refine *r, const refine_sample *const *batch, size_t n) {
    double loss;
    assert_int_equal(refine_gradient(r, batch, n, &loss, NULL), PGR_OK);
    return loss;
}

/* Every value of W, b, W_q, W_s and a_j, both regularisers weighing as much as the rest. Central differences with step
 * h err by h^2 times a third derivative of order 1 and by rounding / h: 1e-5 gives about 1e-10. */
static void test_gradient(void **state) {
    (void)state;
    refine_options o = refine_options_default();
    o.lambda_cent = 0.3;
    o.lambda_tr = 0.2;
    o.lambda_q = 0.7;
    o.lambda_s = 1.3;
    o.beta = 1.6;
    refine *r = create(&o);
    randomise(r, 1);
    const refine_sample *batch[7];
    for (size_t i = 0; i < 6; i++) batch[i] = &samples[1 + i * K];
    batch[6] = &samples[70]; /* no history */
    assert_int_equal(samples[70].n_history, 0);
    static double analytic[4096];
    assert_true(r->grad.n <= 4096);
    loss_at(r, batch, 7);
    memcpy(analytic, r->grad.W, r->grad.n * sizeof *analytic);
    size_t own = r->theta.n_shared + batch[0]->cluster * D;
    for (size_t i = 0; i < r->grad.n; i++) {
        double *p = r->theta.W + (i < r->theta.n_shared ? i : own + i - r->theta.n_shared), at = *p, h = 1e-5;
        *p = at + h;
        double up = loss_at(r, batch, 7);
        *p = at - h;
        double down = loss_at(r, batch, 7);
        *p = at;
        double numeric = (up - down) / (2 * h);
        if (!(fabs(numeric - analytic[i]) <= 2e-9))
            fail_msg("value %zu: %.12g, by differences %.12g", i, analytic[i], numeric);
    }
    for (size_t i = 0; i < D; i++) assert_true(analytic[r->theta.n_shared + i] != 0);
    refine_free(r);
}

/* rho acts on the a_j term (the paper), not on the query's. */
static void test_rho(void **state) {
    (void)state;
    refine_options o = refine_options_default();
    o.rho = 0;
    refine *r = create(&o);
    randomise(r, 2);
    const refine_sample *one[] = {&samples[2]};
    size_t j = samples[2].cluster;
    loss_at(r, one, 1);
    /* with rho = 0 the prototype acts through z alone, and its gradient is that of z and the regularisers */
    double g = 0, want = 0, delta;
    assert_int_equal(refine_margins(r, &samples[2], 1, &delta, NULL), PGR_OK);
    double slope = -1 / (1 + exp(delta));
    for (size_t i = 0; i < D; i++) {
        double a = r->theta.A[j * D + i];
        g += r->grad.A[i];
        want += slope * ((double)samples[2].asked.chosen[i] - samples[2].asked.rejected[i]);
        want += 2 * o.lambda_cent * (a - r->mean[j * D + i]) + 2 * o.lambda_tr * (a - r->trail[j * D + i]);
    }
    assert_true(fabs(g - want) <= 1e-12);
    refine_free(r);
}

static double accuracy(refine *r) {
    double margins[N], right = 0;
    assert_int_equal(refine_margins(r, samples, N, margins, NULL), PGR_OK);
    for (size_t i = 0; i < N; i++) right += margins[i] > 0;
    return right / N;
}

/* Training lowers the loss, keeps prototypes at length 1, gives the same bits again and with two threads. */
static void test_train(void **state) {
    (void)state;
    pool *two = NULL;
    assert_int_equal(pool_create(2, &two, NULL), PGR_OK);
    double *losses[2];
    refine *r[2];
    size_t steps;
    for (int t = 0; t < 2; t++) {
        refine_options o = refine_options_default();
        o.start = REFINE_RANDOM;
        o.epochs = 60;
        o.rate = 0.01;
        o.seed = 4;
        o.threads = t ? two : NULL;
        r[t] = create(&o);
        assert_int_equal(refine_steps(r[t], samples, N, &steps, NULL), PGR_OK);
        assert_int_equal(steps, 60 * 6); /* 30 members each: two batches */
        losses[t] = mem_array(steps, sizeof **losses);
        assert_int_equal(refine_train(r[t], samples, N, losses[t], NULL), PGR_OK);
    }
    assert_memory_equal(losses[0], losses[1], steps * sizeof **losses);
    assert_memory_equal(r[0]->theta.W, r[1]->theta.W, r[0]->theta.n * sizeof(double));
    double first = 0, last = 0;
    for (size_t i = 0; i < 6; i++) {
        first += losses[0][i];
        last += losses[0][steps - 1 - i];
    }
    if (!(last < 0.5 * first)) fail_msg("loss %g -> %g", first / 6, last / 6);
    assert_true(accuracy(r[0]) > 0.85);
    float out[K * D];
    uint32_t assign[K];
    refine_prototypes(r[0], out);
    for (size_t j = 0; j < K; j++) assert_true(fabs(vec_dot(out + j * D, out + j * D, D) - 1) < 1e-6);
    assert_int_equal(refine_assign(r[0], out, K, assign, NULL), PGR_OK);
    for (size_t j = 0; j < K; j++) assert_int_equal(assign[j], j);
    for (int t = 0; t < 2; t++) {
        mem_free(losses[t]);
        refine_free(r[t]);
    }
    pool_free(two);
}

/* The regularisers hold the prototypes: a heavy lambda_cent keeps them at their means' directions,
 * a heavy lambda_tr near their past. */
static void test_regularisers(void **state) {
    (void)state;
    double moved[3];
    for (int which = 0; which < 3; which++) {
        refine_options o = refine_options_default();
        o.epochs = 20;
        o.rate = 0.01;
        o.lambda_cent = which == 1 ? 10 : 0;
        o.lambda_tr = which == 2 ? 10 : 0;
        refine *r = create(&o);
        static double start[K * D];
        memcpy(start, r->theta.A, sizeof start);
        assert_int_equal(refine_train(r, samples, N, NULL, NULL), PGR_OK);
        moved[which] = 0;
        for (size_t i = 0; i < K * D; i++) moved[which] += fabs(r->theta.A[i] - start[i]);
        refine_free(r);
    }
    if (!(moved[1] < 0.3 * moved[0] && moved[2] < 0.7 * moved[0])) fail_msg("%g, %g, %g", moved[0], moved[1], moved[2]);
}

static void test_refusals(void **state) {
    (void)state;
    refine_options o = refine_options_default();
    refine *r = create(&o);
    pgr_error err;
    double loss;
    const refine_sample *mixed[] = {&samples[0], &samples[1]};
    assert_int_equal(refine_step(r, mixed, 2, &loss, &err), PGR_E_ARG);
    refine_sample foreign = samples[0];
    foreign.cluster = K;
    assert_int_equal(refine_train(r, &foreign, 1, NULL, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "prototype 3 of 3"));

    float bad[D] = {NAN}; /* divergence: an error, parameters as before */
    refine_sample broken = samples[0];
    broken.asked.chosen = bad;
    double before = r->theta.W[3], a = r->theta.A[0];
    assert_int_equal(refine_train(r, &broken, 1, NULL, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "diverged"));
    assert_true(r->theta.W[3] == before && r->theta.A[0] == a && r->n_step == 0);
    pgr_cancel stop = 1;
    r->o.watch.cancel = &stop;
    assert_int_equal(refine_train(r, samples, N, NULL, &err), PGR_E_CANCELLED);
    refine_free(r);

    float zero[2 * D] = {1};
    assert_int_equal(refine_create(2, D, zero, &o, &r, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "prototype 1 of 2"));
}

static bool refine_some(void) {
    refine_options o = refine_options_default();
    refine *r = NULL;
    double margins[4];
    bool worked = refine_create(K, D, centres, &o, &r, NULL) == PGR_OK
                  && refine_train(r, samples, 8, NULL, NULL) == PGR_OK
                  && refine_margins(r, samples, 4, margins, NULL) == PGR_OK;
    refine_free(r);
    return worked;
}

static void test_memory(void **state) {
    (void)state;
    fill();
    assert_true(fail_each_allocation(refine_some) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pytorch), cmocka_unit_test(test_gradient),     cmocka_unit_test(test_rho),
        cmocka_unit_test(test_train),   cmocka_unit_test(test_regularisers), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
