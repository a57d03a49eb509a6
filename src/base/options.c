/* options.c - members read and written by their rows; see options.h. */
#include "base/options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/legible.h"
#include "base/text.h"

/* ---- members ----------------------------------------------------------------------------------------------------- */

static bool is_number(const pgr_option *row) {
    return row->type <= PGR_OPTION_DOUBLE;
}

static bool is_whole(const pgr_option *row) {
    return row->type <= PGR_OPTION_SIZE;
}

/* Limits are doubles: exact but for the one end that is no double. */
static int64_t whole_limit(double limit) {
    return limit >= 0x1p63 ? INT64_MAX : (int64_t)limit;
}

static const void *member(const pgr_option *row, const void *options) {
    return (const char *)options + row->offset;
}

static int64_t get_whole(const pgr_option *row, const void *options) {
    const void *m = member(row, options);
    switch (row->type) {
    case PGR_OPTION_INT64:
        return *(const int64_t *)m;
    case PGR_OPTION_SIZE:
        return *(const size_t *)m > INT64_MAX ? INT64_MAX : (int64_t) * (const size_t *)m;
    case PGR_OPTION_FLAG:
        return *(const bool *)m;
    default: /* an int or an enum, which has an int's size here */
        return *(const int *)m;
    }
}

static double get_real(const pgr_option *row, const void *options) {
    const void *m = member(row, options);
    if (row->type == PGR_OPTION_FLOAT) return (double)*(const float *)m;
    return row->type == PGR_OPTION_DOUBLE ? *(const double *)m : (double)get_whole(row, options);
}

static const char *get_text(const pgr_option *row, const void *options) {
    return *(const char *const *)member(row, options);
}

static void put_whole(const pgr_option *row, void *options, int64_t v) {
    void *m = (char *)options + row->offset;
    switch (row->type) {
    case PGR_OPTION_INT64:
        *(int64_t *)m = v;
        break;
    case PGR_OPTION_SIZE:
        *(size_t *)m = (size_t)v;
        break;
    case PGR_OPTION_FLAG:
        *(bool *)m = v != 0;
        break;
    default:
        *(int *)m = (int)v;
    }
}

static void put_real(const pgr_option *row, void *options, double v) {
    void *m = (char *)options + row->offset;
    if (row->type == PGR_OPTION_FLOAT)
        *(float *)m = (float)v;
    else
        *(double *)m = v;
}

static void put_text(const pgr_option *row, void *options, const char *v) {
    *(const char **)(void *)((char *)options + row->offset) = v;
}

static void put_default(const pgr_option *row, void *options) {
    if (row->type == PGR_OPTION_TEXT)
        put_text(row, options, NULL);
    else if (row->type == PGR_OPTION_FLOAT || row->type == PGR_OPTION_DOUBLE)
        put_real(row, options, row->standard);
    else
        put_whole(row, options, (int64_t)row->standard);
}

/* The member says that the option was not given. */
static bool is_unset(const pgr_option *row, const void *options) {
    if (row->type == PGR_OPTION_TEXT) return get_text(row, options) == NULL;
    return row->unset && get_real(row, options) == row->standard;
}

static size_t count_choices(const pgr_option *row) {
    size_t n = 0;
    while (row->choices[n]) n++;
    return n;
}

static bool in_range(const pgr_option *row, const void *options) {
    if (is_whole(row)) {
        int64_t v = get_whole(row, options);
        return v >= whole_limit(row->lo) && v <= whole_limit(row->hi);
    }
    double v = row->type == PGR_OPTION_TEXT ? 0 : get_real(row, options);
    if (is_number(row)) return v >= row->lo && v <= row->hi; /* false for NaN */
    return row->type != PGR_OPTION_CHOICE || (v >= 0 && v < (double)count_choices(row));
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

void options_default(const pgr_option *rows, void *options) {
    for (; rows->name; rows++) put_default(rows, options);
}

const pgr_option *option_find(const pgr_option *rows, const char *name) {
    for (; rows->name; rows++)
        if (strcmp(rows->name, name) == 0) return rows;
    return NULL;
}

void option_key(const pgr_option *row, char out[OPTION_KEY_MAX]) {
    snprintf(out, OPTION_KEY_MAX, "%s", row->name);
    for (char *c = out; *c; c++)
        if (*c == '-') *c = '_';
}

pgr_status options_check(const pgr_option *rows, const void *options, pgr_error *err) {
    for (; rows->name; rows++) {
        if (is_unset(rows, options) || in_range(rows, options)) continue;
        char key[OPTION_KEY_MAX], found[40], expected[160];
        option_key(rows, key);
        pgr_option_print(rows, options, found, sizeof found);
        option_expected(rows, expected, sizeof expected);
        return fail(err, PGR_E_ARG, "%s is %s, expected %s", key, found, expected);
    }
    return PGR_OK;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

int option_expected(const pgr_option *row, char *out, size_t size) {
    if (is_whole(row))
        return snprintf(out, size, "a whole number from %lld to %lld", (long long)whole_limit(row->lo),
                        (long long)whole_limit(row->hi));
    if (is_number(row)) return snprintf(out, size, "a number from %g to %g", row->lo, row->hi);
    if (row->type != PGR_OPTION_CHOICE)
        return snprintf(out, size, row->type == PGR_OPTION_FLAG ? "true or false" : "text");
    char list[160] = "";
    for (size_t i = 0, n = 0; row->choices[i] && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? (row->choices[i + 1] ? ", " : " or ") : "",
                              row->choices[i]);
    return snprintf(out, size, "%s", list);
}

int pgr_option_print(const pgr_option *row, const void *options, char *out, size_t size) {
    if (is_unset(row, options)) return snprintf(out, size, "%s", "");
    switch (row->type) {
    case PGR_OPTION_FLOAT:
        return snprintf(out, size, "%.9g", get_real(row, options));
    case PGR_OPTION_DOUBLE:
        return snprintf(out, size, "%.17g", get_real(row, options));
    case PGR_OPTION_FLAG:
        return snprintf(out, size, "%s", get_whole(row, options) ? "true" : "false");
    case PGR_OPTION_CHOICE:
        return snprintf(out, size, "%s", in_range(row, options) ? row->choices[get_whole(row, options)] : "?");
    case PGR_OPTION_TEXT:
        return snprintf(out, size, "%s", get_text(row, options));
    default:
        return snprintf(out, size, "%lld", (long long)get_whole(row, options));
    }
}

int pgr_option_help(const pgr_option *row, char *out, size_t size) {
    if (row->unset) return snprintf(out, size, "%s (default: %s)", row->help, row->unset);
    if (row->type == PGR_OPTION_CHOICE)
        return snprintf(out, size, "%s (default: %s)", row->help, row->choices[(size_t)row->standard]);
    return is_number(row) ? snprintf(out, size, "%s (default: %g)", row->help, row->standard)
                          : snprintf(out, size, "%s", row->help);
}

const char *pgr_nearest(const char *word, const char *const *names) {
    return text_nearest(word, names);
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static bool read_whole(const pgr_option *row, const char *text, int64_t *out) {
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    bool digits = (text[0] >= '0' && text[0] <= '9') || (text[0] == '-' && text[1] >= '0' && text[1] <= '9');
    *out = v;
    return digits && !*end && !errno && v >= whole_limit(row->lo) && v <= whole_limit(row->hi);
}

static bool read_real(const pgr_option *row, const char *text, double *out) {
    char *end = NULL;
    *out = strtod(text, &end);
    bool plain = text[0] && text[strspn(text, "0123456789.eE+-")] == '\0' && end == text + strlen(text);
    return plain && isfinite(*out) && *out >= row->lo && *out <= row->hi;
}

static bool read_choice(const pgr_option *row, const char *text, int64_t *out) {
    for (*out = 0; row->choices[*out]; ++*out)
        if (strcmp(row->choices[*out], text) == 0) return true;
    return false;
}

pgr_status pgr_option_set(const pgr_option *row, void *options, const char *text, pgr_error *err) {
    int64_t whole = row->standard == 0;
    double real = 0;
    bool read = true, is_real = row->type == PGR_OPTION_FLOAT || row->type == PGR_OPTION_DOUBLE;
    if (!text && row->type != PGR_OPTION_FLAG) return fail(err, PGR_E_ARG, "%s: found no value", row->name);
    if (row->type == PGR_OPTION_CHOICE)
        read = read_choice(row, text, &whole);
    else if (is_whole(row))
        read = read_whole(row, text, &whole);
    else if (is_real)
        read = read_real(row, text, &real);
    if (!read) {
        char expected[160];
        option_expected(row, expected, sizeof expected);
        return fail(err, PGR_E_ARG, "%s: found \"%s\", expected %s", row->name, text, expected);
    }
    if (row->type == PGR_OPTION_TEXT)
        put_text(row, options, text);
    else if (is_real)
        put_real(row, options, real);
    else
        put_whole(row, options, whole);
    return PGR_OK;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

json_t *option_json(const pgr_option *row, const void *options) {
    if (is_unset(row, options)) return json_null();
    if (row->type == PGR_OPTION_FLAG) return json_boolean(get_whole(row, options));
    if (row->type == PGR_OPTION_FLOAT || row->type == PGR_OPTION_DOUBLE) return json_real(get_real(row, options));
    if (row->type == PGR_OPTION_TEXT) return legible_json(get_text(row, options));
    if (row->type == PGR_OPTION_CHOICE && in_range(row, options))
        return json_string(row->choices[get_whole(row, options)]);
    return json_integer(get_whole(row, options));
}

static pgr_status fail_value(const pgr_option *row, const char *found, json_at at, pgr_error *err) {
    char expected[160];
    option_expected(row, expected, sizeof expected);
    return fail(err, PGR_E_FORMAT, "%s: %s: found %s, expected %s", at.origin, at.path, found, expected);
}

static pgr_status choice_from_json(const pgr_option *row, void *options, const json_t *v, json_at at, pgr_error *err) {
    const char *text = NULL;
    int64_t i = 0;
    PGR_TRY(json_want_string(v, at, &text, err));
    if (!read_choice(row, text, &i)) return fail_value(row, text, at, err);
    put_whole(row, options, i);
    return PGR_OK;
}

static pgr_status real_from_json(const pgr_option *row, void *options, const json_t *v, json_at at, pgr_error *err) {
    char found[40];
    double x = json_number_value(v);
    snprintf(found, sizeof found, "%g", x);
    if (!json_is_number(v)) return fail_value(row, json_kind(v), at, err);
    if (!(x >= row->lo && x <= row->hi)) return fail_value(row, found, at, err);
    put_real(row, options, x);
    return PGR_OK;
}

pgr_status option_from_json(const pgr_option *row, void *options, const json_t *v, json_at at, pgr_error *err) {
    int64_t whole = 0;
    const char *text = NULL;
    if (!v || json_is_null(v)) {
        put_default(row, options);
        return PGR_OK;
    }
    switch (row->type) {
    case PGR_OPTION_FLOAT:
    case PGR_OPTION_DOUBLE:
        return real_from_json(row, options, v, at, err);
    case PGR_OPTION_CHOICE:
        return choice_from_json(row, options, v, at, err);
    case PGR_OPTION_FLAG:
        if (!json_is_boolean(v)) return fail_value(row, json_kind(v), at, err);
        put_whole(row, options, json_is_true(v));
        return PGR_OK;
    case PGR_OPTION_TEXT:
        PGR_TRY(json_want_string(v, at, &text, err));
        put_text(row, options, text);
        return PGR_OK;
    default:
        PGR_TRY(json_want_integer(v, at, whole_limit(row->lo), whole_limit(row->hi), &whole, err));
        put_whole(row, options, whole);
        return PGR_OK;
    }
}
