/* frame_file.c - reads a frame file (docs/frames.md): header lines, sections, placeholders. Every mistake is an error
 * that names the line and, where there is one, the nearest known name. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "judge/frame_parts.h"

static const char *const SLOT_NAMES[] = {
#define X(id, name) name,
    SLOTS(X)
#undef X
        NULL};

static const char *const SECTION_NAMES[] = {
#define X(id, name, slots) name,
    SECTIONS(X)
#undef X
        NULL};

static const unsigned SECTION_SLOTS[N_SECTION] = {
#define X(id, name, slots) slots,
    SECTIONS(X)
#undef X
};

/* Numbers of the header: where they go and what they may be. */
typedef struct number_key {
    const char *name;
    size_t offset, lo, hi;
} number_key;

static const number_key NUMBER_KEYS[] = {
    {"max_tokens", offsetof(frame, max_tokens), 1, 32768},
    {"max_tokens_more", offsetof(frame, max_tokens_more), 0, 4096},
    {"history", offsetof(frame, history), 0, 1000},
    {"facts", offsetof(frame, facts), 0, 100},
    {"views", offsetof(frame, views), 0, 100},
    {"people", offsetof(frame, people), 0, 1000},
    {"limit_query", offsetof(frame, limit[KIND_QUERY]), 1, 1000000},
    {"limit_response", offsetof(frame, limit[KIND_RESPONSE]), 1, 1000000},
    {"limit_history_query", offsetof(frame, limit[KIND_HISTORY_QUERY]), 1, 1000000},
    {"limit_history_response", offsetof(frame, limit[KIND_HISTORY_RESPONSE]), 1, 1000000},
    {"limit_criteria", offsetof(frame, limit[KIND_CRITERIA]), 1, 1000000},
    {"limit_demographics", offsetof(frame, limit[KIND_DEMOGRAPHICS]), 1, 1000000},
};

enum { N_NUMBER_KEY = sizeof NUMBER_KEYS / sizeof *NUMBER_KEYS };

enum { KEY_NAME = N_NUMBER_KEY, KEY_FORM, KEY_TRIGGER, KEY_LINES, KEY_BETWEEN, N_KEY };
static const char *const KEY_NAMES[] = {"max_tokens",
                                        "max_tokens_more",
                                        "history",
                                        "facts",
                                        "views",
                                        "people",
                                        "limit_query",
                                        "limit_response",
                                        "limit_history_query",
                                        "limit_history_response",
                                        "limit_criteria",
                                        "limit_demographics",
                                        "name",
                                        "form",
                                        "trigger",
                                        "lines",
                                        "between",
                                        NULL};

typedef struct source {
    frame *f;
    const char *p, *end; /* what is unread */
    int line;            /* of p */
    unsigned seen;       /* header keys, by bit */
    pgr_error *err;
} source;

static size_t find_name(const char *name, const char *const *known) {
    size_t i = 0;
    while (known[i] && strcmp(known[i], name) != 0) i++;
    return i;
}

/* "ORIGIN:LINE: unknown WHAT 'NAME', did you mean 'NEAREST'?" */
static pgr_status unknown(const source *s, int line, const char *what, const char *name, const char *const *known) {
    const char *nearest = text_nearest(name, known);
    if (nearest)
        return fail(s->err, PGR_E_FORMAT, "%s:%d: unknown %s '%.60s', did you mean '%s'?", s->f->origin, line, what,
                    name, nearest);
    return fail(s->err, PGR_E_FORMAT, "%s:%d: unknown %s '%.60s' (docs/frames.md lists them)", s->f->origin, line, what,
                name);
}

/* ---- lines ----------------------------------------------------------------------------------------------------- */

/* The next line without its end and without blanks at its end; moves on. */
static slot_text take_line(source *s) {
    const char *stop = memchr(s->p, '\n', (size_t)(s->end - s->p));
    slot_text line = {s->p, (size_t)((stop ? stop : s->end) - s->p)};
    s->p = stop ? stop + 1 : s->end;
    s->line++;
    while (line.n && (line.s[line.n - 1] == ' ' || line.s[line.n - 1] == '\t' || line.s[line.n - 1] == '\r')) line.n--;
    return line;
}

/* "[name]" of lower-case letters and hyphens alone on a line: a heading. */
static bool is_heading(slot_text line) {
    if (line.n < 3 || line.s[0] != '[' || line.s[line.n - 1] != ']') return false;
    for (size_t i = 1; i + 1 < line.n; i++)
        if (!((line.s[i] >= 'a' && line.s[i] <= 'z') || line.s[i] == '-')) return false;
    return true;
}

/* ---- header ---------------------------------------------------------------------------------------------------- */

static pgr_status read_number(source *s, int line, const number_key *k, const char *value) {
    char *end;
    unsigned long v = value[0] >= '0' && value[0] <= '9' ? strtoul(value, &end, 10) : 0;
    if (!(value[0] >= '0' && value[0] <= '9') || *end || strlen(value) > 9 || v < k->lo || v > k->hi)
        return fail(s->err, PGR_E_FORMAT, "%s:%d: %s is '%.40s', expected a whole number from %zu to %zu", s->f->origin,
                    line, k->name, value, k->lo, k->hi);
    *(size_t *)(void *)((char *)s->f + k->offset) = (size_t)v;
    return PGR_OK;
}

/* The value is one of two words: *second tells which. */
static pgr_status read_choice(source *s, int line, const char *key, const char *value, const char *a, const char *b,
                              bool *second) {
    *second = strcmp(value, b) == 0;
    if (*second || strcmp(value, a) == 0) return PGR_OK;
    return fail(s->err, PGR_E_FORMAT, "%s:%d: %s is '%.40s', expected %s or %s", s->f->origin, line, key, value, a, b);
}

static pgr_status read_form(source *s, int line, const char *value) {
    static const char *const FORMS[] = {"full", "compact", "slots", NULL}; /* chain_form */
    size_t k = find_name(value, FORMS);
    if (!FORMS[k])
        return fail(s->err, PGR_E_FORMAT, "%s:%d: form is '%.40s', expected full, compact or slots", s->f->origin, line,
                    value);
    s->f->form = (int)k;
    return PGR_OK;
}

static pgr_status read_value(source *s, int line, size_t key, char *value) {
    frame *f = s->f;
    if (s->seen & 1u << key)
        return fail(s->err, PGR_E_FORMAT, "%s:%d: %s is given twice", f->origin, line, KEY_NAMES[key]);
    s->seen |= 1u << key;
    if (!*value) return fail(s->err, PGR_E_FORMAT, "%s:%d: %s has no value", f->origin, line, KEY_NAMES[key]);
    switch (key) {
    case KEY_NAME:
        f->name = value;
        return PGR_OK;
    case KEY_TRIGGER:
        f->trigger = value;
        return PGR_OK;
    case KEY_LINES:
        return read_choice(s, line, "lines", value, "keep", "join", &f->join_lines);
    case KEY_BETWEEN:
        return read_choice(s, line, "between", value, "line", "blank-line", &f->blank_between);
    case KEY_FORM:
        return read_form(s, line, value);
    default:
        return read_number(s, line, &NUMBER_KEYS[key], value);
    }
}

static pgr_status read_header_line(source *s, int line, slot_text t) {
    frame *f = s->f;
    if (t.n == 0 || t.s[0] == '#') return PGR_OK;
    const char *colon = memchr(t.s, ':', t.n);
    if (!colon)
        return fail(s->err, PGR_E_FORMAT, "%s:%d: found '%.*s', expected 'key: value' or a section", f->origin, line,
                    (int)(t.n < 40 ? t.n : 40), t.s);
    const char *value = colon + 1, *end = t.s + t.n;
    while (value < end && (*value == ' ' || *value == '\t')) value++;
    char *key = arena_strndup(&f->arena, t.s, (size_t)(colon - t.s)),
         *copy = arena_strndup(&f->arena, value, (size_t)(end - value));
    if (!key || !copy) return fail_mem(s->err);
    size_t k = find_name(key, KEY_NAMES);
    return k < N_KEY ? read_value(s, line, k, copy) : unknown(s, line, "key", key, KEY_NAMES);
}

/* ---- sections -------------------------------------------------------------------------------------------------- */

/* A placeholder "{name}" begins with a letter; other braces are text, and "{{" is one brace. */
static bool opens_slot(const char *p, const char *end) {
    return *p == '{' && p + 1 < end && ((p[1] >= 'a' && p[1] <= 'z') || (p[1] >= 'A' && p[1] <= 'Z'));
}

static pgr_status read_slot(source *s, int which, int line, const char **p, const char *end, piece *out) {
    const char *stop = *p + 1;
    while (stop < end && *stop != '}' && *stop != '\n' && stop - *p < 60) stop++;
    char name[64] = {0};
    memcpy(name, *p + 1, (size_t)(stop - *p - 1));
    if (stop == end || *stop != '}')
        return fail(s->err, PGR_E_FORMAT, "%s:%d: '{%.40s' has no closing brace (a literal brace is '{{')",
                    s->f->origin, line, name);
    size_t slot = find_name(name, SLOT_NAMES);
    if (slot == N_SLOT) return unknown(s, line, "placeholder", name, SLOT_NAMES);
    if (!(SECTION_SLOTS[which] & 1u << slot))
        return fail(s->err, PGR_E_FORMAT, "%s:%d: {%s} cannot stand in [%s]", s->f->origin, line, name,
                    SECTION_NAMES[which]);
    bool opens = (*p)[-1] == '\n' || (*p)[-1] == 0; /* the body is a copy with a NUL before it */
    out->slot = (int)slot;
    out->alone = opens && (stop + 1 == end || stop[1] == '\n');
    s->f->sections[which].slots |= 1u << slot;
    *p = stop + 1;
    return PGR_OK;
}

/* Splits the body into pieces. An upper bound of their number is two per opening brace and one. */
static pgr_status read_body(source *s, int which, int line, const char *body, const char *end) {
    section *sec = &s->f->sections[which];
    size_t braces = 0;
    for (const char *p = body; p < end; p++) braces += *p == '{';
    sec->pieces = arena_array(&s->f->arena, 2 * braces + 1, sizeof *sec->pieces);
    if (!sec->pieces) return fail_mem(s->err);
    const char *from = body;
    for (const char *p = body; p <= end;) {
        bool slot = p < end && opens_slot(p, end), brace = p + 1 < end && *p == '{' && p[1] == '{';
        if (p < end && !slot && !brace) {
            line += *p++ == '\n';
            continue;
        }
        size_t n = (size_t)(p - from) + brace;
        if (n) sec->pieces[sec->n++] = (piece){-1, false, from, n};
        if (p == end) break;
        if (slot)
            PGR_TRY(read_slot(s, which, line, &p, end, &sec->pieces[sec->n++]));
        else
            p += 2;
        from = p;
    }
    return PGR_OK;
}

/* The lines up to the next heading, without blank lines at both ends. *heading: the next one, n 0 at the end of the
 * file. */
static pgr_status read_section(source *s, slot_text *heading) {
    char name[32] = {0};
    int at = s->line - 1;
    memcpy(name, heading->s + 1, heading->n - 2 < 31 ? heading->n - 2 : 31);
    size_t which = find_name(name, SECTION_NAMES);
    if (which == N_SECTION) return unknown(s, at, "section", name, SECTION_NAMES);
    section *sec = &s->f->sections[which];
    if (sec->line)
        return fail(s->err, PGR_E_FORMAT, "%s:%d: [%s] is there already, in line %d", s->f->origin, at, name,
                    sec->line);
    sec->line = at;

    buf body = {0};
    int first = 0;
    size_t used = 1;
    buf_putc(&body, 0); /* see read_slot */
    heading->n = 0;
    while (s->p < s->end) {
        int line = s->line;
        slot_text t = take_line(s);
        if (is_heading(t)) {
            *heading = t;
            break;
        }
        if (t.n == 0 && !first) continue;
        if (!first) first = line;
        buf_add(&body, t.s, t.n);
        if (t.n) used = body.n;
        buf_putc(&body, '\n');
    }
    char *copy = body.failed ? NULL : arena_strndup(&s->f->arena, body.data, used);
    buf_free(&body);
    if (!copy) return fail_mem(s->err);
    return read_body(s, (int)which, first, copy + 1, copy + used);
}

/* ---- the file -------------------------------------------------------------------------------------------------- */

static pgr_status missing(const source *s, const char *what) {
    return fail(s->err, PGR_E_FORMAT, "%s:%d: the file ends without %s", s->f->origin, s->line, what);
}

/* The section must be there and end with the placeholder: the slots are found by that. */
static pgr_status check_end(const source *s, int which, int slot) {
    const section *sec = &s->f->sections[which];
    if (sec->n && sec->pieces[sec->n - 1].slot == slot) return PGR_OK;
    return fail(s->err, PGR_E_FORMAT, "%s:%d: [%s] does not end with {%s}, expected that in a frame of the form slots",
                s->f->origin, sec->line ? sec->line : s->line, SECTION_NAMES[which], SLOT_NAMES[slot]);
}

static pgr_status check_slots(const source *s) {
    const section *sec = s->f->sections;
    PGR_TRY(check_end(s, SECTION_USER, SLOT_TASTE));
    PGR_TRY(check_end(s, SECTION_QUALITY, SLOT_RESPONSES));
    PGR_TRY(check_end(s, SECTION_RESPONSE, SLOT_SCORE));
    if (!(sec[SECTION_USER].slots & BIT(HISTORY))) return missing(s, "{history} in [user]");
    if (!sec[SECTION_HISTORY].line) return missing(s, "[history], which {history} needs");
    if (!(sec[SECTION_HISTORY].slots & BIT(FACTS))) return missing(s, "{facts} in [history]");
    if (!(sec[SECTION_QUALITY].slots & BIT(QUERY))) return missing(s, "{query} in [quality]");
    if ((sec[SECTION_SYSTEM].slots | sec[SECTION_USER].slots) & (BIT(QUERY) | BIT(RESPONSES)))
        return fail(s->err, PGR_E_FORMAT,
                    "%s:%d: the taste prompt shows {query} or {responses}, expected what depends "
                    "on the user alone",
                    s->f->origin, sec[SECTION_USER].line);
    return PGR_OK;
}

/* Parts that no frame can do without, and parts that need each other. */
static pgr_status check(const source *s) {
    const frame *f = s->f;
    const section *sec = f->sections;
    unsigned prompt = sec[SECTION_SYSTEM].slots | sec[SECTION_USER].slots;
    if (f->form < 0) return missing(s, "'form: full', 'form: compact' or 'form: slots'");
    if (f->form == CHAIN_SLOTS && sec[SECTION_RESPONSE].slots & BIT(TEXT)) return check_slots(s);
    if (f->form != CHAIN_SLOTS && (prompt | sec[SECTION_RESPONSE].slots) & (BIT(TASTE) | BIT(SCORE)))
        return fail(s->err, PGR_E_FORMAT, "%s:%d: {taste} and {score} are slots, expected 'form: slots'", f->origin,
                    sec[SECTION_USER].line);
    if (f->form != CHAIN_SLOTS && !f->max_tokens) return missing(s, "'max_tokens: NUMBER'");
    if (!sec[SECTION_USER].line) return missing(s, "[user]");
    if (!sec[SECTION_RESPONSE].line) return missing(s, "[response]");
    if (!(sec[SECTION_RESPONSE].slots & BIT(TEXT))) return missing(s, "{text} in [response]");
    if (!(prompt & BIT(QUERY))) return missing(s, "{query} in [user]");
    if (!(prompt & BIT(RESPONSES))) return missing(s, "{responses} in [user]");
    if (prompt & BIT(HISTORY) && !sec[SECTION_HISTORY].line) return missing(s, "[history], which {history} needs");
    if (sec[SECTION_GRAMMAR].slots & BIT(RESPONSES) && !sec[SECTION_GRAMMAR_RESPONSE].line)
        return missing(s, "[grammar-response], which {responses} in [grammar] needs");
    return PGR_OK;
}

static pgr_status read_file(source *s) {
    slot_text heading = {0};
    while (s->p < s->end && heading.n == 0) {
        int line = s->line;
        slot_text t = take_line(s);
        if (is_heading(t))
            heading = t;
        else
            PGR_TRY(read_header_line(s, line, t));
    }
    while (heading.n) PGR_TRY(read_section(s, &heading));
    return check(s);
}

void frame_close(frame *f) {
    if (!f) return;
    arena_free(&f->arena);
    mem_free(f);
}

pgr_status frame_parse(const char *text, size_t n, const char *origin, frame **out, pgr_error *err) {
    frame *f = mem_zero(1, sizeof *f);
    if (!f) return fail_mem(err);
    f->origin = arena_strdup(&f->arena, origin);
    f->name = f->origin;
    f->form = -1;
    f->facts = 4;
    f->history = 3; /* the paper's */
    static const size_t LIMITS[N_KIND] = {512, 512, 128, 256, 256, 128};
    memcpy(f->limit, LIMITS, sizeof LIMITS);

    source s = {.f = f, .p = text, .end = text + n, .line = 1, .err = err};
    const char *nul = n ? memchr(text, 0, n) : NULL;
    pgr_status status = !f->origin ? fail_mem(err) : PGR_OK;
    if (status == PGR_OK && (nul || !utf8_valid(text, n)))
        status = fail(err, PGR_E_FORMAT, "%s:1: the file is not UTF-8 text", origin);
    if (status == PGR_OK) status = read_file(&s);
    if (status == PGR_OK)
        *out = f;
    else
        frame_close(f);
    return status;
}
