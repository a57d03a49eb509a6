/* collect_pass.c - rows of users where no model embeds their texts: one pass over the store in the order of its pages,
 * every user's texts measured once, by all threads, some users at a time. Then rows are put in the order of ids. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/pool.h"
#include "prototype/collect_parts.h"

enum { BATCH_USERS = 1024, BATCH_PAIRS = 4096 }; /* that are measured together; a user with more pairs alone */

typedef struct batch {
    collection *c;
    arena arena;        /* of the texts */
    person *users;      /* (BATCH_USERS) */
    size_t *first;      /* (BATCH_USERS + 1) pairs before those of user i */
    size_t n, cap;      /* users, pairs that `vectors` has room for */
    float *vectors;     /* (cap, 2, dims) */
    float *rows;        /* (BATCH_USERS, dims) */
    bool *found;        /* (BATCH_USERS) has a row */
    pgr_status *status; /* (BATCH_USERS) */
    double *sums;       /* (threads, dims) */
} batch;

/* ---- a batch ----------------------------------------------------------------------------------------------------- */

static void measure_user(void *ctx, size_t i, size_t worker) {
    batch *b = ctx;
    size_t d = textvec_dims(b->c->vec), n = b->users[i].n;
    float *v = b->vectors + 2 * b->first[i] * d;
    b->status[i] = textvec_of_pairs(b->c->vec, b->users[i].pairs, n, NULL, v, NULL);
    b->found[i] = b->status[i] == PGR_OK && uservec_sum(b->c->by, v, n, d, b->sums + worker * d, b->rows + i * d);
}

/* *list with room for `want` entries of that size; NULL: no memory, and the list is as it was. */
static void *grown(void *list, size_t *cap, size_t want, size_t size) {
    if (list && want <= *cap) return list;
    size_t to = want > 2 * *cap ? want : 2 * *cap;
    void *more = mem_resize(list, (to + 1) * size);
    if (more) *cap = to;
    return more;
}

/* For another user with n pairs. */
static pgr_status make_room(collection *c, size_t n, pgr_error *err) {
    size_t d = textvec_dims(c->vec);
    if (c->n_user == UINT32_MAX) return fail(err, PGR_E_LIMIT, "more than %u users have pairs that count", UINT32_MAX);
    char **ids = grown(c->ids, &c->cap, c->n_user + 1, sizeof *ids);
    if (!ids) return fail_mem(err);
    c->ids = ids;
    float *rows = grown(c->rows, &c->cap_row, c->n_row + 1, d * sizeof *rows);
    if (!rows) return fail_mem(err);
    c->rows = rows;
    if (c->by != PGR_PROTO_FACTS) return PGR_OK;
    size_t *first = grown(c->form_first, &c->cap_first, c->n_row + 2, sizeof *first);
    if (!first) return fail_mem(err);
    c->form_first = first;
    if (c->n_row == 0) first[0] = 0;
    float *form = grown(c->form, &c->cap_form, first[c->n_row] + n, d * sizeof *form);
    if (!form) return fail_mem(err);
    c->form = form;
    uint32_t *query = grown(c->form_query, &c->cap_query, first[c->n_row] + n, sizeof *query);
    if (!query) return fail_mem(err);
    c->form_query = query;
    return PGR_OK;
}

/* vectors: (n, 2, dims) of the pairs of the row that is being added */
static void keep_form(collection *c, const preference_pair *pairs, size_t n, const float *vectors) {
    size_t d = textvec_dims(c->vec), at = c->form_first[c->n_row];
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++)
            c->form[(at + i) * d + j] = vectors[2 * i * d + j] - vectors[(2 * i + 1) * d + j];
        uint64_t h = hash_text(HASH_BEGIN, pairs[i].n_context ? pairs[i].context->text : "");
        c->form_query[at + i] = (uint32_t)(h ^ h >> 32);
    }
    c->form_first[c->n_row + 1] = at + n;
}

static pgr_status keep_user(collection *c, const batch *b, size_t i, pgr_error *err) {
    size_t d = textvec_dims(c->vec), n = b->users[i].n;
    PGR_TRY(make_room(c, n, err));
    c->ids[c->n_user] = mem_strdup(b->users[i].user.id);
    if (!c->ids[c->n_user]) return fail_mem(err);
    c->n_user++;
    memcpy(c->rows + c->n_row * d, b->rows + i * d, d * sizeof(float));
    if (c->form) keep_form(c, b->users[i].pairs, n, b->vectors + 2 * b->first[i] * d);
    c->n_row++;
    return PGR_OK;
}

static pgr_status flush(batch *b, pgr_error *err) {
    collection *c = b->c;
    size_t n_pair = b->first[b->n];
    if (n_pair > b->cap) {
        float *v = mem_resize(b->vectors, 2 * n_pair * textvec_dims(c->vec) * sizeof *v);
        if (!v) return fail_mem(err);
        b->vectors = v;
        b->cap = n_pair;
    }
    pool_run(c->threads, b->n, measure_user, b);
    for (size_t i = 0; i < b->n; i++) {
        if (b->status[i] != PGR_OK) return fail_mem(err); /* nothing else fails without an embedder */
        if (b->found[i]) PGR_TRY(keep_user(c, b, i, err));
    }
    b->n = 0;
    arena_free(&b->arena);
    return collect_step(c, "reading users", c->n_user, 0, "users", err);
}

/* The texts that are measured, in memory of the batch. */
static pgr_status copy_pair(batch *b, const preference_pair *from, preference_pair *to, pgr_error *err) {
    const turn *last = from->n_context ? &from->context[from->n_context - 1] : NULL;
    turn *asked = arena_alloc(&b->arena, sizeof *asked);
    *to = (preference_pair){.context = asked,
                            .n_context = last != NULL,
                            .chosen = arena_strdup(&b->arena, from->chosen),
                            .rejected = arena_strdup(&b->arena, from->rejected)};
    if (!asked || !to->chosen || !to->rejected) return fail_mem(err);
    if (last) asked->text = arena_strdup(&b->arena, last->text);
    return !last || asked->text ? PGR_OK : fail_mem(err);
}

static pgr_status take_user(void *ctx, const stored_user *u, pgr_error *err) {
    batch *b = ctx;
    size_t n = 0, most = collect_counts(b->c, u);
    if (most == 0) return PGR_OK;
    b->c->n_pair += most;
    if (b->n == BATCH_USERS || (b->n > 0 && b->first[b->n] + most > BATCH_PAIRS)) PGR_TRY(flush(b, err));
    preference_pair *pairs = arena_array(&b->arena, most, sizeof *pairs);
    const char *id = arena_strdup(&b->arena, u->user.id);
    if (!pairs || !id) return fail_mem(err);
    for (size_t i = 0; i < u->n_pair; i++)
        if (person_counts(b->c->split, u->pairs[i].split)) PGR_TRY(copy_pair(b, &u->pairs[i].pair, &pairs[n++], err));
    b->users[b->n] = (person){.user.id = id, .pairs = pairs, .n = most};
    b->first[b->n + 1] = b->first[b->n] + most;
    b->n++;
    return PGR_OK;
}

static pgr_status batch_create(collection *c, batch *b, pgr_error *err) {
    size_t d = textvec_dims(c->vec);
    *b = (batch){.c = c,
                 .users = mem_array(BATCH_USERS, sizeof *b->users),
                 .first = mem_zero(BATCH_USERS + 1, sizeof *b->first),
                 .rows = mem_array(BATCH_USERS * d, sizeof *b->rows),
                 .found = mem_array(BATCH_USERS, sizeof *b->found),
                 .status = mem_array(BATCH_USERS, sizeof *b->status),
                 .sums = mem_array(pool_size(c->threads) * d, sizeof *b->sums)};
    return b->users && b->first && b->rows && b->found && b->status && b->sums ? PGR_OK : fail_mem(err);
}

static void batch_free(batch *b) {
    arena_free(&b->arena);
    mem_free(b->users);
    mem_free(b->first);
    mem_free(b->vectors);
    mem_free(b->rows);
    mem_free(b->found);
    mem_free(b->status);
    mem_free(b->sums);
}

/* ---- order of ids ------------------------------------------------------------------------------------------------ */

typedef struct named {
    char *id;
    uint32_t row;
} named;

static int by_id(const void *x, const void *y) {
    const named *a = x, *b = y;
    return strcmp(a->id, b->id);
}

/* rows[i] becomes what rows[from[i]] was, circle by circle; from is used up.                  spare: (d) */
static void permute(float *rows, size_t d, named *from, size_t n, float *spare) {
    for (size_t i = 0; i < n; i++) {
        size_t to = i;
        memcpy(spare, rows + i * d, d * sizeof *rows);
        while (from[to].row != i) {
            size_t next = from[to].row;
            memcpy(rows + to * d, rows + next * d, d * sizeof *rows);
            from[to].row = (uint32_t)to;
            to = next;
        }
        memcpy(rows + to * d, spare, d * sizeof *rows);
        from[to].row = (uint32_t)to;
    }
}

static pgr_status permute_form(collection *c, const named *from, pgr_error *err) {
    size_t d = textvec_dims(c->vec), *first = mem_zero(c->n_row + 1, sizeof *first);
    float *form = mem_array(c->form_first[c->n_row] * d + 1, sizeof *form);
    uint32_t *query = mem_array(c->form_first[c->n_row] + 1, sizeof *query);
    for (size_t i = 0; first && form && query && i < c->n_row; i++) {
        size_t at = c->form_first[from[i].row], n = c->form_first[from[i].row + 1] - at;
        memcpy(form + first[i] * d, c->form + at * d, n * d * sizeof *form);
        memcpy(query + first[i], c->form_query + at, n * sizeof *query);
        first[i + 1] = first[i] + n;
    }
    bool done = first && form && query;
    mem_free(done ? c->form : form);
    mem_free(done ? c->form_first : first);
    mem_free(done ? c->form_query : query);
    if (!done) return fail_mem(err);
    c->form = form;
    c->form_first = first;
    c->form_query = query;
    return PGR_OK;
}

static pgr_status put_in_order(collection *c, pgr_error *err) {
    size_t n = c->n_row, d = textvec_dims(c->vec);
    named *from = mem_array(n, sizeof *from);
    float *spare = mem_array(d, sizeof *spare);
    c->row_user = mem_array(n, sizeof *c->row_user);
    c->row_pair = mem_zero(n, sizeof *c->row_pair);
    pgr_status s = from && spare && c->row_user && c->row_pair ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) {
        for (size_t i = 0; i < n; i++) from[i] = (named){c->ids[i], (uint32_t)i};
        if (n > 0) qsort(from, n, sizeof *from, by_id);
        for (size_t i = 0; i < n; i++) c->row_user[i] = (uint32_t)i;
        if (c->form) s = permute_form(c, from, err);
    }
    if (s == PGR_OK) {
        for (size_t i = 0; i < n; i++) c->ids[i] = from[i].id;
        permute(c->rows, d, from, n, spare);
    }
    mem_free(from);
    mem_free(spare);
    return s;
}

pgr_status collect_in_one_pass(collection *c, pgr_error *err) {
    batch b;
    pgr_status s = batch_create(c, &b, err);
    if (s == PGR_OK) s = make_room(c, 0, err);
    if (s == PGR_OK) s = store_each_user(c->store, NULL, take_user, &b, err);
    if (s == PGR_OK) s = flush(&b, err);
    batch_free(&b);
    return s == PGR_OK ? put_in_order(c, err) : s;
}
