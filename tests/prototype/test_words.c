/* Typical words by log-odds with a prior against the equation computed here;
 * hashed texts: the same text is the same direction. */
#include "../base/faults.h"

#include <math.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_equation), cmocka_unit_test(test_rare),
                                       cmocka_unit_test(test_memory), cmocka_unit_test(test_hashed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
