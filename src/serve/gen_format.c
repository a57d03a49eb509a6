/* gen_format.c - which texts may be written: response_format (OpenAI), structured_outputs (vLLM) become a grammar. */
#include <string.h>

#include "serve/body.h"
#include "serve/gen.h"
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

static bool read_structured(gen *g, call *c, const json_t *o) {
    const json_t *v;
    const char *grammar = NULL;
    bool any = false;
    if (!json_is_object(o)) {
        call_refuse(c, "structured_outputs", "structured_outputs: expected an object");
        return false;
    }
    if ((v = body_get(o, "json"))) return by_schema(g, c, v, "structured_outputs.json");
    if ((v = body_get(o, "choice"))) {
        buf text = {0};
        pgr_error err = {0};
        pgr_status made = schema_choice(v, "structured_outputs.choice", &text, &err);
        return keep(g, c, &text, "structured_outputs.choice", made, &err);
    }
    if (!body_text(c, o, "grammar", &grammar) || !body_flag(c, o, "json_object", &any)) return false;
    if (any) return by_any_object(g, c, "structured_outputs.json_object");
    if (grammar) {
        g->r.grammar = grammar; /* the body's: the call keeps it until the task has ended */
        g->r.n_grammar = strlen(grammar);
        g->r.grammar_name = "structured_outputs.grammar";
        return true;
    }
    call_refuse(c, "structured_outputs", "structured_outputs: expected json, json_object, choice or grammar");
    return false;
}

bool gen_format(gen *g, call *c, const json_t *body) {
    const json_t *format = body_get(body, "response_format"), *structured = body_get(body, "structured_outputs");
    if (format && structured) {
        call_refuse(c, "structured_outputs", "structured_outputs: not beside response_format");
        return false;
    }
    if (format) return read_response_format(g, c, format);
    return !structured || read_structured(g, c, structured);
}
