/* rubric_writer.c - weights by Newton's method, two to four criteria of whole weights, scores by level, then text. */
#include "train/rubric_writer.h"

#include <math.h>
#include <string.h>

#include "base/logistic.h"
#include "base/mem.h"
#include "base/text.h"
#include "judge/aggregate.h"
#include "judge/slots.h"

enum { LEAST = 2, MOST = 4, UNITS = 20 /* of 5 percent */, MIDDLE = 5, QUOTE_BYTES = 56, PERSONA_FACTS = 3 };
static const double FLOOR = 0.25; /* a criterion beyond the second weighs at least this much of the user's heaviest */

/* clang-format off */
static const char *const NAMES[N_TASTE] = {
#define NAME(f, more, less) [2 * FACT_##f] = more, [2 * FACT_##f + 1] = less
    NAME(LENGTH, "Thorough length", "Brevity"),        NAME(LISTS, "Lists", "Flowing prose"),
    NAME(HEADINGS, "Headings", "Plain layout"),        NAME(QUESTIONS, "Questions to the reader", "No questions back"),
    NAME(CAUTION, "Careful hedging", "Definite claims"), NAME(PERSONAL, "Personal voice", "Impersonal voice"),
    NAME(NUMBERS, "Figures", "Words in place of figures"), NAME(WARMTH, "Warmth", "Cool tone"),
    NAME(CODE, "Code", "Text without code"),           NAME(FORMAL, "Formal language", "Casual language"),
    NAME(ECHO, "Staying on the question", "Freedom from the question"), NAME(EXAMPLES, "Examples", "Abstraction"),
#undef NAME
};
/* clang-format on */

const char *rubric_name(int word) {
    return NAMES[word];
}

/* ---- what the history says ---- */

pgr_status rubric_weights(const preference_pair *history, const size_t *pairs, size_t n, double w[N_FACT],
                          pgr_error *err) {
    double precision[N_FACT];
    double *levels = mem_array(n + 1, N_FACT * sizeof *levels);
    if (!levels) return fail_mem(err);
    for (int f = 0; f < N_FACT; f++) precision[f] = 1;
    for (size_t i = 0; i < n; i++) slots_pair_levels(&history[pairs[i]], levels + i * N_FACT);
    pgr_status s = logistic_fit(levels, NULL, n, N_FACT, precision, w, err);
    mem_free(levels);
    return s;
}

/* ---- criteria ---- */

typedef struct criterion {
    int fact;
    bool less;     /* less of the fact is liked */
    size_t weight; /* percent */
    size_t agree;  /* shown pairs that say so */
    size_t best;   /* the shown pair that says it loudest, by its place in the list */
} criterion;

typedef struct rubric {
    const rubric_task *t;
    criterion list[MOST]; /* (n) the heaviest first */
    size_t n;
    double *levels; /* (n_response, N_FACT) against the other responses */
    arena arena;
} rubric;

static void look_for_evidence(rubric *r, criterion *c) {
    double loudest = -1;
    for (size_t i = 0; i < r->t->n_history; i++) {
        double levels[N_FACT];
        slots_pair_levels(&r->t->request->history[r->t->history[i]], levels);
        double level = c->less ? -levels[c->fact] : levels[c->fact];
        c->agree += level > 0;
        if (level > loudest) {
            loudest = level;
            c->best = i;
        }
    }
}

/* Weights are shares of UNITS, at least one each: the largest remainders are rounded up. */
static void share_units(rubric *r, const double *size) {
    double sum = 0, rest[MOST];
    size_t given = 0;
    for (size_t i = 0; i < r->n; i++) sum += size[i];
    for (size_t i = 0; i < r->n; i++) {
        double exact = 1 + (double)(UNITS - r->n) * size[i] / sum;
        r->list[i].weight = (size_t)exact;
        rest[i] = exact - floor(exact);
        given += r->list[i].weight;
    }
    for (; given < UNITS; given++) {
        size_t most = 0;
        for (size_t i = 1; i < r->n; i++)
            if (rest[i] > rest[most]) most = i;
        r->list[most].weight++;
        rest[most] = -1;
    }
    for (size_t i = 0; i < r->n; i++) r->list[i].weight *= 100 / UNITS;
}

/* The responses are not alike in it. */
static bool tells_apart(const rubric *r, int fact) {
    bool differ = false;
    for (size_t i = 1; i < r->t->request->n_response; i++)
        differ = differ || r->levels[i * N_FACT + (size_t)fact] != r->levels[fact];
    return differ;
}

/* The fact that weighs most, more than `least`, of those not taken; -1: none does. */
static int heaviest(const rubric *r, const double w[N_FACT], const bool taken[N_FACT], double least, bool at_hand) {
    int best = -1;
    for (int f = 0; f < N_FACT; f++)
        if (!taken[f] && fabs(w[f]) > least && (best < 0 || fabs(w[f]) > fabs(w[best]))
            && (!at_hand || tells_apart(r, f)))
            best = f;
    return best;
}

/* What tells the responses at hand apart comes before what does not: criteria are those of this situation. */
static void choose_criteria(rubric *r, const double w[N_FACT]) {
    bool taken[N_FACT] = {false};
    double size[MOST], top = 0;
    size_t n = 0;
    for (int f = 0; f < N_FACT; f++) top = fmax(top, fabs(w[f]));
    for (int f; n < MOST && (f = heaviest(r, w, taken, fmax(1e-9, FLOOR * top), true)) >= 0; n++) taken[f] = true;
    for (int f; n < LEAST && (f = heaviest(r, w, taken, 1e-9, false)) >= 0; n++) taken[f] = true;
    bool left[N_FACT];
    for (int f = 0; f < N_FACT; f++) left[f] = !taken[f];
    for (int f; (f = heaviest(r, w, left, 1e-9, false)) >= 0; left[f] = true) {
        size[r->n] = fabs(w[f]);
        r->list[r->n] = (criterion){.fact = f, .less = w[f] < 0};
        look_for_evidence(r, &r->list[r->n++]);
    }
    if (r->n >= LEAST) share_units(r, size);
}

/* 2 to 8: a level more or less is a point. */
static size_t score_of(const rubric *r, const criterion *c, size_t place) {
    double level = r->levels[r->t->order[place] * N_FACT + (size_t)c->fact];
    return (size_t)(MIDDLE + (c->less ? -level : level));
}

/* ---- words ---- */

/* The beginning of a text on one line, without what the forms could take for their own. */
static void put_quote(const char *text, const char *mark, buf *out) {
    size_t from = out->n, n = strlen(text);
    bool blank = false;
    buf_puts(out, mark);
    for (size_t i = 0, len = 0; i < n && out->n - from < QUOTE_BYTES; i += len) {
        uint32_t code = 0;
        len = utf8_next(text + i, n - i, &code);
        if (len == 0) len = 1;
        bool kept = code > ' ' && code != 0xFFFD && !(code < 0x80 && strchr("\"\\<>[]{}*#`|_", (int)code));
        if (kept && blank && out->n > from + strlen(mark)) buf_putc(out, ' ');
        if (kept) buf_add(out, text + i, len);
        blank = !kept;
    }
    if (out->n - from >= QUOTE_BYTES) buf_puts(out, "...");
    buf_puts(out, mark);
}

static const char *fact_name(rubric *r, const criterion *c) {
    return arena_printf(&r->arena, "%s %s", fact_word(c->fact), c->less ? "less" : "more");
}

/* "the user prefers longer, warmer answers." */
static pgr_status put_persona(rubric *r, const char *user, buf *out, pgr_error *err) {
    const char *names[PERSONA_FACTS], *sentence;
    size_t n = r->n < PERSONA_FACTS ? r->n : PERSONA_FACTS;
    for (size_t i = 0; i < n; i++)
        if (!(names[i] = fact_name(r, &r->list[i]))) return fail_mem(err);
    PGR_TRY(persona_sentence(names, n, &r->arena, &sentence, err));
    buf_printf(out, "%s prefers%s", user, sentence + strlen("Prefers"));
    return PGR_OK;
}

static const preference_pair *shown_pair(const rubric *r, size_t i) {
    return &r->t->request->history[r->t->history[i]];
}

/* ---- the compact form ---- */

static void put_compact_line(const rubric *r, const criterion *c, buf *out) {
    buf_printf(out, "- %s %s | %zu%%", fact_word(c->fact), c->less ? "less" : "more", c->weight);
    for (size_t k = 0; k < r->t->request->n_response; k++)
        buf_printf(out, "%s%c %zu", k ? ", " : " | ", (char)('A' + k), score_of(r, c, k));
    buf_putc(out, '\n');
}

static pgr_status write_compact(rubric *r, buf *out, pgr_error *err) {
    size_t from = out->n;
    buf_puts(out, "Persona: ");
    PGR_TRY(put_persona(r, "The user", out, err));
    buf_putc(out, '\n');
    for (size_t i = 0; i < r->n; i++) put_compact_line(r, &r->list[i], out);
    if (out->failed) return fail_mem(err);
    size_t n = out->n - from;
    char *so_far = arena_strndup(&r->arena, out->data + from, n);
    if (!so_far) return fail_mem(err);
    buf_puts(out, "Total: ");
    return chain_totals(so_far, n, r->t->request->n_response, out, err);
}

/* ---- the full form ---- */

static void put_reasons(const rubric *r, buf *out) {
    for (size_t i = 0; i < r->n; i++) {
        const criterion *c = &r->list[i];
        const preference_pair *p = shown_pair(r, c->best);
        buf_printf(out, "\n%zu. %s: in choice %zu the user took ", i + 1, rubric_name(2 * c->fact + c->less),
                   c->best + 1);
        put_quote(p->chosen, "\"", out);
        buf_puts(out, " and left ");
        put_quote(p->rejected, "\"", out);
        buf_printf(out, ", where %s is %s.", fact_word(c->fact), c->less ? "less" : "more");
    }
}

static size_t total_of(const rubric *r, size_t place) { /* hundredths */
    size_t sum = 0;
    for (size_t i = 0; i < r->n; i++) sum += r->list[i].weight * score_of(r, &r->list[i], place);
    return sum;
}

/* The line breaks are the two characters that a JSON text has for them. */
static void put_rationale(const rubric *r, buf *out) {
    size_t n = r->t->request->n_response;
    buf_puts(out, "A. Evaluation Criteria & Weights");
    for (size_t i = 0; i < r->n; i++) {
        const criterion *c = &r->list[i];
        buf_printf(out, "\\n%zu. %s (%zu%%): %zu of %zu earlier choices speak for it", i + 1,
                   rubric_name(2 * c->fact + c->less), c->weight, c->agree, r->t->n_history);
    }
    buf_puts(out, "\\nB. Scoring Breakdown");
    for (size_t i = 0; i < r->n; i++) {
        buf_printf(out, "\\n- %s: ", rubric_name(2 * r->list[i].fact + r->list[i].less));
        for (size_t k = 0; k < n; k++)
            buf_printf(out, "%sResponse %zu: %zu", k ? ", " : "", k + 1, score_of(r, &r->list[i], k));
    }
    for (size_t k = 0; k < n; k++) {
        buf_printf(out, "\\nWeighted sum of Response %zu: ", k + 1);
        for (size_t i = 0; i < r->n; i++)
            buf_printf(out, "%s0.%02zu x %zu", i ? " + " : "", r->list[i].weight, score_of(r, &r->list[i], k));
        buf_printf(out, " = %zu.%02zu", total_of(r, k) / 100, total_of(r, k) % 100);
    }
}

static pgr_status write_full(rubric *r, buf *out, pgr_error *err) {
    const pgr_request *q = r->t->request;
    buf_puts(out, "PART 1: Chain-of-Thought Analysis\nAsked ");
    put_quote(q->n_message ? q->messages[q->n_message - 1].text : "", "\"", out);
    buf_putc(out, ',');
    PGR_TRY(put_persona(r, " the user", out, err));
    put_reasons(r, out);
    buf_puts(out, "\n\nPART 2: Final Scoring and JSON Output\n<JSON_START>\n{\"rationale\": \"");
    put_rationale(r, out);
    buf_puts(out, "\",\n\"better_response\": {");
    for (size_t k = 0; k < q->n_response; k++)
        buf_printf(out, "%s\"response_%zu\": %zu.%02zu", k ? ", " : "", k + 1, total_of(r, k) / 100,
                   total_of(r, k) % 100);
    buf_puts(out, "}}\n<JSON_END>");
    return PGR_OK;
}

pgr_status rubric_write(const rubric_task *t, buf *out, bool *said, pgr_error *err) {
    rubric r = {.t = t};
    double w[N_FACT];
    r.levels = arena_array(&r.arena, t->request->n_response, N_FACT * sizeof *r.levels);
    pgr_status s = r.levels ? slots_response_levels(t->request, r.levels, err) : fail_mem(err);
    if (s == PGR_OK) s = rubric_weights(t->request->history, t->history, t->n_history, w, err);
    if (s == PGR_OK) choose_criteria(&r, w);
    *said = s == PGR_OK && r.n >= LEAST;
    if (*said) {
        s = t->form == CHAIN_FULL ? write_full(&r, out, err) : write_compact(&r, out, err);
        if (s == PGR_OK && out->failed) s = fail_mem(err);
    }
    arena_free(&r.arena);
    return s;
}
