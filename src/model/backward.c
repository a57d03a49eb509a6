/* backward.c - the training pass: its memory, its batches, and the way through the layers and back. */
#include "model/backward.h"

#include <string.h>

#include "base/mem.h"
#include "model/backward_parts.h"
#include "model/forward.h"
#include "model/turned.h"

/* Of activations; what is more is computed again. At 2,048 tokens the default model needs 1.4 GB. */
static size_t room = (size_t)4 << 30;

size_t backward_set_room(size_t bytes) {
    size_t before = room;
    room = bytes;
    return before;
}

/* ---- memory ---- */

static pgr_status take(const backward *b, float **out, size_t per_token, pgr_error *err) {
    *out = ops_alloc(b->m->ops, b->n_token * per_token);
    return *out ? PGR_OK : fail_mem(err);
}

/* Floats of a token in a layer: what is left by the half with attention, its input aside, and by the other. */
static size_t attn_per_token(const backward *b) {
    const config *c = &b->m->config;
    return (c->qk_norm ? 2 : 1) * b->n_qkv + b->n_q + 2 * c->n_head + c->n_embd;
}

static size_t ffn_per_token(const backward *b) {
    return 2 * b->m->config.n_ff;
}

static pgr_status take_attn(const backward *b, layer_acts *a, pgr_error *err) {
    const config *c = &b->m->config;
    a->kept = true;
    PGR_TRY(take(b, &a->qkv, b->n_qkv, err));
    if (c->qk_norm) PGR_TRY(take(b, &a->raw, b->n_qkv, err));
    PGR_TRY(take(b, &a->attn, b->n_q, err));
    PGR_TRY(take(b, &a->softmax, 2 * c->n_head, err));
    return take(b, &a->mid, c->n_embd, err);
}

static void drop_acts(const backward *b, layer_acts *a) {
    float *list[] = {a->x, a->qkv, a->raw, a->attn, a->softmax, a->mid, a->gate_up};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) ops_drop(b->m->ops, list[i]);
}

/* As many layers as there is room for keep what attention leaves, which costs the most to compute again for its size;
 * of these as many as then have room keep gate and up, too, which one product makes. Both from the top down. */
static pgr_status init_acts(backward *b, pgr_error *err) {
    const config *c = &b->m->config;
    size_t token = b->n_token * sizeof(float), inputs = (c->n_layer - b->first_layer) * token * c->n_embd;
    size_t attn = token * attn_per_token(b), ffn = token * ffn_per_token(b), left = room > inputs ? room - inputs : 0;
    size_t n_attn = left / attn < c->n_layer - b->first_layer ? left / attn : c->n_layer - b->first_layer;
    size_t n_ffn = (left - n_attn * attn) / ffn < n_attn ? (left - n_attn * attn) / ffn : n_attn;
    b->acts = mem_zero(c->n_layer, sizeof *b->acts);
    if (!b->acts) return fail_mem(err);
    for (size_t i = b->first_layer; i < c->n_layer; i++) {
        PGR_TRY(take(b, &b->acts[i].x, c->n_embd, err));
        if (i >= c->n_layer - n_attn) PGR_TRY(take_attn(b, &b->acts[i], err));
        if (i >= c->n_layer - n_ffn) PGR_TRY(take(b, &b->acts[i].gate_up, ffn_per_token(b), err));
    }
    if (n_attn < c->n_layer) PGR_TRY(take_attn(b, &b->shared, err));
    return n_ffn < c->n_layer ? take(b, &b->shared.gate_up, ffn_per_token(b), err) : PGR_OK;
}

/* Of op_project_back, for the product that needs the most, and of op_attn_back. */
static size_t scratch_floats(const backward *b) {
    const config *c = &b->m->config;
    const struct {
        size_t K, N, n_term;
    } products[] = {
        {c->n_embd, b->n_qkv, 3}, {b->n_q, c->n_embd, 1}, {c->n_embd, 2 * c->n_ff, 2}, {c->n_ff, c->n_embd, 1}};
    size_t most = 0, r = trainable_adapter(b->t)->file.max_r;
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        size_t n = op_project_scratch(b->m->ops, model_form(b->m->dtype), b->n_token, products[i].K, products[i].N,
                                      products[i].n_term, r);
        most = n > most ? n : most;
    }
    size_t attention = 2 * b->n_token * b->n_q;
    return most > attention ? most : attention;
}

static pgr_status init_rows(backward *b, pgr_error *err) {
    const config *c = &b->m->config;
    const struct {
        float **p;
        size_t per_token;
    } list[] = {{&b->cs, c->rope_dim}, {&b->x, c->n_embd},  {&b->again, c->n_embd},     {&b->h, c->n_embd},
                {&b->act, c->n_ff},    {&b->dx, c->n_embd}, {&b->dh, c->n_embd},        {&b->dqkv, b->n_qkv},
                {&b->dattn, b->n_q},   {&b->dact, c->n_ff}, {&b->dgate_up, 2 * c->n_ff}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) PGR_TRY(take(b, list[i].p, list[i].per_token, err));
    b->scratch = ops_alloc(b->m->ops, scratch_floats(b) + 1); /* all weights need none */
    return b->scratch ? PGR_OK : fail_mem(err);
}

static pgr_status init_lists(backward *b, pgr_error *err) {
    const config *c = &b->m->config;
    size_t n = b->n_token, n_ctx = n < c->n_ctx ? n : c->n_ctx;
    b->seqs = mem_zero(n, sizeof *b->seqs);
    b->start = mem_array(n + 1, sizeof *b->start);
    b->n_shared = mem_array(n, sizeof *b->n_shared);
    b->token = mem_array(n, sizeof *b->token);
    b->pos = mem_array(n, sizeof *b->pos);
    b->pages = mem_array(n, sizeof *b->pages);
    b->wanted = mem_array(n, sizeof *b->wanted);
    b->freq = mem_array(c->rope_dim / 2, sizeof *b->freq);
    if (!b->seqs || !b->start || !b->n_shared || !b->token || !b->pos || !b->pages || !b->wanted || !b->freq)
        return fail_mem(err);
    forward_angles(b->m, b->freq);
    config one = *c; /* layers go one after the other through the same pages */
    one.n_layer = 1;
    PGR_TRY(kv_init(&b->kv, &one, model_kv(b->m), n * KV_PAGE, err));
    attn_shape shape = {c->n_head, c->n_head_kv, c->head_dim, n, n_ctx, model_kv(b->m)};
    return attn_create(b->m->ops, &shape, &b->attention, err);
}

/* ---- weights ---- */

/* Nobody needs the gradient of an adapter's first layer's input. */
static bool is_turned(const backward *b, size_t layer, layer_product p) {
    return b->whole || layer != b->first_layer || p != PRODUCT_attn_qkv;
}

/* Weights that change have memory of their own. */
static pgr_status turn_layer(backward *b, size_t layer, pgr_error *err) {
    layer_back *l = &b->back[layer];
    for (layer_product p = 0; p < LAYER_N_PRODUCT; p++) {
        if (!is_turned(b, layer, p)) continue;
        matrix_free(l->turned[p]);
        l->turned[p] = NULL;
        PGR_TRY(turned_product(b->m, layer, p, b->whole ? NULL : &b->packed, &l->turned[p], err));
    }
    return PGR_OK;
}

static pgr_status init_layer(backward *b, size_t layer, pgr_error *err) {
    layer_back *l = &b->back[layer];
    const float *values = trainable_values(b->t);
    float *grads = trainable_grads(b->t);
    size_t n = 0;
    for (layer_product p = 0; p < LAYER_N_PRODUCT; p++) {
        term_list terms = lora_terms(&b->loras, layer, p);
        l->first_term[p] = n;
        l->n_term[p] = terms.n;
        for (size_t i = 0; i < terms.n; i++) {
            const lowrank *t = &terms.terms[i];
            l->terms[n++] = (lowrank_grad){t, grads + (t->a - values), grads + (t->b - values)};
        }
    }
    return turn_layer(b, layer, err);
}

static pgr_status init_weights(backward *b, pgr_error *err) {
    pgr_lora *adapter = trainable_adapter(b->t);
    if (!b->whole) PGR_TRY(lora_set_create(b->m, &adapter, &(float){1.0f}, 1, &b->loras, err));
    b->back = mem_zero(b->m->config.n_layer, sizeof *b->back);
    if (!b->back) return fail_mem(err);
    for (size_t i = b->first_layer; i < b->m->config.n_layer; i++) PGR_TRY(init_layer(b, i, err));
    return PGR_OK;
}

/* ---- life ---- */

static pgr_status init(backward *b, pgr_error *err) {
    const config *c = &b->m->config;
    b->whole = trainable_whole(b->t) != NULL;
    b->first_layer = b->whole ? 0 : trainable_first_layer(b->t);
    b->n_q = c->n_head * c->head_dim;
    b->n_qkv = b->n_q + 2 * c->n_head_kv * c->head_dim;
    PGR_TRY(init_lists(b, err));
    PGR_TRY(init_weights(b, err));
    PGR_TRY(init_rows(b, err));
    return init_acts(b, err);
}

pgr_status backward_create(const pgr_model *m, trainable *t, size_t n_token, backward **out, pgr_error *err) {
    if (n_token == 0) return fail(err, PGR_E_ARG, "a batch of no tokens");
    if (trainable_adapter(t)->m != m) return fail(err, PGR_E_ARG, "the adapter was made for another model");
    backward *b = mem_zero(1, sizeof *b);
    if (!b) return fail_mem(err);
    b->m = m;
    b->t = t;
    b->n_token = n_token;
    pgr_status s = init(b, err);
    if (s == PGR_OK)
        *out = b;
    else
        backward_free(b);
    return s;
}

static void release(backward *b) {
    for (size_t i = 0; i < b->n_seq; i++) kv_release(&b->kv, &b->seqs[i]);
    b->n = b->n_seq = b->n_want = b->n_copy = 0;
}

static void free_layers(backward *b) {
    for (size_t i = 0; i < b->m->config.n_layer; i++) {
        if (b->acts) drop_acts(b, &b->acts[i]);
        for (size_t p = 0; b->back && p < LAYER_N_PRODUCT; p++) matrix_free(b->back[i].turned[p]);
    }
    drop_acts(b, &b->shared);
    matrix_free(b->head);
    slab_free(&b->packed);
    lora_set_free(&b->loras);
    lora_set_free(&b->none);
    mem_free(b->acts);
    mem_free(b->back);
}

void backward_free(backward *b) {
    if (!b) return;
    release(b);
    free_layers(b);
    float *rows[] = {b->cs, b->x,    b->again, b->h,    b->act,      b->dx,
                     b->dh, b->dqkv, b->dattn, b->dact, b->dgate_up, b->scratch};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) ops_drop(b->m->ops, rows[i]);
    void *list[] = {b->seqs,   b->start,  b->n_shared, b->token, b->pos, (void *)(uintptr_t)b->pages,
                    b->copies, b->wanted, b->freq};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) mem_free(list[i]);
    attn_free(b->attention);
    kv_close(&b->kv);
    mem_free(b);
}

pgr_status backward_changed(backward *b, pgr_error *err) {
    trainable_changed(b->t);
    if (!b->whole) return PGR_OK;
    PGR_TRY(trainable_pack(b->t, err));
    for (size_t i = 0; i < b->m->config.n_layer; i++) PGR_TRY(turn_layer(b, i, err));
    matrix_free(b->head);
    b->head = NULL;
    return PGR_OK;
}

void backward_without(backward *b, bool without) {
    PGR_ASSERT(!b->whole || !without);
    if (without == b->without) return;
    lora_set set = b->loras;
    b->loras = b->none;
    b->none = set;
    b->without = without;
}

static size_t acts_floats(const backward *b, const layer_acts *a) {
    return (a->x ? b->m->config.n_embd : 0) + (a->kept ? attn_per_token(b) : 0) + (a->gate_up ? ffn_per_token(b) : 0);
}

size_t backward_bytes(const backward *b) {
    const config *c = &b->m->config;
    size_t floats = acts_floats(b, &b->shared), bytes = b->head ? matrix_bytes(b->head) : 0;
    for (size_t i = 0; i < c->n_layer; i++) {
        floats += acts_floats(b, &b->acts[i]);
        for (size_t p = 0; p < LAYER_N_PRODUCT; p++)
            if (b->back[i].turned[p]) bytes += matrix_bytes(b->back[i].turned[p]);
    }
    floats += c->rope_dim + 5 * c->n_embd + 4 * c->n_ff + b->n_q + b->n_qkv;
    return bytes + b->n_token * floats * sizeof(float) + kv_bytes(&b->kv);
}

/* ---- a batch ---- */

static pgr_status check_seq(const backward *b, const train_seq *s, size_t i, pgr_error *err) {
    const config *c = &b->m->config;
    if (s->n == 0) return fail(err, PGR_E_ARG, "sequence %zu of the batch has no tokens", i);
    if (s->n > c->n_ctx)
        return fail(err, PGR_E_LIMIT, "sequence %zu of the batch has %zu tokens, the model's context is %zu", i, s->n,
                    c->n_ctx);
    for (size_t t = 0; t < s->n; t++)
        if (s->tokens[t] < 0 || (size_t)s->tokens[t] >= c->n_vocab)
            return fail(err, PGR_E_ARG, "token %d is not in the vocabulary of %zu", s->tokens[t], c->n_vocab);
    return PGR_OK;
}

/* The row that has the token of a sequence, which may be of one before it. */
static size_t row_of(const backward *b, size_t seq, size_t pos) {
    while (pos < b->n_shared[seq]) seq--;
    return b->start[seq] + pos - b->n_shared[seq];
}

/* Sequence i begins with the pages of the one before it; of the last, where it goes on in the middle of it, it has its
 * own, into which the shared rows' keys and values go once more. */
static pgr_status fork(backward *b, const train_seq *before, const train_seq *s, pgr_error *err) {
    size_t i = b->n_seq - 1, first = s->shared / KV_PAGE * KV_PAGE;
    if (s->shared >= s->n || s->shared > before->n
        || memcmp(s->tokens, before->tokens, s->shared * sizeof *s->tokens) != 0)
        return fail(err, PGR_E_ARG,
                    "sequence %zu of the batch shares %zu of its %zu tokens, which are not those of %zu", i, s->shared,
                    s->n, i - 1);
    PGR_TRY(kv_fork(&b->kv, &b->seqs[i], &b->seqs[i - 1], s->shared, err));
    PGR_TRY(kv_reserve(&b->kv, &b->seqs[i], s->n - s->shared, err));
    if (b->n_copy + s->shared - first > b->cap_copy) {
        size_t cap = 2 * b->cap_copy + KV_PAGE;
        row_copy *copies = mem_resize(b->copies, cap * sizeof *copies);
        if (!copies) return fail_mem(err);
        b->copies = copies;
        b->cap_copy = cap;
    }
    for (size_t t = first; t < s->shared; t++)
        b->copies[b->n_copy++] = (row_copy){(uint32_t)row_of(b, i - 1, t), b->seqs[i].page};
    return PGR_OK;
}

/* before: the sequence before it, NULL: it is the first */
static pgr_status add_seq(backward *b, const train_seq *before, const train_seq *s, pgr_error *err) {
    size_t i = b->n_seq;
    PGR_TRY(check_seq(b, s, i, err));
    if (s->shared > 0 && !before)
        return fail(err, PGR_E_ARG, "sequence 0 of the batch shares tokens, with none before it");
    size_t own = s->n - s->shared;
    if (s->shared < s->n && own > b->n_token - b->n)
        return fail(err, PGR_E_LIMIT, "a batch of %zu tokens and more, there is room for %zu", b->n + own, b->n_token);
    b->n_seq++; /* from now on release() gives its pages back */
    PGR_TRY(s->shared > 0 ? fork(b, before, s, err) : kv_reserve(&b->kv, &b->seqs[i], s->n, err));
    b->seqs[i].n_token = s->n;
    b->n_shared[i] = s->shared;
    b->start[i] = b->n;
    b->start[i + 1] = b->n + own;
    for (size_t t = s->shared; t < s->n; t++, b->n++) {
        b->token[b->n] = s->tokens[t];
        b->pos[b->n] = (uint32_t)t;
        b->pages[b->n] = b->seqs[i].page;
    }
    return PGR_OK;
}

static pgr_status add_want(backward *b, const train_row *r, pgr_error *err) {
    if (r->seq >= b->n_seq || r->pos >= b->seqs[r->seq].n_token)
        return fail(err, PGR_E_ARG, "row %zu is position %u of sequence %u, which the batch has not", b->n_want, r->pos,
                    r->seq);
    if (r->pos < b->n_shared[r->seq])
        return fail(err, PGR_E_ARG, "row %zu is position %u of sequence %u, which shares its first %zu tokens",
                    b->n_want, r->pos, r->seq, b->n_shared[r->seq]);
    size_t row = row_of(b, r->seq, r->pos);
    if (b->n_want > 0 && row <= b->wanted[b->n_want - 1])
        return fail(err, PGR_E_ARG, "row %zu is not behind the one before it", b->n_want);
    b->wanted[b->n_want++] = (uint32_t)row;
    return PGR_OK;
}

size_t train_common(const train_seq *before, const train_seq *s, size_t most) {
    size_t n = 0;
    if (most > s->n - 1) most = s->n - 1;
    if (most > before->n) most = before->n;
    while (n < most && s->tokens[n] == before->tokens[n]) n++;
    return n < KV_PAGE ? 0 : n;
}

size_t backward_share(train_seq *seqs, size_t n_seq, const train_row *rows, size_t n_row) {
    size_t row = 0, tokens = 0;
    for (size_t i = 0; i < n_seq; i++) {
        while (row < n_row && rows[row].seq < i) row++;
        size_t first = row < n_row && rows[row].seq == i ? rows[row].pos : seqs[i].n - 1;
        seqs[i].shared = i > 0 ? train_common(&seqs[i - 1], &seqs[i], first) : 0;
        tokens += seqs[i].n - seqs[i].shared;
    }
    return tokens;
}

static pgr_status begin(backward *b, const train_seq *seqs, size_t n_seq, const train_row *rows, size_t n_row,
                        pgr_error *err) {
    release(b);
    for (size_t i = 0; i < n_seq; i++) PGR_TRY(add_seq(b, i > 0 ? &seqs[i - 1] : NULL, &seqs[i], err));
    for (size_t i = 0; i < n_row; i++) PGR_TRY(add_want(b, &rows[i], err));
    if (b->n == 0) return fail(err, PGR_E_ARG, "a batch of no tokens");
    b->view = kv_view(&b->kv);
    b->rows = (row_table){b->n, b->pos, b->pages, b->copies, b->n_copy};
    return PGR_OK;
}

/* ---- forward ---- */

row_step backward_final_norm(const backward *b) {
    const config *c = &b->m->config;
    return (row_step){.kind = STEP_RMSNORM,
                      .from = b->x,
                      .ldf = c->n_embd,
                      .pick = b->wanted,
                      .w = b->m->weights.output_norm,
                      .eps = c->norm_eps};
}

static pgr_status run_up(backward *b, pgr_error *err) {
    const config *c = &b->m->config;
    const source_tensor *e = b->m->weights.token_embd;
    ops *o = b->m->ops;
    lookup words = {.type = (quant_type)e->type, .data = e->data, .row = b->token};
    op_attn_plan(b->attention, &b->view, &b->rows);
    op_embed(o, b->x, &words, 1, b->n, c->n_embd);
    op_angles(o, b->cs, b->pos, b->freq, c->rope_dim / 2, (float)config_rope_scale(c), b->n);
    for (size_t i = 0; i < c->n_layer; i++) {
        const layer_acts *a = &b->acts[i];
        if (a->x) ops_copy(o, a->x, b->x, b->n * c->n_embd);
        layer_acts to = backward_acts(b, i);
        PGR_TRY(backward_layer_forward(b, i, b->x, &to, err));
    }
    return PGR_OK;
}

static pgr_status forward(backward *b, float *logits, pgr_error *err) {
    row_step last = backward_final_norm(b);
    project_call head = {.w = b->m->weights.output, .out = logits, .x = b->h, .n = b->n_want, .before = &last};
    if (!head.w)
        return fail(err, PGR_E_UNSUPPORTED, "%s: a score head has no output to be trained through",
                    pgr_model_name(b->m));
    PGR_TRY(run_up(b, err));
    return op_project(b->m->ops, &head, err);
}

pgr_status backward_forward(backward *b, const train_seq *seqs, size_t n_seq, const train_row *rows, size_t n_row,
                            float *logits, pgr_error *err) {
    pgr_status s = begin(b, seqs, n_seq, rows, n_row, err);
    if (s == PGR_OK) s = forward(b, logits, err);
    if (s != PGR_OK) release(b);
    return s;
}

pgr_status backward_forward_states(backward *b, const train_seq *seqs, size_t n_seq, const train_row *rows,
                                   size_t n_row, float *states, pgr_error *err) {
    size_t d = b->m->config.n_embd;
    row_step last = backward_final_norm(b);
    pgr_status s = begin(b, seqs, n_seq, rows, n_row, err);
    if (s == PGR_OK) s = run_up(b, err);
    if (s == PGR_OK)
        op_rows(b->m->ops, states, d, d, &last, n_row);
    else
        release(b);
    return s;
}

/* ---- backward ---- */

/* From gradients of the wanted rows' normalised last states, in dh, down to the first layer. */
static pgr_status run_down(backward *b, pgr_error *err) {
    const config *c = &b->m->config;
    row_step last = backward_final_norm(b);
    row_grad g = {.step = &last, .dout = b->dh, .dfrom = b->dx, .ldd = c->n_embd};
    PGR_ASSERT(!b->without);
    memset(b->dx, 0, b->n * c->n_embd * sizeof *b->dx);
    op_rows_back(b->m->ops, c->n_embd, &g, b->n_want);
    PGR_TRY(backward_norm_weights(b, &last, b->dh, b->n_want, err));
    for (size_t i = c->n_layer; i-- > b->first_layer;) PGR_TRY(backward_layer(b, i, err));
    backward_embedding(b);
    return PGR_OK;
}

pgr_status backward_run_states(backward *b, const float *dstates, pgr_error *err) {
    if (b->n_want == 0) return PGR_OK;
    ops_copy(b->m->ops, b->dh, dstates, b->n_want * b->m->config.n_embd);
    return run_down(b, err);
}

pgr_status backward_run(backward *b, const float *dlogits, pgr_error *err) {
    const config *c = &b->m->config;
    if (b->n_want == 0) return PGR_OK;
    if (!b->head) PGR_TRY(turned_head(b->m, &b->packed, &b->head, err));
    project_grad g = {
        .back = b->head, .dy = dlogits, .dx = b->dh, .n = b->n_want, .size_x = c->n_embd, .size_y = c->n_vocab};
    PGR_TRY(op_project_back(b->m->ops, &g, err));
    PGR_TRY(backward_head(b, dlogits, err));
    return run_down(b, err);
}

pgr_status backward_run_sparse(backward *b, const sparse_grads *g, pgr_error *err) {
    const config *c = &b->m->config;
    const source_tensor *head = b->m->weights.head;
    if (b->n_want == 0) return PGR_OK;
    for (size_t i = g->start[0]; i < g->start[b->n_want]; i++)
        if (g->token[i] < 0 || (size_t)g->token[i] >= c->n_vocab)
            return fail(err, PGR_E_ARG, "token %d is not in the vocabulary of %zu", g->token[i], c->n_vocab);
    row_mix mix = {(quant_type)head->type, head->data, g->start, g->token, g->dlogit};
    op_mix(b->m->ops, b->dh, &mix, b->n_want, c->n_embd);
    backward_head_sparse(b, g);
    return run_down(b, err);
}
