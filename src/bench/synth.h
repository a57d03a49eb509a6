/* synth.h - synthetic users with known truth: latent weights over measured facts (facts/facts.h), choices between real
 * responses.
 *
 * A user of prototype k asks queries of a kind s (told by words, synth_kind) and weighs facts by
 *     w(u, s) = common + base_k + scenario_ks + own_u
 * each term on a few facts; w is scaled so that the utility difference of two random responses has standard deviation
 * 1. Asked about a and b whose utilities differ by `least` or more, he prefers a to b with probability
 *     sigmoid(w . (facts of a - facts of b) / noise)                                                (Bradley-Terry). */
#ifndef PGR_BENCH_SYNTH_H
#define PGR_BENCH_SYNTH_H

#include "base/arena.h"
#include "base/status.h"
#include "facts/facts.h"
#include "pgenrm_bench.h"

enum { SYNTH_KINDS = 4 }; /* code, write, advise, explain */

const char *synth_kind_name(int kind);
int synth_kind(const char *query, size_t n); /* by whole words, the first kind of the list that has one */

typedef struct synth_response {
    const char *text;
    facts facts;
} synth_response;

typedef struct synth_prompt {
    const char *text;
    int kind;
    size_t first, n; /* its responses, n >= 2, all different */
    bool held;       /* only for test rows */
} synth_prompt;

typedef struct synth_texts {
    arena arena;
    synth_prompt *prompts;
    synth_response *responses;
    size_t n_prompt, n_response, cap_prompt, cap_response;
} synth_texts; /* all zero: none */

typedef struct synth_user {
    size_t prototype;
    bool held;   /* his train rows are a history to judge by, not to learn from */
    bool unseen; /* no known user has his prototype */
    double weights[SYNTH_KINDS][N_FACT];
} synth_user;

typedef struct synth_row {
    size_t user, prompt, chosen, rejected; /* indices */
    bool test;
    double truth; /* probability that chosen is preferred */
} synth_row;

typedef struct synth {
    const synth_texts *texts;
    synth_user *users;
    size_t n_user, n_prototype; /* prototypes: of known users */
    synth_row *rows; /* (n_row) by user, train rows first */
    size_t n_row;
} synth; /* all zero: none */

/* {"prompt": .., "responses": {name: text}} per line, plain or gzip. Texts of more than max_bytes are left out. */
pgr_status synth_texts_load(const char *path, size_t max_bytes, const pgr_watch *watch /* may be NULL */,
                            synth_texts *out, pgr_error *err);
void synth_texts_free(synth_texts *t);
/* One line of such a file: `name` and `number` are for messages. On error nothing of it was added but memory. */
pgr_status synth_texts_add(synth_texts *t, const char *text, size_t n, const char *name, size_t number,
                           size_t max_bytes, pgr_error *err);

/* Marks the held-out prompts of texts, draws users and rows; they stand until synth_free. */
pgr_status synth_draw(synth_texts *texts, const pgr_synth_options *o, synth *out, pgr_error *err);
void synth_free(synth *s);

/* Facts of the row's chosen less those of its rejected response, in standard deviations, within -3..3. */
void synth_difference(const synth *s, const synth_row *row, double z[N_FACT]);

/* The ladders of methods on the test rows of held-out users, into report->ladder and ->unseen. */
pgr_status synth_ladder(const synth *s, const pgr_synth_options *o, pgr_synth_report *report, pgr_error *err);

/* A ladder over several truths: synth_mean_add once for each, all zero before the first, then synth_mean_end. */
typedef struct synth_mean {
    pgr_synth_ladder first; /* names, histories, and where there is one truth all of it */
    double sum[PGR_SYNTH_STEPS][3], square[PGR_SYNTH_STEPS][3], ceiling; /* accuracy, stranger's, gain */
    size_t n;
} synth_mean;
void synth_mean_add(synth_mean *m, const pgr_synth_ladder *l);
pgr_synth_ladder synth_mean_end(const synth_mean *m);

#endif
