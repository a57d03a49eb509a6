/* message.c - messages, the end of standard output, signals; see message.h. */
#include "message.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void complain(const char *format, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    for (char *c = text; *c; c++) /* one line, whatever a file's name holds */
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = ' ';
    fprintf(stderr, "pgenrm: %s\n", text);
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

int finish_call(pgr_status s, const pgr_error *err) {
    if (interrupted) return complain_interrupted();
    return s == PGR_OK ? EXIT_DONE : complain_error(err);
}

int finish_output(void) {
    static bool said;
    if (fflush(stdout) == 0 && !ferror(stdout)) return EXIT_DONE;
    if (!said) complain("standard output: %s", strerror(errno));
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
