/* cmd_pull.c - `pgenrm pull`: a model's files from a Hugging Face hub. */
#include <string.h>

#include "commands.h"
#include "json_out.h"
#include "message.h"

static const option_row OPTIONS[] = {
    {0, "to", "DIR", "folder for the files (default: ORG/NAME below the cache folder)",
     OPTION_AT(pgr_pull_options, to)},
    {0, "include", "PATTERN", "only files that match, such as '*Q4_K_M*' where a model has many",
     OPTION_AT(pgr_pull_options, include)},
    {0, "all", NULL, "every file, not only json, safetensors, gguf, jinja, txt and model",
     OPTION_AT(pgr_pull_options, all)},
    {0},
};

static void print_result(const pgr_pulled *r, bool json) {
    if (!json) {
        printf("%s\n", r->path);
        return;
    }
    printf("{\"path\":");
    json_text(r->path, strlen(r->path));
    printf(",\"files\":%zu,\"bytes\":%llu,\"cached\":%s,\"commit\":\"%s\"}\n", r->files, (unsigned long long)r->bytes,
           r->cached ? "true" : "false", r->commit);
}

static int run(const command *self, int argc, char **argv) {
    common_options common;
    char **operands = NULL;
    pgr_pull_options o = pgr_pull_options_default();
    int status = args_parse(self, argc, argv, &common, &o, &operands);
    if (status != ARGS_RUN) return status;
    if (!operands[0] || operands[1]) return args_wrong(self, "expected one ORG/NAME[@REVISION]");

    pgr_error err = {0};
    pgr_pulled r;
    pgr_progress_bar *bar = pgr_progress_bar_create(common.quiet);
    o.watch = bar_watch(bar);
    pgr_status pulled = pgr_pull(operands[0], &o, &r, &err);
    pgr_progress_bar_free(bar);
    if (pulled != PGR_OK) return complain_usage(&err);
    print_result(&r, common.json);
    pgr_free(r.path);
    return EXIT_DONE;
}

const command CMD_PULL = {
    .name = "pull",
    .operands = "ORG/NAME[@REVISION]",
    .summary = "fetch a model from a Hugging Face hub",
    .about = "Prints the folder. Checksums are verified; what was interrupted goes on where it stopped; files in the "
             "cache of\n"
             "Hugging Face's own programs become links to it. HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE=1 count.",
    .example = "pgenrm pull Qwen/Qwen3-0.6B",
    .options = OPTIONS,
    .without = ARGS_NO_MODEL | ARGS_NO_LORA | ARGS_NO_CHAT_TEMPLATE | ARGS_NO_DTYPE,
    .run = run,
};
