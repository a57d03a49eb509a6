/* trainable.c - owns the flat arrays behind an adapter in training, their first values, and where in them each factor
 * lies. */
#include "model/trainable.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/trainable_parts.h"

trainable_options trainable_options_default(void) {
    return (trainable_options){.rank = 16, .alpha = 32.0f, .matrices = TRAINABLE_ALL};
}

/* ---- the factors ---- */

lora_factors *trainable_factors(const trainable *t, size_t layer, size_t matrix) {
    lora_layer *l = &t->adapter.file.layers[layer];
    lora_factors *const list[] = {
#define X(field, gguf, hf, rows, cols) &l->field,
        LAYER_MATRICES(X)
#undef X
    };
    return list[matrix];
}

static lora_factors shape_of(const config *c, size_t matrix) {
    const lora_factors list[] = {
#define X(field, gguf, hf, rows, cols) {.N = rows, .K = cols},
        LAYER_MATRICES(X)
#undef X
    };
    return list[matrix];
}

pgr_status trainable_alloc(trainable *t, pgr_error *err) {
    size_t bytes = t->n * sizeof *t->values;
    t->values = mem_huge(bytes);
    t->grads = mem_huge(bytes);
    if (!t->values || !t->grads) return fail_mem(err);
    memset(t->values, 0, bytes);
    memset(t->grads, 0, bytes);
    t->all = (train_piece){0, t->n, true};
    return PGR_OK;
}

/* Room for all factors, whose N, K and r are set; a and b become theirs in the flat array. */
static pgr_status lay_out(trainable *t, pgr_error *err) {
    lora *l = &t->adapter.file;
    for (int pass = 0; pass < 2; pass++) {
        size_t at = 0;
        for (size_t i = 0; i < l->n_layer * LAYER_N_MATRIX; i++) {
            lora_factors *f = trainable_factors(t, i / LAYER_N_MATRIX, i % LAYER_N_MATRIX);
            if (pass == 1 && f->r > 0) f->a = t->values + at, f->b = f->a + f->r * f->K;
            at += f->r * (f->K + f->N);
        }
        if (pass == 1) break;
        t->n = at;
        PGR_TRY(trainable_alloc(t, err));
    }
    return PGR_OK;
}

/* What the adapter says of itself, and the first layer with factors. */
static void count(trainable *t) {
    lora *l = &t->adapter.file;
    t->first_layer = l->n_layer;
    l->n_value = t->n;
    for (size_t i = 0; i < l->n_layer * LAYER_N_MATRIX; i++) {
        size_t r = trainable_factors(t, i / LAYER_N_MATRIX, i % LAYER_N_MATRIX)->r;
        if (r == 0) continue;
        if (t->first_layer == l->n_layer) t->first_layer = i / LAYER_N_MATRIX;
        l->n_tensor += 2;
        l->min_r = l->min_r == 0 || r < l->min_r ? r : l->min_r;
        l->max_r = r > l->max_r ? r : l->max_r;
    }
}

pgr_status trainable_begin(const pgr_model *m, const char *name, trainable **out, pgr_error *err) {
    trainable *t = mem_zero(1, sizeof *t);
    if (!t) return fail_mem(err);
    *out = t;
    t->adapter = (pgr_lora){.m = m, .version = lora_new_version()};
    lora *l = &t->adapter.file;
    l->format = "peft";
    l->n_layer = m->config.n_layer;
    l->path = arena_strdup(&l->arena, name);
    l->layers = arena_array(&l->arena, l->n_layer, sizeof *l->layers);
    return l->path && l->layers ? PGR_OK : fail_mem(err);
}

static pgr_status finish(trainable *t, pgr_status s, trainable **out) {
    if (s == PGR_OK)
        *out = t;
    else
        trainable_free(t);
    return s;
}

/* ---- new ones ---- */

static pgr_status check_options(const pgr_model *m, const trainable_options *o, pgr_error *err) {
    enum { MAX_RANK = 4096 };
    if (o->rank < 1 || o->rank > MAX_RANK)
        return fail(err, PGR_E_ARG, "rank is %zu, expected 1 to %d", o->rank, MAX_RANK);
    if (!(o->alpha > 0 && o->alpha <= 1e6f))
        return fail(err, PGR_E_ARG, "alpha is %g, expected more than 0 and at most 1e6", (double)o->alpha);
    if (o->first_layer >= m->config.n_layer)
        return fail(err, PGR_E_ARG, "first_layer is %zu, the model has layers 0 to %zu", o->first_layer,
                    m->config.n_layer - 1);
    if ((o->matrices & TRAINABLE_ALL) == 0 || (o->matrices & ~TRAINABLE_ALL))
        return fail(err, PGR_E_ARG, "matrices is 0x%x, expected one or more bits of 0x%x", o->matrices, TRAINABLE_ALL);
    return PGR_OK;
}

/* Uniform in -1 / sqrt(K) .. 1 / sqrt(K): kaiming_uniform with a = sqrt(5), which PEFT gives its A. */
static void draw_a(const lora_factors *f, uint64_t seed, size_t number) {
    double bound = 1.0 / sqrt((double)f->K);
    for (size_t i = 0; i < f->r * f->K; i++)
        f->a[i] = (float)((2.0 * rng_uniform(seed, (uint32_t)number, 0, (uint32_t)i) - 1.0) * bound);
}

static pgr_status make(trainable *t, const trainable_options *o, pgr_error *err) {
    const pgr_model *m = t->adapter.m;
    for (size_t i = o->first_layer * LAYER_N_MATRIX; i < m->config.n_layer * LAYER_N_MATRIX; i++) {
        size_t matrix = i % LAYER_N_MATRIX;
        if (!(o->matrices >> matrix & 1)) continue;
        lora_factors *f = trainable_factors(t, i / LAYER_N_MATRIX, matrix);
        *f = shape_of(&m->config, matrix);
        f->r = o->rank;
        f->scale = o->alpha / (float)o->rank;
    }
    PGR_TRY(lay_out(t, err));
    for (size_t i = 0; i < m->config.n_layer * LAYER_N_MATRIX; i++) {
        const lora_factors *f = trainable_factors(t, i / LAYER_N_MATRIX, i % LAYER_N_MATRIX);
        if (f->r > 0) draw_a(f, o->seed, i);
    }
    count(t);
    return PGR_OK;
}

pgr_status trainable_create(const pgr_model *m, const trainable_options *o, trainable **out, pgr_error *err) {
    PGR_TRY(check_options(m, o, err));
    trainable *t = NULL;
    pgr_status s = trainable_begin(m, "adapter in training", &t, err);
    if (s == PGR_OK) s = make(t, o, err);
    return finish(t, s, out);
}

/* ---- from a file ---- */

static const char *whole_tensor(const lora *l) {
    if (l->new_token_embd || l->token_embd.r > 0) return "the embedding";
    if (l->new_output || l->output.r > 0) return "the head";
    if (l->new_output_norm) return "the last norm";
    for (size_t i = 0; i < l->n_layer; i++) {
#define X(field, gguf, hf, n, where)                                                                                   \
    if (l->layers[i].field) return hf;
        LAYER_VECTORS(X)
#undef X
    }
    return NULL;
}

static pgr_status copy_from(trainable *t, const lora *file, pgr_error *err) {
    const char *whole = whole_tensor(file);
    if (whole)
        return fail(err, PGR_E_UNSUPPORTED, "%s: changes %s; only factors of the layers' matrices can be trained",
                    file->path, whole);
    memcpy(t->adapter.file.layers, file->layers, file->n_layer * sizeof *file->layers);
    PGR_TRY(lay_out(t, err));
    const trainable was = {.adapter.file.layers = file->layers};
    for (size_t i = 0; i < file->n_layer * LAYER_N_MATRIX; i++) {
        const lora_factors *to = trainable_factors(t, i / LAYER_N_MATRIX, i % LAYER_N_MATRIX);
        const lora_factors *from = trainable_factors(&was, i / LAYER_N_MATRIX, i % LAYER_N_MATRIX);
        if (to->r == 0) continue;
        memcpy(to->a, from->a, to->r * to->K * sizeof *to->a);
        memcpy(to->b, from->b, to->N * to->r * sizeof *to->b);
    }
    count(t);
    return PGR_OK;
}

pgr_status trainable_open(const pgr_model *m, const char *path, trainable **out, pgr_error *err) {
    lora file;
    trainable *t = NULL;
    PGR_TRY(lora_open(path, &m->config, &file, err));
    pgr_status s = trainable_begin(m, path, &t, err);
    if (s == PGR_OK) s = copy_from(t, &file, err);
    lora_close(&file);
    return finish(t, s, out);
}

/* ---- a score head beside the factors ---- */

void trainable_draw_score(float *score, size_t n, uint64_t seed) {
    enum { STREAM_SCORE = 0x5C0E }; /* no matrix has this number */
    rng r = {.seed = seed, .stream = STREAM_SCORE};
    for (size_t i = 0; i < n; i++) score[i] = (float)(0.02 * rng_normal(&r));
}

pgr_status trainable_add_score(trainable *t, uint64_t seed, pgr_error *err) {
    PGR_ASSERT(!t->whole && !t->score);
    const config *c = &t->adapter.m->config;
    trainable was = *t;
    t->n += c->n_embd;
    t->values = t->grads = NULL;
    pgr_status s = trainable_alloc(t, err);
    if (s != PGR_OK) {
        mem_free(t->values);
        mem_free(t->grads);
        *t = was;
        return s;
    }
    memcpy(t->values, was.values, was.n * sizeof *t->values);
    for (size_t i = 0; i < c->n_layer * LAYER_N_MATRIX; i++) {
        lora_factors *f = trainable_factors(t, i / LAYER_N_MATRIX, i % LAYER_N_MATRIX);
        if (f->r > 0) f->a = t->values + (f->a - was.values), f->b = t->values + (f->b - was.values);
    }
    t->score = t->values + was.n;
    if (t->adapter.m->weights.score)
        memcpy(t->score, t->adapter.m->weights.score, c->n_embd * sizeof *t->score);
    else
        trainable_draw_score(t->score, c->n_embd, seed);
    mem_free(was.values);
    mem_free(was.grads);
    return PGR_OK;
}

/* ---- interface ---- */

void trainable_free(trainable *t) {
    if (!t) return;
    whole_free(t->whole);
    lora_close(&t->adapter.file);
    mem_free(t->values);
    mem_free(t->grads);
    mem_free(t);
}

size_t trainable_count(const trainable *t) {
    return t->n;
}

float *trainable_values(trainable *t) {
    return t->values;
}

float *trainable_grads(trainable *t) {
    return t->grads;
}

size_t trainable_first_layer(const trainable *t) {
    return t->first_layer;
}

pgr_lora *trainable_adapter(trainable *t) {
    return &t->adapter;
}

void trainable_changed(trainable *t) {
    t->adapter.version = lora_new_version();
}

float *trainable_grad_of(const trainable *t, const void *value) {
    return t->grads + ((const float *)value - t->values);
}

float *trainable_score(const trainable *t) {
    return t->score;
}

const train_piece *trainable_pieces(const trainable *t, size_t *n) {
    if (t->whole) return whole_pieces(t->whole, n);
    *n = 1;
    return &t->all;
}

const checkpoint *trainable_whole(const trainable *t) {
    return t->whole ? whole_checkpoint(t->whole) : NULL;
}

pgr_status trainable_pack(trainable *t, pgr_error *err) {
    return t->whole ? whole_pack(t->whole, err) : PGR_OK;
}
