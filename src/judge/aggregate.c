/* aggregate.c - many chains become one score per response. The equations are in docs/scores.md. */
#include "judge/aggregate.h"

#include <math.h>
#include <string.h>

static const double EQUAL = 1e-9;    /* scores nearer than this are a tie */
static const double ROUNDED = 0.051; /* a total written with one decimal may be .05 off */

enum { IND, PRO, N_SIDE }; /* under the own history, under neighbours' */

typedef struct votes { /* what the chains that count say, in the request's order */
    size_t n_chain, n_response;
    size_t n;            /* chains that count */
    size_t n_of[N_SIDE]; /* of each side */
    double side[N_SIDE]; /* the sides' weights, 0 for a side without chains that count; sum 1 */
    bool *counts;        /* (n_chain) the chain has the scores that count */
    bool *pro;           /* (n_chain) whose side */
    double *share;       /* (n_chain) in the mean of its side: those of a side sum to 1 */
    double *scores;      /* (n_chain, n_response) */
    const size_t *same;  /* (n_response) the first response with the same text */
} votes;

static double *numbers(arena *a, size_t n) {
    return arena_array(a, n, sizeof(double));
}

static const double *scores_of(const votes *v, size_t i) {
    return v->scores + i * v->n_response;
}

static bool complete(const double *scores, size_t n) {
    for (size_t r = 0; r < n; r++)
        if (!isfinite(scores[r])) return false;
    return true;
}

static pgr_score_kind choose_kind(const aggregate_chain *chains, size_t n_chain, size_t n_response,
                                  pgr_score_kind kind) {
    if (kind != PGR_SCORE_AUTO) return kind;
    for (size_t i = 0; i < n_chain; i++)
        if (chains[i].chain->parsed && !complete(chains[i].chain->recomputed, n_response)) return PGR_SCORE_DECLARED;
    return PGR_SCORE_RECOMPUTED;
}

/* From places to the request's order. */
static void unshuffle(const aggregate_chain *c, const double *by_place, size_t n_response, double *out) {
    for (size_t p = 0; p < n_response; p++) {
        PGR_ASSERT(c->order[p] < n_response);
        out[c->order[p]] = by_place[p];
    }
}

/* Responses of the same text share the mean of what the chain gave them. */
static void pool_same(const size_t *same, size_t n_response, double *scores) {
    for (size_t first = 0; first < n_response; first++) {
        if (same[first] != first) continue;
        double sum = 0;
        size_t n = 0;
        for (size_t r = first; r < n_response; r++)
            if (same[r] == first) sum += scores[r], n++;
        for (size_t r = first; n > 1 && r < n_response; r++)
            if (same[r] == first) scores[r] = sum / (double)n;
    }
}

/* ---- weights ---------------------------------------------------------------------------------------------------- */

/* A side without chains that count leaves its weight to the other one. */
static void weigh_sides(const aggregate_options *o, votes *v) {
    double w[N_SIDE] = {v->n_of[IND] ? o->w_ind : 0, v->n_of[PRO] ? o->w_pro : 0};
    if (w[IND] + w[PRO] <= 0) { /* all of the weight is on a side that has no chain */
        w[IND] = v->n_of[IND] > 0;
        w[PRO] = v->n_of[PRO] > 0;
    }
    double sum = w[IND] + w[PRO];
    for (int s = 0; s < N_SIDE; s++) v->side[s] = sum > 0 ? w[s] / sum : 0;
}

/* Own chains share alike; a neighbour's weight is split over those of his chains that count. */
static pgr_status weigh_chains(const aggregate_chain *chains, const aggregate_options *o, arena *a, votes *v,
                               pgr_error *err) {
    size_t *counted = arena_array(a, o->n_neighbour, sizeof *counted);
    if (!counted) return fail_mem(err);
    for (size_t i = 0; i < v->n_chain; i++)
        if (v->counts[i] && v->pro[i]) counted[chains[i].neighbour - 1]++;
    double present = 0; /* weight of the neighbours that have chains */
    for (size_t k = 0; k < o->n_neighbour; k++) present += counted[k] ? o->neighbour_weights[k] : 0;
    for (size_t i = 0; i < v->n_chain; i++) {
        if (!v->counts[i]) continue;
        size_t k = v->pro[i] ? chains[i].neighbour - 1 : 0;
        v->share[i] = v->pro[i] ? o->neighbour_weights[k] / present / (double)counted[k] : 1 / (double)v->n_of[IND];
    }
    if (o->counted) memcpy(o->counted, counted, o->n_neighbour * sizeof *counted);
    return PGR_OK;
}

static pgr_status collect(const aggregate_chain *chains, pgr_score_kind kind, const aggregate_options *o, arena *a,
                          votes *v, pgr_error *err) {
    v->counts = arena_array(a, v->n_chain, sizeof *v->counts);
    v->pro = arena_array(a, v->n_chain, sizeof *v->pro);
    v->share = numbers(a, v->n_chain);
    v->scores = numbers(a, v->n_chain * v->n_response);
    if (!v->counts || !v->pro || !v->share || !v->scores) return fail_mem(err);
    for (size_t i = 0; i < v->n_chain; i++) {
        const chain *c = chains[i].chain;
        const double *from = kind == PGR_SCORE_DECLARED ? c->declared : c->recomputed;
        PGR_ASSERT(chains[i].neighbour <= o->n_neighbour && chains[i].twin <= i);
        v->pro[i] = chains[i].neighbour > 0;
        v->counts[i] = c->parsed && complete(from, v->n_response);
        if (!v->counts[i]) continue;
        unshuffle(&chains[i], from, v->n_response, v->scores + i * v->n_response);
        pool_same(v->same, v->n_response, v->scores + i * v->n_response);
        v->n++;
        v->n_of[v->pro[i]]++;
    }
    weigh_sides(o, v);
    return weigh_chains(chains, o, a, v, err);
}

/* ---- means and wins -------------------------------------------------------------------------------------------- */

/* The best of n scores; *ties: how many share the first place. */
static size_t best_of(const double *scores, size_t n, size_t *ties) {
    size_t best = 0;
    for (size_t r = 1; r < n; r++)
        if (scores[r] > scores[best] + EQUAL) best = r;
    *ties = 0;
    for (size_t r = 0; r < n; r++) *ties += fabs(scores[r] - scores[best]) <= EQUAL;
    return best;
}

static double side_mean(const votes *v, int side, size_t r) {
    double sum = 0.0;
    for (size_t i = 0; i < v->n_chain; i++)
        if (v->counts[i] && v->pro[i] == side) sum += v->share[i] * scores_of(v, i)[r];
    return v->n_of[side] ? sum : NAN;
}

static double blend(const votes *v, const double means[N_SIDE]) {
    double sum = 0.0;
    for (int s = 0; s < N_SIDE; s++)
        if (v->n_of[s]) sum += v->side[s] * means[s];
    return sum;
}

/* Variance of one chain of the side, sum w (s - mean)^2 / (1 - sum w^2); NaN for fewer than two chains. */
static double chain_variance(const votes *v, int side, size_t r, double mean, double *squares) {
    double sum = 0.0;
    *squares = 0.0;
    for (size_t i = 0; i < v->n_chain; i++) {
        if (!v->counts[i] || v->pro[i] != side) continue;
        sum += v->share[i] * pow(scores_of(v, i)[r] - mean, 2.0);
        *squares += v->share[i] * v->share[i];
    }
    return v->n_of[side] > 1 ? sum / (1 - *squares) : NAN;
}

/* s_r = sum over sides W mean; se_r^2 = sum W^2 variance sum w^2. A side of one chain takes the other's variance. */
static void mean_and_error(const votes *v, size_t r, pgr_response_score *out) {
    double means[N_SIDE], variance[N_SIDE], squares[N_SIDE], error = 0.0;
    for (int s = 0; s < N_SIDE; s++) {
        means[s] = side_mean(v, s, r);
        variance[s] = chain_variance(v, s, r, means[s], &squares[s]);
    }
    for (int s = 0; s < N_SIDE; s++) {
        double of_chain = v->n_of[s] == 1 && v->n_of[!s] > 1 ? variance[!s] : variance[s];
        if (v->n_of[s] && v->side[s] > 0) error += v->side[s] * v->side[s] * of_chain * squares[s];
    }
    out->score = blend(v, means);
    out->se = sqrt(error);
    out->ind = means[IND];
    out->pro = means[PRO];
    out->n = v->n;
    out->scored = true;
}

static double difference(const votes *v, size_t c, size_t i, size_t j) {
    return scores_of(v, c)[i] - scores_of(v, c)[j];
}

/* P(mean of s_i > mean of s_j) from the differences d with their weights w (of sides and shares, sum 1), of which n = 1 / sum w^2
 * count, with one chain before them that saw no difference, give or take one point: D = sum w d, m = n D / (n + 1),
 * v = (n (sum w (d - mean of its side)^2 + (D - m)^2) + m^2 + 1) / (n + 1), P = Phi(m / sqrt(v / (n + 1))). */
static double beats(const votes *v, size_t i, size_t j, const pgr_calibration *calibration) {
    if (v->same[i] == v->same[j]) return 0.5; /* known, whatever a map says */
    double means[N_SIDE] = {0, 0}, squares = 0.0, spread = 0.0;
    for (size_t c = 0; c < v->n_chain; c++)
        if (v->counts[c]) means[v->pro[c]] += v->share[c] * difference(v, c, i, j);
    for (size_t c = 0; c < v->n_chain; c++) {
        if (!v->counts[c]) continue;
        double w = v->side[v->pro[c]] * v->share[c];
        squares += w * w;
        spread += w * pow(difference(v, c, i, j) - means[v->pro[c]], 2.0);
    }
    double n = 1 / squares, D = blend(v, means), m = n * D / (n + 1);
    double variance = (n * (spread + (D - m) * (D - m)) + m * m + 1.0) / (n + 1);
    double p = 0.5 * erfc(-m / sqrt(2.0 * variance / (n + 1)));
    if (!calibration) return p;
    return pgr_calibration_apply(calibration, pgr_calibration_takes(calibration) == PGR_CALIBRATION_DIFFERENCE ? D : p);
}

/* win_i = prod over j of P(i beats j), normalised to sum to 1. */
static void win_probabilities(const votes *v, const pgr_calibration *calibration, pgr_response_score *out) {
    double sum = 0.0;
    for (size_t i = 0; i < v->n_response; i++) {
        out[i].win = 1.0;
        for (size_t j = 0; j < v->n_response; j++)
            if (j != i) out[i].win *= beats(v, i, j, calibration);
        sum += out[i].win;
    }
    for (size_t i = 0; i < v->n_response; i++) out[i].win /= sum;
}

/* Means over the parsed chains of one of the two scores, weighted as the scores are; NaN where no chain has it. */
static pgr_status mean_of_kind(const aggregate_chain *chains, size_t n_chain, size_t n_response, bool declared,
                               const aggregate_options *o, arena *a, pgr_response_score *out, pgr_error *err) {
    votes v = {.n_chain = n_chain, .n_response = n_response, .same = o->same};
    aggregate_options quiet = *o;
    quiet.counted = NULL;
    PGR_TRY(collect(chains, declared ? PGR_SCORE_DECLARED : PGR_SCORE_RECOMPUTED, &quiet, a, &v, err));
    for (size_t r = 0; r < n_response; r++) {
        double means[N_SIDE] = {side_mean(&v, IND, r), side_mean(&v, PRO, r)};
        *(declared ? &out[r].declared : &out[r].recomputed) = v.n ? blend(&v, means) : NAN;
    }
    return PGR_OK;
}

/* ---- audits ---------------------------------------------------------------------------------------------------- */

/* Over twins that saw different orders and both count: 1 where the winners differ, 1/2 for a winner against a tie. */
static double flip_rate(const aggregate_chain *chains, const votes *v) {
    double flips = 0.0;
    size_t pairs = 0, ties[2];
    for (size_t i = 0; i < v->n_chain; i++) {
        size_t k = chains[i].twin - 1;
        if (!chains[i].twin || !v->counts[i] || !v->counts[k]) continue;
        if (memcmp(chains[i].order, chains[k].order, v->n_response * sizeof *chains[i].order) == 0) continue;
        size_t a = best_of(scores_of(v, k), v->n_response, &ties[0]);
        size_t b = best_of(scores_of(v, i), v->n_response, &ties[1]);
        pairs++;
        if (ties[0] == 1 && ties[1] == 1)
            flips += a != b;
        else if (ties[0] == 1 || ties[1] == 1)
            flips += 0.5;
    }
    return pairs ? flips / (double)pairs : NAN;
}

static double arithmetic_wrong(const aggregate_chain *chains, size_t n_chain, size_t n_response) {
    size_t n = 0, wrong = 0;
    for (size_t i = 0; i < n_chain; i++) {
        const chain *c = chains[i].chain;
        if (!c->parsed || !complete(c->declared, n_response) || !complete(c->recomputed, n_response)) continue;
        bool differs = false;
        for (size_t r = 0; r < n_response; r++)
            differs = differs || !(fabs(c->declared[r] - c->recomputed[r]) <= ROUNDED);
        n++;
        wrong += differs;
    }
    return n ? (double)wrong / (double)n : NAN;
}

/* ---- what people read ------------------------------------------------------------------------------------------ */

/* Of the own chains the one nearest to their mean; without any, the same of the neighbours'. */
static size_t nearest_chain(const votes *v, const pgr_response_score *mean) {
    size_t nearest = v->n_chain;
    bool pro = v->n_of[IND] == 0;
    double least = INFINITY;
    for (size_t i = 0; i < v->n_chain; i++) {
        if (!v->counts[i] || v->pro[i] != pro) continue;
        double d = 0.0;
        for (size_t r = 0; r < v->n_response; r++)
            d += pow(scores_of(v, i)[r] - (pro ? mean[r].pro : mean[r].ind), 2.0);
        if (d < least - EQUAL) least = d, nearest = i;
    }
    return nearest;
}

static pgr_status take_persona(const aggregate_chain *from, size_t n_response, arena *a, pgr_result *out,
                               pgr_error *err) {
    const chain *c = from->chain;
    pgr_criterion *list = arena_array(a, c->n_criterion, sizeof *list);
    out->persona = arena_strdup(a, c->persona);
    if (!list || !out->persona) return fail_mem(err);
    for (size_t i = 0; i < c->n_criterion; i++) {
        const chain_criterion *k = &c->criteria[i];
        double *scores = numbers(a, n_response);
        list[i] = (pgr_criterion){arena_strdup(a, k->name), k->weight, arena_strdup(a, k->reason), scores};
        if (!list[i].name || !list[i].reason || !scores) return fail_mem(err);
        unshuffle(from, k->scores, n_response, scores);
    }
    out->criteria = list;
    out->n_criterion = c->n_criterion;
    return PGR_OK;
}

/* Why chain i does not count. */
static const char *reason_of(const aggregate_chain *c) {
    if (!c->chain->parsed) return c->chain->reason ? c->chain->reason : "the chain did not parse";
    return "the chain's criterion scores are not complete";
}

static const char *frequent_reason(const aggregate_chain *chains, const votes *v) {
    const char *best = "no chain was asked for";
    size_t most = 0;
    for (size_t i = 0; i < v->n_chain; i++) {
        if (v->counts[i]) continue;
        size_t n = 0;
        for (size_t j = i; j < v->n_chain; j++)
            n += !v->counts[j] && strcmp(reason_of(&chains[i]), reason_of(&chains[j])) == 0;
        if (n > most) most = n, best = reason_of(&chains[i]);
    }
    return best;
}

static void count_chains(const aggregate_chain *chains, size_t n_chain, pgr_result *out) {
    out->ind = out->pro = (pgr_chain_counts){0};
    for (size_t i = 0; i < n_chain; i++) {
        pgr_chain_counts *side = chains[i].neighbour ? &out->pro : &out->ind;
        side->requested++;
        side->parsed += chains[i].chain->parsed;
        side->failed += !chains[i].chain->parsed;
        side->cut += chains[i].cut;
    }
    out->requested = n_chain;
    out->parsed = out->ind.parsed + out->pro.parsed;
    out->failed = out->ind.failed + out->pro.failed;
    out->cut = out->ind.cut + out->pro.cut;
}

static pgr_status no_verdict(const aggregate_chain *chains, const votes *v, arena *a, pgr_result *out, pgr_error *err) {
    const char *reason = arena_strdup(a, frequent_reason(chains, v));
    if (!reason) return fail_mem(err);
    for (size_t r = 0; r < v->n_response; r++) {
        pgr_response_score *s = &out->responses[r];
        s->scored = false;
        s->reason = reason;
        s->score = s->se = s->win = s->ind = s->pro = NAN;
        s->n = 0;
    }
    return PGR_OK;
}

static void clear(pgr_result *out) {
    out->best = -1;
    out->tie = false;
    out->confidence = out->confidence_raw = NAN;
    out->persona = "";
    out->criteria = NULL;
    out->n_criterion = 0;
}

static void decide(const votes *v, const aggregate_options *o, double *means, pgr_result *out) {
    size_t ties;
    for (size_t r = 0; r < v->n_response; r++) {
        mean_and_error(v, r, &out->responses[r]);
        means[r] = out->responses[r].score;
    }
    size_t best = best_of(means, v->n_response, &ties);
    win_probabilities(v, NULL, out->responses);
    out->confidence_raw = out->responses[best].win;
    if (o->calibration) win_probabilities(v, o->calibration, out->responses);
    out->best = (int)best;
    out->tie = ties > 1;
    out->confidence = out->responses[best].win;
}

static pgr_status all_different(size_t n_response, arena *a, const size_t **out, pgr_error *err) {
    size_t *same = arena_array(a, n_response, sizeof *same);
    if (!same) return fail_mem(err);
    for (size_t r = 0; r < n_response; r++) same[r] = r;
    *out = same;
    return PGR_OK;
}

pgr_status aggregate(const aggregate_chain *chains, size_t n_chain, size_t n_response, const aggregate_options *o,
                     arena *a, pgr_result *out, pgr_error *err) {
    if (n_response == 0 || n_chain > SIZE_MAX / n_response) return fail(err, PGR_E_ARG, "aggregate: no responses");
    aggregate_options with = *o;
    if (!with.same) PGR_TRY(all_different(n_response, a, &with.same, err));
    o = &with;
    votes v = {.n_chain = n_chain, .n_response = n_response, .same = o->same};
    out->score_used = choose_kind(chains, n_chain, n_response, o->kind);
    PGR_TRY(collect(chains, out->score_used, o, a, &v, err));
    pgr_response_score *scores = arena_array(a, n_response, sizeof *scores);
    double *means = numbers(a, n_response);
    if (!scores || !means) return fail_mem(err);

    clear(out);
    out->responses = scores;
    out->n_response = n_response;
    out->calibrated = o->calibration != NULL;
    out->w_ind = v.side[IND];
    out->w_pro = v.side[PRO];
    count_chains(chains, n_chain, out);
    PGR_TRY(mean_of_kind(chains, n_chain, n_response, true, o, a, scores, err));
    PGR_TRY(mean_of_kind(chains, n_chain, n_response, false, o, a, scores, err));
    out->flip_rate = flip_rate(chains, &v);
    out->arithmetic_wrong = arithmetic_wrong(chains, n_chain, n_response);
    if (v.n == 0) return no_verdict(chains, &v, a, out, err);
    decide(&v, o, means, out);
    return take_persona(&chains[nearest_chain(&v, scores)], n_response, a, out, err);
}
