/* views.c - choices as votes: one of a person on a text, named by the hash of the plain text. */
#include "prototype/views.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "prototype/collect.h"

/* ---- texts ------------------------------------------------------------------------------------------------------ */

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_stop(char c) {
    return c == '.' || c == '!' || c == '?' || is_space(c);
}

uint64_t views_key(const char *s) {
    uint64_t h = HASH_BEGIN;
    bool gap = false;
    size_t n = strlen(s);
    while (n > 0 && is_stop(s[n - 1])) n--;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (is_space(c)) {
            gap = h != HASH_BEGIN;
            continue;
        }
        if (gap) h = hash_value(h, ' ');
        h = hash_value(h, (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c));
        gap = false;
    }
    return h;
}

typedef struct vote {
    uint64_t key;
    uint32_t who;
    int32_t sum; /* how often he chose the text less how often he rejected it */
} vote;

static int by_key(const void *a, const void *b) {
    const vote *l = a, *r = b;
    if (l->key != r->key) return l->key < r->key ? -1 : 1;
    return (l->who > r->who) - (l->who < r->who);
}

/* The two votes of a pair; a text of which nothing is left has none. */
static size_t votes_of_pair(const preference_pair *p, uint32_t who, vote out[2]) {
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t key = views_key(i ? p->rejected : p->chosen);
        if (key != VIEWS_NO_TEXT) out[n++] = (vote){key, who, i ? -1 : 1};
    }
    return n;
}

/* Sorted by key and person, one of a person on a text, none that is 0. Returns how many are left. */
static size_t merge_votes(vote *votes, size_t n) {
    size_t kept = 0;
    if (n > 0) qsort(votes, n, sizeof *votes, by_key);
    for (size_t i = 0; i < n;) {
        vote v = votes[i++];
        for (; i < n && votes[i].key == v.key && votes[i].who == v.who; i++) v.sum += votes[i].sum;
        if (v.sum != 0) votes[kept++] = v;
    }
    return kept;
}

/* ---- fit -------------------------------------------------------------------------------------------------------- */

typedef struct gathering {
    const collection *c; /* NULL: of pairs in memory */
    const pgr_watch *watch;
    vote *votes;
    size_t n, cap;
    uint32_t n_who;
    int64_t last_pair;
} gathering;

static pgr_status make_room(gathering *g, size_t n, pgr_error *err) {
    if (g->n + n <= g->cap) return PGR_OK;
    size_t cap = g->n + n > 2 * g->cap ? g->n + n : 2 * g->cap;
    vote *votes = mem_resize(g->votes, cap * sizeof *votes);
    if (!votes) return fail_mem(err);
    g->votes = votes;
    g->cap = cap;
    return PGR_OK;
}

static pgr_status take_user(void *ctx, const stored_user *u, pgr_error *err) {
    gathering *g = ctx;
    PGR_TRY(make_room(g, 2 * u->n_pair, err));
    size_t first = g->n;
    for (size_t i = 0; i < u->n_pair; i++) {
        if (u->pair_keys[i] > g->last_pair) g->last_pair = u->pair_keys[i];
        if (person_counts(g->c->split, u->pairs[i].split))
            g->n += votes_of_pair(&u->pairs[i].pair, g->n_who, g->votes + g->n);
    }
    g->n = first + merge_votes(g->votes + first, g->n - first);
    g->n_who += g->n > first;
    return g->n_who % 1024 ? PGR_OK : collect_step(g->c, "reading views", g->n_who, g->c->n_user, "users", err);
}

/* Of the sorted votes those on texts that two people know, as the model has them. keys: (n) */
static size_t number_texts(const vote *votes, size_t n, ideal_vote *out, uint64_t *keys, size_t *n_out) {
    size_t n_text = 0;
    *n_out = 0;
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && votes[end].key == votes[i].key) end++;
        if (end - i > 1) {
            for (size_t k = i; k < end; k++)
                out[(*n_out)++] = (ideal_vote){votes[k].who, (uint32_t)n_text, votes[k].sum > 0};
            keys[n_text++] = votes[i].key;
        }
        i = end;
    }
    return n_text;
}

static pgr_status keep(const ideal *m, const ideal_vote *votes, size_t n, views_made *out, pgr_error *err) {
    out->n = m->n_what;
    out->rows = mem_zero(m->n_what + 1, VIEW_SIZE * sizeof *out->rows);
    if (!out->rows) return fail_mem(err);
    for (size_t s = 0; s < m->n_what; s++) ideal_pack(&m->what[s], out->rows + s * VIEW_SIZE);
    for (size_t i = 0; i < n; i++) out->rows[votes[i].what * VIEW_SIZE + IDEAL_PACKED + !votes[i].agrees]++;
    return PGR_OK;
}

static pgr_status fit_votes(gathering *g, views_made *out, pgr_error *err) {
    ideal m = {0};
    size_t n_text, n = 0;
    g->n = merge_votes(g->votes, g->n);
    if (g->n > UINT32_MAX) return fail(err, PGR_E_LIMIT, "more than %u votes on texts", UINT32_MAX);
    ideal_vote *votes = mem_array(g->n + 1, sizeof *votes);
    out->keys = mem_array(g->n / 2 + 1, sizeof *out->keys);
    pgr_status s = votes && out->keys ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) n_text = number_texts(g->votes, g->n, votes, out->keys, &n);
    if (s == PGR_OK && n > 0) s = ideal_fit(votes, n, g->n_who, n_text, g->watch, &m, err);
    if (s == PGR_OK) s = keep(&m, votes, n, out, err);
    ideal_free(&m);
    mem_free(votes);
    return s;
}

/* s: of the gathering */
static pgr_status finish(gathering *g, pgr_status s, views_made *out, pgr_error *err) {
    *out = (views_made){.last_pair = g->last_pair};
    if (s == PGR_OK) s = fit_votes(g, out, err);
    mem_free(g->votes);
    if (s != PGR_OK) views_free(out);
    return s;
}

pgr_status views_fit(const collection *c, views_made *out, pgr_error *err) {
    gathering g = {.c = c, .watch = &c->watch};
    pgr_status s = store_each_user(c->store, NULL, take_user, &g, err);
    return finish(&g, s, out, err);
}

pgr_status views_fit_pairs(const preference_pair *const *pairs, const uint32_t *who, size_t n, const pgr_watch *watch,
                           views_made *out, pgr_error *err) {
    gathering g = {.watch = watch};
    pgr_status s = make_room(&g, 2 * n + 1, err);
    for (size_t i = 0; s == PGR_OK && i < n; i++) {
        g.n += votes_of_pair(pairs[i], who[i], g.votes + g.n);
        if (who[i] >= g.n_who) g.n_who = who[i] + 1;
    }
    return finish(&g, s, out, err);
}

void views_free(views_made *v) {
    mem_free(v->keys);
    mem_free(v->rows);
    *v = (views_made){0};
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

static const float *find(const views *v, uint64_t key) {
    size_t lo = 0, hi = v->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v->keys[mid] == key) return v->rows + mid * VIEW_SIZE;
        if (v->keys[mid] < key)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* A person as the model made him, with the votes that it was made of. */
typedef struct member {
    vote *votes; /* (n) ascending by key */
    size_t n;
    ideal_point point;
} member;

typedef struct asking {
    const views *v;
    member members[VIEWS_MOST_MEMBERS];
    size_t n_member;
    vote *votes;        /* (cap) of one person */
    ideal_point *known; /* (cap) */
    bool *agrees;       /* (cap) */
} asking;

static const vote *vote_of(const member *m, uint64_t key) {
    for (size_t i = 0; i < m->n && m->votes[i].key <= key; i++)
        if (m->votes[i].key == key) return &m->votes[i];
    return NULL;
}

/* The text as others than the members made it, and how many of them voted on it. false: none, or it is not there. */
static bool find_point(const asking *a, uint64_t key, ideal_point *out, people_view *count) {
    const float *row = find(a->v, key);
    *count = (people_view){.share = .5};
    if (!row || !ideal_unpack(row, out)) return false;
    count->chose = (size_t)row[IDEAL_PACKED];
    count->rejected = (size_t)row[IDEAL_PACKED + 1];
    for (const member *m = a->members; m < a->members + a->n_member; m++) {
        const vote *own = vote_of(m, key);
        size_t *of = own && own->sum > 0 ? &count->chose : &count->rejected;
        if (!own || *of == 0) continue; /* he has voted since */
        *out = ideal_without(out, &m->point, own->sum > 0);
        --*of;
    }
    return count->chose + count->rejected > 0;
}

static size_t votes_of(const preference_pair *pairs, size_t n_pair, vote *out) {
    size_t n = 0;
    for (size_t i = 0; i < n_pair; i++) n += votes_of_pair(&pairs[i], 0, out + n);
    return merge_votes(out, n);
}

/* Where a person of these n votes stands, those on the texts with these keys left out. */
static ideal_point place(asking *a, const vote *votes, size_t n, const uint64_t *without, size_t n_without) {
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        people_view count;
        bool asked = false;
        for (size_t t = 0; t < n_without; t++) asked = asked || without[t] == votes[i].key;
        if (!asked && find_point(a, votes[i].key, &a->known[used], &count)) a->agrees[used++] = votes[i].sum > 0;
    }
    return ideal_place(a->known, a->agrees, used);
}

static pgr_status make_room_for(asking *a, size_t n_pair, pgr_error *err) {
    a->votes = mem_array(2 * n_pair + 1, sizeof *a->votes);
    a->known = mem_array(2 * n_pair + 1, sizeof *a->known);
    a->agrees = mem_array(2 * n_pair + 1, sizeof *a->agrees);
    return a->votes && a->known && a->agrees ? PGR_OK : fail_mem(err);
}

/* Every member is placed among all votes, his own too: so he stood when the model was made. */
static pgr_status place_members(asking *a, const views_member *members, size_t n, pgr_error *err) {
    for (size_t i = 0; i < n; i++) {
        member *m = &a->members[i];
        m->votes = mem_array(2 * members[i].n + 1, sizeof *m->votes);
        if (!m->votes) return fail_mem(err);
        m->n = votes_of(members[i].pairs, members[i].n, m->votes);
        m->point = place(a, m->votes, m->n, NULL, 0);
    }
    a->n_member = n;
    return PGR_OK;
}

static pgr_status answer(asking *a, const preference_pair *pairs, size_t n_pair, const char *const *texts,
                         size_t n_text, people_view *out, pgr_error *err) {
    uint64_t *keys = mem_array(n_text + 1, sizeof *keys);
    if (!keys) return fail_mem(err);
    for (size_t t = 0; t < n_text; t++) keys[t] = views_key(texts[t]);
    size_t n = votes_of(pairs, n_pair, a->votes);
    ideal_point who = place(a, a->votes, n, keys, n_text), text;
    for (size_t t = 0; t < n_text; t++)
        if (find_point(a, keys[t], &text, &out[t])) out[t].share = ideal_expect(&who, &text);
    mem_free(keys);
    return PGR_OK;
}

pgr_status views_ask(const views *v, const preference_pair *pairs, size_t n, const views_member *members,
                     size_t n_member, const char *const *texts, size_t n_text, people_view *out, pgr_error *err) {
    asking a = {.v = v};
    size_t most = n;
    for (size_t i = 0; i < n_member; i++)
        if (members[i].n > most) most = members[i].n;
    pgr_status s = make_room_for(&a, most, err);
    if (s == PGR_OK) s = place_members(&a, members, n_member, err);
    if (s == PGR_OK) s = answer(&a, pairs, n, texts, n_text, out, err);
    for (size_t i = 0; i < n_member; i++) mem_free(a.members[i].votes);
    mem_free(a.votes);
    mem_free(a.known);
    mem_free(a.agrees);
    return s;
}
