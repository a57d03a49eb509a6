/* bert.c - owns the normaliser and the cutting of the BERT family. */
#include "text/bert.h"

#include <utf8proc.h>

#include "base/text.h"

/* ---- classes of characters ---- */

typedef struct char_range {
    uint32_t first, last;
} char_range;

#include "text/bert_tables.inc"

static const char_range ideographs[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},  {0x20000, 0x2a6df},
                                        {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};

/* ranges: in ascending order */
static bool among(const char_range *ranges, size_t n, uint32_t c) {
    size_t lo = 0;
    while (n > lo) {
        size_t mid = lo + (n - lo) / 2;
        if (c < ranges[mid].first)
            n = mid;
        else if (c > ranges[mid].last)
            lo = mid + 1;
        else
            return true;
    }
    return false;
}

#define AMONG(table, c) among(table, sizeof(table) / sizeof *(table), c)

static bool is_dropped(uint32_t c) {
    if (c < 0x80) return c == 0x7f || (c < ' ' && c != '\t' && c != '\n' && c != '\r');
    return AMONG(dropped, c);
}

static bool is_punctuation(uint32_t c) {
    if (c < 0x80) return c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z');
    return AMONG(punctuation, c);
}

/* Lower case that is newer than utf8proc's tables (Unicode 16 and 17). */
static uint32_t newer_lower(uint32_t c) {
    static const struct {
        uint32_t first, last, lower; /* of the first */
    } rows[] = {{0x1c89, 0x1c89, 0x1c8a},   {0xa7cb, 0xa7cb, 0x264},  {0xa7cc, 0xa7cc, 0xa7cd},
                {0xa7ce, 0xa7ce, 0xa7cf},   {0xa7d2, 0xa7d2, 0xa7d3}, {0xa7d4, 0xa7d4, 0xa7d5},
                {0xa7da, 0xa7da, 0xa7db},   {0xa7dc, 0xa7dc, 0x19b},  {0x10d50, 0x10d65, 0x10d70},
                {0x16ea0, 0x16eb8, 0x16ebb}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (c >= rows[i].first && c <= rows[i].last) return rows[i].lower + (c - rows[i].first);
    return c;
}

/* ---- normaliser ---- */

static void put_char(uint32_t c, buf *out) {
    char bytes[4];
    if (c < 0x80)
        buf_putc(out, (char)c);
    else
        buf_add(out, bytes, utf8_put(bytes, c));
}

static void put_lower(uint32_t c, buf *out) {
    if (c < 0x80) {
        buf_putc(out, (char)(c >= 'A' && c <= 'Z' ? c + 32 : c));
    } else if (c == 0x130) { /* the one that becomes two: i with a dot above */
        buf_puts(out, "i\xcc\x87");
    } else {
        uint32_t lower = (uint32_t)utf8proc_tolower((int32_t)c);
        put_char(lower == c ? newer_lower(c) : lower, out);
    }
}

static uint32_t next_char(const char *s, size_t n, size_t *at) {
    uint32_t c = 0xfffd;
    size_t len = utf8_next(s + *at, n - *at, &c);
    *at += len ? len : 1;
    return len ? c : 0xfffd;
}

/* Character by character, all but the accents. */
static void put_text(unsigned flags, const char *s, size_t n, buf *out) {
    for (size_t i = 0; i < n;) {
        uint32_t c = next_char(s, n, &i);
        if (flags & BERT_CLEAN) {
            if (is_dropped(c)) continue;
            if (utf8_is_space(c)) c = ' ';
        }
        bool apart = (flags & BERT_CJK) && c >= ideographs[0].first && AMONG(ideographs, c);
        if (apart) buf_putc(out, ' ');
        if (flags & BERT_LOWER)
            put_lower(c, out);
        else
            put_char(c, out);
        if (apart) buf_putc(out, ' ');
    }
}

pgr_status bert_normalise(unsigned flags, buf *clean, decomposed *d, const char *s, size_t n, buf *out,
                          pgr_error *err) {
    if (!(flags & BERT_STRIP) || text_is_ascii(s, n)) {
        put_text(flags, s, n, out);
        return out->failed ? fail_mem(err) : PGR_OK;
    }
    buf_clear(clean);
    put_text(flags & (BERT_CLEAN | BERT_CJK), s, n, clean); /* valid UTF-8 from here on */
    if (clean->failed) return fail_mem(err);
    PGR_TRY(decompose(d, clean->data, clean->n, err));
    for (size_t i = 0; i < d->n; i++) {
        uint32_t c = (uint32_t)d->points[i];
        if (c >= 0x80 && AMONG(marks, c)) continue;
        if (flags & BERT_LOWER)
            put_lower(c, out);
        else
            put_char(c, out);
    }
    return out->failed ? fail_mem(err) : PGR_OK;
}

/* ---- words ---- */

size_t bert_word(const char *s, size_t n, size_t *at) {
    size_t end = *at;
    while (end < n) {
        size_t next = end;
        uint32_t c = next_char(s, n, &next);
        bool space = utf8_is_space(c), alone = is_punctuation(c);
        if (*at == end) { /* no word has begun */
            if (space) *at = next;
            if (alone) return next;
        } else if (space || alone) {
            return end;
        }
        end = next;
    }
    return n;
}
