/* request.c - reads a scoring request from JSON: our own object (docs/requests.md) or a PersonalRewardBench record.
 * Everything is copied into the request's arena; how it becomes a prompt is the judge's business. */
#include "user/request.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

enum {
    RESPONSES_MAX = 26,   /* one letter each, A to Z */
    HISTORY_MAX = 100000, /* pairs */
    CHAINS_MAX = 1024,    /* ind, pro */
    PATH_MAX_BYTES = 160,
};
#define REQUEST_BYTES_MAX ((size_t)64 << 20)

static const char *const REQUEST_KEYS[] = {"id",  "user", "query",   "messages", "responses",
                                           "ind", "pro",  "history", "seed",     NULL};
static const char *const USER_KEYS[] = {"id", "history", "criteria", "demographics", NULL};
static const char *const PAIR_KEYS[] = {"query", "context", "chosen", "rejected", NULL};
static const char *const TURN_KEYS[] = {"role", "content", NULL};

/* The columns of PersonalRewardBench and of data sets written in its form (formats.md 6.1). All but the first five say
 * nothing about what is to be scored and are read over; so are columns that begin with one of RECORD_PREFIXES. */
static const char *const RECORD_KEYS[] = {"user_id",
                                          "conversation_id",
                                          "context",
                                          "chosen",
                                          "rejected",
                                          "split",
                                          "chosen_score",
                                          "rejected_score",
                                          "turns",
                                          "type",
                                          "flip",
                                          "dataset",
                                          "category",
                                          "subset",
                                          "chosen_model",
                                          "rejected_model",
                                          "query_reasoning",
                                          "personalizable_query",
                                          "response_reasoning",
                                          "personalizable_responses",
                                          "agreement",
                                          NULL};
static const char *const RECORD_PREFIXES[] = {"prediction_", "reasoning_", NULL};

/* ---- where we are ------------------------------------------------------------------------------------------------ */

typedef struct reader {
    pgr_request *r;
    const char *file; /* "FILE" or "FILE:LINE", the start of every message */
    pgr_error *err;
} reader;

typedef struct path { /* a field's path, "user.history[2].chosen" */
    char text[PATH_MAX_BYTES];
} path;

static const path TOP = {""};

static path at_key(const path *parent, const char *key) {
    path p;
    size_t n = utf8_clip(key, strlen(key), 50); /* a key may be any text, a path stays short */
    snprintf(p.text, sizeof p.text, "%.100s%s%.*s", parent->text, parent->text[0] ? "." : "", (int)n, key);
    return p;
}

static path at_item(const path *parent, size_t i) {
    path p;
    snprintf(p.text, sizeof p.text, "%.120s[%zu]", parent->text, i);
    return p;
}

static json_at place(const reader *in, const path *p) {
    return (json_at){.origin = in->file, .path = p->text};
}

/* "FILE: field: found X, expected Y" */
static pgr_status fail_field(const reader *in, const path *p, const char *found, const char *expected) {
    return fail(in->err, PGR_E_FORMAT, "%s: %s%sfound %s, expected %s", in->file, p->text, p->text[0] ? ": " : "",
                found, expected);
}

/* A key that is absent and one that is null mean the same: not given. */
static const json_t *given(const json_t *object, const char *key) {
    const json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

static bool is_blank(const char *s) {
    return s[strspn(s, " \t\r\n\v\f")] == '\0';
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static pgr_status copy_text(const reader *in, const char *text, const char **out) {
    *out = arena_strdup(&in->r->arena, text);
    return *out ? PGR_OK : fail_mem(in->err);
}

static pgr_status read_string(const reader *in, const json_t *v, const path *p, const char **out) {
    const char *text = NULL;
    PGR_TRY(json_want_string(v, place(in, p), &text, in->err));
    return copy_text(in, text, out);
}

/* A string with something to read in it. */
static pgr_status read_text(const reader *in, const json_t *v, const path *p, const char **out) {
    const char *text = NULL;
    PGR_TRY(json_want_string(v, place(in, p), &text, in->err));
    if (is_blank(text)) return fail_field(in, p, text[0] ? "only blanks" : "an empty string", "text");
    return copy_text(in, text, out);
}

static pgr_status read_optional_string(const reader *in, const json_t *object, const char *key, const path *parent,
                                       const char **out) {
    const json_t *v = given(object, key);
    if (!v) return PGR_OK;
    path p = at_key(parent, key);
    return read_string(in, v, &p, out);
}

static pgr_status read_optional_integer(const reader *in, const json_t *object, const char *key, int64_t hi,
                                        int64_t *out) {
    const json_t *v = given(object, key);
    if (!v) return PGR_OK;
    path p = at_key(&TOP, key);
    return json_want_integer(v, place(in, &p), 0, hi, out, in->err);
}

static pgr_status want_keys(const reader *in, const json_t *object, const char *const *known, const path *p) {
    return json_only_keys(object, known, place(in, p), in->err);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static pgr_status read_role(const reader *in, const json_t *v, const path *p, const char **out) {
    static const char *const roles[][2] = {/* as written, as kept */
                                           {"user", "user"},
                                           {"assistant", "assistant"},
                                           {"system", "system"},
                                           {"model", "assistant"}};
    const char *role = NULL;
    PGR_TRY(json_want_string(v, place(in, p), &role, in->err));
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i][0]) == 0) {
            *out = roles[i][1];
            return PGR_OK;
        }
    char found[80];
    snprintf(found, sizeof found, "\"%.*s\"", (int)utf8_clip(role, strlen(role), 60), role);
    return fail_field(in, p, found, "\"user\", \"assistant\" or \"system\"");
}

static pgr_status read_turn(const reader *in, const json_t *v, const path *p, turn *out) {
    PGR_TRY(want_keys(in, v, TURN_KEYS, p));
    path role = at_key(p, "role"), content = at_key(p, "content");
    PGR_TRY(read_role(in, json_object_get(v, "role"), &role, &out->role));
    return read_string(in, json_object_get(v, "content"), &content, &out->text);
}

/* A list of turns, the last one by the user and not blank. */
static pgr_status read_turns(const reader *in, const json_t *v, const path *p, const turn **out, size_t *n) {
    PGR_TRY(json_want_array(v, place(in, p), in->err));
    size_t count = json_array_size(v);
    if (count == 0) return fail_field(in, p, "an empty array", "at least one turn by the user");
    turn *turns = arena_array(&in->r->arena, count, sizeof *turns);
    if (!turns) return fail_mem(in->err);
    for (size_t i = 0; i < count; i++) {
        path item = at_item(p, i);
        PGR_TRY(read_turn(in, json_array_get(v, i), &item, &turns[i]));
    }
    path last = at_item(p, count - 1);
    if (strcmp(turns[count - 1].role, "user") != 0) {
        path role = at_key(&last, "role");
        return fail_field(in, &role, turns[count - 1].role, "the last turn to be the user's");
    }
    if (is_blank(turns[count - 1].text)) {
        path content = at_key(&last, "content");
        return fail_field(in, &content, "no text", "the user's question");
    }
    *out = turns;
    *n = count;
    return PGR_OK;
}

/* What was asked: one string under `query`, or turns under `list_key`; exactly one of the two. */
static pgr_status read_question(const reader *in, const json_t *object, const char *list_key, const path *parent,
                                const turn **out, size_t *n) {
    const json_t *query = given(object, "query"), *list = given(object, list_key);
    path query_path = at_key(parent, "query"), list_path = at_key(parent, list_key);
    char found[60];
    snprintf(found, sizeof found, "%s `query` %s `%s`", query ? "both" : "neither", query ? "and" : "nor", list_key);
    if (!query == !list) return fail_field(in, parent, found, "one of them");
    if (list) return read_turns(in, list, &list_path, out, n);

    turn *one = arena_array(&in->r->arena, 1, sizeof *one);
    if (!one) return fail_mem(in->err);
    one->role = "user";
    PGR_TRY(read_text(in, query, &query_path, &one->text));
    *out = one;
    *n = 1;
    return PGR_OK;
}

/* ---- the user ---------------------------------------------------------------------------------------------------- */

static pgr_status read_pair(const reader *in, const json_t *v, const path *p, preference_pair *out) {
    PGR_TRY(want_keys(in, v, PAIR_KEYS, p));
    path chosen = at_key(p, "chosen"), rejected = at_key(p, "rejected");
    PGR_TRY(read_question(in, v, "context", p, &out->context, &out->n_context));
    PGR_TRY(read_string(in, json_object_get(v, "chosen"), &chosen, &out->chosen));
    return read_string(in, json_object_get(v, "rejected"), &rejected, &out->rejected);
}

static pgr_status read_history(const reader *in, const json_t *v, const path *p) {
    PGR_TRY(json_want_array(v, place(in, p), in->err));
    size_t n = json_array_size(v);
    if (n > HISTORY_MAX)
        return fail(in->err, PGR_E_LIMIT, "%s: %s: found %zu pairs, expected at most %d", in->file, p->text, n,
                    HISTORY_MAX);
    preference_pair *pairs = arena_array(&in->r->arena, n, sizeof *pairs);
    if (!pairs) return fail_mem(in->err);
    for (size_t i = 0; i < n; i++) {
        path item = at_item(p, i);
        PGR_TRY(read_pair(in, json_array_get(v, i), &item, &pairs[i]));
    }
    in->r->history = pairs;
    in->r->n_history = n;
    return PGR_OK;
}

/* A string is one criterion (blank: none), a list holds one each. */
static pgr_status read_criteria(const reader *in, const json_t *v, const path *p) {
    bool list = json_is_array(v);
    if (!list && !json_is_string(v)) return fail_field(in, p, json_kind(v), "a string or an array of strings");
    size_t n = list ? json_array_size(v) : 1;
    const char **criteria = arena_array(&in->r->arena, n, sizeof *criteria);
    if (!criteria) return fail_mem(in->err);
    for (size_t i = 0; list && i < n; i++) {
        path item = at_item(p, i);
        PGR_TRY(read_text(in, json_array_get(v, i), &item, &criteria[i]));
    }
    if (!list) PGR_TRY(read_string(in, v, p, &criteria[0]));
    in->r->criteria = criteria;
    in->r->n_criteria = !list && is_blank(criteria[0]) ? 0 : n;
    return PGR_OK;
}

/* One value of the demographics object as text; false: it is no plain value. */
static bool put_plain(buf *b, const json_t *v) {
    if (json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v))
        buf_puts(b, json_string_value(v));
    else if (json_is_integer(v))
        buf_printf(b, "%" PRId64, (int64_t)json_integer_value(v));
    else if (json_is_real(v))
        json_put_number(b, json_real_value(v));
    else if (json_is_boolean(v))
        buf_puts(b, json_is_true(v) ? "yes" : "no");
    else
        return false;
    return true;
}

/* "key: value" lines in the file's order; null values are left out. */
static pgr_status put_demographics(const reader *in, json_t *object, const path *p, buf *lines) {
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const json_t *v = json_object_iter_value(it);
        if (json_is_null(v)) continue;
        path item = at_key(p, json_object_iter_key(it));
        buf_printf(lines, "%s%s: ", lines->n ? "\n" : "", json_object_iter_key(it));
        if (!put_plain(lines, v))
            return fail_field(in, &item, json_is_string(v) ? "a NUL character" : json_kind(v),
                              "a string, a number, true or false");
    }
    return lines->failed ? fail_mem(in->err) : PGR_OK;
}

static pgr_status read_demographics(const reader *in, json_t *v, const path *p) {
    if (json_is_string(v)) return read_string(in, v, p, &in->r->demographics);
    if (!json_is_object(v)) return fail_field(in, p, json_kind(v), "a string or a flat object");
    buf lines = {0};
    pgr_status status = put_demographics(in, v, p, &lines);
    if (status == PGR_OK) status = copy_text(in, lines.n ? lines.data : "", &in->r->demographics);
    buf_free(&lines);
    return status;
}

static pgr_status read_user(const reader *in, const json_t *user) {
    path p = at_key(&TOP, "user");
    PGR_TRY(want_keys(in, user, USER_KEYS, &p));
    PGR_TRY(read_optional_string(in, user, "id", &p, &in->r->user_id));
    path history = at_key(&p, "history"), criteria = at_key(&p, "criteria"), people = at_key(&p, "demographics");
    if (given(user, "history")) PGR_TRY(read_history(in, given(user, "history"), &history));
    if (given(user, "criteria")) PGR_TRY(read_criteria(in, given(user, "criteria"), &criteria));
    if (given(user, "demographics")) PGR_TRY(read_demographics(in, json_object_get(user, "demographics"), &people));
    return PGR_OK;
}

/* ---- the two forms ----------------------------------------------------------------------------------------------- */

static pgr_status read_responses(const reader *in, const json_t *v) {
    path p = at_key(&TOP, "responses");
    PGR_TRY(json_want_array(v, place(in, &p), in->err));
    size_t n = json_array_size(v);
    if (n < 2 || n > RESPONSES_MAX)
        return fail(in->err, PGR_E_FORMAT, "%s: responses: found %zu, expected 2 to %d", in->file, n, RESPONSES_MAX);
    const char **responses = arena_array(&in->r->arena, n, sizeof *responses);
    if (!responses) return fail_mem(in->err);
    for (size_t i = 0; i < n; i++) {
        path item = at_item(&p, i);
        PGR_TRY(read_text(in, json_array_get(v, i), &item, &responses[i]));
    }
    in->r->responses = responses;
    in->r->n_response = n;
    return PGR_OK;
}

static pgr_status read_own(const reader *in, const json_t *top) {
    pgr_request *r = in->r;
    PGR_TRY(want_keys(in, top, REQUEST_KEYS, &TOP));
    PGR_TRY(read_optional_string(in, top, "id", &TOP, &r->id));
    if (given(top, "user")) PGR_TRY(read_user(in, given(top, "user")));
    PGR_TRY(read_question(in, top, "messages", &TOP, &r->messages, &r->n_message));
    PGR_TRY(read_responses(in, json_object_get(top, "responses")));

    int64_t ind = -1, pro = -1, history = -1;
    PGR_TRY(read_optional_integer(in, top, "ind", CHAINS_MAX, &ind));
    PGR_TRY(read_optional_integer(in, top, "pro", CHAINS_MAX, &pro));
    PGR_TRY(read_optional_integer(in, top, "history", HISTORY_MAX, &history));
    PGR_TRY(read_optional_integer(in, top, "seed", INT64_MAX, &r->seed));
    r->ind = (int)ind;
    r->pro = (int)pro;
    r->history_pairs = (int)history;
    return PGR_OK;
}

/* A record has a preferred text and no list of responses. */
static bool is_record(const json_t *top) {
    return !json_object_get(top, "responses") && (json_object_get(top, "chosen") || json_object_get(top, "rejected"));
}

static bool is_ignored_column(const char *key) {
    for (size_t i = 0; RECORD_PREFIXES[i]; i++)
        if (text_starts(key, RECORD_PREFIXES[i])) return true;
    return false;
}

/* Known columns only, those with a known prefix apart. */
static pgr_status want_columns(const reader *in, json_t *top) {
    json_t *rest = json_object(); /* keys of the record that are not read over */
    if (!rest) return fail_mem(in->err);
    pgr_status status = PGR_OK;
    for (void *it = json_object_iter(top); it && status == PGR_OK; it = json_object_iter_next(top, it)) {
        const char *key = json_object_iter_key(it);
        if (!is_ignored_column(key) && json_object_set(rest, key, json_object_iter_value(it)) != 0)
            status = fail_mem(in->err);
    }
    if (status == PGR_OK) status = want_keys(in, rest, RECORD_KEYS, &TOP);
    json_decref(rest);
    return status;
}

static pgr_status read_record_side(const reader *in, const json_t *top, const char *key, const char **out) {
    const json_t *v = json_object_get(top, key);
    path p = at_key(&TOP, key), content = at_key(&p, "content");
    PGR_TRY(want_keys(in, v, TURN_KEYS, &p));
    return read_text(in, json_object_get(v, "content"), &content, out);
}

static pgr_status read_record(const reader *in, json_t *top) {
    pgr_request *r = in->r;
    PGR_TRY(want_columns(in, top));
    PGR_TRY(read_optional_string(in, top, "user_id", &TOP, &r->user_id));
    PGR_TRY(read_optional_string(in, top, "conversation_id", &TOP, &r->id));
    path context = at_key(&TOP, "context");
    PGR_TRY(read_turns(in, json_object_get(top, "context"), &context, &r->messages, &r->n_message));

    const char **responses = arena_array(&r->arena, 2, sizeof *responses);
    if (!responses) return fail_mem(in->err);
    PGR_TRY(read_record_side(in, top, "chosen", &responses[0]));
    PGR_TRY(read_record_side(in, top, "rejected", &responses[1]));
    r->responses = responses;
    r->n_response = 2;
    r->chosen = 0;
    return PGR_OK;
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
    if (len >= 3 && memcmp(json, "\xEF\xBB\xBF", 3) == 0) { /* byte order mark */
        json += 3;
        len -= 3;
    }
    char *file = mem_strdup(origin);
    if (!file) return fail_mem(err);
    size_t line = split_origin(file);
    pgr_status status = json_parse(json, len, file, line, out, err);
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

pgr_status pgr_request_parse(const char *json, size_t len, const char *origin, pgr_request **out, pgr_error *err) {
    if (!json || !out)
        return fail(err, PGR_E_ARG, "pgr_request_parse: found NULL, expected text and a place for the request");
    if (!origin) origin = "request";
    json_t *top = NULL;
    PGR_TRY(parse_json(json, len, origin, &top, err));

    pgr_request *r = create_request(origin);
    reader in = {.r = r, .file = origin, .err = err};
    pgr_status status = r ? json_want_object(top, place(&in, &TOP), err) : fail_mem(err);
    if (status == PGR_OK) status = is_record(top) ? read_record(&in, top) : read_own(&in, top);
    json_decref(top);
    if (status != PGR_OK) {
        pgr_request_free(r);
        return status;
    }
    *out = r;
    return PGR_OK;
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
