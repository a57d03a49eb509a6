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

int main(int argc, char **argv) {
    static const size_t sizes[] = {1, 2, 4, 8, 16, 32, 64};
    enum { N = sizeof sizes / sizeof *sizes };
    tally near[N] = {{0}}, chance[N] = {{0}}, local[N] = {{0}}, all = {0};
    pgr_error err = {0};
    people *p;
    if (argc < 3) return fprintf(stderr, "usage: bench_people STORE PROTOTYPES [EMBEDDER|- [PROBE]]\n"), 2;
    want(pgr_store_open(argv[1], PGR_STORE_READ, &db, &err), &err);
    want(pgr_people_open(argv[1], argv[2], argc > 3 && strcmp(argv[3], "-") ? argv[3] : NULL, 0, &p, &err), &err);
    if (argc > 4) people_set_probe(p, (size_t)atoi(argv[4]));
    want(store_each_user(db, NULL, note, NULL, &err), &err);
    for (size_t u = 0; u < n_user; u++) load(&users[u]);
    rng r = {.seed = 1};
    for (size_t u = 0; u < n_user; u++) {
        arena a = {0};
        neighbourhood n;
        const turn ask = {"user", ""};
        const char *none[2] = {"", ""};
        struct pgr_request q = {.origin = "",
                                .id = "",
                                .user_id = users[u].id,
                                .history = users[u].p.pairs,
                                .n_history = users[u].p.n,
                                .demographics = "",
                                .messages = &ask,
                                .n_message = 1,
                                .responses = none,
                                .n_response = 2};
        if (users[u].n_test == 0) continue;
        want(people_neighbours(p, &q, MOST, &a, &n, &err), &err);
        size_t some[MOST], here[MOST];
        for (size_t i = 0; i < MOST; i++) {
            some[i] = stranger(&r, u, false);
            here[i] = stranger(&r, u, true);
        }
        for (size_t t = 0; t < users[u].n_test; t++) {
            const preference_pair *pair = &users[u].test[t].pair;
            int v[3] = {0}, every = 0;
            for (size_t i = 0, s = 0; i < MOST; i++) {
                if (i < n.n) v[0] += verdict(n.list[i].pairs, n.list[i].n_pair, pair);
                v[1] += verdict(users[some[i]].p.pairs, users[some[i]].p.n, pair);
                v[2] += verdict(users[here[i]].p.pairs, users[here[i]].p.n, pair);
                if (i + 1 < sizes[s]) continue;
                count(&near[s], u, v[0]);
                count(&chance[s], u, v[1]);
                count(&local[s++], u, v[2]);
            }
            for (size_t i = 0; i < n_user; i++)
                if (i != u) every += verdict(users[i].p.pairs, users[i].p.n, pair);
            count(&all, u, every);
        }
        arena_free(&a);
    }
    for (size_t s = 0; s < N; s++) {
        char name[64];
        snprintf(name, sizeof name, "%zu most similar users", sizes[s]);
        print(name, &near[s]);
        snprintf(name, sizeof name, "%zu random, same consultation", sizes[s]);
        print(name, &local[s]);
        snprintf(name, sizeof name, "%zu random users", sizes[s]);
        print(name, &chance[s]);
    }
    print("everybody else", &all);
    pgr_people_close(p);
    pgr_store_close(db);
    arena_free(&memory);
    return 0;
}
