/* judge.c - a closed batch at the open desk: all requests in, steps of the engine until they are settled, all results
 * out. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/watch.h"
#include "judge/judging.h"

typedef struct batch { /* one call of pgr_judge_many */
    pgr_engine *e;
    desk *desk;
    size_t n, n_settled;
    pgr_result **results; /* (n) the caller's */
    pgr_error *errors;    /* (n) the caller's, or NULL */
    pgr_status *statuses; /* (n) */
    const pgr_judge_options *o;
} batch;

/* Of one request its tokens; of many how many are done. */
static void report(const batch *b, const engine_load *before) {
    const pgr_watch *w = &b->o->watch;
    engine_load now = engine_state(b->e);
    uint64_t read = now.n_read - before->n_read, written = now.n_written - before->n_written;
    if (b->n > 1)
        watch_report(w, "judging", b->n_settled, b->n, "requests");
    else if (written == 0)
        watch_report(w, "reading the prompt", read, now.n_to_read - before->n_to_read, "tokens");
    else
        watch_report(w, "writing chains", written, now.n_to_write - before->n_to_write, "tokens");
}

static void hand_over(batch *b, size_t i, pgr_result *result, const pgr_error *why) {
    b->results[i] = result;
    b->statuses[i] = why->status;
    b->n_settled++;
    if (b->errors) b->errors[i] = *why;
    if (b->o->judged) b->o->judged(b->o->judged_ctx, i);
}

static void take_settled(batch *b) {
    desk_verdict v;
    while (desk_take(b->desk, &v)) hand_over(b, (size_t)(uintptr_t)v.tag, v.result, &v.error);
}

static void submit_all(batch *b, const pgr_request *const *requests, const judge_source *source) {
    for (size_t i = 0; i < b->n; i++) {
        pgr_error err;
        desk_ask ask = {.request = requests[i], .source = source, .tag = (void *)(uintptr_t)i};
        if (desk_submit(b->desk, &ask, NULL, &err) != PGR_OK) hand_over(b, i, NULL, &err);
    }
}

static void judge_batch(batch *b) {
    engine_load before = engine_state(b->e);
    while (desk_pump(b->desk)) {
        take_settled(b);
        engine_step(b->e);
        report(b, &before);
    }
    take_settled(b);
    report(b, &before);
}

/* What is wrong with the call is wrong with all of its requests. */
static void fail_all(batch *b, const pgr_error *why) {
    for (size_t i = 0; i < b->n; i++) hand_over(b, i, NULL, why);
}

static pgr_status first_failure(const batch *b) {
    for (size_t i = 0; i < b->n; i++)
        if (b->statuses[i] != PGR_OK) return b->statuses[i];
    return PGR_OK;
}

static pgr_status judge_closed(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                               const pgr_judge_options *options, const judge_source *source, size_t at_once,
                               pgr_result **results, pgr_error *errors) {
    batch b = {.e = engine, .n = n, .results = results, .errors = errors, .o = options};
    for (size_t i = 0; i < n; i++) results[i] = NULL;
    if (n == 0) return PGR_OK;
    pgr_error err = {0};
    b.statuses = mem_zero(n, sizeof *b.statuses);
    if (!b.statuses) { /* without a word of the single requests: there is no memory for that */
        for (size_t i = 0; errors && i < n; i++) fail_mem(&errors[i]);
        return PGR_E_MEM;
    }
    if (desk_open(engine, options, at_once, &b.desk, &err) == PGR_OK) {
        submit_all(&b, requests, source);
        judge_batch(&b);
    } else {
        fail_all(&b, &err);
    }
    pgr_status s = first_failure(&b);
    desk_close(b.desk);
    mem_free(b.statuses);
    return s;
}

pgr_status judge_many_from(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                           const pgr_judge_options *options, const judge_source *source, pgr_result **results,
                           pgr_error *errors) {
    return judge_many_paced(engine, requests, n, options, source, 0, results, errors);
}

pgr_status judge_many_paced(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                            const pgr_judge_options *options, const judge_source *source, size_t at_once,
                            pgr_result **results, pgr_error *errors) {
    pgr_judge_options o = options ? *options : pgr_judge_options_default();
    o.people = NULL; /* the source stands in their place */
    return judge_closed(engine, requests, n, &o, source, at_once, results, errors);
}

pgr_status judge_many_at_once(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                              const pgr_judge_options *options, size_t at_once, pgr_result **results,
                              pgr_error *errors) {
    pgr_judge_options o = options ? *options : pgr_judge_options_default();
    return judge_closed(engine, requests, n, &o, NULL, at_once, results, errors);
}

pgr_status pgr_judge_many(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                          const pgr_judge_options *options, pgr_result **results, pgr_error *errors) {
    return judge_many_at_once(engine, requests, n, options, 0, results, errors);
}

pgr_status pgr_judge(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options, pgr_result **out,
                     pgr_error *err) {
    pgr_result *made = NULL;
    pgr_status s = pgr_judge_many(engine, &request, 1, options, &made, err);
    if (s == PGR_OK) *out = made;
    return s;
}

void pgr_result_free(pgr_result *public) {
    result *r = (result *)public;
    if (!r) return;
    arena_free(&r->arena);
    mem_free(r);
}
