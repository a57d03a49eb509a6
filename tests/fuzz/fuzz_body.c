/* fuzz_body.c - any bytes as the body of one route: which, says PGENRM_FUZZ_ROUTE, or, when corpora are replayed, the
 * folder of the input: tests/fuzz/corpus/body has one for every route that takes a body, by route_folder, or this
 * program ends. Three mutations in four keep the body JSON: values, keys and lists are changed rather than bytes, with
 * the keys of all routes' seeds at hand. The server is served.h's; paths are read from the top of the repository.
 * tools/fuzz.sh BUILD SECONDS body fuzzes one route after the other. */
#include <dirent.h>

#define LIVE_DEADLINE_S 0.1
#include "served.h"

#include "base/clock.h"
#include "base/rng.h"

#define SEEDS PGR_SOURCE_DIR "/tests/fuzz/corpus/body"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most) __attribute__((weak)); /* libFuzzer's */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

extern const char *replayed __attribute__((weak)); /* replay.c's: the input's file */

/* ---- routes ------------------------------------------------------------------------------------------------------ */

/* "/v1/personal/users/" is v1_personal_users, "/get_reward" of the key query is get_reward.query. */
static void route_folder(const route *r, char *out, size_t room) {
    snprintf(out, room, "%s%s%s", r->path + 1, r->key ? "." : "", r->key ? r->key : "");
    for (char *s = out; *s; s++)
        if (*s == '/') *s = s[1] ? '_' : '\0';
}

static bool has_body(const route *r) {
    return strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0;
}

static const route *find_route(const char *folder, size_t n) {
    char name[100];
    for (size_t i = 0; i < live.server->n_route; i++) {
        route_folder(&live.server->routes[i], name, sizeof name);
        if (has_body(&live.server->routes[i]) && strlen(name) == n && memcmp(name, folder, n) == 0)
            return &live.server->routes[i];
    }
    fprintf(stderr, "no route with a body has the folder %.*s\n", (int)n, folder);
    abort();
}

static void check_seeds(void) {
    char path[400];
    for (size_t i = 0; i < live.server->n_route; i++) {
        if (!has_body(&live.server->routes[i])) continue;
        int n = snprintf(path, sizeof path, SEEDS "/");
        route_folder(&live.server->routes[i], path + n, sizeof path - (size_t)n);
        if (access(path, R_OK) == 0) continue;
        fprintf(stderr, "%s: a route without a seed\n", path);
        abort();
    }
}

static const route *asked_route(void) {
    const char *name = getenv("PGENRM_FUZZ_ROUTE");
    if (&replayed && replayed) {
        const char *end = strrchr(replayed, '/'), *at = end;
        while (at && at > replayed && at[-1] != '/') at--;
        PGR_ASSERT(end);
        return find_route(at, (size_t)(end - at));
    }
    if (!name) fprintf(stderr, "PGENRM_FUZZ_ROUTE: expected the name of a folder of %s\n", SEEDS);
    PGR_ASSERT(name);
    return find_route(name, strlen(name));
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static const double PATIENCE_S = 0.3; /* with a body that may have named a deadline of hours */

/* False: it was hung up. */
static bool hear_all(int fd, bool hangs_up, buf *out) {
    char bytes[4096];
    double until = clock_now() + PATIENCE_S;
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        int ready = poll(&p, 1, 50);
        if (ready <= 0) {
            if (hangs_up && clock_now() > until) return false;
            continue;
        }
        ssize_t k = hear(fd, bytes, sizeof bytes);
        if (k < 0) perror("a connection that was cut");
        if (k <= 0) return true;
        buf_add(out, bytes, (size_t)k);
    }
}

/* What a chunked body has in its chunks; its end may be missing. */
static void join_chunks(const char *p, const char *end, buf *out) {
    while (p < end) {
        char *data;
        size_t n = strtoul(p, &data, 16); /* the answer is a text: it ends with a NUL */
        PGR_ASSERT(end - data < 2 || memcmp(data, "\r\n", 2) == 0);
        if (n == 0 || end - data < 2 || (size_t)(end - data - 2) < n + 2) return;
        buf_add(out, data + 2, n);
        p = data + 2 + n + 2;
    }
}

/* Every event of a stream is JSON, or says that it is over. */
static void check_events(const char *chunks, const char *end) {
    buf all = {0};
    join_chunks(chunks, end, &all);
    for (char *line = all.data, *next; line && (next = strchr(line, '\n')); line = next + 1)
        if (strncmp(line, "data: ", 6) == 0 && strncmp(line + 6, "[DONE]", 6) != 0)
            check_json(200, line + 6, (size_t)(next - line - 6));
    buf_free(&all);
}

/* Every answer is one to what was asked: nothing here is beyond the server, and nothing of its own may fail. */
static int check_answer(const buf *got) {
    int status = 0;
    bool json = false;
    size_t head = got->n ? read_head(got->data, got->n, &status, &json) : 0;
    if (head == 0 || status == 500 || status == 501 || status == 502)
        fprintf(stderr, "heard %zu bytes: %.*s\n", got->n, got->n ? (int)got->n : 0, got->n ? got->data : "");
    PGR_ASSERT(head > 0 && status >= 200);
    PGR_ASSERT(status != 500 && status != 501 && status != 502);
    if (json && got->n > head) check_json(status, got->data + head, got->n - head);
    if (head && memmem(got->data, head, "text/event-stream", 17)) check_events(got->data + head, got->data + got->n);
    bool full = status == 503 && memmem(got->data, got->n, "out_of_memory", 13);
    if (full) fprintf(stderr, "no memory: %.*s\n", (int)got->n, got->data);
    PGR_ASSERT(!full); /* what could not be written, as text that is not UTF-8, is answered so, too */
    return status;
}

/* Its status; 0: it was hung up. never: what the answer may not have; NULL: anything. */
static int ask(const char *method, const char *path, const char *more, const char *body, size_t n, const char *never) {
    buf out = {0}, got = {0};
    buf_printf(&out, "%s %s%s HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", method, path,
               more, n);
    buf_add(&out, body, n);
    bool hangs_up = memmem(body, n, "_s", 2) || memmem(body, n, "\\u", 2); /* deadline_s, collect_s, however written */
    int fd = dial();
    say(fd, out.data, out.n);
    int status = hear_all(fd, hangs_up, &got) ? check_answer(&got) : 0;
    close(fd);
    PGR_ASSERT(!never || !got.n || !memmem(got.data, got.n, never, strlen(never)));
    buf_free(&out);
    buf_free(&got);
    return status;
}

/* A route that takes away what another has brought is asked behind that one, with the same body: where that one was
 * answered with 200, so is this one, and something is gone. */
static const struct {
    const char *path, *before;
} BEHIND[] = {
    {"/v1/personal/forget_pair", "/v1/personal/feedback"},
    {"/v1/unload_lora_adapter", "/v1/load_lora_adapter"},
};

/* The status of what was asked before it; 0: nothing was. */
static int prepare(const route *r, const char *body, size_t n) {
    static const char USER[] = "{\"history\":[{\"query\":\"What?\",\"chosen\":\"Tea\",\"rejected\":\"No\"}]}";
    static size_t n_input;
    int status = 0;
    if (++n_input % 64 == 0) { /* what is told again and again of one user would make him slow */
        ask("DELETE", "/v1/personal/users/a:1", "", "", 0, NULL);
        ask("PUT", "/v1/personal/users/a:1", "", USER, sizeof USER - 1, NULL);
    }
    for (size_t i = 0; i < sizeof BEHIND / sizeof *BEHIND; i++)
        if (strcmp(r->path, BEHIND[i].path) == 0) status = ask("POST", BEHIND[i].before, "", body, n, NULL);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const route *r;
    if (!r) {
        live_start(NULL);
        PGR_ASSERT(chdir(PGR_SOURCE_DIR) == 0);
        check_seeds();
    }
    if (!r || (&replayed && replayed)) r = asked_route();
    const char *body = size ? (const char *)data : "";
    bool all = r->path[strlen(r->path) - 1] == '/', addressed = r->key && strcmp(r->key, "messages") == 0;
    int before = prepare(r, body, size);
    int status = ask(r->method, r->path,
                     all         ? "a:1"
                     : addressed ? "?user=a:1"
                                 : "",
                     body, size, before == 200 ? "\"removed\":0" : NULL);
    PGR_ASSERT(before != 200 || status == 200 || status == 202 || status == 0);
    return 0;
}

/* ---- mutations that stay JSON ------------------------------------------------------------------------------------ */

enum { WORDS_MOST = 400 };

static struct {
    char *list[WORDS_MOST];
    size_t n;
} words; /* the keys of all seeds */

static void add_word(const char *s) {
    for (size_t i = 0; i < words.n; i++)
        if (strcmp(words.list[i], s) == 0) return;
    if (words.n < WORDS_MOST) words.list[words.n++] = strdup(s);
}

static void add_keys(json_t *v) {
    const char *key;
    json_t *of;
    size_t i;
    json_object_foreach(v, key, of) {
        add_word(key);
        add_keys(of);
    }
    json_array_foreach(v, i, of) add_keys(of);
}

/* Every file below a folder. */
static void read_words(const char *folder) {
    DIR *d = opendir(folder);
    PGR_ASSERT(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] == '.') continue;
        json_t *v = e->d_type == DT_DIR ? NULL : json_load_file(path, JSON_DECODE_ANY, NULL);
        if (e->d_type == DT_DIR) read_words(path);
        add_keys(v);
        json_decref(v);
    }
    closedir(d);
}

typedef struct place { /* of a value in an object or a list */
    json_t *in;
    const char *key; /* NULL: in a list */
    size_t at;
} place;

/* The *k-th value below v, counted on. */
static bool find_place(json_t *v, size_t *k, place *out) {
    const char *key;
    json_t *of;
    size_t i;
    json_object_foreach(v, key, of) {
        if (k[0]-- == 0) *out = (place){v, key, 0};
        if (out->in || find_place(of, k, out)) return true;
    }
    json_array_foreach(v, i, of) {
        if (k[0]-- == 0) *out = (place){v, NULL, i};
        if (out->in || find_place(of, k, out)) return true;
    }
    return false;
}

static size_t count_values(json_t *v) {
    size_t n = SIZE_MAX;
    place none = {0};
    find_place(v, &n, &none);
    return SIZE_MAX - n;
}

static json_t *value_at(const place *p) {
    return p->key ? json_object_get(p->in, p->key) : json_array_get(p->in, p->at);
}

static void put_at(const place *p, json_t *v) {
    if (!v) return;
    if (p->key)
        json_object_set_new_nocheck(p->in, p->key, v);
    else
        json_array_set_new(p->in, p->at, v);
}

static json_t *odd_value(size_t i) {
    static const char *const ODD[] = {"null",
                                      "true",
                                      "false",
                                      "[]",
                                      "{}",
                                      "0",
                                      "1",
                                      "2",
                                      "-1",
                                      "-0.0",
                                      "0.5",
                                      "1e308",
                                      "1e-320",
                                      "2147483648",
                                      "4294967297",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "\"\"",
                                      "\" \"",
                                      "\"a:1\"",
                                      "\"a\\u0000b\"",
                                      "\"\\ud83d\\ude00\"",
                                      "\"\\uffff\"",
                                      "\"{}\"",
                                      "\"text\"",
                                      "\"user\"",
                                      "\"assistant\"",
                                      "[[]]",
                                      "[null]",
                                      "[0,0]",
                                      "[\"a\",\"b\"]",
                                      "[{\"role\":\"user\",\"content\":\"q\"}]"};
    return json_loads(ODD[i % (sizeof ODD / sizeof *ODD)], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static json_t *other_number(const json_t *v, size_t how) {
    json_int_t i = json_integer_value(v);
    double x = json_number_value(v);
    static const double BY[] = {-1, 0.5, 2, 1000, 1e-9};
    if (json_is_integer(v) && how % 8 < 2) return json_integer((json_int_t)((uint64_t)i + (how % 2 ? 1 : UINT64_MAX)));
    if (json_is_integer(v) && how % 8 == 2) return json_integer((json_int_t)((uint64_t)i * 2));
    return json_real(x * BY[how % 5]); /* NULL beyond the numbers */
}

static json_t *other_text(const json_t *v, size_t how) {
    uint8_t text[1024];
    size_t n = json_string_length(v);
    if (n > sizeof text / 2) n = how % 2 ? n / 2 : 0;
    if (n > sizeof text / 2) n = sizeof text / 2;
    memcpy(text, json_string_value(v), n);
    n = LLVMFuzzerMutate(text, n, how % 4 ? n + 16 : sizeof text);
    return json_stringn((const char *)text, n); /* NULL where it is not UTF-8 */
}

static json_t *repeated(json_t *v, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append(list, v);
    return list;
}

static void change(json_t *root, const place *p, size_t how) {
    json_t *v = value_at(p);
    size_t k;
    place other = {0};
    switch (how % 10) {
    case 0:
    case 1:
        put_at(p, odd_value(how / 10));
        return;
    case 2:
        if (p->key)
            json_object_del(p->in, p->key);
        else
            json_array_remove(p->in, p->at);
        return;
    case 3:
        put_at(p, json_is_array(v) ? repeated(v, 1) : repeated(v, how / 10 % 70));
        return;
    case 4: /* another's value; a deep copy, so that nothing stands within itself */
        k = how / 10 % count_values(root);
        if (find_place(root, &k, &other)) put_at(p, json_deep_copy(value_at(&other)));
        return;
    case 5: /* another key for it */
        if (p->key) json_object_set_new(p->in, words.list[how / 10 % words.n], json_deep_copy(v));
        return;
    case 6: /* one more beside it */
        if (p->key)
            json_object_set_new(p->in, words.list[how / 10 % words.n], odd_value(how / 10 / words.n));
        else
            json_array_insert_new(p->in, p->at, json_deep_copy(v));
        return;
    default:
        if (json_is_string(v))
            put_at(p, other_text(v, how / 10));
        else if (json_is_number(v))
            put_at(p, other_number(v, how / 10));
        else
            put_at(p, odd_value(how / 10));
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    rng by = {seed, 0, 0};
    json_setup();
    if (words.n == 0) read_words(SEEDS);
    bool as_json = rng_below(&by, 4) != 0;
    json_t *root = as_json ? json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL) : NULL;
    size_t n = 0, times = 1 + rng_below(&by, 3);
    for (size_t i = 0; root && i < times; i++) {
        size_t k = count_values(root);
        place p = {0};
        if (k) k = rng_below(&by, k);
        if (find_place(root, &k, &p)) change(root, &p, rng_below(&by, 1 << 30));
    }
    if (root) n = json_dumpb(root, (char *)data, most, JSON_COMPACT);
    json_decref(root);
    return n > 0 && n <= most ? n : LLVMFuzzerMutate(data, size, most);
}
