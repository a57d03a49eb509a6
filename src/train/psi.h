/* psi.h - the stage psi of the slots frame from the inside: what its files share. Only src/train/psi*.c include it. */
#ifndef PGR_TRAIN_PSI_H
#define PGR_TRAIN_PSI_H

#include "base/arena.h"
#include "infer/engine.h"
#include "judge/slots.h"
#include "train/psi_data.h"
#include "train/run.h"

typedef struct psi {
    const pgr_psi_options *o;
    pgr_engine *e; /* writes prompts; computes nothing */
    frame *frame;
    psi_set sets[PGR_PSI_KINDS], evals[PGR_PSI_KINDS];
    double share[PGR_PSI_KINDS]; /* of the steps: sum 1 */
    slots_weights weights;       /* common: as shown in prompts */
    double digits[N_DIGIT];      /* 1 .. 9 */
    float *reference;            /* the adapter's values that cre and hncl began with; NULL: not read yet */
} psi;

/* ---- psi_items.c: examples as prompts ---- */

typedef struct psi_items { /* prompts of one step or evaluation */
    slot_seq *list; /* (n) */
    size_t n, cap;
    uint64_t tokens;
    arena arena;
} psi_items;

void psi_items_free(psi_items *p); /* an empty one is fine */

/* The taste prompt of n pairs of a user (indices into pairs), in that order. turned: as if he had chosen the others. */
pgr_status psi_add_taste(psi *p, const preference_pair *pairs, const size_t *shown, size_t n, bool turned,
                         psi_items *out, pgr_error *err);

/* A pair to be judged by its texts. */
typedef struct psi_text {
    const char *user;
    const preference_pair *pair;
    const preference_pair *known; /* (n_known) what else is known of the user */
    size_t n_known;
    const char *loser;            /* in place of the rejected response; NULL: that one */
    bool asked;                   /* similar people were: */
    people_view people[2];       /* of the chosen, of the rejected response */
} psi_text;

/* Pair number `row` of a set; known are the user's train pairs without those that share a text with it, or (unless
 * same_query) its query. Memory of the arena. */
pgr_status psi_known(const psi_set *s, size_t row, bool same_query, arena *a, psi_text *out, pgr_error *err);
/* What people like the user, who is placed by what is known of him, said of both responses. */
pgr_status psi_ask_people(psi *p, psi_text *t, pgr_error *err);
/* The quality prompt, the chosen response at place `place` (0 or 1). */
pgr_status psi_add_quality(psi *p, const psi_text *t, size_t place, psi_items *out, pgr_error *err);

/* n of a user's train pairs, drawn by (seed, stream): out (n) indices into all pairs of the set, rising; `rest`
 * (NULL: not wanted): the user's other train pairs. Fewer than n where he has no more. */
pgr_status psi_draw_pairs(const psi_set *s, const psi_user *u, size_t n, uint64_t seed, uint32_t stream, size_t *out,
                          size_t *n_out, size_t *rest, size_t *n_rest, pgr_error *err);

/* An answer that nobody should win with: nothing, the beginning of the pair's chosen one, or a phrase. Drawn by (seed,
 * number); memory of the arena. */
pgr_status psi_hard_loser(const psi *p, const preference_pair *pair, uint64_t number, arena *a, const char **out,
                          pgr_error *err);

/* ---- psi_step.c ---- */

/* A user of a step of taste: some of his pairs are shown, the others are what the reading has to get right. */
typedef struct taste_item {
    const psi_user *user;
    uint64_t position;      /* of the draw: names its random numbers */
    bool turned;            /* as if he had chosen the others: what follows says so, too */
    double target[N_TASTE]; /* the rule's, of what is shown */
    double *levels;         /* (n, N_FACT) of the user's other pairs */
    size_t n;
} taste_item;
typedef struct taste_batch {
    psi_items prompts;
    taste_item *items; /* (n) */
    size_t n;
} taste_batch;
pgr_status taste_draw(psi *p, train_run *r, taste_batch *out, pgr_error *err); /* of o->users users; free in any case */
void taste_free(taste_batch *b);

pgr_status psi_step(void *ctx, train_run *r, metrics *m, pgr_error *err);
pgr_psi_kind psi_kind_at(const psi *p, uint64_t step);

/* ---- cre.c ---- */

/* An update of taste by GRPO, as p->o->grpo says. */
pgr_status step_cre(psi *p, train_run *r, metrics *m, pgr_error *err);

/* ---- psi_eval.c ---- */

pgr_status psi_evaluate(void *ctx, train_run *r, metrics *m, pgr_error *err);

/* The tastes of n users of whom n_shown[i] pairs are shown: those of the set that shown[i * most] and following
 * name. */
typedef struct psi_shown {
    const psi_set *set;
    const size_t *shown, *n_shown;
    size_t most, n;
} psi_shown;
/* As judging takes them: the mean of what is read of the history and, turned back, of the history turned. once, turned:
 * the two readings, where they are wanted, else NULL. All of them: (n, N_TASTE) */
pgr_status psi_read_tastes(psi *p, train_run *r, const psi_shown *who, double *out, double *once, double *turned,
                           pgr_error *err);

/* By text, the chosen response's expected digit less the rejected one's, in both orders. share: of each response,
 * the percentage of similar people as its line says it; 0 where nobody was asked. */
typedef struct psi_margin {
    double of[2], share[2];
} psi_margin;
typedef enum psi_against { PSI_REJECTED, PSI_REJECTED_PEOPLE /* with the line on people */, PSI_HARD } psi_against;
pgr_status psi_margins(psi *p, train_run *r, const psi_set *s, const size_t *pairs, size_t n, psi_against against,
                       psi_margin *out, pgr_error *err);
static inline double psi_margin_mean(const psi_margin *m) {
    return (m->of[0] + m->of[1]) / 2;
}

/* At most o->eval_limit held pairs, spread evenly over the set: how many. Where the set has pairs that are asked about
 * and never shown (files to evaluate on), these alone. out: (o->eval_limit) */
size_t psi_held_pairs(const psi *p, const psi_set *s, size_t *out);

/* ---- psi_sample.c ---- */

/* What is read of one held user and of one held pair, another one every time. */
pgr_status psi_sample(void *ctx, train_run *r, buf *text, pgr_error *err);

/* ---- psi_fit.c ---- */

/* a and b of the total from held pairs of the data. */
pgr_status psi_conclude(void *ctx, train_run *r, pgr_error *err);
/* Writes the weights into the adapter's folder. */
pgr_status psi_finish(void *ctx, train_run *r, const char *folder, pgr_error *err);

#endif
