/* config.h - the numbers that drive the one forward pass, read from a file's metadata and checked for sense. */
#ifndef PGR_FORMAT_CONFIG_H
#define PGR_FORMAT_CONFIG_H

#include "format/gguf.h"

enum { MAX_HEAD_GROUP = 256 }; /* query heads per KV head */

typedef enum rope_scaling {
    ROPE_PLAIN,
    ROPE_LINEAR, /* all divided by factor */
    /* pairs that turn seldom divided by factor, those that turn often left, a ramp between; cosines and sines times
     * rope_scale */
    ROPE_YARN,
    ROPE_LLAMA3, /* long wavelengths divided by factor, short ones left, a smooth change between
                    (docs/formats.md, "config.json") */
} rope_scaling;

typedef struct config {
    char arch[32];       /* "llama" */
    size_t n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff;
    size_t n_vocab;      /* rows of the embedding */
    size_t n_ctx;        /* positions trained for */
    float norm_eps;
    double rope_base;
    size_t rope_dim;     /* values of a head that are rotated */
    bool rope_interleaved; /* pairs (2i, 2i+1): llama files from the GGUF converter, whose q and k rows are permuted */
    rope_scaling rope_kind;
    /* ROPE_LLAMA3: low and high frequency factors; ROPE_YARN: slow and fast turns */
    double rope_factor, rope_low, rope_high;
    size_t rope_original_ctx;                /* ROPE_LLAMA3, ROPE_YARN: positions before the scaling */
    /* ROPE_YARN: pairs at which the ramp begins and ends, by config_set_yarn */
    double rope_ramp[2];
    double rope_scale;                       /* of every cosine and sine; 0 is 1 */
    bool attn_bias;      /* q, k and v have biases (Qwen2) */
    bool qk_norm;        /* every head of q and k is normalised before the rotation (Qwen3) */
    bool tied;           /* the head is the embedding even where the file holds one; else only where it holds none */
    bool score_head;     /* no language head: the last state becomes one number */
} config;

/* The architecture table: what a family's metadata keys and tensors look like. A family is a row. */
typedef struct arch_row {
    const char *name;      /* general.architecture, also the prefix of its keys */
    bool rope_interleaved; /* as its GGUF files are; Hugging Face files never are */
    bool attn_bias, qk_norm;
} arch_row;

const arch_row *arch_find(const char *name); /* NULL: not supported */
const char *arch_list(void);                 /* "a, b", for messages */

/* Everything that later code relies on without a look: ranges, and what must fit what. Each reader of configs ends with
 * it. path is for messages. */
pgr_status config_check(const config *c, const char *path, pgr_error *err);

size_t config_parameters(const config *c); /* of the matrices; the output's are the embedding's */

/* By what the angle of pair i < rope_dim / 2 of a head grows from position to position;
 * scaled where there is a scaling. */
double config_rope_freq(const config *c, size_t i);

/* What multiplies every cosine and sine: YaRN's attention factor, else 1. */
double config_rope_scale(const config *c);

/* ROPE_YARN from its numbers: turns in the original context above which a pair is left (fast, 32) and below which it
 * is divided (slow, 1); truncate: the ramp begins and ends at whole pairs. attention: 0 for 1 + 0.1 ln factor.
 * factor, base, original context and rope_dim must be set. */
void config_set_yarn(config *c, double fast, double slow, bool truncate, double attention);

pgr_status config_from_gguf(const gguf *g, config *out, pgr_error *err);

#endif
