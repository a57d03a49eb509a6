/* session.h - what commands work with is opened as the options say: the model with its engine and adapters, the
 * embedder, the store. */
#ifndef PGR_CMD_SESSION_H
#define PGR_CMD_SESSION_H

#include "args.h"
#include "pgenrm.h"

typedef struct session {
    pgr_model *model;
    pgr_engine *engine; /* NULL if not asked for */
    pgr_lora *loras[ARGS_MAX_LORA];
    pgr_progress_bar *bar;
} session;

/* EXIT_USAGE and a message where the variable, which stands for an option, has an address that cannot be read: it is as
 * wrong as the option would be. */
int check_variable(const char *variable);
/* The addresses that the options name instead of a model's file; NULL: none. */
const char *remote_addresses(const common_options *o);
/* The file of the model that the options name: an exit status; *path is the caller's (pgr_free). */
int find_model(const common_options *o, char **path);
/* Where no adapter is asked for and the frame (NULL: the model's own) is the compact one: the adapter that comes with
 * pgenrm for this model becomes an option of common. Before the model is opened. *path is the caller's (pgr_free), for
 * as long as common is in use; NULL: none. An exit status. */
int take_shipped_adapter(common_options *common, const char *frame, char **path);
/* Opens the model, and an engine on it with the adapters, as the options say. An exit status; close it in any case. */
int session_open(const common_options *o, bool engine, session *s);
/* The same, the engine with these options. */
int session_open_engine(const common_options *o, const pgr_engine_options *engine, session *s);
void session_close(session *s);

/* The path or the addresses of the embedder of that name (NULL: the default one): an exit status; *path is the caller's
 * (pgr_free). */
int find_embedder(const char *name, char **path);
/* The embedder of that name (NULL: the default one), or of that file or folder. bar: shows the loading, may be NULL. An
 * exit status; *e is the caller's (pgr_embedder_close). */
int open_embedder(const char *name, pgr_dtype dtype, int n_thread, pgr_progress_bar *bar, pgr_embedder **e);
int open_embedder_at(const char *path, pgr_dtype dtype, int n_thread, pgr_progress_bar *bar, pgr_embedder **e);

/* The path or address of the store that --store names (NULL: the default one): an exit status, EXIT_USAGE for an
 * address that cannot be read; *path is the caller's (pgr_free). */
int find_store(const char *name, char **path);
/* The store of users that --store names (NULL: the default one). An exit status; *store is the caller's
 * (pgr_store_close). */
int open_store(const char *name, pgr_store_mode mode, pgr_store **store);

#endif
