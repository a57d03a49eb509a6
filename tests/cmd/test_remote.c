/* test_remote.c - commands whose model is an address: what a server answers is what they print, and what cannot be done
 * with one is refused in a line. */
#include "../net/chat_server.h"
#include "run_program.h"

/* The command with $URL for the address. */
static ran ask(const chat_server *f, const char *command, int status, const char *says) {
    char line[600];
    snprintf(line, sizeof line, "export URL=%s; %s", f->url, command);
    return run_to(line, status, says);
}

static void begin(chat_server *f) {
    *f = (chat_server){.texts = {"Total: A 7, B 4"}, .n = 1};
    chat_begin(f, "someone");
}

static void test_answers(void **state) {
    (void)state;
    chat_server f;
    begin(&f);
    ran r = ask(&f, "pgenrm generate -q -m $URL 'How many?'", 0, "");
    assert_string_equal(r.out, "Total: A 7, B 4\n");
    run_free(&r);
    r = ask(&f,
            "PGENRM_API_KEY=word pgenrm score -q -m $URL --frame judge --ind 2 --no-swap --json examples/request.json",
            0, "");
    assert_non_null(strstr(r.out, "\"best\":0"));
    assert_non_null(strstr(r.out, "\"model\":\"m at http://127.0.0.1:"));
    assert_non_null(strstr(r.out, "\"parsed\":2"));
    asked last;
    assert_true(server_asked(f.s, "/v1/chat/completions", &last) > 3);
    assert_string_equal(last.authorization, "Bearer word");
    run_free(&r);
    server_stop(f.s);
}

/* A run that is kept, and goes on: at an address it knows the model by its name. */
static void test_kept_run(void **state) {
    (void)state;
    chat_server f;
    begin(&f);
    ran r = ask(&f,
                "D=$(mktemp -d); for how in -q --resume; do pgenrm bench -q $how -m $URL --frame judge --ind 2 "
                "--methods p-genrm "
                "--limit 2 --out $D/o examples/choices.jsonl || exit 1; done; "
                "grep -Eq '\"fingerprint\": ?null' $D/o/plan.json && rm -r $D",
                0, "");
    assert_true(server_asked(f.s, "/v1/chat/completions", NULL) > 3);
    run_free(&r);
    server_stop(f.s);
}

static void test_refusals(void **state) {
    (void)state;
    chat_server f;
    begin(&f);
    ran r = ask(&f, "pgenrm score -q -m $URL --frame compact examples/request.json", 1, "reads distributions at slots");
    run_free(&r);
    r = ask(&f, "pgenrm score -q -m $URL --lora a examples/request.json", 2, "adapters are loaded by the server");
    run_free(&r);
    r = ask(&f, "pgenrm score -q -m $URL --remote-model other examples/request.json", 1,
            "found model m, expected other");
    run_free(&r);
    r = ask(&f, "pgenrm score -q -m $URL --remote-budget 20 --frame judge examples/request.json", 1,
            "a budget of 20 tokens");
    run_free(&r);
    r = ask(&f, "pgenrm inspect $URL", 2, "this needs a model's files");
    run_free(&r);
    hub_route *chat = server_route(f.s, "/v1/chat/completions", "", 0);
    chat->faults = 100;
    chat->fault_status = 401;
    r = ask(&f, "pgenrm generate -q -m $URL 'How many?'", 1, "/v1/chat/completions: HTTP status 401: oops");
    run_free(&r);
    server_stop(f.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_kept_run),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
