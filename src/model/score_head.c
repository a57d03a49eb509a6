/* score_head.c - pgr_scalar: conversations to tokens, tokens of many of them in each pass, last states to numbers.
 *
 * Inputs of one conversation are a group: the tokens that all of them begin with, its trunk, are computed first, and
 * each input goes on from there. A pass takes the rows of what is begun, then begins new groups, until it is full. */
#include "model/score_head.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/watch.h"

enum { PASS_ROWS = 512 };
static const size_t KV_TOKENS = 1 << 30; /* no limit of its own: pages come as they are needed */

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static pgr_status open_parts(pgr_scalar *s, const char *path, const pgr_model_options *o, pgr_error *err) {
    pgr_model_options exact = o ? *o : pgr_model_options_default();
    if (exact.dtype == PGR_DTYPE_AUTO) exact.dtype = PGR_DTYPE_EXACT; /* what int8 does to rewards is not measured */
    PGR_TRY(model_open_score(path, &exact, &s->model, err));
    const pgr_model *m = s->model;
    s->n_row = PASS_ROWS;
    s->rows = mem_array(s->n_row, sizeof *s->rows);
    s->seqs = mem_array(s->n_row, sizeof *s->seqs);
    s->target = mem_array(s->n_row, sizeof *s->target);
    s->hidden = mem_array(s->n_row * m->config.n_embd, sizeof *s->hidden);
    if (!s->rows || !s->seqs || !s->target || !s->hidden) return fail_mem(err);
    if (m->chat.kind == CHAT_NONE) return fail(err, PGR_E_UNSUPPORTED, "%s", m->chat.why);
    PGR_TRY(kv_init(&s->kv, &m->config, model_kv(m), KV_TOKENS, err));
    return forward_create(m, s->n_row, &s->forward, err);
}

pgr_status pgr_scalar_open(const char *path, const pgr_model_options *options, pgr_scalar **out, pgr_error *err) {
    pgr_scalar *s = mem_zero(1, sizeof *s);
    if (!s) return fail_mem(err);
    pgr_status status = open_parts(s, path, options, err);
    if (status == PGR_OK)
        *out = s;
    else
        pgr_scalar_close(s);
    return status;
}

pgr_status pgr_scalar_create(const pgr_scalar_source *source, pgr_scalar **out, pgr_error *err) {
    pgr_scalar *s = mem_zero(1, sizeof *s);
    char *name = mem_strdup(source->name);
    if (!s || !name) {
        mem_free(s);
        mem_free(name);
        return fail_mem(err);
    }
    s->source = *source;
    s->source.name = s->name = name;
    *out = s;
    return PGR_OK;
}

void pgr_scalar_close(pgr_scalar *s) {
    if (!s) return;
    if (s->source.close) s->source.close(s->source.ctx);
    mem_free(s->name);
    forward_free(s->forward);
    kv_close(&s->kv);
    mem_free(s->rows);
    mem_free(s->seqs);
    mem_free(s->target);
    mem_free(s->hidden);
    pgr_model_close(s->model);
    mem_free(s);
}

const char *pgr_scalar_name(const pgr_scalar *s) {
    return s->name ? s->name : s->model->from.name;
}

size_t pgr_scalar_max_tokens(const pgr_scalar *s) {
    return s->source.score ? SIZE_MAX : s->model->config.n_ctx;
}

size_t score_end(const int32_t *tokens, size_t n, int32_t pad) {
    while (n > 1 && tokens[n - 1] == pad) n--;
    return n;
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

typedef struct member { /* an input */
    ids tokens;
    size_t end; /* of the tokens that are read; 0: none are */
    kv_seq seq;
    bool begun;
} member;

typedef struct group {   /* inputs first to first + n - 1: one conversation */
    size_t first, n, at; /* at: the first member that is not done */
    member *members;     /* (n) */
    kv_seq trunk;
    size_t n_trunk; /* tokens that all members begin with; each has at least one more */
    struct group *next;
} group;

typedef struct job { /* one call */
    pgr_scalar *s;
    const pgr_scalar_input *inputs;
    size_t n, next, done; /* next: the first input that is in no group yet */
    group *open, **tail;  /* groups that are begun, in order */
    size_t n_row, n_seq, n_want;
    float *scores;
    size_t *tokens;
    const pgr_watch *watch;
    pgr_error *err;
} job;

static void free_group(job *j, group *g) {
    for (size_t i = 0; g->members && i < g->n; i++) {
        kv_release(&j->s->kv, &g->members[i].seq);
        ids_free(&g->members[i].tokens);
    }
    kv_release(&j->s->kv, &g->trunk);
    mem_free(g->members);
    mem_free(g);
}

static pgr_status name_input(job *j, size_t i, pgr_status status, const pgr_error *why) {
    return status == PGR_E_MEM ? fail_mem(j->err) : fail(j->err, status, "input %zu: %.400s", i, why->message);
}

/* A text as it stands. A BOS that it spells out itself is not doubled. */
static pgr_status encode_text(job *j, size_t i, ids *out) {
    const char *text = j->inputs[i].response;
    pgr_error why;
    pgr_status s = tok_encode(j->s->model->tok, text, strlen(text), PGR_TOKENS_SPECIAL | PGR_TOKENS_BOS, out, &why);
    if (s != PGR_OK) return name_input(j, i, s, &why);
    if (out->failed) return fail_mem(j->err);
    size_t n = tok_before(j->s->model->tok);
    if (n > 0 && out->n >= 2 * n && memcmp(out->v, out->v + n, n * sizeof *out->v) == 0) {
        memmove(out->v, out->v + n, (out->n - n) * sizeof *out->v);
        out->n -= n;
    }
    return out->n > 0 ? PGR_OK : fail(j->err, PGR_E_FORMAT, "input %zu: found no text, expected some", i);
}

/* The conversation with the response as the assistant's turn, in the chat template. */
static pgr_status encode(job *j, size_t i, ids *out) {
    const pgr_model *m = j->s->model;
    const pgr_scalar_input *in = &j->inputs[i];
    if (in->n_message == 0) return encode_text(j, i, out);
    chat_message *list = mem_array(in->n_message + 1, sizeof *list);
    if (!list) return fail_mem(j->err);
    for (size_t k = 0; k < in->n_message; k++)
        list[k] = (chat_message){in->messages[k].role, in->messages[k].text, strlen(in->messages[k].text)};
    list[in->n_message] = (chat_message){"assistant", in->response, strlen(in->response)};
    pgr_error why;
    pgr_status s = chat_render(&m->chat, m->tok, list, in->n_message + 1, false, out, &why);
    mem_free(list);
    if (s != PGR_OK) return name_input(j, i, s, &why);
    if (out->failed) return fail_mem(j->err);
    if (out->n == 0) return fail(j->err, PGR_E_FORMAT, "input %zu: the chat template makes no text of it", i);
    return PGR_OK;
}

/* One that is too long has no score and is done. */
static pgr_status read_input(job *j, size_t i, member *m) {
    PGR_TRY(encode(j, i, &m->tokens));
    const pgr_model *model = j->s->model;
    size_t end = score_end(m->tokens.v, m->tokens.n, model->from.pad);
    m->end = end <= model->config.n_ctx ? end : 0;
    if (m->end == 0) j->scores[i] = NAN;
    if (j->tokens) j->tokens[i] = m->tokens.n;
    return PGR_OK;
}

static size_t common(const ids *a, const ids *b, size_t most) {
    size_t n = 0;
    while (n < most && a->v[n] == b->v[n]) n++;
    return n;
}

/* Nothing is shared where there is nobody to share it with. */
static size_t trunk_of(const group *g) {
    const member *first = NULL;
    size_t n = 0, n_read = 0;
    for (size_t i = 0; i < g->n; i++) {
        const member *m = &g->members[i];
        if (m->end == 0) continue;
        if (n_read++ == 0) first = m, n = m->end - 1;
        n = common(&first->tokens, &m->tokens, n < m->end - 1 ? n : m->end - 1);
    }
    return n_read > 1 ? n : 0;
}

static bool same_conversation(const pgr_scalar_input *a, const pgr_scalar_input *b) {
    if (a->n_message != b->n_message) return false;
    for (size_t i = 0; a->messages != b->messages && i < a->n_message; i++)
        if (strcmp(a->messages[i].role, b->messages[i].role) != 0
            || strcmp(a->messages[i].text, b->messages[i].text) != 0)
            return false;
    return true;
}

static pgr_status open_group(job *j) {
    group *g = mem_zero(1, sizeof *g);
    if (!g) return fail_mem(j->err);
    g->first = j->next;
    do g->n++;
    while (j->next + g->n < j->n && same_conversation(&j->inputs[g->first], &j->inputs[g->first + g->n]));
    *j->tail = g;
    j->tail = &g->next;
    j->next += g->n;
    g->members = mem_zero(g->n, sizeof *g->members);
    if (!g->members) return fail_mem(j->err);
    for (size_t i = 0; i < g->n; i++) PGR_TRY(read_input(j, g->first + i, &g->members[i]));
    g->n_trunk = trunk_of(g);
    return PGR_OK;
}

/* ---- passes ------------------------------------------------------------------------------------------------------ */

/* The sequence's next tokens up to `end`, as many as there is room for. target: the score that the last one's state
 * becomes; SIZE_MAX: none. */
static pgr_status add_rows(job *j, kv_seq *seq, const ids *tokens, size_t end, size_t target) {
    pgr_scalar *s = j->s;
    size_t from = seq->n_token, room = s->n_row - j->n_row, n = end - from < room ? end - from : room;
    if (n == 0) return PGR_OK;
    PGR_TRY(kv_reserve(&s->kv, seq, n, j->err));
    for (size_t pos = from; pos < from + n; pos++) {
        bool want = target != SIZE_MAX && pos + 1 == end;
        s->rows[j->n_row++] =
            (forward_row){.token = tokens->v[pos], .seq = (uint32_t)j->n_seq, .pos = (uint32_t)pos, .want = want};
        if (want) s->target[j->n_want++] = target;
    }
    s->seqs[j->n_seq++] = seq;
    return PGR_OK;
}

static pgr_status add_member(job *j, group *g, size_t i) {
    member *m = &g->members[i];
    if (m->end == 0) return PGR_OK;
    if (!m->begun) PGR_TRY(kv_fork(&j->s->kv, &m->seq, &g->trunk, g->n_trunk, j->err));
    m->begun = true;
    return add_rows(j, &m->seq, &m->tokens, m->end, g->first + i);
}

/* The trunk, or what goes on from it once it is there. */
static pgr_status add_group(job *j, group *g) {
    if (g->trunk.n_token < g->n_trunk) {
        const member *any = g->members;
        while (any->end == 0) any++;
        return add_rows(j, &g->trunk, &any->tokens, g->n_trunk, SIZE_MAX);
    }
    for (size_t i = g->at; i < g->n && j->n_row < j->s->n_row; i++) PGR_TRY(add_member(j, g, i));
    return PGR_OK;
}

static pgr_status fill(job *j) {
    j->n_row = j->n_seq = j->n_want = 0;
    for (group *g = j->open; g && j->n_row < j->s->n_row; g = g->next) PGR_TRY(add_group(j, g));
    while (j->next < j->n && j->n_row < j->s->n_row) {
        group **at = j->tail;
        PGR_TRY(open_group(j));
        PGR_TRY(add_group(j, *at));
    }
    return PGR_OK;
}

/* The head is applied in double precision: one row of numbers, read once per response. */
static pgr_status take_states(job *j) {
    const pgr_model *m = j->s->model;
    size_t d = m->config.n_embd;
    for (size_t i = 0; i < j->n_want; i++) {
        const float *state = j->s->hidden + i * d;
        double sum = 0;
        for (size_t k = 0; k < d; k++) sum += (double)state[k] * (double)m->weights.score[k];
        if (!isfinite(sum))
            return fail(j->err, PGR_E_FORMAT, "%s: the score of input %zu is %g, expected a number", m->from.path,
                        j->s->target[i], sum);
        j->scores[j->s->target[i]] = (float)sum;
    }
    return PGR_OK;
}

/* Groups whose members are done go, in whatever order. */
static void close_done(job *j) {
    for (group **at = &j->open; *at;) {
        group *g = *at;
        while (g->at < g->n && g->members[g->at].seq.n_token == g->members[g->at].end) {
            kv_release(&j->s->kv, &g->members[g->at].seq);
            g->at++;
            j->done++;
        }
        if (g->at < g->n) {
            at = &g->next;
            continue;
        }
        *at = g->next;
        free_group(j, g);
    }
    j->tail = &j->open;
    while (*j->tail) j->tail = &(*j->tail)->next;
}

static pgr_status run_pass(job *j) {
    pgr_scalar *s = j->s;
    PGR_TRY(watch_check(j->watch, j->err));
    PGR_TRY(fill(j));
    if (j->n_row > 0) PGR_TRY(forward_hidden(s->forward, &s->kv, s->seqs, s->rows, j->n_row, s->hidden, j->err));
    PGR_TRY(take_states(j));
    close_done(j);
    watch_report(j->watch, "scoring", j->done, j->n, "responses");
    return PGR_OK;
}

static pgr_status ask_source(const pgr_scalar_source *source, const pgr_scalar_input *inputs, size_t n,
                             const pgr_watch *watch, float *scores, size_t *tokens, pgr_error *err) {
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(watch_check(watch, err));
        if (inputs[i].n_message == 0)
            return fail(err, PGR_E_UNSUPPORTED, "input %zu: found a text alone, %s scores responses to messages", i,
                        source->name);
        PGR_TRY(source->score(source->ctx, &inputs[i], &scores[i], err));
        if (tokens) tokens[i] = 0;
    }
    return PGR_OK;
}

pgr_status pgr_scalar_score(pgr_scalar *s, const pgr_scalar_input *inputs, size_t n, const pgr_watch *watch,
                            float *scores, size_t *tokens, pgr_error *err) {
    if (s->source.score) return ask_source(&s->source, inputs, n, watch, scores, tokens, err);
    job j = {.s = s, .inputs = inputs, .n = n, .scores = scores, .tokens = tokens, .watch = watch, .err = err};
    pgr_status status = PGR_OK;
    j.tail = &j.open;
    while (status == PGR_OK && j.done < n) status = run_pass(&j);
    while (j.open) {
        group *g = j.open;
        j.open = g->next;
        free_group(&j, g);
    }
    return status;
}
