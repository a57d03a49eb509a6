/* gguf_write.c - owns the bytes of GGUF v3 as they are written: little-endian, data aligned to 32. */
#include "format/gguf_write.h"

#include <string.h>

enum { ALIGNMENT = 32 };

static const uint8_t kind_sizes[GGUF_N_KIND] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}; /* 0: of no fixed size */

static void put_int(buf *b, uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++) buf_putc(b, (char)(uint8_t)(v >> (8 * i)));
}

static void put_text(buf *b, const char *s, size_t n) {
    put_int(b, n, 8);
    buf_add(b, s, n);
}

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* ---- keys ---- */

static void put_key(gguf_writer *w, const char *key, size_t n, gguf_kind kind) {
    put_text(&w->values, key, n);
    put_int(&w->values, kind, 4);
    w->n_value++;
}

void gguf_put_u32(gguf_writer *w, const char *key, uint32_t v) {
    put_key(w, key, strlen(key), GGUF_U32);
    put_int(&w->values, v, 4);
}

void gguf_put_f32(gguf_writer *w, const char *key, float v) {
    put_key(w, key, strlen(key), GGUF_F32);
    put_int(&w->values, bits_of(v), 4);
}

void gguf_put_bool(gguf_writer *w, const char *key, bool v) {
    put_key(w, key, strlen(key), GGUF_BOOL);
    put_int(&w->values, v, 1);
}

void gguf_put_string(gguf_writer *w, const char *key, const char *s, size_t n) {
    put_key(w, key, strlen(key), GGUF_STRING);
    put_text(&w->values, s, n);
}

void gguf_put_array(gguf_writer *w, const char *key, gguf_kind item, size_t n) {
    put_key(w, key, strlen(key), GGUF_ARRAY);
    put_int(&w->values, item, 4);
    put_int(&w->values, n, 8);
}

void gguf_item_string(gguf_writer *w, const char *s, size_t n) {
    put_text(&w->values, s, n);
}

void gguf_item_i32(gguf_writer *w, int32_t v) {
    put_int(&w->values, (uint32_t)v, 4);
}

void gguf_item_f32(gguf_writer *w, float v) {
    put_int(&w->values, bits_of(v), 4);
}

void gguf_put_value(gguf_writer *w, const gguf_value *v) {
    put_key(w, v->key.s, v->key.n, v->kind);
    if (v->kind == GGUF_STRING) {
        uint64_t n = 0;
        for (size_t i = 8; i-- > 0;) n = n << 8 | v->data[i];
        buf_add(&w->values, v->data, 8 + (size_t)n);
    } else if (v->kind != GGUF_ARRAY) {
        buf_add(&w->values, v->data, kind_sizes[v->kind]);
    } else {
        put_int(&w->values, v->item, 4);
        put_int(&w->values, v->n, 8);
        if (v->item == GGUF_STRING)
            for (size_t i = 0; i < v->n; i++) put_text(&w->values, v->strings[i].s, v->strings[i].n);
        else
            buf_add(&w->values, v->data, v->n * kind_sizes[v->item]);
    }
}

/* ---- tensors ---- */

static uint64_t aligned(uint64_t n) {
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void gguf_put_tensor(gguf_writer *w, const char *name, quant_type type, const size_t *dim, size_t n_dim) {
    uint64_t bytes = quant_row_bytes(type, dim[0]);
    PGR_ASSERT(n_dim >= 1 && n_dim <= GGUF_MAX_DIMS && dim[0] % quant_block(type) == 0);
    put_text(&w->directory, name, strlen(name));
    put_int(&w->directory, n_dim, 4);
    for (size_t d = 0; d < n_dim; d++) {
        put_int(&w->directory, dim[d], 8);
        if (d > 0) bytes *= dim[d];
    }
    put_int(&w->directory, type, 4);
    put_int(&w->directory, w->size, 8);
    buf_add(&w->sizes, &bytes, sizeof bytes);
    w->size += aligned(bytes);
    w->n_tensor++;
}

/* ---- the file ---- */

static pgr_status pad(gguf_writer *w, uint64_t n, pgr_error *err) {
    static const uint8_t zeros[ALIGNMENT];
    return file_out_write(&w->file, zeros, (size_t)(aligned(n) - n), err);
}

pgr_status gguf_write_begin(gguf_writer *w, const char *path, pgr_error *err) {
    buf head = {0};
    buf_puts(&head, "GGUF");
    put_int(&head, 3, 4);
    put_int(&head, w->n_tensor, 8);
    put_int(&head, w->n_value, 8);
    pgr_status status = PGR_OK;
    if (head.failed || w->values.failed || w->directory.failed || w->sizes.failed) status = fail_mem(err);
    if (status == PGR_OK) status = file_out_open(path, &w->file, err);
    if (status == PGR_OK) status = file_out_write(&w->file, head.data, head.n, err);
    if (status == PGR_OK) status = file_out_write(&w->file, w->values.data, w->values.n, err);
    if (status == PGR_OK) status = file_out_write(&w->file, w->directory.data, w->directory.n, err);
    if (status == PGR_OK) status = pad(w, w->file.n, err);
    buf_free(&head);
    return status;
}

static uint64_t size_at(const gguf_writer *w, size_t i) {
    uint64_t n;
    memcpy(&n, w->sizes.data + i * sizeof n, sizeof n);
    return n;
}

pgr_status gguf_write_data(gguf_writer *w, const void *p, size_t n, pgr_error *err) {
    PGR_ASSERT(w->at < w->n_tensor && n <= size_at(w, w->at) - w->done);
    PGR_TRY(file_out_write(&w->file, p, n, err));
    w->done += n;
    if (w->done < size_at(w, w->at)) return PGR_OK;
    PGR_TRY(pad(w, w->done, err));
    w->at++;
    w->done = 0;
    return PGR_OK;
}

static void release(gguf_writer *w) {
    buf_free(&w->values);
    buf_free(&w->directory);
    buf_free(&w->sizes);
    *w = (gguf_writer){0};
}

pgr_status gguf_write_end(gguf_writer *w, uint64_t *bytes, pgr_error *err) {
    PGR_ASSERT(w->at == w->n_tensor);
    if (bytes) *bytes = w->file.n;
    pgr_status status = file_out_commit(&w->file, err);
    release(w);
    return status;
}

void gguf_write_abort(gguf_writer *w) {
    file_out_abort(&w->file);
    release(w);
}
