/* encoder_weights.c - the tensors of encoder.h, bound to a file and packed for the products. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/watch.h"
#include "format/bind.h"
#include "model/encoder.h"

typedef struct binder {
    binding tensors;
    const char *prefix; /* "bert.", or "" where the bare encoder was saved */
    gemm_form form;
    encoder *e;
    float *stage; /* one field's matrix in fp32 */
    size_t done, total;
    const pgr_watch *watch;
    pgr_error *err;
    char name[128]; /* of the tensor that is being bound */
} binder;

/* LayerNorm.gamma and LayerNorm.beta: how the first checkpoints spell weight and bias. */
static void spell_as_there(binder *b) {
    char *norm = strstr(b->name, "LayerNorm.");
    if (!norm || source_find(b->tensors.s, b->name)) return;
    char old[sizeof b->name];
    char *part = old + (norm - b->name) + strlen("LayerNorm.");
    memcpy(old, b->name, sizeof old);
    strcpy(part, strcmp(part, "weight") == 0 ? "gamma" : "beta"); /* no longer than what stood there */
    if (source_find(b->tensors.s, old)) memcpy(b->name, old, sizeof old);
}

static pgr_status find_tensor(binder *b, size_t rows, size_t cols, const source_tensor **out) {
    spell_as_there(b);
    return bind_tensor(&b->tensors, b->name, rows, cols, out);
}

/* Rows first to first + rows of a field of `all` rows; the field is allocated with its first part. */
static pgr_status bind_vector(binder *b, size_t first, size_t rows, size_t all, size_t cols, float **out) {
    const source_tensor *t;
    PGR_TRY(find_tensor(b, rows, cols, &t));
    if (!*out) *out = arena_array(&b->e->arena, all * cols, sizeof **out);
    if (!*out) return fail_mem(b->err);
    quant_dequant((quant_type)t->type, *out + first * cols, t->data, rows * cols);
    return PGR_OK;
}

/* The same through the stage; the last part makes the product's weights. */
static pgr_status bind_matrix(binder *b, size_t first, size_t rows, size_t all, size_t cols, matrix **out) {
    const source_tensor *t;
    PGR_TRY(find_tensor(b, rows, cols, &t));
    quant_dequant((quant_type)t->type, b->stage + first * cols, t->data, rows * cols);
    if (t->map) file_map_drop(t->map, t->offset, t->bytes);
    if (first + rows < all) return PGR_OK;
    PGR_TRY(matrix_create(b->e->ops, b->form, &(gemm_part){QUANT_F32, b->stage, all}, 1, cols, NULL, out, b->err));
    b->done++;
    watch_report(b->watch, "loading weights", b->done, b->total, "tensors");
    return watch_check(b->watch, b->err);
}

static pgr_status bind_layer(binder *b, const encoder_config *c, size_t i, encoder_layer *l) {
#define X(field, suffix, first, rows, all, cols)                                                                       \
    snprintf(b->name, sizeof b->name, "%sencoder.layer.%zu.%s", b->prefix, i, suffix);                                 \
    PGR_TRY(bind_vector(b, first, rows, all, cols, &l->field));
    ENCODER_LAYER_VECTORS(X)
#undef X
#define X(field, suffix, first, rows, all, cols)                                                                       \
    snprintf(b->name, sizeof b->name, "%sencoder.layer.%zu.%s", b->prefix, i, suffix);                                 \
    PGR_TRY(bind_matrix(b, first, rows, all, cols, &l->field));
    ENCODER_LAYER_MATRICES(X)
#undef X
    return PGR_OK;
}

static pgr_status bind_embeddings(binder *b, const encoder_config *c) {
    snprintf(b->name, sizeof b->name, "%sembeddings.word_embeddings.weight", b->prefix);
    PGR_TRY(find_tensor(b, c->n_vocab, c->n_embd, &b->e->words));
#define X(field, suffix, first, rows, all, cols)                                                                       \
    snprintf(b->name, sizeof b->name, "%s%s", b->prefix, suffix);                                                      \
    PGR_TRY(bind_vector(b, first, rows, all, cols, &b->e->field));
    ENCODER_VECTORS(X)
#undef X
    return PGR_OK;
}

/* What an embedding does not need: the pooler (of next-sentence prediction), and buffers that are not weights. */
static void skip_unneeded(binder *b) {
    static const char *const names[] = {"pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids",
                                        "embeddings.token_type_ids"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(b->name, sizeof b->name, "%s%s", b->prefix, names[i]);
        bind_skip(&b->tensors, b->name);
    }
}

static pgr_status bind_all(binder *b) {
    const encoder_config *c = &b->e->config;
    PGR_TRY(bind_embeddings(b, c));
    for (size_t i = 0; i < c->n_layer; i++) PGR_TRY(bind_layer(b, c, i, &b->e->layers[i]));
    skip_unneeded(b);
    return bind_end(&b->tensors, "encoder");
}

pgr_status encoder_open(const tensor_source *s, const encoder_config *c, gemm_form form, ops *o, const pgr_watch *watch,
                        encoder *out, pgr_error *err) {
    PGR_ASSERT(form != GEMM_FILE); /* the stage does not last */
    encoder e = {.config = *c, .ops = o};
    size_t widest = 3 * c->n_embd > c->n_ff ? 3 * c->n_embd : c->n_ff;
    e.layers = arena_array(&e.arena, c->n_layer, sizeof *e.layers);
    binder b = {.prefix = bind_prefix(s, "bert.", "embeddings.word_embeddings.weight"),
                .form = form,
                .e = &e,
                .stage = mem_array(widest * c->n_embd, sizeof(float)),
                .total = 4 * c->n_layer,
                .watch = watch,
                .err = err};
    pgr_status status = e.layers && b.stage ? bind_begin(&b.tensors, s, &e.arena, err) : fail_mem(err);
    if (status == PGR_OK) status = bind_all(&b);
    mem_free(b.stage);
    if (status == PGR_OK)
        *out = e;
    else
        encoder_close(&e);
    return status;
}

void encoder_close(encoder *e) {
    for (size_t i = 0; e->layers && i < e->config.n_layer; i++) {
        encoder_layer *l = &e->layers[i];
        matrix_free(l->qkv);
        matrix_free(l->attn_out);
        matrix_free(l->ffn_up);
        matrix_free(l->ffn_down);
    }
    arena_free(&e->arena);
    *e = (encoder){0};
}
