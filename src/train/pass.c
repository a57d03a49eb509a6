/* pass.c - prompts with slots become batches of the backward pass. What a prompt begins with like the one before it
 * (both orders of a pair: instructions, history, query) is computed once. */
#include <string.h>

#include "base/mem.h"
#include "train/run.h"

typedef struct pass {
    train_run *r;
    const slot_seq *list; /* (n) */
    size_t n, n_row, n_grad;
    train_seq *seqs;
    train_row *rows;
    float *logits;  /* (n_row, n_vocab) */
    size_t *start;  /* (n_row + 1) */
    int32_t *token; /* (n_grad) */
    float *dlogit;
    double *z, *dz; /* (n_grad) in the order of the prompts, their rows, the allowed tokens */
} pass;

static void pass_free(pass *p) {
    mem_free(p->seqs);
    mem_free(p->rows);
    mem_free(p->logits);
    mem_free(p->start);
    mem_free(p->token);
    mem_free(p->dlogit);
    mem_free(p->z);
    mem_free(p->dz);
}

static pgr_status pass_alloc(pass *p, pgr_error *err) {
    for (size_t i = 0; i < p->n; i++) {
        p->n_row += p->list[i].n_row;
        p->n_grad += p->list[i].n_row * p->list[i].n_allowed;
    }
    size_t n_vocab = p->r->m->config.n_vocab;
    p->seqs = mem_array(p->n, sizeof *p->seqs);
    p->rows = mem_array(p->n_row, sizeof *p->rows);
    p->logits = mem_array(p->n_row, n_vocab * sizeof *p->logits);
    p->start = mem_array(p->n_row + 1, sizeof *p->start);
    p->token = mem_array(p->n_grad, sizeof *p->token);
    p->dlogit = mem_array(p->n_grad, sizeof *p->dlogit);
    p->z = mem_array(p->n_grad, sizeof *p->z);
    p->dz = mem_zero(p->n_grad, sizeof *p->dz);
    bool whole = p->seqs && p->rows && p->logits && p->start && p->token && p->dlogit && p->z && p->dz;
    return whole ? PGR_OK : fail_mem(err);
}

/* Of prompt i of a list, with those before it from `first` on. */
static train_seq seq_of(const slot_seq *list, size_t first, size_t i) {
    train_seq s = {.tokens = list[i].tokens, .n = list[i].n};
    if (i == first) return s;
    train_seq before = {.tokens = list[i - 1].tokens, .n = list[i - 1].n};
    s.shared = train_common(&before, &s, list[i].rows[0]);
    return s;
}

static void list_rows(pass *p) {
    size_t row = 0, grad = 0;
    for (size_t i = 0; i < p->n; i++) {
        const slot_seq *s = &p->list[i];
        p->seqs[i] = seq_of(p->list, 0, i);
        for (size_t k = 0; k < s->n_row; k++, row++) {
            p->rows[row] = (train_row){(uint32_t)i, s->rows[k]};
            p->start[row] = grad;
            memcpy(p->token + grad, s->allowed, s->n_allowed * sizeof *s->allowed);
            grad += s->n_allowed;
        }
    }
    p->start[row] = grad;
}

static void read_slots(pass *p) {
    size_t n_vocab = p->r->m->config.n_vocab;
    for (size_t row = 0; row < p->n_row; row++)
        for (size_t j = p->start[row]; j < p->start[row + 1]; j++)
            p->z[j] = p->logits[row * n_vocab + (size_t)p->token[j]];
}

/* ---- a list of prompts ---- */

typedef struct slot_passes { /* the list, cut into passes */
    train_run *r;
    const slot_seq *list; /* (n) */
    size_t n;
    slot_fn fn;
    void *ctx;
    bool learn;
    size_t *first; /* (n_pass + 1) */
    size_t n_pass;
    double *foreign; /* gradients of prompts that another rank has: nobody's */
    size_t n_foreign;
    pass own; /* between its forward and its back */
} slot_passes;

static size_t told_by(void *ctx, size_t k) {
    const slot_passes *s = ctx;
    size_t n = 0;
    for (size_t i = s->first[k]; i < s->first[k + 1]; i++) n += s->list[i].n_row * s->list[i].n_allowed;
    return n;
}

static pgr_status slots_forward(void *ctx, size_t k, double *told, pgr_error *err) {
    slot_passes *s = ctx;
    pass *p = &s->own;
    *p = (pass){.r = s->r, .list = s->list + s->first[k], .n = s->first[k + 1] - s->first[k]};
    PGR_TRY(pass_alloc(p, err));
    list_rows(p);
    PGR_TRY(backward_forward(s->r->b, p->seqs, p->n, p->rows, p->n_row, p->logits, err));
    read_slots(p);
    memcpy(told, p->z, p->n_grad * sizeof *told);
    return PGR_OK;
}

static void slots_take(void *ctx, size_t k, const double *told, bool mine) {
    slot_passes *s = ctx;
    double *dz = mine ? s->own.dz : s->foreign;
    if (!mine && s->learn) memset(s->foreign, 0, s->n_foreign * sizeof *s->foreign);
    for (size_t i = s->first[k], at = 0; i < s->first[k + 1]; i++) {
        s->fn(s->ctx, i, told + at, s->learn ? dz + at : NULL);
        at += s->list[i].n_row * s->list[i].n_allowed;
    }
    if (mine && !s->learn) {
        pass_free(&s->own);
        s->own = (pass){0};
    }
}

static pgr_status slots_back(void *ctx, size_t k, pgr_error *err) {
    slot_passes *s = ctx;
    pass *p = &s->own;
    (void)k;
    for (size_t j = 0; j < p->n_grad; j++) p->dlogit[j] = (float)p->dz[j];
    pgr_status status = backward_run_sparse(s->r->b, &(sparse_grads){p->start, p->token, p->dlogit}, err);
    pass_free(p);
    *p = (pass){0};
    return status;
}

/* As many prompts to a pass as fit. */
static pgr_status cut(slot_passes *s, pgr_error *err) {
    size_t room = s->r->o->pass_tokens;
    s->first = mem_array(s->n + 1, sizeof *s->first);
    if (!s->first) return fail_mem(err);
    for (size_t i = 0, tokens = 0; i < s->n; i++) {
        if (s->list[i].n > room)
            return fail(err, PGR_E_LIMIT, "a prompt has %zu tokens, expected at most those of a pass, %zu",
                        s->list[i].n, room);
        train_seq q = seq_of(s->list, s->n_pass > 0 ? s->first[s->n_pass - 1] : i, i);
        if (i == 0 || tokens + q.n - q.shared > room) {
            s->first[s->n_pass++] = i;
            tokens = s->list[i].n;
        } else {
            tokens += q.n - q.shared;
        }
    }
    s->first[s->n_pass] = s->n;
    for (size_t k = 0; k < s->n_pass; k++) s->n_foreign = told_by(s, k) > s->n_foreign ? told_by(s, k) : s->n_foreign;
    if (!s->r->ranks || !s->learn) return PGR_OK;
    s->foreign = mem_array(s->n_foreign + 1, sizeof *s->foreign);
    return s->foreign ? PGR_OK : fail_mem(err);
}

pgr_status run_slots(train_run *r, const slot_seq *list, size_t n, slot_fn fn, void *ctx, bool learn, pgr_error *err) {
    slot_passes s = {.r = r, .list = list, .n = n, .fn = fn, .ctx = ctx, .learn = learn};
    pass_fns f = {told_by, slots_forward, slots_take, learn ? slots_back : NULL};
    pgr_status status = ranks_agree(r->ranks, cut(&s, err), err);
    if (status == PGR_OK) status = run_passes(r, s.n_pass, &f, &s, err);
    pass_free(&s.own);
    mem_free(s.first);
    mem_free(s.foreign);
    return status;
}
