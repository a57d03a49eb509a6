/* added.c - owns the sets of added tokens. The rules for flags are those of PyPI `tokenizers`, the odd ones included: a
 * match that is refused (inside a word, special where these stay text) still hides what lies inside it. */
#include "text/added.h"

#include <string.h>
#include <utf8proc.h>

#include "base/text.h"

/* Longest first, then by id. Heapsort: a hostile file may have millions. */
static bool after(const added_token *a, const added_token *b) {
    return a->n != b->n ? a->n < b->n : a->id > b->id;
}

static void sort_longest_first(added_token *v, size_t n) {
    for (size_t end = n, root = n / 2; end > 1;) {
        added_token x;
        if (root > 0) {
            x = v[--root];
        } else {
            x = v[--end];
            v[end] = v[0];
        }
        size_t i = root;
        for (size_t child; (child = 2 * i + 1) < end; i = child) {
            if (child + 1 < end && after(&v[child + 1], &v[child])) child++;
            if (!after(&v[child], &x)) break;
            v[i] = v[child];
        }
        v[i] = x;
    }
}

pgr_status added_build(added_set *set, const added_token *v, size_t n, arena *a, pgr_error *err) {
    uint32_t fill[256];
    memset(set, 0, sizeof *set);
    set->v = arena_array(a, n + 1, sizeof *set->v);
    if (!set->v) return fail_mem(err);
    for (size_t i = 0; i < n; i++) set->start[(uint8_t)v[i].s[0] + 1]++;
    for (size_t b = 0; b < 256; b++) set->start[b + 1] += set->start[b];
    memcpy(fill, set->start, sizeof fill);
    for (size_t i = 0; i < n; i++) {
        set->v[fill[(uint8_t)v[i].s[0]]++] = v[i];
        set->has_plain |= !(v[i].flags & ADDED_SPECIAL);
    }
    for (size_t b = 0; b < 256; b++) sort_longest_first(set->v + set->start[b], set->start[b + 1] - set->start[b]);
    return PGR_OK;
}

/* Is this special token partly of bytes that may hold one, partly not? Then it is none, and hides nothing. */
static bool mixed(const added_token *t, const uint8_t *made) {
    if (!made || !(t->flags & ADDED_SPECIAL)) return false;
    size_t count = 0;
    for (size_t i = 0; i < t->n; i++) count += made[i] != 0;
    return count > 0 && count < t->n;
}

/* The longest one that stands at s, NULL if none does. */
static const added_token *longest_at(const added_set *set, const char *s, size_t n, const uint8_t *made) {
    uint8_t first = (uint8_t)*s;
    for (uint32_t i = set->start[first]; i < set->start[first + 1]; i++) {
        const added_token *t = &set->v[i];
        if (t->n <= n && memcmp(t->s, s, t->n) == 0 && !mixed(t, made)) return t;
    }
    return NULL;
}

/* ---- white space and words, as regular expressions over Unicode have them ---- */

static bool is_word(uint32_t c) {
    if (c == 0x200c || c == 0x200d) return true;                                       /* joiners */
    if ((c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149)) return true;   /* letters in circles */
    if ((c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189)) return true; /* and squares */
    switch (utf8proc_category((int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return false;
    }
}

/* The character that ends at s + n, its length; 0: none, or no UTF-8. */
static size_t last_char(const char *s, size_t n, uint32_t *code) {
    size_t len = 1;
    while (len < 4 && len < n && (unsigned char)s[n - len] >> 6 == 2) len++;
    return n > 0 && utf8_next(s + n - len, len, code) == len ? len : 0;
}

static bool stands_alone(const char *s, size_t n, size_t begin, size_t end) {
    uint32_t c;
    if (last_char(s, begin, &c) && is_word(c)) return false;
    return !(end < n && utf8_next(s + end, n - end, &c) && is_word(c));
}

static size_t space_before(const char *s, size_t end) {
    uint32_t c;
    for (size_t len; (len = last_char(s, end, &c)) && utf8_is_space(c);) end -= len;
    return end;
}

static size_t space_after(const char *s, size_t n, size_t at) {
    uint32_t c;
    for (size_t len; at < n && (len = utf8_next(s + at, n - at, &c)) && utf8_is_space(c);) at += len;
    return at;
}

/* ---- search ---- */

bool added_next(const added_set *set, const char *s, size_t n, bool control, added_scan *scan, size_t *text_begin,
                size_t *text_end, int32_t *id) {
    *text_begin = scan->done;
    *text_end = n;
    *id = -1;
    if (!control && !set->has_plain) return false;
    while (scan->at < n) {
        size_t begin = scan->at;
        const added_token *t = longest_at(set, s + begin, n - begin, scan->made ? scan->made + begin : NULL);
        if (!t) {
            scan->at++;
            continue;
        }
        size_t end = scan->at = begin + t->n;
        if ((t->flags & ADDED_SPECIAL) && (!control || (scan->made && !scan->made[begin]))) continue;
        if ((t->flags & ADDED_SINGLE_WORD) && !stands_alone(s, n, begin, end)) continue;
        if (t->flags & ADDED_LSTRIP) begin = space_before(s, begin);
        if (t->flags & ADDED_RSTRIP) end = space_after(s, n, end);
        *text_end = begin > scan->done ? begin : scan->done;
        scan->done = end;
        *id = t->id;
        return true;
    }
    return false;
}

const added_token *added_find(const added_set *set, const char *s, size_t n) {
    if (n == 0 || !set->v) return NULL;
    uint8_t first = (uint8_t)*s;
    for (uint32_t i = set->start[first]; i < set->start[first + 1]; i++)
        if (set->v[i].n == n && memcmp(set->v[i].s, s, n) == 0) return &set->v[i];
    return NULL;
}
