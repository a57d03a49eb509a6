/* watch.h - the caller's side of a long call: what it is told and whether it is to stop. A pgr_watch that is NULL, or
 * all zero, is nobody watching. */
#ifndef PGR_BASE_WATCH_H
#define PGR_BASE_WATCH_H

#include "base/status.h"

static inline bool watch_cancelled(const pgr_watch *w) {
    return w && w->cancel && __atomic_load_n(w->cancel, __ATOMIC_RELAXED); /* another thread may set it */
}

/* PGR_E_CANCELLED once *cancel is set. */
static inline pgr_status watch_check(const pgr_watch *w, pgr_error *err) {
    return watch_cancelled(w) ? fail(err, PGR_E_CANCELLED, "%s", pgr_status_text(PGR_E_CANCELLED)) : PGR_OK;
}

static inline void watch_report(const pgr_watch *w, const char *label, uint64_t done, uint64_t total,
                                const char *unit) {
    if (w && w->progress) w->progress(w->progress_ctx, label, done, total, unit);
}

#endif
