/* normal.h - the normalisers of a tokenizer: steps that rewrite text before it is cut into pieces. A normaliser is
 * read-only; each thread brings its own normal_work. */
#ifndef PGR_TEXT_NORMAL_H
#define PGR_TEXT_NORMAL_H

#include "base/buf.h"
#include "base/status.h"
#include "text/decompose.h"

typedef enum normal_kind {
    NORMAL_NFC,     /* Unicode's canonical composition; bytes that are not UTF-8 stay as they are */
    NORMAL_PREPEND, /* `to` before a text that is not empty */
    NORMAL_REPLACE, /* every `from` becomes `to` */
    NORMAL_BERT,    /* what `flags` say (bert.h) */
} normal_kind;

typedef struct normal_step {
    normal_kind kind;
    const char *from, *to;
    size_t n_from, n_to;
    unsigned flags; /* BERT_* */
} normal_step;

enum { NORMAL_MAX_STEP = 8 };

typedef struct normaliser {
    normal_step steps[NORMAL_MAX_STEP];
    size_t n;
} normaliser;

typedef struct normal_work {
    buf text[2]; /* results of the steps, in turn */
    buf clean;   /* within a step */
    decomposed points;
} normal_work; /* all zero at first, given back by normal_work_free */

/* The text after all steps: s itself where nothing changed, else memory of w, until its next use. */
pgr_status normal_apply(const normaliser *n, normal_work *w, const char *s, size_t len, const char **out,
                        size_t *n_out, pgr_error *err);
void normal_work_free(normal_work *w);

#endif
