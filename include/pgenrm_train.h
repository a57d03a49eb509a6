/* pgenrm_train.h - training of adapters and of whole models: the stages of docs/training.md. What pgenrm.h says of
 * errors, text and ownership holds here too.
 *
 *     pgr_sft_options o = pgr_sft_options_default();
 *     pgr_model_options mo = pgr_train_model_options();
 *     pgr_train_report report;
 *     pgr_error err;
 *     pgr_model *model = NULL;
 *     o.data = "chats.jsonl";
 *     o.train.out = "run";
 *     o.train.steps = 3;
 *     if (pgr_model_open("model.gguf", &mo, &model, &err) == PGR_OK
 *         && pgr_train_sft(model, &o, &report, &err) == PGR_OK)
 *         printf("trained: %zu steps\n", report.steps);
 *     pgr_model_close(model);
 *
 * A run lives in a folder:
 *   OUT/metrics.jsonl      one object per step, per evaluation, and per sample of what the model reads
 *   OUT/curves.html        the same as plots, written at every evaluation
 *   OUT/checkpoint-N/      the adapter (PEFT form, bf16) after N steps with what a run goes on from; the last two
 *   OUT/adapter/           the adapter when all steps are done
 *   OUT/model/             in its place where all weights are trained, or a score head: a Hugging Face folder
 * A checkpoint appears whole or not at all: a run that was killed goes on from the last one, and ends in the same bits
 * as one that was not. */
#ifndef PGENRM_TRAIN_H
#define PGENRM_TRAIN_H

#include "pgenrm.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

typedef enum pgr_schedule { /* of the learning rate, behind the warm-up */
    PGR_SCHEDULE_CONSTANT,
    PGR_SCHEDULE_LINEAR, /* to 0 */
    PGR_SCHEDULE_COSINE, /* to 0 */
} pgr_schedule;

/* Called after every step, evaluation and sample. json: the line of metrics.jsonl; text: the same for people. Both are
 * the caller's for the call only. */
typedef void (*pgr_train_fn)(void *ctx, const char *json, const char *text);

/* ---- one run in several processes ------------------------------------------------------------------------------ */

/* The processes that mpirun has started, each with this program, the same model, options and data: a step's passes are
 * shared out among them, and what comes out is what one process computes, to the bit, whatever their number. All see
 * the same folder of the run, in which rank 0 writes; on_step is called there. A pgr_train_... call returns the same
 * status on every rank, with the message of the first that failed ("rank 2 of 4: ..."). One that dies takes the others
 * with it: mpirun says which. */
typedef struct pgr_ranks pgr_ranks;

/* *out NULL: this process is alone. Begins MPI unless the program has. PGR_E_UNSUPPORTED: mpirun has started several
 * processes, and the library was built without MPI (-DPGR_MPI=ON). */
pgr_status pgr_ranks_open(pgr_ranks **out, pgr_error *err);
/* All ranks together, after the last training; a program that ends without it ends the others. NULL is fine. */
void pgr_ranks_close(pgr_ranks *ranks);
size_t pgr_ranks_count(const pgr_ranks *ranks); /* of NULL: 1 */
size_t pgr_ranks_at(const pgr_ranks *ranks);    /* from 0; of NULL: 0 */
int pgr_ranks_threads(const pgr_ranks *ranks);  /* this process's share of its machine's cores; of NULL: 0, all */

/* ---- what all stages share ------------------------------------------------------------------------------------- */

typedef struct pgr_train_options {
    const char *out;      /* the run's folder, made where it is missing */
    const char *init;     /* adapter to begin with; NULL: a new one */
    bool resume;          /* go on with the run in `out`; the settings must be the same but for steps and epochs */
    bool full;            /* all weights are trained instead of an adapter (sft, bt); the model, which is a Hugging Face
                           * folder's, may only be closed afterwards */
    size_t rank;          /* of a new adapter */
    double alpha;         /* its scale is alpha / rank */
    double layers;        /* share of the layers, from the top, that have factors */
    size_t steps;         /* updates; 0: by epochs */
    double epochs;        /* passes over the data */
    size_t batch;         /* rows of a step */
    double lr;
    pgr_schedule schedule;
    size_t warmup;        /* steps over which the learning rate rises */
    double weight_decay, clip /* of the gradient's norm; 0: never */, beta1, beta2;
    size_t pass_tokens;   /* tokens computed at once: a step's gradients are summed over as many passes as it takes */
    double save_minutes;  /* between checkpoints */
    size_t sample_every;  /* steps between samples of what the model reads, and of what is learnt from with rewards and
                           * advantages; 0, or a stage that has none: none */
    const char *trackio;  /* the metrics, too, as a database of Trackio: FILE.db, or the name of a project of its
                           * folder; NULL: none */
    uint64_t seed;
    pgr_ranks *ranks;     /* processes that make this run together; NULL: this one alone */
    pgr_watch watch;      /* after *cancel a checkpoint is written and the call returns PGR_E_CANCELLED */
    pgr_train_fn on_step; /* may be NULL */
    void *on_step_ctx;
} pgr_train_options;

typedef struct pgr_train_report {
    size_t steps;       /* of the run, those before a resume counted */
    uint64_t tokens;    /* the same */
    double loss;        /* of the last step; NaN: no step was left */
    double seconds;     /* of this call */
    char checkpoint[512]; /* folder of the last checkpoint; "": none */
} pgr_train_report;

/* For the model that is trained: the arithmetic that gradients go through, bf16 or fp32, whose products are the faster
 * ones on this kind of CPU at this level (PGENRM_CPU). Nothing is timed: the same machine has the same every time.
 * Adapters can also be trained with PGR_DTYPE_INT8; all weights (`full`) are PGR_E_ARG then. */
pgr_model_options pgr_train_model_options(void);

/* The same, unless o->resume and o->out has a checkpoint: then the one that this run was begun with. */
pgr_dtype pgr_train_dtype(const pgr_train_options *o);

/* Each stage has a pgr_..._check: what is wrong with its options by themselves, whatever the model and the data have,
 * so that a program can say it before it opens them; pgr_train_... begins with it. PGR_E_ARG: an option is wrong, or
 * two of them contradict each other. `out` is not looked at. */

/* ---- sft ------------------------------------------------------------------------------------------------------- */

typedef struct pgr_sft_options {
    pgr_train_options train;
    const char *data;  /* {"messages": [{"role", "content"}, ...]} lines, or an array; plain or gzip */
    bool no_shuffle;   /* rows in the file's order */
    size_t max_tokens; /* of a row; longer ones are left out and counted */
} pgr_sft_options;

pgr_sft_options pgr_sft_options_default(void);
const pgr_option *pgr_sft_option_rows(void);

/* Supervised fine-tuning on conversations: the loss is the mean of -log p over the tokens of the assistant's turns of
 * the whole batch, what ends a turn included. The model's chat template writes the conversation; it must write the
 * conversation up to each of the assistant's turns as a beginning of the whole. */
pgr_status pgr_train_sft(pgr_model *model, const pgr_sft_options *options, pgr_train_report *out, pgr_error *err);
pgr_status pgr_sft_check(const pgr_sft_options *options, pgr_error *err);

/* ---- bt and dpo ---- */

typedef struct pgr_bt_options {
    pgr_train_options train;
    const char *data;  /* preference pairs in any form of docs/users.md; rows of the split "train", or of none */
    bool no_shuffle;   /* pairs in the file's order */
    size_t max_tokens; /* of a conversation; pairs with a longer one are left out and counted */
} pgr_bt_options;

pgr_bt_options pgr_bt_options_default(void);
const pgr_option *pgr_bt_option_rows(void);

/* Opens a language model, or a reward model with a score head, for pgr_train_bt. */
pgr_status pgr_train_model_open(const char *path, const pgr_model_options *options, pgr_model **out, pgr_error *err);

/* A reward model (docs/scalar.md): a score head on a language model, or the one that the model has, trained with an
 * adapter or all weights so that of each pair the chosen response has the higher score: the loss is the mean of
 * -log sigmoid(chosen - rejected). OUT/model is a Hugging Face folder ...ForSequenceClassification, the adapter merged
 * in; the model must be of such a folder. */
pgr_status pgr_train_bt(pgr_model *model, const pgr_bt_options *options, pgr_train_report *out, pgr_error *err);
pgr_status pgr_bt_check(const pgr_bt_options *options, pgr_error *err);

typedef struct pgr_dpo_options {
    pgr_train_options train; /* the reference is the model without an adapter, with init too */
    const char *data;        /* as above; what pgr_label writes is of these forms */
    double beta;             /* margins are times it */
    bool no_shuffle;
    size_t max_tokens;
} pgr_dpo_options;

pgr_dpo_options pgr_dpo_options_default(void);
const pgr_option *pgr_dpo_option_rows(void);

/* Direct preference optimisation: the mean over the pairs of -log sigmoid(beta (m - m_ref)), m the log-probability of
 * the chosen response's tokens less that of the rejected one's, m_ref the same of the model without the adapter. */
pgr_status pgr_train_dpo(pgr_model *model, const pgr_dpo_options *options, pgr_train_report *out, pgr_error *err);
pgr_status pgr_dpo_check(const pgr_dpo_options *options, pgr_error *err);

/* ---- label: pairs that the judge decides ---- */

typedef enum pgr_label_form {
    PGR_LABEL_DPO, /* {"prompt", "chosen", "rejected"}: the best response against the worst */
    PGR_LABEL_KTO, /* {"prompt", "completion", "label"}: the best with true, the worst with false, a line each */
} pgr_label_form;

typedef struct pgr_label_options {
    pgr_label_form form;
    double margin;   /* points that the best must be ahead of the worst; rows of less are left out */
    bool resume;     /* go on behind the last row of OUT.part, which an interruption has left */
    size_t group;    /* requests that are judged together */
    pgr_judge_options judge;
    pgr_watch watch;
} pgr_label_options;

pgr_label_options pgr_label_options_default(void);
const pgr_option *pgr_label_option_rows(void); /* of what is not judge */

typedef struct pgr_label_report {
    size_t read;    /* requests, in this call */
    size_t labelled;
    size_t close;   /* ahead by less than the margin, or by nothing */
    size_t failed;  /* not judged */
    char first[256]; /* why the first of them was not; "" */
} pgr_label_report;

/* Judges the requests of a file (one per line or an array: docs/requests.md, or PersonalRewardBench records) and writes
 * rows that TRL's DPOTrainer and KTOTrainer read, and pgr_train_dpo, with turns as lists of role and content; beside
 * them user_id, score_chosen, score_rejected, and line: of the request in its file. out appears when all is done; until
 * then it is OUT.part. */
pgr_status pgr_label(pgr_engine *engine, const char *requests, const char *out, const pgr_label_options *options,
                     pgr_label_report *report, pgr_error *err);

/* ---- psi, compact frame ---------------------------------------------------------------------------------------- */

typedef enum pgr_psi_kind {
    PGR_PSI_TASTE,   /* what a user likes, from a history of measured facts */
    PGR_PSI_QUALITY, /* how good a response is, from its text */
    PGR_PSI_VIEWS,   /* the same with a line on what similar people said */
    PGR_PSI_KINDS
} pgr_psi_kind;

typedef struct pgr_psi_data {
    pgr_psi_kind kind;
    const char *path; /* preference pairs in any form of docs/users.md; only rows of the split "train", or of none, and
                       * none of the subset "history" (docs/synth.md) */
} pgr_psi_data;

typedef enum pgr_stage { /* of the compact judge: what steps of taste do, all others are the same; of text chains */
    PGR_STAGE_PSI,       /* cross-entropy against the rule, Bradley-Terry through the expectation */
    PGR_STAGE_CRE,       /* GRPO: sampled criteria, rewarded for what they cover and what they get right */
    PGR_STAGE_HNCL,      /* the same for what they get right alone, on more and more hard pairs */
} pgr_stage;

typedef enum pgr_outcome { /* of a chain on a pair, x its margin over tau */
    PGR_OUTCOME_SIGMOID,   /* sigmoid(x) */
    PGR_OUTCOME_BRIER,     /* 1 - (1 - sigmoid(x))^2 */
    PGR_OUTCOME_BINARY,    /* 1, 0, or .5 at x = 0 */
} pgr_outcome;

typedef struct pgr_grpo_options { /* of the stages cre and hncl */
    size_t samples;      /* chains of a user */
    size_t criteria;     /* words of a chain */
    double alpha, beta;  /* weights of coverage (none in hncl) and outcome */
    pgr_outcome outcome;
    bool together;       /* a chain's outcome is what it adds to that of the mean of all chains of its group */
    bool apart;          /* advantages of coverage and outcome are normalised each by itself, then added */
    bool unscaled;       /* advantages are not divided by the rewards' deviation */
    double kl;           /* weight of the divergence from the adapter that the run began with */
    double hard_from, hard_to; /* hncl: share of hard pairs at the first and the last step */
} pgr_grpo_options;

typedef struct pgr_psi_options {
    pgr_stage stage;
    pgr_train_options train;  /* batch: rows of a step of quality or views; lr: of these steps; epochs above 0: in place
                               * of steps, passes over the users and rows of all kinds together */
    const pgr_psi_data *data; /* (n_data) */
    size_t n_data;
    const pgr_psi_data *eval; /* (n_eval) further files to evaluate on, at whole users that training never sees */
    size_t n_eval;
    double mix[PGR_PSI_KINDS]; /* shares of the steps; kinds without data have none */
    double taste_lr;      /* of taste steps */
    size_t users;         /* of a taste step */
    size_t pairs_min, pairs_max; /* shown of a user */
    double turned;        /* share of the users of a step whose every choice is turned round: what is shown and asked */
    double ce, bt;        /* weights of a taste step's losses */
    double views_ce;      /* of the cross-entropy against the share of similar people, beside Bradley-Terry, in views */
    double tau;           /* margins are divided by it */
    bool common;          /* prompts say what most people like: the mean levels of the pairs that are learnt from */
    double hard;          /* share of quality rows whose loser is an empty, a cut or an empty-phrase answer */
    bool one_order;       /* a row shows its responses in one random order, not in both */
    double held;          /* share of users (of quality: of queries) that are evaluated on instead of learnt from */
    size_t eval_every;    /* steps; 0: at the end only */
    size_t eval_limit;    /* users, or rows, of a kind */
    size_t eval_pairs;    /* shown of a user */
    bool no_fit;          /* slots.json has the weights of train.init's, where it has one: none are fitted in the end */
    pgr_people *people;   /* who is similar: for views */
    pgr_grpo_options grpo;
    size_t similar;       /* people counted; 0: all, by the model of votes, or as the frame says */
} pgr_psi_options;

pgr_psi_options pgr_psi_options_default(pgr_stage stage);
const pgr_option *pgr_psi_option_rows(void);
const pgr_option *pgr_cre_option_rows(void);  /* those of psi and grpo */
const pgr_option *pgr_hncl_option_rows(void); /* with hard_from and hard_to, without alpha */

/* The stage that the options say. cre and hncl need train.init, which is their reference. */
pgr_status pgr_train_psi(pgr_model *model, const pgr_psi_options *options, pgr_train_report *out, pgr_error *err);
pgr_status pgr_psi_check(const pgr_psi_options *options, pgr_error *err);

/* ---- grpo: a policy with the judge as its reward ---- */

typedef struct pgr_policy_options {
    pgr_train_options train; /* batch: prompts of a step. The reference is the model without an adapter */
    const char *data;        /* users' preference pairs, as for psi; their contexts are what the policy answers */
    const char *judge;       /* adapter of the judge, on the same model; NULL: the model as it is */
    size_t samples;          /* answers to a prompt: a group */
    size_t max_new;          /* tokens of an answer */
    size_t tell;             /* words of the user's taste that the policy's prompt says; 0: none */
    double kl;               /* weight of k3 against the reference */
    double clip_low, clip_high;
    bool unscaled;           /* advantages are not divided by the rewards' deviation */
    double held;             /* share of the users that are evaluated on instead of learnt from */
    size_t eval_every;       /* steps; 0: at the end only */
    size_t eval_limit;       /* prompts */
    pgr_judge_options judging; /* chains and frame of the judge */
} pgr_policy_options;

pgr_policy_options pgr_policy_options_default(void);
const pgr_option *pgr_policy_option_rows(void); /* of what is not judging */

/* GRPO (docs/training.md): each step draws `samples` answers to each of its prompts; an answer's reward is the points
 * that the judge, shown the user's other pairs, puts it ahead of the answer that the user chose; advantages are within
 * the group; groups whose rewards are all equal are counted and not computed. OUT/adapter is the policy's. */
pgr_status pgr_train_policy(pgr_model *model, const pgr_policy_options *options, pgr_train_report *out, pgr_error *err);
pgr_status pgr_policy_check(const pgr_policy_options *options, pgr_error *err);

/* ---- psi, cre, hncl on text chains ----------------------------------------------------------------------------- */

typedef enum pgr_teacher { /* who writes the chains that psi learns from */
    PGR_TEACHER_RUBRIC,    /* the built-in rubric writer: measured facts of the shown history, no model */
    PGR_TEACHER_SELF,      /* the model itself, with the adapter of train.init */
    PGR_TEACHER_SERVER,    /* an OpenAI-compatible server */
} pgr_teacher;

typedef enum pgr_process { /* who says how much of the user's criteria a chain covers */
    PGR_PROCESS_RULE,      /* words of the criteria, and measured facts by their names */
    PGR_PROCESS_SELF,      /* the model without its adapter, by the distribution over the digits */
    PGR_PROCESS_SERVER,
} pgr_process;

typedef struct pgr_teacher_server { /* that speaks OpenAI's chat completions */
    const char *url;        /* "http://HOST:PORT/v1"; NULL: none */
    const char *model;      /* NULL: the first of /v1/models */
    const char *key;        /* bearer token; NULL: $OPENAI_API_KEY where that is set */
    const char *cache;      /* folder of answers, one file a question; NULL: OUT/answers */
    size_t jobs;            /* questions at once */
    size_t max_tokens;      /* all answers together; 0: no limit. When it is used up, no question is asked any more */
    double temperature;
} pgr_teacher_server;

typedef struct pgr_text_grpo {
    size_t samples;      /* chains of a pair, half of them in each order of the responses */
    double alpha, beta;  /* weights of coverage (none in hncl) and outcome */
    pgr_outcome outcome;
    pgr_process process;
    bool apart;          /* advantages of coverage and outcome are normalised each by itself, then added */
    bool unscaled;       /* advantages are not divided by the rewards' deviation */
    double malformed;    /* reward of a chain that does not parse */
    double clip_low, clip_high, dual; /* ratios count within 1 - low .. 1 + high; dual 0: off */
    double kl;           /* weight of k3 against the reference */
    bool reference_base; /* the reference is the model without an adapter, not with the one of train.init */
    bool sequence_mean;  /* every chain weighs alike, not every token */
    double hard_from, hard_to; /* hncl: share of hard pairs at the first and the last step */
} pgr_text_grpo;

typedef struct pgr_text_options {
    pgr_stage stage;
    pgr_train_options train;  /* batch: pairs of a step */
    const char *const *data;  /* (n_data) preference pairs in any form of docs/users.md; which rows count: see psi */
    size_t n_data;
    const char *const *eval;  /* (n_eval) further files to evaluate on, at whole users that training never sees */
    size_t n_eval;
    const char *write;        /* folder: what trainers on clusters read is written there, and nothing trained
                               * (docs/large.md); NULL: train */
    const char *frame;        /* as in judging; its form is full or compact */
    size_t history;           /* pairs shown; 0: as the frame says */
    size_t max_tokens;        /* of a chain; 0: as the frame says */
    double held;              /* share of users that are evaluated on instead of learnt from */
    size_t eval_every;        /* steps; 0: at the end only */
    size_t eval_limit;        /* pairs */
    bool one_order;           /* a pair's responses are shown in one random order, not in both */
    double tau;               /* margins are divided by it */
    pgr_teacher_server server;
    /* psi */
    pgr_teacher teacher;
    size_t pairs;             /* that chains are written for; 0: all */
    size_t tries;             /* chains of a prompt, of which the first that is accepted is learnt from; of the rubric
                               * writer, who always writes the same one, one */
    double bt;                /* weight of Bradley-Terry through expected scores, beside the cross-entropy */
    /* cre, hncl */
    pgr_text_grpo grpo;
} pgr_text_options;

pgr_text_options pgr_text_options_default(pgr_stage stage);
const pgr_option *pgr_text_option_rows(pgr_stage stage);

/* The stage that the options say, on chains of text in a frame's form (method 2; docs/training.md). What OUT has
 * besides: psi OUT/chains.jsonl, every chain that the teacher wrote and why it was or was not accepted; all stages
 * OUT/samples.jsonl, chains of the evaluations. */
pgr_status pgr_train_text(pgr_model *model, const pgr_text_options *options, pgr_train_report *out, pgr_error *err);
pgr_status pgr_text_check(const pgr_text_options *options, pgr_error *err);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
