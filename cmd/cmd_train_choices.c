/* cmd_train_choices.c - `pgenrm train bt` and `train dpo`: what learns from preference pairs alone. */
#include "message.h"
#include "train_args.h"

/* Takes the options of the run (at `run`, its own parts beside it). ARGS_RUN, or an exit status. */
static int take(const command *self, int argc, char **argv, void *run, train_args *a, pgr_train_options *o,
                const char *const *data) {
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &a->common, run, &operands);
    if (status != ARGS_RUN) return status;
    if (operands[0]) return args_wrong(self, "unexpected \"%s\"", operands[0]);
    if (!*data) return args_wrong(self, "expected --data PAIRS.jsonl");
    a->o = o;
    return ARGS_RUN;
}

/* ---- bt ---- */

typedef struct bt_run {
    train_args a;
    pgr_bt_options o;
} bt_run;

static int take_bt_betas(void *options, const option_row *row, const char *value) {
    (void)row;
    return train_take_betas(&((bt_run *)options)->o.train, value);
}

static const option_row BT_OPTIONS[] = {{0, "data", "PAIRS.jsonl",
                                         "preference pairs in any form of docs/users.md (must be given)",
                                         OPTION_AT(bt_run, o.data)},
                                        TRAIN_SHARED_ROWS(bt_run, "0.9,0.999", take_bt_betas),
                                        {0}};

static int run_bt(const command *self, int argc, char **argv) {
    bt_run r = {.a.result = "model", .o = pgr_bt_options_default()};
    session s = {0};
    pgr_error err = {0};
    pgr_train_report report = {0};
    int status = take(self, argc, argv, &r, &r.a, &r.o.train, &r.o.data);
    if (status != ARGS_RUN) return status;
    if (pgr_bt_check(&r.o, &err) != PGR_OK) return complain_usage(&err);
    status = train_begin_any(self, &r.a, &s);
    if (status == EXIT_DONE) status = train_finish(&r.a, pgr_train_bt(s.model, &r.o, &report, &err), &report, &err);
    session_close(&s);
    return status;
}

const command TRAIN_BT = {
    .name = "train bt",
    .summary = "a reward model: a score head by Bradley and Terry",
    .about =
        "Of each pair the chosen response is to have the higher score. The model is a Hugging Face folder of a "
        "language\n"
        "model, or of a reward model that is trained on; OUT/model is one with a score head, for --scalar and for\n"
        "transformers' ...ForSequenceClassification (docs/training.md).",
    .example = "pgenrm train bt -m tests/golden/hf-tiny-qwen3 --data examples/choices.jsonl --out /tmp/bt --steps 20",
    .options = BT_OPTIONS,
    .rows = pgr_bt_option_rows,
    .rows_of = "training",
    .rows_at = offsetof(bt_run, o),
    .without = ARGS_NO_LORA,
    .run = run_bt,
};

/* ---- dpo ---- */

typedef struct dpo_run {
    train_args a;
    pgr_dpo_options o;
} dpo_run;

static int take_dpo_betas(void *options, const option_row *row, const char *value) {
    (void)row;
    return train_take_betas(&((dpo_run *)options)->o.train, value);
}

static const option_row DPO_OPTIONS[] = {{0, "data", "PAIRS.jsonl",
                                          "preference pairs in any form of docs/users.md, such as `pgenrm label` "
                                          "writes (must be given)",
                                          OPTION_AT(dpo_run, o.data)},
                                         TRAIN_SHARED_ROWS(dpo_run, "0.9,0.999", take_dpo_betas),
                                         {0}};

static int run_dpo(const command *self, int argc, char **argv) {
    dpo_run r = {.o = pgr_dpo_options_default()};
    session s = {0};
    pgr_error err = {0};
    pgr_train_report report = {0};
    int status = take(self, argc, argv, &r, &r.a, &r.o.train, &r.o.data);
    if (status != ARGS_RUN) return status;
    if (pgr_dpo_check(&r.o, &err) != PGR_OK) return complain_usage(&err);
    status = train_begin(self, &r.a, &s);
    if (status == EXIT_DONE) status = train_finish(&r.a, pgr_train_dpo(s.model, &r.o, &report, &err), &report, &err);
    session_close(&s);
    return status;
}

const command TRAIN_DPO = {
    .name = "train dpo",
    .summary = "direct preference optimisation of a policy",
    .about = "The reference is the model without the adapter: one model in memory. Pairs come from people, or from the "
             "judge\n"
             "(`pgenrm label`); docs/training.md.",
    .example = "pgenrm train dpo --data examples/choices.jsonl --out /tmp/dpo --steps 20",
    .options = DPO_OPTIONS,
    .rows = pgr_dpo_option_rows,
    .rows_of = "training",
    .rows_at = offsetof(dpo_run, o),
    .without = ARGS_NO_LORA,
    .run = run_dpo,
};
