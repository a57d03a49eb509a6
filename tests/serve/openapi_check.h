/* openapi_check.h - for tests: whether a request and its answer are what src/serve/openapi.json says of them. A request
 * that was answered with 200 must be valid by its operation's schema, the status be one of the operation's, and the
 * answer's type and JSON be what stands beside it. The keywords are those that the document has; another one fails. */
#ifndef PGR_TESTS_OPENAPI_CHECK_H
#define PGR_TESTS_OPENAPI_CHECK_H

#include "../base/faults.h"

#include "base/json.h"

static json_t *DOCUMENT; /* NULL: nothing is checked */

static inline void openapi_open(void) {
    json_error_t e;
    DOCUMENT = json_load_file(PGR_SOURCE_DIR "/src/serve/openapi.json", JSON_REJECT_DUPLICATES, &e);
    if (!DOCUMENT) fail_msg("openapi.json:%d: %s", e.line, e.text);
}

static inline void openapi_close(void) {
    json_decref(DOCUMENT);
    DOCUMENT = NULL;
}

/* What stands behind {"$ref": "#/a/b"}; else the object itself. */
static inline const json_t *resolved(const json_t *v) {
    for (const char *ref; (ref = json_string_value(json_object_get(v, "$ref")));) {
        char part[80];
        const json_t *at = DOCUMENT;
        assert_int_equal(strncmp(ref, "#/", 2), 0);
        for (const char *s = ref + 2; *s;) {
            size_t n = strcspn(s, "/");
            snprintf(part, sizeof part, "%.*s", (int)n, s);
            at = json_object_get(at, part);
            s += n + (s[n] == '/');
        }
        if (!at) fail_msg("%s is not there", ref);
        v = at;
    }
    return v;
}

/* ---- schemas ---- */

static inline bool fits(const json_t *schema, const json_t *v);

static inline bool is_of_type(const char *type, const json_t *v) {
    if (strcmp(type, "object") == 0) return json_is_object(v);
    if (strcmp(type, "array") == 0) return json_is_array(v);
    if (strcmp(type, "string") == 0) return json_is_string(v);
    if (strcmp(type, "integer") == 0) return json_is_integer(v);
    if (strcmp(type, "number") == 0) return json_is_number(v);
    if (strcmp(type, "boolean") == 0) return json_is_boolean(v);
    if (strcmp(type, "null") == 0) return json_is_null(v);
    fail_msg("%s is no type", type);
    return false;
}

static inline bool one_is(const json_t *list, const json_t *v, bool (*is)(const json_t *, const json_t *)) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (is(json_array_get(list, i), v)) return true;
    return false;
}

static inline bool same(const json_t *a, const json_t *b) {
    return json_equal(a, b);
}

static inline bool is_type(const json_t *type, const json_t *v) {
    return is_of_type(json_string_value(type), v);
}

static inline bool members_fit(const json_t *schema, const json_t *v) {
    const json_t *required = json_object_get(schema, "required"), *properties = json_object_get(schema, "properties"),
                 *more = json_object_get(schema, "additionalProperties");
    const char *key;
    json_t *value;
    for (size_t i = 0; i < json_array_size(required); i++)
        if (!json_object_get(v, json_string_value(json_array_get(required, i)))) return false;
    json_object_foreach((json_t *)(uintptr_t)v, key, value) {
        const json_t *of = json_object_get(properties, key);
        if (!of) of = more;
        if (json_is_false(of) || (json_is_object(of) && !fits(of, value))) return false;
    }
    return true;
}

static inline bool items_fit(const json_t *schema, const json_t *v) {
    const json_t *items = json_object_get(schema, "items");
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (items && !fits(items, json_array_get(v, i))) return false;
        for (size_t k = 0; json_object_get(schema, "uniqueItems") && k < i; k++)
            if (json_equal(json_array_get(v, i), json_array_get(v, k))) return false;
    }
    return true;
}

/* "\\S": something that is no blank. */
static inline bool matches(const char *pattern, const char *text) {
    if (strcmp(pattern, "\\S") != 0) fail_msg("the pattern %s is not known here", pattern);
    return text[strspn(text, " \t\r\n\f\v")] != '\0';
}

static inline size_t length_of(const json_t *v) {
    size_t n = 0;
    for (const char *s = json_string_value(v); *s; s++) n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static inline bool keyword_holds(const json_t *schema, const char *key, const json_t *of, const json_t *v) {
    static const char *const with_others[] = {"required", "properties", "additionalProperties", "items", "uniqueItems",
                                              "description"};
    double number = json_number_value(of), x = json_number_value(v);
    for (size_t i = 0; i < sizeof with_others / sizeof *with_others; i++)
        if (strcmp(key, with_others[i]) == 0) return true;
    if (strcmp(key, "type") == 0) return json_is_array(of) ? one_is(of, v, is_type) : is_type(of, v);
    if (strcmp(key, "anyOf") == 0) return one_is(of, v, fits);
    if (strcmp(key, "enum") == 0) return one_is(of, v, same);
    if (strcmp(key, "const") == 0) return json_equal(of, v);
    if (strcmp(key, "minimum") == 0) return !json_is_number(v) || x >= number;
    if (strcmp(key, "maximum") == 0) return !json_is_number(v) || x <= number;
    if (strcmp(key, "exclusiveMinimum") == 0) return !json_is_number(v) || x > number;
    if (strcmp(key, "minItems") == 0) return !json_is_array(v) || (double)json_array_size(v) >= number;
    if (strcmp(key, "maxItems") == 0) return !json_is_array(v) || (double)json_array_size(v) <= number;
    if (strcmp(key, "minLength") == 0) return !json_is_string(v) || (double)length_of(v) >= number;
    if (strcmp(key, "maxLength") == 0) return !json_is_string(v) || (double)length_of(v) <= number;
    if (strcmp(key, "pattern") == 0) return !json_is_string(v) || matches(json_string_value(of), json_string_value(v));
    fail_msg("the keyword %s is not known here", key);
    (void)schema;
    return false;
}

static inline bool fits(const json_t *schema, const json_t *v) {
    const char *key;
    json_t *of;
    schema = resolved(schema);
    json_object_foreach((json_t *)(uintptr_t)schema, key, of) {
        if (!keyword_holds(schema, key, of, v)) return false;
    }
    return (!json_is_object(v) || members_fit(schema, v)) && (!json_is_array(v) || items_fit(schema, v));
}

/* ---- operations ---- */

/* The document's path for one that was asked for: itself, or with {id} for its last part. NULL: it has none. */
static inline const json_t *operation_of(const char *method, const char *asked) {
    char path[200], name[8] = "";
    const char *key;
    json_t *methods;
    size_t n = strcspn(asked, "?");
    if (n >= sizeof path || strlen(method) >= sizeof name) return NULL;
    memcpy(path, asked, n);
    path[n] = '\0';
    for (size_t i = 0; method[i]; i++) name[i] = (char)(method[i] | 0x20);
    json_object_foreach(json_object_get(DOCUMENT, "paths"), key, methods) {
        size_t fixed = strcspn(key, "{");
        if (key[fixed] ? strncmp(path, key, fixed) == 0 && path[fixed] : strcmp(path, key) == 0)
            return json_object_get(methods, name);
    }
    return NULL;
}

static inline json_t *json_or_fail(const char *what, const char *path, const char *text, size_t n) {
    json_t *v = json_loadb(text, n, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
    if (!v) fail_msg("%s of %s: no JSON: %.200s", what, path, text);
    return v;
}

static inline void check_schema(const char *what, const char *path, const json_t *media, const char *text, size_t n) {
    json_t *v = json_or_fail(what, path, text, n);
    if (!fits(json_object_get(media, "schema"), v)) fail_msg("%s of %s is not as described: %.900s", what, path, text);
    json_decref(v);
}

/* type: the answer's Content-Type. */
static inline void openapi_check(const char *method, const char *path, const char *body, int status, const char *type,
                                 const char *text, size_t n) {
    const json_t *o = DOCUMENT ? operation_of(method, path) : NULL;
    char code[12], plain[60];
    if (!o || status == 0 || status == 408 || status == 414 || status == 431) return; /* the last: of any request */
    snprintf(code, sizeof code, "%d", status);
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(type, ";"), type);
    const json_t *said = json_object_get(json_object_get(o, "responses"), code);
    if (!said) fail_msg("%s %s: the status %d is not described: %s", method, path, status, text);
    const json_t *media = json_object_get(json_object_get(resolved(said), "content"), plain);
    if (!media) fail_msg("%s %s: %d of the type %s is not described", method, path, status, type);
    if (strcmp(plain, "application/json") == 0) check_schema("the answer", path, media, text, n);
    if (status != 200 || !body) return;
    media = json_object_get(json_object_get(json_object_get(o, "requestBody"), "content"), "application/json");
    if (!media) fail_msg("%s %s: a body is not described", method, path);
    check_schema("the request", path, media, body, strlen(body));
}

#endif
