/* normal.c - owns the rewriting of text. Unicode's tables are utf8proc's; the order of marks is ours, because utf8proc
 * sorts long runs of them in quadratic time. */
#include "text/normal.h"

#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/text.h"
#include "text/bert.h"

enum {
    MAX_DECOMPOSED = 4,
    /* code points that one becomes at most (Unicode, canonical) */ SHORT_RUN = 32,
    N_CLASS = 256
};

/* ---- NFC ---- */

static int class_of(int32_t point) {
    return utf8proc_get_property(point)->combining_class;
}

static void insertion_sort(int32_t *v, size_t n) {
    for (size_t i = 1; i < n; i++) {
        int32_t x = v[i];
        size_t k = i;
        for (; k > 0 && class_of(v[k - 1]) > class_of(x); k--) v[k] = v[k - 1];
        v[k] = x;
    }
}

/* scratch: (n) */
static void counting_sort(int32_t *v, size_t n, int32_t *scratch) {
    size_t at[N_CLASS + 1] = {0};
    memcpy(scratch, v, n * sizeof *v);
    for (size_t i = 0; i < n; i++) at[class_of(v[i]) + 1]++;
    for (size_t c = 0; c < N_CLASS; c++) at[c + 1] += at[c];
    for (size_t i = 0; i < n; i++) v[at[class_of(scratch[i])]++] = scratch[i];
}

/* Every run of marks into the order of their classes, equal ones as they stood. scratch: (n) */
static void order_marks(int32_t *v, size_t n, int32_t *scratch) {
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        if (class_of(v[i]) == 0) continue;
        while (end < n && class_of(v[end]) != 0) end++;
        if (end - i <= SHORT_RUN)
            insertion_sort(v + i, end - i);
        else
            counting_sort(v + i, end - i, scratch);
    }
}

/* Room for the code points of n bytes, and as many again to sort in. */
static pgr_status grow_points(normal_work *w, size_t n, pgr_error *err) {
    size_t want = 2 * MAX_DECOMPOSED * n + 1;
    if (n > SIZE_MAX / 64) return fail_mem(err);
    if (want <= w->cap) return PGR_OK;
    int32_t *points = mem_resize(w->points, want * sizeof *points);
    if (!points) return fail_mem(err);
    w->points = points;
    w->cap = want;
    return PGR_OK;
}

pgr_status normal_decompose(normal_work *w, const char *s, size_t n, size_t *out, pgr_error *err) {
    PGR_TRY(grow_points(w, n, err));
    size_t count = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code = 0;
        i += utf8_next(s + i, n - i, &code);
        utf8proc_ssize_t got =
            utf8proc_decompose_char((int32_t)code, w->points + count, MAX_DECOMPOSED, UTF8PROC_DECOMPOSE, NULL);
        PGR_ASSERT(got >= 0 && got <= MAX_DECOMPOSED);
        count += (size_t)got;
    }
    order_marks(w->points, count, w->points + MAX_DECOMPOSED * n);
    *out = count;
    return PGR_OK;
}

/* Appends the composed form of n bytes of valid UTF-8. */
static pgr_status compose_run(normal_work *w, const char *s, size_t n, buf *out, pgr_error *err) {
    size_t count;
    PGR_TRY(normal_decompose(w, s, n, &count, err));
    utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(w->points, (utf8proc_ssize_t)count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    PGR_ASSERT(composed >= 0);
    for (utf8proc_ssize_t i = 0; i < composed; i++) {
        char c[4];
        buf_add(out, c, utf8_put(c, (uint32_t)w->points[i]));
    }
    return PGR_OK;
}

static bool is_ascii(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0x80) return false;
    return true;
}

static pgr_status compose(normal_work *w, const char *s, size_t n, buf *out, pgr_error *err) {
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i; end < n;) {
            size_t len = utf8_next(s + end, n - end, NULL);
            if (len == 0) break;
            end += len;
        }
        if (end > i)
            PGR_TRY(compose_run(w, s + i, end - i, out, err));
        else
            buf_add(out, s + end++, 1);
    }
    return PGR_OK;
}

/* ---- steps ---- */

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
        return !is_ascii(s, n);
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
        PGR_TRY(compose(w, s, n, out, err));
        break;
    case NORMAL_PREPEND:
        buf_add(out, step->to, step->n_to);
        buf_add(out, s, n);
        break;
    case NORMAL_REPLACE:
        replace(step, s, n, out);
        break;
    case NORMAL_BERT:
        PGR_TRY(bert_normalise(step->flags, w, s, n, out, err));
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
    mem_free(w->points);
    *w = (normal_work){0};
}
