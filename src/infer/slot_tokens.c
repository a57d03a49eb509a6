/* slot_tokens.c - see slot_tokens.h. */
#include "infer/slot_tokens.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

static pgr_status encode(const slot_texts *x, const char *text, size_t n, int flags, ids *out, pgr_error *err) {
    PGR_TRY(tok_encode(x->tok, text ? text : "", n, flags, out, err));
    return out->failed ? fail_mem(err) : PGR_OK;
}

/* U+FDD0, some U+FDD1, U+FDD0, characters that no text has any business to hold: so many that no text holds it. */
static pgr_status find_mark(const infer_message *messages, size_t n, buf *mark, pgr_error *err) {
    for (size_t k = 1;; k++) {
        bool found = false;
        buf_clear(mark);
        buf_puts(mark, "\xEF\xB7\x90");
        for (size_t i = 0; i < k; i++) buf_puts(mark, "\xEF\xB7\x91");
        buf_puts(mark, "\xEF\xB7\x90");
        if (mark->failed) return fail_mem(err);
        for (size_t i = 0; i < n && !found; i++)
            found = messages[i].n && memmem(messages[i].text, messages[i].n, mark->data, mark->n);
        if (!found) return PGR_OK;
    }
}

/* A copy of the messages with the mark where the slots are. */
static pgr_status mark_slots(const infer_message *messages, size_t n, const infer_slot *slots, size_t n_slot,
                             const buf *mark, chat_message *out, buf *texts, pgr_error *err) {
    for (size_t i = 0, s = 0; i < n; i++) {
        size_t from = 0;
        for (; s < n_slot && slots[s].message == i; s++) {
            buf_add(&texts[i], messages[i].text + from, slots[s].at - from);
            buf_add(&texts[i], mark->data, mark->n);
            from = slots[s].at;
        }
        if (messages[i].n > from) buf_add(&texts[i], messages[i].text + from, messages[i].n - from);
        if (texts[i].failed) return fail_mem(err);
        out[i] = (chat_message){messages[i].role, texts[i].data ? texts[i].data : "", texts[i].n};
    }
    return PGR_OK;
}

static pgr_status render_cut(const slot_texts *x, const infer_message *messages, size_t n, const infer_slot *slots,
                             size_t n_slot, ids *out, size_t *cuts, pgr_error *err) {
    chat_message *list = mem_array(n + 1, sizeof *list);
    buf *texts = mem_zero(n + 1, sizeof *texts), mark = {0};
    pgr_status s = list && texts ? find_mark(messages, n, &mark, err) : fail_mem(err);
    if (s == PGR_OK) s = mark_slots(messages, n, slots, n_slot, &mark, list, texts, err);
    if (s == PGR_OK) s = chat_render_cut(x->chat, x->tok, list, n, true, mark.data, out, cuts, n_slot, err);
    for (size_t i = 0; texts && i < n; i++) buf_free(&texts[i]);
    buf_free(&mark);
    mem_free(texts);
    mem_free(list);
    return s;
}

static pgr_status encode_cut(const slot_texts *x, const char *text, int flags, const infer_slot *slots, size_t n_slot,
                             ids *out, size_t *cuts, pgr_error *err) {
    for (size_t i = 0, from = 0; i < n_slot; i++) {
        if (i == 0 || slots[i].at > from) PGR_TRY(encode(x, text + from, slots[i].at - from, flags, out, err));
        if (flags & TOK_BOS && i == 0) out->n -= tok_after(x->tok) < out->n ? tok_after(x->tok) : out->n;
        flags &= ~TOK_BOS;
        cuts[i] = out->n;
        from = slots[i].at;
    }
    return PGR_OK;
}

static pgr_status check_slot(const infer_slot *s, size_t i, const char *text, size_t n, pgr_error *err) {
    if (s->at > n || (s->at < n && ((unsigned char)text[s->at] & 0xC0) == 0x80))
        return fail(err, PGR_E_ARG, "slot %zu stands at byte %zu of %zu of its text, expected a character's border",
                    i + 1, s->at, n);
    if (s->n_choice < 2)
        return fail(err, PGR_E_ARG, "slot %zu has %zu choices, expected at least 2", i + 1, s->n_choice);
    return PGR_OK;
}

static pgr_status check_slots(const infer_message *messages, size_t n, const infer_slot *slots, size_t n_slot,
                              pgr_error *err) {
    for (size_t i = 0; i < n_slot; i++) {
        const infer_slot *s = &slots[i], *before = i ? &slots[i - 1] : NULL;
        if (s->message >= n)
            return fail(err, PGR_E_ARG, "slot %zu stands in message %zu of %zu", i + 1, s->message + 1, n);
        if (before && (s->message < before->message || (s->message == before->message && s->at < before->at)))
            return fail(err, PGR_E_ARG, "slot %zu stands before slot %zu, expected the order of the prompt", i + 1, i);
        PGR_TRY(check_slot(s, i, messages[s->message].text, messages[s->message].n, err));
    }
    return PGR_OK;
}

/* Do the tokens of choices a and b begin alike as far as the shorter one goes? */
static bool one_begins_other(const infer_slot_tokens *t, size_t a, size_t b) {
    size_t from_a = a ? t->end[a - 1] : 0, from_b = b ? t->end[b - 1] : 0;
    size_t n_a = t->end[a] - from_a, n_b = t->end[b] - from_b, n = n_a < n_b ? n_a : n_b;
    return memcmp(t->choices.v + from_a, t->choices.v + from_b, n * sizeof *t->choices.v) == 0;
}

static pgr_status add_choices(const slot_texts *x, const infer_slot *s, size_t i, infer_slot_tokens *t,
                              pgr_error *err) {
    t->first[i] = t->n_choice;
    for (size_t c = 0; c < s->n_choice; c++) {
        size_t before = t->choices.n;
        PGR_TRY(encode(x, s->choices[c], strlen(s->choices[c]), 0, &t->choices, err));
        if (t->choices.n == before) return fail(err, PGR_E_ARG, "slot %zu: choice %zu is empty", i + 1, c + 1);
        t->single = t->single && t->choices.n == before + 1;
        t->end[t->n_choice++] = t->choices.n;
        for (size_t k = t->first[i]; k + 1 < t->n_choice; k++)
            if (one_begins_other(t, k, t->n_choice - 1))
                return fail(err, PGR_E_ARG,
                            "slot %zu: the tokens of '%.40s' and '%.40s' begin alike, expected choices "
                            "that differ before one of them ends",
                            i + 1, s->choices[k - t->first[i]], s->choices[c]);
    }
    t->first[i + 1] = t->n_choice;
    return PGR_OK;
}

/* The tokens before each slot become the rows of logits. */
static pgr_status settle_rows(infer_slot_tokens *t, pgr_error *err) {
    for (size_t i = 0; i < t->n_slot; i++) {
        if (t->rows[i] == 0) return fail(err, PGR_E_ARG, "slot %zu stands before the prompt's first token", i + 1);
        t->rows[i]--;
    }
    t->tokens.n = t->rows[t->n_slot - 1] + 1;
    return PGR_OK;
}

/* All but the tokens of the prompt. */
static pgr_status make_slots(const slot_texts *x, const infer_slot *slots, size_t n_slot, infer_slot_tokens *t,
                             pgr_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < n_slot; i++) n += slots[i].n_choice;
    t->n_slot = n_slot;
    t->single = true;
    t->rows = mem_zero(n_slot, sizeof *t->rows);
    t->end = mem_zero(n + 1, sizeof *t->end);
    t->first = mem_zero(n_slot + 1, sizeof *t->first);
    if (!t->rows || !t->end || !t->first) return fail_mem(err);
    for (size_t i = 0; i < n_slot; i++) PGR_TRY(add_choices(x, &slots[i], i, t, err));
    return PGR_OK;
}

pgr_status slot_tokens_fill(const slot_texts *x, const infer_request *r, infer_slot_tokens *t, pgr_error *err) {
    if (r->n_slot == 0 || r->n_sample || (!r->messages && !r->text))
        return fail(err, PGR_E_ARG,
                    "a prompt with %zu slots and %zu samples, expected messages or a text with slots "
                    "and no samples",
                    r->n_slot, r->n_sample);
    const infer_message whole = {"text", r->text, r->n_text};
    PGR_TRY(check_slots(r->messages ? r->messages : &whole, r->messages ? r->n_message : 1, r->slots, r->n_slot, err));
    PGR_TRY(make_slots(x, r->slots, r->n_slot, t, err));
    if (r->messages)
        PGR_TRY(render_cut(x, r->messages, r->n_message, r->slots, r->n_slot, &t->tokens, t->rows, err));
    else
        PGR_TRY(encode_cut(x, r->text, r->text_flags, r->slots, r->n_slot, &t->tokens, t->rows, err));
    return settle_rows(t, err);
}

/* ---- what is read there ---- */

pgr_status reading_settle(infer_reading *r, size_t slot, pgr_error *err) {
    double max = -INFINITY, sum = 0;
    for (size_t c = 0; c < r->n_choice; c++) max = fmax(max, r->logprobs[c]);
    for (size_t c = 0; c < r->n_choice; c++) sum += exp(r->logprobs[c] - max);
    double all = max + log(sum);
    r->mass = exp(all);
    for (size_t c = 0; c < r->n_choice; c++) r->logprobs[c] -= all;
    if (isfinite(r->mass) && r->mass > 0) return PGR_OK;
    return fail(err, PGR_E_FORMAT, "slot %zu: the model gives none of the choices any probability", slot + 1);
}
