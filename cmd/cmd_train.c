/* cmd_train.c - `pgenrm train`: its stages, of which sft, psi, cre and hncl are here. */
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "message.h"
#include "train_args.h"

enum { MAX_FILES = 32 };

/* ---- sft ---- */

typedef struct sft_run {
    train_args a;
    pgr_sft_options o;
} sft_run;

static int take_sft_betas(void *options, const option_row *row, const char *value) {
    (void)row;
    return train_take_betas(&((sft_run *)options)->o.train, value);
}

static const option_row SFT_OPTIONS[] = {{0, "data", "ROWS.jsonl",
                                          "lines {\"messages\": [{\"role\", \"content\"}, ...]} (must be given)",
                                          OPTION_AT(sft_run, o.data)},
                                         TRAIN_SHARED_ROWS(sft_run, "0.9,0.999", take_sft_betas),
                                         {0}};

static int run_sft(const command *self, int argc, char **argv) {
    sft_run r = {.o = pgr_sft_options_default()};
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &r.a.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    if (operands[0]) return args_wrong(self, "unexpected \"%s\"", operands[0]);
    if (!r.o.data) return args_wrong(self, "expected --data ROWS.jsonl");
    session s = {0};
    pgr_error err = {0};
    pgr_train_report report = {0};
    if (pgr_sft_check(&r.o, &err) != PGR_OK) return complain_usage(&err);
    r.a.o = &r.o.train;
    status = train_begin(self, &r.a, &s);
    if (status == EXIT_DONE) status = train_finish(&r.a, pgr_train_sft(s.model, &r.o, &report, &err), &report, &err);
    session_close(&s);
    return status;
}

static const command SFT = {
    .name = "train sft",
    .summary = "supervised fine-tuning on conversations",
    .about = "The loss is the mean of -log p over the tokens of the assistant's turns of the whole batch, the end of "
             "the turn\n"
             "included. A run that was interrupted or killed goes on with --resume (docs/training.md).",
    .example = "pgenrm train sft --data examples/chats.jsonl --out /tmp/sft --steps 20",
    .options = SFT_OPTIONS,
    .rows = pgr_sft_option_rows,
    .rows_of = "training",
    .rows_at = offsetof(sft_run, o),
    .without = ARGS_NO_LORA,
    .run = run_sft,
};

/* ---- psi ---- */

static const char *const KINDS[] = {"taste", "quality", "views", NULL}; /* in the order of pgr_psi_kind */

typedef struct psi_files {
    pgr_psi_data v[MAX_FILES];
    size_t n;
} psi_files;

typedef struct psi_run {
    train_args a;
    pgr_psi_options o;
    psi_files data, eval;
    const char *store, *prototypes, *frame;
} psi_run;

/* The kind that the first n bytes name; PGR_PSI_KINDS: none. */
static int find_kind(const char *name, size_t n) {
    int k = 0;
    while (k < PGR_PSI_KINDS && (strlen(KINDS[k]) != n || strncmp(KINDS[k], name, n) != 0)) k++;
    return k;
}

static int add_file(psi_files *files, const char *what, pgr_psi_kind kind, const char *path) {
    if (files->n == MAX_FILES) {
        complain("%s: more than %d files", what, MAX_FILES);
        return EXIT_USAGE;
    }
    files->v[files->n++] = (pgr_psi_data){kind, path};
    return EXIT_DONE;
}

/* KIND=FILE, or a FILE alone: users' pairs are of taste and of quality. */
static int take_file(psi_files *files, const char *what, const char *value) {
    size_t n = strcspn(value, "=");
    int kind = find_kind(value, n);
    if (value[n] ? kind == PGR_PSI_KINDS || !value[n + 1] : n == 0) {
        complain("%s: found \"%s\", expected taste=FILE, quality=FILE, views=FILE, or FILE for taste and quality", what,
                 value);
        return EXIT_USAGE;
    }
    if (value[n]) return add_file(files, what, (pgr_psi_kind)kind, value + n + 1);
    int status = add_file(files, what, PGR_PSI_TASTE, value);
    return status == EXIT_DONE ? add_file(files, what, PGR_PSI_QUALITY, value) : status;
}

static int take_data(void *options, const option_row *row, const char *value) {
    (void)row;
    return take_file(&((psi_run *)options)->data, "--data", value);
}

static int take_eval(void *options, const option_row *row, const char *value) {
    (void)row;
    return take_file(&((psi_run *)options)->eval, "--eval", value);
}

static int take_psi_betas(void *options, const option_row *row, const char *value) {
    (void)row;
    return train_take_betas(&((psi_run *)options)->o.train, value);
}

/* "taste=.3,quality=.5,views=.2": what is not named has none. */
static int take_mix(void *options, const option_row *row, const char *value) {
    psi_run *r = options;
    (void)row;
    for (int k = 0; k < PGR_PSI_KINDS; k++) r->o.mix[k] = 0;
    for (const char *s = value; *s;) {
        size_t n = strcspn(s, "=");
        int kind = find_kind(s, n);
        char *end = NULL;
        double share = s[n] ? strtod(s + n + 1, &end) : -1;
        if (kind == PGR_PSI_KINDS || !end || end == s + n + 1 || (*end && *end != ',')
            || !(share >= 0 && share <= 1e6)) {
            complain("--mix: found \"%s\", expected shares like taste=.3,quality=.5,views=.2", value);
            return EXIT_USAGE;
        }
        r->o.mix[kind] = share;
        s = *end ? end + 1 : end;
    }
    return EXIT_DONE;
}

static const option_row PSI_OPTIONS[] = {
    {0, "data", "[KIND=]FILE", "as the operands; may be repeated", .take = take_data},
    TRAIN_SHARED_ROWS(psi_run, "0.9,0.98", take_psi_betas),
    {0, "frame", "NAME", "compact; full, compact-lines or a file: chains of text (`--frame full --help`)",
     OPTION_AT(psi_run, frame)},
    {0, "mix", "KIND=SHARE,...", "of the steps (default: taste=.3,quality=.5,views=.2, of those that have data)",
     .take = take_mix},
    {0, "eval", "KIND=FILE", "evaluate on these users instead of held ones; may be repeated", .take = take_eval},
    {0, "store", "FILE", "users who are asked what they chose (views)", OPTION_AT(psi_run, store)},
    {0, "prototypes", "FILE", "of `proto build` (default: the store's name with .protos)",
     OPTION_AT(psi_run, prototypes)},
    {0}};

static bool has_views(const psi_files *files) {
    for (size_t i = 0; i < files->n; i++)
        if (files->v[i].kind == PGR_PSI_VIEWS) return true;
    return false;
}

static int open_people(psi_run *r) {
    pgr_error err = {0};
    if (!r->store) return EXIT_DONE;
    int status = check_variable("PGENRM_EMBEDDER");
    if (status != EXIT_DONE) return status;
    pgr_status s = pgr_people_open(r->store, r->prototypes, NULL, r->a.common.n_thread, &r->o.people, &err);
    return s == PGR_OK ? EXIT_DONE : complain_error(&err);
}

static int train_psi(const command *self, psi_run *r) {
    session s = {0};
    pgr_error err = {0};
    pgr_train_report report = {0};
    r->o.data = r->data.v;
    r->o.n_data = r->data.n;
    r->o.eval = r->eval.v;
    r->o.n_eval = r->eval.n;
    if (pgr_psi_check(&r->o, &err) != PGR_OK) return complain_usage(&err);
    if (!r->store && (has_views(&r->data) || has_views(&r->eval)))
        return args_wrong(self, "views: found nobody to ask, expected --store FILE of users");
    r->a.o = &r->o.train;
    int status = train_begin(self, &r->a, &s);
    if (status == EXIT_DONE) status = open_people(r);
    if (status == EXIT_DONE) status = train_finish(&r->a, pgr_train_psi(s.model, &r->o, &report, &err), &report, &err);
    pgr_people_close(r->o.people);
    session_close(&s);
    return status;
}

static int run_stage(const command *self, pgr_stage stage, int argc, char **argv) {
    psi_run r = {.o = pgr_psi_options_default(stage)};
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &r.a.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    for (size_t i = 0; operands[i]; i++) {
        status = take_file(&r.data, "DATA", operands[i]);
        if (status != EXIT_DONE) return status;
    }
    if (r.data.n == 0) return args_wrong(self, "expected DATA: taste=FILE, quality=FILE, views=FILE");
    return train_psi(self, &r);
}

static int run_psi(const command *self, int argc, char **argv) {
    if (train_wants_text(argc, argv)) return TRAIN_TEXT_PSI.run(&TRAIN_TEXT_PSI, argc, argv);
    return run_stage(self, PGR_STAGE_PSI, argc, argv);
}

static int run_cre(const command *self, int argc, char **argv) {
    if (train_wants_text(argc, argv)) return TRAIN_TEXT_CRE.run(&TRAIN_TEXT_CRE, argc, argv);
    return run_stage(self, PGR_STAGE_CRE, argc, argv);
}

static int run_hncl(const command *self, int argc, char **argv) {
    if (train_wants_text(argc, argv)) return TRAIN_TEXT_HNCL.run(&TRAIN_TEXT_HNCL, argc, argv);
    return run_stage(self, PGR_STAGE_HNCL, argc, argv);
}

static const command PSI = {
    .name = "train psi",
    .operands = "[KIND=]FILE...",
    .summary = "the compact judge: tastes from histories, quality from texts, views of similar people",
    .about =
        "Files are preference pairs in any form of docs/users.md, of which rows of the split \"train\" (or of none) "
        "count,\n"
        "but for the subset \"history\" (docs/synth.md):\n"
        "  taste=FILE     users with several pairs each: some are shown as facts, the reading of the taste slot has "
        "to\n"
        "                 get the others right\n"
        "  quality=FILE   pairs whose texts are judged by the slots behind them, in both orders\n"
        "  views=FILE     the same with the line on what similar people said (--store, its prototypes)\n"
        "  FILE           both of taste and of quality\n"
        "A share of the users is held back and measured every --eval-every steps. At the end the weights of taste and\n"
        "text are fitted on held rows and written beside the adapter (docs/training.md).",
    .example = "pgenrm train psi --data examples/choices.jsonl --pairs-min 1 --out /tmp/psi --steps 20",
    .options = PSI_OPTIONS,
    .rows = pgr_psi_option_rows,
    .rows_of = "training",
    .rows_at = offsetof(psi_run, o),
    .without = ARGS_NO_LORA | ARGS_NO_CHAT_TEMPLATE,
    .run = run_psi,
};

static const command CRE = {
    .name = "train cre",
    .operands = "[KIND=]FILE...",
    .summary = "GRPO on sampled criteria, rewarded for coverage and outcome",
    .about =
        "Steps of taste sample chains of criteria from the taste slot (--samples of --criteria words) and reward each "
        "for how\n"
        "much of what all of the user's pairs tell it names (--alpha) and how many of his pairs that are not shown it "
        "gets right\n"
        "(--beta). --init names the adapter of train psi, which is the reference, too. Other steps are those of train "
        "psi.",
    .example =
        "pgenrm train cre taste=examples/choices.jsonl --pairs-min 1 --init /tmp/psi/adapter --out /tmp/cre --steps 10",
    .options = PSI_OPTIONS,
    .rows = pgr_cre_option_rows,
    .rows_of = "training",
    .rows_at = offsetof(psi_run, o),
    .without = ARGS_NO_LORA | ARGS_NO_CHAT_TEMPLATE,
    .run = run_cre,
};

static const command HNCL = {
    .name = "train hncl",
    .operands = "[KIND=]FILE...",
    .summary = "the same for the outcome alone, on more and more hard pairs",
    .about = "Of a user's pairs that are not shown half count; the share of them that the sampled chains get right "
             "least often\n"
             "grows from --hard-from to --hard-to over the run (docs/training.md).",
    .example = "pgenrm train hncl taste=examples/choices.jsonl --pairs-min 1 --init /tmp/cre/adapter --out /tmp/hncl "
               "--steps 10",
    .options = PSI_OPTIONS,
    .rows = pgr_hncl_option_rows,
    .rows_of = "training",
    .rows_at = offsetof(psi_run, o),
    .without = ARGS_NO_LORA | ARGS_NO_CHAT_TEMPLATE,
    .run = run_hncl,
};

/* ---- the commands ---- */

static int run(const command *self, int argc, char **argv) {
    static const command *const parts[] = {&SFT, &PSI, &CRE, &HNCL, &TRAIN_BT, &TRAIN_DPO, &TRAIN_GRPO, NULL};
    int status = train_config(&argc, &argv);
    return status == EXIT_DONE ? args_dispatch(self, parts, argc, argv) : status;
}

static const option_row NONE[] = {{0}};

const command CMD_TRAIN = {
    .name = "train",
    .operands = "STAGE",
    .summary = "train adapters and models: chats, the judge, rewards, policies",
    .about = "A run lives in the folder of --out: metrics.jsonl, checkpoint-N (an adapter with what a run goes on "
             "from),\n"
             "adapter (the last). --resume goes on after an interruption or a kill, to the same bits "
             "(docs/training.md).",
    .example = "pgenrm train sft --data examples/chats.jsonl --out /tmp/sft --steps 20",
    .options = NONE,
    .without = ARGS_NO_LORA,
    .run = run,
};
