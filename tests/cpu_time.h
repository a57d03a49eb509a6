/* cpu_time.h - time that this process has computed, for tests that bound an effort: a busy machine makes them wait, not
 * fail. */
#ifndef PGR_TESTS_CPU_TIME_H
#define PGR_TESTS_CPU_TIME_H

#include <time.h>

/* seconds, of all threads together */
static inline double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
