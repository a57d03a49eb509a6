/* groups.h - rendezvous of responses that come in calls of their own and are to be judged together: the rollouts of one
 * prompt. A group is collected until all have come or its time to collect is over; then those that are there are judged
 * as one request, within the time of the first of them. One that stayed alone is judged by itself if it can be. The
 * worker's thread.
 *
 * Groups of different tokens do not meet, whatever they are called. The name is free again as soon as the group is
 * judged: the next epoch uses it anew. */
#ifndef PGR_SERVE_GROUPS_H
#define PGR_SERVE_GROUPS_H

#include "serve/judges.h"

enum { GROUP_MOST = 26 }; /* a request's responses */

typedef struct groups groups;

groups *groups_create(void);   /* NULL: out of memory */
void groups_free(groups *all); /* nobody is in one any more; NULL is fine */

/* The question becomes a member of the group of its name. An error is the question's: another prompt, user or size than
 * the group's. */
pgr_status group_join(groups *all, question *q, pgr_error *err);
/* One whose response is empty: the group does not wait for it, and is judged without it. */
pgr_status group_pass(groups *all, question *q, pgr_error *err);
void group_leave(question *q); /* nobody waits for it any more */

/* Groups whose time to collect is over are judged with who is there. Returns whether one is collected. */
bool groups_look(groups *all, double now);

#endif
