/* dataset.h - data-set files as a stream of records: JSON lines or JSON arrays, plain or gzip, one record in memory
 * at a time. The forms are those of docs/users.md (forms.c has the table); all follow one set of rules (rules.h). */
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

typedef enum dataset_unnamed { /* what becomes of a row that names no user, where `user` is NULL */
    UNNAMED_REFUSED,           /* it is an error */
    UNNAMED_ALONE,             /* its user is one of his own, named by its place ("FILE:LINE") */
    UNNAMED_NOBODY,            /* his name is "" */
} dataset_unnamed;

typedef struct dataset_options {
    const char *form; /* a name of forms.c's table; NULL: told by the first record's keys */
    bool skip_bad;    /* bad records are counted, not errors */
    const char *user, *user_key, *weights; /* as in pgr_import_options */
    dataset_unnamed unnamed;
    bool keep_alike; /* pairs of equal texts are kept: they are asked about, not learnt from */
} dataset_options;

/* options may be NULL: all zero. Their texts must last as long as the data set. */
pgr_status dataset_open(const char *path /* "-": standard input */, const dataset_options *options, dataset **out,
                        pgr_error *err);
void dataset_close(dataset *d);

/* The next record, its memory from the arena, which the caller resets when it likes. *more = false at the end: out
 * is not written. Error: "FILE:LINE: what was found, what was expected"; the stream is then at its end. */
pgr_status dataset_next(dataset *d, arena *a, record *out, bool *more, pgr_error *err);

size_t dataset_skipped(const dataset *d);  /* bad records so far */
size_t dataset_left_out(const dataset *d, pgr_left why); /* pairs so far */
const char *dataset_first_bad(const dataset *d); /* the message of the first of them; "" if none */
uint64_t dataset_read(const dataset *d);   /* bytes of the file so far, compressed ones if it is: for progress */
uint64_t dataset_size(const dataset *d);   /* of the file; 0: not known */

#endif
