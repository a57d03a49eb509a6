/* From a store to prototypes: the right groups, the right pairs,
 * the same bytes whether the build was cut off or not. */
#include "../base/faults.h"
#include "../base/scratch.h"

#include <math.h>

#include "base/file.h"
#include "facts/facts.h"
#include "made_store.h"
#include "prototype/artefact.h"
#include "prototype/vec.h"

#define BERT PGR_SOURCE_DIR "/tests/golden/hf-tiny-bert"

static char db[80], protos[100];
static pgr_embedder *bert;

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    snprintf(db, sizeof db, "%s/users.db", scratch);
    snprintf(protos, sizeof protos, "%s.protos", db);
    return pgr_embedder_open(BERT, NULL, &bert, NULL);
}

static int teardown(void **state) {
    pgr_embedder_close(bert);
    return remove_folder(state);
}

static pgr_proto_options options(pgr_proto_by by) {
    pgr_proto_options o = pgr_proto_options_default();
    o.by = by;
    o.k = 2;
    o.epochs = 0;
    o.dims = 256;
    o.n_thread = 1;
    o.embedder = by == PGR_PROTO_VOTES ? NULL : bert;
    return o;
}

static void build(pgr_store *s, const pgr_proto_options *o) {
    pgr_error err;
    if (pgr_proto_build(s, protos, o, &err) != PGR_OK) fail_msg("%s", err.message);
}

static artefact open_protos(void) {
    artefact a;
    pgr_error err;
    if (artefact_open(protos, ARTEFACT_CHECK_ALL, &a, &err) != PGR_OK) fail_msg("%s", err.message);
    return a;
}

/* Every prototype's members are of one kind. */
static void check_kinds(const artefact *a) {
    for (size_t j = 0; j < a->k; j++) {
        assert_true(a->start[j + 1] > a->start[j]);
        char kind = artefact_id(a, a->row_user[a->start[j]])[0];
        for (size_t r = a->start[j]; r < a->start[j + 1]; r++)
            assert_int_equal(artefact_id(a, a->row_user[r])[0], kind);
    }
}

static bool has_word(const artefact *a, const char *word, char kind) {
    size_t j = artefact_id(a, a->row_user[a->start[0]])[0] == kind ? 0 : 1;
    for (size_t i = 0; a->words[j][i]; i++)
        if (strcmp(a->words[j][i], word) == 0) return true;
    return false;
}

static void test_votes(void **state) {
    (void)state;
    pgr_store *s = make_store(db, 0, 20, 5);
    pgr_proto_options o = options(PGR_PROTO_VOTES);
    build(s, &o);
    artefact a = open_protos();
    assert_true(a.n_user == 20 && a.n_row == 20 && a.n_pair == 100 && a.dims == 256 && a.k == 2);
    assert_string_equal(a.embedder, "");
    check_kinds(&a);
    assert_true(has_word(&a, "garden", 'a') && has_word(&a, "motor", 'b') && has_word(&a, "speed", 'b'));
    assert_false(has_word(&a, "garden", 'b') || has_word(&a, "secret", 'a') || has_word(&a, "secret", 'b'));
    for (size_t r = 0; r < a.n_row; r++)
        assert_true(fabs(vec_dot(a.vectors + r * 256, a.vectors + r * 256, 256) - 1) < 1e-5);
    assert_memory_equal(a.before, a.after, 2 * 256 * sizeof(float)); /* not refined */
    artefact_close(&a);

    o.split = "test"; /* another split: everybody chose the same text */
    build(s, &o);
    a = open_protos();
    assert_int_equal(a.n_pair, 20);
    artefact_close(&a);
    pgr_store_close(s);
    remove_store(db);
}

static double fact_of(const artefact *a, char kind, int fact) {
    for (size_t r = 0; r < a->n_row; r++)
        if (artefact_id(a, a->row_user[r])[0] == kind) return (double)a->vectors[r * a->dims + (size_t)fact];
    return 0;
}

/* No two users share a text: by form their kinds are told all the same, and the file says what each likes. Epochs of
 * refinement change nothing; without k the users who are left out say that there are two kinds. */
static void test_facts(void **state) {
    (void)state;
    pgr_store *s = make_form_store(db, 20, 4);
    pgr_proto_options o = options(PGR_PROTO_FACTS);
    o.embedder = NULL;
    for (o.epochs = 0; o.epochs < 3; o.epochs++) {
        o.k = o.epochs == 1 ? 0 : 2;
        build(s, &o);
        artefact a = open_protos();
        assert_true(a.n_user == 20 && a.n_row == 20 && a.n_pair == 80 && a.dims == N_FACT && a.k == 2);
        assert_true(strcmp(a.by, "facts") == 0 && strcmp(a.embedder, "") == 0);
        assert_true(a.n_loss > 1 && !a.refine && a.mixture);
        for (size_t i = 1; i < a.n_loss; i++) assert_true(a.losses[i] <= a.losses[i - 1] + 1e-12);
        check_kinds(&a);
        assert_true(artefact_get(&a, "own_lead", 0) > 0.5); /* opposite tastes, two queries */
        for (size_t r = 0; r < a.n_row; r++)
            assert_true(fabs(vec_dot(a.vectors + r * N_FACT, a.vectors + r * N_FACT, N_FACT) - 1) < 1e-5);
        assert_true(fact_of(&a, 'a', FACT_LENGTH) < -0.3 && fact_of(&a, 'b', FACT_LENGTH) > 0.3);
        assert_true(fact_of(&a, 'a', FACT_LISTS) < -0.3 && fact_of(&a, 'b', FACT_LISTS) > 0.3);
        assert_true(has_word(&a, "lists less", 'a') && has_word(&a, "lists more", 'b'));
        assert_true(has_word(&a, "length less", 'a') && has_word(&a, "length more", 'b'));
        artefact_close(&a);
    }
    char *svg;
    assert_int_equal(pgr_proto_map(protos, 0, &svg, NULL), PGR_OK);
    assert_non_null(strstr(svg, "what they like"));
    pgr_free(svg);

    const turn ask = {"user", "How is it done?"}; /* a new user joins those who like the same */
    pair_record p = pair_record_none();
    bool added;
    pgr_proto_added n;
    p.user_id = "a99", p.conversation_id = "c", p.split = "train";
    p.pair = (preference_pair){&ask, 1, "No.", FORM_TEXTS[1][0]};
    assert_int_equal(store_put_pair(s, &p, &added, NULL), PGR_OK);
    assert_int_equal(pgr_proto_add(s, protos, &o, &n, NULL), PGR_OK);
    assert_true(n.added == 1 && n.dropped == 0);
    artefact a = open_protos();
    assert_int_equal(a.n_user, 21);
    check_kinds(&a);
    artefact_close(&a);
    pgr_store_close(s);
    remove_store(db);
}

static buf read_protos(void) {
    buf b = {0};
    assert_int_equal(file_read(protos, &b, NULL), PGR_OK);
    return b;
}

static void assert_same(const buf *a, const buf *b) {
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->data, b->data, a->n);
}

/* More users than are measured at once, who came in another order than that of their names, some without a row (nothing
 * to tell their choices by), one with more pairs than are measured at once: the file does not know in which order users
 * came, how many threads there were or who has no row. */
static void test_order(void **state) {
    (void)state;
    enum { USERS = 1300, PAIRS = 4200 };
    buf first = {0};
    const turn ask = {"user", "Which?"};
    for (int way = 0; way < 3; way++) {
        pgr_store *s = make_store(db, 0, 0, 0);
        assert_int_equal(store_begin(s, NULL), PGR_OK);
        for (size_t i = 0; i < USERS; i++) {
            size_t u = way == 0 ? i : (i * 7 + 3) % USERS;
            for (size_t k = 0, n = u == 77 ? PAIRS : 1 + u % 3; k < n; k++) {
                char id[16], conversation[32], chosen[200];
                bool added;
                snprintf(id, sizeof id, "u%zu", u);
                snprintf(conversation, sizeof conversation, "%zu-%zu", u, k);
                snprintf(chosen, sizeof chosen, "%.*s", (int)(20 + (u * 13 + k * 29) % 150),
                         FORM_TEXTS[1][(u + k) % 3]);
                pair_record p = pair_record_none();
                p.user_id = id, p.conversation_id = conversation, p.split = "train";
                p.pair = (preference_pair){&ask, 1, u % 10 ? chosen : FORM_TEXTS[0][0], FORM_TEXTS[0][0]};
                assert_int_equal(store_put_pair(s, &p, &added, NULL), PGR_OK);
            }
        }
        assert_int_equal(store_commit(s, NULL), PGR_OK);
        pgr_proto_options o = options(PGR_PROTO_FACTS);
        o.embedder = NULL;
        o.n_thread = way == 2 ? 3 : 1;
        build(s, &o);
        buf now = read_protos();
        if (way == 0) {
            artefact a = open_protos();
            assert_true(a.n_user == USERS - USERS / 10 && a.n_row == a.n_user);
            assert_true(artefact_find(&a, "u77") < a.n_user && artefact_find(&a, "u70") == a.n_user);
            artefact_close(&a);
            first = now;
        } else {
            assert_same(&first, &now);
            buf_free(&now);
        }
        pgr_store_close(s);
        remove_store(db);
    }
    buf_free(&first);
}

/* Pairs of the subset "history" are shown and never learnt from: a user who has no others is no member. */
static void test_held_out_users(void **state) {
    (void)state;
    static const char *const held[] = {"history"};
    const turn ask = {"user", "Which?"};
    pair_record p = {.user_id = "held",
                     .conversation_id = "c",
                     .pair = {&ask, 1, "Snow.", "Ice."},
                     .chosen_score = NAN,
                     .rejected_score = NAN,
                     .split = "train",
                     .subsets = held,
                     .n_subset = 1,
                     .type = "",
                     .choice_attributes = ""};
    pgr_store *s = make_store(db, 0, 4, 5);
    pgr_proto_options o = options(PGR_PROTO_VOTES);
    bool added;
    assert_int_equal(store_put_pair(s, &p, &added, NULL), PGR_OK);
    build(s, &o);
    artefact a = open_protos();
    assert_true(a.n_user == 4 && a.n_pair == 20);
    artefact_close(&a);
    o.split = "train"; /* asked for by its name */
    build(s, &o);
    a = open_protos();
    assert_int_equal(a.n_user, 5);
    artefact_close(&a);
    pgr_store_close(s);
    remove_store(db);
}

static void test_errors(void **state) {
    (void)state;
    pgr_store *s = make_store(db, 0, 4, 2);
    pgr_error err;
    pgr_proto_options o = options(PGR_PROTO_VOTES);
    o.k = 5;
    assert_int_equal(pgr_proto_build(s, protos, &o, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "5 prototypes of 4 rows"));
    o.k = 2;
    o.dims = 100;
    assert_int_equal(pgr_proto_build(s, protos, &o, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "multiple of 128"));
    o = options(PGR_PROTO_VOTES);
    o.split = "none";
    assert_int_equal(pgr_proto_build(s, protos, &o, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "split \"none\""));
    o = options(PGR_PROTO_CHOICES);
    o.embedder = NULL;
    assert_int_equal(pgr_proto_build(s, protos, &o, &err), PGR_E_ARG);
    o = options(PGR_PROTO_ANALYSIS);
    assert_int_equal(pgr_proto_build(s, protos, &o, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "name of the model"));
    o.analyst = "m";
    assert_int_equal(pgr_proto_build(s, protos, &o, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "without an analysis by \"m\""));
    assert_false(file_exists(protos));
    pgr_store_close(s);
    remove_store(db);
}

static void test_refined(void **state) {
    (void)state;
    pgr_store *s = make_store(db, 0, 12, 5);
    pgr_proto_options o = options(PGR_PROTO_VOTES);
    o.epochs = 3;
    o.dims = 128;
    o.beta = 2.5;
    build(s, &o);
    buf one = read_protos();
    o.n_thread = 2;
    build(s, &o);
    buf two = read_protos();
    assert_same(&one, &two);
    artefact a = open_protos();
    check_kinds(&a);
    assert_true(a.n_loss == 3 && a.losses[2] < a.losses[0] && a.n_refine == 4 * 128 * 128 + 128);
    assert_true(artefact_get(&a, "samples", 0) == 60 && artefact_get(&a, "rho", 0) == 0.5);
    assert_true(artefact_get(&a, "beta", 0) == 2.5 && artefact_get(&a, "left_out", -1) == 0);
    assert_memory_not_equal(a.before, a.after, 2 * 128 * sizeof(float));
    artefact_close(&a);
    pgr_prototypes *p;
    assert_int_equal(pgr_prototypes_read(protos, true, &p, NULL), PGR_OK);
    assert_true(p->beta == 2.5);
    pgr_prototypes_free(p);
    o.beta = 4; /* another loss, other prototypes */
    build(s, &o);
    buf_free(&two);
    two = read_protos();
    assert_true(one.n != two.n || memcmp(one.data, two.data, one.n) != 0);
    o.beta = 0;
    pgr_error err;
    assert_int_equal(pgr_proto_build(s, protos, &o, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "beta is 0"));
    buf_free(&one);
    buf_free(&two);
    pgr_store_close(s);
    remove_store(db);
}

static void cancel_embedding(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    (void)total, (void)unit;
    if (strcmp(label, "embedding") == 0 && done >= 40) *(pgr_cancel *)ctx = 1;
}

/* Cut off between two batches: what was embedded stays in the store, and the file comes out the same. */
static void test_choices_cut_off(void **state) {
    (void)state;
    pgr_store *s = make_store(db, 0, 24, 6);
    pgr_proto_options o = options(PGR_PROTO_CHOICES);
    o.epochs = 1;
    build(s, &o);
    buf whole = read_protos();
    pgr_store_close(s);
    remove_store(db);

    s = make_store(db, 0, 24, 6);
    pgr_cancel cancel = 0;
    pgr_error err;
    o.watch.cancel = &cancel;
    o.watch.progress = cancel_embedding;
    o.watch.progress_ctx = (void *)(uintptr_t)&cancel;
    assert_int_equal(pgr_proto_build(s, protos, &o, &err), PGR_E_CANCELLED);
    assert_false(file_exists(protos));
    pgr_store_close(s);
    assert_int_equal(pgr_store_open(db, PGR_STORE_WRITE, &s, NULL), PGR_OK);
    arena a = {0};
    stored_user u;
    float v[512];
    bool first, last;
    assert_int_equal(store_load_user(s, "a00", NULL, &a, &u, NULL), PGR_OK);
    assert_int_equal(store_get_vector(s, u.pair_keys[0], "chosen", pgr_embedder_name(bert), v, pgr_embedder_dims(bert),
                                      &first, NULL),
                     PGR_OK);
    assert_int_equal(store_load_user(s, "b23", NULL, &a, &u, NULL), PGR_OK);
    assert_int_equal(
        store_get_vector(s, u.pair_keys[5], "chosen", pgr_embedder_name(bert), v, pgr_embedder_dims(bert), &last, NULL),
        PGR_OK);
    assert_true(first && !last);
    o.watch.cancel = NULL;
    o.watch.progress = NULL;
    build(s, &o);
    buf again = read_protos();
    assert_same(&whole, &again);
    artefact p = open_protos();
    assert_string_equal(p.embedder, pgr_embedder_name(bert));
    artefact_close(&p);
    buf_free(&whole);
    buf_free(&again);
    arena_free(&a);
    pgr_store_close(s);
    remove_store(db);
}

/* ---- analyses ---- */

static size_t n_asked, n_allowed;

static pgr_status analyse(void *ctx, const pgr_request *const *requests, size_t n, char **texts, pgr_error *err) {
    (void)ctx;
    if (n_asked + n > n_allowed) return (fail)(err, PGR_E_DEADLINE, "the model is tired");
    for (size_t i = 0; i < n; i++) {
        const pgr_request *r = requests[i];
        assert_true(r->n_response == 2 && r->n_history <= 3 && r->n_message == 1);
        for (size_t h = 0; h < r->n_history; h++) assert_string_not_equal(r->history[h].chosen, "SECRET");
        bool first = strcmp(r->responses[r->chosen], KIND_TEXTS[r->user_id[0] == 'b'][0]) == 0;
        texts[i] = strdup(r->user_id[0] == 'a' ? "water the garden flowers"
                          : first              ? "petrol petrol"
                                               : "motor speed petrol");
    }
    n_asked += n;
    return PGR_OK;
}

static void test_analysis(void **state) {
    (void)state;
    pgr_store *s = make_store(db, 0, 10, 4);
    pgr_proto_options o = options(PGR_PROTO_ANALYSIS);
    pgr_error err;
    o.analyse = analyse;
    o.analyst = "teacher";
    o.epochs = 1;
    n_asked = 0;
    n_allowed = 20;
    assert_int_equal(pgr_proto_build(s, protos, &o, &err), PGR_E_DEADLINE);
    assert_int_equal(n_asked, 16); /* one batch */
    n_allowed = 100;
    build(s, &o);
    assert_int_equal(n_asked, 40); /* none is asked for twice */
    artefact a = open_protos();
    assert_true(a.n_row == 40 && a.n_user == 10 && a.n_loss == 1);
    assert_string_equal(a.model, "teacher");
    check_kinds(&a);
    artefact_close(&a);
    o.analyse = NULL; /* all are there */
    build(s, &o);
    pgr_store_close(s);
    remove_store(db);
}

/* ---- joining and leaving ---- */

static void test_add(void **state) {
    (void)state;
    pgr_store *s = make_store(db, 0, 12, 5);
    pgr_proto_options o = options(PGR_PROTO_VOTES);
    build(s, &o);
    buf before = read_protos();
    pgr_proto_added n;
    pgr_error err;
    assert_int_equal(pgr_proto_add(s, protos, &o, &n, &err), PGR_OK);
    assert_true(n.added == 0 && n.dropped == 0);
    buf after = read_protos();
    assert_same(&before, &after);
    artefact old = open_protos();
    pgr_store_close(s);

    s = make_store(db, 12, 5, 3);
    assert_int_equal(pgr_user_forget(s, (const char *const[]){"b03"}, 1, &err), PGR_OK);
    if (pgr_proto_add(s, protos, &o, &n, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_true(n.added == 5 && n.dropped == 1);
    artefact a = open_protos();
    assert_true(a.n_user == 16 && a.n_row == 16);
    assert_int_equal(artefact_find(&a, "b03"), a.n_user);
    assert_true(artefact_find(&a, "a12") < a.n_user && artefact_find(&a, "b15") < a.n_user);
    assert_memory_equal(a.after, old.after, 2 * 256 * sizeof(float));
    check_kinds(&a);
    for (size_t r = 0; r < old.n_row; r++) { /* the others' vectors are as they were */
        size_t u = artefact_find(&a, artefact_id(&old, old.row_user[r])), k = 0;
        if (u == a.n_user) continue;
        while (a.row_user[k] != u) k++;
        assert_memory_equal(a.vectors + k * 256, old.vectors + r * 256, 256 * sizeof(float));
    }
    artefact_close(&a);
    artefact_close(&old);
    buf_free(&before);
    buf_free(&after);
    pgr_store_close(s);
    remove_store(db);
}

/* ---- looking ---- */

static void test_show_and_map(void **state) {
    (void)state;
    pgr_store *s = make_store(db, 0, 30, 4);
    pgr_proto_options o = options(PGR_PROTO_VOTES);
    build(s, &o);
    pgr_prototypes *p;
    pgr_error err;
    assert_int_equal(pgr_prototypes_read(protos, true, &p, &err), PGR_OK);
    assert_true(p->k == 2 && p->users == 30 && p->by == PGR_PROTO_VOTES && p->n_singular > 0 && p->n_loss == 0);
    assert_int_equal(p->list[0].users + p->list[1].users, 30);
    assert_true(p->list[0].similarity > 0.5 && p->list[0].similarity <= 1);
    pgr_prototypes_free(p);
    char *svg;
    size_t n = 0;
    assert_int_equal(pgr_proto_map(protos, 0, &svg, &err), PGR_OK);
    assert_true(strncmp(svg, "<svg ", 5) == 0 && strcmp(svg + strlen(svg) - 7, "</svg>\n") == 0);
    for (const char *at = svg; (at = strstr(at, "<circle")); at++) n++;
    assert_int_equal(n, 30 + 2 + 2); /* users, centres, legend */
    assert_non_null(strstr(svg, "garden"));
    assert_null(strstr(svg, "nan"));
    pgr_free(svg);
    assert_int_equal(pgr_proto_map(protos, 10, &svg, &err), PGR_OK);
    assert_non_null(strstr(svg, "10 of 30 vectors drawn"));
    pgr_free(svg);
    assert_int_equal(pgr_prototypes_read("/nowhere", false, &p, &err), PGR_E_IO);
    pgr_store_close(s);
    remove_store(db);
}

static pgr_store *shared;

static bool build_and_draw(void) {
    pgr_proto_options o = options(PGR_PROTO_VOTES);
    o.epochs = 1;
    o.dims = 128;
    char *svg;
    pgr_prototypes *p;
    if (pgr_proto_build(shared, protos, &o, NULL) != PGR_OK) return false;
    if (pgr_proto_map(protos, 0, &svg, NULL) != PGR_OK) return false;
    pgr_free(svg);
    if (pgr_prototypes_read(protos, true, &p, NULL) != PGR_OK) return false;
    pgr_prototypes_free(p);
    return true;
}

static bool build_by_facts(void) {
    pgr_proto_options o = options(PGR_PROTO_FACTS);
    o.embedder = NULL;
    o.restarts = 1;
    return pgr_proto_build(shared, protos, &o, NULL) == PGR_OK;
}

static void test_memory(void **state) {
    (void)state;
    shared = make_store(db, 0, 4, 2);
    assert_true(build_and_draw()); /* the store keeps what it prepares */
    assert_true(fail_allocations(build_and_draw, 7) > 50);
    assert_true(build_by_facts());
    assert_true(fail_allocations(build_by_facts, 7) > 30);
    pgr_store_close(shared);
    remove_store(db);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_votes),           cmocka_unit_test(test_facts),    cmocka_unit_test(test_order),
        cmocka_unit_test(test_held_out_users),  cmocka_unit_test(test_errors),   cmocka_unit_test(test_refined),
        cmocka_unit_test(test_choices_cut_off), cmocka_unit_test(test_analysis), cmocka_unit_test(test_add),
        cmocka_unit_test(test_show_and_map),    cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
