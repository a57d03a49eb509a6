/* bench_table.c - the rows of a benchmark for people; see bench_table.h. */
#include "bench_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_CELL = 9, CELL = 64 };

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
    snprintf(out, CELL, "%s%s%s%s", r->method, ind, pro, r->stranger ? " (stranger)" : "");
}

static void add_row(table *t, const pgr_bench_row *r) {
    char cells[N_CELL][CELL];
    const char *list[N_CELL];
    name_of(r, cells[0]);
    with_error(cells[1], r->accuracy, r->accuracy_se, false);
    with_error(cells[2], r->over_longest, r->over_longest_se, true);
    with_error(cells[3], r->over_base, r->over_base_se, true);
    with_error(cells[4], r->over_stranger, r->over_stranger_se, true);
    number(cells[5], r->ece, 3);
    snprintf(cells[6], CELL, "%zu/%zu", r->ties, r->failures);
    number(cells[7], r->flip_rate, 3);
    number(cells[8], r->seconds, r->seconds < 100 ? 1 : 0);
    for (size_t i = 0; i < N_CELL; i++) list[i] = cells[i];
    table_row(t, r->stranger ? STYLE_DIM : STYLE_PLAIN, list);
}

static void print_set(const screen *s, const pgr_bench_row *rows, size_t n) {
    static const column columns[N_CELL] = {
        {"method", false, false},       {"accuracy", true, false},       {"over longest", true, false},
        {"over base", true, false},     {"own - stranger", true, false}, {"ECE", true, false},
        {"ties/failures", true, false}, {"flips", true, false},          {"seconds", true, false}};
    put(s, STYLE_BOLD, "%s", rows->data);
    put(s, STYLE_PLAIN, ": %zu pairs of %zu users (%s), %zu run%s, seed %llu", rows->pairs, rows->users, rows->split,
        rows->runs, rows->runs == 1 ? "" : "s", (unsigned long long)rows->seed);
    fputc('\n', s->f);
    table *t = table_create(columns, N_CELL);
    for (size_t i = 0; i < n; i++) add_row(t, &rows[i]);
    table_print(t, s, 0);
    table_free(t);
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
