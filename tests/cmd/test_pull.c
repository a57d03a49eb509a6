/* test_pull.c - `pgenrm pull` as a user meets it, against a hub of the test's own on 127.0.0.1. */
#include "../hub/hub_fixture.h"
#include "json_out.h"

#define MODEL "Qwen/Qwen3-0.6B" /* that of the example in the help */

static hub *h;

static int begin(void **state) {
    (void)state;
    h = hub_start(MODEL);
    if (make_folder(state)) return -1;
    setenv("HF_ENDPOINT", h->endpoint, 1);
    setenv("HF_TOKEN", "", 1);
    setenv("HF_HUB_OFFLINE", "0", 1);
    setenv("HF_HUB_CACHE", local(h, "cache"), 1);
    setenv("PGENRM_HOME", local(h, "home"), 1);
    setenv("no_proxy", "*", 1);
    return 0;
}

static int end(void **state) {
    hub_stop(h);
    return remove_folder(state);
}

/* Runs a command that is to end with the status; its one line on standard error, or none, has `says`. */
static ran pull_to(const char *command, int status, const char *says) {
    hub_settle(h);
    ran r = run_to(command, status, says);
    hub_settle(h);
    const char *stop = strchr(r.err, '\n');
    if (stop && stop[1]) fail_msg("%s\nfound more than a line: %s", command, r.err);
    return r;
}

static void assert_pull_ends(const char *command, int status, const char *says) {
    ran r = pull_to(command, status, says);
    assert_string_equal(r.out, "");
    run_free(&r);
}

static void assert_json(const char *command, const char *path, int files, int bytes, bool cached) {
    json_t *v = json_from(pull_to(command, 0, ""));
    assert_string_equal(json_string_value(json_object_get(v, "path")), path);
    assert_int_equal(json_integer_value(json_object_get(v, "files")), files);
    assert_int_equal(json_integer_value(json_object_get(v, "bytes")), bytes);
    assert_int_equal(json_is_true(json_object_get(v, "cached")), cached);
    assert_string_equal(json_string_value(json_object_get(v, "commit")), COMMIT);
    json_decref(v);
}

static void test_usage(void **state) {
    (void)state;
    assert_pull_ends("pgenrm pull", 2, "expected one ORG/NAME[@REVISION], see `pgenrm pull --help`");
    assert_pull_ends("pgenrm pull a/b c/d", 2, "expected one ORG/NAME[@REVISION]");
    assert_pull_ends("pgenrm pull --too x a/b", 2, "perhaps --to");
    assert_pull_ends("pgenrm pull ../x", 2, "\"../x\": expected ORG/NAME or ORG/NAME@REVISION");
}

static void test_example_of_the_help(void **state) {
    (void)state;
    add_small(h, "config.json", "{}", true);
    serve_list(h);
    char *example = example_of("pull");
    ran done = pull_to(example, 0, "");
    char want[200];
    snprintf(want, sizeof want, "%s\n", local(h, "home/" MODEL));
    assert_string_equal(done.out, want);
    assert_true(local_is(h, "home/" MODEL "/config.json", "{}", 2));
    run_free(&done);
    free(example);
    ran all = pull_to("pgenrm --help", 0, "");
    assert_non_null(strstr(all.out, "\n  pull "));
    run_free(&all);
}

static void test_json(void **state) {
    (void)state;
    char *weights = make_bytes(100000, 1), command[300], to[200];
    add_small(h, "config.json", "{}", true);
    add_small(h, "README.md", "text", true);
    add_large(h, "model.safetensors", weights, 100000, true);
    serve_list(h);
    snprintf(to, sizeof to, "%s", local(h, "to"));
    snprintf(command, sizeof command, "pgenrm pull --json --to %s " MODEL, to);
    assert_json(command, to, 2, 100002, false);
    assert_json(command, to, 2, 100002, true);
    snprintf(command, sizeof command, "HF_HUB_OFFLINE=1 pgenrm pull --json --to %s " MODEL, to);
    assert_json(command, to, 2, 100002, true);
    snprintf(command, sizeof command, "pgenrm pull --json --all --to %s " MODEL, to);
    assert_json(command, to, 3, 100006, false);
    snprintf(command, sizeof command, "pgenrm pull --json --include '*.md' --all --to %s " MODEL, to);
    assert_json(command, to, 1, 4, true);
    free(weights);
}

static void test_failures(void **state) {
    (void)state;
    assert_pull_ends("pgenrm pull -q " MODEL, 1,
                     "/api/models/" MODEL "/revision/main?blobs=true: HTTP status 404: no such model");
    assert_pull_ends("HF_HUB_OFFLINE=1 pgenrm pull " MODEL, 1,
                     "pgenrm: offline (HF_HUB_OFFLINE): " MODEL "@main is neither");
    hub_route *r = serve_list(h);
    r->faults = 1;
    r->fault_status = 401;
    assert_pull_ends("pgenrm pull " MODEL, 1, "HTTP status 401: no access without a token");
    char command[300];
    add_small(h, "config.json", "{}", true);
    serve_list(h);
    snprintf(command, sizeof command, "pgenrm pull --to %s " MODEL, write_text("file", "no folder"));
    assert_pull_ends(command, 1, "/file");
}

static void test_interrupted_and_resumed(void **state) {
    (void)state;
    char *weights = make_bytes(300000, 2);
    asked last;
    hub_route *r = add_large(h, "model.safetensors", weights, 300000, true);
    r->faults = 1;
    r->cut = 200000;
    r->stall_ms = 3000;
    serve_list(h);
    ran cut = run_interrupted("pgenrm pull " MODEL, local(h, "home/" MODEL "/model.safetensors.part"));
    hub_settle(h);
    assert_string_equal(cut.out, "");
    run_free(&cut);
    assert_true(local_exists(h, "home/" MODEL "/model.safetensors.part"));
    assert_false(local_exists(h, "home/" MODEL "/model.safetensors"));
    ran done = pull_to("pgenrm pull " MODEL, 0, "");
    run_free(&done);
    assert_true(local_is(h, "home/" MODEL "/model.safetensors", weights, 300000));
    assert_int_equal(server_asked(h->store, "/blobs/model.safetensors", &last), 2);
    assert_string_equal(last.range, "bytes=200000-");
    free(weights);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_usage), T(test_example_of_the_help), T(test_json), T(test_failures), T(test_interrupted_and_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
