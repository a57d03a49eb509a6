/* trackio.h - a run's metrics in a database of Trackio (SQLite), so that its dashboard shows them. The metrics file is
 * what counts: of every whole line that has numbers the database has one row, and none besides, however often a run was
 * interrupted. docs/training.md, "A run". */
#ifndef PGR_TRAIN_TRACKIO_H
#define PGR_TRAIN_TRACKIO_H

#include "base/json.h"

typedef struct trackio trackio;

/* where: FILE.db, or the name of a project of Trackio's own folder. run: the run's folder, whose base name is the
 * name of the run there; its rows become those of the file `metrics`, times stay. Folder and database are made where
 * they are missing. PGR_E_ARG: the database has a run of that name and of another folder. */
pgr_status trackio_open(const char *where, const char *run, const char *metrics, const json_t *settings, trackio **out,
                        pgr_error *err);
/* What the file has got since. What cannot be written now is warned of, and taken the next time. */
void trackio_take(trackio *t);
void trackio_close(trackio *t); /* takes what is left; NULL is fine */

#endif
