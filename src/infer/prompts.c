/* prompts.c - reading a prompt: from its longest known beginning on, in chunks; then it is known to later ones. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "infer/local.h"

/* Room for the longest choice of a slot beyond its first token, and a copy of the page that it goes on from. */
static pgr_status spare_pages(local *l, job *j, bool *waits, pgr_error *err) {
    size_t longest = 1, from = 0;
    for (size_t k = 0; k < j->slots->n_choice; k++) {
        if (j->slots->end[k] - from > longest) longest = j->slots->end[k] - from;
        from = j->slots->end[k];
    }
    return longest == 1 ? PGR_OK : pages_begin(l, j, &j->spare, longest - 1 + KV_PAGE, waits, err);
}

/* The token before a slot and the last one are always computed, for their logits. */
pgr_status prompt_begin(local *l, job *j, bool *waits, pgr_error *err) {
    const ids *p = &j->result->prompt;
    size_t first_wanted = j->slots ? j->slots->rows[0] : p->n - 1;
    if (!j->logits && !j->slots) {
        j->logits = mem_aligned(l->m->config.n_vocab * sizeof *j->logits, 64);
        if (!j->logits) return fail_mem(err);
    }
    PGR_TRY(prefix_take(l->prefix, j->set->key, p->v, first_wanted, &j->seq, err));
    size_t known = j->seq.n_token;
    pgr_status s = pages_begin(l, j, &j->seq, p->n - known, waits, err);
    if (s == PGR_OK && !*waits && j->slots) s = spare_pages(l, j, waits, err);
    if (s != PGR_OK || *waits) {
        kv_release(&l->kv, &j->seq);
        kv_release(&l->kv, &j->spare);
        return s;
    }
    j->n_slot = 0;
    j->reading = true;
    j->result->usage.cached_tokens = known;
    l->load.n_read += known;
    return PGR_OK;
}

size_t prompt_rows(local *l, const job *j, forward_row *rows, uint32_t seq, size_t room, size_t *n_want) {
    const ids *p = &j->result->prompt;
    size_t n = 0, most = *n_want;
    *n_want = 0;
    for (size_t t = j->seq.n_token; n < room && t < p->n; t++) {
        bool want = j->slots ? slots_want(j, t) : t + 1 == p->n;
        if (want && *n_want == most) break;
        *n_want += want;
        rows[n++] = (forward_row){.token = p->v[t], .seq = seq, .pos = (uint32_t)t, .want = want};
    }
    l->load.n_read += n;
    return n;
}

pgr_status prompt_took(local *l, job *j, const float *logits, pgr_error *err) {
    const ids *p = &j->result->prompt;
    if (j->slots) PGR_TRY(slots_see(l, j, logits, err));
    if (j->seq.n_token < p->n) return PGR_OK;
    if (!j->slots) memcpy(j->logits, logits, l->m->config.n_vocab * sizeof *logits);
    j->ready = true;
    j->result->usage.prompt_s = clock_now() - j->start;
    PGR_TRY(prefix_put(l->prefix, j->set->key, p->v, p->n, &j->seq, err));
    if (j->slots) {
        PGR_TRY(slots_settle(l, j, err));
        job_end(l, j, NULL);
    }
    pages_trim(l);
    return PGR_OK;
}
