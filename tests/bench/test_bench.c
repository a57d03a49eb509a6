/* test_bench.c - the runner on a tiny random model and made data: what is asked, what is kept, that a run that ended
 * anywhere goes on to the same numbers, and that the report is well-formed. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../judge/tiny_engine.h"
#include "base/file.h"
#include "bench/ask.h"
#include "bench/summary.h"
#include "trees.h"

/* Four users with three train rows and two that are asked; the chosen text is the longer one for half of them. */
static void write_data(const char *path) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int u = 0; u < 4; u++)
        for (int i = 0; i < 5; i++) {
            const char *a = i % 2 ? "Oak." : "Pine",
                       *b = i % 2 ? "There are many trees: oak, birch, pine." : "Many: oak, elm";
            fprintf(
                f,
                "{\"user_id\":\"u%d\",\"conversation_id\":\"c%d\",\"context\":[{\"role\":\"user\",\"content\":\"Tree "
                "%d?\"}],\"chosen\":{\"role\":\"assistant\",\"content\":\"%s\"},\"rejected\":{\"role\":\"assistant\","
                "\"content\":\"%s\"},\"split\":\"%s\"}\n",
                u, i, i, u % 2 ? a : b, u % 2 ? b : a, i < 3 ? "train" : "test");
        }
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    write_data(path_of("trees.jsonl"));
    return tiny_begin(state);
}

static int teardown(void **state) {
    return tiny_end(state) != 0 ? -1 : remove_folder(state);
}

/* ---- asking ---- */

static void requests_tell_nothing(void **state) {
    (void)state;
    bench_data *d = load();
    size_t other[4] = {1, 2, 3, 0}, first = 0, n = 0;
    for (size_t i = 0; i < d->n_row; i++) {
        const bench_row *row = &d->rows[i];
        if (row->train) continue;
        for (uint64_t seed = 0; seed < 50; seed++) {
            bench_ask how = {.history = true, .seed = seed};
            pgr_request *r = NULL;
            assert_int_equal(ask_request(d, row, &how, &r, NULL), PGR_OK);
            size_t place = ask_place(ask_key(d, row, seed));
            assert_string_equal(r->responses[place], row->record.pair.chosen);
            assert_string_equal(r->responses[1 - place], row->record.pair.rejected);
            assert_int_equal(r->chosen, -1);
            assert_int_equal(r->n_history, 3);
            assert_true(r->seed >= 0);
            first += place == 0;
            n++;
            pgr_request_free(r);
        }
    }
    assert_int_equal(n, 400);
    assert_true(first > 150 && first < 250); /* a coin: 200 give or take 5 standard deviations of 10 */

    const bench_row *row = &d->rows[d->users[0].test[0]];
    bench_ask stranger = {.history = true, .other = other}, none = {0};
    pgr_request *r = NULL;
    assert_int_equal(ask_request(d, row, &stranger, &r, NULL), PGR_OK);
    assert_ptr_equal(r->history[0].chosen, d->rows[d->users[1].train[0]].record.pair.chosen);
    pgr_request_free(r);
    assert_int_equal(ask_request(d, row, &none, &r, NULL), PGR_OK);
    assert_int_equal(r->n_history, 0);
    pgr_request_free(r);
    /* Neither the key nor the place knows which of the two was chosen. */
    bench_row turned = *row;
    turned.record.pair.chosen = row->record.pair.rejected;
    turned.record.pair.rejected = row->record.pair.chosen;
    assert_true(ask_key(d, row, 3) == ask_key(d, &turned, 3));
    assert_true(ask_key(d, row, 3) != ask_key(d, row, 4));
    bench_data_free(d);
}

/* A train row of the conversation that is asked about is not shown. */
static void own_conversation_is_no_history(void **state) {
    (void)state;
    bench_data *d = load();
    bench_row *row = &d->rows[d->users[0].test[0]];
    row->record.conversation_id = "c1";
    bench_ask how = {.history = true};
    pgr_request *r = NULL;
    assert_int_equal(ask_request(d, row, &how, &r, NULL), PGR_OK);
    assert_int_equal(r->n_history, 2);
    pgr_request_free(r);
    bench_data_free(d);
}

/* Split train: every train row is asked, its own conversation and all of its question left out; history it stays for
 * the others. */
static void train_rows_are_asked_without_themselves(void **state) {
    (void)state;
    const char *paths[] = {path_of("trees.jsonl")};
    bench_files f = {.paths = paths, .n_path = 1, .split = "train"};
    bench_data *d = NULL;
    pgr_error err = {0};
    if (bench_load(&f, &d, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(d->n_test, 12); /* three of each of four users; the test rows are not here */
    assert_int_equal(d->n_row, 24);
    for (size_t u = 0; u < d->n_user; u++) {
        assert_int_equal(d->users[u].n_train, 3);
        for (size_t i = 0; i < d->users[u].n_test; i++) {
            bench_row *row = &d->rows[d->users[u].test[i]];
            bench_ask how = {.history = true};
            pgr_request *r = NULL;
            for (int named = 1; named >= 0; named--) {
                if (!named) row->record.conversation_id = ""; /* then the question tells */
                assert_int_equal(ask_request(d, row, &how, &r, NULL), PGR_OK);
                assert_int_equal(r->n_history, 2);
                for (size_t k = 0; k < 2; k++)
                    assert_string_not_equal(r->history[k].context[0].text, row->record.pair.context[0].text);
                pgr_request_free(r);
            }
        }
    }
    bench_data_free(d);
}

/* ---- numbers ---- */

static const bench_method STATISTIC = {.name = "longest"};
static const bench_cell CELLS[] = {{.method = "longest", .statistic = &STATISTIC},
                                   {.method = "p-genrm", .ind = 2, .personal = true},
                                   {.method = "p-genrm", .ind = 2, .personal = true, .stranger = 1}};

static void assert_near(double a, double b) {
    if (!(fabs(a - b) <= 1e-12)) fail_msg("%.17g, expected %.17g", a, b);
}

/* Eight rows of four users (two each), two runs. Worked out by hand. */
static void rows_by_hand(void **state) {
    (void)state;
    bench_data *d = load();
    size_t asked[8], n = 0;
    for (size_t i = 0; i < d->n_row; i++)
        if (!d->rows[i].train) asked[n++] = i;
    bench_verdict v[3 * 2 * 8];
    static const double right[3][2][8] = {{{1, 1, 0, 0, 1, 1, 0, 0}, {1, 1, 0, 0, 1, 1, 0, 0}},
                                          {{1, 1, 1, .5, 1, 0, .5, 1}, {1, 1, 1, 1, 0, 0, 1, 1}},
                                          {{.5, .5, .5, .5, .5, .5, .5, .5}, {.5, .5, .5, .5, .5, .5, .5, .5}}};
    float gaps[2] = {1, -3};
    for (size_t i = 0; i < 48; i++) {
        double x = right[i / 16][i / 8 % 2][i % 8];
        v[i] = (bench_verdict){.known = true,
                               .p = x,
                               .right = x,
                               .flip = i % 2 ? NAN : .25,
                               .chains = 2,
                               .parsed = 1,
                               .tokens = 10,
                               .seconds = .5,
                               .gaps = gaps,
                               .n_gap = 2};
    }
    v[16 + 3].p = NAN; /* a failure; row 6 of that run is a tie */
    arena a = {0};
    verdict_table t = {.data = "trees", .cells = CELLS, .n_cell = 3, .n_run = 2, .n_row = 8, .v = v, .arena = &a};
    pgr_bench_options o = pgr_bench_options_default();
    int prototypes[4] = {0, 0, 0, 1};
    summary_input in = {.d = d, .asked = asked, .t = &t, .o = &o, .model = "m", .prototypes = prototypes};
    pgr_bench_row rows[3];
    assert_int_equal(summarise(&in, &a, rows, NULL), PGR_OK);

    const pgr_bench_row *r = &rows[1];
    assert_near(rows[0].accuracy, .5);
    assert_near(r->accuracy, (1 + 1 + 1 + .75 + .5 + 0 + .75 + 1) / 8);
    assert_near(r->accuracy_se_runs, 0); /* 6 of 8 in both runs */
    assert_near(r->macro_user, .75);
    assert_near(r->macro_prototype, ((2 + 1.75 + .5) / 6 + .875) / 2);
    assert_int_equal(r->ties, 1);
    assert_int_equal(r->failures, 1);
    assert_near(r->accuracy_parsed, 11.0 / 14);
    assert_int_equal(r->chains, 32);
    assert_int_equal(r->chains_failed, 16);
    assert_int_equal(r->tokens, 160);
    assert_near(r->flip_rate, .25);
    assert_near(r->seconds, 8);
    assert_near(r->seconds_per_pair, .5);
    assert_int_equal(r->users, 4);
    /* User means .25 above the longest: differences per user 0, 1.75, -1.5, 1.75 over 8 rows around .25 * 2. */
    assert_near(r->over_longest, .25);
    double g[] = {0 - .5, 1.75 - .5, -1.5 - .5, 1.75 - .5}, ss = 0;
    for (size_t i = 0; i < 4; i++) ss += g[i] * g[i];
    assert_near(r->over_longest_errors.user, sqrt(ss * 4 / 3) / 8);
    /* The same by question, two of them: 1.25 and .75 over 4 rows around .25 * 4. */
    assert_near(r->over_longest_errors.question, sqrt(2 * .25 * .25 * 2) / 8);
    assert_near(r->over_longest_se, r->over_longest_errors.user);
    assert_int_equal(r->questions, 2);
    assert_int_equal(r->strangers, 1);
    assert_near(r->stranger_accuracy, .5);
    assert_true(isnan(r->stranger_spread)); /* of one */
    assert_near(r->over_stranger, .25);
    assert_true(isnan(rows[2].over_stranger) && isnan(r->over_base));
    /* The first chain is right everywhere, both together are wrong. */
    assert_int_equal(r->n_by_chains, 2);
    assert_near(r->by_chains[0].accuracy, 1);
    assert_near(r->by_chains[1].accuracy, 0);
    /* Longest is sure and half right. */
    assert_near(rows[0].ece, .5);
    assert_int_equal(rows[0].bins[PGR_BENCH_BINS - 1].n, 16);
    arena_free(&a);
    bench_data_free(d);
}

/* ---- running ---- */

static bool STOP_AFTER_ON;
static size_t STOP_AFTER;
static pgr_cancel CANCEL;

static void count_down(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    (void)ctx, (void)label, (void)done, (void)total, (void)unit;
    if (STOP_AFTER_ON && STOP_AFTER-- == 0) CANCEL = 1;
}

static pgr_bench_options options(const char *const *data) {
    static const int ind[] = {2};
    pgr_bench_options o = pgr_bench_options_default();
    o.data = data;
    o.n_data = 1;
    o.ind = ind;
    o.runs = 2;
    o.baselines = false;
    o.strangers = 1;
    o.judge.frame = MINI;
    o.watch.progress = count_down;
    o.watch.cancel = &CANCEL;
    return o;
}

/* The rows without what the clock and the cache say. */
static char *numbers(const pgr_bench_report *report) {
    buf all = {0};
    for (size_t i = 0; i < report->n_row; i++) {
        pgr_bench_row r = report->rows[i];
        char *line = NULL;
        r.seconds = r.seconds_per_pair = 0;
        r.cached_tokens = 0;
        assert_int_equal(pgr_bench_row_json(&r, &line, NULL), PGR_OK);
        buf_printf(&all, "%s\n", line);
        pgr_free(line);
    }
    return buf_take(&all);
}

static char *run_to_end(const pgr_bench_options *o) {
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    if (pgr_bench(ENGINE, o, &report, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(report->n_row, 3); /* longest, p-genrm, its control */
    char *text = numbers(report);
    pgr_bench_free(report);
    return text;
}

static void goes_on_to_the_same_numbers(void **state) {
    (void)state;
    const char *data[] = {path_of("trees.jsonl")};
    pgr_bench_options o = options(data);
    char *whole = run_to_end(&o);
    char folder[100];
    for (size_t stop = 0; stop < 40; stop += 7) {
        snprintf(folder, sizeof folder, "%s/stopped-%zu", scratch, stop);
        o.out = folder;
        o.resume = false;
        STOP_AFTER_ON = true;
        STOP_AFTER = stop;
        pgr_bench_report *report = NULL;
        pgr_error err = {0};
        pgr_status s = pgr_bench(ENGINE, &o, &report, &err);
        STOP_AFTER_ON = false;
        CANCEL = 0;
        if (s == PGR_OK)
            pgr_bench_free(report);
        else
            assert_int_equal(s, PGR_E_CANCELLED);
        o.resume = true;
        char *resumed = run_to_end(&o);
        assert_string_equal(resumed, whole);
        pgr_free(resumed);
    }
    o.out = NULL;
    pgr_free(whole);
}

/* A kill may leave half a line at the journal's end. */
static void torn_lines_are_cut(void **state) {
    (void)state;
    const char *data[] = {path_of("trees.jsonl")};
    pgr_bench_options o = options(data);
    char folder[100], journal_path[140];
    snprintf(folder, sizeof folder, "%s/torn", scratch);
    snprintf(journal_path, sizeof journal_path, "%s/verdicts.jsonl", folder);
    o.out = folder;
    char *whole = run_to_end(&o);
    struct stat st;
    assert_int_equal(stat(journal_path, &st), 0);
    o.resume = true;
    for (off_t cut = 1; cut < st.st_size; cut += st.st_size / 5) {
        assert_int_equal(truncate(journal_path, st.st_size - cut), 0);
        char *resumed = run_to_end(&o);
        assert_string_equal(resumed, whole);
        pgr_free(resumed);
    }
    FILE *f = fopen(journal_path, "rb+"); /* damage elsewhere is told */
    assert_non_null(f);
    assert_int_equal(fwrite("{]", 1, 2, f), 2);
    fclose(f);
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_bench(ENGINE, &o, &report, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "verdicts.jsonl:1"));
    pgr_free(whole);
}

static void refused(const pgr_bench_options *o, const char *message) {
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_bench(ENGINE, o, &report, &err), PGR_E_ARG);
    if (!strstr(err.message, message)) fail_msg("'%s' does not say '%s'", err.message, message);
}

static void other_settings_are_refused(void **state) {
    (void)state;
    const char *data[] = {path_of("trees.jsonl")}, *more[] = {data[0], data[0]};
    static const int zero[] = {0}, twice[] = {4, 4};
    pgr_bench_options o = options(data);
    char folder[100];
    snprintf(folder, sizeof folder, "%s/settings", scratch);
    o.out = folder;
    o.ind = zero;
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    if (pgr_bench(NULL, &o, &report, &err) != PGR_OK) fail_msg("%s", err.message);
    pgr_bench_free(report);
    refused(&o, "there is a run in this folder");
    o.resume = true;
    o.runs = 3;
    refused(&o, "runs is 2 there and 3 now");
    o.runs = 2;
    o.ind = options(data).ind;
    refused(&o, "ind is [0] there and [2] now");
    o.ind = zero;
    o.limit = 4;
    refused(&o, "data is [{");
    o.limit = 0;
    o.ind = twice;
    o.n_ind = 2;
    refused(&o, "ind 4 is given twice");
    o.n_ind = 1;
    o.split = "train";
    o.ind = options(data).ind;
    o.baselines = true;
    refused(&o, "learns from train rows");
    o.baselines = false;
    static const int some[] = {2};
    o.pro = some;
    o.n_pro = 1;
    refused(&o, "expected pro 0 with split train");
    o = options(data);
    o.by = "analysis";
    refused(&o, "by is \"analysis\", expected votes, choices or facts");
    o.by = "choices";
    o.embedder = NULL;
    refused(&o, "similar users by choices need an embedder");
    o = options(data);
    o.out = folder;
    o.resume = true;
    o.runs = 2;
    o.split = "nothing";
    refused(&o, "split: found \"nothing\", expected train, validation (val, dev) or test");
    o.split = "dev";
    refused(&o, "no row has the split \"dev\"");
    o = options(more);
    o.n_data = 2;
    refused(&o, "also called trees");
    o = options(data);
    o.pro = twice;
    refused(&o, "pro is above 0");
    o.pro = zero;
    assert_int_equal(pgr_bench(NULL, &o, &report, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "needs a language model"));
}

/* ---- the report ---- */

/* Every tag is closed in its order, every attribute has quotes, every ampersand begins an entity. */
static void assert_well_formed(const char *s) {
    char open[64][16];
    size_t n = 0;
    for (s = strstr(s, "<html"); *s; s++) {
        if (*s == '&') assert_non_null(memchr(s, ';', 7));
        if (*s != '<') continue;
        bool close = s[1] == '/';
        const char *name = s + 1 + close, *end = strchr(s, '>');
        size_t len = strcspn(name, " />");
        assert_non_null(end);
        assert_true(len > 0 && len < 16);
        size_t quotes = 0;
        for (const char *q = s; q < end; q++) quotes += *q == '"';
        assert_int_equal(quotes % 2, 0);
        if (close) {
            assert_true(n > 0);
            n--;
            if (strncmp(open[n], name, len) != 0 || open[n][len])
                fail_msg("</%.*s> closes <%s>", (int)len, name, open[n]);
        } else if (end[-1] != '/') {
            assert_true(n < 64);
            memcpy(open[n], name, len);
            open[n++][len] = '\0';
        }
        s = end;
    }
    assert_int_equal(n, 0);
}

static void report_is_well_formed(void **state) {
    (void)state;
    pgr_bench_at curve[] = {{1, .4, .1}, {2, .6, NAN}};
    pgr_bench_row rows[] = {
        {.data = "a<b> & \"c\"",
         .split = "test",
         .method = "longest",
         .model = "",
         .accuracy = .5,
         .accuracy_se = .1,
         .base = "",
         .runs = 1},
        {.data = "a<b> & \"c\"",
         .split = "test",
         .method = "p-genrm",
         .model = "m&m",
         .ind = 2,
         .pro = 4,
         .stranger = true,
         .accuracy = .51,
         .accuracy_se = NAN,
         .base = "",
         .by_chains = curve,
         .n_by_chains = 2,
         .seconds_per_pair = 3},
        {.data = "a<b> & \"c\"",
         .split = "test",
         .method = "p-genrm",
         .model = "m&m",
         .ind = 2,
         .accuracy = .51,
         .accuracy_se = .2,
         .base = "",
         .by_chains = curve,
         .n_by_chains = 2,
         .seconds_per_pair = 3,
         .bins = {{3, .52, .4}, {4, .57, .9}}},
    };
    const char *notes[] = {"left out: <x>\x01\xFF"};
    pgr_bench_report report = {.rows = rows, .n_row = 3, .notes = notes, .n_note = 1};
    char *page = NULL;
    assert_int_equal(pgr_bench_html(&report, "t<t", &page, NULL), PGR_OK);
    assert_well_formed(page);
    assert_non_null(strstr(page, "a&lt;b&gt; &amp; &quot;c&quot;"));
    assert_null(strstr(page, "nan"));
    assert_null(strstr(page, "http://www.w3.org/1999/xhtml\">\x01"));
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "src="));
    size_t plots = 0;
    for (const char *p = page; (p = strstr(p, "<svg")) != NULL; p++) plots++;
    assert_int_equal(plots, 4); /* accuracy, chains, calibration, time */
    pgr_free(page);
}

/* ---- memory ---- */

static bool summary_and_page(void) {
    bench_data *d = NULL;
    const char *paths[] = {path_of("trees.jsonl")};
    bench_files f = {.paths = paths, .n_path = 1, .split = "test"};
    if (bench_load(&f, &d, NULL) != PGR_OK) return false;
    size_t asked[8], n = 0;
    for (size_t i = 0; i < d->n_row; i++)
        if (!d->rows[i].train) asked[n++] = i;
    bench_verdict v[24];
    for (size_t i = 0; i < 24; i++)
        v[i] = (bench_verdict){.known = true, .p = i % 3 ? .7 : .4, .right = i % 3 > 0, .flip = NAN};
    arena a = {0};
    verdict_table t = {.data = "trees", .cells = CELLS, .n_cell = 3, .n_run = 1, .n_row = 8, .v = v, .arena = &a};
    pgr_bench_options o = pgr_bench_options_default();
    summary_input in = {.d = d, .asked = asked, .t = &t, .o = &o, .model = "m"};
    pgr_bench_row rows[3];
    char *page = NULL, *line = NULL;
    pgr_bench_report report = {.rows = rows, .n_row = 3};
    bool ok = summarise(&in, &a, rows, NULL) == PGR_OK && pgr_bench_html(&report, "t", &page, NULL) == PGR_OK
              && pgr_bench_row_json(&rows[1], &line, NULL) == PGR_OK;
    pgr_free(page);
    pgr_free(line);
    arena_free(&a);
    bench_data_free(d);
    return ok;
}

static void out_of_memory(void **state) {
    (void)state;
    fail_allocations(summary_and_page, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_tell_nothing),
        cmocka_unit_test(train_rows_are_asked_without_themselves),
        cmocka_unit_test(own_conversation_is_no_history),
        cmocka_unit_test(rows_by_hand),
        cmocka_unit_test(goes_on_to_the_same_numbers),
        cmocka_unit_test(torn_lines_are_cut),
        cmocka_unit_test(other_settings_are_refused),
        cmocka_unit_test(report_is_well_formed),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
