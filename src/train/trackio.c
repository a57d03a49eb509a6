/* trackio.c - see trackio.h. A row's log_id is the run's name and the byte of the metrics file where its line
 * begins. */
#include "train/trackio.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/legible.h"
#include "base/log.h"
#include "base/mem.h"

enum { /* for another program that writes: when a run begins, and at its steps, which can do it later */
       PATIENCE_MS = 10000,
       STEP_PATIENCE_MS = 500,
};

struct trackio {
    char *path, *run, *metrics; /* the database, the run's name, its file */
    sqlite3 *db;
    sqlite3_stmt *insert;
    uint64_t at; /* of the file, up to which the database has it */
    bool warned;
};

static const char TABLES[] =
    "CREATE TABLE IF NOT EXISTS metrics(id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, timestamp TEXT NOT "
    "NULL, run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL, log_id TEXT, space_id TEXT);"
    "CREATE TABLE IF NOT EXISTS configs(id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, run_name TEXT NOT "
    "NULL, config TEXT NOT NULL, created_at TEXT NOT NULL, UNIQUE(run_id));";

static const char INDEXES[] =
    "CREATE INDEX IF NOT EXISTS idx_metrics_run_step ON metrics(run_id, step);"
    "CREATE UNIQUE INDEX IF NOT EXISTS idx_metrics_log_id ON metrics(log_id) WHERE log_id IS NOT NULL;"
    "CREATE TEMP TABLE IF NOT EXISTS known(log_id TEXT PRIMARY KEY, timestamp TEXT);";

/* ?1 the run, ?2 the time, ?3 the step, ?4 the numbers, ?5 log_id */
static const char INSERT[] = "INSERT INTO metrics(run_id, run_name, timestamp, step, metrics, log_id) VALUES(?1, ?1, "
                             "coalesce((SELECT timestamp FROM known WHERE log_id = ?5), ?2), ?3, ?4, ?5)";

static pgr_status fail_trackio(const trackio *t, pgr_error *err) {
    int rc = sqlite3_errcode(t->db);
    if ((rc & 0xFF) == SQLITE_NOMEM) return fail_mem(err);
    if ((rc & 0xFF) == SQLITE_NOTADB)
        return fail(err, PGR_E_FORMAT, "%s: found a file that is no SQLite database, expected one of Trackio", t->path);
    return fail(err, PGR_E_IO, "%s: %s", t->path, t->db ? sqlite3_errmsg(t->db) : "cannot be opened");
}

static pgr_status script(trackio *t, const char *text, pgr_error *err) {
    return sqlite3_exec(t->db, text, NULL, NULL, NULL) == SQLITE_OK ? PGR_OK : fail_trackio(t, err);
}

/* One statement with texts for ?1, ?2, ...; *out, where it is wanted: the first column of its first row, the caller's
 * (mem_free), NULL: there is none. */
static pgr_status run(trackio *t, const char *sql, const char *const *texts, size_t n, char **out, pgr_error *err) {
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(t->db, sql, -1, &q, NULL);
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++)
        rc = sqlite3_bind_text(q, (int)i + 1, texts[i], -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    pgr_status s = rc == SQLITE_ROW || rc == SQLITE_DONE ? PGR_OK : fail_trackio(t, err);
    if (out) *out = rc == SQLITE_ROW ? mem_strdup((const char *)sqlite3_column_text(q, 0)) : NULL;
    if (out && rc == SQLITE_ROW && !*out) s = fail_mem(err);
    sqlite3_finalize(q);
    return s;
}

/* "2026-11-30T06:50:00", as Trackio has times */
static void put_now(char out[32]) {
    time_t now = time(NULL);
    struct tm parts;
    localtime_r(&now, &parts);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &parts);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* The numbers of a line, what an evaluation measured below eval/; empty: it has none (samples are none). */
static pgr_status put_numbers(const json_t *line, buf *out, pgr_error *err) {
    bool evaluation = json_is_true(json_object_get(line, "evaluation"));
    const char *key;
    json_t *v;
    size_t n = 0;
    if (json_object_get(line, "sample") || json_object_get(line, "samples")) return PGR_OK;
    json_object_foreach((json_t *)(uintptr_t)line, key, v) {
        char name[256];
        if (!json_is_number(v) || strcmp(key, "step") == 0) continue;
        int k = snprintf(name, sizeof name, "%s%s", evaluation && strncmp(key, "eval/", 5) != 0 ? "eval/" : "", key);
        buf_putc(out, n++ ? ',' : '{');
        json_put_string(out, name, (size_t)k < sizeof name ? (size_t)k : sizeof name - 1);
        buf_putc(out, ':');
        json_put(out, v, JSON_ENCODE_ANY);
    }
    if (n > 0) buf_putc(out, '}');
    return out->failed ? fail_mem(err) : PGR_OK;
}

static pgr_status insert(trackio *t, uint64_t at, int64_t step, const buf *numbers, pgr_error *err) {
    char now[32], id[32];
    buf log_id = {0};
    put_now(now);
    snprintf(id, sizeof id, ":%llu", (unsigned long long)at);
    buf_puts(&log_id, t->run);
    buf_puts(&log_id, id);
    if (log_id.failed) return fail_mem(err);
    sqlite3_stmt *q = t->insert;
    bool bound = sqlite3_bind_text(q, 1, t->run, -1, SQLITE_STATIC) == SQLITE_OK
                 && sqlite3_bind_text(q, 2, now, -1, SQLITE_STATIC) == SQLITE_OK
                 && sqlite3_bind_int64(q, 3, step) == SQLITE_OK
                 && sqlite3_bind_text64(q, 4, numbers->data, numbers->n, SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK
                 && sqlite3_bind_text64(q, 5, log_id.data, log_id.n, SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK;
    pgr_status s = bound && sqlite3_step(q) == SQLITE_DONE ? PGR_OK : fail_trackio(t, err);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    buf_free(&log_id);
    return s;
}

/* What is no JSON object is left out: the file may have been somebody's. */
static pgr_status take_line(trackio *t, uint64_t at, const char *text, size_t n, pgr_error *err) {
    json_t *line = NULL;
    pgr_error why;
    if (json_parse(text, n, t->metrics, 1, &line, &why) == PGR_E_MEM) return fail_mem(err);
    const json_t *step = json_object_get(line, "step");
    buf numbers = {0};
    pgr_status s = json_is_integer(step) ? put_numbers(line, &numbers, err) : PGR_OK;
    if (s == PGR_OK && numbers.n > 0) s = insert(t, at, json_integer_value(step), &numbers, err);
    buf_free(&numbers);
    json_decref(line);
    return s;
}

/* Whole lines from t->at on; *end: behind the last one. */
static pgr_status take_lines(trackio *t, uint64_t *end, pgr_error *err) {
    char *line = NULL;
    size_t room = 0;
    pgr_status s = PGR_OK;
    FILE *f = fopen(t->metrics, "rb");
    *end = t->at;
    if (!f) return errno == ENOENT ? PGR_OK : fail(err, PGR_E_IO, "%s: cannot be read", t->metrics);
    if (fseeko(f, (off_t)t->at, SEEK_SET) != 0) s = fail(err, PGR_E_IO, "%s: cannot be read", t->metrics);
    for (ssize_t n; s == PGR_OK && (n = getline(&line, &room, f)) > 0 && line[n - 1] == '\n'; *end += (uint64_t)n)
        s = take_line(t, *end, line, (size_t)n, err);
    free(line); /* getline's */
    fclose(f);
    return s;
}

/* All of it or nothing. */
static pgr_status take(trackio *t, pgr_error *err) {
    uint64_t end;
    PGR_TRY(script(t, "BEGIN IMMEDIATE", err));
    pgr_status s = take_lines(t, &end, err);
    if (s == PGR_OK) s = script(t, "COMMIT", err);
    if (s == PGR_OK)
        t->at = end;
    else
        sqlite3_exec(t->db, "ROLLBACK", NULL, NULL, NULL);
    return s;
}

void trackio_take(trackio *t) {
    pgr_error err = {0};
    if (take(t, &err) == PGR_OK) {
        t->warned = false;
    } else if (!t->warned) {
        log_warn("%s; the run goes on, what is missing there comes later", err.message);
        t->warned = true;
    }
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static bool is_project(const char *name) {
    return *name && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] == '\0';
}

/* $TRACKIO_DIR, else trackio in $HF_HOME, else in ~/.cache/huggingface. */
static void put_folder(buf *out) {
    const char *own = getenv("TRACKIO_DIR"), *hub = getenv("HF_HOME"), *home = getenv("HOME");
    if (own && *own)
        buf_puts(out, own);
    else if (hub && *hub)
        buf_printf(out, "%s/trackio", hub);
    else
        buf_printf(out, "%s/.cache/huggingface/trackio", home ? home : ".");
}

static pgr_status make_folders(char *path, pgr_error *err) {
    char text[128];
    for (char *p = path + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
        pgr_status s =
            made ? PGR_OK : fail(err, PGR_E_IO, "%s: cannot be made: %s", path, strerror_r(errno, text, sizeof text));
        *p = '/';
        PGR_TRY(s);
    }
    return PGR_OK;
}

static pgr_status find_path(trackio *t, const char *where, pgr_error *err) {
    buf path = {0};
    size_t n = strlen(where);
    bool file = n > 3 && strcmp(where + n - 3, ".db") == 0;
    if (!file && !is_project(where))
        return fail(err, PGR_E_ARG,
                    "trackio: found '%s', expected FILE.db or a project's name (letters, digits, - and _)", where);
    if (file) {
        buf_puts(&path, where);
    } else {
        put_folder(&path);
        buf_printf(&path, "/%s.db", where);
    }
    t->path = buf_take(&path);
    return t->path ? make_folders(t->path, err) : fail_mem(err);
}

/* The folder as it is called in the file system; its base name is the run's. */
static pgr_status name_run(trackio *t, const char *folder, char **whole, pgr_error *err) {
    char *real = realpath(folder, NULL);
    *whole = real ? mem_strdup(real) : NULL;
    free(real); /* realpath's */
    if (!*whole) return real ? fail_mem(err) : fail(err, PGR_E_IO, "%s: there is no such folder", folder);
    const char *slash = strrchr(*whole, '/');
    t->run = mem_strdup(slash && slash[1] ? slash + 1 : *whole);
    return t->run ? PGR_OK : fail_mem(err);
}

static pgr_status check_columns(trackio *t, pgr_error *err) {
    char *n = NULL;
    PGR_TRY(run(t, "SELECT count(*) FROM pragma_table_info('metrics') WHERE name IN ('run_id', 'log_id')", NULL, 0, &n,
                err));
    bool both = n && strcmp(n, "2") == 0;
    mem_free(n);
    if (both) return PGR_OK;
    return fail(
        err, PGR_E_FORMAT,
        "%s: found a table of metrics without run_id or log_id, expected that of a newer Trackio: open it there "
        "once, or name another file",
        t->path);
}

/* That no other folder's run of this name is there. */
static pgr_status check_folder(trackio *t, const json_t *folder, pgr_error *err) {
    char *before = NULL;
    json_t *known = NULL;
    pgr_error why;
    PGR_TRY(run(t, "SELECT config FROM configs WHERE run_id = ?1", (const char *[]){t->run}, 1, &before, err));
    bool read = !before || json_parse(before, strlen(before), t->path, 1, &known, &why) != PGR_E_MEM;
    const json_t *of = json_object_get(known, "folder");
    pgr_status s = PGR_OK;
    if (!read)
        s = fail_mem(err);
    else if (json_is_string(of) && !json_equal(of, folder))
        s = fail(err, PGR_E_ARG, "%s: has a run '%s' of the folder %s, expected another name or another database",
                 t->path, t->run, json_string_value(of));
    json_decref(known);
    mem_free(before);
    return s;
}

/* What is known of the run is this. */
static pgr_status write_config(trackio *t, const json_t *config, pgr_error *err) {
    char now[32];
    buf text = {0};
    json_put(&text, config, JSON_COMPACT | JSON_SORT_KEYS);
    put_now(now);
    pgr_status s = text.failed
                       ? fail_mem(err)
                       : run(t,
                             "INSERT INTO configs(run_id, run_name, config, created_at) "
                             "VALUES(?1, ?1, ?2, ?3) ON CONFLICT(run_id) DO UPDATE SET config = excluded.config",
                             (const char *[]){t->run, text.data, now}, 3, NULL, err);
    buf_free(&text);
    return s;
}

static pgr_status keep_config(trackio *t, const char *folder, const json_t *settings, pgr_error *err) {
    json_t *config = json_twin(settings);
    json_give(&config, "folder", legible_json(folder));
    pgr_status s = config ? check_folder(t, json_object_get(config, "folder"), err) : fail_mem(err);
    if (s == PGR_OK) s = write_config(t, config, err);
    json_decref(config);
    return s;
}

/* What is there of the run makes way for what the file says; of lines that it still has the times are kept. */
static pgr_status write_anew(trackio *t, const char *folder, const json_t *settings, pgr_error *err) {
    const char *const name[] = {t->run};
    uint64_t end;
    PGR_TRY(keep_config(t, folder, settings, err));
    PGR_TRY(
        run(t, "INSERT OR IGNORE INTO known SELECT log_id, timestamp FROM metrics WHERE run_id = ?1 AND log_id NOTNULL",
            name, 1, NULL, err));
    PGR_TRY(run(t, "DELETE FROM metrics WHERE run_id = ?1", name, 1, NULL, err));
    PGR_TRY(take_lines(t, &end, err));
    PGR_TRY(script(t, "DELETE FROM known", err)); /* a line that is made again is a new one */
    t->at = end;
    return PGR_OK;
}

static pgr_status open_database(trackio *t, const char *folder, const json_t *settings, pgr_error *err) {
    if (sqlite3_open(t->path, &t->db) != SQLITE_OK) return fail_trackio(t, err);
    sqlite3_busy_timeout(t->db, PATIENCE_MS);
    PGR_TRY(script(t, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", err));
    PGR_TRY(script(t, TABLES, err));
    PGR_TRY(check_columns(t, err));
    PGR_TRY(script(t, INDEXES, err));
    if (sqlite3_prepare_v2(t->db, INSERT, -1, &t->insert, NULL) != SQLITE_OK) return fail_trackio(t, err);
    PGR_TRY(script(t, "BEGIN IMMEDIATE", err));
    pgr_status s = write_anew(t, folder, settings, err);
    if (s == PGR_OK) s = script(t, "COMMIT", err);
    if (s != PGR_OK) sqlite3_exec(t->db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_busy_timeout(t->db, STEP_PATIENCE_MS);
    return s;
}

static void drop(trackio *t) {
    sqlite3_finalize(t->insert);
    sqlite3_close(t->db);
    mem_free(t->path);
    mem_free(t->run);
    mem_free(t->metrics);
    mem_free(t);
}

pgr_status trackio_open(const char *where, const char *folder, const char *metrics, const json_t *settings,
                        trackio **out, pgr_error *err) {
    char *whole = NULL;
    trackio *t = mem_zero(1, sizeof *t);
    if (!t) return fail_mem(err);
    t->metrics = mem_strdup(metrics);
    pgr_status s = t->metrics ? find_path(t, where, err) : fail_mem(err);
    if (s == PGR_OK) s = name_run(t, folder, &whole, err);
    if (s == PGR_OK) s = open_database(t, whole, settings, err);
    mem_free(whole);
    if (s == PGR_OK)
        *out = t;
    else
        drop(t);
    return s;
}

void trackio_close(trackio *t) {
    if (!t) return;
    if (t->warned) trackio_take(t);
    drop(t);
}
