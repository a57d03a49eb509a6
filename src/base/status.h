/* status.h - how calls fail: the status table is in pgenrm.h; here are the helpers that fill in a pgr_error. */
#ifndef PGR_BASE_STATUS_H
#define PGR_BASE_STATUS_H

#include "pgenrm.h"

/* Writes the message into err (may be NULL) and returns status: `return fail(err, PGR_E_FORMAT, "...")`. */
pgr_status fail(pgr_error *err, pgr_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
pgr_status fail_mem(pgr_error *err); /* PGR_E_MEM */

#define PGR_TRY(call)                                                                                                  \
    do {                                                                                                               \
        pgr_status try_ = (call);                                                                                      \
        if (try_ != PGR_OK) return try_;                                                                               \
    } while (0)

/* Our own bugs; kept in release builds. */
#define PGR_ASSERT(cond) ((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void assert_failed(const char *cond, const char *file, int line);

#endif
