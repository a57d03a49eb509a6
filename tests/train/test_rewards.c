/* test_rewards.c - the judge as a source of labels and of rewards, on a tiny random model: rows that DPO's and KTO's
 * trainers read, interrupted and gone on with; a policy whose answers are drawn, judged and learnt from, to the same
 * bits whatever interrupts it, with the log-probabilities that it was drawn with. */
#include "train_fixture.h"

#include <sqlite3.h>

#include "train/rollout.h"

#define CHOICES PGR_SOURCE_DIR "/examples/choices.jsonl"

static void check(pgr_status s, const pgr_error *err) {
    if (s != PGR_OK && s != PGR_E_CANCELLED) fail_msg("%s", err->message);
}

/* ---- label ---- */

static pgr_label_report label_file(const char *requests, const char *out, pgr_label_form form, double margin,
                                   bool resume) {
    pgr_error err = {0};
    pgr_engine *e = NULL;
    pgr_label_report report;
    pgr_model *m = open_tiny(WORDS_MODEL, 2);
    pgr_label_options o = pgr_label_options_default();
    o.form = form;
    o.margin = margin;
    o.resume = resume;
    o.group = 2;
    o.judge.ind = 2;
    o.judge.frame = "compact";
    check(pgr_engine_create(m, NULL, &e, &err), &err);
    check(pgr_label(e, requests, out, &o, &report, &err), &err);
    pgr_engine_free(e);
    pgr_model_close(m);
    assert_false(file_exists(path_of("rows.jsonl.part")));
    return report;
}

static pgr_label_report run_label(const char *out, pgr_label_form form, double margin, bool resume) {
    return label_file(CHOICES, out, form, margin, resume);
}

static json_t *lines_of(const char *path) {
    buf text = {0};
    json_t *list = json_array();
    assert_int_equal(file_read(path, &text, NULL), PGR_OK);
    for (char *at = text.data; at && *at;) {
        char *end = strchr(at, '\n');
        json_t *v = NULL;
        assert_non_null(end);
        assert_int_equal(json_parse(at, (size_t)(end - at), path, 1, &v, NULL), PGR_OK);
        json_array_append_new(list, v);
        at = end + 1;
    }
    buf_free(&text);
    return list;
}

static const char *content(const json_t *row, const char *key) {
    return json_string_value(json_object_get(json_array_get(json_object_get(row, key), 0), "content"));
}

static void test_label(void **state) {
    (void)state;
    pgr_label_report all = run_label(path_of("rows.jsonl"), PGR_LABEL_DPO, 0, false);
    assert_int_equal(all.failed, 0);
    assert_true(all.labelled > 0);
    assert_int_equal(all.labelled + all.close, all.read);
    json_t *rows = lines_of(path_of("rows.jsonl"));
    assert_int_equal(json_array_size(rows), all.labelled);
    double least = INFINITY, most = 0;
    for (size_t i = 0; i < all.labelled; i++) {
        const json_t *r = json_array_get(rows, i);
        double gap = json_number_value(json_object_get(r, "score_chosen"))
                     - json_number_value(json_object_get(r, "score_rejected"));
        assert_true(gap > 0);
        assert_true(strcmp(content(r, "chosen"), content(r, "rejected")) != 0);
        assert_true(json_array_size(json_object_get(r, "prompt")) > 0);
        least = fmin(least, gap), most = fmax(most, gap);
    }

    /* a margin leaves out what is closer */
    pgr_label_report some = run_label(path_of("far.jsonl"), PGR_LABEL_DPO, (least + most) / 2, false);
    assert_int_equal(some.labelled + some.close, all.labelled + all.close);
    assert_true(some.labelled < all.labelled || least == most);

    /* the same rows after an interruption: whole lines stay, the begun one is made again */
    buf text = {0};
    char command[400];
    assert_int_equal(file_read(path_of("rows.jsonl"), &text, NULL), PGR_OK);
    size_t keep = (size_t)(strchr(text.data, '\n') - text.data) + 1 + 9;
    snprintf(command, sizeof command, "mv %s %s", path_of("rows.jsonl"), path_of("whole.jsonl"));
    assert_int_equal(system(command), 0);
    write_bytes("rows.jsonl.part", text.data, keep < text.n ? keep : text.n);
    run_label(path_of("rows.jsonl"), PGR_LABEL_DPO, 0, true);
    assert_true(same_bytes(path_of("rows.jsonl"), path_of("whole.jsonl")));
    buf_free(&text);

    /* KTO: the same two answers, a line each */
    run_label(path_of("kto.jsonl"), PGR_LABEL_KTO, 0, false);
    json_t *kto = lines_of(path_of("kto.jsonl"));
    assert_int_equal(json_array_size(kto), 2 * all.labelled);
    for (size_t i = 0; i < 2 * all.labelled; i++) {
        const json_t *r = json_array_get(kto, i), *pair = json_array_get(rows, i / 2);
        assert_string_equal(content(r, "completion"), content(pair, i % 2 ? "rejected" : "chosen"));
        assert_true(json_is_true(json_object_get(r, "label")) == (i % 2 == 0));
    }
    json_decref(kto);
    json_decref(rows);
}

/* A data set's row of which no pair is made is counted, and the others are labelled. */
static void test_label_ties(void **state) {
    (void)state;
#define ARENA(winner)                                                                                                  \
    "{\"judge\":\"j\",\"winner\":\"" winner "\",\"conversation_a\":[" TURN("user", "q") "," TURN(                      \
        "assistant", "Yes.") "],\"conversation_b\":[" TURN("user", "q") "," TURN("assistant", "No, and why.") "]}\n"
#define TURN(role, content) "{\"role\":\"" role "\",\"content\":\"" content "\"}"
    const char *rows = write_text("ties.jsonl", ARENA("model_a") ARENA("tie") ARENA("model_b"));
    pgr_label_report r = label_file(rows, path_of("rows.jsonl"), PGR_LABEL_DPO, 0, false);
    assert_int_equal(r.read, 3);
    assert_int_equal(r.failed, 1);
    assert_int_equal(r.labelled + r.close, 2);
    assert_non_null(strstr(r.first, "ties.jsonl:2: this row makes no pair: a tie"));
}

/* What label writes is what dpo reads; the margin of what is learnt grows. */
static void test_dpo(void **state) {
    (void)state;
    pgr_error err = {0};
    watched w = {0};
    pgr_model *m = open_tiny(WORDS_MODEL, 2);
    pgr_dpo_options o = pgr_dpo_options_default();
    o.data = path_of("rows.jsonl");
    o.train.out = path_of("dpo");
    o.train.steps = 8;
    o.train.batch = 4;
    o.train.lr = 1e-2;
    o.train.pass_tokens = 1024;
    o.max_tokens = 512;
    watch_run(&o.train, &w);
    check(pgr_train_dpo(m, &o, NULL, &err), &err);
    pgr_model_close(m);
    assert_true(fabs(w.loss[0] - log(2)) < 1e-6); /* a new adapter is the reference */
    assert_true(w.loss[7] < log(2));
    assert_true(file_exists(path_of("dpo/adapter/adapter_model.safetensors")));
}

/* ---- a policy ---- */

static double worst_difference;

static size_t n_shown; /* samples with their advantages */

/* In a group the greater reward has the greater advantage. */
static void look_at_samples(const json_t *list, size_t group) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *s = json_array_get(list, i), *first = json_array_get(list, i / group * group);
        double d =
            json_number_value(json_object_get(s, "reward")) - json_number_value(json_object_get(first, "reward"));
        double a =
            json_number_value(json_object_get(s, "advantage")) - json_number_value(json_object_get(first, "advantage"));
        assert_true((d > 0) == (a > 0) && (d < 0) == (a < 0));
        assert_true(json_is_string(json_object_get(s, "prompt")) && json_is_string(json_object_get(s, "completion")));
        assert_true(json_string_length(json_object_get(s, "user")) > 0);
        n_shown++;
    }
}

static void watch_policy(void *ctx, const char *json, const char *text) {
    json_t *v = NULL;
    watch_step(ctx, json, text);
    assert_int_equal(json_parse(json, strlen(json), "step", 1, &v, NULL), PGR_OK);
    double d = json_number_value(json_object_get(v, "sampling/sampling_logp_difference/max"));
    worst_difference = fmax(worst_difference, d);
    look_at_samples(json_object_get(v, "samples"), 3);
    json_decref(v);
}

static char BOARD[200];

/* Steps and evaluations of a run in the database. */
static int rows_of(const char *run) {
    sqlite3 *d = NULL;
    sqlite3_stmt *q = NULL;
    assert_int_equal(sqlite3_open(BOARD, &d), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(d, "SELECT count(*) FROM metrics WHERE run_name = ?1", -1, &q, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(q, 1, run, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int n = sqlite3_column_int(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(d);
    return n;
}

static pgr_status run_policy(const char *out, size_t stop_after, watched *w) {
    pgr_error err = {0};
    pgr_model *m = open_tiny(WORDS_MODEL, 2);
    pgr_policy_options o = pgr_policy_options_default();
    o.data = CHOICES;
    o.samples = 3;
    o.max_new = 6;
    o.held = 0.3;
    o.eval_limit = 3;
    o.judging.ind = 2;
    o.judging.frame = "compact";
    o.train.out = out;
    o.train.steps = 4;
    o.train.batch = 2;
    o.train.lr = 1e-2;
    o.train.sample_every = 2;
    o.train.trackio = BOARD;
    o.train.pass_tokens = 600;
    o.train.resume = file_is_folder(out);
    *w = (watched){.stop_after = stop_after};
    watch_run(&o.train, w);
    o.train.on_step = watch_policy;
    pgr_status s = pgr_train_policy(m, &o, NULL, &err);
    check(s, &err);
    pgr_model_close(m);
    return s;
}

/* Drawn by the engine and computed by the trainer, a token has one probability. The two passes are the same operations
 * on the same rows to the bit; what is left is a logarithm in fp32 on one side: 2^-24 of up to 20. */
static void test_policy(void **state) {
    (void)state;
    watched w;
    snprintf(BOARD, sizeof BOARD, "%s", path_of("board.db"));
    n_shown = 0;
    assert_int_equal(run_policy(path_of("policy"), 0, &w), PGR_OK);
    assert_int_equal(w.n, 4);
    assert_int_equal(n_shown, 2 * 2 * 3); /* at steps 2 and 4: two prompts, three answers each */
    assert_non_null(w.evaluation);
    assert_true(json_number_value(json_object_get(w.evaluation, "eval/prompts")) > 0);
    json_decref(w.evaluation);
    if (!(worst_difference <= 20 * 0x1p-22)) fail_msg("log-probabilities differ by %g", worst_difference);

    assert_int_equal(run_policy(path_of("policy_halves"), 2, &w), PGR_E_CANCELLED);
    json_decref(w.evaluation);
    assert_int_equal(run_policy(path_of("policy_halves"), 0, &w), PGR_OK);
    assert_int_equal(w.n, 2);
    json_decref(w.evaluation);
    assert_true(same_bytes(path_of("policy/checkpoint-4/state.bin"), path_of("policy_halves/checkpoint-4/state.bin")));
    assert_int_equal(rows_of("policy"), 5);        /* four steps, an evaluation */
    assert_int_equal(rows_of("policy_halves"), 5); /* none twice */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_label), cmocka_unit_test(test_label_ties),
                                       cmocka_unit_test(test_dpo), cmocka_unit_test(test_policy)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
