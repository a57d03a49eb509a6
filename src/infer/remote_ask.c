/* remote_ask.c - a task's HTTP requests: what is posted, and how an answer becomes chains. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "infer/remote.h"

enum { TOKENS_AROUND = 1 << 16 }; /* of a chat template, with instructions of the server's own, at most */

/* ---- what is posted ---- */

static void put_text(buf *b, const char *key, const char *text, size_t n) {
    buf_printf(b, ",\"%s\":", key);
    json_put_string(b, text, n);
}

static void put_prompt(const task *t, buf *b) {
    if (!t->r.messages) {
        put_text(b, "prompt", t->r.text, t->r.n_text);
        return;
    }
    buf_puts(b, ",\"messages\":[");
    for (size_t i = 0; i < t->r.n_message; i++) {
        const infer_message *m = &t->r.messages[i];
        buf_puts(b, i ? ",{\"role\":" : "{\"role\":");
        json_put_string(b, m->role, strlen(m->role));
        put_text(b, "content", m->text ? m->text : "", m->n);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
}

static void put_grammar(const remote *r, const task *t, buf *b) {
    const buf *g = &t->spoken;
    if (g->n == 0) return;
    switch (r->offers.form) {
    case FORM_NONE:
        return;
    case FORM_GRAMMAR:
        put_text(b, "grammar", g->data, g->n);
        return;
    case FORM_GUIDED:
        put_text(b, "guided_grammar", g->data, g->n);
        return;
    case FORM_EBNF:
        put_text(b, "ebnf", g->data, g->n);
        return;
    case FORM_STRUCTURED:
        buf_puts(b, ",\"structured_outputs\":{\"grammar\":");
        json_put_string(b, g->data, g->n);
        buf_putc(b, '}');
    }
}

/* Of a server that cuts or punishes by itself unless it is told not to: how it is told. llama.cpp's have such defaults
 * of their own; vLLM and SGLang take them from the model's generation_config.json. */
typedef struct dialect {
    const char *no_penalty; /* members, always said */
    int top_k_off;
} dialect;

static const dialect *dialect_of(const remote *r) {
    static const dialect LLAMA = {",\"repeat_penalty\":1", 0};
    static const dialect VLLM = {",\"repetition_penalty\":1,\"presence_penalty\":0,\"frequency_penalty\":0", -1};
    switch (r->kind) {
    case SERVER_LLAMA:
    case SERVER_LLAMA_PY:
        return &LLAMA;
    case SERVER_VLLM:
    case SERVER_SGLANG:
        return &VLLM;
    default:
        return NULL;
    }
}

void remote_put_sampling(const remote *r, const pgr_sampling *s, buf *b) {
    const dialect *d = dialect_of(r); /* what only some servers take is said to others only where it is not the usual */
    buf_printf(b, ",\"temperature\":%.9g,\"top_p\":%.9g", (double)s->temperature, (double)s->top_p);
    if (s->top_k > 0 || d) buf_printf(b, ",\"top_k\":%d", s->top_k > 0 ? s->top_k : d->top_k_off);
    if (s->min_p > 0 || d) buf_printf(b, ",\"min_p\":%.9g", (double)s->min_p);
    if (d) buf_puts(b, d->no_penalty);
}

/* A sample's own, in the 31 bits that all servers take. */
static uint32_t seed_of(const task *t, const ask *a) {
    uint64_t h = hash_value(hash_value(HASH_BEGIN, t->r.seed), t->r.id);
    h = hash_value(h, t->r.first_sample + a->samples[0]);
    return (uint32_t)((h ^ h >> 31) & 0x7FFFFFFF);
}

/* A server of our own is told how much time there is, with some to spare for its answer to come back: then what it has
 * by then is the answer. */
static double seconds_for(const remote *r, const task *t) {
    static const double WHOLE = 86400, SPARE = 0.25;
    if (!(t->r.deadline_s > 0)) return r->o.timeout_s > 0 ? r->o.timeout_s : WHOLE;
    double left = t->start + t->r.deadline_s - clock_now(), spare = fmin(SPARE, left / 10);
    return fmax(left - spare, 0.001);
}

pgr_status remote_body(const remote *r, const task *t, const ask *a, buf *b, pgr_error *err) {
    remote_begin_body(r, b);
    if (t->slots.t.n_slot) {
        remote_slots_put(r, &t->slots, b);
        if (r->kind == SERVER_PGENRM) buf_printf(b, ",\"deadline_s\":%.3f", seconds_for(r, t));
        buf_putc(b, '}');
        return b->failed ? fail_mem(err) : PGR_OK;
    }
    put_prompt(t, b);
    if (a->n > 1) buf_printf(b, ",\"n\":%zu", a->n);
    buf_printf(b, ",\"max_tokens\":%zu", t->r.max_tokens);
    remote_put_sampling(r, &t->r.sampling, b);
    if (t->r.ignore_eos) buf_puts(b, ",\"ignore_eos\":true");
    if (r->offers.seeds) buf_printf(b, ",\"seed\":%u", seed_of(t, a));
    for (size_t i = 0; i < t->r.n_stop; i++) {
        buf_puts(b, i ? "," : ",\"stop\":[");
        json_put_string(b, t->r.stop[i], strlen(t->r.stop[i]));
    }
    if (t->r.n_stop) buf_putc(b, ']');
    if (r->kind == SERVER_PGENRM) buf_printf(b, ",\"deadline_s\":%.3f", seconds_for(r, t));
    if (r->offers.top && t->r.want_places && t->r.messages)
        buf_printf(b, ",\"logprobs\":true,\"top_logprobs\":%zu", r->offers.top);
    put_grammar(r, t, b);
    buf_putc(b, '}');
    return b->failed ? fail_mem(err) : PGR_OK;
}

/* ---- an answer becomes chains ---- */

/* n tokens, of which no more is known than their log-probabilities, where c has these. */
static pgr_status count_tokens(infer_chain *out, size_t n, const answer_choice *c, pgr_error *err) {
    ids_reserve(&out->tokens, n);
    for (size_t i = 0; i < n; i++) ids_push(&out->tokens, -1);
    out->logprobs = mem_array(n + 1, sizeof *out->logprobs);
    out->forced = mem_zero(n + 1, 1);
    out->cap_logprobs = n + 1;
    if (out->tokens.failed || !out->logprobs || !out->forced) return fail_mem(err);
    for (size_t i = 0; i < n; i++) out->logprobs[i] = c->n_token == n ? (float)c->tokens[i].logprob : NAN;
    return PGR_OK;
}

static pgr_status set_text(infer_chain *out, const char *text, size_t n, pgr_error *err) {
    buf_clear(&out->text);
    buf_add(&out->text, text, n);
    return out->text.failed ? fail_mem(err) : PGR_OK;
}

static pgr_status set_failed(infer_chain *out, const char *why, pgr_error *err) {
    out->finish = PGR_FINISH_FAILED;
    out->why = mem_strdup(why);
    return out->why ? PGR_OK : fail_mem(err);
}

static pgr_status take_places(task *t, const grammar_reading *read, const answer_choice *c, infer_chain *out,
                              pgr_error *err) {
    if (read->n_place == 0 || c->n_token == 0) return PGR_OK;
    out->places = mem_zero(read->n_place, sizeof *out->places);
    if (!out->places) return fail_mem(err);
    for (size_t i = 0; i < read->n_place; i++) {
        bool has = false;
        PGR_TRY(remote_place(t->grammar, &read->places[i], c, &out->places[out->n_place], &has, err));
        out->n_place += has;
    }
    return PGR_OK;
}

/* The chain behind its first `from` bytes is what the grammar says, or it fails where the server was held to it. What
 * stands in a server's text at a place of the grammar has its distribution. */
static pgr_status fit(task *t, const answer_choice *c, size_t from, bool held, arena *a, infer_chain *out,
                      pgr_error *err) {
    grammar_reading read;
    char why[160];
    const char *text = c->text + from;
    size_t n = c->n - from;
    pgr_status s = remote_grammar_read(t, text, n, !held, a, &read, err);
    bool good = read.fits && (read.whole || c->length);
    if (s == PGR_OK && good) {
        out->cut = !read.whole;
        out->text.n = from;
        buf_add(&out->text, read.text.data ? read.text.data : "", read.text.n);
        if (out->text.failed) s = fail_mem(err);
        for (size_t i = 0; i < read.n_place; i++) read.places[i].raw += from, read.places[i].at += from;
        if (s == PGR_OK) s = take_places(t, &read, c, out, err);
    } else if (s == PGR_OK && held) {
        if (read.fits)
            snprintf(why, sizeof why, "the text ends where the grammar goes on");
        else
            snprintf(why, sizeof why, "byte %zu of the text is 0x%02X, which the grammar does not allow",
                     from + read.bad + 1, (unsigned)(unsigned char)text[read.bad]);
        s = set_failed(out, why, err);
    }
    buf_free(&read.text);
    return s;
}

/* Servers leave stop texts out; one that does not is no matter. */
static size_t before_stop(const task *t, const char *text, size_t n) {
    for (size_t i = 0; i < t->r.n_stop; i++) {
        const char *hit = memmem(text, n, t->r.stop[i], strlen(t->r.stop[i]));
        if (hit) n = (size_t)(hit - text);
    }
    return n;
}

static pgr_status take_choice(task *t, answer_choice *c, size_t n_token, bool held, arena *a, infer_chain *out,
                              pgr_error *err) {
    size_t n = before_stop(t, c->text, c->n);
    if (n < c->n) c->n_token = 0;
    c->n = n;
    out->finish = c->length ? PGR_FINISH_LENGTH : PGR_FINISH_STOP;
    PGR_TRY(count_tokens(out, n_token, c, err));
    PGR_TRY(set_text(out, c->text, c->n, err));
    if (c->bad) return set_failed(out, c->bad, err);
    if (c->late) {
        out->finish = PGR_FINISH_DEADLINE;
        return PGR_OK;
    }
    if (!t->grammar) return PGR_OK;
    const char *begin = t->r.trigger && c->n ? memmem(c->text, c->n, t->r.trigger, strlen(t->r.trigger)) : NULL;
    if (t->r.trigger && !begin) { /* it has not come so far */
        out->cut = c->length;
        return PGR_OK;
    }
    return fit(t, c, begin ? (size_t)(begin - c->text) + strlen(t->r.trigger) : 0, held, a, out, err);
}

/* Tokens of a choice: its own log-probabilities tell, else those of the answer are dealt out by bytes, else they are
 * estimated. */
static size_t tokens_of(const answer *got, const answer_choice *c) {
    size_t before = 0, bytes = 0; /* of the choices before it, of all */
    if (c->n_token) return c->n_token;
    if (!got->counted) return remote_estimate(c->text, c->n);
    for (const answer_choice *k = got->choices; k < got->choices + got->n_choice; k++) {
        before += k < c ? k->n : 0;
        bytes += k->n;
    }
    return bytes ? got->completion_tokens * (before + c->n) / bytes - got->completion_tokens * before / bytes : 0;
}

static pgr_status take_all(remote *r, ask *a, const answer *got, bool held, arena *memory, pgr_error *err) {
    task *t = a->task;
    infer_result *out = t->result;
    double now = clock_now() - t->start;
    for (size_t i = 0; i < got->n_choice; i++) {
        answer_choice *c = &got->choices[i];
        size_t sample = a->samples[c->index], n_token = tokens_of(got, c);
        infer_chain made = {.sample = sample, .end = -1};
        pgr_status s = take_choice(t, c, n_token, held, memory, &made, err);
        if (s != PGR_OK) {
            chain_free(&made);
            return s;
        }
        if (made.why) log_info("%s: sample %zu: %s", net_address(r->net, a->net.at), sample + 1, made.why);
        out->chains[sample] = made;
        t->has[sample] = true;
        r->load.n_written += n_token;
        r->load.n_running--;
    }
    if (out->prompt.n == 0) {
        size_t n = got->counted ? got->prompt_tokens : t->n_prompt;
        for (size_t i = 0; i < n; i++) ids_push(&out->prompt, -1);
        if (out->prompt.failed) return fail_mem(err);
        out->usage = (infer_usage){.cached_tokens = got->cached_tokens, .prompt_s = now, .first_token_s = now};
        r->load.n_read += n;
    }
    out->usage.total_s = now;
    r->spent += got->counted ? got->prompt_tokens + got->completion_tokens : a->reserved;
    return PGR_OK;
}

/* Of the samples of an answer with fewer choices than were asked for, those that are left. */
static pgr_status ask_for_rest(remote *r, ask *a, size_t n_got, pgr_error *err) {
    task *t = a->task;
    size_t n = 0;
    if (n_got == a->n) return PGR_OK;
    if (r->offers.many) {
        log_info("%s: %zu choices of %zu that were asked for, the others are asked for one by one",
                 net_address(r->net, a->net.at), n_got, a->n);
        r->offers.many = false;
    }
    for (size_t i = 0; i < a->n; i++)
        if (!t->has[a->samples[i]]) a->samples[n++] = a->samples[i];
    for (size_t i = 0; i < n; i++) PGR_TRY(remote_add_ask(t, &a->samples[i], 1, err));
    r->load.n_waiting += n;
    r->load.n_running -= n;
    return PGR_OK;
}

/* A token has a byte at least, of the request or of what the server puts around it: more is no count. */
static void doubt(const ask *a, answer *got) {
    if (got->prompt_tokens <= a->body.n + TOKENS_AROUND) return;
    got->counted = false;
    got->prompt_tokens = got->completion_tokens = got->cached_tokens = 0;
}

pgr_status remote_take_answer(remote *r, ask *a, pgr_error *err) {
    if (a->task->slots.t.n_slot) return remote_take_readings(r, a, err);
    arena memory = {0};
    json_t *root = NULL;
    answer got;
    const task *t = a->task;
    bool held = r->offers.form != FORM_NONE && t->spoken.n > 0;
    pgr_status s = answer_read(a->net.reply.data, a->net.reply.n, net_address(r->net, a->net.at), a->n, t->r.max_tokens,
                               &memory, &root, &got, err);
    if (s == PGR_OK) doubt(a, &got);
    if (s == PGR_OK) s = take_all(r, a, &got, held, &memory, err);
    if (s == PGR_OK) s = ask_for_rest(r, a, got.n_choice, err);
    json_decref(root);
    arena_free(&memory);
    return s;
}

void remote_fail_samples(task *t, const ask *a, const pgr_error *why) {
    t->why = *why;
    for (size_t i = 0; i < a->n; i++) {
        if (t->has[a->samples[i]]) continue;
        t->has[a->samples[i]] = true;
        if (t->slots.t.n_slot) continue;
        infer_chain *c = &t->result->chains[a->samples[i]];
        c->finish = PGR_FINISH_FAILED;
        c->why = mem_strdup(why->message);
    }
}
