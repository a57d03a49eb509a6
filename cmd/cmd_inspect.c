/* cmd_inspect.c - `pgenrm inspect`: what a model, an adapter or an encoder is. */
#include "commands.h"
#include "message.h"
#include "session.h"

static const option_row OPTIONS[] = {{0}};

static int run(const command *self, int argc, char **argv) {
    common_options o;
    char **operands = NULL, *path = NULL, *text = NULL;
    int status = args_parse(self, argc, argv, &o, NULL, &operands);
    if (status != ARGS_RUN) return status;
    if (operands[0] && (operands[1] || o.model)) return args_wrong(self, "expected one MODEL");
    if (operands[0]) o.model = operands[0];
    status = find_model(&o, &path);
    if (status != EXIT_DONE) return status;

    pgr_error err = {0};
    pgr_model_options mo = pgr_model_options_default();
    mo.chat_template = o.chat_template;
    if (pgr_inspect(path, &mo, o.json, &text, &err) == PGR_OK) {
        size_t n = 0;
        while (text[n]) n++;
        fwrite(text, 1, n, stdout);
        if (n == 0 || text[n - 1] != '\n') putchar('\n');
    } else {
        status = complain_error(&err);
    }
    pgr_free(text);
    pgr_free(path);
    return status;
}

const command CMD_INSPECT = {
    .name = "inspect",
    .operands = "[MODEL]",
    .summary = "what a model or adapter holds and what of it is used",
    .about = "Of a model: architecture, dimensions, tensors, tokenizer, chat template, how it embeds, memory. Of a "
             "LoRA adapter (a\n"
             "PEFT folder or a GGUF file): rank, scale, targets. Of an encoder: pooling and length. Loads no weights.",
    .example = "pgenrm inspect tests/golden/lora/qwen3-all",
    .options = OPTIONS,
    .without = ARGS_NO_LORA,
    .run = run,
};
