/* bench_stats.c - the statistical methods on the real data as one table: accuracy with standard errors clustered by
 * user, the same with a stranger's history, and the paired difference to a method that does not know the person.
 *
 *     bench_stats [-u SUBSET] [-f HISTORY_FILE] [-m METHODS] [-b BASE] [-n PAIRS] [-s SEEDS] [-e] FILE
 *
 * METHODS: names with commas (default: all); -n: history pairs, with commas, 0: all; -s: seeds (draws of the history,
 * strangers, starts of k-means) over which a method with a history is averaged; -e: with the default embedder. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "bench/fits.h"
#include "bench/mean.h"

typedef struct run {
    bench_data *d;
    fits *f;
    pgr_embedder *embedder;
    uint64_t n_seed;
    size_t *donor; /* (n_user) */
    size_t *user;  /* (n_test) */
    double *p, *right, *base, *diff, *residuals;
    size_t *counts;
} run;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *message) {
    fprintf(stderr, "bench_stats: %s\n", message);
    exit(1);
}

static mean_se mean_by_user(run *r, const double *v) {
    return mean_clustered(v, r->user, r->d->n_test, r->residuals, r->counts, r->d->n_user);
}

/* Share of seeds in which each asked pair is right, a tie half. */
static void measure(run *r, const bench_method *m, size_t history, bool stranger, double *right) {
    pgr_error err;
    uint64_t n_seed = m->personal ? r->n_seed : 1;
    for (size_t i = 0; i < r->d->n_test; i++) right[i] = 0;
    for (uint64_t s = 0; s < n_seed; s++) {
        fits_ask how = {history, stranger ? r->donor : NULL, false, s};
        if (bench_strangers(r->d, s, 0, r->donor, &err) != PGR_OK || fits_predict(r->f, m, &how, r->p, &err) != PGR_OK)
            die(err.message);
        for (size_t i = 0; i < r->d->n_test; i++)
            right[i] += (r->p[i] > 0.5 ? 1.0 : r->p[i] < 0.5 ? 0.0 : 0.5) / (double)n_seed;
    }
}

static void print_row(run *r, const char *name, const char *history, double seconds) {
    mean_se a = mean_by_user(r, r->right);
    for (size_t i = 0; i < r->d->n_test; i++) r->diff[i] = r->right[i] - r->base[i];
    mean_se gain = mean_by_user(r, r->diff);
    printf("%-20s %9s   %.4f (%.4f)   %+.4f (%.4f) %7.1f s\n", name, history, a.mean, a.se, gain.mean, gain.se,
           seconds);
    fflush(stdout);
}

static void run_method(run *r, const bench_method *m, char *sizes) {
    char *copy = strdup(sizes);
    for (char *rest = copy, *size = strsep(&rest, ","); size; size = m->personal ? strsep(&rest, ",") : NULL) {
        double start = now();
        size_t h = strtoul(size, NULL, 10);
        measure(r, m, h, false, r->right);
        print_row(r, m->name, !m->personal ? "" : h ? size : "all", now() - start);
    }
    free(copy);
    if (!m->personal) return;
    double start = now();
    measure(r, m, 0, true, r->right);
    print_row(r, m->name, "stranger", now() - start);
}

static void open_embedder(run *r) {
    pgr_error err;
    char *path;
    if (pgr_embedder_find(NULL, &path, &err) != PGR_OK || pgr_embedder_open(path, NULL, &r->embedder, &err) != PGR_OK)
        die(err.message);
    pgr_free(path);
}

static void open_fits(run *r) {
    pgr_error err;
    pool *threads;
    double start = now();
    if (pool_create(0, &threads, &err) != PGR_OK) die(err.message);
    stat_source source = {.d = r->d, .threads = threads};
    if (fits_open(&source, r->embedder, NULL, &r->f, &err) != PGR_OK) die(err.message);
    if (!r->embedder) return;
    if (fits_need(r->f, bench_method_find("embedding"), &err) != PGR_OK) die(err.message);
    printf("%zu texts embedded: %.1f s\n", r->d->n_item, now() - start);
}

static void allocate(run *r) {
    size_t n = r->d->n_test + r->d->n_user, k = 0;
    r->user = mem_array(n, sizeof *r->user);
    r->p = mem_array(n, sizeof *r->p);
    r->right = mem_array(n, sizeof *r->right);
    r->base = mem_zero(n, sizeof *r->base);
    r->diff = mem_array(n, sizeof *r->diff);
    r->residuals = mem_array(n, sizeof *r->residuals);
    r->counts = mem_array(n, sizeof *r->counts);
    r->donor = mem_array(n, sizeof *r->donor);
    if (!r->donor || !r->user || !r->p || !r->right || !r->base || !r->diff || !r->residuals || !r->counts)
        die("out of memory");
    for (size_t i = 0; i < r->d->n_row; i++)
        if (!r->d->rows[i].train) r->user[k++] = r->d->rows[i].user;
}

int main(int argc, char **argv) {
    run r = {.n_seed = 1};
    bench_files f = {.split = "test", .n_path = 1};
    const char *history[1], *base = NULL;
    char *methods = NULL, none[] = "0", *sizes = none;
    bool embed = false, all = true;
    pgr_error err;
    for (int c; (c = getopt(argc, argv, "u:f:m:b:n:s:e")) != -1;) {
        if (c == 'u')
            f.subset = optarg;
        else if (c == 'f')
            history[0] = optarg, f.history_from = history, f.n_history_from = 1;
        else if (c == 'm')
            methods = optarg, all = false;
        else if (c == 'b')
            base = optarg;
        else if (c == 'n')
            sizes = optarg;
        else if (c == 's')
            r.n_seed = strtoul(optarg, NULL, 10);
        else if (c == 'e')
            embed = true;
        else
            return 2;
    }
    if (optind + 1 != argc) return 2;
    f.paths = (const char *const[]){argv[optind]};
    if (bench_load(&f, &r.d, &err) != PGR_OK) die(err.message);
    printf("%s%s%s: %zu asked, %zu users, %zu questions, %zu texts\n", r.d->name, f.subset ? " " : "",
           f.subset ? f.subset : "", r.d->n_test, r.d->n_user, r.d->n_question, r.d->n_item);
    allocate(&r);
    if (embed) open_embedder(&r);
    open_fits(&r);
    const bench_method *b = base ? bench_method_find(base) : NULL;
    if (base && !b) die("no such base");
    if (b)
        measure(&r, b, 0, false, r.base);
    else
        for (size_t i = 0; i < r.d->n_test; i++) r.base[i] = 0.5;
    printf("%-20s %9s   %-17s %s\n", "method", "history", "accuracy", "gain over base");
    for (char *name; (name = strsep(&methods, ",")) != NULL;) {
        const bench_method *m = bench_method_find(name);
        if (!m) die(name);
        run_method(&r, m, sizes);
    }
    for (const bench_method *m = all ? BENCH_METHODS : NULL; m && m->name; m++)
        if (m->needs == NEEDS_NOTHING || (embed && m->needs == NEEDS_EMBEDDER)) run_method(&r, m, sizes);
    return 0;
}
