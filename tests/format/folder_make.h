/* folder_make.h - for tests: a temporary folder with files in it, gone at the end;
 * safetensors files from their header. */
#ifndef PGR_TESTS_FOLDER_MAKE_H
#define PGR_TESTS_FOLDER_MAKE_H

#include "../base/faults.h"

#include <dirent.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

typedef struct folder {
    char path[64];
} folder;

static inline folder folder_make(void) {
    folder f = {"/tmp/pgenrm-test-XXXXXX"};
    assert_non_null(mkdtemp(f.path));
    return f;
}

static inline void folder_put(const folder *f, const char *name, const void *data, size_t n) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
}

static inline void folder_puts(const folder *f, const char *name, const char *text) {
    folder_put(f, name, text, strlen(text));
}

/* All its files. */
static inline void folder_empty(const folder *f) {
    char path[512];
    DIR *d = opendir(f->path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", f->path, e->d_name);
        assert_int_equal(unlink(path), 0);
    }
    closedir(d);
}

static inline void folder_remove(const folder *f) {
    folder_empty(f);
    assert_int_equal(rmdir(f->path), 0);
}

/* header and n_data bytes 0, 1, 2 ..., in a block of exactly that size (so that ASan sees a read beyond) */
static inline uint8_t *make_safetensors(const char *header, size_t n_data, size_t *size) {
    size_t n = strlen(header);
    uint8_t *bytes = malloc(8 + n + n_data);
    assert_non_null(bytes);
    for (size_t i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < n_data; i++) bytes[8 + n + i] = (uint8_t)i;
    *size = 8 + n + n_data;
    return bytes;
}

static inline void folder_put_safetensors(const folder *f, const char *name, const char *header, size_t n_data) {
    size_t size;
    uint8_t *bytes = make_safetensors(header, n_data, &size);
    folder_put(f, name, bytes, size);
    free(bytes);
}

#define GOLDEN(name) PGR_SOURCE_DIR "/tests/golden/" name

#endif
