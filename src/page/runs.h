/* runs.h - the folders that `bench` and `train` write, below one folder, for reading: which there are, and their files.
 * Nothing else of that folder is read: no link is followed, no path leads out of it, and a file is one of RUN_FILES. */
#ifndef PGR_PAGE_RUNS_H
#define PGR_PAGE_RUNS_H

#include "base/json.h"

enum { RUNS_MOST = 1000, RUNS_DEPTH = 4 }; /* listed; folders that a name may have */

extern const char *const RUN_FILES[]; /* "rows.jsonl", ...; the last is NULL */

/* An array of {"name", "kind": "bench" | "train", "changed": seconds since 1970, "files": {name: bytes}}, by name. The
 * name is the path below `folder`, with '/' between; "." where the folder itself is a run. */
pgr_status runs_list(const char *folder, json_t **out, pgr_error *err);

/* Appends up to `most` bytes of a run's file from byte `from` on; where there are more, only whole lines. path:
 * "NAME/FILE", or "FILE" of the folder itself. PGR_E_ARG: there is no such file. */
pgr_status runs_read(const char *folder, const char *path, uint64_t from, size_t most, buf *out, pgr_error *err);

#endif
