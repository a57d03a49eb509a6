/* test_lessons.c - a pair is learnt under the prototype that its user has without it. */
#include "../base/faults.h"
#include "../base/scratch.h"

#include "made_store.h"
#include "prototype/lessons.h"
#include "prototype/vec.h"

enum { D = 128 };

static char db[80];

static void put(pgr_store *s, const char *user, int number, const char *chosen, const char *rejected) {
    const turn ask = {"user", "Which?"};
    char conversation[40];
    pair_record p = pair_record_none();
    bool added;
    snprintf(conversation, sizeof conversation, "%s-%d", user, number);
    p.user_id = user;
    p.conversation_id = conversation;
    p.split = "train";
    p.pair = (preference_pair){&ask, 1, chosen, rejected};
    assert_int_equal(store_put_pair(s, &p, &added, NULL), PGR_OK);
}

/* Which of the two centres is nearer to texts of this kind. */
static uint32_t side_of(textvec *vec, const float *centres, int kind) {
    preference_pair p = {.chosen = KIND_TEXTS[kind][0], .rejected = KIND_TEXTS[1 - kind][0]};
    float v[D];
    bool found;
    assert_int_equal(uservec_of_pairs(vec, PGR_PROTO_VOTES, &p, 1, NULL, v, &found, NULL), PGR_OK);
    return vec_dot(v, centres, D) > vec_dot(v, centres + D, D) ? 0 : 1;
}

/* "split" chose once in each kind: each of his pairs is learnt where the other one puts him. "one" has one pair:
 * nothing but the answer would tell where he belongs. "same" has three of one kind. */
static void test_left_out(void **state) {
    (void)state;
    pgr_store *s = make_store(db, 0, 0, 0);
    put(s, "one", 0, KIND_TEXTS[0][0], KIND_TEXTS[1][0]);
    for (int i = 0; i < 3; i++) put(s, "same", i, KIND_TEXTS[1][i], KIND_TEXTS[0][i]);
    put(s, "split", 0, KIND_TEXTS[0][0], KIND_TEXTS[1][0]);
    put(s, "split", 1, KIND_TEXTS[1][1], KIND_TEXTS[0][1]);

    textvec *vec;
    assert_int_equal(textvec_create(NULL, D, &vec, NULL), PGR_OK);
    collection c = {.store = s, .vec = vec, .by = PGR_PROTO_VOTES, .split = "history"};
    assert_int_equal(collect(&c, NULL), PGR_OK);
    assert_true(c.n_user == 3 && c.n_row == 3);
    float centres[2 * D]; /* the sums of all texts of a kind, less those of the other */
    preference_pair all[6];
    bool found;
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 6; i++)
            all[i] = (preference_pair){.chosen = KIND_TEXTS[k][i], .rejected = KIND_TEXTS[1 - k][i]};
        assert_int_equal(uservec_of_pairs(vec, PGR_PROTO_VOTES, all, 6, NULL, centres + k * D, &found, NULL), PGR_OK);
    }
    uint32_t a = side_of(vec, centres, 0), b = side_of(vec, centres, 1), assign[3] = {0, 0, 0};
    assert_true(a != b);

    lesson_list l = {0};
    const lesson_source from = {.c = &c, .assign = assign, .centres = centres, .k = 2, .d = D};
    assert_int_equal(lessons_gather(&from, &l, NULL), PGR_OK);
    assert_true(l.n == 5 && l.n_left_out == 1); /* users by name: one, same, split */
    for (size_t i = 0; i < 3; i++) assert_true(l.list[i].cluster == b && l.list[i].n_history == 2);
    assert_true(l.list[3].cluster == b && l.list[4].cluster == a);
    for (size_t i = 0; i < 5; i++) { /* texts are in their places again: the pair asked is no part of its history */
        for (size_t h = 0; h < l.list[i].n_history; h++)
            assert_true(memcmp(l.list[i].history[h].chosen, l.list[i].asked.chosen, D * sizeof(float)) != 0);
        float v[D];
        const char *text = i < 3 ? KIND_TEXTS[1][i] : i == 3 ? KIND_TEXTS[0][0] : KIND_TEXTS[1][1];
        assert_int_equal(textvec_of(vec, &text, 1, NULL, v, NULL), PGR_OK);
        assert_memory_equal(v, l.list[i].asked.chosen, sizeof v);
    }
    lessons_free(&l);
    collect_free(&c);
    textvec_free(vec);
    pgr_store_close(s);
    remove_store(db);
}

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    snprintf(db, sizeof db, "%s/users.db", scratch);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_left_out)};
    return cmocka_run_group_tests(tests, setup, remove_folder);
}
