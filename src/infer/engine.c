/* engine.c - the batch: prompts computed once (as far as no earlier prompt began alike) and forked, chains decoded together,
 * one forward pass per step.
 *
 * A chain takes a slot, starts from its prompt's pages and its prompt's last logits, and leaves the slot when it is done; the
 * next chain of the call takes its place. What a chain becomes does not depend on who is beside it: the forward pass is
 * row-independent and random numbers are keyed by (seed, request, sample, position). */
#include "infer/engine.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/watch.h"
#include "infer/prefix.h"
#include "infer/writer.h"
#include "model/forward.h"

enum {
    MAX_SLOT = 64,       /* chains decoded together */
    MAX_WANT = 64,       /* rows of logits of one forward pass */
    DEFAULT_BATCH = 256, /* rows of one forward pass: GEMMs are near their peak from there on */
};
static const size_t DEFAULT_CACHE = (size_t)512 << 20; /* bytes: 22,000 tokens of the default model in bf16 */

typedef struct kept_grammar {
    char *text; /* (n) */
    size_t n;
    grammar *g;
} kept_grammar;

typedef struct prompt_state {
    kv_seq seq;
    float *logits; /* (n_vocab) of the last token */
    bool ready;
    size_t n_left; /* samples not yet started */
    size_t n_open; /* samples not yet ended */
    infer_usage usage;
} prompt_state;

typedef struct slot {
    bool used;
    writer writer;
    kv_seq seq;
    size_t n_fed; /* tokens of the chain whose K and V are stored */
    size_t n_prompt;
} slot;

struct pgr_engine {
    const pgr_model *m;
    pgr_engine_options o;
    forward_state *forward;
    kv_cache kv;
    prefix_tree *prefix; /* of prompts: of this call, and of earlier ones as far as o.cache_bytes allows */
    writer_shared shared;
    float *logits;      /* (MAX_WANT, n_vocab) */
    sampler_row *picks; /* (n_pick) */
    size_t n_pick;
    forward_row *rows; /* (n_batch) */
    slot slots[MAX_SLOT];
    kept_grammar grammars[ENGINE_GRAMMARS]; /* newest first */
};

/* One call of infer_run. */
typedef struct run {
    pgr_engine *e;
    const infer_request *requests;
    size_t n_request;
    const infer_options *o;
    infer_output *out;
    prompt_state *prompts; /* (n_request) */
    size_t next_chain;     /* the first that has no slot yet */
    size_t n_done;
    uint64_t tokens_total;
    double start, decode_start;
    bool late;
    pgr_error *err;
} run;

/* ---- engine ---- */

pgr_engine_options pgr_engine_options_default(void) {
    return (pgr_engine_options){.n_kv_token = 0, .n_batch = DEFAULT_BATCH, .cache_bytes = DEFAULT_CACHE};
}

static pgr_status init_shared(pgr_engine *e, pgr_error *err) {
    writer_shared *sh = &e->shared;
    sh->tok = e->m->tok;
    sh->n_token = tok_count(sh->tok);
    while (sh->n_token > 1 && tok_type_of(sh->tok, (int32_t)sh->n_token - 1) == TOK_UNUSED) sh->n_token--;
    sh->k = e->m->k;
    sh->n_mask = (tok_count(sh->tok) + 63) / 64;
    sh->mask = mem_zero(sh->n_mask, sizeof *sh->mask);
    sh->end_mask = mem_zero(sh->n_mask, sizeof *sh->end_mask);
    if (!sh->mask || !sh->end_mask) return fail_mem(err);
    for (size_t i = 0; i < tok_count(sh->tok); i++)
        if (tok_ends(sh->tok, (int32_t)i)) sh->end_mask[i / 64] |= (uint64_t)1 << i % 64;
    return sampler_create(e->m->config.n_vocab, &sh->sampler, err);
}

static pgr_status init_engine(pgr_engine *e, pgr_error *err) {
    size_t tokens = e->o.n_kv_token ? e->o.n_kv_token : (size_t)1 << 30;
    PGR_TRY(kv_init(&e->kv, &e->m->config, model_kv(e->m), tokens, err));
    PGR_TRY(kv_prepare(&e->kv, e->o.n_kv_ready, e->m->threads, err));
    PGR_TRY(prefix_create(&e->kv, &e->prefix, err));
    PGR_TRY(init_shared(e, err));
    e->logits = mem_aligned(MAX_WANT * e->m->config.n_vocab * sizeof *e->logits, 64);
    e->rows = mem_array(e->o.n_batch, sizeof *e->rows);
    e->picks = mem_zero(MAX_WANT, sizeof *e->picks);
    if (!e->logits || !e->rows || !e->picks) return fail_mem(err);
    return forward_create(e->m, e->o.n_batch, &e->forward, err);
}

pgr_status pgr_engine_create(pgr_model *model, const pgr_engine_options *options, pgr_engine **out, pgr_error *err) {
    pgr_engine_options o = options ? *options : pgr_engine_options_default();
    if (o.n_batch == 0) o.n_batch = DEFAULT_BATCH;
    if (o.n_batch > 1 << 16) return fail(err, PGR_E_ARG, "n_batch is %zu, expected 1 to 65536", o.n_batch);
    pgr_engine *e = mem_zero(1, sizeof *e);
    if (!e) return fail_mem(err);
    e->m = model;
    e->o = o;
    pgr_status s = init_engine(e, err);
    if (s != PGR_OK) {
        pgr_engine_free(e);
        return s;
    }
    *out = e;
    return PGR_OK;
}

/* K and V of earlier prompts belong to the adapters of then. */
pgr_status pgr_engine_set_loras(pgr_engine *e, pgr_lora *const *loras, const float *scales, size_t n, pgr_error *err) {
    PGR_TRY(forward_set_loras(e->forward, loras, scales, n, err));
    prefix_clear(e->prefix);
    return PGR_OK;
}

static void drop_grammar(kept_grammar *k) {
    grammar_free(k->g);
    mem_free(k->text);
    *k = (kept_grammar){0};
}

void pgr_engine_free(pgr_engine *e) {
    if (!e) return;
    forward_free(e->forward);
    mem_free(e->rows);
    mem_free(e->logits);
    for (size_t i = 0; i < e->n_pick; i++) sampler_row_free(&e->picks[i]);
    mem_free(e->picks);
    sampler_free(e->shared.sampler);
    trie_free(e->shared.trie);
    mem_free(e->shared.mask);
    mem_free(e->shared.end_mask);
    for (size_t i = 0; i < ENGINE_GRAMMARS; i++) drop_grammar(&e->grammars[i]);
    prefix_free(e->prefix);
    kv_close(&e->kv);
    mem_free(e);
}

pgr_status engine_grammar(pgr_engine *e, const char *text, size_t n, const char *origin, grammar **out,
                          pgr_error *err) {
    kept_grammar *list = e->grammars, found = {0};
    for (size_t i = 0; i < ENGINE_GRAMMARS; i++)
        if (list[i].g && list[i].n == n && memcmp(list[i].text, text, n) == 0) {
            found = list[i];
            memmove(list + 1, list, i * sizeof *list);
            list[0] = found;
            *out = found.g;
            return PGR_OK;
        }

    PGR_TRY(grammar_compile(text, n, origin, &found.g, err));
    found.text = mem_alloc(n);
    found.n = n;
    if (!found.text) {
        drop_grammar(&found);
        return fail_mem(err);
    }
    memcpy(found.text, text, n);
    drop_grammar(&list[ENGINE_GRAMMARS - 1]);
    memmove(list + 1, list, (ENGINE_GRAMMARS - 1) * sizeof *list);
    list[0] = found;
    *out = found.g;
    return PGR_OK;
}

const pgr_model *engine_model(const pgr_engine *e) {
    return e->m;
}

/* ---- deadline, cancellation, progress ---- */

static pgr_status look_up(run *r) {
    PGR_TRY(watch_check(&r->o->watch, r->err));
    if (r->o->deadline_s > 0 && clock_now() - r->start > r->o->deadline_s) r->late = true;
    return PGR_OK;
}

static void report(const run *r, const char *label, uint64_t done, uint64_t total) {
    watch_report(&r->o->watch, label, done, total, "tokens");
}

/* ---- rows of logits ---- */

/* Rows for n picks at once, before the first token: memory is touched only as far as chains run together. */
static pgr_status reserve_picks(pgr_engine *e, size_t n, pgr_error *err) {
    if (n > MAX_WANT) n = MAX_WANT;
    while (e->n_pick < n) {
        PGR_TRY(sampler_row_create(e->m->config.n_vocab, &e->picks[e->n_pick], err));
        e->n_pick++;
    }
    return PGR_OK;
}

typedef struct prepare_job {
    pgr_engine *e;
    float temperature[MAX_WANT];
} prepare_job;

static void prepare_task(void *ctx, size_t i, size_t worker) {
    (void)worker;
    const prepare_job *job = ctx;
    pgr_engine *e = job->e;
    sampler_prepare(&e->picks[i], e->m->k, e->logits + i * e->m->config.n_vocab, e->shared.n_token,
                    job->temperature[i]);
}

/* ---- prompts ---- */

/* Room for n more tokens; what earlier prompts left in the cache makes way. */
static pgr_status reserve(pgr_engine *e, kv_seq *seq, size_t n, pgr_error *err) {
    for (;;) {
        pgr_status s = kv_reserve(&e->kv, seq, n, err);
        if (s != PGR_E_LIMIT || !prefix_evict(e->prefix)) return s;
    }
}

static bool any_slot_used(const run *r) {
    for (size_t i = 0; i < MAX_SLOT; i++)
        if (r->e->slots[i].used) return true;
    return false;
}

/* Starts the prompt from its longest known beginning, with pages for the rest; the last token is always computed, for its
 * logits. *waits: the pages are with chains that run; nothing is taken then. */
static pgr_status begin_prompt(run *r, const infer_request *q, prompt_state *p, bool *waits) {
    PGR_TRY(prefix_take(r->e->prefix, q->prompt, q->n_prompt - 1, &p->seq, r->err));
    size_t known = p->seq.n_token;
    pgr_status s = reserve(r->e, &p->seq, q->n_prompt - known, r->err);
    if (s == PGR_E_LIMIT && any_slot_used(r)) {
        kv_release(&r->e->kv, &p->seq);
        *waits = true;
        return PGR_OK;
    }
    p->usage.cached_tokens = known;
    r->out->cached_tokens += known;
    return s;
}

static void trim_prefixes(pgr_engine *e, size_t bytes) {
    size_t per_token = e->kv.page_bytes / KV_PAGE;
    while (prefix_tokens(e->prefix) * per_token > bytes) prefix_evict(e->prefix);
}

static pgr_status keep_prefix(run *r, const infer_request *q, const kv_seq *seq) {
    PGR_TRY(prefix_put(r->e->prefix, q->prompt, q->n_prompt, seq, r->err));
    trim_prefixes(r->e, r->e->o.cache_bytes > DEFAULT_CACHE ? r->e->o.cache_bytes : DEFAULT_CACHE);
    return PGR_OK;
}

static pgr_status compute_prompt(run *r, size_t request, bool *waits) {
    pgr_engine *e = r->e;
    const infer_request *q = &r->requests[request];
    prompt_state *p = &r->prompts[request];
    PGR_TRY(begin_prompt(r, q, p, waits));
    if (*waits) return PGR_OK;
    p->logits = mem_aligned(e->m->config.n_vocab * sizeof *p->logits, 64);
    if (!p->logits) return fail_mem(r->err);

    kv_seq *seqs[] = {&p->seq};
    while (p->seq.n_token < q->n_prompt && !r->late) {
        size_t first = p->seq.n_token, n = q->n_prompt - first;
        if (n > e->o.n_batch) n = e->o.n_batch;
        for (size_t i = 0; i < n; i++)
            e->rows[i] = (forward_row){
                .token = q->prompt[first + i], .pos = (uint32_t)(first + i), .want = first + i + 1 == q->n_prompt};
        PGR_TRY(reserve(e, &p->seq, n, r->err));
        PGR_TRY(forward_run(e->forward, &e->kv, seqs, e->rows, n, p->logits, r->err));
        if (r->decode_start == 0) report(r, "reading the prompt", p->seq.n_token, q->n_prompt);
        PGR_TRY(look_up(r));
    }
    p->ready = !r->late;
    return p->ready ? keep_prefix(r, q, &p->seq) : PGR_OK;
}

/* ---- slots ---- */

static void end_chain(run *r, const infer_chain *c) {
    prompt_state *p = &r->prompts[c->request];
    r->n_done++;
    if (--p->n_open == 0 && r->o->ended) r->o->ended(r->o->ended_ctx, c->request, c - c->sample, &p->usage);
}

static void close_slot(run *r, slot *s) {
    kv_release(&r->e->kv, &s->seq);
    s->used = false;
    end_chain(r, s->writer.chain);
}

/* Log-probabilities of forced tokens may still be wanted of a chain that is done. */
static bool slot_idle(const run *r, const slot *s) {
    return s->writer.done && (!r->o->want_forced || s->n_fed + 1 >= s->writer.chain->tokens.n);
}

/* Gives token t of the chain its log-probability, if the program wrote it and it is wanted. */
static void settle_forced(const run *r, slot *s, size_t t, const sampler_row *row) {
    infer_chain *c = s->writer.chain;
    if (r->o->want_forced && t < c->tokens.n && isnan(c->logprobs[t]))
        c->logprobs[t] = sampler_logprob(row, c->tokens.v[t]);
}

/* Logits after the chain's last token: settle what was waiting for them, or go on writing. */
static pgr_status advance(run *r, slot *s, const sampler_row *row) {
    size_t before = s->writer.chain->tokens.n;
    if (!s->writer.done && s->n_fed == before) PGR_TRY(writer_next(&s->writer, row, r->err));
    settle_forced(r, s, s->n_fed, row);
    infer_usage *usage = &r->prompts[s->writer.chain->request].usage;
    if (usage->first_token_s == 0 && s->writer.chain->tokens.n > 0) {
        usage->first_token_s = clock_now() - r->start;
        if (r->out->first_token_s == 0) r->out->first_token_s = usage->first_token_s;
    }
    return PGR_OK;
}

/* The chain's pages, all that it may need: what begins can end. The last chain of a prompt takes over the prompt's own.
 * *waits: it must wait until others give theirs back; nothing is taken then. */
static pgr_status take_pages(run *r, slot *s, const infer_request *q, prompt_state *p, bool *waits) {
    bool others = any_slot_used(r);
    if (p->n_left == 1) {
        s->seq = p->seq;
        p->seq = (kv_seq){0};
    } else {
        PGR_TRY(kv_fork(&r->e->kv, &s->seq, &p->seq, q->n_prompt, r->err));
    }
    pgr_status status = reserve(r->e, &s->seq, q->max_tokens, r->err);
    *waits = status == PGR_E_LIMIT && others;
    if (status == PGR_OK) return PGR_OK;
    if (p->n_left == 1)
        p->seq = s->seq;
    else
        kv_release(&r->e->kv, &s->seq);
    s->seq = (kv_seq){0};
    return *waits ? PGR_OK : status;
}

/* Starts the next chain. *waits: it cannot start yet. */
static pgr_status open_slot(run *r, slot *s, bool *waits) {
    infer_chain *c = &r->out->chains[r->next_chain];
    prompt_state *p = &r->prompts[c->request];
    const infer_request *q = &r->requests[c->request];
    if (!p->ready && !r->late) PGR_TRY(compute_prompt(r, c->request, waits));
    if (*waits) return PGR_OK;
    c->finish = PGR_FINISH_DEADLINE;
    if (r->late) {
        r->next_chain++;
        end_chain(r, c);
        return PGR_OK;
    }

    *s = (slot){.n_prompt = q->n_prompt};
    PGR_TRY(take_pages(r, s, q, p, waits));
    if (*waits) return PGR_OK;
    s->used = true;
    r->next_chain++;
    PGR_TRY(writer_begin(&s->writer, &r->e->shared, q, c, r->err));
    sampler_prepare(&r->e->picks[0], r->e->m->k, p->logits, r->e->shared.n_token, q->sampling.temperature);
    PGR_TRY(advance(r, s, &r->e->picks[0]));
    if (--p->n_left == 0) {
        mem_free(p->logits);
        p->logits = NULL;
    }
    if (slot_idle(r, s)) close_slot(r, s);
    return PGR_OK;
}

static pgr_status fill_slots(run *r) {
    bool waits = false;
    for (size_t i = 0; i < MAX_SLOT; i++)
        while (!r->e->slots[i].used && !waits && r->next_chain < r->out->n_chain)
            PGR_TRY(open_slot(r, &r->e->slots[i], &waits));
    return PGR_OK;
}

/* ---- one step ---- */

/* Rows of the slots from *at on, as many as fit; a chain's pending tokens may go over several passes. */
static size_t gather(run *r, size_t *at, kv_seq **seqs, size_t *slot_of) {
    pgr_engine *e = r->e;
    size_t n_row = 0, n_want = 0, n_slot = 0;
    for (; *at < MAX_SLOT; ++*at) {
        slot *s = &e->slots[*at];
        if (!s->used) continue;
        const infer_chain *c = s->writer.chain;
        size_t n = c->tokens.n - s->n_fed, room = e->o.n_batch - n_row;
        if (r->o->want_forced && room > MAX_WANT - n_want) room = MAX_WANT - n_want;
        if (room == 0 || n_want == MAX_WANT) break;
        if (n > room) {
            if (n_row > 0) break;
            n = room;
        }
        for (size_t i = 0; i < n; i++) {
            size_t t = s->n_fed + i;
            bool want = r->o->want_forced || (t + 1 == c->tokens.n && !s->writer.done);
            e->rows[n_row++] = (forward_row){
                .token = c->tokens.v[t], .seq = (uint32_t)n_slot, .pos = (uint32_t)(s->n_prompt + t), .want = want};
            n_want += want;
        }
        slot_of[n_slot] = *at;
        seqs[n_slot++] = &s->seq;
    }
    return n_row;
}

/* Makes the logits of a pass ready for picking, all rows at once. */
static void prepare_rows(run *r, size_t n_row, const size_t *slot_of) {
    prepare_job job = {.e = r->e};
    size_t n = 0;
    for (size_t i = 0; i < n_row; i++)
        if (r->e->rows[i].want)
            job.temperature[n++] = r->e->slots[slot_of[r->e->rows[i].seq]].writer.r->sampling.temperature;
    pool_run(r->e->m->threads, n, prepare_task, &job);
}

/* Hands the logits of a pass to the slots that took part. */
static pgr_status scatter(run *r, size_t n_row, const size_t *slot_of) {
    const forward_row *rows = r->e->rows;
    const sampler_row *pick = r->e->picks;
    prepare_rows(r, n_row, slot_of);
    for (size_t row = 0; row < n_row; row++) {
        slot *s = &r->e->slots[slot_of[rows[row].seq]];
        s->n_fed++;
        if (rows[row].want) PGR_TRY(advance(r, s, pick++));
        bool last = row + 1 == n_row || rows[row + 1].seq != rows[row].seq;
        if (last && slot_idle(r, s)) close_slot(r, s);
    }
    return PGR_OK;
}

static pgr_status step(run *r) {
    kv_seq *seqs[MAX_SLOT];
    size_t slot_of[MAX_SLOT], at = 0; /* slot_of[i]: the slot of seqs[i] */
    while (at < MAX_SLOT) {
        size_t n_row = gather(r, &at, seqs, slot_of);
        if (n_row == 0) break;
        for (size_t i = 0; i < n_row; i++) {
            bool last = i + 1 == n_row || r->e->rows[i + 1].seq != r->e->rows[i].seq;
            kv_seq *s = seqs[r->e->rows[i].seq];
            if (last) PGR_TRY(reserve(r->e, s, r->e->rows[i].pos + 1 - s->n_token, r->err));
        }
        PGR_TRY(forward_run(r->e->forward, &r->e->kv, seqs, r->e->rows, n_row, r->e->logits, r->err));
        PGR_TRY(scatter(r, n_row, slot_of));
    }
    return PGR_OK;
}

/* ---- the call ---- */

static void end_late(run *r) {
    for (size_t i = 0; i < MAX_SLOT; i++)
        if (r->e->slots[i].used) {
            if (!r->e->slots[i].writer.done) r->e->slots[i].writer.chain->finish = PGR_FINISH_DEADLINE;
            close_slot(r, &r->e->slots[i]);
        }
}

static uint64_t tokens_written(const run *r) {
    uint64_t n = 0;
    for (size_t i = 0; i < r->next_chain; i++) n += r->out->chains[i].tokens.n;
    return n;
}

static pgr_status run_all(run *r) {
    while (r->n_done < r->out->n_chain) {
        PGR_TRY(fill_slots(r));
        if (r->decode_start == 0) r->decode_start = clock_now();
        PGR_TRY(step(r));
        PGR_TRY(look_up(r));
        report(r, "writing chains", tokens_written(r), r->tokens_total);
        if (r->late) end_late(r);
    }
    return PGR_OK;
}

pgr_status infer_check(const pgr_engine *e, const infer_request *q, pgr_error *err) {
    size_t n_ctx = e->m->config.n_ctx;
    PGR_TRY(writer_check(q, err));
    if (q->grammar) PGR_TRY(grammar_check_tokens(q->grammar, e->m->tok, err));
    if (q->n_prompt < n_ctx && q->max_tokens <= n_ctx - q->n_prompt) return PGR_OK;
    return fail(err, PGR_E_LIMIT, "a prompt of %zu tokens and %zu new ones exceed the model's context of %zu",
                q->n_prompt, q->max_tokens, n_ctx);
}

/* Limits are checked before anything is computed. */
static pgr_status check_requests(run *r) {
    for (size_t i = 0; i < r->n_request; i++) {
        const infer_request *q = &r->requests[i];
        PGR_TRY(infer_check(r->e, q, r->err));
        if (q->grammar && !r->e->shared.trie) PGR_TRY(trie_create(r->e->m->tok, &r->e->shared.trie, r->err));
        r->out->n_chain += q->n_sample;
        r->out->prompt_tokens += q->n_prompt;
        r->tokens_total += q->n_sample * q->max_tokens;
    }
    return PGR_OK;
}

static pgr_status init_output(run *r) {
    r->prompts = mem_zero(r->n_request + 1, sizeof *r->prompts);
    r->out->chains = mem_zero(r->out->n_chain + 1, sizeof *r->out->chains);
    if (!r->prompts || !r->out->chains) return fail_mem(r->err);
    infer_chain *c = r->out->chains;
    for (size_t i = 0; i < r->n_request; i++) {
        r->prompts[i].n_left = r->prompts[i].n_open = r->requests[i].n_sample;
        for (size_t s = 0; s < r->requests[i].n_sample; s++) *c++ = (infer_chain){.request = i, .sample = s};
    }
    return PGR_OK;
}

static void end_run(run *r) {
    for (size_t i = 0; i < MAX_SLOT; i++) {
        kv_release(&r->e->kv, &r->e->slots[i].seq);
        r->e->slots[i].used = false;
    }
    for (size_t i = 0; r->prompts && i < r->n_request; i++) {
        kv_release(&r->e->kv, &r->prompts[i].seq);
        mem_free(r->prompts[i].logits);
    }
    mem_free(r->prompts);
    trim_prefixes(r->e, r->e->o.cache_bytes);
}

pgr_status infer_run(pgr_engine *e, const infer_request *requests, size_t n_request, const infer_options *options,
                     infer_output *out, pgr_error *err) {
    infer_options none = {0};
    infer_output result = {0};
    run r = {.e = e,
             .requests = requests,
             .n_request = n_request,
             .o = options ? options : &none,
             .out = &result,
             .start = clock_now(),
             .err = err};
    pgr_status s = check_requests(&r);
    if (s != PGR_OK) result.n_chain = 0;
    if (s == PGR_OK) s = init_output(&r);
    if (s == PGR_OK) s = reserve_picks(e, r.o->want_forced ? MAX_WANT : result.n_chain, err);
    if (s == PGR_OK) s = run_all(&r);
    end_run(&r);

    double end = clock_now();
    result.completion_tokens = result.chains ? tokens_written(&r) : 0;
    result.prefill_s = (r.decode_start ? r.decode_start : end) - r.start;
    result.decode_s = r.decode_start ? end - r.decode_start : 0;
    if (s != PGR_OK)
        infer_output_free(&result);
    else
        *out = result;
    return s;
}

void infer_output_free(infer_output *out) {
    for (size_t i = 0; out->chains && i < out->n_chain; i++) {
        infer_chain *c = &out->chains[i];
        buf_free(&c->text);
        ids_free(&c->tokens);
        mem_free(c->logprobs);
        mem_free(c->forced);
    }
    mem_free(out->chains);
    *out = (infer_output){0};
}

/* ---- scoring given text ---- */

static pgr_status score_rows(run *r, kv_seq *seq, const int32_t *tokens, size_t n, float *out) {
    pgr_engine *e = r->e;
    size_t at_once = e->o.n_batch < MAX_WANT ? e->o.n_batch : MAX_WANT;
    prepare_job job = {.e = e}; /* temperature 0: sums alone */
    PGR_TRY(reserve_picks(e, n < at_once ? n : at_once, r->err));
    for (size_t first = 0; first < n; first += at_once) {
        size_t count = n - first < at_once ? n - first : at_once;
        for (size_t i = 0; i < count; i++)
            e->rows[i] = (forward_row){.token = tokens[first + i], .pos = (uint32_t)(first + i), .want = true};
        PGR_TRY(reserve(e, seq, count, r->err));
        PGR_TRY(forward_run(e->forward, &e->kv, &seq, e->rows, count, e->logits, r->err));
        pool_run(e->m->threads, count, prepare_task, &job);
        for (size_t i = 0, t = first + 1; i < count && t < n; i++, t++) {
            out[t] = sampler_logprob(&e->picks[i], tokens[t]);
            if (isnan(out[t]))
                return fail(r->err, PGR_E_FORMAT, "the model's logits before token %zu are no numbers", t + 1);
        }
        report(r, "scoring", first + count, n);
        PGR_TRY(look_up(r));
    }
    return PGR_OK;
}

pgr_status infer_logprobs(pgr_engine *e, const int32_t *tokens, size_t n, const infer_options *options, float *out,
                          pgr_error *err) {
    infer_options none = {0};
    run r = {.e = e, .o = options ? options : &none, .start = clock_now(), .err = err};
    kv_seq seq = {0};
    if (n > 0) out[0] = NAN;
    pgr_status s = score_rows(&r, &seq, tokens, n, out);
    kv_release(&e->kv, &seq);
    return s;
}
