/* lora_names.c - owns the endings of tensor names in adapter files. */
#include "model/lora_names.h"

#include <string.h>

static const lora_ending peft_endings[] = {
    {".lora_A.weight", LORA_PART_A, ".lora_B.weight", false},
    {".lora_B.weight", LORA_PART_B, ".lora_A.weight", false},
    {".lora_embedding_A", LORA_PART_A, ".lora_embedding_B", true},
    {".lora_embedding_B", LORA_PART_B, ".lora_embedding_A", true},
    {".base_layer.weight", LORA_PART_WHOLE, NULL, false},
    {".weight", LORA_PART_WHOLE, NULL, false},
    {"", LORA_PART_NONE, NULL, false},
};
static const lora_ending gguf_endings[] = {
    {".weight.lora_a", LORA_PART_A, ".weight.lora_b", false},
    {".weight.lora_b", LORA_PART_B, ".weight.lora_a", false},
    {"", LORA_PART_NONE, NULL, false},
};

const lora_ending *lora_ending_of(const char *name, bool peft, size_t *module) {
    size_t n = strlen(name);
    for (const lora_ending *e = peft ? peft_endings : gguf_endings;; e++) {
        size_t m = strlen(e->text);
        if (m > n || strcmp(name + n - m, e->text) != 0) continue;
        *module = n - m;
        return e;
    }
}
