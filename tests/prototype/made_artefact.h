/* made_artefact.h - for tests: prototypes with random members. */
#ifndef PGR_TESTS_MADE_ARTEFACT_H
#define PGR_TESTS_MADE_ARTEFACT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "prototype/artefact.h"
#include "prototype/vec.h"

typedef struct made {
    artefact a;
    float *vectors, *protos; /* (n_row, d), (k, d) */
    uint32_t *row_user, *order;
    uint64_t *start, *ids_at;
    char *ids;
} made;

static const artefact_setting MADE_SETTINGS[] = {{"restarts", 10}, {"rho", 0.5}};
static const double MADE_SINGULAR[] = {3.25, 1.0 / 3, 1e-9}, MADE_LOSSES[] = {0.7, 0.1};

/* n_user users with n_row / n_user rows each around k directions. Ids "u0000000".. in order. spread: 0 is all noise. */
static inline made make_artefact(size_t k, size_t d, size_t n_user, size_t per_user, double spread) {
    static const char *const list[] = {"naïve", "\"quoted\"", NULL}, *const none[] = {NULL};
    size_t n = n_user * per_user;
    made m = {.vectors = calloc(n * d, sizeof(float)), .protos = calloc(k * d, sizeof(float)), .row_user = calloc(n, 4),
              .order = calloc(n, 4), .start = calloc(k + 1, 8), .ids_at = calloc(n_user + 1, 8), .ids = calloc(n_user,
                                                                                                               12)};
    const char *const **words = calloc(k, sizeof *words);
    uint32_t *assign = calloc(n, 4);
    rng r = {.seed = 7};
    for (size_t i = 0; i < k * d; i++) m.protos[i] = (float)rng_normal(&r);
    for (size_t j = 0; j < k; j++) {
        vec_normalise(m.protos + j * d, d);
        words[j] = j % 2 ? none : list;
    }
    for (size_t i = 0; i < n; i++) {
        size_t near = 0, own = rng_below(&r, k);
        float *v = m.vectors + i * d;
        for (size_t c = 0; c < d; c++) v[c] = (float)(spread * m.protos[own * d + c] + rng_normal(&r) / 16);
        vec_normalise(v, d);
        for (size_t j = 1; j < k; j++)
            if (vec_distance2(v, m.protos + j * d, d) < vec_distance2(v, m.protos + near * d, d)) near = j;
        assign[i] = (uint32_t)near;
        m.row_user[i] = (uint32_t)(i % n_user);
        m.start[near + 1]++;
    }
    for (size_t j = 0; j < k; j++) m.start[j + 1] += m.start[j];
    for (size_t j = 0, at = 0; j < k; j++)
        for (size_t i = 0; i < n; i++)
            if (assign[i] == j) m.order[at++] = (uint32_t)i;
    for (size_t u = 0; u < n_user; u++)
        m.ids_at[u + 1] = m.ids_at[u] + 1 + (uint64_t)snprintf(m.ids + m.ids_at[u], 12, "u%07zu", u);
    free(assign);
    m.a = (artefact){.by = "choices", .embedder = "mini", .model = "", .split = "history", .dims = d, .k = k,
                     .n_row = n, .n_user = n_user, .n_pair = 3 * n, .seed = UINT64_MAX, .inertia = 12.5,
                     .settings = MADE_SETTINGS, .n_setting = 2, .singular = MADE_SINGULAR, .n_singular = 3,
                     .losses = MADE_LOSSES, .n_loss = 2, .words = words, .before = m.protos, .after = m.protos,
                     .refine = m.protos, .n_refine = d, .start = m.start, .row_user = m.row_user,
                     .ids_at = m.ids_at, .ids = m.ids, .vectors = m.vectors};
    return m;
}

static inline void free_made(made *m) {
    free((void *)(uintptr_t)m->a.words);
    free(m->vectors);
    free(m->protos);
    free(m->row_user);
    free(m->order);
    free(m->start);
    free(m->ids_at);
    free(m->ids);
}

#endif
