/* bench_train.c - tokens per second of a training step's forward and backward (LoRA on every matrix).
 *
 *     bench_train MODEL DTYPE THREADS SEQS TOKENS WANTED FIRST_LAYER RANK STEPS
 *         DTYPE: exact, f32, bf16, int8; SEQS sequences of TOKENS tokens, the last WANTED of each ask for logits
 *
 * The first step, which makes the head's transpose, is not counted. Prints one line: the median of the steps, and what
 * processor time alone would give, which on a busy machine says more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "model/backward.h"

typedef struct setup {
    pgr_model *m;
    trainable *t;
    backward *b;
    train_seq *seqs;
    train_row *rows;
    size_t n_seq, n_token, n_want;
    float *logits;
    double *forward, *back, *cpu; /* seconds of each step; of processors */
} setup;

static pgr_dtype dtype_of(const char *name) {
    for (pgr_dtype d = PGR_DTYPE_EXACT; d < PGR_DTYPE_INT8; d++)
        if (strcmp(name, pgr_dtype_name(d)) == 0) return d;
    return PGR_DTYPE_INT8;
}

static void fill(setup *s) {
    int32_t *tokens = mem_array(s->n_seq * s->n_token, sizeof *tokens);
    s->seqs = mem_array(s->n_seq, sizeof *s->seqs);
    s->rows = mem_array(s->n_seq * s->n_want, sizeof *s->rows);
    s->logits = mem_array(s->n_seq * s->n_want, s->m->config.n_vocab * sizeof *s->logits);
    for (size_t i = 0; i < s->n_seq * s->n_token; i++)
        tokens[i] = (int32_t)((i * 7919 + i / s->n_token * 31) % (s->m->config.n_vocab - 100) + 50);
    for (size_t i = 0; i < s->n_seq; i++) {
        s->seqs[i] = (train_seq){.tokens = tokens + i * s->n_token, .n = s->n_token};
        for (size_t k = 0; k < s->n_want; k++)
            s->rows[i * s->n_want + k] = (train_row){(uint32_t)i, (uint32_t)(s->n_token - s->n_want + k)};
    }
}

static pgr_status step(setup *s, size_t i, pgr_error *err) {
    clock_t cpu = clock();
    double start = clock_now();
    PGR_TRY(backward_forward(s->b, s->seqs, s->n_seq, s->rows, s->n_seq * s->n_want, s->logits, err));
    s->forward[i] = clock_now() - start;
    for (size_t k = 0; k < s->n_seq * s->n_want * s->m->config.n_vocab; k++) s->logits[k] *= 1e-4f;
    start = clock_now();
    PGR_TRY(backward_run(s->b, s->logits, err));
    s->back[i] = clock_now() - start;
    s->cpu[i] = (double)(clock() - cpu) / CLOCKS_PER_SEC;
    return PGR_OK;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static pgr_status run(setup *s, char **argv, pgr_error *err) {
    pgr_model_options o = pgr_model_options_default();
    trainable_options t = trainable_options_default();
    size_t steps = (size_t)atoi(argv[9]);
    o.dtype = dtype_of(argv[2]), o.n_thread = atoi(argv[3]);
    s->n_seq = (size_t)atoi(argv[4]), s->n_token = (size_t)atoi(argv[5]), s->n_want = (size_t)atoi(argv[6]);
    t.first_layer = (size_t)atoi(argv[7]), t.rank = (size_t)atoi(argv[8]);
    PGR_TRY(pgr_model_open(argv[1], &o, &s->m, err));
    PGR_TRY(trainable_create(s->m, &t, &s->t, err));
    PGR_TRY(backward_create(s->m, s->t, s->n_seq * s->n_token, &s->b, err));
    fill(s);
    s->forward = mem_array(steps + 1, sizeof *s->forward), s->back = mem_array(steps + 1, sizeof *s->back);
    s->cpu = mem_array(steps + 1, sizeof *s->cpu);
    for (size_t i = 0; i <= steps; i++) PGR_TRY(step(s, i, err));
    qsort(s->forward + 1, steps, sizeof *s->forward, by_size);
    qsort(s->back + 1, steps, sizeof *s->back, by_size);
    qsort(s->cpu + 1, steps, sizeof *s->cpu, by_size);
    double n = (double)(s->n_seq * s->n_token), f = s->forward[1 + steps / 2], b = s->back[1 + steps / 2];
    printf("%s, %zu x %zu tokens, %zu wanted, layers from %zu, rank %zu: %.0f tokens/s (forward %.0f, backward %.0f); "
           "%.0f by processor time; %zu MB\n",
           argv[2], s->n_seq, s->n_token, s->n_want, t.first_layer, t.rank, n / (f + b), n / f, n / b,
           n / s->cpu[1 + steps / 2] * (double)pool_size(s->m->threads), backward_bytes(s->b) >> 20);
    return PGR_OK;
}

int main(int argc, char **argv) {
    setup s = {0};
    pgr_error err = {0};
    if (argc != 10) {
        fprintf(stderr, "usage: bench_train MODEL DTYPE THREADS SEQS TOKENS WANTED FIRST_LAYER RANK STEPS\n");
        return 2;
    }
    pgr_status status = run(&s, argv, &err);
    if (status != PGR_OK) fprintf(stderr, "%s\n", err.message);
    if (s.seqs) mem_free((void *)(uintptr_t)s.seqs[0].tokens);
    mem_free(s.seqs), mem_free(s.rows), mem_free(s.logits), mem_free(s.forward), mem_free(s.back), mem_free(s.cpu);
    backward_free(s.b);
    trainable_free(s.t);
    pgr_model_close(s.m);
    return status != PGR_OK;
}
