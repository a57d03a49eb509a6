/* job.c - one request from its submission on: checked, its texts copied, its prompt as tokens, its chains empty. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "infer/local.h"

/* ---- the copy ---- */

static pgr_status copy_text(job *j, const char **text, pgr_error *err) {
    if (*text && !(*text = arena_strdup(&j->arena, *text))) return fail_mem(err);
    return PGR_OK;
}

/* What the chains still need; the prompt is tokens and the grammar compiled by then. */
static pgr_status copy_request(job *j, const infer_request *r, pgr_error *err) {
    j->r = *r;
    j->r.messages = NULL;
    j->r.text = NULL;
    j->r.prompt = NULL;
    j->r.grammar = j->r.grammar_name = NULL;
    j->r.adapters = NULL;
    j->r.slots = NULL;
    PGR_TRY(copy_text(j, &j->r.trigger, err));
    const char **stop = arena_array(&j->arena, r->n_stop + 1, sizeof *stop);
    if (!stop) return fail_mem(err);
    for (size_t i = 0; i < r->n_stop; i++) {
        stop[i] = r->stop[i];
        PGR_TRY(copy_text(j, &stop[i], err));
    }
    j->r.stop = stop;
    if (r->tell) {
        int32_t *tell = arena_array(&j->arena, r->n_top + 1, sizeof *tell);
        if (!tell) return fail_mem(err);
        if (r->n_top) memcpy(tell, r->tell, r->n_top * sizeof *tell);
        j->r.tell = tell;
    }
    return PGR_OK;
}

/* ---- what is asked of the engine ---- */

/* *max_tokens: fewer where the request says so and the context ends. */
static pgr_status check_length(const local *l, job *j, pgr_error *err) {
    size_t n_ctx = l->m->config.n_ctx, n = j->result->prompt.n;
    if (n == 0) return fail(err, PGR_E_ARG, "the prompt is empty, expected at least one token");
    if (n >= n_ctx) return fail(err, PGR_E_LIMIT, "the prompt has %zu tokens, the model's context is %zu", n, n_ctx);
    for (size_t i = 0; i < n; i++)
        if (j->result->prompt.v[i] < 0 || (size_t)j->result->prompt.v[i] >= l->m->config.n_vocab)
            return fail(err, PGR_E_ARG, "prompt token %zu is %d, the model has %zu", i + 1, (int)j->result->prompt.v[i],
                        l->m->config.n_vocab);
    if (j->r.max_tokens <= n_ctx - n) return PGR_OK;
    if (j->r.shorten) {
        j->r.max_tokens = n_ctx - n;
        return PGR_OK;
    }
    return fail(err, PGR_E_LIMIT, "a prompt of %zu tokens and %zu new ones exceed the model's context of %zu", n,
                j->r.max_tokens, n_ctx);
}

static pgr_status take_grammar(local *l, job *j, const infer_request *r, pgr_error *err) {
    if (!r->grammar) return PGR_OK;
    const char *name = r->grammar_name ? r->grammar_name : "grammar";
    PGR_TRY(grammars_take(&l->grammars, r->grammar, r->n_grammar, name, &j->grammar, err));
    return l->shared.trie ? PGR_OK : trie_create(l->m->tok, &l->shared.trie, err);
}

static pgr_status take_adapters(local *l, job *j, const infer_request *r, pgr_error *err) {
    if (r->adapters) return adapters_take(l->sets, r->adapters, &j->set, err);
    j->set = l->usual;
    adapters_ref(j->set);
    return PGR_OK;
}

static pgr_status make_result(job *j, pgr_error *err) {
    size_t n = j->r.n_sample;
    if (j->slots) return slots_begin(j, err);
    j->result->chains = mem_zero(n, sizeof *j->result->chains);
    if (!j->result->chains) return fail_mem(err);
    j->result->n_chain = n;
    for (size_t i = 0; i < n; i++) /* until it has ended in another way */
        j->result->chains[i] = (infer_chain){.sample = i, .end = -1, .finish = PGR_FINISH_DEADLINE};
    j->n_open = n;
    if (j->r.stream && !(j->told = mem_zero(n, sizeof *j->told))) return fail_mem(err);
    return PGR_OK;
}

static pgr_status fill(local *l, job *j, const infer_request *r, pgr_error *err) {
    PGR_TRY(prompt_tokens(l, r, &j->result->prompt, &j->slots, err));
    PGR_TRY(copy_request(j, r, err));
    PGR_TRY(take_grammar(l, j, r, err));
    PGR_TRY(check_length(l, j, err));
    if (!j->slots) PGR_TRY(writer_check(&j->r, j->grammar, l->m->tok, err));
    PGR_TRY(take_adapters(l, j, r, err));
    PGR_TRY(make_result(j, err));
    size_t running = l->load.n_running + l->load.n_waiting + j->r.n_sample + (j->slots != NULL);
    return picks_reserve(l, j->r.want_forced ? MAX_WANT : running, err);
}

pgr_status job_create(local *l, const infer_request *r, job **out, pgr_error *err) {
    job *j = mem_zero(1, sizeof *j);
    if (j) j->result = mem_zero(1, sizeof *j->result);
    if (!j || !j->result) {
        job_free(l, j);
        return fail_mem(err);
    }
    j->start = clock_now();
    pgr_status s = fill(l, j, r, err);
    if (s != PGR_OK) {
        job_free(l, j);
        return s;
    }
    *out = j;
    return PGR_OK;
}

void job_free(local *l, job *j) {
    if (!j) return;
    job_release_prompt(l, j);
    adapters_drop(l->sets, j->set);
    grammar_unref(j->grammar);
    if (j->slots) infer_slot_tokens_free(j->slots);
    mem_free(j->slots);
    infer_result_free(j->result);
    mem_free(j->told);
    arena_free(&j->arena);
    mem_free(j);
}

void job_release_prompt(local *l, job *j) {
    kv_release(&l->kv, &j->seq);
    kv_release(&l->kv, &j->spare);
    mem_free(j->logits);
    j->logits = NULL;
    j->reading = j->ready = false;
}
