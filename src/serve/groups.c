/* groups.c - see groups.h. */
#include "serve/groups.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

struct group {
    waiter waiter; /* first */
    groups *all;
    group *next;
    char *name;
    int token; /* whose group it is */
    size_t size;
    question *members[GROUP_MOST]; /* (n) NULL: it left */
    size_t n;
    size_t n_empty; /* that have come and are not judged */
    double until;   /* it is collected until then */
    bool judged;    /* it is at the desk */
    desk_ticket ticket;
    desk *desk;
    pgr_request *request; /* of all of them */
    struct {              /* whose it was, and what it had */
        size_t member, n_response;
        const char *const *responses;
    } giver;
    known *user;               /* whose texts it may have; NULL: none */
    size_t places[GROUP_MOST]; /* of the members among its responses */
};

struct groups {
    group *first; /* that are collected */
};

groups *groups_create(void) {
    return mem_zero(1, sizeof(groups));
}

static void free_group(group *g) {
    pgr_request_free(g->request);
    known_drop(g->user);
    mem_free(g->name);
    mem_free(g);
}

void groups_free(groups *all) {
    for (group *g = all ? all->first : NULL, *next; g; g = next) { /* of empty responses alone */
        next = g->next;
        free_group(g);
    }
    mem_free(all);
}

/* No longer collected. */
static void close_group(group *g) {
    group **at = &g->all->first;
    while (*at != g) at = &(*at)->next;
    *at = g->next;
}

static size_t count_present(const group *g) {
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) n += g->members[i] != NULL;
    return n;
}

/* ---- judged ---- */

/* Every member gets its reward, or the error that all have. The group is gone then. */
static void end_group(group *g, const pgr_result *result, const pgr_error *why) {
    question *members[GROUP_MOST];
    size_t n = g->n;
    bool noted = !result;            /* its tokens, with one member's call */
    for (size_t i = 0; i < n; i++) { /* answering frees a call's questions, members of other calls stay */
        question *q = members[i] = g->members[i];
        if (!q) continue;
        q->in = NULL;
        q->way = REWARD_GROUP;
        if (!noted) call_note_tokens(q->of->task.call, result->prompt_tokens, result->completion_tokens);
        noted = true;
        if (result)
            q->unscored = reward_read(REWARD_GROUP, result, g->places[i], &q->reward, &q->error) != PGR_OK;
        else
            q->error = *why;
    }
    free_group(g);
    for (size_t i = 0; i < n; i++)
        if (members[i]) question_done(members[i]);
}

static void group_settled(waiter *w, desk_verdict *v) {
    group *g = (group *)w;
    end_group(g, v->result, &v->error);
    pgr_result_free(v->result);
}

/* The member whose request it was has it again, as it was: he may be held and join another time. */
static void give_request_back(group *g) {
    question *q = g->members[g->giver.member];
    if (!q) return;
    q->request = g->request;
    q->user = g->user;
    q->request->responses = g->giver.responses;
    q->request->n_response = g->giver.n_response;
    g->request = NULL;
    g->user = NULL;
}

static void group_refused(waiter *w, const char *why) {
    group *g = (group *)w;
    question *members[GROUP_MOST];
    size_t n = g->n;
    desk_cancel(g->desk, g->ticket);
    give_request_back(g);
    memcpy(members, g->members, sizeof members);
    for (size_t i = 0; i < n; i++) /* with the last one the group is gone */
        if (members[i]) asking_refuse(members[i]->of, why);
}

/* The first member's request with the responses of all of them. */
static pgr_status make_request(group *g, pgr_error *err) {
    const char **responses = NULL;
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) {
        question *q = g->members[i];
        if (!q) continue;
        if (!g->request) {
            g->request = q->request;
            g->user = q->user;
            g->giver.member = i;
            g->giver.responses = q->request->responses;
            g->giver.n_response = q->request->n_response;
            q->request = NULL;
            q->user = NULL;
            responses = arena_array(&g->request->arena, GROUP_MOST, sizeof *responses);
            if (!responses) return fail_mem(err);
        }
        const char *own = q->request ? q->request->responses[0] : g->request->responses[0];
        responses[n] = arena_strdup(&g->request->arena, own);
        if (!responses[n]) return fail_mem(err);
        g->places[i] = n++;
    }
    g->request->responses = responses;
    g->request->n_response = n;
    g->request->scalars = NULL;
    return PGR_OK;
}

static question *first_member(const group *g) {
    size_t i = 0;
    while (!g->members[i]) i++;
    return g->members[i];
}

static void judge_group(group *g) {
    pgr_error err = {0};
    question *q = first_member(g);
    close_group(g);
    g->judged = true;
    pgr_status s = make_request(g, &err);
    if (s == PGR_OK) s = question_submit(q, g->request, &g->waiter, &g->ticket, &err);
    if (s != PGR_OK) end_group(g, NULL, &err);
}

static void judge_alone(group *g) {
    question *q = first_member(g);
    close_group(g);
    q->in = NULL;
    if (q->way != REWARD_NONE) {
        free_group(g);
        question_alone(q);
        return;
    }
    if (g->n_empty + 1 == g->size)
        fail(&q->error, PGR_E_ARG, "group \"%.80s\": found 1 response of %zu that is not empty, expected at least 2",
             g->name, g->size);
    else
        fail(&q->error, PGR_E_DEADLINE,
             "group \"%.80s\": found 1 of %zu responses when its time to collect was over, expected at least 2",
             g->name, g->size);
    free_group(g);
    question_done(q);
}

/* Its time to collect is over, or all have come. */
static void stop_collecting(group *g) {
    size_t n = count_present(g);
    if (n > 1) {
        judge_group(g);
    } else if (n == 1) {
        judge_alone(g);
    } else {
        close_group(g);
        free_group(g);
    }
}

/* ---- collected ---- */

static bool same_text(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}

static bool same_prompt(const pgr_request *a, const pgr_request *b) {
    if (!same_text(a->user_id, b->user_id) || a->n_message != b->n_message) return false;
    for (size_t i = 0; i < a->n_message; i++)
        if (!same_text(a->messages[i].text, b->messages[i].text)) return false;
    return true;
}

static group *find(const groups *all, const question *q) {
    group *g = all->first;
    while (g && (g->token != q->of->grant->number || !same_text(g->name, q->group))) g = g->next;
    return g;
}

static group *create_group(groups *all, const question *q) {
    group *g = mem_zero(1, sizeof *g);
    char *name = mem_strdup(q->group);
    if (!g || !name) {
        mem_free(g);
        mem_free(name);
        return NULL;
    }
    double now = clock_now(), left = q->deadline - now;
    *g = (group){.waiter = {.settled = group_settled, .refused = group_refused},
                 .all = all,
                 .next = all->first,
                 .name = name,
                 .token = q->of->grant->number,
                 .size = q->group_size,
                 .desk = judges_desk(q->of->judges),
                 .until = now + (q->collect_s > 0 && q->collect_s < left ? q->collect_s : left / 2)};
    all->first = g;
    return g;
}

/* The group of the question's name, which it may be one of. */
static pgr_status take_group(groups *all, const question *q, group **out, pgr_error *err) {
    if (q->group_size < 2 || q->group_size > GROUP_MOST)
        return fail(err, PGR_E_ARG, "group_size: found %zu, expected 2 to %d", q->group_size, GROUP_MOST);
    group *g = find(all, q);
    if (!g) g = create_group(all, q);
    if (!g) return fail_mem(err);
    if (count_present(g) > 0) {
        if (g->size != q->group_size)
            return fail(err, PGR_E_ARG, "group \"%.80s\": found a group_size of %zu, expected %zu as it has begun",
                        g->name, q->group_size, g->size);
        if (!same_prompt(first_member(g)->request, q->request))
            return fail(err, PGR_E_ARG, "group \"%.80s\": found another prompt or user than it has begun with",
                        g->name);
    }
    *out = g;
    return PGR_OK;
}

static void look_if_whole(group *g) {
    if (count_present(g) + g->n_empty >= g->size) stop_collecting(g);
}

pgr_status group_pass(groups *all, question *q, pgr_error *err) {
    group *g = NULL;
    PGR_TRY(take_group(all, q, &g, err));
    g->n_empty++;
    look_if_whole(g);
    return PGR_OK;
}

pgr_status group_join(groups *all, question *q, pgr_error *err) {
    group *g = NULL;
    PGR_TRY(take_group(all, q, &g, err));
    size_t place = 0; /* of one who left, or the next one */
    while (place < g->n && g->members[place]) place++;
    if (place == g->n) g->n++;
    g->members[place] = q;
    q->in = g;
    look_if_whole(g);
    return PGR_OK;
}

void group_leave(question *q) {
    group *g = q->in;
    if (!g) return;
    q->in = NULL;
    for (size_t i = 0; i < g->n; i++)
        if (g->members[i] == q) g->members[i] = NULL;
    if (count_present(g) > 0) return;
    if (g->judged)
        desk_cancel(g->desk, g->ticket);
    else
        close_group(g);
    free_group(g);
}

bool groups_look(groups *all, double now) {
    for (group *g = all->first, *next; g; g = next) {
        next = g->next;
        if (now >= g->until) stop_collecting(g);
    }
    return all->first != NULL;
}
