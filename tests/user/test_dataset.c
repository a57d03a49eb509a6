/* test_dataset.c - files of records: what each form becomes, lines and arrays, plain and packed,
 * and what is said of bad ones. */
#include <math.h>

#include "../base/faults.h"
#include "dataset_make.h"
#include "user/dataset.h"
#include "user/stream.h"

/* The message of the first error, which must come after `good` records; the stream is then at its end. */
static void assert_refused(const char *path, const char *form, size_t good, pgr_status want, const char *message) {
    dataset *d = NULL;
    pgr_error err = {0};
    arena a = {0};
    record r;
    bool more = true;
    long live = mem_live();
    pgr_status status = dataset_open(path, &(dataset_options){.form = form}, &d, &err);
    for (; status == PGR_OK && more; good -= status == PGR_OK) status = dataset_next(d, &a, &r, &more, &err);
    const char *said =
        strncmp(err.message, scratch, strlen(scratch)) == 0 ? err.message + strlen(scratch) : err.message;
    assert_string_equal(said, message);
    assert_int_equal(status, want);
    assert_int_equal(good, 0);
    if (d) {
        assert_int_equal(dataset_next(d, &a, &r, &more, &err), PGR_OK);
        assert_false(more);
    }
    dataset_close(d);
    arena_free(&a);
    assert_int_equal(mem_live(), live);
}

static void test_record(void **state) {
    (void)state;
    const char *path = write_text(
        "one.jsonl",
        "\n{\"user_id\":\"u7\",\"conversation_id\":9,\"context\":[{\"role\":\"user\",\"content\":\"a\"},"
        "{\"role\":\"model\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}],"
        "\"chosen\":{\"role\":\"model\",\"content\":\"good\"},\"rejected\":\"bad\",\"split\":\"test\","
        "\"chosen_score\":80.5,\"rejected_score\":null,\"turns\":2,\"type\":\"unguided\",\"flip\":false,"
        "\"subset\":[\"close\",\"mirror\"],\"choice_attributes\":{\"values\":90,\"safety\":null,\"fluency\":40},"
        "\"prediction_gemini/gemini-1.5-pro\":\"1\",\"reasoning_flip_x\":null,\"agreement\":0.5}\n");
    arena a = {0};
    size_t n = 0;
    record *r = records_of(path, NULL, &a, &n);
    assert_int_equal(n, 1);
    assert_int_equal(r->kind, RECORD_PAIR);
    assert_int_equal(r->line, 2);
    const pair_record *p = &r->pair;
    assert_string_equal(p->user_id, "u7");
    assert_string_equal(p->conversation_id, "9");
    assert_int_equal(p->pair.n_context, 3);
    assert_string_equal(p->pair.context[1].role, "assistant");
    assert_string_equal(p->pair.context[2].text, "c");
    assert_string_equal(p->pair.chosen, "good");
    assert_string_equal(p->pair.rejected, "bad");
    assert_true(p->chosen_score == 80.5);
    assert_true(isnan(p->rejected_score));
    assert_string_equal(p->split, "test");
    assert_string_equal(p->type, "unguided");
    assert_int_equal(p->n_subset, 2);
    assert_string_equal(p->subsets[1], "mirror");
    assert_string_equal(p->choice_attributes, "values: 90\nfluency: 40");
    arena_free(&a);
}

static void test_users(void **state) {
    (void)state;
    const char *path =
        write_text("users.jsonl",
                   "{\"user_id\":\"u1\",\"demographics\":\"The person is 41.\"}\n"
                   "{\"user_id\":7,\"demographics\":{\"age\":20},\"criteria\":\"short\"}\n" ROW(
                       "u3", "x", "y",
                       "") "{\"id\":\"u2\",\"criteria\":[\"a\",\"b\"],\"history\":[{\"query\":\"q\",\"chosen\":\"c\","
                           "\"rejected\":\"r\"},{\"query\":\"q\",\"chosen\":\"c\",\"rejected\":\"\"}]}\n");
    arena a = {0};
    size_t n = 0;
    record *r = records_of(path, NULL, &a, &n);
    assert_int_equal(n, 5);
    assert_int_equal(r[0].kind, RECORD_USER);
    assert_string_equal(r[0].user.demographics, "The person is 41.");
    assert_int_equal(r[0].user.n_criteria, 0);
    assert_string_equal(r[1].user.id, "7");
    assert_string_equal(r[1].user.demographics, "age: 20");
    assert_string_equal(r[1].user.criteria[0], "short");
    assert_int_equal(r[2].kind, RECORD_PAIR);
    assert_string_equal(r[3].user.id, "u2");
    assert_int_equal(r[3].user.n_criteria, 2);
    assert_int_equal(r[4].kind, RECORD_PAIR);
    assert_int_equal(r[4].line, 4);
    assert_string_equal(r[4].pair.user_id, "u2");
    assert_string_equal(r[4].pair.pair.context[0].text, "q");
    assert_string_equal(r[4].pair.pair.rejected, "r"); /* an empty one teaches nothing */
    assert_true(isnan(r[4].pair.chosen_score));
    arena_free(&a);
}

/* Lines or an array, plain or packed, with CRLF, a byte order mark or no last line break: the same records. */
static void test_containers(void **state) {
    (void)state;
    static const char rows[] = ROW("u1", "a]},{", "b", "") ROW("u2", "c", "d\\\"", "");
    static const char array[] = " [\r\n{\"user_id\":\"u1\"," CONTEXT ",\n \"chosen\":\"a]},{\",\"rejected\":\"b\"}\n,"
                                "{\"user_id\":\"u2\"," CONTEXT ",\"chosen\":\"c\",\"rejected\":\"d\\\"\"} ] \n";
    const char *paths[] = {
        write_text("l.jsonl", rows),
        write_gzip("l.jsonl.gz", rows),
        write_text("a.json", array),
        write_gzip("a.json.gz", array),
        write_text("bom.jsonl",
                   "\xEF\xBB\xBF\r\n" ROW("u1", "a]},{", "b", "") "\r\n\r\n"
                                                                  "{\"user_id\":\"u2\"," CONTEXT
                                                                  ",\"chosen\":\"c\",\"rejected\":\"d\\\"\"}"),
    };
    static const size_t lines[][2] = {{1, 2}, {1, 2}, {2, 4}, {2, 4}, {2, 5}};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        arena a = {0};
        size_t n = 0;
        record *r = records_of(paths[i], NULL, &a, &n);
        assert_int_equal(n, 2);
        assert_string_equal(r[0].pair.user_id, "u1");
        assert_string_equal(r[0].pair.pair.chosen, "a]},{");
        assert_string_equal(r[1].pair.pair.rejected, "d\"");
        assert_int_equal(r[0].line, lines[i][0]);
        assert_int_equal(r[1].line, lines[i][1]);
        arena_free(&a);
    }
    arena a = {0};
    size_t n = 1;
    records_of(write_text("empty.jsonl", "\n \n"), NULL, &a, &n);
    assert_int_equal(n, 0);
    records_of(write_text("none.json", "[ ]"), NULL, &a, &n);
    assert_int_equal(n, 0);
    arena_free(&a);
}

static void test_mistakes(void **state) {
    (void)state;
#define GOOD ROW("u1", "a", "b", "")
    static const struct {
        const char *text, *message;
        size_t good;
    } mistakes[] = {
        {GOOD "{\"user_id\":\n", "/f:2: found end of file, expected a value", 1},
        {GOOD "[1]\n", "/f:2: found an array, expected an object", 1},
        {GOOD ROW("u1", "a", "b", ",\"splitt\":\"x\""), "/f:2: unknown key \"splitt\", expected perhaps \"split\"", 1},
        {GOOD ROW("u1", "a", "b", ",\"split\":\"holdout\""),
         "/f:2: split: found \"holdout\", expected train, validation (val, dev) or test", 1},
        {GOOD "{\"user_id\":NaN," CONTEXT ",\"chosen\":\"a\",\"rejected\":\"b\"}",
         "/f:2: user_id: found NaN, expected text or a whole number", 1},
        {GOOD "{\"user_id\":\"u\"," CONTEXT ",\"chosen\":NaN,\"rejected\":\"b\"}",
         "/f:2: chosen: found NaN, expected a string or a list of text parts", 1},
        {GOOD "{\"user_id\":\"u\"," CONTEXT
              ",\"chosen\":[{\"type\":\"image_url\",\"image_url\":\"x\"}],\"rejected\":\"b\"}",
         "/f:2: chosen[0].type: found a part of the type \"image_url\", expected \"text\"", 1},
        {GOOD ROW("", "a", "b", ""), "/f:2: user_id: found an empty string, expected text", 1},
        {GOOD "{" CONTEXT ",\"chosen\":\"a\",\"rejected\":\"b\"}",
         "/f:2: user_id: found nothing, expected the user's name, or one for all such rows (--user), or another column "
         "(--user-key)",
         1},
        {GOOD ROW("u1", "a", "b", ",\"subset\":[1]"), "/f:2: subset[0]: found an integer, expected a string", 1},
        {GOOD ROW("u1", "a", "b", ",\"chosen_score\":\"9\""), "/f:2: chosen_score: found a string, expected a number",
         1},
        {"{\"user\":\"u1\"}\n",
         "/f:1: found an object with the key \"user\", expected one of the forms prb, user, prism, lampqa, trl, hh, "
         "ultrafeedback, arena, helpsteer3, multipref, personalllm, shp, nectar (docs/users.md)",
         0},
        {"{\"user_id\":\"u1\",\"id\":\"u1\",\"criteria\":\"x\"}\n",
         "/f:1: found both `id` and `user_id`, expected one of them", 0},
        {"{\"id\":\" \",\"criteria\":\"x\"}\n", "/f:1: id: found only blanks, expected text", 0},
        {"[" GOOD "," GOOD, "/f:3: found the end of the file, expected `]` at the end of the array", 2},
        {"[" GOOD "] x", "/f:2: found text after the array's end, expected none", 1},
        {"PAR1xxxx",
         "/f: found a Parquet file, expected JSON lines: python3 -c \"import pandas as p, sys; "
         "p.read_parquet(sys.argv[1]).to_json(sys.argv[2], orient='records', lines=True)\" IN.parquet OUT.jsonl",
         0},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        pgr_status want = strncmp(mistakes[i].text, "PAR1", 4) == 0 ? PGR_E_UNSUPPORTED : PGR_E_FORMAT;
        assert_refused(write_text("f", mistakes[i].text), NULL, mistakes[i].good, want, mistakes[i].message);
    }
    assert_refused(
        write_text("f", "{\"user_id\":\"u\",\"demographics\":\"x\"}"), "prb", 0, PGR_E_FORMAT,
        "/f:1: found an object with the keys \"user_id\", \"demographics\", expected a PersonalRewardBench record "
        "(user_id, context, chosen, rejected)");
    assert_refused(
        write_text("f", ""), "csv", 0, PGR_E_ARG,
        "/f: found the form \"csv\", expected one of prb, user, prism, lampqa, trl, hh, ultrafeedback, arena, "
        "helpsteer3, multipref, personalllm, shp, nectar");
    assert_refused(path_of("absent"), NULL, 0, PGR_E_IO, "/absent: cannot be read: No such file or directory");
}

/* A packed file that is cut off or damaged is an error, not a shorter file. */
static void test_damaged_gzip(void **state) {
    (void)state;
    const char *path = write_gzip("whole.gz", GOOD GOOD GOOD);
    char bytes[400];
    FILE *f = fopen(path, "rb");
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_in_range(n, 60, sizeof bytes - 1);
    assert_refused(write_bytes("cut.gz", bytes, n - 8), NULL, 3, /* the trailer is gone */ PGR_E_FORMAT,
                   "/cut.gz: found the end of the file inside gzip data, expected the whole file");
    bytes[n - 6] ^= 1; /* the checksum */
    assert_refused(write_bytes("bad.gz", bytes, n), NULL, 0, PGR_E_FORMAT,
                   "/bad.gz: found damaged gzip data (incorrect data check), expected the file as it was packed");
}

static void test_skip_bad(void **state) {
    (void)state;
    const char *path =
        write_text("mixed.jsonl", "{bad\n" GOOD "{\"user_id\":3}\n" GOOD ROW("u1", "a", "b", ",\"x\":1"));
    dataset *d = NULL;
    pgr_error err = {0};
    arena a = {0};
    assert_int_equal(dataset_open(path, &(dataset_options){.skip_bad = true}, &d, &err), PGR_OK);
    record r;
    bool more = true;
    size_t n = 0;
    for (; more; n += more) assert_int_equal(dataset_next(d, &a, &r, &more, &err), PGR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(r.line, 4);
    assert_int_equal(dataset_skipped(d), 3);
    assert_true(dataset_size(d) > 0 && dataset_read(d) == dataset_size(d));
    dataset_close(d);
    arena_free(&a);
}

/* A value longer than the limit: an error that names it, or passed over; what is held stays bounded. */
static void test_long_value(void **state) {
    (void)state;
    const char *path = path_of("long.jsonl");
    FILE *f = fopen(path, "wb");
    fputs(GOOD "\"", f);
    for (size_t i = 0; i < STREAM_VALUE_MAX / 64 + 1; i++) fprintf(f, "%064d", 0);
    fputs("\"\n" GOOD, f);
    fclose(f);
    assert_refused(path, NULL, 1, PGR_E_LIMIT,
                   "/long.jsonl:2: found a value of 16777282 bytes, expected at most 16777216");
    dataset *d = NULL;
    arena a = {0};
    record r;
    bool more = true;
    assert_int_equal(dataset_open(path, &(dataset_options){.skip_bad = true}, &d, NULL), PGR_OK);
    for (size_t i = 0; i < 2; i++) assert_int_equal(dataset_next(d, &a, &r, &more, NULL), PGR_OK);
    assert_true(more);
    assert_int_equal(r.line, 3);
    assert_int_equal(dataset_skipped(d), 1);
    dataset_close(d);
    arena_free(&a);
}

static const char *faulty;

static bool read_once(void) {
    dataset *d = NULL;
    arena a = {0};
    record r;
    bool more = true, good = dataset_open(faulty, &(dataset_options){.skip_bad = true}, &d, NULL) == PGR_OK;
    while (good && more) good = dataset_next(d, &a, &r, &more, NULL) == PGR_OK;
    good = good && dataset_skipped(d) == 1;
    dataset_close(d);
    arena_free(&a);
    return good;
}

static void test_out_of_memory(void **state) {
    (void)state;
    faulty =
        write_text("m.json", "[" GOOD ",3,{\"id\":\"u\",\"criteria\":[\"c\"],\"demographics\":{\"a\":1},\"history\":["
                             "{\"query\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}]}]");
    assert_true(fail_each_allocation(read_once) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record),     cmocka_unit_test(test_users),         cmocka_unit_test(test_containers),
        cmocka_unit_test(test_mistakes),   cmocka_unit_test(test_damaged_gzip),  cmocka_unit_test(test_skip_bad),
        cmocka_unit_test(test_long_value), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
