/* admission.c - see admission.h. */
#include "serve/admission.h"

#include <math.h>

static const double FADE_S = 20;  /* what was before counts e times less */
static const double MARGIN = 1.1; /* of some hundred asks the rate is known to about a tenth */

void admission_look(admission *a, double now, size_t n_settled, bool waits) {
    if (a->looked > 0) {
        double dt = now - a->looked, fade = exp(-dt / FADE_S);
        a->seconds = a->seconds * fade + dt;
        a->ended = a->ended * fade + (double)n_settled;
        a->n_seen += n_settled;
        if (a->n_seen > ADMISSION_LEAST) a->n_seen = ADMISSION_LEAST;
    }
    a->looked = waits ? now : 0;
}

double admission_seconds(const admission *a, size_t ahead) {
    if (a->n_seen < ADMISSION_LEAST || a->ended <= 0) return 0;
    return (double)ahead * a->seconds / a->ended;
}

bool admission_late(const admission *a, double now, double deadline, size_t ahead) {
    double left = deadline - now;
    return left > 0 && admission_seconds(a, ahead) > MARGIN * left;
}
