/* facts_lexicon.c - word lists for facts.c: hedges and warnings, first person, warmth, phrases that open an example.
 * Entries are one list sorted by bytes, so that the phrases that begin with a word stand together. */
#include "facts/facts_lexicon.h"

#include <stdlib.h>
#include <string.h>

#include "facts/facts.h"

/* clang-format off */
#define C FACT_CAUTION
#define P FACT_PERSONAL
#define W FACT_WARMTH
#define E FACT_EXAMPLES
const lexicon_entry LEXICON[] = {
    {"absolutely", W}, {"amazing", W}, {"appears", C}, {"appreciate", W}, {"arguably", C},
    {"as a language model", C}, {"as an ai", C}, {"awesome", W}, {"be aware", C}, {"beautiful", W}, {"beware", C},
    {"both sides", C}, {"careful", C}, {"carefully", C}, {"case in point", E}, {"caution", C}, {"certainly", W},
    {"cheers", W}, {"complex", C}, {"congrats", W}, {"congratulations", W}, {"consult", C}, {"controversial", C},
    {"could", C}, {"cozy", W}, {"dangerous", C}, {"dear", W}, {"debatable", C}, {"delighted", W}, {"delightful", W},
    {"depends", C}, {"don't worry", W}, {"e g", E}, {"enjoy", W}, {"enjoyable", W}, {"example", E}, {"examples", E},
    {"excited", W}, {"exciting", W}, {"fantastic", W}, {"feel free", W}, {"for example", E}, {"for instance", E},
    {"friend", W}, {"friendly", W}, {"fun", W}, {"generally", C}, {"glad", W}, {"good luck", W}, {"great", W},
    {"happily", W}, {"happy", W}, {"have fun", W}, {"hello", W}, {"hey", W}, {"hi", W}, {"hope", W}, {"however", C},
    {"i", P}, {"i believe", C}, {"i can't", C}, {"i cannot", C}, {"i don't have", C}, {"i guess", C},
    {"i hear you", W}, {"i think", C}, {"i understand", W}, {"i'd", P}, {"i'll", P}, {"i'm", P}, {"i'm here", W},
    {"i'm not able", C}, {"i've", P}, {"imagine", E}, {"important to note", C}, {"in my opinion", C},
    {"in particular", E}, {"including", E}, {"instance", E}, {"it depends", C}, {"it is essential", C},
    {"it's essential", C}, {"keep in mind", C}, {"kind", W}, {"kindly", W}, {"let me know", W}, {"let's", P},
    {"let's say", E}, {"likely", C}, {"love", W}, {"loved", W}, {"lovely", W}, {"may", C}, {"maybe", C}, {"me", P},
    {"might", C}, {"mine", P}, {"my", P}, {"myself", P}, {"namely", E}, {"no worries", W}, {"not necessarily", C},
    {"not sure", C}, {"of course", W}, {"on the other hand", C}, {"our", P}, {"ours", P}, {"ourselves", P},
    {"perhaps", C}, {"picture a", E}, {"please", W}, {"please note", C}, {"possibly", C}, {"potentially", C},
    {"probably", C}, {"professional advice", C}, {"proud", W}, {"risk", C}, {"risks", C}, {"risky", C},
    {"roughly", C}, {"seek help", C}, {"seem", C}, {"seems", C}, {"sensitive", C}, {"some people", C},
    {"sometimes", C}, {"somewhat", C}, {"sorry", W}, {"subjective", C}, {"such as", E}, {"suppose", E}, {"sure", W},
    {"take care", W}, {"tend to", C}, {"tends to", C}, {"thank", W}, {"thanks", W}, {"think of", E},
    {"to illustrate", E}, {"typically", C}, {"uncertain", C}, {"unclear", C}, {"understandable", W},
    {"unfortunately", C}, {"unlikely", C}, {"unsure", C}, {"up to you", C}, {"us", P}, {"usually", C}, {"warm", W},
    {"warning", C}, {"we", P}, {"we'd", P}, {"we'll", P}, {"we're", P}, {"we've", P}, {"welcome", W},
    {"well done", W}, {"wonderful", W}, {"worth noting", C}, {"you got this", W}, {"you're welcome", W},
};
#undef C
#undef P
#undef W
#undef E
const size_t LEXICON_COUNT = sizeof LEXICON / sizeof *LEXICON;

static const char *const STOP_WORDS[] = {
    "about", "above", "after", "again", "against", "also", "another", "anything", "around", "because", "been",
    "before", "being", "below", "between", "both", "came", "come", "could", "describe", "does", "doing", "down",
    "during", "each", "even", "ever", "every", "explain", "find", "following", "from", "gave", "give", "given",
    "gives", "going", "have", "having", "help", "here", "hers", "himself", "into", "itself", "just", "know", "like",
    "list", "made", "make", "makes", "many", "might", "more", "most", "much", "must", "need", "needs", "only",
    "other", "ourselves", "over", "please", "provide", "said", "same", "says", "should", "show", "since", "some",
    "someone", "something", "such", "take", "tell", "than", "thank", "that", "their", "theirs", "them", "then",
    "there", "these", "they", "thing", "things", "think", "this", "those", "through", "under", "until", "upon",
    "used", "using", "very", "want", "wants", "well", "were", "what", "when", "where", "which", "while", "whom",
    "whose", "will", "with", "within", "without", "would", "write", "your", "yours", "yourself",
};
/* clang-format on */

/* Orders a word against the first word of a phrase. */
static int compare_first(const char *word, const char *phrase) {
    while (*word && *word == *phrase) word++, phrase++;
    int end = *phrase == ' ' ? 0 : (unsigned char)*phrase;
    return (unsigned char)*word - end;
}

const lexicon_entry *lexicon_find(const char *word, size_t *n) {
    size_t lo = 0, hi = LEXICON_COUNT;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (compare_first(word, LEXICON[mid].phrase) > 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *n = 0;
    while (lo + *n < LEXICON_COUNT && compare_first(word, LEXICON[lo + *n].phrase) == 0) ++*n;
    return *n ? &LEXICON[lo] : NULL;
}

static int compare_words(const void *a, const void *b) {
    return strcmp(a, *(const char *const *)b);
}

bool lexicon_stop_word(const char *word) {
    return bsearch(word, STOP_WORDS, sizeof STOP_WORDS / sizeof *STOP_WORDS, sizeof *STOP_WORDS, compare_words) != NULL;
}
