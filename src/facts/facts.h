/* facts.h - measured facts about texts, given in words relative within their pair (docs/compact.md). The teacher, the
 * synthetic users and the statistical baselines measure with the same module. */
#ifndef PGR_FACTS_FACTS_H
#define PGR_FACTS_FACTS_H

#include "base/buf.h"

/* clang-format off */
/*        id         word         what is measured
 * The last column is the standard deviation of chosen - rejected over 1,887 train rows of PRISM and of the MT-bench
 * expert votes, as bench/facts_sd.c prints it (the command is in its first lines). Rates count 20 words more than there
 * are. */
#define FACTS(X)                                                                                                       \
    X(LENGTH,    "length",    "log of 1 + words",                                                    1.12)             \
    X(LISTS,     "lists",     "share of lines that are list items, square root",                     0.34)             \
    X(HEADINGS,  "headings",  "headings, square root",                                               0.39)             \
    X(QUESTIONS, "questions", "questions to the reader, square root",                                0.56)             \
    X(CAUTION,   "caution",   "hedges and warnings per 100 words, square root",                      0.81)             \
    X(PERSONAL,  "personal",  "first person words per 100 words, square root",                       0.98)             \
    X(NUMBERS,   "numbers",   "figures per 100 words, square root",                                  0.88)             \
    X(WARMTH,    "warmth",    "warm words and exclamation marks per 100 words, square root",         0.77)             \
    X(CODE,      "code",      "share of lines that are code, square root",                           0.13)             \
    X(FORMAL,    "formal",    "letters per word, less a quarter of the contractions per 100 words",  0.65)             \
    X(ECHO,      "echo",      "share of the query's topic words that come again",                    0.34)             \
    X(EXAMPLES,  "examples",  "words that open an example per 100 words, square root",               0.49)
/* clang-format on */

enum {
#define X(id, word, what, sd) FACT_##id,
    FACTS(X)
#undef X
    N_FACT
};

typedef struct facts {
    double v[N_FACT];
} facts;

const char *fact_word(int fact);
const char *fact_meaning(int fact);
double fact_sd(int fact);
int fact_find(const char *name, size_t n); /* -1: none */

void facts_measure(const char *text, size_t n, const char *query, size_t n_query, facts *out);

/* mine against others (mean of the n_other) in standard deviations: -3..3; 0 below .25, 1 slightly below .8, 2 plain
 * below 1.5, 3 strongly */
int facts_level(int fact, const facts *mine, const facts *others, size_t n_other);

/* "length more strongly, lists less slightly": attribute before direction, strongest first, at most max of them;
 * "nothing stands out" if all are level 0. */
void facts_words(const facts *mine, const facts *others, size_t n_other, size_t max, buf *out);

#endif
