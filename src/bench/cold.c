/* cold.c - pgr_bench_cold: what methods know of users who are new. The asked users are dealt into folds; in the run of
 * a fold its users keep 0, 1, 2... of their train pairs and everybody else keeps all of his, so that what is learnt
 * from others stays the same. Each run is pgr_bench on a file of its own, and resumes as that does. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_out.h"
#include "base/mem.h"
#include "base/watch.h"
#include "bench/history.h"
#include "bench/pairs.h"
#include "user/record_json.h"

enum { STREAM_FOLDS = 3 };

typedef struct report { /* the public part comes first */
    pgr_cold_report public;
    arena arena;
} report;

typedef struct cold {
    const pgr_bench_options *o;
    const pgr_cold_options *how;
    pgr_engine *engine;
    pgr_error *err;
    report *made;
    pgr_cold_row *rows; /* (n_row) */
    size_t n_row, cap;
    char folder[4096]; /* of the runs */
    bool temporary;
} cold;

typedef struct cold_set { /* one data set */
    bench_data *d;
    int *fold;              /* (n_user) -1: not asked */
    size_t *drawn;          /* (n_row) scratch */
    size_t n_fold, n_asked; /* users */
} cold_set;

/* ---- who is asked ------------------------------------------------------------------------------------------------ */

static size_t most_pairs(const pgr_cold_options *how) {
    int most = 0;
    for (size_t i = 0; i < how->n_known; i++)
        if (how->known[i] > most) most = how->known[i];
    return (size_t)most;
}

/* The same users at every number of pairs: those who have the largest, dealt into folds in an order of the seed's. */
static pgr_status deal(cold *c, cold_set *s) {
    const bench_data *d = s->d;
    size_t most = most_pairs(c->how);
    size_t *order = mem_array(d->n_user + 1, sizeof *order);
    if (!order) return fail_mem(c->err);
    rng r = {.seed = c->o->seed, .stream = STREAM_FOLDS};
    for (size_t u = 0; u < d->n_user; u++) {
        s->fold[u] = -1;
        if (d->users[u].n_test > 0 && d->users[u].n_train >= most) order[s->n_asked++] = u;
    }
    bench_shuffle(order, s->n_asked, &r);
    s->n_fold = c->how->folds < s->n_asked / 2 ? c->how->folds : s->n_asked / 2; /* a fold's error needs two users */
    for (size_t i = 0; i < s->n_asked && s->n_fold; i++) s->fold[order[i]] = (int)(i % s->n_fold);
    mem_free(order);
    if (s->n_fold) return PGR_OK;
    return fail(c->err, PGR_E_ARG,
                "%s: %zu users have rows that are asked and %zu train pairs or more, expected two or more; ask for "
                "fewer pairs",
                d->name, s->n_asked, most);
}

/* ---- the file of a run ------------------------------------------------------------------------------------------- */

static void put_row(buf *b, const bench_data *d, size_t row) {
    json_put_pair_record(b, &d->rows[row].record);
    buf_putc(b, '\n');
}

/* A user of the fold with `known` of his train pairs, a part of those that a larger number has. */
static void put_user(const cold *c, const cold_set *s, size_t user, int fold, size_t known, buf *b) {
    const bench_user *u = &s->d->users[user];
    size_t n = u->n_train;
    const size_t *list = u->train;
    if (s->fold[user] == fold) {
        n = known ? bench_draw(s->d, user, known, c->o->seed, s->drawn) : 0;
        list = s->drawn;
        for (size_t i = 0; i < u->n_test; i++) put_row(b, s->d, u->test[i]);
    }
    for (size_t i = 0; i < n; i++) put_row(b, s->d, list[i]);
}

static pgr_status write_run(const cold *c, const cold_set *s, int fold, size_t known, const char *path) {
    buf b = {0};
    for (size_t u = 0; u < s->d->n_user; u++) put_user(c, s, u, fold, known, &b);
    pgr_status status = b.failed ? fail_mem(c->err) : file_write(path, b.data, b.n, c->err);
    buf_free(&b);
    return status;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static pgr_cold_row *find_row(cold *c, const pgr_bench_row *r, int known) {
    for (size_t i = 0; i < c->n_row; i++) {
        pgr_cold_row *k = &c->rows[i];
        if (strcmp(k->data, r->data) == 0 && strcmp(k->method, r->method) == 0 && k->ind == r->ind && k->pro == r->pro
            && k->stranger == r->stranger && k->known == known)
            return k;
    }
    return NULL;
}

static pgr_cold_row *new_row(cold *c, const pgr_bench_row *r, int known) {
    if (c->n_row == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 64;
        pgr_cold_row *rows = mem_resize(c->rows, cap * sizeof *rows);
        if (!rows) return NULL;
        c->rows = rows;
        c->cap = cap;
    }
    pgr_cold_row row = {.data = arena_strdup(&c->made->arena, r->data),
                        .method = arena_strdup(&c->made->arena, r->method),
                        .ind = r->ind,
                        .pro = r->pro,
                        .stranger = r->stranger,
                        .known = known};
    if (!row.data || !row.method) return NULL;
    c->rows[c->n_row] = row;
    return &c->rows[c->n_row++];
}

/* Sums, until all folds are there. Folds have other users: their errors are independent. */
static pgr_status add_report(cold *c, const pgr_bench_report *found, int known) {
    for (size_t i = 0; i < found->n_row; i++) {
        const pgr_bench_row *r = &found->rows[i];
        if (r->plain) continue; /* what a method says without a history is the row of no known pairs */
        pgr_cold_row *row = find_row(c, r, known);
        if (!row) row = new_row(c, r, known);
        if (!row) return fail_mem(c->err);
        double n = (double)r->pairs, se = n * r->accuracy_errors.user, over = n * r->over_longest_errors.user;
        row->pairs += r->pairs;
        row->users += r->users;
        row->ties += r->ties;
        row->failures += r->failures;
        row->accuracy += n * r->accuracy;
        row->accuracy_se += se * se;
        row->over_longest += n * r->over_longest;
        row->over_longest_se += over * over;
    }
    const int most = c->how->known[c->how->n_known - 1]; /* fewer pairs are no news: 0 of them are a choice */
    for (size_t i = 0; known == most && i < found->n_note; i++) {
        const char **notes = arena_array(&c->made->arena, c->made->public.n_note + 1, sizeof *notes);
        if (!notes) return fail_mem(c->err);
        if (c->made->public.n_note) memcpy(notes, c->made->public.notes, c->made->public.n_note * sizeof *notes);
        notes[c->made->public.n_note] = arena_strdup(&c->made->arena, found->notes[i]);
        if (!notes[c->made->public.n_note++]) return fail_mem(c->err);
        c->made->public.notes = notes;
    }
    return PGR_OK;
}

static void divide(cold *c) {
    for (size_t i = 0; i < c->n_row; i++) {
        pgr_cold_row *r = &c->rows[i];
        double n = (double)r->pairs;
        r->accuracy /= n;
        r->over_longest /= n;
        r->accuracy_se = sqrt(r->accuracy_se) / n;
        r->over_longest_se = sqrt(r->over_longest_se) / n;
    }
}

/* A method's rows together, fewest pairs first. */
static int by_method(const void *a, const void *b) {
    const pgr_cold_row *x = a, *y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return (x->known > y->known) - (x->known < y->known);
}

/* Methods keep the order of the first run. */
static void sort_rows(cold *c) {
    for (size_t i = 0; i < c->n_row; i++) {
        size_t k = 0;
        while (strcmp(c->rows[k].data, c->rows[i].data) != 0 || strcmp(c->rows[k].method, c->rows[i].method) != 0
               || c->rows[k].ind != c->rows[i].ind || c->rows[k].pro != c->rows[i].pro
               || c->rows[k].stranger != c->rows[i].stranger)
            k++;
        c->rows[i].place = k;
    }
    if (c->n_row) qsort(c->rows, c->n_row, sizeof *c->rows, by_method);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static pgr_status make_folder(const cold *c, const char *path) {
    return mkdir(path, 0777) == 0 || errno == EEXIST ? PGR_OK : fail(c->err, PGR_E_IO, "%s: %s", path, strerror(errno));
}

static bool asks_neighbours(const pgr_bench_options *o) {
    for (size_t i = 0; i < o->n_pro; i++)
        if (o->pro[i] > 0) return true;
    return false;
}

static pgr_status run_fold(cold *c, const cold_set *s, int fold, int known, const char *folder, const char *path) {
    PGR_TRY(write_run(c, s, fold, (size_t)known, path));
    pgr_bench_options o = *c->o;
    o.data = &path;
    o.n_data = 1;
    o.n_history_from = 0;
    o.subset = o.user_key = NULL;
    o.limit = 0;
    o.judge.history = asks_neighbours(c->o) ? -1 : known; /* neighbours show all that their prompts have room for */
    if (known == 0) o.strangers = 0;
    o.folds = 0;
    o.robust = false;
    o.out = c->o->out ? folder : NULL;
    pgr_bench_report *found = NULL;
    PGR_TRY(pgr_bench(c->engine, &o, &found, c->err));
    pgr_status status = add_report(c, found, known);
    pgr_bench_free(found);
    return status;
}

static pgr_status run_step(cold *c, const cold_set *s, int fold, int known) {
    buf folder = {0}, path = {0};
    buf_printf(&folder, "%s", c->folder);
    if (c->o->out) buf_printf(&folder, "/%s-%d-%d", s->d->name, known, fold);
    buf_printf(&path, "%s/%s.jsonl", folder.data ? folder.data : "", s->d->name);
    pgr_status status = folder.failed || path.failed ? fail_mem(c->err) : make_folder(c, folder.data);
    if (status == PGR_OK) status = run_fold(c, s, fold, known, folder.data, path.data);
    if (c->temporary && path.data) unlink(path.data);
    buf_free(&folder);
    buf_free(&path);
    return status;
}

static pgr_status run_set(cold *c, size_t i) {
    const pgr_bench_options *o = c->o;
    const bench_files f = {.paths = &o->data[i],
                           .n_path = 1,
                           .history_from = o->history_from,
                           .n_history_from = o->n_history_from,
                           .split = o->split,
                           .subset = o->subset,
                           .user_key = o->user_key,
                           .limit = o->limit,
                           .seed = o->seed};
    cold_set s = {0};
    PGR_TRY(bench_load(&f, &s.d, c->err));
    s.fold = mem_array(s.d->n_user + 1, sizeof *s.fold);
    s.drawn = mem_array(s.d->n_row + 1, sizeof *s.drawn);
    pgr_status status = s.fold && s.drawn ? deal(c, &s) : fail_mem(c->err);
    for (size_t k = 0; status == PGR_OK && k < c->how->n_known; k++)
        for (size_t fold = 0; status == PGR_OK && fold < s.n_fold; fold++)
            status = run_step(c, &s, (int)fold, c->how->known[k]);
    mem_free(s.fold);
    mem_free(s.drawn);
    bench_data_free(s.d);
    return status;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

pgr_cold_options pgr_cold_options_default(void) {
    static const int KNOWN[] = {0, 1, 2, 3, 6, 10};
    return (pgr_cold_options){.known = KNOWN, .n_known = sizeof KNOWN / sizeof *KNOWN, .folds = 5};
}

static pgr_status check(const cold *c) {
    if (c->how->n_known == 0 || c->how->folds < 1)
        return fail(c->err, PGR_E_ARG, "cold start: %zu numbers of pairs and %zu folds, expected one or more",
                    c->how->n_known, c->how->folds);
    for (size_t i = 0; i < c->how->n_known; i++)
        if (c->how->known[i] < (i ? c->how->known[i - 1] + 1 : 0))
            return fail(c->err, PGR_E_ARG, "cold start: %d pairs, expected numbers of 0 and more that grow",
                        c->how->known[i]);
    if (c->o->calibration_out || c->o->calibration_kind || c->o->attributes_out)
        return fail(c->err, PGR_E_ARG,
                    "cold start: no calibration and no attributes are written, expected none to be asked for");
    if (strcmp(c->o->split, "train") == 0)
        return fail(c->err, PGR_E_ARG, "cold start: split is \"train\", expected rows that are nobody's history");
    return PGR_OK;
}

static pgr_status open_folder(cold *c) {
    const char *tmp = getenv("TMPDIR");
    c->temporary = !c->o->out;
    int n = c->o->out ? snprintf(c->folder, sizeof c->folder, "%s", c->o->out)
                      : snprintf(c->folder, sizeof c->folder, "%s/pgenrm-cold-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (n < 0 || (size_t)n >= sizeof c->folder) return fail(c->err, PGR_E_LIMIT, "the folder's name is too long");
    if (c->temporary) return mkdtemp(c->folder) ? PGR_OK : fail(c->err, PGR_E_IO, "%s: %s", c->folder, strerror(errno));
    return make_folder(c, c->folder);
}

static pgr_status run_all(cold *c) {
    PGR_TRY(check(c));
    PGR_TRY(open_folder(c));
    pgr_status status = PGR_OK;
    for (size_t i = 0; i < c->o->n_data && status == PGR_OK; i++) status = run_set(c, i);
    if (c->temporary) rmdir(c->folder);
    if (status != PGR_OK) return status;
    divide(c);
    sort_rows(c);
    c->made->public.rows = c->rows;
    c->made->public.n_row = c->n_row;
    c->rows = NULL;
    return PGR_OK;
}

pgr_status pgr_bench_cold(pgr_engine *engine, const pgr_bench_options *options, const pgr_cold_options *how,
                          pgr_cold_report **out, pgr_error *err) {
    pgr_cold_options usual = pgr_cold_options_default();
    report *made = mem_zero(1, sizeof *made);
    if (!made) return fail_mem(err);
    cold c = {.o = options, .how = how ? how : &usual, .engine = engine, .err = err, .made = made};
    pgr_status status = run_all(&c);
    mem_free(c.rows);
    if (status == PGR_OK)
        *out = &made->public;
    else
        pgr_cold_free(&made->public);
    return status;
}

void pgr_cold_free(pgr_cold_report *public) {
    report *r = (report *)public;
    if (!r) return;
    mem_free((void *)(uintptr_t)r->public.rows);
    arena_free(&r->arena);
    mem_free(r);
}
