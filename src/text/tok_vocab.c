/* tok_vocab.c - opens the tokenizer of a folder: its tokenizer.json, or, of a BERT folder from before there were such
 * files, vocab.txt and what tokenizer_config.json says. The latter are written as a tokenizer.json and read as one. */
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "text/tokenizer.h"

enum { UNK, CLS, SEP, PAD, MASK, N_NAME };

typedef struct old_bert {
    const char *vocab_path, *config_path; /* for messages */
    const char *names[N_NAME];            /* of the control tokens; live as long as the config's JSON */
    int64_t ids[N_NAME];                  /* -1: not in the vocabulary */
    bool lower, cjk;
    const json_t *strip; /* null: as lower */
    buf json;
} old_bert;

/* ---- tokenizer_config.json ---- */

static pgr_status read_bool(const old_bert *o, const json_t *config, const char *key, bool fallback, bool *out,
                            pgr_error *err) {
    const json_t *v = json_object_get(config, key);
    *out = v && !json_is_null(v) ? json_is_true(v) : fallback;
    if (!v || json_is_null(v) || json_is_boolean(v)) return PGR_OK;
    return fail(err, PGR_E_FORMAT, "%s: %s: found %s, expected true or false", o->config_path, key, json_kind(v));
}

/* A text, or an object with it as its content. */
static pgr_status read_names(old_bert *o, const json_t *config, pgr_error *err) {
    static const char *const keys[] = {"unk_token", "cls_token", "sep_token", "pad_token", "mask_token"};
    static const char *const usual[] = {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"};
    for (size_t i = 0; i < N_NAME; i++) {
        const json_t *v = json_object_get(config, keys[i]);
        o->names[i] = usual[i];
        if (json_is_object(v)) v = json_object_get(v, "content");
        if (v && !json_is_null(v)) PGR_TRY(json_want_string(v, (json_at){o->config_path, keys[i]}, &o->names[i], err));
    }
    return PGR_OK;
}

static pgr_status check_class(const old_bert *o, const json_t *config, pgr_error *err) {
    static const char *const known[] = {"BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer",
                                        "DistilBertTokenizerFast"};
    const json_t *v = json_object_get(config, "tokenizer_class");
    const char *name;
    if (!v || json_is_null(v)) return PGR_OK; /* old files do not say */
    PGR_TRY(json_want_string(v, (json_at){o->config_path, "tokenizer_class"}, &name, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i]) == 0) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED, "%s: tokenizer_class \"%.60s\" is not supported without a tokenizer.json",
                o->config_path, name);
}

/* Those of old_bert are all that we add. */
static pgr_status check_added(const old_bert *o, const json_t *config, pgr_error *err) {
    json_t *added = json_object_get(config, "added_tokens_decoder");
    if (added && !json_is_null(added))
        PGR_TRY(json_want_object(added, (json_at){o->config_path, "added_tokens_decoder"}, err));
    for (void *it = json_object_iter(added); it; it = json_object_iter_next(added, it)) {
        const char *s;
        bool known = false;
        PGR_TRY(json_want_string(json_object_get(json_object_iter_value(it), "content"),
                                 (json_at){o->config_path, "added_tokens_decoder"}, &s, err));
        for (size_t i = 0; i < N_NAME; i++) known |= strcmp(o->names[i], s) == 0;
        if (!known)
            return fail(err, PGR_E_UNSUPPORTED,
                        "%s: the added token \"%.60s\" is not supported without a tokenizer.json", o->config_path, s);
    }
    return PGR_OK;
}

static pgr_status read_config(old_bert *o, const json_t *config, pgr_error *err) {
    bool basic, strip;
    PGR_TRY(json_want_object(config, (json_at){o->config_path, ""}, err));
    PGR_TRY(check_class(o, config, err));
    PGR_TRY(read_names(o, config, err));
    PGR_TRY(check_added(o, config, err));
    PGR_TRY(read_bool(o, config, "do_lower_case", true, &o->lower, err));
    PGR_TRY(read_bool(o, config, "tokenize_chinese_chars", true, &o->cjk, err));
    PGR_TRY(read_bool(o, config, "strip_accents", false, &strip, err));
    PGR_TRY(read_bool(o, config, "do_basic_tokenize", true, &basic, err));
    o->strip = json_object_get(config, "strip_accents");
    if (!basic) return fail(err, PGR_E_UNSUPPORTED, "%s: do_basic_tokenize false is not supported", o->config_path);
    return PGR_OK;
}

/* ---- vocab.txt ---- */

static pgr_status put_token(old_bert *o, const char *s, size_t n, int64_t id, pgr_error *err) {
    if (!utf8_valid(s, n) || memchr(s, '\0', n))
        return fail(err, PGR_E_FORMAT, "%s:%" PRId64 ": found bytes that are no UTF-8 text, expected a token",
                    o->vocab_path, id + 1);
    buf_puts(&o->json, id ? ",\n" : "");
    json_put_string(&o->json, s, n);
    buf_printf(&o->json, ":%" PRId64, id);
    for (size_t i = 0; i < N_NAME; i++)
        if (strlen(o->names[i]) == n && memcmp(o->names[i], s, n) == 0) o->ids[i] = id;
    return PGR_OK;
}

/* A token a line, its id the line's number from 0 on; each stands on the same line of what is written. */
static pgr_status put_vocab(old_bert *o, const char *text, size_t n, pgr_error *err) {
    int64_t id = 0;
    buf_puts(&o->json, "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{");
    for (size_t at = 0; at < n; id++) {
        const char *s = text + at, *end = memchr(s, '\n', n - at);
        size_t len = end ? (size_t)(end - s) : n - at;
        at += len + 1;
        if (len && s[len - 1] == '\r') len--;
        PGR_TRY(put_token(o, s, len, id, err));
    }
    buf_puts(&o->json, "},\"unk_token\":");
    json_put_string(&o->json, o->names[UNK], strlen(o->names[UNK]));
    buf_puts(&o->json, "}");
    return PGR_OK;
}

static const char *truth(bool v) {
    return v ? "true" : "false";
}

static void put_rest(old_bert *o) {
    bool begun = false;
    buf_puts(&o->json, ",\"added_tokens\":[");
    for (size_t i = 0; i < N_NAME; i++) {
        bool again = false;
        for (size_t k = 0; k < i; k++) again |= o->ids[k] == o->ids[i];
        if (o->ids[i] < 0 || again) continue;
        buf_printf(&o->json, "%s{\"special\":true,\"id\":%" PRId64 ",\"content\":", begun ? "," : "", o->ids[i]);
        json_put_string(&o->json, o->names[i], strlen(o->names[i]));
        buf_puts(&o->json, "}");
        begun = true;
    }
    buf_printf(&o->json,
               "],\"normalizer\":{\"type\":\"BertNormalizer\",\"handle_chinese_chars\":%s,\"strip_accents\":%s,"
               "\"lowercase\":%s},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"decoder\":{\"type\":"
               "\"WordPiece\"},\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"\",%" PRId64
               "],\"sep\":[\"\","
               "%" PRId64 "]}}",
               truth(o->cjk), json_is_boolean(o->strip) ? truth(json_is_true(o->strip)) : "null", truth(o->lower),
               o->ids[CLS], o->ids[SEP]);
}

static pgr_status open_old(old_bert *o, const char *text, size_t n, const json_t *config, tokenizer **out,
                           pgr_error *err) {
    PGR_TRY(read_config(o, config, err));
    for (size_t i = 0; i < N_NAME; i++) o->ids[i] = -1;
    PGR_TRY(put_vocab(o, text, n, err));
    for (size_t i = UNK; i <= SEP; i++)
        if (o->ids[i] < 0)
            return fail(err, PGR_E_FORMAT, "%s: no token \"%.60s\", expected it among the tokens", o->vocab_path,
                        o->names[i]);
    put_rest(o);
    if (o->json.failed) return fail_mem(err);
    return tok_open_json(o->json.data, o->json.n, o->vocab_path, out, err);
}

pgr_status tok_open_vocab(const char *text, size_t n, const char *origin, const char *config, size_t n_config,
                          const char *config_origin, tokenizer **out, pgr_error *err) {
    old_bert o = {.vocab_path = origin, .config_path = config_origin};
    json_t *root = NULL;
    PGR_TRY(json_parse_reals(config, n_config, config_origin, 1, &root, err));
    pgr_status status = open_old(&o, text, n, root, out, err);
    buf_free(&o.json);
    json_decref(root);
    return status;
}

/* ---- folder ---- */

typedef struct folder_files { /* paths and texts */
    buf json, vocab, config, added, text, config_text;
} folder_files;

static pgr_status refuse_added(folder_files *f, pgr_error *err) {
    json_t *root = NULL;
    if (!file_exists(f->added.data)) return PGR_OK;
    PGR_TRY(file_read(f->added.data, &f->text, err));
    PGR_TRY(json_parse(f->text.data, f->text.n, f->added.data, 1, &root, err));
    size_t n = json_object_size(root);
    json_decref(root);
    if (n == 0) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED, "%s: added tokens are not supported without a tokenizer.json", f->added.data);
}

static pgr_status open_files(folder_files *f, const char *folder, tokenizer **out, pgr_error *err) {
    buf_printf(&f->json, "%s/tokenizer.json", folder);
    buf_printf(&f->vocab, "%s/vocab.txt", folder);
    buf_printf(&f->config, "%s/tokenizer_config.json", folder);
    buf_printf(&f->added, "%s/added_tokens.json", folder);
    if (f->json.failed || f->vocab.failed || f->config.failed || f->added.failed) return fail_mem(err);
    if (file_exists(f->json.data) || !file_exists(f->vocab.data)) {
        PGR_TRY(file_read(f->json.data, &f->text, err));
        return tok_open_json(f->text.data, f->text.n, f->json.data, out, err);
    }
    PGR_TRY(refuse_added(f, err));
    PGR_TRY(file_read(f->vocab.data, &f->text, err));
    if (file_exists(f->config.data))
        PGR_TRY(file_read(f->config.data, &f->config_text, err));
    else
        buf_puts(&f->config_text, "{}");
    if (f->config_text.failed) return fail_mem(err);
    return tok_open_vocab(f->text.data, f->text.n, f->vocab.data, f->config_text.data, f->config_text.n, f->config.data,
                          out, err);
}

pgr_status tok_open_folder(const char *folder, tokenizer **out, pgr_error *err) {
    folder_files f = {.json = {0}};
    pgr_status status = open_files(&f, folder, out, err);
    buf *all[] = {&f.json, &f.vocab, &f.config, &f.added, &f.text, &f.config_text};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) buf_free(all[i]);
    return status;
}
