/* judges.c - calls that ask the desk; see judges.h. */
#include "serve/judges.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "serve/admission.h"
#include "serve/clerk.h"
#include "serve/groups.h"

static const double QUIET_S = 3; /* a stream that has sent nothing for so long sends a comment */
static const double LATE_S = 1;  /* from one look for what would be late to the next */
enum { BEGIN_MOST = 16 };        /* questions of a call that are begun between two steps: each reads the store */

struct judges {
    const pgr_serving *what;
    pgr_judge_options options;
    desk *desk; /* NULL: `why` */
    pgr_error why;
    pgr_store *store; /* to read; NULL: none */
    size_t n_ctx;
    clerk *clerk;
    groups *groups;
    admission admission;
    desk_load load; /* as it was when the desk was pumped last */
    double refused; /* when was last looked for what would be late */
};

desk *judges_desk(judges *j) {
    return j->desk;
}

clerk *judges_clerk(judges *j) {
    return j->clerk;
}

const char *judges_why_not(const judges *j) {
    return j->why.status == PGR_OK ? NULL : j->why.message;
}

/* ---- a question -------------------------------------------------------------------------------------------------- */

/* A judge shortens what is too long for a prompt, but has to read it first. */
static pgr_status check_length(const pgr_request *r, const char *origin, size_t most, pgr_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_message; i++) n += strlen(r->messages[i].text);
    for (size_t i = 0; i < r->n_response; i++) n += strlen(r->responses[i]);
    if (n <= most) return PGR_OK;
    return fail(err, PGR_E_LIMIT, "%s: found %zu bytes of messages and responses, expected at most %zu", origin, n,
                most);
}

pgr_status question_read(question *q, const json_t *top, const char *origin, pgr_error *err) {
    buf text = {0};
    if (!top) return fail_mem(err);
    json_put(&text, top, JSON_COMPACT);
    pgr_status s = text.failed ? fail_mem(err) : pgr_request_parse(text.data, text.n, origin, &q->request, err);
    buf_free(&text);
    return s == PGR_OK ? check_length(q->request, origin, 2 * text_most(q->of->judges->n_ctx), err) : s;
}

bool question_may(const question *q, call *c) {
    return !*q->request->user_id || call_may(c, q->request->user_id);
}

void question_done(question *q) {
    asking *a = q->of;
    PGR_ASSERT(!q->done);
    q->done = true;
    q->ticket = 0;
    if (++a->n_done < a->n || a->answered) return;
    a->answered = true;
    a->answer(a);
    task_end(&a->task);
}

static void question_fail(question *q, const pgr_error *why) {
    q->error = *why;
    question_done(q);
}

static void question_settled(waiter *w, desk_verdict *v) {
    question *q = (question *)w;
    q->error = v->error;
    if (q->way == REWARD_NONE) {
        q->result = v->result;
    } else if (v->result) {
        q->unscored = reward_read(q->way, v->result, 0, &q->reward, &q->error) != PGR_OK;
        call_note_tokens(q->of->task.call, v->result->prompt_tokens, v->result->completion_tokens);
        pgr_result_free(v->result);
    }
    question_done(q);
}

static void question_news(void *ctx, const desk_news *n) {
    question *q = ctx;
    q->news(q, n);
}

static void question_refused(waiter *w, const char *why) {
    asking_refuse(((question *)w)->of, why);
}

pgr_status question_submit(question *q, const pgr_request *request, waiter *w, desk_ticket *out, pgr_error *err) {
    judges *j = q->of->judges;
    w->deadline = q->deadline;
    w->whole = q->way != REWARD_NONE || q->group;
    double left = q->deadline - clock_now();
    q->options.people = j->what->people;
    q->options.deadline_s = left > 1e-6 ? left : 1e-6;
    q->options.watch = (pgr_watch){0};
    desk_ask ask = {.request = request, .options = &q->options, .scope = q->of->grant->scope, .tag = w};
    if (q->news) {
        ask.news = question_news;
        ask.news_ctx = q;
    }
    return desk_submit(j->desk, &ask, out, err);
}

void question_alone(question *q) {
    pgr_error err = {0};
    pgr_status s = q->way == REWARD_HISTORY && !q->paired ? reward_take_rivals(q->request, &err) : PGR_OK;
    q->paired = true;
    if (s == PGR_OK) s = question_submit(q, q->request, &q->waiter, &q->ticket, &err);
    if (s != PGR_OK) question_fail(q, &err);
}

static pgr_status question_complete(question *q, pgr_error *err) {
    asking *a = q->of;
    bool read;
    if (!a->judges->store || !q->request->user_id[0] || q->request->n_history > 0 || q->user) return PGR_OK;
    PGR_TRY(known_find(&a->users, a->judges->store, q->request->user_id, &q->user, &read, err));
    if (read) metrics_count_read(call_server(a->task.call)->metrics);
    return q->user->there ? store_complete_request(q->request, &q->user->user, err) : PGR_OK;
}

static void question_begin(question *q) {
    judges *j = q->of->judges;
    pgr_error err = {0};
    q->waiter = (waiter){.settled = question_settled, .refused = question_refused};
    if (q->deadline <= 0) q->deadline = call_deadline(q->of->task.call);
    pgr_status s = question_complete(q, &err);
    if (s == PGR_OK && q->given) {
        if (q->group) s = group_pass(j->groups, q, &err);
        if (s == PGR_OK) question_done(q);
    } else if (s == PGR_OK && q->group) {
        s = group_join(j->groups, q, &err);
    } else if (s == PGR_OK) {
        question_alone(q);
        return;
    }
    if (s != PGR_OK) question_fail(q, &err);
}

static void question_free(question *q) {
    group_leave(q);
    if (q->ticket) desk_cancel(q->of->judges->desk, q->ticket);
    pgr_request_free(q->request);
    known_drop(q->user);
    pgr_result_free(q->result);
    mem_free(q->group);
}

/* ---- a call ------------------------------------------------------------------------------------------------------ */

static void asking_go_on(asking *a) {
    for (size_t i = 0; i < BEGIN_MOST && a->n_begun < a->n; i++) {
        question *q = &a->list[a->n_begun++];
        if (!q->done) question_begin(q);
    }
    if (a->n_begun < a->n) worker_wake(a->task.worker);
}

static void asking_cancel(task *t);

typedef struct own_look {
    const asking *a;
    size_t n;
} own_look;

static bool count_own(void *ctx, void *tag, size_t ahead) {
    own_look *look = ctx;
    const waiter *w = tag;
    (void)ahead;
    look->n += w->settled == question_settled && ((const question *)w)->of == look->a;
    return false;
}

/* Nothing of it is at work: what it has asked waits at the desk. Of a call of several it is not known whether its
 * groups do. */
static bool all_waits(const asking *a) {
    own_look look = {a, 0};
    size_t n_ticket = 0;
    for (size_t i = 0; i < a->n; i++) {
        if (a->list[i].in && a->n > 1) return false;
        n_ticket += a->list[i].ticket != 0;
    }
    if (n_ticket > 0) desk_find(a->judges->desk, count_own, &look);
    return look.n == n_ticket;
}

/* It is held, and begins again later with what is not done. False: it is at work, may not be held, or no more are. */
static bool asking_hold(asking *a) {
    if (a->task.held) return true;
    if (!a->task.may_wait || !all_waits(a) || !task_hold(&a->task)) return false;
    asking_cancel(&a->task);
    a->n_begun = 0;
    return true;
}

static double asking_deadline(const task *t) {
    const asking *a = (const asking *)t;
    double first = call_deadline(t->call);
    for (size_t i = 0; i < a->n; i++) {
        double own = a->list[i].deadline;
        if (own > 0 && (i == 0 || own < first)) first = own;
    }
    return first;
}

/* Behind all that is there: it has waited long enough to be told that it is in time. */
static bool asking_late(const task *t, double now, size_t ahead) {
    const asking *a = (const asking *)t;
    ahead += a->judges->load.n_waiting + a->judges->load.n_at_work;
    return ahead > 0 && admission_late(&a->judges->admission, now, asking_deadline(t), ahead + a->n - 1);
}

void asking_refuse(asking *a, const char *why) {
    if (a->answered || asking_hold(a)) return;
    a->answered = true;
    call_fail(a->task.call, 429, "rate_limit_error", NULL, "too_late", "%s", why);
    task_end(&a->task);
    asking_cancel(&a->task);
}

/* Asks that begin before one behind `ahead` that wait, or (whole) end before it; where nothing waits there is room. */
static size_t count_ahead(const desk_load *load, size_t ahead, bool whole) {
    return ahead > 0 && whole ? ahead + load->n_at_work : ahead;
}

static void say_late(const judges *j, size_t ahead, double left, char *out, size_t n) {
    snprintf(out, n, "%zu requests are ahead, which take about %.3g s, and its deadline is in %.3g s", ahead,
             admission_seconds(&j->admission, ahead), left);
}

/* Behind what waits already it would be late. */
static bool is_too_late(const asking *a, char *why, size_t n_why) {
    const question *last = a->list + a->n - 1;
    double now = clock_now(), deadline = last->deadline > 0 ? last->deadline : call_deadline(a->task.call);
    desk_load load = desk_state(a->judges->desk);
    size_t ahead = count_ahead(&load, load.n_waiting, last->way != REWARD_NONE || last->group);
    if (!admission_late(&a->judges->admission, now, deadline, ahead)) return false;
    say_late(a->judges, ahead, deadline - now, why, n_why);
    return true;
}

static pgr_status asking_begin(task *t, pgr_error *err) {
    asking *a = (asking *)t;
    char why[160];
    (void)err;
    if (is_too_late(a, why, sizeof why))
        asking_refuse(a, why);
    else
        asking_go_on(a);
    return PGR_OK;
}

void asking_send(asking *a, buf *piece) {
    call *c = a->task.call;
    if (!a->streams) call_stream(c);
    a->streams = true;
    a->sent = clock_now();
    if (piece->failed && !a->lost) call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
    if (a->lost || piece->failed || !call_send(c, piece->data, piece->n)) a->lost = true;
    buf_free(piece);
}

static void asking_tick(task *t, double now) {
    asking *a = (asking *)t;
    if (a->streams && !a->lost && now - a->sent >= QUIET_S) {
        buf piece = {0};
        buf_puts(&piece, ": waiting\n\n");
        asking_send(a, &piece);
    }
    if (!a->lost) {
        asking_go_on(a);
        return;
    }
    call_end(t->call);
    task_end(t);
    asking_cancel(t);
}

static void asking_free(task *t) {
    asking *a = (asking *)t;
    for (size_t i = 0; i < a->n; i++) question_free(&a->list[i]);
    known_drop_all(a->users);
    json_decref(a->kept);
    mem_free(a->list);
    mem_free(a);
}

/* The desk and the groups forget it at once: the task is freed later. */
static void asking_cancel(task *t) {
    asking *a = (asking *)t;
    for (size_t i = 0; i < a->n; i++) {
        group_leave(&a->list[i]);
        if (a->list[i].ticket) desk_cancel(a->judges->desk, a->list[i].ticket);
        a->list[i].ticket = 0;
    }
}

static const task_kind ASKING = {.name = "asking",
                                 .begin = asking_begin,
                                 .tick = asking_tick,
                                 .cancel = asking_cancel,
                                 .free = asking_free,
                                 .deadline = asking_deadline,
                                 .late = asking_late};

asking *asking_create(call *c, size_t n, void (*answer)(asking *a)) {
    judges *j = call_server(c)->judges;
    if (judges_why_not(j)) {
        call_fail(c, 501, "server_error", NULL, "cannot_judge", "%s", judges_why_not(j));
        return NULL;
    }
    asking *a = mem_zero(1, sizeof *a);
    question *list = mem_zero(n + 1, sizeof *list);
    if (!a || !list) {
        mem_free(a);
        mem_free(list);
        pgr_error err;
        fail_mem(&err);
        call_fail_error(c, &err);
        return NULL;
    }
    *a = (asking){
        .task = {.kind = &ASKING}, .judges = j, .grant = call_grant(c), .list = list, .n = n, .answer = answer};
    for (size_t i = 0; i < n; i++) {
        list[i].of = a;
        list[i].options = j->options;
    }
    return a;
}

void asking_drop(asking *a) {
    if (a) asking_free(&a->task);
}

const pgr_error *asking_error(const asking *a, size_t *which) {
    for (size_t i = 0; i < a->n; i++) {
        if (a->list[i].error.status == PGR_OK) continue;
        *which = i;
        return &a->list[i].error;
    }
    return NULL;
}

/* ---- of a server ------------------------------------------------------------------------------------------------- */

typedef struct late_look {
    const judges *j;
    double now;
    desk_load load;
    size_t ahead; /* of the one that is late */
} late_look;

static bool would_be_late(void *ctx, void *tag, size_t ahead) {
    late_look *look = ctx;
    const waiter *w = tag;
    look->ahead = count_ahead(&look->load, ahead, w->whole);
    return admission_late(&look->j->admission, look->now, w->deadline, look->ahead);
}

/* Those that wait and would be late are told: whoever asks can come again, or ask another server. */
static void refuse_late(judges *j, double now) {
    late_look look = {j, now, desk_state(j->desk), 0};
    waiter *w;
    j->refused = now;
    while ((w = desk_find(j->desk, would_be_late, &look))) {
        char why[160];
        say_late(j, look.ahead, w->deadline - now, why, sizeof why);
        w->refused(w, why);
    }
}

static bool judges_pump(void *ctx) {
    judges *j = ctx;
    desk_verdict v;
    size_t n_settled = 0;
    if (!j->desk) return false;
    double now = clock_now();
    groups_look(j->groups, now);
    bool busy = desk_pump(j->desk);
    for (; desk_take(j->desk, &v); n_settled++) {
        waiter *w = v.tag;
        w->settled(w, &v);
    }
    bool waits = desk_state(j->desk).n_waiting > 0;
    admission_look(&j->admission, now, n_settled, waits);
    if (waits && now - j->refused >= LATE_S) refuse_late(j, now);
    j->load = desk_state(j->desk);
    return busy || j->load.n_waiting > 0;
}

static pgr_status open_parts(judges *j, pgr_server *s, pgr_error *err) {
    const pgr_serving *what = &s->what;
    j->what = what;
    j->options = what->judge ? *what->judge : pgr_judge_options_default();
    j->options.people = what->people;
    j->options.judged = NULL;
    j->n_ctx = engine_about(what->engine)->n_ctx;
    if (desk_open(what->engine, &j->options, 0, &j->desk, &j->why) != PGR_OK && j->why.status == PGR_E_MEM)
        return fail_mem(err);
    j->groups = groups_create();
    if (!j->groups) return fail_mem(err);
    if (what->store) {
        PGR_TRY(clerk_open(what->store, what->protos, &j->clerk, err));
        PGR_TRY(pgr_store_open(what->store, PGR_STORE_READ, &j->store, err));
    }
    worker_add_pump(s->worker, judges_pump, j);
    return PGR_OK;
}

pgr_status judges_open(pgr_server *s, judges **out, pgr_error *err) {
    judges *j = mem_zero(1, sizeof *j);
    if (!j) return fail_mem(err);
    pgr_status status = open_parts(j, s, err);
    if (status == PGR_OK) *out = j;
    if (status != PGR_OK) {
        judges_stop(j);
        judges_free(j);
    }
    return status;
}

void judges_stop(judges *j) {
    clerk_close(j->clerk);
    pgr_store_close(j->store);
    groups_free(j->groups);
    desk_close(j->desk);
}

void judges_free(judges *j) {
    mem_free(j);
}
