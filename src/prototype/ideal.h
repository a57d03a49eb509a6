/* ideal.h - who agrees with what: an ideal-point model of votes (in psychometrics, item response in several
 * dimensions), in which everything that is not known is a distribution.
 *
 *     P(person u agrees with statement s) = sigmoid(b_s + q_s . p_u)
 *     b_s ~ N(0, 3)     q_s,d ~ N(0, 2 / (2 d + 1))     p_u ~ N(0, I)                      d = 0 .. IDEAL_DIMS - 1
 *
 * b: how popular a statement is; q: whom it divides; p: where a person stands. Independent normal posteriors of each
 * person and each statement by variational Bayes, with the quadratic bound of the logistic function by Jaakkola and
 * Jordan (Statistics and Computing 10, 2000). */
#ifndef PGR_PROTOTYPE_IDEAL_H
#define PGR_PROTOTYPE_IDEAL_H

#include "base/status.h"

enum { IDEAL_DIMS = 2, IDEAL_SIZE = 1 + IDEAL_DIMS, IDEAL_SQUARE = IDEAL_SIZE * IDEAL_SIZE };

typedef struct ideal_vote {
    uint32_t who, what;
    bool agrees;
} ideal_vote;

/* What is known of a statement's (b, q) or of a person's (1, p): E[x], and E[x x^T] (IDEAL_SIZE, IDEAL_SIZE). */
typedef struct ideal_point {
    double mean[IDEAL_SIZE], square[IDEAL_SQUARE];
} ideal_point;

typedef struct ideal {
    size_t n_who, n_what;
    ideal_point *who, *what; /* (n_who), (n_what) */
} ideal;

/* votes: (n) who < n_who, what < n_what, in any order; one of a person on a statement. Who did not vote, and what
 * nobody voted on, is as the priors have it. The same bits at every level. On error out is empty. */
pgr_status ideal_fit(const ideal_vote *votes, size_t n, size_t n_who, size_t n_what, const pgr_watch *watch, ideal *out,
                     pgr_error *err);
void ideal_free(ideal *m); /* all zero is fine */

/* A person of whom these votes are known, the statements being as they are. statements, agrees: (n) */
ideal_point ideal_place(const ideal_point *statements, const bool *agrees, size_t n);
/* The statement as it would be without this vote, the person being as he is: what others say of it. As its prior has it
 * where the vote cannot have been among those that made it. */
ideal_point ideal_without(const ideal_point *statement, const ideal_point *person, bool agreed);
/* P(the person agrees with the statement), 0..1: the logistic of the log odds' mean, moderated by their variance. */
double ideal_expect(const ideal_point *person, const ideal_point *statement);

ideal_point ideal_statement(void); /* of which nothing is known */

/* As numbers of a file: the mean, and the lower triangle of the covariance row by row. */
enum { IDEAL_PACKED = IDEAL_SIZE + IDEAL_SIZE * (IDEAL_SIZE + 1) / 2 };
void ideal_pack(const ideal_point *x, float out[IDEAL_PACKED]);
/* false: no variance of them is one (finite, more than 0), or a number is not finite. */
bool ideal_unpack(const float packed[IDEAL_PACKED], ideal_point *out);

#endif
