/* cmd_bench.c - `pgenrm bench`: methods side by side on the pairs of data sets, or generators ranked on LaMP-QA. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_table.h"
#include "buffer.h"
#include "cold_table.h"
#include "commands.h"
#include "lampqa_table.h"
#include "message.h"
#include "scalar_args.h"
#include "session.h"

enum { MAX_LIST = 16 };

typedef struct numbers {
    int v[MAX_LIST];
    size_t n;
} numbers;

typedef struct files {
    const char *v[MAX_LIST];
    size_t n;
} files;

typedef struct bench_run {
    const command *self;
    common_options common;
    pgr_bench_options o;
    numbers ind, pro;
    files history_from, users, methods;
    const char *method_names; /* as given */
    scalar_args scalar;
    const char *embedder, *store, *prototypes;
    char *embedder_path;
    pgr_embedder *opened;
    pgr_people *people;
    bool lampqa, cold_start, stranger;
    numbers cold_pairs;
    size_t memory_mb;
    const char *truth;
} bench_run;

enum { STRANGERS = 10, MEMORY_MB = 1024 };

/* ---- options ---- */

/* "8" or "8,16". */
static int take_numbers(void *options, const option_row *row, const char *value) {
    numbers *list = (numbers *)(void *)((char *)options + row->offset);
    const command *self = ((bench_run *)options)->self;
    char *text = must_dup(value, strlen(value)), *rest = NULL;
    int status = EXIT_DONE;
    list->n = 0;
    for (char *item = strtok_r(text, ",", &rest); item && status == EXIT_DONE; item = strtok_r(NULL, ",", &rest)) {
        if (list->n == MAX_LIST)
            status = args_wrong(self, "--%s: more than %d numbers", row->name, MAX_LIST);
        else
            status = option_value(&list->v[list->n++], row, item);
    }
    if (status == EXIT_DONE && list->n == 0)
        status = args_wrong(self, "--%s '%s': expected numbers like 8 or 8,16", row->name, value);
    free(text);
    return status;
}

static int take_file(void *options, const option_row *row, const char *value) {
    files *list = (files *)(void *)((char *)options + row->offset);
    if (list->n == MAX_LIST)
        return args_wrong(((bench_run *)options)->self, "--%s: more than %d files", row->name, MAX_LIST);
    list->v[list->n++] = value;
    return EXIT_DONE;
}

#define NUMBERS_AT(list)                                                                                               \
    .type = PGR_OPTION_INT, .offset = offsetof(bench_run, list), .lo = 0, .hi = 1024, .take = take_numbers
#define FILES_AT(list) .offset = offsetof(bench_run, list), .take = take_file

static const char *const WAYS[] = {"votes", "choices", "facts", NULL};
static const char *const KINDS[] = {"answers", "views", NULL};

static const option_row OPTIONS[] = {
    {0, "split", "NAME", "the rows that are asked (default: test)", OPTION_AT(bench_run, o.split)},
    {0, "ind", "N[,N...]", "chains under the user's own history; 0: no language model (default: 8)", NUMBERS_AT(ind)},
    {0, "pro", "N[,N...]", "chains under similar users' histories, with every number of --ind (default: 0)",
     NUMBERS_AT(pro)},
    {0, "history", "N", "pairs of a history that are used (default: the frame's; statistics: all)",
     OPTION_AT(bench_run, o.judge.history), .lo = 1, .hi = 100000},
    {0, "runs", "N", "runs with seeds of their own (default: 1)", OPTION_AT(bench_run, o.runs), .lo = 1, .hi = 1000},
    {0, "limit", "N", "pairs of a data set, spread over its users (default: all)", OPTION_AT(bench_run, o.limit),
     .lo = 1, .hi = 1 << 30},
    {0, "subset", "NAME", "only pairs of this subset: close, mirror...", OPTION_AT(bench_run, o.subset)},
    {0, "user-key", "KEY", "the column that names a row's user (default: user_id, or the form's own)",
     OPTION_AT(bench_run, o.user_key)},
    {0, "methods", "NAME[,NAME...]", "only these methods, and longest (docs/bench.md)",
     OPTION_AT(bench_run, method_names)},
    SCALAR_OPTION(bench_run, scalar, "MODEL[:WEIGHT]",
                  "a reward model with a score head, or attributes (FILE.json), run as the method scalar; with a "
                  "weight mixed into p-genrm, too "
                  "(docs/scalar.md)"),
    {0, "baselines", NULL, "the statistical methods too and, with --ind above 0, the judge's plain prompts",
     OPTION_AT(bench_run, o.baselines)},
    {0, "stranger", NULL, "every row that uses a history again with those of ten other users, one by one",
     OPTION_AT(bench_run, stranger)},
    {0, "strangers", "N", "the same with so many other users", OPTION_AT(bench_run, o.strangers), .lo = 1, .hi = 100},
    {0, "folds", "K", "fitted methods cross-validated over all rows, too, by question: K folds",
     OPTION_AT(bench_run, o.folds), .lo = 2, .hi = 100},
    {0, "robust", NULL,
     "each chosen response against texts that say nothing, too: blank, cut, \"Solution:\"... (docs/bench.md)",
     OPTION_AT(bench_run, o.robust)},
    {0, "memory", "MB", "for the model's cache and the requests at work, beside the weights (default: 1024)",
     OPTION_AT(bench_run, memory_mb), .lo = 64, .hi = 1 << 20},
    {0, "at-once", "N",
     "requests of the language model at work together: so many a kill loses; 0: as many as are fastest (default: 1)",
     OPTION_AT(bench_run, o.at_once), .lo = 0, .hi = 1 << 20},
    {0, "history-from", "FILE", "train rows of this file are history too; may be given again", FILES_AT(history_from)},
    {0, "users", "FILE", "users' demographics; may be given again", FILES_AT(users)},
    {0, "embedder", "NAME", "for methods that embed texts (default: all-MiniLM-L6-v2, where it is there)",
     OPTION_AT(bench_run, embedder), .address = ADDRESS_MAY},
    {0, "store", "FILE", "users for --pro (default: one made of the train rows)", OPTION_AT(bench_run, store)},
    {0, "by", "WAY",
     "how that store's users become vectors: votes, choices or facts (default: votes where texts have several judges, "
     "else choices)",
     NAME_AT(bench_run, o.by, WAYS)},
    {0, "prototypes", "FILE", "their prototypes (default: FILE of --store with .protos at its end)",
     OPTION_AT(bench_run, prototypes)},
    {0, "out", "FOLDER", "verdicts, rows and report go there", OPTION_AT(bench_run, o.out)},
    {0, "resume", NULL, "go on with the run in the folder of --out", OPTION_AT(bench_run, o.resume)},
    {0, "calibration", "FILE", "how the language model's verdicts become probabilities (of --calibration-out)",
     OPTION_AT(bench_run, o.calibration)},
    {0, "calibration-out", "FILE",
     "a calibration for `score`, fitted on the last row of p-genrm, verdicts on answers and on views apart; ask other "
     "rows than those you measure it on",
     OPTION_AT(bench_run, o.calibration_out)},
    {0, "calibration-kind", "KIND", "only of these verdicts, answers or views; what FILE has for the others stays",
     NAME_AT(bench_run, o.calibration_kind, KINDS)},
    {0, "attributes-out", "FILE",
     "what people choose by attributes of texts, fitted on the train rows: a reward model for --scalar FILE:WEIGHT",
     OPTION_AT(bench_run, o.attributes_out)},
    {0, "cold-start", NULL, "accuracy by how many pairs of a new user are known; what others chose is known as before",
     OPTION_AT(bench_run, cold_start)},
    {0, "cold-pairs", "N,N...", "these numbers (default: 0,1,2,3,6,10), of users who have the largest",
     NUMBERS_AT(cold_pairs)},
    {0, "lampqa", NULL,
     "rank generators: the first operand has LaMP-QA's questions, each other one a generator's responses; --history "
     "counts the "
     "profile's texts (default: 3), --limit the questions of a category",
     OPTION_AT(bench_run, lampqa)},
    {0, "truth", "FILE", "with --lampqa: the generators' true scores, for Spearman's correlation",
     OPTION_AT(bench_run, truth)},
    {0},
};

/* ---- running ---- */

static bool above_zero(const numbers *list) {
    for (size_t i = 0; i < list->n; i++)
        if (list->v[i] > 0) return true;
    return false;
}

/* "scalar" or "scalar,base"; names: a copy to be cut up. */
static int split_methods(bench_run *r, char *names) {
    char *rest = NULL;
    for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        if (r->methods.n == MAX_LIST) return args_wrong(r->self, "--methods: more than %d names", MAX_LIST);
        r->methods.v[r->methods.n++] = name;
    }
    if (r->methods.n == 0)
        return args_wrong(r->self, "--methods '%s': expected names like longest,base", r->method_names);
    r->o.methods = r->methods.v;
    r->o.n_methods = r->methods.n;
    return EXIT_DONE;
}

/* Is there a method that is run and embeds? By default all are, unless the language model alone is asked. */
static bool may_embed(const bench_run *r) {
    for (size_t i = 0; i < r->methods.n; i++)
        if (strstr(r->methods.v[i], "embedding")) return true;
    return r->methods.n == 0 && (r->o.baselines || !above_zero(&r->ind));
}

/* The default embedder is a help where it is there: *path stays NULL where it is not. */
static int find_default_embedder(char **path) {
    int status = check_variable("PGENRM_EMBEDDER");
    if (status == EXIT_DONE && pgr_embedder_find(NULL, path, NULL) != PGR_OK) *path = NULL;
    return status;
}

static int open_the_embedder(bench_run *r, pgr_progress_bar *bar) {
    bool needed = r->embedder || r->o.judge.history_by == PGR_HISTORY_RELEVANT;
    if (!needed && !above_zero(&r->pro) && !may_embed(r)) return EXIT_DONE;
    int status = needed ? find_embedder(r->embedder, &r->embedder_path) : find_default_embedder(&r->embedder_path);
    if (status != EXIT_DONE || !r->embedder_path) return status;
    status = open_embedder_at(r->embedder_path, PGR_DTYPE_AUTO, r->common.n_thread, bar, &r->opened);
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

/* What is wrong with the options is wrong usage; what the files have is not. */
static int check_options(const bench_run *r, const session *s) {
    pgr_bench_options o = r->o;
    pgr_error err = {0};
    if (r->cold_start && !o.out) o.out = "."; /* it makes its own */
    return pgr_bench_check(s->engine, &o, &err) == PGR_OK ? EXIT_DONE : complain_usage(&err);
}

/* --cold-start fits nothing, and asks about users who are new with each of growing numbers of pairs. */
static int check_cold(const bench_run *r) {
    static const char *const NOT[] = {"folds", "robust", "calibration-out", "calibration-kind", "attributes-out"};
    for (size_t i = 0; i < r->common.n_given; i++)
        for (size_t k = 0; k < sizeof NOT / sizeof *NOT; k++)
            if (strcmp(r->common.given[i], NOT[k]) == 0)
                return args_wrong(r->self, "--%s does not go with --cold-start", NOT[k]);
    for (size_t i = 1; i < r->cold_pairs.n; i++)
        if (r->cold_pairs.v[i] <= r->cold_pairs.v[i - 1])
            return args_wrong(r->self, "--cold-pairs: found %d behind %d, expected numbers that grow",
                              r->cold_pairs.v[i], r->cold_pairs.v[i - 1]);
    if (strcmp(r->o.split, "train") == 0)
        return args_wrong(r->self,
                          "--cold-start asks rows that are nobody's history, expected another split than train");
    return EXIT_DONE;
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

static int cold_with(bench_run *r, const session *s) {
    pgr_cold_options how = pgr_cold_options_default();
    pgr_cold_report *report = NULL;
    pgr_error err = {0};
    if (r->cold_pairs.n) how.known = r->cold_pairs.v, how.n_known = r->cold_pairs.n;
    r->o.watch = bar_watch(s->bar);
    if (pgr_bench_cold(s->engine, &r->o, &how, &report, &err) != PGR_OK) {
        int status = complain_error(&err);
        if (status == EXIT_INTERRUPTED && r->o.out) complain("the same command with --resume goes on");
        return status;
    }
    if (isatty(STDOUT_FILENO)) pgr_progress_bar_update(s->bar, "", 0, 0, "");
    size_t failures = 0;
    for (size_t i = 0; i < report->n_row; i++) failures += report->rows[i].failures;
    if (r->common.json) {
        cold_lines_print(report);
        for (size_t i = 0; i < report->n_note && !r->common.quiet; i++) complain("%s", report->notes[i]);
    } else {
        screen screen = screen_open(160);
        cold_table_print(&screen, report);
    }
    pgr_cold_free(report);
    int status = finish_output();
    return status == EXIT_DONE && failures ? EXIT_SOME_FAILED : status;
}

static int bench_on(bench_run *r) {
    session s = {0};
    int status = EXIT_DONE;
    pgr_engine_options eo = pgr_engine_options_default();
    eo.kv_bytes = r->memory_mb << 20;
    if (eo.cache_bytes > eo.kv_bytes / 2) eo.cache_bytes = eo.kv_bytes / 2;
    char *shipped = NULL;
    if (pgr_bench_asks_model(&r->o)) {
        status = take_shipped_adapter(&r->common, r->o.judge.frame, &shipped);
        if (status == EXIT_DONE) status = session_open_engine(&r->common, &eo, &s);
    } else {
        s.bar = pgr_progress_bar_create(r->common.quiet);
    }
    if (status == EXIT_DONE) status = open_the_embedder(r, s.bar);
    if (status == EXIT_DONE) status = open_people(r);
    if (status == EXIT_DONE) status = scalar_args_open(&r->scalar, &r->common, s.bar);
    r->o.scalar = r->scalar.opened;
    if (status == EXIT_DONE) status = check_options(r, &s);
    if (status == EXIT_DONE) status = r->cold_start ? cold_with(r, &s) : bench_with(r, &s);
    scalar_args_close(&r->scalar);
    pgr_people_close(r->people);
    pgr_embedder_close(r->opened);
    pgr_free(r->embedder_path);
    session_close(&s);
    pgr_free(shipped);
    return status;
}

static int bench(bench_run *r) {
    if (r->scalar.has_weight) r->o.judge.scalar_weight = r->scalar.weight;
    char *names = r->method_names ? must_dup(r->method_names, strlen(r->method_names)) : NULL;
    int status = names ? split_methods(r, names) : EXIT_DONE;
    if (status == EXIT_DONE) status = bench_on(r);
    free(names);
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
    if (r->ind.n != 1 || r->ind.v[0] < 1) return args_wrong(r->self, "--lampqa takes one number above 0 with --ind");
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
    o.judge.ind = r->ind.v[0];
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
    bench_run r = {
        .self = self, .o = pgr_bench_options_default(), .ind = {{8}, 1}, .pro = {{0}, 1}, .memory_mb = MEMORY_MB};
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &r.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    r.o.seed = r.common.seed > 0 ? (uint64_t)r.common.seed : 0;
    if (r.lampqa) return lampqa(&r, operands);
    if (r.truth) return args_wrong(self, "--truth goes with --lampqa");
    if (!operands[0]) return args_wrong(self, "no data given, expected a DATA.jsonl file");
    if (r.o.resume && !r.o.out) return args_wrong(self, "--resume goes with --out, the folder of the run");
    if (r.cold_pairs.n && !r.cold_start) return args_wrong(self, "--cold-pairs goes with --cold-start");
    if (r.cold_start && (status = check_cold(&r)) != EXIT_DONE) return status;
    if (r.prototypes && !r.store) return args_wrong(self, "--prototypes goes with --store");
    if (r.o.by && r.store) return args_wrong(self, "--by is for the store that is made of the train rows, not --store");
    if (r.stranger && r.o.strangers == 0) r.o.strangers = STRANGERS;
    r.o.n_thread = r.common.n_thread;
    r.o.data = (const char *const *)operands;
    while (operands[r.o.n_data]) r.o.n_data++;
    r.o.ind = r.ind.v;
    r.o.n_ind = r.ind.n;
    r.o.pro = r.pro.v;
    r.o.n_pro = r.pro.n;
    r.o.history_from = r.history_from.v;
    r.o.n_history_from = r.history_from.n;
    r.o.users = r.users.v;
    r.o.n_users = r.users.n;
    return bench(&r);
}

const command CMD_BENCH = {
    .name = "bench",
    .operands = "DATA.jsonl...",
    .summary = "measure methods side by side on known choices",
    .about =
        "Asks every method which response of each pair the user chose, and compares: accuracy with its error, paired\n"
        "differences, calibration, cost. Data: PersonalRewardBench records or any other form of `user import`, plain\n"
        "or gzip; history is the users' train rows (docs/bench.md). With --out a killed run goes on with --resume;\n"
        "--json prints one object per row.\n"
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
    .remote = true,
    .run = run,
};
