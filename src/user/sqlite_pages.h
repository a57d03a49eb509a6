/* sqlite_pages.h - SQLite files whose pages hold nothing but what is stored. Where SQLite moves rows between pages, the
 * copies that stay behind lie in unused parts of pages until something else is written over them; secure_delete, which
 * overwrites what is deleted where it lies, does not know of them. A file that is opened with this layer (a VFS) has
 * zeros in the unused parts of every page that is written to it: so what is deleted is gone once the log's pages are in
 * the file and the log is cut off, whatever the size of the file. */
#ifndef PGR_USER_SQLITE_PAGES_H
#define PGR_USER_SQLITE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SQLite tells pages of rows from pages of long texts by nothing that stands in them: the first byte of the latter is
 * that of a page's number. Below 2^25 pages, 137 GB with the usual 4,096 bytes, no number begins as a page of rows
 * does; so a file must not have more. */
enum { SQLITE_PAGES_MOST = (1 << 25) - 1 };

/* Zeroes what is unused of a page of a database file, `n` bytes. first: the file's first page, which begins with its
 * header. A page that is none of rows, or a damaged one, stays as it is. */
void sqlite_page_clean(uint8_t *page, size_t n, bool first);

/* The layer's name, for sqlite3_open_v2, between take and drop: from the opening of a database to behind its closing.
 * NULL: SQLite did not take it. */
const char *sqlite_pages_take(void);
void sqlite_pages_drop(void);

#endif
