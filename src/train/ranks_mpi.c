/* ranks_mpi.c - ranks by MPI; see ranks.h. MPI's own errors, a rank that died among them, end all processes: that is
 * its default, and mpirun says which rank it was. */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/pool.h"
#include "train/ranks.h"

struct pgr_ranks {
    MPI_Comm comm;
    int n, at, beside; /* beside: ranks on this machine */
    bool ours;         /* MPI was begun here */
    pgr_status failed; /* what all agreed on; PGR_OK: nothing yet */
    pgr_error why;
    int *counts, *offsets, *to, *to_offsets; /* (n) each */
};

/* ---- opening ---- */

static bool started_by_mpi(void) {
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMI_RANK") || getenv("PMIX_RANK");
}

static pgr_status describe(ranks *r, pgr_error *err) {
    MPI_Comm here;
    MPI_Comm_dup(MPI_COMM_WORLD, &r->comm);
    MPI_Comm_size(r->comm, &r->n);
    MPI_Comm_rank(r->comm, &r->at);
    MPI_Comm_split_type(r->comm, MPI_COMM_TYPE_SHARED, r->at, MPI_INFO_NULL, &here);
    MPI_Comm_size(here, &r->beside);
    MPI_Comm_free(&here);
    r->counts = mem_zero(4 * (size_t)r->n, sizeof *r->counts);
    if (!r->counts) return fail_mem(err);
    r->offsets = r->counts + r->n;
    r->to = r->offsets + r->n;
    r->to_offsets = r->to + r->n;
    return PGR_OK;
}

pgr_status pgr_ranks_open(pgr_ranks **out, pgr_error *err) {
    int begun = 0, level;
    *out = NULL;
    MPI_Initialized(&begun);
    if (!begun && !started_by_mpi()) return PGR_OK;
    if (!begun && MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS)
        return fail(err, PGR_E_IO, "MPI: MPI_Init_thread failed");
    ranks *r = mem_zero(1, sizeof *r);
    if (!r) return fail_mem(err);
    r->ours = !begun;
    pgr_status s = describe(r, err);
    if (s == PGR_OK)
        *out = r;
    else
        mem_free(r);
    return s;
}

void pgr_ranks_close(pgr_ranks *r) {
    if (!r) return;
    MPI_Comm_free(&r->comm);
    if (r->ours) MPI_Finalize();
    mem_free(r->counts);
    mem_free(r);
}

size_t pgr_ranks_count(const pgr_ranks *r) {
    return r ? (size_t)r->n : 1;
}

size_t pgr_ranks_at(const pgr_ranks *r) {
    return r ? (size_t)r->at : 0;
}

int pgr_ranks_threads(const pgr_ranks *r) {
    if (!r) return 0;
    int mine = cpu_count(), all = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (mine < all) return mine; /* mpirun has bound this process to its share already */
    return mine / r->beside > 1 ? mine / r->beside : 1;
}

/* ---- talking ---- */

pgr_status ranks_agree(ranks *r, pgr_status mine, pgr_error *err) {
    if (!r || r->n == 1) return mine;
    if (r->failed == PGR_OK) {
        int first = mine == PGR_OK ? r->n : r->at, who, status = mine;
        MPI_Allreduce(&first, &who, 1, MPI_INT, MPI_MIN, r->comm);
        if (who == r->n) return PGR_OK;
        char text[sizeof r->why.message] = "";
        if (who == r->at && err) memcpy(text, err->message, sizeof text);
        MPI_Bcast(&status, 1, MPI_INT, who, r->comm);
        MPI_Bcast(text, (int)sizeof text, MPI_CHAR, who, r->comm);
        r->failed = fail(&r->why, (pgr_status)status, "rank %d of %d: %s", who, r->n, text);
    }
    return fail(err, r->failed, "%s", r->why.message);
}

void ranks_share(ranks *r, double *all, const size_t *n) {
    if (!r || r->n == 1) return;
    for (int i = 0, at = 0; i < r->n; at += (int)n[i++]) {
        PGR_ASSERT(n[i] <= (size_t)(INT_MAX - at));
        r->counts[i] = (int)n[i];
        r->offsets[i] = at;
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, r->counts, r->offsets, MPI_DOUBLE, r->comm);
}

/* Rank i has elements from part_of(i) to part_of(i + 1). */
static size_t part_of(const ranks *r, size_t n, int i) {
    return n / (size_t)r->n * (size_t)i + ((size_t)i < n % (size_t)r->n ? (size_t)i : n % (size_t)r->n);
}

void ranks_add(ranks *r, const float *grads, size_t n, size_t n_rank, bool first, float *sum, float *inbox) {
    if (!r) {
        for (size_t i = 0; i < n; i++) sum[i] = first ? grads[i] : sum[i] + grads[i];
        return;
    }
    PGR_ASSERT(n < RANKS_MOST);
    size_t from = part_of(r, n, r->at), own = part_of(r, n, r->at + 1) - from;
    for (int i = 0; i < r->n; i++) {
        size_t part = part_of(r, n, i);
        r->to[i] = r->at < (int)n_rank ? (int)(part_of(r, n, i + 1) - part) : 0;
        r->to_offsets[i] = (int)part;
        r->counts[i] = i < (int)n_rank ? (int)own : 0;
        r->offsets[i] = i < (int)n_rank ? i * (int)own : 0;
    }
    MPI_Alltoallv(grads, r->to, r->to_offsets, MPI_FLOAT, inbox, r->counts, r->offsets, MPI_FLOAT, r->comm);
    for (size_t k = 0; k < n_rank; k++)
        for (size_t i = 0; i < own; i++) {
            float g = inbox[k * own + i];
            sum[from + i] = first && k == 0 ? g : sum[from + i] + g;
        }
}

void ranks_collect(ranks *r, float *sum, size_t n) {
    if (!r || r->n == 1) return;
    for (int i = 0; i < r->n; i++) {
        size_t part = part_of(r, n, i);
        r->counts[i] = (int)(part_of(r, n, i + 1) - part);
        r->offsets[i] = (int)part;
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, sum, r->counts, r->offsets, MPI_FLOAT, r->comm);
}
