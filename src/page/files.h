/* files.h - the page's files (src/page/web and Debian's Chart.js), compiled in by tools/embed_page.cmake as gzip. Who
 * sends them, or puts them together to one file, is others'. */
#ifndef PGR_PAGE_FILES_H
#define PGR_PAGE_FILES_H

#include "base/buf.h"
#include "base/status.h"

typedef struct page_file {
    const char *name, *type; /* "verdict.js", "text/javascript; charset=utf-8" */
    const char *etag;        /* of HTTP: its SHA-256 in hexadecimal, in quotes */
    const unsigned char *gzip;
    size_t n_gzip, n; /* packed, unpacked */
} page_file;
extern const page_file PAGE_FILES[]; /* the last has name NULL */

/* NULL: there is none. Without Chart.js at build time "chart.min.js" is an empty file, and the page shows tables. */
const page_file *page_file_find(const char *name);

/* Appends its text. */
pgr_status page_file_unpack(const page_file *f, buf *out, pgr_error *err);

/* What the page may do: nothing but its own files, and asking its own server (a Content-Security-Policy). */
extern const char PAGE_POLICY[];

#endif
