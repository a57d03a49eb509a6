/* answer.c - see answer.h. */
#include "infer/answer.h"

#include <math.h>
#include <string.h>

enum { TOP_MOST = 4096, INDEX_MOST = 1 << 16 };

typedef struct reader {
    const char *origin;
    size_t n_asked, max_tokens;
    arena *a;
    pgr_error *err;
} reader;

static pgr_status wrong(const reader *r, const char *path, const json_t *found, const char *expected) {
    return fail(r->err, PGR_E_FORMAT, "%s: %s is %s, expected %s", r->origin, path, json_kind(found), expected);
}

/* ---- tokens ---- */

/* A log-probability: at most 0, but for rounding. -9999 and the like stand for minus infinity. */
static bool is_logprob(const json_t *v, double *out) {
    if (!json_is_number(v)) return false;
    *out = json_number_value(v);
    if (!(*out <= 0.01)) return false;
    if (*out > 0) *out = 0;
    return true;
}

/* The bytes of a token: "bytes" where there are some, else its text. */
static bool token_bytes(reader *r, const json_t *v, const char **text, size_t *n) {
    const json_t *bytes = json_object_get(v, "bytes"), *token = json_object_get(v, "token");
    if (!json_is_array(bytes)) {
        *text = json_string_value(token);
        *n = json_string_length(token);
        return *text != NULL;
    }
    size_t count = json_array_size(bytes);
    char *out = arena_alloc(r->a, count + 1);
    if (!out) return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *b = json_array_get(bytes, i);
        json_int_t value = json_integer_value(b);
        if (!json_is_integer(b) || value < 0 || value > 255) return false;
        out[i] = (char)(unsigned char)value;
    }
    *text = out;
    *n = count;
    return true;
}

static bool read_top(reader *r, const json_t *list, answer_token *t) {
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n == 0 || n > TOP_MOST) return list == NULL || n == 0;
    t->top = arena_array(r->a, n, sizeof *t->top);
    if (!t->top) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        answer_top *x = &t->top[t->n_top++];
        if (!token_bytes(r, v, &x->text, &x->n) || !is_logprob(json_object_get(v, "logprob"), &x->logprob))
            return false;
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp(t->top[i].logprob);
    return sum <= 1.02; /* half floats sum to a little more than 1 */
}

/* The tokens of a choice, where they are what its text is made of; else there are none. */
static void read_tokens(reader *r, const json_t *logprobs, answer_choice *c) {
    const json_t *list = json_object_get(logprobs, "content");
    size_t n = json_array_size(list), at = 0;
    if (n == 0 || n > 2 * r->max_tokens + 16) return;
    answer_token *tokens = arena_array(r->a, n, sizeof *tokens);
    if (!tokens) return;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        const char *text = NULL;
        answer_token *t = &tokens[count];
        if (!token_bytes(r, v, &text, &t->n) || !is_logprob(json_object_get(v, "logprob"), &t->logprob)) return;
        if (!read_top(r, json_object_get(v, "top_logprobs"), t)) return;
        t->at = at;
        if (at == c->n) continue; /* the end of the turn */
        if (t->n > c->n - at || memcmp(c->text + at, text, t->n) != 0) return;
        at += t->n;
        count++;
    }
    if (at != c->n) return;
    c->tokens = tokens;
    c->n_token = count;
}

/* ---- choices ---- */

static pgr_status read_finish(const reader *r, const json_t *v, const char *path, answer_choice *c) {
    static const char *const ENDS[] = {"stop", "eos", "eos_token", "end_turn", "stop_sequence"};
    const char *why = json_string_value(v);
    if (!why) return wrong(r, path, v, "a string");
    c->length = strcmp(why, "length") == 0 || strcmp(why, "max_tokens") == 0;
    c->bad = c->length ? NULL : why;
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++)
        if (strcmp(why, ENDS[i]) == 0) c->bad = NULL;
    return PGR_OK;
}

static pgr_status read_text(const reader *r, const json_t *choice, size_t i, answer_choice *c) {
    char path[60];
    const json_t *message = json_object_get(choice, "message");
    const json_t *text = message ? json_object_get(message, "content") : json_object_get(choice, "text");
    snprintf(path, sizeof path, "choices[%zu].%s", i, message ? "message.content" : "text");
    bool none = json_is_null(text) && message; /* a refusal, or thoughts alone */
    if (!none && !json_is_string(text)) return wrong(r, path, text, "a string");
    c->text = none ? "" : json_string_value(text);
    c->n = none ? 0 : json_string_length(text);
    if (memchr(c->text, '\0', c->n)) return fail(r->err, PGR_E_FORMAT, "%s: %s holds a NUL byte", r->origin, path);
    return PGR_OK;
}

static pgr_status read_choice(reader *r, const json_t *v, size_t i, answer *out) {
    char path[60];
    const json_t *index = json_object_get(v, "index");
    answer_choice *c = &out->choices[out->n_choice];
    snprintf(path, sizeof path, "choices[%zu]", i);
    if (!json_is_object(v)) return wrong(r, path, v, "an object");
    snprintf(path, sizeof path, "choices[%zu].index", i);
    json_int_t number = index ? json_integer_value(index) : (json_int_t)i;
    if (index && !json_is_integer(index)) return wrong(r, path, index, "a whole number");
    if (number < 0 || (uint64_t)number >= r->n_asked)
        return fail(r->err, PGR_E_FORMAT, "%s: %s is %lld, expected 0 to %zu, as %zu were asked for", r->origin, path,
                    (long long)number, r->n_asked - 1, r->n_asked);
    *c = (answer_choice){.index = (size_t)number};
    for (size_t k = 0; k < out->n_choice; k++)
        if (out->choices[k].index == c->index)
            return fail(r->err, PGR_E_FORMAT, "%s: %s is %zu, as of another choice", r->origin, path, c->index);
    PGR_TRY(read_text(r, v, i, c));
    snprintf(path, sizeof path, "choices[%zu].finish_reason", i);
    PGR_TRY(read_finish(r, json_object_get(v, "finish_reason"), path, c));
    const char *by = json_string_value(json_object_get(v, "stop_reason"));
    c->late = c->length && by && strcmp(by, "deadline") == 0;
    read_tokens(r, json_object_get(v, "logprobs"), c);
    out->n_choice++;
    return PGR_OK;
}

static pgr_status read_choices(reader *r, const json_t *root, answer *out) {
    const json_t *list = json_object_get(root, "choices");
    size_t n = json_array_size(list);
    if (!json_is_array(list)) return wrong(r, "choices", list, "an array");
    if (n == 0 || n > r->n_asked)
        return fail(r->err, PGR_E_FORMAT, "%s: found %zu choices, expected 1 to %zu, as were asked for", r->origin, n,
                    r->n_asked);
    out->choices = arena_array(r->a, n, sizeof *out->choices);
    if (!out->choices) return fail_mem(r->err);
    for (size_t i = 0; i < n; i++) PGR_TRY(read_choice(r, json_array_get(list, i), i, out));
    return PGR_OK;
}

/* ---- counts ---- */

static bool read_count(const json_t *v, size_t most, size_t *out) {
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > most) return false;
    *out = (size_t)json_integer_value(v);
    return true;
}

static void read_usage(const reader *r, const json_t *root, answer *out) {
    const json_t *usage = json_object_get(root, "usage");
    const json_t *details = json_object_get(usage, "prompt_tokens_details");
    out->counted = read_count(json_object_get(usage, "prompt_tokens"), (size_t)1 << 31, &out->prompt_tokens)
                   && read_count(json_object_get(usage, "completion_tokens"), out->n_choice * (r->max_tokens + 16),
                                 &out->completion_tokens);
    if (!out->counted) out->prompt_tokens = out->completion_tokens = 0;
    if (!read_count(json_object_get(details, "cached_tokens"), out->prompt_tokens, &out->cached_tokens))
        out->cached_tokens = 0;
}

/* A token of a list may be the byte 0, which is no part of other JSON that we read. */
static pgr_status parse(const char *text, size_t n, const char *origin, json_t **out, pgr_error *err) {
    if (n == 0 || !memmem(text, n, "\\u0000", 6)) return json_parse_nan(text ? text : "", n, origin, 1, out, err);
    json_error_t why;
    *out = json_loadb(text, n, JSON_ALLOW_NUL, &why);
    return *out ? PGR_OK : fail(err, PGR_E_FORMAT, "%s:%d: %s", origin, why.line, why.text);
}

pgr_status answer_read(const char *text, size_t n, const char *origin, size_t n_asked, size_t max_tokens, arena *a,
                       json_t **json, answer *out, pgr_error *err) {
    reader r = {.origin = origin, .n_asked = n_asked, .max_tokens = max_tokens, .a = a, .err = err};
    *json = NULL;
    *out = (answer){0};
    PGR_TRY(parse(text, n, origin, json, err));
    if (!json_is_object(*json)) return wrong(&r, "the answer", *json, "an object");
    PGR_TRY(read_choices(&r, *json, out));
    read_usage(&r, *json, out);
    return PGR_OK;
}
