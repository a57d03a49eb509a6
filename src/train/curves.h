/* curves.h - a run's metrics as one page of plots. */
#ifndef PGR_TRAIN_CURVES_H
#define PGR_TRAIN_CURVES_H

#include "base/status.h"

/* Draws the lines of the metrics file at `metrics` into OUT/curves.html: every number of the steps over the steps, by
 * their kind where they have one; evaluations, those of one prefix ("taste/own", "taste/rule") in one plot where all
 * lie in 0..1, with the standard errors that are there; the last samples as text. */
pgr_status curves_write(const char *out, const char *metrics, const char *stage, pgr_error *err);

#endif
