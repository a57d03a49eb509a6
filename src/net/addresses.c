/* addresses.c - see addresses.h. */
#include "net/addresses.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/curl_parts.h"

/* Is it HOST[:PORT], with a NAME:WORD@ before it or without, and no other @? A word with a bare @ or / in it runs over
 * into the others, and would be shown. */
static bool root_is_plain(const char *url, size_t scheme, size_t root) {
    const char *host = url + scheme, *end = url + root, *at = strchr(host, '@');
    if (at && (at >= end || strchr(at + 1, '@'))) return false;
    if (at) host = at + 1;
    const char *bracket = memchr(host, ']', (size_t)(end - host)); /* IPv6 */
    const char *colon = memchr(bracket ? bracket : host, ':', (size_t)(end - (bracket ? bracket : host)));
    return host < end && (!colon || colon + 1 + strspn(colon + 1, "0123456789") == end);
}

/* Can libcurl read it: a host that may be one, a port from 1 to 65535 or none? */
static bool curl_reads(const char *url) {
    CURLU *parts = curl_url();
    char *port = NULL;
    bool reads = parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK;
    if (reads && curl_url_get(parts, CURLUPART_PORT, &port, 0) == CURLUE_OK) reads = strtol(port, NULL, 10) > 0;
    curl_free(port);
    curl_url_cleanup(parts);
    return reads;
}

/* "http://NAME:WORD@HOST/PATH": what is shown has no NAME:WORD@. */
static char *without_password(const char *url, size_t root) {
    const char *host = strstr(url, "://") + 3, *at = memchr(host, '@', root - (size_t)(host - url));
    buf out = {0};
    buf_add(&out, url, (size_t)(host - url));
    buf_puts(&out, at ? at + 1 : host);
    return buf_take(&out);
}

static pgr_status add_address(addresses *to, const char *text, size_t n, pgr_error *err) {
    while (n > 0 && (*text == ' ' || *text == '\t')) text++, n--;
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '/')) n--;
    address *a = &to->list[to->n];
    size_t scheme = n > 7 && strncasecmp(text, "http://", 7) == 0    ? 7
                    : n > 8 && strncasecmp(text, "https://", 8) == 0 ? 8
                                                                     : 0;
    if (scheme == 0 || memchr(text, ' ', n))
        return fail(err, PGR_E_ARG, "address \"%.*s\": expected http://HOST[:PORT]/v1 or https://",
                    memchr(text, '@', n) ? 0 : (int)(n < 200 ? n : 200), text);
    buf url = {0};
    buf_add(&url, text, n);
    a->url = buf_take(&url);
    if (!a->url) return fail_mem(err);
    const char *slash = strchr(a->url + scheme, '/');
    a->n_root = slash ? (size_t)(slash - a->url) : n;
    to->n++;
    if (!root_is_plain(a->url, scheme, a->n_root) || !curl_reads(a->url))
        return fail(
            err, PGR_E_ARG,
            "address of a server: found one that cannot be read, expected http://HOST[:PORT]/v1 (a port is 1 to 65535; "
            "in a password, @ is %%40 and / is %%2F)");
    a->shown = without_password(a->url, a->n_root);
    return a->shown ? PGR_OK : fail_mem(err);
}

pgr_status addresses_read(const char *urls, addresses *out, pgr_error *err) {
    size_t n = 1;
    for (const char *p = urls; *p; p++) n += *p == ',';
    *out = (addresses){.list = mem_zero(n, sizeof *out->list)};
    if (!out->list) return fail_mem(err);
    for (const char *p = urls;; p++) {
        size_t k = strcspn(p, ",");
        PGR_TRY(add_address(out, p, k, err));
        p += k;
        if (!*p) return PGR_OK;
    }
}

void addresses_free(addresses *a) {
    for (size_t i = 0; i < a->n; i++) {
        mem_free(a->list[i].url);
        mem_free(a->list[i].shown);
    }
    mem_free(a->list);
    *a = (addresses){0};
}

pgr_status pgr_addresses_check(const char *urls, pgr_error *err) {
    addresses to = {0};
    buf text = {0};
    buf_add(&text, urls ? urls : "", urls ? strcspn(urls, "#") : 0);
    buf_putc(&text, '\0');
    pgr_status s = text.failed ? fail_mem(err) : addresses_read(text.data, &to, err);
    addresses_free(&to);
    buf_free(&text);
    return s;
}
