/* models.h - what a request may name as its model: the model itself, and the model with one of the adapters that were
 * loaded. Any thread. What a request has found stays as it is until the request has ended, whatever is loaded or
 * unloaded meanwhile. */
#ifndef PGR_SERVE_MODELS_H
#define PGR_SERVE_MODELS_H

#include "base/json.h"
#include "infer/engine.h"

typedef struct models models;
typedef struct served served;

/* plain: the model itself is written with without the engine's own adapters. name is copied, what is no UTF-8 in it
 * as U+FFFD: so it is listed, asked for and answered with. */
pgr_status models_create(pgr_model *model, const char *name, bool plain, models **out, pgr_error *err);
void models_free(models *m); /* nothing may be in use; NULL is fine */

/* One more user; NULL: there is none of that name. name NULL: the model itself. */
served *models_find(models *m, const char *name);
void served_drop(served *s); /* NULL is fine */
const char *served_name(const served *s);
const infer_adapters *served_adapters(const served *s); /* as infer_request.adapters */

/* Reads the adapter (pgr_lora_open; slow), then in one moment the name means it. in_place: one of that name is
 * replaced, else it is an error. What runs keeps the one that it has. */
pgr_status models_load(models *m, const char *name, const char *path, bool in_place, pgr_error *err);
bool models_unload(models *m, const char *name); /* false: no adapter has that name */

/* OpenAI's list, a new reference; NULL: out of memory. */
json_t *models_json(models *m, size_t n_ctx);

#endif
