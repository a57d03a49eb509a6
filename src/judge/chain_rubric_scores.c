/* chain_rubric_scores.c - reads the scores of a rubric written in prose, one per criterion and response, in the layouts
 * that models use:
 *     - Depth: Response 1: 8, Response 2: 5    Response 1: / - Depth: 8       | Depth | 35% | 8 | 5 |
 *     Response 1: 4 x 0.35 + 6 x 0.30 = 3.2
 * What is in doubt is left out: a score that is missing makes the recomputed total missing, never wrong. */
#include <math.h>
#include <string.h>

#include "judge/chain_rubric.h"

typedef struct scorer {
    chain *c;
    size_t n_response;
    span text;
    bool by_response; /* the layout: responses outside, criteria inside */
    bool decided;     /* the layout is known */
    int criterion;    /* -1: none */
    int response;
    bool open;                                      /* a pair was named and has no number yet */
    bool direct;                                    /* only words like "scores" since it was named */
    bool joint;                                     /* the word before was "and", "while" or the like */
    char plain[CHAIN_MAX_CRITERIA][NAME_BYTES + 1]; /* names by key_plain */
} scorer;

static bool word_in(span w, const char *const *words) {
    for (; *words; words++)
        if (strlen(*words) == (size_t)(w.end - w.s) && span_begins(w, *words)) return true;
    return false;
}

/* Words that may stand between a name and its score. */
static bool is_filler(span w) {
    static const char *const WORDS[] = {"score",    "scores",   "scored",  "rating", "rated", "gets",   "got",
                                        "receives", "received", "earns",   "is",     "a",     "an",     "of",
                                        "the",      "at",       "with",    "and",    "vs",    "versus", "points",
                                        "while",    "but",      "whereas", "has",    NULL};
    return word_in(w, WORDS);
}

/* Words that join a response to the one before. */
static bool is_joint(span w) {
    static const char *const WORDS[] = {"and", "while", "but", "whereas", "vs", "versus", NULL};
    return word_in(w, WORDS);
}

/* Words that may follow a score; before others the number counts something else ("3 examples"). */
static bool may_follow_score(span w) {
    static const char *const WORDS[] = {"because",  "for",   "since", "as", "out", "points",
                                        "response", "given", "due",   "x",  NULL};
    return w.s == w.end || is_joint(w) || word_in(w, WORDS)
           || (w.end - w.s > 1 && (*w.s == 'R' || *w.s == 'r') && is_digit(w.s[1]));
}

static span word_at(const char *s, const char *end) {
    span w = {s, s};
    while (w.end < end && w.end - s < 24 && is_alnum(*w.end)) w.end++;
    return w;
}

/* Is there a number behind s with only punctuation and fillers before it, or an end of line or colon? For a criterion a
 * response will do too; n_response 0: it will not. */
static bool follow_ok(const char *s, const char *end, size_t n_response) {
    size_t place;
    const char *after;
    for (int words = 0; s < end; s++) {
        if (is_digit(*s) || in_set(*s, "\n:=|")) return true;
        if (!is_alnum(*s)) {
            if (*s == '(' || *s == '[') { /* "(35%)" or "(R1)" after the name */
                for (int n = 0; n < NAME_BYTES && s + 1 < end && !in_set(*s, ")]\n"); n++) s++;
            }
            continue;
        }
        if (n_response && response_mention(s, end, n_response, &place, &after)) return true;
        span w = word_at(s, end);
        if (!is_filler(w) || ++words > 5) return false;
        s = w.end - 1;
    }
    return true;
}

static void assign(scorer *z, int criterion, int response, double v) {
    double *slot = &z->c->criteria[criterion].scores[response];
    if (isnan(*slot) && v >= 0.0 && v <= 10.0) *slot = v; /* the first number stands */
}

/* a x b at *s (brackets allowed): the score is the factor that is no weight. Moves *s behind it. */
static bool product_read(const char **s, const char *end, double *score) {
    double v[2];
    bool weight[2];
    const char *p = *s;
    for (int i = 0; i < 2; i++) {
        while (p < end && in_set(*p, " (")) p++;
        const char *from = p;
        if (!number_read(&p, end, &v[i])) return false;
        if (p + 2 < end && memcmp(p, "/10", 3) == 0) p += 3;
        weight[i] = p < end && *p == '%';
        p += weight[i];
        weight[i] = weight[i] || (v[i] <= 1.0 && memchr(from, '.', (size_t)(p - from)));
        while (p < end && in_set(*p, " )")) p++;
        if (i == 0 && (p == end || !in_set(*p++, "xX*"))) return false;
    }
    if (!weight[0] && !weight[1]) weight[v[0] > 10.0 ? 0 : 1] = true;
    if (weight[0] == weight[1]) return false;
    *score = weight[0] ? v[1] : v[0];
    *s = p;
    return true;
}

/* "Response 1: 4 x 0.35 + 6 x 0.30 ...": one product per criterion, in their order. Returns behind the line then, else
 * s. */
static const char *read_products(scorer *z, const char *s) {
    double v[CHAIN_MAX_CRITERIA];
    size_t n = 0, place;
    const char *p = s, *after;
    for (; p < z->text.end && *p != '\n'; p++) {
        if (p > s && !is_alnum(p[-1]) && response_mention(p, z->text.end, z->n_response, &place, &after)) break;
        if (!is_digit(*p) || is_alnum(p[-1]) || p[-1] == '.') continue;
        const char *q = p;
        double score;
        if (!product_read(&q, z->text.end, &score)) continue;
        if (n < CHAIN_MAX_CRITERIA) v[n] = score;
        n++;
        p = q - 1;
    }
    if (n < 2 || n != z->c->n_criterion) return s;
    for (size_t i = 0; i < n; i++) assign(z, (int)i, z->response, v[i]);
    z->open = false;
    return p;
}

/* "8 vs 5", "| 8 | 5 |": as many numbers as responses behind a criterion's name. */
static void read_row(scorer *z, const char *s) {
    double v[64];
    size_t n = 0, words = 0;
    for (const char *end = z->text.end; s < end && n <= z->n_response && n < 64;) {
        double x;
        const char *p = s;
        if (number_read(&p, end, &x)) {
            if (p + 2 < end && memcmp(p, "/10", 3) == 0) p += 3;
            s = p;
            if (s < end && is_alnum(*s)) break;
            if (!(s < end && *s == '%') && x <= 10.0) v[n++] = x;
        } else if (is_alnum(*s)) {
            span w = word_at(s, end);
            if (!is_filler(w) || ++words > 8) break;
            s = w.end;
        } else if (*s == '\n') {
            break;
        } else {
            s++;
        }
    }
    for (size_t i = 0; n == z->n_response && i < n; i++) assign(z, z->criterion, (int)i, v[i]);
}

/* The criterion that the label at s names: equal, or one begins with the other; -1: none, -2: a total. *after: behind
 * it. */
static int criterion_at(const scorer *z, const char *s, const char **after) {
    const char *end = z->text.end, *p = s;
    while (p < end && p - s < NAME_BYTES && !in_set(*p, ":(|=\n,;") && !is_digit(*p)
           && !(*p == '-' && p > s && (is_blank(p[-1]) || (p + 1 < end && is_blank(p[1])))))
        p++;
    char label[NAME_BYTES + 1];
    size_t n = key_plain((span){s, p}, label, sizeof label);
    if (rubric_is_total((span){s, p})) {
        *after = p;
        return -2;
    }
    *after = p;
    for (size_t i = 0; i < z->c->n_criterion; i++)
        if (n && strcmp(z->plain[i], label) == 0) return (int)i;
    while (n > 4) { /* "Depth scores": fillers behind the name */
        span last = {p, p};
        while (last.s > s && !is_alnum(last.s[-1])) last.s--;
        last.end = last.s;
        while (last.s > s && is_alnum(last.s[-1])) last.s--;
        if (last.s == s || !is_filler(last)) break;
        p = last.s;
        n = key_plain((span){s, p}, label, sizeof label);
        for (size_t i = 0; i < z->c->n_criterion; i++)
            if (strcmp(z->plain[i], label) == 0) return (int)i;
    }
    for (size_t i = 0; n >= 4 && i < z->c->n_criterion; i++) {
        size_t m = strlen(z->plain[i]);
        if (m >= 4 && strncmp(z->plain[i], label, m < n ? m : n) == 0) return (int)i;
    }
    return -1;
}

static const char *take_response(scorer *z, size_t place, const char *after) {
    if (!z->decided) z->decided = z->by_response = true;
    z->response = (int)place;
    if (z->by_response) z->criterion = -1;
    z->open = z->criterion >= 0;
    z->direct = true;
    return read_products(z, after);
}

static const char *take_criterion(scorer *z, int criterion, const char *after) {
    z->decided = true;
    z->criterion = criterion >= 0 ? criterion : -1;
    if (!z->by_response) {
        z->response = -1;
        if (criterion >= 0) read_row(z, after);
    }
    z->open = z->criterion >= 0 && z->response >= 0;
    z->direct = true;
    return after;
}

/* A number at p: the score of the open pair, or nothing. Returns behind it. */
static const char *take_number(scorer *z, const char *p) {
    const char *end = z->text.end, *q = p;
    double v, score;
    if (product_read(&q, end, &score)) {
        v = score;
    } else {
        q = p;
        if (!number_read(&q, end, &v)) return p + 1;
    }
    const char *next = skip_spaces(q, end);
    bool of_ten = span_begins((span){next, end}, "/10") || span_begins((span){next, end}, "/ 10")
                  || span_begins((span){next, end}, "out of 10");
    if (of_ten) q = next + 3;
    bool percent = next < end && *next == '%', range = q + 1 < end && *q == '-' && is_digit(q[1]);
    if (range) {
        q++;
        number_read(&q, end, &score);
    }
    bool counts = of_ten || (z->direct && may_follow_score(word_at(next, end)));
    if (z->open && counts && !percent && !range && v >= 0.0 && v <= 10.0) {
        assign(z, z->criterion, z->response, v);
        z->open = false;
    }
    return q;
}

/* A word or number at p. begins: only marks stand between it and the last punctuation. */
static const char *take_word(scorer *z, const char *p, bool begins) {
    const char *end = z->text.end, *after;
    size_t place;
    if (response_mention(p, end, z->n_response, &place, &after)) {
        const char *next = skip_spaces(after, end);
        if (next < end && *next == '|') { /* a table's heading, unless its scores follow */
            next = skip_spaces(next + 1, end);
            if (next == end || !is_digit(*next)) return after;
        }
        bool number =
            next < end
            && (is_digit(*next) || ((*next == ':' || *next == '-' || *next == '=') && follow_ok(next + 1, end, 0)));
        if (((begins || z->joint) && follow_ok(after, end, 0)) || number
            || (z->open && z->direct && follow_ok(after, end, 0)))
            return take_response(z, place, after);
        return after;
    }
    if (is_digit(*p)) return take_number(z, p);
    if (begins) {
        int k = criterion_at(z, p, &after);
        if (k == -2 || (k >= 0 && follow_ok(after, end, z->n_response))) return take_criterion(z, k, after);
    }
    span w = word_at(p, end);
    while (w.end < end && is_alnum(*w.end)) w.end++;
    if (span_begins(w, "scor") || span_begins(w, "rating"))
        z->direct = true;
    else if (!is_filler(w))
        z->direct = false;
    z->joint = is_joint(w);
    return w.end;
}

pgr_status rubric_scores(span text, size_t n_response, arena *a, chain *c, pgr_error *err) {
    const char *b = span_find(text, "scoring breakdown");
    scorer *z = arena_alloc(a, sizeof *z);
    if (!z) return fail_mem(err);
    *z = (scorer){.c = c,
                  .n_response = n_response,
                  .text = {b ? b + strlen("scoring breakdown") : text.s, text.end},
                  .criterion = -1,
                  .response = -1};
    for (size_t i = 0; i < c->n_criterion; i++)
        key_plain((span){c->criteria[i].name, c->criteria[i].name + strlen(c->criteria[i].name)}, z->plain[i],
                  sizeof z->plain[i]);

    bool begins = true;
    for (const char *p = z->text.s; p < z->text.end;) {
        if (begins && (p == z->text.s || p[-1] == '\n')) p = rubric_skip_marker(p, z->text.end);
        if (p == z->text.end) break;
        if (!is_alnum(*p)) {
            begins = in_set(*p, "\n;,.:(|+-&") || (begins && in_set(*p, " \t*#>["));
            p++;
            continue;
        }
        p = take_word(z, p, begins);
        begins = p > z->text.s && !is_alnum(p[-1]) && in_set(p[-1], "\n;,.:(|+-&");
    }
    return PGR_OK;
}
