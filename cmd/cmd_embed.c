/* cmd_embed.c - `pgenrm embed`: texts to vectors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "commands.h"
#include "json_out.h"
#include "message.h"
#include "session.h"
#include "table.h"

enum { PART = 1024 };         /* texts that are embedded before their lines are written */
enum { MAX_COMPARED = 2000 }; /* texts that are compared with each other */
enum { TEXT_SHOWN = 200 };    /* bytes */

typedef struct embed_run {
    common_options common;
    pgr_embed_options o;
    pgr_embedder *e;
    pgr_progress_bar *bar;
    size_t dim;
    const char **texts; /* (n) lines without their breaks */
    size_t *lens, n;
    size_t done; /* texts of earlier parts */
    size_t n_cut;
} embed_run;

static const char *const POOLS[] = {"auto", "mean", "cls", "last", NULL}; /* in the order of pgr_pool */

static const option_row OPTIONS[] = {
    {0, "pool", "NAME", "mean, cls (first token), last (token) or auto: as the model's files say (default)",
     CHOICE_AT(embed_run, o.pool, POOLS)},
    {0, "dim", "N", "only the first N values, scaled to length 1 again", OPTION_AT(embed_run, o.dim), .lo = 1,
     .hi = 1 << 24},
    {0, "instruct", "TASK", "the lines are queries for this task: \"Instruct: TASK\\nQuery:LINE\"",
     OPTION_AT(embed_run, o.instruct)},
    {0},
};

static void split_lines(embed_run *r, const char *text, size_t n) {
    size_t cap = 0;
    const char *end = text + n;
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) text += 3; /* a byte order mark */
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop) stop = end;
        if (r->n == cap) {
            cap = cap ? 2 * cap : 256;
            r->texts = must_resize(r->texts, cap * sizeof *r->texts);
            r->lens = must_resize(r->lens, cap * sizeof *r->lens);
        }
        r->texts[r->n] = text;
        r->lens[r->n++] = (size_t)(stop - text) - (stop > text && stop[-1] == '\r');
        text = stop + 1;
    }
}

/* ---- computing ---- */

static void show_progress(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    const embed_run *r = ctx;
    (void)total;
    pgr_progress_bar_update(r->bar, label, r->done + done, r->n, unit);
}

/* Texts r->done to r->done + n - 1. */
static int embed_part(embed_run *r, size_t n, float *out, pgr_embedded *counts) {
    pgr_error err = {0};
    if (pgr_embed(r->e, r->texts + r->done, r->lens + r->done, n, &r->o, out, counts, &err) != PGR_OK)
        return complain_error(&err);
    for (size_t i = 0; i < n; i++) r->n_cut += counts[i].cut > 0;
    r->done += n;
    return EXIT_DONE;
}

static void print_json(const float *v, size_t dim, pgr_embedded count) {
    fputs("{\"embedding\":", stdout);
    json_reals(v, dim);
    printf(",\"tokens\":%zu", count.tokens);
    if (count.cut > 0) printf(",\"cut\":%zu", count.cut);
    puts("}");
}

static int print_all_json(embed_run *r) {
    float *out = must_alloc(PART * r->dim * sizeof *out);
    pgr_embedded counts[PART];
    int status = EXIT_DONE;
    while (r->done < r->n && status == EXIT_DONE) {
        size_t n = r->n - r->done < PART ? r->n - r->done : PART;
        status = embed_part(r, n, out, counts);
        for (size_t i = 0; i < n && status == EXIT_DONE; i++) print_json(out + i * r->dim, r->dim, counts[i]);
    }
    free(out);
    return status;
}

/* ---- for people: which other line is nearest ---- */

static double cosine(const float *a, const float *b, size_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* The line most similar to line i; n where there is no other. */
static size_t nearest(const embed_run *r, const float *v, size_t i, double *similarity) {
    size_t best = r->n;
    if (r->n > MAX_COMPARED) return best;
    for (size_t k = 0; k < r->n; k++) {
        if (k == i) continue;
        double c = cosine(v + i * r->dim, v + k * r->dim, r->dim);
        if (best < r->n && !(c > *similarity)) continue;
        best = k;
        *similarity = c;
    }
    return best;
}

static void add_line(const embed_run *r, table *t, const float *v, size_t i, pgr_embedded count) {
    char line[24], tokens[24], other[24] = "-", similarity[24] = "-";
    double c = 0;
    size_t near = nearest(r, v, i, &c);
    size_t shown = r->lens[i] < TEXT_SHOWN ? r->lens[i] : TEXT_SHOWN;
    char *text = must_dup(r->texts[i], shown);
    snprintf(line, sizeof line, "%zu", i + 1);
    snprintf(tokens, sizeof tokens, "%zu%s", count.tokens, count.cut ? "+" : "");
    if (near < r->n) {
        snprintf(other, sizeof other, "%zu", near + 1);
        snprintf(similarity, sizeof similarity, "%.4f", c);
    }
    table_row(t, STYLE_PLAIN, (const char *[]){line, tokens, other, similarity, text});
    free(text);
}

static void print_table(const embed_run *r, const float *v, const pgr_embedded *counts) {
    static const column columns[] = {{"line", true, false},
                                     {"tokens", true, false},
                                     {"nearest", true, false},
                                     {"cosine", true, false},
                                     {"text", false, true}};
    screen s = screen_open(120);
    table *t = table_create(columns, 5);
    for (size_t i = 0; i < r->n; i++) add_line(r, t, v, i, counts[i]);
    printf("%s: %zu values per text\n", pgr_embedder_name(r->e), r->dim);
    table_print(t, &s, 0);
    table_free(t);
}

static int print_all_text(embed_run *r) {
    float *out = must_alloc(r->n * r->dim * sizeof *out);
    pgr_embedded *counts = must_alloc(r->n * sizeof *counts);
    int status = r->n ? embed_part(r, r->n, out, counts) : EXIT_DONE;
    if (status == EXIT_DONE && r->n) print_table(r, out, counts);
    free(out);
    free(counts);
    return status;
}

/* ---- the command ---- */

static int open_and_check(embed_run *r) {
    int status = open_embedder(r->common.model, r->common.dtype, r->common.n_thread, r->bar, &r->e);
    if (status != EXIT_DONE) return status;
    r->dim = r->o.dim ? r->o.dim : pgr_embedder_dims(r->e);
    if (r->dim <= pgr_embedder_dims(r->e)) return EXIT_DONE;
    complain("--dim is %zu, the embeddings of %s have %zu values", r->o.dim, pgr_embedder_name(r->e),
             pgr_embedder_dims(r->e));
    return EXIT_FAILED;
}

static int run(const command *self, int argc, char **argv) {
    embed_run r = {.o = pgr_embed_options_default()};
    char **operands = NULL, *text = NULL;
    size_t n = 0;
    int status = args_parse(self, argc, argv, &r.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    if (!operands[0] || operands[1]) return args_wrong(self, "expected one FILE, or - for standard input");
    status = read_whole(operands[0], &text, &n);
    if (status != EXIT_DONE) return status;
    split_lines(&r, text, n);
    r.bar = pgr_progress_bar_create(r.common.quiet);
    r.o.watch = (pgr_watch){&interrupted, show_progress, &r};
    status = open_and_check(&r);
    if (status == EXIT_DONE) status = r.common.json ? print_all_json(&r) : print_all_text(&r);
    pgr_progress_bar_free(r.bar);
    if (r.n_cut > 0 && !r.common.quiet)
        complain("%zu of %zu texts were longer than %zu tokens and were cut", r.n_cut, r.n,
                 pgr_embedder_max_tokens(r.e));
    pgr_embedder_close(r.e);
    free(r.texts);
    free(r.lens);
    free(text);
    return status;
}

const command CMD_EMBED = {
    .name = "embed",
    .operands = "FILE",
    .summary = "texts to vectors of their meaning",
    .about =
        "Every line is a text. --json prints one object per line; without it a table shows which other line is "
        "nearest.\n"
        "Models: encoders of the BERT family and any decoder (docs/embed.md). Without -m: $PGENRM_EMBEDDER, else the\n"
        "default embedder (make embedder).",
    .example = "pgenrm embed --json README.md",
    .options = OPTIONS,
    .without = ARGS_NO_LORA | ARGS_NO_CHAT_TEMPLATE,
    .model = "Hugging Face folder, GGUF file, a name below the cache folder, or http://HOST/v1 of a server "
             "(docs/remote.md) (default: $PGENRM_EMBEDDER, else the default embedder)",
    .run = run,
};
