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

/* A prompt of either kind: one that chains are written after, or one with slots. */
typedef struct any_prompt {
    const infer_message *messages;
    size_t n_message, n_token, n_part, n_clip, n_slot;
    const frame_part *parts;
    const infer_slot *slots;
    const pgr_clip *clips;
} any_prompt;

typedef struct measuring { /* a message from its beginning on */
    const showing *s;
    const any_prompt *p;
    size_t message;
    size_t from, end; /* bytes: what is counted together begins at a slot, or with the message; counted up to here */
    size_t tokens;    /* of these */
    size_t slot;      /* the next one */
    pgr_shown_part *parts;
    size_t n, sum;
} measuring;

/* Tokens up to `end` are `name`'s: those of the text up to here less those of the text up to the last border, so that
 * the parts of a message sum to its tokens. */
static pgr_status count_to(measuring *m, size_t end, const char *name) {
    judging *j = m->s->j;
    size_t tokens = 0;
    const char *text = m->p->messages[m->message].text;
    if (end > m->from) PGR_TRY(engine_count(j->desk->e, text + m->from, end - m->from, &tokens, &j->error));
    size_t more = tokens > m->tokens ? tokens - m->tokens : 0;
    if (more) add_tokens(m->parts, &m->n, name, more);
    m->sum += more;
    m->tokens += more;
    m->end = end;
    return PGR_OK;
}

/* The same over slots: they are borders between tokens, and what follows the last one is not read. */
static pgr_status count_over(measuring *m, size_t end, const char *name) {
    const any_prompt *p = m->p;
    for (; m->slot < p->n_slot && p->slots[m->slot].message == m->message && p->slots[m->slot].at <= end; m->slot++) {
        PGR_TRY(count_to(m, p->slots[m->slot].at, name));
        m->from = m->end;
        m->tokens = 0;
    }
    if (p->n_slot && m->slot == p->n_slot) return PGR_OK;
    return end > m->end ? count_to(m, end, name) : PGR_OK;
}

static pgr_status measure_message(measuring *m) {
    const any_prompt *p = m->p;
    const infer_message *message = &p->messages[m->message];
    const char *own = strcmp(message->role, "system") == 0 ? "instructions" : "frame";
    m->from = m->end = m->tokens = 0;
    for (size_t i = 0; i < p->n_part; i++) {
        const frame_part *part = &p->parts[i];
        if (part->message != m->message) continue;
        const char *name = arena_strdup(&m->s->made->arena, part->name);
        if (!name) return fail_mem(&m->s->j->error);
        PGR_TRY(count_over(m, part->from, own));
        PGR_TRY(count_over(m, part->from + part->n, name));
    }
    return count_over(m, message->n, own);
}

static pgr_status measure(const showing *s, const any_prompt *p, pgr_shown_prompt *out) {
    measuring m = {.s = s, .p = p, .parts = arena_array(&s->made->arena, p->n_part + 4, sizeof *m.parts)};
    if (!m.parts) return fail_mem(&s->j->error);
    for (; m.message < p->n_message; m.message++) PGR_TRY(measure_message(&m));
    if (p->n_token > m.sum) add_tokens(m.parts, &m.n, "template", p->n_token - m.sum);
    out->parts = m.parts;
    out->n_part = m.n;
    return PGR_OK;
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

static bool copy_slot(arena *a, const infer_slot *from, pgr_shown_slot *out) {
    const char **choices = arena_array(a, from->n_choice + 1, sizeof *choices);
    bool ok = choices != NULL;
    for (size_t i = 0; ok && i < from->n_choice; i++) ok = (choices[i] = arena_strdup(a, from->choices[i])) != NULL;
    *out = (pgr_shown_slot){from->message, from->at, choices, from->n_choice};
    return ok;
}

static pgr_status copy_texts(const showing *s, const any_prompt *p, pgr_shown_prompt *out) {
    arena *a = &s->made->arena;
    pgr_shown_message *messages = arena_array(a, p->n_message + 1, sizeof *messages);
    pgr_clip *clips = arena_array(a, p->n_clip + 1, sizeof *clips);
    pgr_shown_slot *slots = arena_array(a, p->n_slot + 1, sizeof *slots);
    bool ok = messages && clips && slots;
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
    for (size_t i = 0; ok && i < p->n_slot; i++) ok = copy_slot(a, &p->slots[i], &slots[i]);
    if (!ok) return fail_mem(&s->j->error);
    out->messages = messages, out->n_message = p->n_message;
    out->clipped = clips, out->n_clip = p->n_clip;
    out->slots = slots, out->n_slot = p->n_slot;
    return PGR_OK;
}

static pgr_status add_prompt(const showing *s, const any_prompt *p, pgr_shown_kind kind, const voice *v, size_t order,
                             size_t chains, size_t history) {
    judging *j = s->j;
    pgr_shown *all = &s->made->public;
    pgr_shown_prompt *out = (pgr_shown_prompt *)(uintptr_t)&all->prompts[all->n_prompt++];
    size_t n = j->r->n_response, *copy = arena_array(&s->made->arena, n + 1, sizeof *copy);
    const char *user = arena_strdup(&s->made->arena, v && v->r->user_id ? v->r->user_id : "");
    if (!copy || !user) return fail_mem(&j->error);
    memcpy(copy, j->order[order], n * sizeof *copy);
    const side *pro = &j->sides[SIDE_PRO];
    *out = (pgr_shown_prompt){.kind = kind,
                              .user = user,
                              .neighbour = v && v >= pro->voices && v < pro->voices + pro->n_voice,
                              .order = copy,
                              .chains = chains,
                              .tokens = p->n_token,
                              .history = history};
    PGR_TRY(copy_texts(s, p, out));
    return measure(s, p, out);
}

/* ---- prompts that chains are written after, and prompts with slots ----------------------------------------------- */

static pgr_status add_chains(const showing *s, const prompt *p) {
    const frame_prompt *f = &p->text;
    const any_prompt any = {.messages = f->messages,
                            .n_message = f->n_message,
                            .n_token = f->n_token,
                            .parts = f->parts,
                            .n_part = f->n_part,
                            .clips = f->clips,
                            .n_clip = f->n_clip};
    return add_prompt(s, &any, PGR_SHOWN_CHAINS, p->voice, p->order, p->n_chain, f->n_history);
}

static pgr_status add_read(const showing *s, const slot_read *r) {
    const slots_prompt *f = &r->prompt;
    const any_prompt any = {.messages = f->messages,
                            .n_message = f->n_message,
                            .n_token = f->n_token,
                            .parts = f->parts,
                            .n_part = f->n_part,
                            .slots = f->slots,
                            .n_slot = f->n_slot,
                            .clips = f->clips,
                            .n_clip = f->n_clip};
    size_t chains = 0;
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < s->j->sides[k].n_prompt; i++) {
            const prompt *p = &s->j->sides[k].prompts[i];
            if (p->n_chain && (p->taste == r || p->quality == r)) chains += p->n_chain;
        }
    return add_prompt(s, &any, r->taste ? PGR_SHOWN_TASTE : PGR_SHOWN_QUALITY, r->voice, r->order, chains,
                      f->n_history);
}

static pgr_status add_all(const showing *s) {
    judging *j = s->j;
    size_t n = j->sides[SIDE_IND].n_prompt + j->sides[SIDE_PRO].n_prompt + j->n_read;
    s->made->public.prompts = arena_array(&s->made->arena, n + 1, sizeof *s->made->public.prompts);
    if (!s->made->public.prompts) return fail_mem(&j->error);
    for (size_t i = 0; i < j->n_read; i++) PGR_TRY(add_read(s, &j->reads[i]));
    for (int k = 0; k < N_SIDE && !judging_by_slots(j); k++)
        for (size_t i = 0; i < j->sides[k].n_prompt; i++)
            if (j->sides[k].prompts[i].n_chain) PGR_TRY(add_chains(s, &j->sides[k].prompts[i]));
    return PGR_OK;
}

static pgr_status show_all(const showing *s) {
    judging *j = s->j;
    PGR_TRY(judging_prepare(j));
    arena *a = &s->made->arena;
    s->made->public = (pgr_shown){.id = arena_strdup(a, j->r->id ? j->r->id : ""),
                                  .model = arena_strdup(a, j->desk->about->name),
                                  .frame = arena_strdup(a, frame_name(j->desk->frame)),
                                  .n_response = j->r->n_response,
                                  .n_ctx = j->desk->about->n_ctx,
                                  .max_tokens = j->max_tokens};
    if (!s->made->public.id || !s->made->public.model || !s->made->public.frame) return fail_mem(&j->error);
    return add_all(s);
}

pgr_status judge_show_from(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options,
                           const judge_source *source, pgr_shown **out, pgr_error *err) {
    pgr_judge_options o = options ? *options : pgr_judge_options_default();
    if (source) o.people = NULL;
    desk d = {.e = engine, .about = engine_about(engine), .o = &o};
    judging j = {.desk = &d, .r = request, .o = &o, .source = source, .scope = "", .made = mem_zero(1, sizeof *j.made)};
    shown *made = mem_zero(1, sizeof *made);
    pgr_status s = made && j.made ? desk_prepare(&d, err) : fail_mem(err);
    if (s == PGR_OK) {
        s = show_all(&(showing){&j, made});
        if (s != PGR_OK && err) *err = j.error;
    }
    judging_release(&j);
    if (j.made) pgr_result_free(&j.made->public);
    desk_release(&d);
    if (s == PGR_OK)
        *out = &made->public;
    else if (made)
        pgr_shown_free(&made->public);
    return s;
}

pgr_status pgr_judge_show(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options,
                          pgr_shown **out, pgr_error *err) {
    return judge_show_from(engine, request, options, NULL, out, err);
}

void pgr_shown_free(pgr_shown *public) {
    shown *s = (shown *)public;
    if (!s) return;
    arena_free(&s->arena);
    mem_free(s);
}
