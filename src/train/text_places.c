/* text_places.c - finds the tokens of a chain that are its scores. The parser says which numbers these are: it is told
 * that every number of the text was drawn from a distribution, whose mean is the place where the number stands. In the
 * full form criteria stand inside a string, where it cannot: their scores are looked for by name. */
#include "train/text.h"

#include <math.h>
#include <string.h>

#include "judge/span.h"

typedef struct finder {
    const text *t;
    const char *s; /* (n) */
    size_t n;
    const int32_t *tokens; /* (n_token) */
    size_t n_token, from;
    size_t *begins; /* (n_token - from + 1) byte of the chain where each of its tokens begins */
    size_t order;
    arena *a;
    text_places *out;
    bool whole; /* all places so far were found */
} finder;

/* ---- bytes of tokens ---- */

/* False: tokens and text do not go together byte by byte. A blank before the first word is SentencePiece's. */
static bool place_tokens(finder *f) {
    size_t at = 0, n;
    for (size_t i = f->from; i < f->n_token; i++) {
        const char *bytes = tok_bytes(f->t->m->tok, f->tokens[i], &n);
        if (i == f->from && n > 0 && bytes[0] == ' ' && f->s[0] != ' ') n--;
        if (i + 1 == f->n_token && at == f->n) n = 0; /* the end of the turn */
        f->begins[i - f->from] = at;
        at += n;
    }
    return at == f->n;
}

/* The number at byte `at`, which is `written`, weighs in the margin. What tokens behind its first one say of it (a
 * fraction, the 0 of 10) is taken as written: a fraction for all numbers, the 0 for the 1 before it. */
static void add_place(finder *f, size_t at, double written, double weight) {
    size_t i = 0, last = f->n_token - f->from;
    while (i + 1 < last && f->begins[i + 1] <= at) i++;
    bool bare = f->begins[i] == at, spaced = f->begins[i] + 1 == at && f->s[at - 1] == ' ';
    const int32_t *allowed = spaced ? f->t->numbers.spaced : f->t->numbers.bare;
    size_t k = 0;
    while (k < CHAIN_NUMBERS && (allowed[k] < 0 || allowed[k] != f->tokens[f->from + i])) k++;
    f->whole = f->whole && (spaced || bare) && k < CHAIN_NUMBERS;
    if (!f->whole) return;
    text_places *p = f->out;
    double rest = written - (double)(k + 1);
    p->at[p->n] = (chain_at){f->from + i, allowed};
    p->weight[p->n] = weight;
    for (size_t j = 0; j < CHAIN_NUMBERS; j++) p->value[p->n][j] = (double)(j + 1) + (rest < 1 || j == k ? rest : 0);
    p->n++;
}

static double sign_of(const finder *f, size_t place) {
    return TEXT_ORDERS[f->order][place] == TEXT_CHOSEN ? 1 : -1;
}

/* ---- which numbers ---- */

static pgr_status read_with_places(finder *f, chain *out, pgr_error *err) {
    chain_place *list = arena_array(f->a, f->n + 1, sizeof *list);
    size_t n = 0;
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < f->n; i++)
        if (is_digit(f->s[i]) && (i == 0 || (!is_digit(f->s[i - 1]) && f->s[i - 1] != '.')))
            list[n++] = (chain_place){i, (double)i};
    chain_text text = {f->s, f->n, list, n};
    return chain_read(f->t->form, &text, TEXT_RESPONSES, f->a, out, err);
}

static bool number_at(const finder *f, double at, double is) {
    double v;
    if (!(at >= 0 && at < (double)f->n) || at != floor(at)) return false;
    const char *s = f->s + (size_t)at;
    return number_read(&s, f->s + f->n, &v) && v == is;
}

/* "- NAME: Response 1: 7, Response 2: 3" behind the heading of the scores. */
static bool find_in_rationale(const finder *f, const chain_criterion *k, double at[TEXT_RESPONSES]) {
    span all = {f->s, f->s + f->n};
    const char *heading = span_find(all, "scoring breakdown");
    const char *name = heading ? span_find((span){heading, all.end}, k->name) : NULL;
    if (!name) return false;
    const char *s = name + strlen(k->name);
    for (size_t r = 0; r < TEXT_RESPONSES; r++) {
        char label[32];
        snprintf(label, sizeof label, "Response %zu: ", r + 1);
        const char *found = span_find((span){s, all.end}, label);
        if (!found || found - s > 40) return false;
        s = found + strlen(label);
        at[r] = (double)(s - f->s);
    }
    return true;
}

static bool scores_known(const chain *c) {
    bool known = c->n_criterion > 0;
    for (size_t i = 0; i < c->n_criterion; i++)
        for (size_t r = 0; r < TEXT_RESPONSES; r++)
            known = known && isfinite(c->criteria[i].weight) && isfinite(c->criteria[i].scores[r]);
    return known;
}

static void by_criteria(finder *f, const chain *c) {
    f->whole = scores_known(c);
    for (size_t i = 0; i < c->n_criterion && f->whole; i++) {
        const chain_criterion *k = &c->criteria[i];
        double at[TEXT_RESPONSES];
        for (size_t r = 0; r < TEXT_RESPONSES; r++) at[r] = k->expected[r];
        if (f->t->form == CHAIN_FULL && !find_in_rationale(f, k, at)) f->whole = false;
        for (size_t r = 0; r < TEXT_RESPONSES && f->whole; r++) {
            f->whole = number_at(f, at[r], k->scores[r]);
            if (f->whole) add_place(f, (size_t)at[r], k->scores[r], sign_of(f, r) * k->weight / 100);
        }
    }
}

static void by_totals(finder *f, const chain *c) {
    f->whole = true;
    f->out->n = 0;
    for (size_t r = 0; r < TEXT_RESPONSES && f->whole; r++) {
        f->whole = number_at(f, c->expected[r], c->declared[r]);
        if (f->whole) add_place(f, (size_t)c->expected[r], c->declared[r], sign_of(f, r));
    }
}

/* Places stand in the order of the text already, unless a chain scores its criteria in another order. */
static bool in_order(const text_places *p) {
    for (size_t i = 1; i < p->n; i++)
        if (p->at[i - 1].token >= p->at[i].token) return false;
    return true;
}

pgr_status text_places_find(const text *t, const char *text, size_t n, const int32_t *tokens, size_t n_token,
                            size_t from, size_t order, arena *a, text_places *out, pgr_error *err) {
    size_t most = CHAIN_MAX_CRITERIA * TEXT_RESPONSES;
    finder f = {t,     text, n,   tokens, n_token, from, arena_array(a, n_token - from + 1, sizeof *f.begins),
                order, a,    out, true};
    chain c;
    out->n = 0;
    out->at = arena_array(a, most, sizeof *out->at);
    out->value = arena_array(a, most, sizeof *out->value);
    out->weight = arena_array(a, most, sizeof *out->weight);
    if (!f.begins || !out->at || !out->value || !out->weight) return fail_mem(err);
    if (n == 0 || n_token == from || !place_tokens(&f)) return PGR_OK;
    PGR_TRY(read_with_places(&f, &c, err));
    if (!c.parsed) return PGR_OK;
    by_criteria(&f, &c);
    if (!f.whole) by_totals(&f, &c);
    if (!f.whole || !in_order(out)) out->n = 0;
    return PGR_OK;
}
