/* report.h - a result for people. */
#ifndef PGR_CMD_REPORT_H
#define PGR_CMD_REPORT_H

#include "pgenrm.h"
#include "table.h"

/* Who is asking, the rubric as a table, scores as bars, the verdict, what went wrong. chains: the chains' texts too. */
void report_print(const screen *s, const pgr_result *r, bool chains);

#endif
