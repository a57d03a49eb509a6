/* calibration_file.c - the file of a calibration: one map, or one for each kind of verdict by its name. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/json.h"
#include "base/mem.h"
#include "judge/calibration_map.h"

static const double LARGEST = 1e9; /* differences of such numbers are no infinities */

static const char *const KINDS[] = {"answers", "views", NULL};

static const char *const METHODS[] = {"temperature", "isotonic", NULL}, *const INPUTS[] = {"probability", "difference",
                                                                                           "shrunk", NULL};

const char *pgr_verdict_kind_name(pgr_verdict_kind kind) {
    PGR_ASSERT((size_t)kind < PGR_VERDICT_KINDS);
    return KINDS[kind];
}

bool verdict_kind_find(const char *name, pgr_verdict_kind *out) {
    for (int i = 0; i < PGR_VERDICT_KINDS; i++)
        if (strcmp(name, KINDS[i]) == 0) {
            *out = (pgr_verdict_kind)i;
            return true;
        }
    return false;
}

typedef struct reader { /* of one calibration_map */
    const char *origin;
    const char *whole; /* "views": its key in the file; "" where the file is one calibration_map */
    const char *at;    /* "views.", before its own keys in messages; "" */
    const json_t *top;
    pgr_error *err;
} reader;

enum { KEY_PATH = 32 };

static json_at place(const reader *in, const char *key, char path[KEY_PATH]) {
    snprintf(path, KEY_PATH, "%s%s", in->at, key);
    return (json_at){in->origin, path};
}

static pgr_status bad(const reader *in, const char *key, const char *expected) {
    return fail(in->err, PGR_E_FORMAT, "%s: %s%s: found %s, expected %s", in->origin, in->at, key,
                json_kind(json_object_get(in->top, key)), expected);
}

static pgr_status read_choice(const reader *in, const char *key, const char *const *names, int *out) {
    const char *found = NULL;
    char path[KEY_PATH];
    PGR_TRY(json_want_string(json_object_get(in->top, key), place(in, key, path), &found, in->err));
    for (int i = 0; names[i]; i++)
        if (strcmp(found, names[i]) == 0) {
            *out = i;
            return PGR_OK;
        }
    char list[80] = "";
    size_t n = 0;
    for (int i = 0; names[i]; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s'%s'",
                              i == 0         ? ""
                              : names[i + 1] ? ", "
                                             : " or ",
                              names[i]);
    return fail(in->err, PGR_E_FORMAT, "%s: %s%s: found '%.60s', expected %s", in->origin, in->at, key, found, list);
}

/* An array of finite numbers that never fall (x: that rise). */
static pgr_status read_rising(const reader *in, const char *key, bool strict, double **out, size_t *n) {
    const json_t *v = json_object_get(in->top, key);
    if (!json_is_array(v) || json_array_size(v) == 0) return bad(in, key, "an array of numbers");
    *n = json_array_size(v);
    *out = mem_array(*n, sizeof **out);
    if (!*out) return fail_mem(in->err);
    for (size_t i = 0; i < *n; i++) {
        const json_t *item = json_array_get(v, i);
        if (!json_is_number(item)) return bad(in, key, "numbers only");
        (*out)[i] = json_number_value(item);
        bool falls = i > 0 && (strict ? !((*out)[i] > (*out)[i - 1]) : !((*out)[i] >= (*out)[i - 1]));
        if (!(fabs((*out)[i]) <= LARGEST) || falls)
            return fail(in->err, PGR_E_FORMAT, "%s: %s%s[%zu]: found %g, expected numbers that rise, none beyond 1e9",
                        in->origin, in->at, key, i, (*out)[i]);
    }
    return PGR_OK;
}

static pgr_status read_isotonic(const reader *in, calibration_map *c) {
    size_t n_y = 0;
    PGR_TRY(read_rising(in, "x", true, &c->x, &c->n_knot));
    PGR_TRY(read_rising(in, "y", false, &c->y, &n_y));
    if (n_y != c->n_knot)
        return fail(in->err, PGR_E_FORMAT, "%s: %sy: found %zu numbers, expected %zu as in x", in->origin, in->at, n_y,
                    c->n_knot);
    if (c->y[0] < 0 || c->y[n_y - 1] > 1)
        return fail(in->err, PGR_E_FORMAT, "%s: %sy: found numbers beyond 0 to 1, expected probabilities", in->origin,
                    in->at);
    return PGR_OK;
}

static pgr_status read_temperature(const reader *in, calibration_map *c) {
    const json_t *v = json_object_get(in->top, "temperature");
    c->temperature = json_is_number(v) ? json_number_value(v) : NAN;
    return c->temperature >= COLDEST && c->temperature <= HOTTEST
               ? PGR_OK
               : bad(in, "temperature", "a number from 0.001 to 1000");
}

static pgr_status read_variance(const reader *in, const char *key, double *out) {
    const json_t *v = json_object_get(in->top, key);
    *out = json_is_number(v) ? json_number_value(v) : NAN;
    return *out >= 0 && *out <= LARGEST ? PGR_OK : bad(in, key, "a variance, a number from 0 to 1e9");
}

static pgr_status fill_map(const reader *in, calibration_map *c) {
    static const char *const keys[] = {"method", "input", "n", "between", "within", "temperature", "x", "y", NULL};
    char path[KEY_PATH];
    int method = 0, input = 0;
    int64_t n = 0;
    PGR_TRY(json_only_keys(in->top, keys, (json_at){in->origin, in->whole}, in->err));
    PGR_TRY(read_choice(in, "method", METHODS, &method));
    PGR_TRY(read_choice(in, "input", INPUTS, &input));
    PGR_TRY(json_want_integer(json_object_get(in->top, "n"), place(in, "n", path), 1, INT64_C(1) << 52, &n, in->err));
    c->method = (pgr_calibration_method)method;
    c->input = (pgr_calibration_input)input;
    c->n = (size_t)n;
    if (c->input == PGR_CALIBRATION_SHRUNK) {
        PGR_TRY(read_variance(in, "between", &c->between));
        PGR_TRY(read_variance(in, "within", &c->within));
    }
    return c->method == PGR_CALIBRATION_ISOTONIC ? read_isotonic(in, c) : read_temperature(in, c);
}

static pgr_status read_map(const reader *in, calibration_map **out) {
    *out = mem_zero(1, sizeof **out); /* freed with the calibration, whole or not */
    return *out ? fill_map(in, *out) : fail_mem(in->err);
}

static bool by_kind(const json_t *top) {
    for (int k = 0; k < PGR_VERDICT_KINDS; k++)
        if (json_object_get(top, KINDS[k])) return true;
    return false;
}

/* A file that does not say of which verdicts it is has a map of answers. */
static pgr_status read_file(const json_t *top, const char *origin, pgr_calibration *c, pgr_error *err) {
    PGR_TRY(json_want_object(top, (json_at){origin, ""}, err));
    if (!by_kind(top)) return read_map(&(reader){origin, "", "", top, err}, &c->of[PGR_VERDICT_ANSWERS]);
    PGR_TRY(json_only_keys(top, KINDS, (json_at){origin, ""}, err));
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) {
        char at[KEY_PATH];
        const json_t *m = json_object_get(top, KINDS[k]);
        snprintf(at, sizeof at, "%s.", KINDS[k]);
        if (m) PGR_TRY(read_map(&(reader){origin, KINDS[k], at, m, err}, &c->of[k]));
    }
    return PGR_OK;
}

pgr_status calibration_parse(const char *text, size_t n, const char *origin, pgr_calibration **out, pgr_error *err) {
    json_t *top = NULL;
    PGR_TRY(json_parse(text, n, origin, 1, &top, err));
    pgr_calibration *c = mem_zero(1, sizeof *c);
    pgr_status s = c ? read_file(top, origin, c, err) : fail_mem(err);
    json_decref(top);
    if (s != PGR_OK) {
        pgr_calibration_free(c);
        return s;
    }
    *out = c;
    return PGR_OK;
}

pgr_status pgr_calibration_open(const char *path, pgr_calibration **out, pgr_error *err) {
    buf text = {0};
    PGR_TRY(file_read(path, &text, err));
    pgr_status s = calibration_parse(text.data ? text.data : "", text.n, path, out, err);
    buf_free(&text);
    return s;
}

static void put_numbers(buf *b, const char *key, const double *v, size_t n) {
    buf_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) buf_printf(b, "%s%.17g", i ? "," : "", v[i]);
    buf_puts(b, "]");
}

static void put_map(buf *b, const calibration_map *m) {
    buf_printf(b, "{\"method\":\"%s\",\"input\":\"%s\",\"n\":%zu", METHODS[m->method], INPUTS[m->input], m->n);
    if (m->input == PGR_CALIBRATION_SHRUNK) buf_printf(b, ",\"between\":%.17g,\"within\":%.17g", m->between, m->within);
    if (m->method == PGR_CALIBRATION_TEMPERATURE) {
        buf_printf(b, ",\"temperature\":%.17g", m->temperature);
    } else {
        put_numbers(b, "x", m->x, m->n_knot);
        put_numbers(b, "y", m->y, m->n_knot);
    }
    buf_putc(b, '}');
}

pgr_status pgr_calibration_write(const pgr_calibration *c, const char *path, pgr_error *err) {
    buf b = {0};
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) {
        if (!c->of[k]) continue;
        buf_printf(&b, "%s\"%s\":", b.n ? ",\n " : "{", KINDS[k]);
        put_map(&b, c->of[k]);
    }
    buf_puts(&b, "}\n");
    pgr_status s = b.failed ? fail_mem(err) : file_write(path, b.data, b.n, err);
    buf_free(&b);
    return s;
}
