/* sft.c - supervised fine-tuning on conversations. */
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"
#include "train/loss.h"
#include "train/options.h"
#include "train/run.h"
#include "user/stream.h"

enum { STREAM_SHUFFLE = 40, LOOSE = 8 /* tokens at a border that text behind it may change */ };

/* clang-format off */
static const pgr_option ROWS[] = {
    TRAIN_ROWS(pgr_sft_options, 0, 8, 2e-4, 1, "learning rate", "conversations of a step"),
    TRAIN_NUMBER(pgr_sft_options, DOUBLE, "epochs", "E", train.epochs, 1, 0, 1e6,
                 "passes over the conversations, where no steps are given", NULL),
    TRAIN_NUMBER(pgr_sft_options, SIZE, "max-tokens", "N", max_tokens, 2048, 2, 1 << 20,
                 "of a conversation; longer ones are left out", NULL),
    TRAIN_FLAG(pgr_sft_options, "no-shuffle", no_shuffle, 0, "conversations in the file's order"),
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

typedef struct sft_row {
    int32_t *tokens; /* (n) */
    uint8_t *counts; /* (n) the loss has this token */
    size_t n, n_loss;
} sft_row;

typedef struct sft {
    const pgr_sft_options *o;
    const pgr_model *m;
    sft_row *rows; /* (n) */
    size_t n, cap, left_out;
    size_t *order; /* (n) of the epoch that is on */
    uint64_t epoch;
    arena arena;
} sft;

static size_t common_prefix(const ids *a, const ids *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && a->v[n] == b->v[n]) n++;
    return n;
}

/* The conversation's first n messages as tokens: how many of them the whole conversation begins with. */
static pgr_status prefix_of(const pgr_model *m, const chat_message *messages, size_t n, bool generate, const ids *whole,
                            const char *at, size_t *out, pgr_error *err) {
    ids part = {0};
    pgr_status s = chat_render(&m->chat, m->tok, messages, n, generate, &part, err);
    *out = common_prefix(&part, whole);
    if (s == PGR_OK && part.n > *out + LOOSE)
        s = fail(err, PGR_E_UNSUPPORTED,
                 "%s: the chat template writes the first %zu messages in another way once others follow: %zu of %zu "
                 "tokens alike, expected all",
                 at, n, *out, part.n);
    ids_free(&part);
    return s;
}

/* The tokens of the assistant's turns, what ends the turn included. */
static pgr_status mark_turns(const pgr_model *m, const chat_message *messages, size_t n, const ids *whole,
                             const char *at, sft_row *row, pgr_error *err) {
    for (size_t k = 0; k < n; k++) {
        if (strcmp(messages[k].role, "assistant") != 0) continue;
        size_t from, to;
        PGR_TRY(prefix_of(m, messages, k, true, whole, at, &from, err));
        PGR_TRY(prefix_of(m, messages, k + 1, false, whole, at, &to, err));
        size_t end = to;
        while (end > from && !tok_ends(m->tok, whole->v[end - 1])) end--;
        if (end == from) end = to; /* the template writes no end of a turn */
        for (size_t i = from > 0 ? from : 1; i < end; i++) {
            row->n_loss += !row->counts[i];
            row->counts[i] = 1;
        }
    }
    return PGR_OK;
}

static pgr_status read_messages(const json_t *v, const char *at, arena *a, chat_message **out, size_t *n,
                                pgr_error *err) {
    const json_t *list = json_object_get(v, "messages");
    PGR_TRY(json_want_object(v, (json_at){at, "row"}, err));
    PGR_TRY(json_want_array(list, (json_at){at, "messages"}, err));
    *n = json_array_size(list);
    *out = arena_array(a, *n + 1, sizeof **out);
    if (!*out) return fail_mem(err);
    for (size_t i = 0; i < *n; i++) {
        const json_t *m = json_array_get(list, i);
        chat_message *to = &(*out)[i];
        PGR_TRY(json_want_object(m, (json_at){at, "messages[]"}, err));
        PGR_TRY(json_want_string(json_object_get(m, "role"), (json_at){at, "messages[].role"}, &to->role, err));
        PGR_TRY(json_want_string(json_object_get(m, "content"), (json_at){at, "messages[].content"}, &to->text, err));
        to->n = strlen(to->text);
        if (strcmp(to->role, "system") != 0 && strcmp(to->role, "user") != 0 && strcmp(to->role, "assistant") != 0)
            return fail(err, PGR_E_FORMAT,
                        "%s: messages[%zu].role: found \"%.40s\", expected system, user or assistant", at, i, to->role);
    }
    return PGR_OK;
}

static pgr_status add_row(sft *s, const sft_row *row, pgr_error *err) {
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        sft_row *rows = mem_resize(s->rows, cap * sizeof *rows);
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
    ids whole = {0};
    pgr_status status = read_messages(v, at, &tmp, &messages, &n, err);
    if (status == PGR_OK) status = chat_render(&s->m->chat, s->m->tok, messages, n, false, &whole, err);
    if (status == PGR_OK && whole.n > s->o->max_tokens) {
        s->left_out++;
    } else if (status == PGR_OK) {
        sft_row row = {.n = whole.n};
        row.tokens = arena_array(&s->arena, whole.n + 1, sizeof *row.tokens);
        row.counts = arena_array(&s->arena, whole.n + 1, sizeof *row.counts);
        if (!row.tokens || !row.counts) status = fail_mem(err);
        if (status == PGR_OK && whole.n > 0) memcpy(row.tokens, whole.v, whole.n * sizeof *row.tokens);
        if (status == PGR_OK) status = mark_turns(s->m, messages, n, &whole, at, &row, err);
        if (status == PGR_OK && row.n_loss == 0)
            status = fail(err, PGR_E_FORMAT, "%s: no turn of the assistant, expected one or more", at);
        if (status == PGR_OK) status = add_row(s, &row, err);
    }
    ids_free(&whole);
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

static size_t steps_of_epoch(const sft *s) {
    return (s->n + s->o->train.batch - 1) / s->o->train.batch;
}

static void order_epoch(sft *s, uint64_t epoch) {
    if (epoch == s->epoch) return;
    s->epoch = epoch;
    for (size_t i = 0; i < s->n; i++) s->order[i] = i;
    if (s->o->no_shuffle) return;
    rng r = {hash_value(hash_value(HASH_BEGIN, s->o->train.seed), epoch), STREAM_SHUFFLE, 0};
    for (size_t i = s->n; i > 1; i--) {
        size_t k = rng_below(&r, i), t = s->order[i - 1];
        s->order[i - 1] = s->order[k];
        s->order[k] = t;
    }
}

typedef struct sft_pass { /* of some rows of a step */
    const pgr_model *m;
    const sft_row **rows; /* (n) */
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

static pgr_status run_pass(train_run *r, sft_pass *p, pgr_error *err) {
    PGR_TRY(pass_alloc(p, err));
    size_t at = 0;
    for (size_t i = 0; i < p->n; i++) {
        const sft_row *row = p->rows[i];
        p->seqs[i] = (train_seq){.tokens = row->tokens, .n = row->n};
        for (size_t k = 1; k < row->n; k++) {
            if (!row->counts[k]) continue;
            p->at[at] = (train_row){(uint32_t)i, (uint32_t)(k - 1)};
            p->token[at++] = row->tokens[k];
        }
    }
    PGR_TRY(backward_forward(r->b, p->seqs, p->n, p->at, p->n_loss, p->logits, err));
    pool_run(p->m->threads, p->n_loss, loss_of_row, p);
    return backward_run(r->b, p->logits, err);
}

/* The step's rows in passes; sums of losses and hits in the order of the rows. */
static pgr_status run_rows(train_run *r, const sft *s, const sft_row **rows, size_t n, double scale, double *loss,
                           double *hits, pgr_error *err) {
    for (size_t i = 0; i < n;) {
        size_t count = 0, tokens = 0;
        while (i + count < n && (count == 0 || tokens + rows[i + count]->n <= r->o->pass_tokens))
            tokens += rows[i + count++]->n;
        PGR_TRY(watch_check(&r->o->watch, err));
        sft_pass p = {.m = s->m, .rows = rows + i, .n = count, .scale = scale};
        pgr_status status = run_pass(r, &p, err);
        for (size_t k = 0; status == PGR_OK && k < p.n_loss; k++) {
            *loss += p.loss[k] * scale;
            *hits += p.hit[k] * scale;
        }
        pass_free(&p);
        if (status != PGR_OK) return status;
        i += count;
    }
    return PGR_OK;
}

static pgr_status sft_step(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    sft *s = ctx;
    uint64_t step = r->state.step;
    size_t each = steps_of_epoch(s), from = (size_t)(step % each) * s->o->train.batch, n = s->o->train.batch, total = 0;
    if (n > s->n - from) n = s->n - from;
    const sft_row **rows = mem_array(n, sizeof *rows);
    if (!rows) return fail_mem(err);
    order_epoch(s, step / each);
    for (size_t i = 0; i < n; i++) {
        rows[i] = &s->rows[s->order[from + i]];
        total += rows[i]->n_loss;
        m->tokens += rows[i]->n;
    }
    double hits = 0;
    pgr_status status = run_rows(r, s, rows, n, 1 / (double)total, &m->loss, &hits, err);
    m->epoch = (double)(step + 1) / (double)each;
    metrics_put(m, "mean_token_accuracy", hits);
    mem_free(rows);
    return status;
}

/* ---- the stage ---- */

static pgr_status sft_open(sft *s, const pgr_model *m, const pgr_sft_options *o, pgr_error *err) {
    *s = (sft){.o = o, .m = m, .epoch = UINT64_MAX};
    PGR_TRY(options_check(ROWS, o, err));
    if (!o->data) return fail(err, PGR_E_ARG, "data: found none, expected a file of conversations");
    if (o->max_tokens > o->train.pass_tokens)
        return fail(err, PGR_E_ARG, "max-tokens %zu: expected at most pass-tokens, %zu", o->max_tokens,
                    o->train.pass_tokens);
    PGR_TRY(read_rows(s, err));
    s->order = arena_array(&s->arena, s->n, sizeof *s->order);
    return s->order ? PGR_OK : fail_mem(err);
}

pgr_status pgr_train_sft(pgr_model *model, const pgr_sft_options *options, pgr_train_report *out, pgr_error *err) {
    sft s;
    train_run r = {0};
    pgr_train_options o = options->train;
    json_setup();
    pgr_status status = sft_open(&s, model, options, err);
    if (status == PGR_OK && o.steps == 0) o.steps = (size_t)ceil(o.epochs * (double)steps_of_epoch(&s));
    if (status == PGR_OK && o.steps == 0) status = fail(err, PGR_E_ARG, "steps and epochs are 0: expected one above 0");
    if (status == PGR_OK)
        status = run_open(&r, model, &o, "sft",
                          json_pack("{s:s,s:b,s:I}", "data", options->data, "no_shuffle", options->no_shuffle,
                                    "max_tokens", (json_int_t)options->max_tokens),
                          err);
    train_stage stage = {.name = "sft", .ctx = &s, .step = sft_step};
    if (status == PGR_OK) status = run_loop(&r, &stage, err);
    if (out) *out = r.report;
    run_close(&r);
    mem_free(s.rows);
    arena_free(&s.arena);
    return status;
}
