/* local.c - the engine on this machine: made, told its usual adapters, freed; and its table of functions. */
#include "infer/local.h"

#include "base/mem.h"

enum { DEFAULT_BATCH = 256 }; /* rows of one forward pass: GEMMs are near their peak from there on */

pgr_engine_options pgr_engine_options_default(void) {
    return (pgr_engine_options){.n_kv_token = 0, .n_batch = DEFAULT_BATCH, .cache_bytes = CACHE_AT_WORK};
}

static pgr_status init_shared(local *l, pgr_error *err) {
    writer_shared *sh = &l->shared;
    sh->tok = l->m->tok;
    sh->n_token = tok_count(sh->tok);
    while (sh->n_token > 1 && tok_type_of(sh->tok, (int32_t)sh->n_token - 1) == TOK_UNUSED) sh->n_token--;
    sh->k = l->m->k;
    sh->n_mask = (tok_count(sh->tok) + 63) / 64;
    sh->mask = mem_zero(sh->n_mask, sizeof *sh->mask);
    sh->end_mask = mem_zero(sh->n_mask, sizeof *sh->end_mask);
    if (!sh->mask || !sh->end_mask) return fail_mem(err);
    for (size_t i = 0; i < tok_count(sh->tok); i++)
        if (tok_ends(sh->tok, (int32_t)i)) sh->end_mask[i / 64] |= (uint64_t)1 << i % 64;
    return sampler_create(l->m->config.n_vocab, &sh->sampler, err);
}

static void init_info(local *l) {
    const pgr_model *m = l->m;
    bool chat = m->chat.kind != CHAT_NONE;
    l->info = (engine_info){.name = m->from.name,
                            .id = m->from.name,
                            .n_ctx = m->config.n_ctx,
                            .n_parameter = config_parameters(&m->config),
                            .n_vocab = m->config.n_vocab,
                            .n_at_once = 2 * MAX_SLOT, /* slots filled twice, prompts few enough for the cache */
                            .dtype = m->dtype,
                            .load_s = m->load_s,
                            .can = ENGINE_GRAMMAR | ENGINE_LOGPROBS | ENGINE_ADAPTERS | ENGINE_PLACES | ENGINE_SLOTS
                                   | (chat ? ENGINE_CHAT : 0),
                            .no_chat = chat ? NULL : (m->chat.why ? m->chat.why : "none was read")};
}

static pgr_status init(local *l, pgr_error *err) {
    size_t tokens = l->o.n_kv_token ? l->o.n_kv_token : (size_t)1 << 30;
    init_info(l);
    PGR_TRY(kv_init(&l->kv, &l->m->config, model_kv(l->m), tokens, err));
    if (l->o.kv_bytes) kv_limit(&l->kv, l->o.kv_bytes);
    PGR_TRY(kv_prepare(&l->kv, l->o.n_kv_ready, l->m->threads, err));
    PGR_TRY(prefix_create(&l->kv, &l->prefix, err));
    PGR_TRY(init_shared(l, err));
    l->logits = mem_aligned(MAX_WANT * l->m->config.n_vocab * sizeof *l->logits, 64);
    l->n_row = l->o.n_batch + MAX_SLOT;
    l->rows = mem_array(l->n_row, sizeof *l->rows);
    l->picks = mem_zero(MAX_WANT, sizeof *l->picks);
    if (!l->logits || !l->rows || !l->picks) return fail_mem(err);
    PGR_TRY(forward_create(l->m, l->n_row, &l->forward, err));
    PGR_TRY(adapters_create(l->m, l->forward, &l->sets, err));
    return adapters_take(l->sets, &(infer_adapters){0}, &l->usual, err);
}

static void local_free(pgr_engine *e) {
    local *l = (local *)e;
    queue_clear(l);
    adapters_free(l->sets);
    forward_free(l->forward);
    mem_free(l->rows);
    mem_free(l->logits);
    for (size_t i = 0; i < l->n_pick; i++) sampler_row_free(&l->picks[i]);
    mem_free(l->picks);
    sampler_free(l->shared.sampler);
    trie_free(l->shared.trie);
    mem_free(l->shared.mask);
    mem_free(l->shared.end_mask);
    grammars_clear(&l->grammars);
    prefix_free(l->prefix);
    kv_close(&l->kv);
    mem_free(l);
}

static const engine_info *local_about(const pgr_engine *e) {
    return &((const local *)e)->info;
}

static engine_load local_state(const pgr_engine *e) {
    return ((const local *)e)->load;
}

static pgr_status local_set_loras(pgr_engine *e, const infer_adapters *adapters, pgr_error *err) {
    local *l = (local *)e;
    adapter_set *set = NULL;
    PGR_TRY(adapters_take(l->sets, adapters, &set, err));
    adapters_drop(l->sets, l->usual);
    l->usual = set;
    l->info.adapter = adapters->n ? adapters->loras[adapters->n - 1]->file.path : NULL;
    return PGR_OK;
}

static const engine_ops LOCAL = {
    .free = local_free,
    .about = local_about,
    .set_loras = local_set_loras,
    .count_messages = local_count_messages,
    .count = local_count,
    .clip = local_clip,
    .tokens = local_tokens,
    .render = local_render,
    .text = local_text,
    .slot_tokens = local_slot_tokens,
    .submit = local_submit,
    .cancel = local_cancel,
    .step = local_step,
    .take = local_take,
    .state = local_state,
    .logprobs = local_logprobs,
};

pgr_status pgr_engine_create(pgr_model *model, const pgr_engine_options *options, pgr_engine **out, pgr_error *err) {
    pgr_engine_options o = options ? *options : pgr_engine_options_default();
    if (o.n_batch == 0) o.n_batch = DEFAULT_BATCH;
    if (o.n_batch > 1 << 16) return fail(err, PGR_E_ARG, "n_batch is %zu, expected 1 to 65536", o.n_batch);
    local *l = mem_zero(1, sizeof *l);
    if (!l) return fail_mem(err);
    l->base.ops = &LOCAL;
    l->m = model;
    l->o = o;
    pgr_status s = init(l, err);
    if (s != PGR_OK) {
        local_free(&l->base);
        return s;
    }
    *out = &l->base;
    return PGR_OK;
}
