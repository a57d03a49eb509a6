/* place.c - one place taken apart: a tree of tokens, of which only the open ends are kept. */
#include "infer/place.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { MAX_PATH = 16, MAX_TEXT = 40 };
enum { MAX_BRANCH = 128 };        /* of a place; 7.25 of two decimals has 111 */
static const double LEAST = 1e-5; /* a branch less probable than this is not looked into */

typedef struct branch {
    double p;
    int state;  /* of the grammar, after the tokens */
    bool begun; /* a byte of the place was there */
    uint8_t n_token, n_text;
    int32_t tokens[MAX_PATH];
    char text[MAX_TEXT]; /* of the place so far */
} branch;

typedef struct branch_list {
    branch *v;
    size_t n, cap;
} branch_list;

typedef struct leaf {
    char text[MAX_TEXT];
    size_t n;
    double p;
} leaf;

typedef struct place_tree {
    grammar *g;
    int state; /* where the chain's token is picked */
    uint32_t number;
    size_t from; /* bytes of the chain's text at that pick; where the place began, if that was before */
    bool begun;
    branch_list level, below; /* wanted: level.v[taken .. level.n) */
    size_t taken, n_branch;   /* of this level; of all */
    leaf *leaves;
    size_t n_leaf, cap_leaf;
    double rest; /* probability that was not looked into */
} place_tree;

typedef enum outcome { GOES_ON, ENDED, MISSED, TOO_LONG } outcome;

/* ---- lists ---- */

static pgr_status add_branch(branch_list *list, const branch *b, pgr_error *err) {
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 8;
        branch *v = mem_resize(list->v, cap * sizeof *v);
        if (!v) return fail_mem(err);
        list->v = v;
        list->cap = cap;
    }
    list->v[list->n++] = *b;
    return PGR_OK;
}

/* One text may be reached through several rows of tokens. */
static pgr_status add_leaf(place_tree *t, const branch *b, pgr_error *err) {
    for (size_t i = t->n_leaf; i-- > 0;)
        if (t->leaves[i].n == b->n_text && memcmp(t->leaves[i].text, b->text, b->n_text) == 0) {
            t->leaves[i].p += b->p;
            return PGR_OK;
        }
    if (t->n_leaf == t->cap_leaf) {
        size_t cap = t->cap_leaf ? 2 * t->cap_leaf : 16;
        leaf *v = mem_resize(t->leaves, cap * sizeof *v);
        if (!v) return fail_mem(err);
        t->leaves = v;
        t->cap_leaf = cap;
    }
    leaf *l = &t->leaves[t->n_leaf++];
    *l = (leaf){.n = b->n_text, .p = b->p};
    memcpy(l->text, b->text, b->n_text);
    return PGR_OK;
}

/* All of it counts for the text so far. */
static pgr_status leave_whole(place_tree *t, const branch *b, pgr_error *err) {
    t->rest += b->p;
    return add_leaf(t, b, err);
}

/* ---- one branch further ---- */

static pgr_status take_byte(const place_tree *t, branch *b, uint8_t byte, outcome *out, pgr_error *err) {
    bool inside = grammar_place_of(t->g, b->state, byte) == t->number;
    *out = GOES_ON;
    if (!inside && b->begun) {
        *out = ENDED;
        return PGR_OK;
    }
    if (inside && b->n_text == MAX_TEXT) {
        *out = TOO_LONG;
        return PGR_OK;
    }
    PGR_TRY(grammar_step(t->g, b->state, byte, &b->state, err));
    if (inside) {
        b->begun = true;
        b->text[b->n_text++] = (char)byte;
    } else if (grammar_place(t->g, b->state) != t->number) {
        *out = MISSED;
    }
    return PGR_OK;
}

static pgr_status take_bytes(const place_tree *t, branch *b, const char *s, size_t n, outcome *out, pgr_error *err) {
    *out = GOES_ON;
    for (size_t i = 0; i < n && *out == GOES_ON; i++) PGR_TRY(take_byte(t, b, (uint8_t)s[i], out, err));
    if (*out == GOES_ON && b->begun && !grammar_inside(t->g, b->state, t->number)) *out = ENDED;
    return PGR_OK;
}

static bool push_token(branch *b, int32_t token) {
    if (b->n_token == MAX_PATH) return false;
    b->tokens[b->n_token++] = token;
    return true;
}

/* What the program writes behind the branch's tokens, as writer.c does. */
static pgr_status take_forced(const place_tree *t, const writer_shared *sh, branch *b, outcome *out, pgr_error *err) {
    buf text = {0};
    ids tokens = {0};
    int state = b->state;
    pgr_status s = grammar_forced(t->g, &state, &text, err);
    if (s == PGR_OK && text.n) s = grammar_leave_space(t->g, b->state, &text, 0, &state, err);
    if (s == PGR_OK) s = take_bytes(t, b, text.data, text.n, out, err);
    if (s == PGR_OK && *out == GOES_ON && text.n) s = tok_encode(sh->tok, text.data, text.n, 0, &tokens, err);
    for (size_t i = 0; s == PGR_OK && i < tokens.n; i++)
        if (!push_token(b, tokens.v[i])) *out = TOO_LONG;
    ids_free(&tokens);
    buf_free(&text);
    return s;
}

static pgr_status take_token(const place_tree *t, const writer_shared *sh, branch *b, int32_t token, outcome *out,
                             pgr_error *err) {
    size_t n;
    const char *bytes = tok_bytes(sh->tok, token, &n);
    *out = b->begun ? ENDED : MISSED;
    if (tok_ends(sh->tok, token)) return PGR_OK;
    int state;
    PGR_TRY(grammar_walk(t->g, b->state, bytes, n, &state, err));
    if (state == GRAMMAR_DEAD || tok_type_of(sh->tok, token) == TOK_CONTROL) return PGR_OK; /* one by its name */
    PGR_TRY(take_bytes(t, b, bytes, n, out, err));
    if (*out == GOES_ON && !push_token(b, token)) *out = TOO_LONG;
    if (*out == GOES_ON) PGR_TRY(take_forced(t, sh, b, out, err));
    return PGR_OK;
}

static pgr_status add_child(place_tree *t, const writer_shared *sh, const branch *from, int32_t token, double p,
                            pgr_error *err) {
    branch b = *from;
    outcome what;
    b.p = p;
    PGR_TRY(take_token(t, sh, &b, token, &what, err));
    if (what == MISSED) return PGR_OK;
    if (what == ENDED) return add_leaf(t, &b, err);
    if (what == TOO_LONG || !(p >= LEAST)) return leave_whole(t, &b, err);
    return add_branch(&t->below, &b, err);
}

/* ---- a row of logits ---- */

static size_t n_word(const writer_shared *sh) {
    return (sh->n_token + 63) / 64;
}

static uint64_t word_of(const writer_shared *sh, size_t w) {
    size_t left = sh->n_token - w * 64;
    return left < 64 ? sh->mask[w] & (((uint64_t)1 << left) - 1) : sh->mask[w];
}

/* log of the sum of exp(logit) over the mask. */
static double log_sum(const writer_shared *sh, const float *logits) {
    double max = -INFINITY, sum = 0.0;
    for (size_t w = 0; w < n_word(sh); w++)
        for (uint64_t bits = word_of(sh, w); bits; bits &= bits - 1)
            max = fmax(max, (double)logits[w * 64 + (size_t)__builtin_ctzll(bits)]);
    for (size_t w = 0; w < n_word(sh); w++)
        for (uint64_t bits = word_of(sh, w); bits; bits &= bits - 1)
            sum += exp((double)logits[w * 64 + (size_t)__builtin_ctzll(bits)] - max);
    return max + log(sum);
}

/* The tokens that the grammar allows behind the branch, each a child. */
static pgr_status expand(place_tree *t, writer_shared *sh, const branch *from, const float *logits, pgr_error *err) {
    PGR_TRY(writer_mask(sh, t->g, from->state, SIZE_MAX, err));
    double all = log_sum(sh, logits);
    if (!isfinite(all)) return fail(err, PGR_E_FORMAT, "the model's logits at a place of the grammar are no numbers");
    for (size_t w = 0; w < n_word(sh); w++)
        for (uint64_t bits = word_of(sh, w); bits; bits &= bits - 1) {
            size_t token = w * 64 + (size_t)__builtin_ctzll(bits);
            PGR_TRY(add_child(t, sh, from, (int32_t)token, from->p * exp((double)logits[token] - all), err));
        }
    return PGR_OK;
}

/* ---- levels ---- */

static int more_probable(const void *a, const void *b) {
    const branch *x = a, *y = b;
    if (x->p != y->p) return x->p > y->p ? -1 : 1;
    size_t n = x->n_token < y->n_token ? x->n_token : y->n_token;
    int order = memcmp(x->tokens, y->tokens, n * sizeof *x->tokens);
    return order ? order : (int)x->n_token - (int)y->n_token;
}

/* What was found below becomes the level, as much of it as may be looked into. */
static pgr_status go_down(place_tree *t, pgr_error *err) {
    branch_list done = t->level;
    t->level = t->below;
    t->below = done;
    t->below.n = t->taken = 0;
    if (t->level.n) qsort(t->level.v, t->level.n, sizeof *t->level.v, more_probable);
    size_t room = MAX_BRANCH - t->n_branch;
    for (size_t i = room; i < t->level.n; i++) PGR_TRY(leave_whole(t, &t->level.v[i], err));
    if (t->level.n > room) t->level.n = room;
    t->n_branch += t->level.n;
    return PGR_OK;
}

size_t place_wanted(const place *p) {
    return p->tree->level.n - p->tree->taken;
}

const int32_t *place_branch(const place *p, size_t i, size_t *n) {
    const branch *b = &p->tree->level.v[p->tree->taken + i];
    *n = b->n_token;
    return b->tokens;
}

pgr_status place_take(place *p, writer_shared *sh, const float *logits, pgr_error *err) {
    place_tree *t = p->tree;
    PGR_ASSERT(t->taken < t->level.n);
    branch from = t->level.v[t->taken++];
    PGR_TRY(expand(t, sh, &from, logits, err));
    return t->taken == t->level.n ? go_down(t, err) : PGR_OK;
}

/* ---- begin and end ---- */

static pgr_status create(place **out, pgr_error *err) {
    place *p = mem_zero(1, sizeof *p);
    if (p) p->tree = mem_zero(1, sizeof *p->tree);
    if (!p || !p->tree) {
        mem_free(p);
        return fail_mem(err);
    }
    *out = p;
    return PGR_OK;
}

void place_free(place *p) {
    if (!p) return;
    mem_free(p->tree->level.v);
    mem_free(p->tree->below.v);
    mem_free(p->tree->leaves);
    mem_free(p->tree);
    mem_free(p);
}

static pgr_status open_at(writer_shared *sh, const place_tree *t, const branch *root, size_t n_before,
                          const float *logits, place **out, pgr_error *err) {
    place *p;
    PGR_TRY(create(&p, err));
    *p->tree = *t;
    p->n_before = n_before;
    pgr_status s = expand(p->tree, sh, root, logits, err);
    if (s == PGR_OK) s = go_down(p->tree, err);
    if (s == PGR_OK)
        *out = p;
    else
        place_free(p);
    return s;
}

pgr_status place_open(writer_shared *sh, grammar *g, int state, const infer_chain *c, const float *logits, place **out,
                      pgr_error *err) {
    uint32_t number = grammar_place(g, state);
    *out = NULL;
    if (!number) { /* a space that was left to the choice */
        int behind;
        PGR_TRY(grammar_step(g, state, ' ', &behind, err));
        number = grammar_place(g, behind);
        if (!number) return PGR_OK;
    }
    place_tree t = {.g = g, .state = state, .number = number, .from = c->text.n};
    return open_at(sh, &t, &(branch){.p = 1.0, .state = state}, c->tokens.n, logits, out, err);
}

pgr_status place_open_inside(writer_shared *sh, grammar *g, int state, uint32_t number, size_t from,
                             const infer_chain *c, const float *logits, place **out, pgr_error *err) {
    place_tree t = {.g = g, .state = state, .number = number, .from = from, .begun = true};
    branch root = {.p = 1.0, .state = state, .begun = true};
    size_t n = c->text.n - from;
    *out = NULL;
    if (n > MAX_TEXT) return PGR_OK;
    memcpy(root.text, c->text.data + from, n);
    root.n_text = (uint8_t)n;
    return open_at(sh, &t, &root, c->tokens.n, logits, out, err);
}

pgr_status place_certain(const char *text, size_t n, size_t from, place **out, pgr_error *err) {
    branch b = {.p = 1.0, .begun = true};
    *out = NULL;
    if (n > MAX_TEXT) return PGR_OK;
    memcpy(b.text, text, n);
    b.n_text = (uint8_t)n;
    PGR_TRY(create(out, err));
    (*out)->tree->from = from;
    (*out)->tree->begun = true;
    pgr_status s = add_leaf((*out)->tree, &b, err);
    if (s == PGR_OK) return PGR_OK;
    place_free(*out);
    *out = NULL;
    return s;
}

/* *at: the byte of the chain's text where the place's own begin. *begun: one is there; *missed: other text is. */
static pgr_status find_begin(const place_tree *t, const infer_chain *c, size_t *at, bool *begun, bool *missed,
                             pgr_error *err) {
    int state = t->state;
    *at = t->from;
    *begun = t->begun;
    *missed = false;
    if (t->begun) return PGR_OK;
    for (; *at < c->text.n && !*missed; ++*at) {
        uint8_t byte = (uint8_t)c->text.data[*at];
        *begun = grammar_place_of(t->g, state, byte) == t->number;
        if (*begun) return PGR_OK;
        PGR_TRY(grammar_step(t->g, state, byte, &state, err));
        *missed = grammar_place(t->g, state) != t->number;
    }
    return PGR_OK;
}

pgr_status place_waits(const place *p, const infer_chain *c, bool *out, pgr_error *err) {
    size_t at;
    bool begun, missed;
    PGR_TRY(find_begin(p->tree, c, &at, &begun, &missed, err));
    *out = !begun && !missed;
    return PGR_OK;
}

/* "7", "7.25", "-3"; NaN: another text. */
static double number_of(const char *s, size_t n) {
    double v = 0.0, scale = 1.0;
    bool minus = n && s[0] == '-', point = false;
    size_t digits = 0;
    for (size_t i = minus; i < n; i++) {
        if (s[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (s[i] < '0' || s[i] > '9') return NAN;
        v = 10.0 * v + (s[i] - '0');
        if (point) scale *= 10.0;
        digits++;
    }
    return digits ? (minus ? -v : v) / scale : NAN;
}

static int by_number(const void *a, const void *b) {
    const infer_choice *x = a, *y = b;
    if (x->number < y->number || (!isnan(x->number) && isnan(y->number))) return -1;
    if (x->number > y->number || (isnan(x->number) && !isnan(y->number))) return 1;
    return strcmp(x->text, y->text);
}

/* The leaves as the chain hands them over. out is to be freed in any case. */
static pgr_status fill(const place_tree *t, infer_place *out, pgr_error *err) {
    double all = 0.0;
    for (size_t i = 0; i < t->n_leaf; i++) all += t->leaves[i].p;
    out->rest = t->rest / all;
    out->choices = mem_array(t->n_leaf, sizeof *out->choices);
    out->texts = mem_array(t->n_leaf, MAX_TEXT + 1);
    if (!out->choices || !out->texts) return fail_mem(err);
    out->n = t->n_leaf;
    for (size_t i = 0; i < t->n_leaf; i++) {
        char *text = out->texts + i * (MAX_TEXT + 1);
        memcpy(text, t->leaves[i].text, t->leaves[i].n);
        text[t->leaves[i].n] = '\0';
        out->choices[i] = (infer_choice){
            .text = text, .number = number_of(text, t->leaves[i].n), .logprob = log(t->leaves[i].p / all)};
    }
    qsort(out->choices, out->n, sizeof *out->choices, by_number);
    return PGR_OK;
}

pgr_status place_settle(place *p, infer_chain *c, pgr_error *err) {
    infer_place found = {0};
    bool begun, missed;
    PGR_TRY(find_begin(p->tree, c, &found.from, &begun, &missed, err));
    if (missed || p->tree->n_leaf == 0) return PGR_OK;
    infer_place *list = mem_resize(c->places, (c->n_place + 1) * sizeof *list);
    if (!list) return fail_mem(err);
    c->places = list;
    pgr_status s = fill(p->tree, &found, err);
    if (s == PGR_OK)
        c->places[c->n_place++] = found;
    else
        infer_place_free(&found);
    return s;
}

void infer_place_free(infer_place *p) {
    mem_free(p->choices);
    mem_free(p->texts);
    *p = (infer_place){0};
}

double infer_place_mean(const infer_place *p) {
    double mean = 0.0;
    for (size_t i = 0; i < p->n; i++)
        if (p->choices[i].logprob > -INFINITY) mean += p->choices[i].number * exp(p->choices[i].logprob);
    return p->n ? mean : NAN;
}
