/* test_open.c - the open engine: requests come while others run, and each becomes what it is alone, to the bit; one
 * that is bad, cancelled or late is so alone. */
#include <math.h>

#include "../base/faults.h"
#include "base/text.h"
#include "infer/local.h"

#define TINY PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"
#define LORA PGR_SOURCE_DIR "/tests/golden/lora/"

enum { MOST = 6 }; /* requests of a test */

static pgr_model *MODEL;
static pgr_lora *LORAS[2];

static int setup(void **state) {
    (void)state;
    pgr_model_options o = pgr_model_options_default();
    pgr_error err = {0};
    o.n_thread = 2;
    if (pgr_model_open(TINY, &o, &MODEL, &err) != PGR_OK
        || pgr_lora_open(MODEL, LORA "llama-qv", &LORAS[0], &err) != PGR_OK
        || pgr_lora_open(MODEL, LORA "llama-more.gguf", &LORAS[1], &err) != PGR_OK)
        fail_msg("%s", err.message);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    pgr_lora_close(LORAS[0]);
    pgr_lora_close(LORAS[1]);
    pgr_model_close(MODEL);
    return 0;
}

static pgr_engine *engine_with(size_t n_batch, size_t n_kv_token) {
    pgr_engine_options o = pgr_engine_options_default();
    pgr_engine *e = NULL;
    o.n_batch = n_batch;
    o.n_kv_token = n_kv_token;
    o.cache_bytes = 0; /* so that all pages are free when nothing runs */
    assert_int_equal(pgr_engine_create(MODEL, &o, &e, NULL), PGR_OK);
    return e;
}

static infer_request request(const char *text, size_t n_sample, size_t max_tokens) {
    return (infer_request){.text = text,
                           .n_text = strlen(text),
                           .n_sample = n_sample,
                           .seed = 11,
                           .sampling = {.temperature = 1.0f, .top_p = 1.0f},
                           .max_tokens = max_tokens,
                           .ignore_eos = true};
}

static infer_ticket submit(pgr_engine *e, infer_request r, infer_result **out) {
    infer_ticket ticket = 0;
    pgr_error err = {0};
    r.tag = out;
    *out = NULL;
    if (engine_submit(e, &r, &ticket, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_true(ticket > 0);
    return ticket;
}

/* Results go where their requests' tags say. */
static size_t take(pgr_engine *e) {
    infer_event event;
    size_t n = 0;
    while (engine_take(e, NULL, &event)) {
        if (event.kind != INFER_ENDED) continue;
        *(infer_result **)event.tag = event.result;
        n++;
    }
    return n;
}

static void step(pgr_engine *e, size_t n) {
    while (n-- > 0) engine_step(e);
}

static void finish(pgr_engine *e) {
    while (engine_step(e)) continue;
    take(e);
    engine_load load = engine_state(e);
    assert_int_equal(load.n_request + load.n_running + load.n_waiting, 0);
    const kv_cache *kv = &((local *)e)->kv;
    assert_int_equal(kv->n_free, kv->n_page);
}

static void assert_same(const infer_result *a, const infer_result *b) {
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->error.status, PGR_OK);
    assert_int_equal(a->n_chain, b->n_chain);
    assert_int_equal(a->prompt.n, b->prompt.n);
    assert_memory_equal(a->prompt.v, b->prompt.v, a->prompt.n * sizeof *a->prompt.v);
    for (size_t i = 0; i < a->n_chain; i++) {
        const infer_chain *x = &a->chains[i], *y = &b->chains[i];
        assert_int_equal(x->tokens.n, y->tokens.n);
        assert_int_equal(x->finish, y->finish);
        assert_memory_equal(x->tokens.v, y->tokens.v, x->tokens.n * sizeof *x->tokens.v);
        assert_memory_equal(x->logprobs, y->logprobs, x->tokens.n * sizeof *x->logprobs);
        assert_memory_equal(x->forced, y->forced, x->tokens.n);
        assert_int_equal(x->text.n, y->text.n);
        assert_memory_equal(x->text.data, y->text.data, x->text.n);
    }
}

static infer_result *alone(infer_request r) {
    pgr_engine *e = engine_with(0, 0);
    infer_result *out;
    submit(e, r, &out);
    finish(e);
    pgr_engine_free(e);
    assert_non_null(out);
    return out;
}

static void assert_as_alone(const infer_result *got, infer_request r) {
    infer_result *want = alone(r);
    assert_same(got, want);
    infer_result_free(want);
}

static void free_all(infer_result **list, size_t n) {
    for (size_t i = 0; i < n; i++) infer_result_free(list[i]);
}

#define LONG_TEXT                                                                                                      \
    "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "

/* ---- while others run ---- */

/* What comes later shares a beginning with what runs, or not; has a grammar, or not; its prompt goes over several
 * chunks. */
static size_t make_requests(infer_request *r) {
    r[0] = request(LONG_TEXT "and A", 5, 50);
    r[1] = request("Something else", 3, 30);
    r[2] = request(LONG_TEXT "and B", 2, 20);
    r[3] = request("Judge", 4, 60);
    r[3].grammar = "root ::= \"score \" [1-9] \" of ten, \" [a-z]{2,30} \".\"\n";
    r[3].n_grammar = strlen(r[3].grammar);
    r[3].want_forced = true;
    for (size_t i = 0; i < 4; i++) r[i].id = (uint32_t)i;
    return 4;
}

static void submitted_while_others_run(void **state) {
    (void)state;
    static const size_t STEPS[][3] = {{0, 0, 0}, {1, 1, 1}, {3, 9, 2}, {40, 1, 25}, {60, 40, 40}};
    static const size_t BATCH[] = {0, 3, 16};
    infer_request r[MOST];
    size_t n = make_requests(r);
    infer_result *want[MOST];
    for (size_t i = 0; i < n; i++) want[i] = alone(r[i]);
    for (size_t b = 0; b < 3; b++)
        for (size_t k = 0; k < sizeof STEPS / sizeof *STEPS; k++) {
            pgr_engine *e = engine_with(BATCH[b], 0);
            infer_result *got[MOST];
            for (size_t i = 0; i < n; i++) {
                submit(e, r[(i + k) % n], &got[(i + k) % n]); /* another one first each time */
                if (i < 3) step(e, STEPS[k][i]);
            }
            finish(e);
            for (size_t i = 0; i < n; i++) assert_same(got[i], want[i]);
            free_all(got, n);
            pgr_engine_free(e);
        }
    free_all(want, n);
}

static void one_and_three_threads(void **state) {
    (void)state;
    infer_request r[MOST];
    size_t n = make_requests(r);
    infer_result *want[MOST], *got[MOST];
    for (size_t i = 0; i < n; i++) want[i] = alone(r[i]);
    pgr_model *two = MODEL;
    for (int threads = 1; threads <= 3; threads += 2) {
        pgr_model_options o = pgr_model_options_default();
        o.n_thread = threads;
        assert_int_equal(pgr_model_open(TINY, &o, &MODEL, NULL), PGR_OK);
        pgr_engine *e = engine_with(0, 0);
        for (size_t i = 0; i < n; i++) {
            submit(e, r[i], &got[i]);
            step(e, 4);
        }
        finish(e);
        for (size_t i = 0; i < n; i++) assert_same(got[i], want[i]);
        free_all(got, n);
        pgr_engine_free(e);
        pgr_model_close(MODEL);
    }
    MODEL = two;
    free_all(want, n);
}

/* What two chains write in the four steps that a later prompt is read in. */
static uint64_t written_beside(pgr_engine *e, infer_request a, infer_request b) {
    infer_result *got[2];
    submit(e, a, &got[0]);
    step(e, 3);
    submit(e, b, &got[1]);
    uint64_t read = engine_state(e).n_read, written = engine_state(e).n_written;
    step(e, 4);
    assert_true(engine_state(e).n_read - read > 30 && engine_state(e).n_read < engine_state(e).n_to_read);
    written = engine_state(e).n_written - written;
    finish(e);
    assert_as_alone(got[0], a);
    assert_as_alone(got[1], b);
    free_all(got, 2);
    return written;
}

/* Chains that somebody waits for do not stand still while a prompt is read; few others do, to share passes later. */
static void chains_go_on_where_somebody_waits(void **state) {
    (void)state;
    pgr_engine *e = engine_with(16, 0);
    infer_request a = request("A", 2, 200), b = request(LONG_TEXT LONG_TEXT LONG_TEXT, 1, 5);
    assert_int_equal(written_beside(e, a, b), 0);
    a.deadline_s = 1000;
    assert_int_equal(written_beside(e, a, b), 2 * 4);
    pgr_engine_free(e);
    e = engine_with(16, 0);
    a = request("A", 32, 60); /* half of the slots: they are many */
    assert_int_equal(written_beside(e, a, b), 32 * 4);
    pgr_engine_free(e);
}

static void owners_take_their_own(void **state) {
    (void)state;
    pgr_engine *e = engine_with(0, 0);
    infer_request a = request("A", 1, 4), b = request("B", 1, 4);
    infer_result *got[2];
    int me, you;
    a.owner = &me;
    b.owner = &you;
    submit(e, a, &got[0]);
    submit(e, b, &got[1]);
    while (engine_step(e)) continue;
    infer_event event;
    assert_true(engine_take(e, &you, &event));
    assert_ptr_equal(event.tag, &got[1]);
    assert_int_equal(event.kind, INFER_ENDED);
    infer_result_free(event.result);
    assert_false(engine_take(e, &you, &event));
    assert_int_equal(take(e), 1);
    assert_as_alone(got[0], a);
    infer_result_free(got[0]);
    pgr_engine_free(e);
}

/* ---- fails alone ---- */

static pgr_status broken_fill(void *ctx, const char *hole, const char *chain, size_t n, buf *out, pgr_error *err) {
    (void)ctx, (void)chain, (void)n, (void)out;
    return (fail)(err, PGR_E_FORMAT, "nothing goes into %s", hole);
}

static void refused(pgr_engine *e, infer_request r, pgr_status status, const char *part) {
    infer_ticket ticket = 0;
    pgr_error err = {0};
    assert_int_equal(engine_submit(e, &r, &ticket, &err), status);
    assert_int_equal(ticket, 0);
    if (!strstr(err.message, part)) fail_msg("\"%s\" has no \"%s\"", err.message, part);
}

static void a_bad_request_fails_alone(void **state) {
    (void)state;
    pgr_engine *e = engine_with(0, 0);
    char words[9000] = "";
    for (size_t i = 0; i < 2100; i++) strcat(words, "a b ");
    infer_request good[2] = {request("Good", 3, 40), request("Also good", 2, 30)}, bad = request("Bad", 2, 40);
    infer_result *got[3];
    submit(e, good[0], &got[0]);
    step(e, 2);
    refused(e, request(words, 1, 5), PGR_E_LIMIT, "context is 2048");
    refused(e, request("x", 1, 2048), PGR_E_LIMIT, "exceed the model's context");
    refused(e, request("", 1, 5), PGR_E_ARG, "empty");
    refused(e, request("x", 0, 5), PGR_E_ARG, "n_sample is 0");
    bad.grammar = "root ::= missing\n";
    bad.n_grammar = strlen(bad.grammar);
    bad.grammar_name = "mine";
    refused(e, bad, PGR_E_FORMAT, "mine:1");
    bad.grammar = "root ::= \"ab\" [c-e] @sum \".\"\n";
    bad.n_grammar = strlen(bad.grammar);
    refused(e, bad, PGR_E_ARG, "holes");
    const int32_t strange[] = {5, 1 << 30};
    infer_request ids = request("", 1, 5);
    ids.text = NULL;
    ids.prompt = strange;
    ids.n_prompt = 2;
    refused(e, ids, PGR_E_ARG, "prompt token 2");
    bad.fill = broken_fill; /* this one is found out when it runs */
    submit(e, bad, &got[2]);
    step(e, 2);
    submit(e, good[1], &got[1]);
    finish(e);
    assert_int_equal(got[2]->error.status, PGR_E_FORMAT);
    assert_string_equal(got[2]->error.message, "nothing goes into sum");
    assert_int_equal(got[2]->n_chain, 0);
    for (size_t i = 0; i < 2; i++) assert_as_alone(got[i], good[i]);
    free_all(got, 3);
    pgr_engine_free(e);
}

/* Logits that are no numbers end the requests that see them, with an error; the engine goes on. */
static void broken_weights_are_each_request_s_error(void **state) {
    (void)state;
    pgr_engine *e = engine_with(0, 0);
    infer_request r = request("Good", 3, 20);
    infer_result *got[3];
    submit(e, r, &got[0]);
    submit(e, r, &got[1]);
    step(e, 3);
    float *norm = &MODEL->weights.output_norm[3], before = *norm;
    *norm = NAN;
    step(e, 1);
    *norm = before;
    submit(e, r, &got[2]);
    finish(e);
    for (size_t i = 0; i < 2; i++) assert_int_equal(got[i]->error.status, PGR_E_FORMAT);
    assert_as_alone(got[2], r);
    free_all(got, 3);
    pgr_engine_free(e);
}

/* ---- cancelled, late, urgent ---- */

static void cancelled_by_ticket_or_flag(void **state) {
    (void)state;
    for (size_t steps = 0; steps < 30; steps += 7) {
        pgr_engine *e = engine_with(16, 0);
        pgr_cancel flag = 0;
        infer_request stay = request(LONG_TEXT "stays", 3, 60), go = request(LONG_TEXT "goes", 70, 300);
        infer_result *got[3];
        submit(e, stay, &got[0]);
        infer_ticket ticket = submit(e, go, &got[1]);
        go.cancel = &flag;
        submit(e, go, &got[2]);
        step(e, steps);
        engine_cancel(e, ticket);
        assert_int_equal(engine_state(e).n_request, 2);
        engine_cancel(e, ticket); /* again, and one that never was: nothing */
        engine_cancel(e, 999);
        step(e, 3);
        flag = 1;
        step(e, 1);
        assert_int_equal(take(e), 1);
        assert_int_equal(got[2]->error.status, PGR_E_CANCELLED);
        assert_true(engine_state(e).n_running <= 3);
        finish(e);
        assert_null(got[1]); /* nobody is told */
        assert_as_alone(got[0], stay);
        infer_result_free(got[0]);
        infer_result_free(got[2]);
        pgr_engine_free(e);
    }
}

/* What is there when the engine goes is gone with it; so is an ended one that was cancelled before it was taken. */
static void freed_while_it_runs(void **state) {
    (void)state;
    long live = mem_live();
    pgr_engine *e = engine_with(0, 0);
    infer_result *got[3];
    infer_ticket ended = submit(e, request("A", 1, 2), &got[0]);
    submit(e, request("B", 70, 200), &got[1]);
    submit(e, request("C", 1, 2), &got[2]);
    step(e, 8);
    engine_cancel(e, ended);
    assert_int_equal(take(e), 0);
    pgr_engine_free(e);
    assert_int_equal(mem_live(), live);
}

static void a_deadline_hands_over_what_has_ended(void **state) {
    (void)state;
    pgr_engine *e = engine_with(0, 0);
    infer_request late = request("Late", 12, 300), other = request("Other", 2, 90);
    const char *stop = "e"; /* ends chains at all kinds of lengths */
    late.stop = &stop;
    late.n_stop = 1;
    late.deadline_s = 1e6;
    infer_result *got[2], *whole = alone(late);
    infer_ticket ticket = submit(e, late, &got[0]);
    submit(e, other, &got[1]);
    job *j = ((local *)e)->queue.first;
    assert_int_equal(j->ticket, ticket);
    while (j->n_open == 12) step(e, 1);
    assert_true(j->n_open > 0);
    j->start -= 2e6; /* the clock passes it */
    step(e, 1);
    assert_int_equal(take(e), 1);
    finish(e);
    assert_int_equal(got[0]->error.status, PGR_OK);
    assert_int_equal(got[0]->n_chain, 12);
    size_t marked = 0;
    for (size_t i = 0; i < 12; i++) {
        const infer_chain *c = &got[0]->chains[i], *w = &whole->chains[i];
        marked += c->finish == PGR_FINISH_DEADLINE;
        assert_true(c->finish == PGR_FINISH_DEADLINE ? c->tokens.n < w->tokens.n : c->tokens.n == w->tokens.n);
        assert_memory_equal(c->tokens.v, w->tokens.v, c->tokens.n * sizeof *c->tokens.v);
    }
    assert_true(marked > 0 && marked < 12);
    assert_as_alone(got[1], other);
    infer_result_free(whole);
    free_all(got, 2);
    pgr_engine_free(e);
}

/* The slots are full; of those that wait the urgent one begins first, and ends first. */
static void the_urgent_begins_first(void **state) {
    (void)state;
    pgr_engine *e = engine_with(0, 0);
    infer_request full = request("Full", MAX_SLOT, 20), plain = request("Plain", 30, 20),
                  urgent = request("Urgent", 30, 20);
    infer_result *got[3];
    urgent.priority = 1;
    infer_ticket tickets[3];
    tickets[0] = submit(e, full, &got[0]);
    step(e, 2);
    tickets[1] = submit(e, plain, &got[1]);
    tickets[2] = submit(e, urgent, &got[2]);
    infer_ticket order[3];
    infer_event event;
    for (size_t n = 0; n < 3;) {
        engine_step(e);
        while (engine_take(e, NULL, &event)) {
            order[n++] = event.ticket;
            *(infer_result **)event.tag = event.result;
        }
    }
    assert_int_equal(order[0], tickets[0]);
    assert_int_equal(order[1], tickets[2]);
    assert_int_equal(order[2], tickets[1]);
    finish(e);
    assert_as_alone(got[0], full);
    assert_as_alone(got[1], plain);
    assert_as_alone(got[2], urgent);
    free_all(got, 3);
    pgr_engine_free(e);
}

/* A cache that holds one of them at a time: the urgent one takes the pages of a prompt that was read and waits. */
static void pages_go_to_the_urgent(void **state) {
    (void)state;
    pgr_engine *e = engine_with(16, 10 * KV_PAGE);
    infer_request plain = request(LONG_TEXT, 12, 60), urgent = request(LONG_TEXT LONG_TEXT "now", 1, 60);
    infer_result *got[2];
    urgent.priority = 5;
    submit(e, plain, &got[0]);
    step(e, 12);
    assert_true(((local *)e)->queue.first->n_begun > 0);
    submit(e, urgent, &got[1]);
    finish(e);
    assert_as_alone(got[0], plain);
    assert_as_alone(got[1], urgent);
    free_all(got, 2);
    pgr_engine_free(e);
}

/* ---- adapters ---- */

/* A policy and its reference, and a third one: in one engine at once, from its prefix cache the second time. */
static void adapter_sets_side_by_side(void **state) {
    (void)state;
    const float scales[2] = {1, 0.5f};
    const infer_adapters sets[] = {{LORAS, scales, 1}, {NULL, NULL, 0}, {LORAS, scales, 2}};
    infer_request r[3];
    infer_result *want[3], *got[3];
    for (size_t i = 0; i < 3; i++) {
        r[i] = request(LONG_TEXT, 4, 24);
        r[i].adapters = &sets[i];
        want[i] = alone(r[i]);
        for (size_t k = 0; k < i; k++)
            assert_true(memcmp(want[i]->chains[0].logprobs, want[k]->chains[0].logprobs, 24 * sizeof(float)) != 0);
    }
    pgr_engine *e = NULL;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &e, NULL), PGR_OK);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < 3; i++) {
            submit(e, r[i], &got[i]);
            step(e, 3);
        }
        while (engine_step(e)) continue;
        take(e);
        for (size_t i = 0; i < 3; i++) {
            assert_same(got[i], want[i]);
            assert_int_equal(got[i]->usage.cached_tokens, pass ? got[i]->prompt.n - 1 : 0);
        }
        free_all(got, 3);
    }

    /* the trainer's numbers: log-probabilities of the policy's tokens under policy and reference, while others run */
    const infer_result *policy = want[0];
    ids all = {0};
    ids_append(&all, policy->prompt.v, policy->prompt.n);
    ids_append(&all, policy->chains[0].tokens.v, policy->chains[0].tokens.n);
    float *under[2] = {malloc(all.n * sizeof(float)), malloc(all.n * sizeof(float))};
    submit(e, r[2], &got[2]);
    step(e, 5);
    for (size_t i = 0; i < 2; i++) {
        infer_options o = {.adapters = &sets[i]};
        assert_int_equal(infer_logprobs(e, all.v, all.n, &o, under[i], NULL), PGR_OK);
    }
    while (engine_step(e)) continue;
    take(e);
    assert_same(got[2], want[2]);
    assert_memory_equal(under[0] + policy->prompt.n, policy->chains[0].logprobs, 24 * sizeof(float));
    assert_memory_not_equal(under[1] + policy->prompt.n, policy->chains[0].logprobs, 24 * sizeof(float));
    infer_result_free(got[2]);
    for (size_t i = 0; i < 2; i++) free(under[i]);
    ids_free(&all);
    free_all(want, 3);
    pgr_engine_free(e);
}

/* An adapter that is closed and another one opened, perhaps at the same address: nothing of the first is found. */
static void a_new_adapter_is_not_an_old_one(void **state) {
    (void)state;
    static const char *const PATHS[] = {LORA "llama-qv", LORA "llama-more.gguf"};
    const float one = 1;
    pgr_engine *e = NULL;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &e, NULL), PGR_OK);
    for (size_t i = 0; i < 40; i++) { /* more sets than are remembered */
        pgr_lora *l = NULL;
        infer_result *got;
        assert_int_equal(pgr_lora_open(MODEL, PATHS[i % 2], &l, NULL), PGR_OK);
        infer_adapters set = {&l, &one, 1};
        infer_request r = request(LONG_TEXT, 1, 8);
        r.adapters = &set;
        submit(e, r, &got);
        while (engine_step(e)) continue;
        take(e);
        assert_int_equal(got->usage.cached_tokens, 0);
        assert_as_alone(got, r);
        infer_result_free(got);
        pgr_lora_close(l);
    }
    pgr_engine_free(e);
}

/* ---- streams ---- */

typedef struct heard {
    buf text[4];
    ids tokens[4];
    size_t n_piece;
    infer_result *result;
} heard;

/* No character goes over the border at byte `at`. */
static void assert_no_character_cut(const buf *text, size_t at) {
    for (size_t back = 1; back <= 3 && back <= at; back++)
        assert_true(utf8_next(text->data + at - back, text->n - at + back, NULL) <= back);
}

static void listen(pgr_engine *e, heard *h) {
    infer_event event;
    while (engine_take(e, h, &event)) {
        if (event.kind == INFER_ENDED) {
            h->result = event.result;
            continue;
        }
        assert_null(h->result);
        assert_true(event.n_text + event.n_token > 0);
        for (size_t i = 0; i < event.n_token; i++) assert_true(event.logprobs[i] <= 0);
        size_t border = h->text[event.sample].n;
        buf_add(&h->text[event.sample], event.text, event.n_text);
        assert_no_character_cut(&h->text[event.sample], border);
        ids_append(&h->tokens[event.sample], event.tokens, event.n_token);
        h->n_piece++;
    }
}

static void pieces_make_the_chain(void **state) {
    (void)state;
    infer_request r = request("Stream", 4, 60);
    infer_result *plain = alone(r);
    char first[4] = {0},
         second[8] = {0}; /* stop texts that occur: within one chain, and one with a beginning that occurs */
    memcpy(first, plain->chains[0].text.data + 20, 3);
    memcpy(second, plain->chains[1].text.data + 9, 2);
    strcat(second, "\x01\x02");
    const char *stops[] = {second, first};
    for (size_t n_stop = 0; n_stop <= 2; n_stop += 2) {
        heard h = {0};
        r.stream = true;
        r.owner = &h;
        r.stop = stops;
        r.n_stop = n_stop;
        pgr_engine *e = engine_with(0, 0);
        infer_ticket ticket;
        assert_int_equal(engine_submit(e, &r, &ticket, NULL), PGR_OK);
        while (engine_step(e)) listen(e, &h);
        listen(e, &h);
        assert_non_null(h.result);
        assert_true(h.n_piece > 20);
        for (size_t i = 0; i < 4; i++) {
            const infer_chain *c = &h.result->chains[i];
            assert_int_equal(h.text[i].n, c->text.n);
            if (c->text.n) assert_memory_equal(h.text[i].data, c->text.data, c->text.n);
            assert_int_equal(h.tokens[i].n, c->tokens.n);
            assert_memory_equal(h.tokens[i].v, c->tokens.v, c->tokens.n * sizeof *c->tokens.v);
            if (n_stop == 0) assert_memory_equal(c->tokens.v, plain->chains[i].tokens.v, c->tokens.n * 4);
            buf_free(&h.text[i]);
            ids_free(&h.tokens[i]);
        }
        if (n_stop) assert_true(h.result->chains[0].text.n <= 20);
        infer_result_free(h.result);
        pgr_engine_free(e);
    }
    infer_result_free(plain);
}

/* ---- memory ---- */

/* Three kinds of request, one after the other has begun; true if all of them ended well. */
static bool open_run(void) {
    const float one = 1;
    const infer_adapters set = {LORAS, &one, 1};
    infer_request r[3] = {request(LONG_TEXT "x", 2, 12), request("Judge", 2, 30), request(LONG_TEXT "y", 1, 6)};
    static const char *const stops[] = {"never there"};
    r[0].stop = stops;
    r[0].n_stop = 1;
    r[1].grammar = "root ::= \"score \" [1-9] \" of ten.\"\n";
    r[1].n_grammar = strlen(r[1].grammar);
    r[1].trigger = "<GO>";
    r[1].want_forced = true;
    r[1].stream = true;
    r[2].adapters = &set;
    pgr_engine_options o = pgr_engine_options_default();
    pgr_engine *e = NULL;
    o.n_batch = 16;
    if (pgr_engine_create(MODEL, &o, &e, NULL) != PGR_OK) return false;
    size_t good = 0;
    for (size_t i = 0; i < 3; i++) {
        infer_ticket ticket;
        if (engine_submit(e, &r[i], &ticket, NULL) == PGR_OK) step(e, 2);
    }
    bool more = true;
    while (more) {
        infer_event event;
        more = engine_step(e);
        while (engine_take(e, NULL, &event)) {
            if (event.kind != INFER_ENDED) continue;
            good += event.result->error.status == PGR_OK;
            infer_result_free(event.result);
        }
    }
    pgr_engine_free(e);
    return good == 3;
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    long n = fail_each_allocation(open_run);
    print_message("%ld allocations, each failed once\n", n);
    assert_true(n > 150);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(submitted_while_others_run),
        cmocka_unit_test(one_and_three_threads),
        cmocka_unit_test(chains_go_on_where_somebody_waits),
        cmocka_unit_test(owners_take_their_own),
        cmocka_unit_test(a_bad_request_fails_alone),
        cmocka_unit_test(broken_weights_are_each_request_s_error),
        cmocka_unit_test(cancelled_by_ticket_or_flag),
        cmocka_unit_test(freed_while_it_runs),
        cmocka_unit_test(a_deadline_hands_over_what_has_ended),
        cmocka_unit_test(the_urgent_begins_first),
        cmocka_unit_test(pages_go_to_the_urgent),
        cmocka_unit_test(adapter_sets_side_by_side),
        cmocka_unit_test(a_new_adapter_is_not_an_old_one),
        cmocka_unit_test(pieces_make_the_chain),
        cmocka_unit_test(every_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
