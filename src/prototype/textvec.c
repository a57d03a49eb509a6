/* textvec.c - hashed and embedded texts, and pairs by facts. */
#include "prototype/textvec.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "facts/facts.h"

enum { N_SLOT = 16384 };              /* texts that the cache holds at most */
static const float LEVELS_LENGTH = 4; /* of a usual pair's levels: divided by it they have about length 1 */

typedef struct slot {
    char *text; /* NULL: empty */
    float *v;   /* (dims) */
} slot;

struct textvec {
    pgr_embedder *e; /* NULL: hashed, or facts */
    bool facts;
    size_t dims;
    slot *slots; /* (N_SLOT) a text has one place, by its hash */
};

pgr_status textvec_create(pgr_embedder *e, size_t dims, textvec **out, pgr_error *err) {
    if (!e && (dims == 0 || dims % 128 != 0 || dims > 65536))
        return fail(err, PGR_E_ARG, "hashed texts have %zu values, expected a multiple of 128 up to 65536", dims);
    textvec *t = mem_zero(1, sizeof *t);
    if (!t) return fail_mem(err);
    t->e = e;
    t->dims = e ? pgr_embedder_dims(e) : dims;
    if (e) {
        t->slots = mem_zero(N_SLOT, sizeof *t->slots);
        if (!t->slots) {
            mem_free(t);
            return fail_mem(err);
        }
    }
    *out = t;
    return PGR_OK;
}

pgr_status textvec_create_facts(textvec **out, pgr_error *err) {
    textvec *t = mem_zero(1, sizeof *t);
    if (!t) return fail_mem(err);
    t->facts = true;
    t->dims = N_FACT;
    *out = t;
    return PGR_OK;
}

void textvec_free(textvec *t) {
    if (!t) return;
    for (size_t i = 0; t->slots && i < N_SLOT; i++) {
        mem_free(t->slots[i].text);
        mem_free(t->slots[i].v);
    }
    mem_free(t->slots);
    mem_free(t);
}

size_t textvec_dims(const textvec *t) {
    return t->dims;
}

const char *textvec_name(const textvec *t) {
    return t->e ? pgr_embedder_name(t->e) : "";
}

/* FNV-1a with the last mixing of MurmurHash3, so that all bits count. */
static uint64_t hash_of(const char *s) {
    uint64_t h = hash_text(HASH_BEGIN, s);
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 33;
}

/* ---- hashed ---- */

/* Every value is +-1/sqrt(dims), its sign a random bit keyed by the text: length 1,
 * inner products of different texts about 1/sqrt(dims). */
static void hash_vector(const char *text, size_t dims, float *out) {
    uint64_t h = hash_of(text);
    float one = (float)(1.0 / sqrt((double)dims));
    for (size_t i = 0; i < dims; i += 128) {
        uint32_t bits[4];
        philox4x32_10((uint32_t[4]){(uint32_t)(i / 128), 0, 0, 0x766f7465},
                      (uint32_t[2]){(uint32_t)h, (uint32_t)(h >> 32)}, bits);
        for (size_t b = 0; b < 128; b++) out[i + b] = bits[b / 32] >> b % 32 & 1 ? one : -one;
    }
}

/* ---- embedded ---- */

typedef struct batch {
    textvec *t;
    const char *const *texts;
    size_t n;
    size_t *source; /* (n) text i has the vector of missing[source[i]]; SIZE_MAX: it came from the cache */
    size_t *table;  /* (n_table) index into missing + 1 by hash, 0: empty */
    size_t n_table;
    const char **missing; /* (n_missing) different texts that are not cached */
    size_t *lens, n_missing;
    float *out, *fresh; /* fresh: (n_missing, dims) */
} batch;

static bool from_cache(const batch *b, size_t i, uint64_t hash) {
    const slot *s = &b->t->slots[hash % N_SLOT];
    if (!s->text || strcmp(s->text, b->texts[i]) != 0) return false;
    memcpy(b->out + i * b->t->dims, s->v, b->t->dims * sizeof(float));
    return true;
}

static void look_up(batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        uint64_t hash = hash_of(b->texts[i]);
        b->source[i] = SIZE_MAX;
        if (from_cache(b, i, hash)) continue;
        size_t at = hash % b->n_table;
        while (b->table[at] && strcmp(b->missing[b->table[at] - 1], b->texts[i]) != 0) at = (at + 1) % b->n_table;
        if (!b->table[at]) {
            b->missing[b->n_missing] = b->texts[i];
            b->lens[b->n_missing++] = strlen(b->texts[i]);
            b->table[at] = b->n_missing;
        }
        b->source[i] = b->table[at] - 1;
    }
}

/* A text that finds no memory is not cached: that costs time, no more. */
static void remember(textvec *t, const char *text, const float *v) {
    slot *s = &t->slots[hash_of(text) % N_SLOT];
    char *copy = mem_strdup(text);
    if (!s->v) s->v = mem_array(t->dims, sizeof *s->v);
    if (!copy || !s->v) {
        mem_free(copy);
        return;
    }
    mem_free(s->text);
    s->text = copy;
    memcpy(s->v, v, t->dims * sizeof *v);
}

static pgr_status embed_missing(batch *b, pgr_cancel *cancel, pgr_error *err) {
    size_t d = b->t->dims;
    pgr_embed_options o = pgr_embed_options_default();
    o.watch.cancel = cancel;
    PGR_TRY(pgr_embed(b->t->e, b->missing, b->lens, b->n_missing, &o, b->fresh, NULL, err));
    for (size_t i = 0; i < b->n; i++)
        if (b->source[i] != SIZE_MAX) memcpy(b->out + i * d, b->fresh + b->source[i] * d, d * sizeof(float));
    for (size_t i = 0; i < b->n_missing; i++) remember(b->t, b->missing[i], b->fresh + i * d);
    return PGR_OK;
}

static pgr_status embed(textvec *t, const char *const *texts, size_t n, pgr_cancel *cancel, float *out,
                        pgr_error *err) {
    batch b = {.t = t, .texts = texts, .n = n, .out = out, .n_table = 2 * n + 1};
    b.source = mem_array(n, sizeof *b.source);
    b.table = mem_zero(b.n_table, sizeof *b.table);
    b.missing = mem_array(n, sizeof *b.missing);
    b.lens = mem_array(n, sizeof *b.lens);
    pgr_status s = b.source && b.table && b.missing && b.lens ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) look_up(&b);
    if (s == PGR_OK && b.n_missing > 0) {
        b.fresh = mem_array(b.n_missing * t->dims, sizeof *b.fresh);
        s = b.fresh ? embed_missing(&b, cancel, err) : fail_mem(err);
    }
    mem_free(b.source);
    mem_free(b.table);
    mem_free(b.missing);
    mem_free(b.lens);
    mem_free(b.fresh);
    return s;
}

pgr_status textvec_of(textvec *t, const char *const *texts, size_t n, pgr_cancel *cancel, float *out, pgr_error *err) {
    PGR_ASSERT(!t->facts);
    if (t->e) return n ? embed(t, texts, n, cancel, out, err) : PGR_OK;
    for (size_t i = 0; i < n; i++) hash_vector(texts[i], t->dims, out + i * t->dims);
    return PGR_OK;
}

void textvec_put_turns(buf *out, const turn *turns, size_t n) {
    for (size_t i = n; i > 0; i--) {
        buf_puts(out, turns[i - 1].text);
        if (i > 1) buf_putc(out, '\n');
    }
}

/* ---- pairs ---- */

static void measure(const char *text, const char *query, facts *out) {
    facts_measure(text, strlen(text), query, strlen(query), out);
}

static void levels_of_pair(const preference_pair *p, float *chosen, float *rejected) {
    const char *query = p->n_context ? p->context[p->n_context - 1].text : "";
    facts liked, other;
    measure(p->chosen, query, &liked);
    measure(p->rejected, query, &other);
    for (int f = 0; f < N_FACT; f++) {
        chosen[f] = (float)facts_level(f, &liked, &other, 1) / (2 * LEVELS_LENGTH);
        rejected[f] = -chosen[f];
    }
}

pgr_status textvec_of_pairs(textvec *t, const preference_pair *pairs, size_t n, pgr_cancel *cancel, float *out,
                            pgr_error *err) {
    if (t->facts) {
        for (size_t i = 0; i < n; i++) levels_of_pair(&pairs[i], out + 2 * i * t->dims, out + (2 * i + 1) * t->dims);
        return PGR_OK;
    }
    const char **texts = mem_array(2 * n + 1, sizeof *texts);
    if (!texts) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        texts[2 * i] = pairs[i].chosen;
        texts[2 * i + 1] = pairs[i].rejected;
    }
    pgr_status s = textvec_of(t, texts, 2 * n, cancel, out, err);
    mem_free(texts);
    return s;
}

static void levels_of_query(const preference_pair *p, float *out) {
    facts asked, nothing;
    measure(p->n_context ? p->context[p->n_context - 1].text : "", "", &asked);
    measure("", "", &nothing);
    for (int f = 0; f < N_FACT; f++) out[f] = (float)facts_level(f, &asked, &nothing, 1) / LEVELS_LENGTH;
}

pgr_status textvec_of_query(textvec *t, const preference_pair *p, pgr_cancel *cancel, float *out, pgr_error *err) {
    if (t->facts) {
        levels_of_query(p, out);
        return PGR_OK;
    }
    buf query = {0};
    textvec_put_turns(&query, p->context, p->n_context);
    const char *text = query.data ? query.data : "";
    pgr_status s = query.failed ? fail_mem(err) : textvec_of(t, &text, 1, cancel, out, err);
    buf_free(&query);
    return s;
}
