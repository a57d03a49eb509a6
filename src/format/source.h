/* source.h - the tensors of a model file by name, whatever the format; bind.h takes them. */
#ifndef PGR_FORMAT_SOURCE_H
#define PGR_FORMAT_SOURCE_H

#include "base/arena.h"
#include "base/file.h"
#include "math/quant.h"

typedef struct source_tensor {
    const char *name;    /* as the file has it */
    uint32_t type;       /* a quant_type where quant_known(type) */
    size_t n_dim;
    size_t dim[4];       /* fastest first; 1 beyond n_dim */
    const void *data;    /* NULL where the type is not known */
    size_t bytes;
    const file_map *map; /* the mapping that data lies in, for file_map_drop; NULL: none */
    size_t offset;       /* of data in the mapping */
} source_tensor;

typedef enum source_names {
    SOURCE_GGUF, /* blk.0.attn_q.weight */
    SOURCE_HF,   /* model.layers.0.self_attn.q_proj.weight */
} source_names;

typedef struct tensor_source {
    const char *path;       /* file or folder, for messages */
    source_names names;
    source_tensor *tensors; /* (n_tensor), memory of the arena that was given */
    size_t n_tensor;
    size_t *index;          /* open-addressing hash of names, private to source.c */
    size_t n_index;
} tensor_source;

/* After tensors are filled in: builds the index. A name that comes twice is an error. */
pgr_status source_index(tensor_source *s, arena *a, pgr_error *err);
const source_tensor *source_find(const tensor_source *s, const char *name); /* NULL: absent */

struct gguf;
/* The tensors of an opened GGUF file, which must outlive the source. */
pgr_status source_from_gguf(const struct gguf *g, arena *a, tensor_source *out, pgr_error *err);

#endif
