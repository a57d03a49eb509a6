/* methods.c - the tables of methods, and which of them a run has. */
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
    {"ideal-points", true, NEEDS_NOTHING, METHOD_VOTES, STAT_NONE, STAT_NO_VECTORS, false},
    {"embedding", false, NEEDS_EMBEDDER, METHOD_RIDGE, STAT_NONE, STAT_EMBEDDINGS, false},
    {"base-embedding", false, NEEDS_EMBEDDER, METHOD_RIDGE, STAT_SURFACE, STAT_EMBEDDINGS, true},
    {"embedding-users", true, NEEDS_EMBEDDER, METHOD_CLASSES, STAT_NONE, STAT_EMBEDDINGS, false},
    {"scalar-personal", true, NEEDS_SCALAR, METHOD_RIDGE, STAT_SURFACE, STAT_SCALAR, false},
    {NULL, false, NEEDS_NOTHING, METHOD_LONGEST, STAT_NONE, STAT_NO_VECTORS, false},
};

const prompt_method PROMPT_METHODS[] = {
    {"judge", "judge", false, false, true},
    {"judge-cot", "judge-cot", false, false, true},
    {"judge-demographics", "judge-demographics", false, true, true},
    {"judge-history", "judge-history", true, false, true},
    {"p-genrm", NULL, true, false, false},
    {NULL, NULL, false, false, false},
};

const bench_method *bench_method_find(const char *name) {
    for (const bench_method *m = BENCH_METHODS; m->name; m++)
        if (strcmp(m->name, name) == 0) return m;
    return NULL;
}

const prompt_method *prompt_method_find(const char *name) {
    for (const prompt_method *m = PROMPT_METHODS; m->name; m++)
        if (strcmp(m->name, name) == 0) return m;
    return NULL;
}

bool methods_list(const pgr_bench_options *o, const char *name) {
    for (size_t i = 0; i < o->n_methods; i++)
        if (strcmp(o->methods[i], name) == 0) return true;
    return false;
}

static bool lists_prompt(const pgr_bench_options *o) {
    for (const prompt_method *m = PROMPT_METHODS; m->name; m++)
        if (methods_list(o, m->name)) return true;
    return false;
}

bool pgr_bench_asks_model(const pgr_bench_options *o) {
    if (o->n_methods && !lists_prompt(o)) return false;
    for (size_t i = 0; i < o->n_ind; i++)
        if (o->ind[i] > 0) return true;
    for (size_t i = 0; i < o->n_pro; i++)
        if (o->pro[i] > 0) return true;
    return false;
}

bool methods_run(const pgr_bench_options *o, const bench_method *m) {
    if (o->n_methods) return methods_list(o, m->name);
    return m->needs != NEEDS_SCALAR && (o->baselines || !pgr_bench_asks_model(o));
}
