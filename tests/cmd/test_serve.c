/* test_serve.c - `pgenrm serve` from its start to its end; its routes are tested in tests/serve. */
#include "run_program.h"

/* Started in the background; what follows runs when it is ready, with $PID, and its exit status is the command's. A
 * file of an earlier one must not say that it is: what is then sent to it would come before it listens to signals. */
#define SERVE                                                                                                          \
    "rm -f \"$SCRATCH\"/serve; pgenrm serve --listen 127.0.0.1:0 --lora none 2>\"$SCRATCH\"/serve & PID=$!; "          \
    "until grep -qs ready \"$SCRATCH\"/serve; do kill -0 $PID || break; sleep 0.05; done; "
#define WAIT "wait $PID; STATUS=$?; cat \"$SCRATCH\"/serve >&2; exit $STATUS"

static void stops_in_peace(void **state) {
    (void)state;
    ran r = run_to(SERVE "kill -TERM $PID; " WAIT, 0, "listening on http://127.0.0.1:");
    assert_non_null(strstr(r.err, "pgenrm: ready\n"));
    run_free(&r);
    r = run_to(SERVE "kill -INT $PID; " WAIT, 0, "ready");
    run_free(&r);
}

static void says_why_not(void **state) {
    (void)state;
    static const struct {
        const char *command, *says;
        int status;
    } rows[] = {
        {"pgenrm serve --listen 0.0.0.0:0", "is not loopback, expected a file of tokens", 2},
        {"pgenrm serve --listen nowhere", "expected ADDRESS:PORT", 2},
        {"pgenrm serve --listen 127.0.0.1:0 --token-file /nowhere/tokens", "/nowhere/tokens", 1},
        {"pgenrm serve --listen 127.0.0.1:0 -m /nowhere/model.gguf", "/nowhere/model.gguf", 1},
        {"pgenrm serve something", "found 'something', expected no operand", 2},
        {"pgenrm serve --deadline 0", "--deadline", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ran r = run_to(rows[i].command, rows[i].status, rows[i].says);
        run_free(&r);
    }
}

static void explains_itself(void **state) {
    (void)state;
    ran r = run_to("pgenrm serve --help", 0, "");
    assert_non_null(strstr(r.out, "--token-file FILE"));
    assert_non_null(strstr(r.out, "pgenrm serve --listen"));
    run_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(stops_in_peace), cmocka_unit_test(says_why_not),
                                       cmocka_unit_test(explains_itself)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
