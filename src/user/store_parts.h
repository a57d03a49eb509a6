/* store_parts.h - what opening a store asks of the files beside store.c. Private to store*.c. */
#ifndef PGR_USER_STORE_PARTS_H
#define PGR_USER_STORE_PARTS_H

#include "user/store.h"

/* Brings the tables to the version of this program, in one transaction (store_schema.c). */
pgr_status store_migrate(pgr_store *s, bool create, pgr_error *err);
/* Removes the bytes of deleted rows from the file if that is still to be done (store_forget.c). */
pgr_status store_scrub(pgr_store *s, pgr_error *err);

#endif
