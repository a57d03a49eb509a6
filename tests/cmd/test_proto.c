/* test_proto.c - `pgenrm proto` as a user meets it, over a file and over PostgreSQL, and killed at random moments; the
 * people behind a verdict of `pgenrm score`. */
#include <signal.h>
#include <time.h>

#include "json_out.h"
#include "pgenrm.h"

#include "../base/stores.h"

#define CHOICES "proto build --store \"$STORE\" --by choices -k 3 --embedder tests/golden/hf-tiny-bert --epochs 1 -q "

/* A row of training: the user's i-th pair. */
static void put_row(FILE *f, int user, int i, const char *chosen, const char *rejected) {
    fprintf(f,
            "{\"user_id\":\"u%02d\",\"conversation_id\":\"c%d-%d\","
            "\"context\":[{\"role\":\"user\",\"content\":\"question %d of %d?\"}],"
            "\"chosen\":{\"role\":\"assistant\",\"content\":\"%s\"},"
            "\"rejected\":{\"role\":\"assistant\",\"content\":\"%s\"},\"split\":\"train\"}\n",
            user, user, i, i, user, chosen, rejected);
}

/* 60 users of three kinds with six pairs each: long enough texts that embedding them takes a while. */
static void make_store(void) {
#define PREFERS "I prefer %s to most things, for reason %d of "
    static const char *const kinds[3][3] = {
        {"apples", "pears", "plums"}, {"trains", "trams", "buses"}, {"wolves", "foxes", "bears"}};
    char path[200], name[200], *text = NULL;
    size_t n_text;
    snprintf(name, sizeof name, "%s", store_at("users.db"));
    FILE *f = open_memstream(&text, &n_text);
    if (!f) abort();
    for (int u = 0; u < 60; u++)
        for (int i = 0; i < 6; i++) {
            char chosen[100], rejected[100];
            snprintf(chosen, sizeof chosen, PREFERS "mine.", kinds[u % 3][i % 3], u * 7 + i);
            snprintf(rejected, sizeof rejected, PREFERS "yours.", kinds[(u + 1 + i % 2) % 3][i / 2], u * 5 + i);
            put_row(f, u, i, chosen, rejected);
        }
    fclose(f);
    snprintf(path, sizeof path, "%s", write_text("pairs.jsonl", text));
    free(text);
    pgr_store *s;
    pgr_imported n;
    pgr_error err;
    if (pgr_store_open(name, PGR_STORE_CREATE, &s, &err) != PGR_OK
        || pgr_user_import(s, path, NULL, &n, &err) != PGR_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    if (n.users != 60 || n.pairs != 360) abort();
    pgr_store_close(s);
}

static int begin_group(void **state, int (*begin)(void **)) {
    char *protos = NULL;
    if (begin(state)) return -1;
    setenv("PGENRM_HOME", scratch, 1);
    unsetenv("PGENRM_EMBEDDER");
    unsetenv("PGENRM_STORE");
    setenv("STORE", store_at("users.db"), 1);
    if (pgr_store_protos(getenv("STORE"), &protos, NULL) != PGR_OK) return -1;
    setenv("PROTOS", protos, 1);
    pgr_free(protos);
    make_store();
    return 0;
}

static int begin_over_files(void **state) {
    return begin_group(state, begin_files);
}

static int begin_over_postgres(void **state) {
    return begin_group(state, begin_postgres);
}

static void test_build_show_map(void **state) {
    (void)state;
    json_t *j = json_from(
        run_to("pgenrm proto build --store \"$STORE\" --by votes -k 3 --dims 128 --epochs 2 --json -q", 0, ""));
    assert_int_equal(json_integer_value(json_object_get(j, "k")), 3);
    assert_int_equal(json_integer_value(json_object_get(j, "users")), 60);
    assert_int_equal(json_integer_value(json_object_get(j, "texts")), 0); /* no text was read by two */
    assert_non_null(json_object_get(j, "texts"));
    assert_int_equal(json_array_size(json_object_get(j, "losses")), 2);
    assert_true(json_array_size(json_object_get(j, "singular_values")) > 3);
    int64_t sum = 0;
    for (size_t i = 0; i < 3; i++) sum += json_integer_value(json_array_get(json_object_get(j, "sizes"), i));
    assert_int_equal(sum, 60);
    json_decref(j);

    ran r = run_to("pgenrm proto show \"$PROTOS\" --check", 0, "");
    assert_non_null(strstr(r.out, "60 users (360 pairs, split history) by votes"));
    assert_non_null(strstr(r.out, "typical words"));
    run_free(&r);

    r = run_to("pgenrm proto map --store \"$STORE\" --out \"$SCRATCH/map.svg\"", 0, "");
    run_free(&r);
    char *svg = slurp(path_of("map.svg"));
    assert_true(strncmp(svg, "<svg ", 5) == 0);
    assert_non_null(strstr(svg, "60 users, 3 prototypes by votes"));
    free(svg);
    assert_refused("pgenrm proto map --json --store \"$STORE\"", 2, "map --json needs --out FILE");
    r = run_to("pgenrm proto map --store \"$STORE\" --users 10", 0, "");
    assert_true(strncmp(r.out, "<svg ", 5) == 0);
    run_free(&r);
    r = run_to("pgenrm proto build --add --store \"$STORE\" --json", 0, "0 users joined, 0 left");
    run_free(&r);
}

/* By facts: how far people's own pairs lead, in JSON and for people alike. Half of the users like the short answers. */
static void test_own_lead(void **state) {
    (void)state;
    static const char *const kinds[] = {
        "Here is a much longer answer, which says it all twice, and once more at the end, for whoever likes to read.",
        "One word, or two."};
    char *text = NULL;
    size_t n_text;
    FILE *f = open_memstream(&text, &n_text);
    assert_non_null(f);
    for (int u = 0; u < 24; u++)
        for (int i = 0; i < 4; i++) put_row(f, u, i, kinds[u % 2], kinds[1 - u % 2]);
    fclose(f);
    write_text("tastes.jsonl", text);
    free(text);
    ran r = run_to("pgenrm user import -q --store $SCRATCH/tastes.db $SCRATCH/tastes.jsonl", 0, "");
    run_free(&r);
    json_t *j = json_from(run_to("pgenrm proto build --store $SCRATCH/tastes.db --by facts --json -q", 0, ""));
    double lead = json_real_value(json_object_get(j, "own_lead"));
    assert_true(lead > 0.5 && lead <= 1); /* one's own pairs all agree, half of the strangers' say the opposite */
    json_decref(j);
    j = json_from(run_to("pgenrm proto show --json $SCRATCH/tastes.db.protos", 0, ""));
    assert_float_equal(json_real_value(json_object_get(j, "own_lead")), lead, 1e-12);
    json_decref(j);
    char says[100];
    snprintf(says, sizeof says, "own pairs tell %.0f %% more of his others right", 100 * lead);
    r = run_to("pgenrm proto show $SCRATCH/tastes.db.protos", 0, "");
    assert_non_null(strstr(r.out, says));
    run_free(&r);
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *command, *says;
        int status;
    } cases[] = {
        {"pgenrm proto", "expected build, show or map", 2},
        {"pgenrm proto biuld", "perhaps build", 2},
        {"pgenrm proto build --by vote", "votes", 2},
        {"pgenrm proto build -k 0", "1", 2},
        {"pgenrm proto show a b", "unexpected b", 2},
        {"pgenrm proto show /nowhere", "/nowhere", 1},
        {"pgenrm proto show examples/request.json", "expected a file of prototypes", 1},
        {"pgenrm proto build --store /nowhere/users.db --by votes", "/nowhere/users.db", 1},
        {"pgenrm proto build --store \"$STORE\" --by votes -k 61", "61 prototypes of 60 rows", 1},
        {"pgenrm proto build --store \"$STORE\" --by choices --embedder /nowhere", "/nowhere", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ran r = run_to(cases[i].command, cases[i].status, cases[i].says);
        run_free(&r);
    }
}

/* Kill -9 at moments drawn over the length of a whole build; then the build is run to its end: the same bytes as never
 * killed. bench/kill_any.py does it fifty times. */
static void test_killed(void **state) {
    (void)state;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    ran r = run_to("pgenrm " CHOICES "--out \"$SCRATCH/whole\"", 0, "");
    run_free(&r);
    clock_gettime(CLOCK_MONOTONIC, &to);
    double whole_s = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    remove(path_of("users.db"));
    make_store();
    for (int i = 0; i < 6; i++) {
        char line[1000];
        snprintf(line, sizeof line,
                 "timeout -s KILL %.3f " PGR_BINARY_DIR "/pgenrm " CHOICES "--out \"$SCRATCH/killed\"; true",
                 whole_s * (0.15 + 0.12 * i));
        r = run_program(line);
        run_free(&r);
    }
    r = run_to("pgenrm " CHOICES "--out \"$SCRATCH/killed\" && cmp \"$SCRATCH/whole\" \"$SCRATCH/killed\"", 0, "");
    run_free(&r);
}

/* A request that names only its user gets his history, and people of his kind are asked beside him. */
static void test_score(void **state) {
    (void)state;
    ran r = run_to("pgenrm proto build --store \"$STORE\" --by votes -k 3 --dims 128 -q", 0, "");
    run_free(&r);
    write_text("request.json", "{\"user\":{\"id\":\"u04\"},\"query\":\"which?\",\"responses\":[\"trams\",\"foxes\"]}");
    json_t *j = json_from(run_to(
        "pgenrm score -q --json --ind 1 --pro 2 --max-tokens 16 --store \"$STORE\" $SCRATCH/request.json", 0, ""));
    const json_t *near = at(j, "neighbours");
    assert_int_equal(json_array_size(near), 2);
    for (size_t i = 0; i < 2; i++) {
        const char *user = json_string_value(json_object_get(json_array_get(near, i), "user"));
        assert_int_equal(atoi(user + 1) % 3, 1);
        assert_string_not_equal(user, "u04");
    }
    json_decref(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_build_show_map), cmocka_unit_test(test_own_lead),
                                       cmocka_unit_test(test_refusals), cmocka_unit_test(test_killed),
                                       cmocka_unit_test(test_score)};
    const struct CMUnitTest servers[] = {cmocka_unit_test(test_build_show_map), cmocka_unit_test(test_score)};
    int failed = cmocka_run_group_tests_name("a file", tests, begin_over_files, end_files);
    if (postgres_start())
        failed += cmocka_run_group_tests_name("PostgreSQL", servers, begin_over_postgres, end_postgres);
    return failed;
}
