/* schema.c - a schema is written as one nested expression: references are put in place, as grammars without recursion
 * (infer/grammar.h) have to. A schema that holds itself is written out to a depth; below it what may be missing is: an
 * optional property, the items of a list, one of several alternatives. */
#include "serve/schema.h"

#include <string.h>

#include "base/text.h"

enum {
    LEVELS_MOST = 40,        /* of schemas in schemas */
    SCHEMAS_MOST = 1 << 16,  /* that are written, those that are taken back counted */
    BYTES_MOST = 1 << 20,    /* of the grammar */
    PROPERTIES_MOST = 4096,  /* of an object: each is looked for among the required ones */
    BOUND_MOST = 1000000000, /* of a whole number */
    RANGE_MOST = 1000,       /* whole numbers between minimum and maximum */
    DIGITS_MOST = 15,        /* of a whole number without them */
};

typedef struct writing {
    const json_t *root; /* for $ref */
    const char *at;
    buf *out;
    int level;
    long n_written;                    /* schemas */
    const json_t *within[LEVELS_MOST]; /* (level) schemas that are being written, from the outermost */
    pgr_error *err;
} writing;

/* Inside only: here the schema would hold itself once more than SCHEMA_SELF times. */
static const pgr_status TOO_DEEP = PGR_E_LIMIT;

/* How far the writing was, to take back what turned out too deep. */
typedef struct place {
    size_t n;
    int level;
} place;

static place place_of(const writing *w) {
    return (place){w->out->n, w->level};
}

static bool take_back(writing *w, pgr_status *s, place to) {
    if (*s != TOO_DEEP) return false;
    if (w->out->data) w->out->data[to.n] = '\0';
    w->out->n = to.n;
    w->level = to.level;
    *s = PGR_OK;
    return true;
}

static pgr_status put_schema(writing *w, const json_t *schema);

/* ---- the grammar's small parts ---- */

static const char RULES[] = "\nstring ::= \"\\\"\" char* \"\\\"\"\n"
                            "char ::= [^\"\\\\\\x00-\\x1F\\x7F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4})\n"
                            "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,14})\n"
                            "number ::= integer (\".\" [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?\n"
                            "scalar ::= string | number | \"true\" | \"false\" | \"null\"\n"
                            "date ::= [0-9]{4} \"-\" (\"0\" [1-9] | \"1\" [0-2]) \"-\" (\"0\" [1-9] | [12] [0-9] | "
                            "\"3\" [01])\n"
                            "time ::= ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9] \":\" [0-5] [0-9] \"Z\"\n"
                            "uuid ::= hex{8} \"-\" hex{4} \"-\" hex{4} \"-\" hex{4} \"-\" hex{12}\n"
                            "hex ::= [0-9a-f]\n";

/* The text between quotes of a grammar. */
static void put_text(buf *out, const char *s, size_t n) {
    buf_putc(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            buf_printf(out, "\\x%02X", c);
        else
            buf_putc(out, (char)c);
    }
    buf_putc(out, '"');
}

/* A value itself, as it is written. */
static void put_value(buf *out, const json_t *v) {
    buf text = {0};
    json_put(&text, v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_PRESERVE_ORDER);
    put_text(out, text.data ? text.data : "", text.n);
    out->failed |= text.failed;
    buf_free(&text);
}

static pgr_status unsupported(const writing *w, const char *keyword, const char *why) {
    return fail(w->err, PGR_E_UNSUPPORTED, "%s: %s: %s", w->at, keyword, why);
}

static pgr_status wrong(const writing *w, const char *keyword, const char *expected) {
    return fail(w->err, PGR_E_FORMAT, "%s: %s: expected %s", w->at, keyword, expected);
}

/* A count; `without` where the keyword is not there. */
static pgr_status read_count(const writing *w, const json_t *s, const char *keyword, long without, long *out) {
    const json_t *v = json_object_get(s, keyword);
    *out = without;
    if (!v) return PGR_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 100000)
        return wrong(w, keyword, "a whole number from 0 to 100000");
    *out = (long)json_integer_value(v);
    return PGR_OK;
}

/* {lo,hi} of a repeat; hi -1: no end. */
static void put_times(buf *out, long lo, long hi) {
    if (hi < 0)
        buf_printf(out, "{%ld,}", lo);
    else
        buf_printf(out, "{%ld,%ld}", lo, hi);
}

/* ---- keywords ---- */

/* Every keyword that a schema may have: those we know, by the kinds of values that they say something about, and those
 * that say nothing about values. */
static const char *const KNOWN[] = {"type",
                                    "enum",
                                    "const",
                                    "anyOf",
                                    "oneOf",
                                    "allOf",
                                    "$ref",
                                    "properties",
                                    "required",
                                    "additionalProperties",
                                    "items",
                                    "prefixItems",
                                    "minItems",
                                    "maxItems",
                                    "minLength",
                                    "maxLength",
                                    "format",
                                    "minimum",
                                    "maximum",
                                    "exclusiveMinimum",
                                    "exclusiveMaximum",
                                    "title",
                                    "description",
                                    "default",
                                    "examples",
                                    "$schema",
                                    "$id",
                                    "$comment",
                                    "$defs",
                                    "definitions",
                                    "deprecated",
                                    "readOnly",
                                    "writeOnly",
                                    "strict",
                                    "discriminator",
                                    NULL};

static pgr_status check_keywords(const writing *w, const json_t *schema) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, key, value) {
        size_t i = 0;
        while (KNOWN[i] && strcmp(KNOWN[i], key) != 0) i++;
        if (!KNOWN[i]) return unsupported(w, key, "this keyword of JSON schemas is not supported");
    }
    return PGR_OK;
}

static pgr_status put_alternatives(writing *w, const json_t *list, const char *keyword,
                                   pgr_status (*put)(writing *, const json_t *)) {
    if (!json_is_array(list) || json_array_size(list) == 0) return wrong(w, keyword, "a list with something in it");
    size_t n = 0;
    buf_puts(w->out, "(");
    for (size_t i = 0; i < json_array_size(list); i++) {
        place before = place_of(w);
        if (n > 0) buf_puts(w->out, " | ");
        pgr_status s = put(w, json_array_get(list, i));
        n += s == PGR_OK;
        if (s != PGR_OK && !take_back(w, &s, before)) return s;
    }
    buf_puts(w->out, ")");
    return n > 0 ? PGR_OK : TOO_DEEP;
}

static pgr_status put_constant(writing *w, const json_t *v) {
    put_value(w->out, v);
    return PGR_OK;
}

/* "#", "#/$defs/name", "#/definitions/name" */
static pgr_status put_reference(writing *w, const json_t *ref) {
    static const char *const places[] = {"$defs", "definitions"};
    const char *text = json_string_value(ref);
    if (text && strcmp(text, "#") == 0) return put_schema(w, w->root);
    for (size_t i = 0; text && i < 2; i++) {
        size_t n = strlen(places[i]);
        if (strncmp(text, "#/", 2) != 0 || strncmp(text + 2, places[i], n) != 0 || text[2 + n] != '/') continue;
        const json_t *to = json_object_get(json_object_get(w->root, places[i]), text + 3 + n);
        if (to) return put_schema(w, to);
    }
    return wrong(w, "$ref", "the name of a schema in $defs or definitions");
}

/* ---- strings and numbers ---- */

static pgr_status put_string(writing *w, const json_t *s) {
    const json_t *format = json_object_get(s, "format");
    long lo, hi;
    PGR_TRY(read_count(w, s, "minLength", 0, &lo));
    PGR_TRY(read_count(w, s, "maxLength", -1, &hi));
    if (hi >= 0 && lo > hi) return wrong(w, "minLength", "no more than maxLength");
    if (!format) {
        if (lo == 0 && hi < 0) {
            buf_puts(w->out, "string");
        } else {
            buf_puts(w->out, "\"\\\"\" char");
            put_times(w->out, lo, hi);
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
    return unsupported(w, "format", "expected date, time, date-time or uuid");
}

/* A bound that a keyword or its exclusive form gives. */
static pgr_status read_bound(const writing *w, const json_t *s, const char *keyword, const char *exclusive, int step,
                             bool *there, json_int_t *out) {
    const json_t *v = json_object_get(s, keyword), *x = json_object_get(s, exclusive);
    *there = v || x;
    if (!*there) return PGR_OK;
    if ((v && !json_is_integer(v)) || (x && !json_is_integer(x)) || (v && x))
        return unsupported(w, v ? keyword : exclusive, "expected a whole number, one bound on each side");
    json_int_t bound = json_integer_value(v ? v : x);
    if (bound < -BOUND_MOST || bound > BOUND_MOST)
        return unsupported(w, v ? keyword : exclusive, "expected 1000000000 at most, either way");
    *out = v ? bound : bound + step;
    return PGR_OK;
}

static pgr_status put_integer(writing *w, const json_t *s) {
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
        return unsupported(w, has_lo ? "minimum" : "maximum",
                           "expected both bounds, in order and at most 1000 apart, or a minimum of 0 or 1");
    buf_puts(w->out, "(");
    for (json_int_t i = lo; i <= hi; i++) buf_printf(w->out, i > lo ? " | \"%lld\"" : "\"%lld\"", (long long)i);
    buf_puts(w->out, ")");
    return PGR_OK;
}

static pgr_status put_number(writing *w, const json_t *s) {
    static const char *const bounds[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
    for (size_t i = 0; i < 4; i++)
        if (json_object_get(s, bounds[i])) return unsupported(w, bounds[i], "only of integers");
    buf_puts(w->out, "number");
    return PGR_OK;
}

/* ---- lists and objects ---- */

/* A value of any kind, so many levels deep. */
static void put_any(buf *out, int depth) {
    if (depth == 0) {
        buf_puts(out, "scalar");
        return;
    }
    buf_puts(out, "(scalar | \"[\" (\"]\" | ");
    put_any(out, depth - 1);
    buf_puts(out, " (\", \" ");
    put_any(out, depth - 1);
    buf_puts(out, ")* \"]\") | \"{\" (\"}\" | string \": \" ");
    put_any(out, depth - 1);
    buf_puts(out, " (\", \" string \": \" ");
    put_any(out, depth - 1);
    buf_puts(out, ")* \"}\"))");
}

static pgr_status put_or_any(writing *w, const json_t *schema) {
    if (schema && !json_is_true(schema)) return put_schema(w, schema);
    put_any(w->out, 1);
    return PGR_OK;
}

/* lo to hi of them; hi -1: no end. */
static pgr_status put_items(writing *w, const json_t *items, long lo, long hi) {
    buf_puts(w->out, "\"[\" (");
    PGR_TRY(put_or_any(w, items));
    if (hi != 1) {
        buf_puts(w->out, " (\", \" ");
        PGR_TRY(put_or_any(w, items));
        buf_puts(w->out, ")");
        put_times(w->out, lo > 0 ? lo - 1 : 0, hi > 0 ? hi - 1 : hi);
    }
    buf_puts(w->out, lo > 0 ? ") \"]\"" : ")? \"]\"");
    return PGR_OK;
}

static pgr_status put_array(writing *w, const json_t *schema) {
    const json_t *items = json_object_get(schema, "items"), *first = json_object_get(schema, "prefixItems");
    size_t n_first = json_array_size(first);
    long lo, hi;
    PGR_TRY(read_count(w, schema, "minItems", 0, &lo));
    PGR_TRY(read_count(w, schema, "maxItems", first ? (long)n_first : -1, &hi));
    if (first) { /* exactly these */
        if (!json_is_array(first) || n_first == 0) return wrong(w, "prefixItems", "a list with something in it");
        if (lo > (long)n_first || hi < (long)n_first || (items && !json_is_false(items)))
            return unsupported(w, "prefixItems", "expected a list of exactly these items");
        buf_puts(w->out, "\"[\"");
        for (size_t i = 0; i < n_first; i++) {
            buf_puts(w->out, i ? " \", \" " : " ");
            PGR_TRY(put_schema(w, json_array_get(first, i)));
        }
        buf_puts(w->out, " \"]\"");
        return PGR_OK;
    }
    if (hi >= 0 && lo > hi) return wrong(w, "minItems", "no more than maxItems");
    if (hi == 0) {
        buf_puts(w->out, "\"[]\"");
        return PGR_OK;
    }
    place before = place_of(w);
    pgr_status s = put_items(w, items, lo, hi);
    if (lo == 0 && take_back(w, &s, before)) buf_puts(w->out, "\"[]\"");
    return s;
}

static bool requires(const json_t *required, const char *key) {
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (name && strcmp(name, key) == 0) return true;
    }
    return false;
}

static pgr_status put_pair(writing *w, const char *key, const json_t *schema, bool comma) {
    buf text = {0};
    if (comma) buf_puts(&text, ", ");
    json_put_string(&text, key, strlen(key));
    buf_puts(&text, ": ");
    put_text(w->out, text.data ? text.data : "", text.n);
    w->out->failed |= text.failed;
    buf_free(&text);
    buf_puts(w->out, " ");
    return put_or_any(w, schema);
}

/* The pairs from the iterator on, the first one without a comma before it unless others stand before. */
static pgr_status put_pairs(writing *w, const json_t *s, void *at, bool others) {
    json_t *properties = json_object_get(s, "properties");
    const json_t *required = json_object_get(s, "required");
    if (!at) {
        buf_puts(w->out, "\"\"");
        return PGR_OK;
    }
    const char *key = json_object_iter_key(at);
    const json_t *schema = json_object_iter_value(at);
    void *after = json_object_iter_next(properties, at);
    if (w->out->n > BYTES_MOST) return unsupported(w, "properties", "the schema's grammar is too large");
    if (requires(required, key)) {
        PGR_TRY(put_pair(w, key, schema, others));
        buf_puts(w->out, " ");
        return put_pairs(w, s, after, true);
    }
    place before = place_of(w);
    buf_puts(w->out, "(");
    pgr_status put = put_pair(w, key, schema, others);
    if (take_back(w, &put, before)) return put_pairs(w, s, after, others);
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

static pgr_status check_required(const writing *w, const json_t *required, const json_t *properties) {
    if (required && !json_is_array(required)) return wrong(w, "required", "a list of names");
    if (json_object_size(properties) > PROPERTIES_MOST)
        return unsupported(w, "properties", "the schema's grammar is too large");
    if (json_array_size(required) > json_object_size(properties))
        return wrong(w, "required", "names out of properties, each once");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (!name || !json_object_get(properties, name)) return wrong(w, "required", "names out of properties");
    }
    return PGR_OK;
}

/* Any names, each with a value by one schema. */
static pgr_status put_named(writing *w, const json_t *schema) {
    buf_puts(w->out, "\"{\" (string \": \" ");
    PGR_TRY(put_or_any(w, schema));
    buf_puts(w->out, " (\", \" string \": \" ");
    PGR_TRY(put_or_any(w, schema));
    buf_puts(w->out, ")*)? \"}\"");
    return PGR_OK;
}

static pgr_status put_object(writing *w, const json_t *s) {
    json_t *properties = json_object_get(s, "properties");
    const json_t *more = json_object_get(s, "additionalProperties");
    if (properties && !json_is_object(properties)) return wrong(w, "properties", "an object of schemas");
    if (more && !json_is_boolean(more) && !json_is_object(more))
        return wrong(w, "additionalProperties", "true, false or a schema");
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
    place before = place_of(w);
    pgr_status put = put_named(w, more);
    if (take_back(w, &put, before)) buf_puts(w->out, "\"{}\"");
    return put;
}

/* ---- a schema ---- */

static pgr_status put_type(writing *w, const json_t *schema, const char *type) {
    static const struct {
        const char *name;
        pgr_status (*put)(writing *, const json_t *);
    } types[] = {{"object", put_object},
                 {"array", put_array},
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
        return wrong(w, "type", "object, array, string, integer, number, boolean or null");
    return PGR_OK;
}

static pgr_status put_types(writing *w, const json_t *schema, const json_t *type) {
    if (json_is_string(type)) return put_type(w, schema, json_string_value(type));
    if (!json_is_array(type) || json_array_size(type) == 0) return wrong(w, "type", "a name or a list of names");
    size_t n = 0;
    buf_puts(w->out, "(");
    for (size_t i = 0; i < json_array_size(type); i++) {
        place before = place_of(w);
        if (n > 0) buf_puts(w->out, " | ");
        pgr_status s = put_type(w, schema, json_string_value(json_array_get(type, i)));
        n += s == PGR_OK;
        if (s != PGR_OK && !take_back(w, &s, before)) return s;
    }
    buf_puts(w->out, ")");
    return n > 0 ? PGR_OK : TOO_DEEP;
}

static pgr_status put_known(writing *w, const json_t *s) {
    static const char *const either[] = {"anyOf", "oneOf"};
    const json_t *v;
    if ((v = json_object_get(s, "$ref"))) return put_reference(w, v);
    if ((v = json_object_get(s, "const"))) return put_constant(w, v);
    if ((v = json_object_get(s, "enum"))) return put_alternatives(w, v, "enum", put_constant);
    for (size_t i = 0; i < 2; i++)
        if ((v = json_object_get(s, either[i]))) return put_alternatives(w, v, either[i], put_schema);
    if ((v = json_object_get(s, "allOf"))) {
        if (json_array_size(v) != 1) return unsupported(w, "allOf", "expected one schema in it");
        return put_schema(w, json_array_get(v, 0));
    }
    if ((v = json_object_get(s, "type"))) return put_types(w, s, v);
    if (json_object_get(s, "properties")) return put_object(w, s);
    if (json_object_get(s, "items") || json_object_get(s, "prefixItems")) return put_array(w, s);
    put_any(w->out, 1);
    return PGR_OK;
}

static pgr_status put_schema(writing *w, const json_t *schema) {
    if (json_is_true(schema)) {
        put_any(w->out, 1);
        return PGR_OK;
    }
    if (!json_is_object(schema))
        return fail(w->err, PGR_E_FORMAT, "%s: found %s, expected a schema", w->at, json_kind(schema));
    int own = 0;
    for (int i = 0; i < w->level; i++) own += w->within[i] == schema;
    if (own > SCHEMA_SELF) return TOO_DEEP;
    if (w->level == LEVELS_MOST) return unsupported(w, "$ref", "the schema is nested too deep");
    if (w->out->n > BYTES_MOST || ++w->n_written > SCHEMAS_MOST)
        return unsupported(w, "$ref", "the schema's grammar is too large");
    PGR_TRY(check_keywords(w, schema));
    w->within[w->level++] = schema;
    buf_puts(w->out, "(");
    PGR_TRY(put_known(w, schema));
    buf_puts(w->out, ")");
    w->level--;
    return PGR_OK;
}

pgr_status schema_grammar(const json_t *schema, const char *at, buf *out, pgr_error *err) {
    writing w = {.root = schema, .at = at, .out = out, .err = err};
    buf_puts(out, "root ::= ");
    pgr_status s = put_schema(&w, schema);
    if (s == TOO_DEEP)
        return unsupported(&w, "$ref",
                           "this schema holds itself and never ends, expected an optional property, a list or "
                           "an alternative that ends it");
    PGR_TRY(s);
    buf_puts(out, RULES);
    return out->failed ? fail_mem(err) : PGR_OK;
}

void schema_any_object(buf *out) {
    buf_puts(out, "root ::= \"{\" (\"}\" | string \": \" ");
    put_any(out, SCHEMA_DEPTH);
    buf_puts(out, " (\", \" string \": \" ");
    put_any(out, SCHEMA_DEPTH);
    buf_puts(out, ")* \"}\")");
    buf_puts(out, RULES);
}

pgr_status schema_choice(const json_t *choices, const char *at, buf *out, pgr_error *err) {
    if (!json_is_array(choices) || json_array_size(choices) == 0)
        return fail(err, PGR_E_FORMAT, "%s: expected a list of texts", at);
    buf_puts(out, "root ::= ");
    for (size_t i = 0; i < json_array_size(choices); i++) {
        const json_t *v = json_array_get(choices, i);
        if (!json_is_string(v) || json_string_length(v) == 0)
            return fail(err, PGR_E_FORMAT, "%s[%zu]: found %s, expected a text", at, i, json_kind(v));
        if (i) buf_puts(out, " | ");
        put_text(out, json_string_value(v), json_string_length(v));
    }
    buf_puts(out, "\n");
    return out->failed ? fail_mem(err) : PGR_OK;
}
