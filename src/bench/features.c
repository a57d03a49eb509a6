/* features.c - counts what features.h lists, in one pass over the words and one over the lines;
 * no memory is allocated. */
#include "bench/features.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"

enum { WORD_SLOTS = 8192, WORDS_MAX = 4096 }; /* words beyond are not looked at for variety and for the query's */

/* ---- words ------------------------------------------------------------------------------------------------------ */

static bool is_word_byte(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '\'' || c >= 0x80;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

typedef struct word {
    const char *at;
    size_t n;
    uint64_t hash; /* of its lower case, never 0 */
} word;

static bool next_word(const char *s, word *w) {
    while (*s && !is_word_byte((unsigned char)*s)) s++;
    w->at = s;
    w->hash = HASH_BEGIN;
    for (; is_word_byte((unsigned char)*s); s++) w->hash = hash_value(w->hash, (unsigned char)lower(*s));
    w->n = (size_t)(s - w->at);
    w->hash |= 1;
    return w->n > 0;
}

static bool is_one_of(const word *w, const char *const *list) {
    for (; *list; list++) {
        size_t n = strlen(*list), i = 0;
        while (i < n && i < w->n && lower(w->at[i]) == (*list)[i]) i++;
        if (i == n && w->n == n) return true;
    }
    return false;
}

static bool is_not(const word *w) {
    static const char *const NOT[] = {"no", "not", "never", "none", "nothing", NULL};
    return is_one_of(w, NOT) || (w->n > 3 && lower(w->at[w->n - 1]) == 't' && w->at[w->n - 2] == '\'');
}

typedef struct words { /* hash set */
    uint64_t key[WORD_SLOTS];
    size_t n;
} words;

static bool words_have(const words *t, uint64_t hash, size_t *slot) {
    size_t i = (hash ^ hash >> 32) % WORD_SLOTS;
    while (t->key[i] && t->key[i] != hash) i = (i + 1) % WORD_SLOTS;
    *slot = i;
    return t->key[i] == hash;
}

static void words_put(words *t, uint64_t hash) {
    size_t slot;
    if (t->n >= WORDS_MAX || words_have(t, hash, &slot)) return;
    t->key[slot] = hash;
    t->n++;
}

/* ---- counts ----------------------------------------------------------------------------------------------------- */

typedef struct counts {
    size_t n, words, looked, distinct, shared, long_words, you, not, should;
    size_t sentences, paragraphs, items, steps, list_at, tables;
    size_t byte[256];
    size_t letters, capitals, outside;
} counts;

static void count_words(const char *text, const char *query, counts *c) {
    static const char *const YOU[] = {"you", "your", "yours", "you're", "you'll", NULL};
    static const char *const SHOULD[] = {"should", "must", "need", "needs", "have", "shall", "ought", NULL};
    words asked = {0}, seen = {0};
    word w;
    size_t slot;
    for (const char *s = query; next_word(s, &w); s = w.at + w.n) words_put(&asked, w.hash);
    for (const char *s = text; next_word(s, &w); s = w.at + w.n) {
        c->words++;
        c->long_words += w.n >= 7;
        c->you += is_one_of(&w, YOU);
        c->not += is_not(&w);
        c->should += is_one_of(&w, SHOULD);
        if (c->words > WORDS_MAX) continue;
        c->looked++;
        words_put(&seen, w.hash);
        c->shared += words_have(&asked, w.hash, &slot);
    }
    c->distinct = seen.n;
}

static void count_bytes(const char *text, counts *c) {
    for (const char *s = text; *s; s++) {
        unsigned char b = (unsigned char)*s;
        c->n++;
        c->byte[b]++;
        c->outside += b >= 0xC0; /* a character's first byte */
        bool capital = b >= 'A' && b <= 'Z';
        c->capitals += capital;
        c->letters += capital || (b >= 'a' && b <= 'z');
        bool last = s[1] == '\0' || s[1] == ' ' || s[1] == '\n' || s[1] == '"';
        c->sentences += last && (b == '.' || b == '!' || b == '?');
    }
}

/* 0: no list item; 1: with a bullet; 2: with a number */
static int item_kind(const char *line) {
    if ((*line == '-' || *line == '*' || *line == '+') && line[1] == ' ') return 1;
    if (strncmp(line, "\xE2\x80\xA2", 3) == 0) return 1; /* a bullet */
    size_t digits = strspn(line, "0123456789");
    return digits > 0 && digits < 4 && (line[digits] == '.' || line[digits] == ')') && line[digits + 1] == ' ' ? 2 : 0;
}

static void count_lines(const char *text, counts *c) {
    bool blank = true;
    c->list_at = c->n;
    for (const char *s = text; *s;) {
        const char *line = s + strspn(s, " \t");
        size_t n = strcspn(s, "\n");
        int kind = item_kind(line);
        if (kind && c->items == 0) c->list_at = (size_t)(s - text);
        c->items += kind > 0;
        c->steps += kind == 2;
        c->tables += *line == '|';
        bool empty = *line == '\n' || *line == '\0' || *line == '\r';
        c->paragraphs += !empty && blank;
        blank = empty;
        s += n + (s[n] == '\n');
    }
}

static size_t count_string(const char *text, const char *what) {
    size_t n = 0;
    for (const char *s = text; (s = strstr(s, what)) != NULL; s += strlen(what)) n++;
    return n;
}

/* Does the text say one of these, in whatever case? */
static bool says(const char *text, const char *const *phrases) {
    for (; *phrases; phrases++)
        if (strcasestr(text, *phrases)) return true;
    return false;
}

static bool refuses(const char *text) {
    static const char *const SAY[] = {"i cannot",   "i can't",      "i can not",     "i am unable",
                                      "i'm unable", "i'm sorry",    "i am sorry",    "i apologize",
                                      "i won't be", "i'm not able", "i am not able", NULL};
    return says(text, SAY);
}

static bool is_machine(const char *text) {
    static const char *const SAY[] = {
        "as an ai",     "language model", "i'm an ai", "i am an ai", "artificial intelligence",
        "as a machine", "ai assistant",   NULL};
    return says(text, SAY);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static double share(size_t part, size_t whole) {
    return whole ? (double)part / (double)whole : 0.0;
}

static double rate(size_t n, const counts *c) {
    return sqrt(100.0 * (double)n / ((double)c->words + 20.0));
}

static void measure_end(const char *text, const counts *c, double *v) {
    size_t n = c->n;
    while (n && (text[n - 1] == ' ' || text[n - 1] == '\n')) n--;
    char last = n ? text[n - 1] : '\0';
    v[FEATURE_ENDS_ASKING] = last == '?';
    v[FEATURE_UNFINISHED] = (last >= 'a' && last <= 'z') || (last >= 'A' && last <= 'Z') || last == ',';
}

static void measure_own(const char *text, const char *query, double *v) {
    counts c = {0};
    count_words(text, query, &c);
    count_bytes(text, &c);
    count_lines(text, &c);
    double above = log1p((double)c.n) - 4.0;
    v[FEATURE_CHARACTERS] = log1p((double)c.n);
    v[FEATURE_BULK] = above > 0 ? above * above : 0;
    v[FEATURE_SENTENCES] = log1p((double)c.sentences);
    v[FEATURE_SENTENCE] = log1p((double)c.words / ((double)c.sentences + 1));
    v[FEATURE_PARAGRAPHS] = log1p((double)c.paragraphs);
    v[FEATURE_ITEMS] = log1p((double)c.items);
    v[FEATURE_STEPS] = log1p((double)c.steps);
    v[FEATURE_LIST_AT] = c.n ? share(c.list_at, c.n) : 1.0;
    v[FEATURE_BOLD] = sqrt((double)(count_string(text, "**") / 2));
    v[FEATURE_LINKS] = sqrt((double)count_string(text, "http"));
    v[FEATURE_TABLES] = sqrt((double)c.tables);
    v[FEATURE_FENCES] = sqrt((double)count_string(text, "```"));
    v[FEATURE_ASKS] = rate(c.byte['?'], &c);
    v[FEATURE_SHOUTS] = rate(c.byte['!'], &c);
    v[FEATURE_COMMAS] = rate(c.byte[','], &c);
    v[FEATURE_BRACKETS] = rate(c.byte['('], &c);
    v[FEATURE_QUOTES] = rate(c.byte['"'], &c);
    v[FEATURE_COLONS] = rate(c.byte[':'], &c);
    v[FEATURE_CAPITALS] = share(c.capitals, c.letters);
    v[FEATURE_VARIETY] = (double)c.distinct / sqrt((double)c.looked + 1);
    v[FEATURE_LONG_WORDS] = share(c.long_words, c.words);
    v[FEATURE_QUERY] = share(c.shared, c.looked);
    v[FEATURE_YOU] = rate(c.you, &c);
    v[FEATURE_NOT] = rate(c.not, &c);
    v[FEATURE_SHOULD] = rate(c.should, &c);
    v[FEATURE_REFUSES] = refuses(text);
    v[FEATURE_MACHINE] = is_machine(text);
    v[FEATURE_OUTSIDE] = share(c.outside, c.n);
    measure_end(text, &c, v);
}

void features_measure(const char *text, const char *query, double out[N_FEATURE]) {
    facts f;
    facts_measure(text, strlen(text), query, strlen(query), &f);
    for (int i = 0; i < N_FACT; i++) out[i] = f.v[i];
    measure_own(text, query, out + N_FACT);
}

static const char *const NAMES[N_OWN_FEATURE] = {
#define X(id, name, what) name,
    FEATURES(X)
#undef X
};

const char *feature_name(size_t i) {
    return i < N_FACT ? fact_word((int)i) : NAMES[i - N_FACT];
}
