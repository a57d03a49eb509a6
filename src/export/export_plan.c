/* export_plan.c - owns which tensors a new file has: those of weights.h, bound as weights.c does, with the names,
 * types and order of rows of the new file, and with what adapters change. */
#include <math.h>
#include <string.h>

#include "export/export.h"
#include "format/bind.h"

typedef struct planner {
    const checkpoint *c;
    binding tensors;
    const export_adapter *adapters;
    size_t n_adapter;
    export_names names;
    export_types types;
    const char *prefix; /* of Hugging Face names */
    export_plan *plan;
    pgr_error *err;
} planner;

/* A tensor by its two names, before it is found. */
typedef struct wanted {
    const char *gguf, *hf;
    size_t rows, cols;
    bool matrix, permute;
} wanted;

/* ---- finding ---- */

static pgr_status find(planner *p, const wanted *w, const source_tensor **out) {
    const char *name = p->c->source.names == SOURCE_GGUF ? w->gguf : w->hf;
    return bind_tensor(&p->tensors, name, w->rows, w->cols, out);
}

/* ---- types ---- */

/* Rows that are no whole blocks cannot be packed: F16 then, as llama.cpp's converter does. */
static quant_type fitting(quant_type type, size_t cols) {
    return cols % quant_block(type) == 0 ? type : QUANT_F16;
}

/* What a changed tensor is written as that is to keep its type: Q8_0 stands in for the packed types that we do not
 * write. */
static quant_type kept(uint32_t type) {
    return quant_writable(type) && type != QUANT_Q4_0 ? (quant_type)type : QUANT_Q8_0;
}

/* own: the model's tensor. lookup: it is the embedding or the head */
static quant_type type_of(const planner *p, const export_tensor *t, const source_tensor *own, bool lookup) {
    bool changed = t->values || t->from != own || t->n_delta > 0;
    if (!t->matrix && !p->types.vectors_too) return QUANT_F32;
    if (!t->matrix && p->types.vectors_keep) return (quant_type)own->type;
    if (p->types.keep) return changed ? fitting(kept(own->type), t->cols) : (quant_type)own->type;
    bool halve = lookup && p->types.matrix == QUANT_Q4_0; /* embedding and head in 4 bits cost more than they save */
    return fitting(halve ? QUANT_Q8_0 : p->types.matrix, t->cols);
}

/* ---- adding ---- */

static export_tensor *add(planner *p, const wanted *w, const source_tensor *from) {
    export_tensor *t = &p->plan->tensors[p->plan->n++];
    bool interleave = w->permute && p->names == EXPORT_GGUF && p->c->source.names == SOURCE_HF;
    interleave = interleave && arch_find(p->c->config.arch)->rope_interleaved;
    *t = (export_tensor){.name = p->names == EXPORT_GGUF ? w->gguf : w->hf,
                         .from = from,
                         .rows = w->rows,
                         .cols = w->cols,
                         .matrix = w->matrix,
                         .head_dim = interleave ? p->c->config.head_dim : 0};
    return t;
}

/* A layer's tensor names, memory of the plan. */
static pgr_status layer_names(planner *p, size_t layer, wanted *w) {
    arena *a = &p->plan->arena;
    w->gguf = arena_printf(a, "blk.%zu.%s", layer, w->gguf);
    w->hf = arena_printf(a, "%slayers.%zu.%s", p->prefix, layer, w->hf);
    return w->gguf && w->hf ? PGR_OK : fail_mem(p->err);
}

/* Tensors that stand in place of the model's own: at scale 1 only, and of one adapter only,
 * as when adapters are set. */
static pgr_status check_whole(const planner *p, const export_tensor *t, const export_adapter *a, bool taken) {
    if (taken) return fail(p->err, PGR_E_ARG, "%s: another adapter replaces tensor %s too", a->lora->path, t->name);
    if (a->scale != 1.0f)
        return fail(p->err, PGR_E_ARG,
                    "%s: the scale is %g, but the adapter replaces tensor %s, which takes scale 1 only", a->lora->path,
                    (double)a->scale, t->name);
    return PGR_OK;
}

static pgr_status replace(planner *p, export_tensor *t, const export_adapter *a, const float *values) {
    if (!values) return PGR_OK;
    PGR_TRY(check_whole(p, t, a, t->values != NULL));
    t->values = values;
    return PGR_OK;
}

/* own: the model's tensor */
static pgr_status replace_from(planner *p, export_tensor *t, const source_tensor *own, const export_adapter *a,
                               const source_tensor *from) {
    if (!from) return PGR_OK;
    PGR_TRY(check_whole(p, t, a, t->from != own));
    t->from = from;
    return PGR_OK;
}

/* ---- layers ---- */

static pgr_status add_vector(planner *p, size_t layer, wanted w, size_t offset) {
    const source_tensor *from;
    PGR_TRY(layer_names(p, layer, &w));
    PGR_TRY(find(p, &w, &from));
    export_tensor *t = add(p, &w, from);
    for (size_t i = 0; i < p->n_adapter; i++) {
        const char *l = (const char *)&p->adapters[i].lora->layers[layer];
        PGR_TRY(replace(p, t, &p->adapters[i], *(float *const *)(const void *)(l + offset)));
    }
    t->type = type_of(p, t, from, false);
    return PGR_OK;
}

/* Room for the deltas of one tensor; those that are there are filled in.
 * offset: of lora_factors in lora_layer or lora. */
static pgr_status add_deltas(planner *p, export_tensor *t,
                             const lora_factors *(*of)(const lora *l, size_t layer, size_t offset), size_t layer,
                             size_t offset) {
    lowrank *d = arena_array(&p->plan->arena, p->n_adapter + 1, sizeof *d);
    if (!d) return fail_mem(p->err);
    for (size_t i = 0; i < p->n_adapter; i++) {
        const lora_factors *f = of(p->adapters[i].lora, layer, offset);
        if (f->r == 0 || p->adapters[i].scale == 0.0f) continue;
        d[t->n_delta] = *f;
        d[t->n_delta++].scale *= p->adapters[i].scale;
    }
    t->deltas = d;
    return PGR_OK;
}

static const lora_factors *in_layer(const lora *l, size_t layer, size_t offset) {
    return (const lora_factors *)(const void *)((const char *)&l->layers[layer] + offset);
}

static const lora_factors *beside_layers(const lora *l, size_t layer, size_t offset) {
    (void)layer;
    return (const lora_factors *)(const void *)((const char *)l + offset);
}

static pgr_status add_matrix(planner *p, size_t layer, wanted w, size_t offset) {
    const source_tensor *from;
    PGR_TRY(layer_names(p, layer, &w));
    PGR_TRY(find(p, &w, &from));
    export_tensor *t = add(p, &w, from);
    PGR_TRY(add_deltas(p, t, in_layer, layer, offset));
    t->type = type_of(p, t, from, false);
    return PGR_OK;
}

static bool is_rotated(const char *gguf) {
    return strcmp(gguf, "attn_q.weight") == 0 || strcmp(gguf, "attn_k.weight") == 0;
}

static pgr_status add_layer(planner *p, const config *c, size_t i) {
#define X(field, gguf, hf, n, where)                                                                                   \
    if (where) PGR_TRY(add_vector(p, i, (wanted){gguf, hf, 1, n, false, false}, offsetof(lora_layer, field)));
    LAYER_VECTORS(X)
#undef X
#define X(field, gguf, hf, rows, cols)                                                                                 \
    PGR_TRY(add_matrix(p, i, (wanted){gguf, hf, rows, cols, true, is_rotated(gguf)}, offsetof(lora_layer, field)));
    LAYER_MATRICES(X)
#undef X
    return PGR_OK;
}

/* ---- embedding, head, last norm ---- */

static bool changes_lookup(const lora *l) {
    return l->new_token_embd || l->token_embd.r > 0;
}
static bool changes_head(const lora *l) {
    return l->new_output || l->output.r > 0;
}

static pgr_status add_lookup(planner *p, const wanted *w, const source_tensor *from) {
    export_tensor *t = add(p, w, from);
    for (size_t i = 0; i < p->n_adapter; i++)
        PGR_TRY(replace_from(p, t, from, &p->adapters[i], p->adapters[i].lora->new_token_embd));
    PGR_TRY(add_deltas(p, t, beside_layers, 0, offsetof(lora, token_embd)));
    t->type = type_of(p, t, from, true);
    return PGR_OK;
}

static pgr_status add_head(planner *p, const wanted *w, const source_tensor *from) {
    export_tensor *t = add(p, w, from);
    for (size_t i = 0; i < p->n_adapter; i++)
        PGR_TRY(replace_from(p, t, from, &p->adapters[i], p->adapters[i].lora->new_output));
    PGR_TRY(add_deltas(p, t, beside_layers, 0, offsetof(lora, output)));
    t->type = type_of(p, t, from, true);
    return PGR_OK;
}

static pgr_status add_last_norm(planner *p, const wanted *w) {
    const source_tensor *from;
    PGR_TRY(find(p, w, &from));
    export_tensor *t = add(p, w, from);
    for (size_t i = 0; i < p->n_adapter; i++)
        PGR_TRY(replace(p, t, &p->adapters[i], p->adapters[i].lora->new_output_norm));
    t->type = type_of(p, t, from, false);
    return PGR_OK;
}

/* Llama 3.1's scaling as GGUF has it: a divisor for each frequency. */
static pgr_status add_rope(planner *p, const config *c) {
    static const wanted w = {.gguf = "rope_freqs.weight"};
    size_t n = c->rope_dim / 2;
    config plain = *c;
    plain.rope_kind = ROPE_PLAIN;
    float *v = arena_array(&p->plan->arena, n, sizeof *v);
    if (!v) return fail_mem(p->err);
    for (size_t i = 0; i < n; i++) v[i] = (float)(config_rope_freq(&plain, i) / config_rope_freq(c, i));
    export_tensor *t = add(p, &w, NULL);
    t->values = v;
    t->rows = 1;
    t->cols = n;
    t->type = QUANT_F32;
    return PGR_OK;
}

static pgr_status copy_rope(planner *p, const config *c) {
    const wanted w = {.gguf = "rope_freqs.weight", .rows = 1, .cols = c->rope_dim / 2};
    const source_tensor *from;
    if (p->c->source.names != SOURCE_GGUF || !source_find(&p->c->source, w.gguf)) return PGR_OK;
    PGR_TRY(find(p, &w, &from));
    add(p, &w, from)->type = QUANT_F32;
    return PGR_OK;
}

/* A reward model's row, in place of a head. */
static pgr_status add_score(planner *p, const config *c) {
    wanted w = {.hf = "score.weight", .rows = 1, .cols = c->n_embd, .matrix = true};
    const source_tensor *from;
    PGR_TRY(find(p, &w, &from));
    export_tensor *t = add(p, &w, from);
    t->type = type_of(p, t, from, false);
    return PGR_OK;
}

static pgr_status add_ends(planner *p, const config *c, bool *untied) {
    arena *a = &p->plan->arena;
    wanted lookup = {
        "token_embd.weight", arena_printf(a, "%sembed_tokens.weight", p->prefix), c->n_vocab, c->n_embd, true, false};
    wanted norm = {"output_norm.weight", arena_printf(a, "%snorm.weight", p->prefix), 1, c->n_embd, false, false};
    wanted head = {"output.weight", "lm_head.weight", c->n_vocab, c->n_embd, true, false};
    const char *own_head = p->c->source.names == SOURCE_GGUF ? head.gguf : head.hf;
    const source_tensor *embd, *own = source_find(&p->c->source, own_head);
    if (!lookup.hf || !norm.hf) return fail_mem(p->err);
    PGR_TRY(find(p, &lookup, &embd));
    bool tied = c->tied || !own || c->score_head, changed = false;
    for (size_t i = 0; i < p->n_adapter; i++)
        changed |= changes_lookup(p->adapters[i].lora) || changes_head(p->adapters[i].lora);
    if (tied) bind_skip(&p->tensors, own_head); /* a copy that nobody reads */
    if (!tied) PGR_TRY(find(p, &head, &own));
    *untied = tied && changed;
    PGR_TRY(add_lookup(p, &lookup, embd));
    if (!tied || changed) PGR_TRY(add_head(p, &head, tied ? embd : own));
    if (c->score_head) PGR_TRY(add_score(p, c));
    return add_last_norm(p, &norm);
}

/* ---- the plan ---- */

static pgr_status fill(planner *p, const config *c, bool *untied) {
    PGR_TRY(add_ends(p, c, untied));
    if (c->rope_kind == ROPE_LLAMA3 && p->names == EXPORT_GGUF) PGR_TRY(add_rope(p, c));
    PGR_TRY(copy_rope(p, c));
    for (size_t i = 0; i < c->n_layer; i++) PGR_TRY(add_layer(p, c, i));
    bind_skip_ending(&p->tensors, WEIGHTS_ROPE_TABLES);
    return bind_end(&p->tensors, "architecture");
}

pgr_status export_plan_make(const checkpoint *c, const export_adapter *adapters, size_t n, export_names names,
                            export_types types, export_plan *out, bool *untied, pgr_error *err) {
#define X(...) +1
    size_t per_layer = LAYER_VECTORS(X) LAYER_MATRICES(X);
#undef X
    export_plan plan = {0};
    plan.tensors = arena_array(&plan.arena, c->config.n_layer * per_layer + 4, sizeof *plan.tensors);
    planner p = {
        .c = c, .adapters = adapters, .n_adapter = n, .names = names, .types = types, .plan = &plan, .err = err};
    p.prefix = bind_prefix(&c->source, "model.", "embed_tokens.weight");
    pgr_status status = plan.tensors ? bind_begin(&p.tensors, &c->source, &plan.arena, err) : fail_mem(err);
    if (status == PGR_OK) status = fill(&p, &c->config, untied);
    if (status == PGR_OK)
        *out = plan;
    else
        arena_free(&plan.arena);
    return status;
}

void export_plan_free(export_plan *p) {
    arena_free(&p->arena);
    *p = (export_plan){0};
}
