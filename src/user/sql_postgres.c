/* sql_postgres.c - a store in PostgreSQL: the tables of the schema `pgenrm` of a database, over one connection of
 * libpq; see sql.h. Texts travel as they are, numbers in binary; the whole answer of a statement is held until sql_end.
 *
 * Writers (docs/users.md): a transaction that store_begin opens takes one lock for itself, so that two of them never
 * wait for each other's rows crosswise; one on a single user's rows takes that user's row first and nothing before it,
 * so that any number of them run at once. What conflicts nevertheless (another program's doing) is undone by the server
 * and marked in s->conflict: a statement outside a transaction is then run again here, a transaction by its owner. */
#include <endian.h>
#include <limits.h>
#include <string.h>

#include <libpq-fe.h>

#include "base/mem.h"
#include "base/text.h"
#include "user/sql.h"
#include "user/store_parts.h"

enum { PAGE = 1000, TRIES = 5, MESSAGE = 300 };
enum { OID_BYTES = 17, OID_INTEGER = 20, OID_TEXT = 25, OID_REAL = 701 }; /* pg_type's */

#define LOCK "SELECT pg_catalog.pg_advisory_xact_lock(1346852178, 1)" /* "PGUR": of writers of many users' rows */

typedef struct postgres_store {
    pgr_store base;
    char *address; /* with what is secret in it */
    PGconn *link;
    bool read_only;
    bool prepared[SQL_N];
    PGresult *results[SQL_N]; /* NULL: ended */
    int rows[SQL_N];          /* the row that it stands at */
} postgres_store;

static postgres_store *of(pgr_store *s) {
    return (postgres_store *)s;
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

/* libpq's text in one line. */
static const char *one_line(const char *text, char out[MESSAGE]) {
    size_t n = 0;
    for (; *text && n + 1 < MESSAGE; text++) {
        bool space = *text == '\n' || *text == '\t' || *text == ' ';
        if (!space)
            out[n++] = *text;
        else if (n && out[n - 1] != ' ')
            out[n++] = ' ';
    }
    while (n && out[n - 1] == ' ') n--;
    out[n] = '\0';
    return out;
}

static bool is_lost(const postgres_store *p) {
    return PQstatus(p->link) != CONNECTION_OK;
}

static pgr_status fail_lost(postgres_store *p, pgr_error *err) {
    char why[MESSAGE];
    return fail(err, PGR_E_IO, "%s: the server is gone (%s): what was not committed is undone, try again", p->base.path,
                one_line(PQerrorMessage(p->link), why));
}

static bool state_is(const char *state, const char *of_class) {
    return strncmp(state, of_class, strlen(of_class)) == 0;
}

/* What the server says of a statement; clears it. */
static pgr_status fail_result(postgres_store *p, PGresult *r, pgr_error *err) {
    pgr_store *s = &p->base;
    const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    const char *said = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    pgr_status status = PGR_E_IO;
    if (!state) state = "";
    if (!said) said = PQerrorMessage(p->link);
    s->conflict = state_is(state, "40"); /* serialisation, deadlock */
    char why[MESSAGE];
    one_line(said, why);
    if (is_lost(p))
        status = fail_lost(p, err);
    else if (s->conflict)
        status = fail(err, status, "%s: another program changed the same rows at the same moment (%s), try again",
                      s->path, why);
    else if (state_is(state, "55P03"))
        status = fail(err, status, "%s: another program has been using the store for %g seconds, try again", s->path,
                      s->patience_ms / 1000.0);
    else if (state_is(state, "53100")) {
        s->full = true;
        status = fail(err, status, "%s: there is no room left on the server's disk (%s)", s->path, why);
    } else if (state_is(state, "54"))
        status = fail(err, PGR_E_LIMIT, "%s: a text or vector is too large for the store (%s)", s->path, why);
    else
        status = fail(err, status, "%s: %s", s->path, why);
    PQclear(r);
    return status;
}

/* ---- connection -------------------------------------------------------------------------------------------------- */

/* Texts that are no statements of the list, and their answer's first value. */
static pgr_status ask(postgres_store *p, const char *text, int64_t *out, pgr_error *err) {
    PGresult *r = PQexec(p->link, text);
    ExecStatusType got = PQresultStatus(r);
    if (got != PGRES_TUPLES_OK && got != PGRES_COMMAND_OK) return fail_result(p, r, err);
    if (out && PQntuples(r) > 0) *out = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
    PQclear(r);
    return PGR_OK;
}

static pgr_status script(pgr_store *s, const char *text, pgr_error *err) {
    return ask(of(s), text, NULL, err);
}

static pgr_status begin_session(postgres_store *p, pgr_error *err) {
    char text[300];
    int patience = p->base.patience_ms > 0 ? p->base.patience_ms : 1; /* 0 would be for ever */
    snprintf(text, sizeof text,
             "SET search_path = pgenrm; SET lock_timeout = %d; SET default_transaction_isolation = 'read committed';"
             "SET default_transaction_read_only = %s",
             patience, p->read_only ? "on" : "off");
    return ask(p, text, NULL, err);
}

static void ignore_notice(void *ctx, const char *text) {
    (void)ctx;
    (void)text;
}

static void end_all(postgres_store *p) {
    for (size_t i = 0; i < SQL_N; i++) {
        PQclear(p->results[i]);
        p->results[i] = NULL;
        p->prepared[i] = false;
    }
}

/* What the address says goes before what stands in front of it here. */
static pgr_status connect_to(postgres_store *p, pgr_error *err) {
    static const char *const keys[] = {"connect_timeout",
                                       "tcp_user_timeout",
                                       "keepalives_idle",
                                       "keepalives_interval",
                                       "keepalives_count",
                                       "fallback_application_name",
                                       "dbname",
                                       "client_encoding",
                                       NULL};
    const char *values[] = {"10", "60000", "30", "10", "3", "pgenrm", p->address, "UTF8", NULL};
    p->link = PQconnectdbParams(keys, values, 1);
    if (!p->link) return fail_mem(err);
    PQsetNoticeProcessor(p->link, ignore_notice, NULL);
    char why[MESSAGE];
    if (is_lost(p)) return fail(err, PGR_E_IO, "%s: %s", p->base.path, one_line(PQerrorMessage(p->link), why));
    pgr_status status = begin_session(p, err);
    if (status == PGR_OK) return PGR_OK;
    PQfinish(p->link); /* without its settings it would find another schema's tables */
    p->link = NULL;
    return status;
}

/* A connection that was lost is made again, but not in the middle of a transaction. */
static pgr_status reach(postgres_store *p, pgr_error *err) {
    if (!is_lost(p)) return PGR_OK;
    if (p->base.batch) return fail_lost(p, err);
    end_all(p);
    PQfinish(p->link);
    p->link = NULL;
    return connect_to(p, err);
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

static const char *const SQL_TEXTS[] = {
#define X(name, text) text,
    STORE_SQL(X, "json_array_length(criteria::json)", " FOR NO KEY UPDATE", " COLLATE \"C\"")
#undef X
};

static bool only_reads(sql_name name) {
    return text_starts(SQL_TEXTS[name], "SELECT");
}

typedef struct parameters {
    const char *values[SQL_VALUES];
    int lengths[SQL_VALUES], formats[SQL_VALUES];
    Oid types[SQL_VALUES];
    uint64_t numbers[SQL_VALUES]; /* of the network's byte order */
} parameters;

static pgr_status check_value(pgr_store *s, const sql_value *v, pgr_error *err) {
    if (v->n > INT_MAX / 2) return fail(err, PGR_E_LIMIT, "%s: a text or vector is too large for the store", s->path);
    if (v->type != 't' || v->null || utf8_valid(v->bytes, v->n)) return PGR_OK;
    return fail(err, PGR_E_ARG, "%s: found a text that is not UTF-8, expected UTF-8", s->path);
}

static void put_value(parameters *p, size_t i, const sql_value *v) {
    uint64_t bits = (uint64_t)v->integer;
    if (v->type == 'd') memcpy(&bits, &v->real, sizeof bits);
    p->numbers[i] = htobe64(bits);
    bool number = v->type == 'i' || v->type == 'd';
    const void *value = number ? (const void *)&p->numbers[i] : v->n ? v->bytes : "";
    p->values[i] = v->null ? NULL : value;
    p->lengths[i] = number ? 8 : (int)v->n;
    p->formats[i] = v->type != 't';
    p->types[i] = v->type == 't' ? OID_TEXT : v->type == 'i' ? OID_INTEGER : v->type == 'd' ? OID_REAL : OID_BYTES;
}

/* The list's ?1 is $1 here. */
static pgr_status prepare(postgres_store *p, sql_name name, const char *as, const parameters *v, size_t n,
                          pgr_error *err) {
    buf text = {0};
    buf_puts(&text, SQL_TEXTS[name]);
    if (text.failed) {
        buf_free(&text);
        return fail_mem(err);
    }
    for (size_t i = 0; i < text.n; i++)
        if (text.data[i] == '?') text.data[i] = '$';
    PGresult *r = PQprepare(p->link, as, text.data, (int)n, v->types);
    buf_free(&text);
    if (PQresultStatus(r) != PGRES_COMMAND_OK) return fail_result(p, r, err);
    PQclear(r);
    p->prepared[name] = true;
    return PGR_OK;
}

static pgr_status execute(postgres_store *p, sql_name name, const parameters *v, size_t n, pgr_error *err) {
    char as[16];
    snprintf(as, sizeof as, "s%d", (int)name);
    if (!p->prepared[name]) PGR_TRY(prepare(p, name, as, v, n, err));
    PGresult *r = PQexecPrepared(p->link, as, (int)n, v->values, v->lengths, v->formats, 1);
    ExecStatusType got = PQresultStatus(r);
    if (got != PGRES_TUPLES_OK && got != PGRES_COMMAND_OK) return fail_result(p, r, err);
    p->base.changed = (size_t)strtoull(PQcmdTuples(r), NULL, 10);
    p->results[name] = r;
    p->rows[name] = -1;
    return PGR_OK;
}

static pgr_status next_row(pgr_store *s, sql_name name, bool *row, pgr_error *err) {
    (void)err;
    *row = ++of(s)->rows[name] < PQntuples(of(s)->results[name]);
    return PGR_OK;
}

static void end_statement(pgr_store *s, sql_name name) {
    PQclear(of(s)->results[name]);
    of(s)->results[name] = NULL;
}

/* May a statement that failed be run again? What only reads when the server is there again, what was undone because of
 * another program at once. */
static bool may_repeat(const postgres_store *p, sql_name name) {
    return !p->base.batch && (p->base.conflict || (is_lost(p) && only_reads(name)));
}

static pgr_status run_statement(pgr_store *s, sql_name name, const sql_value *v, size_t n, bool *row, pgr_error *err) {
    postgres_store *p = of(s);
    parameters all;
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(check_value(s, &v[i], err));
        put_value(&all, i, &v[i]);
    }
    end_statement(s, name);
    pgr_status status = PGR_E_IO;
    for (int i = 0; i < TRIES && status != PGR_OK; i++) {
        s->conflict = false;
        PGR_TRY(reach(p, err));
        status = execute(p, name, &all, n, err);
        if (status != PGR_OK && !may_repeat(p, name)) return status;
    }
    return status == PGR_OK ? next_row(s, name, row, err) : status;
}

static bool column_is_null(pgr_store *s, sql_name name, int column) {
    return PQgetisnull(of(s)->results[name], of(s)->rows[name], column);
}

static const void *column_bytes(pgr_store *s, sql_name name, int column, size_t *n) {
    *n = (size_t)PQgetlength(of(s)->results[name], of(s)->rows[name], column);
    return PQgetvalue(of(s)->results[name], of(s)->rows[name], column);
}

static uint64_t column_bits(pgr_store *s, sql_name name, int column) {
    size_t n = 0;
    const unsigned char *bytes = column_bytes(s, name, column, &n);
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) bits = bits << 8 | bytes[i];
    return bits;
}

/* A truth value, or a number of 4 or 8 bytes; what the list selects is not negative. */
static int64_t column_integer(pgr_store *s, sql_name name, int column) {
    return (int64_t)column_bits(s, name, column);
}

static double column_real(pgr_store *s, sql_name name, int column) {
    uint64_t bits = column_bits(s, name, column);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static const char *column_text(pgr_store *s, sql_name name, int column) {
    return PQgetvalue(of(s)->results[name], of(s)->rows[name], column);
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

static pgr_status begin(pgr_store *s, bool many, pgr_error *err) {
    postgres_store *p = of(s);
    const char *text = many ? "BEGIN; " LOCK : "BEGIN";
    s->conflict = false;
    PGR_TRY(reach(p, err));
    pgr_status status = script(s, text, err);
    if (status == PGR_OK) return PGR_OK;
    if (!is_lost(p)) {
        script(s, "ROLLBACK", NULL);
        return status;
    }
    PGR_TRY(reach(p, err)); /* nothing was done yet */
    return script(s, text, err);
}

static pgr_status commit(pgr_store *s, pgr_error *err) {
    postgres_store *p = of(s);
    s->conflict = false;
    PGresult *r = PQexec(p->link, "COMMIT");
    if (PQresultStatus(r) != PGRES_COMMAND_OK) {
        if (!is_lost(p)) return fail_result(p, r, err);
        PQclear(r);
        return fail(err, PGR_E_IO,
                    "%s: the server is gone while it was committing: do the same again, what is there is not added "
                    "twice",
                    s->path);
    }
    bool kept = strcmp(PQcmdStatus(r), "COMMIT") == 0; /* "ROLLBACK" where a statement had failed */
    PQclear(r);
    return kept ? PGR_OK : fail(err, PGR_E_IO, "%s: the server undid the transaction, try again", s->path);
}

static void rollback(pgr_store *s) {
    postgres_store *p = of(s);
    bool conflict = s->conflict; /* stays as the failed statement left it */
    if (!is_lost(p) && PQtransactionStatus(p->link) != PQTRANS_IDLE) script(s, "ROLLBACK", NULL);
    s->conflict = conflict;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static pgr_status read_version(pgr_store *s, int64_t *version, pgr_error *err) {
    int64_t there = 0;
    *version = 0;
    PGR_TRY(ask(of(s),
                "SELECT CASE WHEN to_regclass('pgenrm.store') IS NOT NULL THEN 2 WHEN EXISTS(SELECT FROM "
                "pg_catalog.pg_class WHERE relnamespace = to_regnamespace('pgenrm')) THEN 1 ELSE 0 END",
                &there, err));
    if (there == 2) return ask(of(s), "SELECT version FROM store", version, err);
    if (there == 0) return PGR_OK;
    return fail(err, PGR_E_FORMAT, "%s: found a schema \"pgenrm\" of another program, expected a store of users",
                s->path);
}

static pgr_status fail_bare(pgr_store *s, pgr_error *err) {
    return fail(err, PGR_E_IO, "%s: " STORE_NONE_YET, s->path);
}

static pgr_status before_tables(pgr_store *s, pgr_error *err) {
    (void)s;
    (void)err;
    return PGR_OK;
}

static pgr_status make_tables(pgr_store *s, int64_t version, pgr_error *err) {
    char mark[80];
    snprintf(mark, sizeof mark, "UPDATE store SET version = %d", (int)version);
    if (version == 1)
        PGR_TRY(script(s,
                       "DO $$ BEGIN IF to_regnamespace('pgenrm') IS NULL THEN CREATE SCHEMA pgenrm; END IF; END $$;"
                       "CREATE TABLE store(version BIGINT NOT NULL); INSERT INTO store VALUES(0)",
                       err));
    PGR_TRY(script(s, store_tables(version)->postgres, err));
    return script(s, mark, err);
}

/* The space of deleted rows may be used again; that is all that can be done without keeping every other program out
 * (docs/users.md), as rewriting the tables does. */
static pgr_status erase(pgr_store *s, bool whole, pgr_error *err) {
    const char *text = whole ? "VACUUM FULL users, pairs, vectors, analyses" : "VACUUM users, pairs, vectors, analyses";
    pgr_error why = {0};
    PGR_TRY(reach(of(s), err));
    if (script(s, text, &why) == PGR_OK) return PGR_OK;
    if (whole) return fail(err, PGR_E_IO, "%.300s", why.message);
    return fail(err, PGR_E_IO,
                "%.300s; forgotten users' rows are gone, their space is given back with the next change, or when the "
                "store is next opened for writing",
                why.message);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void set_patience(pgr_store *s) {
    begin_session(of(s), NULL);
}

static pgr_status read_only(pgr_store *s, pgr_error *err) {
    of(s)->read_only = true;
    return begin_session(of(s), err);
}

static void close_store(pgr_store *s) {
    postgres_store *p = of(s);
    end_all(p);
    PQfinish(p->link);
    mem_free(p->address);
    mem_free(p);
}

static const sql_ops OPS = {.page = PAGE,
                            .close = close_store,
                            .set_patience = set_patience,
                            .read_only = read_only,
                            .version = read_version,
                            .fail_bare = fail_bare,
                            .before_tables = before_tables,
                            .make_tables = make_tables,
                            .erase = erase,
                            .begin = begin,
                            .commit = commit,
                            .rollback = rollback,
                            .run = run_statement,
                            .next = next_row,
                            .end = end_statement,
                            .is_null = column_is_null,
                            .integer = column_integer,
                            .real = column_real,
                            .text = column_text,
                            .bytes = column_bytes};

pgr_status sql_open_postgres(const char *address, pgr_store **out, pgr_error *err) {
    postgres_store *p = mem_zero(1, sizeof *p);
    if (!p) return fail_mem(err);
    p->base.ops = &OPS;
    p->base.patience_ms = STORE_PATIENCE_MS;
    *out = &p->base;
    PGR_TRY(sql_postgres_show(address, &p->base.path, err));
    p->address = mem_strdup(address);
    return p->address ? connect_to(p, err) : fail_mem(err);
}
