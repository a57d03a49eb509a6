/* cmd_score.c - `pgenrm score`: requests in, one result each out; the chains of many requests are written together. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "commands.h"
#include "judge_args.h"
#include "message.h"
#include "report.h"
#include "scalar_args.h"
#include "session.h"
#include "shown_report.h"

enum {
    GROUP_CHAINS = 4096, /* of the requests that are judged in one call */
    GROUP_REQUESTS = 256,
};

typedef struct score_run {
    const command *self;
    common_options common;
    judge_args judge;
    scalar_args scalar;
    char **files;
    pgr_request **requests;
    size_t n_request, n_bad; /* requests read; requests that could not be read or judged */
    bool some_failed;        /* a result has failed chains */
    bool chains;             /* every chain is printed */
    bool prompt;             /* prompts are printed, nothing is judged */
} score_run;

static const option_row OPTIONS[] = {
    JUDGE_OPTIONS(score_run, judge),
    {0, "prompt", NULL, "print the prompts, the tokens of their parts and what was shortened, and judge nothing",
     OPTION_AT(score_run, prompt)},
    SCALAR_OPTION(score_run, scalar, "MODEL[:WEIGHT]",
                  "a reward model with a score head, or attributes (FILE.json), shown beside the verdict; with a "
                  "weight (--scalar-weight) mixed in "
                  "(docs/scalar.md)"),
    {0}};

/* ---- requests ---- */

static void add_request(score_run *r, pgr_request *request) {
    if ((r->n_request & (r->n_request - 1)) == 0) /* room doubles */
        r->requests = must_resize(r->requests, (r->n_request ? 2 * r->n_request : 1) * sizeof *r->requests);
    r->requests[r->n_request++] = request;
}

/* One request of a file, or the message why not. */
static void take(score_run *r, pgr_status status, pgr_request *request, const pgr_error *err) {
    if (status == PGR_OK) {
        add_request(r, request);
    } else {
        complain_error(err);
        r->n_bad++;
    }
}

static bool is_blank(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", s[i]) || !s[i]) return false;
    return true;
}

/* A .jsonl file: one request or record per line; blank lines count only as lines. */
static void read_lines(score_run *r, const char *path) {
    errno = 0;
    FILE *f = fopen(path, "rb");
    char *line = NULL, origin[4096];
    size_t cap = 0, number = 0, before = r->n_request + r->n_bad;
    ssize_t n = -1;
    while (f && !interrupted && (n = getline(&line, &cap, f)) >= 0) {
        number++;
        if (is_blank(line, (size_t)n)) continue;
        snprintf(origin, sizeof origin, "%s:%zu", path, number);
        pgr_request *request = NULL;
        pgr_error err = {0};
        pgr_status status = pgr_request_parse(line, (size_t)n, origin, &request, &err);
        take(r, status, request, &err);
    }
    if (!f || ferror(f)) {
        complain("%s: %s", path, strerror(errno));
        r->n_bad++;
    } else if (r->n_request + r->n_bad == before && !interrupted) {
        complain("%s: found no request, expected one per line", path);
        r->n_bad++;
    }
    free(line);
    if (f) fclose(f);
}

static void read_requests(score_run *r) {
    for (char **file = r->files; *file && !interrupted; file++) {
        size_t n = strlen(*file);
        if (n > 6 && strcmp(*file + n - 6, ".jsonl") == 0) {
            read_lines(r, *file);
            continue;
        }
        pgr_request *request = NULL;
        pgr_error err = {0};
        pgr_status status = pgr_request_read(*file, &request, &err);
        take(r, status, request, &err);
    }
}

/* ---- results ---- */

static int print_result(score_run *r, const pgr_result *result, bool first) {
    if (!r->common.json) {
        screen s = screen_open(100);
        if (!first) fputs("\n\n", stdout);
        report_print(&s, result, r->chains);
        return finish_output();
    }
    char *text = NULL;
    pgr_error err = {0};
    if (pgr_result_json(result, &text, &err) != PGR_OK) return complain_error(&err);
    puts(text);
    pgr_free(text);
    return finish_output();
}

static bool has_failures(const pgr_result *result) {
    for (size_t i = 0; i < result->n_response; i++)
        if (!result->responses[i].scored) return true;
    return result->failed > 0;
}

/* ---- groups of requests that are judged together ---- */

typedef struct group {
    score_run *r;
    pgr_progress_bar *bar;
    size_t n;
    pgr_result **results; /* (n) */
    pgr_error *errors;    /* (n) */
    bool *done;           /* (n) has its result or its error */
    size_t next;          /* the first that is not printed yet */
    bool first;           /* of all requests: nothing was printed before */
    bool cancelled;
    int status; /* EXIT_DONE to go on */
} group;

static void print_request(group *g, size_t i) {
    pgr_result *result = g->results[i];
    if (!result && interrupted && g->errors[i].status == PGR_E_CANCELLED) {
        g->cancelled = true;
        return;
    }
    if (!result) {
        complain_error(&g->errors[i]);
        g->r->n_bad++;
        return;
    }
    if (isatty(STDOUT_FILENO)) pgr_progress_bar_update(g->bar, "", 0, 0, ""); /* ends the bar's line */
    if (g->status == EXIT_DONE) g->status = print_result(g->r, result, g->first);
    if (g->status != EXIT_DONE) interrupted = 1; /* nobody reads the rest */
    if (has_failures(result)) g->r->some_failed = true;
    g->first = false;
    pgr_result_free(result);
}

/* Results stand in the order of the requests, each as soon as those before it are there. */
static void on_judged(void *ctx, size_t index) {
    group *g = ctx;
    g->done[index] = true;
    while (g->next < g->n && g->done[g->next]) print_request(g, g->next++);
}

/* EXIT_DONE to go on with the next group. */
static int judge_group(score_run *r, const session *s, size_t first, size_t n) {
    group g = {.r = r, .bar = s->bar, .n = n, .first = first == 0};
    g.results = must_alloc(n * sizeof *g.results);
    g.errors = must_alloc(n * sizeof *g.errors);
    g.done = must_alloc(n * sizeof *g.done);
    r->judge.o.judged = on_judged;
    r->judge.o.judged_ctx = &g;
    pgr_judge_many(s->engine, (const pgr_request *const *)r->requests + first, n, &r->judge.o, g.results, g.errors);
    for (; g.next < n; g.next++) print_request(&g, g.next); /* only where not even the batch could be made */
    free(g.results);
    free(g.errors);
    free(g.done);
    return g.status == EXIT_DONE && g.cancelled ? complain_interrupted() : g.status;
}

/* So many that the last chains of a group, which run with few beside them, count little, and that what a group holds
 * (some kilobytes per chain) stays small. A deadline is each request's own. */
static size_t group_size(const score_run *r) {
    if (r->judge.o.deadline_s > 0) return 1;
    size_t ind = r->judge.o.ind >= 0 ? (size_t)r->judge.o.ind : 8,
           pro = r->judge.o.pro > 0 ? (size_t)r->judge.o.pro : 0;
    size_t n = GROUP_CHAINS / (ind + pro > 0 ? ind + pro : 1);
    return n < GROUP_REQUESTS ? n : GROUP_REQUESTS;
}

static int judge_all(score_run *r, session *s) {
    r->chains = r->judge.o.keep_chains;
    r->judge.o.keep_chains |= !r->common.json; /* the report names why chains failed */
    r->judge.o.seed = r->common.seed;
    r->judge.o.watch = bar_watch(s->bar);
    size_t most = group_size(r);
    for (size_t first = 0; first < r->n_request; first += most) {
        size_t left = r->n_request - first;
        int status = interrupted ? complain_interrupted() : judge_group(r, s, first, left < most ? left : most);
        if (status != EXIT_DONE) return status;
    }
    return EXIT_DONE;
}

/* ---- prompts ---- */

static int show_request(score_run *r, const session *s, size_t i) {
    pgr_shown *shown = NULL;
    pgr_error err = {0};
    char *text = NULL;
    if (pgr_judge_show(s->engine, r->requests[i], &r->judge.o, &shown, &err) != PGR_OK) {
        r->n_bad++;
        complain_error(&err);
        return EXIT_DONE;
    }
    int status = EXIT_DONE;
    if (!r->common.json) {
        screen screen = screen_open(100);
        if (i) fputs("\n\n", stdout);
        shown_report_print(&screen, shown);
    } else if (pgr_shown_json(shown, &text, &err) == PGR_OK) {
        puts(text);
    } else {
        status = complain_error(&err);
    }
    pgr_free(text);
    pgr_shown_free(shown);
    return status == EXIT_DONE ? finish_output() : status;
}

static int show_all(score_run *r, const session *s) {
    int status = EXIT_DONE;
    r->judge.o.seed = r->common.seed;
    for (size_t i = 0; i < r->n_request && status == EXIT_DONE; i++)
        status = interrupted ? complain_interrupted() : show_request(r, s, i);
    return status;
}

/* A request that names its user and no history gets what the store knows of him. */
static int complete_requests(score_run *r) {
    size_t n_strange = 0;
    for (size_t i = 0; r->judge.store && i < r->n_request; i++) {
        bool known = true;
        pgr_error err = {0};
        if (pgr_request_complete(r->requests[i], r->judge.store, &known, &err) != PGR_OK) return complain_error(&err);
        n_strange += !known;
    }
    if (n_strange && !r->common.quiet)
        complain("%zu of %zu requests bring no history and name no user whom the store knows", n_strange, r->n_request);
    return EXIT_DONE;
}

static int judge_requests(score_run *r) {
    session s = {0};
    int status = take_shipped_adapter(&r->common, r->judge.o.frame, &r->judge.shipped);
    if (status == EXIT_DONE) status = judge_args_open(&r->judge, &r->common);
    if (status == EXIT_DONE) status = complete_requests(r);
    if (status == EXIT_DONE) status = session_open(&r->common, true, &s);
    if (status == EXIT_DONE) status = scalar_args_open(&r->scalar, &r->common, s.bar);
    if (r->scalar.has_weight) r->judge.o.scalar_weight = r->scalar.weight;
    r->judge.o.scalar = r->scalar.opened;
    if (status == EXIT_DONE) status = r->prompt ? show_all(r, &s) : judge_all(r, &s);
    scalar_args_close(&r->scalar);
    session_close(&s);
    judge_args_close(&r->judge);
    return status;
}

static int score(score_run *r) {
    read_requests(r);
    if (interrupted) return complain_interrupted();
    if (r->n_request == 0) return EXIT_FAILED;
    size_t unread = r->n_bad;
    int status = judge_requests(r);
    if (status != EXIT_DONE) return status;
    if (r->n_bad - unread == r->n_request) return EXIT_FAILED; /* not one result */
    return r->n_bad || r->some_failed ? EXIT_SOME_FAILED : EXIT_DONE;
}

static int run(const command *self, int argc, char **argv) {
    score_run r = {.self = self, .judge = {.o = pgr_judge_options_default()}};
    int status = args_parse(self, argc, argv, &r.common, &r, &r.files);
    if (status != ARGS_RUN) return status;
    if (!*r.files) return args_wrong(self, "no request given, expected a REQUEST.json file or - for standard input");
    status = score(&r);
    for (size_t i = 0; i < r.n_request; i++) pgr_request_free(r.requests[i]);
    free(r.requests);
    return status;
}

const command CMD_SCORE = {
    .name = "score",
    .operands = "REQUEST.json...",
    .summary = "judge the responses of a request for its user",
    .about = "Samples chains of judgement under the user's history, and with --pro under those of similar users, and "
             "averages\n"
             "them: a persona, a weighted rubric, one score per response. REQUEST.json holds one request "
             "(docs/requests.md),\n"
             "- is standard input, a .jsonl file holds one request or PersonalRewardBench record per line. --json "
             "prints one\n"
             "result per line.",
    .example = "pgenrm score --ind 8 examples/request.json",
    .options = OPTIONS,
    .rows = pgr_judge_option_rows,
    .rows_at = offsetof(score_run, judge.o),
    .remote = true,
    .run = run,
};
