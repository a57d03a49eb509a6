/* args.h - commands and their options from tables: parsing on top of getopt_long, help texts. */
#ifndef PGR_CMD_ARGS_H
#define PGR_CMD_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "option_row.h"
#include "pgenrm.h"

/* Common options that would change nothing where one might expect them to: the command refuses them. */
enum {
    ARGS_NO_MODEL = 1,
    ARGS_NO_LORA = 2,
    ARGS_NO_CHAT_TEMPLATE = 4,
    ARGS_NO_DTYPE = 8,
    ARGS_NO_COMPUTING = 16 /* all of these, -t and --seed */
};

typedef struct command {
    const char *name;
    const char *operands; /* "REQUEST.json..."; NULL: none */
    const char *summary;  /* one line */
    const char *about;    /* lines of explanation, or NULL */
    const char *example;  /* a command that runs in the source folder */
    const option_row *options;
    const pgr_option *(*rows)(void); /* of an options struct, taken besides its own and the common ones, which go
                                      * before; may be NULL */
    const char *rows_of;             /* what help calls them; NULL: "judging" */
    size_t rows_at;                  /* where that struct lies in the ctx of args_parse */
    unsigned rows_use;               /* only rows that have all of these bits of pgr_option.use */
    unsigned without;                /* ARGS_NO_... together */
    bool remote;                     /* its engine may stand behind an address: it takes --remote-... */
    const char *model;               /* what --help says of --model, where it is of another kind */
    int (*run)(const struct command *self, int argc, char **argv); /* an exit status */
} command;

enum { ARGS_MAX_LORA = 16, ARGS_MAX = 96 /* options of a command; given ones beyond are not kept */ };

typedef struct lora_option { /* PATH[:SCALE] */
    const char *text;        /* the path is its first n bytes */
    size_t n;
    float scale;
} lora_option;

typedef struct common_options {
    const char *model, *chat_template; /* NULL: not given */
    lora_option loras[ARGS_MAX_LORA];
    size_t n_lora;
    bool no_lora; /* "none" was given */
    pgr_dtype dtype;
    int n_thread;
    int64_t seed; /* -1: not given */
    pgr_remote_options remote; /* without the addresses, which are the model */
    bool json, quiet;
    const char *given[ARGS_MAX]; /* (n_given) the command's options, by name, as they came */
    size_t n_given;
} common_options;

enum { ARGS_RUN = -1 };

/* Options of the command go to *ctx, common ones to *common. ARGS_RUN: all were taken, *operands is what is left
 * (NULL-terminated). Else the status to end with: help was printed, or the message of a mistake. */
int args_parse(const command *c, int argc, char **argv, common_options *common, void *ctx, char ***operands);

/* A command that is made of others (NULL-terminated), such as `user import`: runs the one that argv[1] names, its name
 * being the second word of the other's; prints what there is for --help. */
int args_dispatch(const command *self, const command *const *parts, int argc, char **argv);

/* The next n words behind the command's name come from this file: messages about them name it. */
void args_from_file(const char *file, size_t n);

/* "pgenrm: ..., see `pgenrm COMMAND --help`"; EXIT_USAGE. */
int args_wrong(const command *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
