/* remote_queue.c - the tasks of a remote engine: submitted, asked for as the budget allows, ended by their answers,
 * their deadline or their cancel flag, taken. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "infer/remote.h"
#include "infer/sampler.h"

/* ---- lists ---- */

static void link_behind(task_list *list, task *t, task *before) {
    t->before = before;
    t->after = before ? before->after : list->first;
    *(t->after ? &t->after->before : &list->last) = t;
    *(before ? &before->after : &list->first) = t;
}

static void unlink_task(task_list *list, task *t) {
    *(t->before ? &t->before->after : &list->first) = t->after;
    *(t->after ? &t->after->before : &list->last) = t->before;
    t->before = t->after = NULL;
}

static task *find(const task_list *list, infer_ticket ticket) {
    for (task *t = list->first; t; t = t->after)
        if (t->ticket == ticket) return t;
    return NULL;
}

/* ---- asks ---- */

pgr_status remote_add_ask(task *t, const size_t *samples, size_t n, pgr_error *err) {
    ask *a = mem_zero(1, sizeof *a);
    if (a) a->samples = mem_array(n, sizeof *a->samples);
    if (!a || !a->samples) {
        mem_free(a);
        return fail_mem(err);
    }
    memcpy(a->samples, samples, n * sizeof *samples);
    a->n = n;
    a->task = t;
    a->after = t->asks;
    if (t->asks) t->asks->before = a;
    t->asks = a;
    return PGR_OK;
}

static void end_ask(remote *r, ask *a) {
    net_drop(r->net, &a->net);
    r->reserved -= a->sent ? a->reserved : 0;
    *(a->before ? &a->before->after : &a->task->asks) = a->after;
    if (a->after) a->after->before = a->before;
    buf_free(&a->body);
    mem_free(a->samples);
    mem_free(a);
}

static pgr_status send(remote *r, ask *a, pgr_error *err) {
    task *t = a->task;
    buf_clear(&a->body);
    PGR_TRY(remote_body(r, t, a, &a->body, err));
    a->net.path = t->r.messages && !t->slots.t.n_slot ? "/chat/completions" : "/completions";
    a->net.body = a->body.data;
    a->net.n_body = a->body.n;
    a->net.final_words = REMOTE_FEATURES;
    a->net.tag = a;
    a->net.deadline = t->r.deadline_s > 0 ? t->start + t->r.deadline_s : 0;
    if (!a->sent) {
        r->reserved += a->reserved;
        r->load.n_waiting -= a->n;
        r->load.n_running += a->n;
    }
    a->sent = true;
    a->with = r->offers;
    net_submit(r->net, &a->net);
    return PGR_OK;
}

/* ---- in ---- */

static pgr_status copy_text(task *t, const char **text, size_t n, pgr_error *err) {
    if (*text && !(*text = arena_strndup(&t->arena, *text, n))) return fail_mem(err);
    return PGR_OK;
}

static pgr_status copy_request(task *t, const infer_request *r, pgr_error *err) {
    t->r = *r;
    t->r.grammar = t->r.grammar_name = NULL;
    t->r.adapters = NULL;
    if (r->trigger) PGR_TRY(copy_text(t, &t->r.trigger, strlen(r->trigger), err));
    infer_message *messages = arena_array(&t->arena, r->n_message + 1, sizeof *messages);
    const char **stop = arena_array(&t->arena, r->n_stop + 1, sizeof *stop);
    if (!messages || !stop) return fail_mem(err);
    for (size_t i = 0; i < r->n_message; i++) {
        messages[i] = r->messages[i];
        PGR_TRY(copy_text(t, &messages[i].role, strlen(messages[i].role), err));
        PGR_TRY(copy_text(t, &messages[i].text, messages[i].n, err));
    }
    for (size_t i = 0; i < r->n_stop; i++) {
        stop[i] = r->stop[i];
        PGR_TRY(copy_text(t, &stop[i], strlen(stop[i]), err));
    }
    if (r->messages) t->r.messages = messages;
    PGR_TRY(copy_text(t, &t->r.text, r->n_text, err));
    t->r.stop = stop;
    return PGR_OK;
}

static pgr_status check(const remote *r, const infer_request *q, pgr_error *err) {
    const char *what = NULL;
    if (q->n_slot && r->slot_form == SLOTS_NONE)
        what = r->no_slots;
    else if (!q->n_slot && !q->messages && (!q->text || q->text_flags != (PGR_TOKENS_BOS | PGR_TOKENS_SPECIAL)))
        what = "prompts are sent to servers as messages, or as texts that they read in their own way";
    else if (q->adapters && q->adapters->n)
        what = "adapters are loaded by the server, under a model's name of their own";
    if (what) return fail(err, PGR_E_UNSUPPORTED, "%s: %s", r->at, what);
    if (q->n_slot) return PGR_OK;
    PGR_TRY(sampler_check(&q->sampling, err));
    if (q->n_sample == 0 || q->max_tokens == 0)
        return fail(err, PGR_E_ARG, "n_sample is %zu and max_tokens %zu, expected at least 1", q->n_sample,
                    q->max_tokens);
    for (size_t i = 0; i < q->n_stop; i++)
        if (!q->stop[i][0]) return fail(err, PGR_E_ARG, "stop text %zu is empty", i + 1);
    return PGR_OK;
}

/* One token is written behind each of a plan's prompts. */
static pgr_status check_slots(const remote *r, task *t, pgr_error *err) {
    size_t n = t->slots.t.tokens.n, deepest = 0;
    for (size_t i = 0; i < t->slots.n_point; i++)
        if (t->slots.points[i].depth > deepest) deepest = t->slots.points[i].depth;
    t->n_prompt = slot_plan_tokens(&t->slots);
    t->r.max_tokens = t->slots.n_point;
    if (n + deepest < r->info.n_ctx) return PGR_OK;
    return fail(err, PGR_E_LIMIT, "a prompt of %zu tokens and %zu of its choices fill the context of %zu of %s", n,
                deepest, r->info.n_ctx, r->name);
}

/* What is too long for the context is found out here only where tokens are counted as the server does. */
static pgr_status check_length(remote *r, task *t, pgr_error *err) {
    size_t n_ctx = r->info.n_ctx;
    if (t->slots.t.n_slot) return check_slots(r, t, err);
    if (t->r.messages)
        PGR_TRY(remote_count_messages(&r->base, t->r.messages, t->r.n_message, &t->n_prompt, err));
    else
        PGR_TRY(remote_count(&r->base, t->r.text, t->r.n_text, &t->n_prompt, err));
    if (t->n_prompt + t->r.max_tokens <= n_ctx) return PGR_OK;
    if (t->r.shorten && t->n_prompt < n_ctx) {
        t->r.max_tokens = n_ctx - t->n_prompt;
        return PGR_OK;
    }
    if (r->tokens == TOKENS_ESTIMATED) return PGR_OK;
    return fail(err, PGR_E_LIMIT, "a prompt of %zu tokens and %zu new ones exceed the context of %zu of %s",
                t->n_prompt, t->r.max_tokens, n_ctx, r->name);
}

static pgr_status take_grammar(remote *r, task *t, const infer_request *q, pgr_error *err) {
    const char *name = q->grammar_name ? q->grammar_name : "grammar";
    if (!q->grammar) return PGR_OK;
    PGR_TRY(grammars_take(&r->grammars, q->grammar, q->n_grammar, name, &t->grammar, err));
    if (grammar_names_tokens(t->grammar))
        return fail(err, PGR_E_UNSUPPORTED, "%s: names tokens of the vocabulary, which servers do not take", name);
    if (grammar_has_holes(t->grammar) && !q->fill)
        return fail(err, PGR_E_ARG, "%s: holes (@name) are for frames, expected a grammar without them", name);
    if (q->trigger && !*q->trigger) return fail(err, PGR_E_ARG, "the text that the grammar starts after is empty");
    return remote_grammar_speak(q->grammar, q->n_grammar, q->trigger, &t->spoken, err);
}

/* One ask for all samples, or one for each: where a server gives one at a time, and where a deadline may come before
 * the last of them, unless the server then gives what it has. */
static pgr_status make_asks(remote *r, task *t, pgr_error *err) {
    bool whole = t->slots.t.n_slot || !(t->r.deadline_s > 0) || r->kind == SERVER_PGENRM;
    size_t n = t->n, each = r->offers.many && whole ? n : 1;
    size_t *samples = arena_array(&t->arena, n, sizeof *samples);
    if (!samples) return fail_mem(err);
    for (size_t i = 0; i < n; i++) samples[i] = i;
    for (size_t last = n; last > 0;) { /* asks are put before each other */
        size_t k = last < each ? last : each;
        last -= k;
        PGR_TRY(remote_add_ask(t, samples + last, k, err));
    }
    return PGR_OK;
}

static pgr_status make_chains(task *t, pgr_error *err) {
    size_t n = t->r.n_sample;
    t->has = mem_zero(t->n, sizeof *t->has);
    if (!t->has) return fail_mem(err);
    if (t->slots.t.n_slot) return PGR_OK;
    t->result->chains = mem_zero(n, sizeof *t->result->chains);
    if (t->r.stream) t->told = mem_zero(n, sizeof *t->told);
    if (!t->result->chains || (t->r.stream && !t->told)) return fail_mem(err);
    t->result->n_chain = n;
    for (size_t i = 0; i < n; i++) /* until it has ended in another way */
        t->result->chains[i] = (infer_chain){.sample = i, .end = -1, .finish = PGR_FINISH_DEADLINE};
    return PGR_OK;
}

/* The prompt up to its slots, as tokens; what was asked in their place is not needed any more. */
static pgr_status take_slots(remote *r, task *t, const infer_request *q, pgr_error *err) {
    slot_texts x = {&r->files.chat, r->files.tok};
    t->n = q->n_slot ? 1 : q->n_sample;
    t->r.slots = NULL;
    t->r.n_slot = 0;
    if (q->n_slot == 0) return PGR_OK;
    PGR_TRY(slot_tokens_fill(&x, q, &t->slots.t, err));
    return slot_plan_make(&t->slots, r->at, &t->arena, err);
}

static void task_free(remote *r, task *t) {
    if (!t) return;
    while (t->asks) end_ask(r, t->asks);
    grammar_unref(t->grammar);
    infer_slot_tokens_free(&t->slots.t);
    infer_result_free(t->result);
    buf_free(&t->spoken);
    mem_free(t->has);
    mem_free(t->told);
    arena_free(&t->arena);
    mem_free(t);
}

static pgr_status fill(remote *r, task *t, const infer_request *q, pgr_error *err) {
    PGR_TRY(check(r, q, err));
    PGR_TRY(copy_request(t, q, err));
    PGR_TRY(take_slots(r, t, q, err));
    PGR_TRY(check_length(r, t, err));
    PGR_TRY(take_grammar(r, t, q, err));
    PGR_TRY(make_chains(t, err));
    return make_asks(r, t, err);
}

pgr_status remote_submit(pgr_engine *e, const infer_request *request, infer_ticket *out, pgr_error *err) {
    remote *r = (remote *)e;
    task *t = mem_zero(1, sizeof *t);
    if (t) t->result = mem_zero(1, sizeof *t->result);
    pgr_status s = t && t->result ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) t->start = clock_now();
    if (s == PGR_OK) s = fill(r, t, request, err);
    if (s != PGR_OK) {
        task_free(r, t);
        return s;
    }
    task *before = r->queue.last;
    while (before && before->r.priority < t->r.priority) before = before->before;
    link_behind(&r->queue, t, before);
    t->ticket = ++r->last_ticket;
    r->load.n_request++;
    r->load.n_waiting += t->n;
    r->load.n_to_read += t->n_prompt;
    r->load.n_to_write += t->n * t->r.max_tokens;
    *out = t->ticket;
    return PGR_OK;
}

/* ---- the end ---- */

/* Nothing of it is asked for any more, and it is in no list. */
static void stop(remote *r, task *t) {
    for (ask *a = t->asks; a; a = a->after) {
        size_t open = 0;
        for (size_t i = 0; i < a->n; i++) open += !t->has[a->samples[i]];
        *(a->sent ? &r->load.n_running : &r->load.n_waiting) -= open;
    }
    while (t->asks) end_ask(r, t->asks);
    unlink_task(&r->queue, t);
    r->load.n_request--;
}

static void free_chains(infer_result *r) {
    for (size_t i = 0; i < r->n_chain; i++) chain_free(&r->chains[i]);
    mem_free(r->chains);
    r->chains = NULL;
    r->n_chain = 0;
}

/* A request of which no chain came at all has failed; else those that failed say so themselves. */
static void end_task(remote *r, task *t, const pgr_error *why) {
    bool some = t->slots.t.n_slot && t->why.status == PGR_OK; /* read, or late */
    for (size_t i = 0; i < t->result->n_chain; i++) some |= t->result->chains[i].finish != PGR_FINISH_FAILED;
    stop(r, t);
    if (!why && !some && t->why.status != PGR_OK) why = &t->why;
    if (why) {
        t->result->error = *why;
        if (why->status != PGR_E_MEM && why->status != PGR_E_CANCELLED) t->result->error.status = PGR_E_REMOTE;
        free_chains(t->result);
    }
    t->result->usage.total_s = clock_now() - t->start;
    link_behind(&r->ended, t, r->ended.last);
}

void remote_cancel(pgr_engine *e, infer_ticket ticket) {
    remote *r = (remote *)e;
    task *t = find(&r->queue, ticket);
    if (t) {
        stop(r, t);
    } else {
        t = find(&r->ended, ticket);
        if (t) unlink_task(&r->ended, t);
    }
    task_free(r, t);
}

void remote_clear(remote *r) {
    while (r->queue.first) remote_cancel(&r->base, r->queue.first->ticket);
    while (r->ended.first) remote_cancel(&r->base, r->ended.first->ticket);
}

/* ---- a step ---- */

/* The samples of an ask that had no use: they have failed. */
static void lose(remote *r, ask *a, const pgr_error *why) {
    task *t = a->task;
    size_t open = 0;
    for (size_t i = 0; i < a->n; i++) open += !t->has[a->samples[i]];
    *(a->sent ? &r->load.n_running : &r->load.n_waiting) -= open;
    remote_fail_samples(t, a, why);
    end_ask(r, a);
}

/* The deadline ends it with the chains as they are. Those whose servers had failed by then have failed; an own one that
 * had nothing at its deadline was only slow. */
static void end_late(remote *r, task *t) {
    for (ask *a = t->asks, *after; a; a = after) {
        after = a->after;
        bool slow = r->kind == SERVER_PGENRM && a->net.status == 504;
        if (a->net.n_bad + a->net.n_busy == 0 || slow) continue;
        pgr_error why = a->net.error;
        lose(r, a, &why);
    }
    end_task(r, t, NULL);
}

/* Flags and deadlines. */
static void look_at_all(remote *r) {
    double now = clock_now();
    for (task *t = r->queue.first, *after; t; t = after) {
        after = t->after;
        pgr_error why;
        if (t->r.cancel && *t->r.cancel) {
            fail(&why, PGR_E_CANCELLED, "%s", pgr_status_text(PGR_E_CANCELLED));
            end_task(r, t, &why);
        } else if (t->r.deadline_s > 0 && now - t->start >= t->r.deadline_s) {
            end_late(r, t);
        }
    }
}

/* Room in the budget: what is asked may need all that it may write. */
static bool affordable(const remote *r, const ask *a) {
    return !r->o.max_tokens || r->spent + r->reserved + a->reserved <= r->o.max_tokens;
}

static void send_some(remote *r) {
    for (task *t = r->queue.first; t; t = t->after)
        for (ask *a = t->asks, *after; a; a = after) {
            pgr_error why = {0};
            after = a->after;
            if (a->sent) continue;
            a->reserved = t->n_prompt + a->n * t->r.max_tokens;
            if (affordable(r, a)) {
                if (send(r, a, &why) != PGR_OK) lose(r, a, &why);
            } else if (r->reserved == 0) { /* nothing will be given back */
                fail(&why, PGR_E_LIMIT, "%s: a budget of %zu tokens, %zu are used, a request may need %zu more", r->at,
                     r->o.max_tokens, (size_t)r->spent, (size_t)a->reserved);
                lose(r, a, &why);
            } else {
                return;
            }
        }
}

static bool same_offers(const offers *a, const offers *b) {
    return a->form == b->form && a->many == b->many && a->seeds == b->seeds && a->top == b->top;
}

/* Again, without what was refused: in one request, or where that is no longer taken in one for each sample. */
static pgr_status send_again(remote *r, ask *a, pgr_error *err) {
    if (a->n == 1 || r->offers.many) return send(r, a, err);
    for (size_t i = 0; i < a->n; i++) PGR_TRY(remote_add_ask(a->task, &a->samples[i], 1, err));
    r->load.n_waiting += a->n;
    r->load.n_running -= a->n;
    end_ask(r, a);
    return PGR_OK;
}

/* Was it refused for something that can be left out? */
static bool asked_too_much(remote *r, const ask *a) {
    long status = a->net.status;
    if (a->task->slots.t.n_slot || a->net.error.status != PGR_E_IO || (status != 400 && status != 422 && status < 500))
        return false;
    return !same_offers(&a->with, &r->offers) || remote_without(r, a->net.reply.data, a->net.reply.n);
}

/* An ask has its answer, or none: what it did not bring is asked for again without what was refused. */
static void ask_ended(remote *r, ask *a) {
    pgr_error why = a->net.error;
    if (why.status == PGR_OK) {
        pgr_status s = remote_take_answer(r, a, &why);
        if (s == PGR_OK) {
            end_ask(r, a);
            return;
        }
        if (s == PGR_E_FORMAT && net_refuse(r->net, &a->net, why.message)) return;
    } else if (why.status == PGR_E_DEADLINE) {
        return; /* the task's own deadline, which ends it with the chains as they are */
    } else if (asked_too_much(r, a)) {
        if (send_again(r, a, &why) == PGR_OK) return;
    }
    log_warn("%s", why.message);
    lose(r, a, &why);
}

bool remote_step(pgr_engine *e) {
    remote *r = (remote *)e;
    pgr_error why = {0};
    look_at_all(r);
    send_some(r);
    if (!r->queue.first) return false;
    pgr_status s = net_step(r->net, STEP_WAIT, &why);
    for (net_job *j; (j = net_ended(r->net));) ask_ended(r, j->tag);
    for (task *t = r->queue.first, *after; t; t = after) {
        after = t->after;
        if (s != PGR_OK)
            end_task(r, t, &why);
        else if (!t->asks)
            end_task(r, t, NULL);
    }
    return r->queue.first != NULL;
}

/* ---- out ---- */

static bool owned(const task *t, const void *owner) {
    return !owner || t->r.owner == owner;
}

/* A chain comes whole: it is one piece. */
static bool take_piece(task *t, infer_event *out) {
    for (size_t i = 0; t->told && i < t->result->n_chain; i++) {
        const infer_chain *c = &t->result->chains[i];
        if (!t->has[i] || t->told[i]) continue;
        t->told[i] = 1;
        if (c->text.n == 0 && c->tokens.n == 0) continue;
        *out = (infer_event){.kind = INFER_PIECE,
                             .ticket = t->ticket,
                             .tag = t->r.tag,
                             .sample = i,
                             .text = c->text.data ? c->text.data : "",
                             .n_text = c->text.n,
                             .tokens = c->tokens.v,
                             .logprobs = c->logprobs,
                             .n_token = c->tokens.n};
        return true;
    }
    return false;
}

bool remote_take(pgr_engine *e, const void *owner, infer_event *out) {
    remote *r = (remote *)e;
    *out = (infer_event){0};
    for (task *t = r->ended.first; t; t = t->after) {
        if (!owned(t, owner)) continue;
        if (take_piece(t, out)) return true;
        *out = (infer_event){.kind = INFER_ENDED, .ticket = t->ticket, .tag = t->r.tag, .result = t->result};
        t->result = NULL;
        unlink_task(&r->ended, t);
        task_free(r, t);
        return true;
    }
    for (task *t = r->queue.first; t; t = t->after)
        if (owned(t, owner) && take_piece(t, out)) return true;
    return false;
}
