/* cmd_convert.c - `pgenrm convert`: a model as a GGUF file. */
#include "commands.h"
#include "message.h"
#include "session.h"
#include "writing.h"

typedef struct options {
    const char *out;
    pgr_write_options write;
} options;

static const option_row OPTIONS[] = {
    {'o', "out", "FILE.gguf", "the new file", OPTION_AT(options, out)},
    {0, "type", "TYPE", "of the matrices: keep, f32, f16, bf16, q8_0 or q4_0 (default: keep)",
     CHOICE_AT(options, write.type, FILE_TYPES)},
    {0, "force", NULL, "replace an older file", OPTION_AT(options, write.force)},
    {0},
};

static int run(const command *self, int argc, char **argv) {
    common_options common;
    char **operands = NULL, *model = NULL;
    options o = {.write = pgr_write_options_default()};
    int status = args_parse(self, argc, argv, &common, &o, &operands);
    if (status != ARGS_RUN) return status;
    if (operands[0] && (operands[1] || common.model)) return args_wrong(self, "expected one MODEL");
    if (operands[0]) common.model = operands[0];
    if (!o.out) return args_wrong(self, "expected --out FILE.gguf");
    status = find_model(&common, &model);
    if (status != EXIT_DONE) return status;

    pgr_error err = {0};
    pgr_written w;
    pgr_progress_bar *bar = begin_writing(&common, &o.write);
    pgr_status written = pgr_convert(model, o.out, &o.write, &w, &err);
    pgr_progress_bar_free(bar);
    pgr_free(model);
    if (written != PGR_OK) return complain_error(&err);
    print_written(o.out, &w, common.json);
    return EXIT_DONE;
}

const command CMD_CONVERT = {
    .name = "convert",
    .operands = "[MODEL]",
    .summary = "write a model as a GGUF file",
    .about =
        "MODEL is a Hugging Face folder or a GGUF file; the new file is one that llama.cpp loads. Prints its name.\n"
        "Norms and biases are F32. Rows that are no multiple of 32 are F16 where q8_0 or q4_0 is asked for; embedding\n"
        "and head are q8_0 in a q4_0 file.",
    .example = "pgenrm convert tests/golden/hf-tiny-qwen3 --type q8_0 --out out.gguf --force",
    .options = OPTIONS,
    .without = ARGS_NO_LORA | ARGS_NO_CHAT_TEMPLATE | ARGS_NO_DTYPE,
    .run = run,
};
