/* shown_report.c - the human form of `score --prompt`. */
#include "shown_report.h"

#include <stdlib.h>
#include <string.h>

static void print_order(const screen *s, const pgr_shown *shown, const pgr_shown_prompt *p) {
    for (size_t i = 0; i < shown->n_response; i++)
        put(s, STYLE_PLAIN, "%s%c", i ? " " : "", (char)('A' + (int)(p->order[i] % 26)));
}

static void print_head(const screen *s, const pgr_shown *shown, size_t i) {
    const pgr_shown_prompt *p = &shown->prompts[i];
    put(s, STYLE_BOLD, "prompt %zu of %zu", i + 1, shown->n_prompt);
    put(s, STYLE_PLAIN, ": %zu chain%s, ", p->chains, p->chains == 1 ? "" : "s");
    if (p->neighbour) {
        char *name = text_clean(p->user, strlen(p->user));
        put(s, STYLE_PLAIN, "the similar user %s's history", name);
        free(name);
    } else {
        put(s, STYLE_PLAIN, "the user's own history");
    }
    put(s, STYLE_PLAIN, " (%zu pair%s), responses in the order ", p->history, p->history == 1 ? "" : "s");
    print_order(s, shown, p);
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

static void print_message(const screen *s, const pgr_shown_message *m) {
    char *text = text_clean(m->text, m->n);
    put(s, STYLE_DIM, "--- %s ---\n", m->role);
    put(s, STYLE_PLAIN, "%s\n", text);
    free(text);
}

void shown_report_print(const screen *s, const pgr_shown *shown) {
    put(s, STYLE_PLAIN, "frame %s, model %s: chains of at most %zu tokens in a context of %zu\n", shown->frame,
        shown->model, shown->max_tokens, shown->n_ctx);
    for (size_t i = 0; i < shown->n_prompt; i++) {
        const pgr_shown_prompt *p = &shown->prompts[i];
        fputc('\n', s->f);
        print_head(s, shown, i);
        print_parts(s, p);
        for (size_t m = 0; m < p->n_message; m++) print_message(s, &p->messages[m]);
    }
}
