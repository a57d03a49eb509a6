/* fuzz_vocab_txt.c - any bytes as a tokenizer_config.json, a NUL byte and a vocab.txt: an error, or a tokenizer whose
 * ids are in range, which makes no control token of text. */
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_encode(const tokenizer *t, const char *text, size_t n, int flags) {
    ids v = {0};
    buf out = {0};
    pgr_error err = {0};
    PGR_ASSERT(tok_encode(t, text, n, flags, &v, &err) == PGR_OK);
    for (size_t i = 0; i < v.n; i++) {
        PGR_ASSERT(v.v[i] >= 0 && (size_t)v.v[i] < tok_count(t));
        PGR_ASSERT(flags || tok_type_of(t, v.v[i]) != TOK_CONTROL);
    }
    PGR_ASSERT(tok_decode(t, v.v, v.n, &out, NULL) == PGR_OK);
    ids_free(&v);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] = "The reader's UNAFFABLE answers:\t[MASK] caf\xc3\xa9 e\xcc\x81 \xe5\xad\x97\xff [SEP]";
    tokenizer *t = NULL;
    pgr_error err = {0};
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    if (!nul) return 0;
    size_t n = (size_t)(nul - data);
    if (tok_open_vocab((const char *)nul + 1, size - n - 1, "vocab.txt", (const char *)data, n, "config.json", &t, &err)
        != PGR_OK) {
        PGR_ASSERT(!t && err.status < 0 && err.message[0]);
        return 0;
    }
    check_encode(t, text, sizeof text - 1, 0);
    check_encode(t, text, sizeof text - 1, TOK_PARSE_SPECIAL | TOK_BOS);
    check_encode(t, (const char *)data, size < 300 ? size : 300, 0);
    tok_close(t);
    return 0;
}
