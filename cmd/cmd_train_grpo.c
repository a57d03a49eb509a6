/* cmd_train_grpo.c - `pgenrm train grpo`: a policy whose answers the judge rewards. */
#include <string.h>

#include "message.h"
#include "train_args.h"

typedef struct grpo_run {
    train_args a;
    pgr_policy_options o;
    char *shipped; /* the adapter that comes with pgenrm, where none is named */
} grpo_run;

static int take_grpo_betas(void *options, const option_row *row, const char *value) {
    (void)row;
    return train_take_betas(&((grpo_run *)options)->o.train, value);
}

static const option_row GRPO_OPTIONS[] = {
    {0, "data", "USERS.jsonl", "users' preference pairs in any form of docs/users.md (must be given)",
     OPTION_AT(grpo_run, o.data)},
    {0, "judge", "ADAPTER", "of the judge, on the same model; \"none\": the model as it is (default: the shipped one)",
     OPTION_AT(grpo_run, o.judge)},
    {0, "ind", "M", "chains of the judge for an answer (default: 2, one in each order)",
     OPTION_AT(grpo_run, o.judging.ind), .lo = 1, .hi = 1024},
    {0, "frame", "NAME|FILE", "of the judge (default: by the model's size)", OPTION_AT(grpo_run, o.judging.frame)},
    TRAIN_SHARED_ROWS(grpo_run, "0.9,0.999", take_grpo_betas),
    {0}};

/* --judge, or the adapter that is shipped for the model. */
static int find_judge(grpo_run *r) {
    char *model = NULL;
    pgr_error err = {0};
    if (r->o.judge && strcmp(r->o.judge, "none") == 0) {
        r->o.judge = NULL;
        return EXIT_DONE;
    }
    if (r->o.judge) return EXIT_DONE;
    int status = find_model(&r->a.common, &model);
    if (status != EXIT_DONE) return status;
    pgr_status found = pgr_adapter_find(model, &r->shipped, &err);
    pgr_free(model);
    if (found != PGR_OK) return complain_error(&err);
    r->o.judge = r->shipped;
    if (!r->shipped && !r->a.common.quiet)
        complain("no adapter comes with this model: the judge is the model as it is");
    return EXIT_DONE;
}

static int run_grpo(const command *self, int argc, char **argv) {
    grpo_run r = {.o = pgr_policy_options_default()};
    char **operands = NULL;
    r.o.judging.ind = 2;
    int status = args_parse(self, argc, argv, &r.a.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    if (operands[0]) return args_wrong(self, "unexpected \"%s\"", operands[0]);
    if (!r.o.data) return args_wrong(self, "expected --data USERS.jsonl");
    session s = {0};
    pgr_error err = {0};
    pgr_train_report report = {0};
    if (pgr_policy_check(&r.o, &err) != PGR_OK) return complain_usage(&err);
    r.a.o = &r.o.train;
    status = find_judge(&r);
    if (status == EXIT_DONE) status = train_begin(self, &r.a, &s);
    if (status == EXIT_DONE) status = train_finish(&r.a, pgr_train_policy(s.model, &r.o, &report, &err), &report, &err);
    session_close(&s);
    pgr_free(r.shipped);
    return status;
}

const command TRAIN_GRPO = {
    .name = "train grpo",
    .summary = "GRPO of a policy, rewarded by the judge",
    .about = "Each step draws --samples answers to each of --batch prompts; an answer's reward is the points that the "
             "judge,\n"
             "shown the user's other pairs, puts it ahead of the answer that the user chose. Policy, reference (no "
             "adapter)\n"
             "and judge share one model. Held users are evaluated: the policy against the model without the adapter\n"
             "(docs/training.md).",
    .example = "pgenrm train grpo --data examples/choices.jsonl --out /tmp/grpo --steps 20 --samples 4 --max-new 64",
    .options = GRPO_OPTIONS,
    .rows = pgr_policy_option_rows,
    .rows_of = "training",
    .rows_at = offsetof(grpo_run, o),
    .without = ARGS_NO_LORA,
    .run = run_grpo,
};
