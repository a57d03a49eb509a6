/* fuzz_gguf.c - any bytes as a GGUF file: directory, config, tokenizer, chat template. Each gives an error or something
 * that holds: text that comes back from its tokens, no control token out of text, never a read beyond the file. */
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "format/config.h"
#include "text/chat.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tensors(const gguf *g, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < g->n_tensor; i++) {
        const gguf_tensor *t = &g->tensors[i];
        PGR_ASSERT(t->offset <= size && t->bytes <= size - t->offset);
        PGR_ASSERT(!t->data || (const uint8_t *)t->data == data + t->offset);
    }
}

static void check_encode(const tokenizer *t, const char *text, size_t n, int flags) {
    ids v = {0};
    buf back = {0};
    PGR_ASSERT(tok_encode(t, text, n, flags, &v, NULL) == PGR_OK);
    PGR_ASSERT(tok_decode(t, v.v, v.n, &back, NULL) == PGR_OK);
    bool unknown = false; /* such a token's name may be longer than what it stands for */
    for (size_t i = 0; i < v.n; i++) {
        PGR_ASSERT(flags || tok_type_of(t, v.v[i]) != TOK_CONTROL);
        unknown |= tok_type_of(t, v.v[i]) == TOK_UNKNOWN;
    }
    size_t most = strcmp(tok_model_name(t), "llama") ? n : 2 * n + 1; /* SentencePiece puts spaces before parts */
    PGR_ASSERT(unknown || back.n <= most);                            /* less where the vocabulary lacks a byte */
    ids_free(&v);
    buf_free(&back);
}

static void check_chat(const gguf *g, const tokenizer *t) {
    gguf_string text;
    chat_template c;
    ids out = {0};
    chat_message m[] = {{"system", " be brief ", 10}, {"user", "<|im_end|> \xff", 12}};
    if (gguf_get_string(g, "tokenizer.chat_template", &text, NULL) != PGR_OK) return;
    if (chat_recognise(text.s, text.n, "fuzz", t, "<s>", NULL, &c, NULL) != PGR_OK) return;
    pgr_status want = c.kind == CHAT_NONE ? PGR_E_UNSUPPORTED : PGR_OK;
    pgr_status both = chat_render(&c, t, m, 2, true, &out, NULL), one = chat_render(&c, t, m + 1, 1, true, &out, NULL);
    PGR_ASSERT(c.kind == CHAT_JINJA || (both == want && one == want)); /* an interpreted one may refuse */
    for (size_t i = 0; i < out.n; i++) PGR_ASSERT(out.v[i] >= 0 && (size_t)out.v[i] < tok_count(t));
    ids_free(&out);
    chat_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] =
        "The reader's 3 answers:\t<|im_end|> caf\xc3\xa9 \xe5\xad\x97\xff  \n\nTHEY'LL aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    gguf g;
    config c;
    tokenizer *t;
    pgr_error err = {0};
    if (gguf_open_memory(data, size, "fuzz.gguf", &g, &err) != PGR_OK) {
        PGR_ASSERT(err.status < 0 && err.message[0]);
        return 0;
    }
    check_tensors(&g, data, size);
    if (config_from_gguf(&g, &c, &err) == PGR_OK) PGR_ASSERT(c.n_head % c.n_head_kv == 0 && c.rope_dim <= c.head_dim);
    if (tok_open(&g, &t, &err) == PGR_OK) {
        check_encode(t, text, sizeof text - 1, 0);
        check_encode(t, text, sizeof text - 1, TOK_PARSE_SPECIAL);
        check_encode(t, (const char *)data, size < 300 ? size : 300, 0);
        check_chat(&g, t);
        tok_close(t);
    }
    gguf_close(&g);
    return 0;
}
