/* option_file.c - options that lie in a file, as words of a command line. */
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "pgenrm_model.h"

/* "--NAME=VALUE" with its NUL, of null and false nothing, of a list one word per item. */
static pgr_status add_words(buf *out, size_t *n, const char *name, const json_t *v, json_at at, pgr_error *err) {
    size_t i;
    json_t *item;
    if (json_is_null(v) || json_is_false(v)) return PGR_OK;
    if (json_is_array(v)) {
        json_array_foreach(v, i, item) {
            if (!json_is_string(item))
                return fail(err, PGR_E_FORMAT, "%s: %s[%zu]: found %s, expected a string", at.origin, at.path, i,
                            json_kind(item));
            PGR_TRY(add_words(out, n, name, item, at, err));
        }
        return PGR_OK;
    }
    buf_printf(out, "--%s", name);
    if (json_is_string(v)) {
        const char *text;
        PGR_TRY(json_want_string(v, at, &text, err));
        buf_printf(out, "=%s", text);
    } else if (json_is_number(v)) {
        buf_putc(out, '=');
        json_put(out, v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    } else if (!json_is_true(v)) {
        return fail(err, PGR_E_FORMAT,
                    "%s: %s: found %s, expected a number, a string, true, false or a list of strings", at.origin,
                    at.path, json_kind(v));
    }
    buf_putc(out, '\0');
    ++*n;
    return PGR_OK;
}

static pgr_status add_all(buf *out, size_t *n, const json_t *v, const char *path, pgr_error *err) {
    const char *key;
    json_t *value;
    PGR_TRY(json_want_object(v, (json_at){path, "options"}, err));
    json_object_foreach((json_t *)(uintptr_t)v, key, value) {
        char name[64];
        snprintf(name, sizeof name, "%s", key);
        for (char *c = name; *c; c++)
            if (*c == '_') *c = '-';
        PGR_TRY(add_words(out, n, name, value, (json_at){path, key}, err));
    }
    return PGR_OK;
}

pgr_status pgr_option_file(const char *path, char **words, size_t *n, pgr_error *err) {
    buf text = {0}, out = {0};
    json_t *v = NULL;
    *words = NULL, *n = 0;
    pgr_status s = file_read(path, &text, err);
    if (s == PGR_OK) s = json_parse(text.data, text.n, path, 1, &v, err);
    if (s == PGR_OK) s = add_all(&out, n, v, path, err);
    json_decref(v);
    buf_free(&text);
    if (s == PGR_OK && !(*words = buf_take(&out))) s = fail_mem(err);
    buf_free(&out);
    return s;
}
