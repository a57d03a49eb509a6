/* artefact.h - the prototypes of a store as one versioned file: settings, prototypes before and after refinement, the
 * members of each with their vectors. Read by mapping it: a million members cost pages, not memory.
 *
 *     header   "PGRPROTO", version, 64 bytes
 *     sections each at a multiple of 64 bytes: meta (JSON), numbers, before, after, refine, start, row_user,
 *              ids_at, ids, scales, errors, codes, vectors, mixture (version 1 has none, and no prototypes by facts
 *              that could still be used), view_keys, view_rows (versions 1 and 2 have none)
 *     table    name, offset, bytes, CRC-32 of every section
 *     footer   where the table is, its CRC-32, the file's size, "PGRPROTO"
 *
 * All numbers little-endian. K prototypes, D values of a vector, R rows (members), U users. */
#ifndef PGR_PROTOTYPE_ARTEFACT_H
#define PGR_PROTOTYPE_ARTEFACT_H

#include "base/arena.h"
#include "base/file.h"
#include "prototype/views.h"

enum { ARTEFACT_VERSION = 3, ARTEFACT_MAX_WORDS = 16 };

typedef struct artefact_setting { /* of the build, by name: "rho", "restarts", ... */
    const char *name;
    double value;
} artefact_setting;

typedef struct artefact {
    const char *path;
    const char *by;       /* "votes", "choices", "analysis", "facts": how vectors were made */
    const char *embedder; /* its name; "": none */
    const char *model;    /* that wrote the analyses; "": none */
    const char *split;    /* which pairs counted */
    size_t dims, k, n_row, n_user, n_pair;
    uint64_t seed;
    double inertia;                                  /* of k-means */
    const artefact_setting *settings; size_t n_setting;
    const double *singular; size_t n_singular;       /* largest first */
    const double *losses; size_t n_loss;             /* of refinement, one per epoch; by facts of the mixture, one per
                                                      * round: its objective per pair, negative */
    const char *const *const *words;                 /* (k) typical words, each list ends with NULL */

    const float *before, *after; /* (k, dims) */
    const float *refine;         /* (n_refine) all parameters of refinement; NULL: it was not run */
    size_t n_refine;
    const float *mixture;        /* (n_mixture) by facts mixture_pack's numbers; else NULL */
    size_t n_mixture;
    views views;                 /* by votes; else, and of an earlier version, none */
    const uint64_t *start;       /* (k + 1) members of prototype j are rows start[j] to start[j + 1] - 1 */
    const uint32_t *row_user;    /* (n_row) whose row it is */
    const uint64_t *ids_at;      /* (n_user + 1) */
    const char *ids;             /* user u's id is ids + ids_at[u], NUL-terminated; ascending by strcmp,
                                  * so that u is its rank */
    const float *vectors;        /* (n_row, dims) of length 1 */
    const int8_t *codes;         /* (n_row, dims) vectors[r] is about scales[r] * codes[r] */
    const float *scales;         /* (n_row) */
    const float *errors;         /* (n_row) length of vectors[r] - scales[r] * codes[r], rounded up */

    file_map map; /* what follows is artefact_close's */
    arena arena;
} artefact;

/* Which checksums are compared. Whatever is chosen, every size and index is checked,
 * so that a damaged file cannot lead outside it. */
typedef enum artefact_check {
    ARTEFACT_CHECK_SMALL, /* all but those of vectors and codes beyond 256 MiB, which would have to be read whole */
    ARTEFACT_CHECK_ALL,
    ARTEFACT_CHECK_NONE,
} artefact_check;

/* Error: "FILE: section or field: what was found, what was expected". */
pgr_status artefact_open(const char *path, artefact_check check, artefact *out, pgr_error *err);
pgr_status artefact_open_memory(const void *data, size_t size, const char *name, artefact_check check, artefact *out,
                                pgr_error *err); /* data: the caller's, must outlive out, aligned to 8 bytes */
void artefact_close(artefact *a);

/* Writes a's file, whole or not at all. Row r of the file is row order[r] of a->vectors and a->row_user (order NULL:
 * r). codes, scales and errors are computed, the others taken from a. The same contents give the same bytes. */
pgr_status artefact_write(const artefact *a, const uint32_t *order, const char *path, pgr_error *err);

const char *artefact_id(const artefact *a, size_t user);
size_t artefact_find(const artefact *a, const char *id); /* n_user: not in it */
/* Users *from to *to - 1 are those whose id begins with the prefix. */
void artefact_range(const artefact *a, const char *prefix, size_t *from, size_t *to);
double artefact_get(const artefact *a, const char *setting, double otherwise);
double artefact_last_pair(const artefact *a); /* pairs of the store with a greater key came after the build */
double artefact_own_lead(const artefact *a); /* members_lead (lead.h) of whom it was made of; 0: it does not say */

/* code[i] = round(v[i] / scale), scale = max|v| / 127; 0 and zeros for a vector of zeros.     Returns the scale;
 * *error: as artefact.errors. */
float artefact_code(int8_t *code, const float *v, size_t n, float *error);

#endif
