/* aggregate.c - many chains become one score per response. The equations are in docs/scores.md. */
#include "judge/aggregate.h"

#include <math.h>
#include <string.h>

static const double EQUAL = 1e-9;    /* scores nearer than this are a tie */
static const double ROUNDED = 0.051; /* a total written with one decimal may be .05 off */

typedef struct votes { /* what the chains that count say, in the request's order */
    size_t n_chain, n_response;
    size_t n;       /* chains that count */
    bool *counts;   /* (n_chain) the chain has the scores that count */
    double *scores; /* (n_chain, n_response) */
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

static pgr_status collect(const aggregate_chain *chains, pgr_score_kind kind, arena *a, votes *v, pgr_error *err) {
    v->counts = arena_array(a, v->n_chain, sizeof *v->counts);
    v->scores = numbers(a, v->n_chain * v->n_response);
    if (!v->counts || !v->scores) return fail_mem(err);
    for (size_t i = 0; i < v->n_chain; i++) {
        const chain *c = chains[i].chain;
        const double *from = kind == PGR_SCORE_DECLARED ? c->declared : c->recomputed;
        v->counts[i] = c->parsed && complete(from, v->n_response);
        if (!v->counts[i]) continue;
        unshuffle(&chains[i], from, v->n_response, v->scores + i * v->n_response);
        v->n++;
    }
    return PGR_OK;
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

/* s_r and se_r = sd / sqrt(n), sd with n - 1. */
static void mean_and_error(const votes *v, size_t r, pgr_response_score *out) {
    double sum = 0.0, square = 0.0;
    for (size_t i = 0; i < v->n_chain; i++)
        if (v->counts[i]) sum += scores_of(v, i)[r];
    out->score = sum / (double)v->n;
    for (size_t i = 0; i < v->n_chain; i++)
        if (v->counts[i]) square += pow(scores_of(v, i)[r] - out->score, 2.0);
    out->se = v->n > 1 ? sqrt(square / (double)(v->n - 1) / (double)v->n) : NAN;
    out->n = v->n;
    out->scored = true;
}

/* P(mean of s_i > mean of s_j): the differences d of the n chains with one chain before them that saw no difference,
 * give or take one point: m = sum d / (n + 1), v = (sum (d - m)^2 + m^2 + 1) / (n + 1), P = Phi(m / sqrt(v / (n + 1))).
 */
static double beats(const votes *v, size_t i, size_t j) {
    double n = (double)(v->n + 1), m = 0.0, spread = 0.0;
    for (size_t c = 0; c < v->n_chain; c++)
        if (v->counts[c]) m += (scores_of(v, c)[i] - scores_of(v, c)[j]) / n;
    for (size_t c = 0; c < v->n_chain; c++)
        if (v->counts[c]) spread += pow(scores_of(v, c)[i] - scores_of(v, c)[j] - m, 2.0);
    double variance = (spread + m * m + 1.0) / n;
    return 0.5 * erfc(-m / sqrt(2.0 * variance / n));
}

/* win_i = prod over j of P(i beats j), normalised to sum to 1. */
static void win_probabilities(const votes *v, pgr_response_score *out) {
    double sum = 0.0;
    for (size_t i = 0; i < v->n_response; i++) {
        out[i].win = 1.0;
        for (size_t j = 0; j < v->n_response; j++)
            if (j != i) out[i].win *= beats(v, i, j);
        sum += out[i].win;
    }
    for (size_t i = 0; i < v->n_response; i++) out[i].win /= sum;
}

/* Means over the parsed chains of one of the two scores; NaN where no chain has it. */
static void mean_of_kind(const aggregate_chain *chains, size_t n_chain, size_t n_response, bool declared,
                         pgr_response_score *out) {
    size_t n = 0;
    for (size_t r = 0; r < n_response; r++) *(declared ? &out[r].declared : &out[r].recomputed) = 0.0;
    for (size_t i = 0; i < n_chain; i++) {
        const chain *c = chains[i].chain;
        const double *from = declared ? c->declared : c->recomputed;
        if (!c->parsed || !complete(from, n_response)) continue;
        n++;
        for (size_t p = 0; p < n_response; p++) {
            pgr_response_score *s = &out[chains[i].order[p]];
            *(declared ? &s->declared : &s->recomputed) += from[p];
        }
    }
    for (size_t r = 0; r < n_response; r++) {
        double *x = declared ? &out[r].declared : &out[r].recomputed;
        *x = n ? *x / (double)n : NAN;
    }
}

/* ---- audits ---------------------------------------------------------------------------------------------------- */

/* Over pairs of chains 2i, 2i+1 that saw different orders and both count: 1 where the winners differ, 1/2 for a winner
 * against a tie. */
static double flip_rate(const aggregate_chain *chains, const votes *v) {
    double flips = 0.0;
    size_t pairs = 0, ties[2];
    for (size_t i = 0; i + 1 < v->n_chain; i += 2) {
        if (!v->counts[i] || !v->counts[i + 1]) continue;
        if (memcmp(chains[i].order, chains[i + 1].order, v->n_response * sizeof *chains[i].order) == 0) continue;
        size_t a = best_of(scores_of(v, i), v->n_response, &ties[0]);
        size_t b = best_of(scores_of(v, i + 1), v->n_response, &ties[1]);
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

static size_t nearest_chain(const votes *v, const pgr_response_score *mean) {
    size_t nearest = v->n_chain;
    double least = INFINITY;
    for (size_t i = 0; i < v->n_chain; i++) {
        if (!v->counts[i]) continue;
        double d = 0.0;
        for (size_t r = 0; r < v->n_response; r++) d += pow(scores_of(v, i)[r] - mean[r].score, 2.0);
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
    out->requested = n_chain;
    out->parsed = out->cut = out->failed = 0;
    for (size_t i = 0; i < n_chain; i++) {
        out->parsed += chains[i].chain->parsed;
        out->failed += !chains[i].chain->parsed;
        out->cut += chains[i].cut;
    }
}

static pgr_status no_verdict(const aggregate_chain *chains, const votes *v, arena *a, pgr_result *out, pgr_error *err) {
    const char *reason = arena_strdup(a, frequent_reason(chains, v));
    if (!reason) return fail_mem(err);
    for (size_t r = 0; r < v->n_response; r++) {
        pgr_response_score *s = &out->responses[r];
        s->scored = false;
        s->reason = reason;
        s->score = s->se = s->win = NAN;
        s->n = 0;
    }
    return PGR_OK;
}

pgr_status aggregate(const aggregate_chain *chains, size_t n_chain, size_t n_response, pgr_score_kind kind, arena *a,
                     pgr_result *out, pgr_error *err) {
    if (n_response == 0 || n_chain > SIZE_MAX / n_response) return fail(err, PGR_E_ARG, "aggregate: no responses");
    votes v = {.n_chain = n_chain, .n_response = n_response};
    out->score_used = choose_kind(chains, n_chain, n_response, kind);
    PGR_TRY(collect(chains, out->score_used, a, &v, err));
    pgr_response_score *scores = arena_array(a, n_response, sizeof *scores);
    if (!scores) return fail_mem(err);

    out->responses = scores;
    out->n_response = n_response;
    out->best = -1;
    out->tie = false;
    out->confidence = NAN;
    out->persona = "";
    out->criteria = NULL;
    out->n_criterion = 0;
    count_chains(chains, n_chain, out);
    mean_of_kind(chains, n_chain, n_response, true, scores);
    mean_of_kind(chains, n_chain, n_response, false, scores);
    out->flip_rate = flip_rate(chains, &v);
    out->arithmetic_wrong = arithmetic_wrong(chains, n_chain, n_response);
    if (v.n == 0) return no_verdict(chains, &v, a, out, err);

    double *means = numbers(a, n_response);
    if (!means) return fail_mem(err);
    for (size_t r = 0; r < n_response; r++) {
        mean_and_error(&v, r, &scores[r]);
        means[r] = scores[r].score;
    }
    win_probabilities(&v, scores);
    size_t ties, best = best_of(means, n_response, &ties);
    out->best = (int)best;
    out->tie = ties > 1;
    out->confidence = scores[best].win;
    return take_persona(&chains[nearest_chain(&v, scores)], n_response, a, out, err);
}
