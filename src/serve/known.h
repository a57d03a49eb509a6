/* known.h - users of the store, each read once for all questions of a call that name him: a trainer's batch may be one
 * user's. The worker's thread. */
#ifndef PGR_SERVE_KNOWN_H
#define PGR_SERVE_KNOWN_H

#include "user/store.h"

typedef struct known {
    struct known *next;
    size_t keepers;
    arena arena;
    bool there; /* the store knows him */
    const char *id;
    stored_user user;
} known;

/* The list's user of this id, read from the store where the list has none (*read). *out: kept for the caller. */
pgr_status known_find(known **list, store *s, const char *id, known **out, bool *read, pgr_error *err);
void known_drop(known *k); /* by one who keeps him; NULL is fine */
void known_drop_all(known *list);

#endif
