/* schema.h - JSON schemas as grammars: what the engine then writes is valid by the schema. The texts are a part of the
 * valid ones: keys stand in the schema's order, with one space behind ':' and ','; keys beyond `properties` are not
 * written where there are properties. docs/serve.md lists the keywords. */
#ifndef PGR_SERVE_SCHEMA_H
#define PGR_SERVE_SCHEMA_H

#include "base/json.h"

/* A schema that holds itself is written out so many levels deep in itself. */
enum { SCHEMA_SELF = 3 };

/* Appends a grammar (grammar.h) for the schema. at: what it is called in messages.
 * errors: PGR_E_UNSUPPORTED names the keyword, PGR_E_FORMAT what a keyword's value should be. */
pgr_status schema_grammar(const json_t *schema, const char *at, buf *out, pgr_error *err);

/* Any JSON object, objects and lists in it nested up to SCHEMA_DEPTH levels. */
enum { SCHEMA_DEPTH = 3 };
void schema_any_object(buf *out);

/* One of these texts, as it stands. choices: at least one. */
pgr_status schema_choice(const json_t *choices, const char *at, buf *out, pgr_error *err);

#endif
