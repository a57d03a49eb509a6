/* test_progress.c - the exact bytes that a progress bar writes into a pipe, with a clock that the test turns. */
#include "faults.h"

#include <unistd.h>

#include "base/progress.h"
#include "base/text.h"
#include "capture.h"

static double now;
static double now_of_test(void *ctx) {
    (void)ctx;
    return now;
}

static pgr_progress_bar *bar_with(progress_style style, bool color, int columns) {
    progress_options o = {.style = style, .fd = STDERR_FILENO, .color = color, .columns = columns, .now = now_of_test};
    now = 100;
    return progress_create(&o);
}

static void at(pgr_progress_bar *b, double time, const char *label, uint64_t done, uint64_t total) {
    now = 100 + time;
    pgr_progress_bar_update(b, label, done, total, "chains");
}

static void short_steps_show_nothing(void **state) {
    (void)state;
    static const progress_style styles[] = {PROGRESS_LOG, PROGRESS_TERMINAL};
    for (int i = 0; i < 2; i++) {
        capture c;
        capture_begin(&c);
        pgr_progress_bar *b = bar_with(styles[i], true, 80);
        at(b, 0, "prefill", 0, 10);
        at(b, 1.9, "prefill", 9, 10);
        at(b, 1.95, "prefill", 10, 10);
        at(b, 2.5, "judge", 0, 10); /* each step has its own two seconds */
        at(b, 4.4, "judge", 1, 10);
        pgr_progress_bar_free(b);
        assert_string_equal(capture_end(&c), "");
    }
}

static void a_log_gets_plain_lines(void **state) {
    (void)state;
    capture c;
    capture_begin(&c);
    pgr_progress_bar *b = bar_with(PROGRESS_LOG, true, 0);
    for (int i = 0; i <= 120; i++) at(b, i * 0.1, "judge", (uint64_t)i, 240);
    at(b, 12.5, "write", 0, 0); /* a new label ends the step */
    at(b, 15.0, "write", 5, 0);
    now = 116.5;
    pgr_progress_bar_free(b);
    assert_string_equal(capture_end(&c), "judge: 20/240 chains  10 chains/s  0:22 left\n"
                                         "judge: 70/240 chains  10 chains/s  0:17 left\n"
                                         "judge: 120/240 chains  10 chains/s  0:12 left\n"
                                         "judge: 120 chains of 240 in 0:13 (9.60 chains/s)\n"
                                         "write: 5 chains  2 chains/s\n"
                                         "write: 5 chains in 0:04 (1.25 chains/s)\n");
}

static void a_terminal_gets_one_line(void **state) {
    (void)state;
    capture c;
    capture_begin(&c);
    pgr_progress_bar *b = bar_with(PROGRESS_TERMINAL, false, 60);
    at(b, 0, "judge", 0, 40);
    at(b, 2, "judge", 10, 40);
    at(b, 2.05, "judge", 11, 40); /* too soon to draw again */
    at(b, 4, "judge", 20, 40);
    at(b, 8, "judge", 40, 40);
    at(b, 9, "judge", 40, 40); /* ended: nothing more */
    pgr_progress_bar_free(b);
    assert_string_equal(capture_end(&c), "\rjudge  [###-----------] 10/40 chains  5 chains/s  0:06 left\x1b[K"
                                         "\rjudge  [#######-------] 20/40 chains  5 chains/s  0:04 left\x1b[K"
                                         "\rjudge: 40 chains in 0:08 (5 chains/s)\x1b[K\n");
}

/* No drawing is wider than the terminal less one column, whatever its size and the label. */
static void fits_every_width(void **state) {
    (void)state;
    for (int columns = 1; columns < 160; columns++) {
        capture c;
        capture_begin(&c);
        pgr_progress_bar *b = bar_with(PROGRESS_TERMINAL, false, columns);
        const char *label = "\xE4\xBD\xA0\xE5\xA5\xBD a long label\nwith \xE2\x82\xAC";
        at(b, 0, label, 0, 40);
        at(b, 3, label, 10, 40);
        at(b, 3, label, 39, 40); /* the same moment: not drawn */
        const char *text = capture_end(&c);
        assert_int_equal(text[0], '\r');
        const char *end = strstr(text, "\x1b[K");
        assert_non_null(end);
        assert_true(utf8_valid(text, strlen(text)));
        int width = text_width(text + 1, (size_t)(end - text - 1));
        if (width > (columns > 1 ? columns - 1 : 1)) fail_msg("%d columns in a terminal of %d", width, columns);
        capture_begin(&c);
        pgr_progress_bar_free(b);
        capture_end(&c);
    }
}

static void color_only_where_allowed(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    progress_options o = progress_options_for(ends[1], false, "xterm", NULL);
    assert_int_equal(o.style, PROGRESS_LOG); /* a pipe is no terminal */
    assert_int_equal(progress_options_for(ends[1], true, "xterm", NULL).style, PROGRESS_QUIET);
    assert_true(progress_options_for(ends[1], false, "xterm", "").color);
    assert_false(progress_options_for(ends[1], false, "xterm", "1").color);
    close(ends[0]), close(ends[1]);

    int terminal = posix_openpt(0x2 /* O_RDWR */);
    if (terminal >= 0 && isatty(terminal)) {
        assert_int_equal(progress_options_for(terminal, false, "xterm", NULL).style, PROGRESS_TERMINAL);
        assert_int_equal(progress_options_for(terminal, false, "dumb", NULL).style, PROGRESS_LOG);
        assert_int_equal(progress_options_for(terminal, false, NULL, NULL).style, PROGRESS_LOG);
    }
    if (terminal >= 0) close(terminal);

    for (int color = 0; color < 2; color++) {
        capture c;
        capture_begin(&c);
        pgr_progress_bar *b = bar_with(PROGRESS_TERMINAL, color, 80);
        at(b, 0, "judge", 0, 40);
        at(b, 3, "judge", 10, 40);
        pgr_progress_bar_free(b);
        assert_int_equal(strstr(capture_end(&c), "\x1b[32m") != NULL, color);
    }
}

static void counts_bytes_and_new_bars(void **state) {
    (void)state;
    capture c;
    capture_begin(&c);
    pgr_progress_bar *b = bar_with(PROGRESS_LOG, false, 0);
    pgr_progress_bar_update(b, "load", 0, 3ull << 30, "B");
    now += 4000;
    pgr_progress_bar_update(b, "load", 4096000, 3ull << 30, "B");
    now += 1;
    pgr_progress_bar_update(b, "load", 0, 100, "B"); /* back to the beginning: a new bar, its own two seconds */
    now += 1;
    pgr_progress_bar_update(b, NULL, 50, 100, NULL);
    pgr_progress_bar_free(b);
    assert_string_equal(capture_end(&c), "load: 3.9 MiB/3.0 GiB  1.0 KiB/s  99:59:59 left\n"
                                         "load: 3.9 MiB of 3.0 GiB in 1:06:41 (1024 B/s)\n");
}

static void quiet_and_missing_bars_are_silent(void **state) {
    (void)state;
    capture c;
    capture_begin(&c);
    pgr_progress_bar *b = bar_with(PROGRESS_QUIET, true, 80);
    at(b, 0, "judge", 0, 40);
    at(b, 60, "judge", 10, 40);
    at(NULL, 60, "judge", 10, 40);
    pgr_progress_bar_free(b);
    pgr_progress_bar_free(NULL);
    b = pgr_progress_bar_create(false); /* the real clock: over at once */
    pgr_progress_bar_update(b, "judge", 1, 2, "chains");
    pgr_progress_bar_free(b);
    assert_string_equal(capture_end(&c), "");
    mem_fail_nth(1);
    b = pgr_progress_bar_create(false);
    mem_fail_nth(0);
    assert_null(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_steps_show_nothing),          cmocka_unit_test(a_log_gets_plain_lines),
        cmocka_unit_test(a_terminal_gets_one_line),          cmocka_unit_test(fits_every_width),
        cmocka_unit_test(color_only_where_allowed),          cmocka_unit_test(counts_bytes_and_new_bars),
        cmocka_unit_test(quiet_and_missing_bars_are_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
