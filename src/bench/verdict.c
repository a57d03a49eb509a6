/* verdict.c - verdicts and their journal; see verdict.h. */
#include "bench/verdict.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "judge/calibration.h"

bench_verdict *verdict_at(const verdict_table *t, size_t cell, size_t run, size_t row) {
    return &t->v[(cell * t->n_run + run) * t->n_row + row];
}

static bool asks_model(const bench_cell *c) {
    return !c->statistic && !c->scalar;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* 17 digits: a double comes back as it was, so that a resumed run ends in the same numbers. */
static void put_real(buf *out, const char *key, double v) {
    if (isfinite(v))
        buf_printf(out, ",\"%s\":%.17g", key, v);
    else
        buf_printf(out, ",\"%s\":null", key);
}

static void put_gaps(buf *out, const bench_verdict *v) {
    buf_puts(out, ",\"gaps\":[");
    for (size_t i = 0; i < v->n_gap; i++) {
        if (i) buf_putc(out, ',');
        if (isfinite(v->gaps[i]))
            buf_printf(out, "%.9g", (double)v->gaps[i]);
        else
            buf_puts(out, "null");
    }
    buf_putc(out, ']');
}

void verdict_write(const verdict_table *t, size_t cell, size_t run, size_t row, buf *out) {
    const bench_cell *c = &t->cells[cell];
    const bench_verdict *v = verdict_at(t, cell, run, row);
    buf_puts(out, "{\"data\":");
    json_put_string(out, t->data, strlen(t->data));
    buf_printf(out, ",\"method\":\"%s\",\"ind\":%d,\"pro\":%d,\"stranger\":%d,\"plain\":%s,\"run\":%zu,\"row\":%zu",
               c->method, c->ind, c->pro, c->stranger, c->plain ? "true" : "false", run, row);
    if (t->users) {
        buf_puts(out, ",\"user\":");
        json_put_string(out, t->users[row], strlen(t->users[row]));
    }
    put_real(out, "p", v->p);
    put_real(out, "right", v->right);
    if (asks_model(c))
        buf_printf(out, ",\"kind\":\"%s\",\"calibrated\":%s", pgr_verdict_kind_name(v->kind),
                   v->calibrated ? "true" : "false");
    if (!c->statistic) {
        put_real(out, "flip", v->flip);
        put_real(out, "lead", v->lead.mean);
        put_real(out, "spread", v->lead.spread);
        put_real(out, "weigh", v->lead.n);
        buf_printf(out, ",\"chains\":%zu,\"parsed\":%zu,\"prompt\":%zu,\"cached\":%zu,\"tokens\":%zu", v->chains,
                   v->parsed, v->prompt_tokens, v->cached_tokens, v->tokens);
        put_gaps(out, v);
    }
    put_real(out, "seconds", v->seconds);
    buf_puts(out, "}\n");
}

pgr_status journal_add(const journal *j, const verdict_table *t, size_t cell, size_t run, size_t row, pgr_error *err) {
    if (j->fd < 0) return PGR_OK;
    buf line = {0};
    verdict_write(t, cell, run, row, &line);
    pgr_status s = line.failed ? fail_mem(err) : PGR_OK;
    ssize_t n = s == PGR_OK ? write(j->fd, line.data, line.n) : 0;
    if (s == PGR_OK && n != (ssize_t)line.n)
        s = fail(err, PGR_E_IO, "%s: %s", j->path, n < 0 ? strerror(errno) : "no room for a line");
    buf_free(&line);
    return s;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Bytes up to the end of the last whole line. */
static pgr_status whole_lines(int fd, const char *path, off_t *out, pgr_error *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return fail(err, PGR_E_IO, "%s: %s", path, strerror(errno));
    char block[4096];
    for (off_t end = st.st_size; end > 0;) {
        off_t from = end > (off_t)sizeof block ? end - (off_t)sizeof block : 0;
        ssize_t n = pread(fd, block, (size_t)(end - from), from);
        if (n != end - from) return fail(err, PGR_E_IO, "%s: %s", path, n < 0 ? strerror(errno) : "the file shrank");
        for (ssize_t i = n; i > 0; i--) {
            if (block[i - 1] != '\n') continue;
            *out = from + i;
            return PGR_OK;
        }
        end = from;
    }
    *out = 0;
    return PGR_OK;
}

pgr_status journal_open(const char *folder, journal *out, pgr_error *err) {
    *out = (journal){.fd = -1};
    if (!folder) return PGR_OK;
    buf path = {0};
    buf_printf(&path, "%s/verdicts.jsonl", folder);
    if (path.failed) {
        buf_free(&path);
        return fail_mem(err);
    }
    journal j = {.fd = open(path.data, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666), .path = buf_take(&path)};
    off_t whole = 0;
    pgr_status s = j.fd < 0 ? fail(err, PGR_E_IO, "%s: %s", j.path, strerror(errno)) : PGR_OK;
    if (s == PGR_OK) s = whole_lines(j.fd, j.path, &whole, err);
    if (s == PGR_OK && ftruncate(j.fd, whole) != 0) s = fail(err, PGR_E_IO, "%s: %s", j.path, strerror(errno));
    if (s == PGR_OK)
        *out = j;
    else
        journal_close(&j);
    return s;
}

void journal_close(journal *j) {
    if (j->fd >= 0) close(j->fd);
    mem_free(j->path);
    *j = (journal){.fd = -1};
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct reader {
    const json_t *top;
    const char *origin;
    size_t number; /* of the line */
    pgr_error *err;
} reader;

static pgr_status wrong(const reader *in, const char *key, const char *expected) {
    return fail(in->err, PGR_E_FORMAT, "%s:%zu: %s is %s, expected %s", in->origin, in->number, key,
                json_kind(json_object_get(in->top, key)), expected);
}

static pgr_status take_count(const reader *in, const char *key, size_t most, size_t *out) {
    const json_t *v = json_object_get(in->top, key);
    if (!json_is_integer(v)) return wrong(in, key, "a whole number");
    json_int_t n = json_integer_value(v);
    if (n < 0 || (uint64_t)n > (uint64_t)most)
        return fail(in->err, PGR_E_FORMAT, "%s:%zu: %s is %lld, expected 0 to %zu", in->origin, in->number, key,
                    (long long)n, most);
    *out = (size_t)n;
    return PGR_OK;
}

static pgr_status take_real(const reader *in, const char *key, double lo, double hi, double *out) {
    const json_t *v = json_object_get(in->top, key);
    if (!json_is_number(v) && !json_is_null(v)) return wrong(in, key, "a number or null");
    *out = json_is_null(v) ? NAN : json_number_value(v);
    if (*out < lo || *out > hi)
        return fail(in->err, PGR_E_FORMAT, "%s:%zu: %s is %g, expected %g to %g", in->origin, in->number, key, *out, lo,
                    hi);
    return PGR_OK;
}

static pgr_status take_kind(const reader *in, bench_verdict *v) {
    const char *kind = json_string_value(json_object_get(in->top, "kind"));
    const json_t *calibrated = json_object_get(in->top, "calibrated");
    if (!kind || !verdict_kind_find(kind, &v->kind)) return wrong(in, "kind", "\"answers\" or \"views\"");
    if (!json_is_boolean(calibrated)) return wrong(in, "calibrated", "true or false");
    v->calibrated = json_is_true(calibrated);
    return PGR_OK;
}

/* Lines of earlier versions tell of no lead. */
static pgr_status take_lead(const reader *in, pgr_gap *out) {
    *out = (pgr_gap){NAN, NAN, NAN};
    if (!json_object_get(in->top, "lead")) return PGR_OK;
    PGR_TRY(take_real(in, "lead", -1e9, 1e9, &out->mean));
    PGR_TRY(take_real(in, "spread", 0, 1e18, &out->spread));
    PGR_TRY(take_real(in, "weigh", 1 - 1e-9, 1e9, &out->n));
    if (isnan(out->spread) || isnan(out->n)) out->mean = NAN;
    return PGR_OK;
}

static pgr_status take_gaps(const reader *in, verdict_table *t, bench_verdict *v) {
    const json_t *list = json_object_get(in->top, "gaps");
    if (!json_is_array(list)) return wrong(in, "gaps", "a list");
    size_t n = json_array_size(list);
    v->gaps = arena_array(t->arena, n + 1, sizeof *v->gaps);
    if (!v->gaps) return fail_mem(in->err);
    for (size_t i = 0; i < n; i++) {
        const json_t *g = json_array_get(list, i);
        if (!json_is_number(g) && !json_is_null(g)) return wrong(in, "gaps", "a list of numbers and nulls");
        v->gaps[i] = json_is_null(g) ? NAN : (float)json_number_value(g);
    }
    v->n_gap = n;
    return PGR_OK;
}

/* The cell that the line speaks of; n_cell: none that is asked. */
static pgr_status find_cell(const reader *in, const verdict_table *t, size_t *out) {
    const char *method = json_string_value(json_object_get(in->top, "method"));
    const json_t *plain = json_object_get(in->top, "plain");
    size_t ind = 0, pro = 0, stranger = 0, i = 0;
    if (!method) return wrong(in, "method", "a name");
    if (!json_is_boolean(plain)) return wrong(in, "plain", "true or false");
    PGR_TRY(take_count(in, "stranger", STRANGERS_MAX, &stranger));
    PGR_TRY(take_count(in, "ind", 1024, &ind));
    PGR_TRY(take_count(in, "pro", 1024, &pro));
    for (; i < t->n_cell; i++) {
        const bench_cell *c = &t->cells[i];
        if (strcmp(c->method, method) == 0 && c->ind == (int)ind && c->pro == (int)pro && c->stranger == (int)stranger
            && c->plain == json_is_true(plain))
            break;
    }
    *out = i;
    return PGR_OK;
}

static pgr_status take_verdict(const reader *in, verdict_table *t) {
    const char *data = json_string_value(json_object_get(in->top, "data"));
    size_t cell = 0, run = 0, row = 0;
    if (!data) return wrong(in, "data", "a name");
    if (strcmp(data, t->data) != 0) return PGR_OK;
    PGR_TRY(find_cell(in, t, &cell));
    if (cell == t->n_cell) return PGR_OK;
    PGR_TRY(take_count(in, "run", t->n_run - 1, &run));
    PGR_TRY(take_count(in, "row", t->n_row - 1, &row));

    bench_verdict v = {.known = true, .flip = NAN, .lead = {NAN, NAN, NAN}};
    PGR_TRY(take_real(in, "p", 0, 1, &v.p));
    PGR_TRY(take_real(in, "right", 0, 1, &v.right));
    PGR_TRY(take_real(in, "seconds", 0, 1e12, &v.seconds));
    if (isnan(v.right) || isnan(v.seconds)) return wrong(in, isnan(v.right) ? "right" : "seconds", "a number");
    if (asks_model(&t->cells[cell])) PGR_TRY(take_kind(in, &v));
    if (!t->cells[cell].statistic) {
        PGR_TRY(take_real(in, "flip", 0, 1, &v.flip));
        PGR_TRY(take_lead(in, &v.lead));
        PGR_TRY(take_count(in, "chains", SIZE_MAX >> 1, &v.chains));
        PGR_TRY(take_count(in, "parsed", v.chains, &v.parsed));
        PGR_TRY(take_count(in, "prompt", SIZE_MAX >> 1, &v.prompt_tokens));
        PGR_TRY(take_count(in, "cached", SIZE_MAX >> 1, &v.cached_tokens));
        PGR_TRY(take_count(in, "tokens", SIZE_MAX >> 1, &v.tokens));
        PGR_TRY(take_gaps(in, t, &v));
    }
    if (!verdict_at(t, cell, run, row)->known) *verdict_at(t, cell, run, row) = v;
    return PGR_OK;
}

pgr_status verdict_parse(const char *line, size_t n, const char *origin, size_t number, verdict_table *t,
                         pgr_error *err) {
    json_t *top = NULL;
    PGR_TRY(json_parse(line, n, origin, number, &top, err));
    reader in = {.top = top, .origin = origin, .number = number, .err = err};
    pgr_status s = json_is_object(top) ? take_verdict(&in, t)
                                       : fail(err, PGR_E_FORMAT, "%s:%zu: found %s, expected a verdict", origin, number,
                                              json_kind(top));
    json_decref(top);
    return s;
}

pgr_status journal_read(const journal *j, verdict_table *t, pgr_error *err) {
    if (j->fd < 0 || t->n_row == 0 || t->n_run == 0) return PGR_OK;
    file_map m;
    PGR_TRY(file_map_open(j->path, &m, err));
    pgr_status s = PGR_OK;
    const char *p = (const char *)m.data, *end = m.size ? p + m.size : p;
    for (size_t number = 1; p < end && s == PGR_OK; number++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) break; /* another program writes it: not ours */
        s = verdict_parse(p, (size_t)(stop - p), j->path, number, t, err);
        p = stop + 1;
    }
    file_map_close(&m);
    return s;
}
