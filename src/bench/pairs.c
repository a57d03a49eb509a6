/* pairs.c - reads a benchmark's files and numbers what is in them: users, questions, texts of responses. */
#include "bench/pairs.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/legible.h"
#include "base/mem.h"
#include "bench/distinct.h"
#include "bench/history.h"
#include "user/rules.h"

/* ---- numbering -------------------------------------------------------------------------------------------------- */

typedef struct numbering {
    distinct users, items, contexts, openings;
    size_t *context_of, *opening_of; /* (n_row) */
} numbering;

static void numbering_free(numbering *t) {
    distinct_free(&t->users);
    distinct_free(&t->items);
    distinct_free(&t->contexts);
    distinct_free(&t->openings);
    mem_free(t->context_of);
    mem_free(t->opening_of);
}

/* The turns' texts, one below the other. */
static const char *context_text(arena *a, const preference_pair *p) {
    if (p->n_context == 1) return p->context[0].text;
    buf b = {0};
    for (size_t i = 0; i < p->n_context; i++) buf_printf(&b, "%s%s", i ? "\n\n" : "", p->context[i].text);
    char *text = b.failed ? NULL : arena_strndup(a, b.data ? b.data : "", b.n);
    buf_free(&b);
    return text;
}

/* The user's first turn in lower case: words with a space between them, a line break where lines are broken. */
static const char *opening_text(arena *a, const preference_pair *p) {
    size_t first = 0;
    while (first + 1 < p->n_context && strcmp(p->context[first].role, "user") != 0) first++;
    const char *s = p->n_context ? p->context[first].text : "";
    char *text = arena_strndup(a, s, strlen(s)), *out = text;
    char gap = '\0'; /* what stands before the next word */
    for (; text && *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c >= 0x80 || isalnum(c)) {
            if (gap && out > text) *out++ = gap;
            gap = '\0';
            *out++ = (char)(c < 0x80 ? tolower(c) : c);
        } else if (c == '\n' || (isspace(c) && !gap)) {
            gap = c == '\n' ? '\n' : ' ';
        }
    }
    if (out) *out = '\0';
    return text;
}

static pgr_status number_row(bench_data *d, size_t i, numbering *t, pgr_error *err) {
    bench_row *r = &d->rows[i];
    const char *context = context_text(&d->arena, &r->record.pair);
    const char *opening = opening_text(&d->arena, &r->record.pair);
    if (!context || !opening) return fail_mem(err);
    PGR_TRY(distinct_number(&t->openings, opening, &t->opening_of[i], err));
    PGR_TRY(distinct_number(&t->users, r->record.user_id, &r->user, err));
    PGR_TRY(distinct_number(&t->items, r->record.pair.chosen, &r->item[0], err));
    PGR_TRY(distinct_number(&t->items, r->record.pair.rejected, &r->item[1], err));
    return distinct_number(&t->contexts, context, &t->context_of[i], err);
}

typedef struct context_order {
    const char *text;
    size_t number;
} context_order;

static int by_text(const void *a, const void *b) {
    return strcmp(((const context_order *)a)->text, ((const context_order *)b)->text);
}

static bool goes_on(const char *text, const char *root) {
    size_t n = strlen(root);
    return n > 0 && strncmp(text, root, n) == 0 && text[n] == '\n';
}

/* A conversation that begins with the whole of another one and a line break is the same question: in the order of bytes
 * it follows the other directly, or after others that go on from it too. */
static pgr_status number_roots(const distinct *t, size_t *root_of, size_t *n_root, pgr_error *err) {
    context_order *order = mem_array(t->n + 1, sizeof *order);
    if (!order) return fail_mem(err);
    for (size_t i = 0; i < t->n; i++) order[i] = (context_order){t->texts[i], i};
    qsort(order, t->n, sizeof *order, by_text);
    const char *root = NULL;
    for (size_t i = 0; i < t->n; i++) {
        if (!root || !goes_on(order[i].text, root)) {
            root = order[i].text;
            ++*n_root;
        }
        root_of[order[i].number] = *n_root - 1;
    }
    mem_free(order);
    return PGR_OK;
}

static pgr_status number_questions(bench_data *d, const numbering *t, pgr_error *err) {
    size_t *question = mem_array(t->contexts.n + 1, sizeof *question);
    size_t *topic = mem_array(t->openings.n + 1, sizeof *topic);
    pgr_status s = question && topic ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) s = number_roots(&t->contexts, question, &d->n_question, err);
    if (s == PGR_OK) s = number_roots(&t->openings, topic, &d->n_topic, err);
    for (size_t i = 0; s == PGR_OK && i < d->n_row; i++) {
        d->rows[i].question = question[t->context_of[i]];
        d->rows[i].topic = topic[t->opening_of[i]];
    }
    mem_free(question);
    mem_free(topic);
    return s;
}

/* Lists of each user's rows, all in one array. */
static pgr_status list_rows(bench_data *d, const distinct *users, pgr_error *err) {
    d->n_user = users->n;
    d->users = arena_array(&d->arena, users->n + 1, sizeof *d->users);
    size_t *first = arena_array(&d->arena, d->n_row + 1, sizeof *first);
    size_t *lists = first;
    if (!d->users || !lists) return fail_mem(err);
    for (size_t i = 0; i < d->n_row; i++) {
        bench_user *u = &d->users[d->rows[i].user];
        if (d->rows[i].train)
            u->n_train++;
        else
            u->n_test++, d->n_test++;
    }
    for (size_t u = 0; u < d->n_user; u++) {
        d->users[u].id = users->texts[u];
        d->users[u].demographics = "";
        d->users[u].train = lists;
        d->users[u].test = lists + d->users[u].n_train;
        lists += d->users[u].n_train + d->users[u].n_test;
        d->users[u].n_train = d->users[u].n_test = 0;
    }
    for (size_t i = 0; i < d->n_row; i++) {
        bench_user *u = &d->users[d->rows[i].user];
        const size_t *at = d->rows[i].train ? &u->train[u->n_train++] : &u->test[u->n_test++];
        first[at - first] = i;
    }
    return PGR_OK;
}

static pgr_status number_with(bench_data *d, numbering *t, pgr_error *err) {
    t->context_of = mem_array(d->n_row + 1, sizeof *t->context_of);
    t->opening_of = mem_array(d->n_row + 1, sizeof *t->opening_of);
    if (!t->context_of || !t->opening_of) return fail_mem(err);
    for (size_t i = 0; i < d->n_row; i++) PGR_TRY(number_row(d, i, t, err));
    PGR_TRY(number_questions(d, t, err));
    d->n_item = t->items.n;
    d->items = arena_array(&d->arena, t->items.n + 1, sizeof *d->items);
    if (!d->items) return fail_mem(err);
    if (t->items.n) memcpy(d->items, t->items.texts, t->items.n * sizeof *d->items);
    return list_rows(d, &t->users, err);
}

static pgr_status number_all(bench_data *d, pgr_error *err) {
    numbering t = {0};
    pgr_status status = number_with(d, &t, err);
    numbering_free(&t);
    return status;
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

typedef struct rows { /* growing */
    bench_row *v;
    size_t n, cap;
} rows;

static pgr_status rows_add(rows *r, bench_row row, pgr_error *err) {
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 1024;
        bench_row *v = mem_resize(r->v, cap * sizeof *v);
        if (!v) return fail_mem(err);
        r->v = v;
        r->cap = cap;
    }
    r->v[r->n++] = row;
    return PGR_OK;
}

static bool in_subset(const pair_record *p, const char *subset) {
    if (!subset) return true;
    for (size_t i = 0; i < p->n_subset; i++)
        if (strcmp(p->subsets[i], subset) == 0) return true;
    return false;
}

/* As the rules name it; a name that they do not know is no row's. */
static const char *split_name(const char *split) {
    const char *name = rules_split_name(split);
    return name ? name : split;
}

static bool is_train(const pair_record *p) {
    return strcmp(p->split, "train") == 0;
}

static bool is_asked(const pair_record *p, const char *split) {
    return p->split[0] == '\0' || strcmp(p->split, split_name(split)) == 0;
}

typedef enum what_rows { ROWS_ALL, ROWS_HISTORY } what_rows;

static pgr_status read_pairs(bench_data *d, const bench_files *f, const char *path, what_rows what, rows *r,
                             pgr_error *err) {
    dataset *file = NULL;
    PGR_TRY(dataset_open(path, &(dataset_options){.unnamed = UNNAMED_ALONE, .user_key = f->user_key}, &file, err));
    pgr_status status = PGR_OK;
    for (bool more = true; status == PGR_OK;) {
        record rec;
        status = dataset_next(file, &d->arena, &rec, &more, err);
        if (status != PGR_OK || !more) break;
        if (rec.kind != RECORD_PAIR) {
            status =
                fail(err, PGR_E_FORMAT, "%s:%zu: this is no pair of a chosen and a rejected response", path, rec.line);
            break;
        }
        bool asked = what == ROWS_ALL && is_asked(&rec.pair, f->split) && in_subset(&rec.pair, f->subset);
        bench_row known = {.record = rec.pair, .train = true, .borrowed = what == ROWS_HISTORY};
        if (is_train(&rec.pair)) status = rows_add(r, known, err);
        if (status == PGR_OK && asked)
            status = rows_add(r, (bench_row){.record = rec.pair, .again = is_train(&rec.pair)}, err);
    }
    for (size_t i = 0; i < PGR_LEFT_N; i++) d->left_out[i] += dataset_left_out(file, (pgr_left)i);
    dataset_close(file);
    return status;
}

/* ---- limit ------------------------------------------------------------------------------------------------------ */

static int by_rank(const void *a, const void *b) {
    const size_t *x = a, *y = b; /* rank, user's place, row */
    if (x[0] != y[0]) return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : x[1] > y[1];
}

/* keep[row] for `limit` of the asked rows: one of each user in a random order of users, then a second of each, ... */
static pgr_status pick_rows(const bench_data *d, size_t limit, uint64_t seed, bool *keep, pgr_error *err) {
    size_t most = d->n_row > d->n_user ? d->n_row : d->n_user, n = 0;
    size_t *place = mem_array(most + 1, sizeof *place), *own = mem_array(most + 1, sizeof *own);
    size_t(*list)[3] = mem_array(d->n_test + 1, sizeof *list);
    pgr_status status = place && own && list ? PGR_OK : fail_mem(err);
    if (status == PGR_OK) {
        rng r = {.seed = seed, .stream = 1};
        for (size_t u = 0; u < d->n_user; u++) place[u] = u;
        bench_shuffle(place, d->n_user, &r);
        for (size_t i = 0; i < d->n_user; i++) {
            const bench_user *u = &d->users[place[i]];
            for (size_t k = 0; k < u->n_test; k++) own[k] = u->test[k];
            bench_shuffle(own, u->n_test, &r);
            for (size_t k = 0; k < u->n_test; k++, n++) list[n][0] = k, list[n][1] = i, list[n][2] = own[k];
        }
        qsort(list, n, sizeof *list, by_rank);
        for (size_t i = 0; i < n && i < limit; i++) keep[list[i][2]] = true;
    }
    mem_free(place);
    mem_free(own);
    mem_free(list);
    return status;
}

/* Rows that are not kept leave; users, questions and texts are numbered anew from those that stay. */
static pgr_status limit_rows(bench_data *d, size_t limit, uint64_t seed, pgr_error *err) {
    bool *keep = mem_zero(d->n_row + 1, sizeof *keep);
    if (!keep) return fail_mem(err);
    pgr_status status = pick_rows(d, limit, seed, keep, err);
    size_t n = 0;
    for (size_t i = 0; status == PGR_OK && i < d->n_row; i++)
        if (d->rows[i].train || keep[i]) d->rows[n++] = d->rows[i];
    mem_free(keep);
    if (status != PGR_OK) return status;
    d->n_row = n;
    d->n_test = d->n_question = d->n_topic = 0;
    return number_all(d, err);
}

/* ---- demographics ----------------------------------------------------------------------------------------------- */

static pgr_status read_users(bench_data *d, const char *path, const distinct *ids, pgr_error *err) {
    dataset *file = NULL;
    PGR_TRY(dataset_open(path, NULL, &file, err));
    pgr_status status = PGR_OK;
    for (bool more = true; status == PGR_OK;) {
        record rec;
        size_t u;
        status = dataset_next(file, &d->arena, &rec, &more, err);
        if (status != PGR_OK || !more) break;
        if (rec.kind != RECORD_USER)
            status = fail(err, PGR_E_FORMAT, "%s:%zu: this says nothing of a user (\"user_id\", \"demographics\")",
                          path, rec.line);
        else if (distinct_find(ids, rec.user.id, &u))
            d->users[u].demographics = rec.user.demographics;
    }
    dataset_close(file);
    return status;
}

static pgr_status add_demographics(bench_data *d, const bench_files *f, pgr_error *err) {
    distinct ids = {0};
    pgr_status status = PGR_OK;
    for (size_t u = 0, number; status == PGR_OK && u < d->n_user; u++)
        status = distinct_number(&ids, d->users[u].id, &number, err);
    for (size_t i = 0; status == PGR_OK && i < f->n_users; i++) status = read_users(d, f->users[i], &ids, err);
    distinct_free(&ids);
    return status;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

/* "polis" of "../data/polis.jsonl.gz" */
static char *set_name(arena *a, const char *path) {
    char *name = legible_name(path), *kept = name ? arena_strndup(a, name, strcspn(name, ".")) : NULL;
    mem_free(name);
    return kept;
}

static pgr_status take_rows(bench_data *d, rows *r, pgr_error *err) {
    d->rows = arena_array(&d->arena, r->n + 1, sizeof *d->rows);
    if (!d->rows) return fail_mem(err);
    if (r->n) memcpy(d->rows, r->v, r->n * sizeof *d->rows);
    d->n_row = r->n;
    PGR_TRY(number_all(d, err));
    d->n_all = d->n_test;
    for (size_t u = 0; u < d->n_user; u++) d->n_all_user += d->users[u].n_test > 0;
    return PGR_OK;
}

static pgr_status load_into(bench_data *d, const bench_files *f, rows *r, pgr_error *err) {
    if (f->n_path == 0) return fail(err, PGR_E_ARG, "no data file was given");
    if (!rules_split_name(f->split))
        return fail(err, PGR_E_ARG, "split: found \"%.40s\", expected %s", f->split, RULES_SPLITS);
    d->name = set_name(&d->arena, f->paths[0]);
    if (!d->name) return fail_mem(err);
    for (size_t i = 0; i < f->n_path; i++) PGR_TRY(read_pairs(d, f, f->paths[i], ROWS_ALL, r, err));
    for (size_t i = 0; i < f->n_history_from; i++) PGR_TRY(read_pairs(d, f, f->history_from[i], ROWS_HISTORY, r, err));
    PGR_TRY(take_rows(d, r, err));
    if (d->n_test == 0)
        return fail(err, PGR_E_ARG, "%s: no row has the split \"%s\"%s%s%s", f->paths[0], f->split,
                    f->subset ? " and the subset \"" : "", f->subset ? f->subset : "", f->subset ? "\"" : "");
    if (f->limit && f->limit < d->n_test) PGR_TRY(limit_rows(d, f->limit, f->seed, err));
    return f->n_users ? add_demographics(d, f, err) : PGR_OK;
}

pgr_status bench_load(const bench_files *f, bench_data **out, pgr_error *err) {
    bench_data *d = mem_zero(1, sizeof *d);
    if (!d) return fail_mem(err);
    rows r = {0};
    pgr_status status = load_into(d, f, &r, err);
    mem_free(r.v);
    if (status == PGR_OK)
        *out = d;
    else
        bench_data_free(d);
    return status;
}

pgr_status bench_data_of(const char *name, const pair_record *records, size_t n, const char *split, bench_data **out,
                         pgr_error *err) {
    bench_data *d = mem_zero(1, sizeof *d);
    if (!d) return fail_mem(err);
    rows r = {0};
    pgr_status status = (d->name = arena_strdup(&d->arena, name)) ? PGR_OK : fail_mem(err);
    for (size_t i = 0; status == PGR_OK && i < n; i++)
        if (is_train(&records[i]) || is_asked(&records[i], split))
            status = rows_add(&r, (bench_row){.record = records[i], .train = is_train(&records[i])}, err);
    if (status == PGR_OK) status = take_rows(d, &r, err);
    mem_free(r.v);
    if (status == PGR_OK)
        *out = d;
    else
        bench_data_free(d);
    return status;
}

/* ---- what rows are like ------------------------------------------------------------------------------------------ */

static size_t characters(const char *s) {
    size_t n = 0;
    for (; *s; s++) n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

int bench_longer(const bench_row *row) {
    size_t a = characters(row->record.pair.chosen), b = characters(row->record.pair.rejected);
    return (a > b) - (a < b);
}

pgr_status bench_recur(const bench_data *d, bool by_topic, bool *recur, pgr_error *err) {
    bool *known = mem_zero((by_topic ? d->n_topic : d->n_question) + 1, sizeof *known);
    if (!known) return fail_mem(err);
    size_t n = 0;
    for (const bench_row *r = d->rows; r < d->rows + d->n_row; r++)
        if (r->train) known[by_topic ? r->topic : r->question] = true;
    for (const bench_row *r = d->rows; r < d->rows + d->n_row; r++)
        n += !r->train && known[by_topic ? r->topic : r->question];
    *recur = 2 * n > d->n_test;
    mem_free(known);
    return PGR_OK;
}

void bench_data_free(bench_data *d) {
    if (!d) return;
    arena_free(&d->arena);
    mem_free(d);
}
