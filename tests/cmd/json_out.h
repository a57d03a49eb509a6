/* json_out.h - what a command prints with --json, and the values in it. */
#ifndef PGR_TESTS_CMD_JSON_OUT_H
#define PGR_TESTS_CMD_JSON_OUT_H

#include <jansson.h>

#include "run_program.h"

/* One JSON value, or the test fails; json_decref. */
static inline json_t *parse_out(const char *text) {
    json_error_t e;
    json_t *v = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!v) fail_msg("%s in: %.300s", e.text, text);
    return v;
}

/* What a command has printed, which is freed; json_decref. */
static inline json_t *json_from(ran r) {
    json_t *v = parse_out(r.out);
    run_free(&r);
    return v;
}

/* The value at a path of keys, "chains.ind.requested"; the test fails where there is none. */
static inline const json_t *at(const json_t *v, const char *path) {
    char key[64];
    for (const char *p = path; *p; p += *p == '.') {
        size_t n = strcspn(p, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, p);
        v = json_object_get(v, key);
        if (!v) fail_msg("no %s in %s", key, path);
        p += n;
    }
    return v;
}

/* The value at a path in the i-th of a list. */
static inline const json_t *in(const json_t *list, size_t i, const char *path) {
    return at(json_array_get(list, i), path);
}

#endif
