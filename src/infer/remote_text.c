/* remote_text.c - tokens of texts for an engine that has no tokenizer of its own: counted by the files of the same
 * model, else by the server (which is asked once for each text), else estimated from the bytes, rather too many than
 * too few. */
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "infer/counts.h"
#include "infer/remote.h"

enum { AROUND_MESSAGE = 8, AROUND_ALL = 16 }; /* tokens of a chat template, more than those that are known have */
static const double COUNT_REST = 30;          /* seconds for which a server that failed to count is not asked to */

/* ---- estimates ---- */

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Of byte i, in halves of a token: 1 for a word with the space before it and half a one for each of its further
 * letters; for everything else a whole one. On the test's 600 lines of many scripts that is half more than the default
 * model's tokenizer has, and for none of them less. */
static size_t halves(const char *text, size_t n, size_t i) {
    if (is_letter(text[i])) return i > 0 && is_letter(text[i - 1]) ? 1 : 2;
    return text[i] == ' ' && i + 1 < n && is_letter(text[i + 1]) ? 0 : 2;
}

/* The bytes of text whose tokens are `keep` at most; *tokens: their tokens. */
static size_t estimate(const char *text, size_t n, size_t keep, size_t *tokens) {
    size_t sum = 0, end = 0;
    for (; end < n; end++) {
        size_t more = halves(text, n, end);
        if ((sum + more + 1) / 2 + 1 > keep) break;
        sum += more;
    }
    *tokens = n > 0 ? (sum + 1) / 2 + 1 : 0;
    return end;
}

size_t remote_estimate(const char *text, size_t n) {
    size_t tokens;
    estimate(text, n, SIZE_MAX - 8, &tokens);
    return tokens;
}

/* ---- the server's tokenizer ---- */

static pgr_status ask_json(remote *r, const char *path, const buf *body, bool brief, json_t **out, pgr_error *err) {
    net_job job = {.path = path, .body = body->data, .n_body = body->n, .once = brief};
    *out = NULL;
    if (body->failed) return fail_mem(err);
    if (brief) job.deadline = clock_now() + r->o.count_s;
    pgr_status s = net_run(r->net, &job, brief ? NULL : r->o.watch.cancel, err);
    const char *at = net_address(r->net, job.at);
    if (s == PGR_OK) s = json_parse(job.reply.data ? job.reply.data : "", job.reply.n, at, 1, out, err);
    net_drop(r->net, &job);
    return s;
}

void remote_begin_body(const remote *r, buf *body) {
    buf_puts(body, "{\"model\":");
    json_put_string(body, r->model, strlen(r->model));
}

/* The members by which vLLM, SGLang, llama.cpp and llama-cpp-python know a text, all of them. */
static pgr_status ask_tokens(remote *r, const char *text, size_t n, bool brief, ids *out, pgr_error *err) {
    static const char *const NAMES[] = {"prompt", "content", "input"};
    buf body = {0};
    json_t *root = NULL;
    remote_begin_body(r, &body);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        buf_printf(&body, ",\"%s\":", NAMES[i]);
        json_put_string(&body, text, n);
    }
    buf_puts(&body, ",\"add_special_tokens\":false,\"add_special\":false}");
    pgr_status s = ask_json(r, r->tokenize, &body, brief, &root, err);
    const json_t *list = json_object_get(root, "tokens");
    if (s == PGR_OK && (!json_is_array(list) || json_array_size(list) > 4 * n + 16))
        s = fail(err, PGR_E_FORMAT, "%s%s: found no tokens of a text of %zu bytes", r->at, r->tokenize + 1, n);
    for (size_t i = 0; s == PGR_OK && i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
            s = fail(err, PGR_E_FORMAT, "%s%s: tokens[%zu] is %s, expected a token's number", r->at, r->tokenize + 1, i,
                     json_kind(v));
        else
            ids_push(out, (int32_t)json_integer_value(v));
    }
    if (s == PGR_OK && out->failed) s = fail_mem(err);
    json_decref(root);
    buf_free(&body);
    return s;
}

static pgr_status ask_text(remote *r, const int32_t *tokens, size_t n, buf *out, pgr_error *err) {
    static const char *const NAMES[] = {"prompt", "content", "text"};
    buf body = {0};
    json_t *root = NULL;
    remote_begin_body(r, &body);
    buf_puts(&body, ",\"tokens\":[");
    for (size_t i = 0; i < n; i++) buf_printf(&body, "%s%d", i ? "," : "", (int)tokens[i]);
    buf_puts(&body, "]}");
    pgr_status s = ask_json(r, r->detokenize, &body, r->o.count_s > 0, &root, err);
    const json_t *text = NULL;
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES && !json_is_string(text); i++)
        text = json_object_get(root, NAMES[i]);
    if (s == PGR_OK && !json_is_string(text))
        s = fail(err, PGR_E_FORMAT, "%s%s: found no text of %zu tokens", r->at, r->detokenize + 1, n);
    if (s == PGR_OK) buf_add(out, json_string_value(text), json_string_length(text));
    if (s == PGR_OK && out->failed) s = fail_mem(err);
    json_decref(root);
    buf_free(&body);
    return s;
}

static const char *const PATHS[][2] = {{"^/tokenize", "^/detokenize"}, {"^/extras/tokenize", "^/extras/detokenize"}};

pgr_status remote_find_tokens(remote *r, pgr_error *err) {
    if (r->has_files) {
        r->tokens = TOKENS_LOCAL;
        return PGR_OK;
    }
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++) {
        ids nothing = {0}, some = {0};
        buf back = {0};
        pgr_error why = {0};
        r->tokenize = PATHS[i][0];
        r->detokenize = PATHS[i][1];
        pgr_status s = ask_tokens(r, "", 0, r->o.count_s > 0, &nothing, &why);
        if (s == PGR_OK) s = ask_tokens(r, "two words", 9, r->o.count_s > 0, &some, &why);
        if (s == PGR_OK) s = ask_text(r, some.v, some.n, &back, &why);
        bool good =
            s == PGR_OK && some.n > nothing.n && back.n >= 9 && strcmp(back.data + back.n - 9, "two words") == 0;
        if (good) {
            r->tokens = TOKENS_SERVER;
            r->n_around = nothing.n;
        }
        ids_free(&nothing);
        ids_free(&some);
        buf_free(&back);
        if (good) return PGR_OK;
        if (s == PGR_E_MEM || s == PGR_E_CANCELLED) {
            if (err) *err = why;
            return s;
        }
    }
    log_info("%s: counts no tokens, they are estimated", r->at);
    return PGR_OK;
}

/* A text of many kinds, whose tokens tell one vocabulary from another. */
static pgr_status compare_tokens(remote *r, pgr_error *err) {
    static const char TEXT[] = "The user likes shorter answers, 1 2 37 10: \"lists\"\n\tcode {x} == y_2;  "
                               "Grüße, \xE4\xBD\xA0\xE5\xA5\xBD, \xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82";
    const size_t n = sizeof TEXT - 1;
    ids here = {0}, there = {0};
    pgr_status s = tok_encode(r->files.tok, TEXT, n, 0, &here, err);
    if (s == PGR_OK && here.failed) s = fail_mem(err);
    if (s == PGR_OK) s = ask_tokens(r, TEXT, n, false, &there, err);
    size_t same = 0;
    while (s == PGR_OK && same < here.n && same < there.n && here.v[same] == there.v[same]) same++;
    if (s == PGR_OK && (same < here.n || same < there.n))
        s = fail(err, PGR_E_UNSUPPORTED,
                 "%s%s: a text of %zu bytes has %zu tokens that differ from token %zu on, expected the %zu of %s: the "
                 "tokenizer's files are not those of this model",
                 r->at, r->tokenize + 1, n, there.n, same + 1, here.n, r->o.tokenizer);
    ids_free(&here);
    ids_free(&there);
    return s;
}

pgr_status remote_tokens_agree(remote *r, pgr_error *err) {
    pgr_status s = PGR_OK;
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++) {
        r->tokenize = PATHS[i][0];
        s = compare_tokens(r, err);
        if (s != PGR_E_IO) return s;
    }
    return s;
}

static bool by_server(const remote *r) {
    return r->tokens == TOKENS_SERVER && !(r->count_again > clock_now());
}

/* Nobody is to wait for a server that does not count: it is left alone for a while. */
static bool rests(remote *r, pgr_status s, const pgr_error *why) {
    if (s == PGR_OK || s == PGR_E_MEM || !(r->o.count_s > 0)) return false;
    log_warn("%s; tokens are estimated for %.0f s", why->message, COUNT_REST);
    r->count_again = clock_now() + COUNT_REST;
    return true;
}

static pgr_status count_by_server(remote *r, const char *text, size_t n, size_t *out, pgr_error *err) {
    uint64_t hash = hash_bytes(hash_value(HASH_BEGIN, n), text, n) | 1;
    known_count *k = &r->known[(hash >> 20) % N_KNOWN];
    ids list = {0};
    if (k->hash != hash) {
        pgr_status s = ask_tokens(r, text, n, r->o.count_s > 0, &list, err);
        size_t count = list.n > r->n_around ? list.n - r->n_around : 0;
        ids_free(&list);
        if (s != PGR_OK) return s;
        *k = (known_count){hash, count};
    }
    *out = k->n;
    return PGR_OK;
}

/* What the first `keep` tokens stand for is the text's beginning, whatever the server puts before or around it. */
static pgr_status clip_by_server(remote *r, const char *text, size_t n, size_t keep, buf *out, pgr_error *err) {
    ids list = {0};
    buf part = {0};
    pgr_status s = ask_tokens(r, text, n, r->o.count_s > 0, &list, err);
    if (s == PGR_OK && list.n <= keep + r->n_around) {
        buf_add(out, text, n);
    } else if (s == PGR_OK) {
        s = ask_text(r, list.v, keep + r->n_around, &part, err);
        const char *p = part.data ? part.data : "";
        size_t same = 0, skip = part.n > 0 && n > 0 && p[0] == ' ' && text[0] != ' ' ? 1 : 0;
        while (same < n && same + skip < part.n && text[same] == p[same + skip]) same++;
        if (s == PGR_OK) buf_add(out, text, utf8_complete(text, same));
    }
    if (s == PGR_OK && out->failed) s = fail_mem(err);
    ids_free(&list);
    buf_free(&part);
    return s;
}

/* ---- the engine's ---- */

pgr_status remote_count(pgr_engine *e, const char *text, size_t n, size_t *out, pgr_error *err) {
    remote *r = (remote *)e;
    if (r->tokens == TOKENS_LOCAL) return tokens_count(r->files.tok, text, n, out, err);
    pgr_error why = {0};
    if (by_server(r) && n > 0) {
        pgr_status s = count_by_server(r, text, n, out, &why);
        if (s != PGR_OK && !rests(r, s, &why)) {
            if (err) *err = why;
            return s;
        }
        if (s == PGR_OK) return PGR_OK;
    }
    *out = remote_estimate(text, n);
    return PGR_OK;
}

pgr_status remote_count_messages(pgr_engine *e, const infer_message *messages, size_t n, size_t *out, pgr_error *err) {
    remote *r = (remote *)e;
    size_t sum = AROUND_ALL, one;
    if (r->tokens == TOKENS_LOCAL && r->files.chat.kind != CHAT_NONE)
        return tokens_count_messages(&r->files.chat, r->files.tok, messages, n, out, err);
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(remote_count(e, messages[i].text, messages[i].n, &one, err));
        sum += one + AROUND_MESSAGE;
    }
    *out = sum;
    return PGR_OK;
}

pgr_status remote_clip(pgr_engine *e, const char *text, size_t n, size_t keep, buf *out, pgr_error *err) {
    remote *r = (remote *)e;
    size_t tokens;
    if (r->tokens == TOKENS_LOCAL) return tokens_clip(r->files.tok, text, n, keep, out, err);
    if (n == 0) return PGR_OK;
    pgr_error why = {0};
    if (by_server(r)) {
        pgr_status s = clip_by_server(r, text, n, keep, out, &why);
        if (s != PGR_OK && !rests(r, s, &why)) {
            if (err) *err = why;
            return s;
        }
        if (s == PGR_OK) return PGR_OK;
    }
    buf_add(out, text, utf8_complete(text, estimate(text, n, keep, &tokens)));
    return out->failed ? fail_mem(err) : PGR_OK;
}
