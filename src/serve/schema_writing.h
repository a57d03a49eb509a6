/* schema_writing.h - a schema's grammar while it is written: how far it is, its small parts. Internal to schema.h. */
#ifndef PGR_SERVE_SCHEMA_WRITING_H
#define PGR_SERVE_SCHEMA_WRITING_H

#include "serve/schema.h"

enum {
    SCHEMA_LEVELS_MOST = 40,     /* of schemas in schemas */
    SCHEMA_BYTES_MOST = 1 << 20, /* of the grammar */
};

typedef struct schema_writing {
    const json_t *root; /* for $ref */
    const char *at;
    buf *out;
    int level;
    long n_written;                           /* schemas */
    const json_t *within[SCHEMA_LEVELS_MOST]; /* (level) schemas that are being written, from the outermost */
    pgr_error *err;
} schema_writing;

/* Inside only: here the schema would hold itself once more than SCHEMA_SELF times. */
#define SCHEMA_TOO_DEEP PGR_E_LIMIT

/* How far the writing was, to take back what turned out too deep. */
typedef struct schema_place {
    size_t n;
    int level;
} schema_place;

schema_place schema_place_of(const schema_writing *w);
/* Where *s is SCHEMA_TOO_DEEP the grammar is as it was there, and *s PGR_OK. */
bool schema_take_back(schema_writing *w, pgr_status *s, schema_place to);

pgr_status schema_unsupported(const schema_writing *w, const char *keyword, const char *why);
pgr_status schema_wrong(const schema_writing *w, const char *keyword, const char *expected);

/* A count; `without` where the keyword is not there. */
pgr_status schema_read_count(const schema_writing *w, const json_t *s, const char *keyword, long without, long *out);

/* The text between quotes of a grammar. */
void schema_put_text(buf *out, const char *s, size_t n);
/* A value itself, as it is written. */
void schema_put_value(buf *out, const json_t *v);
/* {lo,hi} of a repeat; hi -1: no end. */
void schema_put_times(buf *out, long lo, long hi);
/* A value of any kind, so many levels deep. */
void schema_put_any(buf *out, int depth);
extern const char SCHEMA_RULES[]; /* that the parts name: the grammar's end */

/* schema.c: any schema. */
pgr_status schema_put(schema_writing *w, const json_t *schema);
/* schema_kinds.c: a value of this type; an object, a list. */
pgr_status schema_put_type(schema_writing *w, const json_t *schema, const char *type);
pgr_status schema_put_object(schema_writing *w, const json_t *schema);
pgr_status schema_put_array(schema_writing *w, const json_t *schema);

#endif
