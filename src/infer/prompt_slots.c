/* prompt_slots.c - what is read at a prompt's slots: the log-probabilities of the choices, in the order in which their
 * logits come, and the distributions over them. */
#include <math.h>

#include "base/mem.h"
#include "infer/local.h"
#include "infer/slot_tokens.h"

pgr_status slots_begin(job *j, pgr_error *err) {
    const infer_slot_tokens *t = j->slots;
    j->r.stream = false;
    j->result->readings = mem_zero(t->n_slot, sizeof *j->result->readings);
    if (!j->result->readings) return fail_mem(err);
    j->result->n_reading = t->n_slot;
    for (size_t i = 0; i < t->n_slot; i++) {
        infer_reading *r = &j->result->readings[i];
        r->n_choice = t->first[i + 1] - t->first[i];
        r->logprobs = mem_zero(r->n_choice, sizeof *r->logprobs);
        if (!r->logprobs) return fail_mem(err);
    }
    return PGR_OK;
}

bool slots_want(const job *j, size_t token) {
    const infer_slot_tokens *t = j->slots;
    size_t lo = 0, hi = t->n_slot;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (t->rows[mid] < token)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < t->n_slot && t->rows[lo] == token;
}

static pgr_status prepare(local *l, const float *logits, pgr_error *err) {
    sampler_prepare(&l->picks[0], l->m->k, logits, l->shared.n_token, 0);
    if (isnan(sampler_logprob(&l->picks[0], 0)))
        return fail(err, PGR_E_FORMAT, "the model's logits at a slot are no numbers");
    return PGR_OK;
}

pgr_status slots_see(local *l, job *j, const float *logits, pgr_error *err) {
    const infer_slot_tokens *t = j->slots;
    for (; j->n_slot < t->n_slot && t->rows[j->n_slot] < j->seq.n_token; j->n_slot++) {
        infer_reading *r = &j->result->readings[j->n_slot];
        PGR_TRY(prepare(l, logits, err));
        for (size_t c = 0; c < r->n_choice; c++) {
            size_t at = choice_begin(t, t->first[j->n_slot] + c);
            r->logprobs[c] = sampler_logprob(&l->picks[0], t->choices.v[at]);
        }
        bool again = j->n_slot + 1 < t->n_slot && t->rows[j->n_slot + 1] == t->rows[j->n_slot];
        if (!again) logits += l->m->config.n_vocab;
    }
    return PGR_OK;
}

/* Adds the log-probabilities of tokens 1 .. n - 1, given the prompt up to the slot and those before. */
static pgr_status follow(local *l, job *j, size_t slot, const int32_t *tokens, size_t n, double *sum, pgr_error *err) {
    kv_seq seq = {0};
    size_t from = j->slots->rows[slot] + 1;
    pgr_status s = kv_fork(&l->kv, &seq, &j->seq, from, err);
    for (size_t i = 0; s == PGR_OK && i + 1 < n; i++) {
        forward_row row = {.token = tokens[i], .pos = (uint32_t)(from + i), .want = true};
        s = pages_reserve(l, &seq, 1, err);
        if (s == PGR_OK) s = forward_run(l->forward, &l->kv, &(kv_seq *){&seq}, &row, 1, l->logits, err);
        if (s == PGR_OK) s = prepare(l, l->logits, err);
        if (s == PGR_OK) *sum += sampler_logprob(&l->picks[0], tokens[i + 1]);
    }
    kv_release(&l->kv, &seq);
    return s;
}

pgr_status slots_settle(local *l, job *j, pgr_error *err) {
    const infer_slot_tokens *t = j->slots;
    kv_release(&l->kv, &j->spare); /* it was kept for what comes now */
    for (size_t i = 0; i < t->n_slot; i++) {
        infer_reading *r = &j->result->readings[i];
        for (size_t c = 0; c < r->n_choice; c++) {
            size_t k = t->first[i] + c, at = choice_begin(t, k), n = choice_count(t, k);
            if (n > 1) PGR_TRY(follow(l, j, i, t->choices.v + at, n, &r->logprobs[c], err));
        }
        PGR_TRY(reading_settle(r, i, err));
    }
    return PGR_OK;
}
