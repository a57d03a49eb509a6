/* cold_table.h - the report of a cold start for people and as JSON lines. */
#ifndef PGR_CMD_COLD_TABLE_H
#define PGR_CMD_COLD_TABLE_H

#include "pgenrm_bench.h"
#include "table.h"

void cold_table_print(const screen *s, const pgr_cold_report *report);
void cold_lines_print(const pgr_cold_report *report); /* a JSON object for each row, to standard output */

#endif
