/* gen_format.c - which texts may be written: response_format (OpenAI), structured_outputs (vLLM) become a grammar. */
#include <string.h>

#include "serve/body.h"
#include "serve/gen.h"
#include "serve/regex.h"
#include "serve/schema.h"

/* The grammar, kept; what was wrong with what it is made of is answered. */
static bool keep(gen *g, call *c, buf *text, const char *param, pgr_status made, const pgr_error *err) {
    if (made != PGR_OK && made != PGR_E_MEM)
        call_refuse(c, param, "%s", err->message);
    else if (made == PGR_OK && !text->failed)
        g->r.grammar = arena_strndup(&g->arena, text->data, text->n);
    if (made == PGR_E_MEM || (made == PGR_OK && !g->r.grammar)) call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
    g->r.n_grammar = text->n;
    g->r.grammar_name = param;
    buf_free(text);
    return g->r.grammar != NULL;
}

static bool by_schema(gen *g, call *c, const json_t *schema, const char *param) {
    buf text = {0};
    pgr_error err = {0};
    pgr_status made = schema_grammar(schema, param, &text, &err);
    return keep(g, c, &text, param, made, &err);
}

static bool by_any_object(gen *g, call *c, const char *param) {
    buf text = {0};
    schema_any_object(&text);
    return keep(g, c, &text, param, PGR_OK, NULL);
}

static bool read_response_format(gen *g, call *c, const json_t *format) {
    static const char PARAM[] = "response_format";
    const char *type = json_string_value(json_object_get(format, "type"));
    const json_t *schema = body_get(format, "schema"), *named = body_get(format, "json_schema");
    if (type && strcmp(type, "text") == 0) return true;
    if (type && strcmp(type, "json_object") == 0)
        return schema ? by_schema(g, c, schema, "response_format.schema") : by_any_object(g, c, PARAM);
    if (type && strcmp(type, "json_schema") == 0) {
        schema = json_object_get(named, "schema");
        if (schema) return by_schema(g, c, schema, "response_format.json_schema.schema");
        call_refuse(c, "response_format.json_schema", "response_format.json_schema: expected an object with a schema");
        return false;
    }
    call_refuse(c, PARAM, "response_format: expected the type text, json_object or json_schema");
    return false;
}

/* ---- vLLM ---- */

static bool by_json(gen *g, call *c, const json_t *v, const char *param) {
    json_t *schema = NULL;
    pgr_error err = {0};
    if (!json_is_string(v)) return by_schema(g, c, v, param);
    pgr_status s =
        json_parse(json_string_value(v), json_string_length(v), param, 1, &schema, &err); /* the same as text */
    if (s == PGR_E_MEM) call_fail_error(c, &err);
    if (s != PGR_OK && s != PGR_E_MEM) call_refuse(c, param, "%s", err.message);
    bool read = s == PGR_OK && by_schema(g, c, schema, param);
    json_decref(schema);
    return read;
}

static bool by_choice(gen *g, call *c, const json_t *v, const char *param) {
    buf text = {0};
    pgr_error err = {0};
    pgr_status made = schema_choice(v, param, &text, &err);
    return keep(g, c, &text, param, made, &err);
}

static bool is_text(call *c, const json_t *v, const char *param) {
    if (json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v)) return true;
    call_refuse(c, param, "%s: found %s, expected a text without NUL", param, json_kind(v));
    return false;
}

static bool by_regex(gen *g, call *c, const json_t *v, const char *param) {
    buf text = {0};
    pgr_error err = {0};
    if (!is_text(c, v, param)) return false;
    pgr_status made = regex_grammar(json_string_value(v), json_string_length(v), param, &text, &err);
    return keep(g, c, &text, param, made, &err);
}

static bool by_grammar(gen *g, call *c, const json_t *v, const char *param) {
    if (!is_text(c, v, param)) return false;
    g->r.grammar = json_string_value(v); /* the body's: the call keeps it until the task has ended */
    g->r.n_grammar = json_string_length(v);
    g->r.grammar_name = param;
    return true;
}

static bool by_flag(gen *g, call *c, const json_t *v, const char *param) {
    if (json_is_boolean(v)) return json_is_false(v) || by_any_object(g, c, param);
    call_refuse(c, param, "%s: found %s, expected true or false", param, json_kind(v));
    return false;
}

/* In structured_outputs; behind `guided_` in the body itself, as older clients send them. */
static const struct {
    const char *name, *in, *guided;
    bool (*read)(gen *g, call *c, const json_t *v, const char *param);
} KINDS[] = {
    {"json", "structured_outputs.json", "guided_json", by_json},
    {"choice", "structured_outputs.choice", "guided_choice", by_choice},
    {"regex", "structured_outputs.regex", "guided_regex", by_regex},
    {"grammar", "structured_outputs.grammar", "guided_grammar", by_grammar},
    {"json_object", "structured_outputs.json_object", "guided_json_object", by_flag},
};

bool gen_format(gen *g, call *c, const json_t *body) {
    const json_t *format = body_get(body, "response_format"), *o = body_get(body, "structured_outputs"), *v;
    size_t n = format != NULL;
    if (o && !json_is_object(o)) {
        call_refuse(c, "structured_outputs", "structured_outputs: expected an object");
        return false;
    }
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        for (int guided = 0; guided < 2; guided++) {
            const char *param = guided ? KINDS[i].guided : KINDS[i].in;
            v = guided ? body_get(body, param) : body_get(o, KINDS[i].name);
            if (!v || json_is_false(v)) continue;
            if (n++ > 0) {
                call_refuse(c, param, "%s: found several formats, expected one", param);
                return false;
            }
            if (!KINDS[i].read(g, c, v, param)) return false;
        }
    if (format) return read_response_format(g, c, format);
    if (n > 0 || !o) return true;
    call_refuse(c, "structured_outputs", "structured_outputs: expected json, json_object, choice, regex or grammar");
    return false;
}
