/* ask.h - a row of the data becomes a request: who is asked for, with which history,
 * the two responses in which order. */
#ifndef PGR_BENCH_ASK_H
#define PGR_BENCH_ASK_H

#include "bench/pairs.h"

typedef struct bench_ask {
    bool history, demographics; /* what is shown of the user */
    const size_t *other;        /* (n_user) whose history stands for each user's; NULL: their own */
    uint64_t seed;              /* of the run */
} bench_ask;

/* The row's own number under a seed: its texts and its user decide it,
 * not its place in the file or what else is asked. */
uint64_t ask_key(const bench_data *d, const bench_row *row, uint64_t seed);
/* Where the chosen response stands in the request, 0 or 1: a coin that the key throws. */
size_t ask_place(uint64_t key);

/* History is the user's (or the other's) train rows, without those of the row's own conversation. Nothing in the
 * request tells which response was chosen. Points into d; *out is the caller's (pgr_request_free). */
pgr_status ask_request(const bench_data *d, const bench_row *row, const bench_ask *how, pgr_request **out,
                       pgr_error *err);

#endif
