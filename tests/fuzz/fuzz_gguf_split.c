/* fuzz_gguf_split.c - any bytes as a model in two or three GGUF files. The first byte says how many files there are
 * (its lowest bit) and which is opened (the next one); the next four, how long the first two are. Each gives an error
 * that names a file, or tensors that lie in the file that they are said to be in. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file_out.h"
#include "format/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 5, MOST = 3 };

static char folder[40];

static void remove_folder(void) {
    rmdir(folder);
}

static void make_folder(void) {
    if (folder[0]) return;
    strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/pgenrm-fuzz-XXXXXX" : "/tmp/pgenrm-fuzz-XXXXXX");
    PGR_ASSERT(mkdtemp(folder) && atexit(remove_folder) == 0);
}

static void path_of(char path[100], size_t i, size_t n) {
    snprintf(path, 100, "%s/m-%05zu-of-%05zu.gguf", folder, i + 1, n);
}

/* Not file_write, which waits for the disk. */
static void write_part(const char *path, const uint8_t *p, size_t n) {
    FILE *f = fopen(path, "wb");
    PGR_ASSERT(f && fwrite(p, 1, n, f) == n && fclose(f) == 0);
}

static void check_tensors(const gguf *g) {
    for (size_t i = 0; i < g->n_tensor; i++) {
        const gguf_tensor *t = &g->tensors[i];
        PGR_ASSERT(t->offset <= g->map.size && t->bytes <= g->map.size - t->offset);
        PGR_ASSERT(!t->data || (const uint8_t *)t->data == g->map.data + t->offset);
    }
    for (size_t i = 0; i < g->n_rest; i++) check_tensors(&g->rest[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD) return 0;
    size_t n = 2 + (data[0] & 1), at = HEAD, first = data[0] >> 1 & 1;
    size_t lengths[MOST] = {data[1] | (size_t)data[2] << 8, data[3] | (size_t)data[4] << 8, SIZE_MAX};
    char paths[MOST][100];
    make_folder();
    for (size_t i = 0; i < n; i++) {
        size_t left = size - at, len = i + 1 < n && lengths[i] < left ? lengths[i] : left;
        path_of(paths[i], i, n);
        write_part(paths[i], data + at, len);
        at += len;
    }
    gguf g;
    pgr_error err = {0};
    if (gguf_open(paths[first], &g, &err) == PGR_OK) {
        PGR_ASSERT(first == 0 || g.n_rest == 0); /* another part is refused, unless its keys say that it is whole */
        check_tensors(&g);
        gguf_close(&g);
    } else {
        PGR_ASSERT(err.status < 0 && strstr(err.message, folder));
    }
    for (size_t i = 0; i < n; i++) unlink(paths[i]);
    return 0;
}
