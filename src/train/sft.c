/* sft.c - supervised fine-tuning on conversations. */
#include <math.h>
#include <string.h>

#include "base/legible.h"
#include "base/log.h"
#include "base/mem.h"
#include "train/loss.h"
#include "train/options.h"
#include "train/order.h"
#include "train/run.h"
#include "train/turns.h"
#include "user/fields.h"
#include "user/stream.h"

/* clang-format off */
static const pgr_option ROWS[] = {
    TRAIN_ROWS(pgr_sft_options, 0, 8, 2e-4, 1, "learning rate", "conversations of a step"),
    TRAIN_NUMBER(pgr_sft_options, DOUBLE, "epochs", "E", train.epochs, 1, 0, 1e6,
                 "passes over the conversations, where no steps are given", NULL),
    TRAIN_NUMBER(pgr_sft_options, SIZE, "max-tokens", "N", max_tokens, 2048, 2, 1 << 20,
                 "of a conversation; longer ones are left out", NULL),
    TRAIN_FLAG(pgr_sft_options, "no-shuffle", no_shuffle, 0, "conversations in the file's order"),
    TRAIN_FULL(pgr_sft_options),
    {0},
};
/* clang-format on */

const pgr_option *pgr_sft_option_rows(void) {
    return ROWS;
}

pgr_sft_options pgr_sft_options_default(void) {
    pgr_sft_options o;
    memset(&o, 0, sizeof o);
    options_default(ROWS, &o);
    o.train.beta1 = 0.9;
    o.train.beta2 = 0.999;
    return o;
}

/* ---- conversations ---- */

typedef struct sft {
    const pgr_sft_options *o;
    const pgr_model *m;
    chat_row *rows; /* (n) */
    size_t n, cap, left_out;
    train_order order;
    arena arena;
} sft;

/* What a turn says has to be there; its other keys are read over. */
static pgr_status read_message(const field_reader *in, const json_t *v, const field_path *p, chat_message *to) {
    field_path role = field_key(p, "role"), content = field_key(p, "content");
    PGR_TRY(json_want_object(v, field_at(in, p), in->err));
    PGR_TRY(field_role(in, json_object_get(v, "role"), &role, &to->role));
    const json_t *said = json_object_get(v, "content");
    if (!json_is_array(said)) PGR_TRY(json_want_string(said, field_at(in, &content), &to->text, in->err));
    if (json_is_array(said)) PGR_TRY(field_content(in, said, &content, &to->text));
    to->n = strlen(to->text);
    return PGR_OK;
}

static pgr_status read_messages(const field_reader *in, const json_t *v, chat_message **out, size_t *n) {
    field_path p = field_key(&FIELD_TOP, "messages"), first = field_item(&p, 0), role = field_key(&first, "role");
    const json_t *list = json_object_get(v, "messages");
    PGR_TRY(json_want_object(v, (json_at){in->file, "row"}, in->err));
    PGR_TRY(json_want_array(list, field_at(in, &p), in->err));
    *n = json_array_size(list);
    *out = arena_array(in->a, *n + 1, sizeof **out);
    if (!*out) return fail_mem(in->err);
    if (*n == 0) return field_fail(in, &p, "an empty array", "turns, one of them the assistant's");
    for (size_t i = 0; i < *n; i++) {
        field_path item = field_item(&p, i);
        PGR_TRY(read_message(in, json_array_get(list, i), &item, &(*out)[i]));
    }
    if (strcmp((*out)[0].role, "assistant") == 0)
        return field_fail(in, &role, "\"assistant\"", "a turn that is answered, \"system\" or \"user\"");
    return PGR_OK;
}

static pgr_status add_row(sft *s, const chat_row *row, pgr_error *err) {
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        chat_row *rows = mem_resize(s->rows, cap * sizeof *rows);
        if (!rows) return fail_mem(err);
        s->rows = rows;
        s->cap = cap;
    }
    s->rows[s->n++] = *row;
    return PGR_OK;
}

static pgr_status take_row(sft *s, const json_t *v, const char *at, pgr_error *err) {
    arena tmp = {0};
    chat_message *messages;
    size_t n;
    chat_row row = {0};
    pgr_status status = read_messages(&(field_reader){&tmp, at, err}, v, &messages, &n);
    if (status == PGR_OK) status = chat_row_make(s->m, messages, 0, n, s->o->max_tokens, at, &s->arena, &row, err);
    if (status == PGR_OK && row.n == 0) s->left_out++;
    if (status == PGR_OK && row.n > 0) status = add_row(s, &row, err);
    arena_free(&tmp);
    return status;
}

static pgr_status read_rows(sft *s, pgr_error *err) {
    stream *in = NULL;
    PGR_TRY(stream_open(s->o->data, &in, err));
    pgr_status status = PGR_OK;
    for (bool more = true; status == PGR_OK;) {
        stream_value value;
        json_t *v = NULL;
        char at[600];
        status = stream_next(in, &value, &more, err);
        if (status != PGR_OK || !more) break;
        snprintf(at, sizeof at, "%s:%zu", stream_name(in), value.line);
        status = json_parse(value.text, value.n, stream_name(in), value.line, &v, err);
        if (status == PGR_OK) status = take_row(s, v, at, err);
        json_decref(v);
    }
    stream_close(in);
    if (status == PGR_OK && s->n == 0)
        status = fail(err, PGR_E_FORMAT, "%s: no conversation of at most %zu tokens (%zu are longer), expected some",
                      s->o->data, s->o->max_tokens, s->left_out);
    if (status == PGR_OK && s->left_out > 0)
        log_warn("%s: %zu of %zu conversations are longer than %zu tokens and left out", s->o->data, s->left_out,
                 s->n + s->left_out, s->o->max_tokens);
    return status;
}

/* ---- a step ---- */

typedef struct sft_pass { /* of some rows of a step */
    const pgr_model *m;
    const chat_row **rows; /* (n) */
    size_t n, n_loss;
    double scale; /* one over the tokens of the whole step */
    train_seq *seqs;
    train_row *at;  /* (n_loss) */
    int32_t *token; /* (n_loss) that comes there */
    float *logits;  /* (n_loss, n_vocab), then their gradient */
    double *loss;   /* (n_loss) */
    uint8_t *hit;   /* (n_loss) */
} sft_pass;

static void loss_of_row(void *ctx, size_t i, size_t worker) {
    sft_pass *p = ctx;
    size_t n_vocab = p->m->config.n_vocab;
    float *z = p->logits + i * n_vocab;
    int best;
    (void)worker;
    p->loss[i] = token_loss(z, n_vocab, p->token[i], p->scale, z, &best);
    p->hit[i] = (uint8_t)best;
}

static pgr_status pass_alloc(sft_pass *p, pgr_error *err) {
    for (size_t i = 0; i < p->n; i++) p->n_loss += p->rows[i]->n_loss;
    p->seqs = mem_array(p->n, sizeof *p->seqs);
    p->at = mem_array(p->n_loss, sizeof *p->at);
    p->token = mem_array(p->n_loss, sizeof *p->token);
    p->logits = mem_array(p->n_loss, p->m->config.n_vocab * sizeof *p->logits);
    p->loss = mem_array(p->n_loss, sizeof *p->loss);
    p->hit = mem_array(p->n_loss, sizeof *p->hit);
    return p->seqs && p->at && p->token && p->logits && p->loss && p->hit ? PGR_OK : fail_mem(err);
}

static void pass_free(sft_pass *p) {
    mem_free(p->seqs);
    mem_free(p->at);
    mem_free(p->token);
    mem_free(p->logits);
    mem_free(p->loss);
    mem_free(p->hit);
}

static pgr_status pass_forward(train_run *r, sft_pass *p, pgr_error *err) {
    PGR_TRY(pass_alloc(p, err));
    chat_rows_list((const chat_row *const *)p->rows, p->n, p->seqs, p->at, p->token);
    PGR_TRY(backward_forward(r->b, p->seqs, p->n, p->at, p->n_loss, p->logits, err));
    pool_run(p->m->threads, p->n_loss, loss_of_row, p);
    return PGR_OK;
}

typedef struct sft_passes { /* a step's rows, cut into passes */
    train_run *r;
    const sft *s;
    const chat_row **rows; /* (n) */
    size_t n;
    pass_cut cut;
    double scale, loss, hits;
    sft_pass own; /* between its forward and its back */
} sft_passes;

/* Of every token of a pass its loss and whether it was hit. */
static size_t told_by(void *ctx, size_t k) {
    const sft_passes *s = ctx;
    size_t n = 0;
    for (size_t i = s->cut.first[k]; i < s->cut.first[k + 1]; i++) n += 2 * s->rows[i]->n_loss;
    return n;
}

static pgr_status rows_forward(void *ctx, size_t k, double *told, pgr_error *err) {
    sft_passes *s = ctx;
    sft_pass *p = &s->own;
    size_t first = s->cut.first[k], n = s->cut.first[k + 1] - first;
    *p = (sft_pass){.m = s->s->m, .rows = s->rows + first, .n = n, .scale = s->scale};
    PGR_TRY(pass_forward(s->r, p, err));
    for (size_t i = 0; i < p->n_loss; i++) {
        told[2 * i] = p->loss[i];
        told[2 * i + 1] = p->hit[i];
    }
    return PGR_OK;
}

static void rows_take(void *ctx, size_t k, const double *told, bool mine) {
    sft_passes *s = ctx;
    (void)mine;
    for (size_t i = 0, n = told_by(s, k); i < n; i += 2) {
        s->loss += told[i] * s->scale;
        s->hits += told[i + 1] * s->scale;
    }
}

static pgr_status rows_back(void *ctx, size_t k, pgr_error *err) {
    sft_passes *s = ctx;
    (void)k;
    pgr_status status = backward_run(s->r->b, s->own.logits, err);
    pass_free(&s->own);
    s->own = (sft_pass){0};
    return status;
}

static size_t tokens_of(const void *ctx, size_t i) {
    return ((const sft_passes *)ctx)->rows[i]->n;
}

/* The step's rows in passes; sums of losses and hits in the order of the rows. */
static pgr_status run_rows(sft_passes *s, pgr_error *err) {
    static const pass_fns fns = {told_by, rows_forward, rows_take, rows_back};
    pgr_status status = run_cut(s->r, s->n, tokens_of, s, &s->cut, err);
    if (status == PGR_OK) status = run_passes(s->r, s->cut.n_pass, &fns, s, err);
    pass_free(&s->own);
    run_cut_free(&s->cut);
    return status;
}

static pgr_status sft_step(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    sft *s = ctx;
    size_t n, total = 0;
    const size_t *at = order_at(&s->order, r->state.step, &n);
    const chat_row **rows = mem_array(n, sizeof *rows);
    if (!rows) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        rows[i] = &s->rows[at[i]];
        total += rows[i]->n_loss;
        m->tokens += rows[i]->n;
    }
    sft_passes p = {.r = r, .s = s, .rows = rows, .n = n, .scale = 1 / (double)total};
    pgr_status status = run_rows(&p, err);
    m->loss = p.loss;
    m->epoch = (double)(r->state.step + 1) / (double)order_steps(&s->order);
    metrics_put(m, "mean_token_accuracy", p.hits);
    mem_free(rows);
    return status;
}

/* ---- the stage ---- */

pgr_status pgr_sft_check(const pgr_sft_options *o, pgr_error *err) {
    PGR_TRY(options_check(ROWS, o, err));
    PGR_TRY(run_check(&o->train, true, err));
    if (!o->data) return fail(err, PGR_E_ARG, "data: found none, expected a file of conversations");
    if (o->max_tokens > o->train.pass_tokens)
        return fail(err, PGR_E_ARG, "max-tokens %zu: expected at most pass-tokens, %zu", o->max_tokens,
                    o->train.pass_tokens);
    return PGR_OK;
}

static pgr_status sft_open(sft *s, const pgr_model *m, const pgr_sft_options *o, pgr_error *err) {
    *s = (sft){.o = o, .m = m};
    PGR_TRY(pgr_sft_check(o, err));
    PGR_TRY(read_rows(s, err));
    return order_init(&s->order, s->n, o->train.batch, o->train.seed, o->no_shuffle, err);
}

pgr_status pgr_train_sft(pgr_model *model, const pgr_sft_options *options, pgr_train_report *out, pgr_error *err) {
    sft s;
    train_run r = {0};
    pgr_train_options o = options->train;
    json_setup();
    pgr_status status = ranks_agree(o.ranks, sft_open(&s, model, options, err), err);
    if (status == PGR_OK && o.steps == 0) o.steps = (size_t)ceil(o.epochs * (double)order_steps(&s.order));
    if (status == PGR_OK)
        status = run_open(&r, model, &o, "sft",
                          json_pack("{s:o,s:b,s:I}", "data", legible_json(options->data), "no_shuffle",
                                    options->no_shuffle, "max_tokens", (json_int_t)options->max_tokens),
                          err);
    train_stage stage = {.name = "sft", .ctx = &s, .step = sft_step};
    if (status == PGR_OK) status = run_loop(&r, &stage, err);
    if (out) *out = r.report;
    run_close(&r);
    order_free(&s.order);
    mem_free(s.rows);
    arena_free(&s.arena);
    return status;
}
