/* test_controls.c - what keeps a benchmark's numbers honest: folds that share nothing, texts that say nothing, many
 * strangers, the same without the user, probabilities beside what chance gives, choices among more than two. By hand
 * where a hand can count, else on made choices whose reason is known. */
#include <math.h>

#include "../base/faults.h"
#include "../base/scratch.h"
#include "base/arena.h"
#include "base/rng.h"
#include "bench/derive.h"
#include "bench/summary.h"

static void assert_near(double a, double b) {
    if (!(fabs(a - b) <= 1e-12)) fail_msg("%.17g, expected %.17g", a, b);
}

/* ---- folds ------------------------------------------------------------------------------------------------------- */

enum { USERS = 12, EACH = 10, MOST = USERS * EACH };

static turn QUESTIONS[MOST][1];
static char TEXTS[MOST][3][24];
static pair_record RECORDS[MOST];

/* Each user has ten rows, three of them asked. Every question is asked of two users, once with other spelling. */
static bench_data *spelling(bool one_question) {
    for (size_t i = 0; i < MOST; i++) {
        size_t user = i / EACH, question = user / 2 * EACH + i % EACH;
        snprintf(TEXTS[i][0], sizeof TEXTS[i][0], user % 2 ? "Tell me, %zu!" : "tell ME %zu", question);
        snprintf(TEXTS[i][1], sizeof TEXTS[i][1], "u%zu", user);
        snprintf(TEXTS[i][2], sizeof TEXTS[i][2], "c%zu", i / 2);
        QUESTIONS[i][0] = (turn){"user", one_question ? "Which one?" : TEXTS[i][0]};
        RECORDS[i] = (pair_record){
            .user_id = TEXTS[i][1], .conversation_id = TEXTS[i][2], .split = i % EACH < 7 ? "train" : "test"};
        RECORDS[i].pair = (preference_pair){QUESTIONS[i], 1, TEXTS[i][0], "no"};
    }
    bench_data *d = NULL;
    pgr_error err = {0};
    if (bench_data_of("spelling", RECORDS, MOST, "test", &d, &err) != PGR_OK) fail_msg("%s", err.message);
    return d;
}

static void folds_share_nothing(void **state) {
    (void)state;
    for (int one = 0; one < 2; one++) {
        bench_data *d = spelling(one);
        assert_int_equal(d->n_topic, one ? 1 : MOST / 2);
        assert_int_equal(d->n_question, one ? 1 : MOST);
        d->rows[4].borrowed = true;
        fold_plan p;
        assert_int_equal(folds_plan(d, 5, 3, &p, NULL), PGR_OK);
        assert_true(p.by_conversation == one);
        size_t asked = 0, sizes[5] = {0};
        for (size_t f = 0; f < 5; f++) {
            bench_data *made = NULL;
            assert_int_equal(folds_data(d, &p, f, &made, NULL), PGR_OK);
            for (size_t i = 0; i < made->n_row; i++) {
                const bench_row *r = &made->rows[i];
                assert_int_equal(r->item[0], d->rows[made->origin[i]].item[0]);
                assert_true(r->train || !r->borrowed);
                for (size_t k = 0; k < made->n_row && !r->train; k++) {
                    const bench_row *other = &made->rows[k];
                    if (!other->train) continue;
                    if (one)
                        assert_string_not_equal(r->record.conversation_id, other->record.conversation_id);
                    else
                        assert_int_not_equal(r->topic, other->topic);
                }
            }
            size_t listed = 0;
            for (size_t u = 0; u < made->n_user; u++) {
                listed += made->users[u].n_train + made->users[u].n_test;
                for (size_t i = 0; i < made->users[u].n_train; i++)
                    assert_true(made->rows[made->users[u].train[i]].train
                                && made->rows[made->users[u].train[i]].user == u);
            }
            assert_int_equal(listed, made->n_row);
            asked += sizes[f] = made->n_test;
            bench_data_free(made);
        }
        assert_int_equal(asked, MOST - 1); /* every row once, but for the borrowed one */
        for (size_t f = 0; f < 5; f++) assert_true(sizes[f] >= MOST / 5 - 4 && sizes[f] <= MOST / 5 + 4);
        folds_free(&p);
        pgr_error err = {0};
        assert_int_equal(folds_plan(d, 99, 3, &p, &err), PGR_E_ARG);
        assert_non_null(strstr(err.message, one ? "60 conversations for 99 folds" : "60 questions for 99 folds"));
        bench_data_free(d);
    }
}

static void hollow_rows(void **state) {
    (void)state;
    bench_data *d = spelling(false), *h = NULL;
    assert_int_equal(hollow_data(d, &h, NULL), PGR_OK);
    assert_int_equal(h->n_test, HOLLOW_KINDS * d->n_test);
    size_t n = 0, cut = 0;
    for (size_t i = 0; i < h->n_row; i++) {
        const bench_row *r = &h->rows[i];
        assert_string_equal(h->items[r->item[0]], r->record.pair.chosen);
        assert_string_equal(h->items[r->item[1]], r->record.pair.rejected);
        if (r->train) continue;
        const preference_pair *p = &r->record.pair;
        cut += strlen(p->rejected) == strlen(p->chosen) / 5 && strstr(p->chosen, p->rejected) == p->chosen;
        assert_string_not_equal(p->rejected, "no");
        assert_ptr_equal(p->chosen, d->rows[h->origin[i]].record.pair.chosen);
        assert_int_equal(h->origin[i], h->origin[i - n % HOLLOW_KINDS]); /* kinds of one row follow each other */
        n++;
    }
    assert_int_equal(cut, d->n_test);
    bench_data_free(h);
    bench_data_free(d);
}

/* ---- rows by hand ------------------------------------------------------------------------------------------------ */

enum { ROWS = 6 };

/* Two users, three questions; rows 0, 1 and 2 are one choice among four responses, rows 3 and 4 one among three. */
static bench_data *choices(void) {
    static const turn asked[3][1] = {{{"user", "one"}}, {{"user", "two"}}, {{"user", "three"}}};
    static const struct {
        const char *user, *conversation, *chosen, *rejected;
        int question;
    } rows[ROWS] = {{"a", "c1", "long one", "x", 0},   {"a", "c1", "long one", "yy", 0},
                    {"a", "c1", "long one", "zzz", 0}, {"b", "c2", "w", "long two", 1},
                    {"b", "c2", "w", "long three", 1}, {"b", "c3", "w", "long four", 2}};
    static pair_record records[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        records[i] = (pair_record){.user_id = rows[i].user, .conversation_id = rows[i].conversation, .split = "test"};
        records[i].pair = (preference_pair){asked[rows[i].question], 1, rows[i].chosen, rows[i].rejected};
    }
    bench_data *d = NULL;
    pgr_error err = {0};
    if (bench_data_of("choices", records, ROWS, "test", &d, &err) != PGR_OK) fail_msg("%s", err.message);
    return d;
}

static const bench_method LONGEST = {.name = "longest"}, TASTE = {.name = "taste", .personal = true};
static const bench_cell CELLS[] = {{.method = "longest", .statistic = &LONGEST},
                                   {.method = "taste", .statistic = &TASTE, .personal = true},
                                   {.method = "taste", .statistic = &TASTE, .personal = true, .stranger = 1},
                                   {.method = "taste", .statistic = &TASTE, .personal = true, .stranger = 2},
                                   {.method = "taste", .statistic = &TASTE, .plain = true},
                                   {.method = "p-genrm", .ind = 8, .pro = 4, .personal = true},
                                   {.method = "p-genrm", .ind = 12, .personal = true},
                                   {.method = "p-genrm", .ind = 12, .plain = true}};
enum { N_CELL = sizeof CELLS / sizeof *CELLS, N_LINE = N_CELL - 1 };

static void lines_by_hand(void **state) {
    (void)state;
    static const double p[N_CELL][2][ROWS] = {
        {{1, 1, 1, 0, 0, 0}, {1, 1, 1, 0, 0, 0}},
        {{.9, .8, .7, .6, .2, .5}, {.9, .8, .3, .6, .2, .5}},
        {{.9, .2, .2, .2, .2, .2}, {.9, .2, .2, .2, .2, .2}},
        {{.9, .9, .9, .2, .2, .2}, {.9, .9, .9, .2, .2, .2}},
        {{.9, .9, .9, .9, .9, .9}, {.9, .9, .9, .9, .9, .9}},
        {{.9, .9, .9, .9, .9, .9}, {.9, .9, .9, .9, .9, .9}},
        {{.9, .9, .9, .9, .9, .1}, {.9, .9, .9, .9, .9, .1}},
        {{.9, .9, .9, .9, .1, .1}, {.9, .9, .9, .9, .1, .1}},
    };
    float gaps[8] = {1, 1, -1, -1, 1, 1, -1, -1}; /* chains 0, 1, 4, 5 are one half */
    bench_data *d = choices();
    bench_verdict v[N_CELL * 2 * ROWS];
    for (size_t i = 0; i < N_CELL * 2 * ROWS; i++) {
        double x = p[i / (2 * ROWS)][i / ROWS % 2][i % ROWS];
        v[i] = (bench_verdict){.known = true,
                               .p = x,
                               .right = x == .5 ? .5 : x > .5,
                               .flip = NAN,
                               .gaps = gaps,
                               .n_gap = i / (2 * ROWS) == 5 ? 8 : 0};
    }
    arena a = {0};
    size_t asked[ROWS] = {0, 1, 2, 3, 4, 5};
    verdict_table t = {
        .data = "choices", .cells = CELLS, .n_cell = N_CELL, .n_run = 2, .n_row = ROWS, .v = v, .arena = &a};
    pgr_bench_options o = pgr_bench_options_default();
    summary_input in = {.d = d, .asked = asked, .t = &t, .o = &o, .model = "m"};
    summary_line lines[N_CELL];
    assert_int_equal(summary_lines(&t, lines), N_LINE);
    pgr_bench_row rows[N_LINE];
    assert_int_equal(summarise(&in, &a, rows, NULL), PGR_OK);

    const pgr_bench_row *own = &rows[1], *strangers = &rows[2], *plain = &rows[3], *pro = &rows[4];
    assert_near(own->accuracy, (1 + 1 + .5 + 1 + 0 + .5) / 6);
    /* strangers: 1/6 and 3/6 */
    assert_true(strangers->stranger && plain->plain && !own->plain);
    assert_int_equal(own->strangers, 2);
    assert_near(own->stranger_accuracy, 2. / 6);
    assert_near(own->stranger_spread, sqrt(2. / 36));
    assert_near(strangers->accuracy, 2. / 6);
    assert_near(own->over_stranger, 4. / 6 - 2. / 6);
    assert_near(own->over_base, 4. / 6 - 1);
    assert_string_equal(own->base, "taste, no history");
    assert_string_equal(plain->base, "");
    /* own less strangers by row: 0, .5, 0, 1, 0, .5; by user -.5, .5 around 1/3 each; by question -.5, 1/3, 1/6 */
    assert_near(own->over_stranger_errors.user, sqrt(2 * .25 * 2) / 6);
    assert_near(own->over_stranger_errors.question, sqrt((.25 + 1. / 9 + 1. / 36) * 1.5) / 6);
    assert_near(own->over_stranger_se, fmax(own->over_stranger_errors.user, own->over_stranger_errors.question));
    /* Ind-8,Pro-4 against as many chains of the own history, and against as many without any. */
    assert_near(pro->over_ind, 1. / 6);
    assert_near(pro->over_base, 2. / 6);
    assert_string_equal(pro->base, "p-genrm, no history");
    assert_true(isnan(rows[5].over_ind));
    assert_near(rows[5].over_base, 1. / 6);
    /* probabilities */
    double loss = 0, brier = 0;
    for (size_t r = 0; r < 2; r++)
        for (size_t i = 0; i < ROWS; i++) {
            loss -= log(p[1][r][i]) / 12;
            brier += (1 - p[1][r][i]) * (1 - p[1][r][i]) / 12;
        }
    assert_near(own->log_loss, loss);
    assert_near(own->brier, brier);
    assert_near(rows[0].log_loss, -(log(.999) + log(.001)) / 2); /* held within .001 and .999 */
    /* The users choose the longer in half of the rows; longest always says the longer: beyond chance nothing. */
    assert_near(rows[0].longer_chosen, .5);
    assert_near(rows[0].kappa_chance, .5);
    assert_near(rows[0].kappa, 0);
    assert_near(plain->kappa, 1);
    /* own says the longer: 1, 1, .5, 0, 1, .5 of the rows, 4/6 */
    assert_near(own->kappa_chance, .5 * 4 / 6 + .5 * 2 / 6);
    assert_near(own->kappa, (4. / 6 - .5) / .5);
    /* two runs agree but in row 2; the halves of pro's chains never do */
    assert_near(own->self_consistency, 5. / 6);
    assert_near(pro->self_consistency_halves, 0);
    assert_true(isnan(own->self_consistency_halves) && isnan(strangers->self_consistency));
    /* best of 4 and of 3: own picks the first in one of two runs, the other never */
    assert_int_equal(own->best.groups, 2);
    assert_near(own->best.responses, 3.5);
    assert_near(own->best.accuracy, .25);
    assert_near(own->best.random, (1. / 4 + 1. / 3) / 2);
    assert_near(own->best.rank, ((1 + 2) / 2. + 2) / 2);
    assert_near(own->best.random_rank, (2.5 + 2) / 2);
    assert_near(rows[0].best.accuracy, .5);
    arena_free(&a);
    bench_data_free(d);
}

/* Probabilities that are true show what the floor says; those that boast show more. 500 pairs of .7: the mean error is
 * about sqrt(2 / pi * .21 / 500) = .016. */
static void floor_is_what_chance_gives(void **state) {
    (void)state;
    enum { N = 500 };
    static const turn asked[1] = {{"user", "one"}};
    static pair_record records[N];
    static char ids[N][8];
    static bench_verdict v[3 * N];
    static size_t rows_of[N];
    rng r = {.seed = 4};
    for (size_t i = 0; i < N; i++) {
        snprintf(ids[i], sizeof ids[i], "u%zu", i);
        rows_of[i] = i;
        records[i] = (pair_record){.user_id = ids[i], .conversation_id = "", .split = "test"};
        records[i].pair = (preference_pair){asked, 1, "a", "bb"};
        bool first = rng_next(&r) < .7;
        v[i] = (bench_verdict){.known = true, .p = first ? .7 : .3, .right = first, .flip = NAN};
        v[N + i] = (bench_verdict){.known = true, .p = first ? .95 : .05, .right = first, .flip = NAN};
        v[2 * N + i] = (bench_verdict){.known = true, .p = NAN, .right = .5, .flip = NAN}; /* nothing but failures */
    }
    bench_data *d = NULL;
    assert_int_equal(bench_data_of("calibrated", records, N, "test", &d, NULL), PGR_OK);
    const bench_cell cells[3] = {{.method = "longest"}, {.method = "boasts"}, {.method = "fails"}};
    arena a = {0};
    verdict_table t = {.data = "c", .cells = cells, .n_cell = 3, .n_run = 1, .n_row = N, .v = v, .arena = &a};
    pgr_bench_options o = pgr_bench_options_default();
    summary_input in = {.d = d, .asked = rows_of, .t = &t, .o = &o, .model = "m", .scalar = ""};
    pgr_bench_row rows[3];
    assert_int_equal(summarise(&in, &a, rows, NULL), PGR_OK);
    double expected = sqrt(2 / M_PI * .21 / N);
    assert_true(fabs(rows[0].ece_floor - expected) < .25 * expected); /* 200 draws: its error is .06 of it */
    assert_true(rows[0].ece_floor_95 > 1.5 * rows[0].ece_floor && rows[0].ece_floor_95 < 4 * rows[0].ece_floor);
    assert_true(rows[0].ece < rows[0].ece_floor_95 * 1.5);
    assert_true(rows[1].ece > .2 && rows[1].ece_floor < .03);
    assert_true(isnan(rows[2].ece_floor) && isnan(rows[2].ece_floor_clustered));
    assert_true(rows[0].ece_floor_clustered_95 == rows[0].ece_floor_95 && rows[0].together_user == 0);
    assert_true(isnan(rows[0].together_question)); /* one question */
    char *line = NULL;
    assert_int_equal(pgr_bench_row_json(&rows[0], &line, NULL), PGR_OK);
    assert_true(strstr(line, "\"together_user\":0,\"together_question\":null,\"overconfidence\":"));
    assert_true(strstr(line, "\"ece_floor_clustered\":0.0") && strstr(line, "\"ece_floor_clustered_95\":0.0"));
    pgr_free(line);
    assert_near(rows[2].log_loss, log(2));
    assert_near(rows[1].overconfidence, rows[0].overconfidence + .25); /* says .95 where that says .7 */
    assert_true(fabs(rows[0].overconfidence) < 3 * rows[0].overconfidence_se);
    assert_true(fabs(rows[0].overconfidence_se - sqrt(.21 / N)) < .1 * sqrt(.21 / N));
    assert_true(isnan(rows[2].overconfidence) && isnan(rows[2].overconfidence_se));
    arena_free(&a);
    bench_data_free(d);
}

/* 400 rows about 20 questions that are right or wrong as a whole: as much is known as of 20 rows, which the floor does
 * not see and the error by question and the clustered floor do. */
static void overconfidence_counts_questions(void **state) {
    (void)state;
    enum { N = 400, QUESTIONS = 20, RIGHT = 12 };
    static turn asked[QUESTIONS];
    static pair_record records[N];
    static char ids[N][8], queries[QUESTIONS][24];
    static bench_verdict v[N];
    static size_t rows_of[N];
    for (size_t i = 0; i < N; i++) {
        size_t q = i % QUESTIONS;
        snprintf(ids[i], sizeof ids[i], "u%zu", i);
        snprintf(queries[q], sizeof queries[q], "question number %zu", q);
        asked[q] = (turn){"user", queries[q]};
        rows_of[i] = i;
        records[i] = (pair_record){.user_id = ids[i], .conversation_id = "", .split = "test"};
        records[i].pair = (preference_pair){&asked[q], 1, "a", "bb"};
        v[i] = (bench_verdict){.known = true, .p = q < RIGHT ? .8 : .2, .right = q < RIGHT, .flip = NAN};
    }
    bench_data *d = NULL;
    assert_int_equal(bench_data_of("alike", records, N, "test", &d, NULL), PGR_OK);
    const bench_cell cell = {.method = "sure"};
    arena a = {0};
    verdict_table t = {.data = "a", .cells = &cell, .n_cell = 1, .n_run = 1, .n_row = N, .v = v, .arena = &a};
    pgr_bench_options o = pgr_bench_options_default();
    summary_input in = {.d = d, .asked = rows_of, .t = &t, .o = &o, .model = "m", .scalar = ""};
    pgr_bench_row row;
    assert_int_equal(summarise(&in, &a, &row, NULL), PGR_OK);
    double share = RIGHT / (double)QUESTIONS, sd = sqrt(share * (1 - share));
    assert_near(row.overconfidence, .8 - share);
    assert_true(fabs(row.overconfidence_errors.user - sd / sqrt(N)) < .05 * sd / sqrt(N));
    assert_true(fabs(row.overconfidence_errors.question - sd / sqrt(QUESTIONS)) < .05 * sd / sqrt(QUESTIONS));
    assert_true(row.overconfidence_se == row.overconfidence_errors.question);
    assert_true(row.ece > row.ece_floor_95 && row.overconfidence < 2 * row.overconfidence_se);
    /* what 20 outcomes of .8 would show: on average about sqrt(2 / pi * .16 / 20) */
    assert_true(row.together_question == 1 && row.together_user == 0);
    assert_true(fabs(row.ece_floor_clustered - sqrt(2 / M_PI * .16 / QUESTIONS)) < .016); /* its error is .004 */
    arena_free(&a);
    bench_data_free(d);
}

/* A judge whose probabilities are true, of 240 rows in 20 clusters (questions, or users), outcomes drawn from normal
 * numbers that rows of a cluster have in common by `alike`. How often its error is below the 95 % of either floor. */
typedef struct covered {
    double apart, clustered; /* shares of the trials */
    double wider;            /* mean of the clustered 95 % over the other */
    double together;         /* mean of what is told of the clusters */
} covered;

enum { JUDGED = 240, CLUSTERS = 20, TRIALS = 100 };

static bench_data *clustered_rows(bool by_user) {
    static turn asked[JUDGED];
    static pair_record records[JUDGED];
    static char users[JUDGED][8], queries[JUDGED][24];
    for (size_t i = 0; i < JUDGED; i++) {
        snprintf(users[i], sizeof users[i], "u%zu", by_user ? i % CLUSTERS : i);
        snprintf(queries[i], sizeof queries[i], "question number %zu", by_user ? i : i % CLUSTERS);
        asked[i] = (turn){"user", queries[i]};
        records[i] = (pair_record){.user_id = users[i], .conversation_id = "", .split = "test"};
        records[i].pair = (preference_pair){&asked[i], 1, "a", "bb"};
    }
    bench_data *d = NULL;
    assert_int_equal(bench_data_of("clustered", records, JUDGED, "test", &d, NULL), PGR_OK);
    return d;
}

static void draw_outcomes(rng *r, double alike, bench_verdict *v) {
    double common[CLUSTERS];
    for (size_t g = 0; g < CLUSTERS; g++) common[g] = rng_normal(r);
    for (size_t i = 0; i < JUDGED; i++) {
        double t = 0.05 + 1.5 * rng_next(r), confidence = 0.5 * erfc(-t / sqrt(2));
        double z = sqrt(alike) * common[i % CLUSTERS] + sqrt(1 - alike) * rng_normal(r);
        v[i] = (bench_verdict){.known = true, .right = z < t, .flip = NAN};
        v[i].p = z < t ? confidence : 1 - confidence;
    }
}

static covered cover(bool by_user, double alike) {
    static bench_verdict v[JUDGED];
    static size_t rows_of[JUDGED];
    bench_data *d = clustered_rows(by_user);
    const bench_cell cell = {.method = "true"};
    covered out = {0};
    rng r = {.seed = 12};
    for (size_t i = 0; i < JUDGED; i++) rows_of[i] = i;
    for (size_t k = 0; k < TRIALS; k++) {
        arena a = {0};
        verdict_table t = {.data = "t", .cells = &cell, .n_cell = 1, .n_run = 1, .n_row = JUDGED, .v = v, .arena = &a};
        pgr_bench_options o = pgr_bench_options_default();
        o.seed = k;
        summary_input in = {.d = d, .asked = rows_of, .t = &t, .o = &o, .model = "m", .scalar = ""};
        pgr_bench_row row;
        draw_outcomes(&r, alike, v);
        assert_int_equal(summarise(&in, &a, &row, NULL), PGR_OK);
        out.apart += (row.ece <= row.ece_floor_95) / (double)TRIALS;
        out.clustered += (row.ece <= row.ece_floor_clustered_95) / (double)TRIALS;
        out.wider += row.ece_floor_clustered_95 / row.ece_floor_95 / TRIALS;
        out.together += (by_user ? row.together_user : row.together_question) / TRIALS;
        assert_true((by_user ? row.together_question : row.together_user) == 0); /* no two rows share one */
        arena_free(&a);
    }
    bench_data_free(d);
    return out;
}

/* Of a true judge 95 of 100 errors lie below the 95 %: 100 trials tell it to .022. */
static void clustered_floor_covers(void **state) {
    (void)state;
    for (int by_user = 0; by_user < 2; by_user++) {
        covered c = cover(by_user, 0.5);
        if (!(c.clustered >= .89 && c.clustered <= .99)) fail_msg("%g of true errors are below", c.clustered);
        if (!(c.apart <= .86)) fail_msg("%g of true errors are below what forgets the clusters", c.apart);
        assert_true(c.wider > 1.2 && c.together > .2 && c.together < .5); /* signs are less alike than numbers */
        covered alone = cover(by_user, 0);
        if (!(alone.apart >= .89 && alone.apart <= .99)) fail_msg("%g of true errors are below", alone.apart);
        assert_true(alone.clustered >= alone.apart && alone.clustered <= .99);
        assert_true(alone.wider >= 1 && alone.wider < 1.06 && alone.together < .05);
    }
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

/* Twenty users, ten rows each about questions of their own; even ones choose the longer text, odd ones the
 * short one. With noise: whichever. */
static void write_tastes(const char *path, bool noise) {
    FILE *f = fopen(path, "wb");
    rng r = {.seed = 8};
    assert_non_null(f);
    for (int u = 0; u < 20; u++)
        for (int i = 0; i < 10; i++) {
            char text[2][40];
            bool longer = noise ? rng_next(&r) < .5 : u % 2 == 0;
            snprintf(text[0], 40, "word %d", i * 20 + u);
            snprintf(text[1], 40, "word word word word word %d", i * 20 + u);
            fprintf(f,
                    "{\"user_id\":\"u%d\",\"conversation_id\":\"c%d\",\"context\":[{\"role\":\"user\",\"content\":\"Q "
                    "%d %d?\"}],\"chosen\":{\"role\":\"assistant\",\"content\":\"%s\"},\"rejected\":{\"role\":"
                    "\"assistant\",\"content\":\"%s\"},\"split\":\"%s\"}\n",
                    u, i, u, i, text[longer], text[!longer], i < 7 ? "train" : "test");
        }
    assert_int_equal(fclose(f), 0);
}

static pgr_bench_report *bench_of(const char *path, size_t limit) {
    static const int none[] = {0};
    static const char *const methods[] = {"length-personal", "attributes"};
    const char *data[] = {path};
    pgr_bench_options o = pgr_bench_options_default();
    o.data = data;
    o.n_data = 1;
    o.ind = none;
    o.methods = methods;
    o.n_methods = 2;
    o.strangers = 4;
    o.folds = 5;
    o.robust = true;
    o.limit = limit;
    o.n_thread = 2;
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    if (pgr_bench(NULL, &o, &report, &err) != PGR_OK) fail_msg("%s", err.message);
    return report;
}

static void cross_validation(void **state) {
    (void)state;
    for (int noise = 0; noise < 2; noise++) {
        write_tastes(path_of("tastes.jsonl"), noise);
        pgr_bench_report *report = bench_of(path_of("tastes.jsonl"), 0);
        assert_int_equal(report->n_row, 5); /* longest; own, strangers, without; attributes */
        const pgr_bench_row *own = &report->rows[1];
        assert_int_equal(own->cv.folds, 5);
        assert_int_equal(own->cv.pairs, 200); /* train rows and the others */
        assert_string_equal(own->cv.by, "question");
        assert_int_equal(own->strangers, 4);
        if (noise) { /* 200 coins: .5 give or take .035; a method that had seen them would be right */
            assert_true(own->cv.accuracy > .35 && own->cv.accuracy < .65);
        } else {
            assert_near(own->cv.accuracy, 1);
            assert_near(own->accuracy, 1);
            assert_true(own->cv.over_stranger > .2 && own->cv.over_base > .3 && own->cv.over_longest > .3);
            assert_near(report->rows[0].cv.accuracy, .5);
        }
        assert_int_equal(own->n_hollow, HOLLOW_KINDS);
        assert_int_equal(report->rows[2].n_hollow, 0); /* no controls among them */
        if (!noise) /* half of the users like it short, and that is all that this method knows */
            for (size_t k = 0; k < HOLLOW_KINDS; k++)
                if (strcmp(own->hollow[k].kind, "blank") == 0) assert_near(own->hollow[k].wins, .5);
        pgr_bench_free(report);
    }
}

static void limit_is_told(void **state) {
    (void)state;
    write_tastes(path_of("tastes.jsonl"), false);
    pgr_bench_report *report = bench_of(path_of("tastes.jsonl"), 30);
    const pgr_bench_row *r = &report->rows[0];
    assert_int_equal(r->pairs, 30);
    assert_int_equal(r->pairs_all, 60);
    assert_int_equal(r->users_all, 20);
    assert_int_equal(r->limit, 30);
    bool told = false;
    for (size_t i = 0; i < report->n_note; i++)
        told = told || strstr(report->notes[i], "limit 30 asks 30 of 60 pairs, of 20 of 20 users: 1.5 a user");
    assert_true(told);
    char *line = NULL;
    assert_int_equal(pgr_bench_row_json(r, &line, NULL), PGR_OK);
    assert_non_null(strstr(line, "\"limit\":30,\"pairs_all\":60,\"users_all\":20"));
    pgr_free(line);
    pgr_bench_free(report);
}

static bench_data *FAULTY;

static bool derive_once(void) {
    fold_plan p = {0};
    bench_data *made = NULL, *hollow = NULL;
    bool good = folds_plan(FAULTY, 3, 1, &p, NULL) == PGR_OK && folds_data(FAULTY, &p, 1, &made, NULL) == PGR_OK
                && hollow_data(FAULTY, &hollow, NULL) == PGR_OK;
    folds_free(&p);
    bench_data_free(made);
    bench_data_free(hollow);
    return good;
}

static void out_of_memory(void **state) {
    (void)state;
    FAULTY = spelling(true);
    assert_true(fail_allocations(derive_once, 5) > 10);
    bench_data_free(FAULTY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_share_nothing),
        cmocka_unit_test(hollow_rows),
        cmocka_unit_test(lines_by_hand),
        cmocka_unit_test(floor_is_what_chance_gives),
        cmocka_unit_test(overconfidence_counts_questions),
        cmocka_unit_test(clustered_floor_covers),
        cmocka_unit_test(cross_validation),
        cmocka_unit_test(limit_is_told),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
