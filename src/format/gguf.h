/* gguf.h - reads GGUF v3 files (docs/formats.md, "GGUF"): key-value pairs and the directory of tensors, all bounds
 * checked. Owns the mapping; knows nothing of what keys and tensors mean. */
#ifndef PGR_FORMAT_GGUF_H
#define PGR_FORMAT_GGUF_H

#include "base/arena.h"
#include "base/file.h"
#include "math/quant.h"

typedef enum gguf_kind {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING, GGUF_ARRAY, GGUF_U64,
    GGUF_I64, GGUF_F64, GGUF_N_KIND
} gguf_kind;

typedef struct gguf_string { /* bytes in the mapping, not NUL-terminated */
    const char *s;
    size_t n;
} gguf_string;

typedef struct gguf_value {
    gguf_string key;
    gguf_kind kind;
    gguf_kind item;      /* of an array */
    size_t n;            /* items of an array */
    const uint8_t *data; /* first byte of the value, or of an array's first item */
    const gguf_string *strings; /* (n) items of an array of strings */
} gguf_value;

enum { GGUF_MAX_DIMS = 4 };

typedef struct gguf_tensor {
    gguf_string name;
    uint32_t type;      /* a quant_type where quant_known(type) */
    size_t n_dim;
    size_t dim[GGUF_MAX_DIMS]; /* fastest first; 1 beyond n_dim */
    const void *data;   /* NULL where the type is not known */
    size_t bytes, offset; /* offset in the file */
} gguf_tensor;

typedef struct gguf {
    char *path;
    file_map map; /* empty where the bytes are in memory */
    arena arena;
    gguf_value *values;
    size_t n_value;
    gguf_tensor *tensors;
    size_t n_tensor;
    size_t alignment;
    size_t *tensor_index; /* open-addressing hash of names, private */
    size_t n_index;
    /* (n_rest) the other files of a model split into several, in their order; values are those of the first */
    struct gguf *rest;
    size_t n_rest;
} gguf;

/* With all its parts, where the file is the first of several (split.count, NAME-00001-of-0000N.gguf). */
pgr_status gguf_open(const char *path, gguf *out, pgr_error *err);
/* The same over bytes in memory (tests, fuzzing); data must outlive the gguf. */
pgr_status gguf_open_memory(const uint8_t *data, size_t size, const char *name, gguf *out, pgr_error *err);
void gguf_close(gguf *g);

const gguf_value *gguf_find(const gguf *g, const char *key); /* NULL if absent */
const gguf_tensor *gguf_find_tensor(const gguf *g, const char *name); /* in any part */

/* Opens what a first part leaves to others: all that split.count says, checked to be of one set. gguf_split.c */
pgr_status gguf_open_rest(gguf *g, pgr_error *err);

/* Typed look-ups. Absent: PGR_E_FORMAT, or with a fallback the fallback.
 * A wrong kind is always an error naming the key. */
pgr_status gguf_get_u32(const gguf *g, const char *key, uint32_t *out, pgr_error *err);
pgr_status gguf_get_u32_or(const gguf *g, const char *key, uint32_t fallback, uint32_t *out, pgr_error *err);
pgr_status gguf_get_f32_or(const gguf *g, const char *key, float fallback, float *out, pgr_error *err);
pgr_status gguf_get_bool_or(const gguf *g, const char *key, bool fallback, bool *out, pgr_error *err);
pgr_status gguf_get_string(const gguf *g, const char *key, gguf_string *out, pgr_error *err); /* absent: error */
/* absent: error */
pgr_status gguf_get_array(const gguf *g, const char *key, gguf_kind item, const gguf_value **out, pgr_error *err);
int32_t gguf_array_i32(const gguf_value *array, size_t i); /* of an array of I32 or U32 */
float gguf_array_f32(const gguf_value *array, size_t i);   /* of an array of F32 */

bool gguf_string_is(gguf_string a, const char *b);

#endif
