/* rollout.h - a policy's answers and what the judge says of them: one engine on the model that is trained, the policy's
 * adapter and the judge's side by side in it. */
#ifndef PGR_TRAIN_ROLLOUT_H
#define PGR_TRAIN_ROLLOUT_H

#include "infer/engine.h"
#include "train/psi_data.h"
#include "train/turns.h"

typedef struct rollout_prompt {
    const preference_pair *pair;  /* what was asked, and the answer that its user chose */
    const preference_pair *known; /* (n_known) other pairs of his */
    size_t n_known;
    const char *user;
} rollout_prompt;

typedef struct rollout_sample {
    chat_row row;     /* prompt and completion; the completion's tokens count, the one that ends the turn included */
    double *old;      /* (row.n_loss) log-probabilities that it was drawn with */
    const char *text;
    bool ended;       /* the model ended its turn; else it was cut */
    double reward;    /* points ahead of the answer that the user chose */
} rollout_sample;

typedef struct rollout {
    pgr_engine *e;
    const pgr_policy_options *o;
    pgr_judge_options judge;
} rollout;

void rollout_open(rollout *x, pgr_engine *e, const pgr_policy_options *o);

/* k answers to each of n prompts by the adapter (NULL: the model as it is).         out: (n, k), memory of the arena */
pgr_status rollout_draw(rollout *x, const rollout_prompt *list, size_t n, size_t k, pgr_lora *policy, uint64_t seed,
                        arena *a, rollout_sample *out, pgr_error *err);
/* Their rewards. PGR_E_FORMAT where the judge gives one no score. */
pgr_status rollout_judge(rollout *x, const rollout_prompt *list, size_t n, size_t k, rollout_sample *out,
                         pgr_error *err);

/* What all of a user's pairs tell of two answers, by the rule (slots_target): above 0 a is the better one for him. */
double rollout_rule(const rollout_prompt *p, const char *a, const char *b, pgr_status *status, pgr_error *err);

#endif
