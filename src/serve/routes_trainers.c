/* routes_trainers.c - rewards in the forms that trainers speak: OpenRLHF, slime and LLaMA-Factory at /get_reward, told
 * apart by their keys, and Personalized-RewardBench at /score. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "serve/samples.h"
#include "serve/turns.h"

/* ---- OpenRLHF: {"query", "prompts", "labels"} -> {"rewards", "scores", "extra_logs"} ---- */

static json_t *rewards_of(const asking *a) {
    json_t *list = json_array();
    for (size_t i = 0; i < a->n; i++) json_add(&list, json_real(a->list[i].reward.value));
    return list;
}

static json_t *logs_of(const asking *a) {
    json_t *score = json_array(), *chains = json_array(), *parsed = json_array(), *group = json_array();
    for (size_t i = 0; i < a->n; i++) {
        const reward *r = &a->list[i].reward;
        json_add(&score, json_real(r->score));
        json_add(&chains, json_integer((json_int_t)r->chains));
        json_add(&parsed, json_real(r->requested ? (double)r->chains / (double)r->requested : 0));
        json_add(&group, json_integer(a->list[i].way == REWARD_GROUP));
    }
    return json_pack("{s:o,s:o,s:o,s:o}", "judge_score", score, "chains", chains, "parse_ok", parsed, "in_group",
                     group);
}

static void answer_openrlhf(asking *a) {
    if (samples_failed(a)) return;
    json_t *rewards = rewards_of(a);
    call_reply_json(a->task.call, 200,
                    json_pack("{s:O,s:o,s:o}", "rewards", rewards, "scores", rewards, "extra_logs", logs_of(a)));
}

/* The response is the query without the prompt; a query without one is a whole conversation. */
static bool ask_openrlhf(call *c, const char *field, const json_t *query, const json_t *prompt, const json_t *label,
                         question *q) {
    const char *text = json_string_value(query), *answer;
    size_t n_answer;
    json_t *turns = NULL;
    pgr_error err = {0};
    if (!text) {
        call_refuse(c, field, "%s: found %s, expected text", field, json_kind(query));
        return false;
    }
    const char *before = json_string_value(prompt);
    if (turns_split(before, text, json_string_length(query), &turns, &answer, &n_answer, &err) != PGR_OK) {
        call_fail_error(c, &err);
        return false;
    }
    bool asked = sample_ask(c, &(sample){turns, answer, n_answer, label, field}, q);
    json_decref(turns);
    return asked;
}

static bool wants_list(call *c, const json_t *body, const char *key, size_t n) {
    const json_t *v = json_object_get(body, key);
    if (!v || json_is_null(v) || (json_is_array(v) && (json_array_size(v) == n || json_array_size(v) == 0)))
        return true;
    call_refuse(c, key, "%s: expected a list as long as query, %zu", key, n);
    return false;
}

static void openrlhf(call *c) {
    const json_t *body = call_json(c), *queries = body ? json_object_get(body, "query") : NULL;
    if (!body) return;
    size_t n = json_array_size(queries);
    if (!json_is_array(queries) || n > SAMPLES_MOST) {
        call_refuse(c, "query", "query: expected a list of at most %d texts", SAMPLES_MOST);
        return;
    }
    if (!wants_list(c, body, "prompts", n) || !wants_list(c, body, "labels", n)) return;
    if (n == 0) { /* one of several servers, and there were fewer samples */
        call_reply_json(c, 200, json_pack("{s:[],s:[],s:{}}", "rewards", "scores", "extra_logs"));
        return;
    }
    asking *a = asking_create(c, n, answer_openrlhf);
    if (!a) return;
    for (size_t i = 0; i < n; i++)
        if (!ask_openrlhf(c, "query", json_array_get(queries, i), json_array_get(json_object_get(body, "prompts"), i),
                          json_array_get(json_object_get(body, "labels"), i), &a->list[i])) {
            asking_drop(a);
            return;
        }
    call_submit(c, &a->task);
}

/* ---- slime: {"prompt", "response", "label"} -> a number ---- */

static void answer_number(asking *a) {
    if (samples_failed(a)) return;
    buf out = {0};
    json_put_number(&out, a->list[0].reward.value);
    call_reply(a->task.call, 200, &out);
}

/* Of a prompt beside a response. NULL: it has been answered. */
static json_t *read_turns(call *c, const json_t *body, const char *key, const json_t *response, const char *of) {
    json_t *turns = NULL;
    pgr_error err;
    pgr_status s = sample_turns(json_object_get(body, key), &turns, &err);
    if (s == PGR_OK && json_is_string(response)) return turns;
    if (s == PGR_OK)
        call_refuse(c, of, "%s: found %s, expected text", of, json_kind(response));
    else if (s == PGR_E_FORMAT)
        call_refuse(c, key, "%s: %s", key, err.message);
    else
        call_fail_error(c, &err);
    json_decref(turns);
    return NULL;
}

static void slime(call *c) {
    const json_t *body = call_json(c);
    if (!body) return;
    const json_t *response = json_object_get(body, "response");
    json_t *turns = read_turns(c, body, "prompt", response, "response");
    if (!turns) return;
    const char *text = json_string_value(response);
    size_t n = json_string_length(response);
    turns_strip(&text, &n);
    asking *a = asking_create(c, 1, answer_number);
    if (a && sample_ask(c, &(sample){turns, text, n, json_object_get(body, "label"), "response"}, a->list))
        call_submit(c, &a->task);
    else
        asking_drop(a);
    json_decref(turns);
}

/* ---- LLaMA-Factory: {"model", "messages": [texts]} -> {"scores"} ---- */

static void answer_scores(asking *a) {
    if (!samples_failed(a)) call_reply_json(a->task.call, 200, json_pack("{s:o}", "scores", rewards_of(a)));
}

/* Its samples have no labels: whose they are, and what an empty one is worth, is in the address,
 * /get_reward?user=ID&empty=0. NULL: it has been answered. */
static json_t *label_of_address(call *c) {
    char *user = NULL, *end = NULL;
    const char *empty = call_query(c, "empty");
    double worth = empty ? strtod(empty, &end) : 0;
    if (empty && (end == empty || *end || !(worth >= 0 && worth <= 1))) {
        call_refuse(c, "empty", "empty: expected a reward, 0 to 1");
        return NULL;
    }
    if (!call_query_text(c, "user", &user)) return NULL;
    json_t *label = json_object();
    if (user) json_give(&label, "user", json_string(user));
    if (empty) json_give(&label, "empty", json_real(worth));
    mem_free(user);
    if (!label) call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
    return label;
}

static void llama_factory(call *c) {
    const json_t *body = call_json(c), *texts = body ? json_object_get(body, "messages") : NULL;
    if (!body) return;
    size_t n = json_array_size(texts);
    if (!json_is_array(texts) || n > SAMPLES_MOST) {
        call_refuse(c, "messages", "messages: expected a list of at most %d texts", SAMPLES_MOST);
        return;
    }
    if (n == 0) {
        call_reply_json(c, 200, json_pack("{s:[]}", "scores"));
        return;
    }
    json_t *label = label_of_address(c);
    if (!label) return;
    asking *a = asking_create(c, n, answer_scores);
    bool asked = a != NULL;
    for (size_t i = 0; asked && i < n; i++)
        asked = ask_openrlhf(c, "messages", json_array_get(texts, i), NULL, label, &a->list[i]);
    json_decref(label);
    if (asked)
        call_submit(c, &a->task);
    else
        asking_drop(a);
}

/* ---- Personalized-RewardBench: {"response_text", "query", "profile"} -> {"score"} ---- */

static void answer_score(asking *a) {
    if (!samples_failed(a)) call_reply_json(a->task.call, 200, json_pack("{s:f}", "score", a->list[0].reward.value));
}

/* Texts of a profile: a text, or a list of texts or of objects with a "text". */
static void put_profile(buf *out, const json_t *v) {
    const json_t *text = json_is_object(v) ? json_object_get(v, "text") : v;
    if (json_is_string(text)) {
        buf_puts(out, json_string_value(text));
        buf_putc(out, '\n');
    }
    for (size_t i = 0; i < json_array_size(v); i++) put_profile(out, json_array_get(v, i));
}

static bool is_history(const json_t *profile) {
    return json_is_object(json_array_get(profile, 0)) && json_object_get(json_array_get(profile, 0), "chosen");
}

/* A profile of pairs is a history; one of texts is what is known of the user, whose response is compared with none. */
static json_t *profile_label(const json_t *profile) {
    if (is_history(profile)) return json_pack("{s:{s:O}}", "user", "history", profile);
    buf text = {0};
    put_profile(&text, profile);
    json_t *label =
        text.failed ? NULL
                    : json_pack("{s:{s:s},s:s}", "user", "demographics", text.n ? text.data : "", "anchor", NO_ANSWER);
    buf_free(&text);
    return label;
}

static void personalized(call *c) {
    const json_t *body = call_json(c);
    if (!body) return;
    const json_t *response = json_object_get(body, "response_text");
    json_t *turns = read_turns(c, body, "query", response, "response_text");
    if (!turns) return;
    json_t *label = profile_label(json_object_get(body, "profile"));
    if (!label) call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
    asking *a = label ? asking_create(c, 1, answer_score) : NULL;
    const sample own = {turns, json_string_value(response), json_string_length(response), label, "response_text"};
    if (a && sample_ask(c, &own, a->list))
        call_submit(c, &a->task);
    else
        asking_drop(a);
    json_decref(turns);
    json_decref(label);
}

static const route ROUTES[] = {
    {"POST", "/get_reward", openrlhf, .key = "query", .flags = ROUTE_JUDGES | ROUTE_HELD},
    {"POST", "/get_reward", slime, .key = "response", .flags = ROUTE_JUDGES | ROUTE_HELD},
    {"POST", "/get_reward", llama_factory, .key = "messages", .flags = ROUTE_JUDGES | ROUTE_HELD},
    {"POST", "/score", personalized, .key = "response_text", .flags = ROUTE_JUDGES | ROUTE_HELD},
};

pgr_status routes_trainers_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
