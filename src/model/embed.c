/* embed.c - pgr_embed: texts to tokens, tokens in batches through the model, hidden states pooled to one vector per
 * text. */
#include <math.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/watch.h"
#include "model/embedder.h"

pgr_embed_options pgr_embed_options_default(void) {
    return (pgr_embed_options){.pool = PGR_POOL_AUTO};
}

/* One call. The texts `first` to `first + n_text - 1` wait in the batch: their tokens one after another. */
typedef struct job {
    pgr_embedder *e;
    const pgr_embed_options *o;
    pgr_pool pool;
    size_t dim, n_total;
    float *out; /* (n_total, dim) */
    ids batch;
    size_t *start; /* (n_row + 2) start[i]: where text first + i begins; start[n_text]: the end */
    size_t first, n_text;
    kv_seq *seqs;      /* (n_row + 1) decoders: one per text */
    forward_row *rows; /* (n_row) decoders: one pass */
    double *sum;       /* (dims) of the text that is being pooled; decoders may go on in the next pass */
    pgr_error *err;
} job;

/* ---- text to tokens ---- */

/* Letter by letter, as Unicode's simple mapping; bytes that are not UTF-8 stay. */
static void put_lower(buf *b, const char *s, size_t n) {
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t code;
        char out[4];
        len = utf8_next(s + i, n - i, &code);
        if (len > 0)
            buf_add(b, out, utf8_put(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)code)));
        else
            buf_add(b, s + i, len = 1);
    }
}

static pgr_status encode(job *j, const char *text, size_t n, ids *out) {
    buf whole = {0}, lower = {0};
    if (j->o->instruct) {
        buf_printf(&whole, "Instruct: %s\nQuery:", j->o->instruct);
        buf_add(&whole, text, n);
        text = whole.data, n = whole.n;
    }
    if (j->e->say.lower_case && !whole.failed) {
        put_lower(&lower, text, n);
        text = lower.data ? lower.data : "", n = lower.n;
    }
    pgr_status s = whole.failed || lower.failed ? fail_mem(j->err) : PGR_OK;
    if (s == PGR_OK) s = tok_encode(j->e->tok, text, n, TOK_BOS, out, j->err);
    buf_free(&whole);
    buf_free(&lower);
    return s;
}

/* The text's tokens with all that belongs around them, at most max_tokens: what is beyond is taken from the text's
 * end. */
static pgr_status take_text(job *j, const char *text, size_t n, ids *v, pgr_embedded *count) {
    const pgr_embedder *e = j->e;
    v->n = 0;
    PGR_TRY(encode(j, text, n, v));
    size_t after = tok_after(e->tok) + (e->end >= 0);
    if (e->end >= 0) ids_push(v, e->end);
    if (v->n == 0 && e->lone >= 0) ids_push(v, e->lone);
    if (v->failed) return fail_mem(j->err);
    if (v->n == 0)
        return fail(j->err, PGR_E_ARG, "text %zu has no tokens, and the model has no end token to stand for it",
                    j->first + j->n_text);
    count->cut = v->n > e->max_tokens ? v->n - e->max_tokens : 0;
    if (count->cut > 0) {
        memmove(v->v + e->max_tokens - after, v->v + v->n - after, after * sizeof *v->v);
        v->n = e->max_tokens;
    }
    count->tokens = v->n;
    return PGR_OK;
}

/* ---- hidden states to vectors ---- */

static void add_state(double *sum, const float *row, size_t n) {
    for (size_t i = 0; i < n; i++) sum[i] += (double)row[i];
}

/* The first dim values over n, scaled to length 1 where the model's vectors are. Broken weights give no vector. */
static pgr_status put_vector(const job *j, size_t text, const double *sum, size_t n) {
    double ss = 0, scale = 1.0 / (double)n;
    for (size_t i = 0; i < j->dim; i++) ss += sum[i] * scale * sum[i] * scale;
    double norm = sqrt(ss);
    if (j->e->say.normalise && norm > 1e-12) scale /= norm;
    float *out = j->out + text * j->dim;
    for (size_t i = 0; i < j->dim; i++) {
        out[i] = (float)(sum[i] * scale);
        if (!isfinite(out[i]))
            return fail(j->err, PGR_E_FORMAT, "%s: value %zu of the embedding of text %zu is %g, expected a number",
                        j->e->name, i, text + 1, (double)out[i]);
    }
    return PGR_OK;
}

static pgr_status run_encoder(job *j) {
    const float *hidden;
    size_t d = j->e->dims;
    PGR_TRY(encoder_run(j->e->encoding, j->batch.v, j->start, j->n_text, &hidden, j->err));
    for (size_t i = 0; i < j->n_text; i++) {
        size_t from = j->start[i], to = j->start[i + 1];
        if (j->pool == PGR_POOL_CLS) to = from + 1;
        if (j->pool == PGR_POOL_LAST) from = to - 1;
        memset(j->sum, 0, d * sizeof *j->sum);
        for (size_t row = from; row < to; row++) add_state(j->sum, hidden + row * d, d);
        PGR_TRY(put_vector(j, j->first + i, j->sum, to - from));
    }
    return PGR_OK;
}

/* Tokens from to to of the batch in one pass. *text is the first one's text and moves on with them. */
static pgr_status decode_rows(job *j, kv_seq *const *seqs, size_t from, size_t to, size_t *text) {
    pgr_embedder *e = j->e;
    size_t t = *text, d = e->dims, state = 0;
    for (size_t i = from; i < to; i++) {
        while (i >= j->start[t + 1]) t++;
        bool last = i + 1 == j->start[t + 1];
        j->rows[i - from] = (forward_row){.token = j->batch.v[i],
                                          .seq = (uint32_t)t,
                                          .pos = (uint32_t)(i - j->start[t]),
                                          .want = last || j->pool == PGR_POOL_MEAN};
    }
    PGR_TRY(forward_hidden(e->decoding, &e->kv, seqs, j->rows, to - from, e->hidden, j->err));
    for (size_t i = 0; i < to - from; i++) {
        const forward_row *r = &j->rows[i];
        if (!r->want) continue;
        add_state(j->sum, e->hidden + state++ * d, d);
        size_t n = j->start[r->seq + 1] - j->start[r->seq];
        if (r->pos + 1 < n) continue;
        PGR_TRY(put_vector(j, j->first + r->seq, j->sum, j->pool == PGR_POOL_MEAN ? n : 1));
        memset(j->sum, 0, d * sizeof *j->sum);
    }
    *text = t;
    return PGR_OK;
}

static bool cancelled(const job *j) {
    return watch_cancelled(&j->o->watch);
}

static pgr_status run_decoder(job *j) {
    pgr_embedder *e = j->e;
    size_t n = j->batch.n, text = 0;
    pgr_status s = PGR_OK;
    kv_seq **seqs = mem_array(j->n_text, sizeof *seqs);
    if (!seqs) return fail_mem(j->err);
    for (size_t i = 0; i < j->n_text; i++) {
        seqs[i] = &j->seqs[i];
        *seqs[i] = (kv_seq){0};
    }
    for (size_t i = 0; i < j->n_text && s == PGR_OK; i++)
        s = kv_reserve(&e->kv, seqs[i], j->start[i + 1] - j->start[i], j->err);
    memset(j->sum, 0, e->dims * sizeof *j->sum);
    for (size_t from = 0; from < n && s == PGR_OK; from += e->n_row) {
        size_t to = n - from < e->n_row ? n : from + e->n_row;
        s = cancelled(j) ? fail(j->err, PGR_E_CANCELLED, "cancelled") : decode_rows(j, seqs, from, to, &text);
    }
    for (size_t i = 0; i < j->n_text; i++) kv_release(&e->kv, seqs[i]);
    mem_free(seqs);
    return s;
}

/* ---- batches ---- */

static pgr_status flush(job *j) {
    if (j->n_text == 0) return PGR_OK;
    if (cancelled(j)) return fail(j->err, PGR_E_CANCELLED, "cancelled");
    j->start[j->n_text] = j->batch.n;
    PGR_TRY(j->e->model ? run_decoder(j) : run_encoder(j));
    j->first += j->n_text;
    j->n_text = 0;
    j->batch.n = 0;
    watch_report(&j->o->watch, "embedding", j->first, j->n_total, "texts");
    return PGR_OK;
}

static pgr_status run(job *j, const char *const *texts, const size_t *lens, size_t n, pgr_embedded *counts, ids *v) {
    for (size_t i = 0; i < n; i++) {
        pgr_embedded count;
        PGR_TRY(take_text(j, texts[i], lens[i], v, &count));
        if (counts) counts[i] = count;
        if (j->batch.n + v->n > j->e->n_row) PGR_TRY(flush(j));
        j->start[j->n_text++] = j->batch.n;
        ids_append(&j->batch, v->v, v->n);
        if (j->batch.failed) return fail_mem(j->err);
    }
    return flush(j);
}

static pgr_status check_options(const pgr_embedder *e, const pgr_embed_options *o, pgr_error *err) {
    if (o->dim > e->dims)
        return fail(err, PGR_E_ARG, "dim is %zu, the model's embeddings have %zu values", o->dim, e->dims);
    if (o->pool < PGR_POOL_AUTO || o->pool > PGR_POOL_LAST)
        return fail(err, PGR_E_ARG, "pool is %d, expected 0 to %d", (int)o->pool, (int)PGR_POOL_LAST);
    if (o->pool == PGR_POOL_CLS && e->model)
        return fail(err, PGR_E_ARG, "pooling of the first token needs an encoder; %s is a decoder", e->name);
    pgr_pool pool = o->pool == PGR_POOL_AUTO ? e->say.pool : o->pool;
    if (o->instruct && pool == PGR_POOL_MEAN && !e->say.include_prompt)
        return fail(err, PGR_E_UNSUPPORTED,
                    "%s leaves a prompt out of the mean (include_prompt is false); this is not supported", e->name);
    return PGR_OK;
}

/* ---- servers ---- */

/* The first dim values, scaled to length 1. */
static pgr_status put_remote(const pgr_embedder *e, size_t text, const float *values, size_t dim, float *out,
                             pgr_error *err) {
    double ss = 0;
    for (size_t i = 0; i < dim; i++) ss += (double)values[i] * (double)values[i];
    if (!(ss > 1e-24))
        return fail(err, PGR_E_FORMAT, "%s: the embedding of text %zu is 0, expected one with a direction", e->name,
                    text + 1);
    for (size_t i = 0; i < dim; i++) out[i] = (float)((double)values[i] / sqrt(ss));
    return PGR_OK;
}

/* With the instruction before each, where there is one. */
static pgr_status instruct(const char *task, const char *const *texts, const size_t *lens, size_t n, buf *made,
                           const char **out, size_t *out_lens, pgr_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (task) {
            buf_printf(&made[i], "Instruct: %s\nQuery:", task);
            buf_add(&made[i], texts[i], lens[i]);
            if (made[i].failed) return fail_mem(err);
        }
        out[i] = task ? made[i].data : texts[i];
        out_lens[i] = task ? made[i].n : lens[i];
    }
    return PGR_OK;
}

static pgr_status embed_by_servers(pgr_embedder *e, const char *const *texts, const size_t *lens, size_t n,
                                   const pgr_embed_options *o, float *out, pgr_embedded *counts, pgr_error *err) {
    size_t dim = o->dim ? o->dim : e->dims, *tokens = mem_zero(n + 1, sizeof *tokens);
    size_t *whole_lens = mem_zero(n + 1, sizeof *whole_lens);
    float *values = mem_array(n * e->dims + 1, sizeof *values);
    buf *made = mem_zero(n + 1, sizeof *made);
    const char **whole = mem_zero(n + 1, sizeof *whole);
    pgr_status s = tokens && whole_lens && values && made && whole ? PGR_OK : fail_mem(err);
    if (s == PGR_OK && o->pool != PGR_POOL_AUTO)
        s = fail(err, PGR_E_UNSUPPORTED, "%s: servers pool as they do, expected no other pooling", e->name);
    if (s == PGR_OK) s = instruct(o->instruct, texts, lens, n, made, whole, whole_lens, err);
    if (s == PGR_OK) s = remote_embed(e->remote, whole, whole_lens, n, &o->watch, values, tokens, err);
    for (size_t i = 0; s == PGR_OK && i < n; i++) {
        s = put_remote(e, i, values + i * e->dims, dim, out + i * dim, err);
        if (counts) counts[i] = (pgr_embedded){.tokens = tokens[i]};
    }
    for (size_t i = 0; made && i < n; i++) buf_free(&made[i]);
    mem_free(tokens);
    mem_free(whole_lens);
    mem_free(values);
    mem_free(made);
    mem_free(whole);
    return s;
}

/* ---- the call ---- */

pgr_status pgr_embed(pgr_embedder *e, const char *const *texts, const size_t *lens, size_t n,
                     const pgr_embed_options *options, float *out, pgr_embedded *counts, pgr_error *err) {
    pgr_embed_options o = options ? *options : pgr_embed_options_default();
    PGR_TRY(check_options(e, &o, err));
    if (e->remote) return embed_by_servers(e, texts, lens, n, &o, out, counts, err);
    job j = {.e = e, .o = &o, .n_total = n, .out = out, .err = err};
    j.pool = o.pool == PGR_POOL_AUTO ? e->say.pool : o.pool;
    j.dim = o.dim ? o.dim : e->dims;
    j.start = mem_array(e->n_row + 2, sizeof *j.start);
    j.seqs = mem_array(e->n_row + 1, sizeof *j.seqs);
    j.rows = mem_array(e->n_row, sizeof *j.rows);
    j.sum = mem_array(e->dims, sizeof *j.sum);
    ids v = {0};
    pgr_status s = j.start && j.seqs && j.rows && j.sum ? run(&j, texts, lens, n, counts, &v) : fail_mem(err);
    ids_free(&v);
    ids_free(&j.batch);
    mem_free(j.start);
    mem_free(j.seqs);
    mem_free(j.rows);
    mem_free(j.sum);
    return s;
}
