/* people.c - placing a request's user among the stored ones, and what stored pairs say about a request. */
#include "prototype/people.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "prototype/artefact_parts.h"
#include "prototype/mixture.h"
#include "prototype/neighbours.h"
#include "prototype/uservec.h"
#include "prototype/vec.h"

struct pgr_people {
    store *store;
    artefact protos;
    pgr_embedder *embedder; /* NULL: none */
    textvec *place;         /* the space of the prototypes */
    textvec *meaning;       /* of relevance: the embedder's if there is one, else hashed texts (may be place itself) */
    mixture tastes;         /* by facts */
    pgr_proto_by by;
    size_t n_probe;
};

/* ---- opening ---- */

static pgr_status open_embedder(people *p, const char *path, int n_thread, pgr_error *err) {
    char *found = NULL;
    if (!path && !uservec_embeds(p->by)) return PGR_OK;
    PGR_TRY(pgr_embedder_find(path, &found, err));
    pgr_model_options o = pgr_model_options_default();
    o.n_thread = n_thread;
    pgr_status s = pgr_embedder_open(found, &o, &p->embedder, err);
    pgr_free(found);
    return s;
}

static pgr_status fit_embedder(people *p, pgr_error *err) {
    const artefact *a = &p->protos;
    bool embeds = uservec_embeds(p->by);
    if (embeds
        && (pgr_embedder_dims(p->embedder) != a->dims || strcmp(pgr_embedder_name(p->embedder), a->embedder) != 0))
        return fail(err, PGR_E_ARG, "%s: made with embedder \"%s\" of %zu values, this one is \"%s\" of %zu", a->path,
                    a->embedder, a->dims, pgr_embedder_name(p->embedder), pgr_embedder_dims(p->embedder));
    PGR_TRY(uservec_space(p->by, p->embedder, a->dims, &p->place, err));
    if (textvec_dims(p->place) != a->dims)
        return fail(err, PGR_E_ARG, "%s: vectors by %s of %zu values, this version's have %zu: build it again", a->path,
                    a->by, a->dims, textvec_dims(p->place));
    if (embeds || (p->by == PGR_PROTO_VOTES && !p->embedder)) {
        p->meaning = p->place;
        return PGR_OK;
    }
    return textvec_create(p->embedder, TEXTVEC_HASH_DIMS, &p->meaning, err);
}

static pgr_status open_all(people *p, const char *store_path, const char *proto_path, const char *embedder_path,
                           int n_thread, pgr_error *err) {
    PGR_TRY(pgr_store_open(store_path, PGR_STORE_READ, &p->store, err));
    PGR_TRY(artefact_open(proto_path, ARTEFACT_CHECK_SMALL, &p->protos, err));
    p->by = uservec_by_of(p->protos.by);
    if (p->by == PGR_PROTO_FACTS)
        PGR_TRY(mixture_unpack(p->protos.mixture, p->protos.n_mixture, p->protos.k, p->protos.dims, &p->tastes, err));
    PGR_TRY(open_embedder(p, embedder_path, n_thread, err));
    return fit_embedder(p, err);
}

pgr_status pgr_people_open(const char *store_path, const char *proto_path, const char *embedder_path, int n_thread,
                           pgr_people **out, pgr_error *err) {
    char *beside = NULL;
    if (!proto_path) PGR_TRY(pgr_store_protos(store_path, &beside, err));
    people *p = mem_zero(1, sizeof *p);
    pgr_status s = p ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) {
        p->n_probe = 1;
        s = open_all(p, store_path, proto_path ? proto_path : beside, embedder_path, n_thread, err);
    }
    mem_free(beside);
    if (s == PGR_OK)
        *out = p;
    else
        pgr_people_close(p);
    return s;
}

void pgr_people_close(pgr_people *p) {
    if (!p) return;
    if (p->meaning != p->place) textvec_free(p->meaning);
    textvec_free(p->place);
    pgr_embedder_close(p->embedder);
    mixture_free(&p->tastes);
    artefact_close(&p->protos);
    pgr_store_close(p->store);
    mem_free(p);
}

bool people_by_analysis(const people *p) {
    return p->by == PGR_PROTO_ANALYSIS;
}

double people_own_lead(const people *p) {
    return artefact_own_lead(&p->protos);
}

const char *people_split(const people *p) {
    return p->protos.split;
}

uint64_t people_fingerprint(const people *p) {
    const file_map *m = &p->protos.map;
    size_t n = sizeof(artefact_footer); /* its checksum is that of the table, which has the sections' */
    PGR_ASSERT(m->size >= n);
    return hash_bytes(HASH_BEGIN, (const char *)m->data + m->size - n, n);
}

size_t people_dims(const people *p) {
    return textvec_dims(p->meaning);
}

void people_set_probe(people *p, size_t n_probe) {
    p->n_probe = n_probe ? n_probe : 1;
}

/* ---- placing ---- */

typedef struct place {
    float *v; /* (dims) of length 1 */
    size_t n_evidence;
} place;

static pgr_status embed_text(people *p, const char *text, float *out, pgr_error *err) {
    PGR_TRY(textvec_of(p->place, &text, 1, NULL, out, err));
    vec_normalise(out, p->protos.dims);
    return PGR_OK;
}

/* What a user without an analysis or without choices says of himself, the query, and what he chose. */
static void put_profile(buf *b, const pgr_request *r) {
    for (size_t i = 0; i < r->n_criteria; i++) buf_printf(b, "%s\n", r->criteria[i]);
    if (r->demographics && *r->demographics) buf_printf(b, "%s\n", r->demographics);
    textvec_put_turns(b, r->messages, r->n_message);
    for (size_t i = 0; i < r->n_history; i++) buf_printf(b, "\n%s", r->history[i].chosen);
}

static pgr_status place_by_profile(people *p, const pgr_request *r, place *out, pgr_error *err) {
    buf b = {0};
    put_profile(&b, r);
    pgr_status s = b.failed ? fail_mem(err) : embed_text(p, b.data ? b.data : "", out->v, err);
    buf_free(&b);
    return s;
}

/* Members of prototype j among the users of the range. */
static size_t count_members(const artefact *a, near_range range, size_t j) {
    if (range.from == 0 && range.to == a->n_user) return (size_t)(a->start[j + 1] - a->start[j]);
    size_t n = 0;
    for (uint64_t r = a->start[j]; r < a->start[j + 1]; r++)
        n += a->row_user[r] >= range.from && a->row_user[r] < range.to;
    return n;
}

static size_t largest(const artefact *a, near_range range) {
    size_t best = 0, most = 0;
    for (size_t j = 0; j < a->k; j++) {
        size_t n = count_members(a, range, j);
        if (n > most) best = j, most = n;
    }
    return best;
}

static pgr_status place_of(people *p, const pgr_request *r, const char *analysis, near_range range, place *out,
                           pgr_error *err) {
    const artefact *a = &p->protos;
    if (p->by == PGR_PROTO_ANALYSIS) {
        out->n_evidence = r->n_history;
        return analysis && *analysis ? embed_text(p, analysis, out->v, err) : place_by_profile(p, r, out, err);
    }
    bool found = false;
    if (p->by == PGR_PROTO_FACTS)
        PGR_TRY(uservec_of_taste(p->place, &p->tastes, r->history, r->n_history, out->v, &found, err));
    else
        PGR_TRY(uservec_of_pairs(p->place, p->by, r->history, r->n_history, NULL, out->v, &found, err));
    out->n_evidence = found ? r->n_history : 0;
    if (found) return PGR_OK;
    if (p->by == PGR_PROTO_CHOICES) return place_by_profile(p, r, out, err);
    memcpy(out->v, a->after + largest(a, range) * a->dims, a->dims * sizeof(float));
    vec_normalise(out->v, a->dims);
    return PGR_OK;
}

/* ---- neighbours ---- */

/* Embeddings of the pairs as the store has them; *out = NULL where one is missing or they are not an embedder's. */
static pgr_status stored_vectors(people *p, const person *u, arena *a, const float **out, pgr_error *err) {
    const char *name = textvec_name(p->meaning);
    size_t d = textvec_dims(p->meaning);
    *out = NULL;
    if (!*name || u->n == 0) return PGR_OK;
    float *v = arena_array(a, 2 * u->n * d, sizeof *v);
    if (!v) return fail_mem(err);
    for (size_t i = 0; i < 2 * u->n; i++) {
        bool found;
        PGR_TRY(
            store_get_vector(p->store, u->keys[i / 2], i % 2 ? "rejected" : "chosen", name, v + i * d, d, &found, err));
        if (!found) return PGR_OK;
    }
    *out = v;
    return PGR_OK;
}

/* *used = false: the store has forgotten him, or his pairs. */
static pgr_status load_neighbour(people *p, const near_user *u, arena *a, neighbour *out, bool *used, pgr_error *err) {
    person who;
    PGR_TRY(person_load(p->store, artefact_id(&p->protos, u->user), p->protos.split, a, &who, used, err));
    *used = *used && who.n > 0;
    if (!*used) return PGR_OK;
    *out = (neighbour){.user_id = who.user.id, .similarity = u->similarity, .pairs = who.pairs, .n_pair = who.n};
    return stored_vectors(p, &who, a, &out->vectors, err);
}

/* Searches for more than n until n of them are in the store, or there are no more. */
static pgr_status find_stored(people *p, const float *v, near_range range, size_t n_probe, size_t self, size_t n,
                              arena *a, neighbourhood *out, pgr_error *err) {
    size_t n_user = range.to - range.from, want = n < n_user ? n : n_user;
    for (;;) {
        near_user *near = arena_array(a, want + 1, sizeof *near);
        size_t n_near;
        if (!near) return fail_mem(err);
        PGR_TRY(neighbours_find_in(&p->protos, range, v, self, want, n_probe, near, &n_near, err));
        out->n = 0;
        for (size_t i = 0; i < n_near && out->n < n; i++) {
            bool used;
            PGR_TRY(load_neighbour(p, &near[i], a, &out->list[out->n], &used, err));
            out->n += used;
        }
        if (out->n == n || n_near < want || want == n_user) return PGR_OK;
        want = 2 * want < n_user ? 2 * want : n_user;
    }
}

pgr_status people_neighbours_by(people *p, const pgr_request *r, const char *analysis, const char *scope, size_t n,
                                arena *a, neighbourhood *out, pgr_error *err) {
    const artefact *protos = &p->protos;
    near_range range = {0, protos->n_user};
    bool whole = scope && *scope; /* all of it is searched */
    if (whole) artefact_range(protos, scope, &range.from, &range.to);
    place where = {.v = arena_array(a, protos->dims, sizeof(float))};
    neighbourhood found = {.list = arena_array(a, n + 1, sizeof *found.list)};
    near_prototype nearest;
    if (!where.v || !found.list) return fail_mem(err);
    PGR_TRY(place_of(p, r, analysis, range, &where, err));
    PGR_TRY(neighbours_prototypes(protos, where.v, 1, &nearest, err));
    const float *centre = protos->after + nearest.prototype * protos->dims;
    double length = vec_dot(centre, centre, protos->dims);
    found.prototype = (int)nearest.prototype;
    found.similarity = length > 0 ? vec_dot(where.v, centre, protos->dims) / sqrt(length) : 0;
    found.n_evidence = where.n_evidence;
    size_t self = artefact_find(protos, r->user_id ? r->user_id : "");
    if (p->by == PGR_PROTO_FACTS) whole = true;
    PGR_TRY(find_stored(p, where.v, range, whole ? protos->k : p->n_probe, self, n, a, &found, err));
    *out = found;
    return PGR_OK;
}

pgr_status people_neighbours(people *p, const pgr_request *r, size_t n, arena *a, neighbourhood *out, pgr_error *err) {
    return people_neighbours_by(p, r, NULL, "", n, a, out, err);
}

/* ---- views ---- */

bool people_has_views(const people *p) {
    return p->protos.views.n > 0;
}

/* The user's pairs that were there when the prototypes were made; *n grows by one where the store still has any. */
static pgr_status add_member(people *p, const char *id, arena *a, views_member *list, size_t *n, pgr_error *err) {
    person who = {0};
    bool found = false;
    double last = artefact_last_pair(&p->protos);
    size_t then = 0;
    if (!id || !*id || artefact_find(&p->protos, id) == p->protos.n_user) return PGR_OK;
    PGR_TRY(person_load(p->store, id, p->protos.split, a, &who, &found, err));
    while (then < who.n && (double)who.keys[then] <= last) then++;
    if (then > 0) list[(*n)++] = (views_member){who.pairs, then};
    return PGR_OK;
}

pgr_status people_views(people *p, const pgr_request *r, people_view *out, pgr_error *err) {
    views_member members[VIEWS_MOST_MEMBERS];
    size_t n = 0;
    arena a = {0};
    pgr_status s = add_member(p, r->user_id, &a, members, &n, err);
    if (s == PGR_OK) s = add_member(p, r->donor, &a, members, &n, err);
    if (s == PGR_OK)
        s = views_ask(&p->protos.views, r->history, r->n_history, members, n, r->responses, r->n_response, out, err);
    arena_free(&a);
    return s;
}

/* ---- relevance ---- */

/* Texts one after another, those of the request first: candidates, query; then per pair: query, and chosen,
 * rejected unless given. */
typedef struct relevance {
    arena arena;
    const char **texts;
    float *vectors;
    size_t n;
} relevance;

static pgr_status put_text(relevance *x, const char *s, pgr_error *err) {
    if (!s) return fail_mem(err);
    x->texts[x->n++] = s;
    return PGR_OK;
}

static const char *joined(relevance *x, const turn *turns, size_t n) {
    buf b = {0};
    textvec_put_turns(&b, turns, n);
    const char *s = b.failed ? NULL : arena_strdup(&x->arena, b.data ? b.data : "");
    buf_free(&b);
    return s;
}

static pgr_status gather_texts(relevance *x, const pgr_request *r, const preference_pair *pairs, bool given, size_t n,
                               pgr_error *err) {
    for (size_t i = 0; i < r->n_response; i++) PGR_TRY(put_text(x, r->responses[i], err));
    PGR_TRY(put_text(x, joined(x, r->messages, r->n_message), err));
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(put_text(x, joined(x, pairs[i].context, pairs[i].n_context), err));
        if (given) continue;
        PGR_TRY(put_text(x, pairs[i].chosen, err));
        PGR_TRY(put_text(x, pairs[i].rejected, err));
    }
    return PGR_OK;
}

static double cosine(const float *a, const float *b, size_t d) {
    double aa = vec_dot(a, a, d), bb = vec_dot(b, b, d);
    return aa > 0 && bb > 0 ? vec_dot(a, b, d) / sqrt(aa * bb) : 0;
}

static double relevance_of(const pgr_request *r, const float *own, const float *query, const float *texts, size_t d) {
    double best = -1;
    for (size_t i = 0; i < r->n_response; i++)
        for (size_t k = 0; k < 2; k++) {
            double c = cosine(own + i * d, texts + k * d, d);
            if (c > best) best = c;
        }
    return best + 0.5 * cosine(own + r->n_response * d, query, d);
}

static pgr_status relevance_run(people *p, relevance *x, const pgr_request *r, const preference_pair *pairs,
                                const float *vectors, size_t n, double *out, pgr_error *err) {
    size_t d = textvec_dims(p->meaning), own = r->n_response + 1, step = vectors ? 1 : 3;
    x->texts = mem_array(own + step * n, sizeof *x->texts);
    x->vectors = mem_array((own + step * n) * d, sizeof *x->vectors);
    if (!x->texts || !x->vectors) return fail_mem(err);
    PGR_TRY(gather_texts(x, r, pairs, vectors != NULL, n, err));
    PGR_TRY(textvec_of(p->meaning, x->texts, x->n, NULL, x->vectors, err));
    for (size_t i = 0; i < n; i++) {
        const float *query = x->vectors + (own + step * i) * d;
        out[i] = relevance_of(r, x->vectors, query, vectors ? vectors + 2 * i * d : query + d, d);
    }
    return PGR_OK;
}

pgr_status people_relevance(people *p, const pgr_request *r, const preference_pair *pairs, const float *vectors,
                            size_t n, double *out, pgr_error *err) {
    relevance x = {0};
    pgr_status s = relevance_run(p, &x, r, pairs, vectors, n, out, err);
    arena_free(&x.arena);
    mem_free(x.texts);
    mem_free(x.vectors);
    return s;
}
