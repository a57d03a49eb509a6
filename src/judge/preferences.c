/* preferences.c - who prefers what: chains for a response, differences between two, what a calibration makes of them,
 * and whether more chains would tell. */
#include <math.h>

#include "judge/calibration.h"
#include "judge/votes.h"

static const double SETTLED = 0.8; /* a confidence that more chains need not raise */

/* The response that the chain prefers to every other text; n_response: none. */
static size_t preferred(const votes *v, size_t chain) {
    const double *scores = v->scores + chain * v->n_response;
    size_t ties, best = votes_best(scores, v->n_response, &ties), same = 0;
    for (size_t r = 0; r < v->n_response; r++) same += v->same[r] == v->same[best];
    return same == ties && ties < v->n_response ? best : v->n_response;
}

static void count_preferences(const votes *v, pgr_result *out) {
    for (size_t r = 0; r < v->n_response; r++) out->responses[r].prefer = 0;
    for (size_t i = 0; i < v->n_chain; i++) {
        size_t best = v->counts[i] ? preferred(v, i) : v->n_response;
        for (size_t r = 0; best < v->n_response && r < v->n_response; r++)
            out->responses[r].prefer += v->same[r] == v->same[best];
    }
    out->agree = out->responses[out->best].prefer;
}

static double difference(const votes *v, size_t c, size_t i, size_t j) {
    return v->scores[c * v->n_response + i] - v->scores[c * v->n_response + j];
}

static pgr_gap gap_of(const votes *v, size_t i, size_t j) {
    double means[N_VOTE_SIDE] = {0, 0}, squares = 0;
    pgr_gap g = {0};
    for (size_t c = 0; c < v->n_chain; c++)
        if (v->counts[c]) means[v->pro[c]] += v->share[c] * difference(v, c, i, j);
    for (int s = 0; s < N_VOTE_SIDE; s++) g.mean += v->n_of[s] ? v->side[s] * means[s] : 0;
    for (size_t c = 0; c < v->n_chain; c++) {
        if (!v->counts[c]) continue;
        double w = votes_weight(v, c);
        squares += w * w;
        g.spread += w * pow(difference(v, c, i, j) - means[v->pro[c]], 2.0);
    }
    g.n = 1 / squares;
    return g;
}

/* The next best of another text; n_response: there is none. */
static size_t runner_up(const votes *v, const pgr_result *r) {
    size_t next = v->n_response;
    for (size_t i = 0; i < v->n_response; i++)
        if (v->same[i] != v->same[r->best]
            && (next == v->n_response || r->responses[i].score > r->responses[next].score))
            next = i;
    return next;
}

typedef struct own_map { /* the calibration for verdicts of this kind; c NULL: there is none */
    const pgr_calibration *c;
    pgr_verdict_kind kind;
} own_map;

/* P(i is better than j); equal texts are a known half, whatever a map says. */
static double beats(const votes *v, size_t i, size_t j, own_map m) {
    if (v->same[i] == v->same[j]) return 0.5;
    pgr_gap g = gap_of(v, i, j);
    return m.c ? pgr_calibration_apply_gap(m.c, m.kind, &g) : gap_probability(&g);
}

/* win_i = prod over j of P(i beats j), normalised to sum to 1. */
static void win_probabilities(const votes *v, own_map m, pgr_response_score *out) {
    double sum = 0;
    for (size_t i = 0; i < v->n_response; i++) {
        out[i].win = 1;
        for (size_t j = 0; j < v->n_response; j++)
            if (j != i) out[i].win *= beats(v, i, j, m);
        sum += out[i].win;
    }
    for (size_t i = 0; i < v->n_response; i++) out[i].win /= sum;
}

/* Within two errors of a tie, where more chains make the error smaller, and where that could settle anything. */
static bool stays_open(const pgr_result *r, own_map m) {
    double error = gap_error(&r->lead);
    if (!(error > 0) || !(fabs(r->lead.mean) <= 2 * error)) return false;
    return !m.c || (r->confidence < SETTLED && calibration_reach(m.c, m.kind, &r->lead) >= SETTLED);
}

void votes_prefer(const votes *v, const pgr_calibration *calibration, pgr_result *out) {
    size_t best = (size_t)out->best, next = runner_up(v, out);
    bool alike = next == v->n_response; /* all texts are the same */
    own_map chains_alone = {0}, m = {out->calibrated ? calibration : NULL, out->kind};
    count_preferences(v, out);
    win_probabilities(v, chains_alone, out->responses);
    out->confidence_raw = out->responses[best].win;
    if (m.c) win_probabilities(v, m, out->responses);
    for (size_t r = 0; !m.c && !alike && r < v->n_response; r++) out->responses[r].win = NAN;
    out->confidence = out->responses[best].win;
    out->lead = alike ? (pgr_gap){.n = (double)v->n} : gap_of(v, best, next);
    out->open = !alike && stays_open(out, m);
    out->settled = (double)(out->agree + 1) / (double)(v->n + 2);
    if (m.c) out->settled = out->confidence;
    if (alike) out->settled = 1;
}
