/* schema.c - a schema is written as one nested expression: references are put in place, as grammars without recursion
 * (infer/grammar.h) have to. A schema that holds itself is written out to a depth; below it what may be missing is: an
 * optional property, the items of a list, one of several alternatives. */
#include "serve/schema.h"

#include <string.h>

#include "serve/schema_writing.h"

enum { SCHEMAS_MOST = 1 << 16 }; /* that are written, those that are taken back counted */

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

static pgr_status check_keywords(const schema_writing *w, const json_t *schema) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, key, value) {
        size_t i = 0;
        while (KNOWN[i] && strcmp(KNOWN[i], key) != 0) i++;
        if (!KNOWN[i]) return schema_unsupported(w, key, "this keyword of JSON schemas is not supported");
    }
    return PGR_OK;
}

static pgr_status put_alternatives(schema_writing *w, const json_t *list, const char *keyword,
                                   pgr_status (*put)(schema_writing *, const json_t *)) {
    if (!json_is_array(list) || json_array_size(list) == 0)
        return schema_wrong(w, keyword, "a list with something in it");
    size_t n = 0;
    buf_puts(w->out, "(");
    for (size_t i = 0; i < json_array_size(list); i++) {
        schema_place before = schema_place_of(w);
        if (n > 0) buf_puts(w->out, " | ");
        pgr_status s = put(w, json_array_get(list, i));
        n += s == PGR_OK;
        if (s != PGR_OK && !schema_take_back(w, &s, before)) return s;
    }
    buf_puts(w->out, ")");
    return n > 0 ? PGR_OK : SCHEMA_TOO_DEEP;
}

static pgr_status put_constant(schema_writing *w, const json_t *v) {
    schema_put_value(w->out, v);
    return PGR_OK;
}

/* "#", "#/$defs/name", "#/definitions/name" */
static pgr_status put_reference(schema_writing *w, const json_t *ref) {
    static const char *const places[] = {"$defs", "definitions"};
    const char *text = json_string_value(ref);
    if (text && strcmp(text, "#") == 0) return schema_put(w, w->root);
    for (size_t i = 0; text && i < 2; i++) {
        size_t n = strlen(places[i]);
        if (strncmp(text, "#/", 2) != 0 || strncmp(text + 2, places[i], n) != 0 || text[2 + n] != '/') continue;
        const json_t *to = json_object_get(json_object_get(w->root, places[i]), text + 3 + n);
        if (to) return schema_put(w, to);
    }
    return schema_wrong(w, "$ref", "the name of a schema in $defs or definitions");
}

/* ---- a schema ---- */

static pgr_status put_types(schema_writing *w, const json_t *schema, const json_t *type) {
    if (json_is_string(type)) return schema_put_type(w, schema, json_string_value(type));
    if (!json_is_array(type) || json_array_size(type) == 0) return schema_wrong(w, "type", "a name or a list of names");
    size_t n = 0;
    buf_puts(w->out, "(");
    for (size_t i = 0; i < json_array_size(type); i++) {
        schema_place before = schema_place_of(w);
        if (n > 0) buf_puts(w->out, " | ");
        pgr_status s = schema_put_type(w, schema, json_string_value(json_array_get(type, i)));
        n += s == PGR_OK;
        if (s != PGR_OK && !schema_take_back(w, &s, before)) return s;
    }
    buf_puts(w->out, ")");
    return n > 0 ? PGR_OK : SCHEMA_TOO_DEEP;
}

static pgr_status put_known(schema_writing *w, const json_t *s) {
    static const char *const either[] = {"anyOf", "oneOf"};
    const json_t *v;
    if ((v = json_object_get(s, "$ref"))) return put_reference(w, v);
    if ((v = json_object_get(s, "const"))) return put_constant(w, v);
    if ((v = json_object_get(s, "enum"))) return put_alternatives(w, v, "enum", put_constant);
    for (size_t i = 0; i < 2; i++)
        if ((v = json_object_get(s, either[i]))) return put_alternatives(w, v, either[i], schema_put);
    if ((v = json_object_get(s, "allOf"))) {
        if (json_array_size(v) != 1) return schema_unsupported(w, "allOf", "expected one schema in it");
        return schema_put(w, json_array_get(v, 0));
    }
    if ((v = json_object_get(s, "type"))) return put_types(w, s, v);
    if (json_object_get(s, "properties")) return schema_put_object(w, s);
    if (json_object_get(s, "items") || json_object_get(s, "prefixItems")) return schema_put_array(w, s);
    schema_put_any(w->out, 1);
    return PGR_OK;
}

pgr_status schema_put(schema_writing *w, const json_t *schema) {
    if (json_is_true(schema)) {
        schema_put_any(w->out, 1);
        return PGR_OK;
    }
    if (!json_is_object(schema))
        return fail(w->err, PGR_E_FORMAT, "%s: found %s, expected a schema", w->at, json_kind(schema));
    int own = 0;
    for (int i = 0; i < w->level; i++) own += w->within[i] == schema;
    if (own > SCHEMA_SELF) return SCHEMA_TOO_DEEP;
    if (w->level == SCHEMA_LEVELS_MOST) return schema_unsupported(w, "$ref", "the schema is nested too deep");
    if (w->out->n > SCHEMA_BYTES_MOST || ++w->n_written > SCHEMAS_MOST)
        return schema_unsupported(w, "$ref", "the schema's grammar is too large");
    PGR_TRY(check_keywords(w, schema));
    w->within[w->level++] = schema;
    buf_puts(w->out, "(");
    PGR_TRY(put_known(w, schema));
    buf_puts(w->out, ")");
    w->level--;
    return PGR_OK;
}

pgr_status schema_grammar(const json_t *schema, const char *at, buf *out, pgr_error *err) {
    schema_writing w = {.root = schema, .at = at, .out = out, .err = err};
    buf_puts(out, "root ::= ");
    pgr_status s = schema_put(&w, schema);
    if (s == SCHEMA_TOO_DEEP)
        return schema_unsupported(&w, "$ref",
                                  "this schema holds itself and never ends, expected an optional property, a list or "
                                  "an alternative that ends it");
    PGR_TRY(s);
    buf_puts(out, SCHEMA_RULES);
    return out->failed ? fail_mem(err) : PGR_OK;
}

void schema_any_object(buf *out) {
    buf_puts(out, "root ::= \"{\" (\"}\" | string \": \" ");
    schema_put_any(out, SCHEMA_DEPTH);
    buf_puts(out, " (\", \" string \": \" ");
    schema_put_any(out, SCHEMA_DEPTH);
    buf_puts(out, ")* \"}\")");
    buf_puts(out, SCHEMA_RULES);
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
        schema_put_text(out, json_string_value(v), json_string_length(v));
    }
    buf_puts(out, "\n");
    return out->failed ? fail_mem(err) : PGR_OK;
}
