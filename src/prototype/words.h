/* words.h - what sets a group of texts apart: words more frequent in one side (chosen) than in the other (rejected), by
 * log-odds with a prior (Monroe, Colaresi and Quinn 2008); and what sets a direction of facts apart. */
#ifndef PGR_PROTOTYPE_WORDS_H
#define PGR_PROTOTYPE_WORDS_H

#include "base/arena.h"
#include "base/status.h"

typedef struct words words;

enum { WORDS_MAX_VOCABULARY = 200000 }; /* different words that are counted; later new ones are not */

pgr_status words_create(size_t n_group, words **out, pgr_error *err);
void words_free(words *w); /* NULL is fine */

/* Counts a text's words: runs of letters of any script, in lower case, 3 to 40 bytes, no English stop words. */
pgr_status words_add(words *w, size_t group, bool chosen, const char *text, pgr_error *err);

/* (n_group) lists of at most n words with z > 1, the greatest first, each ending with NULL. Memory of the arena.
 *     delta = log((c + p) / (C + P - c - p)) - log((r + p) / (R + P - r - p))
 *     z     = delta / sqrt(1 / (c + p) + 1 / (r + p))
 * c, r: the word in the group's chosen and rejected texts, C, R: all words there;
 * p: its share of all texts times P = 500. */
pgr_status words_typical(const words *w, size_t n, arena *a, const char *const **out, pgr_error *err);

/* What a direction of facts is: "length more", "lists less", the strongest first, at most n, ending with NULL; only
 * facts that have at least 4 % of its squared length. Memory of the arena.                             v: (N_FACT) */
pgr_status words_of_facts(const float *v, size_t n, arena *a, const char *const **out, pgr_error *err);

#endif
