/* routes_gym.c - NeMo Gym's resources server: /seed_session, /verify, /compare, /aggregate_metrics. Its responses are
 * OpenAI Responses objects. A judge that failed is 503 with _ng_failure_class, which its callers mask and try again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "serve/groups.h"
#include "serve/samples.h"

static void seed_session(call *c) {
    if (call_json(c)) call_reply_json(c, 200, json_object());
}

/* A list of at most `most` objects. False: it has been answered. */
static bool wants_objects(call *c, const json_t *body, const char *key, size_t most) {
    const json_t *list = json_object_get(body, key);
    size_t i = 0, n = json_array_size(list);
    while (i < n && json_is_object(json_array_get(list, i))) i++;
    if (json_is_array(list) && n <= most && i == n) return true;
    if (json_is_array(list) && n > most)
        call_refuse(c, key, "%s: found %zu, expected at most %zu objects", key, n, most);
    else if (json_is_array(list))
        call_refuse(c, key, "%s[%zu]: found %s, expected an object", key, i, json_kind(json_array_get(list, i)));
    else
        call_refuse(c, key, "%s: found %s, expected a list of objects", key, json_kind(list));
    return false;
}

/* A Responses object has an `output`, which may be empty. False: it has been answered. */
static bool wants_response(call *c, const json_t *v, const char *field) {
    char key[60];
    snprintf(key, sizeof key, "%s.output", field);
    const json_t *output = json_object_get(v, "output");
    if (json_is_array(output)) return true;
    if (!json_is_object(v))
        call_refuse(c, field, "%s: found %s, expected a Responses object", field, json_kind(v));
    else
        call_refuse(c, key, "%s: found %s, expected a list", key, json_kind(output));
    return false;
}

/* ---- Responses objects ------------------------------------------------------------------------------------------- */

/* Texts of content: a string, or a list of parts with a "text". */
static void put_content(buf *out, const json_t *content) {
    if (json_is_string(content)) buf_puts(out, json_string_value(content));
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        if (json_is_string(text)) buf_puts(out, json_string_value(text));
    }
}

static bool is_kind(const json_t *item, const char *type) {
    const char *kind = json_string_value(json_object_get(item, "type"));
    return !kind || strcmp(kind, type) == 0;
}

/* What the answer says: its messages' texts, without reasoning and calls of tools. */
static void put_response(buf *out, const json_t *response) {
    const json_t *output = json_object_get(response, "output");
    for (size_t i = 0; i < json_array_size(output); i++) {
        const json_t *item = json_array_get(output, i);
        if (is_kind(item, "message")) put_content(out, json_object_get(item, "content"));
    }
    buf_puts(out, "");
}

/* Turns of an input: a text, or a list of messages whose content may be in parts. Turns without text are left out.
 * NULL: out of memory. */
static json_t *turns_of(const json_t *input) {
    json_t *turns = json_array();
    if (json_is_string(input)) json_add(&turns, json_pack("{s:s,s:O}", "role", "user", "content", input));
    for (size_t i = 0; i < json_array_size(input); i++) {
        const json_t *item = json_array_get(input, i);
        const char *role = json_string_value(json_object_get(item, "role"));
        buf text = {0};
        if (is_kind(item, "message") && role) put_content(&text, json_object_get(item, "content"));
        const char *name = role && strcmp(role, "developer") == 0 ? "system" : role;
        if (text.failed)
            json_add(&turns, NULL);
        else if (text.n)
            json_add(&turns, json_pack("{s:s,s:s%}", "role", name, "content", text.data, text.n));
        buf_free(&text);
    }
    return turns;
}

/* ---- /verify ----------------------------------------------------------------------------------------------------- */

static void answer_verify(asking *a) {
    size_t which;
    const pgr_error *err = asking_error(a, &which);
    if (!err) {
        json_t *out = json_twin(a->kept);
        json_give(&out, "reward", json_real(a->list[0].reward.value));
        call_reply_json(a->task.call, 200, out);
        return;
    }
    if (!a->list[0].unscored && err->status != PGR_E_DEADLINE) {
        call_fail_error(a->task.call, err);
        return;
    }
    call_reply_json(a->task.call, 503,
                    json_pack("{s:s,s:s,s:b,s:{s:s,s:s,s:n,s:s}}", "_ng_failure_class", "judge_failed", "detail",
                              err->message, "mask_sample", 1, "error", "message", err->message, "type", "server_error",
                              "param", "code", "judge_failed"));
}

/* Without memory *label becomes NULL. */
static void take_key(json_t **label, const char *key, const json_t *body, const char *from) {
    json_t *v = json_object_get(body, from);
    if (!json_is_null(v) && !json_object_get(*label, key)) json_share(label, key, v);
}

/* A label's keys beside those of the protocol; a principle is what the user's criteria are. The task names the group
 * where the body says how many there are. */
static json_t *label_of(const json_t *body) {
    static const char *const SAME[] = {"user", "user_id", "history",   "criteria",   "demographics", "anchor", "ind",
                                       "pro",  "seed",    "collect_s", "deadline_s", "empty",        NULL};
    static const char *const GROUPS[] = {"group", "group_id", "_ng_group_id", "prompt_id", "_ng_task_index", NULL};
    json_t *label = json_object();
    for (size_t i = 0; SAME[i]; i++) take_key(&label, SAME[i], body, SAME[i]);
    take_key(&label, "criteria", body, "principle");
    if (!json_object_get(body, "group_size") || json_is_null(json_object_get(body, "group_size"))) return label;
    take_key(&label, "group_size", body, "group_size");
    for (size_t i = 0; GROUPS[i]; i++) take_key(&label, "group", body, GROUPS[i]);
    return label;
}

static void verify(call *c) {
    const json_t *body = call_json(c);
    if (!body) return;
    const json_t *response = json_object_get(body, "response");
    if (!wants_response(c, response, "response")) return;
    buf text = {0};
    put_response(&text, response);
    json_t *turns = turns_of(json_object_get(json_object_get(body, "responses_create_params"), "input"));
    json_t *label = label_of(body);
    asking *a = asking_create(c, 1, answer_verify);
    if (a) a->kept = json_incref((json_t *)(uintptr_t)body);
    bool whole = turns && label && !text.failed, asked = false;
    if (a && !whole) call_fail_error(c, &(pgr_error){PGR_E_MEM, ""});
    if (a && whole)
        asked = sample_ask(c, &(sample){turns, text.n ? text.data : "", text.n, label, "response"}, a->list);
    if (asked)
        call_submit(c, &a->task);
    else
        asking_drop(a);
    json_decref(turns);
    json_decref(label);
    buf_free(&text);
}

/* ---- /compare ---------------------------------------------------------------------------------------------------- */

/* 1: the first is much better, 6: the second is; by the difference of their scores, which is at most 9. */
static double ranking_of(double first, double second) {
    double r = 3.5 - 2.5 * (first - second) / 9;
    return r < 1 ? 1 : r > 6 ? 6 : r;
}

/* What becomes of the body's responses (places): one that is judged has its number among the result's, one that is
 * empty its reward. */
static bool is_judged(const json_t *places, size_t i) {
    return json_is_integer(json_array_get(places, i));
}

static size_t place_of(const json_t *places, size_t i) {
    return (size_t)json_integer_value(json_array_get(places, i));
}

static json_t *pairs_of(const pgr_result *r, const json_t *places) {
    json_t *list = json_array();
    size_t n = json_array_size(places);
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++) {
            if (!is_judged(places, i) || !is_judged(places, k)) continue;
            double a = r->responses[place_of(places, i)].score, b = r->responses[place_of(places, k)].score;
            json_add(&list,
                     json_pack("{s:I,s:I,s:i,s:f,s:f,s:f}", "response_i", (json_int_t)i, "response_j", (json_int_t)k,
                               "judge_idx", 0, "score_1", a, "score_2", b, "ranking", ranking_of(a, b)));
        }
    return list;
}

static void answer_compare(asking *a) {
    call *c = a->task.call;
    question *q = a->list;
    if (!q->result) {
        call_fail_error(c, &q->error);
        return;
    }
    const pgr_result *r = q->result;
    call_note_tokens(c, r->prompt_tokens, r->completion_tokens);
    json_t *rewards = json_array();
    for (size_t i = 0; i < json_array_size(a->kept); i++) {
        reward own = {.value = json_real_value(json_array_get(a->kept, i))};
        pgr_error err;
        if (is_judged(a->kept, i) && reward_read(REWARD_GROUP, r, place_of(a->kept, i), &own, &err) != PGR_OK) {
            json_decref(rewards);
            call_fail(c, err.status == PGR_E_DEADLINE ? 504 : 503, "server_error", NULL, "judge_failed", "%s",
                      err.message);
            return;
        }
        json_add(&rewards, json_real(own.value));
    }
    json_t *metrics = json_pack("{s:f,s:f}", "chains", (double)r->requested, "parsed", (double)r->parsed);
    call_reply_json(
        c, 200,
        json_pack("{s:o,s:o,s:o}", "rewards", rewards, "comparison_results", pairs_of(r, a->kept), "metrics", metrics));
}

/* The texts that are judged: an empty response is none of them, and the only other one is held against NO_ANSWER. Where
 * all are empty, any two stand for them: what else the body has is looked at. *texts, *places: the caller's; NULL: out
 * of memory. */
static void take_texts(const json_t *objects, double worth, json_t **texts, json_t **places) {
    *texts = json_array();
    *places = json_array();
    for (size_t i = 0; i < json_array_size(objects); i++) {
        buf text = {0};
        put_response(&text, json_array_get(objects, i));
        bool judged = !text.failed && !sample_is_blank(text.data, text.n);
        json_t *place = judged ? json_integer((json_int_t)json_array_size(*texts)) : json_real(worth);
        json_add(places, text.failed ? NULL : place);
        if (text.failed) json_decref(place);
        if (judged) json_add(texts, json_string(text.data));
        buf_free(&text);
    }
    if (*texts && json_array_size(*texts) == 0) json_add(texts, json_string("any"));
    if (*texts && json_array_size(*texts) == 1) json_add(texts, json_string(NO_ANSWER));
}

/* *out: a request of the body's, *places: what becomes of its responses; the caller's. */
static pgr_status compared(const json_t *body, json_t **out, json_t **places, pgr_error *err) {
    static const char *const NUMBERS[] = {"ind", "pro", "seed"};
    const json_t *objects = json_object_get(body, "response_objs");
    json_t *texts = NULL, *turns = NULL, *label = label_of(body), *who = NULL;
    double worth = 0; /* its client says no more than the responses, and all of them need a reward */
    pgr_status s = label ? sample_user(label, &who, err) : fail_mem(err);
    if (s == PGR_OK) s = sample_worth(label, worth, &worth, err);
    json_decref(label);
    if (s == PGR_OK) {
        take_texts(objects, worth, &texts, places);
        turns = json_array_size(objects) ? turns_of(json_object_get(body, "conversation_history"))
                                         : json_pack("[{s:s,s:s}]", "role", "user", "content", "?");
        *out = json_pack("{s:O,s:O,s:O}", "user", who, "messages", turns, "responses", texts);
        for (size_t i = 0; *out && i < 3; i++) take_key(out, NUMBERS[i], body, NUMBERS[i]);
        if (!*out || !*places) s = fail_mem(err);
    }
    json_decref(turns);
    json_decref(who);
    json_decref(texts);
    return s;
}

static void compare(call *c) {
    const json_t *body = call_json(c);
    pgr_error err;
    if (!body || !wants_objects(c, body, "conversation_history", SIZE_MAX)
        || !wants_objects(c, body, "response_objs", GROUP_MOST))
        return;
    size_t n = json_array_size(json_object_get(body, "response_objs"));
    for (size_t i = 0; i < n; i++) {
        char field[40];
        snprintf(field, sizeof field, "response_objs[%zu]", i);
        if (!wants_response(c, json_array_get(json_object_get(body, "response_objs"), i), field)) return;
    }
    if (n > 0 && json_array_size(json_object_get(body, "conversation_history")) == 0) {
        call_refuse(c, "conversation_history", "conversation_history: found no turn, expected what the user asked");
        return;
    }
    if (n == 1) {
        call_refuse(c, "response_objs", "response_objs: found 1, expected at least 2 to compare");
        return;
    }
    asking *a = asking_create(c, 1, answer_compare);
    if (!a) return;
    json_t *top = NULL;
    pgr_status s = compared(body, &top, &a->kept, &err);
    if (s == PGR_OK) s = question_read(a->list, top, "body", &err);
    json_decref(top);
    if (s != PGR_OK) call_fail_error(c, &err);
    bool may = s == PGR_OK && question_may(a->list, c);
    bool any = false;
    for (size_t i = 0; i < n; i++) any = any || is_judged(a->kept, i);
    if (may && any) {
        call_submit(c, &a->task);
        return;
    }
    if (may) call_reply_json(c, 200, json_pack("{s:O,s:[],s:{}}", "rewards", a->kept, "comparison_results", "metrics"));
    asking_drop(a);
}

/* ---- /aggregate_metrics ------------------------------------------------------------------------------------------ */

static const double REWARD_MOST = 1e150; /* either way: the squares of all of them have a sum */

typedef struct tally {
    size_t n;
    double mean, deviation, least, most, median;
} tally;

static json_t *tally_json(const tally *t) {
    if (t->n == 0) return json_object();
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:I}", "median/reward", t->median, "mean/reward", t->mean, "std/reward",
                     t->deviation, "min/reward", t->least, "max/reward", t->most, "count", (json_int_t)t->n);
}

/* Rewards that were masked do not count. */
static bool has_reward(const json_t *response) {
    return json_is_number(json_object_get(response, "reward"))
           && !json_is_true(json_object_get(response, "mask_sample"));
}

static int by_size(const void *a, const void *b) {
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* values: sorted here. */
static tally tally_values(double *values, size_t n) {
    double sum = 0, squares = 0;
    if (n == 0) return (tally){0};
    qsort(values, n, sizeof *values, by_size);
    for (size_t i = 0; i < n; i++) sum += values[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
    return (tally){.n = n,
                   .mean = mean,
                   .deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : 0,
                   .least = values[0],
                   .most = values[n - 1],
                   .median = (values[(n - 1) / 2] + values[n / 2]) / 2};
}

/* Of one task's responses, or (task NULL) of all, from the list's i-th on. values: room for all. */
static tally tally_of(const json_t *list, size_t i, const json_t *task, double *values) {
    size_t n = 0;
    for (; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        bool own = !task || json_equal(json_object_get(one, "_ng_task_index"), task);
        if (own && has_reward(one)) values[n++] = json_number_value(json_object_get(one, "reward"));
    }
    return tally_values(values, n);
}

/* One object per task, in the order in which tasks come. */
static json_t *by_task(const json_t *list, double *values) {
    json_t *tasks = json_array(), *seen = json_object();
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *task = json_object_get(json_array_get(list, i), "_ng_task_index");
        char name[32];
        snprintf(name, sizeof name, "%lld", (long long)json_integer_value(task));
        if (!json_is_integer(task) || json_object_get(seen, name)) continue;
        json_give(&seen, name, json_true());
        tally t = tally_of(list, i, task, values);
        json_t *of = tally_json(&t);
        json_share(&of, "_ng_task_index", task);
        json_add(&tasks, of);
    }
    if (!seen) json_add(&tasks, NULL); /* what was seen is not known any more */
    json_decref(seen);
    return tasks;
}

static bool wants_rewards(call *c, const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        double x = json_number_value(json_object_get(one, "reward"));
        if (!has_reward(one) || fabs(x) <= REWARD_MOST) continue;
        call_refuse(c, "verify_responses", "verify_responses[%zu]: found a reward of %g, expected %g to %g", i, x,
                    -REWARD_MOST, REWARD_MOST);
        return false;
    }
    return true;
}

static void aggregate_metrics(call *c) {
    const json_t *body = call_json(c), *list = body ? json_object_get(body, "verify_responses") : NULL;
    if (!body || !wants_objects(c, body, "verify_responses", SAMPLES_MOST) || !wants_rewards(c, list)) return;
    double *values = mem_array(json_array_size(list) + 1, sizeof *values);
    if (!values) {
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
        return;
    }
    tally all = tally_of(list, 0, NULL, values);
    json_t *key = all.n > 0 ? json_pack("{s:f}", "mean/reward", all.mean) : json_object();
    call_reply_json(c, 200,
                    json_pack("{s:o,s:o,s:o}", "group_level_metrics", by_task(list, values), "agent_metrics",
                              tally_json(&all), "key_metrics", key));
    mem_free(values);
}

static const route ROUTES[] = {
    {"POST", "/seed_session", seed_session, .flags = 0},
    {"POST", "/verify", verify, .flags = ROUTE_JUDGES | ROUTE_HELD},
    {"POST", "/compare", compare, .flags = ROUTE_JUDGES | ROUTE_HELD},
    {"POST", "/aggregate_metrics", aggregate_metrics, .flags = 0},
};

pgr_status routes_gym_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
