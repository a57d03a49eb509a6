/* test_doctor.c - `pgenrm doctor`: what is there is said to be there, what is missing comes with what helps, and the
 * exit status says whether a request can be judged. */
#include "json_out.h"

static json_t *doctor(const char *command, int status) {
    return json_from(run_to(command, status, ""));
}

/* The state of a check and what it found; fails where there is none. */
static const char *state_of(const json_t *v, const char *about, const char **found, const char **get) {
    const json_t *c;
    size_t i;
    json_array_foreach(json_object_get(v, "checks"), i, c) {
        if (strcmp(json_string_value(json_object_get(c, "about")), about) != 0) continue;
        *found = json_string_value(json_object_get(c, "found"));
        *get = json_string_value(json_object_get(c, "get"));
        return json_string_value(json_object_get(c, "state"));
    }
    fail_msg("no check of %s", about);
    return NULL;
}

static void test_what_is_there(void **state) {
    (void)state;
    const char *found, *get;
    ran made = run_to("printf '%s' '{\"id\": \"u\", \"history\": [{\"query\": \"a?\", \"chosen\": \"b\", \"rejected\": "
                      "\"c\"}]}' > $SCRATCH/u.json && pgenrm user add --store $SCRATCH/u.db $SCRATCH/u.json",
                      0, "");
    run_free(&made);
    json_t *v = doctor("pgenrm doctor --json --store $SCRATCH/u.db", 0);
    assert_true(json_is_true(json_object_get(v, "ready")));
    assert_true(json_integer_value(json_object_get(v, "cores")) >= 1);
    assert_true(json_integer_value(json_object_get(v, "memory")) > 1 << 20);
    assert_true(json_real_value(json_object_get(v, "read_tokens_per_s")) > 0);
    assert_true(json_real_value(json_object_get(v, "write_tokens_per_s")) > 0);
    assert_string_equal(state_of(v, "model", &found, &get), "ok");
    assert_string_equal(found, TINY);
    assert_string_equal(state_of(v, "adapter", &found, &get), "note");
    assert_string_equal(state_of(v, "store", &found, &get), "ok");
    assert_non_null(strstr(found, "/u.db: 1 users, 1 pairs"));
    assert_string_equal(state_of(v, "prototypes", &found, &get), "note");
    assert_non_null(strstr(get, "pgenrm proto build"));
    json_decref(v);
}

static void test_what_is_missing(void **state) {
    (void)state;
    const char *found, *get;
    json_t *v = doctor("PGENRM_MODEL= PGENRM_EMBEDDER= PGENRM_STORE= PGENRM_HOME=$SCRATCH pgenrm doctor --json", 1);
    assert_true(json_is_false(json_object_get(v, "ready")));
    assert_string_equal(state_of(v, "model", &found, &get), "missing");
    assert_non_null(strstr(get, "make model"));
    assert_string_equal(state_of(v, "embedder", &found, &get), "note");
    assert_string_equal(state_of(v, "store", &found, &get), "note");
    assert_true(json_is_null(json_object_get(v, "read_tokens_per_s")));
    json_decref(v);
}

/* Addresses are told from such as cannot be read without asking anybody. */
static void test_addresses(void **state) {
    (void)state;
    const char *found, *get;
    json_t *v = doctor("PGENRM_MODEL=http://:x PGENRM_EMBEDDER=http:// PGENRM_HOME=$SCRATCH pgenrm doctor --json", 1);
    assert_string_equal(state_of(v, "model", &found, &get), "missing");
    assert_non_null(strstr(found, "address of a server"));
    assert_string_equal(state_of(v, "embedder", &found, &get), "note");
    json_decref(v);
}

static void test_held_back(void **state) {
    (void)state;
    const char *found, *get;
    json_t *v = doctor("PGENRM_CPU=ref PGENRM_API_KEY=secret pgenrm doctor --quick --json", 0);
    assert_string_equal(json_string_value(json_object_get(v, "level")), "ref");
    assert_string_equal(state_of(v, "kernels", &found, &get), "note");
    assert_non_null(strstr(found, "level ref, fast for nothing; --dtype auto is exact"));
    state_of(v, "environment", &found, &get);
    assert_non_null(strstr(found, "PGENRM_API_KEY"));
    assert_null(strstr(found, "secret"));
    json_decref(v);
}

/* A store that is damaged is named, not taken for an empty one. */
static void test_damaged(void **state) {
    (void)state;
    const char *found, *get;
    write_text("bad.db",
               "no database, but long enough that somebody may look at its first hundred bytes, and more of it");
    json_t *v = doctor("pgenrm doctor --quick --json --store $SCRATCH/bad.db", 0);
    assert_string_equal(state_of(v, "store", &found, &get), "note");
    assert_non_null(strstr(found, "bad.db"));
    json_decref(v);
}

static void test_for_people(void **state) {
    (void)state;
    assert_ends("pgenrm doctor x", 2, "expected no operand, found \"x\", see `pgenrm doctor --help`");
    ran r = run_to("pgenrm doctor --quick --store $SCRATCH/none.db", 0, "");
    assert_non_null(strstr(r.out, "ready: try"));
    assert_non_null(strstr(r.out, "none yet"));
    run_free(&r);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {T(test_what_is_there), T(test_what_is_missing), T(test_addresses),
                                       T(test_held_back),     T(test_damaged),         T(test_for_people)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
