/* plan.c - the settings of a benchmark run and its folder; see plan.h. */
#include "bench/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/hash.h"
#include "base/legible.h"
#include "base/mem.h"
#include "base/options.h"
#include "infer/engine.h"

enum { PLAN_VERSION = 5 /* 3 had one stranger, 4 told no kind of a verdict */ };

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static uint64_t hash_pair(uint64_t h, const preference_pair *p) {
    for (size_t i = 0; i < p->n_context; i++)
        h = hash_whole_text(hash_whole_text(h, p->context[i].role), p->context[i].text);
    return hash_whole_text(hash_whole_text(h, p->chosen), p->rejected);
}

uint64_t plan_digest(const bench_data *d) {
    uint64_t h = HASH_BEGIN;
    for (size_t i = 0; i < d->n_row; i++) {
        const bench_row *r = &d->rows[i];
        h = hash_whole_text(h, d->users[r->user].id);
        h = hash_whole_text(h, r->record.conversation_id);
        h = hash_whole_text(h, r->train ? "train" : "asked");
        h = hash_pair(h, &r->record.pair);
    }
    for (size_t i = 0; i < d->n_user; i++) h = hash_whole_text(h, d->users[i].demographics);
    return h;
}

/* Weights, arithmetic and adapters leave their mark on the likelihood of a text. */
static pgr_status fingerprint(pgr_engine *e, double *out, pgr_error *err) {
    static const char text[] =
        "One person asked for three books about the sea. The first answer named them and no more; "
        "the second told a story of 1,234 words. Which of them did she like, and why?";
    pgr_perplexity p = {0};
    PGR_TRY(pgr_perplexity_of(e, text, sizeof text - 1, 0, NULL, &p, err));
    *out = p.nll;
    pgr_perplexity_free(&p);
    return PGR_OK;
}

/* The same of a reward model. */
static pgr_status scalar_mark(pgr_scalar *s, double *out, pgr_error *err) {
    const pgr_message question = {"user", "Name three books about the sea."};
    const pgr_scalar_input in = {&question, 1, "Moby-Dick, Lord Jim, and The Old Man and the Sea: 1,234 pages in all."};
    float score;
    PGR_TRY(pgr_scalar_score(s, &in, 1, NULL, &score, NULL, err));
    *out = (double)score;
    return PGR_OK;
}

/* A number that the file's bytes decide, exact in a double. */
static pgr_status calibration_mark(const char *path, double *out, pgr_error *err) {
    buf text = {0};
    PGR_TRY(file_read(path, &text, err));
    *out = (double)(hash_bytes(HASH_BEGIN, text.data ? text.data : "", text.n) >> 32);
    buf_free(&text);
    return PGR_OK;
}

/* null: nobody says which */
static json_t *names(const char *const *v, size_t n) {
    json_t *list = n ? json_array() : json_null();
    for (size_t i = 0; i < n && list; i++) {
        if (json_array_append_new(list, legible_json(v[i])) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

static json_t *numbers(const int *v, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n && list; i++) {
        if (json_array_append_new(list, json_integer(v[i])) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

typedef struct settings {
    json_t *top;
    bool failed; /* there was no memory for some */
} settings;

static void put(settings *s, const char *key, json_t *value) {
    if (json_object_set_new(s->top, key, value) != 0) s->failed = true;
}

/* Of the judge what verdicts depend on, but for what a run has of its own: ind, pro and seed stand there already. */
static void put_judge(settings *s, const pgr_judge_options *j) {
    for (const pgr_option *row = pgr_judge_option_rows(); row->name; row++) {
        char key[OPTION_KEY_MAX];
        option_key(row, key);
        if (!(row->use & PGR_OPTION_VERDICT) || json_object_get(s->top, key)) continue;
        put(s, key, option_json(row, j));
    }
    put(s, "store", json_string(j->people ? "given" : "made of the train rows"));
}

static json_t *set_entry(const bench_data *d) {
    char digest[20];
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)plan_digest(d));
    return json_pack("{s:o, s:I, s:I, s:s}", "name", legible_json(d->name), "rows", (json_int_t)d->n_row, "asked",
                     (json_int_t)d->n_test, "digest", digest);
}

pgr_status plan_settings(const pgr_bench_options *o, pgr_engine *engine, const bench_data *const *sets, size_t n_set,
                         json_t **out, pgr_error *err) {
    json_setup();
    bool model = engine && pgr_bench_asks_model(o);
    bool marked = model && (engine_about(engine)->can & ENGINE_LOGPROBS); /* at an address the name is all there is */
    double mark = 0, scalar = 0, calibration = 0;
    if (marked) PGR_TRY(fingerprint(engine, &mark, err));
    if (o->scalar) PGR_TRY(scalar_mark(o->scalar, &scalar, err));
    if (o->calibration) PGR_TRY(calibration_mark(o->calibration, &calibration, err));
    settings s = {.top = json_object()};
    json_t *data = json_array();
    put(&s, "version", json_integer(PLAN_VERSION));
    for (size_t i = 0; i < n_set; i++)
        if (json_array_append_new(data, set_entry(sets[i])) != 0) s.failed = true;
    put(&s, "data", data);
    put(&s, "split", legible_json(o->split));
    put(&s, "subset", legible_json(o->subset));
    put(&s, "limit", json_integer((json_int_t)o->limit));
    put(&s, "seed", json_integer((json_int_t)o->seed));
    put(&s, "runs", json_integer(o->runs));
    put(&s, "ind", numbers(o->ind, o->n_ind));
    put(&s, "pro", numbers(o->pro, o->n_pro));
    put(&s, "by", legible_json(o->by));
    put(&s, "baselines", json_boolean(o->baselines));
    put(&s, "strangers", json_integer((json_int_t)o->strangers));
    put(&s, "folds", json_integer((json_int_t)o->folds));
    put(&s, "robust", json_boolean(o->robust));
    put(&s, "model", legible_json(model ? engine_about(engine)->name : NULL));
    put(&s, "fingerprint", marked ? json_real(mark) : json_null());
    put(&s, "embedder", legible_json(o->embedder ? pgr_embedder_name(o->embedder) : NULL));
    put(&s, "methods", names(o->methods, o->n_methods));
    put(&s, "scalar", legible_json(o->scalar ? pgr_scalar_name(o->scalar) : NULL));
    put(&s, "scalar_fingerprint", o->scalar ? json_real(scalar) : json_null());
    put(&s, "calibration", o->calibration ? json_real(calibration) : json_null());
    put_judge(&s, &o->judge);
    if (s.failed) {
        json_decref(s.top);
        return fail_mem(err);
    }
    *out = s.top;
    return PGR_OK;
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

static pgr_status difference(const char *path, const char *key, const json_t *there, const json_t *here,
                             pgr_error *err) {
    char *a = there ? json_dumps(there, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    char *b = here ? json_dumps(here, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    pgr_status s = fail(err, PGR_E_ARG,
                        "%s: %s is %.120s there and %.120s now, expected the same settings to go on with a run, or "
                        "another folder",
                        path, key, a ? a : "missing", b ? b : "missing");
    mem_free(a);
    mem_free(b);
    return s;
}

static pgr_status compare(const char *path, const json_t *there, const json_t *here, pgr_error *err) {
    const char *key;
    json_t *value;
    json_t *mine = json_deep_copy(here); /* json_object_foreach wants it writable */
    if (!mine) return fail_mem(err);
    pgr_status status = PGR_OK;
    json_object_foreach(mine, key, value) {
        const json_t *other = json_object_get(there, key);
        if (other && json_equal(other, value)) continue;
        status = difference(path, key, other, value, err);
        break;
    }
    json_decref(mine);
    return status;
}

static pgr_status write_plan(const char *path, const json_t *settings, pgr_error *err) {
    buf text = {0};
    json_put(&text, settings, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    pgr_status s = text.failed ? fail_mem(err) : file_write(path, text.data, text.n, err);
    buf_free(&text);
    return s;
}

static pgr_status read_plan(const char *path, json_t **out, pgr_error *err) {
    buf text = {0};
    PGR_TRY(file_read(path, &text, err));
    pgr_status s = json_parse(text.data ? text.data : "", text.n, path, 1, out, err);
    buf_free(&text);
    return s;
}

static pgr_status keep_in(const char *folder, const char *path, const json_t *settings, bool resume, pgr_error *err) {
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) return fail(err, PGR_E_IO, "%s: %s", folder, strerror(errno));
    if (!file_exists(path)) return write_plan(path, settings, err);
    if (!resume)
        return fail(err, PGR_E_ARG,
                    "%s: there is a run in this folder, expected resume to go on with it, or another folder", path);
    json_t *there = NULL;
    PGR_TRY(read_plan(path, &there, err));
    pgr_status s = compare(path, there, settings, err);
    json_decref(there);
    return s;
}

pgr_status plan_keep(const char *folder, const json_t *settings, bool resume, pgr_error *err) {
    buf path = {0};
    buf_printf(&path, "%s/plan.json", folder);
    pgr_status s = path.failed ? fail_mem(err) : keep_in(folder, path.data, settings, resume, err);
    buf_free(&path);
    return s;
}
