/* Metrics in a database of Trackio: a row for each line with numbers, and none twice however a run was interrupted;
 * what a kill leaves can be read; what is not ours to overwrite stays. */
#include "../base/faults.h"

#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/scratch.h"
#include "base/mem.h"
#include "train/trackio.h"

static char RUN[200], METRICS[250], DB[200];
static json_t *SETTINGS;

static int begin(void **state) {
    if (make_folder(state) != 0) return -1;
    json_setup();
    snprintf(RUN, sizeof RUN, "%s/run", scratch);
    snprintf(METRICS, sizeof METRICS, "%s/metrics.jsonl", RUN);
    snprintf(DB, sizeof DB, "%s/boards/mine.db", scratch); /* its folder is made */
    SETTINGS = json_pack("{s:s,s:i}", "stage", "cre", "batch", 4);
    return mkdir(RUN, 0777);
}

static int end(void **state) {
    json_decref(SETTINGS);
    return remove_folder(state);
}

static void write_lines(const char *path, const char *mode, const char *text) {
    FILE *f = fopen(path, mode);
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static trackio *open_as(const char *db, const char *run, const char *metrics) {
    trackio *t = NULL;
    pgr_error err = {0};
    if (trackio_open(db, run, metrics, SETTINGS, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    return t;
}

/* All of a table as text: columns by ',', rows by ';'. */
static void expect(const char *db, const char *sql, const char *want) {
    sqlite3 *d = NULL;
    sqlite3_stmt *q = NULL;
    buf out = {0};
    assert_int_equal(sqlite3_open_v2(db, &d, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK); /* a WAL wants to be written */
    assert_int_equal(sqlite3_prepare_v2(d, sql, -1, &q, NULL), SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(q); i++)
            buf_printf(&out, "%s%s", i ? "|" : "", (const char *)sqlite3_column_text(q, i));
        buf_putc(&out, ';');
    }
    assert_string_equal(out.data ? out.data : "", want);
    buf_free(&out);
    sqlite3_finalize(q);
    sqlite3_close(d);
}

#define ROWS      "SELECT run_name, step, metrics FROM metrics ORDER BY id"
#define LINE_1    "{\"step\":1,\"loss\":0.5,\"kind\":\"taste\",\"kl\":null}\n"
#define LINE_2    "{\"step\":2,\"loss\":0.25,\"num_tokens\":40}\n"
#define SAMPLES   "{\"step\":2,\"samples\":[{\"reward\":1}]}\n{\"step\":2,\"sample\":\"text\"}\n"
#define TRIED     "{\"step\":2,\"evaluation\":true,\"taste/own\":0.75,\"eval/reward\":0.5}\n"
#define LINE_3    "{\"step\":3,\"loss\":0.125}\n"
#define ROW_1     "run|1|{\"loss\":0.5};"
#define ROW_2     "run|2|{\"loss\":0.25,\"num_tokens\":40};"
#define ROW_TRIED "run|2|{\"eval/taste/own\":0.75,\"eval/reward\":0.5};"
#define ROW_3     "run|3|{\"loss\":0.125};"

/* Numbers under their names, those of evaluations below eval/, neither samples nor what is no number. */
static void lines_become_rows(void **state) {
    (void)state;
    write_lines(METRICS, "w", LINE_1);
    trackio *t = open_as(DB, RUN, METRICS);
    expect(DB, ROWS, ROW_1);
    write_lines(METRICS, "a", LINE_2 SAMPLES TRIED "{\"step\":3,\"loss\"");
    trackio_take(t);
    expect(DB, ROWS, ROW_1 ROW_2 ROW_TRIED); /* a line that is being written is none yet */
    write_lines(METRICS, "a", ":0.125}\n");
    trackio_take(t);
    trackio_take(t);
    expect(DB, ROWS, ROW_1 ROW_2 ROW_TRIED ROW_3);
    trackio_close(t);
    char config[400];
    snprintf(config, sizeof config, "run|run|{\"batch\":4,\"folder\":\"%s\",\"stage\":\"cre\"};", RUN);
    expect(DB, "SELECT run_id, run_name, config FROM configs", config);
    expect(DB, "SELECT count(*) FROM metrics WHERE timestamp LIKE '____-__-__T__:__:__' AND run_id = 'run'", "4;");
}

/* A resumed run: what its file has lost is lost here, what it kept is there once, with its time. */
static void resumed(void **state) {
    (void)state;
    write_lines(METRICS, "w", LINE_1 LINE_2 TRIED LINE_3);
    trackio_close(open_as(DB, RUN, METRICS));
    sqlite3 *d = NULL;
    assert_int_equal(sqlite3_open(DB, &d), SQLITE_OK);
    assert_int_equal(sqlite3_exec(d, "UPDATE metrics SET timestamp = '2001-01-01T00:00:00'", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(d);
    write_lines(METRICS, "w", LINE_1 LINE_2);
    trackio *t = open_as(DB, RUN, METRICS);
    expect(DB, ROWS, ROW_1 ROW_2);
    write_lines(METRICS, "a", LINE_3);
    trackio_take(t);
    trackio_close(t);
    trackio_close(open_as(DB, RUN, METRICS));
    expect(DB, ROWS, ROW_1 ROW_2 ROW_3);
    expect(DB, "SELECT count(*) FROM metrics WHERE timestamp = '2001-01-01T00:00:00'", "2;");
}

/* Killed with SIGKILL at any time: the database is whole, and the next run completes it. */
static void killed(void **state) {
    (void)state;
    write_lines(METRICS, "w", "");
    for (int round = 0; round < 4; round++) {
        int told[2];
        char some;
        assert_int_equal(pipe(told), 0);
        pid_t child = fork();
        if (child == 0) {
            trackio *t = NULL;
            if (trackio_open(DB, RUN, METRICS, SETTINGS, &t, NULL) != PGR_OK) _exit(1);
            for (int i = 1;; i++) {
                FILE *f = fopen(METRICS, "ab");
                if (!f) _exit(1);
                fprintf(f, "{\"step\":%d,\"loss\":%d.5}\n", i, i);
                fclose(f);
                trackio_take(t);
                if (write(told[1], "x", 1) != 1) _exit(1);
            }
        }
        close(told[1]);
        for (int i = 0; i < 3 + 5 * round; i++) assert_int_equal(read(told[0], &some, 1), 1);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(told[0]);
        expect(DB, "PRAGMA integrity_check", "ok;");
        trackio_close(open_as(DB, RUN, METRICS));
        size_t n = 0;
        char count[32];
        FILE *f = fopen(METRICS, "rb");
        assert_non_null(f);
        for (int c; (c = getc(f)) != EOF;) n += c == '\n';
        fclose(f);
        snprintf(count, sizeof count, "%zu|%zu;", n, n);
        expect(DB, "SELECT count(*), count(DISTINCT log_id) FROM metrics WHERE run_id = 'run'", count);
    }
}

/* Other runs stay as they are, and one of the same name and another folder is not overwritten. */
static void others_stay(void **state) {
    (void)state;
    char other[200], far[200], metrics[250];
    trackio *t = NULL;
    pgr_error err = {0};
    write_lines(METRICS, "w", LINE_1);
    trackio_close(open_as(DB, RUN, METRICS));
    snprintf(other, sizeof other, "%s/other", scratch);
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", other);
    assert_int_equal(mkdir(other, 0777), 0);
    write_lines(metrics, "w", LINE_2);
    trackio_close(open_as(DB, other, metrics));
    expect(DB, "SELECT run_name, step FROM metrics ORDER BY step", "run|1;other|2;");
    snprintf(far, sizeof far, "%s/other/run", scratch);
    assert_int_equal(mkdir(far, 0777), 0);
    assert_int_equal(trackio_open(DB, far, metrics, SETTINGS, &t, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "has a run 'run'"));
    expect(DB, "SELECT run_name, step FROM metrics ORDER BY step", "run|1;other|2;");
}

static void what_is_no_database(void **state) {
    (void)state;
    char path[220];
    trackio *t = NULL;
    pgr_error err = {0};
    snprintf(path, sizeof path, "%s/text.db", scratch);
    write_lines(path, "w",
                "this is a text, long enough to be looked at as the head of a database of SQLite, which it is not\n");
    assert_int_equal(trackio_open(path, RUN, METRICS, SETTINGS, &t, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "no SQLite database"));
    assert_int_equal(trackio_open("a project", RUN, METRICS, SETTINGS, &t, &err), PGR_E_ARG);
    assert_int_equal(trackio_open("", RUN, METRICS, SETTINGS, &t, &err), PGR_E_ARG);
    snprintf(path, sizeof path, "%s/old.db", scratch);
    sqlite3 *d = NULL;
    assert_int_equal(sqlite3_open(path, &d), SQLITE_OK);
    assert_int_equal(sqlite3_exec(d, "CREATE TABLE metrics(id INTEGER PRIMARY KEY, run_name TEXT)", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(d);
    assert_int_equal(trackio_open(path, RUN, METRICS, SETTINGS, &t, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "newer Trackio"));
}

/* A project's name is a file of Trackio's own folder. */
static void a_project(void **state) {
    (void)state;
    char folder[200], path[250];
    snprintf(folder, sizeof folder, "%s/home", scratch);
    snprintf(path, sizeof path, "%s/my-runs.db", folder);
    setenv("TRACKIO_DIR", folder, 1);
    write_lines(METRICS, "w", LINE_1);
    trackio_close(open_as("my-runs", RUN, METRICS));
    unsetenv("TRACKIO_DIR");
    expect(path, ROWS, ROW_1);
}

/* Another program holds the database: the run goes on, and what is missing is there at the end. */
static void a_busy_database(void **state) {
    (void)state;
    sqlite3 *d = NULL;
    write_lines(METRICS, "w", LINE_1);
    trackio *t = open_as(DB, RUN, METRICS);
    assert_int_equal(sqlite3_open(DB, &d), SQLITE_OK);
    assert_int_equal(sqlite3_exec(d, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    write_lines(METRICS, "a", LINE_2);
    trackio_take(t); /* warns */
    write_lines(METRICS, "a", LINE_3);
    assert_int_equal(sqlite3_exec(d, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(d);
    trackio_close(t);
    expect(DB, "SELECT step FROM metrics WHERE run_id = 'run' ORDER BY id", "1;2;3;");
}

static bool write_one(void) {
    trackio *t = NULL;
    bool done = trackio_open(DB, RUN, METRICS, SETTINGS, &t, NULL) == PGR_OK;
    trackio_close(t);
    return done;
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    write_lines(METRICS, "w", LINE_1 LINE_2);
    assert_true(fail_allocations(write_one, 1) > 5);
    expect(DB, "SELECT step FROM metrics WHERE run_id = 'run' ORDER BY id", "1;2;");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_rows),
        cmocka_unit_test(resumed),
        cmocka_unit_test(killed),
        cmocka_unit_test(others_stay),
        cmocka_unit_test(what_is_no_database),
        cmocka_unit_test(a_project),
        cmocka_unit_test(a_busy_database),
        cmocka_unit_test(every_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
