/* methods.c - the table of statistical methods. */
#include "bench/methods.h"

#include <stddef.h>
#include <string.h>

const bench_method BENCH_METHODS[] = {
    {"longest", false, NEEDS_NOTHING, METHOD_LONGEST, STAT_NONE, STAT_NO_VECTORS, false},
    {"length-personal", true, NEEDS_NOTHING, METHOD_RIDGE, STAT_LENGTH, STAT_NO_VECTORS, false},
    {"attributes", false, NEEDS_NOTHING, METHOD_RIDGE, STAT_SURFACE, STAT_NO_VECTORS, false},
    {"attributes-personal", true, NEEDS_NOTHING, METHOD_RIDGE, STAT_SURFACE, STAT_NO_VECTORS, false},
    {"popularity", false, NEEDS_NOTHING, METHOD_RIDGE, STAT_NONE, STAT_NO_VECTORS, true},
    {"base", false, NEEDS_NOTHING, METHOD_RIDGE, STAT_SURFACE, STAT_NO_VECTORS, true},
    {"similar-users", true, NEEDS_NOTHING, METHOD_CLASSES, STAT_NONE, STAT_NO_VECTORS, false},
    {"embedding", false, NEEDS_EMBEDDER, METHOD_RIDGE, STAT_NONE, STAT_EMBEDDINGS, false},
    {"base-embedding", false, NEEDS_EMBEDDER, METHOD_RIDGE, STAT_SURFACE, STAT_EMBEDDINGS, true},
    {"embedding-users", true, NEEDS_EMBEDDER, METHOD_CLASSES, STAT_NONE, STAT_EMBEDDINGS, false},
    {"scalar-personal", true, NEEDS_SCALAR, METHOD_RIDGE, STAT_SURFACE, STAT_SCALAR, false},
    {NULL, false, NEEDS_NOTHING, METHOD_LONGEST, STAT_NONE, STAT_NO_VECTORS, false},
};

const bench_method *bench_method_find(const char *name) {
    for (const bench_method *m = BENCH_METHODS; m->name; m++)
        if (strcmp(m->name, name) == 0) return m;
    return NULL;
}
