/* json_out.h - JSON written piece by piece to standard output; bytes that are not UTF-8 become U+FFFD. */
#ifndef PGR_CMD_JSON_OUT_H
#define PGR_CMD_JSON_OUT_H

#include <stddef.h>
#include <stdint.h>

void json_text(const char *s, size_t n);
/* For people: the same, but bytes that are not UTF-8 are shown as \xNN. */
void show_text(const char *s, size_t n);
/* 9 significant digits: a float comes back as it was; null if not finite. The function has another name than it is
 * called by: jansson has a json_real, which the library would otherwise find here. */
void json_out_real(double v);
#define json_real json_out_real
void json_ids(const int32_t *ids, size_t n); /* [1,2] */
void json_reals(const float *v, size_t n);   /* [-0.1,null] */

#endif
