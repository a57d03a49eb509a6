/* program.h - what all commands share: exit statuses, messages, files, interruption, the model they work with. */
#ifndef PGR_CMD_PROGRAM_H
#define PGR_CMD_PROGRAM_H

#include "args.h"
#include "pgenrm.h"

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1, /* the work could not be done */
    EXIT_USAGE = 2,
    EXIT_SOME_FAILED = 3, /* done, but some items failed and are counted in the output */
    EXIT_INTERRUPTED = 130,
};

/* "pgenrm: message", one line on standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The message of a failed call; returns the exit status that belongs to it. */
int complain_error(const pgr_error *err);

/* The program ends with a message when there is no memory. */
void *must_alloc(size_t size); /* zeroed */
void *must_resize(void *p, size_t size);
char *must_dup(const char *s, size_t n);

/* The whole file byte for byte, NUL-terminated; "-" is standard input. An exit status; *text is the caller's (free). */
int read_whole(const char *path, char **text, size_t *n);

/* Flushes standard output; EXIT_FAILED and a message if not everything was written. */
int finish_output(void);

/* Non-zero after SIGINT or SIGTERM; a second signal ends the program at once. */
extern pgr_cancel interrupted;
void catch_interrupts(void);
/* A bar and `interrupted`, for calls that take a watch. */
pgr_watch bar_watch(pgr_progress_bar *bar);

typedef struct session {
    pgr_model *model;
    pgr_engine *engine; /* NULL if not asked for */
    pgr_lora *loras[ARGS_MAX_LORA];
    pgr_progress_bar *bar;
} session;

/* The file of the model that the options name: an exit status; *path is the caller's (pgr_free). */
int find_model(const common_options *o, char **path);
/* Opens the model, and an engine on it with the adapters, as the options say. An exit status; close it in any case. */
int session_open(const common_options *o, bool engine, session *s);
void session_close(session *s);

/* The store of users that --store names (NULL: the default one). An exit status; *store is the caller's (pgr_store_close). */
int open_store(const char *name, pgr_store_mode mode, pgr_store **store);

/* What `convert` and `merge` have in common: the name of a type, the settings and the bar, what is said at the end. */
int args_file_type(const char *text, pgr_file_type *out);
pgr_progress_bar *begin_writing(const common_options *o, pgr_write_options *out);
void print_written(const char *path, const pgr_written *w, bool json);

#endif
