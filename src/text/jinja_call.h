/* jinja_call.h - private to the interpreter: what templates can call: filters, tests, methods, functions. */
#ifndef PGR_TEXT_JINJA_CALL_H
#define PGR_TEXT_JINJA_CALL_H

#include "text/jinja_value.h"

typedef struct jargument {
    const char *name; /* "" without one */
    size_t n_name;
    jvalue value;
} jargument;

typedef struct jarguments {
    const jargument *v;
    size_t n;
} jarguments;

/* The number of a filter or test in its table; -1: there is none that we have. */
int jinja_filter_find(const char *name, size_t n);
int jinja_test_find(const char *name, size_t n);
int jinja_function_find(const char *name, size_t n);

pgr_status jinja_filter(jrun *r, int number, const jvalue *v, jarguments args, jvalue *out);
pgr_status jinja_test(jrun *r, int number, const jvalue *v, jarguments args, bool *out);
pgr_status jinja_function(jrun *r, int number, jarguments args, jvalue *out);
/* Of a string or dictionary. */
pgr_status jinja_method(jrun *r, const jvalue *object, const char *name, size_t n, jarguments args, jvalue *out);
/* Does Python have an attribute of this name for such a value? */
bool jinja_has_method(const jvalue *object, const char *name, size_t n);

/* object.name and object[name]. */
pgr_status jinja_attribute(jrun *r, const jvalue *object, const char *name, size_t n, bool item, jvalue *out);

/* The variable of the innermost scope, a new one if there is none. */
pgr_status jinja_assign(jrun *r, jscope *scope, const char *name, size_t n, const jvalue *v);

#endif
