/* options.h - option structs driven by rows (pgr_option of pgenrm.h): defaults, checks, text and JSON. Which rows there
 * are is the business of who owns the struct. */
#ifndef PGR_BASE_OPTIONS_H
#define PGR_BASE_OPTIONS_H

#include "base/json.h"
#include "base/status.h"

enum { OPTION_KEY_MAX = 40 };

void options_default(const pgr_option *rows, void *options); /* every member that has a row */
/* Every member is in its row's range or stands for "not given": PGR_E_ARG names the first that is not. */
pgr_status options_check(const pgr_option *rows, const void *options, pgr_error *err);

const pgr_option *option_find(const pgr_option *rows, const char *name); /* NULL: none */
void option_key(const pgr_option *row, char out[OPTION_KEY_MAX]);        /* of JSON: '_' for '-' */
/* "a whole number from 0 to 1024", "random, relevant or recent" */
int option_expected(const pgr_option *row, char *out, size_t size);

json_t *option_json(const pgr_option *row, const void *options); /* null where it is not given; NULL: out of memory */
/* null means not given. A text lives as long as v. On error *options is as before. */
pgr_status option_from_json(const pgr_option *row, void *options, const json_t *v, json_at at, pgr_error *err);

#endif
