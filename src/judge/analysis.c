/* analysis.c - preference analyses (docs/method.md, "Prototypes"): Part 1 of one chain per request, who the user is
 * here and what weighs for him, as plain text. What prototypes are made from. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "judge/aggregate.h"
#include "judge/judge.h"
#include "judge/judging.h"

/* "Persona. \n- criterion (40 %): reason" */
char *analysis_text(const pgr_result *r) {
    buf b = {0};
    buf_puts(&b, r->persona);
    for (size_t i = 0; i < r->n_criterion; i++) {
        const pgr_criterion *c = &r->criteria[i];
        if (strcmp(c->name, RUBRIC_BOTH) == 0 || strcmp(c->name, RUBRIC_UNDECIDED) == 0) continue;
        buf_printf(&b, "%s- %s", b.n ? "\n" : "", c->name);
        if (c->weight == c->weight) buf_printf(&b, " (%.0f %%)", c->weight); /* not NaN */
        if (*c->reason) buf_printf(&b, ": %s", c->reason);
    }
    buf_puts(&b, "");
    return buf_take(&b);
}

static void free_texts(char **texts, size_t n) {
    for (size_t i = 0; i < n; i++) {
        pgr_free(texts[i]);
        texts[i] = NULL;
    }
}

/* Texts of the results that there are. */
static pgr_status take_texts(pgr_result *const *results, size_t n, char **texts, pgr_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (!results[i]) continue;
        texts[i] = analysis_text(results[i]);
        if (!texts[i]) return fail_mem(err);
    }
    return PGR_OK;
}

/* The first request's error that counts. */
static pgr_status why(const pgr_error *errors, size_t n, pgr_error *err) {
    for (size_t i = 0; i < n; i++)
        if (errors[i].status != PGR_OK) return fail(err, errors[i].status, "%s", errors[i].message);
    return PGR_OK;
}

pgr_judge_options analysis_options(const pgr_judge_options *options) {
    pgr_judge_options o = *options;
    o.ind = 1;
    o.pro = 0;
    o.draws = 1;
    o.adaptive = 0;
    o.keep_chains = false;
    o.people = NULL;
    o.judged = NULL;
    if (!o.embedder)
        o.history_by = PGR_HISTORY_RANDOM; /* people, who could tell what is relevant, are not asked here */
    return o;
}

pgr_status judge_analyses(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                          const pgr_judge_options *options, char **texts, pgr_error *err) {
    pgr_judge_options o = options ? *options : pgr_judge_options_default();
    o = analysis_options(&o);
    for (size_t i = 0; i < n; i++) texts[i] = NULL;
    pgr_result **results = mem_zero(n + 1, sizeof *results);
    pgr_error *errors = mem_zero(n + 1, sizeof *errors);
    pgr_status s = results && errors ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) {
        pgr_status judged = judge_many_from(engine, requests, n, &o, NULL, results, errors);
        s = take_texts(results, n, texts, err);
        if (s == PGR_OK && judged != PGR_OK) s = why(errors, n, err);
    }
    for (size_t i = 0; results && i < n; i++) pgr_result_free(results[i]);
    mem_free(results);
    mem_free(errors);
    return s;
}

pgr_status pgr_analyse(void *analyst, const pgr_request *const *requests, size_t n, char **texts, pgr_error *err) {
    const pgr_analyst *a = analyst;
    pgr_status s = judge_analyses(a->engine, requests, n, a->options, texts, err);
    if (s != PGR_OK) free_texts(texts, n);
    return s;
}
