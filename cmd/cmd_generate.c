/* cmd_generate.c - `pgenrm generate`: continuations of a prompt. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "commands.h"
#include "json_out.h"
#include "message.h"
#include "session.h"

typedef struct generate_run {
    const command *self;
    common_options common;
    pgr_generate_options o;
    const char *prompt_file, *grammar_file;
    const char **stop;
    char *grammar, *prompt;
    size_t n_prompt;
} generate_run;

static int take_stop(void *options, const option_row *row, const char *text) {
    generate_run *r = options;
    (void)row;
    if (!*text) return args_wrong(r->self, "--stop: found an empty text");
    r->stop = must_resize(r->stop, (r->o.n_stop + 1) * sizeof *r->stop);
    r->stop[r->o.n_stop++] = text;
    return EXIT_DONE;
}

static const option_row OPTIONS[] = {
    {0, "prompt-file", "FILE", "the prompt, byte for byte; - is standard input", OPTION_AT(generate_run, prompt_file)},
    {'n', "samples", "N", "continuations, 1 to 4096 (default: 1)", OPTION_AT(generate_run, o.n_sample), .lo = 1,
     .hi = 4096},
    {0, "max-tokens", "N", "length of each (default: 256)", OPTION_AT(generate_run, o.max_tokens), .lo = 1,
     .hi = 1 << 20},
    {0, "temperature", "T", "0 is greedy (default: 1)", OPTION_AT(generate_run, o.sampling.temperature), .lo = 0,
     .hi = 10},
    {0, "top-k", "K", "only the K likeliest tokens; 0: off (default: 0)", OPTION_AT(generate_run, o.sampling.top_k),
     .lo = 0, .hi = 1 << 24},
    {0, "top-p", "P", "only the likeliest tokens that make up P; 1: off (default: 1)",
     OPTION_AT(generate_run, o.sampling.top_p), .lo = 0, .hi = 1},
    {0, "min-p", "P", "only tokens at least P times as likely as the likeliest; 0: off (default: 0)",
     OPTION_AT(generate_run, o.sampling.min_p), .lo = 0, .hi = 1},
    {0, "stop", "TEXT", "end before this text; may be given several times", .take = take_stop},
    {0, "ignore-eos", NULL, "do not end at the end-of-text token", OPTION_AT(generate_run, o.ignore_eos)},
    {0, "grammar", "FILE", "only text that this grammar allows (docs/grammar.md)",
     OPTION_AT(generate_run, grammar_file)},
    {0, "grammar-from", "TEXT", "the grammar starts after this text", OPTION_AT(generate_run, o.grammar_trigger)},
    {0, "raw", NULL, "the prompt as it is; else one user turn in the model's chat template",
     OPTION_AT(generate_run, o.raw)},
    {0, "parse-special", NULL, "control tokens spelled out in the prompt count as such",
     OPTION_AT(generate_run, o.parse_special)},
    {0, "deadline", "S", "seconds; samples not finished by then end as they are", OPTION_AT(generate_run, o.deadline_s),
     .lo = 0.001, .hi = 1e6},
    {0},
};

/* The prompt and the grammar, each from where the options say. */
static int read_texts(generate_run *r, char **operands) {
    if (r->prompt_file ? operands[0] != NULL : !operands[0] || operands[1])
        return args_wrong(r->self, "expected one PROMPT or --prompt-file FILE");
    if (r->o.grammar_trigger && !r->grammar_file) return args_wrong(r->self, "--grammar-from needs --grammar");
    if (r->o.grammar_trigger && !*r->o.grammar_trigger)
        return args_wrong(r->self, "--grammar-from: found an empty text");
    if (r->o.sampling.top_p <= 0) return args_wrong(r->self, "--top-p: found 0, expected more than 0");
    if (r->grammar_file) {
        size_t n = 0;
        int status = read_whole(r->grammar_file, &r->grammar, &n);
        if (status != EXIT_DONE) return status;
        if (strlen(r->grammar) != n) {
            complain("%s: found a NUL byte, expected text", r->grammar_file);
            return EXIT_FAILED;
        }
        r->o.grammar = r->grammar;
        r->o.grammar_name = r->grammar_file;
    }
    const char *file = r->prompt_file ? r->prompt_file : strcmp(operands[0], "-") == 0 ? "-" : NULL;
    if (file) return read_whole(file, &r->prompt, &r->n_prompt);
    r->n_prompt = strlen(operands[0]);
    r->prompt = must_dup(operands[0], r->n_prompt);
    return EXIT_DONE;
}

static const char *finish_name(pgr_finish finish) {
    switch (finish) {
    case PGR_FINISH_STOP:
        return "stop";
    case PGR_FINISH_LENGTH:
        return "length";
    case PGR_FINISH_DEADLINE:
        return "deadline";
    case PGR_FINISH_FAILED:
        return "failed";
    }
    return "stop";
}

static void print_json(const pgr_generation *g) {
    fputs("{\"prompt_tokens\":", stdout);
    json_ids(g->prompt, g->n_prompt);
    fputs(",\"samples\":[", stdout);
    for (size_t i = 0; i < g->n_sample; i++) {
        const pgr_sample *s = &g->samples[i];
        fputs(i ? ",{\"text\":" : "{\"text\":", stdout);
        json_text(s->text, s->n_text);
        fputs(",\"tokens\":", stdout);
        json_ids(s->tokens, s->n_token);
        fputs(",\"logprobs\":", stdout);
        json_reals(s->logprobs, s->n_token);
        printf(",\"finish_reason\":\"%s\"}", finish_name(s->finish));
    }
    const pgr_timing *t = &g->timing;
    printf("],\"timing\":{\"load_s\":%.4f,\"prefill_s\":%.4f,\"decode_s\":%.4f,\"total_s\":%.4f}}\n", t->load_s,
           t->prefill_s, t->decode_s, t->total_s);
}

static void print_text(const pgr_generation *g, bool quiet) {
    size_t tokens = 0;
    for (size_t i = 0; i < g->n_sample; i++) {
        const pgr_sample *s = &g->samples[i];
        if (g->n_sample > 1)
            printf("%s--- sample %zu of %zu (%zu tokens, %s)\n", i ? "\n" : "", i + 1, g->n_sample, s->n_token,
                   finish_name(s->finish));
        fwrite(s->text, 1, s->n_text, stdout);
        putchar('\n');
        tokens += s->n_token;
    }
    if (quiet || !isatty(STDERR_FILENO)) return;
    const pgr_timing *t = &g->timing;
    double rate = t->decode_s > 0 ? (double)tokens / t->decode_s : 0;
    fprintf(stderr, "(load %.2f s; %zu prompt tokens in %.2f s; %zu tokens in %.2f s, %.0f a second)\n", t->load_s,
            g->n_prompt, t->prefill_s, tokens, t->decode_s, rate);
}

static int generate(generate_run *r) {
    session s;
    int status = session_open(&r->common, true, &s);
    if (status == EXIT_DONE) {
        r->o.stop = r->stop;
        r->o.seed = r->common.seed >= 0 ? (uint64_t)r->common.seed : 0;
        r->o.watch = bar_watch(s.bar);
        pgr_generation *g = NULL;
        pgr_error err = {0};
        if (pgr_generate(s.engine, r->prompt, r->n_prompt, &r->o, &g, &err) == PGR_OK) {
            pgr_progress_bar_free(s.bar); /* its line ends before the text begins */
            s.bar = NULL;
            if (r->common.json)
                print_json(g);
            else
                print_text(g, r->common.quiet);
            pgr_generation_free(g);
        } else {
            status = complain_error(&err);
        }
    }
    session_close(&s);
    return status;
}

static int run(const command *self, int argc, char **argv) {
    generate_run r = {.self = self, .o = pgr_generate_options_default()};
    r.o.sampling.temperature = 1.0f;
    r.o.max_tokens = 256;
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &r.common, &r, &operands);
    if (status == ARGS_RUN)
        status = read_texts(&r, operands);
    else
        return status;
    if (status == EXIT_DONE) status = generate(&r);
    free(r.prompt);
    free(r.grammar);
    free(r.stop);
    return status;
}

const command CMD_GENERATE = {
    .name = "generate",
    .operands = "PROMPT",
    .summary = "continue a prompt",
    .about =
        "The prompt is one user turn in the model's chat template, unless --raw. Control tokens in it are ordinary\n"
        "text, unless --parse-special. - reads it from standard input.",
    .example = "pgenrm generate -n 2 --max-tokens 40 'Name three uses of a paper clip.'",
    .options = OPTIONS,
    .remote = true,
    .run = run,
};
