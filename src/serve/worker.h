/* worker.h - the one thread that owns the engine, and the tasks that it does. A task is what stands behind a call
 * (call.h) that cannot be answered at once: it asks the engine, or anyone who is pumped beside it, and answers its
 * call.
 *
 *     typedef struct greeting { task task; ...; } greeting;        the task is the first member
 *     static const task_kind GREETING = {.name = "greeting", .begin = begin, .event = event, .free = free_greeting};
 *     greeting *g = mem_zero(1, sizeof *g);
 *     g->task.kind = &GREETING;
 *     call_submit(c, &g->task);                  in the handler; from here on it is the worker's
 *
 * So many tasks are open at a time, waiting in the engine or running. One of a route with ROUTE_HELD that comes to a
 * full queue is held instead of being refused: nothing of it is begun until there is a place and it would be in time,
 * in the order of arrival and before newcomers, or until its deadline is near, when it is refused (429).
 *
 * All functions of a task's kind are called in the worker's thread, one at a time. */
#ifndef PGR_SERVE_WORKER_H
#define PGR_SERVE_WORKER_H

#include "infer/engine.h"

typedef struct worker worker;
typedef struct task task;
struct call;

typedef struct task_kind {
    const char *name;
    /* Asks for what it needs (task_ask). On error the call is answered with it, unless it has been, and the task has
     * ended. */
    pgr_status (*begin)(task *t, pgr_error *err);
    /* Something happened to a request of its task_ask; of INFER_ENDED the result is the task's (infer_result_free).
     * NULL: it asks the engine for nothing. */
    void (*event)(task *t, infer_event *event);
    /* Called at least every 50 ms or after every step, whichever is later, as long as the task is open: for deadlines
     * of its own. NULL: it has none. */
    void (*tick)(task *t, double now);
    /* Nobody waits any more: the client is gone, or the server stops. What it asked the engine is cancelled already;
     * what it began elsewhere (a desk) is to be cancelled here. No event comes any more; `free` follows. NULL: there is
     * nothing. */
    void (*cancel)(task *t);
    void (*free)(task *t); /* its own memory; the call is not its own */
    /* Of one that is held. When its first deadline is, by clock_now(); NULL: its call's. Whether it would be late if it
     * began behind `ahead` others that have not begun, either; NULL: never. */
    double (*deadline)(const task *t);
    bool (*late)(const task *t, double now, size_t ahead);
} task_kind;

struct task {
    const task_kind *kind; /* set by whoever makes it; all else is the worker's (call_submit) */
    bool may_wait;         /* it is held where others are refused */
    size_t n_byte;         /* what it keeps while it is held: its call's body */
    struct call *call;     /* answers are for it: call_reply and so on. Valid as long as the task */
    worker *worker;
    task *next;
    infer_ticket *tickets; /* (n_ticket) of what it asked and has not ended */
    size_t n_ticket, cap_ticket;
    bool begun, ended;
    bool held;       /* outside of the queue, or about to be */
    bool late;       /* it would have been, whenever there was a place */
    uint64_t number; /* in the order in which they came */
    double since, until; /* when it was held first, 0: never; when it is refused */
};

/* ---- for tasks, in the worker's thread ---- */

pgr_engine *worker_engine(worker *w); /* for counting, tokens, settings; requests go through task_ask */

/* engine_submit with the worker as owner and the task as tag; both are set here. On error nothing is asked. */
pgr_status task_ask(task *t, const infer_request *request, infer_ticket *out /* may be NULL */, pgr_error *err);

/* The call has its answer, or will never have one: what the task still asks of the engine is cancelled, and it is freed
 * when the function that is running has returned. From its own functions and from pumps; twice is once. */
void task_end(task *t);

/* A task that may wait gives up its place and is held until it would be in time; then its `begin` is called again. What
 * it asked the engine is cancelled. From its own functions and from pumps. False: it may not, or no more are held. */
bool task_hold(task *t);

/* Another one who works on the same engine, with an owner of its own for what it submits. After every step of the
 * engine, and at least every 50 ms as long as a task is open, pump(ctx) is called to take its events and do what
 * follows; it returns whether it has something that an engine's step or another pump brings on (false: the worker may
 * sleep). Before worker_run. At most WORKER_PUMPS. */
enum { WORKER_PUMPS = 8 };
typedef bool (*worker_pump_fn)(void *ctx);
void worker_add_pump(worker *w, worker_pump_fn pump, void *ctx);

/* ---- for the server ---- */

/* max_queue: tasks that are open at a time, waiting and running ones together. max_held, max_held_bytes: those that are
 * held beside them. */
pgr_status worker_create(size_t max_queue, size_t max_held, size_t max_held_bytes, worker **out, pgr_error *err);
void worker_free(worker *w); /* after worker_run; NULL is fine */

/* Takes a place among the open tasks or, for one that may wait, the held ones, in any thread. False: there is none. It
 * is given back when the task, which worker_put must follow with, has ended. */
bool worker_admit(worker *w, task *t);
void worker_put(worker *w, task *t, struct call *c); /* keeps the call (call_keep) until the task is freed */
void worker_wake(worker *w); /* something changed: a client is gone. Any thread */

/* Does the tasks on this engine, in the thread that calls, until *cancel is set; then calls stopping(ctx) and does
 * those that are open for drain_s seconds more; what is open after that is cancelled and answered with 503. Then
 * nothing is left in the engine that the worker asked. */
void worker_run(worker *w, pgr_engine *e, const pgr_cancel *cancel, double drain_s,
                void (*stopping)(void *ctx), void *ctx);

typedef struct worker_load {
    size_t n_open, max_open; /* tasks */
    uint64_t n_ended;        /* tasks, since the start */
    double since_s;          /* what the first of the open ones has waited */
    double rate;             /* tasks that end in a second, while some are open; 0: not known yet */
    engine_load engine;      /* as it was after the last step */
    size_t n_held, max_held, n_held_bytes; /* tasks, and their bodies */
    double held_since_s;                   /* what the first of the held ones has waited */
    uint64_t n_was_held;                   /* that are held no more, since the start */
    double was_held_s;                     /* all of them together */
} worker_load;

worker_load worker_state(worker *w); /* any thread */

/* When to come again to a full queue: as long as half of what is open, and all that is held, takes at the rate so far,
 * 1 to 60 seconds. */
unsigned worker_wait_s(const worker_load *load);

#endif
