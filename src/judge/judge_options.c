/* judge_options.c - the one table of judging's options: default, range, help. The command line, plan.json and
 * docs/options.md follow from it, and pgr_judge refuses what is out of range. */
#include <math.h>

#include "base/options.h"
#include "judge/judging.h"
#include "user/fields.h"

static const char *const SCORES[] = {"auto", "declared", "recomputed", "expected", NULL}; /* pgr_score_kind */
static const char *const HISTORIES[] = {"random", "relevant", "recent", NULL};            /* pgr_history_by */
static const char *const WEIGHTS[] = {"uniform", "similarity", NULL};                     /* pgr_neighbour_weights */

#define AT(member) offsetof(pgr_judge_options, member)
#define NUMBER(kind, name, value, member, standard, lo, hi, use, help, unset)                                          \
    { name, value, help, unset, PGR_OPTION_##kind, use, AT(member), standard, lo, hi, NULL }
#define CHOICE(name, value, member, choices, use, help)                                                                \
    { name, value, help, NULL, PGR_OPTION_CHOICE, use, AT(member), 0, 0, 0, choices }
#define FLAG(name, member, standard, use, help)                                                                        \
    { name, NULL, help, NULL, PGR_OPTION_FLAG, use, AT(member), standard, 0, 1, NULL }
#define TEXT(name, value, member, use, help, unset)                                                                    \
    { name, value, help, unset, PGR_OPTION_TEXT, use, AT(member), 0, 0, 0, NULL }

enum { V = PGR_OPTION_VERDICT };

/* clang-format off */
static const pgr_option ROWS[] = {
    NUMBER(INT, "ind", "N", ind, -1, 0, REQUEST_CHAINS_MAX, V,
           "chains under the user's own history, 0 to 1024", "the request's, else 8"),
    NUMBER(INT, "pro", "N", pro, -1, 0, REQUEST_CHAINS_MAX, V,
           "chains under similar users' histories, 0 to 1024", "the request's, else 0"),
    NUMBER(INT, "history", "N", history, -1, 0, FIELD_HISTORY_MAX, V,
           "pairs of the history that are shown", "the request's, else the frame's"),
    CHOICE("history-by", "HOW", history_by, HISTORIES, V,
           "which pairs are shown: random, relevant or recent"),
    NUMBER(SIZE, "draws", "D", draws, 1, 0, 1024, V,
           "different choices of pairs that the own chains are spread over", NULL),
    NUMBER(INT64, "seed", "N", seed, -1, 0, 0x1p63, V,
           "random numbers; the same seed repeats a run", "the request's, else 0"),
    TEXT("frame", "NAME|FILE", frame, V,
         "prompt frame: compact, full, compact-lines or a file", "by the model's size"),
    NUMBER(FLOAT, "temperature", "T", sampling.temperature, 1, 0, 10, V,
           "of sampling, 0 to 10", NULL),
    NUMBER(INT, "top-k", "K", sampling.top_k, 0, 0, 1 << 24, V,
           "only the K likeliest tokens; 0: off", NULL),
    NUMBER(FLOAT, "top-p", "P", sampling.top_p, 1, 0, 1, V,
           "only the likeliest tokens that make up P; 1: off", NULL),
    NUMBER(FLOAT, "min-p", "P", sampling.min_p, 0, 0, 1, V,
           "only tokens at least P times as likely as the likeliest; 0: off", NULL),
    NUMBER(SIZE, "max-tokens", "N", max_tokens, 0, 1, 1 << 20, V,
           "length of a chain", "the frame's"),
    FLAG("swap", swap, 1, V,
         "show the responses in one order only; else half of the chains see them reversed"),
    CHOICE("score", "KIND", score, SCORES, V,
           "which total counts: declared by the chain, recomputed from its criteria, expected, or auto"),
    NUMBER(DOUBLE, "w-ind", "W", w_ind, 0.5, 0, 1e6, V,
           "weight of the mean under the own history", NULL),
    NUMBER(DOUBLE, "w-pro", "W", w_pro, 0.5, 0, 1e6, V,
           "weight of the mean under similar users' histories", NULL),
    CHOICE("neighbour-weights", "KIND", neighbour_weights, WEIGHTS, V,
           "similar users weigh alike (uniform) or by similarity"),
    TEXT("slots", "FILE", slots, V,
         "weights of a frame with slots", "slots.json in the adapter's folder, or neutral ones"),
    NUMBER(DOUBLE, "scalar-weight", "W", scalar_weight, 0, 0, 1e6, V,
           "points that 1 of a reward model's scores adds to a response; 0: they are only shown", NULL),
    NUMBER(SIZE, "cold-start", "N", cold_pairs, 4, 0, FIELD_HISTORY_MAX, V,
           "a user with fewer pairs leans on similar users; 0: never", NULL),
    NUMBER(DOUBLE, "adaptive", "P", adaptive, 0, 0.5, 1, V,
           "write no more chains at this confidence; without a calibration at this chance that one more agrees",
           "all chains are written"),
    NUMBER(DOUBLE, "deadline", "S", deadline_s, 0, 1e-6, 1e6, 0,
           "seconds per request, which is then judged alone; chains not finished by then count as failed", "none"),
    FLAG("chains", keep_chains, 0, 0,
         "print every chain too"),
    {0},
};
/* clang-format on */

const pgr_option *pgr_judge_option_rows(void) {
    return ROWS;
}

pgr_judge_options pgr_judge_options_default(void) {
    pgr_judge_options o = {0};
    options_default(ROWS, &o);
    return o;
}

pgr_status judge_options_check(const pgr_judge_options *o, pgr_error *err) {
    PGR_TRY(options_check(ROWS, o, err));
    if (!(o->w_ind + o->w_pro > 0))
        return fail(err, PGR_E_ARG, "w_ind and w_pro are 0, expected weights of 0 or more, not both 0");
    return PGR_OK;
}
