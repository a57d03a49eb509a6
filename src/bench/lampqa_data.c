/* lampqa_data.c - reads LaMP-QA's questions, the generators' answers and the true scores; see lampqa.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"
#include "bench/lampqa.h"
#include "user/dataset.h"

enum { PROFILE_STREAM = 1, ORDER_STREAM = 2 };

/* ---- questions --------------------------------------------------------------------------------------------------- */

static uint64_t key_of(const char *id, uint64_t seed) {
    uint64_t h = hash_text(HASH_BEGIN, id), key = 0;
    const uint32_t counter[4] = {(uint32_t)h, (uint32_t)(h >> 32), 0x4C614D50, 0};
    const uint32_t seeds[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t mixed[4];
    philox4x32_10(counter, seeds, mixed);
    memcpy(&key, mixed, sizeof key);
    return key >> 1; /* seeds of requests are not negative */
}

/* The first `take` of order (n) become a draw without repetition. */
static void draw(rng *r, size_t *order, size_t n, size_t take) {
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t i = 0; i < take; i++) {
        size_t k = i + rng_below(r, n - i), swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
}

void lampqa_order(const lampqa_question *q, size_t n_generator, size_t *order) {
    rng r = {.seed = q->key, .stream = ORDER_STREAM};
    draw(&r, order, n_generator, n_generator - 1);
}

/* A text of the profile on one line. */
static void put_line(buf *out, const char *s) {
    s += strspn(s, " \t\r\n");
    for (bool gap = false; *s; s++) {
        bool space = *s == ' ' || *s == '\n' || *s == '\t' || *s == '\r';
        if (gap && !space) buf_putc(out, ' ');
        if (!space) buf_putc(out, *s);
        gap = space;
    }
}

static pgr_status say_profile(lampqa_data *d, const question_record *r, size_t history, uint64_t key, const char **out,
                              pgr_error *err) {
    size_t take = history < r->n_profile ? history : r->n_profile;
    *out = "";
    if (take == 0) return PGR_OK;
    size_t *order = mem_array(r->n_profile, sizeof *order);
    if (!order) return fail_mem(err);
    rng random = {.seed = key, .stream = PROFILE_STREAM};
    draw(&random, order, r->n_profile, take);
    buf text = {0};
    for (size_t i = 0; i < take; i++) {
        buf_puts(&text, i ? "\nThe user also wrote: " : "The user wrote before: ");
        put_line(&text, r->profile[order[i]]);
    }
    *out = text.failed ? NULL : arena_strndup(&d->arena, text.data, text.n);
    buf_free(&text);
    mem_free(order);
    return *out ? PGR_OK : fail_mem(err);
}

static pgr_status grow(lampqa_data *d, pgr_error *err) {
    size_t cap = d->cap_question ? 2 * d->cap_question : 64;
    lampqa_question *v = mem_resize(d->questions, cap * sizeof *v);
    if (!v) return fail_mem(err);
    d->questions = v;
    d->cap_question = cap;
    return PGR_OK;
}

static pgr_status add_question(lampqa_data *d, const pgr_lampqa_options *o, const question_record *r, const char *set,
                               pgr_error *err) {
    lampqa_question q = {.key = key_of(r->id, o->seed)};
    q.id = arena_strdup(&d->arena, r->id);
    q.text = arena_strdup(&d->arena, r->question);
    q.answers = arena_array(&d->arena, o->n_response, sizeof *q.answers);
    const char *category = arena_strdup(&d->arena, r->category[0] ? r->category : set);
    if (!q.id || !q.text || !q.answers || !category) return fail_mem(err);
    PGR_TRY(distinct_number(&d->categories, category, &q.category, err));
    PGR_TRY(say_profile(d, r, o->history, q.key, &q.profile, err));
    if (d->n_question == d->cap_question) PGR_TRY(grow(d, err));
    d->questions[d->n_question++] = q;
    return PGR_OK;
}

/* The next record in its own memory; *more = false at the end. */
static pgr_status next_question(lampqa_data *d, const pgr_lampqa_options *o, dataset *in, distinct *ids,
                                const char *set, bool *more, pgr_error *err) {
    arena a = {0};
    record r;
    size_t number = 0, known = ids->n;
    pgr_status s = dataset_next(in, &a, &r, more, err);
    if (s == PGR_OK && *more) {
        s = add_question(d, o, &r.question, set, err);
        if (s == PGR_OK) s = distinct_number(ids, d->questions[d->n_question - 1].id, &number, err);
        if (s == PGR_OK && number < known)
            s = fail(err, PGR_E_FORMAT, "%s:%zu: id: found \"%.60s\" again, expected each question once", o->questions,
                     r.line, ids->texts[number]);
    }
    arena_free(&a);
    return s;
}

/* "gpt-4.1" of "out/gpt-4.1.json" */
static char *file_stem(arena *a, const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    return arena_strndup(a, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

static pgr_status read_questions(lampqa_data *d, const pgr_lampqa_options *o, pgr_error *err) {
    dataset *in = NULL;
    distinct ids = {0};
    const char *set = file_stem(&d->arena, o->questions);
    if (!set) return fail_mem(err);
    PGR_TRY(dataset_open(o->questions, &(dataset_options){.form = "lampqa"}, &in, err));
    pgr_status s = PGR_OK;
    for (bool more = true; s == PGR_OK && more;) {
        s = watch_check(&o->watch, err);
        if (s == PGR_OK) s = next_question(d, o, in, &ids, set, &more, err);
        watch_report(&o->watch, "reading questions", dataset_read(in), dataset_size(in), "B");
    }
    distinct_free(&ids);
    dataset_close(in);
    return s;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static bool is_blank(const char *s) {
    return s[strspn(s, " \t\r\n")] == '\0';
}

/* [{"output": "..."}]; other keys of the object say nothing of the answer. */
static pgr_status read_answer(lampqa_data *d, const json_t *v, const char *origin, const char *id, const char **out,
                              pgr_error *err) {
    char path[120];
    const char *text = NULL;
    snprintf(path, sizeof path, "%.80s", id);
    PGR_TRY(json_want_array(v, (json_at){origin, path}, err));
    if (json_array_size(v) != 1)
        return fail(err, PGR_E_FORMAT, "%s: %s: found %zu outputs, expected one", origin, path, json_array_size(v));
    const json_t *item = json_array_get(v, 0);
    snprintf(path, sizeof path, "%.80s[0]", id);
    PGR_TRY(json_want_object(item, (json_at){origin, path}, err));
    snprintf(path, sizeof path, "%.80s[0].output", id);
    PGR_TRY(json_want_string(json_object_get(item, "output"), (json_at){origin, path}, &text, err));
    if (is_blank(text)) return PGR_OK; /* no answer */
    *out = arena_strdup(&d->arena, text);
    return *out ? PGR_OK : fail_mem(err);
}

pgr_status lampqa_answers(lampqa_data *d, size_t generator, const char *text, size_t n, const char *origin,
                          pgr_error *err) {
    json_t *top = NULL;
    PGR_TRY(json_parse(text, n, origin, 1, &top, err));
    pgr_status s = json_want_object(top, (json_at){origin, ""}, err);
    for (size_t i = 0; s == PGR_OK && i < d->n_question; i++) {
        lampqa_question *q = &d->questions[i];
        const json_t *v = json_object_get(top, q->id);
        if (v) s = read_answer(d, v, origin, q->id, &q->answers[generator], err);
    }
    json_decref(top);
    return s;
}

typedef pgr_status (*read_fn)(lampqa_data *d, size_t generator, const char *text, size_t n, const char *origin,
                              pgr_error *err);

static pgr_status with_file(lampqa_data *d, size_t generator, const char *path, read_fn read, pgr_error *err) {
    buf text = {0};
    pgr_status s = file_read(path, &text, err);
    if (s == PGR_OK) s = read(d, generator, text.data ? text.data : "", text.n, path, err);
    buf_free(&text);
    return s;
}

/* ---- which questions are asked ----------------------------------------------------------------------------------- */

static bool answered(const lampqa_data *d, const lampqa_question *q) {
    for (size_t g = 0; g < d->n_generator; g++)
        if (!q->answers[g]) return false;
    return true;
}

static pgr_status keep_answered(lampqa_data *d, const pgr_lampqa_options *o, pgr_error *err) {
    size_t read = d->n_question, n = 0;
    for (size_t g = 0; g < d->n_generator; g++) {
        size_t missing = 0;
        for (size_t i = 0; i < read; i++) missing += !d->questions[i].answers[g];
        if (missing)
            PGR_TRY(notes_add(&d->notes, &d->arena, err, "%s has no answer to %zu of %zu questions", d->generators[g],
                              missing, read));
    }
    for (size_t i = 0; i < read; i++)
        if (answered(d, &d->questions[i])) d->questions[n++] = d->questions[i];
    d->n_question = n;
    d->unanswered = read - n;
    if (n == 0)
        return fail(err, PGR_E_ARG,
                    "%s: found no question that all %zu generators answered, expected one or more of its %zu",
                    o->questions, d->n_generator, read);
    if (d->unanswered)
        PGR_TRY(notes_add(&d->notes, &d->arena, err,
                          "%zu of %zu questions are left out, not every generator answered them", d->unanswered, read));
    return PGR_OK;
}

static int by_key(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Of each category the questions with the smallest keys, which the seed decides; their order stays the file's. */
static pgr_status keep_limit(lampqa_data *d, size_t limit, pgr_error *err) {
    uint64_t *keys = mem_array(d->n_question, sizeof *keys);
    if (!keys) return fail_mem(err);
    for (size_t c = 0; c < d->categories.n; c++) {
        size_t n = 0, kept = 0, taken = 0;
        for (size_t i = 0; i < d->n_question; i++)
            if (d->questions[i].category == c) keys[n++] = d->questions[i].key;
        if (n <= limit) continue;
        qsort(keys, n, sizeof *keys, by_key);
        for (size_t i = 0; i < d->n_question; i++) {
            bool mine = d->questions[i].category == c, stays = d->questions[i].key <= keys[limit - 1] && taken < limit;
            taken += mine && stays;
            if (!mine || stays) d->questions[kept++] = d->questions[i];
        }
        d->n_question = kept;
    }
    mem_free(keys);
    return PGR_OK;
}

/* ---- truth ------------------------------------------------------------------------------------------------------- */

/* {"NAME": score} of exactly the generators. out: (n_generator) */
static pgr_status read_scores(const lampqa_data *d, json_t *v, json_at at, double *out, pgr_error *err) {
    const char *known[LAMPQA_MAX_GENERATORS + 1] = {NULL};
    for (size_t g = 0; g < d->n_generator; g++) known[g] = d->generators[g];
    PGR_TRY(json_only_keys(v, known, at, err));
    for (size_t g = 0; g < d->n_generator; g++) {
        const json_t *score = json_object_get(v, d->generators[g]);
        if (!json_is_number(score))
            return fail(err, PGR_E_FORMAT, "%s: %s%s%.80s: found %s, expected the generator's true score", at.origin,
                        at.path, at.path[0] ? "." : "", d->generators[g], json_kind(score));
        out[g] = json_number_value(score);
    }
    return PGR_OK;
}

static pgr_status read_truth(lampqa_data *d, json_t *top, const char *origin, pgr_error *err) {
    const char *name;
    json_t *v;
    bool by_category = false;
    size_t number = 0;
    PGR_TRY(json_want_object(top, (json_at){origin, ""}, err));
    json_object_foreach(top, name, v) {
        by_category = by_category || json_is_object(v);
        if (json_is_object(v) && !distinct_find(&d->categories, name, &number))
            PGR_TRY(notes_add(&d->notes, &d->arena, err, "%s: no question is of the category %s", origin, name));
    }
    for (size_t c = 0; c < d->categories.n; c++) {
        const char *category = d->categories.texts[c];
        json_t *scores = by_category ? json_object_get(top, category) : top;
        if (!scores)
            return fail(err, PGR_E_ARG,
                        "%s: %.80s: found nothing, expected the generators' true scores in that category", origin,
                        category);
        PGR_TRY(
            read_scores(d, scores, (json_at){origin, by_category ? category : ""}, d->truth + c * d->n_generator, err));
    }
    return PGR_OK;
}

pgr_status lampqa_truth(lampqa_data *d, const char *text, size_t n, const char *origin, pgr_error *err) {
    json_t *top = NULL;
    PGR_TRY(json_parse(text, n, origin, 1, &top, err));
    d->truth = arena_array(&d->arena, d->categories.n * d->n_generator + 1, sizeof *d->truth);
    pgr_status s = d->truth ? read_truth(d, top, origin, err) : fail_mem(err);
    json_decref(top);
    return s;
}

static pgr_status truth_of(lampqa_data *d, size_t generator, const char *text, size_t n, const char *origin,
                           pgr_error *err) {
    (void)generator;
    return lampqa_truth(d, text, n, origin, err);
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static pgr_status name_generators(lampqa_data *d, const pgr_lampqa_options *o, pgr_error *err) {
    if (o->n_response < LAMPQA_MIN_GENERATORS || o->n_response > LAMPQA_MAX_GENERATORS)
        return fail(err, PGR_E_ARG, "found %zu response file%s, expected %d to %d, one for each generator",
                    o->n_response, o->n_response == 1 ? "" : "s", LAMPQA_MIN_GENERATORS, LAMPQA_MAX_GENERATORS);
    d->n_generator = o->n_response;
    d->generators = arena_array(&d->arena, o->n_response, sizeof *d->generators);
    if (!d->generators) return fail_mem(err);
    for (size_t g = 0; g < o->n_response; g++) {
        d->generators[g] = file_stem(&d->arena, o->responses[g]);
        if (!d->generators[g]) return fail_mem(err);
        for (size_t k = 0; k < g; k++)
            if (strcmp(d->generators[k], d->generators[g]) == 0)
                return fail(err, PGR_E_ARG, "%s: another generator is also called %s, expected names that differ",
                            o->responses[g], d->generators[g]);
    }
    return PGR_OK;
}

pgr_status lampqa_load(const pgr_lampqa_options *o, lampqa_data *out, pgr_error *err) {
    *out = (lampqa_data){0};
    if (!o->questions) return fail(err, PGR_E_ARG, "no file of questions was given");
    PGR_TRY(name_generators(out, o, err));
    PGR_TRY(read_questions(out, o, err));
    for (size_t g = 0; g < out->n_generator; g++) {
        PGR_TRY(watch_check(&o->watch, err));
        PGR_TRY(with_file(out, g, o->responses[g], lampqa_answers, err));
    }
    if (o->truth) PGR_TRY(with_file(out, 0, o->truth, truth_of, err));
    PGR_TRY(keep_answered(out, o, err));
    return o->limit ? keep_limit(out, o->limit, err) : PGR_OK;
}

void lampqa_free(lampqa_data *d) {
    distinct_free(&d->categories);
    mem_free(d->questions);
    arena_free(&d->arena);
    *d = (lampqa_data){0};
}
