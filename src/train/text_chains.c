/* text_chains.c - a teacher's chains for psi: written, judged (kept where they parse and rank the pair right), and kept
 * in OUT/chains.jsonl, from which a run that was interrupted goes on. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/watch.h"
#include "train/rubric_writer.h"
#include "train/text.h"

enum { CHUNK = 16 /* prompts that are written for at once */ };

typedef struct teaching {
    text *t;
    train_run *r;
    uint8_t (*done)[2]; /* (n_pair) */
    buf path;
    size_t accepted, wrong, unparsed, silent;
    char why[200]; /* of the first chain that did not parse */
} teaching;

typedef struct task { /* a prompt that wants a chain */
    size_t pair, order;
    text_example example;
    frame_prompt prompt;
    const char *text;   /* the first that was accepted, else the last; NULL: nothing was written */
    const char *reason; /* why it was not accepted; NULL: it was */
} task;

/* ---- judging ---- */

pgr_status text_judge(const text *t, const char *chain, size_t n, size_t order, arena *a, text_verdict *out,
                      pgr_error *err) {
    *out = (text_verdict){.parsed = false};
    PGR_TRY(chain_parse(t->form, chain, n, TEXT_RESPONSES, a, &out->read, err));
    out->parsed = out->read.parsed;
    out->reason = out->read.reason;
    if (!out->parsed) return PGR_OK;
    const double *redone = out->read.recomputed, *said = out->read.declared;
    const double *by = isfinite(redone[0]) && isfinite(redone[1]) ? redone : said;
    size_t place = TEXT_ORDERS[order][0] == TEXT_CHOSEN ? 0 : 1;
    out->margin = by[place] - by[1 - place];
    for (size_t r = 0; by == redone && r < TEXT_RESPONSES; r++)
        out->wrong_sum = out->wrong_sum || fabs(redone[r] - said[r]) > 0.051; /* docs/scores.md */
    return PGR_OK;
}

/* The task's text becomes this one, unless it has an accepted one already. */
static pgr_status consider(teaching *g, task *k, const char *chain, size_t n, arena *a, pgr_error *err) {
    text_verdict v;
    if (k->text && !k->reason) return PGR_OK;
    PGR_TRY(text_judge(g->t, chain, n, k->order, a, &v, err));
    k->text = arena_strndup(a, chain, n);
    k->reason = v.parsed ? (v.margin > 0 ? NULL : "ranks the pair wrongly") : v.reason;
    if (!v.parsed && !g->why[0]) snprintf(g->why, sizeof g->why, "%s", v.reason);
    *(!v.parsed ? &g->unparsed : v.margin > 0 ? &g->accepted : &g->wrong) += 1;
    return k->text ? PGR_OK : fail_mem(err);
}

/* ---- teachers ---- */

static pgr_status write_rubrics(teaching *g, task *tasks, size_t n, arena *a, pgr_error *err) {
    for (size_t i = 0; i < n; i++) {
        buf chain = {0};
        bool said;
        pgr_request r = tasks[i].example.request;
        r.responses = tasks[i].example.responses;
        rubric_task of = {g->t->form, &r, tasks[i].example.shown, tasks[i].example.n_shown,
                          TEXT_ORDERS[tasks[i].order]};
        pgr_status s = rubric_write(&of, &chain, &said, err);
        if (s == PGR_OK && said) s = consider(g, &tasks[i], chain.data, chain.n, a, err);
        buf_free(&chain);
        if (s != PGR_OK) return s;
    }
    return PGR_OK;
}

static uint64_t seed_of(const text *t, size_t pair) {
    return hash_value(hash_value(HASH_BEGIN, t->o->train.seed), pair);
}

static pgr_status write_own(teaching *g, task *tasks, size_t n, arena *a, pgr_error *err) {
    text_ask asks[CHUNK];
    infer_output out;
    for (size_t i = 0; i < n; i++)
        asks[i] = (text_ask){.prompt = &tasks[i].prompt,
                             .n_sample = g->t->o->tries,
                             .seed = seed_of(g->t, tasks[i].pair),
                             .id = (uint32_t)tasks[i].order,
                             .temperature = 1,
                             .grammar = true};
    PGR_TRY(text_sample(g->t, g->r, asks, n, &out, err));
    pgr_status s = PGR_OK;
    for (size_t i = 0; s == PGR_OK && i < out.n_chain; i++) {
        const infer_chain *c = &out.chains[i];
        s = consider(g, &tasks[i / g->t->o->tries], c->text.data ? c->text.data : "", c->text.n, a, err);
    }
    infer_output_free(&out);
    return s;
}

static pgr_status write_by_server(teaching *g, task *tasks, size_t n, arena *a, pgr_error *err) {
    size_t tries = g->t->o->tries;
    teacher_ask *asks = arena_array(a, n * tries, sizeof *asks);
    if (!asks) return fail_mem(err);
    for (size_t i = 0; i < n * tries; i++)
        asks[i] = (teacher_ask){.messages = tasks[i / tries].prompt.messages,
                                .n_message = tasks[i / tries].prompt.n_message,
                                .number = i % tries,
                                .max_tokens = g->t->max_tokens};
    PGR_TRY(teacher_run(g->t->teacher, asks, n * tries, &g->r->o->watch, a, err));
    for (size_t i = 0; i < n * tries; i++)
        if (asks[i].answer) PGR_TRY(consider(g, &tasks[i / tries], asks[i].answer, strlen(asks[i].answer), a, err));
    return PGR_OK;
}

/* ---- the file ---- */

static pgr_status keep(teaching *g, const task *k, pgr_error *err) {
    size_t n = k->text ? strlen(k->text) : 0;
    text_chain *c = &g->t->chains[k->pair][k->order];
    g->done[k->pair][k->order] = 1;
    if (!k->text || k->reason) return PGR_OK;
    *c = (text_chain){true, arena_strndup(&g->t->arena, k->text, n), n};
    return c->text ? PGR_OK : fail_mem(err);
}

static void put_line(const task *k, buf *out) {
    const char *reason = k->text ? k->reason : "nothing was written";
    buf_printf(out, "{\"pair\":%zu,\"order\":%zu,\"accepted\":%s,\"reason\":", k->pair, k->order,
               reason ? "false" : "true");
    if (reason)
        json_put_string(out, reason, strlen(reason));
    else
        buf_puts(out, "null");
    buf_puts(out, ",\"text\":");
    json_put_string(out, k->text ? k->text : "", k->text ? strlen(k->text) : 0);
    buf_puts(out, "}\n");
}

static pgr_status append(const teaching *g, const buf *lines, pgr_error *err) {
    char why[128];
    FILE *f = fopen(g->path.data, "ab");
    bool written = f && fwrite(lines->data, 1, lines->n, f) == lines->n;
    if (f && fclose(f) != 0) written = false;
    return written ? PGR_OK : fail(err, PGR_E_IO, "%s: %s", g->path.data, strerror_r(errno, why, sizeof why));
}

static pgr_status take_line(teaching *g, const char *line, size_t n, size_t number, pgr_error *err) {
    json_t *v = NULL;
    PGR_TRY(json_parse(line, n, g->path.data, number, &v, err));
    json_int_t pair = json_integer_value(json_object_get(v, "pair")),
               order = json_integer_value(json_object_get(v, "order"));
    const char *text = json_string_value(json_object_get(v, "text"));
    pgr_status s = PGR_OK;
    if (!text || pair < 0 || (size_t)pair >= g->t->set.n_pair || order < 0 || order > 1) {
        s = fail(err, PGR_E_FORMAT, "%s:%zu: found no chain of this run's pairs, expected the file that the run wrote",
                 g->path.data, number);
    } else {
        task k = {.pair = (size_t)pair, .order = (size_t)order, .text = text};
        if (!json_is_true(json_object_get(v, "accepted"))) k.reason = "";
        *(k.reason ? &g->wrong : &g->accepted) += 1;
        s = keep(g, &k, err);
    }
    json_decref(v);
    return s;
}

/* The first line: a fingerprint of all that decides what is written. */
static pgr_status put_head(const teaching *g, buf *out, pgr_error *err) {
    char *settings = json_dumps(g->r->settings, JSON_COMPACT | JSON_SORT_KEYS);
    if (!settings) return fail_mem(err);
    buf_printf(out, "{\"settings\":\"%016llx\"}\n", (unsigned long long)hash_whole_text(HASH_BEGIN, settings));
    mem_free(settings);
    return out->failed ? fail_mem(err) : PGR_OK;
}

/* What was written before an interruption; a line that a kill cut off is removed. */
static pgr_status read_lines(teaching *g, pgr_error *err) {
    buf all = {0}, head = {0};
    buf_printf(&g->path, "%s/chains.jsonl", g->t->o->train.out);
    if (g->path.failed) return fail_mem(err);
    pgr_status s = put_head(g, &head, err);
    if (s == PGR_OK && file_exists(g->path.data)) s = file_read(g->path.data, &all, err);
    size_t at = head.n, number = 2;
    if (s == PGR_OK && all.n < head.n) {
        s = file_write(g->path.data, head.data, head.n, err);
        at = all.n;
    } else if (s == PGR_OK && memcmp(all.data, head.data, head.n) != 0) {
        s = fail(err, PGR_E_ARG, "%s: was written under other settings, expected an empty folder", g->path.data);
    }
    buf_free(&head);
    for (const char *end; s == PGR_OK && at < all.n && (end = memchr(all.data + at, '\n', all.n - at)); number++) {
        s = take_line(g, all.data + at, (size_t)(end - all.data) - at, number, err);
        at = (size_t)(end - all.data) + 1;
    }
    if (s == PGR_OK && at < all.n && truncate(g->path.data, (off_t)at) != 0)
        s = fail(err, PGR_E_IO, "%s: cannot be cut behind its last whole line", g->path.data);
    buf_free(&all);
    return s;
}

/* ---- all prompts ---- */

static pgr_status write_chunk(teaching *g, task *tasks, size_t n, arena *a, pgr_error *err) {
    pgr_teacher by = g->t->o->teacher;
    buf lines = {0};
    PGR_TRY(by == PGR_TEACHER_RUBRIC ? write_rubrics(g, tasks, n, a, err)
            : by == PGR_TEACHER_SELF ? write_own(g, tasks, n, a, err)
                                     : write_by_server(g, tasks, n, a, err));
    pgr_status s = PGR_OK;
    for (size_t i = 0; s == PGR_OK && i < n; i++) {
        g->silent += !tasks[i].text;
        s = keep(g, &tasks[i], err);
        put_line(&tasks[i], &lines);
    }
    if (s == PGR_OK && lines.failed) s = fail_mem(err);
    if (s == PGR_OK) s = append(g, &lines, err);
    buf_free(&lines);
    return s;
}

/* The next prompts without a chain, from draw *at on: how many. */
static pgr_status collect(teaching *g, size_t *at, size_t most, task *tasks, size_t *n, arena *a, pgr_error *err) {
    text *t = g->t;
    for (; *at < most && *n + 2 <= CHUNK; ++*at) {
        size_t pair = psi_set_draw(&t->set, *at);
        for (size_t order = 0; order < 2; order++) {
            if (g->done[pair][order] || !text_order_used(t, pair, order)) continue;
            task *k = &tasks[*n];
            *k = (task){.pair = pair, .order = order};
            PGR_TRY(text_example_make(t, &t->set, pair, TEXT_OWN, seed_of(t, pair), a, &k->example, err));
            PGR_TRY(text_prompt(t, &k->example, order, a, &k->prompt, err));
            ++*n;
        }
    }
    return PGR_OK;
}

static pgr_status write_all(teaching *g, pgr_error *err) {
    text *t = g->t;
    size_t most = t->o->pairs && t->o->pairs < t->set.n_order ? t->o->pairs : t->set.n_order;
    for (size_t at = 0; at < most;) {
        task tasks[CHUNK];
        size_t n = 0;
        arena a = {0};
        pgr_status s = watch_check(&g->r->o->watch, err);
        if (s == PGR_OK) s = collect(g, &at, most, tasks, &n, &a, err);
        if (s == PGR_OK && n > 0) s = write_chunk(g, tasks, n, &a, err);
        for (size_t i = 0; i < n; i++) frame_prompt_free(&tasks[i].prompt);
        arena_free(&a);
        watch_report(&g->r->o->watch, "writing chains", at, most, "pairs");
        if (s != PGR_OK) return s;
    }
    return PGR_OK;
}

/* Training draws from the pairs that have a chain. */
static pgr_status settle_order(teaching *g, pgr_error *err) {
    psi_set *s = &g->t->set;
    size_t n = 0, asked = g->accepted + g->wrong + g->unparsed + g->silent;
    for (size_t i = 0; i < s->n_order; i++) {
        size_t pair = s->order[i];
        if (g->t->chains[pair][0].accepted || g->t->chains[pair][1].accepted) s->order[n++] = pair;
    }
    s->n_order = n;
    s->epoch = UINT64_MAX;
    log_info("chains: %zu of %zu accepted; %zu do not parse, %zu rank the pair wrongly, %zu were not written",
             g->accepted, asked, g->unparsed, g->wrong, g->silent);
    if (n > 0) return PGR_OK;
    return fail(err, PGR_E_FORMAT,
                "chains: none of %zu was accepted (%zu do not parse%s%s, %zu rank the pair wrongly, %zu were not "
                "written), expected some",
                asked, g->unparsed, g->why[0] ? ": " : "", g->why, g->wrong, g->silent);
}

pgr_status text_chains_make(text *t, train_run *r, pgr_error *err) {
    teaching g = {.t = t, .r = r};
    t->chains = arena_array(&t->arena, t->set.n_pair + 1, sizeof *t->chains);
    g.done = mem_zero(t->set.n_pair + 1, sizeof *g.done);
    pgr_status s = t->chains && g.done ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) s = read_lines(&g, err);
    if (s == PGR_OK) s = write_all(&g, err);
    if (s == PGR_OK) s = settle_order(&g, err);
    mem_free(g.done);
    buf_free(&g.path);
    return s;
}
