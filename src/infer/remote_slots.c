/* remote_slots.c - a prompt's slots read from servers: the prompt up to each slot goes as tokens to /completions, all
 * of them in one request, one token is asked for behind each, and with it the log-probabilities of the choices' tokens
 * (logprob_token_ids: vLLM, pgenrm), or those of the likeliest tokens, among which the choices then must be. The tokens
 * are those that the engine on this machine would read. */
#include "base/clock.h"
#include "base/mem.h"
#include "infer/remote.h"

enum { TOP_LLAMA = 1024, PROBE_IDS = 24 /* more than anybody lists unasked */ };

/* ---- what is asked ---- */

static size_t tops_of(const remote *r) {
    return r->slot_form == SLOTS_BY_ID ? 1 : r->kind == SERVER_LLAMA ? TOP_LLAMA : r->offers.top;
}

void remote_slots_put(const remote *r, const slot_plan *plan, buf *b) {
    static const pgr_sampling LIKELIEST = {.temperature = 0,
                                           .top_p = 1}; /* nothing cut: a server may tell what is left */
    buf_puts(b, ",\"prompt\":");
    slot_plan_put(plan, b);
    remote_put_sampling(r, &LIKELIEST, b);
    buf_printf(b, ",\"max_tokens\":1,\"ignore_eos\":true,\"return_tokens_as_token_ids\":true,\"logprobs\":%zu",
               tops_of(r));
    if (r->slot_form != SLOTS_BY_ID) return;
    buf_puts(b, ",\"logprob_token_ids\":");
    slot_plan_put_ids(plan, b);
}

/* ---- what is answered ---- */

/* The prompts have most of their tokens in common: what the server computed is told against the prompt's own. */
static void take_usage(remote *r, const ask *a, const slot_answer *got, infer_result *out) {
    size_t computed = got->prompt_tokens - got->cached_tokens, of_all = a->task->slots.t.tokens.n;
    bool counted = got->prompt_tokens > 0;
    out->usage = (infer_usage){.cached_tokens = counted && computed < of_all ? of_all - computed : 0};
    out->usage.prompt_s = out->usage.total_s = clock_now() - a->task->start;
    r->load.n_read += of_all;
    r->spent += counted ? got->prompt_tokens + got->completion_tokens : a->reserved;
}

static pgr_status take_answer(remote *r, ask *a, arena *memory, pgr_error *err) {
    const slot_plan *plan = &a->task->slots;
    const char *at = net_address(r->net, a->net.at);
    infer_result *out = a->task->result;
    slot_answer got;
    PGR_TRY(
        slot_answer_read(plan, r->slot_form == SLOTS_BY_ID, a->net.reply.data, a->net.reply.n, at, memory, &got, err));
    ids_append(&out->prompt, plan->t.tokens.v, plan->t.tokens.n);
    if (out->prompt.failed) return fail_mem(err);
    if (!got.late) {
        PGR_TRY(slot_answer_readings(plan, &got, at, &out->readings, err));
        out->n_reading = plan->t.n_slot;
    }
    take_usage(r, a, &got, out);
    a->task->has[0] = true;
    r->load.n_running--;
    return PGR_OK;
}

pgr_status remote_take_readings(remote *r, ask *a, pgr_error *err) {
    arena memory = {0};
    pgr_status s = take_answer(r, a, &memory, err);
    if (s != PGR_OK) a->task->result->prompt.n = 0;
    arena_free(&memory);
    return s;
}

/* ---- what servers offer ---- */

static pgr_status ask_probe(remote *r, const slot_plan *plan, net_job *job, buf *body, pgr_error *err) {
    remote_begin_body(r, body);
    remote_slots_put(r, plan, body);
    buf_putc(body, '}');
    if (body->failed) return fail_mem(err);
    *job = (net_job){.path = "/completions", .body = body->data, .n_body = body->n, .final_words = REMOTE_FEATURES};
    return net_run(r->net, job, r->o.watch.cancel, err);
}

/* One token behind a prompt, with the log-probabilities of tokens that nobody would have listed (as choices of a slot
 * there), or with those of the likeliest. */
static pgr_status try_form(remote *r, slot_form form, const ids *prompt, pgr_error *err) {
    int32_t tokens[PROBE_IDS];
    size_t row = prompt->n - 1, end[PROBE_IDS], n = form == SLOTS_BY_ID ? PROBE_IDS : 0, first[2] = {0, n};
    plan_point point = {0, 0, 0};
    slot_plan plan = {.points = &point, .n_point = 1, .n_id = n};
    arena memory = {0};
    buf body = {0};
    net_job job = {0};
    slot_answer got;
    for (size_t i = 0; i < n; i++) tokens[i] = plan.ids[i] = (int32_t)i, end[i] = i + 1;
    plan.t =
        (infer_slot_tokens){.tokens = *prompt, .rows = &row, .n_slot = 1, .end = end, .n_choice = n, .first = first};
    plan.t.choices = (ids){.v = tokens, .n = n};
    r->slot_form = form;
    pgr_status s = ask_probe(r, &plan, &job, &body, err);
    if (s == PGR_OK)
        s = slot_answer_read(&plan, n > 0, job.reply.data, job.reply.n, net_address(r->net, job.at), &memory, &got,
                             err);
    if (s == PGR_OK) r->spent += got.prompt_tokens + got.completion_tokens;
    arena_free(&memory);
    net_drop(r->net, &job);
    buf_free(&body);
    return s;
}

static pgr_status try_forms(remote *r, pgr_error *err) {
    static const char TEXT[] = "Which of them is it?";
    ids prompt = {0};
    pgr_error other = {0};
    pgr_status s = remote_tokens_agree(r, err);
    if (s == PGR_OK) s = tok_encode(r->files.tok, TEXT, sizeof TEXT - 1, PGR_TOKENS_BOS, &prompt, err);
    if (s == PGR_OK && (prompt.failed || prompt.n == 0)) s = fail_mem(err);
    if (s == PGR_OK) s = try_form(r, SLOTS_BY_ID, &prompt, err);
    bool listed = r->offers.top || r->kind == SERVER_LLAMA;
    if ((s == PGR_E_IO || s == PGR_E_FORMAT) && r->slot_form == SLOTS_BY_ID && listed)
        if (try_form(r, SLOTS_BY_TOP, &prompt, &other) == PGR_OK) s = PGR_OK;
    ids_free(&prompt);
    return s;
}

pgr_status remote_find_slots(remote *r, pgr_error *err) {
    pgr_error why = {0};
    const char *no = NULL;
    if (!r->has_files)
        no = "the tokens of a prompt are not known here without the model's tokenizer (--remote-tokenizer)";
    else if (r->files.chat.kind == CHAT_NONE)
        no = "the files of the tokenizer have no chat template";
    if (!no) {
        pgr_status s = try_forms(r, &why);
        if (s == PGR_E_MEM || s == PGR_E_CANCELLED) {
            if (err) *err = why;
            return s;
        }
        if (s == PGR_OK) return PGR_OK;
        no = why.message;
    }
    r->slot_form = SLOTS_NONE;
    r->no_slots = mem_strdup(no);
    return r->no_slots ? PGR_OK : fail_mem(err);
}
