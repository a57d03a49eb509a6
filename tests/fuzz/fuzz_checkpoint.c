/* fuzz_checkpoint.c - any bytes as a run's checkpoint: state.json up to the first NUL, behind it state.bin. An error
 * that names the file, or a state whose values are those of the file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/saved.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N = 2 };
static char folder[64];

static void put(const char *name, const uint8_t *data, size_t n) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    PGR_ASSERT(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

static void remove_all(void) {
    static const char *const names[] = {"state.json", "state.bin", ""};
    char path[128];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!folder[0]) {
        strcpy(folder, "/tmp/pgenrm-checkpoint-XXXXXX");
        if (!mkdtemp(folder)) return 0;
        atexit(remove_all);
    }
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    put("state.json", data, n);
    put("state.bin", end ? end + 1 : data, end ? size - n - 1 : 0);
    float values[3][N] = {{0}};
    train_state s = {.values = values[0], .first = values[1], .second = values[2], .n = N};
    pgr_error err = {0};
    json_t *settings = json_pack("{s:s,s:i}", "stage", "bt", "batch", 8);
    if (!settings) return 0;
    if (saved_read(folder, settings, &s, &err) != PGR_OK)
        PGR_ASSERT(err.status < 0 && strncmp(err.message, folder, strlen(folder)) == 0);
    else
        PGR_ASSERT(memcmp(values[0], end + 1 + 24, sizeof values[0]) == 0);
    json_decref(settings);
    return 0;
}
