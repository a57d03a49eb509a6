/* plan.c - cells and settings of a benchmark run; see plan.h. */
#include "bench/plan.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/hash.h"
#include "base/legible.h"
#include "base/mem.h"
#include "base/options.h"
#include "bench/company.h"
#include "bench/derive.h"
#include "bench/outcomes.h"
#include "infer/engine.h"
#include "judge/judge.h"
#include "user/rules.h"

enum { RUNS_MAX = 1000, PLAN_VERSION = 5 /* 3 had one stranger, 4 told no kind of a verdict */ };

pgr_bench_options pgr_bench_options_default(void) {
    static const int none[] = {0}, eight[] = {8};
    return (pgr_bench_options){.split = "test",
                               .ind = eight,
                               .n_ind = 1,
                               .pro = none,
                               .n_pro = 1,
                               .runs = 1,
                               .at_once = 1, /* each is saved before the next one begins */
                               .judge = pgr_judge_options_default()};
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

typedef struct prompt_method { /* of the language model */
    const char *name, *frame;  /* frame NULL: the options' */
    bool personal, demographics, baseline;
} prompt_method;

static const prompt_method PROMPT_METHODS[] = {
    {"judge", "judge", false, false, true},
    {"judge-cot", "judge-cot", false, false, true},
    {"judge-demographics", "judge-demographics", false, true, true},
    {"judge-history", "judge-history", true, false, true},
    {"p-genrm", NULL, true, false, false},
};
enum { N_PROMPT_METHOD = sizeof PROMPT_METHODS / sizeof *PROMPT_METHODS };

pgr_status plan_note(bench_notes *notes, arena *a, pgr_error *err, const char *format, ...) {
    char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    for (size_t i = 0; i < notes->n; i++)
        if (strcmp(notes->list[i], text) == 0) return PGR_OK;
    const char **list = arena_array(a, notes->n + 1, sizeof *list);
    char *copy = arena_strdup(a, text);
    if (!list || !copy) return fail_mem(err);
    if (notes->n) memcpy(list, notes->list, notes->n * sizeof *list);
    list[notes->n++] = copy;
    notes->list = list;
    return PGR_OK;
}

static const char SCALAR[] = "scalar"; /* a reward model's method */

static bool listed(const pgr_bench_options *o, const char *name) {
    for (size_t i = 0; i < o->n_methods; i++)
        if (strcmp(o->methods[i], name) == 0) return true;
    return false;
}

static bool lists_prompt(const pgr_bench_options *o) {
    for (size_t k = 0; k < N_PROMPT_METHOD; k++)
        if (listed(o, PROMPT_METHODS[k].name)) return true;
    return false;
}

bool pgr_bench_asks_model(const pgr_bench_options *o) {
    if (o->n_methods && !lists_prompt(o)) return false;
    for (size_t i = 0; i < o->n_ind; i++)
        if (o->ind[i] > 0) return true;
    for (size_t i = 0; i < o->n_pro; i++)
        if (o->pro[i] > 0) return true;
    return false;
}

/* Are these run where nobody says what is? */
static bool by_default(const pgr_bench_options *o, const bench_method *m) {
    return m->needs != NEEDS_SCALAR && (o->baselines || !pgr_bench_asks_model(o));
}

typedef struct planning {
    const pgr_bench_options *o;
    bench_cells *cells;
    pgr_error *err;
} planning;

static pgr_status add_alone(const planning *p, bench_cell c) {
    if (p->cells->n == BENCH_MAX_CELLS)
        return fail(p->err, PGR_E_LIMIT,
                    "bench: more than %d methods, numbers of chains and strangers for one data set, expected fewer",
                    BENCH_MAX_CELLS);
    p->cells->list[p->cells->n++] = c;
    return PGR_OK;
}

/* The cell, and its strangers where it has a history. */
static pgr_status add_cell(const planning *p, bench_cell c) {
    PGR_TRY(add_alone(p, c));
    for (size_t k = 1; c.personal && k <= p->o->strangers; k++) {
        c.stranger = (int)k;
        PGR_TRY(add_alone(p, c));
    }
    return PGR_OK;
}

static bool same_cell(const bench_cell *a, const bench_cell *b) {
    return strcmp(a->method, b->method) == 0 && a->ind == b->ind && a->pro == b->pro && a->stranger == b->stranger
           && a->plain == b->plain;
}

static pgr_status add_unless_there(const planning *p, bench_cell c) {
    for (size_t i = 0; i < p->cells->n; i++)
        if (same_cell(&p->cells->list[i], &c)) return PGR_OK;
    return add_alone(p, c);
}

static pgr_status add_statistic(const planning *p, const bench_method *m, const bench_data *d, arena *a,
                                bench_notes *notes) {
    if (m->needs == NEEDS_EMBEDDER && !p->o->embedder)
        return plan_note(notes, a, p->err, "%s: %s is left out, it needs an embedder", d->name, m->name);
    bench_cell c = {.method = m->name, .statistic = m, .personal = m->personal};
    PGR_TRY(add_cell(p, c));
    c.plain = true;
    c.personal = false;
    return m->personal ? add_alone(p, c) : PGR_OK;
}

static pgr_status add_statistics(const planning *p, const bench_data *d, arena *a, bench_notes *notes) {
    const pgr_bench_options *o = p->o;
    for (const bench_method *m = BENCH_METHODS; m->name; m++) {
        bool run = o->n_methods ? listed(o, m->name) : by_default(o, m);
        if (run || strcmp(m->name, "longest") == 0) /* an accuracy means nothing without it */
            PGR_TRY(add_statistic(p, m, d, a, notes));
    }
    if (o->n_methods ? listed(o, SCALAR) : o->scalar != NULL)
        PGR_TRY(add_cell(p, (bench_cell){.method = SCALAR, .scalar = true}));
    return PGR_OK;
}

static bool some_demographics(const bench_data *d) {
    for (size_t i = 0; i < d->n_user; i++)
        if (d->users[i].n_test && *d->users[i].demographics) return true;
    return false;
}

static pgr_status add_prompts(const planning *p, const bench_data *d, arena *a, bench_notes *notes) {
    const pgr_bench_options *o = p->o;
    if (!pgr_bench_asks_model(o)) return PGR_OK;
    for (size_t k = 0; k < N_PROMPT_METHOD; k++) {
        const prompt_method *m = &PROMPT_METHODS[k];
        if (o->n_methods ? !listed(o, m->name) : m->baseline && !o->baselines) continue;
        if (m->demographics && !some_demographics(d)) {
            PGR_TRY(plan_note(notes, a, p->err, "%s: %s is left out, the data tell no demographics", d->name, m->name));
            continue;
        }
        for (size_t i = 0; i < o->n_ind; i++)
            for (size_t j = 0; j < (m->baseline ? 1 : o->n_pro); j++) {
                int ind = o->ind[i], pro = m->baseline ? 0 : o->pro[j];
                if (ind + pro == 0) continue;
                PGR_TRY(add_cell(p, (bench_cell){.method = m->name,
                                                 .frame = m->frame,
                                                 .ind = ind,
                                                 .pro = pro,
                                                 .personal = m->personal,
                                                 .demographics = m->demographics}));
            }
    }
    return PGR_OK;
}

/* What a row of p-genrm is fairly compared with: as many chains under the own history alone, as many without any. */
static pgr_status add_comparisons(const planning *p) {
    size_t n = p->cells->n;
    for (size_t i = 0; i < n && p->o->baselines; i++) {
        bench_cell c = p->cells->list[i];
        if (strcmp(c.method, "p-genrm") != 0 || c.stranger) continue;
        c.ind += c.pro;
        c.pro = 0;
        PGR_TRY(add_unless_there(p, c));
        c.personal = false;
        c.plain = true;
        PGR_TRY(add_unless_there(p, c));
    }
    return PGR_OK;
}

pgr_status plan_cells(const pgr_bench_options *o, const bench_data *d, arena *a, bench_cells *out, bench_notes *notes,
                      pgr_error *err) {
    out->n = 0;
    out->list = arena_array(a, BENCH_MAX_CELLS, sizeof *out->list);
    if (!out->list) return fail_mem(err);
    planning p = {.o = o, .cells = out, .err = err};
    PGR_TRY(add_statistics(&p, d, a, notes));
    PGR_TRY(add_prompts(&p, d, a, notes));
    return add_comparisons(&p);
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static pgr_status check_list(const char *name, const int *list, size_t n, pgr_error *err) {
    if (n == 0) return fail(err, PGR_E_ARG, "bench: no %s, expected at least one number", name);
    for (size_t i = 0; i < n; i++) {
        if (list[i] < 0 || list[i] > REQUEST_CHAINS_MAX)
            return fail(err, PGR_E_ARG, "bench: %s is %d, expected 0 to %d chains", name, list[i], REQUEST_CHAINS_MAX);
        for (size_t k = 0; k < i; k++)
            if (list[k] == list[i]) return fail(err, PGR_E_ARG, "bench: %s %d is given twice", name, list[i]);
    }
    return PGR_OK;
}

static pgr_status unknown_method(const char *name, pgr_error *err) {
    char known[300] = "";
    size_t n = 0;
    for (const bench_method *m = BENCH_METHODS; m->name; m++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s, ", m->name);
    for (size_t k = 0; k < N_PROMPT_METHOD; k++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s, ", PROMPT_METHODS[k].name);
    return fail(err, PGR_E_ARG, "bench: there is no method \"%.60s\", expected %s%s", name, known, SCALAR);
}

static pgr_status check_methods(const pgr_bench_options *o, pgr_error *err) {
    for (size_t i = 0; i < o->n_methods; i++) {
        const char *name = o->methods[i];
        const bench_method *m = bench_method_find(name);
        bool scalar = strcmp(name, SCALAR) == 0 || (m && m->needs == NEEDS_SCALAR), prompt = false;
        for (size_t k = 0; k < N_PROMPT_METHOD; k++) prompt = prompt || strcmp(name, PROMPT_METHODS[k].name) == 0;
        if (!m && !scalar && !prompt) return unknown_method(name, err);
        if (scalar && !o->scalar)
            return fail(err, PGR_E_ARG, "bench: method %s needs a reward model with a score head (--scalar)", name);
        if (prompt && !pgr_bench_asks_model(o))
            return fail(err, PGR_E_ARG, "bench: method %s writes chains, expected ind or pro above 0", name);
    }
    return PGR_OK;
}

/* What would fail after hours is tried before. */
static pgr_status check_calibration(const pgr_bench_options *o, pgr_error *err) {
    const char *path = o->calibration_out;
    if (!pgr_bench_asks_model(o))
        return fail(err, PGR_E_ARG,
                    "%s: there will be no verdict of p-genrm to fit a calibration on, expected ind or pro above 0",
                    path);
    return outcomes_check(path, o->calibration_kind, err);
}

static pgr_status check_attributes(const pgr_bench_options *o, pgr_error *err) {
    if (o->n_data != 1)
        return fail(err, PGR_E_ARG, "%s: attributes are those of one data set, found %zu", o->attributes_out,
                    o->n_data);
    return file_check_writable(o->attributes_out, err);
}

/* A train row leaves its own conversation out of its history. What is fitted on all train rows cannot. */
static pgr_status check_train(const pgr_bench_options *o, bool similar, pgr_error *err) {
    if (strcmp(o->split, "train") != 0) return PGR_OK;
    if (similar)
        return fail(
            err, PGR_E_ARG,
            "bench: similar users are found by train rows, the asked ones among them; expected pro 0 with split "
            "train");
    for (const bench_method *m = BENCH_METHODS; m->name; m++) {
        bool run = o->n_methods ? listed(o, m->name) : by_default(o, m);
        if (run && strcmp(m->name, "longest") != 0)
            return fail(err, PGR_E_ARG,
                        "bench: %s learns from train rows, expected another split, or methods of the language model "
                        "alone (no baselines, ind above 0)",
                        m->name);
    }
    return PGR_OK;
}

static pgr_status check_controls(const pgr_bench_options *o, pgr_error *err) {
    bool train = strcmp(o->split, "train") == 0;
    if (o->strangers > STRANGERS_MAX)
        return fail(err, PGR_E_ARG, "bench: %zu strangers, expected 0 to %d", o->strangers, STRANGERS_MAX);
    if (o->folds == 1 || o->folds > FOLDS_MAX)
        return fail(err, PGR_E_ARG, "bench: %zu folds, expected 0 (none) or 2 to %d", o->folds, FOLDS_MAX);
    if (o->folds && train)
        return fail(err, PGR_E_ARG, "bench: folds ask train rows and others alike, expected another split than train");
    if (o->robust && train)
        return fail(err, PGR_E_ARG, "bench: robust asks about rows of a split that is not learnt from, found train");
    return PGR_OK;
}

pgr_status plan_check(const pgr_bench_options *o, bool engine, pgr_error *err) {
    if (o->n_data == 0) return fail(err, PGR_E_ARG, "bench: no data, expected at least one file");
    if (!rules_split_name(o->split))
        return fail(err, PGR_E_ARG, "split: found \"%.40s\", expected %s", o->split, RULES_SPLITS);
    PGR_TRY(check_list("ind", o->ind, o->n_ind, err));
    PGR_TRY(check_list("pro", o->pro, o->n_pro, err));
    PGR_TRY(check_methods(o, err));
    PGR_TRY(judge_options_check(&o->judge, err));
    if (o->runs < 1 || o->runs > RUNS_MAX)
        return fail(err, PGR_E_ARG, "bench: runs is %d, expected 1 to %d", o->runs, RUNS_MAX);
    if (pgr_bench_asks_model(o) && !engine)
        return fail(err, PGR_E_ARG,
                    "bench: ind or pro is above 0, which needs a language model; expected ind 0 without one");
    bool similar = false;
    for (size_t i = 0; i < o->n_pro; i++) similar = similar || o->pro[i] > 0;
    if (similar && !o->judge.people && !o->out)
        return fail(err, PGR_E_ARG,
                    "bench: pro is above 0, expected a store of users, or an output folder to make one in");
    PGR_TRY(check_train(o, similar, err));
    PGR_TRY(check_controls(o, err));
    PGR_TRY(company_check(o, err));
    if (o->calibration_kind && !o->calibration_out)
        return fail(err, PGR_E_ARG, "bench: no file for the calibration of %.60s, expected calibration_out",
                    o->calibration_kind);
    if (o->calibration_out) PGR_TRY(check_calibration(o, err));
    if (o->attributes_out) PGR_TRY(check_attributes(o, err));
    if (o->resume && !o->out) return fail(err, PGR_E_ARG, "bench: nothing to resume, expected the folder of a run");
    return PGR_OK;
}

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
