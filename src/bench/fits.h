/* fits.h - the statistical methods of one set, each fitted once however often it is asked: a fit knows the train rows,
 * whose history is shown and how much of it is told with each question. */
#ifndef PGR_BENCH_FITS_H
#define PGR_BENCH_FITS_H

#include "bench/stat.h"

typedef struct fits fits;

/* What of source's arrays is NULL is computed when a method first needs it, vectors by the embedder, gaps by the reward
 * model (both may be NULL); what is there must outlive the fits. */
pgr_status fits_open(const stat_source *source, pgr_embedder *embedder, pgr_scalar *scalar, fits **out, pgr_error *err);
void fits_close(fits *f);                      /* NULL is fine */
const stat_source *fits_source(const fits *f); /* with what was computed by now */
/* Computes now what the method needs. PGR_E_ARG: there is no embedder or reward model for it. */
pgr_status fits_need(fits *f, const bench_method *m, pgr_error *err);

/* For a set that was made of parent's set with its items: what parent has computed of the rows is copied, what of the
 * items is shared. */
pgr_status fits_open_within(const fits *parent, const bench_data *d, const pgr_watch *watch, pool *threads, fits **out,
                            pgr_error *err);

/* The weights of the method `attributes`: z of a pair = sum of w_f (attribute f of the chosen - of the rejected text).
 *                                                                                                    w: (N_FEATURE) */
pgr_status fits_attributes(fits *f, double *w, pgr_error *err);

typedef struct fits_ask {
    size_t history;      /* pairs of a user that may be used; 0: all */
    const size_t *donor; /* (n_user) whose history is whose; NULL: their own */
    bool plain;          /* nobody's: the same model without the person's part */
    uint64_t seed;       /* of draws of histories and of the starts of k-means */
} fits_ask;

/* What a method says of the rows that are asked, in the order of rows: p[i] is the probability (or 1, 0, 0.5 for a
 * verdict or a tie) that the chosen response is the better one.                                          p: (n_test) */
pgr_status fits_predict(fits *f, const bench_method *m, const fits_ask *how, double *p, pgr_error *err);

#endif
