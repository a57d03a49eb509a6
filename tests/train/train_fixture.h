/* train_fixture.h - for tests of training: tiny models, runs in the scratch folder, what they wrote. */
#ifndef PGR_TESTS_TRAIN_FIXTURE_H
#define PGR_TESTS_TRAIN_FIXTURE_H

#include <math.h>
#include <sys/stat.h>

#include "../base/faults.h"
#include "../base/scratch.h"

#include "base/file.h"
#include "base/json.h"
#include "pgenrm_train.h"

#define WORDS_MODEL PGR_SOURCE_DIR "/tests/golden/hf-tiny-words"

static inline pgr_model *open_tiny(const char *path, int n_thread) {
    pgr_model *m = NULL;
    pgr_error err = {0};
    pgr_model_options o = pgr_train_model_options();
    o.dtype = PGR_DTYPE_F32;
    o.n_thread = n_thread;
    if (pgr_model_open(path, &o, &m, &err) != PGR_OK) fail_msg("%s", err.message);
    return m;
}

typedef struct watched { /* of the steps of a run */
    pgr_cancel cancel;
    size_t stop_after; /* lines; 0: never */
    size_t n;
    double loss[1000];   /* (n) of steps */
    double reward[1000]; /* (n) where they have one */
    size_t n_sample;
    json_t *evaluation; /* the last one; json_decref */
} watched;

static inline void watch_step(void *ctx, const char *json, const char *text) {
    watched *w = ctx;
    json_t *v = NULL;
    assert_true(text[0] != '\0');
    assert_int_equal(json_parse(json, strlen(json), "step", 1, &v, NULL), PGR_OK);
    if (json_object_get(v, "evaluation")) {
        json_decref(w->evaluation);
        w->evaluation = v;
        return;
    }
    if (json_object_get(v, "sample")) {
        w->n_sample++;
        json_decref(v);
        return;
    }
    if (json_object_get(v, "samples")) {
        json_decref(v);
        return;
    }
    assert_true(w->n < 1000);
    w->reward[w->n] = json_number_value(json_object_get(v, "reward"));
    w->loss[w->n++] = json_number_value(json_object_get(v, "loss"));
    assert_int_equal(json_integer_value(json_object_get(v, "step")) > 0, 1);
    json_decref(v);
    if (w->n == w->stop_after) w->cancel = 1;
}

static inline void watch_run(pgr_train_options *o, watched *w) {
    o->watch.cancel = &w->cancel;
    o->on_step = watch_step;
    o->on_step_ctx = w;
}

static inline double mean(const double *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += v[i];
    return sum / (double)n;
}

static inline bool same_bytes(const char *a, const char *b) {
    buf one = {0}, two = {0};
    pgr_error err = {0};
    if (file_read(a, &one, &err) != PGR_OK || file_read(b, &two, &err) != PGR_OK) fail_msg("%s", err.message);
    bool same = one.n == two.n && memcmp(one.data, two.data, one.n) == 0;
    buf_free(&one);
    buf_free(&two);
    return same;
}

#endif
