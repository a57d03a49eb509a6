/* votes.c - see votes.h: rows as pairs of people, and a user's rows asked one after the other. */
#include "bench/votes.h"

#include "base/mem.h"
#include "prototype/views.h"

struct votes {
    const bench_data *d;
    views_made made;
    preference_pair *pairs[VIEWS_MOST_MEMBERS + 1]; /* (n_row) scratch: the history, and each member's train rows */
};

static pgr_status fit(votes *v, const preference_pair **pairs, uint32_t *who, const pgr_watch *watch, pgr_error *err) {
    const bench_data *d = v->d;
    size_t n = 0;
    for (size_t i = 0; i < d->n_row; i++) {
        if (!d->rows[i].train) continue;
        pairs[n] = &d->rows[i].record.pair;
        who[n++] = (uint32_t)d->rows[i].user;
    }
    return views_fit_pairs(pairs, who, n, watch, &v->made, err);
}

static pgr_status prepare(votes *v, const pgr_watch *watch, pgr_error *err) {
    const preference_pair **pairs = mem_array(v->d->n_row + 1, sizeof *pairs);
    uint32_t *who = mem_array(v->d->n_row + 1, sizeof *who);
    pgr_status s = pairs && who ? PGR_OK : fail_mem(err);
    for (size_t i = 0; s == PGR_OK && i <= VIEWS_MOST_MEMBERS; i++) {
        v->pairs[i] = mem_array(v->d->n_row + 1, sizeof *v->pairs[i]);
        if (!v->pairs[i]) s = fail_mem(err);
    }
    if (s == PGR_OK) s = fit(v, pairs, who, watch, err);
    mem_free(pairs);
    mem_free(who);
    return s;
}

pgr_status votes_fit(const bench_data *d, const pgr_watch *watch, votes **out, pgr_error *err) {
    votes *v = mem_zero(1, sizeof *v);
    if (!v) return fail_mem(err);
    v->d = d;
    pgr_status s = prepare(v, watch, err);
    if (s == PGR_OK)
        *out = v;
    else
        votes_free(v);
    return s;
}

void votes_free(votes *v) {
    if (!v) return;
    views_free(&v->made);
    for (size_t i = 0; i <= VIEWS_MOST_MEMBERS; i++) mem_free(v->pairs[i]);
    mem_free(v);
}

static views_member pairs_of(const votes *v, const size_t *rows, size_t n, preference_pair *out) {
    for (size_t i = 0; i < n; i++) out[i] = v->d->rows[rows[i]].record.pair;
    return (views_member){out, n};
}

/* P(a is chosen) of two texts of which one is. */
static double of_two(double a, double b) {
    return a * (1 - b) / (a * (1 - b) + b * (1 - a));
}

pgr_status votes_ask(votes *v, size_t user, const size_t *list, size_t n, size_t whose, double *p, pgr_error *err) {
    const bench_user *u = &v->d->users[user], *other = &v->d->users[whose];
    const views model = {v->made.n, v->made.keys, v->made.rows};
    views_member history = pairs_of(v, list, n, v->pairs[VIEWS_MOST_MEMBERS]), members[VIEWS_MOST_MEMBERS];
    members[0] = pairs_of(v, u->train, u->n_train, v->pairs[0]);
    if (other != u) members[1] = pairs_of(v, other->train, other->n_train, v->pairs[1]);
    for (size_t i = 0; i < u->n_test; i++) {
        const preference_pair *pair = &v->d->rows[u->test[i]].record.pair;
        const char *texts[] = {pair->chosen, pair->rejected};
        people_view said[2];
        PGR_TRY(views_ask(&model, history.pairs, n, members, other != u ? 2 : 1, texts, 2, said, err));
        p[i] = of_two(said[0].share, said[1].share);
    }
    return PGR_OK;
}
