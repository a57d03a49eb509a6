/* label.c - requests become rows of preferences by the judge. Rows are appended to OUT.part, group by group; each names
 * the line of its request, so that an interrupted call is gone on with behind the last whole row. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/file_out.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/watch.h"
#include "pgenrm_train.h"
#include "train/options.h"
#include "user/record_json.h"
#include "user/request.h"
#include "user/stream.h"

static const char *const FORMS[] = {"dpo", "kto", NULL};

/* clang-format off */
static const pgr_option ROWS[] = {
    { "form", "FORM", "of the rows: dpo (chosen, rejected) or kto (completion, label)", NULL, PGR_OPTION_CHOICE, 0,
      TRAIN_AT(pgr_label_options, form), 0, 0, 0, FORMS },
    TRAIN_NUMBER(pgr_label_options, DOUBLE, "margin", "M", margin, 0, 0, 100,
                 "points that the best response must be ahead of the worst; others are left out", NULL),
    TRAIN_NUMBER(pgr_label_options, SIZE, "group", "N", group, 32, 1, 4096, "requests that are judged together", NULL),
    TRAIN_FLAG(pgr_label_options, "resume", resume, 0, "go on with what an interruption has left in OUT.part"),
    {0},
};
/* clang-format on */

const pgr_option *pgr_label_option_rows(void) {
    return ROWS;
}

pgr_label_options pgr_label_options_default(void) {
    pgr_label_options o;
    memset(&o, 0, sizeof o);
    options_default(ROWS, &o);
    o.judge = pgr_judge_options_default();
    return o;
}

typedef struct labelling {
    pgr_engine *engine;
    const pgr_label_options *o;
    stream *in;
    FILE *out;
    char place[PATH_MAX], *part; /* where the rows go at the end, and until then */
    int64_t done;                /* lines up to this one are there already */
    pgr_request **requests;      /* (n) of the group, as are the next three */
    size_t *lines;
    pgr_result **results;
    pgr_error *errors;
    size_t n;
    pgr_label_report *report;
} labelling;

/* ---- rows ---- */

static void put_turn(buf *b, const char *key, const char *text) {
    buf_printf(b, ",\"%s\":", key);
    json_put_turns(b, &(turn){"assistant", text}, 1);
}

static void put_end(buf *b, const pgr_request *r, size_t line) {
    if (*r->user_id) {
        buf_puts(b, ",\"user_id\":");
        json_put_string(b, r->user_id, strlen(r->user_id));
    }
    buf_printf(b, ",\"line\":%zu}\n", line);
}

static void put_prompt(buf *b, const pgr_request *r) {
    buf_puts(b, "{\"prompt\":");
    json_put_turns(b, r->messages, r->n_message);
}

static void put_row(buf *b, pgr_label_form form, const pgr_request *r, const pgr_result *x, size_t best, size_t worst,
                    size_t line) {
    size_t side[] = {best, worst};
    for (size_t k = 0; form == PGR_LABEL_KTO && k < 2; k++) {
        put_prompt(b, r);
        put_turn(b, "completion", r->responses[side[k]]);
        buf_printf(b, ",\"label\":%s,\"score\":", k == 0 ? "true" : "false");
        json_put_number(b, x->responses[side[k]].score);
        put_end(b, r, line);
    }
    if (form == PGR_LABEL_KTO) return;
    put_prompt(b, r);
    put_turn(b, "chosen", r->responses[best]);
    put_turn(b, "rejected", r->responses[worst]);
    buf_puts(b, ",\"score_chosen\":");
    json_put_number(b, x->responses[best].score);
    buf_puts(b, ",\"score_rejected\":");
    json_put_number(b, x->responses[worst].score);
    put_end(b, r, line);
}

/* Indices of the highest and the lowest score, the first of equal ones: false where fewer than two have one. */
static bool find_ends(const pgr_result *x, size_t *best, size_t *worst) {
    size_t n = 0;
    for (size_t i = 0; i < x->n_response; i++) {
        if (!x->responses[i].scored) continue;
        if (n == 0 || x->responses[i].score > x->responses[*best].score) *best = i;
        if (n == 0 || x->responses[i].score < x->responses[*worst].score) *worst = i;
        n++;
    }
    return n >= 2;
}

static void note_failure(labelling *l, const char *why) {
    if (l->report->failed++ == 0) snprintf(l->report->first, sizeof l->report->first, "%.250s", why);
}

static void take_result(labelling *l, size_t i, buf *b) {
    size_t best, worst;
    const pgr_result *x = l->results[i];
    if (!x || !find_ends(x, &best, &worst)) {
        note_failure(l, x ? "fewer than two responses have a score" : l->errors[i].message);
        return;
    }
    double gap = x->responses[best].score - x->responses[worst].score;
    if (!(gap > 0) || gap < l->o->margin) {
        l->report->close++;
        return;
    }
    l->report->labelled++;
    put_row(b, l->o->form, l->requests[i], x, best, worst, l->lines[i]);
}

/* ---- groups ---- */

static void drop_group(labelling *l) {
    for (size_t i = 0; i < l->n; i++) {
        pgr_request_free(l->requests[i]);
        pgr_result_free(l->results[i]);
        l->results[i] = NULL;
    }
    l->n = 0;
}

static pgr_status fill_group(labelling *l, bool *more, pgr_error *err) {
    while (l->n < l->o->group) {
        stream_value v;
        char at[600];
        PGR_TRY(stream_next(l->in, &v, more, err));
        if (!*more) return PGR_OK;
        if ((int64_t)v.line <= l->done) continue;
        snprintf(at, sizeof at, "%s:%zu", stream_name(l->in), v.line);
        bool no_pair;
        pgr_status s = request_parse(v.text, v.n, at, &l->requests[l->n], &no_pair, err);
        if (s == PGR_OK) {
            l->lines[l->n++] = v.line;
        } else if (no_pair) { /* there is nothing to choose between */
            l->report->read++;
            note_failure(l, err->message);
        } else {
            return s;
        }
    }
    return PGR_OK;
}

static pgr_status write_rows(labelling *l, const buf *b, pgr_error *err) {
    char text[128];
    if (b->failed) return fail_mem(err);
    if (fwrite(b->data, 1, b->n, l->out) == b->n && fflush(l->out) == 0) return PGR_OK;
    return fail(err, PGR_E_IO, "%s: %s", l->part, strerror_r(errno, text, sizeof text));
}

static pgr_status judge_group(labelling *l, pgr_error *err) {
    pgr_judge_options o = l->o->judge;
    o.watch = l->o->watch;
    for (size_t i = 0; i < l->n; i++) l->results[i] = NULL;
    pgr_judge_many(l->engine, (const pgr_request *const *)l->requests, l->n, &o, l->results, l->errors);
    PGR_TRY(watch_check(&l->o->watch, err)); /* what was not judged for that reason has not failed */
    buf b = {0};
    l->report->read += l->n;
    for (size_t i = 0; i < l->n; i++) take_result(l, i, &b);
    pgr_status s = b.n > 0 || b.failed ? write_rows(l, &b, err) : PGR_OK;
    buf_free(&b);
    return s;
}

static pgr_status run(labelling *l, pgr_error *err) {
    for (bool more = true; more;) {
        pgr_status s = fill_group(l, &more, err);
        if (s == PGR_OK && l->n > 0) s = judge_group(l, err);
        drop_group(l);
        PGR_TRY(s);
        watch_report(&l->o->watch, "labelling", (size_t)stream_read(l->in), (size_t)stream_size(l->in), "bytes");
    }
    return PGR_OK;
}

/* ---- the file ---- */

/* Whole rows of the part, and the line that the last of them names. */
static pgr_status read_part(labelling *l, size_t *keep, pgr_error *err) {
    buf text = {0};
    json_t *v = NULL;
    int64_t line = 0;
    *keep = 0;
    if (!file_exists(l->part)) return PGR_OK;
    pgr_status s = file_read(l->part, &text, err);
    size_t n = s == PGR_OK ? text.n : 0, begin;
    while (n > 0 && text.data[n - 1] != '\n') n--;
    for (begin = n > 0 ? n - 1 : 0; begin > 0 && text.data[begin - 1] != '\n';) begin--;
    if (s == PGR_OK && n > 0) {
        s = json_parse(text.data + begin, n - begin, l->part, 1, &v, err);
        if (s == PGR_OK)
            s = json_want_integer(json_object_get(v, "line"), (json_at){l->part, "line"}, 1, INT64_MAX, &line, err);
        json_decref(v);
    }
    l->done = line;
    *keep = n;
    buf_free(&text);
    return s;
}

static pgr_status open_part(labelling *l, const char *out, pgr_error *err) {
    buf b = {0};
    char text[128];
    size_t keep = 0;
    if (!file_out_place(out, l->place))
        return fail(err, PGR_E_ARG, "%s: found a device or a pipe, expected a file, which is whole or not there", out);
    buf_printf(&b, "%s.part", l->place);
    l->part = buf_take(&b);
    buf_free(&b);
    if (!l->part) return fail_mem(err);
    if (l->o->resume) PGR_TRY(read_part(l, &keep, err));
    l->out = fopen(l->part, "ab");
    if (l->out && ftruncate(fileno(l->out), (off_t)keep) == 0) return PGR_OK;
    return fail(err, PGR_E_IO, "%s: %s", l->part, strerror_r(errno, text, sizeof text));
}

static pgr_status close_part(labelling *l, const char *out, pgr_error *err) {
    char text[128];
    bool written = fsync(fileno(l->out)) == 0 || errno == EINVAL;
    if (fclose(l->out) != 0) written = false;
    l->out = NULL;
    if (written && rename(l->part, l->place) == 0) return PGR_OK;
    return fail(err, PGR_E_IO, "%s: %s", out, strerror_r(errno, text, sizeof text));
}

static pgr_status open_all(labelling *l, const char *requests, const char *out, pgr_error *err) {
    PGR_TRY(options_check(ROWS, l->o, err));
    size_t n = l->o->group;
    l->requests = mem_zero(n, sizeof *l->requests);
    l->results = mem_zero(n, sizeof *l->results);
    l->lines = mem_zero(n, sizeof *l->lines);
    l->errors = mem_zero(n, sizeof *l->errors);
    if (!l->requests || !l->results || !l->lines || !l->errors) return fail_mem(err);
    PGR_TRY(stream_open(requests, &l->in, err));
    return open_part(l, out, err);
}

pgr_status pgr_label(pgr_engine *engine, const char *requests, const char *out, const pgr_label_options *options,
                     pgr_label_report *report, pgr_error *err) {
    pgr_label_report mine;
    labelling l = {.engine = engine, .o = options, .report = report ? report : &mine};
    memset(l.report, 0, sizeof *l.report);
    json_setup();
    pgr_status s = open_all(&l, requests, out, err);
    if (s == PGR_OK) s = run(&l, err);
    if (s == PGR_OK) s = close_part(&l, out, err);
    if (l.out) fclose(l.out);
    stream_close(l.in);
    mem_free(l.part);
    mem_free(l.requests);
    mem_free(l.results);
    mem_free(l.lines);
    mem_free(l.errors);
    return s;
}
