/* bind.c - tensors by name, checked; see bind.h. */
#include "format/bind.h"

#include <stdio.h>
#include <string.h>

pgr_status bind_begin(binding *b, const tensor_source *s, arena *a, pgr_error *err) {
    *b = (binding){.s = s, .taken = arena_array(a, s->n_tensor + 1, sizeof *b->taken), .err = err};
    return b->taken ? PGR_OK : fail_mem(err);
}

static void take(binding *b, const source_tensor *t) {
    b->taken[t - b->s->tensors] = true;
}

pgr_status bind_check_type(const char *path, const source_tensor *t, pgr_error *err) {
    if (quant_known(t->type)) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED, "%s: tensor %.128s has type %s (%u), which is not read", path, t->name,
                quant_name(t->type), t->type);
}

pgr_status bind_check(const char *path, const source_tensor *t, size_t rows, size_t cols, pgr_error *err) {
    PGR_TRY(bind_check_type(path, t, err));
    if (t->dim[0] == cols && t->dim[1] == rows && t->dim[2] == 1 && t->dim[3] == 1) return PGR_OK;
    return fail(err, PGR_E_FORMAT, "%s: tensor %.128s has shape %zu x %zu, expected %zu rows of %zu", path, t->name,
                t->dim[1] * t->dim[2] * t->dim[3], t->dim[0], rows, cols);
}

pgr_status bind_tensor(binding *b, const char *name, size_t rows, size_t cols, const source_tensor **out) {
    const source_tensor *t = source_find(b->s, name);
    if (!t) return fail(b->err, PGR_E_FORMAT, "%s: tensor %s is missing", b->s->path, name);
    PGR_TRY(bind_check(b->s->path, t, rows, cols, b->err));
    take(b, t);
    *out = t;
    return PGR_OK;
}

void bind_skip(binding *b, const char *name) {
    const source_tensor *t = source_find(b->s, name);
    if (t) take(b, t);
}

void bind_skip_ending(binding *b, const char *ending) {
    size_t m = strlen(ending);
    for (size_t i = 0; b->s->names == SOURCE_HF && i < b->s->n_tensor; i++) {
        const char *name = b->s->tensors[i].name;
        size_t n = strlen(name);
        if (n > m && strcmp(name + n - m, ending) == 0) b->taken[i] = true;
    }
}

pgr_status bind_end(const binding *b, const char *whole) {
    for (size_t i = 0; i < b->s->n_tensor; i++)
        if (!b->taken[i])
            return fail(b->err, PGR_E_UNSUPPORTED, "%s: tensor %.128s is not part of the %s that we compute",
                        b->s->path, b->s->tensors[i].name, whole);
    return PGR_OK;
}

const char *bind_prefix(const tensor_source *s, const char *prefix, const char *name) {
    char whole[128];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    return source_find(s, whole) ? prefix : "";
}
