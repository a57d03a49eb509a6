/* dataset_make.h - small data files for the tests of the user room: written into a folder of the test's own. */
#ifndef PGR_TESTS_DATASET_MAKE_H
#define PGR_TESTS_DATASET_MAKE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static char folder[64];

static inline int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/pgenrm-user-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state) {
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* One of eight buffers in turn. */
static inline const char *path_of(const char *name) {
    static char paths[8][160];
    static int turn;
    char *p = paths[turn++ % 8];
    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
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

static inline const char *write_gzip(const char *name, const char *text) {
    const char *path = path_of(name);
    gzFile f = gzopen(path, "wb");
    if (!f || gzwrite(f, text, (unsigned)strlen(text)) != (int)strlen(text) || gzclose(f) != Z_OK) abort();
    return path;
}

#define CONTEXT "\"context\":[{\"role\":\"user\",\"content\":\"which?\"}]"
/* A record of the user u. */
#define ROW(u, chosen, rejected, rest)                                                                                 \
    "{\"user_id\":\"" u "\"," CONTEXT ",\"chosen\":\"" chosen "\",\"rejected\":\"" rejected "\"" rest "}\n"

#endif
