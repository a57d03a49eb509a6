/* pgenrm.h - the public API of libpgenrm: users, judging, prototypes, on models and engines (pgenrm_model.h,
 * included here). Measuring judges is in pgenrm_bench.h, training them in pgenrm_train.h.
 *
 * Four nouns: a model (weights, tokenizer, chat template: read-only, shared by threads), an engine (KV cache and
 * scheduler: one per thread), a request (a user, a query, candidate responses) and a result (one score per response).
 *
 *     pgr_error err;
 *     pgr_model_options mo = pgr_model_options_default();
 *     pgr_model *model = NULL;
 *     pgr_engine *engine = NULL;
 *     pgr_request *request = NULL;
 *     pgr_result *result = NULL;
 *     pgr_judge_options jo = pgr_judge_options_default();
 *     if (pgr_model_open("model.gguf", &mo, &model, &err) == PGR_OK
 *         && pgr_engine_create(model, NULL, &engine, &err) == PGR_OK
 *         && pgr_request_read("request.json", &request, &err) == PGR_OK
 *         && pgr_judge(engine, request, &jo, &result, &err) == PGR_OK)
 *         printf("best: %d\n", result->best);
 *     pgr_result_free(result);
 *     pgr_request_free(request);
 *     pgr_engine_free(engine);
 *     pgr_model_close(model);
 *
 * What pgenrm_model.h says of errors and text holds here too. */
#ifndef PGENRM_H
#define PGENRM_H

#include "pgenrm_model.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* ---- calibration ----------------------------------------------------------------------------------------------- */

/* What a verdict stands on (docs/scores.md). */
typedef enum pgr_verdict_kind {
    PGR_VERDICT_ANSWERS, /* what the responses are like: their texts, the user's taste */
    PGR_VERDICT_VIEWS,   /* statements: what people said of them, and nothing else; of frames with slots */
} pgr_verdict_kind;

enum { PGR_VERDICT_KINDS = 2 };

const char *pgr_verdict_kind_name(pgr_verdict_kind kind); /* "answers", "views": as results and files have it */

/* Maps from what the chains say of "A is better than B" to how often that is so, fitted on outcomes (docs/scores.md):
 * one for verdicts of a kind, or one for each kind. No map is used for verdicts of another kind. A map is symmetric:
 * what it makes of A against B and of B against A sums to 1. Read-only once made: threads may share it. */
typedef struct pgr_calibration pgr_calibration;

typedef enum pgr_calibration_method {
    PGR_CALIBRATION_TEMPERATURE, /* one number, by maximum likelihood */
    PGR_CALIBRATION_ISOTONIC,    /* any rising map, by pool-adjacent-violators */
} pgr_calibration_method;

typedef enum pgr_calibration_input {
    PGR_CALIBRATION_PROBABILITY, /* of the uncalibrated win probability of A, 0..1 */
    PGR_CALIBRATION_DIFFERENCE,  /* of A's score minus B's */
    PGR_CALIBRATION_SHRUNK,      /* of that difference, shrunk by what differs between requests */
} pgr_calibration_input;

/* A's score minus B's over the chains of one request. */
typedef struct pgr_gap {
    double mean;
    double spread; /* weighted mean square of the chains' differences around those of their sides */
    double n;      /* chains that the weights amount to: 1 / sum of their squares */
} pgr_gap;

/* A map for verdicts of the kind, of which all outcomes are. x, y: (n), n >= 1. y[i]: 1 A was better, 0 B was; a tie is
 * 0.5. *out is the caller's (pgr_calibration_free). */
pgr_status pgr_calibration_fit(pgr_verdict_kind kind, pgr_calibration_method method, pgr_calibration_input input,
                               const double *x, const double *y, size_t n, pgr_calibration **out, pgr_error *err);
/* A probability; NaN for NaN, and where there is no map for the kind. */
double pgr_calibration_apply(const pgr_calibration *c, pgr_verdict_kind kind, double x);
/* The same over differences of whole requests, which tell what varies between requests from what varies between the
 * chains of one: the map is of PGR_CALIBRATION_SHRUNK and keeps both variances. Needs a verdict of two chains or
 * more. */
pgr_status pgr_calibration_fit_gaps(pgr_verdict_kind kind, pgr_calibration_method method, const pgr_gap *x,
                                    const double *y, size_t n, pgr_calibration **out, pgr_error *err);
/* By a map of any input; NaN as above. */
double pgr_calibration_apply_gap(const pgr_calibration *c, pgr_verdict_kind kind, const pgr_gap *x);
/* How many outcomes the map for the kind was fitted on; 0: there is none (c may be NULL). */
size_t pgr_calibration_outcomes(const pgr_calibration *c, pgr_verdict_kind kind);
pgr_calibration_input pgr_calibration_takes(const pgr_calibration *c, pgr_verdict_kind kind); /* the map is there */
/* into takes over the maps of from, in the place of its own for the same kinds; from is freed. */
void pgr_calibration_join(pgr_calibration *into, pgr_calibration *from);
/* One JSON object, {"answers": MAP, "views": MAP} or one of both; a bare MAP is read as one of answers. */
pgr_status pgr_calibration_open(const char *path, pgr_calibration **out, pgr_error *err);
pgr_status pgr_calibration_write(const pgr_calibration *c, const char *path, pgr_error *err);
void pgr_calibration_free(pgr_calibration *c); /* NULL is fine */

/* Expected calibration error: over n_bin bins of equal width of the probabilities p, the mean of |mean p - mean y|
 * weighted by how many are in the bin. p (n) in 0..1, y (n) 0, 1 or 0.5; NaN where n or n_bin is 0. */
double pgr_calibration_error(const double *p, const double *y, size_t n, size_t n_bin);

/* ---- request --------------------------------------------------------------------------------------------------- */

typedef struct pgr_request pgr_request;

/* A request object as in docs/requests.md, or a PersonalRewardBench record (chosen is then response 0). `origin` is the
 * file's name for messages, or FILE:LINE where the text begins at that line. Unknown keys are errors that name the
 * nearest known key. */
pgr_status pgr_request_parse(const char *json, size_t len, const char *origin, pgr_request **out, pgr_error *err);
pgr_status pgr_request_read(const char *path /* "-": standard input */, pgr_request **out, pgr_error *err);
void pgr_request_free(pgr_request *request);

/* ---- users ----------------------------------------------------------------------------------------------------- */

/* Users, their preference pairs and what was computed of them, in one SQLite file or in a database of PostgreSQL
 * (docs/users.md). One writer and many readers at a time, in any number of programs (PostgreSQL: many that add to one
 * user each, too); a call that finds the store in use waits up to 10 seconds. A server that goes away is PGR_E_IO; the
 * next call connects again. threads: a handle is one thread's at a time. */
typedef struct pgr_store pgr_store;

/* The path of a store, a file's or postgres://USER@HOST:PORT/DATABASE (postgresql:// too, and what else libpq takes
 * behind it): name as it is; NULL or "" means $PGENRM_STORE, else users.db in the cache folder. *out is the caller's
 * (pgr_free). An address that cannot be read is PGR_E_ARG, any address PGR_E_UNSUPPORTED in a build without libpq;
 * messages do not repeat it, since it may hold a password. */
pgr_status pgr_store_find(const char *name, char **out, pgr_error *err);

/* The file of prototypes that belongs to a store: its path with ".protos" at its end; of one in PostgreSQL
 * postgres-HOST-PORT-DATABASE.protos in the cache folder. *out is the caller's (pgr_free). */
pgr_status pgr_store_protos(const char *path, char **out, pgr_error *err);

typedef enum pgr_store_mode {
    PGR_STORE_READ,
    PGR_STORE_WRITE,  /* one that is there */
    PGR_STORE_CREATE, /* made where it is not there: the file with its folder, the tables in the database */
} pgr_store_mode;

/* An older store is brought to today's version, a newer one is PGR_E_UNSUPPORTED, a file or schema of another kind
 * PGR_E_FORMAT. */
pgr_status pgr_store_open(const char *path, pgr_store_mode mode, pgr_store **out, pgr_error *err);
void pgr_store_close(pgr_store *store); /* NULL is fine */
const char *pgr_store_path(const pgr_store *store); /* to be shown: an address without its password */

typedef struct pgr_import_options {
    const char *form; /* one of docs/users.md's, or NULL: told by the file's first record */
    bool skip_bad;    /* bad records are counted, else the first one ends the import */
    const char *user;     /* whose the rows are that name nobody; NULL: such a row is bad */
    const char *user_key; /* the column that names a row's user; NULL: "user_id", or the form's own */
    const char *weights;  /* of the form "personalllm": "gemma_2b=0.7,beaver_7b=0.3", scores to sum up for `user`;
                             NULL: each reward model is a user */
    pgr_watch watch; /* progress: bytes of the file */
} pgr_import_options;

/* Why rows of a data set make no pair: nothing could be learnt from it. */
typedef enum pgr_left {
    PGR_LEFT_EMPTY,    /* a response is missing or blank */
    PGR_LEFT_ALIKE,    /* both responses are the same text */
    PGR_LEFT_TIE,      /* a tie, or equal scores */
    PGR_LEFT_UNCHOSEN, /* nothing was chosen, or has no score */
    PGR_LEFT_UNASKED,  /* the question is missing or blank */
    PGR_LEFT_APART,    /* two dialogues that ask different questions */
    PGR_LEFT_N
} pgr_left;
const char *pgr_left_name(pgr_left why); /* "tie" */
const char *pgr_left_text(pgr_left why); /* "a tie, or equal scores" */

typedef struct pgr_imported {
    size_t users;   /* new ones */
    size_t pairs;   /* new ones */
    size_t known;   /* pairs that were there already; what was missing of them is filled in */
    size_t skipped; /* bad records */
    size_t left_out[PGR_LEFT_N]; /* pairs that were left out, by reason */
    char first_bad[480]; /* why the first of them was skipped; "" if none */
} pgr_imported;

/* Adds the users and pairs of a data set's file ("-": standard input; JSON lines or an array, plain or gzip;
 * docs/users.md), in bounded memory. Records are committed some thousands at a time, in the file's order: after an
 * error, *cancel or a kill the records before that place are there, and another import of the file goes on. out counts
 * what was committed, on errors too. options may be NULL. */
pgr_status pgr_user_import(pgr_store *store, const char *path, const pgr_import_options *options, pgr_imported *out,
                           pgr_error *err);

/* Adds a user given as a request's "user" object (id, history, criteria, demographics): all of it or nothing. One who
 * is there gets the pairs that he has not; criteria and demographics that are given replace his. origin as in
 * pgr_request_parse. */
pgr_status pgr_user_add(pgr_store *store, const char *json, size_t len, const char *origin, pgr_imported *out,
                        pgr_error *err);

typedef struct pgr_user_row {
    const char *id;
    size_t pairs, test_pairs; /* all; those whose split is "test" */
    size_t criteria;
    bool demographics;
    size_t vectors, analyses; /* computed of the pairs */
} pgr_user_row;

/* Calls fn with every user, in the order in which they came, until it returns false. The row is fn's for the call
 * only. */
typedef bool (*pgr_user_fn)(void *ctx, const pgr_user_row *row);
pgr_status pgr_user_list(pgr_store *store, pgr_user_fn fn, void *ctx, pgr_error *err);

typedef struct pgr_user_pair {
    const char *conversation, *split, *type, *attributes; /* "" where not given */
    const char *query;                                     /* the last turn of the context */
    size_t turns;                                          /* of the context */
    const char *chosen, *rejected;
} pgr_user_pair;

typedef struct pgr_user {
    pgr_user_row row;
    const char *const *criteria; /* (row.criteria) */
    const char *demographics;
    const pgr_user_pair *pairs;  /* (row.pairs) in the order in which they came */
} pgr_user;

/* *out is the caller's (pgr_user_free). PGR_E_ARG where there is no such user. */
pgr_status pgr_user_load(pgr_store *store, const char *id, pgr_user **out, pgr_error *err);
void pgr_user_free(pgr_user *user);

typedef enum pgr_user_form {
    PGR_USER_RECORDS, /* JSON lines: {"user_id", "criteria", "demographics"}, then his pairs as PersonalRewardBench
                       * records */
    PGR_USER_REQUEST, /* one JSON line: a request's "user" object; pairs kept for tests are not in it */
} pgr_user_form;

/* Gives the lines of one user (id), or of all (NULL), to fn, line by line with their line breaks, until it returns
 * false. What PGR_USER_RECORDS writes, pgr_user_import reads back to the same store. */
typedef bool (*pgr_write_fn)(void *ctx, const char *text, size_t n);
pgr_status pgr_user_export(pgr_store *store, const char *id, pgr_user_form form, pgr_write_fn fn, void *ctx,
                           pgr_error *err);

/* Forgets n users: their rows, pairs, vectors and analyses, and then their bytes in the file and its log (PostgreSQL:
 * their space is given back to be written over). All of them or none (PGR_E_ARG, one of them is not there). PGR_E_IO
 * with "forgotten users' rows are gone": a reader is in the way, so the bytes are still there; they go with the next
 * change by this handle, or when the store is next opened for writing. The first time in a file of an earlier version
 * (docs/users.md) all of it is rewritten. */
pgr_status pgr_user_forget(pgr_store *store, const char *const *ids, size_t n, pgr_error *err);

/* Forgets the pairs of a user with this question (the last turn) and these responses, as pgr_user_forget does users;
 * *n (may be NULL): how many they were. PGR_E_ARG where there is no such user. */
pgr_status pgr_user_forget_pair(pgr_store *store, const char *id, const char *query, const char *chosen,
                                const char *rejected, size_t *n, pgr_error *err);

/* Rewrites the file from what its tables hold: the room of forgotten users is given back to the disk. Needed where
 * another program than this library has written into it, so that what it left is not there any more. Takes as long as
 * the file is large, and others wait. (PostgreSQL: VACUUM FULL of the tables, by their owner.) */
pgr_status pgr_store_rewrite(pgr_store *store, pgr_error *err);

/* A request that names its user and brings no history gets the history that the store has of him, and criteria and
 * demographics where it brings none. Left out: pairs of the splits "test" and "val", and the pair that is asked about.
 * *known: the store has this user, or the request brings a history of its own; else it stays as it is. */
pgr_status pgr_request_complete(pgr_request *request, pgr_store *store, bool *known, pgr_error *err);

/* ---- prototypes and people ------------------------------------------------------------------------------------- */

/* How users become vectors (docs/prototypes.md). */
typedef enum pgr_proto_by {
    PGR_PROTO_VOTES,    /* one vector per user: sum of r(chosen) - r(rejected), r a random direction named by the text;
                         * needs no model */
    PGR_PROTO_CHOICES,  /* one per user: sum of the directions from rejected to chosen embedding */
    PGR_PROTO_ANALYSIS, /* one per pair: the embedding of the preference analysis that a model wrote (docs/method.md) */
    PGR_PROTO_FACTS,    /* one per user: sum of the levels by which 12 facts of form (docs/compact.md) differ between
                         * chosen and rejected texts; needs no model. Prototypes are the classes of a mixture that is
                         * fitted to the members' pairs: no refinement */
} pgr_proto_by;

/* Writes the preference analyses (Part 1 of a chain) of n requests: texts[i] is pgr_free'd by the caller; all NULL
 * after an error. */
typedef pgr_status (*pgr_analyse_fn)(void *ctx, const pgr_request *const *requests, size_t n, char **texts,
                                     pgr_error *err);

typedef struct pgr_proto_options {
    pgr_proto_by by;
    int k;                  /* prototypes; 0: as the singular values suggest; by facts as users say who were left out */
    int restarts;           /* of k-means */
    int epochs;             /* of refinement; 0: none */
    double beta;            /* of its loss, -log sigmoid(beta (z.y+ - z.y-)): 4; the paper has none (1) */
    size_t dims;            /* of PGR_PROTO_VOTES: a multiple of 128; by facts 12, the others have the embedder's */
    const char *split;      /* which pairs count: "history" (all but test and val), "all", or a split's name */
    uint64_t seed;
    pgr_embedder *embedder; /* NULL for PGR_PROTO_VOTES and PGR_PROTO_FACTS */
    pgr_analyse_fn analyse; /* PGR_PROTO_ANALYSIS: writes those that the store lacks; NULL: that is an error */
    void *analyse_ctx;
    const char *analyst;    /* name of the model that writes or wrote them */
    int n_thread;           /* 0: as many as there are cores */
    pgr_watch watch;
} pgr_proto_options;

typedef struct pgr_prototype {
    size_t rows, users;       /* members; a user of PGR_PROTO_ANALYSIS may have rows in several */
    const char *const *words; /* typical ones, by facts what they like ("length more"), NULL at the end */
    double similarity;        /* mean cosine of up to 1,000 members to the prototype */
} pgr_prototype;

typedef struct pgr_prototypes {
    const char *path, *embedder, *model, *split; /* "" where there is none */
    pgr_proto_by by;
    size_t dims, k, rows, users, pairs;
    uint64_t seed;
    double inertia;                             /* of k-means: sum of squared distances */
    const double *singular; size_t n_singular;  /* largest first */
    size_t suggested_k;                         /* by the singular values */
    const double *losses; size_t n_loss;        /* mean loss of every epoch of refinement; by facts of every
                                                 * round of the mixture, per pair */
    double beta;                                /* of that loss; 1 in files that do not say */
    double own_lead;                            /* by facts: of members' pairs, how many more are told right less wrong
                                                 * by their own other pairs than by strangers', 0..1; else 0 */
    size_t texts;                               /* by votes: that two or more of the users chose or rejected, of which
                                                 * it is told who agrees with them; else 0 */
    const pgr_prototype *list;                  /* (k) */
} pgr_prototypes;

typedef struct pgr_proto_added {
    size_t added, dropped; /* users */
} pgr_proto_added;

pgr_proto_options pgr_proto_options_default(void);

/* Users of the store -> vectors -> k-means -> refinement -> a file of prototypes (whole or not at all; an older one is
 * replaced). Embeddings and analyses are kept in the store as they come: after an error, *cancel or a crash the next
 * call goes on from there, and ends with the same bytes. The store must not be used meanwhile.
 * errors: PGR_E_ARG: fewer users than prototypes, no embedder where one is needed. */
pgr_status pgr_proto_build(pgr_store *store, const char *path, const pgr_proto_options *options, pgr_error *err);

/* Users of the store that the file lacks join the nearest prototype (by facts the likeliest), those that the store no
 * longer has leave the file;
 * prototypes and the vectors of the others stay. Of options by, k, restarts, epochs, beta, dims, split and seed
 * are the file's. */
pgr_status pgr_proto_add(pgr_store *store, const char *path, const pgr_proto_options *options, pgr_proto_added *out,
                         pgr_error *err);

/* What a file of prototypes holds. check: all checksums are compared, else those of arrays beyond 256 MiB are not. */
pgr_status pgr_prototypes_read(const char *path, bool check, pgr_prototypes **out, pgr_error *err);
void pgr_prototypes_free(pgr_prototypes *p); /* NULL is fine */

/* An SVG picture: users on the first two principal components, coloured by prototype, with a legend. At most n_user are
 * drawn (0: 4,000). *svg is the caller's (pgr_free). */
pgr_status pgr_proto_map(const char *path, size_t n_user, char **svg, pgr_error *err);

/* A store, its prototypes and an embedder, opened together: who is similar to a request's user. threads: one at a
 * time. */
typedef struct pgr_people pgr_people;

/* store_path: the users' pairs; proto_path: NULL: the store's (pgr_store_protos); embedder_path: NULL: none,
 * unless the prototypes need one: then the default one (pgr_embedder_find). n_thread: of the embedder, 0: as many as
 * there are cores.
 * errors: an embedder that is not the one the prototypes were made with, by name or number of values. */
pgr_status pgr_people_open(const char *store_path, const char *proto_path, const char *embedder_path, int n_thread,
                           pgr_people **out, pgr_error *err);
void pgr_people_close(pgr_people *people); /* NULL is fine */

/* ---- judge ----------------------------------------------------------------------------------------------------- */

/* What a chain says of a response: the total that it states, the weighted sum of its criterion scores, or the same
 * sum of what these are expected to be where each was drawn from a distribution that is known (docs/scores.md). */
typedef enum pgr_score_kind {
    PGR_SCORE_AUTO,
    PGR_SCORE_DECLARED,
    PGR_SCORE_RECOMPUTED,
    PGR_SCORE_EXPECTED
} pgr_score_kind;

/* The request with this index has its result or its error. From the thread that made the call, in the order in which
 * requests are done; it may not call the engine. */
typedef void (*pgr_judged_fn)(void *ctx, size_t index);

typedef enum pgr_neighbour_weights { PGR_WEIGHTS_UNIFORM, PGR_WEIGHTS_SIMILARITY } pgr_neighbour_weights;

/* Which pairs of a history a prompt shows (docs/scores.md). */
typedef enum pgr_history_by { PGR_HISTORY_RANDOM, PGR_HISTORY_RELEVANT, PGR_HISTORY_RECENT } pgr_history_by;

typedef struct pgr_judge_options {
    int ind;            /* chains under the user's own history; -1: the request's, else 8 */
    int pro;            /* chains under similar users' histories; -1: the request's, else 0. More than 0 needs people */
    int history;        /* history pairs shown; -1: the request's, else the frame's */
    int64_t seed;       /* -1: the request's, else 0 */
    const char *frame;  /* a name (docs/frames.md), a file, or NULL: "compact" or "full" by the model's size */
    pgr_sampling sampling;
    size_t max_tokens;  /* per chain; 0: the frame's */
    bool swap;          /* odd chains see the responses in reversed order */
    pgr_score_kind score; /* which of the scores counts; AUTO: the first of expected, recomputed and declared that every
                             chain has */
    pgr_people *people;   /* NULL: pro > 0 is refused. Prototypes of analyses cost one more chain per request */
    double w_ind, w_pro;  /* of the two means, >= 0 and not both 0; only their ratio counts */
    pgr_neighbour_weights neighbour_weights; /* inside the mean of pro */
    pgr_scalar *scalar;   /* a reward model that is shown beside the chains; the caller's. NULL: the request's scores */
    const char *slots;    /* file of the weights of a frame with slots (docs/compact.md); NULL: the one beside the
                             adapter, or neutral ones */
    double scalar_weight; /* points that 1 of its scores adds under the personal part; 0: none */
    size_t cold_pairs;    /* a user with fewer pairs leans on similar users (docs/scores.md); 0: nobody does */
    pgr_history_by history_by;
    pgr_embedder *embedder; /* for PGR_HISTORY_RELEVANT where people is NULL; the caller's. May be NULL */
    const pgr_calibration *calibration; /* of the win probabilities; the caller's. None are told where it is NULL or
                                           has no map for the verdict's kind */
    double adaptive;      /* 0: all chains are written. Else 0.5..1: no more once the result's `settled` is this; the
                             chains written are the first of those that there would be */
    size_t draws;         /* different choices of pairs that the own chains are spread over; 0 counts as 1 */
    bool keep_chains;   /* fill result->samples */
    double deadline_s;  /* of the call, 0: none; chains that have not finished by then count as failed */
    pgr_watch watch;
    pgr_judged_fn judged; /* may be NULL */
    void *judged_ctx;
} pgr_judge_options;

typedef struct pgr_response_score {
    bool scored;          /* false: score is not there, `reason` says why */
    const char *reason;
    double score, se;     /* weighted mean over parsed chains and its standard error (se NaN for one chain) */
    double ind, pro;      /* mean under the own history, under similar users'; NaN where no chain has one */
    double declared;      /* mean of what the chains wrote; NaN where none did */
    double recomputed;    /* mean of the weighted sums of criterion scores; NaN where none could be built */
    double expected;      /* mean of the expected totals; NaN where no chain has one */
    double win;           /* calibrated probability that this response is the best; NaN without a calibration, but
                             1 / N where all N texts are the same */
    size_t prefer;        /* chains that prefer it to every other text; chains that see a tie prefer none */
    size_t n;             /* chains in the mean */
    double scalar;        /* of the reward model; NaN: there is none, or the response is too long for it */
    double prior;         /* points of it that are in score, ind and pro; 0 where it is only shown */
} pgr_response_score;

/* A row of the rubric. Over all chains (docs/scores.md, "The rubric") the weights sum to 100 and the weighted scores
 * to `recomputed`, or to `expected` where that counts and criteria have it; the last row may be "both directions",
 * what chains take back of each other's criteria. */
typedef struct pgr_criterion {
    const char *name;
    double weight;        /* percent; net of what is said in the opposite direction */
    double share;         /* of the chains: how many have it in this direction, 0..1 */
    bool contested;       /* chains have it in both directions */
    const char *reason;   /* "" if no chain gave one */
    const double *scores; /* (n_response), NaN where the chain gave none */
} pgr_criterion;

typedef struct pgr_chain_sample {
    const char *text;
    const char *user;     /* whose history: NULL the request's user, else the similar user's id */
    const size_t *order;  /* (n_response) order[i]: the response shown at place i */
    bool parsed, cut;
    bool arithmetic_wrong; /* the totals that it states are not its weighted sums */
    const char *reason;   /* why it did not parse, else NULL */
    const double *scores; /* (n_response) in the request's order; NaN where missing */
    size_t n_token;
    uint64_t seed;        /* the chain's number among the own, or among those of similar users: with the request's seed
                           * it names its random numbers */
} pgr_chain_sample;

typedef struct pgr_clip { /* a text that was shortened to fit */
    const char *field;    /* "responses[1]", "user.history[0].chosen", "query"... */
    size_t from_tokens, to_tokens;
} pgr_clip;

typedef struct pgr_chain_counts {
    size_t requested, parsed, cut, failed;
} pgr_chain_counts;

typedef struct pgr_neighbour { /* a similar user who was asked */
    const char *user;
    double similarity; /* cosine, -1..1 */
    double weight;     /* in the mean of pro: those of all neighbours sum to 1; 0 where none of his chains counts */
    size_t n;          /* his chains that count */
} pgr_neighbour;

typedef struct pgr_result {
    const char *id, *model, *frame;
    int best;             /* index of the best response, -1 if no chain parsed */
    bool tie;             /* another response has the same score */
    pgr_verdict_kind kind; /* what it stands on: one for all chains of a request */
    double confidence;    /* win probability of the best; NaN if none, and without a calibration as for win */
    double confidence_raw; /* what the spread between chains alone would make of it: what maps are fitted on and
                              `bench` measures. Not how often the best is better: nothing for people to read */
    bool calibrated;      /* by a map for verdicts of this kind */
    size_t agree;         /* chains that prefer the best */
    pgr_gap lead;         /* the best's scores minus those of the next best text */
    bool open;            /* the spread between chains keeps the verdict open: more chains would tell */
    double settled;       /* what `adaptive` is held against: the confidence; without a calibration the chance that one
                             more chain prefers the best, (agree + 1) / (n + 2) */
    pgr_response_score *responses;
    size_t n_response;
    size_t requested, parsed, cut, failed; /* chains, all together */
    size_t alike;             /* more were asked for, which would have been copies of these (frames with slots) */
    pgr_chain_counts ind, pro; /* of them under the own history, under similar users' */
    const char *pro_reason;    /* why there are none under similar users although they were asked for, else NULL */
    pgr_neighbour *neighbours; /* (n_neighbour) most similar first */
    size_t n_neighbour;
    int prototype;             /* the user's nearest; -1: none was looked for or could be told */
    double w_ind, w_pro;       /* as used: they sum to 1 */
    double adaptive;           /* the value of `settled` at which writing stopped or would have; 0: not asked for */
    size_t saved;              /* chains that were not written because the verdict was settled */
    const char *scalar_model;  /* that scored the responses, "": the request brought the scores; NULL: there are none */
    double scalar_weight;      /* as used */
    bool untrained;            /* the frame has slots, and no weights of a trained adapter stand behind it */
    bool cold_start;           /* the weights lean on similar users because the user's history is short */
    double flip_rate;        /* NaN without swaps: how often the verdicts of the two orders of a pair of chains differ,
                                whose prompts are otherwise the same */
    double arithmetic_wrong; /* share of parsed chains whose declared scores differ from the recomputed; NaN if none */
    double contradictory;    /* share of parsed chains that name a criterion in both directions; NaN if none */
    pgr_score_kind score_used; /* which of the three counted */
    const char *persona;  /* full form: of the own chain nearest to the mean of the own (without any: the same of
                           * similar users); compact form: written from the merged criteria. "" if none */
    pgr_criterion *criteria; /* heaviest first */
    size_t n_criterion;
    size_t rubric_chains; /* that the criteria are merged of; 0: they are one chain's, as none is complete */
    pgr_clip *clipped;
    size_t n_clip;
    size_t history_shown;      /* pairs in an own prompt */
    size_t history_used;       /* different pairs in all own prompts */
    size_t draws;              /* different choices of pairs */
    pgr_history_by history_by;
    pgr_chain_sample *samples; /* with keep_chains */
    size_t n_sample;
    size_t prompt_tokens, cached_tokens, completion_tokens; /* cached: of the prompts, not computed because known */
    double seconds, first_token_s; /* from the call's start to this result, to its first token (0: none was written) */
} pgr_result;

pgr_judge_options pgr_judge_options_default(void);
/* The rows of pgr_judge_options: what a command line, a configuration or JSON can say. Who is similar (people), what is
 * opened and who watches is the program's. pgr_judge refuses a value out of its row's range. */
const pgr_option *pgr_judge_option_rows(void);

/* Score the request's responses for its user (docs/method.md): m chains under the user's own history (Ind-m) and n
 * under those of the most similar other users (Pro-n), one mean each, weighted. *out is the caller's (pgr_result_free).
 * A chain that does not parse is counted in `failed`, never scored. */
pgr_status pgr_judge(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options,
                     pgr_result **out, pgr_error *err);

/* Judges n requests, of one user or of many, whose chains are written in one batch: chains that end make room for those
 * that wait, and what prompts begin with alike is computed once.
 * results  (n) results[i] is what pgr_judge makes of requests[i] alone, bit for bit but for cached_tokens and the
 *          times; the caller's (pgr_result_free). NULL where there is none.
 * errors   (n) or NULL: errors[i].status is PGR_OK where there is a result, else errors[i] says why there is none.
 * returns: PGR_OK if every request has its result, else the status of the first that has none. One request's failure
 *          does not touch the others; after *cancel and without memory those that were done keep their results. */
pgr_status pgr_judge_many(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                          const pgr_judge_options *options, pgr_result **results, pgr_error *errors);
void pgr_result_free(pgr_result *result);

/* ---- an open desk: requests that come and go while others are judged ---- */

/* Whoever owns the engine steps the desk; requests are asked at any time between two steps, and what is asked together
 * is written in one batch. A verdict is what pgr_judge makes of the request alone, bit for bit but for cached_tokens
 * and the times, whatever else is asked.
 *     while (pgr_desk_step(desk))
 *         while (pgr_desk_take(desk, &verdict)) ...
 *     while (pgr_desk_take(desk, &verdict)) ...
 * threads: one at a time, which has the engine to itself while an ask waits or is at work. */
typedef struct pgr_desk pgr_desk;

typedef struct pgr_ask {
    const pgr_request *request;       /* lives until the verdict is taken or the ask is cancelled, as does what the
                                       * options point to */
    const pgr_judge_options *options; /* copied; NULL: the desk's. frame and slots are the desk's; judged and
                                       * watch.progress are not called. deadline_s counts from the asking; once
                                       * *watch.cancel is set the verdict is PGR_E_CANCELLED */
    int priority;                     /* the highest begins first, then the oldest */
    void *tag;                        /* comes back with the verdict */
} pgr_ask;

typedef struct pgr_verdict {
    uint64_t ticket;
    void *tag;
    pgr_result *result; /* the taker's (pgr_result_free); NULL: the error says why there is none */
    pgr_error error;
} pgr_verdict;

/* A desk for the engine with the adapters that it has now; the engine must outlive it. options: frame and slots of all
 * asks, and what counts for those that bring none; NULL: the default. */
pgr_status pgr_desk_open(pgr_engine *engine, const pgr_judge_options *options, pgr_desk **out, pgr_error *err);
void pgr_desk_close(pgr_desk *desk); /* cancels what is there; NULL is fine */

/* Options that are out of range are refused; what is wrong with the request is its verdict. *ticket (may be NULL) names
 * the ask, never 0. */
pgr_status pgr_desk_ask(pgr_desk *desk, const pgr_ask *ask, uint64_t *ticket, pgr_error *err);
/* The ask ends at once, without a verdict. An unknown ticket: nothing happens. */
void pgr_desk_cancel(pgr_desk *desk, uint64_t ticket);

/* Lets asks begin that there is room for, computes one step of the engine, settles what has ended by it. False: no ask
 * waits or is at work any more. */
bool pgr_desk_step(pgr_desk *desk);
/* The next settled ask, oldest first. False: nothing more. */
bool pgr_desk_take(pgr_desk *desk, pgr_verdict *out);

/* ---- prompts: what the model would be shown ---- */

typedef struct pgr_shown_message {
    const char *role, *text; /* (n) */
    size_t n;
} pgr_shown_message;

typedef struct pgr_shown_part {
    const char *name; /* "instructions" (the system text), "common" (what most people like), "user.demographics",
                       * "user.criteria", "user.history", "query", "responses[0]"..., "frame" (the frame's own words
                       * around these), "template" (of the chat) */
    size_t tokens;
} pgr_shown_part;

typedef struct pgr_shown_slot { /* where the distribution over some texts is read */
    size_t message, at;         /* before this byte of its text */
    const char *const *choices; size_t n_choice;
} pgr_shown_slot;

typedef enum pgr_shown_kind {
    PGR_SHOWN_CHAINS,  /* chains are written after it */
    PGR_SHOWN_TASTE,   /* slots are read: what the user likes, */
    PGR_SHOWN_QUALITY, /* and how good the responses are */
} pgr_shown_kind;

typedef struct pgr_shown_prompt {
    pgr_shown_kind kind;
    const char *user;    /* whose history it shows, "" if he has no name, or if it shows none */
    bool neighbour;      /* a similar user, not the request's own */
    const size_t *order; /* (n_response of the request) order[i]: the response at place i */
    size_t chains;       /* that are written after it, or from what is read in it */
    size_t tokens;       /* of the whole prompt, up to its last slot where it has slots: the sum of its parts */
    size_t history;      /* pairs shown */
    const pgr_shown_message *messages; size_t n_message;
    const pgr_shown_part *parts; size_t n_part;
    const pgr_shown_slot *slots; size_t n_slot;
    const pgr_clip *clipped; size_t n_clip;
} pgr_shown_prompt;

typedef struct pgr_shown {
    const char *id, *model, *frame;
    size_t n_response;
    size_t n_ctx, max_tokens; /* of the model, of a chain */
    const pgr_shown_prompt *prompts; size_t n_prompt; /* those without a chain left out */
} pgr_shown;

/* The prompts that pgr_judge would make of the request under these options; nothing is asked of the model. Where
 * prototypes are of analyses, which a model would write first, similar users are found by the request's texts instead.
 * *out is the caller's (pgr_shown_free). Errors as pgr_judge. */
pgr_status pgr_judge_show(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options,
                          pgr_shown **out, pgr_error *err);
void pgr_shown_free(pgr_shown *shown); /* NULL is fine */
/* One JSON object, no line breaks (docs/requests.md). *out is the caller's (pgr_free). */
pgr_status pgr_shown_json(const pgr_shown *shown, char **out, pgr_error *err);

/* Preference analyses for prototypes: for each of n requests one chain's persona and weighted criteria as plain text,
 * "" where the chain has none. analyst: a pgr_analyst, untyped so that the function fits where prototypes are built.
 * texts    (n) the caller's (pgr_free each); all NULL after an error */
typedef struct pgr_analyst {
    pgr_engine *engine;
    const pgr_judge_options *options; /* ind, pro, draws and adaptive do not count. NULL: the default */
} pgr_analyst;
pgr_status pgr_analyse(void *analyst, const pgr_request *const *requests, size_t n, char **texts, pgr_error *err);

/* One JSON object, no line breaks (docs/requests.md). *out is the caller's (pgr_free). */
pgr_status pgr_result_json(const pgr_result *result, char **out, pgr_error *err);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
