/* judge_shown.c - the prompts of a request as they would be asked, with the tokens of each part: nothing is written. */
#include <string.h>

#include "base/mem.h"
#include "judge/judging.h"

typedef struct shown { /* the public part comes first */
    pgr_shown public;
    arena arena;
} shown;

typedef struct showing {
    judging *j;
    shown *made;
} showing;

/* ---- tokens of parts --------------------------------------------------------------------------------------------- */

/* Sums by name, in the order in which the names come. */
static void add_tokens(pgr_shown_part *parts, size_t *n, const char *name, size_t tokens) {
    size_t i = 0;
    while (i < *n && strcmp(parts[i].name, name) != 0) i++;
    if (i == *n) parts[(*n)++] = (pgr_shown_part){name, 0};
    parts[i].tokens += tokens;
}

typedef struct measured { /* a message up to a border between parts */
    const infer_message *message;
    size_t tokens;
} measured;

/* Tokens from the last border to this one: counted as the message up to here less the message up to there, so that the
 * parts of a message sum to its tokens. */
static pgr_status up_to(pgr_engine *e, measured *m, size_t end, size_t *out, pgr_error *err) {
    size_t tokens = 0;
    if (end > 0) PGR_TRY(engine_count(e, m->message->text, end, &tokens, err));
    *out = tokens > m->tokens ? tokens - m->tokens : 0;
    m->tokens = tokens > m->tokens ? tokens : m->tokens;
    return PGR_OK;
}

static pgr_status measure_message(const showing *s, const frame_prompt *p, size_t which, pgr_shown_part *parts,
                                  size_t *n, size_t *sum) {
    judging *j = s->j;
    const infer_message *message = &p->messages[which];
    const char *own = strcmp(message->role, "system") == 0 ? "instructions" : "frame";
    measured m = {.message = message};
    size_t tokens;
    for (size_t i = 0; i < p->n_part; i++) {
        const frame_part *part = &p->parts[i];
        if (part->message != which) continue;
        PGR_TRY(up_to(j->b->e, &m, part->from, &tokens, &j->error));
        if (tokens) add_tokens(parts, n, own, tokens);
        PGR_TRY(up_to(j->b->e, &m, part->from + part->n, &tokens, &j->error));
        const char *name = arena_strdup(&s->made->arena, part->name);
        if (!name) return fail_mem(&j->error);
        add_tokens(parts, n, name, tokens);
    }
    PGR_TRY(up_to(j->b->e, &m, message->n, &tokens, &j->error));
    if (tokens) add_tokens(parts, n, own, tokens);
    *sum += m.tokens;
    return PGR_OK;
}

static pgr_status measure(const showing *s, const frame_prompt *p, pgr_shown_prompt *out) {
    size_t n = 0, sum = 0;
    pgr_shown_part *parts = arena_array(&s->made->arena, p->n_part + 4, sizeof *parts);
    if (!parts) return fail_mem(&s->j->error);
    for (size_t m = 0; m < p->n_message; m++) PGR_TRY(measure_message(s, p, m, parts, &n, &sum));
    if (p->n_token > sum) add_tokens(parts, &n, "template", p->n_token - sum);
    out->parts = parts;
    out->n_part = n;
    return PGR_OK;
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

static pgr_status copy_messages(const showing *s, const frame_prompt *p, pgr_shown_prompt *out) {
    arena *a = &s->made->arena;
    pgr_shown_message *messages = arena_array(a, p->n_message + 1, sizeof *messages);
    pgr_clip *clips = arena_array(a, p->n_clip + 1, sizeof *clips);
    bool ok = messages && clips;
    for (size_t i = 0; ok && i < p->n_message; i++) {
        const infer_message *m = &p->messages[i];
        messages[i] = (pgr_shown_message){arena_strdup(a, m->role), arena_strndup(a, m->text, m->n), m->n};
        ok = messages[i].role && messages[i].text;
    }
    for (size_t i = 0; ok && i < p->n_clip; i++) {
        clips[i] = p->clips[i];
        clips[i].field = arena_strdup(a, p->clips[i].field);
        ok = clips[i].field != NULL;
    }
    if (!ok) return fail_mem(&s->j->error);
    out->messages = messages;
    out->n_message = p->n_message;
    out->clipped = clips;
    out->n_clip = p->n_clip;
    return PGR_OK;
}

static pgr_status show_prompt(const showing *s, const prompt *p, bool neighbour, pgr_shown_prompt *out) {
    judging *j = s->j;
    size_t n = j->r->n_response;
    size_t *order = arena_array(&s->made->arena, n + 1, sizeof *order);
    const char *user = arena_strdup(&s->made->arena, p->voice->r->user_id ? p->voice->r->user_id : "");
    if (!order || !user) return fail_mem(&j->error);
    memcpy(order, j->order[p->order], n * sizeof *order);
    *out = (pgr_shown_prompt){.user = user,
                              .neighbour = neighbour,
                              .order = order,
                              .chains = p->n_chain,
                              .tokens = p->text.n_token,
                              .history = p->text.n_history};
    PGR_TRY(copy_messages(s, &p->text, out));
    return measure(s, &p->text, out);
}

static pgr_status show_sides(const showing *s) {
    judging *j = s->j;
    size_t n = j->sides[SIDE_IND].n_prompt + j->sides[SIDE_PRO].n_prompt;
    pgr_shown *out = &s->made->public;
    pgr_shown_prompt *prompts = arena_array(&s->made->arena, n + 1, sizeof *prompts);
    if (!prompts) return fail_mem(&j->error);
    out->prompts = prompts;
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < j->sides[k].n_prompt; i++) {
            const prompt *p = &j->sides[k].prompts[i];
            if (p->n_chain) PGR_TRY(show_prompt(s, p, k == SIDE_PRO, &prompts[out->n_prompt++]));
        }
    return PGR_OK;
}

static pgr_status show_all(const showing *s) {
    judging *j = s->j;
    PGR_TRY(judging_prepare(j));
    arena *a = &s->made->arena;
    s->made->public = (pgr_shown){.id = arena_strdup(a, j->r->id ? j->r->id : ""),
                                  .model = arena_strdup(a, j->b->about->name),
                                  .frame = arena_strdup(a, frame_name(j->b->frame)),
                                  .n_response = j->r->n_response,
                                  .n_ctx = j->b->about->n_ctx,
                                  .max_tokens = j->max_tokens};
    if (!s->made->public.id || !s->made->public.model || !s->made->public.frame) return fail_mem(&j->error);
    return show_sides(s);
}

pgr_status judge_show_from(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options,
                           const judge_source *source, pgr_shown **out, pgr_error *err) {
    pgr_judge_options o = options ? *options : pgr_judge_options_default();
    batch b = {.e = engine, .about = engine_about(engine), .o = &o, .source = source, .n = 1};
    judging j = {.b = &b, .r = request, .made = mem_zero(1, sizeof *j.made)};
    shown *made = mem_zero(1, sizeof *made);
    pgr_status s = made && j.made ? judging_open(&b, err) : fail_mem(err);
    b.list = &j;
    if (s == PGR_OK) {
        s = show_all(&(showing){&j, made});
        if (s != PGR_OK && err) *err = j.error;
    }
    judging_release(&j);
    if (j.made) pgr_result_free(&j.made->public);
    frame_close(b.frame);
    embeddings_free(b.embeddings);
    if (s == PGR_OK)
        *out = &made->public;
    else if (made)
        pgr_shown_free(&made->public);
    return s;
}

void pgr_shown_free(pgr_shown *public) {
    shown *s = (shown *)public;
    if (!s) return;
    arena_free(&s->arena);
    mem_free(s);
}
