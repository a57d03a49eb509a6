/* test_pairs.c - data files in memory: who is asked what, which histories there are, whose a stranger's is. */
#include <math.h>

#include "../base/faults.h"
#include "../user/dataset_make.h"
#include "bench/history.h"
#include "bench/pairs.h"

#define LINE(user, question, chosen, rejected, split, rest)                                                            \
    "{\"user_id\":\"" user "\",\"conversation_id\":\"c\",\"context\":[{\"role\":\"user\",\"content\":\"" question      \
    "\"}],\"chosen\":\"" chosen "\",\"rejected\":\"" rejected "\",\"split\":\"" split "\"" rest "}\n"

/* The third question goes on from the first, the fourth only begins with the same letters. */
static const char *const FILE_A = LINE("ann", "why?", "a", "b", "train", "") LINE("ann", "how?", "c", "a", "test", "")
    LINE("bob", "why?\\n\\nand then?", "b", "c", "train", "") LINE("bob", "why? really", "d", "a", "val", "")
        LINE("ann", "why? really", "a", "d", "test", ",\"subset\":[\"close\",\"mirror\"]");
static const char *const FILE_B =
    LINE("bob", "why?", "e", "f", "test", ",\"subset\":\"mirror\"") LINE("cy", "why?", "g", "a", "train", "");

static bench_data *load(const bench_files *f) {
    bench_data *d = NULL;
    pgr_error err = {0};
    if (bench_load(f, &d, &err) != PGR_OK) fail_msg("%s", err.message);
    return d;
}

static void test_load(void **state) {
    (void)state;
    const char *paths[] = {write_text("set.v1.jsonl", FILE_A)}, *from[] = {write_gzip("b.jsonl.gz", FILE_B)};
    const char *users[] = {write_text("users.jsonl", "{\"user_id\":\"cy\",\"demographics\":\"old\"}\n"
                                                     "{\"user_id\":\"nobody\",\"demographics\":\"new\"}\n")};
    bench_files f = {paths, 1, from, 1, users, 1, .split = "test"};
    bench_data *d = load(&f);
    assert_string_equal(d->name, "set");
    assert_int_equal(d->n_row, 5); /* val and the other file's test row are not there */
    assert_int_equal(d->n_test, 2);
    assert_int_equal(d->n_user, 3);
    assert_int_equal(d->n_item, 5); /* a b c d g */
    assert_int_equal(d->n_question, 3);
    assert_int_equal(d->rows[0].question, d->rows[2].question);
    assert_int_not_equal(d->rows[0].question, d->rows[3].question);
    assert_int_equal(d->rows[1].item[1], d->rows[0].item[0]);
    assert_string_equal(d->items[d->rows[4].item[0]], "g");
    const bench_user *ann = &d->users[0], *cy = &d->users[2];
    assert_string_equal(ann->id, "ann");
    assert_string_equal(ann->demographics, "");
    assert_int_equal(ann->n_train, 1);
    assert_int_equal(ann->train[0], 0);
    assert_int_equal(ann->n_test, 2);
    assert_int_equal(ann->test[0], 1);
    assert_int_equal(ann->test[1], 3);
    assert_string_equal(cy->id, "cy");
    assert_string_equal(cy->demographics, "old");
    assert_int_equal(cy->n_train, 1);
    bench_data_free(d);
}

static void test_subset(void **state) {
    (void)state;
    const char *paths[] = {write_text("a.jsonl", FILE_A), write_gzip("b.jsonl.gz", FILE_B)};
    bench_files f = {.paths = paths, .n_path = 2, .split = "test", .subset = "mirror"};
    bench_data *d = load(&f);
    assert_int_equal(d->n_test, 2);
    f.subset = "close";
    bench_data *close = load(&f);
    assert_int_equal(close->n_test, 1);
    assert_int_equal(close->n_row, 4); /* histories have no subset */
    bench_data_free(d);
    bench_data_free(close);
}

/* Files of other forms: what is left out is counted, a row that names nobody has a user of its own, --user-key names
 * another column. */
static void test_other_forms(void **state) {
    (void)state;
    const char *arena_rows[] = {PGR_SOURCE_DIR "/tests/golden/datasets/chatbot_arena.jsonl"};
    bench_files f = {.paths = arena_rows, .n_path = 1, .split = "TEST"};
    bench_data *d = load(&f);
    assert_int_equal(d->n_test, 3);
    assert_int_equal(d->n_user, 2);
    assert_string_equal(d->users[0].id, "arena_user_1");
    assert_int_equal(d->left_out[PGR_LEFT_TIE], 2);
    assert_int_equal(d->left_out[PGR_LEFT_ALIKE], 1);
    bench_data_free(d);
    f.user_key = "language";
    d = load(&f);
    assert_int_equal(d->n_user, 1);
    assert_string_equal(d->users[0].id, "English");
    bench_data_free(d);
    const char *rewardbench[] = {PGR_SOURCE_DIR "/tests/golden/datasets/rewardbench.jsonl"};
    f = (bench_files){.paths = rewardbench, .n_path = 1, .split = "test", .subset = "alpacaeval-easy"};
    d = load(&f);
    assert_int_equal(d->n_test, 2);
    assert_int_equal(d->n_user, 2);
    bench_data_free(d);
    const char *dev[] = {write_text("dev.jsonl", LINE("ann", "why?", "a", "b", "Validation", "")
                                                     LINE("ann", "how?", "a", "b", "TRAIN", ""))};
    f = (bench_files){.paths = dev, .n_path = 1, .split = "dev"};
    d = load(&f);
    assert_int_equal(d->n_test, 1);
    assert_int_equal(d->users[0].n_train, 1);
    bench_data_free(d);
}

static void test_mistakes(void **state) {
    (void)state;
    const char *paths[] = {write_text("a.jsonl", FILE_A)},
               *users[] = {write_text("u.jsonl", "{\"user_id\":\"cy\",\"demographics\":\"old\"}\n")};
    bench_files f = {.paths = paths, .n_path = 1, .split = "Dev", .subset = "close"};
    pgr_error err = {0};
    bench_data *d = NULL;
    assert_int_equal(bench_load(&f, &d, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "a.jsonl: no row has the split \"Dev\" and the subset \"close\""));
    f.split = "none";
    assert_int_equal(bench_load(&f, &d, &err), PGR_E_ARG);
    assert_string_equal(err.message, "split: found \"none\", expected train, validation (val, dev) or test");
    f = (bench_files){.paths = users, .n_path = 1, .split = "test"};
    assert_int_equal(bench_load(&f, &d, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "u.jsonl:1: this is no pair"));
    f = (bench_files){.paths = paths, .n_path = 1, .users = paths, .n_users = 1, .split = "test"};
    assert_int_equal(bench_load(&f, &d, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "a.jsonl:1: this says nothing of a user"));
}

/* Users with 1, 2 and 9 asked rows: four of them are one of each and a second of one of the two who have it. */
static void test_limit(void **state) {
    (void)state;
    buf text = {0};
    const size_t n_of[] = {1, 2, 9};
    for (size_t u = 0; u < 3; u++)
        for (size_t i = 0; i < n_of[u]; i++) buf_printf(&text, LINE("u%zu", "q", "c%zu", "r", "test", ""), u, i);
    const char *paths[] = {write_text("l.jsonl", text.data)};
    buf_free(&text);
    size_t differ = 0;
    for (uint64_t seed = 0; seed < 8; seed++) {
        bench_files f = {.paths = paths, .n_path = 1, .split = "test", .limit = 4, .seed = seed};
        bench_data *d = load(&f), *again = load(&f);
        assert_int_equal(d->n_test, 4);
        assert_int_equal(d->n_user, 3);
        for (size_t u = 0; u < 3; u++) assert_in_range(d->users[u].n_test, 1, 2);
        for (size_t i = 0; i < 4; i++)
            assert_string_equal(d->rows[i].record.pair.chosen, again->rows[i].record.pair.chosen);
        differ += strcmp(d->rows[3].record.pair.chosen, "c0") != 0;
        bench_data_free(d);
        bench_data_free(again);
    }
    assert_true(differ > 0);
}

/* ---- histories -------------------------------------------------------------------------------------------------- */

enum { USERS = 40, PAIRS = 6 };
static const turn QUESTION[2][1] = {{{"user", "one"}}, {{"user", "two"}}};

/* Even users answer question one, odd ones question two; the last but one has no history,
 * and the last is alone with his question. */
static bench_data *two_rooms(void) {
    static const turn alone[1] = {{"user", "alone"}};
    static char ids[USERS][8], texts[USERS * PAIRS][8];
    static pair_record records[USERS * PAIRS];
    size_t n = 0;
    for (size_t u = 0; u < USERS; u++) {
        snprintf(ids[u], sizeof ids[u], "u%zu", u);
        for (size_t i = 0; i < PAIRS; i++, n++) {
            snprintf(texts[n], sizeof texts[n], "t%zu", n);
            records[n] =
                (pair_record){.user_id = ids[u], .conversation_id = "", .split = u == USERS - 2 ? "test" : "train"};
            records[n].pair = (preference_pair){u == USERS - 1 ? alone : QUESTION[u % 2], 1, texts[n], "r"};
        }
    }
    bench_data *d = NULL;
    pgr_error err = {0};
    if (bench_data_of("rooms", records, n, "test", &d, &err) != PGR_OK) fail_msg("%s", err.message);
    return d;
}

static void test_strangers(void **state) {
    (void)state;
    bench_data *d = two_rooms();
    size_t a[USERS], b[USERS], hits[USERS] = {0}, differ = 0;
    pgr_error err;
    assert_int_equal(bench_strangers(d, 1, 0, a, &err), PGR_OK);
    assert_int_equal(bench_strangers(d, 2, 0, b, &err), PGR_OK);
    for (size_t u = 0; u < USERS; u++) {
        hits[a[u]]++;
        differ += a[u] != b[u];
        if (u >= USERS - 2) {
            assert_int_equal(a[u], u);
            continue;
        }
        assert_int_not_equal(a[u], u);
        assert_int_equal(a[u] % 2, u % 2); /* of the same room */
    }
    for (size_t u = 0; u < USERS; u++) assert_int_equal(hits[u], 1);
    assert_true(differ > USERS / 2);
    bench_data_free(d);
}

static void test_draw(void **state) {
    (void)state;
    bench_data *d = two_rooms();
    size_t few[PAIRS], more[PAIRS], other[PAIRS], all[PAIRS], differ = 0;
    for (size_t u = 0; u < 10; u++) {
        assert_int_equal(bench_draw(d, u, 2, 7, few), 2);
        assert_int_equal(bench_draw(d, u, 3, 7, more), 3);
        assert_int_equal(bench_draw(d, u, 2, 8, other), 2);
        assert_int_equal(bench_draw(d, u, 0, 7, all), PAIRS);
        assert_memory_equal(few, more, 2 * sizeof *few);
        assert_true(more[0] != more[1] && more[1] != more[2] && more[0] != more[2]);
        for (size_t i = 0; i < 3; i++) assert_int_equal(d->rows[more[i]].user, u);
        for (size_t i = 0; i < PAIRS; i++) assert_int_equal(all[i], u * PAIRS + i);
        differ += memcmp(few, other, sizeof *few * 2) != 0;
    }
    assert_true(differ >= 5);
    assert_int_equal(bench_draw(d, 0, 100, 7, all), PAIRS);
    bench_data_free(d);
}

static bench_files faulty;

static bool load_once(void) {
    bench_data *d = NULL;
    pgr_error err;
    size_t other[8];
    bool good = bench_load(&faulty, &d, &err) == PGR_OK && bench_strangers(d, 0, 0, other, &err) == PGR_OK;
    bench_data_free(d);
    return good;
}

static void test_out_of_memory(void **state) {
    (void)state;
    const char *paths[] = {write_text("a.jsonl", FILE_A)}, *from[] = {write_text("b.jsonl", FILE_B)};
    const char *users[] = {write_text("u.jsonl", "{\"user_id\":\"cy\",\"demographics\":\"old\"}\n")};
    faulty = (bench_files){paths, 1, from, 1, users, 1, .split = "test", .limit = 1};
    assert_true(fail_each_allocation(load_once) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),     cmocka_unit_test(test_subset),        cmocka_unit_test(test_other_forms),
        cmocka_unit_test(test_mistakes), cmocka_unit_test(test_limit),         cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_draw),     cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
