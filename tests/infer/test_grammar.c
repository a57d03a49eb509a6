/* test_grammar.c - what grammars accept, against lists, against POSIX regular expressions on random grammars and
 * against the definition of UTF-8; distances against a search; token masks against walking each token; messages,
 * limits, memory. */
#include "../base/faults.h"

#include <regex.h>

#include "base/rng.h"
#include "base/text.h"
#include "infer/dfa.h" /* to fill the room for masks */
#include "infer/grammar.h"

static grammar *compile(const char *text) {
    grammar *g = NULL;
    pgr_error err = {0};
    if (grammar_compile(text, strlen(text), "test", &g, &err) != PGR_OK) fail_msg("%s\n%s", err.message, text);
    return g;
}

static int walk(grammar *g, const char *text, size_t n) {
    int state;
    pgr_error err;
    if (grammar_walk(g, grammar_start(g), text, n, &state, &err) != PGR_OK) fail_msg("%s", err.message);
    return state;
}

static bool accepts(grammar *g, const char *text) {
    return grammar_accepts(g, walk(g, text, strlen(text)));
}

/* ---- what is accepted ---- */

static void accepts_what_the_text_says(void **state) {
    (void)state;
    static const struct {
        const char *grammar, *yes[6], *no[6];
    } cases[] = {
        {"root ::= \"\"", {""}, {"a"}},
        {"root ::= \"a\"* \"b\"", {"b", "ab", "aaab"}, {"", "a", "ba", "abb"}},
        {"root::=(\"ab\"|\"cd\")+#comment", {"ab", "cdab"}, {"", "abc", "a"}},
        {"root ::= x{2}\nx ::= [ab]", {"ab", "bb"}, {"a", "aba", "ac"}},
        {"root ::= [a]{2,}", {"aa", "aaaaa"}, {"", "a", "aab"}},
        {"root ::= [a]{ 1 , 3 } \"\\n\"", {"a\n", "aaa\n"}, {"\n", "aaaa\n", "aa"}},
        {"root ::= \"a\"{0} \"b\"{0,1}", {"", "b"}, {"a", "bb"}},
        {"root ::= [-a^]+ [a-]", {"--", "^a", "a-^-"}, {"-", "b-", "a^"}},
        {"root ::= [^-^]", {"a", "\xC3\xA9"}, {"-", "^", ""}},
        {"root ::= [\\]\\[\\\\\\^\\-\\n]{6}", {"][\\^-\n"}, {"][\\^-n"}},
        {"root ::= \"\\x41\\u00e9\\u20AC\\\"\\\\\"", {"A\xC3\xA9\xE2\x82\xAC\"\\"}, {"A"}},
        {"root ::= (\"a\"*)* (\"b\"? )+ \"\"*", {"", "aab", "bb"}, {"ba"}},
        {"a ::= b | c\r\nb ::= \"1\"\r\n\r\n\tc ::= \"2\" # x\r\nroot ::= a a", {"11", "12", "21"}, {"1", "13"}},
        {"root ::= \"a\" |\n # between\n\n \"b\" | (\n\"c\"\n|\n\"d\"\n)\nx ::= \"e\"",
         {"a", "b", "c", "d"},
         {"e", ""}},
        {"root ::= | \"a\"\n", {"", "a"}, {"aa"}},
        {"root ::= \"a\" [^\\x00-\\uFFFF\xF0\x90\x80\x80-\xF4\x8F\xBF\xBF]? \"b\" | [^\\x00-\xF4\x8F\xBF\xBF] \"c\"",
         {"ab"},
         {"c", "a"}},
        {"\xEF\xBB\xBFroot ::= \"<\" .{1,2} \">\"", {"<\n>", "<\xF0\x9F\x98\x80>>"}, {"<>", "<abc>", "<\xFF>"}},
        {"root ::= \"\\U0001F642\" [\\U0001F600-\\U0001F64F]?",
         {"\xF0\x9F\x99\x82", "\xF0\x9F\x99\x82\xF0\x9F\x98\x80"},
         {"\xF0\x9F\x98\x80", ""}},
        {"root ::= 1st _x -\n1st ::= \"a\"\n_x ::= \"b\"\n- ::= \"c\"", {"abc"}, {"ab"}},
        {"root ::= \"x\"\nlist ::= \"[\" list \"]\" | list list", {"x"}, {"[x]"}},
        {"root ::= \"\xF0\x9F\x98\x80\"+", {"\xF0\x9F\x98\x80\xF0\x9F\x98\x80"}, {"\xF0\x9F\x98", "\xF0\x9F\x98\x81"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        grammar *g = compile(cases[i].grammar);
        for (const char *const *t = cases[i].yes; *t; t++)
            if (!accepts(g, *t)) fail_msg("%s does not accept '%s'", cases[i].grammar, *t);
        for (const char *const *t = cases[i].no; *t; t++)
            if (accepts(g, *t)) fail_msg("%s accepts '%s'", cases[i].grammar, *t);
        grammar_unref(g);
    }
}

/* Every code point, one class per row, against the row's own rule. */
static bool not_a(uint32_t c) {
    return c != 'a';
}
static bool some(uint32_t c) {
    return (c >= 0x70 && c <= 0x90) || (c >= 0x7F0 && c <= 0x1010) || (c >= 0xD000 && c <= 0xF123) || c >= 0xFFF0;
}
static bool not_some(uint32_t c) {
    return !some(c);
}
static bool odd_ends(uint32_t c) {
    return (c >= 0x3B1 && c <= 0x3C9) || (c >= 0x10FF3 && c <= 0x4ABCD);
}

static void classes_hold_the_right_characters(void **state) {
    (void)state;
    static const struct {
        const char *grammar;
        bool (*in)(uint32_t);
    } cases[] = {
        {"root ::= [^a]", not_a},
        {"root ::= [\\x70-\\u0090\\u07f0-\\u1010\\uD000-\\uF123\\uFFF0-\xF4\x8F\xBF\xBF]", some},
        {"root ::= [^\\uFFF0-\xF4\x8F\xBF\xBF\\uD000-\\uF123\\x70-\\u0080\\u07f0-\\u1010\\u0081-\\u0090]", not_some},
        {"root ::= [\\u03B1-\\u03C9\xF0\x90\xBF\xB3-\xF1\x8A\xAF\x8D]", odd_ends},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        grammar *g = compile(cases[i].grammar);
        for (uint32_t c = 0; c <= 0x10FFFF; c++) {
            char bytes[4];
            if (c >= 0xD800 && c <= 0xDFFF) continue;
            if (grammar_accepts(g, walk(g, bytes, utf8_put(bytes, c))) != cases[i].in(c))
                fail_msg("%s is wrong for U+%04X", cases[i].grammar, (unsigned)c);
        }
        grammar_unref(g);
    }
}

/* Strings of up to four bytes around every boundary of the encoding. */
static void only_utf8_is_accepted(void **state) {
    (void)state;
    static const uint8_t edge[] = {0x00, 0x61, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                   0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    enum { N = sizeof edge };
    grammar *g = compile("root ::= [^\\n]{0,4}");
    for (size_t i = 0; i < (size_t)N * N * N * N; i++) {
        char s[4] = {(char)edge[i % N], (char)edge[i / N % N], (char)edge[i / N / N % N], (char)edge[i / N / N / N]};
        for (size_t n = 1; n <= 4; n++)
            if (grammar_accepts(g, walk(g, s, n)) != utf8_valid(s, n))
                fail_msg("%02X %02X %02X %02X, first %zu bytes", s[0] & 255, s[1] & 255, s[2] & 255, s[3] & 255, n);
    }
    grammar_unref(g);
}

/* ---- random grammars ---- */

/* Appends the same random expression over a, b, c in both notations. */
static void random_expression(rng *r, int depth, buf *text, buf *regex) {
    static const char *const classes[] = {"[ab]", "[a-c]", "[^a]", "[^bc]", "[c]"};
    static const char *const repeats[] = {"*", "+", "?", "{2}", "{1,}", "{0,2}", "{1,3}", "{2,3}"};
    size_t kind = rng_below(r, depth > 0 ? 6 : 2), n = 1 + rng_below(r, 3);
    if (kind == 0) {
        const char *class = classes[rng_below(r, 5)];
        buf_puts(text, class);
        buf_puts(regex, class);
    } else if (kind == 1) {
        buf_puts(text, "\"");
        for (size_t i = 0; i < n; i++) {
            char c = (char)('a' + rng_below(r, 3));
            buf_putc(text, c);
            buf_putc(regex, c);
        }
        buf_puts(text, "\"");
    } else {
        buf_puts(text, "(");
        buf_puts(regex, "(");
        for (size_t i = 0; i < (kind == 5 ? 1 : n); i++) {
            if (i) buf_puts(text, kind == 2 ? " | " : " ");
            if (i && kind == 2) buf_puts(regex, "|");
            random_expression(r, depth - 1, text, regex);
        }
        if (kind == 2 && rng_below(r, 4) == 0) {
            buf_puts(text, " | ");
            buf_puts(regex, "|");
        }
        const char *repeat = kind >= 4 ? repeats[rng_below(r, 8)] : "";
        buf_printf(text, ")%s", repeat);
        buf_printf(regex, ")%s", repeat);
    }
}

/* Fewest bytes to an accepting state, by breadth-first search. */
static size_t search_distance(grammar *g, int from) {
    enum { MAX = 20000 };
    static int queue[MAX];
    static size_t depth[MAX];
    static bool seen[MAX];
    size_t head = 0, n = 0;
    memset(seen, 0, sizeof seen);
    queue[n] = from;
    depth[n++] = 0;
    seen[from] = true;
    for (; head < n; head++) {
        if (grammar_accepts(g, queue[head])) return depth[head];
        for (int c = 0; c < 256; c++) {
            int to;
            assert_int_equal(grammar_step(g, queue[head], (uint8_t)c, &to, NULL), PGR_OK);
            if (to == GRAMMAR_DEAD || seen[to]) continue;
            assert_true(to < MAX && n < MAX);
            seen[to] = true;
            queue[n] = to;
            depth[n++] = depth[head] + 1;
        }
    }
    return SIZE_MAX;
}

/* How many bytes may follow, and the last of them. */
static int choices(grammar *g, int state, uint8_t *last) {
    int n = 0;
    for (int c = 0; c < 256; c++) {
        int to;
        assert_int_equal(grammar_step(g, state, (uint8_t)c, &to, NULL), PGR_OK);
        if (to == GRAMMAR_DEAD) continue;
        *last = (uint8_t)c;
        n++;
    }
    return n;
}

static void check_forced(grammar *g, int from) {
    buf out = {0};
    uint8_t byte;
    int to = from, state = from;
    assert_int_equal(grammar_forced(g, &to, &out, NULL), PGR_OK);
    for (size_t i = 0; i < out.n; i++) {
        assert_int_equal(choices(g, state, &byte), 1);
        assert_int_equal(byte, (uint8_t)out.data[i]);
        assert_false(grammar_accepts(g, state));
        assert_int_equal(grammar_step(g, state, byte, &state, NULL), PGR_OK);
    }
    assert_int_equal(state, to);
    assert_true(choices(g, to, &byte) != 1 || grammar_accepts(g, to));
    assert_int_equal(grammar_only_end(g, to), choices(g, to, &byte) == 0);
    buf_free(&out);
}

static void check_texts(grammar *g, regex_t *re, const char *expression) {
    char text[7];
    for (size_t n = 0; n <= 5; n++) {
        size_t count = 1;
        for (size_t i = 0; i < n; i++) count *= 3;
        for (size_t i = 0; i < count; i++) {
            size_t left = i;
            for (size_t k = 0; k < n; k++, left /= 3) text[k] = (char)('a' + left % 3);
            text[n] = '\0';
            bool want = regexec(re, text, 0, NULL, 0) == 0;
            int state = walk(g, text, n);
            if (grammar_accepts(g, state) != want) fail_msg("'%s' by %s: want %d", text, expression, want);
            assert_true(state != GRAMMAR_DEAD || grammar_distance(g, state) == SIZE_MAX);
        }
    }
}

static void random_grammars_equal_regular_expressions(void **state) {
    (void)state;
    rng r = {.seed = 7};
    for (int i = 0; i < 250; i++) {
        buf text = {0}, re = {0};
        regex_t compiled;
        buf_puts(&text, "root ::= ");
        buf_puts(&re, "^(");
        random_expression(&r, 3, &text, &re);
        buf_puts(&re, ")$");
        assert_int_equal(regcomp(&compiled, re.data, REG_EXTENDED | REG_NOSUB), 0);
        grammar *g = compile(text.data);
        check_texts(g, &compiled, text.data);
        for (int s = 0; s < (int)grammar_state_count(g) && s < 200; s++) {
            if (search_distance(g, s) != grammar_distance(g, s)) fail_msg("distance of state %d of %s", s, text.data);
            check_forced(g, s);
        }
        grammar_unref(g);
        regfree(&compiled);
        buf_free(&text);
        buf_free(&re);
    }
}

/* ---- rules that go round at their end ---- */

/* The same texts: over all of up to 7 letters, and the distance of every state is right. */
static void same_language(const char *round, const char *plain) {
    grammar *a = compile(round), *b = compile(plain);
    char text[9];
    size_t n_yes = 0;
    for (size_t n = 0; n <= 7; n++) {
        size_t count = 1;
        for (size_t i = 0; i < n; i++) count *= 3;
        for (size_t i = 0; i < count; i++) {
            size_t left = i;
            for (size_t k = 0; k < n; k++, left /= 3) text[k] = (char)('a' + left % 3);
            text[n] = '\0';
            bool want = accepts(b, text);
            if (accepts(a, text) != want) fail_msg("'%s': want %d from\n%s", text, want, round);
            n_yes += want;
        }
    }
    assert_in_range(n_yes, 1, 3000);
    for (int s = 0; s < (int)grammar_state_count(a); s++)
        if (search_distance(a, s) != grammar_distance(a, s)) fail_msg("distance of state %d of\n%s", s, round);
    grammar_unref(a);
    grammar_unref(b);
}

static void going_round_is_a_repeat(void **state) {
    (void)state;
    same_language("root ::= \"a\" root | \"b\"", "root ::= \"a\"* \"b\"");
    same_language("root ::= (\"a\" root)?", "root ::= \"a\"*");
    same_language("root ::= \"c\" x \"c\"\nx ::= \"a\" x | \"b\" (x | ) | \"\"", "root ::= \"c\" [ab]* \"c\"");
    same_language("root ::= x x\nx ::= \"a\" y | \"c\"\ny ::= \"b\" x | \"a\" y | \"b\"", /* through each other */
                  "root ::= (\"a\" \"a\"* \"b\")* (\"c\" | \"a\" \"a\"* \"b\") (\"a\" \"a\"* \"b\")* (\"c\" | \"a\" "
                  "\"a\"* \"b\")");
    same_language("root ::= y \"c\" | x\nx ::= \"a\" y\ny ::= \"b\" x | \"b\"", /* and used from outside of the round */
                  "root ::= (\"b\" \"a\")* \"b\" \"c\" | \"a\" (\"b\" \"a\")* \"b\"");
    same_language("root ::= root | \"a\" root | \"b\"",
                  "root ::= \"a\"* \"b\""); /* a round without a letter adds nothing */
    same_language("root ::= x{2}\nx ::= \"a\" x | \"b\"", "root ::= \"a\"* \"b\" \"a\"* \"b\"");
}

/* ---- holes ---- */

static void holes_stop_the_text(void **state) {
    (void)state;
    grammar *g = compile("root ::= \"t \" part* @sum \"\\n\" @end\npart ::= [0-9] @x \",\"?");
    pgr_error err;
    int s;
    /* "t " is forced, then digit or @sum: that is refused */
    assert_int_equal(grammar_walk(g, grammar_start(g), "t ", 2, &s, &err), PGR_E_FORMAT);
    assert_string_equal(err.message,
                        "test:1: hole @sum comes where other text may come too, expected it to be the only one");
    assert_int_equal(grammar_walk(g, grammar_start(g), "t ", 2, &s, &err), PGR_E_FORMAT);
    grammar_unref(g);

    g = compile("root ::= \"t \" [0-9] @sum \"\\n\" (@end | @x \"b\"{0})");
    assert_true(grammar_has_holes(g));
    assert_int_equal(grammar_distance(g, grammar_start(g)), 3 + GRAMMAR_HOLE_BYTES + 1 + GRAMMAR_HOLE_BYTES);
    buf out = {0};
    s = grammar_start(g);
    assert_int_equal(grammar_forced(g, &s, &out, &err), PGR_OK);
    assert_string_equal(out.data, "t ");
    assert_null(grammar_hole(g, s));
    assert_int_equal(grammar_step(g, s, '7', &s, &err), PGR_OK);
    assert_string_equal(grammar_hole(g, s), "sum");
    assert_false(grammar_accepts(g, s) || grammar_only_end(g, s));
    int same = s, dead;
    assert_int_equal(grammar_forced(g, &same, &out, &err), PGR_OK);
    assert_int_equal(same, s);
    assert_int_equal(grammar_step(g, s, '\n', &dead, &err), PGR_OK);
    assert_int_equal(dead, GRAMMAR_DEAD);
    assert_int_equal(grammar_after_hole(g, s, &s, &err), PGR_OK);
    assert_int_equal(grammar_walk(g, s, "\n", 1, &s, &err), PGR_E_FORMAT); /* two holes at once */
    buf_free(&out);
    grammar_unref(g);

    g = compile("root ::= @all");
    s = grammar_start(g);
    assert_string_equal(grammar_hole(g, s), "all");
    assert_int_equal(grammar_after_hole(g, s, &s, &err), PGR_OK);
    assert_true(grammar_only_end(g, s));
    grammar_unref(g);
}

/* ---- refusals ---- */

static void refuses(const char *text, pgr_status status, const char *message) {
    grammar *g = NULL;
    pgr_error err = {0};
    pgr_status s = grammar_compile(text, strlen(text), "g.gbnf", &g, &err);
    if (s != status || strcmp(err.message, message) != 0)
        fail_msg("%s\n%d %s\nwanted %d %s", text, s, err.message, status, message);
    assert_null(g);
}

static void errors_name_the_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "g.gbnf:1: found no rule root, expected one"},
        {"root", "g.gbnf:1: found the end, expected ::= after the rule's name"},
        {"root := \"a\"", "g.gbnf:1: found '=', expected ::= after the rule's name"},
        {"\n? ::= \"a\"", "g.gbnf:2: found '?', expected a rule's name (a rule goes on after | or in parentheses)"},
        {"root ::= \"a\"\n\nroot ::= \"b\"", "g.gbnf:3: found rule root a second time, the first is in line 1"},
        {"root ::= ",
         "g.gbnf:1: found the end, expected \"text\", [class], ., (group), a rule's name, <token> or @hole"},
        {"root ::= \"a\" ! \"b\"",
         "g.gbnf:1: found '!', expected \"text\", [class], ., (group), a rule's name, <token>, @hole, | or the line's "
         "end"},
        {"root ::= \"a\" )",
         "g.gbnf:1: found ')', expected \"text\", [class], ., (group), a rule's name, <token>, @hole, | or the line's "
         "end"},
        {"root ::= <|end", "g.gbnf:1: found the end, expected > at the end of the token's name"},
        {"root ::= <>", "g.gbnf:1: found the token <>, expected its text, as in <|im_end|>"},
        {"root ::= <[7]>", "g.gbnf:1: found the token <[7]>, expected its text, as in <|im_end|>"},
        {"root ::= \"\\U0011FFFF\"", "g.gbnf:1: found \\U0011FFFF, expected a character of at most 10FFFF"},
        {"root ::= \"\\U1F64\"", "g.gbnf:1: found '\"', expected eight hex digits after \\U"},
        {"root ::= (\"a\"\n", "g.gbnf:2: found the end, expected an item, | or ) at the end of the group"},
        {"root ::= \"a", "g.gbnf:1: found the end, expected \" at the end of the text"},
        {"root ::= \"a\\q\"", "g.gbnf:1: found 'q', expected one of n t r \\ \" [ ] ^ - xHH uHHHH UHHHHHHHH after "
                              "\\"},
        {"root ::= \"\\x4\"", "g.gbnf:1: found '\"', expected two hex digits after \\x"},
        {"root ::= \"\\u12\"", "g.gbnf:1: found '\"', expected four hex digits after \\u"},
        {"root ::= \"\\uD800\"", "g.gbnf:1: found \\uD800, which is half a surrogate pair, expected a character"},
        {"root ::= \"\xC3(\"", "g.gbnf:1: found byte 0xC3, expected UTF-8"},
        {"root ::= [", "g.gbnf:1: found the end, expected ] at the end of the class"},
        {"root ::= []", "g.gbnf:1: found ']', expected a character in the class (\\] for the bracket itself)"},
        {"root ::= \"a\"**",
         "g.gbnf:1: found '*', expected one repeat for an item (put parentheses around it for a second)"},
        {"root ::= \"a\"{}", "g.gbnf:1: found '}', expected a number, as in {2} {2,} {2,5}"},
        {"root ::= \"a\"{2", "g.gbnf:1: found the end, expected } at the end of the repeat"},
        {"root ::= \"a\"{3,2}", "g.gbnf:1: found the repeat {3,2}, expected the lower number first"},
        {"root ::= @", "g.gbnf:1: found the end, expected a hole's name after @"},
        {"root ::= \"a\" b", "g.gbnf:1: found b, expected the name of a rule of this grammar"},
        {"root ::= a\na ::= \"x\" (b)? \"z\"\nb ::= \"y\" | a",
         "g.gbnf:2: rule a refers to itself (line 3), expected that at its end only, or a repeat"},
        {"root ::= a\na ::= \"x\" | a{2}",
         "g.gbnf:2: rule a refers to itself (line 2), expected that at its end only, or a repeat"},
        {"root ::= \"x\" a\na ::= \"y\" a",
         "g.gbnf:2: rule a refers to itself and never ends, expected another way out"},
        {"root ::= \"x\"\nb ::= \"y\" @z", "g.gbnf:2: rule b has a hole, expected root to use it"},
        {"root ::= \"x\" [^\\x00-\xF4\x8F\xBF\xBF]+",
         "g.gbnf: the grammar allows no text at all, expected root to match something"},
        {"root ::= [\\uD7FF-\\uE000]{3} \"a\" | @h",
         "g.gbnf:1: hole @h comes where other text may come too, expected it to be the only one"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) refuses(cases[i].text, PGR_E_FORMAT, cases[i].message);
}

static void limits_hold(void **state) {
    (void)state;
    pgr_error err;
    int s;
    refuses("root ::= \"a\"{200001}", PGR_E_LIMIT, "g.gbnf:1: found a repeat of more than 200000 times");
    refuses("root ::= \"ab\"{99999} |\n\"a\"{9}", PGR_E_LIMIT,
            "g.gbnf:1: found an item of more than 200000 states, expected smaller repeats");
    /* doubling rules of the empty text make no states but 2^40 visits: they count as well */
    buf deep = {0};
    buf_puts(&deep, "root ::= r0\nr40 ::= \"\"\n");
    for (int i = 0; i < 40; i++) buf_printf(&deep, "r%d ::= r%d r%d\n", i, i + 1, i + 1);
    grammar *g = NULL;
    assert_int_equal(grammar_compile(deep.data, deep.n, "deep", &g, &err), PGR_E_LIMIT);
    buf_clear(&deep);
    buf_puts(&deep, "root ::= r0\nr5000 ::= \"x\"\n"); /* a chain of rules */
    for (int i = 0; i < 5000; i++) buf_printf(&deep, "r%d ::= \"a\"? r%d\n", i, i + 1);
    assert_int_equal(grammar_compile(deep.data, deep.n, "deep", &g, &err), PGR_E_LIMIT);
    buf_clear(&deep);
    buf_puts(&deep, "root ::= ");
    for (int i = 0; i < 100000; i++) buf_putc(&deep, '(');
    assert_int_equal(grammar_compile(deep.data, deep.n, "deep", &g, &err), PGR_E_LIMIT);
    buf_free(&deep);

    g = compile("root ::= \"a\"{199990}"); /* large, and fine */
    assert_int_equal(grammar_distance(g, grammar_start(g)), 199990);
    grammar_unref(g);

    g = compile("root ::= [ab]* \"a\" [ab]{17}"); /* 2^18 states */
    rng r = {.seed = 1};
    pgr_status status = PGR_OK;
    s = grammar_start(g);
    for (int i = 0; i < 200000 && status == PGR_OK; i++)
        status = grammar_step(g, s, (uint8_t)('a' + rng_below(&r, 2)), &s, &err);
    assert_int_equal(status, PGR_E_LIMIT);
    assert_int_equal(grammar_state_count(g), 50000);
    assert_string_equal(
        err.message,
        "test: the grammar has too many states (50000 so far), expected one with fewer overlapping repeats");
    grammar_unref(g);
}

static void a_dead_state_stays_dead(void **state) {
    (void)state;
    grammar *g = compile("root ::= \"a\"");
    int s = GRAMMAR_DEAD;
    buf out = {0};
    assert_int_equal(grammar_step(g, s, 'a', &s, NULL), PGR_OK);
    assert_int_equal(s, GRAMMAR_DEAD);
    assert_int_equal(grammar_forced(g, &s, &out, NULL), PGR_OK);
    assert_int_equal(s, GRAMMAR_DEAD);
    assert_true(!grammar_accepts(g, s) && !grammar_only_end(g, s) && !grammar_hole(g, s) && out.n == 0);
    assert_true(grammar_distance(g, s) == SIZE_MAX);
    assert_false(grammar_has_holes(g));
    grammar_unref(g);
    grammar_unref(NULL);
}

/* ---- the examples of docs/grammar.md ---- */

static void check_fence(const char *kind, char *body, grammar **g, int *counts) {
    pgr_error err = {0};
    if (strcmp(kind, "gbnf") == 0) {
        grammar_unref(*g);
        *g = compile(body);
        counts[0]++;
    } else if (strcmp(kind, "texts") == 0) {
        for (char *line = strtok(body, "\n"); line; line = strtok(NULL, "\n"), counts[1]++)
            if (accepts(*g, line + 2) != (line[0] == '+')) fail_msg("docs/grammar.md: %s", line);
    } else if (strcmp(kind, "refused") == 0) {
        grammar *none = NULL;
        int s;
        pgr_status status = grammar_compile(body, strlen(body), "example", &none, &err);
        if (status == PGR_OK) { /* a hole in the wrong place: found on the way */
            assert_non_null(strchr(body, '@'));
            status = grammar_walk(none, grammar_start(none), "total ", 6, &s, &err);
        }
        grammar_unref(none);
        char *want = strstr(body, "# example");
        assert_non_null(want);
        want[strcspn(want, "\n")] = '\0';
        assert_true(status < 0);
        assert_string_equal(err.message, want + 2);
        counts[2]++;
    } else
        fail_msg("docs/grammar.md: a fence of kind '%s'", kind);
}

static void the_documented_examples_hold(void **state) {
    (void)state;
    buf doc = {0};
    grammar *g = NULL;
    int counts[3] = {0};
    assert_int_equal(file_read(PGR_SOURCE_DIR "/docs/grammar.md", &doc, NULL), PGR_OK);
    for (char *p = doc.data; (p = strstr(p, "```"));) {
        char *body = strchr(p, '\n') + 1, *end = strstr(body, "```");
        assert_non_null(end);
        body[-1] = *end = '\0';
        check_fence(p + 3, body, &g, counts);
        p = end + 3;
    }
    assert_in_range(counts[0], 6, 100);
    assert_in_range(counts[1], 10, 100);
    assert_in_range(counts[2], 8, 100);
    grammar_unref(g);
    buf_free(&doc);
}

/* ---- token masks ---- */

typedef struct vocabulary {
    gguf file;
    tokenizer *tok;
    token_trie *trie;
} vocabulary;

static void open_vocabulary(vocabulary *v) {
    pgr_error err = {0};
    if (gguf_open(PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf", &v->file, &err) != PGR_OK
        || tok_open(&v->file, &v->tok, &err) != PGR_OK || trie_create(v->tok, &v->trie, &err) != PGR_OK)
        fail_msg("%s", err.message);
}

static void close_vocabulary(vocabulary *v) {
    trie_free(v->trie);
    tok_close(v->tok);
    gguf_close(&v->file);
}

/* The mask by its definition: each token by itself. */
static void check_mask(grammar *g, const vocabulary *v, int state, size_t limit, size_t *n_allowed) {
    const uint64_t *mask;
    bool restricted, want_restricted = false;
    pgr_error err;
    if (grammar_mask(g, v->trie, state, limit, &mask, &restricted, &err) != PGR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < (tok_count(v->tok) + 63) / 64 * 64; i++) {
        bool want = false, has = mask[i / 64] >> (i % 64) & 1;
        if (i < tok_count(v->tok)) {
            size_t n;
            const char *bytes = tok_bytes(v->tok, (int32_t)i, &n);
            tok_type type = tok_type_of(v->tok, (int32_t)i);
            int to = GRAMMAR_DEAD;
            bool text = (type == TOK_NORMAL || type == TOK_USER || type == TOK_BYTE) && !memchr(bytes, 0xFF, n);
            if (n && text) assert_int_equal(grammar_walk(g, state, bytes, n, &to, &err), PGR_OK); /* FF: in no text */
            if (type == TOK_CONTROL)
                assert_int_equal(grammar_walk_token(g, v->tok, state, (int32_t)i, &to, &err), PGR_OK);
            want = to != GRAMMAR_DEAD && grammar_distance(g, to) <= limit;
            want_restricted |= to != GRAMMAR_DEAD && !want;
        }
        if (has != want) fail_msg("state %d, limit %zu, token %zu: %d, want %d", state, limit, i, has, want);
        *n_allowed += has;
    }
    assert_int_equal(restricted, want_restricted);
}

static void masks_equal_walking_each_token(void **state) {
    (void)state;
    static const char *const grammars[] = {
        "root ::= [^\\n]{3,12} \"\\n\"",
        "root ::= \"{\\\"score\\\": \" [1-9] (\".\" [0-9])? \", \\\"better\\\": \\\"\" [AB] \"\\\"}\"",
        "root ::= ([a-z]+ \" \"?){2,4} (\".\" | \"!\")",
        "root ::= \"the \" @name \" and\" | \"an \" @other",
        "root ::= \"\"",
        "root ::= <|im_end|> | \"<\" [|a-z_]{5,8} (<|im_start|> | \">\")",
    };
    vocabulary v = {0};
    open_vocabulary(&v);
    size_t n_allowed = 0;
    for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++) {
        grammar *g = compile(grammars[i]);
        for (int s = 0; s < (int)grammar_state_count(g) && s < 60; s++) {
            static const size_t limits[] = {SIZE_MAX, 0, 1, 2, 5, 9, SIZE_MAX};
            for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) check_mask(g, &v, s, limits[k], &n_allowed);
        }
        grammar_unref(g);
    }
    assert_in_range(n_allowed, 10000, 10000000);
    close_vocabulary(&v);
}

static void masks_beyond_the_kept_ones_are_right(void **state) {
    (void)state;
    vocabulary v = {0};
    open_vocabulary(&v);
    size_t n_allowed = 0;
    grammar *g = compile("root ::= [a-z ]{0,30}");
    check_mask(g, &v, grammar_start(g), SIZE_MAX, &n_allowed);
    long live = mem_live();
    g->mask_bytes = DFA_MASK_BYTES; /* as if that much were kept */
    int n = (int)grammar_state_count(g);
    assert_in_range(n, 10, 31);
    for (int s = 0; s < n; s++) check_mask(g, &v, s, SIZE_MAX, &n_allowed);
    for (int s = 0; s < n; s++) assert_true((g->states[s].mask != NULL) == (s == grammar_start(g)));
    assert_in_range(mem_live() - live, 0, 31); /* states may have been added, masks not */
    grammar_unref(g);
    close_vocabulary(&v);
}

/* ---- tokens by name ---- */

static bool allows(grammar *g, const vocabulary *v, int state, const char *token) {
    const uint64_t *mask;
    int32_t id = tok_find(v->tok, token);
    assert_true(id >= 0);
    assert_int_equal(grammar_mask(g, v->trie, state, SIZE_MAX, &mask, NULL, NULL), PGR_OK);
    return mask[id / 64] >> (id % 64) & 1;
}

static void tokens_are_meant_by_name(void **state) {
    (void)state;
    vocabulary v = {0};
    pgr_error err = {0};
    buf out = {0};
    open_vocabulary(&v);

    grammar *g = compile("root ::= \"x\" (<|im_end|> | <|im_start|> \"y\") # both begin alike");
    int s = grammar_start(g), to;
    assert_int_equal(grammar_check_tokens(g, v.tok, &err), PGR_OK);
    assert_true(grammar_names_tokens(g));
    assert_int_equal(grammar_forced(g, &s, &out, &err), PGR_OK);
    assert_string_equal(out.data, "x"); /* nothing of a token that is not decided */
    assert_true(allows(g, &v, s, "<|im_end|>") && allows(g, &v, s, "<|im_start|>")
                && !allows(g, &v, s, "<|endoftext|>"));
    assert_int_equal(grammar_walk(g, s, "<|im_end|>", 10, &to, &err), PGR_OK);
    assert_int_equal(to, GRAMMAR_DEAD); /* its characters are not the token */
    assert_int_equal(grammar_walk_token(g, v.tok, s, tok_find(v.tok, "<|im_end|>"), &to, &err), PGR_OK);
    assert_true(grammar_only_end(g, to));
    assert_int_equal(grammar_walk_token(g, v.tok, s, tok_find(v.tok, "<|im_start|>"), &to, &err), PGR_OK);
    assert_int_equal(grammar_forced(g, &to, &out, &err), PGR_OK);
    assert_string_equal(out.data, "xy");
    grammar_unref(g);

    g = compile("root ::= \"x\" |\n  <|nobody|>");
    assert_int_equal(grammar_check_tokens(g, v.tok, &err), PGR_E_FORMAT);
    assert_string_equal(err.message,
                        "test:2: found the token <|nobody|>, expected a control or added token of the vocabulary");
    grammar_unref(g);
    buf_free(&out);
    close_vocabulary(&v);
}

/* ---- memory ---- */

static vocabulary shared; /* opened once, outside of the failing work */

static bool compile_walk_and_mask(void) {
    static const char text[] = "root ::= word{2,4} [^a-q\\u0100-\\u0900] @total \"\\n\"\nword ::= [a-z]+ (\", \" | \"; "
                               "\\x41\" | <|im_end|>) | \"!\" word";
    grammar *g = NULL;
    token_trie *trie = NULL;
    buf out = {0};
    pgr_error err = {0};
    const uint64_t *mask;
    int s = 0;
    bool ok = grammar_compile(text, sizeof text - 1, "memory", &g, &err) == PGR_OK
              && trie_create(shared.tok, &trie, &err) == PGR_OK
              && grammar_mask(g, trie, grammar_start(g), SIZE_MAX, &mask, NULL, &err) == PGR_OK
              && grammar_mask(g, trie, grammar_start(g), 8, &mask, NULL, &err) == PGR_OK
              && grammar_walk(g, grammar_start(g), "ab, cd, Z", 9, &s, &err) == PGR_OK
              && grammar_after_hole(g, s, &s, &err) == PGR_OK && grammar_forced(g, &s, &out, &err) == PGR_OK;
    if (ok)
        assert_string_equal(out.data, "\n");
    else
        assert_int_equal(err.status, PGR_E_MEM);
    buf_free(&out);
    grammar_unref(g);
    trie_free(trie);
    return ok;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    open_vocabulary(&shared);
    assert_in_range(fail_each_allocation(compile_walk_and_mask), 30, 2000);
    close_vocabulary(&shared);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_the_text_says),     cmocka_unit_test(classes_hold_the_right_characters),
        cmocka_unit_test(only_utf8_is_accepted),          cmocka_unit_test(random_grammars_equal_regular_expressions),
        cmocka_unit_test(going_round_is_a_repeat),        cmocka_unit_test(holes_stop_the_text),
        cmocka_unit_test(errors_name_the_place),          cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_dead_state_stays_dead),        cmocka_unit_test(the_documented_examples_hold),
        cmocka_unit_test(masks_equal_walking_each_token), cmocka_unit_test(masks_beyond_the_kept_ones_are_right),
        cmocka_unit_test(tokens_are_meant_by_name),       cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
