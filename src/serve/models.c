/* models.c - see models.h. */
#include "serve/models.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/legible.h"
#include "base/mem.h"

struct served {
    served *next;
    atomic_size_t users; /* the list is one */
    char *name, *path;   /* path NULL: the model itself */
    pgr_lora *lora;
    float scale;
    infer_adapters adapters;
    bool own; /* the engine's adapters, as they are */
    int64_t created;
};

struct models {
    pgr_model *model;
    pthread_mutex_t lock; /* of the list */
    served *first;        /* the model itself is the first */
};

/* A name as answers have it, so that it can be asked for. */
static char *legible(const char *name) {
    buf b = {0};
    legible_add(&b, name, strlen(name));
    return buf_take(&b);
}

static served *make(const char *name, const char *path) {
    served *s = mem_zero(1, sizeof *s);
    if (!s) return NULL;
    atomic_init(&s->users, 1);
    s->created = (int64_t)time(NULL);
    s->name = legible(name);
    s->path = path ? mem_strdup(path) : NULL;
    s->scale = 1.0f;
    s->adapters = (infer_adapters){&s->lora, &s->scale, path ? 1 : 0};
    if (s->name && (s->path || !path)) return s;
    served_drop(s);
    return NULL;
}

void served_drop(served *s) {
    if (!s || atomic_fetch_sub(&s->users, 1) != 1) return;
    pgr_lora_close(s->lora);
    mem_free(s->name);
    mem_free(s->path);
    mem_free(s);
}

pgr_status models_create(pgr_model *model, const char *name, bool plain, models **out, pgr_error *err) {
    models *m = mem_zero(1, sizeof *m);
    served *s = m ? make(name, NULL) : NULL;
    if (!s) {
        mem_free(m);
        return fail_mem(err);
    }
    pthread_mutex_init(&m->lock, NULL);
    s->own = !plain;
    m->model = model;
    m->first = s;
    *out = m;
    return PGR_OK;
}

void models_free(models *m) {
    if (!m) return;
    for (served *s = m->first, *next; s; s = next) {
        next = s->next;
        served_drop(s);
    }
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

/* With the lock. */
static served **find(models *m, const char *name) {
    served **at = &m->first;
    while (*at && strcmp((*at)->name, name) != 0) at = &(*at)->next;
    return at;
}

served *models_find(models *m, const char *name) {
    pthread_mutex_lock(&m->lock);
    served *s = name ? *find(m, name) : m->first;
    if (s) atomic_fetch_add(&s->users, 1);
    pthread_mutex_unlock(&m->lock);
    return s;
}

const char *served_name(const served *s) {
    return s->name;
}

const infer_adapters *served_adapters(const served *s) {
    return s->own ? NULL : &s->adapters;
}

pgr_status models_load(models *m, const char *name, const char *path, bool in_place, pgr_error *err) {
    served *s = make(name, path), *old = NULL;
    if (!s) return fail_mem(err);
    pgr_status st = pgr_lora_open(m->model, path, &s->lora, err);
    pthread_mutex_lock(&m->lock);
    served **at = find(m, name);
    if (st == PGR_OK && *at && (!in_place || !(*at)->path))
        st = fail(err, PGR_E_ARG, "lora_name: %s is there already%s", name, (*at)->path ? " (load_inplace)" : "");
    if (st == PGR_OK) {
        old = *at;
        s->next = old ? old->next : NULL;
        *at = s;
    }
    pthread_mutex_unlock(&m->lock);
    served_drop(st == PGR_OK ? old : s);
    return st;
}

bool models_unload(models *m, const char *name) {
    pthread_mutex_lock(&m->lock);
    served **at = find(m, name), *s = *at && (*at)->path ? *at : NULL;
    if (s) *at = s->next;
    pthread_mutex_unlock(&m->lock);
    served_drop(s);
    return s != NULL;
}

json_t *models_json(models *m, size_t n_ctx) {
    json_t *data = json_array();
    pthread_mutex_lock(&m->lock);
    for (const served *s = m->first; s && data; s = s->next) {
        json_t *one =
            json_pack("{s:o, s:s, s:I, s:s, s:o, s:o, s:I}", "id", legible_json(s->name), "object", "model", "created",
                      (json_int_t)s->created, "owned_by", "pgenrm", "root", legible_json(s->path ? s->path : s->name),
                      "parent", legible_json(s->path ? m->first->name : NULL), "max_model_len", (json_int_t)n_ctx);
        json_add(&data, one);
    }
    pthread_mutex_unlock(&m->lock);
    return data ? json_pack("{s:s, s:o}", "object", "list", "data", data) : NULL;
}
