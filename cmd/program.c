/* program.c - messages, files, signals, and opening the model. */
#include "program.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "json_out.h"

void complain(const char *format, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    for (char *c = text; *c; c++) /* one line, whatever a file's name holds */
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = ' ';
    fprintf(stderr, "pgenrm: %s\n", text);
}

int complain_error(const pgr_error *err) {
    if (err->status == PGR_E_CANCELLED && interrupted) {
        complain("interrupted");
        return EXIT_INTERRUPTED;
    }
    complain("%s", err->message[0] ? err->message : pgr_status_text(err->status));
    return EXIT_FAILED;
}

static void *must(void *p) {
    if (p) return p;
    complain("out of memory");
    exit(EXIT_FAILED);
}

void *must_alloc(size_t size) {
    return must(calloc(1, size ? size : 1));
}
void *must_resize(void *p, size_t size) {
    return must(realloc(p, size ? size : 1));
}

char *must_dup(const char *s, size_t n) {
    char *copy = must_alloc(n + 1);
    memcpy(copy, s, n);
    return copy;
}

static int read_stream(FILE *f, const char *name, char **text, size_t *n) {
    size_t cap = 1 << 16, size = 0;
    char *data = must_alloc(cap);
    for (;;) {
        size += fread(data + size, 1, cap - size - 1, f);
        if (size < cap - 1) break;
        data = must_resize(data, cap *= 2);
    }
    if (ferror(f)) {
        complain("%s: %s", name, strerror(errno));
        free(data);
        return EXIT_FAILED;
    }
    data[size] = '\0';
    *text = data;
    *n = size;
    return EXIT_DONE;
}

int read_whole(const char *path, char **text, size_t *n) {
    if (strcmp(path, "-") == 0) return read_stream(stdin, "standard input", text, n);
    FILE *f = fopen(path, "rb");
    if (!f) {
        complain("%s: %s", path, strerror(errno));
        return EXIT_FAILED;
    }
    int status = read_stream(f, path, text, n);
    fclose(f);
    return status;
}

int finish_output(void) {
    static bool said;
    if (fflush(stdout) == 0 && !ferror(stdout)) return EXIT_DONE;
    if (!said) complain("standard output: %s", strerror(errno));
    said = true;
    return EXIT_FAILED;
}

/* ---- writing models ---- */

int args_file_type(const char *text, pgr_file_type *out) {
    static const char *const types[] = {"keep", "f32", "f16", "bf16", "q8_0", "q4_0", NULL};
    int choice = 0, status = args_choice("type", text, types, &choice);
    *out = (pgr_file_type)choice;
    return status;
}

pgr_progress_bar *begin_writing(const common_options *o, pgr_write_options *out) {
    pgr_progress_bar *bar = pgr_progress_bar_create(o->quiet);
    out->n_thread = o->n_thread;
    out->watch = bar_watch(bar);
    return bar;
}

void print_written(const char *path, const pgr_written *w, bool json) {
    if (!json) {
        printf("%s\n", path);
        return;
    }
    printf("{\"path\":");
    json_text(path, strlen(path));
    printf(",\"tensors\":%zu,\"bytes\":%llu,\"seconds\":", w->tensors, (unsigned long long)w->bytes);
    json_real(w->seconds);
    printf("}\n");
}

/* ---- signals ---- */

pgr_cancel interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

void catch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

pgr_watch bar_watch(pgr_progress_bar *bar) {
    return (pgr_watch){&interrupted, pgr_progress_bar_update, bar};
}

/* ---- the model ---- */

int find_model(const common_options *o, char **path) {
    const char *name = o->model ? o->model : getenv("PGENRM_MODEL");
    if (name && (strncmp(name, "http://", 7) == 0 || strncmp(name, "https://", 8) == 0)) {
        complain("%s: remote engines are not supported yet, expected a GGUF file or a model's name", name);
        return EXIT_FAILED;
    }
    pgr_error err = {0};
    return pgr_model_find(o->model, path, &err) == PGR_OK ? EXIT_DONE : complain_error(&err);
}

static pgr_status open_loras(const common_options *o, session *s, pgr_error *err) {
    float scales[ARGS_MAX_LORA];
    for (size_t i = 0; i < o->n_lora; i++) {
        char *path = must_dup(o->loras[i].text, o->loras[i].n);
        pgr_status opened = pgr_lora_open(s->model, path, &s->loras[i], err);
        free(path);
        if (opened != PGR_OK) return opened;
        scales[i] = o->loras[i].scale;
    }
    return o->n_lora > 0 ? pgr_engine_set_loras(s->engine, s->loras, scales, o->n_lora, err) : PGR_OK;
}

int session_open(const common_options *o, bool engine, session *s) {
    *s = (session){0};
    char *path = NULL;
    int status = find_model(o, &path);
    if (status != EXIT_DONE) return status;

    s->bar = pgr_progress_bar_create(o->quiet);
    pgr_model_options mo = pgr_model_options_default();
    mo.dtype = o->dtype;
    mo.n_thread = o->n_thread;
    mo.chat_template = o->chat_template;
    mo.watch = bar_watch(s->bar);
    pgr_error err = {0};
    pgr_status made = pgr_model_open(path, &mo, &s->model, &err);
    if (made == PGR_OK && engine) made = pgr_engine_create(s->model, NULL, &s->engine, &err);
    if (made == PGR_OK && engine) made = open_loras(o, s, &err);
    pgr_free(path);
    if (interrupted) return EXIT_INTERRUPTED;
    return made == PGR_OK ? EXIT_DONE : complain_error(&err);
}

void session_close(session *s) {
    pgr_progress_bar_free(s->bar);
    pgr_engine_free(s->engine);
    for (size_t i = 0; i < ARGS_MAX_LORA; i++) pgr_lora_close(s->loras[i]);
    pgr_model_close(s->model);
    *s = (session){0};
}

/* ---- the store ---- */

int open_store(const char *name, pgr_store_mode mode, pgr_store **store) {
    char *path = NULL;
    pgr_error err = {0};
    pgr_status opened = pgr_store_find(name, &path, &err);
    if (opened == PGR_OK) opened = pgr_store_open(path, mode, store, &err);
    pgr_free(path);
    return opened == PGR_OK ? EXIT_DONE : complain_error(&err);
}
