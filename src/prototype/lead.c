/* lead.c - own pairs against strangers' pairs, member by member. */
#include "prototype/lead.h"

#include <math.h>

#include "base/rng.h"

enum { MOST_PAIRS = 16 };     /* of a member that are looked at */
enum { STRANGERS = 10 };      /* drawn beside each member */
enum { MOST_MEMBERS = 4096 }; /* evenly of all */

typedef struct counted {
    double sum, square;
    size_t n;
} counted;

static size_t n_pairs(const collection *c, size_t row) {
    size_t n = c->form_first[row + 1] - c->form_first[row];
    return n < MOST_PAIRS ? n : MOST_PAIRS;
}

/* 1, 0 or -1: the sum of the row's pairs points to the chosen text of pair `at`, to neither, to the rejected one.
 * false: the row has no pair of another query. */
static bool tell(const collection *c, size_t row, size_t at, int *out) {
    size_t d = textvec_dims(c->vec), first = c->form_first[row];
    const float *pair = c->form + at * d;
    double margin = 0;
    bool any = false;
    for (size_t i = first; i < first + n_pairs(c, row); i++) {
        if (c->form_query[i] == c->form_query[at]) continue;
        for (size_t j = 0; j < d; j++) margin += (double)c->form[i * d + j] * (double)pair[j];
        any = true;
    }
    *out = (margin > 0) - (margin < 0);
    return any;
}

/* The share of the member's pairs that `by`'s tell right, less wrong; NAN where they tell none. */
static double share(const collection *c, size_t member, size_t by) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < n_pairs(c, member); i++) {
        int told;
        if (!tell(c, by, c->form_first[member] + i, &told)) continue;
        sum += told;
        n++;
    }
    return n ? sum / (double)n : NAN;
}

static double strangers_share(const collection *c, size_t member) {
    double sum = 0;
    size_t n = 0;
    rng r = {.stream = (uint32_t)member};
    for (size_t k = 0; k < STRANGERS && c->n_row > 1; k++) {
        size_t other = (member + 1 + rng_below(&r, c->n_row - 1)) % c->n_row;
        double s = share(c, member, other);
        if (isnan(s)) continue;
        sum += s;
        n++;
    }
    return n ? sum / (double)n : NAN;
}

double members_lead(const collection *c) {
    counted x = {0};
    size_t stride = (c->n_row + MOST_MEMBERS - 1) / MOST_MEMBERS;
    for (size_t r = 0; r < c->n_row; r += stride) {
        double d = share(c, r, r) - strangers_share(c, r);
        if (isnan(d)) continue;
        x.sum += d;
        x.square += d * d;
        x.n++;
    }
    if (x.n < 2) return 0;
    double n = (double)x.n, mean = x.sum / n, variance = fmax(x.square / n - mean * mean, 0) * n / (n - 1);
    return fmin(fmax(mean - sqrt(variance / n), 0), 1);
}
