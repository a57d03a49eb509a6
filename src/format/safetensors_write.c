/* safetensors_write.c - owns the bytes of safetensors files as they are written: the header padded to 8 bytes, the data
 * in the header's order without holes; the index over several. */
#include "format/safetensors_write.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

pgr_status safetensors_begin(safetensors_writer *w, const char *folder, size_t n_tensor, pgr_error *err) {
    w->folder = folder;
    w->cap = n_tensor;
    w->tensors = arena_array(&w->arena, n_tensor + 1, sizeof *w->tensors);
    return w->tensors ? PGR_OK : fail_mem(err);
}

void safetensors_put_tensor(safetensors_writer *w, const char *name, quant_type type, const size_t *dim, size_t n_dim) {
    PGR_ASSERT(w->n < w->cap && n_dim >= 1 && n_dim <= 4 && quant_block(type) == 1);
    out_tensor *t = &w->tensors[w->n++];
    *t = (out_tensor){.name = name, .type = type, .n_dim = n_dim, .bytes = quant_row_bytes(type, 1)};
    for (size_t d = 0; d < n_dim; d++) t->bytes *= t->dim[d] = dim[d];
}

void safetensors_divide(safetensors_writer *w, uint64_t limit) {
    uint64_t size = 0;
    for (size_t i = 0; i < w->n; i++) {
        bool next = i > 0 && w->tensors[i].bytes > limit - size;
        if (next) size = 0;
        w->tensors[i].shard = i > 0 ? w->tensors[i - 1].shard + next : 0;
        size += w->tensors[i].bytes;
        if (size > limit) size = limit; /* a tensor larger than a file has one of its own */
        w->n_shard = w->tensors[i].shard + 1;
    }
}

static void put_file_name(const safetensors_writer *w, size_t shard, buf *b) {
    if (w->n_shard == 1)
        buf_puts(b, "model.safetensors");
    else
        buf_printf(b, "model-%05zu-of-%05zu.safetensors", shard + 1, w->n_shard);
}

/* ---- one file ---- */

static void put_entry(const out_tensor *t, uint64_t begin, buf *b) {
    json_put_string(b, t->name, strlen(t->name));
    buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", quant_name((uint32_t)t->type));
    for (size_t d = 0; d < t->n_dim; d++) buf_printf(b, "%s%zu", d ? "," : "", t->dim[d]);
    buf_printf(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin, (unsigned long long)(begin + t->bytes));
}

/* Length and JSON of the file that begins with tensor w->at. */
static void put_header(const safetensors_writer *w, buf *b) {
    uint64_t at = 0;
    buf_add(b, "\0\0\0\0\0\0\0\0", 8);
    buf_puts(b, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = w->at; i < w->n && w->tensors[i].shard == w->tensors[w->at].shard; i++) {
        buf_putc(b, ',');
        put_entry(&w->tensors[i], at, b);
        at += w->tensors[i].bytes;
    }
    buf_putc(b, '}');
    while (b->n % 8 && !b->failed) buf_putc(b, ' ');
    for (size_t i = 0; i < 8 && !b->failed; i++) b->data[i] = (char)(uint8_t)((uint64_t)(b->n - 8) >> (8 * i));
}

static pgr_status begin_file(safetensors_writer *w, pgr_error *err) {
    buf path = {0}, header = {0};
    buf_printf(&path, "%s/", w->folder);
    put_file_name(w, w->tensors[w->at].shard, &path);
    put_header(w, &header);
    pgr_status status = path.failed || header.failed ? fail_mem(err) : file_out_open(path.data, &w->file, err);
    if (status == PGR_OK) status = file_out_write(&w->file, header.data, header.n, err);
    buf_free(&path);
    buf_free(&header);
    return status;
}

pgr_status safetensors_write_data(safetensors_writer *w, const void *p, size_t n, pgr_error *err) {
    PGR_ASSERT(w->at < w->n && n <= w->tensors[w->at].bytes - w->done);
    if (!w->file.part) PGR_TRY(begin_file(w, err));
    PGR_TRY(file_out_write(&w->file, p, n, err));
    w->done += n;
    if (w->done < w->tensors[w->at].bytes) return PGR_OK;
    w->at++;
    w->done = 0;
    if (w->at < w->n && w->tensors[w->at].shard == w->tensors[w->at - 1].shard) return PGR_OK;
    w->total += w->file.n;
    return file_out_commit(&w->file, err);
}

/* ---- the index ---- */

static pgr_status write_index(safetensors_writer *w, pgr_error *err) {
    buf b = {0}, path = {0};
    uint64_t size = 0;
    for (size_t i = 0; i < w->n; i++) size += w->tensors[i].bytes;
    buf_printf(&path, "%s/model.safetensors.index.json", w->folder);
    buf_printf(&b, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {",
               (unsigned long long)size);
    for (size_t i = 0; i < w->n; i++) {
        buf_puts(&b, i ? ",\n    " : "\n    ");
        json_put_string(&b, w->tensors[i].name, strlen(w->tensors[i].name));
        buf_puts(&b, ": \"");
        put_file_name(w, w->tensors[i].shard, &b);
        buf_putc(&b, '"');
    }
    buf_puts(&b, "\n  }\n}\n");
    w->total += b.n;
    pgr_status status = b.failed || path.failed ? fail_mem(err) : file_write(path.data, b.data, b.n, err);
    buf_free(&b);
    buf_free(&path);
    return status;
}

pgr_status safetensors_write_end(safetensors_writer *w, uint64_t *bytes, pgr_error *err) {
    PGR_ASSERT(w->at == w->n);
    if (w->n_shard > 1) PGR_TRY(write_index(w, err));
    if (bytes) *bytes = w->total;
    safetensors_write_abort(w);
    return PGR_OK;
}

void safetensors_write_abort(safetensors_writer *w) {
    file_out_abort(&w->file);
    arena_free(&w->arena);
    *w = (safetensors_writer){0};
}
