/* routes_runs.c - the runs of `bench` and `train` in the folder of --runs, for the page: /v1/runs lists them,
 * /v1/runs/NAME/FILE is a part of a file. They are of all users: a token with a scope is refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "page/runs.h"
#include "serve/server.h"

enum { PART_MOST = 4 << 20 }; /* bytes of an answer */

/* NULL: the call has been answered. */
static const char *folder_of(call *c) {
    const char *folder = call_server(c)->runs;
    if (*call_grant(c)->scope) {
        call_fail(c, 403, "permission_error", NULL, "scope", "runs are of all users, this token reaches some");
        return NULL;
    }
    if (!folder) call_fail(c, 404, "not_found_error", NULL, "no_runs", "this server shows no runs (--runs)");
    return folder;
}

static void list_runs(call *c) {
    const char *folder = folder_of(c);
    json_t *list = NULL;
    pgr_error err;
    if (!folder) return;
    if (runs_list(folder, &list, &err) == PGR_OK)
        call_reply_json(c, 200, json_pack("{s:o}", "runs", list));
    else
        call_fail_error(c, &err);
}

/* ?from=BYTES; false: the call has been answered. */
static bool read_from(call *c, uint64_t *from) {
    const char *given = call_query(c, "from");
    char *end = NULL;
    *from = 0;
    if (!given) return true;
    errno = 0;
    *from = strtoull(given, &end, 10);
    bool number = *given >= '0' && *given <= '9' && !*end && errno == 0 && *from <= (uint64_t)INT64_MAX;
    if (!number) call_refuse(c, "from", "from: expected a number of bytes");
    return number;
}

static void show_part(call *c) {
    const char *folder = folder_of(c);
    buf out = {0};
    uint64_t from;
    pgr_error err;
    if (!folder || !read_from(c, &from)) return;
    pgr_status s = runs_read(folder, call_rest(c), from, PART_MOST, &out, &err);
    if (s == PGR_OK) {
        call_tell(c, "X-Content-Type-Options", "nosniff");
        call_reply_as(c, 200, "text/plain; charset=utf-8", &out);
        return;
    }
    buf_free(&out);
    if (s == PGR_E_ARG)
        call_fail(c, 404, "not_found_error", NULL, "no_such_file", "%s", err.message);
    else
        call_fail_error(c, &err);
}

static const route ROUTES[] = {
    {"GET", "/v1/runs", list_runs, .flags = 0},
    {"GET", "/v1/runs/", show_part, .flags = 0},
};

pgr_status routes_runs_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
