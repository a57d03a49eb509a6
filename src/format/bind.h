/* bind.h - takes a model's tensors from a source: each by name, its type and shape checked here and nowhere later, and
 * in the end none is left that nobody asked for. */
#ifndef PGR_FORMAT_BIND_H
#define PGR_FORMAT_BIND_H

#include "format/source.h"

typedef struct binding {
    const tensor_source *s;
    bool *taken; /* (n_tensor) */
    pgr_error *err;
} binding;

/* The flags are memory of the arena. */
pgr_status bind_begin(binding *b, const tensor_source *s, arena *a, pgr_error *err);

/* The tensor of that name, rows of cols values each (a vector: one row), of a type that is read; it is taken then. */
pgr_status bind_tensor(binding *b, const char *name, size_t rows, size_t cols, const source_tensor **out);

/* What is there but not needed is taken so: by name, or all Hugging Face tensors whose names end so. */
void bind_skip(binding *b, const char *name);
void bind_skip_ending(binding *b, const char *ending);

/* A tensor that nobody asked for is a feature that we lack: an error, rather than something else computed.
 * whole: what it is no part of ("architecture", "encoder"). */
pgr_status bind_end(const binding *b, const char *whole);

/* Type, or type and shape, of a tensor that was found in another way; path: for the message. */
pgr_status bind_check_type(const char *path, const source_tensor *t, pgr_error *err);
pgr_status bind_check(const char *path, const source_tensor *t, size_t rows, size_t cols, pgr_error *err);

/* Hugging Face names begin with `prefix` or, where the bare inner model was saved, with nothing: which, by the one
 * tensor that every such model has. */
const char *bind_prefix(const tensor_source *s, const char *prefix, const char *name);

#endif
