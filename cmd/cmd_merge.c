/* cmd_merge.c - `pgenrm merge`: a model with adapters merged in, as a Hugging Face folder or a GGUF file. */
#include <stdlib.h>

#include "buffer.h"
#include "commands.h"
#include "message.h"
#include "session.h"
#include "writing.h"

typedef struct options {
    const char *out;
    pgr_write_options write;
} options;

static const option_row OPTIONS[] = {
    {'o', "out", "DIR|FILE.gguf", "the new model: GGUF where the name ends with .gguf, else a folder",
     OPTION_AT(options, out)},
    {0, "type", "TYPE", "of the weights: keep, f32, f16 or bf16, in a GGUF file q8_0 or q4_0 too (default: keep)",
     CHOICE_AT(options, write.type, FILE_TYPES)},
    {0, "force", NULL, "replace an older file, or the model in an older folder", OPTION_AT(options, write.force)},
    {0},
};

static int merge(const char *model, const common_options *common, options *o) {
    pgr_adapter adapters[ARGS_MAX_LORA];
    char *paths[ARGS_MAX_LORA];
    pgr_error err = {0};
    pgr_written w;
    for (size_t i = 0; i < common->n_lora; i++) {
        paths[i] = must_dup(common->loras[i].text, common->loras[i].n);
        adapters[i] = (pgr_adapter){paths[i], common->loras[i].scale};
    }
    pgr_progress_bar *bar = begin_writing(common, &o->write);
    pgr_status merged = pgr_merge(model, adapters, common->n_lora, o->out, &o->write, &w, &err);
    pgr_progress_bar_free(bar);
    for (size_t i = 0; i < common->n_lora; i++) free(paths[i]);
    if (merged != PGR_OK) return complain_error(&err);
    print_written(o->out, &w, common->json);
    return EXIT_DONE;
}

static int run(const command *self, int argc, char **argv) {
    common_options common;
    char **operands = NULL, *model = NULL;
    options o = {.write = pgr_write_options_default()};
    int status = args_parse(self, argc, argv, &common, &o, &operands);
    if (status != ARGS_RUN) return status;
    if (operands[0]) return args_wrong(self, "expected options only, found \"%s\"", operands[0]);
    if (common.n_lora == 0) return args_wrong(self, "expected --lora PATH[:SCALE]");
    if (!o.out) return args_wrong(self, "expected --out DIR or --out FILE.gguf");
    status = find_model(&common, &model);
    if (status == EXIT_DONE) status = merge(model, &common, &o);
    pgr_free(model);
    return status;
}

const command CMD_MERGE = {
    .name = "merge",
    .operands = "-m MODEL --lora PATH[:SCALE]... --out DIR|FILE.gguf",
    .summary = "write a model with LoRA adapters merged in",
    .about =
        "W + the sum of scale * B A, computed in fp32 and rounded to the type that the model's tensors have. A folder\n"
        "is one that transformers loads (from a folder only), a GGUF file one that llama.cpp loads.",
    .example = "pgenrm merge -m tests/golden/hf-tiny-qwen3 --lora tests/golden/lora/qwen3-all --out merged --force",
    .options = OPTIONS,
    .without = ARGS_NO_CHAT_TEMPLATE | ARGS_NO_DTYPE,
    .run = run,
};
