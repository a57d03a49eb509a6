/* hub_fetch.c - downloads as state machines in one loop; see hub_fetch.h.
 *
 *     CHECKING_OLD --same hash--> FINISHED            (a file of that name is there already)
 *         | other
 *     WAITING -> RUNNING -> CHECKING -> FINISHED
 *        ^----------+----------'        cut, busy server; a resumed file with the wrong hash begins anew */
#include "hub/hub_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/watch.h"

#define PROGRESS_BYTES                                                                                                 \
    ((uint64_t)1 << 20) /* a try that brought this much was worth it: the count of tries begins anew */

typedef enum fetch_state { WAITING, RUNNING, CHECKING_OLD, CHECKING, FINISHED } fetch_state;

typedef struct fetch {
    hub_file *file;
    char *url, *path, *part, *tag; /* tag: the file that keeps the part's ETag */
    fetch_state state;
    http_job job;
    http_retry retry;
    check check;
    int fd;            /* of the part, -1: closed */
    uint64_t have;     /* bytes in the part */
    uint64_t had;      /* ... when this try began */
    char etag[200];    /* of the part, "" unknown */
    file_hash hash;    /* wanted */
    bool begun;        /* this try's first bytes have come */
    bool resumed;      /* the part holds bytes of an earlier try */
    pgr_error failure; /* of the callback; status PGR_OK: none */
} fetch;

typedef struct fetcher {
    http_client *client;
    const fetch_plan *plan;
    arena memory;
    fetch *v; /* (n) */
    size_t n, n_running, n_finished, n_fetched;
} fetcher;

static pgr_status fail_path(pgr_error *err, const char *path) {
    char text[128];
    return fail(err, PGR_E_IO, "%s: %s", path, strerror_r(errno, text, sizeof text));
}

pgr_status hub_make_folders(const char *path, pgr_error *err) {
    buf b = {0};
    pgr_status s = PGR_OK;
    for (const char *c = path; *c && s == PGR_OK; c++) {
        if (*c == '/' && c > path) {
            buf_clear(&b);
            buf_add(&b, path, (size_t)(c - path));
            if (b.failed)
                s = fail_mem(err);
            else if (mkdir(b.data, 0777) != 0 && errno != EEXIST)
                s = fail_path(err, b.data);
        }
    }
    buf_free(&b);
    return s;
}

/* ---- the part on disk ---- */

static void read_tag(fetch *f) {
    f->etag[0] = '\0';
    int fd = open(f->tag, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, f->etag, sizeof f->etag - 1);
    f->etag[n > 0 ? n : 0] = '\0';
    if (strpbrk(f->etag, "\r\n")) f->etag[0] = '\0';
    if (fd >= 0) close(fd);
}

static bool write_tag(fetch *f, const char *etag) {
    size_t n = strlen(etag);
    int fd = open(f->tag, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return false;
    bool written = write(fd, etag, n) == (ssize_t)n;
    return close(fd) == 0 && written;
}

static void drop_part(fetch *f) {
    unlink(f->part);
    unlink(f->tag);
    f->have = 0;
    f->etag[0] = '\0';
}

static pgr_status open_part(fetch *f, pgr_error *err) {
    struct stat st;
    PGR_TRY(hub_make_folders(f->part, err));
    f->fd = open(f->part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (f->fd < 0 || fstat(f->fd, &st) != 0) return fail_path(err, f->part);
    f->have = (uint64_t)st.st_size;
    if (f->file->size >= 0 && f->have > (uint64_t)f->file->size) {
        f->have = 0;
        if (ftruncate(f->fd, 0) != 0) return fail_path(err, f->part);
    }
    return PGR_OK;
}

static void close_part(fetch *f) {
    if (f->fd >= 0) close(f->fd);
    f->fd = -1;
}

/* ---- bytes as they come ---- */

static bool stop(fetch *f, pgr_status status) {
    f->failure.status = status;
    return false;
}

/* The size and the checksum that the hub tells, or the first of them that it tells with the file. */
static bool learn(fetch *f, const http_reply *r) {
    int64_t announced = r->status == 206 ? r->total : r->length;
    if (f->file->size < 0) f->file->size = r->linked_size >= 0 ? r->linked_size : announced;
    if (announced >= 0 && announced != f->file->size)
        return stop(f, fail(&f->failure, PGR_E_FORMAT, "%s: the server has %lld bytes, the hub says %lld", f->url,
                            (long long)announced, (long long)f->file->size));
    if (f->hash.kind == HASH_NONE) f->hash = hash_from_etag(r->linked_etag[0] ? r->linked_etag : r->etag);
    if (f->hash.kind == HASH_NONE)
        return stop(f, fail(&f->failure, PGR_E_FORMAT, "%s: the hub tells no checksum (ETag \"%.80s\")", f->url,
                            r->linked_etag[0] ? r->linked_etag : r->etag));
    return true;
}

/* Before the first byte: whether the server goes on where the part ends, or begins anew. */
static bool begin_body(fetch *f, const http_reply *r) {
    f->begun = true;
    if (!learn(f, r)) return false;
    if (r->status == 206 && r->from != (int64_t)f->have)
        return stop(f, fail(&f->failure, PGR_E_FORMAT, "%s: asked for bytes from %llu, the server sends from %lld",
                            f->url, (unsigned long long)f->have, (long long)r->from));
    if (r->status == 200 && f->have > 0) {
        if (ftruncate(f->fd, 0) != 0) return stop(f, fail_path(&f->failure, f->part));
        f->have = f->had = 0;
    }
    f->resumed = f->have > 0;
    if (strcmp(f->etag, r->etag) != 0) {
        if (!write_tag(f, r->etag)) return stop(f, fail_path(&f->failure, f->tag));
        snprintf(f->etag, sizeof f->etag, "%s", r->etag);
    }
    return true;
}

static bool take_bytes(void *ctx, const http_reply *reply, const void *bytes, size_t n) {
    fetch *f = ctx;
    if (!f->begun && !begin_body(f, reply)) return false;
    if (f->file->size >= 0 && n > (uint64_t)f->file->size - f->have)
        return stop(f,
                    fail(&f->failure, PGR_E_FORMAT, "%s: the server sends more than the %lld bytes that the hub says",
                         f->url, (long long)f->file->size));
    for (const char *p = bytes; n > 0;) {
        ssize_t k = pwrite(f->fd, p, n, (off_t)f->have);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return stop(f, fail_path(&f->failure, f->part));
        p += k;
        n -= (size_t)k;
        f->have += (uint64_t)k;
    }
    return true;
}

/* ---- steps of one file ---- */

static pgr_status begin_try(fetcher *g, fetch *f, pgr_error *err) {
    PGR_TRY(open_part(f, err));
    read_tag(f);
    f->had = f->have;
    f->begun = false;
    f->failure = (pgr_error){0};
    if (f->file->size >= 0 && f->have == (uint64_t)f->file->size && f->hash.kind != HASH_NONE && f->have > 0) {
        close_part(f);
        f->resumed = true;
        f->state = CHECKING;
        return PGR_OK;
    }
    bool strong = f->etag[0] == '"';
    f->job = (http_job){
        .url = f->url, .from = (int64_t)f->have, .if_range = strong ? f->etag : NULL, .take = take_bytes, .ctx = f};
    PGR_TRY(http_start(g->client, &f->job, err));
    f->state = RUNNING;
    g->n_running++;
    return PGR_OK;
}

static pgr_status try_again(fetcher *g, fetch *f, pgr_error *err) {
    f->state = WAITING;
    if (f->have >= f->had + PROGRESS_BYTES) f->retry.tries = 0;
    return http_again(&f->retry, &f->job, g->plan->backoff_s, err);
}

/* After HTTP_DONE: the whole file is there, or the connection ended early without saying so. */
static pgr_status end_body(fetcher *g, fetch *f, pgr_error *err) {
    if (f->file->size >= 0 && f->have < (uint64_t)f->file->size) {
        snprintf(f->job.what, sizeof f->job.what, "found %llu bytes, expected %lld", (unsigned long long)f->have,
                 (long long)f->file->size);
        return try_again(g, f, err);
    }
    f->file->size = (int64_t)f->have;
    f->state = CHECKING;
    return PGR_OK;
}

static pgr_status end_try(fetcher *g, fetch *f, pgr_error *err) {
    g->n_running--;
    if (f->job.end == HTTP_DONE && !f->begun) begin_body(f, &f->job.reply); /* an empty file */
    close_part(f);
    if (f->failure.status != PGR_OK) {
        if (err) *err = f->failure;
        return f->failure.status;
    }
    if (f->job.end == HTTP_DONE) return end_body(g, f, err);
    if (f->job.end == HTTP_AGAIN) return try_again(g, f, err);
    if (f->job.reply.status != 416 || f->have == 0) return http_fail(&f->job, err);
    drop_part(f); /* longer than the file is now */
    return try_again(g, f, err);
}

static void finish(fetcher *g, fetch *f) {
    f->state = FINISHED;
    f->file->hash = f->hash;
    g->n_finished++;
}

/* The part has the hash that the hub tells: it gets its name. */
static pgr_status keep_part(fetcher *g, fetch *f, pgr_error *err) {
    if (fdatasync(f->check.fd) != 0) return fail_path(err, f->part);
    if (rename(f->part, f->path) != 0) return fail_path(err, f->path);
    unlink(f->tag);
    g->n_fetched++;
    finish(g, f);
    return PGR_OK;
}

static void keep_old(fetcher *g, fetch *f) {
    f->have = f->check.size;
    f->file->size = (int64_t)f->check.size;
    finish(g, f);
}

static pgr_status refuse_part(fetcher *g, fetch *f, const file_hash *got, pgr_error *err) {
    bool resumed = f->resumed;
    drop_part(f);
    snprintf(f->job.what, sizeof f->job.what, "found %s %s, the hub says %s", hash_name(got->kind), got->hex,
             f->hash.hex);
    f->job.url = f->url;
    if (resumed) return try_again(g, f, err); /* the beginning may have been another version's */
    return fail(err, PGR_E_FORMAT, "%s: %s", f->url, f->job.what);
}

static pgr_status step_check(fetcher *g, fetch *f, pgr_error *err) {
    bool finished = false, old = f->state == CHECKING_OLD;
    const char *path = old ? f->path : f->part;
    file_hash got;
    if (f->check.fd < 0) PGR_TRY(check_open(&f->check, path, f->hash.kind, err));
    pgr_status s = check_step(&f->check, path, &finished, &got, err);
    if (s == PGR_OK && finished) {
        bool same = hash_equal(&got, &f->hash);
        if (!old)
            s = same ? keep_part(g, f, err) : refuse_part(g, f, &got, err);
        else if (same)
            keep_old(g, f);
        else
            f->state = WAITING;
    }
    if (s != PGR_OK || finished) check_close(&f->check);
    return s;
}

/* ---- the loop ---- */

static pgr_status prepare(fetcher *g, size_t i, pgr_error *err) {
    const fetch_plan *p = g->plan;
    fetch *f = &g->v[i];
    struct stat st;
    f->file = p->files[i];
    f->hash = f->file->hash;
    char *url = hub_file_url(p->endpoint, p->model, p->commit, f->file->name);
    f->url = url ? arena_strdup(&g->memory, url) : NULL;
    mem_free(url);
    f->path = arena_printf(&g->memory, "%s/%s", p->folder, f->file->name);
    f->part = arena_printf(&g->memory, "%s/%s.part", p->folder, f->file->name);
    f->tag = arena_printf(&g->memory, "%s/%s.part.etag", p->folder, f->file->name);
    if (!f->url || !f->path || !f->part || !f->tag) return fail_mem(err);
    bool there = f->hash.kind != HASH_NONE && stat(f->path, &st) == 0 && S_ISREG(st.st_mode)
                 && (f->file->size < 0 || st.st_size == f->file->size);
    if (there) f->state = CHECKING_OLD;
    return PGR_OK;
}

static pgr_status start_some(fetcher *g, pgr_error *err) {
    for (size_t i = 0; i < g->n && g->n_running < FETCH_AT_ONCE; i++)
        if (g->v[i].state == WAITING && clock_now() >= g->v[i].retry.not_before) PGR_TRY(begin_try(g, &g->v[i], err));
    return PGR_OK;
}

static pgr_status check_some(fetcher *g, size_t *n_busy, pgr_error *err) {
    *n_busy = 0;
    for (size_t i = 0; i < g->n && *n_busy < FETCH_AT_ONCE; i++) {
        if (g->v[i].state != CHECKING && g->v[i].state != CHECKING_OLD) continue;
        ++*n_busy;
        PGR_TRY(step_check(g, &g->v[i], err));
    }
    return PGR_OK;
}

static pgr_status end_some(fetcher *g, pgr_error *err) {
    for (http_job *job; (job = http_ended(g->client));) PGR_TRY(end_try(g, job->ctx, err));
    return PGR_OK;
}

static void tell(const fetcher *g) {
    const fetch_plan *p = g->plan;
    uint64_t done = p->bytes_before, total = p->bytes_total;
    for (size_t i = 0; i < g->n; i++) done += g->v[i].have;
    watch_report(&p->watch, "pull", done, done > total ? done : total, "B");
}

static pgr_status run(fetcher *g, pgr_error *err) {
    for (size_t i = 0; i < g->n; i++) PGR_TRY(prepare(g, i, err));
    while (g->n_finished < g->n) {
        size_t n_busy;
        PGR_TRY(watch_check(&g->plan->watch, err));
        PGR_TRY(start_some(g, err));
        PGR_TRY(check_some(g, &n_busy, err));
        PGR_TRY(http_step(g->client, n_busy ? 0 : 50, err));
        PGR_TRY(end_some(g, err));
        tell(g);
    }
    return PGR_OK;
}

pgr_status hub_fetch(http_client *client, const fetch_plan *plan, bool *done, size_t *n_fetched, pgr_error *err) {
    fetcher g = {.client = client, .plan = plan, .n = plan->n};
    g.v = arena_array(&g.memory, plan->n + 1, sizeof *g.v);
    if (!g.v) return fail_mem(err);
    for (size_t i = 0; i < g.n; i++) g.v[i].fd = g.v[i].check.fd = -1;
    pgr_status s = run(&g, err);
    for (size_t i = 0; i < g.n; i++) {
        done[i] = g.v[i].state == FINISHED;
        http_stop(client, &g.v[i].job);
        check_close(&g.v[i].check);
        close_part(&g.v[i]);
    }
    *n_fetched = g.n_fetched;
    arena_free(&g.memory);
    return s;
}
