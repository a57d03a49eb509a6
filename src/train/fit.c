/* fit.c - Newton's method with halved steps; a weight that would be negative is 0 and the other one fitted alone. */
#include "train/fit.h"

#include <math.h>
#include <stdbool.h>

enum { STEPS = 100 };

static double loss_at(const fit_row *rows, size_t n, double precision, const double w[2]) {
    double sum = precision * (w[0] * w[0] + w[1] * w[1]) / 2;
    for (size_t i = 0; i < n; i++) {
        double x = w[0] * rows[i].x[0] + w[1] * rows[i].x[1];
        sum += rows[i].weight * (log1p(exp(-fabs(x))) + (x < 0 ? -x : 0));
    }
    return sum;
}

/* The step of Newton; a feature that is off stays. */
static void newton(const fit_row *rows, size_t n, double precision, const double w[2], const bool on[2],
                   double step[2]) {
    double g[2] = {precision * w[0], precision * w[1]}, h00 = precision, h01 = 0, h11 = precision;
    for (size_t i = 0; i < n; i++) {
        const double *x = rows[i].x;
        double q = 1 / (1 + exp(w[0] * x[0] + w[1] * x[1])), c = rows[i].weight * q * (1 - q);
        for (int k = 0; k < 2; k++) g[k] -= rows[i].weight * q * x[k];
        h00 += c * x[0] * x[0];
        h01 += c * x[0] * x[1];
        h11 += c * x[1] * x[1];
    }
    double det = h00 * h11 - h01 * h01;
    step[0] = on[0] ? on[1] ? (h11 * g[0] - h01 * g[1]) / det : g[0] / h00 : 0;
    step[1] = on[1] ? on[0] ? (h00 * g[1] - h01 * g[0]) / det : g[1] / h11 : 0;
}

static void minimise(const fit_row *rows, size_t n, double precision, const bool on[2], double w[2]) {
    w[0] = w[1] = 0;
    double at = loss_at(rows, n, precision, w);
    for (int i = 0; i < STEPS; i++) {
        double step[2], to[2], size = 1, next;
        newton(rows, n, precision, w, on, step);
        do { /* convex: some part of the step is downhill */
            for (int k = 0; k < 2; k++) to[k] = w[k] - size * step[k];
            next = loss_at(rows, n, precision, to);
            size /= 2;
        } while (next > at && size > 1e-12);
        if (!(next < at)) return;
        w[0] = to[0], w[1] = to[1], at = next;
    }
}

void fit_two(const fit_row *rows, size_t n, double precision, double w[2]) {
    static const bool both[2] = {true, true}, one[2][2] = {{true, false}, {false, true}};
    minimise(rows, n, precision, both, w);
    if (w[0] >= 0 && w[1] >= 0) return;
    int keep = w[0] >= 0 ? 0 : 1;
    minimise(rows, n, precision, one[keep], w);
    if (w[keep] < 0) w[keep] = 0;
}
