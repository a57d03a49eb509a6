/* hub_fetch.h - files from a hub into a folder: several at once, resumed after cuts,
 * verified before they get their name. */
#ifndef PGR_HUB_HUB_FETCH_H
#define PGR_HUB_HUB_FETCH_H

#include "hub/hub_http.h"
#include "hub/hub_list.h"

typedef struct fetch_plan {
    const char *endpoint;
    const hub_model *model;
    const char *commit;
    const char *folder;
    hub_file **files; /* (n) sizes that were not known are filled in */
    size_t n;
    double backoff_s;
    uint64_t bytes_before, bytes_total; /* of all files, those that need no fetching counted, for the progress */
    pgr_watch watch;
} fetch_plan;

enum { FETCH_AT_ONCE = 4 };

/* FOLDER/NAME for every file. A file that is there and has the hub's checksum is left as it is. On errors and after
 * *cancel what has come so far stays as NAME.part (beside NAME.part.etag) and the next call goes on from there.
 * done[i]: files[i] is there. *n_fetched: how many came over the network. */
pgr_status hub_fetch(http_client *client, const fetch_plan *plan, bool *done, size_t *n_fetched, pgr_error *err);

/* The folders above path's last part are made as needed. */
pgr_status hub_make_folders(const char *path, pgr_error *err);

#endif
