/* test_methods.c - the statistical methods on choices whose reasons are known: each finds what it is made for, a
 * stranger's history helps nobody, and no method learns from the rows that are asked. */
#include <math.h>

#include "../base/faults.h"
#include "ask_method.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench/features.h"

enum { USERS = 24, TRAIN = 8, TEST = 3, MOST = USERS * (TRAIN + TEST) };

typedef struct world { /* pairs in the making: all train rows come first */
    arena a;
    pair_record records[MOST];
    size_t n;
} world;

static const turn QUESTION[1] = {{"user", "Which statement do you agree with?"}};

static void add(world *w, size_t user, const char *chosen, const char *rejected, bool train) {
    pair_record *p = &w->records[w->n];
    *p = (pair_record){.split = train ? "train" : "test", .user_id = arena_printf(&w->a, "u%zu", user)};
    p->conversation_id = arena_printf(&w->a, "c%zu", w->n++);
    p->pair = (preference_pair){QUESTION, 1, chosen, rejected};
}

static bench_data *data_of(const world *w) {
    bench_data *d = NULL;
    pgr_error err = {0};
    if (bench_data_of("world", w->records, w->n, "test", &d, &err) != PGR_OK) fail_msg("%s", err.message);
    return d;
}

static double right(const double *p, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += p[i] > 0.5 ? 1 : p[i] < 0.5 ? 0 : 0.5;
    return sum / (double)n;
}

static double accuracy(const bench_data *d, const char *method, method_options o) {
    double p[MOST];
    pgr_error err = {0};
    if (ask_method(d, method, &o, p, &err) != PGR_OK) fail_msg("%s: %s", method, err.message);
    for (size_t i = 0; i < d->n_test; i++)
        if (!(p[i] >= 0 && p[i] <= 1)) fail_msg("%s: p[%zu] = %g", method, i, p[i]);
    return right(p, d->n_test);
}

static void assert_accuracy(const bench_data *d, const char *method, method_options o, double low, double high) {
    double a = accuracy(d, method, o);
    if (!(a >= low && a <= high)) fail_msg("%s: %.3f, expected %.2f to %.2f", method, a, low, high);
}

static const method_options OWN = {.history = 0}, STRANGER = {.stranger = true}, ONE = {.history = 1};

/* ---- taste for length ------------------------------------------------------------------------------------------- */

/* Half of the users choose the longer text, the others the shorter, whichever comes; nothing is said twice. */
static void lengths(world *w) {
    rng r = {.seed = 1};
    for (int train = 1; train >= 0; train--)
        for (size_t u = 0; u < USERS; u++)
            for (size_t i = 0; i < (train ? TRAIN : TEST); i++) {
                buf text = {0};
                size_t words = 2 + rng_below(&r, 3);
                for (size_t k = 0; k < 4 * words; k++)
                    buf_printf(&text, "%s%zu", k ? " word" : "word", rng_below(&r, 50));
                const char *longer = arena_strdup(&w->a, text.data);
                text.data[text.n / 3] = '\0';
                const char *shorter = arena_strdup(&w->a, text.data);
                buf_free(&text);
                add(w, u, u % 2 ? longer : shorter, u % 2 ? shorter : longer, train);
            }
}

static void test_length(void **state) {
    (void)state;
    world w = {.n = 0};
    lengths(&w);
    bench_data *d = data_of(&w);
    assert_accuracy(d, "longest", OWN, 0.5, 0.5); /* as many of each kind */
    assert_accuracy(d, "length-personal", OWN, 1, 1);
    assert_accuracy(d, "attributes-personal", OWN, 0.97, 1);
    assert_accuracy(d, "length-personal", ONE, 0.9, 1); /* one pair tells all there is to know */
    assert_accuracy(d, "attributes", OWN, 0.3, 0.7);
    assert_accuracy(d, "length-personal", STRANGER, 0.15, 0.85); /* about half of the strangers are of the same kind */
    bench_data_free(d);
    arena_free(&w.a);
}

static void test_longest_ties(void **state) {
    (void)state;
    world w = {.n = 0};
    add(&w, 0, "four", "\xC3\xA9\xC3\xA8\xC3\xAA\xC3\xAB", false); /* four characters in eight bytes */
    add(&w, 0, "five!", "four", false);
    add(&w, 1, "", "a", false);
    bench_data *d = data_of(&w);
    double p[3];
    pgr_error err;
    assert_int_equal(ask_method(d, "longest", &OWN, p, &err), PGR_OK);
    assert_true(p[0] == 0.5 && p[1] == 1 && p[2] == 0);
    bench_data_free(d);
    arena_free(&w.a);
}

/* ---- statements ------------------------------------------------------------------------------------------------- */

enum { STATEMENTS = 12 };

static const char *statement(world *w, size_t i) {
    return arena_printf(&w->a, "s%c", (char)('a' + i)); /* all look alike: no attribute says anything */
}

/* Pairs of a statement that is good in the user's eyes and one that is not, no statement pair of a user both in train
 * and test. good(u, i): users of two camps, or all alike. */
static void statements(world *w, bool camps) {
    rng r = {.seed = 2};
    for (int train = 1; train >= 0; train--)
        for (size_t u = 0; u < USERS; u++)
            for (size_t i = 0; i < (train ? TRAIN : TEST); i++) {
                size_t a = 2 * rng_below(&r, STATEMENTS / 2), b = 2 * rng_below(&r, STATEMENTS / 2) + 1;
                bool odd = camps && u % 2; /* the other camp likes what this one dislikes */
                add(w, u, statement(w, odd ? b : a), statement(w, odd ? a : b), train);
            }
}

static void test_popularity(void **state) {
    (void)state;
    world w = {.n = 0};
    statements(&w, false);
    bench_data *d = data_of(&w);
    assert_accuracy(d, "popularity", OWN, 1, 1);
    assert_accuracy(d, "base", OWN, 1, 1);
    assert_accuracy(d, "similar-users", OWN, 1, 1);
    assert_accuracy(d, "similar-users", STRANGER, 1, 1); /* nothing personal in it */
    assert_accuracy(d, "ideal-points", OWN, 1, 1);
    assert_accuracy(d, "ideal-points", STRANGER, 1, 1);
    bench_data_free(d);
    arena_free(&w.a);
}

static void test_camps(void **state) {
    (void)state;
    world w = {.n = 0};
    statements(&w, true);
    bench_data *d = data_of(&w);
    assert_accuracy(d, "base", OWN, 0.2, 0.75); /* as many users of each camp: to anybody else it is noise */
    assert_accuracy(d, "similar-users", OWN, 1, 1);
    assert_accuracy(d, "similar-users", ONE, 0.95, 1);
    assert_accuracy(d, "similar-users", STRANGER, 0.15, 0.85);
    assert_accuracy(d, "ideal-points", OWN, 1, 1);
    assert_accuracy(d, "ideal-points", ONE, 0.95, 1);
    assert_accuracy(d, "ideal-points", STRANGER, 0.15, 0.85);
    bench_data_free(d);
    arena_free(&w.a);
}

/* ---- embeddings ------------------------------------------------------------------------------------------------- */

enum { DIMS = 4 };

/* Vectors of the items: dimension 0 is +-1 as the statement is good or bad, the others are noise. */
static float *vectors_of(const bench_data *d) {
    rng r = {.seed = 3};
    float *v = mem_array(d->n_item, DIMS * sizeof *v);
    for (size_t i = 0; i < d->n_item; i++) {
        for (size_t f = 1; f < DIMS; f++) v[i * DIMS + f] = (float)(0.1 * rng_normal(&r));
        v[i * DIMS] = (d->items[i][1] - 'a') % 2 ? -1 : 1;
    }
    return v;
}

static void test_embedding(void **state) {
    (void)state;
    for (int camps = 0; camps < 2; camps++) {
        world w = {.n = 0};
        statements(&w, camps);
        bench_data *d = data_of(&w);
        float *vectors = vectors_of(d);
        method_options own = {.vectors = vectors, .dims = DIMS};
        assert_accuracy(d, "embedding", own, camps ? 0.2 : 1, camps ? 0.75 : 1);
        assert_accuracy(d, "embedding-users", own, 1, 1);
        mem_free(vectors);
        bench_data_free(d);
        arena_free(&w.a);
    }
    world w = {.n = 0};
    statements(&w, false);
    bench_data *d = data_of(&w);
    double p[MOST];
    pgr_error err;
    assert_int_equal(ask_method(d, "embedding", &OWN, p, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "embedder"));
    bench_data_free(d);
    arena_free(&w.a);
}

/* ---- all methods ------------------------------------------------------------------------------------------------ */

static void run_all(const world *w, double p[][MOST], method_options o) {
    bench_data *d = data_of(w);
    float *vectors = vectors_of(d);
    pgr_error err;
    float gaps[MOST]; /* a reward model's opinion of a text: a value of its vector */
    for (size_t i = 0; i < d->n_row; i++)
        gaps[i] = vectors[d->rows[i].item[0] * DIMS] - vectors[d->rows[i].item[1] * DIMS];
    o.vectors = vectors;
    o.dims = DIMS;
    o.gaps = gaps;
    for (size_t m = 0; BENCH_METHODS[m].name; m++)
        if (ask_method(d, BENCH_METHODS[m].name, &o, p[m], &err) != PGR_OK) fail_msg("%s", err.message);
    mem_free(vectors);
    bench_data_free(d);
}

/* The labels of asked rows turned round: every answer turns round with them and is the same otherwise. All texts that
 * are asked about are in train rows, so that they keep their numbers. 1e-9: sums in another order. */
static void test_no_leak(void **state) {
    (void)state;
    static double p[16][MOST], q[16][MOST];
    world w = {.n = 0};
    statements(&w, true);
    method_options o = {.history = 3, .stranger = true, .seed = 9};
    run_all(&w, p, o);
    for (size_t i = USERS * TRAIN; i < w.n; i += 2) {
        preference_pair *pair = &w.records[i].pair;
        const char *t = pair->chosen;
        pair->chosen = pair->rejected;
        pair->rejected = t;
    }
    run_all(&w, q, o);
    for (size_t m = 0; BENCH_METHODS[m].name; m++)
        for (size_t i = 0; i < USERS * TEST; i++) {
            double want = i % 2 ? p[m][i] : 1 - p[m][i];
            if (!(fabs(q[m][i] - want) <= 1e-9))
                fail_msg("%s: row %zu: %.12g, turned round %.12g", BENCH_METHODS[m].name, i, p[m][i], q[m][i]);
        }
    arena_free(&w.a);
}

/* The same seed gives the same numbers; a history of one pair depends on the seed. */
static void test_repeats(void **state) {
    (void)state;
    double p[3][MOST];
    world w = {.n = 0};
    statements(&w, true);
    bench_data *d = data_of(&w);
    pgr_error err;
    for (int i = 0; i < 3; i++) {
        method_options o = {.history = 1, .seed = i == 2 ? 8 : 7};
        assert_int_equal(ask_method(d, "similar-users", &o, p[i], &err), PGR_OK);
    }
    assert_memory_equal(p[0], p[1], d->n_test * sizeof **p);
    assert_memory_not_equal(p[0], p[2], d->n_test * sizeof **p);
    bench_data_free(d);
    arena_free(&w.a);
}

/* Users without history, users with nothing else, no train rows at all: an answer all the same. */
static void test_bare(void **state) {
    (void)state;
    world w = {.n = 0};
    for (size_t i = 0; i < 4; i++) add(&w, i, "sa", "sb", false);
    static double p[16][MOST];
    run_all(&w, p, OWN);
    for (size_t m = 0; BENCH_METHODS[m].name; m++)
        for (size_t i = 0; i < 4; i++) assert_true(fabs(p[m][i] - 0.5) <= 1e-12);
    add(&w, 9, "sa", "sb", true);
    run_all(&w, p, OWN);
    for (size_t m = 0; BENCH_METHODS[m].name; m++)
        for (size_t i = 0; i < 4; i++) assert_true(p[m][i] >= 0.5 - 1e-12 && p[m][i] <= 1);
    arena_free(&w.a);
}

/* ---- features --------------------------------------------------------------------------------------------------- */

static double feature(const char *name, const char *text, const char *query) {
    double v[N_FEATURE];
    features_measure(text, query, v);
    for (size_t i = 0; i < N_FEATURE; i++)
        if (strcmp(feature_name(i), name) == 0) return v[i];
    fail_msg("no feature %s", name);
    return NAN;
}

static void assert_feature(const char *name, const char *text, double want) {
    double v = feature(name, text, "the red car");
    if (!(fabs(v - want) <= 1e-12)) fail_msg("%s of \"%s\": %.9g, expected %.9g", name, text, v, want);
}

static void test_features(void **state) {
    (void)state;
    assert_feature("characters", "abcd", log(5));
    assert_feature("sentences", "One. Two? 3.5 is three!", log(4));
    assert_feature("paragraphs", "a\nb\n\nc\n \n\nd", log(4));
    assert_feature("items", "- a\n* b\n2. c\n-d\n12) e", log(5));
    assert_feature("steps", "- a\n* b\n2. c\n12) e", log(3));
    assert_feature("list-at", "abc\n\n- d\nef", 5.0 / 11);
    assert_feature("list-at", "abc", 1);
    assert_feature("bold", "**a** b **c**", sqrt(2));
    assert_feature("links", "see http://a and https://b", sqrt(2));
    assert_feature("tables", "|a|b|\n|-|-|\nend", sqrt(2));
    assert_feature("asks", "why? how?", sqrt(200.0 / 22));
    assert_feature("capitals", "ABcd 12", 0.5);
    assert_feature("variety", "a A b", 2 / sqrt(4));
    assert_feature("long-words", "a computer", 0.5);
    assert_feature("query", "The car is blue", 0.5);
    assert_feature("you", "your mind and you", sqrt(200.0 / 24));
    assert_feature("not", "don't, no", sqrt(200.0 / 22));
    assert_feature("refuses", "Well, I'm Sorry but", 1);
    assert_feature("refuses", "Fine", 0);
    assert_feature("machine", "As an AI language model", 1);
    assert_feature("ends-asking", "ok? \n", 1);
    assert_feature("unfinished", "and then", 1);
    assert_feature("unfinished", "and then.", 0);
    assert_feature("outside", "\xC3\xA9", 0.5);
    double v[N_FEATURE];
    features_measure("", "", v);
    for (size_t i = 0; i < N_FEATURE; i++) assert_true(isfinite(v[i]));
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static bench_data *faulty;
static float *faulty_vectors;
static const char *faulty_method;

static bool run_once(void) {
    double p[MOST];
    pgr_error err;
    method_options o = {.stranger = true, .vectors = faulty_vectors, .dims = DIMS};
    return ask_method(faulty, faulty_method, &o, p, &err) == PGR_OK;
}

static void test_out_of_memory(void **state) {
    (void)state;
    world w = {.n = 0};
    for (size_t i = 0; i < 6; i++) add(&w, i % 2, i % 2 ? "sb" : "sa", i % 2 ? "sa" : "sb", true);
    add(&w, 0, "sa", "sb", false);
    faulty = data_of(&w);
    faulty_vectors = vectors_of(faulty);
    static const char *const METHODS[] = {"attributes-personal", "base-embedding", "similar-users", "ideal-points"};
    for (size_t i = 0; i < sizeof METHODS / sizeof *METHODS; i++) {
        faulty_method = METHODS[i];
        assert_true(fail_allocations(run_once, 50) > 5);
    }
    mem_free(faulty_vectors);
    bench_data_free(faulty);
    arena_free(&w.a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_length),        cmocka_unit_test(test_longest_ties), cmocka_unit_test(test_popularity),
        cmocka_unit_test(test_camps),         cmocka_unit_test(test_embedding),    cmocka_unit_test(test_no_leak),
        cmocka_unit_test(test_repeats),       cmocka_unit_test(test_bare),         cmocka_unit_test(test_features),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
