/* run_program.h - runs build/pgenrm in a shell, keeps what it printed and holds it against what is expected. */
#ifndef PGR_TESTS_CMD_RUN_PROGRAM_H
#define PGR_TESTS_CMD_RUN_PROGRAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../base/scratch.h"

#include <cmocka.h>

#define TINY PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"

typedef struct ran {
    int status;      /* exit status, 1000 + signal if it was killed */
    char *out, *err; /* run_free */
} ran;

static inline char *slurp(const char *path) {
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 22);
    if (!f || !text) abort();
    size_t n = fread(text, 1, (1 << 22) - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

/* A shell command in which `pgenrm` is the program under test, the tiny model the default, $SCRATCH its folder. */
static inline ran run_program(const char *command) {
    char line[6000];
    snprintf(line, sizeof line,
             "PATH='%s':\"$PATH\" PGENRM_MODEL='%s' SCRATCH='%s' COLUMNS=80 && "
             "export PATH PGENRM_MODEL SCRATCH COLUMNS && cd '%s' && { %s\n} >\"$SCRATCH\"/out 2>\"$SCRATCH\"/err",
             PGR_BINARY_DIR, TINY, scratch, PGR_SOURCE_DIR, command);
    int s = system(line);
    ran r = {.status = WIFEXITED(s) ? WEXITSTATUS(s) : 1000 + WTERMSIG(s)};
    r.out = slurp(path_of("out"));
    r.err = slurp(path_of("err"));
    return r;
}

static inline void run_free(ran *r) {
    free(r->out);
    free(r->err);
}

/* Its exit status is `status`, its standard error has `says`, or is empty. */
static inline ran run_to(const char *command, int status, const char *says) {
    ran r = run_program(command);
    if (r.status != status || !strstr(r.err, says) || (!*says && *r.err))
        fail_msg("%s\nstatus %d, wanted %d; wanted: %s\nstderr: %sstdout: %s", command, r.status, status, says, r.err,
                 r.out);
    return r;
}

static inline size_t count_lines(const char *s) {
    size_t n = 0;
    for (; *s; s++) n += *s == '\n';
    return n;
}

/* A command that works, whatever it says on standard error. */
static inline ran run_well(const char *command) {
    ran r = run_program(command);
    if (r.status != 0) fail_msg("%s\nstatus %d\n%s", command, r.status, r.err);
    return r;
}

/* A verdict of the tiny model: its chains are random and may fail, which is 3. */
static inline ran run_score(const char *command) {
    ran r = run_program(command);
    if (r.status != 0 && r.status != 3) fail_msg("%s\nstatus %d\n%s", command, r.status, r.err);
    return r;
}

/* Refused: its exit status, nothing on standard output, one line on standard error, the program's, that says `says`. */
static inline void assert_refused(const char *command, int status, const char *says) {
    ran r = run_program(command);
    if (r.status != status || !strstr(r.err, says) || count_lines(r.err) != 1 || strncmp(r.err, "pgenrm: ", 8) != 0
        || r.out[0])
        fail_msg("%s\nstatus %d, wanted %d; wanted one line with: %s\nstderr: %sstdout: %.200s", command, r.status,
                 status, says, r.err, r.out);
    run_free(&r);
}

/* Where nothing was done, nothing is printed. */
static inline void assert_ends(const char *command, int status, const char *says) {
    ran r = run_to(command, status, says);
    if (status != 0 && status != 3) assert_string_equal(r.out, "");
    run_free(&r);
}

/* The example of `pgenrm NAME --help`, as it stands there; free. */
static inline char *example_of(const char *name) {
    static const char title[] = "\nExample:\n  ";
    char command[100];
    snprintf(command, sizeof command, "pgenrm %s --help", name);
    ran help = run_to(command, 0, "");
    char *example = strstr(help.out, title);
    if (!example) fail_msg("%s: found no example in:\n%s", command, help.out);
    memmove(help.out, example + strlen(title), strlen(example + strlen(title)) + 1);
    free(help.err);
    return help.out;
}

/* Interrupts the command, whose output goes to $SCRATCH/printed, as soon as something stands in the file `ready`: it
 * ends with 130 and says so. A shell's background jobs ignore SIGINT unless it is told otherwise: the program sets its
 * own handler. */
static inline ran run_interrupted(const char *command, const char *ready) {
    char line[1000];
    snprintf(line, sizeof line,
             "%s >$SCRATCH/printed & for i in $(seq 2400); do [ -s %s ] && break; sleep 0.05; done; "
             "kill -INT $!; wait $!; status=$?; cat $SCRATCH/printed; exit $status",
             command, ready);
    return run_to(line, 130, "pgenrm: interrupted\n");
}

/* The same while a model is opened, which the command takes as -m $SCRATCH/slow: its config.json is a pipe, which is
 * closed only after the signal. */
static inline void assert_interrupted_loading(const char *model, const char *command) {
    char line[1000];
    snprintf(line, sizeof line,
             "cp -r %s $SCRATCH/slow && mv $SCRATCH/slow/config.json $SCRATCH/kept && mkfifo $SCRATCH/slow/config.json "
             "&& { %s & timeout 60 sh -c 'exec 3>$SCRATCH/slow/config.json; kill -INT $0; mv $SCRATCH/kept "
             "$SCRATCH/slow/config.json' $!; wait $!; status=$?; rm -r $SCRATCH/slow; exit $status; }",
             model, command);
    assert_ends(line, 130, "pgenrm: interrupted\n");
}

#endif
