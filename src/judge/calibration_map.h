/* calibration_map.h - inside of a calibration: the map that calibration.c fits and applies and calibration_file.c reads
 * and writes. */
#ifndef PGR_JUDGE_CALIBRATION_MAP_H
#define PGR_JUDGE_CALIBRATION_MAP_H

#include "judge/calibration.h"

#define COLDEST 1e-3 /* temperatures */
#define HOTTEST 1e3

typedef struct calibration_map {
    pgr_calibration_method method;
    pgr_calibration_input input;
    size_t n; /* outcomes it was fitted on */
    double temperature;
    double *x, *y; /* (n_knot) isotonic: y rises with x; straight lines between, level beyond */
    size_t n_knot;
    double between, within; /* SHRUNK: variance of the true difference over requests; of one chain around it */
} calibration_map;

struct pgr_calibration {
    calibration_map *of[PGR_VERDICT_KINDS]; /* NULL: none for this kind */
};

#endif
