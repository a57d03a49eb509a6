/* commands.h - one entry per subcommand; pgenrm.c lists them. */
#ifndef PGR_CMD_COMMANDS_H
#define PGR_CMD_COMMANDS_H

#include "args.h"

extern const command CMD_BENCH, CMD_CONVERT, CMD_DOCTOR, CMD_EMBED, CMD_GENERATE, CMD_INSPECT, CMD_LABEL, CMD_MERGE,
    CMD_PERPLEXITY, CMD_PROTO, CMD_PULL, CMD_REPORT, CMD_SCORE, CMD_SERVE, CMD_SYNTH, CMD_TOKENIZE, CMD_TRAIN, CMD_USER;

#endif
