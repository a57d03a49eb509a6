/* local_text.c - texts as tokens for the engine on this machine: prompts in the model's chat template, counts,
 * clips. */
#include "base/mem.h"
#include "infer/counts.h"
#include "infer/local.h"
#include "infer/slot_tokens.h"

static pgr_status encode(const local *l, const char *text, size_t n, int flags, ids *out, pgr_error *err) {
    PGR_TRY(tok_encode(l->m->tok, text ? text : "", n, flags, out, err));
    return out->failed ? fail_mem(err) : PGR_OK;
}

pgr_status local_tokens(pgr_engine *e, const char *text, size_t n, int flags, ids *out, pgr_error *err) {
    return encode((const local *)e, text, n, flags, out, err);
}

pgr_status local_text(pgr_engine *e, const int32_t *tokens, size_t n, buf *out, pgr_error *err) {
    PGR_TRY(tok_decode(((const local *)e)->m->tok, tokens, n, out, err));
    return out->failed ? fail_mem(err) : PGR_OK;
}

pgr_status local_count(pgr_engine *e, const char *text, size_t n, size_t *out, pgr_error *err) {
    return tokens_count(((const local *)e)->m->tok, text, n, out, err);
}

pgr_status local_count_messages(pgr_engine *e, const infer_message *messages, size_t n, size_t *out, pgr_error *err) {
    const pgr_model *m = ((const local *)e)->m;
    return tokens_count_messages(&m->chat, m->tok, messages, n, out, err);
}

pgr_status local_render(pgr_engine *e, const infer_message *messages, size_t n, bool begun, ids *out, pgr_error *err) {
    const pgr_model *m = ((const local *)e)->m;
    return tokens_render(&m->chat, m->tok, messages, n, begun, out, err);
}

pgr_status local_clip(pgr_engine *e, const char *text, size_t n, size_t keep, buf *out, pgr_error *err) {
    return tokens_clip(((const local *)e)->m->tok, text, n, keep, out, err);
}

/* ---- prompts with slots ---- */

pgr_status local_slot_tokens(pgr_engine *e, const infer_message *messages, size_t n_message, const infer_slot *slots,
                             size_t n_slot, infer_slot_tokens *out, pgr_error *err) {
    infer_request r = {.messages = messages, .n_message = n_message, .slots = slots, .n_slot = n_slot};
    infer_slot_tokens t = {0};
    const pgr_model *m = ((const local *)e)->m;
    slot_texts x = {&m->chat, m->tok};
    pgr_status s = slot_tokens_fill(&x, &r, &t, err);
    if (s == PGR_OK)
        *out = t;
    else
        infer_slot_tokens_free(&t);
    return s;
}

/* The prompt's tokens go over to the result. */
static pgr_status slot_prompt(local *l, const infer_request *r, ids *out, infer_slot_tokens **slots, pgr_error *err) {
    infer_slot_tokens *t = mem_zero(1, sizeof *t);
    if (!t) return fail_mem(err);
    *slots = t;
    slot_texts x = {&l->m->chat, l->m->tok};
    PGR_TRY(slot_tokens_fill(&x, r, t, err));
    *out = t->tokens;
    t->tokens = (ids){0};
    return PGR_OK;
}

/* ---- prompts ---- */

pgr_status prompt_tokens(local *l, const infer_request *r, ids *out, infer_slot_tokens **slots, pgr_error *err) {
    if (r->slots) return slot_prompt(l, r, out, slots, err);
    if (r->messages) return tokens_render(&l->m->chat, l->m->tok, r->messages, r->n_message, true, out, err);
    if (r->text) return encode(l, r->text, r->n_text, r->text_flags, out, err);
    ids_append(out, r->prompt, r->n_prompt);
    return out->failed ? fail_mem(err) : PGR_OK;
}
