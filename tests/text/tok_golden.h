/* tok_golden.h - for tests: the golden lines, and ids against the golden hashes of tools/golden_tokenizer.py. */
#ifndef PGR_TESTS_TOK_GOLDEN_H
#define PGR_TESTS_TOK_GOLDEN_H

#include "../format/gguf_make.h"

#include <jansson.h>

#include "text/tokenizer.h"

enum { N_LINE = 5200 };

static json_t *lines[N_LINE];

static inline int load_lines(void **state) {
    (void)state;
    FILE *f = fopen(GOLDEN("tokenizer/lines.jsonl"), "rb");
    char *line = NULL;
    size_t cap = 0, n = 0;
    if (!f) return -1;
    for (; n < N_LINE && getline(&line, &cap, f) > 0; n++)
        if (!(lines[n] = json_loads(line, JSON_DECODE_ANY, NULL))) return -1;
    free(line);
    fclose(f);
    return n == N_LINE ? 0 : -1;
}

static inline int free_lines(void **state) {
    (void)state;
    for (size_t i = 0; i < N_LINE; i++) json_decref(lines[i]);
    return 0;
}

static inline ids encode(const tokenizer *t, const char *s, size_t n, int flags) {
    ids out = {0};
    pgr_error err;
    if (tok_encode(t, s, n, flags, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    return out;
}

static inline ids encode_line(const tokenizer *t, size_t i, int flags) {
    return encode(t, json_string_value(lines[i]), json_string_length(lines[i]), flags);
}

static inline void expect_ids(const tokenizer *t, const char *text, int flags, const char *want) {
    ids v = encode(t, text, strlen(text), flags);
    buf got = {0};
    for (size_t i = 0; i < v.n; i++) buf_printf(&got, "%s%d", i ? " " : "", v.v[i]);
    assert_string_equal(got.data ? got.data : "", want);
    buf_free(&got);
    ids_free(&v);
}

static inline uint32_t fnv(uint32_t h, const ids *v) {
    for (size_t i = 0; i < v->n; i++)
        for (int b = 0; b < 4; b++) h = (h ^ ((uint32_t)v->v[i] >> 8 * b & 0xff)) * 0x01000193u;
    return h;
}

static inline void expect_first_ids(const json_t *want, size_t line, const ids *got) {
    bool equal = json_array_size(want) == got->n;
    for (size_t i = 0; equal && i < got->n; i++) equal = json_integer_value(json_array_get(want, i)) == got->v[i];
    if (!equal) fail_msg("line %zu: ids differ: %s", line, json_string_value(lines[line]));
}

/* special: flags for the hash over all lines */
static inline void check_golden(const tokenizer *t, const char *path, int special_flags) {
    json_t *golden = json_load_file(path, 0, NULL);
    assert_non_null(golden);
    const char *hashes = json_string_value(json_object_get(golden, "hashes"));
    const json_t *first = json_object_get(golden, "ids");
    assert_int_equal(json_integer_value(json_object_get(golden, "n")), N_LINE);
    uint32_t special = 0x811c9dc5u;
    size_t wrong = 0;
    for (size_t i = 0; i < N_LINE; i++) {
        char hex[9];
        ids v = encode_line(t, i, 0), s = encode_line(t, i, special_flags);
        special = fnv(special, &s);
        snprintf(hex, sizeof hex, "%08x", fnv(0x811c9dc5u, &v));
        if (memcmp(hex, hashes + 8 * i, 8) != 0) {
            wrong++;
            print_message("line %zu differs: %s\n", i, json_string_value(lines[i]));
        }
        if (i < json_array_size(first)) expect_first_ids(json_array_get(first, i), i, &v);
        ids_free(&v);
        ids_free(&s);
    }
    char hex[9];
    snprintf(hex, sizeof hex, "%08x", special);
    assert_int_equal(wrong, 0);
    assert_string_equal(hex, json_string_value(json_object_get(golden, "special")));
    json_decref(golden);
}

#endif
