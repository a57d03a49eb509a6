/* mem.c - malloc behind counters: the live count and the fault injection of mem.h. All counters are atomic. */
#include "base/mem.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static atomic_long n_live, n_attempt;
/* The attempts fail_first..fail_last fail; fail_first 0 means none. */
static atomic_long fail_first, fail_last;

/* Counts one attempt. False if this one is to fail. */
static bool attempt(void) {
    long n = atomic_fetch_add_explicit(&n_attempt, 1, memory_order_relaxed) + 1;
    long first = atomic_load_explicit(&fail_first, memory_order_relaxed);
    return first == 0 || n < first || n > atomic_load_explicit(&fail_last, memory_order_relaxed);
}

static void *count_live(void *p) {
    if (p) atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    return p;
}

void *mem_alloc(size_t size) {
    return attempt() ? count_live(malloc(size ? size : 1)) : NULL;
}

void *mem_zero(size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL; /* calloc checks too, but a sanitizer's calloc aborts */
    size_t n = count * size;
    return attempt() ? count_live(calloc(1, n ? n : 1)) : NULL;
}

void *mem_array(size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL;
    return mem_alloc(count * size);
}

void *mem_resize(void *p, size_t size) {
    if (!p) return mem_alloc(size);
    return attempt() ? realloc(p, size ? size : 1) : NULL;
}

void *mem_aligned(size_t size, size_t align) {
    void *p = NULL;
    if (!attempt() || size > PTRDIFF_MAX) return NULL; /* nothing is as large: sanitizers end the program for asking */
    if (align < sizeof(void *)) align = sizeof(void *);
    if (posix_memalign(&p, align, size ? size : 1) != 0) return NULL;
    return count_live(p);
}

/* Going along rows of many pages costs half without their tables. Only whole large pages: what is behind them takes no
 * more memory than it needs. */
void *mem_huge(size_t size) {
    enum { LINE = 64, HUGE_PAGE = 2 << 20 };
    if (size < HUGE_PAGE) return mem_aligned(size, LINE);
    void *p = mem_aligned(size, HUGE_PAGE);
    if (p) madvise(p, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* a wish: refused where there are none */
    return p;
}

char *mem_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    char *copy = mem_alloc(n);
    if (copy) memcpy(copy, s, n);
    return copy;
}

void mem_free(void *p) {
    if (!p) return;
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    free(p);
}

static void fail_between(long nth, bool only_one) {
    long now = atomic_load(&n_attempt);
    atomic_store(&fail_first, 0);
    atomic_store(&fail_last, only_one ? now + nth : LONG_MAX);
    if (nth > 0) atomic_store(&fail_first, now + nth);
}

void mem_fail_from(long nth) {
    fail_between(nth, false);
}
void mem_fail_nth(long nth) {
    fail_between(nth, true);
}
long mem_live(void) {
    return atomic_load(&n_live);
}
long mem_count(void) {
    return atomic_load(&n_attempt);
}
