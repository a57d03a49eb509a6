/* dataset_make.h - small data files for the tests of the user room: written into its scratch folder and read back. */
#ifndef PGR_TESTS_DATASET_MAKE_H
#define PGR_TESTS_DATASET_MAKE_H

#include "../base/faults.h"
#include "../base/scratch.h"

#include <zlib.h>

#include "user/dataset.h"

/* All records of a file, 100 at most; *n of them. Fails on an error. */
static inline record *records_of(const char *path, const char *form, arena *a, size_t *n) {
    dataset *d = NULL;
    pgr_error err = {0};
    if (dataset_open(path, &(dataset_options){.form = form}, &d, &err) != PGR_OK) fail_msg("%s", err.message);
    record *all = arena_array(a, 100, sizeof *all);
    bool more = true;
    for (*n = 0; more; *n += more)
        if (dataset_next(d, a, &all[*n], &more, &err) != PGR_OK) fail_msg("%s", err.message);
    dataset_close(d);
    return all;
}

/* Those of the file "mem", for fail_each_allocation. */
static inline bool read_mem(void) {
    dataset *d = NULL;
    arena a = {0};
    record r;
    bool more = true, good = dataset_open(path_of("mem"), NULL, &d, NULL) == PGR_OK;
    while (good && more) good = dataset_next(d, &a, &r, &more, NULL) == PGR_OK;
    dataset_close(d);
    arena_free(&a);
    return good;
}

static inline const char *write_gzip(const char *name, const char *text) {
    const char *path = path_of(name);
    gzFile f = gzopen(path, "wb");
    if (!f || gzwrite(f, text, (unsigned)strlen(text)) != (int)strlen(text) || gzclose(f) != Z_OK) abort();
    return path;
}

#define CONTEXT "\"context\":[{\"role\":\"user\",\"content\":\"which?\"}]"
/* A record of the user u. */
#define ROW(u, chosen, rejected, rest)                                                                                 \
    "{\"user_id\":\"" u "\"," CONTEXT ",\"chosen\":\"" chosen "\",\"rejected\":\"" rejected "\"" rest "}\n"

#endif
