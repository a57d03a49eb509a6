/* test_cold.c - the cold start: what a fold's users keep, that others keep all, that what is known is what is won, and
 * refusals. */
#include <math.h>
#include <unistd.h>

#include "../base/scratch.h"
#include "../judge/tiny_engine.h"

#include "base/file.h"
#include "pgenrm_bench.h"

enum { USERS = 24, TRAIN = 8, TEST = 4 };

/* Half of the users choose the longer text, half the shorter one, always: nobody's choices tell another's. The last one
 * has two train rows fewer. */
static void write_data(const char *path) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int u = 0; u < USERS; u++)
        for (int i = u + 1 == USERS ? 2 : 0; i < TRAIN + TEST; i++) {
            char a[200] = "", b[200] = "";
            for (int k = 0; k < 3 + (u * 7 + i * 5) % 9; k++) strcat(a, "word ");
            for (int k = 0; k < 14 + (u * 3 + i) % 7; k++) strcat(b, "word ");
            snprintf(a + strlen(a), 40, "end %d %d.", u, i);
            snprintf(b + strlen(b), 40, "end %d %d.", u, i);
            fprintf(f,
                    "{\"user_id\":\"u%02d\",\"conversation_id\":\"c%d-%d\",\"context\":[{\"role\":\"user\",\"content\":"
                    "\"Ask %d %d\"}],\"chosen\":{\"role\":\"assistant\",\"content\":\"%s\"},\"rejected\":{\"role\":"
                    "\"assistant\",\"content\":\"%s\"},\"split\":\"%s\"}\n",
                    u, u, i, u, i, u % 2 ? a : b, u % 2 ? b : a, i < TRAIN ? "train" : "test");
        }
    assert_int_equal(fclose(f), 0);
}

static const char *data[1];

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    static char path[160];
    snprintf(path, sizeof path, "%s/lengths.jsonl", scratch);
    write_data(path);
    data[0] = path;
    return tiny_begin(state);
}

static int teardown(void **state) {
    return tiny_end(state) != 0 ? -1 : remove_folder(state);
}

static pgr_bench_options options(const char *const *methods, size_t n) {
    static const int none[] = {0};
    pgr_bench_options o = pgr_bench_options_default();
    o.data = data;
    o.n_data = 1;
    o.ind = none;
    o.n_ind = 1;
    o.methods = methods;
    o.n_methods = n;
    return o;
}

static const char *const LENGTH[] = {"length-personal"};

static pgr_cold_report *run(pgr_engine *e, const pgr_bench_options *o, const pgr_cold_options *how) {
    pgr_cold_report *r = NULL;
    pgr_error err = {0};
    if (pgr_bench_cold(e, o, how, &r, &err) != PGR_OK) fail_msg("%s", err.message);
    return r;
}

static const pgr_cold_row *find(const pgr_cold_report *r, const char *method, int known) {
    for (size_t i = 0; i < r->n_row; i++)
        if (strcmp(r->rows[i].method, method) == 0 && r->rows[i].known == known) return &r->rows[i];
    fail_msg("no row of %s with %d pairs", method, known);
    return NULL;
}

/* Without pairs a user is like all, half of whom choose the other way; with six he is known. The same users are asked
 * at every number, only those who have eight. */
static void test_more_is_known(void **state) {
    (void)state;
    const int known[] = {0, 1, 6, 8};
    const pgr_cold_options how = {known, 4, 5};
    pgr_bench_options o = options(LENGTH, 1);
    pgr_cold_report *r = run(NULL, &o, &how);
    assert_int_equal(r->n_row, 8);
    for (size_t i = 0; i < r->n_row; i++) {
        assert_true(r->rows[i].users == USERS - 1 && r->rows[i].pairs == (USERS - 1) * TEST);
        assert_string_equal(r->rows[i].data, "lengths");
        assert_string_equal(r->rows[i].method, i < 4 ? "longest" : "length-personal");
        assert_int_equal(r->rows[i].known, known[i % 4]);
        assert_true(r->rows[i].accuracy_se >= 0);
    }
    double longest = find(r, "longest", 0)->accuracy;
    assert_true(fabs(longest - 12.0 / 23) < 1e-12); /* u01, u03... choose the shorter; u23 is not asked */
    assert_true(find(r, "longest", 8)->accuracy == longest);
    assert_true(find(r, "length-personal", 0)->accuracy < .6);
    assert_true(find(r, "length-personal", 6)->accuracy > .95);
    assert_true(find(r, "length-personal", 8)->over_longest > .4);
    for (size_t i = 0; i < r->n_note; i++) /* that nothing is known of those of whom nothing was to be known */
        if (strstr(r->notes[i], "has a row of split")) fail_msg("%s", r->notes[i]);
    pgr_cold_free(r);
}

static size_t count(const buf *text, const char *what) {
    size_t n = 0;
    for (const char *p = text->data; (p = strstr(p, what)); p++) n++;
    return n;
}

/* In a run's file the fold's users have what is known of them and their test rows, everybody else his train rows; a
 * smaller number's pairs are among a larger one's; the run resumes. */
static void test_files(void **state) {
    (void)state;
    const int known[] = {2, 3};
    const pgr_cold_options how = {known, 2, 4};
    pgr_bench_options o = options(LENGTH, 1);
    char out[100], again[160];
    snprintf(out, sizeof out, "%s/out", scratch);
    o.out = out;
    pgr_cold_report *r = run(NULL, &o, &how);
    size_t asked = 0;
    for (int fold = 0; fold < 4; fold++) {
        char path[300];
        buf text[2] = {{0}, {0}};
        size_t n_user = 0;
        for (int k = 0; k < 2; k++) {
            snprintf(path, sizeof path, "%s/lengths-%d-%d/lengths.jsonl", out, known[k], fold);
            assert_int_equal(file_read(path, &text[k], NULL), PGR_OK);
        }
        for (int u = 0; u < USERS; u++) {
            char ask[40];
            size_t rows[2] = {0, 0}, all = u + 1 == USERS ? TRAIN - 2 : TRAIN;
            for (int i = 0; i < TRAIN + TEST; i++) {
                snprintf(ask, sizeof ask, "\"Ask %d %d\"", u, i);
                bool there[2] = {strstr(text[0].data, ask) != NULL, strstr(text[1].data, ask) != NULL};
                assert_true(there[1] || !there[0]);
                rows[0] += there[0];
                rows[1] += there[1];
            }
            bool cold = rows[0] == 2 + TEST && rows[1] == 3 + TEST;
            assert_true(cold || (rows[0] == all && rows[1] == all));
            n_user += cold;
        }
        asked += n_user;
        assert_true(n_user == 6 && count(&text[0], "\"test\"") == 6 * TEST);
        buf_free(&text[0]);
        buf_free(&text[1]);
    }
    assert_int_equal(asked, USERS);
    o.resume = true;
    pgr_cold_report *second = run(NULL, &o, &how);
    assert_int_equal(second->n_row, r->n_row);
    for (size_t i = 0; i < r->n_row; i++) assert_true(second->rows[i].accuracy == r->rows[i].accuracy);
    pgr_cold_free(second);
    o.resume = false; /* the folders are there */
    pgr_error err = {0};
    assert_true(pgr_bench_cold(NULL, &o, &how, &second, &err) != PGR_OK);
    snprintf(again, sizeof again, "%s/lengths-2-0", out);
    assert_non_null(strstr(err.message, again));
    pgr_cold_free(r);
}

/* The language model is asked too. */
static void test_model(void **state) {
    (void)state;
    static const int two[] = {2}, known[] = {0, 2};
    static const char *const methods[] = {"p-genrm"};
    const pgr_cold_options how = {known, 2, 1};
    pgr_bench_options o = options(methods, 1);
    o.ind = two;
    o.limit = 6;
    o.judge.frame = MINI;
    pgr_cold_report *r = run(ENGINE, &o, &how);
    assert_int_equal(r->n_row, 4);
    for (int k = 0; k < 2; k++) {
        const pgr_cold_row *row = find(r, "p-genrm", known[k]);
        assert_true(row->ind == 2 && row->pairs == 6 && row->users == 6);
    }
    pgr_cold_free(r);
}

/* The mean of a number of the verdicts of p-genrm in the one fold of a run. */
static double mean_of(const char *folder, const char *key) {
    char path[400], word[40];
    buf text = {0};
    double sum = 0;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/lengths-1-0/verdicts.jsonl", folder);
    snprintf(word, sizeof word, "\"%s\":", key);
    assert_int_equal(file_read(path, &text, NULL), PGR_OK);
    for (const char *at = text.data; (at = strstr(at, "\"p-genrm\"")) != NULL; n++) {
        at = strstr(at, word);
        assert_non_null(at);
        sum += atof(at + strlen(word));
    }
    buf_free(&text);
    assert_true(n > 0);
    return sum / (double)n;
}

/* Of a user whose one pair is known a prompt shows that one, of a neighbour all his: his prompts are longer. */
static void test_neighbours(void **state) {
    (void)state;
    static const int two[] = {2}, none[] = {0}, known[] = {1};
    static const char *const methods[] = {"p-genrm"};
    static char out[2][160];
    const pgr_cold_options how = {known, 1, 1};
    pgr_bench_options o = options(methods, 1);
    o.ind = two;
    o.n_pro = 1;
    o.limit = 4;
    o.judge.frame = MINI;
    o.by = "facts";
    double prompt[2];
    for (int k = 0; k < 2; k++) {
        snprintf(out[k], sizeof out[k], "%s/neighbours-%d", scratch, k);
        o.pro = k ? two : none;
        o.out = out[k];
        pgr_cold_free(run(ENGINE, &o, &how));
        prompt[k] = mean_of(out[k], "prompt");
    }
    if (!(prompt[1] - prompt[0] > 1.2 * prompt[0]))
        fail_msg("the prompts of two own chains are %.0f tokens, of two neighbours' %.0f", prompt[0],
                 prompt[1] - prompt[0]);
}

static void want_refusal(const pgr_bench_options *o, const pgr_cold_options *how, const char *words) {
    pgr_cold_report *r = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_bench_cold(NULL, o, how, &r, &err), PGR_E_ARG);
    if (!strstr(err.message, words)) fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}

static void test_refusals(void **state) {
    (void)state;
    pgr_bench_options o = options(LENGTH, 1);
    want_refusal(&o, NULL, "0 users have rows that are asked and 10 train pairs or more"); /* eight at most */
    const int falling[] = {0, 3, 3};
    want_refusal(&o, &(pgr_cold_options){falling, 3, 5}, "3 pairs, expected numbers of 0 and more that grow");
    want_refusal(&o, &(pgr_cold_options){falling, 0, 5}, "0 numbers of pairs");
    o.split = "train";
    want_refusal(&o, NULL, "split is \"train\"");
    o.split = "test";
    o.calibration_out = "x";
    want_refusal(&o, NULL, "no calibration and no attributes");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_more_is_known), cmocka_unit_test(test_files),
                                       cmocka_unit_test(test_model), cmocka_unit_test(test_neighbours),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
