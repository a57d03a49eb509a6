/* args.c - options from tables; see args.h. */
#include "args.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

enum {
    COMMON_LORA = 500,
    COMMON_CHAT_TEMPLATE,
    COMMON_DTYPE,
    COMMON_SEED,
    COMMON_JSON,
    COMMON_LOG_LEVEL,
    COMMON_HELP,
};

static const option_row COMMON[] = {
    {'m', 'm', "model", "PATH|NAME",
     "GGUF file, Hugging Face folder, or a name below the cache folder (default: $PGENRM_MODEL, else the default "
     "model)"},
    {COMMON_LORA, 0, "lora", "PATH[:SCALE]",
     "LoRA adapter on top of the model: a PEFT folder or a GGUF file; may be repeated (default scale: 1)"},
    {COMMON_CHAT_TEMPLATE, 0, "chat-template", "FILE|NAME",
     "chat template instead of the model's own: a file (Jinja, docs/chat.md), chatml or llama3"},
    {COMMON_DTYPE, 0, "dtype", "TYPE", "arithmetic: auto, f32, bf16 or int8 (default: auto)"},
    {'t', 't', "threads", "N", "threads (default: as many as there are cores)"},
    {COMMON_SEED, 0, "seed", "N", "random numbers; the same seed repeats a run (default: 0)"},
    {COMMON_JSON, 0, "json", NULL, "print JSON"},
    {'q', 'q', "quiet", NULL, "no progress bar"},
    {COMMON_LOG_LEVEL, 0, "log-level", "LEVEL", "error, warn, info or debug (default: warn)"},
    {'h', 'h', "help", NULL, "this text"},
    {0},
};

static const struct {
    unsigned bit;
    int id;
    const char *name, *why;
} REFUSABLE[] = {
    {ARGS_NO_MODEL, 'm', "model", "its operand names the model"},
    {ARGS_NO_LORA, COMMON_LORA, "lora", "adapters are for score, generate, perplexity and merge"},
    {ARGS_NO_CHAT_TEMPLATE, COMMON_CHAT_TEMPLATE, "chat-template", "the files keep theirs, and only chats use one"},
    {ARGS_NO_DTYPE, COMMON_DTYPE, "dtype", "it is about arithmetic; --type is about what is written"},
    {ARGS_NO_COMPUTING, 'm', "model", "it uses no model"},
    {ARGS_NO_COMPUTING, COMMON_LORA, "lora", "it uses no model"},
    {ARGS_NO_COMPUTING, COMMON_CHAT_TEMPLATE, "chat-template", "it uses no model"},
    {ARGS_NO_COMPUTING, COMMON_DTYPE, "dtype", "it uses no model"},
    {ARGS_NO_COMPUTING, 't', "threads", "it works in one thread"},
    {ARGS_NO_COMPUTING, COMMON_SEED, "seed", "nothing in it is random"},
};

/* The row of REFUSABLE that says why c does not take the option; -1: it does. */
static int refused_by(const command *c, int id) {
    for (size_t i = 0; i < sizeof REFUSABLE / sizeof *REFUSABLE; i++)
        if (REFUSABLE[i].id == id && (c->without & REFUSABLE[i].bit)) return (int)i;
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

/* ---- values ---- */

int args_integer(const char *option, const char *text, int64_t lo, int64_t hi, int64_t *out) {
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    bool digits = (text[0] >= '0' && text[0] <= '9') || (text[0] == '-' && text[1] >= '0' && text[1] <= '9');
    if (!digits || *end || errno || v < lo || v > hi) {
        complain("--%s: found \"%s\", expected a whole number from %lld to %lld", option, text, (long long)lo,
                 (long long)hi);
        return EXIT_USAGE;
    }
    *out = v;
    return EXIT_DONE;
}

int args_real(const char *option, const char *text, double lo, double hi, double *out) {
    char *end = NULL;
    double v = strtod(text, &end);
    bool plain = text[0] && text[strspn(text, "0123456789.eE+-")] == '\0' && end == text + strlen(text);
    if (!plain || !isfinite(v) || v < lo || v > hi) {
        complain("--%s: found \"%s\", expected a number from %g to %g", option, text, lo, hi);
        return EXIT_USAGE;
    }
    *out = v;
    return EXIT_DONE;
}

int args_choice(const char *option, const char *text, const char *const *names, int *out) {
    char list[160] = "";
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return EXIT_DONE;
        }
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", i ? (names[i + 1] ? ", " : " or ") : "", names[i]);
    }
    complain("--%s: found \"%s\", expected %s", option, text, list);
    return EXIT_USAGE;
}

enum { WORD_MAX = 40 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Letters to insert, delete, replace or swap with their neighbour between a and b, both at most WORD_MAX long. */
static size_t edits(const char *a, const char *b) {
    size_t rows[3][WORD_MAX + 1], na = strlen(a), nb = strlen(b); /* row i is rows[i % 3] */
    for (size_t j = 0; j <= nb; j++) rows[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            row[j] = least(up[j - 1] + (a[i - 1] != b[j - 1]), least(up[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = least(row[j], up2[j - 2] + 1);
        }
    }
    return rows[na % 3][nb];
}

const char *args_nearest(const char *word, const char *const *names) {
    const char *nearest = NULL;
    size_t n = strlen(word), best = 1 + (n + 2) / 3; /* beyond a third of its letters it is another word */
    for (; n <= WORD_MAX && *names; names++) {
        if (strlen(*names) > WORD_MAX) continue;
        size_t d = edits(word, *names);
        if (d >= best || d >= n) continue;
        best = d;
        nearest = *names;
    }
    return nearest;
}

/* ---- rows of the library ---- */

enum { ROW_NAME = 48 };

static bool has_option(const option_row *o, const char *name) {
    for (; o->id; o++)
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

static int set_row(const command *c, int id, const char *value, void *ctx) {
    pgr_error err = {0};
    if (pgr_option_set(&c->rows()[id - OPT_ROWS], (char *)ctx + c->rows_at, value, &err) == PGR_OK) return EXIT_DONE;
    complain("--%s", err.message);
    return EXIT_USAGE;
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
    printf("%-*s", INDENT, left);
    if (n > INDENT - 2) printf("\n%*s", INDENT, "");
    print_column(help, INDENT, WIDTH);
}

static void print_options(const command *c, const option_row *o) {
    for (; o->id; o++)
        if (refused_by(c, o->id) < 0) print_option(o->letter, o->name, o->value, o->help);
}

static void print_rows(const command *c) {
    bool first = true;
    for (const pgr_option *row = c->rows ? c->rows() : NULL; row && row->name; row++) {
        char name[ROW_NAME], help[300];
        if (!takes_row(c, row)) continue;
        if (first) printf("\nOptions of judging:\n");
        first = false;
        row_name(row, name);
        pgr_option_help(row, help, sizeof help);
        print_option(0, name, row->value, help);
    }
}

static void print_help(const command *c) {
    printf("pgenrm %s - %s\n\nUsage: pgenrm %s [options] %s\n", c->name, c->summary, c->name, c->operands);
    if (c->about) printf("\n%s\n", c->about);
    if (c->options->id) printf("\nOptions:\n");
    print_options(c, c->options);
    print_rows(c);
    printf("\nCommon options:\n");
    print_options(c, COMMON);
    printf("\nExit status: 0 done; 1 it could not be done; 2 wrong usage; 3 done, but some items failed; 130 "
           "interrupted.\n");
    printf("\nExample:\n  %s\n", c->example);
}

/* ---- parsing ---- */

typedef struct parser {
    const command *c;
    struct option longs[ARGS_MAX + 1]; /* (n), then zeros */
    const char *names[ARGS_MAX + 1];
    char row_names[ARGS_MAX][ROW_NAME];
    char letters[ARGS_MAX * 2 + 2];
    size_t n;
} parser;

static void add_options(parser *p, const option_row *o) {
    for (; o->id && p->n < ARGS_MAX; o++) {
        p->longs[p->n] = (struct option){o->name, o->value ? required_argument : no_argument, NULL, o->id};
        p->names[p->n++] = o->name;
        if (o->letter) {
            char letter[3] = {o->letter, o->value ? ':' : '\0', '\0'};
            strcat(p->letters, letter);
        }
    }
}

static void add_rows(parser *p) {
    const pgr_option *rows = p->c->rows ? p->c->rows() : NULL;
    for (int i = 0; rows && rows[i].name && p->n < ARGS_MAX; i++) {
        if (!takes_row(p->c, &rows[i])) continue;
        row_name(&rows[i], p->row_names[p->n]);
        p->names[p->n] = p->row_names[p->n];
        p->longs[p->n] =
            (struct option){p->names[p->n], rows[i].value ? required_argument : no_argument, NULL, OPT_ROWS + i};
        p->n++;
    }
}

/* What a command refuses beside another option is told by name. */
static void keep_given(common_options *o, const command *c, int id) {
    const char *name = id >= OPT_ROWS ? c->rows()[id - OPT_ROWS].name : NULL;
    for (const option_row *own = c->options; !name && own->id; own++)
        if (own->id == id) name = own->name;
    if (o->n_given < ARGS_MAX) o->given[o->n_given++] = name;
}

/* getopt's '?': an unknown or ambiguous option, or a value where none is taken. */
static int fail_unknown(const parser *p, const char *word) {
    bool letter = optopt > 0 && optopt < 256 && !strchr(p->letters, optopt); /* a known one stands for its long name */
    if (letter) return args_wrong(p->c, "unknown option -%c", optopt);
    char name[WORD_MAX + 1];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    size_t matches = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->names[i], name) == 0) return args_wrong(p->c, "--%s takes no value", name);
        if (strncmp(p->names[i], name, strlen(name)) == 0) matches++;
    }
    if (matches > 1) return args_wrong(p->c, "--%s may be several options", name);
    const char *nearest = args_nearest(name, p->names);
    return args_wrong(p->c, "unknown option --%s%s%s", name, nearest ? ", perhaps --" : "", nearest ? nearest : "");
}

/* What follows the last colon is the scale, unless it is a further part of the path. */
static int add_lora(common_options *o, const char *value) {
    const char *colon = strrchr(value, ':');
    double scale = 1;
    size_t n = strlen(value);
    if (colon && !strchr(colon, '/')) {
        n = (size_t)(colon - value);
        int status = args_real("lora", colon + 1, -1e6, 1e6, &scale);
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
    o->loras[o->n_lora++] = (lora_option){value, n, (float)scale};
    return EXIT_DONE;
}

static int set_common(common_options *o, int id, const char *value) {
    static const char *const dtypes[] = {"auto", "f32", "bf16", "int8", NULL};
    static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
    int64_t n = 0;
    int choice = 0, status = EXIT_DONE;
    switch (id) {
    case 'm':
        o->model = value;
        break;
    case COMMON_LORA:
        status = add_lora(o, value);
        break;
    case COMMON_CHAT_TEMPLATE:
        o->chat_template = value;
        break;
    case COMMON_DTYPE:
        status = args_choice("dtype", value, dtypes, &choice);
        o->dtype = (pgr_dtype)choice;
        break;
    case 't':
        status = args_integer("threads", value, 1, 1024, &n);
        o->n_thread = (int)n;
        break;
    case COMMON_SEED:
        status = args_integer("seed", value, 0, INT64_MAX, &o->seed);
        break;
    case COMMON_JSON:
        o->json = true;
        break;
    case 'q':
        o->quiet = true;
        break;
    case COMMON_LOG_LEVEL:
        status = args_choice("log-level", value, levels, &choice);
        if (status == EXIT_DONE) pgr_log_level(choice);
        break;
    }
    return status;
}

/* The id that getopt's answer, a letter or an id, stands for. */
static int id_of(const option_row *o, int answer) {
    for (; o->id; o++)
        if (answer < OPT_FIRST && o->letter == answer) return o->id;
    return answer;
}

int args_parse(const command *c, int argc, char **argv, common_options *common, args_set set, void *ctx,
               char ***operands) {
    parser p = {.c = c, .letters = ":"}; /* ':' first: a missing value is told apart from an unknown option */
    add_options(&p, c->options);
    add_options(&p, COMMON);
    add_rows(&p);
    *common = (common_options){.seed = -1};
    opterr = 0;
    optind = 1;
    for (;;) {
        int id = id_of(c->options, getopt_long(argc, argv, p.letters, p.longs, NULL));
        if (id == -1) break;
        if (id == 'h') {
            print_help(c);
            return finish_output();
        }
        if (id == ':') return args_wrong(c, "%s needs a value", argv[optind - 1]);
        if (id == '?') return fail_unknown(&p, argv[optind - 1]);
        int refused = refused_by(c, id);
        if (refused >= 0)
            return args_wrong(c, "--%s is not for %s: %s", REFUSABLE[refused].name, c->name, REFUSABLE[refused].why);
        if (id >= OPT_FIRST) keep_given(common, c, id);
        int status = id >= OPT_ROWS    ? set_row(c, id, optarg, ctx)
                     : id >= OPT_FIRST ? set(ctx, id, optarg)
                                       : set_common(common, id, optarg);
        if (status != EXIT_DONE) return status;
    }
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
        snprintf(left, sizeof left, "%s %s", second_word(*parts), (*parts)->operands);
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
    const char *nearest = args_nearest(word, names);
    return args_wrong(self, "unknown command %s %s%s%s", self->name, word, nearest ? ", perhaps " : "",
                      nearest ? nearest : "");
}
