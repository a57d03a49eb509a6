/* cmd_tokenize.c - `pgenrm tokenize`: text to token ids and back. */
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "commands.h"
#include "json_out.h"
#include "message.h"
#include "session.h"

typedef struct tokenize_run {
    const command *self;
    common_options common;
    const char *file;
    bool special, bos, decode;
    const pgr_model *model;
} tokenize_run;

static const option_row OPTIONS[] = {
    {0, "file", "FILE", "every line is an item, without its line break; - is standard input",
     OPTION_AT(tokenize_run, file)},
    {0, "parse-special", NULL, "control tokens spelled out in the text count as such",
     OPTION_AT(tokenize_run, special)},
    {0, "bos", NULL, "add BOS and EOS as the tokenizer's own rule says", OPTION_AT(tokenize_run, bos)},
    {0, "decode", NULL, "ids in, text out; ids are separated by blanks or commas", OPTION_AT(tokenize_run, decode)},
    {0},
};

/* ---- text to ids ---- */

/* The token's text in quotes. */
static void print_piece(const tokenize_run *r, int32_t id) {
    char *piece = NULL;
    size_t n = 0;
    if (pgr_detokenize(r->model, &id, 1, &piece, &n, NULL) == PGR_OK) show_text(piece, n);
    pgr_free(piece);
}

/* One token per line; the lines of a file stay lines. */
static void print_ids(const tokenize_run *r, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        printf(r->file ? "%s%d " : "%s%7d  ", r->file && i ? "  " : "", ids[i]);
        print_piece(r, ids[i]);
        if (!r->file) putchar('\n');
    }
    if (r->file) putchar('\n');
}

static int encode(const tokenize_run *r, const char *text, size_t n) {
    int32_t *ids = NULL;
    size_t n_id = 0;
    pgr_error err = {0};
    int flags = (r->special ? PGR_TOKENS_SPECIAL : 0) | (r->bos ? PGR_TOKENS_BOS : 0);
    if (pgr_tokenize(r->model, text, n, flags, &ids, &n_id, &err) != PGR_OK) return complain_error(&err);
    if (r->common.json) {
        json_ids(ids, n_id);
        putchar('\n');
    } else {
        print_ids(r, ids, n_id);
    }
    pgr_free(ids);
    return EXIT_DONE;
}

/* ---- ids to text ---- */

static const char SEPARATORS[] = " \t\r\n,[]";

/* Ids separated by blanks, commas or brackets, so that a JSON array is read too. */
static int read_ids(const char *text, int32_t **ids, size_t *n) {
    size_t count = 0;
    int32_t *list = must_alloc((strlen(text) / 2 + 1) * sizeof *list);
    for (const char *c = text + strspn(text, SEPARATORS); *c; c += strspn(c, SEPARATORS)) {
        size_t len = strcspn(c, SEPARATORS);
        char *end = NULL, word[12] = "";
        if (len < sizeof word) memcpy(word, c, len);
        long id = strtol(word, &end, 10);
        if (!word[0] || *end || word[strspn(word, "0123456789")] || id > INT32_MAX) {
            complain("found \"%.*s\", expected a token id", len < 40 ? (int)len : 40, c);
            free(list);
            return EXIT_FAILED;
        }
        list[count++] = (int32_t)id;
        c += len;
    }
    *ids = list;
    *n = count;
    return EXIT_DONE;
}

static int decode(const tokenize_run *r, const char *text, size_t n) {
    if (memchr(text, '\0', n)) {
        complain("found a NUL byte, expected token ids");
        return EXIT_FAILED;
    }
    int32_t *ids = NULL;
    size_t n_id = 0, n_out = 0;
    char *out = NULL, *line = must_dup(text, n);
    pgr_error err = {0};
    int status = read_ids(line, &ids, &n_id);
    free(line);
    if (status != EXIT_DONE) return status;
    if (pgr_detokenize(r->model, ids, n_id, &out, &n_out, &err) == PGR_OK) {
        if (r->common.json)
            json_text(out, n_out);
        else
            fwrite(out, 1, n_out, stdout);
        putchar('\n');
    } else {
        status = complain_error(&err);
    }
    pgr_free(out);
    free(ids);
    return status;
}

/* ---- items ---- */

static int one_item(const tokenize_run *r, const char *text, size_t n) {
    return r->decode ? decode(r, text, n) : encode(r, text, n);
}

static int all_lines(const tokenize_run *r, const char *text, size_t n) {
    const char *end = text + n, *file = strcmp(r->file, "-") == 0 ? "standard input" : r->file;
    char place[4096];
    int status = EXIT_DONE;
    size_t line = 1;
    for (const char *next; text < end && status == EXIT_DONE; text = next, line++) {
        if (interrupted) return complain_interrupted();
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        next = stop ? stop + 1 : end;
        snprintf(place, sizeof place, "%s:%zu", file, line);
        complain_about(place);
        status = one_item(r, text, (size_t)((stop ? stop : end) - text));
        complain_about(NULL);
    }
    return status;
}

/* The words of the command line with one blank between them. */
static char *join(char **words, size_t *n) {
    char *text = must_dup("", 0);
    size_t size = 0;
    for (; *words; words++) {
        size_t len = strlen(*words);
        text = must_resize(text, size + len + 2);
        if (size) text[size++] = ' ';
        memcpy(text + size, *words, len + 1);
        size += len;
    }
    *n = size;
    return text;
}

static int read_text(const tokenize_run *r, char **operands, char **text, size_t *n) {
    if (r->file ? operands[0] != NULL : !operands[0] || (operands[1] && !r->decode))
        return args_wrong(r->self, r->decode ? "expected IDS or --file FILE" : "expected one TEXT or --file FILE");
    const char *file = r->file ? r->file : strcmp(operands[0], "-") == 0 ? "-" : NULL;
    if (file) return read_whole(file, text, n);
    *text = join(operands, n);
    return EXIT_DONE;
}

static int run(const command *self, int argc, char **argv) {
    tokenize_run r = {.self = self};
    char **operands = NULL, *text = NULL;
    size_t n = 0;
    int status = args_parse(self, argc, argv, &r.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    status = read_text(&r, operands, &text, &n);
    if (status != EXIT_DONE) return status;
    session s;
    r.common.dtype = PGR_DTYPE_EXACT; /* no weight is looked at: none is converted */
    status = session_open(&r.common, false, &s);
    r.model = s.model;
    if (status == EXIT_DONE) status = r.file ? all_lines(&r, text, n) : one_item(&r, text, n);
    session_close(&s);
    free(text);
    return status;
}

const command CMD_TOKENIZE = {
    .name = "tokenize",
    .operands = "TEXT",
    .summary = "text to token ids and back",
    .about = "Shows every token's id and text. Control tokens in the text are ordinary text, unless --parse-special.\n"
             "--json prints one array of ids, or with --decode one string, per item.",
    .example = "pgenrm tokenize --json 'The same text, in tokens.'",
    .options = OPTIONS,
    .without = ARGS_NO_LORA,
    .run = run,
};
