/* weights.c - binds the tensors of weights.h to a file: presence, type and shape are checked here and nowhere later. */
#include "model/weights.h"

#include <stdio.h>

/* Common to all look-ups while binding. `bound` has a flag per tensor of the file. */
typedef struct binder {
    const gguf *g;
    gemm_form form;
    pool *threads;
    arena *arena;
    bool *bound;
    size_t done, total;
    pgr_progress_fn progress;
    void *progress_ctx;
    pgr_error *err;
} binder;

static pgr_status find_tensor(binder *b, const char *name, size_t rows, size_t cols, const gguf_tensor **out) {
    const gguf_tensor *t = gguf_find_tensor(b->g, name);
    if (!t) return fail(b->err, PGR_E_FORMAT, "%s: tensor %s is missing", b->g->path, name);
    if (!quant_known(t->type))
        return fail(b->err, PGR_E_UNSUPPORTED, "%s: tensor %s has type %s (%u), which is not read", b->g->path, name,
                    quant_name(t->type), t->type);

    if (t->dim[0] != cols || t->dim[1] != rows || t->dim[2] != 1 || t->dim[3] != 1)
        return fail(b->err, PGR_E_FORMAT, "%s: tensor %s has shape %zu x %zu, expected %zu rows of %zu", b->g->path,
                    name, t->dim[1] * t->dim[2] * t->dim[3], t->dim[0], rows, cols);
    b->bound[t - b->g->tensors] = true;
    *out = t;
    return PGR_OK;
}

static pgr_status bind_vector(binder *b, const char *name, size_t n, float **out) {
    const gguf_tensor *t;
    PGR_TRY(find_tensor(b, name, 1, n, &t));
    float *v = arena_array(b->arena, n, sizeof *v);
    if (!v) return fail_mem(b->err);
    quant_dequant((quant_type)t->type, v, t->data, n);
    *out = v;
    return PGR_OK;
}

static pgr_status convert_matrix(binder *b, const gguf_tensor *t, gemm_weights **out) {
    PGR_TRY(gemm_create(b->form, (quant_type)t->type, t->data, t->dim[1], t->dim[0], b->threads, out, b->err));
    if (gemm_bytes(*out) >= t->bytes) file_map_drop(&b->g->map, t->offset, t->bytes);
    b->done++;
    if (b->progress) b->progress(b->progress_ctx, "loading weights", b->done, b->total, "tensors");
    return PGR_OK;
}

static pgr_status bind_matrix(binder *b, const char *name, size_t rows, size_t cols, gemm_weights **out) {
    const gguf_tensor *t;
    PGR_TRY(find_tensor(b, name, rows, cols, &t));
    return convert_matrix(b, t, out);
}

static pgr_status bind_layer(binder *b, const config *c, size_t i, layer_weights *l) {
    char full[96];
#define X(field, name, rows, cols)                                                                                     \
    snprintf(full, sizeof full, "blk.%zu." name, i);                                                                   \
    PGR_TRY(bind_vector(b, full, cols, &l->field));
    LAYER_VECTORS(X)
#undef X
#define X(field, name, rows, cols)                                                                                     \
    snprintf(full, sizeof full, "blk.%zu." name, i);                                                                   \
    PGR_TRY(bind_matrix(b, full, rows, cols, &l->field));
    LAYER_MATRICES(X)
#undef X
    return PGR_OK;
}

static pgr_status bind_head(binder *b, const config *c, weights *w) {
    PGR_TRY(find_tensor(b, "token_embd.weight", c->n_vocab, c->n_embd, &w->token_embd));
    PGR_TRY(bind_vector(b, "output_norm.weight", c->n_embd, &w->output_norm));
    if (gguf_find_tensor(b->g, "rope_freqs.weight"))
        PGR_TRY(bind_vector(b, "rope_freqs.weight", c->rope_dim / 2, &w->rope_freqs));

    w->tied = !gguf_find_tensor(b->g, "output.weight");
    if (w->tied) return convert_matrix(b, w->token_embd, &w->output);
    return bind_matrix(b, "output.weight", c->n_vocab, c->n_embd, &w->output);
}

/* A tensor that nobody asked for is a feature that we lack: say so rather than compute something else. */
static pgr_status check_all_bound(binder *b) {
    for (size_t i = 0; i < b->g->n_tensor; i++) {
        gguf_string name = b->g->tensors[i].name;
        if (!b->bound[i])
            return fail(b->err, PGR_E_UNSUPPORTED, "%s: tensor %.*s is not part of the architecture that we compute",
                        b->g->path, (int)(name.n < 128 ? name.n : 128), name.s);
    }
    return PGR_OK;
}

static pgr_status bind_all(binder *b, const config *c, weights *out) {
    PGR_TRY(bind_head(b, c, out));
    for (size_t i = 0; i < c->n_layer; i++) PGR_TRY(bind_layer(b, c, i, &out->layers[i]));
    return check_all_bound(b);
}

pgr_status weights_open(const gguf *g, const config *c, gemm_form form, pool *threads, pgr_progress_fn progress,
                        void *progress_ctx, weights *out, pgr_error *err) {
    weights w = {0};
    w.layers = arena_array(&w.arena, c->n_layer, sizeof *w.layers);
    bool *bound = arena_array(&w.arena, g->n_tensor + 1, sizeof *bound);
    if (!w.layers || !bound) {
        arena_free(&w.arena);
        return fail_mem(err);
    }

#define X(field, name, rows, cols) +1
    size_t matrices_per_layer = LAYER_MATRICES(X);
#undef X
    binder b = {.g = g,
                .form = form,
                .threads = threads,
                .arena = &w.arena,
                .bound = bound,
                .total = c->n_layer * matrices_per_layer + 1,
                .progress = progress,
                .progress_ctx = progress_ctx,
                .err = err};
    w.n_layer = c->n_layer;
    pgr_status s = bind_all(&b, c, &w);
    if (s != PGR_OK) {
        weights_close(&w);
        return s;
    }
    *out = w;
    return PGR_OK;
}

void weights_close(weights *w) {
    for (size_t i = 0; i < w->n_layer; i++) {
#define X(field, name, rows, cols) gemm_free(w->layers[i].field);
        LAYER_MATRICES(X)
#undef X
    }
    gemm_free(w->output);
    arena_free(&w->arena);
    *w = (weights){0};
}

size_t weights_bytes(const weights *w) {
    size_t bytes = gemm_bytes(w->output);
    for (size_t i = 0; i < w->n_layer; i++) {
#define X(field, name, rows, cols) bytes += gemm_bytes(w->layers[i].field);
        LAYER_MATRICES(X)
#undef X
    }
    return bytes;
}
