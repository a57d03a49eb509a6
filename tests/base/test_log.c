/* test_log.c - levels, whole lines, long lines. */
#include "faults.h"

#include "base/log.h"
#include "base/text.h"
#include "capture.h"
#include "pgenrm.h"

static void writes_by_level(void **state) {
    (void)state;
    capture c;
    capture_begin(&c);
    log_at(LOG_ERROR, "e%d", 1);
    log_warn("w");
    log_info("hidden");
    pgr_log_level(3);
    log_debug("d");
    pgr_log_level(0);
    log_warn("hidden");
    pgr_log_level(1);
    assert_string_equal(capture_end(&c), "pgenrm: error: e1\npgenrm: warning: w\npgenrm: debug: d\n");
}

static void cuts_long_lines_at_a_character(void **state) {
    (void)state;
    capture c;
    for (int pad = 0; pad < 3; pad++) {
        char text[3100];
        memset(text, 'x', (size_t)pad);
        for (size_t i = 0; i < 1000; i++) memcpy(text + pad + 3 * i, "\xE2\x82\xAC", 4);
        capture_begin(&c);
        log_warn("%s", text);
        size_t n = strlen(capture_end(&c));
        assert_in_range(n, 1000, 1024);
        assert_true(utf8_valid(c.text, n));
        assert_int_equal(c.text[n - 1], '\n');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_by_level),
        cmocka_unit_test(cuts_long_lines_at_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
