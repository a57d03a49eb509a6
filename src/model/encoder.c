/* encoder.c - the pass of an encoder over a ragged batch: rows of many sentences in one product, attention per sentence
 * and head. Legend: n rows, d width, hd values per head, H heads, T tokens of a sentence. Everything per row is done in an
 * order that does not depend on the other sentences. */
#include "model/encoder.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { ROW_BLOCK = 16 }; /* rows of one task of the steps between products */

struct encoder_state {
    const encoder *e;
    size_t n_row;
    float *x;    /* (n, d) residual stream */
    float *h;    /* (n, d) what is added to it */
    float *qkv;  /* (n, 3 d) */
    float *attn; /* (n, d) */
    float *ff;   /* (n, n_ff) */
    float *
        head; /* per worker: one head's queries and sums (3, T, hd), pages of a chunk's keys and values, kernel scratch */
    attn_state *softmax; /* per worker: (2, T) */
    uint32_t *n_valid;   /* per worker: (T) */
    size_t head_size, max_T;
};

typedef struct pass {
    encoder_state *s;
    const int32_t *ids;
    const size_t *start; /* (n_seq + 1) */
    size_t n_seq;
    const encoder_layer *layer;
} pass;

pgr_status encoder_state_create(const encoder *e, size_t n_row, encoder_state **out, pgr_error *err) {
    const encoder_config *c = &e->config;
    size_t workers = pool_size(e->threads), hd = c->n_embd / c->n_head;
    encoder_state *s = mem_zero(1, sizeof *s);
    if (!s) return fail_mem(err);
    s->e = e;
    s->n_row = n_row;
    s->max_T = n_row < c->n_pos ? n_row : c->n_pos;
    s->head_size = 3 * s->max_T * hd + 2 * ATTN_CHUNK * hd + ATTN_SCRATCH;
    s->x = mem_aligned(n_row * c->n_embd * sizeof(float), 64);
    s->h = mem_aligned(n_row * c->n_embd * sizeof(float), 64);
    s->qkv = mem_aligned(n_row * 3 * c->n_embd * sizeof(float), 64);
    s->attn = mem_aligned(n_row * c->n_embd * sizeof(float), 64);
    s->ff = mem_aligned(n_row * c->n_ff * sizeof(float), 64);
    s->head = mem_aligned(workers * s->head_size * sizeof(float), 64);
    s->softmax = mem_array(workers * 2 * s->max_T, sizeof *s->softmax);
    s->n_valid = mem_array(workers * s->max_T, sizeof *s->n_valid);
    if (!s->x || !s->h || !s->qkv || !s->attn || !s->ff || !s->head || !s->softmax || !s->n_valid) {
        encoder_state_free(s);
        return fail_mem(err);
    }
    *out = s;
    return PGR_OK;
}

void encoder_state_free(encoder_state *s) {
    if (!s) return;
    void *list[] = {s->x, s->h, s->qkv, s->attn, s->ff, s->head, s->softmax, s->n_valid};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) mem_free(list[i]);
    mem_free(s);
}

/* ---- steps on blocks of rows ---- */

static size_t block_end(const pass *p, size_t block) {
    size_t n = p->start[p->n_seq], end = (block + 1) * ROW_BLOCK;
    return end < n ? end : n;
}

static void run_blocks(pass *p, pool_fn step) {
    pool_run(p->s->e->threads, (p->start[p->n_seq] + ROW_BLOCK - 1) / ROW_BLOCK, step, p);
}

/* Task: a sentence. x = norm(word + type 0 + position) */
static void embed_sentence(void *ctx, size_t seq, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    const encoder *e = p->s->e;
    size_t d = e->config.n_embd;
    quant_type type = (quant_type)e->words->type;
    for (size_t row = p->start[seq]; row < p->start[seq + 1]; row++) {
        float *x = p->s->x + row * d;
        const uint8_t *words = e->words->data;
        quant_dequant(type, x, words + (size_t)p->ids[row] * quant_row_bytes(type, d), d);
        e->k->add(x, e->types, d);
        e->k->add(x, e->positions + (row - p->start[seq]) * d, d);
        e->k->layernorm(x, x, e->embd_norm, e->embd_norm_b, d, e->config.norm_eps);
    }
}

static void qkv_bias(void *ctx, size_t block, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    size_t n = 3 * p->s->e->config.n_embd;
    for (size_t row = block * ROW_BLOCK; row < block_end(p, block); row++)
        p->s->e->k->add(p->s->qkv + row * n, p->layer->qkv_b, n);
}

/* x = norm(x + h + bias) */
static void add_norm(const pass *p, size_t block, const float *bias, const float *norm, const float *norm_b) {
    const encoder *e = p->s->e;
    size_t d = e->config.n_embd;
    for (size_t row = block * ROW_BLOCK; row < block_end(p, block); row++) {
        float *x = p->s->x + row * d;
        e->k->add(p->s->h + row * d, bias, d);
        e->k->add(x, p->s->h + row * d, d);
        e->k->layernorm(x, x, norm, norm_b, d, e->config.norm_eps);
    }
}

static void attn_norm(void *ctx, size_t block, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    add_norm(p, block, p->layer->attn_out_b, p->layer->attn_norm, p->layer->attn_norm_b);
}

static void ffn_norm(void *ctx, size_t block, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    add_norm(p, block, p->layer->ffn_down_b, p->layer->ffn_norm, p->layer->ffn_norm_b);
}

static void activate(const encoder *e, float *x, size_t n) {
    switch (e->config.act) {
    case ENCODER_GELU:
        e->k->gelu(x, n);
        break;
    case ENCODER_GELU_TANH:
        e->k->gelu_tanh(x, n);
        break;
    case ENCODER_RELU:
        for (size_t i = 0; i < n; i++) x[i] = x[i] < 0 ? 0 : x[i];
        break;
    }
}

static void ffn_act(void *ctx, size_t block, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    size_t n = p->s->e->config.n_ff;
    for (size_t row = block * ROW_BLOCK; row < block_end(p, block); row++) {
        p->s->e->k->add(p->s->ff + row * n, p->layer->ffn_up_b, n);
        activate(p->s->e, p->s->ff + row * n, n);
    }
}

/* ---- attention ---- */

/* Keys and values of n tokens into pages as attn_chunk reads them; what is beyond them in the last page is zero.
 * k, v: rows `stride` apart, pages: (2 * hd * KV_PAGE) each; returns the number of pages */
static size_t load_chunk(const float *k, const float *v, size_t n, size_t stride, size_t hd, float *pages) {
    size_t n_page = (n + KV_PAGE - 1) / KV_PAGE, size = 2 * hd * KV_PAGE;
    memset(pages + (n_page - 1) * size, 0, size * sizeof *pages);
    for (size_t t = 0; t < n; t++)
        attn_store(pages + t / KV_PAGE * size, k + t * stride, v + t * stride, t % KV_PAGE, hd);
    return n_page;
}

/* Task: one head of one sentence, all of whose tokens see each other. */
static void attend(void *ctx, size_t task, size_t worker) {
    const pass *p = ctx;
    encoder_state *s = p->s;
    const encoder_config *c = &s->e->config;
    size_t d = c->n_embd, hd = d / c->n_head, seq = task / c->n_head, h = task % c->n_head;
    size_t first = p->start[seq], T = p->start[seq + 1] - first, stride = 3 * d;
    const float *rows = s->qkv + first * stride + h * hd, *blocks[ATTN_CHUNK / KV_PAGE];
    float *q = s->head + worker * s->head_size, *acc = q + T * hd, *acc2 = acc + T * hd, *pages = acc2 + T * hd;
    float *scratch = pages + 2 * ATTN_CHUNK * hd;
    attn_state *softmax = s->softmax + worker * 2 * s->max_T, *softmax2 = softmax + T;
    uint32_t *n_valid = s->n_valid + worker * s->max_T;

    for (size_t t = 0; t < T; t++) memcpy(q + t * hd, rows + t * stride, hd * sizeof *q);
    for (size_t i = 0; i < ATTN_CHUNK / KV_PAGE; i++) blocks[i] = pages + i * 2 * hd * KV_PAGE;
    for (size_t t0 = 0; t0 < T; t0 += ATTN_CHUNK) {
        const float *from = rows + t0 * stride;
        size_t n = T - t0 < ATTN_CHUNK ? T - t0 : ATTN_CHUNK,
               n_page = load_chunk(from + d, from + 2 * d, n, stride, hd, pages);
        for (size_t t = 0; t < T; t++) n_valid[t] = (uint32_t)n;
        s->e->k->attn_chunk(t0 ? acc2 : acc, t0 ? softmax2 : softmax, q, blocks, n_page, n_valid, T, hd,
                            1.0f / sqrtf((float)hd), scratch);
        if (t0) s->e->k->attn_merge(acc, softmax, acc2, softmax2, T, hd);
    }
    for (size_t t = 0; t < T; t++) {
        float *out = s->attn + (first + t) * d + h * hd, inv = 1.0f / softmax[t].sum;
        for (size_t i = 0; i < hd; i++) out[i] = acc[t * hd + i] * inv;
    }
}

/* ---- the pass ---- */

static pgr_status run_layer(pass *p, pgr_error *err) {
    encoder_state *s = p->s;
    const encoder_layer *l = p->layer;
    pool *threads = s->e->threads;
    size_t n = p->start[p->n_seq];

    /* x = norm(x + Wo attention(Wq x, Wk x, Wv x)) */
    PGR_TRY(gemm_run(l->qkv, s->qkv, s->x, n, threads, err));
    run_blocks(p, qkv_bias);
    pool_run(threads, p->n_seq * s->e->config.n_head, attend, p);
    PGR_TRY(gemm_run(l->attn_out, s->h, s->attn, n, threads, err));
    run_blocks(p, attn_norm);

    /* x = norm(x + Wdown act(Wup x)) */
    PGR_TRY(gemm_run(l->ffn_up, s->ff, s->x, n, threads, err));
    run_blocks(p, ffn_act);
    PGR_TRY(gemm_run(l->ffn_down, s->h, s->ff, n, threads, err));
    run_blocks(p, ffn_norm);
    return PGR_OK;
}

static pgr_status check_batch(const pass *p, pgr_error *err) {
    const encoder_config *c = &p->s->e->config;
    PGR_ASSERT(p->n_seq > 0 && p->start[0] == 0 && p->start[p->n_seq] <= p->s->n_row);
    for (size_t i = 0; i < p->n_seq; i++)
        PGR_ASSERT(p->start[i] < p->start[i + 1] && p->start[i + 1] - p->start[i] <= c->n_pos);
    for (size_t i = 0; i < p->start[p->n_seq]; i++)
        if (p->ids[i] < 0 || (size_t)p->ids[i] >= c->n_vocab)
            return fail(err, PGR_E_ARG, "token %d is not in the vocabulary of %zu", p->ids[i], c->n_vocab);
    return PGR_OK;
}

pgr_status encoder_run(encoder_state *s, const int32_t *ids, const size_t *start, size_t n_seq, const float **hidden,
                       pgr_error *err) {
    pass p = {.s = s, .ids = ids, .start = start, .n_seq = n_seq};
    PGR_TRY(check_batch(&p, err));
    pool_run(s->e->threads, n_seq, embed_sentence, &p);
    for (size_t i = 0; i < s->e->config.n_layer; i++) {
        p.layer = &s->e->layers[i];
        PGR_TRY(run_layer(&p, err));
    }
    *hidden = s->x;
    return PGR_OK;
}
