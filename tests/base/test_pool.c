/* test_pool.c - every task runs exactly once, by one worker at a time, with 1, 2, 4 and 9 threads, short and long jobs,
 * and several callers. Meant to run under ThreadSanitizer too (-DPGR_SANITIZE=thread): the arrays below are written
 * without atomics on purpose. */
#include "faults.h"

#include <pthread.h>
#include <time.h>

#include "base/mem.h"
#include "base/pool.h"

enum { TASK_MAX = 1000, WORKER_MAX = 16 };

typedef struct job {
    size_t n_task, size;
    int ran[TASK_MAX];
    int inside[WORKER_MAX]; /* not atomic: TSan and the check below see two tasks of one worker number at once */
    long sum[WORKER_MAX];
    long sleep_ns;
} job;

static void run_task(void *ctx, size_t task, size_t worker) {
    job *j = ctx;
    if (task >= j->n_task || worker >= j->size || j->inside[worker] != 0) abort();
    j->inside[worker] = 1;
    j->ran[task]++;
    j->sum[worker] += (long)task;
    if (j->sleep_ns) nanosleep(&(struct timespec){.tv_nsec = j->sleep_ns}, NULL);
    j->inside[worker] = 0;
}

static void check_run(pool *p, size_t n_task, long sleep_ns) {
    static job j;
    memset(&j, 0, sizeof j);
    j.n_task = n_task, j.size = pool_size(p), j.sleep_ns = sleep_ns;
    pool_run(p, n_task, run_task, &j);
    long sum = 0;
    for (size_t w = 0; w < WORKER_MAX; w++) sum += j.sum[w];
    for (size_t t = 0; t < TASK_MAX; t++) assert_int_equal(j.ran[t], t < n_task);
    assert_int_equal(sum, n_task ? (long)(n_task * (n_task - 1) / 2) : 0);
}

static void runs_every_task_once(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 4, 9};
    check_run(NULL, 10, 0);
    for (size_t i = 0; i < 4; i++) {
        pool *p = NULL;
        pgr_error err;
        assert_int_equal(pool_create(sizes[i], &p, &err), PGR_OK);
        assert_int_equal(pool_size(p), sizes[i]);
        for (size_t n = 0; n < 20; n++) check_run(p, n, 0);
        for (size_t n = 0; n < 500; n++) check_run(p, 2 + n % 7, 0); /* jobs close behind each other: workers spin */
        check_run(p, TASK_MAX, 0);
        for (size_t n = 0; n < 20; n++) { /* workers sleep between the jobs, the caller at the end of them */
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            check_run(p, 9, 300000);
        }
        pool_free(p);
    }
}

/* Tasks that sleep overlap even on one core, so a pool that ran everything in the caller would be found out. */
static void work_is_shared(void **state) {
    (void)state;
    pool *p = NULL;
    job j = {.n_task = 8, .size = 4, .sleep_ns = 20000000};
    assert_int_equal(pool_create(4, &p, NULL), PGR_OK);
    pool_run(p, 8, run_task, &j);
    int busy = 0;
    for (size_t w = 0; w < 4; w++) busy += j.sum[w] > 0;
    assert_true(busy >= 2);
    pool_free(p);
}

typedef struct caller {
    pool *p;
    pthread_t thread;
    job j;
} caller;

static long shared_total; /* written by tasks of different callers: only serialised jobs leave it whole */

static void add_to_total(void *ctx, size_t task, size_t worker) {
    if (task == 0) shared_total++;
    run_task(ctx, task, worker);
}

static void *call_often(void *arg) {
    caller *c = arg;
    for (int i = 0; i < 300; i++) pool_run(c->p, 5, add_to_total, &c->j);
    return NULL;
}

static void callers_take_turns(void **state) {
    (void)state;
    static caller callers[3];
    pool *p = NULL;
    assert_int_equal(pool_create(3, &p, NULL), PGR_OK);
    shared_total = 0;
    for (int i = 0; i < 3; i++) {
        memset(&callers[i], 0, sizeof callers[i]);
        callers[i].p = p, callers[i].j.n_task = 5, callers[i].j.size = 3;
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < 3; i++) pthread_join(callers[i].thread, NULL);
    for (int i = 0; i < 3; i++)
        for (int t = 0; t < 5; t++) assert_int_equal(callers[i].j.ran[t], 300);
    assert_int_equal(shared_total, 900);
    pool_free(p);
}

static void counts_and_refuses(void **state) {
    (void)state;
    pool *p = NULL;
    pgr_error err;
    assert_true(cpu_count() >= 1);
    assert_int_equal(pool_size(NULL), 1);
    assert_int_equal(pool_create(0, &p, &err), PGR_OK);
    assert_int_equal(pool_size(p), cpu_count());
    pool_free(p);
    pool_free(NULL);
    p = NULL;
    assert_int_equal(pool_create(-1, &p, &err), PGR_E_ARG);
    assert_string_equal(err.message, "-1 threads, expected 0 (all cores) to 1024");
    assert_int_equal(pool_create(1025, &p, &err), PGR_E_ARG);
    assert_null(p);
}

/* ---- memory of a job ---- */

typedef struct memory_job {
    void *memory;
    size_t size;
} memory_job;

static void fill_part(void *ctx, size_t task, size_t worker) {
    (void)worker;
    memory_job *j = ctx;
    memset((char *)j->memory + task * j->size, (int)task, j->size);
}

static void jobs_have_memory(void **state) {
    (void)state;
    for (int n = 0; n < 4; n++) {
        pool *p = NULL;
        if (n) assert_int_equal(pool_create(n, &p, NULL), PGR_OK);
        for (size_t size = 1; size < 10000; size *= 7) {
            memory_job j = {.size = size};
            assert_int_equal(pool_run_in(p, 8, fill_part, &j, 8 * size, &j.memory), PGR_OK);
            if (p) assert_int_equal((uintptr_t)j.memory % 64, 0);
            for (size_t i = 0; p && i < 8 * size; i++) assert_int_equal(((unsigned char *)j.memory)[i], i / size);
        }
        if (p) { /* kept: the same or a smaller size allocates nothing */
            long before = mem_count();
            memory_job j = {.size = 100};
            assert_int_equal(pool_run_in(p, 8, fill_part, &j, 800, &j.memory), PGR_OK);
            assert_int_equal(mem_count(), before);
        }
        memory_job j = {.size = 0};
        mem_fail_from(1);
        assert_int_equal(pool_run_in(p, 8, run_task, NULL, 1 << 20, &j.memory), PGR_E_MEM); /* would crash if it ran */
        mem_fail_from(0);
        assert_int_equal(pool_run_in(p, 8, fill_part, &j, 1 << 20, &j.memory), PGR_OK);
        assert_int_equal(pool_run_in(p, 0, run_task, NULL, 1, &j.memory), PGR_OK);
        pool_free(p);
    }
}

static bool create_and_free(void) {
    pool *p = NULL;
    pgr_error err;
    pgr_status status = pool_create(2, &p, &err);
    if (status != PGR_OK) assert_int_equal(status, PGR_E_MEM);
    pool_free(p);
    return status == PGR_OK;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    assert_int_equal(fail_each_allocation(create_and_free), 2);
}

static void parts_are_nearly_equal(void **state) {
    (void)state;
    static const size_t N[] = {0, 1, 7, 48, 1000003}, PARTS[] = {1, 2, 3, 8, 61};
    for (size_t a = 0; a < 5; a++)
        for (size_t b = 0; b < 5; b++) {
            size_t n = N[a], k = PARTS[b];
            assert_int_equal(pool_part(n, k, 0), 0);
            assert_int_equal(pool_part(n, k, k), n);
            for (size_t i = 0; i < k; i++) {
                size_t size = pool_part(n, k, i + 1) - pool_part(n, k, i);
                assert_true(size == n / k || size == n / k + 1);
            }
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_every_task_once),        cmocka_unit_test(work_is_shared),
        cmocka_unit_test(callers_take_turns),          cmocka_unit_test(counts_and_refuses),
        cmocka_unit_test(survives_failed_allocations), cmocka_unit_test(jobs_have_memory),
        cmocka_unit_test(parts_are_nearly_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
