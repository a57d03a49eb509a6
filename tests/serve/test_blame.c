/* test_blame.c - the field that an error's message names is a request's `param`, and only where the request has it. */
#include "../base/faults.h"

#include "serve/blame.h"

static void test_fields(void **state) {
    (void)state;
    static const struct {
        const char *message, *field; /* NULL: none */
    } rows[] = {
        {"body: user.history[12].chosen: found nothing, expected a string", "user.history[12].chosen"},
        {"responses: found 1, expected 2 to 26", "responses"},
        {"body: unknown key \"respones\", expected perhaps \"responses\"", "respones"},
        {"responses.grammar:3: found x, expected a rule", "responses.grammar"},
        {"body: history[0].chosen: found an integer, expected a string", "chosen"}, /* of a pair that is fed back */
        {"body:1: found end of file, expected a value", NULL},
        {"body: found neither `query` nor `messages`, expected one of them", NULL},
        {"body: ind is 0, expected 1 to 1024 chains", NULL},
        {"body: unknown key \"", NULL},
        {"sample: messages: found an empty array", NULL}, /* the request's own name for it is another */
        {"config.json: r: found 0", NULL},
        {"/tmp/responses: No such file or directory", NULL},
        {"responses[x]: found", NULL},
        {"responses", NULL},
        {"responses:", NULL},
        {"", NULL},
    };
    json_t *body = json_loads("{\"user\": {}, \"responses\": [], \"respones\": 1, \"chosen\": 2, \"ind\": 0}", 0, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char field[40];
        bool found = blame_field(body, rows[i].message, field, sizeof field);
        if (found != (rows[i].field != NULL) || (found && strcmp(field, rows[i].field) != 0))
            fail_msg("%s\n%s, expected %s", rows[i].message, found ? field : "none",
                     rows[i].field ? rows[i].field : "none");
    }
    char small[10];
    assert_false(blame_field(body, "responses[1].a: found", small, sizeof small));
    assert_false(blame_field(NULL, "responses: found", small, sizeof small));
    json_decref(body);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fields)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
