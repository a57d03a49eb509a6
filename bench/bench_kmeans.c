/* bench_kmeans.c - k-means over rows of a file of floats: inertia, passes, seconds, as JSON. Not part of the tests:
 *     ninja -C build bench_kmeans && python3 tools/golden_kmeans.py --table
 *                                      beside scikit-learn, from the same starts
 *     build/bench_kmeans FILE N D K    FILE: N rows of D floats, then K rows: the starts
 *     build/bench_kmeans - N D K    rows are drawn (normal, K groups), starts by k-means++, one run of 10 iterations */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "prototype/kmeans.h"

static int usage(void) {
    fprintf(stderr, "usage: bench_kmeans FILE|- N D K\n");
    return 2;
}

static int fill(float *x, const char *path, size_t n, size_t k, size_t d) {
    if (path[0] == '-') {
        for (size_t i = 0; i < n; i++) {
            rng g = {.seed = 1, .stream = (uint32_t)i};
            for (size_t j = 0; j < d; j++) x[i * d + j] = (float)((double)(i % k == j % k) + rng_next(&g));
        }
        return 0;
    }
    FILE *f = fopen(path, "rb");
    size_t got = f ? fread(x, sizeof *x, (n + k) * d, f) : 0;
    if (f) fclose(f);
    if (got == (n + k) * d) return 0;
    fprintf(stderr, "%s: %zu floats found, %zu expected\n", path, got, (n + k) * d);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 5) return usage();
    size_t n = strtoul(argv[2], NULL, 10), d = strtoul(argv[3], NULL, 10), k = strtoul(argv[4], NULL, 10);
    float *x = mem_array((n + k) * d, sizeof *x);
    pool *threads = NULL;
    pgr_error err = {0};
    if (!x || fill(x, argv[1], n, k, d) != 0 || pool_create(0, &threads, &err) != PGR_OK) return 1;
    kmeans_options o = kmeans_options_default(k);
    o.threads = threads;
    o.restarts = 1;
    if (argv[1][0] == '-')
        o.max_iter = 10;
    else
        o.starts = x + n * d;
    kmeans_result r;
    double began = clock_now();
    if (kmeans(x, n, d, &o, &r, &err) != PGR_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("{\"inertia\":%.17g,\"passes\":%zu,\"repaired\":%zu,\"converged\":%s,\"seconds\":%.3f}\n", r.inertia,
           r.n_iter, r.n_repaired, r.converged ? "true" : "false", clock_now() - began);
    kmeans_free(&r);
    mem_free(x);
    pool_free(threads);
    return 0;
}
