/* chain_parts.h - inside of the chain parser: the tolerant object reader, rubrics in prose, and what the two forms
 * share. Only src/judge/chain*.c include it. */
#ifndef PGR_JUDGE_CHAIN_PARTS_H
#define PGR_JUDGE_CHAIN_PARTS_H

#include "judge/chain.h"
#include "judge/span.h"

enum { NAME_BYTES = 80, REASON_BYTES = 600, PERSONA_BYTES = 400, VALUE_BYTES = 40 };

/* ---- what both forms do (chain_parts.c) ---- */
double *nan_array(arena *a, size_t n); /* NULL: out of memory */
/* Adds a criterion with every score NaN. NULL: there are CHAIN_MAX_CRITERIA, or out of memory (then *mem). */
chain_criterion *chain_add(chain *c, arena *a, size_t n_response, span name, double weight, span reason, bool *mem);
/* The mean of the distribution that the number at s, a byte of the chain's text, was drawn from; NaN: it is not
 * known. */
double chain_expected_at(const chain *c, const char *s);
/* weight_sum, weights in percent of it, recomputed and expected totals. c->expected comes with those of the totals. */
void chain_weigh(chain *c, size_t n_response);
/* parsed or reason from c->declared; names: what a place is called ("response_1", "A"). */
pgr_status chain_judge_totals(chain *c, size_t n_response, double lo, double hi, const char *(*name)(char *, size_t),
                              arena *a, pgr_error *err);
/* Sets the reason once; later ones do not replace it. */
pgr_status chain_refuse(chain *c, char *reason, pgr_error *err);

/* ---- forms ---- */
pgr_status compact_parse(span text, size_t n_response, arena *a, chain *c, pgr_error *err);
pgr_status full_parse(span text, size_t n_response, arena *a, chain *c, pgr_error *err);

/* Criteria, weights and reasons (chain_rubric.c) and per-criterion scores (chain_rubric_scores.c) of a rubric in prose,
 * added to c. */
pgr_status rubric_criteria(span text, size_t n_response, arena *a, chain *c, pgr_error *err);
pgr_status rubric_scores(span text, size_t n_response, arena *a, chain *c, pgr_error *err);
/* The text with typographic dashes, signs and bullets as ASCII and bold marks gone. */
pgr_status rubric_plain(span text, arena *a, span *out, pgr_error *err);
/* "Response 2", "response_2", "R2" at s: *place from 0, *after behind it. */
bool response_mention(const char *s, const char *end, size_t n_response, size_t *place, const char **after);

/* ---- tolerant objects (chain_object.c) ---- */
typedef enum node_kind { NODE_OBJECT, NODE_ARRAY, NODE_STRING, NODE_RAW } node_kind;

typedef struct node {
    node_kind kind;
    span key;  /* in an object; empty elsewhere */
    span text; /* of a string (escapes undone) or raw value */
    struct node *first, *last, *next;
} node;

/* The object that begins at text.s ('{'). Takes single quotes, bare words, trailing and missing commas, quotes inside
 * strings where they cannot be the end, and objects that are cut off. */
pgr_status object_read(span text, arena *a, node **out, pgr_error *err);
/* Letters and digits compared, case ignored: "Better Response" is betterresponse. */
bool key_is(const node *n, const char *plain);
size_t key_plain(span key, char *out, size_t size);

#endif
