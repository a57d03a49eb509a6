/* dataset.h - data-set files as a stream of records: JSON lines or JSON arrays, plain or gzip, one record in memory at
 * a time. Forms: PersonalRewardBench's record, raw PRISM (survey, conversations, utterances), LaMP-QA, our own users
 * and demographics ({"user_id", "demographics"}). */
#ifndef PGR_USER_DATASET_H
#define PGR_USER_DATASET_H

#include "user/record.h"

typedef enum record_kind { RECORD_PAIR, RECORD_USER, RECORD_QUESTION } record_kind;

typedef struct record {
    record_kind kind;
    size_t line; /* of the file, from 1 */
    union {
        pair_record pair;
        user_record user;
        question_record question;
    };
} record;

typedef struct dataset dataset;

/* form: "prb", "prism", "lampqa", "user", or NULL: told by the first record's keys.
 * skip_bad: bad lines are counted, not errors. */
pgr_status dataset_open(const char *path /* "-": standard input */, const char *form, bool skip_bad, dataset **out,
                        pgr_error *err);
void dataset_close(dataset *d);

/* The next record, its memory from the arena, which the caller resets when it likes. *more = false at the end: out is
 * not written. Error: "FILE:LINE: what was found, what was expected"; the stream is then at its end. */
pgr_status dataset_next(dataset *d, arena *a, record *out, bool *more, pgr_error *err);

size_t dataset_skipped(const dataset *d);  /* bad lines so far */
const char *dataset_first_bad(const dataset *d); /* the message of the first of them; "" if none */
uint64_t dataset_read(const dataset *d);   /* bytes of the file so far, compressed ones if it is: for progress */
uint64_t dataset_size(const dataset *d);   /* of the file; 0: not known */

#endif
