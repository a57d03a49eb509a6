/* adapters.h - the adapter sets that an engine's requests name (private to src/infer): each has a key under which its
 * prompts are kept in the prefix tree, and while a request uses it the table that the forward pass reads. */
#ifndef PGR_INFER_ADAPTERS_H
#define PGR_INFER_ADAPTERS_H

#include "infer/engine.h"
#include "model/forward.h"

typedef struct adapter_set {
    uint64_t key;       /* never used again for another set */
    size_t n;
    uint64_t *versions; /* (n) of the adapters: pgr_lora.version */
    float *scales;      /* (n) */
    lora_set loras;     /* while refs > 0 and not with the forward pass */
    size_t refs;
} adapter_set;

typedef struct adapter_sets adapter_sets;

pgr_status adapters_create(const pgr_model *m, forward_state *f, adapter_sets **out, pgr_error *err);
void adapters_free(adapter_sets *s); /* NULL is fine */

/* The set of these adapters, one more reference. Errors as pgr_engine_set_loras. */
pgr_status adapters_take(adapter_sets *s, const infer_adapters *wanted, adapter_set **out, pgr_error *err);
void adapters_ref(adapter_set *set);
/* The adapters are not touched afterwards, the key is known on. NULL is fine. */
void adapters_drop(adapter_sets *s, adapter_set *set);

/* The forward pass computes with this set from here on. */
void adapters_use(adapter_sets *s, adapter_set *set);

#endif
