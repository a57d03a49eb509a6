/* routes_page.c - the page (src/page): / and its files below /page/. They say nothing of anybody, so that no token is
 * asked for; what the page shows it asks of the other routes, with a token where the server wants one. */
#include <string.h>

#include "page/files.h"
#include "serve/server.h"

/* "gzip" among what the client takes, and not with q=0. */
static bool takes_gzip(const call *c) {
    const char *given = call_header(c, "Accept-Encoding");
    const char *at = given ? strstr(given, "gzip") : NULL;
    if (!at) return false;
    at += 4;
    at += strspn(at, " ");
    return strncmp(at, ";q=0", 4) != 0 || at[4] == '.';
}

static bool knows(const call *c, const page_file *f) {
    const char *known = call_header(c, "If-None-Match");
    return known && strstr(known, f->etag);
}

static void tell_headers(call *c, const page_file *f) {
    call_tell(c, "ETag", f->etag);
    call_tell(c, "Cache-Control", "no-cache"); /* asked again each time, sent again when it has changed */
    call_tell(c, "Vary", "Accept-Encoding");
    call_tell(c, "X-Content-Type-Options", "nosniff");
    call_tell(c, "Referrer-Policy", "no-referrer");
    call_tell(c, "Content-Security-Policy", PAGE_POLICY);
}

static void send_file(call *c, const page_file *f) {
    buf out = {0};
    pgr_error err;
    tell_headers(c, f);
    if (knows(c, f)) {
        call_reply_as(c, 304, f->type, &out);
        return;
    }
    if (takes_gzip(c)) {
        call_tell(c, "Content-Encoding", "gzip");
        buf_add(&out, f->gzip, f->n_gzip);
    } else if (page_file_unpack(f, &out, &err) != PGR_OK) {
        buf_free(&out);
        call_fail_error(c, &err);
        return;
    }
    call_reply_as(c, 200, f->type, &out);
}

static void show_page(call *c) {
    send_file(c, page_file_find("index.html"));
}

static void show_file(call *c) {
    const page_file *f = page_file_find(call_rest(c));
    if (f)
        send_file(c, f);
    else
        call_fail(c, 404, "invalid_request_error", NULL, "not_found", "there is no such file of the page");
}

static const route ROUTES[] = {
    {"GET", "/", show_page, .flags = ROUTE_OPEN | ROUTE_ALWAYS},
    {"GET", "/page/", show_file, .flags = ROUTE_OPEN | ROUTE_ALWAYS},
};

pgr_status routes_page_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
