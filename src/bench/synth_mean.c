/* synth_mean.c - a ladder over several truths: means, and errors between truths. */
#include <math.h>

#include "bench/synth.h"

enum { ACCURACY, STRANGER, GAIN, N_VALUE };

static void values_of(const pgr_synth_step *s, double v[N_VALUE]) {
    v[ACCURACY] = s->accuracy;
    v[STRANGER] = s->stranger;
    v[GAIN] = s->gain;
}

void synth_mean_add(synth_mean *m, const pgr_synth_ladder *l) {
    if (m->n++ == 0) m->first = *l;
    m->ceiling += l->ceiling;
    for (size_t i = 0; i < l->n_step; i++) {
        double v[N_VALUE];
        values_of(&l->steps[i], v);
        for (int k = 0; k < N_VALUE; k++) {
            m->sum[i][k] += v[k];
            m->square[i][k] += v[k] * v[k];
        }
    }
}

pgr_synth_ladder synth_mean_end(const synth_mean *m) {
    pgr_synth_ladder out = m->first;
    double n = (double)m->n;
    if (m->n < 2) return out; /* one truth says nothing of others: its own errors stay */
    out.ceiling = m->ceiling / n;
    for (size_t i = 0; i < out.n_step; i++) {
        double mean[N_VALUE], se[N_VALUE];
        for (int k = 0; k < N_VALUE; k++) {
            mean[k] = m->sum[i][k] / n;
            double left = m->square[i][k] - n * mean[k] * mean[k];
            se[k] = sqrt((left > 0 ? left : isnan(left) ? NAN : 0) / (n - 1) / n);
        }
        out.steps[i].accuracy = mean[ACCURACY], out.steps[i].accuracy_se = se[ACCURACY];
        out.steps[i].stranger = mean[STRANGER], out.steps[i].stranger_se = se[STRANGER];
        out.steps[i].gain = mean[GAIN], out.steps[i].gain_se = se[GAIN];
    }
    return out;
}
