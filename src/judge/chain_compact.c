/* chain_compact.c - the compact form:
 *     Persona: One sentence.
 *     - lists more | 35% | A 8, B 4
 *     Total: A 7.2, B 4.1
 * A line may say whom it speaks for, `for A` or `for none`, as older frames had it: it counts for nothing. A later
 * Persona line begins the chain anew, so that an echo of the instructions before it does not count. */
#include <math.h>
#include <string.h>

#include "judge/chain_parts.h"

static const char *label_name(char *out, size_t place) {
    out[0] = (char)('A' + place % 26);
    out[1] = 0;
    return out;
}

/* "A 8, B: 4" into v by place; a label without a number leaves NaN. */
static void read_labelled(const chain *c, span t, size_t n_response, double *v, double *expected) {
    for (const char *p = t.s; p < t.end; p++) {
        bool label = *p >= 'A' && *p <= 'Z' && (size_t)(*p - 'A') < n_response && (p == t.s || !is_alnum(p[-1]))
                     && (p + 1 == t.end || !is_alnum(p[1]));
        if (!label) continue;
        const char *q = p + 1;
        while (q < t.end && (is_blank(*q) || *q == ':' || *q == '=')) q++;
        const char *number = q;
        double value;
        if (!number_read(&q, t.end, &value) || (q < t.end && is_alnum(*q))) continue;
        v[*p - 'A'] = value;
        expected[*p - 'A'] = chain_expected_at(c, number);
    }
}

/* The field after s up to the next bar; *s moves behind the bar. */
static span next_field(const char **s, const char *end) {
    const char *bar = *s < end ? memchr(*s, '|', (size_t)(end - *s)) : NULL;
    span t = {*s, bar ? bar : end};
    *s = bar ? bar + 1 : end;
    return span_trim(t);
}

/* A criterion named twice is one with both weights and the weighted mean of the scores: the totals stay as they are. */
static void merge_repeated(chain *c, size_t n_response) {
    chain_criterion *last = &c->criteria[c->n_criterion - 1];
    for (chain_criterion *k = c->criteria; k < last; k++) {
        double w = k->weight + last->weight;
        if (strcmp(k->name, last->name) != 0 || !(w > 0)) continue;
        for (size_t r = 0; r < n_response; r++) {
            k->scores[r] = (k->weight * k->scores[r] + last->weight * last->scores[r]) / w;
            k->expected[r] = (k->weight * k->expected[r] + last->weight * last->expected[r]) / w;
        }
        k->weight = w;
        c->n_criterion--;
        return;
    }
}

/* The last field after s that is not `for WHOM`. */
static span scores_field(const char *s, const char *end) {
    span scores = {end, end};
    while (s < end) {
        span field = next_field(&s, end);
        if (!span_begins(field, "for ")) scores = field;
    }
    return scores;
}

/* NAME | WEIGHT% | SCORES; lines of another shape are passed over. */
static pgr_status read_criterion(span line, size_t n_response, arena *a, chain *c, pgr_error *err) {
    size_t bars = 0;
    for (const char *p = line.s; p < line.end; p++) bars += *p == '|';
    if (bars < 2) return PGR_OK;
    const char *s = line.s;
    span name = next_field(&s, line.end), weight_text = next_field(&s, line.end);
    if (name.s == name.end) return PGR_OK;

    double weight = NAN, value;
    const char *p = weight_text.s;
    if (number_read(&p, weight_text.end, &value) && (p == weight_text.end || *p == '%')) weight = value;
    bool mem;
    chain_criterion *k = chain_add(c, a, n_response, name, weight, (span){line.end, line.end}, &mem);
    if (mem) return fail_mem(err);
    if (!k) return PGR_OK;
    read_labelled(c, scores_field(s, line.end), n_response, k->scores, k->expected);
    for (size_t r = 0; r < n_response; r++)
        if (!(k->scores[r] >= 1.0 && k->scores[r] <= 10.0)) k->scores[r] = k->expected[r] = NAN;
    merge_repeated(c, n_response);
    return PGR_OK;
}

static pgr_status read_lines(span text, size_t n_response, arena *a, chain *c, bool *total, pgr_error *err) {
    *total = false;
    for (const char *s = text.s; s < text.end;) {
        span line = span_line(s, text.end);
        s = line.end + 1;
        line = span_trim(line);
        if (line.end - line.s > 1 && (*line.s == '-' || *line.s == '*')) line.s = skip_blank(line.s + 1, line.end);
        if (span_begins(line, "Persona:")) {
            c->n_criterion = 0;
            *total = false;
            c->persona = span_copy(a, (span){line.s + 8, line.end}, PERSONA_BYTES);
            if (!c->persona) return fail_mem(err);
        } else if (span_begins(line, "Total:")) {
            *total = true;
            for (size_t r = 0; r < n_response; r++) c->declared[r] = c->expected[r] = NAN;
            read_labelled(c, (span){line.s + 6, line.end}, n_response, c->declared, c->expected);
        } else if (!*total) {
            PGR_TRY(read_criterion(line, n_response, a, c, err));
        }
    }
    return PGR_OK;
}

pgr_status compact_parse(span text, size_t n_response, arena *a, chain *c, pgr_error *err) {
    bool total;
    PGR_TRY(read_lines(text, n_response, a, c, &total, err));
    if (!total) return chain_refuse(c, arena_printf(a, "no Total line"), err);
    return chain_judge_totals(c, n_response, 1.0, 10.0, label_name, a, err);
}

/* Criteria with a weight and all scores come first, *n of them. */
static void keep_complete(chain *c, size_t n_response) {
    size_t n = 0;
    for (size_t i = 0; i < c->n_criterion; i++) {
        bool complete = isfinite(c->criteria[i].weight);
        for (size_t r = 0; r < n_response; r++) complete = complete && isfinite(c->criteria[i].scores[r]);
        if (complete) c->criteria[n++] = c->criteria[i];
    }
    c->n_criterion = n;
}

pgr_status chain_totals(const char *text, size_t n, size_t n_response, buf *out, pgr_error *err) {
    arena a = {0};
    chain c = {0};
    bool total;
    c.criteria = arena_array(&a, CHAIN_MAX_CRITERIA, sizeof *c.criteria);
    c.declared = nan_array(&a, n_response);
    c.recomputed = nan_array(&a, n_response);
    c.expected = nan_array(&a, n_response);
    bool room = c.criteria && c.declared && c.recomputed && c.expected;
    pgr_status status = room ? PGR_OK : fail_mem(err);
    if (status == PGR_OK) status = read_lines((span){text, text + n}, n_response, &a, &c, &total, err);
    if (status == PGR_OK) {
        keep_complete(&c, n_response);
        chain_weigh(&c, n_response);
        if (c.n_criterion == 0 || !isfinite(c.recomputed[0]))
            status = fail(err, PGR_E_FORMAT, "chain: no criterion line with a weight and a score for every response");
    }
    for (size_t r = 0; status == PGR_OK && r < n_response; r++) {
        size_t tenths = (size_t)floor(10.0 * c.recomputed[r] + 0.5 + 1e-9); /* a half goes up: 4.25 is 4.3 */
        buf_printf(out, "%s%c %zu.%zu", r ? ", " : "", (char)('A' + r % 26), tenths / 10, tenths % 10);
    }
    if (status == PGR_OK && out->failed) status = fail_mem(err);
    arena_free(&a);
    return status;
}
