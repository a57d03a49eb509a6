/* local_text.c - texts as tokens for the engine on this machine: prompts in the model's chat template, counts,
 * clips. */
#include "base/mem.h"
#include "base/text.h"
#include "infer/local.h"

static pgr_status encode(const local *l, const char *text, size_t n, int flags, ids *out, pgr_error *err) {
    PGR_TRY(tok_encode(l->m->tok, text ? text : "", n, flags, out, err));
    return out->failed ? fail_mem(err) : PGR_OK;
}

pgr_status local_tokens(pgr_engine *e, const char *text, size_t n, int flags, ids *out, pgr_error *err) {
    return encode((const local *)e, text, n, flags, out, err);
}

pgr_status local_count(pgr_engine *e, const char *text, size_t n, size_t *out, pgr_error *err) {
    ids list = {0};
    pgr_status s = encode((const local *)e, text, n, 0, &list, err);
    if (s == PGR_OK) *out = list.n;
    ids_free(&list);
    return s;
}

static pgr_status render(const local *l, const infer_message *messages, size_t n, ids *out, pgr_error *err) {
    chat_message *list = mem_array(n + 1, sizeof *list);
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < n; i++)
        list[i] = (chat_message){messages[i].role, messages[i].text ? messages[i].text : "", messages[i].n};
    pgr_status s = chat_render(&l->m->chat, l->m->tok, list, n, true, out, err);
    mem_free(list);
    if (s == PGR_OK && out->failed) s = fail_mem(err);
    return s;
}

pgr_status local_count_messages(pgr_engine *e, const infer_message *messages, size_t n, size_t *out, pgr_error *err) {
    ids list = {0};
    pgr_status s = render((const local *)e, messages, n, &list, err);
    if (s == PGR_OK) *out = list.n;
    ids_free(&list);
    return s;
}

pgr_status local_clip(pgr_engine *e, const char *text, size_t n, size_t keep, buf *out, pgr_error *err) {
    const local *l = (const local *)e;
    ids list = {0};
    buf part = {0};
    pgr_status s = encode(l, text, n, 0, &list, err);
    if (s == PGR_OK && keep < list.n) s = tok_decode(l->m->tok, list.v, keep, &part, err);
    if (s == PGR_OK && part.failed) s = fail_mem(err);
    if (s == PGR_OK && keep >= list.n)
        buf_add(out, text, n);
    else if (s == PGR_OK && part.n)
        buf_add(out, part.data, utf8_complete(part.data, part.n));
    if (s == PGR_OK && out->failed) s = fail_mem(err);
    ids_free(&list);
    buf_free(&part);
    return s;
}

pgr_status prompt_tokens(local *l, const infer_request *r, ids *out, pgr_error *err) {
    if (r->messages) return render(l, r->messages, r->n_message, out, err);
    if (r->text) return encode(l, r->text, r->n_text, r->text_flags, out, err);
    ids_append(out, r->prompt, r->n_prompt);
    return out->failed ? fail_mem(err) : PGR_OK;
}
