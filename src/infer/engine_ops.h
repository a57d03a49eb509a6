/* engine_ops.h - what stands behind an engine: one table of functions per kind of engine (private to src/infer). A
 * kind has a file of its own whose struct begins with pgr_engine; engine.h says what each function does. */
#ifndef PGR_INFER_ENGINE_OPS_H
#define PGR_INFER_ENGINE_OPS_H

#include "infer/engine.h"

typedef struct engine_ops {
    void (*free)(pgr_engine *e);
    const engine_info *(*about)(const pgr_engine *e);
    pgr_status (*set_loras)(pgr_engine *e, const infer_adapters *adapters, pgr_error *err);
    pgr_status (*count_messages)(pgr_engine *e, const infer_message *messages, size_t n, size_t *out, pgr_error *err);
    pgr_status (*count)(pgr_engine *e, const char *text, size_t n, size_t *out, pgr_error *err);
    pgr_status (*clip)(pgr_engine *e, const char *text, size_t n, size_t keep, buf *out, pgr_error *err);
    pgr_status (*tokens)(pgr_engine *e, const char *text, size_t n, int flags, ids *out, pgr_error *err);
    pgr_status (*render)(pgr_engine *e, const infer_message *messages, size_t n, bool begun, ids *out, pgr_error *err);
    pgr_status (*text)(pgr_engine *e, const int32_t *tokens, size_t n, buf *out, pgr_error *err);
    pgr_status (*slot_tokens)(pgr_engine *e, const infer_message *messages, size_t n_message, const infer_slot *slots,
                              size_t n_slot, infer_slot_tokens *out, pgr_error *err);
    pgr_status (*submit)(pgr_engine *e, const infer_request *request, infer_ticket *out, pgr_error *err);
    void (*cancel)(pgr_engine *e, infer_ticket ticket);
    bool (*step)(pgr_engine *e);
    bool (*take)(pgr_engine *e, const void *owner, infer_event *out);
    engine_load (*state)(const pgr_engine *e);
    pgr_status (*logprobs)(pgr_engine *e, const int32_t *tokens, size_t n, const infer_options *options, float *out,
                           pgr_error *err);
} engine_ops;

struct pgr_engine {
    const engine_ops *ops;
};

void chain_free(infer_chain *c); /* what it holds */

#endif
