/* test_facts.c - every fact rises with what it measures and with nothing else that is near it; levels and words follow.
 */
#include <math.h>

#include "../base/faults.h"

#include "base/rng.h"
#include "facts/facts.h"
#include "facts/facts_lexicon.h"

static facts measure(const char *text, const char *query) {
    facts f;
    facts_measure(text, strlen(text), query, strlen(query), &f);
    return f;
}

/* Counts and rates by hand; the tolerance is for the rounding of sqrt and log. */
#define NEAR(a, b)                                                                                                     \
    do {                                                                                                               \
        double a_ = (a), b_ = (b);                                                                                     \
        if (!(fabs(a_ - b_) <= 1e-12)) fail_msg("%s is %.15g, expected %.15g", #a, a_, b_);                            \
    } while (0)

static void counts_by_hand(void **state) {
    (void)state;
    facts f = measure("", "");
    for (int i = 0; i < N_FACT; i++)
        if (i != FACT_FORMAL) NEAR(f.v[i], 0.0);
    NEAR(f.v[FACT_FORMAL], 4.7);

    f = measure("Plan:\n- Boil 2 eggs\n- Add 1,000.5 g of salt\n\nWill that do?! It's hot!",
                "How do I boil eggs quickly?");
    /* words: Plan / Boil 2 eggs / Add 1,000.5 g of salt / Will that do It's hot = 1 + 3 + 5 + 5 */
    NEAR(f.v[FACT_LENGTH], log(15.0));
    NEAR(f.v[FACT_LISTS], sqrt(2.0 / 4.0));
    NEAR(f.v[FACT_HEADINGS], 1.0);
    NEAR(f.v[FACT_QUESTIONS], 1.0);
    NEAR(f.v[FACT_NUMBERS], sqrt(100.0 * 2 / 34));
    NEAR(f.v[FACT_WARMTH], sqrt(100.0 * 2 / 34)); /* two runs with an exclamation mark */
    NEAR(f.v[FACT_ECHO], 2.0 / 3.0);              /* boil, eggs; not quickly */
    /* letters of words that are no figures: 4+4+4+3+1+2+4+4+4+2+4+3 = 39 in 12; one contraction in 14 words */
    NEAR(f.v[FACT_FORMAL], (39 + 20 * 4.7) / 32 - 0.25 * 100.0 * 1 / 34);
}

static void each_fact_rises(void **state) {
    (void)state;
    static const struct {
        int fact;
        const char *more, *less;
    } CASES[] = {
        {FACT_LENGTH, "one two three four five six", "one two three"},
        {FACT_LISTS, "1. tea\n2) milk\n\xE2\x80\xA2 sugar", "tea\nmilk\nsugar"},
        {FACT_HEADINGS, "## Tea\nHot water.", "Tea\nHot water."},
        {FACT_HEADINGS, "**Tea:**\nHot water.", "*Tea*\nHot water."},
        {FACT_QUESTIONS, "Which tea do you mean?", "Which tea do you mean."},
        {FACT_QUESTIONS, "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x9F", "\xE4\xBD\xA0\xE5\xA5\xBD"},
        {FACT_CAUTION, "It might rain, keep in mind the risk.", "It will rain, take the red coat."},
        {FACT_PERSONAL, "We like our tea, and I'm fine.", "They like the tea, and that is fine."},
        {FACT_NUMBERS, "In 1994 it cost 3.5", "In spring it cost less"},
        {FACT_WARMTH, "Of course, happy to help!", "The answer is below here"},
        {FACT_CODE, "Use this\n```c\nint x\n```", "Use this\nint x"},
        {FACT_CODE, "x = f(y);", "x is f of y"},
        {FACT_FORMAL, "Subsequently the committee deliberated", "So then they met and had a talk"},
        {FACT_FORMAL, "It is fine and they are here", "It's fine and they're here"},
        {FACT_ECHO, "Penguins swim", "They swim"},
        {FACT_EXAMPLES, "Take fruit, for example pears", "Take fruit, and then have pears"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        facts more = measure(CASES[i].more, "Do penguins fly?"), less = measure(CASES[i].less, "Do penguins fly?");
        if (!(more.v[CASES[i].fact] > less.v[CASES[i].fact]))
            fail_msg("%s: %g in \"%s\", %g in \"%s\"", fact_word(CASES[i].fact), more.v[CASES[i].fact], CASES[i].more,
                     less.v[CASES[i].fact], CASES[i].less);
    }
}

static void a_phrase_counts_once(void **state) {
    (void)state;
    facts f = measure("for example", "");
    NEAR(f.v[FACT_EXAMPLES], sqrt(100.0 * 1 / 22));
    f = measure("I think", ""); /* a hedge and a first person */
    NEAR(f.v[FACT_CAUTION], sqrt(100.0 * 1 / 22));
    NEAR(f.v[FACT_PERSONAL], sqrt(100.0 * 1 / 22));
    f = measure("I\xE2\x80\x99m THANKFUL, thanks", ""); /* typographic apostrophe, capitals, no match inside a word */
    NEAR(f.v[FACT_PERSONAL], sqrt(100.0 * 1 / 23));
    NEAR(f.v[FACT_WARMTH], sqrt(100.0 * 1 / 23));
}

static void words_of_other_scripts(void **state) {
    (void)state;
    NEAR(measure("\xE6\x97\xA5\xE6\x9C\xAC", "").v[FACT_LENGTH], log(3.0));                  /* two ideographs */
    NEAR(measure("\xD0\x94\xD0\xBE\xD0\xBC \xF0\x9F\x98\x80", "").v[FACT_LENGTH], log(2.0)); /* a word, a picture */
    NEAR(measure("\xD0\x94\xD0\x9E\xD0\x9C\xD0\x90 x", "\xD0\xB4\xD0\xBE\xD0\xBC\xD0\xB0?").v[FACT_ECHO],
         1.0); /* case */
    NEAR(measure("na\xC3\xAFve caf\xC3\xA9", "").v[FACT_LENGTH], log(3.0));
    NEAR(measure("a\xFF\xFE"
                 "b\xC3",
                 "")
             .v[FACT_LENGTH],
         log(3.0)); /* no UTF-8 */
}

static void lexicon_is_sorted(void **state) {
    (void)state;
    for (size_t i = 0; i < LEXICON_COUNT; i++) {
        const char *p = LEXICON[i].phrase;
        if (i && strcmp(LEXICON[i - 1].phrase, p) >= 0) fail_msg("'%s' stands before '%s'", LEXICON[i - 1].phrase, p);
        char first[32] = {0};
        memcpy(first, p, strcspn(p, " "));
        size_t n, words = 1;
        const lexicon_entry *e = lexicon_find(first, &n);
        assert_true(e && e <= &LEXICON[i] && &LEXICON[i] < e + n);
        for (const char *q = p; (q = strchr(q, ' ')); q++) words++;
        assert_true(words <= LEXICON_WORDS);
    }
    size_t n;
    assert_null(lexicon_find("zebra", &n));
    assert_null(lexicon_find("", &n));
    assert_true(lexicon_stop_word("which"));
    assert_true(lexicon_stop_word("yourself"));
    assert_true(lexicon_stop_word("about"));
    assert_false(lexicon_stop_word("penguin"));
}

static void levels_and_words(void **state) {
    (void)state;
    static const struct {
        double z;
        int level;
    } CASES[] = {{0.0, 0}, {0.24, 0}, {0.26, 1}, {0.79, 1}, {0.81, 2}, {1.49, 2}, {1.51, 3}, {9.0, 3}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        for (int f = 0; f < N_FACT; f++) {
            facts mine = {{0}}, others[2] = {{{0}}};
            others[0].v[f] = -1.0;
            others[1].v[f] = 1.0; /* mean 0 */
            mine.v[f] = CASES[i].z * fact_sd(f);
            assert_int_equal(facts_level(f, &mine, others, 2), CASES[i].level);
            mine.v[f] = -mine.v[f];
            assert_int_equal(facts_level(f, &mine, others, 2), -CASES[i].level);
            assert_int_equal(facts_level(f, &mine, others, 0), 0);
        }

    facts a = {{0}}, b = {{0}};
    buf out = {0};
    facts_words(&a, &b, 1, 4, &out);
    assert_string_equal(out.data, "nothing stands out");
    a.v[FACT_LISTS] = -0.5 * fact_sd(FACT_LISTS);
    a.v[FACT_LENGTH] = 2.0 * fact_sd(FACT_LENGTH);
    a.v[FACT_ECHO] = 1.0 * fact_sd(FACT_ECHO);
    buf_clear(&out);
    facts_words(&a, &b, 1, 4, &out);
    assert_string_equal(out.data, "length more strongly, echo more, lists less slightly");
    buf_clear(&out);
    facts_words(&a, &b, 1, 1, &out);
    assert_string_equal(out.data, "length more strongly");
    buf_free(&out);
}

static void names(void **state) {
    (void)state;
    for (int f = 0; f < N_FACT; f++) {
        assert_int_equal(fact_find(fact_word(f), strlen(fact_word(f))), f);
        assert_true(fact_sd(f) > 0.0 && fact_meaning(f)[0]);
        assert_null(strchr(fact_word(f), ' '));
    }
    assert_int_equal(fact_find("lengths", 7), -1);
    assert_int_equal(fact_find("length", 3), -1);
}

/* Any bytes give finite facts, and nothing is read beyond the text (ASan sees it: the block is exact). */
static void any_bytes(void **state) {
    (void)state;
    static const char ALPHABET[] = "ab'.,!?-*#`:;{}()0 \n\t\xE2\x80\x99\xC3\xE6\xFF";
    rng r = {.seed = 5};
    for (int i = 0; i < 20000; i++) {
        size_t n = rng_below(&r, 40), q = rng_below(&r, n + 1);
        char *text = malloc(n ? n : 1);
        for (size_t k = 0; k < n; k++) text[k] = ALPHABET[rng_below(&r, sizeof ALPHABET - 1)];
        facts f;
        facts_measure(text, n, text, q, &f);
        for (int k = 0; k < N_FACT; k++) assert_true(isfinite(f.v[k]));
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_by_hand),
        cmocka_unit_test(each_fact_rises),
        cmocka_unit_test(a_phrase_counts_once),
        cmocka_unit_test(words_of_other_scripts),
        cmocka_unit_test(lexicon_is_sorted),
        cmocka_unit_test(levels_and_words),
        cmocka_unit_test(names),
        cmocka_unit_test(any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
