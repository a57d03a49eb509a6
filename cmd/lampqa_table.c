/* lampqa_table.c - the ranking of generators for people; see lampqa_table.h. */
#include "lampqa_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_CELL = 6, CELL = 64 };

static void put_clean(const screen *s, style st, const char *raw) {
    char *text = text_clean(raw, strlen(raw));
    put(s, st, "%s", text);
    free(text);
}

static void add_generator(table *t, const pgr_lampqa_generator *g) {
    char cells[N_CELL][CELL] = {"-", "", "-", "", "", "-"};
    const char *list[N_CELL];
    if (!isnan(g->rank)) snprintf(cells[0], CELL, "%g", g->rank);
    if (!isnan(g->score)) snprintf(cells[2], CELL, "%.3f", g->score);
    if (!isnan(g->se)) snprintf(cells[2], CELL, "%.3f ±%.3f", g->score, g->se);
    snprintf(cells[3], CELL, "%zu", g->scored);
    snprintf(cells[4], CELL, "%zu", g->failures);
    if (!isnan(g->truth)) snprintf(cells[5], CELL, "%g", g->truth);
    for (size_t i = 0; i < N_CELL; i++) list[i] = cells[i];
    list[1] = g->name;
    table_row(t, STYLE_PLAIN, list);
}

static void print_row(const screen *s, const pgr_lampqa_row *r) {
    static const column columns[N_CELL] = {{"rank", true, false},     {"generator", false, false},
                                           {"score", true, false},    {"scored", true, false},
                                           {"failures", true, false}, {"truth", true, false}};
    put_clean(s, STYLE_BOLD, r->category);
    put(s, STYLE_PLAIN, ": %zu question%s, %zu failed, Ind-%d, %zu texts of the profile, seed %llu", r->questions,
        r->questions == 1 ? "" : "s", r->failures, r->ind, r->history, (unsigned long long)r->seed);
    fputc('\n', s->f);
    table *t = table_create(columns, N_CELL);
    for (size_t g = 0; g < r->n_generator; g++) add_generator(t, &r->generators[g]);
    table_print(t, s, 0);
    table_free(t);
    if (r->why_not[0])
        put(s, STYLE_WEAK, "no Spearman's rho: %s\n", r->why_not);
    else if (!isnan(r->spearman))
        put(s, STYLE_PLAIN, "Spearman's rho %.3f\n", r->spearman);
}

void lampqa_table_print(const screen *s, const pgr_lampqa_report *report) {
    for (size_t i = 0; i < report->n_row; i++) {
        if (i) fputc('\n', s->f);
        print_row(s, &report->rows[i]);
    }
    if (report->n_spearman)
        put(s, STYLE_BOLD, "\nmean of Spearman's rho over %zu categor%s: %.3f\n", report->n_spearman,
            report->n_spearman == 1 ? "y" : "ies", report->spearman);
    if (report->n_note) fputc('\n', s->f);
    for (size_t i = 0; i < report->n_note; i++) {
        char *text = text_clean(report->notes[i], strlen(report->notes[i]));
        put_wrapped(s, STYLE_DIM, text, 0, 0);
        free(text);
    }
}
