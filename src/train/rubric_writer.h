/* rubric_writer.h - the built-in teacher of text chains: no model. It measures the facts of the shown history, infers
 * what the user likes, and writes persona, criteria with weights and evidence, scores and totals in the form that a
 * frame's parser reads. What it writes follows from the prompt alone: the shown pairs and the responses. */
#ifndef PGR_TRAIN_RUBRIC_WRITER_H
#define PGR_TRAIN_RUBRIC_WRITER_H

#include "judge/chain.h"
#include "facts/facts.h"
#include "user/request.h"

/* What the shown pairs say of a user: w maximises sum_i log sigmoid(w . l_i) - |w|^2 / 2 over the levels l_i of the
 * chosen against the rejected text (Bradley and Terry under a standard Gaussian prior). pairs (n): indices. */
pgr_status rubric_weights(const preference_pair *history, const size_t *pairs, size_t n, double w[N_FACT],
                          pgr_error *err);

typedef struct rubric_task {
    chain_form form;           /* CHAIN_FULL or CHAIN_COMPACT */
    const pgr_request *request;
    const size_t *history;     /* (n_history) pairs that are shown */
    size_t n_history;
    const size_t *order;       /* (n_response) the response at each place */
} rubric_task;

/* Appends the chain. *said = false: fewer than two facts stand out in what is shown, nothing is written. */
pgr_status rubric_write(const rubric_task *t, buf *out, bool *said, pgr_error *err);

/* What the full form calls more (word 2 f) or less (2 f + 1) of fact f: "Brevity". Compact chains say "length less". */
const char *rubric_name(int word);

#endif
