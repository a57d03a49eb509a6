/* writer.c - appends tokens to a chain and keeps grammar, trigger, stop texts and the token limit. */
#include "infer/writer.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "infer/gbnf.h"
#include "infer/place.h"

/* Memory of a chain is taken when it begins, so that its tokens need none. Longer ones than these grow by doubling. */
enum { MOST_RESERVED = 4096, BYTES_PER_TOKEN = 16 };

/* ---- appending ---- */

/* Room for n tokens in all. */
static pgr_status reserve_tokens(const writer *w, size_t n, pgr_error *err) {
    infer_chain *c = w->chain;
    if (n <= c->cap_logprobs) return PGR_OK;
    if (w->r->n_top > 0) {
        if (n > SIZE_MAX / sizeof *c->tops / w->r->n_top) return fail_mem(err);
        infer_top *tops = mem_resize(c->tops, n * w->r->n_top * sizeof *tops);
        if (!tops) return fail_mem(err);
        c->tops = tops;
    }
    float *logprobs = mem_resize(c->logprobs, n * sizeof *logprobs);
    if (!logprobs) return fail_mem(err);
    c->logprobs = logprobs;
    uint8_t *flags = mem_resize(c->forced, n);
    if (!flags) return fail_mem(err);
    c->forced = flags;
    c->cap_logprobs = n;
    ids_reserve(&c->tokens, n - c->tokens.n);
    return c->tokens.failed ? fail_mem(err) : PGR_OK;
}

static pgr_status push_token(writer *w, int32_t token, float logprob, bool forced, pgr_error *err) {
    infer_chain *c = w->chain;
    if (c->tokens.n == c->cap_logprobs) PGR_TRY(reserve_tokens(w, 2 * c->cap_logprobs + 1, err));
    ids_push(&c->tokens, token);
    if (c->tokens.failed) return fail_mem(err);
    c->logprobs[c->tokens.n - 1] = logprob;
    c->forced[c->tokens.n - 1] = forced;
    for (size_t i = 0; i < w->r->n_top; i++) c->tops[(c->tokens.n - 1) * w->r->n_top + i].token = -1;
    return PGR_OK;
}

void writer_note_top(writer *w, size_t token, const sampler_row *row) {
    int32_t tokens[INFER_TOP];
    float logprobs[INFER_TOP];
    const int32_t *tell = w->r->tell;
    size_t n_top = w->r->n_top, n = tell ? n_top : sampler_top(row, n_top, tokens, logprobs);
    infer_top *top = w->chain->tops + token * n_top;
    for (size_t i = 0; i < n; i++)
        top[i] = tell ? (infer_top){tell[i], sampler_logprob(row, tell[i])} : (infer_top){tokens[i], logprobs[i]};
}

static void finish(writer *w, pgr_finish why) {
    w->chain->finish = why;
    w->done = true;
}

static pgr_status push_text(writer *w, const char *text, size_t n, pgr_error *err) {
    if (n == 0) return PGR_OK;
    ids list = {0};
    pgr_status s = tok_encode(w->shared->tok, text, n, 0, &list, err);
    for (size_t i = 0; s == PGR_OK && i < list.n; i++) s = push_token(w, list.v[i], NAN, true, err);
    ids_free(&list);
    return s;
}

/* A forced token that the grammar names, marks around its n bytes. One that ends the turn ends the chain. */
static pgr_status push_named(writer *w, const char *marked, size_t n, pgr_error *err) {
    char name[256];
    if (n - 2 >= sizeof name) return fail(err, PGR_E_LIMIT, "a grammar's token has a name of %zu bytes", n - 2);
    memcpy(name, marked + 1, n - 2);
    name[n - 2] = '\0';
    int32_t id = tok_find(w->shared->tok, name);
    PGR_ASSERT(id >= 0); /* grammar_check_tokens */
    if (tok_ends(w->shared->tok, id)) {
        finish(w, PGR_FINISH_STOP);
        return PGR_OK;
    }
    PGR_TRY(push_token(w, id, NAN, true, err));
    if (tok_type_of(w->shared->tok, id) != TOK_CONTROL) buf_add(&w->chain->text, name, n - 2);
    return PGR_OK;
}

/* Text with named tokens in it: pieces of text between them. */
static pgr_status push_marked(writer *w, const char *s, size_t n, pgr_error *err) {
    while (n > 0 && !w->done) {
        const char *mark = memchr(s, GBNF_TOKEN_MARK, n);
        size_t plain = mark ? (size_t)(mark - s) : n;
        buf_add(&w->chain->text, s, plain);
        PGR_TRY(push_text(w, s, plain, err));
        if (!mark) break;
        const char *end = memchr(mark + 1, GBNF_TOKEN_MARK, n - plain - 1);
        PGR_ASSERT(end); /* what is forced goes to the token's end: there is no choice inside of it */
        PGR_TRY(push_named(w, mark, (size_t)(end + 1 - mark), err));
        n -= (size_t)(end + 1 - s);
        s = end + 1;
    }
    return PGR_OK;
}

/* Tokens for text that is in the chain already, from byte `from` on. */
static pgr_status push_forced_text(writer *w, size_t from, pgr_error *err) {
    buf *text = &w->chain->text;
    if (text->failed) return fail_mem(err);
    if (text->n == from) return PGR_OK;
    if (!memchr(text->data + from, GBNF_TOKEN_MARK, text->n - from))
        return push_text(w, text->data + from, text->n - from, err);

    buf marked = {0};
    buf_add(&marked, text->data + from, text->n - from);
    text->n = from;
    text->data[from] = '\0';
    pgr_status s = marked.failed ? fail_mem(err) : push_marked(w, marked.data, marked.n, err);
    buf_free(&marked);
    return s == PGR_OK && text->failed ? fail_mem(err) : s;
}

static size_t tokens_left(const writer *w) {
    return w->chain->tokens.n < w->r->max_tokens ? w->r->max_tokens - w->chain->tokens.n : 0;
}

/* ---- what the program writes ---- */

static pgr_status write_hole(writer *w, const char *hole, pgr_error *err) {
    buf *text = &w->chain->text, filled = {0};
    pgr_status s = w->r->fill(w->r->fill_ctx, hole, text->data ? text->data : "", text->n, &filled, err);
    if (s == PGR_OK && filled.failed) s = fail_mem(err);
    if (s == PGR_OK) buf_add(text, filled.data, filled.n);
    buf_free(&filled);
    return s;
}

/* ---- places ---- */

static bool wants_places(const writer *w) {
    return w->r->want_places && w->state >= 0 && grammar_has_places(w->grammar);
}

static void add_place(writer *w, place *p) {
    place **end = &w->places;
    while (*end) end = &(*end)->next;
    *end = p;
}

/* A place that the program has written whole, up to byte `end`. */
static pgr_status add_certain(writer *w, size_t end, pgr_error *err) {
    place *p;
    PGR_TRY(place_certain(w->chain->text.data + w->inside_from, end - w->inside_from, w->inside_from, &p, err));
    w->inside = 0;
    if (p) add_place(w, p);
    return PGR_OK;
}

/* Forced text from byte `from` on, where the grammar was in the state: places that begin in it. Text with a named token
 * in it is passed over: its bytes are not yet those of the chain. */
static pgr_status note_forced(writer *w, int state, size_t from, pgr_error *err) {
    const buf *text = &w->chain->text;
    if (!wants_places(w) || (text->n > from && memchr(text->data + from, GBNF_TOKEN_MARK, text->n - from)))
        return PGR_OK;
    for (size_t i = from; i < text->n; i++) {
        uint8_t byte = (uint8_t)text->data[i];
        uint32_t begins = grammar_place(w->grammar, state), of = grammar_place_of(w->grammar, state, byte);
        if (w->inside && of != w->inside) PGR_TRY(add_certain(w, i, err));
        if (begins && of == begins && !w->inside) {
            w->inside = of;
            w->inside_from = i;
        }
        PGR_TRY(grammar_step(w->grammar, state, byte, &state, err));
    }
    return w->inside && !grammar_inside(w->grammar, state, w->inside) ? add_certain(w, text->n, err) : PGR_OK;
}

/* The place, if one begins where the next token is picked. */
static pgr_status open_place(writer *w, const float *logits, pgr_error *err) {
    place *p = NULL, *last = w->places;
    bool waits = false;
    if (!wants_places(w)) return PGR_OK;
    while (last && last->next) last = last->next;
    if (last) PGR_TRY(place_waits(last, w->chain, &waits, err));
    if (w->inside)
        PGR_TRY(
            place_open_inside(w->shared, w->grammar, w->state, w->inside, w->inside_from, w->chain, logits, &p, err));
    else if (!waits)
        PGR_TRY(place_open(w->shared, w->grammar, w->state, w->chain, logits, &p, err));
    w->inside = 0;
    if (p) add_place(w, p);
    return PGR_OK;
}

pgr_status writer_settle(writer *w, pgr_error *err) {
    while (w->places && place_wanted(w->places) == 0) {
        place *p = w->places;
        PGR_TRY(place_settle(p, w->chain, err));
        w->places = p->next;
        place_free(p);
    }
    return PGR_OK;
}

void writer_free(writer *w) {
    while (w->places) {
        place *p = w->places;
        w->places = p->next;
        place_free(p);
    }
}

/* ---- forced text ---- */

/* All that has no choice: literal text, holes; up to a choice or the end. */
static pgr_status write_forced(writer *w, pgr_error *err) {
    buf *text = &w->chain->text;
    size_t from = text->n, run_from = from;
    grammar *g = w->grammar;
    int run_state = w->state;
    while (!grammar_only_end(g, w->state)) {
        size_t before = text->n;
        const char *hole = grammar_hole(g, w->state);
        if (hole) {
            PGR_TRY(write_hole(w, hole, err));
            PGR_TRY(grammar_after_hole(g, w->state, &w->state, err));
            run_from = text->n;
            run_state = w->state;
        } else {
            int state = w->state;
            PGR_TRY(grammar_forced(g, &w->state, text, err));
            PGR_TRY(note_forced(w, state, before, err));
            if (text->n == before && !text->failed) break;
        }
        if (text->failed) return fail_mem(err);
    }
    PGR_TRY(grammar_leave_space(g, run_state, text, run_from, &w->state, err));
    PGR_TRY(push_forced_text(w, from, err));
    if (grammar_only_end(g, w->state)) finish(w, PGR_FINISH_STOP);
    return PGR_OK;
}

static pgr_status start_grammar(writer *w, pgr_error *err) {
    w->state = grammar_start(w->grammar);
    return write_forced(w, err);
}

static pgr_status write_trigger(writer *w, pgr_error *err) {
    size_t from = w->chain->text.n;
    buf_puts(&w->chain->text, "\n");
    buf_puts(&w->chain->text, w->r->trigger);
    PGR_TRY(push_forced_text(w, from, err));
    return start_grammar(w, err);
}

/* ---- begin ---- */

pgr_status writer_check(const infer_request *r, const grammar *g, const tokenizer *t, pgr_error *err) {
    PGR_TRY(sampler_check(&r->sampling, err));
    if (r->n_sample == 0 || r->max_tokens == 0)
        return fail(err, PGR_E_ARG, "n_sample is %zu and max_tokens %zu, expected at least 1", r->n_sample,
                    r->max_tokens);
    size_t most = r->tell ? INFER_TELL : INFER_TOP;
    if (r->n_top > most) return fail(err, PGR_E_ARG, "n_top is %zu, expected at most %zu", r->n_top, most);
    for (size_t i = 0; r->tell && i < r->n_top; i++)
        if (r->tell[i] < 0 || (size_t)r->tell[i] >= tok_count(t))
            return fail(err, PGR_E_ARG, "tell[%zu] is %d, expected a token, 0 to %zu", i, (int)r->tell[i],
                        tok_count(t) - 1);
    for (size_t i = 0; i < r->n_stop; i++)
        if (!r->stop[i][0]) return fail(err, PGR_E_ARG, "stop text %zu is empty", i + 1);
    if (!g) return PGR_OK;
    PGR_TRY(grammar_check_tokens(g, t, err));
    if (grammar_has_holes(g) && !r->fill)
        return fail(err, PGR_E_ARG, "grammar: holes (@name) are for frames, expected a grammar without them");
    if (r->trigger && !*r->trigger) return fail(err, PGR_E_ARG, "the text that the grammar starts after is empty");

    size_t least = grammar_distance(g, grammar_start(g));
    if (r->trigger) least += strlen(r->trigger) + 1;
    if (r->max_tokens < least)
        return fail(err, PGR_E_LIMIT, "max_tokens is %zu, the grammar may need up to %zu to end", r->max_tokens, least);
    return PGR_OK;
}

/* ---- choosing ---- */

pgr_status writer_mask(writer_shared *sh, grammar *g, int state, size_t limit, pgr_error *err) {
    const uint64_t *mask;
    PGR_TRY(grammar_mask(g, sh->trie, state, limit, &mask, NULL, err));
    bool may_end = grammar_accepts(g, state);
    for (size_t i = 0; i < sh->n_mask; i++) sh->mask[i] = mask[i] | (may_end ? sh->end_mask[i] : 0);
    return PGR_OK;
}

/* The mask of tokens that may come: NULL for all. limit: see grammar_mask. */
static pgr_status allowed(writer *w, size_t limit, const uint64_t **out, pgr_error *err) {
    writer_shared *sh = w->shared;
    *out = NULL;
    if (w->state >= 0) {
        PGR_TRY(writer_mask(sh, w->grammar, w->state, limit, err));
        *out = sh->mask;
    } else if (w->r->ignore_eos) {
        for (size_t i = 0; i < sh->n_mask; i++) sh->mask[i] = ~sh->end_mask[i];
        *out = sh->mask;
    }
    return PGR_OK;
}

static pgr_status pick(writer *w, const sampler_row *row, size_t limit, int32_t *token, float *logprob,
                       pgr_error *err) {
    const uint64_t *mask;
    PGR_TRY(allowed(w, limit, &mask, err));
    double u = rng_uniform(w->r->seed, w->r->id, w->r->first_sample + (uint32_t)w->chain->sample,
                           (uint32_t)w->chain->tokens.n);
    return sampler_pick(w->shared->sampler, w->shared->k, row, mask, &w->r->sampling, u, token, logprob, err);
}

/* Under a grammar the chain must be able to end within the token limit: where the picked token leads too far, it is
 * picked again among those that do not. *next: the grammar's state after it. */
static pgr_status pick_in_grammar(writer *w, const sampler_row *row, int32_t *token, float *logprob, int *next,
                                  pgr_error *err) {
    grammar *g = w->grammar;
    size_t left = tokens_left(w), closing = grammar_distance(g, w->state);
    size_t limit = left > closing ? left - 1 : (closing > 0 ? closing - 1 : 0);

    PGR_TRY(pick(w, row, SIZE_MAX, token, logprob, err));
    *next = w->state;
    if (tok_ends(w->shared->tok, *token)) return PGR_OK;
    PGR_TRY(grammar_walk_token(g, w->shared->tok, w->state, *token, next, err));
    PGR_ASSERT(*next != GRAMMAR_DEAD);
    if (grammar_distance(g, *next) <= limit) return PGR_OK;

    w->chain->cut = true;
    PGR_TRY(pick(w, row, limit, token, logprob, err));
    if (tok_ends(w->shared->tok, *token)) return PGR_OK;
    return grammar_walk_token(g, w->shared->tok, w->state, *token, next, err);
}

/* ---- after a token ---- */

/* Text from `from` on is new: does it complete a stop text? */
static bool stopped(writer *w, size_t from) {
    buf *text = &w->chain->text;
    size_t best = SIZE_MAX, which = 0;
    for (size_t i = 0; i < w->r->n_stop; i++) {
        size_t n = strlen(w->r->stop[i]), start = from + 1 > n ? from + 1 - n : 0;
        const char *hit = text->n > start ? memmem(text->data + start, text->n - start, w->r->stop[i], n) : NULL;
        if (hit && (size_t)(hit - text->data) < best) best = (size_t)(hit - text->data), which = i;
    }
    if (best == SIZE_MAX) return false;
    w->chain->stopped_by = which + 1;
    text->n = best;
    text->data[best] = '\0';
    return true;
}

/* The end of the trigger in text whose bytes from `from` on are new, 0: it is not there. */
static size_t trigger_end(const writer *w, size_t from) {
    const buf *text = &w->chain->text;
    size_t n = strlen(w->r->trigger), start = from + 1 > n ? from + 1 - n : 0;
    const char *hit = text->n > start ? memmem(text->data + start, text->n - start, w->r->trigger, n) : NULL;
    return hit ? (size_t)(hit - text->data) + n : 0;
}

/* The token just taken completed the trigger at byte `end`: what follows it in the same token must be legal, else the
 * token is replaced by its bytes up to the trigger's end. */
static pgr_status enter_grammar(writer *w, size_t from, size_t end, int32_t token, float logprob, pgr_error *err) {
    buf *text = &w->chain->text;
    int state;
    PGR_TRY(grammar_walk(w->grammar, grammar_start(w->grammar), text->data + end, text->n - end, &state, err));
    if (state != GRAMMAR_DEAD) {
        PGR_TRY(push_token(w, token, logprob, false, err));
        w->state = state;
        return write_forced(w, err);
    }
    text->n = end;
    text->data[end] = '\0';
    PGR_TRY(push_forced_text(w, from, err));
    return start_grammar(w, err);
}

static pgr_status take_free(writer *w, int32_t token, float logprob, size_t from, pgr_error *err) {
    if (w->state == WRITER_WAITS) {
        size_t end = trigger_end(w, from);
        if (end) return enter_grammar(w, from, end, token, logprob, err);
    }
    return push_token(w, token, logprob, false, err);
}

/* Where the trigger has not come, as much as the grammar needs, and at least a quarter of the limit, is kept for it. */
static bool must_trigger(const writer *w) {
    size_t least = grammar_distance(w->grammar, grammar_start(w->grammar)) + strlen(w->r->trigger) + 1;
    size_t keep = least > w->r->max_tokens / 4 ? least : w->r->max_tokens / 4;
    return tokens_left(w) <= keep;
}

/* A token picked and taken, and what is forced behind it. */
static pgr_status advance(writer *w, const sampler_row *row, pgr_error *err) {
    int32_t token;
    float logprob;
    int next = w->state;
    PGR_TRY(open_place(w, row->logits, err));
    if (w->state >= 0)
        PGR_TRY(pick_in_grammar(w, row, &token, &logprob, &next, err));
    else
        PGR_TRY(pick(w, row, SIZE_MAX, &token, &logprob, err));
    if (tok_ends(w->shared->tok, token)) {
        if (w->state == WRITER_WAITS) return write_trigger(w, err); /* the turn ended without its object: ask for it */
        w->chain->end = token;
        w->chain->end_logprob = logprob;
        finish(w, PGR_FINISH_STOP);
        return PGR_OK;
    }

    size_t n, from = w->chain->text.n;
    const char *bytes = tok_bytes(w->shared->tok, token, &n);
    if (tok_type_of(w->shared->tok, token) != TOK_CONTROL) buf_add(&w->chain->text, bytes, n);
    if (w->chain->text.failed) return fail_mem(err);
    if (w->state < 0) return take_free(w, token, logprob, from, err);
    w->state = next;
    PGR_TRY(push_token(w, token, logprob, false, err));
    return write_forced(w, err);
}

/* Text from byte `from` on is new: stop texts hold in it whoever wrote it. */
static void end_where_due(writer *w, size_t from) {
    if (stopped(w, from)) finish(w, PGR_FINISH_STOP);
    if (!w->done && tokens_left(w) == 0) finish(w, PGR_FINISH_LENGTH);
}

pgr_status writer_begin(writer *w, writer_shared *shared, const infer_request *r, grammar *g, infer_chain *chain,
                        pgr_error *err) {
    *w = (writer){.r = r, .grammar = g, .shared = shared, .chain = chain};
    size_t most = r->max_tokens < MOST_RESERVED ? r->max_tokens : MOST_RESERVED;
    PGR_TRY(reserve_tokens(w, most, err));
    buf_reserve(&chain->text, most * BYTES_PER_TOKEN);
    if (chain->text.failed) return fail_mem(err);
    w->state = !g ? WRITER_FREE : WRITER_WAITS;
    if (!g || r->trigger) return PGR_OK;
    PGR_TRY(start_grammar(w, err));
    end_where_due(w, 0);
    return writer_settle(w, err);
}

pgr_status writer_next(writer *w, const sampler_row *row, pgr_error *err) {
    PGR_ASSERT(!w->done);
    size_t from = w->chain->text.n, at = w->chain->tokens.n;
    if (w->state == WRITER_WAITS && must_trigger(w)) {
        w->chain->cut = true;
        PGR_TRY(write_trigger(w, err));
    } else {
        PGR_TRY(advance(w, row, err));
    }
    if (w->r->n_top > 0 && w->chain->tokens.n > at && !w->chain->forced[at]) writer_note_top(w, at, row);
    end_where_due(w, from);
    return writer_settle(w, err);
}
