/* lessons.h - what refinement learns from: every pair that counts, with others of its user as history, under the
 * prototype that its user would be given without it. */
#ifndef PGR_PROTOTYPE_LESSONS_H
#define PGR_PROTOTYPE_LESSONS_H

#include "prototype/collect.h"
#include "prototype/refine.h"

typedef struct lesson_source {
    const collection *c;
    const uint32_t *assign; /* (c->n_row) prototype of each row */
    const float *centres;   /* (k, d) */
    size_t k, d;
    uint64_t seed;
    pool *threads;
} lesson_source;

typedef struct lesson_list { /* all zero: empty */
    arena arena;
    refine_sample *list; /* (n) */
    size_t n, cap;
    size_t n_left_out; /* pairs without which nothing tells their user's prototype */
} lesson_list;

/* A pair is learnt under the prototype that is nearest to its user *without this pair*: with his own vector, a short
 * history puts him where the answer is known. By all ways but `analysis`, of users of at most LESSON_SHORT pairs; of
 * others one pair moves nothing. By `analysis` every pair has a row of its own, and that one's prototype. */
enum { LESSON_SHORT = 64 };
pgr_status lessons_gather(const lesson_source *from, lesson_list *out, pgr_error *err);
void lessons_free(lesson_list *l);

/* The row of a user's pair, whose rows are first .. end - 1: by analysis its own, and the first one's for a pair that
 * has no analysis; else the user's only one. */
size_t lesson_row(const collection *c, size_t first, size_t end, size_t pair);

#endif
