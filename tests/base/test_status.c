/* test_status.c - messages fit, stay on one line and may quote themselves; status texts are complete. */
#include "faults.h"

#include "base/status.h"
#include "base/text.h"

static void names_every_status(void **state) {
    (void)state;
#define X(name, value, text) assert_string_equal(pgr_status_text(PGR_##name), text);
    PGR_STATUS_MAP(X)
#undef X
    assert_string_equal(pgr_status_text((pgr_status)-999), "unknown status");
}

static void writes_the_message(void **state) {
    (void)state;
    pgr_error err;
    assert_int_equal((fail)(&err, PGR_E_FORMAT, "tensor %s has %d columns, expected %d", "w", 3, 4), PGR_E_FORMAT);
    assert_int_equal(err.status, PGR_E_FORMAT);
    assert_string_equal(err.message, "tensor w has 3 columns, expected 4");
    (fail)(&err, PGR_E_IO, "model.gguf: %s", err.message); /* an argument inside err itself */
    assert_string_equal(err.message, "model.gguf: tensor w has 3 columns, expected 4");
    assert_int_equal((fail)(NULL, PGR_E_ARG, "nobody listens"), PGR_E_ARG);
    assert_int_equal(fail_mem(&err), PGR_E_MEM);
    assert_string_equal(err.message, "out of memory");
}

static void keeps_to_one_valid_line(void **state) {
    (void)state;
    pgr_error err;
    (fail)(&err, PGR_E_IO, "a\nb\x1b[31m\x7f: bad");
    assert_string_equal(err.message, "a b [31m : bad");
    for (size_t pad = 0; pad < 4; pad++) { /* cut at every place inside a three-byte character */
        char name[1024] = "";
        memset(name, 'x', pad);
        for (size_t i = 0; i < 300; i++) memcpy(name + pad + 3 * i, "\xE2\x82\xAC", 4);
        (fail)(&err, PGR_E_IO, "%s", name);
        assert_true(utf8_valid(err.message, strlen(err.message)));
        assert_in_range(strlen(err.message), sizeof err.message - 3, sizeof err.message - 1);
    }
    (fail)(&err, PGR_E_IO, "%.2s: %.2s, %.3s", "\xE2\x82\xAC", "a\xC3\xA9", "\xff\xfe\xC3\xA9"); /* cut by a format */
    assert_string_equal(err.message, "?: a?, ?");
    (fail)(&err, PGR_E_IO, "caf\xe9.gguf: \xC3\xA9"); /* a name in Latin-1 */
    assert_string_equal(err.message, "caf?.gguf: \xC3\xA9");
}

static pgr_status passes(void) {
    return PGR_OK;
}
static pgr_status two_steps(int *reached, pgr_error *err) {
    PGR_TRY(passes());
    *reached = 1;
    PGR_TRY((fail)(err, PGR_E_LIMIT, "no"));
    *reached = 2;
    return PGR_OK;
}

static void try_returns_the_first_error(void **state) {
    (void)state;
    pgr_error err;
    int reached = 0;
    assert_int_equal(two_steps(&reached, &err), PGR_E_LIMIT);
    assert_int_equal(reached, 1);
    pgr_free(mem_strdup("handed over"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_every_status),
        cmocka_unit_test(writes_the_message),
        cmocka_unit_test(keeps_to_one_valid_line),
        cmocka_unit_test(try_returns_the_first_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
