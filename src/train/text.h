/* text.h - the stages on text chains from the inside: what their files share. Only src/train/text*.c include it. */
#ifndef PGR_TRAIN_TEXT_H
#define PGR_TRAIN_TEXT_H

#include "infer/engine.h"
#include "judge/frame.h"
#include "train/chain_pass.h"
#include "train/psi_data.h"
#include "train/teacher.h"

enum { TEXT_RESPONSES = 2, TEXT_CHOSEN = 0 /* index of the chosen response in a request */ };

typedef struct text_numbers { /* tokens of 1 .. 10; -1: there is none */
    int32_t bare[CHAIN_NUMBERS], spaced[CHAIN_NUMBERS]; /* "7", " 7" */
} text_numbers;

typedef struct text_chain { /* that psi learns from */
    bool accepted;
    const char *text; /* (n) */
    size_t n;
} text_chain;

typedef struct text {
    const pgr_text_options *o;
    pgr_model *m;
    pgr_engine *e;
    frame *frame;
    chain_form form;
    buf grammar;          /* its text for two responses; empty: none */
    psi_set set, eval;
    text_numbers numbers;
    int32_t end;          /* token that ends a turn; -1: none is known */
    size_t max_tokens;    /* of a chain, its end counted */
    size_t want_history;
    text_chain (*chains)[2]; /* (set.n_pair) by order of the responses */
    teacher *teacher;     /* NULL: no server */
    float *reference;     /* the adapter's values of the reference; NULL: not read yet */
    arena arena;
} text;

static inline bool text_order_used(const text *t, size_t pair, size_t order) {
    return !t->o->one_order || (pair ^ (pair >> 3)) % 2 == order;
}

/* ---- text_data.c: pairs as prompts ---- */

typedef struct text_example { /* a pair that is asked about, and what is shown of its user */
    pgr_request request;   /* responses: the chosen one first */
    const char *responses[TEXT_RESPONSES];
    size_t *shown;         /* (n_shown) of request.history */
    size_t n_shown;
} text_example;

typedef enum text_whose { TEXT_OWN, TEXT_FLIPPED, TEXT_STRANGER } text_whose;

/* Pair number `pair` of a set under some of the user's other pairs, drawn by `draw`; those that share a text or the
 * query with it are not shown. Memory of the arena. */
pgr_status text_example_make(const text *t, const psi_set *s, size_t pair, text_whose whose, uint64_t draw, arena *a,
                             text_example *out, pgr_error *err);
extern const size_t TEXT_ORDERS[2][TEXT_RESPONSES]; /* the response at each place; order 0: the chosen one first */
/* The example's prompt as messages (frame_prompt_free). */
pgr_status text_prompt(const text *t, const text_example *x, size_t order, arena *a, frame_prompt *out,
                       pgr_error *err);
/* Its tokens. */
pgr_status text_prompt_tokens(const text *t, const frame_prompt *p, ids *out, pgr_error *err);
/* Finds t->numbers and t->end. */
pgr_status text_find_tokens(text *t, pgr_error *err);

/* ---- text_places.c: where a chain has its scores ---- */

typedef struct text_places {
    chain_at *at;                    /* (n) for chain_seq */
    double (*value)[CHAIN_NUMBERS];  /* (n) of the numbers */
    double *weight;                  /* (n) in the margin of the chosen response */
    size_t n;                        /* 0: scores were not found at tokens of their own */
} text_places;

/* Of a chain whose tokens are tokens[from] and following. By criterion where each has a weight and scores, else the
 * totals. */
pgr_status text_places_find(const text *t, const char *chain, size_t n, const int32_t *tokens, size_t n_token,
                            size_t from, size_t order, arena *a, text_places *out, pgr_error *err);

/* Bradley-Terry of the margin, the weighted sum of the places' expectations; dz (n, CHAIN_NUMBERS) += scale times its
 * gradient (text_psi.c). */
double text_margin_loss(const text_places *p, const double *z, double tau, double scale, double *dz, double *margin);

/* ---- text_chains.c: teachers ---- */

/* Fills t->chains from OUT/chains.jsonl, and what is not there yet by the teacher; the set's order is that of pairs
 * with accepted chains. */
pgr_status text_chains_make(text *t, train_run *r, pgr_error *err);

/* What a chain makes of a pair. */
typedef struct text_verdict {
    bool parsed;
    const char *reason; /* why not */
    double margin;      /* of the chosen response: by recomputed totals where there are some, else by declared ones */
    bool wrong_sum;     /* both are there and differ */
    chain read;
} text_verdict;
pgr_status text_judge(const text *t, const char *chain, size_t n, size_t order, arena *a, text_verdict *out,
                      pgr_error *err);

/* ---- the stages ---- */

pgr_status text_step_psi(void *ctx, train_run *r, metrics *m, pgr_error *err); /* text_psi.c */
pgr_status text_step_cre(void *ctx, train_run *r, metrics *m, pgr_error *err); /* text_cre.c */
pgr_status text_evaluate(void *ctx, train_run *r, metrics *m, pgr_error *err); /* text_eval.c */

/* ---- text_sample.c: chains of the model as it is ---- */

typedef struct text_ask {
    const frame_prompt *prompt;
    size_t n_sample;
    uint64_t seed;
    uint32_t id;
    double temperature;
    bool grammar;          /* of the frame, as judging has it; else the model writes freely */
    bool bare;             /* without any adapter */
} text_ask;
/* Chains of all asked prompts, in order (infer_output_free). */
pgr_status text_sample(text *t, train_run *r, const text_ask *asks, size_t n, infer_output *out, pgr_error *err);

/* ---- text_expected.c: what judging reads of a chain that was written ---- */

/* The weighted sum of the expectations at the places.                     z: (n of the places, CHAIN_NUMBERS) logits */
double text_expected_margin(const text_places *p, const double *z);

typedef struct text_written {
    const frame_prompt *prompt;
    const infer_chain *chain; /* behind it, by text_sample */
    size_t order;
    double margin;            /* set: of the chosen response; NaN where the chain's scores were not found */
} text_written;
/* One pass over prompts and chains, without gradients. Memory of the arena. */
pgr_status text_expected(const text *t, train_run *r, text_written *list, size_t n, arena *a, pgr_error *err);

/* ---- text_write.c ---- */

/* For trainers on clusters, into a folder that is made where it is missing (docs/large.md): in psi sft.jsonl, the
 * accepted chains; in cre and hncl prompts.jsonl, in hncl in the order of the curriculum as the model is now. */
pgr_status text_write(text *t, train_run *r, const char *folder, pgr_error *err);

/* ---- text_reward.c ---- */

/* The word of a taste (slots.h) that the chain's heaviest criterion means; -1: none. */
int text_first_word(const chain *c);
/* The margin of the chosen response had the program scored it: levels of the facts that the chain's criteria mean, by
 * their weights. What is wrong here is wrong in the criteria, not in the scores. */
pgr_status text_margin_by_facts(const text_example *x, const chain *c, double *out, pgr_error *err);
/* How much of the true criteria of the pair's user each of n chains covers: 0..1. */
pgr_status text_coverage(text *t, train_run *r, size_t pair, const text_verdict *chains, size_t n, double *out,
                         pgr_error *err);

#endif
