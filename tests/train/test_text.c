/* test_text.c - the stages on text chains, on a tiny random model and made users: psi learns the form from the rubric
 * writer, then from the model's own chains; cre raises the reward; hncl's share of hard pairs rises; sampler and
 * trainer agree; interrupted runs go on to the same bits. */
#include "train_fixture.h"

#include "base/rng.h"

#define CHAINS_MODEL PGR_SOURCE_DIR "/tests/golden/hf-tiny-chains"
#define FRAME        PGR_SOURCE_DIR "/tests/golden/chains.frame"

enum { USERS = 20, PAIRS = 6 };

/* Half of the users choose long answers with an exclamation mark in some of them, half the others. */
static const char *write_users(void) {
    buf b = {0};
    rng r = {5, 0, 0};
    for (int u = 0; u < USERS; u++)
        for (int i = 0; i < PAIRS; i++) {
            buf text[2] = {{0}, {0}};
            for (int k = 0; k < 2; k++)
                for (size_t n = k ? 30 : 4; n > 0; n--)
                    buf_printf(&text[k], "%c%c%c%c ", (int)('a' + rng_below(&r, 26)), (int)('a' + rng_below(&r, 26)),
                               (int)('a' + rng_below(&r, 26)), (int)('a' + rng_below(&r, 26)));
            buf_puts(&text[1], i % 2 ? "!" : "");
            buf_printf(&b,
                       "{\"user_id\": \"u%d\", \"context\": [{\"role\": \"user\", \"content\": \"%d of %d\"}], "
                       "\"chosen\": {\"role\": \"assistant\", \"content\": \"%s\"}, \"rejected\": {\"role\": "
                       "\"assistant\", \"content\": \"%s\"}, \"split\": \"train\"}\n",
                       u, i, u, text[u % 2].data, text[1 - u % 2].data);
            buf_free(&text[0]);
            buf_free(&text[1]);
        }
    const char *path = write_text("users.jsonl", b.data);
    buf_free(&b);
    return path;
}

static const char *DATA[1];

static pgr_text_options options_for(pgr_stage stage, const char *out) {
    pgr_text_options o = pgr_text_options_default(stage);
    DATA[0] = path_of("users.jsonl");
    o.data = DATA;
    o.n_data = 1;
    o.frame = FRAME;
    o.train.out = out;
    o.train.lr = 1e-2;
    o.train.pass_tokens = 1024;
    o.train.rank = 8;
    o.eval_every = 0;
    o.eval_limit = 8;
    o.max_tokens = 60; /* the teacher's chains have 40 */
    return o;
}

static pgr_status run(const pgr_text_options *o, int n_thread, pgr_train_report *report) {
    pgr_error err = {0};
    pgr_model *m = open_tiny(CHAINS_MODEL, n_thread);
    pgr_status s = pgr_train_text(m, o, report, &err);
    if (s != PGR_OK && s != PGR_E_CANCELLED) fail_msg("%s", err.message);
    pgr_model_close(m);
    return s;
}

static double evaluated(const watched *w, const char *name) {
    assert_non_null(w->evaluation);
    return json_number_value(json_object_get(w->evaluation, name));
}

/* Lines of a run's metrics, by name. */
static size_t metrics_of(const char *name, const char *metric, double *out, size_t most) {
    buf all = {0};
    size_t n = 0;
    assert_int_equal(file_read(path_of(name), &all, NULL), PGR_OK);
    for (char *line = strtok(all.data, "\n"); line && n < most; line = strtok(NULL, "\n")) {
        json_t *v = NULL;
        json_replace_nul(line, strlen(line)); /* a sample is what a model wrote */
        assert_int_equal(json_parse(line, strlen(line), name, 1, &v, NULL), PGR_OK);
        if (json_object_get(v, metric)) out[n++] = json_number_value(json_object_get(v, metric));
        json_decref(v);
    }
    buf_free(&all);
    return n;
}

/* An evaluation's chains have margins by expectation besides those of the numbers that happened to be written. */
static void check_samples(const char *name) {
    double written[64], expected[64];
    size_t n = metrics_of(name, "margin", written, 64), differ = 0;
    assert_int_equal(metrics_of(name, "expected", expected, 64), n);
    for (size_t i = 0; i < n; i++) {
        assert_true(fabs(expected[i]) <= 9);
        differ += expected[i] != 0 && expected[i] != written[i];
    }
    assert_true(differ > 0);
}

/* The share of chains that parse, all written freely, goes from none to nearly all, and their criteria are the user's:
 * half of the users choose the other way. */
static void test_psi_learns_the_form(void **state) {
    (void)state;
    watched w = {0};
    pgr_train_report report;
    pgr_text_options o = options_for(PGR_STAGE_PSI, path_of("untrained"));
    o.train.steps = 1;
    o.train.lr = 0;
    watch_run(&o.train, &w);
    assert_int_equal(run(&o, 1, &report), PGR_OK);
    assert_true(evaluated(&w, "chains/parsed") == 0);
    assert_true(evaluated(&w, "chains/own_expected") == 0.5);
    json_decref(w.evaluation);

    w = (watched){0};
    o = options_for(PGR_STAGE_PSI, path_of("psi"));
    o.train.steps = 120;
    o.train.batch = 4;
    watch_run(&o.train, &w);
    assert_int_equal(run(&o, 1, &report), PGR_OK);
    assert_true(mean(w.loss + 115, 5) < 0.5 * mean(w.loss, 5));
    if (!(evaluated(&w, "chains/parsed") >= 0.5)) fail_msg("parsed %g", evaluated(&w, "chains/parsed"));
    check_samples("psi/samples.jsonl");
    double own = evaluated(&w, "chains/own_by_facts"), stranger = evaluated(&w, "chains/stranger_by_facts");
    if (!(own >= 0.65 && own > stranger + 0.4)) fail_msg("criteria: own %g, stranger %g", own, stranger);
    json_decref(w.evaluation);
}

/* The run into another folder, stopped after so many steps and gone on with by two threads. */
static void run_in_halves(pgr_text_options *o, const char *folder, size_t stop_after) {
    pgr_train_report report;
    watched w = {.stop_after = stop_after};
    o->train.out = path_of(folder);
    watch_run(&o->train, &w);
    assert_int_equal(run(o, 1, &report), PGR_E_CANCELLED);
    w = (watched){0};
    o->train.resume = true;
    assert_int_equal(run(o, 2, &report), PGR_OK);
    json_decref(w.evaluation);
}

/* Six steps are three, an interruption and three; the teacher's chains are those of the file. */
static void test_resumes(void **state) {
    (void)state;
    pgr_train_report report;
    pgr_text_options o = options_for(PGR_STAGE_PSI, path_of("whole"));
    o.train.steps = 6;
    o.train.batch = 2;
    o.eval_limit = 1;
    o.pairs = 30;
    assert_int_equal(run(&o, 1, &report), PGR_OK);
    run_in_halves(&o, "halves", 3);
    assert_true(same_bytes(path_of("whole/checkpoint-6/state.bin"), path_of("halves/checkpoint-6/state.bin")));
    assert_true(same_bytes(path_of("whole/chains.jsonl"), path_of("halves/chains.jsonl")));
}

/* A kill in the middle of a line of chains.jsonl: the line is written again, the file is that of an undisturbed run. */
static void test_cut_line(void **state) {
    (void)state;
    pgr_train_report report;
    pgr_text_options o = options_for(PGR_STAGE_PSI, path_of("cut"));
    o.train.steps = 1;
    o.eval_limit = 1;
    o.pairs = 30;
    assert_int_equal(run(&o, 1, &report), PGR_OK);
    buf all = {0};
    assert_int_equal(file_read(path_of("cut/chains.jsonl"), &all, NULL), PGR_OK);
    assert_int_equal(mkdir(path_of("cut2"), 0777), 0);
    write_bytes("cut2/chains.jsonl", all.data, all.n / 2);
    buf_free(&all);
    o.train.out = path_of("cut2");
    assert_int_equal(run(&o, 1, &report), PGR_OK);
    assert_true(same_bytes(path_of("cut/chains.jsonl"), path_of("cut2/chains.jsonl")));
}

static void assert_refused(const pgr_text_options *o, pgr_status status, const char *says) {
    pgr_error err = {0};
    pgr_model *m = open_tiny(CHAINS_MODEL, 1);
    pgr_status s = pgr_train_text(m, o, NULL, &err);
    if (s != status || !strstr(err.message, says))
        fail_msg("status %d: %s\nwanted %d: %s", s, err.message, status, says);
    pgr_model_close(m);
}

static void test_refusals(void **state) {
    (void)state;
    pgr_text_options o = options_for(PGR_STAGE_PSI, path_of("refused"));
    o.frame = "compact";
    assert_refused(&o, PGR_E_ARG, "its form is slots");
    o = options_for(PGR_STAGE_PSI, path_of("refused"));
    o.train.pass_tokens = 40;
    assert_refused(&o, PGR_E_ARG, "pass-tokens 40");
    o = options_for(PGR_STAGE_PSI, path_of("refused"));
    o.teacher = PGR_TEACHER_SERVER;
    assert_refused(&o, PGR_E_ARG, "server: found none");
    o = options_for(PGR_STAGE_PSI, path_of("refused"));
    o.train.full = true;
    assert_refused(&o, PGR_E_ARG, "full: found true");
    o = options_for(PGR_STAGE_CRE, path_of("refused"));
    o.grpo.samples = 3;
    assert_refused(&o, PGR_E_ARG, "samples 3");
}

/* Once more on the model's own chains: under the frame's grammar, the first of four that ranks the pair right. */
static void test_own_chains(void **state) {
    (void)state;
    pgr_train_report report;
    pgr_text_options o = options_for(PGR_STAGE_PSI, path_of("own"));
    o.teacher = PGR_TEACHER_SELF;
    o.train.init = path_of("psi/adapter");
    o.max_tokens = 0;
    o.pairs = 6;
    o.train.steps = 2;
    o.train.batch = 2;
    o.eval_limit = 1;
    assert_int_equal(run(&o, 1, &report), PGR_OK);
    assert_int_equal(report.steps, 2);
}

/* The built-in frame of the paper's form: all scores of the teacher's chains are found inside its rationale, which has
 * a JSON text's line breaks. */
static void test_full_form(void **state) {
    (void)state;
    watched w = {0};
    pgr_train_report report;
    pgr_text_options o = options_for(PGR_STAGE_PSI, path_of("full"));
    o.frame = "full";
    o.train.pass_tokens = 8192;
    o.train.steps = 2;
    o.train.batch = 1;
    o.max_tokens = 1200; /* the teacher's have 1,000 of this tokenizer's */
    o.pairs = 2;
    o.history = 2;
    o.held = 0; /* nothing to evaluate on */
    double placed[2], right[2];
    watch_run(&o.train, &w);
    assert_int_equal(run(&o, 2, &report), PGR_OK);
    assert_int_equal(metrics_of("full/metrics.jsonl", "placed", placed, 2), 2);
    assert_int_equal(metrics_of("full/metrics.jsonl", "accuracy", right, 2), 2);
    assert_true(placed[0] == 1 && placed[1] == 1);
    assert_true(isfinite(w.loss[0]) && right[0] >= 0 && right[0] <= 1);
}

/* The engine draws under the log-probabilities that the trainer computes: both are sums of the same fp32 products, in
 * another order at most, of logits up to 22 (the bound is 64 roundings of such a number). */
static void assert_gap(size_t step, double gap) {
    if (!(gap <= 64 * 22 * 6e-8)) fail_msg("step %zu: sampler and trainer differ by %g", step, gap);
}

/* The share of hard pairs rises from none to --hard-to; an interrupted run goes on to the same bits. */
/* Chains that were learnt from, with what they were worth: n_line lines of `each`. */
static void expect_samples(const char *path, size_t n_line, size_t each) {
    buf text = {0};
    size_t lines = 0;
    assert_int_equal(file_read(path_of(path), &text, NULL), PGR_OK);
    for (const char *at = text.data, *end; (end = strchr(at, '\n')); at = end + 1) {
        json_t *v = NULL;
        assert_int_equal(json_parse(at, (size_t)(end - at), "line", 1, &v, NULL), PGR_OK);
        const json_t *list = json_object_get(v, "samples");
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *s = json_array_get(list, i);
            assert_true(json_is_number(json_object_get(s, "reward"))
                        && json_is_number(json_object_get(s, "advantage")));
            assert_true(json_is_string(json_object_get(s, "completion")) && json_is_string(json_object_get(s, "user")));
            assert_true(json_string_length(json_object_get(s, "prompt")) > 0);
        }
        if (list) assert_int_equal(json_array_size(list), each);
        lines += list != NULL;
        json_decref(v);
    }
    assert_int_equal(lines, n_line);
    buf_free(&text);
}

static void test_hncl(void **state) {
    (void)state;
    double share[4], gap[4];
    pgr_train_report report;
    pgr_text_options o = options_for(PGR_STAGE_HNCL, path_of("hncl"));
    o.train.init = path_of("psi/adapter");
    o.train.steps = 4;
    o.train.batch = 1;
    o.grpo.samples = 4;
    o.eval_limit = 1;
    o.train.sample_every = 2;
    assert_int_equal(run(&o, 1, &report), PGR_OK);
    assert_int_equal(metrics_of("hncl/metrics.jsonl", "hard_share", share, 4), 4);
    assert_true(share[0] == 0 && fabs(share[3] - 0.8) < 1e-9);
    assert_int_equal(metrics_of("hncl/metrics.jsonl", "sampling/sampling_logp_difference/max", gap, 4), 4);
    for (size_t i = 0; i < 4; i++) assert_gap(i + 1, gap[i]);
    expect_samples("hncl/metrics.jsonl", 2, 2 * 4);
    run_in_halves(&o, "hncl2", 2);
    assert_true(same_bytes(path_of("hncl/checkpoint-4/state.bin"), path_of("hncl2/checkpoint-4/state.bin")));
}

/* GRPO raises the mean reward. It begins with an adapter that a quarter of the chains parse with
 * (tools/tiny_chains_adapter.py), the same at every level of kernels.
 *
 * Bound: without learning the mean reward of eight steps has the standard deviation .030 (25 such means of five seeds,
 * at each of the levels avx2 and avx512): a difference of two beyond .13 comes by chance once in a thousand times. The
 * path of the learning is another one with every compiler and level: after 30 steps some of them had added .07 only,
 * after 56 what was added was .32 to .49 in 16 paths (seeds 10 to 19, gcc and clang, AVX2, AVX-512, AMX). With the
 * advantages' sign turned the reward falls to that of what does not parse. */
static void test_cre_raises_the_reward(void **state) {
    (void)state;
    enum { LOOK = 8, STEPS = 56 };
    double reward[2], gap[STEPS];
    pgr_train_report report;
    for (int learns = 0; learns < 2; learns++) {
        watched w = {0};
        pgr_text_options o = options_for(PGR_STAGE_CRE, path_of(learns ? "cre" : "still"));
        o.train.init = PGR_SOURCE_DIR "/tests/golden/chains-adapter";
        o.train.seed = 10;
        o.train.steps = learns ? STEPS : LOOK;
        o.train.lr = learns ? 6e-4 : 0;
        o.grpo.samples = 16;
        o.held = 0;
        watch_run(&o.train, &w);
        assert_int_equal(run(&o, 2, &report), PGR_OK);
        reward[learns] = mean(w.reward + o.train.steps - LOOK, LOOK);
    }
    print_message("reward %.3f, then %.3f\n", reward[0], reward[1]);
    if (!(reward[1] > reward[0] + 0.13)) fail_msg("reward %g, then %g", reward[0], reward[1]);
    assert_int_equal(metrics_of("cre/metrics.jsonl", "sampling/sampling_logp_difference/max", gap, STEPS), STEPS);
    for (size_t i = 0; i < STEPS; i++) assert_gap(i + 1, gap[i]);
}

static int write_all(void **state) {
    int s = make_folder(state);
    write_users();
    return s;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_psi_learns_the_form),
                                       cmocka_unit_test(test_resumes),
                                       cmocka_unit_test(test_cut_line),
                                       cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_own_chains),
                                       cmocka_unit_test(test_full_form),
                                       cmocka_unit_test(test_hncl),
                                       cmocka_unit_test(test_cre_raises_the_reward)};
    return cmocka_run_group_tests(tests, write_all, remove_folder);
}
