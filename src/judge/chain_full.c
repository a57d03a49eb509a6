/* chain_full.c - the full form: Part 1 (persona), Part 2, and between the last pair of markers an object with the
 * rationale and the totals. Only one object is ever tried, so an echo of the instructions cannot stand in for an
 * answer. */
#include <math.h>
#include <string.h>

#include "judge/chain_parts.h"

/* ---- where things stand ---------------------------------------------------------------------------------------- */

/* JSON_START or JSON_END as a word of its own at s (frame.c defuses these in texts by adding an underscore). */
static bool marker_at(span t, const char *s, const char *marker) {
    size_t n = strlen(marker);
    return span_begins((span){s, t.end}, marker) && (s == t.s || (!is_alnum(s[-1]) && s[-1] != '_'))
           && (s + n == t.end || (!is_alnum(s[n]) && s[n] != '_'));
}

/* From the marker's end to the next marker of either kind. */
static span marked_text(span t, const char *start) {
    span found = {start + strlen("JSON_START"), t.end};
    for (const char *p = found.s; p < t.end; p++)
        if ((*p == 'J' || *p == 'j') && (marker_at(t, p, "JSON_END") || marker_at(t, p, "JSON_START"))) {
            found.end = p;
            break;
        }
    return found;
}

/* The last marker with an object behind it. *marker: where it stands; object.s NULL: none. */
static span last_marked(span t, const char **marker) {
    span found = {NULL, NULL};
    *marker = NULL;
    for (const char *p = t.s; p < t.end; p++) {
        if ((*p != 'J' && *p != 'j') || !marker_at(t, p, "JSON_START")) continue;
        span inside = marked_text(t, p);
        const char *brace = inside.s < inside.end ? memchr(inside.s, '{', (size_t)(inside.end - inside.s)) : NULL;
        if (!*marker || brace) *marker = p;
        if (brace) found = (span){brace, inside.end};
        p = inside.end - 1;
    }
    return found;
}

/* Without markers: the last code fence that opens with an object. */
static span last_fenced(span t, const char **marker) {
    span found = {NULL, NULL};
    for (const char *p = t.s; p + 3 <= t.end; p++) {
        if (memcmp(p, "```", 3) != 0) continue;
        const char *s = p + 3;
        while (s < t.end && is_alnum(*s)) s++;
        s = skip_blank(s, t.end);
        if (s < t.end && *s == '{') {
            const char *close = span_find((span){s, t.end}, "```");
            *marker = p;
            found = (span){s, close ? close : t.end};
            p = found.end - 1;
        }
        p = p + 2 < t.end ? p + 2 : p;
    }
    return found;
}

/* The last line that begins "PART number" after marks and blanks; *after: behind the line. NULL: none. */
static const char *part_heading(span t, char number, const char **after) {
    const char *found = NULL;
    for (const char *s = t.s; s < t.end;) {
        span line = span_line(s, t.end);
        const char *p = line.s;
        while (p < line.end && !is_alnum(*p)) p++;
        if (span_begins((span){p, line.end}, "part") && line.end - p > 5) {
            const char *q = skip_blank(p + 4, line.end);
            if (q > p + 4 && q < line.end && *q == number && (q + 1 == line.end || !is_alnum(q[1]))) {
                found = line.s;
                *after = line.end;
            }
        }
        s = line.end + 1;
    }
    return found;
}

/* ---- persona --------------------------------------------------------------------------------------------------- */

static size_t count_words(span t) {
    size_t n = 0;
    for (const char *p = t.s; p < t.end; p++) n += is_alnum(*p) && (p == t.s || !is_alnum(p[-1]));
    return n;
}

/* Behind list marks, heading marks, bold marks and numbering. */
static span strip_marks(span t) {
    t = span_trim(t);
    while (t.s < t.end && strchr("#*_->`[ \t", *t.s ? *t.s : 'x')) t.s++;
    const char *p = t.s;
    while (p < t.end && p - t.s < 2 && is_digit(*p)) p++;
    if (p == t.s && p < t.end && is_alnum(*p) && (unsigned char)*p < 0x80) p++;
    if (p > t.s && p + 1 < t.end && (*p == '.' || *p == ')') && is_blank(p[1])) {
        t.s = skip_blank(p + 1, t.end);
        while (t.s < t.end && (*t.s == '*' || *t.s == '_' || *t.s == ' ')) t.s++;
    }
    while (t.end > t.s && (is_blank(t.end[-1]) || t.end[-1] == '*' || t.end[-1] == '_' || t.end[-1] == '#')) t.end--;
    return t;
}

/* A label before a colon ("User persona:") is at most eight words; what follows it, else the text itself. */
static span after_label(span t, bool *label) {
    const char *colon = t.s < t.end ? memchr(t.s, ':', (size_t)(t.end - t.s)) : NULL;
    *label = colon && count_words((span){t.s, colon}) <= 8;
    return *label ? strip_marks((span){colon + 1, t.end}) : t;
}

/* The first two sentences. */
static span sentences(span t) {
    int n = 0;
    for (const char *p = t.s; p < t.end; p++)
        if ((*p == '.' || *p == '!' || *p == '?') && (p + 1 == t.end || is_blank(p[1])) && p - t.s > 20 && ++n == 2)
            return (span){t.s, p + 1};
    return t;
}

/* What Part 1 says of the user first: a line with a persona label, else the first line that is more than a heading. */
static pgr_status read_persona(span part, arena *a, chain *c, pgr_error *err) {
    span first = {part.end, part.end}, named = first;
    bool expects = false; /* the line before was a persona label alone */
    for (const char *s = part.s; s < part.end && named.s == named.end;) {
        span line = span_line(s, part.end), body, full = strip_marks(line);
        bool label;
        s = line.end + 1;
        body = after_label(full, &label);
        size_t words = count_words(body);
        bool persona = span_find((span){full.s, label ? body.s : full.end}, "persona") != NULL
                       && (label || count_words(full) <= 8);
        if (full.s == full.end || *full.s == '{' || span_find(full, "JSON_START")) continue;
        if (words >= 3 && (expects || (persona && label))) named = body;
        if (words >= 5 && first.s == first.end && count_words(full) >= 5 && !(persona && !label)) first = body;
        expects = persona && named.s == named.end;
    }
    c->persona = span_copy(a, sentences(named.s < named.end ? named : first), PERSONA_BYTES);
    return c->persona ? PGR_OK : fail_mem(err);
}

/* ---- totals ---------------------------------------------------------------------------------------------------- */

static const char *place_name(char *out, size_t place) {
    size_t n = place + 1, len = strlen(strcpy(out, "response_")), digits = 1;
    for (size_t m = n; m >= 10; m /= 10) digits++;
    out[len + digits] = 0;
    for (size_t i = digits; i-- > 0; n /= 10) out[len + i] = (char)('0' + n % 10);
    return out;
}

/* "response_2", "Response 2", "score_2", "2", "Response B" -> 1; n_response where it is none. */
static size_t place_of(span key, size_t n_response) {
    char k[32];
    key_plain(key, k, sizeof k);
    const char *p = k;
    if (strncmp(p, "final", 5) == 0) p += 5;
    if (strncmp(p, "score", 5) == 0) p += 5;
    bool named = strncmp(p, "response", 8) == 0;
    if (named)
        p += 8;
    else if (*p == 'r' && is_digit(p[1]))
        p++;
    size_t place = 0;
    if (is_digit(*p)) {
        for (; is_digit(*p) && place < 100000; p++) place = 10 * place + (size_t)(*p - '0');
    } else if (named && *p >= 'a' && *p <= 'z') {
        place = (size_t)(*p++ - 'a') + 1;
    }
    if (strcmp(p, "score") == 0 || strcmp(p, "total") == 0) p += 5;
    return *p == 0 && place >= 1 && place <= n_response ? place - 1 : n_response;
}

typedef enum value_kind { VALUE_NUMBER, VALUE_NONE, VALUE_OTHER } value_kind;

static bool tail_is(span t, const char *word) {
    t = span_trim(t);
    return span_begins(t, word);
}

/* A score as text: "8", "-1", "8/10", "7.5 out of 10", "80%", "4 x 0.35 + ... = 5.4". */
static value_kind score_text(span t, double *out) {
    t = span_trim(t);
    while (t.s < t.end && strchr("*\"'`<(", *t.s ? *t.s : 'x')) t.s++;
    if (t.s == t.end || tail_is(t, "null") || tail_is(t, "none") || tail_is(t, "n/a")) return VALUE_NONE;
    const char *p = t.s;
    for (const char *q = t.s; q < t.end; q++)
        if (*q == '=') p = skip_blank(q + 1, t.end);
    bool minus = p < t.end && *p == '-';
    if (minus || (p < t.end && *p == '+')) p++;
    if (!number_read(&p, t.end, out)) return VALUE_OTHER;
    if (p + 1 < t.end && (*p == 'e' || *p == 'E') && (is_digit(p[1]) || p[1] == '-' || p[1] == '+')) {
        const char *q = p + 1 + !is_digit(p[1]);
        double e;
        if (number_read(&q, t.end, &e)) {
            *out *= pow(10.0, p[1] == '-' ? -e : e);
            p = q;
        }
    }
    if (minus) *out = -*out;
    span tail = span_trim((span){p, t.end});
    bool of = tail.s < tail.end && *tail.s == '/';
    if (of || tail_is(tail, "out of")) { /* to a scale of ten */
        const char *q = skip_blank(tail.s + (of ? 1 : 6), tail.end);
        double whole;
        if (number_read(&q, tail.end, &whole) && whole > 0.0) {
            if (whole != 10.0) *out *= 10.0 / whole;
            return VALUE_NUMBER;
        }
        return of && tail.s + 1 < tail.end && tail.s[1] == '/' ? VALUE_NUMBER : VALUE_OTHER; /* a comment */
    }
    bool ends = tail.s == tail.end || strchr("%*\"'`>()#.;!", *tail.s ? *tail.s : 'x') || tail_is(tail, "points")
                || tail_is(tail, "pts") || tail_is(tail, "- ");
    return ends ? VALUE_NUMBER : VALUE_OTHER;
}

static const node *child(const node *n, const char *plain) {
    const node *found = NULL;
    for (const node *c = n->first; c; c = c->next)
        if (key_is(c, plain)) found = c; /* the last one wins */
    return found;
}

/* A score, bare or wrapped: {"score": 8}, [8]. *shown: what to quote if it is no number. */
static value_kind score_value(const node *n, double *out, span *shown) {
    static const char *const NAMES[] = {"score", "total", "finalscore", "weightedscore", "weightedtotal", "value"};
    for (int depth = 0; depth < 4; depth++) {
        if (n->kind == NODE_STRING || n->kind == NODE_RAW) {
            *shown = n->text;
            return score_text(n->text, out);
        }
        const node *inner = n->kind == NODE_ARRAY && n->first == n->last ? n->first : NULL;
        for (size_t i = 0; n->kind == NODE_OBJECT && !inner && i < sizeof NAMES / sizeof *NAMES; i++)
            inner = child(n, NAMES[i]);
        if (!inner) break;
        n = inner;
    }
    return VALUE_NONE;
}

/* The distribution is that of the number as written: on another scale it is not the score's. */
static double expected_total(const chain *c, span shown, double score) {
    const char *s = span_trim(shown).s, *p = s;
    double written;
    return number_read(&p, shown.end, &written) && written == score ? chain_expected_at(c, s) : NAN;
}

static pgr_status set_total(chain *c, size_t place, const node *n, arena *a, pgr_error *err) {
    double v;
    span shown = {"", ""};
    char label[32];
    switch (score_value(n, &v, &shown)) {
    case VALUE_NUMBER:
        c->declared[place] = v;
        c->expected[place] = expected_total(c, shown, v);
        break;
    case VALUE_NONE:
        c->declared[place] = c->expected[place] = NAN;
        break;
    case VALUE_OTHER: {
        char *text = span_copy(a, shown, VALUE_BYTES);
        if (!text) return fail_mem(err);
        return chain_refuse(c, arena_printf(a, "%s: \"%s\" is no number", place_name(label, place), text), err);
    }
    }
    return PGR_OK;
}

/* Totals of an object by key, of a list by key inside its members ({"response": 2, "score": 5}) or by place. */
static pgr_status read_totals(const node *totals, size_t n_response, arena *a, chain *c, pgr_error *err) {
    while (totals->kind == NODE_ARRAY && totals->first && totals->first == totals->last
           && totals->first->kind == NODE_ARRAY)
        totals = totals->first;
    size_t i = 0;
    for (const node *n = totals->first; n; n = n->next, i++) {
        size_t place = totals->kind == NODE_OBJECT ? place_of(n->key, n_response) : i;
        const node *value = n;
        if (totals->kind == NODE_ARRAY && n->kind == NODE_OBJECT) {
            const node *which = child(n, "response");
            if (!which) which = child(n, "id");
            if (which && which->kind != NODE_OBJECT) place = place_of(which->text, n_response);
            if (n->first && n->first == n->last && place_of(n->first->key, n_response) < n_response) {
                value = n->first;
                place = place_of(value->key, n_response);
            }
        }
        if (place < n_response) PGR_TRY(set_total(c, place, value, a, err));
    }
    if (totals->kind == NODE_ARRAY && i > n_response)
        return chain_refuse(c, arena_printf(a, "%zu scores for %zu responses", i, n_response), err);
    return PGR_OK;
}

/* The member that holds the totals: the first of these keys with an object or a list; else the object itself. */
static const node *find_totals(const node *root) {
    static const char *const KEYS[] = {"betterresponse", "scores", "finalscores", "finalscore", "score", "totals"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        const node *n = child(root, KEYS[i]);
        if (n && (n->kind == NODE_OBJECT || n->kind == NODE_ARRAY)) return n;
    }
    return root;
}

/* ---- the chain ------------------------------------------------------------------------------------------------- */

/* Criteria from the rationale, else from Part 2's prose, else from Part 1's; scores from the same places in turn. */
static pgr_status read_rubric(const node *root, span part1, span part2, size_t n_response, arena *a, chain *c,
                              pgr_error *err) {
    const node *rationale = root ? child(root, "rationale") : NULL;
    span sources[3] = {{"", ""}, part2, part1};
    if (rationale && rationale->kind <= NODE_ARRAY) rationale = NULL;
    if (rationale) sources[0] = rationale->text;
    for (size_t i = 0; i < 3; i++) PGR_TRY(rubric_plain(sources[i], a, &sources[i], err));
    for (size_t i = 0; i < 3 && c->n_criterion == 0; i++) PGR_TRY(rubric_criteria(sources[i], n_response, a, c, err));
    for (size_t i = 0; i < 2 && c->n_criterion > 0; i++) PGR_TRY(rubric_scores(sources[i], n_response, a, c, err));
    return PGR_OK;
}

pgr_status full_parse(span text, size_t n_response, arena *a, chain *c, pgr_error *err) {
    const char *marker = NULL, *after1 = text.s, *after2 = text.end;
    span object = last_marked(text, &marker);
    bool marked = marker != NULL;
    if (!marked) object = last_fenced(text, &marker);

    span before = {text.s, marker ? marker : text.end};
    const char *part2 = part_heading(before, '2', &after2);
    span part1 = {text.s, part2 ? part2 : before.end};
    if (part_heading(part1, '1', &after1)) part1.s = after1;
    PGR_TRY(read_persona(part1, a, c, err));

    node *root = NULL;
    if (object.s) {
        PGR_TRY(object_read(object, a, &root, err));
        PGR_TRY(read_totals(find_totals(root), n_response, a, c, err));
    }
    PGR_TRY(read_rubric(root, part1, (span){part2 ? after2 : before.end, before.end}, n_response, a, c, err));
    if (!root) {
        const char *why = marked ? "no object after <JSON_START>" : "no <JSON_START> marker";
        return chain_refuse(c, arena_strdup(a, why), err);
    }
    return chain_judge_totals(c, n_response, 0.0, 10.0, place_name, a, err);
}
