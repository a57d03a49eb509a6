/* test_watch.c - nobody, half a watcher and a whole one are told what they asked for, and nothing else. */
#include "base/watch.h"

#include "faults.h"

typedef struct told {
    int n;
    char label[32];
    uint64_t done, total;
} told;

static void tell(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    told *t = ctx;
    t->n++;
    snprintf(t->label, sizeof t->label, "%s/%s", label, unit);
    t->done = done;
    t->total = total;
}

static void nobody_watches(void **state) {
    (void)state;
    pgr_watch none = {0};
    watch_report(NULL, "step", 1, 2, "rows");
    watch_report(&none, "step", 1, 2, "rows");
    assert_false(watch_cancelled(NULL));
    assert_false(watch_cancelled(&none));
    assert_int_equal(watch_check(NULL, NULL), PGR_OK);
    assert_int_equal(watch_check(&none, NULL), PGR_OK);
}

static void progress_goes_to_its_ctx(void **state) {
    (void)state;
    told t = {0};
    pgr_watch w = {.progress = tell, .progress_ctx = &t};
    watch_report(&w, "step", 3, 7, "rows");
    assert_int_equal(t.n, 1);
    assert_string_equal(t.label, "step/rows");
    assert_int_equal(t.done, 3);
    assert_int_equal(t.total, 7);
    assert_false(watch_cancelled(&w));
}

static void cancel_is_an_error_once_it_is_set(void **state) {
    (void)state;
    pgr_cancel cancel = 0;
    pgr_watch w = {.cancel = &cancel};
    pgr_error err = {0};
    assert_int_equal(watch_check(&w, &err), PGR_OK);
    assert_int_equal(err.status, PGR_OK);
    cancel = 1;
    assert_true(watch_cancelled(&w));
    assert_int_equal(watch_check(&w, &err), PGR_E_CANCELLED);
    assert_string_equal(err.message, "cancelled");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_watches), cmocka_unit_test(progress_goes_to_its_ctx),
                                       cmocka_unit_test(cancel_is_an_error_once_it_is_set)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
