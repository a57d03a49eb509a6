/* addresses.h - the servers of a client (client.h): where each is, what of that may be shown, how it has been doing. */
#ifndef PGR_NET_ADDRESSES_H
#define PGR_NET_ADDRESSES_H

#include "base/status.h"

typedef struct address {
    char *url, *shown; /* shown: without a name and password */
    size_t n_root;     /* bytes of url up to the path */
    size_t n_running;
    int n_bad;                 /* failures since the last success, those that began together as one */
    double bad_at, not_before; /* clock_now() */
} address;

typedef struct addresses {
    address *list; /* (n) */
    size_t n;
} addresses;

/* urls: with commas between. out is to be freed after an error, too; messages repeat no password. */
pgr_status addresses_read(const char *urls, addresses *out, pgr_error *err);
void addresses_free(addresses *a); /* all zero is fine */

#endif
