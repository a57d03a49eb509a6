/* test_sft.c - supervised fine-tuning on a tiny model: it learns, it is reproducible, it goes on after an interruption
 * to the same bits, and it says what it does not take. */
#include "train_fixture.h"

#define CHATS PGR_SOURCE_DIR "/examples/chats.jsonl"
#define TINY  PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"

static pgr_sft_options options_for(const char *out) {
    pgr_sft_options o = pgr_sft_options_default();
    o.data = CHATS;
    o.train.out = out;
    o.train.steps = 10;
    o.train.batch = 3;
    o.train.lr = 1e-2;
    o.train.schedule = PGR_SCHEDULE_COSINE;
    o.train.warmup = 2;
    o.train.pass_tokens = 200; /* several passes a step */
    o.max_tokens = 200;
    return o;
}

static pgr_status run(const pgr_sft_options *o, int n_thread, pgr_train_report *report) {
    pgr_error err = {0};
    pgr_model *m = open_tiny(TINY, n_thread);
    pgr_status s = pgr_train_sft(m, o, report, &err);
    if (s != PGR_OK && s != PGR_E_CANCELLED) fail_msg("%s", err.message);
    pgr_model_close(m);
    return s;
}

static void test_learns(void **state) {
    (void)state;
    watched w = {0};
    pgr_sft_options o = options_for(path_of("learns"));
    pgr_train_report report;
    o.train.steps = 60;
    o.train.schedule = PGR_SCHEDULE_CONSTANT;
    watch_run(&o.train, &w);
    assert_int_equal(run(&o, 2, &report), PGR_OK);
    assert_int_equal(w.n, 60);
    assert_int_equal(report.steps, 60);
    assert_true(fabs(report.loss - w.loss[59]) < 1e-7); /* nine digits are written */
    /* eight conversations by heart, in 20 passes over them: half of the loss at least */
    assert_true(mean(w.loss + 54, 6) < 0.5 * mean(w.loss, 3));
    assert_true(file_exists(path_of("learns/adapter/adapter_model.safetensors")));
    assert_true(file_exists(path_of("learns/checkpoint-60/adapter_config.json")));
}

/* Ten steps are five, an interruption, and five: every value and moment, bit for bit, whatever the threads. */
static void test_resumes(void **state) {
    (void)state;
    pgr_train_report report;
    pgr_sft_options o = options_for(path_of("whole"));
    assert_int_equal(run(&o, 1, &report), PGR_OK);

    watched w = {.stop_after = 5};
    o.train.out = path_of("halves");
    watch_run(&o.train, &w);
    assert_int_equal(run(&o, 2, &report), PGR_E_CANCELLED);
    assert_int_equal(report.steps, 5);
    assert_string_equal(report.checkpoint, path_of("halves/checkpoint-5"));
    w = (watched){0};
    o.train.resume = true;
    assert_int_equal(run(&o, 2, &report), PGR_OK);
    assert_int_equal(w.n, 5);
    assert_int_equal(report.steps, 10);
    assert_true(same_bytes(path_of("whole/checkpoint-10/state.bin"), path_of("halves/checkpoint-10/state.bin")));
    assert_true(same_bytes(path_of("whole/adapter/adapter_model.safetensors"),
                           path_of("halves/adapter/adapter_model.safetensors")));
}

/* A run that is done has no step left; made longer it goes on; of its checkpoints two are kept. What a kill left goes,
 * folders that the user named stay. */
static void test_longer(void **state) {
    (void)state;
    pgr_train_report report;
    pgr_sft_options o = options_for(path_of("longer"));
    o.train.save_minutes = 0;
    o.train.schedule = PGR_SCHEDULE_CONSTANT;
    o.train.steps = 3;
    assert_int_equal(run(&o, 2, &report), PGR_OK);
    assert_int_equal(mkdir(path_of("longer/checkpoint-best"), 0777), 0);
    assert_int_equal(mkdir(path_of("longer/checkpoint-3.new"), 0777), 0);
    assert_int_equal(mkdir(path_of("longer/checkpoint-3.new.part"), 0777), 0);
    o.train.resume = true;
    assert_int_equal(run(&o, 2, &report), PGR_OK);
    assert_int_equal(report.steps, 3);
    assert_true(isnan(report.loss));
    assert_false(file_exists(path_of("longer/checkpoint-3.new")));
    assert_false(file_exists(path_of("longer/checkpoint-3.new.part")));
    o.train.steps = 5; /* metrics that somebody has removed do not come back as zeros */
    assert_int_equal(unlink(path_of("longer/metrics.jsonl")), 0);
    assert_int_equal(run(&o, 2, &report), PGR_OK);
    assert_int_equal(report.steps, 5);
    buf metrics = {0};
    assert_int_equal(file_read(path_of("longer/metrics.jsonl"), &metrics, NULL), PGR_OK);
    assert_true(metrics.n > 0 && strlen(metrics.data) == metrics.n && strncmp(metrics.data, "{\"step\":4,", 10) == 0);
    buf_free(&metrics);
    assert_true(file_is_folder(path_of("longer/checkpoint-5")) && file_is_folder(path_of("longer/checkpoint-4")));
    assert_false(file_is_folder(path_of("longer/checkpoint-3")));
    assert_true(file_is_folder(path_of("longer/checkpoint-best")));
}

/* --init: the adapter's values (as its file has them), a new optimiser. With learning rate 0 they stay. */
static void test_init(void **state) {
    (void)state;
    pgr_train_report report;
    pgr_sft_options o = options_for(path_of("first"));
    assert_int_equal(run(&o, 2, &report), PGR_OK);
    o.train.init = path_of("first/adapter");
    o.train.out = path_of("second");
    o.train.lr = 0;
    assert_int_equal(run(&o, 2, &report), PGR_OK);
    assert_true(same_bytes(path_of("first/adapter/adapter_model.safetensors"),
                           path_of("second/adapter/adapter_model.safetensors")));
}

static void assert_refused(const pgr_sft_options *o, pgr_status status, const char *says) {
    pgr_error err = {0};
    pgr_model *m = open_tiny(TINY, 1);
    pgr_status s = pgr_train_sft(m, o, NULL, &err);
    if (s != status || !strstr(err.message, says))
        fail_msg("status %d: %s\nwanted %d: %s", s, err.message, status, says);
    pgr_model_close(m);
}

#define TURN(role, content) "{\"role\": \"" role "\", \"content\": " content "}"

static void test_refusals(void **state) {
    (void)state;
    pgr_train_report report;
    pgr_sft_options o = options_for(path_of("refused"));
    o.train.steps = 2;
    assert_int_equal(run(&o, 1, &report), PGR_OK);
    assert_refused(&o, PGR_E_ARG, "holds a run already");
    o.train.resume = true;
    o.train.lr = 0.5;
    assert_refused(&o, PGR_E_ARG, "setting lr 0.01");
    o = options_for(path_of("refused2"));
    o.data = write_text("bad.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n");
    assert_refused(&o, PGR_E_FORMAT, "bad.jsonl:1: no turn of the assistant");
    o.data = write_text("bad.jsonl", "{\"messages\": [{\"role\": \"robot\", \"content\": \"x\"}]}\n");
    assert_refused(&o, PGR_E_FORMAT, "\"robot\"");
    o.data = write_text("bad.jsonl", "{\"message\": []}\n");
    assert_refused(&o, PGR_E_FORMAT, "messages");
    o.data = write_text("bad.jsonl", "{\"messages\": []}\n");
    assert_refused(&o, PGR_E_FORMAT, "bad.jsonl:1: messages: found an empty array");
    o.data = write_text("bad.jsonl", "\n{\"messages\": [" TURN("user", "\"x\"") "," TURN("assistant", "7") "]}\n");
    assert_refused(&o, PGR_E_FORMAT, "bad.jsonl:2: messages[1].content: found an integer");
    o.data = write_text("bad.jsonl", "{\"messages\": [" TURN("assistant", "\"x\"") "]}\n");
    assert_refused(&o, PGR_E_FORMAT, "bad.jsonl:1: messages[0].role: found \"assistant\"");
    o.data = path_of("nothing.jsonl");
    assert_refused(&o, PGR_E_IO, "nothing.jsonl");
    o = options_for(path_of("refused3"));
    o.max_tokens = 5;
    assert_refused(&o, PGR_E_FORMAT, "8 are longer");
    o.max_tokens = 300;
    assert_refused(&o, PGR_E_ARG, "pass-tokens, 200");
}

/* A text and the same text in parts are the same conversation: equal losses. */
static void test_parts(void **state) {
    (void)state;
    static const char *const rows[2] = {
        "{\"messages\": [" TURN("user", "\"Red tea\"") "," TURN("assistant", "\"Yes.\"") "]}\n",
        "{\"messages\": [" TURN("user", "[{\"type\": \"text\", \"text\": \"Red \"}, {\"type\": \"text\", \"text\": "
                                        "\"tea\"}]") "," TURN("model", "\"Yes.\"") "]}\n"};
    pgr_train_report report[2];
    for (int i = 0; i < 2; i++) {
        pgr_sft_options o = options_for(path_of(i ? "parts" : "whole_text"));
        o.data = write_text("parts.jsonl", rows[i]);
        o.train.steps = 1;
        assert_int_equal(run(&o, 1, &report[i]), PGR_OK);
    }
    assert_true(report[0].loss == report[1].loss);
}

/* A damaged checkpoint is told, not trained on. */
static void test_damage(void **state) {
    (void)state;
    pgr_train_report report;
    pgr_sft_options o = options_for(path_of("damaged"));
    o.train.steps = 2;
    assert_int_equal(run(&o, 1, &report), PGR_OK);
    FILE *f = fopen(path_of("damaged/checkpoint-2/state.bin"), "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 4000, SEEK_SET), 0);
    assert_int_equal(fwrite("x", 1, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    o.train.resume = true;
    assert_refused(&o, PGR_E_FORMAT, "damaged");
    assert_int_equal(truncate(path_of("damaged/checkpoint-2/state.bin"), 100), 0);
    assert_refused(&o, PGR_E_FORMAT, "bytes");
}

static json_t *state_of(const char *run) {
    char name[80];
    buf text = {0};
    json_t *v = NULL;
    snprintf(name, sizeof name, "%s/checkpoint-1/state.json", run);
    assert_int_equal(file_read(path_of(name), &text, NULL), PGR_OK);
    assert_int_equal(json_parse(text.data, text.n, name, 1, &v, NULL), PGR_OK);
    buf_free(&text);
    json_object_del(v, "metrics_bytes"); /* times have more digits or fewer */
    return v;
}

static bool same_state(const char *a, const char *b) {
    json_t *one = state_of(a), *two = state_of(b);
    bool same = json_equal(one, two);
    json_decref(one);
    json_decref(two);
    return same;
}

/* A run with some allocation failing says so and leaves no memory behind, or it did without and
 * wrote what it would have written: every 7th of some hundreds. */
static void test_memory(void **state) {
    (void)state;
    pgr_model *m = open_tiny(TINY, 1);
    char out[160];
    snprintf(out, sizeof out, "%s", path_of("memory"));
    pgr_sft_options o = options_for(out);
    pgr_error err = {0};
    long live = 0, n = 0;
    o.train.steps = 1;
    for (long i = -7; i <= n; i += 7) { /* first one run in which the model keeps what it needs once */
        long before = mem_count();
        char command[200];
        snprintf(command, sizeof command, "rm -rf %s", o.train.out);
        assert_int_equal(system(command), 0);
        if (i > 0) mem_fail_nth(i);
        pgr_status s = pgr_train_sft(m, &o, NULL, &err);
        mem_fail_nth(0);
        if (i < 0) live = mem_live();
        if (i == 0) n = mem_count() - before;
        if (i == 0) rename(path_of("memory"), path_of("memory_whole"));
        bool whole = s == PGR_OK && i > 0 && same_state("memory", "memory_whole");
        if ((s == PGR_OK && i > 0 && !whole) || (s != PGR_OK && i <= 0) || mem_live() != live)
            fail_msg("allocation %ld of %ld failed: status %d, %ld more live", i, n, s, mem_live() - live);
    }
    assert_true(n > 100);
    pgr_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_learns),   cmocka_unit_test(test_resumes),
                                       cmocka_unit_test(test_longer),   cmocka_unit_test(test_init),
                                       cmocka_unit_test(test_refusals), cmocka_unit_test(test_parts),
                                       cmocka_unit_test(test_damage),   cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
