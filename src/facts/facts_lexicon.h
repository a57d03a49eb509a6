/* facts_lexicon.h - the English words and phrases that facts.c counts, and the words that say nothing about a topic. */
#ifndef PGR_FACTS_LEXICON_H
#define PGR_FACTS_LEXICON_H

#include <stdbool.h>
#include <stddef.h>

typedef struct lexicon_entry {
    const char *phrase; /* lower case, words separated by one space, at most LEXICON_WORDS of them */
    int fact;
} lexicon_entry;

enum { LEXICON_WORDS = 4 };

extern const lexicon_entry LEXICON[]; /* (LEXICON_COUNT) sorted by bytes of the phrase */
extern const size_t LEXICON_COUNT;

/* The first entry whose first word is this one; *n entries in a row have it. NULL: none. */
const lexicon_entry *lexicon_find(const char *word, size_t *n);

bool lexicon_stop_word(const char *word); /* too common to be the topic of a query */

#endif
