/* Regular expressions as grammars: what they match, all of the text or nothing, and what is refused by its name. */
#include "../base/faults.h"

#include "infer/grammar.h"
#include "serve/regex.h"

static pgr_status compile(const char *regex, grammar **out, pgr_error *err) {
    buf text = {0};
    pgr_status s = regex_grammar(regex, strlen(regex), "regex", &text, err);
    if (s == PGR_OK) s = grammar_compile(text.data, text.n, "regex", out, err);
    buf_free(&text);
    return s;
}

static bool accepts(grammar *g, const char *text) {
    int state;
    assert_int_equal(grammar_walk(g, grammar_start(g), text, strlen(text), &state, NULL), PGR_OK);
    return state != GRAMMAR_DEAD && grammar_accepts(g, state);
}

static void matches_the_whole_text(void **state) {
    (void)state;
    static const struct {
        const char *regex, *yes[6], *no[6];
    } rows[] = {
        {"abc", {"abc"}, {"ab", "abcd", ""}},
        {"^abc$", {"abc"}, {"^abc$"}},
        {"^a|b$", {"a", "b"}, {"ab"}},
        {"\\Aa\\Z", {"a"}, {"aa"}},
        {"", {""}, {"a"}},
        {"a|", {"a", ""}, {"b"}},
        {"(a|bc)d", {"ad", "bcd"}, {"d", "abcd"}},
        {"(?:a(?P<x>b)?)+(?<y>c)", {"ac", "ababc", "aac"}, {"c", "bc"}},
        {"a*b+c?", {"b", "aabbc"}, {"a", "bcc"}},
        {"a*?b+?c??", {"b", "aabbc"}, {"a"}},
        {"a{2}b{1,}c{,2}d{1,2}", {"aabd", "aabbccdd"}, {"abd", "aad", "aabcccd"}},
        {"a{,}", {"a{,}"}, {"", "aa"}}, /* no repeat: itself */
        {"{x}", {"{x}"}, {"x"}},
        {"[a-cx]", {"a", "b", "x"}, {"d", "-", ""}},
        {"[^a-c]", {"d", "\n", "\xC3\xA9"}, {"a", ""}},
        {"[]a]", {"]", "a"}, {"b"}},
        {"[^]]", {"a"}, {"]"}},
        {"[a-]", {"a", "-"}, {"b"}},
        {"[\\d.\\-_]+", {"1.5-2_"}, {"a"}},
        {"[\\w\\s]+", {"a_1 B\n"}, {"-", ""}},
        {"[^\\S\\n]", {" ", "\t"}, {"\n", "a"}},
        {"[\\s\\S]", {"a", "\n"}, {"", "ab"}},
        {"\\d\\D\\w\\W\\s\\S", {"1x_- y"}, {"xx_- y", "1x_-  "}},
        {".", {"a", "\xE2\x82\xAC", "\""}, {"\n", ""}},
        {"\\.\\*\\\\\\[\\(\\/\\\"", {".*\\[(/\""}, {"a"}},
        {"\\x41\\u00e9\\U0001F600\\t", {"A\xC3\xA9\xF0\x9F\x98\x80\t"}, {"A"}},
        {"caf\xC3\xA9+", {"caf\xC3\xA9\xC3\xA9"}, {"cafe"}},
        {"\"quoted\" \\\\ [^\"\\\\]", {"\"quoted\" \\ x"}, {"\"quoted\" \\ \""}},
        {"(19|20)\\d{2}-(0[1-9]|1[0-2])", {"2026-11"}, {"1826-11", "2026-13"}},
        {"-?(0|[1-9]\\d*)(\\.\\d+)?([eE][+-]?\\d+)?", {"-0.5e3", "10"}, {"01", "1."}},
        {"[\\w.+-]+@[\\w-]+\\.[a-z]{2,}", {"a.b+c@d-e.org"}, {"a@b", "@b.org"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        grammar *g = NULL;
        pgr_error err = {0};
        if (compile(rows[i].regex, &g, &err) != PGR_OK) fail_msg("%s: %s", rows[i].regex, err.message);
        for (size_t k = 0; k < 6 && rows[i].yes[k]; k++)
            if (!accepts(g, rows[i].yes[k])) fail_msg("%s: refuses %s", rows[i].regex, rows[i].yes[k]);
        for (size_t k = 0; k < 6 && rows[i].no[k]; k++)
            if (accepts(g, rows[i].no[k])) fail_msg("%s: takes %s", rows[i].regex, rows[i].no[k]);
        grammar_unref(g);
    }
}

static void refuses_by_name(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"a(?=b)", "looking around"},
        {"a(?!b)", "looking around"},
        {"(?<=a)b", "looking around"},
        {"(?<!a)b", "looking around"},
        {"(a)\\1", "references back"},
        {"\\bword", "borders of words"},
        {"\\p{L}", "classes of Unicode"},
        {"(?i)a", "flags"},
        {"(?>a)", "flags"},
        {"[[:alpha:]]", "named classes"},
        {"a++", "give nothing back"},
        {"a**", "repeat of a repeat"},
        {"a{2}{3}", "repeat of a repeat"},
        {"*a", "something to repeat"},
        {"(|+)", "something to repeat"},
        {"a)", "expected ("},
        {"(a", "expected )"},
        {"[a", "expected ]"},
        {"[", "expected ]"},
        {"[z-a]", "range"},
        {"[\\d-z]", "range"},
        {"a{3,2}", "{least,most}"},
        {"a{999999}", "at most"},
        {"a\\", "behind \\"},
        {"\\q", "unknown escape"},
        {"\\xZZ", "hex digits"},
        {"\\ud800", "no character"},
        {"a^b", "^ and $"},
        {"(^a)", "^ and $"},
        {"a$b", "^ and $"},
        {"[^\\s\\S]", "nothing in it"},
        {"(?P<n", "expected >"},
        {"\xFF", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        grammar *g = NULL;
        pgr_error err = {0};
        pgr_status s = compile(rows[i][0], &g, &err);
        if ((s != PGR_E_UNSUPPORTED && s != PGR_E_FORMAT) || !strstr(err.message, rows[i][1])
            || strncmp(err.message, "regex: byte ", 12) != 0)
            fail_msg("%s: %d %s", rows[i][0], s, err.message);
    }
    char deep[200];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    grammar *g = NULL;
    assert_int_equal(compile(deep, &g, NULL), PGR_E_UNSUPPORTED);
}

static bool with_faults(void) {
    grammar *g = NULL;
    pgr_status s = compile("(a|[^b-d])+\\d{2,3}", &g, NULL);
    grammar_unref(g);
    return s == PGR_OK;
}

static void without_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(with_faults) > 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(matches_the_whole_text), cmocka_unit_test(refuses_by_name),
                                       cmocka_unit_test(without_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
