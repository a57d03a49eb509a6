/* lead.h - how far the members' own pairs tell what they choose, and strangers' pairs do not: what the taste of
 * somebody new, whose few pairs cannot bear each other out yet, may weigh among such people. */
#ifndef PGR_PROTOTYPE_LEAD_H
#define PGR_PROTOTYPE_LEAD_H

#include "prototype/collect.h"

/* c: by facts, with rows. A pair is told right by the sum of other pairs, those of its query left out, when the sum
 * points to the chosen text. The share that a member's own pairs tell right less wrong, less the same of other
 * members' pairs: its mean over members less the standard error of that; 0..1, 0 where members are fewer than two or
 * their pairs are all of one query. */
double members_lead(const collection *c);

#endif
