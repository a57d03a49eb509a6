/* whole.c - owns the training of all weights: where each tensor lies in the flat arrays, and the model that reads them
 * there. The model's files are read once, into the arrays; afterwards its vectors point into these, and its matrices
 * are packed from them (trainable_pack) after every change. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "format/bind.h"
#include "model/trainable_parts.h"

struct whole {
    pgr_model *m;
    tensor_source live;         /* the tensors, their data in the arrays */
    const source_tensor **from; /* (n_tensor) as the file has them; NULL: a new score head */
    train_piece *pieces;        /* (n_tensor) */
    bool score;
    checkpoint view; /* the model's, with live */
    arena arena;
};

/* ---- the list of tensors ---- */

static pgr_status add(whole *w, const char *name, size_t rows, size_t n, pgr_error *err) {
    source_tensor *t = &w->live.tensors[w->live.n_tensor];
    const source_tensor *from = source_find(&w->m->from.source, name);
    bool is_new = !from && w->score && strcmp(name, "score.weight") == 0;
    if (!from && !is_new) return fail(err, PGR_E_FORMAT, "%s: tensor %s is missing", w->m->from.path, name);
    *t = (source_tensor){.name = arena_strdup(&w->arena, name), .type = QUANT_F32, .n_dim = 2, .dim = {n, rows, 1, 1}};
    t->bytes = rows * n * sizeof(float);
    w->from[w->live.n_tensor] = from;
    w->pieces[w->live.n_tensor] = (train_piece){.n = rows * n, .decays = true};
    w->live.n_tensor++;
    return t->name ? PGR_OK : fail_mem(err);
}

static pgr_status add_vector(whole *w, const char *name, size_t n, pgr_error *err) {
    size_t at = w->live.n_tensor;
    PGR_TRY(add(w, name, 1, n, err));
    w->live.tensors[at].n_dim = 1;
    w->pieces[at].decays = false;
    return PGR_OK;
}

static pgr_status add_layer(whole *w, const char *prefix, size_t i, pgr_error *err) {
    const config *c = &w->m->config;
    char name[128];
#define X(field, gguf, hf, n, where)                                                                                   \
    snprintf(name, sizeof name, "%slayers.%zu." hf, prefix, i);                                                        \
    if (where) PGR_TRY(add_vector(w, name, n, err));
    LAYER_VECTORS(X)
#undef X
#define X(field, gguf, hf, rows, cols)                                                                                 \
    snprintf(name, sizeof name, "%slayers.%zu." hf, prefix, i);                                                        \
    PGR_TRY(add(w, name, rows, cols, err));
    LAYER_MATRICES(X)
#undef X
    return PGR_OK;
}

static pgr_status list_tensors(whole *w, pgr_error *err) {
    const config *c = &w->m->config;
    const char *prefix = bind_prefix(&w->m->from.source, "model.", "embed_tokens.weight");
    char name[128];
    snprintf(name, sizeof name, "%sembed_tokens.weight", prefix);
    PGR_TRY(add(w, name, c->n_vocab, c->n_embd, err));
    if (!w->score && !w->m->weights.tied) PGR_TRY(add(w, "lm_head.weight", c->n_vocab, c->n_embd, err));
    if (w->score) PGR_TRY(add(w, "score.weight", 1, c->n_embd, err));
    snprintf(name, sizeof name, "%snorm.weight", prefix);
    PGR_TRY(add_vector(w, name, c->n_embd, err));
    for (size_t i = 0; i < c->n_layer; i++) PGR_TRY(add_layer(w, prefix, i, err));
    return PGR_OK;
}

static pgr_status make_list(whole *w, pgr_error *err) {
#define X(...) +1
    size_t most = w->m->config.n_layer * (0 LAYER_VECTORS(X) LAYER_MATRICES(X)) + 4;
#undef X
    w->live = (tensor_source){.path = w->m->from.path, .names = SOURCE_HF};
    w->live.tensors = arena_array(&w->arena, most, sizeof *w->live.tensors);
    w->from = arena_array(&w->arena, most, sizeof *w->from);
    w->pieces = arena_array(&w->arena, most, sizeof *w->pieces);
    return w->live.tensors && w->from && w->pieces ? list_tensors(w, err) : fail_mem(err);
}

/* ---- values ---- */

typedef struct read_job {
    const source_tensor *from;
    float *out;
} read_job;

static void read_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const read_job *j = ctx;
    size_t K = j->from->dim[0];
    quant_type type = (quant_type)j->from->type;
    quant_dequant(type, j->out + row * K, (const uint8_t *)j->from->data + row * quant_row_bytes(type, K), K);
}

static pgr_status read_values(whole *w, trainable *t, uint64_t seed, pgr_error *err) {
    for (size_t i = 0; i < w->live.n_tensor; i++) w->pieces[i].first = t->n, t->n += w->pieces[i].n;
    PGR_TRY(trainable_alloc(t, err));
    for (size_t i = 0; i < w->live.n_tensor; i++) {
        float *values = t->values + w->pieces[i].first;
        const source_tensor *from = w->from[i];
        w->live.tensors[i].data = values;
        if (strcmp(w->live.tensors[i].name, "score.weight") == 0) t->score = values;
        if (from)
            pool_run(w->m->threads, from->dim[1], read_row, &(read_job){from, values});
        else
            trainable_draw_score(values, w->pieces[i].n, seed);
        if (from && from->map) file_map_drop(from->map, from->offset, from->bytes);
    }
    return source_index(&w->live, &w->arena, err);
}

/* ---- the model reads them ---- */

/* In the order of the list. */
static void connect(whole *w, trainable *t) {
    weights *to = &w->m->weights;
    const config *c = &w->m->config;
    const source_tensor *next = w->live.tensors;
    to->token_embd = next++;
    if (!w->score) to->head = to->tied ? to->token_embd : next++;
    if (w->score) to->score = t->score, next++;
    to->output_norm = t->values + w->pieces[next - w->live.tensors].first, next++;
    for (size_t i = 0; i < c->n_layer; i++) {
        layer_weights *l = &to->layers[i];
#define X(field, gguf, hf, n, where)                                                                                   \
    if (where) l->field = t->values + w->pieces[next - w->live.tensors].first, next++;
        LAYER_VECTORS(X)
#undef X
        for (size_t k = 0; k < LAYER_N_MATRIX; k++) l->file[k] = next++;
    }
}

/* A score head has no other one. */
static void drop_head(whole *w) {
    weights *to = &w->m->weights;
    if (!w->score) return;
    matrix_free(to->output);
    to->output = NULL;
    to->head = NULL;
}

static pgr_status make(trainable *t, pgr_model *m, bool score, uint64_t seed, pgr_error *err) {
    whole *w = t->whole = mem_zero(1, sizeof *w);
    if (!w) return fail_mem(err);
    w->m = m;
    w->score = score || m->config.score_head;
    PGR_TRY(make_list(w, err));
    PGR_TRY(read_values(w, t, seed, err));
    connect(w, t);
    drop_head(w);
    w->view = m->from;
    w->view.source = w->live;
    w->view.config.score_head = w->score;
    return whole_pack(w, err);
}

pgr_status trainable_create_whole(pgr_model *m, bool score, uint64_t seed, trainable **out, pgr_error *err) {
    if (m->from.source.names != SOURCE_HF)
        return fail(err, PGR_E_UNSUPPORTED,
                    "%s: all weights are trained of Hugging Face folders only, whose config and tokenizer go with the "
                    "result; found a GGUF file",
                    m->from.path);
    trainable *t = NULL;
    pgr_status s = trainable_begin(m, "all weights", &t, err);
    if (s == PGR_OK) s = make(t, m, score, seed, err);
    if (s == PGR_OK)
        *out = t;
    else
        trainable_free(t);
    return s;
}

/* ---- what trainable.c asks for ---- */

void whole_free(whole *w) {
    if (!w) return;
    arena_free(&w->arena);
    mem_free(w);
}

const train_piece *whole_pieces(const whole *w, size_t *n) {
    *n = w->live.n_tensor;
    return w->pieces;
}

const checkpoint *whole_checkpoint(const whole *w) {
    return &w->view;
}

pgr_status whole_pack(whole *w, pgr_error *err) {
    return weights_pack(&w->m->weights, model_form(w->m->dtype), w->m->ops, err);
}
