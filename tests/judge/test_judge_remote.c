/* test_judge_remote.c - the same request judged here and by a server that answers with the chains which were written
 * here: the same chains parse, and they give the same scores, to the bit. And what a server's failures make of a
 * verdict: fewer chains, or an error, but never a score that no chain gave. */
#include "../net/chat_server.h"
#include "infer/engine.h"
#include "judge/judge.h"
#include "tiny_engine.h"

static const char REQUEST[] =
    "{\"id\": \"a\", \"user\": {\"id\": \"u1\", \"history\": [{\"query\": \"How do I boil rice?\", \"chosen\": \"Ten "
    "minutes.\", \"rejected\": \"Rice is a grain.\"}]}, \"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", "
    "\"North.\"]}";

enum { CHAINS = 8 };

typedef struct fake {
    chat_server chat;
    const pgr_result *written; /* whose chains it answers with */
    size_t n_broken;           /* of each order the first chains are nonsense */
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

/* One that keeps to the grammar stops where a hole is to be filled. */
static char *write_chain(void *ctx, const char *posted, size_t k) {
    const fake *f = ctx;
    const char *text = k < f->n_broken ? "Score: 12" : chain_of(f, posted, k), *hole = strstr(text, "Total: ");
    return f->chat.grammar && hole ? strndup(text, (size_t)(hole - text) + 7) : strdup(text);
}

static pgr_engine *begin(fake *f, bool held) {
    f->chat = (chat_server){.grammar = held ? "grammar" : NULL, .write = write_chain, .ctx = f};
    chat_begin(&f->chat, "someone");
    pgr_remote_options o = pgr_remote_options_default();
    pgr_engine *e = NULL;
    pgr_error err = {0};
    o.urls = f->chat.url;
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
        fake f = {.written = here};
        pgr_engine *e = begin(&f, k / 2);
        assert_int_equal(engine_about(e)->can & ENGINE_GRAMMAR, k / 2 ? ENGINE_GRAMMAR : 0);
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
        server_stop(f.chat.s);
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
        fake f = {.written = here, .n_broken = 1};
        pgr_engine *e = begin(&f, held);
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
        server_stop(f.chat.s);
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
    pgr_engine *e = begin(&f, false);
    pgr_judge_options o = options(PGR_SCORE_AUTO);
    o.frame = "compact";
    assert_int_equal(pgr_judge(e, r, &o, &out, &err), PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "frame compact reads distributions at slots"));
    server_stop(f.chat.s);
    o.frame = MINI;
    o.deadline_s = 0.5;
    assert_int_equal(pgr_judge(e, r, &o, &out, &err), PGR_E_REMOTE); /* nobody is there until the deadline */
    assert_non_null(strstr(err.message, f.chat.url));
    pgr_engine_free(e);
    pgr_request_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_broken),
                                       cmocka_unit_test(test_refused)};
    json_setup();
    return cmocka_run_group_tests(tests, tiny_begin, tiny_end);
}
