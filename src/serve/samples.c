/* samples.c - see samples.h. */
#include "serve/samples.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "serve/groups.h"
#include "serve/turns.h"
#include "user/fields.h"

static const char *const KEYS[] = {"user",   "user_id", "history",    "criteria",  "demographics",
                                   "anchor", "group",   "group_size", "collect_s", "deadline_s",
                                   "ind",    "pro",     "seed",       "empty",     NULL};

/* ---- labels ------------------------------------------------------------------------------------------------------ */

/* *out: an object of the caller's. */
static pgr_status read_label(const json_t *label, json_t **out, pgr_error *err) {
    const char *text = json_string_value(label);
    if (json_is_object(label)) {
        *out = json_twin(label);
    } else if (!label || json_is_null(label) || (text && field_is_blank(text))) {
        *out = json_object();
    } else if (text && text[strspn(text, " \t\r\n")] == '{') {
        PGR_TRY(json_parse(text, strlen(text), "label", 1, out, err));
    } else if (text) {
        *out = json_pack("{s:s}", "anchor", text);
    } else {
        return fail(err, PGR_E_FORMAT, "label: found %s, expected an object or text", json_kind(label));
    }
    return *out ? PGR_OK : fail_mem(err);
}

pgr_status sample_user(const json_t *label, json_t **out, pgr_error *err) {
    static const char *const PARTS[] = {"history", "criteria", "demographics"};
    json_t *user = json_object_get(label, "user"), *own;
    if (!user || json_is_null(user)) user = json_object_get(label, "user_id");
    if (json_is_object(user))
        own = json_twin(user);
    else if (json_is_string(user) || json_is_integer(user))
        own = json_pack("{s:O}", "id", user);
    else if (!user || json_is_null(user))
        own = json_object();
    else
        return fail(err, PGR_E_FORMAT, "user: found %s, expected an id or an object", json_kind(user));
    for (size_t i = 0; i < 3; i++) json_share(&own, PARTS[i], json_object_get(label, PARTS[i]));
    *out = own;
    return own ? PGR_OK : fail_mem(err);
}

static double seconds_of(const json_t *label, const char *key, pgr_error *err) {
    const json_t *v = json_object_get(label, key);
    double s = json_number_value(v);
    if (!v || json_is_null(v)) return 0;
    if (json_is_number(v) && s > 0 && s <= 86400) return s;
    fail(err, PGR_E_FORMAT, "label: %s: expected seconds above 0, at most 86400", key);
    return -1;
}

pgr_status sample_worth(const json_t *label, double unset, double *out, pgr_error *err) {
    const json_t *v = json_object_get(label, "empty");
    bool given = v && !json_is_null(v);
    *out = given ? json_number_value(v) : unset;
    if (given && (!json_is_number(v) || !(*out >= 0 && *out <= 1)))
        return fail(err, PGR_E_FORMAT, "label: empty: expected a reward, 0 to 1");
    return PGR_OK;
}

static pgr_status read_empty(const json_t *label, question *q, pgr_error *err) {
    double worth;
    PGR_TRY(sample_worth(label, NAN, &worth, err));
    q->given = !isnan(worth);
    if (q->given) q->reward.value = worth;
    return PGR_OK;
}

static pgr_status read_group(const json_t *label, question *q, pgr_error *err) {
    const json_t *name = json_object_get(label, "group"), *size = json_object_get(label, "group_size");
    char number[32];
    if (!name || json_is_null(name)) return PGR_OK;
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(name));
    const char *text = json_is_integer(name) ? number : json_string_value(name);
    if (!text || !*text) return fail(err, PGR_E_FORMAT, "label: group: found %s, expected a name", json_kind(name));
    if (!json_is_integer(size) || json_integer_value(size) < 2 || json_integer_value(size) > GROUP_MOST)
        return fail(err, PGR_E_FORMAT, "label: group_size: found %s, expected how many are judged together, 2 to %d",
                    json_kind(size), GROUP_MOST);
    q->group = mem_strdup(text);
    q->group_size = (size_t)json_integer_value(size);
    return q->group ? PGR_OK : fail_mem(err);
}

/* What it is compared with: an anchor before the history; a group goes before both. */
static pgr_status choose_way(const json_t *label, const json_t *user, question *q, pgr_error *err) {
    const json_t *anchor = json_object_get(label, "anchor");
    if (anchor && !json_is_null(anchor) && !json_is_string(anchor))
        return fail(err, PGR_E_FORMAT, "label: anchor: found %s, expected a text", json_kind(anchor));
    if (json_is_string(anchor))
        q->way = REWARD_ANCHOR;
    else if (json_object_get(user, "id") || json_array_size(json_object_get(user, "history")) > 0)
        q->way = REWARD_HISTORY;
    else if (!q->group)
        return fail(err, PGR_E_ARG,
                    "label: found one response and nothing to compare it with, expected an anchor, a group, or a user "
                    "with a history");
    return PGR_OK;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

bool sample_is_blank(const char *text, size_t n) {
    bool blank = true;
    for (size_t i = 0; i < n && blank; i++) blank = strchr(" \t\r\n", text[i]) != NULL;
    return blank;
}

static bool is_blank(const sample *s) {
    return sample_is_blank(s->response, s->n_response);
}

static json_t *request_of(const sample *s, const json_t *label, json_t *user) {
    static const char *const NUMBERS[] = {"ind", "pro", "seed"};
    json_t *own = is_blank(s) ? json_string(NO_ANSWER) : json_stringn(s->response, s->n_response);
    json_t *anchor = json_object_get(label, "anchor");
    json_t *top = json_pack("{s:O,s:O,s:[O,O]}", "user", user, "messages", s->messages, "responses", own,
                            json_is_string(anchor) ? anchor : own);
    for (size_t i = 0; i < 3; i++) json_share(&top, NUMBERS[i], json_object_get(label, NUMBERS[i]));
    json_decref(own);
    return top;
}

static pgr_status fill(call *c, const sample *s, const json_t *label, json_t *user, question *q, pgr_error *err) {
    json_t *top = NULL;
    PGR_TRY(json_only_keys(label, KEYS, (json_at){"label", ""}, err));
    if (json_array_size(s->messages) == 0)
        return fail(err, PGR_E_FORMAT, "prompt: found no turn, expected what the user asked");
    if (is_blank(s)) PGR_TRY(read_empty(label, q, err));
    PGR_TRY(read_group(label, q, err));
    PGR_TRY(choose_way(label, user, q, err));
    double deadline = seconds_of(label, "deadline_s", err);
    q->collect_s = deadline < 0 ? -1 : seconds_of(label, "collect_s", err);
    if (q->collect_s < 0) return err->status;
    if (deadline > 0) q->deadline = call_start(c) + deadline;
    top = request_of(s, label, user);
    pgr_status status = question_read(q, top, "sample", err);
    json_decref(top);
    return status;
}

bool sample_ask(call *c, const sample *s, question *q) {
    json_t *label = NULL, *user = NULL;
    pgr_error err = {0};
    pgr_status status = read_label(s->label, &label, &err);
    if (status == PGR_OK) status = sample_user(label, &user, &err);
    if (status == PGR_OK) status = fill(c, s, label, user, q, &err);
    json_decref(user);
    json_decref(label);
    if (status != PGR_OK) {
        call_fail_error(c, &err);
        return false;
    }
    if (is_blank(s) && !q->given) {
        call_fail(c, 400, "invalid_request_error", s->field, "empty_response",
                  "%s: found an empty response, expected a text to judge, or in the label `empty`: the reward, 0 to 1, "
                  "of a response that is empty",
                  s->field);
        return false;
    }
    return question_may(q, c);
}

pgr_status sample_turns(const json_t *prompt, json_t **out, pgr_error *err) {
    const char *text = json_string_value(prompt), *answer;
    size_t n_answer;
    if (!json_is_array(prompt) && !text)
        return fail(err, PGR_E_FORMAT, "found %s, expected text or messages", json_kind(prompt));
    json_t *turns = text ? json_array() : json_incref((json_t *)(uintptr_t)prompt);
    if (!turns) return fail_mem(err);
    pgr_status s = text ? turns_read(text, strlen(text), turns, &answer, &n_answer, err) : PGR_OK;
    if (s == PGR_OK)
        *out = turns;
    else
        json_decref(turns);
    return s;
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

bool samples_failed(asking *a) {
    size_t which;
    const pgr_error *err = asking_error(a, &which);
    if (!err) return false;
    if (a->list[which].unscored && err->status != PGR_E_DEADLINE) {
        call_fail(a->task.call, 503, "server_error", NULL, "judge_failed", "sample %zu: %s", which, err->message);
        return true;
    }
    pgr_error named;
    fail(&named, err->status, "sample %zu: %s", which, err->message);
    call_fail_error(a->task.call, &named);
    return true;
}
