/* collect.c - from a store to rows. */
#include "prototype/collect.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"
#include "prototype/collect_parts.h"
#include "user/rules.h"

enum { BATCH = 256 };         /* texts that are embedded, and kept in one transaction, at a time */
enum { BATCH_ANALYSES = 16 }; /* requests that a model analyses at a time */
enum { HISTORY = 3 };         /* pairs that it is shown: docs/method.md, "The job" */

/* Progress and cancellation. */
pgr_status collect_step(const collection *c, const char *label, size_t done, size_t total, const char *unit,
                        pgr_error *err) {
    watch_report(&c->watch, label, done, total, unit);
    return watch_check(&c->watch, err);
}

/* ---- users ---- */

/* Those whose pairs are all of the subset "history" (held-out users of synth) are nobody's lesson: they are placed when
 * they ask. A rule that names what counts in another way is taken at its word. */
static bool is_lesson(const collection *c, const pair_record *p) {
    return strcmp(c->split, "history") != 0 || !rules_is_history(p->split) || rules_is_lesson(p);
}

size_t collect_counts(const collection *c, const stored_user *u) {
    size_t n = 0;
    bool lesson = false;
    for (size_t i = 0; i < u->n_pair; i++) {
        if (!person_counts(c->split, u->pairs[i].split)) continue;
        n++;
        lesson = lesson || is_lesson(c, &u->pairs[i]);
    }
    return !lesson || (c->skip && c->skip(c->skip_ctx, u->user.id)) ? 0 : n;
}

static pgr_status note_user(void *ctx, const stored_user *u, pgr_error *err) {
    collection *c = ctx;
    size_t n = collect_counts(c, u);
    if (n == 0) return PGR_OK;
    if (c->n_user == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 256;
        char **ids = mem_resize(c->ids, cap * sizeof *ids);
        if (!ids) return fail_mem(err);
        c->ids = ids;
        c->cap = cap;
    }
    c->ids[c->n_user] = mem_strdup(u->user.id);
    if (!c->ids[c->n_user]) return fail_mem(err);
    c->n_user++;
    c->n_pair += n;
    return c->n_user % 1024 ? PGR_OK : collect_step(c, "reading users", c->n_user, 0, "users", err);
}

static int compare_ids(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static pgr_status collect_users(collection *c, pgr_error *err) {
    PGR_TRY(store_each_user(c->store, NULL, note_user, c, err));
    if (c->n_user > 0) qsort(c->ids, c->n_user, sizeof *c->ids, compare_ids);
    return PGR_OK;
}

void collect_free(collection *c) {
    for (size_t i = 0; i < c->n_user; i++) mem_free(c->ids[i]);
    mem_free(c->ids);
    mem_free(c->rows);
    mem_free(c->row_user);
    mem_free(c->row_pair);
    mem_free(c->form);
    mem_free(c->form_first);
    mem_free(c->form_query);
    c->ids = NULL, c->rows = NULL, c->row_user = c->row_pair = NULL, c->form = NULL, c->form_first = NULL,
    c->form_query = NULL;
    c->n_user = c->n_row = 0;
}

/* ---- vectors into the store ---- */

typedef struct waiting { /* texts to embed, in the memory of an arena */
    collection *c;
    arena arena;
    const char *texts[BATCH], *whats[BATCH];
    int64_t keys[BATCH];
    size_t n, done, total;
    float *vectors; /* (BATCH, dims) */
    const char *label;
} waiting;

static pgr_status put_batch(waiting *w, pgr_error *err) {
    size_t d = textvec_dims(w->c->vec);
    pgr_status s = store_begin(w->c->store, err);
    for (size_t i = 0; i < w->n && s == PGR_OK; i++)
        s = store_put_vector(w->c->store, w->keys[i], w->whats[i], textvec_name(w->c->vec), w->vectors + i * d, d, err);
    if (s == PGR_OK) return store_commit(w->c->store, err);
    store_rollback(w->c->store);
    return s;
}

static pgr_status flush(waiting *w, pgr_error *err) {
    if (w->n > 0) {
        PGR_TRY(textvec_of(w->c->vec, w->texts, w->n, w->c->watch.cancel, w->vectors, err));
        PGR_TRY(put_batch(w, err));
    }
    w->n = 0;
    return collect_step(w->c, "embedding", w->done, w->total, "pairs", err);
}

static pgr_status want_vector(waiting *w, int64_t key, const char *what, const char *text, pgr_error *err) {
    size_t d = textvec_dims(w->c->vec);
    bool found;
    PGR_TRY(store_get_vector(w->c->store, key, what, textvec_name(w->c->vec), w->vectors + w->n * d, d, &found, err));
    if (found) return PGR_OK;
    w->texts[w->n] = arena_strdup(&w->arena, text);
    if (!w->texts[w->n]) return fail_mem(err);
    w->whats[w->n] = what;
    w->keys[w->n++] = key;
    return w->n == BATCH ? flush(w, err) : PGR_OK;
}

static pgr_status want_pair(waiting *w, const preference_pair *p, int64_t key, arena *a, pgr_error *err) {
    buf query = {0};
    textvec_put_turns(&query, p->context, p->n_context);
    pgr_status s = query.failed ? fail_mem(err) : want_vector(w, key, "query", query.data ? query.data : "", err);
    buf_free(&query);
    if (s == PGR_OK) s = want_vector(w, key, "chosen", p->chosen, err);
    if (s == PGR_OK) s = want_vector(w, key, "rejected", p->rejected, err);
    if (s != PGR_OK || w->c->by != PGR_PROTO_ANALYSIS) return s;
    const char *analysis;
    PGR_TRY(store_get_analysis(w->c->store, key, w->c->analyst, a, &analysis, err));
    return analysis && *analysis ? want_vector(w, key, "analysis", analysis, err)
                                 : PGR_OK; /* "": the chain did not parse */
}

static pgr_status embed_user(waiting *w, size_t user, pgr_error *err) {
    arena a = {0};
    person p;
    bool found;
    pgr_status s = person_load(w->c->store, w->c->ids[user], w->c->split, &a, &p, &found, err);
    for (size_t i = 0; s == PGR_OK && found && i < p.n; i++) {
        s = want_pair(w, &p.pairs[i], p.keys[i], &a, err);
        w->done++;
    }
    arena_free(&a);
    return s;
}

static pgr_status embed_all(collection *c, pgr_error *err) {
    waiting *w = mem_zero(1, sizeof *w);
    if (!w) return fail_mem(err);
    w->c = c;
    w->total = c->n_pair;
    w->vectors = mem_array(BATCH * textvec_dims(c->vec), sizeof *w->vectors);
    pgr_status s = w->vectors ? PGR_OK : fail_mem(err);
    for (size_t u = 0; u < c->n_user && s == PGR_OK; u++) {
        s = embed_user(w, u, err);
        if (s == PGR_OK && w->n == 0) {
            arena_free(&w->arena); /* nothing waits in it */
            s = collect_step(c, "embedding", w->done, w->total, "pairs", err);
        }
    }
    if (s == PGR_OK) s = flush(w, err);
    arena_free(&w->arena);
    mem_free(w->vectors);
    mem_free(w);
    return s;
}

/* ---- analyses by a model ---- */

typedef struct asking { /* requests for analyses */
    collection *c;
    arena arena;
    const pgr_request *requests[BATCH_ANALYSES];
    int64_t keys[BATCH_ANALYSES];
    size_t n, done;
} asking;

/* Pair i as it is judged, with up to three of the user's others as history, drawn by the pair's number;
 * the pair's answers in drawn order. */
static const pgr_request *request_of(const person *p, size_t i, arena *a) {
    struct pgr_request *r = arena_alloc(a, sizeof *r);
    preference_pair *history = arena_array(a, HISTORY, sizeof *history);
    const char **responses = arena_array(a, 2, sizeof *responses);
    size_t *others = arena_array(a, p->n, sizeof *others);
    if (!r || !history || !responses || !others) return NULL;
    rng draw = {.seed = 0x616e616c, .stream = (uint32_t)i};
    size_t n = 0, n_other = 0;
    for (size_t k = 0; k < p->n; k++)
        if (k != i) others[n_other++] = k;
    for (; n < HISTORY && n < n_other; n++) {
        size_t k = n + rng_below(&draw, n_other - n), other = others[k];
        others[k] = others[n];
        history[n] = p->pairs[other];
    }
    int chosen = (int)rng_below(&draw, 2);
    responses[chosen] = p->pairs[i].chosen;
    responses[1 - chosen] = p->pairs[i].rejected;
    *r = (struct pgr_request){.origin = "store",
                              .id = "",
                              .user_id = p->user.id,
                              .history = history,
                              .n_history = n,
                              .criteria = p->user.criteria,
                              .n_criteria = p->user.n_criteria,
                              .demographics = p->user.demographics,
                              .messages = p->pairs[i].context,
                              .n_message = p->pairs[i].n_context,
                              .responses = responses,
                              .n_response = 2,
                              .ind = -1,
                              .pro = -1,
                              .history_pairs = -1,
                              .seed = -1,
                              .chosen = chosen};
    return r;
}

static pgr_status put_analyses(asking *q, char *const *texts, pgr_error *err) {
    pgr_status s = store_begin(q->c->store, err);
    for (size_t i = 0; i < q->n && s == PGR_OK; i++)
        s = store_put_analysis(q->c->store, q->keys[i], q->c->analyst, texts[i] ? texts[i] : "", err);
    if (s == PGR_OK) return store_commit(q->c->store, err);
    store_rollback(q->c->store);
    return s;
}

static pgr_status ask(asking *q, pgr_error *err) {
    char *texts[BATCH_ANALYSES] = {NULL};
    if (q->n > 0) {
        PGR_TRY(q->c->analyse(q->c->analyse_ctx, q->requests, q->n, texts, err));
        pgr_status s = put_analyses(q, texts, err);
        for (size_t i = 0; i < q->n; i++) pgr_free(texts[i]);
        PGR_TRY(s);
    }
    q->n = 0;
    arena_free(&q->arena);
    return collect_step(q->c, "analysing", q->done, q->c->n_pair, "pairs", err);
}

static pgr_status ask_user(asking *q, size_t user, pgr_error *err) {
    person p;
    bool found;
    PGR_TRY(person_load(q->c->store, q->c->ids[user], q->c->split, &q->arena, &p, &found, err));
    for (size_t i = 0; found && i < p.n; i++, q->done++) {
        const char *known;
        PGR_TRY(store_get_analysis(q->c->store, p.keys[i], q->c->analyst, &q->arena, &known, err));
        if (known) continue;
        if (!q->c->analyse)
            return fail(err, PGR_E_ARG,
                        "user %s has a pair without an analysis by \"%s\", and there is no model to write it",
                        p.user.id, q->c->analyst);
        q->requests[q->n] = request_of(&p, i, &q->arena);
        if (!q->requests[q->n]) return fail_mem(err);
        q->keys[q->n++] = p.keys[i];
        if (q->n < BATCH_ANALYSES) continue;
        PGR_TRY(ask(q, err));
        PGR_TRY(person_load(q->c->store, q->c->ids[user], q->c->split, &q->arena, &p, &found, err));
    }
    return PGR_OK;
}

static pgr_status analyse_all(collection *c, pgr_error *err) {
    asking q = {.c = c};
    pgr_status s = PGR_OK;
    for (size_t u = 0; u < c->n_user && s == PGR_OK; u++) s = ask_user(&q, u, err);
    if (s == PGR_OK) s = ask(&q, err);
    arena_free(&q.arena);
    return s;
}

static pgr_status collect_vectors(collection *c, pgr_error *err) {
    if (c->by == PGR_PROTO_ANALYSIS) PGR_TRY(analyse_all(c, err));
    return embed_all(c, err);
}

/* ---- rows ---- */

static pgr_status text_vector(const collection *c, const preference_pair *p, const char *what, float *out,
                              pgr_error *err) {
    if (strcmp(what, "query") == 0) return textvec_of_query(c->vec, p, c->watch.cancel, out, err);
    const char *text = strcmp(what, "rejected") == 0 ? p->rejected : p->chosen;
    return textvec_of(c->vec, &text, 1, c->watch.cancel, out, err);
}

static pgr_status get_vector(const collection *c, const person *p, size_t i, const char *what, float *out, bool *found,
                             pgr_error *err) {
    *found = false;
    if (*textvec_name(c->vec))
        PGR_TRY(
            store_get_vector(c->store, p->keys[i], what, textvec_name(c->vec), out, textvec_dims(c->vec), found, err));
    if (*found || strcmp(what, "analysis") == 0) return PGR_OK;
    *found = true;
    return text_vector(c, &p->pairs[i], what, out, err);
}

pgr_status collect_one_vector(const collection *c, const person *p, const char *what, float *out, bool *found,
                              pgr_error *err) {
    for (size_t i = 0; i < p->n; i++)
        PGR_TRY(get_vector(c, p, i, what, out + i * textvec_dims(c->vec), &found[i], err));
    return PGR_OK;
}

pgr_status collect_pair_vectors(const collection *c, const person *p, float *out, pgr_error *err) {
    size_t d = textvec_dims(c->vec);
    bool found;
    if (!*textvec_name(c->vec)) return textvec_of_pairs(c->vec, p->pairs, p->n, c->watch.cancel, out, err);
    for (size_t i = 0; i < p->n; i++) {
        PGR_TRY(get_vector(c, p, i, "chosen", out + 2 * i * d, &found, err));
        PGR_TRY(get_vector(c, p, i, "rejected", out + (2 * i + 1) * d, &found, err));
    }
    return PGR_OK;
}

/* The rows were counted before: another program may have added pairs since. */
static pgr_status fail_changed(const collection *c, pgr_error *err) {
    return fail(err, PGR_E_ARG, "%s: another program added pairs meanwhile, run the command again",
                pgr_store_path(c->store));
}

static pgr_status room_for_row(const collection *c, pgr_error *err) {
    return c->n_row < c->cap_row ? PGR_OK : fail_changed(c, err);
}

/* The user's rows at the end of c->rows. */
static pgr_status add_rows(collection *c, size_t user, const person *p, float *scratch, bool *found, double *sum,
                           pgr_error *err) {
    size_t d = textvec_dims(c->vec);
    if (c->by != PGR_PROTO_ANALYSIS) {
        PGR_TRY(collect_pair_vectors(c, p, scratch, err));
        PGR_TRY(room_for_row(c, err));
        if (!uservec_sum(c->by, scratch, p->n, d, sum, c->rows + c->n_row * d)) return PGR_OK;
        c->row_pair[c->n_row] = 0;
        c->row_user[c->n_row++] = (uint32_t)user;
        return PGR_OK;
    }
    PGR_TRY(collect_one_vector(c, p, "analysis", scratch, found, err));
    for (size_t i = 0; i < p->n; i++) {
        if (!found[i]) continue;
        PGR_TRY(room_for_row(c, err));
        memcpy(c->rows + c->n_row * d, scratch + i * d, d * sizeof(float));
        c->row_pair[c->n_row] = (uint32_t)i;
        c->row_user[c->n_row++] = (uint32_t)user;
    }
    return PGR_OK;
}

/* *kept = true: the user has a row, as number `user`. */
static pgr_status rows_of(collection *c, size_t from, size_t user, double *sum, bool *kept, pgr_error *err) {
    arena a = {0};
    person p;
    bool exists;
    size_t d = textvec_dims(c->vec), before = c->n_row;
    pgr_status s = person_load(c->store, c->ids[from], c->split, &a, &p, &exists, err);
    if (s == PGR_OK && exists) {
        float *scratch = arena_array(&a, 2 * p.n * d + 1, sizeof *scratch);
        bool *found = arena_array(&a, p.n + 1, sizeof *found);
        s = scratch && found ? add_rows(c, user, &p, scratch, found, sum, err) : fail_mem(err);
    }
    arena_free(&a);
    *kept = c->n_row > before;
    return s;
}

static pgr_status collect_rows(collection *c, pgr_error *err) {
    size_t d = textvec_dims(c->vec), most = c->by == PGR_PROTO_ANALYSIS ? c->n_pair : c->n_user, n = 0;
    c->rows = mem_array(most * d + 1, sizeof *c->rows);
    c->row_user = mem_array(most + 1, sizeof *c->row_user);
    c->row_pair = mem_array(most + 1, sizeof *c->row_pair);
    double *sum = mem_array(d, sizeof *sum);
    c->cap_row = most;
    pgr_status s = c->rows && c->row_user && c->row_pair && sum ? PGR_OK : fail_mem(err);
    for (size_t u = 0; u < c->n_user && s == PGR_OK; u++) {
        bool kept;
        s = rows_of(c, u, n, sum, &kept, err);
        if (s == PGR_OK && kept) { /* users with rows move to the front */
            char *id = c->ids[n];
            c->ids[n++] = c->ids[u];
            c->ids[u] = id;
        }
        if (s == PGR_OK && u % 64 == 0) s = collect_step(c, "vectors of users", u, c->n_user, "users", err);
    }
    mem_free(sum);
    if (s != PGR_OK) return s;
    for (size_t u = n; u < c->n_user; u++) mem_free(c->ids[u]);
    c->n_user = n;
    return PGR_OK;
}

pgr_status collect(collection *c, pgr_error *err) {
    if (!*textvec_name(c->vec)) return collect_in_one_pass(c, err);
    PGR_TRY(collect_users(c, err));
    PGR_TRY(collect_vectors(c, err));
    return collect_rows(c, err);
}
