/* routes_personal.c - judging for a person, and what is known of people: /v1/personal/. A user who is not within the
 * token's scope is answered with 403 whether he exists or not. */
#include <string.h>

#include "serve/clerk.h"
#include "serve/judges.h"
#include "serve/score_stream.h"

/* ---- score ------------------------------------------------------------------------------------------------------- */

static void answer_score(asking *a) {
    question *q = a->list;
    call *c = a->task.call;
    if (!q->result) {
        call_fail_error(c, &q->error);
        return;
    }
    char *text = NULL;
    buf out = {0};
    pgr_error err;
    call_note_tokens(c, q->result->prompt_tokens, q->result->completion_tokens);
    if (pgr_result_json(q->result, &text, &err) != PGR_OK) {
        call_fail_error(c, &err);
        return;
    }
    score_put_result(c, text, &out);
    pgr_free(text);
    call_reply(c, 200, &out);
}

/* `chains` and `stream` are the server's, and so is `deadline_s` (call_json); "user": "u1" is {"id": "u1"}. */
static json_t *own_keys(const json_t *body) {
    json_t *top = json_twin(body);
    json_object_del(top, "chains");
    json_object_del(top, "stream");
    json_object_del(top, "deadline_s");
    const json_t *user = json_object_get(top, "user");
    if (json_is_string(user)) json_give(&top, "user", json_pack("{s:O}", "id", user));
    return top;
}

/* False: the call has been answered. */
static bool read_flag(call *c, const json_t *body, const char *key, bool *out) {
    const json_t *v = json_object_get(body, key);
    *out = json_is_true(v);
    if (!v || json_is_boolean(v) || json_is_null(v)) return true;
    call_refuse(c, key, "%s: found %s, expected true or false", key, json_kind(v));
    return false;
}

static bool read_score(call *c, const json_t *body, question *q) {
    bool chains, stream;
    pgr_error err;
    if (!read_flag(c, body, "chains", &chains) || !read_flag(c, body, "stream", &stream)) return false;
    json_t *top = own_keys(body);
    pgr_status s = question_read(q, top, "body", &err);
    json_decref(top);
    if (s != PGR_OK) {
        call_fail_error(c, &err);
        return false;
    }
    q->options.keep_chains = chains;
    if (stream) {
        q->news = score_stream_news;
        q->of->answer = score_stream_answer;
    }
    return question_may(q, c);
}

static void score(call *c) {
    const json_t *body = call_json(c);
    asking *a = body ? asking_create(c, 1, answer_score) : NULL;
    if (!a) return;
    if (read_score(c, body, a->list))
        call_submit(c, &a->task);
    else
        asking_drop(a);
}

/* ---- users ------------------------------------------------------------------------------------------------------- */

static clerk *clerk_of(const call *c) {
    return judges_clerk(call_server(c)->judges);
}

/* The id of {"user": "u1"} or {"user": {"id": "u1"}}. NULL: the call has been answered. */
static const char *named_user(call *c, const json_t *body) {
    const json_t *user = json_object_get(body, "user"), *id = json_is_object(user) ? json_object_get(user, "id") : user;
    const char *name = json_string_value(id);
    if (name && *name) return call_may(c, name) ? name : NULL;
    call_refuse(c, "user", "user: found %s, expected the id of one", json_kind(id));
    return NULL;
}

static void give_user(call *c, clerk_work work, const char *name, json_t *user) {
    buf text = {0};
    if (user)
        json_put(&text, user, JSON_COMPACT);
    else
        text.failed = true;
    json_decref(user);
    clerk_give(clerk_of(c), c, work, name, &text);
}

/* {"user", "query" | "context", "chosen", "rejected"}: one more pair of his history. Every body may have a
 * `deadline_s`. */
static void feedback(call *c) {
    static const char *const KEYS[] = {"user",   "query",    "context",    "messages",
                                       "chosen", "rejected", "deadline_s", NULL};
    static const char *const OF_PAIR[] = {"query", "context", "chosen", "rejected"};
    const json_t *body = call_json(c);
    const char *name;
    pgr_error err;
    if (!body) return;
    if (json_only_keys(body, KEYS, (json_at){"body", ""}, &err) != PGR_OK) {
        call_fail_error(c, &err);
        return;
    }
    if (!(name = named_user(c, body))) return;
    json_t *pair = json_object(), *given = json_object_get(body, "user");
    for (size_t i = 0; i < sizeof OF_PAIR / sizeof *OF_PAIR; i++)
        json_share(&pair, OF_PAIR[i], json_object_get(body, OF_PAIR[i]));
    json_share(&pair, "context", json_object_get(body, "messages"));
    json_t *user = json_is_object(given) ? json_twin(given) : json_pack("{s:s}", "id", name);
    json_give(&user, "history", json_pack("[o]", pair));
    give_user(c, CLERK_FEEDBACK, name, user);
}

/* "query", or what the last turn of "context" or "messages" says; NULL: there is none. */
static const json_t *asked(const json_t *body) {
    static const char *const KEYS[] = {"query", "context", "messages"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        const json_t *v = json_object_get(body, KEYS[i]);
        size_t n = json_array_size(v);
        if (json_is_string(v)) return v;
        if (n > 0) return json_object_get(json_array_get(v, n - 1), "content");
    }
    return NULL;
}

/* Adds a text, or the texts of a list of parts. False: it is neither. */
static bool put_content(buf *out, const json_t *v) {
    if (json_is_string(v)) buf_puts(out, json_string_value(v));
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *text = json_object_get(json_array_get(v, i), "text");
        if (!json_is_string(text)) return false;
        buf_puts(out, json_string_value(text));
    }
    return json_is_string(v) || json_is_array(v);
}

static bool take_text(json_t **pair, const char *key, const json_t *v, bool parts) {
    buf text = {0};
    bool is = (parts || json_is_string(v)) && put_content(&text, v);
    if (is) json_give(pair, key, text.failed ? NULL : json_stringn(text.n ? text.data : "", text.n));
    buf_free(&text);
    return is;
}

/* What a feedback has told. */
static void forget_pair(call *c) {
    const json_t *body = call_json(c);
    const char *name = body ? named_user(c, body) : NULL, *lacks = NULL;
    if (!name) return;
    json_t *pair = json_object();
    if (!take_text(&pair, "query", asked(body), true))
        lacks = "query";
    else if (!take_text(&pair, "chosen", json_object_get(body, "chosen"), false))
        lacks = "chosen";
    else if (!take_text(&pair, "rejected", json_object_get(body, "rejected"), false))
        lacks = "rejected";
    if (!lacks) {
        give_user(c, CLERK_FORGET_PAIR, name, pair);
        return;
    }
    call_refuse(c, lacks, "expected query (or context), chosen and rejected of a pair");
    json_decref(pair);
}

static void put_user(call *c) {
    const json_t *body = call_json(c);
    const char *name = call_rest(c);
    if (!body || !call_may(c, name)) return;
    const json_t *id = json_object_get(body, "id");
    if (id && !json_is_null(id) && (!json_is_string(id) || strcmp(json_string_value(id), name) != 0)) {
        call_refuse(c, "id", "id: found another one than the path has");
        return;
    }
    json_t *user = json_twin(body);
    json_object_del(user, "deadline_s");
    json_give(&user, "id", json_string(name));
    give_user(c, CLERK_PUT, name, user);
}

static void get_user(call *c) {
    if (call_may(c, call_rest(c))) clerk_give(clerk_of(c), c, CLERK_SHOW, call_rest(c), NULL);
}

static void delete_user(call *c) {
    if (call_may(c, call_rest(c))) clerk_give(clerk_of(c), c, CLERK_FORGET, call_rest(c), NULL);
}

static void list_users(call *c) {
    clerk_give(clerk_of(c), c, CLERK_USERS, call_grant(c)->scope, NULL);
}

/* It shows everybody. */
static void map(call *c) {
    if (*call_grant(c)->scope) {
        call_fail(c, 403, "permission_error", NULL, "scope", "the map shows all users, this token reaches some");
        return;
    }
    clerk_give(clerk_of(c), c, CLERK_MAP, "", NULL);
}

enum { MARKS_MOST = 1024 }; /* as many as a request may ask */

/* Everybody who is named is within the token's scope: else the call has been answered. */
static bool may_mark(call *c, const json_t *body) {
    static const char *const KEYS[] = {"user", "prototype", "neighbours", "deadline_s", NULL};
    const json_t *user = json_object_get(body, "user"), *prototype = json_object_get(body, "prototype"), *v;
    const json_t *near = json_object_get(body, "neighbours");
    size_t i;
    pgr_error err;
    if (json_only_keys(body, KEYS, (json_at){"body", ""}, &err) != PGR_OK) {
        call_fail_error(c, &err);
        return false;
    }
    if (user && !json_is_null(user) && !named_user(c, body)) return false;
    if (prototype && !json_is_null(prototype)
        && (!json_is_integer(prototype) || json_integer_value(prototype) < 0
            || json_integer_value(prototype) > INT32_MAX)) {
        call_refuse(c, "prototype", "prototype: expected the number of one, from 0 on");
        return false;
    }
    if (near && !json_is_null(near) && (!json_is_array(near) || json_array_size(near) > MARKS_MOST)) {
        call_refuse(c, "neighbours", "neighbours: found %s, expected at most %d ids", json_kind(near), MARKS_MOST);
        return false;
    }
    json_array_foreach(near, i, v) {
        const char *id = json_string_value(v);
        if (!id || !*id) call_refuse(c, "neighbours", "neighbours[%zu]: found %s, expected an id", i, json_kind(v));
        if (!id || !*id || !call_may(c, id)) return false;
    }
    return true;
}

/* Of one's own users, with some of them marked. */
static void map_of(call *c) {
    buf text = {0};
    const json_t *body = call_json(c);
    if (!body || !may_mark(c, body)) return;
    json_put(&text, body, JSON_COMPACT);
    clerk_give(clerk_of(c), c, CLERK_MAP, call_grant(c)->scope, &text);
}

static const route ROUTES[] = {
    {"POST", "/v1/personal/score", score, .flags = ROUTE_JUDGES},
    {"POST", "/v1/personal/feedback", feedback, .flags = 0},
    {"POST", "/v1/personal/forget_pair", forget_pair, .flags = 0},
    {"PUT", "/v1/personal/users/", put_user, .flags = 0},
    {"GET", "/v1/personal/users/", get_user, .flags = 0},
    {"DELETE", "/v1/personal/users/", delete_user, .flags = 0},
    {"GET", "/v1/personal/map", map, .flags = 0},
    {"POST", "/v1/personal/map", map_of, .flags = 0},
    {"GET", "/v1/personal/users", list_users, .flags = 0},
};

pgr_status routes_personal_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
