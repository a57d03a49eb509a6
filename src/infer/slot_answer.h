/* slot_answer.h - what a server answers to a plan of slots (slot_plan.h), read and checked (private to src/infer).
 * Nothing of it is believed: counts, indices, names and numbers are those that were asked for, or it is an error that
 * names the member. */
#ifndef PGR_INFER_SLOT_ANSWER_H
#define PGR_INFER_SLOT_ANSWER_H

#include "base/json.h"
#include "infer/slot_plan.h"

typedef struct slot_answer {
    double *values; /* (plan->t.choices.n) log p of each token of each choice, given those before; NAN: not listed */
    double *least;  /* (plan->t.choices.n) of those that were listed in its place; an unlisted one has no more */
    bool late;      /* its deadline came first (our own servers say so): there is nothing to be settled */
    size_t prompt_tokens, cached_tokens, completion_tokens; /* of all prompts together; 0: not counted */
} slot_answer;

/* named: the tokens were asked for by number, and all of them must be there, and no others but what was drawn. Else the
 * likeliest tokens are. origin: the address, for messages. What the answer holds lives as long as a. */
pgr_status slot_answer_read(const slot_plan *plan, bool named, const char *text, size_t n, const char *origin, arena *a,
                            slot_answer *out, pgr_error *err);

/* The distributions. *out: (plan->t.n_slot), the caller's (slot_readings_free). Choices that were not listed have -inf
 * where all of them together have a thousandth of what the others have at most; else it is PGR_E_UNSUPPORTED. */
pgr_status slot_answer_readings(const slot_plan *plan, const slot_answer *got, const char *origin, infer_reading **out,
                                pgr_error *err);
void slot_readings_free(infer_reading *list, size_t n); /* NULL is fine */

#endif
