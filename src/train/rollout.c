/* rollout.c - prompts of the policy, its samples, requests to the judge. */
#include "train/rollout.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "judge/slots.h"
#include "train/loss.h"
#include "user/request.h"

/* ---- what the policy is told of the user ---- */

static pgr_status target_of(const rollout_prompt *p, double target[N_TASTE], pgr_error *err) {
    size_t *all = mem_array(p->n_known + 1, sizeof *all);
    if (!all) return fail_mem(err);
    for (size_t i = 0; i < p->n_known; i++) all[i] = i;
    slots_target(p->known, all, p->n_known, target);
    mem_free(all);
    return PGR_OK;
}

/* "The reader likes answers that are: short, prose." - the words that weigh most in his history, none of weight 0. */
static pgr_status tell_taste(const rollout_prompt *p, size_t most, arena *a, const char **out, pgr_error *err) {
    double target[N_TASTE];
    PGR_TRY(target_of(p, target, err));
    *out = "The reader likes answers that are:";
    size_t n = 0;
    for (bool any = true; any && n < most; n++) {
        int best = 0;
        for (int i = 1; i < N_TASTE; i++)
            if (target[i] > target[best]) best = i;
        any = target[best] > 0;
        if (!any) break;
        *out = arena_printf(a, "%s%s %s", *out, n > 0 ? "," : "", taste_word(best));
        if (!*out) return fail_mem(err);
        target[best] = 0;
    }
    *out = n > 0 ? arena_printf(a, "%s.", *out) : "";
    return *out ? PGR_OK : fail_mem(err);
}

static pgr_status messages_of(const rollout *x, const rollout_prompt *p, arena *a, infer_request *r, pgr_error *err) {
    const char *told = "";
    size_t n = 0, first = 0;
    infer_message *list = arena_array(a, p->pair->n_context + 1, sizeof *list);
    if (!list) return fail_mem(err);
    if (x->o->tell > 0 && p->n_known > 0) PGR_TRY(tell_taste(p, x->o->tell, a, &told, err));
    if (*told) {
        const turn *t = p->pair->context;
        bool system = p->pair->n_context > 0 && strcmp(t->role, "system") == 0;
        const char *text = system ? arena_printf(a, "%s\n\n%s", t->text, told) : told;
        if (!text) return fail_mem(err);
        list[n++] = (infer_message){"system", text, strlen(text)};
        first = system;
    }
    for (size_t i = first; i < p->pair->n_context; i++) {
        const turn *t = &p->pair->context[i];
        list[n++] = (infer_message){t->role, t->text, strlen(t->text)};
    }
    r->messages = list;
    r->n_message = n;
    return PGR_OK;
}

/* ---- samples ---- */

void rollout_open(rollout *x, pgr_engine *e, const pgr_policy_options *o) {
    *x = (rollout){.e = e, .o = o, .judge = o->judging};
    x->judge.watch = (pgr_watch){.cancel = o->train.watch.cancel};
}

static pgr_status take_sample(const infer_result *r, const infer_chain *c, arena *a, rollout_sample *out,
                              pgr_error *err) {
    size_t n = r->prompt.n + c->tokens.n, n_loss = c->tokens.n + (c->end >= 0);
    chat_row row = {.n = r->prompt.n + n_loss, .n_loss = n_loss};
    row.tokens = arena_array(a, row.n + 1, sizeof *row.tokens);
    row.counts = arena_array(a, row.n + 1, sizeof *row.counts);
    double *old = arena_array(a, n_loss + 1, sizeof *old);
    out->text = arena_strndup(a, c->text.n > 0 ? c->text.data : "", c->text.n);
    if (!row.tokens || !row.counts || !old || !out->text) return fail_mem(err);
    memcpy(row.tokens, r->prompt.v, r->prompt.n * sizeof *row.tokens);
    if (c->tokens.n > 0) memcpy(row.tokens + r->prompt.n, c->tokens.v, c->tokens.n * sizeof *row.tokens);
    if (n_loss > c->tokens.n) row.tokens[n] = c->end;
    for (size_t i = r->prompt.n; i < row.n; i++) row.counts[i] = 1;
    for (size_t i = 0; i < n_loss; i++) old[i] = (double)(i < c->tokens.n ? c->logprobs[i] : c->end_logprob);
    out->row = row;
    out->old = old;
    out->ended = c->finish == PGR_FINISH_STOP;
    return PGR_OK;
}

static pgr_status take_samples(const infer_output *made, size_t k, arena *a, rollout_sample *out, pgr_error *err) {
    for (size_t i = 0; i < made->n_result; i++) {
        const infer_result *r = made->results[i];
        PGR_ASSERT(r->n_chain == k);
        for (size_t j = 0; j < k; j++) PGR_TRY(take_sample(r, &r->chains[j], a, &out[i * k + j], err));
    }
    return PGR_OK;
}

pgr_status rollout_draw(rollout *x, const rollout_prompt *list, size_t n, size_t k, pgr_lora *policy, uint64_t seed,
                        arena *a, rollout_sample *out, pgr_error *err) {
    const float scale = 1.0f;
    infer_adapters adapters = {&policy, &scale, policy ? 1 : 0};
    infer_options io = {.watch = x->judge.watch};
    infer_output made = {0};
    infer_request *requests = arena_array(a, n, sizeof *requests);
    if (!requests) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        requests[i] = (infer_request){.n_sample = k,
                                      .seed = seed,
                                      .id = (uint32_t)i,
                                      .sampling = {.temperature = 1.0f, .top_p = 1.0f},
                                      .max_tokens = x->o->max_new,
                                      .shorten = true,
                                      .adapters = &adapters};
        PGR_TRY(messages_of(x, &list[i], a, &requests[i], err));
    }
    PGR_TRY(infer_run(x->e, requests, n, &io, &made, err));
    pgr_status s = take_samples(&made, k, a, out, err);
    infer_output_free(&made);
    return s;
}

/* ---- rewards ---- */

static bool is_blank(const char *text) {
    return text[strspn(text, " \t\r\n")] == '\0';
}

typedef struct judging {
    pgr_request *requests;       /* (n) */
    const pgr_request **list;    /* (n) */
    const char *(*responses)[2]; /* (n) the sample, the user's choice */
    pgr_result **results;        /* (n) */
    pgr_error *errors;           /* (n) */
} judging;

static pgr_status judging_alloc(judging *j, size_t n, pgr_error *err) {
    j->requests = mem_zero(n, sizeof *j->requests);
    j->list = mem_zero(n, sizeof *j->list);
    j->responses = mem_zero(n, sizeof *j->responses);
    j->results = mem_zero(n, sizeof *j->results);
    j->errors = mem_zero(n, sizeof *j->errors);
    return j->requests && j->list && j->responses && j->results && j->errors ? PGR_OK : fail_mem(err);
}

static void judging_free(judging *j, size_t n) {
    for (size_t i = 0; j->results && i < n; i++) pgr_result_free(j->results[i]);
    mem_free(j->requests);
    mem_free(j->list);
    mem_free(j->responses);
    mem_free(j->results);
    mem_free(j->errors);
}

/* An answer of nothing is judged as a full stop: nothing at all is no response. */
static void ask(judging *j, size_t i, const rollout_prompt *p, const char *text) {
    j->responses[i][0] = is_blank(text) ? "." : text;
    j->responses[i][1] = p->pair->chosen;
    j->requests[i] = (pgr_request){.origin = "policy",
                                   .id = "",
                                   .user_id = "",
                                   .demographics = "",
                                   .history = p->known,
                                   .n_history = p->n_known,
                                   .messages = p->pair->context,
                                   .n_message = p->pair->n_context,
                                   .responses = j->responses[i],
                                   .n_response = 2,
                                   .ind = -1,
                                   .pro = -1,
                                   .history_pairs = -1,
                                   .seed = -1,
                                   .chosen = -1};
    j->list[i] = &j->requests[i];
}

static pgr_status take_rewards(const judging *j, size_t n, rollout_sample *out, pgr_error *err) {
    for (size_t i = 0; i < n; i++) {
        const pgr_result *r = j->results[i];
        if (!r) return fail(err, j->errors[i].status, "the judge: %.400s", j->errors[i].message);
        if (!r->responses[0].scored || !r->responses[1].scored)
            return fail(err, PGR_E_FORMAT, "the judge gives an answer no score: %.200s, expected one of each",
                        r->responses[0].reason ? r->responses[0].reason : "no chain parsed");
        out[i].reward = r->responses[0].score - r->responses[1].score;
    }
    return PGR_OK;
}

pgr_status rollout_judge(rollout *x, const rollout_prompt *list, size_t n, size_t k, rollout_sample *out,
                         pgr_error *err) {
    judging j = {0};
    pgr_status s = judging_alloc(&j, n * k, err);
    for (size_t i = 0; s == PGR_OK && i < n * k; i++) ask(&j, i, &list[i / k], out[i].text);
    if (s == PGR_OK) {
        pgr_judge_many(x->e, j.list, n * k, &x->judge, j.results, j.errors); /* errors are told one by one */
        s = take_rewards(&j, n * k, out, err);
    }
    judging_free(&j, n * k);
    return s;
}

double rollout_rule(const rollout_prompt *p, const char *a, const char *b, pgr_status *status, pgr_error *err) {
    double target[N_TASTE], levels[N_FACT];
    *status = target_of(p, target, err);
    if (*status != PGR_OK) return 0;
    slots_levels(psi_query(p->pair), a, b, levels);
    return taste_margin(target, levels, N_FACT);
}
