/* args.c - options from tables; see args.h. */
#include "args.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

/* What follows the last colon is the scale, unless it is a further part of the path. */
static int take_lora(void *options, const option_row *row, const char *value) {
    common_options *o = options;
    const char *colon = strrchr(value, ':');
    float scale = 1;
    size_t n = strlen(value);
    if (strcmp(value, "none") == 0) {
        o->no_lora = true;
        return EXIT_DONE;
    }
    if (colon && !strchr(colon, '/')) {
        n = (size_t)(colon - value);
        int status = option_value(&scale, row, colon + 1);
        if (status != EXIT_DONE) return status;
    }
    if (n == 0) {
        complain("--lora: found \"%s\", expected PATH[:SCALE]", value);
        return EXIT_USAGE;
    }
    if (o->n_lora == ARGS_MAX_LORA) {
        complain("--lora %s: more than %d adapters", value, ARGS_MAX_LORA);
        return EXIT_USAGE;
    }
    o->loras[o->n_lora++] = (lora_option){value, n, scale};
    return EXIT_DONE;
}

static int take_level(void *options, const option_row *row, const char *value) {
    (void)options;
    int level = 0, status = option_value(&level, row, value);
    if (status == EXIT_DONE) pgr_log_level(level);
    return status;
}

static const char *const DTYPES[] = {"auto", "exact", "f32", "bf16", "int8", NULL};
static const char *const LEVELS[] = {"error", "warn", "info", "debug", NULL};

static const option_row COMMON[] = {
    {'m', "model", "PATH|NAME",
     "GGUF file, Hugging Face folder, a name below the cache folder, or http://HOST/v1 of a server "
     "(docs/remote.md) (default: $PGENRM_MODEL, else the default model)",
     OPTION_AT(common_options, model), .address = ADDRESS_MAY},
    {0, "lora", "PATH[:SCALE]",
     "LoRA adapter on top of the model: a PEFT folder or a GGUF file; may be repeated (default scale: 1); none: "
     "not even the one that comes with pgenrm for judging",
     .type = PGR_OPTION_FLOAT, .lo = -1e6, .hi = 1e6, .take = take_lora},
    {0, "chat-template", "FILE|NAME",
     "chat template instead of the model's own: a file (Jinja, docs/chat.md), chatml or llama3",
     OPTION_AT(common_options, chat_template)},
    {0, "dtype", "TYPE",
     "arithmetic: auto, exact, f32, bf16 or int8 (default: auto, the fastest within 1 % of exact; "
     "of `train` the faster one of f32 and bf16)",
     CHOICE_AT(common_options, dtype, DTYPES)},
    {'t', "threads", "N", "threads (default: as many as there are cores)", OPTION_AT(common_options, n_thread), .lo = 1,
     .hi = 1024},
    {0, "seed", "N", "random numbers; the same seed repeats a run (default: 0)", OPTION_AT(common_options, seed),
     .lo = 0, .hi = 0x1p63},
    {0, "json", NULL, "print JSON", OPTION_AT(common_options, json)},
    {'q', "quiet", NULL, "no progress bar", OPTION_AT(common_options, quiet)},
    {0, "log-level", "LEVEL", "error, warn, info or debug (default: warn)", .type = PGR_OPTION_CHOICE,
     .choices = LEVELS, .take = take_level},
    {'h', "help", NULL, "this text", .type = PGR_OPTION_FLAG},
    {0},
};

static const option_row REMOTE[] = {
    {0, "remote-model", "NAME", "the model's name there (default: the first that is listed)",
     OPTION_AT(common_options, remote.model)},
    {0, "remote-jobs", "N", "requests in flight, at all addresses together (default: 64)",
     OPTION_AT(common_options, remote.jobs), .lo = 1, .hi = 65536},
    {0, "remote-timeout", "S", "seconds that one try of a request may take (default: 600)",
     OPTION_AT(common_options, remote.timeout_s), .lo = 0.001, .hi = 86400},
    {0, "remote-budget", "N",
     "tokens, prompts and chains of all requests together; what goes beyond it fails (default: "
     "no limit)",
     OPTION_AT(common_options, remote.max_tokens), .lo = 1, .hi = 0x1p62},
    {0, "remote-context", "N", "tokens of a prompt and its chain (default: as the server says)",
     OPTION_AT(common_options, remote.context), .lo = 128, .hi = 0x1p30},
    {0, "remote-tokenizer", "PATH|NAME",
     "files of the same model, to count tokens and to read slots with (default: the server counts, else they are "
     "estimated; no slots)",
     OPTION_AT(common_options, remote.tokenizer)},
    {0},
};

static const struct {
    unsigned bit;
    const char *name, *why;
} REFUSABLE[] = {
    {ARGS_NO_MODEL, "model", "its operand names the model"},
    {ARGS_NO_LORA, "lora", "adapters are for score, generate, perplexity and merge"},
    {ARGS_NO_CHAT_TEMPLATE, "chat-template", "the files keep theirs, and only chats use one"},
    {ARGS_NO_DTYPE, "dtype", "it is about arithmetic; --type is about what is written"},
    {ARGS_NO_COMPUTING, "model", "it uses no model"},
    {ARGS_NO_COMPUTING, "lora", "it uses no model"},
    {ARGS_NO_COMPUTING, "chat-template", "it uses no model"},
    {ARGS_NO_COMPUTING, "dtype", "it uses no model"},
    {ARGS_NO_COMPUTING, "threads", "it works in one thread"},
    {ARGS_NO_COMPUTING, "seed", "nothing in it is random"},
};

/* The row of REFUSABLE that says why c does not take the option; -1: it does. */
static int refused_by(const command *c, const char *name) {
    for (size_t i = 0; i < sizeof REFUSABLE / sizeof *REFUSABLE; i++)
        if (strcmp(REFUSABLE[i].name, name) == 0 && (c->without & REFUSABLE[i].bit)) return (int)i;
    return -1;
}

int args_wrong(const command *c, const char *format, ...) {
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    complain("%s, see `pgenrm%s%s --help`", text, c ? " " : "", c ? c->name : "");
    return EXIT_USAGE;
}

/* ---- rows of the library ---- */

enum { ROW_NAME = 48 };

static bool has_option(const option_row *o, const char *name) {
    for (; o->name; o++)
        if (strcmp(o->name, name) == 0) return true;
    return false;
}

static bool takes_row(const command *c, const pgr_option *row) {
    return (row->use & c->rows_use) == c->rows_use && !has_option(c->options, row->name)
           && !has_option(COMMON, row->name);
}

/* What is on by default is switched off by --no-NAME. */
static void row_name(const pgr_option *row, char out[ROW_NAME]) {
    bool on = row->type == PGR_OPTION_FLAG && row->standard != 0;
    snprintf(out, ROW_NAME, "%s%s", on ? "no-" : "", row->name);
}

/* ---- help ---- */

/* The text in lines of at most `width` bytes, all but the first indented. */
static void print_column(const char *text, int indent, int width) {
    for (size_t n; *text; text += n + strspn(text + n, " ")) {
        n = strlen(text);
        if (n > (size_t)width)
            for (n = (size_t)width; n > 0 && text[n] != ' '; n--) {}
        if (n == 0) n = strcspn(text, " ");
        printf("%.*s\n", (int)n, text);
        if (text[n]) printf("%*s", indent, "");
    }
}

static void print_option(char letter, const char *name, const char *value, const char *help) {
    enum { INDENT = 28, WIDTH = 100 - INDENT };
    char left[64];
    int n = snprintf(left, sizeof left, "  %c%c%s --%s%s%s", letter ? '-' : ' ', letter ? letter : ' ',
                     letter ? "," : " ", name, value ? " " : "", value ? value : "");
    if (n > INDENT - 2)
        printf("%s\n%*s", left, INDENT, "");
    else
        printf("%-*s", INDENT, left);
    print_column(help, INDENT, WIDTH);
}

/* Who reads weights takes no address. */
static const char *help_of(const command *c, const option_row *o) {
    if (strcmp(o->name, "model") != 0 || c->remote) return o->help;
    return c->model ? c->model
                    : "GGUF file, Hugging Face folder, or a name below the cache folder (default: $PGENRM_MODEL, else "
                      "the default model)";
}

static void print_options(const command *c, const option_row *o) {
    for (; o->name; o++)
        if (refused_by(c, o->name) < 0) print_option(o->letter, o->name, o->value, help_of(c, o));
}

static void print_rows(const command *c) {
    bool first = true;
    for (const pgr_option *row = c->rows ? c->rows() : NULL; row && row->name; row++) {
        char name[ROW_NAME], help[300];
        if (!takes_row(c, row)) continue;
        if (first) printf("\nOptions of %s:\n", c->rows_of ? c->rows_of : "judging");
        first = false;
        row_name(row, name);
        pgr_option_help(row, help, sizeof help);
        print_option(0, name, row->value, help);
    }
}

static void print_help(const command *c) {
    printf("pgenrm %s - %s\n\nUsage: pgenrm %s [options]%s%s\n", c->name, c->summary, c->name, c->operands ? " " : "",
           c->operands ? c->operands : "");
    if (c->about) printf("\n%s\n", c->about);
    if (c->options->name) printf("\nOptions:\n");
    print_options(c, c->options);
    print_rows(c);
    printf("\nCommon options:\n");
    print_options(c, COMMON);
    if (c->remote)
        printf("\nWith --model http://HOST[:PORT]/v1[,...] (the key: $PGENRM_API_KEY, else $OPENAI_API_KEY):\n");
    if (c->remote) print_options(c, REMOTE);
    printf("\nExit status: 0 done; 1 it could not be done; 2 wrong usage; 3 done, but some items failed; 130 "
           "interrupted.\n");
    printf("\nExample:\n  %s\n", c->example);
}

/* ---- parsing ---- */

enum { OPT_FIRST = 1000 }; /* what getopt answers for the first long option; letters are below */

typedef struct known {     /* an option that a command takes */
    const option_row *own; /* of the command or common to all; NULL: it is a row of the library */
    const pgr_option *row;
    bool common;
    char name[ROW_NAME];
} known;

typedef struct parser {
    const command *c;
    known options[ARGS_MAX];           /* (n) */
    struct option longs[ARGS_MAX + 1]; /* (n), then zeros */
    const char *names[ARGS_MAX + 1];
    char letters[ARGS_MAX * 2 + 2];
    size_t n;
} parser;

static void add_known(parser *p, known k, const char *value) {
    if (p->n == ARGS_MAX) return;
    p->options[p->n] = k;
    p->names[p->n] = p->options[p->n].name;
    p->longs[p->n] =
        (struct option){p->names[p->n], value ? required_argument : no_argument, NULL, OPT_FIRST + (int)p->n};
    p->n++;
}

static void add_options(parser *p, const option_row *o, bool common) {
    for (; o->name; o++) {
        known k = {.own = o, .common = common};
        char letter[3] = {o->letter, o->letter && o->value ? ':' : '\0', '\0'};
        snprintf(k.name, sizeof k.name, "%s", o->name);
        add_known(p, k, o->value);
        strcat(p->letters, letter);
    }
}

static void add_rows(parser *p) {
    for (const pgr_option *row = p->c->rows ? p->c->rows() : NULL; row && row->name; row++) {
        known k = {.row = row};
        if (!takes_row(p->c, row)) continue;
        row_name(row, k.name);
        add_known(p, k, row->value);
    }
}

/* What other programs call it, where this command has it. */
static const char *other_name(const parser *p, const char *name) {
    static const char *const names[][2] = {
        {"port", "listen"},      {"host", "listen"},        {"bind", "listen"},      {"output", "out"},
        {"output-dir", "out"},   {"adapter", "lora"},       {"learning-rate", "lr"}, {"max-new-tokens", "max-tokens"},
        {"batch-size", "batch"}, {"num-threads", "threads"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < p->n && strcmp(names[i][0], name) == 0; k++)
            if (strcmp(p->names[k], names[i][1]) == 0) return p->names[k];
    return NULL;
}

/* getopt's '?': an unknown or ambiguous option, or a value where none is taken. */
static int fail_unknown(const parser *p, const char *word) {
    bool letter = optopt > 0 && optopt < 256 && !strchr(p->letters, optopt); /* a known one stands for its long name */
    if (letter) return args_wrong(p->c, "unknown option -%c", optopt);
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    size_t matches = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->names[i], name) == 0) return args_wrong(p->c, "--%s takes no value", name);
        if (strncmp(p->names[i], name, strlen(name)) == 0) matches++;
    }
    if (matches > 1) return args_wrong(p->c, "--%s may be several options", name);
    const char *nearest = other_name(p, name);
    if (!nearest) nearest = pgr_nearest(name, p->names);
    return args_wrong(p->c, "unknown option --%s%s%s", name, nearest ? ", perhaps --" : "", nearest ? nearest : "");
}

/* The option that getopt's answer, a letter or an id, stands for. */
static const known *known_of(const parser *p, int answer) {
    size_t i = 0;
    if (answer >= OPT_FIRST) return &p->options[answer - OPT_FIRST];
    while (!p->options[i].own || p->options[i].own->letter != answer) i++;
    return &p->options[i];
}

/* A text that is empty, a shell's variable that is not set say, would be taken for none: another model, another store.
 * What may be empty: the split that rows without one have, a task without words. */
static bool lacks_text(const known *k, const char *value) {
    bool text = k->own ? k->own->type == PGR_OPTION_TEXT && !k->own->take : k->row->type == PGR_OPTION_TEXT;
    return text && value && !*value && strcmp(k->name, "split") != 0 && strcmp(k->name, "instruct") != 0;
}

static int take(const command *c, const known *k, common_options *common, void *ctx, const char *value) {
    int refused = k->common ? refused_by(c, k->name) : -1;
    pgr_error err = {0};
    if (refused >= 0) return args_wrong(c, "--%s is not for %s: %s", k->name, c->name, REFUSABLE[refused].why);
    if (lacks_text(k, value))
        return args_wrong(c, "--%s: found an empty text, expected %s", k->name, k->own ? k->own->value : k->row->value);
    if (k->common) return option_take(common, k->own, value);
    /* what a command refuses beside another option is told by name */
    if (common->n_given < ARGS_MAX) common->given[common->n_given++] = k->own ? k->own->name : k->row->name;
    if (k->own) return option_take(ctx, k->own, value);
    if (pgr_option_set(k->row, (char *)ctx + c->rows_at, value, &err) == PGR_OK) return EXIT_DONE;
    complain("--%s", err.message);
    return EXIT_USAGE;
}

static struct {
    const char *name;
    int n;
} file_words; /* argv[1 .. n] */

void args_from_file(const char *file, size_t n) {
    file_words.name = file;
    file_words.n = (int)n;
}

/* The next option, as getopt_long; messages are about the file that it stands in. A file's word has its value in it:
 * the next word is another option, or the command line's. */
static int next_option(const parser *p, int argc, char **argv) {
    bool of_file = optind <= file_words.n;
    const char *word = optind < argc ? argv[optind] : "";
    complain_about(of_file ? file_words.name : NULL);
    int answer = getopt_long(argc, argv, p->letters, p->longs, NULL);
    bool alone = of_file && answer >= OPT_FIRST && !strchr(word, '=');
    if (!alone || p->longs[answer - OPT_FIRST].has_arg == no_argument) return answer;
    optind--;
    return ':';
}

int args_parse(const command *c, int argc, char **argv, common_options *common, void *ctx, char ***operands) {
    parser p = {.c = c, .letters = ":"}; /* ':' first: a missing value is told apart from an unknown option */
    add_options(&p, c->options, false);
    add_options(&p, COMMON, true);
    if (c->remote) add_options(&p, REMOTE, true);
    add_rows(&p);
    *common = (common_options){.seed = -1, .remote = pgr_remote_options_default()};
    opterr = 0;
    optind = 1;
    for (int answer; (answer = next_option(&p, argc, argv)) != -1;) {
        if (answer == ':') return args_wrong(c, "%s needs a value", argv[optind - 1]);
        if (answer == '?') return fail_unknown(&p, argv[optind - 1]);
        const known *k = known_of(&p, answer);
        if (k->common && k->own->letter == 'h') {
            print_help(c);
            return finish_output();
        }
        int status = take(c, k, common, ctx, optarg);
        if (status != EXIT_DONE) return status;
    }
    complain_about(NULL);
    *operands = argv + optind;
    return ARGS_RUN;
}

/* ---- commands made of others ---- */

static const char *second_word(const command *c) {
    return strchr(c->name, ' ') + 1;
}

static int print_parts(const command *self, const command *const *parts) {
    printf("pgenrm %s - %s\n\nUsage: pgenrm %s COMMAND [options]\n\n%s\n\nCommands:\n", self->name, self->summary,
           self->name, self->about);
    for (; *parts; parts++) {
        char left[40];
        const char *operands = (*parts)->operands;
        snprintf(left, sizeof left, "%s%s%s", second_word(*parts), operands ? " " : "", operands ? operands : "");
        printf("  %-18s %s\n", left, (*parts)->summary);
    }
    printf("\n`pgenrm %s COMMAND --help` explains a command.\n\nExample:\n  %s\n", self->name, self->example);
    return finish_output();
}

int args_dispatch(const command *self, const command *const *parts, int argc, char **argv) {
    enum { MOST = 16 };
    const char *names[MOST + 1] = {NULL}, *word = argc > 1 ? argv[1] : NULL;
    if (!word) return args_wrong(self, "no command given");
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return print_parts(self, parts);
    for (int i = 0; parts[i] && i < MOST; i++) {
        names[i] = second_word(parts[i]);
        if (strcmp(word, names[i]) == 0) return parts[i]->run(parts[i], argc - 1, argv + 1);
    }
    const char *nearest = pgr_nearest(word, names);
    return args_wrong(self, "unknown command %s %s%s%s", self->name, word, nearest ? ", perhaps " : "",
                      nearest ? nearest : "");
}
