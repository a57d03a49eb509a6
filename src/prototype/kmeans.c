/* kmeans.c - k-means. Distances for the choice of a centre come from one fp32 product of rows and centres, both less
 * the rows' mean, so that a common offset costs no digits; near ties are decided in double. Inertia and centres are
 * sums in double, in a fixed order whatever the threads.
 *
 * n rows, d columns, k centres, i row, c centre */
#include "prototype/kmeans.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"
#include "math/ops.h"
#include "prototype/vec.h"

enum { BLOCK = 4096 };               /* rows that are assigned at once */
enum { CHUNK = 256 };                /* rows of a task */
enum { STRIPE = 128 };               /* columns of a task when centres are summed */
static const double NEAR_TIE = 4e-6; /* of |x| |c|: beyond the rounding of fp32 sums of a thousand products */

typedef struct run {
    const float *x; /* (n, d) */
    size_t n, d, k;
    const kmeans_options *o;
    float *mean;              /* (d) of all rows */
    float *centres, *shifted; /* (k, d) and less the mean */
    float *half;              /* (k) half the squared length of shifted */
    double half_max;
    double *sums;          /* (k, d) */
    size_t *sizes;         /* (k) */
    uint32_t *assign;      /* (n) */
    double *distance2;     /* (n) to the own centre */
    float *block, *scores; /* (BLOCK, d) rows less the mean, (BLOCK, k) */
    size_t first, n_block; /* the rows that block holds */
    size_t n_changed, n_iter, n_repaired, n_pass;
    double inertia;
    bool converged;
} run;

kmeans_options kmeans_options_default(size_t k) {
    return (kmeans_options){.k = k, .restarts = 10, .max_iter = 300};
}

void kmeans_free(kmeans_result *r) {
    mem_free(r->centres);
    mem_free(r->assign);
    mem_free(r->sizes);
    *r = (kmeans_result){0};
}

static size_t n_chunk(size_t n) {
    return (n + CHUNK - 1) / CHUNK;
}

static pgr_status check_cancel(run *r, pgr_error *err) {
    watch_report(&r->o->watch, "clustering", r->n_pass, 0, "passes");
    r->n_pass++;
    PGR_TRY(watch_check(&r->o->watch, err));
    return PGR_OK;
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static void run_free(run *r) {
    void *all[] = {r->mean,  r->centres, r->shifted,   r->half,  r->sums,
                   r->sizes, r->assign,  r->distance2, r->block, r->scores};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

static pgr_status run_create(run *r, pgr_error *err) {
    size_t rows = r->n < BLOCK ? r->n : BLOCK;
    r->mean = mem_array(r->d, sizeof *r->mean);
    r->centres = mem_array(r->k * r->d, sizeof *r->centres);
    r->shifted = mem_array(r->k * r->d, sizeof *r->shifted);
    r->half = mem_array(r->k, sizeof *r->half);
    r->sums = mem_array(r->k * r->d, sizeof *r->sums);
    r->sizes = mem_array(r->k, sizeof *r->sizes);
    r->assign = mem_array(r->n, sizeof *r->assign);
    r->distance2 = mem_array(r->n, sizeof *r->distance2);
    r->block = mem_array(rows * r->d, sizeof *r->block);
    r->scores = mem_array(rows * r->k, sizeof *r->scores);
    bool ok = r->mean && r->centres && r->shifted && r->half && r->sums && r->sizes && r->assign && r->distance2
              && r->block && r->scores;
    return ok ? PGR_OK : fail_mem(err);
}

/* The rows' mean; a value that is not finite shows in it. */
static pgr_status measure_mean(run *r, pgr_error *err) {
    memset(r->sums, 0, r->d * sizeof *r->sums);
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = 0; j < r->d; j++) r->sums[j] += r->x[i * r->d + j];
    bool finite = true;
    for (size_t j = 0; j < r->d; j++) {
        r->mean[j] = (float)(r->sums[j] / (double)r->n);
        finite = finite && isfinite(r->sums[j]);
    }
    for (size_t i = 0; !finite && i < r->n; i++)
        for (size_t j = 0; j < r->d; j++)
            if (!isfinite(r->x[i * r->d + j]))
                return fail(err, PGR_E_ARG, "row %zu, column %zu of the rows to cluster is not a finite number", i, j);
    return PGR_OK;
}

/* ---- assignment ------------------------------------------------------------------------------------------------ */

/* Row m of the block: the row less the mean. */
static void shift_row(void *ctx, size_t m, size_t worker) {
    run *r = ctx;
    (void)worker;
    const float *x = r->x + (r->first + m) * r->d;
    for (size_t j = 0; j < r->d; j++) r->block[m * r->d + j] = x[j] - r->mean[j];
}

/* The centre of row i, whose scores are s: |x - c|^2 is smallest where x.c - |c|^2 / 2 is largest. Scores within their
 * rounding of the best are decided by distances in double. */
static void pick_centre(run *r, size_t i, const float *s) {
    size_t best = 0;
    for (size_t c = 1; c < r->k; c++)
        if (s[c] - r->half[c] > s[best] - r->half[best]) best = c;
    const float *x = r->x + i * r->d;
    double top = (double)s[best] - r->half[best], nearest = vec_distance2(x, r->centres + best * r->d, r->d);
    double rounding =
        NEAR_TIE * sqrt((nearest + 2 * fabs(top)) * 2 * r->half_max); /* |x| |c| bounds the products' sum */
    size_t chosen = best;
    for (size_t c = 0; c < r->k; c++) {
        if (c == best || !((double)s[c] - r->half[c] >= top - rounding)) continue;
        double d2 = vec_distance2(x, r->centres + c * r->d, r->d);
        if (d2 < nearest || (d2 == nearest && c < chosen)) {
            nearest = d2;
            chosen = c;
        }
    }
    r->assign[i] = (uint32_t)chosen;
    r->distance2[i] = nearest;
}

static void pick_chunk(void *ctx, size_t task, size_t worker) {
    run *r = ctx;
    (void)worker;
    size_t end = (task + 1) * CHUNK < r->n_block ? (task + 1) * CHUNK : r->n_block;
    for (size_t m = task * CHUNK; m < end; m++) pick_centre(r, r->first + m, r->scores + m * r->k);
}

static void shift_centres(run *r) {
    r->half_max = 0;
    for (size_t c = 0; c < r->k; c++) {
        float *s = r->shifted + c * r->d;
        for (size_t j = 0; j < r->d; j++) s[j] = r->centres[c * r->d + j] - r->mean[j];
        r->half[c] = (float)(vec_dot(s, s, r->d) / 2);
        if (r->half[c] > r->half_max) r->half_max = r->half[c];
    }
}

static pgr_status score_block(run *r, ops *o, const matrix *w, pgr_error *err) {
    pool_run(r->o->threads, r->n_block, shift_row, r);
    project_call call = {.w = w, .out = r->scores, .x = r->block, .n = r->n_block};
    return op_project(o, &call, err);
}

static pgr_status assign_blocks(run *r, ops *o, pgr_error *err) {
    matrix *w = NULL;
    shift_centres(r);
    PGR_TRY(matrix_create(o, GEMM_F32, &(gemm_part){QUANT_F32, r->shifted, r->k}, 1, r->d, NULL, &w, err));
    pgr_status status = PGR_OK;
    for (r->first = 0; r->first < r->n && status == PGR_OK; r->first += BLOCK) {
        r->n_block = r->n - r->first < BLOCK ? r->n - r->first : BLOCK;
        status = score_block(r, o, w, err);
        if (status == PGR_OK) pool_run(r->o->threads, n_chunk(r->n_block), pick_chunk, r);
        if (status == PGR_OK) status = watch_check(&r->o->watch, err);
    }
    matrix_free(w);
    return status;
}

static pgr_status assign_rows(run *r, pgr_error *err) {
    ops *o = NULL;
    PGR_TRY(ops_create_cpu(r->o->threads, &o, err));
    pgr_status status = assign_blocks(r, o, err);
    ops_free(o);
    return status;
}

static void count_rows(run *r) {
    memset(r->sizes, 0, r->k * sizeof *r->sizes);
    r->inertia = 0;
    for (size_t i = 0; i < r->n; i++) {
        r->sizes[r->assign[i]]++;
        r->inertia += r->distance2[i];
    }
}

static pgr_status fail_distinct(const run *r, size_t n, pgr_error *err) {
    return fail(err, PGR_E_ARG, "%zu clusters were asked for, but the rows have only %zu distinct values", r->k, n);
}

/* An empty cluster takes the row farthest from its centre, and becomes it. */
static pgr_status repair_empty(run *r, pgr_error *err) {
    size_t used = 0, repaired = r->n_repaired;
    for (size_t c = 0; c < r->k; c++) used += r->sizes[c] > 0;
    for (size_t c = 0; c < r->k; c++) {
        if (r->sizes[c] > 0) continue;
        size_t far = r->n;
        for (size_t i = 0; i < r->n; i++)
            if (r->sizes[r->assign[i]] > 1 && r->distance2[i] > 0
                && (far == r->n || r->distance2[i] > r->distance2[far]))
                far = i;
        if (far == r->n) return fail_distinct(r, used, err);
        r->sizes[r->assign[far]]--;
        r->sizes[c]++;
        r->assign[far] = (uint32_t)c;
        r->distance2[far] = 0;
        memcpy(r->centres + c * r->d, r->x + far * r->d, r->d * sizeof *r->centres);
        r->n_repaired++;
        used++;
    }
    if (r->n_repaired > repaired) count_rows(r);
    return PGR_OK;
}

/* ---- centres --------------------------------------------------------------------------------------------------- */

/* Columns of one stripe of all centres, rows in order. */
static void mean_stripe(void *ctx, size_t task, size_t worker) {
    run *r = ctx;
    (void)worker;
    size_t from = task * STRIPE, to = from + STRIPE < r->d ? from + STRIPE : r->d;
    for (size_t c = 0; c < r->k; c++) memset(r->sums + c * r->d + from, 0, (to - from) * sizeof *r->sums);
    for (size_t i = 0; i < r->n; i++) {
        double *restrict sum = r->sums + r->assign[i] * r->d;
        const float *restrict x = r->x + i * r->d;
        for (size_t j = from; j < to; j++) sum[j] += x[j];
    }
    for (size_t c = 0; c < r->k; c++)
        for (size_t j = from; j < to; j++)
            r->centres[c * r->d + j] = (float)(r->sums[c * r->d + j] / (double)r->sizes[c]);
}

/* Lloyd's iterations from r->centres. before: (n) scratch. */
static pgr_status iterate(run *r, uint32_t *before, pgr_error *err) {
    double last = INFINITY;
    r->converged = false;
    r->n_repaired = 0;
    for (r->n_iter = 1;; r->n_iter++) {
        PGR_TRY(check_cancel(r, err));
        PGR_TRY(assign_rows(r, err));
        count_rows(r);
        PGR_TRY(repair_empty(r, err));
        bool same = r->n_iter > 1 && memcmp(before, r->assign, r->n * sizeof *before) == 0;
        r->converged = same || !(last - r->inertia > r->o->tolerance * r->inertia);
        if (r->converged || r->n_iter >= r->o->max_iter) return PGR_OK;
        last = r->inertia;
        memcpy(before, r->assign, r->n * sizeof *before);
        pool_run(r->o->threads, (r->d + STRIPE - 1) / STRIPE, mean_stripe, r);
    }
}

/* ---- k-means++ ------------------------------------------------------------------------------------------------- */

typedef struct seeding {
    run *r;
    const float *centre; /* (d) the newest */
} seeding;

static void nearer_chunk(void *ctx, size_t task, size_t worker) {
    const seeding *s = ctx;
    (void)worker;
    run *r = s->r;
    size_t end = (task + 1) * CHUNK < r->n ? (task + 1) * CHUNK : r->n;
    for (size_t i = task * CHUNK; i < end; i++) {
        double d2 = vec_distance2(r->x + i * r->d, s->centre, r->d);
        if (d2 < r->distance2[i]) r->distance2[i] = d2;
    }
}

/* A row with probability in proportion to its squared distance to the nearest centre; n: all are 0. */
static size_t draw_row(const run *r, rng *g) {
    double total = 0, sum = 0;
    for (size_t i = 0; i < r->n; i++) total += r->distance2[i];
    double at = rng_next(g) * total;
    size_t last = r->n;
    for (size_t i = 0; i < r->n; i++) {
        if (!(r->distance2[i] > 0)) continue;
        sum += r->distance2[i];
        last = i;
        if (sum > at) break;
    }
    return last;
}

static pgr_status seed_centres(run *r, rng *g, pgr_error *err) {
    for (size_t i = 0; i < r->n; i++) r->distance2[i] = INFINITY;
    for (size_t c = 0; c < r->k; c++) {
        size_t row = c == 0 ? rng_below(g, r->n) : draw_row(r, g);
        if (row == r->n) return fail_distinct(r, c, err);
        seeding s = {r, r->centres + c * r->d};
        memcpy(r->centres + c * r->d, r->x + row * r->d, r->d * sizeof *r->centres);
        PGR_TRY(check_cancel(r, err));
        pool_run(r->o->threads, n_chunk(r->n), nearer_chunk, &s);
    }
    return PGR_OK;
}

/* ---- runs ------------------------------------------------------------------------------------------------------ */

static void keep_best(const run *r, kmeans_result *out, bool first) {
    if (!first && !(r->inertia < out->inertia)) return;
    memcpy(out->centres, r->centres, r->k * r->d * sizeof *out->centres);
    memcpy(out->assign, r->assign, r->n * sizeof *out->assign);
    memcpy(out->sizes, r->sizes, r->k * sizeof *out->sizes);
    out->inertia = r->inertia;
    out->n_iter = r->n_iter;
    out->n_repaired = r->n_repaired;
    out->converged = r->converged;
    out->k = r->k;
}

static pgr_status run_all(run *r, kmeans_result *out, uint32_t *before, pgr_error *err) {
    size_t restarts = r->o->starts || r->o->restarts == 0 ? 1 : r->o->restarts;
    PGR_TRY(measure_mean(r, err));
    for (size_t s = 0; s < restarts; s++) {
        rng g = {.seed = r->o->seed, .stream = (uint32_t)s};
        if (r->o->starts)
            memcpy(r->centres, r->o->starts, r->k * r->d * sizeof *r->centres);
        else
            PGR_TRY(seed_centres(r, &g, err));
        PGR_TRY(iterate(r, before, err));
        keep_best(r, out, s == 0);
    }
    return PGR_OK;
}

pgr_status kmeans(const float *x, size_t n, size_t d, const kmeans_options *o, kmeans_result *out, pgr_error *err) {
    *out = (kmeans_result){0};
    if (o->k == 0 || d == 0) return fail(err, PGR_E_ARG, "k-means wants at least one cluster and one column");
    if (o->k > n) return fail(err, PGR_E_ARG, "%zu clusters were asked for, but there are only %zu rows", o->k, n);
    if (o->k > UINT32_MAX || o->k > SIZE_MAX / sizeof(double) / d)
        return fail(err, PGR_E_ARG, "%zu centres of %zu values do not fit into memory", o->k, d);
    run r = {.x = x, .n = n, .d = d, .k = o->k, .o = o};
    uint32_t *before = mem_array(n, sizeof *before);
    pgr_status status = before ? run_create(&r, err) : fail_mem(err);
    out->centres = mem_array(o->k * d, sizeof *out->centres);
    out->assign = mem_array(n, sizeof *out->assign);
    out->sizes = mem_array(o->k, sizeof *out->sizes);
    if (status == PGR_OK && (!out->centres || !out->assign || !out->sizes)) status = fail_mem(err);
    if (status == PGR_OK) status = run_all(&r, out, before, err);
    run_free(&r);
    mem_free(before);
    if (status != PGR_OK) kmeans_free(out);
    return status;
}

pgr_status kmeans_assign(const float *x, size_t n, size_t d, const float *centres, size_t k, pool *threads,
                         uint32_t *assign, double *distance2, pgr_error *err) {
    if (n == 0) return PGR_OK;
    if (k == 0 || d == 0) return fail(err, PGR_E_ARG, "there are no centres to choose from");
    kmeans_options o = {.k = k, .threads = threads};
    run r = {.x = x, .n = n, .d = d, .k = k, .o = &o};
    pgr_status status = run_create(&r, err);
    if (status == PGR_OK) status = measure_mean(&r, err);
    if (status == PGR_OK) {
        memcpy(r.centres, centres, k * d * sizeof *centres);
        status = assign_rows(&r, err);
    }
    if (status == PGR_OK) {
        memcpy(assign, r.assign, n * sizeof *assign);
        if (distance2) memcpy(distance2, r.distance2, n * sizeof *distance2);
    }
    run_free(&r);
    return status;
}
