/* scalar_args.h - the option --scalar MODEL[:WEIGHT]: a reward model with a score head, or a file of attributes
 * (NAME.json), is named and opened. */
#ifndef PGR_CMD_SCALAR_ARGS_H
#define PGR_CMD_SCALAR_ARGS_H

#include "args.h"

typedef struct scalar_args {
    const char *text; /* the model's name is its first n bytes; NULL: not given */
    size_t n;
    bool has_weight;
    double weight;
    pgr_scalar *opened;
} scalar_args;

/* The row of a command whose struct `options` holds scalar_args as `args`. */
#define SCALAR_OPTION(options, args, what, help)                                                                       \
    {0, "scalar", what, help,                                                                                          \
     .type = PGR_OPTION_DOUBLE, .offset = offsetof(options, args), .lo = 0, .hi = 1e6, .take = scalar_take}
int scalar_take(void *options, const option_row *row, const char *value);

/* Opens what was named with the arithmetic and the threads of the command; an exit status. Close in any case. */
int scalar_args_open(scalar_args *a, const common_options *common, pgr_progress_bar *bar);
void scalar_args_close(scalar_args *a);

#endif
