/* store_parts.h - what the files of a store ask of each other. Private to store*.c and sql*.c. */
#ifndef PGR_USER_STORE_PARTS_H
#define PGR_USER_STORE_PARTS_H

#include "user/store.h"

enum { STORE_PATIENCE_MS = 10000, STORE_TRIES = 5 /* where other programs are in the way */ };
#define STORE_NONE_YET "there is no store yet (`pgenrm user import` or `user add` makes one)"

/* Brings the tables to the version of this program, in one transaction (store_schema.c). */
pgr_status store_migrate(pgr_store *s, bool create, pgr_error *err);
/* Removes what deleted rows left behind if that is still to be done; and the same without waiting, where a reader was
 * in the way before (store_forget.c). */
pgr_status store_scrub(pgr_store *s, pgr_error *err);
void store_scrub_late(pgr_store *s);

/* What makes tables of a version, counted from 1, from those of the version before, in each database's own SQL. */
typedef struct store_tables_of {
    const char *sqlite, *postgres;
} store_tables_of;
const store_tables_of *store_tables(int64_t version);

#endif
