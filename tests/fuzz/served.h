/* served.h - for fuzz targets: a server on the tiny models in a thread of its own, with a store of two tenants' users
 * and their prototypes, and a client that says any bytes to it. What is asserted of every answer: it is one in HTTP,
 * its status is one that the server has, and a body that calls itself JSON is JSON, of OpenAI's form where it is an
 * error. */
#ifndef PGR_FUZZ_SERVED_H
#define PGR_FUZZ_SERVED_H

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "serve/server.h"

#define GOLDEN PGR_SOURCE_DIR "/tests/golden/"
#ifndef LIVE_DEADLINE_S
#define LIVE_DEADLINE_S 0.05 /* of a request that names none */
#endif
#define SECRET "Secret-of-tenant-b" /* stands in what b's users have chosen, and nowhere else */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    pgr_server *server;
    pgr_serving what;
    pgr_judge_options judge;
    pgr_cancel stop;
    pthread_t thread;
    char folder[40], store[60], protos[70], tokens[60];
} live;

static void *live_work(void *ctx) {
    (void)ctx;
    PGR_ASSERT(pgr_server_run(live.server, &live.what, &live.stop, NULL) == PGR_OK);
    return NULL;
}

static void live_stop(void) {
    static const char *const NAMES[] = {"users.db", "users.db-wal", "users.db-shm", "users.db.protos", "tokens"};
    __atomic_store_n(&live.stop, 1, __ATOMIC_RELAXED);
    pthread_join(live.thread, NULL);
    pgr_server_close(live.server);
    pgr_people_close(live.what.people);
    pgr_embedder_close(live.what.embedder);
    pgr_scalar_close(live.judge.scalar);
    pgr_engine_free(live.what.engine);
    pgr_model_close(live.what.model);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        char path[100];
        snprintf(path, sizeof path, "%s/%s", live.folder, NAMES[i]);
        unlink(path);
    }
    rmdir(live.folder);
}

static pgr_status live_tell(pgr_store *s, const char *id, const char *chosen, pgr_error *err) {
    char text[400];
    pgr_imported done;
    int n = snprintf(text, sizeof text,
                     "{\"id\": \"%s\", \"criteria\": \"%s, always\", \"history\": [{\"query\": \"What?\", \"chosen\": "
                     "\"%s\", \"rejected\": \"Not that\"}, {\"query\": \"And now?\", \"chosen\": \"%s again\", "
                     "\"rejected\": \"No\"}]}",
                     id, chosen, chosen, chosen);
    return pgr_user_add(s, text, (size_t)n, "fuzz", &done, err);
}

/* Users a:1, a:2, b:1, b:2 and two prototypes. */
static pgr_status live_people(pgr_error *err) {
    pgr_store *s = NULL;
    pgr_proto_options o = pgr_proto_options_default();
    o.by = PGR_PROTO_VOTES;
    o.k = 2;
    pgr_status st = pgr_store_open(live.store, PGR_STORE_CREATE, &s, err);
    if (st == PGR_OK) st = live_tell(s, "a:1", "Tea", err);
    if (st == PGR_OK) st = live_tell(s, "a:2", "Green tea", err);
    if (st == PGR_OK) st = live_tell(s, "b:1", SECRET, err);
    if (st == PGR_OK) st = live_tell(s, "b:2", SECRET " too", err);
    if (st == PGR_OK) st = pgr_proto_build(s, live.protos, &o, err);
    pgr_store_close(s);
    return st == PGR_OK ? pgr_people_open(live.store, NULL, NULL, 1, &live.what.people, err) : st;
}

static void live_name_files(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(live.folder, sizeof live.folder, "%s/fuzz-XXXXXX", tmp && strlen(tmp) < 20 ? tmp : "/tmp");
    PGR_ASSERT(mkdtemp(live.folder));
    snprintf(live.store, sizeof live.store, "%s/users.db", live.folder);
    snprintf(live.protos, sizeof live.protos, "%s.protos", live.store);
    snprintf(live.tokens, sizeof live.tokens, "%s/tokens", live.folder);
}

/* tokens: the file's text; NULL: everyone may ask. It is ready to be asked, and stopped at the program's end. */
static void live_start(const char *tokens) {
    pgr_serve_options o = pgr_serve_options_default();
    pgr_model_options mo = pgr_model_options_default();
    mo.dtype = PGR_DTYPE_EXACT;
    mo.n_thread = 1;
    live_name_files();
    if (tokens) {
        FILE *f = fopen(live.tokens, "w");
        PGR_ASSERT(f && fputs(tokens, f) >= 0 && fclose(f) == 0);
        o.token_file = live.tokens;
    }
    o.listen = "127.0.0.1:0";
    o.deadline_s = LIVE_DEADLINE_S;
    o.drain_s = 0;
    o.read_s = 60; /* no input waits for it, and on a busy machine a request may take its time */
    live.judge = pgr_judge_options_default();
    live.judge.frame = GOLDEN "mini.frame";
    live.what = (pgr_serving){.name = "tiny", .store = live.store, .protos = live.protos, .judge = &live.judge};
    pgr_error err = {0};
    pgr_status s = pgr_server_open(&o, &live.server, &err);
    if (s == PGR_OK) s = pgr_model_open(GOLDEN "tiny-llama.gguf", &mo, &live.what.model, &err);
    if (s == PGR_OK) s = pgr_engine_create(live.what.model, NULL, &live.what.engine, &err);
    if (s == PGR_OK) s = pgr_embedder_open(GOLDEN "hf-tiny-bert", &mo, &live.what.embedder, &err);
    if (s == PGR_OK) s = pgr_scalar_open(GOLDEN "hf-tiny-scalar-llama", &mo, &live.judge.scalar, &err);
    if (s == PGR_OK) s = live_people(&err);
    if (s != PGR_OK) fprintf(stderr, "%s\n", err.message);
    PGR_ASSERT(s == PGR_OK && pthread_create(&live.thread, NULL, live_work, NULL) == 0);
    while (atomic_load(&live.server->phase) == SERVER_LOADING) usleep(1000);
    atexit(live_stop);
}

/* ---- a client ---- */

static int dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)pgr_server_port(live.server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    PGR_ASSERT(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    return fd;
}

/* recv, over the signals that libFuzzer's clock interrupts it with. */
static ssize_t hear(int fd, char *out, size_t n) {
    ssize_t k;
    do k = recv(fd, out, n, 0);
    while (k < 0 && errno == EINTR);
    return k;
}

static void say(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return;
        p += k;
        n -= (size_t)k;
    }
}

/* ---- what every answer is ---- */

static void check_json(int status, const char *body, size_t n) {
    json_error_t why;
    json_t *v = json_loadb(body, n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    PGR_ASSERT(v);
    if (status >= 400) PGR_ASSERT(json_is_string(json_object_get(json_object_get(v, "error"), "message")));
    json_decref(v);
}

/* The bytes of an answer's head, its status and its type; 0: it is not whole. */
static size_t read_head(const char *p, size_t n, int *status, bool *json) {
    const char *end = memmem(p, n, "\r\n\r\n", 4);
    int at = 0;
    if (!end) return 0;
    size_t head = (size_t)(end + 4 - p);
    char *text = strndup(p, head);
    PGR_ASSERT(text && sscanf(text, "HTTP/1.%*[01] %d%n", status, &at) == 1 && at > 0);
    PGR_ASSERT(*status >= 100 && *status <= 505);
    *json = strstr(text, "application/json") != NULL;
    free(text);
    return head;
}

#endif
