/* synth_texts.c - the responses that synthetic users choose between: read, measured,
 * their queries sorted into kinds. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/watch.h"
#include "bench/synth.h"
#include "user/stream.h"

static const char *const NAMES[SYNTH_KINDS] = {"code", "write", "advise", "explain"};
static const char *const CODE[] = {"code", "python", "java",    "javascript",  "function",  "sql",   "html",
                                   "css",  "latex",  "program", "programming", "excel",     "regex", "algorithm",
                                   "bash", "api",    "json",    "shell",       "implement", NULL};
static const char *const WRITE[] = {"write",  "story",   "poem",  "essay",      "email",   "letter", "song",
                                    "lyrics", "compose", "draft", "paraphrase", "rewrite", "tweet",  "slogan",
                                    "novel",  "blog",    "title", "dialogue",   "joke",    "role",   NULL};
static const char *const ADVISE[] = {"how",  "recipe", "suggest", "recommend", "advice", "tips",
                                     "plan", "list",   "should",  "ideas",     "steps",  "help",
                                     "ways", "make",   "best",    "guide",     NULL};
static const char *const *const WORDS[SYNTH_KINDS] = {CODE, WRITE, ADVISE, NULL}; /* the last takes the rest */

const char *synth_kind_name(int kind) {
    return NAMES[kind];
}

static bool listed(const char *const *words, const char *w, size_t n) {
    for (; words && *words; words++)
        if (strlen(*words) == n && memcmp(*words, w, n) == 0) return true;
    return false;
}

int synth_kind(const char *query, size_t n) {
    bool has[SYNTH_KINDS] = {[SYNTH_KINDS - 1] = true};
    char word[16];
    size_t len = 0;
    for (size_t i = 0; i <= n; i++) {
        char c = i < n ? query[i] : ' ';
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c & 0x80);
        if (letter) {
            if (len < sizeof word) word[len] = c;
            len++;
            continue;
        }
        for (int k = 0; k + 1 < SYNTH_KINDS; k++)
            has[k] = has[k] || (len <= sizeof word && listed(WORDS[k], word, len));
        len = 0;
    }
    int kind = 0;
    while (!has[kind]) kind++;
    return kind;
}

void synth_texts_free(synth_texts *t) {
    mem_free(t->prompts);
    mem_free(t->responses);
    arena_free(&t->arena);
    *t = (synth_texts){0};
}

static bool grow(void **v, size_t n, size_t *cap, size_t size) {
    if (n < *cap) return true;
    size_t want = *cap ? 2 * *cap : 256;
    void *p = want <= SIZE_MAX / size ? mem_resize(*v, want * size) : NULL;
    if (!p) return false;
    *v = p;
    *cap = want;
    return true;
}

static bool seen(const synth_texts *t, size_t first, const char *text) {
    for (size_t i = first; i < t->n_response; i++)
        if (strcmp(t->responses[i].text, text) == 0) return true;
    return false;
}

static pgr_status add_response(synth_texts *t, size_t first, const char *query, const char *text, pgr_error *err) {
    size_t n = strlen(text);
    if (seen(t, first, text)) return PGR_OK;
    void *v = t->responses;
    bool ok = grow(&v, t->n_response, &t->cap_response, sizeof *t->responses);
    t->responses = v;
    if (!ok) return fail_mem(err);
    synth_response r = {.text = arena_strndup(&t->arena, text, n)};
    if (!r.text) return fail_mem(err);
    facts_measure(text, n, query, strlen(query), &r.facts);
    t->responses[t->n_response++] = r;
    return PGR_OK;
}

static pgr_status add_prompt(synth_texts *t, const json_t *line, json_at at, size_t max_bytes, pgr_error *err) {
    static const char *const known[] = {"prompt", "source", "responses", NULL};
    const char *query, *text, *name;
    json_t *responses = json_object_get(line, "responses"), *v;
    PGR_TRY(json_want_object(line, at, err));
    PGR_TRY(json_only_keys(line, known, at, err));
    PGR_TRY(json_want_string(json_object_get(line, "prompt"), (json_at){at.origin, "prompt"}, &query, err));
    PGR_TRY(json_want_object(responses, (json_at){at.origin, "responses"}, err));
    if (strlen(query) > max_bytes) return PGR_OK;
    size_t first = t->n_response;
    json_object_foreach(responses, name, v) {
        PGR_TRY(json_want_string(v, (json_at){at.origin, name}, &text, err));
        size_t n = strlen(text);
        if (n > 0 && n <= max_bytes) PGR_TRY(add_response(t, first, query, text, err));
    }
    if (t->n_response - first < 2) {
        t->n_response = first;
        return PGR_OK;
    }
    void *p = t->prompts;
    bool ok = grow(&p, t->n_prompt, &t->cap_prompt, sizeof *t->prompts);
    t->prompts = p;
    synth_prompt prompt = {.text = arena_strdup(&t->arena, query),
                           .kind = synth_kind(query, strlen(query)),
                           .first = first,
                           .n = t->n_response - first};
    if (!ok || !prompt.text) return fail_mem(err);
    t->prompts[t->n_prompt++] = prompt;
    return PGR_OK;
}

pgr_status synth_texts_add(synth_texts *t, const char *text, size_t n, const char *name, size_t number,
                           size_t max_bytes, pgr_error *err) {
    json_t *line = NULL;
    char origin[320];
    snprintf(origin, sizeof origin, "%.300s:%zu", name, number);
    PGR_TRY(json_parse(text, n, name, number, &line, err));
    pgr_status status = add_prompt(t, line, (json_at){origin, ""}, max_bytes, err);
    json_decref(line);
    return status;
}

pgr_status synth_texts_load(const char *path, size_t max_bytes, const pgr_watch *watch, synth_texts *out,
                            pgr_error *err) {
    stream *in = NULL;
    *out = (synth_texts){0};
    PGR_TRY(stream_open(path, &in, err));
    pgr_status status = PGR_OK;
    for (bool more = true; status == PGR_OK;) {
        stream_value v;
        status = stream_next(in, &v, &more, err);
        if (status != PGR_OK || !more) break;
        status = synth_texts_add(out, v.text, v.n, stream_name(in), v.line, max_bytes, err);
        watch_report(watch, "measuring responses", stream_read(in), stream_size(in), "B");
        if (status == PGR_OK) status = watch_check(watch, err);
    }
    stream_close(in);
    if (status == PGR_OK && out->n_prompt < 2)
        status =
            fail(err, PGR_E_FORMAT, "%s: %zu prompts with two responses of at most %zu bytes, expected two or more",
                 path, out->n_prompt, max_bytes);
    if (status != PGR_OK) synth_texts_free(out);
    return status;
}
