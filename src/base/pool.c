/* pool.c - worker threads that spin a little, then sleep.
 *
 * One job is open at a time. `job` is its number: odd while tasks may be claimed, even between jobs. A worker joins by
 * raising `active` and then checking that the job is still the one it saw; the caller closes the job and then waits for
 * `active` to be 0. So a worker that wakes late costs nothing, and nobody reads fn, ctx or n_task while they change.
 * The pairs (active, job), (n_asleep, job) and (caller_asleep, active) are each "write mine, then read yours" on both
 * sides, which needs sequentially consistent atomics: one of the two always sees the other. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { THREAD_MAX = 1024 };
#define SPIN_S 40e-6 /* more than the gap between two kernels of a forward pass, less than a wake-up is worth */

typedef struct worker {
    pool *p;
    size_t index;
    pthread_t thread;
} worker;

struct pool {
    size_t size;     /* threads with the caller */
    bool spin;       /* there is a core for everyone */
    worker *workers; /* (size - 1) */
    size_t n_started;

    pthread_mutex_t run_lock; /* held by the caller whose job it is */
    pool_fn fn;               /* the three are written by the caller while no job is open */
    void *ctx;
    size_t n_task;
    void *memory; /* (memory_size) for jobs that need some; covered by run_lock */
    size_t memory_size;

    pthread_mutex_t lock; /* for sleeping only */
    pthread_cond_t wake, done;
    _Alignas(64) atomic_uint_fast64_t job;
    atomic_bool stop;
    atomic_size_t n_asleep;
    atomic_bool caller_asleep;
    _Alignas(64) atomic_size_t next; /* the task to be claimed next */
    _Alignas(64) atomic_size_t active;
};

void pool_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static void claim_tasks(pool *p, size_t worker_index) {
    for (;;) {
        size_t t = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (t >= p->n_task) return;
        p->fn(p->ctx, t, worker_index);
    }
}

/* Something for a worker that has seen job `seen` to do? */
static bool has_news(pool *p, uint_fast64_t seen) {
    uint_fast64_t job = atomic_load(&p->job);
    return (job != seen && job % 2 == 1) || atomic_load(&p->stop);
}

static bool has_rest(pool *p, uint_fast64_t unused) {
    (void)unused;
    return atomic_load(&p->active) == 0;
}

/* True once ready() is; false after SPIN_S. */
static bool spin_until(pool *p, bool (*ready)(pool *, uint_fast64_t), uint_fast64_t arg) {
    if (ready(p, arg)) return true;
    if (!p->spin) return false;
    double end = clock_now() + SPIN_S;
    do {
        for (int i = 0; i < 16; i++) {
            if (ready(p, arg)) return true;
            pool_pause();
        }
    } while (clock_now() < end);
    return false;
}

static void wait_for_news(pool *p, uint_fast64_t seen) {
    if (spin_until(p, has_news, seen)) return;
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_asleep, 1);
    while (!has_news(p, seen)) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->n_asleep, 1);
    pthread_mutex_unlock(&p->lock);
}

static void wait_for_workers(pool *p) {
    if (spin_until(p, has_rest, 0)) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_asleep, true);
    while (!has_rest(p, 0)) pthread_cond_wait(&p->done, &p->lock);
    atomic_store(&p->caller_asleep, false);
    pthread_mutex_unlock(&p->lock);
}

static void leave_job(pool *p) {
    if (atomic_fetch_sub(&p->active, 1) != 1 || !atomic_load(&p->caller_asleep)) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->done);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    pool *p = w->p;
    uint_fast64_t seen = 0;
    for (;;) {
        wait_for_news(p, seen);
        if (atomic_load(&p->stop)) return NULL;
        seen = atomic_load(&p->job);
        if (seen % 2 == 0) continue;
        atomic_fetch_add(&p->active, 1);
        if (atomic_load(&p->job) == seen) claim_tasks(p, w->index);
        leave_job(p);
    }
}

static void wake_workers(pool *p, size_t n) {
    size_t asleep = atomic_load(&p->n_asleep);
    if (asleep == 0) return;
    pthread_mutex_lock(&p->lock);
    if (n >= asleep)
        pthread_cond_broadcast(&p->wake);
    else
        for (size_t i = 0; i < n; i++) pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

/* run_lock is held. */
static void run_job(pool *p, size_t n_task, pool_fn fn, void *ctx) {
    if (p->size == 1 || n_task == 1) {
        for (size_t t = 0; t < n_task; t++) fn(ctx, t, 0);
        return;
    }
    p->fn = fn, p->ctx = ctx, p->n_task = n_task;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_fetch_add(&p->job, 1); /* open */
    wake_workers(p, n_task - 1);
    claim_tasks(p, 0);
    atomic_fetch_add(&p->job, 1); /* closed */
    wait_for_workers(p);
}

void pool_run(pool *p, size_t n_task, pool_fn fn, void *ctx) {
    if (n_task == 0) return;
    if (!p) {
        for (size_t t = 0; t < n_task; t++) fn(ctx, t, 0);
        return;
    }
    pthread_mutex_lock(&p->run_lock); /* for a single task too: worker 0 is one at a time */
    run_job(p, n_task, fn, ctx);
    pthread_mutex_unlock(&p->run_lock);
}

/* run_lock is held. */
static bool make_room(pool *p, size_t size) {
    if (size <= p->memory_size) return true;
    void *memory = mem_huge(size);
    if (!memory) return false;
    mem_free(p->memory);
    p->memory = memory, p->memory_size = size;
    return true;
}

pgr_status pool_run_in(pool *p, size_t n_task, pool_fn fn, void *ctx, size_t size, void **memory) {
    if (n_task == 0) return PGR_OK;
    if (!p) {
        void *own = mem_aligned(size, 64);
        if (!own) return PGR_E_MEM;
        *memory = own;
        pool_run(NULL, n_task, fn, ctx);
        mem_free(own);
        return PGR_OK;
    }
    pthread_mutex_lock(&p->run_lock);
    bool room = make_room(p, size);
    if (room) {
        *memory = p->memory;
        run_job(p, n_task, fn, ctx);
    }
    pthread_mutex_unlock(&p->run_lock);
    return room ? PGR_OK : PGR_E_MEM;
}

/* Signals are the caller's business: workers start with all of them blocked. */
static int start_workers(pool *p) {
    sigset_t all, old;
    int bad = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (!bad && p->n_started < p->size - 1) {
        worker *w = &p->workers[p->n_started];
        *w = (worker){.p = p, .index = p->n_started + 1};
        bad = pthread_create(&w->thread, NULL, worker_main, w);
        if (!bad) p->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return bad;
}

pgr_status pool_create(int n_thread, pool **out, pgr_error *err) {
    if (n_thread < 0 || n_thread > THREAD_MAX)
        return fail(err, PGR_E_ARG, "%d threads, expected 0 (all cores) to %d", n_thread, THREAD_MAX);
    int cores = cpu_count();
    if (n_thread == 0) n_thread = cores < THREAD_MAX ? cores : THREAD_MAX;

    pool *p = mem_aligned(sizeof *p, _Alignof(struct pool));
    if (!p) return fail_mem(err);
    memset(p, 0, sizeof *p);
    p->size = (size_t)n_thread;
    p->spin = n_thread <= cores;
    pthread_mutex_init(&p->run_lock, NULL); /* with default attributes these cannot fail on Linux */
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    p->workers = mem_zero(p->size, sizeof *p->workers);
    if (!p->workers) {
        pool_free(p);
        return fail_mem(err);
    }
    int bad = start_workers(p);
    if (bad) {
        char text[128];
        size_t n = p->n_started;
        pool_free(p);
        return fail(err, PGR_E_LIMIT, "only %zu of %d threads could be started: %s", n + 1, n_thread,
                    strerror_r(bad, text, sizeof text));
    }
    *out = p;
    return PGR_OK;
}

void pool_free(pool *p) {
    if (!p) return;
    atomic_store(&p->stop, true);
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->n_started; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->run_lock);
    mem_free(p->workers);
    mem_free(p->memory);
    mem_free(p);
}

size_t pool_part(size_t n, size_t n_part, size_t i) {
    return n / n_part * i + n % n_part * i / n_part;
}

size_t pool_size(const pool *p) {
    return p ? p->size : 1;
}

int cpu_count(void) {
    cpu_set_t set; /* the cores that this process may use */
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? n : 1;
}
