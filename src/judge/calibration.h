/* calibration.h - win probabilities against outcomes: fitting a temperature or a rising map, its file, applying it. The
 * public part is in pgenrm.h; docs/scores.md has the equations. */
#ifndef PGR_JUDGE_CALIBRATION_H
#define PGR_JUDGE_CALIBRATION_H

#include "base/buf.h"
#include "base/status.h"

/* The file's text. origin: its name for messages. */
pgr_status calibration_parse(const char *text, size_t n, const char *origin, pgr_calibration **out, pgr_error *err);

#endif
