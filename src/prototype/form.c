/* form.c - k-means over the directions in which users choose gives the starts, mixtures are fitted from them. */
#include "prototype/form.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "prototype/kmeans.h"
#include "prototype/vec.h"

enum { HELD_OUT = 5 }; /* every fifth user says how many classes there are */
static const size_t NUMBERS[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
enum { N_NUMBER = sizeof NUMBERS / sizeof *NUMBERS };

typedef struct sample { /* users of a collection, in its order */
    float *rows;        /* (n, dims) */
    double *x;          /* (first[n], dims) */
    size_t *first;      /* (n + 1) */
    size_t n, dims;
} sample;

static void sample_free(sample *s) {
    mem_free(s->rows);
    mem_free(s->x);
    mem_free(s->first);
    *s = (sample){0};
}

static bool takes(size_t i, size_t part, bool others) {
    return part == 0 || (i % part == part - 1) != others;
}

/* Every stride-th row of the collection; of them every part-th alone, or (others) all but these. part 0: all. */
static pgr_status sample_take(const collection *c, size_t stride, size_t part, bool others, sample *s, pgr_error *err) {
    size_t n_pair = 0, dims = textvec_dims(c->vec);
    *s = (sample){.dims = dims};
    for (size_t r = 0, i = 0; r < c->n_row; r += stride, i++) {
        if (!takes(i, part, others)) continue;
        s->n++;
        n_pair += c->form_first[r + 1] - c->form_first[r];
    }
    s->rows = mem_array(s->n * dims + 1, sizeof *s->rows);
    s->x = mem_array(n_pair * dims + 1, sizeof *s->x);
    s->first = mem_zero(s->n + 1, sizeof *s->first);
    if (!s->rows || !s->x || !s->first) {
        sample_free(s);
        return fail_mem(err);
    }
    size_t at = 0;
    for (size_t r = 0, i = 0; r < c->n_row; r += stride, i++) {
        if (!takes(i, part, others)) continue;
        size_t n = c->form_first[r + 1] - c->form_first[r];
        memcpy(s->rows + at * dims, c->rows + r * dims, dims * sizeof *s->rows);
        const float *from = c->form + c->form_first[r] * dims;
        for (size_t j = 0; j < n * dims; j++) s->x[s->first[at] * dims + j] = (double)from[j];
        s->first[at + 1] = s->first[at] + n;
        at++;
    }
    return PGR_OK;
}

/* ---- one fit ---------------------------------------------------------------------------------------------------- */

void form_free(form_classes *f) {
    mixture_free(&f->m);
    mem_free(f->starts);
    mem_free(f->prototypes);
    *f = (form_classes){0};
}

static pgr_status name_prototypes(form_classes *f, pgr_error *err) {
    size_t k = f->m.k, d = f->m.dims;
    f->prototypes = mem_array(k * d, sizeof *f->prototypes);
    if (!f->prototypes) return fail_mem(err);
    for (size_t i = 0; i < k * d; i++) f->prototypes[i] = (float)f->m.weights[i];
    for (size_t c = 0; c < k; c++) vec_normalise(f->prototypes + c * d, d);
    return PGR_OK;
}

/* From the start of this number. */
static pgr_status fit_once(const sample *s, const form_options *o, size_t k, size_t start, form_classes *out,
                           pgr_error *err) {
    kmeans_options ko = kmeans_options_default(k);
    ko.restarts = o->restarts;
    ko.seed = o->seed + start;
    ko.threads = o->threads;
    ko.watch = o->watch;
    kmeans_result r = {0};
    *out = (form_classes){0};
    PGR_TRY(kmeans(s->rows, s->n, s->dims, &ko, &r, err));
    const mixture_pairs pairs = {s->x, s->first, s->n, s->dims};
    pgr_status status = mixture_fit(&pairs, r.assign, k, o->threads, &o->watch, &out->m, &out->trace, err);
    if (status == PGR_OK) {
        out->starts = r.centres;
        out->inertia = r.inertia;
        out->n_iter = r.n_iter;
        r.centres = NULL;
        status = name_prototypes(out, err);
    }
    kmeans_free(&r);
    if (status != PGR_OK) form_free(out);
    return status;
}

static double objective(const form_classes *f) {
    return f->trace.objective[f->trace.n - 1];
}

static pgr_status fit_best(const sample *s, const form_options *o, size_t k, form_classes *out, pgr_error *err) {
    PGR_TRY(fit_once(s, o, k, 0, out, err));
    for (size_t i = 1; i < FORM_STARTS && k > 1; i++) {
        form_classes next;
        pgr_status status = fit_once(s, o, k, i, &next, err);
        if (status != PGR_OK) {
            form_free(out);
            return status;
        }
        form_classes worse = next;
        if (objective(&next) > objective(out)) worse = *out, *out = next;
        form_free(&worse);
    }
    return PGR_OK;
}

/* ---- how many --------------------------------------------------------------------------------------------------- */

static double likelihood_of(const sample *s, const mixture *m) {
    double sum = 0;
    for (size_t u = 0; u < s->n; u++)
        sum += mixture_likelihood(m, s->x + s->first[u] * s->dims, s->first[u + 1] - s->first[u], NULL);
    return sum;
}

static pgr_status try_numbers(const sample *learnt, const sample *asked, const form_options *o, size_t *k,
                              pgr_error *err) {
    double best = -INFINITY;
    size_t worse = 0;
    for (size_t i = 0; i < N_NUMBER && worse < 2 && 2 * NUMBERS[i] <= learnt->n; i++) {
        form_classes f;
        pgr_error distinct;
        pgr_status status = fit_once(learnt, o, NUMBERS[i], 0, &f, &distinct);
        if (status == PGR_E_ARG) break; /* fewer different users than that */
        if (status != PGR_OK) {
            if (err) *err = distinct;
            return status;
        }
        double now = likelihood_of(asked, &f.m);
        form_free(&f);
        worse = now > best ? 0 : worse + 1;
        if (now > best) best = now, *k = NUMBERS[i];
    }
    return PGR_OK;
}

static pgr_status choose(const collection *c, size_t stride, const form_options *o, size_t *k, pgr_error *err) {
    sample learnt = {0}, asked = {0};
    pgr_status s = sample_take(c, stride, HELD_OUT, true, &learnt, err);
    if (s == PGR_OK) s = sample_take(c, stride, HELD_OUT, false, &asked, err);
    *k = 1;
    if (s == PGR_OK) s = try_numbers(&learnt, &asked, o, k, err);
    sample_free(&learnt);
    sample_free(&asked);
    return s;
}

pgr_status form_fit(const collection *c, const form_options *o, form_classes *out, pgr_error *err) {
    size_t stride = (c->form_first[c->n_row] + FORM_PAIRS - 1) / FORM_PAIRS, k = o->k;
    sample all;
    *out = (form_classes){0};
    if (stride == 0) stride = 1;
    if (k == 0) PGR_TRY(choose(c, stride, o, &k, err));
    PGR_TRY(sample_take(c, stride, 0, false, &all, err));
    pgr_status s = fit_best(&all, o, k, out, err);
    sample_free(&all);
    return s;
}

/* ---- members ---------------------------------------------------------------------------------------------------- */

typedef struct assigning {
    const collection *c;
    const mixture *m;
    uint32_t *assign;
} assigning;

/* The class under which share times likelihood of the row's pairs is largest. */
static void assign_row(void *ctx, size_t r, size_t worker) {
    const assigning *a = ctx;
    (void)worker;
    size_t d = a->m->dims, first = a->c->form_first[r], n = a->c->form_first[r + 1] - first;
    double best = -INFINITY;
    for (size_t c = 0; c < a->m->k; c++) {
        double v = mixture_class_likelihood(a->m, c, a->c->form + first * d, n);
        if (v > best) best = v, a->assign[r] = (uint32_t)c;
    }
}

void form_assign(const collection *c, const mixture *m, pool *threads, uint32_t *assign) {
    assigning a = {c, m, assign};
    pool_run(threads, c->n_row, assign_row, &a);
}
