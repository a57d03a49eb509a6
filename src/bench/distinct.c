/* distinct.c - a hash table from text to number. */
#include "bench/distinct.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

static size_t slot_of(const distinct *d, const char *text) {
    uint64_t h = hash_text(HASH_BEGIN, text);
    size_t i = (size_t)(h ^ h >> 32) & (d->n_slot - 1);
    while (d->slots[i] && strcmp(d->texts[d->slots[i] - 1], text) != 0) i = (i + 1) & (d->n_slot - 1);
    return i;
}

static pgr_status grow(distinct *d, pgr_error *err) {
    size_t cap = d->cap ? 2 * d->cap : 64;
    const char **texts = mem_resize(d->texts, cap * sizeof *texts);
    if (!texts) return fail_mem(err);
    d->texts = texts;
    size_t *slots = mem_zero(2 * cap, sizeof *slots);
    if (!slots) return fail_mem(err);
    mem_free(d->slots);
    d->slots = slots;
    d->n_slot = 2 * cap;
    d->cap = cap;
    for (size_t i = 0; i < d->n; i++) slots[slot_of(d, texts[i])] = i + 1;
    return PGR_OK;
}

bool distinct_find(const distinct *d, const char *text, size_t *number) {
    size_t slot = d->n ? d->slots[slot_of(d, text)] : 0;
    if (slot) *number = slot - 1;
    return slot > 0;
}

pgr_status distinct_number(distinct *d, const char *text, size_t *number, pgr_error *err) {
    if (distinct_find(d, text, number)) return PGR_OK;
    if (d->n == d->cap) PGR_TRY(grow(d, err));
    d->texts[d->n] = text;
    *number = d->n++;
    d->slots[slot_of(d, text)] = d->n;
    return PGR_OK;
}

void distinct_free(distinct *d) {
    mem_free(d->texts);
    mem_free(d->slots);
    memset(d, 0, sizeof *d);
}
