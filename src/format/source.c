/* source.c - owns the index of a source's tensors by name, and GGUF files as sources.
 * Names are C strings from here on. */
#include "format/source.h"

#include <string.h>

#include "base/hash.h"
#include "format/gguf.h"

static uint64_t hash_name(const char *s) {
    uint64_t h = hash_text(HASH_BEGIN, s);
    return h ^ h >> 32;
}

/* The slot that holds name, or the free one where it belongs. A slot's value is index + 1, 0: free. */
static size_t slot_of(const tensor_source *s, const char *name) {
    size_t mask = s->n_index - 1, at = hash_name(name) & mask;
    while (s->index[at] && strcmp(s->tensors[s->index[at] - 1].name, name) != 0) at = (at + 1) & mask;
    return at;
}

pgr_status source_index(tensor_source *s, arena *a, pgr_error *err) {
    s->n_index = 8;
    while (s->n_index / 2 < s->n_tensor) s->n_index *= 2;
    s->index = arena_array(a, s->n_index, sizeof *s->index);
    if (!s->index) return fail_mem(err);

    for (size_t i = 0; i < s->n_tensor; i++) {
        size_t at = slot_of(s, s->tensors[i].name);
        if (s->index[at]) return fail(err, PGR_E_FORMAT, "%s: tensor %.128s occurs twice", s->path, s->tensors[i].name);
        s->index[at] = i + 1;
    }
    return PGR_OK;
}

const source_tensor *source_find(const tensor_source *s, const char *name) {
    size_t i = s->index[slot_of(s, name)];
    return i ? &s->tensors[i - 1] : NULL;
}

/* Appends the tensors of one file. */
static pgr_status add_gguf(const gguf *g, arena *a, tensor_source *s, pgr_error *err) {
    for (size_t i = 0; i < g->n_tensor; i++) {
        const gguf_tensor *t = &g->tensors[i];
        source_tensor *to = &s->tensors[s->n_tensor];
        if (memchr(t->name.s, '\0', t->name.n))
            return fail(err, PGR_E_FORMAT, "%s: tensor %zu has a name with a NUL byte in it", g->path, i);
        *to = (source_tensor){.name = arena_strndup(a, t->name.s, t->name.n),
                              .type = t->type,
                              .n_dim = t->n_dim,
                              .data = t->data,
                              .bytes = t->bytes,
                              .map = g->map.data ? &g->map : NULL,
                              .offset = t->offset};
        memcpy(to->dim, t->dim, sizeof t->dim);
        if (!to->name) return fail_mem(err);
        s->n_tensor++;
    }
    return PGR_OK;
}

pgr_status source_from_gguf(const gguf *g, arena *a, tensor_source *out, pgr_error *err) {
    tensor_source s = {.path = g->path, .names = SOURCE_GGUF};
    size_t n = g->n_tensor;
    for (size_t i = 0; i < g->n_rest; i++) n += g->rest[i].n_tensor;
    s.tensors = arena_array(a, n + 1, sizeof *s.tensors);
    if (!s.tensors) return fail_mem(err);
    PGR_TRY(add_gguf(g, a, &s, err));
    for (size_t i = 0; i < g->n_rest; i++) PGR_TRY(add_gguf(&g->rest[i], a, &s, err));
    PGR_TRY(source_index(&s, a, err));
    *out = s;
    return PGR_OK;
}
