/* ranks_one.c - built without MPI: one rank; see ranks.h. */
#include <stdlib.h>

#include "train/ranks.h"

/* How many processes the starter of this one says there are; 1: nobody says. */
static long started(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *n = getenv(names[i]);
        if (n && atol(n) > 1) return atol(n);
    }
    return 1;
}

pgr_status pgr_ranks_open(pgr_ranks **out, pgr_error *err) {
    long n = started();
    *out = NULL;
    if (n == 1) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED,
                "started as one of %ld processes of mpirun, but this build has no MPI: expected one process, or a "
                "build with -DPGR_MPI=ON",
                n);
}

void pgr_ranks_close(pgr_ranks *r) {
    (void)r;
}

size_t pgr_ranks_count(const pgr_ranks *r) {
    (void)r;
    return 1;
}

size_t pgr_ranks_at(const pgr_ranks *r) {
    (void)r;
    return 0;
}

int pgr_ranks_threads(const pgr_ranks *r) {
    (void)r;
    return 0;
}

pgr_status ranks_agree(ranks *r, pgr_status mine, pgr_error *err) {
    (void)r;
    (void)err;
    return mine;
}

void ranks_share(ranks *r, double *all, const size_t *n) {
    (void)r;
    (void)all;
    (void)n;
}

void ranks_add(ranks *r, const float *grads, size_t n, size_t n_rank, bool first, float *sum, float *inbox) {
    (void)r;
    (void)n_rank;
    (void)inbox;
    for (size_t i = 0; i < n; i++) sum[i] = first ? grads[i] : sum[i] + grads[i];
}

void ranks_collect(ranks *r, float *sum, size_t n) {
    (void)r;
    (void)sum;
    (void)n;
}
