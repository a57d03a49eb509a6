/* routes_classify.c - /classify in vLLM's form: what a reward model with a score head (docs/scalar.md) thinks of texts,
 * or of a conversation that ends with the response. One class, whose probability is the score, or sigmoid of it. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/logistic.h"
#include "base/mem.h"
#include "serve/body.h"
#include "serve/server.h"

enum {
    INPUTS_MOST = 1024,
    INPUTS_AT_ONCE = 16, /* between two steps of the engine */
};

typedef struct classes {
    task task;
    arena arena;
    pgr_scalar *by;
    pgr_scalar_input *inputs; /* (n) of the body's texts */
    float *scores;            /* (n) */
    size_t n, n_scored, n_token;
    bool activates;
} classes;

static pgr_scalar *scalar_of(const call *c) {
    const pgr_judge_options *o = call_server(c)->what.judge;
    return o ? o->scalar : NULL;
}

static void free_classes(task *t) {
    classes *k = (classes *)t;
    arena_free(&k->arena);
    mem_free(k);
}

static size_t text_of(const pgr_scalar_input *in) {
    size_t n = strlen(in->response);
    for (size_t i = 0; i < in->n_message; i++) n += strlen(in->messages[i].text);
    return n;
}

/* ---- in the worker's thread ---- */

static pgr_status score_some(classes *k, size_t from, size_t n, pgr_error *err) {
    size_t tokens[INPUTS_AT_ONCE];
    if (clock_now() > call_deadline(k->task.call))
        return fail(err, PGR_E_DEADLINE, "the deadline passed when %zu of %zu inputs were read", from, k->n);
    PGR_TRY(pgr_scalar_score(k->by, k->inputs + from, n, NULL, k->scores + from, tokens, err));
    for (size_t i = 0; i < n; i++) {
        if (isnan(k->scores[from + i]))
            return fail(err, PGR_E_LIMIT, "input %zu: found %zu tokens, expected at most %zu", from + i, tokens[i],
                        pgr_scalar_max_tokens(k->by));
        k->n_token += tokens[i];
    }
    return PGR_OK;
}

static void put_answer(const classes *k, buf *out) {
    static _Atomic uint64_t last;
    long long now = (long long)time(NULL);
    const char *name = pgr_scalar_name(k->by);
    buf_printf(out, "{\"id\":\"classify-%llx-%llx\",\"object\":\"list\",\"created\":%lld,\"model\":",
               (unsigned long long)now, (unsigned long long)atomic_fetch_add(&last, 1), now);
    json_put_string(out, name, strlen(name));
    buf_puts(out, ",\"data\":[");
    for (size_t i = 0; i < k->n; i++) {
        double score = (double)k->scores[i];
        buf_printf(out, "%s{\"index\":%zu,\"label\":\"LABEL_0\",\"probs\":[%.9g],\"num_classes\":1}", i ? "," : "", i,
                   k->activates ? logistic(score) : score);
    }
    buf_printf(out, "],\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu,\"completion_tokens\":0}}", k->n_token,
               k->n_token);
}

/* As many as others may wait for. */
static pgr_status begin(task *t, pgr_error *err) {
    classes *k = (classes *)t;
    size_t n = 0;
    for (size_t bytes = 0; k->n_scored + n < k->n && n < INPUTS_AT_ONCE && bytes < TEXT_AT_ONCE; n++)
        bytes += text_of(&k->inputs[k->n_scored + n]);
    PGR_TRY(score_some(k, k->n_scored, n, err));
    k->n_scored += n;
    if (k->n_scored < k->n) {
        worker_wake(t->worker);
        return PGR_OK;
    }
    buf out = {0};
    put_answer(k, &out);
    call_note_tokens(t->call, k->n_token, 0);
    call_reply(t->call, 200, &out);
    task_end(t);
    return PGR_OK;
}

static void go_on(task *t, double now) {
    (void)now;
    pgr_error err = {0};
    if (begin(t, &err) == PGR_OK) return;
    call_fail_error(t->call, &err);
    task_end(t);
}

static const task_kind CLASSES = {.name = "classes", .begin = begin, .tick = go_on, .free = free_classes};

/* ---- what is asked ---- */

static bool out_of_memory(call *c) {
    call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
    return false;
}

static bool make_room(classes *k, call *c, size_t n) {
    k->n = n;
    k->inputs = arena_array(&k->arena, n, sizeof *k->inputs);
    k->scores = arena_array(&k->arena, n, sizeof *k->scores);
    return (k->inputs && k->scores) || out_of_memory(c);
}

/* Texts as they stand, with the marks of a chat template in them or without. */
static bool read_texts(classes *k, call *c, const json_t *body) {
    const char **texts = NULL;
    size_t n;
    if (!body_texts(c, body, "input", INPUTS_MOST, &texts, &n)) return false;
    bool read = n > 0;
    if (!read) call_refuse(c, "input", "expected an input, a text or a list of texts, or messages");
    read = read && make_room(k, c, n);
    for (size_t i = 0; read && i < n; i++) k->inputs[i] = (pgr_scalar_input){.response = texts[i]};
    mem_free(texts);
    return read;
}

/* A conversation whose last turn, the assistant's, is the response. */
static bool read_messages(classes *k, call *c, const json_t *list) {
    size_t n = json_array_size(list);
    pgr_message *turns = arena_array(&k->arena, n + 1, sizeof *turns);
    if (!turns || !make_room(k, c, 1)) return turns ? false : out_of_memory(c);
    bool whole = n >= 2;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        turns[i] = (pgr_message){json_string_value(json_object_get(v, "role")),
                                 json_string_value(json_object_get(v, "content"))};
        whole = whole && turns[i].role && turns[i].text;
    }
    whole = whole && strcmp(turns[n - 1].role, "assistant") == 0 && strcmp(turns[n - 2].role, "user") == 0;
    if (!whole) call_refuse(c, "messages", "messages: expected turns of text, the last two by user and assistant");
    if (whole) *k->inputs = (pgr_scalar_input){turns, n - 1, turns[n - 1].text};
    return whole;
}

static bool are_short(const classes *k, call *c, const char *key) {
    for (size_t i = 0; i < k->n; i++)
        if (!body_fits(c, key, text_of(&k->inputs[i]), text_most(pgr_scalar_max_tokens(k->by)), "bytes of text"))
            return false;
    return true;
}

static void classify(call *c) {
    const json_t *body = call_json(c);
    if (!body) return;
    if (!scalar_of(c)) {
        call_fail(c, 501, "invalid_request_error", NULL, "no_score_head",
                  "the server has no model with a score head (--scalar)");
        return;
    }
    classes *k = mem_zero(1, sizeof *k);
    if (!k) {
        out_of_memory(c);
        return;
    }
    const json_t *messages = body_get(body, "messages");
    k->task.kind = &CLASSES;
    k->by = scalar_of(c);
    k->activates = true; /* vLLM's default */
    if (body_flag(c, body, "use_activation", &k->activates)
        && (messages ? read_messages(k, c, messages) : read_texts(k, c, body))
        && are_short(k, c, messages ? "messages" : "input"))
        call_submit(c, &k->task);
    else
        free_classes(&k->task);
}

static const route ROUTES[] = {{"POST", "/classify", classify, .flags = 0},
                               {"POST", "/v1/classify", classify, .flags = 0}};

pgr_status routes_classify_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
