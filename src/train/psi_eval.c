/* psi_eval.c - what was learnt, on users and queries that training never saw, beside the rules that know no model. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/loss.h"
#include "train/policy.h"
#include "train/psi.h"

enum { STREAM_EVAL_CHAIN = 90, CHAINS = 16, CHAIN_WORDS = 3, STRANGERS = 10 };

/* ---- readings ---- */

static void keep_taste(void *ctx, size_t i, const double *z, double *dz) {
    (void)dz;
    slot_softmax(z, N_TASTE, (double *)ctx + i * N_TASTE);
}

static pgr_status read_tastes(psi *p, train_run *r, const psi_shown *who, bool turned, double *out, pgr_error *err) {
    psi_items prompts = {0};
    pgr_status s = PGR_OK;
    for (size_t i = 0; s == PGR_OK && i < who->n; i++)
        s = psi_add_taste(p, who->set->pairs, who->shown + i * who->most, who->n_shown[i], turned, &prompts, err);
    if (s == PGR_OK) s = run_slots(r, prompts.list, prompts.n, keep_taste, out, false, err);
    for (size_t i = 0; turned && i < who->n; i++) taste_turn(out + i * N_TASTE);
    psi_items_free(&prompts);
    return s;
}

pgr_status psi_read_tastes(psi *p, train_run *r, const psi_shown *who, double *out, double *once, double *turned,
                           pgr_error *err) {
    size_t n = who->n * N_TASTE;
    double *readings = mem_zero(2 * n + 1, sizeof *readings), *back = readings + n;
    if (!readings) return fail_mem(err);
    pgr_status s = read_tastes(p, r, who, false, readings, err);
    if (s == PGR_OK) s = read_tastes(p, r, who, true, back, err);
    for (size_t i = 0; i < n; i++) {
        out[i] = (readings[i] + back[i]) / 2;
        if (once) once[i] = readings[i];
        if (turned) turned[i] = back[i];
    }
    mem_free(readings);
    return s;
}

typedef struct reading {
    const psi *p;
    psi_margin *out;
} reading;

/* Prompts 2 i and 2 i + 1 are of pair i, the chosen response first and second. */
static void keep_margin(void *ctx, size_t i, const double *z, double *dz) {
    reading *r = ctx;
    double p[N_DIGIT], e[2];
    (void)dz;
    for (size_t k = 0; k < 2; k++) {
        slot_softmax(z + k * N_DIGIT, N_DIGIT, p);
        e[k] = slot_expected(p, r->p->digits, N_DIGIT);
    }
    r->out[i / 2].of[i % 2] = e[i % 2] - e[1 - i % 2];
}

static pgr_status add_pair(psi *p, const psi_set *s, size_t row, psi_against against, psi_margin *m, psi_items *prompts,
                           pgr_error *err) {
    psi_text text;
    bool people = against == PSI_REJECTED_PEOPLE;
    PGR_TRY(psi_known(s, row, people, &prompts->arena, &text, err));
    if (people) PGR_TRY(psi_ask_people(p, &text, err));
    if (against == PSI_HARD) PGR_TRY(psi_hard_loser(p, text.pair, row, &prompts->arena, &text.loser, err));
    for (size_t k = 0; k < 2; k++) m->share[k] = people ? slots_people_percent(&text.people[k]) : 0;
    for (size_t k = 0; k < 2; k++) PGR_TRY(psi_add_quality(p, &text, k, prompts, err));
    return PGR_OK;
}

pgr_status psi_margins(psi *p, train_run *r, const psi_set *s, const size_t *pairs, size_t n, psi_against against,
                       psi_margin *out, pgr_error *err) {
    psi_items prompts = {0};
    reading keep = {p, out};
    pgr_status status = PGR_OK;
    for (size_t i = 0; status == PGR_OK && i < n; i++)
        status = add_pair(p, s, pairs[i], against, &out[i], &prompts, err);
    if (status == PGR_OK) status = run_slots(r, prompts.list, prompts.n, keep_margin, &keep, false, err);
    psi_items_free(&prompts);
    return status;
}

/* Held pairs; where a set has pairs that are never shown, these alone: its train rows may have been learnt from. */
static bool is_asked(const psi_set *s, size_t row, bool any) {
    const psi_user *u = &s->users[s->user[row]];
    return s->held[row] && (!any || row >= u->first + u->n);
}

size_t psi_held_pairs(const psi *p, const psi_set *s, size_t *out) {
    size_t held = 0, n = 0, seen = 0, most = p->o->eval_limit;
    bool any = false;
    for (size_t i = 0; i < s->n_user; i++) any = any || s->users[i].n_asked > 0;
    for (size_t i = 0; i < s->n_pair; i++) held += is_asked(s, i, any);
    for (size_t i = 0; i < s->n_pair && n < most; i++) {
        if (!is_asked(s, i, any)) continue;
        if (held <= most || seen * most / held >= n) out[n++] = i;
        seen++;
    }
    return n;
}

/* ---- taste ---- */

static double right(double margin) {
    return margin > 0 ? 1 : margin < 0 ? 0 : 0.5;
}

typedef struct taste_users {
    size_t *who; /* (n) indices of users */
    size_t n;
    size_t *shown;                        /* (n, most) */
    size_t *n_shown;                      /* (n) */
    size_t *asked;                        /* pairs asked of user i: asked[start[i]] .. */
    size_t *start;                        /* (n + 1) */
    double *own, *once, *turned, *target; /* (n, N_TASTE) */
    arena arena;
} taste_users;

/* Held users of whom something is left to ask, at most o->eval_limit, spread evenly. */
static size_t find_users(const psi *p, const psi_set *s, size_t *out) {
    size_t all = 0, n = 0, seen = 0, most = p->o->eval_limit;
    for (int pass = 0; pass < 2; pass++)
        for (size_t u = 0; u < s->n_user; u++) {
            const psi_user *x = &s->users[u];
            if (x->n == 0 || !s->held[x->first] || (x->n_asked == 0 && x->n < 2)) continue;
            if (pass == 0) {
                all++;
                continue;
            }
            if (n < most && (all <= most || seen * most / all >= n)) out[n++] = u;
            seen++;
        }
    return n;
}

static pgr_status ask_user(const psi *p, const psi_set *s, taste_users *t, size_t i, size_t *n_asked, pgr_error *err) {
    const psi_user *u = &s->users[t->who[i]];
    size_t most = p->o->eval_pairs, want = u->n_asked > 0 || most < u->n ? most : u->n - 1, n_rest;
    size_t *rest = arena_array(&t->arena, u->n + 1, sizeof *rest),
           *drawn = arena_array(&t->arena, u->n + 1, sizeof *rest);
    if (!rest || !drawn) return fail_mem(err);
    PGR_TRY(
        psi_draw_pairs(s, u, want, p->o->train.seed, (uint32_t)t->who[i], drawn, &t->n_shown[i], rest, &n_rest, err));
    memcpy(t->shown + i * most, drawn, t->n_shown[i] * sizeof *drawn);
    slots_target(s->pairs, drawn, t->n_shown[i], t->target + i * N_TASTE);
    for (size_t k = 0; u->n_asked > 0 && k < u->n_asked; k++) t->asked[(*n_asked)++] = u->first + u->n + k;
    for (size_t k = 0; u->n_asked == 0 && k < n_rest; k++) t->asked[(*n_asked)++] = rest[k];
    t->start[i + 1] = *n_asked;
    return PGR_OK;
}

static pgr_status choose_users(const psi *p, const psi_set *s, taste_users *t, pgr_error *err) {
    size_t limit = p->o->eval_limit + 1, most = p->o->eval_pairs + 1, n_asked = 0;
    t->who = arena_array(&t->arena, limit, sizeof *t->who);
    t->shown = arena_array(&t->arena, limit, most * sizeof *t->shown);
    t->n_shown = arena_array(&t->arena, limit, sizeof *t->n_shown);
    t->asked = arena_array(&t->arena, s->n_pair + 1, sizeof *t->asked);
    t->start = arena_array(&t->arena, limit + 1, sizeof *t->start);
    t->own = arena_array(&t->arena, limit, N_TASTE * sizeof *t->own);
    t->once = arena_array(&t->arena, limit, N_TASTE * sizeof *t->once);
    t->turned = arena_array(&t->arena, limit, N_TASTE * sizeof *t->turned);
    t->target = arena_array(&t->arena, limit, N_TASTE * sizeof *t->target);
    if (!t->who || !t->shown || !t->n_shown || !t->asked || !t->start || !t->own || !t->once || !t->turned
        || !t->target)
        return fail_mem(err);
    t->n = find_users(p, s, t->who);
    for (size_t i = 0; i < t->n; i++) PGR_TRY(ask_user(p, s, t, i, &n_asked, err));
    return PGR_OK;
}

/* The standard error of the mean of own over all pairs, clustered by user. */
static double clustered(const double *sum, const size_t *start, size_t n, double mean) {
    double ss = 0;
    for (size_t i = 0; i < n; i++) {
        double d = sum[i] - mean * (double)(start[i + 1] - start[i]);
        ss += d * d;
    }
    return sqrt(ss) / (double)start[n];
}

/* CHAINS chains of words from a reading, as cre draws them. */
static void draw_chains(const double *reading, size_t user, int *words) {
    rng random = {user, STREAM_EVAL_CHAIN, 0};
    for (size_t c = 0; c < CHAINS; c++) {
        double u[CHAIN_WORDS];
        for (size_t j = 0; j < CHAIN_WORDS; j++) u[j] = rng_next(&random);
        policy_draw(reading, N_TASTE, u, CHAIN_WORDS, words + c * CHAIN_WORDS);
    }
}

/* How often one of them is right. */
static double chains_right(const int *words, const double *level) {
    double hits = 0;
    for (size_t c = 0; c < CHAINS; c++) hits += right(policy_margin(words + c * CHAIN_WORDS, CHAIN_WORDS, level));
    return hits / CHAINS;
}

/* With the tastes of the users that follow, at most STRANGERS of them. */
static double strangers_right(const taste_users *t, size_t user, const double *level) {
    double hits = 0;
    size_t n = t->n > STRANGERS ? STRANGERS : t->n > 1 ? t->n - 1 : 1;
    for (size_t j = 1; j <= n; j++) hits += right(taste_margin(t->own + (user + j) % t->n * N_TASTE, level, N_FACT));
    return hits / (double)n;
}

static void put_taste(const psi_set *s, const taste_users *t, double *sums, metrics *m) {
    double own = 0, once = 0, chain = 0, stranger = 0, flipped = 0, rule = 0, agree = 0;
    double total = (double)t->start[t->n];
    int words[CHAINS * CHAIN_WORDS];
    for (size_t i = 0; i < t->n; i++) {
        draw_chains(t->own + i * N_TASTE, t->who[i], words);
        sums[i] = 0;
        for (size_t k = t->start[i]; k < t->start[i + 1]; k++) {
            const double *level = s->levels + t->asked[k] * N_FACT;
            double mine = right(taste_margin(t->own + i * N_TASTE, level, N_FACT));
            double teacher = right(taste_margin(t->target + i * N_TASTE, level, N_FACT));
            sums[i] += mine;
            chain += chains_right(words, level);
            stranger += strangers_right(t, i, level);
            once += right(taste_margin(t->once + i * N_TASTE, level, N_FACT));
            flipped += right(-taste_margin(t->turned + i * N_TASTE, level, N_FACT));
            rule += teacher;
            agree += 1 - fabs(mine - teacher);
        }
        own += sums[i];
    }
    metrics_put(m, "taste/own", own / total);
    metrics_put(m, "taste/own_se", clustered(sums, t->start, t->n, own / total));
    metrics_put(m, "taste/once", once / total);
    metrics_put(m, "taste/chain", chain / total);
    metrics_put(m, "taste/stranger", stranger / total);
    metrics_put(m, "taste/flipped", flipped / total);
    metrics_put(m, "taste/rule", rule / total);
    metrics_put(m, "taste/agree", agree / total);
    metrics_put(m, "taste/pairs", total);
}

static pgr_status evaluate_taste(psi *p, train_run *r, const psi_set *s, metrics *m, pgr_error *err) {
    taste_users t = {0};
    pgr_status status = choose_users(p, s, &t, err);
    psi_shown who = {s, t.shown, t.n_shown, p->o->eval_pairs, t.n};
    if (status == PGR_OK && t.n > 0) status = psi_read_tastes(p, r, &who, t.own, t.once, t.turned, err);
    double *sums = arena_array(&t.arena, t.n + 1, sizeof *sums);
    if (status == PGR_OK && !sums) status = fail_mem(err);
    if (status == PGR_OK && t.n > 0) put_taste(s, &t, sums, m);
    arena_free(&t.arena);
    return status;
}

/* ---- quality and views ---- */

static void put_quality(const psi *p, const psi_set *s, const size_t *pairs, const psi_margin *v, size_t n,
                        metrics *m) {
    double hits = 0, loss = 0, longest = 0, agree = 0, flips = 0, d;
    for (size_t i = 0; i < n; i++) {
        const preference_pair *pair = &s->pairs[pairs[i]];
        double margin = psi_margin_mean(&v[i]);
        double longer = right((double)strlen(pair->chosen) - (double)strlen(pair->rejected));
        hits += right(margin);
        loss += bradley_terry(margin, p->o->tau, &d);
        longest += longer;
        agree += 1 - fabs(right(margin) - longer);
        flips += v[i].of[0] * v[i].of[1] < 0;
    }
    metrics_put(m, "quality/accuracy", hits / (double)n);
    metrics_put(m, "quality/log_loss", loss / (double)n);
    metrics_put(m, "quality/longest", longest / (double)n);
    metrics_put(m, "quality/agree", agree / (double)n);
    metrics_put(m, "quality/flips", flips / (double)n);
    metrics_put(m, "quality/pairs", (double)n);
}

static void put_views(const psi *p, const psi_margin *v, size_t n, metrics *m) {
    double hits = 0, loss = 0, rule = 0, agree = 0, decided = 0, d;
    for (size_t i = 0; i < n; i++) {
        double margin = psi_margin_mean(&v[i]), count = v[i].share[0] - v[i].share[1];
        hits += right(margin);
        loss += bradley_terry(margin, p->o->tau, &d);
        rule += right(count);
        if (count == 0) continue;
        decided++;
        agree += 1 - fabs(right(margin) - right(count));
    }
    metrics_put(m, "views/accuracy", hits / (double)n);
    metrics_put(m, "views/log_loss", loss / (double)n);
    metrics_put(m, "views/rule", rule / (double)n);
    metrics_put(m, "views/agree", agree / decided);
    metrics_put(m, "views/ties", 1 - decided / (double)n);
    metrics_put(m, "views/pairs", (double)n);
}

/* How often an answer that nobody should win with is no worse than the chosen one. */
static double fooled(const psi_margin *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += 1 - right(psi_margin_mean(&v[i]));
    return sum / (double)n;
}

static pgr_status evaluate_text(psi *p, train_run *r, const psi_set *s, pgr_psi_kind kind, metrics *m, pgr_error *err) {
    size_t *pairs = mem_array(p->o->eval_limit + 1, sizeof *pairs);
    psi_margin *v = mem_zero(p->o->eval_limit + 1, sizeof *v);
    pgr_status status = pairs && v ? PGR_OK : fail_mem(err);
    size_t n = status == PGR_OK ? psi_held_pairs(p, s, pairs) : 0;
    if (n > 0)
        status = psi_margins(p, r, s, pairs, n, kind == PGR_PSI_VIEWS ? PSI_REJECTED_PEOPLE : PSI_REJECTED, v, err);
    if (status == PGR_OK && n > 0 && kind == PGR_PSI_QUALITY) put_quality(p, s, pairs, v, n, m);
    if (status == PGR_OK && n > 0 && kind == PGR_PSI_VIEWS) put_views(p, v, n, m);
    n = (n + 1) / 2; /* of losers that are mostly short */
    if (status == PGR_OK && n > 0 && kind == PGR_PSI_QUALITY) {
        status = psi_margins(p, r, s, pairs, n, PSI_HARD, v, err);
        if (status == PGR_OK) metrics_put(m, "quality/fooled", fooled(v, n));
    }
    mem_free(pairs);
    mem_free(v);
    return status;
}

pgr_status psi_evaluate(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    psi *p = ctx;
    for (pgr_psi_kind k = PGR_PSI_TASTE; k < PGR_PSI_KINDS; k++) {
        const psi_set *s = p->evals[k].n_pair > 0 ? &p->evals[k] : &p->sets[k];
        if (s->n_pair == 0) continue;
        PGR_TRY(k == PGR_PSI_TASTE ? evaluate_taste(p, r, s, m, err) : evaluate_text(p, r, s, k, m, err));
    }
    return PGR_OK;
}
