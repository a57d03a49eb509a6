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

/* ---- jinja_list.c: filters of lists; slots as their parameters in jinja_filter.c's table ---- */
typedef pgr_status jinja_filter_fn(jrun *r, const jvalue *v, const jslot *slot, jvalue *out);
jinja_filter_fn jinja_f_join, jinja_f_first, jinja_f_last, jinja_f_list, jinja_f_reverse, jinja_f_items, jinja_f_select,
    jinja_f_reject, jinja_f_selectattr, jinja_f_rejectattr, jinja_f_sort, jinja_f_unique, jinja_f_dictsort, jinja_f_min,
    jinja_f_max, jinja_f_sum;
pgr_status jinja_map(jrun *r, const jvalue *v, jarguments args, jvalue *out);

#endif
