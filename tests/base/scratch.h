/* scratch.h - for tests: a folder of the program's own to write into, there from make_folder (the setup of a group of
 * tests) to remove_folder (its teardown). */
#ifndef PGR_TESTS_SCRATCH_H
#define PGR_TESTS_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[64];

static inline int make_folder(void **state) {
    (void)state;
    strcpy(scratch, "/tmp/pgenrm-test-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int remove_folder(void **state) {
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", scratch);
    return system(command);
}

/* The path of a file in it; one of eight buffers in turn. */
static inline const char *path_of(const char *name) {
    static char paths[8][160];
    static int turn;
    char *p = paths[turn++ % 8];
    snprintf(p, sizeof paths[0], "%s/%s", scratch, name);
    return p;
}

static inline const char *write_bytes(const char *name, const void *bytes, size_t n) {
    const char *path = path_of(name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) abort();
    return path;
}

static inline const char *write_text(const char *name, const char *text) {
    return write_bytes(name, text, strlen(text));
}

#endif
