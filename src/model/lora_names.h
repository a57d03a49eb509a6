/* lora_names.h - what the end of a tensor's name in an adapter file says: a factor A or B of some module, or a whole
 * tensor. */
#ifndef PGR_MODEL_LORA_NAMES_H
#define PGR_MODEL_LORA_NAMES_H

#include <stdbool.h>
#include <stddef.h>

typedef enum lora_part { LORA_PART_A, LORA_PART_B, LORA_PART_WHOLE, LORA_PART_NONE } lora_part;

typedef struct lora_ending {
    const char *text;
    lora_part part;
    const char *other; /* ending of the tensor that it comes with; NULL: none */
    bool lookup;       /* of the embedding's factors, which PEFT names differently */
} lora_ending;

/* peft: of a PEFT folder, else of a GGUF file. *module: bytes of the name before the ending. Never NULL. */
const lora_ending *lora_ending_of(const char *name, bool peft, size_t *module);

#endif
