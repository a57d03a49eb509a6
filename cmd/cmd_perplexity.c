/* cmd_perplexity.c - `pgenrm perplexity`: how well the model predicts a text. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "commands.h"
#include "json_out.h"
#include "message.h"
#include "session.h"

typedef struct perplexity_run {
    common_options common;
    const char *file;
    size_t context;
    bool per_token;
} perplexity_run;

static const option_row OPTIONS[] = {
    {0, "context", "N", "tokens of a window, 2 or more (default: the model's context)",
     OPTION_AT(perplexity_run, context), .lo = 2, .hi = 1 << 24},
    {0, "per-token", NULL, "every token's log-probability too", OPTION_AT(perplexity_run, per_token)},
    {0},
};

static void print_json(const perplexity_run *r, const pgr_perplexity *p) {
    putchar('{');
    if (r->per_token) {
        fputs("\"tokens\":", stdout);
        json_ids(p->tokens, p->n);
        fputs(",\"logprobs\":", stdout);
        json_reals(p->logprobs, p->n);
        putchar(',');
    }
    fputs("\"perplexity\":", stdout);
    json_real(p->perplexity);
    fputs(",\"nll\":", stdout);
    json_real(p->nll);
    puts("}");
}

static void print_tokens(const pgr_model *m, const pgr_perplexity *p) {
    for (size_t i = 0; i < p->n; i++) {
        char *piece = NULL;
        size_t n = 0;
        if (isnan(p->logprobs[i]))
            printf("%8s  %7d  ", "-", p->tokens[i]);
        else
            printf("%8.4f  %7d  ", (double)p->logprobs[i], p->tokens[i]);
        if (pgr_detokenize(m, &p->tokens[i], 1, &piece, &n, NULL) == PGR_OK) show_text(piece, n);
        putchar('\n');
        pgr_free(piece);
    }
}

static void print_summary(const pgr_perplexity *p) {
    size_t scored = 0;
    for (size_t i = 0; i < p->n; i++) scored += !isnan(p->logprobs[i]);
    printf("tokens      %zu (%zu predicted)\nnll         %.5f nats per token\nperplexity  %.4f\n", p->n, scored, p->nll,
           p->perplexity);
}

static int measure(const perplexity_run *r, const session *s, const char *text, size_t n) {
    pgr_perplexity p = {0};
    pgr_error err = {0};
    pgr_watch watch = bar_watch(s->bar);
    if (pgr_perplexity_of(s->engine, text, n, r->context, &watch, &p, &err) != PGR_OK) {
        const char *name = strcmp(r->file, "-") == 0 ? "standard input" : r->file;
        complain_about(err.status == PGR_E_CANCELLED ? NULL : name);
        int status = complain_error(&err);
        complain_about(NULL);
        return status;
    }
    if (r->common.json) {
        print_json(r, &p);
    } else {
        if (r->per_token) print_tokens(s->model, &p);
        print_summary(&p);
    }
    pgr_perplexity_free(&p);
    return EXIT_DONE;
}

static int run(const command *self, int argc, char **argv) {
    perplexity_run r = {0};
    char **operands = NULL, *text = NULL;
    size_t n = 0;
    int status = args_parse(self, argc, argv, &r.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    if (!operands[0] || operands[1]) return args_wrong(self, "expected one FILE, or - for standard input");
    r.file = operands[0];
    status = read_whole(r.file, &text, &n);
    if (status != EXIT_DONE) return status;
    session s;
    status = session_open(&r.common, true, &s);
    if (status == EXIT_DONE) status = measure(&r, &s, text, n);
    session_close(&s);
    free(text);
    return status;
}

const command CMD_PERPLEXITY = {
    .name = "perplexity",
    .operands = "FILE",
    .summary = "how well the model predicts a text",
    .about = "The text is taken byte for byte in windows of --context tokens; logarithms are natural.",
    .example = "pgenrm perplexity --context 512 examples/request.json",
    .options = OPTIONS,
    .run = run,
};
