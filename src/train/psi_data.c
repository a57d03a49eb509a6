/* psi_data.c - reads files of pairs, sorts them by user, holds some back. */
#include "train/psi_data.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "judge/slots.h"
#include "user/dataset.h"
#include "user/rules.h"

enum { STREAM_ORDER = 16 }; /* and following: of the kinds' orders */

typedef struct entry { /* a row as it came */
    pair_record r;
    size_t number;
    bool asked;
} entry;

typedef struct entries {
    entry *list; /* (n) */
    size_t n, cap;
    user_record *users; /* (n_user) that the files have records of */
    size_t n_user, cap_user;
} entries;

const char *psi_query(const preference_pair *p) {
    return p->n_context > 0 ? p->context[p->n_context - 1].text : "";
}

/* ---- reading ---- */

static pgr_status add_entry(entries *e, const pair_record *r, bool asked, pgr_error *err) {
    if (e->n == e->cap) {
        size_t cap = e->cap ? 2 * e->cap : 1024;
        entry *list = mem_resize(e->list, cap * sizeof *list);
        if (!list) return fail_mem(err);
        e->list = list;
        e->cap = cap;
    }
    e->list[e->n] = (entry){*r, e->n, asked};
    e->n++;
    return PGR_OK;
}

static pgr_status add_user(entries *e, const user_record *u, pgr_error *err) {
    if (e->n_user == e->cap_user) {
        size_t cap = e->cap_user ? 2 * e->cap_user : 256;
        user_record *users = mem_resize(e->users, cap * sizeof *users);
        if (!users) return fail_mem(err);
        e->users = users;
        e->cap_user = cap;
    }
    e->users[e->n_user++] = *u;
    return PGR_OK;
}

static pgr_status read_file(const char *path, bool evaluate, arena *a, entries *e, pgr_error *err) {
    dataset *d = NULL;
    dataset_options o = {.unnamed = UNNAMED_ALONE};
    PGR_TRY(dataset_open(path, &o, &d, err));
    pgr_status s = PGR_OK;
    for (bool more = true; s == PGR_OK;) {
        record r;
        s = dataset_next(d, a, &r, &more, err);
        if (s != PGR_OK || !more) break;
        if (r.kind == RECORD_USER) s = add_user(e, &r.user, err);
        if (r.kind != RECORD_PAIR) continue;
        if (evaluate || rules_is_lesson(&r.pair)) s = add_entry(e, &r.pair, !rules_is_history(r.pair.split), err);
    }
    dataset_close(d);
    return s;
}

static int by_user(const void *a, const void *b) {
    const entry *x = a, *y = b;
    int order = strcmp(x->r.user_id, y->r.user_id);
    if (order) return order;
    if (x->asked != y->asked) return x->asked ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* ---- the set ---- */

/* Whatever the seed, and more of them the larger the share: what a run holds back, the run whose adapter it began with
 * did not learn from either. */
static bool held_back(const psi_load *l, const char *key) {
    uint64_t h = hash_whole_text(HASH_BEGIN, key);
    h ^= h >> 32;
    return l->evaluate || (double)(h % 100003) < l->held * 100003;
}

static int by_id(const void *a, const void *b) {
    const user_record *x = a, *y = b;
    return strcmp(x->id, y->id);
}

/* What users said of themselves. */
static void fill_criteria(psi_set *s, entries *e) {
    if (e->n_user > 0) qsort(e->users, e->n_user, sizeof *e->users, by_id);
    for (size_t i = 0, k = 0; i < s->n_user && k < e->n_user;) {
        int order = strcmp(s->users[i].id, e->users[k].id);
        if (order == 0) {
            s->users[i].criteria = e->users[k].criteria;
            s->users[i].n_criteria = e->users[k].n_criteria;
        }
        *(order <= 0 ? &i : &k) += 1;
    }
}

static pgr_status fill(psi_set *s, const entries *e, const psi_load *l, pgr_error *err) {
    s->pairs = arena_array(&s->arena, e->n + 1, sizeof *s->pairs);
    s->levels = arena_array(&s->arena, e->n + 1, N_FACT * sizeof *s->levels);
    s->user = arena_array(&s->arena, e->n + 1, sizeof *s->user);
    s->held = arena_array(&s->arena, e->n + 1, sizeof *s->held);
    s->users = arena_array(&s->arena, e->n + 1, sizeof *s->users);
    s->attributes = arena_array(&s->arena, e->n + 1, sizeof *s->attributes);
    if (!s->attributes || !s->pairs || !s->levels || !s->user || !s->held || !s->users) return fail_mem(err);
    for (size_t i = 0; i < e->n; i++) {
        const entry *x = &e->list[i];
        if (i == 0 || strcmp(x->r.user_id, e->list[i - 1].r.user_id) != 0)
            s->users[s->n_user++] = (psi_user){.id = x->r.user_id, .first = i};
        psi_user *u = &s->users[s->n_user - 1];
        *(x->asked ? &u->n_asked : &u->n) += 1;
        s->pairs[i] = x->r.pair;
        s->attributes[i] = x->r.choice_attributes;
        s->user[i] = s->n_user - 1;
        s->held[i] = held_back(l, l->kind == PGR_PSI_QUALITY ? psi_query(&x->r.pair) : x->r.user_id);
        slots_pair_levels(&s->pairs[i], s->levels + i * N_FACT);
    }
    s->n_pair = e->n;
    return PGR_OK;
}

pgr_status psi_set_load(const psi_load *l, psi_set *out, pgr_error *err) {
    entries e = {0};
    pgr_status s = PGR_OK;
    *out = (psi_set){.seed = l->seed, .epoch = UINT64_MAX, .stream = STREAM_ORDER + (uint32_t)l->kind};
    for (size_t i = 0; s == PGR_OK && i < l->n_data; i++)
        if (l->data[i].kind == l->kind) s = read_file(l->data[i].path, l->evaluate, &out->arena, &e, err);
    if (s == PGR_OK && e.n > 0) {
        qsort(e.list, e.n, sizeof *e.list, by_user);
        s = fill(out, &e, l, err);
        fill_criteria(out, &e);
    }
    mem_free(e.list);
    mem_free(e.users);
    if (s != PGR_OK) psi_set_free(out);
    return s;
}

void psi_set_free(psi_set *s) {
    arena_free(&s->arena);
    *s = (psi_set){0};
}

/* ---- the order ---- */

pgr_status psi_set_order(psi_set *s, bool by_user, size_t least, pgr_error *err) {
    size_t most = by_user ? s->n_user : s->n_pair;
    s->order = arena_array(&s->arena, most + 1, sizeof *s->order);
    s->shuffled = arena_array(&s->arena, most + 1, sizeof *s->shuffled);
    if (!s->order || !s->shuffled) return fail_mem(err);
    s->n_order = 0;
    for (size_t i = 0; i < most; i++) {
        const psi_user *u = by_user ? &s->users[i] : NULL;
        if (u ? u->n >= least && !s->held[u->first] : !s->held[i]) s->order[s->n_order++] = i;
    }
    return PGR_OK;
}

size_t psi_set_draw(psi_set *s, uint64_t position) {
    uint64_t epoch = position / s->n_order;
    if (epoch != s->epoch) { /* Fisher and Yates */
        rng r = {hash_value(hash_value(HASH_BEGIN, s->seed), epoch), s->stream, 0};
        memcpy(s->shuffled, s->order, s->n_order * sizeof *s->order);
        for (size_t i = s->n_order; i > 1; i--) {
            size_t k = rng_below(&r, i), t = s->shuffled[i - 1];
            s->shuffled[i - 1] = s->shuffled[k];
            s->shuffled[k] = t;
        }
        s->epoch = epoch;
    }
    return s->shuffled[position % s->n_order];
}
