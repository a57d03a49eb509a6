/* cmd_synth.c - `pgenrm synth`: synthetic users with known truth, and what methods of growing knowledge win on them. */
#include <math.h>
#include <stdio.h>

#include "commands.h"
#include "json_out.h"
#include "message.h"
#include "pgenrm_bench.h"
#include "table.h"

typedef struct synth_run {
    common_options common;
    pgr_synth_options o;
    const char *responses, *out;
} synth_run;

static const option_row OPTIONS[] = {
    {0, "responses", "FILE", "lines {\"prompt\": .., \"responses\": {name: text}}, plain or gzip",
     OPTION_AT(synth_run, responses)},
    {0, "out", "FILE", "the users' choices, as PersonalRewardBench records; without it only the table is made",
     OPTION_AT(synth_run, out)},
    {0, "users", "N", "default 400", OPTION_AT(synth_run, o.users), .lo = 2, .hi = 10000000},
    {0, "prototypes", "K", "tastes that users are drawn from, default 8", OPTION_AT(synth_run, o.prototypes), .lo = 1,
     .hi = 100000},
    {0, "hold-prototypes", "K", "of these: only held-out users have them, default 2",
     OPTION_AT(synth_run, o.hold_prototypes), .lo = 0, .hi = 99999},
    {0, "train-pairs", "N", "of each user, default 16", OPTION_AT(synth_run, o.train_pairs), .lo = 1, .hi = 1000000},
    {0, "test-pairs", "N", "of each user, on prompts that no train row asks, default 6",
     OPTION_AT(synth_run, o.test_pairs), .lo = 1, .hi = 1000000},
    {0, "held-users", "SHARE", "users that nothing is learnt from, default 0.25", OPTION_AT(synth_run, o.held_users),
     .lo = 0, .hi = 1},
    {0, "held-prompts", "SHARE", "prompts for test rows only, default 0.3", OPTION_AT(synth_run, o.held_prompts),
     .lo = 0, .hi = 1},
    {0, "least", "U", "least difference in utility of a pair, default 0.25; two random responses differ by about 1",
     OPTION_AT(synth_run, o.least), .lo = 0, .hi = 1e3},
    {0, "noise", "P", "of choices: 1 / (1 + exp(-difference / P)), default 0.15", OPTION_AT(synth_run, o.noise),
     .lo = 1e-6, .hi = 1e6},
    {0, "common", "X", "size of what all users like, beside a prototype's 1", OPTION_AT(synth_run, o.common), .lo = 0,
     .hi = 1e3},
    {0, "scenario", "X", "size of what changes with the kind of query", OPTION_AT(synth_run, o.scenario), .lo = 0,
     .hi = 1e3},
    {0, "own", "X", "size of what is a user's alone", OPTION_AT(synth_run, o.own), .lo = 0, .hi = 1e3},
    {0, "truths", "R", "draws of everything that the table is the mean of, default 8; the file is the first",
     OPTION_AT(synth_run, o.truths), .lo = 1, .hi = 1000},
    {0, "max-bytes", "N", "longer texts are left out, default 1500", OPTION_AT(synth_run, o.max_bytes), .lo = 1,
     .hi = 1 << 20},
    {0},
};

static void print_ladder_json(const pgr_synth_ladder *l) {
    static const char *const names[] = {"accuracy", "accuracy_se", "stranger", "stranger_se", "gain", "gain_se"};
    printf("[");
    for (size_t i = 0; i < l->n_step; i++) {
        const pgr_synth_step *s = &l->steps[i];
        const double v[] = {s->accuracy, s->accuracy_se, s->stranger, s->stranger_se, s->gain, s->gain_se};
        printf("%s{\"method\":\"%s\",\"history\":%zu", i ? "," : "", s->name, s->history);
        for (size_t k = 0; k < 6; k++) {
            printf(",\"%s\":", names[k]);
            json_real(v[k]);
        }
        printf("}");
    }
    printf("]");
}

static void print_json(const pgr_synth_report *p) {
    static const char *const kinds[] = {"code", "write", "advise", "explain"};
    printf("{\"users\":%zu,\"held_users\":%zu,\"prompts\":%zu,\"responses\":%zu,\"train_rows\":%zu,\"test_rows\":%zu,"
           "\"truths\":%zu,\"kinds\":{",
           p->users, p->held_users, p->prompts, p->responses, p->train_rows, p->test_rows, p->truths);
    for (size_t i = 0; i < 4; i++) printf("%s\"%s\":%zu", i ? "," : "", kinds[i], p->kinds[i]);
    printf("},\"ladder_rows\":%zu,\"ceiling\":", p->ladder.rows);
    json_real(p->ladder.ceiling);
    printf(",\"ladder\":");
    print_ladder_json(&p->ladder);
    printf(",\"unseen_rows\":%zu,\"unseen_ceiling\":", p->unseen.rows);
    json_real(p->unseen.rows ? p->unseen.ceiling : NAN);
    printf(",\"unseen\":");
    print_ladder_json(&p->unseen);
    puts("}");
}

static const char *number(char *out, size_t n, double mean, double se) {
    if (isnan(mean)) return "";
    if (isnan(se))
        snprintf(out, n, "%.3f", mean);
    else
        snprintf(out, n, "%.3f +- %.3f", mean, se);
    return out;
}

static void print_ladder(const pgr_synth_ladder *l, const char *who, screen *s) {
    static const column columns[] = {{"method", false, true},
                                     {"pairs", true, false},
                                     {"accuracy", true, false},
                                     {"stranger's pairs", true, false},
                                     {"gain", true, false}};
    if (l->n_step == 0) return;
    printf("\n%zu test rows of %zu held-out users of %s\n", l->rows, l->users, who);
    table *t = table_create(columns, 5);
    for (size_t i = 0; i < l->n_step; i++) {
        const pgr_synth_step *step = &l->steps[i];
        char pairs[24], own[40], stranger[40], gain[40];
        snprintf(pairs, sizeof pairs, "%zu", step->history);
        table_row(t, STYLE_PLAIN,
                  (const char *[]){step->name, step->history ? pairs : "",
                                   number(own, sizeof own, step->accuracy, step->accuracy_se),
                                   number(stranger, sizeof stranger, step->stranger, step->stranger_se),
                                   number(gain, sizeof gain, step->gain, step->gain_se)});
    }
    table_print(t, s, 0);
    table_free(t);
    printf("The oracle knows the true weights; without the luck of the choices it gets %.3f.\n", l->ceiling);
}

static void print_table(const pgr_synth_report *p, const char *out) {
    screen s = screen_open(100);
    printf("%zu users, %zu of them held out; %zu responses to %zu prompts (%zu code, %zu write, %zu advise, %zu "
           "explain)\n",
           p->users, p->held_users, p->responses, p->prompts, p->kinds[0], p->kinds[1], p->kinds[2], p->kinds[3]);
    printf("%zu train and %zu test rows%s%s\n", p->train_rows, p->test_rows, out ? " in " : "", out ? out : "");
    print_ladder(&p->ladder, "prototypes that known users have", &s);
    print_ladder(&p->unseen, "prototypes that were held out", &s);
    if (p->truths > 1)
        printf("\nMeans over %zu truths, each with tastes, users and choices of its own; errors are those between "
               "truths.\n",
               p->truths);
    else
        printf("\nErrors are clustered by user: another draw of tastes is not among them (--truths).\n");
}

static int run(const command *self, int argc, char **argv) {
    synth_run r = {.o = pgr_synth_options_default()};
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &r.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    if (operands[0]) return args_wrong(self, "unexpected \"%s\"", operands[0]);
    if (!r.responses) return args_wrong(self, "expected --responses FILE");
    pgr_error err = {0};
    if (pgr_synth_check(&r.o, &err) != PGR_OK) return complain_usage(&err);
    pgr_progress_bar *bar = pgr_progress_bar_create(r.common.quiet);
    r.o.seed = r.common.seed < 0 ? 0 : (uint64_t)r.common.seed;
    r.o.watch = bar_watch(bar);
    pgr_synth_report report;
    pgr_status made = pgr_synth(r.responses, r.out, &r.o, &report, &err);
    pgr_progress_bar_free(bar);
    int ended = finish_call(made, &err);
    if (ended != EXIT_DONE) return ended;
    if (r.common.json)
        print_json(&report);
    else
        print_table(&report, r.out);
    return EXIT_DONE;
}

const command CMD_SYNTH = {
    .name = "synth",
    .summary = "users with known tastes, to measure methods on",
    .about = "Draws users around prototypes of taste, lets them choose between real responses, writes their choices "
             "and prints\n"
             "what can be won on them: by the longest answer, by what most like, by 1 to 16 pairs of the user's own, "
             "by users\n"
             "like him, by the truth (docs/synth.md).",
    .example = "pgenrm synth --responses examples/responses.jsonl --users 60 --prototypes 3 --hold-prototypes 1 "
               "--train-pairs 3 --test-pairs 2 --truths 2",
    .options = OPTIONS,
    .without = ARGS_NO_MODEL | ARGS_NO_LORA | ARGS_NO_CHAT_TEMPLATE | ARGS_NO_DTYPE,
    .run = run,
};
