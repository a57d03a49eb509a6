/* export.h - a model's tensors on their way into another file: which they are, how each is made, and the making, a few
 * megabytes at a time. convert.c and merge.c fill in plans, gguf_write.c and safetensors_write.c take the bytes. */
#ifndef PGR_EXPORT_EXPORT_H
#define PGR_EXPORT_EXPORT_H

#include "model/checkpoint.h"
#include "model/lora.h"

/* A tensor of the new file: its values are `from`'s, or those given, plus the deltas. */
typedef struct export_tensor {
    const char *name;
    const source_tensor *from;
    const float *values;        /* (rows, cols) in place of from; NULL: from */
    size_t rows, cols;
    bool matrix;                /* (rows, cols); else a vector, rows is 1 */
    size_t head_dim;            /* rows are put in the order of interleaved rotation, within heads of so many;
                                 * 0: they stay */
    const lowrank *deltas;      /* (n_delta) what adapters add, their user's scale in it */
    size_t n_delta;
    quant_type type;
} export_tensor;

typedef struct export_plan {
    export_tensor *tensors; /* (n) in the order of the new file */
    size_t n;
    arena arena;
} export_plan;

typedef enum export_names { EXPORT_GGUF, EXPORT_AS_NAMED /* as the source does */ } export_names;

/* What is to become of the types of tensors. */
typedef struct export_types {
    bool keep;          /* matrices keep theirs, but merged: below */
    quant_type matrix;  /* not keep: of all matrices */
    bool vectors_too;   /* safetensors: vectors have that type as well; else they are F32 */
    bool vectors_keep;  /* vectors keep theirs */
} export_types;

typedef struct export_adapter {
    const lora *lora;
    float scale;
} export_adapter;

/* The plan for all tensors of c's model with n adapters merged in. Every tensor of c is used or refused by name, as
 * when a model is opened. *untied: the head, which was the embedding, is a tensor of its own now. adapters must outlive
 * the plan. */
pgr_status export_plan_make(const checkpoint *c, const export_adapter *adapters, size_t n, export_names names,
                            export_types types, export_plan *out, bool *untied, pgr_error *err);
void export_plan_free(export_plan *p);

/* Takes bytes of the plan's tensors, one after the other; a call has bytes of one tensor only. */
typedef pgr_status (*export_put)(void *ctx, const void *p, size_t n, pgr_error *err);

typedef struct export_run {
    export_put put;
    void *put_ctx;
    const char *path; /* of the source, for messages */
    pool *threads;
    pgr_watch watch;
} export_run;

/* Makes all tensors of the plan. Memory: a chunk of 8 MiB in fp32 (at least a row) and its result. */
pgr_status export_tensors(const export_plan *p, const export_run *run, pgr_error *err);

#endif
