/* lora.c - owns the names of an adapter's tensors and brings both formats into one form: factors by matrix, rows in the
 * model's order, checked against the model's shapes. */
#include "model/lora.h"

#include <string.h>

#include "format/bind.h"
#include "model/lora_config.h"
#include "model/lora_names.h"

/* A tensor of the model that an adapter may change. */
typedef struct slot {
    size_t N, K;
    lora_factors *factors;       /* NULL: a vector */
    const source_tensor **whole; /* where a matrix may be replaced, else NULL */
    float **vector;              /* of N = 1 row; NULL: a matrix */
    size_t n_head;               /* of q and k whose rows must be permuted; 0: as they are */
    bool lookup;                 /* the embedding: the formats have its factors transposed */
} slot;

typedef struct reader {
    lora *out;
    const config *c;
    const lora_config *peft; /* NULL: a GGUF file */
    float alpha;             /* of a GGUF file; 0: the scale is 1 */
    bool permuted;           /* the file's rows of q and k are those of interleaved pairs */
    pgr_error *err;
} reader;

static pgr_status refuse(const reader *r, const source_tensor *t, pgr_status status, const char *why) {
    return fail(r->err, status, "%s: tensor %.128s: %s", r->out->path, t->name, why);
}

/* ---- names ---- */

/* s is name without the ".weight" at name's end */
static bool is_module(const char *s, const char *name) {
    static const char ending[] = ".weight";
    size_t n = strlen(name) - (sizeof ending - 1);
    return strcmp(name + n, ending) == 0 && strncmp(s, name, n) == 0 && s[n] == '\0';
}

/* What follows "PREFIX3." in "PREFIX3.rest", and the number; NULL: no such name, or no such layer. */
static const char *layer_of(const reader *r, const char *module, const char *prefix, size_t *layer) {
    size_t n = strlen(prefix), digits = 0;
    if (strncmp(module, prefix, n) != 0) return NULL;
    for (*layer = 0; module[n] >= '0' && module[n] <= '9' && digits < 6; n++, digits++)
        *layer = 10 * *layer + (size_t)(module[n] - '0');
    return digits > 0 && module[n] == '.' && *layer < r->out->n_layer ? module + n + 1 : NULL;
}

static bool layer_slot(const reader *r, lora_layer *l, const char *rest, slot *out) {
    const config *c = r->c;
    bool permute = r->permuted != c->rope_interleaved;
#define X(field, gguf, hf, rows, cols)                                                                                 \
    if (is_module(rest, r->peft ? hf : gguf)) *out = (slot){.N = rows, .K = cols, .factors = &l->field};
    LAYER_MATRICES(X)
#undef X
#define X(field, gguf, hf, n, where)                                                                                   \
    if ((where) && is_module(rest, r->peft ? hf : gguf)) *out = (slot){.N = 1, .K = n, .vector = &l->field};
    LAYER_VECTORS(X)
#undef X
    if (permute && out->factors == &l->attn_q) out->n_head = c->n_head;
    if (permute && out->factors == &l->attn_k) out->n_head = c->n_head_kv;
    return out->N > 0;
}

/* module: "layers.0.self_attn.q_proj" without what may stand before it, or "blk.0.attn_q" */
static bool find_slot(const reader *r, const char *module, slot *out) {
    size_t layer, V = r->c->n_vocab, d = r->c->n_embd;
    lora *l = r->out;
    *out = (slot){0};
    if (is_module(module, r->peft ? "embed_tokens.weight" : "token_embd.weight"))
        *out = (slot){.N = V, .K = d, .factors = &l->token_embd, .whole = &l->new_token_embd, .lookup = true};
    if (is_module(module, r->peft ? "lm_head.weight" : "output.weight"))
        *out = (slot){.N = V, .K = d, .factors = &l->output, .whole = &l->new_output};
    if (is_module(module, r->peft ? "norm.weight" : "output_norm.weight"))
        *out = (slot){.N = 1, .K = d, .vector = &l->new_output_norm};
    const char *rest = layer_of(r, module, r->peft ? "layers." : "blk.", &layer);
    return out->N > 0 || (rest && layer_slot(r, &l->layers[layer], rest, out));
}

/* ---- values ---- */

static pgr_status check_shape(const reader *r, const source_tensor *t, size_t rows, size_t cols) {
    return bind_check(r->out->path, t, rows, cols, r->err);
}

static pgr_status load(const reader *r, const source_tensor *t, size_t rows, size_t cols, float **out) {
    PGR_TRY(check_shape(r, t, rows, cols));
    *out = arena_array(&r->out->arena, rows * cols, sizeof **out);
    if (!*out) return fail_mem(r->err);
    quant_dequant((quant_type)t->type, *out, t->data, rows * cols);
    r->out->n_value += rows * cols;
    return PGR_OK;
}

/* (rows, cols) in the file, *out: (cols, rows) */
static pgr_status load_transposed(const reader *r, const source_tensor *t, size_t rows, size_t cols, float **out) {
    PGR_TRY(check_shape(r, t, rows, cols)); /* first: the config's rank alone must not ask for memory */
    float *v, *turned = arena_array(&r->out->arena, rows * cols, sizeof *turned);
    if (!turned) return fail_mem(r->err);
    PGR_TRY(load(r, t, rows, cols, &v));
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < cols; k++) turned[k * rows + i] = v[i * cols + k];
    *out = turned;
    return PGR_OK;
}

/* Rows of heads from half-split to interleaved pairs, or back: row i + j * hd / 2 of a head of hd <-> row 2 * i + j. */
static pgr_status permute_rows(const reader *r, const slot *s) {
    size_t n = s->factors->r, hd = s->N / s->n_head;
    float *from = s->factors->b, *to = arena_array(&r->out->arena, s->N * n, sizeof *to);
    if (!to) return fail_mem(r->err);
    for (size_t row = 0; row < s->N; row++) {
        size_t i = row % hd % (hd / 2), j = row % hd / (hd / 2), pairs = row - row % hd + 2 * i + j;
        memcpy(to + (r->permuted ? row : pairs) * n, from + (r->permuted ? pairs : row) * n, n * sizeof *to);
    }
    s->factors->b = to;
    return PGR_OK;
}

/* Rank and scale: PEFT's config says them; a GGUF file has its alpha, the rank is the tensor's. */
static pgr_status rank_of(const reader *r, const slot *s, const char *module, const source_tensor *a) {
    lora_factors *f = s->factors;
    if (r->peft) return lora_config_module(r->peft, module, &f->r, &f->scale, r->err);
    f->r = s->lookup ? a->dim[0] : a->dim[1];
    f->scale = r->alpha != 0 ? r->alpha / (float)f->r : 1.0f;
    return f->r > 0 ? PGR_OK : refuse(r, a, PGR_E_FORMAT, "the rank is 0");
}

/* The two factors of a matrix. module: as PEFT's patterns want it */
static pgr_status load_factors(const reader *r, const slot *s, const char *module, const source_tensor *a,
                               const source_tensor *b) {
    lora_factors *f = s->factors;
    if (f->r > 0) return refuse(r, a, PGR_E_FORMAT, "a second pair of factors for this matrix");
    PGR_TRY(rank_of(r, s, module, a));
    f->N = s->N;
    f->K = s->K;
    if (s->lookup && r->peft) { /* A: (r, n_vocab), B: (n_embd, r) */
        PGR_TRY(load_transposed(r, a, f->r, s->N, &f->b));
        PGR_TRY(load_transposed(r, b, s->K, f->r, &f->a));
    } else if (s->lookup) { /* a: (n_vocab, r), b: (n_embd, r) */
        PGR_TRY(load(r, a, s->N, f->r, &f->b));
        PGR_TRY(load_transposed(r, b, s->K, f->r, &f->a));
    } else {
        PGR_TRY(load(r, a, f->r, s->K, &f->a));
        PGR_TRY(load(r, b, s->N, f->r, &f->b));
    }
    if (s->n_head) PGR_TRY(permute_rows(r, s));
    lora *l = r->out;
    l->min_r = l->min_r == 0 || f->r < l->min_r ? f->r : l->min_r;
    l->max_r = f->r > l->max_r ? f->r : l->max_r;
    return PGR_OK;
}

/* A tensor in place of the model's. */
static pgr_status load_whole(const reader *r, const slot *s, const source_tensor *t) {
    if (s->vector ? *s->vector != NULL : s->whole && *s->whole)
        return refuse(r, t, PGR_E_FORMAT, "a second one in place of the same tensor");
    if (s->vector) return load(r, t, 1, s->K, s->vector);
    if (!s->whole)
        return refuse(r, t, PGR_E_UNSUPPORTED,
                      "modules_to_save is supported for embed_tokens, lm_head and norms, not for a layer's matrices");
    PGR_TRY(check_shape(r, t, s->N, s->K));
    *s->whole = t;
    r->out->n_value += s->N * s->K;
    return PGR_OK;
}

/* ---- tensors ---- */

static pgr_status refuse_name(const reader *r, const source_tensor *t) {
    if (strstr(t->name, "lora_magnitude_vector")) return refuse(r, t, PGR_E_UNSUPPORTED, "DoRA is not supported");
    if (strstr(t->name, ".bias")) return refuse(r, t, PGR_E_UNSUPPORTED, "biases are not supported in an adapter");
    return refuse(r, t, PGR_E_UNSUPPORTED, "it belongs to no tensor of this model that an adapter can change");
}

/* What of a module's name stands before that of the model's own list: the wrapper's and the decoder's. */
static const char *skip_prefix(const reader *r, const char *module, const char **wrapped) {
    static const char peft[] = "base_model.model.", decoder[] = "model.";
    *wrapped = module;
    if (!r->peft) return module;
    if (strncmp(module, peft, sizeof peft - 1) != 0) return NULL;
    *wrapped = module += sizeof peft - 1;
    return strncmp(module, decoder, sizeof decoder - 1) == 0 ? module + sizeof decoder - 1 : module;
}

/* One of a pair: the A brings both in, the B must only have its A. wrapped: the module as PEFT's patterns want it */
static pgr_status read_pair(const reader *r, const slot *s, const char *module, const char *wrapped,
                            const lora_ending *e, const source_tensor *t) {
    const char *name = arena_printf(&r->out->arena, "%s%s", module, e->other);
    if (!name) return fail_mem(r->err);
    const source_tensor *other = source_find(&r->out->source, name);
    if (!other)
        return fail(r->err, PGR_E_FORMAT, "%s: tensor %.128s is missing, which %.128s needs", r->out->path, name,
                    t->name);
    return e->part == LORA_PART_A ? load_factors(r, s, wrapped, t, other) : PGR_OK;
}

static pgr_status read_tensor(const reader *r, const source_tensor *t) {
    size_t n;
    slot s;
    const lora_ending *e = lora_ending_of(t->name, r->peft != NULL, &n);
    const char *module = arena_strndup(&r->out->arena, t->name, n), *wrapped;
    if (!module) return fail_mem(r->err);
    const char *name = skip_prefix(r, module, &wrapped);
    if (e->part == LORA_PART_NONE || !name || !find_slot(r, name, &s)) return refuse_name(r, t);
    if (e->part == LORA_PART_WHOLE) return load_whole(r, &s, t);
    if (!s.factors || e->lookup != (s.lookup && r->peft)) return refuse_name(r, t);
    return read_pair(r, &s, module, wrapped, e, t);
}

static pgr_status read_all(reader *r) {
    lora *l = r->out;
    l->n_layer = r->c->n_layer;
    l->layers = arena_array(&l->arena, l->n_layer, sizeof *l->layers);
    if (!l->layers) return fail_mem(r->err);
    l->n_tensor = l->source.n_tensor;
    if (l->n_tensor == 0) return fail(r->err, PGR_E_FORMAT, "%s: the adapter has no tensors", l->path);
    for (size_t i = 0; i < l->n_tensor; i++) PGR_TRY(read_tensor(r, &l->source.tensors[i]));
    return PGR_OK;
}

/* ---- PEFT ---- */

/* The tensors are in l->safetensors. */
static pgr_status read_peft(lora *l, const char *text, size_t n, const char *origin, const config *c, pgr_error *err) {
    lora_config peft;
    l->format = "peft";
    l->source = l->safetensors.source;
    PGR_TRY(lora_config_parse(text, n, origin, &peft, err));
    pgr_status s = read_all(&(reader){.out = l, .c = c, .peft = &peft, .err = err});
    if (peft.base) l->base = arena_strdup(&l->arena, peft.base);
    if (s == PGR_OK && peft.base && !l->base) s = fail_mem(err);
    lora_config_free(&peft);
    return s;
}

static pgr_status open_peft(lora *l, const config *c, pgr_error *err) {
    const char *origin = arena_printf(&l->arena, "%s/adapter_config.json", l->path);
    const char *tensors = arena_printf(&l->arena, "%s/adapter_model.safetensors", l->path);
    const char *pickle = arena_printf(&l->arena, "%s/adapter_model.bin", l->path);
    if (!origin || !tensors || !pickle) return fail_mem(err);
    if (!file_exists(tensors) && file_exists(pickle))
        return fail(err, PGR_E_UNSUPPORTED, "%s is not read, save the adapter as safetensors", pickle);
    buf text = {0};
    pgr_status s = file_read(origin, &text, err);
    if (s == PGR_OK) s = safetensors_open(tensors, &l->safetensors, err);
    if (s == PGR_OK) s = read_peft(l, text.data, text.n, origin, c, err);
    buf_free(&text);
    return s;
}

/* ---- GGUF ---- */

static pgr_status want_text(const gguf *g, const char *key, const char *want, pgr_error *err) {
    gguf_string v;
    PGR_TRY(gguf_get_string(g, key, &v, err));
    if (gguf_string_is(v, want)) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED, "%s: %s is \"%.*s\", expected \"%s\"", g->path, key, (int)(v.n < 40 ? v.n : 40),
                v.s, want);
}

static pgr_status check_keys(const gguf *g, pgr_error *err) {
    static const char *const known[] = {"adapter.type", "adapter.lora.alpha", "adapter.lora.task_name", NULL};
    static const char prefix[] = "adapter.";
    for (size_t i = 0; i < g->n_value; i++) {
        gguf_string key = g->values[i].key;
        bool ours = key.n < sizeof prefix || memcmp(key.s, prefix, sizeof prefix - 1) != 0;
        for (size_t k = 0; !ours && known[k]; k++) ours = gguf_string_is(key, known[k]);
        if (!ours)
            return fail(err, PGR_E_UNSUPPORTED, "%s: key %.*s is not supported", g->path,
                        (int)(key.n < 60 ? key.n : 60), key.s);
    }
    return PGR_OK;
}

/* The file is in l->gguf. */
static pgr_status read_gguf(lora *l, const config *c, pgr_error *err) {
    static const char base[] = "general.base_model.0.name";
    const gguf *g = &l->gguf;
    gguf_string name = {0};
    reader r = {.out = l, .c = c, .permuted = arch_find(c->arch) && arch_find(c->arch)->rope_interleaved, .err = err};
    l->format = "gguf";
    PGR_TRY(want_text(g, "general.type", "adapter", err));
    PGR_TRY(want_text(g, "adapter.type", "lora", err));
    PGR_TRY(want_text(g, "general.architecture", c->arch, err));
    PGR_TRY(check_keys(g, err));
    PGR_TRY(gguf_get_f32_or(g, "adapter.lora.alpha", 0.0f, &r.alpha, err));
    if (!(r.alpha >= -1e9f && r.alpha <= 1e9f))
        return fail(err, PGR_E_FORMAT, "%s: adapter.lora.alpha is %g", g->path, (double)r.alpha);
    if (gguf_find(g, base)) {
        PGR_TRY(gguf_get_string(g, base, &name, err));
        l->base = arena_strndup(&l->arena, name.s, name.n);
        if (!l->base) return fail_mem(err);
    }
    PGR_TRY(source_from_gguf(g, &l->arena, &l->source, err));
    return read_all(&r);
}

/* ---- interface ---- */

static pgr_status begin(lora *l, const char *path, pgr_error *err) {
    *l = (lora){0};
    l->path = arena_strdup(&l->arena, path);
    return l->path ? PGR_OK : fail_mem(err);
}

static pgr_status finish(lora *l, pgr_status s) {
    if (s != PGR_OK) lora_close(l);
    return s;
}

pgr_status lora_open(const char *path, const config *c, lora *out, pgr_error *err) {
    bool folder = file_is_folder(path);
    pgr_status s = begin(out, path, err);
    if (s == PGR_OK && !folder) s = gguf_open(path, &out->gguf, err);
    if (s == PGR_OK) s = folder ? open_peft(out, c, err) : read_gguf(out, c, err);
    return finish(out, s);
}

pgr_status lora_open_gguf_memory(const uint8_t *data, size_t size, const char *name, const config *c, lora *out,
                                 pgr_error *err) {
    pgr_status s = begin(out, name, err);
    if (s == PGR_OK) s = gguf_open_memory(data, size, name, &out->gguf, err);
    if (s == PGR_OK) s = read_gguf(out, c, err);
    return finish(out, s);
}

pgr_status lora_open_peft_memory(const char *text, size_t n, const uint8_t *data, size_t size, const char *name,
                                 const config *c, lora *out, pgr_error *err) {
    pgr_status s = begin(out, name, err);
    if (s == PGR_OK) s = safetensors_open_memory(data, size, name, &out->safetensors, err);
    if (s == PGR_OK) s = read_peft(out, text, n, name, c, err);
    return finish(out, s);
}

void lora_close(lora *l) {
    safetensors_close(&l->safetensors);
    gguf_close(&l->gguf);
    arena_free(&l->arena);
    *l = (lora){0};
}
