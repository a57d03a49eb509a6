/* clerk.c - see clerk.h. */
#include "serve/clerk.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/legible.h"
#include "base/mem.h"
#include "prototype/map.h"
#include "user/store.h"

typedef struct job {
    task task; /* first: the worker keeps it among what is open until it is done */
    atomic_int keepers;
    atomic_bool done;
    clerk *clerk;
    struct job *next;
    call *call;
    clerk_work work;
    char *user;
    buf text;
} job;

struct clerk {
    pthread_t thread;
    pthread_mutex_t lock; /* of the list and `stop` */
    pthread_cond_t news;
    job *first, **end;
    bool stop;
    pgr_store *store; /* the thread's */
    char *protos;
};

/* What the store could not do. */
static void fail_job(job *j, const pgr_error *err) {
    if (err->status == PGR_E_IO && store_is_full(j->clerk->store))
        call_fail(j->call, 507, "server_error", NULL, "no_room", "%s", err->message);
    else
        call_fail_error(j->call, err);
}

/* ---- the work ---------------------------------------------------------------------------------------------------- */

/* Why a pair was not taken; NULL: it was. */
static const char *left_out(const pgr_imported *n) {
    for (size_t i = 0; i < PGR_LEFT_N; i++)
        if (n->left_out[i]) return pgr_left_text((pgr_left)i);
    return NULL;
}

static void add_user(job *j) {
    pgr_imported n;
    pgr_error err;
    if (pgr_user_add(j->clerk->store, j->text.data, j->text.n, "body", &n, &err) != PGR_OK) {
        fail_job(j, &err);
        return;
    }
    const char *why = left_out(&n);
    if (j->work == CLERK_FEEDBACK && n.pairs + n.known == 0) {
        call_refuse(j->call, NULL, "this makes no pair: %s", why ? why : "there is none");
        return;
    }
    json_t *out =
        json_pack("{s:s,s:I,s:I}", "user", j->user, "added", (json_int_t)n.pairs, "known", (json_int_t)n.known);
    if (j->work == CLERK_PUT) json_give(&out, "created", json_boolean(n.users > 0));
    if (why) json_give(&out, "left_out", legible_json(why));
    call_reply_json(j->call, 200, out);
}

static bool put_line(void *ctx, const char *text, size_t n) {
    buf *out = ctx;
    buf_add(out, text, n);
    return !out->failed;
}

/* Answers with 404 where there is none. */
static bool find_user(job *j) {
    bool there = false;
    pgr_error err;
    if (store_has_user(j->clerk->store, j->user, &there, &err) != PGR_OK) {
        call_fail_error(j->call, &err);
        return false;
    }
    if (!there) call_fail(j->call, 404, "not_found_error", "user", "no_such_user", "there is no such user");
    return there;
}

/* The rows are gone. why: their bytes are not yet, as a reader holds the store: that is 202, and said. */
static void reply_erased(job *j, json_t *out, const pgr_error *why) {
    json_give(&out, "erased", json_boolean(!why));
    if (why) json_give(&out, "note", legible_json(why->message));
    call_reply_json(j->call, why ? 202 : 200, out);
}

static void forget_pair(job *j) {
    json_t *pair = NULL;
    size_t n = 0;
    pgr_error err;
    if (!find_user(j)) return;
    pgr_status s = json_parse(j->text.data, j->text.n, "body", 1, &pair, &err);
    if (s == PGR_OK)
        s = pgr_user_forget_pair(j->clerk->store, j->user, json_string_value(json_object_get(pair, "query")),
                                 json_string_value(json_object_get(pair, "chosen")),
                                 json_string_value(json_object_get(pair, "rejected")), &n, &err);
    json_decref(pair);
    if (s == PGR_OK || (s == PGR_E_IO && n > 0))
        reply_erased(j, json_pack("{s:s,s:I}", "user", j->user, "removed", (json_int_t)n), s == PGR_OK ? NULL : &err);
    else
        fail_job(j, &err);
}

static void show_user(job *j) {
    buf out = {0};
    pgr_error err;
    if (!find_user(j)) return;
    if (pgr_user_export(j->clerk->store, j->user, PGR_USER_REQUEST, put_line, &out, &err) == PGR_OK) {
        call_reply(j->call, 200, &out);
        return;
    }
    buf_free(&out);
    call_fail_error(j->call, &err);
}

static void forget_user(job *j) {
    pgr_error err;
    bool there = false;
    const char *ids[] = {j->user};
    if (!find_user(j)) return;
    pgr_status s = pgr_user_forget(j->clerk->store, ids, 1, &err);
    bool gone =
        s == PGR_OK || (s == PGR_E_IO && store_has_user(j->clerk->store, j->user, &there, NULL) == PGR_OK && !there);
    if (gone)
        reply_erased(j, json_pack("{s:s,s:b}", "user", j->user, "forgotten", 1), s == PGR_OK ? NULL : &err);
    else
        fail_job(j, &err);
}

static pgr_status draw_marked(const job *j, const json_t *marks, char **svg, pgr_error *err) {
    const json_t *near = json_object_get(marks, "neighbours"), *prototype = json_object_get(marks, "prototype");
    const json_t *user = json_object_get(marks, "user"),
                 *id = json_is_object(user) ? json_object_get(user, "id") : user;
    size_t n = json_array_size(near);
    const char **ids = mem_array(n + 1, sizeof *ids);
    if (!ids) return fail_mem(err);
    for (size_t i = 0; i < n; i++) ids[i] = json_string_value(json_array_get(near, i));
    map_view view = {.scope = j->user,
                     .user = json_string_value(id),
                     .prototype = json_is_integer(prototype) ? (int)json_integer_value(prototype) : -1,
                     .near = ids,
                     .n_near = n};
    pgr_status s = proto_map(j->clerk->protos, 0, &view, svg, err);
    mem_free(ids);
    return s;
}

static void draw_map(job *j) {
    char *svg = NULL;
    json_t *marks = NULL;
    buf out = {0};
    pgr_error err;
    if (!j->clerk->protos) {
        call_fail(j->call, 404, "not_found_error", NULL, "no_prototypes", "this server has no prototypes");
        return;
    }
    pgr_status s = j->text.n ? json_parse(j->text.data, j->text.n, "body", 1, &marks, &err) : PGR_OK;
    if (s == PGR_OK) s = draw_marked(j, marks, &svg, &err);
    json_decref(marks);
    if (s != PGR_OK) {
        call_fail_error(j->call, &err);
        return;
    }
    buf_puts(&out, svg);
    pgr_free(svg);
    call_reply_as(j->call, 200, "image/svg+xml", &out);
}

enum { USERS_MOST = 500 };

typedef struct user_list {
    json_t *list;
    bool more;
} user_list;

static bool list_user(void *ctx, const pgr_user_row *row) {
    user_list *l = ctx;
    l->more = json_array_size(l->list) == USERS_MOST;
    if (l->more) return false;
    json_add(&l->list, json_pack("{s:o,s:I}", "id", legible_json(row->id), "pairs", (json_int_t)row->pairs));
    return l->list != NULL;
}

static void list_users(job *j) {
    user_list l = {.list = json_array()};
    pgr_error err;
    if (l.list && store_list_named(j->clerk->store, j->user, USERS_MOST + 1, list_user, &l, &err) != PGR_OK) {
        json_decref(l.list);
        call_fail_error(j->call, &err);
        return;
    }
    call_reply_json(j->call, 200, json_pack("{s:o,s:b}", "users", l.list, "more", l.more));
}

static void do_job(job *j) {
    static void (*const WORK[])(job *) = {
        [CLERK_FEEDBACK] = add_user, [CLERK_FORGET_PAIR] = forget_pair, [CLERK_PUT] = add_user,
        [CLERK_SHOW] = show_user,    [CLERK_FORGET] = forget_user,      [CLERK_MAP] = draw_map,
        [CLERK_USERS] = list_users};
    WORK[j->work](j);
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

static void job_release(job *j) {
    if (atomic_fetch_sub(&j->keepers, 1) != 1) return;
    buf_free(&j->text);
    mem_free(j->user);
    mem_free(j);
}

static void *work(void *ctx) {
    clerk *k = ctx;
    pthread_mutex_lock(&k->lock);
    for (;;) {
        while (!k->first && !k->stop) pthread_cond_wait(&k->news, &k->lock);
        job *j = k->first;
        if (!j) break;
        k->first = j->next;
        if (!k->first) k->end = &k->first;
        pthread_mutex_unlock(&k->lock);
        do_job(j);
        call *c = j->call;
        worker *w = j->task.worker;
        atomic_store(&j->done, true);
        job_release(j);
        call_release(c);
        worker_wake(w);
        pthread_mutex_lock(&k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

static pgr_status begin_job(task *t, pgr_error *err) {
    (void)err;
    job *j = (job *)t;
    clerk *k = j->clerk;
    j->call = t->call;
    call_keep(j->call);
    atomic_fetch_add(&j->keepers, 1);
    pthread_mutex_lock(&k->lock);
    *k->end = j;
    k->end = &j->next;
    pthread_cond_signal(&k->news);
    pthread_mutex_unlock(&k->lock);
    return PGR_OK;
}

static void look_at_job(task *t, double now) {
    (void)now;
    if (atomic_load(&((job *)t)->done)) task_end(t);
}

static void free_job(task *t) {
    job_release((job *)t);
}

static const task_kind JOB = {.name = "store", .begin = begin_job, .tick = look_at_job, .free = free_job};

void clerk_give(clerk *k, call *c, clerk_work work_, const char *user, buf *text) {
    if (!k) {
        if (text) buf_free(text);
        call_fail(c, 501, "server_error", NULL, "no_store", "this server has no store of users");
        return;
    }
    job *j = mem_zero(1, sizeof *j);
    char *name = mem_strdup(user);
    if (!j || !name || (text && text->failed)) {
        pgr_error err;
        mem_free(j);
        mem_free(name);
        if (text) buf_free(text);
        fail_mem(&err);
        call_fail_error(c, &err);
        return;
    }
    j->task.kind = &JOB;
    atomic_init(&j->keepers, 1);
    atomic_init(&j->done, false);
    j->clerk = k;
    j->work = work_;
    j->user = name;
    if (text) j->text = *text;
    call_submit(c, &j->task);
}

/* ---- the clerk --------------------------------------------------------------------------------------------------- */

static pgr_status open_parts(clerk *k, const char *store, const char *protos, pgr_error *err) {
    if (protos) {
        k->protos = mem_strdup(protos);
        if (!k->protos) return fail_mem(err);
    }
    PGR_TRY(pgr_store_open(store, PGR_STORE_CREATE, &k->store, err));
    return store_set_durable(k->store, err);
}

pgr_status clerk_open(const char *store, const char *protos, clerk **out, pgr_error *err) {
    clerk *k = mem_zero(1, sizeof *k);
    if (!k) return fail_mem(err);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->news, NULL);
    k->end = &k->first;
    pgr_status s = open_parts(k, store, protos, err);
    if (s == PGR_OK && pthread_create(&k->thread, NULL, work, k) != 0)
        s = fail(err, PGR_E_MEM, "no thread for the store of users");
    if (s == PGR_OK) {
        *out = k;
        return PGR_OK;
    }
    k->stop = true;
    pgr_store_close(k->store);
    mem_free(k->protos);
    mem_free(k);
    return s;
}

void clerk_set_patience(clerk *k, int milliseconds) {
    store_set_patience(k->store, milliseconds);
}

void clerk_close(clerk *k) {
    if (!k) return;
    pthread_mutex_lock(&k->lock);
    k->stop = true;
    pthread_cond_signal(&k->news);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    pthread_cond_destroy(&k->news);
    pthread_mutex_destroy(&k->lock);
    pgr_store_close(k->store);
    mem_free(k->protos);
    mem_free(k);
}
