/* message.h - how the program speaks and ends: exit statuses, one line per message, interruption. */
#ifndef PGR_CMD_MESSAGE_H
#define PGR_CMD_MESSAGE_H

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
/* What messages begin with until the next call: the file that they are about; NULL: nothing. */
void complain_about(const char *file);
/* The message of a failed call; returns the exit status that belongs to it. */
int complain_error(const pgr_error *err);
/* The same of a call that does nothing but look at options and operands, or has nothing else that could be wrong:
 * EXIT_USAGE where it is PGR_E_ARG. */
int complain_usage(const pgr_error *err);
/* Says that the program was interrupted; EXIT_INTERRUPTED. */
int complain_interrupted(void);
/* How a call ended: EXIT_DONE, or the message of what went wrong or that it was interrupted, and the exit status. */
int finish_call(pgr_status s, const pgr_error *err);

/* A line of standard output, there at once; whether it could be written finish_output says. */
void print_line(const char *text);
/* Flushes standard output; EXIT_FAILED and a message if not everything was written. */
int finish_output(void);

/* Non-zero after SIGINT or SIGTERM; a second signal ends the program at once. */
extern pgr_cancel interrupted;
void catch_interrupts(void);
/* A bar and `interrupted`, for calls that take a watch. */
pgr_watch bar_watch(pgr_progress_bar *bar);

#endif
