/* train_args.c - how a run of `pgenrm train` begins, tells its steps and ends. */
#include "train_args.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "message.h"

/* "0.9,0.98" */
int train_take_betas(pgr_train_options *o, const char *value) {
    char *end = NULL;
    double one = strtod(value, &end), two = *end == ',' ? strtod(end + 1, &end) : -1;
    if (*end || !(one >= 0 && one < 1 && two >= 0 && two < 1)) {
        complain("--betas: found \"%s\", expected two numbers from 0 to below 1 like 0.9,0.98", value);
        return EXIT_USAGE;
    }
    o->beta1 = one;
    o->beta2 = two;
    return EXIT_DONE;
}

/* ---- --config ---- */

static char *config_words; /* of all files, kept to the program's end: options point into them */
static char **config_argv;

int train_take_config(void *options, const option_row *row, const char *value) {
    (void)options, (void)row;
    complain("--config \"%s\": found part of the option's name, expected --config FILE or --config=FILE", value);
    return EXIT_USAGE;
}

/* Takes --config out of the words. *found: its file; NULL: it was not there. */
static int take_out(int *argc, char **argv, const char **found) {
    *found = NULL;
    for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        bool joined = strncmp(argv[i], "--config=", 9) == 0;
        if (!joined && strcmp(argv[i], "--config") != 0) continue;
        if (!joined && i + 1 == *argc) return EXIT_DONE; /* getopt says that a value is missing */
        if (*found) {
            complain("--config: found a second one, expected one file");
            return EXIT_USAGE;
        }
        *found = joined ? argv[i] + 9 : argv[i + 1];
        int n = joined ? 1 : 2;
        memmove(argv + i, argv + i + n, (size_t)(*argc - i - n + 1) * sizeof *argv); /* with the NULL */
        *argc -= n;
        i--;
    }
    return EXIT_DONE;
}

int train_config(int *argc, char ***argv) {
    const char *file;
    size_t n = 0;
    pgr_error err = {0};
    int status = take_out(argc, *argv, &file);
    if (status != EXIT_DONE || !file || *argc < 2) return status;
    if (pgr_option_file(file, &config_words, &n, &err) != PGR_OK) return complain_error(&err);
    config_argv = must_alloc(((size_t)*argc + n + 1) * sizeof *config_argv);
    config_argv[0] = (*argv)[0];
    config_argv[1] = (*argv)[1];
    char *word = config_words;
    for (size_t i = 0; i < n; i++, word += strlen(word) + 1) config_argv[2 + i] = word;
    memcpy(config_argv + 2 + n, *argv + 2, (size_t)(*argc - 1) * sizeof *config_argv); /* with the NULL */
    args_from_file(file, n);
    *argv = config_argv;
    *argc += (int)n;
    return EXIT_DONE;
}

static void print_step(void *ctx, const char *json, const char *text) {
    const common_options *o = ctx;
    if (!o->json && o->quiet) return;
    print_line(o->json ? json : text);
}

/* A process of mpirun takes its share of the cores, and only the first one talks. */
static int begin_ranks(train_args *a) {
    pgr_error err = {0};
    if (pgr_ranks_open(&a->ranks, &err) != PGR_OK) return complain_error(&err);
    a->o->ranks = a->ranks;
    if (a->common.n_thread == 0) a->common.n_thread = pgr_ranks_threads(a->ranks);
    if (pgr_ranks_at(a->ranks) > 0) a->common.quiet = true;
    return EXIT_DONE;
}

static int prepare(const command *self, train_args *a) {
    if (!a->o->out) return args_wrong(self, "expected --out DIR");
    if (a->common.dtype == PGR_DTYPE_INT8 && a->o->full)
        return args_wrong(self, "--dtype int8: is for adapters; with --full expected bf16, f32 or exact");
    int ranks = begin_ranks(a);
    if (ranks != EXIT_DONE) return ranks;
    a->o->seed = a->common.seed > 0 ? (uint64_t)a->common.seed : 0;
    a->o->watch.cancel = &interrupted;
    a->o->on_step = print_step;
    a->o->on_step_ctx = &a->common;
    if (a->common.dtype == PGR_DTYPE_AUTO) a->common.dtype = pgr_train_dtype(a->o);
    return EXIT_DONE;
}

int train_begin(const command *self, train_args *a, session *s) {
    int status = prepare(self, a);
    if (status != EXIT_DONE) return status;
    status = session_open(&a->common, false, s);
    pgr_progress_bar_free(s->bar); /* of the loading */
    s->bar = NULL;
    return status;
}

int train_begin_any(const command *self, train_args *a, session *s) {
    char *path = NULL;
    pgr_error err = {0};
    int status = prepare(self, a);
    if (status == EXIT_DONE) status = find_model(&a->common, &path);
    if (status != EXIT_DONE) return status;
    pgr_model_options o = pgr_model_options_default();
    o.dtype = a->common.dtype;
    o.n_thread = a->common.n_thread;
    o.chat_template = a->common.chat_template;
    pgr_progress_bar *bar = pgr_progress_bar_create(a->common.quiet);
    o.watch = bar_watch(bar);
    pgr_status opened = pgr_train_model_open(path, &o, &s->model, &err);
    pgr_progress_bar_free(bar);
    pgr_free(path);
    return finish_call(opened, &err);
}

static int tell_end(const train_args *a, bool several, pgr_status trained, const pgr_train_report *report,
                    const pgr_error *err) {
    if (trained == PGR_E_CANCELLED && (interrupted || several)) { /* any rank may have had the signal */
        if (*report->checkpoint && !a->common.quiet)
            complain("interrupted; %s is kept, the same command with --resume goes on from there", report->checkpoint);
        else
            return complain_interrupted();
        return EXIT_INTERRUPTED;
    }
    if (trained != PGR_OK) return complain_error(err);
    if (!a->common.json && a->written) puts(a->written);
    if (!a->common.json && !a->written)
        printf("%s/%s\n", a->o->out, a->result ? a->result : a->o->full ? "model" : "adapter");
    return EXIT_DONE;
}

/* The first rank tells it before any of them leaves: mpirun ends all as soon as one has left with an error. */
int train_finish(train_args *a, pgr_status trained, const pgr_train_report *report, const pgr_error *err) {
    bool several = pgr_ranks_count(a->ranks) > 1;
    int status = trained == PGR_OK ? EXIT_DONE : trained == PGR_E_CANCELLED ? EXIT_INTERRUPTED : EXIT_FAILED;
    if (pgr_ranks_at(a->ranks) == 0) status = tell_end(a, several, trained, report, err);
    (void)fflush(NULL);
    pgr_ranks_close(a->ranks);
    a->ranks = NULL;
    return status;
}
