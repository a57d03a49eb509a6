/* model.h - an opened model: file, config, weights, tokenizer, chat template, threads. Read-only after open. */
#ifndef PGR_MODEL_MODEL_H
#define PGR_MODEL_MODEL_H

#include "model/chat.h"
#include "model/config.h"
#include "math/kernels.h"
#include "model/weights.h"

struct pgr_model {
    gguf file;
    arena arena;          /* of the source */
    tensor_source source; /* the file's tensors */
    config config;
    weights weights;
    tokenizer *tok;
    chat_template chat;
    pool *threads;
    const kernels *k;
    char *name;
    pgr_dtype dtype;
    double load_s;
};

/* $PGENRM_HOME, else $XDG_CACHE_HOME/pgenrm, else ~/.cache/pgenrm. The caller's (mem_free); NULL when out of memory. */
char *model_cache_folder(void);

#endif
