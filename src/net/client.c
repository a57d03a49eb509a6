/* client.c - libcurl's multi interface behind client.h. */
#include "net/client.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/addresses.h"
#include "net/curl_parts.h"

enum {
    TRIES = 8,       /* of a job that fails */
    TRIES_BUSY = 60, /* of one that is told to come later (429): with the waits below half an hour */
    STEP_MS = 50,
    ERROR_BYTES = 400, /* of an answer that is no 200, in messages */
};
static const size_t MOST = (size_t)16 << 20;
static const double CLOCK_TICK = 0.003;
static const double TIMEOUT = 600, BACKOFF = 0.25, WAIT_MOST = 30, ASKED_MOST = 300; /* seconds; the server's wish */

typedef struct job_list {
    net_job *first, *last;
} job_list;

struct net_client {
    CURLM *multi;
    char *bearer; /* a whole header, NULL: none */
    addresses to;
    size_t turn;
    size_t jobs, n_running;
    double timeout;
    job_list waiting, running, ended;
};

/* ---- lists ---- */

static void link_last(job_list *l, net_job *j) {
    j->before = l->last;
    j->after = NULL;
    *(l->last ? &l->last->after : &l->first) = j;
    l->last = j;
}

static void unlink_job(job_list *l, net_job *j) {
    *(j->before ? &j->before->after : &l->first) = j->after;
    *(j->after ? &j->after->before : &l->last) = j->before;
    j->before = j->after = NULL;
}

static job_list *list_of(net_client *c, const net_job *j) {
    return j->state == NET_WAITS ? &c->waiting : j->state == NET_RUNS ? &c->running : &c->ended;
}

static void move_to(net_client *c, net_job *j, net_state state) {
    if (j->state != NET_NEW) unlink_job(list_of(c, j), j);
    j->state = state;
    link_last(list_of(c, j), j);
}

/* ---- opening ---- */

const char *net_usual_key(void) {
    const char *key = getenv("PGENRM_API_KEY");
    return key && *key ? key : getenv("OPENAI_API_KEY");
}

static pgr_status set_up(net_client *c, const net_options *o, pgr_error *err) {
    buf bearer = {0};
    c->jobs = o->jobs ? o->jobs : 1;
    c->timeout = o->timeout_s > 0 ? o->timeout_s : TIMEOUT;
    c->multi = curl_multi_init();
    if (!c->multi) return fail_mem(err);
    if (o->key && *o->key) {
        if (!net_token_valid(o->key))
            return fail(err, PGR_E_ARG, "the key holds blanks or control characters, expected a token");
        buf_printf(&bearer, "Authorization: Bearer %s", o->key);
        c->bearer = buf_take(&bearer);
        if (!c->bearer) return fail_mem(err);
    }
    return addresses_read(o->urls ? o->urls : "", &c->to, err);
}

pgr_status net_open(const net_options *o, net_client **out, pgr_error *err) {
    net_setup();
    net_client *c = mem_zero(1, sizeof *c);
    if (!c) return fail_mem(err);
    pgr_status s = set_up(c, o, err);
    if (s == PGR_OK)
        *out = c;
    else
        net_close(c);
    return s;
}

void net_close(net_client *c) {
    if (!c) return;
    if (c->multi) curl_multi_cleanup(c->multi);
    addresses_free(&c->to);
    mem_free(c->bearer);
    mem_free(c);
}

size_t net_count(const net_client *c) {
    return c->to.n;
}

const char *net_address(const net_client *c, size_t i) {
    return c->to.list[i].shown;
}

/* ---- a try ---- */

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx) {
    net_job *j = ctx;
    size_t n = size * count, most = j->most ? j->most : MOST;
    if (n > most - j->reply.n) return CURL_WRITEFUNC_ERROR;
    buf_add(&j->reply, bytes, n);
    return j->reply.failed ? CURL_WRITEFUNC_ERROR : n;
}

/* Milliseconds that the try may take. */
static long time_of(const net_client *c, const net_job *j, double now) {
    double most = c->timeout;
    if (j->deadline > 0 && j->deadline - now < most) most = j->deadline - now;
    return most > 0.001 ? (long)(most * 1000) : 1;
}

static CURLcode set_options(const net_client *c, net_job *j, double now) {
    CURL *e = j->easy;
    CURLcode bad = CURLE_OK;
#define SET(option, value) bad = bad ? bad : curl_easy_setopt(e, option, value)
    SET(CURLOPT_URL, j->url);
    SET(CURLOPT_PRIVATE, j);
    SET(CURLOPT_USERAGENT, NET_AGENT);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_CONNECTTIMEOUT, 10L);
    SET(CURLOPT_TIMEOUT_MS, time_of(c, j, now));
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, j);
    SET(CURLOPT_HTTPHEADER, j->headers);
    if (j->body) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)j->n_body);
        SET(CURLOPT_POSTFIELDS, j->body);
    }
#undef SET
    return bad;
}

/* No "Expect: 100-continue", which some servers let a second pass over. */
static bool add_headers(const net_client *c, net_job *j) {
    const char *lines[] = {j->body ? "Content-Type: application/json" : "Accept: application/json",
                           "Expect:", c->bearer};
    for (size_t i = 0; i < sizeof lines / sizeof *lines && lines[i]; i++) {
        struct curl_slist *more = curl_slist_append(j->headers, lines[i]);
        if (!more) return false;
        j->headers = more;
    }
    return true;
}

static bool make_url(const net_client *c, net_job *j) {
    const address *a = &c->to.list[j->at];
    bool root = j->path[0] == '^';
    buf url = {0};
    buf_add(&url, a->url, root ? a->n_root : strlen(a->url));
    buf_puts(&url, j->path + root);
    j->url = buf_take(&url);
    return j->url != NULL;
}

static void end_try(net_client *c, net_job *j) {
    if (j->state == NET_RUNS) {
        c->to.list[j->at].n_running--;
        c->n_running--;
    }
    if (j->easy) {
        curl_multi_remove_handle(c->multi, j->easy);
        curl_easy_cleanup(j->easy);
    }
    curl_slist_free_all(j->headers);
    mem_free(j->url);
    j->easy = j->headers = NULL;
    j->url = NULL;
}

static void end_job(net_client *c, net_job *j) {
    end_try(c, j);
    move_to(c, j, NET_ENDED);
}

static void begin_try(net_client *c, net_job *j, size_t at, double now) {
    buf_clear(&j->reply);
    j->at = at;
    j->status = 0;
    j->error.status = PGR_OK;
    j->begun = now;
    j->easy = curl_easy_init();
    if (j->easy && make_url(c, j) && add_headers(c, j) && set_options(c, j, now) == CURLE_OK
        && curl_multi_add_handle(c->multi, j->easy) == CURLM_OK) {
        move_to(c, j, NET_RUNS);
        c->to.list[at].n_running++;
        c->n_running++;
        j->n_try++;
        return;
    }
    fail_mem(&j->error);
    end_job(c, j);
}

/* ---- which job, and where ---- */

/* The address that may be asked now and has least to do, in turns; not the one that failed it where there is another.
 * c->to.n: none. */
static size_t choose(const net_client *c, const net_job *j, double now) {
    size_t best = c->to.n;
    if (j->only) return c->to.list[j->only - 1].not_before <= now || j->once ? j->only - 1 : c->to.n;
    for (size_t k = 0; k < c->to.n; k++) {
        size_t i = (c->turn + k) % c->to.n;
        if (c->to.list[i].not_before > now) continue;
        bool again = best < c->to.n && j->n_bad > 0 && best == j->at; /* what was found so far is where it failed */
        if (best == c->to.n || again
            || (c->to.list[i].n_running < c->to.list[best].n_running && !(j->n_bad > 0 && i == j->at)))
            best = i;
    }
    return best;
}

/* What the tries before it found is said, too. */
static void end_late(net_client *c, net_job *j) {
    pgr_error before = {0};
    if (j->n_bad + j->n_busy > 0) before = j->error;
    fail(&j->error, PGR_E_DEADLINE, "%s%s: no answer by the deadline%s%s", c->to.list[j->at].shown,
         j->path + (j->path[0] == '^'), before.message[0] ? "; before it: " : "", before.message);
    end_job(c, j);
}

static void end_late_ones(net_client *c, double now) {
    for (net_job *j = c->waiting.first, *after; j; j = after) {
        after = j->after;
        if (j->deadline > 0 && now >= j->deadline) end_late(c, j);
    }
}

static void start_some(net_client *c) {
    double now = clock_now();
    end_late_ones(c, now);
    for (net_job *j = c->waiting.first, *after; j && c->n_running < c->jobs; j = after) {
        after = j->after;
        if (j->not_before > now) continue;
        size_t at = choose(c, j, now);
        if (at == c->to.n) continue;
        c->turn = at + 1;
        begin_try(c, j, at, now);
    }
}

/* ---- how a try ended ---- */

/* An address fails once for all tries that had begun before it was known to. */
static void blame(address *a, const net_job *j, double asked, bool busy) {
    double now = clock_now();
    if (!busy && j->begun >= a->bad_at) {
        a->n_bad++;
        a->bad_at = now;
    }
    int k = a->n_bad < 8 ? a->n_bad : 8;
    double wait = busy ? BACKOFF : BACKOFF * (double)(1 << (k > 0 ? k - 1 : 0));
    if (wait > WAIT_MOST) wait = WAIT_MOST;
    if (asked > 0) wait = asked < ASKED_MOST ? asked : ASKED_MOST;
    if (now + wait > a->not_before) a->not_before = now + wait;
}

/* Plans the next try; false: it was the last one. */
static bool plan(net_client *c, net_job *j, double asked, bool busy) {
    bool more = !j->once && (busy ? ++j->n_busy < TRIES_BUSY : ++j->n_bad < TRIES);
    size_t k = (busy ? j->n_busy : j->n_bad) - more * 1;
    double wait = BACKOFF * (double)(1 << (k < 7 ? k : 7));
    if (wait > WAIT_MOST) wait = WAIT_MOST;
    if (asked > 0) wait = asked < ASKED_MOST ? asked : ASKED_MOST;
    blame(&c->to.list[j->at], j, asked, busy);
    if (!more) return false;
    /* another address may be asked at once; its own wait is the address's */
    j->not_before = c->to.n > 1 && !j->only && !busy ? 0 : clock_now() + wait;
    log_info("%s; another try follows", j->error.message);
    end_try(c, j);
    move_to(c, j, NET_WAITS);
    return true;
}

static bool is_final(const net_job *j) {
    if (!j->final_words || !j->reply.data) return false;
    for (const char *const *w = j->final_words; *w; w++)
        if (memmem(j->reply.data, j->reply.n, *w, strlen(*w))) return true;
    return false;
}

/* The beginning of the answer on one line. */
static void describe(const net_job *j, char out[ERROR_BYTES]) {
    size_t n = j->reply.n < ERROR_BYTES - 1 ? j->reply.n : ERROR_BYTES - 1;
    if (n > 0) memcpy(out, j->reply.data, n);
    out[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)out[i] < 0x20) out[i] = ' ';
}

static void judge(net_client *c, net_job *j, CURLcode code) {
    const address *a = &c->to.list[j->at];
    const char *path = j->path + (j->path[0] == '^');
    curl_off_t asked = 0;
    char what[ERROR_BYTES];
    curl_easy_getinfo((CURL *)j->easy, CURLINFO_RESPONSE_CODE, &j->status);
    curl_easy_getinfo((CURL *)j->easy, CURLINFO_RETRY_AFTER, &asked);
    if (code == CURLE_OK && j->status == 200) {
        c->to.list[j->at].n_bad = 0;
        end_job(c, j);
        return;
    }
    if (j->deadline > 0 && clock_now() >= j->deadline - CLOCK_TICK) { /* libcurl's time has whole milliseconds */
        end_late(c, j);
        return;
    }
    describe(j, what);
    bool again = code ? net_code_again(code) : net_status_again(j->status) && !is_final(j);
    if (code == CURLE_WRITE_ERROR && !j->reply.failed)
        fail(&j->error, PGR_E_LIMIT, "%s%s: the answer is longer than %zu bytes", a->shown, path,
             j->most ? j->most : MOST);
    else if (code == CURLE_WRITE_ERROR || code == CURLE_OUT_OF_MEMORY)
        fail_mem(&j->error);
    else if (code)
        fail(&j->error, PGR_E_IO, "%s%s: %s (%zu %s)", a->shown, path, curl_easy_strerror(code), j->n_try,
             j->n_try == 1 ? "try" : "tries");
    else
        fail(&j->error, PGR_E_IO, "%s%s: HTTP status %ld: %s (expected 200; %zu %s)", a->shown, path, j->status, what,
             j->n_try, j->n_try == 1 ? "try" : "tries");
    if (again && plan(c, j, (double)asked, !code && j->status == 429)) return;
    end_job(c, j);
}

/* ---- calls ---- */

void net_submit(net_client *c, net_job *j) {
    j->not_before = 0;
    j->n_bad = j->n_busy = j->n_try = 0;
    j->error.status = PGR_OK;
    j->at = j->only ? j->only - 1 : c->turn % c->to.n;
    move_to(c, j, NET_WAITS);
}

void net_stop(net_client *c, net_job *j) {
    end_try(c, j);
    if (j->state != NET_NEW) unlink_job(list_of(c, j), j);
    j->state = NET_NEW;
}

void net_drop(net_client *c, net_job *j) {
    net_stop(c, j);
    buf_free(&j->reply);
}

/* Until the first waiting job may begin, if nothing else happens before; whole milliseconds, at most ms. */
static int sleep_of(const net_client *c, int ms) {
    double now = clock_now(), least = ms / 1000.0;
    for (const net_job *j = c->waiting.first; j; j = j->after) {
        double until = j->not_before - now;
        if (until > 0 && until < least) least = until;
    }
    return least > 0 ? (int)(least * 1000) + 1 : 0;
}

pgr_status net_step(net_client *c, int ms, pgr_error *err) {
    int running = 0, left = 0;
    start_some(c);
    CURLMcode bad = curl_multi_perform(c->multi, &running);
    bool idle = !c->waiting.first && !c->running.first;
    if (!bad && ms > 0 && !idle && !c->ended.first) bad = curl_multi_poll(c->multi, NULL, 0, sleep_of(c, ms), NULL);
    if (!bad && ms > 0) bad = curl_multi_perform(c->multi, &running);
    for (CURLMsg *m; !bad && (m = curl_multi_info_read(c->multi, &left));) {
        char *j = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &j);
        judge(c, (net_job *)(void *)j, code);
    }
    if (bad == CURLM_OUT_OF_MEMORY) return fail_mem(err);
    return bad ? fail(err, PGR_E_IO, "network: %s", curl_multi_strerror(bad)) : PGR_OK;
}

net_job *net_ended(net_client *c) {
    net_job *j = c->ended.first;
    if (!j) return NULL;
    unlink_job(&c->ended, j);
    j->state = NET_NEW;
    return j;
}

bool net_refuse(net_client *c, net_job *j, const char *what) {
    PGR_ASSERT(j->state == NET_NEW);
    fail(&j->error, PGR_E_FORMAT, "%s%s: %s", c->to.list[j->at].shown, j->path + (j->path[0] == '^'), what);
    link_last(&c->ended, j);
    j->state = NET_ENDED;
    if (plan(c, j, 0, false)) return true;
    unlink_job(&c->ended, j);
    j->state = NET_NEW;
    return false;
}

pgr_status net_run(net_client *c, net_job *j, const pgr_cancel *cancel, pgr_error *err) {
    pgr_status s = PGR_OK;
    net_submit(c, j);
    while (s == PGR_OK && j->state != NET_ENDED) {
        s = net_step(c, STEP_MS, err);
        if (s == PGR_OK && cancel && *cancel) s = fail(err, PGR_E_CANCELLED, "%s", pgr_status_text(PGR_E_CANCELLED));
    }
    net_stop(c, j);
    if (s == PGR_OK && j->error.status != PGR_OK) {
        s = j->error.status;
        if (err) *err = j->error;
    }
    return s;
}
