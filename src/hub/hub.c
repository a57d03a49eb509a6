/* hub.c - pgr_pull: settings from the environment, what is there already, what is to be fetched, the record of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "hub/hub_cache.h"
#include "hub/hub_fetch.h"

#define ENDPOINT  "https://huggingface.co"
#define LIST_MOST ((size_t)64 << 20) /* bytes of the hub's list of files */

typedef struct pull {
    pgr_pull_options o;
    hub_model model;
    char *endpoint, *cache, *folder; /* cache: NULL for none */
    char *snapshot;                  /* of this commit in the cache; NULL for none */
    http_client *client;
    hub_list list;
    pull_record record;
    hub_file **files, **missing; /* (n) those wanted; (n_missing) those of them that are not there yet */
    size_t n, n_missing, n_fetched;
    int lock; /* -1: not taken */
} pull;

pgr_pull_options pgr_pull_options_default(void) {
    static const char *const yes[] = {"1", "on", "yes", "true"};
    pgr_pull_options o = {.backoff_s = 1};
    const char *offline = getenv("HF_HUB_OFFLINE");
    for (size_t i = 0; offline && i < sizeof yes / sizeof *yes; i++)
        if (strcasecmp(offline, yes[i]) == 0) o.offline = true;
    return o;
}

/* ---- settings ---- */

static char *find_endpoint(const char *given) {
    const char *set = getenv("HF_ENDPOINT");
    char *endpoint = mem_strdup(given && *given ? given : set && *set ? set : ENDPOINT);
    for (size_t n = endpoint ? strlen(endpoint) : 0; n > 0 && endpoint[n - 1] == '/'; n--) endpoint[n - 1] = '\0';
    return endpoint;
}

static char *find_folder(const pull *p) {
    if (p->o.to) return mem_strdup(p->o.to);
    char *cache = file_cache_folder();
    buf b = {0};
    if (cache) buf_printf(&b, "%s/%s", cache, p->model.id);
    char *folder = cache ? buf_take(&b) : NULL;
    buf_free(&b);
    mem_free(cache);
    return folder;
}

static pgr_status read_settings(pull *p, pgr_error *err) {
    const char *cache = p->o.hub_cache;
    if (p->o.to && !*p->o.to) return fail(err, PGR_E_ARG, "the folder to pull to has an empty name");
    if (!(p->o.backoff_s >= 0)) return fail(err, PGR_E_ARG, "backoff_s: expected seconds");
    p->endpoint = find_endpoint(p->o.endpoint);
    p->folder = find_folder(p);
    if (!cache) p->cache = hub_cache_folder();
    if (cache && *cache) p->cache = mem_strdup(cache);
    if (!p->o.token) p->o.token = getenv("HF_TOKEN");
    if (!p->endpoint || !p->folder || (!p->cache && !(cache && !*cache))) return fail_mem(err);
    PGR_TRY(record_read(p->folder, &p->record, err));
    if (p->record.id[0] && strcmp(p->record.id, p->model.id) != 0)
        return fail(err, PGR_E_ARG, "%s: holds %s, expected a folder for %s", p->folder, p->record.id, p->model.id);
    return PGR_OK;
}

/* ---- the list of files ---- */

static pgr_status list_online(pull *p, pgr_error *err) {
    buf answer = {0};
    char *url = hub_list_url(p->endpoint, &p->model);
    if (!url) return fail_mem(err);
    pgr_status s = http_open(p->endpoint, p->o.token, &p->client, err);
    if (s == PGR_OK) s = http_get(p->client, url, LIST_MOST, p->o.backoff_s, p->o.watch.cancel, &answer, err);
    if (s == PGR_OK) s = hub_list_parse(answer.data ? answer.data : "", answer.n, url, &p->list, err);
    buf_free(&answer);
    mem_free(url);
    return s;
}

/* Without the hub: the files of an earlier pull, else those of the cache. */
static pgr_status list_offline(pull *p, pgr_error *err) {
    const pull_record *r = &p->record;
    const char *revision = p->model.revision;
    char commit[65] = "";
    if (r->complete && (strcmp(r->revision, revision) == 0 || strcmp(r->list.commit, revision) == 0)) {
        strcpy(p->list.commit, r->list.commit);
        p->list.n = r->list.n;
        p->list.files = r->list.files; /* the record's memory */
        return PGR_OK;
    }
    if (p->cache) PGR_TRY(hub_cache_commit(p->cache, &p->model, commit, err));
    if (*commit) {
        p->snapshot = hub_cache_snapshot(p->cache, &p->model, commit);
        if (!p->snapshot) return fail_mem(err);
        PGR_TRY(hub_cache_list(p->snapshot, commit, &p->list, err));
    }
    if (p->list.n > 0) return PGR_OK;
    return fail(err, PGR_E_IO, "offline (HF_HUB_OFFLINE): %s@%s is neither whole in %s nor in the hub cache %s",
                p->model.id, revision, p->folder, p->cache ? p->cache : "(none)");
}

static pgr_status choose_files(pull *p, pgr_error *err) {
    p->files = mem_zero(p->list.n + 1, sizeof *p->files);
    p->missing = mem_zero(p->list.n + 1, sizeof *p->missing);
    if (!p->files || !p->missing) return fail_mem(err);
    for (size_t i = 0; i < p->list.n; i++)
        if (hub_file_wanted(p->list.files[i].name, p->o.all, p->o.include)) p->files[p->n++] = &p->list.files[i];
    if (p->n > 0) return PGR_OK;
    return fail(err, PGR_E_FORMAT, "%s@%s: none of its %zu files is %s", p->model.id, p->model.revision, p->list.n,
                p->o.include ? "what is asked for" : "of use here, unless all are asked for");
}

/* ---- what is there ---- */

/* A file whose checksum the hub tells is known by that; else it must be the record's, of the same commit. */
static pgr_status find_missing(pull *p, pgr_error *err) {
    bool same = strcmp(p->record.list.commit, p->list.commit) == 0;
    for (size_t i = 0; i < p->n; i++) {
        hub_file *f = p->files[i];
        int64_t size = -1;
        if (same) PGR_TRY(record_holds(&p->record, p->folder, f->name, &size, err));
        if (size >= 0 && (f->size < 0 || f->size == size))
            f->size = size;
        else
            p->missing[p->n_missing++] = f;
    }
    return PGR_OK;
}

static pgr_status link_cached(pull *p, pgr_error *err) {
    size_t left = 0;
    if (!p->cache) return PGR_OK;
    if (!p->snapshot) p->snapshot = hub_cache_snapshot(p->cache, &p->model, p->list.commit);
    if (!p->snapshot) return fail_mem(err);
    for (size_t i = 0; i < p->n_missing; i++) {
        bool linked;
        PGR_TRY(hub_cache_link(p->snapshot, p->folder, p->missing[i], &linked, err));
        if (!linked) p->missing[left++] = p->missing[i];
    }
    p->n_missing = left;
    return PGR_OK;
}

/* One pull at a time writes into a folder. */
static pgr_status lock_folder(pull *p, pgr_error *err) {
    char text[128];
    buf path = {0};
    buf_printf(&path, "%s/.pgenrm-pull.lock", p->folder);
    pgr_status s = path.failed ? fail_mem(err) : hub_make_folders(path.data, err);
    if (s == PGR_OK) {
        p->lock = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (p->lock < 0)
            s = fail(err, PGR_E_IO, "%s: %s", path.data, strerror_r(errno, text, sizeof text));
        else if (flock(p->lock, LOCK_EX | LOCK_NB) != 0)
            s = fail(err, PGR_E_IO, "%s: another pull is writing there", p->folder);
    }
    buf_free(&path);
    return s;
}

/* ---- what is not ---- */

static pgr_status fetch_missing(pull *p, pgr_error *err) {
    fetch_plan plan = {.endpoint = p->endpoint,
                       .model = &p->model,
                       .commit = p->list.commit,
                       .folder = p->folder,
                       .files = p->missing,
                       .n = p->n_missing,
                       .backoff_s = p->o.backoff_s,
                       .watch = p->o.watch};
    for (size_t i = 0; i < p->n; i++)
        if (p->files[i]->size > 0) plan.bytes_total += (uint64_t)p->files[i]->size;
    plan.bytes_before = plan.bytes_total;
    for (size_t i = 0; i < p->n_missing; i++)
        if (p->missing[i]->size > 0) plan.bytes_before -= (uint64_t)p->missing[i]->size;
    bool *done = mem_zero(p->n_missing + 1, sizeof *done);
    if (!done) return fail_mem(err);
    pgr_status s = hub_fetch(p->client, &plan, done, &p->n_fetched, err);
    size_t left = 0;
    for (size_t i = 0; i < p->n_missing; i++)
        if (!done[i]) p->missing[left++] = p->missing[i];
    p->n_missing = left;
    mem_free(done);
    return s;
}

static pgr_status refuse_missing(const pull *p, pgr_error *err) {
    return fail(err, PGR_E_IO, "offline (HF_HUB_OFFLINE): %s is neither in %s, as it was fetched, nor in the hub cache",
                p->missing[0]->name, p->folder);
}

/* Files of an older commit that the hub does not have any more must not be taken for this one's. */
static pgr_status remove_stale(const pull *p, pgr_error *err) {
    const hub_list *old = &p->record.list;
    buf path = {0};
    if (strcmp(old->commit, p->list.commit) == 0) return PGR_OK;
    for (size_t i = 0; i < old->n && !path.failed; i++) {
        bool listed = false;
        for (size_t k = 0; k < p->list.n && !listed; k++)
            listed = strcmp(old->files[i].name, p->list.files[k].name) == 0;
        buf_clear(&path);
        buf_printf(&path, "%s/%s", p->folder, old->files[i].name);
        if (!listed && !path.failed) unlink(path.data);
    }
    bool failed = path.failed;
    buf_free(&path);
    return failed ? fail_mem(err) : PGR_OK;
}

/* The files that are there now; those missing are left out. */
static pgr_status write_record(pull *p, bool complete, pgr_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        bool there = true;
        for (size_t k = 0; k < p->n_missing && there; k++) there = p->missing[k] != p->files[i];
        if (there) p->files[n++] = p->files[i];
    }
    return record_write(p->folder, &p->model, p->list.commit, complete, p->files, n, &p->record, err);
}

/* ---- all of it ---- */

static pgr_status place_files(pull *p, pgr_error *err) {
    PGR_TRY(find_missing(p, err));
    bool same = strcmp(p->record.revision, p->model.revision) == 0 && p->record.complete;
    if (p->n_missing == 0 && (same || p->o.offline))
        return PGR_OK; /* nothing to write, which may not even be allowed */
    PGR_TRY(lock_folder(p, err));
    PGR_TRY(link_cached(p, err));
    if (p->o.offline && p->n_missing > 0) return refuse_missing(p, err);
    pgr_status s = p->n_missing > 0 ? fetch_missing(p, err) : PGR_OK;
    if (s != PGR_OK) {
        write_record(p, false, NULL); /* so that the next call need not look at what is there */
        return s;
    }
    PGR_TRY(remove_stale(p, err));
    return write_record(p, true, err);
}

static pgr_status run(pull *p, pgr_error *err) {
    PGR_TRY(read_settings(p, err));
    PGR_TRY(p->o.offline ? list_offline(p, err) : list_online(p, err));
    PGR_TRY(choose_files(p, err));
    return place_files(p, err);
}

static void tell_result(pull *p, pgr_pulled *out) {
    pgr_pulled r = {.path = p->folder, .files = p->n, .cached = p->n_fetched == 0};
    strcpy(r.commit, p->list.commit);
    for (size_t i = 0; i < p->n; i++) r.bytes += (uint64_t)p->files[i]->size;
    p->folder = NULL; /* the caller's now */
    *out = r;
}

static void free_pull(pull *p) {
    if (p->list.files == p->record.list.files) p->list = (hub_list){0};
    if (p->lock >= 0) close(p->lock);
    http_close(p->client);
    hub_list_free(&p->list);
    record_free(&p->record);
    mem_free(p->files);
    mem_free(p->missing);
    mem_free(p->snapshot);
    mem_free(p->endpoint);
    mem_free(p->cache);
    mem_free(p->folder);
}

pgr_status pgr_pull(const char *model, const pgr_pull_options *options, pgr_pulled *out, pgr_error *err) {
    pull p = {.o = options ? *options : pgr_pull_options_default(), .lock = -1};
    PGR_TRY(hub_model_parse(model, &p.model, err));
    pgr_status s = run(&p, err);
    if (s == PGR_OK) tell_result(&p, out);
    free_pull(&p);
    return s;
}
