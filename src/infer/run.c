/* run.c - a closed batch on the open engine: all requests in, steps until they have ended, all results out. */
#include "infer/engine.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/watch.h"

typedef struct run {
    pgr_engine *e;
    const infer_request *requests; /* (n) */
    size_t n, n_done;
    const infer_options *o;
    infer_ticket *tickets; /* (n) 0: not submitted */
    infer_output out;
    engine_load before; /* the engine's counters at the start */
    pgr_error *err;
} run;

static pgr_status submit_all(run *r) {
    for (size_t i = 0; i < r->n; i++) {
        infer_request q = r->requests[i];
        q.owner = r;
        q.tag = &r->out.results[i];
        if (!q.cancel) q.cancel = r->o->watch.cancel;
        PGR_TRY(engine_submit(r->e, &q, &r->tickets[i], r->err));
    }
    return PGR_OK;
}

static void report(run *r) {
    engine_load now = engine_state(r->e);
    uint64_t read = now.n_read - r->before.n_read, written = now.n_written - r->before.n_written;
    if (written == 0)
        watch_report(&r->o->watch, "reading the prompt", read, now.n_to_read - r->before.n_to_read, "tokens");
    else
        watch_report(&r->o->watch, "writing chains", written, now.n_to_write - r->before.n_to_write, "tokens");
}

static pgr_status take_all(run *r) {
    infer_event event;
    while (engine_take(r->e, r, &event)) {
        if (event.kind != INFER_ENDED) continue;
        *(infer_result **)event.tag = event.result;
        r->n_done++;
        if (event.result->error.status != PGR_OK) {
            if (r->err) *r->err = event.result->error;
            return event.result->error.status;
        }
    }
    return PGR_OK;
}

static pgr_status run_all(run *r) {
    r->before = engine_state(r->e);
    PGR_TRY(submit_all(r));
    while (r->n_done < r->n) {
        engine_step(r->e);
        PGR_TRY(take_all(r));
        report(r);
    }
    return PGR_OK;
}

static pgr_status begin(run *r) {
    r->tickets = mem_zero(r->n + 1, sizeof *r->tickets);
    r->out.results = mem_zero(r->n + 1, sizeof *r->out.results);
    if (!r->tickets || !r->out.results) return fail_mem(r->err);
    r->out.n_result = r->n;
    return PGR_OK;
}

static pgr_status list_chains(infer_output *out, pgr_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < out->n_result; i++) n += out->results[i]->n_chain;
    out->chains = mem_array(n + 1, sizeof *out->chains);
    if (!out->chains) return fail_mem(err);
    for (size_t i = 0; i < out->n_result; i++)
        for (size_t k = 0; k < out->results[i]->n_chain; k++) out->chains[out->n_chain++] = out->results[i]->chains[k];
    return PGR_OK;
}

static void sum_up(infer_output *out, double start) {
    double first = 0;
    for (size_t k = 0; k < out->n_chain; k++) out->completion_tokens += out->chains[k].tokens.n;
    for (size_t i = 0; i < out->n_result; i++) {
        const infer_result *q = out->results[i];
        out->prompt_tokens += q->prompt.n;
        out->cached_tokens += q->usage.cached_tokens;
        if (q->usage.prompt_s > out->prefill_s) out->prefill_s = q->usage.prompt_s;
        if (first == 0 || (q->usage.first_token_s > 0 && q->usage.first_token_s < first))
            first = q->usage.first_token_s;
    }
    double all = clock_now() - start;
    if (out->prefill_s == 0) out->prefill_s = all; /* no prompt was read */
    out->decode_s = all > out->prefill_s ? all - out->prefill_s : 0;
    out->first_token_s = first;
}

pgr_status infer_run(pgr_engine *e, const infer_request *requests, size_t n_request, const infer_options *options,
                     infer_output *out, pgr_error *err) {
    static const infer_options NONE;
    run r = {.e = e, .requests = requests, .n = n_request, .o = options ? options : &NONE, .err = err};
    double start = clock_now();
    pgr_status s = begin(&r);
    if (s == PGR_OK) s = run_all(&r);
    if (s == PGR_OK) s = list_chains(&r.out, err);
    for (size_t i = 0; s != PGR_OK && r.tickets && i < n_request; i++) engine_cancel(e, r.tickets[i]);
    mem_free(r.tickets);
    if (s == PGR_OK) {
        sum_up(&r.out, start);
        *out = r.out;
    } else {
        infer_output_free(&r.out);
    }
    return s;
}

void infer_output_free(infer_output *out) {
    for (size_t i = 0; out->results && i < out->n_result; i++) infer_result_free(out->results[i]);
    mem_free(out->results);
    mem_free(out->chains);
    *out = (infer_output){0};
}
