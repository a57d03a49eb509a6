/* ridge.h - Bradley-Terry with a ridge: why the chosen response of a pair was chosen, from its attributes, from who
 * chooses, and from the response itself.
 *
 *     z = w.x + v_user.x' + t_chosen - t_rejected          P(chosen is chosen) = 1 / (1 + exp(-z))
 *     loss = sum_rows log(1 + exp(-z))
 *            + (attribute |w_a|^2 + embedding |w_e|^2 + personal sum_users |v|^2 + item |t|^2) / 2
 *
 * x: differences chosen - rejected, attributes first, then embeddings; x': the first n_personal of them. The penalties
 * are one over the variances of normal priors: v is a user's departure from w, which one without pairs has none of.
 * INFINITY leaves a part out. */
#ifndef PGR_BENCH_RIDGE_H
#define PGR_BENCH_RIDGE_H

#include "base/status.h"

typedef struct ridge_rows {
    const float *x; /* (n_row, n_attribute + n_embedding) */
    const size_t *user;
    const size_t (*item)[2]; /* chosen, rejected */
    size_t n_attribute, n_embedding, n_personal, n_user, n_item;
} ridge_rows;

typedef struct ridge_penalty {
    double attribute, embedding, personal, item;
} ridge_penalty;

typedef struct ridge_model {
    double *w;        /* (n_attribute + n_embedding) */
    double *personal; /* (n_user, n_personal) */
    double *item;     /* (n_item) */
} ridge_model;

pgr_status ridge_model_create(const ridge_rows *r, ridge_model *m, pgr_error *err); /* all zero */
void ridge_model_free(ridge_model *m);

/* Fits to the rows listed in `list` (n), starting from what m holds: a neighbouring penalty's model saves time and
 * changes the result by no more than the tolerance. */
pgr_status ridge_fit(const ridge_rows *r, const size_t *list, size_t n, const ridge_penalty *p, pgr_cancel *cancel,
                     ridge_model *m, pgr_error *err);

/* z of a row with these personal weights (n_personal), NULL: none. */
double ridge_z(const ridge_rows *r, const ridge_model *m, size_t row, const double *personal);

/* The personal weights that the listed rows give alone, the rest of the model as it is.        v: (n_personal) */
pgr_status ridge_fit_user(const ridge_rows *r, const ridge_model *m, const size_t *list, size_t n,
                          const ridge_penalty *p, double *v, pgr_error *err);

double ridge_loss(double z); /* log(1 + exp(-z)) */

/* Value and gradient that ridge_fit minimises, for the tests: q (ridge_n) are the parameters in the order w, personal,
 * item without the parts left out, each times the root of its penalty. */
typedef struct ridge_problem {
    const ridge_rows *r;
    const size_t *list;
    size_t n;
    ridge_penalty p;
} ridge_problem;
size_t ridge_n(const ridge_problem *p);
double ridge_value(void *problem, const double *q, double *gradient);

#endif
