/* chain_pass.c - rows of logits for a chain's tokens, read and turned into gradients in place, in parallel. */
#include "train/chain_pass.h"

#include <math.h>

#include "base/mem.h"
#include "base/watch.h"

enum { LOGITS_MAX = 1 << 26 /* of a pass: a quarter of a GB */ };

typedef struct chain_pass {
    train_run *r;
    const chain_seq *list; /* (n) */
    size_t n, n_row, n_place, n_vocab;
    train_seq *seqs;
    train_row *rows;
    int32_t *token;                              /* (n_row) that comes there */
    float *logits;                               /* (n_row, n_vocab), then their gradient */
    double *log_p, *log_sum, *entropy, *d_log_p; /* (n_row) */
    uint8_t *hit;                                /* (n_row) */
    double *z, *dz;                              /* (n_place, CHAIN_NUMBERS) */
} chain_pass;

static void chain_pass_free(chain_pass *p) {
    mem_free(p->seqs);
    mem_free(p->rows);
    mem_free(p->token);
    mem_free(p->logits);
    mem_free(p->log_p);
    mem_free(p->hit);
    mem_free(p->z);
}

static pgr_status chain_pass_alloc(chain_pass *p, pgr_error *err) {
    for (size_t i = 0; i < p->n; i++) {
        p->n_row += p->list[i].n - p->list[i].from;
        p->n_place += p->list[i].n_place;
    }
    p->n_vocab = p->r->m->config.n_vocab;
    p->seqs = mem_array(p->n, sizeof *p->seqs);
    p->rows = mem_array(p->n_row + 1, sizeof *p->rows);
    p->token = mem_array(p->n_row + 1, sizeof *p->token);
    p->logits = mem_array(p->n_row + 1, p->n_vocab * sizeof *p->logits);
    p->log_p = mem_zero(4 * p->n_row + 1, sizeof *p->log_p);
    p->hit = mem_array(p->n_row + 1, sizeof *p->hit);
    p->z = mem_zero(p->n_place + 1, 2 * CHAIN_NUMBERS * sizeof *p->z);
    if (!p->seqs || !p->rows || !p->token || !p->logits || !p->log_p || !p->hit || !p->z) return fail_mem(err);
    p->log_sum = p->log_p + p->n_row;
    p->entropy = p->log_sum + p->n_row;
    p->d_log_p = p->entropy + p->n_row;
    p->dz = p->z + p->n_place * CHAIN_NUMBERS;
    return PGR_OK;
}

/* Sequence i of a pass; chains on one prompt, side by side, are branches of it. */
static train_seq seq_of(const chain_seq *list, size_t i) {
    train_seq s = {.tokens = list[i].tokens, .n = list[i].n};
    if (i == 0) return s;
    train_seq before = {.tokens = list[i - 1].tokens, .n = list[i - 1].n};
    s.shared = train_common(&before, &s, list[i].from - 1);
    return s;
}

static void list_rows(chain_pass *p) {
    size_t row = 0;
    for (size_t i = 0; i < p->n; i++) {
        const chain_seq *s = &p->list[i];
        p->seqs[i] = seq_of(p->list, i);
        for (size_t k = s->from; k < s->n; k++, row++) {
            p->rows[row] = (train_row){(uint32_t)i, (uint32_t)(k - 1)};
            p->token[row] = s->tokens[k];
        }
    }
}

static void read_row(void *ctx, size_t row, size_t worker) {
    chain_pass *p = ctx;
    const float *z = p->logits + row * p->n_vocab;
    size_t top = 0;
    double sum = 0, mean = 0;
    (void)worker;
    for (size_t i = 1; i < p->n_vocab; i++)
        if (z[i] > z[top]) top = i;
    for (size_t i = 0; i < p->n_vocab; i++) {
        double e = exp((double)z[i] - (double)z[top]);
        sum += e;
        mean += e * (double)z[i];
    }
    p->log_sum[row] = (double)z[top] + log(sum);
    p->log_p[row] = (double)z[p->token[row]] - p->log_sum[row];
    p->entropy[row] = p->log_sum[row] - mean / sum;
    p->hit[row] = top == (size_t)p->token[row];
}

/* The gradient of the row's log p: one at the token, less the distribution. */
static void turn_row(void *ctx, size_t row, size_t worker) {
    chain_pass *p = ctx;
    float *z = p->logits + row * p->n_vocab;
    double d = p->d_log_p[row];
    (void)worker;
    for (size_t i = 0; i < p->n_vocab; i++) z[i] = d == 0 ? 0 : (float)(-d * exp((double)z[i] - p->log_sum[row]));
    z[p->token[row]] += (float)d;
}

/* The places of all sequences: logits to z, or (add) dz to the gradients of the logits. */
static void places(chain_pass *p, bool add) {
    size_t row = 0, at = 0;
    for (size_t i = 0; i < p->n; i++) {
        const chain_seq *s = &p->list[i];
        for (size_t k = 0; k < s->n_place; k++, at++) {
            float *logits = p->logits + (row + s->places[k].token - s->from) * p->n_vocab;
            for (size_t j = 0; j < CHAIN_NUMBERS; j++) {
                int32_t token = s->places[k].allowed[j];
                if (add && token >= 0) logits[token] += (float)p->dz[at * CHAIN_NUMBERS + j];
                if (!add) p->z[at * CHAIN_NUMBERS + j] = token >= 0 ? (double)logits[token] : -INFINITY;
            }
        }
        row += s->n - s->from;
    }
}

static pgr_status run_pass(chain_pass *p, size_t first, chain_fn fn, void *ctx, bool learn, pgr_error *err) {
    PGR_TRY(chain_pass_alloc(p, err));
    list_rows(p);
    PGR_TRY(backward_forward(p->r->b, p->seqs, p->n, p->rows, p->n_row, p->logits, err));
    pool_run(p->r->m->threads, p->n_row, read_row, p);
    places(p, false);
    for (size_t i = 0, row = 0, at = 0; i < p->n; i++) {
        chain_reading r = {p->log_p + row, p->entropy + row, p->hit + row, p->z + at * CHAIN_NUMBERS};
        chain_grads g = {p->d_log_p + row, p->dz + at * CHAIN_NUMBERS};
        fn(ctx, first + i, &r, learn ? &g : NULL);
        row += p->list[i].n - p->list[i].from;
        at += p->list[i].n_place;
    }
    if (!learn) return PGR_OK;
    pool_run(p->r->m->threads, p->n_row, turn_row, p);
    places(p, true);
    return backward_run(p->r->b, p->logits, err);
}

/* How many of the sequences from the first on make a pass. */
static size_t fit(const train_run *r, const chain_seq *list, size_t n) {
    size_t count = 0, tokens = 0, rows = 0, rows_max = LOGITS_MAX / r->m->config.n_vocab;
    while (count < n) {
        train_seq s = seq_of(list, count);
        tokens += s.n - s.shared;
        rows += list[count].n - list[count].from;
        if (tokens > r->o->pass_tokens || (count > 0 && rows > rows_max)) break;
        count++;
    }
    return count;
}

pgr_status run_chains(train_run *r, const chain_seq *list, size_t n, chain_fn fn, void *ctx, bool learn,
                      pgr_error *err) {
    for (size_t i = 0; i < n;) {
        size_t count = fit(r, list + i, n - i);
        if (count == 0)
            return fail(err, PGR_E_LIMIT,
                        "a prompt and its chain have %zu tokens, expected at most those of a pass, %zu", list[i].n,
                        r->o->pass_tokens);
        PGR_TRY(watch_check(&r->o->watch, err));
        chain_pass p = {.r = r, .list = list + i, .n = count};
        pgr_status s = run_pass(&p, i, fn, ctx, learn, err);
        chain_pass_free(&p);
        if (s != PGR_OK) return s;
        i += count;
    }
    return PGR_OK;
}
