/* checkpoint.h - what a model is on disk, read but not yet computed with: a GGUF file or a Hugging Face folder. Both
 * give a config, tensors by name, a tokenizer and a chat template; nothing after this asks which it was. */
#ifndef PGR_MODEL_CHECKPOINT_H
#define PGR_MODEL_CHECKPOINT_H

#include "text/chat.h"
#include "format/config.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "format/source.h"
#include "text/tokenizer.h"

typedef struct checkpoint {
    const char *format; /* "gguf" or "huggingface" */
    char *path;
    char *name;         /* general.name, else the file's or folder's */
    config config;
    tensor_source source;
    tokenizer *tok;
    chat_template chat;
    const char *bos_text, *eos_text; /* what templates see as bos_token and eos_token; NULL: none */
    int32_t pad; /* the token that a config.json names as padding, of which a score head wants to know; -1: none */
    const char *chat_from; /* the file or key that the template came from, NULL: there is none */
    gguf gguf;             /* the mappings behind source: one of the two */
    safetensors safetensors;
    arena arena;
} checkpoint;

/* path: a .gguf file, or a folder with config.json, tokenizer.json and safetensors. Maps the weights, reads none. The
 * tensors point into *c, which must stay where it is; on error *c is empty. */
pgr_status checkpoint_open(const char *path, checkpoint *c, pgr_error *err);
/* Another chat template instead of the file's: "chatml", "llama3", the text of a template (it holds "{%" or "{{"), or
 * the path of a file. One that cannot be used is an error; *c is then as it was. */
pgr_status checkpoint_set_chat(checkpoint *c, const char *given, pgr_error *err);
void checkpoint_close(checkpoint *c);

#endif
