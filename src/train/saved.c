/* saved.c - state.bin is "PGRTRAIN", the version, n, then values, first and second moments as they lie in memory, then
 * the hash of all that. */
#include "train/saved.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/hash.h"
#include "base/mem.h"
#include "train/written.h"

enum { VERSION = 1, KEPT = 2 };
static const char MAGIC[8] = "PGRTRAIN", PREFIX[] = "checkpoint-";

typedef struct head {
    char magic[8];
    uint64_t version, n;
} head;

static pgr_status fail_path(pgr_error *err, const char *path) {
    char text[128];
    return fail(err, PGR_E_IO, "%s: %s", path, strerror_r(errno, text, sizeof text));
}

static pgr_status join(char out[SAVED_PATH], const char *a, const char *b, pgr_error *err) {
    int n = snprintf(out, SAVED_PATH, "%s/%s", a, b);
    return n >= 0 && n < SAVED_PATH ? PGR_OK : fail(err, PGR_E_LIMIT, "%s/%s: the path is too long", a, b);
}

/* ---- folders ---- */

static pgr_status sync_folder(const char *path, pgr_error *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_path(err, path);
    int wrong = fsync(fd) != 0 && errno != EINVAL;
    pgr_status s = wrong ? fail_path(err, path) : PGR_OK;
    close(fd);
    return s;
}

/* Of a name "checkpoint-N": N, and 0 for every other name. */
static uint64_t step_of(const char *name) {
    size_t n = sizeof PREFIX - 1;
    if (strncmp(name, PREFIX, n) != 0 || name[n] < '1' || name[n] > '9') return 0;
    char *end;
    unsigned long long step = strtoull(name + n, &end, 10);
    return *end ? 0 : step;
}

/* "checkpoint-N.new", and what writing it leaves: "checkpoint-N.new.part". Other folders are the user's. */
static bool is_unfinished(const char *name) {
    size_t n = sizeof PREFIX - 1, digits = strspn(name + n, "0123456789");
    return digits > 0 && strncmp(name + n + digits, ".new", 4) == 0;
}

/* Calls for each of OUT's checkpoints; step 0: one that is not whole. */
typedef void (*saved_fn)(void *ctx, const char *path, uint64_t step);

static pgr_status each_saved(const char *out, saved_fn fn, void *ctx, pgr_error *err) {
    DIR *d = opendir(out);
    if (!d) return errno == ENOENT ? PGR_OK : fail_path(err, out);
    pgr_status s = PGR_OK;
    for (struct dirent *e; s == PGR_OK && (e = readdir(d));) {
        char path[SAVED_PATH];
        if (strncmp(e->d_name, PREFIX, sizeof PREFIX - 1) != 0) continue;
        if (step_of(e->d_name) == 0 && !is_unfinished(e->d_name)) continue;
        s = join(path, out, e->d_name, err);
        if (s == PGR_OK) fn(ctx, path, step_of(e->d_name));
    }
    closedir(d);
    return s;
}

typedef struct newest {
    uint64_t step[KEPT]; /* largest first */
} newest;

static void note_newest(void *ctx, const char *path, uint64_t step) {
    newest *n = ctx;
    (void)path;
    for (size_t i = 0; i < KEPT; i++) {
        if (step <= n->step[i]) continue;
        memmove(n->step + i + 1, n->step + i, (KEPT - 1 - i) * sizeof *n->step);
        n->step[i] = step;
        return;
    }
}

static void remove_older(void *ctx, const char *path, uint64_t step) {
    const newest *n = ctx;
    if (step < n->step[KEPT - 1]) file_remove_folder(path); /* unfinished ones are step 0 */
}

static void remove_unfinished(void *ctx, const char *path, uint64_t step) {
    (void)ctx;
    if (step == 0) file_remove_folder(path);
}

pgr_status saved_find(const char *out, uint64_t *step, char *path, pgr_error *err) {
    newest n = {{0}};
    PGR_TRY(each_saved(out, remove_unfinished, NULL, err));
    PGR_TRY(each_saved(out, note_newest, &n, err));
    *step = n.step[0];
    path[0] = '\0';
    if (*step == 0) return PGR_OK;
    char name[40];
    snprintf(name, sizeof name, "%s%llu", PREFIX, (unsigned long long)*step);
    return join(path, out, name, err);
}

static bool dtype_of(const char *name, pgr_dtype *dtype) {
    for (*dtype = PGR_DTYPE_EXACT; *dtype <= PGR_DTYPE_INT8; (*dtype)++)
        if (strcmp(name, pgr_dtype_name(*dtype)) == 0) return true;
    return false;
}

bool saved_dtype(const char *out, pgr_dtype *dtype) {
    newest n = {{0}};
    char path[SAVED_PATH];
    buf text = {0};
    json_t *v = NULL;
    if (each_saved(out, note_newest, &n, NULL) != PGR_OK || n.step[0] == 0) return false;
    int length = snprintf(path, sizeof path, "%s/%s%llu/state.json", out, PREFIX, (unsigned long long)n.step[0]);
    bool read = length < SAVED_PATH && file_read(path, &text, NULL) == PGR_OK;
    if (read) read = json_parse(text.data, text.n, path, 1, &v, NULL) == PGR_OK;
    const char *name = json_string_value(json_object_get(json_object_get(v, "settings"), "dtype"));
    bool found = read && name && dtype_of(name, dtype);
    json_decref(v);
    buf_free(&text);
    return found;
}

/* ---- writing ---- */

static pgr_status put(file_out *f, const void *p, size_t n, uint64_t *hash, pgr_error *err) {
    *hash = hash_bytes(*hash, p, n);
    return file_out_write(f, p, n, err);
}

static pgr_status put_arrays(file_out *f, const train_state *s, pgr_error *err) {
    head h = {.version = VERSION, .n = s->n};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    uint64_t hash = HASH_BEGIN;
    size_t bytes = s->n * sizeof(float);
    PGR_TRY(put(f, &h, sizeof h, &hash, err));
    PGR_TRY(put(f, s->values, bytes, &hash, err));
    PGR_TRY(put(f, s->first, bytes, &hash, err));
    PGR_TRY(put(f, s->second, bytes, &hash, err));
    return file_out_write(f, &hash, sizeof hash, err);
}

static pgr_status write_arrays(const char *folder, const train_state *s, pgr_error *err) {
    char path[SAVED_PATH];
    file_out f;
    PGR_TRY(join(path, folder, "state.bin", err));
    PGR_TRY(file_out_open(path, &f, err));
    pgr_status status = put_arrays(&f, s, err);
    if (status == PGR_OK) return file_out_commit(&f, err);
    file_out_abort(&f);
    return status;
}

static pgr_status write_json(const char *folder, const train_state *s, const json_t *settings, pgr_error *err) {
    char path[SAVED_PATH];
    PGR_TRY(join(path, folder, "state.json", err));
    json_t *at = json_array();
    int failed = 0;
    for (size_t i = 0; i < SAVED_POSITIONS; i++)
        failed |= json_array_append_new(at, json_integer((json_int_t)s->position[i]));
    json_t *v = json_pack("{s:i,s:I,s:I,s:I,s:b,s:o,s:O}", "version", VERSION, "step", (json_int_t)s->step,
                          "num_tokens", (json_int_t)s->tokens, "metrics_bytes", (json_int_t)s->metrics_bytes,
                          "evaluation_due", s->due, "positions", at, "settings", settings);
    buf text = {.failed = failed || !v};
    if (v) json_put(&text, v, JSON_INDENT(2));
    json_decref(v);
    pgr_status status = text.failed ? fail_mem(err) : file_write(path, text.data, text.n, err);
    buf_free(&text);
    return status;
}

pgr_status saved_write(const char *out, const train_state *s, const json_t *settings, const trainable *t, char *path,
                       pgr_error *err) {
    char name[60], part[SAVED_PATH];
    snprintf(name, sizeof name, "%s%llu", PREFIX, (unsigned long long)s->step);
    PGR_TRY(join(path, out, name, err));
    if (file_is_folder(path)) return PGR_OK;
    snprintf(name, sizeof name, "%s%llu.new", PREFIX, (unsigned long long)s->step);
    PGR_TRY(join(part, out, name, err));
    PGR_TRY(written_part(t, part, err));
    pgr_status status = write_arrays(part, s, err);
    if (status == PGR_OK) status = write_json(part, s, settings, err);
    if (status == PGR_OK) status = sync_folder(part, err);
    if (status == PGR_OK && rename(part, path) != 0) status = fail_path(err, path);
    if (status != PGR_OK) {
        file_remove_folder(part);
        return status;
    }
    PGR_TRY(sync_folder(out, err));
    newest n = {{0}};
    PGR_TRY(each_saved(out, note_newest, &n, err));
    return each_saved(out, remove_older, &n, err);
}

/* ---- reading ---- */

static pgr_status read_arrays(const char *path, const uint8_t *p, size_t size, train_state *s, pgr_error *err) {
    head h;
    uint64_t hash;
    size_t bytes = s->n * sizeof(float), want = sizeof h + 3 * bytes + sizeof hash;
    if (size < sizeof h + sizeof hash) return fail(err, PGR_E_FORMAT, "%s: %zu bytes, expected %zu", path, size, want);
    memcpy(&h, p, sizeof h);
    if (memcmp(h.magic, MAGIC, sizeof h.magic) != 0 || h.version != VERSION)
        return fail(err, PGR_E_FORMAT, "%s: is no state of training, version %d", path, VERSION);
    if (h.n != s->n || size != want)
        return fail(err, PGR_E_FORMAT, "%s: %llu values in %zu bytes, expected %zu in %zu", path,
                    (unsigned long long)h.n, size, s->n, want);
    memcpy(&hash, p + size - sizeof hash, sizeof hash);
    if (hash_bytes(HASH_BEGIN, (const char *)p, size - sizeof hash) != hash)
        return fail(err, PGR_E_FORMAT, "%s: damaged: its bytes have another hash than was written", path);
    memcpy(s->values, p + sizeof h, bytes);
    memcpy(s->first, p + sizeof h + bytes, bytes);
    memcpy(s->second, p + sizeof h + 2 * bytes, bytes);
    return PGR_OK;
}

static pgr_status compare(const char *path, const json_t *was, const json_t *now, pgr_error *err) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)now, key, v) {
        const json_t *old = json_object_get(was, key);
        if (old && json_equal(old, v)) continue;
        size_t form = JSON_ENCODE_ANY | JSON_REAL_PRECISION(15); /* as it was typed, not as it is kept */
        char *a = old ? json_dumps(old, form) : NULL, *b = json_dumps(v, form);
        pgr_status s = fail(err, PGR_E_ARG, "%s: the run had the setting %s %s, expected %s", path, key, a ? a : "none",
                            b ? b : "?");
        mem_free(a);
        mem_free(b);
        return s;
    }
    return PGR_OK;
}

static pgr_status take_json(const char *path, const json_t *v, const json_t *settings, train_state *s, pgr_error *err) {
    const json_t *at = json_object_get(v, "positions");
    int64_t n[3];
    static const char *const keys[] = {"step", "num_tokens", "metrics_bytes"};
    PGR_TRY(json_want_object(v, (json_at){path, "state"}, err));
    for (size_t i = 0; i < 3; i++)
        PGR_TRY(json_want_integer(json_object_get(v, keys[i]), (json_at){path, keys[i]}, 0, INT64_MAX, &n[i], err));
    PGR_TRY(json_want_array(at, (json_at){path, "positions"}, err));
    for (size_t i = 0; i < SAVED_POSITIONS; i++) {
        int64_t p;
        PGR_TRY(json_want_integer(json_array_get(at, i), (json_at){path, "positions"}, 0, INT64_MAX, &p, err));
        s->position[i] = (uint64_t)p;
    }
    s->step = (uint64_t)n[0];
    s->tokens = (uint64_t)n[1];
    s->metrics_bytes = (uint64_t)n[2];
    s->due = json_is_true(json_object_get(v, "evaluation_due"));
    return compare(path, json_object_get(v, "settings"), settings, err);
}

pgr_status saved_read(const char *path, const json_t *settings, train_state *s, pgr_error *err) {
    char file[SAVED_PATH];
    buf text = {0};
    json_t *v = NULL;
    PGR_TRY(join(file, path, "state.json", err));
    pgr_status status = file_read(file, &text, err);
    if (status == PGR_OK) status = json_parse(text.data, text.n, file, 1, &v, err);
    if (status == PGR_OK) status = take_json(file, v, settings, s, err);
    json_decref(v);
    buf_free(&text);
    if (status != PGR_OK) return status;
    file_map map;
    PGR_TRY(join(file, path, "state.bin", err));
    PGR_TRY(file_map_open(file, &map, err));
    status = read_arrays(file, map.data, map.size, s, err);
    file_map_close(&map);
    return status;
}
