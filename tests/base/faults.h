/* faults.h - for tests: fails each allocation of a piece of work in turn. */
#ifndef PGR_TESTS_FAULTS_H
#define PGR_TESTS_FAULTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h" /* before cmocka, whose fail() is a macro: ours is then called as (fail)(...) */

#include <cmocka.h>

/* work() does something and frees it again; true if it worked. Runs it once in peace, then once per allocation with
 * that one failing, and for every `step`-th with that one and all after it: each must then report failure, and nothing
 * may leak. Returns the number of allocations. */
static inline long fail_allocations(bool (*work)(void), long step) {
    long live = mem_live(), count = mem_count();
    assert_true(work());
    long n = mem_count() - count;
    assert_int_equal(mem_live(), live);
    for (long i = 1; i <= n; i++) {
        mem_fail_nth(i);
        bool worked = work();
        mem_fail_nth(0);
        if (worked || mem_live() != live)
            fail_msg("allocation %ld of %ld failed: worked %d, %ld more live", i, n, worked, mem_live() - live);
        if (i % step) continue;
        mem_fail_from(i);
        worked = work();
        mem_fail_from(0);
        if (worked || mem_live() != live)
            fail_msg("allocations from %ld of %ld failed: worked %d, %ld more live", i, n, worked, mem_live() - live);
    }
    assert_true(work());
    assert_int_equal(mem_live(), live);
    return n;
}

static inline long fail_each_allocation(bool (*work)(void)) {
    return fail_allocations(work, 1);
}

#endif
