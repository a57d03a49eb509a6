/* reference.c - reads a reference's values and exchanges them. */
#include "train/reference.h"

#include <string.h>

#include "base/mem.h"

static pgr_status read_values(train_run *r, const char *init, float *out, pgr_error *err) {
    trainable *t = NULL;
    PGR_TRY(trainable_open(r->m, init, &t, err));
    size_t n = trainable_count(t);
    pgr_status s = n == r->state.n ? PGR_OK
                                   : fail(err, PGR_E_ARG, "%s: %zu values, expected %zu as in the run's adapter", init,
                                          n, r->state.n);
    if (s == PGR_OK) memcpy(out, trainable_values(t), n * sizeof *out);
    trainable_free(t);
    return s;
}

pgr_status reference_open(train_run *r, const char *init, float **out, pgr_error *err) {
    float *values = mem_zero(r->state.n, sizeof *values); /* both factors 0: nothing is added to the model */
    if (!values) return fail_mem(err);
    pgr_status s = init ? read_values(r, init, values, err) : PGR_OK;
    if (s == PGR_OK)
        *out = values;
    else
        mem_free(values);
    return s;
}

void reference_exchange(train_run *r, float *reference) {
    for (size_t i = 0; i < r->state.n; i++) {
        float v = r->state.values[i];
        r->state.values[i] = reference[i];
        reference[i] = v;
    }
    trainable_changed(r->t);
}
