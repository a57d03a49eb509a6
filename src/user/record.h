/* record.h - what data sets and the store hold: users and their preference pairs. Plain structs, memory of whoever
 * made them. */
#ifndef PGR_USER_RECORD_H
#define PGR_USER_RECORD_H

#include <math.h>

#include "user/request.h"

/* One choice of one user: a row of a data set (docs/formats.md, "PersonalRewardBench"). No pointer is NULL; ""
 * means not given. */
typedef struct pair_record {
    const char *user_id, *conversation_id;
    preference_pair pair;
    double chosen_score, rejected_score; /* the user's own; NaN: none */
    double weight;                       /* how clear the choice was, 1 where nothing says more; more than 0 */
    const char *split;                   /* "train", "val", "test" or "" */
    const char *const *subsets;          /* (n_subset) names of parts of a test set that the row belongs to */
    size_t n_subset;
    const char *type;                    /* of the conversation: "unguided", ... */
    const char *choice_attributes;       /* what weighed in this choice: "key: value" lines */
    const char *group;                   /* what pairs of one row of more than two responses share; "": none */
} pair_record;

/* A pair of which nothing is known. */
static inline pair_record pair_record_none(void) {
    return (pair_record){.user_id = "",
                         .conversation_id = "",
                         .chosen_score = NAN,
                         .rejected_score = NAN,
                         .weight = 1,
                         .split = "",
                         .type = "",
                         .choice_attributes = "",
                         .group = ""};
}

typedef struct user_record {
    const char *id;
    const char *const *criteria; /* (n_criteria) stated by the user */
    size_t n_criteria;
    const char *demographics;    /* "key: value" lines or free text */
} user_record;

/* A question without candidates (LaMP-QA): history is texts that the user wrote. */
typedef struct question_record {
    const char *id, *user_id, *question, *narrative, *category;
    const char *const *profile; /* (n_profile) */
    size_t n_profile;
    const char *const *aspects; /* (n_aspect) of the hidden rubric */
    size_t n_aspect;
} question_record;

#endif
