/* uservec.c - users as vectors. */
#include "prototype/uservec.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

static const char *const NAMES[] = {"votes", "choices", "analysis", "facts"}; /* in the order of pgr_proto_by */

const char *uservec_by_name(pgr_proto_by by) {
    return NAMES[by];
}

pgr_proto_by uservec_by_of(const char *name) {
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(NAMES[i], name) == 0) return (pgr_proto_by)i;
    PGR_ASSERT(!"a way that artefact_open lets pass");
    return PGR_PROTO_VOTES;
}

bool uservec_embeds(pgr_proto_by by) {
    return by == PGR_PROTO_CHOICES || by == PGR_PROTO_ANALYSIS;
}

pgr_status uservec_space(pgr_proto_by by, pgr_embedder *e, size_t dims, textvec **out, pgr_error *err) {
    if (by == PGR_PROTO_FACTS) return textvec_create_facts(out, err);
    return textvec_create(uservec_embeds(by) ? e : NULL, dims, out, err);
}

bool person_counts(const char *rule, const char *split) {
    if (strcmp(rule, "all") == 0) return true;
    if (strcmp(rule, "history") == 0) return strcmp(split, "test") != 0 && strcmp(split, "val") != 0;
    return strcmp(rule, split) == 0;
}

pgr_status person_load(store *s, const char *id, const char *rule, arena *a, person *out, bool *found, pgr_error *err) {
    stored_user u;
    PGR_TRY(store_has_user(s, id, found, err));
    if (!*found) return PGR_OK;
    PGR_TRY(store_load_user(s, id, NULL, a, &u, err));
    preference_pair *pairs = arena_array(a, u.n_pair + 1, sizeof *pairs);
    int64_t *keys = arena_array(a, u.n_pair + 1, sizeof *keys);
    if (!pairs || !keys) return fail_mem(err);
    size_t n = 0;
    for (size_t i = 0; i < u.n_pair; i++) {
        if (!person_counts(rule, u.pairs[i].split)) continue;
        pairs[n] = u.pairs[i].pair;
        keys[n++] = u.pair_keys[i];
    }
    *out = (person){u.user, pairs, keys, n};
    return PGR_OK;
}

static double scale_of(pgr_proto_by by, const float *chosen, const float *rejected, size_t dims) {
    if (by != PGR_PROTO_CHOICES) return 1;
    double ss = 0;
    for (size_t c = 0; c < dims; c++) {
        double x = (double)chosen[c] - (double)rejected[c];
        ss += x * x;
    }
    return ss > 1e-12 ? 1 / sqrt(ss) : 0;
}

bool uservec_sum(pgr_proto_by by, const float *vectors, size_t n_pair, size_t dims, double *sum, float *out) {
    memset(sum, 0, dims * sizeof *sum);
    for (size_t i = 0; i < n_pair; i++) {
        const float *chosen = vectors + 2 * i * dims, *rejected = chosen + dims;
        double scale = scale_of(by, chosen, rejected, dims);
        for (size_t c = 0; c < dims; c++) sum[c] += scale * ((double)chosen[c] - (double)rejected[c]);
    }
    double ss = 0;
    for (size_t c = 0; c < dims; c++) ss += sum[c] * sum[c];
    if (!(ss > 1e-12) || !isfinite(ss)) return false;
    for (size_t c = 0; c < dims; c++) out[c] = (float)(sum[c] / sqrt(ss));
    return true;
}

pgr_status uservec_of_pairs(textvec *t, pgr_proto_by by, const preference_pair *pairs, size_t n, pgr_cancel *cancel,
                            float *out, bool *found, pgr_error *err) {
    size_t d = textvec_dims(t);
    float *vectors = mem_array((2 * n + 1) * d, sizeof *vectors);
    double *sum = mem_array(d, sizeof *sum);
    pgr_status s = vectors && sum ? textvec_of_pairs(t, pairs, n, cancel, vectors, err) : fail_mem(err);
    if (s == PGR_OK) *found = uservec_sum(by, vectors, n, d, sum, out);
    mem_free(vectors);
    mem_free(sum);
    return s;
}

/* vectors: (n, 2, d) scratch, x: (n, d), taste: (d) scratch */
static pgr_status place_taste(textvec *t, const mixture *m, const preference_pair *pairs, size_t n, float *vectors,
                              double *x, double *taste, float *out, bool *found, pgr_error *err) {
    size_t d = textvec_dims(t);
    double known, ss = 0;
    *found = false;
    PGR_TRY(textvec_of_pairs(t, pairs, n, NULL, vectors, err));
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < d; c++) {
            x[i * d + c] = (double)vectors[2 * i * d + c] - (double)vectors[(2 * i + 1) * d + c];
            *found = *found || x[i * d + c] != 0;
        }
    if (!*found) return PGR_OK;
    PGR_TRY(mixture_place(m, x, n, taste, &known, err));
    for (size_t c = 0; c < d; c++) ss += taste[c] * taste[c];
    *found = ss > 1e-24 && isfinite(ss);
    for (size_t c = 0; *found && c < d; c++) out[c] = (float)(taste[c] / sqrt(ss));
    return PGR_OK;
}

pgr_status uservec_of_taste(textvec *t, const mixture *m, const preference_pair *pairs, size_t n, float *out,
                            bool *found, pgr_error *err) {
    size_t d = textvec_dims(t);
    float *vectors = mem_array((2 * n + 1) * d, sizeof *vectors);
    double *x = mem_array((n + 1) * d, sizeof *x), *taste = mem_array(d, sizeof *taste);
    pgr_status s =
        vectors && x && taste ? place_taste(t, m, pairs, n, vectors, x, taste, out, found, err) : fail_mem(err);
    mem_free(vectors);
    mem_free(x);
    mem_free(taste);
    return s;
}
