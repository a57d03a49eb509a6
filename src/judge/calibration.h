/* calibration.h - win probabilities against outcomes: fitting a temperature or a rising map, for each kind of verdict
 * its own, their file, applying them. The public part is in pgenrm.h; docs/scores.md has the equations. */
#ifndef PGR_JUDGE_CALIBRATION_H
#define PGR_JUDGE_CALIBRATION_H

#include "base/buf.h"
#include "base/status.h"

/* What the chains alone say: P(the mean over chains without end is above 0), one chain before them that saw none. */
double gap_probability(const pgr_gap *g);
/* Standard error of the mean; NaN for fewer than two chains. */
double gap_error(const pgr_gap *g);
/* The surest probability that more chains of the same request could plausibly come to (two standard deviations of what
 * is known of its difference); the map for the kind is there. */
double calibration_reach(const pgr_calibration *c, pgr_verdict_kind kind, const pgr_gap *g);

/* "answers" or "views"; false for any other name. */
bool verdict_kind_find(const char *name, pgr_verdict_kind *out);

/* The file's text. origin: its name for messages. */
pgr_status calibration_parse(const char *text, size_t n, const char *origin, pgr_calibration **out, pgr_error *err);

#endif
