/* curl_parts.h - what every user of libcurl here shares: its global setup, and which failures are worth another try. */
#ifndef PGR_NET_CURL_PARTS_H
#define PGR_NET_CURL_PARTS_H

#include <curl/curl.h>
#include <stdbool.h>

#include "base/status.h"

#define NET_AGENT "pgenrm/" PGR_VERSION

void net_setup(void);                /* libcurl's; repeated calls are free */
bool net_code_again(CURLcode code);  /* a connection that was refused, cut or too slow: not one that cannot be */
bool net_status_again(long status);  /* 408, 429, 5xx */
bool net_token_valid(const char *t); /* goes into a header: printable ASCII without blanks */

#endif
