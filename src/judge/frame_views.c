/* frame_views.c - which pairs of a history a frame with slots shows as texts: of statements, of which form says
 * nothing, what the user said of the same question. */
#include <math.h>
#include <string.h>

#include "facts/facts_lexicon.h"
#include "judge/frame_parts.h"
#include "judge/slots.h"

enum { VIEW_WORDS = 40 }; /* a response of no more words may be a statement: views stand behind it, not form */

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
}

/* The next word of a text in lower case, as far as it fits; *s moves behind it. False: none is left. */
static bool next_word(const char **s, char out[32]) {
    size_t n = 0;
    while (**s && !is_letter(**s)) ++*s;
    for (; **s && is_letter(**s); ++*s)
        if (n < 31) out[n++] = (char)(**s >= 'A' && **s <= 'Z' ? **s + 32 : **s);
    out[n] = '\0';
    return n > 0;
}

static size_t count_words(const char *s) {
    char word[32];
    size_t n = 0;
    while (next_word(&s, word)) n++;
    return n;
}

bool slots_by_views(const frame *f, const pgr_request *r) {
    for (size_t i = 0; i < r->n_response; i++)
        if (count_words(r->responses[i]) > VIEW_WORDS) return false;
    return f->views > 0 && f->sections[SECTION_VIEW].line && f->sections[SECTION_QUALITY].slots & BIT(VIEWS);
}

static bool has_word(const char *text, const char *word) {
    char other[32];
    while (next_word(&text, other))
        if (strcmp(other, word) == 0) return true;
    return false;
}

/* Words of the text, not the commonest ones, that one of the responses has, by the root of how many there are. */
static double shared_words(const pgr_request *r, const char *text) {
    char word[32];
    size_t n = 0, hits = 0;
    while (next_word(&text, word)) {
        if (lexicon_stop_word(word)) continue;
        bool hit = false;
        for (size_t i = 0; i < r->n_response && !hit; i++) hit = has_word(r->responses[i], word);
        n++;
        hits += hit;
    }
    return n ? (double)hits / sqrt((double)n) : 0;
}

static bool same_question(const pgr_request *r, const preference_pair *p) {
    return r->n_message && p->n_context
           && strcmp(r->messages[r->n_message - 1].text, p->context[p->n_context - 1].text) == 0;
}

pgr_status views_choose(const frame *f, const pgr_request *r, arena *tmp, size_t *out, size_t *n, pgr_error *err) {
    *n = 0;
    if (!slots_by_views(f, r)) return PGR_OK;
    double *found = arena_array(tmp, r->n_history + 1, sizeof *found);
    if (!found) return fail_mem(err);
    for (size_t i = 0; i < r->n_history; i++) {
        const preference_pair *p = &r->history[i];
        if (same_question(r, p) && count_words(p->chosen) <= VIEW_WORDS && count_words(p->rejected) <= VIEW_WORDS)
            found[i] = shared_words(r, p->chosen) + shared_words(r, p->rejected);
    }
    while (*n < f->views) {
        size_t best = r->n_history;
        for (size_t i = 0; i < r->n_history; i++)
            if (found[i] > 0 && (best == r->n_history || found[i] >= found[best])) best = i;
        if (best == r->n_history) break;
        out[(*n)++] = best;
        found[best] = 0;
    }
    return PGR_OK;
}
