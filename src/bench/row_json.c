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

static void put_list(const pgr_bench_row *r, buf *out) {
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
    buf_putc(out, ']');
}

static void put_row(const pgr_bench_row *r, buf *out) {
    buf_putc(out, '{');
    put_text(out, "data", r->data);
    put_text(out, "split", r->split);
    put_text(out, "method", r->method);
    buf_printf(out, ",\"ind\":%d,\"pro\":%d", r->ind, r->pro);
    put_number(out, "history", r->history < 0 ? NAN : r->history);
    buf_printf(out, ",\"stranger\":%s,\"runs\":%zu,\"pairs\":%zu,\"users\":%zu", r->stranger ? "true" : "false",
               r->runs, r->pairs, r->users);
    put_number(out, "accuracy", r->accuracy);
    put_number(out, "accuracy_se", r->accuracy_se);
    put_number(out, "accuracy_se_runs", r->accuracy_se_runs);
    put_number(out, "accuracy_parsed", r->accuracy_parsed);
    put_number(out, "macro_user", r->macro_user);
    put_number(out, "macro_prototype", r->macro_prototype);
    buf_printf(out, ",\"ties\":%zu,\"failures\":%zu,\"chains\":%zu,\"chains_failed\":%zu", r->ties, r->failures,
               r->chains, r->chains_failed);
    put_number(out, "flip_rate", r->flip_rate);
    buf_printf(out, ",\"tokens\":%zu,\"prompt_tokens\":%zu,\"cached_tokens\":%zu", r->tokens, r->prompt_tokens,
               r->cached_tokens);
    put_number(out, "seconds", r->seconds);
    put_number(out, "seconds_per_pair", r->seconds_per_pair);
    put_number(out, "ece", r->ece);
    put_number(out, "ece_temperature", r->ece_temperature);
    put_number(out, "ece_isotonic", r->ece_isotonic);
    put_number(out, "ece_shrunk", r->ece_shrunk);
    put_number(out, "over_longest", r->over_longest);
    put_number(out, "over_longest_se", r->over_longest_se);
    put_text(out, "base", r->base);
    put_number(out, "over_base", r->over_base);
    put_number(out, "over_base_se", r->over_base_se);
    put_number(out, "over_stranger", r->over_stranger);
    put_number(out, "over_stranger_se", r->over_stranger_se);
    put_text(out, "model", r->model);
    buf_printf(out, ",\"seed\":%llu", (unsigned long long)r->seed);
    put_list(r, out);
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
