/* hf_template.c - see hf_template.h. */
#include "format/hf_template.h"

#include <string.h>

#include "base/text.h"
#include "format/hf_config.h"

/* Of a list of {name, template} the one named default. *out: NULL where the key is absent. */
static pgr_status find_template(const json_t *root, const char *origin, const char **out, pgr_error *err) {
    PGR_TRY(json_want_object(root, (json_at){origin, ""}, err));
    const json_t *v = hf_given(root, "chat_template"), *item;
    *out = NULL;
    if (!v) return PGR_OK;
    if (!json_is_array(v)) return json_want_string(v, (json_at){origin, "chat_template"}, out, err);
    for (size_t i = 0; (item = json_array_get(v, i)); i++) {
        const char *name;
        PGR_TRY(json_want_object(item, (json_at){origin, "chat_template[]"}, err));
        PGR_TRY(json_want_string(json_object_get(item, "name"), (json_at){origin, "chat_template[].name"}, &name, err));
        if (strcmp(name, "default") == 0)
            return json_want_string(json_object_get(item, "template"), (json_at){origin, "chat_template[].template"},
                                    out, err);
    }
    return fail(err, PGR_E_FORMAT, "%s: chat_template: none of %zu is named \"default\"", origin, json_array_size(v));
}

static pgr_status give(const char *text, size_t n, buf *out, pgr_error *err) {
    buf_clear(out);
    buf_add(out, text, n);
    return out->failed ? fail_mem(err) : PGR_OK;
}

/* tokenizer_config.json holds numbers of thirty digits, of which none matters here. They are cut short before jansson
 * reads them: it ends the program with an assertion where memory for a long number runs out. */
static pgr_status parse_strings(const char *text, size_t n, const char *origin, json_t **root, pgr_error *err) {
    enum { LONGEST = 15 };
    buf b = {0};
    for (size_t i = 0, len; i < n; i += len) {
        len = 1;
        if (text[i] == '"') {
            while (i + len < n && text[i + len] != '"') len += text[i + len] == '\\' && i + len + 1 < n ? 2 : 1;
            len += i + len < n;
            buf_add(&b, text + i, len);
            continue;
        }
        while (i + len < n && strchr("0123456789", text[i]) && text[i] && strchr("0123456789.eE+-", text[i + len])
               && text[i + len])
            len++;
        size_t kept = len < LONGEST ? len : LONGEST;
        while (kept > 1 && kept < len && (text[i + kept - 1] < '0' || text[i + kept - 1] > '9')) kept--;
        buf_add(&b, text + i, kept);
    }
    pgr_status status = b.failed ? fail_mem(err) : json_parse_reals(b.data ? b.data : "", b.n, origin, 1, root, err);
    buf_free(&b);
    return status;
}

pgr_status hf_template_parse(const char *text, size_t n, const char *origin, buf *out, bool *found, pgr_error *err) {
    json_t *root = NULL;
    const char *template;
    PGR_TRY(parse_strings(text, n, origin, &root, err));
    pgr_status status = find_template(root, origin, &template, err);
    if (status == PGR_OK && template) status = give(template, strlen(template), out, err);
    if (status == PGR_OK) *found = template != NULL;
    json_decref(root);
    return status;
}

/* "text", {"content": "text"} or null. */
static pgr_status token_text(const json_t *root, const char *key, const char *origin, buf *out, pgr_error *err) {
    const json_t *v = hf_given(root, key);
    const char *text = "";
    if (json_is_object(v)) v = json_object_get(v, "content");
    if (v) PGR_TRY(json_want_string(v, (json_at){origin, key}, &text, err));
    return give(text, strlen(text), out, err);
}

pgr_status hf_token_texts_parse(const char *text, size_t n, const char *origin, buf *bos, buf *eos, pgr_error *err) {
    json_t *root = NULL;
    PGR_TRY(parse_strings(text, n, origin, &root, err));
    pgr_status status = json_want_object(root, (json_at){origin, ""}, err);
    if (status == PGR_OK) status = token_text(root, "bos_token", origin, bos, err);
    if (status == PGR_OK) status = token_text(root, "eos_token", origin, eos, err);
    json_decref(root);
    return status;
}

/* ---- folders ---- */

static pgr_status find_file(const char *folder, buf *path, buf *text, buf *out, const char **from, pgr_error *err) {
    static const char *const names[] = {"chat_template.jinja", "tokenizer_config.json", "chat_template.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool found;
        PGR_TRY(hf_file_read(folder, names[i], path, text, &found, err));
        if (found && i > 0)
            PGR_TRY(hf_template_parse(text->data, text->n, path->data, out, &found, err));
        else if (found && (memchr(text->data, 0, text->n) || !utf8_valid(text->data, text->n)))
            return fail(err, PGR_E_FORMAT, "%s: not UTF-8 text", path->data);
        else if (found)
            PGR_TRY(give(text->data, text->n, out, err));
        if (found) *from = names[i];
        if (found) return PGR_OK;
    }
    *from = NULL;
    return give("", 0, out, err);
}

pgr_status hf_chat_template(const char *folder, buf *out, const char **from, pgr_error *err) {
    buf path = {0}, text = {0};
    pgr_status status = find_file(folder, &path, &text, out, from, err);
    buf_free(&path);
    buf_free(&text);
    return status;
}

pgr_status hf_token_texts(const char *folder, buf *bos, buf *eos, bool *found, pgr_error *err) {
    buf path = {0}, text = {0};
    pgr_status status = hf_file_read(folder, "tokenizer_config.json", &path, &text, found, err);
    if (status == PGR_OK && *found) status = hf_token_texts_parse(text.data, text.n, path.data, bos, eos, err);
    buf_free(&path);
    buf_free(&text);
    return status;
}
