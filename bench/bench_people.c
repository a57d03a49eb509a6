/* bench_people.c - do neighbours agree with a user on what he has not been asked? For every test pair of a store: who
 * of 8 (and 1, 2, 4, 16, 32) users chose one of the two statements more often than it was rejected, in their own train
 * pairs?
 *
 *     bench_people STORE PROTOTYPES [EMBEDDER [PROBE]]
 *
 * Voters: the most similar users (people_neighbours, placed by the train pairs), as many random users, as many random
 * users of the same consultation (the id up to its last "_"), and everybody. A pair without a vote, or with a tie,
 * counts half. Standard errors are clustered by user. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "prototype/people.h"
#include "prototype/uservec.h"

enum { MOST = 64 };

typedef struct voter {
    char *id;
    person p;
    pair_record *test;
    size_t n_test;
} voter;

static voter *users;
static size_t n_user, cap;
static arena memory;
static store *db;

static void want(pgr_status s, const pgr_error *err) {
    if (s == PGR_OK) return;
    fprintf(stderr, "bench_people: %s\n", err->message);
    exit(1);
}

static pgr_status note(void *ctx, const stored_user *u, pgr_error *err) {
    (void)ctx, (void)err;
    if (n_user == cap) users = realloc(users, (cap = cap ? 2 * cap : 1024) * sizeof *users);
    users[n_user++] = (voter){.id = strdup(u->user.id)};
    return PGR_OK;
}

static void load(voter *v) {
    pgr_error err = {0};
    bool found;
    stored_user u;
    want(person_load(db, v->id, "history", &memory, &v->p, &found, &err), &err);
    want(store_load_user(db, v->id, "test", &memory, &u, &err), &err);
    v->test = (pair_record *)(uintptr_t)u.pairs;
    v->n_test = u.n_pair;
}

/* How often chosen less how often rejected. */
static int votes(const preference_pair *pairs, size_t n, const char *text) {
    int v = 0;
    for (size_t i = 0; i < n; i++) v += (strcmp(pairs[i].chosen, text) == 0) - (strcmp(pairs[i].rejected, text) == 0);
    return v;
}

static int verdict(const preference_pair *pairs, size_t n, const preference_pair *test) {
    return votes(pairs, n, test->chosen) - votes(pairs, n, test->rejected);
}

typedef struct tally {
    double sum, told, right; /* over pairs */
    double *user;            /* (n_user) sum of .5 less than right */
    size_t n;
} tally;

static void count(tally *t, size_t user, int v) {
    double right = v > 0 ? 1 : v < 0 ? 0 : 0.5;
    if (!t->user) t->user = calloc(n_user, sizeof *t->user);
    t->sum += right;
    t->told += v != 0;
    t->right += v > 0;
    t->n++;
    t->user[user] += right;
}

static void print(const char *name, const tally *t) {
    double mean = t->sum / (double)t->n, ss = 0;
    for (size_t u = 0; u < n_user; u++) {
        double d = t->user[u] - mean * (double)users[u].n_test;
        ss += d * d;
    }
    printf("%-34s accuracy %.3f +- %.3f   told %.3f, of these right %.3f\n", name, mean, sqrt(ss) / (double)t->n,
           t->told / (double)t->n, t->right / t->told);
}

static size_t stem(const char *id) {
    const char *end = strrchr(id, '_');
    return end ? (size_t)(end - id) : strlen(id);
}

static size_t stranger(rng *r, size_t user, bool same) {
    for (;;) {
        size_t u = rng_below(r, n_user), n = stem(users[user].id);
        if (u == user || (same && (stem(users[u].id) != n || strncmp(users[u].id, users[user].id, n) != 0))) continue;
        return u;
    }
}

enum { N_SIZE = 7 };
static const size_t SIZES[N_SIZE] = {1, 2, 4, 8, 16, 32, 64};

static tally near[N_SIZE], chance[N_SIZE], local[N_SIZE], everybody;

/* The most similar users, placed by the train pairs. */
static neighbourhood similar(people *p, const voter *v, arena *a) {
    static const turn ask = {"user", ""};
    static const char *none[2] = {"", ""};
    const struct pgr_request q = {.origin = "",
                                  .id = "",
                                  .user_id = v->id,
                                  .history = v->p.pairs,
                                  .n_history = v->p.n,
                                  .demographics = "",
                                  .messages = &ask,
                                  .n_message = 1,
                                  .responses = none,
                                  .n_response = 2};
    pgr_error err = {0};
    neighbourhood n;
    want(people_neighbours(p, &q, MOST, a, &n, &err), &err);
    return n;
}

/* What the first 1, 2, 4... of each list say of a test pair of user u. some, here: (MOST) users */
static void ask_lists(size_t u, const preference_pair *test, const neighbourhood *n, const size_t *some,
                      const size_t *here) {
    int v[3] = {0};
    for (size_t i = 0, s = 0; i < MOST; i++) {
        if (i < n->n) v[0] += verdict(n->list[i].pairs, n->list[i].n_pair, test);
        v[1] += verdict(users[some[i]].p.pairs, users[some[i]].p.n, test);
        v[2] += verdict(users[here[i]].p.pairs, users[here[i]].p.n, test);
        if (i + 1 < SIZES[s]) continue;
        count(&near[s], u, v[0]);
        count(&chance[s], u, v[1]);
        count(&local[s++], u, v[2]);
    }
}

static void ask_everybody(size_t u, const preference_pair *test) {
    int every = 0;
    for (size_t i = 0; i < n_user; i++)
        if (i != u) every += verdict(users[i].p.pairs, users[i].p.n, test);
    count(&everybody, u, every);
}

static void ask_for(people *p, rng *r, size_t u) {
    arena a = {0};
    neighbourhood n = similar(p, &users[u], &a);
    size_t some[MOST], here[MOST];
    for (size_t i = 0; i < MOST; i++) {
        some[i] = stranger(r, u, false);
        here[i] = stranger(r, u, true);
    }
    for (size_t t = 0; t < users[u].n_test; t++) {
        ask_lists(u, &users[u].test[t].pair, &n, some, here);
        ask_everybody(u, &users[u].test[t].pair);
    }
    arena_free(&a);
}

static void print_all(void) {
    for (size_t s = 0; s < N_SIZE; s++) {
        char name[64];
        snprintf(name, sizeof name, "%zu most similar users", SIZES[s]);
        print(name, &near[s]);
        snprintf(name, sizeof name, "%zu random, same consultation", SIZES[s]);
        print(name, &local[s]);
        snprintf(name, sizeof name, "%zu random users", SIZES[s]);
        print(name, &chance[s]);
    }
    print("everybody else", &everybody);
}

int main(int argc, char **argv) {
    pgr_error err = {0};
    people *p;
    if (argc < 3) return fprintf(stderr, "usage: bench_people STORE PROTOTYPES [EMBEDDER|- [PROBE]]\n"), 2;
    want(pgr_store_open(argv[1], PGR_STORE_READ, &db, &err), &err);
    want(pgr_people_open(argv[1], argv[2], argc > 3 && strcmp(argv[3], "-") ? argv[3] : NULL, 0, &p, &err), &err);
    if (argc > 4) people_set_probe(p, (size_t)atoi(argv[4]));
    want(store_each_user(db, NULL, note, NULL, &err), &err);
    for (size_t u = 0; u < n_user; u++) load(&users[u]);
    rng r = {.seed = 1};
    for (size_t u = 0; u < n_user; u++)
        if (users[u].n_test > 0) ask_for(p, &r, u);
    if (everybody.n == 0) return fprintf(stderr, "bench_people: %s: no pair has the split test\n", argv[1]), 1;
    print_all();
    pgr_people_close(p);
    pgr_store_close(db);
    arena_free(&memory);
    return 0;
}
