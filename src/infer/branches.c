/* branches.c - the rows that places want beside their chains': each branch is a sequence of its own for one pass, which
 * begins with the chain's pages up to the place. */
#include "infer/local.h"

/* Room for the branch behind the chain's first n_token tokens. *room: there is none now. */
static pgr_status take_pages(local *l, slot *s, kv_seq *seq, size_t n_token, size_t n, bool *room, pgr_error *err) {
    pgr_status status = kv_fork(&l->kv, seq, &s->seq, n_token, err);
    if (status == PGR_OK) status = kv_reserve(&l->kv, seq, n, err);
    if (status == PGR_E_LIMIT && s->spare.n_page) {
        kv_release(&l->kv, &s->spare);
        status = kv_reserve(&l->kv, seq, n, err);
    }
    *room = status == PGR_OK;
    if (!*room) kv_release(&l->kv, seq);
    return status == PGR_E_LIMIT ? PGR_OK : status;
}

/* A branch longer than a whole pass: all but its last rows at once. */
static pgr_status run_ahead(local *l, kv_seq *seq, const int32_t *tokens, size_t *n_done, size_t n, pgr_error *err) {
    while (n - *n_done > l->o.n_batch) {
        for (size_t i = 0; i < l->o.n_batch; i++)
            l->rows[i] = (forward_row){.token = tokens[*n_done + i], .pos = (uint32_t)(seq->n_token + i)};
        PGR_TRY(forward_run(l->forward, &l->kv, &seq, l->rows, l->o.n_batch, l->logits, err));
        *n_done += l->o.n_batch;
    }
    return PGR_OK;
}

/* False: it does not fit, or an error that is the job's after the pass. */
static bool add(local *l, branch_rows *b, size_t at, place *p, size_t i, size_t seq, size_t *n_row) {
    slot *s = &l->slots[at];
    size_t n, done = 0, n_token = s->job->result->prompt.n + p->n_before;
    const int32_t *tokens = place_branch(p, i, &n);
    branch_row *row = &b->list[b->n];
    bool room = false;
    if (n > l->o.n_batch - *n_row && *n_row > 0) return false;
    *row = (branch_row){.slot = at, .place = p};
    pgr_status status = take_pages(l, s, &row->seq, n_token, n, &room, &b->error);
    if (status == PGR_OK && room) status = run_ahead(l, &row->seq, tokens, &done, n, &b->error);
    if (status != PGR_OK) {
        kv_release(&l->kv, &row->seq);
        b->failed = s->job;
    }
    if (status != PGR_OK || !room) return false;
    for (size_t k = done; k < n; k++)
        l->rows[(*n_row)++] =
            (forward_row){.token = tokens[k], .seq = (uint32_t)seq, .pos = (uint32_t)(n_token + k), .want = k + 1 == n};
    b->n++;
    return true;
}

bool branches_add(local *l, branch_rows *b, size_t at, size_t n_seq, size_t *n_row, size_t n_want) {
    size_t before = b->n;
    for (place *p = l->slots[at].writer.places; p; p = p->next)
        for (size_t i = 0; i < place_wanted(p); i++)
            if (b->failed || b->n - before == n_want || *n_row == l->o.n_batch
                || !add(l, b, at, p, i, n_seq + b->n - before, n_row))
                return false;
    return true;
}

void branches_release(local *l, branch_rows *b) {
    for (size_t i = 0; i < b->n; i++) kv_release(&l->kv, &b->list[i].seq);
}

/* The pages that were just given back suffice. */
static pgr_status settle(local *l, slot *s, const branch_row *row, const float *logits, pgr_error *err) {
    if (s->spare.n_page == 0) PGR_TRY(kv_reserve(&l->kv, &s->spare, SPARE_TOKENS, err));
    PGR_TRY(place_take(row->place, &l->shared, logits, err));
    return writer_settle(&s->writer, err);
}

void branches_take(local *l, branch_rows *b, const float *logits) {
    for (size_t i = 0; i < b->n; i++) {
        slot *s = &l->slots[b->list[i].slot];
        pgr_error err = {0};
        if (!s->job) continue; /* it has failed */
        if (settle(l, s, &b->list[i], logits + i * l->m->config.n_vocab, &err) != PGR_OK)
            job_end(l, s->job, &err);
        else if (slot_idle(s))
            slot_end(l, s);
    }
}
