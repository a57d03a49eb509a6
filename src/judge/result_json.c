/* result_json.c - a result as one JSON object without line breaks (docs/requests.md). Keys are promises: added, never
 * renamed. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "judge/calibration.h"

static void put_text(buf *b, const char *s) {
    json_put_string(b, s ? s : "", s ? strlen(s) : 0);
}

static void put_text_or_null(buf *b, const char *s) {
    if (s && s[0])
        put_text(b, s);
    else
        buf_puts(b, "null");
}

/* ,"key": - every field but an object's first */
static void put_key(buf *b, const char *key) {
    buf_printf(b, ",\"%s\":", key);
}

static void put_number(buf *b, const char *key, double v) {
    put_key(b, key);
    json_put_number(b, v);
}

static void put_count(buf *b, const char *key, size_t n) {
    buf_printf(b, ",\"%s\":%zu", key, n);
}
static void put_flag(buf *b, const char *key, bool v) {
    buf_printf(b, ",\"%s\":%s", key, v ? "true" : "false");
}

static void put_numbers(buf *b, const char *key, const double *v, size_t n) {
    put_key(b, key);
    buf_putc(b, '[');
    for (size_t i = 0; v && i < n; i++) {
        if (i) buf_putc(b, ',');
        json_put_number(b, v[i]);
    }
    buf_putc(b, ']');
}

static void put_response(buf *b, const pgr_response_score *s, size_t index) {
    buf_printf(b, "{\"index\":%zu", index);
    put_number(b, "score", s->scored ? s->score : NAN);
    put_number(b, "se", s->scored ? s->se : NAN);
    put_number(b, "expected", s->expected);
    put_number(b, "declared", s->declared);
    put_number(b, "recomputed", s->recomputed);
    put_number(b, "win", s->scored ? s->win : NAN);
    put_count(b, "prefer", s->prefer);
    put_number(b, "ind", s->scored ? s->ind : NAN);
    put_number(b, "pro", s->scored ? s->pro : NAN);
    put_number(b, "scalar", s->scalar);
    put_number(b, "prior", s->prior);
    put_count(b, "n", s->n);
    if (!s->scored) {
        put_key(b, "reason");
        put_text(b, s->reason);
    }
    buf_putc(b, '}');
}

static void put_responses(buf *b, const pgr_result *r) {
    put_key(b, "responses");
    buf_putc(b, '[');
    for (size_t i = 0; i < r->n_response; i++) {
        if (i) buf_putc(b, ',');
        put_response(b, &r->responses[i], i);
    }
    buf_putc(b, ']');
}

static void put_counts(buf *b, const pgr_chain_counts *c, const char *reason) {
    buf_printf(b, "{\"requested\":%zu,\"parsed\":%zu,\"cut\":%zu,\"failed\":%zu", c->requested, c->parsed, c->cut,
               c->failed);
    if (reason) {
        put_key(b, "reason");
        put_text(b, reason);
    }
    buf_putc(b, '}');
}

/* Chains by source: the user's own (ind), and under similar users' histories (pro). */
static void put_chains(buf *b, const pgr_result *r) {
    put_key(b, "chains");
    buf_puts(b, "{\"ind\":");
    put_counts(b, &r->ind, NULL);
    put_key(b, "pro");
    put_counts(b, &r->pro, r->pro_reason);
    put_count(b, "alike", r->alike);
    put_number(b, "flip_rate", r->flip_rate);
    put_number(b, "arithmetic_wrong", r->arithmetic_wrong);
    put_number(b, "contradictory", r->contradictory);
    buf_putc(b, '}');
}

static void put_neighbours(buf *b, const pgr_result *r) {
    put_key(b, "neighbours");
    buf_putc(b, '[');
    for (size_t i = 0; i < r->n_neighbour; i++) {
        const pgr_neighbour *n = &r->neighbours[i];
        buf_puts(b, i ? ",{\"user\":" : "{\"user\":");
        put_text(b, n->user);
        put_number(b, "similarity", n->similarity);
        put_number(b, "weight", n->weight);
        put_count(b, "n", n->n);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
}

/* What the sides weighed, and why. */
static void put_weights(buf *b, const pgr_result *r) {
    put_key(b, "weights");
    buf_puts(b, "{\"ind\":");
    json_put_number(b, r->w_ind);
    put_number(b, "pro", r->w_pro);
    buf_putc(b, '}');
    put_flag(b, "cold_start", r->cold_start);
    put_flag(b, "untrained", r->untrained);
    put_key(b, "prototype");
    if (r->prototype >= 0)
        buf_printf(b, "%d", r->prototype);
    else
        buf_puts(b, "null");
}

static void put_scalar(buf *b, const pgr_result *r) {
    put_key(b, "scalar");
    if (!r->scalar_model) {
        buf_puts(b, "null");
        return;
    }
    buf_puts(b, "{\"model\":");
    put_text_or_null(b, r->scalar_model);
    put_number(b, "weight", r->scalar_weight);
    buf_putc(b, '}');
}

static void put_adaptive(buf *b, const pgr_result *r) {
    put_key(b, "adaptive");
    if (!(r->adaptive > 0)) {
        buf_puts(b, "null");
        return;
    }
    buf_puts(b, "{\"p\":");
    json_put_number(b, r->adaptive);
    put_key(b, "by");
    buf_puts(b, r->calibrated ? "\"confidence\"" : "\"agreement\"");
    put_count(b, "used", r->requested);
    put_count(b, "saved", r->saved);
    buf_putc(b, '}');
}

static void put_history(buf *b, const pgr_result *r) {
    static const char *const by[] = {"random", "relevant", "recent"};
    put_count(b, "history_shown", r->history_shown);
    put_count(b, "history_used", r->history_used);
    put_count(b, "draws", r->draws);
    put_key(b, "history_by");
    put_text(b, by[r->history_by]);
}

static void put_criteria(buf *b, const pgr_result *r) {
    put_key(b, "criteria");
    buf_putc(b, '[');
    for (size_t i = 0; i < r->n_criterion; i++) {
        const pgr_criterion *c = &r->criteria[i];
        buf_puts(b, i ? ",{\"name\":" : "{\"name\":");
        put_text(b, c->name);
        put_number(b, "weight", c->weight);
        put_number(b, "share", c->share);
        put_flag(b, "contested", c->contested);
        put_key(b, "reason");
        put_text(b, c->reason);
        put_numbers(b, "scores", c->scores, r->n_response);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
}

static void put_clipped(buf *b, const pgr_result *r) {
    put_key(b, "clipped");
    buf_putc(b, '[');
    for (size_t i = 0; i < r->n_clip; i++) {
        buf_puts(b, i ? ",{\"field\":" : "{\"field\":");
        put_text(b, r->clipped[i].field);
        put_count(b, "from_tokens", r->clipped[i].from_tokens);
        put_count(b, "to_tokens", r->clipped[i].to_tokens);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
}

static void put_sample(buf *b, const pgr_chain_sample *s, size_t n_response) {
    buf_puts(b, "{\"text\":");
    put_text(b, s->text);
    put_key(b, "user");
    put_text_or_null(b, s->user);
    put_key(b, "order");
    buf_putc(b, '[');
    for (size_t i = 0; s->order && i < n_response; i++) buf_printf(b, "%s%zu", i ? "," : "", s->order[i]);
    buf_putc(b, ']');
    put_flag(b, "parsed", s->parsed);
    put_flag(b, "cut", s->cut);
    put_flag(b, "arithmetic_wrong", s->arithmetic_wrong);
    put_key(b, "reason");
    put_text_or_null(b, s->reason);
    put_numbers(b, "scores", s->scores, n_response);
    put_count(b, "tokens", s->n_token);
    buf_printf(b, ",\"seed\":%" PRIu64 "}", s->seed);
}

static void put_samples(buf *b, const pgr_result *r) {
    if (!r->samples) return;
    put_key(b, "samples");
    buf_putc(b, '[');
    for (size_t i = 0; i < r->n_sample; i++) {
        if (i) buf_putc(b, ',');
        put_sample(b, &r->samples[i], r->n_response);
    }
    buf_putc(b, ']');
}

static void put_verdict(buf *b, const pgr_result *r) {
    if (r->best >= 0)
        buf_printf(b, ",\"best\":%d", r->best);
    else
        buf_puts(b, ",\"best\":null");
    put_flag(b, "tie", r->tie);
    put_key(b, "kind");
    put_text(b, pgr_verdict_kind_name(r->kind));
    put_number(b, "confidence", r->confidence);
    put_number(b, "confidence_raw", r->calibrated ? r->confidence_raw : NAN);
    put_flag(b, "calibrated", r->calibrated);
    put_count(b, "agree", r->agree);
    put_number(b, "lead", r->lead.mean);
    put_number(b, "lead_se", gap_error(&r->lead));
    put_flag(b, "open", r->open);
    put_key(b, "score_used");
    buf_puts(b, r->score_used == PGR_SCORE_DECLARED     ? "\"declared\""
                : r->score_used == PGR_SCORE_RECOMPUTED ? "\"recomputed\""
                : r->score_used == PGR_SCORE_EXPECTED   ? "\"expected\""
                                                        : "null");
}

pgr_status pgr_result_json(const pgr_result *r, char **out, pgr_error *err) {
    if (!r || !out)
        return fail(err, PGR_E_ARG, "pgr_result_json: found NULL, expected a result and a place for the text");
    buf b = {0};
    buf_puts(&b, "{\"id\":");
    put_text_or_null(&b, r->id);
    put_key(&b, "model");
    put_text(&b, r->model);
    put_key(&b, "frame");
    put_text(&b, r->frame);
    put_verdict(&b, r);
    put_responses(&b, r);
    put_chains(&b, r);
    put_key(&b, "persona");
    put_text(&b, r->persona);
    put_criteria(&b, r);
    put_count(&b, "rubric_chains", r->rubric_chains);
    put_neighbours(&b, r);
    put_weights(&b, r);
    put_scalar(&b, r);
    put_adaptive(&b, r);
    put_history(&b, r);
    put_clipped(&b, r);
    buf_printf(&b, ",\"usage\":{\"prompt_tokens\":%zu,\"cached_tokens\":%zu,\"completion_tokens\":%zu}",
               r->prompt_tokens, r->cached_tokens, r->completion_tokens);
    put_number(&b, "seconds", r->seconds);
    put_number(&b, "first_token_s", r->first_token_s);
    put_samples(&b, r);
    buf_putc(&b, '}');

    char *text = buf_take(&b);
    if (!text) return fail_mem(err);
    *out = text;
    return PGR_OK;
}
