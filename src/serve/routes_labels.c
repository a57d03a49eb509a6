/* routes_labels.c - how likely a text goes on with one of some tokens: /generative_scoring (vLLM) and, where it has
 * label_token_ids, /v1/score (SGLang). The distribution is read at a slot behind each text; nothing is written. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "serve/body.h"
#include "serve/server.h"

enum { ITEMS_MOST = 1024, LABELS_MOST = 64 };

typedef struct labelled { /* one text */
    infer_ticket ticket;
    infer_result *result; /* NULL: not there yet */
} labelled;

typedef struct labels {
    task task;
    arena arena;
    served *model;
    const char *query;
    const char **items; /* (n) the body's */
    size_t n, n_asked, n_ended;
    labelled *list;           /* (n) */
    int32_t *ids;             /* (n_label) */
    const char **texts;       /* (n_choice) the tokens' */
    size_t n_label, n_choice; /* a slot has two choices at least: beside one label another token stands, untold */
    bool softmax;             /* over the labels; else over the whole vocabulary */
    bool item_first;          /* the item stands before the query */
    bool sglang;
} labels;

static void free_labels(task *t) {
    labels *l = (labels *)t;
    for (size_t i = 0; l->list && i < l->n; i++) infer_result_free(l->list[i].result);
    mem_free(l->items);
    served_drop(l->model);
    arena_free(&l->arena);
    mem_free(l);
}

/* ---- in the worker's thread ---- */

/* A label is its text: one that would be read as something else cannot be asked for. */
static pgr_status check_labels(labels *l, pgr_error *err) {
    for (size_t i = 0; i < l->n_label; i++) {
        ids read = {0};
        pgr_status s = engine_tokens(worker_engine(l->task.worker), l->texts[i], strlen(l->texts[i]),
                                     PGR_TOKENS_SPECIAL, &read, err);
        bool same = s == PGR_OK && read.n == 1 && read.v[0] == l->ids[i];
        ids_free(&read);
        if (s != PGR_OK) return s;
        if (!same)
            return fail(err, PGR_E_ARG, "label_token_ids[%zu]: token %d is not what its text is read as", i,
                        (int)l->ids[i]);
    }
    return PGR_OK;
}

static pgr_status ask_item(labels *l, size_t i, buf *text, pgr_error *err) {
    buf_clear(text);
    buf_puts(text, l->item_first ? l->items[i] : l->query);
    size_t border = text->n;
    buf_puts(text, l->item_first ? l->query : l->items[i]);
    if (text->failed) return fail_mem(err);
    infer_slot slots[] = {{.at = border, .choices = l->texts, .n_choice = l->n_choice},
                          {.at = text->n, .choices = l->texts, .n_choice = l->n_choice}};
    size_t first = l->sglang || border == 0 || border == text->n ? 1 : 0; /* vLLM reads the two apart */
    infer_request r = {.text = text->data ? text->data : "",
                       .n_text = text->n,
                       .text_flags = PGR_TOKENS_BOS | PGR_TOKENS_SPECIAL,
                       .slots = slots + first,
                       .n_slot = 2 - first,
                       .adapters = served_adapters(l->model),
                       .deadline_s = call_deadline(l->task.call) - clock_now()};
    if (!(r.deadline_s > 0)) return fail(err, PGR_E_DEADLINE, "the deadline passed before anything was read");
    return task_ask(&l->task, &r, &l->list[i].ticket, err);
}

/* As many as others may wait for. */
static pgr_status ask_some(labels *l, pgr_error *err) {
    buf text = {0};
    pgr_status s = PGR_OK;
    for (size_t n = 0; s == PGR_OK && l->n_asked < l->n && n < TEXT_AT_ONCE; n += text.n)
        s = ask_item(l, l->n_asked++, &text, err);
    buf_free(&text);
    if (l->n_asked < l->n) worker_wake(l->task.worker);
    return s;
}

static pgr_status begin(task *t, pgr_error *err) {
    labels *l = (labels *)t;
    PGR_TRY(check_labels(l, err));
    return ask_some(l, err);
}

static void go_on(task *t, double now) {
    (void)now;
    labels *l = (labels *)t;
    pgr_error err = {0};
    if (l->n_asked == l->n || ask_some(l, &err) == PGR_OK) return;
    call_fail_error(t->call, &err);
    task_end(t);
}

static double probability(const labels *l, size_t item, size_t label) {
    const infer_result *of = l->list[item].result;
    const infer_reading *r = &of->readings[of->n_reading - 1]; /* behind both texts */
    double sum = 0;
    if (!l->softmax) return exp(r->logprobs[label]) * r->mass;
    for (size_t k = 0; k < l->n_label; k++) sum += exp(r->logprobs[k]);
    return exp(r->logprobs[label]) / sum;
}

static void put_usage(const labels *l, buf *out) {
    size_t read = 0;
    for (size_t i = 0; i < l->n; i++) read += l->list[i].result->prompt.n;
    call_note_tokens(l->task.call, read, 0);
    buf_printf(out, "\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu,\"completion_tokens\":0}}", read, read);
}

static void put_name(const labels *l, buf *out) {
    buf_puts(out, "\"model\":");
    json_put_string(out, served_name(l->model), strlen(served_name(l->model)));
    buf_putc(out, ',');
}

static void put_vllm(const labels *l, buf *out) {
    static _Atomic uint64_t last;
    long long now = (long long)time(NULL);
    buf_printf(out, "{\"id\":\"generative-scoring-%llx-%llx\",\"object\":\"list\",\"created\":%lld,",
               (unsigned long long)now, (unsigned long long)atomic_fetch_add(&last, 1), now);
    put_name(l, out);
    buf_puts(out, "\"data\":[");
    for (size_t i = 0; i < l->n; i++)
        buf_printf(out, "%s{\"index\":%zu,\"object\":\"score\",\"score\":%.9g}", i ? "," : "", i, probability(l, i, 0));
    buf_puts(out, "],");
    put_usage(l, out);
}

static void put_sglang(const labels *l, buf *out) {
    buf_puts(out, "{\"scores\":[");
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->n_label; k++)
            buf_printf(out, "%s%.9g%s", k ? "," : i ? ",[" : "[", probability(l, i, k), k + 1 == l->n_label ? "]" : "");
    buf_puts(out, "],\"object\":\"scoring\",");
    put_name(l, out);
    put_usage(l, out);
}

static void take(task *t, infer_event *e) {
    labels *l = (labels *)t;
    size_t i = 0;
    while (l->list[i].ticket != e->ticket) i++;
    l->list[i].result = e->result;
    pgr_error err = e->result->error;
    if (err.status == PGR_OK && e->result->n_reading == 0)
        fail(&err, PGR_E_DEADLINE, "the deadline passed before everything was read");
    if (err.status != PGR_OK) {
        call_fail_error(t->call, &err);
        task_end(t);
        return;
    }
    if (++l->n_ended < l->n) return;
    buf out = {0};
    if (l->sglang)
        put_sglang(l, &out);
    else
        put_vllm(l, &out);
    call_reply(t->call, 200, &out);
    task_end(t);
}

static const task_kind LABELS = {.name = "labels", .begin = begin, .event = take, .tick = go_on, .free = free_labels};

/* ---- what is asked ---- */

static bool read_label(labels *l, call *c, size_t i, const json_t *v) {
    buf text = {0};
    json_int_t id = json_integer_value(v);
    bool known = json_is_integer(v) && id >= 0 && id <= INT32_MAX;
    l->ids[i] = (int32_t)id;
    for (size_t k = 0; k < i; k++) known = known && l->ids[k] != l->ids[i];
    pgr_status s = PGR_OK;
    if (known) s = engine_text(call_server(c)->what.engine, &l->ids[i], 1, &text, NULL);
    known = known && s == PGR_OK && text.n > 0;
    l->texts[i] = known ? arena_strndup(&l->arena, text.data, text.n) : NULL;
    buf_free(&text);
    if (s == PGR_E_MEM || (known && !l->texts[i]))
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
    else if (!known)
        call_refuse(c, "label_token_ids", "label_token_ids[%zu]: expected a token of the model, each once", i);
    return l->texts[i] != NULL;
}

/* Beside one label: a text of another token. */
static bool add_other(labels *l, call *c) {
    static const char *const OTHERS[] = {"a", "b", "1", " "};
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        ids read = {0};
        pgr_status s = engine_tokens(call_server(c)->what.engine, OTHERS[i], 1, PGR_TOKENS_SPECIAL, &read, NULL);
        bool other = s == PGR_OK && read.n == 1 && read.v[0] != l->ids[0];
        ids_free(&read);
        if (!other) continue;
        l->texts[l->n_choice++] = OTHERS[i];
        return true;
    }
    call_refuse(c, "label_token_ids", "label_token_ids: expected at least 2 tokens of this model");
    return false;
}

static bool read_labels(labels *l, call *c, const json_t *body) {
    const json_t *list = body_get(body, "label_token_ids");
    l->n_label = l->n_choice = json_array_size(list);
    if (l->n_label == 0 || l->n_label > LABELS_MOST) {
        call_refuse(c, "label_token_ids", "label_token_ids: expected 1 to %d tokens", LABELS_MOST);
        return false;
    }
    l->ids = arena_array(&l->arena, l->n_label, sizeof *l->ids);
    l->texts = arena_array(&l->arena, l->n_label + 1, sizeof *l->texts);
    l->list = arena_array(&l->arena, l->n + 1, sizeof *l->list);
    if (!l->ids || !l->texts || !l->list) {
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
        return false;
    }
    for (size_t i = 0; i < l->n_label; i++)
        if (!read_label(l, c, i, json_array_get(list, i))) return false;
    return l->n_label > 1 || add_other(l, c);
}

static bool read_all(labels *l, call *c, const json_t *body) {
    const char *name = NULL;
    if (!body_text(c, body, "model", &name) || !body_text(c, body, "query", &l->query)
        || !body_flag(c, body, "apply_softmax", &l->softmax) || !body_flag(c, body, "item_first", &l->item_first)
        || !body_texts(c, body, "items", ITEMS_MOST, &l->items, &l->n))
        return false;
    if (!l->query || l->n == 0) {
        call_refuse(c, l->query ? "items" : "query", "expected a query and at least one item");
        return false;
    }
    for (size_t i = 0; i < l->n; i++)
        if (!body_fits(c, "items", strlen(l->query) + strlen(l->items[i]), server_text_most(call_server(c)),
                       "bytes of query and item"))
            return false;
    l->model = models_find(call_server(c)->models, name);
    if (!l->model) call_fail(c, 404, "invalid_request_error", "model", "model_not_found", "there is no model %s", name);
    return l->model && read_labels(l, c, body);
}

static void score_labels(call *c, bool sglang) {
    const json_t *body = call_json(c);
    const char *why = engine_about(call_server(c)->what.engine)->no_slots;
    if (!body) return;
    if (why) {
        call_fail(c, 501, "server_error", NULL, "remote_cannot", "label_token_ids: %s", why);
        return;
    }
    labels *l = mem_zero(1, sizeof *l);
    if (!l) {
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
        return;
    }
    l->task.kind = &LABELS;
    l->sglang = sglang;
    l->softmax = !sglang; /* their defaults */
    if (read_all(l, c, body))
        call_submit(c, &l->task);
    else
        free_labels(&l->task);
}

static void generative_scoring(call *c) {
    score_labels(c, false);
}

static void sglang_score(call *c) {
    score_labels(c, true);
}

static const route ROUTES[] = {{"POST", "/generative_scoring", generative_scoring, .flags = 0},
                               {"POST", "/v1/score", sglang_score, .key = "label_token_ids"}};

pgr_status routes_labels_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
