/* export.c - owns the making of tensors for a new file: rows in their new order, adapters added in fp32, rounded to the
 * new type; in chunks, the rows of a chunk by all threads. */
#include "export/export.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/watch.h"

enum {
    CHUNK = 1 << 21 /* values at once: 8 MiB in fp32 */,
    TASK = 1 << 15 /* values that one thread takes at a time */
};

/* The chunk that is being made. */
typedef struct chunk {
    const export_tensor *t;
    size_t first, n;     /* rows of the new tensor */
    size_t per_task;     /* rows */
    size_t row_bytes;    /* of the new tensor */
    float *values;       /* (n, cols); NULL: bytes are copied */
    uint8_t *out;        /* (n, row_bytes) */
    atomic_size_t wrong; /* a row whose values do not fit the type, + 1; 0: none */
} chunk;

/* The row of the model's own tensor that stands in row r of the new one. Within a head, the first and the second half
 * of the rows alternate: rotated values 2i, 2i + 1 there are i, head_dim / 2 + i here. */
static size_t source_row(const export_tensor *t, size_t r) {
    if (t->head_dim == 0) return r;
    size_t in_head = r % t->head_dim;
    return r - in_head + in_head % 2 * (t->head_dim / 2) + in_head / 2;
}

static bool is_copy(const export_tensor *t) {
    return !t->values && t->n_delta == 0 && t->from->type == (uint32_t)t->type;
}

static const uint8_t *source_bytes(const export_tensor *t, size_t row) {
    return (const uint8_t *)t->from->data + row * quant_row_bytes((quant_type)t->from->type, t->cols);
}

static void make_row(chunk *c, size_t i) {
    const export_tensor *t = c->t;
    size_t row = source_row(t, c->first + i);
    uint8_t *out = c->out + i * c->row_bytes;
    if (!c->values) {
        memcpy(out, source_bytes(t, row), c->row_bytes);
        return;
    }
    float *x = c->values + i * t->cols;
    if (t->values)
        memcpy(x, t->values + row * t->cols, t->cols * sizeof *x);
    else
        quant_dequant((quant_type)t->from->type, x, source_bytes(t, row), t->cols);
    for (size_t k = 0; k < t->n_delta; k++) lowrank_add_row(&t->deltas[k], x, row);
    if (!quant_quantise(t->type, out, x, t->cols)) atomic_store(&c->wrong, row + 1);
}

static void make_rows(void *ctx, size_t task, size_t worker) {
    (void)worker;
    chunk *c = ctx;
    size_t begin = task * c->per_task, end = begin + c->per_task;
    for (size_t i = begin; i < (end < c->n ? end : c->n); i++) make_row(c, i);
}

static pgr_status check_chunk(const chunk *c, const export_run *run, pgr_error *err) {
    size_t wrong = atomic_load(&c->wrong);
    if (wrong)
        return fail(err, PGR_E_FORMAT, "%s: tensor %s: row %zu has a value that is not finite or does not fit into %s",
                    run->path, c->t->name, wrong - 1, quant_name((uint32_t)c->t->type));
    PGR_TRY(watch_check(&run->watch, err));
    return PGR_OK;
}

/* Rows of a chunk and the memory for them. */
static pgr_status begin_chunk(const export_tensor *t, chunk *c, pgr_error *err) {
    size_t rows = CHUNK / t->cols, per_task = TASK / t->cols;
    *c = (chunk){.t = t, .per_task = per_task ? per_task : 1, .row_bytes = quant_row_bytes(t->type, t->cols)};
    c->n = rows == 0 ? 1 : rows < t->rows ? rows : t->rows;
    c->out = mem_array(c->n, c->row_bytes);
    c->values = is_copy(t) ? NULL : mem_array(c->n * t->cols, sizeof *c->values);
    return c->out && (c->values || is_copy(t)) ? PGR_OK : fail_mem(err);
}

/* What the chunk was made of may leave memory: models are larger than it. */
static void drop_pages(const chunk *c) {
    const source_tensor *from = c->t->from;
    size_t bytes = from ? quant_row_bytes((quant_type)from->type, c->t->cols) : 0;
    if (from && from->map) file_map_drop(from->map, from->offset + c->first * bytes, c->n * bytes);
}

static pgr_status make_tensor(const export_tensor *t, const export_run *run, uint64_t *done, uint64_t total,
                              pgr_error *err) {
    chunk c;
    pgr_status status = begin_chunk(t, &c, err);
    size_t rows = c.n;
    while (status == PGR_OK && c.first < t->rows) {
        c.n = rows < t->rows - c.first ? rows : t->rows - c.first;
        pool_run(run->threads, (c.n + c.per_task - 1) / c.per_task, make_rows, &c);
        status = check_chunk(&c, run, err);
        if (status == PGR_OK) status = run->put(run->put_ctx, c.out, c.n * c.row_bytes, err);
        drop_pages(&c);
        c.first += c.n;
        *done += c.n * c.row_bytes;
        watch_report(&run->watch, "writing", *done >> 20, total >> 20, "MiB");
    }
    mem_free(c.out);
    mem_free(c.values);
    return status;
}

pgr_status export_tensors(const export_plan *p, const export_run *run, pgr_error *err) {
    uint64_t done = 0, total = 0;
    for (size_t i = 0; i < p->n; i++)
        total += p->tensors[i].rows * quant_row_bytes(p->tensors[i].type, p->tensors[i].cols);
    for (size_t i = 0; i < p->n; i++) PGR_TRY(make_tensor(&p->tensors[i], run, &done, total, err));
    return PGR_OK;
}
