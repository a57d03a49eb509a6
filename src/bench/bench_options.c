/* bench_options.c - see bench_options.h. */
#include "bench/bench_options.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "bench/cells.h"
#include "bench/company.h"
#include "bench/derive.h"
#include "bench/outcomes.h"
#include "judge/judge.h"
#include "user/rules.h"

enum { RUNS_MAX = 1000 };

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
    for (const prompt_method *m = PROMPT_METHODS; m->name; m++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s, ", m->name);
    return fail(err, PGR_E_ARG, "bench: there is no method \"%.60s\", expected %s" SCALAR_METHOD, name, known);
}

static pgr_status check_methods(const pgr_bench_options *o, pgr_error *err) {
    for (size_t i = 0; i < o->n_methods; i++) {
        const char *name = o->methods[i];
        const bench_method *m = bench_method_find(name);
        bool scalar = strcmp(name, SCALAR_METHOD) == 0 || (m && m->needs == NEEDS_SCALAR);
        bool prompt = prompt_method_find(name) != NULL;
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
    for (const bench_method *m = BENCH_METHODS; m->name; m++)
        if (methods_run(o, m) && strcmp(m->name, "longest") != 0)
            return fail(err, PGR_E_ARG,
                        "bench: %s learns from train rows, expected another split, or methods of the language model "
                        "alone (no baselines, ind above 0)",
                        m->name);
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

pgr_status bench_options_check(const pgr_bench_options *o, bool engine, pgr_error *err) {
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
