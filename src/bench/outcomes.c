/* outcomes.c - a calibration from a benchmark's verdicts, for each kind its own map; see outcomes.h. */
#include "bench/outcomes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "judge/calibration.h"

/* Fewer are no map: of n outcomes it would say at most 1 - 1 / (n + 2), here .9, whatever they are. */
enum { LEAST = 8 };

/* ---- collecting -------------------------------------------------------------------------------------------------- */

bool outcomes_all_lead(const pgr_gap *leads, size_t n) {
    double freedom = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(leads[i].mean)) return false;
        freedom += leads[i].n - 1;
    }
    return freedom > 1e-6; /* some verdict has two chains */
}

/* Room for n more. */
static pgr_status grow(outcomes *o, size_t n, arena *a, pgr_error *err) {
    size_t most = o->n + n + 1;
    double *x = arena_array(a, most, sizeof *x), *y = arena_array(a, most, sizeof *y);
    pgr_gap *leads = arena_array(a, most, sizeof *leads);
    if (!x || !y || !leads) return fail_mem(err);
    if (o->n) {
        memcpy(x, o->x, o->n * sizeof *x);
        memcpy(y, o->y, o->n * sizeof *y);
        memcpy(leads, o->leads, o->n * sizeof *leads);
    }
    o->x = x;
    o->y = y;
    o->leads = leads;
    return PGR_OK;
}

/* Of the response shown first, which is the chosen one by the row's parity: a map fitted on chosen responses alone
 * would see one outcome only. */
static void add(outcomes *o, const bench_verdict *v, bool first) {
    o->x[o->n] = first ? v->p : 1 - v->p;
    o->leads[o->n] = v->lead;
    if (!first) o->leads[o->n].mean = -v->lead.mean;
    o->y[o->n++] = first ? 1 : 0;
}

pgr_status outcomes_add(const verdict_table *t, outcomes of[PGR_VERDICT_KINDS], arena *a, pgr_error *err) {
    size_t cell = t->n_cell, n = t->n_run * t->n_row;
    for (size_t c = 0; c < t->n_cell; c++)
        if (strcmp(t->cells[c].method, "p-genrm") == 0 && !t->cells[c].stranger && !t->cells[c].plain) cell = c;
    if (cell == t->n_cell) return PGR_OK;
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) PGR_TRY(grow(&of[k], n, a, err));
    for (size_t i = 0; i < n; i++) {
        const bench_verdict *v = verdict_at(t, cell, 0, i); /* the runs of a cell follow each other */
        if (!isnan(v->p)) add(&of[v->kind], v, i % 2 == 0);
    }
    return PGR_OK;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* What the file has already; NULL: it is not there, or empty. */
static pgr_status open_there(const char *path, pgr_calibration **out, pgr_error *err) {
    struct stat st;
    *out = NULL;
    if (stat(path, &st) != 0 || st.st_size == 0) return PGR_OK;
    return pgr_calibration_open(path, out, err);
}

pgr_status outcomes_check(const char *path, const char *kind, pgr_error *err) {
    pgr_verdict_kind found;
    pgr_calibration *there = NULL;
    if (kind && !verdict_kind_find(kind, &found))
        return fail(err, PGR_E_ARG, "bench: there is no kind of verdict \"%.60s\", expected \"answers\" or \"views\"",
                    kind);
    PGR_TRY(file_check_writable(path, err));
    PGR_TRY(open_there(path, &there, err));
    pgr_calibration_free(there);
    return PGR_OK;
}

static pgr_status fit(const outcomes *o, pgr_verdict_kind kind, pgr_calibration **out, pgr_error *err) {
    if (outcomes_all_lead(o->leads, o->n))
        return pgr_calibration_fit_gaps(kind, PGR_CALIBRATION_TEMPERATURE, o->leads, o->y, o->n, out, err);
    /* one chain a verdict: nothing tells what varies between chains */
    return pgr_calibration_fit(kind, PGR_CALIBRATION_TEMPERATURE, PGR_CALIBRATION_PROBABILITY, o->x, o->y, o->n, out,
                               err);
}

static bool asked_for(const char *kind, int k) {
    return !kind || strcmp(kind, pgr_verdict_kind_name((pgr_verdict_kind)k)) == 0;
}

/* The maps of the kinds that have enough; NULL: of none. */
static pgr_status fit_all(const outcomes of[PGR_VERDICT_KINDS], const char *kind, pgr_calibration **out,
                          pgr_error *err) {
    pgr_calibration *all = NULL, *one = NULL;
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) {
        if (!asked_for(kind, k) || of[k].n < LEAST) continue;
        pgr_status s = fit(&of[k], (pgr_verdict_kind)k, &one, err);
        if (s != PGR_OK) {
            pgr_calibration_free(all);
            return s;
        }
        if (all)
            pgr_calibration_join(all, one);
        else
            all = one;
    }
    *out = all;
    return PGR_OK;
}

/* What became of each kind. there: of the file before, or NULL. */
static pgr_status note_kinds(const outcomes of[PGR_VERDICT_KINDS], const char *path, const pgr_calibration *made,
                             const pgr_calibration *there, bench_notes *notes, arena *a, pgr_error *err) {
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) {
        pgr_verdict_kind kind = (pgr_verdict_kind)k;
        const char *name = pgr_verdict_kind_name(kind);
        size_t kept = pgr_calibration_outcomes(there, kind);
        if (pgr_calibration_outcomes(made, kind))
            PGR_TRY(notes_add(notes, a, err, "%s: %s: fitted on %zu verdicts", path, name, of[k].n));
        else if (kept)
            PGR_TRY(
                notes_add(notes, a, err, "%s: %s: the map that was there, of %zu verdicts, stays", path, name, kept));
        else
            PGR_TRY(notes_add(notes, a, err, "%s: %s: no map, of %zu verdicts", path, name, of[k].n));
    }
    return PGR_OK;
}

pgr_status outcomes_write(const outcomes of[PGR_VERDICT_KINDS], const char *path, const char *kind, bench_notes *notes,
                          arena *a, pgr_error *err) {
    pgr_calibration *made = NULL, *there = NULL;
    PGR_TRY(fit_all(of, kind, &made, err));
    if (!made)
        return fail(err, PGR_E_ARG,
                    "%s: found %zu verdicts of answers and %zu of views by p-genrm to fit a calibration on, expected "
                    "%d of %s",
                    path, of[PGR_VERDICT_ANSWERS].n, of[PGR_VERDICT_VIEWS].n, LEAST, kind ? kind : "a kind");
    pgr_status s = open_there(path, &there, err);
    if (s == PGR_OK) s = note_kinds(of, path, made, there, notes, a, err);
    if (s == PGR_OK && there) {
        pgr_calibration_join(there, made);
        made = there;
        there = NULL;
    }
    if (s == PGR_OK) s = pgr_calibration_write(made, path, err);
    pgr_calibration_free(made);
    pgr_calibration_free(there);
    return s;
}
