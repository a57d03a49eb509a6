/* judge_args.h - what judging needs beside the rows of pgr_judge_options is named and opened: store, similar users,
 * embedder, calibration. */
#ifndef PGR_CMD_JUDGE_ARGS_H
#define PGR_CMD_JUDGE_ARGS_H

#include "args.h"

/* Rows of a command whose struct `options` holds judge_args as `args`. */
/* clang-format off */
#define JUDGE_OPTIONS(options, args)                                                                                   \
    {0, "store", "FILE",                                                                                               \
     "users, a file or postgres://...: who is similar, and the history of a request that names only its user "         \
     "(default with --pro: $PGENRM_STORE, else users.db in the cache folder)", OPTION_AT(options, args.store_name)},   \
    {0, "prototypes", "FILE", "of `proto build` (default: the store's name with .protos)",                             \
     OPTION_AT(options, args.prototypes)},                                                                             \
    {0, "embedder", "NAME", "for similar users and relevant pairs (default: what the prototypes need)",                \
     OPTION_AT(options, args.embedder_name), .address = ADDRESS_MAY},                                                  \
    {0, "calibration", "FILE", "how probabilities become those of people's choices (docs/scores.md)",                  \
     OPTION_AT(options, args.calibration)}
/* clang-format on */

typedef struct judge_args {
    pgr_judge_options o;
    const char *store_name, *prototypes, *embedder_name, *calibration; /* as given; NULL: not */
    pgr_store *store;                                                  /* NULL: none is asked for */
    pgr_people *people;
    pgr_embedder *embedder;
    pgr_calibration *map;
    char *shipped; /* of take_shipped_adapter, whose calibration counts where none is named; NULL: none */
} judge_args;

/* Opens what the options ask for and puts it into the judge options; an exit status. Close in any case. */
int judge_args_open(judge_args *a, const common_options *common);
void judge_args_close(judge_args *a);

#endif
