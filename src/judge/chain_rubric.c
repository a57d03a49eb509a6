/* chain_rubric.c - reads a rubric written in prose: criteria with weights and reasons, then a score per criterion and
 * response. Takes the layouts that models use:
 *     1. **Depth** (35%): because ...          - Depth - 35% - because        Depth: 35%        (30)
 *     - Depth: Response 1: 8, Response 2: 5    Response 1: / - Depth: 8       | Depth | 35% | 8 | 5 |
 *     Response 1: 4 x 0.35 + 6 x 0.30 = 3.2
 * What is in doubt is left out: a score that is missing makes the recomputed total missing, never wrong. */
#include <math.h>
#include <string.h>

#include "judge/chain_parts.h"

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

static const char *skip_spaces(const char *s, const char *end) {
    while (s < end && (*s == ' ' || *s == '\t')) s++;
    return s;
}

static bool in_set(char c, const char *set) {
    return c && strchr(set, c);
}

/* Behind bullets and numbering ("- ", "* ", "3. ", "b) ", "Criterion 2: ") at s. */
static const char *skip_marker(const char *s, const char *end) {
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

/* Totals and the like are no criteria. */
static bool is_total(span name) {
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
    for (const char *p = skip_marker(head.s, head.end); p < head.end; p++) {
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
    *name = trim_set((span){skip_marker(piece.s, w->s), w->s}, BORDER);
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
    return letters && name->end - name->s <= NAME_BYTES && !is_total(*name) && !span_begins(*name, "score")
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
    const char *after, *s = skip_marker(piece.s, piece.end);
    if (!find_weight(piece, strict, &w) || !criterion_name(piece, &w, n_response, &name, &reason)) {
        if (s == piece.end) return PGR_OK;
        if (response_mention(s, piece.end, n_response, &place, &after) || is_total((span){s, piece.end})) *open = false;
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

/* ---- scores ---------------------------------------------------------------------------------------------------- */

typedef struct scorer {
    chain *c;
    size_t n_response;
    span text;
    bool by_response; /* the layout: responses outside, criteria inside */
    bool decided;     /* the layout is known */
    int criterion;    /* -1: none */
    int response;
    bool open;                                      /* a pair was named and has no number yet */
    bool direct;                                    /* only words like "scores" since it was named */
    bool joint;                                     /* the word before was "and", "while" or the like */
    char plain[CHAIN_MAX_CRITERIA][NAME_BYTES + 1]; /* names by key_plain */
} scorer;

static bool word_in(span w, const char *const *words) {
    for (; *words; words++)
        if (strlen(*words) == (size_t)(w.end - w.s) && span_begins(w, *words)) return true;
    return false;
}

/* Words that may stand between a name and its score. */
static bool is_filler(span w) {
    static const char *const WORDS[] = {"score",    "scores",   "scored",  "rating", "rated", "gets",   "got",
                                        "receives", "received", "earns",   "is",     "a",     "an",     "of",
                                        "the",      "at",       "with",    "and",    "vs",    "versus", "points",
                                        "while",    "but",      "whereas", "has",    NULL};
    return word_in(w, WORDS);
}

/* Words that join a response to the one before. */
static bool is_joint(span w) {
    static const char *const WORDS[] = {"and", "while", "but", "whereas", "vs", "versus", NULL};
    return word_in(w, WORDS);
}

/* Words that may follow a score; before others the number counts something else ("3 examples"). */
static bool may_follow_score(span w) {
    static const char *const WORDS[] = {"because",  "for",   "since", "as", "out", "points",
                                        "response", "given", "due",   "x",  NULL};
    return w.s == w.end || is_joint(w) || word_in(w, WORDS)
           || (w.end - w.s > 1 && (*w.s == 'R' || *w.s == 'r') && is_digit(w.s[1]));
}

static span word_at(const char *s, const char *end) {
    span w = {s, s};
    while (w.end < end && w.end - s < 24 && is_alnum(*w.end)) w.end++;
    return w;
}

/* Is there a number behind s with only punctuation and fillers before it, or an end of line or colon? For a criterion a
 * response will do too; n_response 0: it will not. */
static bool follow_ok(const char *s, const char *end, size_t n_response) {
    size_t place;
    const char *after;
    for (int words = 0; s < end; s++) {
        if (is_digit(*s) || in_set(*s, "\n:=|")) return true;
        if (!is_alnum(*s)) {
            if (*s == '(' || *s == '[') { /* "(35%)" or "(R1)" after the name */
                for (int n = 0; n < NAME_BYTES && s + 1 < end && !in_set(*s, ")]\n"); n++) s++;
            }
            continue;
        }
        if (n_response && response_mention(s, end, n_response, &place, &after)) return true;
        span w = word_at(s, end);
        if (!is_filler(w) || ++words > 5) return false;
        s = w.end - 1;
    }
    return true;
}

static void assign(scorer *z, int criterion, int response, double v) {
    double *slot = &z->c->criteria[criterion].scores[response];
    if (isnan(*slot) && v >= 0.0 && v <= 10.0) *slot = v; /* the first number stands */
}

/* a x b at *s (brackets allowed): the score is the factor that is no weight. Moves *s behind it. */
static bool product_read(const char **s, const char *end, double *score) {
    double v[2];
    bool weight[2];
    const char *p = *s;
    for (int i = 0; i < 2; i++) {
        while (p < end && in_set(*p, " (")) p++;
        const char *from = p;
        if (!number_read(&p, end, &v[i])) return false;
        if (p + 2 < end && memcmp(p, "/10", 3) == 0) p += 3;
        weight[i] = p < end && *p == '%';
        p += weight[i];
        weight[i] = weight[i] || (v[i] <= 1.0 && memchr(from, '.', (size_t)(p - from)));
        while (p < end && in_set(*p, " )")) p++;
        if (i == 0 && (p == end || !in_set(*p++, "xX*"))) return false;
    }
    if (!weight[0] && !weight[1]) weight[v[0] > 10.0 ? 0 : 1] = true;
    if (weight[0] == weight[1]) return false;
    *score = weight[0] ? v[1] : v[0];
    *s = p;
    return true;
}

/* "Response 1: 4 x 0.35 + 6 x 0.30 ...": one product per criterion, in their order. Returns behind the line then, else
 * s. */
static const char *read_products(scorer *z, const char *s) {
    double v[CHAIN_MAX_CRITERIA];
    size_t n = 0, place;
    const char *p = s, *after;
    for (; p < z->text.end && *p != '\n'; p++) {
        if (p > s && !is_alnum(p[-1]) && response_mention(p, z->text.end, z->n_response, &place, &after)) break;
        if (!is_digit(*p) || is_alnum(p[-1]) || p[-1] == '.') continue;
        const char *q = p;
        double score;
        if (!product_read(&q, z->text.end, &score)) continue;
        if (n < CHAIN_MAX_CRITERIA) v[n] = score;
        n++;
        p = q - 1;
    }
    if (n < 2 || n != z->c->n_criterion) return s;
    for (size_t i = 0; i < n; i++) assign(z, (int)i, z->response, v[i]);
    z->open = false;
    return p;
}

/* "8 vs 5", "| 8 | 5 |": as many numbers as responses behind a criterion's name. */
static void read_row(scorer *z, const char *s) {
    double v[64];
    size_t n = 0, words = 0;
    for (const char *end = z->text.end; s < end && n <= z->n_response && n < 64;) {
        double x;
        const char *p = s;
        if (number_read(&p, end, &x)) {
            if (p + 2 < end && memcmp(p, "/10", 3) == 0) p += 3;
            s = p;
            if (s < end && is_alnum(*s)) break;
            if (!(s < end && *s == '%') && x <= 10.0) v[n++] = x;
        } else if (is_alnum(*s)) {
            span w = word_at(s, end);
            if (!is_filler(w) || ++words > 8) break;
            s = w.end;
        } else if (*s == '\n') {
            break;
        } else {
            s++;
        }
    }
    for (size_t i = 0; n == z->n_response && i < n; i++) assign(z, z->criterion, (int)i, v[i]);
}

/* The criterion that the label at s names: equal, or one begins with the other; -1: none, -2: a total. *after: behind
 * it. */
static int criterion_at(const scorer *z, const char *s, const char **after) {
    const char *end = z->text.end, *p = s;
    while (p < end && p - s < NAME_BYTES && !in_set(*p, ":(|=\n,;") && !is_digit(*p)
           && !(*p == '-' && p > s && (is_blank(p[-1]) || (p + 1 < end && is_blank(p[1])))))
        p++;
    char label[NAME_BYTES + 1];
    size_t n = key_plain((span){s, p}, label, sizeof label);
    if (is_total((span){s, p})) {
        *after = p;
        return -2;
    }
    *after = p;
    for (size_t i = 0; i < z->c->n_criterion; i++)
        if (n && strcmp(z->plain[i], label) == 0) return (int)i;
    while (n > 4) { /* "Depth scores": fillers behind the name */
        span last = {p, p};
        while (last.s > s && !is_alnum(last.s[-1])) last.s--;
        last.end = last.s;
        while (last.s > s && is_alnum(last.s[-1])) last.s--;
        if (last.s == s || !is_filler(last)) break;
        p = last.s;
        n = key_plain((span){s, p}, label, sizeof label);
        for (size_t i = 0; i < z->c->n_criterion; i++)
            if (strcmp(z->plain[i], label) == 0) return (int)i;
    }
    for (size_t i = 0; n >= 4 && i < z->c->n_criterion; i++) {
        size_t m = strlen(z->plain[i]);
        if (m >= 4 && strncmp(z->plain[i], label, m < n ? m : n) == 0) return (int)i;
    }
    return -1;
}

static const char *take_response(scorer *z, size_t place, const char *after) {
    if (!z->decided) z->decided = z->by_response = true;
    z->response = (int)place;
    if (z->by_response) z->criterion = -1;
    z->open = z->criterion >= 0;
    z->direct = true;
    return read_products(z, after);
}

static const char *take_criterion(scorer *z, int criterion, const char *after) {
    z->decided = true;
    z->criterion = criterion >= 0 ? criterion : -1;
    if (!z->by_response) {
        z->response = -1;
        if (criterion >= 0) read_row(z, after);
    }
    z->open = z->criterion >= 0 && z->response >= 0;
    z->direct = true;
    return after;
}

/* A number at p: the score of the open pair, or nothing. Returns behind it. */
static const char *take_number(scorer *z, const char *p) {
    const char *end = z->text.end, *q = p;
    double v, score;
    if (product_read(&q, end, &score)) {
        v = score;
    } else {
        q = p;
        if (!number_read(&q, end, &v)) return p + 1;
    }
    const char *next = skip_spaces(q, end);
    bool of_ten = span_begins((span){next, end}, "/10") || span_begins((span){next, end}, "/ 10")
                  || span_begins((span){next, end}, "out of 10");
    if (of_ten) q = next + 3;
    bool percent = next < end && *next == '%', range = q + 1 < end && *q == '-' && is_digit(q[1]);
    if (range) {
        q++;
        number_read(&q, end, &score);
    }
    bool counts = of_ten || (z->direct && may_follow_score(word_at(next, end)));
    if (z->open && counts && !percent && !range && v >= 0.0 && v <= 10.0) {
        assign(z, z->criterion, z->response, v);
        z->open = false;
    }
    return q;
}

/* A word or number at p. begins: only marks stand between it and the last punctuation. */
static const char *take_word(scorer *z, const char *p, bool begins) {
    const char *end = z->text.end, *after;
    size_t place;
    if (response_mention(p, end, z->n_response, &place, &after)) {
        const char *next = skip_spaces(after, end);
        if (next < end && *next == '|') { /* a table's heading, unless its scores follow */
            next = skip_spaces(next + 1, end);
            if (next == end || !is_digit(*next)) return after;
        }
        bool number =
            next < end
            && (is_digit(*next) || ((*next == ':' || *next == '-' || *next == '=') && follow_ok(next + 1, end, 0)));
        if (((begins || z->joint) && follow_ok(after, end, 0)) || number
            || (z->open && z->direct && follow_ok(after, end, 0)))
            return take_response(z, place, after);
        return after;
    }
    if (is_digit(*p)) return take_number(z, p);
    if (begins) {
        int k = criterion_at(z, p, &after);
        if (k == -2 || (k >= 0 && follow_ok(after, end, z->n_response))) return take_criterion(z, k, after);
    }
    span w = word_at(p, end);
    while (w.end < end && is_alnum(*w.end)) w.end++;
    if (span_begins(w, "scor") || span_begins(w, "rating"))
        z->direct = true;
    else if (!is_filler(w))
        z->direct = false;
    z->joint = is_joint(w);
    return w.end;
}

pgr_status rubric_scores(span text, size_t n_response, arena *a, chain *c, pgr_error *err) {
    const char *b = span_find(text, "scoring breakdown");
    scorer *z = arena_alloc(a, sizeof *z);
    if (!z) return fail_mem(err);
    *z = (scorer){.c = c,
                  .n_response = n_response,
                  .text = {b ? b + strlen("scoring breakdown") : text.s, text.end},
                  .criterion = -1,
                  .response = -1};
    for (size_t i = 0; i < c->n_criterion; i++)
        key_plain((span){c->criteria[i].name, c->criteria[i].name + strlen(c->criteria[i].name)}, z->plain[i],
                  sizeof z->plain[i]);

    bool begins = true;
    for (const char *p = z->text.s; p < z->text.end;) {
        if (begins && (p == z->text.s || p[-1] == '\n')) p = skip_marker(p, z->text.end);
        if (p == z->text.end) break;
        if (!is_alnum(*p)) {
            begins = in_set(*p, "\n;,.:(|+-&") || (begins && in_set(*p, " \t*#>["));
            p++;
            continue;
        }
        p = take_word(z, p, begins);
        begins = p > z->text.s && !is_alnum(p[-1]) && in_set(p[-1], "\n;,.:(|+-&");
    }
    return PGR_OK;
}
