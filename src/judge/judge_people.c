/* judge_people.c - the public calls of judging: similar users come from the store and the prototypes (pgr_people).
 * Where prototypes are of preference analyses, one is written for each request first, as they were (docs/method.md). */
#include "base/clock.h"
#include "base/mem.h"
#include "judge/judge.h"

typedef struct crowd { /* of one call */
    people *people;
    const pgr_request *const *requests; /* (n) */
    char **analyses;                    /* (n) NULL: none; or NULL altogether */
    size_t n;
} crowd;

static pgr_status similar(void *ctx, const pgr_request *r, size_t n, arena *a, neighbourhood *out, pgr_error *err) {
    const crowd *c = ctx;
    size_t i = 0;
    while (i < c->n && c->requests[i] != r) i++;
    const char *analysis = c->analyses && i < c->n ? c->analyses[i] : NULL;
    return people_neighbours_by(c->people, r, analysis, n, a, out, err);
}

static pgr_status relevance(void *ctx, const pgr_request *r, const preference_pair *pairs, const float *vectors,
                            size_t n, double *out, pgr_error *err) {
    return people_relevance(((crowd *)ctx)->people, r, pairs, vectors, n, out, err);
}

/* A request that cannot be analysed goes without: what is wrong with it shows when it is judged. */
static void analyse(pgr_engine *engine, crowd *c, const pgr_judge_options *o) {
    c->analyses = mem_zero(c->n + 1, sizeof *c->analyses);
    if (c->analyses) judge_analyses(engine, c->requests, c->n, o, c->analyses, NULL);
}

static bool asks_similar(const pgr_judge_options *o, const pgr_request *const *requests, size_t n) {
    if (o->pro >= 0) return o->pro > 0;
    for (size_t i = 0; i < n; i++)
        if (requests[i]->pro > 0) return true;
    return false;
}

pgr_status pgr_judge_many(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                          const pgr_judge_options *options, pgr_result **results, pgr_error *errors) {
    return judge_many_at_once(engine, requests, n, options, 0, results, errors);
}

pgr_status judge_many_at_once(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                              const pgr_judge_options *options, size_t at_once, pgr_result **results,
                              pgr_error *errors) {
    if (!options || !options->people)
        return judge_many_paced(engine, requests, n, options, NULL, at_once, results, errors);
    pgr_judge_options o = *options;
    crowd c = {.people = o.people, .requests = requests, .n = n};
    double start = clock_now();
    if (people_by_analysis(c.people) && asks_similar(&o, requests, n)) analyse(engine, &c, &o);
    if (o.deadline_s > 0) {
        double left = o.deadline_s - (clock_now() - start);
        o.deadline_s = left > 0 ? left : 1e-9;
    }
    judge_source source = {similar, relevance, &c};
    pgr_status s = judge_many_paced(engine, requests, n, &o, &source, at_once, results, errors);
    for (size_t i = 0; c.analyses && i < n; i++) mem_free(c.analyses[i]);
    mem_free(c.analyses);
    return s;
}

pgr_status pgr_judge(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options, pgr_result **out,
                     pgr_error *err) {
    pgr_result *made = NULL;
    pgr_status s = pgr_judge_many(engine, &request, 1, options, &made, err);
    if (s == PGR_OK) *out = made;
    return s;
}

pgr_status pgr_judge_show(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options,
                          pgr_shown **out, pgr_error *err) {
    if (!options || !options->people) return judge_show_from(engine, request, options, NULL, out, err);
    crowd c = {.people = options->people, .requests = &request, .n = 1};
    const judge_source source = {similar, relevance, &c};
    return judge_show_from(engine, request, options, &source, out, err);
}
