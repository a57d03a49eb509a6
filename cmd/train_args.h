/* train_args.h - what the commands `pgenrm train STAGE` share: options, opening, the end. */
#ifndef PGR_CMD_TRAIN_ARGS_H
#define PGR_CMD_TRAIN_ARGS_H

#include "commands.h"
#include "pgenrm_train.h"
#include "session.h"

typedef struct train_args { /* besides the rows of the library */
    common_options common;
    pgr_train_options *o;
    const char *result; /* folder of --out that is the result; NULL: "adapter", or with --full "model" */
    const char *written; /* folder that was made in place of a result; NULL: none */
    pgr_ranks *ranks;    /* NULL: this process is alone */
} train_args;

/* "0.9,0.98": an exit status. */
int train_take_betas(pgr_train_options *o, const char *value);
/* The words of --config FILE take its place, behind the name of the stage, argv[1]. An exit status; *argv is good until
 * the program ends. */
int train_config(int *argc, char ***argv);
int train_take_config(void *options, const option_row *row, const char *value); /* it was not spelled out */
/* After a->o is set and the command's options are taken: opens the model. An exit status. */
int train_begin(const command *self, train_args *a, session *s);
/* The same of a model of any head. */
int train_begin_any(const command *self, train_args *a, session *s);
/* What the run came to, as an exit status. All ranks are here with the same one: the first tells it. */
int train_finish(train_args *a, pgr_status trained, const pgr_train_report *report, const pgr_error *err);

/* Rows of every stage. run: the type of the command's struct, which has the stage's options as `o`; take_betas: takes
 * the row "betas". */
/* clang-format off */
#define TRAIN_SHARED_ROWS(run, betas, take_betas)                                                                      \
    {0, "out", "DIR", "the run's folder: metrics.jsonl, checkpoints, result (must be given)",                          \
     OPTION_AT(run, o.train.out)},                                                                                     \
    {0, "init", "ADAPTER", "begin with this adapter, without its optimiser (default: a new one)",                      \
     OPTION_AT(run, o.train.init)},                                                                                    \
    {0, "config", "FILE", "options from a JSON object, {\"lr\": 1e-4, \"steps\": 100}; those of the command line "     \
     "count more", .take = train_take_config},                                                                         \
    {0, "trackio", "DB", "metrics into a database of Trackio, too: FILE.db, or a project's name",                      \
     OPTION_AT(run, o.train.trackio)},                                                                                 \
    {0, "betas", "A,B", "AdamW's (default: " betas ")", .take = take_betas}
/* clang-format on */

extern const command TRAIN_BT, TRAIN_DPO, TRAIN_GRPO; /* cmd_train_*.c */
extern const command TRAIN_TEXT_PSI, TRAIN_TEXT_CRE, TRAIN_TEXT_HNCL;
/* Of psi, cre and hncl: --frame names anything but the frame of slots. */
bool train_wants_text(int argc, char **argv);

#endif
