/* remote_look.c - what servers are: their models, the context, and by a probe of a few tokens what they offer. What
 * they refuse is not asked for again. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "infer/remote.h"

enum { CONTEXT_UNKNOWN = 4096, CONTEXT_MOST = 1 << 30, PROBE_TOKENS = 8, PROBES = 12, BUSY_SERVER_S = 60 };
static const char PROBE_GRAMMAR[] = "root ::= \"zq\" [0-9]"; /* which nobody writes of his own accord */

const char *const REMOTE_FEATURES[] = {
    "logprobs", "grammar", "structured_outputs", "ebnf", "completion choice", "\"n\"", "'n'", "seed", NULL};

/* ---- JSON over a client ---- */

/* The answer to one request, at the address with index at. *out is the caller's (json_decref). */
static pgr_status ask_json(remote *r, size_t at, const char *path, const buf *body, net_job *job, json_t **out,
                           pgr_error *err) {
    job->path = path;
    job->body = body ? body->data : NULL;
    job->n_body = body ? body->n : 0;
    job->only = at + 1;
    job->final_words = REMOTE_FEATURES;
    *out = NULL;
    PGR_TRY(net_run(r->net, job, r->o.watch.cancel, err));
    return json_parse_nan(job->reply.data ? job->reply.data : "", job->reply.n, net_address(r->net, at), 1, out, err);
}

/* ---- models ---- */

static server_kind kind_of(const char *owner) {
    static const struct {
        const char *owner;
        server_kind kind;
    } KNOWN[] = {{"vllm", SERVER_VLLM},
                 {"sglang", SERVER_SGLANG},
                 {"llamacpp", SERVER_LLAMA},
                 {"me", SERVER_LLAMA_PY},
                 {"pgenrm", SERVER_PGENRM}};
    for (size_t i = 0; owner && i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (strcmp(owner, KNOWN[i].owner) == 0) return KNOWN[i].kind;
    return SERVER_PLAIN;
}

/* A whole number from 1 to `most`, 0 for anything else. */
static size_t count_of(const json_t *v, double most) {
    double x = json_number_value(v);
    return x >= 1 && x <= most ? (size_t)x : 0;
}

static void take_meta(remote *r, const json_t *model) {
    const json_t *meta = json_object_get(model, "meta");
    r->kind = kind_of(json_string_value(json_object_get(model, "owned_by")));
    if (!r->info.n_ctx) r->info.n_ctx = count_of(json_object_get(model, "max_model_len"), CONTEXT_MOST);
    if (!r->info.n_ctx) r->info.n_ctx = count_of(json_object_get(meta, "n_ctx"), CONTEXT_MOST);
    r->info.n_parameter = count_of(json_object_get(meta, "n_params"), 1e15);
    r->info.n_vocab = count_of(json_object_get(meta, "n_vocab"), 1 << 30);
}

/* The model of that name in the list, of no name the first one that has any. */
static const json_t *find_model(const json_t *list, const char *name) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *id = json_string_value(json_object_get(json_array_get(list, i), "id"));
        if (id && (!name || strcmp(id, name) == 0)) return json_array_get(list, i);
    }
    return NULL;
}

/* Of an adapter vLLM says whose it is, and the context of that model alone. */
static void take_parent(remote *r, const json_t *list, const json_t *model) {
    const char *parent = json_string_value(json_object_get(model, "parent"));
    const json_t *of = parent ? find_model(list, parent) : NULL;
    if (!r->info.n_ctx) r->info.n_ctx = count_of(json_object_get(of, "max_model_len"), CONTEXT_MOST);
}

/* The model that is named, or the first one; what was found before must be found at every address. */
static pgr_status take_models(remote *r, size_t at, const json_t *root, bool *first, pgr_error *err) {
    const json_t *list = json_object_get(root, "data"), *found = find_model(list, r->model);
    const char *where = net_address(r->net, at);
    const char *some = json_string_value(json_object_get(find_model(list, NULL), "id"));
    if (!some) return fail(err, PGR_E_FORMAT, "%s/models: found no data[0].id, expected a model's name", where);
    if (!found)
        return fail(err, PGR_E_ARG, "%s/models: found model %.100s, expected %.100s%s", where, some, r->model,
                    r->o.model ? "" : " as at the other address");
    if (!r->model && !(r->model = mem_strdup(some))) return fail_mem(err);
    if (*first) {
        take_meta(r, found);
        take_parent(r, list, found);
    }
    *first = false;
    return PGR_OK;
}

static pgr_status find_models(remote *r, pgr_error *err) {
    bool first = true;
    pgr_error down = {0};
    for (size_t i = 0; i < net_count(r->net); i++) {
        net_job job = {.once = true, .deadline = clock_now() + BUSY_SERVER_S};
        json_t *root = NULL;
        pgr_error why = {0};
        pgr_status s = ask_json(r, i, "/models", NULL, &job, &root, &why);
        bool absent = s == PGR_E_IO || s == PGR_E_DEADLINE;
        if (s == PGR_OK) s = take_models(r, i, root, &first, &why);
        json_decref(root);
        net_drop(r->net, &job);
        if (s != PGR_OK && !absent) {
            if (err) *err = why;
            return s;
        }
        if (absent) {
            if (net_count(r->net) > 1) log_warn("%s", why.message);
            down = why;
        }
    }
    if (first && err) *err = down;
    return first ? down.status : PGR_OK;
}

/* llama.cpp's server says its context elsewhere. */
static void ask_props(remote *r) {
    net_job job = {.once = true, .deadline = clock_now() + BUSY_SERVER_S};
    json_t *root = NULL;
    if (ask_json(r, job.at, "^/props", NULL, &job, &root, NULL) == PGR_OK)
        r->info.n_ctx =
            count_of(json_object_get(json_object_get(root, "default_generation_settings"), "n_ctx"), CONTEXT_MOST);
    json_decref(root);
    net_drop(r->net, &job);
}

/* ---- the probe ---- */

static bool says(const char *text, size_t n, const char *word) {
    return n > 0 && memmem(text, n, word, strlen(word)) != NULL;
}

bool remote_without(remote *r, const char *text, size_t n) {
    bool choices = says(text, n, "completion choice") || says(text, n, "\"n\"") || says(text, n, "'n'");
    bool grammar = says(text, n, "grammar") || says(text, n, "structured_outputs") || says(text, n, "ebnf");
    const char *what = NULL;
    if (r->offers.top > 5 && says(text, n, "top_logprobs"))
        r->offers.top = 5, what = "more than 5 log-probabilities of a place";
    else if (r->offers.top && says(text, n, "logprobs"))
        r->offers.top = 0, what = "log-probabilities";
    else if (r->offers.form && grammar)
        r->offers.form = FORM_NONE, what = "grammars";
    else if (r->offers.many && choices)
        r->offers.many = false, what = "several choices of one request";
    else if (r->offers.seeds && says(text, n, "seed"))
        r->offers.seeds = false, what = "seeds";
    if (!r->offers.top) r->info.can &= ~(unsigned)ENGINE_PLACES;
    if (!r->offers.form) r->info.can &= ~(unsigned)ENGINE_GRAMMAR;
    if (what) log_info("%s refuses %s", r->at, what);
    return what != NULL;
}

/* Nothing is named: all that is not in every server's language is left out. */
static bool without_all(remote *r) {
    bool some = r->offers.top || r->offers.form || r->offers.many || r->offers.seeds;
    r->offers.top = 0;
    r->offers.form = FORM_NONE;
    r->offers.many = r->offers.seeds = false;
    return some;
}

static bool follows(const answer_choice *c) {
    return c->n >= 3 && memcmp(c->text, "zq", 2) == 0 && c->text[2] >= '0' && c->text[2] <= '9';
}

/* *held: the grammar was kept to. */
static pgr_status take_probe(remote *r, const net_job *job, bool *held, pgr_error *err) {
    arena a = {0};
    json_t *root = NULL;
    answer got;
    const char *at = net_address(r->net, job->at);
    pgr_status s = answer_read(job->reply.data, job->reply.n, at, 2, PROBE_TOKENS, &a, &root, &got, err);
    if (s == PGR_OK) {
        size_t least = r->offers.top;
        for (size_t i = 0; i < got.n_choice; i++) {
            const answer_choice *c = &got.choices[i];
            *held = *held && follows(c);
            for (size_t k = 0; k < c->n_token; k++)
                if (c->tokens[k].n_top < least) least = c->tokens[k].n_top;
            if (c->n_token == 0) least = 0;
        }
        r->offers.many = r->offers.many && got.n_choice == 2;
        r->offers.top = least;
        if (got.counted) r->spent += got.prompt_tokens + got.completion_tokens;
    }
    json_decref(root);
    arena_free(&a);
    return s;
}

static pgr_status probe(remote *r, grammar_form form, bool *held, pgr_error *err) {
    static const infer_message HELLO = {"user", "Say hello.", 10};
    size_t samples[2] = {0, 1};
    task t = {.r = {.messages = &HELLO, .n_message = 1, .sampling = {1, 0, 1, 0}, .max_tokens = PROBE_TOKENS}};
    t.r.want_places = true;
    t.spoken = (buf){.data = (char *)(uintptr_t)PROBE_GRAMMAR, .n = sizeof PROBE_GRAMMAR - 1};
    ask a = {.samples = samples, .n = r->offers.many ? 2 : 1};
    r->offers.form = form;
    for (int i = 0; i < PROBES; i++) {
        net_job job = {0};
        buf body = {0};
        json_t *root = NULL;
        pgr_error why = {0};
        a.n = r->offers.many ? 2 : 1;
        pgr_status s = remote_body(r, &t, &a, &body, &why);
        if (s == PGR_OK) {
            job = (net_job){
                .path = "/chat/completions", .body = body.data, .n_body = body.n, .final_words = REMOTE_FEATURES};
            s = net_run(r->net, &job, r->o.watch.cancel, &why);
        }
        bool refused = s == PGR_E_IO && (job.status == 400 || job.status == 422 || job.status >= 500);
        bool less = refused && (remote_without(r, job.reply.data, job.reply.n) || without_all(r));
        if (s == PGR_OK) {
            *held = r->offers.form == form && form != FORM_NONE;
            s = take_probe(r, &job, held, &why);
        }
        json_decref(root);
        net_drop(r->net, &job);
        buf_free(&body);
        if (less) continue;
        if (s != PGR_OK && err) *err = why;
        return s;
    }
    return fail(err, PGR_E_IO, "%s: refuses %d probes", r->at, PROBES);
}

/* The first form of a grammar that the server keeps to. */
static pgr_status find_form(remote *r, pgr_error *err) {
    static const grammar_form FORMS[][4] = {
        [SERVER_PLAIN] = {FORM_GRAMMAR, FORM_STRUCTURED, FORM_EBNF},
        [SERVER_VLLM] = {FORM_STRUCTURED, FORM_GUIDED},
        [SERVER_SGLANG] = {FORM_EBNF},
        [SERVER_LLAMA] = {FORM_GRAMMAR},
        [SERVER_LLAMA_PY] = {FORM_GRAMMAR},
        [SERVER_PGENRM] = {FORM_STRUCTURED},
    };
    for (const grammar_form *f = FORMS[r->kind]; *f; f++) {
        bool held = false;
        PGR_TRY(probe(r, *f, &held, err));
        r->offers.form = held ? *f : FORM_NONE;
        if (held) return PGR_OK;
    }
    return PGR_OK;
}

/* ---- all of it ---- */

static void take_files(remote *r) {
    const config *c = &r->files.config;
    if (!r->has_files) return;
    if (!r->info.n_ctx) r->info.n_ctx = c->n_ctx;
    r->info.n_vocab = c->n_vocab;
    r->info.n_parameter = config_parameters(c);
}

static pgr_status settle_context(remote *r, pgr_error *err) {
    if (r->o.context && r->info.n_ctx && r->o.context > r->info.n_ctx)
        return fail(err, PGR_E_LIMIT, "%s: a context of %zu tokens is asked for, the server's is %zu", r->at,
                    r->o.context, r->info.n_ctx);
    if (r->o.context) r->info.n_ctx = r->o.context;
    if (r->info.n_ctx) return PGR_OK;
    r->info.n_ctx = CONTEXT_UNKNOWN;
    log_warn("%s: the context is not known, %d tokens are assumed", r->at, CONTEXT_UNKNOWN);
    return PGR_OK;
}

pgr_status remote_look(remote *r, pgr_error *err) {
    double start = clock_now();
    r->offers.many = r->offers.seeds = true;
    r->offers.top = TOP_ASKED;
    PGR_TRY(find_models(r, err));
    if (!r->info.n_ctx && r->kind == SERVER_LLAMA) ask_props(r);
    take_files(r);
    PGR_TRY(settle_context(r, err));
    PGR_TRY(remote_find_tokens(r, err));
    PGR_TRY(find_form(r, err));
    PGR_TRY(remote_find_slots(r, err));
    buf name = {0};
    buf_printf(&name, "%s at %s", r->model, r->at);
    r->name = buf_take(&name);
    if (!r->name) return fail_mem(err);
    r->info.name = r->name;
    r->info.id = r->model;
    r->info.dtype = PGR_DTYPE_AUTO;
    r->info.n_at_once = (r->offers.many ? 8 : 2) * r->o.jobs;
    r->info.can = ENGINE_CHAT | (r->offers.form ? ENGINE_GRAMMAR : 0) | (r->offers.top ? ENGINE_PLACES : 0)
                  | (r->slot_form ? ENGINE_SLOTS : 0);
    r->info.no_slots = r->no_slots;
    r->info.load_s = clock_now() - start;
    log_info("%s: %zu address%s, context %zu; choices of one request %s, grammars %s, log-probabilities %zu, slots %s, "
             "tokens %s",
             r->name, net_count(r->net), net_count(r->net) > 1 ? "es" : "", r->info.n_ctx,
             r->offers.many ? "yes" : "no", r->offers.form ? "yes" : "no", r->offers.top,
             r->no_slots ? r->no_slots : "yes",
             r->tokens == TOKENS_LOCAL    ? "from the files"
             : r->tokens == TOKENS_SERVER ? "by the server"
                                          : "estimated");
    return PGR_OK;
}
