/* fuzz_calibration.c - any bytes as a calibration file: an error that names the file,
 * or maps that rise and stay inside 0..1, and nothing for a kind without one. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "judge/calibration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Is there one? */
static size_t check_map(const pgr_calibration *c, pgr_verdict_kind kind) {
    const pgr_gap one = {.mean = 1, .spread = 1, .n = 2};
    if (pgr_calibration_outcomes(c, kind) == 0) {
        PGR_ASSERT(isnan(pgr_calibration_apply(c, kind, .7)) && isnan(pgr_calibration_apply_gap(c, kind, &one)));
        return 0;
    }
    bool difference = pgr_calibration_takes(c, kind) == PGR_CALIBRATION_DIFFERENCE;
    double before = 0;
    for (int i = 0; i <= 64; i++) {
        double p = pgr_calibration_apply(c, kind, difference ? (i - 32) / 2.0 : i / 64.0);
        PGR_ASSERT(p >= before - 1e-12 && p <= 1);
        before = p;
        const pgr_gap g = {.mean = (i - 32) / 2.0, .spread = i / 8.0, .n = 1 + i / 4.0};
        p = pgr_calibration_apply_gap(c, kind, &g);
        PGR_ASSERT(p >= 0 && p <= 1 && calibration_reach(c, kind, &g) >= 0);
    }
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pgr_calibration *c = NULL;
    pgr_error err = {0};
    if (calibration_parse((const char *)data, size, "fuzz", &c, &err) != PGR_OK) {
        PGR_ASSERT(!c && err.status < 0 && strncmp(err.message, "fuzz:", 5) == 0);
        return 0;
    }
    size_t n = 0;
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) n += check_map(c, (pgr_verdict_kind)k);
    PGR_ASSERT(n > 0); /* a file without a map is none */
    pgr_calibration_free(c);
    return 0;
}
