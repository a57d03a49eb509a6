/* access.h - who may ask: tokens from a file, each with the users that it may touch. Read-only after it was read: any
 * thread may use it. */
#ifndef PGR_SERVE_ACCESS_H
#define PGR_SERVE_ACCESS_H

#include "base/status.h"

enum { TOKEN_MAX = 255 }; /* bytes */

/* What a token allows. */
typedef struct grant {
    int number;        /* of the token in its file, from 1; 0: no tokens are asked for */
    const char *scope; /* users whose ids begin with it; "": all */
} grant;

typedef struct access_list access_list;

/* One `TOKEN [SCOPE]` per line; empty lines and lines that begin with # are passed over; SCOPE `*`, or none, means all
 * users. path NULL: no tokens are asked for. */
pgr_status access_read(const char *path, access_list **out, pgr_error *err);
void access_free(access_list *a); /* NULL is fine */
bool access_wants_tokens(const access_list *a);
bool access_has_several(const access_list *a); /* tokens: who asks is not to learn what others have asked */

/* authorization: the header's value, NULL where there is none: `Bearer TOKEN`, or `Basic` with the token as password.
 * Every token is compared in full, whatever was given. False: no token, or a wrong one. */
bool access_check(const access_list *a, const char *authorization, grant *out);

/* Browsers ask in the name of whoever sits before them, for any page that is open. Is the request of another origin's
 * page? Values of the headers Origin, Sec-Fetch-Site and Host, NULL where there is none. */
bool access_is_foreign(const char *origin, const char *site, const char *host);
/* Does the header Host (may be NULL) have a public name? Without tokens only loopback addresses are listened at: who
 * comes under such a name is a page whose name was made to lead here after it was loaded. */
bool access_is_public(const char *host);

/* Whether the user is within the grant. */
bool grant_allows(const grant *g, const char *user);

#endif
