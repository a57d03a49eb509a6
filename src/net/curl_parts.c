/* curl_parts.c - see curl_parts.h. */
#include "net/curl_parts.h"

#include <pthread.h>

static void setup_once(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void net_setup(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, setup_once);
}

bool net_code_again(CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
        return true;
    default:
        return false;
    }
}

bool net_status_again(long status) {
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

bool net_token_valid(const char *t) {
    for (; *t; t++)
        if (*t <= 0x20 || *t >= 0x7F) return false;
    return true;
}
