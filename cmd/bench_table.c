/* bench_table.c - the rows of a benchmark for people; see bench_table.h. */
#include "bench_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_CELL = 11, N_CV = 6, CELL = 80 };

static void number(char *out, double v, int digits) {
    if (isnan(v))
        snprintf(out, CELL, "-");
    else
        snprintf(out, CELL, "%.*f", digits, v);
}

/* ".512 ± .031", with a sign for differences. */
static void with_error(char *out, double v, double se, bool sign) {
    if (isnan(v))
        snprintf(out, CELL, "-");
    else if (isnan(se))
        snprintf(out, CELL, sign ? "%+.3f" : "%.3f", v);
    else if (sign)
        snprintf(out, CELL, "%+.3f ±%.3f", v, se);
    else
        snprintf(out, CELL, "%.3f ±%.3f", v, se);
}

static void name_of(const pgr_bench_row *r, char *out) {
    char ind[24] = "", pro[24] = "";
    if (r->ind > 0) snprintf(ind, sizeof ind, " Ind-%d", r->ind);
    if (r->pro > 0) snprintf(pro, sizeof pro, "%sPro-%d", r->ind > 0 ? "," : " ", r->pro);
    char who[24] = "";
    if (r->stranger) snprintf(who, sizeof who, " (%zu stranger%s)", r->strangers, r->strangers == 1 ? "" : "s");
    snprintf(out, CELL, "%s%s%s%s", r->method, ind, pro, r->plain ? " (no history)" : who);
}

static void add_row(table *t, const pgr_bench_row *r) {
    char cells[N_CELL][CELL];
    const char *list[N_CELL];
    name_of(r, cells[0]);
    with_error(cells[1], r->accuracy, r->accuracy_se, false);
    with_error(cells[2], r->over_longest, r->over_longest_se, true);
    with_error(cells[3], r->over_base, r->over_base_se, true);
    with_error(cells[4], r->over_stranger, r->over_stranger_se, true);
    bool chains_alone = (r->ind > 0 || r->pro > 0) && !r->calibrated; /* what they say is no probability */
    number(cells[5], chains_alone ? NAN : r->log_loss, 3);
    snprintf(cells[6], CELL, "-");
    if (!isnan(r->ece) && !chains_alone) snprintf(cells[6], CELL, "%.3f (%.3f)", r->ece, r->ece_floor);
    number(cells[7], r->kappa, 3);
    snprintf(cells[8], CELL, "%zu/%zu", r->ties, r->failures);
    number(cells[9], r->flip_rate, 3);
    number(cells[10], r->seconds, r->seconds < 100 ? 1 : 0);
    for (size_t i = 0; i < N_CELL; i++) list[i] = cells[i];
    table_row(t, r->stranger || r->plain ? STYLE_DIM : STYLE_PLAIN, list);
}

static void print_cv(const screen *s, const pgr_bench_row *rows, size_t n) {
    static const column columns[N_CV] = {{"method", false, false},         {"accuracy", true, false},
                                         {"over longest", true, false},    {"over base", true, false},
                                         {"own - strangers", true, false}, {"log loss", true, false}};
    if (rows->cv.folds == 0) return;
    put(s, STYLE_PLAIN, "\ncross-validated: %zu pairs, %zu folds by %s\n", rows->cv.pairs, rows->cv.folds, rows->cv.by);
    table *t = table_create(columns, N_CV);
    for (size_t i = 0; i < n; i++) {
        const pgr_bench_cv *c = &rows[i].cv;
        if (c->folds == 0) continue;
        char cells[N_CV][CELL];
        const char *list[N_CV];
        name_of(&rows[i], cells[0]);
        with_error(cells[1], c->accuracy, c->accuracy_se, false);
        with_error(cells[2], c->over_longest, c->over_longest_se, true);
        with_error(cells[3], c->over_base, c->over_base_se, true);
        with_error(cells[4], c->over_stranger, c->over_stranger_se, true);
        number(cells[5], c->log_loss, 3);
        for (size_t k = 0; k < N_CV; k++) list[k] = cells[k];
        table_row(t, rows[i].stranger || rows[i].plain ? STYLE_DIM : STYLE_PLAIN, list);
    }
    table_print(t, s, 0);
    table_free(t);
}

static void print_best(const screen *s, const pgr_bench_row *rows, size_t n) {
    static const column columns[3] = {
        {"method", false, false}, {"picks the chosen one", true, false}, {"its mean place", true, false}};
    if (rows->best.groups == 0) return;
    put(s, STYLE_PLAIN, "\nbest of N: %zu choices among %.2f responses on average; by chance %.3f, place %.2f\n",
        rows->best.groups, rows->best.responses, rows->best.random, rows->best.random_rank);
    table *t = table_create(columns, 3);
    for (size_t i = 0; i < n; i++) {
        const pgr_bench_best *b = &rows[i].best;
        char cells[3][CELL];
        const char *list[3] = {cells[0], cells[1], cells[2]};
        name_of(&rows[i], cells[0]);
        with_error(cells[1], b->accuracy, fmax(b->errors.user, b->errors.question), false);
        number(cells[2], b->rank, 2);
        table_row(t, rows[i].stranger || rows[i].plain ? STYLE_DIM : STYLE_PLAIN, list);
    }
    table_print(t, s, 0);
    table_free(t);
}

enum { HOLLOW_MAX = 12 };

static void print_hollow(const screen *s, const pgr_bench_row *rows, size_t n) {
    column columns[1 + HOLLOW_MAX] = {{"method", false, false}};
    size_t kinds = rows->n_hollow < HOLLOW_MAX ? rows->n_hollow : HOLLOW_MAX;
    if (kinds == 0) return;
    for (size_t k = 0; k < kinds; k++) columns[1 + k] = (column){rows->hollow[k].kind, true, false};
    put(s, STYLE_PLAIN, "\ntexts that say nothing: how often each wins against the chosen response\n");
    table *t = table_create(columns, 1 + kinds);
    for (size_t i = 0; i < n; i++) {
        char cells[1 + HOLLOW_MAX][CELL];
        const char *list[1 + HOLLOW_MAX];
        if (rows[i].n_hollow == 0) continue;
        name_of(&rows[i], cells[0]);
        for (size_t k = 0; k < kinds; k++)
            with_error(cells[1 + k], rows[i].hollow[k].wins, rows[i].hollow[k].se, false);
        for (size_t k = 0; k <= kinds; k++) list[k] = cells[k];
        table_row(t, STYLE_PLAIN, list);
    }
    table_print(t, s, 0);
    table_free(t);
}

static void print_set(const screen *s, const pgr_bench_row *rows, size_t n) {
    static const column columns[N_CELL] = {
        {"method", false, false},     {"accuracy", true, false},        {"over longest", true, false},
        {"over base", true, false},   {"own - strangers", true, false}, {"log loss", true, false},
        {"ECE (floor)", true, false}, {"kappa", true, false},           {"ties/failures", true, false},
        {"flips", true, false},       {"seconds", true, false}};
    put(s, STYLE_BOLD, "%s", rows->data);
    put(s, STYLE_PLAIN, ": %zu pairs of %zu users about %zu questions (%s), %zu run%s, seed %llu", rows->pairs,
        rows->users, rows->questions, rows->split, rows->runs, rows->runs == 1 ? "" : "s",
        (unsigned long long)rows->seed);
    fputc('\n', s->f);
    table *t = table_create(columns, N_CELL);
    for (size_t i = 0; i < n; i++) add_row(t, &rows[i]);
    table_print(t, s, 0);
    table_free(t);
    print_cv(s, rows, n);
    print_best(s, rows, n);
    print_hollow(s, rows, n);
}

void bench_table_print(const screen *s, const pgr_bench_report *report) {
    for (size_t i = 0, n; i < report->n_row; i += n) {
        for (n = 1; i + n < report->n_row && strcmp(report->rows[i + n].data, report->rows[i].data) == 0; n++) continue;
        if (i) fputc('\n', s->f);
        print_set(s, &report->rows[i], n);
    }
    if (report->n_note) fputc('\n', s->f);
    for (size_t i = 0; i < report->n_note; i++) {
        char *text = text_clean(report->notes[i], strlen(report->notes[i]));
        put_wrapped(s, STYLE_DIM, text, 0, 0);
        free(text);
    }
}
