/* trees.h - for tests: the choices that a test has written into trees.jsonl in its folder, loaded. */
#ifndef PGR_TEST_TREES_H
#define PGR_TEST_TREES_H

#include "../base/scratch.h"
#include "bench/pairs.h"

static inline bench_data *load(void) {
    const char *paths[] = {path_of("trees.jsonl")};
    bench_files f = {.paths = paths, .n_path = 1, .split = "test"};
    bench_data *d = NULL;
    pgr_error err = {0};
    if (bench_load(&f, &d, &err) != PGR_OK) fail_msg("%s", err.message);
    return d;
}

#endif
