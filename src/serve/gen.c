/* gen.c - /v1/chat/completions and /v1/completions: a task that asks the engine for the chains of every prompt and
 * answers at the end, or as they come. */
#include "serve/gen.h"

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

static const double QUIET_S = 3; /* a stream that has sent nothing for so long sends a comment */

/* ---- streams ---- */

static void send_buf(gen *g, buf *out) {
    bool whole = !out->failed, sent = whole && (out->n == 0 || call_send(g->task.call, out->data, out->n));
    buf_free(out);
    g->sent = clock_now();
    if (sent) return;
    if (!whole) call_fail_error(g->task.call, &(pgr_error){.status = PGR_E_MEM});
    call_end(g->task.call); /* nobody reads it, or not fast enough */
    task_end(&g->task);
}

/* ---- the task ---- */

static pgr_status ask(gen *g, gen_prompt *p, pgr_error *err) {
    infer_request r = g->r;
    r.messages = p->messages;
    r.n_message = p->n_message;
    r.text = p->text;
    r.n_text = p->n_text;
    r.prompt = p->tokens;
    r.n_prompt = p->n_token;
    r.adapters = served_adapters(g->model);
    r.id = (uint32_t)(p - g->prompts);
    double left = call_deadline(g->task.call) - clock_now();
    if (!(left > 0)) return fail(err, PGR_E_DEADLINE, "the deadline passed before anything was written");
    r.deadline_s = left;
    return task_ask(&g->task, &r, &p->ticket, err);
}

/* Servers that keep to no grammar may write anything. */
static pgr_status check_grammar(const gen *g, pgr_error *err) {
    const engine_info *about = engine_about(worker_engine(g->task.worker));
    if (!g->r.grammar || (about->can & ENGINE_GRAMMAR)) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED, "%s: %s keeps to no grammar", g->r.grammar_name, about->name);
}

/* What the model thinks of the prompt's own tokens, where that is told. */
static pgr_status read_given(gen *g, gen_prompt *p, pgr_error *err) {
    size_t n = p->result->prompt.n;
    if (!g->echo || !g->logprobs) return PGR_OK;
    infer_options o = {.adapters = served_adapters(g->model), .n_top = g->r.n_top};
    p->logprobs = arena_array(&g->arena, n + 1, sizeof *p->logprobs);
    if (o.n_top > 0) o.tops = p->tops = arena_array(&g->arena, n * o.n_top + 1, sizeof *p->tops);
    if (!p->logprobs || (o.n_top > 0 && !p->tops)) return fail_mem(err);
    return infer_logprobs(worker_engine(g->task.worker), p->result->prompt.v, n, &o, p->logprobs, err);
}

static pgr_status read_tokens(gen *g, const gen_prompt *p, ids *out, pgr_error *err) {
    pgr_engine *e = worker_engine(g->task.worker);
    if (p->tokens)
        ids_append(out, p->tokens, p->n_token);
    else
        PGR_TRY(engine_tokens(e, p->text, p->n_text, g->r.text_flags, out, err));
    if (out->failed) return fail_mem(err);
    if (out->n == 0) return fail(err, PGR_E_FORMAT, "the prompt is empty, expected at least one token");
    const engine_info *about = engine_about(e);
    for (size_t i = 0; i < out->n; i++)
        if (out->v[i] < 0 || (about->n_vocab > 0 && (size_t)out->v[i] >= about->n_vocab))
            return fail(err, PGR_E_FORMAT, "token id %d is out of range, want 0 to %zu", (int)out->v[i],
                        about->n_vocab - 1);
    if (out->n <= about->n_ctx) return PGR_OK;
    return fail(err, PGR_E_LIMIT, "the prompt has %zu tokens, expected at most %zu", out->n, about->n_ctx);
}

/* max_tokens 0: empty chains behind the prompt. */
static pgr_status read_alone(gen *g, gen_prompt *p, pgr_error *err) {
    if (clock_now() > call_deadline(g->task.call))
        return fail(err, PGR_E_DEADLINE, "the deadline passed before every prompt was read");
    infer_result *r = p->result = mem_zero(1, sizeof *r);
    if (!r || !(r->chains = mem_zero(g->r.n_sample, sizeof *r->chains))) return fail_mem(err);
    r->n_chain = g->r.n_sample;
    for (size_t i = 0; i < r->n_chain; i++)
        r->chains[i] = (infer_chain){.sample = i, .finish = PGR_FINISH_LENGTH, .end = -1};
    PGR_TRY(read_tokens(g, p, &r->prompt, err));
    return read_given(g, p, err);
}

static void answer(gen *g);

/* As much as others may wait for: a prompt that is read alone, or some that are only asked for. */
static pgr_status ask_some(gen *g, pgr_error *err) {
    for (size_t n = 0; g->n_asked < g->n_prompt && n < TEXT_AT_ONCE;) {
        gen_prompt *p = &g->prompts[g->n_asked++];
        PGR_TRY(g->alone ? read_alone(g, p, err) : ask(g, p, err));
        n += g->alone ? TEXT_AT_ONCE : p->n_text + p->n_token;
    }
    if (g->n_asked < g->n_prompt)
        worker_wake(g->task.worker);
    else if (g->alone)
        answer(g);
    return PGR_OK;
}

/* What is told of the prompts before anything is written. */
static pgr_status read_prompts(gen *g, pgr_error *err) {
    pgr_engine *e = worker_engine(g->task.worker);
    for (gen_prompt *p = g->prompts; p < g->prompts + g->n_prompt; p++)
        PGR_TRY(p->messages ? engine_render(e, p->messages, p->n_message, true, &p->read, err)
                            : read_tokens(g, p, &p->read, err));
    return PGR_OK;
}

static pgr_status begin_stream(gen *g, pgr_error *err) {
    buf out = {0};
    if (g->ids) PGR_TRY(read_prompts(g, err));
    call_stream(g->task.call);
    gen_put_begin(g, &out);
    send_buf(g, &out);
    return PGR_OK;
}

static pgr_status begin(task *t, pgr_error *err) {
    gen *g = (gen *)t;
    PGR_TRY(check_grammar(g, err));
    PGR_TRY(ask_some(g, err));
    return g->stream ? begin_stream(g, err) : PGR_OK;
}

static gen_prompt *prompt_of(gen *g, infer_ticket ticket) {
    size_t i = 0;
    while (g->prompts[i].ticket != ticket) i++;
    return &g->prompts[i];
}

/* The deadline came before a single token. */
static bool is_empty(const gen *g) {
    for (size_t i = 0; i < g->n_prompt; i++)
        for (size_t k = 0; k < g->prompts[i].result->n_chain; k++) {
            const infer_chain *c = &g->prompts[i].result->chains[k];
            if (c->finish != PGR_FINISH_DEADLINE || c->tokens.n > 0) return false;
        }
    return true;
}

static void note_tokens(const gen *g) {
    size_t n_read = 0, n_written = 0;
    for (size_t i = 0; i < g->n_prompt; i++) {
        const infer_result *r = g->prompts[i].result;
        n_read += r->prompt.n;
        for (size_t k = 0; k < r->n_chain; k++) n_written += r->chains[k].tokens.n;
    }
    call_note_tokens(g->task.call, n_read, n_written);
}

static void answer(gen *g) {
    buf out = {0};
    note_tokens(g);
    if (g->stream) {
        gen_put_last(g, &out);
        send_buf(g, &out);
        call_end(g->task.call);
    } else if (is_empty(g)) {
        call_fail(g->task.call, 504, "server_error", NULL, "deadline",
                  "the deadline passed before anything was written");
    } else {
        gen_put(g, &out);
        call_reply(g->task.call, 200, &out);
    }
    task_end(&g->task);
}

/* A chain that was not written is no choice: who asked for n has n, or is told. Nor is one that a server wrote that had
 * meanwhile stopped keeping to grammars. */
static void check_chains(const gen *g, infer_result *r) {
    pgr_error why;
    if (check_grammar(g, &why) != PGR_OK) r->error = why;
    for (size_t i = 0; i < r->n_chain; i++)
        if (r->chains[i].finish == PGR_FINISH_FAILED)
            fail(&r->error, PGR_E_REMOTE, "choice %zu: %s", i, r->chains[i].why ? r->chains[i].why : "it failed");
}

static void take_end(gen *g, gen_prompt *p, infer_result *result) {
    pgr_error err = result->error;
    p->ticket = 0;
    p->result = result;
    if (err.status == PGR_OK) {
        check_chains(g, result);
        err = result->error;
    }
    if (err.status != PGR_OK || read_given(g, p, &err) != PGR_OK) {
        call_fail_error(g->task.call, &err);
        task_end(&g->task);
        return;
    }
    size_t first = (size_t)(p - g->prompts) * g->r.n_sample;
    buf out = {0};
    for (size_t i = 0; g->stream && i < result->n_chain; i++) gen_put_end(g, first + i, &result->chains[i], &out);
    if (g->stream) send_buf(g, &out);
    if (++g->n_ended == g->n_prompt && !g->task.ended) answer(g);
}

static void take(task *t, infer_event *e) {
    gen *g = (gen *)t;
    gen_prompt *p = prompt_of(g, e->ticket);
    if (e->kind == INFER_ENDED) {
        take_end(g, p, e->result);
        return;
    }
    buf out = {0};
    gen_put_piece(g, (size_t)(p - g->prompts) * g->r.n_sample + e->sample, e, &out);
    send_buf(g, &out);
}

static void go_on(task *t, double now) {
    gen *g = (gen *)t;
    pgr_error err = {0};
    if (g->n_asked < g->n_prompt && ask_some(g, &err) != PGR_OK) {
        call_fail_error(t->call, &err);
        task_end(t);
    }
    if (t->ended || !g->stream || now - g->sent < QUIET_S) return;
    buf out = {0};
    buf_puts(&out, ": waiting\n\n");
    send_buf(g, &out);
}

static void free_gen(task *t) {
    gen *g = (gen *)t;
    for (size_t i = 0; i < g->n_prompt; i++) {
        ids_free(&g->prompts[i].read);
        infer_result_free(g->prompts[i].result);
    }
    served_drop(g->model);
    arena_free(&g->arena);
    mem_free(g);
}

static const task_kind GEN = {.name = "generation", .begin = begin, .event = take, .tick = go_on, .free = free_gen};

/* ---- the routes ---- */

static uint64_t next_number(void) {
    static _Atomic uint64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

static void generate(call *c, bool chat) {
    const json_t *body = call_json(c);
    if (!body) return;
    gen *g = mem_zero(1, sizeof *g);
    if (!g) {
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
        return;
    }
    uint64_t number = next_number();
    g->task.kind = &GEN;
    g->chat = chat;
    g->created = (int64_t)time(NULL);
    g->r.seed = (uint64_t)g->created * 1000003 + number; /* unless the request has one */
    snprintf(g->id, sizeof g->id, "%s-%llx-%llx", chat ? "chatcmpl" : "cmpl", (unsigned long long)g->created,
             (unsigned long long)number);
    if (gen_read(g, c, body))
        call_submit(c, &g->task);
    else
        free_gen(&g->task);
}

static void complete_chat(call *c) {
    generate(c, true);
}

static void complete_text(call *c) {
    generate(c, false);
}

static const route ROUTES[] = {{"POST", "/v1/chat/completions", complete_chat, .flags = 0},
                               {"POST", "/v1/completions", complete_text, .flags = 0}};

pgr_status routes_gen_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
