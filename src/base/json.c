/* json.c - jansson through mem.h, with messages that say where, what was found and what was expected. */
#include "base/json.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/legible.h"
#include "base/mem.h"
#include "base/text.h"

/* What a parse needs where memory runs out. jansson 2.14 takes some failed allocations for syntax errors, and others
 * end the program or leave characters out: it never sees one. From the first on it gets memory of a reserve, is told
 * that the text ends, and what it made is thrown away. */
typedef struct feeding {
    const char *text;
    size_t left;
    char *reserve; /* (n_reserve) taken before the parse */
    size_t n_reserve, used;
    bool out_of_memory;
} feeding;
static _Thread_local feeding *now; /* NULL: no parse is running */

/* Beside three times the text, for a token that grows and its copy: what nodes for a piece of text may take. */
enum { RESERVE = 256 << 10, PIECE = 1024 };

static void *from_reserve(size_t size) {
    size_t n = (size + 15) / 16 * 16;
    if (n < size || n > now->n_reserve - now->used) return NULL;
    void *p = now->reserve + now->used;
    now->used += n;
    return p;
}

static void *json_alloc(size_t size) {
    void *p = now && now->out_of_memory ? NULL : mem_alloc(size);
    if (p || !now) return p;
    now->out_of_memory = true;
    return from_reserve(size);
}

static void json_free(void *p) {
    uintptr_t at = (uintptr_t)p, from = now ? (uintptr_t)now->reserve : 0;
    if (!now || at < from || at >= from + now->n_reserve) mem_free(p);
}

static size_t feed(void *buffer, size_t room, void *ctx) {
    feeding *f = ctx;
    size_t n = f->left < room ? f->left : room;
    if (n > PIECE) n = PIECE;
    if (f->out_of_memory) return 0;
    if (n) memcpy(buffer, f->text, n);
    f->text += n;
    f->left -= n;
    return n;
}

static void setup_once(void) {
    json_set_alloc_funcs(json_alloc, json_free);
    json_object_seed(1); /* any fixed number: nothing here is random */
}

void json_setup(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, setup_once);
}

/* What jansson's error codes without an "expected" of their own leave to say. */
static const char *expectation(enum json_error_code code) {
    switch (code) {
    case json_error_invalid_utf8:
        return "UTF-8 text";
    case json_error_duplicate_key:
        return "each key once in an object";
    case json_error_stack_overflow:
        return "fewer levels";
    case json_error_numeric_overflow:
        return "a number that fits 64 bits";
    case json_error_premature_end_of_input:
        return "the rest of the value";
    default:
        return "valid JSON";
    }
}

/* jansson says "X expected near Y" or "what is wrong near Y"; we say "found Y, expected X" or "what is wrong near Y,
 * expected ...". */
static pgr_status fail_json(const json_error_t *e, const char *origin, size_t line, pgr_error *err) {
    static const char middle[] = " expected near ", start[] = "unexpected token near ";
    const char *near = strstr(e->text, middle);
    if (near)
        return fail(err, PGR_E_FORMAT, "%s:%zu: found %s, expected %.*s", origin, line, near + strlen(middle),
                    (int)(near - e->text), e->text);
    size_t n = strlen(e->text), end = strlen(" expected");
    if (n > end && strcmp(e->text + n - end, " expected") == 0) /* jansson quotes no more than 20 bytes */
        return fail(err, PGR_E_FORMAT, "%s:%zu: found a longer text, expected %s%.*s", origin, line,
                    e->text[0] == '\'' && strchr("}]", e->text[1]) ? "',' or " : "", (int)(n - end), e->text);
    if (text_starts(e->text, start))
        return fail(err, PGR_E_FORMAT, "%s:%zu: found %s, expected a value", origin, line, e->text + strlen(start));
    enum json_error_code code = json_error_code(e);
    if (code == json_error_null_character || code == json_error_null_byte_in_key)
        return fail(err, PGR_E_FORMAT, "%s:%zu: found a NUL character (\\u0000) in a string, expected text without it",
                    origin, line);
    return fail(err, PGR_E_FORMAT, "%s:%zu: %s, expected %s", origin, line, e->text, expectation(code));
}

static pgr_status parse(const char *text, size_t len, size_t flags, const char *origin, size_t first_line, json_t **out,
                        pgr_error *err) {
    json_setup();
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* byte order mark */
        text += 3;
        len -= 3;
    }
    if (len > (SIZE_MAX - RESERVE) / 3) return fail_mem(err);
    json_error_t e = {.line = 1};
    feeding f = {.text = text, .left = len, .n_reserve = RESERVE + 3 * len};
    f.reserve = mem_alloc(f.n_reserve); /* hardly ever touched */
    if (!f.reserve) return fail_mem(err);
    now = &f;
    json_t *v = json_load_callback(feed, &f, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags, &e);
    if (f.out_of_memory) {
        json_decref(v);
        v = NULL;
    }
    now = NULL;
    mem_free(f.reserve);
    if (v) {
        *out = v;
        return PGR_OK;
    }
    if (f.out_of_memory || e.text[0] == '\0') return fail_mem(err);
    return fail_json(&e, origin, first_line + (size_t)(e.line > 1 ? e.line - 1 : 0), err);
}

pgr_status json_parse(const char *text, size_t len, const char *origin, size_t first_line, json_t **out,
                      pgr_error *err) {
    return parse(text, len, 0, origin, first_line, out, err);
}

pgr_status json_parse_reals(const char *text, size_t len, const char *origin, size_t first_line, json_t **out,
                            pgr_error *err) {
    return parse(text, len, JSON_DECODE_INT_AS_REAL, origin, first_line, out, err);
}

/* ---- numbers that are none --------------------------------------------------------------------------------------- */

#define NO_NUMBER "1.7976931348623157e308" /* DBL_MAX: what stands in their place while jansson reads */

bool json_is_nan(const json_t *v) {
    return json_is_real(v) && json_real_value(v) >= DBL_MAX;
}

/* Length of the number's name that text begins with; 0: none. */
static size_t no_number(const char *text, size_t n) {
    static const char *const names[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(names[i]);
        if (n >= len && memcmp(text, names[i], len) == 0) return len;
    }
    return 0;
}

/* The text with NO_NUMBER in the place of the names that stand outside strings. */
static void replace_nan(buf *out, const char *text, size_t len) {
    bool string = false, escaped = false;
    for (size_t i = 0; i < len;) {
        size_t n = string ? 0 : no_number(text + i, len - i);
        if (n) {
            buf_puts(out, NO_NUMBER);
            i += n;
            continue;
        }
        char c = text[i++];
        if (string) {
            string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            string = c == '"';
        }
        buf_putc(out, c);
    }
}

pgr_status json_parse_nan(const char *text, size_t len, const char *origin, size_t first_line, json_t **out,
                          pgr_error *err) {
    if (!len || (!memmem(text, len, "NaN", 3) && !memmem(text, len, "Infinity", 8)))
        return parse(text, len, 0, origin, first_line, out, err);
    buf b = {0};
    replace_nan(&b, text, len);
    pgr_status status = b.failed ? fail_mem(err) : parse(b.data, b.n, 0, origin, first_line, out, err);
    buf_free(&b);
    return status;
}

void json_replace_nul(char *text, size_t n) {
    for (size_t i = 0; i + 6 <= n; i++) {
        if (text[i] != '\\') continue;
        if (memcmp(text + i, "\\u0000", 6) == 0) memcpy(text + i, "\\uFFFD", 6);
        i++; /* what a backslash stands before is no beginning of an escape */
    }
}

const char *json_kind(const json_t *v) {
    if (!v) return "nothing";
    if (json_is_nan(v)) return "NaN";
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        return "null";
    }
    return "an unknown value";
}

/* "ORIGIN: PATH", or ORIGIN alone for the value at the top. */
typedef struct place {
    char text[256];
} place;

static place place_of(json_at at) {
    place p;
    bool top = !at.path || !at.path[0];
    snprintf(p.text, sizeof p.text, "%s%s%s", at.origin, top ? "" : ": ", top ? "" : at.path);
    return p;
}

static pgr_status fail_kind(const json_t *v, json_at at, const char *expected, pgr_error *err) {
    return fail(err, PGR_E_FORMAT, "%s: found %s, expected %s", place_of(at).text, json_kind(v), expected);
}

pgr_status json_want_object(const json_t *v, json_at at, pgr_error *err) {
    return json_is_object(v) ? PGR_OK : fail_kind(v, at, "an object", err);
}

pgr_status json_want_array(const json_t *v, json_at at, pgr_error *err) {
    return json_is_array(v) ? PGR_OK : fail_kind(v, at, "an array", err);
}

pgr_status json_want_string(const json_t *v, json_at at, const char **out, pgr_error *err) {
    if (!json_is_string(v)) return fail_kind(v, at, "a string", err);
    const char *s = json_string_value(v);
    if (strlen(s) != json_string_length(v))
        return fail(err, PGR_E_FORMAT, "%s: found a NUL character (\\u0000) in the string, expected text without it",
                    place_of(at).text);
    *out = s;
    return PGR_OK;
}

pgr_status json_want_integer(const json_t *v, json_at at, int64_t lo, int64_t hi, int64_t *out, pgr_error *err) {
    if (!json_is_integer(v)) return fail_kind(v, at, "an integer", err);
    int64_t n = json_integer_value(v);
    if (n < lo || n > hi)
        return fail(err, PGR_E_FORMAT, "%s: found %lld, expected %lld to %lld", place_of(at).text, (long long)n,
                    (long long)lo, (long long)hi);
    *out = n;
    return PGR_OK;
}

static bool is_known(const char *key, const char *const *known) {
    for (; *known; known++)
        if (strcmp(key, *known) == 0) return true;
    return false;
}

static pgr_status fail_key(const char *key, const char *const *known, json_at at, pgr_error *err) {
    const char *nearest = text_nearest(key, known);
    if (nearest)
        return fail(err, PGR_E_FORMAT, "%s: unknown key \"%s\", expected perhaps \"%s\"", place_of(at).text, key,
                    nearest);
    char list[256] = "";
    size_t n = 0;
    for (size_t i = 0; known[i] && n < sizeof list; i++) {
        int wrote = snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", known[i]);
        n += wrote > 0 ? (size_t)wrote : 0;
    }
    return fail(err, PGR_E_FORMAT, "%s: unknown key \"%.60s\", expected one of: %s", place_of(at).text, key, list);
}

pgr_status json_only_keys(const json_t *object, const char *const *known, json_at at, pgr_error *err) {
    PGR_TRY(json_want_object(object, at, err));
    json_t *reader = (json_t *)(uintptr_t)object; /* jansson's iterators want no const; nothing is written */
    pgr_status status = PGR_OK;
    for (void *it = json_object_iter(reader); it && status == PGR_OK; it = json_object_iter_next(reader, it)) {
        const char *key = json_object_iter_key(it);
        if (!is_known(key, known)) status = fail_key(key, known, at, err);
    }
    return status;
}

static void put_escape(buf *b, unsigned char c) {
    static const char names[] = "btn\0fr"; /* 0x08.. */
    buf_putc(b, '\\');
    if (c == '"' || c == '\\')
        buf_putc(b, (char)c);
    else if (c >= 0x08 && c <= 0x0D && names[c - 0x08])
        buf_putc(b, names[c - 0x08]);
    else
        buf_printf(b, "u%04x", c);
}

static bool is_escaped(unsigned char c) {
    return c < 0x20 || c == '"' || c == '\\' || c == 0x7F;
}

void json_put_string(buf *b, const char *s, size_t n) {
    buf_putc(b, '"');
    for (size_t i = 0; i < n;) {
        size_t plain = i;
        while (plain < n && !is_escaped((unsigned char)s[plain])) plain++;
        legible_add(b, s + i, plain - i);
        if (plain < n) put_escape(b, (unsigned char)s[plain++]);
        i = plain;
    }
    buf_putc(b, '"');
}

/* Whole numbers below 2^53 exactly; else six significant digits without trailing zeros, which is also the shortest form
 * of every number that was written with six digits or fewer (0.1 stays 0.1). */
void json_put_number(buf *b, double v) {
    char text[40];
    if (!isfinite(v)) {
        buf_puts(b, "null");
        return;
    }
    if (v == 0) v = 0; /* -0 */
    bool whole = fabs(v) < 0x1p53 && v == floor(v);
    snprintf(text, sizeof text, whole ? "%.0f" : "%.6g", v);
    for (char *c = text; *c; c++)
        if (*c == ',') *c = '.'; /* the locale's decimal point */
    buf_puts(b, text);
}

static int put_piece(const char *text, size_t n, void *b) {
    buf_add(b, text, n);
    return 0;
}

void json_put(buf *b, const json_t *v, size_t flags) {
    if (json_dump_callback(v, put_piece, b, flags) != 0) b->failed = true;
}

/* ---- put together ------------------------------------------------------------------------------------------------ */

static void lose(json_t **all) {
    json_decref(*all);
    *all = NULL;
}

json_t *json_twin(const json_t *object) {
    json_t *twin = json_copy((json_t *)(uintptr_t)object);
    if (twin && json_object_size(twin) != json_object_size(object)) lose(&twin);
    return twin;
}

void json_give(json_t **object, const char *key, json_t *value) {
    if (json_object_set_new(*object, key, value) != 0) lose(object);
}

void json_share(json_t **object, const char *key, const json_t *value) {
    if (value) json_give(object, key, json_incref((json_t *)(uintptr_t)value));
}

void json_add(json_t **list, json_t *value) {
    if (json_array_append_new(*list, value) != 0) lose(list);
}
