/* cold_table.c - the report of a cold start; see cold_table.h. */
#include "cold_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_out.h"

enum { CELL = 64, MAX_COLUMNS = 17 };

static void name_of(const pgr_cold_row *r, char *out) {
    char ind[24] = "", pro[24] = "";
    if (r->ind > 0) snprintf(ind, sizeof ind, " Ind-%d", r->ind);
    if (r->pro > 0) snprintf(pro, sizeof pro, "%sPro-%d", r->ind > 0 ? "," : " ", r->pro);
    snprintf(out, CELL, "%.20s%s%s%s", r->method, ind, pro, r->stranger ? " (stranger)" : "");
}

/* Rows of the method of row `from`. */
static size_t count_method(const pgr_cold_report *p, size_t from) {
    size_t n = 1;
    while (from + n < p->n_row && p->rows[from + n].place == p->rows[from].place) n++;
    return n < MAX_COLUMNS ? n : MAX_COLUMNS - 1;
}

/* Cells stand under the numbers of pairs of `head`, the rows of the set's first method. */
static void add_method(table *t, const pgr_cold_row *rows, size_t n, const pgr_cold_row *head, size_t n_head) {
    char cells[MAX_COLUMNS][CELL];
    const char *list[MAX_COLUMNS];
    name_of(rows, cells[0]);
    for (size_t k = 0, i = 0; k < n_head; k++) {
        cells[k + 1][0] = '\0';
        if (i == n || rows[i].known != head[k].known) continue; /* without pairs there is no stranger's */
        if (isnan(rows[i].accuracy_se))
            snprintf(cells[k + 1], CELL, "%.3f", rows[i].accuracy);
        else
            snprintf(cells[k + 1], CELL, "%.3f ±%.3f", rows[i].accuracy, rows[i].accuracy_se);
        i++;
    }
    for (size_t k = 0; k <= n_head; k++) list[k] = cells[k];
    table_row(t, rows->stranger ? STYLE_DIM : STYLE_PLAIN, list);
}

static size_t print_set(const screen *s, const pgr_cold_report *p, size_t from) {
    const pgr_cold_row *first = &p->rows[from];
    size_t n = count_method(p, from), i = from;
    column columns[MAX_COLUMNS] = {{"method", false, false}};
    char heads[MAX_COLUMNS][CELL];
    for (size_t k = 0; k < n; k++) {
        snprintf(heads[k], CELL, first[k].known == 1 ? "%d pair" : "%d pairs", first[k].known);
        columns[k + 1] = (column){heads[k], true, false};
    }
    put(s, STYLE_BOLD, "%s", first->data);
    put(s, STYLE_PLAIN, ": accuracy on %zu pairs of %zu users by how many of a user's own pairs are known\n",
        first->pairs, first->users);
    table *t = table_create(columns, n + 1);
    for (; i < p->n_row && strcmp(p->rows[i].data, first->data) == 0; i += count_method(p, i))
        add_method(t, &p->rows[i], count_method(p, i), first, n);
    table_print(t, s, 0);
    table_free(t);
    return i;
}

void cold_table_print(const screen *s, const pgr_cold_report *report) {
    for (size_t i = 0; i < report->n_row;) {
        if (i) fputc('\n', s->f);
        i = print_set(s, report, i);
    }
    if (report->n_note) fputc('\n', s->f);
    for (size_t i = 0; i < report->n_note; i++) {
        char *text = text_clean(report->notes[i], strlen(report->notes[i]));
        put_wrapped(s, STYLE_DIM, text, 0, 0);
        free(text);
    }
}

void cold_lines_print(const pgr_cold_report *report) {
    static const char *const names[] = {"accuracy", "accuracy_se", "over_longest", "over_longest_se"};
    for (size_t i = 0; i < report->n_row; i++) {
        const pgr_cold_row *r = &report->rows[i];
        const double v[] = {r->accuracy, r->accuracy_se, r->over_longest, r->over_longest_se};
        fputs("{\"data\":", stdout);
        json_text(r->data, strlen(r->data));
        fputs(",\"method\":", stdout);
        json_text(r->method, strlen(r->method));
        printf(",\"ind\":%d,\"pro\":%d,\"stranger\":%s,\"known\":%d,\"pairs\":%zu,\"users\":%zu,\"ties\":%zu,"
               "\"failures\":%zu",
               r->ind, r->pro, r->stranger ? "true" : "false", r->known, r->pairs, r->users, r->ties, r->failures);
        for (size_t k = 0; k < 4; k++) {
            printf(",\"%s\":", names[k]);
            json_real(v[k]);
        }
        puts("}");
    }
}
