/* cmd_bench.c - `pgenrm bench`: methods side by side on the pairs of data sets, or generators ranked on LaMP-QA. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_table.h"
#include "buffer.h"
#include "commands.h"
#include "lampqa_table.h"
#include "message.h"
#include "session.h"

enum {
    OPT_SPLIT = OPT_FIRST,
    OPT_IND,
    OPT_PRO,
    OPT_HISTORY,
    OPT_RUNS,
    OPT_LIMIT,
    OPT_SUBSET,
    OPT_USER_KEY,
    OPT_BASELINES,
    OPT_STRANGER,
    OPT_HISTORY_FROM,
    OPT_USERS,
    OPT_EMBEDDER,
    OPT_STORE,
    OPT_PROTOTYPES,
    OPT_OUT,
    OPT_RESUME,
    OPT_CALIBRATION_OUT,
    OPT_LAMPQA,
    OPT_TRUTH,
};

enum { MAX_LIST = 16 };

static const option_row OPTIONS[] = {
    {OPT_SPLIT, 0, "split", "NAME", "the rows that are asked (default: test)"},
    {OPT_IND, 0, "ind", "N[,N...]", "chains under the user's own history; 0: no language model (default: 8)"},
    {OPT_PRO, 0, "pro", "N[,N...]", "chains under similar users' histories, with every number of --ind (default: 0)"},
    {OPT_HISTORY, 0, "history", "N", "pairs of a history that are used (default: the frame's; statistics: all)"},
    {OPT_RUNS, 0, "runs", "N", "runs with seeds of their own (default: 1)"},
    {OPT_LIMIT, 0, "limit", "N", "pairs of a data set, spread over its users (default: all)"},
    {OPT_SUBSET, 0, "subset", "NAME", "only pairs of this subset: close, mirror..."},
    {OPT_USER_KEY, 0, "user-key", "KEY", "the column that names a row's user (default: user_id, or the form's own)"},
    {OPT_BASELINES, 0, "baselines", NULL,
     "the statistical methods too and, with --ind above 0, the judge's plain prompts"},
    {OPT_STRANGER, 0, "stranger", NULL, "every row that uses a history once more with another user's"},
    {OPT_HISTORY_FROM, 0, "history-from", "FILE", "train rows of this file are history too; may be given again"},
    {OPT_USERS, 0, "users", "FILE", "users' demographics; may be given again"},
    {OPT_EMBEDDER, 0, "embedder", "NAME",
     "for methods that embed texts (default: all-MiniLM-L6-v2, where it is there)"},
    {OPT_STORE, 0, "store", "FILE", "users for --pro (default: one made of the train rows)"},
    {OPT_PROTOTYPES, 0, "prototypes", "FILE", "their prototypes (default: FILE of --store with .protos at its end)"},
    {OPT_OUT, 0, "out", "FOLDER", "verdicts, rows and report go there"},
    {OPT_RESUME, 0, "resume", NULL, "go on with the run in the folder of --out"},
    {OPT_CALIBRATION_OUT, 0, "calibration-out", "FILE",
     "a calibration for `score`, fitted on the last row of p-genrm; ask other rows than those you measure it on"},
    {OPT_LAMPQA, 0, "lampqa", NULL,
     "rank generators: the first operand has LaMP-QA's questions, each other one a generator's responses; --history "
     "counts the "
     "profile's texts (default: 3), --limit the questions of a category"},
    {OPT_TRUTH, 0, "truth", "FILE", "with --lampqa: the generators' true scores, for Spearman's correlation"},
    {0, 0, NULL, NULL, NULL},
};

typedef struct bench_run {
    const command *self;
    common_options common;
    pgr_bench_options o;
    int ind[MAX_LIST], pro[MAX_LIST];
    const char *history_from[MAX_LIST], *users[MAX_LIST];
    const char *embedder, *store, *prototypes;
    char *embedder_path;
    pgr_embedder *opened;
    pgr_people *people;
    bool lampqa;
    const char *truth;
} bench_run;

/* ---- options ---- */

static int set_count(const char *name, const char *value, int64_t lo, int64_t hi, int *out) {
    int64_t n = 0;
    int status = args_integer(name, value, lo, hi, &n);
    if (status == EXIT_DONE) *out = (int)n;
    return status;
}

/* "8" or "8,16". */
static int set_list(bench_run *r, const char *name, const char *value, int *list, size_t *n) {
    char *text = must_dup(value, strlen(value)), *rest = NULL;
    int status = EXIT_DONE;
    *n = 0;
    for (char *item = strtok_r(text, ",", &rest); item && status == EXIT_DONE; item = strtok_r(NULL, ",", &rest)) {
        if (*n == MAX_LIST)
            status = args_wrong(r->self, "--%s: more than %d numbers", name, MAX_LIST);
        else
            status = set_count(name, item, 0, 1024, &list[(*n)++]);
    }
    if (status == EXIT_DONE && *n == 0)
        status = args_wrong(r->self, "--%s '%s': expected numbers like 8 or 8,16", name, value);
    free(text);
    return status;
}

static int add_file(const bench_run *r, const char *name, const char *value, const char **list, size_t *n) {
    if (*n == MAX_LIST) return args_wrong(r->self, "--%s: more than %d files", name, MAX_LIST);
    list[(*n)++] = value;
    return EXIT_DONE;
}

static int set_data_option(bench_run *r, int id, const char *value) {
    int64_t n = 0;
    int status = EXIT_DONE;
    switch (id) {
    case OPT_SPLIT:
        r->o.split = value;
        break;
    case OPT_SUBSET:
        r->o.subset = value;
        break;
    case OPT_USER_KEY:
        r->o.user_key = value;
        break;
    case OPT_LIMIT:
        status = args_integer("limit", value, 1, 1 << 30, &n);
        r->o.limit = (size_t)n;
        break;
    case OPT_HISTORY_FROM:
        return add_file(r, "history-from", value, r->history_from, &r->o.n_history_from);
    case OPT_USERS:
        return add_file(r, "users", value, r->users, &r->o.n_users);
    case OPT_EMBEDDER:
        r->embedder = value;
        break;
    case OPT_STORE:
        r->store = value;
        break;
    case OPT_PROTOTYPES:
        r->prototypes = value;
        break;
    case OPT_OUT:
        r->o.out = value;
        break;
    case OPT_RESUME:
        r->o.resume = true;
        break;
    case OPT_CALIBRATION_OUT:
        r->o.calibration_out = value;
        break;
    case OPT_LAMPQA:
        r->lampqa = true;
        break;
    case OPT_TRUTH:
        r->truth = value;
        break;
    }
    return status;
}

static int set_option(void *ctx, int id, const char *value) {
    bench_run *r = ctx;
    switch (id) {
    case OPT_IND:
        return set_list(r, "ind", value, r->ind, &r->o.n_ind);
    case OPT_PRO:
        return set_list(r, "pro", value, r->pro, &r->o.n_pro);
    case OPT_HISTORY:
        return set_count("history", value, 1, 100000, &r->o.judge.history);
    case OPT_RUNS:
        return set_count("runs", value, 1, 1000, &r->o.runs);
    case OPT_BASELINES:
        r->o.baselines = true;
        break;
    case OPT_STRANGER:
        r->o.stranger = true;
        break;
    default:
        return set_data_option(r, id, value);
    }
    return EXIT_DONE;
}

/* ---- running ---- */

static bool above_zero(const int *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (list[i] > 0) return true;
    return false;
}

/* The default embedder is a help where it is there; one that was named must be. */
static int open_the_embedder(bench_run *r, pgr_progress_bar *bar) {
    pgr_error err = {0};
    bool relevant = r->o.judge.history_by == PGR_HISTORY_RELEVANT;
    bool wanted = r->embedder || r->o.baselines || relevant || above_zero(r->pro, r->o.n_pro);
    if (!wanted && above_zero(r->ind, r->o.n_ind)) return EXIT_DONE;
    if (pgr_embedder_find(r->embedder, &r->embedder_path, &err) != PGR_OK)
        return r->embedder || relevant ? complain_error(&err) : EXIT_DONE;
    int status = open_embedder_at(r->embedder_path, PGR_DTYPE_AUTO, r->common.n_thread, bar, &r->opened);
    if (status != EXIT_DONE) return status;
    r->o.embedder_path = r->embedder_path;
    r->o.embedder = r->opened;
    r->o.judge.embedder = r->opened;
    return EXIT_DONE;
}

static int open_people(bench_run *r) {
    pgr_error err = {0};
    if (!r->store) return EXIT_DONE;
    if (pgr_people_open(r->store, r->prototypes, r->embedder ? r->embedder_path : NULL, r->common.n_thread, &r->people,
                        &err)
        != PGR_OK)
        return complain_error(&err);
    r->o.judge.people = r->people;
    return EXIT_DONE;
}

static int print_rows(const bench_run *r, const pgr_bench_report *report) {
    if (!r->common.json) {
        screen s = screen_open(160);
        bench_table_print(&s, report);
        if (r->o.out) printf("\n%s/report.html\n", r->o.out);
        return finish_output();
    }
    for (size_t i = 0; i < report->n_row; i++) {
        char *line = NULL;
        pgr_error err = {0};
        if (pgr_bench_row_json(&report->rows[i], &line, &err) != PGR_OK) return complain_error(&err);
        puts(line);
        pgr_free(line);
    }
    for (size_t i = 0; i < report->n_note && !r->common.quiet; i++) complain("%s", report->notes[i]);
    return finish_output();
}

static bool some_failures(const pgr_bench_report *report) {
    for (size_t i = 0; i < report->n_row; i++)
        if (report->rows[i].failures) return true;
    return false;
}

static int bench_with(bench_run *r, const session *s) {
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    r->o.watch = bar_watch(s->bar);
    if (pgr_bench(s->engine, &r->o, &report, &err) != PGR_OK) {
        int status = complain_error(&err);
        if (status == EXIT_INTERRUPTED && r->o.out) complain("the same command with --resume goes on");
        return status;
    }
    if (isatty(STDOUT_FILENO)) pgr_progress_bar_update(s->bar, "", 0, 0, "");
    int status = print_rows(r, report);
    if (status == EXIT_DONE && some_failures(report)) status = EXIT_SOME_FAILED;
    pgr_bench_free(report);
    return status;
}

static int bench(bench_run *r) {
    session s = {0};
    bool model = above_zero(r->ind, r->o.n_ind) || above_zero(r->pro, r->o.n_pro);
    int status = EXIT_DONE;
    if (model)
        status = session_open(&r->common, true, &s);
    else
        s.bar = pgr_progress_bar_create(r->common.quiet);
    if (status == EXIT_DONE) status = open_the_embedder(r, s.bar);
    if (status == EXIT_DONE) status = open_people(r);
    if (status == EXIT_DONE) status = bench_with(r, &s);
    pgr_people_close(r->people);
    pgr_embedder_close(r->opened);
    pgr_free(r->embedder_path);
    session_close(&s);
    return status;
}

/* ---- LaMP-QA ----------------------------------------------------------------------------------------------------- */

/* Options of pairs would change nothing: they are refused. */
static int check_lampqa(const bench_run *r, size_t n_operand) {
    static const char *const taken[] = {"ind",        "history", "limit",  "frame", "temperature",
                                        "max-tokens", "swap",    "lampqa", "truth"};
    for (size_t i = 0; i < r->common.n_given; i++) {
        size_t k = 0, n = sizeof taken / sizeof *taken;
        while (k < n && strcmp(taken[k], r->common.given[i]) != 0) k++;
        if (k == n) return args_wrong(r->self, "--%s does not go with --lampqa", r->common.given[i]);
    }
    if (r->o.n_ind != 1 || r->ind[0] < 1) return args_wrong(r->self, "--lampqa takes one number above 0 with --ind");
    if (n_operand < 3)
        return args_wrong(r->self,
                          "--lampqa takes a file of questions and two or more of responses, found %zu of responses",
                          n_operand ? n_operand - 1 : 0);
    return EXIT_DONE;
}

static int print_lampqa(const bench_run *r, const pgr_lampqa_report *report) {
    if (!r->common.json) {
        screen s = screen_open(160);
        lampqa_table_print(&s, report);
        return finish_output();
    }
    for (size_t i = 0; i < report->n_row; i++) {
        char *line = NULL;
        pgr_error err = {0};
        if (pgr_lampqa_row_json(&report->rows[i], &line, &err) != PGR_OK) return complain_error(&err);
        puts(line);
        pgr_free(line);
    }
    for (size_t i = 0; i < report->n_note && !r->common.quiet; i++) complain("%s", report->notes[i]);
    return finish_output();
}

static int lampqa_with(bench_run *r, char **operands, size_t n, const session *s) {
    pgr_lampqa_options o = pgr_lampqa_options_default();
    pgr_lampqa_report *report = NULL;
    pgr_error err = {0};
    o.questions = operands[0];
    o.responses = (const char *const *)operands + 1;
    o.n_response = n - 1;
    o.truth = r->truth;
    o.judge = r->o.judge;
    o.judge.ind = r->ind[0];
    if (r->o.judge.history >= 0) o.history = (size_t)r->o.judge.history;
    o.limit = r->o.limit;
    o.seed = r->o.seed;
    o.watch = bar_watch(s->bar);
    if (pgr_lampqa(s->engine, &o, &report, &err) != PGR_OK) return complain_error(&err);
    if (isatty(STDOUT_FILENO)) pgr_progress_bar_update(s->bar, "", 0, 0, "");
    int status = print_lampqa(r, report);
    for (size_t i = 0; i < report->n_row; i++)
        if (status == EXIT_DONE && report->rows[i].failures) status = EXIT_SOME_FAILED;
    pgr_lampqa_free(report);
    return status;
}

static int lampqa(bench_run *r, char **operands) {
    size_t n = 0;
    while (operands[n]) n++;
    session s = {0};
    int status = check_lampqa(r, n);
    if (status == EXIT_DONE) status = session_open(&r->common, true, &s);
    if (status == EXIT_DONE) status = lampqa_with(r, operands, n, &s);
    session_close(&s);
    return status;
}

static int run(const command *self, int argc, char **argv) {
    bench_run r = {.self = self, .o = pgr_bench_options_default(), .ind = {8}, .pro = {0}};
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &r.common, set_option, &r, &operands);
    if (status != ARGS_RUN) return status;
    r.o.seed = r.common.seed > 0 ? (uint64_t)r.common.seed : 0;
    if (r.lampqa) return lampqa(&r, operands);
    if (r.truth) return args_wrong(self, "--truth goes with --lampqa");
    if (!operands[0]) return args_wrong(self, "no data given, expected a DATA.jsonl file");
    if (r.o.resume && !r.o.out) return args_wrong(self, "--resume goes with --out, the folder of the run");
    if (r.prototypes && !r.store) return args_wrong(self, "--prototypes goes with --store");
    r.o.data = (const char *const *)operands;
    while (operands[r.o.n_data]) r.o.n_data++;
    r.o.ind = r.ind;
    r.o.pro = r.pro;
    r.o.history_from = r.history_from;
    r.o.users = r.users;
    return bench(&r);
}

const command CMD_BENCH = {
    .name = "bench",
    .operands = "DATA.jsonl...",
    .summary = "measure methods side by side on known choices",
    .about =
        "Asks every method which response of each pair the user chose, and compares: accuracy with its error, paired\n"
        "differences, calibration, cost. Data: PersonalRewardBench records or any other form of `user import`, plain "
        "or\n"
        "gzip; history is the users' train rows (docs/bench.md). With --out a killed run goes on with --resume; --json "
        "prints one object per row.\n"
        "With --lampqa: QUESTIONS.jsonl RESPONSES.json RESPONSES.json..., generators ranked by the scores of their "
        "answers.",
    .example = "pgenrm bench --ind 0 --baselines examples/choices.jsonl\n"
               "  pgenrm bench --lampqa --ind 2 examples/lampqa/questions.jsonl examples/lampqa/brief.json "
               "examples/lampqa/lists.json "
               "examples/lampqa/warm.json",
    .options = OPTIONS,
    .rows = pgr_judge_option_rows,
    .rows_at = offsetof(bench_run, o.judge),
    .rows_use = PGR_OPTION_VERDICT,
    .run = run,
};
