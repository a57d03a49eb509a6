/* message.c - messages, the end of standard output, signals; see message.h. */
#include "message.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *about;

void complain_about(const char *file) {
    about = file;
}

void complain(const char *format, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    for (char *c = text; *c; c++) /* one line, whatever a file's name holds */
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = ' ';
    fprintf(stderr, "pgenrm: %s%s%s\n", about ? about : "", about ? ": " : "", text);
}

int complain_interrupted(void) {
    complain("interrupted");
    return EXIT_INTERRUPTED;
}

int complain_error(const pgr_error *err) {
    if (err->status == PGR_E_CANCELLED && interrupted) return complain_interrupted();
    complain("%s", err->message[0] ? err->message : pgr_status_text(err->status));
    return EXIT_FAILED;
}

int complain_usage(const pgr_error *err) {
    int status = complain_error(err);
    return err->status == PGR_E_ARG ? EXIT_USAGE : status;
}

int finish_call(pgr_status s, const pgr_error *err) {
    if (interrupted) return complain_interrupted();
    return s == PGR_OK ? EXIT_DONE : complain_error(err);
}

static int output_errno; /* of the first write that failed; what came after it may have left another */

void print_line(const char *text) {
    errno = 0;
    if ((puts(text) == EOF || fflush(stdout) != 0) && output_errno == 0) output_errno = errno;
}

int finish_output(void) {
    static bool said;
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return EXIT_DONE;
    int why = output_errno ? output_errno : errno;
    if (!said) complain("standard output: %s", why ? strerror(why) : "cannot be written");
    said = true;
    return EXIT_FAILED;
}

/* ---- signals ---- */

pgr_cancel interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

void catch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

pgr_watch bar_watch(pgr_progress_bar *bar) {
    return (pgr_watch){&interrupted, pgr_progress_bar_update, bar};
}
