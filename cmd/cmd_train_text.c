/* cmd_train_text.c - `pgenrm train psi|cre|hncl --frame FRAME`: the stages on chains of text. */
#include <string.h>

#include "message.h"
#include "train_args.h"

enum { MAX_FILES = 32 };

typedef struct text_run {
    train_args a;
    pgr_text_options o;
    const char *data[MAX_FILES], *eval[MAX_FILES];
    size_t n_data, n_eval;
} text_run;

static int take_text_betas(void *options, const option_row *row, const char *value) {
    (void)row;
    return train_take_betas(&((text_run *)options)->o.train, value);
}

static int add_file(const char **list, size_t *n, const char *what, const char *path) {
    if (*n == MAX_FILES) {
        complain("%s: more than %d files", what, MAX_FILES);
        return EXIT_USAGE;
    }
    list[(*n)++] = path;
    return EXIT_DONE;
}

static int take_text_eval(void *options, const option_row *row, const char *value) {
    text_run *r = options;
    (void)row;
    return add_file(r->eval, &r->n_eval, "--eval", value);
}

static int take_text_data(void *options, const option_row *row, const char *value) {
    text_run *r = options;
    (void)row;
    return add_file(r->data, &r->n_data, "--data", value);
}

static const option_row TEXT_OPTIONS[] = {
    TRAIN_SHARED_ROWS(text_run, "0.9,0.999", take_text_betas),
    {0, "frame", "NAME|FILE", "of the chains' prompts and form: full, compact-lines, or a file (docs/frames.md)",
     OPTION_AT(text_run, o.frame)},
    {0, "data", "FILE", "as the operands; may be repeated", .take = take_text_data},
    {0, "eval", "FILE", "evaluate on these users instead of held ones; may be repeated", .take = take_text_eval},
    {0, "write", "DIR", "train nothing: write what TRL, verl and OpenRLHF read (docs/large.md)",
     OPTION_AT(text_run, o.write)},
    {0, "server", "URL", "an OpenAI-compatible server, http://HOST:PORT/v1 (key: $OPENAI_API_KEY)",
     OPTION_AT(text_run, o.server.url), .address = ADDRESS_MUST},
    {0, "server-model", "NAME", "of the server's models (default: its first)", OPTION_AT(text_run, o.server.model)},
    {0, "answers", "DIR", "where the server's answers are kept (default: OUT/answers)",
     OPTION_AT(text_run, o.server.cache)},
    {0}};

static int run_text(const command *self, pgr_stage stage, int argc, char **argv) {
    text_run r = {.o = pgr_text_options_default(stage)};
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &r.a.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    session s = {0};
    pgr_error err = {0};
    pgr_train_report report = {0};
    for (; *operands; operands++) {
        status = add_file(r.data, &r.n_data, "DATA", *operands);
        if (status != EXIT_DONE) return status;
    }
    r.o.data = r.data;
    r.o.n_data = r.n_data;
    if (r.o.n_data == 0) return args_wrong(self, "expected DATA: files of preference pairs");
    r.o.eval = r.eval;
    r.o.n_eval = r.n_eval;
    if (pgr_text_check(&r.o, &err) != PGR_OK) return complain_usage(&err);
    r.a.o = &r.o.train;
    r.a.written = r.o.write;
    status = train_begin(self, &r.a, &s);
    if (status == EXIT_DONE) status = train_finish(&r.a, pgr_train_text(s.model, &r.o, &report, &err), &report, &err);
    session_close(&s);
    return status;
}

static int run_text_psi(const command *self, int argc, char **argv) {
    return run_text(self, PGR_STAGE_PSI, argc, argv);
}

static int run_text_cre(const command *self, int argc, char **argv) {
    return run_text(self, PGR_STAGE_CRE, argc, argv);
}

static int run_text_hncl(const command *self, int argc, char **argv) {
    return run_text(self, PGR_STAGE_HNCL, argc, argv);
}

static const pgr_option *text_psi_rows(void) {
    return pgr_text_option_rows(PGR_STAGE_PSI);
}

static const pgr_option *text_cre_rows(void) {
    return pgr_text_option_rows(PGR_STAGE_CRE);
}

static const pgr_option *text_hncl_rows(void) {
    return pgr_text_option_rows(PGR_STAGE_HNCL);
}

const command TRAIN_TEXT_PSI = {
    .name = "train psi",
    .operands = "--frame full FILE...",
    .summary = "text chains: a teacher's, kept where they parse and rank the pair right",
    .about = "Files are preference pairs in any form of docs/users.md. The teacher (--teacher) writes a chain for each "
             "order of\n"
             "a pair's responses; those that parse and rank it right are learnt: cross-entropy on their tokens, and\n"
             "Bradley-Terry through the expected scores at their places (--bt-weight). Once more on the model's own "
             "chains:\n"
             "--teacher self --init RUN/adapter. Without --frame, or with compact, it is the compact judge that is "
             "trained.",
    .example = "pgenrm train psi --frame full examples/choices.jsonl --out /tmp/psi --steps 20",
    .options = TEXT_OPTIONS,
    .rows = text_psi_rows,
    .rows_of = "training",
    .rows_at = offsetof(text_run, o),
    .without = ARGS_NO_LORA,
    .run = run_text_psi,
};

const command TRAIN_TEXT_CRE = {
    .name = "train cre",
    .operands = "--frame full FILE...",
    .summary = "GRPO on text chains, rewarded for coverage and outcome",
    .about =
        "Of each of --batch pairs --samples chains are written, half of them in each order of the responses, in "
        "one group.\n"
        "A chain's reward is --alpha times what it covers of the user's criteria (--process), which the prompt does "
        "not show,\n"
        "plus --beta times its outcome on the pair; --malformed where it does not parse.",
    .example = "pgenrm train cre --frame full examples/choices.jsonl --init /tmp/psi/adapter --out /tmp/cre --steps 5",
    .options = TEXT_OPTIONS,
    .rows = text_cre_rows,
    .rows_of = "training",
    .rows_at = offsetof(text_run, o),
    .without = ARGS_NO_LORA,
    .run = run_text_cre,
};

const command TRAIN_TEXT_HNCL = {
    .name = "train hncl",
    .operands = "--frame full FILE...",
    .summary = "the same for the outcome alone, on more and more hard pairs",
    .about = "Twice as many pairs as --batch are sampled for, and half of them learnt from: a share of these, from "
             "--hard-from to\n"
             "--hard-to over the run, are those that the fewest of their chains get right, the others any.",
    .example =
        "pgenrm train hncl --frame full examples/choices.jsonl --init /tmp/cre/adapter --out /tmp/hncl --steps 5",
    .options = TEXT_OPTIONS,
    .rows = text_hncl_rows,
    .rows_of = "training",
    .rows_at = offsetof(text_run, o),
    .without = ARGS_NO_LORA,
    .run = run_text_hncl,
};

/* --frame with anything but the frame of slots: chains of text. */
bool train_wants_text(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *name = strncmp(argv[i], "--frame=", 8) == 0              ? argv[i] + 8
                           : strcmp(argv[i], "--frame") == 0 && i + 1 < argc ? argv[i + 1]
                                                                             : NULL;
        if (name) return strcmp(name, "compact") != 0;
    }
    return false;
}
