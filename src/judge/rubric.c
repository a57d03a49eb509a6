/* rubric.c - the criteria of all chains become one rubric whose weighted scores are the printed totals. The equations
 * are in docs/scores.md, "The rubric". */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "judge/votes.h"

enum { MORE, LESS, N_WAY };
static const char *const WAYS[N_WAY] = {" more", " less"};

typedef struct direction { /* of an attribute */
    const char *name, *reason;
    double weight, heaviest;      /* of all its lines; of the one whose reason is shown */
    double *sums, *plain;         /* (n_response) scores times weights; scores */
    size_t n_line, n_chain, last; /* last: number of the chain of its last line, plus 1 */
} direction;

typedef struct attribute {
    const char *name;
    size_t n_name; /* without the direction */
    direction way[N_WAY];
} attribute;

typedef struct merger {
    attribute *list;
    size_t n, n_response;
    double *scores; /* (n_response) of the line at hand */
    arena *a;
} merger;

/* "questions less": its length without the direction, and the direction; without one it is MORE. */
static size_t stem_of(const char *name, int *way) {
    size_t n = strlen(name);
    *way = MORE;
    for (int w = 0; w < N_WAY; w++) {
        size_t k = strlen(WAYS[w]);
        if (n <= k || strcasecmp(name + n - k, WAYS[w]) != 0) continue;
        *way = w;
        return n - k;
    }
    return n;
}

static bool same_stem(const char *a, size_t n_a, const char *b, size_t n_b) {
    return n_a == n_b && strncasecmp(a, b, n_a) == 0;
}

static pgr_status find_attribute(merger *m, const char *name, size_t n, attribute **out, pgr_error *err) {
    for (size_t i = 0; i < m->n; i++)
        if (same_stem(m->list[i].name, m->list[i].n_name, name, n)) {
            *out = &m->list[i];
            return PGR_OK;
        }
    attribute *t = &m->list[m->n];
    *t = (attribute){.name = name, .n_name = n};
    for (int w = 0; w < N_WAY; w++) {
        t->way[w].name = "";
        t->way[w].reason = "";
        t->way[w].sums = arena_array(m->a, m->n_response, sizeof(double));
        t->way[w].plain = arena_array(m->a, m->n_response, sizeof(double));
        if (!t->way[w].sums || !t->way[w].plain) return fail_mem(err);
    }
    m->n++;
    *out = t;
    return PGR_OK;
}

/* One line of one chain: its weight in the whole verdict, percent. */
static pgr_status add_line(merger *m, size_t chain, const chain_criterion *k, double weight, pgr_error *err) {
    int way;
    size_t n = stem_of(k->name, &way);
    attribute *t = NULL;
    PGR_TRY(find_attribute(m, k->name, n, &t, err));
    direction *d = &t->way[way];
    if (!d->n_line || (weight > d->heaviest && *k->reason)) d->reason = k->reason, d->heaviest = weight;
    if (!d->n_line) d->name = k->name;
    d->n_line++;
    d->weight += weight;
    d->n_chain += d->last != chain + 1;
    d->last = chain + 1;
    for (size_t r = 0; r < m->n_response; r++) {
        d->sums[r] += weight * m->scores[r];
        d->plain[r] += m->scores[r];
    }
    return PGR_OK;
}

static pgr_status add_chains(merger *m, const aggregate_chain *chains, const votes *v, pgr_error *err) {
    for (size_t i = 0; i < v->n_chain; i++) {
        size_t n;
        const chain_criterion *list = chain_criteria(chains[i].chain, v->kind, &n);
        for (size_t k = 0; v->counts[i] && k < n; k++) {
            votes_unshuffle(v, &chains[i], criterion_scores(&list[k], v->kind), m->scores);
            PGR_TRY(add_line(m, i, &list[k], votes_weight(v, i) * list[k].weight, err));
        }
    }
    return PGR_OK;
}

/* ---- rows ---- */

static double mean_score(const direction *d, size_t r) {
    return d->weight > 0 ? d->sums[r] / d->weight : d->plain[r] / (double)d->n_line;
}

/* The attribute in the direction that outweighs the other, with the weight that is left of it. */
static pgr_status net_row(const merger *m, const attribute *t, size_t n_chain, pgr_criterion *out, pgr_error *err) {
    const direction *more = &t->way[MORE], *less = &t->way[LESS];
    bool first = more->weight > less->weight || (more->weight == less->weight && more->n_line > 0);
    const direction *win = first ? more : less, *lose = first ? less : more;
    double *scores = arena_array(m->a, m->n_response, sizeof *scores);
    *out = (pgr_criterion){.name = arena_strdup(m->a, win->name),
                           .weight = win->weight - lose->weight,
                           .share = (double)win->n_chain / (double)n_chain,
                           .contested = lose->weight > 0,
                           .reason = arena_strdup(m->a, win->reason),
                           .scores = scores};
    if (!scores || !out->name || !out->reason) return fail_mem(err);
    for (size_t r = 0; r < m->n_response; r++) scores[r] = mean_score(win, r);
    return PGR_OK;
}

/* What is left: of every contested attribute the weaker direction, and as much of the stronger one. Weight 0: none. */
static pgr_status both_row(const merger *m, const bool *contested, size_t n_chain, pgr_criterion *out, pgr_error *err) {
    double *scores = arena_array(m->a, m->n_response, sizeof *scores);
    if (!scores) return fail_mem(err);
    *out = (pgr_criterion){.name = RUBRIC_BOTH,
                           .contested = true,
                           .reason = "weights that chains give to a criterion and to its opposite",
                           .scores = scores};
    for (size_t i = 0; i < m->n; i++) {
        const direction *more = &m->list[i].way[MORE], *less = &m->list[i].way[LESS];
        double least = more->weight < less->weight ? more->weight : less->weight;
        if (!(least > 0)) continue;
        out->weight += 2 * least;
        for (size_t r = 0; r < m->n_response; r++) scores[r] += least * (mean_score(more, r) + mean_score(less, r));
    }
    for (size_t r = 0; out->weight > 0 && r < m->n_response; r++) scores[r] /= out->weight;
    size_t n = 0;
    for (size_t i = 0; i < n_chain; i++) n += contested[i];
    out->share = (double)n;
    return PGR_OK;
}

static int heaviest_first(const void *a, const void *b) {
    const pgr_criterion *l = a, *r = b;
    if (l->weight != r->weight) return l->weight < r->weight ? 1 : -1;
    return strcmp(l->name, r->name);
}

static bool is_contested(const merger *m, const char *name) {
    int way;
    size_t n = stem_of(name, &way);
    for (size_t i = 0; i < m->n; i++)
        if (same_stem(m->list[i].name, m->list[i].n_name, name, n))
            return m->list[i].way[MORE].weight > 0 && m->list[i].way[LESS].weight > 0;
    return false;
}

/* The chains that have a line in a contested attribute. */
static pgr_status find_contested(const merger *m, const aggregate_chain *chains, const votes *v, bool **out,
                                 pgr_error *err) {
    *out = arena_array(m->a, v->n_chain, sizeof **out);
    if (!*out) return fail_mem(err);
    for (size_t i = 0; i < v->n_chain; i++) {
        size_t n;
        const chain_criterion *list = chain_criteria(chains[i].chain, v->kind, &n);
        for (size_t k = 0; v->counts[i] && k < n; k++) (*out)[i] |= is_contested(m, list[k].name);
    }
    return PGR_OK;
}

static pgr_status make_rows(const merger *m, const bool *contested, const votes *v, pgr_result *out, pgr_error *err) {
    pgr_criterion *list = arena_array(m->a, m->n + 1, sizeof *list);
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < m->n; i++) PGR_TRY(net_row(m, &m->list[i], v->n, &list[i], err));
    qsort(list, m->n, sizeof *list, heaviest_first);
    PGR_TRY(both_row(m, contested, v->n_chain, &list[m->n], err));
    list[m->n].share /= (double)v->n;
    out->criteria = list;
    out->n_criterion = m->n + (list[m->n].weight > 0);
    out->rubric_chains = v->n;
    return PGR_OK;
}

pgr_status rubric_merge(const aggregate_chain *chains, const votes *v, arena *a, pgr_result *out, pgr_error *err) {
    size_t most = 0;
    for (size_t i = 0, n; i < v->n_chain; i++) {
        chain_criteria(chains[i].chain, v->kind, &n);
        most += v->counts[i] ? n : 0;
    }
    merger m = {.list = arena_array(a, most + 1, sizeof *m.list),
                .n_response = v->n_response,
                .scores = arena_array(a, v->n_response, sizeof *m.scores),
                .a = a};
    bool *contested = NULL;
    if (!m.list || !m.scores) return fail_mem(err);
    PGR_TRY(add_chains(&m, chains, v, err));
    PGR_TRY(find_contested(&m, chains, v, &contested, err));
    return make_rows(&m, contested, v, out, err);
}

pgr_status rubric_of_chain(const votes *v, const aggregate_chain *from, arena *a, pgr_result *out, pgr_error *err) {
    const chain *c = from->chain;
    pgr_criterion *list = arena_array(a, c->n_criterion + 1, sizeof *list);
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < c->n_criterion; i++) {
        const chain_criterion *k = &c->criteria[i];
        double *scores = arena_array(a, v->n_response, sizeof *scores);
        list[i] = (pgr_criterion){.name = arena_strdup(a, k->name),
                                  .weight = k->weight,
                                  .share = NAN,
                                  .reason = arena_strdup(a, k->reason),
                                  .scores = scores};
        if (!list[i].name || !list[i].reason || !scores) return fail_mem(err);
        votes_unshuffle(v, from, criterion_scores(k, v->kind), scores);
    }
    out->criteria = list;
    out->n_criterion = c->n_criterion;
    out->rubric_chains = 0;
    return PGR_OK;
}

/* ---- audit ---- */

static bool contradicts(const chain *c, pgr_score_kind kind) {
    size_t n;
    const chain_criterion *list = chain_criteria(c, kind, &n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) {
            int mine, other;
            size_t n_mine = stem_of(list[i].name, &mine), n_other = stem_of(list[k].name, &other);
            if (mine != other && same_stem(list[i].name, n_mine, list[k].name, n_other)) return true;
        }
    return false;
}

double rubric_contradictory(const aggregate_chain *chains, size_t n_chain, pgr_score_kind kind) {
    size_t n = 0, wrong = 0;
    for (size_t i = 0; i < n_chain; i++) {
        if (!chains[i].chain->parsed) continue;
        n++;
        wrong += contradicts(chains[i].chain, kind);
    }
    return n ? (double)wrong / (double)n : NAN;
}
