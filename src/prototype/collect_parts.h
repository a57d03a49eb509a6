/* collect_parts.h - what collect.c and collect_pass.c share. */
#ifndef PGR_PROTOTYPE_COLLECT_PARTS_H
#define PGR_PROTOTYPE_COLLECT_PARTS_H

#include "prototype/collect.h"

/* Pairs of the user that count; 0: he is left out. */
size_t collect_counts(const collection *c, const stored_user *u);

/* All that collect does where nothing is embedded (votes, facts). */
pgr_status collect_in_one_pass(collection *c, pgr_error *err);

#endif
