/* inspect.c - what a file holds and what will be used and why: pgr_inspect. Reads the directory, no weights. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/model.h"

typedef struct inspection {
    checkpoint from;
    size_t parameters, bytes;
    bool tied;
} inspection;

static pgr_status read_file(const char *path, const pgr_model_options *o, inspection *in, pgr_error *err) {
    PGR_TRY(checkpoint_open(path, &in->from, err));
    if (o && o->chat_template) PGR_TRY(checkpoint_set_chat(&in->from, o->chat_template, err));
    const tensor_source *s = &in->from.source;
    for (size_t i = 0; i < s->n_tensor; i++) {
        const source_tensor *t = &s->tensors[i];
        in->parameters += t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
        in->bytes += t->bytes;
    }
    in->tied = in->from.config.tied || !source_find(s, s->names == SOURCE_GGUF ? "output.weight" : "lm_head.weight");
    return PGR_OK;
}

static size_t kv_bytes_per_token(const config *c) {
    return c->n_layer * c->n_head_kv * c->head_dim * 2 * sizeof(float);
}

/* How many tensors and bytes each type has. */
static void count_types(const inspection *in, size_t count[256], size_t bytes[256]) {
    const tensor_source *s = &in->from.source;
    for (size_t i = 0; i < s->n_tensor; i++) {
        count[s->tensors[i].type % 256]++;
        bytes[s->tensors[i].type % 256] += s->tensors[i].bytes;
    }
}

/* ---- JSON ---- */

static void put_field(buf *b, const char *key, const char *value) {
    buf_printf(b, "\"%s\":", key);
    json_put_string(b, value, strlen(value));
    buf_putc(b, ',');
}

static void put_or_null(buf *b, const char *key, const char *value, const char *after) {
    buf_printf(b, "\"%s\":", key);
    if (value)
        json_put_string(b, value, strlen(value));
    else
        buf_puts(b, "null");
    buf_puts(b, after);
}

static void put_tensors(const inspection *in, buf *b) {
    buf_puts(b, "\"tensors\":[");
    for (size_t i = 0; i < in->from.source.n_tensor; i++) {
        const source_tensor *t = &in->from.source.tensors[i];
        buf_puts(b, i ? ",{\"name\":" : "{\"name\":");
        json_put_string(b, t->name, strlen(t->name));
        buf_printf(b, ",\"type\":\"%s\",\"shape\":[", quant_name(t->type));
        for (size_t d = t->n_dim; d-- > 0;) buf_printf(b, d ? "%zu," : "%zu", t->dim[d]);
        buf_printf(b, "],\"bytes\":%zu}", t->bytes);
    }
    buf_puts(b, "]");
}

static void put_json(const inspection *in, buf *b) {
    const config *c = &in->from.config;
    buf_puts(b, "{");
    put_field(b, "path", in->from.path);
    put_field(b, "format", in->from.format);
    put_field(b, "architecture", c->arch);
    buf_printf(b, "\"layers\":%zu,\"width\":%zu,\"heads\":%zu,\"kv_heads\":%zu,\"head_dim\":%zu,\"feed_forward\":%zu,",
               c->n_layer, c->n_embd, c->n_head, c->n_head_kv, c->head_dim, c->n_ff);
    buf_printf(b, "\"vocabulary\":%zu,\"context\":%zu,\"rope_base\":", c->n_vocab, c->n_ctx);
    json_put_number(b, c->rope_base);
    buf_printf(b, ",\"attention_bias\":%s,\"qk_norm\":%s,\"rope_scaling\":%s", c->attn_bias ? "true" : "false",
               c->qk_norm ? "true" : "false",
               c->rope_kind == ROPE_LLAMA3                          ? "\"llama3\""
               : source_find(&in->from.source, "rope_freqs.weight") ? "\"rope_freqs\""
                                                                    : "null");
    buf_printf(b, ",\"rope_interleaved\":%s,\"tied_head\":%s,", c->rope_interleaved ? "true" : "false",
               in->tied ? "true" : "false");
    buf_printf(b, "\"parameters\":%zu,\"bytes\":%zu,\"kv_bytes_per_token\":%zu,", in->parameters, in->bytes,
               kv_bytes_per_token(c));
    buf_puts(b, "\"tokenizer\":{");
    put_field(b, "model", tok_model_name(in->from.tok));
    put_field(b, "pre", tok_pre_name(in->from.tok));
    buf_printf(b, "\"tokens\":%zu,\"merges\":%zu,\"bos\":%d,\"eos\":%d,\"adds_bos\":%s,\"nfc\":%s},",
               tok_count(in->from.tok), tok_merge_count(in->from.tok), tok_bos(in->from.tok), tok_eos(in->from.tok),
               tok_adds_bos(in->from.tok) ? "true" : "false", tok_nfc(in->from.tok) ? "true" : "false");
    buf_puts(b, "\"chat_template\":{");
    put_field(b, "kind", chat_name(in->from.chat.kind));
    put_or_null(b, "from", in->from.chat_from, ",");
    put_or_null(b, "default_system", in->from.chat.default_system, ",");
    put_or_null(b, "why_not", in->from.chat.why, "},");
    put_field(b, "kernels", kernels_best()->name);
    put_tensors(in, b);
    buf_puts(b, "}");
}

/* ---- text ---- */

static void put_types(const inspection *in, buf *b) {
    size_t count[256] = {0}, bytes[256] = {0};
    count_types(in, count, bytes);
    buf_printf(b, "tensors         %zu:", in->from.source.n_tensor);
    for (uint32_t t = 0; t < 256; t++)
        if (count[t]) buf_printf(b, "  %zu %s (%.1f MB)", count[t], quant_name(t), (double)bytes[t] / 1e6);
    buf_puts(b, "\n");
}

static void put_chat(const inspection *in, buf *b) {
    const chat_template *c = &in->from.chat;
    buf_printf(b, "chat template   %s", chat_name(c->kind));
    if (c->kind != CHAT_NONE) buf_printf(b, " (%s)", in->from.chat_from ? in->from.chat_from : "built in");
    if (c->kind == CHAT_JINJA) buf_puts(b, ": neither ChatML nor Llama-3, run for each conversation");
    if (c->why) buf_printf(b, ": %s", c->why);
    if (c->default_system) buf_printf(b, ", default system turn: %s", c->default_system);
    buf_puts(b, "\n");
}

static void put_text(const inspection *in, buf *b) {
    const config *c = &in->from.config;
    buf_printf(b, "file            %s (%s)\n", in->from.path, in->from.format);
    buf_printf(b, "architecture    %s: %zu layers, width %zu, %zu heads over %zu KV heads of %zu, feed-forward %zu\n",
               c->arch, c->n_layer, c->n_embd, c->n_head, c->n_head_kv, c->head_dim, c->n_ff);
    buf_printf(b, "positions       %zu, rope base %.0f, %s pairs\n", c->n_ctx, c->rope_base,
               c->rope_interleaved ? "neighbouring (the file's q and k rows are permuted)" : "half-split");
    if (c->attn_bias) buf_puts(b, "attention       biases on q, k and v\n");
    if (c->qk_norm) buf_puts(b, "attention       heads of q and k are normalised before the rotation\n");
    if (c->rope_kind == ROPE_LLAMA3)
        buf_printf(b, "rope scaling    llama3: factor %g, low %g, high %g, from %zu positions\n", c->rope_factor,
                   c->rope_low, c->rope_high, c->rope_original_ctx);
    if (source_find(&in->from.source, "rope_freqs.weight"))
        buf_puts(b, "rope scaling    by the divisors in rope_freqs.weight\n");
    buf_printf(b, "parameters      %.1f million in %.1f MB%s\n", (double)in->parameters / 1e6, (double)in->bytes / 1e6,
               in->tied ? ", output head tied to the embedding" : "");
    put_types(in, b);
    buf_printf(b, "tokenizer       %s, pre-tokeniser %s%s: %zu tokens, %zu merges, BOS %s, EOS %d\n",
               tok_model_name(in->from.tok), tok_pre_name(in->from.tok), tok_nfc(in->from.tok) ? " on text in NFC" : "",
               tok_count(in->from.tok), tok_merge_count(in->from.tok),
               tok_adds_bos(in->from.tok) ? "added" : "not added", tok_eos(in->from.tok));
    put_chat(in, b);
    buf_printf(b, "--dtype auto    weights stay as the file has them, fp32 arithmetic on the dequantised values\n");
    buf_printf(b, "--dtype f32     would hold %.0f MB of weights, bf16 %.0f MB, int8 %.0f MB\n",
               (double)in->parameters * 4e-6, (double)in->parameters * 2e-6, (double)in->parameters * 1e-6);
    buf_printf(
        b, "memory          %.1f MB of weights, mapped; KV cache %.1f kB per token, %.0f MB for the whole context\n",
        (double)in->bytes / 1e6, (double)kv_bytes_per_token(c) / 1e3,
        (double)kv_bytes_per_token(c) * (double)c->n_ctx / 1e6);
    buf_printf(b, "kernels         %s\n", kernels_best()->name);
}

pgr_status pgr_inspect(const char *path, const pgr_model_options *options, bool json, char **out, pgr_error *err) {
    inspection in = {0};
    buf b = {0};
    pgr_status s = read_file(path, options, &in, err);
    if (s == PGR_OK) (json ? put_json : put_text)(&in, &b);
    char *text = s == PGR_OK ? buf_take(&b) : NULL;
    if (s == PGR_OK && !text) s = fail_mem(err);
    if (s == PGR_OK) *out = text;
    buf_free(&b);
    checkpoint_close(&in.from);
    return s;
}
