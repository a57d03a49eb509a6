/* request.c - reads a scoring request from JSON: our own object (docs/requests.md) or a record of a data set whose
 * form is known (forms.h). Everything is copied into the request's arena; how it becomes a prompt is the judge's
 * business. */
#include "user/request.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/options.h"
#include "user/forms.h"

enum {
    RESPONSES_MAX = 26, /* one letter each, A to Z */
};
#define REQUEST_BYTES_MAX ((size_t)64 << 20)

static const char *const REQUEST_KEYS[] = {"id",  "user",    "query", "messages", "responses", "ind",
                                           "pro", "history", "seed",  "scalar",   NULL};

/* ---- our own form ------------------------------------------------------------------------------------------------ */

/* What a request may say of its own judging; the command line goes before it. */
static const pgr_option NUMBERS[] = {
    {.name = "ind", .type = PGR_OPTION_INT, .offset = offsetof(pgr_request, ind), .hi = REQUEST_CHAINS_MAX},
    {.name = "pro", .type = PGR_OPTION_INT, .offset = offsetof(pgr_request, pro), .hi = REQUEST_CHAINS_MAX},
    {.name = "history",
     .type = PGR_OPTION_INT,
     .offset = offsetof(pgr_request, history_pairs),
     .hi = FIELD_HISTORY_MAX},
    {.name = "seed", .type = PGR_OPTION_INT64, .offset = offsetof(pgr_request, seed), .hi = 0x1p63},
    {0},
};

static pgr_status read_numbers(const field_reader *in, const json_t *top, pgr_request *r) {
    for (const pgr_option *row = NUMBERS; row->name; row++) {
        const json_t *v = field_given(top, row->name);
        field_path p = field_key(&FIELD_TOP, row->name);
        if (v) PGR_TRY(option_from_json(row, r, v, field_at(in, &p), in->err));
    }
    return PGR_OK;
}

static pgr_status read_user(const field_reader *in, const json_t *v, pgr_request *r) {
    user_fields u;
    field_path p = field_key(&FIELD_TOP, "user");
    PGR_TRY(field_user(in, v, &p, &u));
    r->user_id = u.user.id;
    r->criteria = u.user.criteria;
    r->n_criteria = u.user.n_criteria;
    r->demographics = u.user.demographics;
    r->history = u.history;
    r->n_history = u.n_history;
    return PGR_OK;
}

static pgr_status read_responses(const field_reader *in, const json_t *v, pgr_request *r) {
    field_path p = field_key(&FIELD_TOP, "responses");
    PGR_TRY(json_want_array(v, field_at(in, &p), in->err));
    size_t n = json_array_size(v);
    if (n < 2 || n > RESPONSES_MAX)
        return fail(in->err, PGR_E_FORMAT, "%s: responses: found %zu, expected 2 to %d", in->file, n, RESPONSES_MAX);
    const char **responses = arena_array(in->a, n, sizeof *responses);
    if (!responses) return fail_mem(in->err);
    for (size_t i = 0; i < n; i++) {
        field_path item = field_item(&p, i);
        PGR_TRY(field_text(in, json_array_get(v, i), &item, &responses[i]));
    }
    r->responses = responses;
    r->n_response = n;
    return PGR_OK;
}

/* A reward model's scores that the caller has: one per response. */
static pgr_status read_scalars(const field_reader *in, const json_t *v, pgr_request *r) {
    field_path p = field_key(&FIELD_TOP, "scalar");
    PGR_TRY(json_want_array(v, field_at(in, &p), in->err));
    size_t n = json_array_size(v);
    if (n != r->n_response)
        return fail(in->err, PGR_E_FORMAT, "%s: scalar: found %zu numbers, expected one per response: %zu", in->file, n,
                    r->n_response);
    double *scalars = arena_array(in->a, n, sizeof *scalars);
    if (!scalars) return fail_mem(in->err);
    for (size_t i = 0; i < n; i++) {
        field_path item = field_item(&p, i);
        const json_t *number = json_array_get(v, i);
        if (!json_is_number(number)) return field_fail(in, &item, json_kind(number), "a number");
        scalars[i] = json_number_value(number);
    }
    r->scalars = scalars;
    return PGR_OK;
}

static pgr_status read_own(const field_reader *in, const json_t *top, pgr_request *r) {
    PGR_TRY(field_keys(in, top, REQUEST_KEYS, &FIELD_TOP));
    PGR_TRY(field_optional_string(in, top, "id", &FIELD_TOP, &r->id));
    if (field_given(top, "user")) PGR_TRY(read_user(in, field_given(top, "user"), r));
    PGR_TRY(field_question(in, top, "messages", &FIELD_TOP, &r->messages, &r->n_message));
    PGR_TRY(read_responses(in, json_object_get(top, "responses"), r));
    if (field_given(top, "scalar")) PGR_TRY(read_scalars(in, field_given(top, "scalar"), r));
    return read_numbers(in, top, r);
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

/* A row of a data set: its keys are those of a form, or it has a preferred text; and no list of responses. */
static bool is_record(const json_t *top) {
    if (json_object_get(top, "responses")) return false;
    return form_tells_any(top) || json_object_get(top, "chosen") || json_object_get(top, "rejected");
}

static pgr_status fail_left_out(const field_reader *in, const record_list *pairs) {
    for (size_t i = 0; i < PGR_LEFT_N; i++)
        if (pairs->left_out[i])
            return fail(in->err, PGR_E_FORMAT, "%s: this row makes no pair: %s", in->file, pgr_left_text((pgr_left)i));
    return field_fail(in, &FIELD_TOP, "no responses", "a row that makes a pair");
}

static bool same_question(const pair_record *a, const pair_record *b) {
    if (strcmp(a->user_id, b->user_id) != 0 || a->pair.n_context != b->pair.n_context) return false;
    for (size_t i = 0; i < a->pair.n_context; i++)
        if (strcmp(a->pair.context[i].text, b->pair.context[i].text) != 0) return false;
    return true;
}

/* The place of a text in the list, which it is added to where it is not there and has room. */
static size_t place_of(const char **texts, size_t *n, const char *text) {
    size_t i = 0;
    while (i < *n && strcmp(texts[i], text) != 0) i++;
    if (i == *n && *n < RESPONSES_MAX) texts[(*n)++] = text;
    return i;
}

/* The responses of a row's pairs, the one that is never rejected is the chosen one; two of them: none, one or both
 * may be. */
static pgr_status take_pairs(const field_reader *in, const record_list *pairs, pgr_request *r) {
    const char **texts = arena_array(in->a, RESPONSES_MAX, sizeof *texts);
    bool rejected[RESPONSES_MAX] = {false};
    size_t n = 0;
    if (!texts) return fail_mem(in->err);
    for (size_t i = 0; i < pairs->n; i++) {
        const pair_record *p = &pairs->v[i].pair;
        if (!same_question(p, &pairs->v[0].pair))
            return field_fail(in, &FIELD_TOP, "choices of several users in one row",
                              "one user's (`user import`, `bench` take it)");
        size_t chosen = place_of(texts, &n, p->pair.chosen), other = place_of(texts, &n, p->pair.rejected);
        if (chosen == other && n < RESPONSES_MAX) texts[other = n++] = p->pair.rejected; /* of equal texts, too */
        if (chosen >= RESPONSES_MAX || other >= RESPONSES_MAX)
            return fail(in->err, PGR_E_FORMAT, "%s: responses: found more, expected 2 to %d", in->file, RESPONSES_MAX);
        rejected[other] = true;
    }
    for (size_t i = n; i > 0; i--)
        if (!rejected[i - 1]) r->chosen = (int)i - 1;
    r->responses = texts;
    r->n_response = n;
    return PGR_OK;
}

static pgr_status read_record(const field_reader *in, json_t *top, pgr_request *r, bool *no_pair) {
    const dataset_options with = {.unnamed = UNNAMED_NOBODY, .keep_alike = true};
    record_list pairs = {.with = &with};
    const form *f = NULL;
    PGR_TRY(form_find(in, NULL, top, &f));
    if (!f->read) return field_fail(in, &FIELD_TOP, f->what, "a request, or a row that makes a pair");
    PGR_TRY(f->read(in, top, &pairs));
    *no_pair = pairs.n == 0;
    if (*no_pair) return fail_left_out(in, &pairs);
    if (pairs.v[0].kind != RECORD_PAIR)
        return field_fail(in, &FIELD_TOP, f->what, "a request, or a row that makes a pair");
    const pair_record *first = &pairs.v[0].pair;
    r->id = first->conversation_id;
    r->user_id = first->user_id;
    r->messages = first->pair.context;
    r->n_message = first->pair.n_context;
    return take_pairs(in, &pairs, r);
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

/* "FILE:LINE" names the line that the text begins at: file is cut before the colon, the line returned (else 1). */
static size_t split_origin(char *file) {
    char *colon = strrchr(file, ':');
    if (!colon || colon == file || !colon[1] || colon[1] == '0' || strspn(colon + 1, "0123456789") != strlen(colon + 1)
        || strlen(colon + 1) > 9)
        return 1;
    size_t line = 0;
    for (const char *c = colon + 1; *c; c++) line = line * 10 + (size_t)(*c - '0');
    *colon = '\0';
    return line;
}

static pgr_status parse_json(const char *json, size_t len, const char *origin, json_t **out, pgr_error *err) {
    if (len > REQUEST_BYTES_MAX)
        return fail(err, PGR_E_LIMIT, "%s: found %zu bytes, expected at most %zu", origin, len, REQUEST_BYTES_MAX);
    if (len >= 2 && memcmp(json, "\x1F\x8B", 2) == 0)
        return fail(
            err, PGR_E_UNSUPPORTED,
            "%s: found gzip data, expected JSON text (`gzip -d` unpacks it; user import, bench and label read it "
            "as it is)",
            origin);
    char *file = mem_strdup(origin);
    if (!file) return fail_mem(err);
    size_t line = split_origin(file);
    pgr_status status = json_parse_nan(json, len, file, line, out, err);
    mem_free(file);
    return status;
}

/* A request with nothing in it. */
static pgr_request *create_request(const char *origin) {
    pgr_request *r = mem_zero(1, sizeof *r);
    if (!r) return NULL;
    r->origin = arena_strdup(&r->arena, origin);
    r->id = r->user_id = r->demographics = "";
    r->ind = r->pro = r->history_pairs = r->chosen = -1;
    r->seed = -1;
    if (r->origin) return r;
    pgr_request_free(r);
    return NULL;
}

pgr_status request_parse(const char *json, size_t len, const char *origin, pgr_request **out, bool *no_pair,
                         pgr_error *err) {
    json_t *top = NULL;
    *no_pair = false;
    PGR_TRY(parse_json(json, len, origin, &top, err));

    pgr_request *r = create_request(origin);
    field_reader in = {.a = r ? &r->arena : NULL, .file = origin, .err = err};
    pgr_status status = r ? json_want_object(top, field_at(&in, &FIELD_TOP), err) : fail_mem(err);
    if (status == PGR_OK) status = is_record(top) ? read_record(&in, top, r, no_pair) : read_own(&in, top, r);
    json_decref(top);
    if (status != PGR_OK) {
        pgr_request_free(r);
        return status;
    }
    *out = r;
    return PGR_OK;
}

pgr_status pgr_request_parse(const char *json, size_t len, const char *origin, pgr_request **out, pgr_error *err) {
    bool no_pair;
    if (!json || !out)
        return fail(err, PGR_E_ARG, "pgr_request_parse: found NULL, expected text and a place for the request");
    return request_parse(json, len, origin ? origin : "request", out, &no_pair, err);
}

pgr_status pgr_request_read(const char *file, pgr_request **out, pgr_error *err) {
    if (!file || !out)
        return fail(err, PGR_E_ARG, "pgr_request_read: found NULL, expected a path and a place for the request");
    bool standard = strcmp(file, "-") == 0;
    struct stat st;
    if (!standard && stat(file, &st) == 0 && S_ISREG(st.st_mode) && (uintmax_t)st.st_size > REQUEST_BYTES_MAX)
        return fail(err, PGR_E_LIMIT, "%s: found %ju bytes, expected at most %zu", file, (uintmax_t)st.st_size,
                    REQUEST_BYTES_MAX);
    buf text = {0};
    PGR_TRY(file_read(file, &text, err));
    pgr_status status =
        pgr_request_parse(text.data ? text.data : "", text.n, standard ? "standard input" : file, out, err);
    buf_free(&text);
    return status;
}

void pgr_request_free(pgr_request *request) {
    if (!request) return;
    arena_free(&request->arena);
    mem_free(request);
}
