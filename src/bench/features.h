/* features.h - surface attributes of a response for the statistical methods: the facts of facts/facts.h and what else
 * can be counted without knowing what a text means. */
#ifndef PGR_BENCH_FEATURES_H
#define PGR_BENCH_FEATURES_H

#include "facts/facts.h"

/* clang-format off */
/*    id            name             what is measured (log: of 1 + n; root: square root; rates per 100 words, 20 words
 *                                   added) */
#define FEATURES(X)                                                                                                    \
    X(CHARACTERS,   "characters",    "log characters")                                                                 \
    X(BULK,         "bulk",          "square of log characters, above 4")                                              \
    X(SENTENCES,    "sentences",     "log sentences")                                                                  \
    X(SENTENCE,     "sentence",      "log words per sentence")                                                         \
    X(PARAGRAPHS,   "paragraphs",    "log paragraphs")                                                                 \
    X(ITEMS,        "items",         "log list items")                                                                 \
    X(STEPS,        "steps",         "log numbered list items")                                                        \
    X(LIST_AT,      "list-at",       "share of the text before its first list item; 1 without one")                    \
    X(BOLD,         "bold",          "root of pairs of **")                                                            \
    X(LINKS,        "links",         "root of http")                                                                   \
    X(TABLES,       "tables",        "root of lines that begin with |")                                                \
    X(FENCES,       "fences",        "root of ```")                                                                    \
    X(ASKS,         "asks",          "rate of question marks, root")                                                   \
    X(SHOUTS,       "shouts",        "rate of exclamation marks, root")                                                \
    X(COMMAS,       "commas",        "rate of commas, root")                                                           \
    X(BRACKETS,     "brackets",      "rate of (, root")                                                                \
    X(QUOTES,       "quotes",        "rate of \", root")                                                               \
    X(COLONS,       "colons",        "rate of :, root")                                                                \
    X(CAPITALS,     "capitals",      "share of letters that are capitals")                                             \
    X(VARIETY,      "variety",       "distinct words over the root of words")                                          \
    X(LONG_WORDS,   "long-words",    "share of words with 7 letters and more")                                         \
    X(QUERY,        "query",         "share of the words that the query has too")                                      \
    X(YOU,          "you",           "rate of you, your, root")                                                        \
    X(NOT,          "not",           "rate of no, not, never, n't, root")                                              \
    X(SHOULD,       "should",        "rate of should, must, need, root")                                               \
    X(REFUSES,      "refuses",       "says that it cannot, will not or is sorry: 0 or 1")                              \
    X(MACHINE,      "machine",       "says that it is a machine or language model: 0 or 1")                            \
    X(ENDS_ASKING,  "ends-asking",   "ends with a question mark: 0 or 1")                                              \
    X(UNFINISHED,   "unfinished",    "ends with a letter or a comma: 0 or 1")                                          \
    X(OUTSIDE,      "outside",       "share of characters outside ASCII")
/* clang-format on */

enum {
#define X(id, name, what) FEATURE_##id,
    FEATURES(X)
#undef X
    N_OWN_FEATURE,
    N_FEATURE = N_FACT + N_OWN_FEATURE, /* facts first */
};

const char *feature_name(size_t i); /* i < N_FEATURE */
void features_measure(const char *text, const char *query, double out[N_FEATURE]);

#endif
