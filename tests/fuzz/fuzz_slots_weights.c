/* fuzz_slots_weights.c - any bytes as the weights beside an adapter: an error that names the file, or weights within
 * their ranges, whose shares sum to 1. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "judge/slots_chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slots_weights w;
    pgr_error err = {0};
    if (slots_weights_parse((const char *)data, size, "fuzz", &w, &err) != PGR_OK) {
        PGR_ASSERT(err.status < 0 && strncmp(err.message, "fuzz:", 5) == 0);
        return 0;
    }
    PGR_ASSERT(w.trained && w.a >= 0 && w.b >= 0 && w.a + w.b > 0);
    double share = slots_taste_share(&w);
    PGR_ASSERT(share >= 0 && share <= 1);
    for (int f = 0; f < N_FACT; f++) PGR_ASSERT(fabs(w.common[f]) <= 3 && (w.has_common || w.common[f] == 0));
    return 0;
}
