/* summary_best.c - best of N: rows of one user in one conversation that share the chosen response are one choice among
 * more than two. The chosen one is picked where it beats each of the others; a tie shares the place. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/summary_parts.h"

typedef summary_work work;

typedef struct member { /* a row, and what it has in common with the others of its group */
    size_t user, question, chosen;
    const char *conversation;
    size_t row;
} member;

static int by_group(const void *a, const void *b) {
    const member *x = a, *y = b;
    if (x->user != y->user) return x->user < y->user ? -1 : 1;
    if (x->question != y->question) return x->question < y->question ? -1 : 1;
    if (x->chosen != y->chosen) return x->chosen < y->chosen ? -1 : 1;
    return strcmp(x->conversation, y->conversation);
}

static int by_group_and_row(const void *a, const void *b) {
    const member *x = a, *y = b;
    int order = by_group(a, b);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

static member *sorted_members(const work *w) {
    member *m = arena_array(w->a, w->n_row + 1, sizeof *m);
    for (size_t i = 0; m && i < w->n_row; i++) {
        const bench_row *r = &w->in->d->rows[w->in->asked[i]];
        m[i] = (member){r->user, r->question, r->item[0], r->record.conversation_id, i};
    }
    if (m) qsort(m, w->n_row, sizeof *m, by_group_and_row);
    return m;
}

typedef struct sums {        /* over groups */
    double *picked;          /* (n) share of the verdicts in which the chosen one is the best */
    size_t *user, *question; /* (n) */
    size_t n;
    double responses, random, rank, random_rank;
} sums;

static void add_group(const work *w, const summary_line *line, const member *m, size_t n, sums *s) {
    double picked = 0, rank = 0;
    for (size_t r = 0; r < line->n_verdict; r++) {
        size_t lost = 0, tied = 0;
        for (size_t k = 0; k < n; k++) {
            double right = summary_at(w, line, r, m[k].row)->right;
            lost += right < 0.5;
            tied += right == 0.5;
        }
        if (lost == 0) picked += 1 / (1 + (double)tied);
        rank += 1 + (double)lost + (double)tied / 2;
    }
    s->picked[s->n] = picked / (double)line->n_verdict;
    s->user[s->n] = m->user;
    s->question[s->n++] = w->by.question[m->row];
    s->responses += (double)n + 1;
    s->random += 1 / ((double)n + 1);
    s->rank += rank / (double)line->n_verdict;
    s->random_rank += ((double)n + 2) / 2;
}

static pgr_bench_best average(const work *w, const sums *s) {
    double n = (double)s->n;
    if (s->n == 0) return (pgr_bench_best){0};
    clusters by = w->by;
    by.user = s->user;
    by.question = s->question;
    by.n = s->n;
    mean_both m = mean_by_both(&by, s->picked);
    return (pgr_bench_best){.groups = s->n,
                            .responses = s->responses / n,
                            .accuracy = m.mean,
                            .errors = {m.se_user, m.se_question},
                            .random = s->random / n,
                            .rank = s->rank / n,
                            .random_rank = s->random_rank / n};
}

pgr_status summary_add_best(const work *w, const summary_line *line, pgr_bench_row *out) {
    member *m = sorted_members(w);
    sums s = {.picked = arena_array(w->a, w->n_row + 1, sizeof *s.picked),
              .user = arena_array(w->a, w->n_row + 1, sizeof *s.user),
              .question = arena_array(w->a, w->n_row + 1, sizeof *s.question)};
    if (!m || !s.picked || !s.user || !s.question) return fail_mem(w->err);
    for (size_t i = 0, n; i < w->n_row; i += n) {
        for (n = 1; i + n < w->n_row && by_group(&m[i], &m[i + n]) == 0; n++) continue;
        if (n > 1) add_group(w, line, m + i, n, &s);
    }
    out->best = average(w, &s);
    return PGR_OK;
}
