/* cmd_report.c - `pgenrm report`: runs of bench and train as one file to look at without a server. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "json_out.h"
#include "message.h"
#include "pgenrm_serve.h"

typedef struct report_run {
    common_options common;
    const char *out;
} report_run;

static const option_row OPTIONS[] = {
    {0, "out", "SITE", "the folder of the page, made where it is not there", OPTION_AT(report_run, out)},
    {0},
};

static int run(const command *self, int argc, char **argv) {
    report_run r = {.out = NULL};
    char **operands = NULL;
    pgr_error err = {0};
    size_t n = 0;
    int status = args_parse(self, argc, argv, &r.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    if (!operands[0] || operands[1]) return args_wrong(self, "expected one DIR");
    if (!r.out) return args_wrong(self, "expected --out SITE");
    if (pgr_report_write(operands[0], r.out, &n, &err) != PGR_OK) return complain_error(&err);
    if (r.common.json) {
        printf("{\"path\":");
        json_text(r.out, strlen(r.out));
        printf(",\"runs\":%zu}\n", n);
    } else {
        printf("%s/index.html: %zu run%s\n", r.out, n, n == 1 ? "" : "s");
    }
    return finish_output();
}

const command CMD_REPORT = {
    .name = "report",
    .operands = "DIR",
    .summary = "runs of bench and train as one page, to send to somebody",
    .about = "Puts the runs below DIR, or DIR itself, together to SITE/index.html: one file with all that the page of\n"
             "`pgenrm serve --runs DIR` shows of them, which needs no server and asks nobody (docs/page.md).",
    .example = "pgenrm bench --ind 0 -q --out RUN examples/choices.jsonl && pgenrm report RUN --out SITE",
    .options = OPTIONS,
    .without = ARGS_NO_MODEL | ARGS_NO_LORA | ARGS_NO_CHAT_TEMPLATE | ARGS_NO_DTYPE | ARGS_NO_COMPUTING,
    .run = run,
};
