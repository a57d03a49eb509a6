/* test_judge_remote.c - the same request judged here and by a server that answers with the chains which were written
 * here: the same chains parse, and they give the same scores, to the bit. And what a server's failures make of a
 * verdict: fewer chains, or an error, but never a score that no chain gave. */
#include "../hub/hub_server.h"
#include "base/json.h"
#include "infer/engine.h"
#include "judge/judge.h"
#include "tiny_engine.h"

static const char REQUEST[] =
    "{\"id\": \"a\", \"user\": {\"id\": \"u1\", \"history\": [{\"query\": \"How do I boil rice?\", \"chosen\": \"Ten "
    "minutes.\", \"rejected\": \"Rice is a grain.\"}]}, \"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", "
    "\"North.\"]}";

enum { CHAINS = 8 };

typedef struct fake {
    server *s;
    char url[60];
    const pgr_result *written; /* whose chains it answers with */
    bool held;                 /* says that it keeps to grammars */
    size_t n_broken;           /* of each order the first chains are nonsense */
    size_t n_asked;
} fake;

/* Chain k of those that saw the responses in the order in which the text shows them. */
static const char *chain_of(const fake *f, const char *posted, size_t k) {
    bool reversed = strstr(posted, "North.") < strstr(posted, "In Norway.");
    for (size_t i = 0; i < f->written->n_sample; i++) {
        const pgr_chain_sample *s = &f->written->samples[i];
        if ((s->order[0] == 1) == reversed && k-- == 0) return s->text;
    }
    return "";
}

static char *answer_chat(void *ctx, const char *posted, size_t n, int *status) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    fake *f = ctx;
    (void)status;
    pthread_mutex_lock(&lock);
    f->n_asked++;
    json_t *v = json_loadb(posted, n, 0, NULL);
    size_t count = (size_t)json_integer_value(json_object_get(v, "n"));
    bool probe = json_integer_value(json_object_get(v, "max_tokens")) == 8;
    buf b = {0};
    buf_puts(&b, "{\"choices\":[");
    for (size_t k = 0; k < (count ? count : 1); k++) {
        const char *text = probe ? (f->held && json_object_get(v, "grammar") ? "zq1" : "Hello.")
                                 : (k < f->n_broken ? "Score: 12" : chain_of(f, posted, k));
        buf_printf(&b, "%s{\"index\":%zu,\"finish_reason\":\"stop\",\"message\":{\"content\":", k ? "," : "", k);
        const char *hole = strstr(text, "Total: "); /* where one that keeps to the grammar stops */
        json_put_string(&b, text, f->held && hole ? (size_t)(hole - text) + 7 : strlen(text));
        buf_puts(&b, "}}");
    }
    buf_puts(&b, "]}");
    char *out = strdup(b.data);
    buf_free(&b);
    json_decref(v);
    pthread_mutex_unlock(&lock);
    return out;
}

static pgr_engine *begin(fake *f) {
    static const char MODELS[] = "{\"data\":[{\"id\":\"m\",\"max_model_len\":2048}]}";
    f->s = server_start();
    route *r = server_route(f->s, "/v1/chat/completions", "", 0);
    r->make = answer_chat;
    r->ctx = f;
    server_route(f->s, "/v1/models", MODELS, strlen(MODELS));
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d/v1", f->s->port);
    pgr_remote_options o = pgr_remote_options_default();
    pgr_engine *e = NULL;
    pgr_error err = {0};
    o.urls = f->url;
    o.tokenizer = TINY; /* prompts are cut where the local engine cuts them */
    if (pgr_engine_connect(&o, &e, &err) != PGR_OK) fail_msg("%s", err.message);
    return e;
}

static pgr_judge_options options(pgr_score_kind score) {
    pgr_judge_options o = pgr_judge_options_default();
    o.ind = CHAINS;
    o.keep_chains = true;
    o.frame = MINI;
    o.score = score;
    return o;
}

static pgr_result *judge(pgr_engine *e, const pgr_request *r, pgr_score_kind score) {
    pgr_judge_options o = options(score);
    pgr_result *out = NULL;
    pgr_error err = {0};
    if (pgr_judge(e, r, &o, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    return out;
}

static void test_same(void **state) {
    (void)state;
    pgr_request *r = parse(REQUEST);
    for (int k = 0; k < 4; k++) {
        pgr_score_kind score = k % 2 ? PGR_SCORE_DECLARED : PGR_SCORE_RECOMPUTED;
        pgr_result *here = judge(ENGINE, r, score);
        fake f = {.written = here, .held = k / 2};
        pgr_engine *e = begin(&f);
        assert_int_equal(engine_about(e)->can & ENGINE_GRAMMAR, f.held ? ENGINE_GRAMMAR : 0);
        pgr_result *there = judge(e, r, score);
        assert_int_equal(here->ind.parsed, CHAINS); /* the grammar sees to it */
        if (there->ind.parsed != CHAINS) fail_msg("%s: %s", there->samples[0].reason, there->samples[0].text);
        assert_int_equal(there->ind.parsed, CHAINS);
        assert_int_equal(there->ind.failed, 0);
        assert_int_equal(there->history_shown, here->history_shown);
        for (size_t i = 0; i < CHAINS; i++) assert_string_equal(there->samples[i].text, here->samples[i].text);
        for (size_t i = 0; i < here->n_response; i++)
            assert_memory_equal(&there->responses[i].score, &here->responses[i].score, sizeof(double));
        assert_int_equal(there->best, here->best);
        pgr_result_free(there);
        pgr_engine_free(e);
        server_stop(f.s);
        pgr_result_free(here);
    }
    pgr_request_free(r);
}

/* Chains that are nonsense are failed ones, with a reason; where all are, there is no score. */
static void test_broken(void **state) {
    (void)state;
    pgr_request *r = parse(REQUEST);
    pgr_result *here = judge(ENGINE, r, PGR_SCORE_RECOMPUTED);
    for (int held = 0; held < 2; held++) {
        fake f = {.written = here, .held = held, .n_broken = 1};
        pgr_engine *e = begin(&f);
        pgr_result *there = judge(e, r, PGR_SCORE_RECOMPUTED);
        assert_int_equal(there->ind.parsed, CHAINS - 2);
        assert_int_equal(there->ind.failed, 2);
        assert_false(there->samples[0].parsed);
        if (held) assert_non_null(strstr(there->samples[0].reason, "which the grammar does not allow"));
        assert_int_equal(there->responses[0].n, CHAINS - 2);
        pgr_result_free(there);
        f.n_broken = CHAINS;
        there = judge(e, r, PGR_SCORE_RECOMPUTED);
        assert_int_equal(there->ind.parsed, 0);
        assert_int_equal(there->best, -1);
        assert_true(there->responses[0].score != there->responses[0].score); /* none */
        pgr_result_free(there);
        pgr_engine_free(e);
        server_stop(f.s);
    }
    pgr_result_free(here);
    pgr_request_free(r);
}

/* The frame that reads slots is refused by name; by default another one is taken. A server that dies is an error. */
static void test_refused(void **state) {
    (void)state;
    pgr_request *r = parse(REQUEST);
    pgr_result *out = NULL;
    pgr_error err = {0};
    fake f = {0};
    pgr_engine *e = begin(&f);
    pgr_judge_options o = options(PGR_SCORE_AUTO);
    o.frame = "compact";
    assert_int_equal(pgr_judge(e, r, &o, &out, &err), PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "frame compact reads distributions at slots"));
    server_stop(f.s);
    o.frame = MINI;
    o.deadline_s = 0.5;
    assert_int_equal(pgr_judge(e, r, &o, &out, &err), PGR_OK); /* nothing came until the deadline: no chain, no score */
    assert_int_equal(out->ind.parsed, 0);
    assert_int_equal(out->best, -1);
    pgr_result_free(out);
    pgr_engine_free(e);
    pgr_request_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_broken),
                                       cmocka_unit_test(test_refused)};
    json_setup();
    return cmocka_run_group_tests(tests, tiny_begin, tiny_end);
}
