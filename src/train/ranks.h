/* ranks.h - what a run's processes say to each other. Two implementations: ranks_mpi.c with -DPGR_MPI=ON, ranks_one.c
 * without, where there is one rank. `ranks` NULL is one rank as well, everywhere.
 *
 * All ranks make the same calls in the same order. Data are exchanged only directly behind a ranks_agree that came out
 * PGR_OK, so that a rank that failed never leaves the others waiting. */
#ifndef PGR_TRAIN_RANKS_H
#define PGR_TRAIN_RANKS_H

#include <limits.h>

#include "base/status.h"
#include "pgenrm_train.h"

typedef pgr_ranks ranks;

#define RANKS_MOST ((size_t)INT_MAX) /* gradients of a run on several ranks are fewer: MPI counts in int */

/* The status of the first rank whose status is not PGR_OK, on every rank, with its message. One that is not PGR_OK
 * stays: later calls return it at once. */
pgr_status ranks_agree(ranks *r, pgr_status mine, pgr_error *err);

/* Rank i has n[i] numbers, which stand in `all` behind those of the ranks before it; afterwards every rank has all. */
void ranks_share(ranks *r, double *all, const size_t *n);

/* sum (n) += the gradients (n) of the first n_rank ranks, in the order of the ranks, element by element: (sum + g_0) +
 * g_1 ...; first: sum is overwritten instead, g_0 + g_1 ... Each rank does so for a part of sum; the other parts are
 * undefined until ranks_collect. inbox: room for n + ranks floats. */
void ranks_add(ranks *r, const float *grads, size_t n, size_t n_rank, bool first, float *sum, float *inbox);
void ranks_collect(ranks *r, float *sum, size_t n);

#endif
