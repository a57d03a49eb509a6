/* test_kinds.c - a benchmark over answers and statements: every verdict line says what it stands on, a calibration has
 * a map for each kind, fitted on its own verdicts, and no row counts a probability of another kind's map. On a tiny
 * random model; numbers are held against the journal. */
#include <math.h>
#include <sys/stat.h>

#include "../base/scratch.h"
#include "../judge/tiny_engine.h"
#include "base/file.h"
#include "base/json.h"
#include "pgenrm_bench.h"

enum { USERS = 4, EACH = 3 }; /* asked pairs of a kind and user */

#define TEN "one two three four five six seven eight nine ten "

static void put(FILE *f, int user, const char *name, int i, const char *query, const char *chosen, const char *rejected,
                const char *split) {
    fprintf(f,
            "{\"user_id\":\"u%d\",\"conversation_id\":\"%s%d-%d\",\"context\":[{\"role\":\"user\",\"content\":\"%s\"}],"
            "\"chosen\":\"%s\",\"rejected\":\"%s\",\"split\":\"%s\"}\n",
            user, name, user, i, query, chosen, rejected, split);
}

/* Of each user two statements of one question are known and `statements` are asked; answers are long. */
static void write_data(const char *path, int answers, int statements) {
    static const char *const views[] = {"Ban dogs from parks.",  "Dogs may run in parks.", "Parks are for trees.",
                                        "Parks need more dogs.", "Close parks at night.",  "Trees before dogs."};
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int u = 0; u < USERS; u++) {
        put(f, u, "t", 0, "Name a tree", u % 2 ? "Oak." : "Pine, birch, elm.", u % 2 ? "Pine, birch, elm." : "Oak.",
            "train");
        for (int i = 0; i < 2; i++) put(f, u, "v", i, "Parks?", views[i + u % 2], views[3 - i - u % 2], "train");
        for (int i = 0; i < answers; i++) {
            char a[400], b[400], query[32];
            snprintf(a, sizeof a, TEN TEN TEN TEN "oak number %d of %d", i, u);
            snprintf(b, sizeof b, TEN TEN TEN TEN "pines, birches, elms: %d of %d in all", u, i);
            snprintf(query, sizeof query, "Tree %d?", i);
            put(f, u, "a", i, query, (u + i) % 2 ? a : b, (u + i) % 2 ? b : a, "test");
        }
        for (int i = 0; i < statements; i++)
            put(f, u, "s", i, "Parks?", views[(u + i) % 6], views[(u + i + 1 + i % 2) % 6], "test");
    }
    assert_int_equal(fclose(f), 0);
}

static int begin(void **state) {
    if (make_folder(state) != 0) return -1;
    write_data(path_of("mixed.jsonl"), EACH, EACH);
    write_data(path_of("answers.jsonl"), EACH, 0);
    write_data(path_of("views.jsonl"), 1, EACH); /* and too few answers */
    return tiny_begin(state);
}

static int end(void **state) {
    return tiny_end(state) != 0 ? -1 : remove_folder(state);
}

static pgr_bench_options options(const char *const *data) {
    static const int ind[] = {2};
    static const char *const methods[] = {"p-genrm"};
    pgr_bench_options o = pgr_bench_options_default();
    o.data = data;
    o.n_data = 1;
    o.ind = ind;
    o.methods = methods;
    o.n_methods = 1;
    o.judge.frame = "compact";
    return o;
}

static pgr_bench_report *run(const pgr_bench_options *o) {
    pgr_bench_report *report = NULL;
    pgr_error err = {0};
    if (pgr_bench(ENGINE, o, &report, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(report->n_row, 2);
    assert_string_equal(report->rows[1].method, "p-genrm");
    return report;
}

static const char *note(const pgr_bench_report *report, const char *says) {
    for (size_t i = 0; i < report->n_note; i++)
        if (strstr(report->notes[i], says)) return report->notes[i];
    for (size_t i = 0; i < report->n_note; i++) print_message("note: %s\n", report->notes[i]);
    fail_msg("no note says '%s'", says);
    return NULL;
}

static pgr_calibration *open_map(const char *path) {
    pgr_calibration *c = NULL;
    pgr_error err = {0};
    if (pgr_calibration_open(path, &c, &err) != PGR_OK) fail_msg("%s", err.message);
    return c;
}

static void assert_same_map(const pgr_calibration *a, const pgr_calibration *b, pgr_verdict_kind kind) {
    assert_int_equal(pgr_calibration_outcomes(a, kind), pgr_calibration_outcomes(b, kind));
    for (int i = -20; i <= 20; i++) {
        const pgr_gap g = {i / 50.0, 0.01, 2};
        assert_true(pgr_calibration_apply_gap(a, kind, &g) == pgr_calibration_apply_gap(b, kind, &g));
    }
}

/* ---- the journal ------------------------------------------------------------------------------------------------- */

typedef struct told { /* verdicts of p-genrm in a journal, of one kind */
    size_t n, calibrated;
    double log_loss; /* summed over those that are calibrated */
    pgr_gap leads[64];
    double y[64], p[64];
} told;

static void take_line(const json_t *v, told of[PGR_VERDICT_KINDS]) {
    if (strcmp(json_string_value(json_object_get(v, "method")), "p-genrm") != 0) {
        assert_null(json_object_get(v, "kind")); /* longest stands on neither */
        return;
    }
    bool views = strcmp(json_string_value(json_object_get(v, "kind")), "views") == 0;
    told *t = &of[views];
    bool first = json_integer_value(json_object_get(v, "row")) % 2 == 0;
    double lead = json_number_value(json_object_get(v, "lead")), p = json_number_value(json_object_get(v, "p"));
    t->leads[t->n] = (pgr_gap){first ? lead : -lead, json_number_value(json_object_get(v, "spread")),
                               json_number_value(json_object_get(v, "weigh"))};
    t->p[t->n] = p;
    t->y[t->n++] = first;
    if (!json_is_true(json_object_get(v, "calibrated"))) return;
    t->calibrated++;
    t->log_loss -= log(p);
}

static void read_journal(const char *folder, told of[PGR_VERDICT_KINDS]) {
    char path[200];
    buf text = {0};
    snprintf(path, sizeof path, "%s/verdicts.jsonl", folder);
    memset(of, 0, PGR_VERDICT_KINDS * sizeof *of);
    assert_int_equal(file_read(path, &text, NULL), PGR_OK);
    buf_putc(&text, '\0');
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *v = NULL;
        assert_int_equal(json_parse(line, strlen(line), path, 1, &v, NULL), PGR_OK);
        take_line(v, of);
        json_decref(v);
    }
    buf_free(&text);
}

/* ---- fitting ----------------------------------------------------------------------------------------------------- */

/* Each map is what the public function fits on the journal's verdicts of its kind, and of no other. */
static void each_kind_has_its_own_map(void **state) {
    (void)state;
    enum { N = USERS * EACH };
    const char *data[] = {path_of("mixed.jsonl")};
    char folder[100], file[100];
    snprintf(folder, sizeof folder, "%s/mixed", scratch);
    snprintf(file, sizeof file, "%s/both.json", scratch);
    pgr_bench_options o = options(data);
    o.out = folder;
    o.calibration_out = file;
    pgr_bench_report *report = run(&o);
    note(report, "answers: fitted on 12 verdicts");
    note(report, "views: fitted on 12 verdicts");
    assert_false(report->rows[1].calibrated);
    assert_int_equal(report->rows[1].uncalibrated, 2 * N);
    assert_int_equal(report->rows[0].uncalibrated, 0);
    pgr_bench_free(report);

    told of[PGR_VERDICT_KINDS];
    pgr_calibration *c = open_map(file), *one = NULL;
    read_journal(folder, of);
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) {
        pgr_verdict_kind kind = (pgr_verdict_kind)k;
        assert_int_equal(of[k].n, N);
        assert_int_equal(of[k].calibrated, 0);
        assert_int_equal(
            pgr_calibration_fit_gaps(kind, PGR_CALIBRATION_TEMPERATURE, of[k].leads, of[k].y, N, &one, NULL), PGR_OK);
        assert_same_map(c, one, kind);
        pgr_calibration_free(one);
    }
    pgr_calibration_free(c);

    /* A killed run knows the kinds from its lines. */
    char path[200];
    struct stat st;
    snprintf(path, sizeof path, "%s/verdicts.jsonl", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size * 2 / 3), 0);
    o.resume = true;
    pgr_calibration *before = open_map(file);
    assert_int_equal(unlink(file), 0);
    pgr_bench_free(run(&o));
    c = open_map(file);
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) assert_same_map(c, before, (pgr_verdict_kind)k);
    pgr_calibration_free(before);
    pgr_calibration_free(c);
}

/* Two runs, one file: what the second does not fit stays. */
static void the_other_map_stays(void **state) {
    (void)state;
    const char *answers[] = {path_of("answers.jsonl")}, *views[] = {path_of("views.jsonl")};
    char file[100];
    snprintf(file, sizeof file, "%s/two.json", scratch);
    pgr_bench_options o = options(answers);
    o.calibration_out = file;
    pgr_bench_report *report = run(&o);
    note(report, "views: no map, of 0 verdicts");
    pgr_bench_free(report);
    pgr_calibration *first = open_map(file);
    assert_int_equal(pgr_calibration_outcomes(first, PGR_VERDICT_ANSWERS), USERS * EACH);
    assert_int_equal(pgr_calibration_outcomes(first, PGR_VERDICT_VIEWS), 0);

    o.data = views;
    report = run(&o); /* its four answers are too few */
    note(report, "answers: the map that was there, of 12 verdicts, stays");
    note(report, "views: fitted on 12 verdicts");
    pgr_bench_free(report);
    pgr_calibration *second = open_map(file);
    assert_same_map(first, second, PGR_VERDICT_ANSWERS);
    assert_int_equal(pgr_calibration_outcomes(second, PGR_VERDICT_VIEWS), USERS * EACH);
    pgr_calibration_free(first);

    const char *mixed[] = {path_of("mixed.jsonl")};
    o.data = mixed;
    o.seed = 3; /* answers would come out otherwise */
    o.calibration_kind = "views";
    report = run(&o);
    note(report, "answers: the map that was there, of 12 verdicts, stays");
    pgr_bench_free(report);
    first = open_map(file);
    assert_same_map(first, second, PGR_VERDICT_ANSWERS);
    pgr_calibration_free(first);
    pgr_calibration_free(second);

    o = options(answers);
    o.calibration_out = path_of("none.json");
    o.calibration_kind = "views";
    pgr_error err = {0};
    assert_int_equal(pgr_bench(ENGINE, &o, &report, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "found 12 verdicts of answers and 0 of views"));
    assert_non_null(strstr(err.message, "expected 8 of views"));
    assert_false(file_exists(o.calibration_out));
}

/* ---- using ------------------------------------------------------------------------------------------------------- */

/* Under a map of answers verdicts on views have no probability: the row's numbers are those of the answers alone. */
static void rows_count_their_own_kind(void **state) {
    (void)state;
    enum { N = USERS * EACH };
    static const char bare[] = "{\"method\":\"temperature\",\"input\":\"difference\",\"n\":100,\"temperature\":0.2}";
    const char *data[] = {path_of("mixed.jsonl")}, *views[] = {path_of("views.jsonl")};
    char folder[100], file[160];
    snprintf(folder, sizeof folder, "%s/used", scratch);
    snprintf(file, sizeof file, "%s", write_bytes("bare.json", bare, strlen(bare)));
    pgr_bench_options o = options(data);
    o.out = folder;
    o.calibration = file;
    pgr_bench_report *report = run(&o);
    const pgr_bench_row *r = &report->rows[1];
    note(report, "12 of 24 verdicts of p-genrm are of views, for which the calibration has no map: log loss");
    told of[PGR_VERDICT_KINDS];
    read_journal(folder, of);
    assert_int_equal(of[PGR_VERDICT_ANSWERS].calibrated, N);
    assert_int_equal(of[PGR_VERDICT_VIEWS].calibrated, 0);
    assert_true(r->calibrated);
    assert_int_equal(r->uncalibrated, N);
    double want = of[PGR_VERDICT_ANSWERS].log_loss / N;
    if (!(fabs(r->log_loss - want) <= 1e-12)) fail_msg("log loss %.17g, of the answers alone %.17g", r->log_loss, want);
    size_t n = 0;
    for (size_t b = 0; b < PGR_BENCH_BINS; b++) n += r->bins[b].n;
    assert_int_equal(n, N);
    assert_int_equal(r->pairs, 2 * N); /* all of them count in the accuracy */
    char *line = NULL;
    assert_int_equal(pgr_bench_row_json(r, &line, NULL), PGR_OK);
    assert_non_null(strstr(line, "\"uncalibrated\":12,\"calibrated\":true,"));
    pgr_free(line);
    pgr_bench_free(report);

    char only_views[160];
    snprintf(only_views, sizeof only_views, "%s", path_of("views-map.json"));
    pgr_bench_options fit = options(data);
    fit.calibration_out = only_views;
    fit.calibration_kind = "views";
    pgr_bench_free(run(&fit));
    o = options(views);
    o.calibration = only_views;
    report = run(&o);
    note(report, "4 of 16 verdicts of p-genrm are of answers");
    assert_int_equal(report->rows[1].uncalibrated, 4);
    pgr_bench_free(report);
    const char *answers[] = {path_of("answers.jsonl")};
    o = options(answers);
    o.calibration = only_views;
    report = run(&o);
    note(report, "12 of 12 verdicts of p-genrm are of answers, for which the calibration has no map: no probability");
    assert_false(report->rows[1].calibrated);
    pgr_bench_free(report);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_has_its_own_map),
        cmocka_unit_test(the_other_map_stays),
        cmocka_unit_test(rows_count_their_own_kind),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
