/* cells.c - see cells.h. */
#include "bench/cells.h"

#include <string.h>

typedef struct planning {
    const pgr_bench_options *o;
    bench_cells *cells;
    pgr_error *err;
} planning;

static pgr_status add_alone(const planning *p, bench_cell c) {
    if (p->cells->n == BENCH_MAX_CELLS)
        return fail(p->err, PGR_E_LIMIT,
                    "bench: more than %d methods, numbers of chains and strangers for one data set, expected fewer",
                    BENCH_MAX_CELLS);
    p->cells->list[p->cells->n++] = c;
    return PGR_OK;
}

/* The cell, and its strangers where it has a history. */
static pgr_status add_cell(const planning *p, bench_cell c) {
    PGR_TRY(add_alone(p, c));
    for (size_t k = 1; c.personal && k <= p->o->strangers; k++) {
        c.stranger = (int)k;
        PGR_TRY(add_alone(p, c));
    }
    return PGR_OK;
}

static bool same_cell(const bench_cell *a, const bench_cell *b) {
    return strcmp(a->method, b->method) == 0 && a->ind == b->ind && a->pro == b->pro && a->stranger == b->stranger
           && a->plain == b->plain;
}

static pgr_status add_unless_there(const planning *p, bench_cell c) {
    for (size_t i = 0; i < p->cells->n; i++)
        if (same_cell(&p->cells->list[i], &c)) return PGR_OK;
    return add_alone(p, c);
}

static pgr_status add_statistic(const planning *p, const bench_method *m, const bench_data *d, arena *a,
                                bench_notes *notes) {
    if (m->needs == NEEDS_EMBEDDER && !p->o->embedder)
        return notes_add(notes, a, p->err, "%s: %s is left out, it needs an embedder", d->name, m->name);
    bench_cell c = {.method = m->name, .statistic = m, .personal = m->personal};
    PGR_TRY(add_cell(p, c));
    c.plain = true;
    c.personal = false;
    return m->personal ? add_alone(p, c) : PGR_OK;
}

static pgr_status add_statistics(const planning *p, const bench_data *d, arena *a, bench_notes *notes) {
    const pgr_bench_options *o = p->o;
    for (const bench_method *m = BENCH_METHODS; m->name; m++)
        if (methods_run(o, m) || strcmp(m->name, "longest") == 0) /* an accuracy means nothing without it */
            PGR_TRY(add_statistic(p, m, d, a, notes));
    if (o->n_methods ? methods_list(o, SCALAR_METHOD) : o->scalar != NULL)
        PGR_TRY(add_cell(p, (bench_cell){.method = SCALAR_METHOD, .scalar = true}));
    return PGR_OK;
}

static bool some_demographics(const bench_data *d) {
    for (size_t i = 0; i < d->n_user; i++)
        if (d->users[i].n_test && *d->users[i].demographics) return true;
    return false;
}

static pgr_status add_prompts(const planning *p, const bench_data *d, arena *a, bench_notes *notes) {
    const pgr_bench_options *o = p->o;
    if (!pgr_bench_asks_model(o)) return PGR_OK;
    for (const prompt_method *m = PROMPT_METHODS; m->name; m++) {
        if (o->n_methods ? !methods_list(o, m->name) : m->baseline && !o->baselines) continue;
        if (m->demographics && !some_demographics(d)) {
            PGR_TRY(notes_add(notes, a, p->err, "%s: %s is left out, the data tell no demographics", d->name, m->name));
            continue;
        }
        for (size_t i = 0; i < o->n_ind; i++)
            for (size_t j = 0; j < (m->baseline ? 1 : o->n_pro); j++) {
                int ind = o->ind[i], pro = m->baseline ? 0 : o->pro[j];
                if (ind + pro == 0) continue;
                PGR_TRY(add_cell(p, (bench_cell){.method = m->name,
                                                 .frame = m->frame,
                                                 .ind = ind,
                                                 .pro = pro,
                                                 .personal = m->personal,
                                                 .demographics = m->demographics}));
            }
    }
    return PGR_OK;
}

/* What a row of p-genrm is fairly compared with: as many chains under the own history alone, as many without any. */
static pgr_status add_comparisons(const planning *p) {
    size_t n = p->cells->n;
    for (size_t i = 0; i < n && p->o->baselines; i++) {
        bench_cell c = p->cells->list[i];
        if (strcmp(c.method, "p-genrm") != 0 || c.stranger) continue;
        c.ind += c.pro;
        c.pro = 0;
        PGR_TRY(add_unless_there(p, c));
        c.personal = false;
        c.plain = true;
        PGR_TRY(add_unless_there(p, c));
    }
    return PGR_OK;
}

pgr_status cells_plan(const pgr_bench_options *o, const bench_data *d, arena *a, bench_cells *out, bench_notes *notes,
                      pgr_error *err) {
    out->n = 0;
    out->list = arena_array(a, BENCH_MAX_CELLS, sizeof *out->list);
    if (!out->list) return fail_mem(err);
    planning p = {.o = o, .cells = out, .err = err};
    PGR_TRY(add_statistics(&p, d, a, notes));
    PGR_TRY(add_prompts(&p, d, a, notes));
    return add_comparisons(&p);
}
