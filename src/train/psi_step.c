/* psi_step.c - one update: some users' tastes, or some rows' responses. Which, and which ones, follows from the seed,
 * the step and the positions in the data alone. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/loss.h"
#include "train/psi.h"

enum { STREAM_KIND = 1, STREAM_COUNT, STREAM_HARD, STREAM_ORDER, STREAM_TURN };

pgr_psi_kind psi_kind_at(const psi *p, uint64_t step) {
    double u = rng_uniform(p->o->train.seed, STREAM_KIND, (uint32_t)(step >> 32), (uint32_t)step), sum = 0;
    pgr_psi_kind last = PGR_PSI_TASTE;
    for (pgr_psi_kind k = PGR_PSI_TASTE; k < PGR_PSI_KINDS; k++) {
        if (p->share[k] <= 0) continue;
        last = k;
        sum += p->share[k];
        if (u < sum) return k;
    }
    return last; /* the shares sum to 1 but for rounding */
}

/* ---- taste ---- */

typedef struct taste_step {
    const pgr_psi_options *o;
    const taste_batch *users;
    size_t n_pair;
    double ce, bt, right, margin, rule;
} taste_step;

static void taste_loss(void *ctx, size_t i, const double *z, double *dz) {
    taste_step *t = ctx;
    const taste_item *item = &t->users->items[i];
    double p[N_TASTE], right, margin, each = 1 / (double)t->users->n;
    slot_softmax(z, N_TASTE, p);
    t->ce += slot_cross_entropy(p, item->target, N_TASTE, t->o->ce * each, dz);
    t->bt += taste_pairs_loss(p, item->levels, item->n, N_FACT, t->o->tau, t->o->bt * each, dz, &right, &margin);
    t->right += right;
    t->margin += margin * each;
    for (size_t k = 0; k < item->n; k++) {
        double m = taste_margin(item->target, item->levels + k * N_FACT, N_FACT);
        t->rule += m > 0 ? 1 : m < 0 ? 0 : 0.5;
    }
    t->n_pair += item->n;
}

/* Somebody who chose the other text every time: he likes the opposite. */
static void turn_item(taste_item *item) {
    taste_turn(item->target);
    for (size_t i = 0; i < item->n * N_FACT; i++) item->levels[i] = -item->levels[i];
}

static pgr_status draw_user(psi *p, train_run *r, psi_items *prompts, taste_item *item, pgr_error *err) {
    psi_set *s = &p->sets[PGR_PSI_TASTE];
    uint64_t position = r->state.position[PGR_PSI_TASTE]++;
    uint32_t low = (uint32_t)position, high = (uint32_t)(position >> 32);
    const psi_user *u = &s->users[psi_set_draw(s, position)];
    size_t least = p->o->pairs_min, most = p->o->pairs_max < u->n - 2 ? p->o->pairs_max : u->n - 2;
    size_t want = least + (size_t)(rng_uniform(p->o->train.seed, STREAM_COUNT, high, low) * (double)(most - least + 1));
    size_t *shown = arena_array(&prompts->arena, u->n, sizeof *shown), n, n_rest;
    size_t *rest = arena_array(&prompts->arena, u->n, sizeof *rest);
    if (!shown || !rest) return fail_mem(err);
    PGR_TRY(psi_draw_pairs(s, u, want, p->o->train.seed, low, shown, &n, rest, &n_rest, err));
    *item = (taste_item){.user = u, .position = position, .n = n_rest};
    item->levels = arena_array(&prompts->arena, n_rest, N_FACT * sizeof *item->levels);
    if (!item->levels) return fail_mem(err);
    for (size_t i = 0; i < n_rest; i++)
        memcpy(item->levels + i * N_FACT, s->levels + rest[i] * N_FACT, N_FACT * sizeof *item->levels);
    slots_target(s->pairs, shown, n, item->target);
    item->turned = rng_uniform(p->o->train.seed, STREAM_TURN, high, low) < p->o->turned;
    if (item->turned) turn_item(item);
    return psi_add_taste(p, s->pairs, shown, n, item->turned, prompts, err);
}

pgr_status taste_draw(psi *p, train_run *r, taste_batch *out, pgr_error *err) {
    *out = (taste_batch){.n = p->o->users};
    out->items = arena_array(&out->prompts.arena, out->n, sizeof *out->items);
    if (!out->items) return fail_mem(err);
    for (size_t i = 0; i < out->n; i++) PGR_TRY(draw_user(p, r, &out->prompts, &out->items[i], err));
    return PGR_OK;
}

void taste_free(taste_batch *b) {
    psi_items_free(&b->prompts);
    *b = (taste_batch){0};
}

static pgr_status step_taste(psi *p, train_run *r, metrics *m, pgr_error *err) {
    taste_batch users;
    taste_step t = {.o = p->o, .users = &users};
    pgr_status s = taste_draw(p, r, &users, err);
    if (s == PGR_OK) s = run_slots(r, users.prompts.list, users.prompts.n, taste_loss, &t, true, err);
    m->loss = t.ce + t.bt;
    m->lr = p->o->taste_lr;
    m->tokens = users.prompts.tokens;
    metrics_put(m, "ce", t.ce / p->o->ce);
    metrics_put(m, "bt", t.bt / p->o->bt);
    metrics_put(m, "accuracy", t.right / (double)t.n_pair);
    metrics_put(m, "rule", t.rule / (double)t.n_pair);
    metrics_put(m, "margin", t.margin);
    taste_free(&users);
    return s;
}

/* ---- quality and views ---- */

typedef struct text_step {
    const psi *p;
    size_t n;
    size_t *place;            /* (n) of the chosen response */
    people_view (*people)[2]; /* (n) by place; of views */
    double loss, right, margin;
} text_step;

/* The teacher of a slot behind a line that says a share: the digit 1 + 8 share, its two neighbours in proportion. */
static void share_target(double share, double out[N_DIGIT]) {
    double at = share * (N_DIGIT - 1);
    size_t low = (size_t)fmin(floor(at), N_DIGIT - 2);
    memset(out, 0, N_DIGIT * sizeof *out);
    out[low] = 1 - (at - (double)low);
    out[low + 1] = at - (double)low;
}

static double share_loss(const text_step *t, const people_view *who, const double p[N_DIGIT], double *dz) {
    double target[N_DIGIT];
    if (who->chose + who->rejected == 0) return 0; /* no line says it */
    share_target(who->share, target);
    return slot_cross_entropy(p, target, N_DIGIT, t->p->o->views_ce / (double)(2 * t->n), dz);
}

static void text_loss(void *ctx, size_t i, const double *z, double *dz) {
    text_step *t = ctx;
    double p[2][N_DIGIT], e[2], d, dp[N_DIGIT], each = 1 / (double)t->n;
    for (size_t k = 0; k < 2; k++) {
        slot_softmax(z + k * N_DIGIT, N_DIGIT, p[k]);
        e[k] = slot_expected(p[k], t->p->digits, N_DIGIT);
    }
    double margin = e[t->place[i]] - e[1 - t->place[i]];
    t->loss += each * bradley_terry(margin, t->p->o->tau, &d);
    for (size_t k = 0; k < 2; k++) {
        double sign = k == t->place[i] ? 1 : -1;
        for (size_t j = 0; j < N_DIGIT; j++) dp[j] = each * sign * d * t->p->digits[j];
        slot_backward(p[k], dp, N_DIGIT, dz + k * N_DIGIT);
        if (t->people) t->loss += share_loss(t, &t->people[i][k], p[k], dz + k * N_DIGIT);
    }
    t->right += each * (margin > 0 ? 1 : margin < 0 ? 0 : 0.5);
    t->margin += each * margin;
}

static pgr_status draw_text(psi *p, train_run *r, pgr_psi_kind kind, psi_items *prompts, text_step *t, pgr_error *err) {
    psi_set *s = &p->sets[kind];
    uint64_t position = r->state.position[kind]++;
    uint32_t low = (uint32_t)position, high = (uint32_t)(position >> 32);
    size_t row = psi_set_draw(s, position);
    psi_text text;
    PGR_TRY(psi_known(s, row, kind == PGR_PSI_VIEWS, &prompts->arena, &text, err));
    if (kind == PGR_PSI_VIEWS)
        PGR_TRY(psi_ask_people(p, &text, err));
    else if (rng_uniform(p->o->train.seed, STREAM_HARD, high, low) < p->o->hard)
        PGR_TRY(psi_hard_loser(p, text.pair, position, &prompts->arena, &text.loser, err));
    size_t first = rng_uniform(p->o->train.seed, STREAM_ORDER + (uint32_t)kind, high, low) < 0.5;
    for (size_t k = 0; k < (p->o->one_order ? 1 : 2); k++) {
        size_t place = t->place[prompts->n] = k == 0 ? first : 1 - first;
        for (size_t j = 0; t->people && j < 2; j++) t->people[prompts->n][j == 0 ? place : 1 - place] = text.people[j];
        PGR_TRY(psi_add_quality(p, &text, place, prompts, err));
    }
    return PGR_OK;
}

static pgr_status step_text(psi *p, train_run *r, pgr_psi_kind kind, metrics *m, pgr_error *err) {
    psi_items prompts = {0};
    text_step t = {.p = p};
    size_t n = p->o->train.batch;
    bool views = kind == PGR_PSI_VIEWS;
    t.place = arena_array(&prompts.arena, 2 * n, sizeof *t.place);
    if (views) t.people = arena_array(&prompts.arena, 2 * n, sizeof *t.people);
    pgr_status s = t.place && (t.people || !views) ? PGR_OK : fail_mem(err);
    for (size_t i = 0; s == PGR_OK && i < n; i++) s = draw_text(p, r, kind, &prompts, &t, err);
    t.n = prompts.n;
    if (s == PGR_OK) s = run_slots(r, prompts.list, prompts.n, text_loss, &t, true, err);
    m->loss = t.loss;
    m->lr = p->o->train.lr;
    m->tokens = prompts.tokens;
    metrics_put(m, "accuracy", t.right);
    metrics_put(m, "margin", t.margin);
    psi_items_free(&prompts);
    return s;
}

pgr_status psi_step(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    static const char *const names[] = {"taste", "quality", "views"};
    psi *p = ctx;
    pgr_psi_kind kind = psi_kind_at(p, r->state.step);
    m->kind = names[kind];
    bool supervised = p->o->stage == PGR_STAGE_PSI;
    pgr_status s = kind != PGR_PSI_TASTE ? step_text(p, r, kind, m, err)
                   : supervised          ? step_taste(p, r, m, err)
                                         : step_cre(p, r, m, err);
    if (s == PGR_OK) m->epoch = (double)r->state.position[kind] / (double)p->sets[kind].n_order;
    return s;
}
