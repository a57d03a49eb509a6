/* jinja_run.h - private to the interpreter: what statements and expressions need of each other. */
#ifndef PGR_TEXT_JINJA_RUN_H
#define PGR_TEXT_JINJA_RUN_H

#include "text/jinja_call.h"

enum {
    MAX_DEPTH = 300, /* of the tree and the macros called in it */
    WORK_NODE = 32,  /* what a node costs, in bytes of work */
};

typedef enum flow { GO_ON, BREAK, CONTINUE } flow;

pgr_status jinja_new_scope(jrun *r, jscope *outer, jscope **out);
/* One name takes the value, several take its elements. */
pgr_status jinja_assign_names(jrun *r, jscope *scope, const jnode *names, const jvalue *v);

/* out is set to something harmless even on error */
pgr_status jinja_eval(jrun *r, const jnode *n, jvalue *out);
/* caller: of a call block; NULL: none */
pgr_status jinja_eval_call(jrun *r, const jnode *n, const jvalue *caller, jvalue *out);
/* What the statements print, as a string. They run in `scope`. */
pgr_status jinja_capture(jrun *r, jscope *scope, const jnode *body, jstring *out);

/* Until the end or a break or continue, which *how then says. */
pgr_status jinja_run_list(jrun *r, const jnode *list, flow *how);

#endif
