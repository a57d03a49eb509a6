/* lora_set.c - opens adapters, and makes the table that a forward pass reads from the adapters that are on. */
#include "model/lora_set.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

enum { MAX_LORA = 64 };

/* ---- opened adapters ---- */

static pgr_status open_parts(pgr_lora *l, const char *path, pgr_error *err) {
    const pgr_model *m = l->m;
    PGR_TRY(lora_open(path, &m->config, &l->file, err));
    const source_tensor *t = l->file.new_output;
    if (!t) return PGR_OK;
    gemm_part part = {(quant_type)t->type, t->data, t->dim[1]};
    return matrix_create(m->ops, model_form(m->dtype), &part, 1, t->dim[0], NULL, &l->output, err);
}

uint64_t lora_new_version(void) {
    static _Atomic uint64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

pgr_status pgr_lora_open(const pgr_model *model, const char *path, pgr_lora **out, pgr_error *err) {
    pgr_lora *l = mem_zero(1, sizeof *l);
    if (!l) return fail_mem(err);
    l->m = model;
    l->version = lora_new_version();
    pgr_status s = open_parts(l, path, err);
    if (s != PGR_OK) {
        pgr_lora_close(l);
        return s;
    }
    *out = l;
    return PGR_OK;
}

void pgr_lora_close(pgr_lora *l) {
    if (!l) return;
    matrix_free(l->output);
    lora_close(&l->file);
    mem_free(l);
}

/* ---- the set ---- */

/* The lists: those of the layers' products, the embedding's, the head's. */
static size_t embedding_list(const lora_set *s) {
    return s->n_layer * LAYER_N_PRODUCT;
}

static term_list list_at(const lora_set *s, size_t list) {
    return s->n > 0 ? s->lists[list] : (term_list){NULL, 0};
}

term_list lora_terms(const lora_set *s, size_t layer, layer_product product) {
    return list_at(s, layer * LAYER_N_PRODUCT + product);
}

term_list lora_embedding_terms(const lora_set *s) {
    return list_at(s, embedding_list(s));
}

term_list lora_head_terms(const lora_set *s) {
    return list_at(s, embedding_list(s) + 1);
}

/* Where a layer's matrices stand: the list of their product, the first of its columns that is theirs. */
typedef struct place {
    size_t list, column;
} place;

static place place_of(const config *c, size_t layer, layer_matrix matrix) {
    static const layer_matrix first[] = {
#define X(field, first, n) LAYER_##first,
        LAYER_PRODUCTS(X)
#undef X
    };
    const size_t rows[] = {
#define X(field, gguf, hf, rows, cols) rows,
        LAYER_MATRICES(X)
#undef X
    };
    size_t product = LAYER_N_PRODUCT - 1;
    while (first[product] > matrix) product--;
    place p = {layer * LAYER_N_PRODUCT + product, 0};
    for (size_t i = first[product]; i < (size_t)matrix; i++) p.column += rows[i];
    return p;
}

/* One term more at the end of a list. */
static void add_term(lora_set *s, place at, const lora_factors *f, float scale) {
    if (f->r == 0) return;
    term_list *list = &s->lists[at.list];
    lowrank *term = &list->terms[list->n++];
    *term = *f;
    term->scale *= scale;
    term->column = at.column;
}

static void add_terms(lora_set *s, const config *c, const lora *l, float scale) {
    for (size_t i = 0; i < s->n_layer; i++) {
#define X(field, gguf, hf, rows, cols) add_term(s, place_of(c, i, LAYER_##field), &l->layers[i].field, scale);
        LAYER_MATRICES(X)
#undef X
    }
    add_term(s, (place){embedding_list(s), 0}, &l->token_embd, scale);
    add_term(s, (place){embedding_list(s) + 1, 0}, &l->output, scale);
}

/* Room for every matrix of every adapter in each list. */
static pgr_status make_lists(lora_set *s, pgr_error *err) {
    size_t n_list = embedding_list(s) + 2, room = s->n * LAYER_N_MATRIX;
    s->lists = arena_array(&s->arena, n_list, sizeof *s->lists);
    lowrank *terms = arena_array(&s->arena, n_list * room, sizeof *terms);
    if (!s->lists || !terms) return fail_mem(err);
    for (size_t i = 0; i < n_list; i++) s->lists[i].terms = terms + i * room;
    return PGR_OK;
}

/* Counts a tensor that the adapter brings in place of the model's: only one adapter may, and only at scale 1. */
static pgr_status check_whole(const lora *l, float scale, bool brings, bool *taken, const char *what, pgr_error *err) {
    if (!brings) return PGR_OK;
    if (*taken) return fail(err, PGR_E_ARG, "%s: another adapter replaces the model's %s too", l->path, what);
    if (scale != 1.0f)
        return fail(
            err, PGR_E_ARG,
            "%s: the scale is %g, but the adapter replaces the model's %s (modules_to_save), which takes scale 1 "
            "only",
            l->path, (double)scale, what);
    *taken = true;
    return PGR_OK;
}

static pgr_status replace(lora_set *s, const pgr_model *m, const pgr_lora *p, float scale, pgr_error *err) {
    const lora *l = &p->file;
    const weights *w = &m->weights;
    bool embd = s->token_embd != w->token_embd, head = s->output != w->output, norm = s->output_norm != w->output_norm;
    PGR_TRY(check_whole(l, scale, l->new_token_embd != NULL, &embd, "embedding", err));
    PGR_TRY(check_whole(l, scale, l->new_output != NULL, &head, "head", err));
    PGR_TRY(check_whole(l, scale, l->new_output_norm != NULL, &norm, "last norm", err));
    if (l->new_token_embd) s->token_embd = l->new_token_embd;
    if (l->new_output) s->output = p->output;
    if (l->new_output_norm) s->output_norm = l->new_output_norm;
    for (size_t i = 0; i < m->config.n_layer; i++) {
        bool taken;
#define X(field, gguf, hf, n, where)                                                                                   \
    taken = s->layers[i].field != w->layers[i].field;                                                                  \
    PGR_TRY(check_whole(l, scale, l->layers[i].field != NULL, &taken, hf, err));                                       \
    if (l->layers[i].field) s->layers[i].field = l->layers[i].field;
        LAYER_VECTORS(X)
#undef X
    }
    return PGR_OK;
}

static pgr_status fill(lora_set *s, const pgr_model *m, pgr_lora *const *loras, const float *scales, size_t n,
                       pgr_error *err) {
    PGR_TRY(make_lists(s, err));
    s->layers = arena_array(&s->arena, m->config.n_layer, sizeof *s->layers);
    if (!s->layers) return fail_mem(err);
    memcpy(s->layers, m->weights.layers, m->config.n_layer * sizeof *s->layers);
    s->token_embd = m->weights.token_embd;
    s->output_norm = m->weights.output_norm;
    s->output = m->weights.output;
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(replace(s, m, loras[i], scales[i], err));
        if (scales[i] != 0.0f) add_terms(s, &m->config, &loras[i]->file, scales[i]);
    }
    return PGR_OK;
}

pgr_status lora_set_create(const pgr_model *m, pgr_lora *const *loras, const float *scales, size_t n, lora_set *out,
                           pgr_error *err) {
    lora_set s = {.n = n, .n_layer = m->config.n_layer};
    if (n > MAX_LORA) return fail(err, PGR_E_ARG, "%zu adapters at once, at most %d", n, MAX_LORA);
    for (size_t i = 0; i < n; i++) {
        if (loras[i]->m != m)
            return fail(err, PGR_E_ARG, "%s: the adapter was opened for another model", loras[i]->file.path);
        if (!isfinite(scales[i]))
            return fail(err, PGR_E_ARG, "%s: the scale is %g", loras[i]->file.path, (double)scales[i]);
    }
    pgr_status status = n > 0 ? fill(&s, m, loras, scales, n, err) : PGR_OK;
    if (status == PGR_OK)
        *out = s;
    else
        lora_set_free(&s);
    return status;
}

void lora_set_free(lora_set *s) {
    arena_free(&s->arena);
    *s = (lora_set){0};
}
