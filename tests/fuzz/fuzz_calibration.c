/* fuzz_calibration.c - any bytes as a calibration file: an error that names the file,
 * or a map that rises and stays inside 0..1. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "judge/calibration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pgr_calibration *c = NULL;
    pgr_error err = {0};
    if (calibration_parse((const char *)data, size, "fuzz", &c, &err) != PGR_OK) {
        PGR_ASSERT(!c && err.status < 0 && strncmp(err.message, "fuzz:", 5) == 0);
        return 0;
    }
    bool difference = pgr_calibration_takes(c) == PGR_CALIBRATION_DIFFERENCE;
    double before = 0;
    for (int i = 0; i <= 64; i++) {
        double p = pgr_calibration_apply(c, difference ? (i - 32) / 2.0 : i / 64.0);
        PGR_ASSERT(p >= before - 1e-12 && p <= 1);
        before = p;
        const pgr_gap g = {.mean = (i - 32) / 2.0, .spread = i / 8.0, .n = 1 + i / 4.0};
        p = pgr_calibration_apply_gap(c, &g);
        PGR_ASSERT(p >= 0 && p <= 1 && calibration_reach(c, &g) >= 0);
    }
    pgr_calibration_free(c);
    return 0;
}
