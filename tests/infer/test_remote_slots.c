/* test_remote_slots.c - slots read from servers: from one that answers with this machine's numbers they are this
 * machine's readings, to the bit; from one that lists the likeliest tokens only what these settle; and from one that
 * lies, refuses, fails or has another vocabulary they are an error that says what was found, never a distribution. */
#include "../base/faults.h"
#include "../net/chat_server.h"

#include <math.h>

#include "infer/engine.h"
#include "infer/remote.h"
#include "model/model.h"

#define TINY PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"

static pgr_model *MODEL;
static pgr_engine *ENGINE; /* of the test, and of the servers, which write for one request at a time */

static int setup(void **state) {
    (void)state;
    pgr_error err = {0};
    pgr_model_options o = {.dtype = PGR_DTYPE_EXACT, .n_thread = 1};
    if (pgr_model_open(TINY, &o, &MODEL, &err) != PGR_OK || pgr_engine_create(MODEL, NULL, &ENGINE, &err) != PGR_OK)
        fail_msg("%s", err.message);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    pgr_engine_free(ENGINE);
    pgr_model_close(MODEL);
    return 0;
}

/* ---- a server that takes prompts of tokens ---- */

typedef struct slot_server {
    chat_server chat;
    hub_route *completions, *tokenize;
    bool lists;        /* the likeliest tokens whatever is asked, as llama.cpp does, numbers beside texts */
    bool other_tokens; /* its vocabulary is another one */
    bool late;         /* nothing was there by the deadline */
    int n_asked;
    char last[4000]; /* what was posted last */
} slot_server;

static char *answer_tokens(void *ctx, const char *posted, size_t n, int *status) {
    const slot_server *f = ctx;
    json_t *v = json_loadb(posted, n, 0, NULL);
    const json_t *text = json_object_get(v, "prompt");
    ids list = {0};
    buf b = {0};
    (void)status;
    tok_encode(MODEL->tok, json_string_value(text), json_string_length(text), 0, &list, NULL);
    buf_puts(&b, "{\"tokens\":[");
    for (size_t i = 0; i < list.n; i++) buf_printf(&b, i ? ",%d" : "%d", (int)list.v[i] + (f->other_tokens && i == 7));
    buf_puts(&b, "]}");
    ids_free(&list);
    json_decref(v);
    return chat_hand_out(&b);
}

static void put_tops(const slot_server *f, const infer_chain *c, size_t n_top, buf *b) {
    buf_printf(b,
               f->lists ? "{\"content\":[{\"id\":%d,\"top_logprobs\":["
                        : "{\"tokens\":[\"token_id:%d\"],\"top_logprobs\":[{",
               (int)c->tokens.v[0]);
    for (size_t i = 0; i < n_top; i++)
        buf_printf(b, f->lists ? "%s{\"id\":%d,\"logprob\":%.9g}" : "%s\"token_id:%d\":%.9g", i ? "," : "",
                   (int)c->tops[i].token, (double)c->tops[i].logprob);
    buf_puts(b, f->lists ? "]}]}" : "}]}");
}

/* One token behind the prompt, as the engine writes it. */
static void put_choice(const slot_server *f, const json_t *prompt, const json_t *tell, size_t i, buf *b) {
    int32_t tokens[512], told[INFER_TELL];
    size_t n = json_array_size(prompt), n_top = f->lists ? INFER_TOP : json_array_size(tell);
    infer_output out;
    pgr_error err = {0};
    for (size_t k = 0; k < n; k++) tokens[k] = (int32_t)json_integer_value(json_array_get(prompt, k));
    for (size_t k = 0; k < n_top; k++) told[k] = (int32_t)json_integer_value(json_array_get(tell, k));
    infer_request r = {.prompt = tokens,
                       .n_prompt = n,
                       .n_sample = 1,
                       .max_tokens = 1,
                       .ignore_eos = true,
                       .sampling = {0, 0, 1, 0},
                       .n_top = n_top,
                       .tell = f->lists ? NULL : told};
    if (infer_run(ENGINE, &r, 1, NULL, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    buf_printf(b, "{\"index\":%zu,\"text\":\"\",\"finish_reason\":\"length\",\"stop_reason\":%s,\"logprobs\":", i,
               f->late ? "\"deadline\"" : "null");
    put_tops(f, &out.chains[0], n_top, b);
    buf_puts(b, "}");
    infer_output_free(&out);
}

static char *answer_slots(void *ctx, const char *posted, size_t n, int *status) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    slot_server *f = ctx;
    json_t *v = json_loadb(posted, n, 0, NULL);
    const json_t *prompts = json_object_get(v, "prompt"), *tell = json_object_get(v, "logprob_token_ids");
    buf b = {0};
    (void)status;
    pthread_mutex_lock(&lock);
    f->n_asked++;
    snprintf(f->last, sizeof f->last, "%s", posted);
    buf_puts(&b, "{\"choices\":[");
    for (size_t i = json_array_size(prompts); i-- > 0;) { /* in another order than they were asked for */
        put_choice(f, json_array_get(prompts, i), tell, i, &b);
        if (i) buf_putc(&b, ',');
    }
    buf_puts(&b,
             "],\"usage\":{\"prompt_tokens\":90,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":"
             "40}}}");
    pthread_mutex_unlock(&lock);
    json_decref(v);
    return chat_hand_out(&b);
}

static void begin(slot_server *f, const char *owner) {
    f->chat = (chat_server){.texts = {"a"}, .n = 1};
    chat_begin(&f->chat, owner);
    f->completions = server_route(f->chat.s, "/v1/completions", "", 0);
    f->tokenize = server_route(f->chat.s, "/tokenize", "", 0);
    f->completions->make = answer_slots;
    f->tokenize->make = answer_tokens;
    f->completions->ctx = f->tokenize->ctx = f;
}

static pgr_engine *connect_with(const char *urls, const pgr_remote_options *like) {
    pgr_remote_options o = like ? *like : pgr_remote_options_default();
    pgr_engine *e = NULL;
    pgr_error err = {0};
    o.urls = urls;
    if (!like) o.tokenizer = TINY;
    if (pgr_engine_connect(&o, &e, &err) != PGR_OK) fail_msg("%s", err.message);
    return e;
}

/* ---- what is read ---- */

/* Digits are one token each, the words are several. */
static const char *const DIGITS[] = {"1", "2", "3", "4"}, *const WORDS[] = {" careful", " casual", "7", " x"};
static const char TEXT[] = "The user likes short answers.\nScore:\nThis user likes";
static const infer_message MESSAGES[] = {{"system", "You judge answers.", 18}, {"user", TEXT, sizeof TEXT - 1}};

enum { N_SLOT = 2 };

static void make_slots(infer_slot out[N_SLOT]) {
    size_t score = (size_t)(strstr(TEXT, "Score:") - TEXT) + 6;
    out[0] = (infer_slot){.message = 1, .at = score, .choices = DIGITS, .n_choice = 4};
    out[1] = (infer_slot){.message = 1, .at = sizeof TEXT - 1, .choices = WORDS, .n_choice = 4};
}

static infer_request slot_request(const infer_slot *slots, size_t n) {
    return (infer_request){.messages = MESSAGES, .n_message = 2, .slots = slots, .n_slot = n};
}

/* A server, the engine that asks it, and a request of two slots. */
typedef struct reader {
    slot_server f; /* what it does otherwise is set before */
    pgr_engine *e;
    infer_slot slots[N_SLOT];
    infer_request q;
} reader;

static void reader_begin(reader *r, const char *owner) {
    make_slots(r->slots);
    r->q = slot_request(r->slots, N_SLOT);
    begin(&r->f, owner);
    r->e = connect_with(r->f.chat.url, NULL);
    if (engine_about(r->e)->no_slots) fail_msg("%s", engine_about(r->e)->no_slots);
}

static void reader_end(reader *r) {
    pgr_engine_free(r->e);
    server_stop(r->f.chat.s);
}

static infer_result *read_slots(pgr_engine *e, const infer_request *q) {
    infer_output out;
    pgr_error err = {0};
    if (infer_run(e, q, 1, NULL, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    infer_result *r = out.results[0];
    out.results[0] = NULL;
    infer_output_free(&out);
    return r;
}

static void assert_same(const infer_result *a, const infer_result *b) {
    assert_int_equal(a->n_reading, b->n_reading);
    assert_int_equal(a->prompt.n, b->prompt.n);
    assert_memory_equal(a->prompt.v, b->prompt.v, a->prompt.n * sizeof *a->prompt.v);
    for (size_t i = 0; i < a->n_reading; i++) {
        assert_int_equal(a->readings[i].n_choice, b->readings[i].n_choice);
        assert_memory_equal(a->readings[i].logprobs, b->readings[i].logprobs, a->readings[i].n_choice * sizeof(double));
        assert_memory_equal(&a->readings[i].mass, &b->readings[i].mass, sizeof(double));
    }
}

/* Messages and texts, choices of one token and of several, all in one request: this machine's readings to the bit. */
static void reads_as_this_machine(void **state) {
    (void)state;
    infer_slot in_text = {.at = 8, .choices = WORDS, .n_choice = 4};
    reader r = {.f.n_asked = 0};
    reader_begin(&r, "vllm");
    assert_non_null(strstr(r.f.last, "\"top_k\":-1,\"min_p\":0,\"repetition_penalty\":1"));
    infer_request q[] = {r.q,
                         slot_request(r.slots, 1),
                         {.text = TEXT,
                          .n_text = sizeof TEXT - 1,
                          .text_flags = PGR_TOKENS_BOS | PGR_TOKENS_SPECIAL,
                          .slots = &in_text,
                          .n_slot = 1}};
    assert_true(engine_about(r.e)->can & ENGINE_SLOTS);
    for (size_t i = 0; i < sizeof q / sizeof *q; i++) {
        infer_result *here = read_slots(ENGINE, &q[i]);
        int asked = r.f.n_asked;
        infer_result *there = read_slots(r.e, &q[i]);
        assert_same(here, there);
        assert_int_equal(r.f.n_asked, asked + 1);
        assert_int_equal(there->usage.cached_tokens, here->prompt.n > 50 ? here->prompt.n - 50 : 0);
        infer_result_free(here);
        infer_result_free(there);
    }
    infer_slot_tokens own, its;
    assert_int_equal(engine_slots_tokens(ENGINE, MESSAGES, 2, r.slots, N_SLOT, &own, NULL), PGR_OK);
    assert_int_equal(engine_slots_tokens(r.e, MESSAGES, 2, r.slots, N_SLOT, &its, NULL), PGR_OK);
    assert_int_equal(own.tokens.n, its.tokens.n);
    assert_memory_equal(own.rows, its.rows, N_SLOT * sizeof *own.rows);
    infer_slot_tokens_free(&own);
    infer_slot_tokens_free(&its);
    assert_int_equal(engine_state(r.e).n_running, 0);
    assert_int_equal(engine_state(r.e).n_request, 0);
    reader_end(&r);
}

/* A server that lists 20 tokens of a model that prefers none: what the choices have is not known, and nobody
 * guesses. */
static void what_is_not_listed_is_not_read(void **state) {
    (void)state;
    infer_output out;
    pgr_error err = {0};
    reader r = {.f.lists = true};
    reader_begin(&r, "llamacpp");
    assert_null(strstr(r.f.last, "logprob_token_ids"));
    assert_int_equal(infer_run(r.e, &r.q, 1, NULL, &out, &err), PGR_E_REMOTE);
    if (!strstr(err.message, r.f.chat.url) || !strstr(err.message, "are not among the likeliest ones"))
        fail_msg("%s", err.message);
    reader_end(&r);
}

/* ---- answers, by the letter ---- */

/* A plan of two slots: the tokens 5, 6, 7 behind the one, "8 9" or 6 behind the other. */
typedef struct plan_memory {
    arena a;
    slot_plan plan;
    int32_t tokens[4], choices[6];
    size_t rows[2], end[5], first[3];
} plan_memory;

static pgr_status try_plan(plan_memory *m, pgr_error *err) {
    static const plan_memory LIKE = {.tokens = {1, 2, 3, 4},
                                     .choices = {5, 6, 7, 8, 9, 6},
                                     .rows = {1, 3},
                                     .end = {1, 2, 3, 5, 6},
                                     .first = {0, 3, 5}};
    *m = LIKE;
    m->plan.t = (infer_slot_tokens){.tokens = {.v = m->tokens, .n = 4},
                                    .rows = m->rows,
                                    .n_slot = 2,
                                    .choices = {.v = m->choices, .n = 6},
                                    .end = m->end,
                                    .n_choice = 5,
                                    .first = m->first};
    return slot_plan_make(&m->plan, "http://h/v1", &m->a, err);
}

static const slot_plan *make_plan(plan_memory *m) {
    pgr_error err = {0};
    if (try_plan(m, &err) != PGR_OK) fail_msg("%s", err.message);
    return &m->plan;
}

static void what_is_asked(void **state) {
    (void)state;
    plan_memory m;
    buf b = {0};
    const slot_plan *plan = make_plan(&m);
    slot_plan_put(plan, &b);
    slot_plan_put_ids(plan, &b);
    buf_putc(&b, '\0');
    assert_string_equal(b.data, "[[1,2],[1,2,3,4],[1,2,3,4,8]][5,6,7,8,9]");
    assert_int_equal(slot_plan_tokens(plan), 2 + 4 + 5);
    buf_free(&b);
    arena_free(&m.a);
}

/* Reads an answer as readings; what the error says, where it is one. */
static pgr_status settle(const slot_plan *plan, bool named, const char *text, infer_reading **out, pgr_error *err) {
    arena a = {0};
    slot_answer got;
    static const char ORIGIN[] = "http://h/v1";
    *out = NULL;
    pgr_status s = slot_answer_read(plan, named, text, strlen(text), ORIGIN, &a, &got, err);
    if (s == PGR_OK && !got.late) s = slot_answer_readings(plan, &got, ORIGIN, out, err);
    arena_free(&a);
    return s;
}

#define HEAD "{\"choices\":["
#define TAIL "]}"
#define CHOICE(index, drawn, tops)                                                                                     \
    "{\"index\":" index ",\"text\":\"x\",\"logprobs\":{\"tokens\":[\"token_id:" drawn "\"],\"top_logprobs\":[" tops    \
    "]}}"
#define FIRST                                                                                                          \
    CHOICE("0", "4", "{\"token_id:5\":-1,\"token_id:6\":-2,\"token_id:7\":-3,\"token_id:8\":-9,\"token_id:9\":-9}")
#define SECOND                                                                                                         \
    CHOICE("1", "6", "{\"token_id:5\":-9,\"token_id:6\":-2,\"token_id:7\":-9,\"token_id:8\":-1,\"token_id:9\":-9}")
#define THIRD                                                                                                          \
    CHOICE("2", "3", "{\"token_id:5\":-9,\"token_id:6\":-9,\"token_id:7\":-9,\"token_id:8\":-9,\"token_id:9\":-0.5}")
/* the first one with something else in it */
#define SPOILT(tops) HEAD CHOICE("0", "4", tops) "," SECOND "," THIRD TAIL
#define REST         "\"token_id:6\":-2,\"token_id:7\":-3,\"token_id:8\":-9,\"token_id:9\":-9"

/* log p of a among those of all of them */
static void assert_share(const infer_reading *r, size_t c, double a, double all) {
    if (!(fabs(r->logprobs[c] - log(a / all)) < 1e-12)) fail_msg("%.17g, expected %.17g", r->logprobs[c], log(a / all));
    if (!(fabs(r->mass - all) < 1e-12)) fail_msg("%.17g, expected %.17g", r->mass, all);
}

static void answers_become_readings(void **state) {
    (void)state;
    plan_memory m;
    const slot_plan *plan = make_plan(&m);
    infer_reading *got = NULL;
    pgr_error err = {0};
    if (settle(plan, true, HEAD THIRD "," FIRST "," SECOND TAIL, &got, &err) != PGR_OK) fail_msg("%s", err.message);
    double all = exp(-1) + exp(-2) + exp(-3);
    for (size_t c = 0; c < 3; c++) assert_share(&got[0], c, exp(-1 - (double)c), all);
    all = exp(-1.5) + exp(-2); /* 8, then 9, and 6 */
    assert_share(&got[1], 0, exp(-1.5), all);
    assert_share(&got[1], 1, exp(-2), all);
    slot_readings_free(got, 2);
    /* -9999 stands for no probability; the token that was drawn may be there */
    if (settle(plan, true, SPOILT("{\"token_id:5\":-9999,\"token_id:4\":-0.5," REST "}"), &got, &err) != PGR_OK)
        fail_msg("%s", err.message);
    assert_true(got[0].logprobs[0] == -INFINITY);
    slot_readings_free(got, 2);
    arena_free(&m.a);
}

/* A token may be the byte 0, as a text that is drawn and among those that are listed. */
static void a_token_may_be_nul(void **state) {
    (void)state;
    plan_memory m;
    const slot_plan *plan = make_plan(&m);
    infer_reading *got = NULL;
    pgr_error err = {0};
    static const char LISTED[] =
        HEAD "{\"index\":0,\"text\":\"\\u0000\",\"logprobs\":{\"content\":[{\"id\":0,\"token\":\"\\u0000\","
             "\"top_logprobs\":[{\"id\":0,\"token\":\"\\u0000\",\"logprob\":-0.9},{\"id\":5,\"logprob\":-1},{\"id\":6,"
             "\"token\":\"\\\\u0000\",\"logprob\":-2},{\"id\":7,\"logprob\":-3}]}]}}," SECOND "," THIRD TAIL;
    if (settle(plan, false, LISTED, &got, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_share(&got[0], 1, exp(-2), exp(-1) + exp(-2) + exp(-3));
    slot_readings_free(got, 2);
    arena_free(&m.a);
}

/* Of lists of the likeliest: a choice that is missing counts as nothing where it is less than a thousandth. */
static void lists_become_readings(void **state) {
    (void)state;
    plan_memory m;
    const slot_plan *plan = make_plan(&m);
    infer_reading *got = NULL;
    pgr_error err = {0};
    if (settle(plan, false, SPOILT("{\"token_id:5\":-1,\"token_id:6\":-2,\"token_id:30\":-12}"), &got, &err) != PGR_OK)
        fail_msg("%s", err.message);
    assert_share(&got[0], 0, exp(-1), exp(-1) + exp(-2));
    assert_true(got[0].logprobs[2] == -INFINITY);
    slot_readings_free(got, 2);
    assert_int_equal(
        settle(plan, false, SPOILT("{\"token_id:5\":-1,\"token_id:6\":-2,\"token_id:30\":-3}"), &got, &err),
        PGR_E_UNSUPPORTED);
    if (!strstr(err.message, "http://h/v1: slot 1: 1 tokens of the choices (7) are not among the likeliest"))
        fail_msg("%s", err.message);
    arena_free(&m.a);
}

#define TOPS "choices[0].logprobs.top_logprobs[0]"

static void lies_are_errors(void **state) {
    (void)state;
    static const struct {
        bool listed; /* not asked by number */
        const char *raw, *said;
    } LIES[] = {
        {false, "", "http://h/v1"},
        {false, "{\"choices\":[", "http://h/v1"},
        {false, "[1]", "choices is nothing, expected an array"},
        {false, HEAD FIRST TAIL, "found 1 choices, expected 3, one for each prompt"},
        {false, HEAD FIRST "," SECOND "," SECOND TAIL, "choices[2].index is 1, expected each of 0 to 2 once"},
        {false, HEAD FIRST "," SECOND "," CHOICE("3", "1", "{}") TAIL, "choices[2].index is 3"},
        {false, HEAD FIRST "," SECOND ",7" TAIL, "choices[2].index is -1"},
        {false, HEAD FIRST "," SECOND ",{\"index\":2}" TAIL, "choices[2].logprobs.top_logprobs is no list of tokens"},
        {false, HEAD FIRST "," SECOND ",{\"index\":2,\"logprobs\":{\"top_logprobs\":[7]}}" TAIL,
         "is no list of tokens"},
        {false, SPOILT("{\"token_id:5\":NaN," REST "}"),
         TOPS ".token_id:5 is NaN or an infinity, expected a log-probability"},
        {false, SPOILT("{\"token_id:5\":0.5," REST "}"), TOPS ".token_id:5 is 0.5, expected a log-probability"},
        {false, SPOILT("{\"token_id:5\":Infinity," REST "}"), TOPS ".token_id:5 is NaN or an infinity"},
        {false, SPOILT("{\"token_id:5\":\"-1\"," REST "}"), TOPS ".token_id:5 is a string"},
        {false, SPOILT("{\"token_id:5\":null," REST "}"), TOPS ".token_id:5 is null"},
        {false, SPOILT("{\"token_id:5\":-0.001," REST "}"), "probabilities sum to 1.1"},
        {false, SPOILT("{" REST "}"), TOPS ".token_id:5 is not there, expected every token of logprob_token_ids"},
        {false, SPOILT("{\"token_id:5\":-1,\"token_id:77\":-4," REST "}"), TOPS ".token_id:77 is not asked for"},
        {false, SPOILT("{\" five\":-1," REST "}"), TOPS ". five is the name of a token, expected token_id:"},
        {false, SPOILT("{\"token_id:5x\":-1," REST "}"), TOPS ".token_id:5x is the name of a token"},
        {false, SPOILT("{\"token_id:05\":-1,\"token_id:5\":-1," REST "}"), "is there twice, expected every token once"},
        {false, SPOILT("{\"token_id:99999999999\":-1," REST "}"), "is the name of a token"},
        {false,
         SPOILT("{\"token_id:5\":-9999,\"token_id:6\":-9999,\"token_id:7\":-9999,\"token_id:8\":-9999,"
                "\"token_id:9\":-9999}"),
         "slot 1: none of the choices has any probability"},
        {true, SPOILT("{}"), "choices[0].logprobs.top_logprobs is no list of tokens"},
        {true, SPOILT("{\"token_id:30\":-2}"), "slot 1: 3 tokens of the choices (5, 6, 7) are not among"},
        {true,
         HEAD "{\"index\":0,\"logprobs\":{\"content\":[{\"top_logprobs\":[{\"id\":\"5\",\"logprob\":-1}]}]}}," SECOND
              "," THIRD TAIL,
         "choices[0].logprobs.content[0].top_logprobs[0] is without a token's number"},
        {true, HEAD "{\"index\":0,\"logprobs\":{\"content\":[{\"top_logprobs\":[{\"id\":5}]}]}}," SECOND "," THIRD TAIL,
         "choices[0].logprobs.content[0].top_logprobs[0] is nothing, expected a log-probability"},
    };
    plan_memory m;
    const slot_plan *plan = make_plan(&m);
    for (size_t i = 0; i < sizeof LIES / sizeof *LIES; i++) {
        infer_reading *got = NULL;
        pgr_error err = {0};
        pgr_status s = settle(plan, !LIES[i].listed, LIES[i].raw, &got, &err);
        if (s != PGR_E_FORMAT && s != PGR_E_UNSUPPORTED) fail_msg("%zu: %d", i, (int)s);
        if (!strstr(err.message, LIES[i].said) || strncmp(err.message, "http://h/v1", 11) != 0)
            fail_msg("%zu: %s", i, err.message);
        assert_null(got);
    }
    arena_free(&m.a);
}

static bool settle_once(void) {
    plan_memory m;
    infer_reading *got = NULL;
    pgr_status s = try_plan(&m, NULL);
    if (s == PGR_OK) s = settle(&m.plan, true, HEAD FIRST "," SECOND "," THIRD TAIL, &got, NULL);
    slot_readings_free(got, 2);
    arena_free(&m.a);
    return s == PGR_OK;
}

/* ---- servers that cannot, will not, or fail ---- */

static void expect_none(slot_server *f, const pgr_remote_options *o, const char *why) {
    pgr_engine *e = connect_with(f->chat.url, o);
    const engine_info *about = engine_about(e);
    infer_slot slots[N_SLOT];
    infer_slot_tokens t;
    infer_ticket ticket;
    pgr_error err = {0};
    make_slots(slots);
    infer_request q = slot_request(slots, N_SLOT);
    assert_int_equal(about->can & ENGINE_SLOTS, 0);
    if (!strstr(about->no_slots, why)) fail_msg("%s, expected %s", about->no_slots, why);
    assert_int_equal(engine_submit(e, &q, &ticket, &err), PGR_E_UNSUPPORTED);
    if (!strstr(err.message, why)) fail_msg("%s", err.message);
    assert_int_equal(engine_slots_tokens(e, MESSAGES, 2, slots, N_SLOT, &t, &err), PGR_E_UNSUPPORTED);
    pgr_engine_free(e);
}

static void says_why_not(void **state) {
    (void)state;
    slot_server f = {0};
    pgr_remote_options none = pgr_remote_options_default();
    begin(&f, "vllm");
    expect_none(&f, &none, "without the model's tokenizer (--remote-tokenizer)");
    assert_int_equal(f.n_asked, 0);
    f.other_tokens = true;
    expect_none(&f, NULL, "that differ from token 8 on");
    assert_int_equal(f.n_asked, 0);
    f.other_tokens = false;
    f.completions->faults = 1 << 20;
    f.completions->fault_status = 400;
    expect_none(&f, NULL, "/v1/completions: HTTP status 400");
    f.tokenize->faults = 1 << 20;
    f.tokenize->fault_status = 404;
    expect_none(&f, NULL, "HTTP status 404");
    server_stop(f.chat.s);
}

static void fails_alone_and_comes_back(void **state) {
    (void)state;
    infer_output out;
    pgr_error err = {0};
    reader r = {.f.n_asked = 0};
    reader_begin(&r, "vllm");
    infer_result *here = read_slots(ENGINE, &r.q);
    r.f.completions->faults = 1; /* cut, then asked again */
    r.f.completions->cut = 5;
    infer_result *there = read_slots(r.e, &r.q);
    assert_same(here, there);
    infer_result_free(there);
    r.f.completions->faults = 1;
    r.f.completions->fault_status = 401; /* which is not asked again */
    assert_int_equal(infer_run(r.e, &r.q, 1, NULL, &out, &err), PGR_E_REMOTE);
    assert_non_null(strstr(err.message, "/v1/completions: HTTP status 401: oops"));
    pgr_cancel cancel = 1;
    r.q.cancel = &cancel;
    assert_int_equal(infer_run(r.e, &r.q, 1, NULL, &out, &err), PGR_E_CANCELLED);
    r.q.cancel = NULL;
    there = read_slots(r.e, &r.q);
    assert_same(here, there);
    infer_result_free(there);
    infer_result_free(here);
    reader_end(&r);
}

static void expect_no_reading(reader *r) {
    infer_result *got = read_slots(r->e, &r->q);
    assert_int_equal(got->n_reading, 0);
    assert_int_equal(got->error.status, PGR_OK);
    infer_result_free(got);
}

/* The deadline comes before the answer, or the server says that it came: no reading, and no error. */
static void late_is_no_reading(void **state) {
    (void)state;
    reader r = {.f.n_asked = 0};
    reader_begin(&r, "pgenrm");
    r.f.late = true;
    expect_no_reading(&r);
    assert_non_null(strstr(r.f.last, "\"deadline_s\":"));
    r.f.late = false;
    r.f.completions->delay_ms = 300;
    r.q.deadline_s = 0.1;
    expect_no_reading(&r);
    reader_end(&r);
}

/* What would not fit, and a budget that is used up. */
static void limits(void **state) {
    (void)state;
    enum { MANY = PLAN_IDS + 1 };
    char texts[MANY][16];
    const char *choices[MANY];
    size_t n = 0;
    infer_output out;
    infer_ticket ticket;
    pgr_error err = {0};
    slot_server f = {0};
    begin(&f, "vllm");
    pgr_remote_options o = pgr_remote_options_default();
    o.tokenizer = TINY;
    o.context = 40;
    o.max_tokens = 120; /* the probes take up to 107 of them */
    pgr_engine *e = connect_with(f.chat.url, &o);
    if (engine_about(e)->no_slots) fail_msg("%s", engine_about(e)->no_slots);
    for (int32_t id = 0; n < MANY && (size_t)id < tok_count(MODEL->tok); id++) { /* texts of one token each */
        buf text = {0};
        ids back = {0};
        tok_decode(MODEL->tok, &id, 1, &text, NULL);
        if (text.n > 0 && text.n < sizeof texts[0] && !memchr(text.data, 0, text.n)) {
            memcpy(texts[n], text.data, text.n);
            texts[n][text.n] = '\0';
            tok_encode(MODEL->tok, texts[n], text.n, 0, &back, NULL);
            if (back.n == 1 && back.v[0] == id) choices[n] = texts[n], n++;
        }
        ids_free(&back);
        buf_free(&text);
    }
    assert_int_equal(n, MANY);
    infer_slot slot = {.message = 0, .at = 1, .choices = choices, .n_choice = MANY};
    infer_message m = {"user", "ab", 2};
    infer_request q = {.messages = &m, .n_message = 1, .slots = &slot, .n_slot = 1};
    assert_int_equal(engine_submit(e, &q, &ticket, &err), PGR_E_LIMIT);
    assert_non_null(strstr(err.message, "more than 128 different tokens"));
    slot.n_choice = 2;
    m = (infer_message){"user", TEXT, sizeof TEXT - 1};
    slot.at = m.n;
    assert_int_equal(engine_submit(e, &q, &ticket, &err), PGR_E_LIMIT);
    assert_non_null(strstr(err.message, "fill the context of 40"));
    m = (infer_message){"user", "ab", 2};
    slot.at = 1;
    assert_int_equal(infer_run(e, &q, 1, NULL, &out, &err), PGR_E_REMOTE);
    assert_non_null(strstr(err.message, "a budget of 120 tokens"));
    assert_int_equal(engine_state(e).n_waiting, 0);
    pgr_engine_free(e);
    server_stop(f.chat.s);
}

/* Two addresses, one of which dies: all readings come from the other one, and are the same. */
static void one_of_two_dies(void **state) {
    (void)state;
    enum { N = 12 };
    slot_server f[2] = {{.n_asked = 0}};
    infer_slot slots[N_SLOT];
    char both[200];
    infer_ticket ticket;
    make_slots(slots);
    infer_request q = slot_request(slots, N_SLOT);
    for (int i = 0; i < 2; i++) begin(&f[i], "vllm");
    snprintf(both, sizeof both, "%s,%s", f[0].chat.url, f[1].chat.url);
    pgr_engine *e = connect_with(both, NULL);
    infer_result *here = read_slots(ENGINE, &q);
    for (int i = 0; i < N; i++) {
        assert_int_equal(engine_submit(e, &q, &ticket, NULL), PGR_OK);
        if (i == 5) engine_step(e);
        if (i == 5) server_stop(f[0].chat.s);
    }
    while (engine_step(e)) {}
    size_t n = 0;
    for (infer_event event; engine_take(e, NULL, &event); n++) {
        assert_int_equal(event.result->error.status, PGR_OK);
        assert_same(here, event.result);
        infer_result_free(event.result);
    }
    assert_int_equal(n, N);
    infer_result_free(here);
    pgr_engine_free(e);
    server_stop(f[1].chat.s);
}

static void survives_every_failed_allocation(void **state) {
    (void)state;
    fail_each_allocation(settle_once);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_as_this_machine),
                                       cmocka_unit_test(what_is_not_listed_is_not_read),
                                       cmocka_unit_test(what_is_asked),
                                       cmocka_unit_test(answers_become_readings),
                                       cmocka_unit_test(a_token_may_be_nul),
                                       cmocka_unit_test(lists_become_readings),
                                       cmocka_unit_test(lies_are_errors),
                                       cmocka_unit_test(says_why_not),
                                       cmocka_unit_test(fails_alone_and_comes_back),
                                       cmocka_unit_test(late_is_no_reading),
                                       cmocka_unit_test(limits),
                                       cmocka_unit_test(one_of_two_dies),
                                       cmocka_unit_test(survives_every_failed_allocation)};
    json_setup();
    return cmocka_run_group_tests(tests, setup, teardown);
}
