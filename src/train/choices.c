/* choices.c - reads a file of pairs and renders both sides of each. */
#include "train/choices.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "user/dataset.h"
#include "user/rules.h"

static pgr_status add(choices *c, const choice *x, pgr_error *err) {
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 256;
        choice *list = mem_resize(c->list, cap * sizeof *list);
        if (!list) return fail_mem(err);
        c->list = list;
        c->cap = cap;
    }
    c->list[c->n++] = *x;
    return PGR_OK;
}

static pgr_status take(const pgr_model *m, choices *c, const preference_pair *p, size_t most, const char *at,
                       arena *tmp, pgr_error *err) {
    choice x;
    chat_message *list = arena_array(tmp, p->n_context + 1, sizeof *list);
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < p->n_context; i++)
        list[i] = (chat_message){p->context[i].role, p->context[i].text, strlen(p->context[i].text)};
    for (size_t k = 0; k < CHOICE_SIDES; k++) {
        const char *text = k == CHOSEN ? p->chosen : p->rejected;
        list[p->n_context] = (chat_message){"assistant", text, strlen(text)};
        PGR_TRY(chat_row_make(m, list, p->n_context, p->n_context + 1, most, at, &c->arena, &x.side[k], err));
        if (x.side[k].n > 0) continue;
        c->left_out++;
        return PGR_OK;
    }
    return add(c, &x, err);
}

static pgr_status read_all(const pgr_model *m, dataset *d, const char *path, size_t most, choices *c, pgr_error *err) {
    arena tmp = {0};
    pgr_status s = PGR_OK;
    for (bool more = true; s == PGR_OK;) {
        record r;
        char at[600];
        s = dataset_next(d, &tmp, &r, &more, err);
        if (s != PGR_OK || !more) break;
        snprintf(at, sizeof at, "%s:%zu", path, r.line);
        if (r.kind == RECORD_PAIR && rules_is_lesson(&r.pair)) s = take(m, c, &r.pair.pair, most, at, &tmp, err);
        arena_free(&tmp);
    }
    arena_free(&tmp);
    return s;
}

pgr_status choices_load(const pgr_model *m, const char *path, size_t most, choices *out, pgr_error *err) {
    dataset *d = NULL;
    dataset_options o = {.unnamed = UNNAMED_ALONE};
    *out = (choices){0};
    PGR_TRY(dataset_open(path, &o, &d, err));
    pgr_status s = read_all(m, d, path, most, out, err);
    dataset_close(d);
    if (s == PGR_OK && out->n == 0)
        s = fail(err, PGR_E_FORMAT, "%s: no pair to learn from (%zu are longer than %zu tokens), expected some", path,
                 out->left_out, most);
    if (s == PGR_OK && out->left_out > 0)
        log_warn("%s: %zu of %zu pairs have a side longer than %zu tokens and are left out", path, out->left_out,
                 out->n + out->left_out, most);
    if (s != PGR_OK) choices_free(out);
    return s;
}

void choices_free(choices *c) {
    mem_free(c->list);
    arena_free(&c->arena);
    *c = (choices){0};
}
