/* The engine on a tiny model: a chain is a function of (model, prompt, settings, seed, request, sample)
 * and of nothing else. */
#include <math.h>

#include "../base/faults.h"
#include "infer/engine.h"
#include "model/model.h"

#define TINY PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"

static pgr_model *MODEL;
static pgr_engine *ENGINE;

static pgr_model *open_model(int threads) {
    pgr_model_options o = pgr_model_options_default();
    pgr_model *m = NULL;
    pgr_error err = {0};
    o.dtype = PGR_DTYPE_EXACT;
    o.n_thread = threads;
    if (pgr_model_open(TINY, &o, &m, &err) != PGR_OK) fail_msg("%s", err.message);
    return m;
}

static int setup(void **state) {
    (void)state;
    MODEL = open_model(2);
    return pgr_engine_create(MODEL, NULL, &ENGINE, NULL);
}

static int teardown(void **state) {
    (void)state;
    pgr_engine_free(ENGINE);
    pgr_model_close(MODEL);
    return 0;
}

static ids encode(const char *text) {
    ids list = {0};
    assert_int_equal(tok_encode(MODEL->tok, text, strlen(text), 0, &list, NULL), PGR_OK);
    return list;
}

static infer_request request_of(const ids *prompt, size_t n_sample, size_t max_tokens) {
    return (infer_request){.prompt = prompt->v,
                           .n_prompt = prompt->n,
                           .n_sample = n_sample,
                           .seed = 7,
                           .sampling = {.temperature = 1.0f, .top_p = 1.0f},
                           .max_tokens = max_tokens};
}

static infer_output run_on(pgr_engine *e, const infer_request *r, size_t n, const infer_options *o) {
    infer_output out;
    pgr_error err = {0};
    if (infer_run(e, r, n, o, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    return out;
}

static infer_output run(const infer_request *r, size_t n) {
    return run_on(ENGINE, r, n, NULL);
}

static void assert_same_chain(const infer_chain *a, const infer_chain *b) {
    assert_int_equal(a->tokens.n, b->tokens.n);
    assert_memory_equal(a->tokens.v, b->tokens.v, a->tokens.n * sizeof *a->tokens.v);
    assert_memory_equal(a->logprobs, b->logprobs, a->tokens.n * sizeof *a->logprobs);
    assert_int_equal(a->text.n, b->text.n);
    assert_memory_equal(a->text.data, b->text.data, a->text.n);
}

static void alone_and_in_a_batch(void **state) {
    (void)state;
    ids p = encode("The user likes short answers, and so"), q = encode("The user likes short answers, but 3 others");
    infer_request sixteen[] = {request_of(&q, 3, 20), request_of(&p, 16, 30)};
    sixteen[1].id = 1;
    infer_output all = run(sixteen, 2);
    for (uint32_t i = 0; i < 16; i += 5) {
        infer_request one = request_of(&p, 1, 30);
        one.id = 1;
        one.first_sample = i;
        infer_output alone = run(&one, 1);
        assert_same_chain(&alone.chains[0], &all.chains[3 + i]);
        infer_output_free(&alone);
    }
    assert_true(memcmp(all.chains[3].tokens.v, all.chains[4].tokens.v, 4 * 10) != 0); /* samples do differ */
    infer_output_free(&all);
    ids_free(&p);
    ids_free(&q);
}

static void more_chains_than_slots(void **state) {
    (void)state;
    ids p = encode("Once");
    infer_request many = request_of(&p, 150, 9), few = request_of(&p, 2, 9);
    few.first_sample = 148;
    infer_output a = run(&many, 1), b = run(&few, 1);
    assert_int_equal(a.n_chain, 150);
    assert_same_chain(&a.chains[148], &b.chains[0]);
    assert_same_chain(&a.chains[149], &b.chains[1]);
    infer_output_free(&a);
    infer_output_free(&b);
    ids_free(&p);
}

static void one_and_three_threads(void **state) {
    (void)state;
    ids p = encode("A person who asks for examples");
    infer_request r = request_of(&p, 4, 25);
    infer_output two = run(&r, 1);
    pgr_model *m = open_model(3);
    pgr_engine *e = NULL;
    assert_int_equal(pgr_engine_create(m, NULL, &e, NULL), PGR_OK);
    infer_output three = run_on(e, &r, 1, NULL);
    for (size_t i = 0; i < 4; i++) assert_same_chain(&two.chains[i], &three.chains[i]);
    infer_output_free(&two);
    infer_output_free(&three);
    pgr_engine_free(e);
    pgr_model_close(m);
    ids_free(&p);
}

static void small_batches_and_shared_prompts(void **state) {
    (void)state;
    ids p = encode("One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen and A"),
        q = encode("One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen and B");
    infer_request both[] = {request_of(&p, 2, 12), request_of(&q, 2, 12)};
    pgr_engine *fresh = NULL, *forgetful = NULL;
    pgr_engine_options none = pgr_engine_options_default();
    none.cache_bytes = 0, none.n_kv_ready = 100;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &fresh, NULL), PGR_OK);
    assert_int_equal(pgr_engine_create(MODEL, &none, &forgetful, NULL), PGR_OK);
    infer_output shared = run_on(fresh, both, 2, NULL), alone = run_on(forgetful, &both[1], 1, NULL);
    size_t common = 0;
    while (p.v[common] == q.v[common]) common++;
    assert_int_equal(shared.cached_tokens, common);
    assert_int_equal(alone.cached_tokens, 0);

    /* a later call: all but the last token, which gives the logits, is known;
     * without a cache only what the call shares */
    infer_output again = run_on(fresh, both, 2, NULL), other = run_on(forgetful, both, 2, NULL);
    assert_int_equal(again.cached_tokens, p.n - 1 + q.n - 1);
    assert_int_equal(other.cached_tokens, common);
    for (size_t i = 0; i < 4; i++) {
        assert_same_chain(&shared.chains[i], &again.chains[i]);
        assert_same_chain(&shared.chains[i], &other.chains[i]);
    }
    infer_output_free(&again);
    infer_output_free(&other);
    pgr_engine_free(fresh);
    pgr_engine_free(forgetful);
    assert_same_chain(&shared.chains[2], &alone.chains[0]); /* cached and uncached: the same tokens and bits */
    assert_same_chain(&shared.chains[3], &alone.chains[1]);

    pgr_engine *narrow = NULL;
    pgr_engine_options o = pgr_engine_options_default();
    o.n_batch = 3;
    assert_int_equal(pgr_engine_create(MODEL, &o, &narrow, NULL), PGR_OK);
    infer_output chunked = run_on(narrow, both, 2, NULL);
    for (size_t i = 0; i < 4; i++) assert_same_chain(&shared.chains[i], &chunked.chains[i]);
    pgr_engine_free(narrow);
    infer_output_free(&shared);
    infer_output_free(&alone);
    infer_output_free(&chunked);
    ids_free(&p);
    ids_free(&q);
}

static void logprobs_are_those_of_the_text(void **state) {
    (void)state;
    ids p = encode("Scores go from one to ten"), all = {0};
    infer_request r = request_of(&p, 1, 20);
    r.sampling.temperature = 0.7f; /* the reported log-probabilities are at temperature 1 all the same */
    r.sampling.top_k = 50;
    infer_output out = run(&r, 1);
    const infer_chain *c = &out.chains[0];
    ids_append(&all, p.v, p.n);
    ids_append(&all, c->tokens.v, c->tokens.n);
    float *want = malloc(all.n * sizeof *want);
    assert_int_equal(infer_logprobs(ENGINE, all.v, all.n, NULL, want, NULL), PGR_OK);
    assert_true(isnan(want[0]));
    for (size_t i = 0; i < c->tokens.n; i++) assert_true(c->logprobs[i] == want[p.n + i]);
    free(want);
    infer_output_free(&out);
    ids_free(&p);
    ids_free(&all);
}

/* What might have stood at a place has the log-probability that it has as given text. */
static void alternatives_are_those_of_the_text(void **state) {
    (void)state;
    ids p = encode("Scores go from one to ten"), all = {0};
    infer_request r = request_of(&p, 2, 8);
    r.sampling.temperature = 0.7f;
    r.n_top = 5;
    infer_output out = run(&r, 1), plain;
    const infer_chain *c = &out.chains[1];
    ids_append(&all, p.v, p.n);
    for (size_t i = 0; i < c->tokens.n; i++) {
        const infer_top *top = c->tops + 5 * i;
        for (size_t k = 0; k < 5; k++) {
            float want[64];
            ids_push(&all, top[k].token);
            assert_int_equal(infer_logprobs(ENGINE, all.v, all.n, NULL, want, NULL), PGR_OK);
            assert_true(top[k].logprob == want[all.n - 1]);
            assert_true(k == 0 || top[k].logprob <= top[k - 1].logprob);
            all.n--;
        }
        assert_true(top[0].logprob >= c->logprobs[i]);
        ids_push(&all, c->tokens.v[i]);
    }
    r.n_top = 0;
    plain = run(&r, 1);
    assert_null(plain.chains[1].tops);
    assert_same_chain(&plain.chains[1], c);
    infer_output_free(&plain);
    infer_output_free(&out);
    r.n_top = INFER_TOP + 1;
    assert_int_equal(infer_run(ENGINE, &r, 1, NULL, &out, NULL), PGR_E_ARG);
    ids_free(&p);
    ids_free(&all);
}

static void stop_texts(void **state) {
    (void)state;
    ids p = encode("Write");
    infer_request r = request_of(&p, 1, 40);
    r.ignore_eos = true;
    infer_output free_run = run(&r, 1);
    const buf *text = &free_run.chains[0].text;
    assert_true(text->n > 12);
    char stop[4] = {text->data[7], text->data[8], text->data[9], 0};
    const char *first = strstr(text->data, stop), *stops[] = {"not there at all", stop};
    r.stop = stops;
    r.n_stop = 2;
    infer_output out = run(&r, 1);
    assert_int_equal(out.chains[0].finish, PGR_FINISH_STOP);
    assert_int_equal(out.chains[0].text.n, first - text->data);
    assert_memory_equal(out.chains[0].text.data, text->data, out.chains[0].text.n);
    infer_output_free(&out);
    infer_output_free(&free_run);
    ids_free(&p);
}

static void set_grammar(infer_request *r, const char *text) {
    r->grammar = text;
    r->n_grammar = strlen(text);
}

static pgr_status fill(void *ctx, const char *hole, const char *chain, size_t n, buf *out, pgr_error *err) {
    (void)err;
    assert_string_equal(hole, "sum");
    ++*(int *)ctx;
    buf_printf(out, "<%zu bytes of %c>", n, chain[0]);
    return PGR_OK;
}

static void grammar_holes_and_forced_text(void **state) {
    (void)state;
    ids p = encode("Judge");
    static const char g[] = "root ::= \"score=\" [1-9] \" of ten, \" @sum \" end\" (\"!\" | \"?\")\n";
    int calls = 0;
    infer_request r = request_of(&p, 6, 80);
    set_grammar(&r, g);
    r.fill = fill;
    r.fill_ctx = &calls;
    infer_output plain = run(&r, 1);
    r.want_forced = true;
    infer_output out = run(&r, 1);
    for (size_t i = 0; i < 6; i++) {
        const infer_chain *c = &out.chains[i];
        char digit, mark;
        int n, bytes;
        assert_int_equal(sscanf(c->text.data, "score=%c of ten, <%d bytes of s> end%c%n", &digit, &bytes, &mark, &n),
                         3);
        assert_int_equal(n, c->text.n);
        assert_int_equal(bytes, strlen("score=5 of ten, "));
        assert_true(digit >= '1' && digit <= '9' && (mark == '!' || mark == '?'));
        assert_int_equal(c->finish, PGR_FINISH_STOP);
        assert_false(c->cut);

        ids all = {0}; /* forced tokens get the log-probabilities that the model gives them */
        ids_append(&all, p.v, p.n);
        ids_append(&all, c->tokens.v, c->tokens.n);
        float *want = malloc(all.n * sizeof *want);
        assert_int_equal(infer_logprobs(ENGINE, all.v, all.n, NULL, want, NULL), PGR_OK);
        size_t forced = 0;
        for (size_t t = 0; t < c->tokens.n; t++) {
            assert_true(c->logprobs[t] == want[p.n + t]);
            forced += c->forced[t];
        }
        assert_int_equal(forced, c->tokens.n - 2);
        free(want);
        ids_free(&all);

        size_t unknown = 0;
        for (size_t t = 0; t < plain.chains[i].tokens.n; t++) unknown += isnan(plain.chains[i].logprobs[t]) != 0;
        assert_int_equal(unknown, forced);
    }
    assert_int_equal(calls, 12);
    infer_output_free(&out);
    infer_output_free(&plain);
    ids_free(&p);
}

/* Words have their space with them: a forced text leaves its last space to the choice that follows. */
static void the_space_before_a_choice_is_the_choice_s(void **state) {
    (void)state;
    ids p = encode("Choose");
    static const char g[] = "root ::= \"pick: \" (\"one\" | \"of\" | \"the\") \"; \" @sum\n";
    int calls = 0;
    infer_request r = request_of(&p, 8, 40);
    set_grammar(&r, g);
    r.fill = fill;
    r.fill_ctx = &calls;
    infer_output out = run(&r, 1);
    for (size_t i = 0; i < out.n_chain; i++) {
        const infer_chain *c = &out.chains[i];
        size_t at = 0, n;
        while (c->forced[at]) at++;
        assert_int_equal(*tok_bytes(MODEL->tok, c->tokens.v[at], &n), ' ');
        assert_memory_equal(c->text.data, "pick: ", 6);
        assert_non_null(strstr(c->text.data, "; <"));
    }
    infer_output_free(&out);
    ids_free(&p);
}

static void grammar_ends_within_the_limit(void **state) {
    (void)state;
    ids p = encode("Count");
    static const char g[] = "root ::= \"a\" [a-z ]{0,400} \"; \" [0-9]{3} \"\\n\"\n";
    infer_request r = request_of(&p, 12, 24);
    set_grammar(&r, g);
    infer_output out = run(&r, 1);
    size_t cut = 0;
    for (size_t i = 0; i < out.n_chain; i++) {
        const infer_chain *c = &out.chains[i];
        assert_int_equal(c->finish, PGR_FINISH_STOP);
        assert_true(c->tokens.n <= 24);
        assert_true(c->text.n > 6 && memcmp(c->text.data + c->text.n - 6, "; ", 2) == 0);
        cut += c->cut;
    }
    assert_true(cut > 0);
    infer_output_free(&out);

    pgr_error err;
    r.max_tokens = 5;
    assert_int_equal(infer_run(ENGINE, &r, 1, NULL, &out, &err), PGR_E_LIMIT);
    assert_non_null(strstr(err.message, "max_tokens is 5"));
    ids_free(&p);
}

static void trigger_comes_always(void **state) {
    (void)state;
    ids p = encode("Think");
    static const char g[] = "root ::= \" {\" [0-9] \"}\"\n";
    infer_request r = request_of(&p, 8, 60);
    set_grammar(&r, g);
    r.trigger = "<GO>";
    infer_output out = run(&r, 1);
    for (size_t i = 0; i < out.n_chain; i++) {
        const infer_chain *c = &out.chains[i];
        size_t n = strlen("<GO> {5}");
        assert_true(c->text.n >= n);
        const char *go = c->text.data + c->text.n - n; /* the tiny model writes any bytes before it, NUL too */
        assert_memory_equal(go, "<GO> {", 6);
        assert_true(go[6] >= '0' && go[6] <= '9');
        assert_true(c->tokens.n <= 60);
    }
    infer_output_free(&out);

    r.trigger = "e"; /* the model writes this one by itself: the grammar starts in the middle of its text */
    out = run(&r, 1);
    for (size_t i = 0; i < out.n_chain; i++) {
        const buf *t = &out.chains[i].text;
        assert_true(t->n >= 5);
        assert_memory_equal(t->data + t->n - 5, "e {", 3);
        assert_ptr_equal(memchr(t->data, 'e', t->n), t->data + t->n - 5);
    }
    infer_output_free(&out);
    ids_free(&p);
}

static void deadline_gives_what_is_done(void **state) {
    (void)state;
    ids p = encode("Slow");
    infer_request r = request_of(&p, 3, 1500);
    r.ignore_eos = true;
    r.deadline_s = 0.05;
    infer_output out = run(&r, 1);
    assert_int_equal(out.n_chain, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(out.chains[i].finish, PGR_FINISH_DEADLINE);
        assert_true(out.chains[i].tokens.n < 1500);
    }
    infer_output_free(&out);
    ids_free(&p);
}

static void stop_after(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    (void)label, (void)total, (void)unit;
    if (done > 20) *(pgr_cancel *)ctx = 1;
}

static void cancelled_engine_is_as_before(void **state) {
    (void)state;
    ids p = encode("Cancel");
    infer_request r = request_of(&p, 3, 400), small = request_of(&p, 2, 8);
    pgr_cancel cancel = 0;
    infer_options o = {
        .watch.cancel = &cancel, .watch.progress = stop_after, .watch.progress_ctx = (void *)(uintptr_t)&cancel};
    infer_output out, before = run(&small, 1);
    pgr_error err;
    assert_int_equal(infer_run(ENGINE, &r, 1, &o, &out, &err), PGR_E_CANCELLED);
    infer_output after = run(&small, 1);
    assert_same_chain(&before.chains[1], &after.chains[1]);
    infer_output_free(&before);
    infer_output_free(&after);
    ids_free(&p);
}

static void limits_are_errors(void **state) {
    (void)state;
    ids p = encode("Limits");
    pgr_error err;
    infer_output out;
    infer_request r = request_of(&p, 1, MODEL->config.n_ctx);
    assert_int_equal(infer_run(ENGINE, &r, 1, NULL, &out, &err), PGR_E_LIMIT);
    assert_non_null(strstr(err.message, "context"));
    r = request_of(&p, 1, 5);
    r.sampling.top_p = NAN;
    assert_int_equal(infer_run(ENGINE, &r, 1, NULL, &out, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "top_p"));
    r = request_of(&p, 0, 5);
    assert_int_equal(infer_run(ENGINE, &r, 1, NULL, &out, &err), PGR_E_ARG);
    r = request_of(&p, 1, 50);
    set_grammar(&r, "root ::= [a-z]{1,5}\n");
    r.trigger = "";
    assert_int_equal(infer_run(ENGINE, &r, 1, NULL, &out, &err), PGR_E_ARG);

    pgr_engine *tight = NULL;
    pgr_engine_options o = pgr_engine_options_default();
    o.n_kv_token = 64;
    assert_int_equal(pgr_engine_create(MODEL, &o, &tight, NULL), PGR_OK);
    r = request_of(&p, 8, 200);
    r.ignore_eos = true;
    assert_int_equal(infer_run(tight, &r, 1, NULL, &out, &err), PGR_E_LIMIT); /* never an empty result */
    assert_non_null(strstr(err.message, "KV cache"));
    r.n_sample = 1;
    r.max_tokens = 20;
    infer_output small = run_on(tight, &r, 1, NULL);
    assert_int_equal(small.chains[0].tokens.n, 20);
    infer_output_free(&small);

    /* what is kept of earlier prompts makes way for new ones */
    ids other = encode("Another prompt, of about as many tokens as the cache holds beside the first one");
    for (int i = 0; i < 3; i++) {
        infer_request two[] = {request_of(&p, 1, 5), request_of(&other, 1, 5)};
        infer_output out2 = run_on(tight, &two[i % 2], 1, NULL);
        infer_output_free(&out2);
    }
    pgr_engine_free(tight);
    ids_free(&other);
    ids_free(&p);
}

/* A number that is missing because the weights are broken must not look like a window's first token. */
static void broken_weights_have_no_perplexity(void **state) {
    (void)state;
    pgr_perplexity p = {0};
    pgr_error err = {0};
    float *norm = &MODEL->weights.output_norm[3], before = *norm;
    *norm = NAN;
    pgr_status status = pgr_perplexity_of(ENGINE, "one two three", 13, 0, NULL, &p, &err);
    *norm = before;
    assert_int_equal(status, PGR_E_FORMAT);
    assert_null(p.tokens);
    assert_int_equal(pgr_perplexity_of(ENGINE, "one two three", 13, 0, NULL, &p, &err), PGR_OK);
    pgr_perplexity_free(&p);
}

/* A cache for a few chains at a time: the others wait for their pages, and all become what they are in a large one. */
static void chains_wait_for_pages(void **state) {
    (void)state;
    ids p = encode("One two three four five six seven eight nine ten");
    infer_request r = request_of(&p, 12, 40);
    r.ignore_eos = true;
    infer_output large = run(&r, 1);
    pgr_engine *e = NULL;
    pgr_engine_options o = pgr_engine_options_default();
    o.n_kv_token = 8 * 32;
    assert_int_equal(pgr_engine_create(MODEL, &o, &e, NULL), PGR_OK);
    infer_output few = run_on(e, &r, 1, NULL);
    for (size_t i = 0; i < 12; i++) assert_same_chain(&large.chains[i], &few.chains[i]);
    infer_output_free(&large);
    infer_output_free(&few);
    pgr_engine_free(e);
    ids_free(&p);
}

/* Longer chains ask for no more memory than short ones: what a token needs is there before the first. (Pages, which are
 * memory of the cache, are there after the first pass.) */
static void tokens_need_no_allocation(void **state) {
    (void)state;
    ids p = encode("A short prompt");
    long asked[2];
    for (int pass = 0; pass < 2; pass++) /* the first pass brings the cache to its size */
        for (int i = 0; i < 2; i++) {
            infer_request r = request_of(&p, 5, i ? 400 : 30);
            r.ignore_eos = true;
            r.n_top = 3;
            long before = mem_count();
            infer_output out = run(&r, 1);
            asked[i] = mem_count() - before;
            assert_int_equal(out.chains[4].tokens.n, i ? 400 : 30);
            infer_output_free(&out);
        }
    assert_int_equal(asked[0], asked[1]);
    ids_free(&p);
}

static bool generate_once(void) {
    pgr_engine *e = NULL;
    pgr_generation *g = NULL;
    pgr_generate_options o = pgr_generate_options_default();
    o.n_sample = 2;
    o.max_tokens = 12;
    o.grammar = "root ::= \"yes\" [a-c]{2} (\".\" | \"!\")\n";
    bool ok = pgr_engine_create(MODEL, NULL, &e, NULL) == PGR_OK && pgr_generate(e, "Hello", 5, &o, &g, NULL) == PGR_OK;
    pgr_generation_free(g);
    pgr_engine_free(e);
    return ok;
}

static void allocation_failures(void **state) {
    (void)state;
    assert_true(fail_each_allocation(generate_once) > 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_and_in_a_batch),
        cmocka_unit_test(more_chains_than_slots),
        cmocka_unit_test(one_and_three_threads),
        cmocka_unit_test(small_batches_and_shared_prompts),
        cmocka_unit_test(logprobs_are_those_of_the_text),
        cmocka_unit_test(alternatives_are_those_of_the_text),
        cmocka_unit_test(stop_texts),
        cmocka_unit_test(grammar_holes_and_forced_text),
        cmocka_unit_test(the_space_before_a_choice_is_the_choice_s),
        cmocka_unit_test(grammar_ends_within_the_limit),
        cmocka_unit_test(trigger_comes_always),
        cmocka_unit_test(deadline_gives_what_is_done),
        cmocka_unit_test(cancelled_engine_is_as_before),
        cmocka_unit_test(limits_are_errors),
        cmocka_unit_test(broken_weights_have_no_perplexity),
        cmocka_unit_test(chains_wait_for_pages),
        cmocka_unit_test(tokens_need_no_allocation),
        cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
