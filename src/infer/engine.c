/* engine.c - the calls of engine.h, handed to the kind of engine that it is, and what is the same for all kinds. */
#include "infer/engine_ops.h"

#include "base/mem.h"

void pgr_engine_free(pgr_engine *e) {
    if (e) e->ops->free(e);
}

pgr_status pgr_engine_set_loras(pgr_engine *e, pgr_lora *const *loras, const float *scales, size_t n, pgr_error *err) {
    return e->ops->set_loras(e, &(infer_adapters){loras, scales, n}, err);
}

const char *pgr_engine_name(const pgr_engine *e) {
    return e->ops->about(e)->name;
}

const engine_info *engine_about(const pgr_engine *e) {
    return e->ops->about(e);
}

pgr_status engine_count(pgr_engine *e, const char *text, size_t n, size_t *out, pgr_error *err) {
    return e->ops->count(e, text, n, out, err);
}

pgr_status engine_count_messages(pgr_engine *e, const infer_message *messages, size_t n, size_t *out, pgr_error *err) {
    return e->ops->count_messages(e, messages, n, out, err);
}

pgr_status engine_clip(pgr_engine *e, const char *text, size_t n, size_t keep, buf *out, pgr_error *err) {
    return e->ops->clip(e, text, n, keep, out, err);
}

pgr_status engine_tokens(pgr_engine *e, const char *text, size_t n, int flags, ids *out, pgr_error *err) {
    return e->ops->tokens(e, text, n, flags, out, err);
}

pgr_status engine_render(pgr_engine *e, const infer_message *messages, size_t n, bool begun, ids *out, pgr_error *err) {
    return e->ops->render(e, messages, n, begun, out, err);
}

pgr_status engine_text(pgr_engine *e, const int32_t *tokens, size_t n, buf *out, pgr_error *err) {
    return e->ops->text(e, tokens, n, out, err);
}

pgr_status engine_slots_tokens(pgr_engine *e, const infer_message *messages, size_t n_message, const infer_slot *slots,
                               size_t n_slot, infer_slot_tokens *out, pgr_error *err) {
    return e->ops->slot_tokens(e, messages, n_message, slots, n_slot, out, err);
}

void infer_slot_tokens_free(infer_slot_tokens *t) {
    ids_free(&t->tokens);
    ids_free(&t->choices);
    mem_free(t->rows);
    mem_free(t->end);
    mem_free(t->first);
    *t = (infer_slot_tokens){0};
}

pgr_status engine_submit(pgr_engine *e, const infer_request *request, infer_ticket *out, pgr_error *err) {
    return e->ops->submit(e, request, out, err);
}

void engine_cancel(pgr_engine *e, infer_ticket ticket) {
    e->ops->cancel(e, ticket);
}

bool engine_step(pgr_engine *e) {
    return e->ops->step(e);
}

bool engine_take(pgr_engine *e, const void *owner, infer_event *out) {
    return e->ops->take(e, owner, out);
}

engine_load engine_state(const pgr_engine *e) {
    return e->ops->state(e);
}

pgr_status infer_logprobs(pgr_engine *e, const int32_t *tokens, size_t n, const infer_options *options, float *out,
                          pgr_error *err) {
    static const infer_options NONE;
    return e->ops->logprobs(e, tokens, n, options ? options : &NONE, out, err);
}

void chain_free(infer_chain *c) {
    buf_free(&c->text);
    ids_free(&c->tokens);
    mem_free(c->logprobs);
    mem_free(c->forced);
    mem_free(c->why);
    mem_free(c->tops);
    for (size_t i = 0; i < c->n_place; i++) infer_place_free(&c->places[i]);
    mem_free(c->places);
}

void infer_result_free(infer_result *r) {
    if (!r) return;
    for (size_t i = 0; r->chains && i < r->n_chain; i++) chain_free(&r->chains[i]);
    mem_free(r->chains);
    for (size_t i = 0; i < r->n_reading; i++) mem_free(r->readings[i].logprobs);
    mem_free(r->readings);
    ids_free(&r->prompt);
    mem_free(r);
}
