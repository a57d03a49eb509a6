/* pgenrm_bench.h - measuring judges: benchmarks on known choices, synthetic users with known truth, LaMP-QA.
 *
 *     pgr_bench_options o = pgr_bench_options_default();
 *     const char *const data[] = {"choices.jsonl"};
 *     const int none[] = {0};
 *     pgr_bench_report *report = NULL;
 *     pgr_error err;
 *     o.data = data;
 *     o.n_data = 1;
 *     o.ind = none; // no language model: the statistical methods alone
 *     if (pgr_bench(NULL, &o, &report, &err) == PGR_OK)
 *         printf("%s: %.3f\n", report->rows[0].method, report->rows[0].accuracy);
 *     pgr_bench_free(report);
 *
 * What pgenrm.h says of errors, text and ownership holds here too. */
#ifndef PGENRM_BENCH_H
#define PGENRM_BENCH_H

#include "pgenrm.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* ---- synthetic users ------------------------------------------------------------------------------------------- */

/* Users with known truth, to measure what real data cannot tell from noise: latent weights over measured facts of a
 * text (length, lists, warmth, ...) that depend on the kind of query, users drawn around prototypes, noisy choices
 * (Bradley-Terry) between real responses. Utilities are scaled so that those of two random responses to a query differ
 * by 1 (standard deviation). */
typedef struct pgr_synth_options {
    size_t users;             /* 400 */
    size_t prototypes;        /* 8: tastes that users are drawn from */
    size_t hold_prototypes;   /* 2 of these: only held-out users have them; 0: none */
    size_t train_pairs;       /* 16 of each user, on train prompts */
    size_t test_pairs;        /* 6 of each user, on held-out prompts */
    double held_users;        /* 0.25: share of users whose train rows are a history only */
    double held_prompts;      /* 0.3: share of prompts that only test rows ask */
    double least;             /* 0.25: no pair's utilities differ by less */
    double noise;             /* 0.15: a choice follows sigmoid(difference / noise) */
    double common;            /* size of what all users share, beside a prototype's taste of size 1 */
    double scenario;          /* of what a prototype changes with the kind of query */
    double own;               /* of what is a user's alone */
    size_t max_bytes;         /* 1500: longer responses and prompts are left out */
    size_t truths;            /* 8: draws of everything that the ladder is measured on, from the seeds seed, seed + 1
                               * and so on; the file is the first */
    uint64_t seed;
    pgr_watch watch;
} pgr_synth_options;

pgr_synth_options pgr_synth_options_default(void);

/* One method on the held-out users' test rows: means over the truths. Errors (`_se`) are those between truths, so that
 * the luck of which tastes were drawn counts; with one truth they are clustered by user, and it does not. */
typedef struct pgr_synth_step {
    const char *name;             /* static */
    size_t history;               /* pairs of the user that it sees; 0: none */
    double accuracy, accuracy_se;
    double stranger, stranger_se; /* the same method given another user's history; NaN without history */
    double gain, gain_se;         /* own less stranger's, row by row; NaN without history */
} pgr_synth_step;

enum { PGR_SYNTH_STEPS = 24 };

typedef struct pgr_synth_ladder { /* on one kind of held-out users */
    pgr_synth_step steps[PGR_SYNTH_STEPS];
    size_t n_step;      /* 0: there are no such users */
    size_t users, rows; /* of one truth */
    double ceiling;     /* mean probability of the likelier choice: what the oracle gets without luck */
} pgr_synth_ladder;

typedef struct pgr_synth_report {
    size_t prompts, responses;                       /* that were used */
    size_t users, held_users, train_rows, test_rows; /* of one truth */
    size_t truths;
    size_t kinds[4];         /* prompts of each kind: code, write, advise, explain */
    pgr_synth_ladder ladder; /* held-out users of prototypes that known users have */
    pgr_synth_ladder unseen; /* those of prototypes that were held out */
} pgr_synth_report;

/* responses: a file of {"prompt": "...", "responses": {"name": "text", ...}} lines, plain or gzip. Writes
 * PersonalRewardBench records to out (NULL: none) with the keys `truth` (probability that `chosen` is preferred),
 * `prototype`, `type` (the kind of query) and `subset`: of a held-out user's train rows "history", of test rows
 * "known", or "held" with "seen" or "unseen" (docs/synth.md). Measures the ladder into report (may be NULL). The same
 * options give the same file, byte for byte.
 * on error and after *cancel: no file under that name, an older one is as it was; report is not written. */
pgr_status pgr_synth(const char *responses, const char *out, const pgr_synth_options *options, pgr_synth_report *report,
                     pgr_error *err);
/* What is wrong with the options themselves, whatever the responses: pgr_synth begins with it. PGR_E_ARG: they are. */
pgr_status pgr_synth_check(const pgr_synth_options *options, pgr_error *err);

/* ---- bench ----------------------------------------------------------------------------------------------------- */

/* What pgr_bench measures (docs/bench.md): methods side by side on the same pairs of a data set, with their errors. */
typedef struct pgr_bench_options {
    const char *const *data; /* (n_data) files of pairs in any form of docs/users.md; each is a set with rows of
                              * its own */
    size_t n_data;
    const char *const *history_from; /* (n_history_from) files whose train rows are history too */
    size_t n_history_from;
    const char *const *users; /* (n_users) files with {"user_id", "demographics"} */
    size_t n_users;
    const char *split;  /* the rows that are asked; "train": each without its own conversation in its history, for the
                         * language model's own chains alone (what learns from train rows, pro, is refused) */
    const char *subset; /* only rows of this subset; NULL: all */
    const char *user_key; /* the column that names a row's user; NULL: "user_id", or the form's own */
    size_t limit;       /* asked rows of a set, spread over its users; 0: all */
    const int *ind;     /* (n_ind) chains under the user's own history; {0}: no language model */
    size_t n_ind;
    const int *pro;     /* (n_pro) chains under similar users' histories, each with every ind */
    size_t n_pro;
    int runs;           /* each with a seed of its own */
    uint64_t seed;
    const char *const *methods; /* (n_methods) names of docs/bench.md: these and `longest` are run */
    size_t n_methods;   /* 0: as the other settings say */
    bool baselines;     /* the statistical methods and, with a language model, the judge's plain prompts */
    size_t strangers;   /* every row that uses a history again with those of so many other users; 0: none */
    size_t folds;       /* fitted methods cross-validated over all rows in so many folds, too (docs/bench.md); 0: not */
    bool robust;        /* how often a text that says nothing wins against the chosen response, too */
    int n_thread;       /* of fits; 0: all cores */
    size_t at_once;     /* 1: requests of the language model at work together, whose chains a kill loses; 0: as many as
                         * keep the engine busy. The numbers do not depend on it */
    const char *out;    /* folder for verdicts, rows and the report; NULL: nothing is kept */
    bool resume;        /* go on with what `out` holds; the settings must be the same */
    const char *calibration;     /* file of such a calibration: the language model's verdicts get probabilities by it,
                                  * where it has a map for their kind; NULL: none, and judge.calibration is not looked
                                  * at */
    const char *calibration_out; /* file for a calibration fitted on the verdicts of each set's last p-genrm row that is
                                  * no control, for each kind of verdict of which there are 8 a map: of shrunk leads,
                                  * or of probabilities where no verdict has two chains. A map for another kind that
                                  * the file has stays; NULL: none */
    const char *calibration_kind; /* "answers" or "views": of these verdicts alone; NULL: of both */
    const char *attributes_out;  /* file for what people choose by the attributes of texts, fitted on the train rows of
                                  * the one set that is asked (pgr_attributes_open); NULL: none */
    pgr_judge_options judge; /* how p-genrm asks; its ind, pro, seed, watch and callbacks are not looked at. Without
                                its people similar users come from a store that is made of each set's train
                                rows, in `out` */
    const char *by;          /* the way of its prototypes (pgr_proto_by): "votes", "choices" or "facts"; NULL: votes
                              * where texts have several judges or there is no embedder, else choices */
    pgr_embedder *embedder;  /* for methods that need one; NULL: they are left out, with a note */
    pgr_scalar *scalar;      /* for the methods scalar and scalar-personal; NULL: they are not run */
    const char *embedder_path; /* where it was opened; NULL: the default one's */
    pgr_watch watch;
} pgr_bench_options;

typedef struct pgr_bench_errors { /* a mean's standard error with rows clustered by user, by question */
    double user, question;
} pgr_bench_errors;

typedef struct pgr_bench_bin { /* verdicts whose confidence, .5 to 1, lies in one tenth of that range */
    size_t n;
    double confidence, right; /* means */
} pgr_bench_bin;

enum { PGR_BENCH_BINS = 10 };

typedef struct pgr_bench_at { /* accuracy of the first chains of every verdict */
    size_t chains;
    double accuracy, se;
} pgr_bench_at;

typedef struct pgr_bench_best { /* choices among more than two responses: the chosen one against each other one */
    size_t groups;         /* 0: there are none */
    double responses;      /* mean number, the chosen one among them */
    double accuracy;       /* share of groups in which the chosen one beats all others; ties share the place */
    pgr_bench_errors errors;
    double random;         /* the same by chance */
    double rank, random_rank; /* mean place of the chosen one, 1 the best */
} pgr_bench_best;

typedef struct pgr_bench_hollow { /* a text that says nothing, in the place of the rejected response */
    const char *kind;             /* static */
    double wins, se;              /* share of verdicts for it and not for the chosen response, a tie as half */
} pgr_bench_hollow;

/* Cross-validation over all rows, fitted anew without each fold (docs/bench.md). */
typedef struct pgr_bench_cv {
    size_t folds, pairs; /* folds 0: there is none */
    const char *by;      /* "question" or "conversation": what no two folds share */
    double accuracy, accuracy_se, log_loss;
    double over_longest, over_longest_se, over_base, over_base_se, over_stranger, over_stranger_se;
    pgr_bench_errors accuracy_errors, over_longest_errors, over_base_errors, over_stranger_errors;
} pgr_bench_cv;

/* One method on one data set. A number that is not there is NaN. An error `_se` is the larger of those by user and by
 * question, which `_errors` has both; accuracy_se_runs is that of the runs' accuracies. */
typedef struct pgr_bench_row {
    const char *data, *split, *method, *model; /* model: "" without a language model */
    int ind, pro, history;  /* history: pairs shown at most; -1: all, or as the frame says; 0: none */
    bool stranger;          /* with other users' histories: all numbers are over all of the strangers */
    bool plain;             /* of a method that uses a history: without one */
    size_t strangers;       /* of this row, or of the control that over_stranger compares with */
    uint64_t seed;
    size_t runs, pairs, users, questions; /* users, questions: who and which have such pairs */
    size_t pairs_all, users_all, limit;   /* before the limit; limit 0: none */
    double accuracy, accuracy_se, accuracy_se_runs; /* every pair counts, a tie or a failure as half */
    pgr_bench_errors accuracy_errors;
    double accuracy_parsed;          /* of the verdicts that are neither a tie nor a failure */
    double macro_user, macro_prototype; /* means of the users' and of the prototypes' accuracies */
    size_t ties, failures;           /* of runs x pairs verdicts; a failure: no chain could be read */
    size_t chains, chains_failed;
    double flip_rate;
    size_t tokens, prompt_tokens, cached_tokens; /* tokens: written */
    double seconds, seconds_per_pair; /* of wall clock, all runs; of one verdict */
    /* of the probability of the chosen response; a failure counts as .5, log loss holds it within .001 and .999 */
    double log_loss, brier;
    /* expected calibration error: as it is; after a map fitted on the other users */
    double ece, ece_temperature, ece_isotonic, ece_shrunk;
    /* what ece would be of itself if these probabilities were true: mean and 95th percentile of simulated outcomes */
    double ece_floor, ece_floor_95;
    /* the same where rows of one user (or about one question, whichever is more) stand and fall together as far as they
     * do here, from 0 (not at all) to 1 (as one). NaN: all rows are of one user, about one question */
    double ece_floor_clustered, ece_floor_clustered_95;
    double together_user, together_question;
    /* mean confidence less the share that is right; its errors know of users and questions, too */
    double overconfidence, overconfidence_se;
    pgr_bench_errors overconfidence_errors;
    /* Cohen's kappa with the users, their choice and the verdict both as "the longer one" or not; the agreement that
     * chance alone gives; how often users choose the longer one. Of pairs whose lengths differ */
    double kappa, kappa_chance, longer_chosen;
    /* how often two runs, or the two halves of a verdict's own chains, prefer one response; a tie agrees by half */
    double self_consistency, self_consistency_halves;
    double over_longest, over_longest_se;   /* paired differences of accuracy: to the longest answer, */
    double over_base, over_base_se;         /* to the same without the user, */
    double over_stranger, over_stranger_se; /* to the mean of itself with other users' histories, */
    double over_ind, over_ind_se;           /* and of a row with pro to as many chains under the own history */
    pgr_bench_errors over_longest_errors, over_base_errors, over_stranger_errors, over_ind_errors;
    double stranger_accuracy, stranger_spread; /* of the strangers: mean, standard deviation between them */
    bool calibrated;     /* the language model's probabilities are those of options.calibration */
    size_t uncalibrated; /* verdicts of the language model that had no map for their kind: log_loss, brier, ece and bins
                          * of a calibrated row leave them out, other rows have no others */
    const char *base; /* the method that over_base compares with, "" if none */
    pgr_bench_bin bins[PGR_BENCH_BINS];
    const pgr_bench_at *by_chains; /* (n_by_chains) for 1, 2, 3... chains of ind, in the order in which they are
                                    * numbered */
    size_t n_by_chains;
    pgr_bench_best best;
    pgr_bench_cv cv;
    const pgr_bench_hollow *hollow; /* (n_hollow) with `robust` */
    size_t n_hollow;
} pgr_bench_row;

typedef struct pgr_bench_report {
    const pgr_bench_row *rows; /* (n_row) set by set, in the order of docs/bench.md */
    size_t n_row;
    const char *const *notes;  /* (n_note) what was left out and why, what was not as expected */
    size_t n_note;
    double seconds;            /* of this call */
} pgr_bench_report;

pgr_bench_options pgr_bench_options_default(void);

/* Will pgr_bench ask the language model with these options? */
bool pgr_bench_asks_model(const pgr_bench_options *options);

/* What is wrong with the options themselves, whatever is in the files: pgr_bench begins with it, and so can a program,
 * to tell what was asked wrongly from what could not be done. PGR_E_ARG: an option is wrong. */
pgr_status pgr_bench_check(const pgr_engine *engine, const pgr_bench_options *options, pgr_error *err);

/* Runs the methods and writes OUT/plan.json, verdicts.jsonl (each verdict as soon as it is there), rows.jsonl and
 * report.html. engine: may be NULL where no language model is asked. *out is the caller's (pgr_bench_free).
 * errors: PGR_E_CANCELLED after *cancel; like a killed run it goes on with `resume` and ends in the same numbers but
 * for times and cached tokens. PGR_E_ARG where `out` holds a run of other settings, naming the first that differs. */
pgr_status pgr_bench(pgr_engine *engine, const pgr_bench_options *options, pgr_bench_report **out, pgr_error *err);
void pgr_bench_free(pgr_bench_report *report);

/* What a population chooses by the attributes of texts, as a reward model: the file of pgr_bench_options.attributes_out
 * (docs/scalar.md). Differences of its scores are log odds. Needs no chat template, has no limit of length.
 * pgr_scalar_close. */
pgr_status pgr_attributes_open(const char *path, pgr_scalar **out, pgr_error *err);

/* One JSON object, no line breaks (docs/bench.md). *out is the caller's (pgr_free). */
pgr_status pgr_bench_row_json(const pgr_bench_row *row, char **out, pgr_error *err);
/* The report as one HTML page with its plots inside. *out is the caller's (pgr_free). */
pgr_status pgr_bench_html(const pgr_bench_report *report, const char *title, char **out, pgr_error *err);

/* ---- cold start ------------------------------------------------------------------------------------------------ */

/* How many pairs of a new user are known, and in how many folds such users are taken out of the rest. */
typedef struct pgr_cold_options {
    const int *known; /* (n_known) 0, 1, 2, 3, 6, 10: growing */
    size_t n_known;
    size_t folds;     /* 5 */
} pgr_cold_options;

typedef struct pgr_cold_row { /* a method on users of whom `known` pairs are known */
    const char *data, *method;
    int ind, pro;
    bool stranger;
    int known;
    size_t pairs, users;                  /* asked; the same at every `known` */
    double accuracy, accuracy_se;         /* errors are clustered by user */
    double over_longest, over_longest_se; /* paired */
    size_t ties, failures;
    size_t place;                         /* of the method among the rows */
} pgr_cold_row;

typedef struct pgr_cold_report {
    const pgr_cold_row *rows; /* (n_row) by data set and method, fewest pairs first */
    size_t n_row;
    const char *const *notes; /* (n_note) of the runs with the fewest pairs */
    size_t n_note;
} pgr_cold_report;

pgr_cold_options pgr_cold_options_default(void);

/* What pgr_bench measures, on users who are new: asked are the users who have the largest number of train pairs, the
 * same ones at every number. In the runs of a fold its users have `known` of these pairs, as a prompt shows at most
 * (judge.history), and everybody else has all of his. how: NULL: the defaults. options.out: NULL, or a folder with one
 * below for each run (DATA-KNOWN-FOLD), each of which goes on with `resume`.
 * errors: as pgr_bench; PGR_E_ARG where fewer than two users have so many train pairs. */
pgr_status pgr_bench_cold(pgr_engine *engine, const pgr_bench_options *options, const pgr_cold_options *how,
                          pgr_cold_report **out, pgr_error *err);
void pgr_cold_free(pgr_cold_report *report); /* NULL is fine */

/* ---- LaMP-QA --------------------------------------------------------------------------------------------------- */

/* Ranks generators (models that wrote answers) by the scores that the judge gives their answers to LaMP-QA's questions
 * (docs/bench.md). The history of a user is texts without choices: some of them stand in the request as what is known
 * of the user (`demographics`). */
typedef struct pgr_lampqa_options {
    const char *questions;        /* LaMP-QA's records, JSON lines or an array, plain or gzip */
    const char *const *responses; /* (n_response, 2 to 26) a file for each generator: {"ID": [{"output": "..."}]}. The
                                     generator's name is the file's without folder and ending */
    size_t n_response;
    const char *truth;            /* file with the generators' true scores, {"CATEGORY": {"NAME": 1.5}} or
                                   * {"NAME": 1.5}; NULL: none */
    size_t history;               /* texts of the profile that are shown, drawn by the seed; 0: none */
    size_t limit;                 /* questions of a category, drawn by the seed; 0: all */
    uint64_t seed;
    pgr_judge_options judge;      /* its pro, history, history_by, draws, people, seed, keep_chains, watch and
                                     callbacks are not looked at */
    pgr_watch watch;
} pgr_lampqa_options;

typedef struct pgr_lampqa_generator { /* in one category */
    const char *name;
    double score, se; /* mean over the questions that have a score, its standard error; NaN where there are none (se:
                       * fewer than 2) */
    size_t scored, failures; /* questions with and without a score for this generator */
    double rank;      /* 1: the best; equal scores share the mean of their ranks; NaN without a score */
    double truth;     /* NaN: not given */
} pgr_lampqa_generator;

typedef struct pgr_lampqa_row { /* a category */
    const char *category, *model;
    size_t questions, failures; /* asked; of them without a score for some generator */
    const pgr_lampqa_generator *generators; /* (n_generator) the best first, those without a score last */
    size_t n_generator;
    double spearman;     /* of score and truth; NaN: there is none */
    const char *why_not; /* why there is none though a truth was given, else "" */
    int ind;             /* chains of a question; -1: the judge's default */
    size_t history;
    uint64_t seed;
} pgr_lampqa_row;

typedef struct pgr_lampqa_report {
    const pgr_lampqa_row *rows; /* (n_row) categories in the order of the questions */
    size_t n_row;
    double spearman;            /* mean of the rows that have one; NaN: none has */
    size_t n_spearman;          /* of these rows */
    size_t unanswered;          /* questions that were left out because a generator has no answer */
    const char *const *notes;   /* (n_note) what was left out and why, what was not as expected */
    size_t n_note;
    double seconds;
} pgr_lampqa_report;

pgr_lampqa_options pgr_lampqa_options_default(void); /* history 3, 8 chains */

/* *out is the caller's (pgr_lampqa_free). A question without a score is counted, never guessed.
 * errors: PGR_E_ARG: fewer than two generators, two of one name, a truth that knows not all of them or others, no
 * question that all answered; PGR_E_FORMAT with file and field; PGR_E_CANCELLED. */
pgr_status pgr_lampqa(pgr_engine *engine, const pgr_lampqa_options *options, pgr_lampqa_report **out, pgr_error *err);
void pgr_lampqa_free(pgr_lampqa_report *report); /* NULL is fine */

/* One JSON object, no line breaks (docs/bench.md). *out is the caller's (pgr_free). */
pgr_status pgr_lampqa_row_json(const pgr_lampqa_row *row, char **out, pgr_error *err);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
