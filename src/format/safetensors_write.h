/* safetensors_write.h - writes a folder's weights: model.safetensors, or where they are larger than a limit several
 * files of at most that size (at least one tensor each) with model.safetensors.index.json. */
#ifndef PGR_FORMAT_SAFETENSORS_WRITE_H
#define PGR_FORMAT_SAFETENSORS_WRITE_H

#include "base/arena.h"
#include "base/file_out.h"
#include "math/quant.h"

#define SAFETENSORS_SHARD ((uint64_t)5000000000) /* bytes of data per file, as transformers does */

typedef struct out_tensor { /* private */
    const char *name;
    quant_type type;
    size_t dim[4], n_dim; /* slowest first */
    uint64_t bytes;
    size_t shard;
} out_tensor;

typedef struct safetensors_writer {
    const char *folder;
    out_tensor *tensors; /* (cap) */
    size_t n, cap, n_shard;
    size_t at;           /* tensor that is being written */
    uint64_t done;       /* bytes of it */
    uint64_t total;      /* bytes of all files that are whole */
    file_out file;
    arena arena;
} safetensors_writer; /* all zero at first, given back by safetensors_write_end or _abort */

/* folder must outlive the writer. */
pgr_status safetensors_begin(safetensors_writer *w, const char *folder, size_t n_tensor, pgr_error *err);
/* Enters a tensor of type F32, F16 or BF16. name must outlive the writer; dim: (n_dim) slowest first. */
void safetensors_put_tensor(safetensors_writer *w, const char *name, quant_type type, const size_t *dim, size_t n_dim);
/* After all tensors: chooses the files, limit bytes of data each. */
void safetensors_divide(safetensors_writer *w, uint64_t limit);
/* The next bytes of the tensors, one after the other as they were entered; a call gives bytes of one tensor only. */
pgr_status safetensors_write_data(safetensors_writer *w, const void *p, size_t n, pgr_error *err);
/* *bytes: of all files; may be NULL. On error the caller still aborts. */
pgr_status safetensors_write_end(safetensors_writer *w, uint64_t *bytes, pgr_error *err);
void safetensors_write_abort(safetensors_writer *w); /* files that are whole stay */

#endif
