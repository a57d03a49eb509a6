/* remote_grammar.c - a grammar as servers take it, and what they wrote as the grammar reads it. */
#include <string.h>

#include "infer/gbnf.h"
#include "infer/remote.h"

/* ---- as servers take it ---------------------------------------------------------------------------------------- */

enum { REPEAT_MOST = 1000 }; /* llama.cpp takes no more than 2,000 */

typedef struct speaker {
    const char *p, *end;
    bool inner; /* the rule root is called inner-root */
    bool plain; /* everything can be said */
    buf *out;
} speaker;

static bool in_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* "text" or [class], byte by byte. */
static void say_quoted(speaker *s, char close) {
    buf_putc(s->out, *s->p++);
    while (s->p < s->end && *s->p != close) {
        if (*s->p == '\\' && s->p + 1 < s->end) buf_putc(s->out, *s->p++);
        buf_putc(s->out, *s->p++);
    }
    if (s->p < s->end) buf_putc(s->out, *s->p++);
}

/* Other servers' names have no underscores. */
static void say_name(speaker *s) {
    const char *from = s->p;
    while (s->p < s->end && in_name(*s->p)) s->p++;
    if (s->inner && s->p - from == 4 && memcmp(from, "root", 4) == 0) buf_puts(s->out, "inner-");
    for (; from < s->p; from++) buf_putc(s->out, *from == '_' ? '-' : *from);
}

/* {2,2400} becomes {2,}: what is longer is found out afterwards. */
static void say_repeat(speaker *s) {
    size_t n[2] = {0, 0};
    int k = 0;
    bool open = false;
    for (s->p++; s->p < s->end && *s->p != '}'; s->p++) {
        if (*s->p == ',')
            k = 1;
        else if (*s->p >= '0' && *s->p <= '9' && n[k] <= 1000000)
            n[k] = n[k] * 10 + (size_t)(*s->p - '0');
    }
    if (s->p < s->end) s->p++;
    open = k == 1 && (n[1] == 0 || n[1] > REPEAT_MOST);
    if (n[0] > REPEAT_MOST) n[0] = REPEAT_MOST, open = true;
    if (k == 0 && !open)
        buf_printf(s->out, "{%zu}", n[0]);
    else if (open)
        buf_printf(s->out, "{%zu,}", n[0]);
    else
        buf_printf(s->out, "{%zu,%zu}", n[0], n[1]);
}

static void say_item(speaker *s) {
    char c = *s->p;
    if (c == '"' || c == '[') {
        say_quoted(s, c == '"' ? '"' : ']');
    } else if (c == '#') {
        while (s->p < s->end && *s->p != '\n') s->p++;
    } else if (c == '$') {
        s->p++;
    } else if (c == '@') {
        for (s->p++; s->p < s->end && in_name(*s->p); s->p++) {}
        buf_puts(s->out, "\"\"");
    } else if (c == '<') {
        s->plain = false;
        s->p++;
    } else if (c == '{') {
        say_repeat(s);
    } else if (in_name(c)) {
        say_name(s);
    } else {
        buf_putc(s->out, *s->p++);
    }
}

/* ---- behind a trigger ---- */

/* How much of the trigger the text t[0..k) + c ends with. */
static size_t next_match(const char *t, size_t k, char c) {
    for (size_t n = k + 1; n > 0; n--)
        if (t[n - 1] == c && memcmp(t, t + k - (n - 1), n - 1) == 0) return n;
    return 0;
}

/* Any text that ends with the trigger and does not hold it before, then inner-root: rule text-k stands behind k of its
 * bytes. */
static void say_trigger(const char *t, buf *out) {
    size_t n = strlen(t);
    buf_puts(out, "root ::= text-0\n");
    for (size_t k = 0; k < n; k++) {
        buf_printf(out, "text-%zu ::= \"\\x%02X\" text-%zu | [^", k, (unsigned)t[k], k + 1);
        for (size_t i = 0; i < n; i++)
            if (memchr(t, t[i], i) == NULL) buf_printf(out, "\\x%02X", (unsigned)t[i]);
        buf_puts(out, "] text-0");
        for (size_t i = 0; i < n; i++)
            if (memchr(t, t[i], i) == NULL && t[i] != t[k])
                buf_printf(out, " | \"\\x%02X\" text-%zu", (unsigned)t[i], next_match(t, k, t[i]));
        buf_putc(out, '\n');
    }
    buf_printf(out, "text-%zu ::= inner-root\n", n);
}

static bool is_ascii(const char *t) {
    for (; *t; t++)
        if (*t <= 0x20 || *t >= 0x7F) return false;
    return true;
}

pgr_status remote_grammar_speak(const char *text, size_t n, const char *trigger, buf *out, pgr_error *err) {
    size_t bom = n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    speaker s = {.p = text + bom, .end = text + n, .inner = trigger != NULL, .plain = true, .out = out};
    if (trigger && is_ascii(trigger)) say_trigger(trigger, out);
    while (s.p < s.end) say_item(&s);
    if (out->failed) return fail_mem(err);
    if (!s.plain || (trigger && !is_ascii(trigger))) buf_clear(out);
    return PGR_OK;
}

/* ---- as the grammar reads it ----------------------------------------------------------------------------------- */

static bool is_blank(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && s[i] != '\n' && s[i] != '\r' && s[i] != '\t') return false;
    return true;
}

static pgr_status add_place(grammar_reading *o, arena *a, grammar_place_at p, pgr_error *err) {
    if (o->n_place == o->cap_place) {
        size_t cap = o->cap_place ? 2 * o->cap_place : 16;
        grammar_place_at *more = arena_array(a, cap, sizeof *more);
        if (!more) return fail_mem(err);
        if (o->n_place) memcpy(more, o->places, o->n_place * sizeof *more);
        o->places = more;
        o->cap_place = cap;
    }
    o->places[o->n_place++] = p;
    return PGR_OK;
}

/* Holes that come now are filled. *filled: there was one. */
static pgr_status fill_holes(task *t, int *state, grammar_reading *o, bool *filled, pgr_error *err) {
    for (const char *hole; (hole = grammar_hole(t->grammar, *state)); *filled = true) {
        if (!t->r.fill) return fail(err, PGR_E_ARG, "grammar: holes (@name) are for frames");
        PGR_TRY(t->r.fill(t->r.fill_ctx, hole, o->text.data ? o->text.data : "", o->text.n, &o->text, err));
        PGR_TRY(grammar_after_hole(t->grammar, *state, state, err));
    }
    return PGR_OK;
}

/* Behind the text: holes, and what has no choice. */
static pgr_status end_text(task *t, int *state, grammar_reading *o, pgr_error *err) {
    for (bool filled = true; filled;) {
        filled = false;
        PGR_TRY(grammar_forced(t->grammar, state, &o->text, err));
        PGR_TRY(fill_holes(t, state, o, &filled, err));
    }
    return PGR_OK;
}

/* A hole that the model should not have filled may not be fillable: its chain does not fit then. */
static pgr_status misfit(pgr_status s, grammar_reading *o, size_t at) {
    if (s != PGR_E_FORMAT) return s;
    o->fits = false;
    o->bad = at;
    return PGR_OK;
}

pgr_status remote_grammar_read(task *t, const char *text, size_t n, bool loose, arena *a, grammar_reading *o,
                               pgr_error *err) {
    grammar *g = t->grammar;
    int state = grammar_start(g), next;
    bool filled = false;
    *o = (grammar_reading){.fits = true};
    for (size_t i = 0; i < n; i++) {
        pgr_status s = fill_holes(t, &state, o, &filled, err);
        if (s != PGR_OK) return misfit(s, o, i);
        uint8_t byte = (uint8_t)text[i];
        uint32_t place = grammar_place(g, state);
        PGR_TRY(grammar_step(g, state, byte, &next, err));
        if (next == GRAMMAR_DEAD) {
            bool over = grammar_accepts(g, state) && (is_blank(text + i, n - i) || (loose && filled));
            if (over) break;
            o->fits = false;
            o->bad = i;
            return PGR_OK;
        }
        if (t->r.want_places && place && grammar_place_of(g, state, byte) == place)
            PGR_TRY(add_place(o, a, (grammar_place_at){i, o->text.n, state, place}, err));
        buf_putc(&o->text, text[i]);
        state = next;
        filled = false;
    }
    pgr_status s = end_text(t, &state, o, err);
    if (s != PGR_OK) return misfit(s, o, n);
    if (o->text.failed) return fail_mem(err);
    o->whole = grammar_accepts(g, state);
    return PGR_OK;
}
