/* step.c - one batch step: for every set of adapters passes over the chains' new tokens, and a chunk of the prompt at
 * hand: beside them where they are many or somebody waits for their tokens, else before them, so that more of them
 * share a pass. */
#include "infer/local.h"

typedef struct pass { /* rows through the model at once: l->rows */
    adapter_set *set;
    size_t n_row, n_want, n_seq;
    kv_seq *seqs[MAX_SLOT + MAX_WANT + 1];
    size_t slot_of[MAX_SLOT + MAX_WANT + 1]; /* slot_of[i]: the slot of seqs[i]; MAX_SLOT: the prompt's */
    size_t n_chain_seq;                      /* the first ones are chains', branches' come next */
    branch_rows branches;
    job *prompt;          /* its rows are the last ones; NULL: none */
    size_t n_prompt_want; /* of its rows */
} pass;

/* ---- rows ---- */

static void add_slot(local *l, pass *p, size_t at, size_t n) {
    slot *s = &l->slots[at];
    const infer_chain *c = s->writer.chain;
    for (size_t i = 0; i < n; i++) {
        size_t t = s->n_fed + i;
        bool want = s->job->r.want_forced || (t + 1 == c->tokens.n && !s->writer.done);
        l->rows[p->n_row++] = (forward_row){.token = c->tokens.v[t],
                                            .seq = (uint32_t)p->n_seq,
                                            .pos = (uint32_t)(s->job->result->prompt.n + t),
                                            .want = want};
        p->n_want += want;
    }
    p->slot_of[p->n_seq] = at;
    p->seqs[p->n_seq++] = &s->seq;
}

/* Rows of the slots from *at on, as many as fit; a chain's pending tokens may go over several passes. */
static void add_slots(local *l, pass *p, size_t *at) {
    for (; *at < MAX_SLOT; ++*at) {
        const slot *s = &l->slots[*at];
        if (!s->job || s->job->set != p->set || slot_fed(s)) continue;
        size_t n = s->writer.chain->tokens.n - s->n_fed, room = l->o.n_batch - p->n_row;
        if (s->job->r.want_forced && room > MAX_WANT - p->n_want) room = MAX_WANT - p->n_want;
        if (room == 0 || p->n_want == MAX_WANT) return;
        if (n > room) {
            if (p->n_row > 0) return;
            n = room;
        }
        add_slot(l, p, *at, n);
    }
}

/* Branches of places from slot *at on, as many as fit. */
static void add_branches(local *l, pass *p, size_t *at) {
    for (; *at < MAX_SLOT; ++*at) {
        const slot *s = &l->slots[*at];
        if (!s->job || s->job->set != p->set || !s->writer.places) continue;
        size_t before = p->branches.n;
        bool all = branches_add(l, &p->branches, *at, p->n_seq, &p->n_row, MAX_WANT - p->n_want);
        for (size_t i = before; i < p->branches.n; i++) {
            p->slot_of[p->n_seq] = *at;
            p->seqs[p->n_seq++] = &p->branches.list[i].seq;
        }
        p->n_want += p->branches.n - before;
        if (!all) return;
    }
}

/* A chunk of the prompt at hand. False: a pass of its own is better, it has little room here. */
static bool add_prompt(local *l, pass *p) {
    job *j = l->reading;
    size_t room = l->n_row - p->n_row, left = j->result->prompt.n - j->seq.n_token;
    if (room > l->o.n_batch) room = l->o.n_batch;
    if (p->n_row > 0 && (p->n_want == MAX_WANT || (left > room && room < l->o.n_batch / 2))) return false;
    p->n_prompt_want = MAX_WANT - p->n_want;
    p->n_row += prompt_rows(l, j, l->rows + p->n_row, (uint32_t)p->n_seq, room, &p->n_prompt_want);
    p->n_want += p->n_prompt_want;
    p->slot_of[p->n_seq] = MAX_SLOT;
    p->seqs[p->n_seq++] = &j->seq;
    p->prompt = j;
    return true;
}

/* ---- after the pass ---- */

/* Makes the logits of the chains' rows ready for picking. */
static void prepare_rows(local *l, const pass *p) {
    float temperature[MAX_WANT];
    size_t n = 0;
    for (size_t i = 0; i < p->n_row; i++) {
        size_t at = p->slot_of[l->rows[i].seq];
        if (l->rows[i].seq >= p->n_chain_seq) break;
        if (l->rows[i].want) temperature[n++] = l->slots[at].job->r.sampling.temperature;
    }
    picks_prepare(l, n, temperature);
}

/* One row of a slot. */
static void take_row(local *l, slot *s, const forward_row *row, bool last, const sampler_row *pick) {
    pgr_error err = {0};
    s->n_fed++;
    if (row->want && slot_advance(l, s, pick, &err) != PGR_OK)
        job_end(l, s->job, &err);
    else if (last && slot_idle(s))
        slot_end(l, s);
}

/* Hands the logits of a pass to the slots that took part; a job that fails takes its slots along. */
static void take_rows(local *l, const pass *p) {
    const sampler_row *pick = l->picks;
    prepare_rows(l, p);
    for (size_t i = 0; i < p->n_row; i++) {
        const forward_row *row = &l->rows[i];
        size_t at = p->slot_of[row->seq];
        if (row->seq >= p->n_chain_seq) break;
        bool last = i + 1 == p->n_row || row[1].seq != row->seq;
        if (l->slots[at].job) take_row(l, &l->slots[at], row, last, pick);
        pick += row->want;
    }
}

static void fail_pass(local *l, const pass *p, const pgr_error *why) {
    for (size_t i = 0; i < p->n_seq; i++) {
        job *j = p->slot_of[i] == MAX_SLOT ? l->reading : l->slots[p->slot_of[i]].job;
        if (j) job_end(l, j, why); /* NULL: ended by another of its chains */
    }
}

/* A job whose branches could not be added, unless something else has ended it. */
static void end_failed(local *l, const pass *p) {
    for (size_t i = 0; p->branches.failed && i < MAX_SLOT; i++)
        if (l->slots[i].job == p->branches.failed) {
            job_end(l, p->branches.failed, &p->branches.error);
            return;
        }
}

static void run_pass(local *l, pass *p) {
    pgr_error err = {0};
    pgr_status s = forward_run(l->forward, &l->kv, p->seqs, l->rows, p->n_row, l->logits, &err);
    branches_release(l, &p->branches);
    if (s != PGR_OK) {
        fail_pass(l, p, &err);
        return;
    }
    take_rows(l, p);
    size_t n_before = p->n_want - p->branches.n - p->n_prompt_want;
    branches_take(l, &p->branches, l->logits + n_before * l->m->config.n_vocab);
    if (!p->prompt) return;
    const float *wanted = l->logits + (p->n_want - p->n_prompt_want) * l->m->config.n_vocab;
    if (prompt_took(l, p->prompt, wanted, &err) != PGR_OK) job_end(l, p->prompt, &err);
}

/* ---- the step ---- */

/* Pages for what the program wrote beyond the limit that a chain began with. */
static void reserve_pending(local *l) {
    for (size_t i = 0; i < MAX_SLOT; i++) {
        slot *s = &l->slots[i];
        pgr_error err = {0};
        if (s->job && pages_reserve(l, &s->seq, s->writer.chain->tokens.n - s->n_fed, &err) != PGR_OK)
            job_end(l, s->job, &err);
    }
}

static void run_set(local *l, adapter_set *set) {
    bool read = l->reading && l->reading->set == set;
    adapters_use(l->sets, set);
    for (size_t at = 0, branch_at = 0;;) {
        pass p = {.set = set};
        add_slots(l, &p, &at);
        p.n_chain_seq = p.n_seq;
        if (at == MAX_SLOT) add_branches(l, &p, &branch_at);
        if (at == MAX_SLOT && read && l->reading && add_prompt(l, &p)) read = false;
        if (p.n_row > 0) run_pass(l, &p);
        end_failed(l, &p);
        if (p.n_row == 0) return;
    }
}

/* Chains go on while prompts are read: there are many of them already, or somebody sees tokens as they come or has a
 * deadline. */
static bool chains_go_on(const local *l) {
    size_t n = 0;
    for (size_t i = 0; i < MAX_SLOT; i++) {
        const job *j = l->slots[i].job;
        if (j && (++n == MAX_SLOT / 2 || j->r.stream || j->r.deadline_s > 0)) return true;
    }
    return false;
}

/* A chunk of the prompt at hand and nothing else. */
static void read_alone(local *l) {
    pass p = {.set = l->reading->set};
    adapters_use(l->sets, p.set);
    add_prompt(l, &p);
    run_pass(l, &p);
}

/* The set whose rows entry i has: of a slot, or of the prompt at hand. */
static adapter_set *set_of(const local *l, size_t i) {
    const job *j = i < MAX_SLOT ? l->slots[i].job : l->reading;
    return j ? j->set : NULL;
}

bool local_step(pgr_engine *e) {
    local *l = (local *)e;
    const adapter_set *seen[MAX_SLOT + 1];
    size_t n_seen = 0;
    queue_look(l);
    slots_fill(l);
    reserve_pending(l);
    if (l->reading && !chains_go_on(l)) {
        read_alone(l);
        return true;
    }
    for (size_t i = 0; i <= MAX_SLOT; i++) {
        adapter_set *set = set_of(l, i);
        size_t k = 0;
        while (k < n_seen && seen[k] != set) k++;
        if (!set || k < n_seen) continue;
        seen[n_seen++] = set;
        run_set(l, set);
    }
    return l->queue.first != NULL;
}
