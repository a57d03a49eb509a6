/* lampqa.h - LaMP-QA in memory: the questions that every generator answered, what is shown of their askers,
 * the true scores. */
#ifndef PGR_BENCH_LAMPQA_H
#define PGR_BENCH_LAMPQA_H

#include "bench/distinct.h"
#include "bench/notes.h"
#include "bench/pairs.h"

enum { LAMPQA_MIN_GENERATORS = 2, LAMPQA_MAX_GENERATORS = 26 }; /* a letter for each in a prompt */

typedef struct lampqa_question {
    const char *id, *text;
    const char *profile;  /* what the request says of the user; "" if nothing */
    size_t category;
    uint64_t key;         /* the id and the seed decide it: order of the answers, chains, draw of the limit */
    const char **answers; /* (n_generator) NULL: none */
} lampqa_question;

typedef struct lampqa_data {
    arena arena;
    const char **generators; /* (n_generator) names */
    size_t n_generator;
    distinct categories;
    lampqa_question *questions; /* (n_question) growing */
    size_t n_question, cap_question;
    double *truth;           /* (n_category, n_generator); NULL: none */
    size_t unanswered;       /* questions left out because a generator has no answer */
    bench_notes notes;
} lampqa_data;

/* Everything that the options name; of the questions those stay that all answered, at most `limit` of a category. out
 * is to be freed, also after an error. */
pgr_status lampqa_load(const pgr_lampqa_options *o, lampqa_data *out, pgr_error *err);
void lampqa_free(lampqa_data *d);

/* The parts of lampqa_load that read JSON which others wrote, text (n). */
pgr_status lampqa_answers(lampqa_data *d, size_t generator, const char *text, size_t n, const char *origin,
                          pgr_error *err);
pgr_status lampqa_truth(lampqa_data *d, const char *text, size_t n, const char *origin, pgr_error *err);

/* The answers' order in a question's request: order[i] is the generator at place i, drawn by the question's key. */
void lampqa_order(const lampqa_question *q, size_t n_generator, size_t *order);

#endif
