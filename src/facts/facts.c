/* facts.c - measures the facts of a text in one pass over its lines and words, and says them in words.
 *
 * A word is a run of letters, digits and inner apostrophes; figures keep their points and commas ("1,000.5"); every
 * Chinese or Japanese character is a word of its own. Rates are per 100 words with RATE_PAD words added, so that one
 * warm word in a reply of five does not count as a fifth of it. Time is linear in the texts; no memory is allocated. */
#include "facts/facts.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "facts/facts_lexicon.h"

enum { WORD_BYTES = 48, TOPIC_MAX = 256, TOPIC_SLOTS = 1024 };
static const double RATE_PAD = 20.0;
static const double USUAL_WORD = 4.7; /* letters of an English word: what short texts are drawn to */

/* ---- characters and words -------------------------------------------------------------------------------------- */

typedef struct word {
    const char *end;        /* after the word */
    char lower[WORD_BYTES]; /* NUL-terminated, cut at WORD_BYTES */
    size_t n, chars;        /* bytes of lower, characters */
    uint64_t hash;          /* of the whole word in lower case, without a plural s */
    bool figure, wide;      /* begins with a digit; a character that is a word of its own */
} word;

static bool is_wide(uint32_t c) {
    return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF)
           || (c >= 0x20000 && c <= 0x3FFFF);
}

static bool is_digit(uint32_t c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(uint32_t c) {
    if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c);
    if (c < 0xC0) return c == 0xAA || c == 0xB5 || c == 0xBA;
    if (c == 0xD7 || c == 0xF7) return false;
    if (c >= 0x2000 && c <= 0x2BFF) return false; /* punctuation, arrows, mathematics, boxes, symbols */
    if (c >= 0x3000 && c <= 0x303F) return false;
    if (c >= 0xFE00 && c <= 0xFF0F) return c >= 0xFE70 && c <= 0xFEFC;
    if (c >= 0xFF1A && c <= 0xFF20) return false;
    return c < 0x1F000 || c >= 0x20000; /* between them: pictures */
}

/* Lower case of Latin, Greek and Cyrillic letters; others stay. */
static uint32_t lower_of(uint32_t c) {
    if ((c >= 'A' && c <= 'Z') || (c >= 0xC0 && c <= 0xDE) || (c >= 0x391 && c <= 0x3A9) || (c >= 0x410 && c <= 0x42F))
        return c + 32;
    if (c >= 0x400 && c <= 0x40F) return c + 80;
    return c == 0x2019 ? '\'' : c;
}

/* The character at s and its length; a byte that is no UTF-8 is U+FFFD, which is no letter. */
static uint32_t char_at(const char *s, const char *end, size_t *len) {
    uint32_t code = 0xFFFD;
    *len = 1;
    if ((unsigned char)*s < 0x80) return (unsigned char)*s;
    *len = utf8_next(s, (size_t)(end - s), &code);
    if (*len == 0) *len = 1;
    return code == 0xFFFD ? 0x2000 : code;
}

static bool joins(uint32_t c, const word *w, const char *after, const char *end) {
    if (after >= end || w->n == 0) return false;
    size_t len;
    uint32_t next = char_at(after, end, &len);
    if (c == '\'' || c == 0x2019) return is_letter(next) && !is_digit(next) && !w->figure;
    return w->figure && (c == '.' || c == ',') && is_digit(next);
}

static void word_push(word *w, uint32_t c) {
    char bytes[4] = {(char)c};
    size_t n = c < 0x80 ? 1 : utf8_put(bytes, c);
    if (w->n + n < WORD_BYTES) {
        memcpy(w->lower + w->n, bytes, n);
        w->n += n;
    }
    w->hash = hash_bytes(w->hash, bytes, n);
    w->chars++;
}

/* The next word at or after s. */
static bool next_word(const char *s, const char *end, word *w) {
    size_t len;
    memset(w, 0, sizeof *w);
    uint64_t before = w->hash = HASH_BEGIN;
    uint32_t last = 0;
    for (; s < end; s += len) {
        uint32_t c = char_at(s, end, &len);
        bool wide = is_wide(c);
        if (wide && w->chars) break;
        if (!is_letter(c) && !joins(c, w, s + len, end)) {
            if (w->chars) break;
            continue;
        }
        if (!w->chars) w->figure = is_digit(c);
        before = w->hash;
        last = lower_of(c);
        word_push(w, last);
        if (wide) {
            w->wide = true;
            s += len;
            break;
        }
    }
    w->end = s;
    if (last == 's' && w->chars > 3) w->hash = before;
    return w->chars > 0;
}

/* ---- topic words of the query ---------------------------------------------------------------------------------- */

typedef struct topic { /* hash set; a key of 0 is an empty slot */
    uint64_t key[TOPIC_SLOTS];
    bool seen[TOPIC_SLOTS];
    size_t n, n_seen;
} topic;

static bool is_topic_word(const word *w) {
    return w->wide || w->figure || (w->chars >= 4 && !lexicon_stop_word(w->lower));
}

static size_t topic_slot(const topic *t, uint64_t hash) {
    size_t i = (hash ^ hash >> 32) % TOPIC_SLOTS;
    while (t->key[i] && t->key[i] != hash) i = (i + 1) % TOPIC_SLOTS;
    return i;
}

static void topic_collect(topic *t, const char *s, size_t n) {
    const char *end = s + n;
    word w;
    for (; t->n < TOPIC_MAX && next_word(s, end, &w); s = w.end) {
        if (!is_topic_word(&w) || !w.hash) continue;
        size_t i = topic_slot(t, w.hash);
        if (!t->key[i]) t->n++;
        t->key[i] = w.hash;
    }
}

static void topic_see(topic *t, const word *w) {
    size_t i = topic_slot(t, w->hash);
    if (!t->key[i] || t->seen[i]) return;
    t->seen[i] = true;
    t->n_seen++;
}

/* ---- counts ---------------------------------------------------------------------------------------------------- */

typedef struct counts {
    size_t words, letters, lettered, contractions, figures, questions, exclamations;
    size_t lines, items, headings, code;
    size_t hits[N_FACT]; /* lexicon */
    bool fenced;         /* inside a ``` block */
} counts;

/* Do the phrase's words after its first follow at s? *n_word: words of the phrase. */
static bool phrase_follows(const char *phrase, const char *s, const char *end, size_t *n_word) {
    *n_word = 1;
    for (const char *p = strchr(phrase, ' '); p; p = strchr(p + 1, ' ')) {
        word w;
        size_t n = strcspn(p + 1, " ");
        if (!next_word(s, end, &w) || w.n != n || memcmp(w.lower, p + 1, n) != 0) return false;
        s = w.end;
        ++*n_word;
    }
    return true;
}

/* Counts the entries that begin at this word; skip[fact]: words that a phrase of the fact has covered already. */
static void count_lexicon(counts *c, const word *w, const char *end, size_t skip[N_FACT]) {
    size_t n, longest[N_FACT] = {0}, n_word;
    const lexicon_entry *e = lexicon_find(w->lower, &n);
    for (size_t i = 0; i < n; i++)
        if (phrase_follows(e[i].phrase, w->end, end, &n_word) && n_word > longest[e[i].fact])
            longest[e[i].fact] = n_word;
    for (int f = 0; f < N_FACT; f++) {
        if (skip[f])
            skip[f]--;
        else if (longest[f]) {
            c->hits[f]++;
            skip[f] = longest[f] - 1;
        }
    }
}

static bool is_contraction(const word *w) {
    static const char *const ENDS[] = {"n't", "'re", "'ve", "'ll", "'m", "'d"};
    static const char *const WHOLE[] = {"it's", "that's", "there's", "here's", "what's", "let's", "he's", "she's"};
    if (!memchr(w->lower, '\'', w->n)) return false;
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++) {
        size_t n = strlen(ENDS[i]);
        if (w->n > n && memcmp(w->lower + w->n - n, ENDS[i], n) == 0) return true;
    }
    for (size_t i = 0; i < sizeof WHOLE / sizeof *WHOLE; i++)
        if (strcmp(w->lower, WHOLE[i]) == 0) return true;
    return false;
}

static void count_words(counts *c, const char *s, const char *end, bool code, topic *t) {
    size_t skip[N_FACT] = {0};
    word w;
    for (; next_word(s, end, &w); s = w.end) {
        c->words++;
        if (w.hash) topic_see(t, &w);
        if (code) continue;
        c->figures += w.figure;
        if (!w.figure && !w.wide) {
            c->letters += w.chars;
            c->lettered++;
            c->contractions += is_contraction(&w);
        }
        count_lexicon(c, &w, end, skip);
    }
}

/* Runs of marks count once: "?!" is one question and one exclamation, "!!!" one exclamation. */
static void count_marks(counts *c, const char *s, const char *end) {
    bool was_question = false, was_exclamation = false;
    size_t len;
    for (; s < end; s += len) {
        uint32_t code = char_at(s, end, &len);
        bool question = code == '?' || code == 0xFF1F || code == 0x61F, exclamation = code == '!' || code == 0xFF01;
        if (question && !was_question) c->questions++;
        if (exclamation && !was_exclamation) c->exclamations++;
        was_question = question || (was_question && exclamation);
        was_exclamation = exclamation || (was_exclamation && question);
    }
}

static bool begins(const char *s, const char *end, const char *prefix) {
    size_t n = strlen(prefix);
    return (size_t)(end - s) >= n && memcmp(s, prefix, n) == 0;
}

/* Length of a list marker with the space after it ("- ", "* ", a bullet, "1. ", "2) ", "a) "); 0: none. */
static size_t item_marker(const char *s, const char *end) {
    static const char *const BULLETS[] = {"- ", "* ", "+ ", "\xE2\x80\xA2", "\xE2\x80\x93 ", "\xE2\x97\xA6"};
    for (size_t i = 0; i < sizeof BULLETS / sizeof *BULLETS; i++)
        if (begins(s, end, BULLETS[i])) return strlen(BULLETS[i]);
    size_t n = 0, left = (size_t)(end - s);
    while (n < left && n < 3 && is_digit((unsigned char)s[n])) n++;
    bool letter = n == 0 && left > 1 && s[0] >= 'a' && s[0] <= 'z' && s[1] == ')';
    if (letter) n = 1;
    if (n == 0 || n + 1 >= left || (s[n] != '.' && s[n] != ')') || s[n + 1] != ' ') return 0;
    return n + 2;
}

static bool is_heading(const char *s, const char *end) {
    size_t hashes = 0, left = (size_t)(end - s), n_word = 0;
    while (hashes < left && s[hashes] == '#') hashes++;
    if (hashes >= 1 && hashes <= 6 && hashes < left && s[hashes] == ' ') return true;
    const char *last = end[-1] == ':' ? end - 1 : end;
    if (last - s > 4 && begins(s, end, "**") && last[-1] == '*' && last[-2] == '*') {
        for (const char *p = s + 2; p < last - 2; p++)
            if (*p == '*') return false;
        return true;
    }
    if (end[-1] != ':') return false;
    word w;
    while (n_word <= 4 && next_word(s, end, &w)) n_word++, s = w.end;
    return n_word >= 1 && n_word <= 4;
}

static bool is_code(const char *s, const char *end) {
    static const char *const OPENERS[] = {"def ", "import ", "#include", "return ", "const ",
                                          "let ", "public ", "</",       "$ ",      ">>> "};
    for (size_t i = 0; i < sizeof OPENERS / sizeof *OPENERS; i++)
        if (begins(s, end, OPENERS[i])
            && (OPENERS[i][0] < 'a' || memchr(s, '=', (size_t)(end - s)) || memchr(s, '(', (size_t)(end - s))))
            return true;
    return end[-1] == ';' || end[-1] == '{' || end[-1] == '}';
}

static void count_line(counts *c, const char *s, const char *end, topic *t) {
    while (s < end && (*s == ' ' || *s == '\t')) s++;
    while (end > s && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) end--;
    if (s == end) return;
    c->lines++;
    bool fence = begins(s, end, "```") || begins(s, end, "~~~");
    bool code = fence || c->fenced || is_code(s, end);
    if (fence) c->fenced = !c->fenced;
    if (code) {
        c->code++;
    } else {
        size_t marker = item_marker(s, end);
        if (marker)
            c->items++, s += marker;
        else
            c->headings += is_heading(s, end);
        count_marks(c, s, end);
    }
    count_words(c, s, end, code, t);
}

static double rate(size_t count, size_t words) {
    return sqrt(100.0 * (double)count / ((double)words + RATE_PAD));
}

static double share(size_t part, size_t whole) {
    return whole ? (double)part / (double)whole : 0.0;
}

void facts_measure(const char *text, size_t n, const char *query, size_t n_query, facts *out) {
    topic t = {0};
    counts c = {0};
    topic_collect(&t, query, n_query);
    for (const char *s = text, *end = text + n; s < end;) {
        const char *line = memchr(s, '\n', (size_t)(end - s));
        if (!line) line = end;
        count_line(&c, s, line, &t);
        s = line + 1;
    }

    double length = ((double)c.letters + RATE_PAD * USUAL_WORD) / ((double)c.lettered + RATE_PAD);
    double contracted = 100.0 * (double)c.contractions / ((double)c.words + RATE_PAD);
    double *v = out->v;
    v[FACT_LENGTH] = log(1.0 + (double)c.words);
    v[FACT_LISTS] = sqrt(share(c.items, c.lines));
    v[FACT_HEADINGS] = sqrt((double)c.headings);
    v[FACT_QUESTIONS] = sqrt((double)c.questions);
    v[FACT_CAUTION] = rate(c.hits[FACT_CAUTION], c.words);
    v[FACT_PERSONAL] = rate(c.hits[FACT_PERSONAL], c.words);
    v[FACT_NUMBERS] = rate(c.figures, c.words);
    v[FACT_WARMTH] = rate(c.hits[FACT_WARMTH] + c.exclamations, c.words);
    v[FACT_CODE] = sqrt(share(c.code, c.lines));
    v[FACT_FORMAL] = length - 0.25 * contracted;
    v[FACT_ECHO] = share(t.n_seen, t.n);
    v[FACT_EXAMPLES] = rate(c.hits[FACT_EXAMPLES], c.words);
}

/* ---- words ----------------------------------------------------------------------------------------------------- */

static const struct {
    const char *word, *meaning;
    double sd;
} TABLE[N_FACT] = {
#define X(id, word, what, sd) {word, what, sd},
    FACTS(X)
#undef X
};

const char *fact_word(int fact) {
    return TABLE[fact].word;
}
const char *fact_meaning(int fact) {
    return TABLE[fact].meaning;
}
double fact_sd(int fact) {
    return TABLE[fact].sd;
}

int fact_find(const char *name, size_t n) {
    for (int f = 0; f < N_FACT; f++)
        if (strlen(TABLE[f].word) == n && memcmp(TABLE[f].word, name, n) == 0) return f;
    return -1;
}

/* Mine against the mean of the others in standard deviations. */
static double fact_z(int fact, const facts *mine, const facts *others, size_t n_other) {
    if (n_other == 0) return 0.0;
    double sum = 0.0;
    for (size_t i = 0; i < n_other; i++) sum += others[i].v[fact];
    return (mine->v[fact] - sum / (double)n_other) / TABLE[fact].sd;
}

int facts_level(int fact, const facts *mine, const facts *others, size_t n_other) {
    double z = fact_z(fact, mine, others, n_other), size = fabs(z);
    int level = size >= 1.5 ? 3 : size >= 0.8 ? 2 : size >= 0.25 ? 1 : 0; /* docs/compact.md */
    return z < 0 ? -level : level;
}

void facts_words(const facts *mine, const facts *others, size_t n_other, size_t max, buf *out) {
    static const char *const STRENGTH[4] = {"", " slightly", "", " strongly"};
    bool said[N_FACT] = {false};
    size_t n = 0;
    for (; n < max; n++) {
        int best = -1;
        double size = 0.0;
        for (int f = 0; f < N_FACT; f++) {
            double z = fabs(fact_z(f, mine, others, n_other));
            if (!said[f] && z > size) best = f, size = z;
        }
        int level = best < 0 ? 0 : facts_level(best, mine, others, n_other);
        if (level == 0) break;
        said[best] = true;
        buf_printf(out, "%s%s %s%s", n ? ", " : "", TABLE[best].word, level > 0 ? "more" : "less",
                   STRENGTH[level < 0 ? -level : level]);
    }
    if (n == 0) buf_puts(out, "nothing stands out");
}
