/* counts.c - see counts.h. */
#include "infer/counts.h"

#include "base/mem.h"
#include "base/text.h"

static pgr_status encode(const tokenizer *tok, const char *text, size_t n, ids *out, pgr_error *err) {
    PGR_TRY(tok_encode(tok, text ? text : "", n, 0, out, err));
    return out->failed ? fail_mem(err) : PGR_OK;
}

pgr_status tokens_count(const tokenizer *tok, const char *text, size_t n, size_t *out, pgr_error *err) {
    ids list = {0};
    pgr_status s = encode(tok, text, n, &list, err);
    if (s == PGR_OK) *out = list.n;
    ids_free(&list);
    return s;
}

pgr_status tokens_render(const chat_template *chat, const tokenizer *tok, const infer_message *messages, size_t n,
                         bool begun, ids *out, pgr_error *err) {
    chat_message *list = mem_array(n + 1, sizeof *list);
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < n; i++)
        list[i] = (chat_message){messages[i].role, messages[i].text ? messages[i].text : "", messages[i].n};
    pgr_status s = chat_render(chat, tok, list, n, begun, out, err);
    mem_free(list);
    if (s == PGR_OK && out->failed) s = fail_mem(err);
    return s;
}

pgr_status tokens_count_messages(const chat_template *chat, const tokenizer *tok, const infer_message *messages,
                                 size_t n, size_t *out, pgr_error *err) {
    ids list = {0};
    pgr_status s = tokens_render(chat, tok, messages, n, true, &list, err);
    if (s == PGR_OK) *out = list.n;
    ids_free(&list);
    return s;
}

pgr_status tokens_clip(const tokenizer *tok, const char *text, size_t n, size_t keep, buf *out, pgr_error *err) {
    ids list = {0};
    buf part = {0};
    pgr_status s = encode(tok, text, n, &list, err);
    if (s == PGR_OK && keep < list.n) s = tok_decode(tok, list.v, keep, &part, err);
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
