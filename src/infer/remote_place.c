/* remote_place.c - what a server's log-probabilities say of a grammar's place: the tokens that might have come there,
 * as far as they begin a text that the grammar allows, shared out anew over those. A token that leaves several texts
 * open ("1": 1 or 10?) is followed only where it was the one that came. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "infer/remote.h"

enum { TEXTS = 64, TEXT_BYTES = 24 }; /* of a place, at most: numbers have a few dozen */

typedef struct found {
    char text[TEXT_BYTES];
    size_t n;
    double p;
} found;

typedef struct finder {
    grammar *g;
    const grammar_place_at *place;
    const answer_choice *c;
    found list[TEXTS]; /* (n) */
    size_t n;
    double open,
        unseen; /* probability of what is allowed but not followed to its end, and at most of what is missing */
    bool full;  /* more texts than there is room for */
    pgr_error *err;
} finder;

static void add(finder *f, const char *text, size_t n, double p) {
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].n == n && memcmp(f->list[i].text, text, n) == 0) {
            f->list[i].p += p;
            return;
        }
    if (f->n == TEXTS || n >= TEXT_BYTES) {
        f->full = true;
        return;
    }
    found *x = &f->list[f->n++];
    memcpy(x->text, text, n);
    x->text[n] = '\0';
    x->n = n;
    x->p = p;
}

typedef enum reach { NOT_ALLOWED, TOO_LONG, ENDS, GOES_ON } reach;

/* Where `have` and then text (n) lead from the place's beginning. *all: bytes of both that are the place's. *may_end: a
 * text that goes on may also end there. */
static pgr_status walk(finder *f, const char *have, size_t n_have, const char *text, size_t n, reach *to, size_t *all,
                       bool *may_end) {
    int state = f->place->state, next;
    bool inside = true;
    *all = 0;
    *to = NOT_ALLOWED;
    for (size_t i = 0; i < n_have + n; i++) {
        uint8_t byte = (uint8_t)(i < n_have ? have[i] : text[i - n_have]);
        inside = inside && grammar_place_of(f->g, state, byte) == f->place->place;
        PGR_TRY(grammar_step(f->g, state, byte, &next, f->err));
        if (next == GRAMMAR_DEAD) return PGR_OK;
        state = next;
        *all += inside;
    }
    if (*all == 0) return PGR_OK;
    *to = *all < n_have + n || !grammar_inside(f->g, state, f->place->place) ? ENDS : GOES_ON;
    *may_end = grammar_accepts(f->g, state) || grammar_hole(f->g, state);
    for (int b = 0; b < 256 && !*may_end; b++) {
        PGR_TRY(grammar_step(f->g, state, (uint8_t)b, &next, f->err));
        *may_end = next != GRAMMAR_DEAD && grammar_place_of(f->g, state, (uint8_t)b) != f->place->place;
    }
    return PGR_OK;
}

/* How many tokens that would be allowed behind `have` may be missing in the list: one for each first byte that none of
 * its tokens has, or that may be followed by more. Each is at most as probable as the last one of the list. */
static pgr_status count_missing(finder *f, const answer_token *t, size_t n_before, const char *have, size_t n_have,
                                size_t *out) {
    *out = 0;
    for (int b = 0; b < 256; b++) {
        char first = (char)(unsigned char)b;
        reach to;
        size_t n;
        bool may_end, seen = false;
        PGR_TRY(walk(f, have, n_have, &first, 1, &to, &n, &may_end));
        for (size_t i = 0; i < t->n_top && !seen; i++)
            seen = t->top[i].n > n_before && t->top[i].text[n_before] == first;
        *out += to == GOES_ON || (to == ENDS && !seen);
    }
    return PGR_OK;
}

static bool has_next(const finder *f, size_t k) {
    return k < f->c->n_token && f->c->tokens[k].n_top > 0;
}

/* The probability of all tokens of the list, of those that are allowed, of the last one. */
static pgr_status sum_top(finder *f, const answer_token *t, const char *before, size_t n_before, const char *have,
                          size_t n_have, double *all, double *mass, double *least) {
    *all = *mass = 0;
    *least = 1;
    for (size_t i = 0; i < t->n_top; i++) {
        const answer_top *x = &t->top[i];
        double p = exp(x->logprob);
        reach to = NOT_ALLOWED;
        size_t n;
        bool may_end;
        *all += p;
        *least = p < *least ? p : *least;
        if (x->n > n_before && memcmp(x->text, before, n_before) == 0)
            PGR_TRY(walk(f, have, n_have, x->text + n_before, x->n - n_before, &to, &n, &may_end));
        if (to != NOT_ALLOWED) *mass += p;
    }
    return PGR_OK;
}

/* The tokens that might have come as token k, before which the place has the bytes `have`; `weight`: the probability of
 * these. before: what stands in the token before the place. */
static pgr_status take_top(finder *f, size_t k, const char *before, size_t n_before, const char *have, size_t n_have,
                           double weight) {
    const answer_token *t = &f->c->tokens[k];
    const char *came = f->c->text + t->at;
    double all, mass, least;
    bool followed = false;
    PGR_TRY(sum_top(f, t, before, n_before, have, n_have, &all, &mass, &least));
    if (!(mass > 0)) {
        f->full = true;
        return PGR_OK;
    }
    for (size_t i = 0; i < t->n_top; i++) {
        const answer_top *x = &t->top[i];
        reach to = NOT_ALLOWED;
        size_t n = 0;
        bool may_end = false, is_it = x->n == t->n && memcmp(x->text, came, t->n) == 0;
        char text[TEXT_BYTES];
        if (x->n <= n_before || memcmp(x->text, before, n_before) != 0) continue;
        PGR_TRY(walk(f, have, n_have, x->text + n_before, x->n - n_before, &to, &n, &may_end));
        if (to == NOT_ALLOWED) continue;
        double p = weight * exp(x->logprob) / mass;
        if (n >= TEXT_BYTES) {
            f->full = true;
            return PGR_OK;
        }
        for (size_t b = 0; b < n; b++) text[b] = b < n_have ? have[b] : x->text[n_before + b - n_have];
        if (to == GOES_ON && is_it && !followed && has_next(f, k + 1) && n_have + 1 < TEXT_BYTES) {
            followed = true;
            PGR_TRY(take_top(f, k + 1, "", 0, text, n, p));
            continue;
        }
        if (to == GOES_ON) f->open += p;
        if (to == ENDS || may_end) add(f, text, n, p);
    }
    size_t n_missing;
    PGR_TRY(count_missing(f, t, n_before, have, n_have, &n_missing));
    double tail = all < 1 ? 1 - all : 0, most = least * (double)n_missing < tail ? least * (double)n_missing : tail;
    f->unseen += weight * most / (mass + most);
    return PGR_OK;
}

static int by_number(const void *a, const void *b) {
    const infer_choice *x = a, *y = b;
    if (x->number < y->number) return -1;
    if (x->number > y->number) return 1;
    return strcmp(x->text, y->text);
}

static double number_of(const char *text) {
    char *end;
    if (strspn(text, "+-.0123456789") != strlen(text)) return NAN;
    double v = strtod(text, &end);
    return end > text && !*end ? v : NAN;
}

static pgr_status hand_over(const finder *f, infer_place *out) {
    double sum = 0;
    *out = (infer_place){.from = f->place->at, .n = f->n};
    out->choices = mem_zero(f->n, sizeof *out->choices);
    out->texts = mem_zero(f->n, TEXT_BYTES);
    if (!out->choices || !out->texts) {
        infer_place_free(out);
        return fail_mem(f->err);
    }
    for (size_t i = 0; i < f->n; i++) sum += f->list[i].p;
    for (size_t i = 0; i < f->n; i++) {
        char *text = out->texts + i * TEXT_BYTES;
        memcpy(text, f->list[i].text, f->list[i].n + 1);
        out->choices[i] = (infer_choice){text, number_of(text), log(f->list[i].p / sum)};
    }
    qsort(out->choices, out->n, sizeof *out->choices, by_number);
    out->rest = f->open + f->unseen < 1 ? f->open + f->unseen : 1;
    return PGR_OK;
}

pgr_status remote_place(grammar *g, const grammar_place_at *p, const answer_choice *c, infer_place *out, bool *has,
                        pgr_error *err) {
    finder f = {.g = g, .place = p, .c = c, .err = err};
    size_t k = 0;
    *has = false;
    while (k < c->n_token && c->tokens[k].at + c->tokens[k].n <= p->raw) k++;
    if (!has_next(&f, k)) return PGR_OK;
    size_t before = p->raw - c->tokens[k].at;
    PGR_TRY(take_top(&f, k, c->text + c->tokens[k].at, before, "", 0, 1));
    if (f.full || f.n == 0) return PGR_OK;
    PGR_TRY(hand_over(&f, out));
    *has = true;
    return PGR_OK;
}
