/* people_fixture.h - for tests: a server L with a store of two tenants' users, their prototypes, two tokens with a
 * scope each and one without. Tenant "acme" chooses tea, tenant "bolt" coffee; a tenant's name stands in all that is
 * known of its users. people_setup (tokens are asked for) or people_setup_open, and people_teardown, are a group's
 * fixtures. */
#ifndef PGR_TESTS_PEOPLE_FIXTURE_H
#define PGR_TESTS_PEOPLE_FIXTURE_H

#include "live_server.h"

#include "../base/scratch.h"

#define MINI PGR_SOURCE_DIR "/tests/golden/mini.frame"
#define ACME "Authorization: Bearer token-of-acme\r\n"
#define BOLT "Authorization: Bearer token-of-bolt\r\n"
#define ROOT "Authorization: Bearer token-of-all\r\n"

enum { USERS_EACH = 5 };

static char STORE[100], PROTOS[110], TOKENS[100];
static pgr_people *PEOPLE;
static pgr_judge_options JUDGE;
static live L;

static inline void add_tenant(pgr_store *s, const char *tenant, const char *likes, const char *other) {
    for (int u = 0; u < USERS_EACH; u++) {
        char text[900];
        pgr_imported done;
        pgr_error err = {0};
        size_t n = (size_t)snprintf(
            text, sizeof text,
            "{\"id\": \"%s:u%d\", \"criteria\": \"Like %s's\", \"demographics\": \"With %s\", \"history\": [", tenant,
            u, tenant, tenant);
        for (int t = 0; t < 3; t++)
            n += (size_t)snprintf(
                text + n, sizeof text - n,
                "%s{\"query\": \"Occasion %d of %s?\", \"chosen\": \"%s at %d\", \"rejected\": \"%s at %d\"}",
                t ? "," : "", t, tenant, likes, t, other, t);
        n += (size_t)snprintf(text + n, sizeof text - n, "]}");
        if (pgr_user_add(s, text, n, "fixture", &done, &err) != PGR_OK) fail_msg("%s", err.message);
    }
}

static inline int people_begin(void **state) {
    pgr_store *s = NULL;
    pgr_error err = {0};
    if (make_folder(state) != 0 || live_begin(state) != 0) return -1;
    snprintf(STORE, sizeof STORE, "%s/users.db", scratch);
    snprintf(PROTOS, sizeof PROTOS, "%s.protos", STORE);
    snprintf(TOKENS, sizeof TOKENS, "%s/tokens", scratch);
    FILE *f = fopen(TOKENS, "w");
    assert_non_null(f);
    fputs("token-of-acme acme:\ntoken-of-bolt bolt:\ntoken-of-all\n", f);
    fclose(f);
    if (pgr_store_open(STORE, PGR_STORE_CREATE, &s, &err) != PGR_OK) fail_msg("%s", err.message);
    add_tenant(s, "acme", "Tea", "Coffee");
    add_tenant(s, "bolt", "Coffee", "Tea");
    pgr_proto_options o = pgr_proto_options_default();
    o.by = PGR_PROTO_VOTES;
    o.k = 2;
    if (pgr_proto_build(s, PROTOS, &o, &err) != PGR_OK) fail_msg("%s", err.message);
    pgr_store_close(s);
    if (pgr_people_open(STORE, NULL, NULL, 1, &PEOPLE, &err) != PGR_OK) fail_msg("%s", err.message);
    JUDGE = pgr_judge_options_default();
    JUDGE.frame = MINI;
    return 0;
}

static inline int people_end(void **state) {
    pgr_people_close(PEOPLE);
    live_end(state);
    return remove_folder(state);
}

/* With tokens, or open to everyone. */
static inline pgr_serve_options people_options(bool tokens) {
    pgr_serve_options o = live_options();
    o.deadline_s = 300; /* nothing fails for a slow machine but what has a deadline of its own */
    if (tokens) o.token_file = TOKENS;
    return o;
}

static inline void people_listen(const pgr_serve_options *o) {
    live_listen(&L, o);
    L.what.store = STORE;
    L.what.people = PEOPLE;
    L.what.protos = PROTOS;
    L.what.judge = &JUDGE;
}

static inline int people_serve(void **state, bool tokens) {
    if (people_begin(state) != 0) return -1;
    pgr_serve_options o = people_options(tokens);
    people_listen(&o);
    live_start(&L);
    return 0;
}

static inline int people_setup(void **state) {
    return people_serve(state, true);
}

static inline int people_setup_open(void **state) {
    return people_serve(state, false);
}

static inline int people_teardown(void **state) {
    live_stop(&L);
    return people_end(state);
}

/* What the library says of a request with this engine; json_decref. */
static inline json_t *library_says(pgr_engine *e, const pgr_judge_options *how, const char *request) {
    pgr_request *r = NULL;
    pgr_result *got = NULL;
    char *json = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_request_parse(request, strlen(request), "t", &r, NULL), PGR_OK);
    if (pgr_judge(e, r, how, &got, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(pgr_result_json(got, &json, NULL), PGR_OK);
    json_t *v = json_loads(json, 0, NULL);
    pgr_free(json);
    pgr_result_free(got);
    pgr_request_free(r);
    return v;
}

/* Two verdicts have the same values of n keys, to the last digit. */
static inline void assert_same_values(const json_t *a, const json_t *b, const char *const *keys, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_object_get(a, keys[i]), *y = json_object_get(b, keys[i]);
        if (!json_equal(x, y)) fail_msg("%s differs", keys[i]);
    }
}

/* So many calls are open: those that were sent are there, in the order in which they were, or have gone. */
static inline void until_open(size_t n) {
    while (worker_state(L.server->worker).n_open != n) poll(NULL, 0, 2);
}

#endif
