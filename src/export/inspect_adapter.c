/* inspect_adapter.c - what a LoRA adapter is, without the model that it goes on: format, ranks, scales, targets,
 * tensors in place of the model's. Whether it fits a model is for lora_open. Also tells adapters,
 * encoders and models apart. */
#include <string.h>

#include "base/json.h"
#include "export/inspect_parts.h"
#include "format/bind.h"
#include "format/encoder_config.h"
#include "model/lora_config.h"
#include "model/lora_names.h"

/* Matrices of one name in all layers: q_proj. */
typedef struct target {
    const char *name;
    size_t n, min_r, max_r;
    float min_scale, max_scale;
} target;

typedef struct look {
    const char *path, *base, *arch; /* arch: of a GGUF file */
    lora_config peft;
    bool is_peft;
    double alpha; /* 0 in a GGUF file: the scale is 1 */
    tensor_source source;
    safetensors safetensors;
    gguf gguf;
    target *targets;       /* (n_target), room for one per tensor */
    const char **replaced; /* (n_replaced), the same */
    size_t n_target, n_replaced, parameters, bytes;
    arena arena;
    pgr_error *err;
} look;

/* ---- which kind of file ---- */

static pgr_status has_file(const char *folder, const char *name, bool *out, pgr_error *err) {
    buf path = {0};
    buf_printf(&path, "%s/%s", folder, name);
    *out = !path.failed && file_exists(path.data);
    pgr_status s = path.failed ? fail_mem(err) : PGR_OK;
    buf_free(&path);
    return s;
}

static pgr_status gguf_is_adapter(const char *path, bool *out, pgr_error *err) {
    gguf g;
    gguf_string type = {0};
    PGR_TRY(gguf_open(path, &g, err));
    pgr_status s = gguf_find(&g, "general.type") ? gguf_get_string(&g, "general.type", &type, err) : PGR_OK;
    *out = s == PGR_OK && gguf_string_is(type, "adapter");
    gguf_close(&g);
    return s;
}

pgr_status inspect_kind_of(const char *path, inspect_kind *out, pgr_error *err) {
    bool adapter = false, config = false, encoder = false;
    encoder_config c;
    if (!file_is_folder(path)) {
        PGR_TRY(gguf_is_adapter(path, &adapter, err));
    } else {
        PGR_TRY(has_file(path, "config.json", &config, err));
        PGR_TRY(has_file(path, "adapter_config.json", &adapter, err));
        if (config) PGR_TRY(encoder_config_read(path, &encoder, &c, err));
    }
    *out = encoder ? INSPECT_ENCODER : adapter && !config ? INSPECT_ADAPTER : INSPECT_MODEL;
    return PGR_OK;
}

/* ---- the two formats ---- */

static pgr_status open_peft(look *l) {
    const char *origin = arena_printf(&l->arena, "%s/adapter_config.json", l->path);
    const char *tensors = arena_printf(&l->arena, "%s/adapter_model.safetensors", l->path);
    if (!origin || !tensors) return fail_mem(l->err);
    buf text = {0};
    pgr_status s = file_read(origin, &text, l->err);
    if (s == PGR_OK) s = lora_config_parse(text.data, text.n, origin, &l->peft, l->err);
    buf_free(&text);
    if (s != PGR_OK) return s;
    PGR_TRY(safetensors_open(tensors, &l->safetensors, l->err));
    l->is_peft = true;
    l->source = l->safetensors.source;
    l->alpha = l->peft.alpha;
    l->base = l->peft.base;
    return PGR_OK;
}

static pgr_status copy_key(look *l, const char *key, const char **out) {
    gguf_string v;
    if (!gguf_find(&l->gguf, key)) return PGR_OK;
    PGR_TRY(gguf_get_string(&l->gguf, key, &v, l->err));
    *out = arena_strndup(&l->arena, v.s, v.n);
    return *out ? PGR_OK : fail_mem(l->err);
}

static pgr_status open_gguf(look *l) {
    const char *type = NULL;
    float alpha;
    PGR_TRY(gguf_open(l->path, &l->gguf, l->err));
    PGR_TRY(copy_key(l, "adapter.type", &type));
    if (!type || strcmp(type, "lora") != 0)
        return fail(l->err, PGR_E_UNSUPPORTED, "%s: adapter.type is %.40s, expected lora", l->path,
                    type ? type : "missing");
    PGR_TRY(copy_key(l, "general.architecture", &l->arch));
    PGR_TRY(copy_key(l, "general.base_model.0.name", &l->base));
    PGR_TRY(gguf_get_f32_or(&l->gguf, "adapter.lora.alpha", 0.0f, &alpha, l->err));
    l->alpha = (double)alpha;
    return source_from_gguf(&l->gguf, &l->arena, &l->source, l->err);
}

/* ---- tensors ---- */

static target *target_named(look *l, const char *name) {
    for (size_t i = 0; i < l->n_target; i++)
        if (strcmp(l->targets[i].name, name) == 0) return &l->targets[i];
    target *t = &l->targets[l->n_target++];
    *t = (target){.name = name};
    return t;
}

static void add_to(target *t, size_t r, float scale) {
    bool first = t->n++ == 0;
    if (first || r < t->min_r) t->min_r = r;
    if (first || r > t->max_r) t->max_r = r;
    if (first || scale < t->min_scale) t->min_scale = scale;
    if (first || scale > t->max_scale) t->max_scale = scale;
}

/* A's rank and scale; module: "base_model.model.model.layers.0.self_attn.q_proj" or "blk.0.attn_q" */
static pgr_status take_a(look *l, const char *module, const lora_ending *e, const source_tensor *a) {
    static const char wrapper[] = "base_model.model.";
    const char *other = arena_printf(&l->arena, "%s%s", module, e->other), *dot = strrchr(module, '.');
    if (!other) return fail_mem(l->err);
    if (!source_find(&l->source, other))
        return fail(l->err, PGR_E_FORMAT, "%s: tensor %.128s is missing, which %.128s needs", l->path, other, a->name);
    const char *name = dot ? dot + 1 : module;
    bool lookup = strcmp(name, "token_embd") == 0;
    size_t r = lookup ? a->dim[0] : a->dim[1];
    float scale = l->alpha != 0 && r > 0 ? (float)(l->alpha / (double)r) : 1.0f;
    size_t skip = strncmp(module, wrapper, sizeof wrapper - 1) == 0 ? sizeof wrapper - 1 : 0;
    if (l->is_peft) PGR_TRY(lora_config_module(&l->peft, module + skip, &r, &scale, l->err));
    size_t of_file = lookup ? a->dim[0] : a->dim[1];
    if (r != of_file)
        return fail(l->err, PGR_E_FORMAT, "%s: tensor %.128s has rank %zu, adapter_config.json says %zu", l->path,
                    a->name, of_file, r);
    add_to(target_named(l, name), r, scale);
    return PGR_OK;
}

static pgr_status take_tensor(look *l, const source_tensor *t) {
    size_t n;
    const lora_ending *e = lora_ending_of(t->name, l->is_peft, &n);
    PGR_TRY(bind_check_type(l->path, t, l->err));
    const char *module = arena_strndup(&l->arena, t->name, n);
    if (!module) return fail_mem(l->err);
    if (e->part == LORA_PART_NONE)
        return fail(l->err, PGR_E_UNSUPPORTED, "%s: tensor %.128s: %s", l->path, t->name,
                    strstr(t->name, "lora_magnitude_vector") ? "DoRA is not supported"
                                                             : "neither a factor of LoRA nor a weight");
    if (e->part == LORA_PART_WHOLE) l->replaced[l->n_replaced++] = t->name;
    return e->part == LORA_PART_A ? take_a(l, module, e, t) : PGR_OK;
}

static pgr_status read_adapter(look *l) {
    PGR_TRY(file_is_folder(l->path) ? open_peft(l) : open_gguf(l));
    l->targets = arena_array(&l->arena, l->source.n_tensor + 1, sizeof *l->targets);
    l->replaced = arena_array(&l->arena, l->source.n_tensor + 1, sizeof *l->replaced);
    if (!l->targets || !l->replaced) return fail_mem(l->err);
    inspect_count(&l->source, &l->parameters, &l->bytes);
    for (size_t i = 0; i < l->source.n_tensor; i++) PGR_TRY(take_tensor(l, &l->source.tensors[i]));
    return PGR_OK;
}

/* ---- reports ---- */

static const char *rule(const look *l) {
    if (l->is_peft && l->peft.rslora) return "alpha / sqrt(rank)";
    return l->is_peft || l->alpha != 0 ? "alpha / rank" : "1";
}

static void put_target_json(buf *b, const target *t) {
    buf_puts(b, "{");
    inspect_put_field(b, "name", t->name);
    buf_printf(b, "\"matrices\":%zu,\"rank\":[%zu,%zu],\"scale\":[", t->n, t->min_r, t->max_r);
    json_put_number(b, (double)t->min_scale);
    buf_putc(b, ',');
    json_put_number(b, (double)t->max_scale);
    buf_puts(b, "]}");
}

static void put_json(const look *l, buf *b) {
    buf_puts(b, "{\"kind\":\"lora\",");
    inspect_put_field(b, "path", l->path);
    inspect_put_field(b, "format", l->is_peft ? "peft" : "gguf");
    inspect_put_or_null(b, "architecture", l->arch, ",");
    inspect_put_or_null(b, "base", l->base, ",");
    buf_puts(b, "\"alpha\":");
    if (l->is_peft || l->alpha != 0)
        json_put_number(b, l->alpha);
    else
        buf_puts(b, "null");
    buf_putc(b, ',');
    inspect_put_field(b, "scale_rule", rule(l));
    buf_puts(b, "\"targets\":[");
    for (size_t i = 0; i < l->n_target; i++) {
        if (i) buf_putc(b, ',');
        put_target_json(b, &l->targets[i]);
    }
    buf_puts(b, "],\"replaced\":[");
    for (size_t i = 0; i < l->n_replaced; i++) {
        if (i) buf_putc(b, ',');
        json_put_string(b, l->replaced[i], strlen(l->replaced[i]));
    }
    buf_printf(b, "],\"parameters\":%zu,\"bytes\":%zu,", l->parameters, l->bytes);
    inspect_put_tensors(b, &l->source);
    buf_puts(b, "}");
}

static void put_target(buf *b, const target *t, bool first) {
    buf_printf(b, "%-15s %s: %zu %s, rank %zu", first ? "targets" : "", t->name, t->n,
               t->n == 1 ? "matrix" : "matrices", t->min_r);
    if (t->max_r > t->min_r) buf_printf(b, " to %zu", t->max_r);
    buf_printf(b, ", scale %g", (double)t->min_scale);
    if (t->max_scale > t->min_scale) buf_printf(b, " to %g", (double)t->max_scale);
    buf_puts(b, "\n");
}

static void put_text(const look *l, buf *b) {
    buf_printf(b, "file            %s (%s), a LoRA adapter: for --lora\n", l->path, l->is_peft ? "PEFT" : "gguf");
    buf_printf(b, "made for        %s%s%s\n", l->base ? l->base : "a model that the file does not name",
               l->arch ? ", architecture " : "", l->arch ? l->arch : "");
    buf_printf(b, "scale           %s", rule(l));
    if (l->is_peft || l->alpha != 0) buf_printf(b, ", alpha %g", l->alpha);
    buf_puts(b, l->is_peft && l->peft.n_rank + l->peft.n_alpha > 0 ? " (patterns change some)\n" : "\n");
    for (size_t i = 0; i < l->n_target; i++) put_target(b, &l->targets[i], i == 0);
    for (size_t i = 0; i < l->n_replaced; i++) buf_printf(b, "%-15s %s, whole\n", i ? "" : "replaced", l->replaced[i]);
    buf_printf(b, "parameters      %zu in %.1f MB; %.1f MB in memory beside the model\n", l->parameters,
               (double)l->bytes / 1e6, (double)l->parameters * 4e-6);
    inspect_put_types(b, &l->source);
}

pgr_status inspect_adapter(const char *path, bool json, buf *out, pgr_error *err) {
    look l = {.path = path, .err = err};
    pgr_status s = read_adapter(&l);
    if (s == PGR_OK) (json ? put_json : put_text)(&l, out);
    lora_config_free(&l.peft);
    safetensors_close(&l.safetensors);
    gguf_close(&l.gguf);
    arena_free(&l.arena);
    return s;
}
