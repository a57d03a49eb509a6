/* user_report.h - a user of the store for people. */
#ifndef PGR_CMD_USER_REPORT_H
#define PGR_CMD_USER_REPORT_H

#include "pgenrm.h"

/* Who it is, criteria, demographics, and the first `limit` pairs (0: all). */
void user_report_print(const pgr_user *u, int64_t limit);

#endif
