/* bench_neighbours.c - a million users: builds a file of prototypes from made vectors and searches it.
 *
 *     bench_neighbours USERS DIMS K clustered|flat|levels FILE [keep] [queries=400] [like=PROTOS]
 *
 * clustered: 200 directions, every user one of them plus noise as long as it (cosine .5 between two of a direction);
 * flat: noise alone, the worst case; levels: two pairs' facts, of which many users have the same. k-means from every
 * (USERS / 65,536)-th row, then every row to its nearest prototype. like: the prototypes are those of that file (by
 * facts: then a server can use FILE, bench/ten_million.py), DIMS and K do not count. The vectors lie in FILE.vectors,
 * mapped, so that they can leave memory. Users are those of bench/store_made.py. Half of the queries by users of the
 * file, half by new ones, 8 neighbours each; recall against the exact search of all rows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "prototype/kmeans.h"
#include "prototype/neighbours.h"
#include "prototype/vec.h"

enum { N_DIRECTION = 200, MOST_QUERIES = 400, N_NEIGHBOUR = 8, N_FIT = 65536, CHUNK = 8192 };

static size_t n, d, k, n_query = MOST_QUERIES;
static enum { CLUSTERED, FLAT, LEVELS } kind;
static float *directions; /* (N_DIRECTION, d) */
static artefact like;     /* k = 0: none */

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double now(void) {
    return seconds(CLOCK_MONOTONIC);
}

/* What other work on the machine touches less; of all threads. */
static double processor(void) {
    return seconds(CLOCK_PROCESS_CPUTIME_ID);
}

static void stage(const char *name, double *since) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    static double before;
    printf("%-32s %8.2f s, %8.2f of the processor   peak %6ld MiB (mapped pages counted)\n", name, now() - *since,
           processor() - before, u.ru_maxrss / 1024);
    fflush(stdout);
    *since = now();
    before = processor();
}

static void die(const char *what) {
    fprintf(stderr, "bench_neighbours: %s\n", what);
    exit(1);
}

static void want(pgr_status s, const pgr_error *err) {
    if (s != PGR_OK) die(err->message);
}

/* Nearly normal: the sum of four uniform numbers. */
static float noise(uint64_t *state) {
    uint64_t x = *state;
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    *state = x;
    x *= 0x2545f4914f6cdd1du;
    return (float)((double)((x & 0xffff) + (x >> 16 & 0xffff) + (x >> 32 & 0xffff) + (x >> 48)) - 131070.0) / 37837.0f;
}

/* Of two pairs, each of which has a level of -3 to 3 in every fact. */
static void make_levels(uint64_t *state, float *v) {
    for (size_t c = 0; c < d; c++) {
        v[c] = c == 0 ? 0.25f : 0.0f; /* never all zero */
        for (int pair = 0; pair < 2; pair++) v[c] += fmaxf(-3, fminf(3, rintf(1.2f * noise(state))));
    }
    vec_normalise(v, d);
}

static void make_row(size_t i, float *v) {
    uint64_t state = (i + 1) * 0x9e3779b97f4a7c15u;
    if (kind == LEVELS) {
        make_levels(&state, v);
        return;
    }
    const float *own = directions + i % N_DIRECTION * d;
    float scale = 1.0f / sqrtf((float)d);
    for (size_t c = 0; c < d; c++) v[c] = noise(&state) * scale + (kind == CLUSTERED ? own[c] : 0.0f);
    vec_normalise(v, d);
}

static float *map_vectors(const char *path) {
    FILE *f = fopen(path, "w+b");
    if (!f || ftruncate(fileno(f), (off_t)(n * d * sizeof(float))) != 0) die("no room for the vectors");
    float *v = mmap(NULL, n * d * sizeof *v, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
    if (v == MAP_FAILED) die("the vectors cannot be mapped");
    fclose(f);
    return v;
}

/* k-means of a sample, evenly over all rows, or the centres of `like`. v: (n, d) */
static kmeans_result centres_of(const float *v, pool *threads) {
    pgr_error err;
    if (like.k) {
        kmeans_result there = {.centres = mem_array(k * d, sizeof(float)), .inertia = like.inertia};
        if (!there.centres) die("out of memory");
        memcpy(there.centres, like.after, k * d * sizeof(float));
        return there;
    }
    size_t n_fit = n < N_FIT ? n : N_FIT;
    float *fit = malloc(n_fit * d * sizeof *fit);
    if (!fit) die("out of memory");
    for (size_t i = 0; i < n_fit; i++) memcpy(fit + i * d, v + i * (n / n_fit) * d, d * sizeof *fit);
    kmeans_options o = kmeans_options_default(k);
    o.restarts = 1;
    o.max_iter = 20;
    o.threads = threads;
    kmeans_result r;
    want(kmeans(fit, n_fit, d, &o, &r, &err), &err);
    free(fit);
    return r;
}

typedef struct rows {                /* of the file: a row is a user */
    uint32_t *assign, *order, *user; /* (n) its prototype; the rows by prototype; whose it is */
    uint64_t *start;                 /* (k + 2) of each prototype in `order` */
    uint64_t *ids_at;                /* (n + 1) */
    char *ids;
} rows;

/* The number behind i in the order of the names that numbers make: 0, 1, 10, 100, .., 11, .. */
static size_t next_name(size_t i) {
    if (i > 0 && 10 * i < n) return 10 * i;
    while (i % 10 == 9 || i + 1 == n) i /= 10;
    return i + 1;
}

static rows rows_of(const float *v, const float *centres, pool *threads) {
    pgr_error err;
    rows r = {.assign = malloc(n * sizeof *r.assign),
              .order = malloc(n * sizeof *r.order),
              .user = malloc(n * sizeof *r.user),
              .start = calloc(k + 2, sizeof *r.start),
              .ids_at = calloc(n + 1, sizeof *r.ids_at),
              .ids = malloc(n * 16)};
    if (!r.assign || !r.order || !r.user || !r.start || !r.ids_at || !r.ids) die("out of memory");
    for (size_t i = 0; i < n; i += CHUNK)
        want(kmeans_assign(v + i * d, n - i < CHUNK ? n - i : CHUNK, d, centres, k, threads, r.assign + i, NULL, &err),
             &err);
    for (size_t i = 0, name = 0; i < n; i++, name = next_name(name)) {
        r.start[r.assign[i] + 2]++;
        r.user[i] = (uint32_t)i;
        r.ids_at[i + 1] = r.ids_at[i] + 1 + (uint64_t)sprintf(r.ids + r.ids_at[i], "user%zu", name);
    }
    for (size_t j = 0; j < k; j++) r.start[j + 2] += r.start[j + 1];
    for (size_t i = 0; i < n; i++) r.order[r.start[r.assign[i] + 1]++] = (uint32_t)i;
    return r;
}

static void write_file(const char *path, const float *v, const kmeans_result *means, const rows *r) {
    pgr_error err;
    const char *const none[] = {NULL}, *const **words = calloc(k, sizeof *words);
    if (!words) die("out of memory");
    for (size_t j = 0; j < k; j++) words[j] = none;
    artefact a = {.by = like.k ? like.by : "choices",
                  .embedder = "",
                  .model = "",
                  .split = like.k ? like.split : "",
                  .mixture = like.mixture,
                  .n_mixture = like.n_mixture,
                  .dims = d,
                  .k = k,
                  .n_row = n,
                  .n_user = n,
                  .inertia = means->inertia,
                  .words = like.k ? like.words : words,
                  .before = means->centres,
                  .after = means->centres,
                  .start = r->start,
                  .row_user = r->user,
                  .ids_at = r->ids_at,
                  .ids = r->ids,
                  .vectors = v};
    want(artefact_write(&a, r->order, path, &err), &err);
    free(words);
}

static void build(const char *path) {
    char vectors_path[512];
    snprintf(vectors_path, sizeof vectors_path, "%s.vectors", path);
    double since = now();
    float *v = map_vectors(vectors_path);
    for (size_t i = 0; i < n; i++) make_row(i, v + i * d);
    stage("vectors made", &since);

    pgr_error err;
    pool *threads;
    want(pool_create(0, &threads, &err), &err);
    kmeans_result means = centres_of(v, threads);
    stage("k-means of the sample", &since);
    rows r = rows_of(v, means.centres, threads);
    stage("every row to its prototype", &since);
    write_file(path, v, &means, &r);
    stage("file written", &since);

    munmap(v, n * d * sizeof *v);
    unlink(vectors_path);
    free(r.assign), free(r.order), free(r.user), free(r.start), free(r.ids_at), free(r.ids);
    kmeans_free(&means);
    pool_free(threads);
}

static int by_time(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static near_user truth[MOST_QUERIES][N_NEIGHBOUR];

/* Query q: a user of the file, or a new one. */
static size_t query(size_t q, float *v) {
    size_t user = q % 2 ? n : q * 7919 % n;
    make_row(q % 2 ? n + q * 7919 : user, v);
    return user;
}

static void measure(const artefact *a, size_t n_probe, float *v) {
    pgr_error err;
    double times[MOST_QUERIES], own[MOST_QUERIES], sum = 0;
    size_t hits = 0, self_hits = 0, of = 0;
    for (size_t q = 0; q < n_query; q++) {
        near_user got[N_NEIGHBOUR];
        size_t n_got, user = query(q, v);
        double t = now(), busy = processor();
        want(neighbours_find(a, v, user, N_NEIGHBOUR, n_probe, got, &n_got, &err), &err);
        sum += times[q] = now() - t;
        own[q] = processor() - busy;
        if (n_probe == a->k) memcpy(truth[q], got, sizeof got);
        for (size_t i = 0; i < n_got; i++)
            for (size_t j = 0; j < N_NEIGHBOUR; j++) {
                hits += got[i].user == truth[q][j].user;
                self_hits += q % 2 == 0 && got[i].user == truth[q][j].user;
            }
        of += N_NEIGHBOUR;
    }
    qsort(times, n_query, sizeof *times, by_time);
    qsort(own, n_query, sizeof *own, by_time);
    printf("%6zu of %zu   mean %8.3f   median %8.3f   99 %% %8.3f ms; of the processor %8.3f, %8.3f   recall %.4f "
           "(users of the file %.4f)\n",
           n_probe, a->k, 1e3 * sum / (double)n_query, 1e3 * times[n_query / 2], 1e3 * times[n_query * 99 / 100],
           1e3 * own[n_query / 2], 1e3 * own[n_query * 99 / 100], (double)hits / (double)of,
           (double)self_hits * 2 / (double)of);
    fflush(stdout);
}

/* The exact search is that of the codes' intervals with all prototypes opened;
 * here it is compared with plain products of all rows. */
static void check_truth(const artefact *a, float *v) {
    for (size_t q = 0; q < 6 && q < n_query; q++) {
        size_t user = query(q, v);
        double least = truth[q][N_NEIGHBOUR - 1].similarity;
        size_t above = 0;
        for (size_t r = 0; r < a->n_row; r++)
            above += a->row_user[r] != user && vec_dot(v, a->vectors + r * a->dims, a->dims) >= least;
        if (above != N_NEIGHBOUR) die("the exact search is not exact");
    }
    printf("exact search compared with plain products of all rows: equal\n");
}

/* The words behind FILE. True: the file stays. */
static bool read_more(char **words) {
    bool keep = false;
    pgr_error err;
    for (; *words; words++) {
        if (strncmp(*words, "queries=", 8) == 0)
            n_query = (size_t)atoll(*words + 8);
        else if (strncmp(*words, "like=", 5) == 0)
            want(artefact_open(*words + 5, ARTEFACT_CHECK_ALL, &like, &err), &err);
        else
            keep = true;
    }
    if (like.k) d = like.dims, k = like.k;
    if (n_query < 1 || n_query > MOST_QUERIES) die("queries: expected 1 to 400");
    return keep;
}

int main(int argc, char **argv) {
    if (argc < 6)
        die("usage: bench_neighbours USERS DIMS K clustered|flat|levels FILE [keep] [queries=400] [like=PROTOS]");
    n = (size_t)atoll(argv[1]), d = (size_t)atoll(argv[2]), k = (size_t)atoll(argv[3]);
    kind = argv[4][0] == 'c' ? CLUSTERED : argv[4][0] == 'l' ? LEVELS : FLAT;
    bool keep = read_more(argv + 6);
    directions = malloc(N_DIRECTION * d * sizeof *directions);
    float *v = malloc(d * sizeof *v);
    if (!directions || !v) die("out of memory");
    for (size_t i = 0; i < N_DIRECTION; i++) {
        uint64_t state = (i + 1) * 0xd1342543de82ef95u;
        for (size_t c = 0; c < d; c++) directions[i * d + c] = noise(&state);
        vec_normalise(directions + i * d, d);
    }
    if (access(argv[5], R_OK) != 0) build(argv[5]);
    artefact a;
    pgr_error err;
    double since = now();
    want(artefact_open(argv[5], ARTEFACT_CHECK_SMALL, &a, &err), &err);
    stage("file opened", &since);
    measure(&a, a.k, v); /* reads all codes once */
    check_truth(&a, v);
    for (size_t p = 1; p < a.k; p *= 2) measure(&a, p, v);
    measure(&a, a.k, v);
    stage("searched", &since);
    artefact_close(&a);
    if (!keep) unlink(argv[5]);
    if (like.k) artefact_close(&like);
    free(directions);
    free(v);
    return 0;
}
