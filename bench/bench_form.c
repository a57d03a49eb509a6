/* bench_form.c - do neighbours by the form of answers share a user's true taste, and what do their choices say of his?
 * On synthetic users, whose tastes are known:
 *
 *     pgenrm synth ... --out synth.jsonl
 *     pgenrm user import --store s.db synth.jsonl && pgenrm proto build --store s.db --by facts -k 16
 *     bench_form s.db.protos synth.jsonl [PROBE]
 *
 * Held-out users are placed by their first 1, 2, 3... pairs among the members of the file of prototypes; PROBE (all) of
 * the nearest prototypes are searched. Printed are the share of neighbours who are of the user's own prototype of the
 * synth file, against the share of such members, and the accuracy on his asked pairs of the rule that adds up levels
 * (slots_target; no model): of his own pairs, of the neighbours' tastes (and how much more that
 * is, paired), of both alike, of all members' tastes.
 * Standard errors are clustered by user. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "judge/slots.h"
#include "prototype/neighbours.h"
#include "prototype/uservec.h"

enum { N_SIZE = 6, N_NEAR = 4, MOST = 32, COUNTED = 8 };
static const size_t SIZES[N_SIZE] = {1, 2, 3, 6, 10, 16};
static const size_t NEAR[N_NEAR] = {4, 8, 16, 32};

typedef struct one { /* of the synth file */
    const char *id;
    long long prototype;
    preference_pair *known, *asked;
    size_t n_known, n_asked;
    bool held, unseen;
    double taste[N_FACT]; /* of all known pairs */
} one;

static one *users;
static size_t n_user;
static arena memory;

static void want(pgr_status s, const pgr_error *err) {
    if (s == PGR_OK) return;
    fprintf(stderr, "bench_form: %s\n", err->message);
    exit(1);
}

static const char *content(const json_t *turn) {
    return arena_strdup(&memory, json_string_value(json_object_get(turn, "content")));
}

static bool has(const json_t *list, const char *name) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), name) == 0) return true;
    return false;
}

static preference_pair pair_of(const json_t *row) {
    const json_t *context = json_object_get(row, "context");
    turn *last = arena_array(&memory, 1, sizeof *last);
    *last = (turn){"user", content(json_array_get(context, json_array_size(context) - 1))};
    return (preference_pair){last, 1, content(json_object_get(row, "chosen")),
                             content(json_object_get(row, "rejected"))};
}

static void push(preference_pair **list, size_t *n, preference_pair p) {
    if (*n % 16 == 0) *list = realloc(*list, (*n + 16) * sizeof **list);
    (*list)[(*n)++] = p;
}

/* Rows of a user stand together in the two parts of the file (train, test); ids ascend. */
static one *user_of(const char *id) {
    for (size_t i = n_user; i > 0; i--)
        if (strcmp(users[i - 1].id, id) == 0) return &users[i - 1];
    if (n_user % 256 == 0) users = realloc(users, (n_user + 256) * sizeof *users);
    users[n_user] = (one){.id = arena_strdup(&memory, id)};
    return &users[n_user++];
}

static void add_row(const json_t *row) {
    one *u = user_of(json_string_value(json_object_get(row, "user_id")));
    const json_t *subset = json_object_get(row, "subset");
    u->prototype = json_integer_value(json_object_get(row, "prototype"));
    if (has(subset, "history")) u->held = true;
    if (has(subset, "unseen")) u->unseen = true;
    if (strcmp(json_string_value(json_object_get(row, "split")), "train") == 0)
        push(&u->known, &u->n_known, pair_of(row));
    else if (has(subset, "held"))
        push(&u->asked, &u->n_asked, pair_of(row));
}

static void read_users(const char *path) {
    pgr_error err = {0};
    buf text = {0};
    want(file_read(path, &text, &err), &err);
    for (char *line = text.data, *end; line && *line; line = end) {
        end = strchr(line, '\n');
        json_t *row = json_loadb(line, end ? (size_t)(end - line) : strlen(line), 0, NULL);
        if (!row) want(fail(&err, PGR_E_FORMAT, "%s: a line is no JSON", path), &err);
        add_row(row);
        json_decref(row);
        if (!end) break;
        end++;
    }
    buf_free(&text);
}

/* As a judge without a model would have it: what speaks for more of a fact less what speaks for less of it. */
static void taste_of(const preference_pair *pairs, size_t n, double out[N_FACT]) {
    size_t all[64];
    double words[N_TASTE];
    PGR_ASSERT(n <= 64);
    for (size_t i = 0; i < n; i++) all[i] = i;
    slots_target(pairs, all, n, words);
    for (int f = 0; f < N_FACT; f++) out[f] = words[2 * f] - words[2 * f + 1];
}

typedef struct tally {
    double sum, squares, weights, cross, weight2; /* over users: right, its square, pairs */
} tally;

static void count(tally *t, double right, double n) {
    t->sum += right;
    t->weights += n;
    t->squares += right * right;
    t->cross += right * n;
    t->weight2 += n * n;
}

static void print(const tally *t) {
    double mean = t->sum / t->weights, ss = t->squares - 2 * mean * t->cross + mean * mean * t->weight2;
    printf("  %.3f (%.3f)", mean, sqrt(fmax(ss, 0)) / t->weights);
}

/* On his asked pairs; a tie counts half. Returns how many were right. */
static double ask(tally *t, const one *u, double (*levels)[N_FACT], const double *taste) {
    double right = 0;
    for (size_t i = 0; i < u->n_asked; i++) {
        double margin = 0;
        for (int f = 0; f < N_FACT; f++) margin += taste[f] * levels[i][f];
        right += fabs(margin) < 1e-12 ? 0.5 : margin > 0;
    }
    count(t, right, (double)u->n_asked);
    return right;
}

typedef struct row { /* of the table: SIZES[i] known pairs */
    tally same, chance, own, everybody, near[N_NEAR], gain[N_NEAR], both[N_NEAR]; /* gain: near less own */
} row;

static mixture tastes;

static void place(const artefact *a, textvec *space, const one *u, size_t n, size_t probe, near_user *near,
                  size_t *n_near) {
    pgr_error err = {0};
    float v[N_FACT];
    bool found;
    want(uservec_of_taste(space, &tastes, u->known, n, v, &found, &err), &err);
    *n_near = 0;
    if (found) want(neighbours_find(a, v, artefact_find(a, u->id), MOST, probe, near, n_near, &err), &err);
}

static void add_taste(double *to, const double *from, double by) {
    for (int f = 0; f < N_FACT; f++) to[f] += by * from[f];
}

static void try_size(row *r, const artefact *a, textvec *space, const one *u, size_t n, size_t probe,
                     one *const *member, double (*levels)[N_FACT]) {
    near_user near[MOST];
    size_t n_near, k = 0;
    double own[N_FACT], sum[N_FACT] = {0};
    taste_of(u->known, n, own);
    double right = ask(&r->own, u, levels, own);
    place(a, space, u, n, probe, near, &n_near);
    double same = 0;
    for (size_t i = 0; i < n_near && i < COUNTED; i++) same += member[near[i].user]->prototype == u->prototype;
    count(&r->same, same, (double)(n_near < COUNTED ? n_near : COUNTED));
    for (size_t i = 0; i < N_NEAR; i++) {
        for (; k < NEAR[i] && k < n_near; k++) add_taste(sum, member[near[k].user]->taste, 1);
        double both[N_FACT];
        memcpy(both, own, sizeof both);
        add_taste(both, sum, 1 / fmax((double)k, 1));
        count(&r->gain[i], ask(&r->near[i], u, levels, sum) - right, (double)u->n_asked);
        ask(&r->both[i], u, levels, both);
    }
}

static void print_table(const char *title, const row *rows) {
    printf("\n%s\npairs   same, of 8 near    chance           own              everybody       ", title);
    for (size_t i = 0; i < N_NEAR; i++) printf("  %2zu near        ", NEAR[i]);
    for (size_t i = 0; i < N_NEAR; i++) printf("  %2zu less own    ", NEAR[i]);
    for (size_t i = 0; i < N_NEAR; i++) printf("  own and %2zu     ", NEAR[i]);
    puts("");
    for (size_t s = 0; s < N_SIZE; s++) {
        printf("%5zu ", SIZES[s]);
        print(&rows[s].same), print(&rows[s].chance), print(&rows[s].own), print(&rows[s].everybody);
        for (size_t i = 0; i < N_NEAR; i++) print(&rows[s].near[i]);
        for (size_t i = 0; i < N_NEAR; i++) print(&rows[s].gain[i]);
        for (size_t i = 0; i < N_NEAR; i++) print(&rows[s].both[i]);
        puts("");
    }
}

int main(int argc, char **argv) {
    pgr_error err = {0};
    artefact a;
    textvec *space;
    static row tables[2][N_SIZE];
    double mean[N_FACT] = {0};
    if (argc < 3) return fprintf(stderr, "usage: bench_form PROTOTYPES SYNTH.jsonl [PROBE]\n"), 2;
    want(artefact_open(argv[1], ARTEFACT_CHECK_SMALL, &a, &err), &err);
    want(uservec_space(PGR_PROTO_FACTS, NULL, 0, &space, &err), &err);
    if (strcmp(a.by, "facts") != 0 || a.dims != N_FACT)
        want(fail(&err, PGR_E_ARG, "%s: by %s, expected facts", argv[1], a.by), &err);
    want(mixture_unpack(a.mixture, a.n_mixture, a.k, a.dims, &tastes, &err), &err);
    read_users(argv[2]);
    one **member = calloc(a.n_user, sizeof *member);
    for (size_t i = 0; i < n_user; i++) {
        taste_of(users[i].known, users[i].n_known, users[i].taste);
        size_t at = artefact_find(&a, users[i].id);
        if (at == a.n_user) continue;
        member[at] = &users[i];
        add_taste(mean, users[i].taste, 1);
    }
    for (size_t i = 0; i < a.n_user; i++)
        if (!member[i]) want(fail(&err, PGR_E_ARG, "%s: no user %s", argv[2], artefact_id(&a, i)), &err);
    for (size_t i = 0; i < n_user; i++) {
        const one *u = &users[i];
        double levels[64][N_FACT], alike = 0;
        if (u->n_asked == 0) continue;
        PGR_ASSERT(u->n_asked <= 64);
        for (size_t k = 0; k < u->n_asked; k++) slots_pair_levels(&u->asked[k], levels[k]);
        for (size_t k = 0; k < a.n_user; k++) alike += member[k]->prototype == u->prototype;
        for (size_t s = 0; s < N_SIZE; s++) {
            row *r = &tables[u->unseen][s];
            count(&r->chance, alike / (double)a.n_user, 1);
            ask(&r->everybody, u, levels, mean);
            try_size(r, &a, space, u, SIZES[s] < u->n_known ? SIZES[s] : u->n_known,
                     argc > 3 ? (size_t)atoi(argv[3]) : a.k, member, levels);
        }
    }
    printf("%zu members, %zu prototypes\n", a.n_user, a.k);
    print_table("held-out users of prototypes that members have", tables[0]);
    print_table("held-out users of prototypes that no member has", tables[1]);
    return 0;
}
