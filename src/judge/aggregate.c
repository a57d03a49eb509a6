/* aggregate.c - many chains become one score per response. The equations are in docs/scores.md. */
#include "judge/aggregate.h"

#include <math.h>
#include <string.h>

#include "judge/votes.h"

static const double EQUAL = 1e-9;    /* scores nearer than this are a tie */
static const double ROUNDED = 0.051; /* a total written with one decimal may be .05 off */

static double *numbers(arena *a, size_t n) {
    return arena_array(a, n, sizeof(double));
}

static const double *scores_of(const votes *v, size_t i) {
    return v->scores + i * v->n_response;
}

static bool complete(const double *scores, size_t n) {
    for (size_t r = 0; r < n; r++)
        if (!scores || !isfinite(scores[r])) return false;
    return true;
}

/* Has every parsed chain scores of the kind, and is there one? */
static bool all_have(const aggregate_chain *chains, size_t n_chain, size_t n_response, pgr_score_kind kind) {
    size_t n = 0;
    for (size_t i = 0; i < n_chain; i++) {
        if (!chains[i].chain->parsed) continue;
        if (!complete(chain_scores(chains[i].chain, kind), n_response)) return false;
        n++;
    }
    return n > 0;
}

static pgr_score_kind choose_kind(const aggregate_chain *chains, size_t n_chain, size_t n_response,
                                  pgr_score_kind kind) {
    static const pgr_score_kind best_first[] = {PGR_SCORE_EXPECTED, PGR_SCORE_RECOMPUTED};
    if (kind != PGR_SCORE_AUTO) return kind;
    for (size_t k = 0; k < 2; k++)
        if (all_have(chains, n_chain, n_response, best_first[k])) return best_first[k];
    return PGR_SCORE_DECLARED;
}

/* Texts that come again share the mean of their scores. */
static void pool_same(const votes *v, double *scores) {
    for (size_t first = 0; first < v->n_response; first++) {
        double sum = 0;
        size_t n = 0;
        for (size_t r = first; v->same[first] == first && r < v->n_response; r++)
            if (v->same[r] == first) sum += scores[r], n++;
        for (size_t r = first; n > 1 && r < v->n_response; r++)
            if (v->same[r] == first) scores[r] = sum / (double)n;
    }
}

void votes_unshuffle(const votes *v, const aggregate_chain *c, const double *by_place, double *out) {
    for (size_t p = 0; p < v->n_response; p++) {
        PGR_ASSERT(c->order[p] < v->n_response);
        out[c->order[p]] = by_place[p];
    }
    pool_same(v, out);
}

double votes_weight(const votes *v, size_t chain) {
    return v->side[v->pro[chain]] * v->share[chain];
}

/* ---- weights ---------------------------------------------------------------------------------------------------- */

/* A side without chains that count leaves its weight to the other one. */
static void weigh_sides(const aggregate_options *o, votes *v) {
    double w[N_VOTE_SIDE] = {v->n_of[IND] ? o->w_ind : 0, v->n_of[PRO] ? o->w_pro : 0};
    if (w[IND] + w[PRO] <= 0) { /* all of the weight is on a side that has no chain */
        w[IND] = v->n_of[IND] > 0;
        w[PRO] = v->n_of[PRO] > 0;
    }
    double sum = w[IND] + w[PRO];
    for (int s = 0; s < N_VOTE_SIDE; s++) v->side[s] = sum > 0 ? w[s] / sum : 0;
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
    v->kind = kind;
    v->counts = arena_array(a, v->n_chain, sizeof *v->counts);
    v->pro = arena_array(a, v->n_chain, sizeof *v->pro);
    v->share = numbers(a, v->n_chain);
    v->scores = numbers(a, v->n_chain * v->n_response);
    if (!v->counts || !v->pro || !v->share || !v->scores) return fail_mem(err);
    for (size_t i = 0; i < v->n_chain; i++) {
        const chain *c = chains[i].chain;
        const double *from = chain_scores(c, kind);
        PGR_ASSERT(chains[i].neighbour <= o->n_neighbour && chains[i].twin <= i);
        v->pro[i] = chains[i].neighbour > 0;
        v->counts[i] = c->parsed && complete(from, v->n_response);
        if (!v->counts[i]) continue;
        votes_unshuffle(v, &chains[i], from, v->scores + i * v->n_response);
        for (size_t r = 0; o->prior && r < v->n_response; r++) v->scores[i * v->n_response + r] += o->prior[r];
        pool_same(v, v->scores + i * v->n_response); /* a prior may be the request's own, and differ */
        v->n++;
        v->n_of[v->pro[i]]++;
    }
    weigh_sides(o, v);
    return weigh_chains(chains, o, a, v, err);
}

/* ---- means and wins -------------------------------------------------------------------------------------------- */

size_t votes_best(const double *scores, size_t n, size_t *ties) {
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

static double blend(const votes *v, const double means[N_VOTE_SIDE]) {
    double sum = 0.0;
    for (int s = 0; s < N_VOTE_SIDE; s++)
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
    double means[N_VOTE_SIDE], variance[N_VOTE_SIDE], squares[N_VOTE_SIDE], error = 0.0;
    for (int s = 0; s < N_VOTE_SIDE; s++) {
        means[s] = side_mean(v, s, r);
        variance[s] = chain_variance(v, s, r, means[s], &squares[s]);
    }
    for (int s = 0; s < N_VOTE_SIDE; s++) {
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

/* The chains that have scores of a kind, weighted as the scores are. */
static pgr_status votes_of_kind(const aggregate_chain *chains, pgr_score_kind kind, const aggregate_options *o,
                                arena *a, votes *out, pgr_error *err) {
    aggregate_options quiet = *o;
    quiet.counted = NULL;
    quiet.prior = NULL; /* what the chains wrote */
    return collect(chains, kind, &quiet, a, out, err);
}

static double mean_of(const votes *v, size_t r) {
    double means[N_VOTE_SIDE] = {side_mean(v, IND, r), side_mean(v, PRO, r)};
    return v->n ? blend(v, means) : NAN;
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
        size_t a = votes_best(scores_of(v, k), v->n_response, &ties[0]);
        size_t b = votes_best(scores_of(v, i), v->n_response, &ties[1]);
        pairs++;
        if (ties[0] == 1 && ties[1] == 1)
            flips += a != b;
        else if (ties[0] == 1 || ties[1] == 1)
            flips += 0.5;
    }
    return pairs ? flips / (double)pairs : NAN;
}

static bool has_sums(const chain *c, size_t n_response) {
    return c->parsed && complete(c->declared, n_response) && complete(c->recomputed, n_response);
}

bool aggregate_adds_up(const chain *c, size_t n_response) {
    if (!has_sums(c, n_response)) return true;
    for (size_t r = 0; r < n_response; r++)
        if (!(fabs(c->declared[r] - c->recomputed[r]) <= ROUNDED)) return false;
    return true;
}

static double arithmetic_wrong(const aggregate_chain *chains, size_t n_chain, size_t n_response) {
    size_t n = 0, wrong = 0;
    for (size_t i = 0; i < n_chain; i++) {
        n += has_sums(chains[i].chain, n_response);
        wrong += !aggregate_adds_up(chains[i].chain, n_response);
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

/* Have the criteria of every chain that counts distributions for their scores? */
static bool criteria_expect(const aggregate_chain *chains, const votes *v) {
    for (size_t i = 0; i < v->n_chain; i++) {
        size_t n;
        const chain_criterion *list = chain_criteria(chains[i].chain, PGR_SCORE_EXPECTED, &n);
        if (v->counts[i] && n == 0) return false;
        for (size_t k = 0; v->counts[i] && k < n; k++)
            if (!complete(list[k].expected, v->n_response)) return false;
    }
    return true;
}

/* The criteria of all chains that have them whole; where none has, those of the chain that is shown. */
static pgr_status take_rubric(const aggregate_chain *chains, const votes *whole, const aggregate_chain *shown, arena *a,
                              pgr_result *out, pgr_error *err) {
    return whole->n ? rubric_merge(chains, whole, a, out, err) : rubric_of_chain(whole, shown, a, out, err);
}

static pgr_status take_persona(const aggregate_chain *shown, const aggregate_options *o, arena *a, pgr_result *out,
                               pgr_error *err) {
    if (o->write_persona) return persona_write(out, o->persona_least, a, &out->persona, err);
    out->persona = arena_strdup(a, shown->chain->persona);
    return out->persona ? PGR_OK : fail_mem(err);
}

/* Why chain i does not count. */
static const char *reason_of(const aggregate_chain *c, pgr_score_kind kind) {
    if (!c->chain->parsed) return c->chain->reason ? c->chain->reason : "the chain did not parse";
    return kind == PGR_SCORE_EXPECTED ? "the chain's scores were not drawn from distributions that are known"
                                      : "the chain's criterion scores are not complete";
}

static const char *frequent_reason(const aggregate_chain *chains, const votes *v) {
    const char *best = "no chain was asked for";
    size_t most = 0;
    for (size_t i = 0; i < v->n_chain; i++) {
        if (v->counts[i]) continue;
        size_t n = 0;
        for (size_t j = i; j < v->n_chain; j++)
            n += !v->counts[j] && strcmp(reason_of(&chains[i], v->kind), reason_of(&chains[j], v->kind)) == 0;
        if (n > most) most = n, best = reason_of(&chains[i], v->kind);
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
        s->n = s->prefer = 0;
    }
    return PGR_OK;
}

static void clear(pgr_result *out) {
    out->best = -1;
    out->tie = out->open = false;
    out->agree = 0;
    out->lead = (pgr_gap){NAN, NAN, NAN};
    out->settled = NAN;
    out->confidence = out->confidence_raw = NAN;
    out->persona = "";
    out->criteria = NULL;
    out->n_criterion = out->rubric_chains = 0;
}

static void decide(const votes *v, const aggregate_options *o, double *means, pgr_result *out) {
    size_t ties;
    for (size_t r = 0; r < v->n_response; r++) {
        mean_and_error(v, r, &out->responses[r]);
        means[r] = out->responses[r].score;
    }
    out->best = (int)votes_best(means, v->n_response, &ties);
    out->tie = ties > 1;
    votes_prefer(v, o->calibration, out);
}

static pgr_status all_different(size_t n_response, arena *a, const size_t **out, pgr_error *err) {
    size_t *same = arena_array(a, n_response, sizeof *same);
    if (!same) return fail_mem(err);
    for (size_t r = 0; r < n_response; r++) same[r] = r;
    *out = same;
    return PGR_OK;
}

typedef struct kinds { /* the chains by what they have */
    votes used, declared, recomputed, expected;
} kinds;

static pgr_status collect_kinds(const aggregate_chain *chains, const aggregate_options *o, const votes *empty, arena *a,
                                pgr_result *out, kinds *k, pgr_error *err) {
    k->used = k->declared = k->recomputed = k->expected = *empty;
    out->score_used = choose_kind(chains, empty->n_chain, empty->n_response, o->kind);
    PGR_TRY(collect(chains, out->score_used, o, a, &k->used, err));
    PGR_TRY(votes_of_kind(chains, PGR_SCORE_DECLARED, o, a, &k->declared, err));
    PGR_TRY(votes_of_kind(chains, PGR_SCORE_EXPECTED, o, a, &k->expected, err));
    return votes_of_kind(chains, PGR_SCORE_RECOMPUTED, o, a, &k->recomputed, err);
}

static void audit(const aggregate_chain *chains, const votes *v, pgr_result *out) {
    count_chains(chains, v->n_chain, out);
    out->flip_rate = flip_rate(chains, v);
    out->arithmetic_wrong = arithmetic_wrong(chains, v->n_chain, v->n_response);
    out->contradictory = rubric_contradictory(chains, v->n_chain, v->kind);
}

pgr_status aggregate(const aggregate_chain *chains, size_t n_chain, size_t n_response, const aggregate_options *o,
                     arena *a, pgr_result *out, pgr_error *err) {
    if (n_response == 0 || n_chain > SIZE_MAX / n_response) return fail(err, PGR_E_ARG, "aggregate: no responses");
    votes empty = {.n_chain = n_chain, .n_response = n_response, .same = o->same};
    kinds k;
    if (!empty.same) PGR_TRY(all_different(n_response, a, &empty.same, err));
    PGR_TRY(collect_kinds(chains, o, &empty, a, out, &k, err));
    pgr_response_score *scores = arena_array(a, n_response, sizeof *scores);
    double *means = numbers(a, n_response);
    if (!scores || !means) return fail_mem(err);

    clear(out);
    out->responses = scores;
    out->n_response = n_response;
    out->kind = o->verdict_kind;
    out->calibrated = pgr_calibration_outcomes(o->calibration, out->kind) > 0;
    out->w_ind = k.used.side[IND];
    out->w_pro = k.used.side[PRO];
    for (size_t r = 0; r < n_response; r++) {
        scores[r].declared = mean_of(&k.declared, r);
        scores[r].recomputed = mean_of(&k.recomputed, r);
        scores[r].expected = mean_of(&k.expected, r);
    }
    audit(chains, &k.used, out);
    if (k.used.n == 0) return no_verdict(chains, &k.used, a, out, err);
    decide(&k.used, o, means, out);
    const aggregate_chain *shown = &chains[nearest_chain(&k.used, scores)];
    bool expects = out->score_used == PGR_SCORE_EXPECTED && criteria_expect(chains, &k.expected);
    PGR_TRY(take_rubric(chains, expects ? &k.expected : &k.recomputed, shown, a, out, err));
    return take_persona(shown, o, a, out, err);
}
