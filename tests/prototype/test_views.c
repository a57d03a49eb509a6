/* test_views.c - two camps in a store that vote on each other's statements: prototypes by votes say what is to be
 * expected of a person, of members without their own votes, and read files that know nothing of it. */
#include "../base/faults.h"
#include "../base/scratch.h"

#include <math.h>

#include "prototype/artefact.h"
#include "prototype/people.h"
#include "user/store.h"

enum { CAMP = 12, N_TEXT = 10, PAIRS = 6 };

static char db[80], protos[100];

static const char *text_of(size_t camp, size_t i) {
    static char text[2][N_TEXT][40];
    snprintf(text[camp][i], sizeof text[camp][i], "%s for year %zu.", camp ? "More roads" : "More trees", i);
    return text[camp][i];
}

static void put(pgr_store *s, const char *user, const char *chosen, const char *rejected, const char *split) {
    static int number;
    const turn ask = {"user", "What do you agree with?"};
    char conversation[32];
    bool added;
    pgr_error err;
    snprintf(conversation, sizeof conversation, "c%d", number++);
    pair_record p = {.user_id = user,
                     .conversation_id = conversation,
                     .pair = {&ask, 1, chosen, rejected},
                     .chosen_score = NAN,
                     .rejected_score = NAN,
                     .split = split,
                     .type = "",
                     .choice_attributes = ""};
    if (store_put_pair(s, &p, &added, &err) != PGR_OK) fail_msg("%s", err.message);
}

/* Users "a00".. for trees and "b00".. for roads, each with votes on some statements of both camps; the first of camp a
 * says besides, alone against his camp, that he likes roads in year 9. */
static pgr_store *make(void) {
    pgr_store *s;
    pgr_error err;
    if (pgr_store_open(db, PGR_STORE_CREATE, &s, &err) != PGR_OK) fail_msg("%s", err.message);
    for (size_t u = 0; u < 2 * CAMP; u++) {
        char id[8];
        size_t camp = u % 2;
        snprintf(id, sizeof id, "%c%02zu", "ab"[camp], u / 2);
        for (size_t i = 0; i < PAIRS; i++)
            put(s, id, text_of(camp, (u / 2 + i) % (N_TEXT - 1)), text_of(1 - camp, (u / 2 + 2 * i) % (N_TEXT - 1)),
                "train");
        put(s, id, u == 0 ? text_of(1, 9) : text_of(camp, 9), u == 0 ? text_of(0, 9) : text_of(1 - camp, 9), "train");
        put(s, id, text_of(1 - camp, 0), "Known to the test rows alone.", "test");
    }
    put(s, "alone", "Nobody else has read this.", text_of(0, 0), "train");
    return s;
}

static pgr_proto_options by_votes(void) {
    pgr_proto_options o = pgr_proto_options_default();
    o.by = PGR_PROTO_VOTES, o.k = 2, o.epochs = 0, o.dims = 128, o.n_thread = 1;
    return o;
}

static people *open_people(void) {
    pgr_store *s = make();
    pgr_proto_options o = by_votes();
    pgr_error err;
    people *p;
    if (pgr_proto_build(s, protos, &o, &err) != PGR_OK) fail_msg("%s", err.message);
    pgr_store_close(s);
    if (pgr_people_open(db, protos, NULL, 1, &p, &err) != PGR_OK) fail_msg("%s", err.message);
    return p;
}

static void close_people(people *p) {
    pgr_people_close(p);
    remove(db);
    remove(protos);
}

/* How a newcomer or a member with a history of n pairs of a camp stands to two texts. */
static void ask(people *p, const char *user, size_t camp, size_t n, const char *a, const char *b, people_view out[2]) {
    const turn q = {"user", "What do you agree with?"};
    preference_pair history[N_TEXT];
    const char *responses[2] = {a, b};
    pgr_error err;
    for (size_t i = 0; i < n; i++) history[i] = (preference_pair){&q, 1, text_of(camp, i), text_of(1 - camp, i)};
    struct pgr_request r = {.user_id = user,
                            .history = history,
                            .n_history = n,
                            .messages = &q,
                            .n_message = 1,
                            .responses = responses,
                            .n_response = 2};
    if (people_views(p, &r, out, &err) != PGR_OK) fail_msg("%s", err.message);
}

static void a_newcomer_is_taken_for_one_of_his_camp(void **state) {
    (void)state;
    people *p = open_people();
    people_view v[2], plain[2];
    assert_true(people_has_views(p));
    ask(p, "new", 0, 4, text_of(0, 7), text_of(1, 7), v);
    assert_true(v[0].share > .75 && v[1].share < .25);
    assert_true(v[0].chose > 1 && v[0].chose + v[0].rejected < 2 * CAMP);
    ask(p, "new", 1, 4, text_of(0, 7), text_of(1, 7), v);
    assert_true(v[0].share < .25 && v[1].share > .75);
    ask(p, "new", 0, 0, text_of(0, 7), text_of(1, 7), v); /* nothing is known of him: as people in the mean have it */
    assert_true(fabs(v[0].share - .5) < .2 && fabs(v[1].share - .5) < .2);
    ask(p, "new", 0, 4, "  more TREES for\n year 7", text_of(1, 7), plain); /* the same text */
    ask(p, "new", 0, 4, text_of(0, 7), text_of(1, 7), v);
    assert_memory_equal(plain, v, sizeof v);
    ask(p, "new", 0, 4, "Known to the test rows alone.", "Nobody else has read this.", v);
    for (size_t i = 0; i < 2; i++) assert_true(v[i].share == .5 && v[i].chose + v[i].rejected == 0);
    ask(p, "new", 0, 4, "...", "", v);
    assert_true(v[0].share == .5 && v[1].share == .5);
    close_people(p);
}

/* a00 alone in his camp chose roads in year 9: asked of him, that is not known. */
static void what_a_member_said_himself_does_not_count(void **state) {
    (void)state;
    people *p = open_people();
    people_view own[2], other[2];
    ask(p, "a00", 0, 4, text_of(0, 9), text_of(1, 9), own);
    ask(p, "new", 0, 4, text_of(0, 9), text_of(1, 9), other);
    assert_int_equal(other[0].chose, CAMP - 1);
    assert_int_equal(other[0].rejected, CAMP + 1);
    assert_int_equal(own[0].chose, CAMP - 1);
    assert_int_equal(own[0].rejected, CAMP); /* less his own */
    assert_int_equal(own[1].chose, CAMP);
    assert_true(own[0].share > other[0].share && own[1].share < other[1].share);
    /* a text in his own history says nothing about itself, either */
    people_view with[2], without[2];
    ask(p, "new", 0, 5, text_of(0, 4), text_of(1, 4), with); /* years 0 to 4 */
    ask(p, "new", 0, 4, text_of(0, 4), text_of(1, 4), without);
    assert_memory_equal(with, without, sizeof with);
    close_people(p);
}

/* What came after the build is not in it: a member's later vote is not taken out, nor those of who joined by --add. */
static void later_votes_are_not_taken_out(void **state) {
    (void)state;
    people *p = open_people();
    people_view before[2], after[2], new[2];
    ask(p, "a02", 0, 4, text_of(0, 8), text_of(1, 8), before);
    pgr_people_close(p);
    pgr_store *s;
    pgr_proto_options o = by_votes();
    pgr_proto_added added;
    pgr_error err;
    assert_int_equal(pgr_store_open(db, PGR_STORE_WRITE, &s, &err), PGR_OK);
    put(s, "a02", text_of(1, 8), text_of(0, 8), "train");
    put(s, "late", text_of(1, 8), text_of(0, 8), "train");
    assert_int_equal(pgr_proto_add(s, protos, &o, &added, &err), PGR_OK);
    assert_int_equal(added.added, 1);
    pgr_store_close(s);
    if (pgr_people_open(db, protos, NULL, 1, &p, &err) != PGR_OK) fail_msg("%s", err.message);
    ask(p, "a02", 0, 4, text_of(0, 8), text_of(1, 8), after);
    assert_memory_equal(after, before, sizeof after);
    ask(p, "late", 0, 4, text_of(0, 8), text_of(1, 8), after);
    ask(p, "new", 0, 4, text_of(0, 8), text_of(1, 8), new);
    assert_memory_equal(after, new, sizeof after);
    close_people(p);
}

static artefact open_protos(const char *path) {
    artefact a;
    pgr_error err;
    if (artefact_open(path, ARTEFACT_CHECK_ALL, &a, &err) != PGR_OK) fail_msg("%s", err.message);
    return a;
}

/* Users who join later leave what the texts are as it was; texts of one voter alone are not there. */
static void files_keep_them(void **state) {
    (void)state;
    pgr_store *s = make();
    pgr_proto_options o = by_votes();
    pgr_proto_added added;
    pgr_error err;
    assert_int_equal(pgr_proto_build(s, protos, &o, &err), PGR_OK);
    artefact a = open_protos(protos);
    assert_int_equal(a.views.n, 2 * N_TEXT);
    float kept[VIEW_SIZE];
    memcpy(kept, a.views.rows + 3 * VIEW_SIZE, sizeof kept);
    artefact_close(&a);
    pgr_prototypes *shown;
    assert_int_equal(pgr_prototypes_read(protos, true, &shown, &err), PGR_OK);
    assert_int_equal(shown->texts, 2 * N_TEXT);
    pgr_prototypes_free(shown);
    put(s, "late", text_of(0, 1), text_of(1, 1), "train");
    if (pgr_proto_add(s, protos, &o, &added, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(added.added, 1);
    a = open_protos(protos);
    assert_int_equal(a.views.n, 2 * N_TEXT);
    assert_memory_equal(a.views.rows + 3 * VIEW_SIZE, kept, sizeof kept);
    artefact_close(&a);
    pgr_store_close(s);
    remove(db);
    remove(protos);
}

/* A file that an earlier version made has none, and says so by that. */
static void an_earlier_file_has_none(void **state) {
    (void)state;
    artefact a = open_protos(PGR_SOURCE_DIR "/tests/golden/votes-v2.protos");
    assert_int_equal(a.views.n, 0);
    assert_int_equal(a.n_user, 4);
    artefact_close(&a);
}

static void expect_refused(artefact *a, const char *what) {
    artefact b;
    pgr_error err = {0};
    assert_int_equal(artefact_write(a, NULL, protos, &err), PGR_OK);
    assert_int_equal(artefact_open(protos, ARTEFACT_CHECK_ALL, &b, &err), PGR_E_FORMAT);
    if (!strstr(err.message, what)) fail_msg("%s", err.message);
}

static void damaged_rows_are_refused(void **state) {
    (void)state;
    artefact a = open_protos(PGR_SOURCE_DIR "/tests/golden/votes-v2.protos");
    float rows[2][VIEW_SIZE] = {{0, 0, 0, 1, 0, 1, 0, 0, 1, 2, 1}, {0, 0, 0, 1, 0, 1, 0, 0, 1, 2, 1}};
    uint64_t keys[] = {5, 9};
    a.views = (views){2, keys, rows[0]};
    artefact b;
    assert_int_equal(artefact_write(&a, NULL, protos, NULL), PGR_OK);
    assert_int_equal(artefact_open(protos, ARTEFACT_CHECK_ALL, &b, NULL), PGR_OK);
    artefact_close(&b);
    keys[1] = 5;
    expect_refused(&a, "view_keys: that of row 1 does not come after the one before");
    keys[1] = 9, rows[1][IDEAL_SIZE] = -1;
    expect_refused(&a, "view_rows: row 1 has no variance, or a value that is no number");
    rows[1][IDEAL_SIZE] = 1, rows[0][IDEAL_PACKED] = -2;
    expect_refused(&a, "view_rows: row 0 counts -2 and 1 votes");
    rows[0][IDEAL_PACKED] = 2, a.by = "choices";
    expect_refused(&a, "meta: by choices with n_views 2, expected 0");
    artefact_close(&a);
    remove(protos);
}

static people *asked;

static bool ask_once(void) {
    const turn q = {"user", "?"};
    const preference_pair history = {&q, 1, text_of(0, 1), text_of(1, 1)};
    const char *responses[2] = {text_of(0, 7), text_of(1, 7)};
    struct pgr_request r = {
        .user_id = "a01", .donor = "b01", .history = &history, .n_history = 1, .responses = responses, .n_response = 2};
    people_view out[2];
    return people_views(asked, &r, out, NULL) == PGR_OK;
}

static void memory_that_is_not_there(void **state) {
    (void)state;
    asked = open_people();
    assert_true(fail_each_allocation(ask_once) > 10);
    close_people(asked);
}

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    snprintf(db, sizeof db, "%s/users.db", scratch);
    snprintf(protos, sizeof protos, "%s.protos", db);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_newcomer_is_taken_for_one_of_his_camp),
                                       cmocka_unit_test(what_a_member_said_himself_does_not_count),
                                       cmocka_unit_test(later_votes_are_not_taken_out),
                                       cmocka_unit_test(files_keep_them),
                                       cmocka_unit_test(an_earlier_file_has_none),
                                       cmocka_unit_test(damaged_rows_are_refused),
                                       cmocka_unit_test(memory_that_is_not_there)};
    return cmocka_run_group_tests(tests, setup, remove_folder);
}
