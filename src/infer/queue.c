/* queue.c - the jobs of an engine: submitted, served in order, ended by their chains, their deadline or their cancel
 * flag, taken. */
#include "base/clock.h"
#include "base/mem.h"
#include "infer/local.h"

/* ---- lists ---- */

/* Behind `before`; NULL: at the head. */
static void link_behind(job_list *list, job *j, job *before) {
    j->before = before;
    j->after = before ? before->after : list->first;
    *(j->after ? &j->after->before : &list->last) = j;
    *(before ? &before->after : &list->first) = j;
}

static void unlink_job(job_list *list, job *j) {
    *(j->before ? &j->before->after : &list->first) = j->after;
    *(j->after ? &j->after->before : &list->last) = j->before;
    j->before = j->after = NULL;
}

static job *find(const job_list *list, infer_ticket ticket) {
    for (job *j = list->first; j; j = j->after)
        if (j->ticket == ticket) return j;
    return NULL;
}

/* ---- in ---- */

pgr_status local_submit(pgr_engine *e, const infer_request *request, infer_ticket *out, pgr_error *err) {
    local *l = (local *)e;
    job *j = NULL;
    PGR_TRY(job_create(l, request, &j, err));
    job *before = l->queue.last;
    while (before && before->r.priority < j->r.priority) before = before->before;
    link_behind(&l->queue, j, before);
    j->ticket = ++l->last_ticket;
    l->load.n_request++;
    l->load.n_waiting += j->r.n_sample;
    l->load.n_to_read += j->result->prompt.n;
    l->load.n_to_write += j->r.n_sample * j->r.max_tokens;
    *out = j->ticket;
    return PGR_OK;
}

/* ---- the end ---- */

/* The prompt stays, to say what failed. */
static void free_chains(infer_result *r) {
    for (size_t i = 0; i < r->n_chain; i++) chain_free(&r->chains[i]);
    mem_free(r->chains);
    r->chains = NULL;
    r->n_chain = 0;
}

static void free_readings(infer_result *r) {
    for (size_t i = 0; i < r->n_reading; i++) mem_free(r->readings[i].logprobs);
    mem_free(r->readings);
    r->readings = NULL;
    r->n_reading = 0;
}

/* Its slots and pages are free; it is in no list. */
static void stop(local *l, job *j) {
    for (size_t i = 0; i < MAX_SLOT; i++)
        if (l->slots[i].job == j) slot_close(l, &l->slots[i]);
    job_release_prompt(l, j);
    l->load.n_waiting -= j->r.n_sample - j->n_begun;
    l->load.n_request--;
    if (l->reading == j) l->reading = NULL;
    unlink_job(&l->queue, j);
    if (!l->queue.first) pages_trim(l);
}

void job_end(local *l, job *j, const pgr_error *why) {
    if (why || !j->ready) free_readings(j->result); /* the prompt was not read to its end */
    stop(l, j);
    j->result->usage.total_s = clock_now() - j->start;
    if (why) {
        j->result->error = *why;
        free_chains(j->result);
    }
    link_behind(&l->ended, j, l->ended.last);
}

void local_cancel(pgr_engine *e, infer_ticket ticket) {
    local *l = (local *)e;
    job *j = find(&l->queue, ticket);
    if (j) {
        stop(l, j);
    } else {
        j = find(&l->ended, ticket);
        if (j) unlink_job(&l->ended, j);
    }
    job_free(l, j);
}

void queue_look(local *l) {
    double now = clock_now();
    for (job *j = l->queue.first, *after; j; j = after) {
        after = j->after;
        pgr_error why;
        if (j->r.cancel && *j->r.cancel) {
            fail(&why, PGR_E_CANCELLED, "%s", pgr_status_text(PGR_E_CANCELLED));
            job_end(l, j, &why);
        } else if (j->r.deadline_s > 0 && now - j->start > j->r.deadline_s) {
            job_end(l, j, NULL); /* with the chains as they are */
        }
    }
}

void queue_clear(local *l) {
    while (l->queue.first) local_cancel(&l->base, l->queue.first->ticket);
    while (l->ended.first) local_cancel(&l->base, l->ended.first->ticket);
}

/* ---- out ---- */

static bool owned(const job *j, const void *owner) {
    return !owner || j->r.owner == owner;
}

static bool take_piece(job *j, infer_event *out) {
    if (!j->told || !piece_next(j, out)) return false;
    out->ticket = j->ticket;
    out->tag = j->r.tag;
    return true;
}

bool local_take(pgr_engine *e, const void *owner, infer_event *out) {
    local *l = (local *)e;
    *out = (infer_event){0};
    for (job *j = l->ended.first; j; j = j->after) {
        if (!owned(j, owner)) continue;
        if (take_piece(j, out)) return true;
        *out = (infer_event){.kind = INFER_ENDED, .ticket = j->ticket, .tag = j->r.tag, .result = j->result};
        j->result = NULL;
        unlink_job(&l->ended, j);
        job_free(l, j);
        return true;
    }
    for (job *j = l->queue.first; j; j = j->after)
        if (owned(j, owner) && take_piece(j, out)) return true;
    return false;
}
