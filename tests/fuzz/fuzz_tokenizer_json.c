/* fuzz_tokenizer_json.c - any bytes as a tokenizer.json: an error, or a tokenizer whose ids are in range, which makes
 * no control token of text, and whose stream gives what decoding at once gives. */
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_stream(const tokenizer *t, const ids *v) {
    tok_stream s;
    buf whole = {0}, parts = {0};
    PGR_ASSERT(tok_decode(t, v->v, v->n, &whole, NULL) == PGR_OK);
    tok_stream_begin(&s, t);
    for (size_t i = 0; i < v->n; i++) {
        PGR_ASSERT(tok_stream_put(&s, v->v[i], &parts, NULL) == PGR_OK);
        PGR_ASSERT(s.n_held < 4);
    }
    PGR_ASSERT(tok_stream_end(&s, &parts, NULL) == PGR_OK);
    PGR_ASSERT(whole.n == parts.n && (whole.n == 0 || memcmp(whole.data, parts.data, whole.n) == 0));
    buf_free(&whole);
    buf_free(&parts);
}

static void check_encode(const tokenizer *t, const char *text, size_t n, int flags) {
    ids v = {0};
    pgr_error err = {0};
    pgr_status status = tok_encode(t, text, n, flags, &v, &err);
    PGR_ASSERT(status == PGR_OK || status == PGR_E_LIMIT); /* a pattern may take too long */
    for (size_t i = 0; i < v.n; i++) {
        PGR_ASSERT(v.v[i] >= 0 && (size_t)v.v[i] < tok_count(t));
        PGR_ASSERT(flags || tok_type_of(t, v.v[i]) != TOK_CONTROL);
    }
    check_stream(t, &v);
    ids_free(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] = "The reader's 3 answers:\t<|im_end|> caf\xc3\xa9 e\xcc\x81 \xe5\xad\x97\xff  "
                               "\n\nTHEY'LL <think> [INST] aaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    tokenizer *t = NULL;
    pgr_error err = {0};
    if (tok_open_json((const char *)data, size, "fuzz.json", &t, &err) != PGR_OK) {
        PGR_ASSERT(!t && err.status < 0 && err.message[0]);
        return 0;
    }
    check_encode(t, text, sizeof text - 1, 0);
    check_encode(t, text, sizeof text - 1, TOK_PARSE_SPECIAL | TOK_BOS);
    check_encode(t, (const char *)data, size < 300 ? size : 300, 0);
    tok_close(t);
    return 0;
}
