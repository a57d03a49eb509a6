/* text_write.c - what a cluster's trainers read, in place of training here: accepted chains as conversations, prompts
 * with what rewards need to know, in hncl in the order of the curriculum (docs/large.md). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/legible.h"
#include "base/mem.h"
#include "base/watch.h"
#include "judge/slots.h"
#include "train/rubric_writer.h"
#include "train/text.h"

enum { CHUNK = 16 /* prompts that the model writes for at once */ };

typedef struct writing {
    text *t;
    train_run *r;
    double *right; /* (n_pair) share of the model's chains that rank a pair right; NULL: not measured */
    size_t *order; /* (n) pairs */
    size_t n;
    file_out out;
} writing;

/* ---- rows ---- */

static json_t *message_of(const char *role, const char *text, size_t n) {
    return json_pack("{s:s,s:o}", "role", role, "content", legible_json_n(text, n));
}

/* chain NULL: the prompt alone. */
static json_t *messages_of(const frame_prompt *p, const text_chain *chain) {
    json_t *list = json_array();
    int failed = 0;
    for (size_t i = 0; i < p->n_message; i++)
        failed |= json_array_append_new(list, message_of(p->messages[i].role, p->messages[i].text, p->messages[i].n));
    if (chain) failed |= json_array_append_new(list, message_of("assistant", chain->text, chain->n));
    if (!failed) return list;
    json_decref(list);
    return NULL;
}

/* "fluency: 80" is the text "fluency" of weight 80, and a line without a number is of weight 1. */
static int add_attributes(json_t *list, const char *lines) {
    int failed = 0;
    while (*lines) {
        size_t n = strcspn(lines, "\n"), name = n;
        double weight = 1;
        const char *colon = memchr(lines, ':', n);
        if (colon && strspn(colon + 1, " 0123456789.") == (size_t)(lines + n - colon - 1)) {
            weight = strtod(colon + 1, NULL);
            name = (size_t)(colon - lines);
        }
        if (name > 0) failed |= json_array_append_new(list, json_pack("[s%,f]", lines, name, weight));
        lines += n + (lines[n] == '\n');
    }
    return failed;
}

/* What the user wants: what he stated and what weighed in the choice, else the rule's taste of all his pairs. */
static json_t *truth_of(const psi_set *s, size_t pair) {
    const psi_user *u = &s->users[s->user[pair]];
    json_t *list = json_array();
    int failed = 0;
    for (size_t i = 0; i < u->n_criteria; i++)
        failed |= json_array_append_new(list, json_pack("[s,f]", u->criteria[i], 1.0));
    failed |= add_attributes(list, s->attributes[pair]);
    if (json_array_size(list) == 0) {
        double taste[N_TASTE];
        size_t *all = mem_array(u->n + 1, sizeof *all);
        failed |= !all;
        for (size_t i = 0; all && i < u->n; i++) all[i] = u->first + i;
        if (all) slots_target(s->pairs, all, u->n, taste);
        for (int w = 0; all && w < N_TASTE; w++)
            if (taste[w] > 1.0 / N_TASTE)
                failed |= json_array_append_new(list, json_pack("[s,f]", rubric_name(w), taste[w]));
        mem_free(all);
    }
    if (!failed) return list;
    json_decref(list);
    return NULL;
}

static pgr_status put_row(writing *w, json_t *row, pgr_error *err) {
    buf line = {.failed = !row};
    if (row) json_put(&line, row, JSON_COMPACT);
    json_decref(row);
    buf_putc(&line, '\n');
    pgr_status s = line.failed ? fail_mem(err) : file_out_write(&w->out, line.data, line.n, err);
    buf_free(&line);
    return s;
}

static pgr_status put_chain(writing *w, const frame_prompt *p, size_t pair, size_t order, pgr_error *err) {
    const psi_set *s = &w->t->set;
    const text_chain *c = &w->t->chains[pair][order];
    if (!c->accepted) return PGR_OK;
    json_t *messages = messages_of(p, c);
    if (!messages) return fail_mem(err);
    return put_row(w, json_pack("{s:o,s:s}", "messages", messages, "user", s->users[s->user[pair]].id), err);
}

/* One row for all: TRL reads prompt and hands the other columns to the rewards, verl reads reward_model and
 * data_source, OpenRLHF prompt and label. */
static pgr_status put_prompt(writing *w, const frame_prompt *p, size_t pair, size_t order, pgr_error *err) {
    const psi_set *s = &w->t->set;
    const char *user = s->users[s->user[pair]].id;
    json_t *messages = messages_of(p, NULL), *truth = truth_of(s, pair);
    json_t *label = json_pack("{s:i,s:i,s:o}", "chosen", TEXT_ORDERS[order][0] == TEXT_CHOSEN ? 0 : 1, "n",
                              (int)TEXT_RESPONSES, "truth", truth);
    buf text = {.failed = !label || !messages};
    if (label) json_put(&text, label, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(label);
    if (text.failed) {
        json_decref(messages);
        buf_free(&text);
        return fail_mem(err);
    }
    json_t *row = json_pack("{s:o,s:s,s:s,s:{s:s,s:s},s:{s:s,s:I,s:i}}", "prompt", messages, "label", text.data,
                            "data_source", "pgenrm", "reward_model", "style", "rule", "ground_truth", text.data,
                            "extra_info", "user", user, "pair", (json_int_t)pair, "order", (int)order);
    buf_free(&text);
    if (row && w->right && json_object_set_new(row, "right", json_real(w->right[pair])) != 0) {
        json_decref(row);
        row = NULL;
    }
    return put_row(w, row, err);
}

/* ---- the curriculum ---- */

static uint64_t seed_of(const text *t, size_t pair) {
    return hash_value(hash_value(HASH_BEGIN, t->o->train.seed), pair);
}

static pgr_status judge_chains(writing *w, const text_ask *asks, const size_t *pairs, size_t n, arena *a,
                               pgr_error *err) {
    infer_output made;
    size_t samples = asks->n_sample;
    PGR_TRY(text_sample(w->t, w->r, asks, n, &made, err));
    pgr_status s = PGR_OK;
    for (size_t i = 0; s == PGR_OK && i < made.n_chain; i++) {
        const buf *chain = &made.chains[i].text;
        text_verdict v;
        size_t ask = i / samples;
        s = text_judge(w->t, chain->data ? chain->data : "", chain->n, asks[ask].id, a, &v, err);
        if (s == PGR_OK && v.parsed)
            w->right[pairs[ask]] += (v.margin > 0 ? 1 : v.margin < 0 ? 0 : 0.5) / (double)(2 * samples);
    }
    infer_output_free(&made);
    return s;
}

/* The share of chains of the model as it is, in both orders, that rank a pair right; what does not parse is wrong. */
static pgr_status measure_pairs(writing *w, size_t first, size_t n, pgr_error *err) {
    text_ask asks[CHUNK];
    frame_prompt prompts[CHUNK];
    size_t pairs[CHUNK], made = 0;
    arena a = {0};
    pgr_status s = watch_check(&w->r->o->watch, err);
    for (size_t i = 0; s == PGR_OK && i < 2 * n; i++) {
        text_example x;
        pairs[i] = w->order[first + i / 2];
        s = text_example_make(w->t, &w->t->set, pairs[i], TEXT_OWN, seed_of(w->t, pairs[i]), &a, &x, err);
        if (s == PGR_OK) s = text_prompt(w->t, &x, i % 2, &a, &prompts[i], err);
        if (s != PGR_OK) break;
        made++;
        asks[i] = (text_ask){.prompt = &prompts[i],
                             .n_sample = w->t->o->grpo.samples,
                             .seed = seed_of(w->t, pairs[i]),
                             .id = (uint32_t)(i % 2),
                             .temperature = 1};
    }
    if (s == PGR_OK) s = judge_chains(w, asks, pairs, 2 * n, &a, err);
    for (size_t i = 0; i < made; i++) frame_prompt_free(&prompts[i]);
    arena_free(&a);
    return s;
}

typedef struct ranked {
    size_t pair, at;
    double right;
} ranked;

static int easier_first(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->right != y->right) return x->right > y->right ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

static pgr_status sort_pairs(writing *w, pgr_error *err) {
    w->right = mem_zero(w->t->set.n_pair + 1, sizeof *w->right);
    ranked *list = mem_array(w->n + 1, sizeof *list);
    pgr_status s = w->right && list ? PGR_OK : fail_mem(err);
    for (size_t at = 0; s == PGR_OK && at < w->n; at += CHUNK / 2) {
        s = measure_pairs(w, at, w->n - at < CHUNK / 2 ? w->n - at : CHUNK / 2, err);
        watch_report(&w->r->o->watch, "measuring pairs", at, w->n, "pairs");
    }
    for (size_t i = 0; s == PGR_OK && i < w->n; i++) list[i] = (ranked){w->order[i], i, w->right[w->order[i]]};
    if (s == PGR_OK) qsort(list, w->n, sizeof *list, easier_first);
    for (size_t i = 0; s == PGR_OK && i < w->n; i++) w->order[i] = list[i].pair;
    mem_free(list);
    return s;
}

/* ---- files ---- */

typedef pgr_status (*put_fn)(writing *w, const frame_prompt *p, size_t pair, size_t order, pgr_error *err);

static pgr_status put_pair(writing *w, size_t pair, put_fn put, pgr_error *err) {
    arena a = {0};
    text_example x;
    pgr_status s = text_example_make(w->t, &w->t->set, pair, TEXT_OWN, seed_of(w->t, pair), &a, &x, err);
    for (size_t order = 0; s == PGR_OK && order < 2; order++) {
        frame_prompt p;
        if (!text_order_used(w->t, pair, order)) continue;
        s = text_prompt(w->t, &x, order, &a, &p, err);
        if (s != PGR_OK) break;
        s = put(w, &p, pair, order, err);
        frame_prompt_free(&p);
    }
    arena_free(&a);
    return s;
}

static pgr_status write_file(writing *w, const char *folder, const char *name, put_fn put, pgr_error *err) {
    char path[SAVED_PATH];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || n >= (int)sizeof path) return fail(err, PGR_E_LIMIT, "%s: the path is too long", folder);
    PGR_TRY(file_out_open(path, &w->out, err));
    pgr_status s = PGR_OK;
    for (size_t i = 0; s == PGR_OK && i < w->n; i++) s = put_pair(w, w->order[i], put, err);
    if (s == PGR_OK) return file_out_commit(&w->out, err);
    file_out_abort(&w->out);
    return s;
}

pgr_status text_write(text *t, train_run *r, const char *folder, pgr_error *err) {
    writing w = {.t = t, .r = r, .order = t->set.order, .n = t->set.n_order};
    char why[128];
    bool psi = t->o->stage == PGR_STAGE_PSI;
    if (t->o->pairs && t->o->pairs < w.n) w.n = t->o->pairs;
    if (mkdir(folder, 0777) != 0 && !(errno == EEXIST && file_is_folder(folder)))
        return fail(err, PGR_E_IO, "%s: cannot be made: %s", folder, strerror_r(errno, why, sizeof why));
    pgr_status s = t->o->stage == PGR_STAGE_HNCL ? sort_pairs(&w, err) : PGR_OK;
    if (s == PGR_OK && psi) s = write_file(&w, folder, "sft.jsonl", put_chain, err);
    if (s == PGR_OK && !psi) s = write_file(&w, folder, "prompts.jsonl", put_prompt, err);
    mem_free(w.right);
    return s;
}
