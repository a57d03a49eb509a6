/* hub_cache.h - what is on disk already: the record of an earlier pull,
 * and the cache of Hugging Face's own programs. */
#ifndef PGR_HUB_HUB_CACHE_H
#define PGR_HUB_HUB_CACHE_H

#include "hub/hub_list.h"

/* FOLDER/.pgenrm-pull.json: which files an earlier pull left there, verified, and of which commit. */
typedef struct pull_record {
    hub_list list;      /* sizes known, hashes not */
    int64_t *mtimes;    /* (list.n) nanoseconds, when the file was verified */
    char id[200], revision[200];
    bool complete;      /* that pull got all it wanted */
} pull_record; /* all zero: no record */

/* No file, or one that is no record of ours: an empty record and PGR_OK. */
pgr_status record_read(const char *folder, pull_record *out, pgr_error *err);
void record_free(pull_record *r);
/* *size is the file's size if it is as the earlier pull left it, else -1. */
pgr_status record_holds(const pull_record *r, const char *folder, const char *name, int64_t *size, pgr_error *err);
/* files (n): those that are there; others of the same commit in `old` that still hold are kept.
 * Replaces the record at once. */
pgr_status record_write(const char *folder, const hub_model *m, const char *commit, bool complete,
                        hub_file *const *files, size_t n, const pull_record *old, pgr_error *err);

/* The folder of $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
 * The caller's (mem_free); NULL when out of memory. */
char *hub_cache_folder(void);
/* The commit that a revision stands for in that cache: refs/REV, or REV itself where it is a commit; "" if unknown. */
pgr_status hub_cache_commit(const char *cache, const hub_model *m, char commit[65], pgr_error *err);
/* CACHE/models--ORG--NAME/snapshots/COMMIT. The caller's (mem_free); NULL when out of memory. */
char *hub_cache_snapshot(const char *cache, const hub_model *m, const char *commit);
/* The files below a snapshot, in the order of their names; none if it is not there. */
pgr_status hub_cache_list(const char *snapshot, const char *commit, hub_list *out, pgr_error *err);

/* FOLDER/NAME becomes a link to the snapshot's file if that is there with the file's size; *linked says so.
 * Sets f->size. */
pgr_status hub_cache_link(const char *snapshot, const char *folder, hub_file *f, bool *linked, pgr_error *err);

#endif
