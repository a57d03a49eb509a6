/* lampqa.c - pgr_lampqa: every question becomes a request with the generators' answers,
 * the judge's scores become means and ranks. */
#include "bench/lampqa.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/watch.h"
#include "bench/mean.h"
#include "bench/spearman.h"
#include "infer/engine.h"

enum {
    GROUP_REQUESTS = 1024
}; /* that are judged in one call: so many that the last ones, with few beside them, count little */

typedef struct report { /* the public part comes first */
    pgr_lampqa_report public;
    arena arena;
} report;

typedef struct lampqa {
    const pgr_lampqa_options *o;
    pgr_engine *engine;
    pgr_error *err;
    lampqa_data d;
    double *scores; /* (n_question, n_generator) NaN: none */
    size_t n_done, n_clipped;
    report *made;
    const char *model;
} lampqa;

/* ---- asking ------------------------------------------------------------------------------------------------------ */

typedef struct group { /* of requests in one call; request i asks question first + i */
    lampqa *b;
    size_t first, n;
    pgr_request *requests[GROUP_REQUESTS];
    pgr_result *results[GROUP_REQUESTS];
    pgr_error errors[GROUP_REQUESTS];
    pgr_status status;
} group;

static pgr_status fill(const lampqa *b, const lampqa_question *q, pgr_request *r) {
    size_t n = b->d.n_generator, order[LAMPQA_MAX_GENERATORS];
    const char **responses = arena_array(&r->arena, n, sizeof *responses);
    turn *asked = arena_array(&r->arena, 1, sizeof *asked);
    r->origin = arena_printf(&r->arena, "%s: %s", b->o->questions, q->id);
    if (!responses || !asked || !r->origin) return fail_mem(b->err);
    lampqa_order(q, n, order);
    for (size_t i = 0; i < n; i++) responses[i] = q->answers[order[i]];
    *asked = (turn){"user", q->text};
    r->id = r->user_id = q->id; /* a question is its asker's only one */
    r->demographics = q->profile;
    r->messages = asked;
    r->n_message = 1;
    r->responses = responses;
    r->n_response = n;
    r->ind = r->pro = r->history_pairs = r->chosen = -1;
    r->seed = (int64_t)q->key;
    return PGR_OK;
}

static pgr_status make_requests(group *g, size_t n) {
    for (size_t i = 0; i < n; i++) {
        g->requests[i] = mem_zero(1, sizeof *g->requests[i]);
        if (!g->requests[i]) return fail_mem(g->b->err);
        g->n = i + 1;
        PGR_TRY(fill(g->b, &g->b->d.questions[g->first + i], g->requests[i]));
    }
    return PGR_OK;
}

static void take_result(lampqa *b, size_t question, const pgr_result *result) {
    size_t order[LAMPQA_MAX_GENERATORS], n = b->d.n_generator;
    lampqa_order(&b->d.questions[question], n, order);
    for (size_t i = 0; i < n; i++)
        if (result->responses[i].scored) b->scores[question * n + order[i]] = result->responses[i].score;
    for (size_t i = 0; i < result->n_clip; i++)
        b->n_clipped += strcmp(result->clipped[i].field, "user.demographics") == 0;
}

/* A question whose texts cannot be asked is a failure that counts, anything else ends the run. */
static pgr_status settle(group *g, size_t i) {
    lampqa *b = g->b;
    const pgr_error *e = &g->errors[i];
    if (g->results[i]) {
        take_result(b, g->first + i, g->results[i]);
    } else if (e->status == PGR_E_LIMIT) {
        PGR_TRY(notes_add(&b->d.notes, &b->d.arena, b->err, "not asked: %.300s", e->message));
    } else {
        if (b->err) *b->err = *e;
        return e->status;
    }
    b->n_done++;
    watch_report(&b->o->watch, "LaMP-QA", b->n_done, b->d.n_question, "questions");
    return PGR_OK;
}

static void on_judged(void *ctx, size_t index) {
    group *g = ctx;
    if (g->status == PGR_OK) g->status = settle(g, index);
    pgr_result_free(g->results[index]);
    g->results[index] = NULL;
}

static pgr_status judge_group(group *g) {
    const pgr_lampqa_options *o = g->b->o;
    pgr_judge_options jo = o->judge;
    jo.pro = 0;
    jo.people = NULL;
    jo.history = -1;
    jo.history_by = PGR_HISTORY_RANDOM;
    jo.draws = 1;
    jo.seed = -1; /* each request has its own */
    jo.keep_chains = false;
    jo.watch.cancel = o->watch.cancel;
    jo.watch.progress = NULL;
    jo.judged = on_judged;
    jo.judged_ctx = g;
    pgr_status s =
        pgr_judge_many(g->b->engine, (const pgr_request *const *)g->requests, g->n, &jo, g->results, g->errors);
    if (g->status == PGR_OK && s == PGR_E_MEM) return fail_mem(g->b->err); /* perhaps nobody was told */
    if (g->status == PGR_OK && s == PGR_E_CANCELLED) return fail(g->b->err, s, "cancelled");
    return g->status;
}

static pgr_status ask_group(lampqa *b, size_t first, size_t n) {
    group *g = mem_zero(1, sizeof *g);
    if (!g) return fail_mem(b->err);
    g->b = b;
    g->first = first;
    pgr_status s = make_requests(g, n);
    if (s == PGR_OK) s = judge_group(g);
    for (size_t i = 0; i < g->n; i++) pgr_request_free(g->requests[i]);
    mem_free(g);
    return s;
}

static pgr_status ask_all(lampqa *b) {
    size_t cells = b->d.n_question * b->d.n_generator, most = GROUP_REQUESTS;
    b->scores = mem_array(cells, sizeof *b->scores);
    if (!b->scores) return fail_mem(b->err);
    for (size_t i = 0; i < cells; i++) b->scores[i] = NAN;
    for (size_t i = 0; i < b->d.n_question; i += most) {
        PGR_TRY(watch_check(&b->o->watch, b->err));
        PGR_TRY(ask_group(b, i, b->d.n_question - i < most ? b->d.n_question - i : most));
    }
    return PGR_OK;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static int by_rank(const void *a, const void *b) {
    const pgr_lampqa_generator *x = a, *y = b;
    if (isnan(x->rank) || isnan(y->rank)) return isnan(x->rank) - isnan(y->rank);
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* A generator's scores in a category; scratch: (n_question) */
static void measure(const lampqa *b, size_t category, size_t g, double *scratch, pgr_lampqa_generator *out) {
    size_t n = 0;
    for (size_t i = 0; i < b->d.n_question; i++) {
        double score = b->scores[i * b->d.n_generator + g];
        if (b->d.questions[i].category != category) continue;
        if (isnan(score))
            out->failures++;
        else
            scratch[n++] = score;
    }
    mean_se m = mean_of(scratch, n);
    out->score = m.mean;
    out->se = m.se;
    out->scored = n;
}

static void count_questions(const lampqa *b, size_t category, pgr_lampqa_row *row) {
    for (size_t i = 0; i < b->d.n_question; i++) {
        bool failed = false;
        if (b->d.questions[i].category != category) continue;
        for (size_t g = 0; g < b->d.n_generator; g++) failed = failed || isnan(b->scores[i * b->d.n_generator + g]);
        row->questions++;
        row->failures += failed;
    }
}

static bool all_equal(const double *v, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (v[i] != v[0]) return false;
    return true;
}

static void correlate(const double *score, const double *truth, size_t n, pgr_lampqa_row *row) {
    row->spearman = spearman(score, truth, n);
    for (size_t g = 0; g < n && !row->why_not[0]; g++)
        if (isnan(score[g])) row->why_not = "a generator has no score";
    if (row->why_not[0]) return;
    if (all_equal(score, n))
        row->why_not = "all scores are equal";
    else if (all_equal(truth, n))
        row->why_not = "all true scores are equal";
}

static pgr_status make_row(lampqa *b, size_t category, double *scratch, pgr_lampqa_row *row) {
    size_t n = b->d.n_generator, n_known = 0;
    double score[LAMPQA_MAX_GENERATORS], known[LAMPQA_MAX_GENERATORS];
    pgr_lampqa_generator *list = arena_array(&b->made->arena, n, sizeof *list);
    const double *truth = b->d.truth ? b->d.truth + category * n : NULL;
    *row = (pgr_lampqa_row){.category = arena_strdup(&b->made->arena, b->d.categories.texts[category]),
                            .model = b->model,
                            .generators = list,
                            .n_generator = n,
                            .spearman = NAN,
                            .why_not = "",
                            .ind = b->o->judge.ind,
                            .history = b->o->history,
                            .seed = b->o->seed};
    if (!list || !row->category) return fail_mem(b->err);
    count_questions(b, category, row);
    for (size_t g = 0; g < n; g++) {
        list[g].name = arena_strdup(&b->made->arena, b->d.generators[g]);
        if (!list[g].name) return fail_mem(b->err);
        measure(b, category, g, scratch, &list[g]);
        list[g].truth = truth ? truth[g] : NAN;
        score[g] = list[g].score;
        if (!isnan(score[g])) known[n_known++] = score[g];
    }
    for (size_t g = 0, k = 0; g < n; g++) list[g].rank = isnan(score[g]) ? NAN : rank_of(known, n_known, k++);
    if (truth) correlate(score, truth, n, row);
    qsort(list, n, sizeof *list, by_rank);
    return PGR_OK;
}

static pgr_status copy_notes(lampqa *b) {
    bench_notes notes = {0};
    for (size_t i = 0; i < b->d.notes.n; i++)
        PGR_TRY(notes_add(&notes, &b->made->arena, b->err, "%s", b->d.notes.list[i]));
    if (b->n_clipped)
        PGR_TRY(notes_add(&notes, &b->made->arena, b->err,
                          "what users wrote was shortened to the frame's limit in %zu of %zu questions", b->n_clipped,
                          b->d.n_question));
    b->made->public.notes = notes.list;
    b->made->public.n_note = notes.n;
    return PGR_OK;
}

static pgr_status make_rows(lampqa *b) {
    pgr_lampqa_report *out = &b->made->public;
    pgr_lampqa_row *rows = arena_array(&b->made->arena, b->d.categories.n, sizeof *rows);
    double *scratch = mem_array(b->d.n_question, sizeof *scratch), sum = 0;
    pgr_status s = rows && scratch ? PGR_OK : fail_mem(b->err);
    for (size_t c = 0; s == PGR_OK && c < b->d.categories.n; c++) {
        pgr_lampqa_row *row = &rows[out->n_row];
        s = make_row(b, c, scratch, row);
        if (s != PGR_OK || row->questions == 0) continue; /* all of them left out */
        out->n_row++;
        if (isnan(row->spearman)) continue;
        sum += row->spearman;
        out->n_spearman++;
    }
    mem_free(scratch);
    out->rows = rows;
    out->spearman = out->n_spearman ? sum / (double)out->n_spearman : NAN;
    out->unanswered = b->d.unanswered;
    return s == PGR_OK ? copy_notes(b) : s;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

pgr_lampqa_options pgr_lampqa_options_default(void) {
    pgr_lampqa_options o = {.history = 3, .judge = pgr_judge_options_default()};
    o.judge.ind = 8;
    return o;
}

static pgr_status run_all(lampqa *b) {
    double start = clock_now();
    PGR_TRY(lampqa_load(b->o, &b->d, b->err));
    PGR_TRY(ask_all(b));
    PGR_TRY(make_rows(b));
    b->made->public.seconds = clock_now() - start;
    return PGR_OK;
}

pgr_status pgr_lampqa(pgr_engine *engine, const pgr_lampqa_options *options, pgr_lampqa_report **out, pgr_error *err) {
    if (!engine || !options) return fail(err, PGR_E_ARG, "found no engine or no options, expected both");
    report *made = mem_zero(1, sizeof *made);
    if (!made) return fail_mem(err);
    lampqa b = {.o = options, .engine = engine, .err = err, .made = made};
    b.model = arena_strdup(&made->arena, engine_about(engine)->name);
    pgr_status s = b.model ? run_all(&b) : fail_mem(err);
    lampqa_free(&b.d);
    mem_free(b.scores);
    if (s == PGR_OK)
        *out = &made->public;
    else
        pgr_lampqa_free(&made->public);
    return s;
}

void pgr_lampqa_free(pgr_lampqa_report *public) {
    report *r = (report *)public;
    if (!r) return;
    arena_free(&r->arena);
    mem_free(r);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void put_text(buf *out, const char *key, const char *s) {
    buf_printf(out, "\"%s\":", key);
    json_put_string(out, s, strlen(s));
}

static void put_number(buf *out, const char *key, double v) {
    buf_printf(out, ",\"%s\":", key);
    json_put_number(out, v);
}

static void put_generator(const pgr_lampqa_generator *g, buf *out) {
    buf_putc(out, '{');
    put_text(out, "name", g->name);
    put_number(out, "rank", g->rank);
    put_number(out, "score", g->score);
    put_number(out, "score_se", g->se);
    buf_printf(out, ",\"scored\":%zu,\"failures\":%zu", g->scored, g->failures);
    put_number(out, "truth", g->truth);
    buf_putc(out, '}');
}

pgr_status pgr_lampqa_row_json(const pgr_lampqa_row *row, char **out, pgr_error *err) {
    buf text = {0};
    buf_putc(&text, '{');
    put_text(&text, "category", row->category);
    buf_printf(&text, ",\"questions\":%zu,\"failures\":%zu,\"generators\":[", row->questions, row->failures);
    for (size_t g = 0; g < row->n_generator; g++) {
        if (g) buf_putc(&text, ',');
        put_generator(&row->generators[g], &text);
    }
    buf_putc(&text, ']');
    put_number(&text, "spearman", row->spearman);
    if (row->why_not[0]) {
        buf_putc(&text, ',');
        put_text(&text, "spearman_reason", row->why_not);
    }
    buf_printf(&text, ",\"ind\":%d,\"history\":%zu,\"seed\":%llu,", row->ind, row->history,
               (unsigned long long)row->seed);
    put_text(&text, "model", row->model);
    buf_putc(&text, '}');
    char *s = text.failed ? NULL : buf_take(&text);
    if (!s) {
        buf_free(&text);
        return fail_mem(err);
    }
    *out = s;
    return PGR_OK;
}
