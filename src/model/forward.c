/* forward.c - one transformer pass over a ragged batch, as a list of operations (ops.h). Legend: n rows, d width, hd
 * values per head, H query heads. */
#include "model/forward.h"

#include <string.h>

#include "base/mem.h"

struct forward_state {
    const pgr_model *m;
    size_t n_batch;
    size_t n_q, n_kv, n_qkv; /* values of a row's queries, of its keys, of both and its values */
    float *x;                /* (n, d) residual stream */
    float *h;                /* (n, d) normalised */
    float *qkv;              /* (n, n_qkv) */
    float *attn;             /* (n, n_q) */
    float *gate_up;          /* (n, 2, n_ff) */
    float *cs;               /* (n, rope_dim / 2, 2) cosine and sine of every row's position */
    float *inputs;           /* (n_layer, n_batch, d) the caller's, or NULL */
    float *inv_freq;         /* (rope_dim / 2) */
    int32_t *token;          /* (n) of every row, and the next two: its position, its sequence's pages */
    uint32_t *pos;
    const uint32_t **pages;
    uint32_t *wanted; /* rows whose result is wanted */
    attn *attention;
    lora_set loras;
};

/* One pass. */
typedef struct pass {
    forward_state *f;
    ops *o;
    size_t n_row, n_want, layer;
    kv_pages kv;
    row_table rows;
    const layer_weights *weights; /* of the layer */
} pass;

/* ---- life ---- */

void forward_angles(const pgr_model *m, float *freq) {
    const float *divisor = m->weights.rope_freqs;
    for (size_t i = 0; i < m->config.rope_dim / 2; i++) {
        double f = config_rope_freq(&m->config, i);
        freq[i] = divisor ? (float)f / divisor[i] : (float)f;
    }
}

static pgr_status init_rows(forward_state *f, pgr_error *err) {
    const config *c = &f->m->config;
    size_t n = f->n_batch;
    struct {
        float **p;
        size_t n;
    } list[] = {
        {&f->x, n * c->n_embd}, {&f->h, n * c->n_embd},         {&f->qkv, n * f->n_qkv},
        {&f->attn, n * f->n_q}, {&f->gate_up, n * 2 * c->n_ff}, {&f->cs, n * c->rope_dim},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        *list[i].p = ops_alloc(f->m->ops, list[i].n);
        if (!*list[i].p) return fail_mem(err);
    }
    return PGR_OK;
}

static pgr_status init_state(forward_state *f, pgr_error *err) {
    const config *c = &f->m->config;
    size_t n = f->n_batch;
    f->n_q = c->n_head * c->head_dim;
    f->n_kv = c->n_head_kv * c->head_dim;
    f->n_qkv = f->n_q + 2 * f->n_kv;
    f->inv_freq = mem_array(c->rope_dim / 2, sizeof *f->inv_freq);
    f->token = mem_array(n, sizeof *f->token);
    f->pos = mem_array(n, sizeof *f->pos);
    f->pages = mem_array(n, sizeof *f->pages);
    f->wanted = mem_array(n, sizeof *f->wanted);
    if (!f->inv_freq || !f->token || !f->pos || !f->pages || !f->wanted) return fail_mem(err);
    forward_angles(f->m, f->inv_freq);
    PGR_TRY(init_rows(f, err));
    attn_shape shape = {c->n_head, c->n_head_kv, c->head_dim, n, c->n_ctx, model_kv(f->m)};
    return attn_create(f->m->ops, &shape, &f->attention, err);
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
    float *rows[] = {f->x, f->h, f->qkv, f->attn, f->gate_up, f->cs};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) ops_drop(f->m->ops, rows[i]);
    void *list[] = {f->inv_freq, f->token, f->pos, f->pages, f->wanted};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) mem_free(list[i]);
    attn_free(f->attention);
    lora_set_free(&f->loras);
    mem_free(f);
}

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

void forward_keep(forward_state *f, float *inputs) {
    f->inputs = inputs;
}

/* ---- the rows ---- */

/* Rows must be known tokens, in order of position from their sequence's end, with room made for them. */
static pgr_status check_row(const forward_state *f, kv_seq *const *seqs, const forward_row *rows, size_t i,
                            pgr_error *err) {
    const config *c = &f->m->config;
    const forward_row *r = &rows[i];
    const kv_seq *s = seqs[r->seq];
    bool first = i == 0 || rows[i - 1].seq != r->seq;
    if (r->token < 0 || (size_t)r->token >= c->n_vocab)
        return fail(err, PGR_E_ARG, "token %d is not in the vocabulary of %zu", r->token, c->n_vocab);
    if (r->pos >= c->n_ctx)
        return fail(err, PGR_E_LIMIT, "position %u is beyond the model's context of %zu tokens", r->pos, c->n_ctx);
    PGR_ASSERT(r->pos == (first ? s->n_token : rows[i - 1].pos + 1));
    PGR_ASSERT(r->pos / KV_PAGE < s->n_page);
    return PGR_OK;
}

/* The rows as operations take them. */
static pgr_status list_rows(pass *p, kv_seq *const *seqs, const forward_row *rows, pgr_error *err) {
    forward_state *f = p->f;
    PGR_ASSERT(p->n_row > 0 && p->n_row <= f->n_batch);
    for (size_t i = 0; i < p->n_row; i++) {
        PGR_TRY(check_row(f, seqs, rows, i, err));
        f->token[i] = rows[i].token;
        f->pos[i] = rows[i].pos;
        f->pages[i] = seqs[rows[i].seq]->page;
        if (rows[i].want) f->wanted[p->n_want++] = (uint32_t)i;
    }
    p->rows = (row_table){.n = p->n_row, .pos = f->pos, .pages = f->pages};
    return PGR_OK;
}

/* ---- the list of operations ---- */

static void embed(const pass *p) {
    const forward_state *f = p->f;
    const config *c = &f->m->config;
    const source_tensor *e = f->loras.n > 0 ? f->loras.token_embd : f->m->weights.token_embd;
    term_list terms = lora_embedding_terms(&f->loras);
    lookup words = {(quant_type)e->type, e->data, f->token, terms.terms, terms.n};
    op_embed(p->o, f->x, &words, 1, p->n_row, c->n_embd);
    op_angles(p->o, f->cs, f->pos, f->inv_freq, c->rope_dim / 2, (float)config_rope_scale(c), p->n_row);
}

static row_step norm(const pass *p, const float *w) {
    const config *c = &p->f->m->config;
    return (row_step){.kind = STEP_RMSNORM, .from = p->f->x, .ldf = c->n_embd, .w = w, .eps = c->norm_eps};
}

/* A product of the layer, all rows, adapters included. */
static pgr_status project(const pass *p, const matrix *w, layer_product product, project_call call, pgr_error *err) {
    term_list terms = lora_terms(&p->f->loras, p->layer, product);
    call.w = w;
    call.n = p->n_row;
    call.terms = terms.terms;
    call.n_term = terms.n;
    return op_project(p->o, &call, err);
}

static void attn_rows(const pass *p) {
    const config *c = &p->f->m->config;
    const layer_weights *l = p->weights;
    attn_input in = {.qkv = p->f->qkv,
                     .q_bias = c->attn_bias ? l->attn_q_bias : NULL,
                     .k_bias = l->attn_k_bias,
                     .v_bias = l->attn_v_bias,
                     .q_norm = c->qk_norm ? l->attn_q_norm : NULL,
                     .k_norm = l->attn_k_norm,
                     .eps = c->norm_eps,
                     .cs = p->f->cs,
                     .rope_dim = c->rope_dim,
                     .rope_interleaved = c->rope_interleaved};
    op_attn_input(p->f->attention, p->layer, &in);
}

static pgr_status run_layer(const pass *p, pgr_error *err) {
    const forward_state *f = p->f;
    const layer_weights *l = p->weights;
    size_t n_ff = f->m->config.n_ff;
    row_step attn_norm = norm(p, l->attn_norm), ffn_norm = norm(p, l->ffn_norm);
    row_step gate = {.kind = STEP_SWIGLU, .from = f->gate_up, .ldf = 2 * n_ff};

    /* attention: x += Wo attention(Wq h, Wk h, Wv h), h = norm(x); biases and norms of heads where the family has
     * them */
    project_call qkv = {.out = f->qkv, .x = f->h, .before = &attn_norm};
    PGR_TRY(project(p, l->attn_qkv, PRODUCT_attn_qkv, qkv, err));
    attn_rows(p);
    if (p->layer + 1 == f->m->config.n_layer && p->n_want == 0)
        return PGR_OK; /* nobody reads what the last layer gives */
    op_attn(f->attention, p->layer, f->attn, NULL);
    project_call output = {.out = f->x, .x = f->attn, .add = true};
    PGR_TRY(project(p, l->attn_output, PRODUCT_attn_output, output, err));

    /* feed-forward: x += Wdown (silu(Wgate h) * Wup h), h = norm(x) */
    project_call up = {.out = f->gate_up, .x = f->h, .before = &ffn_norm};
    PGR_TRY(project(p, l->ffn_gate_up, PRODUCT_ffn_gate_up, up, err));
    project_call down = {.out = f->x, .x = f->gate_up, .ldx = 2 * n_ff, .before = &gate, .add = true};
    return project(p, l->ffn_down, PRODUCT_ffn_down, down, err);
}

/* All layers: fills the residual stream and the cache. */
static pgr_status run_layers(pass *p, pgr_error *err) {
    forward_state *f = p->f;
    size_t d = f->m->config.n_embd;
    const layer_weights *layers = f->loras.n > 0 ? f->loras.layers : f->m->weights.layers;
    op_attn_plan(f->attention, &p->kv, &p->rows);
    embed(p);
    for (p->layer = 0; p->layer < f->m->config.n_layer; p->layer++) {
        p->weights = &layers[p->layer];
        if (f->inputs) ops_copy(p->o, f->inputs + p->layer * f->n_batch * d, f->x, p->n_row * d);
        PGR_TRY(run_layer(p, err));
    }
    return PGR_OK;
}

/* The final norm of the wanted rows. */
static row_step final_norm(const pass *p) {
    const forward_state *f = p->f;
    row_step s = norm(p, f->loras.n > 0 ? f->loras.output_norm : f->m->weights.output_norm);
    s.pick = f->wanted;
    return s;
}

/* logits = Wout norm(x)                                                               logits: (wanted rows, n_vocab) */
static pgr_status head(const pass *p, float *logits, pgr_error *err) {
    const forward_state *f = p->f;
    row_step last = final_norm(p);
    term_list terms = lora_head_terms(&f->loras);
    project_call call = {.w = f->loras.n > 0 ? f->loras.output : f->m->weights.output,
                         .out = logits,
                         .x = f->h,
                         .n = p->n_want,
                         .before = &last,
                         .terms = terms.terms,
                         .n_term = terms.n};
    return op_project(p->o, &call, err);
}

static pgr_status hand_out_hidden(const pass *p, float *hidden) {
    size_t d = p->f->m->config.n_embd;
    row_step last = final_norm(p);
    op_rows(p->o, hidden, d, d, &last, p->n_want);
    return PGR_OK;
}

/* logits or hidden: the other one is NULL. */
static pgr_status run(forward_state *f, kv_cache *kv, kv_seq *const *seqs, const forward_row *rows, size_t n_row,
                      float *logits, float *hidden, pgr_error *err) {
    pass p = {.f = f, .o = f->m->ops, .n_row = n_row, .kv = kv_view(kv)};
    PGR_TRY(list_rows(&p, seqs, rows, err));
    PGR_TRY(run_layers(&p, err));
    PGR_TRY(hidden ? hand_out_hidden(&p, hidden) : head(&p, logits, err));
    for (size_t i = 0; i < n_row; i++) seqs[rows[i].seq]->n_token = rows[i].pos + 1;
    return PGR_OK;
}

pgr_status forward_run(forward_state *f, kv_cache *kv, kv_seq *const *seqs, const forward_row *rows, size_t n_row,
                       float *logits, pgr_error *err) {
    return run(f, kv, seqs, rows, n_row, logits, NULL, err);
}

pgr_status forward_hidden(forward_state *f, kv_cache *kv, kv_seq *const *seqs, const forward_row *rows, size_t n_row,
                          float *hidden, pgr_error *err) {
    return run(f, kv, seqs, rows, n_row, NULL, hidden, err);
}
