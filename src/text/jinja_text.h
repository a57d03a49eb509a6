/* jinja_text.h - private to the interpreter: what filters and methods share. */
#ifndef PGR_TEXT_JINJA_TEXT_H
#define PGR_TEXT_JINJA_TEXT_H

#include "text/jinja_call.h"

enum { JINJA_MAX_SLOT = 4 };

typedef struct jslot {
    bool given;
    jvalue v;
} jslot;

/* Arguments by place or name. names: "old,new,count", of which the first `required` must be given. */
pgr_status jinja_bind(jrun *r, const char *what, const char *names, size_t required, jarguments args, jslot *slots);
pgr_status jinja_want(jrun *r, const char *what, jkind kind, const jvalue *v);

typedef enum jcase { JC_UPPER, JC_LOWER, JC_CAPITALIZE, JC_TITLE_METHOD, JC_TITLE_FILTER } jcase;
/* Letters of ASCII; others are refused, since Python's rules for them are not ours. */
pgr_status jinja_case(jrun *r, jcase how, jstring s, jvalue *out);
/* count -1: all. What stands for a content's bytes counts as content, whoever wrote it. */
pgr_status jinja_replace(jrun *r, jstring s, jstring old, jstring by, int64_t count, jvalue *out);
pgr_status jinja_join(jrun *r, const jvalue *list, size_t n, jstring between, jvalue *out);
pgr_status jinja_tojson(jrun *r, const jvalue *v, int64_t indent /* -1: one line */, jvalue *out);

#endif
