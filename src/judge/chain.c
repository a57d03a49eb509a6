/* chain.c - what both forms of chain share: spans, numbers, weights and totals, the verdict whether a chain parsed.
 * The forms are in chain_compact.c and chain_full.c. */
#include "judge/chain.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "judge/chain_parts.h"

/* ---- spans ----------------------------------------------------------------------------------------------------- */

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

char lower_ascii(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

bool is_alnum(char c) {
    char l = lower_ascii(c);
    return is_digit(c) || (l >= 'a' && l <= 'z') || (unsigned char)c >= 0x80;
}

const char *skip_blank(const char *s, const char *end) {
    while (s < end && is_blank(*s)) s++;
    return s;
}

span span_trim(span t) {
    t.s = skip_blank(t.s, t.end);
    while (t.end > t.s && is_blank(t.end[-1])) t.end--;
    return t;
}

bool span_begins(span t, const char *prefix) {
    for (; *prefix; prefix++, t.s++)
        if (t.s == t.end || lower_ascii(*t.s) != lower_ascii(*prefix)) return false;
    return true;
}

const char *span_find(span t, const char *what) {
    for (; t.s < t.end; t.s++)
        if (span_begins(t, what)) return t.s;
    return NULL;
}

span span_line(const char *s, const char *end) {
    const char *stop = s < end ? memchr(s, '\n', (size_t)(end - s)) : NULL;
    return (span){s, stop ? stop : end};
}

char *span_copy(arena *a, span t, size_t max) {
    t = span_trim(t);
    size_t n = (size_t)(t.end - t.s), m = 0;
    if (n > 4 * max) n = 4 * max; /* more blanks than this are not copied */
    char *out = arena_alloc(a, n + 1);
    if (!out) return NULL;
    for (size_t i = 0; i < n; i++) {
        char c = t.s[i];
        if ((unsigned char)c <= 0x20 || c == 0x7F) {
            if (m && out[m - 1] != ' ') out[m++] = ' ';
        } else {
            out[m++] = c;
        }
    }
    m = utf8_complete(out, utf8_clip(out, m, max));
    while (m && out[m - 1] == ' ') m--;
    out[m] = 0;
    return out;
}

bool number_read(const char **s, const char *end, double *out) {
    const char *p = *s;
    double mantissa = 0.0, scale = 1.0;
    size_t digits = 0;
    for (; p < end && is_digit(*p); p++, digits++) mantissa = 10.0 * mantissa + (*p - '0');
    if (p + 1 < end && *p == '.' && is_digit(p[1]))
        for (p++; p < end && is_digit(*p); p++, digits++)
            if (scale < 1e15) mantissa = 10.0 * mantissa + (*p - '0'), scale *= 10.0;
    if (digits == 0) return false;
    *out = mantissa / scale; /* both exact up to 15 digits, so the quotient is the nearest double */
    *s = p;
    return true;
}

/* ---- criteria and totals --------------------------------------------------------------------------------------- */

double *nan_array(arena *a, size_t n) {
    double *v = arena_array(a, n, sizeof *v);
    for (size_t i = 0; v && i < n; i++) v[i] = NAN;
    return v;
}

chain_criterion *chain_add(chain *c, arena *a, size_t n_response, span name, double weight, span reason, bool *mem) {
    *mem = false;
    if (c->n_criterion == CHAIN_MAX_CRITERIA) return NULL;
    chain_criterion *k = &c->criteria[c->n_criterion];
    *k = (chain_criterion){span_copy(a, name, NAME_BYTES), weight, span_copy(a, reason, REASON_BYTES),
                           nan_array(a, n_response)};
    *mem = !k->name || !k->reason || !k->scores;
    if (*mem) return NULL;
    c->n_criterion++;
    return k;
}

void chain_weigh(chain *c, size_t n_response) {
    double sum = 0.0;
    bool complete = c->n_criterion > 0, any = false;
    for (size_t i = 0; i < c->n_criterion; i++) {
        chain_criterion *k = &c->criteria[i];
        if (isfinite(k->weight))
            sum += k->weight, any = true;
        else
            complete = false;
        for (size_t r = 0; r < n_response; r++) complete = complete && isfinite(k->scores[r]);
    }
    c->weight_sum = any ? sum : NAN;
    if (!(sum > 0.0)) return;
    for (size_t i = 0; i < c->n_criterion; i++) c->criteria[i].weight *= 100.0 / sum;
    for (size_t r = 0; complete && r < n_response; r++) {
        double total = 0.0;
        for (size_t i = 0; i < c->n_criterion; i++) total += c->criteria[i].weight / 100.0 * c->criteria[i].scores[r];
        c->recomputed[r] = total;
    }
}

pgr_status chain_refuse(chain *c, char *reason, pgr_error *err) {
    if (!reason) return fail_mem(err);
    c->parsed = false;
    if (!c->reason) c->reason = reason;
    return PGR_OK;
}

pgr_status chain_judge_totals(chain *c, size_t n_response, double lo, double hi, const char *(*name)(char *, size_t),
                              arena *a, pgr_error *err) {
    char label[32];
    for (size_t r = 0; !c->reason && r < n_response; r++) {
        double v = c->declared[r];
        if (isnan(v)) return chain_refuse(c, arena_printf(a, "%s: no score", name(label, r)), err);
        if (!(v >= lo && v <= hi))
            return chain_refuse(c, arena_printf(a, "%s: score %g is outside %g..%g", name(label, r), v, lo, hi), err);
    }
    c->parsed = !c->reason;
    return PGR_OK;
}

pgr_status chain_parse(chain_form form, const char *text, size_t n, size_t n_response, arena *a, chain *out,
                       pgr_error *err) {
    chain c = {.persona = "", .weight_sum = NAN};
    c.criteria = arena_array(a, CHAIN_MAX_CRITERIA, sizeof *c.criteria);
    c.declared = nan_array(a, n_response);
    c.recomputed = nan_array(a, n_response);
    if (!c.criteria || !c.declared || !c.recomputed) return fail_mem(err);

    span t = {text, text + n};
    if (form == CHAIN_COMPACT)
        PGR_TRY(compact_parse(t, n_response, a, &c, err));
    else
        PGR_TRY(full_parse(t, n_response, a, &c, err));
    chain_weigh(&c, n_response);
    *out = c;
    return PGR_OK;
}
