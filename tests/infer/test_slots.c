/* test_slots.c - slots of a prompt: what is read there is what the model says of the choices after the text before,
 * renormalised, whatever else is computed, and nothing stands in a slot for the text behind it. */
#include <math.h>

#include "../base/faults.h"
#include "infer/engine.h"
#include "model/model.h"

#define TINY PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"
#define LORA PGR_SOURCE_DIR "/tests/golden/lora/llama-qv"

static pgr_model *MODEL;
static pgr_engine *ENGINE;

static pgr_engine *engine_with(const pgr_engine_options *o) {
    pgr_engine *e = NULL;
    pgr_error err = {0};
    if (pgr_engine_create(MODEL, o, &e, &err) != PGR_OK) fail_msg("%s", err.message);
    return e;
}

static int setup(void **state) {
    (void)state;
    pgr_error err = {0};
    if (pgr_model_open(TINY, &(pgr_model_options){.dtype = PGR_DTYPE_EXACT}, &MODEL, &err) != PGR_OK)
        fail_msg("%s", err.message);
    ENGINE = engine_with(NULL);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    pgr_engine_free(ENGINE);
    pgr_model_close(MODEL);
    return 0;
}

/* Digits are one token each, the words are several. */
static const char *const DIGITS[] = {"1", "2", "3", "4"}, *const WORDS[] = {" careful", " casual", "7", " x"};

static const char TEXT[] =
    "The user likes short answers.\nA: Ten minutes.\nScore:\nB: Rice is a grain that one boils.\n"
    "Score:\nThis user likes";
enum { N_SLOT = 3 };

static infer_slot slot_behind(const char *text, const char *what, size_t nth, const char *const *choices) {
    const char *at = text - 1;
    for (size_t i = 0; i <= nth; i++) {
        at = strstr(at + 1, what);
        assert_non_null(at);
    }
    return (infer_slot){.at = (size_t)(at - text) + strlen(what), .choices = choices, .n_choice = 4};
}

static void three_slots(infer_slot out[N_SLOT]) {
    out[0] = slot_behind(TEXT, "Score:", 0, DIGITS);
    out[1] = slot_behind(TEXT, "Score:", 1, DIGITS);
    out[2] = slot_behind(TEXT, "likes", 1, WORDS);
}

static infer_request text_request(const char *text, const infer_slot *slots, size_t n) {
    return (infer_request){.text = text, .n_text = strlen(text), .slots = slots, .n_slot = n};
}

static infer_result *read_slots(pgr_engine *e, const infer_request *q) {
    infer_output out;
    pgr_error err = {0};
    if (infer_run(e, q, 1, NULL, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    infer_result *r = out.results[0];
    out.results[0] = NULL;
    infer_output_free(&out);
    assert_int_equal(r->n_chain, 0);
    assert_int_equal(r->n_reading, q->n_slot);
    return r;
}

static void assert_same(const infer_result *a, const infer_result *b) {
    assert_int_equal(a->n_reading, b->n_reading);
    for (size_t i = 0; i < a->n_reading; i++) {
        assert_int_equal(a->readings[i].n_choice, b->readings[i].n_choice);
        assert_memory_equal(a->readings[i].logprobs, b->readings[i].logprobs, a->readings[i].n_choice * sizeof(double));
        assert_memory_equal(&a->readings[i].mass, &b->readings[i].mass, sizeof(double));
    }
}

/* log p of a choice after the prompt's first n tokens, as the engine scores given texts. */
static double given(const ids *prompt, size_t n, const char *choice) {
    ids all = {0};
    double sum = 0;
    ids_append(&all, prompt->v, n);
    assert_int_equal(engine_tokens(ENGINE, choice, strlen(choice), 0, &all, NULL), PGR_OK);
    float *p = mem_array(all.n, sizeof *p);
    assert_int_equal(infer_logprobs(ENGINE, all.v, all.n, NULL, p, NULL), PGR_OK);
    for (size_t i = n; i < all.n; i++) sum += (double)p[i];
    mem_free(p);
    ids_free(&all);
    return sum;
}

static infer_slot_tokens tokens_of(const infer_message *m, size_t n, const infer_slot *slots, size_t n_slot) {
    infer_slot_tokens t;
    pgr_error err = {0};
    if (engine_slots_tokens(ENGINE, m, n, slots, n_slot, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    return t;
}

static void is_what_the_model_says_of_given_texts(void **state) {
    (void)state;
    infer_message m[] = {{"system", "You judge answers.", 18}, {"user", TEXT, sizeof TEXT - 1}};
    infer_slot slots[N_SLOT];
    three_slots(slots);
    for (size_t i = 0; i < N_SLOT; i++) slots[i].message = 1;
    infer_slot_tokens t = tokens_of(m, 2, slots, N_SLOT);
    infer_result *r =
        read_slots(ENGINE, &(infer_request){.messages = m, .n_message = 2, .slots = slots, .n_slot = N_SLOT});
    assert_int_equal(t.tokens.n, r->prompt.n); /* what a trainer sees is what is read */
    assert_memory_equal(t.tokens.v, r->prompt.v, t.tokens.n * sizeof *t.tokens.v);
    assert_int_equal(t.n_slot, N_SLOT);
    assert_int_equal(t.rows[N_SLOT - 1], t.tokens.n - 1); /* the rest is left out */
    assert_false(t.single);
    for (size_t i = 0; i < N_SLOT; i++) {
        double p[4], all = 0, sum = 0;
        assert_int_equal(t.first[i + 1] - t.first[i], 4);
        for (size_t c = 0; c < 4; c++) {
            p[c] = given(&r->prompt, t.rows[i] + 1, slots[i].choices[c]);
            all += exp(p[c]);
        }
        for (size_t c = 0; c < 4; c++) { /* both are sums of floats of the same rows: equal but for a few roundings */
            assert_true(fabs(r->readings[i].logprobs[c] - (p[c] - log(all))) < 1e-6);
            sum += exp(r->readings[i].logprobs[c]);
        }
        assert_true(fabs(sum - 1) < 1e-12);
        assert_true(fabs(r->readings[i].mass - all) < 1e-6 * all);
    }
    infer_slot_tokens_free(&t);
    infer_result_free(r);
}

static void choices_of_one_token_are_data(void **state) {
    (void)state;
    infer_message m = {"user", TEXT, sizeof TEXT - 1};
    infer_slot slots[N_SLOT];
    three_slots(slots);
    infer_slot_tokens t = tokens_of(&m, 1, slots, 2);
    assert_true(t.single);
    assert_int_equal(t.n_choice, 8);
    assert_int_equal(t.choices.n, 8);
    for (size_t k = 0; k < 8; k++) {
        ids one = {0};
        assert_int_equal(engine_tokens(ENGINE, DIGITS[k % 4], 1, 0, &one, NULL), PGR_OK);
        assert_int_equal(one.n, 1);
        assert_int_equal(t.choices.v[k], one.v[0]);
        assert_int_equal(t.end[k], k + 1);
        ids_free(&one);
    }
    infer_slot_tokens_free(&t);
}

/* A slot in front of a text changes nothing of it: the last slot reads the same with and without the others. The
 * borders that the others make are borders of tokens anyhow, which the test makes sure of. */
static void nothing_stands_in_a_slot(void **state) {
    (void)state;
    infer_slot slots[N_SLOT];
    three_slots(slots);
    infer_request all = text_request(TEXT, slots, N_SLOT), last = text_request(TEXT, slots + 2, 1);
    infer_result *a = read_slots(ENGINE, &all), *b = read_slots(ENGINE, &last);
    assert_int_equal(a->prompt.n, b->prompt.n);
    assert_memory_equal(a->prompt.v, b->prompt.v, a->prompt.n * sizeof *a->prompt.v);
    assert_memory_equal(a->readings[2].logprobs, b->readings[0].logprobs, 4 * sizeof(double));
    infer_result_free(a);
    infer_result_free(b);
}

/* Alone; beside chains and other slots; in small passes; without a cache; again, from the cache. */
static void depends_on_nothing_else(void **state) {
    (void)state;
    infer_slot slots[N_SLOT];
    three_slots(slots);
    infer_request q = text_request(TEXT, slots, N_SLOT);
    pgr_engine_options small = pgr_engine_options_default(), bare = small;
    small.n_batch = 3;
    bare.cache_bytes = 0;
    pgr_engine *engines[] = {engine_with(NULL), engine_with(&small), engine_with(&bare)};
    infer_result *first = read_slots(engines[0], &q);
    assert_int_equal(first->usage.cached_tokens, 0);
    for (size_t e = 0; e < 3; e++)
        for (int again = 0; again < 2; again++) {
            infer_result *r = read_slots(engines[e], &q);
            assert_same(first, r);
            infer_result_free(r);
        }
    infer_request chains = {.text = TEXT, .n_text = 60, .n_sample = 5, .max_tokens = 12, .sampling = {1, 0, 1, 0}};
    infer_request other = text_request(TEXT + 4, slots, 1), list[] = {chains, q, other, q, chains};
    infer_output out;
    pgr_error err = {0};
    if (infer_run(engines[1], list, 5, NULL, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_same(first, out.results[1]);
    assert_same(first, out.results[3]);
    infer_output_free(&out);
    infer_result_free(first);
    for (size_t e = 0; e < 3; e++) pgr_engine_free(engines[e]);
}

/* The tokens before the first slot's are known the second time, and so is the beginning of a longer prompt. */
static void beginnings_are_shared(void **state) {
    (void)state;
    pgr_engine *e = engine_with(NULL), *fresh = engine_with(NULL);
    infer_slot end = slot_behind(TEXT, "likes", 1, WORDS), early = slot_behind(TEXT, "Score:", 0, DIGITS);
    infer_request one = text_request(TEXT, &end, 1), two = text_request(TEXT, &early, 1);
    infer_result *a = read_slots(e, &one), *b = read_slots(e, &one), *c = read_slots(e, &two),
                 *d = read_slots(fresh, &two);
    assert_int_equal(a->usage.cached_tokens, 0);
    assert_int_equal(b->usage.cached_tokens, b->prompt.n - 1);
    assert_int_equal(c->usage.cached_tokens, c->prompt.n - 1);
    assert_same(a, b);
    assert_same(c, d);
    infer_result *all[] = {a, b, c, d};
    for (size_t i = 0; i < 4; i++) infer_result_free(all[i]);
    pgr_engine_free(e);
    pgr_engine_free(fresh);
}

/* A request's own adapters count, and its beginnings are not those of the model without. */
static void adapters_count(void **state) {
    (void)state;
    pgr_lora *lora = NULL;
    pgr_error err = {0};
    float scale = 1;
    if (pgr_lora_open(MODEL, LORA, &lora, &err) != PGR_OK) fail_msg("%s", err.message);
    infer_slot end = slot_behind(TEXT, "likes", 1, WORDS);
    infer_request plain = text_request(TEXT, &end, 1), with = plain;
    infer_adapters adapters = {&lora, &scale, 1};
    with.adapters = &adapters;
    pgr_engine *e = engine_with(NULL), *usual = engine_with(NULL);
    assert_null(engine_about(usual)->adapter);
    assert_int_equal(pgr_engine_set_loras(usual, &lora, &scale, 1, &err), PGR_OK);
    assert_string_equal(engine_about(usual)->adapter, LORA);
    infer_result *a = read_slots(e, &plain), *b = read_slots(e, &with), *c = read_slots(usual, &plain),
                 *d = read_slots(e, &plain);
    assert_same(b, c);
    assert_same(a, d);
    assert_true(memcmp(a->readings[0].logprobs, b->readings[0].logprobs, 4 * sizeof(double)) != 0);
    assert_int_equal(b->usage.cached_tokens, 0);
    infer_result *all[] = {a, b, c, d};
    for (size_t i = 0; i < 4; i++) infer_result_free(all[i]);
    pgr_engine_free(e);
    pgr_engine_free(usual);
    pgr_lora_close(lora);
}

/* What a text of a message holds is text, the sign that the engine marks slots with included. */
static void texts_cannot_hold_slots(void **state) {
    (void)state;
    static const char odd[] = "a \xEF\xB7\x90\xEF\xB7\x91\xEF\xB7\x90 b likes";
    infer_slot slot = slot_behind(odd, "likes", 0, DIGITS);
    infer_message m = {"user", odd, sizeof odd - 1};
    infer_slot_tokens t = tokens_of(&m, 1, &slot, 1);
    buf text = {0};
    assert_int_equal(tok_decode(MODEL->tok, t.tokens.v, t.tokens.n, &text, NULL), PGR_OK);
    assert_non_null(memmem(text.data, text.n, odd, sizeof odd - 1));
    assert_int_equal(text.n, (size_t)((const char *)memmem(text.data, text.n, odd, sizeof odd - 1) - text.data)
                                 + sizeof odd - 1); /* it ends at the slot */
    buf_free(&text);
    infer_slot_tokens_free(&t);
}

static void refused(infer_request q, const char *want) {
    infer_ticket ticket;
    pgr_error err = {0};
    assert_true(engine_submit(ENGINE, &q, &ticket, &err) != PGR_OK);
    if (!strstr(err.message, want)) fail_msg("'%s', expected '%s'", err.message, want);
}

static void what_is_wrong_is_said(void **state) {
    (void)state;
    static const char *const alike[] = {"1", "12"}, *const empty[] = {"1", ""};
    infer_slot s = {.at = 3, .choices = DIGITS, .n_choice = 4}, two[] = {s, s};
    infer_message m = {"user", "a\xC3\xA9 b", 5};
    infer_request q = {.messages = &m, .n_message = 1, .slots = two, .n_slot = 2};
    two[0].at = 0;
    two[1].at = 2;
    refused(q, "slot 2 stands at byte 2 of 5 of its text, expected a character's border");
    two[0].at = 3;
    two[1].at = 1;
    refused(q, "slot 2 stands before slot 1, expected the order of the prompt");
    two[1] = (infer_slot){.message = 1, .choices = DIGITS, .n_choice = 4};
    refused(q, "slot 2 stands in message 2 of 1");
    two[1] = (infer_slot){.at = 6, .choices = DIGITS, .n_choice = 4};
    refused(q, "slot 2 stands at byte 6 of 5");
    two[1] = (infer_slot){.at = 5, .choices = DIGITS, .n_choice = 1};
    refused(q, "slot 2 has 1 choices, expected at least 2");
    two[1] = (infer_slot){.at = 5, .choices = alike, .n_choice = 2};
    refused(q, "the tokens of '1' and '12' begin alike");
    two[1].choices = empty;
    refused(q, "slot 2: choice 2 is empty");
    q.n_slot = 1;
    q.n_sample = 1;
    refused(q, "1 slots and 1 samples");
    two[0].at = 0;
    refused(text_request("abc", two, 1), "slot 1 stands before the prompt's first token");
}

/* The deadline comes before the prompt was read: no reading, no error. */
static void a_deadline_leaves_nothing(void **state) {
    (void)state;
    infer_slot slots[N_SLOT];
    three_slots(slots);
    infer_request q = text_request(TEXT, slots, N_SLOT);
    q.deadline_s = 1e-9;
    infer_output out;
    pgr_error err = {0};
    if (infer_run(ENGINE, &q, 1, NULL, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(out.results[0]->n_reading, 0);
    infer_output_free(&out);
}

/* A cache that holds one prompt at a time: they wait for each other. */
static void pages_are_waited_for(void **state) {
    (void)state;
    infer_slot slots[N_SLOT];
    three_slots(slots);
    infer_request q = text_request(TEXT, slots, N_SLOT), list[] = {q, q, q};
    pgr_engine_options o = pgr_engine_options_default();
    infer_result *first = read_slots(ENGINE, &q);
    o.n_kv_token = (first->prompt.n / 32 + 4) * 32;
    pgr_engine *small = engine_with(&o);
    infer_output out;
    pgr_error err = {0};
    if (infer_run(small, list, 3, NULL, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < 3; i++) assert_same(first, out.results[i]);
    infer_output_free(&out);
    infer_result_free(first);
    pgr_engine_free(small);
}

static bool read_once(void) {
    infer_slot slots[N_SLOT];
    three_slots(slots);
    infer_message m = {"user", TEXT, sizeof TEXT - 1};
    infer_request q = {.messages = &m, .n_message = 1, .slots = slots, .n_slot = N_SLOT};
    pgr_engine *e = NULL;
    infer_output out;
    bool ok = pgr_engine_create(MODEL, NULL, &e, NULL) == PGR_OK;
    if (ok && (ok = infer_run(e, &q, 1, NULL, &out, NULL) == PGR_OK)) infer_output_free(&out);
    pgr_engine_free(e);
    return ok;
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    assert_true(fail_allocations(read_once, 20) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_what_the_model_says_of_given_texts),
        cmocka_unit_test(choices_of_one_token_are_data),
        cmocka_unit_test(nothing_stands_in_a_slot),
        cmocka_unit_test(depends_on_nothing_else),
        cmocka_unit_test(beginnings_are_shared),
        cmocka_unit_test(adapters_count),
        cmocka_unit_test(texts_cannot_hold_slots),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_deadline_leaves_nothing),
        cmocka_unit_test(pages_are_waited_for),
        cmocka_unit_test(every_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
