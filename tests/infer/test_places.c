/* Places of a grammar: their distributions are those that sampling under the grammar follows, found a second time here
 * from log-probabilities of texts; they depend on the chain alone, to the bit, and change nothing in it. */
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

static const char PROMPT[] = "The user likes short answers, and so";

static infer_request request_of(const char *grammar, size_t n_sample) {
    return (infer_request){.text = PROMPT,
                           .n_text = strlen(PROMPT),
                           .n_sample = n_sample,
                           .seed = 7,
                           .sampling = {.temperature = 1.0f, .top_p = 1.0f},
                           .max_tokens = 60,
                           .grammar = grammar,
                           .n_grammar = strlen(grammar),
                           .want_places = true};
}

static infer_output run_on(pgr_engine *e, const infer_request *r, size_t n) {
    infer_output out;
    pgr_error err = {0};
    if (infer_run(e, r, n, NULL, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    return out;
}

static infer_output run(const char *grammar, size_t n_sample) {
    infer_request r = request_of(grammar, n_sample);
    return run_on(ENGINE, &r, 1);
}

/* ---- the same a second time: texts in place of automata, log-probabilities of whole texts ---- */

enum { MAX_TEXTS = 128, TEXT = 32 };

typedef struct texts { /* what may stand at a place, with what is before and behind it */
    char whole[MAX_TEXTS][TEXT];
    size_t end[MAX_TEXTS]; /* where the place's own ends in it */
    double p[MAX_TEXTS];
    size_t n, lead;
    size_t written; /* bytes that the program writes before the first choice */
} texts;

static void add_text(texts *t, const char *lead, const char *number, const char *behind) {
    t->lead = strlen(lead);
    t->end[t->n] = t->lead + strlen(number);
    snprintf(t->whole[t->n++], TEXT, "%s%s%s", lead, number, behind);
}

static bool begins(const char *whole, const char *s, size_t n) {
    return strncmp(whole, s, n) == 0;
}

static double logprob_after(const ids *before, int32_t token) {
    ids all = {0};
    ids_append(&all, before->v, before->n);
    ids_push(&all, token);
    float *lp = malloc(all.n * sizeof *lp);
    assert_int_equal(infer_logprobs(ENGINE, all.v, all.n, NULL, lp, NULL), PGR_OK);
    double last = (double)lp[all.n - 1];
    free(lp);
    ids_free(&all);
    return last;
}

static void follow(texts *t, const ids *before, const char *s, double p);

static void follow_text(texts *t, const ids *before, const char *s, const char *more, size_t n, double p) {
    char next[2 * TEXT];
    ids all = {0};
    ids_append(&all, before->v, before->n);
    assert_int_equal(tok_encode(MODEL->tok, more, n, 0, &all, NULL), PGR_OK);
    snprintf(next, sizeof next, "%s%.*s", s, (int)n, more);
    follow(t, &all, next, p);
    ids_free(&all);
}

/* Every token with which one of the texts goes on, with its share of the probability that such tokens have. */
static void follow_tokens(texts *t, const ids *before, const char *s, double p) {
    double *each = calloc(tok_count(MODEL->tok), sizeof *each), sum = 0.0;
    size_t n_s = strlen(s);
    for (size_t k = 0; k < tok_count(MODEL->tok); k++) {
        size_t n;
        const char *bytes = tok_bytes(MODEL->tok, (int32_t)k, &n);
        tok_type type = tok_type_of(MODEL->tok, (int32_t)k);
        bool fits = false;
        for (size_t i = 0; i < t->n && n; i++)
            fits = fits || (begins(t->whole[i], s, n_s) && begins(t->whole[i] + n_s, bytes, n));
        if (fits && type != TOK_CONTROL) sum += each[k] = exp(logprob_after(before, (int32_t)k));
    }
    for (size_t k = 0; k < tok_count(MODEL->tok); k++) {
        if (each[k] == 0.0) continue;
        size_t n;
        const char *bytes = tok_bytes(MODEL->tok, (int32_t)k, &n);
        char next[2 * TEXT];
        ids all = {0};
        ids_append(&all, before->v, before->n);
        ids_push(&all, (int32_t)k);
        snprintf(next, sizeof next, "%s%.*s", s, (int)n, bytes);
        follow(t, &all, next, p * each[k] / sum);
        ids_free(&all);
    }
    free(each);
}

static void follow(texts *t, const ids *before, const char *s, double p) {
    size_t n_s = strlen(s), left = 0, common = SIZE_MAX, first = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (!begins(t->whole[i], s, n_s)) continue;
        if (left++ == 0) {
            first = i;
            common = strlen(t->whole[i]);
        }
        while (!begins(t->whole[i], t->whole[first], common)) common--;
    }
    assert_true(left > 0);
    if (left == 1 && n_s >= t->end[first]) {
        t->p[first] += p;
        return;
    }
    if (n_s > 0 && common > n_s)
        follow_text(t, before, s, t->whole[first] + n_s, common - n_s, p);
    else
        follow_tokens(t, before, s, p);
}

static const infer_choice *choice_of(const infer_place *p, const char *text, size_t n) {
    for (size_t i = 0; i < p->n; i++)
        if (strlen(p->choices[i].text) == n && memcmp(p->choices[i].text, text, n) == 0) return &p->choices[i];
    fail_msg("no choice %.*s", (int)n, text);
    return NULL;
}

/* The tokens of prompt and chain whose text ends `lead` bytes before the place. */
static ids tokens_before(const infer_output *out, const infer_chain *c, size_t at) {
    ids all = {0};
    size_t bytes = 0, n;
    ids_append(&all, out->results[0]->prompt.v, out->results[0]->prompt.n);
    for (size_t i = 0; i < c->tokens.n && bytes < at; i++) {
        ids_push(&all, c->tokens.v[i]);
        tok_bytes(MODEL->tok, c->tokens.v[i], &n);
        bytes += n;
    }
    assert_int_equal(bytes, at);
    return all;
}

/* The tolerance is that of sums of log-probabilities in float: up to 30 in size, so 2e-6 off each. */
static void assert_place(const infer_output *out, const infer_chain *c, size_t i, texts *t) {
    const infer_place *p = &c->places[i];
    ids before = tokens_before(out, c, p->from - t->lead + t->written);
    double sum = 0.0, mean = 0.0;
    char begun[TEXT];
    memset(t->p, 0, sizeof t->p);
    snprintf(begun, sizeof begun, "%.*s", (int)t->written, t->whole[0]);
    follow(t, &before, begun, 1.0);
    ids_free(&before);
    for (size_t k = 0; k < t->n; k++) {
        const infer_choice *x = choice_of(p, t->whole[k] + t->lead, t->end[k] - t->lead);
        if (fabs(exp(x->logprob) - t->p[k]) > 1e-5 * t->p[k] + 1e-9)
            fail_msg("%s: %.9g, expected %.9g", x->text, exp(x->logprob), t->p[k]);
        assert_true(x->number == strtod(x->text, NULL));
        sum += exp(x->logprob);
        mean += exp(x->logprob) * x->number;
    }
    assert_int_equal(p->n, t->n);
    assert_true(fabs(sum - 1.0) < 1e-12);
    assert_true(fabs(infer_place_mean(p) - mean) < 1e-12);
}

/* ---- grammars ---- */

static const char ONE[] = "root ::= \"A \" $score \", B \" $score \".\"\nscore ::= [1-9]\n";
static const char TEN[] = "root ::= \"A \" $score \", B \" $score \".\"\nscore ::= [1-9] | \"10\"\n";
static const char HALVES[] =
    "root ::= \"A \" $score \", B \" $score \";\"\nscore ::= [1-9] (\".\" [05])? | \"10\" \".0\"?\n";
static const char FORCED[] =
    "root ::= \"A:\" $score \"; B:\" $score \".\"\nscore ::= \"1\" (\"0\" | \"5\") \".\" [0-9]\n";

static void assert_places(const char *grammar, texts *a, texts *b) {
    infer_output out = run(grammar, 5);
    for (size_t i = 0; i < out.n_chain; i++) {
        const infer_chain *c = &out.chains[i];
        assert_int_equal(c->n_place, 2);
        assert_true(c->places[0].rest == 0 && c->places[1].rest == 0);
        assert_int_equal(c->places[0].from, 2);
        assert_true(c->places[1].from > 6 && strchr(" :", c->text.data[c->places[1].from - 1]));
        assert_place(&out, c, 0, a);
        assert_place(&out, c, 1, b);
    }
    infer_output_free(&out);
}

static void numbers_of_one_token(void **state) {
    (void)state;
    texts a = {0}, b = {0};
    for (int i = 1; i <= 9; i++) {
        add_text(&a, " ", (char[]){(char)('0' + i), 0}, ", B");
        add_text(&b, " ", (char[]){(char)('0' + i), 0}, ".");
    }
    assert_places(ONE, &a, &b);
}

static void ten_is_one_or_two_tokens(void **state) {
    (void)state;
    static texts a, b;
    for (int i = 1; i <= 10; i++) {
        char number[8];
        snprintf(number, sizeof number, "%d", i);
        add_text(&a, " ", number, ", B");
        add_text(&b, " ", number, ".");
    }
    assert_places(TEN, &a, &b);
}

static void halves(void **state) {
    (void)state;
    static texts a, b;
    for (int i = 1; i <= 10; i++)
        for (int k = 0; k < 3; k++) {
            char number[8];
            snprintf(number, sizeof number, "%d%s", i, k == 0 ? "" : (k == 1 ? ".0" : ".5"));
            if (i == 10 && k == 2) continue;
            add_text(&a, " ", number, ", B");
            add_text(&b, " ", number, ";");
        }
    assert_places(HALVES, &a, &b);
}

static void bytes_that_the_program_writes(void **state) {
    (void)state;
    static texts a, b;
    for (int i = 0; i < 20; i++) {
        char number[8];
        snprintf(number, sizeof number, "%d.%d", i < 10 ? 10 : 15, i % 10);
        add_text(&a, "", number, "; B");
        add_text(&b, "", number, ".");
    }
    a.written = b.written = 1;
    assert_places(FORCED, &a, &b);
}

/* What samples say: of 3,000 chains each number comes as often as its probability says, within 4.5 standard errors (of
 * 12 numbers under three grammars one in 4,000 such tests would fail; the seed is fixed). */
static void as_often_as_it_is_sampled(void **state) {
    (void)state;
    static const char *const grammars[] = {TEN, HALVES, FORCED};
    enum { N = 3000 };
    for (size_t g = 0; g < 3; g++) {
        infer_output out = run(grammars[g], N);
        const infer_place *p = &out.chains[0].places[0];
        size_t all = 0;
        for (size_t k = 0; k < p->n; k++) {
            size_t seen = 0, n = strlen(p->choices[k].text);
            for (size_t i = 0; i < N; i++) {
                const char *at = out.chains[i].text.data + 2;
                seen += strncmp(at, p->choices[k].text, n) == 0 && strchr(",;", at[n]);
            }
            double share = exp(p->choices[k].logprob), error = sqrt(share * (1 - share) / N) + 1.0 / N;
            if (fabs((double)seen / N - share) > 4.5 * error)
                fail_msg("%s: %zu of %d, expected %g", p->choices[k].text, seen, N, share * N);
            all += seen;
        }
        assert_int_equal(all, N);
        infer_output_free(&out);
    }
}

/* ---- of the chain alone ---- */

static void assert_same_places(const infer_chain *a, const infer_chain *b) {
    assert_int_equal(a->n_place, b->n_place);
    for (size_t i = 0; i < a->n_place; i++) {
        const infer_place *x = &a->places[i], *y = &b->places[i];
        assert_int_equal(x->n, y->n);
        assert_int_equal(x->from, y->from);
        assert_true(x->rest == y->rest);
        for (size_t k = 0; k < x->n; k++) {
            assert_string_equal(x->choices[k].text, y->choices[k].text);
            assert_true(x->choices[k].logprob == y->choices[k].logprob);
        }
    }
}

static void assert_same_chains(const infer_output *a, size_t first, const infer_output *b) {
    for (size_t i = 0; i < b->n_chain; i++) {
        const infer_chain *x = &a->chains[first + i], *y = &b->chains[i];
        assert_int_equal(x->tokens.n, y->tokens.n);
        assert_memory_equal(x->tokens.v, y->tokens.v, x->tokens.n * sizeof *x->tokens.v);
        assert_memory_equal(x->logprobs, y->logprobs, x->tokens.n * sizeof *x->logprobs);
        assert_same_places(x, y);
    }
}

/* Of two decimals there are more beginnings than are looked into: what is left out is the same everywhere, too. */
static const char HUNDREDTHS[] = "root ::= [a-c]{3} \" is \" $score \", \" [a-c]{2} \" \" $score\n"
                                 "score ::= [1-9] (\".\" [0-9] [0-9]?)? | \"10\" (\".\" \"0\" \"0\"?)?\n";

static void changes_no_token(void **state) {
    (void)state;
    static const char *const grammars[] = {TEN, HALVES, FORCED, HUNDREDTHS};
    for (size_t g = 0; g < 4; g++) {
        infer_request r = request_of(grammars[g], 6);
        infer_output with = run_on(ENGINE, &r, 1);
        r.want_places = false;
        infer_output without = run_on(ENGINE, &r, 1);
        for (size_t i = 0; i < 6; i++) {
            const infer_chain *x = &with.chains[i], *y = &without.chains[i];
            assert_int_equal(x->tokens.n, y->tokens.n);
            assert_memory_equal(x->tokens.v, y->tokens.v, x->tokens.n * sizeof *x->tokens.v);
            assert_int_equal(x->n_place, 2);
            assert_int_equal(y->n_place, 0);
        }
        infer_output_free(&with);
        infer_output_free(&without);
    }
}

static pgr_engine *engine_with(pgr_model *m, size_t n_batch, size_t n_kv_token, size_t cache_bytes) {
    pgr_engine *e = NULL;
    pgr_engine_options o = pgr_engine_options_default();
    o.n_batch = n_batch;
    o.n_kv_token = n_kv_token;
    o.cache_bytes = cache_bytes;
    assert_int_equal(pgr_engine_create(m, &o, &e, NULL), PGR_OK);
    return e;
}

static void of_the_chain_alone(void **state) {
    (void)state;
    infer_request r = request_of(HUNDREDTHS, 70), beside[] = {request_of(HALVES, 3), r},
                  one = request_of(HUNDREDTHS, 1);
    beside[0].id = 1;
    beside[1].want_forced = true;
    one.first_sample = 68;
    one.want_forced = true;
    infer_output many = run_on(ENGINE, &r, 1), two = run_on(ENGINE, beside, 2), alone = run_on(ENGINE, &one, 1);
    for (size_t i = 0; i < 70; i++) assert_same_places(&many.chains[i], &two.chains[3 + i]);
    assert_same_places(&many.chains[68], &alone.chains[0]);
    infer_output_free(&two);
    infer_output_free(&alone);

    pgr_model *m = open_model(3);
    pgr_engine *engines[] = {engine_with(m, 256, 0, 0), engine_with(MODEL, 1, 0, 0), engine_with(MODEL, 5, 0, 1 << 20),
                             engine_with(MODEL, 64, 6 * 32, 1 << 20)}; /* one chain at a time has its pages */
    r.n_sample = 5;
    for (size_t i = 0; i < 4; i++) {
        infer_output other = run_on(engines[i], &r, 1);
        assert_same_chains(&many, 0, &other);
        infer_output_free(&other);
        pgr_engine_free(engines[i]);
    }
    pgr_model_close(m);
    infer_output_free(&many);
}

/* ---- where places are ---- */

static double rest_of(const infer_output *out) {
    double most = 0.0;
    for (size_t i = 0; i < out->n_chain; i++)
        for (size_t k = 0; k < out->chains[i].n_place; k++) most = fmax(most, out->chains[i].places[k].rest);
    return most;
}

static void what_is_left_out_is_said(void **state) {
    (void)state;
    infer_output out = run(HUNDREDTHS, 8), letters = run("root ::= \"x\" $code\ncode ::= [a-f]{4}\n", 2);
    assert_true(rest_of(&out) < 0.01);  /* 111 beginnings, those of less than 1e-5 are left */
    assert_true(rest_of(&letters) > 0); /* 1296 texts, and 128 beginnings at most */
    assert_true(isnan(infer_place_mean(&letters.chains[0].places[0])));
    for (size_t i = 0; i < 8; i++) {
        const infer_chain *c = &out.chains[i];
        assert_int_equal(c->places[0].from, strlen("abc is "));
        const char *second = strrchr(c->text.data, ' ') + 1; /* ends the chain */
        assert_int_equal(c->places[1].from, second - c->text.data);
        choice_of(&c->places[1], second, strlen(second));
    }
    infer_output_free(&out);
    infer_output_free(&letters);
}

static void other_ways_and_no_choice(void **state) {
    (void)state;
    infer_request r = request_of("root ::= \"is \" (\"none\" | $score) \" \" $fixed \"!\" $fixed\nscore ::= [1-9]\n"
                                 "fixed ::= \"10\"\n",
                                 40);
    r.sampling.temperature = 8.0f;
    infer_output out = run_on(ENGINE, &r, 1);
    size_t none = 0;
    for (size_t i = 0; i < out.n_chain; i++) {
        const infer_chain *c = &out.chains[i];
        bool other = strncmp(c->text.data, "is none", 7) == 0;
        none += other;
        assert_int_equal(c->n_place, other ? 2 : 3); /* the way round a place has none */
        for (size_t k = 0; k < c->n_place; k++) {
            const infer_place *p = &c->places[k];
            const char *written = c->text.data + p->from;
            bool fixed = *written == '1' && written[1] == '0';
            assert_int_equal(p->n, fixed ? 1 : 9);
            if (fixed) assert_true(p->choices[0].logprob == 0 && p->choices[0].number == 10);
        }
    }
    assert_true(none > 0 && none < out.n_chain);
    infer_output_free(&out);
}

static void behind_a_trigger(void **state) {
    (void)state;
    infer_request r = request_of("root ::= \" A \" $score \"\\n\"\nscore ::= [1-9] | \"10\"\n", 6);
    r.trigger = "<JSON>";
    infer_output out = run_on(ENGINE, &r, 1);
    for (size_t i = 0; i < 6; i++) {
        const infer_chain *c = &out.chains[i];
        assert_int_equal(c->n_place, 1);
        assert_memory_equal(c->text.data + c->places[0].from - 9, "<JSON> A ", 9);
        assert_int_equal(c->places[0].n, 10);
    }
    infer_output_free(&out);
}

static void refused(void **state) {
    (void)state;
    infer_request r = request_of("root ::= \"A \" $score [0-9]\nscore ::= [1-9] | \"10\"\n", 2);
    infer_output out;
    pgr_error err = {0};
    assert_int_equal(infer_run(ENGINE, &r, 1, NULL, &out, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "byte 0x30 may belong to a place"));
    r = request_of("root ::= \"A \" $root \"b\" | \"c\"\n", 2);
    assert_int_equal(infer_run(ENGINE, &r, 1, NULL, &out, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "refers to itself"));
}

static bool places_once(void) {
    pgr_engine *e = NULL;
    infer_request r = request_of(HALVES, 2), fixed = request_of("root ::= \"a\" $x \"b\"\nx ::= \"1\"\n", 1);
    infer_output out = {0}, other = {0};
    bool ok = pgr_engine_create(MODEL, NULL, &e, NULL) == PGR_OK && infer_run(e, &r, 1, NULL, &out, NULL) == PGR_OK
              && infer_run(e, &fixed, 1, NULL, &other, NULL) == PGR_OK;
    infer_output_free(&out);
    infer_output_free(&other);
    pgr_engine_free(e);
    return ok;
}

static void allocation_failures(void **state) {
    (void)state;
    assert_true(fail_allocations(places_once, 7) > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_one_token),
        cmocka_unit_test(ten_is_one_or_two_tokens),
        cmocka_unit_test(halves),
        cmocka_unit_test(bytes_that_the_program_writes),
        cmocka_unit_test(as_often_as_it_is_sampled),
        cmocka_unit_test(changes_no_token),
        cmocka_unit_test(of_the_chain_alone),
        cmocka_unit_test(what_is_left_out_is_said),
        cmocka_unit_test(other_ways_and_no_choice),
        cmocka_unit_test(behind_a_trigger),
        cmocka_unit_test(refused),
        cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
