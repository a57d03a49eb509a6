/* artefact_meta.c - the section "meta" of the prototypes' file: one JSON object. Its numbers have at most 15
 * characters: where a longer one finds no memory jansson 2.14 ends the program. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "prototype/artefact_parts.h"

enum { MAX_DIMS = 1 << 16, MAX_LIST = 1 << 20 };
static const int64_t MAX_COUNT = UINT32_MAX; /* rows and users are numbered with 32 bits */

/* ---- writing ---- */

static void put_text(buf *b, const char *key, const char *s) {
    buf_printf(b, "\"%s\":", key);
    json_put_string(b, s, strlen(s));
    buf_putc(b, ',');
}

static void put_words(buf *b, const artefact *a) {
    buf_puts(b, "\"words\":[");
    for (size_t j = 0; j < a->k; j++) {
        buf_puts(b, j ? ",[" : "[");
        for (size_t i = 0; a->words && a->words[j][i]; i++) {
            if (i) buf_putc(b, ',');
            json_put_string(b, a->words[j][i], strlen(a->words[j][i]));
        }
        buf_putc(b, ']');
    }
    buf_putc(b, ']');
}

void artefact_put_meta(buf *b, const artefact *a) {
    buf_putc(b, '{');
    put_text(b, "by", a->by);
    put_text(b, "embedder", a->embedder);
    put_text(b, "model", a->model);
    put_text(b, "split", a->split);
    buf_printf(b, "\"dims\":%zu,\"k\":%zu,\"rows\":%zu,\"users\":%zu,\"pairs\":%zu,\"n_refine\":%zu,", a->dims, a->k,
               a->n_row, a->n_user, a->n_pair, a->n_refine);
    buf_printf(b, "\"n_mixture\":%zu,\"n_views\":%zu,", a->n_mixture, a->views.n);
    buf_printf(b, "\"n_singular\":%zu,\"n_loss\":%zu,\"seed\":\"%llu\",", a->n_singular, a->n_loss,
               (unsigned long long)a->seed);
    buf_puts(b, "\"settings\":{");
    for (size_t i = 0; i < a->n_setting; i++)
        buf_printf(b, "%s\"%s\":%.9g", i ? "," : "", a->settings[i].name, a->settings[i].value);
    buf_puts(b, "},");
    put_words(b, a);
    buf_putc(b, '}');
}

/* ---- reading ---- */

typedef struct reader {
    artefact *a;
    json_t *root;
    char origin[320];
    pgr_error *err;
} reader;

static json_at at(const reader *r, const char *field) {
    return (json_at){r->origin, field};
}

static pgr_status want_count(reader *r, const char *key, int64_t lo, int64_t hi, size_t *out) {
    int64_t v;
    PGR_TRY(json_want_integer(json_object_get(r->root, key), at(r, key), lo, hi, &v, r->err));
    *out = (size_t)v;
    return PGR_OK;
}

static pgr_status want_text(reader *r, const char *key, const char **out) {
    const char *s;
    PGR_TRY(json_want_string(json_object_get(r->root, key), at(r, key), &s, r->err));
    *out = arena_strdup(&r->a->arena, s);
    return *out ? PGR_OK : fail_mem(r->err);
}

static pgr_status want_real(reader *r, const json_t *v, const char *field, double *out) {
    if (!json_is_number(v) || !isfinite(json_number_value(v)))
        return fail(r->err, PGR_E_FORMAT, "%s: %s is %s, expected a number", r->origin, field, json_kind(v));
    *out = json_number_value(v);
    return PGR_OK;
}

static pgr_status want_settings(reader *r) {
    json_t *object = json_object_get(r->root, "settings");
    PGR_TRY(json_want_object(object, at(r, "settings"), r->err));
    artefact_setting *list = arena_array(&r->a->arena, json_object_size(object) + 1, sizeof *list);
    if (!list) return fail_mem(r->err);
    const char *key;
    json_t *v;
    size_t n = 0;
    json_object_foreach(object, key, v) {
        PGR_TRY(want_real(r, v, "settings", &list[n].value));
        list[n].name = arena_strdup(&r->a->arena, key);
        if (!list[n++].name) return fail_mem(r->err);
    }
    r->a->settings = list;
    r->a->n_setting = n;
    return PGR_OK;
}

static pgr_status want_list(reader *r, const json_t *list, const char *const **out) {
    PGR_TRY(json_want_array(list, at(r, "words"), r->err));
    size_t n = json_array_size(list);
    if (n > ARTEFACT_MAX_WORDS)
        return fail(r->err, PGR_E_FORMAT, "%s: words has a list of %zu, expected at most %d", r->origin, n,
                    ARTEFACT_MAX_WORDS);
    const char **words = arena_array(&r->a->arena, n + 1, sizeof *words);
    if (!words) return fail_mem(r->err);
    for (size_t i = 0; i < n; i++) {
        const char *s;
        PGR_TRY(json_want_string(json_array_get(list, i), at(r, "words"), &s, r->err));
        words[i] = arena_strdup(&r->a->arena, s);
        if (!words[i]) return fail_mem(r->err);
    }
    *out = words;
    return PGR_OK;
}

static pgr_status want_words(reader *r) {
    const json_t *all = json_object_get(r->root, "words");
    PGR_TRY(json_want_array(all, at(r, "words"), r->err));
    if (json_array_size(all) != r->a->k)
        return fail(r->err, PGR_E_FORMAT, "%s: words has %zu lists, expected %zu", r->origin, json_array_size(all),
                    r->a->k);
    const char *const **lists = arena_array(&r->a->arena, r->a->k, sizeof *lists);
    if (!lists) return fail_mem(r->err);
    for (size_t j = 0; j < r->a->k; j++) PGR_TRY(want_list(r, json_array_get(all, j), &lists[j]));
    r->a->words = lists;
    return PGR_OK;
}

static pgr_status want_seed(reader *r) {
    const char *s = NULL;
    PGR_TRY(json_want_string(json_object_get(r->root, "seed"), at(r, "seed"), &s, r->err));
    size_t digits = strspn(s, "0123456789");
    if (digits == 0 || digits > 20 || s[digits])
        return fail(r->err, PGR_E_FORMAT, "%s: seed is \"%.40s\", expected a whole number", r->origin, s);
    for (r->a->seed = 0; *s; s++) r->a->seed = r->a->seed * 10 + (uint64_t)(*s - '0');
    return PGR_OK;
}

static bool is_way(const char *by) {
    static const char *const WAYS[] = {"votes", "choices", "analysis", "facts"};
    for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS; i++)
        if (strcmp(by, WAYS[i]) == 0) return true;
    return false;
}

static pgr_status read_fields(reader *r) {
    static const char *const known[] = {"by",         "embedder", "model", "split",    "dims",      "k",
                                        "rows",       "users",    "pairs", "n_refine", "n_mixture", "n_views",
                                        "n_singular", "n_loss",   "seed",  "settings", "words",     NULL};
    artefact *a = r->a;
    PGR_TRY(json_want_object(r->root, at(r, ""), r->err));
    PGR_TRY(json_only_keys(r->root, known, at(r, ""), r->err));
    PGR_TRY(want_text(r, "by", &a->by));
    if (!is_way(a->by))
        return fail(r->err, PGR_E_FORMAT, "%s: by is \"%.40s\", expected votes, choices, analysis or facts", r->origin,
                    a->by);
    PGR_TRY(want_text(r, "embedder", &a->embedder));
    PGR_TRY(want_text(r, "model", &a->model));
    PGR_TRY(want_text(r, "split", &a->split));
    PGR_TRY(want_count(r, "dims", 1, MAX_DIMS, &a->dims));
    PGR_TRY(want_count(r, "k", 1, MAX_LIST, &a->k));
    PGR_TRY(want_count(r, "rows", 1, MAX_COUNT, &a->n_row));
    PGR_TRY(want_count(r, "users", 1, MAX_COUNT, &a->n_user));
    PGR_TRY(want_count(r, "pairs", 0, INT64_MAX, &a->n_pair));
    PGR_TRY(want_count(r, "n_refine", 0, MAX_COUNT * 8, &a->n_refine));
    if (json_object_get(r->root, "n_mixture")) /* version 1 knows nothing of it */
        PGR_TRY(want_count(r, "n_mixture", 0, MAX_COUNT * 8, &a->n_mixture));
    if (json_object_get(r->root, "n_views")) /* versions 1 and 2 know nothing of it */
        PGR_TRY(want_count(r, "n_views", 0, MAX_COUNT, &a->views.n));
    PGR_TRY(want_seed(r));
    PGR_TRY(want_count(r, "n_singular", 0, MAX_LIST, &a->n_singular));
    PGR_TRY(want_count(r, "n_loss", 0, MAX_LIST, &a->n_loss));
    PGR_TRY(want_settings(r));
    return want_words(r);
}

pgr_status artefact_read_meta(artefact *a, const char *text, size_t n, pgr_error *err) {
    reader r = {.a = a, .err = err};
    snprintf(r.origin, sizeof r.origin, "%.300s: meta", a->path);
    PGR_TRY(json_parse(text, n, r.origin, 1, &r.root, err));
    pgr_status s = read_fields(&r);
    json_decref(r.root);
    return s;
}
