/* gguf_write.h - writes GGUF v3 files: keys, the directory of tensors, then the tensors' bytes in that order, which
 * need not fit into memory. The file gets its name when it is whole. */
#ifndef PGR_FORMAT_GGUF_WRITE_H
#define PGR_FORMAT_GGUF_WRITE_H

#include "base/buf.h"
#include "base/file_out.h"
#include "format/gguf.h"

typedef struct gguf_writer {
    buf values, directory; /* failure sticks, gguf_write_begin asks for it */
    uint64_t n_value, n_tensor;
    uint64_t size;         /* of the data of all tensors, padding between them included */
    buf sizes;             /* (n_tensor) uint64_t, bytes of each */
    size_t at;             /* tensor that is being written */
    uint64_t done;         /* bytes of it */
    file_out file;
} gguf_writer; /* all zero at first, given back by gguf_write_end or gguf_write_abort */

void gguf_put_u32(gguf_writer *w, const char *key, uint32_t v);
void gguf_put_f32(gguf_writer *w, const char *key, float v);
void gguf_put_bool(gguf_writer *w, const char *key, bool v);
void gguf_put_string(gguf_writer *w, const char *key, const char *s, size_t n);
/* Begins an array; exactly n items of that kind follow, by gguf_item_*. */
void gguf_put_array(gguf_writer *w, const char *key, gguf_kind item, size_t n);
void gguf_item_string(gguf_writer *w, const char *s, size_t n);
void gguf_item_i32(gguf_writer *w, int32_t v);
void gguf_item_f32(gguf_writer *w, float v);
/* As another file has it. */
void gguf_put_value(gguf_writer *w, const gguf_value *v);

/* Enters a tensor into the directory. dim: (n_dim) fastest first, a multiple of the type's block. */
void gguf_put_tensor(gguf_writer *w, const char *name, quant_type type, const size_t *dim, size_t n_dim);

pgr_status gguf_write_begin(gguf_writer *w, const char *path, pgr_error *err);
/* The next bytes of the tensors, one after the other as they were entered; a call gives bytes of one tensor only. */
pgr_status gguf_write_data(gguf_writer *w, const void *p, size_t n, pgr_error *err);
/* *bytes: of the file; may be NULL */
pgr_status gguf_write_end(gguf_writer *w, uint64_t *bytes, pgr_error *err);
void gguf_write_abort(gguf_writer *w);

#endif
