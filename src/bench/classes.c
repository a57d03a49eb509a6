/* classes.c - counts of votes by class, expectation and maximisation. */
#include "bench/classes.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

static const double EVERYBODY = 4; /* votes, half of them for it, that an item's popularity begins with */
static const double STEADY = 1e-4; /* the largest change of a share with which the rounds end */

pgr_status classes_create(size_t k, size_t n_user, size_t n_item, classes *c, pgr_error *err) {
    *c = (classes){.k = k, .n_user = n_user, .n_item = n_item};
    c->share = mem_zero(n_user * k + 1, sizeof *c->share);
    c->size = mem_zero(k + 1, sizeof *c->size);
    c->yes = mem_zero(n_item * k + 1, sizeof *c->yes);
    c->no = mem_zero(n_item * k + 1, sizeof *c->no);
    c->all_yes = mem_zero(n_item + 1, sizeof *c->all_yes);
    c->all_no = mem_zero(n_item + 1, sizeof *c->all_no);
    if (c->share && c->size && c->yes && c->no && c->all_yes && c->all_no) return PGR_OK;
    classes_free(c);
    return fail_mem(err);
}

void classes_free(classes *c) {
    mem_free(c->share);
    mem_free(c->size);
    mem_free(c->yes);
    mem_free(c->no);
    mem_free(c->all_yes);
    mem_free(c->all_no);
    memset(c, 0, sizeof *c);
}

/* ---- probabilities ---------------------------------------------------------------------------------------------- */

/* Log probability that class c votes for the item (or against it), with a share `mine` of one such vote taken out. */
static double log_vote(const classes *c, size_t class, size_t item, bool in_favour, double mine, double taken) {
    double yes = c->yes[item * c->k + class], no = c->no[item * c->k + class];
    double all_yes = c->all_yes[item], all_no = c->all_no[item];
    if (in_favour)
        yes -= mine, all_yes -= taken;
    else
        no -= mine, all_no -= taken;
    double pop = (all_yes + EVERYBODY / 2) / (all_yes + all_no + EVERYBODY);
    double p = (yes + c->strength * pop) / (yes + no + c->strength);
    return log(in_favour ? p : 1 - p);
}

static void normalise(double *log_share, size_t k) {
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < k; i++) max = fmax(max, log_share[i]);
    for (size_t i = 0; i < k; i++) sum += log_share[i] = exp(log_share[i] - max);
    for (size_t i = 0; i < k; i++) log_share[i] /= sum;
}

/* A class that is empty without him keeps a little, so that its logarithm is a number. */
static double log_size(const classes *c, size_t class, double mine) {
    return log(fmax(c->size[class] - mine, 1e-9));
}

void classes_place(const classes *c, const ridge_rows *r, const size_t *list, size_t n, size_t user, double *share) {
    const double *own = c->share + user * c->k;
    for (size_t j = 0; j < c->k; j++) {
        share[j] = log_size(c, j, own[j]);
        for (size_t i = 0; i < n; i++)
            share[j] += log_vote(c, j, r->item[list[i]][0], true, own[j], 1)
                        + log_vote(c, j, r->item[list[i]][1], false, own[j], 1);
    }
    normalise(share, c->k);
}

static double log_odds(const classes *c, size_t class, size_t item) {
    double yes = c->yes[item * c->k + class], no = c->no[item * c->k + class];
    double pop = (c->all_yes[item] + EVERYBODY / 2) / (c->all_yes[item] + c->all_no[item] + EVERYBODY);
    return log((yes + c->strength * pop) / (no + c->strength * (1 - pop))) - log(pop / (1 - pop));
}

double classes_departure(const classes *c, size_t class, size_t a, size_t b) {
    return log_odds(c, class, a) - log_odds(c, class, b);
}

/* ---- fit -------------------------------------------------------------------------------------------------------- */

static void count(classes *c, const ridge_rows *r, const size_t *list, size_t n) {
    memset(c->yes, 0, c->n_item * c->k * sizeof *c->yes);
    memset(c->no, 0, c->n_item * c->k * sizeof *c->no);
    memset(c->size, 0, c->k * sizeof *c->size);
    for (size_t u = 0; u < c->n_user; u++)
        for (size_t j = 0; j < c->k; j++) c->size[j] += c->share[u * c->k + j];
    for (size_t i = 0; i < n; i++) {
        const double *own = c->share + r->user[list[i]] * c->k;
        double *yes = c->yes + r->item[list[i]][0] * c->k, *no = c->no + r->item[list[i]][1] * c->k;
        for (size_t j = 0; j < c->k; j++) yes[j] += own[j], no[j] += own[j];
    }
}

typedef struct fit_memory {
    double *next; /* (n_user, k) */
    double *vote; /* (n_item, k, 2) log probabilities of votes for and against */
    bool *votes;  /* (n_user) whether he has any */
} fit_memory;

static void tabulate(const classes *c, double *vote) {
    for (size_t i = 0; i < c->n_item; i++)
        for (size_t j = 0; j < c->k; j++, vote += 2) {
            vote[0] = log_vote(c, j, i, true, 0, 0);
            vote[1] = log_vote(c, j, i, false, 0, 0);
        }
}

/* New shares of all users from the counts as they are. Returns the largest change. */
static double share_out(classes *c, const ridge_rows *r, const size_t *list, size_t n, fit_memory *m) {
    double *next = m->next;
    tabulate(c, m->vote);
    double change = 0;
    for (size_t u = 0; u < c->n_user; u++)
        for (size_t j = 0; j < c->k; j++) next[u * c->k + j] = log_size(c, j, 0);
    for (size_t i = 0; i < n; i++) {
        double *s = next + r->user[list[i]] * c->k;
        const double *a = m->vote + 2 * c->k * r->item[list[i]][0], *b = m->vote + 2 * c->k * r->item[list[i]][1];
        for (size_t j = 0; j < c->k; j++) s[j] += a[2 * j] + b[2 * j + 1];
    }
    for (size_t u = 0; u < c->n_user; u++) {
        if (!m->votes[u]) continue;
        normalise(next + u * c->k, c->k);
        for (size_t j = 0; j < c->k; j++) {
            size_t at = u * c->k + j;
            change = fmax(change, fabs(next[at] - c->share[at]));
            c->share[at] = next[at];
        }
    }
    return change;
}

static void begin(classes *c, const ridge_rows *r, const size_t *list, size_t n, const uint32_t *label, bool *votes) {
    memset(c->share, 0, c->n_user * c->k * sizeof *c->share);
    memset(c->all_yes, 0, c->n_item * sizeof *c->all_yes);
    memset(c->all_no, 0, c->n_item * sizeof *c->all_no);
    for (size_t i = 0; i < n; i++) {
        size_t u = r->user[list[i]];
        c->share[u * c->k + label[u]] = 1;
        votes[u] = true;
        c->all_yes[r->item[list[i]][0]]++;
        c->all_no[r->item[list[i]][1]]++;
    }
}

pgr_status classes_fit(classes *c, const ridge_rows *r, const size_t *list, size_t n, const uint32_t *label,
                       double strength, size_t rounds, pgr_error *err) {
    fit_memory m = {mem_array(c->n_user * c->k + 1, sizeof *m.next),
                    mem_array(c->n_item * c->k + 1, 2 * sizeof *m.vote), mem_zero(c->n_user + 1, sizeof *m.votes)};
    pgr_status status = m.next && m.vote && m.votes ? PGR_OK : fail_mem(err);
    if (status == PGR_OK) {
        c->strength = strength;
        begin(c, r, list, n, label, m.votes);
        count(c, r, list, n);
        for (size_t i = 0; i < rounds && share_out(c, r, list, n, &m) > STEADY; i++) count(c, r, list, n);
        count(c, r, list, n);
    }
    mem_free(m.next);
    mem_free(m.vote);
    mem_free(m.votes);
    return status;
}
