/* fields.c - texts, turns, pairs and users from JSON, for requests and for data sets. Everything is copied into the
 * reader's arena; PersonalRewardBench records are in fields_record.c. */
#include "user/fields.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"

static const char *const USER_KEYS[] = {"id", "history", "criteria", "demographics", NULL};
static const char *const PAIR_KEYS[] = {"query", "context", "chosen", "rejected", NULL};
static const char *const TURN_KEYS[] = {"role", "content", NULL};

/* ---- where we are ------------------------------------------------------------------------------------------------ */

const field_path FIELD_TOP = {""};

field_path field_key(const field_path *parent, const char *key) {
    field_path p;
    size_t n = utf8_clip(key, strlen(key), 50); /* a key may be any text, a path stays short */
    snprintf(p.text, sizeof p.text, "%.100s%s%.*s", parent->text, parent->text[0] ? "." : "", (int)n, key);
    return p;
}

field_path field_item(const field_path *parent, size_t i) {
    field_path p;
    snprintf(p.text, sizeof p.text, "%.120s[%zu]", parent->text, i);
    return p;
}

json_at field_at(const field_reader *in, const field_path *p) {
    return (json_at){.origin = in->file, .path = p->text};
}

pgr_status field_fail(const field_reader *in, const field_path *p, const char *found, const char *expected) {
    return fail(in->err, PGR_E_FORMAT, "%s: %s%sfound %s, expected %s", in->file, p->text, p->text[0] ? ": " : "",
                found, expected);
}

json_t *field_given(const json_t *object, const char *key) {
    json_t *v = json_object_get(object, key);
    return json_is_null(v) || json_is_nan(v) ? NULL : v;
}

bool field_is_blank(const char *s) {
    return s[strspn(s, " \t\r\n\v\f")] == '\0';
}

pgr_status field_keys(const field_reader *in, const json_t *object, const char *const *known, const field_path *p) {
    return json_only_keys(object, known, field_at(in, p), in->err);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

pgr_status field_copy(const field_reader *in, const char *text, const char **out) {
    const char *copy = arena_strdup(in->a, text);
    if (!copy) return fail_mem(in->err);
    *out = copy;
    return PGR_OK;
}

pgr_status field_string(const field_reader *in, const json_t *v, const field_path *p, const char **out) {
    const char *text = NULL;
    PGR_TRY(json_want_string(v, field_at(in, p), &text, in->err));
    return field_copy(in, text, out);
}

pgr_status field_text(const field_reader *in, const json_t *v, const field_path *p, const char **out) {
    const char *text = NULL;
    PGR_TRY(json_want_string(v, field_at(in, p), &text, in->err));
    if (field_is_blank(text)) return field_fail(in, p, text[0] ? "only blanks" : "an empty string", "text");
    return field_copy(in, text, out);
}

/* One {"type": "text", "text"} part. */
static pgr_status put_part(const field_reader *in, const json_t *v, const field_path *p, buf *out) {
    PGR_TRY(json_want_object(v, field_at(in, p), in->err));
    field_path type_path = field_key(p, "type"), text_path = field_key(p, "text");
    const char *type = NULL, *text = NULL;
    PGR_TRY(json_want_string(json_object_get(v, "type"), field_at(in, &type_path), &type, in->err));
    if (strcmp(type, "text") != 0) {
        char found[60];
        snprintf(found, sizeof found, "a part of the type \"%.*s\"", (int)utf8_clip(type, strlen(type), 30), type);
        return field_fail(in, &type_path, found, "\"text\"");
    }
    PGR_TRY(json_want_string(json_object_get(v, "text"), field_at(in, &text_path), &text, in->err));
    buf_puts(out, text);
    return PGR_OK;
}

pgr_status field_content(const field_reader *in, const json_t *v, const field_path *p, const char **out) {
    *out = "";
    if (!v || json_is_null(v)) return PGR_OK;
    if (json_is_string(v)) return field_string(in, v, p, out);
    if (!json_is_array(v)) return field_fail(in, p, json_kind(v), "a string or a list of text parts");
    buf text = {0};
    pgr_status status = PGR_OK;
    for (size_t i = 0; i < json_array_size(v) && status == PGR_OK; i++) {
        field_path item = field_item(p, i);
        status = put_part(in, json_array_get(v, i), &item, &text);
    }
    if (status == PGR_OK && text.failed) status = fail_mem(in->err);
    if (status == PGR_OK) status = field_copy(in, text.n ? text.data : "", out);
    buf_free(&text);
    return status;
}

pgr_status field_optional_string(const field_reader *in, const json_t *object, const char *key,
                                 const field_path *parent, const char **out) {
    const json_t *v = field_given(object, key);
    if (!v) return PGR_OK;
    field_path p = field_key(parent, key);
    return field_string(in, v, &p, out);
}

pgr_status field_optional_id(const field_reader *in, const json_t *object, const char *key, const char **out) {
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v)) return PGR_OK;
    field_path p = field_key(&FIELD_TOP, key);
    if (json_is_nan(v)) return field_fail(in, &p, "NaN", "text or a whole number");
    if (!json_is_integer(v)) return field_text(in, v, &p, out);
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, (int64_t)json_integer_value(v));
    return field_copy(in, digits, out);
}

pgr_status field_flag(const field_reader *in, const json_t *object, const char *key, const field_path *parent,
                      bool *out) {
    const json_t *v = field_given(object, key);
    field_path p = field_key(parent, key);
    *out = json_is_true(v);
    return !v || json_is_boolean(v) ? PGR_OK : field_fail(in, &p, json_kind(v), "true or false");
}

pgr_status field_optional_number(const field_reader *in, const json_t *object, const char *key, double *out) {
    const json_t *v = field_given(object, key);
    if (!v) return PGR_OK;
    field_path p = field_key(&FIELD_TOP, key);
    if (!json_is_number(v)) return field_fail(in, &p, json_kind(v), "a number");
    *out = json_number_value(v);
    return PGR_OK;
}

pgr_status field_strings(const field_reader *in, const json_t *v, const field_path *p, const char *const **out,
                         size_t *n) {
    bool list = json_is_array(v);
    if (!list && !json_is_string(v)) return field_fail(in, p, json_kind(v), "a string or an array of strings");
    size_t count = list ? json_array_size(v) : 1;
    const char **texts = arena_array(in->a, count, sizeof *texts);
    if (!texts) return fail_mem(in->err);
    for (size_t i = 0; list && i < count; i++) {
        field_path item = field_item(p, i);
        PGR_TRY(field_text(in, json_array_get(v, i), &item, &texts[i]));
    }
    if (!list) PGR_TRY(field_string(in, v, p, &texts[0]));
    *out = texts;
    *n = !list && field_is_blank(texts[0]) ? 0 : count;
    return PGR_OK;
}

/* One value of an object of plain values as text; false: it is no plain value. */
static bool put_plain(buf *b, const json_t *v) {
    if (json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v))
        buf_puts(b, json_string_value(v));
    else if (json_is_integer(v))
        buf_printf(b, "%" PRId64, (int64_t)json_integer_value(v));
    else if (json_is_real(v))
        json_put_number(b, json_real_value(v));
    else if (json_is_boolean(v))
        buf_puts(b, json_is_true(v) ? "yes" : "no");
    else
        return false;
    return true;
}

static pgr_status put_lines(const field_reader *in, json_t *object, const field_path *p, buf *lines) {
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const json_t *v = json_object_iter_value(it);
        if (json_is_null(v) || json_is_nan(v)) continue;
        field_path item = field_key(p, json_object_iter_key(it));
        buf_printf(lines, "%s%s: ", lines->n ? "\n" : "", json_object_iter_key(it));
        if (!put_plain(lines, v))
            return field_fail(in, &item, json_is_string(v) ? "a NUL character" : json_kind(v),
                              "a string, a number, true or false");
    }
    return lines->failed ? fail_mem(in->err) : PGR_OK;
}

pgr_status field_lines(const field_reader *in, json_t *v, const field_path *p, const char **out) {
    if (json_is_string(v)) return field_string(in, v, p, out);
    if (!json_is_object(v)) return field_fail(in, p, json_kind(v), "a string or a flat object");
    buf lines = {0};
    pgr_status status = put_lines(in, v, p, &lines);
    if (status == PGR_OK) status = field_copy(in, lines.n ? lines.data : "", out);
    buf_free(&lines);
    return status;
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

pgr_status field_role(const field_reader *in, const json_t *v, const field_path *p, const char **out) {
    static const char *const roles[][2] = {/* as written, as kept */
                                           {"user", "user"},
                                           {"assistant", "assistant"},
                                           {"system", "system"},
                                           {"model", "assistant"}};
    const char *role = NULL;
    PGR_TRY(json_want_string(v, field_at(in, p), &role, in->err));
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i][0]) == 0) {
            *out = roles[i][1];
            return PGR_OK;
        }
    char found[80];
    snprintf(found, sizeof found, "\"%.*s\"", (int)utf8_clip(role, strlen(role), 60), role);
    return field_fail(in, p, found, "\"user\", \"assistant\" or \"system\"");
}

static pgr_status read_turn(const field_reader *in, const json_t *v, const field_path *p, bool loose, turn *out) {
    if (loose)
        PGR_TRY(json_want_object(v, field_at(in, p), in->err));
    else
        PGR_TRY(field_keys(in, v, TURN_KEYS, p));
    field_path role = field_key(p, "role"), content = field_key(p, "content");
    PGR_TRY(field_role(in, json_object_get(v, "role"), &role, &out->role));
    const json_t *text = json_object_get(v, "content");
    if (loose || json_is_array(text)) return field_content(in, text, &content, &out->text);
    return field_string(in, text, &content, &out->text);
}

pgr_status field_dialogue(const field_reader *in, const json_t *v, const field_path *p, bool loose, turn **out,
                          size_t *n) {
    PGR_TRY(json_want_array(v, field_at(in, p), in->err));
    size_t count = json_array_size(v);
    turn *turns = arena_array(in->a, count, sizeof *turns);
    if (!turns) return fail_mem(in->err);
    for (size_t i = 0; i < count; i++) {
        field_path item = field_item(p, i);
        PGR_TRY(read_turn(in, json_array_get(v, i), &item, loose, &turns[i]));
    }
    *out = turns;
    *n = count;
    return PGR_OK;
}

pgr_status field_turns(const field_reader *in, const json_t *v, const field_path *p, const turn **out, size_t *n) {
    turn *turns = NULL;
    size_t count = 0;
    PGR_TRY(field_dialogue(in, v, p, false, &turns, &count));
    if (count == 0) return field_fail(in, p, "an empty array", "at least one turn by the user");
    field_path last = field_item(p, count - 1);
    if (strcmp(turns[count - 1].role, "user") != 0) {
        field_path role = field_key(&last, "role");
        return field_fail(in, &role, turns[count - 1].role, "the last turn to be the user's");
    }
    if (field_is_blank(turns[count - 1].text)) {
        field_path content = field_key(&last, "content");
        return field_fail(in, &content, "no text", "the user's question");
    }
    *out = turns;
    *n = count;
    return PGR_OK;
}

pgr_status field_one_turn(const field_reader *in, const char *text, const turn **out) {
    turn *one = arena_array(in->a, 1, sizeof *one);
    if (!one) return fail_mem(in->err);
    *one = (turn){.role = "user", .text = text};
    *out = one;
    return PGR_OK;
}

pgr_status field_question(const field_reader *in, const json_t *object, const char *list_key, const field_path *parent,
                          const turn **out, size_t *n) {
    const json_t *query = field_given(object, "query"), *list = field_given(object, list_key);
    field_path query_path = field_key(parent, "query"), list_path = field_key(parent, list_key);
    char found[60];
    snprintf(found, sizeof found, "%s `query` %s `%s`", query ? "both" : "neither", query ? "and" : "nor", list_key);
    if (!query == !list) return field_fail(in, parent, found, "one of them");
    if (list) return field_turns(in, list, &list_path, out, n);

    const char *text = NULL;
    PGR_TRY(field_text(in, query, &query_path, &text));
    *n = 1;
    return field_one_turn(in, text, out);
}

/* ---- the user ---------------------------------------------------------------------------------------------------- */

static pgr_status read_pair(const field_reader *in, const json_t *v, const field_path *p, preference_pair *out) {
    PGR_TRY(field_keys(in, v, PAIR_KEYS, p));
    field_path chosen = field_key(p, "chosen"), rejected = field_key(p, "rejected");
    PGR_TRY(field_question(in, v, "context", p, &out->context, &out->n_context));
    PGR_TRY(field_string(in, json_object_get(v, "chosen"), &chosen, &out->chosen));
    return field_string(in, json_object_get(v, "rejected"), &rejected, &out->rejected);
}

static pgr_status read_history(const field_reader *in, const json_t *v, const field_path *p, user_fields *out) {
    PGR_TRY(json_want_array(v, field_at(in, p), in->err));
    size_t n = json_array_size(v);
    if (n > FIELD_HISTORY_MAX)
        return fail(in->err, PGR_E_LIMIT, "%s: %s: found %zu pairs, expected at most %d", in->file, p->text, n,
                    FIELD_HISTORY_MAX);
    preference_pair *pairs = arena_array(in->a, n, sizeof *pairs);
    if (!pairs) return fail_mem(in->err);
    for (size_t i = 0; i < n; i++) {
        field_path item = field_item(p, i);
        PGR_TRY(read_pair(in, json_array_get(v, i), &item, &pairs[i]));
    }
    out->history = pairs;
    out->n_history = n;
    return PGR_OK;
}

pgr_status field_user(const field_reader *in, const json_t *v, const field_path *p, user_fields *out) {
    *out = (user_fields){.user = {.id = "", .demographics = ""}};
    PGR_TRY(field_keys(in, v, USER_KEYS, p));
    PGR_TRY(field_optional_string(in, v, "id", p, &out->user.id));
    field_path id_path = field_key(p, "id");
    if (out->user.id[0] && field_is_blank(out->user.id)) return field_fail(in, &id_path, "only blanks", "text");
    json_t *history = field_given(v, "history"), *criteria = field_given(v, "criteria");
    json_t *demographics = field_given(v, "demographics");
    field_path history_path = field_key(p, "history"), criteria_path = field_key(p, "criteria");
    field_path demographics_path = field_key(p, "demographics");
    if (history) PGR_TRY(read_history(in, history, &history_path, out));
    if (criteria) PGR_TRY(field_strings(in, criteria, &criteria_path, &out->user.criteria, &out->user.n_criteria));
    if (demographics) PGR_TRY(field_lines(in, demographics, &demographics_path, &out->user.demographics));
    return PGR_OK;
}
