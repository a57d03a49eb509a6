/* bench_store.c - bench_store STORE < IDS: opens a store (a file or postgres://...) and loads the users whose names
 * stand on standard input, one per line, with all their pairs, one after the other: median, 99th percentile and mean of
 * the time. A large store to ask: bench/store_made.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pgenrm.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void want(pgr_status status, const pgr_error *err) {
    if (status == PGR_OK) return;
    fprintf(stderr, "bench_store: %s\n", err->message);
    exit(1);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds that a user takes; *pairs: his are added. */
static double load(pgr_store *s, const char *id, size_t *pairs) {
    pgr_user *u = NULL;
    pgr_error err = {0};
    double start = now();
    want(pgr_user_load(s, id, &u, &err), &err);
    double took = now() - start;
    *pairs += u->row.pairs;
    pgr_user_free(u);
    return took;
}

int main(int argc, char **argv) {
    enum { MOST = 100000 };
    static double took[MOST];
    if (argc != 2) {
        fputs("bench_store STORE < IDS\n", stderr);
        return 2;
    }
    pgr_store *s = NULL;
    pgr_error err = {0};
    double start = now(), sum = 0;
    want(pgr_store_open(argv[1], PGR_STORE_READ, &s, &err), &err);
    double opened = now() - start;
    size_t n = 0, pairs = 0;
    for (char id[1000]; n < MOST && fgets(id, sizeof id, stdin); n++) {
        id[strcspn(id, "\n")] = '\0';
        took[n] = load(s, id, &pairs);
        sum += took[n];
    }
    qsort(took, n, sizeof *took, by_size);
    if (n > 0)
        printf("%s: opened in %.1f ms; %zu users with %.1f pairs: median %.3f ms, 99th percentile %.3f, mean %.3f\n",
               pgr_store_path(s), 1e3 * opened, n, (double)pairs / (double)n, 1e3 * took[n / 2],
               1e3 * took[n * 99 / 100], 1e3 * sum / (double)n);
    pgr_store_close(s);
    return n == 0;
}
