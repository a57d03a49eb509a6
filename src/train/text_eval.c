/* text_eval.c - held pairs under the user's own history, a stranger's and the own one turned round: the model writes
 * one chain each, freely; how many parse, how many rank the pair right. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "judge/slots.h"
#include "train/text.h"

enum { CHUNK = 16, VIEWS = 3 };

typedef struct count {
    double n, parsed, wrong_sum, tokens;
    double right, expected, by_facts; /* a tie and a chain that does not parse are half right */
    double first, margin, margin2; /* under the own history: judge_first; margins of what parses, and their squares */
} count;

typedef struct evaluation {
    text *t;
    train_run *r;
    const psi_set *set;
    buf samples;
    uint64_t *rubrics; /* (n_rubric) the lists of criteria of the chains under the own history, as hashes */
    size_t n_rubric;
} evaluation;

static bool is_asked(const psi_set *s, size_t i) {
    const psi_user *u = &s->users[s->user[i]];
    return s->held[i] && (u->n_asked == 0 || i >= u->first + u->n);
}

/* At most eval_limit pairs, spread evenly; of users with pairs that are asked about and never shown these alone. */
static size_t pick(const text *t, const psi_set *s, size_t *out) {
    size_t n = 0, all = 0, seen = 0, limit = t->o->eval_limit;
    for (size_t i = 0; i < s->n_pair; i++) all += is_asked(s, i);
    for (size_t i = 0; i < s->n_pair && n < limit; i++) {
        if (!is_asked(s, i)) continue;
        if (all <= limit || seen * limit / all == n) out[n++] = i;
        seen++;
    }
    return n;
}

static void put_margin(buf *b, double margin) {
    if (isfinite(margin))
        json_put_number(b, margin);
    else
        buf_puts(b, "null");
}

static void put_sample(evaluation *v, size_t pair, text_whose whose, const text_verdict *of, const text_written *w) {
    static const char *const names[] = {"own", "flipped", "stranger"};
    buf_printf(&v->samples, "{\"step\":%llu,\"pair\":%zu,\"history\":\"%s\",\"order\":%zu,\"parsed\":%s,\"margin\":",
               (unsigned long long)v->r->state.step, pair, names[whose], w->order, of->parsed ? "true" : "false");
    put_margin(&v->samples, of->parsed ? of->margin : NAN);
    buf_puts(&v->samples, ",\"expected\":");
    put_margin(&v->samples, of->parsed ? w->margin : NAN);
    buf_puts(&v->samples, ",\"text\":");
    json_put_string(&v->samples, w->chain->text.data ? w->chain->text.data : "", w->chain->text.n);
    buf_puts(&v->samples, "}\n");
}

/* Whether the heaviest criterion goes the way in which all of the user's pairs go, by the rule. */
static pgr_status judge_first(const psi_set *s, size_t pair, const chain *c, arena *a, double *out, pgr_error *err) {
    double target[N_TASTE];
    const psi_user *u = &s->users[s->user[pair]];
    int word = text_first_word(c);
    size_t *all = arena_array(a, u->n + 1, sizeof *all);
    if (!all) return fail_mem(err);
    for (size_t i = 0; i < u->n; i++) all[i] = u->first + i;
    slots_target(s->pairs, all, u->n, target);
    *out = word >= 0 && target[word] > target[word ^ 1]; /* its opposite */
    return PGR_OK;
}

static void note_rubric(evaluation *v, const chain *c) {
    uint64_t h = HASH_BEGIN;
    for (size_t i = 0; i < c->n_criterion; i++) h = hash_whole_text(h, c->criteria[i].name);
    for (size_t i = 0; i < v->n_rubric; i++)
        if (v->rubrics[i] == h) return;
    v->rubrics[v->n_rubric++] = h;
}

static pgr_status note_own(evaluation *v, size_t pair, const text_verdict *of, arena *a, count *out, pgr_error *err) {
    double right = 0;
    PGR_TRY(judge_first(v->set, pair, &of->read, a, &right, err));
    note_rubric(v, &of->read);
    out->first += right;
    out->margin += of->margin;
    out->margin2 += of->margin * of->margin;
    return PGR_OK;
}

static double right_by(const text_verdict *of, double margin) {
    return !of->parsed || margin == 0 ? 0.5 : margin > 0;
}

/* Right by the expectations at the scores; by the scores as written where those were not found. */
static double expected_right(const text_verdict *of, const text_written *w) {
    return right_by(of, isfinite(w->margin) ? w->margin : of->margin);
}

/* What chain c, read by expectation as w has it, adds to the counts and to the samples. */
static pgr_status note(evaluation *v, size_t pair, text_whose whose, const text_example *x, const text_written *w,
                       arena *a, count *out, pgr_error *err) {
    const infer_chain *c = w->chain;
    text_verdict of;
    double by_facts = 0;
    PGR_TRY(text_judge(v->t, c->text.data ? c->text.data : "", c->text.n, w->order, a, &of, err));
    if (of.parsed && whose == TEXT_OWN) PGR_TRY(note_own(v, pair, &of, a, out, err));
    if (of.parsed) PGR_TRY(text_margin_by_facts(x, &of.read, &by_facts, err));
    out->n++;
    out->parsed += of.parsed;
    out->right += right_by(&of, of.margin);
    out->expected += expected_right(&of, w);
    out->by_facts += right_by(&of, by_facts);
    out->wrong_sum += of.wrong_sum;
    out->tokens += (double)c->tokens.n;
    put_sample(v, pair, whose, &of, w);
    return PGR_OK;
}

static pgr_status ask(evaluation *v, const size_t *pairs, size_t n, text_whose whose, count *out, pgr_error *err) {
    frame_prompt prompts[CHUNK];
    text_ask asks[CHUNK];
    text_example examples[CHUNK];
    text_written written[CHUNK];
    infer_output made = {.n_chain = 0};
    arena a = {0};
    size_t ready = 0;
    pgr_status s = PGR_OK;
    for (; s == PGR_OK && ready < n; ready++) {
        text_example *x = &examples[ready];
        prompts[ready] = (frame_prompt){.n_message = 0};
        uint64_t seed = hash_value(HASH_BEGIN, pairs[ready]);
        s = text_example_make(v->t, v->set, pairs[ready], whose, seed, &a, x, err);
        if (s == PGR_OK) s = text_prompt(v->t, x, pairs[ready] % 2, &a, &prompts[ready], err);
        asks[ready] = (text_ask){.prompt = &prompts[ready], .n_sample = 1, .seed = seed};
    }
    if (s == PGR_OK) s = text_sample(v->t, v->r, asks, n, &made, err);
    for (size_t i = 0; s == PGR_OK && i < n; i++)
        written[i] = (text_written){&prompts[i], &made.chains[i], pairs[i] % 2, NAN};
    if (s == PGR_OK) s = text_expected(v->t, v->r, written, n, &a, err);
    for (size_t i = 0; s == PGR_OK && i < n; i++) s = note(v, pairs[i], whose, &examples[i], &written[i], &a, out, err);
    infer_output_free(&made);
    for (size_t i = 0; i < ready; i++) frame_prompt_free(&prompts[i]);
    arena_free(&a);
    return s;
}

static pgr_status write_samples(evaluation *v, pgr_error *err) {
    buf path = {0};
    buf_printf(&path, "%s/samples.jsonl", v->t->o->train.out);
    if (path.failed || v->samples.failed) {
        buf_free(&path);
        return fail_mem(err);
    }
    FILE *f = fopen(path.data, "ab");
    bool written = f && fwrite(v->samples.data, 1, v->samples.n, f) == v->samples.n;
    if (f && fclose(f) != 0) written = false;
    pgr_status s = written ? PGR_OK : fail(err, PGR_E_IO, "%s: cannot be written", path.data);
    buf_free(&path);
    return s;
}

static void put_metrics(const evaluation *v, const count of[VIEWS], metrics *m) {
    const count *own = &of[TEXT_OWN];
    double all = of[0].n + of[1].n + of[2].n, parsed = of[0].parsed + of[1].parsed + of[2].parsed;
    double any = own->parsed > 0 ? own->parsed : NAN, mean = own->margin / any;
    metrics_put(m, "chains/own", own->right / own->n);
    metrics_put(m, "chains/flipped", of[TEXT_FLIPPED].right / of[TEXT_FLIPPED].n);
    metrics_put(m, "chains/stranger", of[TEXT_STRANGER].right / of[TEXT_STRANGER].n);
    metrics_put(m, "chains/own_expected", own->expected / own->n);
    metrics_put(m, "chains/stranger_expected", of[TEXT_STRANGER].expected / of[TEXT_STRANGER].n);
    metrics_put(m, "chains/own_by_facts", own->by_facts / own->n);
    metrics_put(m, "chains/stranger_by_facts", of[TEXT_STRANGER].by_facts / of[TEXT_STRANGER].n);
    metrics_put(m, "chains/parsed", parsed / all);
    metrics_put(m, "chains/arithmetic_wrong",
                parsed > 0 ? (of[0].wrong_sum + of[1].wrong_sum + of[2].wrong_sum) / parsed : 0);
    metrics_put(m, "chains/first_right", own->first / any);
    metrics_put(m, "chains/distinct", (double)v->n_rubric);
    metrics_put(m, "chains/spread", own->parsed > 0 ? sqrt(fmax(0, own->margin2 / any - mean * mean)) : NAN);
    metrics_put(m, "completions/mean_length", (of[0].tokens + of[1].tokens + of[2].tokens) / all);
}

pgr_status text_evaluate(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    text *t = ctx;
    evaluation v = {.t = t, .r = r, .set = t->eval.n_pair > 0 ? &t->eval : &t->set};
    count of[VIEWS] = {{0}};
    size_t *pairs = mem_array(t->o->eval_limit, sizeof *pairs);
    v.rubrics = mem_array(t->o->eval_limit, sizeof *v.rubrics);
    pgr_status s = pairs && v.rubrics ? PGR_OK : fail_mem(err);
    size_t n = s == PGR_OK ? pick(t, v.set, pairs) : 0;
    for (text_whose w = TEXT_OWN; w <= TEXT_STRANGER; w++)
        for (size_t i = 0; s == PGR_OK && i < n; i += CHUNK)
            s = ask(&v, pairs + i, n - i < CHUNK ? n - i : CHUNK, w, &of[w], err);
    if (s == PGR_OK && n > 0) s = write_samples(&v, err);
    if (s == PGR_OK && n > 0) put_metrics(&v, of, m);
    buf_free(&v.samples);
    mem_free(pairs);
    mem_free(v.rubrics);
    return s;
}
