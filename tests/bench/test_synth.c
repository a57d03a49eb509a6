/* test_synth.c - synthetic users: the same file again, held-out prompts, users and prototypes, truth that is true, a
 * floor that holds, a ladder in the right order, errors between truths, refusals. */
#include <math.h>
#include <unistd.h>

#include "../base/faults.h"
#include "../base/scratch.h"

#include "base/file.h"
#include "base/file_out.h"
#include "bench/synth.h"
#include "user/dataset.h"
#include "user/rules.h"

#define RESPONSES PGR_SOURCE_DIR "/examples/responses.jsonl"

static char made[100], again[100];

static pgr_synth_options options(void) {
    pgr_synth_options o = pgr_synth_options_default();
    o.users = 120;
    o.prototypes = 3;
    o.hold_prototypes = 0;
    o.train_pairs = 7; /* all train prompts of the file: a floor would leave too few */
    o.test_pairs = 3;
    o.least = 0;
    o.truths = 1;
    return o;
}

static void must(pgr_status status, const pgr_error *err) {
    if (status != PGR_OK) fail_msg("%s", err->message);
}

static int make(const char *out, const pgr_synth_options *o) {
    pgr_error err = {0};
    must(pgr_synth(RESPONSES, out, o, NULL, &err), &err);
    return 0;
}

static void read_text(const char *path, buf *out) {
    assert_int_equal(file_read(path, out, NULL), PGR_OK);
}

static void test_same_again(void **state) {
    (void)state;
    pgr_synth_options o = options();
    buf a = {0}, b = {0};
    make(made, &o);
    make(again, &o);
    read_text(made, &a);
    read_text(again, &b);
    assert_true(a.n == b.n && a.n > 1000);
    assert_memory_equal(a.data, b.data, a.n);
    o.seed = 1;
    make(again, &o);
    read_text(again, &b);
    assert_true(a.n != b.n || memcmp(a.data, b.data, a.n) != 0);
    buf_free(&a);
    buf_free(&b);
}

static bool in_subset(const pair_record *p, const char *name) {
    for (size_t i = 0; i < p->n_subset; i++)
        if (strcmp(p->subsets[i], name) == 0) return true;
    return false;
}

/* The reader takes the file; test prompts are asked in no train row; held-out users have rows of both kinds, and their
 * train rows are histories, but no lessons. */
static void test_records(void **state) {
    (void)state;
    pgr_synth_options o = options();
    make(made, &o);
    dataset *d = NULL;
    pgr_error err = {0};
    arena a = {0};
    must(dataset_open(made, NULL, &d, &err), &err);
    bool more = true, held[16] = {false}, train[16] = {false};
    size_t n = 0, n_train = 0, n_held = 0, n_lesson = 0;
    for (;;) {
        record r;
        must(dataset_next(d, &a, &r, &more, &err), &err);
        if (!more) break;
        assert_int_equal(r.kind, RECORD_PAIR);
        assert_true(r.pair.conversation_id[0] == 'q' && r.pair.pair.n_context == 1);
        size_t q = strtoul(r.pair.conversation_id + 1, NULL, 10);
        bool is_train = strcmp(r.pair.split, "train") == 0;
        assert_true(q < 10 && strcmp(r.pair.pair.chosen, r.pair.pair.rejected) != 0);
        *(is_train ? &train[q] : &held[q]) = true;
        assert_true(is_train ? r.pair.n_subset <= 1 : in_subset(&r.pair, "held") != in_subset(&r.pair, "known"));
        assert_true(is_train == rules_is_history(r.pair.split) && !in_subset(&r.pair, "unseen"));
        n_held += in_subset(&r.pair, "held");
        n_lesson += rules_is_lesson(&r.pair);
        n_train += is_train;
        n++;
    }
    assert_true(n == 1200 && n_train == 840 && n_held == 90 && n_lesson == 630);
    for (size_t q = 0; q < 10; q++) assert_true(held[q] != train[q]);
    dataset_close(d);
    arena_free(&a);
}

/* The likelier choice is made as often as truth says: z of the sum over 1,200 rows below 4. */
static void test_truth(void **state) {
    (void)state;
    pgr_synth_options o = options();
    o.noise = 0.7;
    synth_texts t;
    synth s;
    pgr_error err = {0};
    must(synth_texts_load(RESPONSES, 1500, NULL, &t, &err), &err);
    must(synth_draw(&t, &o, &s, &err), &err);
    double off = 0, variance = 0, spread = 0;
    for (size_t i = 0; i < s.n_row; i++) {
        double p = s.rows[i].truth, likelier = p > .5 ? p : 1 - p, u = 0, z[N_FACT];
        off += (p > .5) - likelier;
        variance += likelier * (1 - likelier);
        synth_difference(&s, &s.rows[i], z);
        const synth_user *user = &s.users[s.rows[i].user];
        for (int f = 0; f < N_FACT; f++) u += user->weights[t.prompts[s.rows[i].prompt].kind][f] * z[f];
        assert_true(fabs(1 / (1 + exp(-u / o.noise)) - p) <= 1e-12);
        assert_true(t.prompts[s.rows[i].prompt].held == s.rows[i].test);
        spread += u * u / (double)s.n_row;
    }
    assert_true(fabs(off) <= 4 * sqrt(variance) && variance > 50);
    assert_true(spread > .5 && spread < 2); /* scaled to 1 over random pairs of all prompts */
    synth_free(&s);
    synth_texts_free(&t);
}

static synth drawn(const pgr_synth_options *o, synth_texts *t) {
    synth s;
    pgr_error err = {0};
    must(synth_texts_load(RESPONSES, 1500, NULL, t, &err), &err);
    must(synth_draw(t, o, &s, &err), &err);
    return s;
}

static double utility(const synth *s, const synth_row *row) {
    double z[N_FACT], u = 0;
    synth_difference(s, row, z);
    for (int f = 0; f < N_FACT; f++) u += s->users[row->user].weights[s->texts->prompts[row->prompt].kind][f] * z[f];
    return u;
}

/* No pair below the floor is asked; those above it are all asked, each of a prompt's about as often: z below 5 for a
 * user's every pair, and where one in a hundred random pairs is above it, it is found. */
static void test_floor(void **state) {
    (void)state;
    pgr_synth_options o = options();
    synth_texts t;
    o.train_pairs = o.test_pairs = 1;
    o.users = 4000;
    o.own = o.scenario = o.common = 0; /* users of a prototype have the same weights */
    o.prototypes = 1;
    for (int hard = 0; hard < 2; hard++) {
        o.least = hard ? 1.6 : .25;
        synth s = drawn(&o, &t);
        size_t below = 0, asked[10] = {0}, times[10] = {0};
        for (size_t i = 0; i < s.n_row; i++) {
            below += fabs(utility(&s, &s.rows[i])) < o.least;
            asked[s.rows[i].prompt]++;
        }
        assert_int_equal(below, 0);
        for (size_t p = 0; p < t.n_prompt; p++) { /* how often the prompt's commonest pair was asked */
            const synth_prompt *prompt = &t.prompts[p];
            size_t n_pair = 0;
            for (size_t a = prompt->first; a < prompt->first + prompt->n; a++)
                for (size_t b = prompt->first; b < a; b++) {
                    synth_row one = {.prompt = p, .chosen = a, .rejected = b};
                    size_t n = 0;
                    if (fabs(utility(&s, &one)) < o.least) continue;
                    n_pair++;
                    for (size_t i = 0; i < s.n_row; i++)
                        n += s.rows[i].prompt == p && s.rows[i].chosen + s.rows[i].rejected == a + b
                             && (s.rows[i].chosen == a || s.rows[i].chosen == b);
                    if (n > times[p]) times[p] = n;
                }
            double mean = n_pair ? (double)asked[p] / (double)n_pair : 0;
            assert_true((double)times[p] <= mean + 5 * sqrt(mean + 1));
            assert_true(n_pair > 0 || asked[p] == 0);
        }
        synth_free(&s);
        synth_texts_free(&t);
    }
}

/* Prototypes that are held out belong to held-out users alone, every other one of these; the others' bases have the
 * mean 0, so that what is common says nothing of the former. */
static void test_held_prototypes(void **state) {
    (void)state;
    pgr_synth_options o = options();
    synth_texts t;
    o.prototypes = 5;
    o.hold_prototypes = 2;
    synth s = drawn(&o, &t);
    size_t n_held = 0, n_unseen = 0, of[5] = {0};
    for (size_t u = 0; u < s.n_user; u++) {
        n_held += s.users[u].held;
        n_unseen += s.users[u].unseen;
        of[s.users[u].prototype]++;
        assert_true(s.users[u].unseen == (s.users[u].prototype >= 3));
        assert_true(s.users[u].held || !s.users[u].unseen);
    }
    assert_true(n_held == 30 && n_unseen == 15 && s.n_prototype == 3);
    for (size_t k = 0; k < 5; k++) assert_true(of[k] > 0);
    synth_free(&s);
    synth_texts_free(&t);
    pgr_synth_report r;
    pgr_error err = {0};
    must(pgr_synth(RESPONSES, made, &o, &r, &err), &err);
    assert_true(r.ladder.rows == 45 && r.unseen.rows == 45 && r.unseen.n_step == r.ladder.n_step);
    buf text = {0};
    read_text(made, &text);
    size_t unseen = 0, seen = 0;
    for (const char *p = text.data; (p = strstr(p, "\"held\", \"")); p++) {
        unseen += strncmp(p + 8, "\"unseen\"", 8) == 0;
        seen += strncmp(p + 8, "\"seen\"", 6) == 0;
    }
    assert_true(unseen == 45 && seen == 45);
    buf_free(&text);
}

/* Means over three truths are the means of the three seeds' own ladders, errors those between them. */
static void test_truths(void **state) {
    (void)state;
    pgr_synth_options o = options();
    pgr_synth_report all, one[3];
    pgr_error err = {0};
    o.prototypes = 3;
    o.hold_prototypes = 1;
    o.truths = 3;
    o.seed = 7;
    must(pgr_synth(RESPONSES, NULL, &o, &all, &err), &err);
    o.truths = 1;
    for (size_t i = 0; i < 3; i++, o.seed++) must(pgr_synth(RESPONSES, NULL, &o, &one[i], &err), &err);
    for (size_t i = 0; i < all.unseen.n_step; i++) {
        double mean = 0, ss = 0;
        for (size_t k = 0; k < 3; k++) mean += one[k].unseen.steps[i].accuracy / 3;
        for (size_t k = 0; k < 3; k++) ss += pow(one[k].unseen.steps[i].accuracy - mean, 2);
        assert_true(fabs(all.unseen.steps[i].accuracy - mean) < 1e-12);
        assert_true(fabs(all.unseen.steps[i].accuracy_se - sqrt(ss / 2 / 3)) < 1e-7);
    }
    assert_true(fabs(all.ladder.ceiling - (one[0].ladder.ceiling + one[1].ladder.ceiling + one[2].ladder.ceiling) / 3)
                < 1e-12);
    assert_int_equal(all.train_rows, one[0].train_rows);
    assert_true(isnan(all.ladder.steps[0].gain_se) && all.truths == 3);
}

static const pgr_synth_step *find(const pgr_synth_report *r, const char *name, size_t h) {
    for (size_t i = 0; i < r->ladder.n_step; i++)
        if (strcmp(r->ladder.steps[i].name, name) == 0 && r->ladder.steps[i].history == h) return &r->ladder.steps[i];
    fail_msg("no step %s %zu", name, h);
    return NULL;
}

/* Nobody beats the oracle; own pairs help, a stranger's do not; more pairs help more;
 * prototypes help where users are their prototypes. */
static void test_ladder(void **state) {
    (void)state;
    pgr_synth_options o = options();
    o.users = 800;
    o.own = 0;
    o.noise = .02;
    pgr_synth_report r;
    pgr_error err = {0};
    must(pgr_synth(RESPONSES, NULL, &o, &r, &err), &err);
    const pgr_synth_step *oracle = find(&r, "oracle", 0), *one = find(&r, "personal", 1),
                         *six = find(&r, "personal", 6), *like = find(&r, "prototypes", 6);
    assert_int_equal(r.ladder.rows, 600);
    assert_int_equal(r.unseen.n_step, 0);
    double ceiling = r.ladder.ceiling;
    assert_true(fabs(oracle->accuracy - ceiling) < 4 * oracle->accuracy_se + 1e-9 && ceiling > .9);
    for (size_t i = 0; i < r.ladder.n_step; i++) assert_true(r.ladder.steps[i].accuracy <= oracle->accuracy);
    assert_true(six->accuracy > one->accuracy && six->gain > 3 * six->gain_se && like->gain > 3 * like->gain_se);
    assert_true(like->accuracy > six->accuracy);
    assert_true(isnan(oracle->gain) && isnan(find(&r, "global", 0)->stranger));
    assert_true(fabs(six->gain - (six->accuracy - six->stranger)) < 1e-12);
}

static void want_refusal(const char *path, const pgr_synth_options *o, pgr_status status, const char *words) {
    pgr_error err = {0};
    pgr_synth_report r;
    assert_int_equal(pgr_synth(path, again, o, &r, &err), status);
    if (!strstr(err.message, words)) fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}

static void want_bad_line(const char *text, const char *words) {
    assert_int_equal(file_write(made, text, strlen(text), NULL), PGR_OK);
    want_refusal(made, NULL, PGR_E_FORMAT, words);
}

static void test_refusals(void **state) {
    (void)state;
    unlink(again);
    pgr_synth_options o = options();
    o.test_pairs = 4;
    want_refusal(RESPONSES, &o, PGR_E_ARG, "there are 7 and 3 prompts");
    o = options();
    o.prototypes = 121;
    want_refusal(RESPONSES, &o, PGR_E_ARG, "prototypes is 121");
    o = options();
    o.hold_prototypes = 3;
    want_refusal(RESPONSES, &o, PGR_E_ARG, "3 prototypes are held out, expected fewer than there are, 3");
    o = options();
    o.least = 50;
    want_refusal(RESPONSES, &o, PGR_E_ARG,
                 "user 0 has 0 of 7 train prompts with responses whose utilities differ by 50");
    o = options();
    o.truths = 0;
    want_refusal(RESPONSES, &o, PGR_E_ARG, "truths");
    o = options();
    o.noise = 0;
    want_refusal(RESPONSES, &o, PGR_E_ARG, "noise");
    pgr_cancel stop = 1;
    o = options();
    o.watch.cancel = &stop;
    want_refusal(RESPONSES, &o, PGR_E_CANCELLED, "cancelled");
    want_refusal("/nonexistent", NULL, PGR_E_IO, "/nonexistent");
    const char *good = "{\"prompt\": \"a\", \"responses\": {\"x\": \"b\", \"y\": \"c\"}}\n";
    char text[400];
    snprintf(text, sizeof text, "%s{\"prompt\": \"a\", \"answers\": {}}\n", good);
    want_bad_line(text, ":2: ");
    want_bad_line(text, "answers");
    want_bad_line("{\"prompt\": \"a\", \"responses\": {\"x\": 3, \"y\": \"c\"}}", "x");
    want_bad_line("{\"prompt\": 1, \"responses\": {}}", "prompt");
    want_bad_line(good, "1 prompts with two responses");
    assert_true(access(again, F_OK) != 0); /* nothing was left behind */
    snprintf(text, sizeof text, "%s.part", again);
    assert_true(access(text, F_OK) != 0);
}

static bool make_some(void) {
    pgr_synth_options o = options();
    o.users = 12;
    pgr_synth_report r;
    return pgr_synth(RESPONSES, again, &o, &r, NULL) == PGR_OK;
}

static void test_memory(void **state) {
    (void)state;
    assert_true(fail_allocations(make_some, 20) > 30);
}

static void test_kinds(void **state) {
    (void)state;
    static const struct {
        const char *query, *kind;
    } all[] = {{"Write a Python function", "code"},
               {"write a poem on codes", "write"},
               {"HOW do I tie it?", "advise"},
               {"What is decoding?", "explain"},
               {"", "explain"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_string_equal(synth_kind_name(synth_kind(all[i].query, strlen(all[i].query))), all[i].kind);
}

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    snprintf(made, sizeof made, "%s/made.jsonl", scratch);
    snprintf(again, sizeof again, "%s/again.jsonl", scratch);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_again), cmocka_unit_test(test_records),
                                       cmocka_unit_test(test_truth),      cmocka_unit_test(test_ladder),
                                       cmocka_unit_test(test_floor),      cmocka_unit_test(test_held_prototypes),
                                       cmocka_unit_test(test_truths),     cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_memory),     cmocka_unit_test(test_kinds)};
    return cmocka_run_group_tests(tests, setup, remove_folder);
}
