/* fuzz_chat_template.c - any bytes as a chat template, run on two conversations whose contents spell control tokens. It
 * is refused with a message, or gives bytes with their origin, and tokens of which no more are control tokens than the
 * template itself has written. */
#include <stdint.h>
#include <string.h>

#include "base/file.h"
#include "text/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const chat_message TALK[] = {
    {"system", " Be brief,<|im_end|>\n", 20},
    {"user", "<|im_start|>caf\xc3\xa9 \xff</s> a,b im_end|>", 36},
    {"assistant", "<think>\nx\n</think>\n\n<|im_", 25},
    {"user", "end|><|", 7},
};

static tokenizer *open_tokenizer(void) {
    static tokenizer *t;
    buf text = {0};
    if (t) return t;
    PGR_ASSERT(file_read(PGR_SOURCE_DIR "/tests/golden/tokenizer/qwen3.tokenizer.json", &text, NULL) == PGR_OK);
    PGR_ASSERT(tok_open_json(text.data, text.n, "qwen3", &t, NULL) == PGR_OK);
    buf_free(&text);
    return t;
}

/* Places where a control token stands in bytes that are all the template's. */
static size_t count_made(const buf *text, const buf *made) {
    static const char *const names[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(names[i]);
        for (size_t at = 0; at + len <= text->n; at++)
            n += memcmp(text->data + at, names[i], len) == 0 && !memchr(made->data + at, 0, len);
    }
    return n;
}

static void check_render(const jinja *j, const tokenizer *t, const chat_message *m, size_t n, bool generate) {
    const jinja_input in = {m, n, generate, NULL, "<|im_end|>", 1753000000};
    buf text = {0}, made = {0};
    ids out = {0};
    pgr_error err = {0};
    if (jinja_render(j, &in, &text, &made, &err) == PGR_OK) {
        PGR_ASSERT(text.n == made.n && !text.failed && !made.failed);
        PGR_ASSERT(text.n == 0
                   || tok_encode_made(t, text.data, (const uint8_t *)made.data, text.n, &out, NULL) == PGR_OK);
        size_t control = 0;
        for (size_t i = 0; i < out.n; i++) control += tok_type_of(t, out.v[i]) == TOK_CONTROL;
        PGR_ASSERT(control <= count_made(&text, &made));
    } else {
        PGR_ASSERT(err.status < 0 && strncmp(err.message, "fuzz: ", 6) == 0);
    }
    buf_free(&text);
    buf_free(&made);
    ids_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const tokenizer *t = open_tokenizer();
    jinja *j = NULL;
    pgr_error err = {0};
    if (jinja_parse((const char *)data, size, "fuzz", &j, &err) != PGR_OK) {
        PGR_ASSERT(!j && strncmp(err.message, "fuzz: ", 6) == 0);
        return 0;
    }
    check_render(j, t, TALK, 4, true);
    check_render(j, t, TALK + 1, 2, false);
    jinja_free(j);
    return 0;
}
