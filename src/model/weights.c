/* weights.c - the tensors of weights.h, bound to a file and packed for the products. */
#include "model/weights.h"

#include <stdio.h>

#include "base/watch.h"
#include "format/bind.h"

/* Common to all look-ups. */
typedef struct binder {
    binding tensors;
    const char *prefix; /* of Hugging Face names: "model.", or "" where the bare decoder was saved (embedding models) */
    gemm_form form;
    ops *ops;
    arena *arena;
    slab *packed;
    size_t done, total;
    const pgr_watch *watch;
    pgr_error *err;
    char name[96]; /* of the tensor that is being bound */
} binder;

static const char *name_of(binder *b, const char *gguf, const char *hf) {
    if (b->tensors.s->names == SOURCE_GGUF)
        snprintf(b->name, sizeof b->name, "%s", gguf);
    else
        snprintf(b->name, sizeof b->name, "%s%s", b->prefix, hf);
    return b->name;
}

static const char *layer_name(binder *b, size_t layer, const char *gguf, const char *hf) {
    if (b->tensors.s->names == SOURCE_GGUF)
        snprintf(b->name, sizeof b->name, "blk.%zu.%s", layer, gguf);
    else
        snprintf(b->name, sizeof b->name, "%slayers.%zu.%s", b->prefix, layer, hf);
    return b->name;
}

static pgr_status bind_vector(binder *b, const char *name, size_t n, float **out) {
    const source_tensor *t;
    PGR_TRY(bind_tensor(&b->tensors, name, 1, n, &t));
    float *v = arena_array(b->arena, n, sizeof *v);
    if (!v) return fail_mem(b->err);
    quant_dequant((quant_type)t->type, v, t->data, n);
    *out = v;
    return PGR_OK;
}

/* The matrices one below the other as one product. Pages of the file that are converted are given back: not read
 * again. */
static pgr_status make_product(binder *b, const source_tensor *const *tensors, size_t n, matrix **out) {
    gemm_part parts[LAYER_N_MATRIX];
    for (size_t i = 0; i < n; i++)
        parts[i] = (gemm_part){(quant_type)tensors[i]->type, tensors[i]->data, tensors[i]->dim[1]};
    PGR_TRY(matrix_create(b->ops, b->form, parts, n, tensors[0]->dim[0], b->packed, out, b->err));
    for (size_t i = 0; b->form != GEMM_FILE && i < n; i++)
        if (tensors[i]->map) file_map_drop(tensors[i]->map, tensors[i]->offset, tensors[i]->bytes);
    b->done++;
    watch_report(b->watch, "loading weights", b->done, b->total, "products");
    return watch_check(b->watch, b->err);
}

static pgr_status bind_layer(binder *b, const config *c, size_t i, layer_weights *l) {
    const source_tensor **t = l->file;
#define X(field, gguf, hf, n, where)                                                                                   \
    if (where) PGR_TRY(bind_vector(b, layer_name(b, i, gguf, hf), n, &l->field));
    LAYER_VECTORS(X)
#undef X
#define X(field, gguf, hf, rows, cols)                                                                                 \
    PGR_TRY(bind_tensor(&b->tensors, layer_name(b, i, gguf, hf), rows, cols, &t[LAYER_##field]));
    LAYER_MATRICES(X)
#undef X
#define X(field, first, n) PGR_TRY(make_product(b, &t[LAYER_##first], n, &l->field));
    LAYER_PRODUCTS(X)
#undef X
    return PGR_OK;
}

static pgr_status bind_around(binder *b, const config *c, weights *w) {
    PGR_TRY(bind_tensor(&b->tensors, name_of(b, "token_embd.weight", "embed_tokens.weight"), c->n_vocab, c->n_embd,
                        &w->token_embd));
    PGR_TRY(bind_vector(b, name_of(b, "output_norm.weight", "norm.weight"), c->n_embd, &w->output_norm));
    if (b->tensors.s->names == SOURCE_GGUF && source_find(b->tensors.s, "rope_freqs.weight"))
        PGR_TRY(bind_vector(b, "rope_freqs.weight", c->rope_dim / 2, &w->rope_freqs));
    return PGR_OK;
}

/* A language model's. */
static pgr_status bind_head(binder *b, const config *c, weights *w) {
    const char *head = b->tensors.s->names == SOURCE_GGUF ? "output.weight" : "lm_head.weight";
    const source_tensor *own = source_find(b->tensors.s, head);
    w->tied = c->tied || !own;
    if (w->tied) bind_skip(&b->tensors, head); /* a copy of the embedding that nobody reads */
    if (w->tied)
        own = w->token_embd;
    else
        PGR_TRY(bind_tensor(&b->tensors, head, c->n_vocab, c->n_embd, &own));
    w->head = own;
    return make_product(b, &own, 1, &w->output);
}

/* A reward model's: one row. What is left of a language head is not read, as transformers leaves it. */
static pgr_status bind_score(binder *b, const config *c, weights *w) {
    const tensor_source *s = b->tensors.s;
    if (source_find(s, "score.bias"))
        return fail(b->err, PGR_E_UNSUPPORTED, "%s: tensor score.bias: only score heads without a bias are supported",
                    s->path);
    bind_skip(&b->tensors, "lm_head.weight");
    return bind_vector(b, "score.weight", c->n_embd, &w->score);
}

static pgr_status bind_all(binder *b, const config *c, weights *out) {
    PGR_TRY(bind_around(b, c, out));
    PGR_TRY((c->score_head ? bind_score : bind_head)(b, c, out));
    for (size_t i = 0; i < c->n_layer; i++) PGR_TRY(bind_layer(b, c, i, &out->layers[i]));
    bind_skip_ending(&b->tensors, WEIGHTS_ROPE_TABLES);
    return bind_end(&b->tensors, "architecture");
}

pgr_status weights_open(const tensor_source *s, const config *c, gemm_form form, ops *o, const pgr_watch *watch,
                        weights *out, pgr_error *err) {
    weights w = {0};
    w.layers = arena_array(&w.arena, c->n_layer, sizeof *w.layers);
#define X(field, first, n) +1
    size_t products_per_layer = LAYER_PRODUCTS(X);
#undef X
    binder b = {.prefix = bind_prefix(s, "model.", "embed_tokens.weight"),
                .form = form,
                .ops = o,
                .arena = &w.arena,
                .packed = &w.packed,
                .total = c->n_layer * products_per_layer + 1,
                .watch = watch,
                .err = err};
    pgr_status status = w.layers ? bind_begin(&b.tensors, s, &w.arena, err) : fail_mem(err);
    if (status == PGR_OK) {
        w.n_layer = c->n_layer;
        status = bind_all(&b, c, &w);
    }
    if (status != PGR_OK) {
        weights_close(&w);
        return status;
    }
    *out = w;
    return PGR_OK;
}

/* The old matrix goes first: both at once is more memory than anybody needs. */
static pgr_status pack(ops *o, gemm_form form, const source_tensor *const *tensors, size_t n, matrix **w,
                       pgr_error *err) {
    gemm_part parts[LAYER_N_MATRIX];
    for (size_t i = 0; i < n; i++)
        parts[i] = (gemm_part){(quant_type)tensors[i]->type, tensors[i]->data, tensors[i]->dim[1]};
    matrix_free(*w);
    *w = NULL;
    return matrix_create(o, form, parts, n, tensors[0]->dim[0], NULL, w, err);
}

pgr_status weights_pack(weights *w, gemm_form form, ops *o, pgr_error *err) {
    for (size_t i = 0; i < w->n_layer; i++) {
        layer_weights *l = &w->layers[i];
#define X(field, first, n) PGR_TRY(pack(o, form, &l->file[LAYER_##first], n, &l->field, err));
        LAYER_PRODUCTS(X)
#undef X
    }
    if (w->head) PGR_TRY(pack(o, form, &w->head, 1, &w->output, err));
    slab_free(&w->packed); /* nothing is in it any more */
    return PGR_OK;
}

void weights_close(weights *w) {
    for (size_t i = 0; i < w->n_layer; i++) {
#define X(field, first, n) matrix_free(w->layers[i].field);
        LAYER_PRODUCTS(X)
#undef X
    }
    matrix_free(w->output);
    slab_free(&w->packed);
    arena_free(&w->arena);
    *w = (weights){0};
}

size_t weights_bytes(const weights *w) {
    size_t bytes = w->output ? matrix_bytes(w->output) : 0;
    for (size_t i = 0; i < w->n_layer; i++) {
#define X(field, first, n) bytes += matrix_bytes(w->layers[i].field);
        LAYER_PRODUCTS(X)
#undef X
    }
    return bytes;
}
