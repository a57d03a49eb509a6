/* test_models.c - runs whose result is a model: all weights, and score heads; that they learn, resume to the same bits,
 * and are read by what reads such models. */
#include "train_fixture.h"

#define CHATS    PGR_SOURCE_DIR "/examples/chats.jsonl"
#define PAIRS    PGR_SOURCE_DIR "/tests/golden/train/pairs.jsonl"
#define TINY     PGR_SOURCE_DIR "/tests/golden/hf-tiny-qwen3"
#define TINY_OLD PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"

static void check(pgr_status s, const pgr_error *err) {
    if (s != PGR_OK && s != PGR_E_CANCELLED) fail_msg("%s", err->message);
}

/* ---- all weights ---- */

static pgr_sft_options chats(const char *out) {
    pgr_sft_options o = pgr_sft_options_default();
    o.data = CHATS;
    o.train.full = true;
    o.train.out = out;
    o.train.steps = 12;
    o.train.batch = 4;
    o.train.lr = 3e-3;
    o.train.weight_decay = 0.01;
    o.train.pass_tokens = 300; /* several passes a step */
    o.max_tokens = 300;
    return o;
}

static pgr_status run_chats(const pgr_sft_options *o, int n_thread) {
    pgr_error err = {0};
    pgr_model *m = open_tiny(TINY, n_thread);
    pgr_status s = pgr_train_sft(m, o, NULL, &err);
    check(s, &err);
    pgr_model_close(m);
    return s;
}

static void test_whole_resumes(void **state) {
    (void)state;
    watched w = {0};
    pgr_sft_options o = chats(path_of("whole"));
    watch_run(&o.train, &w);
    assert_int_equal(run_chats(&o, 1), PGR_OK);
    assert_true(w.loss[11] < w.loss[0] - 0.5); /* twelve steps over eight conversations, from random weights */

    w = (watched){.stop_after = 5};
    o.train.out = path_of("halves");
    assert_int_equal(run_chats(&o, 2), PGR_E_CANCELLED);
    w = (watched){0};
    o.train.resume = true;
    assert_int_equal(run_chats(&o, 2), PGR_OK);
    assert_int_equal(w.n, 7);
    assert_true(same_bytes(path_of("whole/checkpoint-12/state.bin"), path_of("halves/checkpoint-12/state.bin")));
    assert_true(same_bytes(path_of("whole/model/model.safetensors"), path_of("halves/model/model.safetensors")));
    assert_true(same_bytes(path_of("whole/model/model.safetensors"), path_of("whole/checkpoint-12/model.safetensors")));

    /* a model like the one that was trained, with other weights */
    assert_true(same_bytes(path_of("whole/model/tokenizer.json"), TINY "/tokenizer.json"));
    assert_false(same_bytes(path_of("whole/model/model.safetensors"), TINY "/model.safetensors"));
    pgr_model *m = open_tiny(path_of("whole/model"), 1);
    pgr_model_close(m);
    o.train.out = path_of("whole"); /* written again, in place of the one that is there */
    assert_int_equal(run_chats(&o, 1), PGR_OK);
    assert_true(same_bytes(path_of("whole/model/model.safetensors"), path_of("halves/model/model.safetensors")));
    assert_false(file_exists(path_of("whole/model.new")));
}

static void refused(const char *model, const pgr_sft_options *o, const char *says) {
    pgr_error err = {0};
    pgr_model *m = open_tiny(model, 1);
    pgr_status s = pgr_train_sft(m, o, NULL, &err);
    if (s == PGR_OK || !strstr(err.message, says)) fail_msg("status %d: %s\nwanted: %s", s, err.message, says);
    pgr_model_close(m);
}

static void test_refusals(void **state) {
    (void)state;
    pgr_sft_options o = chats(path_of("refused"));
    refused(TINY_OLD, &o, "found a GGUF file");
    o.train.init = TINY;
    refused(TINY, &o, "expected none");
    o = chats(path_of("halves")); /* a run of all weights is not gone on with as one of an adapter, nor the reverse */
    o.train.resume = true;
    o.train.full = false;
    refused(TINY, &o, "halves");
}

/* ---- score heads ---- */

static double score(pgr_scalar *s, const char *question, const char *answer) {
    pgr_error err = {0};
    pgr_message turn = {"user", question};
    pgr_scalar_input in = {&turn, 1, answer};
    float out;
    check(pgr_scalar_score(s, &in, 1, NULL, &out, NULL, &err), &err);
    return (double)out;
}

static void run_bt(const char *out, bool full, size_t stop_after) {
    pgr_error err = {0};
    watched w = {.stop_after = stop_after};
    pgr_model *m = open_tiny(TINY, 2);
    pgr_bt_options o = pgr_bt_options_default();
    o.data = PAIRS;
    o.train.out = out;
    o.train.full = full;
    o.train.steps = 24;
    o.train.batch = 5;
    o.train.lr = full ? 3e-3 : 1e-2;
    o.train.pass_tokens = 400; /* several passes a step */
    o.max_tokens = 200;
    o.train.resume = file_is_folder(out);
    watch_run(&o.train, &w);
    pgr_status s = pgr_train_bt(m, &o, NULL, &err);
    check(s, &err);
    assert_int_equal(s == PGR_E_CANCELLED, stop_after > 0);
    pgr_model_close(m);
}

/* From a language model; what it makes is read as reward models are, and has learnt five pairs by heart. */
static void test_scores(void **state) {
    (void)state;
    for (int full = 0; full < 2; full++) {
        pgr_error err = {0};
        pgr_scalar *s = NULL;
        pgr_model_options o = pgr_model_options_default();
        o.dtype = PGR_DTYPE_F32;
        run_bt(path_of(full ? "bt_full" : "bt"), full, 0);
        check(pgr_scalar_open(path_of(full ? "bt_full/model" : "bt/model"), &o, &s, &err), &err);
        assert_true(score(s, "What is 7 times 8?", "56.")
                    > score(s, "What is 7 times 8?", "Many people find this hard. It is 54, I think."));
        assert_true(score(s, "Say hello in Spanish.", "Hola.") > score(s, "Say hello in Spanish.", "Hello."));
        pgr_scalar_close(s);
    }
    run_bt(path_of("bt_halves"), false, 9);
    run_bt(path_of("bt_halves"), false, 0);
    assert_true(same_bytes(path_of("bt/checkpoint-24/state.bin"), path_of("bt_halves/checkpoint-24/state.bin")));
    assert_true(same_bytes(path_of("bt/model/model.safetensors"), path_of("bt_halves/model/model.safetensors")));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole_resumes), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_scores)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
