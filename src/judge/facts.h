/* facts.h - measured facts about texts, given in words relative within their pair (compact.md). The teacher, the synthetic users
 * and the statistical baselines measure with the same module. */
#ifndef PGR_JUDGE_FACTS_H
#define PGR_JUDGE_FACTS_H

#include "base/buf.h"

/*       id         word        what is measured
 * The last column is the standard deviation of the difference chosen - rejected on train rows (tools/facts_sd.py prints it). */
#define FACTS(X)                                                                                                       \
    X(LENGTH,    "length",    "log of the number of words",                                     0.78)                  \
    X(LISTS,     "lists",     "list items per line, square root",                               0.30)                  \
    X(HEADINGS,  "headings",  "headings, square root",                                          0.50)                  \
    X(QUESTIONS, "questions", "questions back to the reader, square root",                      0.60)                  \
    X(CAUTION,   "caution",   "hedges and warnings per 100 words, square root",                 0.90)                  \
    X(PERSONAL,  "personal",  "first person words per 100 words, square root",                  1.10)                  \
    X(NUMBERS,   "numbers",   "numbers per 100 words, square root",                             1.00)                  \
    X(WARMTH,    "warmth",    "warm words and exclamation marks per 100 words, square root",    0.90)                  \
    X(CODE,      "code",      "share of lines that are code, square root",                      0.20)                  \
    X(FORMAL,    "formal",    "long words and no contractions: mean word length minus contractions", 0.60)             \
    X(ECHO,      "echo",      "share of the query's content words that come again",             0.25)                  \
    X(EXAMPLES,  "examples",  "phrases that open an example per 100 words, square root",        0.50)

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
int fact_find(const char *word, size_t n); /* -1: none */

void facts_measure(const char *text, size_t n, const char *query, size_t n_query, facts *out);

/* mine against others (mean of the n_other) in standard deviations: -3..3; 0 below .25, 1 slightly below .8, 2 plain below 1.5, 3 strongly */
int facts_level(int fact, const facts *mine, const facts *others, size_t n_other);

/* "length more strongly, lists less slightly": attribute before direction, strongest first, at most max of them;
 * "nothing stands out" if all are level 0. */
void facts_words(const facts *mine, const facts *others, size_t n_other, size_t max, buf *out);

#endif
