/* pass.c - prompts with slots become batches of the backward pass. What a prompt begins with like the one before it
 * (both orders of a pair: instructions, history, query) is computed once. */
#include <string.h>

#include "base/mem.h"
#include "base/watch.h"
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

static pgr_status run_pass(pass *p, size_t first, slot_fn fn, void *ctx, bool learn, pgr_error *err) {
    backward *b = p->r->b;
    PGR_TRY(pass_alloc(p, err));
    list_rows(p);
    PGR_TRY(backward_forward(b, p->seqs, p->n, p->rows, p->n_row, p->logits, err));
    read_slots(p);
    for (size_t i = 0, at = 0; i < p->n; i++) {
        fn(ctx, first + i, p->z + at, learn ? p->dz + at : NULL);
        at += p->list[i].n_row * p->list[i].n_allowed;
    }
    if (!learn) return PGR_OK;
    for (size_t j = 0; j < p->n_grad; j++) p->dlogit[j] = (float)p->dz[j];
    return backward_run_sparse(b, &(sparse_grads){p->start, p->token, p->dlogit}, err);
}

pgr_status run_slots(train_run *r, const slot_seq *list, size_t n, slot_fn fn, void *ctx, bool learn, pgr_error *err) {
    size_t room = r->o->pass_tokens;
    for (size_t i = 0; i < n;) {
        size_t count = 0;
        for (size_t tokens = 0; i + count < n; count++) {
            train_seq s = seq_of(list, i, i + count);
            tokens += s.n - s.shared;
            if (tokens > room) break;
        }
        if (count == 0)
            return fail(err, PGR_E_LIMIT, "a prompt has %zu tokens, expected at most those of a pass, %zu", list[i].n,
                        room);
        PGR_TRY(watch_check(&r->o->watch, err));
        pass p = {.r = r, .list = list + i, .n = count};
        pgr_status s = run_pass(&p, i, fn, ctx, learn, err);
        pass_free(&p);
        if (s != PGR_OK) return s;
        i += count;
    }
    return PGR_OK;
}
