/* bench_train.c - tokens per second of a training step's forward and backward (LoRA on every matrix, or all weights),
 * and what a tree saves.
 *
 *     bench_train MODEL DTYPE THREADS SEQS TOKENS WANTED FIRST_LAYER RANK STEPS [PREFIX]
 *         DTYPE: exact, f32, bf16, int8; SEQS sequences of TOKENS tokens, the last WANTED of each ask for logits
 *         RANK: 0 trains all weights of a Hugging Face folder; packing them anew is part of a step's backward
 *         PREFIX: the first tokens of all are the same: each sequence by itself against all of them as a tree
 *
 * The first step, which makes the head's transpose, is not counted. Prints one line: the median of the steps, and what
 * processor time alone would give, which on a busy machine says more; of a tree one for each way and their ratio,
 * beside what would be saved if every token cost the same, K (P + R) / (P + K R). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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
    size_t n_seq, n_token, n_want, prefix, steps;
    float *logits;
    double *forward, *back, *cpu; /* seconds of each step; of processors */
} setup;

typedef struct speed { /* medians of the steps' seconds */
    double forward, back, cpu;
} speed;

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
        tokens[i] = (int32_t)((i % s->n_token < s->prefix ? i % s->n_token * 7919 : i * 7919 + i / s->n_token * 31)
                                  % (s->m->config.n_vocab - 100)
                              + 50);
    for (size_t i = 0; i < s->n_seq; i++) {
        s->seqs[i] = (train_seq){.tokens = tokens + i * s->n_token, .n = s->n_token};
        for (size_t k = 0; k < s->n_want; k++)
            s->rows[i * s->n_want + k] = (train_row){(uint32_t)i, (uint32_t)(s->n_token - s->n_want + k)};
    }
}

static pgr_status step(setup *s, size_t n_seq, size_t i, pgr_error *err) {
    clock_t cpu = clock();
    double start = clock_now();
    size_t n_row = n_seq * s->n_want;
    PGR_TRY(backward_forward(s->b, s->seqs, n_seq, s->rows, n_row, s->logits, err));
    s->forward[i] = clock_now() - start;
    for (size_t k = 0; k < n_row * s->m->config.n_vocab; k++) s->logits[k] *= 1e-4f;
    start = clock_now();
    PGR_TRY(backward_run(s->b, s->logits, err));
    PGR_TRY(backward_changed(s->b, err));
    s->back[i] = clock_now() - start;
    s->cpu[i] = (double)(clock() - cpu) / CLOCKS_PER_SEC;
    return PGR_OK;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, size_t n) { /* of x[1] .. x[n] */
    qsort(x + 1, n, sizeof *x, by_size);
    return x[1 + n / 2];
}

/* The first n_seq sequences, `tokens` tokens in a pass. */
static pgr_status measure(setup *s, size_t n_seq, size_t tokens, speed *out, pgr_error *err) {
    backward_free(s->b);
    s->b = NULL;
    PGR_TRY(backward_create(s->m, s->t, tokens, &s->b, err));
    for (size_t i = 0; i <= s->steps; i++) PGR_TRY(step(s, n_seq, i, err));
    *out = (speed){median(s->forward, s->steps), median(s->back, s->steps), median(s->cpu, s->steps)};
    return PGR_OK;
}

static void print_speed(const setup *s, const char *what, size_t n, speed v) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("%s: %.1f tokens/s (forward %.1f, backward %.1f); %.1f by processor time; pass %zu MB, peak %ld MB\n", what,
           (double)n / (v.forward + v.back), (double)n / v.forward, (double)n / v.back,
           (double)n / v.cpu * (double)pool_size(s->m->threads), backward_bytes(s->b) >> 20, use.ru_maxrss >> 10);
    fflush(stdout);
}

static pgr_status run_tree(setup *s, pgr_error *err) {
    speed flat, tree;
    PGR_TRY(measure(s, 1, s->n_token, &flat, err));
    print_speed(s, "one sequence", s->n_token, flat);
    size_t own = backward_share(s->seqs, s->n_seq, s->rows, s->n_seq * s->n_want), all = s->n_seq * s->n_token;
    PGR_TRY(measure(s, s->n_seq, own, &tree, err));
    print_speed(s, "tree, of what flat would compute", all, tree);
    double wall = (double)s->n_seq * (flat.forward + flat.back) / (tree.forward + tree.back);
    double cpu = (double)s->n_seq * flat.cpu / tree.cpu, ideal = (double)all / (double)own;
    printf("%zu x (%zu + %zu): %.2f times, ideal %.2f, measured / ideal %.2f; by processor time %.2f, %.2f\n", s->n_seq,
           s->prefix, s->n_token - s->prefix, wall, ideal, wall / ideal, cpu, cpu / ideal);
    return PGR_OK;
}

static pgr_status run(setup *s, int argc, char **argv, pgr_error *err) {
    pgr_model_options o = pgr_model_options_default();
    trainable_options t = trainable_options_default();
    o.dtype = dtype_of(argv[2]), o.n_thread = atoi(argv[3]);
    s->n_seq = (size_t)atoi(argv[4]), s->n_token = (size_t)atoi(argv[5]), s->n_want = (size_t)atoi(argv[6]);
    t.first_layer = (size_t)atoi(argv[7]), t.rank = (size_t)atoi(argv[8]), s->steps = (size_t)atoi(argv[9]);
    s->prefix = argc > 10 ? (size_t)atoi(argv[10]) : 0;
    PGR_TRY(pgr_model_open(argv[1], &o, &s->m, err));
    PGR_TRY(t.rank > 0 ? trainable_create(s->m, &t, &s->t, err) : trainable_create_whole(s->m, false, 0, &s->t, err));
    fill(s);
    s->forward = mem_array(s->steps + 1, sizeof *s->forward), s->back = mem_array(s->steps + 1, sizeof *s->back);
    s->cpu = mem_array(s->steps + 1, sizeof *s->cpu);
    printf("%s, %zu x %zu tokens, %zu wanted, layers from %zu, rank %zu\n", argv[2], s->n_seq, s->n_token, s->n_want,
           t.first_layer, t.rank);
    if (s->prefix > 0) return run_tree(s, err);
    speed flat;
    PGR_TRY(measure(s, s->n_seq, s->n_seq * s->n_token, &flat, err));
    print_speed(s, "flat", s->n_seq * s->n_token, flat);
    return PGR_OK;
}

int main(int argc, char **argv) {
    setup s = {0};
    pgr_error err = {0};
    if (argc != 10 && argc != 11) {
        fprintf(stderr, "usage: bench_train MODEL DTYPE THREADS SEQS TOKENS WANTED FIRST_LAYER RANK STEPS [PREFIX]\n");
        return 2;
    }
    pgr_status status = run(&s, argc, argv, &err);
    if (status != PGR_OK) fprintf(stderr, "%s\n", err.message);
    if (s.seqs) mem_free((void *)(uintptr_t)s.seqs[0].tokens);
    mem_free(s.seqs), mem_free(s.rows), mem_free(s.logits), mem_free(s.forward), mem_free(s.back), mem_free(s.cpu);
    backward_free(s.b);
    trainable_free(s.t);
    pgr_model_close(s.m);
    return status != PGR_OK;
}
