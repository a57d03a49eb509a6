/* bench.c - pgr_bench: each data set is read, its cells are filled with verdicts,
 * and the verdicts become rows and a report. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file_out.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/watch.h"
#include "bench/attributes.h"
#include "bench/bench_options.h"
#include "bench/company.h"
#include "bench/cv.h"
#include "bench/outcomes.h"
#include "bench/plan.h"
#include "bench/robust.h"
#include "bench/run.h"
#include "bench/scalar_fit.h"
#include "bench/summary.h"
#include "infer/engine.h"
#include "user/rules.h"

typedef struct report { /* the public part comes first */
    pgr_bench_report public;
    arena arena;
} report;

typedef struct bench {
    const pgr_bench_options *o;
    pgr_engine *engine;
    pgr_error *err;
    report *made;
    bench_data **sets; /* (n_data) */
    bench_notes notes;
    pgr_bench_row *rows; /* (n_row) */
    size_t n_row;
    journal j;
    pool *threads;                  /* of fits */
    outcomes of[PGR_VERDICT_KINDS]; /* for calibration_out */
} bench;

/* ---- data -------------------------------------------------------------------------------------------------------- */

/* What the files had and nobody is asked, by reason: a note for each. */
static pgr_status note_left_out(bench *b, const bench_data *d) {
    for (int why = 0; why < PGR_LEFT_N; why++)
        if (d->left_out[why])
            PGR_TRY(notes_add(&b->notes, &b->made->arena, b->err, "%.100s: %zu left out: %s", d->name, d->left_out[why],
                              pgr_left_text((pgr_left)why)));
    return PGR_OK;
}

/* A set whose users have no history measures no personal judge: said before the work and beside its result, unless none
 * was asked for. */
static pgr_status note_strangers(bench *b, const bench_data *d) {
    size_t train = d->n_row - d->n_test, users = 0, known = 0;
    for (size_t u = 0; u < d->n_user; u++) {
        if (d->users[u].n_test == 0) continue;
        users++;
        known += d->users[u].n_train > 0;
    }
    if (known > 0 || b->o->judge.history == 0 || strcmp(rules_split_name(b->o->split), "train") == 0) return PGR_OK;
    const char *which = train ? "who is asked has a row of split \"train\", and only those are history"
                              : "has a history: rows that are history have \"split\": \"train\", or are in a file of "
                                "--history-from";
    const char *name = users == d->n_test && users > 1 ? "; no two rows are of one user: `user_id` names him, or the "
                                                         "column of --user-key"
                                                       : "";
    PGR_TRY(notes_add(&b->notes, &b->made->arena, b->err, "%.100s: none of %zu users %s%s (docs/bench.md)", d->name,
                      users, which, name));
    if (pgr_bench_asks_model(b->o)) log_warn("%s", b->notes.list[b->notes.n - 1]);
    return PGR_OK;
}

static pgr_status load_set(bench *b, size_t i) {
    const pgr_bench_options *o = b->o;
    bench_files f = {.paths = &o->data[i],
                     .n_path = 1,
                     .history_from = o->history_from,
                     .n_history_from = o->n_history_from,
                     .users = o->users,
                     .n_users = o->n_users,
                     .split = o->split,
                     .subset = o->subset,
                     .user_key = o->user_key,
                     .limit = o->limit,
                     .seed = o->seed};
    PGR_TRY(bench_load(&f, &b->sets[i], b->err));
    PGR_TRY(note_left_out(b, b->sets[i]));
    PGR_TRY(note_strangers(b, b->sets[i]));
    for (size_t k = 0; k < i; k++)
        if (strcmp(b->sets[k]->name, b->sets[i]->name) == 0)
            return fail(b->err, PGR_E_ARG, "%s: another file is also called %s, expected names that differ", o->data[i],
                        b->sets[i]->name);
    return PGR_OK;
}

static pgr_status load_all(bench *b) {
    b->sets = arena_array(&b->made->arena, b->o->n_data, sizeof *b->sets);
    if (!b->sets) return fail_mem(b->err);
    for (size_t i = 0; i < b->o->n_data; i++) {
        PGR_TRY(watch_check(&b->o->watch, b->err));
        PGR_TRY(load_set(b, i));
    }
    return PGR_OK;
}

static pgr_status keep_plan(bench *b) {
    if (!b->o->out) return PGR_OK;
    json_t *settings = NULL;
    PGR_TRY(plan_settings(b->o, b->engine, (const bench_data *const *)b->sets, b->o->n_data, &settings, b->err));
    pgr_status s = plan_keep(b->o->out, settings, b->o->resume, b->err);
    json_decref(settings);
    return s;
}

/* ---- one set ----------------------------------------------------------------------------------------------------- */

/* Indices of the rows that are asked, in their order. */
static size_t *asked_rows(const bench_data *d, arena *a) {
    size_t *asked = arena_array(a, d->n_test + 1, sizeof *asked), n = 0;
    for (size_t i = 0; asked && i < d->n_row && n < d->n_test; i++)
        if (!d->rows[i].train) asked[n++] = i;
    return asked;
}

/* What cross-validation and hollow texts add to the set's rows. */
static pgr_status add_controls(bench *b, const summary_input *in, const run_input *run, pgr_bench_row *rows, arena *a) {
    if (b->o->folds) {
        const char *why = NULL;
        PGR_TRY(cv_run(run->fits, in->d, in->t, b->o, b->threads, a, rows, &why, b->err));
        if (why)
            PGR_TRY(notes_add(&b->notes, &b->made->arena, b->err, "%s: not cross-validated: %s", in->d->name, why));
    }
    if (!b->o->robust) return PGR_OK;
    return robust_run(run, in->t, fits_source(run->fits), &b->made->arena, rows, b->err);
}

/* Verdicts that a given calibration has no map for. */
static pgr_status note_uncalibrated(bench *b, const pgr_bench_row *r) {
    const pgr_calibration *c = b->o->judge.calibration;
    if (!c || r->uncalibrated == 0) return PGR_OK;
    bool views = pgr_calibration_outcomes(c, PGR_VERDICT_VIEWS) == 0;
    size_t all = r->runs * r->pairs * (r->stranger ? r->strangers : 1);
    return notes_add(&b->notes, &b->made->arena, b->err,
                     "%.100s: %zu of %zu verdicts of %s%s are of %s, for which the calibration has no map: %s", r->data,
                     r->uncalibrated, all, r->method, r->stranger ? " (strangers)" : "",
                     pgr_verdict_kind_name(views ? PGR_VERDICT_VIEWS : PGR_VERDICT_ANSWERS),
                     r->calibrated ? "log loss, Brier and ECE are without them" : "no probability is told");
}

static pgr_status add_rows(bench *b, const summary_input *in, const run_input *run, arena *a) {
    summary_line *lines = arena_array(a, in->t->n_cell + 1, sizeof *lines);
    if (!lines) return fail_mem(b->err);
    size_t n = summary_lines(in->t, lines);
    pgr_bench_row *rows = arena_array(&b->made->arena, b->n_row + n, sizeof *rows);
    if (!rows) return fail_mem(b->err);
    if (b->n_row) memcpy(rows, b->rows, b->n_row * sizeof *rows);
    PGR_TRY(summarise(in, &b->made->arena, rows + b->n_row, b->err));
    PGR_TRY(add_controls(b, in, run, rows + b->n_row, a));
    for (size_t i = 0; i < n; i++) { /* the set is freed before the report */
        pgr_bench_row *r = &rows[b->n_row + i];
        PGR_TRY(note_uncalibrated(b, r));
        r->data = arena_strdup(&b->made->arena, r->data);
        r->split = arena_strdup(&b->made->arena, r->split);
        r->model = arena_strdup(&b->made->arena, r->model);
        if (!r->data || !r->split || !r->model) return fail_mem(b->err);
    }
    b->rows = rows;
    b->n_row += n;
    return PGR_OK;
}

static bool asks_similar(const pgr_bench_options *o) {
    for (size_t i = 0; i < o->n_pro; i++)
        if (o->pro[i] > 0) return true;
    return false;
}

/* No row that is asked may be a neighbour's history or have shaped a prototype. */
static pgr_status check_people(const bench *b, const bench_data *d, const pgr_people *people) {
    const char *rule = people_split(people);
    bool clean = strcmp(rule, "train") == 0 || strcmp(rule, "history") == 0;
    for (size_t i = 0; i < d->n_row && clean && strcmp(rule, "train") != 0; i++) {
        const char *split = d->rows[i].record.split;
        clean = d->rows[i].train || strcmp(split, "test") == 0 || strcmp(split, "val") == 0;
    }
    if (clean) return PGR_OK;
    return fail(
        b->err, PGR_E_ARG,
        "bench: the prototypes count pairs of split \"%s\", rows of %s that are asked may be among them, expected "
        "prototypes of `proto build --split train`",
        rule, d->name);
}

/* The people of --pro: the caller's, else made of the set. made: NULL, or close it. */
static pgr_status find_people(const bench *b, const bench_data *d, pgr_people **made, pgr_people **people) {
    *people = b->o->judge.people;
    if (*people) return check_people(b, d, *people);
    if (!asks_similar(b->o)) return PGR_OK;
    PGR_TRY(company_make(d, b->o, b->o->out, made, b->err));
    *people = *made;
    return PGR_OK;
}

static pgr_status write_calibration(bench *b) {
    if (!b->o->calibration_out) return PGR_OK;
    return outcomes_write(b->of, b->o->calibration_out, b->o->calibration_kind, &b->notes, &b->made->arena, b->err);
}

/* What weight the reward model should have had under p-genrm: a note. */
static pgr_status note_weight(bench *b, const verdict_table *t) {
    scalar_fit f;
    bool there;
    PGR_TRY(scalar_fit_verdicts(t, &f, &there, b->err));
    if (!there) return PGR_OK;
    if (isnan(f.weight))
        return notes_add(
            &b->notes, &b->made->arena, b->err,
            "%s: beside the reward model p-genrm's scores say nothing of these %zu choices: no weight fits", t->data,
            f.pairs);
    return notes_add(&b->notes, &b->made->arena, b->err,
                     "%s: over these %zu pairs p-genrm and the reward model say most together at --scalar MODEL:%.3g "
                     "(log loss %.3f, %.3f without it); ask other rows to measure that",
                     t->data, f.pairs, f.weight, f.with, f.without);
}

/* What a limit makes of a set: rows are taken user by user in turn, so that users weigh alike, and not rows. */
static pgr_status note_limit(bench *b, const bench_data *d) {
    if (d->n_test == d->n_all) return PGR_OK;
    size_t users = 0;
    for (size_t u = 0; u < d->n_user; u++) users += d->users[u].n_test > 0;
    return notes_add(
        &b->notes, &b->made->arena, b->err,
        "%.100s: limit %zu asks %zu of %zu pairs, of %zu of %zu users: %.1f a user, all would be %.1f; users "
        "with many pairs weigh less than without a limit",
        d->name, b->o->limit, d->n_test, d->n_all, users, d->n_all_user, (double)d->n_test / (double)users,
        (double)d->n_all / (double)d->n_all_user);
}

static pgr_status run_set_with(bench *b, const bench_data *d, pgr_people *people, fits *f, arena *a) {
    bench_cells cells = {0};
    PGR_TRY(cells_plan(b->o, d, &b->made->arena, &cells, &b->notes, b->err));
    verdict_table t = {.data = d->name,
                       .cells = cells.list,
                       .n_cell = cells.n,
                       .n_run = (size_t)b->o->runs,
                       .n_row = d->n_test,
                       .arena = a};
    size_t *asked = asked_rows(d, a);
    t.v = arena_array(a, t.n_cell * t.n_run * t.n_row + 1, sizeof *t.v);
    t.users = arena_array(a, t.n_row + 1, sizeof *t.users);
    if (!asked || !t.v || !t.users) return fail_mem(b->err);
    for (size_t i = 0; i < t.n_row; i++) t.users[i] = d->users[d->rows[asked[i]].user].id;
    PGR_TRY(journal_read(&b->j, &t, b->err));
    run_input run = {.d = d,
                     .asked = asked,
                     .o = b->o,
                     .engine = b->engine,
                     .people = people,
                     .fits = f,
                     .j = &b->j,
                     .a = &b->made->arena,
                     .notes = &b->notes};
    PGR_TRY(run_cells(&run, &t, b->err));
    PGR_TRY(note_limit(b, d));
    PGR_TRY(note_weight(b, &t));
    int *prototypes = people ? arena_array(a, d->n_user + 1, sizeof *prototypes) : NULL;
    if (people && !prototypes) return fail_mem(b->err);
    if (people) PGR_TRY(company_prototypes(d, people, prototypes, b->err));
    summary_input sum = {.d = d,
                         .asked = asked,
                         .t = &t,
                         .o = b->o,
                         .prototypes = prototypes,
                         .model = b->engine ? engine_about(b->engine)->name : "",
                         .scalar = b->o->scalar ? pgr_scalar_name(b->o->scalar) : ""};
    if (b->o->calibration_out) PGR_TRY(outcomes_add(&t, b->of, &b->made->arena, b->err));
    return add_rows(b, &sum, &run, a);
}

static pgr_status write_attributes(const bench *b, const bench_data *d, fits *f) {
    double w[N_FEATURE];
    size_t n = 0;
    if (!b->o->attributes_out) return PGR_OK;
    for (size_t u = 0; u < d->n_user; u++) n += d->users[u].n_train;
    if (n == 0)
        return fail(b->err, PGR_E_ARG, "%s: %s has no train rows to fit attributes on", b->o->attributes_out, d->name);
    PGR_TRY(fits_attributes(f, w, b->err));
    return attributes_write(w, d->name, n, b->o->attributes_out, b->err);
}

static pgr_status run_set(bench *b, size_t i) {
    arena a = {0};
    pgr_people *made = NULL, *people = NULL;
    fits *f = NULL;
    stat_source source = {.d = b->sets[i], .watch = b->o->watch, .threads = b->threads};
    pgr_status s = find_people(b, b->sets[i], &made, &people);
    if (s == PGR_OK) s = fits_open(&source, b->o->embedder, b->o->scalar, &f, b->err);
    if (s == PGR_OK) s = run_set_with(b, b->sets[i], people, f, &a);
    if (s == PGR_OK) s = write_attributes(b, b->sets[i], f);
    fits_close(f);
    pgr_people_close(made);
    arena_free(&a);
    return s;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static pgr_status write_in(const bench *b, const char *name, const char *text, size_t n) {
    buf path = {0};
    buf_printf(&path, "%s/%s", b->o->out, name);
    pgr_status s = path.failed ? fail_mem(b->err) : file_write(path.data, text, n, b->err);
    buf_free(&path);
    return s;
}

static pgr_status write_rows(const bench *b) {
    buf lines = {0};
    pgr_status s = PGR_OK;
    for (size_t i = 0; i < b->n_row && s == PGR_OK; i++) {
        char *line = NULL;
        s = pgr_bench_row_json(&b->rows[i], &line, b->err);
        if (s != PGR_OK) break;
        buf_puts(&lines, line);
        buf_putc(&lines, '\n');
        mem_free(line);
    }
    if (s == PGR_OK && lines.failed) s = fail_mem(b->err);
    if (s == PGR_OK) s = write_in(b, "rows.jsonl", lines.data ? lines.data : "", lines.n);
    buf_free(&lines);
    return s;
}

static pgr_status write_files(const bench *b) {
    if (!b->o->out) return PGR_OK;
    PGR_TRY(write_rows(b));
    char *page = NULL;
    PGR_TRY(pgr_bench_html(&b->made->public, "pgenrm bench", &page, b->err));
    pgr_status s = write_in(b, "report.html", page, strlen(page));
    mem_free(page);
    return s;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

pgr_status pgr_bench_check(const pgr_engine *engine, const pgr_bench_options *options, pgr_error *err) {
    pgr_bench_options o = options ? *options : pgr_bench_options_default();
    return bench_options_check(&o, engine != NULL, err);
}

static pgr_status run_all(bench *b) {
    double start = clock_now();
    PGR_TRY(bench_options_check(b->o, b->engine != NULL, b->err));
    PGR_TRY(load_all(b));
    PGR_TRY(keep_plan(b));
    PGR_TRY(journal_open(b->o->out, &b->j, b->err));
    PGR_TRY(pool_create(b->o->n_thread, &b->threads, b->err));
    for (size_t i = 0; i < b->o->n_data; i++) PGR_TRY(run_set(b, i));
    pgr_status calibrated = write_calibration(b); /* the report is kept in any case */
    b->made->public = (pgr_bench_report){.rows = b->rows,
                                         .n_row = b->n_row,
                                         .notes = b->notes.list,
                                         .n_note = b->notes.n,
                                         .seconds = clock_now() - start};
    PGR_TRY(write_files(b));
    return calibrated;
}

pgr_status pgr_bench(pgr_engine *engine, const pgr_bench_options *options, pgr_bench_report **out, pgr_error *err) {
    pgr_bench_options o = options ? *options : pgr_bench_options_default();
    report *made = mem_zero(1, sizeof *made);
    if (!made) return fail_mem(err);
    bench b = {.o = &o, .engine = engine, .err = err, .made = made, .j = {.fd = -1}};
    pgr_calibration *calibration = NULL;
    pgr_status s = o.calibration ? pgr_calibration_open(o.calibration, &calibration, err) : PGR_OK;
    o.judge.calibration = calibration;
    if (s == PGR_OK) s = run_all(&b);
    pgr_calibration_free(calibration);
    journal_close(&b.j);
    pool_free(b.threads);
    for (size_t i = 0; b.sets && i < o.n_data; i++)
        if (b.sets[i]) bench_data_free(b.sets[i]);
    if (s == PGR_OK)
        *out = &made->public;
    else
        pgr_bench_free(&made->public);
    return s;
}

void pgr_bench_free(pgr_bench_report *public) {
    report *r = (report *)public;
    if (!r) return;
    arena_free(&r->arena);
    mem_free(r);
}
