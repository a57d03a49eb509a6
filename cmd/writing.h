/* writing.h - what `convert` and `merge` have in common: the types of a file, the settings and the bar, what is said at
 * the end. */
#ifndef PGR_CMD_WRITING_H
#define PGR_CMD_WRITING_H

#include "args.h"
#include "pgenrm.h"

extern const char *const FILE_TYPES[]; /* in the order of pgr_file_type, NULL at the end */
pgr_progress_bar *begin_writing(const common_options *o, pgr_write_options *out);
void print_written(const char *path, const pgr_written *w, bool json);

#endif
