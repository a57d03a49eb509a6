/* tok_parts.c - owns the reading of tokenizer.json's normalisers, pre-tokenisers, decoders and post-processors. What
 * each does is told by PyPI `tokenizers`, whose ids the goldens hold. */
#include "text/tok_parts.h"

#include <inttypes.h>
#include <string.h>

#include "text/bert.h"

enum { PATH_ROOM = 256 /* of a field's path: a few names, MAX_DEPTH indices */, MAX_DEPTH = 3 };

static json_at at(const tokenizer *t, const char *path) {
    return (json_at){t->origin, path};
}

static pgr_status unsupported(const tokenizer *t, const char *path, const char *what, const char *name,
                              pgr_error *err) {
    return fail(err, PGR_E_UNSUPPORTED, "%s: %s: %s \"%.60s\" is not supported", t->origin, path, what, name);
}

/* ---- fields ---- */

pgr_status tok_field_string(const tokenizer *t, const json_t *v, const char *path, const char *key,
                            const char *fallback, const char **out, pgr_error *err) {
    char where[PATH_ROOM];
    const json_t *s = json_object_get(v, key);
    *out = fallback;
    if (fallback && (!s || json_is_null(s))) return PGR_OK;
    snprintf(where, sizeof where, "%.150s.%s", path, key);
    return json_want_string(s, at(t, where), out, err);
}

pgr_status tok_field_bool(const tokenizer *t, const json_t *v, const char *path, const char *key, bool fallback,
                          bool *out, pgr_error *err) {
    const json_t *b = json_object_get(v, key);
    *out = fallback;
    if (!b || json_is_null(b)) return PGR_OK;
    if (!json_is_boolean(b))
        return fail(err, PGR_E_FORMAT, "%s: %s.%s: found %s, expected true or false", t->origin, path, key,
                    json_kind(b));
    *out = json_is_true(b);
    return PGR_OK;
}

static pgr_status field_type(const tokenizer *t, const json_t *v, const char *path, const char **out, pgr_error *err) {
    PGR_TRY(json_want_object(v, at(t, path), err));
    return tok_field_string(t, v, path, "type", NULL, out, err);
}

/* {"String": s} or {"Regex": s}: one of the two is NULL afterwards. */
static pgr_status field_pattern(const tokenizer *t, const json_t *v, const char *path, const char **literal,
                                const char **regex, pgr_error *err) {
    static const char *const known[] = {"String", "Regex", NULL};
    char where[PATH_ROOM];
    const json_t *p = json_object_get(v, "pattern");
    snprintf(where, sizeof where, "%.150s.pattern", path);
    PGR_TRY(json_only_keys(p, known, at(t, where), err));
    *literal = *regex = NULL;
    if (json_object_get(p, "String")) return tok_field_string(t, p, where, "String", NULL, literal, err);
    return tok_field_string(t, p, where, "Regex", NULL, regex, err);
}

static pgr_status keep(tokenizer *t, const char *s, const char **out, pgr_error *err) {
    *out = arena_strdup(&t->arena, s);
    return *out ? PGR_OK : fail_mem(err);
}

/* Calls read() for v, or for each member of it where it is a Sequence. */
static pgr_status each(tokenizer *t, const json_t *v, const char *path, const char *members, void *out,
                       pgr_status (*read)(tokenizer *t, const json_t *v, const char *path, const char *type, void *out,
                                          pgr_error *err),
                       int depth, pgr_error *err) {
    const char *type;
    PGR_TRY(field_type(t, v, path, &type, err));
    if (strcmp(type, "Sequence") != 0) return read(t, v, path, type, out, err);
    const char *const known[] = {"type", members, NULL};
    const json_t *list = json_object_get(v, members);
    char where[PATH_ROOM];
    PGR_TRY(json_only_keys(v, known, at(t, path), err));
    snprintf(where, sizeof where, "%.150s.%s", path, members);
    PGR_TRY(json_want_array(list, at(t, where), err));
    if (depth == 0) return fail(err, PGR_E_LIMIT, "%s: %s: Sequences are nested too deeply", t->origin, path);
    for (size_t i = 0; i < json_array_size(list); i++) {
        snprintf(where, sizeof where, "%.100s.%s[%zu]", path, members, i);
        PGR_TRY(each(t, json_array_get(list, i), where, members, out, read, depth - 1, err));
    }
    return PGR_OK;
}

/* ---- normaliser ---- */

static pgr_status read_bert(tokenizer *t, const json_t *v, const char *path, unsigned *flags, pgr_error *err) {
    static const char *const keys[] = {"type",          "clean_text", "handle_chinese_chars",
                                       "strip_accents", "lowercase",  NULL};
    bool clean, cjk, strip, lower;
    PGR_TRY(json_only_keys(v, keys, at(t, path), err));
    PGR_TRY(tok_field_bool(t, v, path, "clean_text", true, &clean, err));
    PGR_TRY(tok_field_bool(t, v, path, "handle_chinese_chars", true, &cjk, err));
    PGR_TRY(tok_field_bool(t, v, path, "lowercase", true, &lower, err));
    PGR_TRY(tok_field_bool(t, v, path, "strip_accents", lower, &strip, err));
    *flags = (clean ? BERT_CLEAN : 0) | (cjk ? BERT_CJK : 0) | (strip ? BERT_STRIP : 0) | (lower ? BERT_LOWER : 0);
    return PGR_OK;
}

static pgr_status read_normal(tokenizer *t, const json_t *v, const char *path, const char *type, void *out,
                              pgr_error *err) {
    static const char *const keys[] = {"type", NULL}, *const prepend[] = {"type", "prepend", NULL};
    static const char *const replace[] = {"type", "pattern", "content", NULL};
    normaliser *n = out;
    normal_step step = {.kind = NORMAL_NFC, .from = "", .to = ""};
    const char *regex, *from = "", *to = "";
    if (strcmp(type, "NFC") == 0) {
        PGR_TRY(json_only_keys(v, keys, at(t, path), err));
    } else if (strcmp(type, "Prepend") == 0) {
        step.kind = NORMAL_PREPEND;
        PGR_TRY(json_only_keys(v, prepend, at(t, path), err));
        PGR_TRY(tok_field_string(t, v, path, "prepend", NULL, &to, err));
    } else if (strcmp(type, "Replace") == 0) {
        step.kind = NORMAL_REPLACE;
        PGR_TRY(json_only_keys(v, replace, at(t, path), err));
        PGR_TRY(field_pattern(t, v, path, &from, &regex, err));
        PGR_TRY(tok_field_string(t, v, path, "content", NULL, &to, err));
        if (regex || !*from)
            return unsupported(t, path, "Replace with the regular expression", regex ? regex : "", err);
    } else if (strcmp(type, "BertNormalizer") == 0) {
        step.kind = NORMAL_BERT;
        PGR_TRY(read_bert(t, v, path, &step.flags, err));
    } else {
        return unsupported(t, path, "normaliser", type, err);
    }
    if (n->n == NORMAL_MAX_STEP)
        return fail(err, PGR_E_LIMIT, "%s: normalizer has more than %zu steps", t->origin, n->n);
    step.n_from = strlen(from);
    step.n_to = strlen(to);
    PGR_TRY(keep(t, from, &step.from, err));
    PGR_TRY(keep(t, to, &step.to, err));
    n->steps[n->n++] = step;
    return PGR_OK;
}

pgr_status tok_read_normaliser(tokenizer *t, const json_t *v, pgr_error *err) {
    if (!v || json_is_null(v)) return PGR_OK;
    return each(t, v, "normalizer", "normalizers", &t->norm, read_normal, MAX_DEPTH, err);
}

/* ---- pre-tokeniser ---- */

/* A literal as a pattern of PCRE2. */
static void put_quoted(const char *s, buf *out) {
    for (; *s; s++) {
        if (strchr("\\^$.[]|()?*+{}-#", *s)) buf_putc(out, '\\');
        buf_putc(out, *s);
    }
}

static pgr_status keep_pattern(tokenizer *t, const char *path, const char *literal, const char *regex, const char **out,
                               pgr_error *err) {
    buf b = {0};
    pgr_error why = {0};
    pgr_status status = PGR_OK;
    if (regex)
        status = pretok_translate(regex, &b, &why);
    else
        put_quoted(literal, &b);
    if (status == PGR_OK && b.n == 0) status = fail(&why, PGR_E_UNSUPPORTED, "the pattern is empty");
    if (b.failed || status == PGR_E_MEM)
        status = fail_mem(err);
    else if (status != PGR_OK)
        fail(err, status, "%s: %s: %s", t->origin, path, why.message);
    else
        status = keep(t, b.data, out, err);
    buf_free(&b);
    return status;
}

static pgr_status read_split(tokenizer *t, const json_t *v, const char *path, pretok_step *out, pgr_error *err) {
    static const char *const keys[] = {"type", "pattern", "behavior", "invert", NULL};
    const char *literal, *regex, *behaviour;
    bool invert;
    PGR_TRY(json_only_keys(v, keys, at(t, path), err));
    PGR_TRY(field_pattern(t, v, path, &literal, &regex, err));
    PGR_TRY(tok_field_string(t, v, path, "behavior", NULL, &behaviour, err));
    PGR_TRY(tok_field_bool(t, v, path, "invert", false, &invert, err));
    bool removed = strcmp(behaviour, "Removed") == 0;
    if (!removed && strcmp(behaviour, "Isolated") != 0) return unsupported(t, path, "behaviour", behaviour, err);
    out->drop_matches = removed && !invert;
    out->drop_gaps = removed && invert;
    return keep_pattern(t, path, literal, regex, &out->pattern, err);
}

static pgr_status read_byte_level(tokenizer *t, const json_t *v, const char *path, pretok_step *out, pgr_error *err) {
    static const char *const keys[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
    bool prefix, regex;
    PGR_TRY(json_only_keys(v, keys, at(t, path), err));
    PGR_TRY(tok_field_bool(t, v, path, "add_prefix_space", true, &prefix, err));
    PGR_TRY(tok_field_bool(t, v, path, "use_regex", true, &regex, err));
    if (prefix) *out = (pretok_step){.prefix = " ", .prefix_when = PRETOK_PREFIX_ALWAYS};
    if (regex) out->pattern = pretok_gpt2;
    return PGR_OK;
}

/* replacement, and when it is put before a text (older files say add_prefix_space) */
static pgr_status metaspace_rule(tokenizer *t, const json_t *v, const char *path, const char **replacement,
                                 pretok_prefix *when, pgr_error *err) {
    const char *scheme;
    bool add;
    PGR_TRY(tok_field_string(t, v, path, "replacement", NULL, replacement, err));
    PGR_TRY(keep(t, *replacement, replacement, err));
    PGR_TRY(tok_field_bool(t, v, path, "add_prefix_space", true, &add, err));
    PGR_TRY(tok_field_string(t, v, path, "prepend_scheme", add ? "always" : "never", &scheme, err));
    if (strcmp(scheme, "always") == 0)
        *when = PRETOK_PREFIX_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        *when = PRETOK_PREFIX_FIRST;
    else if (strcmp(scheme, "never") == 0)
        *when = PRETOK_NO_PREFIX;
    else
        return unsupported(t, path, "prepend_scheme", scheme, err);
    if (!**replacement) return unsupported(t, path, "replacement", "", err);
    return PGR_OK;
}

static const char *const metaspace_keys[] = {"type",    "replacement", "add_prefix_space", "prepend_scheme", "split",
                                             "str_rep", NULL};

/* Cuts before each replacement. */
static pgr_status read_metaspace(tokenizer *t, const json_t *v, const char *path, pretok_step *out, pgr_error *err) {
    bool split;
    PGR_TRY(json_only_keys(v, metaspace_keys, at(t, path), err));
    PGR_TRY(metaspace_rule(t, v, path, &out->space, &out->prefix_when, err));
    PGR_TRY(tok_field_bool(t, v, path, "split", true, &split, err));
    out->prefix = out->space;
    if (!split) return PGR_OK;
    buf b = {0};
    buf_puts(&b, "(?:");
    put_quoted(out->space, &b);
    buf_puts(&b, ")(?:(?!");
    put_quoted(out->space, &b);
    buf_puts(&b, ")(?s:.))*+");
    pgr_status status = b.failed ? fail_mem(err) : keep(t, b.data, &out->pattern, err);
    buf_free(&b);
    return status;
}

static pgr_status read_cut(tokenizer *t, const json_t *v, const char *path, const char *type, void *result,
                           pgr_error *err) {
    static const char *const digits[] = {"type", "individual_digits", NULL}, *const keys[] = {"type", NULL};
    tok_cutting *c = result;
    pretok_step step = {0};
    bool individual;
    if (c->bytes) return unsupported(t, path, "after ByteLevel the pre-tokeniser", type, err);
    if (strcmp(type, "Split") == 0) {
        PGR_TRY(read_split(t, v, path, &step, err));
    } else if (strcmp(type, "Digits") == 0) {
        PGR_TRY(json_only_keys(v, digits, at(t, path), err));
        PGR_TRY(tok_field_bool(t, v, path, "individual_digits", false, &individual, err));
        step.pattern = individual ? pretok_digit : pretok_digits;
    } else if (strcmp(type, "ByteLevel") == 0) {
        PGR_TRY(read_byte_level(t, v, path, &step, err));
        c->bytes = true;
    } else if (strcmp(type, "Metaspace") == 0) {
        PGR_TRY(read_metaspace(t, v, path, &step, err));
    } else if (strcmp(type, "BertPreTokenizer") == 0) {
        PGR_TRY(json_only_keys(v, keys, at(t, path), err));
        step.words = true;
    } else {
        return unsupported(t, path, "pre-tokeniser", type, err);
    }
    if (c->n == PRETOK_MAX_STEP)
        return fail(err, PGR_E_LIMIT, "%s: pre_tokenizer has more than %d steps", t->origin, PRETOK_MAX_STEP);
    c->steps[c->n++] = step;
    buf_printf(&c->names, "%s%s", c->names.n ? ", " : "", type);
    return PGR_OK;
}

pgr_status tok_read_cutting(tokenizer *t, const json_t *v, tok_cutting *out, pgr_error *err) {
    if (!v || json_is_null(v)) {
        buf_puts(&out->names, "none");
        return PGR_OK;
    }
    return each(t, v, "pre_tokenizer", "pretokenizers", out, read_cut, MAX_DEPTH, err);
}

/* ---- decoder ---- */

static pgr_status read_strip(tokenizer *t, const json_t *v, const char *path, tok_decoder *d, pgr_error *err) {
    static const char *const keys[] = {"type", "content", "start", "stop", NULL};
    const char *content;
    int64_t start, stop;
    PGR_TRY(json_only_keys(v, keys, at(t, path), err));
    PGR_TRY(tok_field_string(t, v, path, "content", NULL, &content, err));
    PGR_TRY(json_want_integer(json_object_get(v, "start"), at(t, "decoder Strip start"), 0, 1, &start, err));
    PGR_TRY(json_want_integer(json_object_get(v, "stop"), at(t, "decoder Strip stop"), 0, 0, &stop, err));
    if (strcmp(content, " ") != 0) return unsupported(t, path, "Strip of", content, err);
    d->strip = start == 1;
    return PGR_OK;
}

static pgr_status read_joining(tokenizer *t, const json_t *v, const char *path, tok_joining *j, pgr_error *err) {
    static const char *const keys[] = {"type", "prefix", "cleanup", NULL};
    j->spaces = true;
    PGR_TRY(json_only_keys(v, keys, at(t, path), err));
    PGR_TRY(tok_field_bool(t, v, path, "cleanup", true, &j->cleanup, err));
    PGR_TRY(tok_field_string(t, v, path, "prefix", "##", &j->prefix, err));
    return keep(t, j->prefix, &j->prefix, err);
}

static pgr_status read_decode(tokenizer *t, const json_t *v, const char *path, const char *type, void *out,
                              pgr_error *err) {
    static const char *const replace[] = {"type", "pattern", "content", NULL};
    tok_decoder *d = out;
    const char *regex, *content;
    pretok_prefix when;
    if (strcmp(type, "ByteLevel") == 0) {
        d->bytes = true;
    } else if (strcmp(type, "ByteFallback") == 0 || strcmp(type, "Fuse") == 0) {
        return PGR_OK; /* bytes are bytes here, and there is one text */
    } else if (strcmp(type, "Strip") == 0) {
        return read_strip(t, v, path, d, err);
    } else if (strcmp(type, "Replace") == 0) {
        PGR_TRY(json_only_keys(v, replace, at(t, path), err));
        PGR_TRY(field_pattern(t, v, path, &d->space, &regex, err));
        PGR_TRY(tok_field_string(t, v, path, "content", NULL, &content, err));
        if (regex || strcmp(content, " ") != 0) return unsupported(t, path, "Replace by", content, err);
        return keep(t, d->space, &d->space, err);
    } else if (strcmp(type, "Metaspace") == 0) {
        PGR_TRY(json_only_keys(v, metaspace_keys, at(t, path), err));
        PGR_TRY(metaspace_rule(t, v, path, &d->space, &when, err));
        d->strip = when != PRETOK_NO_PREFIX;
    } else if (strcmp(type, "WordPiece") == 0) {
        return read_joining(t, v, path, &d->join, err);
    } else {
        return unsupported(t, path, "decoder", type, err);
    }
    return PGR_OK;
}

pgr_status tok_read_decoder(tokenizer *t, const json_t *v, tok_decoder *out, pgr_error *err) {
    out->space = "";
    if (!v || json_is_null(v)) return unsupported(t, "decoder", "decoder", "null", err);
    return each(t, v, "decoder", "decoders", out, read_decode, MAX_DEPTH, err);
}

/* ---- post-processor ---- */

typedef struct around {
    int32_t v[TOK_MAX_AROUND];
    size_t n;
} around;

static pgr_status add_special(tokenizer *t, const json_t *special, const char *name, around *out, pgr_error *err) {
    const json_t *list = json_object_get(json_object_get(special, name), "ids");
    PGR_TRY(json_want_array(list, at(t, "post_processor.special_tokens.ids"), err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        int64_t id;
        PGR_TRY(json_want_integer(json_array_get(list, i), at(t, "post_processor.special_tokens.ids"), 0,
                                  (int64_t)t->n_token - 1, &id, err));
        if (out->n == TOK_MAX_AROUND)
            return fail(err, PGR_E_LIMIT, "%s: post_processor adds more than %d tokens", t->origin, TOK_MAX_AROUND);
        out->v[out->n++] = (int32_t)id;
    }
    return PGR_OK;
}

/* A later template goes around an earlier one. */
static pgr_status wrap(tokenizer *t, const around *before, const around *after, pgr_error *err) {
    if (t->n_before + before->n > TOK_MAX_AROUND || t->n_after + after->n > TOK_MAX_AROUND)
        return fail(err, PGR_E_LIMIT, "%s: post_processor adds more than %d tokens", t->origin, TOK_MAX_AROUND);
    memmove(t->before + before->n, t->before, t->n_before * sizeof *t->before);
    memcpy(t->before, before->v, before->n * sizeof *t->before);
    memcpy(t->after + t->n_after, after->v, after->n * sizeof *t->after);
    t->n_before += before->n;
    t->n_after += after->n;
    return PGR_OK;
}

static pgr_status read_template(tokenizer *t, const json_t *v, const char *path, pgr_error *err) {
    static const char *const keys[] = {"type", "single", "pair", "special_tokens", NULL};
    around side[2] = {{.n = 0}, {.n = 0}};
    bool seen = false;
    PGR_TRY(json_only_keys(v, keys, at(t, path), err));
    const json_t *single = json_object_get(v, "single"), *special = json_object_get(v, "special_tokens");
    PGR_TRY(json_want_array(single, at(t, "post_processor.single"), err));
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i), *token = json_object_get(item, "SpecialToken");
        const char *id;
        if (token) {
            PGR_TRY(tok_field_string(t, token, "post_processor.single.SpecialToken", "id", NULL, &id, err));
            PGR_TRY(add_special(t, special, id, &side[seen], err));
            continue;
        }
        PGR_TRY(tok_field_string(t, json_object_get(item, "Sequence"), "post_processor.single.Sequence", "id", NULL,
                                 &id, err));
        if (seen || strcmp(id, "A") != 0) return unsupported(t, "post_processor.single", "Sequence", id, err);
        seen = true;
    }
    if (!seen) return unsupported(t, path, "a template without", "Sequence", err);
    return wrap(t, &side[0], &side[1], err);
}

/* ["[SEP]", 102] */
static pgr_status read_pair(tokenizer *t, const json_t *v, const char *key, around *out, pgr_error *err) {
    const json_t *pair = json_object_get(v, key);
    char where[PATH_ROOM];
    int64_t id;
    snprintf(where, sizeof where, "post_processor.%s", key);
    PGR_TRY(json_want_array(pair, at(t, where), err));
    PGR_TRY(json_want_integer(json_array_get(pair, 1), at(t, where), 0, (int64_t)t->n_token - 1, &id, err));
    *out = (around){{(int32_t)id}, 1};
    return PGR_OK;
}

static pgr_status read_cls_sep(tokenizer *t, const json_t *v, const char *path, pgr_error *err) {
    static const char *const keys[] = {"type", "sep", "cls", NULL};
    around cls, sep;
    PGR_TRY(json_only_keys(v, keys, at(t, path), err));
    PGR_TRY(read_pair(t, v, "cls", &cls, err));
    PGR_TRY(read_pair(t, v, "sep", &sep, err));
    return wrap(t, &cls, &sep, err);
}

static pgr_status read_post(tokenizer *t, const json_t *v, const char *path, const char *type, void *out,
                            pgr_error *err) {
    (void)out;
    if (strcmp(type, "ByteLevel") == 0) return PGR_OK; /* moves offsets only */
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(t, v, path, err);
    if (strcmp(type, "BertProcessing") == 0) return read_cls_sep(t, v, path, err);
    return unsupported(t, path, "post-processor", type, err);
}

pgr_status tok_read_around(tokenizer *t, const json_t *v, pgr_error *err) {
    if (!v || json_is_null(v)) return PGR_OK;
    return each(t, v, "post_processor", "processors", NULL, read_post, MAX_DEPTH, err);
}
