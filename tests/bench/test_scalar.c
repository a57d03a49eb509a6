/* test_scalar.c - a reward model as methods of the benchmark, on a tiny random one: the verdicts are its scores, what
 * is saved goes on, what is listed is run; and a reward model's opinion is used as far as train rows say. */
#include <math.h>

#include "../base/faults.h"
#include "ask_method.h"
#include "base/rng.h"
#include "bench/run.h"
#include "bench/scalar.h"
#include "bench/scalar_fit.h"
#include "bench/stat.h"
#include "trees.h"

#define MODEL PGR_SOURCE_DIR "/tests/golden/hf-tiny-scalar-qwen2"

enum { USERS = 4, EACH = 40, ASKED = 32 };

static pgr_scalar *SCALAR;

/* Users with 32 train rows and 8 that are asked, some about one question; one response is too long for the model. */
static void write_data(const char *path) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int u = 0; u < USERS; u++)
        for (int i = 0; i < EACH; i++) {
            fprintf(f,
                    "{\"user_id\":\"u%d\",\"conversation_id\":\"c%d\",\"context\":[{\"role\":\"user\",\"content\":"
                    "\"Tree %d?\"}],\"chosen\":{\"role\":\"assistant\",\"content\":\"Oak %d, of %d",
                    u, u * EACH + i, i % 10, i, u);
            for (int k = 0; k < 2000 && u == 0 && i == EACH - 1; k++) fputs(" 1", f);
            fprintf(f, "\"},\"rejected\":{\"role\":\"assistant\",\"content\":\"Pine, %d%d\"},\"split\":\"%s\"}\n", i, u,
                    i < EACH - ASKED / USERS ? "train" : "test");
        }
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    write_data(path_of("trees.jsonl"));
    pgr_model_options o = pgr_model_options_default();
    o.n_thread = 1;
    return pgr_scalar_open(MODEL, &o, &SCALAR, NULL) == PGR_OK ? 0 : -1;
}

static int teardown(void **state) {
    pgr_scalar_close(SCALAR);
    return remove_folder(state);
}

/* A row's scores are those of its two conversations alone. */
static void rows_have_the_models_scores(void **state) {
    (void)state;
    bench_data *d = load();
    size_t rows[] = {5, 80, 39, 7};
    scalar_pair pairs[4];
    assert_int_equal(scalar_rows(SCALAR, d, rows, 4, NULL, pairs, NULL), PGR_OK);
    for (size_t i = 0; i < 4; i++) {
        const preference_pair *p = &d->rows[rows[i]].record.pair;
        const pgr_message turn = {p->context[0].role, p->context[0].text};
        for (size_t k = 0; k < 2; k++) {
            const pgr_scalar_input in = {&turn, 1, k ? p->rejected : p->chosen};
            float score;
            size_t tokens;
            assert_int_equal(pgr_scalar_score(SCALAR, &in, 1, NULL, &score, &tokens, NULL), PGR_OK);
            assert_memory_equal(&score, &pairs[i].score[k], sizeof score);
            assert_int_equal(tokens, pairs[i].tokens[k]);
        }
    }
    assert_true(isnan(pairs[2].score[0]) && isfinite(pairs[2].score[1]) && scalar_gap(&pairs[2]) == 0);
    bench_data_free(d);
}

static pgr_bench_report *bench(const pgr_bench_options *o) {
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    if (pgr_bench(NULL, o, &report, &err) != PGR_OK) fail_msg("%s", err.message);
    return report;
}

static const char *const ONLY[] = {"scalar"};

static pgr_bench_options options(const char *const *data) {
    pgr_bench_options o = pgr_bench_options_default();
    o.data = data;
    o.n_data = 1;
    o.methods = ONLY;
    o.n_methods = 1;
    o.scalar = SCALAR;
    o.runs = 2;
    return o;
}

static void the_higher_score_wins(void **state) {
    (void)state;
    const char *data[] = {path_of("trees.jsonl")};
    pgr_bench_options o = options(data);
    bench_data *d = load();
    double right = 0;
    size_t tokens = 0;
    for (size_t i = 0; i < d->n_row; i++) {
        scalar_pair pair;
        if (d->rows[i].train) continue;
        assert_int_equal(scalar_rows(SCALAR, d, &i, 1, NULL, &pair, NULL), PGR_OK);
        double gap = scalar_gap(&pair);
        right += gap > 0 ? 1 : gap < 0 ? 0 : .5;
        tokens += pair.tokens[0] + pair.tokens[1];
    }
    pgr_bench_report *report = bench(&o);
    assert_int_equal(report->n_row, 2); /* longest, scalar */
    const pgr_bench_row *r = &report->rows[1];
    assert_string_equal(r->method, "scalar");
    assert_string_equal(r->model, "hf-tiny-scalar-qwen2");
    assert_true(fabs(r->accuracy - right / ASKED) < 1e-12);
    assert_true(r->accuracy > 0 && r->accuracy < 1);
    assert_int_equal(r->failures, 2); /* the long one, in both runs */
    assert_int_equal(r->ties, 0);
    assert_int_equal(r->prompt_tokens, tokens); /* the second run computes nothing */
    assert_true(r->accuracy_se_runs == 0 && r->seconds > 0);
    assert_int_equal(report->n_note, 1);
    assert_non_null(strstr(report->notes[0], "not asked: trees row 39: "));
    assert_non_null(strstr(report->notes[0], "expected at most 1024"));
    pgr_bench_free(report);
    bench_data_free(d);
}

/* ---- saved and listed ---- */

static size_t PATIENCE;
static pgr_cancel CANCEL;

static void count_down(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    (void)ctx, (void)label, (void)done, (void)total, (void)unit;
    if (PATIENCE > 0 && --PATIENCE == 0) CANCEL = 1;
}

static void what_is_saved_is_not_asked_again(void **state) {
    (void)state;
    const char *data[] = {path_of("trees.jsonl")};
    pgr_bench_options o = options(data);
    char folder[100];
    snprintf(folder, sizeof folder, "%s/saved", scratch);
    pgr_bench_report *whole = bench(&o), *report = NULL;
    o.out = folder;
    o.watch.cancel = &CANCEL;
    o.watch.progress = count_down;
    PATIENCE = 4; /* longest and scalar have shown nothing, then scalar's 32 rows */
    assert_int_equal(pgr_bench(NULL, &o, &report, NULL), PGR_E_CANCELLED);
    CANCEL = 0;
    o.resume = true;
    report = bench(&o);
    assert_true(report->rows[1].accuracy == whole->rows[1].accuracy && report->rows[1].ece == whole->rows[1].ece);
    assert_int_equal(report->rows[1].prompt_tokens, whole->rows[1].prompt_tokens);
    pgr_bench_free(report);
    pgr_bench_free(whole);

    pgr_error err;
    o.scalar = NULL;
    static const char *const other[] = {"base"};
    o.methods = other;
    assert_int_equal(pgr_bench(NULL, &o, &report, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "methods is [\"scalar\"] there and [\"base\"] now"));
}

static void refused(const pgr_bench_options *o, const char *message) {
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_bench(NULL, o, &report, &err), PGR_E_ARG);
    if (!strstr(err.message, message)) fail_msg("'%s' does not say '%s'", err.message, message);
}

static void only_what_is_listed_is_run(void **state) {
    (void)state;
    const char *data[] = {path_of("trees.jsonl")};
    static const char *const some[] = {"scalar-personal", "base"}, *const wrong[] = {"scaler"},
                             *const prompt[] = {"judge"};
    pgr_bench_options o = options(data);
    o.runs = 1;
    o.methods = some;
    o.n_methods = 2;
    pgr_bench_report *report = bench(&o);
    assert_int_equal(report->n_row, 4);
    assert_string_equal(report->rows[1].method, "base");
    assert_string_equal(report->rows[2].method, "scalar-personal");
    assert_true(report->rows[3].plain && strcmp(report->rows[3].method, "scalar-personal") == 0);
    pgr_bench_free(report);
    o.scalar = NULL;
    refused(&o, "method scalar-personal needs a reward model with a score head (--scalar)");
    o.n_methods = 1;
    o.methods = ONLY;
    refused(&o, "method scalar needs a reward model");
    o.methods = wrong;
    refused(&o, "there is no method \"scaler\", expected longest, ");
    o.methods = prompt;
    refused(&o, "needs a language model"); /* 8 chains by default */
    static const int none[] = {0};
    o.ind = none;
    refused(&o, "method judge writes chains, expected ind or pro above 0");

    o.n_methods = 0; /* by default: what is opened is asked, and train rows are not sent through it */
    o.scalar = SCALAR;
    report = bench(&o);
    bool there = false;
    for (size_t i = 0; i < report->n_row; i++) {
        there = there || strcmp(report->rows[i].method, "scalar") == 0;
        assert_string_not_equal(report->rows[i].method, "scalar-personal");
    }
    assert_true(there);
    pgr_bench_free(report);
}

/* ---- under the personal part ---- */

/* Gaps that are right in three of four rows, train and asked, are worth following; gaps of chance are not; turned round
 * they get a negative weight and help as much. Bounds: .75 of 32 rows, give or take 3 standard errors of .077. */
static double accuracy_with(bench_data *d, const float *gaps) {
    double p[ASKED], sum = 0;
    method_options o = {.gaps = gaps};
    pgr_error err = {0};
    if (ask_method(d, "scalar-personal", &o, p, &err) != PGR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < ASKED; i++) sum += p[i] > .5 ? 1 : p[i] < .5 ? 0 : .5;
    return sum / ASKED;
}

static void its_weight_is_fitted_on_train_rows(void **state) {
    (void)state;
    bench_data *d = load();
    float *gaps = mem_array(d->n_row, sizeof *gaps), *turned = mem_array(d->n_row, sizeof *turned);
    double follow = 0;
    for (size_t i = 0; i < d->n_row; i++) {
        /* equal words on both sides, so that no attribute tells which was chosen */
        d->rows[i].record.pair.chosen = d->rows[i].record.pair.rejected = "Oak.";
        bool right = rng_uniform(7, 0, 0, (uint32_t)i) < .75;
        gaps[i] = right ? 2 : -2;
        turned[i] = -gaps[i];
        if (!d->rows[i].train) follow += right ? 1.0 / ASKED : 0;
    }
    assert_true(fabs(follow - .75) < .25);
    assert_true(fabs(accuracy_with(d, gaps) - follow) < 1e-12);
    assert_true(fabs(accuracy_with(d, turned) - follow) < 1e-12);
    mem_free(gaps);
    mem_free(turned);
    method_options none = {0};
    double p[ASKED];
    pgr_error err;
    assert_int_equal(ask_method(d, "scalar-personal", &none, p, &err), PGR_E_ARG);
    assert_string_equal(err.message, "this method needs a reward model (--scalar)");
    bench_data_free(d);
}

/* Choices that follow sigmoid(0.8 d + 0.4 s), d in points, s of the reward model: the weight is 1/2. Bounds: over 4,000
 * pairs the slopes have standard errors of about .045 (information n E[p (1 - p)] = 4000 x .18 x variance 1), the ratio
 * sqrt(.045^2 + (.5 x .045)^2) / .8 = .063: three of them. */
static void the_weight_under_the_judge_is_found(void **state) {
    (void)state;
    enum { N = 4000 };
    static bench_verdict v[2 * N];
    static float gaps[2 * N];
    static const bench_cell cells[] = {{.method = "p-genrm", .ind = 2}, {.method = "scalar", .scalar = true}};
    rng r = {.seed = 11};
    for (size_t i = 0; i < N; i++) {
        double d = rng_normal(&r), s = rng_normal(&r);
        double sign = rng_next(&r) < stat_probability(.8 * d + .4 * s) ? 1 : -1;
        gaps[2 * i] = (float)(sign * d + .3);
        gaps[2 * i + 1] = (float)(sign * d - .3);
        v[i] = (bench_verdict){.known = true, .gaps = &gaps[2 * i], .n_gap = 2};
        v[N + i] = (bench_verdict){.known = true, .p = stat_probability(sign * s)};
    }
    verdict_table t = {.data = "d", .cells = cells, .n_cell = 2, .n_run = 1, .n_row = N, .v = v};
    scalar_fit f;
    bool there = false;
    assert_int_equal(scalar_fit_verdicts(&t, &f, &there, NULL), PGR_OK);
    assert_true(there && f.pairs == N);
    if (!(fabs(f.weight - .5) <= .19)) fail_msg("%g, expected .5", f.weight);
    assert_true(f.with < f.without);
    v[0].gaps[0] = v[0].gaps[1] = NAN; /* no chain, no score: not counted */
    v[N + 1].p = NAN;
    assert_int_equal(scalar_fit_verdicts(&t, &f, &there, NULL), PGR_OK);
    assert_int_equal(f.pairs, N - 2);
    for (size_t i = 0; i < 2 * N; i++) gaps[i] = -gaps[i]; /* a judge that is wrong: no weight of its scores fits */
    assert_int_equal(scalar_fit_verdicts(&t, &f, &there, NULL), PGR_OK);
    assert_true(there && isnan(f.weight));
    t.n_row = 1;
    assert_int_equal(scalar_fit_verdicts(&t, &f, &there, NULL), PGR_OK);
    assert_false(there);
}

static bench_data *FAULTY;

static bool run_faulty(void) {
    double p[ASKED];
    method_options o = {.scalar = SCALAR};
    return ask_method(FAULTY, "scalar-personal", &o, p, NULL) == PGR_OK;
}

static void out_of_memory(void **state) {
    (void)state;
    bench_data *all = load();
    pair_record few[12]; /* of train rows alone: nothing is asked */
    for (size_t i = 0; i < 12; i++) {
        assert_true(all->rows[i].train);
        few[i] = all->rows[i].record;
    }
    assert_int_equal(bench_data_of("few", few, 12, "test", &FAULTY, NULL), PGR_OK);
    assert_true(fail_allocations(run_faulty, 200) > 30);
    bench_data_free(FAULTY);
    bench_data_free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_the_models_scores),
        cmocka_unit_test(the_higher_score_wins),
        cmocka_unit_test(what_is_saved_is_not_asked_again),
        cmocka_unit_test(only_what_is_listed_is_run),
        cmocka_unit_test(its_weight_is_fitted_on_train_rows),
        cmocka_unit_test(the_weight_under_the_judge_is_found),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
