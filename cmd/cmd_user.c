/* cmd_user.c - `pgenrm user import|add|list|show|export|forget|vacuum`: the users of a store. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "commands.h"
#include "json_out.h"
#include "message.h"
#include "session.h"
#include "table.h"
#include "user_report.h"

#define STORE_ROW                                                                                                      \
    {                                                                                                                  \
        0, "store", "FILE",                                                                                            \
            "the store of users, a file or postgres://USER@HOST/DATABASE (default: $PGENRM_STORE, else users.db in "   \
            "the cache folder)",                                                                                       \
            OPTION_AT(user_run, store)                                                                                 \
    }

typedef struct user_run {
    const command *self;
    common_options common;
    const char *store;
    const char *form; /* of the files */
    pgr_user_form exported;
    const char *user, *user_key, *weights;
    bool skip_bad;
    int64_t limit;
    char **operands;
} user_run;

/* ARGS_RUN to go on. most: operands that are taken at the most, -1: any number. */
static int parse(const command *self, int argc, char **argv, int least, int most, const char *expected, user_run *r) {
    *r = (user_run){.self = self, .limit = 50};
    int status = args_parse(self, argc, argv, &r->common, r, &r->operands);
    if (status != ARGS_RUN) return status;
    int n = 0;
    while (r->operands[n]) n++;
    if (n < least || (most >= 0 && n > most)) return args_wrong(self, "expected %s", expected);
    return ARGS_RUN;
}

/* ---- import and add ---- */

static void add_counts(pgr_imported *sum, const pgr_imported *one) {
    sum->users += one->users;
    sum->pairs += one->pairs;
    sum->known += one->known;
    sum->skipped += one->skipped;
    for (int i = 0; i < PGR_LEFT_N; i++) sum->left_out[i] += one->left_out[i];
    if (!sum->first_bad[0]) memcpy(sum->first_bad, one->first_bad, sizeof sum->first_bad);
}

/* What was left out, by reason: a line each for people, an object of those that there are for programs. */
static void print_left_out(const pgr_imported *c, bool json) {
    bool first = true;
    for (int i = 0; i < PGR_LEFT_N; i++) {
        if (!c->left_out[i]) continue;
        if (json)
            printf("%s\"%s\":%zu", first ? "" : ",", pgr_left_name((pgr_left)i), c->left_out[i]);
        else
            printf("  %zu left out: %s\n", c->left_out[i], pgr_left_text((pgr_left)i));
        first = false;
    }
}

static void print_counts(const user_run *r, const pgr_store *s, const pgr_imported *c) {
    const char *path = pgr_store_path(s);
    if (r->common.json) {
        printf("{\"store\":");
        json_text(path, strlen(path));
        printf(",\"users\":%zu,\"pairs\":%zu,\"known\":%zu,\"skipped\":%zu,\"left_out\":{", c->users, c->pairs,
               c->known, c->skipped);
        print_left_out(c, true);
        puts("}}");
        return;
    }
    printf("%zu new user%s, %zu new pair%s", c->users, c->users == 1 ? "" : "s", c->pairs, c->pairs == 1 ? "" : "s");
    if (c->known) printf(", %zu pair%s already there", c->known, c->known == 1 ? "" : "s");
    if (c->skipped) printf(", %zu bad record%s skipped", c->skipped, c->skipped == 1 ? "" : "s");
    printf(" (%s)\n", path);
    print_left_out(c, false);
}

static pgr_status import_files(const user_run *r, pgr_store *s, pgr_imported *sum, pgr_error *err) {
    pgr_progress_bar *bar = pgr_progress_bar_create(r->common.quiet);
    pgr_import_options o = {.form = r->form,
                            .skip_bad = r->skip_bad,
                            .user = r->user,
                            .user_key = r->user_key,
                            .weights = r->weights,
                            .watch = bar_watch(bar)};
    pgr_status status = PGR_OK;
    for (char **file = r->operands; *file && status == PGR_OK; file++) {
        pgr_imported one = {0};
        status = pgr_user_import(s, *file, &o, &one, err);
        add_counts(sum, &one);
    }
    pgr_progress_bar_free(bar);
    return status;
}

static int run_import(const command *self, int argc, char **argv) {
    user_run r;
    int status = parse(self, argc, argv, 1, -1, "files to import, or - for standard input", &r);
    if (status != ARGS_RUN) return status;
    pgr_store *s = NULL;
    status = open_store(r.store, PGR_STORE_CREATE, &s);
    if (status != EXIT_DONE) return status;
    pgr_imported sum = {0};
    pgr_error err = {0};
    pgr_status imported = import_files(&r, s, &sum, &err);
    if (imported == PGR_OK || sum.users + sum.pairs > 0) print_counts(&r, s, &sum);
    if (imported != PGR_OK)
        status = complain_usage(&err); /* --form, --weights */
    else if (sum.skipped > 0)
        status = EXIT_SOME_FAILED;
    if (sum.skipped > 0) complain("skipped %s", sum.first_bad);
    pgr_store_close(s);
    return status;
}

static int run_add(const command *self, int argc, char **argv) {
    user_run r;
    int status = parse(self, argc, argv, 1, 1, "one file with a user's JSON object, or - for standard input", &r);
    if (status != ARGS_RUN) return status;
    char *text = NULL;
    size_t n = 0;
    status = read_whole(r.operands[0], &text, &n);
    pgr_store *s = NULL;
    if (status == EXIT_DONE) status = open_store(r.store, PGR_STORE_CREATE, &s);
    if (status == EXIT_DONE) {
        pgr_imported added = {0};
        pgr_error err = {0};
        const char *origin = strcmp(r.operands[0], "-") == 0 ? "standard input" : r.operands[0];
        if (pgr_user_add(s, text, n, origin, &added, &err) == PGR_OK)
            print_counts(&r, s, &added);
        else
            status = complain_error(&err);
    }
    pgr_store_close(s);
    free(text);
    return status;
}

/* ---- list ---- */

typedef struct listing {
    const user_run *r;
    table *t;
    size_t n, pairs;
} listing;

static void print_row(const pgr_user_row *u) {
    printf("{\"user_id\":");
    json_text(u->id, strlen(u->id));
    printf(",\"pairs\":%zu,\"test_pairs\":%zu,\"criteria\":%zu,\"demographics\":%s,\"vectors\":%zu,\"analyses\":%zu}\n",
           u->pairs, u->test_pairs, u->criteria, u->demographics ? "true" : "false", u->vectors, u->analyses);
}

static void add_row(table *t, const pgr_user_row *u) {
    char numbers[5][24];
    size_t values[5] = {u->pairs, u->test_pairs, u->criteria, u->vectors, u->analyses};
    for (size_t i = 0; i < 5; i++) snprintf(numbers[i], sizeof numbers[i], "%zu", values[i]);
    const char *cells[] = {u->id,      numbers[0], numbers[1], numbers[2], u->demographics ? "yes" : "",
                           numbers[3], numbers[4]};
    table_row(t, STYLE_PLAIN, cells);
}

static bool list_user(void *ctx, const pgr_user_row *u) {
    listing *l = ctx;
    bool shown = l->r->limit == 0 || l->n < (size_t)l->r->limit;
    if (l->r->common.json)
        print_row(u);
    else if (shown)
        add_row(l->t, u);
    l->n++;
    l->pairs += u->pairs;
    return !interrupted;
}

static int run_list(const command *self, int argc, char **argv) {
    static const column columns[] = {
        {"user", false, true},          {"pairs", true, false},   {"test", true, false},    {"criteria", true, false},
        {"demographics", false, false}, {"vectors", true, false}, {"analyses", true, false}};
    user_run r;
    int status = parse(self, argc, argv, 0, 0, "no operands", &r);
    if (status != ARGS_RUN) return status;
    pgr_store *s = NULL;
    status = open_store(r.store, PGR_STORE_READ, &s);
    if (status != EXIT_DONE) return status;
    listing l = {.r = &r, .t = table_create(columns, sizeof columns / sizeof *columns)};
    pgr_error err = {0};
    pgr_status listed = pgr_user_list(s, list_user, &l, &err);
    status = finish_call(listed, &err);
    if (status == EXIT_DONE && !r.common.json) {
        screen out = screen_open(100);
        table_print(l.t, &out, 0);
        if (r.limit && l.n > (size_t)r.limit) printf("... and %zu more (--limit 0 shows all)\n", l.n - (size_t)r.limit);
        printf("\n%zu user%s, %zu pair%s (%s)\n", l.n, l.n == 1 ? "" : "s", l.pairs, l.pairs == 1 ? "" : "s",
               pgr_store_path(s));
    }
    table_free(l.t);
    pgr_store_close(s);
    return status;
}

/* ---- show ---- */

static bool write_out(void *ctx, const char *text, size_t n) {
    (void)ctx;
    return fwrite(text, 1, n, stdout) == n && !interrupted;
}

static int run_show(const command *self, int argc, char **argv) {
    user_run r;
    int status = parse(self, argc, argv, 1, 1, "one user's name", &r);
    if (status != ARGS_RUN) return status;
    pgr_store *s = NULL;
    status = open_store(r.store, PGR_STORE_READ, &s);
    if (status != EXIT_DONE) return status;
    pgr_error err = {0};
    pgr_user *u = NULL;
    pgr_status done = r.common.json ? pgr_user_export(s, r.operands[0], PGR_USER_REQUEST, write_out, NULL, &err)
                                    : pgr_user_load(s, r.operands[0], &u, &err);
    if (done != PGR_OK)
        status = complain_error(&err);
    else if (u)
        user_report_print(u, r.limit);
    pgr_user_free(u);
    pgr_store_close(s);
    return status;
}

/* ---- export ---- */

static int run_export(const command *self, int argc, char **argv) {
    user_run r;
    int status = parse(self, argc, argv, 0, -1, "users' names, or none for all", &r);
    if (status != ARGS_RUN) return status;
    pgr_store *s = NULL;
    status = open_store(r.store, PGR_STORE_READ, &s);
    if (status != EXIT_DONE) return status;
    pgr_error err = {0};
    pgr_status done = PGR_OK;
    if (!r.operands[0]) done = pgr_user_export(s, NULL, r.exported, write_out, NULL, &err);
    for (char **id = r.operands; *id && done == PGR_OK && !interrupted; id++)
        done = pgr_user_export(s, *id, r.exported, write_out, NULL, &err);
    status = finish_call(done, &err);
    pgr_store_close(s);
    return status;
}

/* ---- forget ---- */

/* Prototypes that were built from the store hold names and vectors of its users too: they are another file, `proto
 * build` makes it. */
static void remind_of_prototypes(const pgr_store *s) {
    char *file = NULL;
    if (pgr_store_protos(pgr_store_path(s), &file, NULL) == PGR_OK && access(file, F_OK) == 0)
        complain(
            "%s still holds names and vectors of users it was built from: `pgenrm proto build --add` takes them out, "
            "or delete it",
            file);
    pgr_free(file);
}

static int run_forget(const command *self, int argc, char **argv) {
    user_run r;
    int status = parse(self, argc, argv, 1, -1, "the names of users to forget", &r);
    if (status != ARGS_RUN) return status;
    pgr_store *s = NULL;
    status = open_store(r.store, PGR_STORE_WRITE, &s);
    if (status != EXIT_DONE) return status;
    size_t n = 0;
    while (r.operands[n]) n++;
    pgr_error err = {0};
    if (pgr_user_forget(s, (const char *const *)r.operands, n, &err) != PGR_OK) {
        status = complain_error(&err);
    } else {
        printf(r.common.json ? "{\"forgotten\":%zu}\n" : "forgotten: %zu, with everything that was stored of them\n",
               n);
        remind_of_prototypes(s);
    }
    pgr_store_close(s);
    return status;
}

/* ---- vacuum ---- */

static int run_vacuum(const command *self, int argc, char **argv) {
    user_run r;
    int status = parse(self, argc, argv, 0, 0, "no operands", &r);
    if (status != ARGS_RUN) return status;
    pgr_store *s = NULL;
    status = open_store(r.store, PGR_STORE_WRITE, &s);
    if (status != EXIT_DONE) return status;
    pgr_error err = {0};
    if (pgr_store_rewrite(s, &err) != PGR_OK)
        status = complain_error(&err);
    else if (r.common.json)
        printf("{\"rewritten\":true}\n");
    else
        printf("rewritten: %s\n", pgr_store_path(s));
    pgr_store_close(s);
    return status;
}

/* ---- the commands ---- */

static const option_row IMPORT_OPTIONS[] = {
    STORE_ROW,
    {0, "form", "FORM", "of the files (default: told by the first record)", OPTION_AT(user_run, form)},
    {0, "user", "NAME", "whose the rows are that name nobody", OPTION_AT(user_run, user)},
    {0, "user-key", "KEY", "the column that names a row's user (default: user_id, or the form's own)",
     OPTION_AT(user_run, user_key)},
    {0, "weights", "RM=W,...",
     "of the form personalllm: reward models' scores to sum up for --user (default: each is a user)",
     OPTION_AT(user_run, weights)},
    {0, "skip-bad", NULL, "count bad records and go on; else the first one ends the import",
     OPTION_AT(user_run, skip_bad)},
    {0},
};
static const option_row STORE_OPTIONS[] = {STORE_ROW, {0}};
static const option_row LIST_OPTIONS[] = {
    STORE_ROW,
    {0, "limit", "N", "rows that are shown, 0: all (default: 50); --json gives all", OPTION_AT(user_run, limit),
     .lo = 0, .hi = 0x1p63},
    {0},
};
static const char *const FORMS[] = {"records", "request", NULL}; /* in the order of pgr_user_form */
static const option_row EXPORT_OPTIONS[] = {
    STORE_ROW,
    {0, "form", "FORM",
     "records (a line per user and per pair) or request (a line per user, as in a request) (default: records)",
     CHOICE_AT(user_run, exported, FORMS)},
    {0},
};

static const command IMPORT = {
    .name = "user import",
    .operands = "FILE...",
    .summary = "add the users and pairs of data sets",
    .about =
        "Files are JSON lines or arrays, plain or gzip. Forms (docs/users.md says what each becomes):\n"
        "  prb            PersonalRewardBench, and what `user export` wrote\n"
        "  user           users with criteria, demographics, history\n"
        "  prism          PRISM's conversations, utterances, survey\n"
        "  trl, hh        prompt, chosen, rejected; dialogues or transcripts that part ways (UltraFeedback binarized,\n"
        "                 RewardBench 1 and 2, HH-RLHF)\n"
        "  ultrafeedback  a pair for every two completions whose scores differ\n"
        "  arena          Chatbot Arena; the user is the judge\n"
        "  helpsteer3     HelpSteer3's preferences; their size is the weight\n"
        "  multipref      MultiPref; each annotation is its evaluator's choice\n"
        "  personalllm    PersonalLLM; each reward model is a user, or --weights make one\n"
        "  shp, nectar    SHP; Nectar, rank by rank\n"
        "A pair that is there already is not added again, so that an import that was cut off is simply run again. "
        "Pairs\n"
        "that teach nothing (ties, equal or empty texts) are left out and counted.",
    .example = "pgenrm user import examples/users.jsonl",
    .options = IMPORT_OPTIONS,
    .without = ARGS_NO_COMPUTING,
    .run = run_import,
};
static const command ADD = {
    .name = "user add",
    .operands = "FILE",
    .summary = "add one user, given as in a request",
    .about =
        "FILE holds a request's \"user\" object: id, history, criteria, demographics. All of it is added or nothing.",
    .example = "pgenrm user add examples/user.json",
    .options = STORE_OPTIONS,
    .without = ARGS_NO_COMPUTING,
    .run = run_add,
};
static const command LIST = {
    .name = "user list",
    .summary = "a table of the users",
    .example = "pgenrm user list",
    .options = LIST_OPTIONS,
    .without = ARGS_NO_COMPUTING,
    .run = run_list,
};
static const command SHOW = {
    .name = "user show",
    .operands = "ID",
    .summary = "what is stored of a user",
    .about = "--json prints a request's \"user\" object.",
    .example = "pgenrm user show ann",
    .options = LIST_OPTIONS,
    .without = ARGS_NO_COMPUTING,
    .run = run_show,
};
static const command EXPORT = {
    .name = "user export",
    .operands = "[ID...]",
    .summary = "users as JSON lines",
    .about = "All users, or those that are named. Records are read back by `user import`.",
    .example = "pgenrm user export --form request ann",
    .options = EXPORT_OPTIONS,
    .without = ARGS_NO_COMPUTING,
    .run = run_export,
};
static const command FORGET = {
    .name = "user forget",
    .operands = "ID...",
    .summary = "remove users and all that was computed of them",
    .about = "Pairs, vectors and analyses go too, and no bytes of them stay in the file and its log. Where another\n"
             "program is reading so that the bytes have to wait, it says so and ends with status 1.",
    .example = "pgenrm user forget ann",
    .options = STORE_OPTIONS,
    .without = ARGS_NO_COMPUTING,
    .run = run_forget,
};
static const command VACUUM = {
    .name = "user vacuum",
    .summary = "rewrite the store: forgotten users' room goes back to the disk",
    .about = "Also where another program has written into the file, so that what it left is gone. Others wait as long\n"
             "as it takes; of a file it needs the room of a second one for that time.",
    .example = "pgenrm user vacuum",
    .options = STORE_OPTIONS,
    .without = ARGS_NO_COMPUTING,
    .run = run_vacuum,
};

static int run(const command *self, int argc, char **argv) {
    static const command *const parts[] = {&IMPORT, &ADD, &LIST, &SHOW, &EXPORT, &FORGET, &VACUUM, NULL};
    return args_dispatch(self, parts, argc, argv);
}

const command CMD_USER = {
    .name = "user",
    .operands = "COMMAND",
    .summary = "keep users and their preferences in a store",
    .about = "One SQLite file, or a database of PostgreSQL, holds users, the pairs of responses that they chose\n"
             "between, what they say of themselves, and what was computed of that (docs/users.md). --store names it\n"
             "everywhere.",
    .example = "pgenrm user import examples/users.jsonl",
    .options = STORE_OPTIONS,
    .without = ARGS_NO_COMPUTING,
    .run = run,
};
