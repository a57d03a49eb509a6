/* shown_report.h - prompts for people: `score --prompt`. */
#ifndef PGR_CMD_SHOWN_REPORT_H
#define PGR_CMD_SHOWN_REPORT_H

#include "pgenrm.h"
#include "table.h"

/* Each prompt's tokens by part, what was shortened, its texts. */
void shown_report_print(const screen *s, const pgr_shown *shown);

#endif
