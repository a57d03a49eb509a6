/* synth.c - draws the truth, the users and their choices. Every user has random numbers of his own, so that more users
 * or rows change nothing in those before. */
#include "bench/synth.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"

enum { MAIN_FACTS = 2, SHIFT_FACTS = 1 }; /* facts of a taste, and of a change to it */
enum { STREAM_PROMPTS = 1, STREAM_TRUTH, STREAM_SPREAD, STREAM_USERS };
enum { SPREAD_PAIRS = 4000, TRIES = 32 };
static const double LIMIT = 3; /* standard deviations of a difference: more is not noticed */

void synth_free(synth *s) {
    mem_free(s->users);
    mem_free(s->rows);
    *s = (synth){0};
}

static void difference(const facts *a, const facts *b, double z[N_FACT]) {
    for (int f = 0; f < N_FACT; f++) z[f] = fmax(-LIMIT, fmin(LIMIT, (a->v[f] - b->v[f]) / fact_sd(f)));
}

void synth_difference(const synth *s, const synth_row *row, double z[N_FACT]) {
    difference(&s->texts->responses[row->chosen].facts, &s->texts->responses[row->rejected].facts, z);
}

/* ---- what the texts differ in ---------------------------------------------------------------------------------- */

typedef struct spread {
    double noticed[N_FACT];            /* mean |difference| of two responses to a query */
    double covariance[N_FACT][N_FACT]; /* of the differences, whose mean is 0 */
} spread;

static void draw_pair(const synth_texts *t, size_t prompt, rng *g, size_t pair[2]) {
    const synth_prompt *p = &t->prompts[prompt];
    size_t a = rng_below(g, p->n), b = rng_below(g, p->n - 1);
    pair[0] = p->first + a;
    pair[1] = p->first + (b < a ? b : b + 1);
}

static void measure_spread(const synth_texts *t, uint64_t seed, spread *out) {
    rng g = {.seed = seed, .stream = STREAM_SPREAD};
    *out = (spread){0};
    for (size_t i = 0; i < SPREAD_PAIRS; i++) {
        size_t pair[2];
        double z[N_FACT];
        draw_pair(t, rng_below(&g, t->n_prompt), &g, pair);
        difference(&t->responses[pair[0]].facts, &t->responses[pair[1]].facts, z);
        for (int f = 0; f < N_FACT; f++) {
            out->noticed[f] += fabs(z[f]) / SPREAD_PAIRS;
            for (int h = 0; h < N_FACT; h++) out->covariance[f][h] += z[f] * z[h] / SPREAD_PAIRS;
        }
    }
}

/* ---- truth ----------------------------------------------------------------------------------------------------- */

/* A taste: n different facts, those that texts differ in more often, weighted 0.5 to 1.5 either way, of length 1. */
static void draw_taste(const spread *sp, int n, rng *g, double w[N_FACT]) {
    double left[N_FACT], length = 0;
    memcpy(left, sp->noticed, sizeof left);
    memset(w, 0, N_FACT * sizeof *w);
    for (int i = 0; i < n; i++) {
        double total = 0, sum = 0;
        for (int f = 0; f < N_FACT; f++) total += left[f];
        double at = rng_next(g) * total;
        int f = 0;
        while (f + 1 < N_FACT && (sum += left[f]) <= at) f++;
        double sign = rng_next(g) < .5 ? -1 : 1;
        w[f] = sign * (.5 + rng_next(g));
        left[f] = 0;
        length += w[f] * w[f];
    }
    for (int f = 0; f < N_FACT; f++) w[f] /= sqrt(length);
}

typedef struct truth {
    spread spread;
    double common[N_FACT];
    double (*base)[N_FACT];                  /* (K) mean over known users' 0: what all share is in common */
    double (*scenario)[SYNTH_KINDS][N_FACT]; /* (K) */
} truth;

/* The last prototypes are those that are held out: their bases stay as they are drawn, or what is common to the others
 * would be the opposite of theirs. */
static void draw_prototypes(truth *t, const pgr_synth_options *o) {
    rng g = {.seed = o->seed, .stream = STREAM_TRUTH};
    size_t K = o->prototypes - o->hold_prototypes;
    double mean[N_FACT] = {0};
    draw_taste(&t->spread, MAIN_FACTS, &g, t->common);
    for (size_t k = 0; k < o->prototypes; k++) {
        draw_taste(&t->spread, MAIN_FACTS, &g, t->base[k]);
        for (int f = 0; f < N_FACT && k < K; f++) mean[f] += t->base[k][f] / (double)K;
        for (int s = 0; s < SYNTH_KINDS; s++) draw_taste(&t->spread, SHIFT_FACTS, &g, t->scenario[k][s]);
    }
    for (size_t k = 0; k < K && K > 1; k++)
        for (int f = 0; f < N_FACT; f++) t->base[k][f] -= mean[f];
}

static void draw_user(const truth *t, const pgr_synth_options *o, rng *g, synth_user *u) {
    double own[N_FACT];
    size_t known = o->prototypes - o->hold_prototypes;
    u->prototype = u->unseen ? known + rng_below(g, o->hold_prototypes) : rng_below(g, known);
    draw_taste(&t->spread, MAIN_FACTS, g, own);
    for (int s = 0; s < SYNTH_KINDS; s++) {
        double *w = u->weights[s], variance = 0;
        for (int f = 0; f < N_FACT; f++)
            w[f] = o->common * t->common[f] + t->base[u->prototype][f] + o->scenario * t->scenario[u->prototype][s][f]
                   + o->own * own[f];
        for (int f = 0; f < N_FACT; f++)
            for (int h = 0; h < N_FACT; h++) variance += w[f] * t->spread.covariance[f][h] * w[h];
        for (int f = 0; f < N_FACT && variance > 0; f++) w[f] /= sqrt(variance);
    }
}

/* ---- choices --------------------------------------------------------------------------------------------------- */

typedef struct choice {
    size_t pair[2]; /* responses */
    double utility; /* of the first less that of the second */
} choice;

/* May the pair be asked: do its responses differ in something measured, and in utility by `least` or more? */
static bool weigh(const synth_texts *t, const synth_user *u, size_t prompt, double least, choice *c) {
    double z[N_FACT], size = 0;
    difference(&t->responses[c->pair[0]].facts, &t->responses[c->pair[1]].facts, z);
    c->utility = 0;
    for (int f = 0; f < N_FACT; f++) {
        c->utility += u->weights[t->prompts[prompt].kind][f] * z[f];
        size += fabs(z[f]);
    }
    return size > 0 && fabs(c->utility) >= least;
}

/* The prompt's pair number `want`, from 0, of those that may be asked; false: there are fewer, *n. */
static bool nth_pair(const synth_texts *t, const synth_user *u, size_t prompt, double least, size_t want, choice *c,
                     size_t *n) {
    const synth_prompt *p = &t->prompts[prompt];
    *n = 0;
    for (size_t a = 0; a < p->n; a++)
        for (size_t b = 0; b < p->n; b++) {
            *c = (choice){.pair = {p->first + a, p->first + b}};
            if (a != b && weigh(t, u, prompt, least, c) && (*n)++ == want) return true;
        }
    return false;
}

/* One of the prompt's pairs that may be asked, each as likely; false: there is none. */
static bool draw_choice(const synth_texts *t, const synth_user *u, size_t prompt, double least, rng *g, choice *c) {
    for (int i = 0; i < TRIES; i++) {
        draw_pair(t, prompt, g, c->pair);
        if (weigh(t, u, prompt, least, c)) return true;
    }
    size_t n, found;
    nth_pair(t, u, prompt, least, SIZE_MAX, c, &n);
    return n > 0 && nth_pair(t, u, prompt, least, rng_below(g, n), c, &found);
}

static bool draw_row(const synth_texts *t, const synth_user *u, const pgr_synth_options *o, rng *g, synth_row *row) {
    choice c;
    if (!draw_choice(t, u, row->prompt, o->least, g, &c)) return false;
    double first = 1 / (1 + exp(-c.utility / o->noise));
    bool chosen = rng_next(g) < first;
    row->chosen = c.pair[!chosen];
    row->rejected = c.pair[chosen];
    row->truth = chosen ? first : 1 - first;
    return true;
}

static void shuffle(size_t *v, size_t n, rng *g) {
    for (size_t i = n; i-- > 1;) {
        size_t k = rng_below(g, i + 1), t = v[i];
        v[i] = v[k];
        v[k] = t;
    }
}

/* Rows on the first prompts of a shuffled copy that have a pair to ask. */
static pgr_status draw_rows(const synth_texts *t, const synth_user *u, size_t user, bool test, size_t n,
                            const pgr_synth_options *o, size_t *prompts, size_t n_prompt, rng *g, synth_row *rows,
                            pgr_error *err) {
    shuffle(prompts, n_prompt, g);
    size_t made = 0;
    for (size_t i = 0; i < n_prompt && made < n; i++) {
        rows[made] = (synth_row){.user = user, .prompt = prompts[i], .test = test};
        made += draw_row(t, u, o, g, &rows[made]);
    }
    return made == n ? PGR_OK
                     : fail(err, PGR_E_ARG,
                            "user %zu has %zu of %zu %s prompts with responses whose utilities differ by %g or more, "
                            "expected %zu",
                            user, made, n_prompt, test ? "test" : "train", o->least, n);
}

typedef struct prompt_lists {
    size_t *of[2], n[2]; /* train, test */
} prompt_lists;

static void hold_prompts(synth_texts *t, const pgr_synth_options *o, prompt_lists *p) {
    rng g = {.seed = o->seed, .stream = STREAM_PROMPTS};
    for (size_t i = 0; i < t->n_prompt; i++) p->of[0][i] = i;
    shuffle(p->of[0], t->n_prompt, &g);
    p->n[1] = (size_t)((double)t->n_prompt * o->held_prompts);
    p->n[0] = t->n_prompt - p->n[1];
    memcpy(p->of[1], p->of[0] + p->n[0], p->n[1] * sizeof *p->of[1]);
    for (size_t i = 0; i < t->n_prompt; i++) t->prompts[i].held = false;
    for (size_t i = 0; i < p->n[1]; i++) t->prompts[p->of[1][i]].held = true;
}

pgr_status pgr_synth_check(const pgr_synth_options *o, pgr_error *err) {
    if (o->users < 2 || o->users > 10000000)
        return fail(err, PGR_E_ARG, "users is %zu, expected 2 to 10000000", o->users);
    if (o->prototypes < 1 || o->prototypes > o->users)
        return fail(err, PGR_E_ARG, "prototypes is %zu, expected 1 to the number of users, %zu", o->prototypes,
                    o->users);
    if (o->hold_prototypes >= o->prototypes)
        return fail(err, PGR_E_ARG, "%zu prototypes are held out, expected fewer than there are, %zu",
                    o->hold_prototypes, o->prototypes);
    if (!(o->noise > 0)) return fail(err, PGR_E_ARG, "noise is %g, expected more than 0", o->noise);
    if (!(o->least >= 0)) return fail(err, PGR_E_ARG, "least is %g, expected 0 or more", o->least);
    if (!(o->held_users > 0 && o->held_users < 1))
        return fail(err, PGR_E_ARG, "held-out users are %g, expected a share between 0 and 1", o->held_users);
    if (!(o->held_prompts > 0 && o->held_prompts < 1))
        return fail(err, PGR_E_ARG, "held-out prompts are %g, expected a share between 0 and 1", o->held_prompts);
    if (o->train_pairs == 0 || o->test_pairs == 0)
        return fail(err, PGR_E_ARG, "expected at least one train and one test pair of a user");
    if (o->truths < 1) return fail(err, PGR_E_ARG, "truths is 0, expected 1 or more");
    return PGR_OK;
}

/* Are there as many prompts as a user is asked? */
static pgr_status check_prompts(const synth_texts *t, const pgr_synth_options *o, pgr_error *err) {
    double test = floor((double)t->n_prompt * o->held_prompts);
    if ((double)o->test_pairs > test || (double)o->train_pairs > (double)t->n_prompt - test)
        return fail(err, PGR_E_ARG,
                    "%zu train and %zu test pairs were asked for, but there are %.0f and %.0f prompts for them",
                    o->train_pairs, o->test_pairs, (double)t->n_prompt - test, test);
    return PGR_OK;
}

/* Every other held-out user has a prototype that is held out, where there are such. */
static pgr_status draw_all(const truth *tr, const synth_texts *t, const pgr_synth_options *o, prompt_lists *p,
                           synth *out, pgr_error *err) {
    size_t *shuffled[2] = {p->of[0] + t->n_prompt, p->of[1] + t->n_prompt}, at = 0, held = 0;
    size_t n_held = (size_t)ceil((double)o->users * o->held_users);
    for (size_t u = 0; u < o->users; u++) {
        rng g = {.seed = o->seed, .stream = (uint32_t)(STREAM_USERS + u)};
        synth_user *user = &out->users[u];
        /* spread over the users whatever their number */
        user->held = (u + 1) * n_held / o->users > u * n_held / o->users;
        user->unseen = user->held && o->hold_prototypes > 0 && held % 2 == 1;
        held += user->held;
        draw_user(tr, o, &g, user);
        for (int test = 0; test < 2; test++) {
            size_t n = test ? o->test_pairs : o->train_pairs;
            memcpy(shuffled[test], p->of[test], p->n[test] * sizeof *shuffled[test]);
            PGR_TRY(draw_rows(t, user, u, test, n, o, shuffled[test], p->n[test], &g, out->rows + at, err));
            at += n;
        }
        if (u % 256 == 0) PGR_TRY(watch_check(&o->watch, err));
    }
    return PGR_OK;
}

pgr_status synth_draw(synth_texts *texts, const pgr_synth_options *o, synth *out, pgr_error *err) {
    *out = (synth){0};
    PGR_TRY(pgr_synth_check(o, err));
    PGR_TRY(check_prompts(texts, o, err));
    size_t n_row = o->users * (o->train_pairs + o->test_pairs);
    *out = (synth){.texts = texts, .n_user = o->users, .n_row = n_row};
    out->n_prototype = o->prototypes - o->hold_prototypes;
    out->users = mem_zero(o->users, sizeof *out->users);
    out->rows = mem_array(n_row, sizeof *out->rows);
    truth t = {.base = mem_zero(o->prototypes, sizeof *t.base),
               .scenario = mem_zero(o->prototypes, sizeof *t.scenario)};
    prompt_lists p = {
        .of = {mem_array(2 * texts->n_prompt, sizeof(size_t)), mem_array(2 * texts->n_prompt, sizeof(size_t))}};
    pgr_status status = PGR_OK;
    if (!out->users || !out->rows || !t.base || !t.scenario || !p.of[0] || !p.of[1]) status = fail_mem(err);
    if (status == PGR_OK) {
        hold_prompts(texts, o, &p);
        measure_spread(texts, o->seed, &t.spread);
        draw_prototypes(&t, o);
        status = draw_all(&t, texts, o, &p, out, err);
    }
    mem_free(t.base);
    mem_free(t.scenario);
    mem_free(p.of[0]);
    mem_free(p.of[1]);
    if (status != PGR_OK) synth_free(out);
    return status;
}
