/* remote.c - the engine behind an address: opened, closed, and its table of functions. */
#include "infer/remote.h"

#include <string.h>

#include "base/mem.h"
#include "infer/counts.h"

enum { JOBS = 64, JOBS_MOST = 65536 };

pgr_remote_options pgr_remote_options_default(void) {
    return (pgr_remote_options){.jobs = JOBS};
}

static void remote_free(pgr_engine *e) {
    remote *r = (remote *)e;
    remote_clear(r);
    net_close(r->net);
    grammars_clear(&r->grammars);
    if (r->has_files) checkpoint_close(&r->files);
    mem_free(r->model);
    mem_free(r->name);
    mem_free(r->no_slots);
    mem_free(r);
}

static const engine_info *remote_about(const pgr_engine *e) {
    return &((const remote *)e)->info;
}

static engine_load remote_state(const pgr_engine *e) {
    return ((const remote *)e)->load;
}

static pgr_status unsupported(const remote *r, const char *what, pgr_error *err) {
    return fail(err, PGR_E_UNSUPPORTED, "%s: %s", r->at, what);
}

static pgr_status remote_set_loras(pgr_engine *e, const infer_adapters *adapters, pgr_error *err) {
    if (adapters->n == 0) return PGR_OK;
    return unsupported((remote *)e, "adapters are loaded by the server, under a model's name of their own", err);
}

static pgr_status remote_tokens(pgr_engine *e, const char *text, size_t n, int flags, ids *out, pgr_error *err) {
    const remote *r = (remote *)e;
    if (r->tokens != TOKENS_LOCAL)
        return unsupported(r, "the tokens of a text are not known here without the model's tokenizer", err);
    PGR_TRY(tok_encode(r->files.tok, text ? text : "", n, flags, out, err));
    return out->failed ? fail_mem(err) : PGR_OK;
}

static pgr_status remote_render(pgr_engine *e, const infer_message *messages, size_t n, bool begun, ids *out,
                                pgr_error *err) {
    const remote *r = (remote *)e;
    if (r->tokens != TOKENS_LOCAL || r->files.chat.kind == CHAT_NONE)
        return unsupported(r, "the tokens of messages are not known here without the model's chat template", err);
    return tokens_render(&r->files.chat, r->files.tok, messages, n, begun, out, err);
}

static pgr_status remote_text(pgr_engine *e, const int32_t *tokens, size_t n, buf *out, pgr_error *err) {
    const remote *r = (remote *)e;
    if (r->tokens != TOKENS_LOCAL)
        return unsupported(r, "the text of tokens is not known here without the model's tokenizer", err);
    PGR_TRY(tok_decode(r->files.tok, tokens, n, out, err));
    return out->failed ? fail_mem(err) : PGR_OK;
}

static pgr_status remote_slot_tokens(pgr_engine *e, const infer_message *messages, size_t n_message,
                                     const infer_slot *slots, size_t n_slot, infer_slot_tokens *out, pgr_error *err) {
    const remote *r = (remote *)e;
    infer_request q = {.messages = messages, .n_message = n_message, .slots = slots, .n_slot = n_slot};
    slot_texts x = {&r->files.chat, r->files.tok};
    infer_slot_tokens t = {0};
    if (r->slot_form == SLOTS_NONE) return unsupported(r, r->no_slots, err);
    pgr_status s = slot_tokens_fill(&x, &q, &t, err);
    if (s == PGR_OK)
        *out = t;
    else
        infer_slot_tokens_free(&t);
    return s;
}

static pgr_status remote_logprobs(pgr_engine *e, const int32_t *tokens, size_t n, const infer_options *options,
                                  float *out, pgr_error *err) {
    (void)tokens, (void)n, (void)options, (void)out;
    return unsupported((remote *)e, "log-probabilities of given tokens are not to be had from servers", err);
}

static const engine_ops REMOTE = {
    .free = remote_free,
    .about = remote_about,
    .set_loras = remote_set_loras,
    .count_messages = remote_count_messages,
    .count = remote_count,
    .clip = remote_clip,
    .tokens = remote_tokens,
    .render = remote_render,
    .text = remote_text,
    .slot_tokens = remote_slot_tokens,
    .submit = remote_submit,
    .cancel = remote_cancel,
    .step = remote_step,
    .take = remote_take,
    .state = remote_state,
    .logprobs = remote_logprobs,
};

static pgr_status open_files(remote *r, pgr_error *err) {
    if (!r->o.tokenizer) return PGR_OK;
    char *path = NULL;
    PGR_TRY(pgr_model_find(r->o.tokenizer, &path, err));
    pgr_status s = checkpoint_open(path, &r->files, err);
    r->has_files = s == PGR_OK;
    mem_free(path);
    return s;
}

static pgr_status open(remote *r, pgr_error *err) {
    const pgr_remote_options *o = &r->o;
    if (o->jobs == 0 || o->jobs > JOBS_MOST)
        return fail(err, PGR_E_ARG, "jobs is %zu, expected 1 to %d requests at once", o->jobs, JOBS_MOST);
    net_options how = {
        .urls = o->urls, .key = o->key ? o->key : net_usual_key(), .jobs = o->jobs, .timeout_s = o->timeout_s};
    PGR_TRY(net_open(&how, &r->net, err));
    r->at = net_address(r->net, 0);
    if (o->model && !(r->model = mem_strdup(o->model))) return fail_mem(err);
    PGR_TRY(open_files(r, err));
    return remote_look(r, err);
}

pgr_status pgr_engine_connect(const pgr_remote_options *options, pgr_engine **out, pgr_error *err) {
    remote *r = mem_zero(1, sizeof *r);
    if (!r) return fail_mem(err);
    r->base.ops = &REMOTE;
    r->o = *options;
    pgr_status s = open(r, err);
    if (s == PGR_OK)
        *out = &r->base;
    else
        remote_free(&r->base);
    return s;
}
