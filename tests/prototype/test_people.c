/* Who is similar to a request's user: his kind, never himself, no test rows; cold starts say so;
 * the same statement is the most relevant. Over a file, and over PostgreSQL what reads or writes a store. */
#include "../base/faults.h"
#include "../base/stores.h"

#include "made_store.h"
#include "prototype/people.h"

#define BERT PGR_SOURCE_DIR "/tests/golden/hf-tiny-bert"

static char db[200];

static int over_files(void **state) {
    if (begin_files(state) != 0) return -1;
    snprintf(db, sizeof db, "%s", store_at("users.db"));
    return 0;
}

static int over_postgres(void **state) {
    if (begin_postgres(state) != 0) return -1;
    setenv("PGENRM_HOME", scratch, 1); /* where its prototypes are */
    snprintf(db, sizeof db, "%s", store_at("users.db"));
    return 0;
}

static people *open_people(pgr_proto_by by, const char *embedder) {
    pgr_store *s = by == PGR_PROTO_FACTS ? make_form_store(db, 20, 5) : make_store(db, 0, 20, 5);
    pgr_embedder *e = NULL;
    pgr_proto_options o = pgr_proto_options_default();
    pgr_error err;
    char *protos = NULL;
    people *p;
    assert_int_equal(pgr_store_protos(db, &protos, &err), PGR_OK);
    assert_int_equal(pgr_embedder_open(BERT, NULL, &e, &err), PGR_OK);
    o.by = by, o.k = 2, o.epochs = 0, o.dims = 256, o.embedder = e, o.n_thread = 1;
    if (pgr_proto_build(s, protos, &o, &err) != PGR_OK) fail_msg("%s", err.message);
    pgr_embedder_close(e);
    pgr_store_close(s);
    pgr_free(protos);
    if (pgr_people_open(db, NULL, embedder, 1, &p, &err) != PGR_OK) fail_msg("%s", err.message);
    return p;
}

static void close_people(people *p) {
    pgr_people_close(p);
    if (on_postgres)
        run_sql(db, "DROP SCHEMA pgenrm CASCADE");
    else
        remove_store(db);
}

/* A request of `user`, who has a history of two pairs of a kind (or none: kind -1). */
typedef struct asked {
    struct pgr_request r;
    preference_pair history[2];
    const char *responses[2], *criteria[1];
    turn ask;
} asked;

static asked *request(const char *user, int kind) {
    static asked x;
    x = (asked){.responses = {"Rain is good for every garden.", "Racing needs speed."},
                .ask = {"user", "Which do you like?"}};
    for (size_t i = 0; kind >= 0 && i < 2; i++)
        x.history[i] = (preference_pair){&x.ask, 1, KIND_TEXTS[kind][i], KIND_TEXTS[1 - kind][i]};
    x.r = (struct pgr_request){.origin = "t",
                               .id = "",
                               .user_id = user,
                               .history = x.history,
                               .n_history = kind < 0 ? 0 : 2,
                               .criteria = x.criteria,
                               .demographics = "",
                               .messages = &x.ask,
                               .n_message = 1,
                               .responses = x.responses,
                               .n_response = 2,
                               .ind = -1,
                               .pro = -1,
                               .history_pairs = -1,
                               .seed = -1,
                               .chosen = -1};
    return &x;
}

static void check_neighbours(const neighbourhood *n, size_t want, char kind) {
    assert_int_equal(n->n, want);
    for (size_t i = 0; i < n->n; i++) {
        const neighbour *x = &n->list[i];
        assert_int_equal(x->user_id[0], kind);
        assert_int_equal(x->n_pair, 5);
        for (size_t k = 0; k < x->n_pair; k++) assert_string_not_equal(x->pairs[k].chosen, "SECRET");
        if (i > 0) assert_true(x->similarity <= n->list[i - 1].similarity);
        for (size_t k = 0; k < i; k++) assert_string_not_equal(x->user_id, n->list[k].user_id);
    }
}

static void test_votes(void **state) {
    (void)state;
    people *p = open_people(PGR_PROTO_VOTES, NULL);
    arena a = {0};
    neighbourhood n;
    assert_int_equal(people_dims(p), 256);
    assert_int_equal(people_neighbours(p, &request("new", 0)->r, 4, &a, &n, NULL), PGR_OK);
    check_neighbours(&n, 4, 'a');
    assert_true(n.n_evidence == 2 && n.similarity > 0.3 && n.prototype >= 0);
    assert_null(n.list[0].vectors);
    int kind_a = n.prototype;
    assert_int_equal(people_neighbours(p, &request("b01", 1)->r, 9, &a, &n, NULL), PGR_OK);
    check_neighbours(&n, 9, 'b'); /* the nine others of his kind */
    for (size_t i = 0; i < n.n; i++) assert_string_not_equal(n.list[i].user_id, "b01");
    assert_int_not_equal(n.prototype, kind_a);
    assert_int_equal(people_neighbours(p, &request("b01", 1)->r, 100, &a, &n, NULL), PGR_OK);
    assert_int_equal(n.n, 19); /* there are no more */
    assert_int_equal(people_neighbours(p, &request("new", -1)->r, 3, &a, &n, NULL), PGR_OK);
    assert_true(n.n == 3 && n.n_evidence == 0); /* cold start */
    assert_int_equal(people_neighbours(p, &request("new", 0)->r, 0, &a, &n, NULL), PGR_OK);
    assert_int_equal(n.n, 0);
    arena_free(&a);
    close_people(p);
}

/* A request of `user`, who liked the form of a kind once, in texts that nobody has seen. */
static asked *request_of_form(const char *user, int kind) {
    static char texts[2][400];
    asked *x = request(user, 0);
    for (int i = 0; i < 2; i++) snprintf(texts[i], sizeof texts[i], "%s (%s)", FORM_TEXTS[i][0], "new");
    x->history[0] = (preference_pair){&x->ask, 1, texts[kind], texts[1 - kind]};
    x->r.n_history = 1;
    return x;
}

/* Nobody shares a text with him: those who like the same form are near, of whatever scope; strangers are told as such,
 * and relevance is that of texts, with an embedder or without. */
static void test_facts(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        people *p = open_people(PGR_PROTO_FACTS, i ? BERT : NULL);
        arena a = {0};
        neighbourhood n;
        double v[5];
        assert_int_equal(people_dims(p), i ? 32 : 512);
        assert_true(people_own_lead(p) > 0.5); /* two opposite tastes */
        for (int kind = 0; kind < 2; kind++) {
            assert_int_equal(people_neighbours(p, &request_of_form("new", kind)->r, 9, &a, &n, NULL), PGR_OK);
            check_neighbours(&n, 9, "ab"[kind]);
            assert_true(n.n_evidence == 1 && n.similarity > 0.5 && !n.list[0].vectors);
        }
        assert_int_equal(people_neighbours(p, &request_of_form("b03", 1)->r, 19, &a, &n, NULL), PGR_OK);
        assert_int_equal(n.n, 19);
        for (size_t k = 0; k < 19; k++) assert_int_equal(n.list[k].user_id[0], k < 9 ? 'b' : 'a');
        assert_int_equal(people_neighbours_by(p, &request_of_form("new", 1)->r, NULL, "a", 3, &a, &n, NULL), PGR_OK);
        check_neighbours(&n, 3, 'a');
        assert_true(n.list[0].similarity < 0);
        assert_int_equal(people_neighbours(p, &request("new", -1)->r, 3, &a, &n, NULL), PGR_OK);
        assert_true(n.n == 3 && n.n_evidence == 0);
        asked *r = request("new", -1);
        r->responses[1] = n.list[0].pairs[2].rejected; /* the same text: it is the pair that counts most */
        assert_int_equal(people_relevance(p, &r->r, n.list[0].pairs, NULL, 5, v, NULL), PGR_OK);
        for (size_t k = 0; k < 5; k++) assert_true(isfinite(v[k]) && v[k] <= v[2] + 1e-6);
        arena_free(&a);
        close_people(p);
    }
}

static void test_choices(void **state) {
    (void)state;
    people *p = open_people(PGR_PROTO_CHOICES, BERT);
    arena a = {0};
    neighbourhood n;
    assert_int_equal(people_neighbours(p, &request("new", 1)->r, 4, &a, &n, NULL), PGR_OK);
    check_neighbours(&n, 4, 'b');
    assert_int_equal(n.n_evidence, 2);
    assert_non_null(n.list[0].vectors); /* they are the pairs' own: no need to embed them again */
    double with[5], without[5];
    asked *r = request("new", 1);
    assert_int_equal(people_relevance(p, &r->r, n.list[0].pairs, n.list[0].vectors, 5, with, NULL), PGR_OK);
    assert_int_equal(people_relevance(p, &r->r, n.list[0].pairs, NULL, 5, without, NULL), PGR_OK);
    for (size_t i = 0; i < 5; i++) assert_true(fabs(with[i] - without[i]) < 1e-6);
    r = request("new", -1);
    r->criteria[0] = "I like speed.";
    r->r.n_criteria = 1;
    assert_int_equal(people_neighbours(p, &r->r, 4, &a, &n, NULL), PGR_OK);
    assert_true(n.n == 4 && n.n_evidence == 0 && isfinite(n.similarity));
    arena_free(&a);
    close_people(p);
}

/* With a scope the n nearest of it, whatever prototype they belong to: the list of all users without the others. */
static void test_scope(void **state) {
    (void)state;
    people *p = open_people(PGR_PROTO_CHOICES, BERT);
    arena a = {0};
    neighbourhood all, n;
    static const char *const scopes[] = {"a", "b", "b0", "a1", "a01", "c", "b0123"};
    static const char *const users[] = {"new", "a01", "b03"};
    for (size_t u = 0; u < 3; u++) {
        const pgr_request *r = &request(users[u], u == 2)->r;
        assert_int_equal(people_neighbours(p, r, 100, &a, &all, NULL), PGR_OK);
        for (size_t k = 0; k < sizeof scopes / sizeof *scopes; k++)
            for (size_t want = 1; want < 9; want += 3) {
                assert_int_equal(people_neighbours_by(p, r, NULL, scopes[k], want, &a, &n, NULL), PGR_OK);
                size_t found = 0;
                for (size_t i = 0; i < all.n && found < want; i++) {
                    if (strncmp(all.list[i].user_id, scopes[k], strlen(scopes[k])) != 0) continue;
                    assert_true(found < n.n);
                    assert_string_equal(n.list[found].user_id, all.list[i].user_id);
                    assert_true(n.list[found].similarity == all.list[i].similarity);
                    found++;
                }
                assert_int_equal(n.n, found);
            }
    }
    arena_free(&a);
    close_people(p);
}

/* Who is known by nothing is taken for the centre of the largest prototype: by the members within the scope. */
static void test_scope_of_strangers(void **state) {
    (void)state;
    people *p = open_people(PGR_PROTO_VOTES, NULL);
    arena a = {0};
    neighbourhood n, known;
    for (int kind = 0; kind < 2; kind++) {
        const char *scope = kind ? "b" : "a";
        assert_int_equal(people_neighbours(p, &request("new", kind)->r, 3, &a, &known, NULL), PGR_OK);
        assert_int_equal(people_neighbours_by(p, &request("new", -1)->r, NULL, scope, 3, &a, &n, NULL), PGR_OK);
        check_neighbours(&n, 3, *scope);
        assert_int_equal(n.n_evidence, 0);
        assert_int_equal(n.prototype, known.prototype);
    }
    arena_free(&a);
    close_people(p);
}

static void test_relevance(void **state) {
    (void)state;
    const turn same = {"user", "Which do you like?"}, other = {"user", "Tell me of stars."};
    const preference_pair pairs[] = {{&other, 1, "Stars shine.", "Moons do not."},
                                     {&other, 1, "Snow is cold.", "Racing needs speed."}, /* a candidate itself */
                                     {&same, 1, "Bread rises.", "Soup boils."}};          /* the same question */
    for (size_t i = 0; i < 2; i++) {
        people *p = open_people(PGR_PROTO_VOTES, i ? BERT : NULL);
        double v[3];
        assert_int_equal(people_relevance(p, &request("new", -1)->r, pairs, NULL, 3, v, NULL), PGR_OK);
        assert_true(v[1] > v[0] && v[1] >= 1 + 0.5 * (i ? -1 : 0) - 0.2);
        if (i == 0) assert_true(v[1] > v[2] && v[2] > v[0] && fabs(v[1] - 1) < 0.2 && fabs(v[2] - 0.5) < 0.3);
        close_people(p);
    }
}

static void test_forgotten(void **state) {
    (void)state;
    people *p = open_people(PGR_PROTO_VOTES, NULL);
    arena a = {0};
    neighbourhood n;
    pgr_store *s;
    assert_int_equal(people_neighbours(p, &request("new", 0)->r, 3, &a, &n, NULL), PGR_OK);
    char gone[3][16];
    for (size_t i = 0; i < 3; i++) snprintf(gone[i], sizeof gone[i], "%s", n.list[i].user_id);
    pgr_people_close(p); /* a store that is read keeps its bytes until then */
    assert_int_equal(pgr_store_open(db, PGR_STORE_WRITE, &s, NULL), PGR_OK);
    assert_int_equal(pgr_user_forget(s, (const char *const[]){gone[0], gone[1], gone[2]}, 3, NULL), PGR_OK);
    pgr_store_close(s);
    assert_int_equal(pgr_people_open(db, NULL, NULL, 1, &p, NULL), PGR_OK);
    assert_int_equal(people_neighbours(p, &request("new", 0)->r, 3, &a, &n, NULL), PGR_OK);
    check_neighbours(&n, 3, 'a');
    for (size_t i = 0; i < 9; i++) assert_string_not_equal(n.list[i / 3].user_id, gone[i % 3]);
    arena_free(&a);
    close_people(p);
}

static void test_errors(void **state) {
    (void)state;
    pgr_error err;
    people *p = open_people(PGR_PROTO_CHOICES, BERT);
    pgr_people_close(p);
    assert_int_equal(pgr_people_open(db, NULL, PGR_SOURCE_DIR "/tests/golden/hf-tiny-qwen3-embedding", 1, &p, &err),
                     PGR_E_ARG);
    assert_non_null(strstr(err.message, "made with embedder"));
    assert_int_equal(pgr_people_open(db, "/nowhere", NULL, 1, &p, &err), PGR_E_IO);
    assert_int_not_equal(pgr_people_open("/nowhere", NULL, NULL, 1, &p, &err), PGR_OK);
    remove_store(db);
}

static people *shared;

static bool ask(void) {
    arena a = {0};
    neighbourhood n;
    double v[5];
    asked *r = request("a00", 0);
    bool worked = people_neighbours(shared, &r->r, 3, &a, &n, NULL) == PGR_OK
                  && people_relevance(shared, &r->r, n.list[0].pairs, NULL, n.list[0].n_pair, v, NULL) == PGR_OK;
    arena_free(&a);
    return worked;
}

static void test_memory(void **state) {
    (void)state;
    shared = open_people(PGR_PROTO_VOTES, NULL);
    assert_true(ask()); /* the store keeps what it prepares */
    assert_true(fail_each_allocation(ask) > 10);
    close_people(shared);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_votes),
                                       cmocka_unit_test(test_facts),
                                       cmocka_unit_test(test_choices),
                                       cmocka_unit_test(test_scope),
                                       cmocka_unit_test(test_scope_of_strangers),
                                       cmocka_unit_test(test_relevance),
                                       cmocka_unit_test(test_forgotten),
                                       cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_memory)};
    const struct CMUnitTest servers[] = {cmocka_unit_test(test_votes), cmocka_unit_test(test_choices),
                                         cmocka_unit_test(test_forgotten)};
    int failed = cmocka_run_group_tests_name("a file", tests, over_files, end_files);
    if (postgres_start()) failed += cmocka_run_group_tests_name("PostgreSQL", servers, over_postgres, end_postgres);
    return failed;
}
