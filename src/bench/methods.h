/* methods.h - the methods by name: what each is made of, and which of them a run has. fits.h runs the statistical ones,
 * run.h those of the language model. */
#ifndef PGR_BENCH_METHODS_H
#define PGR_BENCH_METHODS_H

#include "pgenrm_bench.h"

typedef enum stat_attributes {
    STAT_NONE,
    STAT_LENGTH,  /* characters alone */
    STAT_SURFACE, /* features.h */
} stat_attributes;

/* What stands beside the attributes, without personal weights and with a penalty of its own. */
typedef enum stat_vectors {
    STAT_NO_VECTORS,
    STAT_EMBEDDINGS, /* differences of the responses' embeddings */
    STAT_SCALAR,     /* one value: the difference of a reward model's scores */
} stat_vectors;

typedef enum method_kind {
    METHOD_LONGEST, /* no model */
    METHOD_RIDGE,   /* one Bradley-Terry model with a ridge */
    METHOD_CLASSES, /* the method `base`, and how classes of users depart from it */
    METHOD_VOTES,   /* the ideal points of all people */
} method_kind;

typedef struct bench_method {
    const char *name; /* as in docs/methods.md: "longest", "length-personal", "attributes", ... */
    bool personal;    /* uses histories: has strangers' controls, and a base without them */
    enum bench_needs { NEEDS_NOTHING, NEEDS_EMBEDDER, NEEDS_SCALAR } needs;
    method_kind kind;
    stat_attributes attributes; /* of a ridge model */
    stat_vectors vectors;       /* of a ridge model; of classes: embeddings make them, else votes do */
    bool items;                 /* every response has a popularity of its own */
} bench_method;

extern const bench_method BENCH_METHODS[];               /* the last has name NULL */
const bench_method *bench_method_find(const char *name); /* NULL: none */

typedef struct prompt_method { /* of the language model */
    const char *name, *frame;  /* frame NULL: the options' */
    bool personal, demographics, baseline;
} prompt_method;

extern const prompt_method PROMPT_METHODS[];               /* the last has name NULL */
const prompt_method *prompt_method_find(const char *name); /* NULL: none */

#define SCALAR_METHOD "scalar" /* a reward model's method */

/* Do the options name it? */
bool methods_list(const pgr_bench_options *o, const char *name);
/* Is it run? Where no method is named all are that need no reward model, but beside a language model as baselines. */
bool methods_run(const pgr_bench_options *o, const bench_method *m);

#endif
