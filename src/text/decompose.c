/* decompose.c - canonical decomposition and composition; see decompose.h. Unicode's tables are utf8proc's; the order of
 * marks is ours, because utf8proc sorts long runs of them in quadratic time. */
#include "text/decompose.h"

#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/text.h"

enum {
    MAX_DECOMPOSED = 4, /* code points that one becomes at most (Unicode, canonical) */
    SHORT_RUN = 32,
    N_CLASS = 256,
};

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
static pgr_status grow(decomposed *d, size_t n, pgr_error *err) {
    size_t want = 2 * MAX_DECOMPOSED * n + 1;
    if (n > SIZE_MAX / 64) return fail_mem(err);
    if (want <= d->cap) return PGR_OK;
    int32_t *points = mem_resize(d->points, want * sizeof *points);
    if (!points) return fail_mem(err);
    d->points = points;
    d->cap = want;
    return PGR_OK;
}

pgr_status decompose(decomposed *d, const char *s, size_t n, pgr_error *err) {
    PGR_TRY(grow(d, n, err));
    size_t count = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code = 0;
        i += utf8_next(s + i, n - i, &code);
        utf8proc_ssize_t got =
            utf8proc_decompose_char((int32_t)code, d->points + count, MAX_DECOMPOSED, UTF8PROC_DECOMPOSE, NULL);
        PGR_ASSERT(got >= 0 && got <= MAX_DECOMPOSED);
        count += (size_t)got;
    }
    order_marks(d->points, count, d->points + MAX_DECOMPOSED * n);
    d->n = count;
    return PGR_OK;
}

/* Appends the composed form of n bytes of valid UTF-8. */
static pgr_status compose_run(decomposed *d, const char *s, size_t n, buf *out, pgr_error *err) {
    PGR_TRY(decompose(d, s, n, err));
    utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(d->points, (utf8proc_ssize_t)d->n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    PGR_ASSERT(composed >= 0);
    for (utf8proc_ssize_t i = 0; i < composed; i++) {
        char c[4];
        buf_add(out, c, utf8_put(c, (uint32_t)d->points[i]));
    }
    return PGR_OK;
}

pgr_status compose(decomposed *d, const char *s, size_t n, buf *out, pgr_error *err) {
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i; end < n;) {
            size_t len = utf8_next(s + end, n - end, NULL);
            if (len == 0) break;
            end += len;
        }
        if (end > i)
            PGR_TRY(compose_run(d, s + i, end - i, out, err));
        else
            buf_add(out, s + end++, 1);
    }
    return out->failed ? fail_mem(err) : PGR_OK;
}

void decomposed_free(decomposed *d) {
    mem_free(d->points);
    *d = (decomposed){0};
}
