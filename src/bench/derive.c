/* derive.c - sets made from another one; see derive.h. */
#include "bench/derive.h"

#include <string.h>

#include "base/mem.h"
#include "bench/distinct.h"
#include "bench/history.h"

/* ---- a set of the same users ------------------------------------------------------------------------------------- */

/* An empty set with room for n rows. */
static pgr_status begin(const bench_data *d, const char *name, size_t n, bench_data **out, pgr_error *err) {
    bench_data *made = mem_zero(1, sizeof *made);
    if (!made) return fail_mem(err);
    made->name = arena_strdup(&made->arena, name);
    made->rows = arena_array(&made->arena, n + 1, sizeof *made->rows);
    made->origin = arena_array(&made->arena, n + 1, sizeof *made->origin);
    made->users = arena_array(&made->arena, d->n_user + 1, sizeof *made->users);
    if (!made->name || !made->rows || !made->origin || !made->users) {
        bench_data_free(made);
        return fail_mem(err);
    }
    made->n_user = d->n_user;
    made->n_question = d->n_question;
    made->n_topic = d->n_topic;
    made->items = d->items;
    made->n_item = d->n_item;
    *out = made;
    return PGR_OK;
}

static void put(bench_data *made, const bench_row *row, size_t origin, bool train) {
    made->origin[made->n_row] = origin;
    made->rows[made->n_row] = *row;
    made->rows[made->n_row++].train = train;
}

/* The rows by user, once all are there. */
static pgr_status list_rows(const bench_data *d, bench_data *made, pgr_error *err) {
    size_t *lists = arena_array(&made->arena, made->n_row + 1, sizeof *lists), *first = lists;
    if (!lists) return fail_mem(err);
    for (size_t i = 0; i < made->n_row; i++) {
        bench_user *u = &made->users[made->rows[i].user];
        ++*(made->rows[i].train ? &u->n_train : &u->n_test);
    }
    for (size_t u = 0; u < made->n_user; u++) {
        bench_user *to = &made->users[u];
        to->id = d->users[u].id;
        to->demographics = d->users[u].demographics;
        to->train = lists;
        to->test = lists + to->n_train;
        lists += to->n_train + to->n_test;
        made->n_test += to->n_test;
        made->n_all_user += to->n_test > 0;
        to->n_train = to->n_test = 0;
    }
    made->n_all = made->n_test;
    for (size_t i = 0; i < made->n_row; i++) {
        bench_user *u = &made->users[made->rows[i].user];
        const size_t *at = made->rows[i].train ? &u->train[u->n_train++] : &u->test[u->n_test++];
        first[at - first] = i;
    }
    return PGR_OK;
}

static pgr_status finish(const bench_data *d, bench_data *made, pgr_status s, bench_data **out, pgr_error *err) {
    if (s == PGR_OK) s = list_rows(d, made, err);
    if (s == PGR_OK)
        *out = made;
    else
        bench_data_free(made);
    return s;
}

/* ---- folds ------------------------------------------------------------------------------------------------------- */

/* group: (n_row) by conversation, a row without one by itself; else by topic. */
static pgr_status find_groups(const bench_data *d, bool by_conversation, size_t *group, size_t *n, pgr_error *err) {
    distinct conversations = {0};
    size_t alone = 0;
    pgr_status s = PGR_OK;
    for (size_t i = 0; s == PGR_OK && i < d->n_row; i++) {
        const char *name = d->rows[i].record.conversation_id;
        group[i] = by_conversation ? d->n_row + alone : d->rows[i].topic;
        if (by_conversation && *name)
            s = distinct_number(&conversations, name, &group[i], err);
        else
            alone += by_conversation;
    }
    for (size_t i = 0; by_conversation && i < d->n_row; i++) /* those alone come behind the conversations */
        if (group[i] >= d->n_row) group[i] += conversations.n - d->n_row;
    *n = by_conversation ? conversations.n + alone : d->n_topic;
    distinct_free(&conversations);
    return s;
}

static pgr_status deal(const bench_data *d, uint64_t seed, const size_t *group, size_t n_group, fold_plan *p,
                       pgr_error *err) {
    if (n_group < p->n)
        return fail(err, PGR_E_ARG, "%s: %zu %s for %zu folds, expected as many at least", d->name, n_group,
                    p->by_conversation ? "conversations" : "questions", p->n);
    size_t *order = mem_array(n_group + 1, sizeof *order), *place = mem_array(n_group + 1, sizeof *place);
    if (order && place) {
        rng r = {.seed = seed, .stream = 3};
        for (size_t g = 0; g < n_group; g++) order[g] = g;
        bench_shuffle(order, n_group, &r);
        for (size_t g = 0; g < n_group; g++) place[order[g]] = g % p->n;
        for (size_t i = 0; i < d->n_row; i++) p->fold[i] = (unsigned char)place[group[i]];
    }
    pgr_status s = order && place ? PGR_OK : fail_mem(err);
    mem_free(order);
    mem_free(place);
    return s;
}

pgr_status folds_plan(const bench_data *d, size_t n, uint64_t seed, fold_plan *out, pgr_error *err) {
    fold_plan p = {.n = n, .fold = mem_zero(d->n_row + 1, 1)};
    size_t *group = mem_array(d->n_row + 1, sizeof *group), n_group = 0;
    pgr_status s = p.fold && group ? bench_recur(d, true, &p.by_conversation, err) : fail_mem(err);
    if (s == PGR_OK) s = find_groups(d, p.by_conversation, group, &n_group, err);
    if (s == PGR_OK) s = deal(d, seed, group, n_group, &p, err);
    mem_free(group);
    if (s == PGR_OK)
        *out = p;
    else
        folds_free(&p);
    return s;
}

void folds_free(fold_plan *p) {
    mem_free(p->fold);
    *p = (fold_plan){0};
}

pgr_status folds_data(const bench_data *d, const fold_plan *p, size_t fold, bench_data **out, pgr_error *err) {
    bench_data *made = NULL;
    PGR_TRY(begin(d, d->name, d->n_row, &made, err));
    for (size_t i = 0; i < d->n_row; i++) {
        bool asked = p->fold[i] == fold;
        if (!asked || !d->rows[i].borrowed) put(made, &d->rows[i], i, !asked);
    }
    return finish(d, made, PGR_OK, out, err);
}

/* ---- texts that should never win --------------------------------------------------------------------------------- */

const char *const HOLLOW_NAMES[HOLLOW_KINDS] = {"blank", "dots", "cut", "solution", "thought", "step", "sure"};

/* NULL: the chosen response, cut. */
static const char *const HOLLOW_TEXTS[HOLLOW_KINDS] = {" ",
                                                       "...",
                                                       NULL,
                                                       "Solution:",
                                                       "Thought process:",
                                                       "Let's solve this problem step by step.",
                                                       "Sure! Here is the answer to your question:"};

enum { KEPT = 5 }; /* of a cut response one fifth */

/* The first fifth of the response, whole characters, one at least. */
static const char *cut_text(arena *a, const char *s) {
    size_t n = strlen(s) / KEPT;
    if (n == 0 && *s) n = 1;
    while (((unsigned char)s[n] & 0xC0) == 0x80) n++;
    return arena_strndup(a, s, n);
}

static pgr_status put_hollow(bench_data *made, distinct *items, const bench_row *row, size_t i, pgr_error *err) {
    for (size_t k = 0; k < HOLLOW_KINDS; k++) {
        bench_row hollow = *row;
        preference_pair *p = &hollow.record.pair;
        p->rejected = HOLLOW_TEXTS[k] ? HOLLOW_TEXTS[k] : cut_text(&made->arena, p->chosen);
        if (!p->rejected) return fail_mem(err);
        PGR_TRY(distinct_number(items, p->rejected, &hollow.item[1], err));
        put(made, &hollow, i, false);
    }
    return PGR_OK;
}

/* Train rows are first, as they were; then the others, in their order. */
static pgr_status put_all(const bench_data *d, bench_data *made, distinct *items, pgr_error *err) {
    size_t number;
    for (size_t i = 0; i < d->n_item; i++) PGR_TRY(distinct_number(items, d->items[i], &number, err));
    for (size_t i = 0; i < d->n_row; i++)
        if (d->rows[i].train) put(made, &d->rows[i], i, true);
    for (size_t i = 0; i < d->n_row; i++)
        if (!d->rows[i].train) PGR_TRY(put_hollow(made, items, &d->rows[i], i, err));
    const char **list = arena_array(&made->arena, items->n + 1, sizeof *list);
    if (!list) return fail_mem(err);
    if (items->n) memcpy(list, items->texts, items->n * sizeof *list);
    made->items = list;
    made->n_item = items->n;
    return PGR_OK;
}

pgr_status hollow_data(const bench_data *d, bench_data **out, pgr_error *err) {
    bench_data *made = NULL;
    buf name = {0};
    buf_printf(&name, "%s, hollow", d->name);
    pgr_status s = name.failed ? fail_mem(err) : begin(d, name.data, d->n_row + HOLLOW_KINDS * d->n_test, &made, err);
    buf_free(&name);
    if (s != PGR_OK) return s;
    distinct items = {0};
    s = put_all(d, made, &items, err);
    distinct_free(&items);
    return finish(d, made, s, out, err);
}
