/* made_store.h - for tests: a store with users of two kinds, who choose texts of their kind. */
#ifndef PGR_TESTS_MADE_STORE_H
#define PGR_TESTS_MADE_STORE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "user/store.h"

static const char *const KIND_TEXTS[2][6] = {
    {"A garden wants patience and rain.", "Flowers in the garden need water.", "Rain is good for every garden.",
     "Patience lets flowers grow.", "The garden sleeps in the rain.", "Water the flowers at night."},
    {"A motor wants petrol and speed.", "Speed makes the motor roar.", "Petrol is what the motor drinks.",
     "Racing needs speed.", "The motor roars with petrol.", "Racing drivers love speed."}};

/* Users "a00", "b01", "a02".. of kinds 0 and 1 in turn, each with n_pair pairs of split train and one of split test, in
 * which he chooses "SECRET". The store is the caller's (pgr_store_close). */
static inline pgr_store *make_store(const char *path, size_t first, size_t n_user, size_t n_pair) {
    pgr_store *s;
    pgr_error err;
    if (pgr_store_open(path, PGR_STORE_CREATE, &s, &err) != PGR_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    for (size_t u = first; u < first + n_user; u++)
        for (size_t i = 0; i <= n_pair; i++) {
            rng r = {.seed = u, .stream = (uint32_t)i};
            char id[16], conversation[32];
            const turn ask = {"user", i % 2 ? "Which do you like?" : "What is better?"};
            snprintf(id, sizeof id, "%c%02zu", "ab"[u % 2], u);
            snprintf(conversation, sizeof conversation, "%s-%zu", id, i);
            const char *chosen = KIND_TEXTS[u % 2][rng_below(&r, 6)];
            pair_record p = {.user_id = id, .conversation_id = conversation,
                             .pair = {&ask, 1, chosen, KIND_TEXTS[1 - u % 2][rng_below(&r, 6)]},
                             .chosen_score = NAN, .rejected_score = NAN, .split = "train", .type = "",
                             .choice_attributes = ""};
            if (i == n_pair) {
                p.split = "test";
                p.pair.chosen = "SECRET";
            }
            bool added;
            if (store_put_pair(s, &p, &added, &err) != PGR_OK) {
                fprintf(stderr, "%s\n", err.message);
                abort();
            }
        }
    return s;
}

/* What users of two kinds like in the form of an answer: short ones without lists, or long ones with them. */
static const char *const FORM_TEXTS[2][3] = {
    {"Ask a friend.", "Yes, in spring.", "Use less water."},
    {"There are several ways to go about this:\n- plan the whole week before it begins\n- keep a list of what is left\n"
     "- look at it every evening and move what was not done",
     "It depends on the place and on the season, as follows:\n- in the north the ground stays cold for long\n- in the "
     "south it dries early\n- near the sea neither happens",
     "Before anything else some things have to be clear:\n- who takes part in it\n- what each of them has to bring\n- "
     "when all of them meet again"}};

/* As make_store, but every pair of a user has texts of its own (his name is in them): nothing but their form is shared
 * with other users. */
static inline pgr_store *make_form_store(const char *path, size_t n_user, size_t n_pair) {
    pgr_store *s;
    pgr_error err;
    bool fine = pgr_store_open(path, PGR_STORE_CREATE, &s, &err) == PGR_OK;
    for (size_t i = 0; fine && i < n_user * n_pair; i++) {
        size_t u = i / n_pair, pair = i % n_pair;
        char id[16], conversation[40], chosen[400], rejected[400];
        const turn ask = {"user", i % 2 ? "What comes next?" : "How is it done?"};
        bool added;
        snprintf(id, sizeof id, "%c%02zu", "ab"[u % 2], u);
        snprintf(conversation, sizeof conversation, "%s-%zu", id, pair);
        snprintf(chosen, sizeof chosen, "%s (%s)", FORM_TEXTS[u % 2][pair % 3], conversation);
        snprintf(rejected, sizeof rejected, "%s (%s)", FORM_TEXTS[1 - u % 2][(pair + u) % 3], conversation);
        pair_record p = pair_record_none();
        p.user_id = id, p.conversation_id = conversation, p.split = "train";
        p.pair = (preference_pair){&ask, 1, chosen, rejected};
        fine = store_put_pair(s, &p, &added, &err) == PGR_OK;
    }
    if (fine) return s;
    fprintf(stderr, "%s\n", err.message);
    abort();
}

static inline void remove_store(const char *path) {
    static const char *const endings[] = {"", "-wal", "-shm", ".protos", ".protos.part"};
    char name[300];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
}

#endif
