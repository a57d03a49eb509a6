/* fuzz_artefact.c - any bytes as a file of prototypes, checksums compared and not: an error,
 * or one that can be searched and asked. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "prototype/neighbours.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const artefact *a) {
    near_user out[3];
    size_t n;
    for (size_t u = 0; u < a->n_user; u++) PGR_ASSERT(artefact_find(a, artefact_id(a, u)) == u);
    PGR_ASSERT(neighbours_find(a, a->after, 0, 3, 1, out, &n, NULL) == PGR_OK && n <= 3);
    for (size_t i = 0; i < n; i++) PGR_ASSERT(out[i].user < a->n_user && out[i].row < a->n_row);
    for (size_t j = 0; j < a->k; j++)
        for (size_t i = 0; a->words[j][i]; i++) PGR_ASSERT(i < ARTEFACT_MAX_WORDS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    void *copy = malloc(size + 1); /* aligned */
    if (!copy) return 0;
    memcpy(copy, data, size);
    for (int check = ARTEFACT_CHECK_ALL; check <= ARTEFACT_CHECK_NONE; check++) {
        artefact a;
        pgr_error err = {0};
        if (artefact_open_memory(copy, size, "fuzz", (artefact_check)check, &a, &err) != PGR_OK) {
            PGR_ASSERT(err.status < 0 && strncmp(err.message, "fuzz: ", 6) == 0);
            continue;
        }
        use(&a);
        artefact_close(&a);
    }
    free(copy);
    return 0;
}
