/* Typical words by log-odds with a prior against the equation computed here;
 * hashed texts: the same text is the same direction; facts: a pair is its levels, and a direction of them has words. */
#include "../base/faults.h"

#include <math.h>

#include "facts/facts.h"
#include "prototype/textvec.h"
#include "prototype/vec.h"
#include "prototype/words.h"

static void test_equation(void **state) {
    (void)state;
    words *w;
    arena a = {0};
    const char *const *lists[2];
    assert_int_equal(words_create(2, &w, NULL), PGR_OK);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(words_add(w, 0, true, "Apples, APPLES and pears; l'été!", NULL), PGR_OK);
        assert_int_equal(words_add(w, 0, false, "the pears of the été (plums?)", NULL), PGR_OK);
        assert_int_equal(words_add(w, 1, true, "plums plums of\xff ПЛАН", NULL), PGR_OK);
        assert_int_equal(words_add(w, 1, false, "apples", NULL), PGR_OK);
    }
    assert_int_equal(words_typical(w, 2, &a, lists, NULL), PGR_OK);
    assert_string_equal(lists[0][0], "apples");
    assert_null(lists[0][1]); /* pears and été stand on both sides, plums on the other */
    assert_string_equal(lists[1][0], "plums");
    assert_string_equal(lists[1][1], "план");
    assert_null(lists[1][2]);
    words_free(w);
    arena_free(&a);
}

/* A word seen once more on one side than on the other is not typical: z = log-odds over its deviation is below 1. */
static void test_rare(void **state) {
    (void)state;
    words *w;
    arena a = {0};
    const char *const *list;
    assert_int_equal(words_create(1, &w, NULL), PGR_OK);
    assert_int_equal(words_add(w, 0, true, "once twice twice thrice thrice thrice", NULL), PGR_OK);
    assert_int_equal(words_add(w, 0, false, "thrice thrice thrice other other", NULL), PGR_OK);
    /* p(twice) = 500 * 2 / 11 = 90.9; delta = log(92.9 / 413.1) - log(90.9 / 414.1) = .024;
     * z = .024 / sqrt(1/92.9 + 1/90.9) = .16 */
    assert_int_equal(words_typical(w, 3, &a, &list, NULL), PGR_OK);
    assert_null(list[0]);
    words_free(w);
    arena_free(&a);
}

static bool count_and_list(void) {
    words *w;
    arena a = {0};
    const char *const *list;
    if (words_create(1, &w, NULL) != PGR_OK) return false;
    bool worked = true;
    for (int i = 0; i < 900 && worked; i++) {
        char text[64];
        snprintf(text, sizeof text, "word%c%c%c apple apple", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676);
        worked = words_add(w, 0, i % 3 != 0, text, NULL) == PGR_OK;
    }
    worked = worked && words_typical(w, 5, &a, &list, NULL) == PGR_OK;
    words_free(w);
    arena_free(&a);
    return worked;
}

static void test_memory(void **state) {
    (void)state;
    assert_true(fail_allocations(count_and_list, 50) > 900);
}

static void test_hashed(void **state) {
    (void)state;
    textvec *t;
    pgr_error err;
    assert_int_equal(textvec_create(NULL, 100, &t, &err), PGR_E_ARG);
    assert_int_equal(textvec_create(NULL, 1024, &t, &err), PGR_OK);
    static float v[200][1024];
    char text[200][16];
    const char *texts[200];
    for (int i = 0; i < 200; i++) {
        snprintf(text[i], sizeof text[i], "text %d", i % 199); /* the last is the first again */
        texts[i] = text[i];
    }
    assert_int_equal(textvec_of(t, texts, 200, NULL, v[0], NULL), PGR_OK);
    double most = 0, sum2 = 0;
    for (int i = 0; i < 199; i++) {
        assert_true(fabs(vec_dot(v[i], v[i], 1024) - 1) < 1e-6);
        for (int k = 0; k < i; k++) {
            double c = vec_dot(v[i], v[k], 1024);
            most = fmax(most, fabs(c));
            sum2 += c * c;
        }
    }
    assert_memory_equal(v[0], v[199], sizeof v[0]);
    assert_true(most < 0.16);                                    /* 5 deviations of 1 / sqrt(1024) */
    assert_true(fabs(sum2 / (199 * 198 / 2) * 1024 - 1) < 0.05); /* the variance is 1 / 1024 */
    textvec_free(t);
}

static void test_pair_of_facts(void **state) {
    (void)state;
    const turn turns[] = {{"user", "Be brief."}, {"assistant", "Yes."}, {"user", "Which gardens have roses?"}};
    const preference_pair p = {turns, 3, "Roses!",
                               "There are a lot of things that I could say, and I will say them all now."};
    facts liked, other;
    textvec *t;
    float v[2][N_FACT], swapped[2][N_FACT], query[N_FACT], first[N_FACT];
    facts_measure(p.chosen, strlen(p.chosen), turns[2].text, strlen(turns[2].text), &liked);
    facts_measure(p.rejected, strlen(p.rejected), turns[2].text, strlen(turns[2].text), &other);
    assert_int_equal(textvec_create_facts(&t, NULL), PGR_OK);
    assert_true(textvec_dims(t) == N_FACT && !*textvec_name(t));
    assert_int_equal(textvec_of_pairs(t, &p, 1, NULL, v[0], NULL), PGR_OK);
    for (int f = 0; f < N_FACT; f++) /* quarters are exact */
        assert_true(4 * (v[0][f] - v[1][f]) == (float)facts_level(f, &liked, &other, 1));
    assert_true(v[0][FACT_LENGTH] < 0 && v[0][FACT_ECHO] > 0); /* shorter; the last turn's word comes again */
    const preference_pair turned = {turns, 3, p.rejected, p.chosen};
    assert_int_equal(textvec_of_pairs(t, &turned, 1, NULL, swapped[0], NULL), PGR_OK);
    for (int f = 0; f < N_FACT; f++) assert_true(swapped[0][f] == v[1][f] && swapped[1][f] == v[0][f]);
    assert_int_equal(textvec_of_query(t, &p, NULL, query, NULL), PGR_OK);
    assert_true(query[FACT_QUESTIONS] > 0 && query[FACT_LENGTH] > 0 && query[FACT_LISTS] == 0);
    const preference_pair asked = {turns, 1, p.chosen, p.rejected}, bare = {NULL, 0, p.chosen, p.rejected};
    assert_int_equal(textvec_of_query(t, &asked, NULL, first, NULL), PGR_OK);
    assert_true(first[FACT_QUESTIONS] == 0);
    assert_int_equal(textvec_of_query(t, &bare, NULL, first, NULL), PGR_OK);
    for (int f = 0; f < N_FACT; f++) assert_true(first[f] == 0);
    textvec_free(t);
}

static void test_words_of_facts(void **state) {
    (void)state;
    arena a = {0};
    const char *const *list;
    const float v[N_FACT] = {
        [FACT_LISTS] = -3, [FACT_WARMTH] = 2, [FACT_CODE] = 0.7F, [FACT_ECHO] = 0.9F}; /* 4 % of 14.3: .76 */
    assert_int_equal(words_of_facts(v, 8, &a, &list, NULL), PGR_OK);
    assert_string_equal(list[0], "lists less");
    assert_string_equal(list[1], "warmth more");
    assert_string_equal(list[2], "echo more");
    assert_null(list[3]);
    assert_int_equal(words_of_facts(v, 1, &a, &list, NULL), PGR_OK);
    assert_true(strcmp(list[0], "lists less") == 0 && !list[1]);
    const float none[N_FACT] = {0};
    assert_int_equal(words_of_facts(none, 8, &a, &list, NULL), PGR_OK);
    assert_null(list[0]);
    arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_equation),      cmocka_unit_test(test_rare),
                                       cmocka_unit_test(test_memory),        cmocka_unit_test(test_hashed),
                                       cmocka_unit_test(test_pair_of_facts), cmocka_unit_test(test_words_of_facts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
