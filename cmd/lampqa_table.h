/* lampqa_table.h - the ranking of generators for people. */
#ifndef PGR_CMD_LAMPQA_TABLE_H
#define PGR_CMD_LAMPQA_TABLE_H

#include "pgenrm_bench.h"
#include "table.h"

/* A table per category, the mean correlation, then the notes. */
void lampqa_table_print(const screen *s, const pgr_lampqa_report *report);

#endif
