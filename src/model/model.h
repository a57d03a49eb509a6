/* model.h - an opened model: file, config, weights, tokenizer, chat template, threads. Read-only after open. */
#ifndef PGR_MODEL_MODEL_H
#define PGR_MODEL_MODEL_H

#include "math/vector.h"
#include "model/checkpoint.h"
#include "model/weights.h"

struct pgr_model {
    checkpoint from;
    config config;      /* these three are the checkpoint's, which frees what they point to */
    tokenizer *tok;
    chat_template chat;
    weights weights;
    pool *threads;
    ops *ops;         /* what computes it, on these threads */
    const kernels *k; /* for what is done with its results in the host's memory */
    pgr_dtype dtype;
    double load_s;
};

pgr_dtype model_dtype(pgr_dtype asked);   /* auto is looked up; warns where this CPU is slow at it */
pgr_dtype model_dtype_trained(void);       /* bf16 or f32: the one whose products this kind of CPU does faster */
gemm_form model_form(pgr_dtype dtype); /* the form of a model's matrices */
/* How K and V are kept: as the matrices are rounded, where the CPU has kernels for it that take heads of that size. */
kv_type model_dtype_kv(pgr_dtype dtype, size_t head_dim);
kv_type model_kv(const pgr_model *m);

/* pgr_model_open is a language model's; this is a score head's, which has no output: forward_hidden alone takes it. */
pgr_status model_open_score(const char *path, const pgr_model_options *options, pgr_model **out, pgr_error *err);
/* Either. */
pgr_status model_open_any(const char *path, const pgr_model_options *options, pgr_model **out, pgr_error *err);

/* name as a path, else below the cache folder; *out is the caller's (mem_free). hint: how to get it, ends the
 * message; "": none. */
pgr_status model_find_path(const char *name, const char *hint, char **out, pgr_error *err);

#endif
