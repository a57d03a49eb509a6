/* gemm_dnnl.c - fp32 weights packed for oneDNN.
 *
 * W is cut into slices of columns, each packed by itself in the layout that oneDNN's blocked kernels ("brg") want. A
 * run is one task per slice and panel of rows; each task is one single-threaded matmul. Those kernels sum every
 * output in the same order for any number of rows (tests/math/test_gemm.c checks the bits), so a row does not depend
 * on M.
 *
 * Compiled matmuls are kept process-wide for all weights of one shape, behind one lock; the last dnnl_weights_free
 * frees them. */
#include "math/cpu/gemm_dnnl.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "math/cpu/level.h"

/* Heights of panels: 1 to 15 as they are, then 16, 32, 64. */
enum { N_PANEL = 18 };
static const size_t panel_rows[N_PANEL] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 32, 64};
enum { PACK_ROWS = 512 }; /* rows the layout is chosen for */

/* What one thread needs to run one matmul. */
typedef struct runner {
    struct runner *next;
    dnnl_stream_t stream;
    dnnl_memory_t src, dst, scratch;
    float *dst_data; /* (rows of the panel, width): the blocked kernels write dense rows only */
    void *scratch_data;
} runner;

/* Slices of one shape. */
typedef struct shape {
    struct shape *next;
    size_t K, width;
    dnnl_memory_desc_t packed;
    dnnl_primitive_desc_t desc[N_PANEL];
    dnnl_primitive_t matmul[N_PANEL]; /* compiled at first use */
    runner *idle[N_PANEL];
} shape;

/* Memory for rows of x laid densely. */
typedef struct scratch {
    struct scratch *next;
    size_t size;
    void *data;
} scratch;

/* lock: covers everything here and in the shapes, except that shape's members up to desc do not change once listed. */
static struct {
    pthread_mutex_t lock;
    size_t n_user;
    dnnl_engine_t engine;
    shape *shapes;
    scratch *idle;
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct dnnl_weights {
    size_t N, K, width, n_slice;
    const shape *whole, *rest; /* rest: the last slice if it is narrower, else the same */
    dnnl_memory_t *slices;     /* (n_slice) */
    char *data;
    size_t data_size, slice_size;
    const kernels *kernels;
};

static pgr_status status_of(dnnl_status_t s) {
    if (s == dnnl_success) return PGR_OK;
    return s == dnnl_out_of_memory ? PGR_E_MEM : PGR_E_UNSUPPORTED;
}

#define DNNL_TRY(call) PGR_TRY(status_of(call))

/* ---- shapes ---- */

static bool is_blocked(const_dnnl_primitive_desc_t desc) {
    const char *name = NULL;
    return dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name
           && strncmp(name, "brg", 3) == 0;
}

/* weights NULL: any layout */
static pgr_status describe(const shape *s, size_t M, const dnnl_memory_desc_t *weights, dnnl_primitive_desc_t *out) {
    dnnl_dims_t src_dims = {(dnnl_dim_t)M, (dnnl_dim_t)s->K}, dst_dims = {(dnnl_dim_t)M, (dnnl_dim_t)s->width};
    dnnl_dims_t weight_dims = {(dnnl_dim_t)s->K, (dnnl_dim_t)s->width};
    dnnl_memory_desc_t src, dst, any;
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&src, 2, src_dims, dnnl_f32, dnnl_ab));
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&dst, 2, dst_dims, dnnl_f32, dnnl_ab));
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&any, 2, weight_dims, dnnl_f32, dnnl_format_tag_any));

    dnnl_matmul_desc_t op;
    DNNL_TRY(dnnl_matmul_desc_init(&op, &src, weights ? weights : &any, NULL, &dst));
    dnnl_primitive_attr_t attr;
    DNNL_TRY(dnnl_primitive_attr_create(&attr));
    dnnl_status_t status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) status = dnnl_primitive_desc_create(out, &op, attr, cache.engine, NULL);
    dnnl_primitive_attr_destroy(attr);
    DNNL_TRY(status);
    return is_blocked(*out) ? PGR_OK : PGR_E_UNSUPPORTED;
}

static pgr_status shape_describe(shape *s) {
    dnnl_primitive_desc_t any = NULL;
    pgr_status status = describe(s, PACK_ROWS, NULL, &any);
    if (status == PGR_OK) s->packed = *dnnl_primitive_desc_query_md(any, dnnl_query_weights_md, 0);
    if (any) dnnl_primitive_desc_destroy(any);
    for (size_t p = 0; p < N_PANEL && status == PGR_OK; p++)
        status = describe(s, panel_rows[p], &s->packed, &s->desc[p]);
    return status;
}

static void runner_free(runner *r) {
    if (r->src) dnnl_memory_destroy(r->src);
    if (r->dst) dnnl_memory_destroy(r->dst);
    if (r->scratch) dnnl_memory_destroy(r->scratch);
    if (r->stream) dnnl_stream_destroy(r->stream);
    mem_free(r->dst_data);
    mem_free(r->scratch_data);
    mem_free(r);
}

static void shape_free(shape *s) {
    for (size_t p = 0; p < N_PANEL; p++) {
        for (runner *r = s->idle[p], *next; r; r = next) {
            next = r->next;
            runner_free(r);
        }
        if (s->matmul[p]) dnnl_primitive_destroy(s->matmul[p]);
        if (s->desc[p]) dnnl_primitive_desc_destroy(s->desc[p]);
    }
    mem_free(s);
}

/* The lock is held. */
static pgr_status find_shape(size_t K, size_t width, const shape **out) {
    for (shape *s = cache.shapes; s; s = s->next)
        if (s->K == K && s->width == width) {
            *out = s;
            return PGR_OK;
        }
    shape *s = mem_zero(1, sizeof *s);
    if (!s) return PGR_E_MEM;
    s->K = K, s->width = width;
    pgr_status status = shape_describe(s);
    if (status != PGR_OK) {
        shape_free(s);
        return status;
    }
    s->next = cache.shapes;
    cache.shapes = s;
    *out = s;
    return PGR_OK;
}

/* ---- runners ---- */

static pgr_status runner_fill(const shape *s, size_t panel, runner *r) {
    const_dnnl_primitive_desc_t desc = s->desc[panel];
    const dnnl_memory_desc_t *pad = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    size_t size = pad ? dnnl_memory_desc_get_size(pad) : 0;
    r->scratch_data = mem_aligned(size ? size : 64, 64);
    r->dst_data = mem_aligned(panel_rows[panel] * s->width * sizeof *r->dst_data, 64);
    if (!r->scratch_data || !r->dst_data) return PGR_E_MEM;
    DNNL_TRY(dnnl_stream_create(&r->stream, cache.engine, dnnl_stream_default_flags));
    DNNL_TRY(dnnl_memory_create(&r->src, dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0), cache.engine,
                                DNNL_MEMORY_NONE));
    DNNL_TRY(dnnl_memory_create(&r->dst, dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0), cache.engine,
                                r->dst_data));
    if (size) DNNL_TRY(dnnl_memory_create(&r->scratch, pad, cache.engine, r->scratch_data));
    return PGR_OK;
}

/* The lock is held. */
static pgr_status find_runner(shape *s, size_t panel, runner **out) {
    if (!s->matmul[panel]) DNNL_TRY(dnnl_primitive_create(&s->matmul[panel], s->desc[panel]));
    runner *r = s->idle[panel];
    if (r) {
        s->idle[panel] = r->next;
        *out = r;
        return PGR_OK;
    }
    r = mem_zero(1, sizeof *r);
    if (!r) return PGR_E_MEM;
    pgr_status status = runner_fill(s, panel, r);
    if (status != PGR_OK) {
        runner_free(r);
        return status;
    }
    *out = r;
    return PGR_OK;
}

static pgr_status runner_take(const shape *s, size_t panel, runner **r, dnnl_primitive_t *matmul) {
    shape *own = (shape *)(uintptr_t)s; /* for the members behind the lock */
    pthread_mutex_lock(&cache.lock);
    pgr_status status = find_runner(own, panel, r);
    *matmul = own->matmul[panel];
    pthread_mutex_unlock(&cache.lock);
    return status;
}

static void runner_give(const shape *s, size_t panel, runner *r) {
    shape *own = (shape *)(uintptr_t)s;
    pthread_mutex_lock(&cache.lock);
    r->next = own->idle[panel];
    own->idle[panel] = r;
    pthread_mutex_unlock(&cache.lock);
}

/* The product of a panel of rows x with a slice is in r->dst_data afterwards. */
static pgr_status run_matmul(const runner *r, dnnl_primitive_t matmul, const void *x, dnnl_memory_t weights) {
    dnnl_exec_arg_t args[4] = {
        {DNNL_ARG_SRC, r->src}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, r->dst}, {DNNL_ARG_SCRATCHPAD, r->scratch}};
    DNNL_TRY(dnnl_memory_set_data_handle(r->src, (void *)(uintptr_t)x));
    DNNL_TRY(dnnl_primitive_execute(matmul, r->stream, r->scratch ? 4 : 3, args));
    return status_of(dnnl_stream_wait(r->stream));
}

/* ---- memory for activations ---- */

static scratch *scratch_take(size_t size) {
    pthread_mutex_lock(&cache.lock);
    scratch *s = cache.idle;
    if (s) cache.idle = s->next;
    pthread_mutex_unlock(&cache.lock);
    if (!s) s = mem_zero(1, sizeof *s);
    if (!s || s->size >= size) return s;
    mem_free(s->data);
    s->data = mem_aligned(size, 64);
    s->size = s->data ? size : 0;
    if (s->data) return s;
    mem_free(s);
    return NULL;
}

static void scratch_give(scratch *s) {
    if (!s) return;
    pthread_mutex_lock(&cache.lock);
    s->next = cache.idle;
    cache.idle = s;
    pthread_mutex_unlock(&cache.lock);
}

/* ---- the cache's life ---- */

static pgr_status cache_join(void) {
    pgr_status status = PGR_OK;
    pthread_mutex_lock(&cache.lock);
    if (cache.n_user == 0) status = status_of(dnnl_engine_create(&cache.engine, dnnl_cpu, 0));
    if (status == PGR_OK) cache.n_user++;
    pthread_mutex_unlock(&cache.lock);
    return status;
}

static void cache_leave(void) {
    pthread_mutex_lock(&cache.lock);
    if (--cache.n_user == 0) {
        for (shape *s = cache.shapes, *next; s; s = next) {
            next = s->next;
            shape_free(s);
        }
        for (scratch *s = cache.idle, *next; s; s = next) {
            next = s->next;
            mem_free(s->data);
            mem_free(s);
        }
        dnnl_engine_destroy(cache.engine);
        cache.shapes = NULL, cache.idle = NULL, cache.engine = NULL;
    }
    pthread_mutex_unlock(&cache.lock);
}

/* ---- packing ---- */

static size_t pick_width(size_t N) {
    return N <= 2048 ? 64 : 256;
}

static size_t slice_width(const dnnl_weights *w, size_t slice) {
    size_t n0 = slice * w->width;
    return w->N - n0 < w->width ? w->N - n0 : w->width;
}

static const shape *slice_shape(const dnnl_weights *w, size_t slice) {
    return slice_width(w, slice) == w->width ? w->whole : w->rest;
}

typedef struct pack_job {
    dnnl_weights *w;
    const gemm_stack *stack;
    atomic_int status;
} pack_job;

/* oneDNN keeps primitives for all threads; its own locking there is out of ThreadSanitizer's sight, and ours costs
 * nothing. */
static dnnl_status_t make_reorder(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, dnnl_primitive_t *out) {
    dnnl_primitive_desc_t desc = NULL;
    pthread_mutex_lock(&cache.lock);
    dnnl_status_t s = dnnl_reorder_primitive_desc_create(&desc, from, cache.engine, to, cache.engine, NULL);
    if (s == dnnl_success) s = dnnl_primitive_create(out, desc);
    if (desc) dnnl_primitive_desc_destroy(desc);
    pthread_mutex_unlock(&cache.lock);
    return s;
}

static void drop_reorder(dnnl_primitive_t p) {
    pthread_mutex_lock(&cache.lock);
    dnnl_primitive_destroy(p);
    pthread_mutex_unlock(&cache.lock);
}

static pgr_status reorder(dnnl_memory_t from, const dnnl_memory_desc_t *from_desc, dnnl_memory_t to,
                          const dnnl_memory_desc_t *to_desc) {
    dnnl_primitive_t copy = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    dnnl_status_t s = make_reorder(from_desc, to_desc, &copy);
    if (s == dnnl_success) s = dnnl_stream_create(&stream, cache.engine, dnnl_stream_default_flags);
    if (s == dnnl_success) s = dnnl_primitive_execute(copy, stream, 2, args);
    if (s == dnnl_success) s = dnnl_stream_wait(stream);
    if (stream) dnnl_stream_destroy(stream);
    if (copy) drop_reorder(copy);
    return status_of(s);
}

static pgr_status pack_slice(const pack_job *job, size_t slice, float *values) {
    dnnl_weights *w = job->w;
    dnnl_dims_t dims = {(dnnl_dim_t)w->K, (dnnl_dim_t)slice_width(w, slice)};
    dnnl_memory_desc_t plain;
    dnnl_memory_t from = NULL;
    const dnnl_memory_desc_t *packed = &slice_shape(w, slice)->packed;
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&plain, 2, dims, dnnl_f32, dnnl_ba));
    DNNL_TRY(dnnl_memory_create(&w->slices[slice], packed, cache.engine, w->data + slice * w->slice_size));
    DNNL_TRY(dnnl_memory_create(&from, &plain, cache.engine, values));
    pgr_status status = reorder(from, &plain, w->slices[slice], packed);
    dnnl_memory_destroy(from);
    return status;
}

/* oneDNN runs in this thread alone while the returned number of threads is put aside. */
static int single_thread(void) {
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return threads;
}

static void pack_task(void *ctx, size_t slice, size_t worker) {
    (void)worker;
    pack_job *job = ctx;
    dnnl_weights *w = job->w;
    int threads = single_thread();
    size_t values = slice_width(w, slice) * w->K * sizeof(float);
    float *rows = mem_aligned(values, 64); /* of the slice */
    pgr_status status = rows ? PGR_OK : PGR_E_MEM;
    if (status == PGR_OK) {
        for (size_t n = 0; n < slice_width(w, slice); n++) stack_row(job->stack, slice * w->width + n, rows + n * w->K);
        status = pack_slice(job, slice, rows);
    }
    mem_free(rows);
    if (status != PGR_OK) atomic_store(&job->status, (int)status);
    omp_set_num_threads(threads);
}

static pgr_status find_shapes(dnnl_weights *w) {
    int threads = single_thread();
    pthread_mutex_lock(&cache.lock);
    size_t rest = w->N % w->width;
    pgr_status status = w->N < w->width ? PGR_OK : find_shape(w->K, w->width, &w->whole);
    if (status == PGR_OK && rest) status = find_shape(w->K, rest, &w->rest);
    pthread_mutex_unlock(&cache.lock);
    omp_set_num_threads(threads);
    return status;
}

static pgr_status pack(dnnl_weights *w, const gemm_stack *stack, pool *threads) {
    PGR_TRY(find_shapes(w));
    const shape *widest = w->whole ? w->whole : w->rest;
    w->slice_size = (dnnl_memory_desc_get_size(&widest->packed) + 63) / 64 * 64;
    w->data_size = w->n_slice * w->slice_size;
    w->data = mem_aligned(w->data_size, 64);
    w->slices = mem_zero(w->n_slice, sizeof(dnnl_memory_t));
    if (!w->data || !w->slices) return PGR_E_MEM;
    pack_job job = {.w = w, .stack = stack};
    pool_run(threads, w->n_slice, pack_task, &job);
    return (pgr_status)atomic_load(&job.status);
}

static pgr_status explain(pgr_status status, const dnnl_weights *w, pgr_error *err) {
    if (status == PGR_OK) return PGR_OK;
    if (status == PGR_E_MEM) return fail_mem(err);
    return fail(err, status, "oneDNN has no row-independent fp32 product for this CPU (%zu x %zu)", w->N, w->K);
}

pgr_status dnnl_weights_create(const gemm_stack *stack, pool *threads, dnnl_weights **out, pgr_error *err) {
    dnnl_weights *w = mem_zero(1, sizeof *w);
    if (!w) return fail_mem(err);
    w->N = stack->N, w->K = stack->K, w->width = pick_width(w->N), w->kernels = kernels_best();
    w->n_slice = (w->N + w->width - 1) / w->width;

    bool joined = false;
    pgr_status status = cpu_best()->dnnl_f32 ? PGR_OK : PGR_E_UNSUPPORTED;
    if (status == PGR_OK) status = cache_join();
    joined = status == PGR_OK;
    if (status == PGR_OK) status = pack(w, stack, threads);
    status = explain(status, w, err);
    if (status == PGR_OK)
        *out = w;
    else if (joined)
        dnnl_weights_free(w);
    else
        mem_free(w);
    return status;
}

void dnnl_weights_free(dnnl_weights *w) {
    if (!w) return;
    for (size_t i = 0; w->slices && i < w->n_slice; i++)
        if (w->slices[i]) dnnl_memory_destroy(w->slices[i]);
    mem_free(w->slices);
    mem_free(w->data);
    mem_free(w);
    cache_leave();
}

size_t dnnl_weights_bytes(const dnnl_weights *w) {
    return sizeof *w + w->data_size;
}

/* ---- running ---- */

typedef struct run_job {
    const dnnl_weights *w;
    const gemm_call *call;
    const float *x; /* (M, K) dense rows: oneDNN's blocked kernels take no others */
    size_t panel;   /* rows of the tallest panels */
    atomic_int status;
} run_job;

/* Panel i of M rows: as many of the tallest as fit, then the tallest that fit the rest. False behind the last. */
static bool find_panel(size_t M, size_t tallest, size_t i, size_t *first, size_t *panel) {
    size_t full = M / panel_rows[tallest];
    if (i < full) {
        *first = i * panel_rows[tallest];
        *panel = tallest;
        return true;
    }
    *first = full * panel_rows[tallest];
    for (size_t left = i - full;; left--) {
        size_t p = N_PANEL - 1, rest = M - *first;
        if (rest == 0) return false;
        while (panel_rows[p] > rest) p--;
        *panel = p;
        if (left == 0) return true;
        *first += panel_rows[p];
    }
}

/* The tallest panels that still give every thread several tasks. */
static size_t pick_panel(const dnnl_weights *w, size_t M, size_t n_thread) {
    size_t p = N_PANEL - 1;
    while (panel_rows[p] > 16 && w->n_slice * (M / panel_rows[p]) < 4 * n_thread) p--;
    return p;
}

/* sum: (rows, width of the slice), to its place in out */
static void put_panel(const run_job *job, const float *sum, size_t m0, size_t rows, size_t slice) {
    const dnnl_weights *w = job->w;
    size_t n = slice_width(w, slice), n0 = slice * w->width;
    for (size_t m = m0; m < m0 + rows; m++, sum += n) {
        float *out = job->call->out + m * w->N + n0;
        if (job->call->add)
            w->kernels->add(out, sum, n);
        else
            memcpy(out, sum, n * sizeof *out);
    }
}

static void run_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    run_job *job = ctx;
    const dnnl_weights *w = job->w;
    size_t slice = task % w->n_slice, m0 = 0, panel = 0;
    PGR_ASSERT(find_panel(job->call->M, job->panel, task / w->n_slice, &m0, &panel));

    int threads = single_thread();
    const shape *s = slice_shape(w, slice);
    runner *r = NULL;
    dnnl_primitive_t matmul = NULL;
    pgr_status status = runner_take(s, panel, &r, &matmul);
    if (status == PGR_OK) {
        status = run_matmul(r, matmul, job->x + m0 * w->K, w->slices[slice]);
        if (status == PGR_OK) put_panel(job, r->dst_data, m0, panel_rows[panel], slice);
        runner_give(s, panel, r);
    }
    if (status != PGR_OK) atomic_store(&job->status, (int)status);
    omp_set_num_threads(threads);
}

pgr_status dnnl_weights_run(const dnnl_weights *w, const gemm_call *call, pool *threads, pgr_error *err) {
    size_t M = call->M;
    if (call->before) step_run(call->before, M, threads);
    run_job job = {.w = w, .call = call, .x = call->x, .panel = pick_panel(w, M, pool_size(threads))};
    scratch *dense = NULL;
    if (call->ldx && call->ldx != w->K) {
        dense = scratch_take(M * w->K * sizeof(float));
        if (!dense) return fail_mem(err);
        for (size_t m = 0; m < M; m++)
            memcpy((float *)dense->data + m * w->K, call->x + m * call->ldx, w->K * sizeof(float));
        job.x = dense->data;
    }

    size_t n_panel = M / panel_rows[job.panel], first, panel;
    while (find_panel(M, job.panel, n_panel, &first, &panel)) n_panel++;
    pool_run(threads, w->n_slice * n_panel, run_task, &job);
    scratch_give(dense);
    return explain((pgr_status)atomic_load(&job.status), w, err);
}
