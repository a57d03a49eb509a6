/* text_sample.c - chains of the model with the adapter that is trained, by the engine that judges. */
#include <string.h>

#include "base/mem.h"
#include "train/text.h"

static pgr_status fill_totals(void *ctx, const char *hole, const char *text, size_t n, buf *out, pgr_error *err) {
    const struct text *t = ctx;
    if (strcmp(hole, "totals") != 0)
        return fail(err, PGR_E_FORMAT, "frame %s: hole @%s, expected @totals", frame_name(t->frame), hole);
    return chain_totals(text, n, TEXT_RESPONSES, out, err);
}

static infer_request request_of(text *t, train_run *r, const text_ask *a, const infer_adapters *with) {
    infer_request q = {.messages = a->prompt->messages,
                       .n_message = a->prompt->n_message,
                       .n_sample = a->n_sample,
                       .seed = a->seed,
                       .id = a->id,
                       .sampling = {.temperature = (float)a->temperature, .top_p = 1},
                       .max_tokens = t->max_tokens,
                       .cancel = r->o->watch.cancel,
                       .adapters = with};
    if (!a->grammar || t->grammar.n == 0) return q;
    q.grammar = t->grammar.data;
    q.n_grammar = t->grammar.n;
    q.grammar_name = frame_name(t->frame);
    q.trigger = frame_trigger(t->frame);
    q.fill = fill_totals;
    q.fill_ctx = t;
    return q;
}

pgr_status text_sample(text *t, train_run *r, const text_ask *asks, size_t n, infer_output *out, pgr_error *err) {
    pgr_lora *lora = trainable_adapter(r->t);
    const float scale = 1;
    infer_adapters with = {&lora, &scale, 1}, none = {NULL, NULL, 0};
    infer_request *list = mem_array(n + 1, sizeof *list);
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < n; i++) list[i] = request_of(t, r, &asks[i], asks[i].bare ? &none : &with);
    infer_options io = {.watch = r->o->watch};
    pgr_status s = infer_run(t->e, list, n, &io, out, err);
    mem_free(list);
    return s;
}
