/* attention.c - the plan of a pass's attention and its two jobs. Legend: H query heads, G of them per KV head, hd
 * values per head; a tile is the query heads (rows x G) that one call of the kernel takes.
 *
 * Long runs of one sequence (prompts) go by tiles of consecutive rows, each tile through its chunks in order. Other
 * rows (chains) go by chunks: rows whose pages of a chunk are the same make a tile; partial results are kept and
 * folded in order of chunks. Both compute the same chunks and merge them in the same order, so they give the same
 * bits. */
#include "math/cpu/attention.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum {
    TILE = 96,     /* query heads of a tile, unless a group alone is larger */
    LONG_RUN = 16, /* rows of one sequence from which on tiles go through their chunks by themselves */
    CHUNK_PAGES = ATTN_CHUNK / KV_PAGE,
    MANY_TILES =
        8, /* per thread: from here on a task is a tile with all its heads, and the threads still end together */
};
static const size_t PARTIAL_BYTES = (size_t)8 << 20; /* of partial results; more where a single row needs more */

typedef struct tile {
    size_t first, n_row; /* in the list of rows */
    size_t chunk;        /* WHOLE: all chunks of a run */
} tile;
enum { WHOLE = -1 };

/* Tiles and rows that are run before the partial results are folded. */
typedef struct wave {
    size_t first_tile, n_tile, first_row, n_row; /* rows in `folded` */
    size_t heads_per_task;                       /* KV heads */
} wave;

struct attention {
    attn_shape shape;
    pool *threads;
    const kernels *k;
    size_t n_unit;     /* room for partial results of a row and chunk */
    size_t tile_heads; /* query heads of the largest tile */
    float *part;       /* (n_unit, H, hd) */
    attn_state *state; /* (n_unit, H) */
    tile *tiles;
    uint32_t *list;   /* rows of the tiles */
    uint32_t *folded; /* rows with partial results */
    size_t *unit_of;  /* (n_batch) where a row's partial results begin */
    bool *taken;      /* (n_batch) while a chunk's tiles are made: the row is in one */
    wave *waves;
    size_t n_tile, n_list, n_folded, n_wave, n_batch;
    uint8_t *scratch; /* per worker */
    size_t scratch_bytes;

    /* of the pass */
    const kv_pages *kv;
    const row_table *rows;
    const wave *wave; /* that is running */
    size_t layer, ldq_bytes;
    const void *q;
    float *out;
    attn_state *softmax; /* (n_row, H) or NULL */
};

/* A worker's memory. */
typedef struct bench {
    float *acc, *acc2;          /* (tile_heads, hd) */
    attn_state *state, *state2; /* (tile_heads) */
    uint32_t *n_valid;          /* (tile_heads) */
    void *q;                    /* (tile_heads) query heads in the form of the cache */
    float *kernel;              /* ATTN_SCRATCH */
} bench;

static size_t round_up(size_t n) {
    return (n + 63) / 64 * 64;
}

static size_t bench_bytes(const attention *a) {
    size_t heads = a->tile_heads, values = heads * a->shape.head_dim;
    return 3 * round_up(values * sizeof(float)) + 2 * round_up(heads * sizeof(attn_state))
           + round_up(heads * sizeof(uint32_t)) + round_up(ATTN_SCRATCH * sizeof(float));
}

static void *take(uint8_t **at, size_t bytes) {
    void *p = *at;
    *at += round_up(bytes);
    return p;
}

static bench bench_of(const attention *a, size_t worker) {
    uint8_t *at = a->scratch + worker * a->scratch_bytes;
    size_t heads = a->tile_heads, bytes = heads * a->shape.head_dim * sizeof(float);
    bench b;
    b.acc = take(&at, bytes);
    b.acc2 = take(&at, bytes);
    b.q = take(&at, bytes);
    b.state = take(&at, heads * sizeof *b.state);
    b.state2 = take(&at, heads * sizeof *b.state2);
    b.n_valid = take(&at, heads * sizeof *b.n_valid);
    b.kernel = take(&at, ATTN_SCRATCH * sizeof(float));
    return b;
}

/* ---- create, free ---- */

static size_t group_of(const attn_shape *c) {
    return c->n_head / c->n_head_kv;
}

static size_t chunks_of(size_t n_token) {
    return (n_token + ATTN_CHUNK - 1) / ATTN_CHUNK;
}

pgr_status attention_create(const attn_shape *c, pool *threads, const kernels *k, attention **out, pgr_error *err) {
    size_t n_batch = c->n_row;
    attention *a = mem_zero(1, sizeof *a);
    if (!a) return fail_mem(err);
    a->shape = *c;
    a->threads = threads;
    a->k = k;
    a->n_batch = n_batch;
    a->n_unit = PARTIAL_BYTES / (c->n_head * c->head_dim * sizeof(float));
    if (a->n_unit < chunks_of(c->n_ctx)) a->n_unit = chunks_of(c->n_ctx);
    a->tile_heads = group_of(c) > TILE ? group_of(c) : TILE;
    a->scratch_bytes = bench_bytes(a);

    a->part = mem_aligned(a->n_unit * c->n_head * c->head_dim * sizeof *a->part, 64);
    a->state = mem_array(a->n_unit * c->n_head, sizeof *a->state);
    a->scratch = mem_aligned(pool_size(threads) * a->scratch_bytes, 64);
    a->folded = mem_array(n_batch, sizeof *a->folded);
    a->unit_of = mem_array(n_batch, sizeof *a->unit_of);
    a->taken = mem_array(n_batch, sizeof *a->taken);
    a->waves = mem_array(n_batch + 1, sizeof *a->waves);
    size_t most = n_batch * chunks_of(c->n_ctx); /* rows in tiles, all waves together */
    a->tiles = mem_array(most, sizeof *a->tiles);
    a->list = mem_array(most, sizeof *a->list);
    if (!a->part || !a->state || !a->scratch || !a->folded || !a->unit_of || !a->taken || !a->waves || !a->tiles
        || !a->list) {
        attention_free(a);
        return fail_mem(err);
    }
    *out = a;
    return PGR_OK;
}

void attention_free(attention *a) {
    if (!a) return;
    void *list[] = {a->part, a->state, a->tiles, a->list, a->folded, a->unit_of, a->taken, a->waves, a->scratch};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) mem_free(list[i]);
    mem_free(a);
}

/* ---- the plan ---- */

static size_t tokens_of(const attention *a, size_t row) {
    return (size_t)a->rows->pos[row] + 1;
}

/* Tokens of the chunk that the row sees. */
static size_t valid_in(const attention *a, size_t row, size_t chunk) {
    size_t n = tokens_of(a, row), first = chunk * ATTN_CHUNK;
    return n <= first ? 0 : n - first < ATTN_CHUNK ? n - first : ATTN_CHUNK;
}

static size_t rows_per_tile(const attention *a) {
    size_t G = group_of(&a->shape);
    return G >= TILE ? 1 : TILE / G;
}

static void add_tile(attention *a, const uint32_t *rows, size_t n, size_t chunk) {
    a->tiles[a->n_tile++] = (tile){a->n_list, n, chunk};
    memcpy(a->list + a->n_list, rows, n * sizeof *rows);
    a->n_list += n;
}

static size_t run_length(const attention *a, size_t row, size_t n_row) {
    size_t n = 1;
    while (row + n < n_row && a->rows->pages[row + n] == a->rows->pages[row]) n++;
    return n;
}

static void add_run(attention *a, size_t row, size_t n) {
    size_t per = rows_per_tile(a);
    for (size_t i = 0; i < n; i += per) {
        size_t k = n - i < per ? n - i : per;
        a->tiles[a->n_tile++] = (tile){a->n_list, k, (size_t)WHOLE};
        for (size_t r = 0; r < k; r++) a->list[a->n_list++] = (uint32_t)(row + i + r);
    }
}

/* The two rows' pages of the chunk are the same as far as both see it. */
static bool same_pages(const attention *a, size_t x, size_t y, size_t chunk) {
    size_t nx = valid_in(a, x, chunk), ny = valid_in(a, y, chunk), n = nx < ny ? nx : ny;
    size_t pages = (n + KV_PAGE - 1) / KV_PAGE, first = chunk * CHUNK_PAGES;
    return memcmp(a->rows->pages[x] + first, a->rows->pages[y] + first, pages * sizeof(uint32_t)) == 0;
}

/* The row may still go into a tile of the chunk. */
static bool waits(const attention *a, size_t row, size_t chunk) {
    return !a->taken[row] && valid_in(a, row, chunk) > 0;
}

/* Tiles of one chunk for the rows `folded` [first, end): the first row that is in none yet, and all that share its
 * pages. The longest of them stands first in its tile: its pages are everyone's. */
static void add_chunk(attention *a, size_t first, size_t end, size_t chunk) {
    uint32_t group[TILE];
    size_t per = rows_per_tile(a);
    for (size_t i = first; i < end; i++) a->taken[a->folded[i]] = false;
    for (size_t i = first; i < end; i++) {
        size_t n = 0;
        if (!waits(a, a->folded[i], chunk)) continue;
        for (size_t k = i; k < end && n < per; k++) {
            uint32_t row = a->folded[k];
            if (!waits(a, row, chunk) || (n > 0 && !same_pages(a, group[0], row, chunk))) continue;
            a->taken[row] = true;
            group[n++] = row;
            if (valid_in(a, row, chunk) > valid_in(a, group[0], chunk)) {
                group[n - 1] = group[0];
                group[0] = row;
            }
        }
        add_tile(a, group, n, chunk);
    }
}

static void close_wave(attention *a, wave *w) {
    size_t n_chunk = 0;
    w->n_row = a->n_folded - w->first_row;
    for (size_t i = w->first_row; i < a->n_folded; i++)
        if (chunks_of(tokens_of(a, a->folded[i])) > n_chunk) n_chunk = chunks_of(tokens_of(a, a->folded[i]));
    for (size_t c = 0; c < n_chunk; c++) add_chunk(a, w->first_row, a->n_folded, c);
    w->n_tile = a->n_tile - w->first_tile;
    w->heads_per_task = w->n_tile >= MANY_TILES * pool_size(a->threads) ? a->shape.n_head_kv : 1;
    if (w->n_tile > 0) a->waves[a->n_wave++] = *w;
    *w = (wave){.first_tile = a->n_tile, .first_row = a->n_folded};
}

void attention_plan(attention *a, const kv_pages *kv, const row_table *rows) {
    size_t n_row = rows->n;
    a->kv = kv;
    a->rows = rows;
    a->n_tile = a->n_list = a->n_folded = a->n_wave = 0;
    wave w = {0};
    size_t n_unit = 0;
    for (size_t row = 0, n; row < n_row; row += n) {
        n = run_length(a, row, n_row);
        if (n >= LONG_RUN) {
            add_run(a, row, n);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            size_t units = chunks_of(tokens_of(a, row + i));
            if (n_unit + units > a->n_unit) {
                close_wave(a, &w);
                n_unit = 0;
            }
            a->unit_of[row + i] = n_unit;
            n_unit += units;
            a->folded[a->n_folded++] = (uint32_t)(row + i);
        }
    }
    close_wave(a, &w);
}

/* ---- a tile ---- */

/* A query head in the form of the cache. */
static size_t query_bytes(const attention *a) {
    size_t hd = a->shape.head_dim;
    return a->kv->type == KV_INT8 ? ATTN_QUERY_INT8(hd)
                                  : hd * (a->kv->type == KV_BF16 ? sizeof(uint16_t) : sizeof(float));
}

/* Query heads of the tile's rows, side by side. */
static void gather_q(const attention *a, const tile *t, size_t head_kv, void *q) {
    size_t n = group_of(&a->shape) * query_bytes(a);
    for (size_t i = 0; i < t->n_row; i++)
        memcpy((uint8_t *)q + i * n, (const uint8_t *)a->q + a->list[t->first + i] * a->ldq_bytes + head_kv * n, n);
}

/* What a call of the kernel reads of the cache: a chunk's pages of a KV head. */
typedef struct span {
    const void *blocks[CHUNK_PAGES];
    size_t n;
} span;

static span span_of(const attention *a, size_t row, size_t chunk, size_t head_kv) {
    span s = {.n = (valid_in(a, row, chunk) + KV_PAGE - 1) / KV_PAGE};
    const uint32_t *page = a->rows->pages[row] + chunk * CHUNK_PAGES;
    for (size_t i = 0; i < s.n; i++) s.blocks[i] = page_block(a->kv, page[i], a->layer, head_kv);
    return s;
}

static void ask_for(const attention *a, const span *s, size_t first) {
    for (size_t i = first; i < s->n; i++)
        for (size_t at = 0; at < a->kv->block_bytes; at += 64)
            __builtin_prefetch((const char *)s->blocks[i] + at, 0, 2);
}

/* One chunk for n rows of the list. of: the pages of the longest, q: (n, G) heads, next: what is read after it, of
 * may be it */
static void run_chunk(const attention *a, const uint32_t *list, size_t n, size_t chunk, const span *of, span next,
                      const void *q, float *acc, attn_state *state, const bench *b) {
    const attn_shape *c = &a->shape;
    size_t G = group_of(c), hd = c->head_dim;
    for (size_t i = 0; i < n; i++)
        for (size_t g = 0; g < G; g++) b->n_valid[i * G + g] = (uint32_t)valid_in(a, list[i], chunk);
    const kernels *k = a->k;
    float scale = 1.0f / sqrtf((float)hd);
    switch (a->kv->type) {
    case KV_F32:
        ask_for(a, &next, 0);
        k->attn_chunk(acc, state, q, (const float *const *)of->blocks, of->n, b->n_valid, n * G, hd, scale, b->kernel);
        break;
    case KV_BF16:
        ask_for(a, &next, 0);
        k->attn_chunk_bf16(acc, state, q, (const uint16_t *const *)of->blocks, of->n, b->n_valid, n * G, hd, scale,
                           b->kernel);
        break;
    case KV_INT8:
        ask_for(a, &next, of->n);
        for (size_t i = next.n; i < of->n; i++) next.blocks[i] = of->blocks[i];
        k->attn_chunk_int8(acc, state, q, of->blocks, next.n > 0 ? next.blocks : NULL, of->n, b->n_valid, n * G, hd,
                           b->kernel);
        break;
    }
}

/* Head h of a row from its sums. */
static void finish_head(const attention *a, size_t row, size_t h, const float *acc, attn_state state) {
    size_t at = row * a->shape.n_head + h, hd = a->shape.head_dim;
    float *out = a->out + at * hd, inv = 1.0f / state.sum;
    for (size_t i = 0; i < hd; i++) out[i] = acc[i] * inv;
    if (a->softmax) a->softmax[at] = state;
}

/* A tile of a run through its chunks: rows that end before a chunk are left out of it. */
static void run_whole(const attention *a, const tile *t, size_t head_kv, const bench *b) {
    const attn_shape *c = &a->shape;
    size_t G = group_of(c), hd = c->head_dim;
    const uint32_t *list = a->list + t->first;
    uint32_t last = list[t->n_row - 1];
    gather_q(a, t, head_kv, b->q);
    span of = span_of(a, last, 0, head_kv), nothing = {.n = 0};
    run_chunk(a, list, t->n_row, 0, &of, nothing, b->q, b->acc, b->state, b);
    for (size_t chunk = 1, skip = 0; chunk < chunks_of(tokens_of(a, last)); chunk++) {
        while (valid_in(a, list[skip], chunk) == 0) skip++;
        const uint8_t *q = (const uint8_t *)b->q + skip * G * query_bytes(a);
        of = span_of(a, last, chunk, head_kv);
        run_chunk(a, list + skip, t->n_row - skip, chunk, &of, nothing, q, b->acc2, b->state2, b);
        a->k->attn_merge(b->acc + skip * G * hd, b->state + skip * G, b->acc2, b->state2, (t->n_row - skip) * G, hd);
    }
    for (size_t r = 0; r < t->n_row * G; r++)
        finish_head(a, list[r / G], head_kv * G + r % G, b->acc + r * hd, b->state[r]);
}

/* Where the partial results of a row and chunk are: the index of its first query head. */
static size_t part_at(const attention *a, size_t row, size_t chunk) {
    return (a->unit_of[row] + chunk) * a->shape.n_head;
}

static void run_part(const attention *a, const tile *t, size_t head_kv, const span *of, span next, const bench *b) {
    const attn_shape *c = &a->shape;
    size_t G = group_of(c), hd = c->head_dim;
    const uint32_t *list = a->list + t->first;
    gather_q(a, t, head_kv, b->q);
    run_chunk(a, list, t->n_row, t->chunk, of, next, b->q, b->acc, b->state, b);
    for (size_t i = 0; i < t->n_row; i++) {
        size_t to = part_at(a, list[i], t->chunk) + head_kv * G;
        memcpy(a->part + to * hd, b->acc + i * G * hd, G * hd * sizeof(float));
        memcpy(a->state + to, b->state + i * G, G * sizeof *b->state);
    }
}

/* The first span of a task, nothing beyond the last. Pages lie anywhere in memory, and a few query heads are done
 * with one before the next has come: so each span is asked for while the one before is worked on. Tasks are taken in
 * order, by all threads in turn. */
static span task_span(const attention *a, size_t task) {
    size_t n_head_kv = a->shape.n_head_kv, per = a->wave->heads_per_task, n = n_head_kv / per;
    if (task >= a->wave->n_tile * n) return (span){.n = 0};
    const tile *t = &a->tiles[a->wave->first_tile + task / n];
    return t->chunk == (size_t)WHOLE ? (span){.n = 0} : span_of(a, a->list[t->first], t->chunk, task % n * per);
}

/* A task: one KV head of a tile, or where there are many tiles all of them, one after the other. */
static void tile_task(void *ctx, size_t task, size_t worker) {
    const attention *a = ctx;
    size_t n_head_kv = a->shape.n_head_kv, per = a->wave->heads_per_task;
    const tile *t = &a->tiles[a->wave->first_tile + task / (n_head_kv / per)];
    size_t first = task % (n_head_kv / per) * per, n_thread = pool_size(a->threads);
    bench b = bench_of(a, worker);
    if (t->chunk == (size_t)WHOLE) {
        for (size_t h = first; h < first + per; h++) run_whole(a, t, h, &b);
        return;
    }
    span of = task_span(a, task);
    if (task < n_thread) ask_for(a, &of, 0);
    for (size_t h = first; h < first + per; h++) {
        bool more = h + 1 < first + per;
        span next = more ? span_of(a, a->list[t->first], t->chunk, h + 1) : task_span(a, task + n_thread);
        run_part(a, t, h, &of, next, &b);
        of = next;
    }
}

/* ---- folding ---- */

static void fold_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const attention *a = ctx;
    const attn_shape *c = &a->shape;
    size_t row = a->folded[a->wave->first_row + task], H = c->n_head, hd = c->head_dim;
    float *acc = a->part + part_at(a, row, 0) * hd;
    attn_state *state = a->state + part_at(a, row, 0);
    for (size_t chunk = 1; chunk < chunks_of(tokens_of(a, row)); chunk++)
        a->k->attn_merge(acc, state, a->part + part_at(a, row, chunk) * hd, a->state + part_at(a, row, chunk), H, hd);
    for (size_t h = 0; h < H; h++) finish_head(a, row, h, acc + h * hd, state[h]);
}

void attention_run(attention *a, size_t layer, float *out, attn_state *softmax, const void *q, size_t ldq) {
    pool *threads = a->threads;
    a->layer = layer;
    a->out = out;
    a->softmax = softmax;
    a->q = q;
    a->ldq_bytes = ldq * (a->kv->type == KV_F32 ? sizeof(float) : a->kv->type == KV_BF16 ? sizeof(uint16_t) : 1);
    for (a->wave = a->waves; a->wave < a->waves + a->n_wave; a->wave++) {
        pool_run(threads, a->wave->n_tile * (a->shape.n_head_kv / a->wave->heads_per_task), tile_task, a);
        pool_run(threads, a->wave->n_row, fold_task, a);
    }
}

size_t attention_set_room(attention *a, size_t n) {
    size_t before = a->n_unit;
    a->n_unit = n;
    return before;
}
