/* sampler.c - one token from a row of logits. The vocabulary is never sorted: a cut needs only the value at which it
 * falls, and that is found by selection (quickselect), by count for top-k and by probability for top-p. */
#include "infer/sampler.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { N_BUCKET = 4096 }; /* by sign, exponent and three bits of the fraction */

struct sampler {
    size_t n_vocab;
    int32_t *id;   /* (n_vocab) candidates, ascending */
    float *value;  /* (n_vocab) their logits, then their probabilities up to a factor */
    float *select; /* (n_vocab) scratch */
    double weight[N_BUCKET];
};

pgr_status sampler_create(size_t n_vocab, sampler **out, pgr_error *err) {
    sampler *s = mem_zero(1, sizeof *s);
    if (!s) return fail_mem(err);
    s->n_vocab = n_vocab;
    s->id = mem_array(n_vocab, sizeof *s->id);
    s->value = mem_array(n_vocab, sizeof *s->value);
    s->select = mem_array(n_vocab, sizeof *s->select);
    if (!s->id || !s->value || !s->select) {
        sampler_free(s);
        return fail_mem(err);
    }
    *out = s;
    return PGR_OK;
}

void sampler_free(sampler *s) {
    if (!s) return;
    mem_free(s->id);
    mem_free(s->value);
    mem_free(s->select);
    mem_free(s);
}

/* ---- selection ---- */

typedef struct cut {
    float value;   /* everything above it stays */
    size_t n_tied; /* of those equal to it, this many stay (lowest ids first) */
} cut;

/* Reorders v into above | equal | below the pivot. */
static void partition(float *v, size_t n, float pivot, size_t *n_above, size_t *n_equal) {
    size_t above = 0, i = 0, below = n;
    while (i < below) {
        float x = v[i];
        if (x > pivot) {
            v[i++] = v[above];
            v[above++] = x;
        } else if (x < pivot) {
            v[i] = v[--below];
            v[below] = x;
        } else
            i++;
    }
    *n_above = above;
    *n_equal = below - above;
}

static float median3(float a, float b, float c) {
    float lo = a < b ? a : b, hi = a < b ? b : a;
    return c < lo ? lo : c > hi ? hi : c;
}

/* A value's weight: 1 when values are counted, else the value itself. */
static double weight_of(const float *v, size_t n, bool counted) {
    double sum = 0.0;
    if (counted) return (double)n;
    for (size_t i = 0; i < n; i++) sum += v[i];
    return sum;
}

/* Where to cut so that the fewest values, largest first and at least one, weigh `target` together. v: (n), n >= 1, is
 * reordered. */
static cut select_cut(float *v, size_t n, double target, bool counted) {
    double above = 0.0; /* weight of what is known to stay */
    for (;;) {
        float pivot = median3(v[0], v[n / 2], v[n - 1]);
        size_t n_above, n_equal;
        partition(v, n, pivot, &n_above, &n_equal);
        double weight = weight_of(v, n_above, counted), each = counted ? 1.0 : (double)pivot;
        if (n_above && above + weight >= target) {
            n = n_above;
            continue;
        }
        above += weight;
        if (above + each * (double)n_equal >= target || n_above + n_equal == n) {
            size_t stay = 1;
            while (stay < n_equal && above + each * (double)stay < target) stay++;
            return (cut){pivot, stay};
        }
        above += each * (double)n_equal;
        v += n_above + n_equal;
        n -= n_above + n_equal;
    }
}

/* The float's place in the order of all floats, coarsely. */
static uint32_t bucket_of(float x) {
    uint32_t bits;
    x += 0.0f; /* -0 becomes 0: equal floats share a bucket */
    memcpy(&bits, &x, sizeof bits);
    bits ^= bits >> 31 ? UINT32_MAX : 1u << 31;
    return bits >> 20;
}

/* select_cut over the candidates: finds the bucket that the cut falls into, then looks only there. n >= 1. */
static cut find_cut(sampler *s, size_t n, double target, bool counted) {
    memset(s->weight, 0, sizeof s->weight);
    for (size_t i = 0; i < n; i++) s->weight[bucket_of(s->value[i])] += counted ? 1.0 : (double)s->value[i];

    size_t top = N_BUCKET - 1, last = 0, n_select = 0;
    while (s->weight[top] == 0.0) top--;
    while (s->weight[last] == 0.0) last++;
    double above = 0.0;
    for (; top > last && above + s->weight[top] < target; top--) above += s->weight[top];

    for (size_t i = 0; i < n; i++)
        if (bucket_of(s->value[i]) == top) s->select[n_select++] = s->value[i];
    return select_cut(s->select, n_select, target - above, counted);
}

/* Drops the candidates below the cut; returns how many are left. */
static size_t apply_cut(sampler *s, size_t n, cut c) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        float x = s->value[i];
        if (x < c.value || (x == c.value && c.n_tied == 0)) continue;
        if (x == c.value) c.n_tied--;
        s->value[kept] = x;
        s->id[kept++] = s->id[i];
    }
    return kept;
}

static size_t cut_top_k(sampler *s, size_t n, size_t k) {
    if (k == 0 || k >= n) return n;
    return apply_cut(s, n, find_cut(s, n, (double)k, true));
}

static size_t cut_min_p(sampler *s, const kernels *k, size_t n, float min_p) {
    return min_p > 0.0f ? apply_cut(s, n, (cut){min_p * k->max(s->value, n), n}) : n;
}

static size_t cut_top_p(sampler *s, size_t n, float top_p) {
    if (top_p >= 1.0f) return n;
    return apply_cut(s, n, find_cut(s, n, (double)top_p * weight_of(s->value, n, false), false));
}

/* ---- the pick ---- */

/* NaN and +inf make no distribution. */
static pgr_status check_logits(const float *logits, size_t n, pgr_error *err) {
    bool fine = true;
    for (size_t i = 0; i < n; i++) fine &= logits[i] < INFINITY;
    for (size_t i = 0; !fine && i < n; i++)
        if (!(logits[i] < INFINITY))
            return fail(err, PGR_E_FORMAT, "logit %zu is %g, expected a number", i, (double)logits[i]);
    return PGR_OK;
}

static size_t gather(sampler *s, const float *logits, size_t n_token, const uint64_t *mask) {
    size_t n = 0;
    for (size_t word = 0; word < (n_token + 63) / 64; word++) {
        uint64_t bits = mask ? mask[word] : UINT64_MAX;
        size_t left = n_token - word * 64;
        if (left < 64) bits &= (1ull << left) - 1;
        for (; bits; bits &= bits - 1) {
            size_t i = word * 64 + (size_t)__builtin_ctzll(bits);
            if (logits[i] == -INFINITY) continue;
            s->id[n] = (int32_t)i;
            s->value[n++] = logits[i];
        }
    }
    return n;
}

static size_t largest(const float *v, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

/* The first place where the running sum passes u of the whole. */
static size_t draw(const float *p, size_t n, double u) {
    double target = u * weight_of(p, n, false), sum = 0.0;
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        sum += p[i];
        if (p[i] > 0.0f) last = i;
        if (sum > target) return i;
    }
    return last; /* u is so near to 1 that it rounds to it */
}

static float log_prob(float *scratch, const kernels *k, const float *logits, size_t n, float max, int32_t token) {
    return (float)((double)logits[token] - (double)max - log(k->exp_sum(scratch, logits, max, 1.0f, n)));
}

pgr_status sampler_pick(sampler *s, const kernels *k, const float *logits, size_t n_token, const uint64_t *mask,
                        const pgr_sampling *settings, double u, int32_t *token, float *logprob, pgr_error *err) {
    PGR_ASSERT(n_token <= s->n_vocab && u >= 0.0 && u < 1.0);
    PGR_TRY(check_logits(logits, n_token, err));
    float max = n_token ? k->max(logits, n_token) : -INFINITY;
    if (max == -INFINITY)
        return fail(err, PGR_E_FORMAT, "all %zu logits are -inf, expected a number among them", n_token);

    size_t n = gather(s, logits, n_token, mask), at;
    if (n == 0) return fail(err, PGR_E_LIMIT, "no token is allowed here");
    if (settings->temperature == 0.0f)
        at = largest(s->value, n);
    else {
        float scale = fminf(1.0f / settings->temperature, 1e30f); /* so that 0 * scale is a number */
        n = cut_top_k(s, n, (size_t)settings->top_k);
        k->exp_sum(s->value, s->value, k->max(s->value, n), scale, n);
        n = cut_min_p(s, k, n, settings->min_p);
        n = cut_top_p(s, n, settings->top_p);
        at = draw(s->value, n, u);
    }
    *token = s->id[at];
    *logprob = log_prob(s->select, k, logits, n_token, max, *token);
    return PGR_OK;
}

float sampler_logprob(sampler *s, const kernels *k, const float *logits, size_t n_token, int32_t token) {
    PGR_ASSERT(n_token <= s->n_vocab && token >= 0 && (size_t)token < n_token);
    return log_prob(s->select, k, logits, n_token, k->max(logits, n_token), token);
}

pgr_status sampler_check(const pgr_sampling *settings, pgr_error *err) {
    if (!(settings->temperature >= 0.0f && settings->temperature < INFINITY))
        return fail(err, PGR_E_ARG, "temperature is %g, expected 0 (greedy) or more", (double)settings->temperature);
    if (settings->top_k < 0) return fail(err, PGR_E_ARG, "top_k is %d, expected 0 (off) or more", settings->top_k);
    if (!(settings->top_p >= 0.0f && settings->top_p <= 1.0f))
        return fail(err, PGR_E_ARG, "top_p is %g, expected 0 to 1 (off)", (double)settings->top_p);
    if (!(settings->min_p >= 0.0f && settings->min_p <= 1.0f))
        return fail(err, PGR_E_ARG, "min_p is %g, expected 0 (off) to 1", (double)settings->min_p);
    return PGR_OK;
}
