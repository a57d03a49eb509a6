/* forward_golden.h - for tests: a tiny model, its golden prompt run once, and the comparison with what transformers
 * computes (tools/tiny_model.py). */
#ifndef PGR_TESTS_FORWARD_GOLDEN_H
#define PGR_TESTS_FORWARD_GOLDEN_H

#include <math.h>

#include "../base/faults.h"
#include "base/file.h"
#include "base/json.h"
#include "model/forward.h"

/* NULL: this CPU has no kernels for dtype. */
static inline pgr_model *model_of(const char *path, pgr_dtype dtype, int threads) {
    pgr_model_options o = pgr_model_options_default();
    pgr_model *m = NULL;
    pgr_error err = {0};
    o.dtype = dtype;
    o.n_thread = threads;
    pgr_status s = pgr_model_open(path, &o, &m, &err);
    if (s == PGR_E_UNSUPPORTED) return NULL;
    if (s != PGR_OK) fail_msg("%s", err.message);
    return m;
}

static inline json_t *golden(const char *path) {
    buf b = {0};
    json_t *v = NULL;
    assert_int_equal(file_read(path, &b, NULL), PGR_OK);
    assert_int_equal(json_parse(b.data, b.n, path, 1, &v, NULL), PGR_OK);
    buf_free(&b);
    return v;
}

/* Runs n tokens from the sequence's end, all logits wanted. */
static inline void run(forward_state *f, kv_cache *kv, kv_seq *s, const int32_t *tokens, size_t n, float *logits) {
    forward_row rows[64];
    for (size_t i = 0; i < n; i++)
        rows[i] = (forward_row){.token = tokens[i], .pos = (uint32_t)(s->n_token + i), .want = true};
    pgr_error err = {0};
    if (kv_reserve(kv, s, n, &err) != PGR_OK || forward_run(f, kv, &s, rows, n, logits, &err) != PGR_OK)
        fail_msg("%s", err.message);
}

typedef struct fixture {
    pgr_model *m;
    forward_state *f;
    kv_cache kv;
    size_t V;
    int32_t prompt[64];
    float *logits; /* (64, V) of the prompt in one pass */
    json_t *golden;
} fixture;

/* A model file and the golden JSON that belongs to its weights. False: this CPU has no kernels for dtype. */
static inline bool open_fixture(fixture *x, const char *model, const char *json, pgr_dtype dtype, int threads) {
    *x = (fixture){.m = model_of(model, dtype, threads)};
    if (!x->m) return false;
    x->V = x->m->config.n_vocab;
    x->golden = golden(json);
    for (size_t i = 0; i < 64; i++)
        x->prompt[i] = (int32_t)json_integer_value(json_array_get(json_object_get(x->golden, "prompt"), i));
    assert_int_equal(forward_create(x->m, 64, &x->f, NULL), PGR_OK);
    assert_int_equal(kv_init(&x->kv, &x->m->config, model_kv(x->m), 1 << 16, NULL), PGR_OK);
    x->logits = malloc(64 * x->V * sizeof *x->logits);
    kv_seq s = {0};
    run(x->f, &x->kv, &s, x->prompt, 64, x->logits);
    kv_release(&x->kv, &s);
    return true;
}

static inline void close_fixture(fixture *x) {
    forward_free(x->f);
    kv_close(&x->kv);
    pgr_model_close(x->m);
    json_decref(x->golden);
    free(x->logits);
}

/* Largest difference to the golden rows, relative to the largest logit. */
static inline double golden_error(const fixture *x) {
    double worst = 0;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(x->golden, "rows"), i, row) {
        size_t pos = (size_t)json_integer_value(json_object_get(row, "pos"));
        json_t *want = json_object_get(row, "logits");
        assert_int_equal(json_array_size(want), x->V);
        double top = 0, diff = 0;
        for (size_t v = 0; v < x->V; v++) {
            double w = json_number_value(json_array_get(want, v)), d = fabs(x->logits[pos * x->V + v] - w);
            top = fmax(top, fabs(w));
            if (!(d <= diff)) diff = d; /* NaN stays */
        }
        if (!(diff / top <= worst)) worst = diff / top;
    }
    return worst;
}

/* How many of the golden greedy tokens follow the prompt. */
static inline size_t greedy_equal(fixture *x) {
    json_t *want = json_object_get(x->golden, "greedy");
    kv_seq s = {0};
    float *logits = malloc(64 * x->V * sizeof *logits);
    run(x->f, &x->kv, &s, x->prompt, 64, logits);
    float *row = logits + 63 * x->V;
    size_t equal = 0;
    for (; equal < json_array_size(want); equal++) {
        int32_t best = 0;
        for (size_t v = 1; v < tok_count(x->m->tok); v++)
            if (row[v] > row[best]) best = (int32_t)v;
        if (best != json_integer_value(json_array_get(want, equal))) break;
        run(x->f, &x->kv, &s, &best, 1, logits);
        row = logits;
    }
    kv_release(&x->kv, &s);
    free(logits);
    return equal;
}

/* The prompt in chunks of many sizes has the bits of the prompt in one pass. */
static inline void chunks_change_no_bit(fixture *x) {
    float *logits = malloc(64 * x->V * sizeof *logits);
    for (size_t chunk = 1; chunk < 64; chunk += 10) {
        kv_seq s = {0};
        for (size_t first = 0; first < 64; first += chunk) {
            size_t n = 64 - first < chunk ? 64 - first : chunk;
            run(x->f, &x->kv, &s, x->prompt + first, n, logits);
            assert_memory_equal(logits, x->logits + first * x->V, n * x->V * sizeof *logits);
        }
        kv_release(&x->kv, &s);
    }
    free(logits);
}

#endif
