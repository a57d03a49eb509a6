/* chain_rubric.c - reads the criteria of a rubric written in prose, with their weights and reasons, in the layouts that
 * models use:
 *     1. **Depth** (35%): because ...          - Depth - 35% - because        Depth: 35%        (30)
 * Their scores: chain_rubric_scores.c. */
#include <string.h>

#include "judge/chain_rubric.h"

/* ---- plain text ------------------------------------------------------------------------------------------------ */

typedef struct plain {
    const char *from, *to;
} plain;

/* clang-format off */
static const plain PLAIN[] = {
    {"**", ""}, {"__", ""}, {"`", ""}, {"\r", ""},
    {"\xC3\x97", "x"}, {"\xC2\xB7", "x"}, {"\xE2\x88\x97", "x"}, {"\xE2\x8B\x85", "x"},    /* times and dots */
    {"\xE2\x80\x90", "-"}, {"\xE2\x80\x91", "-"}, {"\xE2\x80\x93", "-"}, {"\xE2\x80\x94", "-"}, {"\xE2\x88\x92", "-"},
    {"\xE2\x80\xA2", "-"}, {"\xE2\x86\x92", "="}, {"\xE2\x89\x88", "="},                    /* bullet, arrow, nearly */
    {"\xE2\x80\x99", "'"}, {"\xC2\xA0", " "}, {"\xE2\x80\xAF", " "}, {"\xEF\xBC\x9A", ":"}, {"\xEF\xBC\x85", "%"},
};
/* clang-format on */

pgr_status rubric_plain(span text, arena *a, span *out, pgr_error *err) {
    char *w = arena_alloc(a, (size_t)(text.end - text.s) + 1);
    if (!w) return fail_mem(err);
    out->s = w;
    while (text.s < text.end) {
        const plain *hit = NULL;
        if (*text.s == '*' || *text.s == '_' || *text.s == '`' || *text.s == '\r' || (unsigned char)*text.s >= 0xC2)
            for (size_t i = 0; !hit && i < sizeof PLAIN / sizeof *PLAIN; i++)
                if (span_begins(text, PLAIN[i].from)) hit = &PLAIN[i];
        if (!hit) {
            *w++ = *text.s ? *text.s : ' ';
            text.s++;
            continue;
        }
        text.s += strlen(hit->from);
        if (*hit->to) *w++ = *hit->to;
    }
    out->end = w;
    return PGR_OK;
}

/* ---- small readers --------------------------------------------------------------------------------------------- */

const char *rubric_skip_marker(const char *s, const char *end) {
    for (int again = 0; again < 3; again++) {
        s = skip_spaces(s, end);
        const char *p = s;
        if (s + 1 < end && in_set(*s, "-*+#>")) {
            while (s < end && in_set(*s, "-*+#>")) s++;
            continue;
        }
        if (span_begins((span){s, end}, "criterion ")) p = s + 10;
        const char *digits = p;
        while (p < end && p - digits < 2 && is_digit(*p)) p++;
        if (p == s && p + 1 < end && is_alnum(*p) && p[1] == ')') p++;
        if (p > s && p + 1 < end && in_set(*p, p > digits && digits > s ? ":.)" : ".)") && in_set(p[1], " \t"))
            s = p + 1;
        else
            break;
    }
    return s;
}

bool response_mention(const char *s, const char *end, size_t n_response, size_t *place, const char **after) {
    const char *p = s;
    if (span_begins((span){s, end}, "response"))
        p = s + 8;
    else if (end - s >= 2 && (*s == 'R' || *s == 'r') && is_digit(s[1]))
        p = s + 1;
    else
        return false;
    bool word = p == s + 8;
    while (word && p < end && p - s < 12 && in_set(*p, " _#")) p++;
    size_t n = 0;
    const char *digits = p;
    while (p < end && p - digits < 5 && is_digit(*p)) n = 10 * n + (size_t)(*p++ - '0');
    if (p == digits && word && p > s + 8 && p < end && *p >= 'A' && *p <= 'Z') n = (size_t)(*p++ - 'A') + 1;
    if (n < 1 || n > n_response || (p < end && is_alnum(*p))) return false;
    *place = n - 1;
    *after = p;
    return true;
}

bool rubric_is_total(span name) {
    static const char *const WORDS[] = {"total", "weighted", "overall", "final", "sum", "calculation", "weights"};
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (span_begins(name, WORDS[i])) return true;
    return false;
}

static size_t word_count(span t) {
    size_t n = 0;
    for (const char *p = t.s; p < t.end; p++) n += is_alnum(*p) && (p == t.s || !is_alnum(p[-1]));
    return n;
}

/* ---- criteria -------------------------------------------------------------------------------------------------- */

typedef struct weight_at { /* a weight found in a piece of text */
    double value;
    const char *s, *after; /* from its bracket or sign to behind it */
} weight_at;

static const char *last_mark(const char *s, const char *p) { /* the last character that is no blank before p, or NULL */
    while (p > s && is_blank(p[-1])) p--;
    return p > s ? p - 1 : NULL;
}

/* Does the number from s to after stand for a weight? strict: only with a percent sign, brackets or the word weight. */
static bool weight_here(span piece, const char *s, const char *after, double v, bool strict, weight_at *out) {
    const char *before = last_mark(piece.s, s), *next = skip_blank(after, piece.end);
    char b = before ? *before : 0, n = next < piece.end ? *next : 0;
    bool fraction = v > 0.0 && v <= 1.0 && memchr(s, '.', (size_t)(after - s));
    bool said = before && before - piece.s >= 5
                && span_find((span){before - piece.s > 12 ? before - 12 : piece.s, s}, "weight");
    bool closed = n == 0 || in_set(n, ".,;:)]|\n") || (n == '-' && next > after);
    const char *end = next;
    if (n == '%') {
        end = next + 1;
        const char *tail = skip_blank(end, piece.end);
        if (b && !in_set(b, "([-:=|,") && !said
            && !(word_count((span){piece.s, s}) <= 4 && (tail == piece.end || in_set(*tail, ".,;:)]|-\n"))))
            return false;
    } else if ((b == '(' || b == '[') && (n == ')' || n == ']')) {
        if (strict && !fraction && v < 5.0) return false;
    } else if (said && closed) {
        end = after;
    } else if (!strict && closed && (b == '-' || (b == ':' && in_set(n, ".,;-|") == 0))) {
        end = after;
    } else {
        return false;
    }
    if (n != '%' && fraction) v *= 100.0;
    *out = (weight_at){v, before && in_set(b, "([-:=|,") ? before : s, end};
    return v >= 0.0 && v <= 100.0;
}

static bool find_weight(span piece, bool strict, weight_at *out) {
    span head = piece;
    if (head.end - head.s > 160) head.end = head.s + 160; /* a weight comes early, percentages in a reason late */
    for (const char *p = rubric_skip_marker(head.s, head.end); p < head.end; p++) {
        if (!is_digit(*p) || (p > piece.s && (is_alnum(p[-1]) || p[-1] == '.'))) continue;
        const char *after = p;
        double v;
        if (!number_read(&after, piece.end, &v)) continue;
        if (weight_here(piece, p, after, v, strict, out)) return true;
        p = after - 1;
    }
    return false;
}

static span trim_set(span t, const char *set) {
    while (t.s < t.end && in_set(*t.s, set)) t.s++;
    while (t.end > t.s && in_set(t.end[-1], set)) t.end--;
    return t;
}

static const char BORDER[] = " \t\n()[]{}:;-=|,.*\"";

static const char *word_before(span t, const char *word) { /* where t ends with the word, else its end */
    size_t n = strlen(word);
    return (size_t)(t.end - t.s) > n && span_begins((span){t.end - n, t.end}, word) ? t.end - n : t.end;
}

/* The criterion's name before the weight, or behind it where the weight comes first. rest: text left for the reason. */
static bool criterion_name(span piece, const weight_at *w, size_t n_response, span *name, span *rest) {
    *rest = (span){w->after, piece.end};
    *name = trim_set((span){rubric_skip_marker(piece.s, w->s), w->s}, BORDER);
    name->end = word_before(*name, "weight");
    name->end = word_before(*name, "weighting");
    *name = trim_set(*name, BORDER);
    const char *colon = name->s < name->end ? memchr(name->s, ':', (size_t)(name->end - name->s)) : NULL;
    if (colon && span_find((span){name->s, colon}, "criteria"))
        name->s = skip_blank(colon + 1, name->end);
    else if (colon)
        name->end = colon;
    if (name->s == name->end) {
        span tail = trim_set(*rest, " \t)]:-.|");
        const char *p = tail.s;
        while (p < tail.end && !in_set(*p, ":\n.;(") && !(*p == '-' && is_blank(p[-1]))) p++;
        *name = trim_set((span){tail.s, p}, BORDER);
        rest->s = p;
    }
    *rest = trim_set(*rest, " \t)]}:-|,\n");
    bool letters = false;
    for (const char *p = name->s; p < name->end; p++) letters = letters || (is_alnum(*p) && !is_digit(*p));
    bool words = false; /* a table's scores are no reason */
    for (const char *p = rest->s; p < rest->end; p++) words = words || !in_set(*p, "0123456789|./ \t");
    size_t place;
    const char *after;
    if (!words || response_mention(rest->s, rest->end, n_response, &place, &after)) rest->end = rest->s;
    return letters && name->end - name->s <= NAME_BYTES && !rubric_is_total(*name) && !span_begins(*name, "score")
           && !response_mention(name->s, name->end, n_response, &place, &after);
}

static bool same_name(span a, const char *b) {
    char x[NAME_BYTES + 1], y[NAME_BYTES + 1];
    return key_plain(a, x, sizeof x) == key_plain((span){b, b + strlen(b)}, y, sizeof y) && strcmp(x, y) == 0;
}

/* " 2. Warmth" inside a line: numbering that begins a new piece. */
static bool numbering_at(span t, const char *p) {
    if (!is_digit(*p) || p == t.s || p[-1] != ' ') return false;
    const char *q = p;
    while (q < t.end && q - p < 2 && is_digit(*q)) q++;
    return q + 2 < t.end && in_set(*q, ".)") && q[1] == ' ' && is_alnum(q[2]) && !is_digit(q[2]);
}

/* ", Warmth (30%)" behind a weight: a comma that begins a new piece. */
static bool listing_at(span t, const char *p) {
    if (*p != ',' || p == t.s || !(in_set(p[-1], "%)]") || is_digit(p[-1]))) return false;
    for (const char *q = p + 1; q < t.end && q - p < NAME_BYTES && !in_set(*q, ",;\n."); q++)
        if (is_digit(q[-1]) && (*q == '%' || (q + 1 < t.end && is_digit(*q) && in_set(q[1], ",;.\n")))) return true;
    return false;
}

static span next_piece(span t) {
    const char *p = t.s;
    while (p < t.end && *p != '\n' && *p != ';' && !(p > t.s && numbering_at(t, p)) && !listing_at(t, p)) p++;
    return (span){t.s, p};
}

static pgr_status extend_reason(chain_criterion *k, span more, arena *a, pgr_error *err) {
    more = span_trim(more);
    size_t have = strlen(k->reason);
    if (more.s == more.end || have >= REASON_BYTES / 2) return PGR_OK;
    char *tail = span_copy(a, more, REASON_BYTES - have);
    char *joined = tail ? arena_printf(a, "%s%s%s", k->reason, have ? " " : "", tail) : NULL;
    if (!joined) return fail_mem(err);
    k->reason = joined;
    return PGR_OK;
}

static pgr_status read_piece(span piece, bool strict, size_t n_response, arena *a, chain *c, bool *open,
                             pgr_error *err) {
    weight_at w;
    span name, reason;
    size_t place;
    const char *after, *s = rubric_skip_marker(piece.s, piece.end);
    if (!find_weight(piece, strict, &w) || !criterion_name(piece, &w, n_response, &name, &reason)) {
        if (s == piece.end) return PGR_OK;
        if (response_mention(s, piece.end, n_response, &place, &after) || rubric_is_total((span){s, piece.end}))
            *open = false;
        return *open && !strict && c->n_criterion
                   ? extend_reason(&c->criteria[c->n_criterion - 1], (span){s, piece.end}, a, err)
                   : PGR_OK;
    }
    *open = false;
    for (size_t i = 0; i < c->n_criterion; i++)
        if (same_name(name, c->criteria[i].name)) return PGR_OK;
    bool mem;
    *open = chain_add(c, a, n_response, name, w.value, reason, &mem) != NULL;
    return mem ? fail_mem(err) : PGR_OK;
}

/* Section A is what comes before B's heading; without B's heading the whole text is read with stricter rules. */
pgr_status rubric_criteria(span text, size_t n_response, arena *a, chain *c, pgr_error *err) {
    const char *title = span_find(text, "evaluation criteria"), *b = span_find(text, "scoring breakdown");
    if (title && b && title > b) title = NULL;
    if (b && b - text.s >= 3 && span_begins((span){b - 3, b}, "B. ")) b -= 3;
    span t = {title ? title + strlen("evaluation criteria") : text.s, b ? b : text.end};
    bool strict = !b, open = false;
    if (title) {
        t.s = span_begins((span){skip_blank(t.s, t.end), t.end}, "& weights") ? skip_blank(t.s, t.end) + 9 : t.s;
        while (t.s < t.end && in_set(*t.s, ":* \t")) t.s++;
    }
    while (t.s < t.end) {
        span piece = next_piece(t);
        PGR_TRY(read_piece(piece, strict, n_response, a, c, &open, err));
        t.s = piece.end;
        if (t.s < t.end && in_set(*t.s, "\n;,")) t.s++;
    }
    return PGR_OK;
}
