/* safetensors.h - reads the weights of a Hugging Face folder: model.safetensors or its shards, all bounds checked
 * (docs/formats.md, "safetensors"). Owns the mappings; knows nothing of what tensors mean. */
#ifndef PGR_FORMAT_SAFETENSORS_H
#define PGR_FORMAT_SAFETENSORS_H

#include "base/arena.h"
#include "base/file.h"
#include "format/source.h"

/* Tensors have the types F32, F16 and BF16. Whole numbers (I64 position ids and the like) are kept as tensors whose
 * type is not known; a tensor of any other dtype (I8, U8, F8_*, F64 ...) is an error that names it. Data stands at any
 * address: quant_dequant reads it, a cast to float * does not. */
typedef struct safetensors {
    tensor_source source; /* SOURCE_HF */
    file_map *maps;       /* (n_map) one per file */
    size_t n_map;
    arena arena;
} safetensors;

/* path: a folder with model.safetensors, or with model.safetensors.index.json and the files that it names; or one
 * .safetensors file. */
pgr_status safetensors_open(const char *path, safetensors *out, pgr_error *err);
/* One file's bytes in memory (tests, fuzzing); data must outlive the result. */
pgr_status safetensors_open_memory(const uint8_t *data, size_t size, const char *name, safetensors *out,
                                   pgr_error *err);
void safetensors_close(safetensors *s);

/* model.safetensors.index.json: tensor i is in file file_of[i]. */
typedef struct shard_index {
    const char **tensors; /* (n_tensor) */
    size_t *file_of;      /* (n_tensor) */
    size_t n_tensor;
    const char **files; /* (n_file) names without a folder, each once */
    size_t n_file;
} shard_index;

/* Memory of a. */
pgr_status shard_index_parse(const char *text, size_t n, const char *origin, arena *a, shard_index *out,
                             pgr_error *err);

#endif
