/* worker.c - the loop over tasks, engine and pumps; see worker.h. */
#include "serve/worker.h"

#include <math.h>
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "serve/call.h"

enum { BEGIN_MOST = 64 }; /* tasks that are begun between two steps, so that those that run go on */
static const double NAP_S = 0.05;
static const double RATE_S = 20; /* what ended before counts e times less */
/* What is held is refused this share of its whole time before its deadline, at most this long before it. */
static const double NEAR = 0.05, NEAR_S = 1;

typedef struct task_list {
    task *first, **end;
} task_list;

struct worker {
    pthread_mutex_t lock; /* of all down to published */
    pthread_cond_t news;
    task_list put; /* not seen by the loop yet */
    size_t n_open, max_open;
    size_t n_held, max_held, n_held_bytes, max_held_bytes;
    bool crowded; /* a held one would be in time, and has no place: newcomers have none, either */
    uint64_t n_ended;
    bool awake, closed;
    worker_load published;
    /* of the loop's thread alone */
    pgr_engine *e;
    task *open; /* in the order in which they were let in */
    task *held; /* in the order in which they came */
    uint64_t n_come;
    bool stops;
    double looked, busy, recent; /* when tasks were dropped last; seconds with open ones, and tasks that ended, faded */
    struct pump {
        worker_pump_fn fn;
        void *ctx;
    } pumps[WORKER_PUMPS];
    size_t n_pump;
};

pgr_status worker_create(size_t max_queue, size_t max_held, size_t max_held_bytes, worker **out, pgr_error *err) {
    worker *w = mem_zero(1, sizeof *w);
    if (!w) return fail_mem(err);
    pthread_condattr_t by;
    pthread_condattr_init(&by);
    pthread_condattr_setclock(&by, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->news, &by);
    pthread_condattr_destroy(&by);
    w->put.end = &w->put.first;
    w->max_open = max_queue;
    w->max_held = max_held;
    w->max_held_bytes = max_held_bytes;
    *out = w;
    return PGR_OK;
}

void worker_add_pump(worker *w, worker_pump_fn pump, void *ctx) {
    PGR_ASSERT(w->n_pump < WORKER_PUMPS);
    w->pumps[w->n_pump++] = (struct pump){pump, ctx};
}

pgr_engine *worker_engine(worker *w) {
    return w->e;
}

/* ---- any thread ---- */

/* With the lock. */
static bool take_held_place(worker *w, const task *t) {
    if (!t->may_wait || w->n_held >= w->max_held || t->n_byte > w->max_held_bytes - w->n_held_bytes) return false;
    w->n_held++;
    w->n_held_bytes += t->n_byte;
    return true;
}

/* Held ones that could begin go before newcomers; behind those that could not, one that may wait is held, too, and
 * looked at with them. */
bool worker_admit(worker *w, task *t) {
    pthread_mutex_lock(&w->lock);
    bool room = w->n_open < w->max_open && !w->crowded && !w->closed;
    t->held = !w->closed && (!room || w->n_held > 0) && take_held_place(w, t);
    w->n_open += room && !t->held;
    w->crowded = w->crowded || (t->held && !room);
    pthread_mutex_unlock(&w->lock);
    return room || t->held;
}

static void free_task(task *t) {
    call *c = t->call;
    mem_free(t->tickets);
    t->kind->free(t);
    call_release(c);
}

static void refuse_task(task *t) {
    call_fail(t->call, 503, "server_error", NULL, "stopping", "the server stops");
    free_task(t);
}

void worker_put(worker *w, task *t, struct call *c) {
    call_keep(c);
    t->worker = w;
    t->call = c;
    t->next = NULL;
    pthread_mutex_lock(&w->lock);
    bool closed = w->closed;
    if (!closed) {
        *w->put.end = t;
        w->put.end = &t->next;
        w->awake = true;
        pthread_cond_signal(&w->news);
    }
    pthread_mutex_unlock(&w->lock);
    if (closed) refuse_task(t); /* the loop ended since it was admitted */
}

void worker_wake(worker *w) {
    pthread_mutex_lock(&w->lock);
    w->awake = true;
    pthread_cond_signal(&w->news);
    pthread_mutex_unlock(&w->lock);
}

worker_load worker_state(worker *w) {
    pthread_mutex_lock(&w->lock);
    worker_load now = w->published;
    now.n_open = w->n_open;
    now.max_open = w->max_open;
    now.n_ended = w->n_ended;
    now.n_held = w->n_held;
    now.max_held = w->max_held;
    now.n_held_bytes = w->n_held_bytes;
    pthread_mutex_unlock(&w->lock);
    return now;
}

/* ---- a task ---- */

pgr_status task_ask(task *t, const infer_request *request, infer_ticket *out, pgr_error *err) {
    if (t->n_ticket == t->cap_ticket) {
        size_t cap = t->cap_ticket ? 2 * t->cap_ticket : 4;
        infer_ticket *tickets = mem_resize(t->tickets, cap * sizeof *tickets);
        if (!tickets) return fail_mem(err);
        t->tickets = tickets;
        t->cap_ticket = cap;
    }
    infer_request mine = *request;
    infer_ticket ticket;
    mine.owner = t->worker;
    mine.tag = t;
    PGR_TRY(engine_submit(t->worker->e, &mine, &ticket, err));
    t->tickets[t->n_ticket++] = ticket;
    if (out) *out = ticket;
    return PGR_OK;
}

static void forget_ticket(task *t, infer_ticket ticket) {
    for (size_t i = 0; i < t->n_ticket; i++)
        if (t->tickets[i] == ticket) t->tickets[i--] = t->tickets[--t->n_ticket];
}

void task_end(task *t) {
    for (size_t i = 0; i < t->n_ticket; i++) engine_cancel(t->worker->e, t->tickets[i]);
    t->n_ticket = 0;
    t->ended = true;
}

bool task_hold(task *t) {
    worker *w = t->worker;
    if (t->held || t->ended) return t->held;
    pthread_mutex_lock(&w->lock);
    t->held = !w->stops && take_held_place(w, t);
    w->n_open -= t->held;
    pthread_mutex_unlock(&w->lock);
    if (!t->held) return false;
    task_end(t);
    t->begun = t->ended = false;
    t->late = true;
    return true;
}

static void cancel_task(task *t) {
    bool told = t->begun && !t->ended && t->kind->cancel;
    task_end(t);
    if (told) t->kind->cancel(t);
}

static void begin_task(task *t) {
    pgr_error err = {0};
    t->begun = true;
    if (t->kind->begin(t, &err) == PGR_OK) return;
    call_fail_error(t->call, &err);
    task_end(t);
}

/* ---- the loop ---- */

static task **end_of(task **list) {
    while (*list) list = &(*list)->next;
    return list;
}

/* Returns the new end. */
static task **append(task **end, task *t) {
    t->next = NULL;
    *end = t;
    return &t->next;
}

static void hold(worker *w, task *t) {
    task **at = &w->held;
    while (*at && (*at)->number < t->number) at = &(*at)->next;
    t->next = *at;
    *at = t;
    if (t->since > 0) return;
    double start = call_start(t->call), deadline = t->kind->deadline ? t->kind->deadline(t) : call_deadline(t->call);
    t->since = clock_now();
    t->until = deadline - fmin(NEAR_S, NEAR * (deadline - start));
}

static void take_new(worker *w) {
    pthread_mutex_lock(&w->lock);
    task *t = w->put.first, *next;
    w->put = (task_list){NULL, &w->put.first};
    pthread_mutex_unlock(&w->lock);
    for (task **end = end_of(&w->open); t; t = next) {
        next = t->next;
        t->number = w->n_come++;
        if (t->held)
            hold(w, t);
        else
            end = append(end, t);
    }
}

/* Begins what is new, tells the time to what is open, drops what nobody waits for. Returns whether some have not been
 * begun. */
static bool look_at_tasks(worker *w, double now) {
    size_t n_begun = 0;
    for (task *t = w->open; t; t = t->next) {
        if (t->ended || t->held) continue;
        if (call_gone(t->call)) {
            cancel_task(t);
        } else if (!t->begun) {
            if (n_begun++ == BEGIN_MOST) return true;
            begin_task(t);
        } else if (t->kind->tick) {
            t->kind->tick(t, now);
        }
    }
    return false;
}

static void take_events(worker *w) {
    infer_event event;
    while (engine_take(w->e, w, &event)) {
        task *t = event.tag;
        if (event.kind == INFER_ENDED) forget_ticket(t, event.ticket);
        PGR_ASSERT(!t->ended && t->kind->event);
        t->kind->event(t, &event);
    }
}

/* Time without open tasks does not count: it says nothing of how fast they end. */
static double note_rate(worker *w, size_t n_ended, bool was_busy) {
    double now = clock_now(), dt = w->looked > 0 && was_busy ? now - w->looked : 0, fade = exp(-dt / RATE_S);
    w->looked = now;
    w->busy = w->busy * fade + dt;
    w->recent = w->recent * fade + (double)n_ended;
    return w->busy > 0 ? w->recent / w->busy : 0;
}

unsigned worker_wait_s(const worker_load *load) {
    double ahead = (double)load->n_open / 2 + (double)load->n_held;
    double s = load->rate > 0 ? ahead / load->rate : load->since_s;
    return s < 1 ? 1 : s > 60 ? 60 : (unsigned)ceil(s);
}

static void drop_ended(worker *w) {
    size_t n = 0;
    bool was_busy = w->open != NULL;
    for (task **at = &w->open, *t; (t = *at);) {
        if (!t->ended && !t->held) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        n += !t->held;
        if (t->held)
            hold(w, t);
        else
            free_task(t);
    }
    double rate = note_rate(w, n, was_busy);
    pthread_mutex_lock(&w->lock);
    w->n_open -= n;
    w->n_ended += n;
    w->published.rate = rate;
    w->published.engine = engine_state(w->e);
    w->published.since_s = w->open ? clock_now() - call_start(w->open->call) : 0;
    pthread_mutex_unlock(&w->lock);
}

/* ---- those that are held ---- */

static bool take_place(worker *w) {
    pthread_mutex_lock(&w->lock);
    bool room = w->n_open < w->max_open;
    w->n_open += room;
    pthread_mutex_unlock(&w->lock);
    return room;
}

static void refuse_held(const worker *w, task *t) {
    double waited = clock_now() - t->since;
    if (t->late)
        call_fail(t->call, 429, "rate_limit_error", NULL, "too_late",
                  "it has waited for %.3g s, and what is ahead of it takes longer than its deadline leaves", waited);
    else
        call_fail(t->call, 429, "rate_limit_error", NULL, "queue_full",
                  "%zu requests wait or run, as many as may, and it has waited for %.3g s", w->max_open, waited);
    free_task(t);
}

/* Nobody waits for it, or no longer: it is gone. */
static bool give_up(worker *w, task *t, double now) {
    if (call_gone(t->call))
        free_task(t);
    else if (w->stops)
        refuse_task(t);
    else if (now >= t->until)
        refuse_held(w, t);
    else
        return false;
    return true;
}

static void note_held(worker *w, size_t n, size_t n_byte, double seconds, bool crowded) {
    pthread_mutex_lock(&w->lock);
    w->n_held -= n;
    w->n_held_bytes -= n_byte;
    w->crowded = crowded;
    w->published.n_was_held += n;
    w->published.was_held_s += seconds;
    w->published.held_since_s = w->held ? clock_now() - w->held->since : 0;
    pthread_mutex_unlock(&w->lock);
}

/* Lets in whoever would be in time as far as there are places, drops whoever waits no longer. Returns whether some were
 * let in. */
static bool look_at_held(worker *w, double now) {
    size_t n = 0, n_byte = 0, n_ahead = 0, n_in = 0;
    double seconds = 0;
    bool crowded = false;
    for (const task *t = w->held ? w->open : NULL; t; t = t->next) n_ahead += !t->begun;
    for (task **at = &w->held, **end = end_of(&w->open), *t; (t = *at);) {
        task *next = t->next;
        size_t own = t->n_byte;
        double waited = now - t->since;
        if (!give_up(w, t, now)) {
            if (!crowded) t->late = t->kind->late && t->kind->late(t, now, n_ahead + n_in);
            crowded = crowded || (!t->late && !take_place(w));
            if (crowded || t->late) {
                at = &t->next;
                continue;
            }
            t->held = false;
            end = append(end, t);
            n_in++;
        }
        *at = next;
        n++;
        n_byte += own;
        seconds += waited;
    }
    note_held(w, n, n_byte, seconds, crowded);
    return n_in > 0;
}

/* One round. Returns whether the next one has something to do at once. */
static bool go_round(worker *w) {
    take_new(w);
    bool busy = look_at_tasks(w, clock_now());
    busy |= engine_step(w->e);
    take_events(w);
    for (size_t i = 0; i < w->n_pump; i++) busy |= w->pumps[i].fn(w->pumps[i].ctx);
    drop_ended(w);
    return look_at_held(w, clock_now()) || busy;
}

static void nap(worker *w) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(NAP_S * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&w->lock);
    int late = 0;
    while (!w->awake && late == 0) late = pthread_cond_timedwait(&w->news, &w->lock, &until);
    w->awake = false;
    pthread_mutex_unlock(&w->lock);
}

static void cancel_all(worker *w) {
    pthread_mutex_lock(&w->lock);
    w->closed = true;
    pthread_mutex_unlock(&w->lock);
    take_new(w);
    for (task *t = w->open; t; t = t->next) {
        if (t->ended) continue;
        call_fail(t->call, 503, "server_error", NULL, "stopping", "the server stops");
        cancel_task(t);
    }
    drop_ended(w);
    w->stops = true;
    look_at_held(w, clock_now());
}

void worker_run(worker *w, pgr_engine *e, const pgr_cancel *cancel, double drain_s, void (*stopping)(void *ctx),
                void *ctx) {
    double stop = 0; /* when what is open then ends; 0: not asked to yet */
    w->e = e;
    for (;;) {
        bool busy = go_round(w);
        if (stop == 0 && __atomic_load_n(cancel, __ATOMIC_RELAXED)) {
            stop = clock_now() + drain_s;
            stopping(ctx);
            w->stops = true; /* nothing is held any more */
        }
        if (stop > 0 && (clock_now() >= stop || worker_state(w).n_open == 0)) break;
        if (!busy) nap(w);
    }
    cancel_all(w);
    w->e = NULL;
}

void worker_free(worker *w) {
    if (!w) return;
    for (task *t = w->put.first, *next; t; t = next) { /* it never ran */
        next = t->next;
        refuse_task(t);
    }
    pthread_cond_destroy(&w->news);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}
