/* forward.c - one transformer pass over a ragged batch. Legend: n rows, d width, hd values per head, H query heads. The
 * pass is a list of named steps; everything per row is done in an order that does not depend on the other rows. */
#include "model/forward.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/attention.h"

struct forward_state {
    const pgr_model *m;
    size_t n_batch;
    size_t n_q, n_kv, n_qkv; /* values of a row's queries, of its keys, of both and its values */
    float *x;                /* (n, d) residual stream */
    float *h;                /* (n, d) normalised */
    float *qkv;              /* (n, n_qkv) */
    void *
        q_cache; /* (n) what attention reads of the queries where the cache is not in fp32, ldq values of its type apart */
    size_t ldq;
    float *attn;     /* (n, n_q) */
    float *gate_up;  /* (n, 2, n_ff) */
    float *cs;       /* (n, rope_dim / 2, 2) cosine and sine of every row's position */
    float *inv_freq; /* (rope_dim / 2) */
    attention *attention;
    lora_set loras;
};

/* What the parallel steps of one pass see. */
typedef struct pass {
    forward_state *f;
    kv_cache *kv;
    kv_seq *const *seqs;
    const forward_row *rows;
    size_t n_row, layer;
    bool any_want;
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

static pgr_status init_state(forward_state *f, pgr_error *err) {
    const config *c = &f->m->config;
    size_t n = f->n_batch;
    f->n_q = c->n_head * c->head_dim;
    f->n_kv = c->n_head_kv * c->head_dim;
    f->n_qkv = f->n_q + 2 * f->n_kv;
    struct {
        float **p;
        size_t n;
    } list[] = {
        {&f->x, n * c->n_embd},          {&f->h, n * c->n_embd},         {&f->qkv, n * f->n_qkv},
        {&f->attn, n * f->n_q},          {&f->gate_up, n * 2 * c->n_ff}, {&f->cs, n * c->rope_dim},
        {&f->inv_freq, c->rope_dim / 2},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        *list[i].p = mem_aligned(list[i].n * sizeof(float), 64);
        if (!*list[i].p) return fail_mem(err);
    }
    kv_type type = model_kv(f->m);
    f->ldq = type == KV_INT8 ? c->n_head * ATTN_QUERY_INT8(c->head_dim) : f->n_qkv;
    if (type != KV_F32) {
        f->q_cache = mem_aligned(n * f->ldq * (type == KV_BF16 ? sizeof(uint16_t) : 1), 64);
        if (!f->q_cache) return fail_mem(err);
    }
    init_inv_freq(f);
    return attention_create(f->m, n, &f->attention, err);
}

pgr_status forward_create(const pgr_model *m, size_t n_batch, forward_state **out, pgr_error *err) {
    forward_state *f = mem_zero(1, sizeof *f);
    if (!f) return fail_mem(err);
    f->m = m;
    f->n_batch = n_batch;
    pgr_status s = init_state(f, err);
    if (s != PGR_OK) {
        forward_free(f);
        return s;
    }
    *out = f;
    return PGR_OK;
}

void forward_free(forward_state *f) {
    if (!f) return;
    void *list[] = {f->x, f->h, f->qkv, f->q_cache, f->attn, f->gate_up, f->cs, f->inv_freq};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) mem_free(list[i]);
    attention_free(f->attention);
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

void forward_swap_loras(forward_state *f, lora_set *set) {
    lora_set before = f->loras;
    f->loras = *set;
    *set = before;
}

/* What the adapters add to a product, in their order. terms: up to one with r 0   x: (n, K) rows ldx apart, out: ldo
 * apart */
static void add_terms(const forward_state *f, const lowrank *terms, float *out, size_t ldo, const float *x, size_t ldx,
                      size_t n) {
    for (; terms->r > 0; terms++) lowrank_add(terms, out, ldo, x, ldx, n, f->m->threads);
}

/* A product of the layer, all rows, adapters included. Its matrices: n of them from `first` on, whose columns of out
 * begin at column[i] of N. */
static pgr_status project(pass *p, const gemm_weights *w, gemm_call call, layer_matrix first, const size_t *column,
                          size_t n, size_t N, pgr_error *err) {
    forward_state *f = p->f;
    call.M = p->n_row;
    call.ctx = p;
    PGR_TRY(gemm_run_call(w, &call, f->m->threads, err));
    for (size_t i = 0; f->loras.n > 0 && i < n; i++)
        add_terms(f, lora_terms(&f->loras, p->layer, first + i), call.out + column[i], N, call.x, call.ldx, p->n_row);
    return PGR_OK;
}

/* out = Wout x                                                                                         out: (n,
 * n_vocab) */
static pgr_status project_head(forward_state *f, float *out, const float *x, size_t n, pgr_error *err) {
    bool adapted = f->loras.n > 0;
    PGR_TRY(gemm_run(adapted ? f->loras.output : f->m->weights.output, out, x, n, f->m->threads, err));
    if (adapted) add_terms(f, lora_head_terms(&f->loras), out, f->m->config.n_vocab, x, f->m->config.n_embd, n);
    return PGR_OK;
}

/* x = the embedding's row of a token                                                                              x:
 * (d) */
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

static void norm_row(const pass *p, size_t row, const float *norm) {
    size_t d = p->f->m->config.n_embd;
    p->f->m->k->rmsnorm(p->f->h + row * d, p->f->x + row * d, norm, d, p->f->m->config.norm_eps);
}

static void attn_norm_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    norm_row(p, row, p->weights->attn_norm);
}

static void ffn_norm_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    norm_row(p, row, p->weights->ffn_norm);
}

static void add_biases(const pass *p, float *qkv) {
    const forward_state *f = p->f;
    f->m->k->add(qkv, p->weights->attn_q_bias, f->n_q);
    f->m->k->add(qkv + f->n_q, p->weights->attn_k_bias, f->n_kv);
    f->m->k->add(qkv + f->n_q + f->n_kv, p->weights->attn_v_bias, f->n_kv);
}

/* Normalises n heads in place, each by itself. scratch: (hd) */
static void norm_heads(const forward_state *f, float *heads, size_t n, const float *norm, float *scratch) {
    size_t hd = f->m->config.head_dim;
    for (size_t h = 0; h < n; h++) {
        f->m->k->rmsnorm(scratch, heads + h * hd, norm, hd, f->m->config.norm_eps);
        memcpy(heads + h * hd, scratch, hd * sizeof *heads);
    }
}

static void *block_of(const pass *p, size_t row, size_t head) {
    uint32_t page = p->seqs[p->rows[row].seq]->page[p->rows[row].pos / KV_PAGE];
    return kv_block(p->kv, page, p->layer, head);
}

/* K and V of a row into the cache, and its queries into the form that goes with it. */
static void store_f32(const pass *p, size_t row) {
    const forward_state *f = p->f;
    size_t hd = f->m->config.head_dim, t = p->rows[row].pos % KV_PAGE;
    const float *k = f->qkv + row * f->n_qkv + f->n_q, *v = k + f->n_kv;
    for (size_t h = 0; h < p->kv->n_head_kv; h++) attn_store(block_of(p, row, h), k + h * hd, v + h * hd, t, hd);
}

static void store_bf16(const pass *p, size_t row) {
    const forward_state *f = p->f;
    size_t hd = f->m->config.head_dim, t = p->rows[row].pos % KV_PAGE;
    uint16_t *q = (uint16_t *)f->q_cache + row * f->ldq;
    const uint16_t *k = q + f->n_q, *v = k + f->n_kv;
    f->m->k->to_bf16(q, f->qkv + row * f->n_qkv, f->n_qkv);
    for (size_t h = 0; h < p->kv->n_head_kv; h++) attn_store_bf16(block_of(p, row, h), k + h * hd, v + h * hd, t, hd);
}

static void store_int8(const pass *p, size_t row) {
    const forward_state *f = p->f;
    size_t hd = f->m->config.head_dim, t = p->rows[row].pos % KV_PAGE;
    const float *q = f->qkv + row * f->n_qkv, *k = q + f->n_q, *v = k + f->n_kv;
    uint8_t *out = (uint8_t *)f->q_cache + row * f->ldq;
    for (size_t h = 0; h < f->m->config.n_head; h++, out += ATTN_QUERY_INT8(hd))
        f->m->k->attn_query_int8(out, q + h * hd, hd, 1.0f / sqrtf((float)hd));
    for (size_t h = 0; h < p->kv->n_head_kv; h++)
        f->m->k->attn_store_int8(block_of(p, row, h), k + h * hd, v + h * hd, t, hd);
}

/* Between the product and attention: biases, norms of heads, rotation; K and V into the cache. */
static void attn_input_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    forward_state *f = p->f;
    const config *c = &f->m->config;
    float *q = f->qkv + row * f->n_qkv, *k = q + f->n_q, *scratch = f->attn + row * f->n_q; /* not in use yet */
    if (c->attn_bias) add_biases(p, q);
    if (c->qk_norm) norm_heads(f, q, c->n_head, p->weights->attn_q_norm, scratch);
    if (c->qk_norm) norm_heads(f, k, c->n_head_kv, p->weights->attn_k_norm, scratch);
    const float *cs = f->cs + row * c->rope_dim;
    for (size_t h = 0; h < c->n_head + c->n_head_kv; h++) /* keys stand behind the queries */
        f->m->k->rope(q + h * c->head_dim, cs, c->rope_dim, c->rope_interleaved);
    static void (*const store[])(const pass *, size_t) = {store_f32, store_bf16, store_int8}; /* by kv_type */
    store[p->kv->type](p, row);
}

static void swiglu_row(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const pass *p = ctx;
    size_t n = p->f->m->config.n_ff;
    float *gate = p->f->gate_up + row * 2 * n;
    p->f->m->k->swiglu(gate, gate + n, n);
}

static pgr_status run_layer(pass *p, pgr_error *err) {
    forward_state *f = p->f;
    const layer_weights *l = p->weights;
    size_t d = f->m->config.n_embd, n_ff = f->m->config.n_ff;
    const size_t qkv[] = {0, f->n_q, f->n_q + f->n_kv}, gate_up[] = {0, n_ff}, whole[] = {0};

    /* attention: x += Wo attention(Wq h, Wk h, Wv h), h = norm(x); biases and norms of heads where the family has
     * them */
    gemm_call in = {.out = f->qkv, .x = f->h, .ldx = d, .before = attn_norm_row};
    PGR_TRY(project(p, l->attn_qkv, in, LAYER_attn_q, qkv, 3, f->n_qkv, err));
    pool_run(f->m->threads, p->n_row, attn_input_row, p);
    if (p->layer + 1 == f->m->config.n_layer && !p->any_want)
        return PGR_OK; /* nobody reads what the last layer gives */
    attention_run(f->attention, p->layer, f->attn, f->q_cache ? f->q_cache : f->qkv, f->ldq);
    gemm_call out = {.out = f->x, .x = f->attn, .ldx = f->n_q, .add = true};
    PGR_TRY(project(p, l->attn_output, out, LAYER_attn_output, whole, 1, d, err));

    /* feed-forward: x += Wdown (silu(Wgate h) * Wup h), h = norm(x) */
    gemm_call up = {.out = f->gate_up, .x = f->h, .ldx = d, .before = ffn_norm_row};
    PGR_TRY(project(p, l->ffn_gate_up, up, LAYER_ffn_gate, gate_up, 2, 2 * n_ff, err));
    gemm_call down = {.out = f->x, .x = f->gate_up, .ldx = 2 * n_ff, .before = swiglu_row, .add = true};
    return project(p, l->ffn_down, down, LAYER_ffn_down, whole, 1, d, err);
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
    for (size_t i = 0; i < p->n_row; i++) p->any_want = p->any_want || p->rows[i].want;
    attention_plan(f->attention, p->kv, p->seqs, p->rows, p->n_row);
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
