/* words.c - counting words by group and side, and the words that tell them apart. */
#include "prototype/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"
#include "facts/facts.h"

enum { MIN_BYTES = 3, MAX_BYTES = 40 };
static const double PRIOR = 500; /* pretended words, spread as in all texts */

typedef struct word {
    char *text;
    uint64_t count; /* in all texts */
} word;

typedef struct cell { /* of one word in one group; a hash table, key = word * n_group + group */
    uint64_t key;     /* + 1; 0: empty */
    uint32_t chosen, rejected;
} cell;

struct words {
    size_t n_group;
    word *list;
    size_t n, cap;
    uint32_t *table; /* (n_table) word number + 1 by hash; a power of two */
    size_t n_table;
    cell *cells;
    size_t n_cell, n_cells;      /* used, of n_cells (a power of two) */
    uint64_t total, (*sides)[2]; /* (n_group) words in chosen, rejected texts */
};

static const char *const STOP[] =
    {/* sorted */
     "about",   "above",  "after",   "again",   "all",     "also",       "although", "always",    "and",     "another",
     "any",     "are",    "aren",    "because", "been",    "before",     "being",    "below",     "between", "both",
     "but",     "can",    "cannot",  "could",   "did",     "does",       "doesn",    "doing",     "don",     "down",
     "during",  "each",   "either",  "etc",     "even",    "ever",       "every",    "few",       "for",     "from",
     "further", "get",    "gets",    "give",    "had",     "has",        "have",     "having",    "hence",   "her",
     "here",    "hers",   "herself", "him",     "himself", "his",        "how",      "however",   "into",    "isn",
     "its",     "itself", "just",    "let",     "like",    "made",       "make",     "many",      "may",     "might",
     "more",    "most",   "much",    "must",    "myself",  "nor",        "not",      "now",       "off",     "often",
     "once",    "one",    "only",    "other",   "others",  "our",        "ours",     "ourselves", "out",     "over",
     "own",     "rather", "same",    "shall",   "she",     "should",     "since",    "some",      "such",    "than",
     "that",    "the",    "their",   "theirs",  "them",    "themselves", "then",     "there",     "these",   "they",
     "this",    "those",  "though",  "through", "thus",    "too",        "under",    "until",     "upon",    "use",
     "very",    "was",    "way",     "well",    "were",    "what",       "when",     "where",     "whether", "which",
     "while",   "who",    "whom",    "whose",   "why",     "will",       "with",     "within",    "without", "won",
     "would",   "yes",    "yet",     "you",     "your",    "yours",      "yourself", "yourselves"};

static int compare_text(const void *key, const void *entry) {
    return strcmp(key, *(const char *const *)entry);
}

static bool is_stop(const char *s) {
    return bsearch(s, STOP, sizeof STOP / sizeof *STOP, sizeof *STOP, compare_text) != NULL;
}

pgr_status words_create(size_t n_group, words **out, pgr_error *err) {
    words *w = mem_zero(1, sizeof *w);
    if (!w) return fail_mem(err);
    w->n_group = n_group;
    w->n_table = w->n_cells = 1024;
    w->table = mem_zero(w->n_table, sizeof *w->table);
    w->cells = mem_zero(w->n_cells, sizeof *w->cells);
    w->sides = mem_zero(n_group, sizeof *w->sides);
    if (!w->table || !w->cells || !w->sides) {
        words_free(w);
        return fail_mem(err);
    }
    *out = w;
    return PGR_OK;
}

void words_free(words *w) {
    if (!w) return;
    for (size_t i = 0; i < w->n; i++) mem_free(w->list[i].text);
    mem_free(w->list);
    mem_free(w->table);
    mem_free(w->cells);
    mem_free(w->sides);
    mem_free(w);
}

static uint64_t mix(uint64_t h) {
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    return h ^ h >> 29;
}

static uint64_t hash_of(const char *s) {
    return mix(hash_text(HASH_BEGIN, s));
}

/* ---- tables ---- */

static size_t word_place(const words *w, const char *s) {
    size_t at = hash_of(s) & (w->n_table - 1);
    while (w->table[at] && strcmp(w->list[w->table[at] - 1].text, s) != 0) at = (at + 1) & (w->n_table - 1);
    return at;
}

static pgr_status grow_table(words *w, pgr_error *err) {
    uint32_t *table = mem_zero(2 * w->n_table, sizeof *table);
    if (!table) return fail_mem(err);
    mem_free(w->table);
    w->table = table;
    w->n_table *= 2;
    for (size_t i = 0; i < w->n; i++) w->table[word_place(w, w->list[i].text)] = (uint32_t)i + 1;
    return PGR_OK;
}

/* *number = w->n: the vocabulary is full. */
static pgr_status word_number(words *w, const char *s, size_t *number, pgr_error *err) {
    size_t at = word_place(w, s);
    *number = w->table[at] ? w->table[at] - 1 : w->n;
    if (w->table[at] || w->n == WORDS_MAX_VOCABULARY) return PGR_OK;
    if (2 * w->n >= w->n_table) {
        PGR_TRY(grow_table(w, err));
        at = word_place(w, s);
    }
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 256;
        word *list = mem_resize(w->list, cap * sizeof *list);
        if (!list) return fail_mem(err);
        w->list = list;
        w->cap = cap;
    }
    char *copy = mem_strdup(s);
    if (!copy) return fail_mem(err);
    w->list[w->n] = (word){copy, 0};
    w->table[at] = (uint32_t)++w->n;
    return PGR_OK;
}

static size_t cell_place(const words *w, uint64_t key) {
    size_t at = mix(key) & (w->n_cells - 1);
    while (w->cells[at].key && w->cells[at].key != key) at = (at + 1) & (w->n_cells - 1);
    return at;
}

static pgr_status grow_cells(words *w, pgr_error *err) {
    cell *old = w->cells, *cells = mem_zero(2 * w->n_cells, sizeof *cells);
    if (!cells) return fail_mem(err);
    size_t n = w->n_cells;
    w->cells = cells;
    w->n_cells *= 2;
    for (size_t i = 0; i < n; i++)
        if (old[i].key) w->cells[cell_place(w, old[i].key)] = old[i];
    mem_free(old);
    return PGR_OK;
}

static pgr_status count(words *w, size_t group, bool chosen, const char *s, pgr_error *err) {
    size_t number;
    PGR_TRY(word_number(w, s, &number, err));
    if (number == w->n) return PGR_OK;
    if (2 * w->n_cell >= w->n_cells) PGR_TRY(grow_cells(w, err));
    uint64_t key = (uint64_t)number * w->n_group + group + 1;
    cell *c = &w->cells[cell_place(w, key)];
    if (!c->key) {
        c->key = key;
        w->n_cell++;
    }
    if (chosen)
        c->chosen++;
    else
        c->rejected++;
    w->list[number].count++;
    w->total++;
    w->sides[group][chosen ? 0 : 1]++;
    return PGR_OK;
}

/* ---- texts ---- */

static bool is_letter(uint32_t code) {
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
        return true;
    default:
        return false;
    }
}

pgr_status words_add(words *w, size_t group, bool chosen, const char *text, pgr_error *err) {
    char s[MAX_BYTES + 8];
    size_t n = 0, len = strlen(text);
    for (size_t i = 0; i <= len;) {
        uint32_t code = 0;
        size_t step = i < len ? utf8_next(text + i, len - i, &code) : 0;
        if (step > 0 && is_letter(code)) {
            char low[4];
            size_t m = utf8_put(low, (uint32_t)utf8proc_tolower((utf8proc_int32_t)code));
            if (n <= MAX_BYTES) memcpy(s + n, low, m);
            n += m;
        } else {
            s[n <= MAX_BYTES ? n : 0] = '\0';
            if (n >= MIN_BYTES && n <= MAX_BYTES && !is_stop(s)) PGR_TRY(count(w, group, chosen, s, err));
            n = 0;
        }
        i += step ? step : 1;
    }
    return PGR_OK;
}

/* ---- what is typical ---- */

typedef struct scored {
    const char *text;
    double z;
} scored;

static double z_of(const words *w, const cell *c) {
    size_t number = (size_t)((c->key - 1) / w->n_group), group = (size_t)((c->key - 1) % w->n_group);
    double p = PRIOR * (double)w->list[number].count / (double)w->total;
    double yes = c->chosen + p, no = c->rejected + p;
    double all_yes = (double)w->sides[group][0] + PRIOR, all_no = (double)w->sides[group][1] + PRIOR;
    double delta = log(yes / (all_yes - yes)) - log(no / (all_no - no));
    return delta / sqrt(1 / yes + 1 / no);
}

/* Into the group's list of at most n, greatest first, of equal ones in the order of the alphabet. */
static void put_word(scored *list, size_t n, scored s) {
    size_t at = n;
    while (at > 0
           && (!list[at - 1].text || list[at - 1].z < s.z
               || (list[at - 1].z == s.z && strcmp(list[at - 1].text, s.text) > 0)))
        at--;
    if (at == n) return;
    memmove(list + at + 1, list + at, (n - at - 1) * sizeof *list);
    list[at] = s;
}

static pgr_status hand_over(const words *w, const scored *best, size_t n, arena *a, const char *const **out,
                            pgr_error *err) {
    for (size_t g = 0; g < w->n_group; g++) {
        const char **list = arena_array(a, n + 1, sizeof *list);
        if (!list) return fail_mem(err);
        for (size_t i = 0; i < n && best[g * n + i].text; i++) {
            list[i] = arena_strdup(a, best[g * n + i].text);
            if (!list[i]) return fail_mem(err);
        }
        out[g] = list;
    }
    return PGR_OK;
}

pgr_status words_typical(const words *w, size_t n, arena *a, const char *const **out, pgr_error *err) {
    scored *best = mem_zero(w->n_group * n, sizeof *best);
    if (!best) return fail_mem(err);
    for (size_t i = 0; i < w->n_cells; i++) {
        const cell *c = &w->cells[i];
        if (!c->key) continue;
        double z = z_of(w, c);
        size_t group = (size_t)((c->key - 1) % w->n_group);
        if (z > 1) put_word(best + group * n, n, (scored){w->list[(c->key - 1) / w->n_group].text, z});
    }
    pgr_status s = hand_over(w, best, n, a, out, err);
    mem_free(best);
    return s;
}

/* ---- facts ---- */

static const double STANDS_OUT = 0.04; /* share of the squared length */

static int strongest(const float *v, const bool *said) {
    int best = -1;
    for (int f = 0; f < N_FACT; f++)
        if (!said[f] && (best < 0 || fabsf(v[f]) > fabsf(v[best]))) best = f;
    return best;
}

pgr_status words_of_facts(const float *v, size_t n, arena *a, const char *const **out, pgr_error *err) {
    const char **list = arena_array(a, n + 1, sizeof *list);
    bool said[N_FACT] = {false};
    double ss = 0;
    if (!list) return fail_mem(err);
    for (int f = 0; f < N_FACT; f++) ss += (double)v[f] * (double)v[f];
    for (size_t i = 0; i < n && i < N_FACT; i++) {
        int f = strongest(v, said);
        if (!((double)v[f] * (double)v[f] >= STANDS_OUT * ss) || !(ss > 0)) break;
        list[i] = arena_printf(a, "%s %s", fact_word(f), v[f] > 0 ? "more" : "less");
        if (!list[i]) return fail_mem(err);
        said[f] = true;
    }
    *out = list;
    return PGR_OK;
}
