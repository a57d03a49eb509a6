/* slot_answer.c - see slot_answer.h. */
#include "infer/slot_answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { LISTED_MOST = 1100 };              /* of a place: 1,024 are asked for at most */
static const double MISSING_MOST = 0.001; /* of what all choices have: as at a grammar's places (remote_place.c) */
static const double HALF_FLOATS = 1.02;   /* sum to a little more than 1 */
static const double FLOOR = -9999;        /* stands for minus infinity, which JSON has not */

typedef struct listed { /* a token, and what the server says of it */
    int32_t id;
    double logprob;
} listed;

typedef struct reader {
    const char *origin;
    const slot_plan *plan;
    bool named;   /* the tokens were asked for by number: these are there, and no others */
    listed *list; /* (n_list) at the point that is read, memory of the arena */
    size_t n_list;
    bool *has; /* (plan->n_point) */
    slot_answer *out;
    arena *a;
    pgr_error *err;
} reader;

/* "token_id:17" */
static bool id_of_name(const char *name, int32_t *out) {
    static const char PREFIX[] = "token_id:";
    const size_t n = sizeof PREFIX - 1;
    char *end = NULL;
    if (!name || strncmp(name, PREFIX, n) != 0 || name[n] < '0' || name[n] > '9') return false;
    long id = strtol(name + n, &end, 10);
    *out = (int32_t)id;
    return *end == '\0' && id <= INT32_MAX;
}

static pgr_status bad_member(const reader *x, size_t i, const char *what, const char *found, const char *expected) {
    return fail(x->err, PGR_E_FORMAT, "%s: choices[%zu].logprobs.%s is %s, expected %s", x->origin, i, what, found,
                expected);
}

/* One token of a list, at `what` of choice i. */
static pgr_status add_listed(reader *x, size_t i, const char *what, int32_t id, const json_t *v) {
    char found[48];
    double p = json_number_value(v);
    if (!json_is_number(v)) return bad_member(x, i, what, json_kind(v), "a log-probability");
    if (!(p <= 0.01)) { /* at most 0, but for rounding */
        snprintf(found, sizeof found, json_is_nan(v) ? "NaN or an infinity" : "%g", p);
        return bad_member(x, i, what, found, "a log-probability");
    }
    for (size_t k = 0; k < x->n_list; k++)
        if (x->list[k].id == id) return bad_member(x, i, what, "there twice", "every token once");
    /* servers compute in floats, and write enough digits of them */
    x->list[x->n_list++] = (listed){id, p <= FLOOR ? -INFINITY : p < 0 ? (double)(float)p : 0};
    return PGR_OK;
}

/* {"token_id:17": -0.5, ...}: vLLM's and our own. */
static pgr_status list_names(reader *x, size_t i, const json_t *object) {
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, name, v) {
        char what[120];
        int32_t id;
        snprintf(what, sizeof what, "top_logprobs[0].%.60s", name);
        if (!id_of_name(name, &id)) return bad_member(x, i, what, "the name of a token", "token_id: and its number");
        PGR_TRY(add_listed(x, i, what, id, v));
    }
    return PGR_OK;
}

/* [{"id": 17, "logprob": -0.5}, ...]: llama.cpp's. */
static pgr_status list_objects(reader *x, size_t i, const json_t *list) {
    for (size_t k = 0; k < json_array_size(list); k++) {
        const json_t *v = json_array_get(list, k), *id = json_object_get(v, "id");
        char what[80];
        snprintf(what, sizeof what, "content[0].top_logprobs[%zu]", k);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return bad_member(x, i, what, "without a token's number", "an id");
        PGR_TRY(add_listed(x, i, what, (int32_t)json_integer_value(id), json_object_get(v, "logprob")));
    }
    return PGR_OK;
}

/* What is there of the token behind point i's prompt. */
static pgr_status list_tokens(reader *x, size_t i, const json_t *choice) {
    const json_t *all = json_object_get(choice, "logprobs");
    const json_t *names = json_array_get(json_object_get(all, "top_logprobs"), 0);
    const json_t *objects = json_object_get(json_array_get(json_object_get(all, "content"), 0), "top_logprobs");
    size_t n = json_is_object(names) ? json_object_size(names) : json_array_size(objects);
    double sum = 0;
    x->n_list = 0;
    if (n == 0 || n > LISTED_MOST)
        return bad_member(x, i, "top_logprobs", n ? "too long" : "no list of tokens", "what tokens would have had");
    x->list = arena_array(x->a, n, sizeof *x->list);
    if (!x->list) return fail_mem(x->err);
    PGR_TRY(json_is_object(names) ? list_names(x, i, names) : list_objects(x, i, objects));
    for (size_t k = 0; k < n; k++) sum += exp(x->list[k].logprob);
    if (sum <= HALF_FLOATS) return PGR_OK;
    return fail(x->err, PGR_E_FORMAT,
                "%s: choices[%zu].logprobs.top_logprobs[0]: probabilities sum to %g, expected 1 "
                "at most",
                x->origin, i, sum);
}

static bool is_asked(const slot_plan *plan, int32_t id) {
    size_t k = 0;
    while (k < plan->n_id && plan->ids[k] != id) k++;
    return k < plan->n_id;
}

/* Of tokens that were named these are there and no other but the one that was drawn. */
static pgr_status check_named(const reader *x, size_t i, const json_t *choice) {
    const json_t *tokens = json_object_get(json_object_get(choice, "logprobs"), "tokens");
    int32_t drawn = -1;
    char what[60];
    if (!id_of_name(json_string_value(json_array_get(tokens, 0)), &drawn)) drawn = -1;
    for (size_t k = 0; k < x->n_list; k++) {
        if (is_asked(x->plan, x->list[k].id) || x->list[k].id == drawn) continue;
        snprintf(what, sizeof what, "top_logprobs[0].token_id:%d", (int)x->list[k].id);
        return bad_member(x, i, what, "not asked for", "the tokens of logprob_token_ids");
    }
    return PGR_OK;
}

static double logprob_of(const reader *x, int32_t id) {
    for (size_t k = 0; k < x->n_list; k++)
        if (x->list[k].id == id) return x->list[k].logprob;
    return NAN;
}

static pgr_status keep_value(reader *x, size_t i, size_t at) {
    int32_t id = x->plan->t.choices.v[at];
    char what[60];
    x->out->values[at] = logprob_of(x, id);
    x->out->least[at] = 0;
    for (size_t k = 0; k < x->n_list; k++) x->out->least[at] = fmin(x->out->least[at], x->list[k].logprob);
    if (!isnan(x->out->values[at]) || !x->named) return PGR_OK;
    snprintf(what, sizeof what, "top_logprobs[0].token_id:%d", (int)id);
    return bad_member(x, i, what, "not there", "every token of logprob_token_ids");
}

/* Of all tokens that may stand at a point. */
static pgr_status keep_values(reader *x, size_t i, const plan_point *p) {
    const infer_slot_tokens *t = &x->plan->t;
    if (p->depth > 0) return keep_value(x, i, choice_begin(t, p->choice) + p->depth);
    for (size_t k = t->first[p->slot]; k < t->first[p->slot + 1]; k++) PGR_TRY(keep_value(x, i, choice_begin(t, k)));
    return PGR_OK;
}

/* Choice i of the answer, which may be of any prompt. */
static pgr_status read_point(reader *x, size_t i, const json_t *choice) {
    const json_t *index = json_object_get(choice, "index");
    const char *by = json_string_value(json_object_get(choice, "stop_reason"));
    json_int_t at = json_is_integer(index) ? json_integer_value(index) : -1;
    if (at < 0 || (uint64_t)at >= x->plan->n_point || x->has[at])
        return fail(x->err, PGR_E_FORMAT, "%s: choices[%zu].index is %lld, expected each of 0 to %zu once", x->origin,
                    i, (long long)at, x->plan->n_point - 1);
    x->has[at] = true;
    if (by && strcmp(by, "deadline") == 0) {
        x->out->late = true;
        return PGR_OK;
    }
    PGR_TRY(list_tokens(x, i, choice));
    if (x->named) PGR_TRY(check_named(x, i, choice));
    return keep_values(x, i, &x->plan->points[at]);
}

static pgr_status read_all(reader *x, const json_t *root) {
    const json_t *list = json_object_get(root, "choices");
    size_t n = json_array_size(list);
    if (!json_is_array(list))
        return fail(x->err, PGR_E_FORMAT, "%s: choices is %s, expected an array", x->origin, json_kind(list));
    if (n != x->plan->n_point)
        return fail(x->err, PGR_E_FORMAT, "%s: found %zu choices, expected %zu, one for each prompt", x->origin, n,
                    x->plan->n_point);
    for (size_t i = 0; i < n; i++) PGR_TRY(read_point(x, i, json_array_get(list, i)));
    return PGR_OK;
}

static size_t count_at(const json_t *v, const char *key) {
    json_int_t n = json_integer_value(json_object_get(v, key));
    return n > 0 && n < (json_int_t)1 << 31 ? (size_t)n : 0;
}

static pgr_status read_root(reader *x, const json_t *root) {
    const json_t *usage = json_object_get(root, "usage");
    x->out->prompt_tokens = count_at(usage, "prompt_tokens");
    x->out->completion_tokens = count_at(usage, "completion_tokens");
    x->out->cached_tokens = count_at(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
    if (x->out->cached_tokens > x->out->prompt_tokens) x->out->cached_tokens = 0;
    return read_all(x, root);
}

/* The texts of tokens, which may be the byte 0, are not looked at. */
static pgr_status parse(const char *text, size_t n, const char *origin, json_t **out, pgr_error *err) {
    if (n == 0 || !memmem(text, n, "\\u0000", 6)) return json_parse_nan(text ? text : "", n, origin, 1, out, err);
    buf copy = {0};
    buf_add(&copy, text, n);
    if (copy.failed) return fail_mem(err);
    json_replace_nul(copy.data, copy.n);
    pgr_status s = json_parse_nan(copy.data, copy.n, origin, 1, out, err);
    buf_free(&copy);
    return s;
}

pgr_status slot_answer_read(const slot_plan *plan, bool named, const char *text, size_t n, const char *origin, arena *a,
                            slot_answer *out, pgr_error *err) {
    size_t n_value = plan->t.choices.n;
    json_t *root = NULL;
    reader x = {.origin = origin, .plan = plan, .named = named, .out = out, .a = a, .err = err};
    *out = (slot_answer){0};
    out->values = arena_array(a, n_value + 1, sizeof *out->values);
    out->least = arena_array(a, n_value + 1, sizeof *out->least);
    x.has = arena_array(a, plan->n_point + 1, sizeof *x.has);
    if (!out->values || !out->least || !x.has) return fail_mem(err);
    memset(x.has, 0, plan->n_point * sizeof *x.has);
    PGR_TRY(parse(text, n, origin, &root, err));
    pgr_status s = read_root(&x, root);
    json_decref(root);
    return s;
}

/* ---- readings ---- */

static pgr_status fail_missing(const slot_plan *plan, const slot_answer *got, const char *origin, size_t slot,
                               double missing, double had, pgr_error *err) {
    const infer_slot_tokens *t = &plan->t;
    char names[80] = "";
    size_t n = 0, len = 0;
    for (size_t at = choice_begin(t, t->first[slot]); at < t->end[t->first[slot + 1] - 1]; at++) {
        if (!isnan(got->values[at])) continue;
        if (n++ < 5 && len < sizeof names)
            len += (size_t)snprintf(names + len, sizeof names - len, "%s%d", n > 1 ? ", " : "", (int)t->choices.v[at]);
    }
    return fail(err, PGR_E_UNSUPPORTED,
                "%s: slot %zu: %zu tokens of the choices (%s%s) are not among the likeliest ones that the server "
                "lists: their choices may have a probability of %.3g in all, the others have %.3g, expected at most %g "
                "of that; a server that takes logprob_token_ids lists them all",
                origin, slot + 1, n, names, n > 5 ? " ..." : "", missing, had, MISSING_MOST);
}

/* The distribution over a slot's choices. Those that were not listed count as nothing where they cannot be more than
 * next to nothing. */
static pgr_status settle_slot(const slot_plan *plan, const slot_answer *got, const char *origin, size_t slot,
                              infer_reading *out, pgr_error *err) {
    const infer_slot_tokens *t = &plan->t;
    double had = 0, missing = 0;
    for (size_t c = 0; c < out->n_choice; c++) {
        size_t k = t->first[slot] + c;
        double sum = 0, most = 0;
        for (size_t at = choice_begin(t, k); at < t->end[k]; at++) {
            sum += got->values[at];
            most += isnan(got->values[at]) ? got->least[at] : got->values[at];
        }
        out->logprobs[c] = isnan(sum) ? -INFINITY : sum;
        *(isnan(sum) ? &missing : &had) += exp(most);
    }
    if (missing > MISSING_MOST * had) return fail_missing(plan, got, origin, slot, missing, had, err);
    if (!(had > 0))
        return fail(err, PGR_E_FORMAT, "%s: slot %zu: none of the choices has any probability", origin, slot + 1);
    return reading_settle(out, slot, err);
}

void slot_readings_free(infer_reading *list, size_t n) {
    for (size_t i = 0; list && i < n; i++) mem_free(list[i].logprobs);
    mem_free(list);
}

pgr_status slot_answer_readings(const slot_plan *plan, const slot_answer *got, const char *origin, infer_reading **out,
                                pgr_error *err) {
    const infer_slot_tokens *t = &plan->t;
    infer_reading *list = mem_zero(t->n_slot, sizeof *list);
    pgr_status s = list ? PGR_OK : fail_mem(err);
    for (size_t i = 0; s == PGR_OK && i < t->n_slot; i++) {
        list[i].n_choice = t->first[i + 1] - t->first[i];
        list[i].logprobs = mem_zero(list[i].n_choice, sizeof *list[i].logprobs);
        s = list[i].logprobs ? settle_slot(plan, got, origin, i, &list[i], err) : fail_mem(err);
    }
    if (s == PGR_OK)
        *out = list;
    else
        slot_readings_free(list, t->n_slot);
    return s;
}
