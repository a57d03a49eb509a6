/* shown_report.c - the human form of `score --prompt`. */
#include "shown_report.h"

#include <stdlib.h>
#include <string.h>

static void print_order(const screen *s, const pgr_shown *shown, const pgr_shown_prompt *p) {
    for (size_t i = 0; i < shown->n_response; i++)
        put(s, STYLE_PLAIN, "%s%c", i ? " " : "", (char)('A' + (int)(p->order[i] % 26)));
}

static void print_whose(const screen *s, const pgr_shown_prompt *p) {
    if (p->neighbour) {
        char *name = text_clean(p->user, strlen(p->user));
        put(s, STYLE_PLAIN, ", the similar user %s's history", name);
        free(name);
    } else if (p->kind != PGR_SHOWN_QUALITY || p->history) {
        put(s, STYLE_PLAIN, ", the user's own history");
    }
    if (p->kind != PGR_SHOWN_QUALITY || p->history)
        put(s, STYLE_PLAIN, " (%zu pair%s)", p->history, p->history == 1 ? "" : "s");
}

static void print_head(const screen *s, const pgr_shown *shown, size_t i) {
    static const char *const kinds[] = {"", "what the user likes, ", "how good the responses are, "};
    const pgr_shown_prompt *p = &shown->prompts[i];
    put(s, STYLE_BOLD, "prompt %zu of %zu", i + 1, shown->n_prompt);
    put(s, STYLE_PLAIN, ": %s%zu chain%s", kinds[p->kind], p->chains, p->chains == 1 ? "" : "s");
    print_whose(s, p);
    if (p->kind != PGR_SHOWN_TASTE) {
        put(s, STYLE_PLAIN, ", responses in the order ");
        print_order(s, shown, p);
    }
    fputc('\n', s->f);
}

static void print_parts(const screen *s, const pgr_shown_prompt *p) {
    static const column columns[] = {{"part", false, false}, {"tokens", true, false}};
    table *t = table_create(columns, 2);
    char number[24];
    for (size_t i = 0; i < p->n_part; i++) {
        snprintf(number, sizeof number, "%zu", p->parts[i].tokens);
        table_row(t, STYLE_PLAIN, (const char *[]){p->parts[i].name, number});
    }
    snprintf(number, sizeof number, "%zu", p->tokens);
    table_rule(t);
    table_row(t, STYLE_PLAIN, (const char *[]){"prompt", number});
    table_print(t, s, 2);
    table_free(t);
    for (size_t i = 0; i < p->n_clip; i++)
        put(s, STYLE_PLAIN, "  %s is shortened: %zu of %zu tokens are shown\n", p->clipped[i].field,
            p->clipped[i].to_tokens, p->clipped[i].from_tokens);
}

/* "[slot: 1 2 3 4 5 6 7 8 9]" */
static void print_slot(const screen *s, const pgr_shown_slot *slot) {
    put(s, STYLE_DIM, "[slot:");
    for (size_t i = 0; i < slot->n_choice; i++)
        put(s, STYLE_DIM, " %s", slot->choices[i] + strspn(slot->choices[i], " "));
    put(s, STYLE_DIM, "]");
}

/* The text's own lines, nothing else of it that would move on a terminal. */
static void print_text(const screen *s, const char *text, size_t n) {
    for (size_t at = 0; at <= n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;
        char *clean = text_clean(text + at, len);
        put(s, STYLE_PLAIN, end ? "%s\n" : "%s", clean);
        free(clean);
        at += len + 1;
    }
}

static void print_message(const screen *s, const pgr_shown_prompt *p, size_t i) {
    const pgr_shown_message *m = &p->messages[i];
    size_t at = 0;
    put(s, STYLE_DIM, "--- %s ---\n", m->role);
    for (size_t k = 0; k < p->n_slot; k++) {
        if (p->slots[k].message != i) continue;
        print_text(s, m->text + at, p->slots[k].at - at);
        print_slot(s, &p->slots[k]);
        at = p->slots[k].at;
    }
    print_text(s, m->text + at, m->n - at);
    fputc('\n', s->f);
}

void shown_report_print(const screen *s, const pgr_shown *shown) {
    put(s, STYLE_PLAIN, "frame %s, model %s with a context of %zu tokens", shown->frame, shown->model, shown->n_ctx);
    if (shown->n_prompt && shown->prompts[0].kind == PGR_SHOWN_CHAINS)
        put(s, STYLE_PLAIN, ", chains of at most %zu\n", shown->max_tokens);
    else
        put(s, STYLE_PLAIN, "; at slots, distributions are read and nothing is written\n");
    for (size_t i = 0; i < shown->n_prompt; i++) {
        const pgr_shown_prompt *p = &shown->prompts[i];
        fputc('\n', s->f);
        print_head(s, shown, i);
        print_parts(s, p);
        for (size_t m = 0; m < p->n_message; m++) print_message(s, p, m);
    }
}
