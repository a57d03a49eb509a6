/* text_data.c - pairs become examples and examples prompts, by the functions that judging uses. */
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "train/text.h"

enum { STREAM_SHOWN = 90 }; /* of random numbers */

const size_t TEXT_ORDERS[2][TEXT_RESPONSES] = {{0, 1}, {1, 0}};

/* ---- examples ---- */

static bool shares_text(const preference_pair *p, const preference_pair *q) {
    return strcmp(psi_query(p), psi_query(q)) == 0 || strcmp(p->chosen, q->chosen) == 0
           || strcmp(p->rejected, q->rejected) == 0 || strcmp(p->chosen, q->rejected) == 0
           || strcmp(p->rejected, q->chosen) == 0;
}

/* The train pairs of a user that may stand beside the pair. */
static pgr_status list_known(const psi_set *s, const psi_user *u, const preference_pair *asked, bool flip, arena *a,
                             preference_pair **out, size_t *n, pgr_error *err) {
    preference_pair *list = arena_array(a, u->n + 1, sizeof *list);
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < u->n; i++) {
        preference_pair p = s->pairs[u->first + i];
        if (shares_text(&p, asked)) continue;
        if (flip) p.chosen = s->pairs[u->first + i].rejected, p.rejected = s->pairs[u->first + i].chosen;
        list[(*n)++] = p;
    }
    *out = list;
    return PGR_OK;
}

/* `want` of n, rising. */
static void draw_shown(size_t n, size_t want, uint64_t draw, text_example *x) {
    rng r = {draw, STREAM_SHOWN, 0};
    for (size_t i = 0, left = want; i < n && left > 0; i++)
        if (rng_below(&r, n - i) < left) {
            x->shown[x->n_shown++] = i;
            left--;
        }
}

pgr_status text_example_make(const text *t, const psi_set *s, size_t pair, text_whose whose, uint64_t draw, arena *a,
                             text_example *out, pgr_error *err) {
    const preference_pair *p = &s->pairs[pair];
    size_t user = s->user[pair], n = 0;
    preference_pair *history = NULL;
    if (whose == TEXT_STRANGER) user = (user + 1) % s->n_user;
    PGR_TRY(list_known(s, &s->users[user], p, whose == TEXT_FLIPPED, a, &history, &n, err));
    *out = (text_example){.responses = {p->chosen, p->rejected}, .shown = arena_array(a, n + 1, sizeof *out->shown)};
    if (!out->shown) return fail_mem(err);
    draw_shown(n, t->want_history < n ? t->want_history : n, draw, out);
    out->request = (pgr_request){.origin = "train",
                                 .id = "",
                                 .user_id = "",
                                 .demographics = "",
                                 .history = history,
                                 .n_history = n,
                                 .messages = p->context,
                                 .n_message = p->n_context,
                                 .n_response = TEXT_RESPONSES,
                                 .seed = -1,
                                 .chosen = TEXT_CHOSEN};
    return PGR_OK;
}

/* ---- prompts ---- */

pgr_status text_prompt(const text *t, const text_example *x, size_t order, arena *a, frame_prompt *out,
                       pgr_error *err) {
    size_t room = t->o->train.pass_tokens, context = engine_about(t->e)->n_ctx;
    pgr_request r = x->request;
    r.responses = x->responses;
    if (context < room) room = context;
    frame_view view = {.history = x->shown,
                       .n_history = x->n_shown,
                       .order = TEXT_ORDERS[order],
                       .budget = room > t->max_tokens ? room - t->max_tokens : 0};
    return frame_render(t->frame, t->e, &r, &view, a, out, err);
}

pgr_status text_prompt_tokens(const text *t, const frame_prompt *p, ids *out, pgr_error *err) {
    chat_message messages[2];
    for (size_t i = 0; i < p->n_message; i++)
        messages[i] = (chat_message){p->messages[i].role, p->messages[i].text, p->messages[i].n};
    return chat_render(&t->m->chat, t->m->tok, messages, p->n_message, true, out, err);
}

/* ---- tokens ---- */

static void find_numbers(const tokenizer *tok, text_numbers *out) {
    for (size_t k = 0; k < CHAIN_NUMBERS; k++) out->bare[k] = out->spaced[k] = -1;
    for (size_t id = 0; id < tok_count(tok); id++) {
        size_t n;
        const char *s = tok_bytes(tok, (int32_t)id, &n);
        tok_type type = tok_type_of(tok, (int32_t)id);
        bool spaced = n > 1 && s[0] == ' ';
        if (type == TOK_CONTROL || type == TOK_UNUSED || n - spaced < 1 || n - spaced > 2) continue;
        const char *d = s + spaced;
        int k = n - spaced == 1 ? d[0] - '0' : d[0] == '1' && d[1] == '0' ? 10 : 0;
        int32_t *to = spaced ? out->spaced : out->bare;
        if (k >= 1 && k <= CHAIN_NUMBERS && to[k - 1] < 0) to[k - 1] = (int32_t)id;
    }
}

/* What the template writes behind an answer. */
static pgr_status find_end(const text *t, int32_t *out, pgr_error *err) {
    const chat_message talk[] = {{"user", "1", 1}, {"assistant", "2", 1}};
    ids tokens = {0};
    pgr_status s = chat_render(&t->m->chat, t->m->tok, talk, 2, false, &tokens, err);
    *out = tok_eos(t->m->tok);
    for (size_t i = tokens.n; s == PGR_OK && i-- > 0;)
        if (tok_ends(t->m->tok, tokens.v[i])) {
            *out = tokens.v[i];
            break;
        }
    ids_free(&tokens);
    return s;
}

pgr_status text_find_tokens(text *t, pgr_error *err) {
    find_numbers(t->m->tok, &t->numbers);
    return find_end(t, &t->end, err);
}
