/* slots.h - frames of the form `slots` (docs/compact.md): two prompts whose slots are read as distributions. The taste
 * prompt shows a user's history as facts in words and ends in a slot over two words for each fact; it depends on no
 * query. The quality prompt shows a query and its responses, each followed by a slot over the digits 1 to 9. What a
 * model is trained on and what it is judged by are made by the same functions, token by token. */
#ifndef PGR_JUDGE_SLOTS_H
#define PGR_JUDGE_SLOTS_H

#include "facts/facts.h"
#include "judge/frame.h"
#include "prototype/people.h"

enum {
    N_TASTE = 2 * N_FACT, /* word 2 f: more of fact f is liked; 2 f + 1: less of it */
    N_DIGIT = 9,
};

const char *taste_word(int word);       /* "long", "short", "lists", "prose"... */
const char *const *taste_choices(void); /* (N_TASTE) the same behind a space, as slots have them */

/* A reading of a turned history as one of the history: every word gets its opposite's probability. In the mean of both
 * readings nothing is left of what the model says under any history. */
void taste_turn(double p[N_TASTE]);

/* ---- what is known about texts --------------------------------------------------------------------------------- */

/* Levels of one text's facts against another's, -3..3 (facts_level), in order of the facts. levels(b, a) =
 * -levels(a, b).                                                                              query: the last turn */
void slots_levels(const char *query, const char *a, const char *b, double out[N_FACT]);
/* Of the chosen text of a pair against the rejected one. */
void slots_pair_levels(const preference_pair *p, double out[N_FACT]);
/* Of every response of a request against the mean of the others. out: (n_response, N_FACT) */
pgr_status slots_response_levels(const pgr_request *r, double *out, pgr_error *err);

/* The teacher of a taste slot: the levels of the n pairs are summed fact by fact; a positive sum is for the fact's word
 * of more, a negative one for that of less; all of them together 1. Where all sums are 0: every word alike. */
void slots_target(const preference_pair *history, const size_t *pairs, size_t n, double out[N_TASTE]);

/* How far n pairs bear each other out: of how many the summed levels of the others (of those with another query) favour
 * the chosen text, less of how many the rejected one; at least 0. No model is asked. */
pgr_status slots_lead(const preference_pair *history, const size_t *pairs, size_t n, size_t *out, pgr_error *err);

/* Similar people where no model of their votes is there (people_has_views): how many of them chose this very text, how
 * many rejected it (case, blanks and final stops apart), and what that says of one who is like them: share = (A + p) /
 * (A + B + 1), A the sum of the similarities (at least 0) of those who chose it, B of those who rejected it, p = (chose
 * + 1) / (chose + rejected + 2). */
void slots_count_people(const neighbour *list, size_t n, const char *text, people_view *out);
int slots_people_percent(const people_view *p); /* the share as prompts and reasons say it */

/* Which pairs a taste prompt shows: `want` (at most n_history) of the request's history, in the order in which they
 * happened: drawn at random, one of a conversation (the same first turn) before a second one of it. The order of the
 * draws is a function of (seed, history): a smaller `want` has a part of a larger one's.   out: (n_history) */
pgr_status slots_draw(const preference_pair *history, size_t n_history, size_t want, uint64_t seed, uint32_t stream,
                      size_t *out, size_t *n_out, pgr_error *err);
/* That order of the draws: all pairs, those to be shown first come first.                       ranks: (n_history) */
pgr_status slots_rank(const preference_pair *history, size_t n_history, uint64_t seed, uint32_t stream, size_t *ranks,
                      pgr_error *err);

/* ---- the prompts ----------------------------------------------------------------------------------------------- */

typedef struct slots_view { /* what the prompts show besides the request */
    const size_t *history;       /* (n_history) indices of the pairs shown, in the order in which they happened */
    size_t n_history;
    const double *common;        /* (N_FACT) mean levels of chosen texts over train rows; NULL: not known */
    const people_view *people;   /* (n_response) NULL: nobody was asked */
    const size_t *order;         /* (n_response) order[i]: the response at place i; NULL: as given */
    size_t budget;               /* tokens that a prompt may have; 0: the context */
    bool turned;                 /* of the taste: as somebody would have it who chose the other text every time */
} slots_view;

typedef struct slots_prompt { /* a prompt whose every slot has the same choices */
    infer_message messages[2]; /* (n_message) texts of the prompt's own */
    size_t n_message;
    infer_slot *slots;         /* (n_slot) of the quality prompt: by place */
    size_t n_slot;
    size_t n_token;            /* up to the last slot */
    pgr_clip *clips;           /* (n_clip) texts that were shortened */
    size_t n_clip;
    size_t n_history;          /* pairs shown after fitting into the budget */
    frame_part *parts;         /* (n_part) as of a frame_prompt; "common" is what most people like */
    size_t n_part;
    arena arena;               /* all of the above */
} slots_prompt;

/* f: of the form slots, else PGR_E_ARG. PGR_E_LIMIT where the prompt cannot be made short enough. engine_slots_tokens
 * of the prompt's messages and slots is what the engine reads. */
pgr_status slots_taste(const frame *f, pgr_engine *e, const pgr_request *r, const slots_view *view, slots_prompt *out,
                       pgr_error *err);
/* Slot i stands behind the response at place i. */
pgr_status slots_quality(const frame *f, pgr_engine *e, const pgr_request *r, const slots_view *view, slots_prompt *out,
                         pgr_error *err);
void slots_prompt_free(slots_prompt *p);

/* The taste prompt shows choices, and nothing that has no opposite (criteria, demographics): it can be turned. */
bool slots_can_turn(const pgr_request *r, const slots_view *view);

/* The responses are short enough to be statements, and the frame then shows pairs of the history as texts in its
 * quality prompt, which so depends on whose history it is; else it is the same for everybody. */
bool slots_by_views(const frame *f, const pgr_request *r);

/* ---- the weights that stand beside an adapter ------------------------------------------------------------------ */

/* total(y) = 5.5 + k (a taste(y) + b quality(y)), k = 1.5 / (a + 1.5 b): the taste's share of the weight is a / (a +
 * 1.5 b). taste(y) = sum over facts f of (P(word 2 f) - P(word 2 f + 1)) level_f(y); quality(y) = E[digit at y's slot]
 * less its mean over the responses. */
typedef struct slots_weights {
    bool trained;          /* read from a file: a trained adapter stands behind it */
    double a, b;           /* >= 0, not both 0 */
    double pairs;          /* >= 0; 0: the taste weighs a; else as slots_weights_for has it */
    bool has_common;
    double common[N_FACT]; /* what most people like: mean levels of chosen against rejected texts over train rows */
} slots_weights;

slots_weights slots_weights_neutral(void); /* a 1.5, b 1: both weigh alike; not trained, nothing common */
/* Those of a prompt that shows n_pair pairs with this lead, `pairs` being 0 in them: with one pair or more a (s + pairs
 * rate) / (n + pairs), as if `pairs` further ones had led by what people's pairs lead by (rate, 0..1, each). views:
 * people's views decide between the responses, of which form says nothing: a is 0. As they are where neither would be
 * left with a weight. */
slots_weights slots_weights_for(const slots_weights *w, size_t n_pair, size_t lead, double rate, bool views);
/* One JSON object: {"a": 1.2, "b": 0.4, "pairs": 16, "common": {"length": 0.31, ...}}; pairs (0) and common may be
 * missing. */
pgr_status slots_weights_read(const char *path, slots_weights *out, pgr_error *err);
pgr_status slots_weights_parse(const char *text, size_t n, const char *origin, slots_weights *out, pgr_error *err);
pgr_status slots_weights_write(const slots_weights *w, const char *path, pgr_error *err);

#endif
