/* schema_kinds.c - what a schema says of a value of one type: strings, numbers, lists, objects. */
#include <string.h>

#include "serve/schema_writing.h"

enum {
    PROPERTIES_MOST = 4096,  /* of an object: each is looked for among the required ones */
    BOUND_MOST = 1000000000, /* of a whole number */
    RANGE_MOST = 1000,       /* whole numbers between minimum and maximum */
    DIGITS_MOST = 15,        /* of a whole number without them */
};

/* ---- strings and numbers ---- */

static pgr_status put_string(schema_writing *w, const json_t *s) {
    const json_t *format = json_object_get(s, "format");
    long lo, hi;
    PGR_TRY(schema_read_count(w, s, "minLength", 0, &lo));
    PGR_TRY(schema_read_count(w, s, "maxLength", -1, &hi));
    if (hi >= 0 && lo > hi) return schema_wrong(w, "minLength", "no more than maxLength");
    if (!format) {
        if (lo == 0 && hi < 0) {
            buf_puts(w->out, "string");
        } else {
            buf_puts(w->out, "\"\\\"\" char");
            schema_put_times(w->out, lo, hi);
            buf_puts(w->out, " \"\\\"\"");
        }
        return PGR_OK;
    }
    static const char *const formats[][2] = {
        {"date", "date"}, {"time", "time"}, {"date-time", "date \"T\" time"}, {"uuid", "uuid"}};
    const char *name = json_string_value(format);
    for (size_t i = 0; name && i < 4; i++)
        if (strcmp(formats[i][0], name) == 0) {
            buf_printf(w->out, "\"\\\"\" %s \"\\\"\"", formats[i][1]);
            return PGR_OK;
        }
    return schema_unsupported(w, "format", "expected date, time, date-time or uuid");
}

/* A bound that a keyword or its exclusive form gives. */
static pgr_status read_bound(const schema_writing *w, const json_t *s, const char *keyword, const char *exclusive,
                             int step, bool *there, json_int_t *out) {
    const json_t *v = json_object_get(s, keyword), *x = json_object_get(s, exclusive);
    *there = v || x;
    if (!*there) return PGR_OK;
    if ((v && !json_is_integer(v)) || (x && !json_is_integer(x)) || (v && x))
        return schema_unsupported(w, v ? keyword : exclusive, "expected a whole number, one bound on each side");
    json_int_t bound = json_integer_value(v ? v : x);
    if (bound < -BOUND_MOST || bound > BOUND_MOST)
        return schema_unsupported(w, v ? keyword : exclusive, "expected 1000000000 at most, either way");
    *out = v ? bound : bound + step;
    return PGR_OK;
}

static pgr_status put_integer(schema_writing *w, const json_t *s) {
    bool has_lo, has_hi;
    json_int_t lo = 0, hi = 0;
    PGR_TRY(read_bound(w, s, "minimum", "exclusiveMinimum", 1, &has_lo, &lo));
    PGR_TRY(read_bound(w, s, "maximum", "exclusiveMaximum", -1, &has_hi, &hi));
    if (!has_lo && !has_hi) {
        buf_puts(w->out, "integer");
        return PGR_OK;
    }
    if (has_lo && !has_hi && (lo == 0 || lo == 1)) {
        buf_printf(w->out, lo ? "[1-9] [0-9]{0,%d}" : "(\"0\" | [1-9] [0-9]{0,%d})", DIGITS_MOST - 1);
        return PGR_OK;
    }
    if (!has_lo || !has_hi || lo > hi || hi - lo > RANGE_MOST)
        return schema_unsupported(w, has_lo ? "minimum" : "maximum",
                                  "expected both bounds, in order and at most 1000 apart, or a minimum of 0 or 1");
    buf_puts(w->out, "(");
    for (json_int_t i = lo; i <= hi; i++) buf_printf(w->out, i > lo ? " | \"%lld\"" : "\"%lld\"", (long long)i);
    buf_puts(w->out, ")");
    return PGR_OK;
}

static pgr_status put_number(schema_writing *w, const json_t *s) {
    static const char *const bounds[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
    for (size_t i = 0; i < 4; i++)
        if (json_object_get(s, bounds[i])) return schema_unsupported(w, bounds[i], "only of integers");
    buf_puts(w->out, "number");
    return PGR_OK;
}

/* ---- lists and objects ---- */

static pgr_status put_or_any(schema_writing *w, const json_t *schema) {
    if (schema && !json_is_true(schema)) return schema_put(w, schema);
    schema_put_any(w->out, 1);
    return PGR_OK;
}

/* lo to hi of them; hi -1: no end. */
static pgr_status put_items(schema_writing *w, const json_t *items, long lo, long hi) {
    buf_puts(w->out, "\"[\" (");
    PGR_TRY(put_or_any(w, items));
    if (hi != 1) {
        buf_puts(w->out, " (\", \" ");
        PGR_TRY(put_or_any(w, items));
        buf_puts(w->out, ")");
        schema_put_times(w->out, lo > 0 ? lo - 1 : 0, hi > 0 ? hi - 1 : hi);
    }
    buf_puts(w->out, lo > 0 ? ") \"]\"" : ")? \"]\"");
    return PGR_OK;
}

pgr_status schema_put_array(schema_writing *w, const json_t *schema) {
    const json_t *items = json_object_get(schema, "items"), *first = json_object_get(schema, "prefixItems");
    size_t n_first = json_array_size(first);
    long lo, hi;
    PGR_TRY(schema_read_count(w, schema, "minItems", 0, &lo));
    PGR_TRY(schema_read_count(w, schema, "maxItems", first ? (long)n_first : -1, &hi));
    if (first) { /* exactly these */
        if (!json_is_array(first) || n_first == 0) return schema_wrong(w, "prefixItems", "a list with something in it");
        if (lo > (long)n_first || hi < (long)n_first || (items && !json_is_false(items)))
            return schema_unsupported(w, "prefixItems", "expected a list of exactly these items");
        buf_puts(w->out, "\"[\"");
        for (size_t i = 0; i < n_first; i++) {
            buf_puts(w->out, i ? " \", \" " : " ");
            PGR_TRY(schema_put(w, json_array_get(first, i)));
        }
        buf_puts(w->out, " \"]\"");
        return PGR_OK;
    }
    if (hi >= 0 && lo > hi) return schema_wrong(w, "minItems", "no more than maxItems");
    if (hi == 0) {
        buf_puts(w->out, "\"[]\"");
        return PGR_OK;
    }
    schema_place before = schema_place_of(w);
    pgr_status s = put_items(w, items, lo, hi);
    if (lo == 0 && schema_take_back(w, &s, before)) buf_puts(w->out, "\"[]\"");
    return s;
}

static bool requires(const json_t *required, const char *key) {
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (name && strcmp(name, key) == 0) return true;
    }
    return false;
}

static pgr_status put_pair(schema_writing *w, const char *key, const json_t *schema, bool comma) {
    buf text = {0};
    if (comma) buf_puts(&text, ", ");
    json_put_string(&text, key, strlen(key));
    buf_puts(&text, ": ");
    schema_put_text(w->out, text.data ? text.data : "", text.n);
    w->out->failed |= text.failed;
    buf_free(&text);
    buf_puts(w->out, " ");
    return put_or_any(w, schema);
}

/* The pairs from the iterator on, the first one without a comma before it unless others stand before. */
static pgr_status put_pairs(schema_writing *w, const json_t *s, void *at, bool others) {
    json_t *properties = json_object_get(s, "properties");
    const json_t *required = json_object_get(s, "required");
    if (!at) {
        buf_puts(w->out, "\"\"");
        return PGR_OK;
    }
    const char *key = json_object_iter_key(at);
    const json_t *schema = json_object_iter_value(at);
    void *after = json_object_iter_next(properties, at);
    if (w->out->n > SCHEMA_BYTES_MOST) return schema_unsupported(w, "properties", "the schema's grammar is too large");
    if (requires(required, key)) {
        PGR_TRY(put_pair(w, key, schema, others));
        buf_puts(w->out, " ");
        return put_pairs(w, s, after, true);
    }
    schema_place before = schema_place_of(w);
    buf_puts(w->out, "(");
    pgr_status put = put_pair(w, key, schema, others);
    if (schema_take_back(w, &put, before)) return put_pairs(w, s, after, others);
    PGR_TRY(put);
    if (others) {
        buf_puts(w->out, ")? ");
        return put_pairs(w, s, after, true);
    }
    buf_puts(w->out, " ");
    PGR_TRY(put_pairs(w, s, after, true));
    buf_puts(w->out, " | ");
    PGR_TRY(put_pairs(w, s, after, false));
    buf_puts(w->out, ")");
    return PGR_OK;
}

static pgr_status check_required(const schema_writing *w, const json_t *required, const json_t *properties) {
    if (required && !json_is_array(required)) return schema_wrong(w, "required", "a list of names");
    if (json_object_size(properties) > PROPERTIES_MOST)
        return schema_unsupported(w, "properties", "the schema's grammar is too large");
    if (json_array_size(required) > json_object_size(properties))
        return schema_wrong(w, "required", "names out of properties, each once");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (!name || !json_object_get(properties, name)) return schema_wrong(w, "required", "names out of properties");
    }
    return PGR_OK;
}

/* Any names, each with a value by one schema. */
static pgr_status put_named(schema_writing *w, const json_t *schema) {
    buf_puts(w->out, "\"{\" (string \": \" ");
    PGR_TRY(put_or_any(w, schema));
    buf_puts(w->out, " (\", \" string \": \" ");
    PGR_TRY(put_or_any(w, schema));
    buf_puts(w->out, ")*)? \"}\"");
    return PGR_OK;
}

pgr_status schema_put_object(schema_writing *w, const json_t *s) {
    json_t *properties = json_object_get(s, "properties");
    const json_t *more = json_object_get(s, "additionalProperties");
    if (properties && !json_is_object(properties)) return schema_wrong(w, "properties", "an object of schemas");
    if (more && !json_is_boolean(more) && !json_is_object(more))
        return schema_wrong(w, "additionalProperties", "true, false or a schema");
    PGR_TRY(check_required(w, json_object_get(s, "required"), properties));
    if (json_object_size(properties) > 0) {
        buf_puts(w->out, "\"{\" ");
        PGR_TRY(put_pairs(w, s, json_object_iter(properties), false));
        buf_puts(w->out, " \"}\"");
        return PGR_OK;
    }
    if (json_is_false(more)) {
        buf_puts(w->out, "\"{}\"");
        return PGR_OK;
    }
    schema_place before = schema_place_of(w);
    pgr_status put = put_named(w, more);
    if (schema_take_back(w, &put, before)) buf_puts(w->out, "\"{}\"");
    return put;
}

/* ---- by its name ---- */

pgr_status schema_put_type(schema_writing *w, const json_t *schema, const char *type) {
    static const struct {
        const char *name;
        pgr_status (*put)(schema_writing *, const json_t *);
    } types[] = {{"object", schema_put_object},
                 {"array", schema_put_array},
                 {"string", put_string},
                 {"integer", put_integer},
                 {"number", put_number}};
    for (size_t i = 0; type && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, type) == 0) return types[i].put(w, schema);
    if (type && strcmp(type, "boolean") == 0)
        buf_puts(w->out, "(\"true\" | \"false\")");
    else if (type && strcmp(type, "null") == 0)
        buf_puts(w->out, "\"null\"");
    else
        return schema_wrong(w, "type", "object, array, string, integer, number, boolean or null");
    return PGR_OK;
}
