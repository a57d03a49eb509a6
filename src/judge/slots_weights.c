/* slots_weights.c - the file that stands beside a trained adapter: what taste and quality weigh, and what most people
 * like. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/json.h"
#include "judge/slots.h"

slots_weights slots_weights_neutral(void) {
    return (slots_weights){.a = 1.5, .b = 1};
}

slots_weights slots_weights_for(const slots_weights *w, size_t n_pair, size_t lead, double rate, bool views) {
    slots_weights out = *w;
    double s = n_pair > 0 ? (double)lead + w->pairs * rate : 0;
    out.pairs = 0;
    if (w->pairs > 0) out.a *= s / ((double)n_pair + w->pairs);
    if (views) out.a = 0;
    if (!(out.a + out.b > 0)) out.a = w->a;
    return out;
}

static pgr_status read_number(const json_t *top, const char *key, const char *path, double lo, double hi, double *out,
                              pgr_error *err) {
    const json_t *v = json_object_get(top, key);
    double x = json_is_number(v) ? json_number_value(v) : NAN;
    if (!(x >= lo && x <= hi))
        return fail(err, PGR_E_FORMAT, "%s: %s is %s%g, expected a number from %g to %g", path, key,
                    json_is_number(v) ? "" : "no number: ", x, lo, hi);
    *out = x;
    return PGR_OK;
}

static pgr_status read_common(const json_t *common, const char *path, slots_weights *w, pgr_error *err) {
    const char *words[N_FACT + 1] = {0};
    for (int f = 0; f < N_FACT; f++) words[f] = fact_word(f);
    json_at at = {path, "common"};
    PGR_TRY(json_want_object(common, at, err));
    PGR_TRY(json_only_keys(common, words, at, err));
    for (int f = 0; f < N_FACT; f++)
        if (json_object_get(common, words[f])) PGR_TRY(read_number(common, words[f], path, -3, 3, &w->common[f], err));
    w->has_common = true;
    return PGR_OK;
}

static pgr_status read_top(const json_t *top, const char *path, slots_weights *w, pgr_error *err) {
    static const char *const KEYS[] = {"a", "b", "pairs", "common", NULL};
    json_at at = {path, ""};
    PGR_TRY(json_want_object(top, at, err));
    PGR_TRY(json_only_keys(top, KEYS, at, err));
    PGR_TRY(read_number(top, "a", path, 0, 1e6, &w->a, err));
    PGR_TRY(read_number(top, "b", path, 0, 1e6, &w->b, err));
    if (json_object_get(top, "pairs")) PGR_TRY(read_number(top, "pairs", path, 0, 1e6, &w->pairs, err));
    if (!(w->a + w->b > 0)) return fail(err, PGR_E_FORMAT, "%s: a and b are 0, expected one of them above 0", path);
    const json_t *common = json_object_get(top, "common");
    return common ? read_common(common, path, w, err) : PGR_OK;
}

pgr_status slots_weights_parse(const char *text, size_t n, const char *origin, slots_weights *out, pgr_error *err) {
    json_t *top = NULL;
    slots_weights w = {.trained = true};
    PGR_TRY(json_parse(text, n, origin, 1, &top, err));
    pgr_status s = read_top(top, origin, &w, err);
    if (s == PGR_OK) *out = w;
    json_decref(top);
    return s;
}

pgr_status slots_weights_read(const char *path, slots_weights *out, pgr_error *err) {
    buf text = {0};
    pgr_status s = file_read(path, &text, err);
    if (s == PGR_OK) s = slots_weights_parse(text.data ? text.data : "", text.n, path, out, err);
    buf_free(&text);
    return s;
}

pgr_status slots_weights_write(const slots_weights *w, const char *path, pgr_error *err) {
    buf text = {0};
    buf_printf(&text, "{\"a\": %.9g, \"b\": %.9g", w->a, w->b);
    if (w->pairs > 0) buf_printf(&text, ", \"pairs\": %.9g", w->pairs);
    for (int f = 0; w->has_common && f < N_FACT; f++)
        buf_printf(&text, "%s\"%s\": %.9g", f ? ", " : ", \"common\": {", fact_word(f), w->common[f]);
    buf_puts(&text, w->has_common ? "}}\n" : "}\n");
    pgr_status s = text.failed ? fail_mem(err) : file_write(path, text.data, text.n, err);
    buf_free(&text);
    return s;
}
