/* robust.c - hollow texts against chosen responses; see robust.h. */
#include "bench/robust.h"

#include <string.h>

#include "base/mem.h"
#include "bench/derive.h"
#include "bench/mean.h"

typedef struct hollow_set {
    bench_data *d;
    fits *f;
    bench_cell *cells; /* (n) those of the table that are no controls */
    size_t *line;      /* (n) their lines there */
    size_t n;
    verdict_table t;
    arena a; /* of all that is not the rows' */
} hollow_set;

static pgr_status choose_cells(const verdict_table *t, hollow_set *h, pgr_error *err) {
    summary_line *lines = arena_array(&h->a, t->n_cell + 1, sizeof *lines);
    h->cells = arena_array(&h->a, t->n_cell + 1, sizeof *h->cells);
    h->line = arena_array(&h->a, t->n_cell + 1, sizeof *h->line);
    if (!lines || !h->cells || !h->line) return fail_mem(err);
    size_t n_line = summary_lines(t, lines);
    for (size_t l = 0; l < n_line; l++) {
        const bench_cell *c = &t->cells[lines[l].cell];
        if (c->stranger || c->plain) continue;
        h->cells[h->n] = *c;
        h->line[h->n++] = l;
    }
    return PGR_OK;
}

static pgr_status ask_all(const run_input *main, hollow_set *h, pgr_error *err) {
    run_input in = *main;
    size_t *asked = arena_array(&h->a, h->d->n_test + 1, sizeof *asked), n = 0;
    if (!asked) return fail_mem(err);
    for (size_t i = 0; i < h->d->n_row; i++)
        if (!h->d->rows[i].train) asked[n++] = i;
    in.d = h->d;
    in.asked = asked;
    in.fits = h->f;
    h->t = (verdict_table){.data = h->d->name,
                           .cells = h->cells,
                           .n_cell = h->n,
                           .n_run = (size_t)main->o->runs,
                           .n_row = h->d->n_test,
                           .arena = &h->a};
    h->t.v = arena_array(&h->a, h->t.n_cell * h->t.n_run * h->t.n_row + 1, sizeof *h->t.v);
    if (!h->t.v) return fail_mem(err);
    PGR_TRY(journal_read(main->j, &h->t, err));
    return run_cells(&in, &h->t, err);
}

/* Shares of the i-th asked row's verdicts that go to kind k, the table's cell `cell`. */
static double won(const verdict_table *t, size_t cell, size_t i, size_t k) {
    double right = 0;
    for (size_t r = 0; r < t->n_run; r++) right += verdict_at(t, cell, r, i * HOLLOW_KINDS + k)->right;
    return 1 - right / (double)t->n_run;
}

static pgr_status tell(const run_input *main, hollow_set *h, arena *keep, pgr_bench_row *rows, pgr_error *err) {
    const bench_data *d = main->d;
    size_t most = d->n_user > d->n_topic ? d->n_user : d->n_topic, n = d->n_test;
    size_t *user = arena_array(&h->a, n + 1, sizeof *user), *question = arena_array(&h->a, n + 1, sizeof *question);
    double *v = arena_array(&h->a, n + 1, sizeof *v);
    clusters by = {user,
                   question,
                   n,
                   d->n_user,
                   d->n_topic,
                   arena_array(&h->a, most + 1, sizeof(double)),
                   arena_array(&h->a, most + 1, sizeof(size_t))};
    if (!user || !question || !v || !by.residuals || !by.counts) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        user[i] = d->rows[main->asked[i]].user;
        question[i] = d->rows[main->asked[i]].topic;
    }
    for (size_t c = 0; c < h->n; c++) {
        pgr_bench_hollow *list = arena_array(keep, HOLLOW_KINDS, sizeof *list);
        if (!list) return fail_mem(err);
        for (size_t k = 0; k < HOLLOW_KINDS; k++) {
            for (size_t i = 0; i < n; i++) v[i] = won(&h->t, c, i, k);
            mean_both m = mean_by_both(&by, v);
            list[k] = (pgr_bench_hollow){HOLLOW_NAMES[k], m.mean, m.se};
        }
        rows[h->line[c]].hollow = list;
        rows[h->line[c]].n_hollow = HOLLOW_KINDS;
    }
    return PGR_OK;
}

pgr_status robust_run(const run_input *main, const verdict_table *t, const stat_source *source, arena *keep,
                      pgr_bench_row *rows, pgr_error *err) {
    hollow_set h = {.n = 0};
    stat_source s = *source;
    pgr_status status = hollow_data(main->d, &h.d, err);
    if (status == PGR_OK) {
        s.d = h.d;
        s.surface = s.gaps = NULL;
        s.known = s.vectors; /* the first items are the same */
        s.n_known = s.vectors ? main->d->n_item : 0;
        s.vectors = NULL;
        status = fits_open(&s, main->o->embedder, main->o->scalar, &h.f, err);
    }
    if (status == PGR_OK) status = choose_cells(t, &h, err);
    if (status == PGR_OK) status = ask_all(main, &h, err);
    if (status == PGR_OK) status = tell(main, &h, keep, rows, err);
    fits_close(h.f);
    bench_data_free(h.d);
    arena_free(&h.a);
    return status;
}
