/* regex.h - regular expressions as grammars (infer/grammar.h): the whole text matches. What Python's `re` and Rust's
 * `regex` have in common is read, with ASCII classes: literals, escapes, classes, groups, alternatives, repeats (lazy
 * ones match the same texts). docs/serve.md lists it. */
#ifndef PGR_SERVE_REGEX_H
#define PGR_SERVE_REGEX_H

#include "base/buf.h"
#include "base/status.h"

/* Appends a grammar. at: what the expression is called in messages.
 * errors: PGR_E_UNSUPPORTED (look-around, references back, flags, ...), PGR_E_FORMAT; each names the byte. */
pgr_status regex_grammar(const char *regex, size_t n, const char *at, buf *out, pgr_error *err);

#endif
