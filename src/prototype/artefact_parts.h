/* artefact_parts.h - the layout of the prototypes' file, shared by its reader and its writer. */
#ifndef PGR_PROTOTYPE_ARTEFACT_PARTS_H
#define PGR_PROTOTYPE_ARTEFACT_PARTS_H

#include "base/buf.h"
#include "prototype/artefact.h"

enum { ARTEFACT_ALIGN = 64, ARTEFACT_HEADER = 64 };

#define ARTEFACT_MAGIC "PGRPROTO" /* 8 bytes */

/* In the order of the file.   name       bytes */
#define ARTEFACT_SECTIONS(X)                                    \
    X(meta, meta_bytes)                                         \
    X(numbers, (1 + a->n_singular + a->n_loss) * sizeof(double)) \
    X(before, a->k * a->dims * sizeof(float))                   \
    X(after, a->k * a->dims * sizeof(float))                    \
    X(refine, a->n_refine * sizeof(float))                      \
    X(start, (a->k + 1) * sizeof(uint64_t))                     \
    X(row_user, a->n_row * sizeof(uint32_t))                    \
    X(ids_at, (a->n_user + 1) * sizeof(uint64_t))               \
    X(ids, ids_bytes)                                           \
    X(scales, a->n_row * sizeof(float))                         \
    X(errors, a->n_row * sizeof(float))                         \
    X(codes, a->n_row * a->dims)                                \
    X(vectors, a->n_row * a->dims * sizeof(float))              \
    X(mixture, a->n_mixture * sizeof(float))                    \
    X(view_keys, a->views.n * sizeof(uint64_t))                 \
    X(view_rows, a->views.n * VIEW_SIZE * sizeof(float))

typedef enum artefact_section {
#define X(name, bytes) ARTEFACT_##name,
    ARTEFACT_SECTIONS(X)
#undef X
    ARTEFACT_N_SECTION
} artefact_section;

extern const char *const artefact_section_names[ARTEFACT_N_SECTION];

typedef struct artefact_entry { /* a row of the table */
    char name[16];              /* padded with NUL */
    uint64_t offset, bytes;
    uint32_t crc, zero;
} artefact_entry;

typedef struct artefact_footer {
    uint64_t table; /* its offset */
    uint64_t file;  /* bytes of the whole file */
    uint32_t n_section, crc; /* of the table */
    char magic[8];
} artefact_footer;

/* meta: everything that is no array of numbers. numbers: inertia, singular values, losses. */
void artefact_put_meta(buf *b, const artefact *a);
/* How many sections the versions have: 1 none from mixture on, 2 none from view_keys on. */
enum { ARTEFACT_FIRST_SECTIONS = ARTEFACT_mixture, ARTEFACT_SECOND_SECTIONS = ARTEFACT_view_keys };

/* Fills in a's fields that meta holds; a->path and a->arena are set. */
pgr_status artefact_read_meta(artefact *a, const char *text, size_t n, pgr_error *err);

#endif
