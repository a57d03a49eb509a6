/* frame.c - opens frames by name or path, answers what a frame asks for, and builds its grammar. */
#include "judge/frame.h"

#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "facts/facts.h"
#include "judge/frame_parts.h"

/* ---- opening --------------------------------------------------------------------------------------------------- */

enum { FRAMES_MOST = 16 }; /* that are looked at for the nearest name */

static pgr_status not_found(const char *name, pgr_error *err) {
    buf known = {0};
    const char *names[FRAMES_MOST + 1] = {NULL};
    for (size_t i = 0; FRAME_FILES[i].name; i++) {
        buf_printf(&known, "%s%s", i ? ", " : "", FRAME_FILES[i].name);
        if (i < FRAMES_MOST) names[i] = FRAME_FILES[i].name;
    }
    const char *nearest = text_nearest(name, names);
    pgr_status status = fail(err, PGR_E_ARG, "frame '%.100s' is no file and none of those built in: %s%s%s", name,
                             known.data && !known.failed ? known.data : "(out of memory)", nearest ? "; perhaps " : "",
                             nearest ? nearest : "");
    buf_free(&known);
    return status;
}

pgr_status frame_open(const char *name, frame **out, pgr_error *err) {
    for (const frame_file *f = FRAME_FILES; f->name; f++)
        if (strcmp(f->name, name) == 0) return frame_parse(f->text, f->n, name, out, err);
    if (!file_exists(name)) return not_found(name, err);
    buf text = {0};
    pgr_status status = file_read_text(name, &text, err);
    if (status == PGR_OK) status = frame_parse(text.data ? text.data : "", text.n, name, out, err);
    buf_free(&text);
    return status;
}

const char *frame_name(const frame *f) {
    return f->name;
}
chain_form frame_form(const frame *f) {
    return (chain_form)f->form;
}
size_t frame_max_tokens(const frame *f) {
    return f->max_tokens;
}
size_t frame_max_tokens_more(const frame *f) {
    return f->max_tokens_more;
}
size_t frame_history(const frame *f) {
    return f->history;
}
size_t frame_views(const frame *f) {
    return f->views;
}
size_t frame_people(const frame *f) {
    return f->people;
}
const char *frame_trigger(const frame *f) {
    return f->trigger;
}

/* ---- filling in ------------------------------------------------------------------------------------------------ */

static bool ends_blank(const buf *b, size_t from) {
    return b->n == from || (b->n - from >= 2 && b->data[b->n - 1] == '\n' && b->data[b->n - 2] == '\n');
}

void section_expand(const section *s, const slot_text values[N_SLOT], size_t at[N_SLOT], buf *out) {
    size_t from = out->n;
    for (int k = 0; at && k < N_SLOT; k++) at[k] = SIZE_MAX;
    bool drop = false; /* the placeholder before was alone on its line and empty */
    for (size_t i = 0; i < s->n; i++) {
        const piece *p = &s->pieces[i];
        if (p->slot < 0) {
            const char *t = p->s;
            size_t n = p->n;
            if (drop && n && *t == '\n') t++, n--;
            if (drop && n && *t == '\n' && ends_blank(out, from)) t++, n--; /* no two blank lines in a row */
            buf_add(out, t, n);
            drop = false;
        } else if (values[p->slot].n) {
            if (at && at[p->slot] == SIZE_MAX) at[p->slot] = out->n;
            buf_add(out, values[p->slot].s, values[p->slot].n);
            drop = false;
        } else {
            drop = p->alone;
        }
    }
    while (drop && out->n > from && !out->failed && out->data[out->n - 1] == '\n') out->data[--out->n] = 0;
}

void frame_add_part(frame_part part, frame_part *parts, size_t *n) {
    size_t i = (*n)++;
    for (; i > 0 && parts[i - 1].message == part.message && parts[i - 1].from > part.from; i--) parts[i] = parts[i - 1];
    parts[i] = part;
}

void frame_find_parts(const frame_place *places, size_t n_place, const size_t at[N_SLOT], const size_t length[N_SLOT],
                      size_t message, frame_part *parts, size_t *n) {
    for (size_t i = 0; i < n_place; i++) {
        int slot = places[i].slot;
        if (at[slot] == SIZE_MAX) continue;
        frame_add_part((frame_part){places[i].name, message, at[slot], length[slot]}, parts, n);
    }
}

/* ---- grammar --------------------------------------------------------------------------------------------------- */

static slot_text text_of(const buf *b) {
    return (slot_text){b->data ? b->data : "", b->n};
}

static void add_response_rule(const frame *f, size_t place, buf *out) {
    char label = (char)('A' + place % MAX_LABELS);
    buf number = {0};
    slot_text values[N_SLOT] = {{0}};
    buf_printf(&number, "%zu", place + 1);
    values[SLOT_LABEL] = (slot_text){&label, 1};
    values[SLOT_NUMBER] = text_of(&number);
    if (place) buf_puts(out, " \", \" ");
    section_expand(&f->sections[SECTION_GRAMMAR_RESPONSE], values, NULL, out);
    out->failed = out->failed || number.failed;
    buf_free(&number);
}

pgr_status frame_grammar(const frame *f, size_t n_response, buf *out, bool *has, pgr_error *err) {
    const section *g = &f->sections[SECTION_GRAMMAR];
    *has = g->line != 0;
    if (!*has) return PGR_OK;
    bool labels = (g->slots & BIT(LABELS)) || (f->sections[SECTION_GRAMMAR_RESPONSE].slots & BIT(LABEL));
    if (labels && n_response > MAX_LABELS)
        return fail(err, PGR_E_LIMIT, "frame %s: %zu responses, it has letters for %d", f->name, n_response,
                    MAX_LABELS);

    buf responses = {0}, letters = {0}, words = {0};
    slot_text values[N_SLOT] = {{0}};
    for (size_t i = 0; i < n_response; i++) {
        add_response_rule(f, i, &responses);
        buf_printf(&letters, "%s\"%c\"", i ? " | " : "", (char)('A' + i % MAX_LABELS));
    }
    for (int i = 0; i < N_FACT; i++) buf_printf(&words, "%s\"%s\"", i ? " | " : "", fact_word(i));
    values[SLOT_RESPONSES] = text_of(&responses);
    values[SLOT_LABELS] = text_of(&letters);
    values[SLOT_ATTRIBUTES] = text_of(&words);
    section_expand(g, values, NULL, out);
    bool failed = responses.failed || letters.failed || words.failed || out->failed;
    buf_free(&responses);
    buf_free(&letters);
    buf_free(&words);
    return failed ? fail_mem(err) : PGR_OK;
}
