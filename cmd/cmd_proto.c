/* cmd_proto.c - `pgenrm proto build|show|map`: groups of users who prefer alike. */
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "commands.h"
#include "json_out.h"
#include "message.h"
#include "session.h"
#include "table.h"

enum { MOST_DRAWN = 1000000, SHOWN_VALUES = 12 };

static const char *const WAYS[] = {"votes", "choices", "analysis", "facts", NULL}; /* in the order of pgr_proto_by */
static const char *const SPLITS[] = {"history", "all", "train", "val", "test", NULL};
enum { DIMS_STEP = 128 };

typedef struct proto_run {
    common_options common;
    pgr_proto_options o;
    const char *store, *out, *embedder;
    bool add, check;
    size_t n_drawn;
    session model; /* that writes analyses */
    pgr_judge_options judge;
    pgr_analyst analyst;
    char *store_path, *proto_path;
    pgr_progress_bar *bar;
} proto_run;

static const option_row OPTIONS[] = {
    {0, "store", "FILE", "the users, a file or postgres://... (default: users.db in the cache folder)",
     OPTION_AT(proto_run, store)},
    {'k', "prototypes", "N",
     "how many (default: as the singular values suggest; by facts as users say who were left out)",
     OPTION_AT(proto_run, o.k), .lo = 1, .hi = 1000000},
    {0, "by", "WAY", "how users become vectors: votes, choices (default), analysis, facts",
     CHOICE_AT(proto_run, o.by, WAYS)},
    {0, "epochs", "N", "of refinement; 0: none (default 1). By facts there is none", OPTION_AT(proto_run, o.epochs),
     .lo = 0, .hi = 1000},
    {0, "beta", "B", "of its loss -log sigmoid(B x difference): default 4, 1 in the paper",
     OPTION_AT(proto_run, o.beta), .lo = 1e-3, .hi = 1e3},
    {0, "restarts", "N", "of k-means (default 10)", OPTION_AT(proto_run, o.restarts), .lo = 1, .hi = 1000},
    {0, "dims", "N", "values of a vector by votes, a multiple of 128 (default 512)", OPTION_AT(proto_run, o.dims),
     .lo = 128, .hi = 65536},
    {0, "split", "NAME", "which pairs count: history (all but test and val, default), all, or one split",
     NAME_AT(proto_run, o.split, SPLITS)},
    {0, "out", "FILE", "build: the file of prototypes (default: STORE.protos); map: the picture",
     OPTION_AT(proto_run, out)},
    {0, "embedder", "NAME", "for choices and analysis (default: $PGENRM_EMBEDDER, else the default embedder)",
     OPTION_AT(proto_run, embedder), .address = ADDRESS_MAY},
    {0, "add", NULL, "build: prototypes stay, new users join them, forgotten ones leave", OPTION_AT(proto_run, add)},
    {0, "check", NULL, "show: compare all checksums, those of large arrays too", OPTION_AT(proto_run, check)},
    {0, "users", "N", "map: draw at most N (default 4000)", OPTION_AT(proto_run, n_drawn), .lo = 1, .hi = MOST_DRAWN},
    {0},
};

/* ---- paths ---- */

static int find_paths(proto_run *r, const char *file) {
    pgr_error err = {0};
    if (file) { /* may be the proto_path that is there */
        char *path = must_dup(file, strlen(file));
        free(r->proto_path);
        r->proto_path = path;
        return EXIT_DONE;
    }
    char *path = NULL;
    int status = find_store(r->store, &r->store_path);
    if (status != EXIT_DONE) return status;
    if (pgr_store_protos(r->store_path, &path, &err) != PGR_OK) return complain_error(&err);
    r->proto_path = must_dup(path, strlen(path));
    pgr_free(path);
    return EXIT_DONE;
}

/* ---- show ---- */

static void print_list(const char *key, const double *v, size_t n) {
    printf("\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        if (i) putchar(',');
        json_real(v[i]);
    }
    fputs("],", stdout);
}

static void print_text(const char *key, const char *s) {
    printf("\"%s\":", key);
    json_text(s, strlen(s));
    putchar(',');
}

static void print_json(const pgr_prototypes *p) {
    putchar('{');
    print_text("path", p->path);
    print_text("by", WAYS[p->by]);
    print_text("embedder", p->embedder);
    print_text("model", p->model);
    print_text("split", p->split);
    printf("\"dims\":%zu,\"k\":%zu,\"users\":%zu,\"rows\":%zu,\"pairs\":%zu,\"seed\":%llu,\"inertia\":", p->dims, p->k,
           p->users, p->rows, p->pairs, (unsigned long long)p->seed);
    json_real(p->inertia);
    printf(",\"suggested_k\":%zu,", p->suggested_k);
    print_list("singular_values", p->singular, p->n_singular);
    print_list("losses", p->losses, p->n_loss);
    fputs("\"beta\":", stdout);
    json_real(p->beta);
    fputs(",\"own_lead\":", stdout);
    json_real(p->own_lead);
    printf(",\"texts\":%zu,\"sizes\":[", p->texts);
    for (size_t j = 0; j < p->k; j++) printf("%s%zu", j ? "," : "", p->list[j].rows);
    fputs("],\"prototypes\":[", stdout);
    for (size_t j = 0; j < p->k; j++) {
        printf("%s{\"rows\":%zu,\"users\":%zu,\"similarity\":", j ? "," : "", p->list[j].rows, p->list[j].users);
        json_real(p->list[j].similarity);
        fputs(",\"words\":[", stdout);
        for (size_t i = 0; p->list[j].words[i]; i++) {
            if (i) putchar(',');
            json_text(p->list[j].words[i], strlen(p->list[j].words[i]));
        }
        fputs("]}", stdout);
    }
    puts("]}");
}

static void add_prototype(table *t, const pgr_prototypes *p, size_t j) {
    const pgr_prototype *q = &p->list[j];
    char number[24], rows[24], users[24], similarity[24], text[512] = "";
    snprintf(number, sizeof number, "%zu", j + 1);
    snprintf(rows, sizeof rows, "%zu", q->rows);
    snprintf(users, sizeof users, "%zu", q->users);
    snprintf(similarity, sizeof similarity, "%.2f", q->similarity);
    for (size_t i = 0, n = 0; q->words[i] && n + strlen(q->words[i]) + 3 < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? ", " : "", q->words[i]);
    table_row(t, STYLE_PLAIN, (const char *[]){number, users, rows, similarity, text});
}

static void print_people(const pgr_prototypes *p) {
    const char *typical = p->by == PGR_PROTO_FACTS ? "what they like" : "typical words of what they chose";
    const column columns[] = {{"prototype", true, false},
                              {"users", true, false},
                              {"rows", true, false},
                              {"similarity", true, false},
                              {typical, false, true}};
    screen s = screen_open(120);
    table *t = table_create(columns, 5);
    printf("%zu users (%zu pairs, split %s) by %s%s%s, %zu values, seed %llu\n", p->users, p->pairs, p->split,
           WAYS[p->by], *p->embedder ? " with " : "", p->embedder, p->dims, (unsigned long long)p->seed);
    printf("singular values:");
    for (size_t i = 0; i < p->n_singular && i < SHOWN_VALUES; i++) printf(" %.3g", p->singular[i]);
    printf("%s; they suggest %zu prototype%s\n", p->n_singular > SHOWN_VALUES ? " ..." : "", p->suggested_k,
           p->suggested_k == 1 ? "" : "s");
    printf("k-means: %zu prototype%s, inertia %.6g", p->k, p->k == 1 ? "" : "s", p->inertia);
    if (p->n_loss > 0 && p->by == PGR_PROTO_FACTS)
        printf("; kinds of taste: loss per pair of the rounds");
    else if (p->n_loss > 0)
        printf("; refinement with beta %g: mean loss of the epochs", p->beta);
    for (size_t i = 0; i < p->n_loss; i++) printf(" %.4f", p->losses[i]);
    if (p->by == PGR_PROTO_FACTS)
        printf("\na user's own pairs tell %.0f %% more of his others right, less wrong, than strangers' do",
               100 * p->own_lead);
    if (p->texts > 0)
        printf("\n%zu texts that two or more users know: who agrees with them is told of anybody", p->texts);
    puts("\n");
    for (size_t j = 0; j < p->k; j++) add_prototype(t, p, j);
    table_print(t, &s, 0);
    table_free(t);
}

static int show(proto_run *r, const char *file) {
    pgr_error err = {0};
    pgr_prototypes *p = NULL;
    int status = find_paths(r, file);
    if (status != EXIT_DONE) return status;
    if (pgr_prototypes_read(r->proto_path, r->check, &p, &err) != PGR_OK) return complain_error(&err);
    if (r->common.json)
        print_json(p);
    else
        print_people(p);
    pgr_prototypes_free(p);
    return EXIT_DONE;
}

/* ---- map ---- */

static int map(proto_run *r, const char *file) {
    pgr_error err = {0};
    char *svg = NULL;
    int status = find_paths(r, file);
    if (status != EXIT_DONE) return status;
    if (pgr_proto_map(r->proto_path, r->n_drawn, &svg, &err) != PGR_OK) return complain_error(&err);
    size_t n = strlen(svg);
    const char *path = r->out ? r->out : "-";
    FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "wb");
    bool written = f && fwrite(svg, 1, n, f) == n && (f == stdout || fclose(f) == 0);
    pgr_free(svg);
    if (!written) {
        complain("%s: cannot be written", path);
        return EXIT_FAILED;
    }
    if (f == stdout) return EXIT_DONE;
    if (!r->common.json) {
        printf("%s: %zu bytes\n\n", path, n);
    }
    return show(r, r->proto_path);
}

/* ---- build ---- */

/* The model is opened only for --by analysis. */
static int open_analyst(proto_run *r) {
    if (r->o.by != PGR_PROTO_ANALYSIS) return EXIT_DONE;
    int status = session_open(&r->common, true, &r->model);
    if (status != EXIT_DONE) return status;
    r->judge = pgr_judge_options_default();
    r->judge.watch.cancel = &interrupted;
    r->judge.seed = r->common.seed;
    r->analyst = (pgr_analyst){r->model.engine, &r->judge};
    r->o.analyse = pgr_analyse;
    r->o.analyse_ctx = &r->analyst;
    r->o.analyst = pgr_engine_name(r->model.engine);
    return EXIT_DONE;
}

/* --add: how the file's vectors were made decides what is opened. */
static int take_way(proto_run *r) {
    pgr_prototypes *p = NULL;
    pgr_error err = {0};
    if (!r->add) return EXIT_DONE;
    if (pgr_prototypes_read(r->proto_path, false, &p, &err) != PGR_OK) return complain_error(&err);
    r->o.by = p->by;
    pgr_prototypes_free(p);
    return EXIT_DONE;
}

static int build_on(proto_run *r, pgr_store *store) {
    pgr_error err = {0};
    pgr_proto_added n = {0};
    int status = take_way(r);
    if (status == EXIT_DONE && (r->o.by == PGR_PROTO_CHOICES || r->o.by == PGR_PROTO_ANALYSIS))
        status = open_embedder(r->embedder, PGR_DTYPE_AUTO, r->common.n_thread, r->bar, &r->o.embedder);
    if (status == EXIT_DONE) status = open_analyst(r);
    if (status != EXIT_DONE) return status;
    pgr_status s = r->add ? pgr_proto_add(store, r->proto_path, &r->o, &n, &err)
                          : pgr_proto_build(store, r->proto_path, &r->o, &err);
    pgr_progress_bar_free(r->bar);
    r->bar = NULL;
    if (s == PGR_E_CANCELLED) {
        if (!r->common.quiet)
            complain("interrupted; what was computed is in the store, the same command goes on from there");
        return EXIT_INTERRUPTED;
    }
    if (s != PGR_OK) return complain_error(&err);
    if (r->add && !r->common.quiet) fprintf(stderr, "%zu users joined, %zu left\n", n.added, n.dropped);
    if (!r->common.json) printf("%s\n", r->proto_path);
    return show(r, r->proto_path);
}

static int build(proto_run *r) {
    pgr_error err = {0};
    pgr_store *store = NULL;
    int status = find_paths(r, NULL);
    if (status != EXIT_DONE) return status;
    if (r->out) {
        free(r->proto_path);
        r->proto_path = must_dup(r->out, strlen(r->out));
    }
    if (pgr_store_open(r->store_path, PGR_STORE_WRITE, &store, &err) != PGR_OK) return complain_error(&err);
    r->bar = pgr_progress_bar_create(r->common.quiet);
    r->o.seed = r->common.seed > 0 ? (uint64_t)r->common.seed : 0;
    r->o.n_thread = r->common.n_thread;
    r->o.watch = bar_watch(r->bar);
    status = build_on(r, store);
    pgr_progress_bar_free(r->bar);
    pgr_store_close(store);
    pgr_embedder_close(r->o.embedder);
    session_close(&r->model);
    return status;
}

static int run(const command *self, int argc, char **argv) {
    static const char *const names[] = {"build", "show", "map", NULL};
    proto_run r = {.o = pgr_proto_options_default()};
    char **operands = NULL;
    int which = 0, status = args_parse(self, argc, argv, &r.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    if (r.o.dims % DIMS_STEP)
        return args_wrong(self, "--dims: found %zu, expected a multiple of %d", (size_t)r.o.dims, DIMS_STEP);
    if (!operands[0]) return args_wrong(self, "expected build, show or map");
    while (names[which] && strcmp(names[which], operands[0]) != 0) which++;
    if (!names[which]) {
        const char *nearest = pgr_nearest(operands[0], names);
        return args_wrong(self, "expected build, show or map, not %s%s%s", operands[0], nearest ? ", perhaps " : "",
                          nearest ? nearest : "");
    }
    if (operands[1] && (which == 0 || operands[2]))
        return args_wrong(self, "unexpected %s", operands[which == 0 ? 1 : 2]);
    if (which == 2 && r.common.json && (!r.out || strcmp(r.out, "-") == 0))
        return args_wrong(self, "map --json needs --out FILE: without it the picture is on standard output");
    status = which == 0 ? build(&r) : which == 1 ? show(&r, operands[1]) : map(&r, operands[1]);
    free(r.proto_path);
    pgr_free(r.store_path);
    return status;
}

const command CMD_PROTO = {
    .name = "proto",
    .operands = "build | show [FILE] | map [FILE]",
    .summary = "groups of users who prefer alike: build them, show them, draw them",
    .about =
        "build: users of the store become vectors, k-means finds groups, refinement fits their centres to what "
        "members\n"
        "chose (docs/prototypes.md). What was embedded stays in the store: an interrupted build goes on. show and map\n"
        "take a file of prototypes, by default STORE.protos; map writes an SVG picture (--out, else standard output).\n"
        "--by votes (who chose the same texts) and --by facts (who likes the same form of answers: short ones, lists,\n"
        "...; a mixture of kinds of taste, which places newcomers by one to three pairs) need no model, choices an\n"
        "embedder, analysis an embedder and a model (-m).",
    .example = "pgenrm proto show tests/fuzz/corpus/artefact/small",
    .options = OPTIONS,
    .remote = true,
    .run = run,
};
