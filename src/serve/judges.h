/* judges.h - the judging side of a server: one desk (judge/desk.h) on the worker's engine, the users' store for
 * reading, and the calls that are answered when all that they ask of the desk has its verdict.
 *
 *     asking *a = asking_create(c, n, answer);              in the handler: NULL: it has been answered
 *     a->list[i].request = ...                              one per request; what it points to is the question's
 *     call_submit(c, &a->task);
 *     static void answer(asking *a) { ... a->list[i].result or .error ... call_reply(a->task.call, ...); }
 *
 * A question may be of one response alone, which has no rival in its request: then rivals are found for it (reward.h),
 * and what it gets is a reward. */
#ifndef PGR_SERVE_JUDGES_H
#define PGR_SERVE_JUDGES_H

#include "judge/desk.h"
#include "serve/known.h"
#include "serve/reward.h"
#include "serve/server.h"
#include "user/store.h"

typedef struct asking asking;
typedef struct judges judges;
typedef struct group group; /* groups.h */

/* What stands behind a ticket of the desk: its tag points to one of these, the first member of whoever waits. */
typedef struct waiter {
    void (*settled)(struct waiter *w, desk_verdict *v); /* takes the result */
    void (*refused)(struct waiter *w, const char *why); /* it waits and would be late: its calls are refused */
    double deadline; /* by clock_now(), from question_submit on */
    bool whole;      /* it is worth nothing before it is settled; else what there is at its deadline is an answer */
} waiter;

typedef struct question {
    waiter waiter;             /* first */
    asking *of;
    pgr_request *request;      /* its own */
    known *user;               /* whose texts the request may have; NULL: none */
    pgr_judge_options options; /* the server's to begin with; people, deadline and progress are filled in */
    double deadline;           /* by clock_now(); 0: the call's */
    void (*news)(struct question *q, const desk_news *n); /* what is known of it at work, in the worker's thread; NULL:
                                                           * nobody listens */
    reward_way way;            /* REWARD_NONE: the result is asked for, or (with a group) there is no way alone */
    char *group;               /* its name, its own: it is judged with the others of it; NULL: none */
    size_t group_size;
    double collect_s;          /* it waits for the others so long; 0: half of its time */
    /* when it is done: */
    bool done;
    pgr_result *result; /* of REWARD_NONE; NULL: the error says why there is none */
    reward reward;      /* of the others, where the error's status is PGR_OK */
    bool paired;        /* its request has the rivals of REWARD_HISTORY */
    bool given;         /* the label said it: the response is empty, and nobody judges it */
    pgr_error error;
    bool unscored;      /* it was judged, and has no score */
    /* until then: */
    desk_ticket ticket;
    group *in;
} question;

struct asking {
    task task;
    judges *judges;
    const grant *grant; /* the call's */
    question *list;     /* (n) */
    size_t n, n_begun, n_done;
    bool answered;
    void (*answer)(asking *a); /* in the worker's thread, once; NULL results have errors */
    json_t *kept;              /* what `answer` needs; may be NULL */
    double sent;               /* of one that streams: when its last piece was */
    bool streams, lost;        /* nobody reads it, or not fast enough: it ends at the next tick */
    known *users;              /* of the store, that were asked for so far */
};

/* A piece of its stream, which begins with the first one (call_stream); the buffer is taken. For `news` and
 * `answer`. */
void asking_send(asking *a, buf *piece);

asking *asking_create(call *c, size_t n, void (*answer)(asking *a));
void asking_drop(asking *a); /* instead of call_submit; NULL is fine */
/* The first error of its questions; NULL: none has one. */
const pgr_error *asking_error(const asking *a, size_t *which);

/* Its request from JSON (docs/requests.md), to which `origin` is the name: messages and responses of at most twice what
 * a prompt may have (text_most). And whether the call may ask for its user: else it has been answered with 403. */
pgr_status question_read(question *q, const json_t *top, const char *origin, pgr_error *err);
bool question_may(const question *q, call *c);

/* The question has what it waited for: result, reward or error. */
void question_done(question *q);
/* The request at the server's desk with the question's settings and within its grant, for w. */
pgr_status question_submit(question *q, const pgr_request *request, waiter *w, desk_ticket *out, pgr_error *err);
/* The whole call would be late: it is held where it may be and nothing of it is at work, else answered with 429. Twice
 * is once. */
void asking_refuse(asking *a, const char *why);

/* Judged by its own way, without others. */
void question_alone(question *q);

/* Opened before the server's worker runs, with what it serves; the desk's errors show with the calls. */
pgr_status judges_open(pgr_server *s, judges **out, pgr_error *err);
void judges_stop(judges *j); /* when the worker has ended: what it was given is the caller's again */
void judges_free(judges *j); /* when no handler runs any more; NULL is fine */
desk *judges_desk(judges *j);
struct clerk *judges_clerk(judges *j); /* NULL: the server has no store */
/* Why this server cannot judge; NULL: it can. Any thread. */
const char *judges_why_not(const judges *j);

#endif
