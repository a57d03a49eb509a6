/* dataset.c - records out of a stream of JSON values: which form each has, what becomes of bad ones, handing them
 * out one at a time. The forms themselves are in forms*.c, the rules that all follow in rules.c. */
#include "user/dataset.h"

#include <string.h>

#include "base/mem.h"
#include "user/forms.h"
#include "user/prism.h"
#include "user/stream.h"

struct dataset {
    stream *in;
    const char *family; /* NULL: not told yet */
    dataset_options with;
    bool ended;
    size_t skipped, left_out[PGR_LEFT_N];
    char first_bad[sizeof((pgr_error *)0)->message]; /* of what was skipped */
    char *place;                                     /* "FILE:LINE" of the value at hand */
    size_t place_size;
    arena memory; /* of the value at hand */
    record_list ready;
    size_t next; /* of ready */
    utterances *gathered;
};

/* ---- values ------------------------------------------------------------------------------------------------------ */

static pgr_status read_records(dataset *d, const stream_value *value, pgr_error *err) {
    json_t *top = NULL;
    if (stream_is_opened_object(value))
        return fail(err, PGR_E_FORMAT,
                    "%s:%zu: found an object over several lines, expected a record per line, or an "
                    "array of them",
                    stream_name(d->in), value->line);
    PGR_TRY(json_parse_nan(value->text, value->n, stream_name(d->in), value->line, &top, err));
    snprintf(d->place, d->place_size, "%s:%zu", stream_name(d->in), value->line);
    field_reader in = {.a = &d->memory, .file = d->place, .err = err};
    const form *f = NULL;
    pgr_status status = json_want_object(top, field_at(&in, &FIELD_TOP), err);
    if (status == PGR_OK) status = form_find(&in, d->family, top, &f);
    if (status == PGR_OK)
        status = f->read ? f->read(&in, top, &d->ready) : utterances_add(d->gathered, &in, top, value->line, &d->ready);
    if (status == PGR_OK && !d->family) d->family = f->family;
    json_decref(top);
    return status;
}

/* What was still being gathered at the end of the file. */
static pgr_status read_rest(dataset *d, bool *more, pgr_error *err) {
    field_reader in = {.a = &d->memory, .file = stream_name(d->in), .err = err};
    PGR_TRY(utterances_end(d->gathered, &in, &d->ready));
    *more = d->ready.n > 0;
    return PGR_OK;
}

/* The records of the next value; none at the end of the file. A bad value is passed over where that was asked for. */
static pgr_status read_value(dataset *d, bool *more, pgr_error *err) {
    arena_free(&d->memory);
    d->ready = (record_list){.with = &d->with};
    d->next = 0;
    stream_value value = {0};
    pgr_error why = {0};
    pgr_status status = stream_next(d->in, &value, more, &why);
    bool broken = status != PGR_OK && status != PGR_E_LIMIT; /* the stream, not a value */
    if (status == PGR_OK && *more) {
        status = read_records(d, &value, &why);
        for (size_t i = 0; i < d->ready.n; i++)
            if (!d->ready.v[i].line) d->ready.v[i].line = value.line;
    } else if (status == PGR_OK) {
        status = read_rest(d, more, &why);
    }
    for (size_t i = 0; i < PGR_LEFT_N && status == PGR_OK; i++) d->left_out[i] += d->ready.left_out[i];
    if (status == PGR_OK) return PGR_OK;
    if (broken || !d->with.skip_bad || status == PGR_E_MEM || status == PGR_E_UNSUPPORTED || status == PGR_E_ARG)
        return fail(err, status, "%s", why.message);
    d->ready.n = 0;
    if (d->skipped++ == 0) memcpy(d->first_bad, why.message, sizeof d->first_bad);
    *more = true;
    return PGR_OK;
}

/* ---- copies into the caller's arena ------------------------------------------------------------------------------ */

static bool copy_text(arena *a, const char **text) {
    *text = arena_strdup(a, *text);
    return *text != NULL;
}

static bool copy_texts(arena *a, const char *const **texts, size_t n) {
    const char **copy = arena_array(a, n, sizeof *copy);
    for (size_t i = 0; copy && i < n; i++)
        if (!(copy[i] = arena_strdup(a, (*texts)[i]))) return false;
    *texts = copy;
    return copy != NULL;
}

static bool copy_pair(arena *a, pair_record *p) {
    turn *turns = arena_array(a, p->pair.n_context, sizeof *turns);
    if (!turns) return false;
    for (size_t i = 0; i < p->pair.n_context; i++) {
        turns[i] = p->pair.context[i]; /* roles are static texts */
        if (!copy_text(a, &turns[i].text)) return false;
    }
    p->pair.context = turns;
    return copy_text(a, &p->user_id) && copy_text(a, &p->conversation_id) && copy_text(a, &p->pair.chosen)
           && copy_text(a, &p->pair.rejected) && copy_text(a, &p->split) && copy_text(a, &p->type)
           && copy_text(a, &p->choice_attributes) && copy_text(a, &p->group) && copy_texts(a, &p->subsets, p->n_subset);
}

static bool copy_user(arena *a, user_record *u) {
    return copy_text(a, &u->id) && copy_text(a, &u->demographics) && copy_texts(a, &u->criteria, u->n_criteria);
}

static bool copy_question(arena *a, question_record *q) {
    return copy_text(a, &q->id) && copy_text(a, &q->user_id) && copy_text(a, &q->question)
           && copy_text(a, &q->narrative) && copy_text(a, &q->category) && copy_texts(a, &q->profile, q->n_profile)
           && copy_texts(a, &q->aspects, q->n_aspect);
}

static bool copy_record(arena *a, record *r) {
    switch (r->kind) {
    case RECORD_PAIR:
        return copy_pair(a, &r->pair);
    case RECORD_USER:
        return copy_user(a, &r->user);
    case RECORD_QUESTION:
        return copy_question(a, &r->question);
    }
    return false;
}

/* ---- public to the library --------------------------------------------------------------------------------------- */

/* Names of the forms, each once. */
static void list_forms(char *out, size_t size) {
    size_t at = 0;
    for (const form *f = FORMS; f->name && at < size; f++)
        if (f == FORMS || strcmp(f->name, f[-1].name) != 0)
            at += (size_t)snprintf(out + at, size - at, "%s%s", at ? ", " : "", f->name);
}

static pgr_status settle_form(dataset *d, const char *path, pgr_error *err) {
    if (!d->with.form) return PGR_OK;
    d->family = form_family(d->with.form);
    char names[200];
    list_forms(names, sizeof names);
    return d->family
               ? PGR_OK
               : fail(err, PGR_E_ARG, "%s: found the form \"%.40s\", expected one of %s", path, d->with.form, names);
}

pgr_status dataset_open(const char *path, const dataset_options *options, dataset **out, pgr_error *err) {
    dataset *d = mem_zero(1, sizeof *d);
    if (!d) return fail_mem(err);
    if (options) d->with = *options;
    pgr_status status = settle_form(d, path, err);
    if (status == PGR_OK) status = stream_open(path, &d->in, err);
    if (status == PGR_OK) {
        d->place_size = strlen(stream_name(d->in)) + 24;
        d->place = mem_alloc(d->place_size);
        d->gathered = utterances_new();
        if (!d->place || !d->gathered) status = fail_mem(err);
    }
    if (status == PGR_OK)
        *out = d;
    else
        dataset_close(d);
    return status;
}

void dataset_close(dataset *d) {
    if (!d) return;
    stream_close(d->in);
    utterances_free(d->gathered);
    arena_free(&d->memory);
    mem_free(d->place);
    mem_free(d);
}

pgr_status dataset_next(dataset *d, arena *a, record *out, bool *more, pgr_error *err) {
    bool left = !d->ended;
    while (left && d->next == d->ready.n) {
        pgr_status status = read_value(d, &left, err);
        d->ended = status != PGR_OK || !left;
        PGR_TRY(status);
    }
    if (left) {
        record r = d->ready.v[d->next++];
        if (!copy_record(a, &r)) {
            d->ended = true;
            return fail_mem(err);
        }
        *out = r;
    }
    *more = left;
    return PGR_OK;
}

size_t dataset_skipped(const dataset *d) {
    return d->skipped;
}
size_t dataset_left_out(const dataset *d, pgr_left why) {
    return d->left_out[why];
}
const char *dataset_first_bad(const dataset *d) {
    return d->first_bad;
}
uint64_t dataset_read(const dataset *d) {
    return stream_read(d->in);
}
uint64_t dataset_size(const dataset *d) {
    return stream_size(d->in);
}
