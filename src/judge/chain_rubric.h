/* chain_rubric.h - inside of the reader of rubrics in prose: what criteria (chain_rubric.c) and scores
 * (chain_rubric_scores.c) share. */
#ifndef PGR_JUDGE_CHAIN_RUBRIC_H
#define PGR_JUDGE_CHAIN_RUBRIC_H

#include <string.h>

#include "judge/chain_parts.h"

static inline const char *skip_spaces(const char *s, const char *end) {
    while (s < end && (*s == ' ' || *s == '\t')) s++;
    return s;
}

static inline bool in_set(char c, const char *set) {
    return c && strchr(set, c);
}

/* Behind bullets and numbering ("- ", "* ", "3. ", "b) ", "Criterion 2: ") at s. */
const char *rubric_skip_marker(const char *s, const char *end);
/* Totals and the like are no criteria. */
bool rubric_is_total(span name);

#endif
