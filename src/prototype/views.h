/* views.h - texts that several people chose or rejected, and what is to be expected of one person about them: the
 * ideal-point model (ideal.h) of all choices of a store, where choosing a text is agreeing with it and rejecting it is
 * disagreeing. A text is the same whatever its case, its blanks and its final stops. */
#ifndef PGR_PROTOTYPE_VIEWS_H
#define PGR_PROTOTYPE_VIEWS_H

#include "base/hash.h"
#include "prototype/ideal.h"
#include "user/request.h"

enum { VIEW_SIZE = IDEAL_PACKED + 2 };

/* The texts that at least two people voted on. A person votes for what he chose more often than he rejected it. */
typedef struct views {
    size_t n;
    const uint64_t *keys; /* (n) ascending: hashes of plain texts */
    const float *rows;    /* (n, VIEW_SIZE) ideal_pack's numbers; how many chose it, how many rejected it */
} views;

typedef struct views_made { /* of a build */
    size_t n;
    uint64_t *keys;
    float *rows;
    int64_t last_pair; /* the greatest key of the store's pairs that were read */
} views_made;

struct collection;
/* c: collected; its store's pairs that count are read once more. */
pgr_status views_fit(const struct collection *c, views_made *out, pgr_error *err);
/* The same of pairs that are in memory: pair i is of person who[i].                     pairs: (n), who: (n) */
pgr_status views_fit_pairs(const preference_pair *const *pairs, const uint32_t *who, size_t n, const pgr_watch *watch,
                           views_made *out, pgr_error *err);
void views_free(views_made *v); /* all zero is fine */

/* The hash of a text as people would call it the same: ASCII letters lowered, runs of blanks one space, stops at the
 * end gone; VIEWS_NO_TEXT where nothing is left. */
uint64_t views_key(const char *text);
#define VIEWS_NO_TEXT HASH_BEGIN

/* What people said of a text, and P(this person would choose it). */
typedef struct people_view {
    size_t chose, rejected; /* of the others */
    double share;           /* 0..1; .5: nobody else knows the text */
} people_view;

/* One whose votes are among those that made v: they are taken out of it before anybody is asked. */
enum { VIEWS_MOST_MEMBERS = 2 };
typedef struct views_member {
    const preference_pair *pairs; /* (n) */
    size_t n;
} views_member;

/* The person is known by n pairs, of which votes on the texts themselves do not count.
 * n_member <= VIEWS_MOST_MEMBERS; out: (n_text) */
pgr_status views_ask(const views *v, const preference_pair *pairs, size_t n, const views_member *members,
                     size_t n_member, const char *const *texts, size_t n_text, people_view *out, pgr_error *err);

#endif
