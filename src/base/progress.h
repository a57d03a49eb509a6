/* progress.h - the progress bar of pgenrm.h with its surroundings given, so that a test can set the clock. */
#ifndef PGR_BASE_PROGRESS_H
#define PGR_BASE_PROGRESS_H

#include <stdbool.h>

#include "pgenrm.h"

typedef enum progress_style { PROGRESS_QUIET, PROGRESS_LOG, PROGRESS_TERMINAL } progress_style;

typedef struct progress_options {
    progress_style style;
    int fd;
    bool color;
    int columns;              /* of the terminal; 0: ask it at every drawing */
    double (*now)(void *ctx); /* seconds */
    void *now_ctx;
} progress_options;

pgr_progress_bar *progress_create(const progress_options *o); /* NULL when out of memory */

/* How to write to fd, given TERM and NO_COLOR (either may be NULL). */
progress_options progress_options_for(int fd, bool quiet, const char *term, const char *no_color);

#endif
