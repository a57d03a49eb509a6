/* desk_public.c - the open desk as include/pgenrm.h has it: the desk of desk.c, stepped together with its engine. */
#include "judge/desk.h"
#include "judge/judging.h"

struct pgr_desk {
    desk desk;
};

static desk *inner(pgr_desk *d) {
    return &d->desk;
}

pgr_status pgr_desk_open(pgr_engine *engine, const pgr_judge_options *options, pgr_desk **out, pgr_error *err) {
    desk *d = NULL;
    if (!engine || !out)
        return fail(err, PGR_E_ARG, "pgr_desk_open: found NULL, expected an engine and a place for it");
    PGR_TRY(desk_open(engine, options, 0, &d, err));
    *out = (pgr_desk *)d;
    return PGR_OK;
}

void pgr_desk_close(pgr_desk *desk) {
    desk_close(desk ? inner(desk) : NULL);
}

pgr_status pgr_desk_ask(pgr_desk *desk, const pgr_ask *ask, uint64_t *ticket, pgr_error *err) {
    if (!desk || !ask || !ask->request)
        return fail(err, PGR_E_ARG, "pgr_desk_ask: found NULL, expected a desk and an ask with a request");
    desk_ask asked = {.request = ask->request, .options = ask->options, .priority = ask->priority, .tag = ask->tag};
    return desk_submit(inner(desk), &asked, ticket, err);
}

void pgr_desk_cancel(pgr_desk *desk, uint64_t ticket) {
    if (ticket != 0) desk_cancel(inner(desk), ticket);
}

bool pgr_desk_step(pgr_desk *desk) {
    if (!desk_pump(inner(desk))) return false;
    engine_step(inner(desk)->e);
    return desk_pump(inner(desk));
}

bool pgr_desk_take(pgr_desk *desk, pgr_verdict *out) {
    desk_verdict v;
    if (!desk_take(inner(desk), &v)) return false;
    *out = (pgr_verdict){.ticket = v.ticket, .tag = v.tag, .result = v.result, .error = v.error};
    return true;
}
