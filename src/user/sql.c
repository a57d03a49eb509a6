/* sql.c - running the store's statements, whatever database is behind it, and transactions; see sql.h. */
#include "user/sql.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/mem.h"
#include "user/store_parts.h"

/* ---- statements -------------------------------------------------------------------------------------------------- */

static sql_value value_of(char type, va_list *ap) {
    sql_value v = {.type = type};
    switch (type) {
    case 't':
        v.bytes = va_arg(*ap, const char *);
        v.null = !v.bytes;
        v.n = v.bytes ? strlen(v.bytes) : 0;
        break;
    case 'i':
        v.integer = va_arg(*ap, int64_t);
        break;
    case 'd':
        v.real = va_arg(*ap, double);
        v.null = isnan(v.real);
        break;
    default:
        v.bytes = va_arg(*ap, const void *);
        v.n = va_arg(*ap, size_t);
    }
    return v;
}

pgr_status sql_run(pgr_store *s, sql_name name, bool *row, pgr_error *err, const char *types, ...) {
    sql_value v[SQL_VALUES];
    size_t n = 0;
    bool there = false;
    va_list ap;
    va_start(ap, types);
    for (; types[n]; n++) {
        PGR_ASSERT(n < SQL_VALUES);
        v[n] = value_of(types[n], &ap);
    }
    va_end(ap);
    PGR_TRY(s->ops->run(s, name, v, n, &there, err));
    if (row) *row = there;
    return PGR_OK;
}

pgr_status sql_next(pgr_store *s, sql_name name, bool *row, pgr_error *err) {
    return s->ops->next(s, name, row, err);
}

void sql_end(pgr_store *s, sql_name name) {
    s->ops->end(s, name);
}

pgr_status sql_done(pgr_store *s, sql_name name, pgr_status status) {
    sql_end(s, name);
    return status;
}

int64_t sql_integer(pgr_store *s, sql_name name, int column) {
    return s->ops->integer(s, name, column);
}

double sql_real(pgr_store *s, sql_name name, int column) {
    return s->ops->is_null(s, name, column) ? NAN : s->ops->real(s, name, column);
}

const char *sql_text(pgr_store *s, sql_name name, int column) {
    const char *text = s->ops->text(s, name, column);
    return text ? text : "";
}

const void *sql_bytes(pgr_store *s, sql_name name, int column, size_t *n) {
    return s->ops->bytes(s, name, column, n);
}

void sql_forget_known(pgr_store *s) {
    for (size_t i = 0; i < SQL_KNOWN; i++) {
        mem_free(s->known[i].id);
        s->known[i].id = NULL;
    }
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

static pgr_status begin(store *s, bool many, pgr_error *err) {
    PGR_ASSERT(!s->batch);
    s->full = false;
    pgr_status status = s->ops->begin(s, many, err);
    s->batch = status == PGR_OK;
    sql_forget_known(s); /* another program may have forgotten them since the last batch */
    return status;
}

pgr_status store_begin(store *s, pgr_error *err) {
    return begin(s, true, err);
}

pgr_status store_begin_user(store *s, pgr_error *err) {
    return begin(s, false, err);
}

pgr_status store_commit(store *s, pgr_error *err) {
    PGR_ASSERT(s->batch);
    pgr_status status = s->ops->commit(s, err);
    if (status == PGR_OK) {
        s->batch = false;
        store_scrub_late(s);
    } else {
        store_rollback(s);
    }
    return status;
}

bool store_is_full(const store *s) {
    return s->full;
}

void store_rollback(store *s) {
    if (!s->batch) return;
    s->batch = false;
    sql_forget_known(s); /* those users may be gone */
    s->ops->rollback(s);
}
