/* hub_list.h - names on a Hugging Face hub: models, revisions, addresses, and the hub's list of a model's files. */
#ifndef PGR_HUB_HUB_LIST_H
#define PGR_HUB_HUB_LIST_H

#include "base/arena.h"
#include "hub/hub_check.h"

typedef struct hub_model {
    char id[200];       /* "ORG/NAME" */
    char revision[200]; /* branch, tag or commit; "main" if none was named */
} hub_model;

/* "ORG/NAME[@REV]" */
pgr_status hub_model_parse(const char *text, hub_model *out, pgr_error *err);

typedef struct hub_file {
    const char *name; /* path below the model's folder, checked by hub_path_safe */
    int64_t size;     /* -1: not told */
    file_hash hash;   /* HASH_NONE: not told */
} hub_file;

typedef struct hub_list {
    char commit[65];
    hub_file *files; /* (n) in memory's */
    size_t n;
    arena memory;
} hub_list; /* all zero is an empty list */

/* The hub's answer to hub_list_url. Every name is checked; one that is not safe, or comes twice, refuses the answer. */
pgr_status hub_list_parse(const char *json, size_t len, const char *origin, hub_list *out, pgr_error *err);
void hub_list_free(hub_list *list);

/* A relative path without "..", ".", empty parts, backslashes, control characters and the endings of our own files. */
bool hub_path_safe(const char *name);

/* Files that pgenrm reads (docs/pull.md); all: every file. glob: only what it matches, NULL: no such limit. */
bool hub_file_wanted(const char *name, bool all, const char *glob);

/* Addresses; NULL when out of memory. The caller's (mem_free). */
char *hub_list_url(const char *endpoint, const hub_model *m);
char *hub_file_url(const char *endpoint, const hub_model *m, const char *commit, const char *name);

#endif
