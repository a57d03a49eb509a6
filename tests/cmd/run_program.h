/* run_program.h - runs build/pgenrm in a shell and keeps what it printed. */
#ifndef PGR_TESTS_CMD_RUN_PROGRAM_H
#define PGR_TESTS_CMD_RUN_PROGRAM_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TINY PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"

typedef struct ran {
    int status;      /* exit status, 1000 + signal if it was killed */
    char *out, *err; /* run_free */
} ran;

static char scratch[64]; /* a folder of this test's own */

static inline void scratch_make(void) {
    strcpy(scratch, "/tmp/pgenrm-test-XXXXXX");
    if (!mkdtemp(scratch)) abort();
}

static inline void scratch_remove(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", scratch);
    if (system(command) != 0) abort();
}

/* The path of a file in the scratch folder; one of four buffers in turn. */
static inline const char *scratch_path(const char *name) {
    static char paths[4][160];
    static int turn;
    char *p = paths[turn++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", scratch, name);
    return p;
}

static inline const char *scratch_write(const char *name, const char *text) {
    const char *path = scratch_path(name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(text, 1, strlen(text), f) != strlen(text) || fclose(f) != 0) abort();
    return path;
}

static inline char *slurp(const char *path) {
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 22);
    if (!f || !text) abort();
    size_t n = fread(text, 1, (1 << 22) - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

/* A shell command in which `pgenrm` is the program under test and the tiny model the default. */
static inline ran run_program(const char *command) {
    char line[6000];
    snprintf(line, sizeof line,
             "PATH='%s':\"$PATH\" PGENRM_MODEL='%s' COLUMNS=80 && export PATH PGENRM_MODEL COLUMNS && cd '%s' && "
             "{ %s\n} >%s/out 2>%s/err",
             PGR_BINARY_DIR, TINY, PGR_SOURCE_DIR, command, scratch, scratch);
    int s = system(line);
    ran r = {.status = WIFEXITED(s) ? WEXITSTATUS(s) : 1000 + WTERMSIG(s)};
    r.out = slurp(scratch_path("out"));
    r.err = slurp(scratch_path("err"));
    return r;
}

static inline void run_free(ran *r) {
    free(r->out);
    free(r->err);
}

#endif
