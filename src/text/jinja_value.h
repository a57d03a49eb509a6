/* jinja_value.h - private to the interpreter: the values of one rendering. They live in the rendering's arena and never
 * change, but for namespaces. A string knows for each byte whether the template or a content made it. */
#ifndef PGR_TEXT_JINJA_VALUE_H
#define PGR_TEXT_JINJA_VALUE_H

#include "text/jinja.h"
#include "text/jinja_parse.h"

typedef struct jstring {
    const char *s;
    const uint8_t *made; /* (n) 1: by the template; NULL: all of a content */
    size_t n;
} jstring;

typedef enum jkind {
    JV_UNDEFINED,
    JV_NONE,
    JV_BOOL,
    JV_INT,
    JV_REAL,
    JV_STRING,
    JV_LIST, /* lists, tuples, and what Python gives as a generator */
    JV_DICT,
    JV_NAMESPACE,
    JV_LOOP,
    JV_FUNCTION,
    JV_MACRO,
} jkind;

typedef enum jform { JF_LIST, JF_TUPLE, JF_ONCE, JF_MARKUP } jform; /* JF_ONCE: a generator */

struct jpair;
struct jscope;
struct jloop;

typedef struct jvalue {
    jkind kind;
    jform form; /* of JV_LIST; JF_MARKUP of JV_STRING: what safe or escape gave, which escapes what is added to it */
    union {
        bool b;
        int64_t i; /* JV_INT; JV_FUNCTION: which */
        double f;
        jstring s; /* JV_UNDEFINED: its name */
        struct {
            const struct jvalue *v;
            size_t n;
        } list;
        struct {
            const struct jpair *v;
            size_t n;
        } dict;
        struct jscope *names; /* JV_NAMESPACE */
        const struct jloop *loop;
        struct {
            const jnode *node;
            struct jscope *scope;
        } macro;
    };
} jvalue;

typedef struct jpair {
    jstring key;
    jvalue value;
} jpair;

typedef struct jvariable {
    const char *name;
    size_t n;
    jvalue value;
    struct jvariable *next;
} jvariable;

typedef struct jscope {
    jvariable *first;
    size_t n; /* variables */
    struct jscope *outer;
} jscope;

typedef struct jloop {
    const jvalue *v;
    size_t n, at;
    size_t depth; /* 1 for the outermost */
} jloop;

/* One rendering. */
typedef struct jrun {
    arena a;
    jinja_at at;
    size_t left;  /* work that it may still do: about one per byte written or looked at */
    size_t depth; /* of the tree that is being evaluated */
    size_t level; /* of the list that is being compared */
    jscope *scope;
    buf *text, *made; /* what is printed */
    const jinja_input *in;
    size_t loops;    /* around what is being done */
    jvalue captured; /* by the block set whose filters are being applied */
    const jvalue *caller; /* what the call that is being made passes as caller; NULL: nothing */
} jrun;

pgr_status jv_spend(jrun *r, size_t work);
pgr_status jv_alloc(jrun *r, size_t count, size_t size, void *out /* a pointer to set */);

/* ---- making ---- */
static inline jvalue jv_none(void) {
    return (jvalue){.kind = JV_NONE};
}
static inline jvalue jv_bool(bool b) {
    return (jvalue){.kind = JV_BOOL, .b = b};
}
static inline jvalue jv_int(int64_t i) {
    return (jvalue){.kind = JV_INT, .i = i};
}
static inline jvalue jv_string(jstring s) {
    return (jvalue){.kind = JV_STRING, .s = s};
}
static inline jvalue jv_list(const jvalue *v, size_t n, jform form) {
    return (jvalue){.kind = JV_LIST, .form = form, .list = {v, n}};
}
static inline bool jv_is_markup(const jvalue *v) {
    return v->kind == JV_STRING && v->form == JF_MARKUP;
}
jvalue jv_undefined(const char *name, size_t n);

/* ---- asking ---- */
const char *jv_name(const jvalue *v); /* "a string", for messages */
pgr_status jv_true(jrun *r, const jvalue *v, bool *out);
bool jv_is(const jvalue *v, const char *text); /* a string with these characters */
pgr_status jv_equal(jrun *r, const jvalue *a, const jvalue *b, bool *out);
pgr_status jv_compare(jrun *r, const char *op, const jvalue *a, const jvalue *b, bool *out); /* < <= > >= */
pgr_status jv_in(jrun *r, const jvalue *what, const jvalue *in, bool *out);
pgr_status jv_str(jrun *r, const jvalue *v, jstring *out);                        /* as printed */
pgr_status jv_repr(jrun *r, const jvalue *v, jstring *out); /* as it is printed inside a list */
pgr_status jv_elements(jrun *r, const jvalue *v, const jvalue **list, size_t *n); /* what a loop goes over */
const jvalue *jv_find(const jvalue *dict, const char *key, size_t n);
jvariable *jv_variable(const jscope *s, const char *name, size_t n);

/* of a truth value, an integer, a number with a point; jv_integer not of the last */
static inline bool jv_is_number(const jvalue *v) {
    return v->kind == JV_BOOL || v->kind == JV_INT || v->kind == JV_REAL;
}
static inline int64_t jv_integer(const jvalue *v) {
    return v->kind == JV_BOOL ? v->b : v->i;
}
static inline double jv_real(const jvalue *v) {
    return v->kind == JV_REAL ? v->f : (double)jv_integer(v);
}

/* ---- computing (jinja_operator.c) ---- */
pgr_status jv_binary(jrun *r, const char *op, const jvalue *a, const jvalue *b, jvalue *out);
pgr_status jv_item(jrun *r, const jvalue *object, const jvalue *index, jvalue *out);
/* parts: start, stop, step; undefined where left out */
pgr_status jv_slice(jrun *r, const jvalue *object, const jvalue parts[3], jvalue *out);

/* ---- strings (jinja_string.c) ---- */
/* Memory for n bytes, and for who made them or *made = NULL. */
pgr_status js_room(jrun *r, size_t n, bool has_made, char **s, uint8_t **made);
pgr_status js_join(jrun *r, jstring a, jstring b, jstring *out);
/* A copy; by the template if made. */
pgr_status jv_text(jrun *r, const char *s, size_t n, bool made, jstring *out);
/* What two buffers hold. */
pgr_status jv_taken(jrun *r, const buf *text, const buf *made, jstring *out);
bool js_is(jstring s, const char *text);
jstring js_part(jstring s, size_t begin, size_t end);
size_t js_find(jstring s, size_t from, jstring what); /* SIZE_MAX: not there */
size_t js_char(jstring s, size_t at); /* bytes of the character at `at`; a byte that is no UTF-8 is one */
size_t js_length(jstring s);          /* in characters */
/* chars NULL: white space */
jstring js_strip(jstring s, const jstring *chars, bool left, bool right);
void js_put(buf *text, buf *made, jstring s);

#endif
