/* slots.c - the chains that run: each in a slot, from its prompt's pages and last logits to its end. */
#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "infer/local.h"

bool slots_used(const local *l) {
    for (size_t i = 0; i < MAX_SLOT; i++)
        if (l->slots[i].job) return true;
    return false;
}

static slot *free_slot(local *l) {
    for (size_t i = 0; i < MAX_SLOT; i++)
        if (!l->slots[i].job) return &l->slots[i];
    return NULL;
}

void slot_close(local *l, slot *s) {
    kv_release(&l->kv, &s->seq);
    kv_release(&l->kv, &s->spare);
    writer_free(&s->writer);
    s->job = NULL;
    l->load.n_running--;
}

void slot_end(local *l, slot *s) {
    job *j = s->job;
    slot_close(l, s);
    if (--j->n_open == 0) job_end(l, j, NULL);
}

bool slot_fed(const slot *s) {
    return s->writer.done && (!s->job->r.want_forced || s->n_fed + 1 >= s->writer.chain->tokens.n);
}

bool slot_idle(const slot *s) {
    return slot_fed(s) && !s->writer.places;
}

/* Gives token t of the chain its log-probability, if the program wrote it and it is wanted. */
static void settle_forced(slot *s, size_t t, const sampler_row *row) {
    infer_chain *c = s->writer.chain;
    if (!s->job->r.want_forced || t >= c->tokens.n || !isnan(c->logprobs[t])) return;
    c->logprobs[t] = sampler_logprob(row, c->tokens.v[t]);
    if (s->job->r.n_top > 0) writer_note_top(&s->writer, t, row);
}

pgr_status slot_advance(local *l, slot *s, const sampler_row *row, pgr_error *err) {
    const infer_chain *c = s->writer.chain;
    size_t before = c->tokens.n;
    if (!s->writer.done && s->n_fed == before) PGR_TRY(writer_next(&s->writer, row, err));
    settle_forced(s, s->n_fed, row);
    l->load.n_written += c->tokens.n - before;
    infer_usage *usage = &s->job->result->usage;
    if (usage->first_token_s == 0 && c->tokens.n > 0) usage->first_token_s = clock_now() - s->job->start;
    return PGR_OK;
}

/* ---- the next chain ---- */

/* The chain's pages, all that it may need: what begins can end. The last chain of a prompt takes over the prompt's
 * own. */
static pgr_status take_pages(local *l, slot *s, job *j, bool *waits, pgr_error *err) {
    bool last = j->n_begun + 1 == j->r.n_sample;
    if (last) {
        s->seq = j->seq;
        j->seq = (kv_seq){0};
    } else {
        PGR_TRY(kv_fork(&l->kv, &s->seq, &j->seq, j->result->prompt.n, err));
    }
    pgr_status status = pages_begin(l, j, &s->seq, j->r.max_tokens, waits, err);
    if (status == PGR_OK && !*waits) return PGR_OK;
    if (last)
        j->seq = s->seq;
    else
        kv_release(&l->kv, &s->seq);
    s->seq = (kv_seq){0};
    return status;
}

/* Those and, where there will be branches, theirs. */
static pgr_status take_all_pages(local *l, slot *s, job *j, bool *waits, pgr_error *err) {
    pgr_status status = PGR_OK;
    if (j->r.want_places && j->grammar && grammar_has_places(j->grammar))
        status = pages_begin(l, j, &s->spare, SPARE_TOKENS, waits, err);
    if (status == PGR_OK && !*waits) status = take_pages(l, s, j, waits, err);
    if (status != PGR_OK || *waits) kv_release(&l->kv, &s->spare);
    return status;
}

/* *waits: it must wait until others give pages back; nothing is taken then. */
static pgr_status begin_chain(local *l, slot *s, job *j, bool *waits, pgr_error *err) {
    *s = (slot){0};
    PGR_TRY(take_all_pages(l, s, j, waits, err));
    if (*waits) return PGR_OK;
    infer_chain *c = &j->result->chains[j->n_begun++];
    s->job = j;
    l->load.n_waiting--;
    l->load.n_running++;
    PGR_TRY(writer_begin(&s->writer, &l->shared, &j->r, j->grammar, c, err));
    l->load.n_written += c->tokens.n;
    sampler_prepare(&l->picks[0], l->m->k, j->logits, l->shared.n_token, j->r.sampling.temperature);
    PGR_TRY(slot_advance(l, s, &l->picks[0], err));
    if (j->n_begun == j->r.n_sample) job_release_prompt(l, j);
    if (slot_idle(s)) slot_end(l, s);
    return PGR_OK;
}

/* What one job gets. False: the slots are full, or what comes next must wait. */
static bool serve(local *l, job *j) {
    pgr_error err = {0};
    pgr_status status = PGR_OK;
    bool waits = false;
    while (status == PGR_OK && !waits && (j->slots || j->n_begun < j->r.n_sample)) {
        slot *s = j->slots ? NULL : free_slot(l);
        if (!s && !j->slots) return false;
        if (j->ready) {
            status = begin_chain(l, s, j, &waits, &err);
        } else {
            if (!j->reading) status = prompt_begin(l, j, &waits, &err);
            if (status != PGR_OK || waits) break;
            l->reading = j;
            return false;
        }
    }
    if (status != PGR_OK) job_end(l, j, &err);
    return !waits;
}

void slots_fill(local *l) {
    l->reading = NULL;
    for (job *j = l->queue.first, *after; j; j = after) {
        after = j->after;
        if (!serve(l, j)) return;
    }
}
