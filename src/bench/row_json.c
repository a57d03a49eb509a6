/* row_json.c - a row of the benchmark as one line of JSON, in the order of docs/bench.md. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "pgenrm_bench.h"

static void put_text(buf *out, const char *key, const char *s) {
    buf_printf(out, "%s\"%s\":", out->n > 1 ? "," : "", key);
    json_put_string(out, s, strlen(s));
}

static void put_number(buf *out, const char *key, double v) {
    buf_printf(out, ",\"%s\":", key);
    json_put_number(out, v);
}

static void put_count(buf *out, const char *key, size_t n) {
    buf_printf(out, ",\"%s\":%zu", key, n);
}

static void put_flag(buf *out, const char *key, bool v) {
    buf_printf(out, ",\"%s\":%s", key, v ? "true" : "false");
}

/* KEY, KEY_se, KEY_se_user, KEY_se_question */
static void put_mean(buf *out, const char *key, double v, double se, const pgr_bench_errors *by) {
    char name[64];
    put_number(out, key, v);
    snprintf(name, sizeof name, "%s_se", key);
    put_number(out, name, se);
    snprintf(name, sizeof name, "%s_se_user", key);
    put_number(out, name, by->user);
    snprintf(name, sizeof name, "%s_se_question", key);
    put_number(out, name, by->question);
}

static void put_lists(const pgr_bench_row *r, buf *out) {
    buf_puts(out, ",\"calibration\":[");
    for (size_t i = 0, n = 0; i < PGR_BENCH_BINS; i++) {
        if (!r->bins[i].n) continue;
        buf_printf(out, "%s{\"n\":%zu", n++ ? "," : "", r->bins[i].n);
        put_number(out, "confidence", r->bins[i].confidence);
        put_number(out, "right", r->bins[i].right);
        buf_putc(out, '}');
    }
    buf_puts(out, "],\"by_chains\":[");
    for (size_t i = 0; i < r->n_by_chains; i++) {
        buf_printf(out, "%s{\"chains\":%zu", i ? "," : "", r->by_chains[i].chains);
        put_number(out, "accuracy", r->by_chains[i].accuracy);
        put_number(out, "accuracy_se", r->by_chains[i].se);
        buf_putc(out, '}');
    }
    buf_puts(out, "],\"robust\":[");
    for (size_t i = 0; i < r->n_hollow; i++) {
        buf_printf(out, "%s{\"kind\":\"%s\"", i ? "," : "", r->hollow[i].kind);
        put_number(out, "wins", r->hollow[i].wins);
        put_number(out, "wins_se", r->hollow[i].se);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

static void put_best(const pgr_bench_best *b, buf *out) {
    if (b->groups == 0) {
        buf_puts(out, ",\"best_of_n\":null");
        return;
    }
    buf_printf(out, ",\"best_of_n\":{\"groups\":%zu", b->groups);
    put_number(out, "responses", b->responses);
    put_mean(out, "accuracy", b->accuracy, fmax(b->errors.user, b->errors.question), &b->errors);
    put_number(out, "random", b->random);
    put_number(out, "rank", b->rank);
    put_number(out, "random_rank", b->random_rank);
    buf_putc(out, '}');
}

static void put_cv(const pgr_bench_cv *c, buf *out) {
    if (c->folds == 0) {
        buf_puts(out, ",\"cross_validation\":null");
        return;
    }
    buf_printf(out, ",\"cross_validation\":{\"folds\":%zu,\"by\":\"%s\",\"pairs\":%zu", c->folds, c->by, c->pairs);
    put_mean(out, "accuracy", c->accuracy, c->accuracy_se, &c->accuracy_errors);
    put_number(out, "log_loss", c->log_loss);
    put_mean(out, "over_longest", c->over_longest, c->over_longest_se, &c->over_longest_errors);
    put_mean(out, "over_base", c->over_base, c->over_base_se, &c->over_base_errors);
    put_mean(out, "over_stranger", c->over_stranger, c->over_stranger_se, &c->over_stranger_errors);
    buf_putc(out, '}');
}

static void put_what(const pgr_bench_row *r, buf *out) {
    put_text(out, "data", r->data);
    put_text(out, "split", r->split);
    put_text(out, "method", r->method);
    buf_printf(out, ",\"ind\":%d,\"pro\":%d", r->ind, r->pro);
    put_number(out, "history", r->history < 0 ? NAN : r->history);
    put_flag(out, "stranger", r->stranger);
    put_flag(out, "plain", r->plain);
    put_count(out, "strangers", r->strangers);
    put_count(out, "runs", r->runs);
    put_count(out, "pairs", r->pairs);
    put_count(out, "users", r->users);
    put_count(out, "questions", r->questions);
    put_number(out, "limit", r->limit ? (double)r->limit : NAN);
    put_count(out, "pairs_all", r->pairs_all);
    put_count(out, "users_all", r->users_all);
}

static void put_accuracy(const pgr_bench_row *r, buf *out) {
    put_mean(out, "accuracy", r->accuracy, r->accuracy_se, &r->accuracy_errors);
    put_number(out, "accuracy_se_runs", r->accuracy_se_runs);
    put_number(out, "accuracy_parsed", r->accuracy_parsed);
    put_number(out, "macro_user", r->macro_user);
    put_number(out, "macro_prototype", r->macro_prototype);
    put_count(out, "ties", r->ties);
    put_count(out, "failures", r->failures);
    put_count(out, "chains", r->chains);
    put_count(out, "chains_failed", r->chains_failed);
    put_number(out, "flip_rate", r->flip_rate);
    put_number(out, "self_consistency", r->self_consistency);
    put_number(out, "self_consistency_halves", r->self_consistency_halves);
    put_number(out, "kappa", r->kappa);
    put_number(out, "kappa_chance", r->kappa_chance);
    put_number(out, "longer_chosen", r->longer_chosen);
}

static void put_cost(const pgr_bench_row *r, buf *out) {
    put_count(out, "tokens", r->tokens);
    put_count(out, "prompt_tokens", r->prompt_tokens);
    put_count(out, "cached_tokens", r->cached_tokens);
    put_number(out, "seconds", r->seconds);
    put_number(out, "seconds_per_pair", r->seconds_per_pair);
}

static void put_trust(const pgr_bench_row *r, buf *out) {
    put_number(out, "log_loss", r->log_loss);
    put_number(out, "brier", r->brier);
    put_count(out, "uncalibrated", r->uncalibrated);
    buf_printf(out, ",\"calibrated\":%s", r->calibrated ? "true" : "false");
    put_number(out, "ece", r->ece);
    put_number(out, "ece_floor", r->ece_floor);
    put_number(out, "ece_floor_95", r->ece_floor_95);
    put_number(out, "ece_floor_clustered", r->ece_floor_clustered);
    put_number(out, "ece_floor_clustered_95", r->ece_floor_clustered_95);
    put_number(out, "together_user", r->together_user);
    put_number(out, "together_question", r->together_question);
    put_mean(out, "overconfidence", r->overconfidence, r->overconfidence_se, &r->overconfidence_errors);
    put_number(out, "ece_temperature", r->ece_temperature);
    put_number(out, "ece_isotonic", r->ece_isotonic);
    put_number(out, "ece_shrunk", r->ece_shrunk);
}

static void put_differences(const pgr_bench_row *r, buf *out) {
    put_mean(out, "over_longest", r->over_longest, r->over_longest_se, &r->over_longest_errors);
    put_text(out, "base", r->base);
    put_mean(out, "over_base", r->over_base, r->over_base_se, &r->over_base_errors);
    put_mean(out, "over_stranger", r->over_stranger, r->over_stranger_se, &r->over_stranger_errors);
    put_number(out, "stranger_accuracy", r->stranger_accuracy);
    put_number(out, "stranger_spread", r->stranger_spread);
    put_mean(out, "over_ind", r->over_ind, r->over_ind_se, &r->over_ind_errors);
}

static void put_row(const pgr_bench_row *r, buf *out) {
    buf_putc(out, '{');
    put_what(r, out);
    put_accuracy(r, out);
    put_cost(r, out);
    put_trust(r, out);
    put_differences(r, out);
    put_best(&r->best, out);
    put_cv(&r->cv, out);
    put_text(out, "model", r->model);
    buf_printf(out, ",\"seed\":%llu", (unsigned long long)r->seed);
    put_lists(r, out);
    buf_putc(out, '}');
}

pgr_status pgr_bench_row_json(const pgr_bench_row *row, char **out, pgr_error *err) {
    buf text = {0};
    put_row(row, &text);
    char *s = text.failed ? NULL : buf_take(&text);
    if (!s) {
        buf_free(&text);
        return fail_mem(err);
    }
    *out = s;
    return PGR_OK;
}
