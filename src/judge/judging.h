/* judging.h - the desk from the inside: what is asked of it, the prompts and chains of each ask. Only src/judge/desk.c
 * and src/judge/judge*.c include it.
 *
 * A request has voices: the user's own history in D draws, then one voice per neighbour. A voice has a prompt for
 * each order of the responses, a prompt has chains. Chain i of a side (own, neighbours') is the same whatever else is
 * written. */
#ifndef PGR_JUDGE_JUDGING_H
#define PGR_JUDGE_JUDGING_H

#include "infer/engine.h"
#include "judge/aggregate.h"
#include "judge/desk.h"
#include "judge/frame.h"
#include "judge/slots.h"

enum { SIDE_IND, SIDE_PRO, N_SIDE }; /* under the own history, under neighbours' */

/* A pgr_result and the memory that it points into; the public part comes first. */
typedef struct result {
    pgr_result public;
    arena arena;
} result;

typedef struct voice { /* whose history a prompt shows, and which pairs of it */
    const pgr_request *r;  /* as this voice has it */
    const size_t *history; /* (n_history) pairs shown, in the order in which they happened */
    size_t n_history;
} voice;

typedef struct written { /* chain number i of a side */
    size_t prompt;     /* of the side */
    size_t twin;       /* 0: none; else number twin - 1 of the side has the same voice and another order */
    bool done;
    bool late;         /* the deadline came first */
    bool cut;
    const char *text;  /* (n_text) */
    size_t n_text, n_token;
    chain_place *places; /* (n_place) of the text */
    size_t n_place;
    chain parsed;
} written;

typedef struct slot_read { /* a prompt with slots, asked once for all prompts of a request that it serves */
    bool taste;         /* else it is of quality */
    const voice *voice; /* whose history it shows; NULL: nobody's, it serves all */
    size_t order;       /* of the responses; of a taste 1: the history is turned */
    slots_prompt prompt;
    infer_ticket ticket; /* 0: it is not with the engine */
    bool asked, late;    /* the deadline came first */
    size_t lead;         /* of taste: slots_lead of the pairs that are shown */
    double *values;      /* of taste (N_TASTE) probabilities, turned back; else (n_response) mean digits by place */
    struct judging *judging;
} slot_read;

typedef struct prompt {
    const voice *voice;
    size_t order;     /* index into the judging's orders */
    uint32_t id;      /* names its random numbers */
    size_t *chains;   /* (n_chain) numbers in its side, rising */
    size_t n_chain;
    size_t n_written; /* of them, from the first */
    frame_prompt text;          /* of a frame with slots: only what the result says of it */
    slot_read *taste, *quality; /* of a frame with slots */
    bool computed;    /* was with the engine already */
    /* while chains of it are with the engine: */
    infer_ticket ticket; /* 0: none are */
    size_t n_asked;
    double asked; /* when, from the submission */
    struct judging *judging;
    struct side *side;
} prompt;

typedef struct side {
    size_t n;        /* chains at most */
    size_t target;   /* that are to be written by the end of this round */
    written *chains; /* (n) */
    prompt *prompts; /* (n_prompt) */
    size_t n_prompt;
    voice *voices;   /* (n_voice) draws of the own history, or neighbours */
    size_t n_voice;
} side;

typedef struct judging { /* one ask */
    desk *desk;
    desk_ticket ticket;
    struct judging *before, *after; /* in the list of the desk that it stands in */
    const pgr_request *r;
    pgr_judge_options options; /* of the ask */
    const pgr_judge_options *o;
    const judge_source *source;
    const char *scope;         /* of similar users; "": everybody */
    int priority;
    void *tag;
    void (*news)(void *ctx, const desk_news *n); /* NULL: nobody listens */
    void *news_ctx;
    double start;              /* of the deadline and of `seconds` */
    struct judging *analysing; /* writes the analysis that this one is placed by; NULL: none does */
    struct judging *analysed;  /* the one that waits for this one's analysis; NULL: it is an ask of its own */
    bool was_analysed;         /* as far as he can be */
    const char *analysis;      /* NULL: there is none */
    result *made;     /* until it is taken */
    arena tmp;        /* what is needed until it is settled */
    buf grammar;      /* its text; empty: none */
    size_t max_tokens, want_history;
    uint64_t seed;
    size_t *order[2]; /* (n_response) as given, reversed */
    size_t n_order;   /* 1 without swaps */
    side sides[N_SIDE];
    neighbourhood near;        /* who is similar and is asked */
    neighbourhood crowd;       /* who is similar and whose choices are counted: those and more; for frames with slots */
    double taste_share;        /* of the weight, under the own history if there is one; of frames with slots */
    people_view *people;      /* (n_response) what they chose; NULL: nobody was looked for */
    bool views;                /* what people said of the responses, statements, decides alone: in every chain */
    double *levels;            /* (n_response, N_FACT) of the responses; for frames with slots */
    slot_read *reads;          /* (n_read) */
    size_t n_read;
    double *neighbour_weights; /* (near.n) */
    double w_ind, w_pro;
    double *scalars, *prior;   /* (n_response) of the reward model, and what they add; NULL: there are none */
    bool cold;
    bool late;                 /* the deadline had passed before it began */
    size_t round;              /* from 0 */
    size_t n_alike;            /* chains that were asked for and would be copies of others */
    size_t n_open;             /* prompts that are with the engine */
    size_t prompt_tokens, computed_tokens;
    double first_token_s; /* from the submission; 0: no token */
    const char *lost;     /* why all chains of a prompt have failed; NULL: they have not */
    pgr_error error;
} judging;

typedef struct embeddings embeddings; /* texts, each embedded once */

typedef struct judging_list {
    judging *first, *last;
    size_t n;
} judging_list;

struct desk {
    pgr_engine *e;
    const engine_info *about; /* the engine */
    pgr_judge_options options; /* of whoever brings none */
    const pgr_judge_options *o;
    frame *frame;
    slots_weights weights;  /* for frames with slots */
    judging_list waiting;   /* to begin, in this order */
    judging_list at_work, settled;
    size_t n_begun, n_done; /* asks, since the desk was opened */
    double first_deadline;  /* none of those that wait has an earlier one; INFINITY: none has one */
    size_t n_flagged;       /* wait with a cancel flag that is not the desk's */
    size_t at_once;         /* asks at work at most; 0: no limit */
    size_t n_with_engine;   /* chains */
    embeddings *embeddings; /* NULL until one is needed */
    desk_ticket last_ticket;
};

/* ---- desk.c: the asks of a desk ---- */

pgr_status desk_prepare(desk *d, pgr_error *err); /* the options are checked, the frame is opened */
void desk_release(desk *d);                       /* what desk_prepare opened, and what asks left */
void judging_release(judging *j);                 /* all but the result */

/* ---- judge_news.c: what is told while an ask is at work; nothing where nobody listens ---- */

void tell_asked(const judging *j, size_t n);
void tell_piece(const prompt *p, const infer_event *e);
void tell_chains(const prompt *p, size_t from); /* those that ended, from the prompt's chain `from` on */
void tell_reading(const slot_read *r);

/* ---- analysis.c ---- */

pgr_judge_options analysis_options(const pgr_judge_options *o); /* of the one chain that an analysis is */
char *analysis_text(const pgr_result *r);                       /* the caller's; NULL: out of memory */

/* ---- judge_history.c: which pairs are shown ---- */

/* ranks (n): the pairs of the history, those to be shown first come first. stream: of random numbers. vectors may be
 * NULL. */
pgr_status history_rank(judging *j, const preference_pair *pairs, const float *vectors, size_t n, size_t want,
                        uint32_t stream, size_t *ranks);
/* The `want` pairs (at most n) of draw d, in the order in which they happened; memory of j->tmp. */
pgr_status history_draw(judging *j, const size_t *ranks, size_t n, size_t want, size_t d, const size_t **out);
void embeddings_free(embeddings *e);

/* ---- judge_neighbours.c: who else is asked, and what that weighs ---- */

bool judging_knows_people(const judging *j); /* somebody can say who is similar */
/* A model of everybody's votes says what is to be expected of the user (people_views); not within a scope, since it is
 * made of all people's. */
bool judging_by_model(const judging *j);
/* Finds up to n neighbours, their weights, and the weights of the two sides. */
pgr_status judging_neighbours(judging *j, size_t n);

/* ---- judge_scalar.c: a reward model beside the chains ---- */

pgr_status judging_scalars(judging *j);      /* the scores and the prior, where they are asked for */
pgr_status judging_show_scalars(judging *j); /* into the result, which has its responses */

/* ---- judge_slots.c: frames with slots ---- */

bool judging_by_slots(const judging *j);
pgr_status desk_weights(desk *d, pgr_error *err); /* those that are named or stand beside the adapter, or neutral */
pgr_status slots_prepare(judging *j);               /* the prompts of all chains */
/* What the chains of this round need and was not asked yet. */
pgr_status slots_ask(judging *j, double deadline_s);
void slots_leave_engine(slot_read *r);
pgr_status slots_take(slot_read *r, const infer_result *result);
pgr_status slots_write(judging *j); /* the chains of this round, when all has been read */

/* ---- judge_prompts.c: settings, voices, prompts ---- */

/* All that comes before the first chain. */
pgr_status judging_prepare(judging *j);
/* In the place of it where the deadline has passed: chains that nobody is asked for, all late. */
pgr_status judging_prepare_late(judging *j);
/* What is asked of the engine for the chains of a prompt in this round; n_sample 0: none. */
infer_request prompt_ask(judging *j, const side *s, prompt *p);
/* An error that stems from the request's texts and numbers begins with the request's name. */
pgr_status judging_name(judging *j, pgr_status status);

/* ---- judge_result.c: chains become a result ---- */

const char *late_reason(const judging *j); /* of a chain that has no scores because the deadline passed */
/* Takes over the chains of a prompt (n from the next one on). */
pgr_status judging_take(judging *j, side *s, prompt *p, const infer_chain *chains, size_t n);
/* None of them came, for this reason: they have failed, and if no other chain has scores either the ask has. */
pgr_status judging_lose(judging *j, side *s, prompt *p, const char *why, size_t n);
/* How settled the verdict of the chains so far is (pgr_result.settled); NaN where there is none. */
pgr_status judging_settled(judging *j, double *out);
pgr_status judging_result(judging *j);

#endif
