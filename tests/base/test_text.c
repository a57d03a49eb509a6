/* test_text.c - UTF-8 over every code point and the classic malformed forms; cutting; widths; nearest words. */
#include "faults.h"

#include "base/text.h"

static void every_code_point_round_trips(void **state) {
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char s[4];
        size_t n = utf8_put(s, c);
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;
        uint32_t got = 0;
        if (utf8_next(s, n, &got) != n || got != (surrogate ? 0xFFFD : c))
            fail_msg("U+%04X came back as U+%04X", c, got);
        for (size_t cut = 1; cut < n; cut++)
            if (utf8_next(s, cut, NULL) != 0 || utf8_complete(s, cut) != 0) fail_msg("U+%04X cut to %zu", c, cut);
        if (utf8_complete(s, n) != n) fail_msg("U+%04X is complete", c);
    }
    char s[4];
    assert_int_equal(utf8_put(s, 0x110000), 3);
    assert_memory_equal(s, "\xEF\xBF\xBD", 3);
}

static void refuses_malformed(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\x80",         "\xC0\x80",     "\xC1\xBF",         "\xE0\x80\x80",     "\xE0\x9F\xBF",
        "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80",
        "\xFF",         "\xC3(",        "\xE2\x82(",        "\xE2(\xAC"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(utf8_next(bad[i], strlen(bad[i]), NULL), 0);
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    }
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid("na\xC3\xAFve \xE2\x82\xAC \xF0\x9F\x98\x80", 15));
    assert_false(utf8_valid("ok\xC3", 3));
}

static void cuts_at_characters(void **state) {
    (void)state;
    static const char s[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z"; /* 1 + 2 + 3 + 4 + 1 */
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    for (size_t n = 0; n <= 11; n++) {
        assert_int_equal(utf8_complete(s, n), want[n]);
        assert_int_equal(utf8_clip(s, 11, n), want[n]);
    }
    assert_int_equal(utf8_clip(s, 3, 100), 3);
    assert_int_equal(utf8_complete("\x80\x80\x80\x80\x80", 5), 5); /* will never be a character: let it pass */
    assert_int_equal(utf8_clip("\x80\x80\x80\x80\x80\x80", 6, 5), 5);
    assert_int_equal(utf8_complete("a\xFF", 2), 2);
}

static int width(const char *s) {
    return text_width(s, strlen(s));
}

static void measures_columns(void **state) {
    (void)state;
    assert_int_equal(width(""), 0);
    assert_int_equal(width("plain"), 5);
    assert_int_equal(width("na\xC3\xAFve"), 5);
    assert_int_equal(width("e\xCC\x81"), 1);                /* e and a combining acute */
    assert_int_equal(width("\xE4\xBD\xA0\xE5\xA5\xBD"), 4); /* two Han characters */
    assert_int_equal(width("\xF0\x9F\x98\x80"), 2);         /* an emoji */
    assert_int_equal(width("\xED\x95\x9C"), 2);             /* a Hangul syllable */
    assert_int_equal(width("\xEF\xBC\xA1"), 2);             /* a full-width A */
    assert_int_equal(width("\xE2\x82\xAC\xE2\x94\x80"), 2); /* euro sign, a box line */
    assert_int_equal(width("a\x1b\n"), 1);
    assert_int_equal(width("\xFFx"), 2);
}

static void finds_the_nearest(void **state) {
    (void)state;
    static const char *const keys[] = {"history", "responses", "query", "chosen", "rejected", "id", "seed", NULL};
    static const char *const none[] = {NULL};
    assert_string_equal(text_nearest("histroy", keys), "history"); /* a swap counts once */
    assert_string_equal(text_nearest("response", keys), "responses");
    assert_string_equal(text_nearest("Query", keys), "query");
    assert_string_equal(text_nearest("chosne", keys), "chosen");
    assert_string_equal(text_nearest("ID", keys), "id");
    assert_string_equal(text_nearest("sed", keys), "seed");
    assert_string_equal(text_nearest("quzy", keys), "query"); /* two of four letters: thirds round up */
    assert_null(text_nearest("euer", keys));                  /* ... where the word begins alike */
    assert_null(text_nearest("temperature", keys));
    assert_null(text_nearest("user", keys));
    assert_null(text_nearest("x", keys));
    assert_null(text_nearest("", keys));
    assert_null(text_nearest("id", none));
    char word[200] = "";
    memset(word, 'a', 150);
    assert_null(text_nearest(word, keys));
}

static void sees_prefixes(void **state) {
    (void)state;
    assert_true(text_starts("general.name", "general."));
    assert_true(text_starts("x", ""));
    assert_false(text_starts("gen", "general"));
    assert_true(text_is_ascii("a\x7f\n", 3));
    assert_true(text_is_ascii("\xc3", 0));
    assert_false(text_is_ascii("a\x80", 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_round_trips),
        cmocka_unit_test(refuses_malformed),
        cmocka_unit_test(cuts_at_characters),
        cmocka_unit_test(measures_columns),
        cmocka_unit_test(finds_the_nearest),
        cmocka_unit_test(sees_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
