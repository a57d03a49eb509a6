/* clerk.h - the one thread that writes the users' store, and reads it for those who want to see it: commits wait for
 * the disk, and forgetting rewrites the file, which nobody else is to wait for. Calls are answered from there, once
 * what they wrote is on the disk. */
#ifndef PGR_SERVE_CLERK_H
#define PGR_SERVE_CLERK_H

#include "serve/call.h"

typedef struct clerk clerk;

typedef enum clerk_work {
    CLERK_FEEDBACK, /* text: a request's "user" object: {"user","added","known"} is answered */
    CLERK_FORGET_PAIR, /* text: {"query","chosen","rejected"}: {"user","removed"} is answered; 404 */
    CLERK_PUT,      /* the same: {"user","created","added","known"} */
    CLERK_SHOW,     /* the user as such an object; 404 */
    CLERK_FORGET,   /* {"user","forgotten"}; 404 */
    CLERK_MAP,      /* the prototypes as SVG, with the users whose ids begin with `user`. text: NULL, or who is marked:
                     * {"user", "prototype", "neighbours"} */
    CLERK_USERS,    /* {"users": [{"id", "pairs"}], "more"}: the first ones whose ids begin with `user` */
} clerk_work;

/* store: made where it is not there. protos: of the map; NULL: there is none. */
pgr_status clerk_open(const char *store, const char *protos, clerk **out, pgr_error *err);
void clerk_set_patience(clerk *k, int milliseconds); /* with another program in the store; while it has nothing to do */
void clerk_close(clerk *k); /* does what it was given; NULL is fine */

/* In the handler: the call is the clerk's, who answers it. user: copied. text: taken; may be NULL. k NULL: answered
 * with 501, this server has no store. */
void clerk_give(clerk *k, call *c, clerk_work work, const char *user, buf *text);

#endif
