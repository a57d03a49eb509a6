/* frame_text.c - texts of users and models on their way into a prompt: borders defused, clipped to a number of tokens
 * at the end of a character, conversations with the last turn first served. */
#include <string.h>

#include "judge/frame_parts.h"

static const char CLIPPED[] = " [...]";
enum { WORTH = 8 }; /* tokens of an older turn that are worth showing */

/* ---- defusing -------------------------------------------------------------------------------------------------- */

static bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Behind the word at s (ASCII case ignored), NULL if another stands there. */
static const char *word_at(const char *s, const char *end, const char *word) {
    for (; *word; word++, s++)
        if (s == end || lower(*s) != *word) return NULL;
    return s;
}

static const char *blanks(const char *s, const char *end) {
    while (s < end && blank(*s)) s++;
    return s;
}

/* "[The Start of" or "[The End of" at s, blanks at will. */
static bool border_at(const char *s, const char *end) {
    const char *p = word_at(blanks(s + 1, end), end, "the");
    if (!p) return false;
    const char *start = word_at(blanks(p, end), end, "start");
    if (!start) start = word_at(blanks(p, end), end, "end");
    return start && word_at(blanks(start, end), end, "of");
}

/* Length of JSON_START or JSON_END as the end of a word at s, 0 if it is none. */
static size_t marker_at(const char *s, const char *end) {
    const char *after = word_at(s, end, "json_start");
    if (!after) after = word_at(s, end, "json_end");
    if (!after || (after < end && *after == '_')) return 0;
    return (size_t)(after - s);
}

/* What begins a line of a frame that keeps line breaks: a text must not begin a pair or a turn of its own. */
static bool label_at(const char *s, const char *end) {
    static const char *const LABELS[] = {"user:", "assistant:", "chosen:", "rejected:"};
    for (size_t i = 0; i < sizeof LABELS / sizeof *LABELS; i++)
        if (word_at(s, end, LABELS[i])) return true;
    return false;
}

void text_defuse(const char *s, size_t n, bool join, buf *out) {
    const char *end = s + n;
    bool space = false; /* a joined blank waits for a character to follow */
    size_t before = out->n;
    while (s < end) {
        if (join && blank(*s)) {
            space = true;
            s++;
            continue;
        }
        if (space && out->n > before) buf_putc(out, ' ');
        space = false;
        size_t marker = *s == 'J' || *s == 'j' ? marker_at(s, end) : 0;
        if (marker) {
            buf_add(out, s, marker);
            buf_putc(out, '_');
            s += marker;
        } else {
            buf_putc(out, *s);
            if (*s == '[' && border_at(s, end)) buf_putc(out, '_');
            if ((*s == '\n' || *s == '\r') && label_at(s + 1, end)) buf_putc(out, ' ');
            s++;
        }
    }
}

/* ---- talks ----------------------------------------------------------------------------------------------------- */

static const char *role_name(const char *role) {
    return strcmp(role, "assistant") == 0 ? "Assistant" : strcmp(role, "system") == 0 ? "System" : "User";
}

static pgr_status make_turn(const frame *f, pgr_engine *e, const turn *from, arena *a, talk_turn *out, pgr_error *err) {
    buf text = {0};
    size_t n_token = 0;
    text_defuse(from->text, strlen(from->text), f->join_lines, &text);
    pgr_status status = text.failed ? fail_mem(err) : PGR_OK;
    if (status == PGR_OK) status = engine_count(e, text.data ? text.data : "", text.n, &n_token, err);
    if (status == PGR_OK) {
        char *copy = arena_strndup(a, text.data ? text.data : "", text.n);
        if (copy)
            *out = (talk_turn){role_name(from->role), copy, text.n, n_token};
        else
            status = fail_mem(err);
    }
    buf_free(&text);
    return status;
}

pgr_status talk_make(const frame *f, pgr_engine *e, int kind, const char *field, const turn *turns, size_t n_turn,
                     arena *a, talk *out, pgr_error *err) {
    *out = (talk){.field = field, .kind = kind, .n_turn = n_turn};
    out->turns = arena_array(a, n_turn, sizeof *out->turns);
    if (!out->turns || !field) return fail_mem(err);
    for (size_t i = 0; i < n_turn; i++) {
        PGR_TRY(make_turn(f, e, &turns[i], a, &out->turns[i], err));
        out->n_token += out->turns[i].n_token;
    }
    return PGR_OK;
}

pgr_status talk_make_list(const frame *f, pgr_engine *e, int kind, const char *field, const char *const *items,
                          size_t n, arena *a, talk *out, pgr_error *err) {
    buf list = {0};
    const char *apart = f->join_lines ? "; " : "\n";
    for (size_t i = 0; i < n; i++) {
        const char *s = items[i];
        if (!*s) continue;
        if (list.n) buf_puts(&list, apart);
        for (size_t len; *s; s += len + (s[len] == '\n')) {
            len = strcspn(s, "\n");
            buf_add(&list, s, len);
            if (s[len] && s[len + 1]) buf_puts(&list, apart);
        }
    }
    *out = (talk){.field = field, .kind = kind};
    pgr_status status = list.failed ? fail_mem(err) : PGR_OK;
    turn one = {"user", list.data};
    if (status == PGR_OK && list.n) status = talk_make(f, e, kind, field, &one, 1, a, out, err);
    buf_free(&list);
    return status;
}

/* The first `keep` tokens of a turn, whole characters, with a sign that there was more. */
static pgr_status show_turn(const talk_turn *k, pgr_engine *e, size_t keep, buf *out, pgr_error *err) {
    if (keep >= k->n_token) {
        buf_add(out, k->text, k->n);
        return PGR_OK;
    }
    buf part = {0};
    pgr_status status = engine_clip(e, k->text, k->n, keep, &part, err);
    if (status == PGR_OK) {
        size_t n = part.n;
        while (n && blank(part.data[n - 1])) n--;
        if (n) buf_add(out, part.data, n);
        buf_puts(out, CLIPPED + (n == 0)); /* no space in front of it where nothing was kept */
    }
    buf_free(&part);
    return status;
}

/* How many tokens of each turn fit: the last is served first, then those before it, the nearest first. */
static void share_limit(const talk *k, size_t limit, size_t *keep) {
    for (size_t i = k->n_turn; i-- > 0;) {
        size_t n = k->turns[i].n_token;
        keep[i] = n <= limit ? n : i + 1 == k->n_turn || limit >= WORTH ? limit : 0;
        limit = n <= limit ? limit - n : 0;
    }
}

pgr_status talk_show(const talk *k, pgr_engine *e, size_t limit, bool join, buf *out, size_t *kept, pgr_error *err) {
    arena a = {0};
    size_t *keep = arena_array(&a, k->n_turn, sizeof *keep);
    pgr_status status = keep ? PGR_OK : fail_mem(err);
    const char *between = join ? " " : "\n";
    bool left_out = false, first = true; /* turns before the one at hand were left out; nothing was shown yet */
    *kept = 0;
    if (keep) share_limit(k, limit, keep);
    for (size_t i = 0; status == PGR_OK && i < k->n_turn; i++) {
        if (keep[i] == 0 && k->turns[i].n_token > 0 && i + 1 < k->n_turn) {
            left_out = true;
            continue;
        }
        if (left_out && first) buf_printf(out, "[...]%s", between);
        if (k->n_turn > 1) buf_printf(out, "%s%s: ", first ? "" : between, k->turns[i].role);
        first = false;
        *kept += keep[i];
        status = show_turn(&k->turns[i], e, keep[i], out, err);
    }
    arena_free(&a);
    return status;
}
