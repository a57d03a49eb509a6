/* body.c - see body.h. */
#include "serve/body.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

const json_t *body_get(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v) ? v : NULL;
}

bool body_number(call *c, const json_t *o, const char *key, double lo, double hi, double *out) {
    const json_t *v = body_get(o, key);
    if (!v) return true;
    double x = json_number_value(v);
    if (!json_is_number(v) || !(x >= lo && x <= hi)) {
        call_refuse(c, key, "%s: expected a number from %g to %g", key, lo, hi);
        return false;
    }
    *out = x;
    return true;
}

bool body_integer(call *c, const json_t *o, const char *key, int64_t lo, int64_t hi, int64_t *out) {
    const json_t *v = body_get(o, key);
    if (!v) return true;
    if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi) {
        call_refuse(c, key, "%s: expected a whole number from %lld to %lld", key, (long long)lo, (long long)hi);
        return false;
    }
    *out = json_integer_value(v);
    return true;
}

bool body_flag(call *c, const json_t *o, const char *key, bool *out) {
    const json_t *v = body_get(o, key);
    if (!v) return true;
    if (!json_is_boolean(v)) {
        call_refuse(c, key, "%s: found %s, expected true or false", key, json_kind(v));
        return false;
    }
    *out = json_is_true(v);
    return true;
}

static bool is_text(const json_t *v) {
    return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);
}

bool body_text(call *c, const json_t *o, const char *key, const char **out) {
    const json_t *v = body_get(o, key);
    if (!v) return true;
    if (!is_text(v)) {
        call_refuse(c, key, "%s: found %s, expected a text without NUL", key, json_kind(v));
        return false;
    }
    *out = json_string_value(v);
    return true;
}

bool body_texts(call *c, const json_t *o, const char *key, size_t most, const char ***out, size_t *n) {
    const json_t *v = body_get(o, key);
    size_t count = json_is_array(v) ? json_array_size(v) : 1;
    *n = 0;
    *out = NULL;
    if (!v) return true;
    if (count > most) {
        call_refuse(c, key, "%s: found %zu texts, expected at most %zu", key, count, most);
        return false;
    }
    const char **texts = mem_array(count + 1, sizeof *texts);
    for (size_t i = 0; texts && i < count; i++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
        if (!is_text(one)) {
            call_refuse(c, key, "%s: found %s, expected a text without NUL, or a list of them", key, json_kind(one));
            mem_free(texts);
            return false;
        }
        texts[i] = json_string_value(one);
    }
    if (!texts) {
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
        return false;
    }
    *out = texts;
    *n = count;
    return true;
}

bool body_fits(call *c, const char *key, size_t n, size_t most, const char *what) {
    if (n <= most) return true;
    call_refuse(c, key, "%s: found %zu %s, expected at most %zu", key, n, what, most);
    return false;
}

bool body_idle(call *c, const json_t *o, const char *key, double idle) {
    const json_t *v = body_get(o, key);
    bool empty = (json_is_object(v) && json_object_size(v) == 0) || (json_is_array(v) && json_array_size(v) == 0)
                 || json_is_false(v);
    if (!v || (isnan(idle) ? empty : json_is_number(v) && json_number_value(v) == idle)) return true;
    call_refuse(c, key, "%s: is not supported", key);
    return false;
}
