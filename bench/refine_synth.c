/* refine_synth.c - what refinement of prototypes wins on synthetic users: held-out pairwise accuracy of z.(y+ - y-)
 * before and after, with and without the regularisers. Not part of the tests:
 *     ninja -C build refine_synth && build/refine_synth RESPONSES facts|facts-short|EMBEDDER USERS PROMPTS \
 *         RESPONSES_EACH EPOCHS BETA
 * facts: a text's embedding is its 12 measured facts in standard deviations (the truth is linear in them), a query's
 * its kind; facts-short: the same scaled to lengths of about 1; default or a name or folder: embeddings of the texts by
 * that embedder, of length 1. The first PROMPTS prompts with RESPONSES_EACH responses are used. Known users' train rows
 * are learnt from; asked are test rows of held-out users on held-out prompts, with 3 pairs of their history. A user's
 * place is the mean of his normalised differences e(chosen) - e(rejected). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench/mean.h"
#include "bench/synth.h"
#include "prototype/kmeans.h"
#include "prototype/refine.h"
#include "prototype/vec.h"

enum { H = 3, K = 8 };

typedef struct set {
    synth_texts texts;
    synth s;
    pgr_synth_options o;
    pool *threads;
    size_t d, n_train, n_test;
    float *e, *q, *users; /* (n_response, d), (n_prompt, d), (n_user, d) */
    uint32_t *assign;     /* (n_user) */
    kmeans_result protos;
    refine_triple *triples; /* of every sample's history */
    refine_sample *train, *held;
    size_t n_learn, n_asked, *cluster;
    double *margins, *before, *gain, *residuals;
    size_t *counts;
} set;

static void must(pgr_status status, const pgr_error *err) {
    if (status == PGR_OK) return;
    fprintf(stderr, "refine_synth: %s\n", err->message);
    exit(1);
}

static void *grab(size_t n, size_t size) {
    void *p = mem_zero(n, size);
    if (!p) exit(1);
    return p;
}

/* ---- embeddings ---- */

static void embed_facts(set *x, double scale) {
    x->d = N_FACT + SYNTH_KINDS;
    x->e = grab(x->texts.n_response * x->d, sizeof *x->e);
    x->q = grab(x->texts.n_prompt * x->d, sizeof *x->q);
    for (size_t i = 0; i < x->texts.n_response; i++)
        for (int f = 0; f < N_FACT; f++)
            x->e[i * x->d + (size_t)f] = (float)(x->texts.responses[i].facts.v[f] / fact_sd(f) * scale);
    for (size_t i = 0; i < x->texts.n_prompt; i++) x->q[i * x->d + N_FACT + (size_t)x->texts.prompts[i].kind] = 1;
}

static void embed_texts(set *x, const char *name) {
    char *path = NULL;
    pgr_embedder *m = NULL;
    pgr_error err = {0};
    must(pgr_embedder_find(strcmp(name, "default") == 0 ? NULL : name, &path, &err), &err);
    pgr_model_options mo = pgr_model_options_default();
    must(pgr_embedder_open(path, &mo, &m, &err), &err);
    x->d = pgr_embedder_dims(m);
    size_t n_r = x->texts.n_response, n = n_r + x->texts.n_prompt, n_used = 0;
    const char **texts = grab(n, sizeof *texts);
    size_t *lens = grab(n, sizeof *lens), *at = grab(n, sizeof *at);
    for (size_t p = 0; p < x->texts.n_prompt; p++) {
        const synth_prompt *prompt = &x->texts.prompts[p];
        for (size_t i = 0; i <= prompt->n; i++) {
            const char *text = i < prompt->n ? x->texts.responses[prompt->first + i].text : prompt->text;
            at[n_used] = i < prompt->n ? prompt->first + i : n_r + p;
            texts[n_used] = text;
            lens[n_used++] = strlen(text);
        }
    }
    float *all = grab(n * x->d, sizeof *all), *out = grab(n_used * x->d, sizeof *out);
    pgr_embed_options eo = pgr_embed_options_default();
    pgr_progress_bar *bar = pgr_progress_bar_create(false);
    eo.watch.progress = pgr_progress_bar_update;
    eo.watch.progress_ctx = bar;
    must(pgr_embed(m, texts, lens, n_used, &eo, out, NULL, &err), &err);
    pgr_progress_bar_free(bar);
    for (size_t i = 0; i < n_used; i++) memcpy(all + at[i] * x->d, out + i * x->d, x->d * sizeof *out);
    x->e = all;
    x->q = all + n_r * x->d;
    printf("%zu texts and queries embedded by %s, %zu values\n", n_used, pgr_embedder_name(m), x->d);
    pgr_embedder_close(m);
    pgr_free(path);
    mem_free(texts);
    mem_free(lens);
    mem_free(at);
    mem_free(out);
}

/* ---- users and samples ---- */

static refine_triple triple_of(const set *x, size_t row) {
    const synth_row *r = &x->s.rows[row];
    return (refine_triple){x->q + r->prompt * x->d, x->e + r->chosen * x->d, x->e + r->rejected * x->d};
}

static void place_users(set *x) {
    float *diff = grab(x->d, sizeof *diff);
    for (size_t u = 0; u < x->s.n_user; u++) {
        float *v = x->users + u * x->d;
        for (size_t i = 0; i < x->n_train; i++) {
            refine_triple t = triple_of(x, u * (x->n_train + x->n_test) + i);
            for (size_t j = 0; j < x->d; j++) diff[j] = t.chosen[j] - t.rejected[j];
            vec_normalise(diff, x->d);
            for (size_t j = 0; j < x->d; j++) v[j] += diff[j];
        }
        vec_normalise(v, x->d);
    }
    mem_free(diff);
}

static void cluster_users(set *x) {
    size_t n = 0;
    float *known = grab(x->s.n_user * x->d, sizeof *known);
    pgr_error err = {0};
    for (size_t u = 0; u < x->s.n_user; u++)
        if (!x->s.users[u].held) memcpy(known + n++ * x->d, x->users + u * x->d, x->d * sizeof *known);
    kmeans_options o = kmeans_options_default(K);
    o.threads = x->threads;
    must(kmeans(known, n, x->d, &o, &x->protos, &err), &err);
    must(kmeans_assign(x->users, x->s.n_user, x->d, x->protos.centres, K, x->threads, x->assign, NULL, &err), &err);
    mem_free(known);
}

/* A row with H other train rows of its user. */
static refine_sample sample_of(set *x, size_t row, refine_triple *history, rng *g) {
    size_t user = x->s.rows[row].user, first = user * (x->n_train + x->n_test);
    for (size_t h = 0; h < H;) {
        size_t other = first + rng_below(g, x->n_train);
        refine_triple t = triple_of(x, other);
        bool taken = other == row;
        for (size_t i = 0; i < h; i++)
            taken = taken || (history[i].chosen == t.chosen && history[i].rejected == t.rejected);
        if (!taken) history[h++] = t;
    }
    return (refine_sample){triple_of(x, row), history, H, x->assign[user]};
}

static void make_samples(set *x) {
    rng g = {.seed = 3};
    x->triples = grab(x->s.n_row * H, sizeof *x->triples);
    x->train = grab(x->s.n_row, sizeof *x->train);
    x->held = grab(x->s.n_row, sizeof *x->held);
    x->cluster = grab(x->s.n_row, sizeof *x->cluster);
    for (size_t i = 0; i < x->s.n_row; i++) {
        const synth_row *r = &x->s.rows[i];
        bool held = x->s.users[r->user].held;
        if (held != r->test) continue;
        refine_sample s = sample_of(x, i, x->triples + i * H, &g);
        if (held) {
            x->cluster[x->n_asked] = r->user;
            x->held[x->n_asked++] = s;
        } else
            x->train[x->n_learn++] = s;
    }
    x->margins = grab(x->s.n_row, sizeof *x->margins);
    x->before = grab(x->n_asked, sizeof *x->before);
    x->gain = grab(x->n_asked, sizeof *x->gain);
    x->residuals = grab(x->s.n_user, sizeof *x->residuals);
    x->counts = grab(x->s.n_user, sizeof *x->counts);
}

/* ---- measuring ---- */

static mean_se clustered(const set *x, const double *v) {
    return mean_clustered(v, x->cluster, x->n_asked, x->residuals, x->counts, x->s.n_user);
}

/* From x->margins; keep: as what later rows are compared with. */
static void report(set *x, const char *name, const char *how, bool keep, const char *more) {
    for (size_t i = 0; i < x->n_asked; i++) {
        double right = x->margins[i] > 0 ? 1 : x->margins[i] == 0 ? .5 : 0;
        if (keep) x->before[i] = right;
        x->gain[i] = right - x->before[i];
        x->margins[i] = right;
    }
    mean_se a = clustered(x, x->margins), g = clustered(x, x->gain);
    printf("| %s | %s | %.3f +- %.3f |", name, how, a.mean, a.se);
    if (keep)
        printf("  |%s\n", more);
    else
        printf(" %+.3f +- %.3f |%s\n", g.mean, g.se, more);
    fflush(stdout);
}

/* Held-out users move to the nearest refined prototype. */
static void reassign(set *x, const refine *r) {
    uint32_t *assign = grab(x->s.n_user, sizeof *assign);
    pgr_error err = {0};
    must(refine_assign(r, x->users, x->s.n_user, assign, &err), &err);
    for (size_t i = 0; i < x->n_asked; i++) x->held[i].cluster = assign[x->cluster[i]];
    mem_free(assign);
}

static void try_refine(set *x, double beta, refine_start start, const char *name, double cent, double trail,
                       size_t epochs) {
    refine_options o = refine_options_default();
    refine *r = NULL;
    pgr_error err = {0};
    o.start = start;
    o.beta = beta;
    o.lambda_cent = cent;
    o.lambda_tr = trail;
    o.epochs = epochs;
    o.threads = x->threads;
    must(refine_create(K, x->d, x->protos.centres, &o, &r, &err), &err);
    double *first = grab(K * x->d, sizeof *first), moved = 0, last = 0, began = clock_now();
    memcpy(first, r->theta.A, K * x->d * sizeof *first);
    size_t steps = 0;
    must(refine_steps(r, x->train, x->n_learn, &steps, &err), &err);
    double *losses = grab(steps + 1, sizeof *losses);
    must(refine_train(r, x->train, x->n_learn, losses, &err), &err);
    for (size_t i = 0; i < K * x->d; i++) moved += first[i] * r->theta.A[i] / K;
    size_t tail = steps < 50 ? steps : 50;
    for (size_t i = 0; i < tail; i++) last += losses[steps - 1 - i] / (double)tail;
    reassign(x, r);
    must(refine_margins(r, x->held, x->n_asked, x->margins, &err), &err);
    char how[96], more[120] = "  |  |  |";
    snprintf(how, sizeof how, "%zu epoch%s, lambda_cent %g, lambda_tr %g", epochs, epochs == 1 ? "" : "s", cent, trail);
    if (epochs)
        snprintf(more, sizeof more, " %.3f -> %.3f | %.3f | %.1f |", losses[0], last, moved, clock_now() - began);
    report(x, name, epochs ? how : "before", epochs == 0, more);
    mem_free(losses);
    mem_free(first);
    refine_free(r);
}

static void measure(set *x, size_t epochs, double beta) {
    printf("%zu samples of known users, %zu test rows of held-out users, %d prototypes, history of %d, beta %g\n\n",
           x->n_learn, x->n_asked, K, H, beta);
    printf("| what | training | held-out accuracy | less before | loss: first, mean of the last 50 | cosine of "
           "prototypes to before | s |\n"
           "|---|---|---|---|---|---|---|\n");
    for (int which = 0; which < 2; which++) { /* controls without refinement */
        for (size_t i = 0; i < x->n_asked; i++) {
            const refine_sample *s = &x->held[i];
            const float *a = x->protos.centres + s->cluster * x->d;
            x->margins[i] = 0;
            if (which == 0) x->margins[i] = vec_dot(a, s->asked.chosen, x->d) - vec_dot(a, s->asked.rejected, x->d);
            for (size_t h = 0; which == 1 && h < H; h++)
                x->margins[i] += vec_dot(s->history[h].chosen, s->asked.chosen, x->d)
                                 - vec_dot(s->history[h].chosen, s->asked.rejected, x->d)
                                 - vec_dot(s->history[h].rejected, s->asked.chosen, x->d)
                                 + vec_dot(s->history[h].rejected, s->asked.rejected, x->d);
        }
        report(x, which ? "own history's mean difference" : "prototype of k-means alone", "none", true, "  |  |  |");
    }
    const struct {
        double cent, trail;
        size_t epochs;
    } runs[] = {{1e-3, 1e-3, 0}, {1e-3, 1e-3, 1}, {0, 0, 1}, {1e-3, 1e-3, epochs}, {0, 0, epochs}, {.1, .1, epochs}};
    for (int start = 0; start < 2; start++)
        for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
            try_refine(x, beta, start ? REFINE_RANDOM : REFINE_DIFFERENCE,
                       start ? "z, matrices random" : "z, matrices pass differences on", runs[i].cent, runs[i].trail,
                       runs[i].epochs);
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: refine_synth RESPONSES facts|facts-short|default|EMBEDDER USERS PROMPTS RESPONSES_EACH "
                        "EPOCHS BETA\n");
        return 2;
    }
    set x = {.o = pgr_synth_options_default()};
    pgr_error err = {0};
    must(pool_create(0, &x.threads, &err), &err);
    x.o.users = strtoul(argv[3], NULL, 10);
    x.o.hold_prototypes = 0; /* K of them, all known */
    must(synth_texts_load(argv[1], x.o.max_bytes, NULL, &x.texts, &err), &err);
    size_t prompts = strtoul(argv[4], NULL, 10), each = strtoul(argv[5], NULL, 10);
    if (prompts < x.texts.n_prompt) x.texts.n_prompt = prompts;
    for (size_t p = 0; p < x.texts.n_prompt; p++)
        if (each >= 2 && each < x.texts.prompts[p].n) x.texts.prompts[p].n = each;
    must(synth_draw(&x.texts, &x.o, &x.s, &err), &err);
    x.n_train = x.o.train_pairs;
    x.n_test = x.o.test_pairs;
    if (strcmp(argv[2], "facts") == 0)
        embed_facts(&x, 1);
    else if (strcmp(argv[2], "facts-short") == 0)
        embed_facts(&x, 1 / sqrt(N_FACT));
    else
        embed_texts(&x, argv[2]);
    x.users = grab(x.s.n_user * x.d, sizeof *x.users);
    x.assign = grab(x.s.n_user, sizeof *x.assign);
    place_users(&x);
    cluster_users(&x);
    make_samples(&x);
    measure(&x, strtoul(argv[6], NULL, 10), strtod(argv[7], NULL));
    pool_free(x.threads);
    return 0;
}
