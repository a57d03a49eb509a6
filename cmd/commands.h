/* commands.h - one entry per subcommand; pgenrm.c lists them. */
#ifndef PGR_CMD_COMMANDS_H
#define PGR_CMD_COMMANDS_H

#include "args.h"

extern const command CMD_USER;
extern const command CMD_SCORE, CMD_GENERATE, CMD_TOKENIZE, CMD_PERPLEXITY, CMD_EMBED, CMD_INSPECT, CMD_PULL, CMD_CONVERT,
    CMD_MERGE, CMD_PROTO, CMD_BENCH;
extern const command CMD_SYNTH;

#endif
