/* forward.c - one transformer pass over a ragged batch. Legend: n rows, d width, hd values per head, H query heads, G query
 * heads per KV head. The pass is a list of named steps; everything per row is done in an order that does not depend on
 * the other rows. */
#include "model/forward.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { ATTN_ROWS = 32 }; /* query heads that one attention task handles together, unless a group alone is larger */

struct forward_state {
    const pgr_model *m;
    size_t n_batch;
    float *x;         /* (n, d) residual stream */
    float *h;         /* (n, d) normalised; then the projection that is added back */
    float *q;         /* (n, H * hd) */
    float *k, *v;     /* (n, H_kv * hd) */
    float *attn;      /* (n, H * hd) */
    float *gate, *up; /* (n, n_ff) */
    float *cs;        /* (n, rope_dim / 2, 2) cosine and sine of every row's position */
    float *tiles;     /* per worker: q and acc of a task, (2, ATTN_ROWS, hd) */
    float *inv_freq;  /* (rope_dim / 2) */
    lora_set loras;
};

/* What the parallel steps of one pass see. */
typedef struct pass {
    forward_state *f;
    kv_cache *kv;
    kv_seq *const *seqs;
    const forward_row *rows;
    size_t n_row, layer;
    const float *norm;            /* of the norm that is running */
    const layer_weights *weights; /* of the layer */
} pass;

static void init_inv_freq(forward_state *f) {
    const config *c = &f->m->config;
    const float *divisor = f->m->weights.rope_freqs;
    for (size_t i = 0; i < c->rope_dim / 2; i++) {
        double freq = config_rope_freq(c, i);
        f->inv_freq[i] = divisor ? (float)freq / divisor[i] : (float)freq;
    }
}

pgr_status forward_create(const pgr_model *m, size_t n_batch, forward_state **out, pgr_error *err) {
    const config *c = &m->config;
    forward_state *f = mem_zero(1, sizeof *f);
    if (!f) return fail_mem(err);
    f->m = m;
    f->n_batch = n_batch;

    size_t group = c->n_head / c->n_head_kv, tile = ATTN_ROWS > group ? ATTN_ROWS : group;
    struct {
        float **p;
        size_t n;
    } list[] = {
        {&f->x, n_batch * c->n_embd},
        {&f->h, n_batch * c->n_embd},
        {&f->q, n_batch * c->n_head * c->head_dim},
        {&f->k, n_batch * c->n_head_kv * c->head_dim},
        {&f->v, n_batch * c->n_head_kv * c->head_dim},
        {&f->attn, n_batch * c->n_head * c->head_dim},
        {&f->gate, n_batch * c->n_ff},
        {&f->up, n_batch * c->n_ff},
        {&f->cs, n_batch * c->rope_dim},
        {&f->tiles, pool_size(m->threads) * 2 * tile * c->head_dim},
        {&f->inv_freq, c->rope_dim / 2},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        *list[i].p = mem_aligned(list[i].n * sizeof(float), 64);
        if (!*list[i].p) {
            forward_free(f);
            return fail_mem(err);
        }
    }
    init_inv_freq(f);
    *out = f;
    return PGR_OK;
}

void forward_free(forward_state *f) {
    if (!f) return;
    float *list[] = {f->x, f->h, f->q, f->k, f->v, f->attn, f->gate, f->up, f->cs, f->tiles, f->inv_freq};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) mem_free(list[i]);
    lora_set_free(&f->loras);
    mem_free(f);
}

/* ---- adapters ---- */

pgr_status forward_set_loras(forward_state *f, pgr_lora *const *loras, const float *scales, size_t n, pgr_error *err) {
    lora_set set;
    PGR_TRY(lora_set_create(f->m, loras, scales, n, &set, err));
    lora_set_free(&f->loras);
    f->loras = set;
    return PGR_OK;
}

/* What the adapters add to a product, in their order. terms: up to one with r 0     x: (n, K) dense, out: rows ldo apart */
static void add_terms(const forward_state *f, const lowrank *terms, float *out, size_t ldo, const float *x, size_t n) {
    for (; terms->r > 0; terms++) lowrank_add(terms, out, ldo, x, n, f->m->threads);
}

/* out = W x for a matrix of the layer, adapters included */
static pgr_status project(const pass *p, const gemm_weights *w, lora_matrix matrix, size_t N, float *out,
                          const float *x, pgr_error *err) {
    forward_state *f = p->f;
    PGR_TRY(gemm_run(w, out, x, p->n_row, f->m->threads, err));
    if (f->loras.n > 0) add_terms(f, lora_terms(&f->loras, p->layer, matrix), out, N, x, p->n_row);
    return PGR_OK;
}

/* out = Wout x                                                                                         out: (n, n_vocab) */
static pgr_status project_head(forward_state *f, float *out, const float *x, size_t n, pgr_error *err) {
    bool adapted = f->loras.n > 0;
    PGR_TRY(gemm_run(adapted ? f->loras.output : f->m->weights.output, out, x, n, f->m->threads, err));
    if (adapted) add_terms(f, lora_head_terms(&f->loras), out, f->m->config.n_vocab, x, n);
    return PGR_OK;
}

/* x = the embedding's row of a token                                                                              x: (d) */
static void look_up(const forward_state *f, float *x, size_t token) {
    size_t d = f->m->config.n_embd;
    const source_tensor *e = f->loras.n > 0 ? f->loras.token_embd : f->m->weights.token_embd;
    quant_dequant((quant_type)e->type, x, (const uint8_t *)e->data + token * quant_row_bytes((quant_type)e->type, d),
                  d);
    if (f->loras.n == 0) return;
    for (const lowrank *t = lora_embedding_terms(&f->loras); t->r > 0; t++) lowrank_add_row(t, x, token);
}

/* ---- steps ---- */

static void embed_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    const config *c = &p->f->m->config;
    look_up(p->f, p->f->x + row * c->n_embd, (size_t)p->rows[row].token);

    float *cs = p->f->cs + row * c->rope_dim;
    for (size_t i = 0; i < c->rope_dim / 2; i++) {
        float angle = (float)p->rows[row].pos * p->f->inv_freq[i]; /* in fp32, as the reference implementations train */
        cs[2 * i] = cosf(angle);
        cs[2 * i + 1] = sinf(angle);
    }
}

static void norm_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    size_t d = p->f->m->config.n_embd;
    p->f->m->k->rmsnorm(p->f->h + row * d, p->f->x + row * d, p->norm, d, p->f->m->config.norm_eps);
}

static void bias_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    forward_state *f = p->f;
    const config *c = &f->m->config;
    size_t n_q = c->n_head * c->head_dim, n_kv = c->n_head_kv * c->head_dim;
    f->m->k->add(f->q + row * n_q, p->weights->attn_q_bias, n_q);
    f->m->k->add(f->k + row * n_kv, p->weights->attn_k_bias, n_kv);
    f->m->k->add(f->v + row * n_kv, p->weights->attn_v_bias, n_kv);
}

/* Normalises n heads in place, each by itself. scratch: (hd) */
static void norm_heads(const forward_state *f, float *heads, size_t n, const float *norm, float *scratch) {
    size_t hd = f->m->config.head_dim;
    for (size_t h = 0; h < n; h++) {
        f->m->k->rmsnorm(scratch, heads + h * hd, norm, hd, f->m->config.norm_eps);
        memcpy(heads + h * hd, scratch, hd * sizeof *heads);
    }
}

static void qk_norm_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    forward_state *f = p->f;
    const config *c = &f->m->config;
    size_t n_q = c->n_head * c->head_dim, n_kv = c->n_head_kv * c->head_dim;
    float *scratch = f->attn + row * n_q; /* not in use yet */
    norm_heads(f, f->q + row * n_q, c->n_head, p->weights->attn_q_norm, scratch);
    norm_heads(f, f->k + row * n_kv, c->n_head_kv, p->weights->attn_k_norm, scratch);
}

/* Rotates q and k of a row and writes its K and V into the cache. */
static void store_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    forward_state *f = p->f;
    const config *c = &f->m->config;
    const kernels *kn = f->m->k;
    size_t hd = c->head_dim;
    const float *cs = f->cs + row * c->rope_dim;
    for (size_t h = 0; h < c->n_head; h++)
        kn->rope(f->q + (row * c->n_head + h) * hd, cs, c->rope_dim, c->rope_interleaved);

    uint32_t page = p->seqs[p->rows[row].seq]->page[p->rows[row].pos / KV_PAGE];
    size_t t = p->rows[row].pos % KV_PAGE;
    for (size_t h = 0; h < c->n_head_kv; h++) {
        float *k = f->k + (row * c->n_head_kv + h) * hd;
        kn->rope(k, cs, c->rope_dim, c->rope_interleaved);
        float *kT = kv_k(p->kv, page, p->layer, h); /* (hd, KV_PAGE) */
        for (size_t i = 0; i < hd; i++) kT[i * KV_PAGE + t] = k[i];
        memcpy(kv_v(p->kv, page, p->layer, h) + t * hd, f->v + (row * c->n_head_kv + h) * hd, hd * sizeof(float));
    }
}

/* Rows from `row` on that stand in one sequence, at most max. */
static size_t run_of_sequence(const pass *p, size_t row, size_t max) {
    size_t n = 1;
    while (n < max && row + n < p->n_row && p->rows[row + n].seq == p->rows[row].seq) n++;
    return n;
}

/* Attention of the query heads (n rows x G heads) over all pages of their sequence up to their own position. */
static void attend(const pass *p, size_t row, size_t n, size_t head_kv, float *tile) {
    forward_state *f = p->f;
    const config *c = &f->m->config;
    size_t hd = c->head_dim, G = c->n_head / c->n_head_kv, R = n * G;
    float *q = tile, *acc = tile + R * hd;
    attn_state state[MAX_HEAD_GROUP];
    uint32_t n_valid[MAX_HEAD_GROUP];

    /* gather q, empty state */
    for (size_t i = 0; i < n; i++)
        memcpy(q + i * G * hd, f->q + ((row + i) * c->n_head + head_kv * G) * hd, G * hd * sizeof *q);
    memset(acc, 0, R * hd * sizeof *acc);
    for (size_t r = 0; r < R; r++) state[r] = (attn_state){.max = -INFINITY, .sum = 0.0f};

    /* every page, in order */
    const kv_seq *s = p->seqs[p->rows[row].seq];
    size_t last = p->rows[row + n - 1].pos;
    for (size_t page = 0; page <= last / KV_PAGE; page++) {
        for (size_t r = 0; r < R; r++) {
            size_t pos = p->rows[row + r / G].pos, first = page * KV_PAGE;
            n_valid[r] = pos < first ? 0 : (uint32_t)(pos - first + 1 < KV_PAGE ? pos - first + 1 : KV_PAGE);
        }
        f->m->k->attn_page(acc, state, q, kv_k(p->kv, s->page[page], p->layer, head_kv),
                           kv_v(p->kv, s->page[page], p->layer, head_kv), n_valid, R, hd, 1.0f / sqrtf((float)hd));
    }

    /* normalise, scatter */
    for (size_t r = 0; r < R; r++) {
        float *out = f->attn + ((row + r / G) * c->n_head + head_kv * G + r % G) * hd;
        float inv = 1.0f / state[r].sum;
        for (size_t i = 0; i < hd; i++) out[i] = acc[r * hd + i] * inv;
    }
}

/* Task: one KV head of ATTN_ROWS / G rows; runs of one sequence inside it are computed together. */
static size_t rows_per_task(const config *c) {
    size_t G = c->n_head / c->n_head_kv;
    return G >= ATTN_ROWS ? 1 : ATTN_ROWS / G;
}

static void attention_task(void *ctx, size_t task, size_t worker) {
    const pass *p = ctx;
    const config *c = &p->f->m->config;
    size_t per = rows_per_task(c), head_kv = task % c->n_head_kv, first = task / c->n_head_kv * per;
    size_t end = first + per < p->n_row ? first + per : p->n_row;
    size_t G = c->n_head / c->n_head_kv, tile = ATTN_ROWS > G ? ATTN_ROWS : G;
    float *scratch = p->f->tiles + worker * 2 * tile * c->head_dim;
    for (size_t row = first; row < end;) {
        size_t n = run_of_sequence(p, row, end - row);
        attend(p, row, n, head_kv, scratch);
        row += n;
    }
}

static void swiglu_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    size_t n = p->f->m->config.n_ff;
    p->f->m->k->swiglu(p->f->gate + row * n, p->f->up + row * n, n);
}

static void add_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    size_t d = p->f->m->config.n_embd;
    p->f->m->k->add(p->f->x + row * d, p->f->h + row * d, d);
}

static pgr_status run_layer(pass *p, pgr_error *err) {
    forward_state *f = p->f;
    const layer_weights *l = p->weights;
    const config *c = &f->m->config;
    pool *threads = f->m->threads;
    size_t n = p->n_row, n_q = c->n_head * c->head_dim, n_kv = c->n_head_kv * c->head_dim;

    /* attention: x += Wo attention(rope(Wq h), rope(Wk h), Wv h), h = norm(x); biases and norms of heads where the family
     * has them */
    p->norm = l->attn_norm;
    pool_run(threads, n, norm_row, p);
    PGR_TRY(project(p, l->attn_q, LORA_attn_q, n_q, f->q, f->h, err));
    PGR_TRY(project(p, l->attn_k, LORA_attn_k, n_kv, f->k, f->h, err));
    PGR_TRY(project(p, l->attn_v, LORA_attn_v, n_kv, f->v, f->h, err));
    if (c->attn_bias) pool_run(threads, n, bias_row, p);
    if (c->qk_norm) pool_run(threads, n, qk_norm_row, p);
    pool_run(threads, n, store_row, p);
    pool_run(threads, (n + rows_per_task(c) - 1) / rows_per_task(c) * c->n_head_kv, attention_task, p);
    PGR_TRY(project(p, l->attn_output, LORA_attn_output, c->n_embd, f->h, f->attn, err));
    pool_run(threads, n, add_row, p);

    /* feed-forward: x += Wdown (silu(Wgate h) * Wup h), h = norm(x) */
    p->norm = l->ffn_norm;
    pool_run(threads, n, norm_row, p);
    PGR_TRY(project(p, l->ffn_gate, LORA_ffn_gate, c->n_ff, f->gate, f->h, err));
    PGR_TRY(project(p, l->ffn_up, LORA_ffn_up, c->n_ff, f->up, f->h, err));
    pool_run(threads, n, swiglu_row, p);
    PGR_TRY(project(p, l->ffn_down, LORA_ffn_down, c->n_embd, f->h, f->gate, err));
    pool_run(threads, n, add_row, p);
    return PGR_OK;
}

/* Rows must be known tokens, in order of position from their sequence's end, with room made for them. */
static pgr_status check_rows(const pass *p, pgr_error *err) {
    const config *c = &p->f->m->config;
    PGR_ASSERT(p->n_row > 0 && p->n_row <= p->f->n_batch);
    for (size_t i = 0; i < p->n_row; i++) {
        const forward_row *r = &p->rows[i];
        const kv_seq *s = p->seqs[r->seq];
        bool first = i == 0 || p->rows[i - 1].seq != r->seq;
        if (r->token < 0 || (size_t)r->token >= c->n_vocab)
            return fail(err, PGR_E_ARG, "token %d is not in the vocabulary of %zu", r->token, c->n_vocab);
        if (r->pos >= c->n_ctx)
            return fail(err, PGR_E_LIMIT, "position %u is beyond the model's context of %zu tokens", r->pos, c->n_ctx);
        PGR_ASSERT(r->pos == (first ? s->n_token : p->rows[i - 1].pos + 1));
        PGR_ASSERT(r->pos / KV_PAGE < s->n_page);
    }
    return PGR_OK;
}

/* Final norm of the wanted rows. out: (rows with want, d); returns their number */
static size_t norm_wanted(const pass *p, float *out) {
    const pgr_model *m = p->f->m;
    const float *norm = p->f->loras.n > 0 ? p->f->loras.output_norm : m->weights.output_norm;
    size_t d = m->config.n_embd, n_want = 0;
    for (size_t i = 0; i < p->n_row; i++)
        if (p->rows[i].want) m->k->rmsnorm(out + n_want++ * d, p->f->x + i * d, norm, d, m->config.norm_eps);
    return n_want;
}

/* All layers: fills the residual stream and the cache. */
static pgr_status run_layers(pass *p, pgr_error *err) {
    forward_state *f = p->f;
    const layer_weights *layers = f->loras.n > 0 ? f->loras.layers : f->m->weights.layers;
    PGR_TRY(check_rows(p, err));
    pool_run(f->m->threads, p->n_row, embed_row, p);
    for (p->layer = 0; p->layer < f->m->config.n_layer; p->layer++) {
        p->weights = &layers[p->layer];
        PGR_TRY(run_layer(p, err));
    }
    return PGR_OK;
}

static void advance_sequences(const pass *p) {
    for (size_t i = 0; i < p->n_row; i++) p->seqs[p->rows[i].seq]->n_token = p->rows[i].pos + 1;
}

pgr_status forward_run(forward_state *f, kv_cache *kv, kv_seq *const *seqs, const forward_row *rows, size_t n_row,
                       float *logits, pgr_error *err) {
    pass p = {.f = f, .kv = kv, .seqs = seqs, .rows = rows, .n_row = n_row};
    PGR_TRY(run_layers(&p, err));
    size_t n_want = norm_wanted(&p, f->h);
    if (n_want > 0) PGR_TRY(project_head(f, logits, f->h, n_want, err));
    advance_sequences(&p);
    return PGR_OK;
}

pgr_status forward_hidden(forward_state *f, kv_cache *kv, kv_seq *const *seqs, const forward_row *rows, size_t n_row,
                          float *hidden, pgr_error *err) {
    pass p = {.f = f, .kv = kv, .seqs = seqs, .rows = rows, .n_row = n_row};
    PGR_TRY(run_layers(&p, err));
    norm_wanted(&p, hidden);
    advance_sequences(&p);
    return PGR_OK;
}
