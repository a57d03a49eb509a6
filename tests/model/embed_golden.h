/* embed_golden.h - for tests: tests/golden/hf-tiny-NAME/embeddings.json (tools/tiny_embed.py)
 * and comparison with it. */
#ifndef PGR_TESTS_EMBED_GOLDEN_H
#define PGR_TESTS_EMBED_GOLDEN_H

#include <math.h>

#include "../format/folder_make.h"

#include "base/json.h"

#define BERT GOLDEN("hf-tiny-bert")
#define QWEN3 GOLDEN("hf-tiny-qwen3-embedding")

static inline json_t *read_json(const char *path) {
    buf b = {0};
    json_t *v = NULL;
    pgr_error err;
    if (file_read(path, &b, &err) != PGR_OK || json_parse(b.data, b.n, path, 1, &v, &err) != PGR_OK)
        fail_msg("%s", err.message);
    buf_free(&b);
    return v;
}

/* The largest difference of a component of v, n vectors of dims values each scaled to length 1 here,
 * from vectors[name]. */
static inline double vector_error(const json_t *golden, const char *name, const float *v, size_t n, size_t dims) {
    const json_t *want = json_object_get(json_object_get(golden, "vectors"), name);
    double worst = 0;
    assert_int_equal(json_array_size(want), n);
    for (size_t i = 0; i < n; i++) {
        double norm = 0;
        assert_int_equal(json_array_size(json_array_get(want, i)), dims);
        for (size_t k = 0; k < dims; k++) norm += (double)v[i * dims + k] * v[i * dims + k];
        for (size_t k = 0; k < dims; k++) {
            double error = fabs(v[i * dims + k] / sqrt(norm)
                                - json_number_value(json_array_get(json_array_get(want, i), k)));
            if (!(error <= worst)) worst = error;
        }
    }
    return worst;
}

#endif
