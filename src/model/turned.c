/* turned.c - reads matrices of the file row by row into columns, and hands them to the device. */
#include "model/turned.h"

#include "base/mem.h"

enum { BLOCK = 16 }; /* rows that are turned together: a line of the result at a time */

typedef struct turn_job {
    const source_tensor *t;
    float *out; /* (K, N) */
    size_t N, column;
    float *rows; /* (workers, BLOCK, K) */
} turn_job;

static void turn_rows(void *ctx, size_t task, size_t worker) {
    const turn_job *job = ctx;
    size_t K = job->t->dim[0], first = task * BLOCK,
           n = job->t->dim[1] - first < BLOCK ? job->t->dim[1] - first : BLOCK;
    quant_type type = (quant_type)job->t->type;
    float *rows = job->rows + worker * BLOCK * K;
    for (size_t i = 0; i < n; i++)
        quant_dequant(type, rows + i * K, (const uint8_t *)job->t->data + (first + i) * quant_row_bytes(type, K), K);
    for (size_t k = 0; k < K; k++)
        for (size_t i = 0; i < n; i++) job->out[k * job->N + job->column + first + i] = rows[i * K + k];
}

static gemm_form form_of(pgr_dtype dtype) {
    return dtype == PGR_DTYPE_EXACT ? GEMM_F32 : model_form(dtype);
}

/* n matrices with the same columns, one below the other. */
static pgr_status turn(const pgr_model *m, const source_tensor *const *t, size_t n, slab *memory, matrix **out,
                       pgr_error *err) {
    size_t K = t[0]->dim[0], N = 0;
    for (size_t i = 0; i < n; i++) N += t[i]->dim[1];
    float *turned = mem_array(K, N * sizeof *turned);
    float *rows = mem_array(pool_size(m->threads) * BLOCK, K * sizeof *rows);
    pgr_status s = turned && rows ? PGR_OK : fail_mem(err);
    turn_job job = {.out = turned, .N = N, .rows = rows};
    for (size_t i = 0; s == PGR_OK && i < n; job.column += t[i++]->dim[1]) {
        job.t = t[i];
        pool_run(m->threads, (t[i]->dim[1] + BLOCK - 1) / BLOCK, turn_rows, &job);
    }
    gemm_part part = {QUANT_F32, turned, K};
    if (s == PGR_OK) s = matrix_create(m->ops, form_of(m->dtype), &part, 1, N, memory, out, err);
    mem_free(turned);
    mem_free(rows);
    return s;
}

pgr_status turned_product(const pgr_model *m, size_t layer, layer_product product, slab *memory, matrix **out,
                          pgr_error *err) {
    static const struct {
        size_t first, n;
    } of[] = {
#define X(field, first, n) {LAYER_##first, n},
        LAYER_PRODUCTS(X)
#undef X
    };
    return turn(m, &m->weights.layers[layer].file[of[product].first], of[product].n, memory, out, err);
}

pgr_status turned_head(const pgr_model *m, slab *memory, matrix **out, pgr_error *err) {
    return turn(m, &m->weights.head, 1, memory, out, err);
}
