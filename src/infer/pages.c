/* pages.c - room in the KV cache: earlier prompts make way, then what waits; what runs has all that it may need. */
#include "infer/local.h"

pgr_status pages_reserve(local *l, kv_seq *seq, size_t n, pgr_error *err) {
    for (;;) {
        pgr_status s = kv_reserve(&l->kv, seq, n, err);
        if (s != PGR_E_LIMIT || !prefix_evict(l->prefix)) return s;
    }
}

/* The prompt of another job, the last in the queue that has pages, will be read again. */
static bool give_way(local *l, const job *to) {
    for (job *j = l->queue.last; j; j = j->before)
        if (j != to && j->reading) {
            l->load.n_read -= j->seq.n_token;
            job_release_prompt(l, j);
            return true;
        }
    return false;
}

pgr_status pages_begin(local *l, const job *j, kv_seq *seq, size_t n, bool *waits, pgr_error *err) {
    for (;;) {
        pgr_status s = pages_reserve(l, seq, n, err);
        if (s != PGR_E_LIMIT) return s;
        *waits = slots_used(l);
        if (*waits) return PGR_OK;
        if (!give_way(l, j)) return s;
    }
}

void pages_trim(local *l) {
    size_t kept = l->o.cache_bytes, least = l->queue.first ? CACHE_AT_WORK : 0;
    size_t bytes = kept > least ? kept : least; /* of pages: short ends fill theirs in part */
    while (prefix_pages(l->prefix) * l->kv.page_bytes > bytes) prefix_evict(l->prefix);
}
