/* Pages without what is unused in them: a file's pages are cleaned and nothing that is stored changes, while what was
 * deleted is gone; and pages that are none of rows, or damaged, stay as they are. */
#include <sqlite3.h>

#include "../base/faults.h"
#include "../base/scratch.h"
#include "user/sqlite_pages.h"

enum { PAGE = 1024 };

/* A leaf of a table with two rows at the end of the page, a free block between them, and bytes where nothing is. */
static void make_leaf(uint8_t *page, size_t at) {
    memset(page, 'x', PAGE);
    static const uint8_t head[] = {13, 0x03, 0xe8, 0, 2, 0x03, 0xc0, 0, 0x03, 0xf8, 0x03, 0xc0};
    memcpy(page + at, head, sizeof head);
    page[0x3e8] = 0, page[0x3e9] = 0, page[0x3ea] = 0, page[0x3eb] = 16; /* the last block, 16 bytes */
}

static void test_leaf(void **state) {
    (void)state;
    for (size_t at = 0; at <= 100; at += 100) {
        uint8_t page[PAGE], before[PAGE];
        make_leaf(page, at);
        memcpy(before, page, PAGE);
        sqlite_page_clean(page, PAGE, at > 0);
        for (size_t i = 0; i < PAGE; i++) {
            bool unused = (i >= at + 12 && i < 0x3c0) || (i >= 0x3ec && i < 0x3f8);
            assert_int_equal(page[i], unused ? 0 : before[i]);
        }
    }
}

static void assert_left(uint8_t *page) {
    uint8_t before[PAGE];
    memcpy(before, page, PAGE);
    sqlite_page_clean(page, PAGE, false);
    assert_memory_equal(page, before, PAGE);
}

static void test_other_pages(void **state) {
    (void)state;
    uint8_t page[PAGE];
    make_leaf(page, 0);
    page[0] = 0; /* a long text's: the number of the next page */
    assert_left(page);
    page[0] = 1;
    assert_left(page);
    make_leaf(page, 0);
    page[8] = 1; /* a row in front of where rows begin */
    assert_left(page);
    make_leaf(page, 0);
    page[3] = 2; /* more rows than there is room for pointers */
    assert_left(page);
    make_leaf(page, 0);
    page[5] = 4; /* rows begin behind the page's end */
    page[6] = 1;
    assert_left(page);
}

/* ---- a whole file ------------------------------------------------------------------------------------------------ */

static void run(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

static void ask(sqlite3 *db, const char *sql, char out[80]) {
    sqlite3_stmt *q = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    snprintf(out, 80, "%s", (const char *)sqlite3_column_text(q, 0));
    sqlite3_finalize(q);
}

static void what_is_stored(const char *path, char out[80]) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    ask(db, "PRAGMA integrity_check", out);
    assert_string_equal(out, "ok");
    ask(db, "SELECT count(*) || ' ' || sum(key * length(v)) || ' ' || max(v) FROM (SELECT key, v FROM t ORDER BY v)",
        out);
    sqlite3_close(db);
}

/* free */
static uint8_t *read_all(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) abort();
    *n = (size_t)ftell(f);
    uint8_t *bytes = malloc(*n);
    rewind(f);
    if (!bytes || fread(bytes, 1, *n, f) != *n) abort();
    fclose(f);
    return bytes;
}

static void clean_all(uint8_t *file, size_t n, size_t page) {
    for (size_t at = 0; at < n; at += page) sqlite_page_clean(file + at, page, at == 0);
}

/* Rows of all sizes come in any order and are made longer, so that SQLite moves them; then those with SECRET are
 * deleted. In some of such files copies of them remain (bench/LOG.md); in none once its pages are clean. */
static void test_file(void **state) {
    (void)state;
    size_t left = 0;
    for (int seed = 1; seed <= 6; seed++) {
        const char *path = path_of("t.db");
        char sql[600], before[80], after[80];
        sqlite3 *db = NULL;
        unlink(path);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        snprintf(
            sql, sizeof sql,
            "PRAGMA page_size = %d; PRAGMA secure_delete = ON; CREATE TABLE t(key INTEGER PRIMARY KEY, who INTEGER,"
            " v TEXT); CREATE INDEX i ON t(who, v); BEGIN; WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1"
            " FROM n WHERE i < 1500) INSERT OR IGNORE INTO t SELECT i * 7919 %% 1511, i * %d %% 41,"
            " CASE i * %d %% 41 %% 4 WHEN 0 THEN 'SECRET' ELSE 'plain' END || printf('%%0*d', i * 104729 %% %d, i)"
            " FROM n; UPDATE t SET v = v || v WHERE key %% 7 = 3; COMMIT",
            seed % 2 ? 1024 : 4096, 7907 + seed, 7907 + seed, 200 + 900 * seed);
        run(db, sql);
        run(db, "DELETE FROM t WHERE v LIKE 'SECRET%'; DELETE FROM t WHERE key % 11 = 5");
        sqlite3_close(db);
        what_is_stored(path, before);
        size_t n = 0;
        uint8_t *file = read_all(path, &n);
        left += memmem(file, n, "SECRET", 6) != NULL;
        clean_all(file, n, seed % 2 ? 1024 : 4096);
        assert_null(memmem(file, n, "SECRET", 6));
        write_bytes("t.db", file, n);
        free(file);
        what_is_stored(path, after);
        assert_string_equal(before, after);
    }
    assert_true(left > 0); /* else this would show nothing */
}

static void test_layer(void **state) {
    (void)state;
    assert_null(sqlite3_vfs_find("pgenrm"));
    const char *one = sqlite_pages_take(), *two = sqlite_pages_take();
    assert_string_equal(one, "pgenrm");
    assert_string_equal(two, "pgenrm");
    sqlite_pages_drop();
    assert_non_null(sqlite3_vfs_find("pgenrm"));
    sqlite_pages_drop();
    assert_null(sqlite3_vfs_find("pgenrm"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_leaf), cmocka_unit_test(test_other_pages),
                                       cmocka_unit_test(test_file), cmocka_unit_test(test_layer)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
