/* test_lead.c - what own pairs tell that strangers' do not: all of it where tastes are opposite, nothing where all like
 * the same, where choices are luck, where pairs are of one query or members are alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "prototype/lead.h"

#include <cmocka.h>

enum { D = 12, MEMBERS = 40, PAIRS = 6 };

static float form[MEMBERS * PAIRS * D];
static uint32_t query[MEMBERS * PAIRS];
static size_t first[MEMBERS + 1];

/* Members choose by the first value, `size` of it, where they are opposite in turn for and against it; the rest is
 * luck. */
static collection make(textvec *vec, size_t n_member, bool opposite, double size) {
    rng r = {5, 0, 0};
    for (size_t i = 0; i < n_member * PAIRS; i++) {
        for (size_t j = 0; j < D; j++) form[i * D + j] = (float)(rng_normal(&r) * 0.05);
        form[i * D] += (float)(opposite && i / PAIRS % 2 ? -size : size);
        query[i] = (uint32_t)(i % PAIRS);
    }
    for (size_t m = 0; m <= n_member; m++) first[m] = m * PAIRS;
    return (collection){.vec = vec, .n_row = n_member, .form = form, .form_first = first, .form_query = query};
}

static void test_lead(void **state) {
    (void)state;
    textvec *vec;
    assert_int_equal(uservec_space(PGR_PROTO_FACTS, NULL, 0, &vec, NULL), PGR_OK);
    assert_int_equal(textvec_dims(vec), D);
    collection c = make(vec, MEMBERS, true, 1); /* strangers of both kinds: 0 in the mean, and 1 less 0 */
    double lead = members_lead(&c);
    assert_true(lead > 0.9 && lead <= 1);
    c = make(vec, MEMBERS, false, 1);
    assert_true(members_lead(&c) == 0);
    c = make(vec, MEMBERS, true, 0);
    assert_true(members_lead(&c) < 0.1); /* 240 tosses: an error of .06, and one is taken off */
    c = make(vec, MEMBERS, true, 1);
    for (size_t i = 0; i < MEMBERS * PAIRS; i++) query[i] = 7;
    assert_true(members_lead(&c) == 0);
    c = make(vec, 1, true, 1);
    assert_true(members_lead(&c) == 0);
    c = make(vec, 2, true, 1); /* two of opposite tastes, without an error between them: 1 - (-1), at most 1 */
    assert_true(members_lead(&c) == 1);
    textvec_free(vec);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lead)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
