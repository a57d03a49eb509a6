/* sampler.c - one token from a row of logits. Without cuts the draw goes over sums of blocks and then into one block.
 * With them the vocabulary is still never sorted: a cut needs only the value at which it falls, and that is found by
 * selection (quickselect), by count for top-k and by probability for top-p. */
#include "infer/sampler.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { BLOCK = 64 };      /* tokens of a block: a word of a mask */
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
    return min_p > 0.0f ? apply_cut(s, n, (cut){min_p * vector_max(k, s->value, n), n}) : n;
}

static size_t cut_top_p(sampler *s, size_t n, float top_p) {
    if (top_p >= 1.0f) return n;
    return apply_cut(s, n, find_cut(s, n, (double)top_p * weight_of(s->value, n, false), false));
}

/* ---- rows ---- */

pgr_status sampler_row_create(size_t n_vocab, sampler_row *out, pgr_error *err) {
    sampler_row row = {.p = mem_aligned(n_vocab * sizeof *row.p, 64),
                       .block = mem_array((n_vocab + BLOCK - 1) / BLOCK, sizeof *row.block)};
    if (!row.p || !row.block) {
        sampler_row_free(&row);
        return fail_mem(err);
    }
    *out = row;
    return PGR_OK;
}

void sampler_row_free(sampler_row *row) {
    mem_free(row->p);
    mem_free(row->block);
    *row = (sampler_row){0};
}

/* p and block at the scale; returns the sum. */
static double exp_blocks(sampler_row *row, const kernels *k, float scale) {
    double sum = 0.0;
    for (size_t i = 0, b = 0; i < row->n_token; i += BLOCK, b++) {
        size_t n = row->n_token - i < BLOCK ? row->n_token - i : BLOCK;
        row->block[b] = vector_exp_sum(k, row->p + i, row->logits + i, row->max, scale, n);
        sum += row->block[b];
    }
    return sum;
}

void sampler_prepare(sampler_row *row, const kernels *k, const float *logits, size_t n_token, float temperature) {
    row->logits = logits;
    row->n_token = n_token;
    row->temperature = temperature;
    row->max = n_token ? vector_max(k, logits, n_token) : -INFINITY;
    row->sum = exp_blocks(row, k, 1.0f);
    if (temperature == 0.0f || temperature == 1.0f) return;
    exp_blocks(row, k, fminf(1.0f / temperature, 1e30f)); /* limited so that 0 * scale is a number */
}

float sampler_logprob(const sampler_row *row, int32_t token) {
    PGR_ASSERT(token >= 0 && (size_t)token < row->n_token);
    if (!(row->sum >= 1.0 && row->sum < INFINITY)) return NAN;
    return (float)((double)row->logits[token] - (double)row->max - log(row->sum));
}

/* Kept sorted: most tokens are below the last one and cost a comparison. */
size_t sampler_top(const sampler_row *row, size_t n, int32_t *tokens, float *logprobs) {
    size_t n_top = 0;
    if (n == 0 || isnan(sampler_logprob(row, 0))) return 0;
    for (size_t i = 0; i < row->n_token; i++) {
        float x = row->logits[i];
        if (x == -INFINITY || (n_top == n && x <= row->logits[tokens[n - 1]])) continue;
        size_t at = n_top < n ? n_top++ : n - 1;
        for (; at > 0 && x > row->logits[tokens[at - 1]]; at--) tokens[at] = tokens[at - 1];
        tokens[at] = (int32_t)i;
    }
    for (size_t i = 0; i < n_top; i++) logprobs[i] = sampler_logprob(row, tokens[i]);
    return n_top;
}

/* NaN and +inf make no distribution. */
static pgr_status check_row(const sampler_row *row, pgr_error *err) {
    if (row->sum >= 1.0 && row->sum < INFINITY) return PGR_OK; /* the largest logit alone gives 1 */
    for (size_t i = 0; i < row->n_token; i++)
        if (!(row->logits[i] < INFINITY))
            return fail(err, PGR_E_FORMAT, "logit %zu is %g, expected a number", i, (double)row->logits[i]);
    return fail(err, PGR_E_FORMAT, "all %zu logits are -inf, expected a number among them", row->n_token);
}

/* ---- the pick ---- */

static uint64_t mask_word(const sampler_row *row, const uint64_t *mask, size_t word) {
    uint64_t bits = mask ? mask[word] : UINT64_MAX;
    size_t left = row->n_token - word * BLOCK;
    return left < BLOCK ? bits & (((uint64_t)1 << left) - 1) : bits;
}

static size_t n_word(const sampler_row *row) {
    return (row->n_token + BLOCK - 1) / BLOCK;
}

/* The weight of a block's allowed tokens. */
static double block_weight(const sampler_row *row, const uint64_t *mask, size_t word) {
    uint64_t bits = mask_word(row, mask, word);
    if (bits == UINT64_MAX || !mask) return row->block[word];
    double sum = 0.0;
    for (; bits; bits &= bits - 1) sum += row->p[word * BLOCK + (size_t)__builtin_ctzll(bits)];
    return sum;
}

/* Without cuts: the first token where the running sum passes u of the whole. False: what is allowed weighs too little
 * for floats beside the largest logit. */
static bool draw_blocks(const sampler_row *row, const uint64_t *mask, double u, int32_t *token) {
    double whole = 0.0, sum = 0.0;
    for (size_t w = 0; w < n_word(row); w++) whole += block_weight(row, mask, w);
    if (!(whole > 1e-20)) return false;

    double target = u * whole;
    for (size_t w = 0; w < n_word(row); w++) {
        double weight = block_weight(row, mask, w), inside = sum;
        if (weight == 0.0) continue;
        for (uint64_t bits = mask_word(row, mask, w); bits && sum + weight > target; bits &= bits - 1) {
            size_t i = w * BLOCK + (size_t)__builtin_ctzll(bits);
            if (row->p[i] > 0.0f) *token = (int32_t)i; /* the last one where rounding leaves the target unreached */
            inside += row->p[i];
            if (inside > target) return true;
        }
        sum += weight;
        if (sum > target) return true;
    }
    return false; /* u is so near to 1 that it rounds to it */
}

static size_t gather(sampler *s, const sampler_row *row, const uint64_t *mask) {
    size_t n = 0;
    for (size_t word = 0; word < n_word(row); word++) {
        for (uint64_t bits = mask_word(row, mask, word); bits; bits &= bits - 1) {
            size_t i = word * BLOCK + (size_t)__builtin_ctzll(bits);
            if (row->logits[i] == -INFINITY) continue;
            s->id[n] = (int32_t)i;
            s->value[n++] = row->logits[i];
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

static int32_t first_of(const sampler_row *row, float value) {
    size_t i = 0;
    while (row->logits[i] != value) i++;
    return (int32_t)i;
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

/* Over a list of the allowed tokens. */
static pgr_status pick_listed(sampler *s, const kernels *k, const sampler_row *row, const uint64_t *mask,
                              const pgr_sampling *settings, double u, int32_t *token, pgr_error *err) {
    size_t n = gather(s, row, mask), at;
    if (n == 0) return fail(err, PGR_E_LIMIT, "no token is allowed here");
    if (settings->temperature == 0.0f)
        at = largest(s->value, n);
    else {
        float scale = fminf(1.0f / settings->temperature, 1e30f); /* so that 0 * scale is a number */
        n = cut_top_k(s, n, (size_t)settings->top_k);
        vector_exp_sum(k, s->value, s->value, vector_max(k, s->value, n), scale, n);
        n = cut_min_p(s, k, n, settings->min_p);
        n = cut_top_p(s, n, settings->top_p);
        at = draw(s->value, n, u);
    }
    *token = s->id[at];
    return PGR_OK;
}

pgr_status sampler_pick(sampler *s, const kernels *k, const sampler_row *row, const uint64_t *mask,
                        const pgr_sampling *settings, double u, int32_t *token, float *logprob, pgr_error *err) {
    PGR_ASSERT(row->n_token <= s->n_vocab && u >= 0.0 && u < 1.0 && row->temperature == settings->temperature);
    PGR_TRY(check_row(row, err));
    bool plain =
        settings->temperature > 0.0f && settings->top_k == 0 && settings->min_p == 0.0f && settings->top_p == 1.0f;
    int32_t picked = -1;
    if (!mask && settings->temperature == 0.0f)
        picked = first_of(row, row->max);
    else if (!plain || !draw_blocks(row, mask, u, &picked))
        PGR_TRY(pick_listed(s, k, row, mask, settings, u, &picked, err));
    *token = picked;
    *logprob = sampler_logprob(row, picked);
    return PGR_OK;
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
