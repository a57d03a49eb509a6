/* cmd_label.c - `pgenrm label`: the judge decides which of a request's responses is preferred. */
#include <string.h>

#include "commands.h"
#include "json_out.h"
#include "judge_args.h"
#include "message.h"
#include "pgenrm_train.h"
#include "session.h"

typedef struct label_run {
    common_options common;
    judge_args judge;
    pgr_label_options o;
    const char *out;
} label_run;

static const char *const FORMS[] = {"dpo", "kto", NULL}; /* in the order of pgr_label_form */

static const option_row OPTIONS[] = {
    {0, "out", "FILE", "the rows (must be given); FILE.part until all are there", OPTION_AT(label_run, out)},
    {0, "form", "FORM", "dpo: chosen and rejected in a line; kto: a completion and its label (default: dpo)",
     CHOICE_AT(label_run, o.form, FORMS)},
    {0, "margin", "M", "points that the best response must be ahead of the worst (default: 0, but no ties)",
     OPTION_AT(label_run, o.margin), .lo = 0, .hi = 100},
    {0, "group", "N", "requests that are judged together (default: 32)", OPTION_AT(label_run, o.group), .lo = 1,
     .hi = 4096},
    {0, "resume", NULL, "go on with what an interruption has left in FILE.part", OPTION_AT(label_run, o.resume)},
    JUDGE_OPTIONS(label_run, judge),
    {0}};

static int tell(const label_run *r, const pgr_label_report *report) {
    if (report->failed > 0) complain("%zu requests were not judged; the first: %s", report->failed, report->first);
    if (r->common.json) {
        printf("{\"path\":");
        json_text(r->out, strlen(r->out));
        printf(",\"read\":%zu,\"labelled\":%zu,\"close\":%zu,\"failed\":%zu}\n", report->read, report->labelled,
               report->close, report->failed);
    } else {
        printf("%s: %zu of %zu requests labelled, %zu too close, %zu not judged\n", r->out, report->labelled,
               report->read, report->close, report->failed);
    }
    return report->failed > 0 ? EXIT_SOME_FAILED : EXIT_DONE;
}

static int label(label_run *r, const char *requests) {
    session s = {0};
    pgr_error err = {0};
    pgr_label_report report = {0};
    int status = take_shipped_adapter(&r->common, r->judge.o.frame, &r->judge.shipped);
    if (status == EXIT_DONE) status = judge_args_open(&r->judge, &r->common);
    if (status == EXIT_DONE) status = session_open(&r->common, true, &s);
    if (status == EXIT_DONE) {
        r->judge.o.seed = r->common.seed;
        r->o.judge = r->judge.o;
        r->o.watch = bar_watch(s.bar);
        status = finish_call(pgr_label(s.engine, requests, r->out, &r->o, &report, &err), &err);
        if (status == EXIT_DONE) status = tell(r, &report);
    }
    session_close(&s);
    judge_args_close(&r->judge);
    return status;
}

static int run(const command *self, int argc, char **argv) {
    label_run r = {.judge = {.o = pgr_judge_options_default()}, .o = pgr_label_options_default()};
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &r.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    if (!operands[0] || operands[1]) return args_wrong(self, "expected one file of requests");
    if (!r.out) return args_wrong(self, "expected --out FILE");
    return label(&r, operands[0]);
}

const command CMD_LABEL = {
    .name = "label",
    .operands = "REQUESTS.jsonl",
    .summary = "preference pairs that the judge decides, for DPO and KTO",
    .about = "Judges every request (docs/requests.md, or PersonalRewardBench records) and writes the best response "
             "against the\n"
             "worst, in rows that TRL's trainers and `pgenrm train dpo` read (docs/training.md).",
    .example = "pgenrm label examples/choices.jsonl --out /tmp/pairs.jsonl",
    .options = OPTIONS,
    .rows = pgr_judge_option_rows,
    .rows_at = offsetof(label_run, judge.o),
    .remote = true,
    .run = run,
};
