/* encoder.c - the pass of an encoder over a ragged batch of sentences, as a list of operations (ops.h). Legend: n
 * rows, d width. */
#include "model/encoder.h"

#include "base/mem.h"

struct encoder_state {
    const encoder *e;
    size_t n_row;
    float *x;        /* (n, d) residual stream */
    float *h;        /* (n, d) what is added to it */
    float *qkv;      /* (n, 3 d) */
    float *attn;     /* (n, d) */
    float *ff;       /* (n, n_ff) */
    int32_t *places; /* (n) positions in their sentences */
};

typedef struct pass {
    encoder_state *s;
    ops *o;
    const int32_t *ids;
    const size_t *start; /* (n_seq + 1) */
    size_t n_seq, n;
    const encoder_layer *layer;
} pass;

pgr_status encoder_state_create(const encoder *e, size_t n_row, encoder_state **out, pgr_error *err) {
    const encoder_config *c = &e->config;
    encoder_state *s = mem_zero(1, sizeof *s);
    if (!s) return fail_mem(err);
    s->e = e;
    s->n_row = n_row;
    s->x = ops_alloc(e->ops, n_row * c->n_embd);
    s->h = ops_alloc(e->ops, n_row * c->n_embd);
    s->qkv = ops_alloc(e->ops, n_row * 3 * c->n_embd);
    s->attn = ops_alloc(e->ops, n_row * c->n_embd);
    s->ff = ops_alloc(e->ops, n_row * c->n_ff);
    s->places = mem_array(n_row, sizeof *s->places);
    if (!s->x || !s->h || !s->qkv || !s->attn || !s->ff || !s->places) {
        encoder_state_free(s);
        return fail_mem(err);
    }
    *out = s;
    return PGR_OK;
}

void encoder_state_free(encoder_state *s) {
    if (!s) return;
    float *rows[] = {s->x, s->h, s->qkv, s->attn, s->ff};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) ops_drop(s->e->ops, rows[i]);
    mem_free(s->places);
    mem_free(s);
}

/* ---- the list of operations ---- */

/* out = norm(from + add); add NULL: nothing */
static row_step norm(const pass *p, const float *from, const float *add, const float *w, const float *b) {
    const encoder_config *c = &p->s->e->config;
    return (row_step){
        .kind = STEP_LAYERNORM, .from = from, .ldf = c->n_embd, .add = add, .w = w, .b = b, .eps = c->norm_eps};
}

static void norm_rows(const pass *p, const float *add, const float *w, const float *b) {
    size_t d = p->s->e->config.n_embd;
    row_step step = norm(p, p->s->x, add, w, b);
    op_rows(p->o, p->s->x, d, d, &step, p->n);
}

/* x = norm(word + type 0 + position) */
static void embed(const pass *p) {
    const encoder *e = p->s->e;
    for (size_t i = 0; i < p->n_seq; i++)
        for (size_t row = p->start[i]; row < p->start[i + 1]; row++) p->s->places[row] = (int32_t)(row - p->start[i]);
    const lookup tables[] = {{(quant_type)e->words->type, e->words->data, p->ids, NULL, 0},
                             {QUANT_F32, e->types, NULL, NULL, 0},
                             {QUANT_F32, e->positions, p->s->places, NULL, 0}};
    op_embed(p->o, p->s->x, tables, 3, p->n, e->config.n_embd);
    norm_rows(p, NULL, e->embd_norm, e->embd_norm_b);
}

static step_kind activation(encoder_act act) {
    return act == ENCODER_GELU ? STEP_GELU : act == ENCODER_GELU_TANH ? STEP_GELU_TANH : STEP_RELU;
}

static pgr_status run_layer(const pass *p, pgr_error *err) {
    encoder_state *s = p->s;
    const encoder_layer *l = p->layer;
    const encoder_config *c = &s->e->config;
    size_t d = c->n_embd;

    /* x = norm(x + Wo attention(Wq x, Wk x, Wv x)) */
    project_call qkv = {.w = l->qkv, .out = s->qkv, .x = s->x, .n = p->n, .bias = l->qkv_b};
    PGR_TRY(op_project(p->o, &qkv, err));
    full_attn attention = {s->attn, s->qkv, p->start, p->n_seq, c->n_head, d / c->n_head};
    PGR_TRY(op_attn_full(p->o, &attention, err));
    project_call output = {.w = l->attn_out, .out = s->h, .x = s->attn, .n = p->n, .bias = l->attn_out_b};
    PGR_TRY(op_project(p->o, &output, err));
    norm_rows(p, s->h, l->attn_norm, l->attn_norm_b);

    /* x = norm(x + Wdown act(Wup x)) */
    project_call up = {.w = l->ffn_up, .out = s->ff, .x = s->x, .n = p->n, .bias = l->ffn_up_b};
    PGR_TRY(op_project(p->o, &up, err));
    row_step act = {.kind = activation(c->act), .from = s->ff, .ldf = c->n_ff};
    project_call down = {.w = l->ffn_down, .out = s->h, .x = s->ff, .n = p->n, .before = &act, .bias = l->ffn_down_b};
    PGR_TRY(op_project(p->o, &down, err));
    norm_rows(p, s->h, l->ffn_norm, l->ffn_norm_b);
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
    pass p = {.s = s, .o = s->e->ops, .ids = ids, .start = start, .n_seq = n_seq, .n = start[n_seq]};
    PGR_TRY(check_batch(&p, err));
    embed(&p);
    for (size_t i = 0; i < s->e->config.n_layer; i++) {
        p.layer = &s->e->layers[i];
        PGR_TRY(run_layer(&p, err));
    }
    *hidden = s->x;
    return PGR_OK;
}
