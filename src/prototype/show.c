/* show.c - pgr_prototypes_read: what a file of prototypes holds. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "prototype/artefact.h"
#include "prototype/uservec.h"
#include "prototype/vec.h"

enum { SAMPLE = 1000 }; /* members that the mean cosine is taken over */

typedef struct shown {
    pgr_prototypes is; /* first: what the caller holds */
    artefact a;
    pgr_prototype *list;
} shown;

static double mean_cosine(const artefact *a, size_t j) {
    const float *centre = a->after + j * a->dims;
    size_t n = a->start[j + 1] - a->start[j], stride = (n + SAMPLE - 1) / SAMPLE, taken = 0;
    double sum = 0, length = sqrt(vec_dot(centre, centre, a->dims));
    if (n == 0 || !(length > 0)) return 0;
    for (size_t r = a->start[j]; r < a->start[j + 1]; r += stride, taken++)
        sum += vec_dot(a->vectors + r * a->dims, centre, a->dims) / length;
    return sum / (double)taken;
}

/* Rows of one user are together inside a prototype. */
static size_t count_users(const artefact *a, size_t j) {
    size_t n = 0;
    for (size_t r = a->start[j]; r < a->start[j + 1]; r++)
        n += r == a->start[j] || a->row_user[r] != a->row_user[r - 1];
    return n;
}

static pgr_status read_all(shown *s, const char *path, bool check, pgr_error *err) {
    artefact *a = &s->a;
    PGR_TRY(artefact_open(path, check ? ARTEFACT_CHECK_ALL : ARTEFACT_CHECK_SMALL, a, err));
    s->list = mem_zero(a->k, sizeof *s->list);
    if (!s->list) return fail_mem(err);
    for (size_t j = 0; j < a->k; j++)
        s->list[j] = (pgr_prototype){.rows = a->start[j + 1] - a->start[j],
                                     .users = count_users(a, j),
                                     .words = a->words[j],
                                     .similarity = mean_cosine(a, j)};
    s->is = (pgr_prototypes){.path = a->path,
                             .embedder = a->embedder,
                             .model = a->model,
                             .split = a->split,
                             .by = uservec_by_of(a->by),
                             .dims = a->dims,
                             .k = a->k,
                             .rows = a->n_row,
                             .users = a->n_user,
                             .pairs = a->n_pair,
                             .seed = a->seed,
                             .inertia = a->inertia,
                             .singular = a->singular,
                             .n_singular = a->n_singular,
                             .suggested_k = (size_t)fmax(0, artefact_get(a, "suggested_k", 0)),
                             .losses = a->losses,
                             .n_loss = a->n_loss,
                             .beta = artefact_get(a, "beta", 1),
                             .own_lead = artefact_own_lead(a),
                             .texts = a->views.n,
                             .list = s->list};
    return PGR_OK;
}

pgr_status pgr_prototypes_read(const char *path, bool check, pgr_prototypes **out, pgr_error *err) {
    shown *s = mem_zero(1, sizeof *s);
    if (!s) return fail_mem(err);
    pgr_status status = read_all(s, path, check, err);
    if (status == PGR_OK)
        *out = &s->is;
    else
        pgr_prototypes_free(&s->is);
    return status;
}

void pgr_prototypes_free(pgr_prototypes *p) {
    if (!p) return;
    shown *s = (shown *)p;
    artefact_close(&s->a);
    mem_free(s->list);
    mem_free(s);
}
