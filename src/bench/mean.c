/* mean.c - means with standard errors; see mean.h. */
#include "bench/mean.h"

#include <math.h>

static double mean(const double *v, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += v[i];
    return n ? s / (double)n : NAN;
}

mean_se mean_of(const double *v, size_t n) {
    mean_se out = {.mean = mean(v, n), .se = NAN, .n = n, .n_cluster = n};
    double ss = 0;
    for (size_t i = 0; i < n; i++) ss += (v[i] - out.mean) * (v[i] - out.mean);
    if (n > 1) out.se = sqrt(ss / (double)(n - 1) / (double)n);
    return out;
}

mean_se mean_clustered(const double *v, const size_t *cluster, size_t n, double *residuals, size_t *counts,
                       size_t n_cluster) {
    mean_se out = {.mean = mean(v, n), .se = NAN, .n = n};
    for (size_t g = 0; g < n_cluster; g++) {
        residuals[g] = 0;
        counts[g] = 0;
    }
    for (size_t i = 0; i < n; i++) {
        residuals[cluster[i]] += v[i] - out.mean;
        counts[cluster[i]]++;
    }
    double ss = 0;
    for (size_t g = 0; g < n_cluster; g++) {
        ss += residuals[g] * residuals[g];
        out.n_cluster += counts[g] > 0;
    }
    double groups = (double)out.n_cluster;
    if (out.n_cluster > 1) out.se = sqrt(ss * groups / (groups - 1)) / (double)n;
    return out;
}

mean_both mean_by_both(const clusters *c, const double *v) {
    mean_se user = mean_clustered(v, c->user, c->n, c->residuals, c->counts, c->n_user);
    mean_se question = mean_clustered(v, c->question, c->n, c->residuals, c->counts, c->n_question);
    return (mean_both){.mean = user.mean,
                       .se = fmax(user.se, question.se), /* of the one that is there */
                       .se_user = user.se,
                       .se_question = question.se,
                       .users = user.n_cluster,
                       .questions = question.n_cluster};
}
