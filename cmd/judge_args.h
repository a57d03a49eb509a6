/* judge_args.h - the options of judging that commands share, and what they open: store, similar users, embedder, calibration. */
#ifndef PGR_CMD_JUDGE_ARGS_H
#define PGR_CMD_JUDGE_ARGS_H

#include "program.h"

enum { /* above those of the commands */
    OPT_JUDGE_FIRST = OPT_FIRST + 500,
    OPT_PRO = OPT_JUDGE_FIRST,
    OPT_STORE,
    OPT_PROTOTYPES,
    OPT_EMBEDDER,
    OPT_W_IND,
    OPT_W_PRO,
    OPT_NEIGHBOURS,
    OPT_COLD_START,
    OPT_HISTORY_BY,
    OPT_DRAWS,
    OPT_ADAPTIVE,
    OPT_CALIBRATION,
};

/* clang-format off */
#define JUDGE_OPTIONS                                                                                                   \
    {OPT_PRO, 0, "pro", "N", "chains under similar users' histories, 0 to 1024 (default: the request's, else 0)"},      \
    {OPT_STORE, 0, "store", "FILE", "users: who is similar, and the history of a request that names only its user "     \
                                    "(default with --pro: $PGENRM_STORE, else users.db in the cache folder)"},          \
    {OPT_PROTOTYPES, 0, "prototypes", "FILE", "of `proto build` (default: the store's name with .protos)"},             \
    {OPT_EMBEDDER, 0, "embedder", "NAME", "for similar users and relevant pairs (default: what the prototypes need)"},  \
    {OPT_W_IND, 0, "w-ind", "W", "weight of the mean under the own history (default: 0.5)"},                            \
    {OPT_W_PRO, 0, "w-pro", "W", "weight of the mean under similar users' histories (default: 0.5)"},                   \
    {OPT_NEIGHBOURS, 0, "neighbour-weights", "KIND", "similar users weigh alike (uniform) or by similarity (default: uniform)"}, \
    {OPT_COLD_START, 0, "cold-start", "N", "a user with fewer pairs leans on similar users (default: 4; 0: never)"},    \
    {OPT_HISTORY_BY, 0, "history-by", "HOW", "which pairs are shown: random, relevant or recent (default: random)"},    \
    {OPT_DRAWS, 0, "draws", "D", "different choices of pairs that the own chains are spread over (default: 1)"},        \
    {OPT_ADAPTIVE, 0, "adaptive", "P", "write no more chains once the verdict is this probable, 0.5 to 1"},             \
    {OPT_CALIBRATION, 0, "calibration", "FILE", "how probabilities become those of people's choices (docs/scores.md)"}
/* clang-format on */

typedef struct judge_args {
    pgr_judge_options o;
    const char *store_name, *prototypes, *embedder_name, *calibration; /* as given; NULL: not */
    pgr_store *store;                                                  /* NULL: none is asked for */
    pgr_people *people;
    pgr_embedder *embedder;
    pgr_calibration *map;
} judge_args;

/* Takes an option of JUDGE_OPTIONS: 0, or an exit status and a message. */
int judge_args_set(judge_args *a, int id, const char *value);

/* Opens what the options ask for and puts it into the judge options; an exit status. Close in any case. */
int judge_args_open(judge_args *a, const common_options *common);
void judge_args_close(judge_args *a);

#endif
