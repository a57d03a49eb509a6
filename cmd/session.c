/* session.c - opening the model, the embedder, the store; see session.h. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "message.h"

/* ---- the model ---- */

const char *remote_addresses(const common_options *o) {
    const char *name = o->model ? o->model : getenv("PGENRM_MODEL");
    return name && is_address(name) ? name : NULL;
}

int check_variable(const char *variable) {
    const char *value = getenv(variable);
    pgr_error err = {0};
    if (!value || !is_address(value) || pgr_addresses_check(value, &err) == PGR_OK) return EXIT_DONE;
    complain("$%s: %s", variable, err.message);
    return EXIT_USAGE;
}

int find_model(const common_options *o, char **path) {
    const char *urls = remote_addresses(o);
    if (urls) {
        complain("%s%s: this needs a model's files, expected a GGUF file, a folder or a model's name",
                 o->model ? "" : "$PGENRM_MODEL: ", urls);
        return EXIT_USAGE;
    }
    pgr_error err = {0};
    return pgr_model_find(o->model, path, &err) == PGR_OK ? EXIT_DONE : complain_error(&err);
}

int take_shipped_adapter(common_options *common, const char *frame, char **path) {
    *path = NULL;
    if (common->n_lora > 0 || common->no_lora || remote_addresses(common) || (frame && strcmp(frame, "compact") != 0))
        return EXIT_DONE;
    char *model = NULL;
    int status = find_model(common, &model);
    if (status != EXIT_DONE) return status;
    pgr_error err = {0};
    pgr_status found = pgr_adapter_find(model, path, &err);
    pgr_free(model);
    if (found != PGR_OK) return complain_error(&err);
    if (*path) common->loras[common->n_lora++] = (lora_option){*path, strlen(*path), 1};
    return EXIT_DONE;
}

static pgr_status open_loras(const common_options *o, session *s, pgr_error *err) {
    float scales[ARGS_MAX_LORA];
    for (size_t i = 0; i < o->n_lora; i++) {
        char *path = must_dup(o->loras[i].text, o->loras[i].n);
        pgr_status opened = pgr_lora_open(s->model, path, &s->loras[i], err);
        free(path);
        if (opened != PGR_OK) return opened;
        scales[i] = o->loras[i].scale;
    }
    return o->n_lora > 0 ? pgr_engine_set_loras(s->engine, s->loras, scales, o->n_lora, err) : PGR_OK;
}

static int connect_session(const common_options *o, session *s) {
    pgr_remote_options remote = o->remote;
    pgr_error err = {0};
    if (o->n_lora > 0) {
        complain("--lora: adapters are loaded by the server, expected --remote-model with the adapter's name there");
        return EXIT_USAGE;
    }
    int status = o->model ? EXIT_DONE : check_variable("PGENRM_MODEL");
    if (status != EXIT_DONE) return status;
    s->bar = pgr_progress_bar_create(o->quiet);
    remote.urls = remote_addresses(o);
    remote.watch = bar_watch(s->bar);
    return finish_call(pgr_engine_connect(&remote, &s->engine, &err), &err);
}

/* engine NULL: none */
static int open_session(const common_options *o, const pgr_engine_options *engine, session *s) {
    *s = (session){0};
    if (engine && remote_addresses(o)) return connect_session(o, s);
    char *path = NULL;
    int status = find_model(o, &path);
    if (status != EXIT_DONE) return status;

    s->bar = pgr_progress_bar_create(o->quiet);
    pgr_model_options mo = pgr_model_options_default();
    mo.dtype = o->dtype;
    mo.n_thread = o->n_thread;
    mo.chat_template = o->chat_template;
    mo.watch = bar_watch(s->bar);
    pgr_error err = {0};
    pgr_status made = pgr_model_open(path, &mo, &s->model, &err);
    if (made == PGR_OK && engine) made = pgr_engine_create(s->model, engine, &s->engine, &err);
    if (made == PGR_OK && engine) made = open_loras(o, s, &err);
    pgr_free(path);
    return finish_call(made, &err);
}

int session_open(const common_options *o, bool engine, session *s) {
    pgr_engine_options usual = pgr_engine_options_default();
    return open_session(o, engine ? &usual : NULL, s);
}

int session_open_engine(const common_options *o, const pgr_engine_options *engine, session *s) {
    return open_session(o, engine, s);
}

void session_close(session *s) {
    pgr_progress_bar_free(s->bar);
    pgr_engine_free(s->engine);
    for (size_t i = 0; i < ARGS_MAX_LORA; i++) pgr_lora_close(s->loras[i]);
    pgr_model_close(s->model);
    *s = (session){0};
}

/* ---- embedder and store ---- */

int open_embedder_at(const char *path, pgr_dtype dtype, int n_thread, pgr_progress_bar *bar, pgr_embedder **e) {
    pgr_error err = {0};
    pgr_model_options mo = pgr_model_options_default();
    mo.dtype = dtype;
    mo.n_thread = n_thread;
    mo.watch = bar_watch(bar);
    pgr_status opened = pgr_embedder_open(path, &mo, e, &err);
    return finish_call(opened, &err);
}

int find_embedder(const char *name, char **path) {
    pgr_error err = {0};
    int status = name && *name ? EXIT_DONE : check_variable("PGENRM_EMBEDDER");
    if (status != EXIT_DONE) return status;
    return pgr_embedder_find(name, path, &err) == PGR_OK ? EXIT_DONE : complain_error(&err);
}

int open_embedder(const char *name, pgr_dtype dtype, int n_thread, pgr_progress_bar *bar, pgr_embedder **e) {
    char *path = NULL;
    int status = find_embedder(name, &path);
    if (status == EXIT_DONE) status = open_embedder_at(path, dtype, n_thread, bar, e);
    pgr_free(path);
    return status;
}

int find_store(const char *name, char **path) {
    pgr_error err = {0};
    return pgr_store_find(name, path, &err) == PGR_OK ? EXIT_DONE : complain_usage(&err);
}

int open_store(const char *name, pgr_store_mode mode, pgr_store **store) {
    char *path = NULL;
    pgr_error err = {0};
    int status = find_store(name, &path);
    if (status == EXIT_DONE && pgr_store_open(path, mode, store, &err) != PGR_OK) status = complain_error(&err);
    pgr_free(path);
    return status;
}
