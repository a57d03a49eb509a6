/* worker.h - the one thread that owns the engine, and the tasks that it does. A task is what stands behind a call
 * (call.h) that cannot be answered at once: it asks the engine, or anyone who is pumped beside it, and answers its
 * call.
 *
 *     typedef struct greeting { task task; ...; } greeting;        the task is the first member
 *     static const task_kind GREETING = {"greeting", begin, event, NULL, NULL, free_greeting};
 *     greeting *g = mem_zero(1, sizeof *g);
 *     g->task.kind = &GREETING;
 *     call_submit(c, &g->task);                  in the handler; from here on it is the worker's
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
} task_kind;

struct task {
    const task_kind *kind; /* set by whoever makes it; all else is the worker's */
    struct call *call;     /* answers are for it: call_reply and so on. Valid as long as the task */
    worker *worker;
    task *next;
    infer_ticket *tickets; /* (n_ticket) of what it asked and has not ended */
    size_t n_ticket, cap_ticket;
    bool begun, ended;
};

/* ---- for tasks, in the worker's thread ---- */

pgr_engine *worker_engine(worker *w); /* for counting, tokens, settings; requests go through task_ask */

/* engine_submit with the worker as owner and the task as tag; both are set here. On error nothing is asked. */
pgr_status task_ask(task *t, const infer_request *request, infer_ticket *out /* may be NULL */, pgr_error *err);

/* The call has its answer, or will never have one: what the task still asks of the engine is cancelled, and it is freed
 * when the function that is running has returned. From its own functions and from pumps; twice is once. */
void task_end(task *t);

/* Another one who works on the same engine, with an owner of its own for what it submits. After every step of the
 * engine, and at least every 50 ms as long as a task is open, pump(ctx) is called to take its events and do what
 * follows; it returns whether it has something that an engine's step or another pump brings on (false: the worker may
 * sleep). Before worker_run. At most WORKER_PUMPS. */
enum { WORKER_PUMPS = 8 };
typedef bool (*worker_pump_fn)(void *ctx);
void worker_add_pump(worker *w, worker_pump_fn pump, void *ctx);

/* ---- for the server ---- */

/* max_queue: tasks that are open at a time, waiting and running ones together. */
pgr_status worker_create(size_t max_queue, worker **out, pgr_error *err);
void worker_free(worker *w); /* after worker_run; NULL is fine */

/* Takes a place among the open tasks, in any thread. False: there is none. A place is given back by worker_put's task
 * when it has ended, or by worker_leave. */
bool worker_admit(worker *w);
void worker_leave(worker *w);
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
} worker_load;

worker_load worker_state(worker *w); /* any thread */

/* When to come again to a full queue: as long as half of what is open takes at the rate so far, 1 to 60 seconds. */
unsigned worker_wait_s(const worker_load *load);

#endif
