/* hub_fixture.h - for tests: a small hub of one model on two servers: the hub itself, and another host to which it
 * redirects for large files, as the real one does. */
#ifndef PGR_TESTS_HUB_HUB_FIXTURE_H
#define PGR_TESTS_HUB_HUB_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "hub_server.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define LIST_PATH(model) "/api/models/" model "/revision/main?blobs=true"

typedef struct hub {
    server *hub, *store;
    char endpoint[64], model[64];
    char list[16384];  /* the answer under construction: one entry after the other */
    size_t n_list;
    char folder[64];   /* of this test's own */
} hub;

static inline void to_hex(const uint8_t *digest, size_t n, char *out) {
    for (size_t i = 0; i < n; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static inline void git_hash(const char *p, size_t n, char out[41]) {
    struct sha1_ctx c;
    uint8_t digest[20];
    char head[40];
    int k = snprintf(head, sizeof head, "blob %zu", n);
    sha1_init(&c);
    sha1_update(&c, (size_t)k + 1, (const uint8_t *)head);
    sha1_update(&c, n, (const uint8_t *)p);
    sha1_digest(&c, 20, digest);
    to_hex(digest, 20, out);
}

static inline void sha256_hash(const char *p, size_t n, char out[65]) {
    struct sha256_ctx c;
    uint8_t digest[32];
    sha256_init(&c);
    sha256_update(&c, n, (const uint8_t *)p);
    sha256_digest(&c, 32, digest);
    to_hex(digest, 32, out);
}

static inline hub *hub_start(const char *model) {
    hub *h = calloc(1, sizeof *h);
    if (!h) abort();
    h->hub = server_start();
    h->store = server_start();
    snprintf(h->model, sizeof h->model, "%s", model);
    snprintf(h->endpoint, sizeof h->endpoint, "http://127.0.0.1:%d", h->hub->port);
    strcpy(h->folder, "/tmp/pgenrm-hub-XXXXXX");
    if (!mkdtemp(h->folder)) abort();
    return h;
}

static inline void hub_settle(hub *h) {
    server_settle(h->hub);
    server_settle(h->store);
}

static inline void hub_stop(hub *h) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", h->folder);
    if (system(command) != 0) abort();
    server_stop(h->hub);
    server_stop(h->store);
    free(h);
}

/* The path of a file of the model on the hub; one of four buffers in turn. */
static inline const char *file_path(const hub *h, const char *name) {
    static char paths[4][200];
    static int turn;
    char *p = paths[turn++ % 4];
    snprintf(p, sizeof paths[0], "/%s/resolve/" COMMIT "/%s", h->model, name);
    return p;
}

static inline void list_entry(hub *h, const char *name, const char *facts) {
    h->n_list += (size_t)snprintf(h->list + h->n_list, sizeof h->list - h->n_list, "%s{\"rfilename\":\"%s\"%s}",
                                  h->n_list ? "," : "", name, facts);
}

/* A small file: served by the hub, its ETag is the git hash. facts: the list tells size and hash. */
static inline hub_route *add_small(hub *h, const char *name, const char *text, bool facts) {
    char hash[41], entry[200] = "";
    size_t n = strlen(text);
    git_hash(text, n, hash);
    hub_route *r = server_route(h->hub, file_path(h, name), text, n);
    snprintf(r->etag, sizeof r->etag, "\"%s\"", hash);
    if (facts) snprintf(entry, sizeof entry, ",\"size\":%zu,\"blobId\":\"%s\"", n, hash);
    list_entry(h, name, entry);
    return r;
}

/* A large file: the hub redirects to the store, with X-Linked-Etag and -Size. Returns the store's route. */
static inline hub_route *add_large(hub *h, const char *name, const char *bytes, size_t n, bool facts) {
    char hash[65], entry[300] = "", path[100];
    sha256_hash(bytes, n, hash);
    hub_route *r = server_route(h->hub, file_path(h, name), "", 0);
    snprintf(path, sizeof path, "/blobs/%s", name);
    snprintf(r->location, sizeof r->location, "http://127.0.0.1:%d%s", h->store->port, path);
    snprintf(r->linked_etag, sizeof r->linked_etag, "\"%s\"", hash);
    r->linked_size = (long)n;
    if (facts)
        snprintf(entry, sizeof entry, ",\"size\":%zu,\"blobId\":\"%040d\",\"lfs\":{\"size\":%zu,\"sha256\":\"%s\"}", n,
                 7, n, hash);
    list_entry(h, name, entry);
    r = server_route(h->store, path, bytes, n);
    strcpy(r->etag, "\"store-1\"");
    return r;
}

/* Serves the list of what was added so far. */
static inline hub_route *serve_list(hub *h) {
    static char text[18000];
    char path[200];
    int n = snprintf(text, sizeof text, "{\"id\":\"%s\",\"sha\":\"" COMMIT "\",\"siblings\":[%s]}", h->model, h->list);
    snprintf(path, sizeof path, "/api/models/%s/revision/main?blobs=true", h->model);
    return server_route(h->hub, path, text, (size_t)n);
}

/* Bytes that differ everywhere, so that a piece in the wrong place shows. The caller's (free). */
static inline char *make_bytes(size_t n, uint32_t seed) {
    char *p = malloc(n + 1);
    if (!p) abort();
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (char)(seed >> 24);
    }
    p[n] = '\0';
    return p;
}

/* The path of a file below the test's folder; one of four buffers in turn. */
static inline const char *local(const hub *h, const char *name) {
    static char paths[4][300];
    static int turn;
    char *p = paths[turn++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", h->folder, name);
    return p;
}

static inline bool local_is(const hub *h, const char *name, const char *bytes, size_t n) {
    FILE *f = fopen(local(h, name), "rb");
    char *got = malloc(n + 2);
    if (!got) abort();
    size_t k = f ? fread(got, 1, n + 1, f) : 0;
    bool same = f && k == n && memcmp(got, bytes, n) == 0;
    if (f) fclose(f);
    free(got);
    return same;
}

static inline bool local_exists(const hub *h, const char *name) {
    struct stat st;
    return lstat(local(h, name), &st) == 0;
}

static inline void local_write(const hub *h, const char *name, const char *bytes, size_t n) {
    char command[400];
    snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s')\"", local(h, name));
    FILE *f = system(command) == 0 ? fopen(local(h, name), "wb") : NULL;
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) abort();
}

#endif
