/* user_report.c - the human form of `user show`; see user_report.h. */
#include "user_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "table.h"

static void put_heading(const screen *s, const char *title) {
    put(s, STYLE_BOLD, "\n%s", title);
    fputc('\n', s->f);
}

/* The text's beginning, so long that it takes one or two lines of a terminal; free. */
static char *beginning(const char *text) {
    enum { MOST = 120 };
    size_t n = 0, all = strlen(text);
    for (size_t len; n < all && n < MOST; n += len) {
        uint32_t code;
        len = text_character(text + n, all - n, &code);
        if (len == 0) len = 1;
    }
    size_t word = n;
    while (n < all && word > MOST / 2 && text[word] != ' ') word--;
    if (n < all && text[word] == ' ') n = word; /* ends with a word where there is one */
    char *copy = must_alloc(n + 4);
    memcpy(copy, text, n);
    if (n < all) memcpy(copy + n, "...", 4);
    return copy;
}

static void add_text(table *t, const char *number, const char *split, const char *what, const char *text) {
    char *s = beginning(text);
    const char *cells[] = {number, split, what, s};
    table_row(t, STYLE_PLAIN, cells);
    free(s);
}

static void print_pairs(const screen *s, const pgr_user *u, int64_t limit) {
    static const column columns[] = {
        {"pair", true, false}, {"split", false, false}, {"", false, false}, {"text", false, true}};
    table *t = table_create(columns, 4);
    size_t n = limit && u->row.pairs > (size_t)limit ? (size_t)limit : u->row.pairs;
    for (size_t i = 0; i < n; i++) {
        const pgr_user_pair *p = &u->pairs[i];
        char number[24];
        snprintf(number, sizeof number, "%zu", i + 1);
        add_text(t, number, p->split, p->turns > 1 ? "last turn" : "query", p->query);
        add_text(t, "", "", "chosen", p->chosen);
        add_text(t, "", "", "rejected", p->rejected);
        if (p->attributes[0]) add_text(t, "", "", "weighed", p->attributes);
    }
    table_print(t, s, 2);
    table_free(t);
    if (n < u->row.pairs) printf("  ... and %zu more (--limit 0 shows all)\n", u->row.pairs - n);
}

void user_report_print(const pgr_user *u, int64_t limit) {
    screen s = screen_open(100);
    char *name = text_clean(u->row.id, strlen(u->row.id));
    put(&s, STYLE_BOLD, "%.200s", name);
    free(name);
    printf(": %zu pair%s, %zu of them kept for tests; computed: %zu vectors, %zu analyses\n", u->row.pairs,
           u->row.pairs == 1 ? "" : "s", u->row.test_pairs, u->row.vectors, u->row.analyses);
    if (u->row.criteria) put_heading(&s, "Criteria");
    for (size_t i = 0; i < u->row.criteria; i++) put_wrapped(&s, STYLE_PLAIN, u->criteria[i], 2, 0);
    if (u->demographics[0]) {
        put_heading(&s, "Demographics");
        put_lines(&s, u->demographics, 2);
    }
    if (u->row.pairs) {
        put_heading(&s, "Pairs");
        print_pairs(&s, u, limit);
    }
}
