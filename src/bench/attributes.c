/* attributes.c - {"data": "prism", "pairs": 1167, "attributes": {"length": 0.21, ...}} written, read, and asked. */
#include "bench/attributes.h"

#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/json.h"
#include "base/mem.h"
#include "pgenrm_bench.h"

static const double MOST = 1e6; /* of a weight, either way */

/* ---- writing ----------------------------------------------------------------------------------------------------- */

pgr_status attributes_write(const double *w, const char *data, size_t n_pair, const char *path, pgr_error *err) {
    buf text = {0};
    buf_puts(&text, "{\"data\": ");
    json_put_string(&text, data, strlen(data));
    buf_printf(&text, ", \"pairs\": %zu, \"attributes\": {", n_pair);
    for (size_t i = 0; i < N_FEATURE; i++) buf_printf(&text, "%s\n  \"%s\": %.9g", i ? "," : "", feature_name(i), w[i]);
    buf_puts(&text, "}}\n");
    pgr_status s = text.failed ? fail_mem(err) : file_write(path, text.data, text.n, err);
    buf_free(&text);
    return s;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct attributes {
    double w[N_FEATURE];
} attributes;

static pgr_status read_weight(const json_t *object, const char *name, const char *path, double *out, pgr_error *err) {
    const json_t *v = json_object_get(object, name);
    double x = json_is_number(v) ? json_number_value(v) : NAN;
    if (!(fabs(x) <= MOST))
        return fail(err, PGR_E_FORMAT, "%s: attributes.%s is %s, expected a number from %g to %g", path, name,
                    json_is_number(v) ? "out of range" : json_kind(v), -MOST, MOST);
    *out = x;
    return PGR_OK;
}

/* Every attribute has to be there: one that is missing is another version's, not a 0. */
static pgr_status read_weights(const json_t *top, const char *path, double *w, pgr_error *err) {
    const json_t *object = json_object_get(top, "attributes");
    const char *names[N_FEATURE + 1] = {0};
    json_at at = {path, "attributes"};
    for (size_t i = 0; i < N_FEATURE; i++) names[i] = feature_name(i);
    PGR_TRY(json_want_object(object, at, err));
    PGR_TRY(json_only_keys(object, names, at, err));
    for (size_t i = 0; i < N_FEATURE; i++) PGR_TRY(read_weight(object, names[i], path, &w[i], err));
    return PGR_OK;
}

static pgr_status read_top(const json_t *top, const char *path, attributes *out, buf *name, pgr_error *err) {
    static const char *const KEYS[] = {"data", "pairs", "attributes", NULL};
    const char *data;
    int64_t pairs;
    json_at at = {path, ""};
    PGR_TRY(json_want_object(top, at, err));
    PGR_TRY(json_only_keys(top, KEYS, at, err));
    PGR_TRY(json_want_string(json_object_get(top, "data"), (json_at){path, "data"}, &data, err));
    PGR_TRY(
        json_want_integer(json_object_get(top, "pairs"), (json_at){path, "pairs"}, 0, INT64_C(1) << 53, &pairs, err));
    PGR_TRY(read_weights(top, path, out->w, err));
    buf_printf(name, "attributes in %lld pairs of %s", (long long)pairs, data);
    return name->failed ? fail_mem(err) : PGR_OK;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static pgr_status score(void *ctx, const pgr_scalar_input *in, float *out, pgr_error *err) {
    const attributes *a = ctx;
    double v[N_FEATURE], sum = 0;
    (void)err;
    features_measure(in->response, in->n_message ? in->messages[in->n_message - 1].text : "", v);
    for (size_t i = 0; i < N_FEATURE; i++) sum += a->w[i] * v[i];
    *out = (float)sum;
    return PGR_OK;
}

pgr_status pgr_attributes_open(const char *path, pgr_scalar **out, pgr_error *err) {
    buf text = {0}, name = {0};
    json_t *top = NULL;
    attributes *a = mem_zero(1, sizeof *a);
    pgr_status s = a ? file_read(path, &text, err) : fail_mem(err);
    if (s == PGR_OK) s = json_parse(text.data ? text.data : "", text.n, path, 1, &top, err);
    if (s == PGR_OK) s = read_top(top, path, a, &name, err);
    if (s == PGR_OK) {
        pgr_scalar_source source = {.name = name.data, .score = score, .close = mem_free, .ctx = a};
        s = pgr_scalar_create(&source, out, err);
    }
    if (s != PGR_OK) mem_free(a);
    json_decref(top);
    buf_free(&name);
    buf_free(&text);
    return s;
}
