/* buffer.c - memory and whole files; see buffer.h. */
#include "buffer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

static void *must(void *p) {
    if (p) return p;
    complain("out of memory");
    exit(EXIT_FAILED);
}

void *must_alloc(size_t size) {
    return must(calloc(1, size ? size : 1));
}
void *must_resize(void *p, size_t size) {
    return must(realloc(p, size ? size : 1));
}

char *must_dup(const char *s, size_t n) {
    char *copy = must_alloc(n + 1);
    memcpy(copy, s, n);
    return copy;
}

char *must_join(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    char *text = must_alloc(n + m + 1);
    memcpy(text, s, n);
    memcpy(text + n, end, m);
    return text;
}

/* Why a stream ended before its end. */
static int complain_stream(const char *name) {
    if (interrupted) return complain_interrupted();
    complain("%s: %s", name, strerror(errno));
    return EXIT_FAILED;
}

static int read_stream(FILE *f, const char *name, char **text, size_t *n) {
    size_t cap = 1 << 16, size = 0;
    char *data = must_alloc(cap);
    for (;;) {
        size += fread(data + size, 1, cap - size - 1, f);
        if (size < cap - 1) break;
        data = must_resize(data, cap *= 2);
    }
    if (ferror(f) || interrupted) {
        int status = complain_stream(name);
        free(data);
        return status;
    }
    data[size] = '\0';
    *text = data;
    *n = size;
    return EXIT_DONE;
}

int read_whole(const char *path, char **text, size_t *n) {
    if (strcmp(path, "-") == 0) return read_stream(stdin, "standard input", text, n);
    FILE *f = fopen(path, "rb");
    if (!f) {
        complain("%s: %s", path, strerror(errno));
        return EXIT_FAILED;
    }
    int status = read_stream(f, path, text, n);
    fclose(f);
    return status;
}
