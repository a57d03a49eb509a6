/* gguf_make.h - for tests: builds GGUF files in memory, right ones and wrong ones. */
#ifndef PGR_TESTS_GGUF_MAKE_H
#define PGR_TESTS_GGUF_MAKE_H

#include "../base/faults.h"

#include "base/buf.h"
#include "format/gguf.h"

typedef struct gmake {
    buf pairs, infos, data;
    uint64_t n_pair, n_tensor;
    uint32_t version; /* 0: 3 */
} gmake;              /* all zero at first */

static inline void put_int(buf *b, uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++) buf_putc(b, (char)(v >> (8 * i)));
}

static inline void put_text(buf *b, const char *s) {
    put_int(b, strlen(s), 8);
    buf_puts(b, s);
}

static inline void make_pair(gmake *m, const char *key, gguf_kind kind) {
    put_text(&m->pairs, key);
    put_int(&m->pairs, kind, 4);
    m->n_pair++;
}

/* a value of a kind of fixed size */
static inline void make_int(gmake *m, const char *key, gguf_kind kind, uint64_t v) {
    static const uint8_t sizes[GGUF_N_KIND] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    make_pair(m, key, kind);
    put_int(&m->pairs, v, sizes[kind]);
}

static inline void make_u32(gmake *m, const char *key, uint32_t v) {
    make_int(m, key, GGUF_U32, v);
}

static inline void make_f32(gmake *m, const char *key, float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    make_int(m, key, GGUF_F32, bits);
}

static inline void make_string(gmake *m, const char *key, const char *s) {
    make_pair(m, key, GGUF_STRING);
    put_text(&m->pairs, s);
}

static inline void make_array(gmake *m, const char *key, gguf_kind item, uint64_t n) {
    make_pair(m, key, GGUF_ARRAY);
    put_int(&m->pairs, item, 4);
    put_int(&m->pairs, n, 8);
}

static inline void make_strings(gmake *m, const char *key, const char *const *v, size_t n) {
    make_array(m, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++) put_text(&m->pairs, v[i]);
}

static inline void make_i32s(gmake *m, const char *key, const int32_t *v, size_t n) {
    make_array(m, key, GGUF_I32, n);
    for (size_t i = 0; i < n; i++) put_int(&m->pairs, (uint32_t)v[i], 4);
}

/* only the entry; the bytes are appended to m->data */
static inline void make_tensor(gmake *m, const char *name, uint32_t n_dim, const uint64_t *dim, uint32_t type,
                               uint64_t offset) {
    put_text(&m->infos, name);
    put_int(&m->infos, n_dim, 4);
    for (size_t i = 0; i < n_dim; i++) put_int(&m->infos, dim[i], 8);
    put_int(&m->infos, type, 4);
    put_int(&m->infos, offset, 8);
    m->n_tensor++;
}

/* The file's bytes, in a block of exactly their size (so that ASan sees a read beyond); m is empty afterwards. */
static inline uint8_t *make_file(gmake *m, size_t *n) {
    buf b = {0};
    buf_puts(&b, "GGUF");
    put_int(&b, m->version ? m->version : 3, 4);
    put_int(&b, m->n_tensor, 8);
    put_int(&b, m->n_pair, 8);
    buf_add(&b, m->pairs.data ? m->pairs.data : "", m->pairs.n);
    buf_add(&b, m->infos.data ? m->infos.data : "", m->infos.n);
    if (m->n_tensor)
        while (b.n % 32) buf_putc(&b, 0);
    buf_add(&b, m->data.data ? m->data.data : "", m->data.n);
    assert_false(b.failed);
    uint8_t *out = malloc(b.n);
    assert_non_null(out);
    memcpy(out, b.data, b.n);
    *n = b.n;
    buf_free(&b);
    buf_free(&m->pairs);
    buf_free(&m->infos);
    buf_free(&m->data);
    *m = (gmake){0};
    return out;
}

/* Opens what m describes; the bytes are kept until the test ends. */
static inline pgr_status make_open(gmake *m, gguf *out, pgr_error *err, uint8_t **bytes) {
    size_t n;
    *bytes = make_file(m, &n);
    return gguf_open_memory(*bytes, n, "mem.gguf", out, err);
}

/* The default model where the cache has it, else NULL: tests that need it are skipped by name. */
/* Where pgenrm keeps a model of this name. */
static inline void cache_path(const char *name, char *out, size_t n) {
    const char *own = getenv("PGENRM_HOME"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own && *own)
        snprintf(out, n, "%s/%s", own, name);
    else if (cache && *cache)
        snprintf(out, n, "%s/pgenrm/%s", cache, name);
    else
        snprintf(out, n, "%s/.cache/pgenrm/%s", home ? home : "", name);
}

static inline const char *default_model(void) {
    static char path[512];
    cache_path("SmolLM2-135M-Instruct.Q4_1.gguf", path, sizeof path);
    return file_exists(path) ? path : NULL;
}

#define GOLDEN(name) PGR_SOURCE_DIR "/tests/golden/" name

#endif
