/* grpo_pass.c - one update's loss: rows in passes, each computed without the adapter (the reference) and with it. */
#include "train/grpo_pass.h"

#include <math.h>

#include "base/mem.h"
#include "base/watch.h"

typedef struct grpo_pass {
    const grpo_sample *list; /* (n) */
    size_t n, n_token;
    const chat_row **rows;     /* (n) */
    double *reference, *slope; /* (n_token) */
} grpo_pass;

static void pass_free(grpo_pass *p) {
    mem_free(p->rows);
    mem_free(p->reference);
    mem_free(p->slope);
}

static pgr_status pass_begin(grpo_pass *p, pgr_error *err) {
    p->rows = mem_array(p->n, sizeof *p->rows);
    if (!p->rows) return fail_mem(err);
    for (size_t i = 0; i < p->n; i++) {
        p->rows[i] = &p->list[i].row;
        p->n_token += p->list[i].row.n_loss;
    }
    p->reference = mem_array(p->n_token, sizeof *p->reference);
    p->slope = mem_array(p->n_token, sizeof *p->slope);
    return p->reference && p->slope ? PGR_OK : fail_mem(err);
}

static pgr_status read_reference(train_run *r, grpo_pass *p, pgr_error *err) {
    logps_pass l = {0};
    backward_without(r->b, true);
    pgr_status s = logps_forward(&l, r, p->rows, p->n, NULL, err);
    for (size_t i = 0; s == PGR_OK && i < p->n_token; i++) p->reference[i] = l.logp[i];
    logps_free(&l);
    backward_without(r->b, false);
    return s;
}

static void note_old(double logp, double old, grpo_sums *sums) {
    if (isnan(old)) return;
    double d = fabs(logp - old);
    sums->n_known++;
    sums->difference_sum += d;
    if (!(d <= sums->difference)) sums->difference = d;
}

/* each: one over the tokens of all samples */
static void take_tokens(grpo_pass *p, const double *logp, const grpo_terms *how, double each, grpo_sums *sums) {
    size_t at = 0;
    for (size_t i = 0; i < p->n; i++) {
        const grpo_sample *s = &p->list[i];
        for (size_t k = 0; k < s->row.n_loss; k++, at++) {
            double old = s->old ? s->old[k] : NAN, ref = how->kl > 0 ? p->reference[at] : logp[at];
            note_old(logp[at], old, sums);
            grpo_token t = grpo_token_loss(how, logp[at], isnan(old) ? logp[at] : old, ref, s->advantage);
            sums->loss += each * t.loss;
            sums->kl += each * t.kl;
            sums->clipped += t.clipped ? each : 0;
            sums->entropy -= each * logp[at];
            p->slope[at] = each * t.slope;
        }
    }
}

static pgr_status run_pass(train_run *r, grpo_pass *p, const grpo_terms *how, double each, grpo_sums *sums,
                           pgr_error *err) {
    PGR_TRY(pass_begin(p, err));
    if (how->kl > 0) PGR_TRY(read_reference(r, p, err));
    logps_pass l = {0};
    pgr_status s = logps_forward(&l, r, p->rows, p->n, NULL, err);
    if (s == PGR_OK) take_tokens(p, l.logp, how, each, sums);
    if (s == PGR_OK) s = logps_backward_tokens(&l, r, p->slope, err);
    logps_free(&l);
    return s;
}

pgr_status grpo_learn(train_run *r, const grpo_sample *list, size_t n, const grpo_terms *how, grpo_sums *out,
                      pgr_error *err) {
    *out = (grpo_sums){0};
    for (size_t i = 0; i < n; i++) out->n_token += list[i].row.n_loss;
    for (size_t i = 0; i < n;) {
        size_t count = 0, tokens = 0;
        while (i + count < n && (count == 0 || tokens + list[i + count].row.n <= r->o->pass_tokens))
            tokens += list[i + count++].row.n;
        PGR_TRY(watch_check(&r->o->watch, err));
        grpo_pass p = {.list = list + i, .n = count};
        pgr_status s = run_pass(r, &p, how, 1 / (double)out->n_token, out, err);
        pass_free(&p);
        if (s != PGR_OK) return s;
        i += count;
    }
    if (out->n_known > 0) out->difference_sum /= (double)out->n_known;
    return PGR_OK;
}
