/* slot_plan.h - what a server is asked for a prompt's slots: one prompt of tokens for each place where a distribution
 * is needed, and the tokens whose log-probabilities are wanted behind them (private to src/infer). */
#ifndef PGR_INFER_SLOT_PLAN_H
#define PGR_INFER_SLOT_PLAN_H

#include "base/arena.h"
#include "infer/slot_tokens.h"

enum {
    PLAN_IDS = 128,    /* tokens that a request may name: what vLLM takes at most */
    PLAN_POINTS = 256, /* prompts of a request: what our own servers take at most */
};

/* A place behind the prompt up to a slot and the first `depth` tokens of one of its choices. */
typedef struct plan_point {
    size_t slot, choice; /* choice: of all slots' choices; the slot's first one where depth is 0 */
    size_t depth;
} plan_point;

typedef struct slot_plan {
    infer_slot_tokens t;
    plan_point *points; /* (n_point) of the arena: those of a slot together, its depth 0 first */
    size_t n_point;
    int32_t ids[PLAN_IDS]; /* (n_id) every token of every choice, once */
    size_t n_id;
} slot_plan;

/* plan->t is there; points and ids are made of it. where: the server, for messages. */
pgr_status slot_plan_make(slot_plan *plan, const char *where, arena *a, pgr_error *err);
size_t slot_plan_tokens(const slot_plan *plan);        /* of all its prompts together */
void slot_plan_put(const slot_plan *plan, buf *b);     /* the prompts, as JSON */
void slot_plan_put_ids(const slot_plan *plan, buf *b); /* the ids, as JSON */

#endif
