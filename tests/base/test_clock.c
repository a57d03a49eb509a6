/* test_clock.c - forward only, in seconds. */
#include "faults.h"

#include <time.h>

#include "base/clock.h"

static void goes_forward_in_seconds(void **state) {
    (void)state;
    double begin = clock_now(), last = begin;
    for (int i = 0; i < 10000; i++) {
        double now = clock_now();
        assert_true(now >= last);
        last = now;
    }
    begin = clock_now();
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    double took = clock_now() - begin;
    assert_true(took >= 0.02 && took < 5.0); /* a sleep lasts at least as long as asked; 5 s: a busy machine */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(goes_forward_in_seconds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
