/* ask.c - a row of the data becomes a request; see ask.h. */
#include "bench/ask.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

uint64_t ask_key(const bench_data *d, const bench_row *row, uint64_t seed) {
    uint64_t h = hash_whole_text(HASH_BEGIN, d->users[row->user].id);
    h = hash_whole_text(h, row->record.conversation_id);
    /* The order of the two must not show in the key: their hashes are added. */
    uint64_t a = hash_whole_text(h, row->record.pair.chosen), b = hash_whole_text(h, row->record.pair.rejected);
    uint64_t key = 0;
    const uint32_t counter[4] = {(uint32_t)(a + b), (uint32_t)((a + b) >> 32), 0x42454E43, 0};
    const uint32_t seeds[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t mixed[4];
    philox4x32_10(counter, seeds, mixed);
    memcpy(&key, mixed, sizeof key);
    return key >> 1; /* seeds of requests are not negative */
}

size_t ask_place(uint64_t key) {
    return rng_uniform(key, 0x504C4143, 0, 0) < 0.5 ? 0 : 1;
}

static pgr_request *create(void) {
    pgr_request *r = mem_zero(1, sizeof *r);
    if (!r) return NULL;
    r->id = r->user_id = r->demographics = "";
    r->ind = r->pro = r->history_pairs = r->chosen = -1;
    r->seed = -1;
    return r;
}

static bool own_conversation(const bench_row *row, const bench_row *earlier) {
    const char *mine = row->record.conversation_id;
    return row == earlier || (row->user == earlier->user && *mine && strcmp(mine, earlier->record.conversation_id) == 0)
           || (row->again && row->user == earlier->user && row->question == earlier->question);
}

static pgr_status add_history(const bench_data *d, const bench_row *row, const bench_ask *how, pgr_request *r,
                              pgr_error *err) {
    const bench_user *u = &d->users[how->other ? how->other[row->user] : row->user];
    preference_pair *pairs = arena_array(&r->arena, u->n_train + 1, sizeof *pairs);
    if (!pairs) return fail_mem(err);
    for (size_t i = 0; i < u->n_train; i++) {
        const bench_row *earlier = &d->rows[u->train[i]];
        if (!own_conversation(row, earlier)) pairs[r->n_history++] = earlier->record.pair;
    }
    r->history = pairs;
    if (how->other) r->donor = u->id;
    return PGR_OK;
}

static pgr_status fill(const bench_data *d, const bench_row *row, const bench_ask *how, pgr_request *r,
                       pgr_error *err) {
    const pair_record *p = &row->record;
    uint64_t key = ask_key(d, row, how->seed);
    size_t place = ask_place(key);
    const char **responses = arena_array(&r->arena, 2, sizeof *responses);
    r->origin = arena_printf(&r->arena, "%s %s %s", d->name, d->users[row->user].id, p->conversation_id);
    if (!responses || !r->origin) return fail_mem(err);
    responses[place] = p->pair.chosen;
    responses[1 - place] = p->pair.rejected;
    r->responses = responses;
    r->n_response = 2;
    r->id = p->conversation_id;
    r->user_id = d->users[row->user].id;
    r->messages = p->pair.context;
    r->n_message = p->pair.n_context;
    r->seed = (int64_t)key;
    if (how->demographics) r->demographics = d->users[row->user].demographics;
    return how->history ? add_history(d, row, how, r, err) : PGR_OK;
}

pgr_status ask_request(const bench_data *d, const bench_row *row, const bench_ask *how, pgr_request **out,
                       pgr_error *err) {
    pgr_request *r = create();
    if (!r) return fail_mem(err);
    pgr_status status = fill(d, row, how, r, err);
    if (status == PGR_OK)
        *out = r;
    else
        pgr_request_free(r);
    return status;
}
