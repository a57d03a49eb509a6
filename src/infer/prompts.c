/* prompts.c - reading a prompt: from its longest known beginning on, in chunks; then it is known to later ones. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "infer/local.h"

/* The last token is always computed, for its logits. */
pgr_status prompt_begin(local *l, job *j, bool *waits, pgr_error *err) {
    const ids *p = &j->result->prompt;
    if (!j->logits) j->logits = mem_aligned(l->m->config.n_vocab * sizeof *j->logits, 64);
    if (!j->logits) return fail_mem(err);
    PGR_TRY(prefix_take(l->prefix, j->set->key, p->v, p->n - 1, &j->seq, err));
    size_t known = j->seq.n_token;
    pgr_status s = pages_begin(l, j, &j->seq, p->n - known, waits, err);
    if (s != PGR_OK || *waits) {
        kv_release(&l->kv, &j->seq);
        return s;
    }
    j->reading = true;
    j->result->usage.cached_tokens = known;
    l->load.n_read += known;
    return PGR_OK;
}

size_t prompt_rows(local *l, const job *j, forward_row *rows, uint32_t seq, size_t room) {
    const ids *p = &j->result->prompt;
    size_t first = j->seq.n_token, n = p->n - first;
    if (n > room) n = room;
    for (size_t i = 0; i < n; i++)
        rows[i] = (forward_row){
            .token = p->v[first + i], .seq = seq, .pos = (uint32_t)(first + i), .want = first + i + 1 == p->n};
    l->load.n_read += n;
    return n;
}

pgr_status prompt_took(local *l, job *j, const float *logits, pgr_error *err) {
    const ids *p = &j->result->prompt;
    if (j->seq.n_token < p->n) return PGR_OK;
    memcpy(j->logits, logits, l->m->config.n_vocab * sizeof *logits);
    j->ready = true;
    j->result->usage.prompt_s = clock_now() - j->start;
    PGR_TRY(prefix_put(l->prefix, j->set->key, p->v, p->n, &j->seq, err));
    pages_trim(l);
    return PGR_OK;
}
