/* lora_config.h - adapter_config.json of PEFT: rank and scale of every module, and the refusal of what we do not
 * compute. */
#ifndef PGR_MODEL_LORA_CONFIG_H
#define PGR_MODEL_LORA_CONFIG_H

#include "base/arena.h"
#include "base/status.h"

struct lora_pattern; /* one entry of rank_pattern or alpha_pattern, compiled */
struct pcre2_real_general_context_8;

typedef struct lora_config {
    const char *base; /* base_model_name_or_path, NULL: none */
    size_t r;
    double alpha;
    bool rslora;      /* the scale is alpha / sqrt(r), else alpha / r */
    struct lora_pattern *ranks, *alphas; /* in the file's order */
    size_t n_rank, n_alpha;
    struct pcre2_real_general_context_8 *memory; /* PCRE2's way to mem.h; NULL: there are no patterns */
    arena arena;
} lora_config;

pgr_status lora_config_parse(const char *text, size_t n, const char *origin, lora_config *out, pgr_error *err);
void lora_config_free(lora_config *c); /* an empty one is fine */

/* Of a module as the model names it, "model.layers.0.self_attn.q_proj": the first pattern that matches its end
 * counts. */
pgr_status lora_config_module(const lora_config *c, const char *module, size_t *r, float *scale, pgr_error *err);

#endif
