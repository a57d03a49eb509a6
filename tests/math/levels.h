/* levels.h - the levels that a test of kernels goes over: those that this machine has, up to PGENRM_CPU. What is drawn
 * inside FOR_LEVELS is the same for every level, so that no test's data depend on how many a machine has. */
#ifndef TESTS_MATH_LEVELS_H
#define TESTS_MATH_LEVELS_H

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "math/cpu/level.h"

enum { MOST_LEVELS = 4 };

static const kernels *levels[MOST_LEVELS];
static size_t n_level;
static rng stream;

/* For cmocka's setup of a group; names what is missing as skips. */
static inline int find_levels(void **state) {
    (void)state;
    do levels[n_level] = cpu_level_at(n_level)->kernels;
    while (cpu_level_at(n_level++) != cpu_best());
#if defined(__x86_64__)
    static const char *const names[] = {"ref", "avx2", "avx512", "amx"};
    for (size_t i = n_level; i < 4; i++)
        print_message("skipped: level %s is not on this CPU, or above PGENRM_CPU\n", names[i]);
#endif
    return 0;
}

/* PGENRM_CPU becomes `level`; NULL: what it was when this was first called. */
static inline void limit_cpu(const char *level) {
    static const char *before;
    static bool called;
    if (!called) before = getenv("PGENRM_CPU") ? strdup(getenv("PGENRM_CPU")) : NULL;
    called = true;
    if (!level) level = before;
    if (level)
        setenv("PGENRM_CPU", level, 1);
    else
        unsetenv("PGENRM_CPU");
}

/* Where a loop over levels found the stream. */
static inline rng *level_start(void) {
    static rng start;
    return &start;
}

/* Not nested. */
#define FOR_LEVELS(l)                                                                                                  \
    for (size_t l = (*level_start() = stream, 0); l < n_level && (stream = *level_start(), true); l++)

#endif
