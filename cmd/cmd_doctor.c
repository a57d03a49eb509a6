/* cmd_doctor.c - `pgenrm doctor`: what this machine will run fast, what is missing, and how to get it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "commands.h"
#include "json_out.h"
#include "message.h"
#include "session.h"
#include "table.h"

typedef enum state { STATE_OK, STATE_NOTE, STATE_MISSING } state;

static const char *const STATES[] = {"ok", "note", "missing"};

typedef struct check {
    const char *about;
    state state;
    char *found, *get; /* the check's; get "": nothing is to be done */
} check;

enum { MAX_CHECK = 24, MAX_TEXT = 600 };

typedef struct doctor {
    common_options common;
    bool quick;
    const char *store; /* --store */
    check checks[MAX_CHECK];
    size_t n;
    double read, write; /* tokens per second; 0: not measured */
} doctor;

static const option_row OPTIONS[] = {
    {0, "quick", NULL, "measure no speed", OPTION_AT(doctor, quick)},
    {0, "store", "FILE", "the store of users (default: $PGENRM_STORE, else users.db in the cache folder)",
     OPTION_AT(doctor, store)},
    {0},
};

/* One more check; texts are copied and cut at MAX_TEXT. */
static void add(doctor *d, const char *about, state s, const char *found, const char *get) {
    if (d->n == MAX_CHECK) return;
    d->checks[d->n++] =
        (check){about, s, must_dup(found, strnlen(found, MAX_TEXT)), must_dup(get, strnlen(get, MAX_TEXT))};
}

/* The message of an error up to its first line's end. */
static void add_error(doctor *d, const char *about, state s, const pgr_error *err, const char *get) {
    char text[MAX_TEXT];
    snprintf(text, sizeof text, "%.*s", (int)strcspn(err->message, "\n"), err->message);
    add(d, about, s, text, get);
}

/* ---- the machine ---- */

static void check_cpu(doctor *d, const pgr_machine *m) {
    char text[MAX_TEXT];
    snprintf(text, sizeof text, "%s%s%d core%s", m->cpu, *m->cpu ? ", " : "", m->n_core, m->n_core == 1 ? "" : "s");
    add(d, "CPU", STATE_OK, text, "");
}

static void check_kernels(doctor *d, const pgr_machine *m) {
    static const pgr_dtype KINDS[] = {PGR_DTYPE_F32, PGR_DTYPE_BF16, PGR_DTYPE_INT8};
    char text[MAX_TEXT], fast[80] = "";
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        size_t n = strlen(fast);
        if (pgr_dtype_fast(KINDS[i]))
            snprintf(fast + n, sizeof fast - n, "%s%s", n ? ", " : "", pgr_dtype_name(KINDS[i]));
    }
    bool lowered = strcmp(m->level, m->most) != 0, plain = !*fast;
    snprintf(text, sizeof text, "level %s, fast for %s; --dtype auto is %s", m->level, plain ? "nothing" : fast,
             pgr_dtype_name(pgr_dtype_auto()));
    add(d, "kernels", plain || lowered ? STATE_NOTE : STATE_OK, text,
        lowered ? "this CPU has more: PGENRM_CPU holds it back, `unset PGENRM_CPU`"
        : plain ? "an x86-64 CPU with AVX2 or an aarch64 one is many times as fast"
                : "");
}

static void check_memory(doctor *d, const pgr_machine *m) {
    static const uint64_t LEAST = UINT64_C(1) << 30; /* the default model with 1,024 MB for K and V is below */
    char text[MAX_TEXT];
    if (m->memory == 0) return;
    snprintf(text, sizeof text, "%.1f GB, %.1f GB free", (double)m->memory / 1e9, (double)m->memory_free / 1e9);
    bool tight = m->memory_free < LEAST;
    add(d, "memory", tight ? STATE_NOTE : STATE_OK, text,
        tight ? "`--memory 256` (MB for keys and values) lets the default model judge in less" : "");
}

/* ---- what is there of files ---- */

static void check_adapter(doctor *d, const char *model) {
    char *path = NULL;
    pgr_error err = {0};
    if (pgr_adapter_find(model, &path, &err) != PGR_OK)
        add_error(d, "adapter", STATE_NOTE, &err, "");
    else if (path)
        add(d, "adapter", STATE_OK, path, "");
    else
        add(d, "adapter", STATE_NOTE, "none comes with pgenrm for this model: it judges as it was published",
            "`pgenrm train psi --help` trains one");
    pgr_free(path);
}

/* The model's file, NULL where there is none: the caller's (pgr_free). */
static char *check_model(doctor *d) {
    const char *urls = remote_addresses(&d->common);
    char *path = NULL;
    pgr_error err = {0};
    if (urls && pgr_addresses_check(urls, &err) != PGR_OK) {
        add_error(d, "model", STATE_MISSING, &err, "");
    } else if (urls) {
        add(d, "model", STATE_OK, urls, "");
    } else if (pgr_model_find(d->common.model, &path, &err) == PGR_OK) {
        add(d, "model", STATE_OK, path, "");
        check_adapter(d, path);
    } else {
        add_error(d, "model", STATE_MISSING, &err,
                  "`make model` fetches the default one (98 MB); others: `pgenrm pull`");
    }
    return path;
}

static void check_embedder(doctor *d) {
    char *path = NULL;
    pgr_error err = {0};
    pgr_status s = pgr_embedder_find(NULL, &path, &err);
    if (s == PGR_OK && is_address(path)) s = pgr_addresses_check(path, &err);
    if (s == PGR_OK)
        add(d, "embedder", STATE_OK, path, "");
    else
        add_error(d, "embedder", STATE_NOTE, &err, "needed for prototypes by texts (--pro): `make embedder`");
    pgr_free(path);
}

static bool count_user(void *ctx, const pgr_user_row *row) {
    size_t *n = ctx;
    n[0]++;
    n[1] += row->pairs;
    return true;
}

static void check_prototypes(doctor *d, const char *store) {
    char *path = NULL;
    pgr_prototypes *p = NULL;
    pgr_error err = {0};
    pgr_status s = pgr_store_protos(store, &path, &err);
    if (s == PGR_OK && access(path, F_OK) != 0)
        add(d, "prototypes", STATE_NOTE, "none yet", "similar users count (--pro) after `pgenrm proto build`");
    else if (s == PGR_OK && (s = pgr_prototypes_read(path, false, &p, &err)) == PGR_OK)
        add(d, "prototypes", STATE_OK, path, "");
    if (s != PGR_OK) add_error(d, "prototypes", STATE_NOTE, &err, "`pgenrm proto build --force` makes them anew");
    pgr_prototypes_free(p);
    pgr_free(path);
}

static void count_users(doctor *d, pgr_store *store) {
    char text[MAX_TEXT];
    size_t n[2] = {0, 0};
    pgr_error err = {0};
    if (pgr_user_list(store, count_user, n, &err) != PGR_OK) {
        add_error(d, "store", STATE_NOTE, &err, "");
        return;
    }
    snprintf(text, sizeof text, "%s: %zu users, %zu pairs", pgr_store_path(store), n[0], n[1]);
    add(d, "store", STATE_OK, text, "");
}

static void check_store(doctor *d) {
    char *path = NULL;
    pgr_store *store = NULL;
    pgr_error err = {0};
    pgr_status s = pgr_store_find(d->store, &path, &err);
    bool file = s == PGR_OK && !strstr(path, "://");
    if (file && access(path, F_OK) != 0) {
        add(d, "store", STATE_NOTE, "none yet",
            "`pgenrm user import FILE` makes it; a request may also bring its history");
    } else {
        if (s == PGR_OK) s = pgr_store_open(path, PGR_STORE_READ, &store, &err);
        if (s == PGR_OK) count_users(d, store);
        if (s == PGR_OK) check_prototypes(d, path);
        if (s != PGR_OK) add_error(d, "store", STATE_NOTE, &err, "");
    }
    pgr_store_close(store);
    pgr_free(path);
}

/* ---- what this program was built with ---- */

static void check_postgres(doctor *d) {
    char *path = NULL;
    bool there = pgr_store_find("postgres://localhost/x", &path, NULL) == PGR_OK;
    add(d, "PostgreSQL", there ? STATE_OK : STATE_NOTE, there ? "built in" : "left out of this program",
        there ? "" : "for stores that many servers share: `apt-get install libpq-dev`, then `make build`");
    pgr_free(path);
}

static void check_commands(doctor *d) {
#ifdef PGR_QUICK
    add(d, "commands", STATE_NOTE, "built in a hurry, without serve, bench, synth, train, label and report",
        "`make build` makes build/pgenrm");
#else
    add(d, "commands", STATE_OK, "all", "");
#endif
}

/* Variables that change what the program does; their values may be secrets, so only names of those are shown. */
static void check_environment(doctor *d) {
    static const char *const NAMES[] = {"PGENRM_HOME",  "PGENRM_MODEL",   "PGENRM_EMBEDDER", "PGENRM_CPU",
                                        "PGENRM_STORE", "PGENRM_API_KEY", "HF_HUB_OFFLINE"};
    char text[MAX_TEXT] = "";
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        size_t n = strlen(text);
        const char *value = getenv(NAMES[i]);
        if (value && *value) snprintf(text + n, sizeof text - n, "%s%s", n ? ", " : "", NAMES[i]);
    }
    add(d, "environment", STATE_OK, *text ? text : "nothing set that counts", "");
}

/* ---- speed ---- */

enum { PROMPT_WORDS = 400, CHAINS = 16, CHAIN_TOKENS = 24 };

/* Reads a prompt of some hundred tokens and writes some chains behind it. */
static pgr_status time_chains(doctor *d, const session *s, pgr_error *err) {
    static const char WORDS[] = "a ship and a tree or";
    char prompt[PROMPT_WORDS * sizeof WORDS];
    size_t n = 0, words = pgr_model_context(s->model) / 3;
    if (words > PROMPT_WORDS) words = PROMPT_WORDS;
    for (size_t i = 0; i < words / 6; i++) n += (size_t)snprintf(prompt + n, sizeof prompt - n, "%s ", WORDS);
    pgr_generate_options o = pgr_generate_options_default();
    pgr_generation *g = NULL;
    o.raw = o.ignore_eos = true;
    o.n_sample = CHAINS;
    o.max_tokens = CHAIN_TOKENS;
    o.watch = (pgr_watch){.cancel = &interrupted};
    pgr_status status = pgr_generate(s->engine, prompt, n, &o, &g, err);
    if (status != PGR_OK) return status;
    size_t written = 0;
    for (size_t i = 0; i < g->n_sample; i++) written += g->samples[i].n_token;
    if (g->timing.prefill_s > 0) d->read = (double)g->n_prompt / g->timing.prefill_s;
    if (g->timing.decode_s > 0) d->write = (double)written / g->timing.decode_s;
    pgr_generation_free(g);
    return PGR_OK;
}

static int check_speed(doctor *d) {
    char text[MAX_TEXT];
    session s;
    pgr_error err = {0};
    int status = session_open(&d->common, true, &s);
    if (status == EXIT_DONE) {
        pgr_status timed = time_chains(d, &s, &err);
        snprintf(text, sizeof text,
                 "reads %.0f tokens/s, writes %.0f tokens/s (%d chains at once), measured beside all that runs now",
                 d->read, d->write, CHAINS);
        if (timed == PGR_OK)
            add(d, "speed", STATE_OK, text, "");
        else
            status = finish_call(timed, &err);
    }
    session_close(&s);
    return status;
}

/* ---- what is said ---- */

static bool ready(const doctor *d) {
    for (size_t i = 0; i < d->n; i++)
        if (d->checks[i].state == STATE_MISSING) return false;
    return true;
}

static void print_checks(const doctor *d) {
    static const column COLUMNS[] = {
        {.title = "state"}, {.title = "of"}, {.title = "found, and what helps", .flexible = true}};
    static const style STYLES[] = {STYLE_PLAIN, STYLE_PLAIN, STYLE_WEAK};
    screen s = screen_open(120);
    table *t = table_create(COLUMNS, 3);
    for (size_t i = 0; i < d->n; i++) {
        const check *c = &d->checks[i];
        table_row(t, STYLES[c->state], (const char *const[]){STATES[c->state], c->about, c->found});
        if (*c->get) table_row(t, STYLE_DIM, (const char *const[]){NULL, NULL, c->get});
    }
    table_print(t, &s, 0);
    table_free(t);
    put(&s, STYLE_BOLD, "%s\n",
        ready(d) ? "ready: try `pgenrm score examples/request.json`"
                 : "not ready: what is missing stands above, with how to get it");
}

static void print_json(const doctor *d, const pgr_machine *m) {
    printf("{\"ready\":%s,\"level\":", ready(d) ? "true" : "false");
    json_text(m->level, strlen(m->level));
    printf(",\"cores\":%d,\"memory\":%llu,\"memory_free\":%llu,\"read_tokens_per_s\":", m->n_core,
           (unsigned long long)m->memory, (unsigned long long)m->memory_free);
    json_real(d->read > 0 ? d->read : (double)NAN);
    fputs(",\"write_tokens_per_s\":", stdout);
    json_real(d->write > 0 ? d->write : (double)NAN);
    fputs(",\"checks\":[", stdout);
    for (size_t i = 0; i < d->n; i++) {
        const check *c = &d->checks[i];
        printf("%s{\"about\":", i ? "," : "");
        json_text(c->about, strlen(c->about));
        printf(",\"state\":\"%s\",\"found\":", STATES[c->state]);
        json_text(c->found, strlen(c->found));
        fputs(",\"get\":", stdout);
        json_text(c->get, strlen(c->get));
        putchar('}');
    }
    puts("]}");
}

static int look(doctor *d) {
    pgr_machine m;
    pgr_machine_look(&m);
    check_cpu(d, &m);
    check_kernels(d, &m);
    check_memory(d, &m);
    char *model = check_model(d);
    int status = model && !d->quick ? check_speed(d) : EXIT_DONE;
    pgr_free(model);
    if (status != EXIT_DONE) return status;
    check_embedder(d);
    check_store(d);
    check_postgres(d);
    check_commands(d);
    check_environment(d);
    if (d->common.json)
        print_json(d, &m);
    else
        print_checks(d);
    return ready(d) ? EXIT_DONE : EXIT_FAILED;
}

static int run(const command *self, int argc, char **argv) {
    doctor d = {0};
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &d.common, &d, &operands);
    if (status != ARGS_RUN) return status;
    if (operands[0]) return args_wrong(self, "expected no operand, found \"%s\"", operands[0]);
    status = look(&d);
    for (size_t i = 0; i < d.n; i++) {
        free(d.checks[i].found);
        free(d.checks[i].get);
    }
    return status;
}

const command CMD_DOCTOR = {
    .name = "doctor",
    .summary = "what this machine runs fast, what is missing, how to get it",
    .about = "CPU and kernels, memory, model and adapter with their speed (a second's measurement), embedder, store, "
             "prototypes.\n"
             "Exit status 0: a request can be judged; 1: something that this needs is missing.",
    .example = "pgenrm doctor --quick",
    .options = OPTIONS,
    .without = ARGS_NO_LORA | ARGS_NO_CHAT_TEMPLATE,
    .run = run,
};
