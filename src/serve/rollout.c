/* rollout.c - prompt and answer in one text, as trainers send them, apart: for the server's routes, and for programs
 * that judge in their own process (pgr_rollout_read). */
#include <string.h>

#include "pgenrm_serve.h"
#include "serve/turns.h"

static pgr_status split(const char *prompt, const char *query, size_t n, json_t *turns, const char **answer,
                        size_t *n_answer, pgr_error *err) {
    if (!prompt || !*prompt) {
        turns_strip(&query, &n); /* of the last answer's end, so that it stays open */
        return turns_read(query, n, turns, answer, n_answer, err);
    }
    size_t begin = 0;
    PGR_TRY(turns_read(prompt, strlen(prompt), turns, answer, n_answer, err));
    PGR_TRY(turns_behind(prompt, strlen(prompt), query, n, &begin, err));
    *answer = query + begin;
    *n_answer = n - begin;
    turns_strip(answer, n_answer);
    return PGR_OK;
}

pgr_status turns_split(const char *prompt, const char *query, size_t n_query, json_t **turns, const char **answer,
                       size_t *n_answer, pgr_error *err) {
    json_t *list = json_array();
    if (!list) return fail_mem(err);
    pgr_status s = split(prompt, query, n_query, list, answer, n_answer, err);
    if (s == PGR_OK)
        *turns = list;
    else
        json_decref(list);
    return s;
}

pgr_status pgr_rollout_read(const char *prompt, const char *query, char **json, pgr_error *err) {
    if (!query || !json)
        return fail(err, PGR_E_ARG, "pgr_rollout_read: found NULL, expected a query and a place for it");
    json_t *turns = NULL;
    const char *answer;
    size_t n_answer;
    json_setup();
    PGR_TRY(turns_split(prompt, query, strlen(query), &turns, &answer, &n_answer, err));
    buf out = {0};
    buf_puts(&out, "{\"messages\":");
    json_put(&out, turns, JSON_COMPACT);
    buf_puts(&out, ",\"response\":");
    json_put_string(&out, answer, n_answer);
    buf_putc(&out, '}');
    json_decref(turns);
    char *text = buf_take(&out);
    if (!text) return fail_mem(err);
    *json = text;
    return PGR_OK;
}
