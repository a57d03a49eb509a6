/* fuzz_attributes.c - any bytes as a file of what a population chooses: an error that names the file,
 * or a reward model whose scores are finite. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "pgenrm_bench.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_scores(pgr_scalar *s) {
    const pgr_message ask = {"user", "Is it far? List 3 ways."};
    const pgr_scalar_input in[] = {{&ask, 1, "No.\n- by bus\n- on foot"}, {&ask, 1, ""}, {NULL, 0, "I think so!"}};
    float scores[3];
    size_t tokens[3];
    pgr_error err = {0};
    PGR_ASSERT(pgr_scalar_score(s, in, 2, NULL, scores, tokens, &err) == PGR_OK);
    for (int i = 0; i < 2; i++) PGR_ASSERT(isfinite(scores[i]));
    PGR_ASSERT(pgr_scalar_score(s, in + 2, 1, NULL, scores, tokens, &err) == PGR_E_UNSUPPORTED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char path[64];
    static FILE *file;
    if (!file) {
        file = tmpfile();
        if (!file) return 0;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(file));
    }
    rewind(file);
    PGR_ASSERT(ftruncate(fileno(file), 0) == 0 && fwrite(data, 1, size, file) == size && fflush(file) == 0);
    pgr_scalar *s = NULL;
    pgr_error err = {0};
    if (pgr_attributes_open(path, &s, &err) != PGR_OK) {
        PGR_ASSERT(!s && err.status < 0 && strncmp(err.message, path, strlen(path)) == 0);
        return 0;
    }
    check_scores(s);
    pgr_scalar_close(s);
    return 0;
}
