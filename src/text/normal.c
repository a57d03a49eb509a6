/* normal.c - owns the rewriting of text, step by step. */
#include "text/normal.h"

#include <string.h>

#include "base/text.h"
#include "text/bert.h"

static void replace(const normal_step *step, const char *s, size_t n, buf *out) {
    const char *end = s + n, *hit;
    while (s < end && (hit = memmem(s, (size_t)(end - s), step->from, step->n_from))) {
        buf_add(out, s, (size_t)(hit - s));
        buf_add(out, step->to, step->n_to);
        s = hit + step->n_from;
    }
    buf_add(out, s, (size_t)(end - s));
}

static bool changes(const normal_step *step, const char *s, size_t n) {
    switch (step->kind) {
    case NORMAL_NFC:
        return !text_is_ascii(s, n);
    case NORMAL_PREPEND:
        return step->n_to > 0;
    case NORMAL_REPLACE:
        return memmem(s, n, step->from, step->n_from) != NULL;
    case NORMAL_BERT:
        return step->flags != 0;
    }
    return false;
}

static pgr_status apply_step(const normal_step *step, normal_work *w, const char *s, size_t n, buf *out,
                             pgr_error *err) {
    buf_clear(out);
    switch (step->kind) {
    case NORMAL_NFC:
        PGR_TRY(compose(&w->points, s, n, out, err));
        break;
    case NORMAL_PREPEND:
        buf_add(out, step->to, step->n_to);
        buf_add(out, s, n);
        break;
    case NORMAL_REPLACE:
        replace(step, s, n, out);
        break;
    case NORMAL_BERT:
        PGR_TRY(bert_normalise(step->flags, &w->clean, &w->points, s, n, out, err));
        break;
    }
    return out->failed ? fail_mem(err) : PGR_OK;
}

pgr_status normal_apply(const normaliser *n, normal_work *w, const char *s, size_t len, const char **out, size_t *n_out,
                        pgr_error *err) {
    buf *to = &w->text[0];
    for (size_t i = 0; i < n->n && len > 0; i++) {
        if (!changes(&n->steps[i], s, len)) continue;
        PGR_TRY(apply_step(&n->steps[i], w, s, len, to, err));
        s = to->data ? to->data : "";
        len = to->n;
        to = to == &w->text[0] ? &w->text[1] : &w->text[0];
    }
    *out = s;
    *n_out = len;
    return PGR_OK;
}

void normal_work_free(normal_work *w) {
    buf_free(&w->text[0]);
    buf_free(&w->text[1]);
    buf_free(&w->clean);
    decomposed_free(&w->points);
}
